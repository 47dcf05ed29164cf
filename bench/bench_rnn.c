/* bench_rnn.c: times of recurrent training steps and forward passes, one JSON line each.
   usage: bench_rnn [threads [substring of the rows wanted]]
   A training step is forward, cross-entropy, backward and Adam, as in bench_torch.py, whose rows have the same names. */
#define IPR_IMPLEMENTATION
#define IPR_STATIC
#include "../ipr.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

/* ---- one layer (two for bidirectional), a dense layer on the last state ---- */

typedef struct shape { const char *tag; ipr_index t, b, i, h, classes; int bi, reps; } shape;
static const shape shapes[] = {
    { "seqmnist", 28, 128, 28, 100, 10, 0, 9 }, { "trec_bi", 30, 10, 300, 300, 6, 1, 9 },
    { "imdb", 200, 100, 100, 256, 2, 0, 3 }, { "t32", 32, 64, 128, 256, 10, 0, 7 }
};

typedef struct net {
    ipr_ctx *c;
    shape s;
    ipr_params *p;
    ipr_rnn rnn;
    ipr_dense out;
    ipr_opt *opt;
    ipr_real *x;
    int32_t *label;
} net;

static void net_open(net *n, int cell, const shape *s)
{
    ipr_rnn_desc d = IPR_ZERO;
    ipr_index k;
    n->c = open_ctx();
    n->s = *s;
    n->p = ipr_params_new(n->c);
    d.cell = cell; d.input = s->i; d.hidden = s->h;
    d.bidirectional = s->bi ? IPR_BIDIR : 0;
    n->rnn = ipr_rnn_new(n->p, "rnn", &d);
    n->out = ipr_dense_new(n->p, "out", s->bi ? 2 * s->h : s->h, s->classes, 1);
    n->opt = ipr_opt_new(n->p, NULL);
    n->x = noise(s->t * s->b * s->i, 9);
    n->label = (int32_t *)malloc((size_t)(2 * s->b) * sizeof *n->label);
    if (!n->label || ipr_status(n->c)) stop(n->c);
    for (k = 0; k < 2 * s->b; k++) n->label[k] = (int32_t)(k % s->classes);
}

static void net_close(net *n)
{
    free(n->x);
    free(n->label);
    ipr_close(n->c);
}

static ipr_tensor *net_x(net *n)
{
    ipr_index d[3];
    d[0] = n->s.t; d[1] = n->s.b; d[2] = n->s.i;
    return ipr_from(n->c, 3, d, n->x);
}

static ipr_tensor *net_labels(net *n, ipr_index count) { return ipr_from_i32(n->c, 1, &count, n->label); }

static ipr_tensor *net_logits(net *n)
{
    return ipr_dense_forward(n->c, &n->out, ipr_rnn_forward(n->c, &n->rnn, net_x(n), NULL, 0));
}

static void finish_step(net *n, ipr_tensor *loss)
{
    (void)ipr_backward(n->c, loss);
    (void)ipr_opt_step(n->opt);
    ipr_step_end(n->c);
    if (ipr_status(n->c)) stop(n->c);
}

static void train_step(net *n) { finish_step(n, ipr_cross_entropy(n->c, net_logits(n), net_labels(n, n->s.b))); }

static void forward(net *n)
{
    ipr_no_grad(n->c, 1);
    (void)net_logits(n);
    ipr_no_grad(n->c, 0);
    ipr_step_end(n->c);
    if (ipr_status(n->c)) stop(n->c);
}

static void run_step(void *arg)
{
    net *n = (net *)((void **)arg)[0];
    (*(void (**)(net *))((void **)arg)[1])(n);
}

static void measure(net *n, const char *name, void (*step)(net *), int reps)
{
    void *arg[2];
    arg[0] = n;
    arg[1] = &step;
    measure_steps(n->c, name, run_step, arg, reps);
}

static void recurrent(void)
{
    int cell;
    size_t k;
    for (cell = IPR_LSTM; cell <= IPR_GRU; cell++)
        for (k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
            const shape *s = &shapes[k];
            char name[64], full[160];
            net n;
            (void)sprintf(name, "%.8s_%.16s_T%d_B%d_I%d_H%d", ipr_cell_name(cell), s->tag, (int)s->t, (int)s->b, (int)s->i, (int)s->h);
            (void)sprintf(full, "%s_train %s_forward", name, name);
            if (!strstr(full, only)) continue;
            net_open(&n, cell, s);
            (void)sprintf(full, "%s_train", name);
            measure(&n, full, train_step, s->reps);
            (void)sprintf(full, "%s_forward", name);
            measure(&n, full, forward, s->reps);
            net_close(&n);
        }
}

/* ---- Gatekeeper, public scheme: plain and gated rows in one pass, 8 keys, signature loss ---- */

enum { KEYS = 8 };
static ipr_real *key_noise, *key_sign;

static void gatekeeper_step(net *n)
{
    ipr_ctx *c = n->c;
    const ipr_rnn *l = &n->rnn;
    ipr_gates gate = IPR_ZERO;
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out key = IPR_ZERO;
    ipr_tensor *first, *hbar, *hinge, *spread, *h, *loss;
    ipr_index d[3];
    d[0] = n->s.t; d[1] = KEYS; d[2] = n->s.i;
    in.x = ipr_from(c, 3, d, key_noise);
    in.w_ih = l->at[0].w_ih;
    in.w_hh = l->at[0].w_hh;
    in.b_ih = l->at[0].b_ih;
    in.b_hh = l->at[0].b_hh;
    in.want_gate_out = 1;
    (void)ipr_lstm(c, &in, &key);
    first = ipr_select(c, key.y, 0, 0);
    hbar = ipr_mean_axis(c, first, 0);
    hinge = ipr_relu(c, ipr_affine(c, ipr_mul(c, hbar, ipr_from(c, 1, &n->s.h, key_sign)), -1, 0.1));
    spread = ipr_mean(c, ipr_sqrt(c, ipr_affine(c, ipr_sum_axis(c, ipr_square(c, ipr_sub(c, first, hbar)), 0), 1.0 / (KEYS - 1), 0)));
    gate.count = 1;
    gate.at[0] = ipr_mean_axis(c, key.gate_out, 1);
    h = ipr_rnn_forward(c, l, net_x(n), &gate, 1);
    /* the mean over 2B rows is half the sum of the two losses */
    loss = ipr_affine(c, ipr_cross_entropy(c, ipr_dense_forward(c, &n->out, h), net_labels(n, 2 * n->s.b)), 2, 0);
    loss = ipr_add(c, loss, ipr_affine(c, ipr_sum(c, hinge), 0.5, 0));
    loss = ipr_add(c, loss, ipr_affine(c, ipr_exp(c, ipr_affine(c, ipr_log(c, spread), -1, 0)), 0.001, 0));
    finish_step(n, loss);
}

static void gatekeeper(void)
{
    enum { REPS = 9 };
    const char *name = "gatekeeper_lstm_seqmnist_K8_train";
    double keyed[REPS], ratio[REPS];
    net n;
    int k;
    if (!strstr(name, only)) return;
    net_open(&n, IPR_LSTM, &shapes[0]);
    key_noise = noise(n.s.t * KEYS * n.s.i, 21);
    key_sign = noise(n.s.h, 22);
    for (k = 0; k < n.s.h; k++) key_sign[k] = (ipr_real)(key_sign[k] > 0 ? 1 : -1);
    for (k = 0; k < 2; k++) { train_step(&n); gatekeeper_step(&n); }
    for (k = 0; k < REPS; k++) {
        const double plain = time_ms(&n, train_step);
        keyed[k] = time_ms(&n, gatekeeper_step);
        ratio[k] = keyed[k] / plain;
    }
    line(name, "ms", median(keyed, REPS));
    line("gatekeeper_lstm_seqmnist_K8_over_plain", "ratio", median(ratio, REPS));
    free(key_noise);
    free(key_sign);
    net_close(&n);
}

/* ---- the same through the scheme's own call, by recipe: what a user of the library waits for ---- */

static void scheme(void)
{
#if IPR_FLOOR_MAX >= 11
    enum { REPS = 9 };
    static const char *const tags[3] = { "default", "paper", "as_coded" };
    static const uint8_t seed[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    int which, k;
    for (which = IPR_RECIPE_DEFAULT; which <= IPR_RECIPE_AS_CODED; which++) {
        ipr_classifier_desc md = IPR_ZERO;
        ipr_gatekeeper_desc gd = IPR_ZERO;
        const ipr_gatekeeper_recipe recipe = ipr_gatekeeper_recipe_of(which);
        ipr_classifier *m;
        ipr_gatekeeper *g;
        net n;
        double ratio[REPS];
        char name[64];
        (void)sprintf(name, "gatekeeper_step_%.16s_over_plain", tags[which]);
        if (!strstr(name, only)) continue;
        net_open(&n, IPR_LSTM, &shapes[0]);
        md.input = n.s.i; md.hidden = n.s.h; md.classes = n.s.classes;
        gd.keys = which == IPR_RECIPE_DEFAULT ? 1 : KEYS; gd.steps = n.s.t; gd.width = n.s.i; gd.units = n.s.h;
        gd.signature = "signature";
        m = ipr_classifier_new(n.c, &md);
        g = ipr_gatekeeper_new(n.c, &gd, seed, sizeof seed);
        if (!m || !g) stop(n.c);
        n.opt = ipr_opt_new(m->params, NULL);
        for (k = -4; k < 2 * REPS; k++) {     /* plain and protected in turns */
            const double a = ipr_now(n.c);
            const clock_t cpu = clock();
            double ms;
            if (k & 1) finish_step(&n, ipr_gatekeeper_step(g, m, &recipe, (uint64_t)(k + 4), net_x(&n), net_labels(&n, n.s.b), NULL));
            else finish_step(&n, ipr_cross_entropy(n.c, ipr_classifier_forward(m, net_x(&n), NULL, 0), net_labels(&n, n.s.b)));
            ms = getenv("IPR_BENCH_CPU") ? (double)(clock() - cpu) / CLOCKS_PER_SEC : ipr_now(n.c) - a;
            if (k < 0) continue;
            ratio[k / 2] = k & 1 ? ms / ratio[k / 2] : ms;
        }
        line(name, "ratio", median(ratio, REPS));
        ipr_gatekeeper_free(g);
        net_close(&n);
    }
#endif
}

/* ---- text: embedding, rows of different lengths, dropout, clipping, dense Adam; plain and protected (as coded) ---- */

#if IPR_FLOOR_MAX >= 11
typedef struct text_shape { const char *tag; ipr_index t, b, i, h, vocabulary, classes; int bi, batches, reps; } text_shape;
static const text_shape texts[] = {
    { "trec", 30, 10, 300, 300, 8677, 6, 1, 8, 5 }, { "imdb", 200, 100, 100, 256, 25002, 2, 0, 1, 3 }
};

/* Batch k's length and that of its row b; bench_torch.py has the same. */
static ipr_index text_steps(const text_shape *s, ipr_index k) { return s->batches == 1 ? s->t : s->t - 20 + k * 7 % 21; }
static ipr_index text_length(ipr_index steps, ipr_index b) { return steps - b * 5 % (steps - 4); }

static void text_step(ipr_classifier *m, ipr_gatekeeper *g, ipr_opt *opt, const text_shape *s, ipr_index k)
{
    const ipr_gatekeeper_recipe r = ipr_gatekeeper_recipe_of(IPR_RECIPE_AS_CODED);
    ipr_ctx *c = m->c;
    ipr_index d[2], t, b;
    ipr_tensor *x, *y, *loss;
    d[0] = text_steps(s, k);
    d[1] = s->b;
    x = ipr_new_i32(c, 2, d);
    y = ipr_new_i32(c, 1, &d[1]);
    for (b = 0; b < s->b; b++) {
        ipr_write_i32(c, y, 1)[b] = (int32_t)(b % s->classes);
        for (t = 0; t < d[0]; t++)
            ipr_write_i32(c, x, 1)[t * s->b + b] =
                t < text_length(d[0], b) ? (int32_t)(2 + (t * 131 + b * 1717 + k * 7919) % (s->vocabulary - 2)) : 1;
    }
    loss = g ? ipr_gatekeeper_step(g, m, &r, 0, x, y, NULL) : ipr_cross_entropy(c, ipr_classifier_forward(m, x, NULL, 0), y);
    (void)ipr_backward(c, loss);
    (void)ipr_clip_grad_norm(m->params, 1.0);
    (void)ipr_opt_step(opt);
    ipr_step_end(c);
    if (ipr_status(c)) stop(c);
}

static void text_row(const text_shape *s, int keyed)
{
    static const uint8_t seed[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    ipr_classifier_desc md = IPR_ZERO;
    ipr_gatekeeper_desc gd;
    ipr_classifier *m;
    ipr_gatekeeper *g;
    ipr_opt *opt;
    ipr_ctx *c;
    char name[96];
    double t[16];
    uint64_t allocs = 0;
    ipr_index k;
    int rep;
    (void)sprintf(name, "text_%.16s_lstm_%strain", s->tag, keyed ? "keyed_" : "");
    if (!strstr(name, only)) return;
    c = open_ctx();
    md.input = s->i; md.hidden = s->h; md.classes = s->classes; md.vocabulary = s->vocabulary;
    md.pad = 1; md.bidirectional = s->bi ? IPR_BIDIR : 0; md.dropout = 0.4; md.embed_dropout = 0.5;
    m = ipr_classifier_new(c, &md);
    gd = ipr_gatekeeper_desc_for(m);
    gd.keys = KEYS; gd.steps = 30; gd.token_low = (int32_t)s->vocabulary - 2000; gd.token_high = (int32_t)s->vocabulary;
    gd.signature = "signature";
    g = ipr_gatekeeper_new(c, &gd, seed, sizeof seed);
    if (!m || !g) stop(c);
    opt = ipr_opt_new(m->params, NULL);
    ipr_set_training(c, 1);
    for (rep = -2; rep < s->reps; rep++) {
        const double wall = ipr_now(c);
        const clock_t cpu = clock();
        for (k = 0; k < s->batches; k++) text_step(m, keyed ? g : NULL, opt, s, k);
        if (rep < 0) { allocs = ipr_stats_get(c).allocs; continue; }
        busy_cpu += (double)(clock() - cpu) / CLOCKS_PER_SEC;
        busy_wall += ipr_now(c) - wall;
        t[rep] = 1e3 * (getenv("IPR_BENCH_CPU") ? (double)(clock() - cpu) / CLOCKS_PER_SEC : ipr_now(c) - wall) / s->batches;
    }
    line(name, "ms", median(t, s->reps));
    if (ipr_stats_get(c).allocs != allocs) {
        (void)sprintf(name, "text_%.16s_lstm_%strain_allocations_per_step", s->tag, keyed ? "keyed_" : "");
        line(name, "calls", (double)(ipr_stats_get(c).allocs - allocs) / s->reps / s->batches);
    }
    ipr_gatekeeper_free(g);
    ipr_close(c);
}

static void text(void)
{
    size_t k;
    for (k = 0; k < 2 * sizeof texts / sizeof texts[0]; k++) text_row(&texts[k / 2], (int)(k % 2));
}
#else
static void text(void) {}
#endif

int main(int argc, char **argv)
{
    if (argc > 1) threads = atoi(argv[1]);
    if (argc > 2) only = argv[2];
    recurrent();
    gatekeeper();
    scheme();
    text();
    return 0;
}
