/* Serial numbers: derivation, stamping, files; networks in two parts; the DSN step's gradients; a lock that holds, on a
   small convolutional net and an LSTM; the attacks on it; the verdict. */

#ifdef IPR_TEST_SLOW
#define DSN_SLOW SKIP("trains networks: too slow on an emulated machine");
#else
#define DSN_SLOW
#endif

static const char dsn_key[] = "an owner key of 32 bytes in all.";

static ipr_ctx *dsn_open(void)
{
    ipr_desc d = IPR_ZERO;
    d.seed = 5;
    return ipr_open(&d, NULL);
}

static ipr_serial dsn_serial(ipr_ctx *c, ipr_index bits)
{
    ipr_serial s = IPR_ZERO;
    ipr_serial_desc d = IPR_ZERO;
    d.bits = bits;
    CHECK_EQ_I(ipr_serial_new(c, &d, dsn_key, 32, "ACME", "2026-11-20", &s), IPR_OK);
    return s;
}

TEST(dsn_serial)
{
    static const uint8_t first[16] = { 1, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0 }; /* HMAC-SHA-256 by Python */
    ipr_ctx *c = dsn_open();
    ipr_serial s = dsn_serial(c, 16), t, u;
    ipr_serial_desc d = IPR_ZERO;
    ipr_rng r = ipr_rng_make(1, 2, 3);
    int seen[64] = { 0 };
    ipr_index i, k;
    for (i = 0; i < 16; i++) CHECK_EQ_I(s.bit[i], first[i]);
    CHECK_EQ_I(s.desc.columns, 4);
    CHECK_EQ_I(dsn_serial(c, 9).desc.columns, 3);
    CHECK_EQ_I(dsn_serial(c, 10).desc.columns, 4);
    CHECK_NEAR(ipr_serial_entropy(&s), log(65534.0) / log(2.0), 1e-9);
    t = ipr_serial_of(&s, 0x8c9c);
    CHECK_EQ_I(ipr_serial_distance(&s, &t), 0);
    CHECK_EQ_I(ipr_serial_new(c, NULL, dsn_key, 32, "ACME", "2026-11-21", &t), IPR_OK);
    CHECK_EQ_I(t.desc.bits, 9);
    CHECK_EQ_I(ipr_serial_distance(&s, &t), -1);
    for (k = 1; k < 6; k++)
        for (i = 0; i < 20; i++) { t = ipr_serial_wrong(&s, k, &r); CHECK_EQ_I(ipr_serial_distance(&s, &t), k); }
    d.bits = 6;                                       /* all others, none favoured */
    CHECK_EQ_I(ipr_serial_from(c, &d, "some signature of the owner", 27, &u), IPR_OK);
    for (i = 0; i < 6300; i++) {
        int code = 0;
        t = ipr_serial_wrong(&u, 0, &r);
        CHECK(ipr_serial_distance(&u, &t) > 0);
        for (k = 0; k < 6; k++) code = code * 2 + t.bit[k];
        seen[code]++;
    }
    for (k = 0, i = 0; i < 64; i++) { k += seen[i] == 0; if (seen[i]) CHECK(seen[i] > 50 && seen[i] < 170); }
    CHECK_EQ_I(k, 1);
    d.bits = 2;                                       /* never all equal */
    for (i = 0; i < 40; i++) {
        char name[16];
        sprintf(name, "customer %d", (int)i);
        CHECK_EQ_I(ipr_serial_new(c, &d, dsn_key, 32, name, NULL, &t), IPR_OK);
        CHECK(t.bit[0] != t.bit[1]);
    }
    d.bits = 257;
    CHECK_EQ_I(ipr_serial_new(c, &d, dsn_key, 32, "x", NULL, &t), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_serial_new(c, NULL, dsn_key, 8, "x", NULL, &t), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_serial_new(c, NULL, dsn_key, 32, "", NULL, &t), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_serial_from(c, NULL, "short", 5, &t), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_serial_new(c, NULL, dsn_key, 32, "x", NULL, NULL), IPR_E_ARG);
    ipr_clear(c);
    ipr_close(c);
}

TEST(dsn_stamp)
{
    ipr_ctx *c = dsn_open();
    ipr_serial s = dsn_serial(c, 9);
    ipr_index xd[4] = { 3, 2, 32, 28 }, td[3] = { 32, 3, 28 }, id[2] = { 12, 3 }, b, k, i, j;
    ipr_tensor *x = ipr_new(c, 4, xd), *t;
    ipr_real *p = ipr_write(c, x, 0);
    const ipr_real *q;
    for (i = 0; i < ipr_count(x); i++) p[i] = (ipr_real)0.5;
    CHECK_EQ_I(ipr_serial_stamp(c, &s, x, IPR_BATCH_MAJOR, 1, 1), IPR_OK);
    for (b = 0, q = ipr_read(c, x); b < 3; b++)
        for (k = 0; k < 2; k++)
            for (i = 0; i < 32; i++)
                for (j = 0; j < 28; j++, q++) {
                    const double want = b == 1 && i >= 29 && j >= 25 ? s.bit[(i - 29) * 3 + j - 25] : 0.5;
                    if (!CHECK_NEAR(*q, want, 0)) { ipr_close(c); return; }
                }
    s.desc.cell = 2; s.desc.corner = IPR_TOP_RIGHT; s.desc.row = 4; s.desc.column = 1;
    t = ipr_new(c, 3, td);                            /* by time: [T,B,I] */
    CHECK_EQ_I(ipr_serial_stamp(c, &s, t, IPR_TIME_MAJOR, 2, 1), IPR_OK);
    for (i = 0, q = ipr_read(c, t); i < 32; i++)
        for (b = 0; b < 3; b++)
            for (j = 0; j < 28; j++, q++) {
                const int in = b == 2 && i >= 4 && i < 10 && j >= 21 && j < 27;
                CHECK_NEAR(*q, in ? s.bit[(i - 4) / 2 * 3 + (j - 21) / 2] : 0, 0);
            }
    s.desc.zero = 7; s.desc.one = 8;
    t = ipr_new_i32(c, 2, id);
    CHECK_EQ_I(ipr_serial_stamp(c, &s, t, IPR_TIME_MAJOR, 0, 2), IPR_OK);
    for (i = 0; i < 12; i++)
        for (b = 0; b < 3; b++) CHECK_EQ_I(ipr_read_i32(c, t)[i * 3 + b], i < 9 && b < 2 ? 7 + s.bit[i] : 0);
    id[0] = 8;
    CHECK_EQ_I(ipr_serial_stamp(c, &s, ipr_new_i32(c, 2, id), IPR_TIME_MAJOR, 0, 2), IPR_E_SHAPE);
    ipr_clear(c);
    s.desc.cell = 20;
    CHECK_EQ_I(ipr_serial_stamp(c, &s, x, IPR_BATCH_MAJOR, 0, 3), IPR_E_SHAPE);
    CHECK(strstr(ipr_message(c), "does not fit") != NULL);
    ipr_clear(c);
    s.desc.cell = 1;
    CHECK_EQ_I(ipr_serial_stamp(c, &s, x, IPR_BATCH_MAJOR, 2, 2), IPR_E_SHAPE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_serial_stamp(c, NULL, x, IPR_BATCH_MAJOR, 0, 1), IPR_E_ARG);
    ipr_clear(c);
    xd[2] = xd[3] = 224;                              /* up-scaled with the image: 22 pixels over 3 bits */
    s.desc.cell = 0; s.desc.corner = IPR_BOTTOM_RIGHT; s.desc.row = s.desc.column = 0;
    x = ipr_new(c, 4, xd);
    for (i = 0; i < 9; i++) s.bit[i] = 1;
    CHECK_EQ_I(ipr_serial_stamp(c, &s, x, IPR_BATCH_MAJOR, 0, 1), IPR_OK);
    for (i = 0, j = 0; i < 224 * 224; i++) j += ipr_read(c, x)[i] > 0;
    CHECK_EQ_I(j, 21 * 21);
    ipr_close(c);
}

TEST(dsn_tokens)
{
    static const ipr_index off[4] = { 0, 2, 2, 5 };
    static const int32_t tok[5] = { 10, 11, 12, 13, 14 }, lab[3] = { 1, 0, 1 };
    ipr_ctx *c = dsn_open();
    ipr_dataset *ds = ipr_dataset_tokens(c, "t", "", 3, off, tok, lab, 2, 1), *room;
    ipr_serial s = dsn_serial(c, 4);
    ipr_index n, i;
    room = ipr_serial_tokens(&s, ds, 9);
    if (CHECK(room != NULL)) {
        const int32_t *t = ipr_dataset_item_tokens(room, 2, &n);
        CHECK_EQ_I(n, 7);
        for (i = 0; i < 7; i++) CHECK_EQ_I(t[i], i < 4 ? 9 : 8 + i);
        CHECK_EQ_I(ipr_dataset_length(room, 1), 4);
        CHECK_EQ_I(ipr_dataset_label(room, 2), 1);
    }
    CHECK(!ipr_serial_tokens(NULL, ds, 9));
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG);
    ipr_clear(c);
    ipr_dataset_free(room);
    ipr_dataset_free(ds);
    ipr_close(c);
}

#ifndef IPR_NO_STDIO
TEST(dsn_file)
{
    ipr_ctx *c = dsn_open();
    ipr_serial s = dsn_serial(c, 64), t;
    const char *path = "build/test_serial.safetensors";
    char bytes[4096];
    size_t n, k;
    FILE *f;
    s.desc.corner = IPR_TOP_LEFT; s.desc.row = 2; s.desc.cell = 3; s.desc.zero = 5; s.desc.one = 6;
    CHECK_EQ_I(ipr_serial_save(c, &s, path), IPR_OK);
    memset(&t, 0, sizeof t);
    CHECK_EQ_I(ipr_serial_load(c, path, &t), IPR_OK);
    CHECK(memcmp(&s.desc, &t.desc, sizeof s.desc) == 0 && memcmp(s.bit, t.bit, sizeof s.bit) == 0);
    f = fopen(path, "rb");
    n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f) fclose(f);
    CHECK(n > 300);
    for (k = 0; k < n; k += 7) {                      /* cut short anywhere: refused, the old number stays */
        f = fopen(path, "wb");
        if (!f) break;
        fwrite(bytes, 1, k, f);
        fclose(f);
        memset(&t, 0x5a, sizeof t);
        CHECK(ipr_serial_load(c, path, &t) != IPR_OK);
        CHECK_EQ_I(t.bit[0], 0x5a);
        ipr_clear(c);
    }
    remove(path);
    CHECK_EQ_I(ipr_serial_load(c, path, &t), IPR_E_MISSING);
    ipr_clear(c);
    CHECK_EQ_I(ipr_serial_save(c, &s, "build/no such folder/x"), IPR_E_IO);
    ipr_clear(c);
    ipr_close(c);
}
#endif

TEST(dsn_params_join)
{
    ipr_ctx *c = dsn_open();
    ipr_params *a = ipr_params_new(c), *b = ipr_params_new(c), *j;
    const ipr_params *sets[2];
    ipr_index n = 3;
    ipr_tensor *x = ipr_param(a, "x", 1, &n), *y = ipr_param(b, "y", 1, &n);
    sets[0] = a; sets[1] = b;
    j = ipr_params_join(c, sets, 2);
    if (CHECK(j != NULL)) {
        CHECK_EQ_I(ipr_params_count(j), 2);
        CHECK(ipr_params_find(j, "x") == x && ipr_params_at(j, 1) == y);
        CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_add(c, x, ipr_square(c, y)))), IPR_OK);
        ipr_params_zero_grad(j);
        CHECK(!ipr_grad(c, x));
    }
    ipr_params_free(j);
    CHECK(ipr_write(c, x, 0) != NULL);
    (void)ipr_param(b, "x", 1, &n);
    CHECK(!ipr_params_join(c, sets, 2));
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG);
    ipr_clear(c);
    CHECK(!ipr_params_join(c, NULL, 1));
    ipr_clear(c);
    ipr_close(c);
}

#if !defined(IPR_NO_CNN) && !defined(IPR_NO_TRAIN)
/* The paper's net for MNIST, thin, on 16 x 16 with 4 classes. */
static ipr_cnn *dsn_net(ipr_ctx *c, double scale)
{
    ipr_cnn_desc d = IPR_ZERO;
    d.arch = IPR_DSN_MNIST;
    d.scale = scale;
    d.height = d.width = 16;
    d.classes = 4;
    return ipr_cnn_new(c, &d);
}

TEST(dsn_two_parts)
{
    int arch, head;
    for (arch = IPR_LENET; arch <= IPR_DSN_GTSRB; arch++) {
        ipr_ctx *c = dsn_open();
        ipr_cnn_desc d = IPR_ZERO;
        ipr_cnn *m;
        d.arch = arch;
        d.scale = arch == IPR_KEYNET_CNN || arch >= IPR_ALEXNET ? 0.125 : 1;
        m = ipr_cnn_new(c, &d);
        if (!CHECK(m != NULL)) { ipr_close(c); continue; }
        for (head = 0; head < m->heads; head++) {
            ipr_index xd[4] = { 2, 1, 1, 1 };
            ipr_tensor *x, *y, *z, *f;
            xd[1] = m->desc.channels; xd[2] = m->desc.height; xd[3] = m->desc.width;
            x = ipr_new(c, 4, xd);
            y = ipr_cnn_forward(m, x, NULL);
            f = ipr_cnn_features(m, x, NULL, head);
            z = ipr_cnn_classify(m, f, head);
            CHECK_EQ_I(ipr_dim(f, 1), ipr_dim(m->head[head].weight, 1));
            if (CHECK_EQ_I(ipr_count(z), ipr_count(y))) CHECK(!memcmp(ipr_read(c, y), ipr_read(c, z), (size_t)ipr_count(y) * sizeof(ipr_real)));
            ipr_step_end(c);
        }
        CHECK(ipr_is_poison(ipr_cnn_features(m, NULL, NULL, m->heads)));
        CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
        ipr_clear(c);
        CHECK(ipr_is_poison(ipr_cnn_classify(m, ipr_params_at(m->params, 0), 0)));
        CHECK_EQ_I(ipr_status(c), IPR_E_SHAPE);
        ipr_clear(c);
        ipr_cnn_free(m);
        ipr_close(c);
    }
}

/* Gradients of the step: the classifier's from the stamped half alone, the adversary's as it is, the features' with
   lambda's sign turned, and none from rows at which the adversary does no better than chance. */
TEST(dsn_gradients)
{
    static const double lambda[2] = { -1, 0.7 };
    ipr_real *g[2][8];
    int k, i;
    for (k = 0; k < 2; k++) {
        ipr_ctx *c = dsn_open();
        ipr_cnn *m = dsn_net(c, 0.25);
        ipr_split net = ipr_split_cnn(m, 1);
        ipr_serial s = dsn_serial(c, 9);
        ipr_dsn_desc d = IPR_ZERO;
        ipr_dataset *ds = pp_bars_of(c, 3, 78, 16, 2);
        ipr_dsn *n;
        ipr_tensor *x, *y, *soft, *l, *logits;
        ipr_index sd[2] = { 16, 4 };
        d.lambda = lambda[k];
        d.no_gate = 1;
        d.wrong = -1;
        n = ipr_dsn_new(&net, &s, &d);
        if (!CHECK(n && ds)) { ipr_close(c); return; }
        CHECK_EQ_I(ipr_params_count(n->params), ipr_params_count(m->params) + 2);
        (void)ipr_batch_images(c, ds, NULL, 16, NULL, 0, &x, &y);
        soft = ipr_new(c, 2, sd);
        for (i = 0; i < 16; i++) ipr_write(c, soft, 1)[i * 4 + ipr_read_i32(c, y)[i]] = 4;
        l = ipr_dsn_step(n, 0, x, y, soft, &logits);
        CHECK_EQ_I(ipr_dim(logits, 0), 8);
        CHECK_EQ_I(ipr_backward(c, l), IPR_OK);
        for (i = 0; i < 8; i++) {
            ipr_tensor *t = ipr_params_at(m->params, i);
            g[k][i] = (ipr_real *)malloc((size_t)ipr_count(t) * sizeof(ipr_real));
            if (g[k][i]) memcpy(g[k][i], ipr_grad(c, t), (size_t)ipr_count(t) * sizeof(ipr_real));
        }
        if (k) {                                      /* by hand: d(KL) - lambda d(CE) */
            ipr_params_zero_grad(n->params);
            ipr_step_end(c);
            (void)ipr_batch_images(c, ds, NULL, 16, NULL, 0, &x, &y);
            CHECK_EQ_I(ipr_serial_stamp(c, &s, x, IPR_BATCH_MAJOR, 0, 8), IPR_OK);
            l = ipr_dense_forward(c, &n->layer[0], ipr_slice(c, ipr_cnn_features(m, x, NULL, 1), 0, 8, 8));
            CHECK_EQ_I(ipr_backward(c, ipr_cross_entropy(c, l, ipr_slice(c, y, 0, 8, 8))), IPR_OK);
            for (i = 0; i < 8; i++) {
                ipr_tensor *t = ipr_params_at(m->params, i);
                const ipr_real *ce = ipr_grad(c, t);
                double worst = 0, most = 0;
                ipr_index j;
                for (j = 0; j < ipr_count(t); j++) {
                    const double want = (double)g[0][i][j] - (ce ? 0.7 * (double)ce[j] : 0);
                    worst = fmax(worst, fabs(want - (double)g[1][i][j]));
                    most = fmax(most, fabs(want));
                }
                CHECK(most > 0 && worst <= 1e-5 * most + 1e-9);
                CHECK_EQ_I(ce == NULL, i >= 6);       /* G_y never sees a raw input */
            }
            n->desc.no_gate = 0;                      /* an adversary that cannot guess closes every gate */
            ipr_write(c, ipr_params_at(n->own, 1), 1)[0] = -20;
            ipr_step_end(c);
            ipr_params_zero_grad(n->params);
            (void)ipr_batch_images(c, ds, NULL, 16, NULL, 0, &x, &y);
            soft = ipr_new(c, 2, sd);
            for (i = 0; i < 16; i++) ipr_write(c, soft, 1)[i * 4 + ipr_read_i32(c, y)[i]] = 4;
            memset(ipr_write_i32(c, y, 0), 0, 16 * sizeof(int32_t));
            CHECK_EQ_I(ipr_backward(c, ipr_dsn_step(n, 0, x, y, soft, NULL)), IPR_OK);
            for (i = 0; i < 8; i++) {                 /* what is left is the stamped half's */
                ipr_tensor *t = ipr_params_at(m->params, i);
                ipr_index j;
                for (j = 0; j < ipr_count(t); j++) if (!CHECK_NEAR(ipr_grad(c, t)[j], g[0][i][j], 1e-5)) break;
            }
            CHECK(fabs((double)ipr_grad(c, ipr_params_at(n->own, 1))[0]) > 0.5); /* and G_d itself learns on */
            ipr_step_end(c);
        }
        ipr_dsn_free(n);
        ipr_dataset_free(ds);
        ipr_cnn_free(m);
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_close(c);
    }
    for (k = 0; k < 2; k++) for (i = 0; i < 8; i++) free(g[k][i]);
}

typedef struct dsn_job {
    ipr_dsn *n;
    const ipr_dataset *ds;
    const ipr_targets *t;
} dsn_job;

static ipr_tensor *dsn_train(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    dsn_job *j = (dsn_job *)user;
    ipr_tensor *x = NULL, *y = NULL;
    if (j->n->net.layout == IPR_TIME_MAJOR) (void)ipr_batch(c, j->ds, idx, n, IPR_TIME_MAJOR, &x, &y);
    else (void)ipr_batch_images(c, j->ds, idx, n, NULL, 0, &x, &y);
    return ipr_dsn_step(j->n, info->total, x, y, j->t ? ipr_targets_batch(j->t, idx, n) : NULL, NULL);
}

static int dsn_fit(ipr_dsn *n, const ipr_dataset *ds, const ipr_targets *t, int epochs, double lr)
{
    ipr_fit_desc f = IPR_ZERO;
    dsn_job j;
    j.n = n; j.ds = ds; j.t = t;
    f.params = n->params;
    f.optimiser.lr = lr;
    f.epochs = epochs;
    f.items = ds->count;
    f.batch = 50;
    f.shuffle = 1;
    f.step_fn = dsn_train;
    f.user = &j;
    return ipr_fit(n->c, &f, NULL);
}

TEST(dsn_lock)
{
    ipr_ctx *c;
    ipr_cnn *teacher, *m;
    ipr_split tn, net, copy;
    ipr_dataset *ds, *test;
    ipr_targets *t;
    ipr_attack_desc a = IPR_ZERO;
    ipr_serial s, found;
    ipr_serial_report r;
    ipr_serial_test st = IPR_ZERO;
    ipr_dsn_desc dd = IPR_ZERO;
    ipr_dsn *n;
    double stamped, raw, scores[511];
    ipr_index distances[511], i;
    DSN_SLOW
    c = dsn_open();
    ds = pp_bars_of(c, 3, 78, 1000, 2);
    test = pp_bars_of(c, 4, 78, 300, 2);
    teacher = dsn_net(c, 0.25);
    m = dsn_net(c, 0.25);
    tn = ipr_split_cnn(teacher, 1);
    net = ipr_split_cnn(m, 1);
    a.epochs = 6;
    a.lr = 0.003;
    CHECK_EQ_I(ipr_attack_split_tune(&tn, ds, NULL, 0, &a), IPR_OK);
    if (!CHECK(ipr_split_accuracy(&tn, test, NULL, 300, NULL) > 90)) printf("  %.1f\n", ipr_split_accuracy(&tn, test, NULL, 300, NULL));
    t = ipr_targets_new(&tn, ds, NULL);
    s = dsn_serial(c, 9);
    dd.lambda = 1;
    n = ipr_dsn_new(&net, &s, &dd);
    if (!CHECK(t && n)) { ipr_close(c); return; }
    CHECK_EQ_I(dsn_fit(n, ds, t, 40, 0.003), IPR_OK);
    ipr_dsn_free(n);
    stamped = ipr_split_accuracy(&net, test, NULL, 300, &s);
    raw = ipr_split_accuracy(&net, test, NULL, 300, NULL);
    if (!CHECK(stamped > 90 && raw < 40)) printf("  stamped %.1f, raw %.1f\n", stamped, raw);
    st.alpha = 0.01;
    st.scores = scores;
    st.distances = distances;
    CHECK_EQ_I(ipr_serial_verify(&s, &net, test, NULL, 100, &st, &r), IPR_OK);
    CHECK_EQ_I(r.fresh, 511);
    CHECK(r.function.decision == IPR_OWNED && r.reached <= 1 && r.corner < 60 && r.wrong_mean < 45);
    for (raw = 0, i = 0; i < 511; i++) raw += distances[i] == 1;
    CHECK_NEAR(raw, 9, 0);
    CHECK_EQ_I(ipr_serial_verify(&s, &tn, test, NULL, 100, &st, &r), IPR_OK); /* the teacher has no lock */
    CHECK(r.function.decision != IPR_OWNED);
    st.alpha = 0;                                     /* 511 others cannot reach 0.001 */
    st.fresh = 0;
    CHECK_EQ_I(ipr_serial_verify(&s, &net, test, NULL, 20, &st, &r), IPR_OK);
    CHECK_EQ_I(r.function.decision, IPR_UNDECIDED);
    a.epochs = 10;                                    /* the holder of the licence copies what it sees */
    a.lr = 0.003;
    copy = ipr_split_cnn(teacher, 1);
    CHECK_EQ_I(ipr_attack_split_copy(&net, &s, &copy, ds, NULL, 500, &a), IPR_OK);
    CHECK(ipr_split_accuracy(&copy, test, NULL, 300, NULL) > 85);
    a.lr = 0;
    a.epochs = 30;                                    /* inversion goes where the loss falls, and says how sure it is */
    CHECK_EQ_I(ipr_attack_serial_invert(&net, &s, ds, NULL, 300, &a, &found, scores), IPR_OK);
    for (i = 0; i < 9; i++) CHECK(scores[i] >= 0 && scores[i] <= 1 && found.bit[i] == (scores[i] > 0.5));
    CHECK(ipr_split_accuracy(&net, test, NULL, 300, &found) >= ipr_split_accuracy(&net, test, NULL, 300, NULL));
    found = ipr_serial_of(&s, 0x0aa);                 /* a thief's own number */
    dd.against = &s;
    n = ipr_dsn_new(&net, &found, &dd);
    a.epochs = 10;
    a.lr = 0.003;
    CHECK_EQ_I(ipr_attack_serial_overwrite(n, ds, NULL, 500, &a), IPR_OK);
    ipr_dsn_free(n);
    if (!CHECK(ipr_split_accuracy(&net, test, NULL, 300, &found) > 80)) printf("  overwritten: %.1f\n", ipr_split_accuracy(&net, test, NULL, 300, &found));
    CHECK_EQ_I(ipr_attack_split_tune(&net, ds, NULL, 0, &a), IPR_OK);
    CHECK(ipr_split_accuracy(&net, test, NULL, 300, NULL) > 90); /* all data: the lock goes */
    ipr_targets_free(t);
    ipr_dataset_free(ds);
    ipr_dataset_free(test);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

TEST(dsn_bad_input)
{
    ipr_ctx *c = dsn_open();
    ipr_cnn *m = dsn_net(c, 0.25);
    ipr_split net = ipr_split_cnn(m, 1), none = IPR_ZERO;
    ipr_serial s = dsn_serial(c, 9), empty = IPR_ZERO;
    ipr_dataset *ds = pp_bars_of(c, 3, 78, 10, 2);
    ipr_serial_report r;
    ipr_dsn *n = ipr_dsn_new(&net, &s, NULL);
    ipr_index one = 1, xd[4] = { 2, 1, 16, 16 }, two = 2;
    ipr_tensor *y;
    ipr_index wide = 0;
    ipr_real few[4];
    int i;
    CHECK(!ipr_dsn_new(&net, &empty, NULL));
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG); ipr_clear(c);
    CHECK(!ipr_dsn_new(&none, &s, NULL) && !ipr_dsn_new(NULL, &s, NULL));
    none.c = c;
    CHECK(!ipr_dsn_new(&none, &s, NULL));
    CHECK_EQ_I(ipr_status(c), IPR_E_ARG); ipr_clear(c);
    CHECK(ipr_is_poison(ipr_dsn_step(n, 0, ipr_new(c, 4, xd), ipr_new_i32(c, 1, &one), NULL, NULL)));
    CHECK_EQ_I(ipr_status(c), IPR_E_SHAPE); ipr_clear(c);
    y = ipr_new_i32(c, 1, &two);
    ipr_write_i32(c, y, 1)[1] = 10;
    CHECK(ipr_is_poison(ipr_dsn_step(n, 0, ipr_new(c, 4, xd), y, NULL, NULL)));
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE); ipr_clear(c);
    CHECK_EQ_I(ipr_serial_verify(&s, &net, ds, NULL, 11, NULL, &r), IPR_E_ARG); ipr_clear(c);
    CHECK_EQ_I(ipr_serial_verify(&s, &net, ds, NULL, 5, NULL, NULL), IPR_E_ARG); ipr_clear(c);
    CHECK_NEAR(ipr_split_accuracy(&net, ds, NULL, 11, NULL), -1, 0); ipr_clear(c);
    CHECK_EQ_I(ipr_split_features(&net, ds, NULL, 2, NULL, few, 4, &wide), IPR_E_RANGE); ipr_clear(c);
    CHECK_EQ_I(wide, ipr_dim(m->head[1].weight, 1));
    CHECK_EQ_I(ipr_attack_split_tune(&none, ds, NULL, 0, NULL), IPR_E_ARG); ipr_clear(c);
    CHECK_EQ_I(ipr_attack_serial_invert(&net, &empty, ds, NULL, 0, NULL, &s, NULL), IPR_E_ARG); ipr_clear(c);
    for (i = 0; i < ipr_params_count(m->params); i++) ipr_write(c, ipr_params_at(m->params, i), 1)[0] = (ipr_real)NAN;
    CHECK_EQ_I(ipr_serial_verify(&s, &net, ds, NULL, 10, NULL, &r), IPR_OK); /* NaN in the suspect claims nothing */
    CHECK(r.function.decision != IPR_OWNED && r.reached == r.fresh);
    CHECK(!ipr_targets_new(NULL, ds, NULL));
    ipr_targets_free(NULL);
    ipr_dsn_free(n);
    ipr_dsn_free(NULL);
    ipr_dataset_free(ds);
    ipr_close(c);
}
#endif

#if !defined(IPR_NO_RNN) && !defined(IPR_NO_CNN) && !defined(IPR_NO_TRAIN)
TEST(dsn_lock_lstm)
{
    ipr_ctx *c;
    ipr_classifier_desc d = IPR_ZERO;
    ipr_classifier *m;
    ipr_split net;
    ipr_dataset *ds;
    ipr_serial s;
    ipr_dsn_desc dd = IPR_ZERO;
    ipr_dsn *n;
    double stamped, raw;
    DSN_SLOW
    c = dsn_open();
    d.input = 16; d.hidden = 32; d.classes = 4;
    m = ipr_classifier_new(c, &d);
    net = ipr_split_classifier(m);
    ds = pp_bars_of(c, 3, 78, 1000, 2);
    s = dsn_serial(c, 9);
    dd.lambda = 1;
    n = ipr_dsn_new(&net, &s, &dd);
    if (!CHECK(n && ds)) { ipr_close(c); return; }
    CHECK_EQ_I(dsn_fit(n, ds, NULL, 40, 0.004), IPR_OK);
    stamped = ipr_split_accuracy(&net, ds, NULL, 500, &s);
    raw = ipr_split_accuracy(&net, ds, NULL, 500, NULL);
    if (!CHECK(stamped > 80 && raw < 45)) printf("  stamped %.1f, raw %.1f\n", stamped, raw);
    ipr_dsn_free(n);
    ipr_dataset_free(ds);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}
#endif

static void suite_dsn(void)
{
    RUN(dsn_serial);
    RUN(dsn_stamp);
    RUN(dsn_tokens);
#ifndef IPR_NO_STDIO
    RUN(dsn_file);
#endif
    RUN(dsn_params_join);
#if !defined(IPR_NO_CNN) && !defined(IPR_NO_TRAIN)
    RUN(dsn_two_parts);
    RUN(dsn_gradients);
    RUN(dsn_lock);
    RUN(dsn_bad_input);
#endif
#if !defined(IPR_NO_RNN) && !defined(IPR_NO_CNN) && !defined(IPR_NO_TRAIN)
    RUN(dsn_lock_lstm);
#endif
}
