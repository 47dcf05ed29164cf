/* Floor 7: readers, writers, atomic files, JSON, arrays, npy, safetensors, parameters. */

#ifndef IPR_TEST_TMP
#define IPR_TEST_TMP "build"        /* a folder that is there; files in it are made and removed */
#endif
#define TF_PATH IPR_TEST_TMP "/test_files.tmp"
/* Hosts under qemu and plain Unix can have their files watched; elsewhere those tests skip. */
#if IPR__FILES && !IPR__WIN32
#define TF_POSIX 1
#else
#define TF_POSIX 0
#endif

static ipr_ctx *tf_open(void) { return ipr_open(NULL, NULL); }

/* Leaves nothing allocated but the context itself: blocks of the objects under test must be back. */
static uint64_t tf_live(ipr_ctx *c) { ipr_stats s = ipr_stats_get(c); return s.allocs - s.frees; }

typedef struct tf_stream { const uint8_t *p; size_t n, at, most; int fail_at_end; } tf_stream;
static ipr_index tf_stream_read(void *user, void *dst, size_t bytes) {
    tf_stream *s = (tf_stream *)user;
    size_t k = bytes < s->most ? bytes : s->most;
    if (k > s->n - s->at) k = s->n - s->at;
    if (!k && s->fail_at_end) return -1;
    memcpy(dst, s->p + s->at, k);
    s->at += k;
    return (ipr_index)k;
}
static ipr_index tf_read_too_much(void *user, void *dst, size_t bytes) { (void)user; (void)dst; return (ipr_index)bytes + 1; }

typedef struct tf_sink { uint8_t buf[8192]; size_t n, cap; int calls; } tf_sink;
static int tf_sink_write(void *user, const void *src, size_t bytes) {
    tf_sink *s = (tf_sink *)user;
    s->calls++;
    if (bytes > s->cap - s->n) return 0;
    memcpy(s->buf + s->n, src, bytes);
    s->n += bytes;
    return 1;
}

TEST(reader_memory) {
    ipr_ctx *c = tf_open();
    ipr_reader r;
    uint8_t b[4] = { 0, 0, 0, 0 };
    CHECK_EQ_I(ipr_reader_memory(c, &r, "abcde", 5), IPR_OK);
    CHECK_EQ_I(ipr_reader_read(&r, b, 3), IPR_OK);
    CHECK(memcmp(b, "abc", 3) == 0);
    CHECK_EQ_I(ipr_reader_left(&r), 2);
    CHECK_EQ_I(ipr_reader_read(&r, b, 3), IPR_E_FORMAT);
    CHECK(strstr(ipr_message(c), "3 bytes wanted at byte 3 of 5") != NULL);
    CHECK_EQ_I(ipr_reader_read(&r, b, 1), IPR_E_FORMAT);   /* sticky */
    ipr_reader_close(&r);
    CHECK_EQ_I(ipr_reader_read(&r, b, 1), IPR_E_STATE);
    CHECK_EQ_I(ipr_reader_memory(c, &r, "a", 1), IPR_E_FORMAT);    /* the context's error stands */
    ipr_clear(c);
    CHECK_EQ_I(ipr_reader_memory(c, &r, NULL, 1), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_reader_memory(c, &r, NULL, 0), IPR_OK);
    CHECK_EQ_I(ipr_reader_left(&r), 0);
    CHECK_EQ_I(ipr_reader_memory(c, NULL, "a", 1), IPR_E_ARG);
    ipr_close(c);
}

TEST(reader_callback) {
    ipr_ctx *c = tf_open();
    static uint8_t big[200000];
    uint8_t *got = (uint8_t *)ipr__alloc(c, sizeof big);
    ipr_reader r;
    tf_stream s;
    size_t i;
    uint64_t live;
    memset(&s, 0, sizeof s);
    for (i = 0; i < sizeof big; i++) big[i] = (uint8_t)(i * 31 >> 3);
    s.p = big; s.n = sizeof big; s.most = 1000;
    CHECK_EQ_I(ipr_reader_callback(c, &r, tf_stream_read, &s, sizeof big), IPR_OK);
    CHECK_EQ_I(ipr_reader_read(&r, got, sizeof big), IPR_OK);      /* short reads are put together */
    CHECK(memcmp(got, big, sizeof big) == 0);
    ipr_reader_close(&r);
    live = tf_live(c);
    s.at = 0;
    CHECK_EQ_I(ipr_reader_callback(c, &r, tf_stream_read, &s, IPR_SIZE_UNKNOWN), IPR_OK);
    CHECK_EQ_I(ipr_reader_left(&r), sizeof big);
    CHECK_EQ_I(ipr_reader_read(&r, got, sizeof big), IPR_OK);
    CHECK(memcmp(got, big, sizeof big) == 0);
    ipr_reader_close(&r);
    s.at = 0; s.fail_at_end = 1;
    CHECK_EQ_I(ipr_reader_callback(c, &r, tf_stream_read, &s, IPR_SIZE_UNKNOWN), IPR_E_IO);
    ipr_reader_close(&r);
    ipr_clear(c);
    s.at = 0; s.fail_at_end = 0;                       /* it claims more than it gives */
    CHECK_EQ_I(ipr_reader_callback(c, &r, tf_stream_read, &s, sizeof big + 5), IPR_OK);
    CHECK_EQ_I(ipr_reader_read(&r, got, 199999), IPR_OK);
    CHECK_EQ_I(ipr_reader_read(&r, got, 6), IPR_E_IO);
    CHECK(strstr(ipr_message(c), "ended early") != NULL);
    ipr_reader_close(&r);
    ipr_clear(c);
    CHECK_EQ_I(ipr_reader_callback(c, &r, tf_read_too_much, NULL, 8), IPR_OK);
    CHECK_EQ_I(ipr_reader_read(&r, got, 4), IPR_E_IO);
    ipr_reader_close(&r);
    ipr_clear(c);
    CHECK_EQ_I(ipr_reader_callback(c, &r, NULL, NULL, 8), IPR_E_ARG);
    CHECK_EQ_I(tf_live(c), live);
    ipr_close(c);
}

TEST(writer_memory) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    uint64_t live = tf_live(c);
    int i;
    CHECK_EQ_I(ipr_writer_memory(c, &w), IPR_OK);
    for (i = 0; i < 5000; i++) ipr_writer_text(&w, "0123456789");
    CHECK_EQ_I(ipr_writer_bytes(&w), 50000);
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_OK);
    CHECK(memcmp((const char *)ipr_writer_data(&w) + 49990, "0123456789", 10) == 0);
    CHECK_EQ_I(ipr_writer_write(&w, "x", 1), IPR_E_STATE);
    ipr_writer_close(&w);
    CHECK_EQ_I(tf_live(c), live);
    ipr_close(c);
}

TEST(writer_buffer) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    char b[8] = "-------";
    ipr_writer_buffer(c, &w, b, 6);
    ipr_writer_text(&w, "abcd");
    ipr_writer_text(&w, "efg");      /* does not fit: dropped whole */
    ipr_writer_text(&w, "h");        /* and so is what follows */
    CHECK_EQ_I(ipr_writer_bytes(&w), 8);
    CHECK(memcmp(b, "abcd---", 7) == 0);
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_E_NOMEM);
    CHECK(strstr(ipr_message(c), "8 bytes into a buffer of 6") != NULL);
    ipr_writer_close(&w);
    ipr_clear(c);
    ipr_writer_buffer(c, &w, b, 6);
    ipr_writer_text(&w, "123456");
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_OK);
    CHECK(memcmp(b, "123456-", 7) == 0);
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_E_STATE);
    ipr_writer_close(&w);
    ipr_close(c);
}

TEST(writer_callback) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    static tf_sink s;
    int i;
    s.n = 0; s.cap = sizeof s.buf; s.calls = 0;
    CHECK_EQ_I(ipr_writer_callback(c, &w, tf_sink_write, &s), IPR_OK);
    for (i = 0; i < 500; i++) ipr_writer_text(&w, "0123456789");
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_OK);
    CHECK_EQ_I(s.n, 5000);
    CHECK_EQ_I(s.calls, 2);           /* gathered into blocks */
    ipr_writer_close(&w);
    s.n = 0; s.cap = 4500;
    ipr_writer_callback(c, &w, tf_sink_write, &s);
    for (i = 0; i < 500; i++) ipr_writer_text(&w, "0123456789");
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_E_IO);
    CHECK_EQ_I(ipr_status(c), IPR_E_IO);
    ipr_writer_close(&w);
    ipr_clear(c);
    CHECK_EQ_I(ipr_writer_callback(c, &w, NULL, NULL), IPR_E_ARG);
    ipr_writer_close(&w);
    ipr_close(c);
}

/* The file at TF_PATH is exactly this text. */
static int tf_file_is(ipr_ctx *c, const char *text) {
    size_t n;
    char *s = (char *)ipr_file_read(c, TF_PATH, &n);
    int same = s && n == strlen(text) && strcmp(s, text) == 0;
    ipr_file_free(c, s);
    return same;
}

TEST(file_atomic) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    uint64_t live = tf_live(c);
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    remove(TF_PATH);
    if (!CHECK_EQ_I(ipr_file_write(c, TF_PATH, "old", 3, 0), IPR_OK)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(tf_file_is(c, "old"));
    CHECK_EQ_I(ipr_file_write(c, TF_PATH, "newer", 5, 0), IPR_OK);     /* replaces */
    CHECK(tf_file_is(c, "newer"));
    ipr_writer_file(c, &w, TF_PATH, 0);
    ipr_writer_text(&w, "never seen");
    CHECK(ipr__os_kind(w.temp) == IPR__PATH_FILE);
    CHECK(tf_file_is(c, "newer"));                     /* not before commit */
    {
        char temp[200];
        ipr__fmt(temp, sizeof temp, "%s", w.temp);
        ipr_writer_close(&w);                          /* and not without */
        CHECK(ipr__os_kind(temp) == IPR__PATH_NONE);
    }
    CHECK(tf_file_is(c, "newer"));
    CHECK_EQ_I(ipr_file_write(c, IPR_TEST_TMP "/no/such/folder/x", "a", 1, 0), IPR_E_IO);
    CHECK(strstr(ipr_message(c), "is the folder there") != NULL);
    ipr_clear(c);
    CHECK_EQ_I(ipr_file_write(c, IPR_TEST_TMP, "a", 1, 0), IPR_E_IO);      /* a folder */
    ipr_clear(c);
    CHECK_EQ_I(ipr_file_write(c, "", "a", 1, 0), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_file_write(c, TF_PATH, "", 0, 0), IPR_OK);
    CHECK(tf_file_is(c, ""));
    remove(TF_PATH);
    CHECK(ipr_file_read(c, TF_PATH, NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_MISSING);
    ipr_clear(c);
    CHECK(ipr_file_read(c, IPR_TEST_TMP, NULL) == NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_IO);
    CHECK(strstr(ipr_message(c), "is a folder") != NULL);
    CHECK_EQ_I(tf_live(c), live);
    ipr_close(c);
}

#if TF_POSIX
/* The disk fails at the worst moments: the old file must stay and the temporary must go. */
TEST(file_failures) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    char temp[200];
    static char big[100000];
    int when;
    struct stat st;
    for (when = 0; when < 3; when++) {
        CHECK_EQ_I(ipr_file_write(c, TF_PATH, "old", 3, 0), IPR_OK);
        ipr_writer_file(c, &w, TF_PATH, 0);
        ipr__fmt(temp, sizeof temp, "%s", w.temp);
        if (when == 2) ipr_writer_write(&w, big, sizeof big);
        close((int)w.handle);                          /* the disk is gone */
        w.handle = 9999;
        if (when == 0) CHECK_EQ_I(ipr_writer_write(&w, big, sizeof big), IPR_E_IO);
        if (when == 1) ipr_writer_write(&w, big, 10);  /* still in the buffer: commit finds out */
        CHECK_EQ_I(ipr_writer_commit(&w), IPR_E_IO);
        w.handle = -1;
        ipr_writer_close(&w);
        CHECK_EQ_I(ipr_status(c), IPR_E_IO);
        ipr_clear(c);
        CHECK(tf_file_is(c, "old"));
        CHECK(ipr__os_kind(temp) == IPR__PATH_NONE);
    }
    remove(TF_PATH);
    ipr_writer_file(c, &w, TF_PATH, 0);
    ipr_writer_text(&w, "x");
    ipr__fmt(temp, sizeof temp, "%s", w.temp);
    CHECK_EQ_I(mkdir(TF_PATH, 0777), 0);               /* rename cannot replace this */
    CHECK_EQ_I(ipr_writer_commit(&w), IPR_E_IO);
    ipr_writer_close(&w);
    ipr_clear(c);
    CHECK(ipr__os_kind(temp) == IPR__PATH_NONE);
    CHECK(ipr__os_kind(TF_PATH) == IPR__PATH_FOLDER);
    CHECK_EQ_I(rmdir(TF_PATH), 0);
    CHECK_EQ_I(mkfifo(TF_PATH, 0666), 0);              /* a pipe or device is never replaced by a file */
    CHECK_EQ_I(ipr_file_write(c, TF_PATH, "x", 1, 0), IPR_E_IO);
    CHECK(ipr__os_kind(TF_PATH) == IPR__PATH_OTHER);
    ipr_clear(c);
    remove(TF_PATH);
    CHECK_EQ_I(ipr_file_write(c, TF_PATH, "old", 3, IPR_FILE_PRIVATE), IPR_OK);
    CHECK(stat(TF_PATH, &st) == 0 && (st.st_mode & 0777) == 0600);
    chmod(TF_PATH, 0640);
    CHECK_EQ_I(ipr_file_write(c, TF_PATH, "new", 3, 0), IPR_OK);       /* permissions stay */
    CHECK(stat(TF_PATH, &st) == 0 && (st.st_mode & 0777) == 0640);
    chmod(TF_PATH, 0444);
    if (access(TF_PATH, W_OK) != 0) {                  /* not for root, who may write everything */
        CHECK_EQ_I(ipr_file_write(c, TF_PATH, "newer", 5, 0), IPR_E_IO);
        CHECK(strstr(ipr_message(c), "is read-only") != NULL);
        ipr_clear(c);
        CHECK(tf_file_is(c, "new"));
    }
    remove(TF_PATH);
    CHECK(ipr_file_read(c, "/dev/null", NULL) != NULL);                /* not a regular file: read to its end */
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}
#endif

/* ---- JSON ---- */

TEST(json_out) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    ipr_json j;
    int pass;
    static const char *want[2] = {
        "{\"experiment\":\"gate\\\"keeper\\n\",\"ok\":true,\"none\":null,\"rows\":[{\"ours\":98.21,\"n\":-5},[],{}],"
        "\"nan\":null,\"big\":1e300,\"third\":0.3333333333333333,\"bad\":\"a\\ufffdb\xc3\xa4\",\"tag\":\"<\\/script>/\\u0001\\u001f\"}",
        "{\n \"experiment\": \"gate\\\"keeper\\n\",\n \"ok\": true,\n \"none\": null,\n \"rows\": [\n  {\n   \"ours\": 98.21,\n   \"n\": -5\n  },\n  [],\n  {}\n ],"
        "\n \"nan\": null,\n \"big\": 1e300,\n \"third\": 0.3333333333333333,\n \"bad\": \"a\\ufffdb\xc3\xa4\",\n \"tag\": \"<\\/script>/\\u0001\\u001f\"\n}\n"
    };
    for (pass = 0; pass < 2; pass++) {
        ipr_writer_memory(c, &w);
        ipr_json_begin(&j, &w, pass);
        ipr_json_object(&j, NULL);
        ipr_json_str(&j, "experiment", "gate\"keeper\n");
        ipr_json_bool(&j, "ok", 7);
        ipr_json_str(&j, "none", NULL);
        ipr_json_array(&j, "rows");
        ipr_json_object(&j, NULL);
        ipr_json_fixed(&j, "ours", 98.2099, 2);
        ipr_json_int(&j, "n", -5);
        ipr_json_end(&j);
        ipr_json_array(&j, NULL);
        ipr_json_end(&j);
        ipr_json_object(&j, NULL);
        ipr_json_end(&j);
        ipr_json_end(&j);
        ipr_json_num(&j, "nan", ipr__bits_f64(0x7ff8000000000000u));
        ipr_json_num(&j, "big", 1e300);
        ipr_json_num(&j, "third", 1.0 / 3.0);
        ipr_json_str(&j, "bad", "a\xff" "b\xc3\xa4");
        ipr_json_str(&j, "tag", "</script>/\x01\x1f");
        ipr_json_end(&j);
        CHECK_EQ_I(ipr_json_finish(&j), IPR_OK);
        ipr_writer_write(&w, "", 1);
        CHECK_STR((const char *)ipr_writer_data(&w), want[pass]);
        ipr_writer_close(&w);
    }
    ipr_close(c);
}

/* One wrong call each; finish must say so. */
static int tf_json_misuse(ipr_ctx *c, int which) {
    ipr_writer w;
    ipr_json j;
    int status, i;
    ipr_writer_memory(c, &w);
    ipr_json_begin(&j, &w, 0);
    if (which == 0) ipr_json_int(&j, "key", 1);
    if (which == 1) { ipr_json_int(&j, NULL, 1); ipr_json_int(&j, NULL, 2); }
    if (which == 2) { ipr_json_object(&j, NULL); ipr_json_int(&j, NULL, 2); }
    if (which == 3) { ipr_json_array(&j, NULL); ipr_json_int(&j, "k", 2); }
    if (which == 4) ipr_json_end(&j);
    if (which == 5) ipr_json_array(&j, NULL);
    if (which == 6) for (i = 0; i < 100; i++) ipr_json_array(&j, NULL);
    status = ipr_json_finish(&j);       /* 7: nothing written */
    ipr_writer_close(&w);
    ipr_clear(c);
    return status;
}

TEST(json_misuse) {
    ipr_ctx *c = tf_open();
    int i;
    for (i = 0; i < 8; i++) CHECK_EQ_I(tf_json_misuse(c, i), IPR_E_STATE);
    ipr_close(c);
}

TEST(json_in_valid) {
    static const char *ok[] = { "0", "-0", "-1.5e+3", "1E9", "true", "false", "null", "\"\"", " [ ] ", "{ }", "[1,2 , 3]", "{\"a\":{\"b\":[{}]}}",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\xc2\x80\xed\x9f\xbf\xee\x80\x80\"", "\t\n\r 1 \n", "{\"a\":1,\"a\":2}", "[[],{},\"\",0]" };
    static const char *bad[] = { "", " ", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "nan", "NaN", "Infinity", "tru", "truee", "nul", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"",
        "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\u0000\"", "\"\n\"", "\"\x80\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xc3\"",
        "\"\xf8\x88\x80\x80\x80\"", "\"\xe0\x80\x80\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}", "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:1}",
        "{\"a\" 1}", "{,}", "{\"a\":1]", "1 1", "[] []", "// c\n1", "'a'", "\xef\xbb\xbf" "1", "[1,,2]", "{\"a\"::1}", "\"a\" \"b\"", ",", ":" };
    ipr_ctx *c = tf_open();
    ipr_json_val v;
    size_t i;
    for (i = 0; i < sizeof ok / sizeof *ok; i++)
        if (!CHECK_EQ_I(ipr_json_parse(c, ok[i], strlen(ok[i]), &v), IPR_OK)) { printf("  %s: %s\n", ok[i], ipr_message(c)); ipr_clear(c); }
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!CHECK_EQ_I(ipr_json_parse(c, bad[i], strlen(bad[i]), &v), IPR_E_FORMAT)) printf("  taken: %s\n", bad[i]);
        CHECK_EQ_I(v.type, IPR_JSON_NONE);
        ipr_clear(c);
    }
    ipr_json_parse(c, "[1,\n 2,\n  x]", 12, &v);
    CHECK_STR(ipr_message(c), "ipr_json_parse: JSON: line 3 column 3: a value is needed");
    ipr_close(c);
}

TEST(json_in_depth) {
    ipr_ctx *c = tf_open();
    ipr_json_val v;
    static char s[200000];
    memset(s, '[', sizeof s);
    CHECK_EQ_I(ipr_json_parse(c, s, sizeof s, &v), IPR_E_FORMAT);
    CHECK(strstr(ipr_message(c), "levels") != NULL);
    ipr_clear(c);
    memset(s + 63, ']', 63);
    CHECK_EQ_I(ipr_json_parse(c, s, 126, &v), IPR_OK);
    memset(s, '[', 64);
    memset(s + 64, ']', 64);
    CHECK_EQ_I(ipr_json_parse(c, s, 128, &v), IPR_E_FORMAT);
    ipr_close(c);
}

TEST(json_in_walk) {
    static const char *text = " {\"experiment\": \"gate \\u00e4\\ud83d\\ude00\", \"a.b\": 7, \"quick\": false, \"seeds\": [1,2,-3], \"rows\":[{\"paper\":null},"
        "{\"paper\":98.18,\"deep\":[[1,[2,{\"x\":\"y\"}]]]}], \"big\":9223372036854775807, \"over\":9223372036854775808, \"f\":1.0, \"empty\":{}} ";
    ipr_ctx *c = tf_open();
    ipr_json_val v, k, e;
    char out[32];
    size_t at = 0;
    int n = 0;
    if (!CHECK_EQ_I(ipr_json_parse(c, text, strlen(text), &v), IPR_OK)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK_EQ_I(v.type, IPR_JSON_OBJECT);
    CHECK_EQ_I(ipr_json_count(v), 9);
    CHECK_NEAR(ipr_json_to_double(ipr_json_get(v, "rows[1].paper"), -1), 98.18, 0);
    CHECK_EQ_I(ipr_json_get(v, "rows[0].paper").type, IPR_JSON_NULL);
    CHECK_EQ_I(ipr_json_get(v, "rows[2].paper").type, IPR_JSON_NONE);
    CHECK_EQ_I(ipr_json_get(v, "rows[1].deep[0][1][1].x").type, IPR_JSON_STRING);
    CHECK(ipr_json_equals(ipr_json_get(v, "rows[1].deep[0][1][1].x"), "y"));
    CHECK_EQ_I(ipr_json_get(v, "rows[x]").type, IPR_JSON_NONE);
    CHECK_EQ_I(ipr_json_get(v, "rows[").type, IPR_JSON_NONE);
    CHECK_EQ_I(ipr_json_get(v, "experiment.x").type, IPR_JSON_NONE);
    CHECK_EQ_I(ipr_json_get(v, "a.b").type, IPR_JSON_NONE);
    CHECK_EQ_I(ipr_json_to_int(ipr_json_member(v, "a.b"), 0), 7);
    CHECK_EQ_I(ipr_json_to_int(ipr_json_get(v, "seeds[2]"), 0), -3);
    CHECK(ipr_json_to_int(ipr_json_get(v, "big"), 0) == INT64_MAX);
    CHECK_EQ_I(ipr_json_to_int(ipr_json_get(v, "over"), -1), -1);
    CHECK_EQ_I(ipr_json_to_int(ipr_json_get(v, "f"), -1), -1);
    CHECK_EQ_I(ipr_json_to_bool(ipr_json_get(v, "quick"), 1), 0);
    CHECK_EQ_I(ipr_json_to_bool(ipr_json_get(v, "seeds"), 1), 1);
    CHECK_EQ_I(ipr_json_count(ipr_json_get(v, "empty")), 0);
    CHECK(ipr_json_equals(ipr_json_get(v, "experiment"), "gate \xc3\xa4\xf0\x9f\x98\x80"));
    CHECK(!ipr_json_equals(ipr_json_get(v, "experiment"), "gate"));
    CHECK_EQ_I(ipr_json_to_text(ipr_json_get(v, "experiment"), out, sizeof out), 11);
    CHECK_STR(out, "gate \xc3\xa4\xf0\x9f\x98\x80");
    CHECK_EQ_I(ipr_json_to_text(ipr_json_get(v, "experiment"), out, 9), 11);
    CHECK_STR(out, "gate \xc3\xa4");      /* cut before the character that does not fit */
    CHECK_EQ_I(ipr_json_to_text(ipr_json_get(v, "quick"), out, 9), 0);
    CHECK_STR(out, "");
    while (ipr_json_next(v, &at, &k, &e)) { CHECK_EQ_I(k.type, IPR_JSON_STRING); CHECK(e.type != IPR_JSON_NONE); n++; }
    CHECK_EQ_I(n, 9);
    ipr_close(c);
}

/* What the writer writes, the reader reads. */
TEST(json_round_trip) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    ipr_json j;
    ipr_json_val v;
    static const double want = -1.25e-7;   /* constants may have more than 53 bits, objects do not */
    double small;
    char in[257], out[300];
    int i;
    for (i = 1; i < 128; i++) in[i - 1] = (char)i;
    in[127] = 0;
    ipr_writer_memory(c, &w);
    ipr_json_begin(&j, &w, 1);
    ipr_json_array(&j, NULL);
    ipr_json_str(&j, NULL, in);
    ipr_json_num(&j, NULL, -1.25e-7);
    ipr_json_int(&j, NULL, INT64_MIN + 1);
    ipr_json_end(&j);
    CHECK_EQ_I(ipr_json_finish(&j), IPR_OK);
    CHECK_EQ_I(ipr_json_parse(c, (const char *)ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w), &v), IPR_OK);
    ipr_json_to_text(ipr_json_at(v, 0), out, sizeof out);
    CHECK_STR(out, in);
    small = ipr_json_to_double(ipr_json_at(v, 1), 0);
    CHECK(ipr__f64_bits(small) == ipr__f64_bits(want));
    CHECK(ipr_json_to_int(ipr_json_at(v, 2), 0) == INT64_MIN + 1);
    ipr_writer_close(&w);
    ipr_close(c);
}

/* ---- arrays and npy ---- */

static ipr_array tf_array(const char *name, int dtype, int rank, ipr_index d0, ipr_index d1, const void *data) {
    ipr_array a;
    memset(&a, 0, sizeof a);
    a.name = name; a.dtype = dtype; a.rank = rank; a.dims[0] = d0; a.dims[1] = d1; a.data = data;
    a.bytes = (size_t)((rank > 0 ? d0 : 1) * (rank > 1 ? d1 : 1)) * ipr_dtype_bytes(dtype);
    return a;
}

TEST(array_get) {
    ipr_ctx *c = tf_open();
    static const uint8_t f16[] = { 0x3c, 0x00, 0xc0, 0x00, 0x00, 0x01, 0x7b, 0xff, 0x7c, 0x00, 0x80, 0x00, 0x03, 0xff };
    static const uint8_t bf16[] = { 0x80, 0x3f, 0x49, 0x40 };
    static const uint8_t i16[] = { 0xff, 0xfe, 0x00, 0x05 };
    ipr_array a;
    double d[7];
    int32_t i32[2];
    int64_t i64[2];
    uint8_t u8[2];
    float f[2];
    double huge[1], nan1[1];
    uint64_t u64[1];
    huge[0] = 1e39;
    nan1[0] = ipr__bits_f64(0x7ff0000000000000u);
    u64[0] = UINT64_MAX;
    a = tf_array("h", IPR_DT_F16, 1, 7, 0, f16);
    a.order = IPR_ORDER_BIG;
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_F64, d), IPR_OK);
    CHECK(d[0] == 1 && d[1] == -2 && d[2] == 5.9604644775390625e-8 && d[3] == 65504 && !ipr__finite(d[4]));
    CHECK(ipr__f64_bits(d[5]) == 0x8000000000000000u && d[6] == 1023 * 5.9604644775390625e-8);
    a = tf_array("b", IPR_DT_BF16, 1, 2, 0, bf16);
    a.order = IPR_ORDER_LITTLE;
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_F32, f), IPR_OK);
    CHECK(f[0] == 1.0f && f[1] == 3.140625f);
    a = tf_array("i", IPR_DT_I16, 1, 2, 0, i16);
    a.order = IPR_ORDER_BIG;
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_I32, i32), IPR_OK);
    CHECK(i32[0] == -2 && i32[1] == 5);
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_I64, i64), IPR_OK);
    CHECK(i64[0] == -2 && i64[1] == 5);
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_U8, u8), IPR_E_RANGE);
    CHECK(strstr(ipr_message(c), "i: element 0, -2, does not fit U8") != NULL);
    ipr_clear(c);
    a = tf_array("x", IPR_DT_F64, 1, 1, 0, huge);
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_F32, f), IPR_E_RANGE);
    ipr_clear(c);
    a.data = nan1;
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_F32, f), IPR_OK);           /* infinity is infinity */
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_I32, i32), IPR_E_ARG);      /* floats are not cut to integers */
    ipr_clear(c);
    a = tf_array("u", IPR_DT_U64, 1, 1, 0, u64);
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_I64, i64), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_F64, d), IPR_OK);
    CHECK(d[0] == 18446744073709551616.0);
    a.bytes = 7;
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_F64, d), IPR_E_ARG);
    ipr_clear(c);
    a.rank = 9;
    CHECK_EQ_I(ipr_array_get(c, &a, IPR_DT_F64, d), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_array_get(c, NULL, IPR_DT_F64, d), IPR_E_ARG);
    ipr_close(c);
}

TEST(npy_golden) {
    ipr_ctx *c = tf_open();
    static const float v[6] = { 1, 2, 3, 4, 5, 6 };
    static const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    ipr_array a = tf_array(NULL, IPR_DT_F32, 2, 2, 3, v), b;
    ipr_writer w;
    ipr_reader r;
    const uint8_t *p;
    ipr_writer_memory(c, &w);
    CHECK_EQ_I(ipr_npy_write(&w, &a), IPR_OK);
    CHECK_EQ_I(ipr_npy_write(&w, &a), IPR_OK);      /* a second one behind it */
    p = (const uint8_t *)ipr_writer_data(&w);
    CHECK_EQ_I(ipr_writer_bytes(&w), 2 * (128 + 24));
    CHECK(memcmp(p, "\x93NUMPY\x01\x00\x76\x00", 10) == 0);
    CHECK(memcmp(p + 10, head, sizeof head - 1) == 0);
    CHECK(p[127] == '\n' && p[126] == ' ');
    CHECK(memcmp(p + 128, "\0\0\x80\x3f\0\0\0\x40", 8) == 0);
    ipr_reader_memory(c, &r, p, (size_t)ipr_writer_bytes(&w));
    CHECK_EQ_I(ipr_npy_read(&r, &b), IPR_OK);
    CHECK(b.rank == 2 && b.dims[0] == 2 && b.dims[1] == 3 && b.dtype == IPR_DT_F32 && memcmp(b.data, v, sizeof v) == 0);
    ipr_array_free(c, &b);
    CHECK_EQ_I(ipr_npy_read(&r, &b), IPR_OK);
    ipr_array_free(c, &b);
    CHECK_EQ_I(ipr_reader_left(&r), 0);
    ipr_writer_close(&w);
    ipr_close(c);
}

/* Bytes of a version 1 file with this header text. */
static size_t tf_npy(uint8_t *out, const char *header, const void *data, size_t n) {
    size_t h = strlen(header);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (uint8_t)h; out[9] = (uint8_t)(h >> 8);
    memcpy(out + 10, header, h);
    memcpy(out + 10 + h, data, n);
    return 10 + h + n;
}

TEST(npy_kinds) {
    ipr_ctx *c = tf_open();
    uint8_t b[400];
    ipr_reader r;
    ipr_array a;
    size_t n;
    static const uint8_t six[12] = { 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6 };
    const int16_t *v;
    n = tf_npy(b, "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }   \n", six, 12);
    ipr_reader_memory(c, &r, b, n);
    if (CHECK_EQ_I(ipr_npy_read(&r, &a), IPR_OK)) {
        v = (const int16_t *)a.data;      /* Fortran order of rows (1 3 5), (2 4 6) */
        CHECK(v[0] == 1 && v[1] == 3 && v[2] == 5 && v[3] == 2 && v[4] == 4 && v[5] == 6);
    }
    ipr_array_free(c, &a);
    n = tf_npy(b, "{\"shape\":(),\"fortran_order\":False,\"descr\":\"|u1\"}", six + 1, 1);
    ipr_reader_memory(c, &r, b, n);
    CHECK_EQ_I(ipr_npy_read(&r, &a), IPR_OK);
    CHECK(a.rank == 0 && a.dtype == IPR_DT_U8 && *(const uint8_t *)a.data == 1);
    ipr_array_free(c, &a);
    n = tf_npy(b, "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1000000000000, 1000000000000), }", six, 0);
    ipr_reader_memory(c, &r, b, n);
    if (sizeof(size_t) == 8) {
        CHECK_EQ_I(ipr_npy_read(&r, &a), IPR_E_FORMAT);    /* a size that overflows, though one dimension is 0 */
        ipr_clear(c);
    }
    memcpy(b, "\x93NUMPY\x02\x00\x2c\x00\x00\x00", 12);
    memcpy(b + 12, "{'descr':'<i4','fortran_order':False,'shape':(1,)}", 50);
    b[8] = 50;
    memcpy(b + 62, "\x07\0\0\0", 4);
    ipr_reader_memory(c, &r, b, 66);
    CHECK_EQ_I(ipr_npy_read(&r, &a), IPR_OK);
    CHECK(a.data && *(const int32_t *)a.data == 7);
    ipr_array_free(c, &a);
    ipr_close(c);
}

TEST(npy_bad) {
    static const char *bad[] = { "", "{", "{}", "[]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,}", "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}", "{'descr': 'f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|f4', 'fortran_order': False, 'shape': (2,)}", "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': [('a','<f4')], 'fortran_order': False, 'shape': (2,)}", "{'descr': '<f4', 'fortran_order': 1, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,4)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2e0,)}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}", "{'de\\scr': '<f4', 'fortran_order': False, 'shape': (2,)}" };
    ipr_ctx *c = tf_open();
    uint8_t b[400], data[8];
    ipr_reader r;
    ipr_array a;
    size_t i, n;
    uint64_t live = tf_live(c);
    memset(data, 0, sizeof data);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        n = tf_npy(b, bad[i], data, 8);
        ipr_reader_memory(c, &r, b, n);
        if (!CHECK_EQ_I(ipr_npy_read(&r, &a), IPR_E_FORMAT)) printf("  taken: %s\n", bad[i]);
        CHECK(a.data == NULL);
        ipr_clear(c);
    }
    n = tf_npy(b, "{'descr': '<f4', 'fortran_order': True, 'shape': (2,1), }", data, 8);
    for (i = 0; i < n; i++) {       /* truncated at every byte */
        ipr_reader_memory(c, &r, b, i);
        CHECK_EQ_I(ipr_npy_read(&r, &a), IPR_E_FORMAT);
        ipr_clear(c);
    }
    CHECK_EQ_I(tf_live(c), live);
    ipr_close(c);
}

TEST(npy_tensor) {
    ipr_ctx *c = tf_open();
    ipr_index dims[3] = { 2, 1, 2 };
    static const ipr_real v[4] = { 1, (ipr_real)-2.5, 3, 4 };
    ipr_tensor *t = ipr_from(c, 3, dims, v), *u;
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    CHECK_EQ_I(ipr_npy_save(c, TF_PATH, t), IPR_OK);
    u = ipr_npy_load(c, TF_PATH);
    CHECK(ipr_rank(u) == 3 && ipr_dim(u, 0) == 2 && ipr_dim(u, 2) == 2);
    if (CHECK(ipr_read(c, u) != NULL)) CHECK(memcmp(ipr_read(c, u), v, sizeof v) == 0);
    remove(TF_PATH);
    CHECK(ipr_is_poison(ipr_npy_load(c, TF_PATH)));
    CHECK_EQ_I(ipr_status(c), IPR_E_MISSING);
    ipr_close(c);
}

/* ---- safetensors ---- */

/* The whole file, the same on every host: element size first, then name; sorted metadata; "sha256". */
static const char tf_golden_head[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"sha256\":\"e84a1e83006954e5983de41f1d0d3246d6944ac226c7021454a88c3a4959342b\",\"z\":\"\xc3\xa4\\\"\"},"
    "\"steps\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]},"
    "\"w.0\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[16,24]},"
    "\"mask\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]},"
    "\"none\":{\"dtype\":\"U8\",\"shape\":[0,5],\"data_offsets\":[27,27]}}";
static const uint8_t tf_golden_data[27] = {
    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     /* -2 */
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0,     /* 1, -2 */
    0x00, 0x00, 0x00, 0x3f, 0xdb, 0x0f, 0x49, 0x40,     /* 0.5, pi */
    1, 2, 255 };

static void tf_golden_write(ipr_ctx *c, ipr_writer *w) {
    static const float b[2] = { 1, -2 }, w0[2] = { 0.5f, 3.14159274f };
    static const int64_t steps[1] = { -2 };
    static const uint8_t mask[3] = { 1, 2, 255 };
    static const ipr_pair pairs[2] = { { "z", "\xc3\xa4\"" }, { "format", "pt" } };
    ipr_meta meta;
    ipr_array v[5];
    meta.pairs = pairs;
    meta.count = 2;
    v[0] = tf_array("w.0", IPR_DT_F32, 2, 2, 1, w0);
    v[1] = tf_array("none", IPR_DT_U8, 2, 0, 5, NULL);
    v[2] = tf_array("mask", IPR_DT_U8, 1, 3, 0, mask);
    v[3] = tf_array("steps", IPR_DT_I64, 0, 0, 0, steps);
    v[4] = tf_array("b", IPR_DT_F32, 1, 2, 0, b);
    ipr_writer_memory(c, w);
    CHECK_EQ_I(ipr_st_write(w, v, 5, &meta), IPR_OK);
}

TEST(st_golden) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    const uint8_t *p;
    size_t head = sizeof tf_golden_head - 1, pad = (head + 7) & ~(size_t)7, i;
    uint8_t sum[32];
    char hex[65];
    tf_golden_write(c, &w);
    p = (const uint8_t *)ipr_writer_data(&w);
    CHECK_EQ_I(ipr_writer_bytes(&w), 8 + pad + 27);
    if (ipr_writer_bytes(&w) == 8 + pad + 27) {
        CHECK(p[0] == (uint8_t)pad && p[1] == (uint8_t)(pad >> 8) && !p[2] && !p[7]);
        CHECK(memcmp(p + 8, tf_golden_head, head) == 0);
        for (i = head; i < pad; i++) CHECK_EQ_I(p[8 + i], ' ');
        CHECK(memcmp(p + 8 + pad, tf_golden_data, 27) == 0);
        ipr_sha256_of(p, (size_t)ipr_writer_bytes(&w), sum);
        ipr_hex(sum, 32, hex);
        CHECK_STR(hex, "c8746c6603ecb2edc32ff73775b2963e42020464f53717aa26fcd1627cd3af42");
    }
    ipr_writer_close(&w);
    ipr_close(c);
}

TEST(st_read) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    ipr_reader r;
    ipr_st *st;
    const ipr_array *a;
    static const float pi = 3.14159274f;
    float f[2];
    int64_t steps;
    uint64_t live;
    int i;
    tf_golden_write(c, &w);
    live = tf_live(c);
    ipr_reader_memory(c, &r, ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w));
    st = ipr_st_open(&r, 0);
    if (!CHECK(st != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK_EQ_I(ipr_st_count(st), 5);
    for (i = 1; i < 5; i++) CHECK(strcmp(ipr_st_at(st, i - 1)->name, ipr_st_at(st, i)->name) < 0);
    CHECK(ipr_st_at(st, 5) == NULL && ipr_st_at(st, -1) == NULL);
    for (i = 0; i < 5; i++) CHECK(ipr_st_find(st, ipr_st_at(st, i)->name) == ipr_st_at(st, i));
    CHECK(ipr_st_find(st, "w.") == NULL && ipr_st_find(st, "") == NULL && ipr_st_find(st, "zz") == NULL);
    a = ipr_st_find(st, "w.0");
    CHECK(a && a->rank == 2 && a->dims[0] == 2 && a->dims[1] == 1);
    CHECK_EQ_I(ipr_array_get(c, a, IPR_DT_F32, f), IPR_OK);
    CHECK(f[0] == 0.5f && f[1] == pi);
    CHECK_EQ_I(ipr_array_get(c, ipr_st_find(st, "steps"), IPR_DT_I64, &steps), IPR_OK);
    CHECK(steps == -2);
    CHECK_STR(ipr_st_meta(st, "z"), "\xc3\xa4\"");
    CHECK_STR(ipr_st_meta(st, "format"), "pt");
    CHECK(ipr_st_meta(st, "nope") == NULL);
    CHECK_EQ_I(ipr_st_meta_all(st)->count, 3);
    ipr_st_close(st);
    CHECK_EQ_I(tf_live(c), live);
    {   /* through a callback that gives 7 bytes at a time */
        tf_stream s;
        memset(&s, 0, sizeof s);
        s.p = (const uint8_t *)ipr_writer_data(&w); s.n = (size_t)ipr_writer_bytes(&w); s.most = 7;
        ipr_reader_callback(c, &r, tf_stream_read, &s, s.n);
        st = ipr_st_open(&r, 0);
        CHECK_EQ_I(ipr_st_count(st), 5);
        ipr_st_close(st);
        ipr_reader_close(&r);
    }
    {   /* a stream of unknown size: what was opened outlives its reader */
        tf_stream s;
        memset(&s, 0, sizeof s);
        s.p = (const uint8_t *)ipr_writer_data(&w); s.n = (size_t)ipr_writer_bytes(&w); s.most = 100;
        ipr_reader_callback(c, &r, tf_stream_read, &s, IPR_SIZE_UNKNOWN);
        st = ipr_st_open(&r, 0);
        ipr_reader_close(&r);
        f[0] = 0;
        CHECK_EQ_I(ipr_array_get(c, ipr_st_find(st, "w.0"), IPR_DT_F32, f), IPR_OK);
        CHECK(f[0] == 0.5f);
        ipr_st_close(st);
    }
    CHECK_EQ_I(tf_live(c), live);
    ipr_writer_close(&w);
    ipr_close(c);
}

/* Opens bytes; returns the status and forgets it. */
static int tf_st_status(ipr_ctx *c, const void *p, size_t n, int flags) {
    ipr_reader r;
    int status;
    ipr_reader_memory(c, &r, p, n);
    ipr_st_close(ipr_st_open(&r, flags));
    status = r.status;
    ipr_reader_close(&r);
    CHECK_EQ_I(status, ipr_status(c));
    return status;
}

static size_t tf_st(uint8_t *out, const char *header, size_t data) {
    size_t h = strlen(header);
    memset(out, 0, 8);
    out[0] = (uint8_t)h; out[1] = (uint8_t)(h >> 8);
    memcpy(out + 8, header, h);
    memset(out + 8 + h, 0, data);
    return 8 + h + data;
}

TEST(st_damage) {
    ipr_ctx *c = tf_open();
    ipr_writer w;
    uint8_t *copy;
    size_t n, i, k;
    uint64_t live;
    tf_golden_write(c, &w);
    n = (size_t)ipr_writer_bytes(&w);
    copy = (uint8_t *)ipr__alloc(c, n + 1);
    live = tf_live(c);
    for (i = 0; i < n; i++) {       /* an exact-size copy, so that a sanitizer sees one byte too far */
        uint8_t *cut = (uint8_t *)malloc(i ? i : 1);
        memcpy(cut, ipr_writer_data(&w), i);
        CHECK_EQ_I(tf_st_status(c, cut, i, 0), IPR_E_FORMAT);
        ipr_clear(c);
        free(cut);
    }
    memcpy(copy, ipr_writer_data(&w), n);
    copy[n] = 0;
    CHECK_EQ_I(tf_st_status(c, copy, n + 1, 0), IPR_E_FORMAT);
    CHECK(strstr(ipr_message(c), "1 bytes behind the last tensor") != NULL);
    ipr_clear(c);
    for (k = 0; k < 3; k++)
        for (i = n - 27; i < n; i++) {     /* any changed data byte is seen by the hash */
            memcpy(copy, ipr_writer_data(&w), n);
            copy[i] ^= (uint8_t)(1u << (3 * k));
            CHECK_EQ_I(tf_st_status(c, copy, n, 0), IPR_E_FORMAT);
            CHECK(strstr(ipr_message(c), "changed since it was written") != NULL);
            ipr_clear(c);
            CHECK_EQ_I(tf_st_status(c, copy, n, IPR_LOAD_NO_HASH), IPR_OK);
        }
    CHECK_EQ_I(tf_live(c), live);
    ipr_writer_close(&w);
    ipr_close(c);
}

#define TF_T(name, type, shape, offs) "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offs "}"
TEST(st_lies) {
    static const struct { const char *head; size_t data; const char *says; } bad[] = {
        { "", 0, "ends early" },
        { "[]", 0, "no JSON object" },
        { "{", 0, "ends early" },
        { "{} x", 0, "text behind" },
        { "{} ", 8, "8 bytes behind" },
        { "{" TF_T("a", "F32", "[2]", "[0,8]") "," TF_T("a", "F32", "[2]", "[8,16]") "}", 16, "two of this name" },
        { "{" TF_T("a", "F32", "[2]", "[0,8]") "," TF_T("\\u0061", "F32", "[2]", "[8,16]") "}", 16, "two of this name" },
        { "{" TF_T("a", "F32", "[2]", "[0,8]") "," TF_T("b", "F32", "[2]", "[4,12]") "}", 12, "\"b\" starts at byte 4, inside \"a\", which ends at 8" },
        { "{" TF_T("a", "F32", "[2]", "[0,8]") "," TF_T("b", "F32", "[2]", "[0,8]") "}", 8, "inside" },
        { "{" TF_T("a", "F32", "[2]", "[0,8]") "," TF_T("b", "F32", "[2]", "[12,20]") "}", 20, "bytes 8 to 12, before tensor \"b\", belong to no tensor" },
        { "{" TF_T("a", "F32", "[2]", "[4,12]") "}", 12, "belong to no tensor" },
        { "{" TF_T("a", "F32", "[2]", "[0,8]") "}", 4, "bytes 0 to 8, but there are 4" },
        { "{" TF_T("a", "F32", "[3]", "[0,8]") "}", 8, "its shape needs 12 bytes, its data_offsets span 8" },
        { "{" TF_T("a", "F32", "[2]", "[8,0]") "}", 8, "bytes 8 to 0" },
        { "{" TF_T("a", "F33", "[2]", "[0,8]") "}", 8, "dtype \"F33\" is not known" },
        { "{" TF_T("a", "F8_E4M3", "[8]", "[0,8]") "}", 8, "is not known" },
        { "{" TF_T("a", "", "[8]", "[0,8]") "}", 8, "is not known" },
        { "{" TF_T("a", "?", "[8]", "[0,8]") "}", 8, "is not known" },
        { "{" TF_T("a", "F32", "[-2]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[2.0]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[2e0]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[NaN]", "[0,8]") "}", 8, "value is needed" },
        { "{" TF_T("a", "F32", "[null]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[\"2\"]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "2", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[[2]]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[18446744073709551616]", "[0,8]") "}", 8, "shape" },
        { "{" TF_T("a", "F32", "[18446744073709551615]", "[0,8]") "}", 8, "over what this machine" },
        { "{" TF_T("a", "F32", "[4611686018427387906]", "[0,8]") "}", 8, "" },
        { "{" TF_T("a", "F32", "[2147483648,2147483648,2147483648]", "[0,8]") "}", 8, "" },
        { "{" TF_T("a", "F32", "[0,4611686018427387904,4611686018427387904]", "[0,0]") "}", 0, "" },
        { "{" TF_T("a", "F32", "[2]", "[0,8,8]") "}", 8, "data_offsets" },
        { "{" TF_T("a", "F32", "[2]", "[8]") "}", 8, "data_offsets" },
        { "{" TF_T("a", "F32", "[2]", "[0,8.0]") "}", 8, "data_offsets" },
        { "{" TF_T("a", "F32", "[2]", "[-0,8]") "}", 8, "data_offsets" },
        { "{" TF_T("a", "F32", "[2]", "[0,18446744073709551615]") "}", 8, "bytes 0 to 18446744073709551615" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "missing" },
        { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "twice" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "is not dtype" },
        { "{\"a\":3}", 0, "no object" },
        { "{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype is no text" },
        { "{\"__metadata__\":{\"a\":1}}", 0, "no text" },
        { "{\"__metadata__\":[]}", 0, "no object" },
        { "{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "no text" },
        { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice" },
        { "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "has \"a\" twice" },
        { "{\"__metadata__\":{\"sha256\":\"00\"}}", 0, "changed since" },
        { "{\"a\\u0000b\":3}", 0, "u0000" },
        { "{\"\xff\":3}", 0, "UTF-8" },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, "levels" }
    };
    ipr_ctx *c = tf_open();
    uint8_t b[1000];
    size_t i, n;
    uint64_t live = tf_live(c);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        n = tf_st(b, bad[i].head, bad[i].data);
        if (!CHECK_EQ_I(tf_st_status(c, b, n, 0), IPR_E_FORMAT) || !CHECK(strstr(ipr_message(c), bad[i].says) != NULL))
            printf("  %s: %s\n", bad[i].head, ipr_message(c));
        ipr_clear(c);
    }
    n = tf_st(b, "{}", 0);
    CHECK_EQ_I(tf_st_status(c, b, n, 0), IPR_OK);
    n = tf_st(b, "{" TF_T("b", "BOOL", "[0]", "[0,0]") "," TF_T("a", "F64", "[]", "[0,8]") "," TF_T("c", "U8", "[3,0]", "[8,8]") "}  ", 8);
    CHECK_EQ_I(tf_st_status(c, b, n, 0), IPR_OK);
    for (i = 0; i < 8; i++) b[i] = 0xff;       /* header of 2^64 - 1 bytes */
    CHECK_EQ_I(tf_st_status(c, b, n, 0), IPR_E_FORMAT);
    CHECK(strstr(ipr_message(c), "18446744073709551615") != NULL);
    ipr_clear(c);
    CHECK_EQ_I(tf_live(c), live);
    ipr_close(c);
}

/* Many tensors: sorting and searching do not slow down, whatever the order. */
TEST(st_many) {
    enum { N = 3000 };
    ipr_ctx *c = tf_open();
    static char names[N][12];
    static ipr_array v[N];
    static uint8_t value[N];
    ipr_writer w;
    ipr_reader r;
    ipr_st *st;
    int i, wrong = 0;
    for (i = 0; i < N; i++) {
        ipr__fmt(names[i], sizeof names[i], "t%d", (i * 1237) % N);
        value[i] = (uint8_t)((i * 1237) % N);
        v[i] = tf_array(names[i], IPR_DT_U8, 0, 0, 0, &value[i]);
    }
    ipr_writer_memory(c, &w);
    CHECK_EQ_I(ipr_st_write(&w, v, N, NULL), IPR_OK);
    ipr_reader_memory(c, &r, ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w));
    st = ipr_st_open(&r, 0);
    CHECK_EQ_I(ipr_st_count(st), N);
    for (i = 0; i < N && st; i++) {
        const ipr_array *a = ipr_st_find(st, names[i]);
        wrong += !a || *(const uint8_t *)a->data != value[i];
    }
    CHECK_EQ_I(wrong, 0);
    ipr_st_close(st);
    ipr_writer_close(&w);
    names[7][0] = 't';
    memcpy(names[7], names[8], sizeof names[7]);
    ipr_writer_memory(c, &w);
    CHECK_EQ_I(ipr_st_write(&w, v, N, NULL), IPR_E_ARG);
    CHECK(strstr(ipr_message(c), "two arrays are named") != NULL);
    ipr_writer_close(&w);
    ipr_close(c);
}

TEST(st_write_checks) {
    ipr_ctx *c = tf_open();
    uint8_t one = 1;
    ipr_array v[2];
    ipr_pair p[2];
    ipr_meta m;
    ipr_writer w;
    int i;
    m.pairs = p;
    for (i = 0; i < 9; i++) {
        p[0].key = "k"; p[0].value = "v"; p[1] = p[0]; p[1].key = "l";
        m.count = 2;
        v[0] = tf_array("a", IPR_DT_U8, 0, 0, 0, &one);
        v[1] = tf_array("b", IPR_DT_U8, 0, 0, 0, &one);
        if (i == 0) v[1].name = "a";
        if (i == 1) v[1].name = "";
        if (i == 2) v[1].name = "\xff";
        if (i == 3) v[1].name = "__metadata__";
        if (i == 4) v[1].bytes = 2;
        if (i == 5) p[1].key = "sha256";
        if (i == 6) p[1].value = NULL;
        if (i == 7) p[1].key = "k";
        if (i == 8) v[1].dtype = 99;
        ipr_writer_memory(c, &w);
        CHECK_EQ_I(ipr_st_write(&w, v, 2, &m), IPR_E_ARG);
        CHECK_EQ_I(ipr_writer_bytes(&w), 0);
        ipr_writer_close(&w);
        ipr_clear(c);
    }
    ipr_close(c);
}

/* ---- parameters ---- */

static ipr_params *tf_params(ipr_ctx *c, ipr_real first, int variant) {
    ipr_index d2[2], d1[1], big[1];
    ipr_params *p = ipr_params_new(c);
    ipr_tensor *t;
    ipr_real *v;
    int i, k;
    d2[0] = 3; d2[1] = variant == 1 ? 5 : 4;
    d1[0] = 4;
    big[0] = 40000;
    ipr_param(p, variant == 2 ? "lstm.weight" : "lstm.weight_ih_l0", 2, d2);
    ipr_param(p, "fc.bias", 1, d1);
    if (variant == 3) ipr_param(p, "extra", 1, d1);
    if (variant == 4) ipr_param(p, "big", 1, big);
    for (k = 0; k < ipr_params_count(p); k++) {
        t = ipr_params_at(p, k);
        v = ipr_write(c, t, 0);
        for (i = 0; i < (int)ipr_count(t); i++) v[i] = first + (ipr_real)(i * 0.25) + (ipr_real)k;
    }
    return p;
}

static int tf_params_are(ipr_ctx *c, ipr_params *p, ipr_real first) {
    int i, k, same = 1;
    for (k = 0; k < ipr_params_count(p); k++) {
        const ipr_real *v = ipr_read(c, ipr_params_at(p, k));
        for (i = 0; v && i < (int)ipr_count(ipr_params_at(p, k)); i++) same &= v[i] == first + (ipr_real)(i * 0.25) + (ipr_real)k;
    }
    return same;
}

TEST(params_round_trip) {
    ipr_ctx *c = tf_open();
    ipr_params *p = tf_params(c, 1, 0), *q = tf_params(c, 9, 0);
    ipr_pair pair;
    ipr_meta meta;
    ipr_st *st;
    uint8_t sum[32];
    char hex[65];
    static uint8_t buf[2000];
    size_t need = 0;
    uint64_t live = tf_live(c);
    pair.key = "scheme"; pair.value = "none";
    meta.pairs = &pair; meta.count = 1;
    CHECK_EQ_I(ipr_params_save_memory(p, NULL, 0, &need, &meta), IPR_OK);
    CHECK(need > 64 && need < sizeof buf);
    CHECK_EQ_I(ipr_params_save_memory(p, buf, need - 1, NULL, &meta), IPR_E_NOMEM);
    ipr_clear(c);
    CHECK_EQ_I(ipr_params_save_memory(p, buf, need, NULL, &meta), IPR_OK);
    CHECK_EQ_I(ipr_params_load_memory(q, buf, need, 0), IPR_OK);
    CHECK(tf_params_are(c, q, 1));
    if (IPR__FILES) {
        CHECK_EQ_I(ipr_params_save(p, TF_PATH, &meta), IPR_OK);
        ipr_params_free(q);
        q = tf_params(c, 9, 0);
        CHECK_EQ_I(ipr_params_load(q, TF_PATH, 0), IPR_OK);
        CHECK(tf_params_are(c, q, 1));
        st = ipr_st_open_file(c, TF_PATH, 0);
        CHECK_STR(ipr_st_meta(st, "scheme"), "none");
        CHECK_EQ_I(ipr_params_sha256(p, sum), IPR_OK);
        ipr_hex(sum, 32, hex);
        CHECK_STR(ipr_st_meta(st, "sha256"), hex);
        CHECK_EQ_I(ipr_st_find(st, "fc.bias")->dtype, IPR_DT_REAL);
        ipr_st_close(st);
        remove(TF_PATH);
        CHECK_EQ_I(ipr_params_load(q, TF_PATH, 0), IPR_E_MISSING);
        ipr_clear(c);
    }
    CHECK_EQ_I(tf_live(c), live);
    ipr_params_free(p);
    ipr_params_free(q);
    ipr_close(c);
}

TEST(params_mismatch) {
    ipr_ctx *c = tf_open();
    ipr_params *p = tf_params(c, 1, 0), *q;
    static uint8_t buf[2000], damaged[2000];
    size_t need = 0, i;
    int unseen = 0;
    ipr_params_save_memory(p, buf, sizeof buf, &need, NULL);
    q = tf_params(c, 9, 1);
    CHECK_EQ_I(ipr_params_load_memory(q, buf, need, 0), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_params_load: \"lstm.weight_ih_l0\" is 3x4 in the file, 3x5 in the model");
    ipr_clear(c);
    CHECK(tf_params_are(c, q, 9));
    ipr_params_free(q);
    q = tf_params(c, 9, 2);
    CHECK_EQ_I(ipr_params_load_memory(q, buf, need, 0), IPR_E_MISSING);
    CHECK_STR(ipr_message(c), "ipr_params_load: 1 of 2 parameters are in the file; missing: lstm.weight; unexpected: lstm.weight_ih_l0");
    ipr_clear(c);
    CHECK_EQ_I(ipr_params_load_memory(q, buf, need, IPR_LOAD_EXTRA), IPR_E_MISSING);
    ipr_clear(c);
    CHECK_EQ_I(ipr_params_load_memory(q, buf, need, IPR_LOAD_MISSING), IPR_E_MISSING);
    ipr_clear(c);
    CHECK(tf_params_are(c, q, 9));
    CHECK_EQ_I(ipr_params_load_memory(q, buf, need, IPR_LOAD_MISSING | IPR_LOAD_EXTRA), IPR_OK);
    CHECK(ipr_read(c, ipr_params_find(q, "fc.bias"))[0] == 2);
    CHECK(ipr_read(c, ipr_params_find(q, "lstm.weight"))[0] == 9);
    ipr_params_free(q);
    q = tf_params(c, 9, 3);                            /* the model has one more */
    CHECK_EQ_I(ipr_params_load_memory(q, buf, need, IPR_LOAD_EXTRA), IPR_E_MISSING);
    ipr_clear(c);
    CHECK(tf_params_are(c, q, 9));
    ipr_params_free(q);
    q = tf_params(c, 9, 0);                            /* every truncation and every flipped byte: refused or unchanged */
    for (i = 0; i < need; i++) {
        memcpy(damaged, buf, need);
        CHECK(ipr_params_load_memory(q, damaged, i, 0) == IPR_E_FORMAT);
        ipr_clear(c);
        damaged[i] ^= 0x11;
        if (ipr_params_load_memory(q, damaged, need, 0) == IPR_OK) {
            CHECK(tf_params_are(c, q, 1));             /* only the key "sha256" itself can go unseen */
            ipr_params_free(q);
            q = tf_params(c, 9, 0);
            unseen++;
        } else CHECK(tf_params_are(c, q, 9));
        ipr_clear(c);
    }
    CHECK_EQ_I(unseen, 6);
    ipr_params_free(q);
    ipr_params_free(p);
    ipr_close(c);
}

/* Other floating types load; integers, and doubles that a float cannot hold, change nothing. */
TEST(params_types) {
    ipr_ctx *c = tf_open();
    ipr_params *p = ipr_params_new(c);
    ipr_index d = 2;
    ipr_tensor *t = ipr_param(p, "w", 1, &d);
    ipr_array v;
    ipr_writer w;
    int k;
    static const double f64[2] = { 0.1, -3 };
    static const float f32[2] = { 0.5f, -3 };
    static const uint16_t f16[2] = { 0x3800, 0xc200 }, bf16[2] = { 0x3f00, 0xc040 };
    static const int32_t i32[2] = { 1, 2 };
    static const double huge[2] = { 1, 1e39 };
    for (k = 0; k < 6; k++) {
        int want = k == 4 ? IPR_E_FORMAT : k == 5 && !IPR_REAL_IS_DOUBLE ? IPR_E_RANGE : IPR_OK;
        v = k == 0 ? tf_array("w", IPR_DT_F64, 1, 2, 0, f64) : k == 1 ? tf_array("w", IPR_DT_F32, 1, 2, 0, f32)
          : k == 2 ? tf_array("w", IPR_DT_F16, 1, 2, 0, f16) : k == 3 ? tf_array("w", IPR_DT_BF16, 1, 2, 0, bf16)
          : k == 4 ? tf_array("w", IPR_DT_I32, 1, 2, 0, i32) : tf_array("w", IPR_DT_F64, 1, 2, 0, huge);
        ipr_writer_memory(c, &w);
        ipr_st_write(&w, &v, 1, NULL);
        ipr_write(c, t, 0)[0] = 7;
        CHECK_EQ_I(ipr_params_load_memory(p, ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w), 0), want);
        ipr_clear(c);
        CHECK(ipr_read(c, t)[0] == (want ? (ipr_real)7 : k == 0 ? (ipr_real)0.1 : k == 5 ? (ipr_real)1 : (ipr_real)0.5));
        ipr_writer_close(&w);
    }
    ipr_params_free(p);
    ipr_close(c);
}

TEST(params_sticky) {
    ipr_ctx *c = tf_open();
    ipr_params *p = tf_params(c, 1, 0);
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    CHECK_EQ_I(ipr_file_write(c, TF_PATH, "old", 3, 0), IPR_OK);
    ipr__fail(c, IPR_E_SHAPE, "test", "an earlier error");
    CHECK_EQ_I(ipr_params_save(p, TF_PATH, NULL), IPR_E_SHAPE);    /* a model after an error overwrites nothing */
    ipr_clear(c);
    CHECK(tf_file_is(c, "old"));
    CHECK_EQ_I(ipr_params_load(p, TF_PATH, 0), IPR_E_FORMAT);
    CHECK(strstr(ipr_message(c), "3 bytes are no safetensors file") != NULL);
    ipr_clear(c);
    CHECK(tf_params_are(c, p, 1));
    remove(TF_PATH);
    CHECK_EQ_I(ipr_params_save(NULL, TF_PATH, NULL), IPR_E_ARG);
    CHECK_EQ_I(ipr_params_load(NULL, TF_PATH, 0), IPR_E_ARG);
    ipr_params_free(p);
    ipr_close(c);
}

/* Allocation failure at every k-th call: an error, no leak, old file and old model intact. */
typedef struct tf_heap { int left, live; } tf_heap;
static void *tf_heap_alloc(void *user, size_t n) {
    tf_heap *h = (tf_heap *)user;
    if (h->left == 0) return NULL;
    if (h->left > 0) h->left--;
    h->live++;
    return malloc(n);
}
static void tf_heap_free(void *user, void *p, size_t n) { (void)n; ((tf_heap *)user)->live--; free(p); }

TEST(alloc_failure) {
    ipr_desc d;
    ipr_ctx *c;
    tf_heap h;
    ipr_params *p, *q;
    int k, live, saved = 0, loaded = 0;
    memset(&d, 0, sizeof d);
    h.left = -1; h.live = 0;
    d.allocator.alloc_fn = tf_heap_alloc;
    d.allocator.free_fn = tf_heap_free;
    d.allocator.user = &h;
    c = ipr_open(&d, NULL);
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    p = tf_params(c, 1, 4);
    q = tf_params(c, 9, 4);
    CHECK_EQ_I(ipr_file_write(c, TF_PATH, "old", 3, 0), IPR_OK);
    for (k = 0; k < 100 && !saved; k++) {
        live = h.live;
        h.left = k;
        saved = ipr_params_save(p, TF_PATH, NULL) == IPR_OK;
        h.left = -1;
        CHECK_EQ_I(h.live, live);
        if (!saved) { CHECK_EQ_I(ipr_status(c), IPR_E_NOMEM); ipr_clear(c); CHECK(tf_file_is(c, "old")); }
        ipr_clear(c);
    }
    CHECK(saved && k > 4);
    for (k = 0; k < 100 && !loaded; k++) {
        live = h.live;
        h.left = k;
        loaded = ipr_params_load(q, TF_PATH, 0) == IPR_OK;
        h.left = -1;
        CHECK_EQ_I(h.live, live);
        if (!loaded) { CHECK_EQ_I(ipr_status(c), IPR_E_NOMEM); CHECK(tf_params_are(c, q, 9)); }
        ipr_clear(c);
    }
    CHECK(loaded && k > 2 && tf_params_are(c, q, 1));
    remove(TF_PATH);
    ipr_params_free(p);
    ipr_params_free(q);
    ipr_close(c);
    CHECK_EQ_I(h.live, 0);
}

/* Caller-buffer mode: loading from memory (flash) copies nothing and still works. */
TEST(fixed_memory) {
    ipr_desc d;
    ipr_ctx *c, *from = tf_open();
    ipr_params *p, *q = tf_params(from, 3, 0);
    static uint8_t file[2000];
    static char mem[200000];
    size_t n = 0;
    memset(&d, 0, sizeof d);
    d.memory = mem;
    d.memory_size = sizeof mem;
    ipr_params_save_memory(q, file, sizeof file, &n, NULL);
    c = ipr_open(&d, NULL);
    if (!CHECK(c != NULL)) { ipr_close(from); return; }
    p = tf_params(c, 1, 0);
    CHECK_EQ_I(ipr_params_load_memory(p, file, n, 0), IPR_OK);
    CHECK(tf_params_are(c, p, 3));
    ipr_params_free(p);
    ipr_close(c);
    ipr_params_free(q);
    ipr_close(from);
}

static void suite_files(void) {
    RUN(reader_memory); RUN(reader_callback); RUN(writer_memory); RUN(writer_buffer); RUN(writer_callback);
    RUN(file_atomic);
#if TF_POSIX
    RUN(file_failures);
#endif
    RUN(json_out); RUN(json_misuse); RUN(json_in_valid); RUN(json_in_depth); RUN(json_in_walk); RUN(json_round_trip);
    RUN(array_get); RUN(npy_golden); RUN(npy_kinds); RUN(npy_bad); RUN(npy_tensor);
    RUN(st_golden); RUN(st_read); RUN(st_damage); RUN(st_lies); RUN(st_many); RUN(st_write_checks);
    RUN(params_round_trip); RUN(params_mismatch); RUN(params_types); RUN(params_sticky); RUN(alloc_failure); RUN(fixed_memory);
}
