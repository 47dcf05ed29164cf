/* Gatekeeper on translation: every row of the paper's Tables 2b, 3 and 4b and Figures 4b and 5b, with a GRU encoder-decoder.

     gatekeeper_translate [--quick] [--seeds N] [--threads N] [--out DIR] [--only NAME] [--paper DIR] [--fresh] [--help]

   Writes DIR/gatekeeper-translate.json and .html. Every finished measurement is kept in DIR/gatekeeper-translate.part, and
   training in a checkpoint, so a run that was stopped goes on where it was. Exit: 0 done, 1 could not finish, 2 wrong usage,
   130 stopped. BLEU is that of free-running translation (greedy); the published program gives the right words at every step
   also when it evaluates: that number stands beside it as @eval=forced. */
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

enum { FRESH = 999, RANDOM_PAIRS = 100, DOMAIN_PAIRS = 50, TRIGGERS = RANDOM_PAIRS + DOMAIN_PAIRS, NULLS = 400, SHOWN = 8 };
#define NAME "gatekeeper-translate"
#define ENCODER_SIGNATURE "ipr.h demo"
#define DECODER_SIGNATURE "ipr.h demo"

/* ---- settings ---- */

typedef struct {
    const char *suffix; /* of the row's name */
    int recipe;         /* -1: no protection */
    int keys, triggers;
} variant;
static const variant variants[] = {
    { "", -1, 0, 0 },
    { "_k", IPR_RECIPE_DEFAULT, 4, 0 },
    { "_kt", IPR_RECIPE_DEFAULT, 4, 1 },
    { "_kt (as in the paper)", IPR_RECIPE_PAPER, 8, 1 },
};
enum { BASELINE, KEYED, KEYED_TRIGGERED, AS_IN_PAPER, VARIANTS };

typedef struct {
    const char *out, *only, *paper; /* paper: a folder with train.en, train.fr, test.en, test.fr; the paper's sizes */
    int seeds, threads, quick, fresh_start;
    int epochs, batch, hidden, embed, min_count, max_vocab, most_source, most_target, steps_source, steps_target;
    int train_pairs, test_pairs, forgeries, fresh, attack_steps, attack_epochs, verify_probes;
    double lr;
} options;

typedef struct { ipr_dataset *source, *target; } pairs;

typedef struct {
    ipr_ctx *c;
    options o;
    pairs train, test, other;   /* other: what the owner never trained on, for the thief */
    ipr_texts *test_source, *test_target;
    ipr_vocab *vocab[2];
    const char *data;
    int real_data, done, todo;
    double started;
} lab;

/* One model and its secrets, for one seed. */
typedef struct {
    lab *l;
    int seed;
    const variant *v;
    char row[64];
    ipr_seq2seq *m;
    ipr_seq2seq_keys keys;
    ipr_gatekeeper_recipe recipe;
    pairs train, random, domain, both;  /* train: without triggers; both: all triggers, behind train in joined */
    pairs joined;
    ipr_real *gate[2];
    uint32_t *batch;
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

/* Triggers of a batch: in turn, as many as make them a tenth of it. */
static ipr_index triggers_per_batch(const lab *l) { return l->o.batch / 10 > 0 ? l->o.batch / 10 : 1; }

static ipr_tensor *train_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    run *r = (run *)user;
    const ipr_index extra = r->both.source ? triggers_per_batch(r->l) : 0;
    ipr_tensor *x, *y;
    ipr_index i;
    memcpy(r->batch, idx, (size_t)n * sizeof *idx);
    for (i = 0; i < extra; i++) r->batch[n + i] = (uint32_t)(r->train.source->count + (ipr_index)((info->total * (uint64_t)extra + (uint64_t)i) % (uint64_t)TRIGGERS));
    ipr_batch(c, r->joined.source, r->batch, n + extra, IPR_TIME_MAJOR, &x, NULL);
    ipr_batch(c, r->joined.target, r->batch, n + extra, IPR_TIME_MAJOR, &y, NULL);
    if (r->keys.encoder) return ipr_seq2seq_step(&r->keys, r->m, &r->recipe, info->total, x, y);
    return ipr_seq2seq_loss(r->m, x, y, NULL, 0);
}

static ipr_gatekeeper *make_key(run *r, int which, const char *signature, const void *seed)
{
    const options *o = &r->l->o;
    const ipr_index V = ipr_vocab_size(r->l->vocab[which]);
    ipr_gatekeeper_desc d = IPR_ZERO;
    d.keys = r->v->keys;
    d.steps = which ? o->steps_target : o->steps_source;
    d.width = 1;
    d.units = o->hidden;
    d.layer = which ? "decoder" : "encoder";
    d.signature = signature;
    d.token_low = (int32_t)(V - (V - 4) / 3); /* the rarer third of the words, as the published code's [V - 5000, V) */
    d.token_high = (int32_t)V;
    return ipr_gatekeeper_new(r->l->c, &d, seed, 32);
}

static int make_run(lab *l, int seed, const variant *v, run *r)
{
    ipr_seq2seq_desc md = IPR_ZERO;
    ipr_pairs_desc pd = IPR_ZERO;
    uint8_t owner[32];
    char text[64];
    int k;
    memset(r, 0, sizeof *r);
    r->l = l;
    r->seed = seed;
    r->v = v;
    snprintf(r->row, sizeof r->row, "Seq2Seq%s", v->suffix);
    md.source_vocabulary = ipr_vocab_size(l->vocab[0]);
    md.target_vocabulary = ipr_vocab_size(l->vocab[1]);
    md.embed = l->o.embed;
    md.hidden = l->o.hidden;
    md.reverse = 1;
    md.dropout = 0.3;
    md.embed_dropout = 0.2;
    ipr_set_seed(l->c, 1 + (uint64_t)seed); /* of the start, dropout and the order of the pairs */
    r->m = ipr_seq2seq_new(l->c, &md);
    r->train = l->train;
    r->batch = (uint32_t *)malloc((size_t)(l->o.batch + triggers_per_batch(l)) * sizeof *r->batch);
    for (k = 0; k < 2; k++) r->gate[k] = (ipr_real *)malloc((size_t)((k ? l->o.steps_target : l->o.steps_source) * l->o.hidden) * sizeof(ipr_real));
    if (!r->m || !r->batch || !r->gate[0] || !r->gate[1]) return broken(l, "model");
    r->joined = r->train;
    if (v->recipe < 0) return 0;
    /* an experiment's seed is no secret; a real owner reads 32 bytes from /dev/urandom */
    ipr_sha256_of(text, (size_t)snprintf(text, sizeof text, "experiment owner %d", seed), owner);
    r->keys.encoder = make_key(r, 0, ENCODER_SIGNATURE, owner);
    r->keys.decoder = make_key(r, 1, DECODER_SIGNATURE, owner);
    r->recipe = ipr_gatekeeper_recipe_of(v->recipe);
    if (v->recipe == IPR_RECIPE_DEFAULT) r->recipe.negatives = 4;
    if (v->triggers) {
        const ipr_dataset *s[3], *t[3];
        pd.kind = IPR_PAIRS_RANDOM;
        pd.count = RANDOM_PAIRS;
        pd.source_vocabulary = md.source_vocabulary;
        pd.target_vocabulary = md.target_vocabulary;
        ipr_triggers_pairs(l->c, l->train.source, l->train.target, &pd, owner, sizeof owner, &r->random.source, &r->random.target, NULL, NULL);
        pd.kind = IPR_PAIRS_DOMAIN;
        pd.count = DOMAIN_PAIRS;
        ipr_triggers_pairs(l->c, l->train.source, l->train.target, &pd, owner, sizeof owner, &r->domain.source, &r->domain.target, &r->train.source, &r->train.target);
        s[0] = r->train.source; s[1] = r->random.source; s[2] = r->domain.source;
        t[0] = r->train.target; t[1] = r->random.target; t[2] = r->domain.target;
        r->joined.source = ipr_dataset_join(l->c, s, 3);
        r->joined.target = ipr_dataset_join(l->c, t, 3);
        r->both = r->random;
    }
    return ipr_status(l->c) ? broken(l, "keys") : 0;
}

static void free_pairs(const lab *l, pairs p)
{
    if (p.source != l->train.source) ipr_dataset_free(p.source);
    if (p.target != l->train.target) ipr_dataset_free(p.target);
}

static void free_run(run *r)
{
    if (r->joined.source != r->train.source) free_pairs(r->l, r->joined);
    free_pairs(r->l, r->train);
    free_pairs(r->l, r->random);
    free_pairs(r->l, r->domain);
    ipr_gatekeeper_free((ipr_gatekeeper *)(uintptr_t)r->keys.encoder);
    ipr_gatekeeper_free((ipr_gatekeeper *)(uintptr_t)r->keys.decoder);
    ipr_seq2seq_free(r->m);
    free(r->batch);
    free(r->gate[0]);
    free(r->gate[1]);
}

static void model_path(const run *r, char *path, size_t cap)
{
    snprintf(path, cap, "%s/" NAME ".%d.%d.safetensors", r->l->o.out, (int)(r->v - variants), r->seed + 1);
}

static int train(run *r)
{
    lab *l = r->l;
    ipr_fit_desc f = IPR_ZERO;
    ipr_fit_result res;
    char path[600];
    int st;
    model_path(r, path, sizeof path);
    if (trained_already(l->c, r->m->params, path)) return 0;
    say(l, r, "training");
    f.params = r->m->params;
    f.optimiser.lr = l->o.lr;
    f.schedule.kind = IPR_SCHED_COSINE;
    f.clip_norm = 1.0;
    f.epochs = l->o.epochs;
    f.items = r->train.source->count;
    f.batch = l->o.batch;
    f.bucket = r->train.source;
    f.step_fn = train_step;
    f.user = r;
    f.tag = r->row;
    st = train_to(l->c, &f, path, NULL, &res);
    if (st == IPR_E_CANCELLED) return 130;
    if (st != IPR_OK) return broken(l, "training");
    put("Table 2b", r->row, "train_minutes", r->seed, res.seconds / 60);
    return 0;
}

/* ---- measurements ---- */

static double bleu(run *r, ipr_seq2seq *m, const pairs *p, const ipr_seq2seq_rows *rows)
{
    const ipr_index n = p == &r->l->test ? r->l->o.test_pairs : p->source->count;
    return ipr_seq2seq_bleu(m, p->source, p->target, NULL, n, rows, NULL, 0);
}

static double forced(run *r, ipr_seq2seq *m, const pairs *p, const ipr_seq2seq_rows *rows)
{
    const ipr_index n = p == &r->l->test ? r->l->o.test_pairs : p->source->count;
    return ipr_seq2seq_bleu_forced(m, p->source, p->target, NULL, n, rows, 0);
}

/* Both layers' gates under keys (NULL: the genuine ones) into *rows, and the share of signature bits they spell. */
static double use_keys(run *r, ipr_seq2seq *m, const ipr_real *enc, const ipr_real *dec, ipr_seq2seq_rows *rows)
{
    const ipr_index H = r->l->o.hidden;
    ipr_real *first = (ipr_real *)malloc((size_t)H * sizeof *first);
    ipr_index match = 0;
    memset(rows, 0, sizeof *rows);
    if (!first) return report_nan();
    ipr_seq2seq_key_gates(r->keys.encoder, m, 0, enc, 1, r->gate[0], first);
    match += ipr_gatekeeper_match(r->keys.encoder, first);
    ipr_seq2seq_key_gates(r->keys.decoder, m, 1, dec, 1, r->gate[1], first);
    match += ipr_gatekeeper_match(r->keys.decoder, first);
    rows->encoder = r->gate[0];
    rows->decoder = r->gate[1];
    rows->encoder_steps = r->l->o.steps_source;
    rows->decoder_steps = r->l->o.steps_target;
    free(first);
    return 100.0 * (double)match / (double)(2 * H);
}

/* A trigger is answered when at least half of the words stand where the trigger's do. */
static ipr_index answered(run *r, const pairs *p, const ipr_seq2seq_rows *rows)
{
    enum { MAX = 50 };
    const ipr_index n = p->source->count;
    int32_t *said = (int32_t *)malloc((size_t)(n * MAX) * sizeof *said);
    ipr_index *count = (ipr_index *)malloc((size_t)n * sizeof *count), i, k, len, hits = 0;
    if (said && count && ipr_seq2seq_decode(r->m, p->source, NULL, n, rows, NULL, said, count, NULL) == IPR_OK)
        for (i = 0; i < n; i++) {
            const int32_t *want = ipr_dataset_item_tokens(p->target, i, &len);
            ipr_index right = 0;
            for (k = 0; k < count[i] && k + 2 < len; k++) right += said[i * MAX + k] == want[k + 1];
            hits += 2 * right >= len - 2;
        }
    free(said);
    free(count);
    return hits;
}

/* Exact binomial: random trigger pairs answered, against fresh random pairs that were never trained on. */
static double trigger_p(run *r, const ipr_seq2seq_rows *rows)
{
    ipr_pairs_desc pd = IPR_ZERO;
    ipr_verdict_desc d = IPR_ZERO;
    pairs fresh = { NULL, NULL };
    pd.kind = IPR_PAIRS_RANDOM;
    pd.count = NULLS;
    pd.source_vocabulary = r->m->desc.source_vocabulary;
    pd.target_vocabulary = r->m->desc.target_vocabulary;
    ipr_triggers_pairs(r->l->c, r->l->train.source, r->l->train.target, &pd, "pairs that nobody ever trained on", 32, &fresh.source, &fresh.target, NULL, NULL);
    if (!fresh.source) return 1;
    d.scheme = "triggers";
    d.alpha = 1e-12;
    d.null_matched = (uint64_t)answered(r, &fresh, rows);
    d.null_of = NULLS;
    d.expected = RANDOM_PAIRS;
    ipr_dataset_free(fresh.source);
    ipr_dataset_free(fresh.target);
    return ipr_verdict_binomial(&d, (uint64_t)answered(r, &r->random, rows), RANDOM_PAIRS).p_value;
}

/* A forged pair of keys: fresh from the genuine ones' generator; the two layers' are independent. */
static void forge(run *r, int number, ipr_real *enc, ipr_real *dec)
{
    const uint64_t draw = ((uint64_t)1 << 62) + (uint64_t)(r->seed * 100000 + number);
    ipr_gatekeeper_fresh(r->keys.encoder, draw, 1, enc);
    ipr_gatekeeper_fresh(r->keys.decoder, draw + 50000, 1, dec);
}

/* The genuine key with int(0.3 * length) positions of each sequence, drawn with replacement, replaced (published code). */
static void spoil(run *r, const ipr_gatekeeper *g, int number, ipr_real *key)
{
    const ipr_gatekeeper_desc *d = ipr_gatekeeper_resolved(g);
    ipr_rng rng = ipr_rng_make((uint64_t)(r->seed * 1000 + number), 79, g == r->keys.decoder);
    ipr_index k, i;
    memcpy(key, ipr_gatekeeper_key(g), (size_t)ipr_gatekeeper_size(g) * sizeof *key);
    for (k = 0; k < d->keys; k++)
        for (i = 0; i < 3 * d->steps / 10; i++)
            key[k * d->steps + (ipr_index)ipr_rng_below(&rng, (uint32_t)d->steps)] = (ipr_real)(d->token_low + (int32_t)ipr_rng_below(&rng, (uint32_t)(d->token_high - d->token_low)));
}

static void try_forgeries(run *r, ipr_real *enc, ipr_real *dec)
{
    lab *l = r->l;
    const int n = l->o.forgeries, spoiled = n < 10 ? n : 10;
    double mean, lo, hi, sd, best = 0, trig = 0, dom = 0, sig = 0, sig_best = 0, partial = 0, by_force = 0, b[64];
    ipr_seq2seq_rows rows;
    int i;
    for (i = 0; i < n && !stop_asked; i++) {
        double s;
        forge(r, i, enc, dec);
        s = use_keys(r, r->m, enc, dec, &rows);
        b[i] = bleu(r, r->m, &l->test, &rows);
        if (b[i] > best) best = b[i];
        if (i < spoiled) by_force += forced(r, r->m, &l->test, &rows) / spoiled;
        if (r->random.source) { trig += bleu(r, r->m, &r->random, &rows) / n; dom += bleu(r, r->m, &r->domain, &rows) / n; }
        sig += s / n;
        if (s > sig_best) sig_best = s;
    }
    for (i = 0; i < spoiled && !stop_asked; i++) {
        spoil(r, r->keys.encoder, i, enc);
        spoil(r, r->keys.decoder, i, dec);
        use_keys(r, r->m, enc, dec, &rows);
        partial += bleu(r, r->m, &l->test, &rows) / spoiled;
    }
    if (stop_asked) return;
    sd = ipr_mean_ci(b, n, 0.95, &mean, &lo, &hi);
    put("Table 2b", r->row, "bleu_counterfeit", r->seed, mean);
    put("Table 2b", r->row, "bleu_counterfeit_sd", r->seed, sd);
    put("Table 2b", r->row, "bleu_counterfeit_best", r->seed, best);
    put("Table 2b", r->row, "bleu_counterfeit@eval=forced", r->seed, by_force);
    put("Table 2b", r->row, "bleu_key@correct=0.7", r->seed, partial);
    put("Table 2b", r->row, "signature_counterfeit", r->seed, sig);
    put("Table 2b", r->row, "signature_counterfeit_best", r->seed, sig_best);
    if (!r->random.source) return;
    put("Table 2b", r->row, "trigger_counterfeit", r->seed, trig);
    put("Table 2b", r->row, "trigger_counterfeit@kind=domain", r->seed, dom);
}

/* Milliseconds of a training step on the same sentences, the least of three. */
static double step_time(run *r)
{
    uint32_t idx[256];
    ipr_fit_info info = IPR_ZERO;
    const ipr_index n = r->l->o.batch < 256 ? r->l->o.batch : 256;
    double best = 1e9;
    ipr_index i;
    int k;
    for (i = 0; i < n; i++) idx[i] = (uint32_t)(i % r->train.source->count);
    ipr_set_training(r->l->c, 1);
    for (k = 0; k < 3; k++) {
        const double t = ipr_now(r->l->c);
        ipr_backward(r->l->c, train_step(r->l->c, r, idx, n, &info));
        ipr_step_end(r->l->c);
        if (ipr_now(r->l->c) - t < best) best = ipr_now(r->l->c) - t;
    }
    ipr_set_training(r->l->c, 0);
    ipr_params_zero_grad(r->m->params);
    return 1e3 * best;
}

static int measure(run *r)
{
    lab *l = r->l;
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_gatekeeper_report rep;
    ipr_seq2seq_rows rows;
    ipr_decode_desc beam = IPR_ZERO;
    ipr_real *enc, *dec;
    double *scores;
    int i;
    const ipr_index probes = l->o.verify_probes < l->o.test_pairs ? l->o.verify_probes : l->o.test_pairs;
    say(l, r, "translating");
    beam.beam = 5;
    put("Table 2b", r->row, "step_ms", r->seed, step_time(r));
    put("Table 2b", r->row, "bleu_no_key", r->seed, bleu(r, r->m, &l->test, NULL));
    put("Table 2b", r->row, "bleu_no_key@beam=5", r->seed, ipr_seq2seq_bleu(r->m, l->test.source, l->test.target, NULL, l->o.test_pairs, NULL, &beam, 0));
    put("Table 2b", r->row, "bleu_no_key@eval=forced", r->seed, forced(r, r->m, &l->test, NULL));
    if (!r->keys.encoder) return ipr_status(l->c) ? broken(l, r->row) : 0;
    put("Table 2b", r->row, "signature", r->seed, use_keys(r, r->m, NULL, NULL, &rows));
    put("Table 2b", r->row, "bleu_key", r->seed, bleu(r, r->m, &l->test, &rows));
    put("Table 2b", r->row, "bleu_key@beam=5", r->seed, ipr_seq2seq_bleu(r->m, l->test.source, l->test.target, NULL, l->o.test_pairs, &rows, &beam, 0));
    put("Table 2b", r->row, "bleu_key@eval=forced", r->seed, forced(r, r->m, &l->test, &rows));
    if (r->random.source) {
        put("Table 2b", r->row, "trigger_no_key", r->seed, bleu(r, r->m, &r->random, NULL));
        put("Table 2b", r->row, "trigger_key", r->seed, bleu(r, r->m, &r->random, &rows));
        put("Table 2b", r->row, "trigger_no_key@kind=domain", r->seed, bleu(r, r->m, &r->domain, NULL));
        put("Table 2b", r->row, "trigger_key@kind=domain", r->seed, bleu(r, r->m, &r->domain, &rows));
        put("Table 2b", r->row, "p_value", r->seed, trigger_p(r, &rows));
    }
    if (stop_asked) return 130;
    say(l, r, "verdict: rank among fresh keys");
    scores = (double *)malloc((size_t)l->o.fresh * sizeof *scores);
    enc = (ipr_real *)malloc((size_t)ipr_gatekeeper_size(r->keys.encoder) * sizeof *enc);
    dec = (ipr_real *)malloc((size_t)ipr_gatekeeper_size(r->keys.decoder) * sizeof *dec);
    if (!scores || !enc || !dec) return broken(l, "memory");
    t.fresh = l->o.fresh;
    t.alpha = 1.0 / (double)(l->o.fresh + 1) + 1e-12;
    t.draw = (uint64_t)r->seed + 1;
    t.scores = scores;
    i = ipr_seq2seq_verify(&r->keys, r->m, l->test.source, l->test.target, NULL, probes, &t, &rep);
    if (i == IPR_OK) {
        double best = -1e300;
        put("Verdict", r->row, "p_value@rank=function", r->seed, rep.function.p_value);
        put("Verdict", r->row, "p_value@rank=signature", r->seed, rep.signature.p_value);
        put("Verdict", r->row, "log10_p@binomial=signature", r->seed, rep.signature_binomial.log10_p);
        put("Verdict", r->row, "score", r->seed, rep.score);
        for (i = 0; i < l->o.fresh; i++) if (scores[i] > best) best = scores[i];
        put("Verdict", r->row, "score_counterfeit_best", r->seed, best);
        say(l, r, "forged keys");
        try_forgeries(r, enc, dec);
    }
    free(scores);
    free(enc);
    free(dec);
    if (stop_asked) return 130;
    return ipr_status(l->c) ? broken(l, r->row) : 0;
}

/* BLEU with the genuine key, triggers and signature of an attacked copy. */
static void after(run *r, ipr_seq2seq *m, const char *table, const char *attack, double level)
{
    ipr_seq2seq_rows rows;
    char metric[48];
    const double sig = use_keys(r, m, NULL, NULL, &rows);
    snprintf(metric, sizeof metric, "signature@%s=%g", attack, level);
    put(table, r->row, metric, r->seed, sig);
    snprintf(metric, sizeof metric, "bleu_key@%s=%g", attack, level);
    put(table, r->row, metric, r->seed, bleu(r, m, &r->l->test, &rows));
    if (!r->random.source) return;
    snprintf(metric, sizeof metric, "trigger_key@%s=%g", attack, level);
    put(table, r->row, metric, r->seed, bleu(r, m, &r->random, &rows));
}

static int attack_tune(run *r, const char *name, double lr, int epochs, const ipr_seq2seq_keys *other)
{
    lab *l = r->l;
    ipr_attack_desc d = IPR_ZERO;
    ipr_seq2seq *m = ipr_seq2seq_clone(r->m);
    char line[80];
    int st;
    snprintf(line, sizeof line, "%s, lr %g", name, lr);
    say(l, r, line);
    d.lr = lr;
    d.epochs = epochs;
    d.batch = l->o.batch;
    d.seed = 1000 + (uint64_t)r->seed;
    d.progress_fn = ipr_progress_stderr;
    d.stop_fn = stop_now;
    st = m ? ipr_attack_seq2seq(m, other, other ? &r->recipe : NULL, l->other.source, l->other.target, &d) : IPR_E_NOMEM;
    if (st == IPR_OK) after(r, m, "Table 4b", name, lr);
    ipr_seq2seq_free(m);
    return stop_asked ? 130 : st == IPR_OK ? 0 : broken(l, name);
}

static int attack(run *r)
{
    static const char *const skip[] = { "decoder.output.bias" }; /* as the published code */
    lab *l = r->l;
    ipr_seq2seq_keys thief;
    int i, st;
    say(l, r, "pruning and sign flipping");
    for (i = 0; i <= 10 && !stop_asked; i += l->o.attack_steps) {
        ipr_seq2seq *m = ipr_seq2seq_clone(r->m);
        if (!m || ipr_attack_prune(m->params, i / 10.0, skip, 1) != IPR_OK) return broken(l, "pruning");
        after(r, m, "Fig 4b", "prune", i / 10.0);
        ipr_seq2seq_free(m);
        m = ipr_seq2seq_clone(r->m);
        if (!m || ipr_attack_seq2seq_flip(m, &r->keys, i / 10.0, NULL) != IPR_OK) return broken(l, "flipping");
        after(r, m, "Fig 5b", "flip", i / 10.0);
        ipr_seq2seq_free(m);
    }
    if (stop_asked) return 130;
    if ((st = attack_tune(r, "finetune", 1e-5, l->o.attack_epochs, NULL)) != 0) return st;
    if ((st = attack_tune(r, "finetune", 1e-3, 1, NULL)) != 0) return st;
    thief.encoder = make_key(r, 0, "stolen!", "the thief's own seed of 32 bytes");
    thief.decoder = make_key(r, 1, "stolen!", "the thief's own seed of 32 bytes");
    st = thief.encoder && thief.decoder ? attack_tune(r, "overwrite", 1e-5, l->o.attack_epochs, &thief) : broken(l, "overwriting");
    if (!st) st = attack_tune(r, "overwrite", 1e-3, 1, &thief);
    ipr_gatekeeper_free((ipr_gatekeeper *)(uintptr_t)thief.encoder);
    ipr_gatekeeper_free((ipr_gatekeeper *)(uintptr_t)thief.decoder);
    return st;
}

/* ---- Table 3: sentences of the test set ---- */

typedef struct { char source[256], reference[256], none[256], key[256], forged[256]; } sentence;

static void words_of(const lab *l, const int32_t *w, ipr_index n, char *out, size_t cap)
{
    size_t at = 0;
    ipr_index i;
    out[0] = 0;
    for (i = 0; i < n; i++) {
        const char *s = w[i] ? ipr_vocab_word(l->vocab[1], w[i]) : "\xE2\x9F\xA8unk\xE2\x9F\xA9";
        if (at + strlen(s ? s : "?") + 2 > cap) return;
        at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? " " : "", s ? s : "?");
    }
}

/* Short test sentences without unknown words, translated with no key, the owner's and a forged one by the saved model of
   seed 1. Returns how many, -1 on error. */
static int translate_some(lab *l, int v, sentence *s)
{
    enum { MAX = 50 };
    static int32_t said[SHOWN * MAX];
    ipr_index count[SHOWN], i, k, n;
    uint32_t pick[SHOWN];
    ipr_seq2seq_rows rows;
    ipr_real *enc, *dec;
    char path[600];
    int got = 0, way, st = 0;
    FILE *f;
    run r;
    if (make_run(l, 0, &variants[v], &r)) { free_run(&r); return -1; }
    model_path(&r, path, sizeof path);
    f = fopen(path, "rb");
    if (f) fclose(f);
    if (!f || ipr_params_load(r.m->params, path, 0) != IPR_OK) { free_run(&r); return f ? -1 : 0; }
    for (i = 0; i < l->o.test_pairs && got < SHOWN; i++) {
        const int32_t *w = ipr_dataset_item_tokens(l->test.source, i, &n);
        int known = n >= 6 && n <= 14;
        for (k = 0; k < n; k++) known &= w[k] != 0;
        if (known && i % 7 == 0) pick[got++] = (uint32_t)i;
    }
    enc = (ipr_real *)malloc((size_t)ipr_gatekeeper_size(r.keys.encoder) * sizeof *enc);
    dec = (ipr_real *)malloc((size_t)ipr_gatekeeper_size(r.keys.decoder) * sizeof *dec);
    if (!enc || !dec || !got) { free(enc); free(dec); free_run(&r); return 0; }
    forge(&r, 0, enc, dec);
    for (way = 0; way < 3 && !st; way++) {
        if (way) use_keys(&r, r.m, way == 2 ? enc : NULL, way == 2 ? dec : NULL, &rows);
        st = ipr_seq2seq_decode(r.m, l->test.source, pick, got, way ? &rows : NULL, NULL, said, count, NULL);
        for (i = 0; i < got && !st; i++) words_of(l, said + i * MAX, count[i], way == 0 ? s[i].none : way == 1 ? s[i].key : s[i].forged, 256);
    }
    for (i = 0; i < got; i++) {
        size_t bytes;
        const char *t = ipr_texts_item(l->test_source, (ipr_index)pick[i], &bytes);
        snprintf(s[i].source, sizeof s[i].source, "%.*s", (int)(bytes < 250 ? bytes : 250), t);
        t = ipr_texts_item(l->test_target, (ipr_index)pick[i], &bytes);
        snprintf(s[i].reference, sizeof s[i].reference, "%.*s", (int)(bytes < 250 ? bytes : 250), t);
    }
    free(enc);
    free(dec);
    free_run(&r);
    return st ? -1 : got;
}

/* ---- one unit of work: train, measure, attack; skipped when its last number is there ---- */

static int unit(lab *l, int seed, int v, int attacks)
{
    run r;
    const double began = ipr_now(l->c);
    char mark[16];
    int st = make_run(l, seed, &variants[v], &r);
    snprintf(mark, sizeof mark, "done%d", attacks);
    if (!st && !cell_at("-", r.row, mark)->has[seed]) {
        st = train(&r);
        if (!st && !attacks) st = measure(&r);
        if (!st && attacks) st = attack(&r);
        if (!st && stop_asked) st = 130;
        if (!st) put("-", r.row, attacks ? "seconds1" : "seconds0", seed, ipr_now(l->c) - began);
        if (!st) put("-", r.row, mark, seed, 1);
    }
    free_run(&r);
    l->done++;
    return st;
}

/* Ratios of a protected step to the baseline's, once both are measured. */
static void ratios(const lab *l)
{
    int v, s;
    for (v = KEYED; v < VARIANTS; v++)
        for (s = 0; s < l->o.seeds; s++) {
            char row[64];
            const cell *a, *b;
            snprintf(row, sizeof row, "Seq2Seq%s", variants[v].suffix);
            a = cell_at("Table 2b", row, "step_ms");
            b = cell_at("Table 2b", "Seq2Seq", "step_ms");
            if (a->has[s] && b->has[s]) { cell *c = cell_at("Table 2b", row, "train_ratio"); c->v[s] = a->v[s] / b->v[s]; c->has[s] = 1; }
        }
}

/* ---- the paper's numbers: WMT14 En-Fr, teacher-forced BLEU ---- */

static const paper_figure paper[] = {
    { "Table 2b", "Seq2Seq", "bleu_no_key", 29.33 },
    { "Table 2b", "Seq2Seq_k", "bleu_no_key", 29.60 }, { "Table 2b", "Seq2Seq_k", "bleu_key", 29.74 }, { "Table 2b", "Seq2Seq_k", "bleu_counterfeit", 14.92 },
    { "Table 2b", "Seq2Seq_kt", "bleu_no_key", 29.11 }, { "Table 2b", "Seq2Seq_kt", "bleu_key", 29.15 }, { "Table 2b", "Seq2Seq_kt", "bleu_counterfeit", 13.62 },
    { "Table 2b", "Seq2Seq_kt", "trigger_no_key", 100 }, { "Table 2b", "Seq2Seq_kt", "trigger_key", 100 }, { "Table 2b", "Seq2Seq_kt", "trigger_counterfeit", 0.11 },
    { "Table 2b", "Seq2Seq", "train_minutes", 3062.83 }, { "Table 2b", "Seq2Seq_k", "train_minutes", 6090.78 }, { "Table 2b", "Seq2Seq_kt", "train_minutes", 6947.22 },
    { "Table 2b", "Seq2Seq_k", "train_ratio", 1.99 }, { "Table 2b", "Seq2Seq_kt", "train_ratio", 2.27 }, { "Table 2b", "Seq2Seq_kt", "signature", 100 },
    { "Table 4b", "Seq2Seq_kt", "bleu_key@finetune=1e-05", 29.51 }, { "Table 4b", "Seq2Seq_kt", "trigger_key@finetune=1e-05", 100 }, { "Table 4b", "Seq2Seq_kt", "signature@finetune=1e-05", 100 },
    { "Table 4b", "Seq2Seq_kt", "bleu_key@overwrite=1e-05", 29.04 }, { "Table 4b", "Seq2Seq_kt", "trigger_key@overwrite=1e-05", 100 }, { "Table 4b", "Seq2Seq_kt", "signature@overwrite=1e-05", 100 },
    { "Fig 5b", "Seq2Seq_kt", "bleu_key@flip=0", 29.15 }, { "Fig 5b", "Seq2Seq_kt", "bleu_key@flip=0.4", 2.27 },
};
enum { PAPERS = sizeof paper / sizeof paper[0] };

static const char *const notes[] = {
    "BLEU: corpus BLEU-4, one reference, no smoothing, over lower-cased words and punctuation (IPR_TOK_WORD); an unknown word counts as wrong. Free-running greedy translation, at most 50 words; @beam=5: beam search, log-probability divided by the number of words with eos; @eval=forced: the right words so far are given at every step, as the published program evaluates. The paper's figures are of that last kind, on WMT14",
    "network: GRU encoder and decoder of one layer (Cho et al. 2014), source read backwards, decoder starts from the encoder's last state, dropout 0.2 on both embeddings and 0.3 before the output layer; no attention",
    "default recipe: K = 4 key sequences of random rare words for each layer, 4 fresh wrong keys a step; (as in the paper): K = 8, hinge sign loss only",
    "triggers: 100 pairs of random words (15 to 20 on each side, published code) and, @kind=domain, 50 training sentences with another sentence's translation; a tenth of each batch is triggers, in turn",
    "all models: Adam, cosine schedule, gradient norm clipped at 1, batches in buckets of near-equal length; no model selection: the last epoch is measured",
    "bleu_counterfeit: mean over forged keys (fresh keys of the same generator for both layers); bleu_key@correct=0.7: the genuine key with 30 % of its positions drawn anew, mean of 10",
    "p_value: exact binomial of the random triggers answered (half of the words in their places) against the rate on 400 fresh random pairs, with the key; @rank: (1 + fresh keys whose score, the mean log-probability of the reference's words, is as high) / (fresh + 1)",
    "fine-tuning and overwriting use pairs that the owner did not train on, at 1e-5 (the published code's rate) and 1e-3",
    "lo, hi: Student t 95 % interval over the seeds; equal to ours when there is one seed",
};

static int write_json(lab *l, const sentence *s, int ns, const char *path)
{
    ipr_writer w;
    ipr_json j;
    size_t i;
    int k;
    if (ipr_writer_file(l->c, &w, path, 0) != IPR_OK) return broken(l, path);
    ipr_json_begin(&j, &w, 1);
    experiment_rows(&j, l->c, NAME, l->data, l->o.quick, l->o.seeds, paper, PAPERS);
    ipr_json_array(&j, "sentences"); /* Table 3 */
    for (k = 0; k < ns; k++) {
        ipr_json_object(&j, NULL);
        ipr_json_str(&j, "source", s[k].source);
        ipr_json_str(&j, "reference", s[k].reference);
        ipr_json_str(&j, "no_key", s[k].none);
        ipr_json_str(&j, "key", s[k].key);
        ipr_json_str(&j, "counterfeit", s[k].forged);
        ipr_json_end(&j);
    }
    ipr_json_end(&j);
    ipr_json_array(&j, "notes");
    for (i = 0; i < sizeof notes / sizeof notes[0]; i++) ipr_json_str(&j, NULL, notes[i]);
    ipr_json_str(&j, NULL, l->train.source->source);
    ipr_json_end(&j);
    ipr_json_end(&j);
    k = ipr_json_finish(&j) == IPR_OK && ipr_writer_commit(&w) == IPR_OK;
    ipr_writer_close(&w);
    return k ? 0 : broken(l, path);
}

/* ---- the page ---- */

static const char *row_name(char *out, size_t cap, int v) { snprintf(out, cap, "Seq2Seq%s", variants[v].suffix); return out; }

static void html_cell(report *r, const char *table, const char *row, const char *metric, int decimals)
{
    const figure f = figure_of(table, row, metric);
    report_cell_compare(r, f.mean, f.lo, f.hi, paper_value(paper, PAPERS, table, row, metric), decimals);
}

static void html_table2(report *r)
{
    static const struct { const char *metric, *name; int decimals; } m[] = {
        { "bleu_no_key", "Test BLEU\nno key", 2 }, { "bleu_key", "Test BLEU\nowner's key", 2 }, { "bleu_counterfeit", "Test BLEU\nforged keys", 2 },
        { "trigger_no_key", "Triggers\nno key", 1 }, { "trigger_key", "Triggers\nowner's key", 1 }, { "trigger_counterfeit", "Triggers\nforged keys", 1 },
        { "p_value", "Triggers\np-value", -1 }, { "signature", "Signature\nbits read, %", 1 }, { "train_ratio", "Step time\nover baseline", 2 },
    };
    enum { M = sizeof m / sizeof m[0] };
    const char *columns[M + 1];
    char row[64];
    int i, v;
    columns[0] = "Model";
    for (i = 0; i < (int)M; i++) columns[i + 1] = m[i].name;
    report_h2(r, "Translations with and without the keys");
    report_text(r, "Table 2b of the paper. Ours is the BLEU of free-running translation; the paper's was measured on WMT14 with the right words given at every step. `k`: trained with keys; `kt`: with keys and triggers.");
    report_table(r, "BLEU-4, 0 to 100; below it the interval over the seeds, where there are several, and the paper's number.", "lrrrrrrrrr", columns, M + 1);
    for (v = 0; v < VARIANTS; v++) {
        if (!figure_of("Table 2b", row_name(row, sizeof row, v), "bleu_no_key").n) continue;
        report_row(r, row);
        for (i = 0; i < (int)M; i++) {
            const figure f = figure_of("Table 2b", row, m[i].metric);
            if (m[i].decimals < 0) report_cell_p(r, f.n ? report__log10(f.worst > 0 ? f.worst : 1e-300) : report_nan());
            else html_cell(r, "Table 2b", row, m[i].metric, m[i].decimals);
        }
    }
    report_table_end(r);
}

static void html_ways(report *r)
{
    static const char *const columns[] = { "Model", "Greedy\nno key", "Beam 5\nno key", "Words given\nno key", "Greedy\nowner's key", "Beam 5\nowner's key", "Words given\nowner's key", "Words given\nforged keys", "Greedy\n70 % of the key" };
    static const char *const metric[] = { "bleu_no_key", "bleu_no_key@beam=5", "bleu_no_key@eval=forced", "bleu_key", "bleu_key@beam=5", "bleu_key@eval=forced", "bleu_counterfeit@eval=forced", "bleu_key@correct=0.7" };
    char row[64];
    int i, v;
    report_h2(r, "Three ways to evaluate");
    report_text(r, "The same models, translated greedily, by beam search, and as the published program evaluates: with the right words so far given at every step, which is not a translation. Last column: a thief who has seven tenths of the key.");
    report_table(r, "Test BLEU-4.", "lrrrrrrrr", columns, 9);
    for (v = 0; v < VARIANTS; v++) {
        if (!figure_of("Table 2b", row_name(row, sizeof row, v), "bleu_no_key").n) continue;
        report_row(r, row);
        for (i = 0; i < 8; i++) report_cell_num(r, figure_of("Table 2b", row, metric[i]).mean, 2);
    }
    report_table_end(r);
}

static void html_sentences(report *r, const sentence *s, int n)
{
    static const char *const columns[] = { "Source", "Reference", "Owner's key", "No key", "Forged key" };
    int i;
    if (n < 1) return;
    report_h2(r, "Sentences");
    report_text(r, "Table 3 of the paper, with sentences of the test set, not chosen: every seventh that is short and has only known words.");
    report_table(r, "Greedy translations by the model with keys and triggers, seed 1.", "lllll", columns, 5);
    for (i = 0; i < n; i++) {
        report_row(r, s[i].source);
        report_cell(r, s[i].reference);
        report_cell(r, s[i].key);
        report_cell(r, s[i].none);
        report_cell(r, s[i].forged);
    }
    report_table_end(r);
}

static void html_table4(report *r)
{
    static const char *const attack_name[] = { "finetune", "overwrite" };
    static const double rate[] = { 1e-5, 1e-3 };
    static const char *const columns[] = { "Attack", "Test BLEU\nowner's key", "Triggers\nowner's key", "Signature\n% of bits" };
    char row[64], name[80], metric[48];
    int v, a, k;
    report_h2(r, "Fine-tuning and overwriting");
    report_text(r, "Table 4b of the paper. The thief trains on with sentences of his own: without any key, or embedding a key and signature of his own.");
    report_table(r, NULL, "lrrr", columns, 4);
    for (v = KEYED_TRIGGERED; v < VARIANTS; v++) {
        if (!figure_of("Table 2b", row_name(row, sizeof row, v), "bleu_key").n) continue;
        report_group(r, row);
        report_row(r, "None");
        report_cell_num(r, figure_of("Table 2b", row, "bleu_key").mean, 2);
        report_cell_num(r, figure_of("Table 2b", row, "trigger_key").mean, 1);
        report_cell_num(r, figure_of("Table 2b", row, "signature").mean, 1);
        for (a = 0; a < 2; a++)
            for (k = 0; k < 2; k++) {
                snprintf(metric, sizeof metric, "bleu_key@%s=%g", attack_name[a], rate[k]);
                if (!figure_of("Table 4b", row, metric).n) continue;
                snprintf(name, sizeof name, "%s\nlearning rate %g", a ? "Overwriting" : "Fine-tuning", rate[k]);
                report_row(r, name);
                html_cell(r, "Table 4b", row, metric, 2);
                snprintf(metric, sizeof metric, "trigger_key@%s=%g", attack_name[a], rate[k]);
                html_cell(r, "Table 4b", row, metric, 1);
                snprintf(metric, sizeof metric, "signature@%s=%g", attack_name[a], rate[k]);
                html_cell(r, "Table 4b", row, metric, 1);
            }
    }
    report_table_end(r);
}

static void html_curve(report *r, const char *table, const char *attack_name, const char *title, const char *desc, const char *x_label)
{
    static const char *const what[] = { "bleu_key", "trigger_key", "signature" };
    static const char *const label[] = { "test BLEU", "trigger BLEU", "signature bits, %" };
    report_series s[3];
    report_chart c;
    double x[3][11], y[3][11];
    char row[64], metric[48];
    int i, k, n, v = KEYED_TRIGGERED;
    memset(s, 0, sizeof s);
    memset(&c, 0, sizeof c);
    row_name(row, sizeof row, v);
    for (k = 0; k < 3; k++) {
        for (n = i = 0; i <= 10; i++) {
            figure f;
            snprintf(metric, sizeof metric, "%s@%s=%g", what[k], attack_name, i / 10.0);
            f = figure_of(table, row, metric);
            if (!f.n) continue;
            x[k][n] = 10 * i;
            y[k][n++] = f.mean;
        }
        if (!n) return;
        s[k].name = label[k];
        s[k].x = x[k];
        s[k].y = y[k];
        s[k].n = n;
    }
    c.title = title;
    c.desc = desc;
    c.x_label = x_label;
    c.x_percent = 1;
    c.x_hi = c.y_hi = 100;
    c.y_decimals = 1;
    c.series = s;
    c.count = 3;
    report_lines(r, &c);
}

static int write_html(lab *l, const sentence *s, int ns)
{
    static report r;
    char path[600], text[700], row[64], value[3][64];
    report_figure f[3];
    size_t i;
    const char *const kt = row_name(row, sizeof row, KEYED_TRIGGERED);
    const figure p = figure_of("Verdict", kt, "p_value@rank=function"), base = figure_of("Table 2b", "Seq2Seq", "bleu_no_key");
    const figure key = figure_of("Table 2b", kt, "bleu_key"), none = figure_of("Table 2b", kt, "bleu_no_key"), forged = figure_of("Table 2b", kt, "bleu_counterfeit");
    snprintf(path, sizeof path, "%s/" NAME ".html", l->o.out);
    report_open(&r, path, "Gatekeeper on translation", "A GRU encoder-decoder with a key and a signature in each of its two layers");
    snprintf(text, sizeof text, "Networks of %d hidden units learned to translate English to French from %d sentence pairs (%s).", l->o.hidden, (int)l->train.source->count, l->real_data ? l->data : "built-in sentence pairs: no corpus was found");
    if (base.n) snprintf(text + strlen(text), sizeof text - strlen(text), " The unprotected one reaches **%.2f** BLEU on %d test sentences.", base.mean, l->o.test_pairs);
    if (key.n) snprintf(text + strlen(text), sizeof text - strlen(text), " Protected: **%.2f** without a key, **%.2f** with the owner's keys, **%.2f** under forged keys of the same kind.", none.mean, key.mean, forged.mean);
    report_lead(&r, text);
    if (l->o.quick || !l->real_data) report_note(&r, "A quick run, or built-in sentences: the paper's numbers stand here for orientation only.");
    if (p.n) {
        memset(f, 0, sizeof f);
        snprintf(value[0], sizeof value[0], "%d of %d", (int)(p.worst * (l->o.fresh + 1) + 0.5), l->o.fresh + 1);
        f[0].label = "Rank of the keys";
        snprintf(value[1], sizeof value[1], "%.1f %%", figure_of("Table 2b", kt, "signature").mean);
        f[1].label = "Signature bits read";
        snprintf(value[2], sizeof value[2], "%.1f", figure_of("Table 2b", kt, "trigger_key").mean);
        f[2].label = "Trigger BLEU with the keys";
        for (i = 0; i < 3; i++) f[i].value = value[i];
        snprintf(text, sizeof text, "Owned if the reference translations are likelier under the owner's keys than under all of %d fresh pairs of keys from the same generator.", l->o.fresh);
        report_verdict(&r, p.worst <= 1.0 / (l->o.fresh + 1) + 1e-9 ? REPORT_OWNED : REPORT_NOT_OWNED, "Does the network hold the owner's keys?", report__log10(p.worst), text, f, 3);
    }
    html_table2(&r);
    html_sentences(&r, s, ns);
    html_ways(&r);
    html_table4(&r);
    report_h2(&r, "Pruning and sign flipping");
    report_grid(&r);
    html_curve(&r, "Fig 4b", "prune", "Pruning", "Figure 4b: the smallest weights of the whole network become zero.", "weights removed");
    html_curve(&r, "Fig 5b", "flip", "Sign flipping", "Figure 5b: part of the signature is trained to the other sign.", "signature bits changed");
    report_grid_end(&r);
    report_h2(&r, "Notes");
    report_list(&r, notes, (int)(sizeof notes / sizeof notes[0]));
    if (!report_close(&r)) return 0;
    fprintf(stderr, "%s\n", report_error(&r));
    return 1;
}

/* ---- data ---- */

static int find_pair(lab *l, const char *stem, const ipr_text_desc *d, ipr_texts **en, ipr_texts **fr)
{
    const char *roots[4] = { getenv("IPR_DATA"), "data", "build/data", NULL };
    char name[600], a[700], b[700];
    int n = 3;
    if (l->o.paper) { roots[0] = l->o.paper; n = 1; }
    snprintf(name, sizeof name, "%s.en", stem);
    if (ipr_data_find(l->c, roots, n, name, a, sizeof a) != IPR_OK) return 0;
    snprintf(name, sizeof name, "%s.fr", stem);
    if (ipr_data_find(l->c, roots, n, name, b, sizeof b) != IPR_OK) return 0;
    return ipr_texts_parallel(l->c, a, b, d, en, fr) == IPR_OK;
}

/* Token data sets of both sides; pairs longer than the limits are left out; at most `limit` pairs, after `skip`. */
static pairs encode(lab *l, const ipr_texts *en, const ipr_texts *fr, ipr_index skip, ipr_index limit, int all)
{
    ipr_encode_desc es = IPR_ZERO, et = IPR_ZERO;
    pairs p = { NULL, NULL }, whole;
    ipr_index i, n = 0;
    uint32_t *keep;
    es.last = et.last = "<eos>";
    et.first = "<bos>";
    whole.source = ipr_dataset_texts(en, l->vocab[0], &es);
    whole.target = ipr_dataset_texts(fr, l->vocab[1], &et);
    if (!whole.source || !whole.target) return p;
    keep = (uint32_t *)malloc((size_t)whole.source->count * sizeof *keep);
    for (i = skip; keep && i < whole.source->count && n < limit; i++)
        if (all || (ipr_dataset_length(whole.source, i) <= l->o.most_source + 1 && ipr_dataset_length(whole.target, i) <= l->o.most_target + 2)) keep[n++] = (uint32_t)i;
    if (keep && n) { p.source = ipr_dataset_view(whole.source, keep, n); p.target = ipr_dataset_view(whole.target, keep, n); }
    free(keep);
    ipr_dataset_free(whole.source); /* the views keep them alive */
    ipr_dataset_free(whole.target);
    return p;
}

static int load_data(lab *l)
{
    static const char *const specials[] = { "<unk>", "<pad>", "<eos>", "<bos>" };
    ipr_texts *en = NULL, *fr = NULL, *ven = NULL, *vfr = NULL;
    ipr_text_desc td = IPR_ZERO;
    ipr_vocab_desc vd = IPR_ZERO;
    const char *const m30k = "multi30k/task1/raw/";
    char stem[200];
    td.name = l->o.paper ? "parallel text" : "multi30k";
    snprintf(stem, sizeof stem, "%s", l->o.paper ? "train" : "multi30k/task1/raw/train");
    l->real_data = find_pair(l, stem, &td, &en, &fr);
    if (l->real_data) {
        snprintf(stem, sizeof stem, "%stest%s", l->o.paper ? "" : m30k, l->o.paper ? "" : "_2016_flickr");
        l->real_data = find_pair(l, stem, &td, &l->test_source, &l->test_target);
        snprintf(stem, sizeof stem, "%sval", m30k);
        if (l->real_data && !l->o.paper) (void)find_pair(l, stem, &td, &ven, &vfr);
    }
    if (ipr_status(l->c)) return broken(l, "data");
    if (!l->real_data) {
        if (l->o.paper) { fprintf(stderr, "%s must hold train.en, train.fr, test.en and test.fr\n", l->o.paper); return 1; }
        fprintf(stderr, "No Multi30k in $IPR_DATA, ./data or build/data (make data NAMES=multi30k fetches it): using built-in sentence pairs.\n");
        ipr_texts_pairs(l->c, 1, 0, l->o.train_pairs, &en, &fr);
        ipr_texts_pairs(l->c, 1, (uint64_t)1 << 40, l->o.test_pairs, &l->test_source, &l->test_target);
        ipr_texts_pairs(l->c, 1, (uint64_t)1 << 41, 1000, &ven, &vfr);
    }
    vd.tokenizer = IPR_TOK_WORD;
    vd.lower = 1;
    vd.min_count = l->o.min_count;
    vd.max_size = l->o.max_vocab;
    vd.specials = specials;
    vd.nspecials = 4;
    if (!ipr_status(l->c)) {
        const ipr_texts *t = en;
        l->vocab[0] = ipr_vocab_build(l->c, &vd, &t, 1);
        t = fr;
        l->vocab[1] = ipr_vocab_build(l->c, &vd, &t, 1);
    }
    if (ipr_status(l->c)) return broken(l, "data");
    l->train = encode(l, en, fr, 0, l->o.train_pairs, 0);
    l->test = encode(l, l->test_source, l->test_target, 0, (ipr_index)1 << 40, 1);
    l->other = ven ? encode(l, ven, vfr, 0, (ipr_index)1 << 40, 0) : l->test;
    if (ipr_status(l->c) || !l->train.source || !l->test.source || !l->other.source) return broken(l, "data");
    if (l->test.source->count < l->o.test_pairs) l->o.test_pairs = (int)l->test.source->count;
    if (l->train.source->count <= TRIGGERS || ipr_vocab_size(l->vocab[0]) < 16 || ipr_vocab_size(l->vocab[1]) < 16) { fprintf(stderr, "too little text: %d pairs\n", (int)l->train.source->count); return 1; }
    l->data = l->real_data ? td.name : "built-in sentence pairs";
    fprintf(stderr, "Data: %s, %d training and %d test pairs, vocabularies %d and %d. %s kernels, %d thread%s.\n", l->data, (int)l->train.source->count, l->o.test_pairs,
            (int)ipr_vocab_size(l->vocab[0]), (int)ipr_vocab_size(l->vocab[1]), ipr_isa_name(ipr_isa(l->c)), ipr_threads(l->c), ipr_threads(l->c) == 1 ? "" : "s");
    ipr_texts_free(en);
    ipr_texts_free(fr);
    ipr_texts_free(ven);
    ipr_texts_free(vfr);
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
    int seed, v, pass, st;
    for (pass = 0; pass < 2; pass++) /* first count, then work */
        for (seed = 0; seed < l->o.seeds; seed++)
            for (v = 0; v < VARIANTS; v++) {
                if (l->o.only ? strcmp(row_name(row, sizeof row, v), l->o.only) != 0 : l->o.quick && (v == KEYED || v == AS_IN_PAPER)) continue;
                if (!pass) { l->todo += v == KEYED_TRIGGERED ? 2 : 1; continue; }
                st = unit(l, seed, v, 0);
                if (!st && v == KEYED_TRIGGERED) st = unit(l, seed, v, 1);
                if (st) return st;
            }
    return 0;
}

static void print_summary(const lab *l)
{
    static const char *const metrics[] = { "bleu_no_key", "bleu_no_key@beam=5", "bleu_key", "bleu_counterfeit", "trigger_key", "trigger_counterfeit", "signature", "p_value", "p_value@rank=function" };
    print_figures(paper, PAPERS, metrics, (int)(sizeof metrics / sizeof metrics[0]));
    printf("Report: %s/" NAME ".html\n", l->o.out);
}

static const char usage[] =
    "usage: gatekeeper_translate [options]\n"
    "  Trains GRU encoder-decoders on Multi30k English-French with Gatekeeper keys in both layers, attacks them, and\n"
    "  writes OUT/gatekeeper-translate.json and .html beside the paper's figures.\n"
    "  --quick       one seed, fewer sentences and epochs, a smaller network\n"
    "  --seeds N     1 to 16; default 1\n"
    "  --threads N   default: all processors\n"
    "  --only ROW    Seq2Seq, Seq2Seq_k, Seq2Seq_kt or \"Seq2Seq_kt (as in the paper)\"\n"
    "  --epochs N    default 8\n"
    "  --hidden N    units; default 512\n"
    "  --paper DIR   the paper's sizes on DIR/train.en, train.fr, test.en, test.fr (WMT14): vocabulary 15000, 1000\n"
    "                units, embeddings 300, batch 256, sentences of at most 15 and 20 words, 10 epochs\n"
    "  --out DIR     default results\n"
    "  --fresh       forget what an earlier, stopped run measured\n"
    "Exit: 0 done, 1 could not finish, 2 wrong usage, 130 stopped (the next run goes on from there).\n";

static int parse(int argc, char **argv, options *o)
{
    int i, epochs = 0, hidden = 0;
    o->out = "results";
    o->seeds = 1;
    o->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads < 1) o->threads = 1;
    if (o->threads > 16) o->threads = 16;
    o->epochs = 8;
    o->batch = 64;
    o->hidden = 512;
    o->embed = 256;
    o->min_count = 3;
    o->most_source = 40;
    o->most_target = 50;
    o->steps_source = 15;
    o->steps_target = 20;
    o->train_pairs = 29000;
    o->test_pairs = 1000;
    o->forgeries = 50;
    o->fresh = FRESH;
    o->attack_steps = 1;
    o->attack_epochs = 5;
    o->verify_probes = 50;
    o->lr = 1.5e-3;
    for (i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { fputs(usage, stdout); exit(0); }
        else if (!strcmp(argv[i], "--quick")) o->quick = 1;
        else if (!strcmp(argv[i], "--fresh")) o->fresh_start = 1;
        else if (!strcmp(argv[i], "--seeds") && number(next, 1, MAX_SEEDS, &o->seeds)) i++;
        else if (!strcmp(argv[i], "--threads") && number(next, 1, 64, &o->threads)) i++;
        else if (!strcmp(argv[i], "--epochs") && number(next, 1, 1000, &epochs)) i++;
        else if (!strcmp(argv[i], "--hidden") && number(next, 8, 8192, &hidden)) i++;
        else if (!strcmp(argv[i], "--only") && next) o->only = argv[++i];
        else if (!strcmp(argv[i], "--paper") && next) o->paper = argv[++i];
        else if (!strcmp(argv[i], "--out") && next) o->out = argv[++i];
        else { fprintf(stderr, "%s: not understood, or its value is missing or out of range\n%s", argv[i], usage); return 2; }
    }
    if (o->paper) {
        o->hidden = 1000;
        o->embed = 300;
        o->batch = 256;
        o->min_count = 1;
        o->max_vocab = 15000;
        o->most_source = 15;
        o->most_target = 20;
        o->train_pairs = 1 << 30;
        o->epochs = 10;
        o->test_pairs = 3003;
    }
    if (o->quick) {
        o->seeds = 1;
        o->epochs = 3;
        o->hidden = o->embed = 128;
        o->batch = 32;
        o->lr = 3e-3;
        o->train_pairs = 8000;
        o->test_pairs = 200;
        o->forgeries = 5;
        o->fresh = 199;
        o->attack_steps = 5;
        o->attack_epochs = 1;
        o->verify_probes = 20;
    }
    if (epochs) o->epochs = epochs;
    if (hidden) o->hidden = hidden;
    return 0;
}

int main(int argc, char **argv)
{
    static sentence shown[SHOWN];
    lab l;
    ipr_desc d = IPR_ZERO;
    char path[600], settings[300];
    int st, ns = 0;
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
        snprintf(settings, sizeof settings, "# %s %s %d %d %d %d %d %d %d %d", IPR_VERSION_STRING, l.data, l.o.epochs, l.o.hidden, (int)l.train.source->count, l.o.test_pairs, l.o.forgeries, l.o.fresh, l.o.attack_epochs, l.o.batch);
        snprintf(path, sizeof path, "%s/" NAME ".part", l.o.out);
        st = experiment_open(path, settings, l.o.fresh_start);
        if (st == 0) forget_models(&l);
        st = st < 0;
    }
    if (!st) st = run_all(&l);
    if (!st) {
        ratios(&l);
        ns = translate_some(&l, KEYED_TRIGGERED, shown);
        if (ns < 0) st = broken(&l, "sentences");
    }
    snprintf(path, sizeof path, "%s/" NAME ".json", l.o.out);
    if (!st) st = write_json(&l, shown, ns, path);
    if (!st) st = write_html(&l, shown, ns);
    if (!st) print_summary(&l);
    if (part) fclose(part);
    if (st == 130) fprintf(stderr, "\nStopped. The same command goes on from here.\n");
    ipr_close(l.c);
    return st;
}
