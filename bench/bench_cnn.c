/* bench_cnn.c: times of convolutional training steps and forward passes, and what passports add, one JSON line each.
   usage: bench_cnn [threads [substring of the rows wanted]]
   A training step is forward, cross-entropy, backward and SGD with momentum and weight decay, as in bench_torch.py, whose
   rows have the same names. Ratios are of medians of steps taken in turn in one run. */
#define IPR_IMPLEMENTATION
#define IPR_STATIC
#include "../ipr.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "bench.h"

typedef struct net {
    ipr_ctx *c;
    ipr_cnn *m;
    ipr_opt *opt;
    ipr_passport *pass;      /* or NULL: not protected */
    ipr_dataset *triggers;   /* V3 */
    ipr_real *x;
    int32_t label[256];
    ipr_index batch, run;    /* images in x, and of a forward pass */
    uint64_t steps;
    double live;             /* bytes that a step holds between forward and backward */
} net;

static void net_close(net *n)
{
    free(n->x);
    ipr_close(n->c); /* and all that it holds */
}

static void net_open(net *n, int arch, ipr_index batch, int norm, int scheme)
{
    ipr_cnn_desc d = IPR_ZERO;
    ipr_passport_desc pd = IPR_ZERO;
    ipr_opt_desc od = IPR_ZERO;
    ipr_index k;
    memset(n, 0, sizeof *n);
    n->c = open_ctx();
    n->batch = n->run = batch;
    d.arch = arch;
    d.norm = norm;
    n->m = ipr_cnn_new(n->c, &d);
    if (scheme == IPR_PASSPORT_V1 && n->m) { /* the same, its protected units without scales of their own */
        d.bare = ipr_passport_default_units(n->m);
        ipr_cnn_free(n->m);
        n->m = ipr_cnn_new(n->c, &d);
    }
    if (!n->m) stop(n->c);
    pd.scheme = scheme;
    if (scheme) n->pass = ipr_passport_new(n->m, &pd, "a seed for measuring, 32 bytes..", 32);
    od.kind = IPR_OPT_SGD;
    od.lr = 0.01;
    od.momentum = 0.9;
    od.weight_decay = 5e-4;
    n->opt = ipr_opt_new(n->m->params, &od);
    n->x = noise(batch * n->m->desc.channels * n->m->desc.height * n->m->desc.width, 9);
    for (k = 0; k < 256; k++) n->label[k] = (int32_t)(k % 5);
    if (ipr_status(n->c)) stop(n->c);
}

static ipr_tensor *net_x(net *n)
{
    ipr_index d[4];
    d[0] = n->run;
    d[1] = n->m->desc.channels;
    d[2] = n->m->desc.height;
    d[3] = n->m->desc.width;
    return ipr_from(n->c, 4, d, n->x);
}

static void train_step(void *arg)
{
    net *n = (net *)arg;
    ipr_tensor *loss, *y;
    ipr_set_training(n->c, 1);
    y = ipr_from_i32(n->c, 1, &n->run, n->label);
    if (n->pass) loss = ipr_passport_step(n->pass, n->m, NULL, n->steps++, net_x(n), y, NULL);
    else loss = ipr_cross_entropy(n->c, ipr_cnn_forward(n->m, net_x(n), NULL), y);
    n->live = (double)ipr_stats_get(n->c).step_bytes;
    (void)ipr_backward(n->c, loss);
    (void)ipr_opt_step(n->opt);
    ipr_step_end(n->c);
    if (ipr_status(n->c)) stop(n->c);
}

static void forward(void *arg)
{
    net *n = (net *)arg;
    const ipr_scales *s = n->pass && n->m->desc.bare ? ipr_passport_fixed(n->pass, n->m) : NULL;
    ipr_set_training(n->c, 0);
    ipr_no_grad(n->c, 1);
    (void)ipr_cnn_forward(n->m, net_x(n), s);
    ipr_no_grad(n->c, 0);
    ipr_step_end(n->c);
    if (ipr_status(n->c)) stop(n->c);
}

static void plain(void)
{
    static const struct { int arch, reps; ipr_index batch; } nets[] = {
        { IPR_LENET, 9, 128 }, { IPR_KEYNET_CNN, 5, 128 }, { IPR_ALEXNET, 3, 64 }, { IPR_RESNET18, 3, 64 }
    };
    size_t k;
    for (k = 0; k < sizeof nets / sizeof nets[0]; k++) {
        char name[64], full[320], one[80];
        net n;
        (void)sprintf(name, "cnn_%.20s_B%d", ipr_cnn_name(nets[k].arch), (int)nets[k].batch);
        (void)sprintf(one, "cnn_%.20s_B1_forward", ipr_cnn_name(nets[k].arch));
        (void)sprintf(full, "%s_train %s_memory_over_live %s_forward %s", name, name, name, one);
        if (!strstr(full, only)) continue;
        net_open(&n, nets[k].arch, nets[k].batch, 0, 0);
        (void)sprintf(full, "%s_train", name);
        measure_steps(n.c, full, train_step, &n, nets[k].reps);
        (void)sprintf(full, "%s_memory_over_live", name);
        if (strstr(full, only)) { /* the peak, less 2 MiB of work space, over activations, parameters and momentum */
            train_step(&n);
            line(full, "ratio", ((double)ipr_stats_get(n.c).bytes_peak - 2097152) / (n.live + 2.0 * sizeof(ipr_real) * (double)ipr_params_elements(n.m->params)));
        }
        (void)sprintf(full, "%s_forward", name);
        measure_steps(n.c, full, forward, &n, nets[k].reps);
        n.run = 1;
        measure_steps(n.c, one, forward, &n, 15);
        net_close(&n);
    }
}

/* Protected over plain: V1 with batch norm, V2 and V3 (without its triggers, 2 of 64 images) with group norm. */
static void passports(void)
{
    static const struct { int arch, reps; } nets[] = { { IPR_ALEXNET, 5 }, { IPR_RESNET18, 3 }, { IPR_RESNET50, 3 } };
    size_t k;
    int scheme, i;
    for (k = 0; k < sizeof nets / sizeof nets[0]; k++)
        for (scheme = IPR_PASSPORT_V1; scheme <= IPR_PASSPORT_V2; scheme++) {
            const int norm = scheme == IPR_PASSPORT_V1 ? IPR_NORM_BATCH : IPR_NORM_GROUP;
            const ipr_index batch = nets[k].arch == IPR_RESNET50 ? 16 : 64;
            double t[4][16];
            char name[64], train[96], infer[96];
            net a, b;
            (void)sprintf(name, "passport_v%d_%.20s_B%d", scheme, ipr_cnn_name(nets[k].arch), (int)batch);
            (void)sprintf(train, "%s_train_over_plain", name);
            (void)sprintf(infer, "%s_inference_over_plain", name);
            if (!strstr(train, only) && !strstr(infer, only)) continue;
            net_open(&a, nets[k].arch, batch, norm, 0);
            net_open(&b, nets[k].arch, batch, norm, scheme);
            for (i = -1; i < nets[k].reps; i++) {
                const int at = i < 0 ? 0 : i;
                t[0][at] = time_step(a.c, train_step, &a);
                t[1][at] = time_step(b.c, train_step, &b);
                t[2][at] = time_step(a.c, forward, &a);
                t[3][at] = time_step(b.c, forward, &b);
            }
            line(train, "ratio", median(t[1], nets[k].reps) / median(t[0], nets[k].reps));
            line(infer, "ratio", median(t[3], nets[k].reps) / median(t[2], nets[k].reps));
            net_close(&a);
            net_close(&b);
        }
}

int main(int argc, char **argv)
{
    if (argc > 1) threads = atoi(argv[1]);
    if (argc > 2) only = argv[2];
    plain();
    passports();
    return 0;
}
