/* smoke.c: one small run through whatever the build options leave of ipr.h: hash, error, training of a tiny dense net,
   save and load in memory, a gated recurrent step, a convolutional step, a verdict. It needs no file, no libc beyond IPR's own options and
   no test harness, so that check.sh and matrix.sh can build it in every configuration.

     -DSMOKE_MAIN           a main that prints "smoke: OK" or the failing line (needs stdio)
     -DSMOKE_RUN=name       another name for smoke_run, to link two copies
     -DSMOKE_ONLY_MAIN      the main alone: the run is in another object
     -DSMOKE_OWN_MALLOC     IPR_MALLOC and its kin over a static buffer, counted */
#ifndef SMOKE_RUN
#define SMOKE_RUN smoke_run
#endif

#ifdef __cplusplus
extern "C"
#endif
int SMOKE_RUN(void);

#ifndef SMOKE_ONLY_MAIN

#ifdef SMOKE_OWN_MALLOC
#include <stddef.h>
static union { double align; unsigned char bytes[24 << 20]; } smoke_heap;
static size_t smoke_used;
static long smoke_mallocs, smoke_frees;
static void *smoke_malloc(size_t n)
{
    size_t at = smoke_used;
    n = (n + 15) / 16 * 16;
    if (n > sizeof smoke_heap.bytes - at) return NULL;
    smoke_used = at + n;
    smoke_mallocs++;
    return smoke_heap.bytes + at;
}
static void smoke_free(void *p) { if (p) smoke_frees++; }
#define IPR_MALLOC(n) smoke_malloc(n)
#define IPR_REALLOC(p, n) ((void)(p), smoke_malloc(n))
#define IPR_FREE(p) smoke_free(p)
#endif

#define IPR_IMPLEMENTATION
#include "ipr.h"

#define SMOKE(cond) do { if (!(cond)) return __LINE__; } while (0)

static int smoke_hash(void)
{
    static const uint8_t abc[32] = {    /* FIPS 180-4, SHA-256 of "abc" */
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
        0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad };
    uint8_t h[32];
    ipr_sha256_of("abc", 3, h);
    SMOKE(ipr_equal_ct(h, abc, 32));
    return 0;
}

#if IPR_FLOOR_MAX >= 4
static int smoke_context(ipr_ctx *c)
{
    SMOKE(ipr_status(c) == IPR_OK && ipr_message(c)[0] == 0);
    SMOKE(ipr_stats_get(c).bytes_now > 0);
#ifdef IPR_NO_SIMD
    SMOKE(ipr_isa(c) == IPR_ISA_PORTABLE);
#endif
    return 0;
}
#endif

#if IPR_FLOOR_MAX >= 5
static int smoke_error(ipr_ctx *c)      /* the first error stays, poison passes through, the context goes on */
{
    ipr_index ab[2] = { 3, 4 }, cd[2] = { 5, 6 };
    ipr_tensor *bad = ipr_matmul(c, ipr_new(c, 2, ab), ipr_new(c, 2, cd));
    SMOKE(ipr_is_poison(ipr_relu(c, bad)));
    SMOKE(ipr_status(c) == IPR_E_SHAPE);
    ipr_clear(c);
    ipr_step_end(c);
    SMOKE(ipr_status(c) == IPR_OK);
    return 0;
}
#endif

#if IPR_FLOOR_MAX >= 6
typedef struct smoke_net { ipr_params *p; ipr_dense a, b; } smoke_net;

static smoke_net smoke_net_new(ipr_ctx *c)
{
    smoke_net n;
    n.p = ipr_params_new(c);
    n.a = ipr_dense_new(n.p, "a", 2, 16, 1);
    n.b = ipr_dense_new(n.p, "b", 16, 2, 1);
    return n;
}

static ipr_real smoke_step(ipr_ctx *c, const smoke_net *n, int learn)   /* XOR; the loss */
{
    static const ipr_real in[8] = { 0, 0, 0, 1, 1, 0, 1, 1 };
    static const int32_t out[4] = { 0, 1, 1, 0 };
    ipr_index xs[2] = { 4, 2 }, ys[1] = { 4 };
    ipr_tensor *x = ipr_from(c, 2, xs, in), *y = ipr_from_i32(c, 1, ys, out);
    ipr_tensor *h = ipr_tanh(c, ipr_dense_forward(c, &n->a, x));
    ipr_tensor *loss = ipr_cross_entropy(c, ipr_dense_forward(c, &n->b, h), y);
    ipr_real v = ipr_item(c, loss);
    if (learn) ipr_backward(c, loss);
    return v;
}

static void smoke_descend(ipr_ctx *c, ipr_params *p)    /* plain gradient descent by hand */
{
    ipr_index j;
    int i;
    for (i = 0; i < ipr_params_count(p); i++) {
        ipr_tensor *t = ipr_params_at(p, i);
        const ipr_real *g = ipr_grad(c, t);
        ipr_real *w = ipr_write(c, t, 1);
        for (j = 0; g && w && j < ipr_count(t); j++) w[j] -= g[j];
    }
    ipr_params_zero_grad(p);
}

static int smoke_dense(ipr_ctx *c)
{
    smoke_net n = smoke_net_new(c);
    ipr_real first = 0, last = 0;
    int step;
#if IPR_FLOOR_MAX >= 9 && !defined(IPR_NO_TRAIN)
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *opt;
    od.lr = 0.05;
    opt = ipr_opt_new(n.p, &od);
#endif
    for (step = 0; step < 200; step++) {
        last = smoke_step(c, &n, 1);
        if (!step) first = last;
#if IPR_FLOOR_MAX >= 9 && !defined(IPR_NO_TRAIN)
        ipr_opt_step(opt);
#else
        smoke_descend(c, n.p);
#endif
        ipr_step_end(c);
    }
    SMOKE(ipr_status(c) == IPR_OK);
    SMOKE(first > (ipr_real)0.5 && last < (ipr_real)0.1);
    smoke_descend(c, n.p);              /* no gradient is left: changes nothing */
    SMOKE(smoke_step(c, &n, 0) < (ipr_real)0.1);
    ipr_step_end(c);
#if IPR_FLOOR_MAX >= 7
    {
        static uint8_t file[4096];
        uint8_t before[32], after[32];
        size_t need = 0;
        smoke_net m = smoke_net_new(c);
        SMOKE(ipr_params_save_memory(n.p, NULL, 0, &need, NULL) == IPR_OK && need > 0 && need <= sizeof file);
        SMOKE(ipr_params_save_memory(n.p, file, need, &need, NULL) == IPR_OK);
        SMOKE(ipr_params_load_memory(m.p, file, need, 0) == IPR_OK);
        SMOKE(ipr_params_sha256(n.p, before) == IPR_OK && ipr_params_sha256(m.p, after) == IPR_OK);
        SMOKE(ipr_equal_ct(before, after, 32));
        file[need - 1] ^= 1;            /* one bit of one weight: refused, and the model stays */
        SMOKE(ipr_params_load_memory(m.p, file, need, 0) == IPR_E_FORMAT);
        ipr_clear(c);
        SMOKE(ipr_params_sha256(m.p, after) == IPR_OK && ipr_equal_ct(before, after, 32));
#ifdef IPR_NO_STDIO
        SMOKE(ipr_params_save(n.p, "smoke.safetensors", NULL) == IPR_E_UNAVAILABLE);
        ipr_clear(c);
#endif
        ipr_params_free(m.p);
    }
#endif
#if IPR_FLOOR_MAX >= 9 && !defined(IPR_NO_TRAIN)
    ipr_opt_free(opt);
#endif
    ipr_params_free(n.p);
    return 0;
}
#endif

#if IPR_FLOOR_MAX >= 11 && !defined(IPR_NO_RNN)
static int smoke_gatekeeper(ipr_ctx *c)
{
    ipr_classifier_desc md = IPR_ZERO;
    ipr_gatekeeper_desc kd = IPR_ZERO;
    ipr_classifier *m;
    ipr_gatekeeper *g;
    ipr_real gates[5 * 8], first[8];
    ipr_index xs[3] = { 5, 2, 4 };
    md.input = 4; md.hidden = 8; md.classes = 3;
    kd.steps = 5; kd.width = 4; kd.units = 8; kd.signature = "a";
    m = ipr_classifier_new(c, &md);
    g = ipr_gatekeeper_new(c, &kd, "sixteen bytes or more", 21);
    SMOKE(m && g);
    SMOKE(ipr_gatekeeper_gates(g, m, NULL, 1, gates, first) == IPR_OK);
    SMOKE(gates[0] > 0 && gates[0] < 1 && ipr_gatekeeper_match(g, first) <= 8);
    SMOKE(ipr_rank(ipr_classifier_forward(m, ipr_new(c, 3, xs), NULL, 0)) == 2);
#ifndef IPR_NO_TRAIN
    {
        ipr_index ys[1] = { 2 };
        ipr_tensor *logits = NULL;
        ipr_tensor *x = ipr_new(c, 3, xs), *y = ipr_new_i32(c, 1, ys);
        ipr_opt *opt = ipr_opt_new(m->params, NULL);
        SMOKE(ipr_backward(c, ipr_gatekeeper_step(g, m, NULL, 0, x, y, &logits)) == IPR_OK);
        SMOKE(ipr_opt_step(opt) == IPR_OK && ipr_dim(logits, 0) == 2);
        ipr_opt_free(opt);
    }
#endif
    ipr_step_end(c);
    ipr_gatekeeper_free(g);
    ipr_classifier_free(m);
    SMOKE(ipr_status(c) == IPR_OK);
    return 0;
}
#endif

#if IPR_FLOOR_MAX >= 10 && !defined(IPR_NO_CNN)
static int smoke_cnn(ipr_ctx *c)
{
    ipr_cnn_desc d = IPR_ZERO;
    ipr_index xs[4] = { 2, 3, 16, 16 }, ys[1] = { 2 };
    ipr_cnn *m;
    d.arch = IPR_RESNET9; d.scale = 0.125; d.height = 16;
    m = ipr_cnn_new(c, &d);
    SMOKE(m && m->units == 12);
    ipr_set_training(c, 1);
    SMOKE(ipr_backward(c, ipr_cross_entropy(c, ipr_cnn_forward(m, ipr_new(c, 4, xs), NULL), ipr_new_i32(c, 1, ys))) == IPR_OK);
    ipr_set_training(c, 0);
    ipr_step_end(c);
    ipr_cnn_free(m);
    return 0;
}
#endif

#if IPR_FLOOR_MAX >= 13
static int smoke_verdict(void)
{
    ipr_verdict_desc d = IPR_ZERO;
    d.null_rate = 0.5;
    SMOKE(ipr_verdict_binomial(&d, 64, 64).decision == IPR_OWNED);
    SMOKE(ipr_verdict_binomial(&d, 34, 64).decision == IPR_NOT_OWNED);
    SMOKE(ipr_verdict_binomial(&d, 0, 0).decision == IPR_UNDECIDED);
    return 0;
}
#endif

#if IPR_FLOOR_MAX >= 4     /* the floor that completes the context */
static int smoke_all(ipr_ctx *c)
{
    int bad = smoke_context(c);
#if IPR_FLOOR_MAX >= 5
    if (!bad) bad = smoke_error(c);
#endif
#if IPR_FLOOR_MAX >= 6
    if (!bad) bad = smoke_dense(c);
#endif
#if IPR_FLOOR_MAX >= 10 && !defined(IPR_NO_CNN)
    if (!bad) bad = smoke_cnn(c);
#endif
#if IPR_FLOOR_MAX >= 11 && !defined(IPR_NO_RNN)
    if (!bad) bad = smoke_gatekeeper(c);
#endif
    return bad;
}

static int smoke_open(void)
{
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    int bad;
#ifdef IPR_FREESTANDING
    static union { double align; unsigned char bytes[16 << 20]; } memory;
    d.memory = memory.bytes;
    d.memory_size = sizeof memory.bytes;
#endif
#ifdef IPR_THREADS
    d.threads = 2;
#endif
    d.seed = 7;
    c = ipr_open(&d, NULL);
    SMOKE(c);
    bad = smoke_all(c);
    ipr_close(c);
#ifdef SMOKE_OWN_MALLOC
    if (!bad && (smoke_mallocs == 0 || smoke_mallocs != smoke_frees)) bad = __LINE__;
#endif
    return bad;
}
#endif

int SMOKE_RUN(void)     /* 0, or the line that failed */
{
    int bad = smoke_hash();
#if IPR_FLOOR_MAX >= 4
    if (!bad) bad = smoke_open();
#endif
#if IPR_FLOOR_MAX >= 13
    if (!bad) bad = smoke_verdict();
#endif
    return bad;
}
#endif /* SMOKE_ONLY_MAIN */

#if defined(SMOKE_MAIN) || defined(SMOKE_ONLY_MAIN)
#include <stdio.h>
int main(void)
{
    int bad = SMOKE_RUN();
    if (bad) printf("smoke.c:%d: not true\n", bad);
    else printf("smoke: OK\n");
    return bad != 0;
}
#endif
