/* Floor 9: optimisers against a scalar double reference, schedules and clipping against PyTorch 1.13 (tables printed
   by torch.optim.lr_scheduler and clip_grad_norm_), the fit loop, checkpoints and bit-exact resume. */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#ifndef IPR_TEST_DIR
#define IPR_TEST_DIR "."
#endif
#define TR_CKPT IPR_TEST_DIR "/ipr_test_train.safetensors"
#define TR_TOL (IPR_REAL_IS_DOUBLE ? 1e-12 : 2e-5)

static double tr_abs(double x) { return x < 0 ? -x : x; }

static ipr_ctx *tr_open(uint64_t seed, int threads)
{
    ipr_desc d = IPR_ZERO;
    d.seed = seed;
    d.threads = threads;
    return ipr_open(&d, NULL);
}

/* ---- optimisers ---- */

typedef struct tr_ref { double w, m, v, buf; int steps; } tr_ref;

static double tr_sqrt(double x)
{
    double y = x > 1 ? x : 1;
    int i;
    if (!(x > 0)) return 0;
    for (i = 0; i < 200; i++) y = 0.5 * (y + x / y);
    return y;
}

static double tr_pow(double x, int n)
{
    double r = 1;
    while (n-- > 0) r *= x;
    return r;
}

/* torch.optim._single_tensor_adam and _single_tensor_sgd on one number */
static void tr_ref_step(tr_ref *r, double g, const ipr_opt_desc *d, double lr)
{
    r->steps++;
    if (d->kind == IPR_OPT_SGD) {
        g += d->weight_decay * r->w;
        if (d->momentum > 0) {
            r->buf = r->steps == 1 ? g : d->momentum * r->buf + (1 - d->dampening) * g;
            g = d->nesterov ? g + d->momentum * r->buf : r->buf;
        }
        r->w -= lr * g;
        return;
    }
    if (d->kind == IPR_OPT_ADAMW) r->w -= lr * d->weight_decay * r->w;
    else g += d->weight_decay * r->w;
    r->m = d->beta1 * r->m + (1 - d->beta1) * g;
    r->v = d->beta2 * r->v + (1 - d->beta2) * g * g;
    r->w -= lr / (1 - tr_pow(d->beta1,
                             r->steps)) * r->m / (tr_sqrt(r->v) / tr_sqrt(1 - tr_pow(d->beta2, r->steps)) + d->eps);
}

/* A gradient that depends on the weight, the element and the step. */
static double tr_gradient(double w, int i, int step) { return 0.3 * w + 0.1 * (double)((i * 7 + step * 3) % 11) - 0.4; }

static double tr_worst(const ipr_opt_desc *desc, int n)
{
    ipr_ctx *c = tr_open(1, 1);
    ipr_params *p = ipr_params_new(c);
    const ipr_index dim = n;
    ipr_tensor *t = ipr_param(p, "w", 1, &dim);
    ipr_opt *o = ipr_opt_new(p, desc);
    ipr_opt_desc d = ipr_opt_resolved(o);
    tr_ref *r = (tr_ref *)calloc((size_t)n, sizeof *r);
    double worst = 0;
    int i, step;
    for (i = 0; i < n; i++) {
        ipr_write(c, t, 1)[i] = (ipr_real)(0.05 * (double)(i % 40) - 1.0);
        r[i].w = (double)ipr_read(c, t)[i];
    }
    for (step = 0; step < 20; step++) {
        ipr_real *g = ipr_grad_write(c, t);
        if (step == 10) (void)ipr_opt_set_lr(o, d.lr * 0.5);
        for (i = 0; i < n; i++) {
            const double e = tr_gradient((double)ipr_read(c, t)[i], i, step);
            g[i] = (ipr_real)e;
            tr_ref_step(&r[i], (double)g[i], &d, step >= 10 ? d.lr * 0.5 : d.lr);
        }
        if (ipr_opt_step(o)) worst = 1e9;
        for (i = 0; i < n; i++) {
            const double e = tr_abs((double)ipr_read(c, t)[i] - r[i].w) / (1 + tr_abs(r[i].w));
            if (!(e <= worst)) worst = e;
        }
    }
    free(r);
    ipr_opt_free(o);
    ipr_close(c);
    return worst;
}

/* The reference itself against torch.optim in float64: one weight from -0.75, 20 steps, lr halved at the tenth. */
TEST(train_opt_torch)
{
    static const struct { int kind; double lr, mom, damp; int nest; double decay, b1, b2, eps, want; } t[] = {
        {IPR_OPT_SGD, 0.1, 0, 0, 0, 0, 0, 0, 0, -0.5527668060787835},
        {IPR_OPT_SGD, 0.1, 0.9, 0, 0, 0.05, 0, 0, 0, -0.10423279423322285},
        {IPR_OPT_SGD, 0.1, 0.9, 0.3, 0, 0.05, 0, 0, 0, -0.11426775013961546},
        {IPR_OPT_SGD, 0.1, 0.9, 0, 1, 0.05, 0, 0, 0, -0.13425598782421957},
        {IPR_OPT_ADAM, 0.02, 0, 0, 0, 0, 0, 0, 0, -0.6009362969289043},
        {IPR_OPT_ADAM, 0.02, 0, 0, 0, 0.05, 0.5, 0.9, 1e-3, -0.6046539638517258},
        {IPR_OPT_ADAMW, 0.02, 0, 0, 0, 0, 0, 0, 0, -0.5990862420213046},
        {IPR_OPT_ADAMW, 0.02, 0, 0, 0, 0.05, 0.5, 0.9, 0, -0.6139561132631649}};
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        ipr_opt_desc d = IPR_ZERO;
        tr_ref r;
        int step;
        memset(&r, 0, sizeof r);
        r.w = -0.75;
        d.kind = t[i].kind;
        d.lr = t[i].lr;
        d.momentum = t[i].mom;
        d.dampening = t[i].damp;
        d.nesterov = t[i].nest;
        d.weight_decay = t[i].decay;
        d.beta1 = t[i].b1;
        d.beta2 = t[i].b2;
        d.eps = t[i].eps;
        d = ipr__opt_defaults(&d);
        for (step = 0; step < 20; step++)
            tr_ref_step(&r, tr_gradient(r.w, 5, step), &d, step >= 10 ? d.lr * 0.5 : d.lr);
        CHECK_NEAR(r.w, t[i].want, 1e-13);
    }
}

TEST(train_opt_sgd)
{
    int momentum, dampening, nesterov, decay;
    for (momentum = 0; momentum < 2; momentum++)
    for (dampening = 0; dampening < 2; dampening++)
    for (nesterov = 0; nesterov < 2; nesterov++)
    for (decay = 0; decay < 2; decay++) {
        ipr_opt_desc d = IPR_ZERO;
        if (nesterov && (dampening || !momentum)) continue;
        d.kind = IPR_OPT_SGD;
        d.lr = 0.1;
        d.momentum = momentum ? 0.9 : 0;
        d.dampening = dampening ? 0.3 : 0;
        d.nesterov = nesterov;
        d.weight_decay = decay ? 0.05 : 0;
        CHECK_NEAR(tr_worst(&d, 37), 0, TR_TOL);
    }
}

TEST(train_opt_adam)
{
    int kind, decay, beta1, eps;
    for (kind = IPR_OPT_ADAM; kind <= IPR_OPT_ADAMW; kind++)
    for (decay = 0; decay < 2; decay++)
    for (beta1 = 0; beta1 < 3; beta1++)
    for (eps = 0; eps < 2; eps++) {
        ipr_opt_desc d = IPR_ZERO;
        d.kind = kind;
        d.lr = 0.02;
        d.weight_decay = decay ? 0.05 : kind == IPR_OPT_ADAMW ? -1 : 0;
        d.beta1 = beta1 == 2 ? -1 : beta1 ? 0.5 : 0;
        d.beta2 = beta1 ? 0.9 : 0;
        d.eps = eps ? 1e-3 : 0;
        CHECK_NEAR(tr_worst(&d, 37), 0, TR_TOL);
    }
    CHECK_NEAR(tr_worst(NULL, 20001), 0, TR_TOL);    /* several chunks and a tail */
}

TEST(train_opt_defaults)
{
    ipr_ctx *c = tr_open(1, 1);
    ipr_params *p = ipr_params_new(c);
    ipr_opt_desc d = IPR_ZERO, r;
    ipr_opt *o = ipr_opt_new(p, NULL);
    r = ipr_opt_resolved(o);
    CHECK_EQ_I(r.kind, IPR_OPT_ADAM);
    CHECK_NEAR(r.lr, 1e-3, 0);
    CHECK_NEAR(r.beta1, 0.9, 0);
    CHECK_NEAR(r.beta2, 0.999, 0);
    CHECK_NEAR(r.eps, 1e-8, 0);
    CHECK_NEAR(r.weight_decay, 0, 0);
    d.kind = IPR_OPT_ADAMW;
    r = ipr_opt_resolved(ipr_opt_new(p, &d));
    CHECK_NEAR(r.weight_decay, 0.01, 0);
    CHECK_NEAR(ipr_opt_lr(o), 1e-3, 0);
    CHECK_EQ_I(ipr_opt_step(o), IPR_OK);             /* nothing to do is no error */
    CHECK_EQ_I(ipr_opt_steps(o), 1);
    CHECK(ipr_opt_params(o) == p);
    ipr_close(c);
}

TEST(train_opt_errors)
{
    static const struct { int kind; double lr, b1, mom, damp; int nest, code; } t[] = {
        {7, 0, 0, 0, 0, 0, IPR_E_ARG}, {0, -1, 0, 0, 0, 0, IPR_E_RANGE}, {0, 0, 1, 0, 0, 0, IPR_E_RANGE},
        {2, 0, 0, -0.1, 0, 0, IPR_E_RANGE}, {2, 0, 0, 0, 0, 1, IPR_E_ARG}, {2, 0, 0, 0.9, 0.1, 1, IPR_E_ARG}};
    ipr_ctx *c = tr_open(1, 1);
    ipr_params *p = ipr_params_new(c);
    const ipr_index one = 1;
    ipr_opt *o;
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        ipr_opt_desc d = IPR_ZERO;
        d.kind = t[i].kind;
        d.lr = t[i].lr;
        d.beta1 = t[i].b1;
        d.momentum = t[i].mom;
        d.dampening = t[i].damp;
        d.nesterov = t[i].nest;
        CHECK(ipr_opt_new(p, &d) == NULL);
        CHECK_EQ_I(ipr_status(c), t[i].code);
        ipr_clear(c);
    }
    CHECK(ipr_opt_new(NULL, NULL) == NULL);
    CHECK_EQ_I(ipr_opt_step(NULL), IPR_E_ARG);
    o = ipr_opt_new(p, NULL);
    CHECK_EQ_I(ipr_opt_set_lr(o, -1), IPR_E_RANGE);
    ipr_clear(c);
    (void)ipr_param(p, "late", 1, &one);
    CHECK_EQ_I(ipr_opt_step(o), IPR_E_STATE);
    ipr_opt_free(NULL);
    ipr_close(c);
}

/* Skipped as PyTorch skips: no gradient (None) and requires_grad = False leave value, moments and step count alone. */
TEST(train_opt_skips)
{
    ipr_ctx *c = tr_open(1, 1);
    ipr_params *p = ipr_params_new(c);
    const ipr_index one = 1;
    ipr_tensor *a = ipr_param(p, "a", 1, &one), *b = ipr_param(p, "b", 1, &one);
    ipr_opt_desc d = IPR_ZERO;
    ipr_opt *o;
    double seen;
    int i;
    d.kind = IPR_OPT_SGD;
    d.momentum = 0.9;
    d.lr = 1;
    o = ipr_opt_new(p, &d);
    ipr_grad_write(c, a)[0] = (ipr_real)1;
    ipr_grad_write(c, b)[0] = (ipr_real)1;
    CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
    CHECK(ipr_grad(c, a) == NULL);                   /* cleared means: none arrived */
    CHECK_NEAR(ipr_read(c, a)[0], -1, 0);
    for (i = 0; i < 3; i++) {                        /* b gets none: its momentum must not carry it on */
        ipr_grad_write(c, a)[0] = (ipr_real)1;
        CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
    }
    CHECK_NEAR(ipr_read(c, b)[0], -1, 0);
    CHECK_NEAR(ipr_read(c, a)[0], -1 - 1.9 - 2.71 - 3.439, 1e-5);
    seen = (double)ipr_read(c, a)[0];
    ipr_grad_write(c, a)[0] = (ipr_real)1;
    ipr_grad_write(c, b)[0] = (ipr_real)1;
    ipr_require_grad(a, 0);
    CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
    CHECK_NEAR(ipr_read(c, a)[0], seen, 0);          /* frozen */
    CHECK_NEAR(ipr_read(c, b)[0], -1 - 1.9, 1e-6);   /* second step of b: buf = 0.9 * 1 + 1 */
    ipr_close(c);
}

/* Same bits with one worker and with three. */
static void tr_parallel(void *user, int items, ipr_task task, void *arg)
{
    int i;
    (void)user;
    for (i = items - 1; i >= 0; i--) task(arg, i, i % 3);   /* any order, any worker */
}

TEST(train_opt_threads)
{
    ipr_real *w[2];
    const ipr_index n = 100003;
    int k, i, step;
    for (k = 0; k < 2; k++) {
        ipr_desc d = IPR_ZERO;
        ipr_ctx *c;
        ipr_params *p;
        ipr_tensor *t;
        ipr_opt *o;
        d.threads = k ? 3 : 1;
        if (k) d.parallel_fn = tr_parallel;
        c = ipr_open(&d, NULL);
        p = ipr_params_new(c);
        t = ipr_param(p, "w", 1, &n);
        o = ipr_opt_new(p, NULL);
        for (step = 0; step < 3; step++) {
            ipr_real *g = ipr_grad_write(c, t);
            for (i = 0; i < n; i++) g[i] = (ipr_real)tr_gradient((double)ipr_read(c, t)[i], i, step);
            CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
        }
        w[k] = (ipr_real *)malloc((size_t)n * sizeof(ipr_real));
        memcpy(w[k], ipr_read(c, t), (size_t)n * sizeof(ipr_real));
        ipr_close(c);
    }
    CHECK(memcmp(w[0], w[1], (size_t)n * sizeof(ipr_real)) == 0);
    free(w[0]);
    free(w[1]);
}

/* ---- clipping ---- */

TEST(train_clip)
{
    static const double g1[3] = {3, -4, 0.5}, g2[4] = {1, 2, -2, 0.25}, max[3] = {1, 6, 0.1};
    static const double want[3] = {0.512147486, 3.0, 0.051214747};  /* first element after clip_grad_norm_ */
    ipr_ctx *c = tr_open(1, 1);
    ipr_params *p = ipr_params_new(c);
    const ipr_index three = 3, two[2] = {2, 2};
    ipr_tensor *a = ipr_param(p, "first", 1, &three), *b = ipr_param(p, "second", 2, two);
    int k, i;
    CHECK_NEAR(ipr_clip_grad_norm(p, 1), 0, 0);      /* no gradients at all */
    for (k = 0; k < 3; k++) {
        for (i = 0; i < 3; i++) ipr_grad_write(c, a)[i] = (ipr_real)g1[i];
        for (i = 0; i < 4; i++) ipr_grad_write(c, b)[i] = (ipr_real)g2[i];
        CHECK_NEAR(ipr_grad_norm(p), 5.857686996459961, 1e-6);
        CHECK_NEAR(ipr_clip_grad_norm(p, max[k]), 5.857686996459961, 1e-6);
        for (i = 0; i < 3; i++) CHECK_NEAR(ipr_grad(c, a)[i], g1[i] * want[k] / 3, 1e-6);
        for (i = 0; i < 4; i++) CHECK_NEAR(ipr_grad(c, b)[i], g2[i] * want[k] / 3, 1e-6);
    }
    ipr_params_zero_grad(p);
    ipr_grad_write(c, a)[0] = (ipr_real)1e-6;        /* clip_grad_norm_ divides by norm + 1e-6 */
    CHECK_NEAR(ipr_clip_grad_norm(p, 1e-6), 1e-6, 1e-12);
    CHECK_NEAR(ipr_grad(c, a)[0], 0.5e-6, 1e-12);
    ipr_grad_write(c, b)[2] = (ipr_real)ipr__dnan();
    CHECK(ipr_clip_grad_norm(p, 1) < 0);
    CHECK_EQ_I(ipr_status(c), IPR_E_NUMERIC);
    CHECK(strstr(ipr_message(c), "\"second\"") != NULL);
    ipr_clear(c);
    CHECK(ipr_clip_grad_norm(p, -1) < 0);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_close(c);
}

/* ---- schedules: lr of every epoch, from torch 1.13 ---- */

static const double t_step[] = {0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125, 0.0125};
static const double t_multi[] = {0.01, 0.01, 0.001, 0.001, 0.001, 0.0001, 1e-05, 1e-05, 1e-05, 1e-05};
static const double t_cos[] = {0.05, 0.047529173254165356, 0.040606070556376405, 0.030601897302210045,
    0.019498102697789958, 0.009493929443624599, 0.0025708267458346445, 0.0001, 0.0025708267458346423,
    0.009493929443624594, 0.019498102697789954, 0.030601897302210024, 0.040606070556375405, 0.04752917325416538,
    0.05000000000000002, 0.047529173254165384};
static const double t_metric[] = {1.0, 0.9, 0.95, 0.95, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8, 0.79999, 0.79998, 0.5, 0.6,
    0.6, 0.6, 0.6, 0.6, 0.6, 0.6};
static const double t_min_rel[] = {0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125,
    0.0125, 0.0125, 0.0125, 0.00625, 0.00625, 0.00625, 0.003125};
static const double t_max_rel[] = {0.1, 0.1, 0.1, 0.1, 0.1, 0.010000000000000002, 0.010000000000000002,
    0.010000000000000002, 0.010000000000000002, 0.010000000000000002, 0.010000000000000002, 0.0010000000000000002,
    0.0010000000000000002, 0.0010000000000000002, 0.0010000000000000002, 0.0010000000000000002,
    0.0010000000000000002, 0.0010000000000000002, 0.0010000000000000002, 0.0010000000000000002};
static const double t_min_abs[] = {0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125,
    0.0125, 0.0125, 0.00625, 0.00625, 0.00625, 0.003125, 0.003125};
static const double t_max_abs[] = {0.1, 0.1, 0.05, 0.025, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02,
    0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02};

static void tr_schedule(const ipr_sched_desc *d, double base, const double *want, int n)
{
    ipr_sched_state s = IPR_ZERO;
    int e;
    for (e = 0; e < n; e++) {
        CHECK_NEAR(ipr_sched_lr(d, base, e, &s), want[e], 1e-14);
        ipr_sched_report(d, base, &s, t_metric[e % 20]);
    }
}

TEST(train_schedules)
{
    ipr_sched_desc d = IPR_ZERO;
    CHECK_NEAR(ipr_sched_lr(&d, 0.3, 77, NULL), 0.3, 0);
    d.kind = IPR_SCHED_STEP;
    d.step_size = 3;
    d.gamma = 0.5;
    tr_schedule(&d, 0.1, t_step, 12);
    ipr__zero(&d, sizeof d);
    d.kind = IPR_SCHED_MULTISTEP;
    d.milestones[0] = 2; d.milestones[1] = 5; d.milestones[2] = 6;
    tr_schedule(&d, 0.01, t_multi, 10);
    ipr__zero(&d, sizeof d);
    d.kind = IPR_SCHED_COSINE;
    d.t_max = 7;
    d.lr_min = 1e-4;
    tr_schedule(&d, 0.05, t_cos, 16);
}

TEST(train_plateau)
{
    ipr_sched_desc d = IPR_ZERO;
    d.kind = IPR_SCHED_PLATEAU;
    d.gamma = 0.5;
    d.patience = 2;
    tr_schedule(&d, 0.1, t_min_rel, 20);
    d.gamma = 0;                                     /* 0.1 */
    d.patience = 3;
    d.maximize = 1;
    d.threshold = 1e-2;
    d.cooldown = 2;
    d.lr_min = 1e-3;
    tr_schedule(&d, 0.1, t_max_rel, 20);
    ipr__zero(&d, sizeof d);
    d.kind = IPR_SCHED_PLATEAU;
    d.gamma = 0.5;
    d.patience = 1;
    d.threshold = 0.05;
    d.threshold_abs = 1;
    d.cooldown = 1;
    tr_schedule(&d, 0.1, t_min_abs, 20);
    d.patience = -1;                                 /* 0 */
    d.maximize = 1;
    d.threshold = 0.5;
    d.cooldown = 0;
    d.lr_min = 0.02;
    tr_schedule(&d, 0.1, t_max_abs, 20);
    CHECK_NEAR(ipr_sched_lr(&d, 0.1, 5, NULL), 0.1, 0);
}

/* ---- metrics ---- */

TEST(train_metrics)
{
    static const ipr_real x[15] = {3, 1, 2,  0, 0, 0,  1, 5, 2,  0, 1, 9,  4, 9, 1};
    static const int32_t y[5] = {0, 1, 1, 2, -100}, bad[5] = {0, 1, 1, 3, 0};
    ipr_ctx *c = tr_open(1, 1);
    const ipr_index d[2] = {5, 3};
    ipr_tensor *l = ipr_from(c, 2, d, x), *t = ipr_from_i32(c, 1, d, y);
    ipr_index seen;
    ipr_confusion m;
    CHECK_EQ_I(ipr_count_correct(c, l, t, &seen), 3);   /* row 1 is all equal: class 0 */
    CHECK_EQ_I(seen, 4);
    CHECK_NEAR(ipr_accuracy(c, l, t), 75, 0);
    CHECK_EQ_I(ipr_confusion_init(c, &m, 3), IPR_OK);
    CHECK(ipr__isnan(ipr_confusion_accuracy(&m)));
    CHECK_EQ_I(ipr_confusion_add(&m, l, t), IPR_OK);
    CHECK_EQ_I(ipr_confusion_add(&m, l, t), IPR_OK);
    CHECK_EQ_I(ipr_confusion_at(&m, 1, 0), 2);
    CHECK_EQ_I(ipr_confusion_at(&m, 1, 1), 2);
    CHECK_EQ_I(ipr_confusion_at(&m, 9, 0), 0);
    CHECK_NEAR(ipr_confusion_accuracy(&m), 75, 0);
    CHECK_NEAR(ipr_confusion_precision(&m, 0), 50, 0);
    CHECK_NEAR(ipr_confusion_recall(&m, 1), 50, 0);
    CHECK_EQ_I(ipr_confusion_add(&m, l, ipr_from_i32(c, 1, d, bad)), IPR_E_RANGE);
    CHECK_EQ_I(ipr_confusion_at(&m, 0, 0), 2);       /* all or nothing */
    ipr_clear(c);
    ipr_confusion_reset(&m);
    CHECK_EQ_I(ipr_confusion_add_pair(&m, 2, 1), IPR_OK);
    CHECK_EQ_I(ipr_confusion_at(&m, 2, 1), 1);
    CHECK_NEAR(ipr_confusion_accuracy(&m), 0, 0);
    CHECK_EQ_I(ipr_count_correct(c, l, l, &seen), -1);
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_confusion_init(c, &m, 0), IPR_E_RANGE);
    ipr_confusion_free(&m);
    ipr_close(c);
}

/* Papineni et al. 2002, worked by hand: p1 = 2/7 clipped for "the the the the the the the"; then a pair of
   6 and 7 words with 5 + 3 + 2 + 1 matches. */
TEST(train_bleu)
{
    static const int32_t the[7] = {1, 1, 1, 1, 1, 1, 1}, cat[6] = {1, 2, 3, 4, 1, 5};
    static const int32_t hyp[6] = {1, 2, 3, 4, 9, 6}, ref[7] = {1, 2, 3, 4, 5, 6, 7};
    ipr_bleu b = IPR_ZERO, z = IPR_ZERO;
    double p;
    ipr_bleu_add(&b, the, 7, cat, 6);
    CHECK_EQ_I(b.match[0], 2);
    CHECK_EQ_I(b.total[0], 7);
    CHECK_EQ_I(b.match[1], 0);
    CHECK_NEAR(ipr_bleu_score(&b, 0), 0, 0);
    CHECK_NEAR(ipr_bleu_score(&b, 1), 7.80984984230064, 1e-9);     /* 2/7, 1/12, 1/20, 1/32; no brevity penalty */
    b = z;
    ipr_bleu_add(&b, hyp, 6, ref, 7);
    CHECK_EQ_I(b.match[0], 5);
    CHECK_EQ_I(b.match[1], 3);
    CHECK_EQ_I(b.match[2], 2);
    CHECK_EQ_I(b.match[3], 1);
    p = 5.0 / 6 * (3.0 / 5) * (2.0 / 4) * (1.0 / 3);
    CHECK_NEAR(ipr_bleu_score(&b, 0), 100 * tr_sqrt(tr_sqrt(p)) * 0.8464817248906141, 1e-9);   /* e^(1 - 7/6) */
    CHECK_NEAR(ipr_bleu_score(&b, 1), ipr_bleu_score(&b, 0), 0);
    ipr_bleu_add(&b, ref, 7, ref, 7);                /* a corpus adds counts, not scores */
    CHECK_EQ_I(b.match[3], 5);
    CHECK_EQ_I(b.hyp_len, 13);
    b = z;
    ipr_bleu_add(&b, ref, 7, ref, 7);
    CHECK_NEAR(ipr_bleu_score(&b, 0), 100, 1e-12);
    b = z;
    CHECK_NEAR(ipr_bleu_score(&b, 1), 0, 0);
    ipr_bleu_add(&b, ref, 3, ref, 3);                /* too short for 4-grams */
    CHECK_NEAR(ipr_bleu_score(&b, 0), 0, 0);
}

/* ---- progress text ---- */

TEST(train_progress_text)
{
    ipr_progress p;
    char b[200], small[10];
    memset(&p, 0, sizeof p);
    p.epoch = 3; p.epochs = 20; p.step = 420; p.steps = 938;
    p.loss = 0.34561; p.accuracy = 91.234; p.metric = 97.5; p.lr = 0.001;
    p.rate = 1234.4; p.seconds = 10.2; p.left = 3723;
    CHECK_EQ_I(ipr_progress_text(&p, b, sizeof b, 79, 1), 79);
    CHECK_STR(b, "epoch 3/20 [========>         ]  44% loss 0.3456 acc 91.23% 1234/s left 1:02:03");
    (void)ipr_progress_text(&p, b, sizeof b, 79, 0);
    CHECK_STR(b, "epoch 3/20 step 420/938 loss 0.3456 accuracy 91.23% lr 0.001 1234/s elapsed 0:10 left 1:02:03");
    p.accuracy = p.rate = p.left = ipr__dnan();
    p.loss = 1.23456e-5;
    (void)ipr_progress_text(&p, b, sizeof b, 50, 1);
    CHECK_STR(b, "epoch 3/20 [=======>         ]  44% loss 1.235e-05");
    p.event = IPR_PROGRESS_EPOCH;
    p.step = 938;
    p.rate = 45678;
    p.left = 86400 * 3 + 4 * 3600 + 300;
    (void)ipr_progress_text(&p, b, sizeof b, 79, 0);
    CHECK_STR(b, "epoch 3/20 step 938/938 loss 1.235e-05 eval 97.500 lr 0.001 45.7k/s elapsed 0:10 left 3d 04:05");
    (void)ipr_progress_text(&p, b, sizeof b, 79, 1);
    CHECK_STR(b, "epoch 3/20 [=====================] 100% loss 1.235e-05 eval 97.500 45.7k/s 0:10");
    CHECK_EQ_I(ipr_progress_text(&p, small, sizeof small, 79, 1), 9);
    CHECK_STR(small, "epoch 3/2");
    CHECK_EQ_I(ipr_progress_text(&p, b, sizeof b, 12, 1), 12);
    p.loss = ipr__dnan();
    p.event = IPR_PROGRESS_STOP;
    (void)ipr_progress_text(&p, b, sizeof b, 79, 0);
    CHECK_STR(b, "epoch 3/20 step 938/938 loss ? lr 0.001 45.7k/s elapsed 0:10 stopped");
}

/* ---- a small problem: 3 classes in 6 dimensions, two layers with dropout, one frozen and one unused parameter ---- */

enum { TR_ITEMS = 45, TR_IN = 6 };

typedef struct tr_job {
    ipr_ctx *c;
    ipr_params *p, *extra;
    ipr_dense l1, l2;
    ipr_real x[TR_ITEMS][TR_IN];
    int32_t y[TR_ITEMS];
    int stop_at, fail_at, steps, evals, events[3], eval_draws;
    uint64_t allocs[64];
    ipr_progress last;
    double clock;
} tr_job;

static double tr_clock(void *user) { return ((tr_job *)user)->clock; }

static void tr_data(tr_job *j)
{
    ipr_rng r = ipr_rng_make(5, 99, 0);
    int i, k;
    for (i = 0; i < TR_ITEMS; i++) {
        j->y[i] = i % 3;
        for (k = 0; k < TR_IN; k++) j->x[i][k] = (ipr_real)(0.5 * ipr_rng_normal(&r) + (k % 3 == i % 3 ? 1.0 : 0.0));
    }
}

static void tr_model(tr_job *j)
{
    const ipr_index two = 2, one = 1;
    j->p = ipr_params_new(j->c);
    j->l1 = ipr_dense_new(j->p, "l1", TR_IN, 8, 1);
    j->l2 = ipr_dense_new(j->p, "l2", 8, 3, 1);
    (void)ipr_param(j->p, "unused", 1, &two);
    j->extra = ipr_params_new(j->c);
    (void)ipr_param(j->extra, "count", 1, &one);
}

static void tr_start(tr_job *j, uint64_t seed)
{
    ipr_desc d = IPR_ZERO;
    memset(j, 0, sizeof *j);
    d.seed = seed;
    d.now_fn = tr_clock;
    d.now_user = j;
    j->stop_at = j->fail_at = -1;
    j->c = ipr_open(&d, NULL);
    tr_data(j);
    tr_model(j);
}

static ipr_tensor *tr_logits(tr_job *j, ipr_tensor *x)
{
    ipr_tensor *h = ipr_relu(j->c, ipr_dense_forward(j->c, &j->l1, x));
    return ipr_dense_forward(j->c, &j->l2, ipr_dropout(j->c, h, 0.25));
}

static ipr_tensor *tr_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    tr_job *j = (tr_job *)user;
    ipr_index d[2], i;
    ipr_tensor *x, *y, *z;
    ipr_real *px;
    int32_t *py;
    j->clock += 1.0;
    if (info->total < 64) j->allocs[info->total] = ipr_stats_get(c).allocs;
    if (j->fail_at >= 0 && info->total == (uint64_t)j->fail_at) {
        (void)ipr__fail(c, IPR_E_IO, "tr_step", "the data went away");
        return NULL;
    }
    d[0] = n;
    d[1] = TR_IN;
    x = ipr_new(c, 2, d);
    y = ipr_new_i32(c, 1, d);
    px = ipr_write(c, x, 0);
    py = ipr_write_i32(c, y, 0);
    if (!px || !py) return x;
    for (i = 0; i < n; i++) {
        memcpy(px + i * TR_IN, j->x[idx[i]], sizeof j->x[0]);
        py[i] = j->y[idx[i]];
    }
    z = tr_logits(j, x);
    if (!ipr_is_poison(z)) info->correct = ipr_count_correct(c, z, y, &info->seen);
    if (j->extra) ipr_write(c, ipr_params_at(j->extra, 0), 1)[0] += (ipr_real)1;
    j->steps++;
    return ipr_cross_entropy(c, z, y);
}

static double tr_eval(ipr_ctx *c, void *user, int epoch)
{
    tr_job *j = (tr_job *)user;
    const ipr_index d[2] = {TR_ITEMS, TR_IN};
    double v = ipr_accuracy(c, tr_logits(j, ipr_from(c, 2, d, &j->x[0][0])), ipr_from_i32(c, 1, d, j->y));
    (void)epoch;
    j->evals++;
    while (j->eval_draws > 0 && j->eval_draws-- % 2) ipr_step_end(c);
    return v;
}

static int tr_stop(void *user) { tr_job *j = (tr_job *)user; return j->stop_at >= 0 && j->steps >= j->stop_at; }

static void tr_progress(void *user, const ipr_progress *p)
{
    tr_job *j = (tr_job *)user;
    j->events[p->event]++;
    j->last = *p;
}

static ipr_fit_desc tr_desc(tr_job *j)
{
    ipr_fit_desc d = IPR_ZERO;
    d.params = j->p;
    d.optimiser.lr = 0.05;
    d.epochs = 4;
    d.items = TR_ITEMS;
    d.batch = 10;                                    /* 5 steps an epoch, the last of 5 items */
    d.shuffle = 1;
    d.step_fn = tr_step;
    d.user = j;
    return d;
}

/* All parameters and extra values as bytes. */
static size_t tr_bytes(tr_job *j, unsigned char *out)
{
    size_t n = 0;
    int k, i;
    for (k = 0; k < 2; k++) {
        ipr_params *p = k ? j->extra : j->p;
        for (i = 0; i < ipr_params_count(p); i++) {
            const size_t b = (size_t)ipr_count(ipr_params_at(p, i)) * sizeof(ipr_real);
            memcpy(out + n, ipr__rd(ipr_params_at(p, i)), b);
            n += b;
        }
    }
    return n;
}
enum { TR_BYTES = 1024 };

TEST(train_fit_learns)
{
    tr_job j;
    ipr_fit_desc d;
    ipr_fit_result r;
    tr_start(&j, 3);
    d = tr_desc(&j);
    d.epochs = 30;
    d.eval_fn = tr_eval;
    d.schedule.maximize = 1;
    d.clip_norm = 5;
    d.progress_fn = tr_progress;
    d.progress_user = &j;
    d.progress_seconds = 3;
    CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_OK);
    CHECK_STR(ipr_message(j.c), "");
    CHECK_EQ_I(r.status, IPR_OK);
    CHECK_EQ_I(r.epochs, 30);
    CHECK_EQ_I(r.steps, 150);
    CHECK(r.loss < 0.2);
    CHECK(r.accuracy > 90);
    CHECK(r.metric > 95);
    CHECK(r.best_metric >= r.metric);
    CHECK(r.best_epoch >= 0 && r.best_epoch < 30);
    CHECK_EQ_I(j.evals, 30);
    CHECK_NEAR(r.seconds, 150, 1e-9);
    CHECK_EQ_I(j.events[IPR_PROGRESS_EPOCH], 30);
    CHECK_EQ_I(j.events[IPR_PROGRESS_STEP], 30);     /* 5 s an epoch, a report every 3 s */
    CHECK_EQ_I(j.events[IPR_PROGRESS_STOP], 0);
    CHECK_EQ_I(j.last.epoch, 30);
    CHECK_EQ_I(j.last.step, 5);
    CHECK_NEAR(j.last.left, 0, 1e-9);
    CHECK_NEAR(j.last.rate, 9, 1e-9);                /* 45 items in 5 s */
    CHECK_NEAR(ipr_read(j.c, ipr_params_find(j.p, "unused"))[0], 0, 0);
    ipr_close(j.c);
}

TEST(train_fit_left)
{
    tr_job j;
    ipr_fit_desc d;
    tr_start(&j, 3);
    d = tr_desc(&j);
    d.stop_fn = tr_stop;
    d.progress_fn = tr_progress;
    d.progress_user = &j;
    j.stop_at = 7;                                   /* second epoch, 2 of 5 steps */
    CHECK_EQ_I(ipr_fit(j.c, &d, NULL), IPR_E_CANCELLED);
    CHECK_EQ_I(ipr_status(j.c), IPR_OK);
    CHECK_EQ_I(j.events[IPR_PROGRESS_STOP], 1);
    CHECK_EQ_I(j.last.epoch, 2);
    CHECK_EQ_I(j.last.step, 2);
    CHECK_NEAR(j.last.left, (4 * 45 - 65) / (65.0 / 7), 1e-9);
    ipr_close(j.c);
}

TEST(train_fit_no_allocations)
{
    tr_job j;
    ipr_fit_desc d;
    int i;
    tr_start(&j, 3);
    d = tr_desc(&j);
    d.epochs = 10;
    d.clip_norm = 1;
    d.eval_fn = tr_eval;
    CHECK_EQ_I(ipr_fit(j.c, &d, NULL), IPR_OK);
    for (i = 11; i < 50; i++) CHECK_EQ_I(j.allocs[i], j.allocs[10]);    /* the first epoch saw every size */
    ipr_close(j.c);
}

TEST(train_fit_errors)
{
    tr_job j;
    ipr_fit_desc d;
    ipr_fit_result r;
    unsigned char a[TR_BYTES], b[TR_BYTES];
    int k;
    tr_start(&j, 3);
    for (k = 0; k < 11; k++) {
        d = tr_desc(&j);
        if (k == 0) d.step_fn = NULL;
        if (k == 1) d.params = NULL;
        if (k == 2) d.items = 0;
        if (k == 3) { d.batch = 100; d.drop_last = 1; }
        if (k == 4) d.epochs = -1;
        if (k == 5) d.clip_norm = -1;
        if (k == 6) d.resume = 1;
        if (k == 7) d.schedule.kind = 99;
        if (k == 8) d.schedule.kind = IPR_SCHED_STEP;
        if (k == 9) d.optimiser.lr = -1;
        if (k == 10) d.checkpoint = IPR_TEST_DIR "/no/such/folder/x";
        CHECK(ipr_fit(j.c, &d, &r) < 0);
        CHECK(ipr_status(j.c) < 0);
        CHECK_EQ_I(r.status, ipr_status(j.c));
        CHECK_EQ_I(j.steps, 0);
        ipr_clear(j.c);
    }
    d = tr_desc(&j);
    CHECK_EQ_I(ipr_fit(NULL, &d, &r), IPR_E_ARG);
    d = tr_desc(&j);                                 /* an error in a step: as the last whole step left it */
    j.fail_at = 3;
    CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_E_IO);
    CHECK_EQ_I(r.steps, 3);
    CHECK_STR(ipr_message(j.c), "tr_step: the data went away");
    (void)tr_bytes(&j, a);
    ipr_close(j.c);
    tr_start(&j, 3);
    d = tr_desc(&j);
    d.stop_fn = tr_stop;
    j.stop_at = 3;
    CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_E_CANCELLED);
    CHECK(memcmp(a, b, tr_bytes(&j, b)) == 0);
    ipr_close(j.c);
}

/* ---- resume ---- */

enum { TR_CASES = 4 };

static ipr_fit_desc tr_case(tr_job *j, int k)
{
    ipr_fit_desc d = tr_desc(j);
    d.extra = j->extra;
    d.tag = "toy";
    d.clip_norm = 0.5;
    d.stop_fn = tr_stop;
    if (k == 1) {
        d.optimiser.kind = IPR_OPT_SGD;
        d.optimiser.momentum = 0.9;
        d.optimiser.nesterov = 1;
        d.schedule.kind = IPR_SCHED_PLATEAU;
        d.schedule.patience = -1;
        d.schedule.threshold = 0.3;
        d.schedule.maximize = 1;
        d.eval_fn = tr_eval;
    }
    if (k == 2) {
        d.optimiser.kind = IPR_OPT_ADAMW;
        d.schedule.kind = IPR_SCHED_COSINE;
        d.drop_last = 1;
    }
    if (k == 3) {
        d.optimiser.kind = IPR_OPT_SGD;
        d.schedule.kind = IPR_SCHED_PLATEAU;         /* by the epoch's loss */
        d.schedule.patience = -1;
        d.schedule.threshold = 0.9;
        d.shuffle = 0;
        ipr_require_grad(ipr_params_find(j->p, "l1.bias"), 0);
    }
    return d;
}

/* Interrupted after `first` and again after `second` steps, each time in a new process (a new context), the run must
   end with the bits and the numbers of one that was not. */
TEST(train_resume_bits)
{
    int k, cut;
    for (k = 0; k < TR_CASES; k++) {
        unsigned char want[TR_BYTES], got[TR_BYTES];
        ipr_fit_result r0, r;
        tr_job j;
        ipr_fit_desc d;
        size_t n;
        int total, status, parts;
        tr_start(&j, 11);
        d = tr_case(&j, k);
        CHECK_EQ_I(ipr_fit(j.c, &d, &r0), IPR_OK);
        total = j.steps;
        n = tr_bytes(&j, want);
        ipr_close(j.c);
        for (cut = 1; cut <= total; cut++) {
            (void)remove(TR_CKPT);
            for (parts = 0, status = IPR_E_CANCELLED; status == IPR_E_CANCELLED && parts < 100; parts++) {
                tr_start(&j, 11);
                if (parts == 1) {                    /* neither dropout before the run nor steps of eval may matter */
                    ipr_set_training(j.c, 1);
                    (void)ipr_dropout(j.c, j.l1.weight, 0.5);
                    j.eval_draws = 3;
                }
                d = tr_case(&j, k);
                d.checkpoint = TR_CKPT;
                d.resume = 1;
                j.stop_at = parts == 2 ? -1 : cut;
                status = ipr_fit(j.c, &d, &r);
                CHECK_EQ_I(r.resumed, parts > 0);
                if (status != IPR_E_CANCELLED) break;
                ipr_close(j.c);
            }
            CHECK_EQ_I(status, IPR_OK);
            CHECK_STR(ipr_message(j.c), "");
            CHECK_EQ_I(tr_bytes(&j, got), n);
            CHECK(memcmp(want, got, n) == 0);
            CHECK_EQ_I(r.steps, r0.steps);
            CHECK_NEAR(r.loss, r0.loss, 0);
            CHECK_NEAR(r.accuracy, r0.accuracy, 0);
            CHECK_NEAR(r.lr, r0.lr, 0);
            CHECK_EQ_I(r.best_epoch, r0.best_epoch);
            CHECK_NEAR(r.seconds, (double)total, 1e-9);
            ipr_close(j.c);
        }
    }
    (void)remove(TR_CKPT);
}

/* Killed without warning: the run goes on from the last checkpoint by time or by epochs. */
TEST(train_resume_after_crash)
{
    int k;
    for (k = 0; k < 2; k++) {
        unsigned char want[TR_BYTES], got[TR_BYTES];
        ipr_fit_result r;
        tr_job j;
        ipr_fit_desc d;
        size_t n;
        tr_start(&j, 11);
        d = tr_case(&j, 1);
        CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_OK);
        n = tr_bytes(&j, want);
        ipr_close(j.c);
        (void)remove(TR_CKPT);
        tr_start(&j, 11);
        d = tr_case(&j, 1);
        d.checkpoint = TR_CKPT;
        d.resume = 1;
        if (k) d.checkpoint_epochs = 2;
        else d.checkpoint_seconds = 4;               /* a step takes a second: after steps 4, 8, 12 */
        j.fail_at = 13;
        CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_E_IO);
        ipr_close(j.c);
        tr_start(&j, 11);
        d = tr_case(&j, 1);
        d.checkpoint = TR_CKPT;
        d.resume = 1;
        CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_OK);
        CHECK_EQ_I(j.steps, k ? 10 : 8);             /* 20 less the 10 or 12 that were kept */
        CHECK_EQ_I(tr_bytes(&j, got), n);
        CHECK(memcmp(want, got, n) == 0);
        ipr_close(j.c);
    }
    (void)remove(TR_CKPT);
}

/* A finished run answers from its checkpoint; more epochs go on; the same optimiser can be used twice. */
TEST(train_resume_finished)
{
    unsigned char want[TR_BYTES], got[TR_BYTES];
    ipr_fit_result r;
    tr_job j;
    ipr_fit_desc d;
    size_t n;
    (void)remove(TR_CKPT);
    tr_start(&j, 11);
    d = tr_case(&j, 0);
    d.epochs = 6;
    CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_OK);
    n = tr_bytes(&j, want);
    ipr_close(j.c);
    tr_start(&j, 11);
    d = tr_case(&j, 0);
    d.checkpoint = TR_CKPT;
    d.resume = 1;
    d.opt = ipr_opt_new(j.p, &d.optimiser);
    CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_OK);
    CHECK_EQ_I(j.steps, 20);
    CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_OK);        /* nothing left to do */
    CHECK_EQ_I(j.steps, 20);
    CHECK_EQ_I(r.resumed, 1);
    CHECK_EQ_I(r.epochs, 4);
    d.epochs = 6;
    CHECK_EQ_I(ipr_fit(j.c, &d, &r), IPR_OK);
    CHECK_EQ_I(j.steps, 30);
    CHECK_EQ_I(tr_bytes(&j, got), n);
    CHECK(memcmp(want, got, n) == 0);
    CHECK_EQ_I(ipr_params_load(j.p, TR_CKPT, IPR_LOAD_EXTRA), IPR_OK);   /* a checkpoint is a model file too */
    ipr_opt_free(d.opt);
    ipr_close(j.c);
    (void)remove(TR_CKPT);
}

/* Other settings, other models and files that are no checkpoint: refused with a reason, nothing changed. */
TEST(train_resume_refuses)
{
    static const char *const why[] = {"batch=10, this run batch=9", "seed=11, this run seed=12",
        "lr=0.05, this run lr=0.06",
        "schedule=0, this run schedule=4", "tag=toy, this run tag=toy;2", "written by adam, the optimiser now is sgd",
        "\"late\" is not in it", "number or order", "no training checkpoint", "\"l1.weight\" is"};
    static const int code[] = {IPR_E_FORMAT, IPR_E_FORMAT, IPR_E_FORMAT, IPR_E_FORMAT, IPR_E_FORMAT, IPR_E_FORMAT,
        IPR_E_MISSING, IPR_E_FORMAT, IPR_E_FORMAT, IPR_E_SHAPE};
    const ipr_index one = 1;
    unsigned char a[TR_BYTES], b[TR_BYTES];
    tr_job j;
    ipr_fit_desc d;
    int k;
    (void)remove(TR_CKPT);
    tr_start(&j, 11);
    d = tr_case(&j, 0);
    d.checkpoint = TR_CKPT;
    j.stop_at = 7;
    CHECK_EQ_I(ipr_fit(j.c, &d, NULL), IPR_E_CANCELLED);
    ipr_close(j.c);
    for (k = 0; k < 10; k++) {
        size_t n;
        tr_start(&j, k == 1 ? 12 : 11);
        if (k == 6) (void)ipr_param(j.p, "late", 1, &one);
        if (k == 7) { ipr_params_free(j.extra); j.extra = ipr_params_new(j.c); }
        if (k == 9) { j.p = ipr_params_new(j.c); j.l1 = ipr_dense_new(j.p, "l1", TR_IN + 1, 8, 1); }
        d = tr_case(&j, 0);
        d.checkpoint = TR_CKPT;
        d.resume = 1;
        if (k == 0) d.batch = 9;
        if (k == 2) d.optimiser.lr = 0.06;
        if (k == 3) d.schedule.kind = IPR_SCHED_COSINE;
        if (k == 4) d.tag = "toy;2";
        if (k == 5) d.optimiser.kind = IPR_OPT_SGD;
        if (k == 8) CHECK_EQ_I(ipr_params_save(j.p, d.checkpoint = TR_CKPT ".2", NULL), IPR_OK);
        d.opt = ipr_opt_new(j.p, &d.optimiser);
        n = tr_bytes(&j, a);
        CHECK_EQ_I(ipr_fit(j.c, &d, NULL), k == 3 ? IPR_E_FORMAT : code[k]);
        if (!CHECK(strstr(ipr_message(j.c), k == 5 ? "beta1" : k == 8 ? "not written by ipr_fit" : why[k]) != NULL))
            printf("  %s\n", ipr_message(j.c));
        CHECK_EQ_I(tr_bytes(&j, b), n);
        CHECK(memcmp(a, b, n) == 0);
        CHECK_EQ_I(ipr_opt_steps(d.opt), 0);
        CHECK_EQ_I(j.steps, 0);
        if (k == 5 || k == 8) {                      /* the optimiser's own file calls see the same */
            ipr_clear(j.c);
            CHECK_EQ_I(ipr_opt_load(d.opt, d.checkpoint), code[k]);
            if (!CHECK(strstr(ipr_message(j.c), why[k]) != NULL)) printf("  %s\n", ipr_message(j.c));
        }
        ipr_close(j.c);
    }
    (void)remove(TR_CKPT);
    (void)remove(TR_CKPT ".2");
}

/* Every truncation of a checkpoint is an error that leaves parameters and optimiser as they were. */
TEST(train_resume_truncated)
{
    unsigned char *file, a[TR_BYTES], b[TR_BYTES];
    size_t bytes = 0, cut, n;
    tr_job j;
    ipr_fit_desc d;
    ipr_opt *o;
    ipr_reader r;
    ipr_writer w;
    tr_start(&j, 11);
    d = tr_case(&j, 0);
    d.checkpoint = TR_CKPT;
    d.opt = o = ipr_opt_new(j.p, &d.optimiser);
    j.stop_at = 7;
    CHECK_EQ_I(ipr_fit(j.c, &d, NULL), IPR_E_CANCELLED);
    n = tr_bytes(&j, a);
    CHECK_EQ_I(ipr_writer_memory(j.c, &w), IPR_OK);
    CHECK_EQ_I(ipr_opt_write(o, &w), IPR_OK);
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_OK);
    bytes = (size_t)ipr_writer_bytes(&w);
    file = (unsigned char *)malloc(bytes);
    memcpy(file, ipr_writer_data(&w), bytes);
    ipr_writer_close(&w);
    for (cut = 0; cut < bytes; cut += 1 + cut % 13) {
        CHECK_EQ_I(ipr_reader_memory(j.c, &r, file, cut), IPR_OK);
        CHECK(ipr_opt_read(o, &r) < 0);
        CHECK(ipr_status(j.c) < 0);
        ipr_reader_close(&r);
        ipr_clear(j.c);
        CHECK_EQ_I(ipr_opt_steps(o), 7);
    }
    file[bytes / 2] ^= 1;                            /* one flipped bit: the hash sees it */
    CHECK_EQ_I(ipr_reader_memory(j.c, &r, file, bytes), IPR_OK);
    CHECK_EQ_I(ipr_opt_read(o, &r), IPR_E_FORMAT);
    ipr_reader_close(&r);
    ipr_clear(j.c);
    file[bytes / 2] ^= 1;
    CHECK_EQ_I(tr_bytes(&j, b), n);
    CHECK(memcmp(a, b, n) == 0);
    CHECK_EQ_I(ipr_file_write(j.c, TR_CKPT, file, bytes - 9, 0), IPR_OK);
    d.resume = 1;
    j.steps = 0;
    CHECK_EQ_I(ipr_fit(j.c, &d, NULL), IPR_E_FORMAT);
    CHECK_EQ_I(j.steps, 0);
    CHECK_EQ_I(tr_bytes(&j, b), n);
    CHECK(memcmp(a, b, n) == 0);
    free(file);
    ipr_close(j.c);
    (void)remove(TR_CKPT);
}

/* Saving and loading an optimiser in a loop of one's own. */
TEST(train_opt_files)
{
    const ipr_index n = 9;
    ipr_real w[9];
    int k, i, step, kind;
    for (kind = IPR_OPT_ADAM; kind <= IPR_OPT_SGD; kind++)
    for (k = 0; k < 2; k++) {
        ipr_ctx *c = tr_open(1, 1);
        ipr_params *p = ipr_params_new(c);
        ipr_tensor *t = ipr_param(p, "w", 1, &n);
        ipr_opt_desc d = IPR_ZERO;
        ipr_opt *o;
        d.kind = kind;
        d.momentum = kind == IPR_OPT_SGD ? 0.5 : 0;
        o = ipr_opt_new(p, &d);
        for (step = 0; step < 6; step++) {
            if (k && step == 3) {
                CHECK_EQ_I(ipr_opt_set_lr(o, 0.25), IPR_OK);
                CHECK_EQ_I(ipr_opt_save(o, TR_CKPT), IPR_OK);
                ipr_opt_free(o);
                ipr_params_free(p);
                p = ipr_params_new(c);
                t = ipr_param(p, "w", 1, &n);
                o = ipr_opt_new(p, &d);
                CHECK_EQ_I(ipr_opt_load(o, TR_CKPT), IPR_OK);
                CHECK_EQ_I(ipr_opt_steps(o), 3);
            } else if (step == 3) CHECK_EQ_I(ipr_opt_set_lr(o, 0.25), IPR_OK);
            CHECK_NEAR(ipr_opt_lr(o), step >= 3 ? 0.25 : 1e-3, 0);
            for (i = 0; i < n; i++) ipr_grad_write(c, t)[i] = (ipr_real)tr_gradient((double)ipr_read(c, t)[i], i, step);
            CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
        }
        if (!k) memcpy(w, ipr_read(c, t), sizeof w);
        else CHECK(memcmp(w, ipr_read(c, t), sizeof w) == 0);
        CHECK_EQ_I(ipr_opt_load(o, IPR_TEST_DIR "/no such file"), IPR_E_MISSING);
        ipr_close(c);
    }
    (void)remove(TR_CKPT);
}

/* ---- hooks ---- */

static int tr_reduce(ipr_ctx *c, void *user, ipr_params *p)
{
    ipr_tensor *t = ipr_params_find(p, "l1.weight");
    ipr_real *g = ipr_grad_write(c, t);
    ipr_index i;
    (void)user;
    for (i = 0; i < ipr_count(t); i++) g[i] = (ipr_real)0;
    return IPR_OK;
}

static int tr_reduce_bad(ipr_ctx *c, void *user,
                         ipr_params *p) { (void)c; (void)user; (void)p; return IPR_E_UNAVAILABLE; }

TEST(train_fit_hooks)
{
    tr_job j;
    ipr_fit_desc d;
    ipr_real w;
    tr_start(&j, 3);
    d = tr_desc(&j);
    d.optimiser.kind = IPR_OPT_SGD;
    d.reduce_fn = tr_reduce;
    w = ipr_read(j.c, j.l1.weight)[3];
    ipr_set_training(j.c, 0);
    CHECK_EQ_I(ipr_fit(j.c, &d, NULL), IPR_OK);
    CHECK_NEAR(ipr_read(j.c, j.l1.weight)[3], w, 0); /* its gradient was taken away */
    CHECK_EQ_I(j.c->training, 0);                    /* as the caller had it */
    d.reduce_fn = tr_reduce_bad;
    CHECK_EQ_I(ipr_fit(j.c, &d, NULL), IPR_E_UNAVAILABLE);
    CHECK(strstr(ipr_message(j.c), "reduce_fn answered IPR_E_UNAVAILABLE") != NULL);
    ipr_clear(j.c);
    CHECK(ipr_grad(j.c, j.l2.weight) == NULL);       /* half a step leaves nothing behind */
    ipr_close(j.c);
}

/* Each epoch sees every item once, in another order, and the order depends on the seed. */
static unsigned tr_seen[3][TR_ITEMS];
static uint32_t tr_first[3][2];

static ipr_tensor *tr_order_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    ipr_index i;
    for (i = 0; i < n; i++) {
        tr_seen[info->epoch][idx[i]]++;
        if (info->step == 0 && i < 2) tr_first[info->epoch][i] = idx[i];
    }
    return ipr_sum(c, ipr_params_at((ipr_params *)user, 0));
}

TEST(train_fit_order)
{
    int run, e, i, same = 0;
    uint32_t keep[3][2];
    memset(keep, 0, sizeof keep);
    for (run = 0; run < 2; run++) {
        ipr_ctx *c = tr_open((uint64_t)run, 1);
        ipr_params *p = ipr_params_new(c);
        const ipr_index one = 1;
        ipr_fit_desc d = IPR_ZERO;
        (void)ipr_param(p, "w", 1, &one);
        memset(tr_seen, 0, sizeof tr_seen);
        d.params = p;
        d.user = p;
        d.step_fn = tr_order_step;
        d.items = TR_ITEMS;
        d.batch = 7;
        d.epochs = 3;
        d.shuffle = 1;
        CHECK_EQ_I(ipr_fit(c, &d, NULL), IPR_OK);
        for (e = 0; e < 3; e++) for (i = 0; i < TR_ITEMS; i++) CHECK_EQ_I(tr_seen[e][i], 1);
        for (e = 0; e < 3; e++) same += memcmp(keep[e], tr_first[e], sizeof keep[e]) == 0;
        CHECK(memcmp(tr_first[0], tr_first[1], sizeof keep[0]) != 0);
        memcpy(keep, tr_first, sizeof keep);
        ipr_close(c);
    }
    CHECK_EQ_I(same, 0);
}

/* ---- memory runs out at every k-th allocation ---- */

typedef struct tr_heap { long left, live; } tr_heap;
static void *tr_alloc(void *user, size_t n)
{
    tr_heap *h = (tr_heap *)user;
    if (h->left-- <= 0) return NULL;
    h->live++;
    return malloc(n);
}
static void tr_free(void *user, void *p, size_t n)
{
    (void)n;
    ((tr_heap *)user)->live--;
    free(p);
}

static int tr_small_run(tr_heap *h)
{
    static tr_job j;
    ipr_desc cd = IPR_ZERO;
    ipr_fit_desc d;
    int status, message;
    long base;
    cd.allocator.alloc_fn = tr_alloc;
    cd.allocator.free_fn = tr_free;
    cd.allocator.user = h;
    memset(&j, 0, sizeof j);
    j.stop_at = j.fail_at = -1;
    j.c = ipr_open(&cd, &status);
    if (!j.c) return status;
    tr_data(&j);
    tr_model(&j);
    if (ipr_status(j.c)) { status = ipr_status(j.c); ipr_close(j.c); return status; }
    base = h->live;
    d = tr_desc(&j);
    d.epochs = 2;
    d.checkpoint = TR_CKPT;
    d.extra = j.extra;
    d.resume = 1;
    d.stop_fn = tr_stop;
    j.stop_at = 6;
    status = ipr_fit(j.c, &d, NULL);
    if (status == IPR_E_CANCELLED) {
        j.stop_at = -1;
        status = ipr_fit(j.c, &d, NULL);
    }
    message = ipr_status(j.c);
    CHECK_EQ_I(status, message);
    CHECK(h->live <= base + 16);                     /* arenas of the context grow; nothing of the run stays */
    ipr_close(j.c);
    return status;
}

TEST(train_out_of_memory)
{
    tr_heap h;
    long k;
    int status = IPR_E_NOMEM;
    for (k = 0; status != IPR_OK && k < 2000; k++) {
        (void)remove(TR_CKPT);
        h.left = k;
        h.live = 0;
        status = tr_small_run(&h);
        CHECK_EQ_I(h.live, 0);
        if (status != IPR_OK) CHECK_EQ_I(status, IPR_E_NOMEM);
    }
    CHECK_EQ_I(status, IPR_OK);
    CHECK(k > 30);
    (void)remove(TR_CKPT);
}

/* Momenta that decay for ever end among denormal numbers: zero to the vector tables, which would work a hundred times
   slower on them; kept by the portable one; and the caller's own floating-point mode survives. */
static ipr_real train__faint_momentum(int isa)
{
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    ipr_params *p;
    ipr_opt *o;
    ipr_tensor *w;
    ipr_index n = 40, i;
    volatile float tiny = 1e-38f;
    ipr_real m;
    d.isa = isa;
    c = ipr_open(&d, NULL);
    p = ipr_params_new(c);
    w = ipr_param(p, "w", 1, &n);
    o = ipr_opt_new(p, NULL);
    for (i = 0; i < n; i++) ipr_grad_write(c, w)[i] = IPR__R(1e-37);
    CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
    m = o->slot[0].m[7];
    tiny *= 0.01f;
    CHECK(tiny > 0);
    ipr_opt_free(o);
    ipr_params_free(p);
    ipr_close(c);
    return m;
}
TEST(train_denormals)
{
    if (IPR_REAL_IS_DOUBLE) return;
    CHECK(train__faint_momentum(IPR_ISA_PORTABLE) > 0);
#if IPR__X86
    if (ipr__cpu_isa() >= IPR_ISA_AVX2) CHECK(train__faint_momentum(IPR_ISA_AUTO) == 0);
#endif
}

static void suite_train(void)
{
    RUN(train_denormals);
    RUN(train_opt_torch);
    RUN(train_opt_sgd);
    RUN(train_opt_adam);
    RUN(train_opt_defaults);
    RUN(train_opt_errors);
    RUN(train_opt_skips);
    RUN(train_opt_threads);
    RUN(train_clip);
    RUN(train_schedules);
    RUN(train_plateau);
    RUN(train_metrics);
    RUN(train_bleu);
    RUN(train_progress_text);
    RUN(train_fit_learns);
    RUN(train_fit_left);
    RUN(train_fit_no_allocations);
    RUN(train_fit_errors);
    RUN(train_fit_hooks);
    RUN(train_fit_order);
    RUN(train_resume_bits);
    RUN(train_resume_after_crash);
    RUN(train_resume_finished);
    RUN(train_resume_refuses);
    RUN(train_resume_truncated);
    RUN(train_opt_files);
    RUN(train_out_of_memory);
}
