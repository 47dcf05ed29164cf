#!/bin/sh
# Measures this header beside its peers and writes build/bench.json and a table.
#   make bench, or:  CC=gcc BENCH_THREADS="1 2" BENCH_ROUNDS=3 BENCH_ONLY=lstm sh bench/run.sh
# Ours and the peers run in alternation (A B A B), a figure is the median over rounds. Peers:
#   PyTorch: the first of $IPR_PYTHON, python3, /usr/bin/python3 that can import torch
#   kann:    $IPR_KANN_DIR, a folder with kann.c and kautodiff.c (github.com/attractivechaos/kann)
# A peer that is not there is named as absent. IPR_BENCH_CPU=1 measures CPU time, for busy machines (one thread).
# shellcheck disable=SC2086,SC2194  # CC, CFLAGS and lists of flags are split into words
set -eu
cd "$(dirname "$0")/.."
CC=${CC:-cc}
CFLAGS=${BENCH_CFLAGS:--O2}
ROUNDS=${BENCH_ROUNDS:-3}
THREADS=${BENCH_THREADS:-1}
ONLY=${BENCH_ONLY:-}
mkdir -p build/bench
RAW=build/bench/raw.jsonl
ABSENT=build/bench/absent
: > $RAW
: > $ABSENT
# these would hold OpenBLAS below what this CPU can do: a peer is measured at its best
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE NVPL_BLAS_DEBUG_CPU_TYPE || true
# and left alone OpenBLAS 0.3.21 takes CPUs newer than itself for a Prescott
if grep -qw avx512f /proc/cpuinfo 2>/dev/null; then export OPENBLAS_CORETYPE=SkylakeX
elif grep -qw avx2 /proc/cpuinfo 2>/dev/null; then export OPENBLAS_CORETYPE=Haswell; fi

say() { printf '%s\n' "$*" >&2; }
build() { # program, source, flags: no program when it cannot be built
    out=build/bench/$1; src=$2; shift 2
    if $CC $CFLAGS "$src" -o "$out" "$@" 2> build/bench/log; then return 0; fi
    say "$src does not build:"; sed 5q build/bench/log >&2; rm -f "$out"; return 1
}

# ---- ours ----
THREAD_FLAGS="-DIPR_THREADS -pthread"
OURS=
build rnn bench/bench_rnn.c -I. -ffp-contract=off $THREAD_FLAGS && OURS="$OURS rnn"
build cnn bench/bench_cnn.c -I. -ffp-contract=off $THREAD_FLAGS && OURS="$OURS cnn"
[ -f bench/bench_gemm.c ] && build gemm bench/bench_gemm.c -I. -ffp-contract=off $THREAD_FLAGS && OURS="$OURS gemm"

# ---- peers ----
TORCH=
for p in "${IPR_PYTHON:-}" python3 /usr/bin/python3; do
    [ -n "$p" ] && "$p" -c 'import torch' 2>/dev/null && { TORCH=$p; break; }
done
[ -n "$TORCH" ] || echo 'torch: absent (no python3 that can import torch; set IPR_PYTHON)' >> $ABSENT
KANN=
if [ -n "${IPR_KANN_DIR:-}" ] && [ -f "$IPR_KANN_DIR/kann.c" ]; then
    CFLAGS=-O2 build kann bench/bench_kann.c -I"$IPR_KANN_DIR" "$IPR_KANN_DIR/kann.c" "$IPR_KANN_DIR/kautodiff.c" -lm && KANN=1
fi
[ -n "$KANN" ] || echo 'kann: absent (set IPR_KANN_DIR to its source folder)' >> $ABSENT

for t in $THREADS; do
    export OMP_NUM_THREADS=$t OPENBLAS_NUM_THREADS=$t
    r=1
    while [ $r -le "$ROUNDS" ]; do
        for o in $OURS; do
            [ "$o" = gemm ] && case $ONLY in '' | sgemm* | rnn_* | gemv*) ;; *) continue ;; esac
            [ "$o" = gemm ] && [ "$t" != 1 ] && continue
            say "round $r of $ROUNDS, $t thread(s): ipr $o"
            case $o in
            gemm) build/bench/gemm | { [ -z "$ONLY" ] && cat || grep "$ONLY"; } >> $RAW || say 'no matrix product of that name' ;;
            *) build/bench/$o $t $ONLY >> $RAW || say "build/bench/$o failed" ;;
            esac
        done
        if [ -n "$TORCH" ]; then
            say "round $r of $ROUNDS, $t thread(s): torch"
            "$TORCH" bench/bench_torch.py $t $ONLY >> $RAW || say 'bench_torch.py failed'
        fi
        if [ -n "$KANN" ] && [ "$t" = 1 ]; then
            case "lstm_t32_T32_B64_I128_H256_train" in
            *"$ONLY"*) say "round $r of $ROUNDS: kann"; build/bench/kann >> $RAW ;;
            esac
        fi
        r=$((r + 1))
    done
done

# ---- the header itself: compile time (CPU seconds), code size ----
row() { printf '{"name": "%s", "who": "ipr", "threads": 1, "unit": "%s", "value": %s}\n' "$1" "$2" "$3" >> $RAW; }
compile_seconds() { # flags: user + system seconds of the compiler
    ( $CC -O2 -I. "$@" -c build/bench/all.c -o build/bench/all.o >/dev/null 2>&1 || exit 1; times ) |
        awk 'NR == 2 { s = 0; for (i = 1; i <= 2; i++) { split($i, a, "m"); sub("s", "", a[2]); s += a[1] * 60 + a[2] } printf "%.2f", s }'
}
text_bytes() { size "$1" 2>/dev/null | awk 'NR == 2 { print $1 }'; }
if [ -z "$ONLY" ] || [ "$ONLY" = header ]; then
    printf '#define IPR_IMPLEMENTATION\n#include "ipr.h"\n' > build/bench/all.c
    cat > build/bench/infer.c <<'END'
#define IPR_IMPLEMENTATION
#define IPR_STATIC
#include "ipr.h"
static char memory[65536];
static ipr_real weights[4 * 8 * 8], input[16];
volatile ipr_real result;
int main(void)
{
    ipr_desc d = IPR_ZERO;
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out out = IPR_ZERO;
    ipr_index x[3] = {4, 1, 4}, w_ih[2] = {32, 4}, w_hh[2] = {32, 8};
    ipr_ctx *c;
    d.memory = memory;
    d.memory_size = sizeof memory;
    c = ipr_open(&d, NULL);
    in.x = ipr_from(c, 3, x, input);
    in.w_ih = ipr_from(c, 2, w_ih, weights);
    in.w_hh = ipr_from(c, 2, w_hh, weights);
    if (ipr_lstm(c, &in, &out) == IPR_OK) result = ipr_read(c, out.h_n)[0];
    return ipr_status(c);
}
END
    say 'the header: compile time and size'
    s=$(compile_seconds -DIPR_FLOOR_MAX=9) && [ -n "$s" ] && row compile_floors_0_to_9 s "$s"
    s=$(compile_seconds) && [ -n "$s" ] && row compile_all s "$s"
    s=$(text_bytes build/bench/all.o) && [ -n "$s" ] && row text_all bytes "$s"
    if $CC -Os -I. -DIPR_NO_SIMD -DIPR_NO_STDIO -ffunction-sections -fdata-sections -c build/bench/infer.c -o build/bench/infer.o 2>/dev/null; then
        s=$(text_bytes build/bench/infer.o) && [ -n "$s" ] && row text_lstm_inference_portable bytes "$s"
    fi
fi

# ---- medians, table, JSON ----
awk -v json=build/bench.json -v absent=$ABSENT -v cpu="$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | sed 1q)" \
    -v cc="$($CC --version 2>/dev/null | sed 1q)" -v clock="${IPR_BENCH_CPU:+cpu}" '
function field(s, k,    m) {
    if (!match(s, "\"" k "\": *")) return ""
    m = substr(s, RSTART + RLENGTH)
    if (substr(m, 1, 1) == "\"") { m = substr(m, 2); return substr(m, 1, index(m, "\"") - 1) }
    match(m, /^[-+0-9.eE]+/)
    return substr(m, 1, RLENGTH)
}
function is_time(u) { return u == "ms" || u == "us" || u == "s" }
function median(k,    n, i, j, x, a) {
    n = count[k]
    for (i = 1; i <= n; i++) a[i] = value[k, i]
    for (i = 2; i <= n; i++) { x = a[i]; for (j = i - 1; j > 0 && a[j] > x; j--) a[j + 1] = a[j]; a[j + 1] = x }
    return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
}
/"name"/ {
    name = field($0, "name"); who = field($0, "who"); t = field($0, "threads"); if (t == "") t = 1
    r = name SUBSEP t
    if (!(r in seen)) { seen[r] = 1; rows[++nrows] = r; rname[r] = name; rthreads[r] = t; unit[r] = field($0, "unit") }
    k = r SUBSEP who
    if (!(k in count)) whos[r] = whos[r] (whos[r] == "" ? "" : "\t") who
    value[k, ++count[k]] = field($0, "value") + 0
    b = field($0, "busy")
    if (b != "" && b + 0 < 0.9 * t) noisy[r] = 1
}
END {
    while ((getline l < absent) > 0) missing[++nmissing] = l
    printf "{\"cpu\": \"%s\", \"compiler\": \"%s\", \"clock\": \"%s\", \"rows\": [", cpu, cc, (clock == "" ? "wall" : clock) > json
    printf "%-44s %2s %10s %-8s %10s %-14s %7s\n", "measurement", "T", "ipr.h", "", "best peer", "", "ratio"
    for (i = 1; i <= nrows; i++) {
        r = rows[i]; n = split(whos[r], w, "\t"); ours = ""; peer = ""; best = ""
        for (j = 1; j <= n; j++) {
            m = median(r SUBSEP w[j])
            if (w[j] == "ipr") { ours = m; continue }
            if (peer == "" || (is_time(unit[r]) ? m < peer : m > peer)) { peer = m; best = w[j] }
        }
        ratio = ours != "" && peer != "" && ours > 0 && peer > 0 ? (is_time(unit[r]) ? peer / ours : ours / peer) : ""
        printf "%-44s %2s %10s %-8s %10s %-14s %7s%s\n", rname[r], rthreads[r], (ours == "" ? "-" : sprintf("%.4g", ours)), unit[r],
            (peer == "" ? "-" : sprintf("%.4g", peer)), best, (ratio == "" ? "" : sprintf("%.2fx", ratio)), ((r in noisy) ? " (busy machine)" : "")
        for (j = 1; j <= n; j++)
            printf "%s\n  {\"name\": \"%s\", \"who\": \"%s\", \"threads\": %s, \"unit\": \"%s\", \"median\": %.6g, \"n\": %d, \"busy_machine\": %s}",
                (printed++ ? "," : ""), rname[r], w[j], rthreads[r], unit[r], median(r SUBSEP w[j]), count[r SUBSEP w[j]],
                ((r in noisy) ? "true" : "false") > json
    }
    printf "\n], \"absent\": [" > json
    for (i = 1; i <= nmissing; i++) { print missing[i]; printf "%s\"%s\"", (i > 1 ? ", " : ""), missing[i] > json }
    printf "]}\n" > json
    print "ratio: how many times faster than the best peer; written to " json
}' $RAW
