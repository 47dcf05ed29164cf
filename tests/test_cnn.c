/* Floor 10, convolutional networks: every architecture against PyTorch (golden/cnn.h, made by golden/make_cnn.py) in
   values, gradients, running statistics, names and counts; scales from outside, pairs, cuts, prediction, memory. */
#include "golden/cnn.h"

#ifdef __cplusplus
#define CN_ZERO {}
#else
#define CN_ZERO { 0 }
#endif

/* PyTorch ran in double. Of the largest logit, of a gradient's norm. */
#define CN_TOL (IPR_REAL_IS_DOUBLE ? 1e-8 : 1e-4)

/* Number j of stream k: the formula of golden/cnn_nets.py. */
static double cn_value(uint32_t k, ipr_index j)
{
    uint32_t h = (uint32_t)j * 2654435761u + (k + 1) * 2246822519u;
    h ^= h >> 15;
    h *= 2654435761u;
    h ^= h >> 13;
    return ((double)(h >> 8 & 4095) * 2 - 4095) / 4096;
}

static int cn_ends(const char *s, const char *end)
{
    const size_t a = strlen(s), b = strlen(end);
    return a >= b && strcmp(s + a - b, end) == 0;
}

static void cn_fill(ipr_params *p)
{
    ipr_ctx *c = ipr_params_ctx(p);
    ipr_index j;
    int k;
    for (k = 0; k < ipr_params_count(p); k++) {
        ipr_tensor *t = ipr_params_at(p, k);
        const char *name = ipr_params_name(p, k);
        const double n = (double)ipr_count(t);
        double a = 0.25, b = cn_ends(name, "weight") ? 1 : 0;
        ipr_real *w = ipr_write(c, t, 0);
        if (ipr_rank(t) > 1) { a = floor(1024 * sqrt(6 * (double)ipr_dim(t, 0) / n) + 0.5) / 1024; b = 0; }
        else if (cn_ends(name, "running_var")) { a = 0.5; b = 1; }
        for (j = 0; w && j < ipr_count(t); j++) w[j] = (ipr_real)(b + a * cn_value((uint32_t)k, j));
    }
}

static ipr_cnn_desc cn_desc(int arch, double scale)
{
    ipr_cnn_desc d = CN_ZERO;
    d.arch = arch;
    d.scale = scale;
    return d;
}

static ipr_tensor *cn_images(ipr_cnn *m, ipr_index n, int stream)
{
    ipr_index d[4], j;
    ipr_tensor *x;
    d[0] = n; d[1] = m->desc.channels; d[2] = m->desc.height; d[3] = m->desc.width;
    x = ipr_new(m->c, 4, d);
    for (j = 0; j < ipr_count(x); j++) ipr_write(m->c, x, 1)[j] = (ipr_real)(2 * cn_value((uint32_t)stream, j));
    return x;
}

static ipr_tensor *cn_labels(ipr_cnn *m, ipr_index n)
{
    ipr_tensor *y = ipr_new_i32(m->c, 1, &n);
    ipr_index i;
    for (i = 0; i < n; i++) ipr_write_i32(m->c, y, 1)[i] = (int32_t)((7 * i + 3) % m->desc.classes);
    return y;
}

/* Projection and norm of values [n] of stream k against want[2]; floor: least norm that counts. */
static void cn_project(const ipr_real *v, ipr_index n, int k, const double *want, double floor_, const char *what,
                       double *worst)
{
    double dot = 0, sq = 0, big = want[1] > floor_ ? want[1] : floor_, e, f;
    ipr_index j;
    if (!CHECK(v != NULL)) return;
    for (j = 0; j < n; j++) {
        dot += (double)v[j] * cn_value((uint32_t)(g_cnn_project + k), j);
        sq += (double)v[j] * (double)v[j];
    }
    e = fabs(dot - want[0]) / big;
    f = fabs(sqrt(sq) - want[1]) / big;
    if (f > e) e = f;
    if (!(e <= *worst)) *worst = e;
    if (!CHECK(e <= CN_TOL)) printf("    %s: %g of its norm %g, projection %g, PyTorch has %g\n", what, e, want[1], dot, want[0]);
}

static double cn_logits(ipr_ctx *c, ipr_tensor *z, const double *want, int n)
{
    const ipr_real *v = ipr_read(c, z);
    double worst = 0, big = 1e-3;
    int i;
    for (i = 0; i < n; i++) if (fabs(want[i]) > big) big = fabs(want[i]);
    if (!CHECK_EQ_I(ipr_count(z), n) || !CHECK(v != NULL)) return 1;
    for (i = 0; i < n; i++) if (!(fabs((double)v[i] - want[i]) / big <= worst)) worst = fabs((double)v[i] - want[i]) / big;
    CHECK(worst <= CN_TOL);
    return worst;
}

typedef struct cn_gold {
    const char *name;
    ipr_cnn_desc d;
    const double *eval, *train, *grads, *after, *stats;
    int n_grads, n_stats, images, training; /* training 0: gradients without training */
} cn_gold;

static void cn_check_gold(const cn_gold *g, int isa)
{
    double worst[5] = { 0, 0, 0, 0, 0 }, floor_ = 0;
    ipr_desc cd = IPR_ZERO;
    ipr_opt_desc od = CN_ZERO;
    ipr_tensor *x, *z, *loss;
    ipr_ctx *c;
    ipr_cnn *m;
    ipr_opt *o;
    int k, at, n;
    cd.isa = isa;
    c = ipr_open(&cd, NULL);
    if (!CHECK(c != NULL)) return;
    m = ipr_cnn_new(c, &g->d);
    if (!CHECK(m != NULL)) { printf("    %s: %s\n", g->name, ipr_message(c)); ipr_close(c); return; }
    n = (int)g_cnn_B * m->desc.classes;
    cn_fill(m->params);
    worst[0] = cn_logits(c, ipr_cnn_forward(m, cn_images(m, g_cnn_B, g->images), NULL), g->eval, n);
    ipr_step_end(c);
    ipr_set_training(c, g->training);
    x = cn_images(m, g_cnn_B, g->images);
    ipr_require_grad(x, 1);
    z = ipr_cnn_forward(m, x, NULL);
    worst[1] = cn_logits(c, z, g->train, n);
    loss = ipr_cross_entropy(c, z, cn_labels(m, g_cnn_B));
    CHECK_NEAR(ipr_item(c, loss), g->train[n], CN_TOL * g->train[n]);
    CHECK_EQ_I(ipr_backward(c, loss), IPR_OK);
    for (k = 1; k < g->n_grads; k += 2) if (g->grads[k] > floor_) floor_ = g->grads[k];
    for (k = at = 0; k < ipr_params_count(m->params); k++) {
        ipr_tensor *t = ipr_params_at(m->params, k);
        if (ipr_is_buffer(t)) continue;
        if (!CHECK(at < g->n_grads)) break;
        cn_project(ipr_grad(c, t), ipr_count(t), k, g->grads + at, 1e-2 * floor_, ipr_params_name(m->params, k), &worst[2]);
        at += 2;
    }
    if (CHECK_EQ_I(at + 2, g->n_grads)) cn_project(ipr_grad(c, x), ipr_count(x), 999, g->grads + at, 0, "images", &worst[2]);
    if (g->after) {
        od.kind = IPR_OPT_SGD;
        od.lr = 0.05;
        o = ipr_opt_new(m->params, &od);
        CHECK_EQ_I(ipr_opt_step(o), IPR_OK);
        ipr_step_end(c);
        ipr_set_training(c, 1);
        (void)ipr_cnn_forward(m, cn_images(m, g_cnn_B, g->images), NULL);
        ipr_step_end(c);
        ipr_set_training(c, 0);
        worst[3] = cn_logits(c, ipr_cnn_forward(m, cn_images(m, g_cnn_B, g->images), NULL), g->after, n);
        for (k = at = 0; g->stats && k < ipr_params_count(m->params); k++) {
            ipr_tensor *t = ipr_params_at(m->params, k);
            if (!ipr_is_buffer(t)) continue;
            if (!CHECK(at < g->n_stats)) break;
            cn_project(ipr_read(c, t), ipr_count(t), k, g->stats + at, 1e-3, ipr_params_name(m->params, k), &worst[4]);
            at += 2;
        }
        CHECK_EQ_I(at, g->n_stats);
        ipr_opt_free(o);
    }
    if (!CHECK_EQ_I(ipr_status(c), IPR_OK)) printf("    %s: %s\n", g->name, ipr_message(c));
#ifdef CN_VERBOSE
    printf("%-18s %-8s eval %.1e train %.1e gradients %.1e after a step %.1e statistics %.1e\n", g->name,
           ipr_isa_name(ipr_isa(c)), worst[0], worst[1], worst[2], worst[3], worst[4]);
#endif
    ipr_cnn_free(m);
    ipr_close(c);
}

#define CN_N(a) ((int)(sizeof(a) / sizeof (a)[0]))
/* a network that trains, with running statistics (1) or without (0) */
#define CN_GOLD(ref, arch_, scale_) \
    g.name = #ref; g.images = g_cnn_##ref##_images; g.training = 1; g.d = cn_desc(arch_, scale_); g.eval = g_cnn_##ref##_eval; g.train = g_cnn_##ref##_train; \
    g.grads = g_cnn_##ref##_grads; g.n_grads = CN_N(g_cnn_##ref##_grads); g.after = NULL; g.stats = NULL; g.n_stats = 0
#define CN_AFTER(ref) g.after = g_cnn_##ref##_after
#define CN_STATS(ref) g.after = g_cnn_##ref##_after; g.stats = g_cnn_##ref##_stats; g.n_stats = CN_N(g_cnn_##ref##_stats)

TEST(cnn_golden_lenets)
{
    cn_gold g;
    CN_GOLD(lenet, IPR_LENET, 0); CN_AFTER(lenet);
    cn_check_gold(&g, IPR_ISA_AUTO);
    cn_check_gold(&g, IPR_ISA_PORTABLE);
    CN_GOLD(keynet_lenet, IPR_KEYNET_LENET, 0); CN_STATS(keynet_lenet);
    cn_check_gold(&g, IPR_ISA_AUTO);
    CN_GOLD(keynet_cnn, IPR_KEYNET_CNN, 0.125); CN_STATS(keynet_cnn);
    cn_check_gold(&g, IPR_ISA_AUTO);
    cn_check_gold(&g, IPR_ISA_PORTABLE);
}

TEST(cnn_golden_alexnet)
{
    cn_gold g;
    CN_GOLD(alexnet, IPR_ALEXNET, 0.125); CN_STATS(alexnet);
    cn_check_gold(&g, IPR_ISA_AUTO);
    cn_check_gold(&g, IPR_ISA_PORTABLE);
    CN_GOLD(alexnet_group, IPR_ALEXNET, 0.125); CN_AFTER(alexnet_group);
    g.d.norm = IPR_NORM_GROUP; g.d.group_channels = 4;
    cn_check_gold(&g, IPR_ISA_AUTO);
    CN_GOLD(alexnet_instance, IPR_ALEXNET, 0.125); CN_AFTER(alexnet_instance);
    g.d.norm = IPR_NORM_INSTANCE;
    cn_check_gold(&g, IPR_ISA_AUTO);
}

TEST(cnn_golden_vgg16)
{
    cn_gold g;
    CN_GOLD(vgg16, IPR_VGG16, 0.125); CN_STATS(vgg16);
    cn_check_gold(&g, IPR_ISA_AUTO);
    cn_check_gold(&g, IPR_ISA_PORTABLE);
    CN_GOLD(vgg16_none, IPR_VGG16, 0.125); CN_AFTER(vgg16_none);
    g.d.norm = IPR_NORM_NONE;
    cn_check_gold(&g, IPR_ISA_AUTO);
    CN_GOLD(vgg16_imagenet, IPR_VGG16, 0.125); g.training = 0;
    g.d.imagenet = 1; g.d.height = 64; g.d.classes = 12;
    cn_check_gold(&g, IPR_ISA_AUTO);
}

TEST(cnn_golden_resnets)
{
    cn_gold g;
    CN_GOLD(resnet9_group, IPR_RESNET9, 0.125); CN_AFTER(resnet9_group);
    g.d.norm = IPR_NORM_GROUP; g.d.group_channels = 8;
    cn_check_gold(&g, IPR_ISA_AUTO);
    CN_GOLD(resnet18, IPR_RESNET18, 0.125); CN_STATS(resnet18);
    cn_check_gold(&g, IPR_ISA_AUTO);
    cn_check_gold(&g, IPR_ISA_PORTABLE);
    CN_GOLD(resnet18_relu, IPR_RESNET18, 0.125); CN_STATS(resnet18_relu);
    g.d.relu_before_add = 1;
    cn_check_gold(&g, IPR_ISA_AUTO);
    CN_GOLD(resnet50, IPR_RESNET50, 0.125); CN_STATS(resnet50); g.training = 0;
    cn_check_gold(&g, IPR_ISA_AUTO);
    CN_GOLD(resnet18_imagenet, IPR_RESNET18, 0.125); CN_STATS(resnet18_imagenet);
    g.d.imagenet = 1; g.d.height = 64; g.d.classes = 12;
    cn_check_gold(&g, IPR_ISA_AUTO);
}


/* ---- names, shapes, counts, units ---- */

static unsigned long cn_fnv(unsigned long h, const char *s)
{
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619ul & 0xfffffffful;
    return h;
}

static ipr_index cn_elements(const ipr_params *p)
{
    ipr_index n = 0;
    int k;
    for (k = 0; k < ipr_params_count(p); k++) if (!ipr_is_buffer(ipr_params_at(p, k))) n += ipr_count(ipr_params_at(p, k));
    return n;
}

/* Full width: as many tensors and parameters as PyTorch's, and the hash of all names and shapes in order. */
TEST(cnn_full_width)
{
    static const struct { int arch, classes, norm, imagenet, units; } want[11] = {
        { IPR_LENET, 0, 0, 0, 2 }, { IPR_KEYNET_LENET, 0, 0, 0, 2 }, { IPR_KEYNET_CNN, 0, 0, 0, 2 },
        { IPR_ALEXNET, 0, 0, 0, 5 }, { IPR_VGG16, 0, 0, 0, 13 }, { IPR_VGG16, 0, IPR_NORM_NONE, 0, 13 },
        { IPR_RESNET9, 0, 0, 0, 12 }, { IPR_RESNET18, 100, 0, 0, 20 }, { IPR_RESNET50, 0, 0, 0, 53 },
        { IPR_RESNET18, 0, 0, 1, 20 }, { IPR_RESNET50, 0, 0, 1, 53 } };
    int i, k, a;
    for (i = 0; i < 11; i++) {
        ipr_ctx *c = ipr_open(NULL, NULL);
        ipr_cnn_desc d = cn_desc(want[i].arch, 0);
        unsigned long h = 2166136261ul;
        char num[32];
        ipr_cnn *m;
        d.classes = want[i].classes; d.norm = want[i].norm; d.imagenet = want[i].imagenet; d.no_init = 1;
        m = ipr_cnn_new(c, &d);
        if (!CHECK(m != NULL)) { printf("    %s\n", ipr_message(c)); ipr_close(c); continue; }
        CHECK_EQ_I(ipr_params_count(m->params), g_cnn_full[i][0]);
        CHECK_EQ_I(cn_elements(m->params), g_cnn_full[i][1]);
        for (k = 0; k < ipr_params_count(m->params); k++) {
            const ipr_tensor *t = ipr_params_at(m->params, k);
            h = cn_fnv(cn_fnv(h, ipr_params_name(m->params, k)), ":");
            for (a = 0; a < ipr_rank(t); a++) {
                sprintf(num, a ? "x%ld" : "%ld", (long)ipr_dim(t, a));
                h = cn_fnv(h, num);
            }
            h = cn_fnv(h, "\n");
        }
        if (!CHECK_EQ_I(h, g_cnn_full[i][2])) printf("    %s\n", ipr_cnn_name(want[i].arch));
        CHECK_EQ_I(m->units, want[i].units);
        for (k = 0; k < m->units; k++) {
            CHECK_EQ_I(ipr_cnn_find(m, m->unit[k].name), k);
            CHECK_EQ_I(ipr_dim(m->unit[k].conv.weight, 0), m->unit[k].out);
            CHECK_EQ_I(ipr_dim(m->unit[k].conv.weight, 1), m->unit[k].in);
            CHECK_EQ_I(ipr_dim(m->unit[k].conv.weight, 3), m->unit[k].kernel);
            CHECK((m->unit[k].conv.bias != NULL) == (d.norm == IPR_NORM_NONE || d.arch < IPR_ALEXNET || d.arch == IPR_VGG16));
        }
        ipr_cnn_free(m);
        ipr_close(c);
    }
}

TEST(cnn_units)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = cn_desc(IPR_ALEXNET, 0), r;
    ipr_cnn *m;
    int k;
    static const int width[5] = { 16, 48, 96, 64, 64 }, thin[5] = { 8, 8, 8, 8, 8 }, six[5] = { 12, 36, 72, 48, 48 },
        third[5] = { 16, 56, 112, 80, 80 };
    d.scale = 0.25;
    m = ipr_cnn_new(c, &d);
    if (!CHECK(m != NULL)) { ipr_close(c); return; }
    for (k = 0; k < 5; k++) CHECK_EQ_I(m->unit[k].out, width[k]);
    CHECK_STR(m->unit[2].name, "features.4");
    CHECK_EQ_I(m->unit[2].in, 48); CHECK_EQ_I(m->unit[2].height, 8); CHECK_EQ_I(m->unit[2].width, 8);
    CHECK_EQ_I(m->unit[1].kernel, 5); CHECK_EQ_I(m->unit[1].height, 16);
    CHECK_EQ_I(m->heads, 1); CHECK_EQ_I(ipr_dim(m->head[0].weight, 1), 64 * 16);
    CHECK_EQ_I(ipr_cnn_find(m, "features.1"), -1); CHECK_EQ_I(ipr_cnn_find(m, NULL), -1);
    CHECK_EQ_I(ipr_cnn_find(NULL, "features.0"), -1);
    ipr_cnn_free(m);
    d.scale = 0.001;
    m = ipr_cnn_new(c, &d);
    for (k = 0; m && k < 5; k++) CHECK_EQ_I(m->unit[k].out, thin[k]);
    ipr_cnn_free(m);
    d.scale = 0.3;                                      /* 19.2, 57.6, 115.2, 76.8, 76.8 in eights */
    m = ipr_cnn_new(c, &d);
    for (k = 0; m && k < 5; k++) CHECK_EQ_I(m->unit[k].out, third[k]);
    ipr_cnn_free(m);
    d.scale = 0.19; d.norm = IPR_NORM_GROUP; d.group_channels = 12;      /* 12.2, 36.5, 73, 48.6, 48.6 in twelves */
    m = ipr_cnn_new(c, &d);
    for (k = 0; m && k < 5; k++) { CHECK_EQ_I(m->unit[k].out, six[k]); CHECK_EQ_I(m->unit[k].norm.groups, six[k] / 12); }
    CHECK(m && m->unit[0].norm.running_mean == NULL);
    ipr_cnn_free(m);
    d = cn_desc(IPR_RESNET18, 0.125);
    m = ipr_cnn_new(c, &d);
    if (CHECK(m != NULL)) {
        CHECK_EQ_I(ipr_cnn_find(m, "layer2.0.conv1"), 5);
        CHECK_EQ_I(ipr_cnn_find(m, "layer2.0.downsample"), 7);
        k = ipr_cnn_find(m, "layer4.0.downsample");
        CHECK_EQ_I(m->unit[k].height, 8); CHECK_EQ_I(m->unit[k].kernel, 1); CHECK_EQ_I(m->unit[k].in, 32);
        CHECK_EQ_I(m->unit[k].out, 64);
        CHECK_EQ_I(m->unit[ipr_cnn_find(m, "layer4.1.conv2")].height, 4);
        CHECK_EQ_I(m->unit[0].relu, 1); CHECK_EQ_I(m->unit[2].relu, 0);
    }
    r = ipr_cnn_resolved(&d);
    CHECK(r.channels == 3 && r.height == 32 && r.width == 32 && r.classes == 10 && r.norm == IPR_NORM_BATCH);
    CHECK_EQ_I(r.group_channels, 16);
    CHECK(m && r.scale <= m->desc.scale && r.width == m->desc.width && r.classes == m->desc.classes && r.norm == m->desc.norm);
    ipr_cnn_free(m);
    d = cn_desc(IPR_LENET, 0);
    d.width = 40;
    r = ipr_cnn_resolved(&d);
    CHECK(r.channels == 1 && r.height == 40 && r.width == 40 && r.norm == IPR_NORM_NONE && r.scale == 1);
    d = cn_desc(IPR_RESNET50, 0);
    d.imagenet = 1;
    r = ipr_cnn_resolved(&d);
    CHECK(r.height == 224 && r.classes == 1000);
    r = ipr_cnn_resolved(NULL);
    CHECK_EQ_I(r.arch, 0);
    CHECK_STR(ipr_cnn_name(IPR_VGG16), "vgg16"); CHECK_STR(ipr_cnn_name(IPR_KEYNET_CNN), "keynet-cnn");
    CHECK_STR(ipr_cnn_name(0), "unknown"); CHECK_STR(ipr_cnn_name(99), "unknown");
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

/* mean square of a tensor times n */
static double cn_power(ipr_ctx *c, const ipr_tensor *t, double n)
{
    const ipr_real *v = ipr_read(c, t);
    double s = 0;
    ipr_index i;
    for (i = 0; i < ipr_count(t); i++) s += (double)v[i] * (double)v[i];
    return s / (double)ipr_count(t) * n;
}

TEST(cnn_initialisation)
{
    ipr_desc cd = IPR_ZERO;
    ipr_ctx *c;
    ipr_cnn_desc d = cn_desc(IPR_ALEXNET, 0.25);
    ipr_cnn *m, *n;
    uint8_t a[32], b[32];
    double most = 0;
    ipr_index i;
    cd.seed = 7;
    c = ipr_open(&cd, NULL);
    m = ipr_cnn_new(c, &d);
    n = ipr_cnn_new(c, &d);
    if (!CHECK(m && n)) { ipr_close(c); return; }
    CHECK_NEAR(cn_power(c, m->unit[1].conv.weight, 48 * 25), 2, 0.06);       /* He, fan out */
    CHECK_NEAR(cn_power(c, m->unit[2].conv.weight, 96 * 9), 2, 0.06);
    CHECK_NEAR(cn_power(c, m->head[0].weight, 3 * 1024), 1, 0.04);           /* U(+-1/sqrt(1024)) */
    CHECK_NEAR(cn_power(c, m->unit[0].norm.weight, 1), 1, 0);
    CHECK_NEAR(cn_power(c, m->unit[0].norm.bias, 1), 0, 0);
    CHECK_NEAR(cn_power(c, m->unit[0].norm.running_var, 1), 1, 0);
    CHECK(ipr_params_sha256(m->params, a) == IPR_OK && ipr_params_sha256(n->params, b) == IPR_OK);
    CHECK(memcmp(a, b, 32) == 0);                                            /* same seed, same weights */
    ipr_cnn_free(n);
    ipr_set_seed(c, 8);
    n = ipr_cnn_new(c, &d);
    CHECK(n && ipr_params_sha256(n->params, b) == IPR_OK && memcmp(a, b, 32) != 0);
    ipr_cnn_free(n);
    d.no_init = 1;
    n = ipr_cnn_new(c, &d);
    CHECK(n && cn_power(c, n->unit[3].conv.weight, 1) == 0 && cn_power(c, n->head[0].bias, 1) == 0);
    CHECK_NEAR(n ? cn_power(c, n->unit[3].norm.weight, 1) : 0, 1, 0);
    ipr_cnn_free(n);
    d = cn_desc(IPR_KEYNET_CNN, 0.25);
    n = ipr_cnn_new(c, &d);
    if (CHECK(n != NULL)) {
        CHECK_NEAR(cn_power(c, n->unit[1].conv.weight, 9 * (8 + 16)), 2, 0.2);   /* Xavier */
        CHECK(cn_power(c, n->unit[1].conv.bias, 1) > 0);
        for (i = 0; i < ipr_count(n->unit[1].conv.weight); i++) {
            const double v = fabs((double)ipr_read(c, n->unit[1].conv.weight)[i]);
            if (v > most) most = v;
        }
        CHECK(most <= sqrt(6.0 / (9 * 24)) && most > 0.95 * sqrt(6.0 / (9 * 24)));
    }
    ipr_cnn_free(n);
    d = cn_desc(IPR_KEYNET_LENET, 0);
    n = ipr_cnn_new(c, &d);
    CHECK_NEAR(n ? cn_power(c, n->unit[1].conv.weight, 16 * 25 * 3) : 0, 1, 0.05);
    ipr_cnn_free(n);
    ipr_cnn_free(m);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

/* ---- scales from outside, pairs, cuts ---- */

static double cn_apart(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b)
{
    const ipr_real *p = ipr_read(c, a), *q = ipr_read(c, b);
    double worst = 0, big = 1e-6;
    ipr_index i;
    if (!p || !q || ipr_count(a) != ipr_count(b)) return 1e9;
    for (i = 0; i < ipr_count(a); i++) {
        if (fabs((double)p[i]) > big) big = fabs((double)p[i]);
        if (!(fabs((double)p[i] - (double)q[i]) <= worst)) worst = fabs((double)p[i] - (double)q[i]);
    }
    return worst / big;
}

/* scale 1 + v/2, bias v/4 for the units from..to, as parameters of a set of their own */
static ipr_params *cn_scales(ipr_cnn *m, int from, int to, ipr_scales *s)
{
    ipr_params *p = ipr_params_new(m->c);
    const ipr_scales zero = CN_ZERO;
    char name[64];
    ipr_index i;
    int u, k;
    *s = zero;
    for (u = from; u <= to; u++)
        for (k = 0; k < 2; k++) {
            ipr_tensor *t;
            sprintf(name, "%s%d", k ? "bias" : "scale", u);
            t = ipr_param(p, name, 1, &m->unit[u].out);
            for (i = 0; i < ipr_count(t); i++)
                ipr_write(m->c, t, 1)[i] = (ipr_real)(k ? cn_value(77, i + u) / 4 : 1 + cn_value(78, i + u) / 2);
            if (k) s->bias[u] = t;
            else s->scale[u] = t;
        }
    return p;
}

/* Scales equal to a unit's own change nothing, to the bit; others do what writing them into the norm does. */
TEST(cnn_scales)
{
    static const int arch[3] = { IPR_ALEXNET, IPR_RESNET18, IPR_KEYNET_CNN };
    int i, u, training;
    for (i = 0; i < 3; i++) {
        ipr_ctx *c = ipr_open(NULL, NULL);
        ipr_cnn_desc d = cn_desc(arch[i], 0.125);
        ipr_cnn *m = ipr_cnn_new(c, &d), *n;
        ipr_scales s, own = CN_ZERO;
        ipr_tensor *x, *y;
        ipr_params *p;
        if (!CHECK(m != NULL)) { ipr_close(c); continue; }
        cn_fill(m->params);
        p = cn_scales(m, 0, m->units - 1, &s);
        n = ipr_cnn_clone(m);
        for (u = 0; u < m->units; u++) {
            own.scale[u] = m->unit[u].norm.weight;
            own.bias[u] = m->unit[u].norm.bias;
            memcpy(ipr_write(c, n->unit[u].norm.weight, 0), ipr_read(c, s.scale[u]), (size_t)m->unit[u].out * sizeof(ipr_real));
            memcpy(ipr_write(c, n->unit[u].norm.bias, 0), ipr_read(c, s.bias[u]), (size_t)m->unit[u].out * sizeof(ipr_real));
        }
        for (training = 0; training < 2; training++) {
            ipr_set_training(c, training);
            x = cn_images(m, 4, 1000);
            y = ipr_cnn_forward(m, x, NULL);
            CHECK(cn_apart(c, y, ipr_cnn_forward(m, x, &own)) <= 0);
            CHECK(cn_apart(c, y, ipr_cnn_forward(m, x, &s)) > 1e-3);
            CHECK(cn_apart(c, ipr_cnn_forward(n, x, NULL), ipr_cnn_forward(m, x, &s)) <= 1e-6);   /* m's statistics moved thrice */
            ipr_step_end(c);
            CHECK_EQ_I(ipr_params_copy(n->params, m->params), IPR_OK);
            for (u = 0; u < m->units; u++) {
                memcpy(ipr_write(c, n->unit[u].norm.weight, 0), ipr_read(c, s.scale[u]), (size_t)m->unit[u].out * sizeof(ipr_real));
                memcpy(ipr_write(c, n->unit[u].norm.bias, 0), ipr_read(c, s.bias[u]), (size_t)m->unit[u].out * sizeof(ipr_real));
            }
        }
        ipr_params_free(p);
        ipr_cnn_free(n);
        ipr_cnn_free(m);
        if (!CHECK_EQ_I(ipr_status(c), IPR_OK)) printf("    %s\n", ipr_message(c));
        ipr_close(c);
    }
}

/* Bare units: no parameters of their own, a clear error without scales, with them as any other. */
TEST(cnn_bare)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = cn_desc(IPR_ALEXNET, 0.125);
    ipr_cnn *m, *n;
    ipr_scales s, part;
    ipr_params *p;
    ipr_tensor *x, *z;
    const char *name;
    int k;
    m = ipr_cnn_new(c, &d);
    d.bare = 0x1c;
    n = ipr_cnn_new(c, &d);
    if (!CHECK(m && n)) { ipr_close(c); return; }
    CHECK_EQ_I(ipr_params_count(n->params), ipr_params_count(m->params) - 6);
    CHECK(n->unit[2].norm.weight == NULL && n->unit[2].norm.bias == NULL && n->unit[2].norm.running_mean != NULL);
    CHECK(n->unit[1].norm.weight != NULL);
    CHECK(ipr_params_find(n->params, "features.4.bn.weight") == NULL);
    cn_fill(m->params);
    for (k = 0; k < ipr_params_count(n->params); k++) {
        name = ipr_params_name(n->params, k);
        memcpy(ipr_write(c, ipr_params_at(n->params, k), 0), ipr_read(c, ipr_params_find(m->params, name)),
               (size_t)ipr_count(ipr_params_at(n->params, k)) * sizeof(ipr_real));
    }
    p = cn_scales(m, 2, 4, &s);
    x = cn_images(m, 2, 1000);
    CHECK(cn_apart(c, ipr_cnn_forward(m, x, &s), ipr_cnn_forward(n, x, &s)) <= 0);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    CHECK(ipr_is_poison(ipr_cnn_forward(n, x, NULL)));
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG);
    CHECK_STR(ipr_message(c), "ipr_cnn_forward: unit 2 \"features.4\" is bare and gets no scale: give scale[2] and bias[2]");
    ipr_clear(c);
    part = s;
    part.bias[4] = NULL;
    CHECK(ipr_is_poison(ipr_cnn_forward(n, x, &part)));
    CHECK(strstr(ipr_message(c), "unit 4 \"features.6\" is bare and gets no bias") != NULL);
    ipr_clear(c);
    CHECK_EQ_I(ipr_cnn_forward_pair(n, x, &s, &z, &z), IPR_E_ARG);
    CHECK(strstr(ipr_message(c), "ipr_cnn_forward_pair: unit 2") != NULL);
    ipr_clear(c);
    CHECK(!ipr_is_poison(ipr_cnn_input_of(n, x, 2)));
    CHECK(ipr_is_poison(ipr_cnn_input_of(n, x, 3)));
    CHECK(strstr(ipr_message(c), "ipr_cnn_input_of: unit 2") != NULL);
    ipr_clear(c);
    ipr_params_free(p);
    ipr_close(c);
}

/* gradients of the sum of both losses, and running statistics, of two calls or of a pair */
static ipr_params *cn_two(ipr_cnn *m, ipr_params *scales, const ipr_scales *s, int pair, double loss[2], uint64_t *nodes)
{
    ipr_ctx *c = m->c;
    ipr_params *g = ipr_params_new(c);
    ipr_tensor *z[2] = { NULL, NULL }, *x = cn_images(m, 4, 1000), *y = cn_labels(m, 4), *l;
    uint64_t before;
    char name[160];
    ipr_index count;
    int i, k;
    ipr_params_zero_grad(m->params);
    ipr_params_zero_grad(scales);
    before = ipr_stats_get(c).nodes;
    if (pair) CHECK_EQ_I(ipr_cnn_forward_pair(m, x, s, &z[0], &z[1]), IPR_OK);
    else {
        z[0] = ipr_cnn_forward(m, x, NULL);
        z[1] = ipr_cnn_forward(m, x, s);
    }
    *nodes = ipr_stats_get(c).nodes - before;
    for (i = 0; i < 2; i++) z[i] = ipr_cross_entropy(c, z[i], y);
    loss[0] = (double)ipr_item(c, z[0]);
    loss[1] = (double)ipr_item(c, z[1]);
    l = ipr_add(c, z[0], ipr_affine(c, z[1], 0.5, 0));
    CHECK_EQ_I(ipr_backward(c, l), IPR_OK);
    for (i = 0; i < 2; i++)
        for (k = 0; k < ipr_params_count(i ? scales : m->params); k++) {
            ipr_tensor *t = ipr_params_at(i ? scales : m->params, k), *to;
            const ipr_real *v = ipr_is_buffer(t) ? ipr_read(c, t) : ipr_grad(c, t);
            sprintf(name, "%d.%s", i, ipr_params_name(i ? scales : m->params, k));
            count = ipr_count(t);
            to = ipr_param(g, name, 1, &count);
            if (v) memcpy(ipr_write(c, to, 0), v, (size_t)ipr_count(t) * sizeof *v);
        }
    ipr_step_end(c);
    return g;
}

/* What a pair gives is what two calls give: losses to the bit, gradients but for the order of sums, statistics of the
   units behind the fork; those before it move once. */
TEST(cnn_pair)
{
    static const struct { int arch, norm, from, to, shared; } want[] = {   /* shared: nodes that run once */
        { IPR_ALEXNET, IPR_NORM_BATCH, 2, 4, 7 }, { IPR_ALEXNET, IPR_NORM_GROUP, 2, 3, 7 },
        { IPR_ALEXNET, IPR_NORM_BATCH, 0, 0, 1 }, { IPR_KEYNET_CNN, IPR_NORM_BATCH, 1, 1, 5 },
        { IPR_VGG16, IPR_NORM_BATCH, 12, 12, 29 }, { IPR_RESNET18, IPR_NORM_GROUP, 15, 19, 44 },
        { IPR_RESNET18, IPR_NORM_BATCH, 5, 7, 16 }, { IPR_RESNET18, IPR_NORM_BATCH, 6, 6, 18 },
        { IPR_RESNET18, IPR_NORM_BATCH, 7, 7, 19 }, { IPR_RESNET18, IPR_NORM_BATCH, 8, 9, 23 },
        { IPR_RESNET50, IPR_NORM_GROUP, 46, 52, 119 }, { IPR_RESNET18, IPR_NORM_BATCH, 0, 2, 1 } };
    size_t i;
    for (i = 0; i < sizeof want / sizeof want[0]; i++) {
        ipr_ctx *c = ipr_open(NULL, NULL);
        ipr_cnn_desc d = cn_desc(want[i].arch, 0.125);
        ipr_cnn *m, *n;
        ipr_params *p, *one, *two;
        ipr_scales s;
        uint64_t nodes[2] = { 0, 0 };
        double a[2], b[2];
        char name[100];
        int k;
        d.norm = want[i].norm;
        d.group_channels = 8;
        m = ipr_cnn_new(c, &d);
        if (!CHECK(m != NULL)) { printf("    %s\n", ipr_message(c)); ipr_close(c); continue; }
        cn_fill(m->params);
        n = ipr_cnn_clone(m);
        p = cn_scales(m, want[i].from, want[i].to, &s);
        ipr_set_training(c, 1);
        two = cn_two(m, p, &s, 0, a, &nodes[0]);
        one = cn_two(n, p, &s, 1, b, &nodes[1]);
        CHECK(a[0] >= b[0] && a[0] <= b[0] && a[1] >= b[1] && a[1] <= b[1] && fabs(a[0] - a[1]) > 1e-4);
        CHECK_EQ_I(nodes[0] - nodes[1], want[i].shared);
        for (k = 0; k < ipr_params_count(one); k++) {
            const double e = cn_apart(c, ipr_params_at(two, k), ipr_params_at(one, k));
            const char *what = ipr_params_name(one, k);
            int u = -1, at;
            if (strstr(what, "running_")) {
                for (at = 0; at < m->units; at++) {
                    sprintf(name, "0.%s", what + 2);
                    if (ipr_params_find(m->params, what + 2) == m->unit[at].norm.running_mean ||
                        ipr_params_find(m->params, what + 2) == m->unit[at].norm.running_var) u = at;
                }
                if (u < want[i].from) { CHECK(e > 1e-4); continue; }
                CHECK(e <= 0);
            } else if (!cn_ends(what, "bias") && !CHECK(e < (IPR_REAL_IS_DOUBLE ? 1e-10 : 2e-5))) printf("    %s: %g\n", what, e);
        }
        /* without training the logits are the same too */
        ipr_set_training(c, 0);
        {
            ipr_tensor *x = cn_images(m, 3, 1000), *u = NULL, *v = NULL;
            CHECK_EQ_I(ipr_cnn_forward_pair(m, x, &s, &u, &v), IPR_OK);
            CHECK(cn_apart(c, ipr_cnn_forward(m, x, NULL), u) <= 0);
            CHECK(cn_apart(c, ipr_cnn_forward(m, x, &s), v) <= 0);
        }
        ipr_params_free(one);
        ipr_params_free(two);
        ipr_params_free(p);
        ipr_cnn_free(m);
        ipr_cnn_free(n);
        if (!CHECK_EQ_I(ipr_status(c), IPR_OK)) printf("    %s\n", ipr_message(c));
        ipr_close(c);
    }
}

/* What input_of hands out, driven by hand through the rest, gives the network's logits; shapes are the units'. */
TEST(cnn_input_of)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = cn_desc(IPR_ALEXNET, 0.125);
    ipr_pool2d_desc pool = CN_ZERO;
    ipr_cnn *m = ipr_cnn_new(c, &d);
    ipr_tensor *x, *y, *z;
    ipr_index flat[2] = { 3, -1 };
    int u, arch;
    pool.kernel[0] = pool.kernel[1] = 2;
    cn_fill(m->params);
    x = cn_images(m, 3, 1000);
    y = ipr_cnn_input_of(m, x, 2);
    for (u = 2; u < 5; u++) {
        CHECK(cn_apart(c, y, ipr_cnn_input_of(m, x, u)) <= 0);
        y = ipr_norm_apply(c, &m->unit[u].norm, ipr_conv_apply(c, &m->unit[u].conv, y), NULL, NULL, 1);
    }
    y = ipr_reshape(c, ipr_max_pool2d(c, y, &pool), 2, flat);
    CHECK(cn_apart(c, ipr_cnn_forward(m, x, NULL), ipr_dense_forward(c, &m->head[0], y)) <= 0);
    CHECK(cn_apart(c, x, ipr_cnn_input_of(m, x, 0)) <= 0);
    ipr_cnn_free(m);
    for (arch = IPR_LENET; arch <= IPR_RESNET50; arch++) {
        d = cn_desc(arch, 0.125);
        m = ipr_cnn_new(c, &d);
        if (!CHECK(m != NULL)) break;
        for (u = 0; u < m->units; u++) {
            z = ipr_cnn_input_of(m, cn_images(m, 1, 1000), u);
            CHECK(ipr_dim(z, 1) == m->unit[u].in && ipr_dim(z, 2) == m->unit[u].height && ipr_dim(z, 3) == m->unit[u].width);
            ipr_step_end(c);
        }
        x = cn_images(m, 1, 1000);
        u = ipr_cnn_find(m, "layer3.0.downsample");
        if (arch >= IPR_RESNET9)
            CHECK(cn_apart(c, ipr_cnn_input_of(m, x, u), ipr_cnn_input_of(m, x, ipr_cnn_find(m, "layer3.0.conv1"))) <= 0);
        ipr_step_end(c);
        ipr_cnn_free(m);
    }
    if (!CHECK_EQ_I(ipr_status(c), IPR_OK)) printf("    %s\n", ipr_message(c));
    ipr_close(c);
}

/* ---- training, prediction, memory ---- */

/* One epoch of digits in batches of 25; returns the mean loss. */
static double cn_epoch(ipr_cnn *m, ipr_opt *o, const ipr_dataset *ds, ipr_index items)
{
    ipr_ctx *c = m->c;
    double sum = 0;
    ipr_index at;
    for (at = 0; at < items; at += 25) {
        uint32_t idx[25];
        ipr_index d[4];
        ipr_tensor *x = NULL, *y = NULL, *l;
        int i;
        for (i = 0; i < 25; i++) idx[i] = (uint32_t)(at + i);
        (void)ipr_batch(c, ds, idx, 25, IPR_BATCH_MAJOR, &x, &y);
        d[0] = 25; d[1] = 1; d[2] = d[3] = 28;
        l = ipr_cross_entropy(c, ipr_cnn_forward(m, ipr_reshape(c, x, 4, d), NULL), y);
        sum += (double)ipr_item(c, l);
        (void)ipr_backward(c, l);
        (void)ipr_opt_step(o);
        ipr_step_end(c);
    }
    return sum * 25 / (double)items;
}

TEST(cnn_learns)
{
    static const int arch[2] = { IPR_KEYNET_LENET, IPR_RESNET9 };
    int i, e;
#ifdef IPR_TEST_SLOW
    SKIP("trains a network: too slow on an emulated machine");
#endif
    for (i = 0; i < (IPR_REAL_IS_DOUBLE ? 1 : 2); i++) {          /* double is slow */
        ipr_ctx *c = ipr_open(NULL, NULL);
        ipr_dataset *train = ipr_dataset_digits(c, 1, 0, 400), *test = ipr_dataset_digits(c, 1, IPR_DIGITS_TEST, 200);
        ipr_cnn_desc d = cn_desc(arch[i], i ? 0.125 : 0.5);
        ipr_opt_desc od = CN_ZERO;
        ipr_cnn *m;
        ipr_opt *o;
        double first, last = 0, before, after;
        uint64_t allocs = 0;
        od.lr = 5e-3;
        d.channels = 1; d.height = 28; d.classes = 10;
        m = ipr_cnn_new(c, &d);
        if (!CHECK(m != NULL)) { ipr_close(c); continue; }
        o = ipr_opt_new(m->params, &od);
        before = ipr_cnn_accuracy(m, test, NULL, 200, NULL, NULL);
        ipr_set_training(c, 1);
        first = cn_epoch(m, o, train, 400);
        for (e = 0; e < 3; e++) {
            last = cn_epoch(m, o, train, 400);
            if (!e) allocs = ipr_stats_get(c).allocs;
        }
        CHECK_EQ_I(ipr_stats_get(c).allocs, allocs);              /* none in a step */
        after = ipr_cnn_accuracy(m, test, NULL, 200, NULL, NULL);
        CHECK(last < first / 2);
        if (!CHECK(before < 35 && after > 60)) printf("    %s: %g, then %g\n", ipr_cnn_name(arch[i]), before, after);
#ifdef CN_VERBOSE
        printf("%s: loss %g to %g, accuracy %g to %g\n", ipr_cnn_name(arch[i]), first, last, before, after);
#endif
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_dataset_free(train);
        ipr_dataset_free(test);
        ipr_opt_free(o);
        ipr_cnn_free(m);
        ipr_close(c);
    }
}

/* Prediction in batches against forward; bytes and reals; [H,W] and [C,H,W]; normalisation; scales that are temporaries;
   the training flag, the tape and the dropout keys as they were. */
TEST(cnn_predict)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = cn_desc(IPR_ALEXNET, 0.125);
    ipr_image_norm norm = CN_ZERO;
    ipr_cnn *m = ipr_cnn_new(c, &d);
    ipr_scales s, temp = CN_ZERO;
    ipr_params *p;
    enum { N = 70, L = 3 * 32 * 32 };
    static uint8_t bytes[N * L];
    static ipr_real reals[N * L];
    int32_t labels[N], got[N], got2[N], raw[N];
    static double prob[N * 10], prob2[N * 10];
    uint32_t idx[N];
    ipr_index dims[4] = { 3, 32, 32, 0 }, full[4] = { N, 3, 32, 32 };
    ipr_dataset *u, *r, *grey;
    ipr_tensor *y, *x;
    double right = 0;
    uint64_t live;
    int i, k;
    norm.channels = 3;
    for (i = 0; i < 3; i++) { norm.mean[i] = 0.4 + 0.05 * i; norm.sd[i] = 0.2 + 0.02 * i; }
    cn_fill(m->params);
    for (i = 0; i < N * L; i++) {
        bytes[i] = (uint8_t)(127.5 + 127 * cn_value(3, i));
        reals[i] = (ipr_real)(bytes[i] / 255.0);
    }
    for (i = 0; i < N; i++) { labels[i] = i % 10; idx[i] = (uint32_t)(N - 1 - i); }
    u = ipr_dataset_u8(c, "u", "", N, 3, dims, bytes, labels, 10, 0);
    r = ipr_dataset_real(c, "r", "", N, 3, dims, reals, labels, 10, 0);
    p = cn_scales(m, 2, 4, &s);
    for (i = 0; i < 2; i++) {
        const ipr_scales *sc = i ? &s : NULL;
        ipr_step_end(c);
        x = ipr_new(c, 4, full);
        for (k = 0; k < N * L; k++)
            ipr_write(c, x, 1)[k] = (ipr_real)((bytes[k] / 255.0 - norm.mean[k / 1024 % 3]) / norm.sd[k / 1024 % 3]);
        y = ipr_softmax(c, ipr_cnn_forward(m, x, sc));
        for (k = 0; k < N * 10; k++) prob2[k] = (double)ipr_read(c, y)[k];
        y = ipr_argmax(c, y);
        for (k = 0; k < N; k++) got2[k] = ipr_read_i32(c, y)[k];
        for (k = 0, right = 0; k < N; k++) right += got2[k] == labels[k];
        ipr_step_end(c);
        live = ipr_stats_get(c).allocs - ipr_stats_get(c).frees;
        if (i)                                              /* where the batches will lie */
            for (k = 2; k < 5; k++) { temp.scale[k] = ipr_affine(c, s.scale[k], 1, 0); temp.bias[k] = ipr_affine(c, s.bias[k], 1, 0); }
        CHECK_EQ_I(ipr_cnn_predict(m, u, NULL, N, &norm, i ? &temp : NULL, got, prob), IPR_OK);
        CHECK(memcmp(got, got2, sizeof got) == 0);
        for (k = 0; k < N * 10; k++) if (!CHECK_NEAR(prob[k], prob2[k], 1e-5)) break;
        CHECK_EQ_I(ipr_cnn_predict(m, r, NULL, N, &norm, sc, got, NULL), IPR_OK);
        CHECK(memcmp(got, got2, sizeof got) == 0);
        CHECK_EQ_I(ipr_cnn_predict(m, u, idx, N, &norm, sc, got, NULL), IPR_OK);
        for (k = 0; k < N; k++) CHECK_EQ_I(got[k], got2[N - 1 - k]);
        CHECK_NEAR(ipr_cnn_accuracy(m, u, NULL, N, &norm, sc), 100 * right / N, 1e-9);
        CHECK_NEAR(ipr_cnn_accuracy(m, u, idx, N, &norm, sc), 100 * right / N, 1e-9);
        CHECK_EQ_I(ipr_stats_get(c).allocs - ipr_stats_get(c).frees, live);
    }
    CHECK_EQ_I(ipr_cnn_predict(m, u, NULL, N, NULL, NULL, raw, NULL), IPR_OK);
    CHECK(memcmp(raw, got2, sizeof raw) != 0);
    /* with training on and a tape before, both are so again, and the statistics have not moved */
    ipr_set_training(c, 1);
    {
        uint8_t a[32], b[32];
        const uint32_t step = c->step_no;
        (void)ipr_params_sha256(m->params, a);
        CHECK_EQ_I(ipr_cnn_predict(m, u, NULL, 5, &norm, NULL, got, NULL), IPR_OK);
        (void)ipr_params_sha256(m->params, b);
        CHECK(memcmp(a, b, 32) == 0 && c->training == 1 && c->no_grad == 0 && c->step_no == step);
        CHECK_EQ_I(c->nnodes, 0);
    }
    CHECK_EQ_I(ipr_cnn_predict(m, u, NULL, 0, &norm, NULL, NULL, NULL), IPR_OK);
    ipr_set_training(c, 0);
    ipr_cnn_free(m);
    d = cn_desc(IPR_LENET, 0);
    m = ipr_cnn_new(c, &d);
    dims[0] = dims[1] = 28;
    grey = ipr_dataset_u8(c, "g", "", N, 2, dims, bytes, labels, 10, 0);
    CHECK_EQ_I(ipr_cnn_predict(m, grey, NULL, N, NULL, NULL, got, NULL), IPR_OK);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    d = cn_desc(IPR_KEYNET_LENET, 0);                       /* grey images fill its three channels */
    {
        ipr_cnn *three = ipr_cnn_new(c, &d);
        uint8_t *rgb = (uint8_t *)malloc(N * 3 * 784);
        ipr_index full3[3] = { 3, 28, 28 };
        ipr_dataset *colour;
        for (i = 0; i < N * 3; i++) memcpy(rgb + i * 784, bytes + i / 3 * 784, 784);
        colour = ipr_dataset_u8(c, "c", "", N, 3, full3, rgb, labels, 10, 0);
        CHECK_EQ_I(ipr_cnn_predict(three, grey, NULL, N, NULL, NULL, got, prob), IPR_OK);
        CHECK_EQ_I(ipr_cnn_predict(three, colour, NULL, N, NULL, NULL, got2, prob2), IPR_OK);
        CHECK(memcmp(got, got2, sizeof got) == 0);
        for (i = 0; i < N * 5; i++) if (!CHECK_NEAR(prob[i], prob2[i], 0)) break;
        free(rgb);
        ipr_cnn_free(three);
    }
    /* bad input */
    CHECK_EQ_I(ipr_cnn_predict(m, u, NULL, 4, NULL, NULL, got, NULL), IPR_E_SHAPE);
    CHECK(strstr(ipr_message(c), "reads [B,1,28,28]") != NULL);
    ipr_clear(c);
    CHECK_EQ_I(ipr_cnn_predict(m, grey, NULL, N + 1, NULL, NULL, NULL, NULL), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_cnn_predict(m, NULL, NULL, 1, NULL, NULL, got, NULL), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_cnn_predict(NULL, grey, NULL, 1, NULL, NULL, got, NULL), IPR_E_ARG);
    CHECK_EQ_I(ipr_cnn_predict(m, grey, NULL, -1, NULL, NULL, got, NULL), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_NEAR(ipr_cnn_accuracy(m, grey, NULL, 0, NULL, NULL), -1, 0);
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG);
    ipr_clear(c);
    CHECK_NEAR(ipr_cnn_accuracy(NULL, grey, NULL, 5, NULL, NULL), -1, 0);
    s.scale[40] = s.scale[2];
    CHECK_EQ_I(ipr_cnn_predict(m, grey, NULL, 1, NULL, &s, got, NULL), IPR_E_RANGE);
    CHECK_EQ_I(c->no_grad, 0);
    ipr_clear(c);
    ipr_params_free(p);
    ipr_close(c);
}

/* Two steps give the same bits at any number of threads. */
TEST(cnn_threads)
{
#if defined(IPR_THREADS)
    static const int arch[3] = { IPR_RESNET18, IPR_ALEXNET, IPR_KEYNET_CNN };
    int i, t, k;
    for (i = 0; i < 3; i++) {
        uint8_t hash[3][32];
        for (t = 0; t < 3; t++) {
            ipr_desc cd = IPR_ZERO;
            ipr_cnn_desc d = cn_desc(arch[i], 0.125);
            ipr_opt_desc od = CN_ZERO;
            ipr_ctx *c;
            ipr_cnn *m;
            ipr_opt *o;
            cd.threads = t == 2 ? 5 : t + 1;
            c = ipr_open(&cd, NULL);
            m = ipr_cnn_new(c, &d);
            od.kind = IPR_OPT_SGD; od.lr = 0.1; od.momentum = 0.9;
            o = ipr_opt_new(m->params, &od);
            ipr_set_training(c, 1);
            for (k = 0; k < 2; k++) {
                ipr_scales s;
                ipr_params *p = cn_scales(m, m->units - 1, m->units - 1, &s);
                ipr_tensor *a = NULL, *b = NULL, *y = cn_labels(m, 5);
                CHECK_EQ_I(ipr_cnn_forward_pair(m, cn_images(m, 5, 1000), &s, &a, &b), IPR_OK);
                (void)ipr_backward(c, ipr_add(c, ipr_cross_entropy(c, a, y), ipr_cross_entropy(c, b, y)));
                (void)ipr_opt_step(o);
                ipr_step_end(c);
                ipr_params_free(p);
            }
            CHECK_EQ_I(ipr_params_sha256(m->params, hash[t]), IPR_OK);
            ipr_close(c);
        }
        CHECK(memcmp(hash[0], hash[1], 32) == 0 && memcmp(hash[0], hash[2], 32) == 0);
    }
#else
    SKIP("built without IPR_THREADS");
#endif
}

/* Every allocation of building, a paired step, prediction and cloning fails once: an error, no leak. */
TEST(cnn_out_of_memory)
{
    static const int arch[2] = { IPR_RESNET9, IPR_KEYNET_CNN };
    int i;
    for (i = 0; i < 2; i++) {
        long k, calls = 1;
        int st = IPR_E_NOMEM;
        for (k = 0; k < 600 && st != IPR_OK; k++) {
            core_heap h;
            ipr_desc cd = core_desc(&h);
            ipr_cnn_desc d = cn_desc(arch[i], 0.01);
            ipr_cnn *m, *n = NULL;
            ipr_params *p = NULL;
            ipr_scales s;
            ipr_dataset *ds = NULL;
            ipr_ctx *c;
            int32_t got[3];
            ipr_index two = 2;
            h.fail_at = k;
            c = ipr_open(&cd, &st);
            if (!c) { calls++; continue; }
            m = ipr_cnn_new(c, &d);
            if (m && arch[i] == IPR_KEYNET_CNN) ds = ipr_dataset_digits(c, 1, 0, 3);
            if (m && ipr_status(c) == IPR_OK && (p = cn_scales(m, 1, 1, &s)) != NULL && ipr_status(c) == IPR_OK) {
                ipr_tensor *a = NULL, *b = NULL, *x = cn_images(m, 2, 1000), *y;
                if (ipr_status(c) == IPR_OK && ipr_cnn_forward_pair(m, x, &s, &a, &b) == IPR_OK) {
                    y = ipr_new_i32(c, 1, &two);
                    (void)ipr_backward(c, ipr_add(c, ipr_cross_entropy(c, a, y), ipr_cross_entropy(c, b, y)));
                }
                ipr_step_end(c);
                if (ds) {
                    ipr_cnn *one;
                    d.channels = 1;
                    one = ipr_cnn_new(c, &d);
                    if (one) (void)ipr_cnn_predict(one, ds, NULL, 3, NULL, &s, got, NULL);
                    ipr_cnn_free(one);
                }
                n = ipr_cnn_clone(m);
            }
            st = ipr_status(c);
            if (h.calls > k) CHECK_EQ_I(st, IPR_E_NOMEM);
            if (st == IPR_OK) CHECK(m && n);
            ipr_clear(c);
            ipr_dataset_free(ds);
            ipr_params_free(p);
            ipr_cnn_free(n);
            ipr_cnn_free(m);
            ipr_close(c);
            CHECK(h.live == 0 && h.bytes == 0);
            calls++;
        }
        CHECK_EQ_I(st, IPR_OK);
        CHECK(calls > 15);
    }
}

/* A clone that fails leaves nothing behind. */
/* One training step of a thin ResNet-18: some 500 blocks, more than any embedded recurrent net asks for. */
static int cn_step_in(const ipr_desc *d, double *loss, size_t *need)
{
    ipr_ctx *c = ipr_open(d, NULL);
    ipr_cnn_desc nd = cn_desc(IPR_RESNET18, 0.0625);
    ipr_index n = 2;
    ipr_cnn *m = ipr_cnn_new(c, &nd);
    ipr_tensor *l;
    int status;
    if (m) {
        ipr_set_training(c, 1);
        l = ipr_cross_entropy(c, ipr_cnn_forward(m, cn_images(m, n, 0), NULL), ipr_new_i32(c, 1, &n));
        (void)ipr_backward(c, l);
        *loss = (double)ipr_item(c, l);
        ipr_step_end(c);
    }
    *need = ipr_bytes_needed(c);
    status = ipr_status(c);
    ipr_cnn_free(m);
    ipr_close(c);
    return status;
}

/* A step holds the values that backward reads, and little besides; gradients live in what is done with. */
TEST(cnn_memory)
{
    static const int archs[] = { IPR_LENET, IPR_KEYNET_CNN, IPR_ALEXNET, IPR_VGG16, IPR_RESNET9, IPR_RESNET18, IPR_RESNET50 };
#ifdef IPR_TEST_SLOW
    const size_t some = 3; /* the small ones and AlexNet */
#else
    const size_t some = sizeof archs / sizeof archs[0];
#endif
    size_t a;
    for (a = 0; a < some; a++) {
        ipr_desc d = CN_ZERO;
        ipr_ctx *c = ipr_open(&d, NULL);
        ipr_cnn_desc nd = cn_desc(archs[a], archs[a] >= IPR_ALEXNET ? 0.125 : 1);
        ipr_index n = 8;
        ipr_cnn *m = ipr_cnn_new(c, &nd);
        size_t live = 0, held[2] = { 0, 0 };
        uint64_t allocs = 0;
        int k;
        if (!CHECK(m != NULL)) { ipr_close(c); continue; }
        for (k = 0; k < 5; k++) {
            ipr_tensor *y, *l;
            ipr_set_training(c, 1);
            y = ipr_cnn_forward(m, cn_images(m, n, 0), NULL);
            l = ipr_cross_entropy(c, y, ipr_new_i32(c, 1, &n));
            live = ipr_stats_get(c).step_bytes;
            CHECK_EQ_I(ipr_backward(c, l), IPR_OK);
            CHECK(ipr_read(c, y) && ipr_item(c, l) > 0);
            ipr_step_end(c);
            if (k == 0) allocs = (uint64_t)ipr_stats_get(c).allocs; /* from the second step on: none */
        }
        CHECK_EQ_I((uint64_t)ipr_stats_get(c).allocs, allocs);
        /* of two layers the gradient of the larger is more than a sixth of all */
        if (!CHECK((double)ipr_stats_get(c).step_peak <= (archs[a] < IPR_ALEXNET ? 1.25 : 1.15) * (double)live + 65536))
            printf("  %s: %.0f bytes live, %.0f at the peak\n", ipr_cnn_name(archs[a]), (double)live, (double)ipr_stats_get(c).step_peak);
        ipr_no_grad(c, 1);
        ipr_set_training(c, 0);
        for (k = 0; k < 2; k++) {                       /* inference keeps nothing; a cut net returns what it was asked for */
            ipr_tensor *y = k ? ipr_cnn_input_of(m, cn_images(m, n, 0), m->units - 1) : ipr_cnn_forward(m, cn_images(m, n, 0), NULL);
            ipr_index i;
            CHECK(!ipr_is_poison(y));
            for (i = 0; i < ipr_count(y); i++) if (!CHECK(fabs((double)ipr_read(c, y)[i]) < 1e6)) break;
            held[k] = ipr_stats_get(c).step_bytes;
            ipr_step_end(c);
        }
        CHECK(held[0] < live && held[1] < live);
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_cnn_free(m);
        ipr_close(c);
    }
}

TEST(cnn_caller_buffer)
{
    ipr_desc d = CN_ZERO;
    double plain = 0, measured = 0, fixed = 0;
    size_t need = 0, used = 0;
    void *memory;
    CHECK_EQ_I(cn_step_in(&d, &plain, &used), IPR_OK);
    d.measure = 1;
    CHECK_EQ_I(cn_step_in(&d, &measured, &need), IPR_OK);
    memory = malloc(need);
    if (!memory) return;
    d.measure = 0;
    d.memory = memory;
    d.memory_size = need;
    CHECK_EQ_I(cn_step_in(&d, &fixed, &used), IPR_OK);
    CHECK_EQ_I(used, need);
    CHECK(plain > 1 && memcmp(&plain, &measured, sizeof plain) == 0 && memcmp(&plain, &fixed, sizeof plain) == 0);
    d.memory_size = need - 128;
    CHECK_EQ_I(cn_step_in(&d, &fixed, &used), IPR_E_NOMEM);
    free(memory);
}

TEST(cnn_clone_out_of_memory)
{
    core_heap h;
    ipr_desc cd = core_desc(&h);
    ipr_cnn_desc d = cn_desc(IPR_RESNET9, 0.01);
    ipr_ctx *c = ipr_open(&cd, NULL);
    ipr_cnn *m = ipr_cnn_new(c, &d), *n = NULL;
    const long live = h.live;
    int k;
    for (k = 0; k < 50 && !n; k++) {
        h.fail_at = h.calls + k;
        n = ipr_cnn_clone(m);
        CHECK_EQ_I(ipr_status(c), n ? IPR_OK : IPR_E_NOMEM);
        if (!n) CHECK_EQ_I(h.live, live);
        ipr_clear(c);
    }
    CHECK(n != NULL && k > 3);
    ipr_cnn_free(n);
    CHECK_EQ_I(h.live, live);
    ipr_cnn_free(m);
    ipr_close(c);
}

TEST(cnn_save_load_clone)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = cn_desc(IPR_RESNET9, 0.125);
    ipr_cnn *m = ipr_cnn_new(c, &d), *n, *o;
    ipr_tensor *x, *y;
    size_t bytes = 0;
    uint8_t *buf;
    int k;
    cn_fill(m->params);
    n = ipr_cnn_clone(m);
    if (!CHECK(n != NULL)) { ipr_close(c); return; }
    x = cn_images(m, 2, 1000);
    y = ipr_cnn_forward(m, x, NULL);
    CHECK(cn_apart(c, y, ipr_cnn_forward(n, x, NULL)) <= 0);
    CHECK_EQ_I(ipr_params_count(n->params), ipr_params_count(m->params));
    for (k = 0; k < ipr_params_count(m->params); k++) {
        CHECK(ipr_params_at(m->params, k) != ipr_params_at(n->params, k));
        CHECK_EQ_I(ipr_is_buffer(ipr_params_at(m->params, k)), ipr_is_buffer(ipr_params_at(n->params, k)));
    }
    for (k = 0; k < m->units; k++) {                     /* the clone reads its own tensors, in every place */
        CHECK(n->unit[k].conv.weight != m->unit[k].conv.weight && n->unit[k].norm.weight != m->unit[k].norm.weight);
        CHECK(n->unit[k].norm.bias == ipr_params_at(n->params, 5 * k + 2));
        CHECK(n->unit[k].norm.running_mean == ipr_params_at(n->params, 5 * k + 3));
        CHECK(n->unit[k].norm.running_var == ipr_params_at(n->params, 5 * k + 4));
    }
    CHECK(n->head[0].weight == ipr_params_find(n->params, "fc.weight") && n->head[0].bias == ipr_params_find(n->params, "fc.bias"));
    ipr_params_free(ipr_params_clone(n->params));
    CHECK_EQ_I(ipr_params_save_memory(m->params, NULL, 0, &bytes, NULL), IPR_OK);
    buf = (uint8_t *)malloc(bytes);
    CHECK_EQ_I(ipr_params_save_memory(m->params, buf, bytes, &bytes, NULL), IPR_OK);
    ipr_cnn_free(m);
    ipr_set_seed(c, 99);
    o = ipr_cnn_new(c, &d);
    CHECK(cn_apart(c, y, ipr_cnn_forward(o, x, NULL)) > 1e-3);
    CHECK_EQ_I(ipr_params_load_memory(o->params, buf, bytes, 0), IPR_OK);
    CHECK(cn_apart(c, y, ipr_cnn_forward(o, x, NULL)) <= 0);
    ipr_cnn_free(o);
    /* weights of another network: a clear error, nothing lost */
    d = cn_desc(IPR_RESNET18, 0.125);
    o = ipr_cnn_new(c, &d);
    y = ipr_cnn_forward(o, x, NULL);
    CHECK_EQ_I(ipr_params_load_memory(o->params, buf, bytes, 0), IPR_E_MISSING);
    CHECK(strstr(ipr_message(c), "layer1.1.conv1.weight") != NULL);
    ipr_clear(c);
    CHECK(cn_apart(c, y, ipr_cnn_forward(o, x, NULL)) <= 0);
    ipr_cnn_free(o);
    d = cn_desc(IPR_RESNET9, 0.25);
    o = ipr_cnn_new(c, &d);
    CHECK_EQ_I(ipr_params_load_memory(o->params, buf, bytes, 0), IPR_E_SHAPE);
    ipr_clear(c);
    ipr_cnn_free(o);
    free(buf);
    ipr_cnn_free(n);
    ipr_cnn_free(NULL);
    CHECK(ipr_cnn_clone(NULL) == NULL);
    ipr_close(c);
}

/* Dropout of VGG16's ImageNet form acts while training only. */
TEST(cnn_dropout)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = cn_desc(IPR_VGG16, 0.01);
    ipr_cnn *m;
    ipr_tensor *x;
    d.imagenet = 1; d.height = 32; d.classes = 5; d.norm = IPR_NORM_GROUP; d.group_channels = 8;
    m = ipr_cnn_new(c, &d);
    if (!CHECK(m != NULL)) { printf("    %s\n", ipr_message(c)); ipr_close(c); return; }
    x = cn_images(m, 2, 1000);
    CHECK(cn_apart(c, ipr_cnn_forward(m, x, NULL), ipr_cnn_forward(m, x, NULL)) <= 0);
    ipr_set_training(c, 1);
    CHECK(cn_apart(c, ipr_cnn_forward(m, x, NULL), ipr_cnn_forward(m, x, NULL)) > 1e-3);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

static void cn_refuse(ipr_ctx *c, const ipr_cnn_desc *d, int code, const char *text, int line)
{
    ipr_cnn *m = ipr_cnn_new(c, d);
    if (!CHECK(m == NULL) || !CHECK_EQ_I(ipr_status(c), code) || !CHECK(strstr(ipr_message(c), text) != NULL))
        printf("    line %d: %s\n", line, ipr_message(c));
    ipr_cnn_free(m);
    ipr_clear(c);
}
#define CN_REFUSE(change, code, text) do { ipr_cnn_desc d = cn_desc(IPR_ALEXNET, 0.125); change; cn_refuse(c, &d, code, text, __LINE__); } while (0)

TEST(cnn_bad_input)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    const uint64_t live = ipr_stats_get(c).allocs - ipr_stats_get(c).frees;
    ipr_cnn_desc d = cn_desc(IPR_ALEXNET, 0.125);
    ipr_cnn *m;
    ipr_tensor *x, *y, *z;
    ipr_scales s = CN_ZERO, zero = CN_ZERO;
    ipr_params *p;
    ipr_index three = 3, dims[4] = { 2, 3, 16, 32 };
    CHECK(ipr_cnn_new(NULL, &d) == NULL);
    cn_refuse(c, NULL, IPR_E_ARG, "set desc.arch", __LINE__);
    CN_REFUSE(d.arch = 0, IPR_E_ARG, "architecture 0; set desc.arch to IPR_LENET .. IPR_DSN_GTSRB");
    CN_REFUSE(d.arch = 11, IPR_E_ARG, "architecture 11");
    CN_REFUSE(d.arch = -1, IPR_E_ARG, "architecture -1");
    CN_REFUSE(d.channels = -1, IPR_E_RANGE, "images of -1 x 32 x 32");
    CN_REFUSE(d.channels = 65537, IPR_E_RANGE, "1 to 65536");
    CN_REFUSE(d.height = -5, IPR_E_RANGE, "channels, height, width");
    CN_REFUSE(d.width = 1000000, IPR_E_RANGE, "1000000");
    CN_REFUSE(d.classes = 1, IPR_E_RANGE, "1 classes; at least 2");
    CN_REFUSE(d.classes = -3, IPR_E_RANGE, "-3 classes");
    CN_REFUSE(d.scale = -1, IPR_E_RANGE, "scale -1");
    CN_REFUSE(d.scale = 65, IPR_E_RANGE, "at most 64");
    CN_REFUSE(d.scale = sqrt(-d.scale), IPR_E_RANGE, "scale");
    CN_REFUSE(d.norm = 5, IPR_E_ARG, "norm 5");
    CN_REFUSE(d.norm = -1, IPR_E_ARG, "norm -1");
    CN_REFUSE(d.group_channels = -4, IPR_E_RANGE, "group_channels -4");
    CN_REFUSE((d.norm = IPR_NORM_GROUP, d.scale = 1, d.group_channels = 48), IPR_E_SHAPE,
              "features.0 has 64 channels, no multiple of group_channels 48");
    CN_REFUSE(d.bare = 0x20, IPR_E_RANGE, "units beyond 4, the last of alexnet");
    CN_REFUSE(d.relu_before_add = 1, IPR_E_ARG, "alexnet adds nothing");
    CN_REFUSE(d.imagenet = 1, IPR_E_ARG, "alexnet has no such form");
    CN_REFUSE(d.height = 7, IPR_E_SHAPE, "alexnet: images of 7 x 7 are 1 x 1 at the pool features.7, where 2 x 2 is the least");
    CN_REFUSE((d.height = 32, d.width = 4), IPR_E_SHAPE, "use larger images");
    CN_REFUSE((d.arch = IPR_LENET, d.height = 9), IPR_E_SHAPE, "lenet: images of 9 x 9 are 4 x 4 at conv2, where 5 x 5 is the least");
    CN_REFUSE((d.arch = IPR_VGG16, d.height = 31), IPR_E_SHAPE, "at the pool features.43");
    CHECK_EQ_I(ipr_stats_get(c).allocs - ipr_stats_get(c).frees, live);
    m = ipr_cnn_new(c, &d);
    if (!CHECK(m != NULL)) { ipr_close(c); return; }
    x = cn_images(m, 2, 1000);
    CHECK(ipr_cnn_forward(NULL, x, NULL) == NULL && ipr_cnn_input_of(NULL, x, 0) == NULL);
#define CN_FAILS(call, code, text) do { \
        CHECK(ipr_is_poison(call)); \
        if (!CHECK_EQ_I(ipr_status(c), code) || !CHECK(strstr(ipr_message(c), text) != NULL)) printf("    %s\n", ipr_message(c)); \
        ipr_clear(c); } while (0)
    CN_FAILS(ipr_cnn_forward(m, NULL, NULL), IPR_E_ARG, "x is NULL");
    CN_FAILS(ipr_cnn_forward(m, ipr_new(c, 4, dims), NULL), IPR_E_SHAPE, "x is 2x3x16x32; this alexnet reads [B,3,32,32]");
    CN_FAILS(ipr_cnn_forward(m, ipr_new(c, 3, dims), NULL), IPR_E_SHAPE, "x is 2x3x16");
    dims[2] = 32;
    CN_FAILS(ipr_cnn_forward(m, ipr_new_i32(c, 4, dims), NULL), IPR_E_ARG, "int32");
    dims[1] = 1;
    CN_FAILS(ipr_cnn_forward(m, ipr_new(c, 4, dims), NULL), IPR_E_SHAPE, "x is 2x1x32x32");
    s.scale[1] = ipr_new(c, 1, &three);
    CN_FAILS(ipr_cnn_forward(m, x, &s), IPR_E_SHAPE, "the scale of unit 1 \"features.2\" is 3; its 24 channels need one each");
    s.scale[1] = ipr_new_i32(c, 1, &three);
    CN_FAILS(ipr_cnn_forward(m, x, &s), IPR_E_ARG, "scale holds int32");
    s.scale[1] = NULL;
    s.bias[7] = ipr_new(c, 1, &three);
    CN_FAILS(ipr_cnn_forward(m, x, &s), IPR_E_RANGE, "a bias for unit 7; alexnet has units 0..4");
    CN_FAILS(ipr_cnn_input_of(m, x, 5), IPR_E_RANGE, "unit 5; alexnet has 0..4");
    CN_FAILS(ipr_cnn_input_of(m, x, -1), IPR_E_RANGE, "unit -1");
    CN_FAILS(ipr_cnn_input_of(m, ipr_new(c, 4, dims), 1), IPR_E_SHAPE, "ipr_cnn_input_of: x is 2x1x32x32");
    CHECK_EQ_I(ipr_cnn_forward_pair(m, x, &zero, &y, &z), IPR_E_ARG);
    CHECK(strstr(ipr_message(c), "s gives no unit a scale or bias") != NULL && ipr_is_poison(y) && ipr_is_poison(z));
    ipr_clear(c);
    CHECK_EQ_I(ipr_cnn_forward_pair(m, x, NULL, &y, &z), IPR_E_ARG);
    ipr_clear(c);
    p = cn_scales(m, 1, 2, &s);
    CHECK_EQ_I(ipr_cnn_forward_pair(m, x, &s, NULL, &z), IPR_E_ARG);
    CHECK(strstr(ipr_message(c), "plain or scaled is NULL") != NULL);
    ipr_clear(c);
    CHECK_EQ_I(ipr_cnn_forward_pair(NULL, x, &s, &y, &z), IPR_E_ARG);
    CHECK_EQ_I(ipr_cnn_forward_pair(m, ipr_new(c, 4, dims), &s, &y, &z), IPR_E_SHAPE);
    ipr_clear(c);
    /* one image in training: AlexNet's maps are wide enough, ResNet's last ones of 16x16 images are not */
    ipr_set_training(c, 1);
    CHECK(!ipr_is_poison(ipr_cnn_forward(m, cn_images(m, 1, 1000), NULL)));
    ipr_cnn_free(m);
    d = cn_desc(IPR_RESNET18, 0.125);
    d.height = 8;
    m = ipr_cnn_new(c, &d);
    CN_FAILS(ipr_cnn_forward(m, cn_images(m, 1, 1000), NULL), IPR_E_SHAPE, "at least 2");
    ipr_set_training(c, 0);
    CHECK(!ipr_is_poison(ipr_cnn_forward(m, cn_images(m, 1, 1000), NULL)));
    /* a context in error does nothing */
    CN_FAILS(ipr_cnn_forward(m, NULL, NULL), IPR_E_ARG, "x is NULL");
    (void)ipr_cnn_forward(m, NULL, NULL);
    CHECK(ipr_cnn_new(c, &d) == NULL && ipr_cnn_clone(m) == NULL);
    CHECK_EQ_I(ipr_cnn_forward_pair(m, x, &s, &y, &z), IPR_E_ARG);
    CHECK(ipr_is_poison(y) && ipr_is_poison(z));
    ipr_clear(c);
    ipr_params_free(p);
    ipr_close(c);
}

static void suite_cnn(void)
{
    RUN(cnn_golden_lenets);
    RUN(cnn_golden_alexnet);
    RUN(cnn_golden_vgg16);
    RUN(cnn_golden_resnets);
    RUN(cnn_full_width);
    RUN(cnn_units);
    RUN(cnn_initialisation);
    RUN(cnn_scales);
    RUN(cnn_bare);
    RUN(cnn_pair);
    RUN(cnn_input_of);
    RUN(cnn_learns);
    RUN(cnn_predict);
    RUN(cnn_threads);
    RUN(cnn_out_of_memory);
    RUN(cnn_memory);
    RUN(cnn_caller_buffer);
    RUN(cnn_clone_out_of_memory);
    RUN(cnn_save_load_clone);
    RUN(cnn_dropout);
    RUN(cnn_bad_input);
}
