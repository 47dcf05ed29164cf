/* Floor 8: sets of images. CIFAR records, folders of PPM and PGM, GTSRB's csv, class splits, batches with crop, flip and
   normalisation, the built-in shapes and abstract pictures. Real data is looked for in IPR_DATA, build/data and data. */

#define TI_DIR IPR_TEST_TMP "/test_images.dir"

enum { TI_PIXELS = 3072 };

/* Record i of a made-up file: label bytes as given, then pixels that say where they are. */
static size_t ti_record(uint8_t *p, int i, int format, int label) {
    size_t n = 0;
    int k;
    if (format != IPR_CIFAR10) p[n++] = (uint8_t)(label / 5);
    p[n++] = (uint8_t)label;
    for (k = 0; k < TI_PIXELS; k++) p[n++] = (uint8_t)(i * 7 + k % 251);
    return n;
}

static ipr_dataset *ti_read(ipr_ctx *c, const uint8_t *p, size_t n, int format) {
    ipr_reader r;
    ipr_dataset *d;
    ipr_reader_memory(c, &r, p, n);
    d = ipr_dataset_cifar_read(&r, NULL, format);
    ipr_reader_close(&r);
    return d;
}

/* The call gave NULL, left nothing behind, and the message holds `says`. */
static int ti_failed(ipr_ctx *c, const void *result, uint64_t live, int code, const char *says) {
    const int ok = !result && ipr_status(c) == code && strstr(ipr_message(c), says) && tx_live(c) == live;
    if (!ok) printf("  %s: \"%s\", want \"%s\", %d blocks left\n", ipr_status_name(ipr_status(c)), ipr_message(c), says, (int)(tx_live(c) - live));
    ipr_clear(c);
    return ok;
}

TEST(cifar_records) {
    static uint8_t file[3 * (TI_PIXELS + 2)];
    static const int label[3] = { 9, 0, 3 }, fine[3] = { 99, 0, 57 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    int format, i, k;
    for (format = IPR_CIFAR10; format <= IPR_CIFAR100_COARSE; format++) {
        ipr_dataset *d;
        size_t n = 0;
        for (i = 0; i < 3; i++) n += ti_record(file + n, i, format, format == IPR_CIFAR10 ? label[i] : fine[i]);
        d = ti_read(c, file, n, format);
        if (!CHECK(d != NULL)) { puts(ipr_message(c)); ipr_clear(c); continue; }
        CHECK(d->count == 3 && d->rank == 3 && d->dims[0] == 3 && d->dims[1] == 32 && d->dims[2] == 32 && d->item == TI_PIXELS);
        CHECK_EQ_I(d->classes, format == IPR_CIFAR10 ? 10 : format == IPR_CIFAR100 ? 100 : 20);
        CHECK_STR(d->name, format == IPR_CIFAR10 ? "cifar10" : "cifar100");
        for (i = 0; i < 3; i++) {
            CHECK_EQ_I(ipr_dataset_label(d, i), format == IPR_CIFAR10 ? label[i] : format == IPR_CIFAR100 ? fine[i] : fine[i] / 5);
            for (k = 0; k < TI_PIXELS && d->u8[i * TI_PIXELS + k] == (uint8_t)(i * 7 + k % 251); k++) {}
            CHECK_EQ_I(k, TI_PIXELS);
        }
        CHECK_STR(ipr_dataset_class_name(d, 0), format == IPR_CIFAR10 ? "airplane" : format == IPR_CIFAR100 ? "apple" : "aquatic_mammals");
        CHECK_STR(ipr_dataset_class_name(d, d->classes - 1), format == IPR_CIFAR10 ? "truck" : format == IPR_CIFAR100 ? "worm" : "vehicles_2");
        CHECK_STR(ipr_dataset_class_name(d, d->classes), "");
        CHECK_STR(ipr_dataset_class_name(d, -1), "");
        ipr_dataset_free(d);
    }
    CHECK_STR(ipr_dataset_class_name(NULL, 0), "");
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(cifar_bad) {
    static uint8_t file[2 * (TI_PIXELS + 2) + 1];
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    size_t n, i;
    int format, bad = 0, whole = 0;
    for (format = IPR_CIFAR10; format <= IPR_CIFAR100; format++) {
        n = ti_record(file, 0, format, 1);
        n += ti_record(file + n, 1, format, 2);
        for (i = 0; i <= n + 1; i++) {                  /* cut at every byte, and one byte too many */
            uint8_t *cut = (uint8_t *)malloc(i ? i : 1);        /* a block of its own: reading on is seen */
            ipr_dataset *d;
            memcpy(cut, file, i);
            d = ti_read(c, cut, i, format);
            free(cut);
            if (i == n || i == n / 2) whole += d && ipr_status(c) == IPR_OK;
            else bad += !d && ipr_status(c) == IPR_E_FORMAT && tx_live(c) == live;
            ipr_dataset_free(d);
            ipr_clear(c);
        }
        CHECK_EQ_I(whole, 2);
        CHECK_EQ_I(bad, n);
        whole = bad = 0;
    }
    n = ti_record(file, 0, 0, 1) + ti_record(file + TI_PIXELS + 1, 1, 0, 2);
    CHECK(ti_failed(c, ti_read(c, file, n - 3, IPR_CIFAR10), live, IPR_E_FORMAT, "memory: its 6143 bytes are no whole number of records of 3073: record 1, from byte 3073 on, is cut"));
    CHECK(ti_failed(c, ti_read(c, file, 0, IPR_CIFAR10), live, IPR_E_FORMAT, "its 0 bytes"));
    CHECK(ti_failed(c, ti_read(c, file, n, IPR_CIFAR100), live, IPR_E_FORMAT, "not the binary version of CIFAR-100"));
    file[TI_PIXELS + 1] = 10;
    CHECK(ti_failed(c, ti_read(c, file, n, IPR_CIFAR10), live, IPR_E_FORMAT, "memory: label 10 at byte 3073 is not in 0..9"));
    n = ti_record(file, 0, 1, 99) + ti_record(file + TI_PIXELS + 2, 1, 1, 99);
    file[TI_PIXELS + 2] = 20;
    CHECK(ti_failed(c, ti_read(c, file, n, IPR_CIFAR100), live, IPR_E_FORMAT, "label 20 at byte 3074 is not in 0..19"));
    file[TI_PIXELS + 2] = 19; file[TI_PIXELS + 3] = 100;
    CHECK(ti_failed(c, ti_read(c, file, n, IPR_CIFAR100_COARSE), live, IPR_E_FORMAT, "label 100 at byte 3075 is not in 0..99"));
    CHECK(ti_failed(c, ti_read(c, file, TI_PIXELS + 2, 3), live, IPR_E_ARG, "format 3"));
    CHECK(ipr_dataset_cifar_read(NULL, NULL, 0) == NULL);
    CHECK(ti_failed(c, ipr_dataset_cifar_files(c, NULL, NULL, 0, 0), live, IPR_E_ARG, "no files"));
    CHECK(ti_failed(c, ipr_dataset_cifar10(c, NULL, 0), live, IPR_E_ARG, "folder is NULL"));
    CHECK(ti_failed(c, ipr_dataset_cifar100(c, NULL, 0, 0), live, IPR_E_ARG, "folder is NULL"));
    CHECK(ipr_dataset_cifar10(NULL, "x", 0) == NULL && ipr_dataset_cifar100(NULL, "x", 0, 0) == NULL);
    ipr_close(c);
}

TEST(cifar_folder) {
    static uint8_t file[2 * (TI_PIXELS + 2)];
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_dataset *d;
    const char *paths[2];
    size_t n;
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    (void)TX_MKDIR(IPR_TEST_TMP); (void)TX_MKDIR(TI_DIR);
    n = ti_record(file, 0, 0, 1);
    CHECK(ti_failed(c, ipr_dataset_cifar10(c, TI_DIR, 0), live, IPR_E_MISSING, "test_images.dir: none of data_batch_1.bin to data_batch_5.bin is there; make data NAMES=cifar10"));
    CHECK(ti_failed(c, ipr_dataset_cifar10(c, TI_DIR, 1), live, IPR_E_MISSING, "test_batch.bin: no such file"));
    CHECK(ti_failed(c, ipr_dataset_cifar100(c, TI_DIR, 0, 0), live, IPR_E_MISSING, "train.bin: no such file"));
    CHECK(ti_failed(c, ipr_dataset_cifar100(c, TI_DIR, 1, 1), live, IPR_E_MISSING, "test.bin: no such file"));
    ipr_file_write(c, TI_DIR "/data_batch_1.bin", file, n, 0);
    n = ti_record(file, 1, 0, 2);
    n += ti_record(file + n, 2, 0, 3);
    ipr_file_write(c, TI_DIR "/data_batch_4.bin", file, n, 0);
    ipr_file_write(c, TI_DIR "/test_batch.bin", file, n, 0);
    d = ipr_dataset_cifar10(c, TI_DIR, 0);
    CHECK(d && d->count == 3 && d->labels[0] == 1 && d->labels[2] == 3 && d->u8[0] == 0 && d->u8[2 * TI_PIXELS] == 14);
    CHECK(d && strcmp(d->source, TI_DIR ": 2 of 5 training batches") == 0);
    ipr_dataset_free(d);
    d = ipr_dataset_cifar10(c, TI_DIR, 1);
    CHECK(d && d->count == 2 && strcmp(d->source, TI_DIR ": the test batch") == 0);
    ipr_dataset_free(d);
    paths[0] = TI_DIR "/test_batch.bin"; paths[1] = TI_DIR "/data_batch_1.bin";
    d = ipr_dataset_cifar_files(c, "mine", paths, 2, IPR_CIFAR10);
    CHECK(d && d->count == 3 && d->labels[2] == 1 && strcmp(d->name, "mine") == 0 && strcmp(d->source, paths[0]) == 0);
    ipr_dataset_free(d);
    ipr_file_write(c, TI_DIR "/data_batch_4.bin", file, n - 1, 0);
    CHECK(ti_failed(c, ipr_dataset_cifar10(c, TI_DIR, 0), live, IPR_E_FORMAT, "data_batch_4.bin: its 6145 bytes"));
    file[0] = 11;
    ipr_file_write(c, TI_DIR "/data_batch_4.bin", file, n, 0);
    CHECK(ti_failed(c, ipr_dataset_cifar10(c, TI_DIR, 0), live, IPR_E_FORMAT, "data_batch_4.bin: label 11 at byte 0 is"));
    n = ti_record(file, 0, 1, 77);
    ipr_file_write(c, TI_DIR "/train.bin", file, n, 0);
    d = ipr_dataset_cifar100(c, TI_DIR, 0, 0);
    CHECK(d && d->count == 1 && d->labels[0] == 77 && strcmp(ipr_dataset_class_name(d, 77), "snail") == 0);
    ipr_dataset_free(d);
    d = ipr_dataset_cifar100(c, TI_DIR, 0, 1);
    CHECK(d && d->classes == 20 && d->labels[0] == 15 && strcmp(ipr_dataset_class_name(d, 15), "reptiles") == 0);
    ipr_dataset_free(d);
    remove(TI_DIR "/data_batch_1.bin"); remove(TI_DIR "/data_batch_4.bin"); remove(TI_DIR "/test_batch.bin"); remove(TI_DIR "/train.bin");
    TX_RMDIR(TI_DIR);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(class_splits) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_dataset *d = ipr_dataset_shapes(c, 3, 0, 60), *v, *w, *u, *rest;
    static const int list[3] = { 7, 2, 9 }, twice[2] = { 1, 1 }, beyond[1] = { 10 }, below[1] = { -1 }, second[2] = { 2, 0 };
    ipr_tensor *x, *y;
    int i, k, per[3] = { 0, 0, 0 };
    if (!CHECK(d != NULL)) { ipr_close(c); return; }
    v = ipr_dataset_classes(d, list, 3, 1);
    w = ipr_dataset_classes(d, list, 3, 0);
    CHECK(v && w && v->count == 18 && w->count == 18 && v->classes == 3 && w->classes == 10 && v->u8 == d->u8);
    for (i = 0, k = 0; v && w && i < 60; i++) {         /* in the order of the set, the right ones only */
        const int32_t label = ipr_dataset_label(d, i);
        if (label != 7 && label != 2 && label != 9) continue;
        CHECK(ipr_dataset_item_u8(v, k) == ipr_dataset_item_u8(d, i) && ipr_dataset_label(w, k) == label);
        CHECK_EQ_I(ipr_dataset_label(v, k), label == 7 ? 0 : label == 2 ? 1 : 2);
        k++;
    }
    CHECK_STR(ipr_dataset_class_name(v, 0), "moon");
    CHECK_STR(ipr_dataset_class_name(v, 2), "hourglass");
    CHECK_STR(ipr_dataset_class_name(v, 3), "");
    CHECK_STR(ipr_dataset_class_name(w, 2), "square");
    ipr_dataset_free(w);
    ipr_dataset_free(d);                                /* the view keeps it alive, so it may be asked for below */
    w = ipr_dataset_take(v, 4, 1, &rest);               /* views of it have its labels */
    CHECK(w && rest && w->count == 12 && rest->count == 6 && w->classes == 3);
    CHECK(w && w->base == v && v->base == d);           /* who owns the labels stays alive */
    for (i = 0; w && i < 12; i++) per[ipr_dataset_label(w, i)]++;
    CHECK(per[0] == 4 && per[1] == 4 && per[2] == 4);
    u = ipr_dataset_classes(w, second, 2, 1);           /* a split of a view of a split */
    ipr_dataset_free(v);
    ipr_dataset_free(w);
    CHECK(u && u->count == 8 && u->classes == 2 && strcmp(ipr_dataset_class_name(u, 0), "hourglass") == 0);
    CHECK_EQ_I(ipr_batch(c, u, NULL, 8, IPR_BATCH_MAJOR, &x, &y), IPR_OK);
    for (i = 0, k = 0; u && i < 8; i++) k += ipr_read_i32(c, y)[i];
    CHECK_EQ_I(k, 4);
    w = ipr_dataset_split(u, 0.5, 2, NULL);
    CHECK(w && w->count == 4 && ipr_dataset_label(w, 0) < 2);
    ipr_dataset_free(u);
    CHECK(w && ipr_dataset_label(w, 3) >= 0);
    ipr_dataset_free(w);
    CHECK(ipr_dataset_label(rest, 5) >= 0 && ipr_dataset_label(rest, 5) < 3);
    ipr_dataset_free(rest);
    d = ipr_dataset_shapes(c, 3, 0, 10);
    ipr_step_end(c);
    live = tx_live(c);
    v = ipr_dataset_classes(d, NULL, 4, 1);
    CHECK(v && v->count == 4 && v->classes == 4);
    ipr_dataset_free(v);
    CHECK(ti_failed(c, ipr_dataset_classes(d, twice, 2, 1), live, IPR_E_RANGE, "class 1 is not in 0..9, or listed twice"));
    CHECK(ti_failed(c, ipr_dataset_classes(d, beyond, 1, 0), live, IPR_E_RANGE, "class 10"));
    CHECK(ti_failed(c, ipr_dataset_classes(d, below, 1, 0), live, IPR_E_RANGE, "class -1"));
    CHECK(ti_failed(c, ipr_dataset_classes(d, NULL, 11, 0), live, IPR_E_RANGE, "11 classes of a data set of 10"));
    CHECK(ti_failed(c, ipr_dataset_classes(d, NULL, 0, 0), live, IPR_E_RANGE, "0 classes"));
    CHECK(ipr_dataset_classes(NULL, NULL, 1, 1) == NULL);
    ipr_dataset_free(d);
    {
        static const uint8_t item[2] = { 0, 0 };
        ipr_index one = 1;
        d = ipr_dataset_u8(c, "plain", NULL, 2, 1, &one, item, NULL, 0, 0);
        live = tx_live(c);
        CHECK(ti_failed(c, ipr_dataset_classes(d, NULL, 1, 1), live, IPR_E_RANGE, "of a data set of 0"));
        ipr_dataset_free(d);
    }
    ipr_close(c);
}

/* ---- folders ---- */

static const uint8_t ti_grey[4] = { 10, 20, 30, 40 };
static const uint8_t ti_colour[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

static void ti_image(ipr_ctx *c, const char *path, int width, int height, int channels, const uint8_t *px) {
    ipr_image im = IPR_ZERO;
    im.width = width; im.height = height; im.channels = channels; im.px = px;
    ipr_image_save(c, path, &im);
}

static const char *const ti_files[] = { TI_DIR "/b/2.ppm", TI_DIR "/b/10.PGM", TI_DIR "/b/notes.txt", TI_DIR "/a/x.pnm", TI_DIR "/a/GT-a.csv", TI_DIR "/loose.ppm", TI_DIR "/all.csv" };
static void ti_folders(ipr_ctx *c) {
    (void)TX_MKDIR(IPR_TEST_TMP); (void)TX_MKDIR(TI_DIR); (void)TX_MKDIR(TI_DIR "/a"); (void)TX_MKDIR(TI_DIR "/b"); (void)TX_MKDIR(TI_DIR "/b/sub.ppm");
    ti_image(c, ti_files[0], 2, 2, 3, ti_colour);
    ti_image(c, ti_files[1], 2, 2, 1, ti_grey);
    ipr_file_write(c, ti_files[2], TX("x"), 0);
    ti_image(c, ti_files[3], 4, 1, 1, ti_grey);
    ipr_file_write(c, ti_files[4], TX("Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\nx.pnm;4;1;1;0;3;1;5\r\n"), 0);
    ti_image(c, ti_files[5], 2, 2, 3, ti_colour);
}
static void ti_folders_gone(void) {
    size_t i;
    for (i = 0; i < sizeof ti_files / sizeof *ti_files; i++) remove(ti_files[i]);
    (void)TX_RMDIR(TI_DIR "/b/sub.ppm"); (void)TX_RMDIR(TI_DIR "/a"); (void)TX_RMDIR(TI_DIR "/b"); (void)TX_RMDIR(TI_DIR "/none"); (void)TX_RMDIR(TI_DIR);
}

TEST(image_folders) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_images_desc s = IPR_ZERO;
    ipr_dataset *d, *e;
    int k;
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    ti_folders(c);
    s.width = s.height = 2;
    d = ipr_dataset_images(c, TI_DIR, &s);
    if (!CHECK(d != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(d->count == 3 && d->rank == 3 && d->dims[0] == 3 && d->dims[1] == 2 && d->dims[2] == 2 && d->classes == 2);
    CHECK_STR(d->source, TI_DIR ": 3 PPM and PGM images, 2 other files passed over");
    CHECK_STR(d->name, "images");
    CHECK_STR(ipr_dataset_class_name(d, 0), "a");
    CHECK_STR(ipr_dataset_class_name(d, 1), "b");
    CHECK(d->labels[0] == 0 && d->labels[1] == 1 && d->labels[2] == 1);
    for (k = 0; k < 4; k++) {           /* 10.PGM before 2.ppm; grey three times; colours as planes */
        CHECK(d->u8[12 + k] == ti_grey[k] && d->u8[16 + k] == ti_grey[k] && d->u8[20 + k] == ti_grey[k]);
        CHECK(d->u8[24 + k] == ti_colour[3 * k] && d->u8[28 + k] == ti_colour[3 * k + 1] && d->u8[32 + k] == ti_colour[3 * k + 2]);
    }
    CHECK(d->u8[0] == 15 && d->u8[1] == 35 && d->u8[2] == 15);         /* 4 x 1 becomes 2 x 2: bilinear, since one side grows */
    s.like = d;
    s.name = "again";
    s.channels = 1;
    e = ipr_dataset_images(c, TI_DIR, &s);
    CHECK(e && e->count == 3 && e->dims[0] == 1 && e->classes == 2 && strcmp(e->name, "again") == 0 && strcmp(ipr_dataset_class_name(e, 1), "b") == 0);
    CHECK(e && e->u8[8] == ((19595u * 1 + 38470u * 2 + 7471u * 3 + 32768u) >> 16));
    ipr_dataset_free(e);
    {
        ipr_dataset *shapes = ipr_dataset_shapes(c, 1, 0, 1);
        const uint64_t before = tx_live(c);
        s.like = shapes;
        CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR, &s), before, IPR_E_FORMAT, "test_images.dir: class a is not one of the training set"));
        s.like = NULL;
        ipr_dataset_free(shapes);
    }
    s.roi = 1;
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR, &s), live + 4, IPR_E_FORMAT, "b: no csv with rectangles"));
    ipr_file_write(c, TI_DIR "/b/GT-a.csv", TX("2.ppm;4;4;2;0;4;2;1\n"), 0);
    s.channels = 0; s.width = s.height = 1;
    e = ipr_dataset_images(c, TI_DIR, &s);              /* b: the upper right quarter of an image said to be 4 x 4 */
    CHECK(e && e->count == 2 && e->u8[0] == 25 && e->u8[3] == 4 && e->u8[4] == 5 && e->u8[5] == 6 && e->labels[1] == 1);
    ipr_dataset_free(e);
    remove(TI_DIR "/b/GT-a.csv");
    s.roi = 0;
    e = ipr_dataset_images(c, TI_DIR, NULL);
    CHECK(e && e->dims[0] == 3 && e->dims[1] == 32 && e->dims[2] == 32 && e->u8[0] == 10 && e->u8[31] == 40);
    ipr_dataset_free(e);
    ipr_dataset_free(d);
    (void)TX_MKDIR(TI_DIR "/none");
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR, &s), live, IPR_E_FORMAT, "none: no PPM or PGM images; convert others first"));
    TX_RMDIR(TI_DIR "/none");
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR "/a", &s), live, IPR_E_FORMAT, "a: no folders in it, one a class"));
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR "/nowhere", &s), live, IPR_E_MISSING, "nowhere: there is no such folder"));
    CHECK(ti_failed(c, ipr_dataset_images(c, NULL, &s), live, IPR_E_ARG, "the path is NULL"));
    s.channels = 2;
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR, &s), live, IPR_E_ARG, "2 channels"));
    s.channels = 0; s.width = -1;
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR, &s), live, IPR_E_ARG, "-1 by"));
    s.width = s.height = 2;
    ipr_file_write(c, ti_files[0], TX("P6 2 2 255 too short"), 0);
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR, &s), live, IPR_E_FORMAT, "b/2.ppm: 2 by 2 pixels, but 9 bytes follow"));
    ipr_file_write(c, ti_files[0], TX("\xff\xd8\xff\xe0JFIF"), 0);
    CHECK(ti_failed(c, ipr_dataset_images(c, TI_DIR, &s), live, IPR_E_FORMAT, "b/2.ppm: no binary PGM or PPM"));
    ti_folders_gone();
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(gtsrb_csv) {
    static const struct { const char *text, *says; } bad[] = {
        { "x.pnm;4;1;1;0;3;1\n", "all.csv:1: not Filename;Width" }, { "x.pnm;4;1;1;0;3;1;5;6\n", "all.csv:1: not" },
        { "Filename;\nx.pnm;4;1;1;0;3;1;x\n", "all.csv:2: not" }, { "x.pnm;4;1;3;0;3;1;5\n", ":1: not" }, { "x.pnm;4;1;1;0;5;1;5\n", ":1: not" },
        { "x.pnm;4;1;1;1;3;1;5\n", ":1: not" }, { ";4;1;1;0;3;1;5\n", ":1: not" }, { "../x.pnm;4;1;1;0;3;1;5\n", ":1: not" },
        { "x.pnm;0;1;1;0;3;1;5\n", ":1: not" }, { "x.pnm;4;1;1;0;3;1;70000\n", ":1: not" }, { "x.pnm;12345678901;1;1;0;3;1;5\n", ":1: not" },
        { "\n\nx.pnm;4;1;-1;0;3;1;5\n", ":3: not" }, { "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n", "all.csv: no rows" }, { "", "no rows" },
        { "y.ppm;4;1;1;0;3;1;5\n", "a/y.ppm: no such file" } };
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_images_desc s = IPR_ZERO;
    ipr_dataset *d, *shapes;
    size_t i;
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    ti_folders(c);
    s.width = 2; s.height = 1; s.channels = 1;
    ipr_file_write(c, ti_files[6], TX("Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\nx.pnm;4;1;1;0;3;1;5\r\n\r\nx.pnm;8;2;0;0;4;2;0"), 0);
    d = ipr_dataset_gtsrb(c, ti_files[6], TI_DIR "/a", &s);
    CHECK(d && d->count == 2 && d->classes == 6 && d->labels[0] == 5 && d->labels[1] == 0 && d->u8[0] == 15 && d->u8[1] == 35);
    ipr_dataset_free(d);
    s.roi = 1;
    d = ipr_dataset_gtsrb(c, ti_files[6], TI_DIR "/a", &s);             /* the second row is of an image twice as large */
    CHECK(d && d->u8[0] == 20 && d->u8[1] == 30 && d->u8[2] == 10 && d->u8[3] == 20);
    ipr_dataset_free(d);
    d = ipr_dataset_gtsrb(c, ti_files[4], NULL, &s);                    /* images where the csv lies */
    CHECK(d && d->count == 1 && d->labels[0] == 5 && d->class_names == NULL);
    ipr_dataset_free(d);
    shapes = ipr_dataset_shapes(c, 1, 0, 10);
    s.like = shapes;
    d = ipr_dataset_gtsrb(c, ti_files[4], NULL, &s);
    CHECK(d && d->classes == 10 && strcmp(ipr_dataset_class_name(d, 5), "cross") == 0);
    ipr_dataset_free(d);
    ipr_file_write(c, ti_files[4], TX("x.pnm;4;1;1;0;3;1;10\r\n"), 0);
    CHECK(ti_failed(c, ipr_dataset_gtsrb(c, ti_files[4], NULL, &s), live + 4, IPR_E_RANGE, "label 10 of item 0"));
    ipr_dataset_free(shapes);
    s.like = NULL;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        ipr_file_write(c, ti_files[6], bad[i].text, strlen(bad[i].text), 0);
        d = ipr_dataset_gtsrb(c, ti_files[6], TI_DIR "/a", &s);
        CHECK(ti_failed(c, d, live, strstr(bad[i].says, "no such") ? IPR_E_MISSING : IPR_E_FORMAT, bad[i].says));
    }
    CHECK(ti_failed(c, ipr_dataset_gtsrb(c, NULL, NULL, NULL), live, IPR_E_ARG, "the path is NULL"));
    CHECK(ti_failed(c, ipr_dataset_gtsrb(c, TI_DIR "/nowhere.csv", NULL, NULL), live, IPR_E_MISSING, "nowhere.csv"));
    CHECK(ipr_dataset_gtsrb(NULL, "x", NULL, NULL) == NULL && ipr_dataset_images(NULL, "x", NULL) == NULL);
    ti_folders_gone();
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(dataset_image_planes) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_dataset *d = ipr_dataset_shapes(c, 1, 0, 3);
    ipr_image im;
    int k, i, bad = 0;
    const uint64_t live = tx_live(c);
    CHECK_EQ_I(ipr_dataset_image(d, 2, &im), IPR_OK);
    CHECK(im.width == 32 && im.height == 32 && im.channels == 3 && im.owned);
    for (k = 0; k < 3; k++)
        for (i = 0; i < 1024; i++) bad += im.px[3 * i + k] != d->u8[2 * TI_PIXELS + k * 1024 + i];
    CHECK_EQ_I(bad, 0);
    ipr_image_free(c, &im);
    CHECK_EQ_I(tx_live(c), live);
    CHECK_EQ_I(ipr_dataset_image(d, 3, &im), IPR_E_ARG);
    ipr_dataset_free(d);
    ipr_close(c);
}

/* ---- batches ---- */

/* Image i of a batch by the book: one pixel at a time, one rounding an operation. */
static ipr_real ti_pixel(const ipr_dataset *ds, const ipr_augment_desc *a, int training, uint64_t seed, uint64_t step, ipr_index row, ipr_index item, ipr_index ch, ipr_index y, ipr_index x) {
    const ipr_index lead = ds->rank == 3, C = lead ? ds->dims[0] : 1, H = ds->dims[lead], W = ds->dims[lead + 1];
    volatile ipr_real v = 0;
    uint32_t r[4];
    if (training && a) {
        ipr_random_bits(seed ^ a->stream * 0x9e3779b97f4a7c15u, 5, (uint32_t)step, (step >> 32 << 32) + (uint64_t)row, r);
        if (a->flip && (r[2] & 0x80000000u)) x = W - 1 - x;
        if (a->pad) {
            y += (ipr_index)(((uint64_t)r[0] * (uint64_t)(2 * a->pad + 1)) >> 32) - a->pad;
            x += (ipr_index)(((uint64_t)r[1] * (uint64_t)(2 * a->pad + 1)) >> 32) - a->pad;
        }
    }
    if (C == 1) ch = ch < 1 ? ch : 0;
    if (x >= 0 && x < W && y >= 0 && y < H) {
        const ipr_index at = ((ch < C ? ch : 0) * H + y) * W + x;
        v = ds->u8 ? td_scaled(ipr_dataset_item_u8(ds, item)[at]) : ipr_dataset_item_real(ds, item)[at];
    }
    return v;
}
static ipr_real ti_normal(const ipr_image_norm *n, ipr_index ch, ipr_real value) {
    volatile ipr_real v = value, mean, sd;
    if (!n) return v;
    mean = (ipr_real)n->mean[n->channels > 1 ? ch : 0];
    sd = (ipr_real)n->sd[n->channels > 1 ? ch : 0];
    v = v - mean;
    v = v / sd;
    return v;
}

/* How many elements of the batch are not what the reference says. */
static long ti_compare(ipr_ctx *c, const ipr_dataset *ds, const uint32_t *idx, ipr_index n, const ipr_augment_desc *a, uint64_t step, ipr_index channels, int training) {
    const ipr_index lead = ds->rank == 3, H = ds->dims[lead], W = ds->dims[lead + 1];
    ipr_tensor *x, *y;
    const ipr_real *p;
    ipr_index i, k, row, col;
    long bad = 0;
    ipr_set_training(c, training);
    if (!CHECK(ipr_batch_images(c, ds, idx, n, a, step, &x, &y) == IPR_OK)) { puts(ipr_message(c)); ipr_clear(c); return -1; }
    CHECK(ipr_rank(x) == 4 && ipr_dim(x, 0) == n && ipr_dim(x, 1) == channels && ipr_dim(x, 2) == H && ipr_dim(x, 3) == W);
    CHECK(ipr_rank(y) == 1 && ipr_dim(y, 0) == n);
    p = ipr_read(c, x);
    for (i = 0; i < n; i++) {
        const ipr_index item = idx ? (ipr_index)idx[i] : i;
        bad += ipr_read_i32(c, y)[i] != ipr_dataset_label(ds, item);
        for (k = 0; k < channels; k++)
            for (row = 0; row < H; row++)
                for (col = 0; col < W; col++, p++)
                    bad += *p != ti_normal(a ? a->norm : NULL, k, ti_pixel(ds, a, training, ipr_seed(c), step, i, item, k, row, col));
    }
    ipr_step_end(c);
    return bad;
}

/* Reals 0..1 of any shape, with labels */
static ipr_dataset *ti_reals(ipr_ctx *c, int rank, ipr_index ch, ipr_index h, ipr_index w) {
    static ipr_real v[20 * 60];
    static int32_t labels[20];
    ipr_index d[3], i;
    for (i = 0; i < 20 * 60; i++) v[i] = (ipr_real)((i * 37 % 101) / 128.0);
    for (i = 0; i < 20; i++) labels[i] = (int32_t)(i % 3);
    d[0] = ch; d[1] = h; d[2] = w;
    return ipr_dataset_real(c, "reals", NULL, 20, rank, rank == 3 ? d : d + 1, v, labels, 0, 0);
}

TEST(batch_images) {
    ipr_desc cd = IPR_ZERO;
    ipr_ctx *c;
    ipr_dataset *colour, *grey, *view, *real[3];
    ipr_augment_desc a = IPR_ZERO;
    ipr_image_norm norm = ipr_image_norm_of(IPR_PIXELS_CIFAR10), one = ipr_image_norm_of(IPR_PIXELS_MNIST);
    uint32_t idx[70];
    int i;
    cd.seed = 77;
    c = ipr_open(&cd, NULL);
    colour = ipr_dataset_shapes(c, 1, 0, 30);
    grey = ipr_dataset_digits(c, 1, 0, 30);
    for (i = 0; i < 70; i++) idx[i] = (uint32_t)(i * 13 % 20);
    view = ipr_dataset_view(colour, idx, 20);
    real[0] = ti_reals(c, 3, 4, 3, 5); real[1] = ti_reals(c, 2, 1, 6, 10); real[2] = ti_reals(c, 3, 1, 7, 1);
    CHECK_EQ_I(ti_compare(c, colour, NULL, 20, NULL, 0, 3, 1), 0);
    a.norm = &norm;
    CHECK_EQ_I(ti_compare(c, colour, idx, 20, &a, 0, 3, 1), 0);
    a.pad = 4;
    CHECK_EQ_I(ti_compare(c, colour, idx, 20, &a, 1, 3, 1), 0);
    a.flip = 1;
    CHECK_EQ_I(ti_compare(c, view, idx, 20, &a, 2, 3, 1), 0);
    CHECK_EQ_I(ti_compare(c, view, idx, 20, &a, 2, 3, 0), 0);           /* not training: no crop, no flip */
    CHECK_EQ_I(ti_compare(c, colour, idx, 70, &a, 3, 3, 1), 0);         /* several work items */
    a.stream = 9;
    CHECK_EQ_I(ti_compare(c, colour, idx, 20, &a, ((uint64_t)5 << 32) + 3, 3, 1), 0);
    a.pad = 40;                                                         /* more than the image: some are all black */
    CHECK_EQ_I(ti_compare(c, colour, idx, 20, &a, 4, 3, 1), 0);
    a.norm = &one;                                                      /* one channel's norm for all */
    CHECK_EQ_I(ti_compare(c, colour, idx, 20, &a, 5, 3, 1), 0);
    a.pad = 2;
    CHECK_EQ_I(ti_compare(c, grey, idx, 20, &a, 6, 1, 1), 0);
    a.channels = 3;
    CHECK_EQ_I(ti_compare(c, grey, idx, 20, &a, 7, 3, 1), 0);
    a.norm = &norm;
    CHECK_EQ_I(ti_compare(c, grey, idx, 20, &a, 8, 3, 1), 0);
    CHECK_EQ_I(ti_compare(c, colour, idx, 20, &a, 8, 3, 1), 0);
    a.norm = NULL;
    CHECK_EQ_I(ti_compare(c, grey, idx, 20, &a, 9, 3, 1), 0);
    a.norm = &one;
    CHECK_EQ_I(ti_compare(c, real[2], idx, 20, &a, 10, 3, 1), 0);
    a.channels = 0;
    CHECK_EQ_I(ti_compare(c, real[0], idx, 20, &a, 11, 4, 1), 0);
    CHECK_EQ_I(ti_compare(c, real[1], idx, 20, &a, 12, 1, 1), 0);
    a.norm = NULL;
    CHECK_EQ_I(ti_compare(c, real[0], idx, 20, &a, 13, 4, 1), 0);
    ipr_dataset_free(view);
    ipr_dataset_free(colour);
    ipr_dataset_free(grey);
    for (i = 0; i < 3; i++) ipr_dataset_free(real[i]);
    ipr_close(c);
}

/* Every shift and both directions come about equally often, and another step, row, stream or seed gives others. */
TEST(batch_images_random) {
    enum { N = 600, P = 2 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    static uint8_t items[N * 25];
    static int shift[2][P * 2 + 1][P * 2 + 1], at[3][N];
    ipr_index d[2], i;
    ipr_dataset *ds;
    ipr_augment_desc a = IPR_ZERO;
    ipr_tensor *x;
    const ipr_real *p;
    int k, dy, dx, f, same[2] = { 0, 0 }, bad = 0;
    d[0] = d[1] = 5;
    memset(items, 0, sizeof items);
    for (i = 0; i < N; i++) { items[i * 25 + 12] = 255; items[i * 25 + 13] = 51; }      /* the middle, and a mark to its right */
    ds = ipr_dataset_u8(c, "dots", NULL, N, 2, d, items, NULL, 0, 0);
    a.pad = P; a.flip = 1;
    memset(shift, 0, sizeof shift);
    ipr_set_training(c, 1);
    for (k = 0; k < 3; k++) {
        a.stream = k == 2 ? 1 : 0;
        CHECK_EQ_I(ipr_batch_images(c, ds, NULL, N, &a, k == 1 ? 8 : 7, &x, NULL), IPR_OK);
        p = ipr_read(c, x);
        for (i = 0; i < N; i++, p += 25) {
            int mid = 0;
            while (mid < 24 && p[mid] != 1) mid++;
            dy = mid / 5; dx = mid % 5;
            f = dx > 0 && p[mid - 1] > 0;
            bad += p[mid] != 1;
            if (k == 0) shift[f][dy][dx]++;
            at[k][i] = mid * 2 + f;
        }
    }
    for (i = 0; i < N; i++) { same[0] += at[0][i] == at[1][i]; same[1] += at[0][i] == at[2][i]; }
    CHECK_EQ_I(bad, 0);
    for (dy = 0; dy < 5; dy++)
        for (dx = 1; dx < 4; dx++) {            /* where the mark is inside, so that the direction is known */
            CHECK(shift[0][dy][dx] > 1 && shift[0][dy][dx] < 30);
            CHECK(shift[1][dy][dx] > 1 && shift[1][dy][dx] < 30);
        }
    CHECK(same[0] < N / 10 && same[1] < N / 10);
    ipr_dataset_free(ds);
    ipr_close(c);
}

typedef struct ti_jobs { int threads; } ti_jobs;
static void ti_parallel(void *user, int items, ipr_task task, void *arg) {      /* backwards, by several "workers" */
    const ti_jobs *j = (const ti_jobs *)user;
    int i;
    for (i = items - 1; i >= 0; i--) task(arg, i, i % j->threads);
}

/* The same bytes at any number of threads; no allocation in steady state. */
TEST(batch_images_threads) {
    ipr_image_norm norm = ipr_image_norm_of(IPR_PIXELS_CIFAR_2019);
    ipr_augment_desc a = IPR_ZERO;
    uint8_t sum[3][32];
    ti_jobs jobs;
    int k, s;
    jobs.threads = 3;
    a.pad = 4; a.flip = 1; a.norm = &norm;
    for (k = 0; k < 3; k++) {
        ipr_desc cd = IPR_ZERO;
        ipr_ctx *c;
        ipr_dataset *d;
        ipr_tensor *x, *y;
        ipr_stats before;
        cd.seed = 5;
        if (k == 1) { cd.threads = 3; cd.parallel_fn = ti_parallel; cd.parallel_user = &jobs; }
#ifdef IPR_THREADS
        if (k == 2) cd.threads = 2;
#endif
        c = ipr_open(&cd, NULL);
        d = ipr_dataset_shapes(c, 1, 0, 96);
        ipr_set_training(c, 1);
        for (s = 0; s < 2; s++) { (void)ipr_batch_images(c, d, NULL, 96, &a, 3, &x, &y); ipr_step_end(c); }
        before = ipr_stats_get(c);
        for (s = 0; s < 3; s++) { CHECK_EQ_I(ipr_batch_images(c, d, NULL, 96, &a, 3, &x, &y), IPR_OK); if (s < 2) ipr_step_end(c); }
        CHECK_EQ_I(ipr_stats_get(c).allocs, before.allocs);
        ipr_sha256_of(ipr_read(c, x), (size_t)ipr_count(x) * sizeof(ipr_real), sum[k]);
        ipr_dataset_free(d);
        ipr_close(c);
    }
    CHECK(memcmp(sum[0], sum[1], 32) == 0 && memcmp(sum[0], sum[2], 32) == 0);
}

static int ti_batch_fails(ipr_ctx *c, const ipr_dataset *ds, const uint32_t *idx, ipr_index n, const ipr_augment_desc *a, int labels, int code, const char *says) {
    ipr_tensor *x, *y;
    const int status = ipr_batch_images(c, ds, idx, n, a, 0, &x, labels ? &y : NULL);
    const int ok = status == code && ipr_status(c) == code && strstr(ipr_message(c), says) && ipr_is_poison(x) && (!labels || ipr_is_poison(y));
    if (!ok) printf("  %s: \"%s\", want \"%s\"\n", ipr_status_name(status), ipr_message(c), says);
    ipr_clear(c);
    ipr_step_end(c);
    return ok;
}

TEST(batch_images_bad) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_dataset *colour = ipr_dataset_shapes(c, 1, 0, 4), *tokens = ipr_dataset_tokens(c, "t", NULL, 4, tx_offsets, tx_tokens, NULL, 0, 1), *flat = td_uneven(c), *plain, *rows;
    ipr_augment_desc a = IPR_ZERO;
    ipr_image_norm norm = ipr_image_norm_of(IPR_PIXELS_IMAGENET);
    static uint8_t px[12];
    ipr_index d[3];
    const uint32_t beyond = 4;
    ipr_tensor *x;
    double zero = 0;
    d[0] = d[1] = 2; d[2] = 3;
    plain = ipr_dataset_u8(c, "plain", NULL, 1, 2, d, px, NULL, 0, 0);
    rows = ipr_dataset_u8(c, "rows", NULL, 1, 3, d, px, NULL, 0, 0);
    CHECK(ti_batch_fails(c, NULL, NULL, 1, NULL, 1, IPR_E_ARG, "ds or x is NULL"));
    CHECK_EQ_I(ipr_batch_images(c, colour, NULL, 1, NULL, 0, NULL, NULL), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_batch_images(NULL, colour, NULL, 1, NULL, 0, &x, NULL), IPR_E_ARG);
    CHECK(ti_batch_fails(c, colour, NULL, 0, NULL, 1, IPR_E_ARG, "a batch of 0 items"));
    CHECK(ti_batch_fails(c, colour, NULL, 5, NULL, 1, IPR_E_RANGE, "item 4 of a data set of 4"));
    CHECK(ti_batch_fails(c, colour, &beyond, 1, NULL, 1, IPR_E_RANGE, "item 4 of a data set of 4"));
    CHECK(ti_batch_fails(c, plain, NULL, 1, NULL, 1, IPR_E_MISSING, "plain has no labels"));
    CHECK(ti_batch_fails(c, tokens, NULL, 1, NULL, 0, IPR_E_SHAPE, "t: items are [H,W] or [C,H,W]"));
    CHECK(ti_batch_fails(c, flat, NULL, 1, NULL, 1, IPR_E_SHAPE, "not tokens or 1 dimensions"));
    a.channels = 1;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_SHAPE, "shapes: 1 channels from 3; only grey becomes 3"));
    a.channels = 3;
    CHECK(ti_batch_fails(c, rows, NULL, 1, &a, 0, IPR_E_SHAPE, "rows: 3 channels from 2"));
    a.channels = 2;
    CHECK(ti_batch_fails(c, plain, NULL, 1, &a, 0, IPR_E_SHAPE, "2 channels from 1"));
    a.channels = 0; a.pad = -1;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_RANGE, "pad is -1"));
    a.pad = 65536;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_RANGE, "pad is 65536"));
    a.pad = 0; a.norm = &norm;
    CHECK(ti_batch_fails(c, plain, NULL, 1, &a, 0, IPR_E_SHAPE, "the norm has 3 channels, the images have 1"));
    norm.channels = 5;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_SHAPE, "the norm has 5 channels"));
    norm.channels = 0;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_SHAPE, "the norm has 0 channels"));
    norm.channels = 3; norm.sd[1] = 0;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_RANGE, "channel 1: mean 0.456, deviation 0"));
    norm.sd[1] = 1 / zero;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_RANGE, "channel 1"));
    norm.sd[1] = 1; norm.mean[2] = zero / zero;
    CHECK(ti_batch_fails(c, colour, NULL, 1, &a, 1, IPR_E_RANGE, "channel 2"));
    ipr_dataset_free(colour); ipr_dataset_free(tokens); ipr_dataset_free(flat); ipr_dataset_free(plain); ipr_dataset_free(rows);
    ipr_close(c);
}

/* First and last channel; x87 holds literals with more bits than doubles have. */
static int ti_norm_is(const ipr_image_norm *n, int channels, double m0, double m1, double s0, double s1) {
    const int k = channels - 1;
    return n->channels == channels && fabs(n->mean[0] - m0) < 1e-15 && fabs(n->mean[k] - m1) < 1e-15 && fabs(n->sd[0] - s0) < 1e-15 && fabs(n->sd[k] - s1) < 1e-15;
}

TEST(image_norms) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_image_norm n = ipr_image_norm_of(IPR_PIXELS_CIFAR10);
    ipr_dataset *d;
    ipr_index dims[3];
    static const uint8_t px[8] = { 0, 255, 0, 255, 10, 20, 10, 20 };
    CHECK(ti_norm_is(&n, 3, 0.4914, 0.4465, 0.2470, 0.2616));
    n = ipr_image_norm_of(IPR_PIXELS_CIFAR_2019);
    CHECK(ti_norm_is(&n, 3, 0.4914, 0.4465, 0.2023, 0.2010));
    n = ipr_image_norm_of(IPR_PIXELS_CIFAR100);
    CHECK(ti_norm_is(&n, 3, 0.5071, 0.4409, 0.2673, 0.2762));
    n = ipr_image_norm_of(IPR_PIXELS_IMAGENET);
    CHECK(ti_norm_is(&n, 3, 0.485, 0.406, 0.229, 0.225));
    n = ipr_image_norm_of(IPR_PIXELS_MNIST);
    CHECK(ti_norm_is(&n, 1, 0.1307, 0.1307, 0.3081, 0.3081));
    n = ipr_image_norm_of(IPR_PIXELS_FMNIST);
    CHECK(ti_norm_is(&n, 1, 0.2860, 0.2860, 0.3530, 0.3530));
    n = ipr_image_norm_of(0);
    CHECK(ti_norm_is(&n, 1, 0, 0, 1, 1));
    n = ipr_image_norm_of(99);
    CHECK(ti_norm_is(&n, 1, 0, 0, 1, 1));
    dims[0] = 2; dims[1] = 1; dims[2] = 2;              /* two items of two channels: 0 255, 0 255 | 10 20, 10 20 */
    d = ipr_dataset_u8(c, "d", NULL, 2, 3, dims, px, NULL, 0, 0);
    CHECK_EQ_I(ipr_image_norm_measure(d, &n), IPR_OK);
    CHECK(n.channels == 2);
    CHECK_NEAR(n.mean[0], 285 / 4.0 / 255, 1e-15);
    CHECK_NEAR(n.sd[0], sqrt((65025 + 100 + 400) / 4.0 - 71.25 * 71.25) / 255, 1e-15);
    CHECK_NEAR(n.sd[1], n.sd[0], 1e-15);
    ipr_dataset_free(d);
    dims[0] = 1;
    d = ipr_dataset_u8(c, "flat", NULL, 1, 2, dims, px, NULL, 0, 0);    /* [1,1]: one value */
    CHECK_EQ_I(ipr_image_norm_measure(d, &n), IPR_E_RANGE);
    CHECK(strstr(ipr_message(c), "flat: all values of channel 0 are the same"));
    ipr_clear(c);
    CHECK_EQ_I(ipr_image_norm_measure(d, NULL), IPR_E_ARG);
    CHECK_EQ_I(ipr_image_norm_measure(NULL, &n), IPR_E_ARG);
    ipr_clear(c);
    ipr_dataset_free(d);
    d = ti_reals(c, 2, 1, 6, 10);
    CHECK_EQ_I(ipr_image_norm_measure(d, &n), IPR_E_SHAPE);
    ipr_dataset_free(d);
    ipr_close(c);
}

/* ---- generators ---- */

static void ti_hash(const ipr_dataset *d, char hex[65]) {
    uint8_t sum[32];
    ipr_sha256_of(d->u8, (size_t)(d->count * d->item), sum);
    ipr_hex(sum, 32, hex);
}

TEST(shapes_hash) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_dataset *d = ipr_dataset_shapes(c, 2024, 0, 100), *e;
    uint8_t one[TI_PIXELS];
    char hex[65];
    int i, per[10];
    if (!CHECK(d != NULL)) { ipr_close(c); return; }
    CHECK(d->count == 100 && d->classes == 10 && d->rank == 3 && d->dims[0] == 3 && d->item == TI_PIXELS);
    ti_hash(d, hex);
    CHECK_STR(hex, "f250239d1e43f8a9b61212c921ee9858a22df49936645a904d2fc375d0088c5f");       /* the same on every machine, for ever */
    memset(per, 0, sizeof per);
    for (i = 0; i < 100; i++) per[ipr_dataset_label(d, i)]++;
    for (i = 0; i < 10; i++) CHECK_EQ_I(per[i], 10);
    CHECK_EQ_I(ipr_shape_draw(2024, 77, one), ipr_dataset_label(d, 77));
    CHECK(memcmp(one, ipr_dataset_item_u8(d, 77), TI_PIXELS) == 0);
    e = ipr_dataset_shapes(c, 2024, 70, 10);
    CHECK(e && memcmp(ipr_dataset_item_u8(e, 7), one, TI_PIXELS) == 0);
    ipr_dataset_free(e);
    e = ipr_dataset_shapes(c, 2024, IPR_DIGITS_TEST, 100);
    CHECK(e && memcmp(e->u8, d->u8, TI_PIXELS) != 0);
    ipr_dataset_free(e);
    e = ipr_dataset_shapes(c, 2025, 0, 100);
    CHECK(e && memcmp(e->u8, d->u8, TI_PIXELS) != 0);
    ipr_dataset_free(e);
    e = ipr_dataset_shapes(c, 1, 0, 0);
    CHECK(e && e->count == 0);
    ipr_dataset_free(e);
    CHECK(ipr_dataset_shapes(c, 1, 0, -1) == NULL);
    ipr_dataset_free(d);
    ipr_close(c);
}

/* Hard for what does not know that figures move and turn: nearest class mean and nearest neighbour stay far below what
   a small convolutional network reaches (about 97 % with 3000 images), but above chance. */
TEST(shapes_hard) {
    enum { N = 1000, M = 200 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_dataset *d = ipr_dataset_shapes(c, 5, 0, N), *e = ipr_dataset_shapes(c, 5, IPR_DIGITS_TEST, M);
    static double mean[10][TI_PIXELS];
    int i, j, k, p, right[2] = { 0, 0 };
    if (!CHECK(d && e)) { ipr_close(c); return; }
    memset(mean, 0, sizeof mean);
    for (i = 0; i < N; i++)
        for (p = 0; p < TI_PIXELS; p++) mean[d->labels[i]][p] += d->u8[i * TI_PIXELS + p] / (N / 10.0);
    for (i = 0; i < M; i++) {
        const uint8_t *q = e->u8 + i * TI_PIXELS;
        double best = 1e30;
        long near = 0, s;
        int is = -1;
        for (k = 0; k < 10; k++) {
            double t = 0;
            for (p = 0; p < TI_PIXELS; p++) t += (q[p] - mean[k][p]) * (q[p] - mean[k][p]);
            if (t < best) { best = t; is = k; }
        }
        right[0] += is == e->labels[i];
        for (j = 0; j < N; j++) {
            const uint8_t *r = d->u8 + j * TI_PIXELS;
            for (s = 0, p = 0; p < TI_PIXELS; p += 3) s += (q[p] - r[p]) * (q[p] - r[p]);
            if (!j || s < near) { near = s; is = d->labels[j]; }
        }
        right[1] += is == e->labels[i];
    }
    CHECK(right[0] > M * 11 / 100 && right[0] < M * 45 / 100);
    CHECK(right[1] > M * 15 / 100 && right[1] < M * 60 / 100);
    ipr_dataset_free(d);
    ipr_dataset_free(e);
    ipr_close(c);
}

TEST(abstract_pictures) {
    static const char seed[] = "an owner's seed of 32 bytes.....", other[] = "an owner's seed of 32 bytes....!";
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_abstract_desc a = IPR_ZERO;
    ipr_dataset *d, *e;
    char hex[65];
    int i, j, same = 0, per[10];
    d = ipr_dataset_abstract(c, seed, 32, NULL);
    if (!CHECK(d != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(d->count == 100 && d->dims[0] == 3 && d->dims[1] == 32 && d->dims[2] == 32 && !d->labels && d->classes == 0);
    ti_hash(d, hex);
    CHECK_STR(hex, "327eff663ccd746f3f6df56ee57f328520a9f1899d1d9dffd8ad97eb53838f47");     /* a promise to owners: their triggers can be made again */
    for (i = 0; i < 100; i++)
        for (j = 0; j < i; j++) same += memcmp(d->u8 + i * TI_PIXELS, d->u8 + j * TI_PIXELS, TI_PIXELS) == 0;
    CHECK_EQ_I(same, 0);
    a.classes = 10; a.first = 40; a.count = 200;
    e = ipr_dataset_abstract(c, seed, 32, &a);
    CHECK(e && e->count == 200 && e->classes == 10 && memcmp(e->u8, d->u8 + 40 * TI_PIXELS, 60 * TI_PIXELS) == 0);
    memset(per, 0, sizeof per);
    for (i = 0; e && i < 200; i++) per[e->labels[i]]++;
    for (i = 0; i < 10; i++) CHECK(per[i] > 5 && per[i] < 40);
    ipr_dataset_free(e);
    a.count = 1; a.first = 0;
    e = ipr_dataset_abstract(c, other, 32, &a);
    CHECK(e && memcmp(e->u8, d->u8, TI_PIXELS) != 0);
    ipr_dataset_free(e);
    a.channels = 1; a.width = 40; a.height = 9; a.count = 3;
    e = ipr_dataset_abstract(c, seed, 32, &a);
    CHECK(e && e->dims[0] == 1 && e->dims[1] == 9 && e->dims[2] == 40);
    if (e) ti_hash(e, hex);
    CHECK_STR(hex, "c81573d474a55ac33614696c9da459fb05bae72eb2742e7dfaa772dec21a0214");
    ipr_dataset_free(e);
    ipr_dataset_free(d);
    CHECK(ti_failed(c, ipr_dataset_abstract(c, seed, 15, &a), live, IPR_E_RANGE, "a seed of 15 bytes can be guessed"));
    CHECK(ti_failed(c, ipr_dataset_abstract(c, NULL, 32, &a), live, IPR_E_RANGE, "a seed of 0 bytes"));
    a.width = 7;
    CHECK(ti_failed(c, ipr_dataset_abstract(c, seed, 32, &a), live, IPR_E_RANGE, "1 channels of 7 by 9"));
    a.width = 4097;
    CHECK(ti_failed(c, ipr_dataset_abstract(c, seed, 32, &a), live, IPR_E_RANGE, "sides of 8 to 4096"));
    a.width = 8; a.channels = 2;
    CHECK(ti_failed(c, ipr_dataset_abstract(c, seed, 32, &a), live, IPR_E_RANGE, "2 channels"));
    a.channels = 3; a.classes = -1;
    CHECK(ti_failed(c, ipr_dataset_abstract(c, seed, 32, &a), live, IPR_E_RANGE, "-1 classes"));
    a.classes = 0; a.count = -1;
    CHECK(ti_failed(c, ipr_dataset_abstract(c, seed, 32, &a), live, IPR_E_SHAPE, "-1 items"));
    CHECK(ipr_dataset_abstract(NULL, seed, 32, NULL) == NULL);
    ipr_close(c);
}

/* ---- real data, where it is ---- */

static int ti_find(ipr_ctx *c, const char *name, char *out, size_t cap) {
    const char *roots[4];
    roots[0] = getenv("IPR_DATA"); roots[1] = "../data"; roots[2] = "build/data"; roots[3] = "data";    /* run.sh starts in build/tests */
    return ipr_data_find(c, roots, 4, name, out, cap) == IPR_OK;
}
static void ti_folder(char *path) { char *s = strrchr(path, '/'); if (s) *s = 0; }

TEST(real_cifar10) {
    static const int each[10] = { 1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_dataset *d;
    ipr_image_norm n;
    char path[600];
    int per[10], i;
    if (!ti_find(c, "cifar10/cifar-10-batches-bin/test_batch.bin", path, sizeof path)) { ipr_close(c); SKIP("no CIFAR-10 here; make data NAMES=cifar10, or set IPR_DATA"); }
    ti_folder(path);
    d = ipr_dataset_cifar10(c, path, 1);
    CHECK(d && d->count == 10000);
    memset(per, 0, sizeof per);
    for (i = 0; d && i < 10000; i++) per[d->labels[i]]++;
    for (i = 0; i < 10; i++) CHECK_EQ_I(per[i], 1000);
    CHECK(d && strcmp(ipr_dataset_class_name(d, d->labels[0]), "cat") == 0 && strcmp(ipr_dataset_class_name(d, d->labels[1]), "ship") == 0);
    ipr_dataset_free(d);
    d = ipr_dataset_cifar10(c, path, 0);
    CHECK(d && d->count >= 10000 && d->count % 10000 == 0 && strstr(d->source, " of 5 training batches"));
    memset(per, 0, sizeof per);
    for (i = 0; d && i < 10000; i++) per[d->labels[i]]++;
    for (i = 0; i < 10; i++) CHECK_EQ_I(per[i], each[i]);
    CHECK_EQ_I(ipr_image_norm_measure(d, &n), IPR_OK);
    for (i = 0; i < 3; i++) {
        const ipr_image_norm paper = ipr_image_norm_of(IPR_PIXELS_CIFAR10);
        CHECK_NEAR(n.mean[i], paper.mean[i], 0.004);
        CHECK_NEAR(n.sd[i], paper.sd[i], 0.002);
    }
    ipr_dataset_free(d);
    ipr_close(c);
}

TEST(real_gtsrb) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_images_desc s = IPR_ZERO;
    ipr_dataset *d, *v;
    char path[600], folder[600];
    int i, most = 0;
    if (!ti_find(c, "gtsrb32/GTSRB/Final_Test/GT-final_test.csv", path, sizeof path)) { ipr_close(c); SKIP("no unpacked gtsrb32 here; make data NAMES=gtsrb32"); }
    if (!CHECK(ti_find(c, "gtsrb32/GTSRB/Final_Test/Images/00000.ppm", folder, sizeof folder))) { ipr_close(c); return; }
    ti_folder(folder);
    s.roi = 1;
    d = ipr_dataset_gtsrb(c, path, folder, &s);
    if (!CHECK(d != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(d->count == 12630 && d->classes == 43 && d->labels[0] == 16 && d->labels[1] == 1 && d->labels[2] == 38);
    v = ipr_dataset_classes(d, NULL, 10, 1);
    CHECK(v && v->classes == 10 && v->count > 3000);
    for (i = 0; v && i < v->count; i++) most = ipr_dataset_label(v, i) > most ? ipr_dataset_label(v, i) : most;
    CHECK_EQ_I(most, 9);
    ipr_dataset_free(v);
    ipr_dataset_free(d);
    ipr_close(c);
}

TEST(real_natural32) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_dataset *d;
    const char *paths[1];
    char path[600];
    if (!ti_find(c, "natural32/natural32.bin", path, sizeof path)) { ipr_close(c); SKIP("no natural32 here; it comes from a folder only: IPR_DATA"); }
    paths[0] = path;
    d = ipr_dataset_cifar_files(c, "natural32", paths, 1, IPR_CIFAR10);
    CHECK(d && d->count == 5000 && d->labels[4999] == 0);
    ipr_dataset_free(d);
    ipr_close(c);
}

/* ---- memory runs out at every k-th allocation ---- */

static void ti_everything(ipr_ctx *c) {
    static uint8_t file[2 * (TI_PIXELS + 1)];
    static const int list[2] = { 2, 1 };
    ipr_abstract_desc a = IPR_ZERO;
    ipr_images_desc s = IPR_ZERO;
    ipr_augment_desc g = IPR_ZERO;
    ipr_image im;
    ipr_dataset *d = ipr_dataset_shapes(c, 1, 0, 12), *v, *w, *rest = NULL;
    ipr_tensor *x, *y;
    size_t n = ti_record(file, 0, 0, 1);
    n += ti_record(file + n, 1, 0, 2);
    v = ipr_dataset_classes(d, list, 2, 1);
    w = ipr_dataset_take(v, 1, 1, &rest);
    g.pad = 1;
    if (d) (void)ipr_batch_images(c, d, NULL, 3, &g, 0, &x, &y);
    if (!ipr_status(c) && ipr_dataset_image(d, 0, &im) == IPR_OK) ipr_image_free(c, &im);
    ipr_dataset_free(w);
    ipr_dataset_free(rest);
    ipr_dataset_free(v);
    ipr_dataset_free(ti_read(c, file, n, IPR_CIFAR10));
    a.count = 2; a.width = a.height = 8;
    ipr_dataset_free(ipr_dataset_abstract(c, "0123456789abcdef", 16, &a));
    if (IPR__FILES) {
        s.width = s.height = 2; s.channels = 1; s.like = NULL;
        ipr_dataset_free(ipr_dataset_images(c, TI_DIR, &s));
        s.roi = 1; s.like = d;
        ipr_dataset_free(ipr_dataset_gtsrb(c, TI_DIR "/a/GT-a.csv", NULL, &s));
        ipr_dataset_free(ipr_dataset_cifar10(c, TI_DIR, 0));
        ipr_dataset_free(ipr_dataset_cifar100(c, TI_DIR, 1, 1));
    }
    ipr_dataset_free(d);
    ipr_step_end(c);
}

TEST(images_no_memory) {
    static uint8_t file[TI_PIXELS + 2];
    tx_heap h;
    ipr_desc d;
    ipr_ctx *c;
    long n, k, leaks = 0, silent = 0, live;
    if (IPR__FILES) {
        ipr_ctx *f = ipr_open(NULL, NULL);
        size_t bytes = ti_record(file, 0, 0, 1);
        ti_folders(f);
        ipr_file_write(f, TI_DIR "/data_batch_2.bin", file, bytes, 0);
        bytes = ti_record(file, 0, 1, 1);
        ipr_file_write(f, TI_DIR "/test.bin", file, bytes, 0);
        ipr_close(f);
    }
    memset(&h, 0, sizeof h);
    memset(&d, 0, sizeof d);
    d.allocator.alloc_fn = tx_alloc; d.allocator.free_fn = tx_free; d.allocator.user = &h;
    h.fail_at = -1;
    c = ipr_open(&d, NULL);
    ti_everything(c);                   /* the step arena has grown */
    if (!CHECK_EQ_I(ipr_status(c), IPR_OK)) puts(ipr_message(c));
    h.calls = 0;
    live = h.live;
    ti_everything(c);
    CHECK_EQ_I(h.live, live);
    n = h.calls;
    CHECK(n > (IPR__FILES ? 50 : 10));
    for (k = 0; k < n; k++) {
        h.calls = 0;
        h.fail_at = k;
        ti_everything(c);
        h.fail_at = -1;
        silent += ipr_status(c) != IPR_E_NOMEM;
        leaks += h.live != live;
        ipr_clear(c);
    }
    CHECK_EQ_I(silent, 0);
    CHECK_EQ_I(leaks, 0);
    ipr_close(c);
    CHECK_EQ_I(h.live, 0);
    remove(TI_DIR "/data_batch_2.bin");
    remove(TI_DIR "/test.bin");
    ti_folders_gone();
}

static void suite_images(void) {
    RUN(cifar_records); RUN(cifar_bad); RUN(cifar_folder); RUN(class_splits); RUN(image_folders); RUN(gtsrb_csv); RUN(dataset_image_planes);
    RUN(batch_images); RUN(batch_images_random); RUN(batch_images_threads); RUN(batch_images_bad); RUN(image_norms);
    RUN(shapes_hash); RUN(shapes_hard); RUN(abstract_pictures); RUN(real_cifar10); RUN(real_gtsrb); RUN(real_natural32); RUN(images_no_memory);
}
