#!/bin/sh
# matrix.sh - make matrix: the suite built and RUN by every compiler, sanitizer and architecture at hand, then the same
# bits asked of all of them. What is not installed is named as SKIP. MATRIX=core: the part for every day, 15 minutes on
# two cores; otherwise everything. `sh tests/matrix.sh WORD` takes only the rows with WORD in their name.
# Last line: N passed, N failed[, N skipped], counting rows.

set -u
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.." || exit 1
. tests/jobs.sh
only=${1:-}
full=1; [ "${MATRIX:-all}" != core ] || full=0
dir=build/matrix
jobs_in $dir

# What every row starts with. $x is the row's own file name, build/matrix/NNNN.
job_prelude='
x=${0%.sh}
exe=../${x##*/}.exe     # as seen from the folder $x.d, where suite runs it
F="-I. -ffp-contract=off"
ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1
UBSAN_OPTIONS=print_stacktrace=1
TSAN_OPTIONS=halt_on_error=1
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
need() { for tool; do command -v $tool >/dev/null || { echo "SKIP: $tool is not installed"; exit 77; }; done; }
# links COMPILER FLAGS...: skip the row when this compiler cannot build an empty program that way
links() {
    echo "int main(void) { return 0; }" >$x.probe.c
    "$@" $x.probe.c -o $x.probe >/dev/null 2>&1 || { echo "SKIP: $* does not link a program (package not installed)"; exit 77; }
}
# suite SECONDS "FILTERS" COMMAND...: run the tests, once for each filter, in a folder of their own for the files they
# make. A run without its summary has failed.
suite() {
    limit=$1; filters=${2:-ALL}; shift 2
    : >$x.sums
    mkdir -p $x.d/build
    for filter in $filters; do
        [ "$filter" != ALL ] || filter=
        (cd $x.d && exec timeout "$limit" "$@" $filter) >$x.out 2>&1; rc=$?
        tr -d "\r" <$x.out; tr -d "\r" <$x.out | tail -n 1 >>$x.sums
        [ $rc -ne 124 ] || { echo "stopped after $limit s: $* $filter"; return 1; }
        tail -n 1 $x.sums | grep -Eq "^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$" ||
            { echo "no summary, exit status $rc: $* $filter"; return 1; }
        [ $rc -eq 0 ] || [ $rc -eq 1 ] || { echo "exit status $rc: $* $filter"; return 1; }
    done
    awk "{ p += \$1; f += \$3; s += \$5 }
         END { printf \"%d passed, %d failed\", p, f; if (s) printf \", %d skipped\", s; print \"\"; exit !(p && !f) }" $x.sums
}
# smoke COMMAND...: run the smoke program; only its OK counts
smoke() { timeout 120 "$@" >$x.out 2>&1; tr -d "\r" <$x.out; tr -d "\r" <$x.out | grep -qx "smoke: OK"; }
'
row() { case $1 in *"$only"*) job "$1" ;; *) cat >/dev/null ;; esac; }
full_row() { if [ $full = 1 ]; then row "$1"; else cat >/dev/null; fi; }

# tests LABEL COMPILER_AND_FLAGS [LIMIT [FILTERS [RUNNER]]]: build all of tests/all.c and run it
tests_body() {
    cat <<X
need ${1%% *} ${4:-}
links $1
$1 \$F tests/all.c -o \$x.exe -lm || exit 1
suite ${2:-300} "${3:-}" ${4:-} \$exe
X
}
# (A pipe into row would queue in a subshell, and its count would be lost.)
tests() {
    label=$1; shift
    row "$label" <<X
$(tests_body "$@")
X
}
full_tests() { [ $full = 0 ] || tests "$@"; }

# Where floating point is slow (qemu, tcc) the tests that train a whole model are left out: bits.c trains one there.
slow=-DIPR_TEST_SLOW

# ---- the machine's own compilers
tests 'gcc c99 -O2, threads'            'gcc -std=c99 -O2 -DIPR_THREADS -pthread'
tests 'gcc c11 -O3 -march=native'       'gcc -std=c11 -O3 -march=native'
tests 'g++ c++11 -O2'                   'g++ -x c++ -std=c++11 -O2'
tests 'clang c99 -O2'                   'clang -std=c99 -O2'
tests 'clang c11 -O2, double'           'clang -std=c11 -O2 -DIPR_REAL=double'
tests 'clang++ c++11 -O2, threads'      'clang++ -x c++ -std=c++11 -O2 -DIPR_THREADS -pthread'
tests 'gcc -O2, portable C only'        'gcc -std=c99 -O2 -DIPR_NO_SIMD'
tests 'gcc -m32 -msse2 -mfpmath=sse'    'gcc -m32 -msse2 -mfpmath=sse -std=c99 -O2 -isystem /usr/include/x86_64-linux-gnu'
tests 'gcc -m32 (x87)'                  'gcc -m32 -std=c99 -O2 -isystem /usr/include/x86_64-linux-gnu' 900
full_tests 'clang -m32 -msse2'          'clang -m32 -msse2 -std=c99 -O2 -isystem /usr/include/x86_64-linux-gnu'
full_tests 'clang -m32 (x87)'           'clang -m32 -std=c99 -O2 -isystem /usr/include/x86_64-linux-gnu' 900
full_tests 'gcc -Os'                    'gcc -std=c99 -Os'
full_tests 'gcc -O0'                    "gcc -std=c99 -O0" 600
row 'tcc' <<X
need tcc
tcc -I. $slow tests/all.c -o \$x.exe -lm || exit 1
suite 600 '' \$exe
X
full_tests 'musl-gcc, static'           'musl-gcc -std=c99 -O2 -static'

# ---- sanitizers and valgrind
san='-g -O1 -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all'
tests 'gcc ASan and UBSan'              "gcc -std=c99 $san -DTEST_ASSERT" 900
tests 'clang ASan and UBSan, double'    "clang -std=c99 $san -DTEST_ASSERT -DIPR_REAL=double" 900
tests 'gcc TSan, threads'               "gcc -std=c99 -g -O1 -fsanitize=thread -DIPR_THREADS -pthread" 900
full_tests 'clang MSan'                 "clang -std=c99 -g -O1 -fsanitize=memory" 900
full_row 'valgrind memcheck: base, files, data' <<X
need gcc valgrind
gcc -std=c99 -g -O1 \$F tests/all.c -o \$x.exe -lm || exit 1
suite 1200 'base. files. data.' valgrind -q --error-exitcode=99 --leak-check=full \$exe
X

# ---- other architectures, under qemu's user mode
cross() {       # tests|full_tests ARCH TRIPLET QEMU LIMIT
    $1 "$2 (qemu)" "$3-gcc -std=c99 -O2 -static $slow" "$5" "" "$4"
}
cross tests      'aarch64'                aarch64-linux-gnu      qemu-aarch64 1800
cross tests      's390x, big-endian'      s390x-linux-gnu        qemu-s390x   1800
cross full_tests 'armhf'                  arm-linux-gnueabihf    qemu-arm     1200
cross full_tests 'riscv64'                riscv64-linux-gnu      qemu-riscv64 1200
cross full_tests 'ppc64, big-endian'      powerpc64-linux-gnu    qemu-ppc64   2400
cross full_tests 'mips, big-endian 32'    mips-linux-gnu         qemu-mips    2400
full_row 'Windows: mingw and wine' <<X
need x86_64-w64-mingw32-gcc wine
x86_64-w64-mingw32-gcc -std=c99 -O2 \$F tests/all.c -o \$x.exe || exit 1
WINEPREFIX=\${WINEPREFIX:-\${TMPDIR:-/tmp}/ipr-wine}; WINEARCH=win64; WINEDEBUG=-all; export WINEPREFIX WINEARCH WINEDEBUG
unset DISPLAY
[ -d "\$WINEPREFIX" ] || timeout 120 wineboot -i >/dev/null 2>&1
suite 600 '' wine \$exe
X

row 'data_fetch under every shell' <<'X'
sh tests/data_fetch_test.sh
X

# ---- options: the smoke program through each, and without a libc
for option in $(grep -oE '\bIPR_NO_[A-Z0-9_]*[A-Z0-9]' ipr.h | sort -u); do
    row "smoke $option" <<X
need gcc
gcc -std=c99 -O1 \$F -D$option -DSMOKE_MAIN tests/smoke.c -o \$x.exe && smoke ./\$x.exe
X
done
freestanding() {    # row|full_row LABEL COMPILER_AND_FLAGS [RUNNER]: the run needs no libc, only its main does
    $1 "smoke IPR_FREESTANDING: $2" <<X
need ${3%% *} ${4:-}
links $3
$3 -std=c99 -O2 \$F -ffreestanding -DIPR_FREESTANDING -c tests/smoke.c -o \$x.o &&
    $3 -std=c99 -O2 \$F -DSMOKE_ONLY_MAIN tests/smoke.c \$x.o -o \$x.exe && smoke ${4:-} ./\$x.exe
X
}
freestanding row      x86-64  gcc
freestanding row      clang   clang
freestanding row      i386    'gcc -m32 -isystem /usr/include/x86_64-linux-gnu'
freestanding row      aarch64 'aarch64-linux-gnu-gcc -static' qemu-aarch64
freestanding row      s390x   's390x-linux-gnu-gcc -static' qemu-s390x
freestanding full_row armhf   'arm-linux-gnueabihf-gcc -static' qemu-arm
for cpu in qemu64 Nehalem Haswell; do
    row "smoke on an x86-64 CPU of kind $cpu: kernels chosen at run time" <<X
need gcc qemu-x86_64
gcc -std=c99 -O1 -static \$F -DSMOKE_MAIN tests/smoke.c -o \$x.exe && smoke qemu-x86_64 -cpu $cpu ./\$x.exe
X
done

# ---- bit identity: all print what gcc on this machine prints
ref=$dir/bits.reference
row 'bits: reference, gcc -O2' <<X
need gcc
gcc -std=c99 -O2 \$F tests/bits.c -o \$x.exe && ./\$x.exe >$ref.all || { cat $ref.all; exit 1; }
grep -v '^portable_bits' $ref.all >$ref
cat $ref.all
grep -qx 'portable_bits 1' $ref.all && [ \$(grep -c '^weights' $ref) -eq 2 ]
X
# bits row|full_row LABEL same|honest COMPILER_AND_FLAGS [RUNNER [ARGUMENT]]
# same: the reference's lines. honest: those, or portable_bits says 0.
bits() {
    $1 "bits: $2" <<X
need ${4%% *} ${5:-}
links $4
[ -s $ref ] || { echo 'no reference'; exit 1; }
$4 -I. tests/bits.c -o \$x.exe || exit 1
timeout 300 ${5:-} ./\$x.exe ${6:-} | tr -d '\r' >\$x.bits
grep -v '^portable_bits' \$x.bits | diff $ref - && same=1 || same=0
claim=\$(sed -n 's/^portable_bits //p' \$x.bits)
echo "note: identical \$same, portable_bits \$claim"
[ \$same = 1 ] && [ "\$claim" = 1 ] || { [ $3 = honest ] && [ "\$claim" = 0 ] && grep -q '^weights' \$x.bits; }
X
}
P='-std=c99 -ffp-contract=off'
run_jobs        # the reference has to be there before the others compare themselves with it
bits row      'gcc -O0'                 same "gcc $P -O0"
bits row      'gcc -O3 -march=native'   same "gcc $P -O3 -march=native"
bits row      'g++ c++11'               same 'g++ -x c++ -std=c++11 -O2 -ffp-contract=off'
bits row      'gcc, plain C only'       same "gcc $P -O2 -DIPR_NO_SIMD"
bits row      'gcc, 2 threads'          same "gcc $P -O2 -DIPR_THREADS -pthread" '' 2
bits row      'gcc, 3 threads'          same "gcc $P -O2 -DIPR_THREADS -pthread" '' 3
bits row      'clang -O2'               same "clang $P -O2"
bits row      'clang -O3 -march=native' same "clang $P -O3 -march=native"
bits row      'tcc'                     same 'tcc'
bits row      'gcc -m32, SSE'           same "gcc -m32 -msse2 -mfpmath=sse $P -O2 -isystem /usr/include/x86_64-linux-gnu"
bits row      'gcc -m32, x87'           honest "gcc -m32 $P -O2 -isystem /usr/include/x86_64-linux-gnu"
bits row      'gcc -march=native, contraction allowed' honest 'gcc -std=gnu11 -O2 -march=native'
bits row      'aarch64'                 same "aarch64-linux-gnu-gcc $P -O2 -static" qemu-aarch64
bits row      'aarch64, plain C only'   same "aarch64-linux-gnu-gcc $P -O2 -static -DIPR_NO_SIMD" qemu-aarch64
bits row      'aarch64, contraction allowed' honest 'aarch64-linux-gnu-gcc -std=gnu11 -O2 -static' qemu-aarch64
bits row      's390x, big-endian'       same "s390x-linux-gnu-gcc $P -O2 -static" qemu-s390x
bits full_row 'armhf'                   same "arm-linux-gnueabihf-gcc $P -O2 -static" qemu-arm
bits full_row 'riscv64'                 same "riscv64-linux-gnu-gcc $P -O2 -static" qemu-riscv64
bits full_row 'ppc64, big-endian'       same "powerpc64-linux-gnu-gcc $P -O2 -static" qemu-ppc64
bits full_row 'mips, big-endian 32'     same "mips-linux-gnu-gcc $P -O2 -static" qemu-mips
bits full_row 'musl'                    same "musl-gcc $P -O2 -static"
run_jobs
finish
