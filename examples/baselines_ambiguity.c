/* The marks that passports replaced, and how they are forged: Uchida's projection and Adi's triggers on CIFAR-10. Table I and
   Figures 2, 3 and 4 of the passport paper.

     baselines_ambiguity [--quick] [--seeds N] [--threads N] [--net NAME] [--width X] [--epochs N] [--out DIR] ...

   Writes DIR/baselines-ambiguity.json and .html. Every finished measurement is kept in DIR/baselines-ambiguity.part, and
   training in a checkpoint, so a run that was stopped goes on where it was. Exit: 0 done, 1 could not finish, 2 wrong usage,
   130 stopped. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define IPR_IMPLEMENTATION
#include "../ipr.h"
#include "report.h"
#include "experiment.h"
#include "passports_common.h"

#define NAME "baselines-ambiguity"
enum { PASSES = 100, STEPS = 50, TIMED = 12 };

static const paper_figure paper[] = {
    { "Table I", "AlexNet_Uchida", "test", 90.97 }, { "Table I", "AlexNet_Uchida", "wm", 100 }, { "Table I", "AlexNet_Uchida", "wm_forged", 100 }, { "Table I", "AlexNet_Uchida", "forging_cost", 2.5 },
    { "Table I", "AlexNet_Adi", "test", 91.03 }, { "Table I", "AlexNet_Adi", "wm", 100 }, { "Table I", "AlexNet_Adi", "wm_forged", 100 }, { "Table I", "AlexNet_Adi", "forging_cost", 5 },
    { "Table I", "AlexNet_Uchida", "test@transfer=cifar100", 64.25 }, { "Table I", "AlexNet_Uchida", "wm@transfer=cifar100", 100 }, { "Table I", "AlexNet_Uchida", "wm_forged@transfer=cifar100", 100 },
    { "Table I", "AlexNet_Uchida", "test@transfer=caltech101", 74.08 }, { "Table I", "AlexNet_Uchida", "wm@transfer=caltech101", 100 }, { "Table I", "AlexNet_Uchida", "wm_forged@transfer=caltech101", 100 },
    { "Table I", "AlexNet_Adi", "test@transfer=cifar100", 65.20 }, { "Table I", "AlexNet_Adi", "wm@transfer=cifar100", 25.00 }, { "Table I", "AlexNet_Adi", "wm_forged@transfer=cifar100", 27.80 },
    { "Table I", "AlexNet_Adi", "test@transfer=caltech101", 75.06 }, { "Table I", "AlexNet_Adi", "wm@transfer=caltech101", 43.60 }, { "Table I", "AlexNet_Adi", "wm_forged@transfer=caltech101", 46.80 },
};
enum { PAPERS = sizeof paper / sizeof paper[0] };

#include "experiment_html.h"

static const char *const notes[] = {
    "recipe, the same for all networks: SGD 0.01, momentum 0.9, weight decay 5e-4, batch 64, random crop after padding by 4 and flip, learning rate x 0.1 at 50 % and 75 % of the epochs; the last epoch is measured",
    "Uchida: 64 bits (256 at full width) in the last convolution, projection N(0,1), weight 0.01; forged: other bits, and a projection that reads them, by 50 steps of Adam (lr 0.01) on eq. 2 with the network frozen; wm_closed: in closed form, no steps at all",
    "Adi: 100 (quick: 20) abstract pictures with labels, both drawn by the owner's seed, 2 behind every batch; forged: as many test images and 0.04 times trainable noise, labels drawn at random, 100 passes of Adam (lr 0.05), rounded to bytes",
    "wm: % of the owner's bits or triggers found; wm_forged: of the forger's; wm_unmarked: of the owner's in the network that was trained without a mark",
    "@transfer: all layers trained at a constant 0.01 on another task, with a new classifier; triggers are then judged with the old classifier; traffic signs are not mirrored",
    "forging_cost: seconds of forging over seconds of training, %; training seconds: the median of 12 steps times the number of steps",
    "log10_p: exact binomial of the bits against 1/2. It holds for a projection fixed before the network was trained; the forged one passes just as well, which is why a commitment is needed",
    "lo, hi: Student t 95 % interval over the seeds; equal to ours when there is one seed",
};

/* ---- measurements ---- */

static double training_seconds(net *n)
{
    lab *l = n->l;
    double t[TIMED], s;
    uint32_t idx[BATCH];
    ipr_fit_info info;
    ipr_cnn *keep = n->m;
    int r, i;
    n->m = ipr_cnn_clone(keep); /* running statistics move in a training step */
    for (r = 0; n->m && r < TIMED; r++) {
        const double began = ipr_now(l->c);
        for (i = 0; i < BATCH; i++) idx[i] = (uint32_t)((r * BATCH + i) % (int)l->train->count);
        memset(&info, 0, sizeof info);
        ipr_set_training(l->c, 1);
        ipr_backward(l->c, train_step(l->c, n, idx, BATCH, &info));
        ipr_set_training(l->c, 0);
        ipr_params_zero_grad(n->m->params);
        ipr_step_end(l->c);
        t[r] = ipr_now(l->c) - began;
    }
    ipr_cnn_free(n->m);
    n->m = keep;
    for (r = 1; r < TIMED; r++) for (i = r; i > 0 && t[i] < t[i - 1]; i--) { s = t[i]; t[i] = t[i - 1]; t[i - 1] = s; }
    return t[TIMED / 2] * (double)(l->train->count / BATCH) * l->o.epochs;
}

static double bits_found(const ipr_uchida *u, const ipr_cnn *m) { return 100.0 * (double)ipr_uchida_match(u, m, NULL) / (double)u->bits; }

/* Figure 2, first seed: values of the projections, and what they read. */
static void projection_histograms(net *n, const ipr_uchida *u, const ipr_cnn *m, const char *who, const char *what)
{
    ipr_ctx *c = n->l->c;
    double *v = (double *)malloc((size_t)u->bits * sizeof *v);
    ipr_real *x = (ipr_real *)malloc((size_t)u->bits * sizeof *x);
    char row[96];
    ipr_index i;
    snprintf(row, sizeof row, "%s %s", n->row, who);
    if (!strcmp(what, "feature")) put_histogram("Fig 2", row, "share@projection", ipr_read(c, u->projection), ipr_count(u->projection), -4, 4);
    if (v && x && ipr_uchida_match(u, m, v) >= 0) {
        char metric[48];
        for (i = 0; i < u->bits; i++) x[i] = (ipr_real)v[i];
        snprintf(metric, sizeof metric, "share@%s", what);
        put_histogram("Fig 2", row, metric, x, u->bits, -8, 8);
    }
    free(v);
    free(x);
}

static void after_transfer(net *n, const target *t, const ipr_uchida *forged, const ipr_uchida *closed, const ipr_dataset *images)
{
    lab *l = n->l;
    ipr_cnn *m, *old;
    char metric[48];
    say(l, n->row, n->seed, t->label);
    m = tuned(n, IPR_RTAL, t->train, t->flip, l->o.tune_epochs, 0.01);
    if (!m) return;
    snprintf(metric, sizeof metric, "test@transfer=%s", t->name);
    put("Table I", n->row, metric, n->seed, accuracy(l, m, t->test, NULL));
    old = n->triggers ? ipr_attack_old_head(m, n->m) : NULL;
    snprintf(metric, sizeof metric, "wm@transfer=%s", t->name);
    put("Table I", n->row, metric, n->seed, n->u ? bits_found(n->u, m) : accuracy(l, old, n->triggers, NULL));
    snprintf(metric, sizeof metric, "wm_forged@transfer=%s", t->name);
    put("Table I", n->row, metric, n->seed, n->u ? bits_found(forged, m) : accuracy(l, old, images, NULL));
    if (closed) {
        snprintf(metric, sizeof metric, "wm_closed@transfer=%s", t->name);
        put("Table I", n->row, metric, n->seed, bits_found(closed, m));
    }
    if (n->u && n->seed == 0 && t == l->to) {
        projection_histograms(n, n->u, m, "real", "feature_after");
        projection_histograms(n, forged, m, "forged", "feature_after");
    }
    ipr_cnn_free(old);
    ipr_cnn_free(m);
}

static void forged_path(const lab *l, char *path, size_t cap) { snprintf(path, cap, "%s/" NAME ".forged.safetensors", l->o.out); }

/* The forger's images: different test images, chosen at random. */
static ipr_dataset *base_images(lab *l, int seed, uint32_t *idx)
{
    const int triggers = l->o.triggers;
    ipr_rng g = ipr_rng_make(300 + (uint64_t)seed, 9, 0);
    int i, k;
    for (i = 0; i < triggers; i++)
        do {
            idx[i] = ipr_rng_below(&g, (uint32_t)l->test->count);
            for (k = 0; k < i && idx[k] != idx[i]; k++) {}
        } while (k < i);
    return ipr_dataset_view(l->test, idx, triggers);
}

static int attack_uchida(net *n)
{
    lab *l = n->l;
    const double full = training_seconds(n);
    double began, spent;
    ipr_uchida *forged, *closed;
    int t;
    say(l, n->row, n->seed, "forging a projection");
    began = ipr_now(l->c);
    forged = ipr_attack_uchida(n->u, n->m, STEPS, 77 + (uint64_t)n->seed);
    spent = ipr_now(l->c) - began;
    put("Table I", n->row, "forging_cost", n->seed, 100 * spent / full);
    began = ipr_now(l->c);
    closed = ipr_attack_uchida(n->u, n->m, 0, 77 + (uint64_t)n->seed);
    put("Table I", n->row, "forging_cost_closed", n->seed, 100 * (ipr_now(l->c) - began) / full);
    if (!forged || !closed) return broken(l, "forging");
    put("Table I", n->row, "wm", n->seed, bits_found(n->u, n->m));
    put("Table I", n->row, "wm_forged", n->seed, bits_found(forged, n->m));
    put("Table I", n->row, "wm_closed", n->seed, bits_found(closed, n->m));
    put("Verdict", n->row, "log10_p@binomial=real", n->seed, ipr_uchida_verify(n->u, n->m, 0).log10_p);
    put("Verdict", n->row, "log10_p@binomial=forged", n->seed, ipr_uchida_verify(forged, n->m, 0).log10_p);
    if (n->seed == 0) {
        projection_histograms(n, n->u, n->m, "real", "feature");
        projection_histograms(n, forged, n->m, "forged", "feature");
    }
    for (t = 0; t < l->tos && !stop_asked; t++) after_transfer(n, &l->to[t], forged, closed, NULL);
    ipr_uchida_free(forged);
    ipr_uchida_free(closed);
    return 0;
}

/* Shares of the values of images' bytes. */
static void pixel_histogram(net *n, const ipr_dataset *ds, const char *who)
{
    ipr_real *x = (ipr_real *)malloc((size_t)(ds->count * ds->item) * sizeof *x);
    char row[96];
    ipr_index i, k;
    for (i = 0; x && i < ds->count; i++) {
        const uint8_t *b = ipr_dataset_item_u8(ds, i);
        for (k = 0; k < ds->item; k++) x[i * ds->item + k] = (ipr_real)b[k];
    }
    snprintf(row, sizeof row, "%s %s", n->row, who);
    if (x) put_histogram("Fig 4", row, "share@pixel", x, ds->count * ds->item, 0, 256);
    free(x);
}

static int attack_adi(net *n)
{
    lab *l = n->l;
    const double full = training_seconds(n);
    ipr_attack_desc d = IPR_ZERO;
    uint32_t idx[100];
    ipr_dataset *forged, *base = base_images(l, n->seed, idx);
    char path[600];
    double began;
    int t;
    say(l, n->row, n->seed, "forging triggers");
    d.epochs = PASSES;
    d.lr = 0.05; /* at 0.01 some labels are not reached */
    d.seed = 500 + (uint64_t)n->seed;
    d.progress_fn = ipr_progress_stderr;
    d.stop_fn = stop_now;
    began = ipr_now(l->c);
    forged = ipr_attack_triggers(n->m, l->test, idx, l->o.triggers, &l->norm, &d);
    if (!forged) return stop_asked ? 130 : broken(l, "forging");
    put("Table I", n->row, "forging_cost", n->seed, 100 * (ipr_now(l->c) - began) / full);
    put("Table I", n->row, "wm", n->seed, accuracy(l, n->m, n->triggers, NULL));
    put("Table I", n->row, "wm_forged", n->seed, accuracy(l, n->m, forged, NULL));
    if (n->seed == 0 && base) {
        pixel_histogram(n, base, "base");
        pixel_histogram(n, forged, "forged");
        forged_path(l, path, sizeof path);
        ipr_triggers_save(forged, path);
    }
    for (t = 0; t < l->tos && !stop_asked; t++) after_transfer(n, &l->to[t], NULL, NULL, forged);
    ipr_dataset_free(base);
    ipr_dataset_free(forged);
    return 0;
}

/* What the owner's secrets find in a network that never learnt them. */
static int unmarked(net *n)
{
    lab *l = n->l;
    char row[64];
    int v, st = 0;
    for (v = UCHIDA; v <= ADI && !st; v++) {
        net other;
        st = net_make(l, n->seed, v, &other);
        if (!st) put("Table I", row_of(l, row, sizeof row, v), "wm_unmarked", n->seed, v == UCHIDA ? bits_found(other.u, n->m) : accuracy(l, n->m, other.triggers, NULL));
        net_free(&other);
    }
    return st;
}

/* ---- the run ---- */

static int unit(lab *l, int seed, int v)
{
    net n;
    char row[64];
    const double began = ipr_now(l->c);
    int st = 0;
    row_of(l, row, sizeof row, v);
    if (!cell_at("-", row, "done")->has[seed]) {
        st = net_ready(l, seed, v, &n);
        if (!st) put("Table I", row, "test", seed, accuracy(l, n.m, l->test, NULL));
        if (!st) st = v == BN ? unmarked(&n) : v == UCHIDA ? attack_uchida(&n) : attack_adi(&n);
        net_free(&n);
        if (!st && stop_asked) st = 130;
        if (!st && ipr_status(l->c)) st = broken(l, row);
        if (!st) put("-", row, "seconds", seed, ipr_now(l->c) - began);
        if (!st) put("-", row, "done", seed, 1);
    }
    l->done++;
    return st;
}

static int run_all(lab *l)
{
    static const int which[] = { BN, UCHIDA, ADI };
    int seed, i, pass, st;
    for (pass = 0; pass < 2; pass++) /* first count, then work */
        for (seed = 0; seed < l->o.seeds; seed++)
            for (i = 0; i < 3; i++) {
                if (!wanted(l, which[i])) continue;
                if (!pass) { l->todo++; continue; }
                if ((st = unit(l, seed, which[i])) != 0) return st;
            }
    return 0;
}

/* ---- the page ---- */

static void html_table1(report *r, const lab *l)
{
    static const int which[] = { BN, UCHIDA, ADI };
    static const char *const text[] = { "unprotected", "bits in the weights of one layer", "images with labels of the owner's choice" };
    static const char *const m[] = { "test", "wm", "wm_forged", "wm_closed", "wm_unmarked", "forging_cost" };
    static const char *const name[] = { "Test set", "Owner's mark\n% found", "Forged mark\n% found", "Forged mark\nclosed form, % found", "Owner's mark\nin the unprotected network", "Cost of forging\n% of training" };
    const char *columns[7], *after[4] = { "Network", "Test set\nof the new task", "Owner's mark\n% found", "Forged mark\n% found" };
    char row[64], label[128], metric[48];
    int i, k, t;
    columns[0] = "Network";
    for (i = 0; i < 6; i++) columns[i + 1] = name[i];
    report_h2(r, "Real and forged marks");
    report_text(r, "Table I of the paper. A forger with the finished network and no training data makes a mark of his own, and the network bears it as well as the owner's.");
    report_table(r, "Per cent; below it the interval over the seeds, where there are several, and the paper's number.", "lrrrrrr", columns, 7);
    for (i = 0; i < 3; i++) {
        if (!figure_of("Table I", row_of(l, row, sizeof row, which[i]), "test").n) continue;
        snprintf(label, sizeof label, "%s\n%s", row, text[i]);
        report_row(r, label);
        for (k = 0; k < 6; k++) html_cell(r, "Table I", row, m[k], k == 5 ? 3 : k ? 1 : 2);
    }
    report_table_end(r);
    for (t = 0; t < l->tos; t++) {
        snprintf(label, sizeof label, "After transfer to %s", l->to[t].label);
        report_table(r, label, "lrrr", after, 4);
        for (i = 1; i < 3; i++) {
            report_row(r, row_of(l, row, sizeof row, which[i]));
            snprintf(metric, sizeof metric, "test@transfer=%s", l->to[t].name);
            html_cell(r, "Table I", row, metric, 2);
            snprintf(metric, sizeof metric, "wm@transfer=%s", l->to[t].name);
            html_cell(r, "Table I", row, metric, 1);
            snprintf(metric, sizeof metric, "wm_forged@transfer=%s", l->to[t].name);
            html_cell(r, "Table I", row, metric, 1);
        }
        report_table_end(r);
    }
}

static void html_fig2(report *r, const lab *l)
{
    static const struct { const char *what, *title, *x; double hi; } h[] = { { "share@projection", "The projections", "value of X", 4 }, { "share@feature", "What they read", "X w; the sign is the bit", 8 }, { "share@feature_after", "What they read after transfer", "X w", 8 } };
    char row[64], real[80], forged[80];
    curve lines[2];
    int i;
    row_of(l, row, sizeof row, UCHIDA);
    snprintf(real, sizeof real, "%s real", row);
    snprintf(forged, sizeof forged, "%s forged", row);
    report_h2(r, "A forged projection looks like a real one");
    report_text(r, "Figure 2 of the paper: a forger moves every row of a random projection a little, until the network's weights give his bits.");
    report_grid(r);
    for (i = 0; i < 3; i++) {
        lines[0].row = real;
        lines[1].row = forged;
        lines[0].name = "owner's";
        lines[1].name = "forged";
        lines[0].what = lines[1].what = h[i].what;
        html_histograms(r, "Fig 2", lines, 2, -h[i].hi, h[i].hi, h[i].title, NULL, h[i].x);
    }
    report_grid_end(r);
}

static void html_fig3(report *r, lab *l)
{
    enum { SHOWN = 6 };
    static unsigned char noise[SHOWN][3072];
    report_image im[3][SHOWN];
    char caption[SHOWN][48], row[64], path[600], base[80], forged[80];
    ipr_dataset *set[2] = { NULL, NULL };
    uint32_t idx[100];
    FILE *f;
    curve lines[2];
    int i, k;
    row_of(l, row, sizeof row, ADI);
    snprintf(base, sizeof base, "%s base", row);
    snprintf(forged, sizeof forged, "%s forged", row);
    forged_path(l, path, sizeof path);
    f = fopen(path, "rb");
    if (f) {
        fclose(f);
        set[0] = base_images(l, 0, idx);
        set[1] = ipr_triggers_load(l->c, path);
    }
    report_h2(r, "Forged triggers look like the images they were made of");
    memset(im, 0, sizeof im);
    if (set[0] && set[1]) {
        report_text(r, "Figure 3 of the paper: images that anybody has, the noise added to them (ten times stronger here), and the forged triggers with the forger's labels, which the network gives them.");
        for (i = 0; i < SHOWN; i++) {
            const uint8_t *a = ipr_dataset_item_u8(set[0], i), *b = ipr_dataset_item_u8(set[1], i);
            for (k = 0; a && b && k < 3072; k++) { const int d = 128 + 10 * ((int)b[k] - (int)a[k]); noise[i][k] = (unsigned char)(d < 0 ? 0 : d > 255 ? 255 : d); }
            for (k = 0; k < 3; k++) { im[k][i].px = k == 0 ? a : k == 1 ? noise[i] : b; im[k][i].w = im[k][i].h = 32; im[k][i].kind = REPORT_PLANES; }
            snprintf(caption[i], sizeof caption[0], "%s", ipr_dataset_class_name(l->train, ipr_dataset_label(set[1], i)));
            if (!caption[i][0]) snprintf(caption[i], sizeof caption[0], "class %d", (int)ipr_dataset_label(set[1], i));
            im[0][i].caption = ipr_dataset_class_name(l->train, ipr_dataset_label(set[0], i));
            im[1][i].caption = "noise x 10";
            im[2][i].caption = caption[i];
        }
        for (k = 0; k < 3; k++) report_images(r, im[k], SHOWN);
    }
    report_text(r, "Figure 4 of the paper: the values of their pixels.");
    lines[0].row = base;
    lines[1].row = forged;
    lines[0].name = "base images";
    lines[1].name = "forged triggers";
    lines[0].what = lines[1].what = "share@pixel";
    html_histograms(r, "Fig 4", lines, 2, 0, 256, "Pixel values", NULL, "value");
    ipr_dataset_free(set[0]);
    ipr_dataset_free(set[1]);
}

static int write_html(lab *l)
{
    static report r;
    char path[600], text[1200], row[64];
    figure a, b;
    snprintf(path, sizeof path, "%s/" NAME ".html", l->o.out);
    report_open(&r, path, "Forging the marks of others", "Two earlier ways to mark a network, and what a forger makes of them");
    snprintf(text, sizeof text, "%s of %g of the paper's width learned from %d images (%s), marked by Uchida's projection or by Adi's triggers.", net_name(l->o.arch), l->o.width, (int)l->train->count,
             l->real_data ? "CIFAR-10" : "built-in shapes: no CIFAR-10 was found");
    row_of(l, row, sizeof row, UCHIDA);
    a = figure_of("Table I", row, "wm_forged");
    b = figure_of("Table I", row, "wm");
    if (a.n) snprintf(text + strlen(text), sizeof text - strlen(text), " The owner's bits are found to **%.1f %%**, a forger's to **%.1f %%**", b.mean, a.mean);
    row_of(l, row, sizeof row, ADI);
    b = figure_of("Table I", row, "wm");
    if (a.n && figure_of("Table I", row, "wm_forged").n) snprintf(text + strlen(text), sizeof text - strlen(text), "; his triggers to **%.1f %%**, the owner's to **%.1f %%**.", figure_of("Table I", row, "wm_forged").mean, b.mean);
    report_lead(&r, text);
    if (l->o.quick || !l->real_data) report_note(&r, "A quick run, or built-in images: the paper's numbers stand here for orientation only.");
    report_text(&r, "Either mark therefore proves something only if it was committed, with a date, before the network was published; the network's own answers cannot tell the two apart.");
    html_table1(&r, l);
    html_fig2(&r, l);
    html_fig3(&r, l);
    report_h2(&r, "Notes");
    report_list(&r, notes, (int)(sizeof notes / sizeof notes[0]));
    report_text(&r, l->train->source);
    if (ipr_status(l->c)) return broken(l, "page");
    if (!report_close(&r)) return 0;
    fprintf(stderr, "%s\n", report_error(&r));
    return 1;
}

static const char usage[] =
    "usage: baselines_ambiguity [options]\n"
    "  Marks convolutional networks by Uchida's projection and by Adi's triggers, forges both marks, moves the networks to\n"
    "  another task, and writes OUT/baselines-ambiguity.json and .html beside the paper's figures.\n";

int main(int argc, char **argv)
{
    static const char *const shown[] = { "test", "wm", "wm_forged", "wm_closed", "wm_unmarked", "forging_cost", "test@transfer=gtsrb", "wm@transfer=gtsrb", "wm_forged@transfer=gtsrb", "test@transfer=cifar100",
                                         "wm@transfer=cifar100", "wm_forged@transfer=cifar100" };
    lab l;
    int st = lab_open(&l, argc, argv, usage);
    if (st == 2) return 2;
    if (!st) st = lab_part(&l, NAME);
    if (!st) st = run_all(&l);
    if (!st) st = write_json(&l, NAME, paper, PAPERS, notes, (int)(sizeof notes / sizeof notes[0]));
    if (!st) st = write_html(&l);
    if (!st) print_figures(paper, PAPERS, shown, (int)(sizeof shown / sizeof shown[0]));
    if (!st) printf("Report: %s/" NAME ".html\n", l.o.out);
    return lab_close(&l, st);
}
