/* Gatekeeper: signature text, key derivation and files, the gate against a scalar reference, the training step, verdicts,
   attacks, trigger sets. */

static const char gk_seed[] = "an owner's secret seed, 32 bytes";

static ipr_ctx *gk_open(void)
{
    ipr_desc d = IPR_ZERO;
    d.seed = 7;
    return ipr_open(&d, NULL);
}

static ipr_classifier *gk_model(ipr_ctx *c, int cell, ipr_index hidden)
{
    ipr_classifier_desc d = IPR_ZERO;
    d.cell = cell;
    d.input = 28;
    d.hidden = hidden;
    d.classes = 10;
    return ipr_classifier_new(c, &d);
}

static ipr_gatekeeper_desc gk_desc(ipr_index units)
{
    ipr_gatekeeper_desc d = IPR_ZERO;
    d.steps = 28;
    d.width = 28;
    d.units = units;
    d.signature = "hi";
    return d;
}

/* The paper's Table 7: S = {private signature goes here}, first 32 units. */
TEST(gk_table7)
{
    static const int8_t want[32] = {
        -1, 1, 1, 1, -1, -1, -1, -1, /* p */ -1, 1, 1, 1, -1, -1, 1, -1, /* r */
        -1, 1, 1, -1, 1, -1, -1, 1, /* i */ -1, 1, 1, 1, -1, 1, 1, -1 /* v */ };
    int8_t bits[300], again[300];
    char text[40];
    ipr_ctx *c = gk_open();
    int i;
    CHECK_EQ_I(ipr_signature_bits(c, "private signature goes here", 5, bits, 300), IPR_OK);
    for (i = 0; i < 32; i++) CHECK_EQ_I(bits[i], want[i]);
    ipr_signature_text(bits, 300, text, 28);
    CHECK_STR(text, "private signature goes here");
    CHECK_EQ_I(ipr_signature_bits(c, "private signature goes here", 5, again, 300), IPR_OK);
    for (i = 0; i < 300; i++) CHECK(bits[i] == again[i] && (bits[i] == 1 || bits[i] == -1));
    /* a first byte outside 0x40..0x7f shifts nothing (it does in the published code) */
    CHECK_EQ_I(ipr_signature_bits(c, "1 \xc3", 5, bits, 24), IPR_OK);
    CHECK(bits[0] == -1 && bits[1] == -1 && bits[2] == 1 && bits[3] == 1 && bits[7] == 1 && bits[16] == 1 && bits[17] == 1 && bits[18] == -1);
    CHECK_EQ_I(ipr_signature_bits(c, "four", 5, bits, 31), IPR_E_RANGE);
    CHECK(strstr(ipr_message(c), "4 characters, 32 bits; 31 units carry at most 3") != NULL);
    ipr_close(c);
}

TEST(gk_derivation)
{
    ipr_ctx *c = gk_open();
    ipr_gatekeeper_desc d = gk_desc(32);
    ipr_gatekeeper *a, *b, *other;
    ipr_real fresh[2 * 28 * 28];
    ipr_index i, same = 0, n;
    double mean = 0;
    a = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    b = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    d.layer = "decoder";
    other = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    n = ipr_gatekeeper_size(a);
    CHECK_EQ_I(n, 28 * 28);
    for (i = 0; i < n; i++) {
        const double v = (double)ipr_gatekeeper_key(a)[i];
        CHECK(v >= -1 && v < 1 && ipr_gatekeeper_key(a)[i] == ipr_gatekeeper_key(b)[i]);
        same += ipr_gatekeeper_key(a)[i] == ipr_gatekeeper_key(other)[i];
        mean += v / (double)n;
    }
    CHECK(same < 5);
    CHECK_NEAR(mean, 0, 0.07);
    CHECK_EQ_I(ipr_gatekeeper_fresh(a, 9, 2, fresh), IPR_OK);
    for (same = 0, i = 0; i < n; i++) same += fresh[i] == fresh[n + i] || fresh[i] == ipr_gatekeeper_key(a)[i];
    CHECK(same < 5);
    /* fixed for ever: a change here breaks every key that was ever committed */
    {
        uint8_t h[32];
        char hex[65];
        ipr_sha256 s;
        ipr_sha256_init(&s);
        for (i = 0; i < n; i++) {
            const float v = (float)ipr_gatekeeper_key(a)[i];
            uint8_t le[4];
            ipr__st32le(le, ipr__f32_bits(v));
            ipr_sha256_update(&s, le, 4);
        }
        ipr_sha256_final(&s, h);
        ipr_hex(h, 32, hex);
        CHECK_STR(hex, "b27205fe6ad1a4d3ede577fdaab74841603c19dcfd1faef52451b4a999967526");
    }
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 15) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_clear(c);
    d.kind = IPR_KEY_BATCH;
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 32) == NULL);
    CHECK(strstr(ipr_message(c), "pool") != NULL);
    ipr_clear(c);
    ipr_gatekeeper_free(a);
    ipr_gatekeeper_free(b);
    ipr_gatekeeper_free(other);
    ipr_close(c);
}

TEST(gk_bad_input)
{
    ipr_ctx *c = gk_open();
    ipr_gatekeeper_desc d = gk_desc(32);
    ipr_classifier *m = gk_model(c, IPR_LSTM, 16);
    ipr_gatekeeper *g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    ipr_gatekeeper_report rep;
    ipr_dataset *ds = ipr_dataset_digits(c, 1, 0, 10);
    ipr_real first[32];
    CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, NULL, first), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_gatekeeper_gates: the key is for 32 units, the model has 16");
    ipr_clear(c);
    d.units = 16;
    d.width = 27;
    ipr_gatekeeper_free(g);
    g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    CHECK_EQ_I(ipr_gatekeeper_verify(g, m, ds, NULL, 10, NULL, &rep), IPR_E_SHAPE);
    CHECK_EQ_I(rep.function.decision, IPR_UNDECIDED);
    ipr_clear(c);
    CHECK_EQ_I(ipr_gatekeeper_verify(NULL, m, ds, NULL, 10, NULL, &rep), IPR_E_ARG);
    CHECK_EQ_I(ipr_gatekeeper_verify(g, m, ds, NULL, 10, NULL, NULL), IPR_E_ARG);
    ipr_clear(c);
    d.steps = 0;
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 32) == NULL);
    ipr_clear(c);
    d.steps = PTRDIFF_MAX / 2;
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 32) == NULL);
    ipr_clear(c);
    d.steps = 28;
    d.signature = "far too long";
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 32) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_close(c);
}

TEST(gk_file)
{
    ipr_ctx *c = gk_open();
    ipr_gatekeeper_desc d = gk_desc(32);
    ipr_gatekeeper *g, *h;
    char path[64], other[64];
    size_t bytes, k;
    char *data;
    FILE *f;
    snprintf(path, sizeof path, "ipr_test_key.tmp");
    snprintf(other, sizeof other, "ipr_test_key2.tmp");
    d.keys = 2;
    g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    if (ipr_gatekeeper_save(g, path) != IPR_OK) { SKIP("the folder is not writable"); ipr_close(c); return; }
    h = ipr_gatekeeper_load(c, path, NULL);
    CHECK(h != NULL);
    if (h) {
        CHECK(memcmp(ipr_gatekeeper_key(g), ipr_gatekeeper_key(h), (size_t)ipr_gatekeeper_size(g) * sizeof(ipr_real)) == 0);
        CHECK(memcmp(ipr_gatekeeper_signature(g), ipr_gatekeeper_signature(h), 32) == 0);
        CHECK_EQ_I(ipr_gatekeeper_text_bits(h), 16);
        CHECK_EQ_I(ipr_gatekeeper_resolved(h)->keys, 2);
    }
    data = (char *)ipr_file_read(c, path, &bytes);
    CHECK(data != NULL);
    for (k = 0; data && k < bytes; k += bytes / 40 + 1) {     /* cut anywhere: an error, and nothing else */
        f = fopen(other, "wb");
        CHECK(f && fwrite(data, 1, k, f) == k);
        if (f) fclose(f);
        CHECK(ipr_gatekeeper_load(c, other, NULL) == NULL);
        CHECK(ipr_status(c) != IPR_OK);
        ipr_clear(c);
    }
    ipr_file_free(c, data);
    {   /* a model file is no key file, and a model file holds no key */
        ipr_classifier *m = gk_model(c, IPR_LSTM, 32);
        CHECK_EQ_I(ipr_params_save(m->params, other, NULL), IPR_OK);
        CHECK(ipr_gatekeeper_load(c, other, NULL) == NULL);
        CHECK(strstr(ipr_message(c), "not a Gatekeeper key file") != NULL);
        ipr_clear(c);
        CHECK(ipr_params_find(m->params, "key") == NULL);
    }
    CHECK_EQ_I(ipr_params_load(gk_model(c, IPR_LSTM, 32)->params, path, 0) != IPR_OK, 1);
    ipr_clear(c);
    CHECK(ipr_gatekeeper_load(c, "no such file", NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_MISSING);
    remove(path);
    remove(other);
    ipr_close(c);
}

static double gk_sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* eq. 1 in thirty lines of double: the forget (reset) gates of each key on its own trajectory, averaged over K. */
static void gk_reference(ipr_ctx *c, const ipr_classifier *m, const ipr_gatekeeper *g, double *gate, double *first)
{
    const int H = (int)m->desc.hidden, I = 28, T = 28, K = (int)ipr_gatekeeper_resolved(g)->keys, G = m->desc.cell == IPR_GRU ? 3 : 4;
    const ipr_real *wi = ipr_read(c, m->rnn.at[0].w_ih), *wh = ipr_read(c, m->rnn.at[0].w_hh), *bi = ipr_read(c, m->rnn.at[0].b_ih), *bh = ipr_read(c, m->rnn.at[0].b_hh);
    int k, t, j, i, q;
    for (i = 0; i < T * H; i++) gate[i] = 0;
    for (i = 0; i < H; i++) first[i] = 0;
    for (k = 0; k < K; k++) {
        double h[64] = { 0 }, cc[64] = { 0 }, h2[64];
        for (t = 0; t < T; t++) {
            const ipr_real *x = ipr_gatekeeper_key(g) + (k * T + t) * I;
            for (j = 0; j < H; j++) {
                double a[4], b[4];
                for (q = 0; q < G; q++) {
                    a[q] = (double)bi[q * H + j];
                    b[q] = (double)bh[q * H + j];
                    for (i = 0; i < I; i++) a[q] += (double)wi[(q * H + j) * I + i] * (double)x[i];
                    for (i = 0; i < H; i++) b[q] += (double)wh[(q * H + j) * H + i] * h[i];
                }
                if (G == 4) {
                    gate[t * H + j] += gk_sigmoid(a[1] + b[1]) / K;
                    cc[j] = gk_sigmoid(a[1] + b[1]) * cc[j] + gk_sigmoid(a[0] + b[0]) * tanh(a[2] + b[2]);
                    h2[j] = gk_sigmoid(a[3] + b[3]) * tanh(cc[j]);
                } else {
                    const double r = gk_sigmoid(a[0] + b[0]), z = gk_sigmoid(a[1] + b[1]), n = tanh(a[2] + r * b[2]);
                    gate[t * H + j] += r / K;
                    h2[j] = (1 - z) * n + z * h[j];
                }
            }
            for (j = 0; j < H; j++) { h[j] = h2[j]; if (t == 0) first[j] += h[j] / K; }
        }
    }
}

TEST(gk_gates_reference)
{
    int cell;
    for (cell = IPR_LSTM; cell <= IPR_GRU; cell++) {
        ipr_ctx *c = gk_open();
        ipr_gatekeeper_desc d = gk_desc(19);
        ipr_classifier *m = gk_model(c, cell, 19);
        ipr_gatekeeper *g;
        static ipr_real gate[28 * 19], first[19];
        static double want[28 * 19], want_first[19];
        int i;
        d.keys = 3;
        g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
        CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, gate, first), IPR_OK);
        gk_reference(c, m, g, want, want_first);
        for (i = 0; i < 28 * 19; i++) CHECK_NEAR((double)gate[i], want[i], 2e-6);
        for (i = 0; i < 19; i++) CHECK_NEAR((double)first[i], want_first[i], 2e-6);
        ipr_close(c);
    }
}

/* T > Tk leaves the later steps alone, T < Tk ignores the later key steps; eq. 2 by hand through the op. */
TEST(gk_lengths)
{
    ipr_ctx *c = gk_open();
    ipr_classifier *m = gk_model(c, IPR_LSTM, 9);
    ipr_index dx[3] = { 6, 2, 28 }, dg[2] = { 4, 9 }, d8[2] = { 8, 9 };
    ipr_tensor *x = ipr_new(c, 3, dx), *g4 = ipr_new(c, 2, dg), *g8 = ipr_new(c, 2, d8), *y4, *y8, *y8b;
    ipr_gates s4 = IPR_ZERO, s8 = IPR_ZERO;
    int i;
    for (i = 0; i < 6 * 2 * 28; i++) ipr_write(c, x, 1)[i] = IPR__R((i * 37 % 100) / 100.0);
    for (i = 0; i < 4 * 9; i++) ipr_write(c, g4, 1)[i] = ipr_write(c, g8, 1)[i] = IPR__R(0.2 + (i % 7) / 10.0);
    for (i = 4 * 9; i < 8 * 9; i++) ipr_write(c, g8, 1)[i] = IPR__R(1);
    s4.count = s8.count = 1;
    s4.at[0] = g4;
    s8.at[0] = g8;
    y4 = ipr_rnn_forward(c, &m->rnn, x, &s4, 0);
    y8 = ipr_rnn_forward(c, &m->rnn, x, &s8, 0);
    for (i = 0; i < 2 * 9; i++) CHECK(ipr_read(c, y4)[i] == ipr_read(c, y8)[i]);
    for (i = 6 * 9; i < 8 * 9; i++) ipr_write(c, g8, 1)[i] = IPR__R(0);     /* beyond T: not used */
    y8b = ipr_rnn_forward(c, &m->rnn, x, &s8, 0);
    for (i = 0; i < 2 * 9; i++) CHECK(ipr_read(c, y8b)[i] == ipr_read(c, y8)[i]);
    ipr_close(c);
}

#if IPR_REAL_IS_DOUBLE
typedef struct { ipr_gatekeeper *g; ipr_classifier *m; ipr_gatekeeper_recipe r; ipr_dataset *ds; } gk_check;

static ipr_tensor *gk_loss(ipr_ctx *c, void *user)
{
    gk_check *k = (gk_check *)user;
    ipr_tensor *x, *y;
    ipr_batch(c, k->ds, NULL, 3, IPR_TIME_MAJOR, &x, &y);
    return ipr_gatekeeper_step(k->g, k->m, &k->r, 0, x, y, NULL);
}
#endif

TEST(gk_gradients)
{
#if IPR_REAL_IS_DOUBLE
    int cell, recipe;
    for (cell = IPR_LSTM; cell <= IPR_GRU; cell++)
        for (recipe = 0; recipe < 3; recipe++) {
            ipr_ctx *c = gk_open();
            ipr_gatekeeper_desc d = gk_desc(17);
            gk_check k;
            d.keys = recipe == IPR_RECIPE_AS_CODED ? 3 : 1;
            k.m = gk_model(c, cell, 17);
            k.g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
            k.r = ipr_gatekeeper_recipe_of(recipe);
            if (k.r.negatives) k.r.negatives = 2;
            k.ds = ipr_dataset_digits(c, 3, 0, 3);
            CHECK_NEAR(ipr_gradcheck(c, k.m->params, gk_loss, &k, 1e-6, 12), 0, 2e-6);
            ipr_close(c);
        }
#else
    SKIP("numeric gradients need IPR_REAL=double");
#endif
}

/* L(no key) + L(with key) computed in one dual pass equals the two passes of algorithm 1. */
TEST(gk_dual_is_algorithm_1)
{
    ipr_ctx *c = gk_open();
    ipr_gatekeeper_desc d = gk_desc(20);
    ipr_classifier *m = gk_model(c, IPR_GRU, 20);
    ipr_gatekeeper *g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    ipr_gatekeeper_recipe r = ipr_gatekeeper_recipe_of(IPR_RECIPE_PAPER);
    ipr_dataset *ds = ipr_dataset_digits(c, 3, 0, 5);
    ipr_tensor *x, *y, *reg, *one, *logits;
    ipr_gates gate;
    double sum;
    ipr_batch(c, ds, NULL, 5, IPR_TIME_MAJOR, &x, &y);
    one = ipr_gatekeeper_step(g, m, &r, 0, x, y, &logits);
    reg = ipr_gatekeeper_embed(g, m, &r, 0, &gate);
    sum = (double)ipr_item(c, reg);
    sum += (double)ipr_item(c, ipr_cross_entropy(c, ipr_classifier_forward(m, x, NULL, 0), y));
    sum += (double)ipr_item(c, ipr_cross_entropy(c, ipr_classifier_forward(m, x, &gate, 0), y));
    CHECK_NEAR((double)ipr_item(c, one), sum, 1e-4);
    CHECK_EQ_I(ipr_dim(logits, 0), 5);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

#ifndef IPR_TEST_SLOW
/* Trains a small protected model on the built-in digits; the rest of the file looks at it. */
static ipr_classifier *gk_train(ipr_ctx *c, ipr_gatekeeper *g, ipr_dataset *ds, int cell, ipr_index hidden, int steps)
{
    ipr_classifier *m = gk_model(c, cell, hidden);
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *opt;
    uint32_t idx[50];
    int s, i;
    od.lr = 4e-3;
    opt = ipr_opt_new(m->params, &od);
    for (s = 0; s < steps; s++) {
        ipr_tensor *x, *y;
        for (i = 0; i < 50; i++) idx[i] = (uint32_t)((s * 50 + i) % (int)ds->count);
        ipr_batch(c, ds, idx, 50, IPR_TIME_MAJOR, &x, &y);
        ipr_backward(c, g ? ipr_gatekeeper_step(g, m, NULL, (uint64_t)s, x, y, NULL)
                          : ipr_cross_entropy(c, ipr_classifier_forward(m, x, NULL, 0), y));
        ipr_clip_grad_norm(m->params, 1.0);
        ipr_opt_step(opt);
        ipr_step_end(c);
    }
    ipr_opt_free(opt);
    return m;
}

enum { GK_STEPS = 260 };
#endif

TEST(gk_train_verify_attack)
{
#ifdef IPR_TEST_SLOW
    SKIP("trains a network: too slow on an emulated machine; bits.c trains one there");
#else
    ipr_ctx *c = gk_open();
    ipr_gatekeeper_desc d = gk_desc(32);
    ipr_gatekeeper *g = ipr_gatekeeper_new(c, &d, gk_seed, 32), *wrong;
    ipr_dataset *ds = ipr_dataset_digits(c, 2, 0, 1000), *probes = ipr_dataset_digits(c, 2, IPR_DIGITS_TEST, 60);
    ipr_classifier *m = gk_train(c, g, ds, IPR_LSTM, 32, GK_STEPS), *plain = gk_train(c, NULL, ds, IPR_LSTM, 32, 60), *copy;
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_gatekeeper_report rep;
    static int32_t before[60], after[60];
    static ipr_real gate[28 * 32], first[32], first2[32];
    static double pb[60], pa[60];
    uint8_t flips[32];
    int8_t sign[32];
    ipr_index at[32], i, zeros = 0;
    const char *skip[1] = { "output.bias" };
    t.fresh = 99;
    t.alpha = 0.01;
    CHECK_EQ_I(ipr_gatekeeper_verify(g, m, probes, NULL, 60, &t, &rep), IPR_OK);
    CHECK_EQ_I(rep.matched, 32);
    CHECK_EQ_I(rep.text_matched, 16);
    CHECK_EQ_I(rep.function.decision, IPR_OWNED);
    CHECK_NEAR(rep.function.p_value, 0.01, 1e-12);
    CHECK(rep.accuracy_key > 50 && rep.accuracy_no_key > 50);
    /* an unmarked model, and another key on the marked one, are not owned */
    CHECK_EQ_I(ipr_gatekeeper_verify(g, plain, probes, NULL, 60, &t, &rep), IPR_OK);
    CHECK(rep.function.decision != IPR_OWNED);
    wrong = ipr_gatekeeper_new(c, &d, "somebody else's seed of 32 bytes", 32);
    CHECK_EQ_I(ipr_gatekeeper_verify(wrong, m, probes, NULL, 60, &t, &rep), IPR_OK);
    CHECK(rep.function.decision != IPR_OWNED);
    CHECK(rep.matched < 32);
    /* NaN weights: an error or undecided, never owned */
    copy = ipr_classifier_clone(m);
    ipr_write(c, copy->output.weight, 1)[0] = ipr__bits_f32(0x7fc00000u);
    (void)ipr_gatekeeper_verify(g, copy, probes, NULL, 60, &t, &rep);
    CHECK(rep.function.decision != IPR_OWNED);
    ipr_clear(c);
    /* gauge: same function bit for bit, other signs; undone against the reference */
    CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, gate, first), IPR_OK);
    ipr_classifier_predict(m, probes, NULL, 60, gate, 28, before, pb);
    copy = ipr_classifier_clone(m);
    for (i = 0; i < 32; i++) flips[i] = (uint8_t)(i % 3 == 0);
    CHECK_EQ_I(ipr_attack_gauge(copy, flips), IPR_OK);
    CHECK_EQ_I(ipr_gatekeeper_gates(g, copy, NULL, 1, gate, first2), IPR_OK);
    ipr_classifier_predict(copy, probes, NULL, 60, gate, 28, after, pa);
    for (i = 0; i < 60; i++) CHECK(before[i] == after[i] && pb[i] == pa[i]);
    for (i = 0; i < 32; i++) CHECK(first2[i] == (flips[i] ? -first[i] : first[i]));
    CHECK(ipr_gatekeeper_match(g, first2) < 32);
    CHECK_EQ_I(ipr_gauge_find(copy, m->params, at, sign), IPR_OK);
    for (i = 0; i < 32; i++) CHECK(at[i] == i && sign[i] == (flips[i] ? -1 : 1));
    t.reference = m->params;
    CHECK_EQ_I(ipr_gatekeeper_verify(g, copy, probes, NULL, 60, &t, &rep), IPR_OK);
    CHECK_EQ_I(rep.matched, 32);
    CHECK_EQ_I(rep.function.decision, IPR_OWNED);
    /* pruning removes exactly what it says */
    copy = ipr_classifier_clone(m);
    CHECK_EQ_I(ipr_attack_prune(copy->params, 0.3, skip, 1), IPR_OK);
    for (i = 0; i < ipr_params_count(copy->params); i++) {
        ipr_tensor *p = ipr_params_at(copy->params, (int)i);
        ipr_index k;
        for (k = 0; k < ipr_count(p); k++) zeros += ipr_read(c, p)[k] == 0;
    }
    CHECK_EQ_I(zeros, (ipr_index)(0.3 * (double)(ipr_params_elements(m->params) - 10) + 0.5));
    CHECK_EQ_I(ipr_attack_prune(copy->params, 1, NULL, 0), IPR_OK);
    CHECK(ipr_read(c, copy->output.bias)[3] == 0);
    CHECK_EQ_I(ipr_attack_prune(copy->params, 1.5, NULL, 0), IPR_E_RANGE);
    ipr_clear(c);
    /* flipping does flip; fine-tuning and overwriting run and change the copy only */
    copy = ipr_classifier_clone(m);
    CHECK_EQ_I(ipr_attack_flip(copy, g, 0.25, NULL), IPR_OK);
    CHECK_EQ_I(ipr_gatekeeper_gates(g, copy, NULL, 1, NULL, first2), IPR_OK);
    CHECK_EQ_I(ipr_gatekeeper_match(g, first2), 24);
    {
        ipr_attack_desc ad = IPR_ZERO;
        ad.lr = 1e-4;
        ad.epochs = 1;
        ad.fraction = 0.2;
        copy = ipr_classifier_clone(m);
        CHECK_EQ_I(ipr_attack_finetune(copy, ds, NULL, 0, &ad), IPR_OK);
        CHECK(memcmp(ipr_read(c, copy->rnn.at[0].w_ih), ipr_read(c, m->rnn.at[0].w_ih), sizeof(ipr_real) * 4 * 32 * 28) != 0);
        CHECK_EQ_I(ipr_gatekeeper_gates(g, copy, NULL, 1, NULL, first2), IPR_OK);
        CHECK(ipr_gatekeeper_match(g, first2) >= 31);
        CHECK_EQ_I(ipr_attack_overwrite(copy, wrong, NULL, ds, NULL, 0, &ad), IPR_OK);
        CHECK_EQ_I(ipr_attack_overwrite(copy, NULL, NULL, ds, NULL, 0, &ad), IPR_E_ARG);
        ipr_clear(c);
        ad.fraction = -1;
        CHECK_EQ_I(ipr_attack_finetune(copy, ds, NULL, 0, &ad), IPR_E_RANGE);
        ipr_clear(c);
    }
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
#endif
}

/* The key types that come from inputs: chosen by the seed, or by the caller. */
TEST(gk_kinds)
{
    ipr_ctx *c = gk_open();
    ipr_gatekeeper_desc d = gk_desc(24);
    ipr_dataset *pool = ipr_dataset_digits(c, 5, 0, 40), *small;
    static const uint32_t mine[3] = { 7, 7, 31 };
    ipr_gatekeeper *a, *b;
    static ipr_real fresh[8 * 784];
    ipr_index i, dims[2] = { 27, 28 };
    static const uint8_t bytes[27 * 28] = { 1 };
    d.pool = pool;
    d.kind = IPR_KEY_FIXED;
    a = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    CHECK(a && ipr_gatekeeper_resolved(a)->keys == 1);
    d.kind = IPR_KEY_BATCH;
    b = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    CHECK(b && ipr_gatekeeper_resolved(b)->keys == 8);
    CHECK_EQ_I(ipr_gatekeeper_fresh(b, 3, 1, fresh), IPR_OK);
    for (i = 0; i < 8 * 784; i++) CHECK(fresh[i] >= 0 && fresh[i] <= 1);
    d.keys = 3;
    d.items = mine;
    b = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    for (i = 0; b && i < 784; i++) {
        const ipr_real p7 = IPR__R(ipr_dataset_item_u8(pool, 7)[i]) / IPR__R(255);
        const ipr_real p31 = IPR__R(ipr_dataset_item_u8(pool, 31)[i]) / IPR__R(255);
        CHECK(ipr_gatekeeper_key(b)[i] == p7);
        CHECK(ipr_gatekeeper_key(b)[2 * 784 + i] == p31);
    }
    d.keys = 2;
    d.kind = IPR_KEY_FIXED;
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 32) == NULL);
    ipr_clear(c);
    d.kind = IPR_KEY_BATCH;
    small = ipr_dataset_u8(c, "small", "", 1, 2, dims, bytes, NULL, 0, 0);
    d.pool = small;
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 32) == NULL);
    CHECK(strstr(ipr_message(c), "resize") != NULL);
    ipr_close(c);
}

/* Keys of token ids run through the model's own embedding. */
TEST(gk_tokens)
{
    ipr_ctx *c = gk_open();
    ipr_classifier_desc md = IPR_ZERO;
    ipr_gatekeeper_desc d = IPR_ZERO;
    ipr_classifier *m;
    ipr_gatekeeper *g, *h;
    ipr_gatekeeper_recipe r = ipr_gatekeeper_recipe_of(IPR_RECIPE_DEFAULT);
    ipr_index dx[2] = { 5, 4 }, n = 4, i;
    ipr_tensor *x, *y, *loss;
    ipr_real gates[6 * 16], first[16];
    md.cell = IPR_GRU;
    md.input = 12; md.hidden = 16; md.classes = 3; md.vocabulary = 50;
    d.steps = 6; d.width = 12; d.units = 16; d.keys = 2; d.token_low = 40; d.token_high = 50; d.signature = "ok";
    m = ipr_classifier_new(c, &md);
    g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    CHECK_EQ_I(ipr_gatekeeper_size(g), 12);
    for (i = 0; i < 12; i++) CHECK(ipr_gatekeeper_key(g)[i] >= 40 && ipr_gatekeeper_key(g)[i] < 50);
    CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, gates, first), IPR_OK);
    x = ipr_new_i32(c, 2, dx);
    y = ipr_new_i32(c, 1, &n);
    for (i = 0; i < 20; i++) ipr_write_i32(c, x, 1)[i] = (int32_t)(i * 7 % 50);
    loss = ipr_gatekeeper_step(g, m, &r, 0, x, y, NULL);
    CHECK_EQ_I(ipr_backward(c, loss), IPR_OK);
    CHECK(ipr_grad(c, m->embed.weight) != NULL);
    ipr_step_end(c);
    if (ipr_gatekeeper_save(g, "ipr_test_tok.tmp") == IPR_OK) {
        h = ipr_gatekeeper_load(c, "ipr_test_tok.tmp", NULL);
        CHECK(h && ipr_gatekeeper_resolved(h)->token_low == 40 && ipr_gatekeeper_resolved(h)->width == 12);
        CHECK(h && !memcmp(ipr_gatekeeper_key(g), ipr_gatekeeper_key(h), 12 * sizeof(ipr_real)));
        remove("ipr_test_tok.tmp");
    }
    ipr_clear(c);
    d.token_high = 51;
    g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, gates, first), IPR_E_RANGE);
    ipr_close(c);
}

/* ---- several cells: layers, directions, one cell for both ---- */

enum { GK_SHAPES = 5 };
/* A classifier of ids 0..49 (1 the pad) or of reals, and its key. */
static ipr_classifier *gk_many(ipr_ctx *c, int shape, int text, int cell, ipr_gatekeeper **g)
{
    static const int layers[GK_SHAPES] = { 1, 1, 2, 2, 2 }, bidir[GK_SHAPES] = { IPR_BIDIR, IPR_BIDIR_SHARED, 0, IPR_BIDIR, IPR_BIDIR_SHARED };
    ipr_classifier_desc md = IPR_ZERO;
    ipr_gatekeeper_desc d;
    ipr_classifier *m;
    md.cell = cell; md.input = 7; md.hidden = 9; md.classes = 3;
    md.layers = layers[shape]; md.bidirectional = bidir[shape];
    if (text) { md.vocabulary = 50; md.pad = 1; }
    m = ipr_classifier_new(c, &md);
    d = ipr_gatekeeper_desc_for(m);
    d.steps = 6; d.keys = 2; d.signature = "x";
    if (text) { d.token_low = 40; d.token_high = 50; }
    *g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    return m;
}

/* ids [T,B], row b ends with pads after 1 + (b + 2) % T of them */
static ipr_tensor *gk_ids(ipr_ctx *c, ipr_index T, ipr_index B)
{
    ipr_index d[2], b, t;
    ipr_tensor *x;
    d[0] = T; d[1] = B;
    x = ipr_new_i32(c, 2, d);
    if (ipr_is_poison(x)) return x;
    for (t = 0; t < T; t++) for (b = 0; b < B; b++)
        ipr_write_i32(c, x, 1)[t * B + b] = (int32_t)(t > (b + 2) % T ? 1 : 2 + (7 * t + 5 * b) % 40);
    return x;
}

/* Every gate and first state of a stack against the op called by hand. */
TEST(gk_cells_by_hand)
{
    int shape, cell;
    for (cell = IPR_LSTM; cell <= IPR_GRU; cell++) for (shape = 0; shape < GK_SHAPES; shape++) {
        ipr_ctx *c = gk_open();
        ipr_gatekeeper *g;
        ipr_classifier *m = gk_many(c, shape, 0, cell, &g);
        const int cells = m->rnn.cells, dirs = m->desc.bidirectional ? 2 : 1, two = m->desc.bidirectional == IPR_BIDIR;
        static ipr_real gates[4 * 6 * 9], first[4 * 9];
        ipr_tensor *x, *y[2] = { NULL, NULL };
        ipr_index d[3] = { 6, 2, 7 }, i, j, k, t;
        int layer, dir;
        CHECK_EQ_I(cells, ipr_gatekeeper_resolved(g)->cells);
        CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, gates, first), IPR_OK);
        x = ipr_new(c, 3, d);
        for (t = 0; t < 6; t++) for (k = 0; k < 2; k++) for (i = 0; i < 7; i++)
            ipr_write(c, x, 1)[(t * 2 + k) * 7 + i] = ipr_gatekeeper_key(g)[(k * 6 + t) * 7 + i];
        for (layer = 0; layer < m->desc.layers; layer++) {
            for (dir = 0; dir < dirs; dir++) {
                const int at = two ? 2 * layer + dir : layer;
                ipr_rnn_in in = IPR_ZERO;
                ipr_rnn_out o;
                in.x = x; in.w_ih = m->rnn.at[at].w_ih; in.w_hh = m->rnn.at[at].w_hh;
                in.b_ih = m->rnn.at[at].b_ih; in.b_hh = m->rnn.at[at].b_hh;
                in.reverse = dir; in.want_gate_out = 1;
                CHECK_EQ_I(cell == IPR_GRU ? ipr_gru(c, &in, &o) : ipr_lstm(c, &in, &o), IPR_OK);
                y[dir] = o.y;
                if (dir && !two) continue;
                for (j = 0; j < 9; j++) {
                    const ipr_real *h = ipr_read(c, o.y) + (dir ? 5 : 0) * 18;
                    CHECK_NEAR(first[at * 9 + j], ((double)h[j] + (double)h[9 + j]) / 2, 1e-6);
                    for (t = 0; t < 6; t++) {
                        const ipr_real *a = ipr_read(c, o.gate_out) + t * 18;
                        CHECK_NEAR(gates[(at * 6 + t) * 9 + j], ((double)a[j] + (double)a[9 + j]) / 2, 1e-6);
                    }
                }
            }
            x = dirs == 2 ? ipr_concat(c, y, 2, 2) : y[0];
        }
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_close(c);
    }
}

/* The dual pass over padded rows is the plain and the gated pass, and each row is the row alone, to the bit. */
TEST(gk_cells_dual_and_pads)
{
    int shape;
    for (shape = 0; shape < GK_SHAPES; shape++) {
        ipr_ctx *c = gk_open();
        ipr_gatekeeper *g;
        ipr_classifier *m = gk_many(c, shape, 1, shape % 2 ? IPR_LSTM : IPR_GRU, &g);
        ipr_tensor *x = gk_ids(c, 6, 5), *both, *plain, *keyed;
        ipr_gates gates;
        ipr_index b;
        CHECK(!ipr_is_poison(ipr_gatekeeper_embed(g, m, NULL, 0, &gates)));
        CHECK_EQ_I(gates.count, m->rnn.cells);
        both = ipr_classifier_forward(m, x, &gates, 1);
        plain = ipr_classifier_forward(m, x, NULL, 0);
        keyed = ipr_classifier_forward(m, x, &gates, 0);
        CHECK(!memcmp(ipr_read(c, both), ipr_read(c, plain), 15 * sizeof(ipr_real)));
        CHECK(!memcmp(ipr_read(c, both) + 15, ipr_read(c, keyed), 15 * sizeof(ipr_real)));
        CHECK(memcmp(ipr_read(c, plain), ipr_read(c, keyed), 15 * sizeof(ipr_real)) != 0);
        for (b = 0; b < 5; b++) {
            ipr_tensor *one = ipr_contiguous(c, ipr_slice(c, ipr_slice(c, x, 1, b, 1), 0, 0, 1 + (b + 2) % 6));
            CHECK(!memcmp(ipr_read(c, ipr_classifier_forward(m, one, NULL, 0)), ipr_read(c, plain) + 3 * b, 3 * sizeof(ipr_real)));
            CHECK(!memcmp(ipr_read(c, ipr_classifier_forward(m, one, &gates, 0)), ipr_read(c, keyed) + 3 * b, 3 * sizeof(ipr_real)));
        }
        m->desc.pads_as_coded = 1;
        CHECK(memcmp(ipr_read(c, ipr_classifier_forward(m, x, NULL, 0)), ipr_read(c, plain), 15 * sizeof(ipr_real)) != 0);
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_close(c);
    }
}

#if IPR_REAL_IS_DOUBLE
typedef struct { ipr_gatekeeper *g; ipr_classifier *m; ipr_gatekeeper_recipe r; int text; } gk_many_check;
static ipr_tensor *gk_many_loss(ipr_ctx *c, void *user)
{
    gk_many_check *k = (gk_many_check *)user;
    ipr_index d[3] = { 5, 3, 7 }, i, three = 3;
    ipr_tensor *x = k->text ? gk_ids(c, 5, 3) : ipr_new(c, 3, d), *y = ipr_new_i32(c, 1, &three);
    for (i = 0; !k->text && i < 105; i++) ipr_write(c, x, 1)[i] = (ipr_real)(i * 37 % 100) / 50 - 1;
    for (i = 0; i < 3; i++) ipr_write_i32(c, y, 1)[i] = (int32_t)i;
    return ipr_gatekeeper_step(k->g, k->m, &k->r, 3, x, y, NULL);
}
#endif

TEST(gk_cells_gradients)
{
#if IPR_REAL_IS_DOUBLE
    int shape, text;
    for (shape = 0; shape < GK_SHAPES; shape++) for (text = 0; text < 2; text++) {
        ipr_ctx *c = gk_open();
        gk_many_check k;
        k.m = gk_many(c, shape, text, shape % 2 ? IPR_LSTM : IPR_GRU, &k.g);
        k.r = ipr_gatekeeper_recipe_of(IPR_RECIPE_DEFAULT);
        k.r.negatives = 2;
        k.text = text;
        CHECK_NEAR(ipr_gradcheck(c, k.m->params, gk_many_loss, &k, 1e-6, 12), 0, 5e-6);
        ipr_close(c);
    }
#else
    SKIP("numeric gradients need IPR_REAL=double");
#endif
}

/* Signatures, files, verification, flips and the gauge over all cells. */
TEST(gk_cells_file_gauge_verify)
{
    int shape;
    for (shape = 0; shape < GK_SHAPES; shape++) {
        ipr_ctx *c = gk_open();
        ipr_gatekeeper *g, *h;
        ipr_classifier *m = gk_many(c, shape, 0, shape % 2 ? IPR_GRU : IPR_LSTM, &g), *copy;
        const ipr_index units = m->rnn.cells * 9;
        static ipr_real gates[4 * 6 * 9], first[4 * 9], first2[4 * 9];
        ipr_index d[3] = { 5, 3, 7 }, i, j, at[36];
        int8_t sign[36];
        uint8_t flips[36];
        ipr_gatekeeper_test t = IPR_ZERO;
        ipr_gatekeeper_report rep;
        ipr_tensor *x;
        ipr_index dims[2] = { 6, 7 };
        ipr_real items[4 * 42];
        int32_t labels[4] = { 0, 1, 2, 0 };
        ipr_dataset *ds;
        for (i = 0; i < 4 * 42; i++) items[i] = (ipr_real)(i * 37 % 100) / 50 - 1;
        ds = ipr_dataset_real(c, "four", "", 4, 2, dims, items, labels, 3, 0);
        for (i = 0; i < m->rnn.cells; i++) {      /* the text in every cell, the ninth bit from the seed */
            char text[4];
            ipr_signature_text(ipr_gatekeeper_signature(g) + 9 * i, 9, text, sizeof text);
            CHECK_STR(text, "x");
        }
        if (ipr_gatekeeper_save(g, "ipr_test_many.tmp") == IPR_OK) {
            h = ipr_gatekeeper_load(c, "ipr_test_many.tmp", NULL);
            CHECK(h && ipr_gatekeeper_resolved(h)->cells == m->rnn.cells && ipr_gatekeeper_resolved(h)->units == 9);
            CHECK(h && !memcmp(ipr_gatekeeper_signature(g), ipr_gatekeeper_signature(h), (size_t)units));
            ipr_gatekeeper_free(h);
            remove("ipr_test_many.tmp");
        }
        ipr_clear(c);
        CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, gates, first), IPR_OK);
        for (i = 0, j = 0; i < units; i++) j += (first[i] > 0) == (ipr_gatekeeper_signature(g)[i] > 0);
        CHECK_EQ_I(ipr_gatekeeper_match(g, first), j);
        copy = ipr_classifier_clone(m);
        for (i = 0; i < units; i++) flips[i] = (uint8_t)(i * 5 % 3 == 1);
        CHECK_EQ_I(ipr_attack_gauge(copy, flips), IPR_OK);
        CHECK_EQ_I(ipr_gatekeeper_gates(g, copy, NULL, 1, NULL, first2), IPR_OK);
        for (i = 0; i < units; i++) CHECK(first2[i] == (flips[i] ? -first[i] : first[i]));
        x = ipr_new(c, 3, d);
        for (i = 0; i < 105; i++) ipr_write(c, x, 1)[i] = (ipr_real)(i * 37 % 100) / 50 - 1;
        CHECK(!memcmp(ipr_read(c, ipr_classifier_forward(m, x, NULL, 0)), ipr_read(c, ipr_classifier_forward(copy, x, NULL, 0)),
                      9 * sizeof(ipr_real)));
        t.fresh = 19;
        t.alpha = 0.05;
        if (shape == 4) {
            CHECK_EQ_I(ipr_gauge_find(copy, m->params, at, sign), IPR_E_ARG);
            ipr_clear(c);
        } else {
            CHECK_EQ_I(ipr_gauge_find(copy, m->params, at, sign), IPR_OK);
            for (i = 0; i < units; i++) CHECK(at[i] == i % 9 && sign[i] == (flips[i] ? -1 : 1));
            t.reference = m->params;
        }
        CHECK_EQ_I(ipr_gatekeeper_verify(g, shape == 4 ? m : copy, ds, NULL, 4, &t, &rep), IPR_OK);
        CHECK_EQ_I(rep.matched, j);
        CHECK_EQ_I(rep.signature_binomial.of, units);
        CHECK_EQ_I(ipr_attack_flip(copy, g, 1.0 / 9, NULL), IPR_OK);
        CHECK_EQ_I(ipr_gatekeeper_gates(g, copy, NULL, 1, NULL, first), IPR_OK);
        for (i = 0, j = 0; i < units; i++) j += (first[i] > 0) != (first2[i] > 0);
        CHECK_EQ_I(j, m->rnn.cells);
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_close(c);
    }
}

/* Every allocation of a protected step over two layers and both ways fails once. */
TEST(gk_cells_out_of_memory)
{
    long k, calls = 1;
    int st = IPR_E_NOMEM;
    for (k = 0; k < 600 && st != IPR_OK; k++) {
        core_heap h;
        ipr_desc d = core_desc(&h);
        ipr_ctx *c;
        ipr_gatekeeper *g = NULL;
        ipr_classifier *m = NULL;
        ipr_index i, three = 3;
        h.fail_at = k;
        c = ipr_open(&d, &st);
        if (!c) { calls++; continue; }
        m = gk_many(c, 3, 1, IPR_LSTM, &g);
        for (i = 0; i < 2 && m && g; i++) {
            ipr_tensor *x = gk_ids(c, 5, 3), *y = ipr_new_i32(c, 1, &three);
            (void)ipr_backward(c, ipr_gatekeeper_step(g, m, NULL, 0, x, y, NULL));
            ipr_step_end(c);
        }
        st = ipr_status(c);
        if (h.calls > k) CHECK_EQ_I(st, IPR_E_NOMEM);
        if (st == IPR_OK) CHECK(m && g);
        ipr_clear(c);
        ipr_gatekeeper_free(g);
        ipr_classifier_free(m);
        ipr_close(c);
        CHECK(h.live == 0 && h.bytes == 0);
        calls++;
    }
    CHECK_EQ_I(st, IPR_OK);
    CHECK(calls > 20);
}

TEST(gk_cells_errors)
{
    ipr_ctx *c = gk_open();
    ipr_gatekeeper *g, *one;
    ipr_classifier *m = gk_many(c, 3, 0, IPR_LSTM, &g);
    ipr_gatekeeper_desc d = ipr_gatekeeper_desc_for(m);
    ipr_classifier_desc md = IPR_ZERO;
    ipr_rnn_desc rd = IPR_ZERO;
    CHECK_EQ_I(d.cells, 4);
    d.cells = 1; d.steps = 6;
    one = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    CHECK_EQ_I(ipr_gatekeeper_gates(one, m, NULL, 1, NULL, NULL), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_gatekeeper_gates: the key is for 1 cells, the model has 4");
    ipr_clear(c);
    /* the first cell's bits do not depend on how many there are */
    d.signature = "x";
    one = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    CHECK(!memcmp(ipr_gatekeeper_signature(one), ipr_gatekeeper_signature(g), 9));
    d.cells = 17;
    CHECK(ipr_gatekeeper_new(c, &d, gk_seed, 32) == NULL);
    ipr_clear(c);
    CHECK(ipr_params_find(m->params, "rnn.weight_hh_l1_reverse") != NULL);
    CHECK_EQ_I(ipr_params_count(m->params), 18);
    rd.layers = 9; rd.bidirectional = IPR_BIDIR;
    CHECK_EQ_I(ipr_rnn_cells(&rd), 0);
    md.input = 3; md.hidden = 4; md.classes = 2;
    md.layers = 17;
    CHECK(ipr_classifier_new(c, &md) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG);
    ipr_clear(c);
    md.layers = 1;
    md.bidirectional = 3;
    CHECK(ipr_classifier_new(c, &md) == NULL);
    ipr_clear(c);
    md.bidirectional = 0;
    md.rnn_dropout = 1;
    CHECK(ipr_classifier_new(c, &md) == NULL);
    ipr_clear(c);
    md.rnn_dropout = 0;
    md.vocabulary = 5;
    md.pad = 5;
    CHECK(ipr_classifier_new(c, &md) == NULL);
    CHECK_STR(ipr_message(c), "ipr_classifier_new: padding id 5; the vocabulary has 5");
    ipr_close(c);
}

#ifndef IPR_TEST_SLOW
static int gk_stop(void *user) { return ++*(int *)user >= 3; }
#endif

/* Into a model that was trained without a key; and the private scheme, which trains with the key alone. */
TEST(gk_embed_later_and_private)
{
#ifdef IPR_TEST_SLOW
    SKIP("trains a network: too slow on an emulated machine; bits.c trains one there");
#else
    ipr_ctx *c = gk_open();
    ipr_gatekeeper_desc d = gk_desc(24);
    ipr_gatekeeper *g = ipr_gatekeeper_new(c, &d, gk_seed, 32);
    ipr_dataset *ds = ipr_dataset_digits(c, 2, 0, 300);
    ipr_classifier *m = gk_train(c, NULL, ds, IPR_GRU, 24, 60);
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *opt;
    ipr_gatekeeper_recipe r = ipr_gatekeeper_recipe_of(IPR_RECIPE_DEFAULT);
    ipr_attack_desc ad = IPR_ZERO;
    static ipr_real gate[28 * 24], first[24];
    ipr_tensor *x, *y, *logits;
    double open = 0;
    int s, i, polls = 0;
    CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, NULL, first), IPR_OK);
    CHECK(ipr_gatekeeper_match(g, first) < 24);
    od.lr = 4e-3;
    opt = ipr_opt_new(m->params, &od);
    for (s = 0; s < 120; s++) {
        uint32_t idx[30];
        for (i = 0; i < 30; i++) idx[i] = (uint32_t)((s * 30 + i) % 300);
        ipr_batch(c, ds, idx, 30, IPR_TIME_MAJOR, &x, &y);
        r.private_scheme = s & 1;
        ipr_backward(c, ipr_gatekeeper_step(g, m, &r, (uint64_t)s, x, y, &logits));
        CHECK_EQ_I(ipr_dim(logits, 0), 30);
        ipr_opt_step(opt);
        ipr_step_end(c);
    }
    CHECK_EQ_I(ipr_gatekeeper_gates(g, m, NULL, 1, gate, first), IPR_OK);
    CHECK_EQ_I(ipr_gatekeeper_match(g, first), 24);
    for (i = 0; i < 28 * 24; i++) open += (double)gate[i] / (28 * 24);
    CHECK(open > 0.85);
    ad.stop_fn = gk_stop;
    ad.stop_user = &polls;
    CHECK_EQ_I(ipr_attack_finetune(m, ds, NULL, 0, &ad), IPR_E_CANCELLED);
    CHECK_EQ_I(polls, 3);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
#endif
}

TEST(gk_triggers)
{
    ipr_ctx *c = gk_open();
    ipr_dataset *ds = ipr_dataset_digits(c, 2, 0, 200), *rest = NULL, *t, *u;
    ipr_tensor *x, *y;
    ipr_index i, k, seen = 0;
    t = ipr_triggers_new(c, ds, 20, 0, gk_seed, 32, &rest);
    CHECK(t && rest);
    if (!t || !rest) { ipr_close(c); return; }
    CHECK_EQ_I(t->count, 20);
    CHECK_EQ_I(rest->count, 180);
    for (i = 0; i < 20; i++) {
        for (k = 0; k < 200; k++)
            if (!memcmp(ipr_dataset_item_u8(t, i), ipr_dataset_item_u8(ds, k), 784)) { seen++; CHECK(ipr_dataset_label(t, i) != ipr_dataset_label(ds, k)); }
        for (k = 0; k < 180; k++) CHECK(memcmp(ipr_dataset_item_u8(t, i), ipr_dataset_item_u8(rest, k), 784) != 0);
    }
    CHECK_EQ_I(seen, 20);
    u = ipr_triggers_new(c, ds, 20, 0, gk_seed, 32, NULL);
    CHECK(u && !memcmp(t->u8, u->u8, 20 * 784) && !memcmp(t->labels, u->labels, 80));
    ipr_batch(c, rest, NULL, 6, IPR_TIME_MAJOR, &x, &y);
    CHECK_EQ_I(ipr_triggers_append(c, t, 3, 4, IPR_TIME_MAJOR, &x, &y), IPR_OK);
    CHECK_EQ_I(ipr_dim(x, 1), 10);
    CHECK_EQ_I(ipr_read_i32(c, y)[6], ipr_dataset_label(t, 12));
    if (ipr_triggers_save(t, "ipr_test_trig.tmp") == IPR_OK) {
        u = ipr_triggers_load(c, "ipr_test_trig.tmp");
        CHECK(u && u->count == 20 && !memcmp(t->u8, u->u8, 20 * 784) && !memcmp(t->labels, u->labels, 80));
        remove("ipr_test_trig.tmp");
    }
    ipr_clear(c);
    CHECK(ipr_triggers_new(c, ds, 200, 0, gk_seed, 32, NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_clear(c);
    CHECK(ipr_triggers_new(c, ds, 2, 0, gk_seed, 3, NULL) == NULL);
    ipr_clear(c);
    u = ipr_triggers_new(c, ds, 20, 0.25, gk_seed, 32, NULL);
    for (seen = 0, i = 0; u && i < 20 * 784; i++) seen += u->u8[i] != t->u8[i];
    CHECK(seen > 3500 && seen < 4300);      /* a quarter of 15680, less the few that hit their own value */
    CHECK(ipr_triggers_new(c, ds, 2, 2.0, gk_seed, 32, NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_close(c);
}

typedef struct { int mode; } gk_api;
static int gk_oracle(void *user, const uint32_t *items, ipr_index n, int32_t *labels)
{
    const gk_api *a = (const gk_api *)user;
    ipr_index i;
    if (a->mode == 1) return IPR_E_IO;
    for (i = 0; i < n; i++) labels[i] = a->mode == 2 && i > 3 ? 99 : a->mode == 3 && i > 3 ? -1 : (int32_t)(items[i] % 10);
    return IPR_OK;
}

/* An oracle that fails, answers short or nonsense is never "owned"; one that knows the triggers is. */
TEST(gk_trigger_verdict)
{
    ipr_ctx *c = gk_open();
    uint32_t items[40], nulls[200];
    int32_t want[40], null_want[200];
    gk_api a;
    ipr_verdict v;
    int i;
    for (i = 0; i < 40; i++) { items[i] = (uint32_t)i; want[i] = i % 10; }
    for (i = 0; i < 200; i++) { nulls[i] = (uint32_t)i; null_want[i] = (i + 3) % 10; }
    a.mode = 0;
    v = ipr_trigger_verify(c, gk_oracle, &a, items, want, 40, nulls, null_want, 200, 10, 1e-6);
    CHECK_EQ_I(v.decision, IPR_OWNED);
    v = ipr_trigger_verify(c, gk_oracle, &a, items, null_want, 40, nulls, null_want, 200, 10, 1e-6);
    CHECK_EQ_I(v.decision, IPR_NOT_OWNED);
    for (a.mode = 1; a.mode <= 3; a.mode++) {
        v = ipr_trigger_verify(c, gk_oracle, &a, items, want, 40, nulls, null_want, 200, 10, 1e-6);
        CHECK_EQ_I(v.decision, IPR_UNDECIDED);
        CHECK(strlen(v.reason) > 5);
    }
    v = ipr_trigger_verify(c, gk_oracle, &a, items, want, 0, nulls, null_want, 200, 10, 1e-6);
    CHECK_EQ_I(v.decision, IPR_UNDECIDED);
    ipr_close(c);
}

static void suite_gatekeeper(void)
{
    RUN(gk_table7);
    RUN(gk_derivation);
    RUN(gk_bad_input);
    RUN(gk_file);
    RUN(gk_gates_reference);
    RUN(gk_lengths);
    RUN(gk_gradients);
    RUN(gk_dual_is_algorithm_1);
    RUN(gk_train_verify_attack);
    RUN(gk_kinds);
    RUN(gk_tokens);
    RUN(gk_cells_by_hand);
    RUN(gk_cells_dual_and_pads);
    RUN(gk_cells_gradients);
    RUN(gk_cells_file_gauge_verify);
    RUN(gk_cells_out_of_memory);
    RUN(gk_cells_errors);
    RUN(gk_embed_later_and_private);
    RUN(gk_triggers);
    RUN(gk_trigger_verdict);
}
