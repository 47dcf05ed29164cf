#!/bin/sh
# fuzz.sh [SECONDS] - make fuzz: every fuzzer of this folder for SECONDS (default 60) each, under clang's ASan and UBSan.
# Corpora grow in build/fuzz/NAME/corpus; what crashes is kept in build/fuzz/NAME/crashes with the line that repeats it.
# Last line: N passed, N failed[, N skipped], counting fuzzers.

set -u
cd "$(dirname "$0")/.." || exit 1
. tests/jobs.sh
seconds=${1:-60}
case $seconds in '' | *[!0-9]*) echo "fuzz.sh: SECONDS must be a whole number, not '$seconds'"; exit 2 ;; esac
CLANG=${CLANG:-clang}
mkdir -p build/fuzz

if ! command -v "$CLANG" >/dev/null 2>&1; then
    echo "SKIP: ALL fuzzers: clang is not installed"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return d && n > 1000000000; }' >build/fuzz/probe.c
if ! "$CLANG" -fsanitize=fuzzer build/fuzz/probe.c -o build/fuzz/probe 2>/dev/null; then
    echo "SKIP: ALL fuzzers: this $CLANG has no libFuzzer"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi

# One valid file of every format, for every corpus: libFuzzer keeps those that open new paths.
seeds=build/fuzz/seeds
mkdir -p $seeds
if ! "$CLANG" -std=c99 -O1 -I. tests/seeds.c -o build/fuzz/make_seeds || ! build/fuzz/make_seeds $seeds; then
    echo "FAIL: the seed files cannot be made"
    echo "0 passed, 1 failed"
    exit 1
fi

jobs_in build/fuzz/jobs
job_prelude="CLANG='$CLANG' seconds=$seconds seeds=$seeds"
for source in tests/fuzz_*.c; do
    [ -f "$source" ] || continue
    name=$(basename "$source" .c)
    job "$name" <<X
here=build/fuzz/$name
mkdir -p \$here/corpus \$here/crashes
"\$CLANG" -std=c99 -g -O1 -I. -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $source -o \$here/$name || exit 1
\$here/$name -max_total_time=\$seconds -timeout=20 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 \
    -artifact_prefix=\$here/crashes/ \$here/corpus \$seeds
rc=\$?
last=\$(ls -t \$here/crashes | head -n 1)
[ \$rc -eq 0 ] || echo "to repeat: \$here/$name \$here/crashes/\$last"
[ \$rc -eq 0 ] || exit 1
echo "note: \$(sed -n 's/^stat::number_of_executed_units: *//p' \${0%.sh}.log) runs, \$(ls \$here/corpus | wc -l) files in its corpus"
X
done
run_jobs
finish
