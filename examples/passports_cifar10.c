/* Passports on CIFAR-10: convolutional networks whose norms take their scales from secret passports. Tables II, V, VI, VIII, X
   and XI and Figures 6, 7, 9 and 10 of the paper; its attacks are passports_attacks.c's, the baselines it replaced
   baselines_ambiguity.c's.

     passports_cifar10 [--quick] [--seeds N] [--threads N] [--net NAME] [--width X] [--epochs N] [--passports KIND] [--out DIR] ...

   Writes DIR/passports-cifar10.json and .html, and the trained networks. Every finished measurement is kept in
   DIR/passports-cifar10.part, and training in a checkpoint, so a run that was stopped goes on where it was. Exit: 0 done,
   1 could not finish, 2 wrong usage, 130 stopped. */
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

#define NAME "passports-cifar10"
enum { SAMPLE = 48, EPOCHS_SHOWN = 60, ROUNDS = 9 };

/* ---- the paper's numbers ---- */

static const paper_figure paper[] = {
    { "Table VI", "AlexNet_BN", "test", 91.12 }, { "Table VI", "AlexNet_V1", "test", 90.91 }, { "Table VI", "AlexNet_GN", "test", 90.88 }, { "Table VI", "AlexNet_V2", "test", 89.44 }, { "Table VI", "AlexNet_V3", "test", 89.15 },
    { "Table VI", "AlexNet_V1", "signature", 100 }, { "Table VI", "AlexNet_V2", "signature", 100 }, { "Table VI", "AlexNet_V3", "signature", 100 },
    { "Table VI", "AlexNet_BN", "test@transfer=cifar100", 65.53 }, { "Table VI", "AlexNet_V1", "test@transfer=cifar100", 64.64 }, { "Table VI", "AlexNet_GN", "test@transfer=cifar100", 62.17 },
    { "Table VI", "AlexNet_V2", "test@transfer=cifar100", 59.31 }, { "Table VI", "AlexNet_V3", "test@transfer=cifar100", 59.41 },
    { "Table VI", "AlexNet_V1", "signature@transfer=cifar100", 100 }, { "Table VI", "AlexNet_V2", "signature@transfer=cifar100", 99.91 }, { "Table VI", "AlexNet_V3", "signature@transfer=cifar100", 99.96 },
    { "Table VI", "AlexNet_BN", "test@transfer=caltech101", 76.33 }, { "Table VI", "AlexNet_V1", "test@transfer=caltech101", 73.03 }, { "Table VI", "AlexNet_GN", "test@transfer=caltech101", 73.28 },
    { "Table VI", "AlexNet_V2", "test@transfer=caltech101", 70.87 }, { "Table VI", "AlexNet_V3", "test@transfer=caltech101", 71.37 },
    { "Table VI", "AlexNet_V1", "signature@transfer=caltech101", 100 }, { "Table VI", "AlexNet_V2", "signature@transfer=caltech101", 100 }, { "Table VI", "AlexNet_V3", "signature@transfer=caltech101", 100 },
    { "Table VI", "ResNet18_BN", "test", 94.85 }, { "Table VI", "ResNet18_V1", "test", 94.62 }, { "Table VI", "ResNet18_GN", "test", 93.65 }, { "Table VI", "ResNet18_V2", "test", 93.41 }, { "Table VI", "ResNet18_V3", "test", 93.26 },
    { "Table VI", "ResNet18_V1", "signature", 100 }, { "Table VI", "ResNet18_V2", "signature", 100 }, { "Table VI", "ResNet18_V3", "signature", 100 },
    { "Table VI", "ResNet18_BN", "test@transfer=cifar100", 72.62 }, { "Table VI", "ResNet18_V1", "test@transfer=cifar100", 69.63 }, { "Table VI", "ResNet18_GN", "test@transfer=cifar100", 69.40 },
    { "Table VI", "ResNet18_V2", "test@transfer=cifar100", 63.84 }, { "Table VI", "ResNet18_V3", "test@transfer=cifar100", 63.61 },
    { "Table VI", "ResNet18_V1", "signature@transfer=cifar100", 100 }, { "Table VI", "ResNet18_V2", "signature@transfer=cifar100", 100 }, { "Table VI", "ResNet18_V3", "signature@transfer=cifar100", 99.98 },
    { "Table VI", "ResNet18_BN", "test@transfer=caltech101", 78.98 }, { "Table VI", "ResNet18_V1", "test@transfer=caltech101", 72.13 }, { "Table VI", "ResNet18_GN", "test@transfer=caltech101", 75.08 },
    { "Table VI", "ResNet18_V2", "test@transfer=caltech101", 71.07 }, { "Table VI", "ResNet18_V3", "test@transfer=caltech101", 72.00 },
    { "Table VI", "ResNet18_V1", "signature@transfer=caltech101", 100 }, { "Table VI", "ResNet18_V2", "signature@transfer=caltech101", 100 }, { "Table VI", "ResNet18_V3", "signature@transfer=caltech101", 99.99 },
    { "Table V", "AlexNet_V3", "trigger", 100 }, { "Table V", "AlexNet_V3", "trigger@transfer=cifar100", 24.67 }, { "Table V", "AlexNet_V3", "trigger@transfer=caltech101", 57.67 },
    { "Table V", "ResNet18_V3", "trigger", 100 }, { "Table V", "ResNet18_V3", "trigger@transfer=cifar100", 12.50 }, { "Table V", "ResNet18_V3", "trigger@transfer=caltech101", 13.67 },
    { "Table X", "AlexNet_V1", "train_ratio", 1.272 }, { "Table X", "AlexNet_V2", "train_ratio", 2.251 }, { "Table X", "AlexNet_V3", "train_ratio", 2.531 },
    { "Table X", "AlexNet_V1", "inference_ratio", 1.094 }, { "Table X", "AlexNet_V2", "inference_ratio", 0.995 }, { "Table X", "AlexNet_V3", "inference_ratio", 1.056 },
    { "Table X", "ResNet18_V1", "train_ratio", 1.179 }, { "Table X", "ResNet18_V2", "train_ratio", 2.162 }, { "Table X", "ResNet18_V3", "train_ratio", 2.274 },
    { "Table X", "ResNet18_V1", "inference_ratio", 1.135 }, { "Table X", "ResNet18_V2", "inference_ratio", 1.094 }, { "Table X", "ResNet18_V3", "inference_ratio", 1.099 },
    { "Table X", "ResNet50_V1", "train_ratio", 1.10 }, { "Table X", "ResNet50_V2", "train_ratio", 2.82 }, { "Table X", "ResNet50_V3", "train_ratio", 2.91 },
};
enum { PAPERS = sizeof paper / sizeof paper[0] };

#include "experiment_html.h"

static const char *const notes[] = {
    "recipe, the same for all networks: SGD 0.01, momentum 0.9, weight decay 5e-4, batch 64, random crop after padding by 4 and flip, learning rate x 0.1 at 50 % and 75 % of the epochs; the last epoch is measured",
    "passports: 20 + 20 training images through the trained unprotected network of the same norm; V1, V2, V3: every channel from a random channel of one of them (as coded); (as in the paper): every layer one image's feature maps",
    "sign loss 0.1, margin 0.1; V2, V3: both branches on the same batch, jointly, as coded; V2, V3 and their baseline GN: group norm, 16 channels a group; V2bn: V2 with batch norm, whose running statistics serve two branches",
    "test: the network as it ships (V1 with its passports, V2 and V3 without); test_key: V2, V3 with the passports; signature: mean over the layers of the share of right signs, as the published tables; signature_exact: all bits of all layers",
    "V3: 100 (quick: 20) triggers, abstract pictures with labels, both drawn by the owner's seed, 2 behind every batch",
    "@transfer: the shipped network, V1's passports as ordinary scales and biases, with a new classifier, all layers trained at a constant 0.01; triggers are then judged with the old classifier; traffic signs are not mirrored",
    "train_ratio, inference_ratio: one training step, one forward pass of the same batch, over the unprotected network of the same norm; medians of interleaved steps; the paper's are of one GPU, over its batch-norm baseline",
    "p_value@rank: (1 + fresh passports of the same generator that do as well) / (fresh + 1), on the network itself, by bits (signature) or probability of the right label (function) on 200 test images; log10_p@binomial: exact, against the rate at which fresh passports find bits",
    "Fig 9: accuracy on the first 1000 test images; update: mean |change| of a weight of the watched layer (AlexNet: Conv4) in an epoch",
    "lo, hi: Student t 95 % interval over the seeds; equal to ours when there is one seed",
};

/* ---- measurements ---- */

static void curves(net *n)
{
    static moment m[1000];
    const int count = read_curve(n, m, 1000), every = count > EPOCHS_SHOWN ? (count + EPOCHS_SHOWN - 1) / EPOCHS_SHOWN : 1;
    char metric[48];
    int i, k;
    for (i = 0; i < count; i++) {
        if (m[i].epoch % every && i < count - 1) continue;
        put("Fig 9", n->row, metric_at(metric, sizeof metric, "test", "epoch", m[i].epoch), n->seed, m[i].test);
        if (n->p) put("Fig 9", n->row, metric_at(metric, sizeof metric, "signature", "epoch", m[i].epoch), n->seed, m[i].signature);
        if (n->seed || (n->v != BN && n->v != V1)) continue;
        if (m[i].update >= 0) put("Fig 9", n->row, metric_at(metric, sizeof metric, "update", "epoch", m[i].epoch), 0, m[i].update);
        for (k = 0; k < TRACKED; k++) {
            char what[16];
            snprintf(what, sizeof what, "scale%d", k);
            put("Fig 9", n->row, metric_at(metric, sizeof metric, what, "epoch", m[i].epoch), 0, m[i].scale[k]);
            snprintf(what, sizeof what, "bias%d", k);
            put("Fig 9", n->row, metric_at(metric, sizeof metric, what, "epoch", m[i].epoch), 0, m[i].bias[k]);
        }
    }
}

/* Figure 10 and Table VIII, first seed. */
static void distributions(net *n)
{
    ipr_ctx *c = n->l->c;
    const ipr_cnn_unit *u = &n->m->unit[n->watched];
    const ipr_scales *s = n->p ? ipr_passport_fixed(n->p, n->m) : NULL;
    const ipr_tensor *g = s ? s->scale[n->watched] : u->norm.weight, *b = s ? s->bias[n->watched] : u->norm.bias;
    char metric[48];
    int k;
    if (!g || !b) return;
    put_histogram("Fig 10", n->row, "share@weight", ipr_read(c, u->conv.weight), ipr_count(u->conv.weight), -0.2, 0.2);
    put_histogram("Fig 10", n->row, "share@scale", ipr_read(c, g), ipr_count(g), -2, 2);
    put_histogram("Fig 10", n->row, "share@bias", ipr_read(c, b), ipr_count(b), -2, 2);
    if (n->v == V1) {
        const ipr_passport_unit *at = ipr_passport_at(n->p, 0);
        const ipr_real *v = ipr_read(c, s->scale[at->unit]);
        for (k = 0; v && k < SAMPLE && k < (int)at->text_bits; k++) {
            snprintf(metric, sizeof metric, "scale=%d", k);
            put("Table VIII", n->row, metric, 0, (double)v[k]);
        }
    }
}

static int measure(net *n)
{
    lab *l = n->l;
    ipr_detection d;
    put("Table VI", n->row, "test", n->seed, accuracy(l, n->m, l->test, shipped(n, n->m)));
    if (n->p) {
        if (variants[n->v].scheme != IPR_PASSPORT_V1) put("Table VI", n->row, "test_key", n->seed, accuracy(l, n->m, l->test, ipr_passport_fixed(n->p, n->m)));
        if (ipr_passport_detect(n->p, n->m, &d) != IPR_OK) return broken(l, n->row);
        put("Table VI", n->row, "signature", n->seed, d.rate);
        put("Table VI", n->row, "signature_exact", n->seed, d.exact ? 100 : 0);
        if (put_verdict(n)) return 1;
    }
    if (n->triggers) {
        put("Table V", n->row, "trigger", n->seed, accuracy(l, n->m, n->triggers, NULL));
        put("Table V", n->row, "trigger_key", n->seed, accuracy(l, n->m, n->triggers, ipr_passport_fixed(n->p, n->m)));
    }
    curves(n);
    if (n->seed == 0 && (n->v == BN || n->v == V1)) distributions(n);
    return ipr_status(l->c) ? broken(l, n->row) : 0;
}

static int transfer(net *n, const target *t)
{
    lab *l = n->l;
    ipr_cnn *m, *old;
    ipr_detection d;
    char metric[48], line[80];
    snprintf(line, sizeof line, "transfer to %s", t->label);
    say(l, n->row, n->seed, line);
    m = tuned(n, IPR_RTAL, t->train, t->flip, l->o.tune_epochs, 0.01);
    if (!m) return stop_asked ? 130 : broken(l, line);
    snprintf(metric, sizeof metric, "test@transfer=%s", t->name);
    put("Table VI", n->row, metric, n->seed, accuracy(l, m, t->test, NULL));
    if (n->p && ipr_passport_detect(n->p, m, &d) == IPR_OK) {
        snprintf(metric, sizeof metric, "signature@transfer=%s", t->name);
        put("Table VI", n->row, metric, n->seed, d.rate);
        snprintf(metric, sizeof metric, "signature_exact@transfer=%s", t->name);
        put("Table VI", n->row, metric, n->seed, d.exact ? 100 : 0);
    }
    if (n->triggers && (old = ipr_attack_old_head(m, n->m)) != NULL) { /* the old classifier on the new features */
        snprintf(metric, sizeof metric, "trigger@transfer=%s", t->name);
        put("Table V", n->row, metric, n->seed, accuracy(l, old, n->triggers, NULL));
        ipr_cnn_free(old);
    }
    ipr_cnn_free(m);
    return ipr_status(l->c) ? broken(l, line) : 0;
}

/* ---- Table X: what the schemes cost ---- */

typedef struct { net n; ipr_opt *opt; const ipr_scales *fixed; double train[ROUNDS], infer[ROUNDS]; } cost;

static double median(double *v, int n)
{
    int i, k;
    for (i = 1; i < n; i++) for (k = i; k > 0 && v[k] < v[k - 1]; k--) { const double t = v[k]; v[k] = v[k - 1]; v[k - 1] = t; }
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double one_step(cost *k, const uint32_t *idx, ipr_index batch, int train)
{
    ipr_ctx *c = k->n.l->c;
    ipr_fit_info info;
    const double began = ipr_now(c);
    ipr_tensor *x;
    memset(&info, 0, sizeof info);
    if (train) {
        ipr_set_training(c, 1);
        ipr_backward(c, train_step(c, &k->n, idx, batch, &info));
        ipr_opt_step(k->opt);
        ipr_set_training(c, 0);
    } else {
        ipr_augment_desc a = IPR_ZERO;
        a.norm = &k->n.l->norm;
        ipr_no_grad(c, 1);
        ipr_batch_images(c, k->n.l->train, idx, batch, &a, 0, &x, NULL);
        ipr_cnn_forward(k->n.m, x, k->fixed);
        ipr_no_grad(c, 0);
    }
    ipr_step_end(c);
    return ipr_now(c) - began;
}

static int overheads(lab *l, int arch, double width, ipr_index batch, int rounds)
{
    static const int which[] = { BN, V1, GN, V2, V3 }, over[] = { 0, 0, 2, 2, 2 };
    static cost k[5];
    static uint32_t idx[BATCH];
    uint8_t owner[32];
    char row[64], line[80];
    double ratio[ROUNDS];
    int i, r;
    snprintf(line, sizeof line, "cost of a step, %s x %g", net_name(arch), width);
    say(l, net_name(arch), 0, line);
    memset(k, 0, sizeof k);
    for (i = 0; i < 5; i++) {
        ipr_opt_desc d = IPR_ZERO;
        net *n = &k[i].n;
        n->l = l;
        n->v = which[i];
        n->m = new_cnn(l, arch, width, which[i], 10);
        if (!n->m) return broken(l, "network");
        if (variants[which[i]].scheme) n->p = make_passport(l, n, IPR_PASSPORT_RANDOM, "cost", "mine");
        if (which[i] == V3) {
            owner_seed(0, V3, "cost", owner);
            n->triggers = make_triggers(l, owner);
            n->mix.set = n->triggers;
            n->mix.norm = &l->norm;
        }
        d.kind = IPR_OPT_SGD;
        d.lr = 1e-4;
        d.momentum = 0.9;
        k[i].opt = ipr_opt_new(n->m->params, &d);
        k[i].fixed = shipped(n, n->m);
    }
    for (r = -1; r < rounds && !stop_asked && !ipr_status(l->c); r++) { /* the first round warms up */
        for (i = 0; i < (int)batch; i++) idx[i] = (uint32_t)(((r + 1) * (int)batch + i) % (int)l->train->count);
        for (i = 0; i < 5; i++) { const double t = one_step(&k[i], idx, batch, 1); if (r >= 0) k[i].train[r] = t; }
        for (i = 0; i < 5; i++) k[i].fixed = shipped(&k[i].n, k[i].n.m);
        for (i = 0; i < 5; i++) { const double t = one_step(&k[i], idx, batch, 0); if (r >= 0) k[i].infer[r] = t; }
    }
    if (!stop_asked && !ipr_status(l->c))
        for (i = 0; i < 5; i++) {
            snprintf(row, sizeof row, "%s_%s", net_name(arch), variants[which[i]].suffix);
            if (width < 0.99) snprintf(row + strlen(row), sizeof row - strlen(row), " (width %g)", width);
            for (r = 0; r < rounds; r++) ratio[r] = k[i].train[r] / k[over[i]].train[r];
            if (over[i] != i) put("Table X", row, "train_ratio", 0, median(ratio, rounds));
            for (r = 0; r < rounds; r++) ratio[r] = k[i].infer[r] / k[over[i]].infer[r];
            if (over[i] != i) put("Table X", row, "inference_ratio", 0, median(ratio, rounds));
        }
    for (i = 0; i < 5; i++) /* medians of the times last: they sort the rounds */
        if (!stop_asked && !ipr_status(l->c)) {
            snprintf(row, sizeof row, "%s_%s", net_name(arch), variants[which[i]].suffix);
            if (width < 0.99) snprintf(row + strlen(row), sizeof row - strlen(row), " (width %g)", width);
            put("Table X", row, "train_step_seconds", 0, median(k[i].train, rounds));
            put("Table X", row, "inference_step_seconds", 0, median(k[i].infer, rounds));
        }
    for (i = 0; i < 5; i++) { ipr_opt_free(k[i].opt); net_free(&k[i].n); }
    return stop_asked ? 130 : ipr_status(l->c) ? broken(l, line) : 0;
}

/* ---- the run ---- */

/* One unit of work; skipped when its last number is there. which: -1 training and measuring, else a task to move to. */
static int unit(lab *l, int seed, int v, int which)
{
    net n;
    char row[64], mark[40], seconds[48];
    const double began = ipr_now(l->c);
    int st = 0;
    row_of(l, row, sizeof row, v);
    snprintf(mark, sizeof mark, "done.%s", which < 0 ? "train" : l->to[which].name);
    snprintf(seconds, sizeof seconds, "seconds.%s", which < 0 ? "train" : l->to[which].name);
    if (!cell_at("-", row, mark)->has[seed]) {
        st = net_ready(l, seed, v, &n);
        if (!st) st = which < 0 ? measure(&n) : transfer(&n, &l->to[which]);
        net_free(&n);
        if (!st && stop_asked) st = 130;
        if (!st) put("-", row, seconds, seed, ipr_now(l->c) - began);
        if (!st) put("-", row, mark, seed, 1);
    }
    l->done++;
    return st;
}

static int cost_unit(lab *l, int arch, double width, ipr_index batch, int rounds)
{
    char row[64];
    const double began = ipr_now(l->c);
    int st = 0;
    snprintf(row, sizeof row, "%s x %g", net_name(arch), width);
    if (!cell_at("-", row, "done.cost")->has[0]) {
        st = overheads(l, arch, width, batch, rounds);
        if (!st) put("-", row, "seconds.cost", 0, ipr_now(l->c) - began);
        if (!st) put("-", row, "done.cost", 0, 1);
    }
    l->done++;
    return st;
}

static int run_all(lab *l)
{
    int seed, v, t, pass, st;
    for (pass = 0; pass < 2; pass++) { /* first count, then work */
        for (seed = 0; seed < l->o.seeds; seed++)
            for (v = 0; v <= V2_BN; v++) {
                if (!wanted(l, v) || (l->o.quick && (v == V1_LAYER || v == V2_BN))) continue;
                for (t = -1; t < l->tos; t++) {
                    if (t >= 0 && (v == V1_LAYER || v == V2_BN)) continue;
                    if (!pass) { l->todo++; continue; }
                    if ((st = unit(l, seed, v, t)) != 0) return st;
                }
            }
        if (l->o.only) continue;
        if (!pass) { l->todo += l->o.quick ? 2 : 4; continue; }
        if (l->o.quick) {
            if ((st = cost_unit(l, IPR_ALEXNET, 0.25, BATCH, 5)) != 0 || (st = cost_unit(l, IPR_RESNET18, 0.125, 32, 3)) != 0) return st;
        } else if ((st = cost_unit(l, IPR_ALEXNET, 0.25, BATCH, ROUNDS)) != 0 || (st = cost_unit(l, IPR_ALEXNET, 1, BATCH, ROUNDS)) != 0 ||
                   (st = cost_unit(l, IPR_RESNET18, 1, BATCH, 5)) != 0 || (st = cost_unit(l, IPR_RESNET50, 1, 32, 3)) != 0) return st;
    }
    return 0;
}

/* ---- the page ---- */

static const char *const scheme_text[] = {
    "", "passports ship with the network", "passports stay with the owner", "passports stay with the owner; triggers too",
};
static const char *describe(int v)
{
    return v == BN ? "no protection, batch norm" : v == GN ? "no protection, group norm" : v == V2_BN ? "V2 with batch norm: why it fails" : v == V1_LAYER ? "one image's feature maps a layer" : scheme_text[variants[v].scheme];
}

static void html_table6(report *r, const lab *l)
{
    char name[2 * TARGETS][64], metric[48], row[64], label[160];
    const char *columns[5 + 2 * TARGETS];
    int t, v, n = 0;
    columns[n++] = "Network";
    columns[n++] = "Test set\nas it ships";
    columns[n++] = "Test set\nwith passports";
    columns[n++] = "Signature\n% of bits";
    columns[n++] = "All bits\n% of runs";
    for (t = 0; t < l->tos; t++) {
        snprintf(name[2 * t], sizeof name[0], "After transfer\ntest, %s", l->to[t].label);
        snprintf(name[2 * t + 1], sizeof name[0], "After transfer\nsignature, %s", l->to[t].label);
        columns[n++] = name[2 * t];
        columns[n++] = name[2 * t + 1];
    }
    report_h2(r, "Accuracy and signatures");
    report_text(r, "Table VI of the paper. V1 is judged beside the batch-norm network, V2 and V3 beside the one with group norm: same images, same recipe, same number of epochs.");
    report_table(r, "Per cent right; below it the interval over the seeds, where there are several, and the paper's number, which is for 50,000 images, the full width and 200 epochs.", "lrrrrrrrrrr", columns, n);
    for (v = 0; v <= V2_BN; v++) {
        if (!figure_of("Table VI", row_of(l, row, sizeof row, v), "test").n) continue;
        snprintf(label, sizeof label, "%s\n%s", row, describe(v));
        report_row(r, label);
        html_cell(r, "Table VI", row, "test", 2);
        html_cell(r, "Table VI", row, "test_key", 2);
        html_cell(r, "Table VI", row, "signature", 2);
        html_cell(r, "Table VI", row, "signature_exact", 0);
        for (t = 0; t < l->tos; t++) {
            snprintf(metric, sizeof metric, "test@transfer=%s", l->to[t].name);
            html_cell(r, "Table VI", row, metric, 2);
            snprintf(metric, sizeof metric, "signature@transfer=%s", l->to[t].name);
            html_cell(r, "Table VI", row, metric, 2);
        }
    }
    report_table_end(r);
}

static void html_table5(report *r, const lab *l)
{
    char name[TARGETS][64], metric[48], row[64];
    const char *columns[3 + TARGETS];
    int t, n = 0;
    row_of(l, row, sizeof row, V3);
    if (!figure_of("Table V", row, "trigger").n) return;
    columns[n++] = "Network";
    columns[n++] = "Triggers\nas it ships";
    columns[n++] = "Triggers\nwith passports";
    for (t = 0; t < l->tos; t++) { snprintf(name[t], sizeof name[0], "After transfer\nto %s", l->to[t].label); columns[n++] = name[t]; }
    report_h2(r, "Triggers");
    report_text(r, "Table V of the paper: images with labels of the owner's choice, which can be asked for through an API. They do not outlive a transfer; the signature is there for that.");
    report_table(r, "Per cent that get the owner's label; after a transfer with the old classifier put back.", "lrrrrr", columns, n);
    report_row(r, row);
    html_cell(r, "Table V", row, "trigger", 1);
    html_cell(r, "Table V", row, "trigger_key", 1);
    for (t = 0; t < l->tos; t++) { snprintf(metric, sizeof metric, "trigger@transfer=%s", l->to[t].name); html_cell(r, "Table V", row, metric, 1); }
    report_table_end(r);
}

static void html_table10(report *r)
{
    static const char *const columns[] = { "Network", "Training step\nseconds", "Training\nover unprotected", "Inference\nover unprotected" };
    int i, any = 0;
    for (i = 0; i < ncells; i++) any |= !strcmp(cells[i].table, "Table X");
    if (!any) return;
    report_h2(r, "Cost");
    report_text(r, "Table X of the paper. A passport is constant, so its scale is one product of a matrix with a vector; in V2 and V3 both branches share everything below the first protected norm.");
    report_table(r, "Medians of interleaved steps in one process, over the unprotected network of the same norm. The paper's ratios are of one GPU.", "lrrr", columns, 4);
    for (i = 0; i < ncells; i++)
        if (!strcmp(cells[i].table, "Table X") && !strcmp(cells[i].metric, "train_step_seconds")) {
            report_row(r, cells[i].row);
            html_cell(r, "Table X", cells[i].row, "train_step_seconds", 3);
            html_cell(r, "Table X", cells[i].row, "train_ratio", 3);
            html_cell(r, "Table X", cells[i].row, "inference_ratio", 3);
        }
    report_table_end(r);
}

static void html_schemes(report *r, const lab *l)
{
    static const char *const columns[] = { "", "V1", "V2", "V3" };
    static const char *const text[][4] = {
        { "Passports needed for inference", "yes, as a licence file", "no", "no" }, { "Passports needed to verify", "yes", "yes", "yes" },
        { "Triggers for a claim through an API", "no", "no", "yes" }, { "Weights needed to verify", "yes", "yes", "triggers: no; signature: yes" }, { "Branches trained", "one", "two, jointly", "two, jointly" } };
    char row[64], t[64];
    int i, k;
    report_h2(r, "The three schemes");
    report_text(r, "Tables II and XI of the paper, the costs as measured here.");
    report_table(r, NULL, "llll", columns, 4);
    for (i = 0; i < 5; i++) {
        report_row(r, text[i][0]);
        for (k = 1; k < 4; k++) report_cell(r, text[i][k]);
    }
    for (i = 0; i < 2; i++) {
        report_row(r, i ? "Inference over unprotected" : "Training over unprotected");
        for (k = V1; k <= V3; k += k == V1 ? 3 : 1) {
            figure f;
            snprintf(row, sizeof row, "%s_%s", net_name(l->o.arch), variants[k].suffix);
            f = figure_of("Table X", row, i ? "inference_ratio" : "train_ratio");
            if (!f.n) { snprintf(row, sizeof row, "%s_%s (width %g)", net_name(l->o.arch), variants[k].suffix, l->o.quick ? (l->o.arch == IPR_ALEXNET ? 0.25 : 0.125) : l->o.width); f = figure_of("Table X", row, i ? "inference_ratio" : "train_ratio"); }
            report_cell(r, f.n ? report_number(t, sizeof t, f.mean, 2) : "not measured");
        }
    }
    report_table_end(r);
}

static void html_table8(report *r, const lab *l)
{
    static const char *const columns[] = { "Character", "ASCII", "Scale factors, their signs are the bits" };
    const char *text = signature_for(1 << 30);
    char row[64], metric[48], t[64], line[400];
    ipr_index bits = 0;
    int i, k;
    row_of(l, row, sizeof row, V1);
    if (!figure_of("Table VIII", row, "scale=0").n) return;
    bits = (ipr_index)(figure_of("Verdict", row, "bits").mean + 0.5);
    text = signature_for(bits);
    report_h2(r, "A signature in the scales");
    snprintf(line, sizeof line, "Table VIII of the paper: the signs of the first protected layer's scales spell the owner's text, \"%s\", eight to a character.", text);
    report_text(r, line);
    report_table(r, NULL, "lrl", columns, 3);
    for (i = 0; i < SAMPLE / 8 && text[i]; i++) {
        int code = 0, have = 1;
        line[0] = 0;
        for (k = 0; k < 8; k++) {
            figure f;
            snprintf(metric, sizeof metric, "scale=%d", 8 * i + k);
            f = figure_of("Table VIII", row, metric);
            have &= f.n > 0;
            code = 2 * code + (f.mean > 0);
            snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s", k ? ", " : "", report_number(t, sizeof t, f.mean, 2));
        }
        if (!have) break;
        snprintf(t, sizeof t, "%c", code >= 32 && code < 127 ? code : '.');
        report_row(r, code == 32 ? "(space)" : t);
        report_cell_num(r, code, 0);
        report_cell(r, line);
    }
    report_table_end(r);
}

/* Lines over the epochs from the cells (Fig 9, rows[i], what[i]@epoch=k). */
static void html_epochs(report *r, const char *const *rows, const char *const *what, const char *const *names, int count, const char *title, const char *y_label, int percent)
{
    enum { LINES = 10, MOST = EPOCHS_SHOWN + 2 };
    static double x[LINES][MOST], y[LINES][MOST];
    report_series s[LINES];
    report_chart c;
    int i, k, n, m = 0;
    memset(s, 0, sizeof s);
    memset(&c, 0, sizeof c);
    for (i = 0; i < count; i++) {
        char head[48];
        snprintf(head, sizeof head, "%s@epoch=", what[i]);
        for (n = 0, k = 0; k < ncells && n < MOST; k++)
            if (!strcmp(cells[k].table, "Fig 9") && !strcmp(cells[k].row, rows[i]) && !strncmp(cells[k].metric, head, strlen(head))) {
                double lo, hi;
                if (!summary(&cells[k], &y[m][n], &lo, &hi)) continue;
                x[m][n++] = atof(cells[k].metric + strlen(head));
            }
        if (!n) continue;
        s[m].name = names[i];
        s[m].x = x[m];
        s[m].y = y[m];
        s[m].style = i + 1;
        s[m++].n = n;
    }
    if (!m) return;
    c.title = title;
    c.x_label = "epoch";
    c.y_label = y_label;
    c.y_percent = percent;
    c.y_decimals = percent ? 1 : 5;
    c.series = s;
    c.count = m;
    report_lines(r, &c);
}

static void html_fig9(report *r, const lab *l)
{
    static const int which[] = { BN, V1, GN, V2, V3 };
    static char row[VARIANTS][64];
    const char *rows[10], *what[10], *names[10];
    static char label[10][24], scale[10][24], bias[10][24];
    int i;
    report_h2(r, "Learning");
    report_text(r, "Figure 9 of the paper: passports do not hinder learning; weights, scales and biases settle when the learning rate falls.");
    report_grid(r);
    for (i = 0; i < 5; i++) { rows[i] = row_of(l, row[which[i]], sizeof row[0], which[i]); what[i] = "test"; names[i] = variants[which[i]].suffix; }
    html_epochs(r, rows, what, names, 5, "Accuracy on test images", "per cent right", 1);
    for (i = 0; i < 3; i++) { rows[i] = row[i == 0 ? V1 : i == 1 ? V2 : V3]; what[i] = "signature"; names[i] = variants[i == 0 ? V1 : i == 1 ? V2 : V3].suffix; }
    html_epochs(r, rows, what, names, 3, "Signature bits read", "per cent of bits", 1);
    rows[0] = row[BN]; rows[1] = row[V1];
    what[0] = what[1] = "update";
    names[0] = "BN"; names[1] = "V1";
    html_epochs(r, rows, what, names, 2, "Change of a weight in an epoch", "mean |change|", 0);
    for (i = 0; i < TRACKED; i++) {
        rows[i] = row[V1];
        snprintf(label[i], sizeof label[0], "channel %d", i + 1);
        snprintf(scale[i], sizeof scale[0], "scale%d", i);
        snprintf(bias[i], sizeof bias[0], "bias%d", i);
        names[i] = label[i];
        what[i] = scale[i];
    }
    html_epochs(r, rows, what, names, 8, "Scales of the first channels of one layer, V1", "scale", 0);
    for (i = 0; i < TRACKED; i++) what[i] = bias[i];
    html_epochs(r, rows, what, names, 8, "Biases of the first channels of one layer, V1", "bias", 0);
    report_grid_end(r);
}

static void html_fig10(report *r, const lab *l)
{
    static const struct { const char *what, *title, *x; double hi; } h[] = { { "share@weight", "Weights", "weight", 0.2 }, { "share@scale", "Scales", "scale", 2 }, { "share@bias", "Biases", "bias", 2 } };
    char row[2][64];
    curve lines[2];
    int i;
    report_h2(r, "Distributions");
    report_text(r, "Figure 10 of the paper, one protected layer (AlexNet: Conv4): the weights look like an unprotected network's; the scales keep away from zero on both sides, because their signs are the signature.");
    report_grid(r);
    for (i = 0; i < 3; i++) {
        lines[0].row = row_of(l, row[0], sizeof row[0], V1);
        lines[1].row = row_of(l, row[1], sizeof row[1], BN);
        lines[0].name = "V1";
        lines[1].name = "unprotected";
        lines[0].what = lines[1].what = h[i].what;
        html_histograms(r, "Fig 10", lines, 2, -h[i].hi, h[i].hi, h[i].title, NULL, h[i].x);
    }
    report_grid_end(r);
}

/* Figures 6 and 7, from a passport made for showing: the owner's own never leave his house. */
static int html_passports(report *r, lab *l)
{
    enum { EACH = 4, MOST = 1 + 4 * EACH };
    static const int kinds[] = { IPR_PASSPORT_RANDOM, IPR_PASSPORT_IMAGE, IPR_PASSPORT_SHUFFLED };
    static const char *const names[] = { "Random patterns", "Feature maps of one image", "Randomly shuffled feature maps" };
    static unsigned char px[MOST][3 * 1024];
    static char caption[MOST][48];
    report_image im[MOST];
    net n;
    int k, i, u, st = 0;
    memset(&n, 0, sizeof n);
    if (net_make(l, 0, BN, &n)) return 1;
    {
        char path[600];
        FILE *f;
        model_path(l, 0, BN, path, sizeof path);
        f = fopen(path, "rb"); /* only if it was trained: nothing is shown of a network that was not */
        if (!f) { net_free(&n); return 0; }
        fclose(f);
        if (ipr_params_load(n.m->params, path, 0) != IPR_OK) st = broken(l, path);
    }
    report_h2(r, "What passports look like");
    report_text(r, "Figures 6 and 7 of the paper: the image that enters the first convolution, and the first four channels of what enters the others. They are made for this page; an owner's own stay secret.");
    for (k = 0; k < 3 && !st; k++) {
        ipr_passport_desc d = IPR_ZERO;
        ipr_passport *p;
        int m = 0;
        d.kind = kinds[k];
        d.units = (((uint64_t)1 << (n.m->units < 5 ? n.m->units : 5)) - 1);
        d.source.helper = n.m;
        d.source.pool = l->train;
        d.source.norm = &l->norm;
        p = ipr_passport_new(n.m, &d, "shown on a page: 32 bytes, public", 32);
        memset(im, 0, sizeof im);
        for (u = 0; p && u < ipr_passport_count(p); u++) {
            const ipr_passport_unit *at = ipr_passport_at(p, u);
            const ipr_real *v = ipr_read(l->c, at->key);
            for (i = 0; v && i < (u ? EACH : 1) && m < MOST && at->height * at->width <= 1024; i++) {
                if (u) snprintf(caption[m], sizeof caption[0], "Conv%d, %d", u + 1, i + 1);
                else snprintf(caption[m], sizeof caption[0], "Conv1");
                im[m].px = px[m];
                im[m].w = (int)at->width;
                im[m].h = (int)at->height;
                im[m].caption = caption[m];
                if (u == 0 && at->in == 3) {
                    im[m].kind = REPORT_PLANES;
                    grey(v, 3 * at->height * at->width, px[m]);
                } else grey(v + i * at->height * at->width, at->height * at->width, px[m]);
                m++;
            }
        }
        report_h3(r, names[k]);
        report_images(r, im, m);
        ipr_passport_free(p);
        if (ipr_status(l->c)) st = broken(l, "passports to show");
    }
    net_free(&n);
    return st;
}

static void html_triggers(report *r, lab *l)
{
    enum { SHOWN = 12 };
    report_image im[SHOWN];
    char caption[SHOWN][48];
    uint8_t owner[32];
    ipr_dataset *t;
    int i;
    owner_seed(4711, V3, "shown", owner);
    t = make_triggers(l, owner);
    memset(im, 0, sizeof im);
    for (i = 0; t && i < SHOWN; i++) {
        im[i].px = ipr_dataset_item_u8(t, i);
        im[i].w = im[i].h = 32;
        im[i].kind = REPORT_PLANES;
        snprintf(caption[i], sizeof caption[0], "%s", l->real_data ? ipr_dataset_class_name(l->train, ipr_dataset_label(t, i)) : "");
        if (!caption[i][0]) snprintf(caption[i], sizeof caption[0], "class %d", (int)ipr_dataset_label(t, i));
        im[i].caption = caption[i];
    }
    report_h3(r, "Triggers of the same generator, with their labels");
    if (t) report_images(r, im, SHOWN);
    ipr_dataset_free(t);
}

static int write_html(lab *l)
{
    static report r;
    char path[600], text[1200], row[64], base[64], value[4][64], fresh[80];
    report_figure f[4];
    figure p, a, b;
    int i, st;
    row_of(l, row, sizeof row, V1);
    row_of(l, base, sizeof base, BN);
    p = figure_of("Verdict", row, "p_value@rank=signature");
    a = figure_of("Table VI", base, "test");
    b = figure_of("Table VI", row, "test");
    snprintf(path, sizeof path, "%s/" NAME ".html", l->o.out);
    report_open(&r, path, "Passports in convolutional networks", "Secret feature maps set the scales of a network's norms, and the signs of the scales sign it");
    snprintf(text, sizeof text, "%s of %g of the paper's width learned from %d images (%s).", net_name(l->o.arch), l->o.width, (int)l->train->count, l->real_data ? "CIFAR-10" : "built-in shapes: no CIFAR-10 was found");
    if (a.n && b.n) snprintf(text + strlen(text), sizeof text - strlen(text), " Unprotected it names **%.2f %%** of the %d test images rightly, with passports (V1) **%.2f %%**", a.mean, (int)l->test->count, b.mean);
    a = figure_of("Table VI", row_of(l, base, sizeof base, GN), "test");
    b = figure_of("Table VI", row_of(l, row, sizeof row, V2), "test");
    if (a.n && b.n) snprintf(text + strlen(text), sizeof text - strlen(text), "; with group norm **%.2f %%** unprotected, **%.2f %%** with private passports (V2)", a.mean, b.mean);
    if (p.n) snprintf(text + strlen(text), sizeof text - strlen(text), ".");
    report_lead(&r, text);
    if (l->o.quick || !l->real_data) report_note(&r, "A quick run, or built-in images: the paper's numbers stand here for orientation only.");
    if (p.n) {
        memset(f, 0, sizeof f);
        row_of(l, row, sizeof row, V1);
        f[0].label = "Rank of the passports";
        snprintf(value[0], sizeof value[0], "%d of %d", (int)(p.worst * (l->o.fresh + 1) + 0.5), l->o.fresh + 1);
        f[0].note = "by the bits they find";
        for (i = 1; i < 4; i++) {
            static const char *const label[] = { "", "Bits read rightly, V1", "V2", "V3" };
            const figure s = figure_of("Table VI", row_of(l, row, sizeof row, i == 1 ? V1 : i == 2 ? V2 : V3), "signature");
            f[i].label = label[i];
            if (s.n) snprintf(value[i], sizeof value[0], "%.2f %%", s.mean);
            else snprintf(value[i], sizeof value[0], "not trained");
        }
        row_of(l, row, sizeof row, V1);
        snprintf(fresh, sizeof fresh, "of %.0f; fresh passports %.1f %%", figure_of("Verdict", row, "bits").mean, figure_of("Verdict", row, "signature_fresh").mean);
        f[1].note = fresh;
        for (i = 0; i < 4; i++) f[i].value = value[i];
        snprintf(text, sizeof text, "Owned if the signature matches better under the owner's passports than under all of %d fresh ones of the same generator, passports and signature having been committed before. Who may choose passports afterwards can forge this: see the attacks.", l->o.fresh);
        report_verdict(&r, p.worst <= 1.0 / (l->o.fresh + 1) + 1e-9 ? REPORT_OWNED : REPORT_NOT_OWNED, "Does the network (V1) hold the owner's passports?", report__log10(p.worst), text, f, 4);
    }
    html_table6(&r, l);
    html_table5(&r, l);
    html_table10(&r);
    html_schemes(&r, l);
    html_table8(&r, l);
    html_fig9(&r, l);
    html_fig10(&r, l);
    st = html_passports(&r, l);
    html_triggers(&r, l);
    report_h2(&r, "Notes");
    report_list(&r, notes, (int)(sizeof notes / sizeof notes[0]));
    report_text(&r, l->train->source);
    if (st || ipr_status(l->c)) return st ? st : broken(l, "page");
    if (!report_close(&r)) return 0;
    fprintf(stderr, "%s\n", report_error(&r));
    return 1;
}

static const char usage[] =
    "usage: passports_cifar10 [options]\n"
    "  Trains convolutional networks on CIFAR-10 with passports (schemes V1, V2, V3) and without, moves them to another task,\n"
    "  and writes OUT/passports-cifar10.json and .html beside the paper's figures.\n";

int main(int argc, char **argv)
{
    static const char *const shown[] = { "test", "test_key", "signature", "signature_exact", "trigger", "train_ratio", "inference_ratio", "test@transfer=gtsrb", "signature@transfer=gtsrb", "trigger@transfer=gtsrb",
                                         "test@transfer=digits", "signature@transfer=digits", "test@transfer=cifar100", "signature@transfer=cifar100" };
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
