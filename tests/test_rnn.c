/* LSTM and GRU against a scalar reference in double; gradients against differences. */

typedef struct rnn__case {
    int gru, dual, h0, bias, gate, gate_out, no_y, lengths, reverse;
    ipr_index T, Bx, I, H, Tk, gate_from;
    int cell;       /* IPR_PEEPHOLE, IPR_MLSTM, IPR_RNN_TANH; 0: LSTM or GRU */
} rnn__case;

static ipr_index rnn__blocks(const rnn__case *k) { return k->gru ? 3 : k->cell == IPR_RNN_TANH ? 1 : 4; }
static int rnn__has_c(const rnn__case *k) { return rnn__blocks(k) == 4; }

/* ---- the reference: one row, PyTorch's cells and Gatekeeper's gate, as in the papers ---- */

enum { RNN_MAX_H = 67 };

static double rnn__dot(const ipr_real *w, const double *h, ipr_index n)
{
    double s = 0;
    ipr_index i;
    for (i = 0; i < n; i++) s += (double)w[i] * h[i];
    return s;
}

/* h and c: state in, gated state out; y: ungated h; f: forget or reset gate */
static void rnn__ref_step(const rnn__case *k, ipr_tensor *const *t, const ipr_real *x, const ipr_real *gk, double *h, double *c,
                          double *y, double *f)
{
    const ipr_index H = k->H;
    double xd[RNN_MAX_H], a[4][RNN_MAX_H], b[4][RNN_MAX_H], m[RNN_MAX_H];
    ipr_index j, q;
    for (j = 0; j < k->I; j++) xd[j] = (double)x[j];
    for (j = 0; j < H; j++)
        m[j] = k->cell != IPR_MLSTM ? h[j] : rnn__dot(ipr__rd(t[9]) + j * k->I, xd, k->I) * rnn__dot(ipr__rd(t[10]) + j * H, h, H);
    for (q = 0; q < rnn__blocks(k); q++) for (j = 0; j < H; j++) {
        a[q][j] = rnn__dot(ipr__rd(t[3]) + (q * H + j) * k->I, xd, k->I) + (k->bias ? (double)ipr__rd(t[5])[q * H + j] : 0);
        b[q][j] = rnn__dot(ipr__rd(t[4]) + (q * H + j) * H, m, H) + (k->bias ? (double)ipr__rd(t[6])[q * H + j] : 0);
    }
    for (j = 0; j < H; j++) {
        if (k->gru) {
            const double r = ipr__dsigmoid(a[0][j] + b[0][j]), z = ipr__dsigmoid(a[1][j] + b[1][j]);
            const double n = ipr__dtanh(a[2][j] + r * b[2][j]);
            f[j] = r;
            y[j] = (1 - z) * n + z * h[j];
        } else if (k->cell == IPR_RNN_TANH) {
            y[j] = ipr__dtanh(a[0][j] + b[0][j]);
            f[j] = y[j] < 0 ? -y[j] : y[j];
        } else {
            const ipr_real *p = k->cell == IPR_PEEPHOLE ? ipr__rd(t[8]) : NULL;
            const double i = ipr__dsigmoid(a[0][j] + b[0][j] + (p ? (double)p[j] * c[j] : 0)), g = ipr__dtanh(a[2][j] + b[2][j]);
            double o;
            f[j] = ipr__dsigmoid(a[1][j] + b[1][j] + (p ? (double)p[H + j] * c[j] : 0));
            c[j] = f[j] * c[j] + i * g;
            o = ipr__dsigmoid(a[3][j] + b[3][j] + (p ? (double)p[2 * H + j] * c[j] : 0));
            y[j] = o * ipr__dtanh(c[j]);
            if (gk) c[j] *= (double)gk[j];
        }
    }
    for (j = 0; j < H; j++) h[j] = gk ? y[j] * (double)gk[j] : y[j];
}

/* ---- building a case ---- */

enum { RNN_NP = 11 };
static const char *const rnn__names[RNN_NP] = { "x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "gate", "w_peep", "w_mi", "w_mh" };

/* Parameters for every input of the case; t[i] NULL where the case has none. */
static ipr_params *rnn__params(ipr_ctx *c, const rnn__case *k, ipr_tensor **t)
{
    ipr_params *p = ipr_params_new(c);
    const ipr_index G = rnn__blocks(k) * k->H, B = k->Bx * (k->dual ? 2 : 1);
    ipr_index d[RNN_NP][3];
    int rank[RNN_NP] = { 3, 2, 2, 2, 2, 1, 1, 2, 1, 2, 2 }, i;
    ipr_rng r = ipr_rng_make(17, 3, (uint32_t)(k->T * 100 + k->H));
    d[0][0] = k->T; d[0][1] = k->Bx; d[0][2] = k->I;
    d[1][0] = d[2][0] = B; d[1][1] = d[2][1] = k->H;
    d[3][0] = d[4][0] = d[5][0] = d[6][0] = G; d[3][1] = k->I; d[4][1] = k->H;
    d[7][0] = k->Tk; d[7][1] = k->H;
    d[8][0] = 3 * k->H; d[9][0] = d[10][0] = k->H; d[9][1] = k->I; d[10][1] = k->H;
    for (i = 0; i < RNN_NP; i++) {
        const int absent = ((i == 1 || i == 2) && !k->h0) || (i == 2 && !rnn__has_c(k)) || ((i == 5 || i == 6) && !k->bias) || (i == 7 && !k->gate) ||
                           (i == 8 && k->cell != IPR_PEEPHOLE) || (i > 8 && k->cell != IPR_MLSTM);
        ipr_index j;
        t[i] = absent ? NULL : ipr_param(p, rnn__names[i], rank[i], d[i]);
        for (j = 0; t[i] && j < ipr_count(t[i]); j++) {
            const double u = ipr_rng_uniform(&r), s = i == 3 || i == 4 ? 2 / ipr__dsqrt((double)d[i][1]) : 1;
            ipr__wr(t[i])[j] = (ipr_real)(i == 7 ? u : (2 * u - 1) * s);
        }
    }
    return p;
}

/* Steps of row b of x. */
static ipr_index rnn__length(const rnn__case *k, ipr_index b)
{
    ipr_rng r = ipr_rng_make(29, (uint32_t)k->T, (uint32_t)b);
    return k->lengths ? 1 + (ipr_index)ipr_rng_below(&r, (uint32_t)k->T) : k->T;
}

static int rnn__run(ipr_ctx *c, const rnn__case *k, ipr_tensor *const *t, ipr_rnn_out *o)
{
    ipr_rnn_in in = IPR_ZERO;
    ipr_index b;
    if (k->lengths) {
        ipr_tensor *len = ipr_new_i32(c, 1, &k->Bx);
        for (b = 0; b < k->Bx; b++) ipr_write_i32(c, len, 1)[b] = (int32_t)rnn__length(k, b);
        in.lengths = len;
    }
    in.reverse = k->reverse;
    in.x = t[0]; in.h0 = t[1]; in.c0 = t[2]; in.w_ih = t[3]; in.w_hh = t[4]; in.b_ih = t[5]; in.b_hh = t[6]; in.gate = t[7];
    in.gate_from = k->gate_from;
    in.dual = k->dual;
    in.want_gate_out = k->gate_out;
    in.no_y = k->no_y;
    in.w_peep = t[8]; in.w_mi = t[9]; in.w_mh = t[10];
    if (k->cell == IPR_PEEPHOLE) return ipr_peephole(c, &in, o);
    if (k->cell == IPR_MLSTM) return ipr_mlstm(c, &in, o);
    if (k->cell == IPR_RNN_TANH) return ipr_rnn_tanh(c, &in, o);
    return k->gru ? ipr_gru(c, &in, o) : ipr_lstm(c, &in, o);
}

static ipr_ctx *rnn__open(int isa, int threads)
{
    ipr_desc d = IPR_ZERO;
    d.isa = isa;
    d.threads = threads;
    return ipr_open(&d, NULL);
}

static int rnn__isas(int *isa)
{
    int n = 0, best = ipr__cpu_isa();
    isa[n++] = IPR_ISA_PORTABLE;
    if (best == IPR_ISA_NEON) isa[n++] = IPR_ISA_NEON;
    if (best >= IPR_ISA_AVX2) isa[n++] = IPR_ISA_AVX2;
    if (best >= IPR_ISA_AVX512) isa[n++] = IPR_ISA_AVX512;
    return n;
}

static rnn__case rnn__sample(ipr_rng *r, ipr_index max_h)
{
    rnn__case k = IPR_ZERO;
    k.gru = (int)ipr_rng_below(r, 2);
    k.T = 1 + (ipr_index)ipr_rng_below(r, 7);
    k.Bx = 1 + (ipr_index)ipr_rng_below(r, 9);
    k.I = 1 + (ipr_index)ipr_rng_below(r, 40);
    k.H = 1 + (ipr_index)ipr_rng_below(r, (uint32_t)max_h);
    k.Tk = 1 + (ipr_index)ipr_rng_below(r, 9);
    k.dual = ipr_rng_below(r, 3) == 0;
    k.h0 = (int)ipr_rng_below(r, 2);
    k.bias = ipr_rng_below(r, 4) != 0;
    k.gate = ipr_rng_below(r, 3) != 0;
    k.gate_out = (int)ipr_rng_below(r, 2);
    k.no_y = ipr_rng_below(r, 4) == 0;
    k.gate_from = k.gate ? (ipr_index)ipr_rng_below(r, (uint32_t)k.Bx + 1) : 0;
    k.lengths = ipr_rng_below(r, 2) != 0;
    k.reverse = ipr_rng_below(r, 3) == 0;
    k.cell = ipr_rng_below(r, 3) == 0 ? IPR_PEEPHOLE + (int)ipr_rng_below(r, 3) : 0;
    if (k.cell) k.gru = 0;
    return k;
}

/* ---- forward ---- */

static void rnn__check_forward(ipr_ctx *c, const rnn__case *k, ipr_tensor *const *t, const ipr_rnn_out *o)
{
    const double tol = IPR_REAL_IS_DOUBLE ? 1e-12 : 1e-5;
    const ipr_index H = k->H, B = k->Bx * (k->dual ? 2 : 1), from = k->dual && !k->gate_from ? k->Bx : k->gate_from;
    double h[RNN_MAX_H], s[RNN_MAX_H], y[RNN_MAX_H], f[RNN_MAX_H];
    ipr_index b, i, j;
    for (b = 0; b < B; b++) {
        const ipr_index n = rnn__length(k, b % k->Bx);
        for (j = 0; j < H; j++) {
            h[j] = t[1] ? (double)ipr__rd(t[1])[b * H + j] : 0;
            s[j] = t[2] ? (double)ipr__rd(t[2])[b * H + j] : 0;
        }
        for (i = 0; i < n; i++) {
            const ipr_index own = k->reverse ? n - 1 - i : i;
            const ipr_real *gk = t[7] && b >= from && i < k->Tk ? ipr__rd(t[7]) + i * H : NULL;
            rnn__ref_step(k, t, ipr__rd(t[0]) + (own * k->Bx + b % k->Bx) * k->I, gk, h, s, y, f);
            for (j = 0; j < H; j++) {
                if (o->y) CHECK_NEAR(ipr_read(c, o->y)[(own * B + b) * H + j], y[j], tol);
                if (o->gate_out) CHECK_NEAR(ipr_read(c, o->gate_out)[(i * B + b) * H + j], f[j], tol);
            }
        }
        for (i = n; i < k->T; i++)
            for (j = 0; j < H; j++) {
                if (o->y) CHECK(ipr_read(c, o->y)[(i * B + b) * H + j] == 0);
                if (o->gate_out) CHECK(ipr_read(c, o->gate_out)[(i * B + b) * H + j] == 0);
            }
        for (j = 0; j < H; j++) {
            CHECK_NEAR(ipr_read(c, o->h_n)[b * H + j], h[j], tol);
            if (rnn__has_c(k)) CHECK_NEAR(ipr_read(c, o->c_n)[b * H + j], s[j], tol);
        }
    }
}

TEST(rnn_forward)
{
    int isa[4], n = rnn__isas(isa), i, q, record;
    ipr_rng r = ipr_rng_make(1, 1, 1);
    for (q = 0; q < 60; q++) {
        rnn__case k = rnn__sample(&r, RNN_MAX_H);
        for (i = 0; i < n; i++) for (record = 0; record < 2; record++) {
            ipr_ctx *c = rnn__open(isa[i], 1);
            ipr_tensor *t[RNN_NP];
            ipr_rnn_out o;
            ipr_params *p = rnn__params(c, &k, t);
            ipr_no_grad(c, !record);
            CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_OK);
            if (ipr_status(c) == IPR_OK) rnn__check_forward(c, &k, t, &o);
            else printf("  %s\n", ipr_message(c));
            CHECK((o.y == NULL) == k.no_y && (o.gate_out != NULL) == k.gate_out && (o.c_n == NULL) == !rnn__has_c(&k));
            ipr_params_free(p);
            ipr_close(c);
        }
    }
}

/* Larger than a chunk of the input projection. */
TEST(rnn_forward_chunks)
{
    rnn__case k = IPR_ZERO;
    int record;
    k.T = 9; k.Bx = 40; k.I = 5; k.H = 67; k.bias = 1;
    for (k.gru = 0; k.gru < 2; k.gru++) for (k.lengths = 0; k.lengths < 2; k.lengths++) for (record = 0; record < 2; record++) {
        ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
        ipr_tensor *t[RNN_NP];
        ipr_rnn_out o;
        ipr_params *p = rnn__params(c, &k, t);
        ipr_no_grad(c, !record);
        CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_OK);
        rnn__check_forward(c, &k, t, &o);
        ipr_params_free(p);
        ipr_close(c);
    }
}

/* ---- gradients ---- */

typedef struct rnn__loss_arg { const rnn__case *k; ipr_tensor *const *t; int paths; } rnn__loss_arg;

/* sum of squares of (out + fixed noise): a different weight for every element */
static ipr_tensor *rnn__term(ipr_ctx *c, ipr_tensor *sum, ipr_tensor *out, uint32_t stream)
{
    ipr_rng r = ipr_rng_make(23, stream, 0);
    ipr_tensor *w = ipr_new(c, ipr_rank(out), out->dim);
    ipr_index i;
    for (i = 0; i < ipr_count(w); i++) ipr__wr(w)[i] = (ipr_real)(ipr_rng_uniform(&r) * 2 - 1);
    out = ipr_sum(c, ipr_square(c, ipr_add(c, out, w)));
    return sum ? ipr_add(c, sum, out) : out;
}

static ipr_tensor *rnn__loss(ipr_ctx *c, void *user)
{
    const rnn__loss_arg *a = (const rnn__loss_arg *)user;
    ipr_tensor *s = NULL;
    ipr_rnn_out o;
    (void)rnn__run(c, a->k, a->t, &o);
    if (ipr_is_poison(o.h_n)) return o.h_n;
    if (a->paths & 1) s = rnn__term(c, s, o.h_n, 1);
    if ((a->paths & 2) && o.c_n) s = rnn__term(c, s, o.c_n, 2);
    if ((a->paths & 4) && o.y) s = rnn__term(c, s, o.y, 3);
    if ((a->paths & 8) && o.gate_out) s = rnn__term(c, s, o.gate_out, 4);
    if ((a->paths & 16) && o.y) s = rnn__term(c, s, ipr_slice(c, o.y, 0, 0, 1), 5);   /* the first-step h */
    return s ? s : rnn__term(c, s, o.h_n, 1);
}

TEST(rnn_gradients)
{
    int q, cases = IPR_REAL_IS_DOUBLE ? 90 : 40;
    ipr_rng r = ipr_rng_make(2, 1, 1);
    for (q = 0; q < cases; q++) {
        rnn__case k = rnn__sample(&r, 19);
        rnn__loss_arg a;
        ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
        ipr_tensor *t[RNN_NP];
        ipr_params *p = rnn__params(c, &k, t);
        double worst;
        a.k = &k;
        a.t = t;
        a.paths = q % 4 == 0 ? 31 : 1 + (int)ipr_rng_below(&r, 31);
        if (!IPR_REAL_IS_DOUBLE && k.cell == IPR_RNN_TANH) a.paths &= ~8;     /* |h|: the wide difference of floats meets its corner */
        worst = ipr_gradcheck(c, p, rnn__loss, &a, IPR_REAL_IS_DOUBLE ? 1e-5 : 1e-2, 25);
        if (!CHECK(worst >= 0 && worst <= (IPR_REAL_IS_DOUBLE ? 1e-6 : 2e-1)))
            printf("  cell %d gru %d dual %d h0 %d bias %d gate %d from %d out %d no_y %d T %d Tk %d B %d H %d paths %d: %g %s\n", k.cell, k.gru, k.dual, k.h0,
                   k.bias, k.gate, (int)k.gate_from, k.gate_out, k.no_y, (int)k.T, (int)k.Tk, (int)k.Bx, (int)k.H, a.paths, worst, ipr_message(c));
        ipr_params_free(p);
        ipr_close(c);
    }
}

/* Enough rows for several chunks of steps, both ways. */
TEST(rnn_gradients_chunks)
{
    rnn__case k = IPR_ZERO;
    k.T = 7; k.Bx = 75; k.I = 3; k.H = 5; k.Tk = 5;
    k.h0 = k.bias = k.gate = k.gate_out = 1;
    for (k.gru = 0; k.gru < 2; k.gru++) for (k.dual = 0; k.dual < 2; k.dual++) for (k.lengths = 0; k.lengths < 2; k.lengths++) {
        rnn__loss_arg a;
        ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
        ipr_tensor *t[RNN_NP];
        ipr_params *p;
        double worst;
        k.gate_from = 41;
        p = rnn__params(c, &k, t);
        a.k = &k;
        a.t = t;
        a.paths = 31;
        worst = ipr_gradcheck(c, p, rnn__loss, &a, IPR_REAL_IS_DOUBLE ? 1e-5 : 1e-2, 12);
        CHECK_NEAR(worst, 0, IPR_REAL_IS_DOUBLE ? 1e-6 : 2e-1);
        ipr_params_free(p);
        ipr_close(c);
    }
}

/* Gradients of every parameter, one after the other, into out. Returns the count. */
static ipr_index rnn__grads(ipr_ctx *c, const rnn__case *k, ipr_tensor *const *t, int paths, ipr_real *out)
{
    rnn__loss_arg a;
    ipr_index n = 0;
    ipr_tensor *l;
    int i;
    a.k = k;
    a.t = t;
    a.paths = paths;
    l = rnn__loss(c, &a);
    CHECK_EQ_I(ipr_backward(c, l), IPR_OK);
    out[n++] = ipr_item(c, l);
    for (i = 0; i < RNN_NP; i++) if (t[i] && ipr_grad(c, t[i])) {
        ipr__copy(out + n, ipr_grad(c, t[i]), (size_t)ipr_count(t[i]) * sizeof *out);
        n += ipr_count(t[i]);
    }
    ipr_step_end(c);
    return n;
}

enum { RNN_MAX_G = 200000 };
static ipr_real rnn__g1[RNN_MAX_G], rnn__g2[RNN_MAX_G];

/* Every instruction set gives the portable gradients within rounding. */
TEST(rnn_isa_gradients)
{
    int isa[4], n = rnn__isas(isa), i, q;
    ipr_rng r = ipr_rng_make(4, 1, 1);
    for (q = 0; q < 30; q++) {
        rnn__case k = rnn__sample(&r, RNN_MAX_H);
        for (i = 0; i < n; i++) {
            ipr_ctx *c = rnn__open(isa[i], 1);
            ipr_tensor *t[RNN_NP];
            ipr_params *p = rnn__params(c, &k, t);
            ipr_index m = rnn__grads(c, &k, t, 31, i ? rnn__g2 : rnn__g1), j;
            for (j = 0; i && j < m; j++) {
                const double a = (double)rnn__g1[j];
                CHECK_NEAR(rnn__g2[j], a, 2e-4 * (1 + (a < 0 ? -a : a)));
            }
            ipr_params_free(p);
            ipr_close(c);
        }
    }
}

/* A host job system that runs items backwards on changing workers: slices as with real threads. */
static void rnn__parallel(void *user, int items, ipr_task task, void *arg)
{
    const int n = *(const int *)user;
    int i;
    for (i = items - 1; i >= 0; i--) task(arg, i, (i * 7 + 1) % n);
}

TEST(rnn_threads)
{
    int q, threads;
    ipr_rng r = ipr_rng_make(5, 1, 1);
    for (q = 0; q < 24; q++) {
        rnn__case k = rnn__sample(&r, 40);
        ipr_index m1 = 0, m;
        if (q % 2) k.Bx = 17 + 13 * q;
        if (q % 2) k.T = 3 + 2 * (q % 5);
        for (threads = 1; threads <= 4; threads++) {
            ipr_desc d = IPR_ZERO;
            ipr_ctx *c;
            ipr_tensor *t[RNN_NP];
            ipr_params *p;
            d.threads = threads;
            if (threads > 1) { d.parallel_fn = rnn__parallel; d.parallel_user = &threads; }
            c = ipr_open(&d, NULL);
            p = rnn__params(c, &k, t);
            m = rnn__grads(c, &k, t, 31, threads > 1 ? rnn__g2 : rnn__g1);
            if (threads == 1) m1 = m;
            CHECK_EQ_I(m, m1);
            CHECK(ipr__memcmp(rnn__g1, rnn__g2, threads > 1 ? (size_t)m * sizeof(ipr_real) : 0) == 0);
            ipr_params_free(p);
            ipr_close(c);
        }
    }
}

/* Dual mode is a plain and a gated pass over the same x. */
TEST(rnn_dual_is_two_passes)
{
    int q;
    ipr_rng r = ipr_rng_make(6, 1, 1);
    for (q = 0; q < 30; q++) {
        rnn__case k = rnn__sample(&r, 50), one;
        ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
        ipr_tensor *t[RNN_NP], *plain[RNN_NP], *l;
        ipr_params *p;
        ipr_rnn_out a, b, d;
        ipr_index n, j, m = 0;
        int i;
        k.dual = k.gate = 1;
        k.h0 = k.no_y = 0;
        k.gate_from = q % 2 ? k.Bx : 0;
        p = rnn__params(c, &k, t);
        for (i = 0; i < RNN_NP; i++) plain[i] = i == 7 ? NULL : t[i];
        one = k;
        one.dual = 0;
        one.gate_from = 0;
        (void)rnn__run(c, &k, t, &d);
        (void)rnn__run(c, &one, plain, &a);
        (void)rnn__run(c, &one, t, &b);
        n = k.Bx * k.H;
        CHECK(ipr__memcmp(ipr_read(c, d.h_n), ipr_read(c, a.h_n), (size_t)n * sizeof(ipr_real)) == 0);
        CHECK(ipr__memcmp(ipr_read(c, d.h_n) + n, ipr_read(c, b.h_n), (size_t)n * sizeof(ipr_real)) == 0);
        for (j = 0; j < k.T; j++) {
            CHECK(ipr__memcmp(ipr_read(c, d.y) + 2 * j * n, ipr_read(c, a.y) + j * n, (size_t)n * sizeof(ipr_real)) == 0);
            CHECK(ipr__memcmp(ipr_read(c, d.y) + (2 * j + 1) * n, ipr_read(c, b.y) + j * n, (size_t)n * sizeof(ipr_real)) == 0);
        }
        l = ipr_sum(c, ipr_square(c, d.y));
        l = ipr_add(c, l, ipr_sum(c, ipr_square(c, d.h_n)));
        (void)ipr_backward(c, l);
        for (i = 0; i < RNN_NP; i++) if (t[i]) { ipr__copy(rnn__g1 + m, ipr_grad(c, t[i]), (size_t)ipr_count(t[i]) * sizeof(ipr_real)); m += ipr_count(t[i]); }
        ipr_params_zero_grad(p);
        ipr_step_end(c);
        (void)rnn__run(c, &one, plain, &a);
        (void)rnn__run(c, &one, t, &b);
        l = ipr_add(c, ipr_sum(c, ipr_square(c, a.y)), ipr_sum(c, ipr_square(c, b.y)));
        l = ipr_add(c, l, ipr_add(c, ipr_sum(c, ipr_square(c, a.h_n)), ipr_sum(c, ipr_square(c, b.h_n))));
        (void)ipr_backward(c, l);
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        for (i = 0, m = 0; i < RNN_NP; i++) for (j = 0; t[i] && j < ipr_count(t[i]); j++, m++) {
            const double w = (double)ipr_grad(c, t[i])[j];
            CHECK_NEAR(rnn__g1[m], w, (IPR_REAL_IS_DOUBLE ? 1e-12 : 1e-4) * (1 + (w < 0 ? -w : w)));
        }
        ipr_params_free(p);
        ipr_close(c);
    }
}

#if defined(IPR_THREADS)
/* The pool itself: same bits with two real threads. */
TEST(rnn_pool)
{
    rnn__case k = IPR_ZERO;
    int threads;
    k.T = 6; k.Bx = 37; k.I = 11; k.H = 33; k.Tk = 4; k.dual = k.gate = k.bias = k.gate_out = 1;
    for (threads = 1; threads <= 2; threads++) {
        ipr_ctx *c = rnn__open(IPR_ISA_AUTO, threads);
        ipr_tensor *t[RNN_NP];
        ipr_params *p = rnn__params(c, &k, t);
        const ipr_index m = rnn__grads(c, &k, t, 31, threads > 1 ? rnn__g2 : rnn__g1);
        if (threads > 1) CHECK(ipr__memcmp(rnn__g1, rnn__g2, (size_t)m * sizeof(ipr_real)) == 0);
        ipr_params_free(p);
        ipr_close(c);
    }
}
#endif

/* A row that is padded, among others in any order, gives the bits of the row alone; and a batch of one its gradients. */
TEST(rnn_padding)
{
    int q;
    ipr_rng r = ipr_rng_make(8, 1, 1);
    for (q = 0; q < 60; q++) {
        rnn__case k = rnn__sample(&r, 40), one;
        ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
        ipr_tensor *t[RNN_NP], *u[RNN_NP], *v[RNN_NP];
        ipr_index b, i, halves;
        ipr_params *p;
        ipr_rnn_out o, a;
        k.lengths = 1;
        if (q % 3 == 0) { k.T = 300 + 7 * q; k.Bx = 1 + q % 2; }
        halves = k.dual ? 2 : 1;
        if (k.gate_from && !k.dual) k.gate_from = 0;     /* the row alone: gated or not */
        if (k.dual) k.gate_from = k.Bx;
        p = rnn__params(c, &k, t);
        CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_OK);
        for (b = 0; b < k.Bx; b++) {
            const ipr_index n = rnn__length(&k, b), H = k.H, B = k.Bx * halves;
            int half, part;
            one = k;
            one.Bx = 1;
            one.lengths = 0;
            one.T = n;
            if (k.dual) one.gate_from = 1;
            for (part = 0; part < RNN_NP; part++) u[part] = t[part];
            u[0] = ipr_slice(c, ipr_slice(c, t[0], 0, 0, n), 1, b, 1);
            for (part = 1; part < 3; part++) if (t[part]) {
                ipr_tensor *two[2];
                two[0] = ipr_slice(c, t[part], 0, b, 1);
                two[1] = k.dual ? ipr_slice(c, t[part], 0, b + k.Bx, 1) : NULL;
                u[part] = k.dual ? ipr_concat(c, two, 2, 0) : two[0];
            }
            (void)rnn__run(c, &one, u, &a);
            if (!CHECK_EQ_I(ipr_status(c), IPR_OK)) printf("  %s\n", ipr_message(c));
            for (half = 0; half < halves; half++) {
                const ipr_index row = b + half * k.Bx;
                CHECK(!memcmp(ipr_read(c, o.h_n) + row * H, ipr_read(c, a.h_n) + half * H, (size_t)H * sizeof(ipr_real)));
                if (rnn__has_c(&k)) CHECK(!memcmp(ipr_read(c, o.c_n) + row * H, ipr_read(c, a.c_n) + half * H, (size_t)H * sizeof(ipr_real)));
                for (i = 0; o.y && i < n; i++)
                    CHECK(!memcmp(ipr_read(c, o.y) + (i * B + row) * H, ipr_read(c, a.y) + (i * halves + half) * H, (size_t)H * sizeof(ipr_real)));
                for (i = 0; o.gate_out && i < n; i++)
                    CHECK(!memcmp(ipr_read(c, o.gate_out) + (i * B + row) * H, ipr_read(c, a.gate_out) + (i * halves + half) * H,
                                  (size_t)H * sizeof(ipr_real)));
            }
        }
        if (k.Bx == 1) {     /* gradients of x, the states, weights and gate; padding holds infinities */
            const ipr_index n = rnn__length(&k, 0);
            ipr_tensor *l[2];
            int part, pass;
            for (part = 0; part < RNN_NP; part++) u[part] = v[part] = t[part];
            for (i = n * k.I; i < k.T * k.I; i++) ipr__wr(t[0])[i] = (ipr_real)1 / (ipr_real)1e-30 * (ipr_real)1e30;
            v[0] = ipr_slice(c, t[0], 0, 0, n);
            for (pass = 0; pass < 2; pass++) {
                rnn__case one_case = k;
                if (pass) { one_case.lengths = 0; one_case.T = n; }
                ipr_params_zero_grad(p);
                ipr_step_end(c);
                if (pass) v[0] = ipr_slice(c, t[0], 0, 0, n);
                (void)rnn__run(c, &one_case, pass ? v : u, &a);
                l[0] = ipr_sum(c, ipr_square(c, a.h_n));
                if (a.y) l[0] = ipr_add(c, l[0], ipr_sum(c, ipr_slice(c, a.y, 0, 0, n)));
                if (a.gate_out) l[0] = ipr_add(c, l[0], ipr_sum(c, ipr_slice(c, a.gate_out, 0, 0, n)));
                CHECK_EQ_I(ipr_backward(c, l[0]), IPR_OK);
                for (part = 0, i = 0; part < RNN_NP; part++) if (t[part] && ipr_grad(c, t[part])) {
                    ipr_index m = ipr_count(t[part]);
                    if (pass) CHECK(!memcmp(rnn__g1 + i, ipr_grad(c, t[part]), (size_t)m * sizeof(ipr_real)));
                    else ipr__copy(rnn__g1 + i, ipr_grad(c, t[part]), (size_t)m * sizeof(ipr_real));
                    i += m;
                }
            }
        }
        ipr_params_free(p);
        ipr_close(c);
    }
}

/* After the first step of a shape nothing is allocated. */
TEST(rnn_no_allocations)
{
    rnn__case k = IPR_ZERO;
    ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
    ipr_tensor *t[RNN_NP];
    ipr_params *p;
    uint64_t allocs = 0;
    int i;
    k.T = 6; k.Bx = 37; k.I = 11; k.H = 33; k.Tk = 4; k.dual = k.gate = k.bias = k.gate_out = 1;
    p = rnn__params(c, &k, t);
    for (i = 0; i < 5; i++) {
        (void)rnn__grads(c, &k, t, 31, rnn__g1);
        if (i == 2) allocs = ipr_stats_get(c).allocs;
    }
    CHECK_EQ_I(ipr_stats_get(c).allocs, allocs);
    k.lengths = k.reverse = 1;
    for (i = 0; i < 5; i++) {
        (void)rnn__grads(c, &k, t, 31, rnn__g1);
        if (i == 2) allocs = ipr_stats_get(c).allocs;
    }
    CHECK_EQ_I(ipr_stats_get(c).allocs, allocs);
    ipr_params_free(p);
    ipr_close(c);
}

/* ---- errors ---- */

static void rnn__expect_error(int which, ipr_index d0, ipr_index d1, int gru, int code, const char *text)
{
    rnn__case k = IPR_ZERO;
    ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
    ipr_tensor *t[RNN_NP];
    ipr_params *p;
    ipr_rnn_out o;
    ipr_index d[2];
    k.gru = gru; k.T = 3; k.Bx = 2; k.I = 5; k.H = 10; k.Tk = 2; k.bias = k.gate = k.h0 = 1;
    p = rnn__params(c, &k, t);
    d[0] = d0; d[1] = d1;
    t[which] = d0 ? ipr_new(c, d1 ? 2 : 1, d) : NULL;
    CHECK_EQ_I(rnn__run(c, &k, t, &o), code);
    CHECK_STR(ipr_message(c), text);
    CHECK(ipr_is_poison(o.y) && ipr_is_poison(o.h_n));
    ipr_params_free(p);
    ipr_close(c);
}

TEST(rnn_errors)
{
    rnn__expect_error(4, 40, 9, 0, IPR_E_SHAPE, "ipr_lstm: w_hh is 40x9, expected 40x10 for hidden 10");
    rnn__expect_error(3, 40, 6, 0, IPR_E_SHAPE, "ipr_lstm: w_ih is 40x6, expected 40x5 for hidden 10");
    rnn__expect_error(3, 40, 5, 1, IPR_E_SHAPE, "ipr_gru: w_ih is 40x5, expected 30x5 for hidden 10");
    rnn__expect_error(5, 30, 0, 0, IPR_E_SHAPE, "ipr_lstm: b_ih is 30, expected 40 for hidden 10");
    rnn__expect_error(1, 3, 10, 0, IPR_E_SHAPE, "ipr_lstm: h0 is 3x10, expected 2x10 for hidden 10");
    rnn__expect_error(7, 3, 11, 0, IPR_E_SHAPE, "ipr_lstm: gate is 3x11, expected steps x 10");
    rnn__expect_error(0, 3, 11, 0, IPR_E_SHAPE, "ipr_lstm: x is 3x11; steps x rows x inputs are needed");
    rnn__expect_error(0, 0, 0, 0, IPR_E_ARG, "ipr_lstm: x is NULL; pass a tensor");
    rnn__expect_error(2, 2, 10, 1, IPR_E_ARG, "ipr_gru: c0 is given; a GRU has no cell state, pass NULL");
}

/* Gradients that fade below every normal number become zeros, row by row. */
TEST(rnn_fading)
{
    rnn__case k = IPR_ZERO;
    k.T = IPR_REAL_IS_DOUBLE ? 3000 : 400; k.Bx = 2; k.I = 3; k.H = 4; k.bias = 1;
    for (k.gru = 0; k.gru < 2; k.gru++) {
        ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
        ipr_tensor *t[RNN_NP];
        ipr_params *p = rnn__params(c, &k, t);
        ipr_rnn_out o;
        ipr_index i, j;
        for (i = 3; i < 7; i++) for (j = 0; j < ipr_count(t[i]); j++) ipr__wr(t[i])[j] *= (ipr_real)0.2;
        (void)rnn__run(c, &k, t, &o);
        CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_slice(c, o.h_n, 0, 1, 1))), IPR_OK);
        for (i = 0; i < 6; i++) CHECK(ipr_grad(c, t[0])[i] == 0);
        for (i = 0; i < 3; i++) CHECK(ipr_grad(c, t[0])[(k.T - 1) * 6 + i] == 0 && ipr_grad(c, t[0])[(k.T - 1) * 6 + 3 + i] != 0);
        ipr_params_free(p);
        ipr_close(c);
    }
}

TEST(rnn_cell_errors)
{
    rnn__case k = IPR_ZERO;
    ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
    ipr_tensor *t[RNN_NP], *keep;
    ipr_rnn_out o;
    k.T = 3; k.Bx = 2; k.I = 5; k.H = 4;
    k.cell = IPR_PEEPHOLE;
    (void)rnn__params(c, &k, t);
    keep = t[8];
    t[8] = t[4];
    CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_peephole: w_peep is 16x4, expected 12");
    CHECK(ipr_is_poison(o.h_n) && ipr_is_poison(o.y));
    ipr_clear(c);
    t[8] = NULL;
    CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_E_ARG);
    ipr_clear(c);
    t[8] = keep;
    CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_OK);
    k.cell = IPR_MLSTM;
    t[9] = t[10] = t[4];
    CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_mlstm: w_mi is 16x4, expected 4x5");
    ipr_clear(c);
    k.cell = IPR_RNN_TANH;
    (void)rnn__params(c, &k, t);
    t[2] = t[4];
    CHECK_EQ_I(rnn__run(c, &k, t, &o), IPR_E_ARG);
    CHECK_STR(ipr_message(c), "ipr_rnn_tanh: c0 is given; a vanilla cell has no cell state, pass NULL");
    ipr_close(c);
}

TEST(rnn_length_errors)
{
    rnn__case k = IPR_ZERO;
    ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
    ipr_tensor *t[RNN_NP];
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out o;
    int32_t len[3] = { 3, 4, 1 };
    ipr_index three = 3, two = 2;
    k.T = 3; k.Bx = 2; k.I = 5; k.H = 4;
    (void)rnn__params(c, &k, t);
    in.x = t[0]; in.w_ih = t[3]; in.w_hh = t[4];
    in.lengths = ipr_from_i32(c, 1, &three, len);
    CHECK_EQ_I(ipr_lstm(c, &in, &o), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_lstm: lengths is 3, expected 2, one for each row of x");
    CHECK(ipr_is_poison(o.h_n));
    ipr_clear(c);
    in.lengths = ipr_from_i32(c, 1, &two, len);
    CHECK_EQ_I(ipr_lstm(c, &in, &o), IPR_E_RANGE);
    CHECK_STR(ipr_message(c), "ipr_lstm: length 4 of row 1; 1..3 steps");
    ipr_clear(c);
    len[1] = 0;
    in.lengths = ipr_from_i32(c, 1, &two, len);
    CHECK_EQ_I(ipr_lstm(c, &in, &o), IPR_E_RANGE);
    ipr_clear(c);
    in.lengths = t[3];
    CHECK(ipr_lstm(c, &in, &o) != IPR_OK && strstr(ipr_message(c), "lengths") != NULL);
    ipr_clear(c);
    in.lengths = NULL;
    CHECK_EQ_I(ipr_lstm(c, &in, &o), IPR_OK);
    ipr_close(c);
}

/* Inputs may be strided views; their gradients arrive through the copy. */
TEST(rnn_views)
{
    rnn__case k = IPR_ZERO;
    ipr_ctx *c = rnn__open(IPR_ISA_AUTO, 1);
    ipr_tensor *t[RNN_NP], *u[RNN_NP], *l;
    ipr_params *p;
    ipr_rnn_out a, b;
    const int axes[3] = { 1, 0, 2 };
    k.T = 3; k.Bx = 3; k.I = 4; k.H = 5;
    p = rnn__params(c, &k, t);
    ipr__copy(u, t, sizeof t);
    u[0] = ipr_permute(c, ipr_contiguous(c, ipr_permute(c, t[0], axes)), axes);
    (void)rnn__run(c, &k, t, &a);
    (void)rnn__run(c, &k, u, &b);
    CHECK(ipr__memcmp(ipr_read(c, a.y), ipr_read(c, b.y), 45 * sizeof(ipr_real)) == 0);
    l = ipr_sum(c, b.h_n);
    CHECK_EQ_I(ipr_backward(c, l), IPR_OK);
    CHECK(ipr_grad(c, t[0]) != NULL);
    ipr_params_free(p);
    ipr_close(c);
}

/* Small gradients are gradients: only what has faded below 2^-100 may be dropped. A loss 2^-60 times as large has
   gradients 2^-60 times as large, to the bit. */
TEST(rnn_small_gradients)
{
    ipr_real g[2][60];
    int k;
    for (k = 0; k < 2; k++) {
        ipr_ctx *c = ipr_open(NULL, NULL);
        ipr_params *p = ipr_params_new(c);
        ipr_rnn_desc d = IPR_ZERO;
        ipr_rnn l;
        ipr_index dim[3] = { 4, 5, 3 }, i;
        ipr_tensor *x = ipr_new(c, 3, dim);
        d.cell = IPR_LSTM; d.input = 3; d.hidden = 7;
        l = ipr_rnn_new(p, "l", &d);
        ipr_require_grad(x, 1);
        for (i = 0; i < 60; i++) ipr_write(c, x, 1)[i] = IPR__R(0.1 * (double)(i % 7));
        (void)ipr_backward(c, ipr_affine(c, ipr_sum(c, ipr_rnn_forward(c, &l, x, NULL, 0)), k ? 8.6736173798840355e-19 : 1, 0));
        for (i = 0; i < 60; i++) g[k][i] = ipr_grad(c, x)[i];
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_params_free(p);
        ipr_close(c);
    }
    for (k = 0; k < 60; k++) {
        CHECK(g[0][k] < 0 || g[0][k] > 0);
        CHECK(!(g[1][k] < (ipr_real)(g[0][k] * IPR__R(8.6736173798840355e-19)) || g[1][k] > (ipr_real)(g[0][k] * IPR__R(8.6736173798840355e-19))));
    }
}

static void suite_rnn(void)
{
    RUN(rnn_small_gradients);
    RUN(rnn_forward);
    RUN(rnn_forward_chunks);
    RUN(rnn_gradients);
    RUN(rnn_gradients_chunks);
    RUN(rnn_isa_gradients);
    RUN(rnn_threads);
    RUN(rnn_dual_is_two_passes);
#if defined(IPR_THREADS)
    RUN(rnn_pool);
#endif
    RUN(rnn_no_allocations);
    RUN(rnn_padding);
    RUN(rnn_errors);
    RUN(rnn_length_errors);
    RUN(rnn_cell_errors);
    RUN(rnn_fading);
    RUN(rnn_views);
}
