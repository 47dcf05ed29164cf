/* Floor 8: IDX, data sets, views, draws, batches, finding files, images, the built-in digits. */

#ifndef IPR_TEST_TMP
#define IPR_TEST_TMP "build"
#endif
#define TD_PATH IPR_TEST_TMP "/test_data.tmp"

static ipr_ctx *td_open(void) { return ipr_open(NULL, NULL); }
static uint64_t td_live(ipr_ctx *c) { ipr_stats s = ipr_stats_get(c); return s.allocs - s.frees; }

/* v / 255 as the library stores it: through an object, since expressions may be wider */
static ipr_real td_scaled(int v) { volatile ipr_real x = (ipr_real)v / (ipr_real)255; return x; }

/* 3 images of 2 by 2, and 3 labels */
static const uint8_t td_images[] = { 0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 51, 102, 153, 204, 255, 1, 2, 3, 4, 5, 6 };
static const uint8_t td_labels[] = { 0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 1 };

TEST(idx_pair) {
    ipr_ctx *c = td_open();
    uint64_t live = td_live(c);
    ipr_dataset *d = ipr_dataset_idx_memory(c, "tiny", td_images, sizeof td_images, td_labels, sizeof td_labels);
    if (!CHECK(d != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(d->count == 3 && d->rank == 2 && d->dims[0] == 2 && d->dims[1] == 2 && d->item == 4 && d->classes == 3);
    CHECK_STR(d->name, "tiny");
    CHECK(d->u8 == td_images + 16);        /* in place */
    CHECK(ipr_dataset_label(d, 0) == 2 && ipr_dataset_label(d, 2) == 1 && ipr_dataset_label(d, 3) == -1 && ipr_dataset_label(d, -1) == -1);
    CHECK(ipr_dataset_item_u8(d, 1)[0] == 204 && ipr_dataset_item_u8(d, 3) == NULL && ipr_dataset_item_real(d, 0) == NULL);
    ipr_dataset_free(d);
    d = ipr_dataset_idx_memory(c, NULL, td_images, sizeof td_images, NULL, 0);
    CHECK(d && d->labels == NULL && d->classes == 0 && ipr_dataset_label(d, 0) == -1);
    ipr_dataset_free(d);
    CHECK_EQ_I(td_live(c), live);
    if (IPR__FILES) {
        ipr_file_write(c, TD_PATH "1", td_images, sizeof td_images, 0);
        ipr_file_write(c, TD_PATH "2", td_labels, sizeof td_labels, 0);
        d = ipr_dataset_idx(c, "tiny", TD_PATH "1", TD_PATH "2");
        CHECK(d && d->count == 3 && d->classes == 3 && memcmp(d->u8, td_images + 16, 12) == 0);
        CHECK(d && strcmp(d->source, TD_PATH "1") == 0);
        ipr_dataset_free(d);
        CHECK(ipr_dataset_idx(c, "tiny", TD_PATH "2", TD_PATH "1") == NULL);   /* the wrong way round */
        CHECK_EQ_I(ipr_status(c), IPR_E_FORMAT);
        ipr_clear(c);
        remove(TD_PATH "2");
        CHECK(ipr_dataset_idx(c, "tiny", TD_PATH "1", TD_PATH "2") == NULL);
        CHECK_EQ_I(ipr_status(c), IPR_E_MISSING);
        ipr_clear(c);
        remove(TD_PATH "1");
        CHECK_EQ_I(td_live(c), live);
    }
    ipr_close(c);
}

static int td_idx(ipr_ctx *c, const void *p, size_t n) {
    ipr_reader r;
    ipr_array a;
    int status;
    ipr_reader_memory(c, &r, p, n);
    status = ipr_idx_read(&r, &a);
    ipr_array_free(c, &a);
    ipr_reader_close(&r);
    CHECK_EQ_I(status, ipr_status(c));
    return status;
}

TEST(idx_bad) {
    ipr_ctx *c = td_open();
    uint8_t b[64];
    size_t i;
    static const struct { uint8_t head[16]; size_t n; const char *says; } bad[] = {
        { { 0x1f, 0x8b, 8, 0 }, 16, "this is gzip: run make data, or gunzip it first" },
        { { 'P', 'K', 3, 4 }, 16, "zip archive" },
        { { '<', 'h', 't', 'm' }, 16, "web page" },
        { { 1, 0, 8, 1 }, 16, "no IDX file" },
        { { 0, 0, 7, 1 }, 16, "no IDX file" },
        { { 0, 0, 8, 9 }, 16, "no IDX file" },
        { { 0, 0, 8, 1, 0, 0, 0, 7 }, 16, "says 7 U8, but 8 bytes follow" },
        { { 0, 0, 8, 1, 0, 0, 0, 9 }, 16, "says 9 U8" },
        { { 0, 0, 8, 1, 0xff, 0xff, 0xff, 0xff }, 16, "" },
        { { 0, 0, 14, 3, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff }, 16, "" },
        { { 0, 0, 8, 2, 0x40, 0, 0, 0, 0x40, 0, 0, 0 }, 12, "" }
    };
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ_I(td_idx(c, bad[i].head, bad[i].n), IPR_E_FORMAT);
        if (!CHECK(strstr(ipr_message(c), bad[i].says) != NULL)) puts(ipr_message(c));
        ipr_clear(c);
    }
    for (i = 0; i < sizeof td_images; i++) {       /* truncated at every byte */
        uint8_t *cut = (uint8_t *)malloc(i ? i : 1);
        memcpy(cut, td_images, i);
        CHECK_EQ_I(td_idx(c, cut, i), IPR_E_FORMAT);
        ipr_clear(c);
        free(cut);
    }
    memcpy(b, td_images, sizeof td_images);
    CHECK_EQ_I(td_idx(c, b, sizeof td_images), IPR_OK);
    b[sizeof td_images] = 0;
    CHECK_EQ_I(td_idx(c, b, sizeof td_images + 1), IPR_E_FORMAT);      /* garbage behind */
    ipr_clear(c);
    b[0] = b[1] = 0; b[2] = 0x0c; b[3] = 0; b[4] = 0xff; b[5] = 0xff; b[6] = 0xff; b[7] = 0xfe;    /* a scalar int32 */
    {
        ipr_reader r;
        ipr_array a;
        int32_t v = 0;
        ipr_reader_memory(c, &r, b, 8);
        CHECK_EQ_I(ipr_idx_read(&r, &a), IPR_OK);
        CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_I32, &v), IPR_OK);
        CHECK_EQ_I(v, -2);
    }
    memcpy(b, td_labels, sizeof td_labels);
    b[7] = 2;                                                           /* 2 labels for 3 images */
    CHECK(ipr_dataset_idx_memory(c, NULL, td_images, sizeof td_images, b, sizeof td_labels - 1) == NULL);
    CHECK(strstr(ipr_message(c), "do the two files belong together") != NULL);
    ipr_clear(c);
    CHECK(ipr_dataset_idx_memory(c, NULL, td_labels, sizeof td_labels, td_labels, sizeof td_labels) == NULL);  /* labels as images */
    CHECK_EQ_I(ipr_status(c), IPR_E_FORMAT);
    ipr_close(c);
}

TEST(dataset_checks) {
    ipr_ctx *c = td_open();
    ipr_index d2[2], none[1];
    static const uint8_t items[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    static const int32_t labels[2] = { 0, 4 }, minus[2] = { 0, -1 };
    ipr_dataset *d;
    uint64_t live = td_live(c);
    d2[0] = d2[1] = 2;
    none[0] = 0;
    d = ipr_dataset_u8(c, "a", NULL, 2, 2, d2, items, labels, 0, 0);
    CHECK(d && d->classes == 5 && d->u8 != items && memcmp(d->u8, items, 8) == 0 && !*d->source);
    ipr_dataset_free(d);
    d = ipr_dataset_u8(c, "a", NULL, 2, 2, d2, items, labels, 7, IPR_DATA_BORROW);
    CHECK(d && d->classes == 7 && d->u8 == items && d->labels != labels);
    ipr_dataset_free(d);
    CHECK(!ipr_dataset_u8(c, "a", NULL, 2, 2, d2, items, labels, 4, 0) && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK(!ipr_dataset_u8(c, "a", NULL, 2, 2, d2, items, minus, 0, 0) && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK(!ipr_dataset_u8(c, "a", NULL, 2, 2, d2, NULL, labels, 0, 0) && ipr_status(c) == IPR_E_ARG);
    ipr_clear(c);
    CHECK(!ipr_dataset_u8(c, "a", NULL, 2, 1, none, items, labels, 0, 0) && ipr_status(c) == IPR_E_SHAPE);
    ipr_clear(c);
    CHECK(!ipr_dataset_u8(c, "a", NULL, 2, 6, d2, items, labels, 0, 0) && ipr_status(c) == IPR_E_SHAPE);
    ipr_clear(c);
    CHECK(!ipr_dataset_u8(c, "a", NULL, -1, 2, d2, items, labels, 0, 0) && ipr_status(c) == IPR_E_SHAPE);
    ipr_clear(c);
    d2[0] = d2[1] = (ipr_index)1 << (sizeof(ipr_index) * 4 - 1);
    CHECK(!ipr_dataset_u8(c, "a", NULL, 64, 2, d2, items, labels, 0, 0) && ipr_status(c) == IPR_E_SHAPE);
    ipr_clear(c);
    ipr_dataset_free(NULL);
    CHECK_EQ_I(td_live(c), live);
    ipr_close(c);
}

/* 60 items of one byte; item i has label i % 3, but class 2 only once in six */
static ipr_dataset *td_uneven(ipr_ctx *c) {
    uint8_t items[60];
    int32_t labels[60];
    ipr_index one = 1;
    int i;
    for (i = 0; i < 60; i++) {
        items[i] = (uint8_t)i;
        labels[i] = i % 6 == 5 ? 2 : i % 2;
    }
    return ipr_dataset_u8(c, "uneven", "test", 60, 1, &one, items, labels, 0, 0);
}

TEST(dataset_views) {
    ipr_ctx *c = td_open();
    uint64_t live = td_live(c);
    ipr_dataset *d = td_uneven(c), *v, *w;
    uint32_t pick[4];
    pick[0] = 7; pick[1] = 59; pick[2] = 7; pick[3] = 0;
    v = ipr_dataset_view(d, pick, 4);
    CHECK(v && v->count == 4 && *ipr_dataset_item_u8(v, 0) == 7 && *ipr_dataset_item_u8(v, 2) == 7 && ipr_dataset_label(v, 1) == 2);
    pick[0] = 1; pick[1] = 3;
    w = ipr_dataset_view(v, pick, 2);              /* a view of a view */
    CHECK(w && *ipr_dataset_item_u8(w, 0) == 59 && *ipr_dataset_item_u8(w, 1) == 0 && w->base == d);
    ipr_dataset_free(d);                           /* they keep it alive */
    ipr_dataset_free(v);
    CHECK(*ipr_dataset_item_u8(w, 0) == 59);
    pick[0] = 2;
    CHECK(ipr_dataset_view(w, pick, 1) == NULL && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK(ipr_dataset_view(w, NULL, 3) == NULL && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    v = ipr_dataset_view(w, NULL, 1);
    CHECK(v && *ipr_dataset_item_u8(v, 0) == 59);
    ipr_dataset_free(v);
    ipr_dataset_free(w);
    CHECK_EQ_I(td_live(c), live);
    ipr_close(c);
}

TEST(dataset_draws) {
    ipr_ctx *c = td_open();
    uint64_t live = td_live(c);
    ipr_dataset *d = td_uneven(c), *rest, *t, *u;
    int seen[60], per[3], i, differ = 0;
    memset(seen, 0, sizeof seen);
    memset(per, 0, sizeof per);
    t = ipr_dataset_take(d, 5, 42, &rest);
    if (!CHECK(t && rest)) { ipr_close(c); return; }
    CHECK(t->count == 15 && rest->count == 45);
    for (i = 0; i < 15; i++) { seen[*ipr_dataset_item_u8(t, i)]++; per[ipr_dataset_label(t, i)]++; }
    for (i = 0; i < 45; i++) seen[*ipr_dataset_item_u8(rest, i)]++;
    for (i = 0; i < 60; i++) CHECK_EQ_I(seen[i], 1);
    CHECK(per[0] == 5 && per[1] == 5 && per[2] == 5);
    for (i = 1; i < 15; i++) CHECK(*ipr_dataset_item_u8(t, i) > *ipr_dataset_item_u8(t, i - 1));      /* in order */
    u = ipr_dataset_take(d, 5, 42, NULL);
    for (i = 0; i < 15; i++) CHECK_EQ_I(*ipr_dataset_item_u8(u, i), *ipr_dataset_item_u8(t, i));       /* reproducible */
    ipr_dataset_free(u);
    u = ipr_dataset_take(d, 5, 43, NULL);
    for (i = 0; i < 15; i++) differ += *ipr_dataset_item_u8(u, i) != *ipr_dataset_item_u8(t, i);
    CHECK(differ > 3);
    ipr_dataset_free(u);
    u = ipr_dataset_take(rest, 5, 1, NULL);        /* from a view */
    CHECK(u && u->count == 15 && u->base == d);
    ipr_dataset_free(u);
    ipr_dataset_free(t);
    ipr_dataset_free(rest);
    CHECK(ipr_dataset_take(d, 11, 1, &rest) == NULL && rest == NULL);
    CHECK_STR(ipr_message(c), "ipr_dataset_take: 11 items of class 2 are wanted, the data set has 10");
    ipr_clear(c);
    t = ipr_dataset_split(d, 0.2, 7, &rest);
    CHECK(t && rest && t->count == 12 && rest->count == 48);
    memset(per, 0, sizeof per);
    for (i = 0; t && i < 12; i++) per[ipr_dataset_label(t, i)]++;
    CHECK(per[0] == 6 && per[1] == 4 && per[2] == 2);
    ipr_dataset_free(t);
    ipr_dataset_free(rest);
    t = ipr_dataset_split(d, 0, 7, &rest);
    CHECK(t && t->count == 0 && rest->count == 60);
    ipr_dataset_free(t);
    ipr_dataset_free(rest);
    CHECK(ipr_dataset_split(d, 1.5, 7, NULL) == NULL && ipr_status(c) == IPR_E_ARG);
    ipr_clear(c);
    ipr_dataset_free(d);
    CHECK_EQ_I(td_live(c), live);
    ipr_close(c);
}

TEST(batch) {
    ipr_ctx *c = td_open();
    ipr_dataset *d = ipr_dataset_idx_memory(c, "tiny", td_images, sizeof td_images, td_labels, sizeof td_labels), *v;
    ipr_tensor *x, *y;
    uint32_t idx[2];
    const ipr_real *p;
    int i;
    idx[0] = 1; idx[1] = 0;
    CHECK_EQ_I(ipr_batch(c, d, idx, 2, IPR_BATCH_MAJOR, &x, &y), IPR_OK);
    CHECK(ipr_rank(x) == 3 && ipr_dim(x, 0) == 2 && ipr_dim(x, 1) == 2 && ipr_dim(x, 2) == 2 && ipr_rank(y) == 1 && ipr_dim(y, 0) == 2);
    p = ipr_read(c, x);
    for (i = 0; p && i < 4; i++) {
        CHECK(p[i] == td_scaled(td_images[20 + i]));
        CHECK(p[4 + i] == td_scaled(td_images[16 + i]));
    }
    CHECK(ipr_read_i32(c, y)[0] == 0 && ipr_read_i32(c, y)[1] == 2);
    CHECK_EQ_I(ipr_batch(c, d, NULL, 3, IPR_TIME_MAJOR, &x, NULL), IPR_OK);
    CHECK(ipr_rank(x) == 3 && ipr_dim(x, 0) == 2 && ipr_dim(x, 1) == 3 && ipr_dim(x, 2) == 2);
    p = ipr_read(c, x);
    for (i = 0; p && i < 12; i++) {     /* [t][b][k] */
        int t = i / 6, b = i / 2 % 3, k = i % 2;
        CHECK(p[i] == td_scaled(td_images[16 + b * 4 + t * 2 + k]));
    }
    v = ipr_dataset_view(d, idx, 2);
    CHECK_EQ_I(ipr_batch(c, v, NULL, 1, IPR_BATCH_MAJOR, &x, &y), IPR_OK);
    CHECK(ipr_read(c, x)[0] == td_scaled(204) && ipr_read_i32(c, y)[0] == 0);
    idx[0] = 2;
    CHECK_EQ_I(ipr_batch(c, v, idx, 1, IPR_BATCH_MAJOR, &x, &y), IPR_E_RANGE);
    CHECK(ipr_is_poison(x) && ipr_is_poison(y));
    ipr_clear(c);
    CHECK_EQ_I(ipr_batch(c, d, NULL, 4, IPR_BATCH_MAJOR, &x, &y), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_batch(c, d, NULL, 0, IPR_BATCH_MAJOR, &x, &y), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_batch(c, d, NULL, 1, 2, &x, &y), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_batch(c, NULL, NULL, 1, 0, &x, &y), IPR_E_ARG);
    ipr_clear(c);
    ipr_dataset_free(v);
    ipr_dataset_free(d);
    {   /* reals, no labels, rank 1: one number a time step */
        static const ipr_real r[6] = { 1, 2, 3, 4, 5, 6 };
        ipr_index three = 3;
        d = ipr_dataset_real(c, "r", NULL, 2, 1, &three, r, NULL, 0, 0);
        CHECK_EQ_I(ipr_batch(c, d, NULL, 2, IPR_TIME_MAJOR, &x, NULL), IPR_OK);
        p = ipr_read(c, x);
        CHECK(ipr_dim(x, 0) == 3 && ipr_dim(x, 1) == 2 && ipr_dim(x, 2) == 1 && p && p[0] == 1 && p[1] == 4 && p[4] == 3 && p[5] == 6);
        CHECK_EQ_I(ipr_batch(c, d, NULL, 2, IPR_TIME_MAJOR, &x, &y), IPR_E_MISSING);
        ipr_dataset_free(d);
    }
    ipr_close(c);
}

TEST(data_find) {
    ipr_ctx *c = td_open();
    const char *roots[4];
    char out[300];
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    roots[0] = NULL; roots[1] = ""; roots[2] = IPR_TEST_TMP "/nowhere"; roots[3] = IPR_TEST_TMP;
    remove(TD_PATH);
    CHECK_EQ_I(ipr_data_find(c, roots, 4, "test_data.tmp", out, sizeof out), IPR_E_MISSING);
    CHECK_STR(out, "");
    CHECK_EQ_I(ipr_status(c), IPR_OK);         /* a miss is no error */
    ipr_file_write(c, TD_PATH ".gz", "x", 1, 0);
    CHECK_EQ_I(ipr_data_find(c, roots, 4, "test_data.tmp", out, sizeof out), IPR_E_FORMAT);
    CHECK_STR(out, TD_PATH ".gz");
    CHECK(ipr_dataset_idx(c, NULL, TD_PATH, NULL) == NULL);
    CHECK(strstr(ipr_message(c), ".gz is there; run make data") != NULL);
    ipr_clear(c);
    ipr_file_write(c, TD_PATH, "x", 1, 0);
    CHECK_EQ_I(ipr_data_find(c, roots, 4, "test_data.tmp", out, sizeof out), IPR_OK);
    CHECK_STR(out, TD_PATH);
    roots[3] = IPR_TEST_TMP "/";
    CHECK_EQ_I(ipr_data_find(c, roots, 4, "test_data.tmp", out, sizeof out), IPR_OK);
    CHECK_STR(out, TD_PATH);
    CHECK_EQ_I(ipr_data_find(c, roots, 4, "test_data.tmp", out, 8), IPR_E_MISSING);    /* no room */
    CHECK_EQ_I(ipr_data_find(c, roots, 4, "", out, sizeof out), IPR_E_ARG);
    remove(TD_PATH ".gz");
    remove(TD_PATH);
    ipr_close(c);
}

/* ---- images ---- */

static int td_pnm(ipr_ctx *c, const char *head, const void *data, size_t n, ipr_image *im) {
    uint8_t b[256];
    size_t h = strlen(head);
    ipr_reader r;
    memcpy(b, head, h);
    memcpy(b + h, data, n);
    ipr_reader_memory(c, &r, b, h + n);
    return ipr_image_read(&r, im);
}

TEST(pnm_read) {
    ipr_ctx *c = td_open();
    uint64_t live = td_live(c);
    ipr_image im;
    size_t i;
    static const uint8_t wide[8] = { 0, 0, 0x03, 0xff, 0x01, 0xff, 0xff, 0xff };
    static const char *bad[] = { "", "P", "P5", "P5 ", "P4 2 2 255\n", "P3 2 2 255\n", "P5 0 2 255\n", "P5 2 0 255\n", "P5 -2 2 255\n", "P5 2 2 0\n", "P5 2 2 65536\n",
        "P5 2 2 255", "P5 2 2 255#\n", "P5 2x 2 255\n", "P5 2 2 99999999999999999999\n", "P5 16777216 16777216 255\n", "P5 2 3 255\n", "P6 2 2 255\n", "P5 2 2 256\n",
        "P5 # no end", "P5 99999999 1 255\n" };
    CHECK_EQ_I(td_pnm(c, "P5 # a comment\n#another\n2\t# x\n2\r\n255\n", "\x01\x02\x03\xff", 4, &im), IPR_OK);
    CHECK(im.width == 2 && im.height == 2 && im.channels == 1 && memcmp(im.px, "\x01\x02\x03\xff", 4) == 0);
    ipr_image_free(c, &im);
    CHECK_EQ_I(td_pnm(c, "P6 1 1 7 ", "\x00\x07\x09", 3, &im), IPR_OK);       /* scaled; a sample over maxval is cut */
    CHECK(im.channels == 3 && im.px[0] == 0 && im.px[1] == 255 && im.px[2] == 255);
    ipr_image_free(c, &im);
    CHECK_EQ_I(td_pnm(c, "P5 4 1 1023\n", wide, 8, &im), IPR_OK);
    CHECK(im.px[0] == 0 && im.px[1] == 255 && im.px[2] == 127 && im.px[3] == 255);
    ipr_image_free(c, &im);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!CHECK_EQ_I(td_pnm(c, bad[i], "\x01\x02\x03\x04", strlen(bad[i]) > 8 && bad[i][strlen(bad[i]) - 1] == '\n' ? 4 : 0, &im), IPR_E_FORMAT)) printf("  taken: %s\n", bad[i]);
        CHECK(im.px == NULL);
        ipr_clear(c);
    }
    CHECK_EQ_I(td_live(c), live);
    ipr_close(c);
}

TEST(pnm_write) {
    ipr_ctx *c = td_open();
    ipr_image im, back;
    ipr_writer w;
    static const uint8_t px[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255 };
    memset(&im, 0, sizeof im);
    im.width = 2; im.height = 2; im.channels = 3; im.px = px;
    ipr_writer_memory(c, &w);
    CHECK_EQ_I(ipr_image_write(&w, &im), IPR_OK);
    CHECK(ipr_writer_bytes(&w) == 11 + 12 && memcmp(ipr_writer_data(&w), "P6\n2 2\n255\n\x01", 12) == 0);
    ipr_writer_close(&w);
    im.channels = 2;
    ipr_writer_memory(c, &w);
    CHECK_EQ_I(ipr_image_write(&w, &im), IPR_E_ARG);
    ipr_writer_close(&w);
    ipr_clear(c);
    if (IPR__FILES) {
        im.channels = 1; im.width = 3; im.height = 4;
        CHECK_EQ_I(ipr_image_save(c, TD_PATH, &im), IPR_OK);
        CHECK_EQ_I(ipr_image_load(c, TD_PATH, &back), IPR_OK);
        CHECK(back.width == 3 && back.height == 4 && back.channels == 1 && memcmp(back.px, px, 12) == 0);
        ipr_image_free(c, &back);
        ipr_file_write(c, TD_PATH, "P5 1 1 255\nab", 13, 0);
        CHECK_EQ_I(ipr_image_load(c, TD_PATH, &back), IPR_E_FORMAT);
        CHECK(back.px == NULL);
        remove(TD_PATH);
    }
    ipr_close(c);
}

TEST(image_resize) {
    ipr_ctx *c = td_open();
    ipr_image im, out;
    static const uint8_t row[4] = { 0, 100, 200, 40 };
    static const uint8_t two[4] = { 0, 255, 255, 0 };
    static const uint8_t nine[9] = { 9, 18, 27, 36, 45, 54, 63, 72, 81 };
    static uint8_t flat[7 * 5 * 3];
    int w, h, k, wrong = 0;
    size_t i;
    memset(&im, 0, sizeof im);
    im.width = 4; im.height = 1; im.channels = 1; im.px = row;
    CHECK_EQ_I(ipr_image_resize(c, &im, 2, 1, IPR_RESIZE_BOX, &out), IPR_OK);
    CHECK(out.px[0] == 50 && out.px[1] == 120);
    ipr_image_free(c, &out);
    CHECK_EQ_I(ipr_image_resize(c, &im, 3, 1, IPR_RESIZE_BOX, &out), IPR_OK);      /* 4/3 pixels each */
    CHECK(out.px[0] == 25 && out.px[1] == 150 && out.px[2] == 80);
    ipr_image_free(c, &out);
    CHECK_EQ_I(ipr_image_resize(c, &im, 8, 1, IPR_RESIZE_BILINEAR, &out), IPR_OK); /* at -1/4, 1/4, 3/4, 5/4, ... */
    CHECK(out.px[0] == 0 && out.px[1] == 25 && out.px[2] == 75 && out.px[3] == 125 && out.px[4] == 175 && out.px[5] == 160 && out.px[6] == 80 && out.px[7] == 40);
    ipr_image_free(c, &out);
    im.width = im.height = 2; im.px = two;
    CHECK_EQ_I(ipr_image_resize(c, &im, 1, 1, IPR_RESIZE_BILINEAR, &out), IPR_OK);
    CHECK_EQ_I(out.px[0], 128);
    ipr_image_free(c, &out);
    im.width = im.height = 3; im.px = nine;
    CHECK_EQ_I(ipr_image_resize(c, &im, 3, 3, IPR_RESIZE_BILINEAR, &out), IPR_OK);
    CHECK(memcmp(out.px, nine, 9) == 0);
    ipr_image_free(c, &out);
    CHECK_EQ_I(ipr_image_resize(c, &im, 3, 3, IPR_RESIZE_BOX, &out), IPR_OK);
    CHECK(memcmp(out.px, nine, 9) == 0);
    ipr_image_free(c, &out);
    memset(flat, 77, sizeof flat);
    im.width = 7; im.height = 5; im.channels = 3; im.px = flat;
    for (k = 0; k < 2; k++)         /* a flat image stays flat at every size */
        for (w = 1; w < 18; w++)
            for (h = 1; h < 18; h++) {
                if (ipr_image_resize(c, &im, w, h, k, &out)) { wrong++; continue; }
                for (i = 0; i < (size_t)(w * h * 3); i++) wrong += out.px[i] != 77;
                ipr_image_free(c, &out);
            }
    CHECK_EQ_I(wrong, 0);
    CHECK_EQ_I(ipr_image_resize(c, &im, 0, 3, 0, &out), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_image_resize(c, &im, 1 << 30, 3, 0, &out), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_image_resize(c, NULL, 1, 3, 0, &out), IPR_E_ARG);
    ipr_close(c);
}

TEST(image_grey) {
    ipr_ctx *c = td_open();
    ipr_image im, out;
    ipr_tensor *t;
    static const uint8_t px[12] = { 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255 };
    memset(&im, 0, sizeof im);
    im.width = 4; im.height = 1; im.channels = 3; im.px = px;
    CHECK_EQ_I(ipr_image_grey(c, &im, &out), IPR_OK);
    CHECK(out.channels == 1 && out.px[0] == 76 && out.px[1] == 150 && out.px[2] == 29 && out.px[3] == 255);    /* PIL's values */
    t = ipr_image_tensor(c, &out);
    CHECK(ipr_rank(t) == 2 && ipr_dim(t, 1) == 4 && ipr_read(c, t)[3] == 1);
    ipr_image_free(c, &out);
    t = ipr_image_tensor(c, &im);
    CHECK(ipr_rank(t) == 3 && ipr_dim(t, 0) == 3 && ipr_read(c, t)[0] == 1 && ipr_read(c, t)[4] == 0 && ipr_read(c, t)[5] == 1 && ipr_read(c, t)[10] == 1);
    ipr_close(c);
}

/* ---- digits ---- */

TEST(digits_hash) {
    ipr_ctx *c = td_open();
    ipr_dataset *d = ipr_dataset_digits(c, 2024, 0, 200), *e;
    uint8_t sum[32], one[784];
    char hex[65];
    int i, per[10];
    ipr_image im;
    if (!CHECK(d != NULL)) { ipr_close(c); return; }
    CHECK(d->count == 200 && d->classes == 10 && d->rank == 2 && d->item == 784);
    ipr_sha256_of(d->u8, 200 * 784, sum);
    ipr_hex(sum, 32, hex);
    CHECK_STR(hex, "79e3694a3901f73f6d111c7d0404509694c753f9e5237f34aa0e45395d9f4731");       /* the same on every machine, for ever */
    memset(per, 0, sizeof per);
    for (i = 0; i < 200; i++) per[ipr_dataset_label(d, i)]++;
    for (i = 0; i < 10; i++) CHECK_EQ_I(per[i], 20);
    CHECK_EQ_I(ipr_digit_draw(2024, 77, one), ipr_dataset_label(d, 77));
    CHECK(memcmp(one, ipr_dataset_item_u8(d, 77), 784) == 0);
    e = ipr_dataset_digits(c, 2024, 70, 20);           /* any window of the same sequence */
    CHECK(e && memcmp(ipr_dataset_item_u8(e, 7), one, 784) == 0);
    ipr_dataset_free(e);
    e = ipr_dataset_digits(c, 2024, IPR_DIGITS_TEST, 200);
    CHECK(e && memcmp(e->u8, d->u8, 784) != 0);
    ipr_dataset_free(e);
    CHECK_EQ_I(ipr_dataset_image(d, 3, &im), IPR_OK);
    CHECK(im.width == 28 && im.height == 28 && im.px == d->u8 + 3 * 784);
    e = ipr_dataset_digits(c, 1, 0, 0);
    CHECK(e && e->count == 0);
    ipr_dataset_free(e);
    CHECK(ipr_dataset_digits(c, 1, 0, -1) == NULL);
    ipr_dataset_free(d);
    ipr_close(c);
}

/* Digits look like digits: ink in the middle, none at the rim, and a nearest-mean classifier far above chance
   but far from perfect. */
TEST(digits_learnable) {
    enum { N = 1000, M = 500 };
    ipr_ctx *c = td_open();
    ipr_dataset *d = ipr_dataset_digits(c, 5, 0, N), *e = ipr_dataset_digits(c, 5, IPR_DIGITS_TEST, M);
    static double mean[10][784];
    double rim = 0, middle = 0;
    int i, k, p, right = 0;
    if (!CHECK(d && e)) { ipr_close(c); return; }
    memset(mean, 0, sizeof mean);
    for (i = 0; i < N; i++)
        for (p = 0; p < 784; p++) mean[ipr_dataset_label(d, i)][p] += d->u8[i * 784 + p] / (N / 10.0);
    for (k = 0; k < 10; k++)
        for (p = 0; p < 784; p++) {
            if (p < 28 || p >= 756) rim += mean[k][p] / 560;
            else if (p / 28 >= 9 && p / 28 < 19 && p % 28 >= 9 && p % 28 < 19) middle += mean[k][p] / 1000;
        }
    CHECK(middle > 50 && rim < 12);
    for (i = 0; i < M; i++) {
        double best = 1e30;
        int is = -1;
        for (k = 0; k < 10; k++) {
            double s = 0;
            for (p = 0; p < 784; p++) s += (e->u8[i * 784 + p] - mean[k][p]) * (e->u8[i * 784 + p] - mean[k][p]);
            if (s < best) { best = s; is = k; }
        }
        right += is == ipr_dataset_label(e, i);
    }
    CHECK(right > M * 55 / 100 && right < M * 95 / 100);
    ipr_dataset_free(d);
    ipr_dataset_free(e);
    ipr_close(c);
}

static void suite_data(void) {
    RUN(idx_pair); RUN(idx_bad); RUN(dataset_checks); RUN(dataset_views); RUN(dataset_draws); RUN(batch); RUN(data_find);
    RUN(pnm_read); RUN(pnm_write); RUN(image_resize); RUN(image_grey); RUN(digits_hash); RUN(digits_learnable);
}
