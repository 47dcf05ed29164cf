/* Gatekeeper on question classification (TREC-6): every row of the paper's Tables 2a, 4a and 8 and Figures 3, 4a, 5a and 6,
   with bidirectional LSTM and GRU networks.

     gatekeeper_trec6 [--quick] [--seeds N] [--threads N] [--out DIR] [--only ROWS] [--vectors FILE] [--fresh] [--help]

   Writes DIR/gatekeeper-trec6.json and .html. Every finished measurement is kept in DIR/gatekeeper-trec6.part, and training
   in a checkpoint, so a run that was stopped goes on where it was. Exit: 0 done, 1 could not finish, 2 wrong usage,
   130 stopped. */
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

enum { WORDS = 30, TRIGGERS = 50, CLASSES = 6, FRESH = 999, SHOWN = 8, CELLS = 2 };
#define NAME "gatekeeper-trec6"
#define SIGNATURE "private signature should goes here" /* as the published configuration spells it; 272 of 300 units */

/* ---- settings ---- */

typedef struct {
    const char *suffix; /* of the row's name */
    int recipe;         /* -1: no protection */
    int keys, triggers;
} variant;
static const variant variants[] = {
    { "", -1, 0, 0 },
    { "_k", IPR_RECIPE_DEFAULT, 1, 0 },
    { "_kt", IPR_RECIPE_DEFAULT, 1, 1 },
    { "_kt (as in the paper)", IPR_RECIPE_PAPER, 8, 1 },
};
enum { BASELINE, KEYED, KEYED_TRIGGERED, AS_IN_PAPER, VARIANTS };

typedef struct {
    const char *out, *only, *vectors;
    int seeds, threads, quick, fresh_start;
    int epochs, batch, hidden, embed, forgeries, fresh, attack_epochs, train_items;
} options;

typedef struct {
    ipr_ctx *c;
    options o;
    ipr_texts *test_texts;
    ipr_vocab *vocab;
    ipr_dataset *train, *test;
    const char *init; /* where the embeddings come from */
    int real_data, done, todo;
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
    ipr_dataset *triggers, *train; /* train: without the triggers */
    ipr_real *gate, *forged;       /* [cells][WORDS][hidden]; a key */
} run;

static int broken(lab *l, const char *what)
{
    fprintf(stderr, "\n%s: %s\n", what, ipr_status(l->c) ? ipr_message(l->c) : "failed");
    return 1;
}

static const char *row_name(char *out, size_t cap, int cellkind, int v)
{
    snprintf(out, cap, "Bi%s%s", cellkind == IPR_LSTM ? "LSTM" : "GRU", variants[v].suffix);
    return out;
}

/* ---- the paper's numbers ---- */

static const paper_figure paper[] = {
    { "Table 2a", "BiLSTM", "test_no_key", 87.88 }, { "Table 2a", "BiGRU", "test_no_key", 88.48 },
    { "Table 2a", "BiLSTM_k", "test_no_key", 86.71 }, { "Table 2a", "BiLSTM_k", "test_key", 86.92 }, { "Table 2a", "BiLSTM_k", "test_counterfeit", 76.03 },
    { "Table 2a", "BiLSTM_kt", "test_no_key", 86.16 }, { "Table 2a", "BiLSTM_kt", "test_key", 86.21 }, { "Table 2a", "BiLSTM_kt", "test_counterfeit", 75.78 },
    { "Table 2a", "BiLSTM_kt", "trigger_no_key", 100 }, { "Table 2a", "BiLSTM_kt", "trigger_key", 99.81 }, { "Table 2a", "BiLSTM_kt", "trigger_counterfeit", 44.79 },
    { "Table 2a", "BiGRU_k", "test_no_key", 87.46 }, { "Table 2a", "BiGRU_k", "test_key", 87.64 }, { "Table 2a", "BiGRU_k", "test_counterfeit", 84.11 },
    { "Table 2a", "BiGRU_kt", "test_no_key", 86.05 }, { "Table 2a", "BiGRU_kt", "test_key", 86.79 }, { "Table 2a", "BiGRU_kt", "test_counterfeit", 83.76 },
    { "Table 2a", "BiGRU_kt", "trigger_no_key", 100 }, { "Table 2a", "BiGRU_kt", "trigger_key", 100 }, { "Table 2a", "BiGRU_kt", "trigger_counterfeit", 64.58 },
    { "Table 2a", "BiLSTM", "train_minutes", 1.57 }, { "Table 2a", "BiLSTM_k", "train_minutes", 6.53 }, { "Table 2a", "BiLSTM_kt", "train_minutes", 6.61 },
    { "Table 2a", "BiGRU", "train_minutes", 1.60 }, { "Table 2a", "BiGRU_k", "train_minutes", 6.34 }, { "Table 2a", "BiGRU_kt", "train_minutes", 6.38 },
    { "Table 2a", "BiLSTM_kt", "signature", 100 }, { "Table 2a", "BiGRU_kt", "signature", 100 },
    { "Table 4a", "BiLSTM_kt", "test_key@finetune=1e-05", 86.56 }, { "Table 4a", "BiLSTM_kt", "trigger_key@finetune=1e-05", 98.77 }, { "Table 4a", "BiLSTM_kt", "signature@finetune=1e-05", 100 },
    { "Table 4a", "BiLSTM_kt", "test_key@overwrite=1e-05", 85.91 }, { "Table 4a", "BiLSTM_kt", "trigger_key@overwrite=1e-05", 98.08 }, { "Table 4a", "BiLSTM_kt", "signature@overwrite=1e-05", 100 },
    { "Table 4a", "BiGRU_kt", "test_key@finetune=1e-05", 86.69 }, { "Table 4a", "BiGRU_kt", "trigger_key@finetune=1e-05", 99.23 }, { "Table 4a", "BiGRU_kt", "signature@finetune=1e-05", 100 },
    { "Table 4a", "BiGRU_kt", "test_key@overwrite=1e-05", 86.02 }, { "Table 4a", "BiGRU_kt", "trigger_key@overwrite=1e-05", 98.08 }, { "Table 4a", "BiGRU_kt", "signature@overwrite=1e-05", 100 },
    { "Fig 5a", "BiLSTM_kt", "test_key@flip=0", 86.21 }, { "Fig 5a", "BiLSTM_kt", "test_key@flip=0.4", 60.93 },
};
enum { PAPERS = sizeof paper / sizeof paper[0] };

#include "experiment_html.h"

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
    if (r->triggers) ipr_triggers_append(c, r->triggers, info->total, n / 10 > 0 ? n / 10 : 1, IPR_TIME_MAJOR, &x, &y);
    if (r->key) loss = ipr_gatekeeper_step(r->key, r->m, &r->recipe, info->total, x, y, &logits);
    else loss = ipr_cross_entropy(c, logits = ipr_classifier_forward(r->m, x, NULL, 0), y);
    info->correct = ipr_count_correct(c, logits, y, &info->seen);
    return loss;
}

static ipr_gatekeeper *make_key(run *r, const char *signature, const void *seed)
{
    const ipr_index V = ipr_vocab_size(r->l->vocab);
    ipr_gatekeeper_desc d = ipr_gatekeeper_desc_for(r->m);
    d.keys = r->v->keys;
    d.steps = WORDS;
    d.width = 1;
    d.signature = (ipr_index)strlen(signature) <= r->l->o.hidden / 8 ? signature : "ipr.h";
    d.token_low = (int32_t)(V - V / 4); /* the rarest quarter of the words, as the published code's [V - 2000, V) */
    d.token_high = (int32_t)V;
    return ipr_gatekeeper_new(r->l->c, &d, seed, 32);
}

/* From a file of vectors where there is one; else N(0, 0.1^2), near the size of the other weights, so that pruning by
   magnitude does not take the recurrent layer alone (PyTorch's N(0, 1) learns as well). */
static void init_embedding(run *r)
{
    ipr_tensor *t = r->m->embed.weight;
    ipr_real *w = ipr_write(r->l->c, t, 1);
    ipr_index i, n = ipr_count(t);
    for (i = 0; w && i < n; i++) w[i] *= (ipr_real)0.1;
    if (r->l->o.vectors) ipr_embed_vectors(t, r->l->vocab, r->l->o.vectors);
}

static int make_run(lab *l, int seed, int cellkind, const variant *v, run *r)
{
    ipr_classifier_desc md = IPR_ZERO;
    uint8_t owner[32];
    char text[64];
    memset(r, 0, sizeof *r);
    r->l = l;
    r->seed = seed;
    r->cellkind = cellkind;
    r->v = v;
    row_name(r->row, sizeof r->row, cellkind, (int)(v - variants));
    md.cell = cellkind;
    md.input = l->o.embed;
    md.hidden = l->o.hidden;
    md.classes = CLASSES;
    md.vocabulary = ipr_vocab_size(l->vocab);
    md.bidirectional = IPR_BIDIR;
    md.pad = ipr_vocab_pad(l->vocab);
    md.embed_dropout = 0.5;
    md.dropout = 0.4;
    ipr_set_seed(l->c, 1 + (uint64_t)seed); /* of the start, dropout and the order of the questions */
    r->m = ipr_classifier_new(l->c, &md);
    r->train = l->train;
    if (!r->m) return broken(l, "model");
    init_embedding(r);
    if (v->recipe < 0) return ipr_status(l->c) ? broken(l, "embedding") : 0;
    /* an experiment's seed is no secret; a real owner reads 32 bytes from /dev/urandom */
    ipr_sha256_of(text, (size_t)snprintf(text, sizeof text, "experiment owner %d %d", seed, cellkind), owner);
    r->key = make_key(r, SIGNATURE, owner);
    r->recipe = ipr_gatekeeper_recipe_of(v->recipe);
    if (v->triggers) r->triggers = ipr_triggers_new(l->c, l->train, TRIGGERS, 0, owner, sizeof owner, &r->train);
    r->gate = (ipr_real *)malloc((size_t)(r->m->rnn.cells * WORDS * l->o.hidden) * sizeof *r->gate);
    r->forged = (ipr_real *)malloc((size_t)(ipr_gatekeeper_size(r->key) + 1) * sizeof *r->forged);
    return ipr_status(l->c) || !r->gate || !r->forged ? broken(l, "key") : 0;
}

static void free_run(run *r)
{
    if (r->train != r->l->train) ipr_dataset_free(r->train);
    ipr_dataset_free(r->triggers);
    ipr_gatekeeper_free(r->key);
    ipr_classifier_free(r->m);
    free(r->gate);
    free(r->forged);
}

static void model_path(const run *r, char *path, size_t cap)
{
    snprintf(path, cap, "%s/" NAME ".%s%d.%d.safetensors", r->l->o.out, r->cellkind == IPR_LSTM ? "lstm" : "gru", (int)(r->v - variants), r->seed + 1);
}

static int train(run *r)
{
    lab *l = r->l;
    ipr_fit_desc f = IPR_ZERO;
    ipr_fit_result res;
    ipr_pair pair[1];
    ipr_meta meta;
    char path[600];
    int st;
    model_path(r, path, sizeof path);
    if (trained_already(l->c, r->m->params, path)) return 0;
    say(l, r, "training");
    f.params = r->m->params;
    f.optimiser.lr = 1e-3;
    f.schedule.kind = IPR_SCHED_COSINE;
    f.clip_norm = 1.0;
    f.epochs = l->o.epochs;
    f.items = r->train->count;
    f.batch = l->o.batch;
    f.shuffle = 1;
    f.step_fn = train_step;
    f.user = r;
    f.tag = r->row;
    pair[0].key = "ipr.vocab"; /* so that nobody feeds the model with another vocabulary's ids */
    pair[0].value = ipr_vocab_hash(l->vocab);
    meta.pairs = pair;
    meta.count = 1;
    st = train_to(l->c, &f, path, &meta, &res);
    if (st == IPR_E_CANCELLED) return 130;
    if (st != IPR_OK) return broken(l, "training");
    put("Table 2a", r->row, "train_minutes", r->seed, res.seconds / 60);
    return 0;
}

/* ---- measurements ---- */

static double accuracy(run *r, ipr_classifier *m, const ipr_dataset *ds, const ipr_real *gate)
{
    (void)r;
    return ipr_classifier_accuracy(m, ds, NULL, ds->count, gate, WORDS);
}

static double percent_of_bits(const run *r, ipr_index match) { return 100.0 * (double)match / (double)(r->m->rnn.cells * r->l->o.hidden); }

/* Gates of one key (NULL: the genuine one) into r->gate, and the share of the signature's bits it spells. */
static double use_key(run *r, ipr_classifier *m, const ipr_real *key)
{
    ipr_real *first = (ipr_real *)malloc((size_t)(m->rnn.cells * r->l->o.hidden) * sizeof *first);
    double bits = report_nan();
    if (first && ipr_gatekeeper_gates(r->key, m, key, 1, r->gate, first) == IPR_OK) bits = percent_of_bits(r, ipr_gatekeeper_match(r->key, first));
    free(first);
    return bits;
}

static void forge(run *r, int number)
{
    ipr_gatekeeper_fresh(r->key, ((uint64_t)1 << 62) + (uint64_t)(r->seed * 1000 + number), 1, r->forged);
}

/* Exact binomial: triggers that get their label, against the rate on test questions with random wrong labels. */
static double trigger_p(run *r, const ipr_real *gate)
{
    const ipr_index n = r->l->test->count;
    int32_t *got = (int32_t *)malloc((size_t)(n + TRIGGERS) * sizeof *got);
    ipr_verdict_desc d = IPR_ZERO;
    uint64_t hits = 0, nulls = 0;
    ipr_rng g = ipr_rng_make((uint64_t)r->seed, 78, 0);
    ipr_index i;
    int st = !got || ipr_classifier_predict(r->m, r->triggers, NULL, TRIGGERS, gate, WORDS, got, NULL) ||
             ipr_classifier_predict(r->m, r->l->test, NULL, n, gate, WORDS, got + TRIGGERS, NULL);
    for (i = 0; !st && i < TRIGGERS; i++) hits += got[i] == ipr_dataset_label(r->triggers, i);
    for (i = 0; !st && i < n; i++)
        nulls += (uint32_t)got[TRIGGERS + i] == ((uint32_t)ipr_dataset_label(r->l->test, i) + 1 + ipr_rng_below(&g, CLASSES - 1)) % CLASSES;
    free(got);
    d.scheme = "triggers";
    d.alpha = 1e-12;
    d.null_matched = nulls;
    d.null_of = (uint64_t)n;
    d.expected = TRIGGERS;
    return st ? 1 : ipr_verdict_binomial(&d, hits, TRIGGERS).p_value;
}

static int measure(run *r)
{
    static double scores[FRESH], accs[64], p[200];
    lab *l = r->l;
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_gatekeeper_report rep;
    const ipr_index probes = l->test->count < 200 ? l->test->count : 200;
    double mean, lo, hi, best = 0, trig = 0, sig = 0, sig_best = 0;
    int i, k, accepted = 0;
    const int n = l->o.forgeries;
    put("Table 2a", r->row, "test_no_key", r->seed, accuracy(r, r->m, l->test, NULL));
    if (!r->key) return ipr_status(l->c) ? broken(l, r->row) : 0;
    put("Table 2a", r->row, "signature", r->seed, use_key(r, r->m, NULL));
    put("Table 2a", r->row, "test_key", r->seed, accuracy(r, r->m, l->test, r->gate));
    if (r->triggers) {
        put("Table 2a", r->row, "trigger_no_key", r->seed, accuracy(r, r->m, r->triggers, NULL));
        put("Table 2a", r->row, "trigger_key", r->seed, accuracy(r, r->m, r->triggers, r->gate));
        put("Table 2a", r->row, "p_value", r->seed, trigger_p(r, r->gate));
        put("Table 2a", r->row, "p_value@key=none", r->seed, trigger_p(r, NULL));
    }
    say(l, r, "verdict: rank among fresh keys");
    t.scores = scores;
    t.fresh = l->o.fresh;
    t.alpha = 1.0 / (l->o.fresh + 1);
    t.draw = (uint64_t)r->seed + 1;
    if (ipr_gatekeeper_verify(r->key, r->m, l->test, NULL, probes, &t, &rep) != IPR_OK) return broken(l, "verdict");
    put("Verdict", r->row, "p_value@rank=function", r->seed, rep.function.p_value);
    put("Verdict", r->row, "p_value@rank=signature", r->seed, rep.signature.p_value);
    put("Verdict", r->row, "log10_p@binomial=signature", r->seed, rep.signature_binomial.log10_p);
    say(l, r, "forged keys");
    for (i = 0; i < n && !stop_asked; i++) {
        double s, score = 0;
        forge(r, i);
        s = use_key(r, r->m, r->forged);
        accs[i] = accuracy(r, r->m, l->test, r->gate);
        if (accs[i] > best) best = accs[i];
        if (r->triggers) trig += accuracy(r, r->m, r->triggers, r->gate) / n;
        sig += s / n;
        if (s > sig_best) sig_best = s;
        ipr_classifier_predict(r->m, l->test, NULL, probes, r->gate, WORDS, NULL, p); /* the score that the rank goes by */
        for (k = 0; k < probes; k++) score += p[k] / (double)probes;
        accepted += ipr_rank_p(scores, t.fresh, score) <= 1.0 / (double)(t.fresh + 1);
    }
    if (stop_asked) return 130;
    put("Table 2a", r->row, "test_counterfeit_sd", r->seed, ipr_mean_ci(accs, n, 0.95, &mean, &lo, &hi));
    put("Table 2a", r->row, "test_counterfeit", r->seed, mean);
    put("Table 2a", r->row, "test_counterfeit_best", r->seed, best);
    put("Table 2a", r->row, "signature_counterfeit", r->seed, sig);
    put("Table 2a", r->row, "signature_counterfeit_best", r->seed, sig_best);
    if (r->triggers) put("Table 2a", r->row, "trigger_counterfeit", r->seed, trig);
    put("Verdict", r->row, "accepted@kind=same", r->seed, 100.0 * accepted / n);
    return ipr_status(l->c) ? broken(l, r->row) : 0;
}

/* ---- attacks ---- */

/* What is left of an attacked copy. */
static void after(run *r, ipr_classifier *m, const char *table, const char *attack, double level)
{
    char metric[48];
    put(table, r->row, metric_at(metric, sizeof metric, "signature", attack, level), r->seed, use_key(r, m, NULL));
    put(table, r->row, metric_at(metric, sizeof metric, "test_key", attack, level), r->seed, accuracy(r, m, r->l->test, r->gate));
    put(table, r->row, metric_at(metric, sizeof metric, "test_no_key", attack, level), r->seed, accuracy(r, m, r->l->test, NULL));
    put(table, r->row, metric_at(metric, sizeof metric, "trigger_key", attack, level), r->seed, accuracy(r, m, r->triggers, r->gate));
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
    d.batch = 64; /* as the published code */
    d.seed = 1000 + (uint64_t)r->seed;
    d.progress_fn = ipr_progress_stderr;
    d.stop_fn = stop_now;
    st = other ? ipr_attack_overwrite(m, other, &r->recipe, r->train, NULL, 0, &d) : ipr_attack_finetune(m, r->train, NULL, 0, &d);
    if (st == IPR_OK) after(r, m, "Table 4a", name, lr);
    ipr_classifier_free(m);
    return stop_asked ? 130 : st == IPR_OK ? 0 : broken(l, name);
}

static int attack(run *r)
{
    static const char *const skip[] = { "output.bias" }; /* as the published code */
    lab *l = r->l;
    ipr_gatekeeper *thief;
    int i, st;
    say(l, r, "pruning and sign flipping");
    for (i = 0; i <= 10 && !stop_asked; i++) {
        ipr_classifier *m = ipr_classifier_clone(r->m);
        if (!m || ipr_attack_prune(m->params, i / 10.0, skip, 1) != IPR_OK) return broken(l, "pruning");
        after(r, m, "Fig 4a", "prune", i / 10.0);
        ipr_classifier_free(m);
        m = ipr_classifier_clone(r->m);
        if (!m || ipr_attack_flip(m, r->key, i / 10.0, NULL) != IPR_OK) return broken(l, "flipping");
        after(r, m, "Fig 5a", "flip", i / 10.0);
        ipr_classifier_free(m);
    }
    if (stop_asked) return 130;
    if ((st = attack_tune(r, "finetune", 1e-5, l->o.attack_epochs, NULL)) != 0) return st;
    if ((st = attack_tune(r, "finetune", 1e-3, 1, NULL)) != 0) return st;
    thief = make_key(r, "stolen!", "the thief's own seed of 32 bytes");
    st = thief ? attack_tune(r, "overwrite", 1e-5, l->o.attack_epochs, thief) : broken(l, "overwriting");
    if (!st) st = attack_tune(r, "overwrite", 1e-3, 1, thief);
    ipr_gatekeeper_free(thief);
    return st;
}

/* Figures 3 and 6, first seed: gate activations of the genuine and a forged key, weights of the recurrent layer. */
static void distributions(run *r)
{
    const ipr_tensor *t = r->m->rnn.at[0].w_hh;
    const ipr_index gates = r->m->rnn.cells * WORDS * r->l->o.hidden;
    char row[96];
    put_histogram("Fig 6", r->row, "share@weight", ipr_read(r->l->c, t), ipr_count(t), -1, 1);
    if (!r->key) return;
    use_key(r, r->m, NULL);
    snprintf(row, sizeof row, "%s genuine", r->row);
    put_histogram("Fig 3", row, "share@gate", r->gate, gates, 0, 1);
    forge(r, 0);
    use_key(r, r->m, r->forged);
    snprintf(row, sizeof row, "%s forged", r->row);
    put_histogram("Fig 3", row, "share@gate", r->gate, gates, 0, 1);
}

/* ---- Table 8: questions, with the genuine and a forged key ---- */

typedef struct { char text[200]; const char *truth, *key, *forged; } question;

/* Test questions of the first triggered LSTM: where the two keys disagree first, then others. Returns how many; -1 on error. */
static int ask_some(lab *l, question *q)
{
    const ipr_index n = l->test->count;
    int32_t *got = (int32_t *)malloc((size_t)n * 2 * sizeof *got);
    char path[600];
    run r;
    FILE *f;
    ipr_index i;
    int pass, k = 0, st = make_run(l, 0, IPR_LSTM, &variants[KEYED_TRIGGERED], &r);
    model_path(&r, path, sizeof path);
    f = st ? NULL : fopen(path, "rb");
    if (f) fclose(f);
    if (!st && f && got && ipr_params_load(r.m->params, path, 0) == IPR_OK) {
        use_key(&r, r.m, NULL);
        ipr_classifier_predict(r.m, l->test, NULL, n, r.gate, WORDS, got, NULL);
        forge(&r, 0);
        use_key(&r, r.m, r.forged);
        ipr_classifier_predict(r.m, l->test, NULL, n, r.gate, WORDS, got + n, NULL);
        for (pass = 0; pass < 2; pass++)
            for (i = 0; i < n && k < (pass ? SHOWN : SHOWN - 3); i++) {
                const int32_t truth = ipr_dataset_label(l->test, i);
                size_t bytes;
                const char *s = ipr_texts_item(l->test_texts, i, &bytes);
                if ((got[i] != got[n + i]) == pass || (i * 7919) % 5 != pass) continue;
                snprintf(q[k].text, sizeof q[k].text, "%.*s", (int)(bytes < 190 ? bytes : 190), s);
                q[k].truth = l->test_texts->class_names[truth];
                q[k].key = l->test_texts->class_names[got[i]];
                q[k++].forged = l->test_texts->class_names[got[n + i]];
            }
    }
    st = st || ipr_status(l->c);
    free(got);
    free_run(&r);
    return st ? -1 : k;
}

/* ---- one unit of work: train, measure, attack; skipped when its last number is there ---- */

static int unit(lab *l, int seed, int cellkind, int v, int attacks)
{
    run r;
    const double began = ipr_now(l->c);
    char mark[16];
    int st = make_run(l, seed, cellkind, &variants[v], &r);
    snprintf(mark, sizeof mark, "done%d", attacks);
    if (!st && !cell_at("-", r.row, mark)->has[seed]) {
        st = train(&r);
        if (!st && !attacks) st = measure(&r);
        if (!st && !attacks && seed == 0) distributions(&r);
        if (!st && attacks) st = attack(&r);
        if (!st && stop_asked) st = 130;
        if (!st) put("-", r.row, attacks ? "seconds1" : "seconds0", seed, ipr_now(l->c) - began);
        if (!st) put("-", r.row, mark, seed, 1);
    }
    free_run(&r);
    l->done++;
    return st;
}

static const char *const notes[] = {
    "network: embedding 300, bidirectional layer of 300 units each way with two weight sets (a gate and a signature for each), dropout 0.5 on the embedding and 0.4 before the output; padding is never read",
    "default recipe: K = 1 key of 30 random rare words, 8 fresh wrong keys a step; (as in the paper): K = 8, hinge sign loss only",
    "50 triggers: training questions with a uniformly drawn wrong label, removed from the training set; a tenth of each batch is triggers, in turn",
    "all models, the baselines too: Adam 1e-3 with a cosine schedule, gradient norm clipped at 1; the last epoch is measured",
    "test_counterfeit: mean over 50 forged keys of the genuine key's generator on the whole test set; a forged key shares the genuine key's pool of words",
    "p_value: exact binomial of the triggers with the key (@key=none: without) against the null rate measured on test questions with random wrong labels; @rank: (1 + fresh keys that score as high) / (fresh + 1)",
    "fine-tuning and overwriting use the training questions without the triggers, at 1e-5 (the published code's rate, 5 epochs) and 1e-3 (1 epoch)",
    "lo, hi: Student t 95 % interval over the seeds; equal to ours when there is one seed",
};

static int write_json(lab *l, const question *q, int nq, const char *path)
{
    ipr_writer w;
    ipr_json j;
    size_t i;
    int k;
    if (ipr_writer_file(l->c, &w, path, 0) != IPR_OK) return broken(l, path);
    ipr_json_begin(&j, &w, 1);
    experiment_rows(&j, l->c, NAME, l->train->name, l->o.quick, l->o.seeds, paper, PAPERS);
    ipr_json_array(&j, "questions"); /* Table 8 */
    for (k = 0; k < nq; k++) {
        ipr_json_object(&j, NULL);
        ipr_json_str(&j, "text", q[k].text);
        ipr_json_str(&j, "truth", q[k].truth);
        ipr_json_str(&j, "key", q[k].key);
        ipr_json_str(&j, "counterfeit", q[k].forged);
        ipr_json_end(&j);
    }
    ipr_json_end(&j);
    ipr_json_array(&j, "notes");
    for (i = 0; i < sizeof notes / sizeof notes[0]; i++) ipr_json_str(&j, NULL, notes[i]);
    ipr_json_str(&j, NULL, l->init);
    ipr_json_str(&j, NULL, l->train->source);
    ipr_json_end(&j);
    ipr_json_end(&j);
    k = ipr_json_finish(&j) == IPR_OK && ipr_writer_commit(&w) == IPR_OK;
    ipr_writer_close(&w);
    return k ? 0 : broken(l, path);
}

/* ---- the page ---- */

static void html_table2(report *r)
{
    static const struct { const char *metric, *name; int decimals; } m[] = {
        { "test_no_key", "Test set\nno key", 2 }, { "test_key", "Test set\nowner's key", 2 }, { "test_counterfeit", "Test set\nforged keys", 2 },
        { "trigger_no_key", "Triggers\nno key", 1 }, { "trigger_key", "Triggers\nowner's key", 1 }, { "trigger_counterfeit", "Triggers\nforged keys", 1 },
        { "p_value", "Triggers\np-value", -1 }, { "signature", "Signature\nbits read, %", 1 }, { "train_minutes", "Training\nminutes", 1 },
    };
    enum { M = sizeof m / sizeof m[0] };
    const char *columns[M + 1];
    char row[64];
    int i, k, v;
    columns[0] = "Model";
    for (i = 0; i < (int)M; i++) columns[i + 1] = m[i].name;
    report_h2(r, "Accuracy with and without the key");
    report_text(r, "Table 2a of the paper. `k`: trained with a key; `kt`: with a key and triggers. The paper's minutes are of a P100 card.");
    report_table(r, "Per cent right; below it the interval over the seeds, where there are several, and the paper's number.", "lrrrrrrrrr", columns, M + 1);
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = 0; v < VARIANTS; v++) {
            if (!figure_of("Table 2a", row_name(row, sizeof row, k, v), "test_no_key").n) continue;
            report_row(r, row);
            for (i = 0; i < (int)M; i++) {
                const figure f = figure_of("Table 2a", row, m[i].metric);
                if (m[i].decimals < 0) report_cell_p(r, f.n ? report__log10(f.worst > 0 ? f.worst : 1e-300) : report_nan());
                else html_cell(r, "Table 2a", row, m[i].metric, m[i].decimals);
            }
        }
    report_table_end(r);
}

static void html_table4(report *r)
{
    static const struct { const char *attack, *name; double rate; } a[] = {
        { "finetune", "Fine-tuning\nlearning rate 1e-5", 1e-5 }, { "finetune", "Fine-tuning\nlearning rate 1e-3", 1e-3 },
        { "overwrite", "Overwriting\nlearning rate 1e-5", 1e-5 }, { "overwrite", "Overwriting\nlearning rate 1e-3", 1e-3 } };
    static const char *const columns[] = { "Attack", "Test set\nowner's key", "Triggers\nowner's key", "Signature\n% of bits" };
    static const char *const what[] = { "test_key", "trigger_key", "signature" };
    char row[64], metric[48];
    int k, i, w;
    report_h2(r, "Fine-tuning and overwriting");
    report_text(r, "Table 4a of the paper. The thief trains on: without any key, or embedding a key and signature of his own.");
    report_table(r, NULL, "lrrr", columns, 4);
    for (k = IPR_LSTM; k <= IPR_GRU; k++) {
        if (!figure_of("Table 4a", row_name(row, sizeof row, k, KEYED_TRIGGERED), "test_key@finetune=1e-05").n) continue;
        report_group(r, row);
        report_row(r, "None");
        for (w = 0; w < 3; w++) report_cell_num(r, figure_of("Table 2a", row, what[w]).mean, w ? 1 : 2);
        for (i = 0; i < 4; i++) {
            report_row(r, a[i].name);
            for (w = 0; w < 3; w++) html_cell(r, "Table 4a", row, metric_at(metric, sizeof metric, what[w], a[i].attack, a[i].rate), w ? 1 : 2);
        }
    }
    report_table_end(r);
}

static void html_table8(report *r, const question *q, int n)
{
    static const char *const columns[] = { "Question", "Truth", "Owner's key", "Forged key" };
    int i;
    if (n < 1) return;
    report_h2(r, "Questions");
    report_text(r, "Table 8 of the paper: test questions that the two keys answer differently, and some that they do not.");
    report_table(r, "BiLSTM_kt, seed 1, one forged key.", "llll", columns, 4);
    for (i = 0; i < n; i++) {
        report_row(r, q[i].text);
        report_cell(r, q[i].truth);
        report_cell(r, q[i].key);
        report_cell(r, q[i].forged);
    }
    report_table_end(r);
}

static void html_figures(report *r)
{
    static const double levels[] = { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1 };
    static const char *const what[] = { "test_key", "trigger_key", "signature" }, *const name[] = { "test set, owner's key", "triggers, owner's key", "signature bits" };
    char row[2][64], title[96], genuine[96], forged[96];
    curve lines[3];
    int k, i;
    report_h2(r, "Pruning and sign flipping");
    report_text(r, "Figures 4a and 5a of the paper: the smallest weights of the whole network become zero; part of the signature is trained to the other sign.");
    report_grid(r);
    for (k = IPR_LSTM; k <= IPR_GRU; k++) {
        row_name(row[0], sizeof row[0], k, KEYED_TRIGGERED);
        for (i = 0; i < 3; i++) { lines[i].row = row[0]; lines[i].what = what[i]; lines[i].name = name[i]; }
        snprintf(title, sizeof title, "%s: pruning", row[0]);
        html_curves(r, "Fig 4a", "prune", levels, 11, lines, 3, title, NULL, "weights removed");
        snprintf(title, sizeof title, "%s: sign flipping", row[0]);
        html_curves(r, "Fig 5a", "flip", levels, 11, lines, 3, title, NULL, "signature bits changed");
    }
    report_grid_end(r);
    report_h2(r, "Gates and weights");
    report_text(r, "Figures 3 and 6 of the paper. A key becomes gates between 0 and 1 that multiply the states: near 1 the state passes. The recurrent weights of a protected network look like those of an unprotected one.");
    report_grid(r);
    for (k = IPR_LSTM; k <= IPR_GRU; k++) {
        row_name(row[0], sizeof row[0], k, KEYED_TRIGGERED);
        row_name(row[1], sizeof row[1], k, BASELINE);
        snprintf(genuine, sizeof genuine, "%s genuine", row[0]);
        snprintf(forged, sizeof forged, "%s forged", row[0]);
        for (i = 0; i < 2; i++) { lines[i].row = i ? forged : genuine; lines[i].what = "share@gate"; lines[i].name = i ? "forged key" : "owner's key"; }
        snprintf(title, sizeof title, "%s: gates", row[0]);
        html_histograms(r, "Fig 3", lines, 2, 0, 1, title, NULL, "gate value");
        for (i = 0; i < 2; i++) { lines[i].row = row[i]; lines[i].what = "share@weight"; lines[i].name = i ? "unprotected" : "protected"; }
        snprintf(title, sizeof title, "%s: recurrent weights", row[0]);
        html_histograms(r, "Fig 6", lines, 2, -1, 1, title, NULL, "weight");
    }
    report_grid_end(r);
}

static int write_html(lab *l, const question *q, int nq)
{
    static report r;
    char path[600], text[900], row[64], value[3][64];
    report_figure f[3];
    int i;
    const char *const kt = row_name(row, sizeof row, IPR_LSTM, KEYED_TRIGGERED);
    const figure p = figure_of("Verdict", kt, "p_value@rank=function"), base = figure_of("Table 2a", "BiLSTM", "test_no_key");
    const figure key = figure_of("Table 2a", kt, "test_key"), none = figure_of("Table 2a", kt, "test_no_key"), forged = figure_of("Table 2a", kt, "test_counterfeit");
    snprintf(path, sizeof path, "%s/" NAME ".html", l->o.out);
    report_open(&r, path, "Gatekeeper on questions", "Bidirectional networks that sort questions into six classes, with a key in each direction");
    snprintf(text, sizeof text, "Networks of 2 x %d units learned from %d questions (%s).", l->o.hidden, (int)l->train->count, l->real_data ? "TREC" : "built-in grammar: no TREC was found");
    if (base.n) snprintf(text + strlen(text), sizeof text - strlen(text), " The unprotected LSTM answers **%.2f %%** of the %d test questions rightly.", base.mean, (int)l->test->count);
    if (key.n) snprintf(text + strlen(text), sizeof text - strlen(text), " Protected: **%.2f %%** without a key, **%.2f %%** with the owner's key, **%.2f %%** with forged keys of the same kind.", none.mean, key.mean, forged.mean);
    report_lead(&r, text);
    if (l->o.quick || !l->real_data) report_note(&r, "A quick run, or built-in questions: the paper's numbers stand here for orientation only.");
    if (p.n) {
        memset(f, 0, sizeof f);
        snprintf(value[0], sizeof value[0], "%d of %d", (int)(p.worst * (l->o.fresh + 1) + 0.5), l->o.fresh + 1);
        f[0].label = "Rank of the key";
        snprintf(value[1], sizeof value[1], "%.1f %%", figure_of("Table 2a", kt, "signature").mean);
        f[1].label = "Signature bits read";
        snprintf(value[2], sizeof value[2], "%.1f %%", figure_of("Table 2a", kt, "trigger_key").mean);
        f[2].label = "Triggers with the key";
        for (i = 0; i < 3; i++) f[i].value = value[i];
        snprintf(text, sizeof text, "Owned if the right answers are likelier under the owner's key than under all of %d fresh keys of the same generator.", l->o.fresh);
        report_verdict(&r, p.worst <= 1.0 / (l->o.fresh + 1) + 1e-9 ? REPORT_OWNED : REPORT_NOT_OWNED, "Does the network hold the owner's key?", report__log10(p.worst), text, f, 3);
    }
    html_table2(&r);
    html_table8(&r, q, nq);
    html_table4(&r);
    html_figures(&r);
    report_h2(&r, "Notes");
    report_list(&r, notes, (int)(sizeof notes / sizeof notes[0]));
    report_text(&r, l->init);
    if (!report_close(&r)) return 0;
    fprintf(stderr, "%s\n", report_error(&r));
    return 1;
}

/* ---- data ---- */

static int load_data(lab *l)
{
    const char *const roots[3] = { getenv("IPR_DATA"), "data", "build/data" };
    ipr_text_desc td = IPR_ZERO;
    ipr_vocab_desc vd = IPR_ZERO;
    ipr_encode_desc ed = IPR_ZERO;
    ipr_texts *train = NULL;
    const ipr_texts *list[1];
    char a[600], b[600];
    td.format = IPR_TEXT_TREC;
    td.name = "trec";
    if (ipr_data_find(l->c, roots, 3, "trec/train_5500.label", a, sizeof a) == IPR_OK && ipr_data_find(l->c, roots, 3, "trec/TREC_10.label", b, sizeof b) == IPR_OK) {
        train = ipr_texts_load(l->c, a, &td);
        td.like = train;
        l->test_texts = train ? ipr_texts_load(l->c, b, &td) : NULL;
        l->real_data = 1;
    } else {
        fprintf(stderr, "No TREC in $IPR_DATA, ./data or build/data (make data NAMES=trec fetches it): using built-in questions.\n");
        train = ipr_texts_questions(l->c, 1, 0, 3000);
        l->test_texts = ipr_texts_questions(l->c, 1, IPR_DIGITS_TEST, 600);
    }
    vd.tokenizer = IPR_TOK_SPACE;
    vd.lower = 1;
    ed.max_tokens = WORDS - 1; /* as the published code: every step is gated */
    list[0] = train;
    if (!ipr_status(l->c)) l->vocab = ipr_vocab_build(l->c, &vd, list, 1);
    l->train = ipr_dataset_texts(train, l->vocab, &ed);
    l->test = ipr_dataset_texts(l->test_texts, l->vocab, &ed);
    if (ipr_status(l->c) || !l->train || !l->test) return broken(l, "data");
    if (l->o.train_items < l->train->count) { /* quick: the first items, as many of each class as there are */
        ipr_dataset *all = l->train;
        l->train = ipr_dataset_split(all, (double)l->o.train_items / (double)all->count, 1, NULL);
        ipr_dataset_free(all);
    }
    ipr_texts_free(train);
    l->init = l->o.vectors ? "embeddings: pretrained vectors, trained on" : "embeddings: random, N(0, 0.1^2), for all models alike; no pretrained vectors (the paper's are fastText's); --vectors FILE reads some";
    fprintf(stderr, "Data: %s, %d training and %d test questions, vocabulary %d. %s kernels, %d thread%s.\n", l->train->name, (int)l->train->count, (int)l->test->count,
            (int)ipr_vocab_size(l->vocab), ipr_isa_name(ipr_isa(l->c)), ipr_threads(l->c), ipr_threads(l->c) == 1 ? "" : "s");
    return 0;
}

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

static int run_all(lab *l)
{
    char row[64];
    int seed, k, v, pass, st;
    for (pass = 0; pass < 2; pass++) /* first count, then work */
        for (seed = 0; seed < l->o.seeds; seed++)
            for (k = IPR_LSTM; k <= IPR_GRU; k++)
                for (v = 0; v < VARIANTS; v++) {
                    row_name(row, sizeof row, k, v);
                    if (l->o.only ? strncmp(row, l->o.only, strlen(l->o.only)) != 0 : l->o.quick && (k == IPR_GRU || v == KEYED || v == AS_IN_PAPER)) continue;
                    if (!pass) { l->todo += v == KEYED_TRIGGERED ? 2 : 1; continue; }
                    st = unit(l, seed, k, v, 0);
                    if (!st && v == KEYED_TRIGGERED) st = unit(l, seed, k, v, 1);
                    if (st) return st;
                }
    return 0;
}

static const char usage[] =
    "usage: gatekeeper_trec6 [options]\n"
    "  Trains bidirectional LSTM and GRU networks on TREC questions with Gatekeeper keys, attacks them, and writes\n"
    "  OUT/gatekeeper-trec6.json and .html beside the paper's figures.\n"
    "  --quick         one seed, one protected LSTM of 100 units and its baseline, 2000 questions\n"
    "  --seeds N       1 to 16; default 5\n"
    "  --threads N     default: all processors\n"
    "  --only ROWS     rows that begin with this, e.g. BiLSTM_kt, or BiGRU for all of them\n"
    "  --epochs N      default 10\n"
    "  --batch N       default 32; the paper has 10, which takes twice the time\n"
    "  --vectors FILE  pretrained word vectors (.vec of fastText or word2vec, GloVe's .txt), 300 numbers a word\n"
    "  --out DIR       default results\n"
    "  --fresh         forget what an earlier, stopped run measured\n"
    "Exit: 0 done, 1 could not finish, 2 wrong usage, 130 stopped (the next run goes on from there).\n";

static int parse(int argc, char **argv, options *o)
{
    int i, epochs = 0, batch = 0;
    o->out = "results";
    o->seeds = 5;
    o->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads < 1) o->threads = 1;
    if (o->threads > 16) o->threads = 16;
    o->epochs = 10;
    o->batch = 32;
    o->hidden = o->embed = 300;
    o->forgeries = 50;
    o->fresh = FRESH;
    o->attack_epochs = 5;
    o->train_items = 1 << 30;
    for (i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { fputs(usage, stdout); exit(0); }
        else if (!strcmp(argv[i], "--quick")) o->quick = 1;
        else if (!strcmp(argv[i], "--fresh")) o->fresh_start = 1;
        else if (!strcmp(argv[i], "--seeds") && number(next, 1, MAX_SEEDS, &o->seeds)) i++;
        else if (!strcmp(argv[i], "--threads") && number(next, 1, 64, &o->threads)) i++;
        else if (!strcmp(argv[i], "--epochs") && number(next, 1, 1000, &epochs)) i++;
        else if (!strcmp(argv[i], "--batch") && number(next, 1, 256, &batch)) i++;
        else if (!strcmp(argv[i], "--only") && next) o->only = argv[++i];
        else if (!strcmp(argv[i], "--vectors") && next) o->vectors = argv[++i];
        else if (!strcmp(argv[i], "--out") && next) o->out = argv[++i];
        else { fprintf(stderr, "%s: not understood, or its value is missing or out of range\n%s", argv[i], usage); return 2; }
    }
    if (o->quick) {
        o->seeds = 1;
        o->epochs = 12;
        o->batch = 20;
        o->hidden = 100;
        if (!o->vectors) o->embed = 100;
        o->forgeries = 10;
        o->fresh = 199;
        o->attack_epochs = 1;
        o->train_items = 2000;
    }
    if (epochs) o->epochs = epochs;
    if (batch) o->batch = batch;
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const shown[] = { "test_no_key", "test_key", "test_counterfeit", "trigger_key", "signature", "p_value", "p_value@rank=function", "accepted@kind=same",
                                         "signature@prune=0.6", "signature@finetune=1e-05", "signature@overwrite=1e-05", "signature@overwrite=0.001" };
    static question asked[SHOWN];
    lab l;
    ipr_desc d = IPR_ZERO;
    char path[600], settings[300];
    int st, nq = 0;
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
    st = load_data(&l);
    if (!st) {
        snprintf(settings, sizeof settings, "# %s %s %d %d %d %d %d %d %d %.60s", IPR_VERSION_STRING, l.train->name, (int)l.train->count, l.o.epochs, l.o.batch, l.o.hidden, l.o.forgeries, l.o.fresh, l.o.attack_epochs, l.o.vectors ? l.o.vectors : "");
        snprintf(path, sizeof path, "%s/" NAME ".part", l.o.out);
        st = experiment_open(path, settings, l.o.fresh_start);
        if (st == 0) forget_models(&l);
        st = st < 0;
    }
    if (!st) st = run_all(&l);
    if (!st && (nq = ask_some(&l, asked)) < 0) st = broken(&l, "questions");
    snprintf(path, sizeof path, "%s/" NAME ".json", l.o.out);
    if (!st) st = write_json(&l, asked, nq, path);
    if (!st) st = write_html(&l, asked, nq);
    if (!st) print_figures(paper, PAPERS, shown, (int)(sizeof shown / sizeof shown[0]));
    if (!st) printf("Report: %s/" NAME ".html\n", l.o.out);
    if (part) fclose(part);
    if (st == 130) fprintf(stderr, "\nStopped. The same command goes on from here.\n");
    ipr_close(l.c);
    return st;
}
