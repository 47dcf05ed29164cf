/* Vector kernels: every instruction set against double references, in units of the last place. */

static double vec__ulp(ipr_real got, double want)
{
    double u, d, a = want < 0 ? -want : want;
    int k;
    if (want != want) return got != got ? 0 : 1e9;
    if (IPR_REAL_IS_DOUBLE) { u = a > 1e-300 ? a * 2.220446049250313e-16 : 4.94e-324; }
    else if (a > 3.4028235677973366e38) return (double)got == (want > 0 ? ipr__dinf() : -ipr__dinf()) ? 0 : 1e9;
    else if (a < 1.1754943508222875e-38) u = 1.401298464324817e-45;
    else { (void)ipr__dsplit(a, &k); u = ipr__dscale(1.0, k - 23); while (u * 16777216.0 <= a) u *= 2; while (u * 8388608.0 > a) u /= 2; }
    if (!ipr__finite((double)got)) return 1e9;
    d = (double)got - want;
    return (d < 0 ? -d : d) / u;
}

static int vec__isas(int *isa)
{
    int n = 0, best = ipr__cpu_isa();
    isa[n++] = IPR_ISA_PORTABLE;
    if (best == IPR_ISA_NEON) isa[n++] = IPR_ISA_NEON;
    if (best >= IPR_ISA_AVX2) isa[n++] = IPR_ISA_AVX2;
    if (best >= IPR_ISA_AVX512) isa[n++] = IPR_ISA_AVX512;
    return n;
}

static double vec__ref(int f, double x)
{
    return f == 0 ? ipr__dexp(x) : f == 1 ? ipr__dlog(x) : f == 2 ? ipr__dsigmoid(x) : ipr__dtanh(x);
}

static ipr__map1 *vec__fn(const ipr__kern *k, int f)
{
    return f == 0 ? k->vexp : f == 1 ? k->vlog : f == 2 ? k->vsigmoid : k->vtanh;
}

#define VEC_HASH_FLOAT 0x84655d71d60a0556u
#define VEC_HASH_DOUBLE 0x6869487f8f101eb1u
enum { VEC_N = 4096 };

/* All floats sampled: a stride through every bit pattern; IPR_TEST_ULP_STRIDE=1 is exhaustive. */
#ifndef IPR_TEST_ULP_STRIDE
#define IPR_TEST_ULP_STRIDE 1543
#endif

TEST(vec_ulp)
{
    static const char *const name[4] = { "exp", "log", "sigmoid", "tanh" };
    const double bound[4] = { 1.05, 0.8, 2.4, 2.4 };
    static ipr_real x[VEC_N], y[VEC_N];
    int isa[4], n = vec__isas(isa), i, f;
    if (IPR_REAL_IS_DOUBLE) SKIP("doubles go through floor 1's own functions");
    for (i = 0; i < n; i++) for (f = 0; f < 4; f++) {
        double worst = 0, at = 0;
        uint64_t bits = 0;
        while (bits < (uint64_t)1 << 32) {
            ipr_index m = 0, j;
            for (; m < VEC_N && bits < (uint64_t)1 << 32; bits += IPR_TEST_ULP_STRIDE) x[m++] = (ipr_real)ipr__bits_f32((uint32_t)bits);
            vec__fn(ipr__kern_for(isa[i]), f)(m, x, y);
            for (j = 0; j < m; j++) {
                double e = vec__ulp(y[j], vec__ref(f, (double)x[j]));
                if (e > worst) { worst = e; at = (double)x[j]; }
            }
        }
        if (!CHECK(worst <= bound[f])) printf("  %s %s: %g ulp at %.9g\n", ipr_isa_name(isa[i]), name[f], worst, at);
#ifdef IPR_TEST_VERBOSE
        printf("  %-9s %-8s %.3f ulp at %.9g\n", ipr_isa_name(isa[i]), name[f], worst, at);
#endif
    }
}

TEST(vec_specials)
{
    int isa[4], n = vec__isas(isa), i;
    const ipr_real inf = (ipr_real)ipr__dinf(), nan = (ipr_real)ipr__dnan();
    for (i = 0; i < n; i++) {
        const ipr__kern *k = ipr__kern_for(isa[i]);
        ipr_real x[8], y[8];
        x[0] = inf; x[1] = -inf; x[2] = nan; x[3] = 0; x[4] = IPR__R(-0.0); x[5] = IPR__R(1e-30); x[6] = IPR__R(-1e-30); x[7] = IPR__R(-1);
        k->vexp(8, x, y);
        CHECK(y[0] == inf && y[1] == 0 && y[2] != y[2] && y[3] == 1 && y[4] == 1 && y[5] == 1);
        k->vlog(8, x, y);
        CHECK(y[0] == inf && y[1] != y[1] && y[2] != y[2] && y[3] == -inf && y[4] == -inf && y[6] != y[6] && y[7] != y[7]);
        k->vsigmoid(8, x, y);
        CHECK(y[0] == 1 && y[1] == 0 && y[2] != y[2] && y[3] == IPR__R(0.5) && y[4] == IPR__R(0.5));
        k->vtanh(8, x, y);
        CHECK(y[0] == 1 && y[1] == -1 && y[2] != y[2] && y[3] == 0 && y[4] == 0 && 1 / y[4] == -inf);
        CHECK(y[5] == x[5] && y[6] == x[6]);
        x[2] = 3;
        x[3] = nan;
        CHECK(k->maxv(3, x + 1) == 3 && k->maxv(1, x + 3) == -inf && k->maxv(0, x) == -inf && k->maxv(8, x) == inf);
    }
}

static ipr_real vec__rand(ipr_rng *r) { return (ipr_real)(ipr_rng_uniform(r) * 4 - 2); }

/* Every length 0..67: right values, nothing written past the end, in place allowed. */
TEST(vec_tails)
{
    int isa[4], n = vec__isas(isa), i;
    ipr_index len, j;
    const double tol = IPR_REAL_IS_DOUBLE ? 1e-14 : 1e-5;
    for (i = 0; i < n; i++) for (len = 0; len <= 67; len++) {
        const ipr__kern *k = ipr__kern_for(isa[i]);
        ipr_real x[70], y[70], z[70], w[70];
        double s = 0, d = 0, q = 0, top = -1e30, e = 0;
        ipr_rng r = ipr_rng_make(7, 1, (uint32_t)len);
        int f;
        for (j = 0; j < 70; j++) { x[j] = vec__rand(&r); y[j] = vec__rand(&r) + 4; }
        for (j = 0; j < len; j++) {
            s += (double)x[j]; d += (double)x[j] * (double)y[j]; q += (double)x[j] * (double)x[j];
            if ((double)x[j] > top) top = (double)x[j];
        }
        for (j = 0; j < len; j++) e += ipr__dexp((double)x[j] - top);
        CHECK_NEAR(k->sum(len, x), s, tol * 67);
        CHECK_NEAR(k->dot(len, x, y), d, tol * 200);
        CHECK_NEAR(k->sumsq(len, x), q, tol * 67);
        if (len) CHECK(k->maxv(len, x) == (ipr_real)top);
        for (f = 0; f < 14; f++) {
            for (j = 0; j < 70; j++) z[j] = w[j] = IPR__R(99) + (ipr_real)j;
            if (f == 0) k->add(len, x, y, z);
            if (f == 1) k->sub(len, x, y, z);
            if (f == 2) k->mul(len, x, y, z);
            if (f == 3) k->div(len, x, y, z);
            if (f == 4) k->fma_acc(len, x, y, z);
            if (f == 5) k->axpy(len, IPR__R(0.5), x, z);
            if (f == 6) k->scale(len, IPR__R(0.5), x, z);
            if (f == 7) k->vexp(len, x, z);
            if (f == 8) k->vlog(len, y, z);
            if (f == 9) k->vsigmoid(len, x, z);
            if (f == 10) { ipr__copy(z, x, (size_t)len * sizeof *z); k->vtanh(len, z, z); }
            if (f == 11) ipr__softmax_rows(k, 1, len, x, z);
            if (f == 12) { ipr__copy(z, x, (size_t)len * sizeof *z); ipr__log_softmax_rows(k, 1, len, z, z); }
            if (f == 13) k->col_sum(1, len, x, 70, 0, z);
            for (j = 0; j < len; j++) {
                const double a = (double)x[j], b = (double)y[j], c = (double)w[j];
                const double want[14] = { a + b, a - b, a * b, a / b, c + a * b, c + 0.5 * a, 0.5 * a, ipr__dexp(a), ipr__dlog(b),
                    ipr__dsigmoid(a), ipr__dtanh(a), ipr__dexp(a - top) / e, a - top - ipr__dlog(e), a };
                CHECK_NEAR(z[j], want[f], tol * (f == 4 || f == 5 ? 20 : 2));
            }
            for (j = len; j < 70; j++) CHECK(z[j] == w[j]);
        }
    }
}

TEST(vec_long_sum)
{
    int isa[4], n = vec__isas(isa), i;
    static ipr_real x[100003];
    ipr_rng r = ipr_rng_make(3, 1, 0);
    double s = 0, q = 0;
    ipr_index j;
    for (j = 0; j < 100003; j++) { x[j] = vec__rand(&r); s += (double)x[j]; q += (double)x[j] * (double)x[j]; }
    for (i = 0; i < n; i++) {
        const ipr__kern *k = ipr__kern_for(isa[i]);
        CHECK_NEAR(k->sum(100003, x), s, IPR_REAL_IS_DOUBLE ? 1e-9 : 1e-3);
        CHECK_NEAR(k->sumsq(100003, x), q, IPR_REAL_IS_DOUBLE ? 1e-8 : 3e-2);
    }
}

TEST(vec_col_sum)
{
    int isa[4], n = vec__isas(isa), i, acc;
    ipr_index m, j, p;
    static ipr_real a[40 * 60], out[60];
    ipr_rng r = ipr_rng_make(5, 1, 0);
    for (j = 0; j < 40 * 60; j++) a[j] = vec__rand(&r);
    for (i = 0; i < n; i++) for (m = 0; m <= 40; m += 5) for (acc = 0; acc < 2; acc++) {
        for (j = 0; j < 60; j++) out[j] = 10;
        ipr__kern_for(isa[i])->col_sum(m, 53, a, 60, acc, out);
        for (j = 0; j < 53; j++) {
            double s = acc ? 10 : 0;
            for (p = 0; p < m; p++) s += (double)a[p * 60 + j];
            CHECK_NEAR(out[j], s, 1e-4);
        }
        for (; j < 60; j++) CHECK(out[j] == 10);
    }
}

/* PyTorch's Adam, AdamW and SGD, spelled out in double. */
TEST(vec_optim)
{
    int isa[4], n = vec__isas(isa), i, mode, t;
    ipr_index j;
    enum { N = 37 };
    const double tol = IPR_REAL_IS_DOUBLE ? 1e-13 : 2e-6;
    for (i = 0; i < n; i++) for (mode = 0; mode < 6; mode++) {
        const ipr__kern *k = ipr__kern_for(isa[i]);
        ipr_rng r = ipr_rng_make(9, 1, 0);
        ipr_real w[N], g[N], m[N], v[N];
        double dw[N], dm[N], dv[N];
        ipr__adam_args a = IPR_ZERO;
        ipr__sgd_args s = IPR_ZERO;
        a.lr = 0.01; a.beta1 = 0.9; a.beta2 = 0.999; a.eps = 1e-8; a.grad_scale = 0.5;
        a.decay_l2 = mode == 1 ? 0.1 : 0; a.decay_w = mode == 2 ? 0.1 : 0;
        s.lr = 0.01; s.grad_scale = 0.5; s.decay_l2 = 0.1; s.momentum = mode == 3 ? 0 : 0.9; s.dampening = mode == 4 ? 0.3 : 0; s.nesterov = mode == 5;
        for (j = 0; j < N; j++) { w[j] = vec__rand(&r); dw[j] = (double)w[j]; m[j] = v[j] = 0; dm[j] = dv[j] = 0; }
        for (t = 1; t <= 5; t++) {
            a.bias1 = 1 - ipr__dpow_i(a.beta1, t);
            a.bias2 = 1 - ipr__dpow_i(a.beta2, t);
            s.first = t == 1;
            for (j = 0; j < N; j++) {
                double d;
                g[j] = vec__rand(&r);
                d = (double)g[j] * 0.5;
                if (mode < 3) {
                    d += a.decay_l2 * dw[j];
                    dw[j] -= a.lr * a.decay_w * dw[j];
                    dm[j] = a.beta1 * dm[j] + (1 - a.beta1) * d;
                    dv[j] = a.beta2 * dv[j] + (1 - a.beta2) * d * d;
                    dw[j] -= a.lr / a.bias1 * dm[j] / (ipr__dsqrt(dv[j]) / ipr__dsqrt(a.bias2) + a.eps);
                } else {
                    d += s.decay_l2 * dw[j];
                    if (mode > 3) {
                        dm[j] = t == 1 ? d : s.momentum * dm[j] + (1 - s.dampening) * d;
                        d = mode == 5 ? d + s.momentum * dm[j] : dm[j];
                    }
                    dw[j] -= s.lr * d;
                }
            }
            if (mode < 3) k->adam(N, w, g, m, v, &a);
            else k->sgd(N, w, g, mode == 3 ? NULL : m, &s);
            for (j = 0; j < N; j++) CHECK_NEAR(w[j], dw[j], tol);
        }
    }
}

/* FNV-1a over results of the portable kernels: the same constant on every IEEE target. NaNs are left out. */
static uint64_t vec__hash(uint64_t h, const ipr_real *x, ipr_index n)
{
    ipr_index i;
    int b;
    for (i = 0; i < n; i++) {
        uint64_t u = IPR_REAL_IS_DOUBLE ? ipr__f64_bits((double)x[i]) : (uint64_t)ipr__f32_bits((float)x[i]);
        if (x[i] != x[i]) u = 0;
        for (b = 0; b < 8; b++) h = (h ^ (u >> 8 * b & 255)) * 0x100000001b3u;
    }
    return h;
}

TEST(vec_portable_bits)
{
    static ipr_real x[VEC_N], y[VEC_N], z[VEC_N];
    const ipr__kern *k = ipr__kern_for(IPR_ISA_PORTABLE);
    uint64_t h = 0xcbf29ce484222325u, bits, want = IPR_REAL_IS_DOUBLE ? VEC_HASH_DOUBLE : VEC_HASH_FLOAT;
    ipr__adam_args a = IPR_ZERO;
    ipr_real one[4];
    ipr_index m, j;
    int f;
    for (f = 0; f < 4; f++) for (bits = 0; bits < (uint64_t)1 << 32; ) {
        for (m = 0; m < VEC_N && bits < (uint64_t)1 << 32; bits += 150001) x[m++] = (ipr_real)ipr__bits_f32((uint32_t)bits);
        vec__fn(k, f)(m, x, y);
        h = vec__hash(h, y, m);
    }
    { ipr_rng r = ipr_rng_make(11, 1, 0); for (j = 0; j < VEC_N; j++) { x[j] = vec__rand(&r); y[j] = vec__rand(&r); z[j] = 0; } }
    ipr__softmax_rows(k, 61, 67, x, z); h = vec__hash(h, z, VEC_N);
    ipr__log_softmax_rows(k, 13, 301, x, z); h = vec__hash(h, z, VEC_N);
    one[0] = k->sum(4001, x); one[1] = k->dot(4001, x, y); one[2] = (ipr_real)k->sumsq(4001, x); one[3] = k->maxv(4001, x);
    h = vec__hash(h, one, 4);
    k->col_sum(61, 67, x, 67, 1, z); h = vec__hash(h, z, VEC_N);
    k->div(4095, x, y, z); h = vec__hash(h, z, VEC_N);
    k->fma_acc(4095, x, y, z); h = vec__hash(h, z, VEC_N);
    a.lr = 0.01; a.beta1 = 0.9; a.beta2 = 0.999; a.eps = 1e-8; a.bias1 = 0.1; a.bias2 = 0.001; a.grad_scale = 1; a.decay_w = 0.1;
    k->mul(2001, y, y, y);
    k->adam(2001, x, x + 2001, z, y, &a);
    h = vec__hash(h, x, 2001);
    if (!CHECK(h == want)) printf("  hash 0x%08x%08xu\n", (unsigned)(h >> 32), (unsigned)(h & 0xffffffffu));
}

static void suite_vec(void)
{
    RUN(vec_ulp);
    RUN(vec_specials);
    RUN(vec_tails);
    RUN(vec_long_sum);
    RUN(vec_col_sum);
    RUN(vec_optim);
    RUN(vec_portable_bits);
}
