/* test_golden.c: what PyTorch computes (golden/golden.h, made by golden/make_golden.py). Included by all.c after
   ipr.h and ipr_test.h. PyTorch ran in double; the tolerance is that of this build. */
#ifndef GOLDEN_H_PATH
#define GOLDEN_H_PATH "golden/golden.h"
#endif
#include GOLDEN_H_PATH

/* Worst difference, relative to the array's largest magnitude (at least 1e-3): one number per array. */
static int gold_near(const ipr_real *got, const double *want, int n, double tol, const char *what, int line)
{
    double worst = 0, big = 1e-3;
    int i, at = 0;
    ipr_test.checks++;
    if (!got) {
        if (ipr_test_bad(__FILE__, line)) printf("%s is missing\n", what);
        return 0;
    }
    for (i = 0; i < n; i++) { const double m = want[i] < 0 ? -want[i] : want[i]; if (m > big) big = m; }
    for (i = 0; i < n; i++) {
        double e = ((double)got[i] - want[i]) / big;
        if (e < 0) e = -e;
        if (!(e <= worst)) { worst = e; at = i; }
        if (e != e) break;
    }
    if (worst <= tol) return 1;
    if (ipr_test_bad(__FILE__, line)) printf("%s[%d] is %.9g, PyTorch has %.9g (worst of %d, %g of the largest, allowed %g)\n",
                                             what, at, (double)got[at], want[at], n, worst, tol);
    return 0;
}

/* ref: an array of golden.h without its g_ */
#define GOLD_N(ref) ((int)(sizeof g_##ref / sizeof g_##ref[0]))
#define GOLD_TOL (IPR_REAL_IS_DOUBLE ? 1e-9 : 1e-5)
#define GOLD(got, ref) gold_near(got, g_##ref, GOLD_N(ref), GOLD_TOL, #ref, __LINE__)
#define GOLD_SLACK(got, ref, slack) gold_near(got, g_##ref, GOLD_N(ref), GOLD_TOL * (slack), #ref, __LINE__)
#define GOLD_VALUE(c, t, ref) do { CHECK_EQ_I(ipr_count(t), GOLD_N(ref)); GOLD(ipr_read(c, t), ref); } while (0)
#define GOLD_GRAD(c, t, ref) do { CHECK_EQ_I(ipr_count(t), GOLD_N(ref)); GOLD(ipr_grad(c, t), ref); } while (0)

static ipr_tensor *gold_tensor(ipr_ctx *c, const double *v, int rank, ipr_index a, ipr_index b, ipr_index d, int grad)
{
    ipr_index dims[3], i;
    ipr_tensor *t;
    ipr_real *p;
    dims[0] = a; dims[1] = b; dims[2] = d;
    t = ipr_new(c, rank, dims);
    p = ipr_write(c, t, 0);
    for (i = 0; p && i < ipr_count(t); i++) p[i] = (ipr_real)v[i];
    ipr_require_grad(t, grad);
    return t;
}
/* constant and leaf of one, two, three dimensions */
#define CONST1(ref, a) gold_tensor(c, g_##ref, 1, a, 1, 1, 0)
#define CONST2(ref, a, b) gold_tensor(c, g_##ref, 2, a, b, 1, 0)
#define CONST3(ref, a, b, d) gold_tensor(c, g_##ref, 3, a, b, d, 0)
#define LEAF1(ref, a) gold_tensor(c, g_##ref, 1, a, 1, 1, 1)
#define LEAF2(ref, a, b) gold_tensor(c, g_##ref, 2, a, b, 1, 1)
#define LEAF3(ref, a, b, d) gold_tensor(c, g_##ref, 3, a, b, d, 1)

static ipr_tensor *gold_ids(ipr_ctx *c, const int *v, ipr_index a, ipr_index b)
{
    ipr_index dims[2], i;
    ipr_tensor *t;
    dims[0] = a; dims[1] = b;
    t = ipr_new_i32(c, b ? 2 : 1, dims);
    for (i = 0; i < ipr_count(t); i++) ipr_write_i32(c, t, 1)[i] = v[i];
    return t;
}

/* sum of y times the upstream gradient */
static ipr_tensor *gold_dot(ipr_ctx *c, ipr_tensor *y, const double *g)
{
    ipr_tensor *k = gold_tensor(c, g, ipr_rank(y), ipr_dim(y, 0), ipr_dim(y, 1), ipr_dim(y, 2), 0);
    return ipr_sum(c, ipr_mul(c, y, k));
}

static void gold_end(ipr_ctx *c)
{
    if (!CHECK_EQ_I(ipr_status(c), IPR_OK)) printf("    %s\n", ipr_message(c));
    ipr_close(c);
}

/* ---- ops ---- */

TEST(golden_linear_embedding)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x = LEAF2(linear_x, 5, 4), *w = LEAF2(linear_w, 3, 4), *b = LEAF1(linear_b, 3), *y = ipr_linear(c, x, w, b), *t;
    GOLD_VALUE(c, y, linear_y);
    CHECK_EQ_I(ipr_backward(c, gold_dot(c, y, g_linear_gy)), IPR_OK);
    GOLD_GRAD(c, x, linear_d_x);
    GOLD_GRAD(c, w, linear_d_w);
    GOLD_GRAD(c, b, linear_d_b);
    t = LEAF2(embedding_table, 7, 3);
    y = ipr_embedding(c, t, gold_ids(c, g_embedding_ids, 2, 4), 1);
    GOLD_VALUE(c, y, embedding_y);
    CHECK_EQ_I(ipr_backward(c, gold_dot(c, y, g_embedding_gy)), IPR_OK);
    GOLD_GRAD(c, t, embedding_d_table);
    gold_end(c);
}

TEST(golden_losses)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x = LEAF2(ce_x, 6, 5), *lab = gold_ids(c, g_ce_labels, 6, 0), *y = ipr_cross_entropy(c, x, lab), *b;
    GOLD_VALUE(c, y, ce_y);
    CHECK_EQ_I(ipr_backward(c, y), IPR_OK);
    GOLD_GRAD(c, x, ce_d_x);
    x = LEAF2(nll_x, 6, 5);
    y = ipr_nll(c, x, lab);
    GOLD_VALUE(c, y, nll_y);
    CHECK_EQ_I(ipr_backward(c, y), IPR_OK);
    GOLD_GRAD(c, x, nll_d_x);
    x = LEAF2(bce_x, 3, 4);
    y = ipr_bce(c, x, CONST2(bce_t, 3, 4));
    GOLD_VALUE(c, y, bce_y);
    CHECK_EQ_I(ipr_backward(c, y), IPR_OK);
    GOLD_GRAD(c, x, bce_d_x);
    x = LEAF2(mse_a, 3, 4);
    b = LEAF2(mse_b, 3, 4);
    y = ipr_mse(c, x, b);
    GOLD_VALUE(c, y, mse_y);
    CHECK_EQ_I(ipr_backward(c, y), IPR_OK);
    GOLD_GRAD(c, x, mse_d_a);
    GOLD_GRAD(c, b, mse_d_b);
    x = LEAF2(kl_s, 4, 5);
    y = ipr_kl_div(c, x, CONST2(kl_t, 4, 5), 3.0);
    GOLD_VALUE(c, y, kl_y);
    CHECK_EQ_I(ipr_backward(c, y), IPR_OK);
    GOLD_GRAD(c, x, kl_d_s);
    gold_end(c);
}

TEST(golden_softmax)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_tensor *x = LEAF2(softmax_x, 4, 7), *y = ipr_softmax(c, x);
    GOLD_VALUE(c, y, softmax_y);
    CHECK_EQ_I(ipr_backward(c, gold_dot(c, y, g_softmax_gy)), IPR_OK);
    GOLD_GRAD(c, x, softmax_d_x);
    x = LEAF2(log_softmax_x, 4, 7);
    y = ipr_log_softmax(c, x);
    GOLD_VALUE(c, y, log_softmax_y);
    CHECK_EQ_I(ipr_backward(c, gold_dot(c, y, g_log_softmax_gy)), IPR_OK);
    GOLD_GRAD(c, x, log_softmax_d_x);
    gold_end(c);
}

#ifndef IPR_NO_RNN
TEST(golden_lstm)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out o = IPR_ZERO;
    ipr_tensor *loss;
    in.x = LEAF3(lstm_x, g_T, g_B, g_I);
    in.h0 = LEAF2(lstm_h0, g_B, g_H);
    in.c0 = LEAF2(lstm_c0, g_B, g_H);
    in.w_ih = LEAF2(lstm_w_ih, 4 * g_H, g_I);
    in.w_hh = LEAF2(lstm_w_hh, 4 * g_H, g_H);
    in.b_ih = LEAF1(lstm_b_ih, 4 * g_H);
    in.b_hh = LEAF1(lstm_b_hh, 4 * g_H);
    CHECK_EQ_I(ipr_lstm(c, &in, &o), IPR_OK);
    GOLD_VALUE(c, o.y, lstm_y);
    GOLD_VALUE(c, o.h_n, lstm_hn);
    GOLD_VALUE(c, o.c_n, lstm_cn);
    loss = ipr_add(c, gold_dot(c, o.y, g_lstm_gy), ipr_add(c, gold_dot(c, o.h_n, g_lstm_ghn), gold_dot(c, o.c_n, g_lstm_gcn)));
    CHECK_EQ_I(ipr_backward(c, loss), IPR_OK);
    GOLD_GRAD(c, in.x, lstm_d_x);
    GOLD_GRAD(c, in.h0, lstm_d_h0);
    GOLD_GRAD(c, in.c0, lstm_d_c0);
    GOLD_GRAD(c, in.w_ih, lstm_d_w_ih);
    GOLD_GRAD(c, in.w_hh, lstm_d_w_hh);
    GOLD_GRAD(c, in.b_ih, lstm_d_b_ih);
    GOLD_GRAD(c, in.b_hh, lstm_d_b_hh);
    gold_end(c);
}

TEST(golden_gru)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out o = IPR_ZERO;
    in.x = LEAF3(gru_x, g_T, g_B, g_I);
    in.h0 = LEAF2(gru_h0, g_B, g_H);
    in.w_ih = LEAF2(gru_w_ih, 3 * g_H, g_I);
    in.w_hh = LEAF2(gru_w_hh, 3 * g_H, g_H);
    in.b_ih = LEAF1(gru_b_ih, 3 * g_H);
    in.b_hh = LEAF1(gru_b_hh, 3 * g_H);
    CHECK_EQ_I(ipr_gru(c, &in, &o), IPR_OK);
    GOLD_VALUE(c, o.y, gru_y);
    GOLD_VALUE(c, o.h_n, gru_hn);
    CHECK(o.c_n == NULL);
    CHECK_EQ_I(ipr_backward(c, ipr_add(c, gold_dot(c, o.y, g_gru_gy), gold_dot(c, o.h_n, g_gru_ghn))), IPR_OK);
    GOLD_GRAD(c, in.x, gru_d_x);
    GOLD_GRAD(c, in.h0, gru_d_h0);
    GOLD_GRAD(c, in.w_ih, gru_d_w_ih);
    GOLD_GRAD(c, in.w_hh, gru_d_w_hh);
    GOLD_GRAD(c, in.b_ih, gru_d_b_ih);
    GOLD_GRAD(c, in.b_hh, gru_d_b_hh);
    gold_end(c);
}

/* Two layers, both directions, rows of different lengths: PyTorch's packed sequences. */
static void gold_stack(int cell, const double *gx, const double *gp, const double *gy, const double *gl, const double *y,
                       const double *last, const double *dx, const double *dp)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_rnn_desc d = IPR_ZERO;
    ipr_rnn_call in = IPR_ZERO;
    ipr_rnn_result out;
    ipr_rnn r;
    ipr_index k, at = 0, n;
    int i;
    d.cell = cell; d.input = g_stack_I; d.hidden = g_stack_H; d.layers = 2; d.bidirectional = IPR_BIDIR;
    r = ipr_rnn_new(p, "rnn", &d);
    CHECK_EQ_I(r.cells, 4);
    for (i = 0; i < ipr_params_count(p); i++) {
        ipr_tensor *t = ipr_params_at(p, i);
        for (k = 0; k < ipr_count(t); k++) ipr_write(c, t, 1)[k] = (ipr_real)gp[at++];
    }
    in.x = gold_tensor(c, gx, 3, g_stack_T, g_stack_B, g_stack_I, 1);
    in.lengths = gold_ids(c, g_stack_lengths, g_stack_B, 0);
    in.want_y = 1;
    CHECK_EQ_I(ipr_rnn_apply(c, &r, &in, &out), IPR_OK);
    n = g_stack_T * g_stack_B * 2 * g_stack_H;
    gold_near(ipr_read(c, ipr_contiguous(c, out.y)), y, (int)n, GOLD_TOL, "stack y", __LINE__);
    gold_near(ipr_read(c, ipr_contiguous(c, out.last)), last, g_stack_B * 2 * g_stack_H, GOLD_TOL, "stack last", __LINE__);
    CHECK_EQ_I(ipr_backward(c, ipr_add(c, gold_dot(c, out.y, gy), gold_dot(c, out.last, gl))), IPR_OK);
    gold_near(ipr_grad(c, in.x), dx, g_stack_T * g_stack_B * g_stack_I, GOLD_TOL, "stack d_x", __LINE__);
    for (i = 0, at = 0; i < ipr_params_count(p); at += ipr_count(ipr_params_at(p, i)), i++)
        gold_near(ipr_grad(c, ipr_params_at(p, i)), dp + at, (int)ipr_count(ipr_params_at(p, i)), GOLD_TOL * 3,
                  ipr_params_name(p, i), __LINE__);
    gold_end(c);
}

TEST(golden_stack)
{
    gold_stack(IPR_LSTM, g_stack_lstm_x, g_stack_lstm_p, g_stack_lstm_gy, g_stack_lstm_gl, g_stack_lstm_y, g_stack_lstm_last,
               g_stack_lstm_d_x, g_stack_lstm_d_p);
    gold_stack(IPR_GRU, g_stack_gru_x, g_stack_gru_p, g_stack_gru_gy, g_stack_gru_gl, g_stack_gru_y, g_stack_gru_last,
               g_stack_gru_d_x, g_stack_gru_d_p);
}

/* ---- Gatekeeper: gates, signature loss and every gradient of the published cell loop ---- */

typedef struct gold_gate {
    int lstm, tx, tk;
    const double *w_ih, *w_hh, *b_ih, *b_hh, *x, *key, *s, *ghn, *gy;
} gold_gate;
typedef struct gold_gate_run { ipr_rnn_in in; ipr_tensor *x, *key, *gate, *first, *sign; ipr_rnn_out out; } gold_gate_run;

/* alpha sum relu(gamma - s hbar) + beta / mean_j std_k(h) + 1e-5 sum hbar^2, from plain ops; first [K,H] */
static ipr_tensor *gold_sign_loss(ipr_ctx *c, ipr_tensor *first, const double *s)
{
    ipr_tensor *hbar = ipr_mean_axis(c, first, 0), *dev, *spread, *one = NULL;
    ipr_index d = 1;
    ipr_tensor *hinge = ipr_relu(c, ipr_affine(c, ipr_mul(c, hbar, gold_tensor(c, s, 1, g_H, 1, 1, 0)), -1, 0.1));
    dev = ipr_square(c, ipr_sub(c, first, hbar));
    spread = ipr_mean(c, ipr_sqrt(c, ipr_affine(c, ipr_sum_axis(c, dev, 0), 1.0 / (g_K - 1), 0)));
    one = ipr_new(c, 1, &d);
    ipr_write(c, one, 0)[0] = (ipr_real)0.001;
    return ipr_add(c, ipr_add(c, ipr_affine(c, ipr_sum(c, hinge), 0.5, 0), ipr_affine(c, ipr_sum(c, ipr_square(c, hbar)), 1e-5, 0)),
                   ipr_sum(c, ipr_div(c, one, spread)));
}

static void gold_gate_forward(ipr_ctx *c, const gold_gate *g, gold_gate_run *r)
{
    static const int key_order[3] = {1, 0, 2};
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out key = IPR_ZERO, none = IPR_ZERO;
    const ipr_index rows = (g->lstm ? 4 : 3) * g_H;
    int (*run)(ipr_ctx *, const ipr_rnn_in *, ipr_rnn_out *) = g->lstm ? ipr_lstm : ipr_gru;
    in.w_ih = gold_tensor(c, g->w_ih, 2, rows, g_I, 1, 1);
    in.w_hh = gold_tensor(c, g->w_hh, 2, rows, g_H, 1, 1);
    in.b_ih = gold_tensor(c, g->b_ih, 1, rows, 1, 1, 1);
    in.b_hh = gold_tensor(c, g->b_hh, 1, rows, 1, 1, 1);
    r->x = gold_tensor(c, g->x, 3, g->tx, g_B, g_I, 1);
    r->key = gold_tensor(c, g->key, 3, g_K, g->tk, g_I, 1);
    in.x = ipr_permute(c, r->key, key_order);         /* keys are rows of a batch: [Tk,K,I] */
    in.want_gate_out = 1;
    r->out = none;
    (void)run(c, &in, &key);
    r->gate = ipr_mean_axis(c, key.gate_out, 1);
    r->first = ipr_select(c, key.y, 0, 0);
    r->sign = gold_sign_loss(c, r->first, g->s);
    in.want_gate_out = 0;
    in.x = r->x;
    in.gate = r->gate;
    (void)run(c, &in, &r->out);
    r->in = in;
}

#define GATE_ARGS(kind, len, is_lstm, t, k) { is_lstm, t, k, g_##kind##_w_ih, g_##kind##_w_hh, g_##kind##_b_ih, g_##kind##_b_hh, \
    g_gate_##kind##_##len##_x, g_gate_##kind##_##len##_key, g_gate_##kind##_##len##_s, g_gate_##kind##_##len##_ghn, g_gate_##kind##_##len##_gy }
#define GATE_GRADS(r, pre) do { \
    GOLD_GRAD(c, (r).in.w_ih, pre##_w_ih); GOLD_GRAD(c, (r).in.w_hh, pre##_w_hh); \
    GOLD_GRAD(c, (r).in.b_ih, pre##_b_ih); GOLD_GRAD(c, (r).in.b_hh, pre##_b_hh); \
    GOLD_GRAD(c, (r).x, pre##_x); GOLD_GRAD(c, (r).key, pre##_key); } while (0)
#define GATE_TEST(kind, len, is_lstm, t, k) \
    TEST(golden_gate_##kind##_##len) \
    { \
        static const gold_gate g = GATE_ARGS(kind, len, is_lstm, t, k); \
        ipr_ctx *c = ipr_open(NULL, NULL); \
        gold_gate_run r; \
        ipr_tensor *loss; \
        gold_gate_forward(c, &g, &r); \
        GOLD_VALUE(c, r.gate, gate_##kind##_##len##_gate); \
        GOLD_VALUE(c, ipr_contiguous(c, r.first), gate_##kind##_##len##_first); \
        GOLD_VALUE(c, r.out.y, gate_##kind##_##len##_raw); \
        GOLD_VALUE(c, r.sign, gate_##kind##_##len##_sign); \
        gold_near(ipr_read(c, r.out.h_n), g_gate_##kind##_##len##_out + (g.tx - 1) * g_B * g_H, g_B * g_H, GOLD_TOL, "h_n", __LINE__); \
        if (is_lstm) GOLD_VALUE(c, r.out.c_n, gate_##kind##_##len##_cn); \
        loss = ipr_add(c, gold_dot(c, r.out.h_n, g.ghn), r.sign); \
        GOLD_VALUE(c, loss, gate_##kind##_##len##_loss_h); \
        CHECK_EQ_I(ipr_backward(c, loss), IPR_OK); \
        GATE_GRADS(r, gate_##kind##_##len##_d); \
        ipr_step_end(c); \
        gold_gate_forward(c, &g, &r); \
        loss = gold_dot(c, r.out.y, g.gy); \
        GOLD_VALUE(c, loss, gate_##kind##_##len##_loss_y); \
        CHECK_EQ_I(ipr_backward(c, loss), IPR_OK); \
        GATE_GRADS(r, gate_##kind##_##len##_e); \
        gold_end(c); \
    }
GATE_TEST(lstm, long, 1, 6, 4)
GATE_TEST(lstm, short, 1, 4, 6)
GATE_TEST(gru, long, 0, 6, 4)
GATE_TEST(gru, short, 0, 4, 6)
#endif

#if !defined(IPR_NO_TRAIN) && IPR_FLOOR_MAX >= 9
/* ---- optimisers: the weights after each of ten steps with given gradients ---- */

static void gold_optimiser(const ipr_opt_desc *d, const double *want, const char *what, int line)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_index n = g_opt_n;
    ipr_tensor *w = ipr_param(p, "w", 1, &n);
    ipr_opt *o;
    int i, k;
    for (i = 0; i < g_opt_n; i++) ipr_write(c, w, 1)[i] = (ipr_real)g_opt_w0[i];
    o = ipr_opt_new(p, d);
    for (k = 0; k < g_opt_steps; k++) {
        CHECK_EQ_I(ipr_backward(c, gold_dot(c, w, g_opt_grads + k * g_opt_n)), IPR_OK);
        CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
        ipr_step_end(c);
        if (!gold_near(ipr_read(c, w), want + k * g_opt_n, g_opt_n, GOLD_TOL, what, line)) break;
    }
    ipr_opt_free(o);
    gold_end(c);
}

TEST(golden_sgd)
{
    ipr_opt_desc d = IPR_ZERO;
    d.kind = IPR_OPT_SGD;
    d.lr = 0.1;
    gold_optimiser(&d, g_opt_sgd_w, "sgd", __LINE__);
    d.weight_decay = 0.05;
    gold_optimiser(&d, g_opt_sgd_wd_w, "sgd, weight decay", __LINE__);
    d.momentum = 0.9;
    d.nesterov = 1;
    gold_optimiser(&d, g_opt_nesterov_wd_w, "nesterov, weight decay", __LINE__);
    d.weight_decay = 0;
    gold_optimiser(&d, g_opt_nesterov_w, "nesterov", __LINE__);
    d.nesterov = 0;
    gold_optimiser(&d, g_opt_momentum_w, "momentum", __LINE__);
    d.dampening = 0.3;
    gold_optimiser(&d, g_opt_dampening_w, "dampening", __LINE__);
}

TEST(golden_adam)
{
    ipr_opt_desc d = IPR_ZERO;
    d.lr = 0.02;
    gold_optimiser(&d, g_opt_adam_w, "adam", __LINE__);
    d.weight_decay = 0.05;
    d.kind = IPR_OPT_ADAMW;
    gold_optimiser(&d, g_opt_adamw_w, "adamw", __LINE__);
    d.kind = IPR_OPT_ADAM;
    d.beta1 = 0.8;
    d.beta2 = 0.95;
    d.eps = 1e-6;
    gold_optimiser(&d, g_opt_adam_wd_w, "adam, weight decay", __LINE__);
}

TEST(golden_clip)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_index six = 6, four = 4;
    ipr_tensor *a = ipr_param(p, "a", 1, &six), *b = ipr_param(p, "b", 1, &four);
    ipr_real norm;
    CHECK_EQ_I(ipr_backward(c, ipr_add(c, gold_dot(c, a, g_clip_ga), gold_dot(c, b, g_clip_gb))), IPR_OK);
    norm = (ipr_real)ipr_grad_norm(p);
    GOLD(&norm, clip_norm);
    norm = (ipr_real)ipr_clip_grad_norm(p, 100);
    GOLD(&norm, clip_norm);
    GOLD_GRAD(c, a, clip_ga);
    GOLD_GRAD(c, b, clip_gb);
    norm = (ipr_real)ipr_clip_grad_norm(p, 1.5);
    GOLD(&norm, clip_norm);
    GOLD_GRAD(c, a, clip_out_a);
    GOLD_GRAD(c, b, clip_out_b);
    gold_end(c);
}

/* ---- schedules ---- */

static void gold_schedule(const ipr_sched_desc *d, const double *want, const char *what, int line)
{
    ipr_sched_state s = IPR_ZERO;
    int e;
    for (e = 0; e < g_lr_epochs; e++) {
        const double lr = ipr_sched_lr(d, 0.1, e, &s);
        if (!ipr_test_near(lr, want[e], 1e-10, what, "PyTorch's", __FILE__, line)) printf("    epoch %d\n", e);
        ipr_sched_report(d, 0.1, &s, g_lr_metric[e]);
    }
}

TEST(golden_schedules)
{
    ipr_sched_desc d = IPR_ZERO, z = IPR_ZERO;
    d.kind = IPR_SCHED_STEP;
    d.step_size = 5;
    d.gamma = 0.1;
    gold_schedule(&d, g_lr_step, "step", __LINE__);
    d = z;
    d.kind = IPR_SCHED_MULTISTEP;
    d.gamma = 0.2;
    d.milestones[0] = 4; d.milestones[1] = 9; d.milestones[2] = 15;
    gold_schedule(&d, g_lr_multistep, "multistep", __LINE__);
    d = z;
    d.kind = IPR_SCHED_COSINE;
    d.t_max = g_lr_epochs;
    d.lr_min = 1e-3;
    gold_schedule(&d, g_lr_cosine, "cosine", __LINE__);
    d = z;
    d.kind = IPR_SCHED_PLATEAU;
    d.gamma = 0.5;
    d.patience = 2;
    gold_schedule(&d, g_lr_plateau, "plateau", __LINE__);
}

/* ---- a whole training run ---- */

#ifndef IPR_NO_RNN
static void gold_set(ipr_ctx *c, ipr_params *p, const char *name, const double *v)
{
    ipr_tensor *t = ipr_params_find(p, name);
    ipr_index i;
    if (!CHECK(t != NULL)) { printf("    no parameter %s\n", name); return; }
    for (i = 0; i < ipr_count(t); i++) ipr_write(c, t, 1)[i] = (ipr_real)v[i];
}

TEST(golden_training_run)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_rnn_desc rd = IPR_ZERO;
    ipr_rnn r;
    ipr_dense d;
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *o;
    ipr_real loss[5];
    int k;
    rd.input = 8;
    rd.hidden = 16;
    r = ipr_rnn_new(p, "rnn", &rd);
    d = ipr_dense_new(p, "output", 16, 4, 1);
    gold_set(c, p, "rnn.weight_ih_l0", g_run_p_w_ih);
    gold_set(c, p, "rnn.weight_hh_l0", g_run_p_w_hh);
    gold_set(c, p, "rnn.bias_ih_l0", g_run_p_b_ih);
    gold_set(c, p, "rnn.bias_hh_l0", g_run_p_b_hh);
    gold_set(c, p, "output.weight", g_run_p_w);
    gold_set(c, p, "output.bias", g_run_p_b);
    od.lr = 0.01;
    o = ipr_opt_new(p, &od);
    for (k = 0; k < 5; k++) {
        ipr_tensor *h = ipr_rnn_forward(c, &r, CONST3(run_x, 5, 6, 8), NULL, 0);
        ipr_tensor *l = ipr_cross_entropy(c, ipr_dense_forward(c, &d, h), gold_ids(c, g_run_labels, 6, 0));
        loss[k] = ipr_item(c, l);
        CHECK_EQ_I(ipr_backward(c, l), IPR_OK);
        CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
        ipr_step_end(c);
    }
    GOLD(loss, run_loss);
    /* Adam divides by the gradient's size: where a gradient is all but zero its rounding error counts in full */
    GOLD_SLACK(ipr_read(c, r.at[0].w_ih), run_q_w_ih, 100);
    GOLD_SLACK(ipr_read(c, r.at[0].w_hh), run_q_w_hh, 100);
    GOLD_SLACK(ipr_read(c, r.at[0].b_ih), run_q_b_ih, 100);
    GOLD_SLACK(ipr_read(c, r.at[0].b_hh), run_q_b_hh, 100);
    GOLD_SLACK(ipr_read(c, d.weight), run_q_w, 100);
    GOLD_SLACK(ipr_read(c, d.bias), run_q_b, 100);
    gold_end(c);
}
#endif
#endif

static void suite_golden(void)
{
    RUN(golden_linear_embedding);
    RUN(golden_losses);
    RUN(golden_softmax);
#ifndef IPR_NO_RNN
    RUN(golden_lstm);
    RUN(golden_gru);
    RUN(golden_stack);
    RUN(golden_gate_lstm_long);
    RUN(golden_gate_lstm_short);
    RUN(golden_gate_gru_long);
    RUN(golden_gate_gru_short);
#endif
#if !defined(IPR_NO_TRAIN) && IPR_FLOOR_MAX >= 9
    RUN(golden_sgd);
    RUN(golden_adam);
    RUN(golden_clip);
    RUN(golden_schedules);
#ifndef IPR_NO_RNN
    RUN(golden_training_run);
#endif
#endif
}
