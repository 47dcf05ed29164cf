/* Serial numbers: a teacher, and students that work only on inputs stamped with their customer's number. Tables 2 to 6 and
   Figures 2 and 3 of the paper (DSN), every wrong number, and what the attacks make of the lock.

     serial_numbers [--data mnist|gtsrb] [--quick] [--seeds N] [--threads N] [--epochs N] [--out DIR] ...

   Writes DIR/dsn-mnist.json and .html (or dsn-gtsrb). Every finished measurement is kept in DIR/dsn-mnist.part, and training
   in a checkpoint, so a run that was stopped goes on where it was. Exit: 0 done, 1 could not finish, 2 wrong usage, 130
   stopped. */
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

enum { BITS = 9, CODES = 511, HALF = 250, SHARES = 4, FEW = 500, CURVE = 10, DOTS = 200 };
enum { DEFAULT, LITERAL, RECIPES };

static const paper_figure paper[] = {
    { "Table 2", "MNIST", "teacher", 99.9 }, { "Table 2", "MNIST", "stamped", 99.8 }, { "Table 2", "MNIST", "raw", 9.2 },
    { "Table 2", "GTSRB", "teacher", 97.0 }, { "Table 2", "GTSRB", "stamped", 97.2 }, { "Table 2", "GTSRB", "raw", 8.2 },
    { "Table 3", "MNIST", "test@finetune=0.1", 94.7 }, { "Table 3", "MNIST", "test@finetune=0.2", 95.4 }, { "Table 3", "MNIST", "test@finetune=0.3", 96.6 }, { "Table 3", "MNIST", "test@finetune=0.4", 97.0 },
    { "Table 3", "MNIST", "test@scratch=0.1", 93.2 }, { "Table 3", "MNIST", "test@scratch=0.2", 94.5 }, { "Table 3", "MNIST", "test@scratch=0.3", 95.7 }, { "Table 3", "MNIST", "test@scratch=0.4", 96.7 },
    { "Table 4", "MNIST", "stamped@prune=0.1", 98.4 }, { "Table 4", "MNIST", "stamped@prune=0.2", 98.4 }, { "Table 4", "MNIST", "stamped@prune=0.3", 98.4 }, { "Table 4", "MNIST", "stamped@prune=0.4", 98.4 },
    { "Table 4", "MNIST", "raw@prune=0.1", 8.7 }, { "Table 4", "MNIST", "raw@prune=0.2", 8.3 }, { "Table 4", "MNIST", "raw@prune=0.3", 9.7 }, { "Table 4", "MNIST", "raw@prune=0.4", 9.9 },
    { "Table 5", "MNIST", "test@transfer=0.1", 93.6 }, { "Table 5", "MNIST", "test@transfer=0.2", 94.5 }, { "Table 5", "MNIST", "test@transfer=0.3", 95.6 }, { "Table 5", "MNIST", "test@transfer=0.4", 96.9 },
    { "Table 6", "MNIST", "stamped@overwrite=0.1", 93.2 }, { "Table 6", "MNIST", "stamped@overwrite=0.2", 93.7 }, { "Table 6", "MNIST", "stamped@overwrite=0.3", 94.3 }, { "Table 6", "MNIST", "stamped@overwrite=0.4", 95.8 },
};
enum { PAPERS = sizeof paper / sizeof paper[0] };
#include "experiment_html.h"

static const double shares[SHARES] = { 0.1, 0.2, 0.3, 0.4 };
static const char *const notes[] = {
    "serial number: 9 bits, 3 x 3 pixels in the bottom right corner, from HMAC-SHA-256; 511 others exist, and all are tried (wrong_serial: mean, wrong_serial_best, wrong_serial_near: one bit away, on the first 500 test images)",
    "student: the teacher's architecture from a fresh start; Adam 1e-3, 1e-4 in the last third; a step has 250 images (quick: 50) stamped and the same ones raw",
    "default recipe: the network is split past its first dense layer; the adversary's gradient is reversed with 0.3, and stops at an image whose class it guesses no better than by chance; half of the raw images carry wrong numbers, half of these one bit away",
    "(as in the paper): the split is in front of the first dense layer, gradient reversal 1 without a stop, raw images only",
    "finetune, scratch, transfer, overwrite: Adam 1e-3, batch 100, 10 epochs, on a share of the training images; scratch: the same from a fresh start, with the same images: what the attacker would have without the stolen network; transfer: all dense layers are new",
    "prune: the smallest weights of the whole network become zero, no retraining. copy: the customer lets a fresh network learn, on a tenth of the images and without labels, what the licensed one answers",
    "rank@labels=N: place of the genuine number among all 512 by accuracy on N labelled images: the brute-force attack. inverted: bits found by gradient descent over the stamp with 500 labelled images",
    "train_ratio: seconds of a student's step over a plain step on the same images; inference costs nothing: the shipped network is the plain one",
    "lo, hi: Student t 95 % interval over the seeds; equal to ours when there is one seed",
};

typedef struct { const char *out, *data; int seeds, threads, quick, fresh_start, epochs, teacher_epochs, tune_epochs, half, items, test_items; } options;
typedef struct {
    ipr_ctx *c;
    options o;
    const char *name, *row;
    int arch, real_data, done, todo;
    ipr_dataset *train, *test, *few;
    double started;
} lab;

/* A network in training: a teacher or attacker's plain one, or a student. */
typedef struct {
    lab *l;
    ipr_split net;
    ipr_dsn *dsn;
    const ipr_targets *soft;
    const ipr_dataset *ds;
    const char *table, *row, *what; /* its curve, or NULL */
    int seed;
} job;

static int broken(lab *l, const char *what)
{
    fprintf(stderr, "\n%s: %s\n", what, ipr_status(l->c) ? ipr_message(l->c) : "failed");
    return 1;
}

static void say(lab *l, const char *row, int seed, const char *what)
{
    say_where(l->c, l->started, l->done, l->todo);
    fprintf(stderr, "%s, seed %d: %s\n", row, seed + 1, what);
}

static const char *row_of(const lab *l, char *out, size_t cap, int recipe)
{
    snprintf(out, cap, "%s%s", l->row, recipe == LITERAL ? " (as in the paper)" : "");
    return out;
}

/* ---- networks ---- */

static ipr_cnn *new_net(lab *l, int seed, int which)
{
    ipr_cnn_desc d = IPR_ZERO;
    ipr_cnn *m;
    d.arch = l->arch;
    d.classes = l->train->classes;
    if (l->o.quick) d.scale = 0.5;
    ipr_set_seed(l->c, 100 * (uint64_t)(seed + 1) + (uint64_t)which);
    m = ipr_cnn_new(l->c, &d);
    return m;
}

static ipr_split split_of(ipr_cnn *m, int recipe) { return ipr_split_cnn(m, recipe == LITERAL ? 0 : 1); }

/* An experiment's key is no secret; a real owner reads 32 bytes from /dev/urandom. */
static int serial_of(lab *l, int seed, const char *customer, ipr_serial *s)
{
    char key[64];
    memset(key, 0, sizeof key);
    snprintf(key, sizeof key, "the experiment's key, seed %d", seed);
    return ipr_serial_new(l->c, NULL, key, 32, customer, "2026-01-01", s);
}

static ipr_tensor *plain_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    job *j = (job *)user;
    ipr_cnn *m = (ipr_cnn *)j->net.model;
    ipr_tensor *x, *y, *logits;
    ipr_batch_images(c, j->ds, idx, n, NULL, info->total, &x, &y);
    logits = ipr_cnn_forward(m, x, NULL);
    info->correct = ipr_count_correct(c, logits, y, &info->seen);
    return ipr_cross_entropy(c, logits, y);
}

static ipr_tensor *student_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    job *j = (job *)user;
    uint32_t both[2 * HALF];
    ipr_tensor *x, *y, *logits, *loss;
    memcpy(both, idx, (size_t)n * sizeof *idx);      /* stamped, and again raw */
    memcpy(both + n, idx, (size_t)n * sizeof *idx);
    ipr_batch_images(c, j->ds, both, 2 * n, NULL, info->total, &x, &y);
    loss = ipr_dsn_step(j->dsn, info->total, x, y, ipr_targets_batch(j->soft, both, 2 * n), &logits);
    info->correct = ipr_count_correct(c, logits, ipr_slice(c, y, 0, 0, n), &info->seen);
    return loss;
}

static double on_few(ipr_ctx *c, void *user, int epoch)
{
    job *j = (job *)user;
    const double v = ipr_split_accuracy(&j->net, j->l->few, NULL, j->l->few->count, j->dsn ? &j->dsn->serial : NULL);
    char metric[48];
    (void)c;
    if (j->what) {
        snprintf(metric, sizeof metric, "%s@epoch=%d", j->what, epoch + 1);
        put(j->table, j->row, metric, j->seed, ipr_split_accuracy(&j->net, j->l->test, NULL, j->l->test->count, NULL));
    }
    return v;
}

static int fit(job *j, const char *path, int epochs, ipr_index batch, double lr)
{
    lab *l = j->l;
    ipr_fit_desc f = IPR_ZERO;
    ipr_meta meta = IPR_ZERO;
    int st;
    f.params = j->dsn ? j->dsn->params : j->net.params;
    f.optimiser.lr = lr;
    if (epochs >= 3) {
        f.schedule.kind = IPR_SCHED_MULTISTEP;
        f.schedule.milestones[0] = (2 * epochs + 1) / 3;
        f.schedule.gamma = 0.1;
    }
    f.epochs = epochs;
    f.items = j->ds->count;
    f.batch = batch < j->ds->count ? batch : j->ds->count;
    f.shuffle = 1;
    f.step_fn = j->dsn ? student_step : plain_step;
    f.eval_fn = on_few;
    f.user = j;
    if (path) {
        st = train_to(l->c, &f, path, &meta, NULL);
        ipr_set_training(l->c, 0);
    } else {
        f.stop_fn = stop_now;
        f.progress_fn = ipr_progress_stderr;
        st = ipr_fit(l->c, &f, NULL);
    }
    return st == IPR_OK ? 0 : st == IPR_E_CANCELLED ? 130 : broken(l, "training");
}

static void model_path(const lab *l, int seed, const char *which, char *path, size_t cap)
{
    snprintf(path, cap, "%s/%s-%d.%de.%s.%d.safetensors", l->o.out, l->name, (int)l->train->count, l->o.epochs, which, seed + 1);
}

/* The trained teacher: loaded, or trained now. */
static int teacher_ready(lab *l, int seed, ipr_cnn **m)
{
    char path[600];
    job j;
    int st = 0;
    memset(&j, 0, sizeof j);
    *m = new_net(l, seed, 0);
    if (!*m) return broken(l, "network");
    model_path(l, seed, "teacher", path, sizeof path);
    if (!trained_already(l->c, (*m)->params, path)) {
        say(l, l->row, seed, "teacher: training");
        j.l = l;
        j.net = split_of(*m, DEFAULT);
        j.ds = l->train;
        st = fit(&j, path, l->o.teacher_epochs, 2 * l->o.half, 1e-3);
    }
    return st;
}

/* A customer's student: loaded, or trained now from the teacher. */
static int student_ready(lab *l, int seed, int recipe, const ipr_serial *s, ipr_cnn **m)
{
    ipr_dsn_desc d = IPR_ZERO;
    ipr_cnn *teacher = NULL;
    ipr_targets *soft = NULL;
    ipr_split t;
    char path[600], row[64];
    job j;
    int st;
    memset(&j, 0, sizeof j);
    *m = new_net(l, seed, 1 + recipe);
    if (!*m) return broken(l, "network");
    model_path(l, seed, recipe == LITERAL ? "literal" : "student", path, sizeof path);
    if (trained_already(l->c, (*m)->params, path)) return 0;
    if ((st = teacher_ready(l, seed, &teacher)) != 0) { ipr_cnn_free(teacher); return st; }
    say(l, row_of(l, row, sizeof row, recipe), seed, "student: training");
    t = split_of(teacher, recipe);
    soft = ipr_targets_new(&t, l->train, NULL);
    if (recipe == LITERAL) { d.lambda = 1; d.no_gate = 1; d.wrong = -1; }
    j.l = l;
    j.net = split_of(*m, recipe);
    j.dsn = soft ? ipr_dsn_new(&j.net, s, &d) : NULL;
    j.soft = soft;
    j.ds = l->train;
    if (!j.dsn) st = broken(l, "student");
    else {
        char run[640];
        snprintf(run, sizeof run, "%s.both", path);  /* the network with its adversary; what is shipped has none */
        st = fit(&j, run, l->o.epochs, l->o.half, 1e-3);
        if (!st && ipr_params_save((*m)->params, path, NULL) != IPR_OK) st = broken(l, path);
        if (!st) remove(run);
    }
    ipr_dsn_free(j.dsn);
    ipr_targets_free(soft);
    ipr_cnn_free(teacher);
    return st;
}

/* ---- measurements ---- */

static double right(lab *l, ipr_cnn *m, const ipr_serial *s)
{
    const ipr_split n = split_of(m, DEFAULT);
    return ipr_split_accuracy(&n, l->test, NULL, l->test->count, s);
}

/* Table 2, all wrong numbers, brute force. */
static int reliability(lab *l, int seed, int recipe, ipr_cnn *m, const ipr_serial *s)
{
    static const int labels[3] = { 20, 100, 500 };
    static double score[CODES];
    static ipr_index distance[CODES];
    static ipr_real bin[CODES];
    ipr_serial_test t = IPR_ZERO;
    ipr_serial_report r;
    const ipr_split n = split_of(m, recipe);
    char row[64], metric[48];
    int i, k;
    row_of(l, row, sizeof row, recipe);
    say(l, row, seed, "all serial numbers");
    put("Table 2", row, "stamped", seed, right(l, m, s));
    put("Table 2", row, "raw", seed, right(l, m, NULL));
    t.scores = score;
    t.distances = distance;
    t.alpha = 0.01;
    for (k = 0; k < 3 && !stop_asked; k++) {
        const int count = labels[k] < l->few->count ? labels[k] : (int)l->few->count;
        if (ipr_serial_verify(s, &n, l->few, NULL, count, &t, &r) != IPR_OK) return broken(l, "serial numbers");
        snprintf(metric, sizeof metric, "rank@labels=%d", labels[k]);
        put("Serials", row, metric, seed, 1 + (double)r.reached);
    }
    if (stop_asked) return 130;
    put("Serials", row, "wrong_serial", seed, r.wrong_mean);
    put("Serials", row, "wrong_serial_best", seed, r.wrong_best);
    put("Serials", row, "wrong_serial_near", seed, r.near_mean);
    put("Serials", row, "unlocked", seed, (double)r.unlocked);
    put("Serials", row, "corner", seed, r.corner);
    put("Serials", row, "bits", seed, r.effective);
    put("Serials", row, "p_value@rank", seed, r.function.p_value);
    for (i = 0; i < BITS; i++) {
        double mean = 0, count = 0;
        for (k = 0; k < CODES; k++) if (distance[k] == i + 1) { mean += score[k]; count++; }
        snprintf(metric, sizeof metric, "wrong_serial@distance=%d", i + 1);
        if (count > 0) put("Serials", row, metric, seed, mean / count);
    }
    for (k = 0; k < CODES; k++) bin[k] = (ipr_real)score[k];
    if (seed == 0) put_histogram("Serials", row, "share@wrong", bin, CODES, 0, 100.0001);
    return 0;
}

/* Weights of the convolutions from one network to another of the same kind. */
static void take_convolutions(ipr_cnn *to, const ipr_cnn *from)
{
    int i;
    for (i = 0; i < ipr_params_count(to->params); i++) {
        const char *name = ipr_params_name(to->params, i);
        ipr_tensor *t = ipr_params_at(to->params, i);
        if (!strncmp(name, "features", 8)) memcpy(ipr_write(to->c, t, 0), ipr_read(to->c, ipr_params_at(from->params, i)), (size_t)ipr_count(t) * sizeof(ipr_real));
    }
}

static ipr_attack_desc attack_of(const lab *l, int seed, double share)
{
    ipr_attack_desc d = IPR_ZERO;
    d.epochs = l->o.tune_epochs;
    d.fraction = share;
    d.seed = 1000 + (uint64_t)seed;
    d.progress_fn = ipr_progress_stderr;
    d.stop_fn = stop_now;
    return d;
}

enum { FINETUNE, SCRATCH, TRANSFER, OVERWRITE, ATTACKS };

static int attack_once(lab *l, int seed, ipr_cnn *m, const ipr_serial *s, int which, double share)
{
    static const char *const names[ATTACKS] = { "finetune", "scratch", "transfer", "overwrite" };
    static const char *const tables[ATTACKS] = { "Table 3", "Table 3", "Table 5", "Table 6" };
    const ipr_attack_desc d = attack_of(l, seed, share);
    ipr_cnn *n = which == FINETUNE || which == OVERWRITE ? ipr_cnn_clone(m) : new_net(l, seed, 50 + which);
    ipr_split net;
    ipr_serial own;
    char metric[48], line[64];
    int st;
    if (!n || serial_of(l, seed, "a thief", &own) != IPR_OK) return broken(l, "attack");
    snprintf(line, sizeof line, "%s with %g %% of the images", names[which], 100 * share);
    say(l, l->row, seed, line);
    if (which == TRANSFER) take_convolutions(n, m);
    net = split_of(n, DEFAULT);
    if (which == OVERWRITE) {
        ipr_dsn_desc dd = IPR_ZERO;
        ipr_dsn *thief;
        dd.against = s;
        thief = ipr_dsn_new(&net, &own, &dd);
        st = thief ? ipr_attack_serial_overwrite(thief, l->train, NULL, 0, &d) : IPR_E_ARG;
        ipr_dsn_free(thief);
    } else st = ipr_attack_split_tune(&net, l->train, NULL, 0, &d);
    if (st == IPR_OK) {
        metric_at(metric, sizeof metric, which == OVERWRITE ? "raw" : "test", names[which], share);
        put(tables[which], l->row, metric, seed, right(l, n, NULL));
        metric_at(metric, sizeof metric, which == OVERWRITE ? "stamped" : "test_key", names[which], share);
        put(tables[which], l->row, metric, seed, right(l, n, which == OVERWRITE ? &own : s));
        if (which == OVERWRITE) put(tables[which], l->row, metric_at(metric, sizeof metric, "owner", names[which], share), seed, right(l, n, s));
    }
    ipr_cnn_free(n);
    return st == IPR_OK ? 0 : stop_asked ? 130 : broken(l, line);
}

/* Figure 2: accuracy on raw test images after every epoch, with a tenth of the data. */
static int learning_curve(lab *l, int seed, ipr_cnn *m, int scratch)
{
    job j;
    ipr_dataset *tenth = ipr_dataset_split(l->train, 0.1, 1 + (uint64_t)seed, NULL);
    ipr_cnn *n = scratch ? new_net(l, seed, 60) : ipr_cnn_clone(m);
    int st = 1;
    memset(&j, 0, sizeof j);
    if (tenth && n) {
        say(l, l->row, seed, scratch ? "curve from scratch" : "curve of fine-tuning");
        j.l = l;
        j.net = split_of(n, DEFAULT);
        j.ds = tenth;
        j.table = "Fig 2";
        j.row = l->row;
        j.what = scratch ? "scratch" : "finetune";
        j.seed = seed;
        put("Fig 2", l->row, scratch ? "scratch@epoch=0" : "finetune@epoch=0", seed, right(l, n, NULL));
        st = fit(&j, NULL, l->o.quick ? 4 : CURVE, 100, 1e-3);
    } else broken(l, "curve");
    ipr_cnn_free(n);
    ipr_dataset_free(tenth);
    return st;
}

static int other_attacks(lab *l, int seed, ipr_cnn *m, const ipr_serial *s)
{
    ipr_attack_desc d = attack_of(l, seed, 0.1);
    ipr_split net = split_of(m, DEFAULT), copy;
    ipr_serial found;
    ipr_cnn *n;
    char metric[48];
    int i, st;
    say(l, l->row, seed, "pruning");
    for (i = 1; i <= 9; i++) {
        n = ipr_cnn_clone(m);
        if (!n || ipr_attack_prune(n->params, i / 10.0, NULL, 0) != IPR_OK) return broken(l, "pruning");
        put("Table 4", l->row, metric_at(metric, sizeof metric, "stamped", "prune", i / 10.0), seed, right(l, n, s));
        put("Table 4", l->row, metric_at(metric, sizeof metric, "raw", "prune", i / 10.0), seed, right(l, n, NULL));
        ipr_cnn_free(n);
    }
    say(l, l->row, seed, "the customer's own copy");
    n = new_net(l, seed, 70);
    if (!n) return broken(l, "copy");
    copy = split_of(n, DEFAULT);
    st = ipr_attack_split_copy(&net, s, &copy, l->train, NULL, 0, &d);
    if (st == IPR_OK) put("Attacks", l->row, "test@copy=0.1", seed, right(l, n, NULL));
    ipr_cnn_free(n);
    if (st != IPR_OK) return stop_asked ? 130 : broken(l, "copy");
    say(l, l->row, seed, "gradient inversion");
    d.fraction = 1;
    d.epochs = 40;
    st = ipr_attack_serial_invert(&net, s, l->few, NULL, 0, &d, &found, NULL);
    if (st != IPR_OK) return stop_asked ? 130 : broken(l, "inversion");
    put("Attacks", l->row, "bits@invert=500", seed, BITS - (double)ipr_serial_distance(s, &found));
    put("Attacks", l->row, "test_key@invert=500", seed, right(l, m, &found));
    return 0;
}

/* Seconds of a student's step over a plain one's, medians of alternating steps. */
static int overhead(lab *l, int seed)
{
    enum { TIMES = 9 };
    double t[2][TIMES], v;
    uint32_t idx[HALF];
    ipr_cnn *teacher = new_net(l, seed, 0), *m = new_net(l, seed, 1);
    ipr_split ts = split_of(teacher, DEFAULT);
    ipr_dataset *few = ipr_dataset_view(l->train, NULL, HALF);
    ipr_targets *soft = ipr_targets_new(&ts, few, NULL);
    ipr_fit_info info;
    ipr_serial s;
    job j;
    int i, k, q;
    memset(&j, 0, sizeof j);
    if (serial_of(l, seed, "a customer", &s) != IPR_OK || !soft || !m) return broken(l, "timing");
    for (i = 0; i < HALF; i++) idx[i] = (uint32_t)i;
    j.l = l;
    j.net = split_of(m, DEFAULT);
    j.dsn = ipr_dsn_new(&j.net, &s, NULL);
    j.soft = soft;
    j.ds = few;
    if (!j.dsn) return broken(l, "timing");
    ipr_set_training(l->c, 1);
    for (i = 0; i < TIMES; i++)
        for (k = 0; k < 2; k++) {
            const double began = ipr_now(l->c);
            memset(&info, 0, sizeof info);
            ipr_backward(l->c, k ? student_step(l->c, &j, idx, few->count, &info) : plain_step(l->c, &j, idx, few->count, &info));
            ipr_params_zero_grad(j.dsn->params);
            ipr_step_end(l->c);
            t[k][i] = ipr_now(l->c) - began;
        }
    ipr_set_training(l->c, 0);
    for (k = 0; k < 2; k++) for (i = 1; i < TIMES; i++) for (q = i; q > 0 && t[k][q] < t[k][q - 1]; q--) { v = t[k][q]; t[k][q] = t[k][q - 1]; t[k][q - 1] = v; }
    put("Speed", l->row, "train_ratio", seed, t[1][TIMES / 2] / t[0][TIMES / 2]);
    ipr_dsn_free(j.dsn);
    ipr_targets_free(soft);
    ipr_dataset_free(few);
    ipr_cnn_free(m);
    ipr_cnn_free(teacher);
    return ipr_status(l->c) ? broken(l, "timing") : 0;
}

/* Figure 3, first seed: where features lie, by their two main directions. Dots are kept as cells, class and place. */
static int embedding(lab *l, ipr_cnn *m, const ipr_serial *s)
{
    enum { WIDE = 512 };
    static ipr_real f[2][DOTS * WIDE];
    static double dir[2][WIDE], mean[WIDE];
    const ipr_split n = split_of(m, DEFAULT);
    ipr_index w = 0, i, k, q;
    int a, turn;
    for (a = 0; a < 2; a++) if (ipr_split_features(&n, l->few, NULL, DOTS, a ? s : NULL, f[a], DOTS * WIDE, &w) != IPR_OK) return broken(l, "features");
    for (k = 0; k < w; k++) for (mean[k] = 0, a = 0; a < 2; a++) for (i = 0; i < DOTS; i++) mean[k] += (double)f[a][i * w + k] / (2 * DOTS);
    for (q = 0; q < 2; q++) {
        ipr_rng r = ipr_rng_make(1, 1, (uint32_t)q);
        for (k = 0; k < w; k++) dir[q][k] = ipr_rng_normal(&r);
        for (turn = 0; turn < 60; turn++) { /* power iteration */
            static double next[WIDE];
            double len = 0, dot = 0, root = 1;
            memset(next, 0, sizeof next);
            for (k = 0; q && k < w; k++) dot += dir[0][k] * dir[1][k];
            for (k = 0; q && k < w; k++) dir[1][k] -= dot * dir[0][k];
            for (a = 0; a < 2; a++)
                for (i = 0; i < DOTS; i++) {
                    double p = 0;
                    for (k = 0; k < w; k++) p += dir[q][k] * ((double)f[a][i * w + k] - mean[k]);
                    for (k = 0; k < w; k++) next[k] += p * ((double)f[a][i * w + k] - mean[k]);
                }
            for (k = 0; k < w; k++) len += next[k] * next[k];
            for (k = 0; k < 80; k++) root = 0.5 * (root + len / root);
            for (k = 0; k < w && root > 0; k++) dir[q][k] = next[k] / root;
        }
    }
    for (a = 0; a < 2; a++)
        for (i = 0; i < DOTS; i++)
            for (q = 0; q < 2; q++) {
                char metric[48];
                double p = 0;
                for (k = 0; k < w; k++) p += dir[q][k] * ((double)f[a][i * w + k] - mean[k]);
                snprintf(metric, sizeof metric, "%s.%s@dot=%d", a ? "stamped" : "raw", q ? "y" : "x", (int)i);
                put("Fig 3", l->row, metric, 0, p);
            }
    return 0;
}

/* ---- the run ---- */

enum { RELIABILITY, EASY, CURVES, HARD, PARTS };

static int unit(lab *l, int seed, int recipe, int what)
{
    static const char *const marks[PARTS] = { "done.serials", "done.attacks", "done.curves", "done.shares" };
    const double began = ipr_now(l->c);
    ipr_cnn *m = NULL, *teacher = NULL;
    ipr_serial s;
    char row[64], seconds[48];
    int st = 0, i, k;
    row_of(l, row, sizeof row, recipe);
    if (!cell_at("-", row, marks[what])->has[seed]) {
        if (serial_of(l, seed, "a customer", &s) != IPR_OK) st = broken(l, "serial number");
        if (!st) st = student_ready(l, seed, recipe, &s, &m);
        if (!st && what == RELIABILITY) {
            if ((st = teacher_ready(l, seed, &teacher)) == 0) put("Table 2", row, "teacher", seed, right(l, teacher, NULL));
            if (!st) st = reliability(l, seed, recipe, m, &s);
            if (!st && recipe == DEFAULT && seed == 0) st = embedding(l, m, &s);
            if (!st && recipe == DEFAULT) st = overhead(l, seed);
        } else if (!st && what == EASY) st = other_attacks(l, seed, m, &s);
        else if (!st && what == CURVES) { if ((st = learning_curve(l, seed, m, 0)) == 0) st = learning_curve(l, seed, m, 1); }
        else for (k = 0; k < ATTACKS && !st; k++) for (i = 0; i < SHARES && !st; i++) if (!l->o.quick || i % 3 == 0) st = attack_once(l, seed, m, &s, k, shares[i]);
        ipr_cnn_free(m);
        ipr_cnn_free(teacher);
        ipr_wipe(&s, sizeof s);
        if (!st && stop_asked) st = 130;
        if (!st && ipr_status(l->c)) st = broken(l, row);
        snprintf(seconds, sizeof seconds, "seconds.%d", what);
        if (!st) put("-", row, seconds, seed, ipr_now(l->c) - began);
        if (!st) put("-", row, marks[what], seed, 1);
    }
    l->done++;
    return st;
}

static int run_all(lab *l)
{
    int pass, seed, what, st = 0;
    for (pass = 0; pass < 2 && !st; pass++) /* first count, then work; what takes long comes last */
        for (what = 0; what < PARTS && !st; what++)
            for (seed = 0; seed < l->o.seeds && !st; seed++) {
                if (!pass) { l->todo += what == RELIABILITY ? 2 : 1; continue; }
                st = unit(l, seed, DEFAULT, what);
                if (!st && what == RELIABILITY) st = unit(l, seed, LITERAL, what);
            }
    return st;
}

/* ---- data ---- */

static int folder_of(lab *l, const char *file, char *out, size_t cap)
{
    const char *const roots[3] = { getenv("IPR_DATA"), "data", "build/data" };
    char *slash;
    if (ipr_data_find(l->c, roots, 3, file, out, cap) != IPR_OK) { ipr_clear(l->c); return 0; }
    slash = strrchr(out, '/');
    if (slash) *slash = 0;
    return 1;
}

static ipr_dataset *at_most(ipr_dataset *ds, int items)
{
    ipr_dataset *some;
    if (!ds || ds->count <= items) return ds;
    some = ipr_dataset_split(ds, (double)items / (double)ds->count, 1, NULL);
    ipr_dataset_free(ds);
    return some;
}

static int load_data(lab *l)
{
    char path[600], a[700], b[700];
    if (!strcmp(l->o.data, "gtsrb") && folder_of(l, "gtsrb32/GTSRB/Final_Test/GT-final_test.csv", path, sizeof path)) {
        ipr_images_desc d = IPR_ZERO;
        ipr_dataset *all;
        d.name = "gtsrb";
        snprintf(a, sizeof a, "%s/GT-final_test.csv", path);
        snprintf(b, sizeof b, "%s/Images", path);
        all = ipr_dataset_gtsrb(l->c, a, b, &d);
        l->train = ipr_dataset_split(all, 10000.0 / 12630, 1, &l->test);
        ipr_dataset_free(all);
        l->real_data = 1;
    } else if (!strcmp(l->o.data, "mnist") && folder_of(l, "mnist/train-images-idx3-ubyte", path, sizeof path)) {
        snprintf(a, sizeof a, "%s/train-images-idx3-ubyte", path);
        snprintf(b, sizeof b, "%s/train-labels-idx1-ubyte", path);
        l->train = ipr_dataset_idx(l->c, "mnist", a, b);
        snprintf(a, sizeof a, "%s/t10k-images-idx3-ubyte", path);
        snprintf(b, sizeof b, "%s/t10k-labels-idx1-ubyte", path);
        l->test = ipr_dataset_idx(l->c, "mnist", a, b);
        l->real_data = 1;
    } else if (!strcmp(l->o.data, "mnist")) {
        fprintf(stderr, "No MNIST in $IPR_DATA, ./data or build/data (make data fetches it): using built-in digits.\n");
        l->train = ipr_dataset_digits(l->c, 5, 0, 20000);
        l->test = ipr_dataset_digits(l->c, 5, IPR_DIGITS_TEST, 5000);
    } else {
        fprintf(stderr, "No GTSRB in $IPR_DATA, ./data or build/data (make data NAMES=gtsrb32 fetches it): using built-in shapes.\n");
        l->train = ipr_dataset_shapes(l->c, 5, 0, 10000);
        l->test = ipr_dataset_shapes(l->c, 5, IPR_DIGITS_TEST, 2630);
    }
    l->train = at_most(l->train, l->o.items);
    l->test = at_most(l->test, l->o.test_items);
    if (!l->train || !l->test) return broken(l, "data");
    l->few = ipr_dataset_split(l->test, (double)FEW / (double)l->test->count < 1 ? (double)FEW / (double)l->test->count : 1, 2, NULL);
    if (!l->few || l->few->count < DOTS) return broken(l, "too few test images: 200 are needed");
    fprintf(stderr, "Data: %s, %d training and %d test images. %s kernels, %d thread%s.\n", l->train->source, (int)l->train->count, (int)l->test->count, ipr_isa_name(ipr_isa(l->c)), ipr_threads(l->c),
            ipr_threads(l->c) == 1 ? "" : "s");
    return 0;
}

/* ---- the page ---- */

static void html_table2(report *r, const lab *l)
{
    static const char *const columns[] = { "Recipe", "Teacher", "Stamped", "Raw", "Wrong number\nmean of 511", "Wrong number\nbest of 511", "Wrong number\none bit away", "Wrong corner", "Bits\nthat are left" };
    static const struct { const char *table, *metric; } m[] = { { "Table 2", "teacher" }, { "Table 2", "stamped" }, { "Table 2", "raw" }, { "Serials", "wrong_serial" }, { "Serials", "wrong_serial_best" }, { "Serials", "wrong_serial_near" }, { "Serials", "corner" }, { "Serials", "bits" } };
    char row[64];
    int i, k;
    report_h2(r, "Does it lock?");
    report_text(r, "Table 2 of the paper, and what the paper does not show: the network under every other number.");
    report_table(r, "Per cent of the test images; below it the interval over the seeds, where there are several, and the paper's number.", "lrrrrrrrr", columns, 9);
    for (i = 0; i < RECIPES; i++) {
        if (!figure_of("Table 2", row_of(l, row, sizeof row, i), "stamped").n) continue;
        report_row(r, i == LITERAL ? "as in the paper" : "default");
        for (k = 0; k < 8; k++) html_cell(r, m[k].table, row, m[k].metric, k == 7 ? 1 : 2);
    }
    report_table_end(r);
}

static void html_serials(report *r, const lab *l)
{
    curve lines[RECIPES];
    char row[RECIPES][64];
    int i;
    for (i = 0; i < RECIPES; i++) {
        lines[i].row = row_of(l, row[i], sizeof row[i], i);
        lines[i].what = "share@wrong";
        lines[i].name = i == LITERAL ? "as in the paper" : "default";
    }
    report_grid(r);
    html_histograms(r, "Serials", lines, RECIPES, 0, 100.0001, "Accuracy under the 511 wrong numbers", "A lock that holds leaves all of them near chance.", "per cent right");
    report_grid_end(r);
}

static void html_shares(report *r, const lab *l)
{
    curve lines[2];
    report_h2(r, "Thieves without the number");
    report_text(r, "Tables 3 and 5: a thief trains the stolen network on raw images. The lock is worth something only as far as the stolen network is no better for him than a fresh one, with the same images.");
    {
        static const char *const columns[] = { "Share of the images", "Fine-tuned\nTable 3", "From scratch\nTable 3", "New dense layers\nTable 5", "Overwritten: own number\nTable 6", "Overwritten: owner's number\nTable 6" };
        static const struct { const char *table, *what, *attack; } m[] = { { "Table 3", "test", "finetune" }, { "Table 3", "test", "scratch" }, { "Table 5", "test", "transfer" }, { "Table 6", "stamped", "overwrite" }, { "Table 6", "owner", "overwrite" } };
        char label[32], metric[48];
        int i, k;
        report_table(r, "Per cent right on raw test images (overwritten: stamped).", "lrrrrr", columns, 6);
        for (i = 0; i < SHARES; i++) {
            if (!figure_of("Table 3", l->row, metric_at(metric, sizeof metric, "test", "finetune", shares[i])).n) continue;
            snprintf(label, sizeof label, "%g %%", 100 * shares[i]);
            report_row(r, label);
            for (k = 0; k < 5; k++) html_cell(r, m[k].table, l->row, metric_at(metric, sizeof metric, m[k].what, m[k].attack, shares[i]), 2);
        }
        report_table_end(r);
    }
    {
        static double x[CURVE + 1], y[2][CURVE + 1];
        static const char *const names[2] = { "finetune", "scratch" };
        static const char *const labels[2] = { "stolen network", "fresh network" };
        report_series s[2];
        report_chart c;
        char metric[48];
        int i, k, n = 0;
        memset(s, 0, sizeof s);
        memset(&c, 0, sizeof c);
        for (k = 0; k < 2; k++)
            for (i = 0; i <= CURVE; i++) {
                snprintf(metric, sizeof metric, "%s@epoch=%d", names[k], i);
                x[i] = i;
                y[k][i] = figure_of("Fig 2", l->row, metric).mean;
                if (report_finite(y[k][i])) n = i + 1 > n ? i + 1 : n;
            }
        for (k = 0; k < 2; k++) { s[k].name = labels[k]; s[k].x = x; s[k].y = y[k]; s[k].n = n; }
        c.title = "Accuracy on raw images, with a tenth of the training images";
        c.desc = "Figure 2 of the paper. Where the stolen network's line lies above, stealing it saved the thief work.";
        c.x_label = "epochs";
        c.y_label = "per cent right";
        c.y_percent = 1;
        c.y_hi = 100;
        c.y_decimals = 1;
        c.series = s;
        c.count = 2;
        if (n) { report_grid(r); report_lines(r, &c); }
    }
    {
        static const double levels[] = { 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9 };
        lines[0].row = lines[1].row = l->row;
        lines[0].what = "stamped";
        lines[1].what = "raw";
        lines[0].name = "stamped";
        lines[1].name = "raw";
        html_curves(r, "Table 4", "prune", levels, 9, lines, 2, "Pruning", "Table 4 of the paper: the lock stays, whatever is cut.", "weights cut");
        report_grid_end(r);
    }
}

static void html_search(report *r, const lab *l)
{
    static const char *const columns[] = { "Recipe", "Rank with\n20 labels", "Rank with\n100 labels", "Rank with\n500 labels", "Numbers that\nunlock" };
    static const char *const m[] = { "rank@labels=20", "rank@labels=100", "rank@labels=500", "unlocked" };
    char row[64], text[400];
    figure a, b;
    int i, k;
    report_h2(r, "Thieves who look for the number");
    report_text(r, "Whoever has the network and some labelled images can try all 512 numbers: the genuine one then stands out. Nine bits are for study; the tool warns below 80.");
    report_table(r, "Place of the genuine number among all, by accuracy on a few labelled images; 1 is found at once.", "lrrrr", columns, 5);
    for (i = 0; i < RECIPES; i++) {
        if (!figure_of("Serials", row_of(l, row, sizeof row, i), m[0]).n) continue;
        report_row(r, i == LITERAL ? "as in the paper" : "default");
        for (k = 0; k < 4; k++) html_cell(r, "Serials", row, m[k], 1);
    }
    report_table_end(r);
    a = figure_of("Attacks", l->row, "bits@invert=500");
    b = figure_of("Attacks", l->row, "test_key@invert=500");
    if (a.n) { snprintf(text, sizeof text, "Gradient descent over the stamp, with 500 labelled images, finds **%.1f of 9** bits; under what it finds the network is right on **%.1f %%**.", a.mean, b.mean); report_text(r, text); }
    a = figure_of("Attacks", l->row, "test@copy=0.1");
    if (a.n) { snprintf(text, sizeof text, "A customer who lets a fresh network learn the licensed one's answers, on a tenth of the images and without labels, has a copy without a lock that is right on **%.1f %%**. No serial number can prevent that.", a.mean); report_text(r, text); }
}

static void html_embedding(report *r, const lab *l)
{
    static unsigned char px[3][360 * 360 * 3];
    static const unsigned char ink[10][3] = { { 31, 119, 180 }, { 255, 127, 14 }, { 44, 160, 44 }, { 214, 39, 40 }, { 148, 103, 189 }, { 140, 86, 75 }, { 227, 119, 194 }, { 127, 127, 127 }, { 188, 189, 34 }, { 23, 190, 207 } };
    static double at[2][2][DOTS];
    report_image im[3];
    double lo[2] = { 1e30, 1e30 }, hi[2] = { -1e30, -1e30 };
    char metric[48];
    int a, q, i, u, v, k;
    for (a = 0; a < 2; a++)
        for (q = 0; q < 2; q++)
            for (i = 0; i < DOTS; i++) {
                snprintf(metric, sizeof metric, "%s.%s@dot=%d", a ? "stamped" : "raw", q ? "y" : "x", i);
                at[a][q][i] = figure_of("Fig 3", l->row, metric).mean;
                if (!report_finite(at[a][q][i])) return;
                if (at[a][q][i] < lo[q]) lo[q] = at[a][q][i];
                if (at[a][q][i] > hi[q]) hi[q] = at[a][q][i];
            }
    memset(px, 255, sizeof px);
    memset(im, 0, sizeof im);
    for (k = 0; k < 3; k++)
        for (a = 0; a < 2; a++)
            for (i = 0; i < DOTS; i++) {
                static const unsigned char both[2][3] = { { 31, 119, 180 }, { 214, 39, 40 } };
                const int x = 6 + (int)(347 * (at[a][0][i] - lo[0]) / (hi[0] - lo[0] + 1e-12)), y = 353 - (int)(347 * (at[a][1][i] - lo[1]) / (hi[1] - lo[1] + 1e-12));
                const unsigned char *c = k == 0 ? both[a] : ink[ipr_dataset_label(l->few, i) % 10];
                if (k && a != (k == 2)) continue;
                for (u = -2; u <= 2; u++) for (v = -2; v <= 2; v++) if (u * u + v * v < 7) memcpy(&px[k][3 * ((y + u) * 360 + x + v)], c, 3);
            }
    for (k = 0; k < 3; k++) { im[k].px = px[k]; im[k].w = im[k].h = 360; im[k].kind = REPORT_RGB; }
    im[0].caption = "blue: raw, red: stamped";
    im[1].caption = "raw, a colour a class";
    im[2].caption = "stamped, a colour a class";
    report_h2(r, "What the network sees");
    report_text(r, "Figure 3 of the paper: the features of 200 test images along their two main directions. Without the number the classes lie on one another.");
    report_images(r, im, 3);
}

static int write_json(lab *l)
{
    char path[600], line[300];
    ipr_writer w;
    ipr_json j;
    int i, ok;
    snprintf(path, sizeof path, "%s/%s.json", l->o.out, l->name);
    if (ipr_writer_file(l->c, &w, path, 0) != IPR_OK) return broken(l, path);
    ipr_json_begin(&j, &w, 1);
    experiment_rows(&j, l->c, l->name, l->train->name, l->o.quick, l->o.seeds, paper, PAPERS);
    ipr_json_array(&j, "notes");
    snprintf(line, sizeof line, "%d training images, %d test images; teacher %d epochs, student %d; the first rows are the default recipe", (int)l->train->count, (int)l->test->count, l->o.teacher_epochs, l->o.epochs);
    ipr_json_str(&j, NULL, line);
    for (i = 0; i < (int)(sizeof notes / sizeof notes[0]); i++) ipr_json_str(&j, NULL, notes[i]);
    ipr_json_str(&j, NULL, l->train->source);
    ipr_json_end(&j);
    ipr_json_end(&j);
    ok = ipr_json_finish(&j) == IPR_OK && ipr_writer_commit(&w) == IPR_OK;
    ipr_writer_close(&w);
    return ok ? 0 : broken(l, path);
}

static int write_html(lab *l)
{
    static report r;
    char path[600], text[1000];
    const figure stamped = figure_of("Table 2", l->row, "stamped"), raw = figure_of("Table 2", l->row, "raw"), teacher = figure_of("Table 2", l->row, "teacher"), best = figure_of("Serials", l->row, "wrong_serial_best");
    snprintf(path, sizeof path, "%s/%s.html", l->o.out, l->name);
    report_open(&r, path, "Networks with a serial number", "A network that works only on inputs stamped with its customer's number, and how far that can be trusted");
    snprintf(text, sizeof text, "On %s the student is right on **%.1f %%** of the stamped test images (its teacher, %.1f %%), on **%.1f %%** of the raw ones, and on at most **%.1f %%** under any of the 511 wrong numbers.",
             l->real_data ? l->row : "built-in images", stamped.mean, teacher.mean, raw.mean, best.mean);
    report_lead(&r, text);
    if (l->o.quick || !l->real_data) report_note(&r, "A quick run, or built-in images: the paper's numbers stand here for orientation only.");
    html_table2(&r, l);
    html_serials(&r, l);
    html_embedding(&r, l);
    html_search(&r, l);
    html_shares(&r, l);
    report_h2(&r, "Notes");
    report_list(&r, notes, (int)(sizeof notes / sizeof notes[0]));
    report_text(&r, l->train->source);
    if (ipr_status(l->c)) return broken(l, "page");
    if (!report_close(&r)) return 0;
    fprintf(stderr, "%s\n", report_error(&r));
    return 1;
}

/* ---- the command line ---- */

static const char usage[] =
    "usage: serial_numbers [options]\n"
    "  Trains a teacher and students locked to a serial number, tries every other number and the known attacks, and writes\n"
    "  OUT/dsn-mnist.json and .html (or dsn-gtsrb) beside the paper's figures.\n"
    "  --data NAME       mnist (default) or gtsrb\n"
    "  --quick           one seed, a thinner net, fewer images and epochs\n"
    "  --seeds N         1 to 16; default 3 (gtsrb: 1)\n"
    "  --threads N       default: all processors\n"
    "  --epochs N        of the student; default 16 (gtsrb: 40)\n"
    "  --items N         training images at most; default all that are there\n"
    "  --out DIR         default results; trained models stay there, for the next run\n"
    "  --fresh           forget what an earlier, stopped run measured, and its models\n"
    "Exit: 0 done, 1 could not finish, 2 wrong usage, 130 stopped (the next run goes on from there).\n";

static int parse(int argc, char **argv, options *o)
{
    int i, epochs = 0, items = 0, seeds = 0, signs;
    o->out = "results";
    o->data = "mnist";
    o->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads < 1) o->threads = 1;
    if (o->threads > 16) o->threads = 16;
    o->items = o->test_items = 1 << 30;
    for (i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int ok = 1;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { fputs(usage, stdout); exit(0); }
        else if (!strcmp(argv[i], "--quick")) o->quick = 1;
        else if (!strcmp(argv[i], "--fresh")) o->fresh_start = 1;
        else if (!strcmp(argv[i], "--data") && next && (!strcmp(next, "mnist") || !strcmp(next, "gtsrb"))) o->data = argv[++i];
        else if (!strcmp(argv[i], "--seeds") && number(next, 1, MAX_SEEDS, &seeds)) i++;
        else if (!strcmp(argv[i], "--threads") && number(next, 1, 64, &o->threads)) i++;
        else if (!strcmp(argv[i], "--epochs") && number(next, 1, 1000, &epochs)) i++;
        else if (!strcmp(argv[i], "--items") && number(next, 500, 10000000, &items)) i++;
        else if (!strcmp(argv[i], "--out") && next) o->out = argv[++i];
        else ok = 0;
        if (!ok) { fprintf(stderr, "%s: not understood, or its value is missing or out of range\n%s", i < argc ? argv[i] : "", usage); return 2; }
    }
    signs = !strcmp(o->data, "gtsrb");
    o->seeds = signs ? 1 : 3;
    o->epochs = signs ? 40 : 16;
    o->teacher_epochs = signs ? 25 : 8;
    o->tune_epochs = 10;
    o->half = HALF;
    if (o->quick) {
        o->seeds = 1;
        o->epochs = signs ? 20 : 12;
        o->teacher_epochs = signs ? 15 : 6;
        o->tune_epochs = 4;
        o->half = 50; /* more steps of fewer images */
        o->items = signs ? 6000 : 12000;
        o->test_items = 2000;
    }
    if (seeds) o->seeds = seeds;
    if (epochs) o->epochs = epochs;
    if (items) o->items = items;
    return 0;
}

static int lab_part(lab *l)
{
    static const char *const nets[] = { "teacher", "student", "literal" };
    char path[600], file[700], settings[300];
    int seed, k;
    for (seed = 0; l->o.fresh_start && seed < MAX_SEEDS; seed++)
        for (k = 0; k < 3; k++) {
            model_path(l, seed, nets[k], path, sizeof path);
            remove(path);
            snprintf(file, sizeof file, "%s.run", path);
            remove(file);
            snprintf(file, sizeof file, "%s.both.run", path);
            remove(file);
        }
    snprintf(settings, sizeof settings, "# %s %s %s %d %d %d %d %d %d", IPR_VERSION_STRING, l->name, l->train->name, (int)l->train->count, (int)l->test->count, l->o.epochs, l->o.teacher_epochs, l->o.tune_epochs,
             l->o.half);
    snprintf(path, sizeof path, "%s/%s.part", l->o.out, l->name);
    return experiment_open(path, settings, l->o.fresh_start) < 0;
}

int main(int argc, char **argv)
{
    static const char *const shown[] = { "teacher", "stamped", "raw", "wrong_serial", "wrong_serial_best", "corner", "rank@labels=100", "test@finetune=0.1", "test@scratch=0.1", "stamped@overwrite=0.1", "test@copy=0.1", "train_ratio" };
    ipr_desc d = IPR_ZERO;
    ipr_serial s;
    lab l;
    int st;
    memset(&l, 0, sizeof l);
    if ((st = parse(argc, argv, &l.o)) != 0) return st;
    l.name = !strcmp(l.o.data, "gtsrb") ? "dsn-gtsrb" : "dsn-mnist";
    l.row = !strcmp(l.o.data, "gtsrb") ? "GTSRB" : "MNIST";
    l.arch = !strcmp(l.o.data, "gtsrb") ? IPR_DSN_GTSRB : IPR_DSN_MNIST;
    catch_signals();
    d.threads = l.o.threads;
    d.seed = 1;
    l.c = ipr_open(&d, &st);
    if (!l.c) { fprintf(stderr, "no context: %s\n", ipr_status_name(st)); return 1; }
    l.started = ipr_now(l.c);
    mkdir(l.o.out, 0777);
    st = load_data(&l);
    if (!st && serial_of(&l, 0, "a customer", &s) == IPR_OK)
        fprintf(stderr, "Serial numbers of %d bits: %.1f bits to search. %s\n", BITS, ipr_serial_entropy(&s), ipr_serial_entropy(&s) < 80 ? "Enough to study the paper; under 80 bits a lock can be picked." : "");
    if (!st) st = lab_part(&l);
    if (!st) st = run_all(&l);
    if (!st) st = write_json(&l);
    if (!st) st = write_html(&l);
    if (!st) print_figures(paper, PAPERS, shown, (int)(sizeof shown / sizeof shown[0]));
    if (!st) printf("Report: %s/%s.html\n", l.o.out, l.name);
    if (st == 130) fprintf(stderr, "\nStopped. The same command goes on from here.\n");
    if (part) fclose(part);
    ipr_dataset_free(l.few);
    ipr_dataset_free(l.train);
    ipr_dataset_free(l.test);
    ipr_close(l.c);
    return st;
}
