#!/bin/sh
# Kills a program in the middle of saving, ROUNDS times (default 20); the file must always load.
# usage: tests/kill_save.sh [rounds]    from the repository root, with $CC or cc
set -u
dir=build/kill_save
mkdir -p $dir
${CC:-cc} -std=c99 -O1 -I. tests/kill_save.c -o $dir/kill_save -lm || exit 1
bad=0
i=0
$dir/kill_save write $dir/model & pid=$!      # let the first file appear
while [ ! -f $dir/model ]; do sleep 0.1; done
kill -9 $pid; wait $pid 2>/dev/null
while [ $i -lt "${1:-20}" ]; do
    i=$((i + 1))
    $dir/kill_save write $dir/model & pid=$!
    sleep "0.$((i * 37 % 50 + 10))"
    kill -9 $pid; wait $pid 2>/dev/null
    $dir/kill_save check $dir/model || bad=$((bad + 1))
done
rm -rf $dir
echo "kill_save: $i kills, $bad damaged files"
[ $bad -eq 0 ]
