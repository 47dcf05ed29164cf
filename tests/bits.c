/* bits.c: a short training run with the portable kernels, reduced to hashes. matrix.sh builds it for several compilers
   and architectures, which all have to print the same lines: the same weights, file, probabilities and verdicts.
   The first line tells whether the build claims that (ipr_portable_bits) and is not compared. `bits N` uses N threads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define IPR_IMPLEMENTATION
#include "ipr.h"

enum { BITS_ITEMS = 40, BITS_BATCH = 8, BITS_UNITS = 16, BITS_STEPS = 20, BITS_PROBES = 20, BITS_FRESH = 40 };

static void bits_print(const char *what, const void *data, size_t bytes)
{
    uint8_t h[32];
    char text[65];
    ipr_sha256_of(data, bytes, h);
    ipr_hex(h, 32, text);
    printf("%s %s\n", what, text);
}

static void bits_number(const char *what, double v)
{
    char text[32];
    ipr_fmt_double(text, v);
    printf("%s %s\n", what, text);
}

/* Weights and losses of BITS_STEPS steps with key, dropout and clipping. */
static void bits_train(ipr_ctx *c, ipr_classifier *m, ipr_gatekeeper *g, const ipr_dataset *ds)
{
    ipr_opt *opt = ipr_opt_new(m->params, NULL);
    ipr_real losses[BITS_STEPS];
    int step, i;
    ipr_set_training(c, 1);
    for (step = 0; step < BITS_STEPS; step++) {
        ipr_tensor *x, *y, *loss;
        uint32_t items[BITS_BATCH];
        for (i = 0; i < BITS_BATCH; i++) items[i] = (uint32_t)((step * BITS_BATCH + i) % BITS_ITEMS);
        ipr_batch(c, ds, items, BITS_BATCH, IPR_TIME_MAJOR, &x, &y);
        loss = ipr_gatekeeper_step(g, m, NULL, (uint64_t)step, x, y, NULL);
        losses[step] = ipr_item(c, loss);
        ipr_backward(c, loss);
        ipr_clip_grad_norm(m->params, 1.0);
        ipr_opt_step(opt);
        ipr_step_end(c);
    }
    ipr_set_training(c, 0);
    ipr_opt_free(opt);
    bits_number("loss.first", (double)losses[0]);
    bits_number("loss.last", (double)losses[BITS_STEPS - 1]);
}

static void bits_file(ipr_ctx *c, const ipr_classifier *m)
{
    static uint8_t file[1 << 16];
    ipr_pair pair[1] = { { "made", "by bits.c" } };
    ipr_meta meta;
    uint8_t h[32];
    char text[65];
    size_t need = 0;
    meta.pairs = pair;
    meta.count = 1;
    if (ipr_params_save_memory(m->params, file, sizeof file, &need, &meta)) return;
    bits_print("file", file, need);
    ipr_params_sha256(m->params, h);
    ipr_hex(h, 32, text);
    printf("weights %s\n", text);
    (void)c;
}

static void bits_verify(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_dataset *ds)
{
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_gatekeeper_report r = IPR_ZERO;
    t.fresh = BITS_FRESH;
    t.alpha = 0.05;
    if (ipr_gatekeeper_verify(g, m, ds, NULL, BITS_PROBES, &t, &r)) return;
    bits_number("score", r.score);
    bits_number("accuracy", r.accuracy_key);
    bits_number("matched", (double)r.matched);
    bits_number("function.p", r.function.p_value);
    bits_number("signature.log10_p", r.signature_binomial.log10_p);
}

static int bits_run(int threads, int cell)
{
    ipr_desc d = IPR_ZERO;
    ipr_classifier_desc md = IPR_ZERO;
    ipr_gatekeeper_desc kd = IPR_ZERO;
    ipr_ctx *c;
    ipr_dataset *ds;
    ipr_classifier *m;
    ipr_gatekeeper *g;
    int status;
    d.seed = 20;
    d.isa = IPR_ISA_PORTABLE;
    d.threads = threads;
    c = ipr_open(&d, &status);
    if (!c) { printf("ipr_open: %s\n", ipr_status_name(status)); return 1; }
    if (cell == IPR_LSTM) printf("portable_bits %d\n", ipr_portable_bits(c));
    printf("cell %s\n", ipr_cell_name(cell));
    ds = ipr_dataset_digits(c, 3, 0, BITS_ITEMS);
    md.cell = cell; md.input = 28; md.hidden = BITS_UNITS; md.classes = 10; md.dropout = 0.25;
    kd.steps = 28; kd.width = 28; kd.units = BITS_UNITS; kd.signature = "ab";
    m = ipr_classifier_new(c, &md);
    g = ipr_gatekeeper_new(c, &kd, "an owner seed of 32 bytes in all", 32);
    if (m && g && ds) {
        bits_print("digits", ipr_dataset_item_u8(ds, 0), (size_t)(BITS_ITEMS * 784));
        bits_train(c, m, g, ds);
        bits_file(c, m);
        bits_verify(g, m, ds);
    }
    status = ipr_status(c);
    if (status) printf("%s\n", ipr_message(c));
    ipr_close(c);
    return status != IPR_OK;
}

#ifndef IPR_NO_CNN
/* Floats as little-endian bytes, whatever the machine has. */
static void bits_reals(const char *name, const ipr_real *v, ipr_index n)
{
    uint8_t h[32], b[4];
    char text[65];
    ipr_sha256 s;
    ipr_index i;
    uint32_t u;
    int k;
    ipr_sha256_init(&s);
    for (i = 0; i < n; i++) {
        memcpy(&u, &v[i], sizeof u);
        for (k = 0; k < 4; k++) b[k] = (uint8_t)(u >> 8 * k);
        ipr_sha256_update(&s, b, 4);
    }
    ipr_sha256_final(&s, h);
    ipr_hex(h, 32, text);
    printf("%s %s\n", name, text);
}

/* Gradients and running statistics of three steps through convolution, norms and pooling. */
static int bits_cnn(int threads)
{
    const ipr_index xd[4] = { 6, 3, 13, 11 };
    ipr_desc d = IPR_ZERO;
    ipr_conv2d_desc cd = IPR_ZERO;
    ipr_pool2d_desc pd = IPR_ZERO;
    ipr_params *p;
    ipr_tensor *x;
    ipr_conv conv, last;
    ipr_norm bn, gn;
    ipr_ctx *c;
    int i, status;
    d.seed = 20;
    d.isa = IPR_ISA_PORTABLE;
    d.threads = threads;
    c = ipr_open(&d, &status);
    if (!c) { printf("ipr_open: %s\n", ipr_status_name(status)); return 1; }
    p = ipr_params_new(c);
    x = ipr_param(p, "x", 4, xd);
    ipr_init_normal(p, x, 1);
    cd.padding[0] = cd.padding[1] = 1;
    conv = ipr_conv_new(p, "conv", 3, 20, 3, &cd, 1);
    last = ipr_conv_new(p, "last", 20, 10, 3, NULL, 0);
    bn = ipr_norm_new(p, "bn", IPR_NORM_BATCH, 20, 0, 1);
    gn = ipr_norm_new(p, "gn", IPR_NORM_GROUP, 10, 2, 1);
    pd.kernel[0] = pd.kernel[1] = 3;
    pd.stride[0] = pd.stride[1] = 2;
    pd.padding[0] = 1;
    ipr_set_training(c, 1);
    for (i = 0; i < 3; i++) {
        ipr_tensor *h = ipr_max_pool2d(c, ipr_norm_apply(c, &bn, ipr_conv_apply(c, &conv, x), NULL, NULL, 1), &pd);
        h = ipr_norm_apply(c, &gn, ipr_conv_apply(c, &last, h), NULL, NULL, 1);
        h = ipr_layer_norm(c, ipr_adaptive_avg_pool2d(c, h, 3, 2), 3, NULL, NULL, NULL);
        ipr_backward(c, ipr_mean(c, ipr_mul(c, h, ipr_square(c, h))));
        ipr_step_end(c);
    }
    for (i = 0; i < ipr_params_count(p); i++) {
        ipr_tensor *t = ipr_params_at(p, i);
        const ipr_real *v = ipr_is_buffer(t) ? ipr_read(c, t) : ipr_grad(c, t);
        if (v) bits_reals(ipr_params_name(p, i), v, ipr_count(t));
    }
    status = ipr_status(c);
    if (status) printf("%s\n", ipr_message(c));
    ipr_params_free(p);
    ipr_close(c);
    return status != IPR_OK;
}
#else
static int bits_cnn(int threads) { (void)threads; return 0; }
#endif

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    return bits_run(threads, IPR_LSTM) || bits_run(threads, IPR_GRU) || bits_cnn(threads);
}
