/* Passports: the mean vector against the convolution, signature, derivation, kinds, files, wiping, gradients, training of
   the three schemes, detection; the Uchida and trigger baselines; verdicts; attacks. */

#ifndef IPR_NO_CNN
#ifdef IPR_TEST_SLOW
#define PP_SLOW SKIP("trains networks: too slow on an emulated machine");
#else
#define PP_SLOW
#endif

static const char pp_seed[] = "an owner's secret seed, 32 bytes";

static ipr_ctx *pp_open(void)
{
    ipr_desc d = IPR_ZERO;
    d.seed = 11;
    return ipr_open(&d, NULL);
}

/* The paper's AlexNet at an eighth of its width (8, 24, 48, 32, 32 channels) on images of 1 x 16 x 16, 4 classes. */
static ipr_cnn *pp_model(ipr_ctx *c, int norm, uint64_t bare)
{
    ipr_cnn_desc d = IPR_ZERO;
    d.arch = IPR_ALEXNET;
    d.channels = 1;
    d.height = d.width = 16;
    d.classes = 4;
    d.scale = 0.125;
    d.norm = norm;
    d.group_channels = 8;
    d.bare = bare;
    return ipr_cnn_new(c, &d);
}

/* Bars: class 0 and 1 lie, 2 and 3 stand; odd classes are dark on light. Bytes [1,16,16], or of rank 2 [16,16]. */
static ipr_dataset *pp_bars_of(ipr_ctx *c, uint64_t seed, uint32_t stream, ipr_index n, int rank)
{
    const ipr_index dims[3] = { 1, 16, 16 };
    uint8_t *px = (uint8_t *)malloc((size_t)n * 256);
    int32_t *lab = (int32_t *)malloc((size_t)n * 4);
    ipr_rng r = ipr_rng_make(seed, stream, 0);
    ipr_dataset *ds;
    ipr_index i, y, x;
    for (i = 0; i < n; i++) {
        const ipr_index at = 1 + (ipr_index)ipr_rng_below(&r, 6);
        lab[i] = (int32_t)(i % 4);
        for (y = 0; y < 16; y++)
            for (x = 0; x < 16; x++) {
                const int on = (lab[i] < 2 ? y : x) / 2 == at, v = on ^ (lab[i] & 1) ? 200 : 40;
                px[i * 256 + y * 16 + x] = (uint8_t)(v + (int)ipr_rng_below(&r, 50) - 25);
            }
    }
    ds = ipr_dataset_u8(c, "bars", "generated", n, rank, dims + 3 - rank, px, lab, 4, 0);
    free(px);
    free(lab);
    return ds;
}

static ipr_dataset *pp_bars(ipr_ctx *c, uint64_t seed, ipr_index n) { return pp_bars_of(c, seed, 77, n, 3); }

static const ipr_image_norm pp_norm = { 1, { 0.5, 0, 0, 0 }, { 0.25, 1, 1, 1 } };

static void pp_batch(ipr_ctx *c, const ipr_dataset *ds, uint64_t step, ipr_index n, ipr_tensor **x, ipr_tensor **y)
{
    ipr_augment_desc a = IPR_ZERO;
    uint32_t idx[64];
    ipr_index i;
    a.norm = &pp_norm;
    for (i = 0; i < n; i++) idx[i] = (uint32_t)((step * (uint64_t)n + (uint64_t)i) * 7 % (uint64_t)ds->count);
    ipr_batch_images(c, ds, idx, n, &a, step, x, y);
}

/* Trains m; p NULL: without passports. */
static double pp_train(ipr_cnn *m, const ipr_passport *p, const ipr_trigger_mix *mix, const ipr_dataset *ds, int steps, double lr)
{
    ipr_ctx *c = m->c;
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *opt;
    double last = 0;
    int i;
    od.lr = lr;
    opt = ipr_opt_new(m->params, &od);
    ipr_set_training(c, 1);
    for (i = 0; i < steps && !ipr_status(c); i++) {
        ipr_tensor *x, *y, *loss;
        pp_batch(c, ds, (uint64_t)i, 10, &x, &y);
        if (!p && mix) ipr_triggers_mix(c, mix, (uint64_t)i, &x, &y);
        loss = p ? ipr_passport_step(p, m, mix, (uint64_t)i, x, y, NULL) : ipr_cross_entropy(c, ipr_cnn_forward(m, x, NULL), y);
        last = (double)ipr_item(c, loss);
        ipr_backward(c, loss);
        ipr_opt_step(opt);
        ipr_step_end(c);
    }
    ipr_set_training(c, 0);
    ipr_opt_free(opt);
    return last;
}

/* Avg(W * P) by the convolution itself against W m, for every stride, padding, dilation and shape. */
TEST(pp_mean_is_convolution)
{
    ipr_ctx *c = pp_open();
    ipr_index k, s, p, dl, h, checked = 0;
    double worst = 0;
    for (k = 1; k <= 5; k += 2)
        for (s = 1; s <= 3; s++)
            for (p = 0; p <= 2; p++)
                for (dl = 1; dl <= 2; dl++)
                    for (h = 4; h <= 9; h += 5) {
                        ipr_passport_unit a = IPR_ZERO;
                        ipr_rng r = ipr_rng_make(5, (uint32_t)(k * 100 + s * 10 + p), (uint32_t)(dl * 10 + h));
                        ipr_index xd[4], wd[4], i, o;
                        ipr_real mean[2 * 25], key[2 * 9 * 7];
                        double px[9 * 7];
                        ipr_tensor *x, *w, *y;
                        a.in = 2; a.height = h; a.width = 7; a.out = 3;
                        a.kernel[0] = k; a.kernel[1] = k == 5 ? 3 : k;
                        a.conv.stride[0] = s; a.conv.stride[1] = 1 + (s + 1) % 2;
                        a.conv.padding[0] = p; a.conv.padding[1] = (p + 1) % 3;
                        a.conv.dilation[0] = dl; a.conv.dilation[1] = 3 - dl;
                        if (h + 2 * p < dl * (k - 1) + 1 || 7 + 2 * a.conv.padding[1] < (3 - dl) * (a.kernel[1] - 1) + 1) continue;
                        xd[0] = 1; xd[1] = 2; xd[2] = h; xd[3] = 7;
                        wd[0] = 3; wd[1] = 2; wd[2] = k; wd[3] = a.kernel[1];
                        for (i = 0; i < 2 * h * 7; i++) key[i] = (ipr_real)(2 * ipr_rng_uniform(&r) - 1);
                        x = ipr_from(c, 4, xd, key);
                        w = ipr_new(c, 4, wd);
                        for (i = 0; i < ipr_count(w); i++) ipr_write(c, w, 1)[i] = (ipr_real)(ipr_rng_uniform(&r) - 0.5);
                        y = ipr_conv2d(c, x, w, NULL, &a.conv);
                        ipr__pass_mean(&a, key, mean, px);
                        for (o = 0; o < 3; o++) {
                            const ipr_index n = ipr_dim(y, 2) * ipr_dim(y, 3), row = 2 * k * a.kernel[1];
                            double avg = 0, dot = 0;
                            for (i = 0; i < n; i++) avg += (double)ipr_read(c, y)[o * n + i] / (double)n;
                            for (i = 0; i < row; i++) dot += (double)ipr_read(c, w)[o * row + i] * (double)mean[i];
                            worst = avg - dot > worst ? avg - dot : dot - avg > worst ? dot - avg : worst;
                            checked++;
                        }
                        ipr_step_end(c);
                    }
    CHECK(checked > 250);
    CHECK(worst < 1e-6);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

TEST(pp_signature_layout)
{
    ipr_ctx *c = pp_open();
    ipr_cnn *m = pp_model(c, 0, 0);
    ipr_passport_desc d = IPR_ZERO;
    const char *each[IPR_CNN_UNITS] = { 0 };
    ipr_passport *p, *q;
    int8_t want[8];
    char text[16];
    ipr_index i, same = 0;
    CHECK_EQ_I(ipr_passport_default_units(m), 0x1c);
    d.signature = "abcdefgh"; /* 48 channels carry 6 characters, 32 the other two */
    p = ipr_passport_new(m, &d, pp_seed, 32);
    if (!CHECK(p != NULL)) return;
    CHECK_EQ_I(ipr_passport_count(p), 3);
    CHECK_EQ_I(ipr_passport_at(p, 0)->text_bits, 48);
    CHECK_EQ_I(ipr_passport_at(p, 1)->text_bits, 16);
    CHECK_EQ_I(ipr_passport_at(p, 2)->text_bits, 0);
    ipr_signature_text(ipr_passport_at(p, 0)->bits, 48, text, sizeof text);
    CHECK_STR(text, "abcdef");
    ipr_signature_text(ipr_passport_at(p, 1)->bits, 16, text, sizeof text);
    CHECK_STR(text, "gh");
    CHECK_EQ_I(ipr_signature_bits(c, "a", 0, want, 8), IPR_OK); /* most significant bit first */
    for (i = 0; i < 8; i++) CHECK(ipr_passport_at(p, 0)->bits[i] == want[i] && want[0] == -1 && want[1] == 1);
    for (i = 0; i < 32; i++) same += ipr_passport_at(p, 2)->bits[i] > 0;
    CHECK(same > 6 && same < 26); /* bits of the seed */
    each[3] = "Zu";
    d.signature = NULL;
    d.signatures = each;
    q = ipr_passport_new(m, &d, pp_seed, 32);
    CHECK_EQ_I(ipr_passport_at(q, 0)->text_bits, 0);
    CHECK_EQ_I(ipr_passport_at(q, 1)->text_bits, 16);
    ipr_signature_text(ipr_passport_at(q, 1)->bits, 16, text, sizeof text);
    CHECK_STR(text, "Zu");
    for (i = 0; i < 32; i++) CHECK(ipr_passport_at(p, 2)->bits[i] == ipr_passport_at(q, 2)->bits[i]);
    each[3] = "12345"; /* 32 channels carry 4 */
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    CHECK(strstr(ipr_message(c), "features.5 has 5 characters; its 32 channels carry at most 4") != NULL);
    ipr_clear(c);
    d.signatures = NULL;
    d.signature = "123456789012345"; /* 15 of 14 */
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    CHECK(strstr(ipr_message(c), "carry at most 14") != NULL);
    ipr_close(c);
}

TEST(pp_derivation)
{
    static const char info[] = "ipr1|passport|features.5|beta";
    ipr_ctx *c = pp_open();
    ipr_cnn *m = pp_model(c, 0, 0), *res;
    ipr_passport *p = ipr_passport_new(m, NULL, pp_seed, 32), *q = ipr_passport_new(m, NULL, pp_seed, 32), *f, *f2;
    const ipr_passport_unit *a = ipr_passport_at(p, 1), *b = ipr_passport_at(q, 1);
    const ipr_index n = 2 * a->in * a->height * a->width;
    ipr_cnn_desc rd = IPR_ZERO;
    uint8_t out[8];
    ipr_rng r;
    ipr_index i, same = 0;
    double mean = 0;
    CHECK_EQ_I(n, 2 * 48 * 4 * 4);
    for (i = 0; i < n; i++) {
        const double v = (double)ipr_read(c, a->key)[i];
        CHECK(v >= -1 && v < 1 && ipr_read(c, a->key)[i] == ipr_read(c, b->key)[i]);
        mean += v / (double)n;
    }
    CHECK_NEAR(mean, 0, 0.1);
    /* the values follow from the published derivation alone */
    CHECK_EQ_I(ipr_hkdf_sha256(pp_seed, 32, NULL, 0, info, sizeof info - 1, out, 8), IPR_OK);
    r = ipr_rng_make(ipr__ld64le(out), 3, 4);
    for (i = 0; i < n / 2; i++) CHECK(ipr_read(c, a->key)[n / 2 + i] == (ipr_real)(2 * ipr_rng_uniform(&r) - 1));
    /* fresh ones: other passports, the same signature, the same draw again */
    f = ipr_passport_fresh(p, 0, NULL, 3);
    f2 = ipr_passport_fresh(p, 0, NULL, 3);
    for (i = 0; i < n; i++) {
        same += ipr_read(c, ipr_passport_at(f, 1)->key)[i] == ipr_read(c, a->key)[i];
        CHECK(ipr_read(c, ipr_passport_at(f, 1)->key)[i] == ipr_read(c, ipr_passport_at(f2, 1)->key)[i]);
    }
    CHECK(same < 5);
    CHECK(memcmp(ipr_passport_at(f, 2)->bits, ipr_passport_at(p, 2)->bits, 32) == 0);
    /* the paper's units of a ResNet: all of layer4 */
    rd.arch = IPR_RESNET18;
    rd.scale = 0.01;
    rd.no_init = 1;
    res = ipr_cnn_new(c, &rd);
    CHECK_EQ_I(res->units, 20);
    CHECK_EQ_I(ipr_passport_default_units(res), 0x1full << 15);
    q = ipr_passport_new(res, NULL, pp_seed, 32);
    CHECK_EQ_I(ipr_passport_count(q), 5);
    CHECK_EQ_I(ipr_passport_at(q, 0)->height, 8);
    CHECK_EQ_I(ipr_passport_at(q, 4)->height, 4);
    rd.arch = IPR_LENET;
    rd.scale = 0;
    CHECK_EQ_I(ipr_passport_default_units(ipr_cnn_new(c, &rd)), 2);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

/* Passports made of images: where every channel comes from. */
TEST(pp_kinds)
{
    ipr_ctx *c = pp_open();
    ipr_cnn *m = pp_model(c, 0, 0), *helper = pp_model(c, 0, 0);
    ipr_dataset *ds = pp_bars(c, 1, 12);
    uint32_t items[10] = { 3, 1, 4, 5, 9, 2, 6, 8, 7, 0 };
    ipr_passport_desc d = IPR_ZERO;
    ipr_passport *p, *q;
    ipr_index i, j, k, role, hits;
    int u;
    pp_train(helper, NULL, NULL, ds, 2, 0.01);
    d.source.helper = helper;
    d.source.pool = ds;
    d.source.norm = &pp_norm;
    d.source.items = items;
    d.source.images = 5;
    d.units = 0x1e;
    for (d.kind = IPR_PASSPORT_IMAGE; d.kind <= IPR_PASSPORT_SHUFFLED_LAYER; d.kind++) {
        const ipr_index N = d.kind == IPR_PASSPORT_IMAGE ? 1 : 5;
        p = ipr_passport_new(m, &d, pp_seed, 32);
        if (!CHECK(p != NULL)) break;
        for (u = 0; u < 4; u++)
            for (role = 0; role < 2; role++) {
                const ipr_passport_unit *a = ipr_passport_at(p, u);
                const ipr_index map = a->height * a->width, size = map * a->in;
                ipr_augment_desc ad = IPR_ZERO;
                uint8_t used[5 * 64] = { 0 };
                ipr_tensor *x, *act;
                const ipr_real *key = ipr_read(c, a->key) + role * size;
                ad.norm = &pp_norm;
                ipr_batch_images(c, ds, items + role * N, N, &ad, 0, &x, NULL);
                act = ipr_cnn_input_of(helper, x, a->unit);
                hits = 0;
                if (d.kind == IPR_PASSPORT_SHUFFLED) {
                    for (i = 0; i < a->in; i++) { /* of image i mod N, and no map twice (equal ones, all zero, are taken in turn) */
                        for (j = 0; j < a->in; j++) {
                            k = i % N * a->in + j;
                            if (!used[k] && memcmp(ipr_read(c, act) + (k * map), key + i * map, (size_t)map * sizeof *key) == 0) break;
                        }
                        if (j < a->in) used[i % N * a->in + j] = 1;
                        hits += j < a->in;
                    }
                    CHECK_EQ_I(hits, a->in);
                } else {
                    for (j = 0; j < N; j++) hits += memcmp(ipr_read(c, act) + j * size, key, (size_t)size * sizeof *key) == 0;
                    CHECK(hits >= 1);
                }
                ipr_step_end(c);
            }
        ipr_passport_free(p);
    }
    d.kind = IPR_PASSPORT_SHUFFLED;                   /* centred: the same maps, less the passport's mean */
    p = ipr_passport_new(m, &d, pp_seed, 32);
    d.kind = IPR_PASSPORT_CENTRED;
    q = ipr_passport_new(m, &d, pp_seed, 32);
    for (u = 0; p && q && u < 4; u++)
        for (role = 0; role < 2; role++) {
            const ipr_passport_unit *a = ipr_passport_at(p, u);
            const ipr_index size = a->in * a->height * a->width;
            const ipr_real *x = ipr_read(c, a->key) + role * size, *y = ipr_read(c, ipr_passport_at(q, u)->key) + role * size;
            double mean = 0, sum = 0;
            for (i = 0; i < size; i++) { mean += (double)x[i] / (double)size; sum += (double)y[i] / (double)size; }
            CHECK(mean > 0.01 && fabs(sum) < 1e-5);
            for (i = 0; i < size; i++) if (!CHECK_NEAR(y[i], (double)x[i] - mean, 1e-5)) break;
        }
    ipr_passport_free(p);
    ipr_passport_free(q);
    d.kind = IPR_PASSPORT_SHUFFLED;
    d.source.items = NULL;
    p = ipr_passport_new(m, &d, pp_seed, 32);
    q = ipr_passport_new(m, &d, pp_seed, 32);
    for (u = 0; u < 4; u++)
        CHECK(memcmp(ipr_read(c, ipr_passport_at(p, u)->key), ipr_read(c, ipr_passport_at(q, u)->key), sizeof(ipr_real) * (size_t)ipr_count(ipr_passport_at(p, u)->key)) == 0);
    ipr_passport_free(q);
    q = ipr_passport_fresh(p, 0, NULL, 1);
    CHECK(q && memcmp(ipr_read(c, ipr_passport_at(p, 1)->key), ipr_read(c, ipr_passport_at(q, 1)->key), sizeof(ipr_real) * (size_t)ipr_count(ipr_passport_at(p, 1)->key)) != 0);
    ipr_passport_free(q);
    q = ipr_passport_fresh(p, IPR_PASSPORT_RANDOM, NULL, 1); /* another kind of forger */
    CHECK(q && ipr_read(c, ipr_passport_at(q, 0)->key)[0] >= -1 && ipr_passport_resolved(q)->kind == IPR_PASSPORT_RANDOM);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

TEST(pp_bad_input)
{
    ipr_ctx *c = pp_open(), *c2 = pp_open();
    ipr_cnn *m = pp_model(c, 0, 0), *wide, *elsewhere = pp_model(c2, 0, 0);
    ipr_dataset *ds = pp_bars(c, 1, 8);
    ipr_passport_desc d = IPR_ZERO;
    ipr_cnn_desc md = IPR_ZERO;
    ipr_passport *p = ipr_passport_new(m, NULL, pp_seed, 32), *v2, *lasting;
    const ipr_index right[3] = { 24, 4, 4 }, wrong[3] = { 24, 8, 8 };
    ipr_real values[24 * 64] = { 0 };
    ipr_scales s;
    ipr_detection det;
    ipr_tensor *x, *y;
    uint8_t zeros[8 * 256] = { 0 };
    const ipr_index dims[3] = { 1, 16, 16 };
    CHECK(ipr_passport_new(NULL, NULL, pp_seed, 32) == NULL);
    CHECK(ipr_passport_new(m, NULL, pp_seed, 15) == NULL);
    CHECK(strstr(ipr_message(c), "can be guessed") != NULL);
    ipr_clear(c);
    CHECK(ipr_passport_new(m, NULL, NULL, 32) == NULL);
    ipr_clear(c);
    d.units = 0x20;
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    CHECK_STR(ipr_message(c), "ipr_passport_new: the mask names a unit that the model has not: it has 5");
    ipr_clear(c);
    d.units = 0;
    d.margin = (double)NAN;
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    ipr_clear(c);
    d.margin = 0;
    d.scheme = IPR_PASSPORT_V2;                       /* a signature that lasts: a wider margin where it costs nothing */
    lasting = ipr_passport_new(m, &d, pp_seed, 32);
    if (CHECK(lasting != NULL)) CHECK_NEAR(ipr_passport_resolved(lasting)->margin, 0.5, 0);
    ipr_passport_free(lasting);
    d.scheme = 0;
    d.kind = 9;
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    ipr_clear(c);
    d.kind = IPR_PASSPORT_SHUFFLED;
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_STATE);
    ipr_clear(c);
    d.source.helper = m;
    d.source.pool = ds; /* 8 items for 20 images */
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    CHECK_STR(ipr_message(c), "ipr_passport_new: 20 images from a pool of 8; 1..256 of them");
    ipr_clear(c);
    /* an all-zero passport: black images, read by the first unit */
    d.source.pool = ipr_dataset_u8(c, "black", "", 8, 3, dims, zeros, NULL, 0, 0);
    d.source.images = 2;
    d.units = 1;
    CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    CHECK(strstr(ipr_message(c), "the gamma passport of features.0 is all zero") != NULL);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_set(p, 0, 0, values, right), IPR_E_RANGE);
    CHECK(strstr(ipr_message(c), "ipr_passport_set: the gamma passport of features.4 is all zero") != NULL);
    ipr_clear(c);
    /* a passport of the wrong layer's shape */
    CHECK_EQ_I(ipr_passport_set(p, 0, 0, values, wrong), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_passport_set: the passport is 24x8x8, features.4 takes 24x4x4");
    ipr_clear(c);
    values[5] = (ipr_real)NAN;
    CHECK_EQ_I(ipr_passport_set(p, 0, 0, values, right), IPR_E_NUMERIC);
    ipr_clear(c);
    values[5] = 1;
    CHECK_EQ_I(ipr_passport_set(p, 0, 2, values, right), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_set(p, 3, 0, values, right), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_set(p, 0, 0, values, right), IPR_OK);
    CHECK_EQ_I(ipr_passport_set(NULL, 0, 0, values, right), IPR_E_ARG);
    /* another model's passports */
    md = m->desc;
    md.scale = 0.25;
    wide = ipr_cnn_new(c, &md);
    CHECK_EQ_I(ipr_passport_scales(p, wide, &s), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_passport_scales: the passport of features.4 is 24x4x4 for 48 filters of 3x3; the model's unit takes 48x4x4 and has 96 of 3x3");
    ipr_clear(c);
    memset(&md, 0, sizeof md);
    md.arch = IPR_LENET;
    CHECK_EQ_I(ipr_passport_detect(p, ipr_cnn_new(c, &md), &det), IPR_E_SHAPE);
    CHECK(strstr(ipr_message(c), "another architecture") != NULL);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_detect(p, elsewhere, &det), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_detect(NULL, m, &det), IPR_E_ARG);
    CHECK_EQ_I(ipr_passport_detect(p, m, NULL), IPR_E_ARG);
    ipr_clear(c);
    CHECK(ipr_passport_fixed(p, NULL) == NULL);
    ipr_clear(c);
    /* the steps: V1 needs bare units, V2 its own scales, V3 triggers */
    pp_batch(c, ds, 0, 8, &x, &y);
    CHECK(ipr_is_poison(ipr_passport_step(p, m, NULL, 0, x, y, NULL)));
    CHECK(strstr(ipr_message(c), "features.4 has a scale of its own; make the model with its bit in ipr_cnn_desc.bare") != NULL);
    ipr_clear(c);
    memset(&d, 0, sizeof d);
    d.scheme = IPR_PASSPORT_V2;
    v2 = ipr_passport_new(m, &d, pp_seed, 32);
    CHECK(ipr_is_poison(ipr_passport_step(v2, pp_model(c, IPR_NORM_GROUP, 0x1c), NULL, 0, x, y, NULL)));
    CHECK(strstr(ipr_message(c), "has no scale of its own") != NULL);
    ipr_clear(c);
    d.scheme = IPR_PASSPORT_V3;
    CHECK(ipr_is_poison(ipr_passport_step(ipr_passport_new(m, &d, pp_seed, 32), m, NULL, 0, x, y, NULL)));
    CHECK_STR(ipr_message(c), "ipr_passport_step: V3 needs triggers");
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_save_licence(v2, "never"), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_detect_own(p, pp_model(c, 0, 0x1c), &det), IPR_E_STATE);
    ipr_clear(c);
    CHECK(ipr_is_poison(ipr_passport_step(NULL, m, NULL, 0, x, y, NULL)));
    ipr_passport_free(NULL);
    CHECK_EQ_I(ipr_passport_count(NULL), 0);
    CHECK(ipr_passport_at(p, 3) == NULL && ipr_passport_at(p, -1) == NULL && ipr_passport_at(NULL, 0) == NULL);
    ipr_close(c);
    ipr_close(c2);
}

/* A model whose files are small: cut at every byte. */
static ipr_cnn *pp_tiny(ipr_ctx *c)
{
    ipr_cnn_desc d = IPR_ZERO;
    d.arch = IPR_LENET;
    d.height = d.width = 16;
    d.norm = IPR_NORM_BATCH;
    return ipr_cnn_new(c, &d);
}

static void pp_cut(ipr_ctx *c, const char *path, const char *other, void *(*load)(ipr_ctx *c, const char *path))
{
    size_t bytes, k;
    char *data = (char *)ipr_file_read(c, path, &bytes);
    FILE *f;
    CHECK(data != NULL);
    for (k = 0; data && k < bytes; k++) {
        f = fopen(other, "wb");
        CHECK(f && fwrite(data, 1, k, f) == k);
        if (f) fclose(f);
        CHECK(load(c, other) == NULL && ipr_status(c) != IPR_OK);
        ipr_clear(c);
    }
    ipr_file_free(c, data);
}

static void *pp_load(ipr_ctx *c, const char *path) { return ipr_passport_load(c, path, NULL); }
static void *pp_load_uchida(ipr_ctx *c, const char *path) { return ipr_uchida_load(c, path); }

TEST(pp_files)
{
    static const char path[] = "ipr_test_passport.tmp", other[] = "ipr_test_passport2.tmp";
    ipr_ctx *c = pp_open();
    ipr_cnn *m = pp_tiny(c);
    ipr_passport_desc d = IPR_ZERO;
    ipr_passport *p, *q;
    const ipr_passport_unit *a, *b;
    const ipr_scales *s;
    ipr_real both[2][32];
    ipr_detection det, det2;
    ipr_uchida_desc ud = IPR_ZERO;
    ipr_uchida *u, *v;
    d.signature = "ok";
    d.units = 3;
    d.sign_weight = 0.25;
    d.l2 = -1;
    p = ipr_passport_new(m, &d, pp_seed, 32);
    if (ipr_passport_save(p, path) != IPR_OK) { ipr_close(c); SKIP("the folder is not writable"); }
    q = ipr_passport_load(c, path, NULL);
    if (CHECK(q != NULL)) {
        a = ipr_passport_at(p, 1);
        b = ipr_passport_at(q, 1);
        CHECK_EQ_I(ipr_passport_count(q), 2);
        CHECK(b->unit == 1 && b->in == a->in && b->height == a->height && b->out == a->out && b->kernel[1] == 5);
        CHECK_STR(b->name, "conv2");
        CHECK(memcmp(ipr_read(c, a->key), ipr_read(c, b->key), sizeof(ipr_real) * (size_t)ipr_count(a->key)) == 0);
        CHECK(memcmp(ipr_read(c, a->mean), ipr_read(c, b->mean), sizeof(ipr_real) * (size_t)ipr_count(a->mean)) == 0);
        CHECK(memcmp(ipr_read(c, a->sign), ipr_read(c, b->sign), sizeof(ipr_real) * (size_t)a->out) == 0);
        CHECK(memcmp(a->bits, b->bits, (size_t)a->out) == 0 && b->text_bits == a->text_bits && b->text_bits == 16);
        CHECK(ipr_passport_resolved(q)->sign_weight >= 0.25 && ipr_passport_resolved(q)->sign_weight <= 0.25);
        CHECK_NEAR(ipr_passport_resolved(q)->l2, 0, 0);
        CHECK_NEAR(ipr_passport_resolved(q)->margin, 0.1, 1e-15);
        CHECK_EQ_I(ipr_passport_detect(p, m, &det), IPR_OK);
        CHECK_EQ_I(ipr_passport_detect(q, m, &det2), IPR_OK);
        CHECK(memcmp(&det, &det2, sizeof det) == 0);
    }
    pp_cut(c, path, other, pp_load);
    /* the licence runs the model, and holds neither passports nor signature */
    CHECK_EQ_I(ipr_passport_save_licence(p, other), IPR_OK);
    q = ipr_passport_load(c, other, NULL);
    if (CHECK(q != NULL)) {
        CHECK(ipr_passport_at(q, 0)->key == NULL && ipr_passport_at(q, 0)->bits == NULL && ipr_passport_at(q, 0)->text_bits == 0);
        s = ipr_passport_fixed(p, m);
        memcpy(both[0], ipr_read(c, s->scale[1]), 16 * sizeof(ipr_real));
        memcpy(both[0] + 16, ipr_read(c, s->bias[1]), 16 * sizeof(ipr_real));
        s = ipr_passport_fixed(q, m);
        memcpy(both[1], ipr_read(c, s->scale[1]), 16 * sizeof(ipr_real));
        memcpy(both[1] + 16, ipr_read(c, s->bias[1]), 16 * sizeof(ipr_real));
        CHECK(memcmp(both[0], both[1], sizeof both[0]) == 0);
        CHECK_EQ_I(ipr_passport_detect(q, m, &det), IPR_E_STATE);
        ipr_clear(c);
        CHECK_EQ_I(ipr_passport_save(q, "never"), IPR_E_STATE);
        ipr_clear(c);
        CHECK(ipr_passport_fresh(q, 0, NULL, 1) == NULL);
        ipr_clear(c);
        CHECK(ipr_is_poison(ipr_passport_loss(q, s)));
        ipr_clear(c);
        CHECK_EQ_I(ipr_passport_set(q, 0, 0, both[0], NULL), IPR_E_ARG);
        ipr_clear(c);
        CHECK(ipr_passport_clone(q) != NULL);
    }
    CHECK_EQ_I(ipr_passport_save_licence(p, path), IPR_OK);
    pp_cut(c, path, other, pp_load);
    /* foreign files: a model, a trigger set */
    CHECK_EQ_I(ipr_params_save(m->params, other, NULL), IPR_OK);
    CHECK(ipr_passport_load(c, other, NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_FORMAT);
    CHECK(strstr(ipr_message(c), "is not a passport or licence file (ipr.secret is missing)") != NULL);
    ipr_clear(c);
    CHECK(ipr_passport_load(c, "no such file", NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_MISSING);
    ipr_clear(c);
    ud.bits = 20;
    ud.signature = "u!";
    ud.unit = "conv1";
    ud.weight = 0.125;
    u = ipr_uchida_new(m, &ud, pp_seed, 32);
    CHECK_EQ_I(ipr_uchida_save(u, path), IPR_OK);
    v = ipr_uchida_load(c, path);
    if (CHECK(v != NULL)) {
        CHECK(v->unit == 0 && v->bits == 20 && v->inputs == 25 && v->text_bits == 16);
        CHECK_STR(v->name, "conv1");
        CHECK_NEAR(v->weight, 0.125, 1e-9);
        CHECK(memcmp(ipr_read(c, u->projection), ipr_read(c, v->projection), sizeof(ipr_real) * 500) == 0);
        CHECK(memcmp(ipr_read(c, u->target), ipr_read(c, v->target), sizeof(ipr_real) * 20) == 0);
    }
    pp_cut(c, path, other, pp_load_uchida);
    CHECK(ipr_passport_load(c, path, NULL) == NULL);
    ipr_clear(c);
    remove(path);
    remove(other);
    ipr_close(c);
}

/* An allocator that looks at what is given back: no block may still hold the secret. */
typedef struct pp_watch { uint8_t secret[16]; long found; } pp_watch;
static void *pp_watch_alloc(void *user, size_t n) { (void)user; return calloc(1, n); }
static void pp_watch_free(void *user, void *p, size_t n)
{
    pp_watch *w = (pp_watch *)user;
    size_t i;
    for (i = 0; p && i + sizeof w->secret <= n; i++) w->found += memcmp((uint8_t *)p + i, w->secret, sizeof w->secret) == 0;
    free(p);
}

TEST(pp_wiped)
{
    pp_watch w;
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    ipr_cnn *m;
    ipr_passport *p, *q;
    ipr_uchida *u;
    int what;
    memset(&w, 0xa5, sizeof w);
    w.found = 0;
    d.allocator.alloc_fn = pp_watch_alloc;
    d.allocator.free_fn = pp_watch_free;
    d.allocator.user = &w;
    for (what = 0; what < 4; what++) {
        c = ipr_open(&d, NULL);
        m = pp_tiny(c);
        p = ipr_passport_new(m, NULL, pp_seed, 32);
        u = ipr_uchida_new(m, NULL, pp_seed, 32);
        ipr_passport_fixed(p, m);
        memcpy(w.secret, what == 0 ? (const void *)ipr_read(c, ipr_passport_at(p, 0)->key)
                       : what == 1 ? (const void *)ipr_read(c, ipr_passport_at(p, 0)->mean)
                       : what == 2 ? (const void *)ipr_read(c, u->projection)
                                   : (const void *)ipr_passport_at(p, 0)->bits, 16);
        q = ipr_passport_clone(p);
        ipr_passport_free(q);
        ipr_passport_free(p);
        ipr_uchida_free(u);
        ipr_cnn_free(m);
        ipr_close(c);
        CHECK_EQ_I(w.found, 0);
        memset(w.secret, 0xa5, sizeof w.secret);
    }
}

typedef struct pp_grad { ipr_cnn *m; ipr_passport *p; ipr_uchida *u; ipr_dataset *ds; int what; } pp_grad;
static IPR_TEST_MAYBE ipr_tensor *pp_grad_loss(ipr_ctx *c, void *user)
{
    pp_grad *g = (pp_grad *)user;
    ipr_tensor *x, *y;
    ipr_scales s;
    if (g->what == 0) {
        ipr_passport_scales(g->p, g->m, &s);
        return ipr_add(c, ipr_passport_loss(g->p, &s), ipr_sum(c, ipr_mul(c, s.scale[3], ipr_square(c, s.bias[3]))));
    }
    if (g->what == 3) return ipr_uchida_loss(g->u, g->m);
    pp_batch(c, g->ds, 0, 2, &x, &y);
    return ipr_passport_step(g->p, g->m, NULL, 0, x, y, NULL);
}

TEST(pp_gradients)
{
#if !IPR_REAL_IS_DOUBLE
    SKIP("needs IPR_REAL=double");
#else
    ipr_ctx *c = pp_open();
    ipr_passport_desc d = IPR_ZERO;
    pp_grad g = IPR_ZERO;
    ipr_params *only = ipr_params_new(c);
    g.ds = pp_bars(c, 3, 8);
    g.m = pp_model(c, IPR_NORM_GROUP, 0);
    (void)only;
    for (g.what = 0; g.what < 4; g.what++) {
        d.scheme = g.what == 2 ? IPR_PASSPORT_V2 : IPR_PASSPORT_V1;
        if (g.what == 1) g.m = pp_model(c, IPR_NORM_GROUP, 0x1c);
        if (g.what == 2) g.m = pp_model(c, IPR_NORM_GROUP, 0);
        g.p = ipr_passport_new(g.m, &d, pp_seed, 32);
        if (g.what == 3) g.u = ipr_uchida_new(g.m, NULL, pp_seed, 32);
        CHECK_NEAR(ipr_gradcheck(c, g.m->params, pp_grad_loss, &g, 1e-5, 6), 0, g.what == 0 || g.what == 3 ? 1e-8 : 2e-6);
    }
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
#endif
}

/* Table VIII: the learned scales of the first 48 channels of Conv5 spell "this" and "is". */
TEST(pp_detection)
{
    static const double table[48] = {
        -0.1113, 0.2344, 0.2494, 0.4885, -0.1021, 0.3889, -0.1225, -0.1100, /* t */
        -0.3401, 0.1705, 0.1705, -0.3338, 0.1884, -0.1215, -0.1620, -0.1100, /* h */
        -0.1113, 0.1620, 0.1754, -0.2698, 0.1958, -0.1007, -0.3923, 0.4288, /* i */
        -0.1125, 0.4355, 0.1524, 0.1073, -0.1922, -0.1100, 0.1300, 0.1400, /* s */
        -0.1657, 0.1665, 0.4633, -0.2668, 0.3830, -0.1789, -0.1077, 0.1585, /* i */
        -0.2257, 0.2916, 0.2169, 0.1862, -0.1100, -0.1200, 0.1300, 0.1400 /* s */ };
    ipr_ctx *c = pp_open();
    ipr_cnn *m = pp_model(c, 0, 0);
    ipr_passport_desc d = IPR_ZERO;
    ipr_passport *p;
    ipr_detection det;
    ipr_real *w;
    ipr_index i;
    d.units = 4; /* features.4, 48 channels */
    d.signature = "thisis";
    p = ipr_passport_new(m, &d, pp_seed, 32);
    w = ipr_write(c, m->unit[2].norm.weight, 1);
    for (i = 0; i < 48; i++) w[i] = (ipr_real)table[i];
    CHECK_EQ_I(ipr_passport_detect_own(p, m, &det), IPR_OK);
    CHECK_STR(det.text, "thisis");
    CHECK(det.exact == 1 && det.units == 1 && det.matched[0] == 48 && det.of[0] == 48 && det.text_matched == 48 && det.text_of == 48);
    CHECK_NEAR(det.rate, 100, 0);
    w[0] = -w[0]; /* "t" with its first bit set is no letter */
    w[16] = 0;    /* nothing matches 0 or NaN */
    w[24] = (ipr_real)NAN;
    CHECK_EQ_I(ipr_passport_detect_own(p, m, &det), IPR_OK);
    CHECK_STR(det.text, ".hisis");
    CHECK(det.exact == 0 && det.total == 45 && det.total_of == 48);
    CHECK_NEAR(det.rate, 100.0 * 45 / 48, 1e-12);
    /* through the weights: W = b m^T has gamma = b |m|^2, so every sign is right; -W none */
    {
        const ipr_passport_unit *a = ipr_passport_at(p, 0);
        const ipr_index row = ipr_dim(a->mean, 1);
        ipr_real *k = ipr_write(c, m->unit[2].conv.weight, 1);
        const ipr_real *mean = ipr_read(c, a->mean);
        ipr_index j;
        for (i = 0; i < 48; i++)
            for (j = 0; j < row; j++) k[i * row + j] = (i == 3 ? -mean[j] : mean[j]) * (ipr_real)a->bits[i];
        CHECK_EQ_I(ipr_passport_detect(p, m, &det), IPR_OK);
        CHECK_EQ_I(det.total, 47);
        CHECK_STR(det.text, "dhisis"); /* 0x74 without bit 3 from the left, 0x10: 0x64 */
    }
    ipr_close(c);
}

/* ---- trained models, made once for the tests that follow ---- */

typedef struct pp_trained {
    ipr_ctx *c;
    ipr_dataset *ds, *test, *triggers;
    ipr_trigger_mix mix;
    ipr_cnn *m[4]; /* by scheme; 0: unmarked, group norm */
    ipr_passport *p[4];
} pp_trained;
static pp_trained pp_all;

/* Short trainings of the three schemes on the bars. */
static pp_trained *pp_get(void)
{
    pp_trained *t = &pp_all;
    int scheme;
    if (t->c) return t;
    t->c = pp_open();
    t->ds = pp_bars(t->c, 1, 256);
    t->test = pp_bars(t->c, 2, 64);
    t->triggers = ipr_triggers_new(t->c, t->ds, 8, 0.6, pp_seed, 32, NULL);
    t->mix.set = t->triggers;
    t->mix.norm = &pp_norm;
    for (scheme = 0; scheme <= IPR_PASSPORT_V3; scheme++) {
        const int v1 = scheme == IPR_PASSPORT_V1;
        ipr_passport_desc d = IPR_ZERO;
        d.scheme = scheme;
        d.signature = "IPR";
        t->m[scheme] = pp_model(t->c, v1 ? IPR_NORM_BATCH : IPR_NORM_GROUP, v1 ? 0x1c : 0);
        if (scheme) t->p[scheme] = ipr_passport_new(t->m[scheme], &d, pp_seed, 32);
        pp_train(t->m[scheme], t->p[scheme], scheme == IPR_PASSPORT_V3 ? &t->mix : NULL, t->ds, scheme ? 120 : 60, 0.004);
    }
    CHECK_EQ_I(ipr_status(t->c), IPR_OK);
    return t;
}

static double pp_accuracy(ipr_cnn *m, const ipr_scales *s)
{
    return ipr_cnn_accuracy(m, pp_all.test, NULL, 64, &pp_norm, s);
}

/* Greatest difference of two nets' logits on the test images. */
static double pp_differ(ipr_ctx *c, ipr_cnn *a, const ipr_scales *sa, ipr_cnn *b, const ipr_scales *sb, ipr_tensor *x)
{
    ipr_tensor *ya = ipr_cnn_forward(a, x, sa), *yb = ipr_cnn_forward(b, x, sb);
    double worst = 0;
    ipr_index i;
    if (ipr_is_poison(ya) || ipr_is_poison(yb)) return 1e30;
    for (i = 0; i < ipr_count(ya); i++) {
        const double d = fabs((double)ipr_read(c, ya)[i] - (double)ipr_read(c, yb)[i]);
        worst = d > worst || d != d ? d : worst;
    }
    return worst;
}

/* The signature is whole, V1 needs its passports, V2 and V3 ship without, V3 knows its triggers in both branches. */
TEST(pp_schemes)
{
    PP_SLOW
    pp_trained *t = pp_get();
    int scheme;
    for (scheme = IPR_PASSPORT_V1; scheme <= IPR_PASSPORT_V3; scheme++) {
        ipr_cnn *m = t->m[scheme], *fresh_net = pp_model(t->c, scheme == 1 ? 0 : IPR_NORM_GROUP, 0);
        ipr_passport *p = t->p[scheme], *fake = ipr_passport_fresh(p, 0, NULL, 5);
        ipr_detection det;
        CHECK_EQ_I(ipr_passport_detect(p, fresh_net, &det), IPR_OK);
        CHECK(!det.exact && det.rate > 25 && det.rate < 75); /* before training: chance */
        CHECK_EQ_I(ipr_passport_detect(p, m, &det), IPR_OK);
        CHECK(det.exact && det.total == 112 && det.text_matched == 24 && det.rate >= 100);
        CHECK_STR(det.text, "IPR");
        CHECK(pp_accuracy(m, ipr_passport_fixed(p, m)) > 90);
        CHECK(pp_accuracy(m, ipr_passport_fixed(fake, m)) < 60);
        if (scheme != IPR_PASSPORT_V1) CHECK(pp_accuracy(m, NULL) > 90);
        if (scheme == IPR_PASSPORT_V3) {
            CHECK(ipr_cnn_accuracy(m, t->triggers, NULL, 8, &pp_norm, NULL) > 90);
            CHECK(ipr_cnn_accuracy(m, t->triggers, NULL, 8, &pp_norm, ipr_passport_fixed(p, m)) > 90);
        }
        CHECK(ipr_params_find(m->params, "features.4.key") == NULL);
        ipr_passport_free(fake);
        ipr_cnn_free(fresh_net);
    }
    CHECK_EQ_I(ipr_status(t->c), IPR_OK);
}

/* V2's step is what it says: CE of both branches plus the sign loss, all from the same weights. */
TEST(pp_step_is_algorithm_6)
{
    PP_SLOW
    pp_trained *t = pp_get();
    ipr_ctx *c = t->c;
    ipr_cnn *m = t->m[2];
    ipr_tensor *x, *y, *loss, *logits, *want;
    ipr_scales s;
    ipr_index i, k;
    double hinge = 0;
    pp_batch(c, t->test, 0, 8, &x, &y);
    loss = ipr_passport_step(t->p[2], m, NULL, 0, x, y, &logits);
    CHECK_EQ_I(ipr_dim(logits, 0), 8);
    ipr_passport_scales(t->p[2], m, &s);
    want = ipr_add(c, ipr_cross_entropy(c, ipr_cnn_forward(m, x, NULL), y), ipr_cross_entropy(c, ipr_cnn_forward(m, x, &s), y));
    for (i = 0; i < 3; i++) {
        const ipr_passport_unit *a = ipr_passport_at(t->p[2], (int)i);
        for (k = 0; k < a->out; k++) {
            const double g = (double)ipr_read(c, s.scale[a->unit])[k], h = 0.1 - a->bits[k] * g;
            hinge += 0.1 * (h > 0 ? h : 0) + 1e-5 * g * g;
        }
    }
    CHECK_NEAR((double)ipr_item(c, loss), (double)ipr_item(c, want) + hinge, 1e-5);
    loss = ipr_passport_step(t->p[2], m, &t->mix, 3, x, y, &logits); /* two triggers more in both branches */
    CHECK_EQ_I(ipr_dim(logits, 0), 8);
    CHECK((double)ipr_item(c, loss) > 0);
    ipr_step_end(c);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
}

TEST(pp_verdict)
{
    PP_SLOW
    pp_trained *t = pp_get();
    ipr_ctx *c = t->c;
    ipr_passport_test test = IPR_ZERO;
    ipr_passport_report r;
    ipr_passport_desc d = IPR_ZERO;
    ipr_passport *other;
    ipr_cnn *copy;
    double scores[99], bits[99];
    ipr_tensor *x, *y;
    ipr_index i;
    int scheme;
    test.fresh = 99;
    test.alpha = 0.01;
    test.norm = &pp_norm;
    test.scores = scores;
    test.bits = bits;
    for (scheme = IPR_PASSPORT_V1; scheme <= IPR_PASSPORT_V2; scheme++) {
        CHECK_EQ_I(ipr_passport_verify(t->p[scheme], t->m[scheme], t->test, NULL, 24, &test, &r), IPR_OK);
        CHECK_EQ_I(r.signature.decision, IPR_OWNED);
        CHECK_EQ_I(r.function.decision, IPR_OWNED);
        CHECK_EQ_I(r.signature_binomial.decision, IPR_OWNED);
        CHECK_NEAR(r.signature.p_value, 1.0 / 100, 1e-12);
        CHECK(r.detected.exact && r.signature_binomial.matched == 112 && r.signature_binomial.null_of == 99 * 112);
        CHECK(r.signature_binomial.null_rate > 0.3 && r.signature_binomial.null_rate < 0.7);
        CHECK_NEAR(r.accuracy, ipr_cnn_accuracy(t->m[scheme], t->test, NULL, 24, &pp_norm, ipr_passport_fixed(t->p[scheme], t->m[scheme])), 1e-9);
        CHECK(r.definition.V == 1 && r.definition.F == (scheme == 2) && r.definition.holds == (scheme == 2));
        CHECK(scheme == 1 ? r.accuracy_public < 0 : r.accuracy_public > 90);
        for (i = 0; i < 99; i++) CHECK(scores[i] < r.score && bits[i] < 112);
    }
    {   /* the score is what it says: one fresh passport's, by hand */
        ipr_passport *f = ipr_passport_fresh(t->p[2], 0, NULL, 1);
        static double prob[24 * 4];
        double sum = 0;
        CHECK_EQ_I(ipr_cnn_predict(t->m[2], t->test, NULL, 24, &pp_norm, ipr_passport_fixed(f, t->m[2]), NULL, prob), IPR_OK);
        for (i = 0; i < 24; i++) sum += prob[i * 4 + ipr_dataset_label(t->test, i)] / 24;
        CHECK_NEAR(sum, scores[0], 1e-6);
        ipr_passport_free(f);
    }
    test.target = 99;
    test.epsilon_f = 10;
    CHECK_EQ_I(ipr_passport_verify(t->p[1], t->m[1], t->test, NULL, 24, &test, &r), IPR_OK);
    CHECK(r.definition.F == 1 && r.definition.holds == 1);
    /* an unmarked model, and somebody else's passports on the marked one, are not owned */
    CHECK_EQ_I(ipr_passport_verify(t->p[2], t->m[0], t->test, NULL, 24, &test, &r), IPR_OK);
    CHECK(r.signature.decision == IPR_NOT_OWNED && r.function.decision == IPR_NOT_OWNED && r.signature_binomial.decision == IPR_NOT_OWNED);
    CHECK(r.definition.V == 0 && r.definition.holds == 0);
    d.scheme = IPR_PASSPORT_V2;
    other = ipr_passport_new(t->m[2], &d, "somebody else's seed of 32 bytes", 32);
    CHECK_EQ_I(ipr_passport_verify(other, t->m[2], t->test, NULL, 24, &test, &r), IPR_OK);
    CHECK(r.signature.decision == IPR_NOT_OWNED && r.function.decision == IPR_NOT_OWNED);
    /* NaN or infinite weights: undecided, never owned */
    for (i = 0; i < 2; i++) {
        copy = ipr_cnn_clone(t->m[2]);
        ipr_write(c, i ? copy->unit[3].conv.weight : copy->head[0].bias, 1)[0] = i ? (ipr_real)INFINITY : (ipr_real)NAN;
        test.reference = i ? t->m[2]->params : NULL;
        CHECK_EQ_I(ipr_passport_verify(t->p[2], copy, t->test, NULL, 24, &test, &r), IPR_OK);
        CHECK(r.signature.decision == IPR_UNDECIDED && r.function.decision == IPR_UNDECIDED && r.signature_binomial.decision == IPR_UNDECIDED);
        CHECK(r.definition.V == 0 && r.definition.F == 0);
        ipr_cnn_free(copy);
    }
    /* flipped, permuted and scaled: the same function, another signature; undone against the committed weights */
    copy = ipr_cnn_clone(t->m[2]);
    CHECK_EQ_I(ipr_attack_cnn_gauge(copy, 0.5, 1, 3, 9), IPR_OK);
    pp_batch(c, t->test, 0, 16, &x, &y);
    CHECK(pp_differ(c, t->m[2], NULL, copy, NULL, x) < 1e-3);
    ipr_step_end(c);
    test.reference = NULL;
    CHECK_EQ_I(ipr_passport_verify(t->p[2], copy, t->test, NULL, 24, &test, &r), IPR_OK);
    CHECK(r.signature.decision != IPR_OWNED && r.detected.rate > 25 && r.detected.rate < 75);
    CHECK_NEAR(r.accuracy_public, ipr_cnn_accuracy(t->m[2], t->test, NULL, 24, &pp_norm, NULL), 1e-9);
    test.reference = t->m[2]->params;
    CHECK_EQ_I(ipr_passport_verify(t->p[2], copy, t->test, NULL, 24, &test, &r), IPR_OK);
    CHECK(r.signature.decision == IPR_OWNED && r.function.decision == IPR_OWNED && r.detected.exact);
    CHECK(r.moved > 50 && r.turned > 20 && r.accuracy > 90);
    ipr_cnn_free(copy);
    /* bad requests */
    test.reference = NULL;
    test.alpha = 2;
    CHECK_EQ_I(ipr_passport_verify(t->p[2], t->m[2], t->test, NULL, 24, &test, &r), IPR_E_RANGE);
    CHECK_EQ_I(r.signature.decision, IPR_UNDECIDED);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_verify(t->p[2], t->m[2], t->test, NULL, 65, NULL, &r), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_verify(t->p[2], t->m[2], t->test, NULL, 64, NULL, NULL), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_passport_verify(NULL, t->m[2], t->test, NULL, 64, NULL, &r), IPR_E_ARG);
    test.alpha = 0.001; /* 99 cannot decide at this level */
    CHECK_EQ_I(ipr_passport_verify(t->p[2], t->m[2], t->test, NULL, 24, &test, &r), IPR_OK);
    CHECK_EQ_I(r.signature.decision, IPR_UNDECIDED);
    CHECK(ipr_definition_1(90, 92, 3, 1).holds == 1 && ipr_definition_1(88, 92, 3, 1).holds == 0 && ipr_definition_1(90, 92, 3, 0).holds == 0);
    CHECK(ipr_definition_1((double)NAN, 92, 3, 1).F == 0 && ipr_definition_1(92, 92, -1, 1).F == 0);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
}

/* Random norms and statistics, so that nothing is invariant by luck. */
static void pp_shake(ipr_cnn *m)
{
    ipr_rng r = ipr_rng_make(3, 33, 0);
    ipr_index k;
    int u, i;
    for (u = 0; u < m->units; u++) {
        ipr_tensor *t[4];
        t[0] = m->unit[u].norm.weight;
        t[1] = m->unit[u].norm.bias;
        t[2] = m->unit[u].norm.running_mean;
        t[3] = m->unit[u].norm.running_var;
        for (i = 0; i < 4; i++)
            for (k = 0; t[i] && k < ipr_count(t[i]); k++)
                ipr_write(m->c, t[i], 1)[k] = (ipr_real)(i == 3 ? 0.5 + ipr_rng_uniform(&r) : i == 0 ? (ipr_rng_uniform(&r) < 0.3 ? -1 : 1) * (0.6 + ipr_rng_uniform(&r)) : 0.4 * ipr_rng_normal(&r));
    }
}

/* Invariant changes leave the logits, and the alignment takes them back, in every kind of network. */
TEST(pp_gauge)
{
    static const struct { int arch, norm; } nets[] = { { IPR_ALEXNET, IPR_NORM_BATCH }, { IPR_ALEXNET, IPR_NORM_GROUP }, { IPR_RESNET18, IPR_NORM_BATCH }, { IPR_RESNET18, IPR_NORM_GROUP }, { IPR_RESNET50, IPR_NORM_BATCH }, { IPR_VGG16, IPR_NORM_BATCH }, { IPR_KEYNET_CNN, IPR_NORM_BATCH }, { IPR_LENET, IPR_NORM_NONE } };
    size_t k;
    int what, u;
    for (k = 0; k < sizeof nets / sizeof nets[0]; k++) {
        ipr_ctx *c = pp_open();
        ipr_cnn_desc d = IPR_ZERO;
        ipr_index xd[4], i, moved, turned, bad;
        ipr_rng r = ipr_rng_make(1, 44, 0);
        ipr_cnn *m, *n, *back;
        ipr_tensor *x;
        d.arch = nets[k].arch;
        d.norm = nets[k].norm;
        d.scale = d.arch == IPR_RESNET50 ? 0.03 : 0.125;
        d.group_channels = 8;
        d.channels = 1;
        d.height = d.width = d.arch == IPR_VGG16 ? 32 : 16;
        m = ipr_cnn_new(c, &d);
        if (!CHECK(m != NULL)) { ipr_close(c); continue; }
        pp_shake(m);
        xd[0] = 2; xd[1] = 1; xd[2] = d.height; xd[3] = d.width;
        for (what = 0; what < 4; what++) { /* flips, places, gains, all */
            x = ipr_new(c, 4, xd);
            for (i = 0; i < ipr_count(x); i++) ipr_write(c, x, 1)[i] = (ipr_real)ipr_rng_normal(&r);
            n = ipr_cnn_clone(m);
            CHECK_EQ_I(ipr_attack_cnn_gauge(n, what == 0 || what == 3 ? 0.5 : 0, what == 1 || what == 3, what >= 2 ? 4 : 0, 5), IPR_OK);
            {   /* relative to the logits, which are large in deep nets of random weights */
                const ipr_real *y = ipr_read(c, ipr_cnn_forward(m, x, NULL));
                double most = 1;
                for (i = 0; y && i < 2 * m->desc.classes; i++) most = fabs((double)y[i]) > most ? fabs((double)y[i]) : most;
                CHECK(pp_differ(c, m, NULL, n, NULL, x) < 1e-4 * most);
            }
            back = ipr_cnn_align(n, m->params, &moved, &turned);
            if (!CHECK(back != NULL)) break;
            for (bad = 0, u = 0; u < m->units; u++) { /* gains below 1.05 are left as they are */
                const ipr_real *a = ipr_read(c, m->unit[u].conv.weight), *b = ipr_read(c, back->unit[u].conv.weight);
                const double loose = what >= 2 ? 0.11 : 1e-4;
                for (i = 0; i < ipr_count(m->unit[u].conv.weight); i++) bad += !(fabs((double)a[i] - (double)b[i]) < loose * fabs((double)a[i]) + 1e-5);
            }
            if (d.norm != IPR_NORM_NONE || what < 2) CHECK_EQ_I(bad, 0); /* without norms the filters keep their gains */
            if (what == 0 || what == 3) CHECK((turned > 0) == (d.norm != IPR_NORM_NONE && d.arch != IPR_KEYNET_CNN));
            if (what == 1) CHECK(moved > 4 && turned == 0);
            if (what == 0) CHECK(moved == 0);
            ipr_cnn_free(n);
            ipr_cnn_free(back);
            ipr_step_end(c);
        }
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_close(c);
    }
}

/* Forging by linear algebra: exact passports for any target, and passports that differ without a difference. */
TEST(pp_linear_algebra)
{
    PP_SLOW
    pp_trained *t = pp_get();
    ipr_ctx *c = t->c;
    ipr_cnn *m = t->m[2], *res;
    ipr_passport *p = t->p[2], *q;
    ipr_forgery *f = ipr_attack_flip_scales(p, m, 0, 0, 1);
    ipr_rng r = ipr_rng_make(8, 8, 8);
    ipr_cnn_desc d = IPR_ZERO;
    ipr_detection det;
    ipr_tensor *x, *y;
    double error = -1, rms = -1, far = 0, apart = 0, n = 0;
    ipr_index k;
    int i, role;
    if (!CHECK(f != NULL)) return;
    /* null space: every value moves, nothing changes */
    q = ipr_attack_nullspace(p, 0.7, 5);
    for (i = 0; i < 3; i++) {
        const ipr_passport_unit *a = ipr_passport_at(p, i), *b = ipr_passport_at(q, i);
        for (k = 0; k < ipr_count(a->mean); k++) far = fmax(far, fabs((double)ipr_read(c, a->mean)[k] - (double)ipr_read(c, b->mean)[k]));
        for (k = 0; k < ipr_count(a->key); k++, n++) {
            const double e = (double)ipr_read(c, a->key)[k] - (double)ipr_read(c, b->key)[k];
            apart += e * e;
        }
    }
    CHECK(far < 1e-6);
    CHECK_NEAR(sqrt(apart / n), 0.7, 0.03);
    pp_batch(c, t->test, 0, 16, &x, &y);
    CHECK(pp_differ(c, m, ipr_passport_fixed(p, m), m, ipr_passport_fixed(q, m), x) < 1e-4);
    CHECK_EQ_I(ipr_passport_detect(q, m, &det), IPR_OK);
    CHECK(det.exact);
    ipr_passport_free(q);
    CHECK(ipr_attack_nullspace(p, 0, 5) == NULL);
    ipr_clear(c);
    /* a target: other scales and biases of either sign */
    for (i = 0; i < 3; i++)
        for (role = 0; role < 2; role++) {
            const ipr_passport_unit *a = ipr_passport_at(p, i);
            ipr_real *v = ipr_write(c, role ? f->scales.bias[a->unit] : f->scales.scale[a->unit], 0);
            for (k = 0; k < a->out; k++) v[k] = (ipr_real)ipr_rng_normal(&r);
        }
    q = ipr_attack_linear(p, m, &f->scales, &error, &rms);
    CHECK(q != NULL && error >= 0 && error < 1e-5 && rms > 0.5);
    CHECK(pp_differ(c, m, &f->scales, m, ipr_passport_fixed(q, m), x) < 1e-3);
    CHECK_EQ_I(ipr_passport_detect(q, m, &det), IPR_OK);
    CHECK(det.exact); /* of the forged signature, the signs of the target */
    CHECK(ipr_passport_detect_scales(p, &f->scales, &det) == IPR_OK && det.rate > 25 && det.rate < 75);
    ipr_passport_free(q);
    {   /* its own scales are a target that needs no change */
        const ipr_scales *own = ipr_passport_fixed(p, m);
        q = ipr_attack_linear(p, m, own, &error, NULL);
        CHECK(error < 1e-5);
        for (i = 0; q && i < 3; i++)
            for (k = 0; k < ipr_count(ipr_passport_at(p, i)->key); k++)
                CHECK_NEAR((double)ipr_read(c, ipr_passport_at(p, i)->key)[k], (double)ipr_read(c, ipr_passport_at(q, i)->key)[k], 1e-4);
        ipr_passport_free(q);
    }
    f->scales.bias[3] = NULL;
    CHECK(ipr_attack_linear(p, m, &f->scales, NULL, NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_SHAPE);
    ipr_clear(c);
    ipr_forgery_free(f);
    ipr_step_end(c);
    /* more filters than inputs (a ResNet's 1x1 shortcut): as near as it goes, not exact */
    d.arch = IPR_RESNET9;
    d.scale = 0.125;
    d.channels = 1;
    d.height = d.width = 16;
    res = ipr_cnn_new(c, &d);
    q = ipr_passport_new(res, NULL, pp_seed, 32);
    CHECK_EQ_I(ipr_passport_count(q), 3);
    f = ipr_attack_flip_scales(q, res, 0, 0.5, 1);
    p = ipr_attack_linear(q, res, &f->scales, &error, &rms);
    CHECK(p != NULL && error > 1e-3 && error < 10);
    ipr_passport_free(p);
    ipr_passport_free(q);
    ipr_forgery_free(f);
    ipr_cnn_free(res);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
}

TEST(pp_bake_and_flip)
{
    PP_SLOW
    pp_trained *t = pp_get();
    ipr_ctx *c = t->c;
    ipr_cnn *plain;
    ipr_forgery *f;
    ipr_detection det;
    ipr_tensor *x, *y;
    double flips;
    plain = ipr_attack_bake(t->m[1], t->p[1]);
    if (!CHECK(plain != NULL)) return;
    CHECK(plain->desc.bare == 0 && plain->unit[2].norm.weight != NULL);
    pp_batch(c, t->test, 0, 16, &x, &y);
    CHECK(pp_differ(c, t->m[1], ipr_passport_fixed(t->p[1], t->m[1]), plain, NULL, x) < 1e-6);
    ipr_step_end(c);
    CHECK(ipr_passport_detect_own(t->p[1], plain, &det) == IPR_OK && det.exact);
    CHECK(ipr_passport_detect(t->p[1], plain, &det) == IPR_OK && det.exact);
    /* without bare units it can be turned like any net, and a signature read from signs alone is gone */
    CHECK_EQ_I(ipr_attack_cnn_gauge(t->m[1], 0.5, 0, 0, 1), IPR_E_STATE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_attack_cnn_gauge(plain, 0.5, 0, 0, 1), IPR_OK);
    CHECK(ipr_passport_detect_own(t->p[1], plain, &det) == IPR_OK && det.rate > 25 && det.rate < 75);
    CHECK_EQ_I(ipr_attack_cnn_gauge(plain, 2, 0, 0, 1), IPR_E_RANGE);
    ipr_clear(c);
    ipr_cnn_free(plain);
    CHECK(ipr_attack_bake(t->m[1], NULL) == NULL);
    ipr_clear(c);
    for (flips = 0; flips <= 1; flips += 0.25) {
        f = ipr_attack_flip_scales(t->p[1], t->m[1], 0, flips, 3);
        CHECK(ipr_passport_detect_scales(t->p[1], &f->scales, &det) == IPR_OK);
        CHECK_EQ_I(det.total, 112 - (ipr_index)(flips * 112));
        CHECK(flips > 0 ? flips < 0.5 || pp_accuracy(t->m[1], &f->scales) < 75 : pp_accuracy(t->m[1], &f->scales) > 90);
        ipr_forgery_free(f);
    }
    f = ipr_attack_flip_scales(t->p[1], t->m[1], 1u << 3, 0.5, 3); /* one unit of three */
    CHECK(ipr_passport_detect_scales(t->p[1], &f->scales, &det) == IPR_OK);
    CHECK(det.matched[0] == 48 && det.matched[1] == 16 && det.matched[2] == 32);
    ipr_forgery_free(f);
    CHECK(ipr_attack_flip_scales(t->p[1], t->m[1], 1, 0.5, 3) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_clear(c);
}

/* Fine-tuning and transfer: what is trained, what is kept, and what the passports then read. */
TEST(pp_transfer)
{
    PP_SLOW
    pp_trained *t = pp_get();
    ipr_ctx *c = t->c;
    ipr_cnn_task task = IPR_ZERO;
    ipr_attack_desc d = IPR_ZERO;
    ipr_detection det;
    ipr_cnn *n, *old;
    int32_t labels[256];
    ipr_dataset *two;
    ipr_index i;
    int mode;
    for (i = 0; i < 256; i++) labels[i] = ipr_dataset_label(t->ds, i) / 2;
    two = ipr_dataset_u8(c, "two", "", 256, 3, t->ds->dims, t->ds->u8, labels, 2, 0); /* another task: lying or standing */
    task.augment.norm = &pp_norm;
    d.epochs = 2;
    for (mode = IPR_FTAL; mode <= IPR_RTLL; mode++) {
        const int last = mode == IPR_FTLL || mode == IPR_RTLL, anew = mode == IPR_RTAL || mode == IPR_RTLL;
        task.ds = anew ? two : t->ds;
        n = ipr_attack_transfer(t->m[1], t->p[1], mode, 0, &task, &d);
        if (!CHECK(n != NULL)) break;
        CHECK(n->desc.classes == (anew ? 2 : 4) && n->desc.bare == 0);
        CHECK((memcmp(ipr_read(c, n->unit[2].conv.weight), ipr_read(c, t->m[1]->unit[2].conv.weight), 64) == 0) == last);
        CHECK(ipr__needs(n->unit[2].conv.weight) && ipr__needs(n->head[0].bias));
        if (!last || !anew) CHECK(ipr_cnn_accuracy(n, task.ds, NULL, 128, &pp_norm, NULL) > 65);
        CHECK(ipr_passport_detect(t->p[1], n, &det) == IPR_OK && det.rate > 95 && (det.exact || !last));
        ipr_cnn_free(n);
    }
    /* the victim's last layer on tuned features: for triggers */
    task.ds = two;
    n = ipr_attack_transfer(t->m[3], NULL, IPR_RTAL, 0, &task, &d);
    old = ipr_attack_old_head(n, t->m[3]);
    CHECK(old && old->desc.classes == 4);
    CHECK(memcmp(ipr_read(c, old->head[0].weight), ipr_read(c, t->m[3]->head[0].weight), 64) == 0);
    CHECK(memcmp(ipr_read(c, old->unit[4].conv.weight), ipr_read(c, n->unit[4].conv.weight), 64) == 0);
    CHECK(ipr_passport_detect(t->p[3], old, &det) == IPR_OK && det.rate > 95);
    ipr_cnn_free(old);
    ipr_cnn_free(n);
    CHECK(ipr_attack_transfer(t->m[1], NULL, IPR_FTAL, 0, &task, &d) == NULL); /* bare units and no passports */
    CHECK_EQ_I(ipr_status(c), IPR_E_STATE);
    ipr_clear(c);
    CHECK(ipr_attack_transfer(t->m[2], NULL, 0, 0, &task, &d) == NULL);
    ipr_clear(c);
    d.fraction = 2;
    CHECK(ipr_attack_transfer(t->m[2], NULL, IPR_FTAL, 0, &task, &d) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_clear(c);
    ipr_dataset_free(two);
}

static int pp_stop(void *user) { return ++*(int *)user > 3; }

/* Pruning (class-blind), overwriting, relearning, fake3: each does what it claims, and touches only what it says. */
TEST(pp_trained_attacks)
{
    PP_SLOW
    pp_trained *t = pp_get();
    ipr_ctx *c = t->c;
    ipr_cnn_task task = IPR_ZERO;
    ipr_attack_desc d = IPR_ZERO;
    ipr_passport_desc pd = IPR_ZERO;
    ipr_detection det;
    ipr_passport *other, *q;
    ipr_forgery *f;
    ipr_cnn *n = ipr_cnn_clone(t->m[1]);
    double with, error, all = 0;
    ipr_index i, k;
    int kind, calls = 0;
    task.ds = t->ds;
    task.augment.norm = &pp_norm;
    /* pruning leaves the running statistics alone */
    CHECK_EQ_I(ipr_attack_prune(n->params, 0.6, NULL, 0), IPR_OK);
    CHECK(memcmp(ipr_read(c, n->unit[2].norm.running_var), ipr_read(c, t->m[1]->unit[2].norm.running_var), 64) == 0);
    CHECK(ipr_passport_detect(t->p[1], n, &det) == IPR_OK && det.rate > 90);
    ipr_cnn_free(n);
    /* relearning scales and biases: the weights stay, the task is solved again */
    d.epochs = 3;
    d.lr = 0.05;
    for (kind = IPR_FAKE2_2019; kind <= IPR_CERB; kind++) {
        n = ipr_cnn_clone(t->m[1]);
        f = ipr_attack_relearn(n, t->p[1], kind, &task, &d);
        if (!CHECK(f != NULL)) break;
        for (i = 0; i < 5; i++)
            CHECK(memcmp(ipr_read(c, n->unit[i].conv.weight), ipr_read(c, t->m[1]->unit[i].conv.weight), sizeof(ipr_real) * (size_t)ipr_count(n->unit[i].conv.weight)) == 0);
        CHECK(ipr__needs(n->unit[0].conv.weight) && ipr__needs(n->head[0].weight) && !ipr__needs(n->unit[0].norm.running_mean));
        CHECK(ipr_passport_detect_scales(t->p[1], &f->scales, &det) == IPR_OK && !det.exact);
        with = pp_accuracy(n, &f->scales);
        CHECK(with > 30);
        all += with / 5;
        /* turned into passports: the same accuracy, another signature, by linear algebra */
        q = ipr_attack_linear(t->p[1], n, &f->scales, &error, NULL);
        CHECK(q && error < 1e-4);
        CHECK_NEAR(pp_accuracy(n, ipr_passport_fixed(q, n)), with, 1e-9);
        ipr_passport_free(q);
        ipr_forgery_free(f);
        ipr_cnn_free(n);
    }
    CHECK(all > 55); /* chance is 25; nets of this size vary */
    CHECK(ipr_attack_relearn(t->m[1], t->p[1], 6, &task, &d) == NULL);
    ipr_clear(c);
    CHECK(ipr_attack_relearn(t->m[1], t->p[1], 1, NULL, &d) == NULL && ipr_status(c) == IPR_E_ARG);
    ipr_clear(c);
    CHECK(ipr__needs(t->m[1]->head[0].weight)); /* thawed after an error too */
    /* fake3: keys leave, the accuracy stays; bits asked for come */
    d.lr = 0.05;
    q = ipr_attack_fake3(t->m[1], t->p[1], 0.1, 1, &task, &d);
    if (CHECK(q != NULL)) {
        double apart = 0, count = 0;
        for (i = 0; i < 3; i++) {
            const ipr_passport_unit *a = ipr_passport_at(q, (int)i), *b = ipr_passport_at(t->p[1], (int)i);
            ipr_index flipped = 0;
            for (k = 0; k < a->out; k++) flipped += a->bits[k] != b->bits[k];
            CHECK_EQ_I(flipped, a->out / 10);
            for (k = 0; k < ipr_count(a->key); k++, count++) {
                const double e = (double)ipr_read(c, a->key)[k] - (double)ipr_read(c, b->key)[k];
                apart += e * e;
            }
            CHECK(!ipr__needs(a->key));
        }
        CHECK(sqrt(apart / count) > 0.02); /* 0.001 at the start */
        CHECK(ipr_passport_detect(q, t->m[1], &det) == IPR_OK && det.rate > 90);
        CHECK(pp_accuracy(t->m[1], ipr_passport_fixed(q, t->m[1])) > 70);
        ipr_passport_free(q);
    }
    CHECK(ipr_passport_detect(t->p[1], t->m[1], &det) == IPR_OK && det.exact); /* victim and passports as they were */
    CHECK(ipr_attack_fake3(t->m[1], t->p[1], 2, 1, &task, &d) == NULL);
    ipr_clear(c);
    /* overwriting: another owner's passports beside the first one's */
    pd.scheme = IPR_PASSPORT_V2;
    other = ipr_passport_new(t->m[2], &pd, "somebody else's seed of 32 bytes", 32);
    n = ipr_cnn_clone(t->m[2]);
    d.lr = 0.01;
    d.epochs = 6;
    CHECK_EQ_I(ipr_attack_cnn_overwrite(n, other, NULL, &task, &d), IPR_OK);
    CHECK(ipr_passport_detect(other, n, &det) == IPR_OK && det.rate > 80);
    CHECK(ipr_passport_detect(t->p[2], n, &det) == IPR_OK && det.rate > 90);
    d.stop_fn = pp_stop;
    d.stop_user = &calls;
    CHECK_EQ_I(ipr_attack_cnn_overwrite(n, other, NULL, &task, &d), IPR_E_CANCELLED);
    CHECK_EQ_I(calls, 4);
    CHECK_EQ_I(ipr_attack_cnn_overwrite(n, NULL, NULL, &task, &d), IPR_E_ARG);
    ipr_cnn_free(n);
    ipr_passport_free(other);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
}

/* A key that is learnt reaches the scales by the same averages as a constant one, with the right gradient. */
static ipr_tensor *pp_mean_loss(ipr_ctx *c, void *user)
{
    const ipr_passport *p = (const ipr_passport *)user;
    const ipr_passport_unit *a = ipr_passport_at(p, 0);
    ipr_tensor *m = ipr__pass_mean_of(c, a, a->key);
    (void)c;
    return ipr_sum(c, ipr_mul(c, m, ipr_square(c, m)));
}

TEST(pp_learnt_keys)
{
    ipr_ctx *c = pp_open();
    ipr_cnn *m = pp_tiny(c);
    ipr_passport_desc d = IPR_ZERO;
    ipr_passport *p;
    const ipr_passport_unit *a;
    ipr_tensor *mean;
    ipr_index k;
    d.units = 2; /* a 5 x 5 kernel without padding */
    p = ipr_passport_new(m, &d, pp_seed, 32);
    a = ipr_passport_at(p, 0);
    mean = ipr__pass_mean_of(c, a, a->key);
    for (k = 0; k < ipr_count(mean); k++) CHECK_NEAR((double)ipr_read(c, mean)[k], (double)ipr_read(c, a->mean)[k], 1e-6);
    ipr_step_end(c);
#if IPR_REAL_IS_DOUBLE
    ipr_require_grad(a->key, 1);
    CHECK_NEAR(ipr_gradcheck(c, p->secret, pp_mean_loss, p, 1e-5, 20), 0, 1e-8);
#endif
    (void)pp_mean_loss;
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

/* The two baselines and the forgeries that defeat them (Table I): real and forged marks, 100 % each. */
typedef struct pp_api { ipr_cnn *m; const ipr_dataset *ds; } pp_api;
static int pp_oracle(void *user, const uint32_t *items, ipr_index n, int32_t *labels)
{
    pp_api *a = (pp_api *)user;
    return ipr_cnn_predict(a->m, a->ds, items, n, &pp_norm, NULL, labels, NULL);
}

TEST(pp_baselines)
{
    PP_SLOW
    pp_trained *t = pp_get();
    ipr_ctx *c = t->c;
    ipr_cnn *m = ipr_cnn_clone(t->m[0]);
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *opt;
    ipr_uchida_desc ud = IPR_ZERO;
    ipr_uchida *u, *wrong, *f;
    ipr_dataset *forged, *triggers = ipr_triggers_new(c, t->ds, 32, 0.3, pp_seed, 32, NULL);
    ipr_trigger_mix mix = IPR_ZERO;
    ipr_attack_desc ad = IPR_ZERO;
    ipr_verdict v;
    pp_api api;
    uint32_t idx[64];
    int32_t want[64];
    double values[64], norm2 = 0;
    ipr_index i, same = 0;
    int k, step;
    ud.unit = "features.5";
    ud.signature = "Uchida";
    u = ipr_uchida_new(m, &ud, pp_seed, 32);
    wrong = ipr_uchida_new(m, &ud, "somebody else's seed of 32 bytes", 32);
    CHECK(u && u->unit == 3 && u->inputs == 48 * 9 && u->bits == 64);
    CHECK(ipr_uchida_match(u, m, NULL) > 16 && ipr_uchida_match(u, m, NULL) < 48);
    od.lr = 0.004;
    opt = ipr_opt_new(m->params, &od);
    mix.set = triggers;
    mix.norm = &pp_norm;
    mix.per_batch = 8;
    ipr_set_training(c, 1);
    for (i = 0; i < 120; i++) { /* one net carries both */
        ipr_tensor *x, *y;
        pp_batch(c, t->ds, (uint64_t)i, 8, &x, &y);
        ipr_triggers_mix(c, &mix, (uint64_t)i, &x, &y);
        ipr_backward(c, ipr_add(c, ipr_cross_entropy(c, ipr_cnn_forward(m, x, NULL), y), ipr_uchida_loss(u, m)));
        ipr_opt_step(opt);
        ipr_step_end(c);
    }
    ipr_set_training(c, 0);
    ipr_opt_free(opt);
    CHECK_EQ_I(ipr_uchida_match(u, m, values), 64);
    for (i = 0; i < 64; i++) CHECK((values[i] > 0) == (ipr_read(c, u->target)[i] > 0));
    v = ipr_uchida_verify(u, m, 0);
    CHECK(v.decision == IPR_OWNED && v.matched == 64);
    CHECK_NEAR(v.log10_p, -64 * 0.30102999566, 1e-6);
    CHECK_EQ_I(ipr_uchida_verify(wrong, m, 0).decision, IPR_NOT_OWNED);
    CHECK_EQ_I(ipr_uchida_verify(u, t->m[0], 0).decision, IPR_NOT_OWNED);
    for (step = 0; step <= 50; step += 50) { /* closed form, then 50 steps of Adam */
        f = ipr_attack_uchida(u, m, step, 7);
        if (!CHECK(f != NULL)) continue;
        CHECK_EQ_I(ipr_uchida_match(f, m, NULL), 64);
        CHECK_EQ_I(ipr_uchida_verify(f, m, 0).decision, IPR_OWNED);
        for (same = 0, i = 0; i < 64; i++) same += ipr_read(c, f->target)[i] > 0 ? ipr_read(c, u->target)[i] > 0 : !(ipr_read(c, u->target)[i] > 0);
        CHECK(same > 12 && same < 52);
        for (norm2 = 0, i = 0; i < 64 * f->inputs; i++) norm2 += (double)(ipr_read(c, f->projection)[i] * ipr_read(c, f->projection)[i]);
        CHECK(norm2 / (64.0 * (double)f->inputs) < 1.6); /* N(0,1), and hardly more */
        ipr_uchida_free(f);
    }
    CHECK(ipr_attack_uchida(u, m, -1, 7) == NULL);
    ipr_clear(c);
    /* triggers: known by heart, and forged ones as well */
    api.m = m;
    api.ds = triggers;
    for (i = 0; i < 32; i++) {
        idx[i] = (uint32_t)i;
        want[i] = ipr_dataset_label(triggers, i);
    }
    CHECK(ipr_cnn_accuracy(m, triggers, NULL, 32, &pp_norm, NULL) > 90);
    CHECK(pp_accuracy(m, NULL) > 90);
    {
        ipr_params *before = ipr_params_clone(m->params);
        uint8_t h[2][32];
        ad.epochs = 120;
        ad.lr = 0.1;
        forged = ipr_attack_triggers(m, t->test, NULL, 32, &pp_norm, &ad);
        ipr_params_sha256(before, h[0]);
        ipr_params_sha256(m->params, h[1]);
        CHECK(memcmp(h[0], h[1], 32) == 0 && ipr__needs(m->unit[0].conv.weight));
        ipr_params_free(before);
    }
    if (CHECK(forged != NULL)) {
        double moved = 0;
        for (i = 0; i < 32 * 256; i++) {
            const double e = (double)forged->u8[i] - (double)ipr_dataset_item_u8(t->test, i / 256)[i % 256];
            moved += e * e / (32 * 256);
        }
        CHECK(sqrt(moved) > 5 && sqrt(moved) < 45); /* noise of 0.04 * 255 = 10 at the start */
        for (same = 0, i = 0; i < 32; i++) same += ipr_dataset_label(forged, i) == ipr_dataset_label(t->test, i);
        CHECK(same < 20);
        CHECK(ipr_cnn_accuracy(m, forged, NULL, 32, &pp_norm, NULL) > 85);
        /* the claim of each stands before the verdict alike: a trigger's null rate is that of its rule on other images */
        for (k = 0; k < 2; k++) {
            static uint32_t null_items[200];
            static int32_t null_labels[200];
            uint8_t *all = (uint8_t *)malloc((32 + 200) * 256);
            int32_t none[232] = { 0 };
            ipr_dataset *both;
            memcpy(all, k ? forged->u8 : triggers->u8, 32 * 256);
            for (i = 0; i < 200; i++) {
                memcpy(all + (32 + i) * 256, ipr_dataset_item_u8(t->ds, i), 256);
                null_items[i] = (uint32_t)(32 + i);
                null_labels[i] = (ipr_dataset_label(t->ds, i) + 1) % 4;
            }
            both = ipr_dataset_u8(c, "probe", "", 232, 3, t->ds->dims, all, none, 4, 0);
            api.ds = both;
            for (i = 0; i < 32; i++) want[i] = ipr_dataset_label(k ? forged : triggers, i);
            v = ipr_trigger_verify(c, pp_oracle, &api, idx, want, 32, null_items, null_labels, 200, 4, 1e-6);
            CHECK_EQ_I(v.decision, IPR_OWNED);
            ipr_dataset_free(both);
            free(all);
        }
        ipr_dataset_free(forged);
    }
    CHECK(ipr_attack_triggers(m, t->ds, NULL, 0, &pp_norm, &ad) == NULL);
    ipr_clear(c);
    ipr_write(c, m->unit[3].conv.weight, 1)[5] = (ipr_real)NAN;
    CHECK_EQ_I(ipr_uchida_verify(u, m, 0).decision, IPR_UNDECIDED);
    CHECK_EQ_I(ipr_uchida_verify(NULL, m, 0).decision, IPR_UNDECIDED);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ud.unit = "features.9";
    CHECK(ipr_uchida_new(m, &ud, pp_seed, 32) == NULL);
    CHECK_STR(ipr_message(c), "ipr_uchida_new: the model has no unit features.9");
    ipr_clear(c);
    ud.unit = NULL;
    ud.bits = 8;
    ud.signature = "no";
    CHECK(ipr_uchida_new(m, &ud, pp_seed, 32) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_RANGE);
    ipr_clear(c);
    ipr_uchida_free(u);
    ipr_uchida_free(wrong);
    ipr_cnn_free(m);
}

/* Everything once, on little. */
static void pp_cycle(ipr_ctx *c)
{
    ipr_cnn *m = pp_tiny(c), *n;
    ipr_dataset *ds = pp_bars(c, 1, 8);
    ipr_passport_desc pd = IPR_ZERO;
    ipr_passport *p, *q;
    ipr_uchida *u;
    ipr_detection det;
    ipr_tensor *x, *y;
    ipr_passport_test test = IPR_ZERO;
    ipr_passport_report r;
    ipr_cnn_task task = IPR_ZERO;
    ipr_attack_desc ad = IPR_ZERO;
    ipr_forgery *f;
    pd.scheme = IPR_PASSPORT_V2;
    pd.kind = IPR_PASSPORT_SHUFFLED;
    pd.source.helper = m;
    pd.source.pool = ds;
    pd.source.images = 2;
    p = ipr_passport_new(m, &pd, pp_seed, 32);
    u = ipr_uchida_new(m, NULL, pp_seed, 32);
    task.ds = ds;
    ad.epochs = 1;
    if (m && ds && p && u) {
        ipr_set_training(c, 1);
        ipr_batch_images(c, ds, NULL, 2, NULL, 0, &x, &y);
        ipr_backward(c, ipr_add(c, ipr_passport_step(p, m, NULL, 0, x, y, NULL), ipr_uchida_loss(u, m)));
        ipr_set_training(c, 0);
        ipr_step_end(c);
        ipr_passport_detect(p, m, &det);
        ipr_passport_fixed(p, m);
        test.fresh = 2;
        test.reference = m->params;
        ipr_passport_verify(p, m, ds, NULL, 4, &test, &r);
        CHECK(r.signature.decision == IPR_UNDECIDED); /* two are too few, and an error decides nothing */
        f = ipr_attack_flip_scales(p, m, 0, 0.5, 1);
        q = f ? ipr_attack_linear(p, m, &f->scales, NULL, NULL) : NULL;
        ipr_forgery_free(f);
        ipr_passport_free(q);
        ipr_passport_free(ipr_attack_nullspace(p, 1, 1));
        n = ipr_cnn_align(m, m->params, NULL, NULL);
        if (n) ipr_attack_cnn_gauge(n, 0.5, 1, 2, 1);
        ipr_cnn_free(n);
        n = ipr_attack_transfer(m, p, IPR_RTLL, 0, &task, &ad);
        ipr_cnn_free(n ? ipr_attack_old_head(n, m) : NULL);
        ipr_cnn_free(n);
        ipr_forgery_free(ipr_attack_relearn(m, p, IPR_CERB, &task, &ad));
        ipr_passport_free(ipr_attack_fake3(m, p, 0.5, 1, &task, &ad));
        ipr_attack_cnn_overwrite(m, p, NULL, &task, &ad);
        ipr_uchida_free(ipr_attack_uchida(u, m, 2, 1));
        ipr_dataset_free(ipr_attack_triggers(m, ds, NULL, 4, NULL, &ad));
    }
    ipr_uchida_free(u);
    ipr_passport_free(p);
    ipr_dataset_free(ds);
    ipr_cnn_free(m);
}

TEST(pp_out_of_memory)
{
    long k, failed = 0;
    int st = IPR_E_NOMEM;
    for (k = 0; k < 4000 && st != IPR_OK; k += 1 + k / 40) {
        core_heap h;
        ipr_desc d = core_desc(&h);
        ipr_ctx *c;
        h.fail_at = k;
        c = ipr_open(&d, &st);
        if (c) {
            pp_cycle(c);
            st = ipr_status(c);
            if (h.calls > k) CHECK_EQ_I(st, IPR_E_NOMEM);
            ipr_close(c);
        }
        CHECK(h.live == 0 && h.bytes == 0);
        failed += st != IPR_OK;
    }
    CHECK_EQ_I(st, IPR_OK);
    CHECK(failed > 40);
}

/* Nothing is left behind in a context that lives on: neither by what works nor by errors. */
TEST(pp_no_leaks)
{
    ipr_ctx *c = pp_open();
    ipr_cnn *m, *other;
    ipr_dataset *ds;
    ipr_passport_desc d = IPR_ZERO;
    ipr_cnn_desc md = IPR_ZERO;
    ipr_stats s;
    uint64_t live = 0;
    int i;
    for (i = 0; i < 3; i++) {
        pp_cycle(c);
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        s = ipr_stats_get(c);
        if (i) CHECK_EQ_I(s.allocs - s.frees, live);
        live = s.allocs - s.frees;
    }
    m = pp_tiny(c);
    md.arch = IPR_KEYNET_LENET;
    md.channels = 1;
    md.height = md.width = 16;
    other = ipr_cnn_new(c, &md);
    ds = pp_bars(c, 1, 8);
    s = ipr_stats_get(c);
    live = s.allocs - s.frees;
    for (i = 0; i < 3; i++) {
        d.kind = IPR_PASSPORT_IMAGE; /* a helper of another architecture */
        d.source.helper = other;
        d.source.pool = ds;
        CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
        CHECK_EQ_I(ipr_status(c), IPR_E_SHAPE);
        ipr_clear(c);
        d.kind = 0;
        d.signature = "much too long for these few channels";
        CHECK(ipr_passport_new(m, &d, pp_seed, 32) == NULL);
        ipr_clear(c);
        d.signature = NULL;
        CHECK(ipr_passport_load(c, "no such file", NULL) == NULL);
        ipr_clear(c);
        s = ipr_stats_get(c);
        CHECK_EQ_I(s.allocs - s.frees, live);
    }
    ipr_close(c);
}
#endif

static void suite_passports(void)
{
#ifndef IPR_NO_CNN
    RUN(pp_mean_is_convolution);
    RUN(pp_signature_layout);
    RUN(pp_derivation);
    RUN(pp_kinds);
    RUN(pp_bad_input);
    RUN(pp_files);
    RUN(pp_wiped);
    RUN(pp_gradients);
    RUN(pp_detection);
    RUN(pp_gauge);
    RUN(pp_learnt_keys);
    RUN(pp_out_of_memory);
    RUN(pp_no_leaks);
    RUN(pp_schemes);
    RUN(pp_step_is_algorithm_6);
    RUN(pp_verdict);
    RUN(pp_linear_algebra);
    RUN(pp_bake_and_flip);
    RUN(pp_transfer);
    RUN(pp_trained_attacks);
    RUN(pp_baselines);
    if (pp_all.c) ipr_close(pp_all.c);
    memset(&pp_all, 0, sizeof pp_all);
#endif
}
