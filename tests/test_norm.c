/* test_norm.c: norms, pooling, buffers and the convolution and norm layers, against PyTorch (golden/norms.h, made by
   golden/make_norms.py) and against plain loops of doubles; bad input, threads, memory. */
#ifndef IPR_NO_CNN
#ifndef NORMS_H_PATH
#define NORMS_H_PATH "golden/norms.h"
#endif
#include NORMS_H_PATH

static double norm_value(ipr_index i, int stream) { return (double)((7919 * i + 104729 * stream) % 257 - 128) / 64.0; }

static ipr_tensor *norm_tensor(ipr_ctx *c, int rank, const ipr_index *dims, int stream)
{
    ipr_tensor *t = ipr_new(c, rank, dims);
    ipr_index i;
    for (i = 0; i < ipr_count(t); i++) ipr_write(c, t, 1)[i] = (ipr_real)norm_value(i, stream);
    return t;
}

static ipr_tensor *norm_leaf(ipr_ctx *c, int rank, const ipr_index *dims, int stream)
{
    ipr_tensor *t = norm_tensor(c, rank, dims, stream);
    ipr_require_grad(t, 1);
    return t;
}

/* sum of y times values of stream 4, which are then its gradient */
static ipr_tensor *norm_loss(ipr_ctx *c, ipr_tensor *y)
{
    return ipr_is_poison(y) ? y : ipr_sum(c, ipr_mul(c, y, norm_tensor(c, ipr_rank(y), y->dim, 4)));
}

/* ---- PyTorch's values ---- */

enum { NORM_BN, NORM_GN, NORM_LN };
typedef struct norm_golden {
    const char *name;
    int op, arg, relu, affine; /* arg: groups or axes */
    double eps;
    int rank;
    ipr_index dim[4];
    const double *y, *dx, *dw, *db;
} norm_golden;
#define NORM_ROW(name, op, arg, relu, eps, rank, a, b, d, e) \
    { #name, op, arg, relu, 1, eps, rank, { a, b, d, e }, g_##name##_y, g_##name##_dx, g_##name##_dw, g_##name##_db },
#define NORM_BARE(name, op, arg, rank, a, b, d, e) \
    { #name, op, arg, 0, 0, 0, rank, { a, b, d, e }, g_##name##_y, g_##name##_dx, NULL, NULL },
static const norm_golden norm_rows[] = {
    NORM_ROW(bn, NORM_BN, 0, 0, 0, 4, 3, 2, 3, 2) NORM_ROW(bn_relu, NORM_BN, 0, 1, 0, 4, 3, 2, 3, 2)
    NORM_BARE(bn_bare, NORM_BN, 0, 2, 6, 3, 1, 1) NORM_ROW(bn_eps, NORM_BN, 0, 1, 0.5, 3, 2, 3, 5, 1)
    NORM_ROW(gn, NORM_GN, 3, 0, 0, 4, 2, 6, 2, 2) NORM_ROW(gn_relu, NORM_GN, 2, 1, 0, 4, 2, 6, 2, 2)
    NORM_BARE(in_bare, NORM_GN, 3, 3, 2, 3, 5, 1) NORM_ROW(gn_flat, NORM_GN, 2, 1, 0, 2, 3, 6, 1, 1)
    NORM_ROW(ln, NORM_LN, 1, 0, 0, 3, 3, 2, 4, 1) NORM_ROW(ln_relu, NORM_LN, 2, 1, 0, 3, 3, 2, 4, 1)
    NORM_BARE(ln_bare, NORM_LN, 1, 2, 2, 5, 1, 1)
};

static ipr_tensor *norm_call(ipr_ctx *c, int op, int arg, ipr_tensor *x, ipr_tensor *w, ipr_tensor *b, const ipr_norm_desc *d)
{
    return op == NORM_BN ? ipr_batch_norm(c, x, w, b, NULL, NULL, d)
         : op == NORM_GN ? ipr_group_norm(c, x, arg, w, b, d) : ipr_layer_norm(c, x, arg, w, b, d);
}

static void norm_check_golden(int isa)
{
    const double tol = IPR_REAL_IS_DOUBLE ? 1e-9 : 1e-5;
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    size_t k;
    d.isa = isa;
    c = ipr_open(&d, NULL);
    for (k = 0; k < sizeof norm_rows / sizeof norm_rows[0]; k++) {
        const norm_golden *r = &norm_rows[k];
        const int axes = r->op == NORM_LN ? r->arg : 1;
        const ipr_index *sd = r->op == NORM_LN ? r->dim + r->rank - axes : r->dim + 1;
        ipr_tensor *x = norm_leaf(c, r->rank, r->dim, 1), *y;
        ipr_tensor *w = r->affine ? norm_leaf(c, axes, sd, 2) : NULL, *b = r->affine ? norm_leaf(c, axes, sd, 3) : NULL;
        ipr_norm_desc nd = IPR_ZERO;
        nd.relu = r->relu;
        nd.eps = r->eps;
        y = norm_call(c, r->op, r->arg, x, w, b, r->relu || r->eps > 0 ? &nd : NULL);
        CHECK_EQ_I(ipr_backward(c, norm_loss(c, y)), IPR_OK);
        gold_near(ipr_read(c, y), r->y, (int)ipr_count(y), tol, r->name, __LINE__);
        gold_near(ipr_grad(c, x), r->dx, (int)ipr_count(x), tol, r->name, __LINE__);
        if (w) gold_near(ipr_grad(c, w), r->dw, (int)ipr_count(w), tol, r->name, __LINE__);
        if (b) gold_near(ipr_grad(c, b), r->db, (int)ipr_count(b), tol, r->name, __LINE__);
        ipr_step_end(c);
    }
    ipr_close(c);
}
TEST(norm_golden) { norm_check_golden(IPR_ISA_AUTO); }
TEST(norm_golden_portable) { norm_check_golden(IPR_ISA_PORTABLE); }

/* Three steps of training, then evaluation: the layer, as nn.BatchNorm2d. */
TEST(norm_running_statistics)
{
    static const double *const mean[3] = { g_run_mean0, g_run_mean1, g_run_mean2 };
    static const double *const var[3] = { g_run_var0, g_run_var1, g_run_var2 };
    const ipr_index xd[4] = { 2, 3, 2, 2 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_norm n = ipr_norm_new(p, "bn", IPR_NORM_BATCH, 3, 0, 1);
    ipr_tensor *x, *y;
    ipr_index i;
    int step;
    n.desc.momentum = 0.3;
    for (i = 0; i < 3; i++) {
        CHECK(ipr_read(c, n.weight)[i] == 1 && ipr_read(c, n.bias)[i] == 0);
        CHECK(ipr_read(c, n.running_mean)[i] == 0 && ipr_read(c, n.running_var)[i] == 1);
        ipr_write(c, n.weight, 1)[i] = (ipr_real)norm_value(i, 2);
        ipr_write(c, n.bias, 1)[i] = (ipr_real)norm_value(i, 3);
    }
    ipr_set_training(c, 1);
    for (step = 0; step < 3; step++) {
        CHECK(!ipr_is_poison(ipr_norm_apply(c, &n, norm_tensor(c, 4, xd, 10 + step), NULL, NULL, 1)));
        gold_near(ipr_read(c, n.running_mean), mean[step], 3, GOLD_TOL, "running_mean", __LINE__);
        gold_near(ipr_read(c, n.running_var), var[step], 3, GOLD_TOL, "running_var", __LINE__);
        ipr_step_end(c);
    }
    ipr_set_training(c, 0);
    x = norm_leaf(c, 4, xd, 1);
    y = ipr_norm_apply(c, &n, x, NULL, NULL, 1);
    CHECK_EQ_I(ipr_backward(c, norm_loss(c, y)), IPR_OK);
    GOLD_VALUE(c, y, eval_y);
    GOLD_GRAD(c, x, eval_dx);
    GOLD_GRAD(c, n.weight, eval_dw);
    GOLD_GRAD(c, n.bias, eval_db);
    gold_near(ipr_read(c, n.running_mean), mean[2], 3, GOLD_TOL, "running_mean", __LINE__); /* evaluation moves nothing */
    CHECK(!ipr_grad(c, n.running_mean) && !ipr_grad(c, n.running_var));
    ipr_params_free(p);
    ipr_close(c);
}

typedef struct pool_golden {
    const char *name;
    int kind; /* 0 max, 1 avg, 2 adaptive: k is the output */
    ipr_index k[2], s[2], p[2];
    int pad, n;
    const double *y, *dx;
} pool_golden;
#define POOL_ROW(name, kind, k0, k1, s0, s1, p0, p1, pad) \
    { #name, kind, { k0, k1 }, { s0, s1 }, { p0, p1 }, pad, (int)(sizeof g_##name##_y / sizeof *g_##name##_y), g_##name##_y, g_##name##_dx },
static const pool_golden pool_rows[] = {
    POOL_ROW(max22, 0, 2, 2, 0, 0, 0, 0, 0) POOL_ROW(max321, 0, 3, 3, 2, 2, 1, 1, 0) POOL_ROW(max_odd, 0, 3, 2, 1, 2, 1, 0, 0)
    POOL_ROW(avg22, 1, 2, 2, 0, 0, 0, 0, 0) POOL_ROW(avg_pad, 1, 3, 3, 2, 2, 1, 1, 1) POOL_ROW(avg_nopad, 1, 3, 4, 2, 1, 1, 2, 0)
    POOL_ROW(ada11, 2, 1, 1, 0, 0, 0, 0, 0) POOL_ROW(ada32, 2, 3, 2, 0, 0, 0, 0, 0) POOL_ROW(ada75, 2, 9, 5, 0, 0, 0, 0, 0)
};

static ipr_tensor *pool_call(ipr_ctx *c, int kind, ipr_tensor *x, const ipr_pool2d_desc *d)
{
    return kind == 0 ? ipr_max_pool2d(c, x, d) : kind == 1 ? ipr_avg_pool2d(c, x, d) : ipr_adaptive_avg_pool2d(c, x, d->kernel[0], d->kernel[1]);
}

TEST(pool_golden)
{
    const ipr_index xd[4] = { 1, 2, 7, 5 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    size_t k;
    ipr_index i;
    for (k = 0; k < sizeof pool_rows / sizeof pool_rows[0]; k++) {
        const pool_golden *r = &pool_rows[k];
        ipr_tensor *x = norm_leaf(c, 4, xd, 1), *y;
        ipr_pool2d_desc d = IPR_ZERO;
        int a;
        for (i = 0; r->kind == 0 && i < ipr_count(x); i++) ipr_write(c, x, 1)[i] = (ipr_real)floor(norm_value(i, 1));
        for (a = 0; a < 2; a++) { d.kernel[a] = r->k[a]; d.stride[a] = r->s[a]; d.padding[a] = r->p[a]; }
        d.count_pad = r->pad;
        y = pool_call(c, r->kind, x, &d);
        if (!CHECK_EQ_I(ipr_count(y), r->n)) continue;
        CHECK_EQ_I(ipr_backward(c, norm_loss(c, y)), IPR_OK);
        gold_near(ipr_read(c, y), r->y, r->n, GOLD_TOL, r->name, __LINE__);
        gold_near(ipr_grad(c, x), r->dx, 70, GOLD_TOL, r->name, __LINE__);
        ipr_step_end(c);
    }
    ipr_close(c);
}

/* NaN wins wherever it stands and its place gets the gradient (the last of several); padding is -infinity. */
TEST(pool_max_nan_and_infinity)
{
    const ipr_index xd[4] = { 1, 1, 2, 4 };
    const ipr_real inf = (ipr_real)HUGE_VAL, nan = inf - inf;
    ipr_real v[8];
    ipr_pool2d_desc d = IPR_ZERO;
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x, *y;
    int i;
    v[0] = 1; v[1] = nan; v[4] = nan; v[5] = inf;  /* left window */
    v[2] = -inf; v[3] = -inf; v[6] = -inf; v[7] = -inf;
    x = ipr_from(c, 4, xd, v);
    ipr_require_grad(x, 1);
    d.kernel[0] = d.kernel[1] = 2;
    y = ipr_max_pool2d(c, x, &d);
    CHECK(ipr_read(c, y)[0] != ipr_read(c, y)[0]);
    CHECK(ipr_read(c, y)[1] == -inf);
    ipr_backward(c, ipr_sum(c, ipr_mul(c, y, ipr_new(c, 4, y->dim))));
    CHECK_EQ_I(ipr_status(c), IPR_E_NUMERIC);      /* 0 * NaN; so by hand: */
    ipr_clear(c);
    y->s->grad = NULL;
    ipr__grad_acc(c, y)[0] = 3;
    y->s->grad[1] = 5;
    ipr__max_pool2d_backward(c, c->nodes[0]);
    for (i = 0; i < 8; i++) CHECK_NEAR(ipr_grad(c, x)[i], i == 4 ? 3 : i == 2 ? 5 : 0, 0);
    for (i = 0; i < 8; i++) ipr_write(c, x, 1)[i] = (ipr_real)(-1 - i);
    d.padding[0] = d.padding[1] = 1;
    y = ipr_max_pool2d(c, x, &d);                  /* [2,3] windows; no padded zero wins over -1.. */
    CHECK_EQ_I(ipr_count(y), 6);
    CHECK_NEAR(ipr_read(c, y)[0], -1, 0);
    CHECK_NEAR(ipr_read(c, y)[1], -2, 0);
    CHECK_NEAR(ipr_read(c, y)[5], -8, 0);
    ipr_close(c);
}

/* ---- norms against plain loops, at sizes that reach every edge ---- */

/* x [N,C,S], sets of batch norm (groups 0) or of groups; y, dx, dw, db in doubles by definition. */
static void norm_reference(ipr_index N, ipr_index C, ipr_index S, ipr_index groups, int relu, const ipr_real *x, const ipr_real *w, const ipr_real *b,
                           const ipr_real *g, double *y, double *dx, double *dw, double *db)
{
    const ipr_index sets = groups ? N * groups : C, M = N * C * S / sets;
    ipr_index k, e, pass;
    for (k = 0; k < sets; k++) {
        double mean = 0, var = 0, m0 = 0, m1 = 0, rstd = 0;
        for (pass = 0; pass < 4; pass++)
            for (e = 0; e < M; e++) {
                const ipr_index at = groups ? k * M + e : (e / S * C + k) * S + e % S, ch = at / S % C;
                const double ww = w ? (double)w[ch] : 1, d = (double)x[at] - mean, h = d * rstd;
                double gg = (double)g[at];
                if (pass == 0) { mean += (double)x[at] / (double)M; if (e + 1 == M) break; continue; }
                if (pass == 1) { var += d * d / (double)M; continue; }
                if (pass == 2) {
                    if (!e) rstd = 1 / sqrt(var + 1e-5);
                    y[at] = d * rstd * ww + (b ? (double)b[ch] : 0);
                    if (relu && !(y[at] > 0)) { y[at] = 0; gg = 0; }
                    db[ch] += gg;
                    dw[ch] += gg * d * rstd;
                    m0 += gg * ww / (double)M;
                    m1 += gg * ww * d * rstd / (double)M;
                    continue;
                }
                if (relu && !(y[at] > 0)) gg = 0;
                dx[at] = rstd * (gg * ww - m0 - h * m1);
            }
    }
}

/* rms error relative to the rms of the reference */
static double norm_off(const double *a, const ipr_real *b, ipr_index n)
{
    double e = 0, s = 1e-30;
    ipr_index i;
    for (i = 0; i < n; i++) {
        e += (a[i] - (double)b[i]) * (a[i] - (double)b[i]);
        s += a[i] * a[i];
    }
    return sqrt(e / s);
}

/* mean: of x; twice: a gradient is there before. Returns the worst of the four errors. */
static double norm_case(ipr_ctx *c, ipr_index N, ipr_index C, ipr_index S, ipr_index groups, int relu, int affine, double mean, int twice, uint32_t seed)
{
    const ipr_index xd[3] = { N, C, S };
    ipr_rng r = ipr_rng_make(5, 9, seed);
    ipr_params *p = ipr_params_new(c);
    ipr_tensor *x = ipr_param(p, "x", 3, xd), *w = affine ? ipr_param(p, "w", 1, &C) : NULL, *b = affine ? ipr_param(p, "b", 1, &C) : NULL;
    ipr_tensor *dy = ipr_new(c, 3, xd), *y;
    ipr_norm_desc d = IPR_ZERO;
    double *m = (double *)calloc((size_t)(2 * N * C * S + 2 * C), sizeof *m), off[4] = { 0, 0, 0, 0 }, worst = 0;
    ipr_index i, n = N * C * S;
    int k;
    if (!m) return 1;
    for (i = 0; i < n; i++) {
        ipr_write(c, x, 1)[i] = (ipr_real)(mean + ipr_rng_normal(&r) * (double)(1 + i / S % C % 3));
        ipr_write(c, dy, 1)[i] = (ipr_real)ipr_rng_normal(&r);
    }
    for (i = 0; affine && i < C; i++) {
        ipr_write(c, w, 1)[i] = (ipr_real)ipr_rng_normal(&r);
        ipr_write(c, b, 1)[i] = (ipr_real)ipr_rng_normal(&r);
    }
    d.relu = relu;
    norm_reference(N, C, S, groups, relu, ipr_read(c, x), w ? ipr_read(c, w) : NULL, b ? ipr_read(c, b) : NULL, ipr_read(c, dy), m, m + n, m + 2 * n, m + 2 * n + C);
    y = groups ? ipr_group_norm(c, x, groups, w, b, &d) : ipr_batch_norm(c, x, w, b, NULL, NULL, &d);
    y = ipr_mul(c, y, dy);
    if (twice) CHECK_EQ_I(ipr_backward(c, ipr_sum(c, groups ? ipr_group_norm(c, x, groups, w, b, &d) : ipr_batch_norm(c, x, w, b, NULL, NULL, &d))), IPR_OK);
    if (twice) {                                       /* the same numbers once more, on top of those */
        ipr_params *q = ipr_params_clone(p);
        for (k = 0; k < (affine ? 3 : 1); k++) {
            const ipr_real *g = ipr_grad(c, ipr_params_at(p, k));
            for (i = 0; i < ipr_count(ipr_params_at(p, k)); i++) ipr_write(c, ipr_params_at(q, k), 1)[i] = g[i];
        }
        y = groups ? ipr_group_norm(c, x, groups, w, b, &d) : ipr_batch_norm(c, x, w, b, NULL, NULL, &d);
        off[0] = norm_off(m, ipr_read(c, y), n);
        CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_mul(c, y, dy))), IPR_OK);
        for (k = 0; k < (affine ? 3 : 1); k++)
            for (i = 0; i < ipr_count(ipr_params_at(p, k)); i++) ipr_params_at(p, k)->s->grad[i] -= ipr_read(c, ipr_params_at(q, k))[i];
        ipr_params_free(q);
    } else {
        off[0] = norm_off(m, ipr_read(c, c->nodes[0]->out[0]), n);
        CHECK_EQ_I(ipr_backward(c, ipr_sum(c, y)), IPR_OK);
    }
    off[1] = norm_off(m + n, ipr_grad(c, x), n);
    if (affine) off[2] = norm_off(m + 2 * n, ipr_grad(c, w), C);
    if (affine) off[3] = norm_off(m + 2 * n + C, ipr_grad(c, b), C);
    for (k = 0; k < 4; k++) if (!(off[k] <= worst)) worst = off[k];
    if (worst > (IPR_REAL_IS_DOUBLE ? 1e-9 : mean > 0 ? 1e-3 : 1e-5) * (twice ? 50 : 1))
        printf("    %s: %d x %d x %d, groups %d, relu %d, affine %d, mean %g, twice %d: off by %g %g %g %g\n", ipr_isa_name(ipr_isa(c)), (int)N, (int)C, (int)S,
               (int)groups, relu, affine, mean, twice, off[0], off[1], off[2], off[3]);
    free(m);
    ipr_step_end(c);
    ipr_params_free(p);
    return worst;
}

static void norm_grid(int isa)
{
    static const ipr_index shape[][4] = { /* N, C, S, groups */
        { 6, 1, 1, 0 }, { 37, 17, 1, 0 }, { 5, 33, 7, 0 }, { 3, 2, 3000, 0 }, { 64, 20, 16, 0 }, { 9, 40, 4, 0 }, { 1, 5, 9, 0 }, { 70, 3, 64, 0 },
        { 3, 40, 7, 1 }, { 2, 64, 4, 2 }, { 1, 6, 1500, 3 }, { 4, 12, 1, 2 }, { 3, 50, 1, 1 }, { 2, 5, 9, 5 }, { 1, 2, 2, 1 }, { 40, 32, 16, 2 },
    };
    const double tol = IPR_REAL_IS_DOUBLE ? 1e-9 : 1e-5;
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    uint32_t k;
    d.isa = isa;
    c = ipr_open(&d, NULL);
    if (!c) return;                           /* this CPU lacks it */
    for (k = 0; k < sizeof shape / sizeof shape[0]; k++) {
        const ipr_index *s = shape[k];
        CHECK(norm_case(c, s[0], s[1], s[2], s[3], 0, 1, 0, 0, k) <= tol);
        CHECK(norm_case(c, s[0], s[1], s[2], s[3], 1, 1, 0, 1, k + 100) <= tol * 50);
        CHECK(norm_case(c, s[0], s[1], s[2], s[3], 1, 0, 0, 0, k + 200) <= tol);
    }
    CHECK(norm_case(c, 40, 3, 50, 0, 0, 1, 3000, 0, 300) <= 1e-3);   /* sums of squares would lose every digit */
    CHECK(norm_case(c, 4, 32, 64, 2, 0, 1, 3000, 0, 301) <= 1e-3);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}
TEST(norm_plain_loops_portable) { norm_grid(IPR_ISA_PORTABLE); }
TEST(norm_plain_loops) { norm_grid(IPR_ISA_AUTO); }
TEST(norm_plain_loops_avx2) { norm_grid(IPR_ISA_AVX2); }

/* Scale that is x itself, x in two places, a strided x: gradients meet in one place. */
TEST(norm_shared_inputs)
{
    const ipr_index xd[2] = { 1, 6 }, pd[3] = { 2, 3, 4 };
    static const int axes[3] = { 1, 2, 0 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x = norm_leaf(c, 2, xd, 1), *a = norm_leaf(c, 2, xd, 1), *b = norm_leaf(c, 2, xd, 1), *t, *u, *y, *z;
    ipr_index i;
    CHECK_EQ_I(ipr_backward(c, norm_loss(c, ipr_layer_norm(c, x, 2, x, x, NULL))), IPR_OK);
    y = ipr_layer_norm(c, a, 2, b, b, NULL);
    CHECK_EQ_I(ipr_backward(c, norm_loss(c, y)), IPR_OK);
    for (i = 0; i < 6; i++) CHECK_NEAR(ipr_grad(c, x)[i], ipr_grad(c, a)[i] + ipr_grad(c, b)[i], 1e-5);
    t = norm_leaf(c, 3, pd, 1);
    u = norm_leaf(c, 3, pd, 1);
    y = ipr_group_norm(c, ipr_permute(c, t, axes), 2, NULL, NULL, NULL);
    z = ipr_group_norm(c, ipr_contiguous(c, ipr_permute(c, u, axes)), 2, NULL, NULL, NULL);
    for (i = 0; i < 24; i++) CHECK(ipr_read(c, y)[i] == ipr_read(c, z)[i]);
    CHECK_EQ_I(ipr_backward(c, ipr_add(c, norm_loss(c, y), norm_loss(c, z))), IPR_OK);
    for (i = 0; i < 24; i++) CHECK(ipr_grad(c, t)[i] == ipr_grad(c, u)[i]);
    ipr_close(c);
}

/* Without running statistics evaluation takes the batch's own too; with them a batch of one is fine in evaluation. */
TEST(norm_modes)
{
    const ipr_index xd[4] = { 2, 3, 2, 2 }, one[2] = { 1, 3 }, C = 3;
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x = norm_tensor(c, 4, xd, 1), *m = norm_tensor(c, 1, &C, 2), *v = norm_tensor(c, 1, &C, 3), *y[3];
    ipr_norm_desc d = IPR_ZERO;
    ipr_index i;
    for (i = 0; i < 3; i++) ipr_write(c, v, 1)[i] = (ipr_real)(1 + i);
    for (i = 0; i < 2; i++) {
        ipr_set_training(c, (int)i);
        y[i] = ipr_batch_norm(c, x, NULL, NULL, NULL, NULL, NULL);
    }
    d.momentum = 1;                            /* the batch's statistics replace the old ones */
    y[2] = ipr_batch_norm(c, x, NULL, NULL, m, v, &d);
    for (i = 0; i < 24; i++) CHECK(ipr_read(c, y[0])[i] == ipr_read(c, y[1])[i] && ipr_read(c, y[0])[i] == ipr_read(c, y[2])[i]);
    ipr_set_training(c, 0);
    d.eps = 1e-12;
    y[0] = ipr_batch_norm(c, x, NULL, NULL, m, v, &d);   /* variance 8/7 times the biased one */
    for (i = 0; i < 24; i++) CHECK_NEAR(ipr_read(c, y[0])[i], (double)ipr_read(c, y[1])[i] * sqrt(7.0 / 8), 1e-4);
    for (i = 0; i < 3; i++) ipr_write(c, m, 1)[i] = ipr_write(c, v, 1)[i] = 0;
    d.eps = 0.25;
    y[0] = ipr_batch_norm(c, norm_tensor(c, 2, one, 1), NULL, NULL, m, v, &d);
    for (i = 0; i < 3; i++) CHECK_NEAR(ipr_read(c, y[0])[i], 2 * norm_value(i, 1), 1e-6);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

/* ---- layers ---- */

TEST(norm_layers)
{
    const ipr_index xd[4] = { 2, 4, 3, 3 };
    static const int kinds[4] = { IPR_NORM_BATCH, IPR_NORM_GROUP, IPR_NORM_NONE, IPR_NORM_INSTANCE };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_conv2d_desc cd = IPR_ZERO;
    ipr_norm_desc relu = IPR_ZERO;
    ipr_conv conv;
    ipr_norm n[4];
    ipr_tensor *x, *w, *b, *y, *want = NULL;
    ipr_index i, four = 4;
    double big = 0;
    int k;
    cd.groups = 2;
    cd.padding[0] = cd.padding[1] = 1;
    conv = ipr_conv_new(p, "features.0", 4, 6, 3, &cd, 1);
    CHECK_STR(ipr_params_name(p, 0), "features.0.weight");
    CHECK_STR(ipr_params_name(p, 1), "features.0.bias");
    CHECK(ipr_rank(conv.weight) == 4 && ipr_dim(conv.weight, 0) == 6 && ipr_dim(conv.weight, 1) == 2 && ipr_dim(conv.weight, 2) == 3 && ipr_dim(conv.weight, 3) == 3);
    for (i = 0; i < ipr_count(conv.weight); i++) {
        const double v = (double)ipr_read(c, conv.weight)[i];
        big = v > big ? v : -v > big ? -v : big;
    }
    CHECK(big <= 1 / sqrt(18.0) && big > 0.8 / sqrt(18.0));
    x = norm_tensor(c, 4, xd, 1);
    y = ipr_conv_apply(c, &conv, x);
    CHECK(ipr_dim(y, 1) == 6 && ipr_dim(y, 2) == 3);
    CHECK(!ipr_conv_new(p, "plain", 4, 6, 1, NULL, 0).bias);
    relu.relu = 1;
    w = norm_tensor(c, 1, &four, 2);
    b = norm_tensor(c, 1, &four, 3);
    for (k = 0; k < 4; k++) {
        char name[8] = "n0";
        name[1] = (char)('0' + k);
        n[k] = ipr_norm_new(p, name, kinds[k], 4, 2, k % 2);
        CHECK_EQ_I(!n[k].weight, k % 2 == 0);
        CHECK_EQ_I(!n[k].running_mean, k != 0);
        y = ipr_norm_apply(c, &n[k], x, w, b, 1);
        if (kinds[k] == IPR_NORM_BATCH) want = ipr_batch_norm(c, x, w, b, n[k].running_mean, n[k].running_var, &relu);
        if (kinds[k] == IPR_NORM_GROUP) want = ipr_group_norm(c, x, 2, w, b, &relu);
        if (kinds[k] == IPR_NORM_INSTANCE) want = ipr_group_norm(c, x, 4, w, b, &relu);
        for (i = 0; i < 72; i++) {
            double v = (double)ipr_read(c, x)[i] * norm_value(i / 9 % 4, 2) + norm_value(i / 9 % 4, 3);
            if (kinds[k] != IPR_NORM_NONE) v = (double)ipr_read(c, want)[i];
            CHECK_NEAR(ipr_read(c, y)[i], v < 0 ? 0 : v, 1e-6);
        }
    }
    CHECK(ipr_norm_apply(c, &n[2], x, NULL, NULL, 0) == x);   /* nothing to do */
    y = ipr_norm_apply(c, &n[2], x, NULL, NULL, 1);
    for (i = 0; i < 72; i++) CHECK_NEAR(ipr_read(c, y)[i], norm_value(i, 1) < 0 ? 0 : norm_value(i, 1), 0);
    CHECK_STR(ipr_params_name(p, 3), "n0.running_mean");
    CHECK_STR(ipr_params_name(p, 5), "n1.weight");
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_params_free(p);
    ipr_close(c);
}

/* ---- buffers ---- */

static int norm_same(ipr_ctx *c, const ipr_tensor *t, double v)
{
    ipr_index i;
    for (i = 0; i < ipr_count(t); i++) if ((double)ipr_read(c, t)[i] > v || (double)ipr_read(c, t)[i] < v) return 0;
    return 1;
}

static void norm_set(ipr_ctx *c, ipr_tensor *t, double v)
{
    ipr_index i;
    for (i = 0; i < ipr_count(t); i++) ipr_write(c, t, 1)[i] = (ipr_real)v;
}

static ipr_tensor *norm_square_loss(ipr_ctx *c, void *user)
{
    return ipr_sum(c, ipr_square(c, ipr_add(c, ipr_params_at((ipr_params *)user, 0), ipr_params_at((ipr_params *)user, 1))));
}

TEST(norm_buffers)
{
    const ipr_index three = 3;
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c), *q;
    ipr_tensor *w = ipr_param(p, "w", 1, &three), *b = ipr_buffer(p, "b", 1, &three);
    uint8_t h1[32], h2[32];
    CHECK(ipr_is_buffer(b) && !ipr_is_buffer(w) && !ipr_is_buffer(NULL));
    CHECK_EQ_I(ipr_params_count(p), 2);
    CHECK_EQ_I(ipr_params_elements(p), 3);
    CHECK(norm_same(c, b, 0));
    norm_set(c, w, 2);
    norm_set(c, b, 5);
    ipr_require_grad(b, 1);                    /* stays what it is */
    CHECK(ipr_gradcheck(c, p, norm_square_loss, p, 1e-2, 3) < 1e-2);
    CHECK(ipr_grad(c, w) && !ipr_grad(c, b));
    q = ipr_params_clone(p);
    CHECK(ipr_is_buffer(ipr_params_at(q, 1)) && !ipr_is_buffer(ipr_params_at(q, 0)) && norm_same(c, ipr_params_at(q, 1), 5));
    norm_set(c, b, 7);
    CHECK_EQ_I(ipr_params_copy(q, p), IPR_OK);
    CHECK(norm_same(c, ipr_params_at(q, 1), 7));
#if IPR_FLOOR_MAX >= 7
    {
        static uint8_t file[1024];
        size_t need = 0;
        CHECK_EQ_I(ipr_params_sha256(p, h1), IPR_OK);
        norm_set(c, b, 8);
        CHECK_EQ_I(ipr_params_sha256(p, h2), IPR_OK);
        CHECK(memcmp(h1, h2, 32) != 0);
        CHECK_EQ_I(ipr_params_save_memory(p, file, sizeof file, &need, NULL), IPR_OK);
        norm_set(c, b, 9);
        CHECK_EQ_I(ipr_params_load_memory(p, file, need, 0), IPR_OK);
        CHECK(norm_same(c, b, 8) && norm_same(c, w, 2) && !b->s->needs);
    }
#endif
#if IPR_FLOOR_MAX >= 9 && !defined(IPR_NO_TRAIN)
    {
        ipr_opt_desc od = IPR_ZERO;
        ipr_opt *o;
        od.kind = IPR_OPT_ADAMW;
        od.weight_decay = 0.5;
        o = ipr_opt_new(p, &od);
        ipr_params_zero_grad(p);
        CHECK_EQ_I(ipr_backward(c, norm_square_loss(c, p)), IPR_OK);
        CHECK_NEAR(ipr_grad_norm(p), sqrt(3.0 * 400), 1e-3);
        CHECK_NEAR(ipr_clip_grad_norm(p, 1), sqrt(3.0 * 400), 1e-3);
        CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
        CHECK(norm_same(c, b, 8) && !norm_same(c, w, 2));
        if (IPR__FILES) {                      /* a run that goes on has its statistics back */
            CHECK_EQ_I(ipr_opt_save(o, "build/norm_opt.tmp"), IPR_OK);
            norm_set(c, b, 1);
            CHECK_EQ_I(ipr_opt_load(o, "build/norm_opt.tmp"), IPR_OK);
            CHECK(norm_same(c, b, 8));
            remove("build/norm_opt.tmp");
        }
        ipr_opt_free(o);
    }
#endif
#if IPR_FLOOR_MAX >= 12
    norm_set(c, b, 1e-3);
    norm_set(c, w, 4);
    CHECK_EQ_I(ipr_attack_prune(p, 1.0 / 3, NULL, 0), IPR_OK);
    CHECK(norm_same(c, b, (double)(ipr_real)1e-3));
    CHECK_EQ_I((ipr_read(c, w)[0] > 0) + (ipr_read(c, w)[1] > 0) + (ipr_read(c, w)[2] > 0), 2);
    CHECK_EQ_I(ipr_attack_prune_each(p, 1, NULL, 0), IPR_OK);
    CHECK(norm_same(c, b, (double)(ipr_real)1e-3) && norm_same(c, w, 0));
#endif
    CHECK(ipr_is_poison(ipr_buffer(p, "w", 1, &three)));
    CHECK(strstr(ipr_message(c), "ipr_buffer: \"w\" exists already") != NULL);
    ipr_clear(c);
    CHECK(ipr_is_poison(ipr_buffer(p, "", 1, &three)) && !ipr_buffer(NULL, "x", 1, &three));
    ipr_params_free(p);
    ipr_params_free(q);
    ipr_close(c);
}

#if IPR_FLOOR_MAX >= 7
/* What PyTorch writes for nn.BatchNorm1d(1): its counter of batches, an int64 scalar, is passed over, and nothing else is. */
static int norm_load(ipr_params *p, const char *extra)
{
    static const char *const fixed = "{\"bn.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"bn.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
        "\"bn.running_mean\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
        "\"bn.running_var\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]},";
    static const float v[4] = { 1.5f, -2, 3, 4 };
    uint8_t file[1024];
    size_t n = strlen(fixed), m = strlen(extra), i;
    memset(file, 0, sizeof file);
    file[0] = (uint8_t)((n + m) & 255);
    file[1] = (uint8_t)((n + m) >> 8);
    memcpy(file + 8, fixed, n);
    memcpy(file + 8 + n, extra, m);
    for (i = 0; i < 4; i++) ipr__st32le(file + 8 + n + m + 4 * i, ipr__f32_bits(v[i]));
    file[8 + n + m + 16] = 3;                  /* three batches */
    return ipr_params_load_memory(p, file, 8 + n + m + 24, 0);
}

TEST(norm_pytorch_counter_is_passed_over)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_norm n = ipr_norm_new(p, "bn", IPR_NORM_BATCH, 1, 0, 1);
    CHECK_EQ_I(norm_load(p, "\"bn.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[16,24]}}"), IPR_OK);
    CHECK_STR(ipr_message(c), "");
    CHECK(norm_same(c, n.weight, 1.5) && norm_same(c, n.bias, -2) && norm_same(c, n.running_mean, 3) && norm_same(c, n.running_var, 4));
    CHECK_EQ_I(norm_load(p, "\"bn.num_batches\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[16,24]}}"), IPR_E_MISSING);
    CHECK(strstr(ipr_message(c), "bn.num_batches") != NULL);
    ipr_params_free(p);
    ipr_close(c);
}
#endif

/* ---- bad input ---- */

TEST(norm_bad_input)
{
    const ipr_index xd[4] = { 2, 6, 3, 3 }, single[4] = { 1, 6, 1, 1 }, wide[2] = { 6, 2 }, two[2] = { 2, 3 }, six = 6, five = 5;
    const ipr_index deep[3] = { 2, 3, 1 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x = norm_tensor(c, 4, xd, 1), *w = norm_tensor(c, 1, &six, 2), *w5 = norm_tensor(c, 1, &five, 3), *ids = ipr_new_i32(c, 4, xd);
    ipr_tensor *one = norm_tensor(c, 4, single, 1), *m = ipr_new(c, 1, &six), *v = ipr_new(c, 1, &six), *bad = ipr__poison(c);
    ipr_tensor *strided = ipr_select(c, norm_tensor(c, 2, wide, 1), 1, 0);
    ipr_norm_desc d = IPR_ZERO;
    ipr_set_training(c, 1);
    EXPECT_BAD(ipr_batch_norm(c, NULL, w, w, m, v, NULL), IPR_E_ARG, "ipr_batch_norm: ", "x is NULL");
    EXPECT_BAD(ipr_batch_norm(c, ids, w, w, m, v, NULL), IPR_E_ARG, "ipr_batch_norm: ", "x holds int32");
    EXPECT_BAD(ipr_batch_norm(c, w, w, w, m, v, NULL), IPR_E_SHAPE, "ipr_batch_norm: ", "[N,C,...]");
    EXPECT_BAD(ipr_batch_norm(c, x, w5, w, m, v, NULL), IPR_E_SHAPE, "ipr_batch_norm: ", "scale is 5; 6 are needed");
    EXPECT_BAD(ipr_batch_norm(c, x, w, w5, m, v, NULL), IPR_E_SHAPE, "ipr_batch_norm: ", "bias is 5; 6 are needed");
    EXPECT_BAD(ipr_batch_norm(c, x, w, ids, m, v, NULL), IPR_E_ARG, "ipr_batch_norm: ", "bias holds int32");
    EXPECT_BAD(ipr_batch_norm(c, x, w, w, m, NULL, NULL), IPR_E_ARG, "ipr_batch_norm: ", "pass both or neither");
    EXPECT_BAD(ipr_batch_norm(c, x, w, w, m, w5, NULL), IPR_E_SHAPE, "ipr_batch_norm: ", "running_var is 5");
    EXPECT_BAD(ipr_batch_norm(c, x, w, w, strided, v, NULL), IPR_E_ARG, "ipr_batch_norm: ", "strided");
    EXPECT_BAD(ipr_batch_norm(c, one, w, w, m, v, NULL), IPR_E_SHAPE, "ipr_batch_norm: ", "x 1x6x1x1 has one value per channel");
    d.eps = -1;
    EXPECT_BAD(ipr_batch_norm(c, x, w, w, m, v, &d), IPR_E_RANGE, "ipr_batch_norm: ", "eps -1");
    d.eps = HUGE_VAL - HUGE_VAL;
    EXPECT_BAD(ipr_layer_norm(c, x, 1, NULL, NULL, &d), IPR_E_RANGE, "ipr_layer_norm: ", "eps");
    d.eps = 0; d.momentum = 1.5;
    EXPECT_BAD(ipr_batch_norm(c, x, w, w, m, v, &d), IPR_E_RANGE, "ipr_batch_norm: ", "momentum 1.5");
    EXPECT_BAD(ipr_group_norm(c, x, 4, w, w, NULL), IPR_E_SHAPE, "ipr_group_norm: ", "4 groups of the 6 channels");
    EXPECT_BAD(ipr_group_norm(c, x, 0, w, w, NULL), IPR_E_SHAPE, "ipr_group_norm: ", "0 groups");
    EXPECT_BAD(ipr_group_norm(c, x, -3, w, w, NULL), IPR_E_SHAPE, "ipr_group_norm: ", "-3 groups");
    EXPECT_BAD(ipr_group_norm(c, one, 6, w, w, NULL), IPR_E_SHAPE, "ipr_group_norm: ", "one value each");
    EXPECT_BAD(ipr_group_norm(c, x, 3, w5, NULL, NULL), IPR_E_SHAPE, "ipr_group_norm: ", "scale is 5");
    EXPECT_BAD(ipr_layer_norm(c, x, 0, NULL, NULL, NULL), IPR_E_SHAPE, "ipr_layer_norm: ", "last 0 axes");
    EXPECT_BAD(ipr_layer_norm(c, x, 5, NULL, NULL, NULL), IPR_E_SHAPE, "ipr_layer_norm: ", "1 to 4");
    EXPECT_BAD(ipr_layer_norm(c, norm_tensor(c, 2, wide, 1), 1, w, NULL, NULL), IPR_E_SHAPE, "ipr_layer_norm: ", "scale or bias is 6");
    EXPECT_BAD(ipr_layer_norm(c, norm_tensor(c, 2, two, 1), 2, NULL, w, NULL), IPR_E_SHAPE, "ipr_layer_norm: ", "scale or bias is 6");
    EXPECT_BAD(ipr_layer_norm(c, norm_tensor(c, 2, two, 1), 2, ipr_new(c, 3, deep), NULL, NULL), IPR_E_SHAPE, "ipr_layer_norm: ", "scale or bias is 2x3x1");
    CHECK(norm_same(c, m, 0) && norm_same(c, v, 0));   /* refused calls moved nothing */
    CHECK(ipr_is_poison(ipr_batch_norm(c, bad, w, w, m, v, NULL)) && ipr_is_poison(ipr_batch_norm(c, x, bad, w, m, v, NULL)));
    CHECK(ipr_is_poison(ipr_batch_norm(c, x, w, w, bad, v, NULL)) && ipr_is_poison(ipr_group_norm(c, x, 3, w, bad, NULL)));
    CHECK(ipr_is_poison(ipr_layer_norm(c, bad, 1, NULL, NULL, NULL)) && ipr_is_poison(ipr_layer_norm(c, x, 1, bad, NULL, NULL)));
    CHECK_EQ_I(ipr_status(c), IPR_OK);             /* poison passes in silence */
    CHECK(norm_same(c, m, 0));
    CHECK(!ipr_batch_norm(NULL, x, w, w, m, v, NULL));
    ipr_close(c);
}

TEST(pool_bad_input)
{
    const ipr_index xd[4] = { 1, 2, 5, 3 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x = norm_tensor(c, 4, xd, 1);
    ipr_pool2d_desc d = IPR_ZERO;
    EXPECT_BAD(ipr_max_pool2d(c, NULL, &d), IPR_E_ARG, "ipr_max_pool2d: ", "x is NULL");
    EXPECT_BAD(ipr_max_pool2d(c, ipr_new_i32(c, 4, xd), &d), IPR_E_ARG, "ipr_max_pool2d: ", "x holds int32");
    EXPECT_BAD(ipr_max_pool2d(c, x, NULL), IPR_E_ARG, "ipr_max_pool2d: ", "description is NULL");
    EXPECT_BAD(ipr_avg_pool2d(c, x, &d), IPR_E_RANGE, "ipr_avg_pool2d: ", "kernel 0");
    d.kernel[0] = d.kernel[1] = 3;
    EXPECT_BAD(ipr_avg_pool2d(c, ipr_select(c, x, 0, 0), &d), IPR_E_SHAPE, "ipr_avg_pool2d: ", "x is 2x5x3");
    d.padding[1] = 2;
    EXPECT_BAD(ipr_max_pool2d(c, x, &d), IPR_E_RANGE, "ipr_max_pool2d: ", "at most half");
    d.padding[1] = -1;
    EXPECT_BAD(ipr_max_pool2d(c, x, &d), IPR_E_RANGE, "ipr_max_pool2d: ", "padding -1");
    d.padding[1] = 0; d.stride[0] = -1;
    EXPECT_BAD(ipr_avg_pool2d(c, x, &d), IPR_E_RANGE, "ipr_avg_pool2d: ", "stride -1");
    d.stride[0] = 0; d.kernel[0] = 6;
    EXPECT_BAD(ipr_max_pool2d(c, x, &d), IPR_E_SHAPE, "ipr_max_pool2d: ", "a kernel of 6 on x 1x2x5x3");
    d.kernel[0] = (ipr_index)1 << 30;
    EXPECT_BAD(ipr_max_pool2d(c, x, &d), IPR_E_RANGE, "ipr_max_pool2d: ", "kernel 1073741824");
    EXPECT_BAD(ipr_adaptive_avg_pool2d(c, x, 0, 1), IPR_E_RANGE, "ipr_adaptive_avg_pool2d: ", "0 x 1");
    EXPECT_BAD(ipr_adaptive_avg_pool2d(c, x, 1, -4), IPR_E_RANGE, "ipr_adaptive_avg_pool2d: ", "1 x -4");
    CHECK(ipr_is_poison(ipr_max_pool2d(c, ipr__poison(c), &d)) && ipr_is_poison(ipr_adaptive_avg_pool2d(c, ipr__poison(c), 1, 1)));
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

TEST(norm_bad_layers)
{
    const ipr_index xd[4] = { 2, 6, 3, 3 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_tensor *x = norm_tensor(c, 4, xd, 1);
    ipr_conv2d_desc cd = IPR_ZERO;
    ipr_norm n;
    ipr_conv k;
    cd.groups = 4;
    k = ipr_conv_new(p, "c", 6, 8, 3, &cd, 1);
    EXPECT_BAD(k.weight, IPR_E_SHAPE, "ipr_conv_new: ", "4 groups");
    CHECK(ipr_is_poison(ipr_conv_apply(c, &k, x)));
    cd.groups = -1;
    EXPECT_BAD(ipr_conv_new(p, "c", 6, 8, 3, &cd, 1).weight, IPR_E_SHAPE, "ipr_conv_new: ", "-1 groups");
    EXPECT_BAD(ipr_conv_new(p, "c", 6, 8, 0, NULL, 1).weight, IPR_E_SHAPE, "ipr_conv_new: ", "kernel 0");
    EXPECT_BAD(ipr_conv_new(p, NULL, 6, 8, 1, NULL, 0).weight, IPR_E_ARG, "ipr: ", "name");
    EXPECT_BAD(ipr_norm_new(p, "n", 9, 6, 0, 1).weight, IPR_E_ARG, "ipr_norm_new: ", "kind 9");
    EXPECT_BAD(ipr_norm_new(p, "n", IPR_NORM_GROUP, 6, 4, 1).weight, IPR_E_ARG, "ipr_norm_new: ", "6 channels in 4 groups");
    EXPECT_BAD(ipr_norm_new(p, "n", IPR_NORM_GROUP, 6, 0, 1).weight, IPR_E_ARG, "ipr_norm_new: ", "0 groups");
    n = ipr_norm_new(p, "n", IPR_NORM_BATCH, 0, 0, 0);
    EXPECT_BAD(n.weight, IPR_E_ARG, "ipr_norm_new: ", "0 channels");
    CHECK(ipr_is_poison(ipr_norm_apply(c, &n, x, NULL, NULL, 0)));
    ipr_clear(c);
    CHECK_EQ_I(ipr_params_count(p), 0);            /* refused layers leave no parameter behind */
    CHECK(!ipr_conv_new(NULL, "c", 6, 8, 3, NULL, 1).weight && !ipr_norm_new(NULL, "n", IPR_NORM_BATCH, 6, 0, 1).weight);
    EXPECT_BAD(ipr_conv_apply(c, NULL, x), IPR_E_ARG, "ipr_conv_apply: ", "NULL");
    EXPECT_BAD(ipr_norm_apply(c, NULL, x, NULL, NULL, 0), IPR_E_ARG, "ipr_norm_apply: ", "NULL");
    n = ipr_norm_new(p, "n", IPR_NORM_BATCH, 5, 0, 1);
    EXPECT_BAD(ipr_norm_apply(c, &n, x, NULL, NULL, 0), IPR_E_SHAPE, "ipr_norm_apply: ", "the layer has 5 channels");
    ipr_params_free(p);
    ipr_close(c);
}

/* ---- memory and threads ---- */

typedef struct norm_net { ipr_params *p; ipr_tensor *x, *g; ipr_conv conv; ipr_norm bn, gn; } norm_net;

static void norm_net_new(ipr_ctx *c, norm_net *n)
{
    const ipr_index xd[4] = { 5, 3, 12, 10 }, ld[3] = { 20, 3, 3 };
    n->p = ipr_params_new(c);
    n->x = ipr_param(n->p, "x", 4, xd);
    n->conv = ipr_conv_new(n->p, "conv", 3, 20, 3, NULL, 1);
    n->bn = ipr_norm_new(n->p, "bn", IPR_NORM_BATCH, 20, 0, 1);
    n->gn = ipr_norm_new(n->p, "gn", IPR_NORM_GROUP, 20, 5, 1);
    n->g = ipr_param(n->p, "ln", 3, ld);
    ipr_init_normal(n->p, n->x, 1);
    ipr_init_normal(n->p, n->g, 1);
}

/* conv, batch norm, max pooling, group norm, average pooling, layer norm, adaptive pooling */
static ipr_tensor *norm_net_loss(ipr_ctx *c, const norm_net *n)
{
    ipr_pool2d_desc d = IPR_ZERO;
    ipr_tensor *h = ipr_norm_apply(c, &n->bn, ipr_conv_apply(c, &n->conv, n->x), NULL, NULL, 1);
    d.kernel[0] = 3; d.kernel[1] = 2;
    d.stride[0] = d.stride[1] = 2;
    d.padding[0] = 1;
    h = ipr_norm_apply(c, &n->gn, ipr_max_pool2d(c, h, &d), NULL, NULL, 1);
    d.padding[1] = d.stride[0] = d.stride[1] = 1;
    d.kernel[0] = 5;
    h = ipr_layer_norm(c, ipr_adaptive_avg_pool2d(c, ipr_avg_pool2d(c, h, &d), 3, 3), 3, n->g, NULL, NULL);
    return norm_loss(c, h);
}

TEST(norm_no_allocation_in_steady_state)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    norm_net n;
    uint64_t before = 0;
    int i;
    norm_net_new(c, &n);
    ipr_set_training(c, 1);
    for (i = 0; i < 6; i++) {
        if (i == 3) before = ipr_stats_get(c).allocs;
        CHECK_EQ_I(ipr_backward(c, norm_net_loss(c, &n)), IPR_OK);
        ipr_params_zero_grad(n.p);
        ipr_step_end(c);
    }
    CHECK_EQ_I((long long)ipr_stats_get(c).allocs, (long long)before);
    ipr_params_free(n.p);
    ipr_close(c);
}

static void norm_net_hash(int threads, int isa, char out[65])
{
    ipr_desc d = IPR_ZERO;
    ipr_sha256 h;
    uint8_t sum[32];
    ipr_ctx *c;
    norm_net n;
    int i;
    d.threads = threads;
    d.isa = isa;
    c = ipr_open(&d, NULL);
    norm_net_new(c, &n);
    ipr_set_training(c, 1);
    CHECK_EQ_I(ipr_backward(c, norm_net_loss(c, &n)), IPR_OK);
    CHECK_EQ_I(ipr_backward(c, norm_net_loss(c, &n)), IPR_OK);      /* on top of gradients */
    ipr_sha256_init(&h);
    for (i = 0; i < ipr_params_count(n.p); i++) {
        ipr_tensor *t = ipr_params_at(n.p, i);
        ipr_sha256_update(&h, ipr_read(c, t), (size_t)ipr_count(t) * sizeof(ipr_real));
        if (CHECK_EQ_I(ipr_is_buffer(t), !ipr_grad(c, t)) && ipr_grad(c, t)) ipr_sha256_update(&h, ipr_grad(c, t), (size_t)ipr_count(t) * sizeof(ipr_real));
    }
    ipr_sha256_final(&h, sum);
    ipr_hex(sum, 32, out);
    ipr_params_free(n.p);
    ipr_close(c);
}

TEST(norm_any_thread_count_same_bits)
{
#ifdef IPR_THREADS
    static const int isa[2] = { IPR_ISA_AUTO, IPR_ISA_PORTABLE };
    char one[65], many[65];
    int k;
    for (k = 0; k < 2; k++) {
        norm_net_hash(1, isa[k], one);
        norm_net_hash(2, isa[k], many);
        CHECK_STR(one, many);
        norm_net_hash(5, isa[k], many);
        CHECK_STR(one, many);
    }
#else
    SKIP("built without IPR_THREADS");
#endif
}

/* Every allocation fails once: an error, a poison result and running statistics that nothing moved; then all is freed. */
TEST(norm_out_of_memory)
{
    const ipr_index xd[2] = { 300, 200 }, C = 200;
    long k, last = 0;
    for (k = 0; !last && k < 1000; k++) {
        core_heap h;
        ipr_desc d = core_desc(&h);
        ipr_ctx *c;
        h.fail_at = k;
        c = ipr_open(&d, NULL);
        if (c) {
            norm_net n;
            ipr_params *p = ipr_params_new(c);
            ipr_tensor *m = ipr_buffer(p, "m", 1, &C), *v = ipr_buffer(p, "v", 1, &C), *y, *x;
            norm_net_new(c, &n);
            ipr_set_training(c, 1);
            if (ipr_status(c) == IPR_OK) {
                x = norm_leaf(c, 2, xd, 1);
                y = ipr_batch_norm(c, x, NULL, NULL, m, v, NULL);
                if (ipr_is_poison(y)) CHECK(ipr_status(c) == IPR_E_NOMEM && norm_same(c, m, 0) && norm_same(c, v, 0));
                else CHECK(!norm_same(c, m, 0) && !norm_same(c, v, 0));
                (void)ipr_backward(c, ipr_add(c, norm_loss(c, y), norm_net_loss(c, &n)));
            }
            last = ipr_status(c) == IPR_OK && h.calls <= k;
            if (!last) CHECK_EQ_I(ipr_status(c), IPR_E_NOMEM);
            ipr_params_free(n.p);
            ipr_params_free(p);
            ipr_close(c);
        }
        CHECK_EQ_I(h.live, 0);
    }
    CHECK(last && k > 10);
}

static void suite_norm(void)
{
    RUN(norm_golden);
    RUN(norm_golden_portable);
    RUN(norm_running_statistics);
    RUN(norm_plain_loops_portable);
    RUN(norm_plain_loops);
    RUN(norm_plain_loops_avx2);
    RUN(norm_shared_inputs);
    RUN(norm_modes);
    RUN(pool_golden);
    RUN(pool_max_nan_and_infinity);
    RUN(norm_layers);
    RUN(norm_buffers);
#if IPR_FLOOR_MAX >= 7
    RUN(norm_pytorch_counter_is_passed_over);
#endif
    RUN(norm_bad_input);
    RUN(pool_bad_input);
    RUN(norm_bad_layers);
    RUN(norm_no_allocation_in_steady_state);
    RUN(norm_any_thread_count_same_bits);
    RUN(norm_out_of_memory);
}
#else
static void suite_norm(void) {}
#endif
