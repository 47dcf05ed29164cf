/* Convolution: forward and both backwards against thirty lines of doubles, over a grid of sizes, strides, paddings,
   dilations and groups, on every instruction set and at several thread counts; bad input. */
#ifndef IPR_NO_CNN

typedef struct conv_case { ipr_index N, C, H, W, O, k[2], s[2], p[2], d[2], g; } conv_case;

/* y, dx, dw, db of one convolution, in doubles, by definition. */
static void conv_reference(const conv_case *v, const ipr_index *out, const double *x, const double *w, const double *b, const double *dy,
                           double *y, double *dx, double *dw, double *db)
{
    const ipr_index Cg = v->C / v->g, Og = v->O / v->g;
    ipr_index n, o, i, j, c, u, t;
    for (n = 0; n < v->N; n++)
        for (o = 0; o < v->O; o++)
            for (i = 0; i < out[0]; i++)
                for (j = 0; j < out[1]; j++) {
                    const ipr_index at = ((n * v->O + o) * out[0] + i) * out[1] + j;
                    y[at] = b[o];
                    db[o] += dy[at];
                    for (c = 0; c < Cg; c++)
                        for (u = 0; u < v->k[0]; u++)
                            for (t = 0; t < v->k[1]; t++) {
                                const ipr_index r = i * v->s[0] + u * v->d[0] - v->p[0], q = j * v->s[1] + t * v->d[1] - v->p[1];
                                const ipr_index xa = ((n * v->C + o / Og * Cg + c) * v->H + r) * v->W + q, wa = ((o * Cg + c) * v->k[0] + u) * v->k[1] + t;
                                if (r < 0 || q < 0 || r >= v->H || q >= v->W) continue;
                                y[at] += w[wa] * x[xa];
                                dx[xa] += w[wa] * dy[at];
                                dw[wa] += x[xa] * dy[at];
                            }
                }
}

/* Noise in [-1, 1): a hash of the place. */
static double conv_value(ipr_index i, int what)
{
    uint32_t h = (uint32_t)i * 2654435761u + (uint32_t)what * 2246822519u;
    h = (h ^ (h >> 15)) * 2246822519u;
    h = (h ^ (h >> 13)) * 3266489917u;
    return (double)(h >> 9) / 4194304.0 - 1;
}

/* Parameters of a case, filled by formula; *y its output. Returns its loss, so that dy is by formula too. */
static ipr_tensor *conv_run(ipr_ctx *c, const conv_case *v, ipr_params **p, ipr_tensor **y)
{
    const ipr_index xd[4] = { v->N, v->C, v->H, v->W }, wd[4] = { v->O, v->C / v->g, v->k[0], v->k[1] };
    ipr_tensor *t[3], *dy;
    ipr_conv2d_desc d = IPR_ZERO;
    ipr_index i;
    int k;
    *p = ipr_params_new(c);
    t[0] = ipr_param(*p, "x", 4, xd);
    t[1] = ipr_param(*p, "w", 4, wd);
    t[2] = ipr_param(*p, "b", 1, &v->O);
    for (k = 0; k < 3; k++)
        for (i = 0; i < ipr_count(t[k]); i++) ipr_write(c, t[k], 1)[i] = (ipr_real)conv_value(i, k);
    for (k = 0; k < 2; k++) { d.stride[k] = v->s[k]; d.padding[k] = v->p[k]; d.dilation[k] = v->d[k]; }
    d.groups = v->g;
    *y = ipr_conv2d(c, t[0], t[1], t[2], &d);
    if (ipr_is_poison(*y)) return *y;
    dy = ipr_new(c, 4, (*y)->dim);
    for (i = 0; i < ipr_count(dy); i++) ipr_write(c, dy, 1)[i] = (ipr_real)conv_value(i, 3);
    return ipr_sum(c, ipr_mul(c, *y, dy));
}

/* Largest deviation, relative to the size of such sums. */
static double conv_off(const double *a, const ipr_real *b, ipr_index n, double terms)
{
    double worst = 0;
    ipr_index i;
    for (i = 0; i < n; i++) {
        const double d = fabs(a[i] - (double)b[i]) / sqrt(terms + 1);
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

static int conv_check_case(ipr_ctx *c, const conv_case *v)
{
    ipr_params *p;
    ipr_tensor *y, *loss = conv_run(c, v, &p, &y);
    const double tol = IPR_REAL_IS_DOUBLE ? 1e-14 : 2e-6;
    ipr_index nx, nw, ny, i;
    double *m, *x, *w, *b, *dy, *ry, *dx, *dw, *db, off[4];
    int ok;
    if (ipr_backward(c, loss) != IPR_OK) { printf("    %s\n", ipr_message(c)); ipr_params_free(p); return 0; }
    nx = v->N * v->C * v->H * v->W; nw = ipr_count(ipr_params_at(p, 1)); ny = ipr_count(y);
    m = (double *)calloc((size_t)(2 * nx + 2 * nw + 2 * v->O + 2 * ny), sizeof *m);
    if (!m) return 0;
    x = m; dx = x + nx; w = dx + nx; dw = w + nw; b = dw + nw; db = b + v->O; dy = db + v->O; ry = dy + ny;
    for (i = 0; i < nx; i++) x[i] = conv_value(i, 0);
    for (i = 0; i < nw; i++) w[i] = conv_value(i, 1);
    for (i = 0; i < v->O; i++) b[i] = conv_value(i, 2);
    for (i = 0; i < ny; i++) dy[i] = conv_value(i, 3);
    conv_reference(v, y->dim + 2, x, w, b, dy, ry, dx, dw, db);
    off[0] = conv_off(ry, ipr_read(c, y), ny, (double)(nw / v->O));
    off[1] = conv_off(dx, ipr_grad(c, ipr_params_at(p, 0)), nx, (double)(nw / v->C * v->g));
    off[2] = conv_off(dw, ipr_grad(c, ipr_params_at(p, 1)), nw, (double)(ny / v->O));
    off[3] = conv_off(db, ipr_grad(c, ipr_params_at(p, 2)), v->O, (double)(ny / v->O));
    ok = off[0] <= tol && off[1] <= tol && off[2] <= tol && off[3] <= tol;
    if (!ok) printf("    %s: %dx%dx%dx%d to %d, kernel %dx%d stride %d,%d pad %d,%d dilation %d,%d groups %d: off by %g %g %g %g\n",
                    ipr_isa_name(ipr_isa(c)), (int)v->N, (int)v->C, (int)v->H, (int)v->W, (int)v->O, (int)v->k[0], (int)v->k[1], (int)v->s[0], (int)v->s[1],
                    (int)v->p[0], (int)v->p[1], (int)v->d[0], (int)v->d[1], (int)v->g, off[0], off[1], off[2], off[3]);
    free(m);
    ipr_step_end(c);
    ipr_params_free(p);
    return ok;
}

/* Case number i of a random grid. */
static conv_case conv_random(uint32_t i)
{
    ipr_rng r = ipr_rng_make(42, 7, i);
    conv_case v;
    int k;
    v.g = ipr_rng_below(&r, 3) ? 1 : 1 + (ipr_index)ipr_rng_below(&r, 3);
    v.N = 1 + (ipr_index)ipr_rng_below(&r, 5);
    v.C = v.g * (1 + (ipr_index)ipr_rng_below(&r, 9));
    v.O = v.g * (1 + (ipr_index)ipr_rng_below(&r, 20));
    for (k = 0; k < 2; k++) {
        v.k[k] = 1 + (ipr_index)ipr_rng_below(&r, 5);
        v.s[k] = ipr_rng_below(&r, 2) ? 1 : 1 + (ipr_index)ipr_rng_below(&r, 3);
        v.p[k] = (ipr_index)ipr_rng_below(&r, 4);
        v.d[k] = ipr_rng_below(&r, 3) ? 1 : 1 + (ipr_index)ipr_rng_below(&r, 3);
    }
    v.H = IPR__MAX(1, v.d[0] * (v.k[0] - 1) + 1 - 2 * v.p[0]) + (ipr_index)ipr_rng_below(&r, 20);
    v.W = IPR__MAX(1, v.d[1] * (v.k[1] - 1) + 1 - 2 * v.p[1]) + (ipr_index)ipr_rng_below(&r, 20);
    return v;
}

static void conv_grid(int isa, uint32_t cases)
{
    static const conv_case fixed[] = {
        { 3, 4, 32, 32, 5, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, 1 },   /* one image a band */
        { 40, 3, 4, 4, 30, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, 1 },   /* 32 images a band, and 8 */
        { 1, 2, 70, 41, 3, { 5, 5 }, { 1, 1 }, { 2, 2 }, { 1, 1 }, 1 },   /* bands of rows */
        { 2, 2, 67, 33, 3, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1 }, 1 },
        { 2, 300, 5, 5, 17, { 1, 1 }, { 1, 1 }, { 0, 0 }, { 1, 1 }, 1 },  /* read in place, two blocks of k */
        { 2, 70, 6, 6, 33, { 3, 3 }, { 1, 1 }, { 0, 0 }, { 1, 1 }, 1 },   /* read in place; blocks cut a channel's taps */
        { 2, 16, 7, 7, 32, { 1, 1 }, { 2, 2 }, { 0, 0 }, { 1, 1 }, 1 },   /* inputs that nothing reads */
        { 2, 12, 9, 9, 12, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, 12 },  /* depthwise */
        { 9, 1, 1, 1, 1, { 1, 1 }, { 1, 1 }, { 0, 0 }, { 1, 1 }, 1 },
        { 1, 1, 1, 3000, 2, { 1, 7 }, { 1, 1 }, { 0, 3 }, { 1, 1 }, 1 },  /* one long row */
        { 2, 3, 12, 11, 4, { 3, 2 }, { 3, 2 }, { 2, 1 }, { 2, 3 }, 1 },
        { 1, 2, 5, 5, 2, { 2, 2 }, { 4, 5 }, { 0, 0 }, { 1, 1 }, 1 },     /* a stride beyond the kernel */
    };
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    uint32_t i;
    d.isa = isa;
    c = ipr_open(&d, NULL);
    if (!c) return;                           /* this CPU lacks it */
    for (i = 0; i < sizeof fixed / sizeof fixed[0]; i++) CHECK(conv_check_case(c, &fixed[i]));
    for (i = 0; i < cases; i++) {
        const conv_case v = conv_random(i);
        CHECK(conv_check_case(c, &v));
    }
    ipr_close(c);
}
TEST(conv_portable) { conv_grid(IPR_ISA_PORTABLE, 60); }
TEST(conv_auto) { conv_grid(IPR_ISA_AUTO, 200); }
TEST(conv_avx2) { conv_grid(IPR_ISA_AVX2, 100); }
TEST(conv_neon) { conv_grid(IPR_ISA_NEON, 60); }

/* All results of a few cases as one hash. */
static void conv_hash(int threads, int isa, char out[65])
{
    static const conv_case v[] = {
        { 5, 6, 32, 32, 20, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, 1 }, { 33, 40, 8, 8, 50, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, 1 },
        { 7, 20, 15, 15, 40, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1 }, 1 }, { 1, 130, 9, 9, 90, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, 2 },
    };
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    ipr_sha256 h;
    uint8_t sum[32];
    size_t i;
    int k;
    d.threads = threads;
    d.isa = isa;
    c = ipr_open(&d, NULL);
    ipr_sha256_init(&h);
    for (i = 0; i < sizeof v / sizeof v[0]; i++) {
        ipr_params *p;
        ipr_tensor *y, *loss = conv_run(c, &v[i], &p, &y);
        CHECK_EQ_I(ipr_backward(c, loss), IPR_OK);
        ipr_sha256_update(&h, ipr_read(c, y), (size_t)ipr_count(y) * sizeof(ipr_real));
        for (k = 0; k < 3; k++) ipr_sha256_update(&h, ipr_grad(c, ipr_params_at(p, k)), (size_t)ipr_count(ipr_params_at(p, k)) * sizeof(ipr_real));
        ipr_step_end(c);
        ipr_params_free(p);
    }
    ipr_sha256_final(&h, sum);
    ipr_hex(sum, 32, out);
    ipr_close(c);
}

TEST(conv_any_thread_count_same_bits)
{
#ifdef IPR_THREADS
    char one[65], many[65];
    conv_hash(1, IPR_ISA_AUTO, one);
    conv_hash(2, IPR_ISA_AUTO, many);
    CHECK_STR(one, many);
    conv_hash(7, IPR_ISA_AUTO, many);
    CHECK_STR(one, many);
#else
    SKIP("built without IPR_THREADS");
#endif
}

TEST(conv_no_allocation_in_steady_state)
{
    const conv_case v = { 8, 12, 16, 16, 24, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1 }, 1 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    const ipr_index wd[4] = { 24, 12, 3, 3 }, xd[4] = { 8, 12, 16, 16 };
    ipr_params *p = ipr_params_new(c);
    ipr_tensor *w = ipr_param(p, "w", 4, wd);
    ipr_conv2d_desc d = IPR_ZERO;
    uint64_t before = 0;
    int i;
    d.stride[0] = d.stride[1] = v.s[0];
    d.padding[0] = d.padding[1] = 1;
    for (i = 0; i < 6; i++) {
        ipr_tensor *x = ipr_new(c, 4, xd);
        ipr_write(c, x, 1)[3] = 1;
        if (i == 3) before = ipr_stats_get(c).allocs;
        CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_conv2d(c, ipr_affine(c, x, 2, 0), w, NULL, &d))), IPR_OK);
        ipr_params_zero_grad(p);
        ipr_step_end(c);
    }
    CHECK_EQ_I((long long)ipr_stats_get(c).allocs, (long long)before);
    ipr_params_free(p);
    ipr_close(c);
}

static void conv_refused(const ipr_index *xd, int xrank, const ipr_index *wd, int wrank, const ipr_index *bd, const ipr_conv2d_desc *d, int code, const char *word)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *y = ipr_conv2d(c, ipr_new(c, xrank, xd), ipr_new(c, wrank, wd), bd ? ipr_new(c, 1, bd) : NULL, d);
    CHECK(ipr_is_poison(y));
    CHECK_EQ_I(ipr_status(c), code);
    if (!CHECK(strstr(ipr_message(c), "ipr_conv2d") && strstr(ipr_message(c), word))) printf("    %s\n", ipr_message(c));
    ipr_close(c);
}

TEST(conv_bad_input)
{
    const ipr_index x[4] = { 2, 4, 5, 5 }, w[4] = { 6, 4, 3, 3 }, w7[4] = { 6, 4, 7, 3 }, w2[4] = { 6, 2, 3, 3 }, b5[1] = { 5 };
    ipr_conv2d_desc d = IPR_ZERO, z = IPR_ZERO;
    ipr_ctx *c = ipr_open(NULL, NULL);
    conv_refused(x, 3, w, 4, NULL, NULL, IPR_E_SHAPE, "[N,C,H,W]");
    conv_refused(x, 4, w, 3, NULL, NULL, IPR_E_SHAPE, "[O,C/groups,kh,kw]");
    conv_refused(x, 4, w7, 4, NULL, NULL, IPR_E_SHAPE, "pad more");
    conv_refused(x, 4, w2, 4, NULL, NULL, IPR_E_SHAPE, "needs 2 channels");
    conv_refused(x, 4, w, 4, b5, NULL, IPR_E_SHAPE, "needs 6");
    d.groups = 3;
    conv_refused(x, 4, w2, 4, NULL, &d, IPR_E_SHAPE, "3 groups");
    d = z; d.stride[1] = -1;
    conv_refused(x, 4, w, 4, NULL, &d, IPR_E_RANGE, "stride");
    d = z; d.padding[0] = (ipr_index)1 << 30;
    conv_refused(x, 4, w, 4, NULL, &d, IPR_E_RANGE, "padding");
    d = z; d.dilation[0] = 3;
    conv_refused(x, 4, w, 4, NULL, &d, IPR_E_SHAPE, "spans 7 x 3");
    CHECK(ipr_is_poison(ipr_conv2d(c, NULL, NULL, NULL, NULL)));
    CHECK(ipr_status(c) != IPR_OK);
    ipr_close(c);
}

static void suite_conv(void)
{
    RUN(conv_portable);
    RUN(conv_auto);
    RUN(conv_avx2);
    RUN(conv_neon);
    RUN(conv_any_thread_count_same_bits);
    RUN(conv_no_allocation_in_steady_state);
    RUN(conv_bad_input);
}
#else
static void suite_conv(void) {}
#endif
