#!/bin/sh
# run.sh - make test: the unit suite with float and with double elements, then the tests of data_fetch.
# Needs a C compiler ($CC, $CFLAGS) and nothing else. `sh tests/run.sh WORD` runs only tests with WORD in their name.
# The last line is the sum of all parts: N passed, N failed[, N skipped].

set -u
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc}
CFLAGS=${CFLAGS--O2}
filter=${1:-}
out=build/tests
mkdir -p "$out/build" || exit 1

passed=0 failed=0 skipped=0 broken=0

# accepts FLAGS...: does the compiler take them, for a program that is linked?
accepts() {
    echo 'int main(void) { return 0; }' >"$out/probe.c"
    # shellcheck disable=SC2086  # CC and CFLAGS are lists of words
    $CC $CFLAGS "$@" "$out/probe.c" -o "$out/probe" >"$out/probe.log" 2>&1 && [ ! -s "$out/probe.log" ]
}

# add LABEL STATUS LOG: count a part by the last line of its log. No summary, or a status that disagrees, is a failure.
add() {
    line=$(tail -n 1 "$3")
    if ! echo "$line" | grep -Eq '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$'; then
        echo "FAIL $1: ended without a summary (exit status $2)"
        broken=$((broken + 1))
        return
    fi
    # shellcheck disable=SC2046  # three words: passed, failed, skipped
    set -- "$1" "$2" $(echo "$line" | sed 's/[a-z,]//g') 0
    passed=$((passed + $3)); failed=$((failed + $4)); skipped=$((skipped + $5))
    if [ "$2" -ne 0 ] && [ "$4" -eq 0 ]; then
        echo "FAIL $1: no test failed, yet the exit status is $2"
        broken=$((broken + 1))
    fi
}

# part LABEL COMMAND...: run, show and count one part.
part() {
    label=$1; shift
    echo "== $label"
    { "$@"; echo $? >"$out/status"; } 2>&1 </dev/null | tee "$out/part.log"
    add "$label" "$(cat "$out/status")" "$out/part.log"
}

# build NAME FLAGS...: the suite as build/tests/NAME; messages to NAME.log, success leaves NAME.built.
build() {
    name=$1; shift
    rm -f "$out/$name.built"
    # shellcheck disable=SC2086
    $CC $CFLAGS $common "$@" tests/all.c -o "$out/$name" $libs >"$out/$name.log" 2>&1 && : >"$out/$name.built"
}

suite() {
    if [ -f "$out/$2.built" ]; then
        [ ! -s "$out/$2.log" ] || sed 's/^/     | /' "$out/$2.log"
        # shellcheck disable=SC2086
        part "$1" sh -c 'cd "$1" && shift && exec "$@"' sh "$out" "./$2" $filter     # its files stay in build/tests
    else
        echo "== $1"
        sed 's/^/     | /' "$out/$2.log"
        echo "FAIL $1: does not compile"
        broken=$((broken + 1))
    fi
}

if ! accepts; then
    sed 's/^/     | /' "$out/probe.log"
    echo "FAIL: $CC $CFLAGS does not build an empty program"
    echo "0 passed, 1 failed"
    exit 1
fi
common=-I.
for flag in -Wall -Wextra -ffp-contract=off; do ! accepts $flag || common="$common $flag"; done
libs=; ! accepts -lm || libs=-lm
threads=
if ! $CC -v 2>&1 | grep -q 'tcc version' && accepts -pthread; then threads='-DIPR_THREADS -pthread'; fi

# The tests of data_fetch mostly wait, so they run beside the rest. matrix.sh runs them under every shell.
fetch=
if [ -z "$filter" ]; then
    { FETCH_SH=${FETCH_SH:-sh} sh tests/data_fetch_test.sh; echo $? >"$out/fetch.status"; } >"$out/fetch.log" 2>&1 </dev/null & fetch=$!
fi
echo "compiler: $CC $CFLAGS $common ${threads:-(without threads)}"
# shellcheck disable=SC2086
build float $threads & pid=$!
build double -DIPR_REAL=double
wait $pid
suite "float${threads:+, threads}" float
suite "double" double
if [ -n "$fetch" ]; then
    wait $fetch
    part "data_fetch" sh -c "cat $out/fetch.log; exit $(cat "$out/fetch.status")"
fi

failed=$((failed + broken))
echo "== all parts"
if [ $skipped -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"
else echo "$passed passed, $failed failed"; fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
