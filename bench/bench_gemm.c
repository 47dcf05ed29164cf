/* Matrix products of ipr.h beside OpenBLAS, one thread, both called in turn. JSON lines:
     {"name":"sgemm_n256","ours":0.137,"peer":0.149,"ratio":1.088,"peer_name":"OpenBLAS 0.3.21 .."}
   ours, peer: milliseconds of CPU time of the thread (neighbours on the machine do not count), medians; ratio: peer / ours, above 1 we are faster. Without the library the peer
   is null and its name "absent".

     cc -O2 bench_gemm.c -ldl -o bench_gemm && ./bench_gemm [seconds per line] [portable|neon|avx2|avx512] */
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <dlfcn.h>

enum { MAX_RUNS = 500, NN = 0, NT = 1, TN = 2 };    /* which operand lies transposed */

typedef void (*sgemm_fn)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc);
typedef char *(*config_fn)(void);

static sgemm_fn peer;
static char peer_name[128] = "absent";
static double seconds = 0.3;
static ipr_ctx *ctx;

/* The best kernel of this CPU and one thread, whatever the environment says; it is read when the library loads. */
static void open_peer(void)
{
    void *lib, *f;
    /* OpenBLAS 0.3.21 takes CPUs newer than itself for a Prescott: name the kernels of the widest vectors there are. */
    const int isa = ipr__cpu_isa();
    unsetenv("OPENBLAS_L2_SIZE");
    if (isa == IPR_ISA_AVX512) setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    else if (isa == IPR_ISA_AVX2) setenv("OPENBLAS_CORETYPE", "Haswell", 1);
    else unsetenv("OPENBLAS_CORETYPE");
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    lib = dlopen("libopenblas.so.0", RTLD_NOW);
    if (!lib) return;
    f = dlsym(lib, "cblas_sgemm");
    if (!f) return;
    memcpy(&peer, &f, sizeof peer);
    strcpy(peer_name, "OpenBLAS");
    f = dlsym(lib, "openblas_get_config");
    if (f) {
        config_fn config;
        memcpy(&config, &f, sizeof config);
        strncpy(peer_name, config(), sizeof peer_name - 1);
    }
    while (peer_name[0] && peer_name[strlen(peer_name) - 1] == ' ') peer_name[strlen(peer_name) - 1] = 0;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

static double now(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t)) return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *matrix(size_t n)
{
    void *m = NULL;
    float *p;
    size_t i;
    if (posix_memalign(&m, 64, n * sizeof *p)) exit(1);
    p = (float *)m;
    for (i = 0; i < n; i++) p[i] = (float)((double)(i * 2654435761u % 2001u) / 1000.0 - 1.0);
    return p;
}

typedef struct product { int m, n, k, how, packed, acc; const float *a, *b; const void *pb; float *c; } product;

static void ours_once(const product *x)
{
    const ipr_index ra = x->how == TN ? 1 : x->k, ca = x->how == TN ? x->m : 1;
    const ipr_index rb = x->how == NT ? 1 : x->n, cb = x->how == NT ? x->k : 1;
    if (x->packed) ctx->kern->gemm_pb(x->m, x->n, x->k, x->a, ra, ca, x->pb, x->acc, x->c, x->n, ipr__ws(ctx, 0));
    else if (!ipr__gemm(ctx, x->m, x->n, x->k, x->a, ra, ca, x->b, rb, cb, x->acc, x->c, x->n)) exit(1);
}

static void peer_once(const product *x)
{
    peer(101, x->how == TN ? 112 : 111, x->how == NT ? 112 : 111, x->m, x->n, x->k, 1, x->a, x->how == TN ? x->m : x->k,
         x->b, x->how == NT ? x->k : x->n, x->acc ? 1.0f : 0.0f, x->c, x->n);
}

static double timed(void (*once)(const product *), const product *x, int calls)
{
    const double t = now();
    int i;
    for (i = 0; i < calls; i++) once(x);
    return (now() - t) * 1e3 / calls;
}

/* packed: B is packed once, outside the clock, as a recurrent layer does for its weights. */
static void bench(const char *name, int m, int n, int k, int how, int packed, int acc)
{
    static double ours[MAX_RUNS], theirs[MAX_RUNS];
    const size_t sm = (size_t)m, sn = (size_t)n, sk = (size_t)k;
    float *a = matrix(sm * sk), *b = matrix(sk * sn), *c = matrix(sm * sn);
    char *raw = (char *)malloc(ctx->kern->pack_b_bytes(k, n) + 64), *pb;
    product x;
    double ms, mine;
    int runs, calls, i;
    if (!raw || !ipr__scratch(ctx, ctx->kern->gemm_ws(m, n, k))) exit(1);
    pb = raw + (64 - (size_t)((uintptr_t)raw & 63)) % 64;
    x.m = m; x.n = n; x.k = k; x.how = how; x.packed = packed; x.acc = acc;
    x.a = a; x.b = b; x.pb = pb; x.c = c;
    if (packed) ctx->kern->pack_b(k, n, b, how == NT ? 1 : n, how == NT ? k : 1, pb);
    (void)timed(ours_once, &x, 1);
    ms = timed(ours_once, &x, 1);
    calls = ms > 1 ? 1 : (int)(1 / (ms + 1e-6)) + 1;        /* about a millisecond a run */
    runs = (int)(seconds * 1e3 / (2 * ms * calls));
    runs = runs < 5 ? 5 : runs > MAX_RUNS ? MAX_RUNS : runs;
    if (peer) (void)timed(peer_once, &x, 1);
    for (i = 0; i < runs; i++) {
        ours[i] = timed(ours_once, &x, calls);
        if (peer) theirs[i] = timed(peer_once, &x, calls);
    }
    mine = median(ours, runs);
    printf("{\"name\": \"%s\", \"who\": \"ipr\", \"threads\": 1, \"unit\": \"us\", \"value\": %.6g}\n", name, 1e3 * mine);
    if (peer)
        printf("{\"name\": \"%s\", \"who\": \"%s\", \"threads\": 1, \"unit\": \"us\", \"value\": %.6g}\n", name,
               peer_name, 1e3 * median(theirs, runs));
    fflush(stdout);
    free(a); free(b); free(c); free(raw);
}

int main(int argc, char **argv)
{
    static const int square[] = { 32, 48, 64, 96, 100, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048 };
    static const int hidden[] = { 100, 128, 256, 300 }, batch[] = { 1, 4, 10, 16, 32, 64, 128, 256 };
    ipr_desc d = IPR_ZERO;
    char name[64];
    int i, j;
    if (argc > 1 && atof(argv[1]) > 0) seconds = atof(argv[1]);
    for (i = IPR_ISA_PORTABLE; argc > 2 && i <= IPR_ISA_AVX512; i++) if (!strcmp(argv[2], ipr_isa_name(i))) d.isa = i;
    open_peer();
    ctx = ipr_open(&d, NULL);
    if (!ctx) { fprintf(stderr, "bench_gemm: this CPU has no %s\n", argc > 2 ? argv[2] : "memory"); return 1; }
    for (i = 0; i < (int)(sizeof square / sizeof *square); i++) {
        sprintf(name, "sgemm_n%d", square[i]);
        bench(name, square[i], square[i], square[i], NN, 0, 0);
    }
    for (i = 0; i < 4; i++) {
        const int h = hidden[i];
        for (j = 0; j < 8; j++) {
            sprintf(name, "rnn_step_b%d_h%d", batch[j], h);             /* gates += h U^T, weights packed */
            bench(name, batch[j], 4 * h, h, NT, 1, 1);
        }
        sprintf(name, "rnn_back_step_b64_h%d", h);                      /* dh = dgates U, weights packed */
        bench(name, 64, h, 4 * h, NN, 1, 0);
        sprintf(name, "rnn_input_h%d", h);                              /* all steps: x W^T, T*B = 3584 */
        bench(name, 3584, 4 * h, h == 300 ? 300 : 28, NT, 0, 0);
        sprintf(name, "rnn_back_input_h%d", h);                         /* all steps: dgates W */
        bench(name, 3584, h, 4 * h, NN, 0, 0);
        sprintf(name, "rnn_weight_grad_h%d", h);                        /* dgates^T h, all steps */
        bench(name, 4 * h, h, 3584, TN, 0, 1);
    }
    bench("gemv_row_n512", 1, 512, 512, NN, 0, 0);
    bench("gemv_col_n512", 512, 1, 512, NN, 0, 0);
    ipr_close(ctx);
    return 0;
}
