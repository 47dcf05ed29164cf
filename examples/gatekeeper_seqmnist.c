/* Gatekeeper on SeqMNIST: every row of the paper's Tables 5 and 9 and Figures 3, 7, 8 and 9, and Table 10 as pictures.

     gatekeeper_seqmnist [--demo | --quick] [--seeds N] [--threads N] [--out DIR] [--only NAME] [--fresh] [--help]

   Writes DIR/gatekeeper-seqmnist.json and .html. Every finished measurement is kept in DIR/gatekeeper-seqmnist.part, so a run
   that was stopped goes on where it was. Exit: 0 done, 1 could not finish, 2 wrong usage, 130 stopped. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define IPR_IMPLEMENTATION
#include "../ipr.h"
#include "report.h"
#include "experiment.h"

enum { SIDE = 28, CLASSES = 10, HIDDEN = 100, BATCH = 128, TRIGGERS = 40, TRIGGERS_PER_BATCH = 8, FORGERIES = 50, FRESH = 999 };
enum { BINS = 40 };
#define SIGNATURE "ipr.h demo"
#define TRIGGER_NOISE 0.25      /* share of a trigger's pixels that are random; 0 in the recipe as in the paper */
#define LEARNING_RATE 2e-3

/* ---- settings ---- */

typedef struct {
    const char *suffix;         /* of the row's name */
    int recipe;                 /* -1: no protection */
    int kind, keys, triggers;
} variant;
static const variant variants[] = {
    { "", -1, 0, 0, 0 },
    { "_k", IPR_RECIPE_DEFAULT, IPR_KEY_RANDOM, 1, 0 },
    { "_kt", IPR_RECIPE_DEFAULT, IPR_KEY_RANDOM, 1, 1 },
    { "_kt (as in the paper)", IPR_RECIPE_PAPER, IPR_KEY_BATCH, 8, 1 },
};
enum { BASELINE, KEYED, KEYED_TRIGGERED, AS_IN_PAPER, VARIANTS };

typedef struct {
    const char *out, *only;
    int seeds, threads, quick, demo, fresh_start;
    int epochs, train_items, test_items, forgeries, attack_epochs;
} options;

typedef struct {
    ipr_ctx *c;
    options o;
    ipr_dataset *train, *test, *pool, *strangers;  /* pool: keys and wrong keys; strangers: for forgeries, never trained on */
    int real_data, real_pool, done, todo;
    double started;
} lab;

/* One model and its secrets, for one seed. */
typedef struct {
    lab *l;
    int seed, cellkind;
    const variant *v;
    char row[64];
    ipr_classifier *m;
    ipr_gatekeeper *key;
    ipr_gatekeeper_recipe recipe;
    ipr_dataset *triggers, *train;  /* train: without the triggers */
} run;

static int broken(lab *l, const char *what)
{
    fprintf(stderr, "\n%s: %s\n", what, ipr_status(l->c) ? ipr_message(l->c) : "failed");
    return 1;
}

static void say(lab *l, const run *r, const char *what)
{
    say_where(l->c, l->started, l->done, l->todo);
    fprintf(stderr, "%s, seed %d: %s\n", r->row, r->seed + 1, what);
}

/* ---- training: algorithm 1 ---- */

static ipr_tensor *train_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    run *r = (run *)user;
    ipr_tensor *x, *y, *logits, *loss;
    ipr_batch(c, r->train, idx, n, IPR_TIME_MAJOR, &x, &y);
    if (r->triggers) ipr_triggers_append(c, r->triggers, info->total, TRIGGERS_PER_BATCH, IPR_TIME_MAJOR, &x, &y);
    if (r->key) loss = ipr_gatekeeper_step(r->key, r->m, &r->recipe, info->total, x, y, &logits);
    else loss = ipr_cross_entropy(c, logits = ipr_classifier_forward(r->m, x, NULL, 0), y);
    info->correct = ipr_count_correct(c, logits, y, &info->seen);
    return loss;
}

static int make_run(lab *l, int seed, int cellkind, const variant *v, run *r)
{
    ipr_classifier_desc md = IPR_ZERO;
    ipr_gatekeeper_desc kd = IPR_ZERO;
    uint8_t owner[32];
    char text[64];
    memset(r, 0, sizeof *r);
    r->l = l;
    r->seed = seed;
    r->cellkind = cellkind;
    r->v = v;
    snprintf(r->row, sizeof r->row, "%s%s", cellkind == IPR_LSTM ? "LSTM" : "GRU", v->suffix);
    md.cell = cellkind;
    md.input = SIDE;
    md.hidden = HIDDEN;
    md.classes = CLASSES;
    md.dropout = 0.4;
    ipr_set_seed(l->c, 1 + (uint64_t)seed); /* of the start, dropout and the order of the items */
    r->m = ipr_classifier_new(l->c, &md);
    r->train = l->train;
    if (v->recipe < 0) return r->m ? 0 : broken(l, "model");
    /* an experiment's seed is no secret; a real owner reads 32 bytes from /dev/urandom */
    ipr_sha256_of(text, (size_t)snprintf(text, sizeof text, "experiment owner %d %d", seed, cellkind), owner);
    kd.kind = v->kind;
    kd.keys = v->keys;
    kd.steps = kd.width = SIDE;
    kd.units = HIDDEN;
    kd.signature = SIGNATURE;
    kd.pool = l->pool;
    r->key = ipr_gatekeeper_new(l->c, &kd, owner, sizeof owner);
    r->recipe = ipr_gatekeeper_recipe_of(v->recipe);
    if (l->real_pool) r->recipe.others_pool = l->pool;
    if (v->triggers) r->triggers = ipr_triggers_new(l->c, l->train, TRIGGERS, v->recipe == IPR_RECIPE_PAPER ? 0 : TRIGGER_NOISE, owner, sizeof owner, &r->train);
    return ipr_status(l->c) ? broken(l, "key") : 0;
}

static void free_run(run *r)
{
    if (r->train != r->l->train) ipr_dataset_free(r->train);
    ipr_dataset_free(r->triggers);
    ipr_gatekeeper_free(r->key);
    ipr_classifier_free(r->m);
}

static void model_path(const run *r, char *path, size_t cap)
{
    snprintf(path, cap, "%s/gatekeeper-seqmnist.%s%d.%d.%s", r->l->o.out, r->cellkind == IPR_LSTM ? "lstm" : "gru",
             (int)(r->v - variants), r->seed + 1, "safetensors");
}

static int train(run *r)
{
    lab *l = r->l;
    ipr_fit_desc f = IPR_ZERO;
    char path[600];
    int st;
    model_path(r, path, sizeof path);
    if (trained_already(l->c, r->m->params, path)) return 0;
    say(l, r, "training");
    f.params = r->m->params;
    f.optimiser.lr = LEARNING_RATE;
    f.schedule.kind = IPR_SCHED_MULTISTEP;
    f.schedule.milestones[0] = l->o.epochs * 7 / 10 > 0 ? l->o.epochs * 7 / 10 : 1;
    f.clip_norm = 1.0;
    f.epochs = l->o.epochs;
    f.items = r->train->count;
    f.batch = BATCH;
    f.shuffle = 1;
    f.step_fn = train_step;
    f.user = r;
    f.tag = r->row;
    st = train_to(l->c, &f, path, NULL, NULL);
    if (st == IPR_E_CANCELLED) return 130;
    if (st != IPR_OK) return broken(l, "training");
    return 0;
}

/* ---- measurements ---- */

static double accuracy(run *r, ipr_classifier *m, const ipr_dataset *ds, const ipr_real *gate)
{
    return ipr_classifier_accuracy(m, ds, NULL, ds == r->l->test ? r->l->o.test_items : ds->count, gate, SIDE);
}

/* Gates and signature match (percent of units) of one key. */
static double use_key(run *r, ipr_classifier *m, const ipr_real *key, ipr_real *gate)
{
    ipr_real first[HIDDEN];
    ipr_gatekeeper_gates(r->key, m, key, 1, gate, first);
    return 100.0 * (double)ipr_gatekeeper_match(r->key, first) / HIDDEN;
}

/* A forged key: of the genuine one's own kind, or of the other: noise against images, images against noise. */
static void forge(run *r, int number, int other, ipr_real *out)
{
    const ipr_index n = ipr_gatekeeper_size(r->key);
    ipr_index i;
    if (!other) {
        ipr_gatekeeper_fresh(r->key, ((uint64_t)1 << 62) + (uint64_t)(r->seed * 1000 + number), 1, out);
        return;
    }
    ipr_rng g = ipr_rng_make((uint64_t)(r->seed * 1000 + number), 77, 0);
    if (r->v->kind == IPR_KEY_RANDOM) {
        const uint8_t *im = ipr_dataset_item_u8(r->l->strangers, (ipr_index)ipr_rng_below(&g, (uint32_t)r->l->strangers->count));
        for (i = 0; i < n; i++) out[i] = (ipr_real)im[i % (SIDE * SIDE)] / 255;
    } else for (i = 0; i < n; i++) out[i] = (ipr_real)ipr_rng_normal(&g);
}

typedef struct { run *r; const ipr_real *gate; const ipr_dataset *ds; } api;
/* What a suspect's API is to the verifier: items in, labels out. Here the items' data set and the key are local. */
static int ask(void *user, const uint32_t *items, ipr_index n, int32_t *labels)
{
    api *a = (api *)user;
    return ipr_classifier_predict(a->r->m, a->ds, items, n, a->gate, SIDE, labels, NULL);
}

static double trigger_p(run *r, const ipr_real *gate)
{
    enum { NULLS = 2000 };
    static int32_t want[TRIGGERS], null_label[NULLS], got[NULLS];
    static uint32_t idx[NULLS];
    ipr_verdict_desc d = IPR_ZERO;
    uint64_t hits = 0, nulls = 0;
    const int n = r->l->o.test_items < NULLS ? r->l->o.test_items : NULLS;
    ipr_rng g = ipr_rng_make((uint64_t)r->seed, 78, 0);
    api a;
    int i;
    a.r = r;
    a.gate = gate;
    a.ds = r->triggers;
    for (i = 0; i < TRIGGERS; i++) { idx[i] = (uint32_t)i; want[i] = ipr_dataset_label(r->triggers, i); }
    if (ask(&a, idx, TRIGGERS, got)) return 1;
    for (i = 0; i < TRIGGERS; i++) hits += got[i] == want[i];
    /* the null: the same rule, a random wrong label, on images that were never triggers */
    a.ds = r->l->test;
    for (i = 0; i < n; i++) {
        idx[i] = (uint32_t)i;
        null_label[i] = (int32_t)(((uint32_t)ipr_dataset_label(r->l->test, i) + 1 + ipr_rng_below(&g, CLASSES - 1)) % CLASSES);
    }
    if (ask(&a, idx, n, got)) return 1;
    for (i = 0; i < n; i++) nulls += got[i] == null_label[i];
    d.scheme = "triggers";
    d.alpha = 1e-12;
    d.null_matched = nulls;
    d.null_of = (uint64_t)n;
    d.expected = TRIGGERS;
    return ipr_verdict_binomial(&d, hits, TRIGGERS).p_value;
}

static double forged_scores[FORGERIES];

/* Forged keys of one kind: mean, spread and best on the test set, on the triggers, and in signature bits. */
static void try_forgeries(run *r, int other, ipr_real *key, ipr_real *gate)
{
    const char *kind = other ? "other" : "same";
    double accs[FORGERIES], mean, lo, hi, sd, best = 0, trig = 0, sig = 0, sig_best = 0;
    const int n = r->l->o.forgeries;
    const ipr_index probes = r->l->o.test_items < 200 ? r->l->o.test_items : 200;
    double p[200];
    char metric[48];
    int i, k;
    for (i = 0; i < n && !stop_asked; i++) {
        double a, s;
        forge(r, i, other, key);
        s = use_key(r, r->m, key, gate);
        a = accuracy(r, r->m, r->l->test, gate);
        accs[i] = a;
        if (a > best) best = a;
        if (r->triggers) trig += accuracy(r, r->m, r->triggers, gate);
        sig += s;
        if (s > sig_best) sig_best = s;
        if (!other) {   /* the same score as ipr_gatekeeper_verify ranks */
            ipr_classifier_predict(r->m, r->l->test, NULL, probes, gate, SIDE, NULL, p);
            for (forged_scores[i] = 0, k = 0; k < probes; k++) forged_scores[i] += p[k] / (double)probes;
        }
    }
    if (stop_asked) return;
    sd = ipr_mean_ci(accs, n, 0.95, &mean, &lo, &hi);
    snprintf(metric, sizeof metric, "test_counterfeit@kind=%s", kind);
    put("Table 5", r->row, metric, r->seed, mean);
    snprintf(metric, sizeof metric, "test_counterfeit_sd@kind=%s", kind);
    put("Table 5", r->row, metric, r->seed, sd);
    snprintf(metric, sizeof metric, "test_counterfeit_best@kind=%s", kind);
    put("Table 5", r->row, metric, r->seed, best);
    snprintf(metric, sizeof metric, "signature_counterfeit@kind=%s", kind);
    put("Table 5", r->row, metric, r->seed, sig / n);
    snprintf(metric, sizeof metric, "signature_counterfeit_best@kind=%s", kind);
    put("Table 5", r->row, metric, r->seed, sig_best);
    /* the plain name is what the paper did: noise against an image key; for the default recipe, forgeries of the same kind */
    if (other == (r->v->recipe == IPR_RECIPE_PAPER)) put("Table 5", r->row, "test_counterfeit", r->seed, mean);
    if (r->triggers) {
        snprintf(metric, sizeof metric, "trigger_counterfeit@kind=%s", kind);
        put("Table 5", r->row, metric, r->seed, trig / n);
        if (other == (r->v->recipe == IPR_RECIPE_PAPER)) put("Table 5", r->row, "trigger_counterfeit", r->seed, trig / n);
    }
}

static int measure(run *r)
{
    static ipr_real gate[SIDE * HIDDEN], key[8 * SIDE * SIDE];
    static double scores[FRESH];
    lab *l = r->l;
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_gatekeeper_report rep;
    int i, accepted = 0;
    put("Table 5", r->row, "test_no_key", r->seed, accuracy(r, r->m, l->test, NULL));
    if (!r->key) return ipr_status(l->c) ? broken(l, r->row) : 0;
    put("Table 5", r->row, "signature", r->seed, use_key(r, r->m, NULL, gate));
    put("Table 5", r->row, "test_key", r->seed, accuracy(r, r->m, l->test, gate));
    if (r->triggers) {
        put("Table 5", r->row, "trigger_no_key", r->seed, accuracy(r, r->m, r->triggers, NULL));
        put("Table 5", r->row, "trigger_key", r->seed, accuracy(r, r->m, r->triggers, gate));
        put("Table 5", r->row, "p_value", r->seed, trigger_p(r, gate));
    }
    say(l, r, "verdict: rank among 999 fresh keys");
    t.scores = scores;
    t.fresh = FRESH;
    t.draw = (uint64_t)r->seed + 1;
    if (ipr_gatekeeper_verify(r->key, r->m, l->test, NULL, l->o.test_items < 200 ? l->o.test_items : 200, &t, &rep) != IPR_OK) return broken(l, "verdict");
    put("Verdict", r->row, "p_value@rank=function", r->seed, rep.function.p_value);
    put("Verdict", r->row, "p_value@rank=signature", r->seed, rep.signature.p_value);
    put("Verdict", r->row, "log10_p@binomial=signature", r->seed, rep.signature_binomial.log10_p);
    say(l, r, "forged keys");
    try_forgeries(r, 0, key, gate);
    try_forgeries(r, 1, key, gate);
    if (stop_asked) return 130;
    for (i = 0; i < l->o.forgeries; i++) accepted += ipr_rank_p(scores, FRESH, forged_scores[i]) <= 0.001;
    put("Verdict", r->row, "accepted@kind=same", r->seed, 100.0 * accepted / l->o.forgeries);
    return ipr_status(l->c) ? broken(l, r->row) : 0;
}

/* Accuracy with the genuine key, triggers and signature of an attacked copy. */
static void after(run *r, ipr_classifier *m, const char *table, const char *attack, double level)
{
    ipr_real gate[SIDE * HIDDEN];
    char metric[48];
    const double sig = use_key(r, m, NULL, gate);
    snprintf(metric, sizeof metric, "signature@%s=%g", attack, level);
    put(table, r->row, metric, r->seed, sig);
    snprintf(metric, sizeof metric, "test_key@%s=%g", attack, level);
    put(table, r->row, metric, r->seed, accuracy(r, m, r->l->test, gate));
    if (!r->triggers) return;
    snprintf(metric, sizeof metric, "trigger_key@%s=%g", attack, level);
    put(table, r->row, metric, r->seed, accuracy(r, m, r->triggers, gate));
}

static int attack_tune(run *r, const char *name, double lr, int epochs, const ipr_gatekeeper *other)
{
    lab *l = r->l;
    ipr_attack_desc d = IPR_ZERO;
    ipr_classifier *m = ipr_classifier_clone(r->m);
    char line[80];
    int st;
    snprintf(line, sizeof line, "%s, lr %g", name, lr);
    say(l, r, line);
    d.lr = lr;
    d.epochs = epochs;
    d.seed = 1000 + (uint64_t)r->seed;
    d.progress_fn = ipr_progress_stderr;
    d.stop_fn = stop_now;
    st = other ? ipr_attack_overwrite(m, other, &r->recipe, r->train, NULL, 0, &d) : ipr_attack_finetune(m, r->train, NULL, 0, &d);
    if (st == IPR_OK) after(r, m, "Table 9", name, lr);
    ipr_classifier_free(m);
    return stop_asked ? 130 : st == IPR_OK ? 0 : broken(l, name);
}

static int attack(run *r)
{
    static const char *const skip[] = { "output.bias" };    /* as the published code */
    lab *l = r->l;
    ipr_gatekeeper_desc kd = *ipr_gatekeeper_resolved(r->key);
    ipr_gatekeeper *thief;
    uint8_t flips[HIDDEN];
    int i, st;
    say(l, r, "pruning and sign flipping");
    for (i = 0; i <= 10 && !stop_asked; i++) {
        ipr_classifier *m = ipr_classifier_clone(r->m);
        if (ipr_attack_prune(m->params, i / 10.0, skip, 1) != IPR_OK) return broken(l, "pruning");
        after(r, m, "Fig 7", "prune", i / 10.0);
        ipr_classifier_free(m);
        m = ipr_classifier_clone(r->m);
        if (ipr_attack_flip(m, r->key, i / 10.0, NULL) != IPR_OK) return broken(l, "flipping");
        after(r, m, "Fig 8", "flip", i / 10.0);
        ipr_classifier_free(m);
    }
    if (stop_asked) return 130;
    {   /* half the signature's signs changed without changing one prediction, then read against the owner's own weights */
        ipr_classifier *m = ipr_classifier_clone(r->m);
        ipr_gatekeeper_test t = IPR_ZERO;
        ipr_gatekeeper_report rep;
        for (i = 0; i < HIDDEN; i++) flips[i] = (uint8_t)(i & 1);
        ipr_attack_gauge(m, flips);
        after(r, m, "Gauge", "gauge", 0.5);
        t.reference = r->m->params;
        t.fresh = 19;
        t.alpha = 0.05;
        if (ipr_gatekeeper_verify(r->key, m, l->test, NULL, 50, &t, &rep) != IPR_OK) return broken(l, "gauge");
        put("Gauge", r->row, "signature@gauge_undone=0.5", r->seed, 100.0 * (double)rep.matched / HIDDEN);
        ipr_classifier_free(m);
    }
    if ((st = attack_tune(r, "finetune", 1e-5, l->o.attack_epochs, NULL)) != 0) return st;
    if ((st = attack_tune(r, "finetune", 1e-3, 1, NULL)) != 0) return st;
    kd.signature = "stolen!";
    thief = ipr_gatekeeper_new(l->c, &kd, "the thief's own seed of 32 bytes", 32);
    st = thief ? attack_tune(r, "overwrite", 1e-5, l->o.attack_epochs, thief) : broken(l, "overwriting");
    if (!st) st = attack_tune(r, "overwrite", 1e-3, 1, thief);
    ipr_gatekeeper_free(thief);
    return st;
}

static void histogram(const char *table, const char *row, const char *metric, const ipr_real *x, ipr_index n, double lo, double hi)
{
    double count[BINS] = { 0 };
    char name[48];
    ipr_index i;
    int b;
    for (i = 0; i < n; i++) {
        b = (int)(((double)x[i] - lo) / (hi - lo) * BINS);
        count[b < 0 ? 0 : b >= BINS ? BINS - 1 : b] += 100.0 / (double)n;
    }
    for (b = 0; b < BINS; b++) {
        snprintf(name, sizeof name, "%s=%.3f", metric, lo + (b + 0.5) * (hi - lo) / BINS);
        put(table, row, name, 0, count[b]);
    }
}

/* Figures 3 and 9, first seed: gate activations of the genuine and a forged key, weights of the recurrent layer. */
static void distributions(run *r)
{
    static ipr_real gate[SIDE * HIDDEN], key[8 * SIDE * SIDE];
    static ipr_real w[4 * HIDDEN * HIDDEN];
    char row[96];
    ipr_tensor *t = r->m->rnn.at[0].w_hh;
    memcpy(w, ipr_read(r->l->c, t), (size_t)ipr_count(t) * sizeof w[0]);
    histogram("Fig 9", r->row, "share@weight", w, ipr_count(t), -1, 1);
    if (!r->key) return;
    use_key(r, r->m, NULL, gate);
    snprintf(row, sizeof row, "%s genuine", r->row);
    histogram("Fig 3", row, "share@gate", gate, SIDE * HIDDEN, 0, 1);
    forge(r, 0, r->v->recipe == IPR_RECIPE_PAPER, key);
    use_key(r, r->m, key, gate);
    snprintf(row, sizeof row, "%s forged", r->row);
    histogram("Fig 3", row, "share@gate", gate, SIDE * HIDDEN, 0, 1);
}

/* ---- one unit of work: train, measure, attack; skipped when its last number is there ---- */

static int unit_done(const run *r, int attacks)
{
    char mark[16];
    snprintf(mark, sizeof mark, "done%d", attacks);
    return cell_at("-", r->row, mark)->has[r->seed];
}

static void unit_mark(const run *r, int attacks)
{
    char mark[16];
    snprintf(mark, sizeof mark, "done%d", attacks);
    put("-", r->row, mark, r->seed, 1);
}

static int unit(lab *l, int seed, int cellkind, int v, int attacks)
{
    run r;
    const double began = ipr_now(l->c);
    int st = make_run(l, seed, cellkind, &variants[v], &r);
    if (!st && !unit_done(&r, attacks)) {
        st = train(&r);
        if (!st && !attacks) st = measure(&r);
        if (!st && !attacks && seed == 0) distributions(&r);
        if (!st && attacks) st = attack(&r);
        if (!st && stop_asked) st = 130;
        if (!st) put("-", r.row, attacks ? "seconds1" : "seconds0", seed, ipr_now(l->c) - began);
        if (!st) unit_mark(&r, attacks);
    }
    free_run(&r);
    l->done++;
    return st;
}

/* ---- the paper's numbers ---- */

static const paper_figure paper[] = {
    { "Table 5", "LSTM", "test_no_key", 98.38 }, { "Table 5", "GRU", "test_no_key", 98.36 },
    { "Table 5", "LSTM_k", "test_no_key", 98.36 }, { "Table 5", "LSTM_k", "test_key", 98.37 }, { "Table 5", "LSTM_k", "test_counterfeit", 18.36 },
    { "Table 5", "LSTM_kt", "test_no_key", 98.17 }, { "Table 5", "LSTM_kt", "test_key", 98.18 }, { "Table 5", "LSTM_kt", "test_counterfeit", 18.37 },
    { "Table 5", "LSTM_kt", "trigger_no_key", 100 }, { "Table 5", "LSTM_kt", "trigger_key", 99.80 }, { "Table 5", "LSTM_kt", "trigger_counterfeit", 6.51 },
    { "Table 5", "GRU_k", "test_no_key", 98.30 }, { "Table 5", "GRU_k", "test_key", 98.30 }, { "Table 5", "GRU_k", "test_counterfeit", 22.68 },
    { "Table 5", "GRU_kt", "test_no_key", 97.97 }, { "Table 5", "GRU_kt", "test_key", 97.95 }, { "Table 5", "GRU_kt", "test_counterfeit", 21.15 },
    { "Table 5", "GRU_kt", "trigger_no_key", 99.80 }, { "Table 5", "GRU_kt", "trigger_key", 99.80 }, { "Table 5", "GRU_kt", "trigger_counterfeit", 9.57 },
    { "Table 5", "LSTM_kt", "signature", 100 }, { "Table 5", "GRU_kt", "signature", 100 },
    { "Table 9", "LSTM_kt", "test_key@finetune=1e-05", 98.28 }, { "Table 9", "LSTM_kt", "trigger_key@finetune=1e-05", 99.6 }, { "Table 9", "LSTM_kt", "signature@finetune=1e-05", 100 },
    { "Table 9", "LSTM_kt", "test_key@overwrite=1e-05", 97.52 }, { "Table 9", "LSTM_kt", "trigger_key@overwrite=1e-05", 52 }, { "Table 9", "LSTM_kt", "signature@overwrite=1e-05", 100 },
    { "Table 9", "GRU_kt", "test_key@finetune=1e-05", 98.09 }, { "Table 9", "GRU_kt", "trigger_key@finetune=1e-05", 99.4 }, { "Table 9", "GRU_kt", "signature@finetune=1e-05", 100 },
    { "Table 9", "GRU_kt", "test_key@overwrite=1e-05", 97.53 }, { "Table 9", "GRU_kt", "trigger_key@overwrite=1e-05", 78 }, { "Table 9", "GRU_kt", "signature@overwrite=1e-05", 100 },
    { "Fig 8", "LSTM_kt", "test_key@flip=0.4", 23.37 }, { "Fig 8", "LSTM_kt", "test_key@flip=0", 98.18 },
};

enum { PAPERS = sizeof paper / sizeof paper[0] };

/* ---- results: JSON ---- */

static const char *const notes[] = {
    "default recipe (K = 1 uniform key, 8 fresh wrong keys a step, 2 of them of other kinds) unless a row says (as in the paper): K = 8 image keys, hinge sign loss only",
    "40 triggers: training images with a uniformly drawn wrong label and a quarter of their pixels random (as in the paper: plain images), 8 appended to each batch of 128; removed from the training set",
    "all models, the baselines too: Adam 2e-3, times 0.1 after 70 % of the epochs, gradient norm clipped at 1, dropout 0.4, hidden 100",
    "test_counterfeit: mean over 50 forged keys on the whole test set; @kind=same: fresh keys of the genuine key's generator; @kind=other: images for a uniform key, N(0,1) noise for image keys (the paper's kind)",
    "p_value: exact binomial of the triggers against the null rate measured on test images with random wrong labels; @rank: (1 + #fresh keys that score as high) / 1000",
    "accepted@kind=same: percentage of the forged keys that the rank rule would accept at alpha = 0.001",
    "lo, hi: Student t 95 % interval over the seeds; equal to ours when there is one seed",
};

static int write_json(lab *l, const char *path)
{
    ipr_writer w;
    ipr_json j;
    size_t i;
    int ok;
    if (ipr_writer_file(l->c, &w, path, 0) != IPR_OK) return broken(l, path);
    ipr_json_begin(&j, &w, 1);
    experiment_rows(&j, l->c, "gatekeeper-seqmnist", l->train->name, l->o.quick, l->o.seeds, paper, PAPERS);
    ipr_json_array(&j, "notes");
    for (i = 0; i < sizeof notes / sizeof notes[0]; i++) ipr_json_str(&j, NULL, notes[i]);
    ipr_json_str(&j, NULL, l->train->source);
    ipr_json_end(&j);
    ipr_json_end(&j);
    ok = ipr_json_finish(&j) == IPR_OK && ipr_writer_commit(&w) == IPR_OK;
    ipr_writer_close(&w);
    return ok ? 0 : broken(l, path);
}

#include "gatekeeper_seqmnist_html.h"

/* ---- the run ---- */

/* Models of an earlier run with other settings must not be taken for this one's. */
static void forget_models(lab *l)
{
    char path[600], checkpoint[640];
    run r;
    memset(&r, 0, sizeof r);
    r.l = l;
    for (r.seed = 0; r.seed < MAX_SEEDS; r.seed++)
        for (r.cellkind = IPR_LSTM; r.cellkind <= IPR_GRU; r.cellkind++)
            for (r.v = variants; r.v < variants + VARIANTS; r.v++) {
                model_path(&r, path, sizeof path);
                snprintf(checkpoint, sizeof checkpoint, "%s.run", path);
                remove(path);
                remove(checkpoint);
            }
}

static int load_part(lab *l, const char *path)
{
    char settings[160];
    int kept;
    snprintf(settings, sizeof settings, "# %s %s %d %d %d %d %d", IPR_VERSION_STRING, l->train->name, l->o.epochs, l->o.train_items, l->o.test_items, l->o.forgeries, l->o.attack_epochs);
    kept = experiment_open(path, settings, l->o.fresh_start);
    if (kept == 0) forget_models(l);
    return kept < 0;
}

static ipr_dataset *find_idx(lab *l, const char *name, const char *images, const char *labels)
{
    const char *roots[3];
    char pi[600], pl[600];
    roots[0] = getenv("IPR_DATA");
    roots[1] = "data";
    roots[2] = "build/data";
    if (ipr_data_find(l->c, roots, 3, images, pi, sizeof pi) != IPR_OK || ipr_data_find(l->c, roots, 3, labels, pl, sizeof pl) != IPR_OK) return NULL;
    return ipr_dataset_idx(l->c, name, pi, pl);
}

static int load_data(lab *l)
{
    ipr_dataset *images;
    l->train = find_idx(l, "mnist", "mnist/train-images-idx3-ubyte", "mnist/train-labels-idx1-ubyte");
    l->test = l->train ? find_idx(l, "mnist", "mnist/t10k-images-idx3-ubyte", "mnist/t10k-labels-idx1-ubyte") : NULL;
    l->real_data = l->test != NULL;
    if (!l->real_data && !ipr_status(l->c)) {
        fprintf(stderr, "No MNIST in $IPR_DATA, ./data or build/data (make data fetches it): using the built-in digits.\n");
        ipr_dataset_free(l->train);
        l->train = ipr_dataset_digits(l->c, 1, 0, l->o.train_items);
        l->test = ipr_dataset_digits(l->c, 1, IPR_DIGITS_TEST, l->o.test_items);
    }
    if (l->train && l->train->count > l->o.train_items) l->train = ipr_dataset_view(l->train, NULL, l->o.train_items);
    if (l->test && l->test->count < l->o.test_items) l->o.test_items = (int)l->test->count;
    l->pool = find_idx(l, "fashion-mnist", "fashion-mnist/t10k-images-idx3-ubyte", "fashion-mnist/t10k-labels-idx1-ubyte");
    l->real_pool = l->pool != NULL;
    images = l->pool ? l->pool : l->test;
    if (images) {   /* halves: what the owner trains with, what a forger brings */
        uint32_t *half = (uint32_t *)malloc((size_t)images->count * sizeof *half);
        ipr_index i;
        if (!half) return broken(l, "memory");
        for (i = 0; i < images->count; i++) half[i] = (uint32_t)i;
        l->strangers = ipr_dataset_view(images, half + images->count / 2, images->count - images->count / 2);
        l->pool = ipr_dataset_view(images, half, images->count / 2);
        free(half);
    }
    if (ipr_status(l->c) || !l->train || !l->test) return broken(l, "data");
    fprintf(stderr, "Data: %s, %d training and %d test images; image keys from %s. %s kernels, %d thread%s.\n", l->real_data ? "MNIST" : "built-in digits",
            (int)l->train->count, l->o.test_items, images == l->test ? "test images" : "Fashion-MNIST", ipr_isa_name(ipr_isa(l->c)),
            ipr_threads(l->c), ipr_threads(l->c) == 1 ? "" : "s");
    return 0;
}

static int wanted(const lab *l, int cellkind, int v)
{
    char row[64];
    snprintf(row, sizeof row, "%s%s", cellkind == IPR_LSTM ? "LSTM" : "GRU", variants[v].suffix);
    if (l->o.only) return !strncmp(row, l->o.only, strlen(l->o.only));
    return !l->o.demo || (cellkind == IPR_LSTM && (v == BASELINE || v == KEYED_TRIGGERED));
}

static int run_all(lab *l)
{
    int seed, k, v, pass, st;
    for (pass = 0; pass < 2; pass++) {      /* first count, then work */
        for (seed = 0; seed < l->o.seeds; seed++)
            for (k = IPR_LSTM; k <= IPR_GRU; k++)
                for (v = 0; v < VARIANTS; v++) {
                    if (!wanted(l, k, v)) continue;
                    if (!pass) { l->todo += v == KEYED_TRIGGERED ? 2 : 1; continue; }
                    st = unit(l, seed, k, v, 0);
                    if (!st && v == KEYED_TRIGGERED) st = unit(l, seed, k, v, 1);
                    if (st) return st;
                }
    }
    return 0;
}

/* The main figures beside the paper's, on the terminal. */
static void print_summary(const lab *l)
{
    static const char *const metrics[] = { "test_no_key", "test_key", "test_counterfeit", "trigger_key", "signature", "p_value", "p_value@rank=function", "accepted@kind=same" };
    print_figures(paper, PAPERS, metrics, (int)(sizeof metrics / sizeof metrics[0]));
    printf("Report: %s/%s.html\n", l->o.out, l->o.demo ? "demo" : "gatekeeper-seqmnist");
}

static const char usage[] =
    "usage: gatekeeper_seqmnist [options]\n"
    "  Trains LSTM and GRU networks on SeqMNIST with Gatekeeper keys, attacks them, and writes\n"
    "  OUT/gatekeeper-seqmnist.json and .html beside the paper's figures.\n"
    "  --demo        one protected LSTM, a minute or two, build/demo.html\n"
    "  --quick       one seed, 20,000 images, 4 epochs\n"
    "  --seeds N     1 to 16; default 5\n"
    "  --threads N   default: all processors\n"
    "  --only ROWS   rows that begin with this, e.g. LSTM_kt, or GRU for all of them\n"
    "  --out DIR     default results\n"
    "  --fresh       forget what an earlier, stopped run measured\n"
    "Exit: 0 done, 1 could not finish, 2 wrong usage, 130 stopped (the next run goes on from there).\n";

static int parse(int argc, char **argv, options *o)
{
    int i;
    o->out = "results";
    o->seeds = 5;
    o->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads < 1) o->threads = 1;
    if (o->threads > 16) o->threads = 16;
    o->epochs = 10;
    o->train_items = 60000;
    o->test_items = 10000;
    o->forgeries = FORGERIES;
    o->attack_epochs = 5;
    for (i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { fputs(usage, stdout); exit(0); }
        else if (!strcmp(argv[i], "--quick")) o->quick = 1;
        else if (!strcmp(argv[i], "--demo")) o->demo = 1;
        else if (!strcmp(argv[i], "--fresh")) o->fresh_start = 1;
        else if (!strcmp(argv[i], "--seeds") && number(next, 1, MAX_SEEDS, &o->seeds)) i++;
        else if (!strcmp(argv[i], "--threads") && number(next, 1, 64, &o->threads)) i++;
        else if (!strcmp(argv[i], "--only") && next) o->only = argv[++i];
        else if (!strcmp(argv[i], "--out") && next) o->out = argv[++i];
        else { fprintf(stderr, "%s: not understood, or its value is missing or out of range\n%s", argv[i], usage); return 2; }
    }
    if (o->quick || o->demo) {
        o->seeds = 1;
        o->epochs = o->demo ? 6 : 4;
        o->train_items = o->demo ? 40000 : 20000;
        o->test_items = o->demo ? 4000 : 2000;
        o->attack_epochs = 1;
    }
    if (o->demo) { o->out = "build"; o->fresh_start = 1; }
    return 0;
}

int main(int argc, char **argv)
{
    lab l;
    ipr_desc d = IPR_ZERO;
    char path[600];
    int st;
    memset(&l, 0, sizeof l);
    st = parse(argc, argv, &l.o);
    if (st) return st;
    catch_signals();
    d.threads = l.o.threads;
    d.seed = 1;
    l.c = ipr_open(&d, &st);
    if (!l.c) { fprintf(stderr, "no context: %s\n", ipr_status_name(st)); return 1; }
    l.started = ipr_now(l.c);
    mkdir(l.o.out, 0777);
    snprintf(path, sizeof path, "%s/gatekeeper-seqmnist.part", l.o.out);
    st = load_data(&l);
    if (!st) st = load_part(&l, path);
    if (!st) st = run_all(&l);
    snprintf(path, sizeof path, "%s/%s.json", l.o.out, l.o.demo ? "demo" : "gatekeeper-seqmnist");
    if (!st) st = write_json(&l, path);
    if (!st) st = write_html(&l);
    if (!st) print_summary(&l);
    if (part) fclose(part);
    if (st == 130) fprintf(stderr, "\nStopped. The same command goes on from here.\n");
    ipr_close(l.c);
    return st;
}
