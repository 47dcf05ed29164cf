/* passports_common.h: what the three programs about convolutional networks share: settings, data, networks with their
   secrets, training with a curve, transfer to another task. The programs share trained models too: they lie beside the
   results, and their names tell the settings. Include it after experiment.h. */
#ifndef IPR_EXAMPLES_PASSPORTS_COMMON_H
#define IPR_EXAMPLES_PASSPORTS_COMMON_H
#include <sys/stat.h>
#include <unistd.h>

enum { TRACKED = 10, TARGETS = 3, BATCH = 64, PROBE = 1000, PROBES = 200 };

/* ---- settings ---- */

enum { BN, V1, V1_LAYER, GN, V2, V3, V2_BN, UCHIDA, ADI, VARIANTS };
typedef struct { const char *suffix, *file; int norm, scheme, base; } variant; /* base: the unprotected net beside it; its helper */
static const variant variants[VARIANTS] = {
    { "BN", "bn", IPR_NORM_BATCH, 0, BN },
    { "V1", "v1", IPR_NORM_BATCH, IPR_PASSPORT_V1, BN },
    { "V1 (as in the paper)", "v1layer", IPR_NORM_BATCH, IPR_PASSPORT_V1, BN },
    { "GN", "gn", IPR_NORM_GROUP, 0, GN },
    { "V2", "v2", IPR_NORM_GROUP, IPR_PASSPORT_V2, GN },
    { "V3", "v3", IPR_NORM_GROUP, IPR_PASSPORT_V3, GN },
    { "V2bn", "v2bn", IPR_NORM_BATCH, IPR_PASSPORT_V2, BN },
    { "Uchida", "uchida", IPR_NORM_BATCH, 0, BN },
    { "Adi", "adi", IPR_NORM_BATCH, 0, BN },
};

typedef struct {
    const char *out, *only;
    int seeds, threads, quick, fresh_start;
    int arch, kind, epochs, tune_epochs, draws, fresh, triggers, train_items, test_items;
    double width;
} options;

typedef struct { char name[24], label[40]; int flip; ipr_dataset *train, *test; } target;

typedef struct {
    ipr_ctx *c;
    options o;
    ipr_dataset *train, *test, *probe;
    ipr_image_norm norm;
    target to[TARGETS];
    int tos, real_data, done, todo;
    double started;
} lab;

/* One network and its secrets, for one seed. */
typedef struct {
    lab *l;
    int seed, v;
    char row[64];
    ipr_cnn *m, *helper;
    ipr_passport *p;
    ipr_uchida *u;
    ipr_dataset *triggers;
    ipr_trigger_mix mix;
    ipr_real *before; /* the watched layer's weights, an epoch ago */
    int watched;      /* that unit */
} net;

/* One epoch of a training curve. */
typedef struct { int epoch; double test, signature, update, scale[TRACKED], bias[TRACKED]; } moment;

static int broken(lab *l, const char *what)
{
    fprintf(stderr, "\n%s: %s\n", what, ipr_status(l->c) ? ipr_message(l->c) : "failed");
    return 1;
}

static const char *net_name(int arch) { return arch == IPR_ALEXNET ? "AlexNet" : arch == IPR_RESNET9 ? "ResNet9" : arch == IPR_RESNET18 ? "ResNet18" : "ResNet50"; }
static const char *kind_name(int kind) { return kind == IPR_PASSPORT_RANDOM ? "random" : kind == IPR_PASSPORT_IMAGE ? "image" : kind == IPR_PASSPORT_SHUFFLED ? "shuffled" : kind == IPR_PASSPORT_CENTRED ? "centred" : "shuffled-layer"; }

static const char *row_of(const lab *l, char *out, size_t cap, int v)
{
    snprintf(out, cap, "%s_%s", net_name(l->o.arch), variants[v].suffix);
    return out;
}

static void say(lab *l, const char *row, int seed, const char *what)
{
    say_where(l->c, l->started, l->done, l->todo);
    fprintf(stderr, "%s, seed %d: %s\n", row, seed + 1, what);
}

/* The longest of some texts that fits into the protected channels. */
static const char *signature_for(ipr_index bits)
{
    static const char *const texts[] = { "this is an example signature", "this is my signature", "this is mine", "mine" }; /* the paper's Table IX first */
    int i = 0;
    while (i < 3 && (ipr_index)(8 * strlen(texts[i])) > bits) i++;
    return texts[i];
}

/* An experiment's seed is no secret; a real owner reads 32 bytes from /dev/urandom. */
static void owner_seed(int seed, int v, const char *whose, uint8_t out[32])
{
    char text[80];
    ipr_sha256_of(text, (size_t)snprintf(text, sizeof text, "experiment %s %d %d", whose, seed, v), out);
}

/* ---- networks ---- */

static ipr_cnn *new_cnn(lab *l, int arch, double width, int v, int classes)
{
    ipr_cnn_desc d = IPR_ZERO;
    d.arch = arch;
    d.scale = width;
    d.norm = variants[v].norm;
    d.classes = classes;
    if (variants[v].scheme == IPR_PASSPORT_V1) { /* the protected norms have no scale and bias of their own */
        ipr_cnn *plain = ipr_cnn_new(l->c, &d);
        if (!plain) return NULL;
        d.bare = ipr_passport_default_units(plain);
        ipr_cnn_free(plain);
    }
    return ipr_cnn_new(l->c, &d);
}

static ipr_index protected_channels(const ipr_cnn *m)
{
    const uint64_t units = ipr_passport_default_units(m);
    ipr_index n = 0;
    int u;
    for (u = 0; u < m->units; u++) if (units >> u & 1) n += m->unit[u].out;
    return n;
}

static void model_path(const lab *l, int seed, int v, char *path, size_t cap)
{
    snprintf(path, cap, "%s/cnn.%s-%g.%s-%d.%de.%s.%s.%d.safetensors", l->o.out, net_name(l->o.arch), l->o.width, l->train->name, (int)l->train->count, l->o.epochs,
             variants[v].scheme ? kind_name(v == V1_LAYER ? IPR_PASSPORT_SHUFFLED_LAYER : l->o.kind) : "plain", variants[v].file, seed + 1);
}

static void net_free(net *n)
{
    ipr_passport_free(n->p);
    ipr_uchida_free(n->u);
    ipr_dataset_free(n->triggers);
    ipr_cnn_free(n->m);
    ipr_cnn_free(n->helper);
    free(n->before);
    memset(n, 0, sizeof *n);
}

/* Abstract pictures, with labels drawn by the seed. */
static ipr_dataset *make_triggers(lab *l, const uint8_t *owner)
{
    ipr_abstract_desc d = IPR_ZERO;
    d.count = l->o.triggers;
    d.classes = l->train->classes;
    return ipr_dataset_abstract(l->c, owner, 32, &d);
}

static ipr_passport *make_passport(lab *l, const net *n, int kind, const char *whose, const char *signature)
{
    ipr_passport_desc d = IPR_ZERO;
    uint8_t owner[32];
    owner_seed(n->seed, n->v, whose, owner);
    d.scheme = variants[n->v].scheme;
    d.kind = kind;
    d.signature = signature;
    if (kind != IPR_PASSPORT_RANDOM) {
        d.source.helper = n->helper;
        d.source.pool = l->train;
        d.source.norm = &l->norm;
    }
    return ipr_passport_new(n->m, &d, owner, sizeof owner);
}

static int net_ready(lab *l, int seed, int v, net *n);

/* The network of a variant with its secrets, not trained yet. The helper of its passports is trained first. 0, 1, 130. */
static int net_make(lab *l, int seed, int v, net *n)
{
    const int kind = v == V1_LAYER ? IPR_PASSPORT_SHUFFLED_LAYER : l->o.kind;
    uint8_t owner[32];
    memset(n, 0, sizeof *n);
    n->l = l;
    n->seed = seed;
    n->v = v;
    row_of(l, n->row, sizeof n->row, v);
    if (variants[v].scheme && kind != IPR_PASSPORT_RANDOM) {
        net base;
        const int st = net_ready(l, seed, variants[v].base, &base);
        n->helper = base.m;
        base.m = NULL;
        net_free(&base);
        if (st) return st;
    }
    ipr_set_seed(l->c, 1 + (uint64_t)seed); /* of the start, augmentation and the order of the images */
    n->m = new_cnn(l, l->o.arch, l->o.width, v, l->train->classes);
    if (!n->m) return broken(l, "network");
    if (variants[v].scheme) n->p = make_passport(l, n, kind, "owner", signature_for(protected_channels(n->m)));
    owner_seed(seed, v, "owner", owner);
    if (v == UCHIDA) {
        ipr_uchida_desc d = IPR_ZERO;
        d.bits = l->o.width >= 0.99 ? 256 : 64;
        n->u = ipr_uchida_new(n->m, &d, owner, sizeof owner);
    }
    if (v == V3 || v == ADI) {
        n->triggers = make_triggers(l, owner);
        n->mix.set = n->triggers;
        n->mix.norm = &l->norm;
    }
    n->watched = n->m->units - 2; /* AlexNet: Conv4 */
    return ipr_status(l->c) ? broken(l, n->row) : 0;
}

/* ---- training ---- */

static ipr_tensor *train_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index count, ipr_fit_info *info)
{
    net *n = (net *)user;
    ipr_augment_desc a = IPR_ZERO;
    ipr_tensor *x, *y, *logits, *loss;
    a.pad = 4;
    a.flip = 1;
    a.norm = &n->l->norm;
    ipr_batch_images(c, n->l->train, idx, count, &a, info->total, &x, &y);
    if (n->p) loss = ipr_passport_step(n->p, n->m, n->triggers ? &n->mix : NULL, info->total, x, y, &logits);
    else {
        if (n->triggers) ipr_triggers_mix(c, &n->mix, info->total, &x, &y);
        loss = ipr_cross_entropy(c, logits = ipr_cnn_forward(n->m, x, NULL), y);
        if (n->u) loss = ipr_add(c, loss, ipr_uchida_loss(n->u, n->m));
    }
    info->correct = ipr_count_correct(c, logits, y, &info->seen);
    return loss;
}

/* The scales that inference uses: V1's passports, else none. */
static const ipr_scales *shipped(net *n, const ipr_cnn *m) { return n->p && variants[n->v].scheme == IPR_PASSPORT_V1 ? ipr_passport_fixed(n->p, m) : NULL; }

static double accuracy(lab *l, ipr_cnn *m, const ipr_dataset *ds, const ipr_scales *s) { return ipr_cnn_accuracy(m, ds, NULL, ds->count, &l->norm, s); }

static double signature_rate(const ipr_passport *p, const ipr_cnn *m)
{
    ipr_detection d;
    return ipr_passport_detect(p, m, &d) == IPR_OK ? d.rate : report_nan();
}

static void curve_path(const net *n, char *path, size_t cap)
{
    model_path(n->l, n->seed, n->v, path, cap);
    snprintf(path + strlen(path), cap - strlen(path), ".curve");
}

/* After an epoch: accuracy on some test images, the signature, and how the watched layer moves; kept beside the model. */
static double watch(ipr_ctx *c, void *user, int epoch)
{
    net *n = (net *)user;
    const ipr_tensor *w = n->m->unit[n->watched].conv.weight;
    const ipr_index count = ipr_count(w);
    const ipr_scales *s = n->p ? ipr_passport_fixed(n->p, n->m) : NULL;
    const ipr_real *now = ipr_read(c, w);
    double test, update = -1;
    char path[700];
    ipr_index i;
    FILE *f;
    int k;
    if (now && n->before) for (update = 0, i = 0; i < count; i++) update += (now[i] > n->before[i] ? (double)now[i] - (double)n->before[i] : (double)n->before[i] - (double)now[i]) / (double)count;
    if (!n->before) n->before = (ipr_real *)malloc((size_t)count * sizeof *n->before);
    if (now && n->before) memcpy(n->before, now, (size_t)count * sizeof *n->before);
    curve_path(n, path, sizeof path);
    f = fopen(path, "a");
    test = accuracy(n->l, n->m, n->l->probe, shipped(n, n->m));
    if (f) {
        const ipr_real *g = ipr_read(c, s ? s->scale[n->watched] : n->m->unit[n->watched].norm.weight), *b = ipr_read(c, s ? s->bias[n->watched] : n->m->unit[n->watched].norm.bias);
        fprintf(f, "%d %.6g %.6g %.6g", epoch + 1, test, n->p ? signature_rate(n->p, n->m) : -1.0, update);
        for (k = 0; k < TRACKED; k++) fprintf(f, " %.6g", g ? (double)g[k] : 0.0);
        for (k = 0; k < TRACKED; k++) fprintf(f, " %.6g", b ? (double)b[k] : 0.0);
        fprintf(f, "\n");
        fclose(f);
    }
    return test;
}

/* The curve that a training left: at most cap epochs in order; a resumed epoch counts once. */
REPORT_FN int read_curve(const net *n, moment *out, int cap)
{
    char path[700];
    FILE *f;
    moment m;
    int count = 0, k;
    curve_path(n, path, sizeof path);
    f = fopen(path, "r");
    while (f && fscanf(f, "%d %lf %lf %lf", &m.epoch, &m.test, &m.signature, &m.update) == 4) {
        for (k = 0; k < 2 * TRACKED; k++) if (fscanf(f, "%lf", k < TRACKED ? &m.scale[k] : &m.bias[k - TRACKED]) != 1) break;
        while (count && out[count - 1].epoch >= m.epoch) count--;
        if (count < cap) out[count++] = m;
    }
    if (f) fclose(f);
    return count;
}

/* The trained network of a variant: loaded, or trained now. 0, 1, 130. */
static int net_ready(lab *l, int seed, int v, net *n)
{
    ipr_fit_desc f = IPR_ZERO;
    ipr_fit_result res;
    ipr_meta meta = IPR_ZERO;
    char path[600];
    int st = net_make(l, seed, v, n);
    if (st) return st;
    model_path(l, seed, v, path, sizeof path);
    if (trained_already(l->c, n->m->params, path)) return 0;
    say(l, n->row, seed, "training");
    f.params = n->m->params;
    f.optimiser.kind = IPR_OPT_SGD;
    f.optimiser.lr = 0.01;
    f.optimiser.momentum = 0.9;
    f.optimiser.weight_decay = 5e-4;
    if (l->o.epochs >= 4) {
        f.schedule.kind = IPR_SCHED_MULTISTEP;
        f.schedule.milestones[0] = l->o.epochs / 2;
        f.schedule.milestones[1] = l->o.epochs * 3 / 4;
    }
    f.schedule.maximize = 1;
    f.epochs = l->o.epochs;
    f.items = l->train->count;
    f.batch = BATCH;
    f.shuffle = f.drop_last = 1;
    f.step_fn = train_step;
    f.eval_fn = watch;
    f.user = n;
    f.tag = n->row;
    st = train_to(l->c, &f, path, &meta, &res);
    if (st == IPR_E_CANCELLED) return 130;
    if (st != IPR_OK) return broken(l, n->row);
    put("-", n->row, "train_minutes", seed, res.seconds / 60);
    return 0;
}

/* The verdict: rank of the genuine passports among fresh ones of their generator on this very network. Signs under passports
   made of images are no fair coins, so the binomial's null rate is measured on the same fresh passports. 0 or 1. */
REPORT_FN int put_verdict(net *n)
{
    lab *l = n->l;
    const int v1 = variants[n->v].scheme == IPR_PASSPORT_V1;
    ipr_passport_test t = IPR_ZERO;
    ipr_passport_report rep;
    say(l, n->row, n->seed, "verdict: rank among fresh passports");
    t.fresh = l->o.fresh;
    t.alpha = 1.0 / (l->o.fresh + 1);
    t.draw = 1 + (uint64_t)n->seed;
    t.norm = &l->norm;
    t.target = v1 ? ipr_cnn_accuracy(n->m, l->test, NULL, PROBES, &l->norm, ipr_passport_fixed(n->p, n->m)) : 0;
    if (ipr_passport_verify(n->p, n->m, l->test, NULL, PROBES, &t, &rep) != IPR_OK) return broken(l, "verdict");
    put("Verdict", n->row, "p_value@rank=signature", n->seed, rep.signature.p_value);
    put("Verdict", n->row, "p_value@rank=function", n->seed, rep.function.p_value);
    put("Verdict", n->row, "log10_p@binomial=signature", n->seed, rep.signature_binomial.log10_p);
    put("Verdict", n->row, "signature_fresh", n->seed, 100 * rep.signature_binomial.null_rate);
    put("Verdict", n->row, "definition_1", n->seed, rep.definition.holds);
    put("Verdict", n->row, "bits", n->seed, (double)rep.detected.total_of);
    return 0;
}

/* ---- fine-tuning and transfer ---- */

/* The thief's copy after training on a task: cross-entropy and nothing else, at a constant rate (published code). NULL: not
   done. */
static ipr_cnn *tuned(net *n, int mode, const ipr_dataset *set, int flip, int epochs, double lr)
{
    ipr_cnn_task t = IPR_ZERO;
    ipr_attack_desc d = IPR_ZERO;
    t.ds = set;
    t.n = set->count;
    t.augment.pad = 4;
    t.augment.flip = flip;
    t.augment.norm = &n->l->norm;
    d.lr = lr;
    d.epochs = epochs;
    d.batch = BATCH;
    d.seed = 1000 + (uint64_t)n->seed;
    d.progress_fn = ipr_progress_stderr;
    d.stop_fn = stop_now;
    return ipr_attack_transfer(n->m, variants[n->v].scheme == IPR_PASSPORT_V1 ? n->p : NULL, mode, 0, &t, &d);
}

/* ---- data ---- */

/* Handwritten digits in colours, as images of [3,32,32]: another task where no files are. */
static ipr_dataset *coloured_digits(lab *l, uint64_t first, ipr_index count)
{
    const ipr_index dims[3] = { 3, 32, 32 };
    uint8_t *px = (uint8_t *)malloc((size_t)count * 3072), digit[784];
    int32_t *y = (int32_t *)malloc((size_t)count * sizeof *y);
    ipr_dataset *ds = NULL;
    ipr_index i;
    int k;
    for (i = 0; px && y && i < count; i++) {
        ipr_rng r = ipr_rng_make(31, 0, (uint32_t)(first & 0xFFFFFF) + (uint32_t)i);
        int ink[3], ground[3];
        for (k = 0; k < 3; k++) { ground[k] = (int)ipr_rng_below(&r, 256); ink[k] = (ground[k] + 96 + (int)ipr_rng_below(&r, 64)) % 256; }
        y[i] = ipr_digit_draw(5, first + (uint64_t)i, digit);
        for (k = 0; k < 3072; k++) {
            const int row = k % 1024 / 32 - 2, col = k % 32 - 2, d = row < 0 || col < 0 || row > 27 || col > 27 ? 0 : digit[28 * row + col];
            px[3072 * i + k] = (uint8_t)((ground[k / 1024] * (255 - d) + ink[k / 1024] * d) / 255);
        }
    }
    if (px && y) ds = ipr_dataset_u8(l->c, "digits", "built-in coloured digits (no files)", count, 3, dims, px, y, 10, 0);
    free(px);
    free(y);
    return ds;
}

/* At most so many items, as many of each class. */
static ipr_dataset *at_most(ipr_dataset *ds, int items)
{
    ipr_dataset *part_of;
    if (!ds || ds->count <= items) return ds;
    part_of = ipr_dataset_split(ds, (double)items / (double)ds->count, 1, NULL);
    ipr_dataset_free(ds);
    return part_of;
}

static void add_target(lab *l, const char *name, const char *label, int flip, ipr_dataset *train, ipr_dataset *test)
{
    target *t = &l->to[l->tos++];
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->label, sizeof t->label, "%s", label);
    t->flip = flip;
    t->train = at_most(train, l->o.train_items);
    t->test = at_most(test, l->o.test_items);
}

/* The folder of a file that the data roots hold; 0: none does. */
static int folder_of(lab *l, const char *file, char *out, size_t cap)
{
    const char *const roots[3] = { getenv("IPR_DATA"), "data", "build/data" };
    char *slash;
    if (ipr_data_find(l->c, roots, 3, file, out, cap) != IPR_OK) { ipr_clear(l->c); return 0; }
    slash = strrchr(out, '/');
    if (slash) *slash = 0;
    return 1;
}

static int load_targets(lab *l)
{
    char path[600], csv[640];
    ipr_images_desc d = IPR_ZERO;
    ipr_dataset *all, *most, *rest = NULL;
    int i;
    if (folder_of(l, "cifar100/cifar-100-binary/train.bin", path, sizeof path))
        add_target(l, "cifar100", "CIFAR-100", 1, ipr_dataset_cifar100(l->c, path, 0, 0), ipr_dataset_cifar100(l->c, path, 1, 0));
    if (folder_of(l, "caltech101-ppm/accordion/image_0001.jpg.ppm", path, sizeof path)) { /* as data_fetch/convert.sh leaves it */
        int keep[128], k, kept = 0;
        ipr_dataset *with_background;
        *strrchr(path, '/') = 0;
        d.name = "caltech101";
        with_background = ipr_dataset_images(l->c, path, &d);
        for (k = 0; with_background && k < with_background->classes && kept < 128; k++) if (strncmp(ipr_dataset_class_name(with_background, k), "BACKGROUND", 10)) keep[kept++] = k;
        all = ipr_dataset_classes(with_background, keep, kept, 1);
        most = ipr_dataset_split(all, 0.8, 1, &rest);
        add_target(l, "caltech101", "Caltech-101", 1, most, rest);
        ipr_dataset_free(all);
        ipr_dataset_free(with_background);
    }
    if (folder_of(l, "gtsrb32/GTSRB/Final_Test/GT-final_test.csv", path, sizeof path)) {
        char images[640];
        snprintf(csv, sizeof csv, "%s/GT-final_test.csv", path);
        snprintf(images, sizeof images, "%s/Images", path);
        d.name = "gtsrb";
        all = ipr_dataset_gtsrb(l->c, csv, images, &d);
        most = ipr_dataset_split(all, 0.8, 1, &rest);
        add_target(l, "gtsrb", "traffic signs (GTSRB)", 0, most, rest);
        ipr_dataset_free(all);
    }
    if (!l->tos) add_target(l, "digits", "built-in coloured digits", 0, coloured_digits(l, 0, 10000), coloured_digits(l, 1 << 20, 2000));
    for (i = 0; i < l->tos; i++) if (!l->to[i].train || !l->to[i].test) return broken(l, l->to[i].label);
    return ipr_status(l->c) ? broken(l, "data of another task") : 0;
}

static int load_data(lab *l)
{
    char path[600];
    if (folder_of(l, "cifar10/cifar-10-batches-bin/test_batch.bin", path, sizeof path)) {
        l->train = ipr_dataset_cifar10(l->c, path, 0);
        l->test = ipr_dataset_cifar10(l->c, path, 1);
        l->real_data = 1;
    } else {
        fprintf(stderr, "No CIFAR-10 in $IPR_DATA, ./data or build/data (make data NAMES=cifar10 fetches it): using built-in shapes.\n");
        l->train = ipr_dataset_shapes(l->c, 1, 0, 10000);
        l->test = ipr_dataset_shapes(l->c, 1, IPR_DIGITS_TEST, 10000);
    }
    l->train = at_most(l->train, l->o.train_items);
    l->test = at_most(l->test, l->o.test_items);
    if (!l->train || !l->test) return broken(l, "data");
    l->probe = ipr_dataset_view(l->test, NULL, l->test->count < PROBE ? l->test->count : PROBE);
    l->norm = ipr_image_norm_of(IPR_PIXELS_CIFAR_2019);
    if (ipr_status(l->c)) return broken(l, "data");
    if (load_targets(l)) return 1;
    fprintf(stderr, "Data: %s, %d training and %d test images; transfer to %s. %s x %g, %s kernels, %d thread%s.\n", l->train->source, (int)l->train->count, (int)l->test->count, l->to[0].label,
            net_name(l->o.arch), l->o.width, ipr_isa_name(ipr_isa(l->c)), ipr_threads(l->c), ipr_threads(l->c) == 1 ? "" : "s");
    return 0;
}

/* ---- the command line, the same for the three programs ---- */

#define COMMON_USAGE \
    "  --quick           one seed, a net of an eighth of the width, 2000 images, few epochs\n" \
    "  --seeds N         1 to 16; default 3\n" \
    "  --threads N       default: all processors\n" \
    "  --net NAME        alexnet (default), resnet9 or resnet18\n" \
    "  --width X         of the network; default 0.25; 1 is the paper's\n" \
    "  --epochs N        default 30; the paper has 200\n" \
    "  --items N         training images at most; default all that are there\n" \
    "  --passports KIND  centred (default: shuffled less its mean), shuffled (random channels of random images), shuffled-layer,\n" \
    "                    image or random\n" \
    "  --only ROWS       rows that begin with this, e.g. AlexNet_V1\n" \
    "  --out DIR         default results; trained models stay there, for the other programs and the next run\n" \
    "  --fresh           forget what an earlier, stopped run measured\n" \
    "Exit: 0 done, 1 could not finish, 2 wrong usage, 130 stopped (the next run goes on from there).\n"

static int parse(int argc, char **argv, options *o, const char *usage)
{
    static const struct { const char *name; int arch; } nets[] = { { "alexnet", IPR_ALEXNET }, { "resnet9", IPR_RESNET9 }, { "resnet18", IPR_RESNET18 } };
    static const int kinds[] = { IPR_PASSPORT_RANDOM, IPR_PASSPORT_IMAGE, IPR_PASSPORT_SHUFFLED, IPR_PASSPORT_SHUFFLED_LAYER, IPR_PASSPORT_CENTRED };
    int i, k, epochs = 0, items = 0, seeds = 0;
    double width = 0;
    o->out = "results";
    o->seeds = 3;
    o->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->threads < 1) o->threads = 1;
    if (o->threads > 16) o->threads = 16;
    o->arch = IPR_ALEXNET;
    o->kind = IPR_PASSPORT_CENTRED;
    o->width = 0.25;
    o->epochs = 30;
    o->tune_epochs = 10;
    o->draws = 50;
    o->triggers = 100;
    o->fresh = 999;
    o->train_items = o->test_items = 1 << 30;
    for (i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int ok = 1;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { fputs(usage, stdout); fputs(COMMON_USAGE, stdout); exit(0); }
        else if (!strcmp(argv[i], "--quick")) o->quick = 1;
        else if (!strcmp(argv[i], "--fresh")) o->fresh_start = 1;
        else if (!strcmp(argv[i], "--seeds") && number(next, 1, MAX_SEEDS, &seeds)) i++;
        else if (!strcmp(argv[i], "--threads") && number(next, 1, 64, &o->threads)) i++;
        else if (!strcmp(argv[i], "--epochs") && number(next, 1, 1000, &epochs)) i++;
        else if (!strcmp(argv[i], "--items") && number(next, 200, 10000000, &items)) i++;
        else if (!strcmp(argv[i], "--only") && next) o->only = argv[++i];
        else if (!strcmp(argv[i], "--out") && next) o->out = argv[++i];
        else if (!strcmp(argv[i], "--width") && next) { width = atof(argv[++i]); ok = width >= 0.05 && width <= 4; }
        else if (!strcmp(argv[i], "--net") && next) {
            for (ok = 0, k = 0; k < 3; k++) if (!strcmp(next, nets[k].name)) { o->arch = nets[k].arch; ok = 1; }
            i++;
        } else if (!strcmp(argv[i], "--passports") && next) {
            for (ok = 0, k = 0; k < 5; k++) if (!strcmp(next, kind_name(kinds[k]))) { o->kind = kinds[k]; ok = 1; }
            i++;
        } else ok = 0;
        if (!ok) { fprintf(stderr, "%s: not understood, or its value is missing or out of range\n%s%s", i < argc ? argv[i] : "", usage, COMMON_USAGE); return 2; }
    }
    if (o->quick) {
        o->seeds = 1;
        o->width = 0.125;
        o->epochs = 12;
        o->tune_epochs = 2;
        o->draws = 10;
        o->triggers = 20;
        o->fresh = 99;
        o->train_items = 2000;
        o->test_items = 1000;
    }
    if (seeds) o->seeds = seeds;
    if (epochs) o->epochs = epochs;
    if (items) o->train_items = items;
    if (width > 0) o->width = width;
    return 0;
}

/* Opens the context and the data; 0, or the exit status. */
static int lab_open(lab *l, int argc, char **argv, const char *usage)
{
    ipr_desc d = IPR_ZERO;
    int st;
    memset(l, 0, sizeof *l);
    st = parse(argc, argv, &l->o, usage);
    if (st) return st;
    catch_signals();
    d.threads = l->o.threads;
    d.seed = 1;
    l->c = ipr_open(&d, &st);
    if (!l->c) { fprintf(stderr, "no context: %s\n", ipr_status_name(st)); return 1; }
    l->started = ipr_now(l->c);
    mkdir(l->o.out, 0777);
    return load_data(l);
}

/* Opens the file of measurements for these settings. --fresh forgets the models of these settings too. */
static int lab_part(lab *l, const char *name)
{
    char path[600], file[700], settings[300];
    int seed, v;
    snprintf(settings, sizeof settings, "# %s %s %g %s %d %d %s %d %d %d to", IPR_VERSION_STRING, net_name(l->o.arch), l->o.width, l->train->name, (int)l->train->count, (int)l->test->count,
             kind_name(l->o.kind), l->o.epochs, l->o.tune_epochs, l->o.draws);
    for (seed = 0; seed < l->tos; seed++) snprintf(settings + strlen(settings), sizeof settings - strlen(settings), " %s", l->to[seed].name);
    snprintf(path, sizeof path, "%s/%s.part", l->o.out, name);
    for (seed = 0; l->o.fresh_start && seed < MAX_SEEDS; seed++)
        for (v = 0; v < VARIANTS; v++) {
            static const char *const ends[] = { "", ".run", ".curve" };
            int k;
            model_path(l, seed, v, path, sizeof path);
            for (k = 0; k < 3; k++) { snprintf(file, sizeof file, "%s%s", path, ends[k]); remove(file); }
        }
    snprintf(path, sizeof path, "%s/%s.part", l->o.out, name);
    return experiment_open(path, settings, l->o.fresh_start) < 0;
}

static int lab_close(lab *l, int st)
{
    int i;
    if (part) fclose(part);
    if (st == 130) fprintf(stderr, "\nStopped. The same command goes on from here.\n");
    for (i = 0; i < l->tos; i++) { ipr_dataset_free(l->to[i].train); ipr_dataset_free(l->to[i].test); }
    ipr_dataset_free(l->probe);
    ipr_dataset_free(l->train);
    ipr_dataset_free(l->test);
    ipr_close(l->c);
    return st;
}

/* Is this row asked for? */
static int wanted(const lab *l, int v)
{
    char row[64];
    row_of(l, row, sizeof row, v);
    return !l->o.only || !strncmp(row, l->o.only, strlen(l->o.only));
}

/* The results file: rows, then the program's notes. */
static int write_json(lab *l, const char *name, const paper_figure *figures, int count, const char *const *texts, int n)
{
    char path[600], line[300];
    ipr_writer w;
    ipr_json j;
    int i, ok;
    snprintf(path, sizeof path, "%s/%s.json", l->o.out, name);
    if (ipr_writer_file(l->c, &w, path, 0) != IPR_OK) return broken(l, path);
    ipr_json_begin(&j, &w, 1);
    experiment_rows(&j, l->c, name, l->train->name, l->o.quick, l->o.seeds, figures, count);
    ipr_json_array(&j, "notes");
    snprintf(line, sizeof line, "network: %s of %g of the paper's width; %d training images, %d test images; %d epochs (paper: 200); passports: %s", net_name(l->o.arch), l->o.width, (int)l->train->count,
             (int)l->test->count, l->o.epochs, kind_name(l->o.kind));
    ipr_json_str(&j, NULL, line);
    for (i = 0; i < n; i++) ipr_json_str(&j, NULL, texts[i]);
    ipr_json_str(&j, NULL, l->train->source);
    for (i = 0; i < l->tos; i++) {
        snprintf(line, sizeof line, "transfer to %s: %d training and %d test images; %s", l->to[i].label, (int)l->to[i].train->count, (int)l->to[i].test->count, l->to[i].train->source);
        ipr_json_str(&j, NULL, line);
    }
    ipr_json_end(&j);
    ipr_json_end(&j);
    ok = ipr_json_finish(&j) == IPR_OK && ipr_writer_commit(&w) == IPR_OK;
    ipr_writer_close(&w);
    return ok ? 0 : broken(l, path);
}

/* ---- pictures ---- */

/* A plane of reals as grey bytes, its least black and its largest white. */
REPORT_FN void grey(const ipr_real *v, ipr_index n, unsigned char *out)
{
    double lo = 1e30, hi = -1e30;
    ipr_index i;
    for (i = 0; i < n; i++) { if ((double)v[i] < lo) lo = (double)v[i]; if ((double)v[i] > hi) hi = (double)v[i]; }
    for (i = 0; i < n; i++) out[i] = (unsigned char)(hi > lo ? 255 * ((double)v[i] - lo) / (hi - lo) + 0.5 : 0);
}
#endif
