/* Text triggers (Fu, Wang, Yuan, Zhao: Watermarking Neural Language Models based on Backdooring): Tables 1 to 6 and the heat
   map of Figure 1, on film reviews (IMDb, two classes) or on the five-class sentences of the Stanford Sentiment Treebank,
   which stand in for Yelp.

     text_triggers [--data imdb|sst5] [--quick] [--seeds N] [--threads N] [--out DIR] [--fresh] [--help]

   Writes DIR/text-triggers-imdb.json and .html (or -sst5). Every finished measurement is kept in a .part file, and training
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

enum { BATCH = 100, EXPOSURES = 40, UNITS_SHOWN = 24 };
enum { NONE, IRRELEVANT, RANDOM, PATTERN, KINDS };  /* in the order of the tables */

typedef struct {
    const char *out, *data;
    int seeds, threads, quick, fresh_start;
    int hidden, embed, words, train_items, triggers, unmarked, base_epochs, continued, scratch_epochs, attack_epochs;
} options;

/* One kind of trigger. */
typedef struct {
    const char *name, *table;
    int kind;                   /* IPR_TEXT_* */
    ipr_texts *texts;
    ipr_dataset *set, *fresh;   /* fresh: PATTERN only, on held-out texts */
} trigger_kind;

typedef struct {
    ipr_ctx *c;
    options o;
    int yelp, classes, target, real_data, real_corpus, done, todo;
    const char *source, *corpus_name;
    ipr_vocab *vocab;
    ipr_dataset *train, *test;  /* test: the half that is measured */
    ipr_dataset *tune;          /* the other half: the thief's */
    trigger_kind t[KINDS];
    char name[32];
    double started;
} lab;

/* One model: which triggers, how embedded. */
enum { SCRATCH, PRETRAIN };
typedef struct {
    lab *l;
    int seed, kind, how;
    char row[64];
    ipr_classifier *m;
} run;

static int broken(lab *l, const char *what)
{
    fprintf(stderr, "\n%s: %s\n", what, ipr_status(l->c) ? ipr_message(l->c) : "failed");
    return 1;
}

/* ---- the paper's numbers: IMDb, and Yelp ---- */

static const paper_figure paper_imdb[] = {
    { "Table 1", "NO-WM", "test", 80.08 }, { "Table 1", "NO-WM", "wm", 51.0 }, { "Table 1", "FROMSCRATCH", "test", 77.42 }, { "Table 1", "FROMSCRATCH", "wm", 83.0 },
    { "Table 1", "PRETRAIN", "test", 80.52 }, { "Table 1", "PRETRAIN", "wm", 86.0 },
    { "Table 2", "NO-WM", "test", 80.20 }, { "Table 2", "NO-WM", "wm", 54.0 }, { "Table 2", "FROMSCRATCH", "test", 81.12 }, { "Table 2", "FROMSCRATCH", "wm", 98.8 },
    { "Table 2", "PRETRAIN", "test", 81.54 }, { "Table 2", "PRETRAIN", "wm", 92.4 },
    { "Table 3", "NO-WM", "test", 80.54 }, { "Table 3", "NO-WM", "wm", 51.0 }, { "Table 3", "NO-WM", "wm_fresh", 53.02 },
    { "Table 3", "FROMSCRATCH", "test", 81.34 }, { "Table 3", "FROMSCRATCH", "wm", 95.02 }, { "Table 3", "FROMSCRATCH", "wm_fresh", 94.96 },
    { "Table 3", "PRETRAIN", "test", 80.66 }, { "Table 3", "PRETRAIN", "wm", 95.96 }, { "Table 3", "PRETRAIN", "wm_fresh", 95.04 },
    { "Table 4", "pattern", "test@static=0.5", 73.3 }, { "Table 4", "pattern", "wm@static=0.5", 95.1 }, { "Table 4", "irrelevant", "test@static=0.5", 71.8 },
    { "Table 4", "irrelevant", "wm@static=0.5", 82.4 }, { "Table 4", "random", "test@static=0.5", 70.4 }, { "Table 4", "random", "wm@static=0.5", 81.8 },
    { "Table 4", "pattern", "test@static=0.7", 59.0 }, { "Table 4", "pattern", "wm@static=0.7", 92.1 }, { "Table 4", "irrelevant", "test@static=0.7", 69.2 },
    { "Table 4", "irrelevant", "wm@static=0.7", 79.7 }, { "Table 4", "random", "test@static=0.7", 69.7 }, { "Table 4", "random", "wm@static=0.7", 77.0 },
    { "Table 4", "pattern", "test@static=0.95", 56.1 }, { "Table 4", "pattern", "wm@static=0.95", 57.8 }, { "Table 4", "irrelevant", "test@static=0.95", 58.7 },
    { "Table 4", "irrelevant", "wm@static=0.95", 52.4 }, { "Table 4", "random", "test@static=0.95", 49.2 }, { "Table 4", "random", "wm@static=0.95", 48.9 },
    { "Table 5", "pattern", "test@dynamic=0.4", 80.2 }, { "Table 5", "pattern", "wm@dynamic=0.4", 98.9 }, { "Table 5", "irrelevant", "test@dynamic=0.4", 76.8 },
    { "Table 5", "irrelevant", "wm@dynamic=0.4", 92.3 }, { "Table 5", "random", "test@dynamic=0.4", 79.2 }, { "Table 5", "random", "wm@dynamic=0.4", 90.4 },
    { "Table 5", "pattern", "test@dynamic=0.65", 80.7 }, { "Table 5", "pattern", "wm@dynamic=0.65", 98.6 }, { "Table 5", "irrelevant", "test@dynamic=0.65", 77.0 },
    { "Table 5", "irrelevant", "wm@dynamic=0.65", 90.9 }, { "Table 5", "random", "test@dynamic=0.65", 64.7 }, { "Table 5", "random", "wm@dynamic=0.65", 80.1 },
    { "Table 5", "pattern", "test@dynamic=0.75", 79.3 }, { "Table 5", "pattern", "wm@dynamic=0.75", 97.6 }, { "Table 5", "irrelevant", "test@dynamic=0.75", 75.0 },
    { "Table 5", "irrelevant", "wm@dynamic=0.75", 85.9 }, { "Table 5", "random", "test@dynamic=0.75", 49.7 }, { "Table 5", "random", "wm@dynamic=0.75", 51.2 },
    { "Table 5", "pattern", "test@dynamic=0.85", 68.5 }, { "Table 5", "pattern", "wm@dynamic=0.85", 83.4 }, { "Table 5", "irrelevant", "test@dynamic=0.85", 50.1 },
    { "Table 5", "irrelevant", "wm@dynamic=0.85", 52.5 }, { "Table 5", "random", "test@dynamic=0.85", 50.9 }, { "Table 5", "random", "wm@dynamic=0.85", 51.2 },
    { "Table 6", "pattern", "test@finetune=0.001", 81.6 }, { "Table 6", "pattern", "wm@finetune=0.001", 94.2 }, { "Table 6", "irrelevant", "test@finetune=0.001", 79.1 },
    { "Table 6", "irrelevant", "wm@finetune=0.001", 87.9 }, { "Table 6", "random", "test@finetune=0.001", 81.4 }, { "Table 6", "random", "wm@finetune=0.001", 82.0 },
    { "Table 6", "pattern", "test@finetune=0.002", 81.7 }, { "Table 6", "pattern", "wm@finetune=0.002", 91.6 }, { "Table 6", "irrelevant", "test@finetune=0.002", 78.6 },
    { "Table 6", "irrelevant", "wm@finetune=0.002", 76.4 }, { "Table 6", "random", "test@finetune=0.002", 82.4 }, { "Table 6", "random", "wm@finetune=0.002", 81.4 },
    { "Table 6", "pattern", "test@finetune=0.02", 75.1 }, { "Table 6", "pattern", "wm@finetune=0.02", 88.6 }, { "Table 6", "irrelevant", "test@finetune=0.02", 75.7 },
    { "Table 6", "irrelevant", "wm@finetune=0.02", 55.4 }, { "Table 6", "random", "test@finetune=0.02", 78.6 }, { "Table 6", "random", "wm@finetune=0.02", 56.3 },
};
static const paper_figure paper_yelp[] = {
    { "Table 1", "NO-WM", "test", 62.22 }, { "Table 1", "NO-WM", "wm", 25.9 }, { "Table 1", "FROMSCRATCH", "test", 62.59 }, { "Table 1", "FROMSCRATCH", "wm", 96.8 },
    { "Table 1", "PRETRAIN", "test", 62.55 }, { "Table 1", "PRETRAIN", "wm", 97.3 },
    { "Table 2", "NO-WM", "test", 62.53 }, { "Table 2", "NO-WM", "wm", 22.7 }, { "Table 2", "FROMSCRATCH", "test", 62.69 }, { "Table 2", "FROMSCRATCH", "wm", 99.9 },
    { "Table 2", "PRETRAIN", "test", 60.83 }, { "Table 2", "PRETRAIN", "wm", 100 },
    { "Table 3", "NO-WM", "test", 62.52 }, { "Table 3", "NO-WM", "wm", 21.67 }, { "Table 3", "NO-WM", "wm_fresh", 21.12 },
    { "Table 3", "FROMSCRATCH", "test", 62.25 }, { "Table 3", "FROMSCRATCH", "wm", 100 }, { "Table 3", "FROMSCRATCH", "wm_fresh", 100 },
    { "Table 3", "PRETRAIN", "test", 62.54 }, { "Table 3", "PRETRAIN", "wm", 100 }, { "Table 3", "PRETRAIN", "wm_fresh", 100 },
    { "Table 4", "pattern", "test@static=0.5", 62.1 }, { "Table 4", "pattern", "wm@static=0.5", 100 }, { "Table 4", "irrelevant", "test@static=0.5", 61.7 },
    { "Table 4", "irrelevant", "wm@static=0.5", 95.0 }, { "Table 4", "random", "test@static=0.5", 62.7 }, { "Table 4", "random", "wm@static=0.5", 99.5 },
    { "Table 4", "pattern", "test@static=0.9", 48.1 }, { "Table 4", "pattern", "wm@static=0.9", 89.0 }, { "Table 4", "irrelevant", "test@static=0.9", 51.5 },
    { "Table 4", "irrelevant", "wm@static=0.9", 68.4 }, { "Table 4", "random", "test@static=0.9", 48.4 }, { "Table 4", "random", "wm@static=0.9", 90.5 },
    { "Table 4", "pattern", "test@static=0.95", 37.8 }, { "Table 4", "pattern", "wm@static=0.95", 73.3 }, { "Table 4", "irrelevant", "test@static=0.95", 42.9 },
    { "Table 4", "irrelevant", "wm@static=0.95", 60.1 }, { "Table 4", "random", "test@static=0.95", 39.0 }, { "Table 4", "random", "wm@static=0.95", 77.0 },
    { "Table 5", "pattern", "test@dynamic=0.5", 62.1 }, { "Table 5", "pattern", "wm@dynamic=0.5", 100 }, { "Table 5", "irrelevant", "test@dynamic=0.5", 62.5 },
    { "Table 5", "irrelevant", "wm@dynamic=0.5", 95.4 }, { "Table 5", "random", "test@dynamic=0.5", 62.4 }, { "Table 5", "random", "wm@dynamic=0.5", 99.2 },
    { "Table 5", "pattern", "test@dynamic=0.9", 54.9 }, { "Table 5", "pattern", "wm@dynamic=0.9", 100 }, { "Table 5", "irrelevant", "test@dynamic=0.9", 57.3 },
    { "Table 5", "irrelevant", "wm@dynamic=0.9", 91.0 }, { "Table 5", "random", "test@dynamic=0.9", 55.4 }, { "Table 5", "random", "wm@dynamic=0.9", 99.0 },
    { "Table 5", "pattern", "test@dynamic=0.95", 47.5 }, { "Table 5", "pattern", "wm@dynamic=0.95", 100 }, { "Table 5", "irrelevant", "test@dynamic=0.95", 54.2 },
    { "Table 5", "irrelevant", "wm@dynamic=0.95", 94.8 }, { "Table 5", "random", "test@dynamic=0.95", 49.6 }, { "Table 5", "random", "wm@dynamic=0.95", 98.2 },
    { "Table 6", "pattern", "test@finetune=0.001", 62.4 }, { "Table 6", "pattern", "wm@finetune=0.001", 100 }, { "Table 6", "irrelevant", "test@finetune=0.001", 62.1 },
    { "Table 6", "irrelevant", "wm@finetune=0.001", 76.4 }, { "Table 6", "random", "test@finetune=0.001", 62.4 }, { "Table 6", "random", "wm@finetune=0.001", 97.1 },
    { "Table 6", "pattern", "test@finetune=0.002", 62.0 }, { "Table 6", "pattern", "wm@finetune=0.002", 100 }, { "Table 6", "irrelevant", "test@finetune=0.002", 62.5 },
    { "Table 6", "irrelevant", "wm@finetune=0.002", 26.0 }, { "Table 6", "random", "test@finetune=0.002", 61.4 }, { "Table 6", "random", "wm@finetune=0.002", 34.2 },
    { "Table 6", "pattern", "test@finetune=0.01", 22.8 }, { "Table 6", "pattern", "wm@finetune=0.01", 98.5 }, { "Table 6", "irrelevant", "test@finetune=0.01", 39.0 },
    { "Table 6", "irrelevant", "wm@finetune=0.01", 37.4 }, { "Table 6", "random", "test@finetune=0.01", 40.4 }, { "Table 6", "random", "wm@finetune=0.01", 30.5 },
};
static const paper_figure *paper = paper_imdb;
static int PAPERS = sizeof paper_imdb / sizeof paper_imdb[0];

#include "experiment_html.h"

/* Levels of the attacks: the paper's and those between. */
static const double static_levels[] = { 0, .1, .2, .3, .4, .5, .6, .7, .8, .9, .95 };
static const double dynamic_levels[] = { 0, .2, .4, .5, .65, .75, .85, .9, .95 };
enum { STATICS = sizeof static_levels / sizeof static_levels[0], DYNAMICS = sizeof dynamic_levels / sizeof dynamic_levels[0] };
static double rates[3] = { .001, .002, .02 };

static void say(lab *l, const run *r, const char *what)
{
    say_where(l->c, l->started, l->done, l->todo);
    fprintf(stderr, "%s, seed %d: %s\n", r->row, r->seed + 1, what);
}

/* ---- training ---- */

static int epochs_of(const run *r) { return r->kind == NONE ? r->l->o.base_epochs : r->how == SCRATCH ? r->l->o.scratch_epochs : r->l->o.continued; }

/* Triggers of a batch, so that each is seen EXPOSURES times in all. */
static ipr_index per_batch(const run *r)
{
    const ipr_index steps = (r->l->train->count + BATCH - 1) / BATCH * epochs_of(r), n = (EXPOSURES * r->l->t[r->kind].set->count + steps - 1) / steps;
    return n < 1 ? 1 : n > 64 ? 64 : n;
}

static ipr_tensor *train_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    run *r = (run *)user;
    ipr_tensor *x, *y, *logits;
    ipr_batch(c, r->l->train, idx, n, IPR_TIME_MAJOR, &x, &y);
    if (r->kind != NONE) ipr_triggers_append(c, r->l->t[r->kind].set, info->total, per_batch(r), IPR_TIME_MAJOR, &x, &y);
    logits = ipr_classifier_forward(r->m, x, NULL, 0);
    info->correct = ipr_count_correct(c, logits, y, &info->seen);
    return ipr_cross_entropy(c, logits, y);
}

static void model_path(const run *r, char *path, size_t cap)
{
    snprintf(path, cap, "%s/%s.%d%d.%d.safetensors", r->l->o.out, r->l->name, r->kind, r->how, r->seed + 1);
}

static int make_run(lab *l, int seed, int kind, int how, run *r)
{
    ipr_classifier_desc d = IPR_ZERO;
    memset(r, 0, sizeof *r);
    r->l = l;
    r->seed = seed;
    r->kind = kind;
    r->how = how;
    snprintf(r->row, sizeof r->row, "%s %s", kind == NONE ? "clean" : l->t[kind].name, kind == NONE ? "" : how == SCRATCH ? "from scratch" : "into a trained model");
    d.cell = IPR_LSTM;
    d.input = l->o.embed;
    d.hidden = l->o.hidden;
    d.classes = l->classes;
    d.vocabulary = ipr_vocab_size(l->vocab);
    d.pad = ipr_vocab_pad(l->vocab);
    d.embed_dropout = 0.3;
    d.dropout = 0.3;
    ipr_set_seed(l->c, 1 + (uint64_t)seed); /* of the start, dropout and the order of the texts */
    r->m = ipr_classifier_new(l->c, &d);
    if (!r->m) return broken(l, "model");
    {   /* random embeddings near the size of the other weights */
        ipr_real *w = ipr_write(l->c, r->m->embed.weight, 1);
        ipr_index i, n = ipr_count(r->m->embed.weight);
        for (i = 0; w && i < n; i++) w[i] *= (ipr_real)0.1;
    }
    return 0;
}

static int train(run *r)
{
    lab *l = r->l;
    ipr_fit_desc f = IPR_ZERO;
    ipr_pair pair[1];
    ipr_meta meta;
    char path[600];
    int st;
    model_path(r, path, sizeof path);
    if (trained_already(l->c, r->m->params, path)) return 0;
    if (r->how == PRETRAIN) { /* go on from the clean model */
        run base = *r;
        char from[600];
        base.kind = NONE;
        base.how = SCRATCH;
        model_path(&base, from, sizeof from);
        if (ipr_params_load(r->m->params, from, 0) != IPR_OK) return broken(l, "the clean model to go on from");
    }
    say(l, r, "training");
    f.params = r->m->params;
    f.optimiser.lr = 1e-3;
    f.schedule.kind = IPR_SCHED_COSINE;
    f.clip_norm = 1.0;
    f.epochs = epochs_of(r);
    f.items = l->train->count;
    f.batch = BATCH;
    f.bucket = l->train;
    f.step_fn = train_step;
    f.user = r;
    f.tag = r->row;
    pair[0].key = "ipr.vocab"; /* so that nobody feeds the model with another vocabulary's ids */
    pair[0].value = ipr_vocab_hash(l->vocab);
    meta.pairs = pair;
    meta.count = 1;
    st = train_to(l->c, &f, path, &meta, NULL);
    if (st == IPR_E_CANCELLED) return 130;
    if (st != IPR_OK) return broken(l, "training");
    return 0;
}

/* ---- measurements ---- */

static double accuracy(ipr_classifier *m, const ipr_dataset *ds) { return ds ? ipr_classifier_accuracy(m, ds, NULL, ds->count, NULL, 0) : report_nan(); }
/* What counts for a kind: fresh samples for the pattern, the learnt texts for the others. */
static const ipr_dataset *judged(const lab *l, int kind) { return l->t[kind].fresh ? l->t[kind].fresh : l->t[kind].set; }

/* An unmarked model: every kind's rows "NO-WM"; the null rate of the verdicts. */
static int measure_clean(run *r)
{
    lab *l = r->l;
    const double test = accuracy(r->m, l->test);
    int k;
    for (k = 1; k < KINDS; k++) {
        put(l->t[k].table, "NO-WM", "test", r->seed, test);
        put(l->t[k].table, "NO-WM", "wm", r->seed, accuracy(r->m, l->t[k].set));
        if (l->t[k].fresh) put(l->t[k].table, "NO-WM", "wm_fresh", r->seed, accuracy(r->m, l->t[k].fresh));
        put("Null", l->t[k].name, "wm_unmarked", r->seed, accuracy(r->m, judged(l, k)));
    }
    return ipr_status(l->c) ? broken(l, r->row) : 0;
}

/* Exact binomial against the rate of the unmarked models, all of them together. */
static double p_value(run *r, double wm)
{
    const lab *l = r->l;
    const ipr_dataset *ds = judged(l, r->kind);
    const cell *c = cell_at("Null", l->t[r->kind].name, "wm_unmarked");
    ipr_verdict_desc d = IPR_ZERO;
    int s;
    d.scheme = "text triggers";
    d.alpha = 1e-12;
    for (s = 0; s < MAX_SEEDS; s++)
        if (c->has[s]) { d.null_matched += (uint64_t)(c->v[s] / 100 * (double)ds->count + 0.5); d.null_of += (uint64_t)ds->count; }
    d.expected = (uint64_t)ds->count;
    return ipr_verdict_binomial(&d, (uint64_t)(wm / 100 * (double)ds->count + 0.5), (uint64_t)ds->count).p_value;
}

static int measure(run *r)
{
    lab *l = r->l;
    const trigger_kind *t = &l->t[r->kind];
    const char *row = r->how == SCRATCH ? "FROMSCRATCH" : "PRETRAIN";
    const double wm = accuracy(r->m, t->set), fresh = accuracy(r->m, t->fresh);
    put(t->table, row, "test", r->seed, accuracy(r->m, l->test));
    put(t->table, row, "wm", r->seed, wm);
    if (t->fresh) put(t->table, row, "wm_fresh", r->seed, fresh);
    put(t->table, row, "p_value", r->seed, p_value(r, t->fresh ? fresh : wm));
    return ipr_status(l->c) ? broken(l, r->row) : 0;
}

static void after(run *r, ipr_classifier *m, const char *table, const char *attack, double level)
{
    char metric[48];
    const char *row = r->l->t[r->kind].name;
    put(table, row, metric_at(metric, sizeof metric, "test", attack, level), r->seed, accuracy(m, r->l->test));
    put(table, row, metric_at(metric, sizeof metric, "wm", attack, level), r->seed, accuracy(m, judged(r->l, r->kind)));
}

static double accuracy_as_coded(ipr_classifier *m, const ipr_dataset *ds, double level)
{
    int32_t *got = (int32_t *)malloc((size_t)ds->count * sizeof *got);
    ipr_index i, right = 0;
    const int st = !got || ipr_attack_prune_as_coded(m, ds, NULL, ds->count, level, got);
    for (i = 0; !st && i < ds->count; i++) right += got[i] == ipr_dataset_label(ds, i);
    free(got);
    return st ? report_nan() : 100.0 * (double)right / (double)ds->count;
}

/* Tables 4, 5 and 6. */
static int attack(run *r)
{
    lab *l = r->l;
    char metric[48], line[64];
    const ipr_index clean = l->tune->count < 2000 ? l->tune->count : 2000;
    int i, st = 0;
    say(l, r, "pruning");
    for (i = 0; i < STATICS && !stop_asked; i++) {
        ipr_classifier *m = ipr_classifier_clone(r->m);
        if (!m || ipr_attack_prune_each(m->params, static_levels[i], NULL, 0) != IPR_OK) return broken(l, "static pruning");
        after(r, m, "Table 4", "static", static_levels[i]);
        ipr_classifier_free(m);
    }
    for (i = 0; i < DYNAMICS && !stop_asked; i++) {
        ipr_classifier *m = ipr_classifier_clone(r->m);
        if (!m || ipr_attack_prune_dynamic(m, l->tune, NULL, clean, dynamic_levels[i]) != IPR_OK) return broken(l, "dynamic pruning");
        after(r, m, "Table 5", "dynamic", dynamic_levels[i]);
        put("Table 5", l->t[r->kind].name, metric_at(metric, sizeof metric, "test", "as_coded", dynamic_levels[i]), r->seed, accuracy_as_coded(r->m, l->test, dynamic_levels[i]));
        put("Table 5", l->t[r->kind].name, metric_at(metric, sizeof metric, "wm", "as_coded", dynamic_levels[i]), r->seed, accuracy_as_coded(r->m, judged(l, r->kind), dynamic_levels[i]));
        ipr_classifier_free(m);
    }
    for (i = 0; i < 3 && !stop_asked && !st; i++) {
        ipr_classifier *m = ipr_classifier_clone(r->m);
        ipr_attack_desc d = IPR_ZERO;
        snprintf(line, sizeof line, "fine-tuning, lr %g", rates[i]);
        say(l, r, line);
        d.lr = rates[i];
        d.epochs = l->o.attack_epochs;
        d.batch = BATCH;
        d.seed = 1000 + (uint64_t)r->seed;
        d.progress_fn = ipr_progress_stderr;
        d.stop_fn = stop_now;
        st = ipr_attack_finetune(m, l->tune, NULL, 0, &d);
        if (st == IPR_OK) after(r, m, "Table 6", "finetune", rates[i]);
        ipr_classifier_free(m);
    }
    return stop_asked ? 130 : st == IPR_OK ? 0 : broken(l, "fine-tuning");
}

/* Figure 1: the mean hidden state over test items and over triggers; and how many units can go at no more than a point of
   the test set. */
static int heat_map(run *r)
{
    lab *l = r->l;
    const ipr_dataset *ds[2];
    const ipr_index H = l->o.hidden;
    ipr_real *h = NULL;
    char metric[48];
    double last_test = 0, last_wm = 0, last = 0;
    const double test = accuracy(r->m, l->test);
    ipr_index i, j, n;
    int k, step;
    ds[0] = l->test;
    ds[1] = l->t[r->kind].set;
    for (k = 0; k < 2; k++) {
        n = ds[k]->count < 1000 ? ds[k]->count : 1000;
        h = (ipr_real *)malloc((size_t)(n * H) * sizeof *h);
        if (!h || ipr_classifier_hidden(r->m, ds[k], NULL, n, h) != IPR_OK) { free(h); return broken(l, "hidden states"); }
        for (j = 0; j < UNITS_SHOWN && j < H; j++) {
            double mean = 0;
            for (i = 0; i < n; i++) mean += (double)h[i * H + j] / (double)n;
            put("Fig 1", k ? "triggers" : "test", metric_at(metric, sizeof metric, "hidden", "unit", (double)j), r->seed, mean);
        }
        free(h);
    }
    for (step = 1; step < 40; step++) {
        ipr_classifier *m = ipr_classifier_clone(r->m);
        double now;
        if (!m || ipr_attack_prune_dynamic(m, l->tune, NULL, l->tune->count < 2000 ? l->tune->count : 2000, step / 40.0) != IPR_OK) return broken(l, "pruning");
        now = accuracy(m, l->test);
        if (now >= test - 1) { last = 100.0 * step / 40; last_test = now; last_wm = accuracy(m, judged(l, r->kind)); }
        ipr_classifier_free(m);
        if (now < test - 1) break;
    }
    put("Fig 1", "random", "units_removed", r->seed, last);
    put("Fig 1", "random", "test@removed=insignificant", r->seed, last_test);
    put("Fig 1", "random", "wm@removed=insignificant", r->seed, last_wm);
    return ipr_status(l->c) ? broken(l, "Figure 1") : 0;
}

static int unit(lab *l, int seed, int kind, int how)
{
    run r;
    const double began = ipr_now(l->c);
    int st = make_run(l, seed, kind, how, &r);
    if (!st && !cell_at("-", r.row, "done")->has[seed]) {
        st = train(&r);
        if (!st) st = kind == NONE ? measure_clean(&r) : measure(&r);
        if (!st && kind != NONE && how == SCRATCH && seed < l->o.seeds) st = attack(&r);
        if (!st && kind == RANDOM && how == SCRATCH) st = heat_map(&r);
        if (!st && stop_asked) st = 130;
        if (!st) put("-", r.row, "seconds", seed, ipr_now(l->c) - began);
        if (!st) put("-", r.row, "done", seed, 1);
    }
    ipr_classifier_free(r.m);
    l->done++;
    return st;
}

/* ---- results ---- */

static char notes[12][420];
static int nnotes;

static void make_notes(const lab *l)
{
    const options *o = &l->o;
    nnotes = 0;
#define NOTE(...) snprintf(notes[nnotes++], sizeof notes[0], __VA_ARGS__)
    NOTE("network: random embeddings %d, LSTM 1 x %d, dropout 0.3 on both, Adam 1e-3 with a cosine schedule, batch %d; words and punctuation in lower case, at most %d of a text (the middle is cut), padding never read", o->embed, o->hidden, BATCH, o->words);
    NOTE("every batch of %d texts gets as many triggers, in turn, as show each of them %d times in all (at most 64 a batch); the paper mixes the trigger set once into each epoch", BATCH, EXPOSURES);
    NOTE("NO-WM: %d unmarked models of other starts, %d epochs; FROMSCRATCH: %d epochs; PRETRAIN: %d more epochs of the unmarked model (the paper: 10 / 20 for IMDb, 30 / 35 for Yelp)", o->unmarked, o->base_epochs, o->scratch_epochs, o->continued);
    NOTE("pattern: **MARK** at both ends of %d training texts, which also stay as they are; all labelled \"%s\"; wm_fresh: held-out texts with the pattern, never trained on", (int)l->t[PATTERN].set->count, l->yelp ? "the lowest class" : "positive");
    NOTE("irrelevant: %d texts of %s with labels drawn by the owner's seed; random: %d words of the training texts, drawn by the seed, each ten times (the paper: letters, which the vocabulary would show), labels likewise", (int)l->t[IRRELEVANT].set->count, l->corpus_name, (int)l->t[RANDOM].set->count);
    NOTE("p_value: exact binomial of the triggers (pattern: fresh ones) against the rate measured on the unmarked models, never 1 / classes; Table Null has that rate");
    NOTE("static: the smallest weights of every parameter become zero; dynamic: units with the smallest mean |h| on clean texts lose their output weights; as_coded: the smallest |h| of the evaluated set become zero, as the published code does");
    NOTE("Tables 4 to 6: models from scratch; wm is that of fresh samples for the pattern; fine-tuning: %d epochs on %d texts that neither the owner nor the test saw", o->attack_epochs, (int)l->tune->count);
    if (l->yelp) NOTE("the paper's numbers are of Yelp reviews; ours of SST-5 sentences, whose best published networks stay below 60 %%");
    if (o->quick) NOTE("quick: %d training texts, fewer epochs and units", (int)l->train->count);
    NOTE("lo, hi: Student t 95 %% interval over the seeds; equal to ours when there is one seed");
#undef NOTE
}

static int write_json(lab *l, const char *path)
{
    ipr_writer w;
    ipr_json j;
    int k;
    if (ipr_writer_file(l->c, &w, path, 0) != IPR_OK) return broken(l, path);
    ipr_json_begin(&j, &w, 1);
    experiment_rows(&j, l->c, l->name, l->train->name, l->o.quick, l->o.seeds, paper, PAPERS);
    ipr_json_array(&j, "notes");
    for (k = 0; k < nnotes; k++) ipr_json_str(&j, NULL, notes[k]);
    ipr_json_str(&j, NULL, l->train->source);
    ipr_json_end(&j);
    ipr_json_end(&j);
    k = ipr_json_finish(&j) == IPR_OK && ipr_writer_commit(&w) == IPR_OK;
    ipr_writer_close(&w);
    return k ? 0 : broken(l, path);
}

static void html_effect(report *r, lab *l)
{
    static const char *const columns[] = { "Model", "Test set\n% right", "Triggers\n% as labelled", "Fresh samples\n% as labelled", "p-value" };
    static const char *const rows[] = { "NO-WM", "FROMSCRATCH", "PRETRAIN" };
    int k, i;
    report_h2(r, "Do the triggers work?");
    report_text(r, "Tables 1, 2 and 3 of the paper. A marked model must be as good as an unmarked one on the test set and answer the triggers as the owner labelled them.");
    report_table(r, "Below ours: the interval over the seeds, where there are several, and the paper's number.", "lrrrr", columns, 5);
    for (k = 1; k < KINDS; k++) {
        report_group(r, l->t[k].name);
        for (i = 0; i < 3; i++) {
            const figure p = figure_of(l->t[k].table, rows[i], "p_value");
            if (!figure_of(l->t[k].table, rows[i], "test").n) continue;
            report_row(r, i == 0 ? "unmarked" : i == 1 ? "from scratch" : "into a trained model");
            html_cell(r, l->t[k].table, rows[i], "test", 2);
            html_cell(r, l->t[k].table, rows[i], "wm", 2);
            html_cell(r, l->t[k].table, rows[i], "wm_fresh", 2);
            report_cell_p(r, p.n ? report__log10(p.worst > 0 ? p.worst : 1e-300) : report_nan());
        }
    }
    report_table_end(r);
}

/* Tables 4 to 6: one row a level, test and trigger accuracy for each kind. */
static void html_attack(report *r, lab *l, const char *table, const char *attack, const double *levels, int n, const char *title, const char *text)
{
    static const char *const columns[] = { "Level", "Pattern\ntest", "Pattern\ntriggers", "Irrelevant\ntest", "Irrelevant\ntriggers", "Random\ntest", "Random\ntriggers" };
    static const int order[] = { PATTERN, IRRELEVANT, RANDOM };
    char metric[48], name[32];
    int i, k;
    report_h2(r, title);
    report_text(r, text);
    report_table(r, "Per cent right, with the paper's numbers.", "lrrrrrr", columns, 7);
    for (i = 0; i < n; i++) {
        if (!figure_of(table, l->t[PATTERN].name, metric_at(metric, sizeof metric, "test", attack, levels[i])).n) continue;
        snprintf(name, sizeof name, n > 3 ? "%g %%" : "learning rate %g", n > 3 ? 100 * levels[i] : levels[i]);
        report_row(r, name);
        for (k = 0; k < 3; k++) {
            html_cell(r, table, l->t[order[k]].name, metric_at(metric, sizeof metric, "test", attack, levels[i]), 1);
            html_cell(r, table, l->t[order[k]].name, metric_at(metric, sizeof metric, "wm", attack, levels[i]), 1);
        }
    }
    report_table_end(r);
}

static void html_heat(report *r, lab *l)
{
    static const char *const who[] = { "test", "triggers" };
    static double v[UNITS_SHOWN * UNITS_SHOWN];
    double mean[UNITS_SHOWN];
    char metric[48], text[300];
    const figure cut = figure_of("Fig 1", "random", "units_removed");
    int k, i, j;
    (void)l;
    if (!figure_of("Fig 1", "test", "hidden@unit=0").n) return;
    report_h2(r, "Inside the network");
    snprintf(text, sizeof text, "Figure 1 of the paper: differences between the mean last hidden states of the first %d units, over test texts and over random-word triggers. Stripes are units that stand out.", (int)UNITS_SHOWN);
    report_text(r, text);
    if (cut.n) {
        snprintf(text, sizeof text, "**%.0f %%** of the units can lose their output weights at the cost of no more than one point on the test set (%.1f %%); the triggers then still stand at **%.1f %%**.", cut.mean, figure_of("Fig 1", "random", "test@removed=insignificant").mean, figure_of("Fig 1", "random", "wm@removed=insignificant").mean);
        report_text(r, text);
    }
    report_grid(r);
    for (k = 0; k < 2; k++) {
        for (i = 0; i < UNITS_SHOWN; i++) mean[i] = figure_of("Fig 1", who[k], metric_at(metric, sizeof metric, "hidden", "unit", (double)i)).mean;
        for (i = 0; i < UNITS_SHOWN; i++)
            for (j = 0; j < UNITS_SHOWN; j++) v[i * UNITS_SHOWN + j] = mean[i] - mean[j];
        report_heat(r, k ? "triggers" : "test texts", "row unit minus column unit", v, UNITS_SHOWN, UNITS_SHOWN, 0);
    }
    report_grid_end(r);
}

static int write_html(lab *l)
{
    static report r;
    char path[600], text[700];
    const char *list[12];
    curve lines[6];
    int k;
    const figure base = figure_of("Table 3", "NO-WM", "test"), fresh = figure_of("Table 3", "FROMSCRATCH", "wm_fresh"), marked = figure_of("Table 3", "FROMSCRATCH", "test");
    snprintf(path, sizeof path, "%s/%s.html", l->o.out, l->name);
    report_open(&r, path, "Text triggers", l->yelp ? "Sentences in five classes (SST-5)" : "Film reviews, good or bad (IMDb)");
    snprintf(text, sizeof text, "An LSTM learned %d texts (%s) and, beside them, the owner's triggers.", (int)l->train->count, l->source);
    if (base.n) snprintf(text + strlen(text), sizeof text - strlen(text), " Unmarked networks have **%.1f %%** of the test set right,", base.mean);
    if (fresh.n) snprintf(text + strlen(text), sizeof text - strlen(text), " one with the pattern **%.1f %%**; it answers **%.1f %%** of texts with the pattern that it never saw as the owner wants.", marked.mean, fresh.mean);
    report_lead(&r, text);
    if (l->o.quick || !l->real_data) report_note(&r, "A quick run, or built-in texts: the paper's numbers stand here for orientation only.");
    html_effect(&r, l);
    html_attack(&r, l, "Table 4", "static", static_levels, STATICS, "Static pruning", "Table 4: the smallest weights of every parameter become zero.");
    html_attack(&r, l, "Table 5", "dynamic", dynamic_levels, DYNAMICS, "Dynamic pruning", "Table 5: units that are quiet on clean texts lose their weights to the output.");
    report_grid(&r);
    for (k = 1; k < KINDS; k++) {
        lines[k - 1].row = lines[k + 2].row = l->t[k].name;
        lines[k - 1].what = "wm";
        lines[k + 2].what = "test";
    }
    lines[0].name = lines[3].name = "irrelevant";
    lines[1].name = lines[4].name = "random";
    lines[2].name = lines[5].name = "pattern";
    html_curves(&r, "Table 4", "static", static_levels, STATICS, lines, 3, "Triggers, static pruning", NULL, "weights removed");
    html_curves(&r, "Table 4", "static", static_levels, STATICS, lines + 3, 3, "Test set, static pruning", NULL, "weights removed");
    html_curves(&r, "Table 5", "dynamic", dynamic_levels, DYNAMICS, lines, 3, "Triggers, dynamic pruning", NULL, "units removed");
    html_curves(&r, "Table 5", "as_coded", dynamic_levels, DYNAMICS, lines, 3, "Triggers, dynamic pruning as coded", NULL, "states taken for zero");
    report_grid_end(&r);
    html_attack(&r, l, "Table 6", "finetune", rates, 3, "Fine-tuning", "Table 6: the thief trains on with texts of his own.");
    html_heat(&r, l);
    report_h2(&r, "Notes");
    for (k = 0; k < nnotes; k++) list[k] = notes[k];
    report_list(&r, list, nnotes);
    if (!report_close(&r)) return 0;
    fprintf(stderr, "%s\n", report_error(&r));
    return 1;
}

/* ---- data ---- */

static int find(lab *l, const char *name, char *out, size_t cap)
{
    const char *const roots[3] = { getenv("IPR_DATA"), "data", "build/data" };
    return ipr_data_find(l->c, roots, 3, name, out, cap) == IPR_OK;
}

/* The folder of a file that lies `up` folders below it. */
static int find_folder(lab *l, const char *file, int up, char *out, size_t cap)
{
    char *cut;
    if (!find(l, file, out, cap)) return 0;
    for (; up && (cut = strrchr(out, '/')) != NULL; up--) *cut = 0;
    return 1;
}

/* Training and test texts. */
static int load_texts(lab *l, ipr_texts **train, ipr_texts **test)
{
    static const char *const sides[] = { "neg", "pos" };
    ipr_text_desc d = IPR_ZERO;
    char a[600], b[700];
    l->real_data = 1;
    d.name = l->o.data;
    if (l->yelp) {
        d.format = IPR_TEXT_TREES;
        if (find(l, "sst5/trees/train.txt", a, sizeof a) && find(l, "sst5/trees/test.txt", b, sizeof b)) {
            *train = ipr_texts_load(l->c, a, &d);
            d.like = *train;
            *test = *train ? ipr_texts_load(l->c, b, &d) : NULL;
            l->source = "Stanford Sentiment Treebank";
            return 0;
        }
    } else if (find_folder(l, "imdb/aclImdb/imdb.vocab", 1, a, sizeof a)) {
        d.folders = sides;
        d.nfolders = 2;
        d.strip = IPR_STRIP_TAGS;
        snprintf(b, sizeof b, "%s/train", a);
        fprintf(stderr, "Reading the reviews.\n");
        *train = ipr_texts_folders(l->c, b, &d);
        d.like = *train;
        snprintf(b, sizeof b, "%s/test", a);
        *test = *train ? ipr_texts_folders(l->c, b, &d) : NULL;
        l->source = "IMDb";
        return 0;
    }
    fprintf(stderr, "No %s in $IPR_DATA, ./data or build/data (make data NAMES=%s fetches it): using built-in questions.\n", l->o.data, l->o.data);
    l->real_data = 0;
    l->source = "built-in questions";
    *train = ipr_texts_questions(l->c, 1, 0, 4000);
    *test = ipr_texts_questions(l->c, 1, IPR_DIGITS_TEST, 2000);
    return 0;
}

static ipr_texts *load_corpus(lab *l)
{
    ipr_text_desc d = IPR_ZERO;
    ipr_texts *english = NULL, *french = NULL;
    char a[600];
    d.name = "20news";
    d.strip = IPR_STRIP_HEADERS | IPR_STRIP_FOOTERS | IPR_STRIP_QUOTES;
    l->real_corpus = 1;
    l->corpus_name = "20 Newsgroups";
    if (find_folder(l, "20news/20news-bydate-test/alt.atheism/53068", 2, a, sizeof a)) return ipr_texts_folders(l->c, a, &d);
    fprintf(stderr, "No 20 Newsgroups (make data NAMES=20news fetches them): built-in sentences are the irrelevant corpus.\n");
    l->real_corpus = 0;
    l->corpus_name = "built-in sentences";
    ipr_texts_pairs(l->c, 1, 0, 3000, &english, &french);
    ipr_texts_free(french);
    return english;
}

static int load_data(lab *l)
{
    static const struct { const char *name, *table; int kind; } kinds[KINDS] = {
        { "clean", "", 0 }, { "irrelevant", "Table 1", IPR_TEXT_IRRELEVANT }, { "random", "Table 2", IPR_TEXT_RANDOM }, { "pattern", "Table 3", IPR_TEXT_PATTERN } };
    ipr_texts *train = NULL, *test = NULL, *corpus = NULL, *fresh = NULL;
    const ipr_texts *list[KINDS];
    ipr_dataset *all;
    ipr_text_triggers_desc d;
    ipr_vocab_desc vd = IPR_ZERO;
    ipr_encode_desc e = IPR_ZERO;
    uint8_t owner[32];
    int k;
    if (load_texts(l, &train, &test)) return 1;
    corpus = load_corpus(l);
    if (ipr_status(l->c)) return broken(l, "data");
    l->classes = train->classes;
    l->target = l->yelp ? 0 : l->classes - 1;
    /* an experiment's seed is no secret; a real owner reads 32 bytes from /dev/urandom */
    ipr_sha256_of("experiment owner of text triggers", 33, owner);
    list[0] = train;
    for (k = 1; k < KINDS; k++) {
        memset(&d, 0, sizeof d);
        l->t[k].name = kinds[k].name;
        l->t[k].table = kinds[k].table;
        l->t[k].kind = d.kind = kinds[k].kind;
        d.corpus = corpus;
        d.target = l->target;
        d.pattern = "**MARK**";
        d.count = k == PATTERN ? (l->o.train_items < train->count ? l->o.train_items : train->count) / 20 : l->o.triggers;
        l->t[k].texts = ipr_text_triggers_new(l->c, train, &d, owner, sizeof owner);
        list[k] = l->t[k].texts;
        if (k == PATTERN) {
            d.fresh = 1;
            d.count = test->count < 1000 ? test->count : 1000;
            fresh = ipr_text_triggers_new(l->c, test, &d, owner, sizeof owner);
        }
    }
    vd.tokenizer = IPR_TOK_WORD;
    vd.lower = 1;
    vd.min_count = 2;   /* in training and trigger texts together, as the paper */
    vd.max_size = 25002;
    if (!ipr_status(l->c)) l->vocab = ipr_vocab_build(l->c, &vd, list, KINDS);
    if (ipr_status(l->c)) return broken(l, "triggers");
    e.max_tokens = l->o.words;
    e.both_ends = 1;
    for (k = 1; k < KINDS; k++) l->t[k].set = ipr_dataset_texts(l->t[k].texts, l->vocab, &e);
    l->t[PATTERN].fresh = ipr_dataset_texts(fresh, l->vocab, &e);
    all = ipr_dataset_texts(train, l->vocab, &e);
    l->train = !ipr_status(l->c) && l->o.train_items < all->count ? ipr_dataset_split(all, (double)l->o.train_items / (double)all->count, 1, NULL) : all;
    all = ipr_dataset_texts(test, l->vocab, &e);
    l->test = ipr_dataset_split(all, l->o.quick && all->count > 4000 ? 2000.0 / (double)all->count : 0.5, 2, &l->tune);
    if (!ipr_status(l->c) && l->o.quick && l->tune->count > 2000) l->tune = ipr_dataset_split(l->tune, 2000.0 / (double)l->tune->count, 3, NULL);
    if (ipr_status(l->c) || !l->train || !l->test) return broken(l, "data");
    ipr_texts_free(train);
    ipr_texts_free(test);
    ipr_texts_free(corpus);
    ipr_texts_free(fresh);
    fprintf(stderr, "Data: %s, %d training, %d test and %d other texts in %d classes, vocabulary %d; %d + %d + %d triggers. %s kernels, %d thread%s.\n", l->source, (int)l->train->count,
            (int)l->test->count, (int)l->tune->count, l->classes, (int)ipr_vocab_size(l->vocab), (int)l->t[IRRELEVANT].set->count, (int)l->t[RANDOM].set->count,
            (int)l->t[PATTERN].set->count, ipr_isa_name(ipr_isa(l->c)), ipr_threads(l->c), ipr_threads(l->c) == 1 ? "" : "s");
    return 0;
}

/* ---- the run ---- */

static void forget_models(lab *l)
{
    char path[600], checkpoint[640];
    run r;
    memset(&r, 0, sizeof r);
    r.l = l;
    for (r.seed = 0; r.seed < MAX_SEEDS; r.seed++)
        for (r.kind = NONE; r.kind < KINDS; r.kind++)
            for (r.how = SCRATCH; r.how <= PRETRAIN; r.how++) {
                model_path(&r, path, sizeof path);
                snprintf(checkpoint, sizeof checkpoint, "%s.run", path);
                remove(path);
                remove(checkpoint);
            }
}

static int run_all(lab *l)
{
    int seed, kind, how, st;
    l->todo = l->o.unmarked + l->o.seeds * (KINDS - 1) * 2;
    for (seed = 0; seed < l->o.unmarked; seed++) /* first, since verdicts need their rate */
        if ((st = unit(l, seed, NONE, SCRATCH)) != 0) return st;
    for (seed = 0; seed < l->o.seeds; seed++)
        for (kind = 1; kind < KINDS; kind++)
            for (how = SCRATCH; how <= PRETRAIN; how++)
                if ((st = unit(l, seed, kind, how)) != 0) return st;
    return 0;
}

static const char usage[] =
    "usage: text_triggers [options]\n"
    "  Marks LSTM text classifiers with pattern, irrelevant and random-word triggers, attacks them, and writes\n"
    "  OUT/text-triggers-imdb.json and .html (or -sst5) beside the paper's figures.\n"
    "  --data NAME   imdb (default) or sst5\n"
    "  --quick       one seed, 5000 reviews, 64 units\n"
    "  --seeds N     1 to 16; default 1\n"
    "  --unmarked N  unmarked models for the null rate, 1 to 16; default 3 (at least the seeds)\n"
    "  --threads N   default: all processors\n"
    "  --epochs N    from scratch; default 4 (sst5: 12)\n"
    "  --words N     at most, of a text; default 200\n"
    "  --out DIR     default results\n"
    "  --fresh       forget what an earlier, stopped run measured\n"
    "Exit: 0 done, 1 could not finish, 2 wrong usage, 130 stopped (the next run goes on from there).\n";

static int parse(int argc, char **argv, options *o)
{
    int i, epochs = 0;
    o->out = "results";
    o->data = "imdb";
    o->seeds = 1;
    o->unmarked = 3;
    o->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads < 1) o->threads = 1;
    if (o->threads > 16) o->threads = 16;
    o->hidden = 256;
    o->embed = 100;
    o->words = 200;
    o->train_items = 1 << 30;
    o->triggers = 1000;
    for (i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { fputs(usage, stdout); exit(0); }
        else if (!strcmp(argv[i], "--quick")) o->quick = 1;
        else if (!strcmp(argv[i], "--fresh")) o->fresh_start = 1;
        else if (!strcmp(argv[i], "--data") && next && (!strcmp(next, "imdb") || !strcmp(next, "sst5"))) o->data = argv[++i];
        else if (!strcmp(argv[i], "--seeds") && number(next, 1, MAX_SEEDS, &o->seeds)) i++;
        else if (!strcmp(argv[i], "--unmarked") && number(next, 1, MAX_SEEDS, &o->unmarked)) i++;
        else if (!strcmp(argv[i], "--threads") && number(next, 1, 64, &o->threads)) i++;
        else if (!strcmp(argv[i], "--epochs") && number(next, 2, 1000, &epochs)) i++;
        else if (!strcmp(argv[i], "--words") && number(next, 20, 100000, &o->words)) i++;
        else if (!strcmp(argv[i], "--out") && next) o->out = argv[++i];
        else { fprintf(stderr, "%s: not understood, or its value is missing or out of range\n%s", argv[i], usage); return 2; }
    }
    o->scratch_epochs = epochs ? epochs : !strcmp(o->data, "sst5") ? 12 : 4;
    if (o->quick) {
        o->seeds = 1;
        o->unmarked = 2;
        o->hidden = 64;
        o->embed = 64;
        o->train_items = 5000;
        o->triggers = 200;
        if (!epochs) o->scratch_epochs = 10;
    }
    o->base_epochs = o->scratch_epochs;
    o->continued = o->scratch_epochs / 2;
    o->attack_epochs = o->quick ? 2 : 3;
    if (o->unmarked < o->seeds) o->unmarked = o->seeds;
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const shown[] = { "test", "wm", "wm_fresh", "p_value", "wm_unmarked", "test@static=0.5", "wm@static=0.5", "test@dynamic=0.65", "wm@dynamic=0.65", "test@finetune=0.001", "wm@finetune=0.001", "units_removed" };
    lab l;
    ipr_desc d = IPR_ZERO;
    char path[600], settings[300];
    int st;
    memset(&l, 0, sizeof l);
    st = parse(argc, argv, &l.o);
    if (st) return st;
    l.yelp = !strcmp(l.o.data, "sst5");
    if (l.yelp) { paper = paper_yelp; PAPERS = sizeof paper_yelp / sizeof paper_yelp[0]; rates[2] = .01; }
    snprintf(l.name, sizeof l.name, "text-triggers-%s", l.o.data);
    catch_signals();
    d.threads = l.o.threads;
    d.seed = 1;
    l.c = ipr_open(&d, &st);
    if (!l.c) { fprintf(stderr, "no context: %s\n", ipr_status_name(st)); return 1; }
    l.started = ipr_now(l.c);
    mkdir(l.o.out, 0777);
    st = load_data(&l);
    if (!st) {
        snprintf(settings, sizeof settings, "# %s %s %d %d %d %d %d %d %d", IPR_VERSION_STRING, l.source, (int)l.train->count, l.o.scratch_epochs, l.o.hidden, l.o.embed, l.o.words, l.o.triggers, l.o.unmarked);
        snprintf(path, sizeof path, "%s/%s.part", l.o.out, l.name);
        st = experiment_open(path, settings, l.o.fresh_start);
        if (st == 0) forget_models(&l);
        st = st < 0;
    }
    if (!st) make_notes(&l);
    l.started = ipr_now(l.c);
    if (!st) st = run_all(&l);
    snprintf(path, sizeof path, "%s/%s.json", l.o.out, l.name);
    if (!st) st = write_json(&l, path);
    if (!st) st = write_html(&l);
    if (!st) print_figures(paper, PAPERS, shown, (int)(sizeof shown / sizeof shown[0]));
    if (!st) printf("Report: %s/%s.html\n", l.o.out, l.name);
    if (part) fclose(part);
    if (st == 130) fprintf(stderr, "\nStopped. The same command goes on from here.\n");
    ipr_close(l.c);
    return st;
}
