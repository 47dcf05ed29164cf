#!/bin/sh
# check.sh - make check: what has to hold for the header itself, beyond its tests. Needs gcc and clang.
# Warnings, floors, stack frames, options, symbols, examples in the documentation, sizes, hygiene; one line each.
# `sh tests/check.sh WORD` queues only the checks with WORD in their name. Last line: N passed, N failed[, N skipped].

set -u
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")/.." || exit 1
. tests/jobs.sh
only=${1:-}
dir=build/check
jobs_in $dir
for tool in gcc g++ clang clang++ nm size; do
    command -v $tool >/dev/null || { echo "FAIL: $tool is not installed"; echo "0 passed, 1 failed"; exit 1; }
done

printf '#define IPR_IMPLEMENTATION\n#include "ipr.h"\n' >$dir/impl.c
printf '#include "ipr.h"\n' >$dir/decl.c
for f in impl decl; do cp $dir/$f.c $dir/$f.cc; done

# What every job starts with.
job_prelude='
d=build/check
W="-Wall -Wextra -pedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual -Wdouble-promotion -Werror"
C="gcc -std=c99 -O1 -I. -ffp-contract=off -fno-stack-protector -fno-pic -fno-pie"
undefined() { nm -u "$@" | awk "NF == 2 && \$1 == \"U\" { sub(/@.*/, \"\", \$2); print \$2 }" | sort -u; }
# may_need REGEX OBJECT...: the objects need no symbol but these
may_need() {
    allowed=$1; shift
    bad=$(undefined "$@" | grep -vxE "$allowed")
    [ -z "$bad" ] || { echo "undefined symbols beyond the permitted:" $bad; exit 1; }
}
own="smoke_[a-z]*"
mem="memcpy|memmove|memset|memcmp"
heap="malloc|realloc|free"
clock="time|clock_gettime|timespec_get"
libc="$mem|$heap|$clock|strlen"
stdio="f(open|close|read|write|seek|seeko|tell|tello|flush|error|puts|ileno|stat|sync|chmod|dopen)|stderr|open|close|read|write|unlink|rename|stat|chmod|access|getpid|isatty|opendir|readdir|readdir64|closedir|__errno_location"
pool="pthread_(create|join|mutex_[a-z]*|cond_[a-z]*)|nanosleep|sched_yield"
'

check() { case $1 in *"$only"*) job "$1" ;; *) cat >/dev/null ;; esac; }

# ---- the whole implementation, compiled once at -O2 by each compiler, alone, for time and size
measure() {     # CC MAX_FLOOR LIMIT: CPU seconds of one compilation, which other work on the machine changes little
    check "compile time at -O2 of floors 0-$2: $1" <<X
    seconds=\$( { $1 -std=c99 -O2 -I. -ffp-contract=off -DIPR_FLOOR_MAX=$2 -c \$d/impl.c -o \$d/whole_$1_$2.o || echo failed; times; } 2>&1 |
        awk '/failed|rror/ { bad = 1 } END { n = split(\$0, t, /[ms ]+/); print bad ? -1 : t[1] * 60 + t[2] + t[3] * 60 + t[4] }')
    echo "note: \$seconds s, limit $3 s, fails above twice that"
    awk -v s="\$seconds" 'BEGIN { exit !(s >= 0 && s <= 2 * $3) }'
X
}
parallel=$JOBS
JOBS=1
for cc in gcc clang; do measure $cc 9 5; measure $cc 14 10; done
run_jobs
text() {        # CC GOAL MOST, in KB: code and constants; unwind tables (-fno-asynchronous-unwind-tables) are not counted
    check "text of the whole at -O2, goal $2 KB: $1" <<X
    text=\$(size -A \$d/whole_${1}_14.o | awk '/^\.(text|rodata)/ { n += \$2 } END { print n + 0 }')
    echo "note: \$text bytes of code and constants; fails above $3 KB"
    [ "\$text" -gt 100000 ] && [ "\$text" -le $(($3 * 1024)) ]
X
}
text gcc 400 450
text clang 512 560  # unrolls more; watched, so that it does not creep
JOBS=$parallel

# ---- warnings: gcc needs its optimiser to find some, clang does not
warnings() {    # LABEL COMPILER FILE FLAGS
    check "no warnings: $1" <<X
    $2 -I. -ffp-contract=off \$W $4 \$d/$3 2>&1 | tee \$d/w.\$\$ | head -n 40
    ! grep -Eq 'warning:|error:' \$d/w.\$\$ || { rm \$d/w.\$\$; exit 1; }
    rm \$d/w.\$\$
X
}
for std in c99 c11 c++11; do
    case $std in
    c++*) gcc='g++ -x c++' clang='clang++ -x c++' proto= ;;
    *) gcc=gcc clang=clang proto=-Wstrict-prototypes ;;
    esac
    for kind in whole declarations double threads static native avx2 unoptimised O1 O3; do
        file=impl.c
        case $kind in
        whole) flags= ;;
        declarations) flags=; file=decl.c ;;
        double) flags=-DIPR_REAL=double ;;
        threads) flags='-DIPR_THREADS -pthread' ;;
        static) flags=-DIPR_STATIC ;;
        native) flags=-march=native ;;
        avx2) flags='-mavx2 -mfma' ;;
        unoptimised) flags=-O0 ;;
        O1 | O3) flags=-$kind ;;
        esac
        case $flags in -O*) opt= ;; *) opt=-O2 ;; esac
        warnings "gcc $std $kind" "$gcc -std=$std" $file "$proto $opt $flags -c -o /dev/null"
        case $flags in -O*) ;; *) warnings "clang $std $kind" "$clang -std=$std" $file "$proto $flags -fsyntax-only" ;; esac
    done
done

# ---- floors: each top floor builds, links and runs without those above it
for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do
    check "floors 0-$n build, link and run" <<X
    gcc -std=c99 -O0 -I. \$W -Wno-sign-conversion -Wno-conversion -DIPR_FLOOR_MAX=$n \
        -c \$d/impl.c -o \$d/floor_$n.o || exit 1
    [ $n -ge 1 ] || exit 0
    gcc -std=c99 -O0 -I. -w -DIPR_FLOOR_MAX=$n -DSMOKE_MAIN tests/smoke.c -o \$d/floor_$n && \$d/floor_$n
X
done

# ---- stack frames of 4096 bytes at most, none of unknown size
for kind in float double threads; do
    case $kind in float) flags= ;; double) flags=-DIPR_REAL=double ;; threads) flags='-DIPR_THREADS -pthread' ;; esac
    check "stack frames <= 4096 bytes: gcc -O2 $kind" <<X
    gcc -std=c99 -O2 -I. -ffp-contract=off $flags -fstack-usage -c \$d/impl.c -o \$d/stack_$kind.o || exit 1
    awk -F '\t' '\$2 > 4096 || \$3 == "dynamic" { print; bad = 1 }
        \$2 > most { most = \$2; who = \$1 }
        END { sub(/.*:/, "", who); print "note: most is " most " bytes in " who; exit bad }' \$d/stack_$kind.su
X
done

# ---- options
options=$(grep -oE '\bIPR_NO_[A-Z0-9_]*[A-Z0-9]' ipr.h | sort -u)
for option in $options; do
    check "option $option" <<X
    \$C -D$option -DSMOKE_RUN=smoke_run -c tests/smoke.c -o \$d/$option.o || exit 1
    \$C -D$option -DSMOKE_ONLY_MAIN -c tests/smoke.c -o \$d/$option.main.o || exit 1
    case $option in
    IPR_NO_STDIO) may_need "\$libc" \$d/$option.o ;;
    IPR_NO_CLOCK) may_need "\$mem|\$heap|strlen|\$stdio" \$d/$option.o ;;
    *) may_need "\$libc|\$stdio" \$d/$option.o ;;
    esac
    gcc -no-pie \$d/$option.o \$d/$option.main.o -o \$d/$option && \$d/$option
X
done
check "option IPR_NO_* all together" <<X
    \$C $(for option in $options; do printf ' -D%s' "$option"; done) -DSMOKE_MAIN -no-pie tests/smoke.c -o \$d/none && \$d/none
X
check "option IPR_STATIC: two copies, float and double, and a third with linkage, in one program" <<'X'
    $C -DIPR_STATIC -DSMOKE_RUN=smoke_a -c tests/smoke.c -o $d/static_a.o || exit 1
    $C -DIPR_STATIC -DIPR_REAL=double -DSMOKE_RUN=smoke_b -c tests/smoke.c -o $d/static_b.o || exit 1
    $C -DSMOKE_RUN=smoke_c -c tests/smoke.c -o $d/static_c.o || exit 1
    if nm $d/static_a.o | grep ' [TDBCR] ' | grep -v ' smoke_a$'; then echo 'visible from outside'; exit 1; fi
    printf '%s\n' '#include <stdio.h>' 'int smoke_a(void); int smoke_b(void); int smoke_c(void);' \
        'int main(void) { int a = smoke_a(), b = smoke_b(), c = smoke_c(); printf("%d %d %d\n", a, b, c); return a || b || c; }' >$d/static.c
    gcc -no-pie $d/static.c $d/static_a.o $d/static_b.o $d/static_c.o -o $d/static && $d/static
X
check "option IPR_MALLOC, IPR_REALLOC, IPR_FREE: own trio, no malloc left" <<'X'
    $C -DSMOKE_OWN_MALLOC -c tests/smoke.c -o $d/own.o || exit 1
    may_need "$mem|$clock|strlen|$stdio" $d/own.o
    $C -DSMOKE_ONLY_MAIN -c tests/smoke.c -o $d/own.main.o && gcc -no-pie $d/own.o $d/own.main.o -o $d/own && $d/own
X
check "option IPR_MALLOC without the other two is an #error" <<'X'
    if gcc -std=c99 -I. '-DIPR_MALLOC(n)=0' -fsyntax-only $d/impl.c 2>$d/trio.err; then echo 'it compiled'; exit 1; fi
    grep '#error' $d/trio.err
X
check "option IPR_API: own linkage" <<'X'
    $C '-DIPR_API=extern __attribute__((visibility("hidden")))' -DSMOKE_MAIN -no-pie tests/smoke.c -o $d/api && $d/api
X
check "option IPR_ASSERT: invariants hold" <<'X'
    $C '-DIPR_ASSERT(x)=((x) ? (void)0 : __builtin_trap())' -DSMOKE_MAIN -no-pie tests/smoke.c -o $d/assert && $d/assert
X
check "option IPR_THREADS: only the pool's own symbols" <<'X'
    $C -DIPR_THREADS -pthread -c tests/smoke.c -o $d/threads.o || exit 1
    may_need "$libc|$stdio|$pool" $d/threads.o
    $C -DSMOKE_ONLY_MAIN -c tests/smoke.c -o $d/threads.main.o && gcc -no-pie -pthread $d/threads.o $d/threads.main.o -o $d/threads && $d/threads
X
check "option IPR_THREADS with IPR_FREESTANDING is an #error" <<'X'
    if gcc -std=c99 -I. -DIPR_THREADS -DIPR_FREESTANDING -fsyntax-only $d/impl.c 2>$d/tf.err; then echo 'it compiled'; exit 1; fi
    grep '#error' $d/tf.err
X
# The four mem* are the compiler's own calls; at -O1 -fno-builtin their loops are not turned into calls of themselves.
cat >$dir/start.c <<'X'
#include <stddef.h>
void *memcpy(void *d, const void *s, size_t n) { char *a = d; const char *b = s; while (n--) *a++ = *b++; return d; }
void *memset(void *d, int v, size_t n) { char *a = d; while (n--) *a++ = (char)v; return d; }
void *memmove(void *d, const void *s, size_t n)
{
    char *a = d; const char *b = s;
    if (a < b) while (n--) *a++ = *b++; else while (n--) a[n] = b[n];
    return d;
}
int memcmp(const void *p, const void *q, size_t n)
{
    const unsigned char *a = p, *b = q;
    for (; n--; a++, b++) if (*a != *b) return *a - *b;
    return 0;
}
int smoke_run(void);
__attribute__((force_align_arg_pointer)) void _start(void)
{
    long status = smoke_run() != 0;
    __asm__ volatile("syscall" : : "a"(60L), "D"(status) : "rcx", "r11", "memory");
}
X
for cc in gcc clang; do for opt in -O1 -O2 -O3; do
    check "option IPR_FREESTANDING: nothing but the four mem*: $cc $opt" <<X
    $cc -std=c99 $opt -I. -ffp-contract=off -ffreestanding -fno-stack-protector -fno-pic -DIPR_FREESTANDING \
        -c tests/smoke.c -o \$d/free_$cc$opt.o || exit 1
    may_need "\$mem" \$d/free_$cc$opt.o
    [ "\$(uname -s)-\$(uname -m)" = Linux-x86_64 ] || { echo 'note: built, not run on this machine'; exit 0; }
    gcc -std=c99 -O1 -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -fno-stack-protector -fno-pic -c \$d/start.c -o \$d/start_$cc$opt.o &&
        gcc -nostdlib -static -no-pie \$d/free_$cc$opt.o \$d/start_$cc$opt.o -o \$d/free_$cc$opt && \$d/free_$cc$opt
X
done; done

# ---- include orders and guards
include() {     # LABEL LINES: a program of these lines, as C and as C++
    check "include: $1" <<X
    printf '%b' '$2\nint main(void) { return ipr_status_name(0)[0] != 73; }\n' >\$d/include_$queued.c
    gcc -std=c99 -O0 -I. -Wall -Wextra -pedantic -Werror \$d/include_$queued.c -o \$d/include_$queued && \$d/include_$queued &&
        g++ -x c++ -std=c++11 -O0 -I. -Wall -Wextra -pedantic -Werror \$d/include_$queued.c -o \$d/include_$queued && \$d/include_$queued
X
}
include 'declarations, then implementation' '#include "ipr.h"\n#define IPR_IMPLEMENTATION\n#include "ipr.h"'
include 'implementation, then declarations' '#define IPR_IMPLEMENTATION\n#include "ipr.h"\n#undef IPR_IMPLEMENTATION\n#include "ipr.h"'
include 'implementation twice' '#define IPR_IMPLEMENTATION\n#include "ipr.h"\n#include "ipr.h"'
include 'after and before system headers' '#include <string.h>\n#include <math.h>\n#define IPR_IMPLEMENTATION\n#include "ipr.h"\n#include <stdio.h>\n#include <errno.h>'
check "include: C++ program, implementation in C" <<'X'
    printf '#include "ipr.h"\nint main() { ipr_desc d = IPR_ZERO; ipr_ctx *c = ipr_open(&d, NULL); int bad = ipr_status(c); ipr_close(c); return bad; }\n' >$d/mixed.cc
    gcc -std=c99 -O0 -I. -c $d/impl.c -o $d/mixed.o && g++ -std=c++11 -I. -Wall -Wextra -pedantic -Werror $d/mixed.cc $d/mixed.o -o $d/mixed && $d/mixed
X

# ---- symbols: no state, no output, no way out
for cc in gcc clang; do for kind in float double threads; do
    case $kind in float) flags= ;; double) flags=-DIPR_REAL=double ;; threads) flags='-DIPR_THREADS -pthread' ;; esac
    check "no writable globals, no thread-local storage: $cc $kind" <<X
    $cc -std=c99 -O2 -I. $flags -fno-pic -fno-pie -c \$d/impl.c -o \$d/globals_${cc}_$kind.o || exit 1
    if nm \$d/globals_${cc}_$kind.o | grep -E ' [BbDdCcGgSs] '; then exit 1; fi
X
done; done
check "no printing, exit, abort, locale, environment or libm: gcc -O2" <<'X'
    $C -O2 -c $d/impl.c -o $d/symbols.o && may_need "$libc|$stdio" $d/symbols.o
    echo "note: needs" $(undefined $d/symbols.o)
X

# ---- examples in the documentation: every indented program of the header's top comment, every C program of the README
awk -v out=$dir/top_ '
    function end() { if (text ~ /main\(/) { name = out (++n) ".c"; printf "%s", text >name; close(name) } text = "" }
    /\*\// { end(); exit }
    /^       / || /^ *$/ { text = text substr($0, 8) "\n"; next }
    { end() }' ipr.h
[ ! -f README.md ] || awk -v out=$dir/readme_ '
    /^```/ { if (open && text ~ /main\(/) { name = out (++n) ".c"; printf "%s", text >name; close(name) }
             open = !open && /^```(c|C)[ \t\r]*$/; text = ""; next }
    open { text = text $0 "\n" }' README.md
for doc in "$dir"/top_*.c "$dir"/readme_*.c; do
    [ -f "$doc" ] || continue
    base=$(basename "$doc" .c)
    link=; grep -q IPR_IMPLEMENTATION "$doc" || link='$d/impl.c'
    for std in c99 c11 c++11; do
        case $std in c++*) cc='g++ -x c++' ;; *) cc=gcc ;; esac
        check "documentation: $base compiles as $std" <<X
    $cc -std=$std -O1 -I. -Wall -Wextra -pedantic -Werror \$d/$base.c $link -o \$d/$base.$std
X
    done
done
check "documentation: the header's example is there" <<'X'
    [ -f $d/top_1.c ] || { echo 'no indented program with a main in the top comment of ipr.h'; exit 1; }
X
run_jobs
check "documentation: the header's example runs" <<'X'
    timeout 60 $d/top_1.c99 >$d/top_1.out; rc=$?
    cat $d/top_1.out
    echo "note: it says $(head -n 1 $d/top_1.out)"
    [ $rc -eq 0 ] && [ -s $d/top_1.out ] && ! grep -q 'ipr_' $d/top_1.out
X

# ---- hygiene: the files a reader gets
if git rev-parse >/dev/null 2>&1; then git ls-files -co --exclude-standard >$dir/files
else find . -type f ! -path './build/*' ! -path './results/*' ! -path './data/*' | sed 's,^\./,,' >$dir/files; fi
while read -r f; do [ ! -f "$f" ] || echo "$f"; done <$dir/files >$dir/files.here
grep -E '\.(c|h|cl)$' $dir/files.here >$dir/files.c
clean() {   # LABEL LIST GREP_ARGS: no file of the list has such a line
    check "hygiene: $1" <<X
    ! xargs grep -nIE $3 /dev/null <\$d/$2 | cut -c 1-200 | grep .
X
}
clean 'nothing left to do in the text' files.here "'\\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\\b'"
clean 'no paths of one machine' files.here "'(^|[^A-Za-z0-9_./-])/(wor[k]|hom[e]|User[s]|mn[t])/'"
clean 'no tabs in C files' files.c "\"\$(printf '\\t')\""
clean 'no blanks at line ends in C files' files.c "' \$'"
clean 'no carriage returns' files.here "\"\$(printf '\\r')\$\""
clean 'C files are ASCII' files.c "'[^ -~]'"
check "hygiene: text files are UTF-8" <<'X'
    while read -r f; do
        grep -Iq . "$f" || continue
        iconv -f UTF-8 -t UTF-8 "$f" >/dev/null 2>&1 || { echo "not UTF-8: $f"; bad=1; }
    done <$d/files.here
    exit ${bad:-0}
X
check "hygiene: lines of ipr.h <= 120 columns" <<'X'
    awk 'length > 120 { print FILENAME ":" FNR ": " length " columns"; bad = 1 } END { exit bad }' ipr.h
X
check "hygiene: only the agreed entries at the top" <<'X'
    bad=$(sed 's,/.*,,' $d/files.here | sort -u | grep -vxE 'ipr\.h|ipr_cl\.h|examples|tests|bench|data_fetch|Makefile|README\.md|LICENSE|\..*')
    [ -z "$bad" ] || { echo $bad; exit 1; }
X
run_jobs
finish
