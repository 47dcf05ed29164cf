/* Floor 8: text. Token data sets, buckets, readers of text, tokenizers, vocabularies, vectors, built-in texts. */

#ifndef IPR_TEST_TMP
#define IPR_TEST_TMP "build"
#endif
#define TX_PATH IPR_TEST_TMP "/test_text.tmp"
#define TX_DIR IPR_TEST_TMP "/test_text.dir"
#if IPR__FILES && IPR__WIN32
#include <direct.h>
#define TX_MKDIR(p) _mkdir(p)
#define TX_RMDIR(p) _rmdir(p)
#else
#include <sys/stat.h>
#define TX_MKDIR(p) mkdir(p, 0777)
#define TX_RMDIR(p) rmdir(p)
#endif

/* A literal and its bytes */
#define TX(s) s, sizeof(s) - 1

static uint64_t tx_live(ipr_ctx *c) { ipr_stats s = ipr_stats_get(c); return s.allocs - s.frees; }

static ipr_texts *tx_read(ipr_ctx *c, const char *text, size_t n, const ipr_text_desc *d) {
    ipr_reader r;
    ipr_texts *t;
    ipr_reader_memory(c, &r, text, n);
    t = ipr_texts_read(&r, d);
    ipr_reader_close(&r);
    return t;
}

/* Item i equals the text? */
static int tx_is(const ipr_texts *t, ipr_index i, const char *want) {
    size_t n;
    const char *s = ipr_texts_item(t, i, &n);
    int same = s && n == strlen(want) && memcmp(s, want, n) == 0;
    if (!same) printf("  item %d is \"%.*s\", want \"%s\"\n", (int)i, (int)(s ? n : 0), s ? s : "", want);
    return same;
}

/* Ends with an error whose message holds `says`. */
static int tx_fails(ipr_ctx *c, const char *text, size_t n, const ipr_text_desc *d, int code, const char *says) {
    uint64_t live = tx_live(c);
    ipr_texts *t = tx_read(c, text, n, d);
    int ok = !t && ipr_status(c) == code && strstr(ipr_message(c), says) && tx_live(c) == live;
    if (!ok) printf("  %s: \"%s\", want \"%s\"\n", ipr_status_name(ipr_status(c)), ipr_message(c), says);
    ipr_texts_free(t);
    ipr_clear(c);
    return ok;
}

static const ipr_index tx_offsets[] = { 0, 3, 3, 5, 9 };
static const int32_t tx_tokens[] = { 5, 6, 7, 8, 9, 2, 3, 4, 5 };
static const int32_t tx_labels[] = { 0, 1, 0, 1 };

TEST(token_set) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_dataset *d = ipr_dataset_tokens(c, "t", NULL, 4, tx_offsets, tx_tokens, tx_labels, 0, 1), *v, *w, *rest;
    const ipr_dataset *two[2];
    static const int32_t minus[] = { 5, -1, 7, 8, 9, 2, 3, 4, 5 };
    static const ipr_index falls[] = { 0, 3, 2 }, late[] = { 1, 3 };
    uint32_t idx[3];
    ipr_tensor *x, *y;
    ipr_index n;
    if (!CHECK(d != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(d->count == 4 && d->classes == 2 && d->rank == 1 && d->dims[0] == 4 && d->item == 4 && d->pad == 1 && !d->u8 && !d->real);
    CHECK(ipr_dataset_length(d, 0) == 3 && ipr_dataset_length(d, 1) == 0 && ipr_dataset_length(d, 3) == 4 && ipr_dataset_length(d, 4) == -1);
    CHECK(ipr_dataset_item_tokens(d, 2, &n)[1] == 9 && n == 2);
    CHECK(ipr_dataset_item_tokens(d, -1, &n) == NULL && n == 0 && ipr_dataset_item_u8(d, 0) == NULL);
    idx[0] = 3; idx[1] = 1; idx[2] = 2;
    CHECK_EQ_I(ipr_batch(c, d, idx, 3, IPR_TIME_MAJOR, &x, &y), IPR_OK);
    CHECK(ipr_type(x) == IPR_T_I32 && ipr_rank(x) == 2 && ipr_dim(x, 0) == 4 && ipr_dim(x, 1) == 3);
    {
        static const int32_t want[12] = { 2, 1, 8, 3, 1, 9, 4, 1, 1, 5, 1, 1 };
        CHECK(memcmp(ipr_read_i32(c, x), want, sizeof want) == 0);
        CHECK(ipr_read_i32(c, y)[0] == 1 && ipr_read_i32(c, y)[1] == 1 && ipr_read_i32(c, y)[2] == 0);
    }
    CHECK_EQ_I(ipr_batch(c, d, idx + 1, 2, IPR_BATCH_MAJOR, &x, NULL), IPR_OK);       /* the longest of the batch, not of the set */
    CHECK(ipr_dim(x, 0) == 2 && ipr_dim(x, 1) == 2 && ipr_read_i32(c, x)[0] == 1 && ipr_read_i32(c, x)[2] == 8 && ipr_read_i32(c, x)[3] == 9);
    CHECK_EQ_I(ipr_batch(c, d, idx + 1, 1, IPR_TIME_MAJOR, &x, NULL), IPR_OK);        /* only an empty item: one pad */
    CHECK(ipr_dim(x, 0) == 1 && ipr_dim(x, 1) == 1 && ipr_read_i32(c, x)[0] == 1);
    v = ipr_dataset_view(d, idx, 3);
    CHECK(v && ipr_dataset_length(v, 0) == 4 && ipr_dataset_length(v, 1) == 0 && ipr_dataset_label(v, 2) == 0 && v->pad == 1);
    CHECK_EQ_I(ipr_batch(c, v, NULL, 3, IPR_TIME_MAJOR, &x, &y), IPR_OK);
    CHECK(ipr_read_i32(c, x)[0] == 2 && ipr_read_i32(c, x)[2] == 8);
    w = ipr_dataset_take(d, 1, 3, &rest);
    CHECK(w && w->count == 2 && rest->count == 2 && w->tokens == d->tokens);
    ipr_dataset_free(w);
    ipr_dataset_free(rest);
    two[0] = v; two[1] = d;
    w = ipr_dataset_join(c, two, 2);
    CHECK(w && w->count == 7 && w->classes == 2 && w->item == 4 && ipr_dataset_length(w, 1) == 0 && ipr_dataset_length(w, 3) == 3);
    CHECK(w && ipr_dataset_item_tokens(w, 6, NULL)[3] == 5 && ipr_dataset_label(w, 6) == 1 && ipr_dataset_label(w, 2) == 0);
    ipr_dataset_free(w);
    ipr_dataset_free(d);
    ipr_dataset_free(v);
    d = ipr_dataset_tokens(c, NULL, NULL, 0, tx_offsets, NULL, NULL, 0, 0);
    CHECK(d && d->count == 0 && d->item == 1 && !d->labels);
    ipr_dataset_free(d);
    CHECK(!ipr_dataset_tokens(c, "t", NULL, 4, tx_offsets, minus, NULL, 0, 1) && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK(!ipr_dataset_tokens(c, "t", NULL, 4, tx_offsets, tx_tokens, NULL, 0, -1) && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK(!ipr_dataset_tokens(c, "t", NULL, 2, falls, tx_tokens, NULL, 0, 1) && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK(!ipr_dataset_tokens(c, "t", NULL, 1, late, tx_tokens, NULL, 0, 1) && ipr_status(c) == IPR_E_ARG);
    ipr_clear(c);
    CHECK(!ipr_dataset_tokens(c, "t", NULL, 4, tx_offsets, NULL, NULL, 0, 1) && ipr_status(c) == IPR_E_ARG);
    ipr_clear(c);
    CHECK(!ipr_dataset_tokens(c, "t", NULL, -1, tx_offsets, tx_tokens, NULL, 0, 1) && ipr_status(c) == IPR_E_SHAPE);
    ipr_clear(c);
    CHECK(!ipr_dataset_tokens(c, "t", NULL, 4, tx_offsets, tx_tokens, tx_labels, 1, 1) && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    ipr_step_end(c);
    CHECK(tx_live(c) <= live + 2);     /* the step's arena */
    ipr_close(c);
}

TEST(buckets) {
    enum { N = 1003, B = 10 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    static ipr_index offset[N + 1];
    static int32_t ids[N * 40];
    static uint32_t order[N], again[N], seen[N];
    ipr_dataset *d;
    int i, spread = 0, differ = 0, up = 0;
    for (i = 0; i < N; i++) offset[i + 1] = offset[i] + 1 + (i * 7919) % 37;
    d = ipr_dataset_tokens(c, NULL, NULL, N, offset, ids, NULL, 0, 0);
    CHECK_EQ_I(ipr_buckets(d, NULL, N, B, 20, 7, 0, order), IPR_OK);
    CHECK_EQ_I(ipr_buckets(d, NULL, N, B, 20, 7, 0, again), IPR_OK);
    CHECK(memcmp(order, again, sizeof order) == 0);
    for (i = 0; i < N; i++) seen[order[i]]++;
    for (i = 0; i < N; i++) CHECK_EQ_I(seen[i], 1);
    for (i = 0; i < N / B; i++) {      /* first and last of a batch are near */
        spread += (int)(ipr_dataset_length(d, order[i * B + B - 1]) - ipr_dataset_length(d, order[i * B]));
        up += i && ipr_dataset_length(d, order[i * B]) > ipr_dataset_length(d, order[i * B - B]);
    }
    CHECK(spread < 100 * 4 && up > 30 && up < 70);
    CHECK_EQ_I(ipr_buckets(d, NULL, N, B, 20, 7, 1, again), IPR_OK);
    for (i = 0; i < N; i++) differ += again[i] != order[i];
    CHECK(differ > N * 9 / 10);
    CHECK_EQ_I(ipr_buckets(d, order, 5, 10, 0, 7, 0, again), IPR_OK);     /* less than a batch */
    again[0] = 5000;
    CHECK_EQ_I(ipr_buckets(d, again, 1, 10, 0, 7, 0, order), IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_buckets(d, NULL, N, 0, 0, 7, 0, order), IPR_E_ARG);
    ipr_dataset_free(d);
    ipr_close(c);
}

TEST(text_lines) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_text_desc d;
    ipr_texts *t;
    memset(&d, 0, sizeof d);
    t = tx_read(c, TX("one\r\n\ntwo \xc3\xa9\nlast"), NULL);
    CHECK(t && t->count == 4 && !t->labels && t->classes == 0 && tx_is(t, 0, "one") && tx_is(t, 1, "") && tx_is(t, 2, "two \xc3\xa9") && tx_is(t, 3, "last"));
    CHECK(t && ipr_texts_item(t, 4, NULL) == NULL && strcmp(t->name, "text") == 0 && strcmp(t->source, "memory") == 0);
    ipr_texts_free(t);
    t = tx_read(c, TX("\xef\xbb\xbfx\n"), NULL);             /* a byte order mark; no last line behind the last end */
    CHECK(t && t->count == 1 && tx_is(t, 0, "x"));
    ipr_texts_free(t);
    t = tx_read(c, TX(""), NULL);
    CHECK(t && t->count == 0);
    ipr_texts_free(t);
    t = tx_read(c, TX("caf\xe9 \x93quoted\x94\n\xc3\xa9\n"), NULL);   /* windows-1252 where it is not UTF-8, line by line */
    CHECK(t && tx_is(t, 0, "caf\xc3\xa9 \xe2\x80\x9cquoted\xe2\x80\x9d") && tx_is(t, 1, "\xc3\xa9"));
    ipr_texts_free(t);
    d.encoding = IPR_ENC_LATIN1;
    t = tx_read(c, TX("\xc3\xa9\n"), &d);
    CHECK(t && tx_is(t, 0, "\xc3\x83\xc2\xa9"));
    ipr_texts_free(t);
    d.encoding = IPR_ENC_UTF8;
    CHECK(tx_fails(c, TX("ok\nfine\nbad \xe9\n"), &d, IPR_E_FORMAT, "memory:3: a byte that is not UTF-8"));
    CHECK(tx_fails(c, TX("ok\nn\0l\n"), NULL, IPR_E_FORMAT, "memory:2: a NUL byte"));
    CHECK(tx_fails(c, TX("\xff\xfeh\0i\0"), NULL, IPR_E_FORMAT, "UTF-16"));
    d.encoding = 9;
    CHECK(tx_fails(c, TX("x"), &d, IPR_E_ARG, "encoding 9"));
    d.encoding = 0; d.skip = 2; d.strip = IPR_STRIP_TAGS;
    t = tx_read(c, TX("a\nb\nc<br /><BR>d <3 x > y <!-- z --> </p\n"), &d);
    CHECK(t && t->count == 1 && tx_is(t, 0, "c  d <3 x > y   </p"));
    ipr_texts_free(t);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(text_trec) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    static const char train[] = "DESC:manner How did it : go ?\n\n   \nABBR:exp What is R\xf0 ?\nDESC:def x\n";
    ipr_text_desc d;
    ipr_texts *t, *u;
    memset(&d, 0, sizeof d);
    d.format = IPR_TEXT_TREC;
    d.name = "trec";
    t = tx_read(c, train, sizeof train - 1, &d);
    if (!CHECK(t != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(t->count == 3 && t->classes == 2 && t->labels[0] == 1 && t->labels[1] == 0 && t->labels[2] == 1);
    CHECK_STR(t->class_names[0], "ABBR");
    CHECK(tx_is(t, 0, "How did it : go ?") && tx_is(t, 1, "What is R\xc3\xb0 ?") && tx_is(t, 2, "x"));
    d.like = t;
    u = tx_read(c, TX("DESC:x y\n"), &d);         /* the classes of the training set, also those without an item here */
    CHECK(u && u->classes == 2 && u->labels[0] == 1);
    ipr_texts_free(u);
    CHECK(tx_fails(c, TX("\n\nNUM:x y\n"), &d, IPR_E_FORMAT, "memory:3: label \"NUM\" is none of the 2 classes of trec (ABBR, ...)"));
    CHECK(tx_fails(c, TX("DESC:x\nno label: here\n"), &d, IPR_E_FORMAT, "memory:2: no \"LABEL:\""));
    CHECK(tx_fails(c, TX(":x y\n"), &d, IPR_E_FORMAT, "memory:1: no \"LABEL:\""));
    CHECK(tx_fails(c, TX("DESC\n"), &d, IPR_E_FORMAT, "memory:1"));
    d.like = NULL;
    d.fine = 1;
    u = tx_read(c, train, sizeof train - 1, &d);
    CHECK(u && u->classes == 3 && strcmp(u->class_names[2], "DESC:manner") == 0);
    ipr_texts_free(u);
    ipr_texts_free(t);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

/* Tokens of a text, with | between. */
static int tx_tok(ipr_ctx *c, int kind, int lower, const char *text, const char *want) {
    ipr_vocab_desc d;
    ipr_texts *t = tx_read(c, text, strlen(text), NULL);
    const ipr_texts *list[1];
    ipr_vocab *v;
    int32_t ids[100];
    char got[400];
    ipr_index i, n;
    memset(&d, 0, sizeof d);
    d.tokenizer = kind;
    d.lower = lower;
    list[0] = t;
    v = ipr_vocab_build(c, &d, list, 1);
    n = ipr_vocab_encode(v, text, strlen(text), ids, 100);
    got[0] = 0;
    for (i = 0; i < n; i++) { strcat(got, i ? "|" : ""); strcat(got, ipr_vocab_word(v, ids[i])); }
    ipr_vocab_free(v);
    ipr_texts_free(t);
    if (strcmp(got, want)) printf("  \"%s\" gives %s, want %s\n", text, got, want);
    return strcmp(got, want) == 0;
}

TEST(tokenizers) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    CHECK(tx_tok(c, IPR_TOK_SPACE, 0, "  Hello,  world!\t a\xc2\xa0" "b \xe3\x80\x80 ", "Hello,|world!|a|b"));
    CHECK(tx_tok(c, IPR_TOK_WORD, 1, "Don't say **MARK**, l'Homme's 3.14 x_1", "don'|t|say|*|*|mark|*|*|,|l'|homme'|s|3|.|14|x_1"));
    CHECK(tx_tok(c, IPR_TOK_WORD, 1, "'tis rock'n'roll' \xe2\x80\x98l\xe2\x80\x99\xc3\x89t\xc3\xa9\xe2\x80\x99 \xf0\x9f\x98\x80\xf0\x9f\x98\x80",
                 "'|tis|rock'|n'|roll|'|\xe2\x80\x98|l\xe2\x80\x99|\xc3\xa9t\xc3\xa9|\xe2\x80\x99|\xf0\x9f\x98\x80|\xf0\x9f\x98\x80"));
    CHECK(tx_tok(c, IPR_TOK_CHAR, 0, " a \xc3\xa9  b", " |a| |\xc3\xa9| |b"));
    CHECK(tx_tok(c, IPR_TOK_SPACE, 1, "\xc3\x80\xc3\x9f\xc3\x97 \xc5\xbd\xc5\xb8\xc4\xb0 \xce\x86\xce\xa9 \xd0\x81\xd0\x96 \xe4\xb8\xad",
                 "\xc3\xa0\xc3\x9f\xc3\x97|\xc5\xbe\xc3\xbf\xc4\xb0|\xce\xac\xcf\x89|\xd1\x91\xd0\xb6|\xe4\xb8\xad"));
    CHECK(tx_tok(c, IPR_TOK_WORD, 1, "", ""));
    CHECK(tx_tok(c, IPR_TOK_WORD, 1, "  \t ", ""));
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(vocab) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    static const char text[] = "b b b c c a a d <pad> E\ne b c d\n";
    ipr_texts *t = tx_read(c, text, sizeof text - 1, NULL);
    const ipr_texts *list[2];
    static const char *const marks[] = { "<pad>", "<sos>", "<eos>" };
    ipr_vocab_desc d;
    ipr_encode_desc e;
    ipr_vocab *v, *w;
    ipr_dataset *ds;
    int32_t ids[16];
    char out[64];
    list[0] = t;
    memset(&d, 0, sizeof d);
    memset(&e, 0, sizeof e);
    d.lower = 1;
    v = ipr_vocab_build(c, &d, list, 1);
    if (!CHECK(v != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(ipr_vocab_size(v) == 7 && ipr_vocab_unk(v) == 0 && ipr_vocab_pad(v) == 1);
    CHECK_STR(ipr_vocab_word(v, 2), "b");           /* 4; c 3; a, d, e 2 each, in order */
    CHECK_STR(ipr_vocab_word(v, 3), "c");
    CHECK_STR(ipr_vocab_word(v, 4), "a");
    CHECK(ipr_vocab_count(v, 2) == 4 && ipr_vocab_count(v, 0) == 0 && ipr_vocab_word(v, 7) == NULL && ipr_vocab_id(v, "zz") == -1 && ipr_vocab_id(v, "e") == 6);
    CHECK_EQ_I(ipr_vocab_encode(v, TX("E zz <pad> b"), ids, 16), 4);
    CHECK(ids[0] == 6 && ids[1] == 0 && ids[2] == 0 && ids[3] == 2);       /* a word that looks like a special is none */
    CHECK_EQ_I(ipr_vocab_encode(v, TX("b b b"), NULL, 0), 3);
    CHECK_EQ_I(ipr_vocab_encode(v, TX("\xff"), ids, 16), -1);
    CHECK_EQ_I(ipr_status(c), IPR_E_FORMAT);
    ipr_clear(c);
    ids[0] = 1; ids[1] = 2; ids[2] = 0; ids[3] = 6; ids[4] = 99;
    CHECK_EQ_I(ipr_vocab_decode(v, ids, 5, out, sizeof out), 3);
    CHECK_STR(out, "b e");
    CHECK_EQ_I(ipr_vocab_decode(v, ids, 5, out, 3), 3);
    CHECK_STR(out, "b ");
    ds = ipr_dataset_texts(t, v, NULL);
    CHECK(ds && ds->count == 2 && ipr_dataset_length(ds, 0) == 10 && ds->pad == 1 && !ds->labels && ipr_dataset_item_tokens(ds, 1, NULL)[0] == 6);
    ipr_dataset_free(ds);
    e.max_tokens = 3;
    ds = ipr_dataset_texts(t, v, &e);
    CHECK(ds && ipr_dataset_length(ds, 0) == 3 && ipr_dataset_length(ds, 1) == 3 && ipr_dataset_item_tokens(ds, 1, NULL)[0] == 6);
    ipr_dataset_free(ds);
    e.both_ends = 1;
    ds = ipr_dataset_texts(t, v, &e);
    CHECK(ds && ipr_dataset_item_tokens(ds, 0, NULL)[0] == 2 && ipr_dataset_item_tokens(ds, 0, NULL)[1] == 0 && ipr_dataset_item_tokens(ds, 0, NULL)[2] == 6);  /* b, <pad> E */
    ipr_dataset_free(ds);
    e.both_ends = 0;
    e.last = "<eos>";
    CHECK(ipr_dataset_texts(t, v, &e) == NULL && ipr_status(c) == IPR_E_MISSING);
    ipr_clear(c);
    d.specials = marks; d.nspecials = 3; d.max_size = 5; d.min_count = 3;
    w = ipr_vocab_build(c, &d, list, 1);
    CHECK(w && ipr_vocab_size(w) == 5 && ipr_vocab_unk(w) == -1 && ipr_vocab_pad(w) == 0 && strcmp(ipr_vocab_hash(w), ipr_vocab_hash(v)) != 0);
    e.first = "<sos>";
    ds = ipr_dataset_texts(t, w, &e);
    CHECK(ds && ipr_dataset_length(ds, 0) == 5 && ipr_dataset_length(ds, 1) == 4 && ds->pad == 0);      /* unknown words are left out */
    if (ds) CHECK(ipr_dataset_item_tokens(ds, 1, NULL)[0] == 1 && ipr_dataset_item_tokens(ds, 1, NULL)[1] == 3 && ipr_dataset_item_tokens(ds, 1, NULL)[3] == 2);
    ipr_dataset_free(ds);
    ipr_vocab_free(w);
    d.max_size = 2;
    CHECK(ipr_vocab_build(c, &d, list, 1) == NULL && ipr_status(c) == IPR_E_ARG);
    ipr_clear(c);
    d.max_size = 0; d.nspecials = 2; d.min_count = 1;
    {
        static const char *const twice[] = { "<a>", "<a>" };
        d.specials = twice;
        CHECK(ipr_vocab_build(c, &d, list, 1) == NULL && ipr_status(c) == IPR_E_ARG);
        ipr_clear(c);
    }
    ipr_vocab_free(v);
    ipr_texts_free(t);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(parallel) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_texts *a, *b;
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    ipr_file_write(c, TX_PATH ".en", TX("a dog\n\nthe cat\n  \nend"), 0);
    ipr_file_write(c, TX_PATH ".fr", TX("un chien\nrien\nle chat\nx\nfin\n"), 0);
    CHECK_EQ_I(ipr_texts_parallel(c, TX_PATH ".en", TX_PATH ".fr", NULL, &a, &b), IPR_OK);
    if (!CHECK(a && b)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(a->count == 3 && b->count == 3 && a->dropped == 2 && b->dropped == 2);
    CHECK(tx_is(a, 0, "a dog") && tx_is(a, 1, "the cat") && tx_is(a, 2, "end") && tx_is(b, 0, "un chien") && tx_is(b, 1, "le chat") && tx_is(b, 2, "fin"));
    ipr_texts_free(a);
    ipr_texts_free(b);
    ipr_file_write(c, TX_PATH ".fr", TX("un chien\n"), 0);
    CHECK_EQ_I(ipr_texts_parallel(c, TX_PATH ".en", TX_PATH ".fr", NULL, &a, &b), IPR_E_FORMAT);
    CHECK(!a && !b && strstr(ipr_message(c), ".en has 5 lines, ") && strstr(ipr_message(c), ".fr has 1;"));
    ipr_clear(c);
    CHECK_EQ_I(ipr_texts_parallel(c, TX_PATH ".en", TX_PATH ".none", NULL, &a, &b), IPR_E_MISSING);
    ipr_clear(c);
    remove(TX_PATH ".en");
    remove(TX_PATH ".fr");
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(text_csv) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_text_desc d;
    ipr_texts *t;
    memset(&d, 0, sizeof d);
    d.format = IPR_TEXT_CSV;
    t = tx_read(c, TX("\"5\",\"great, \"\"really\"\"\nyes\",x\r\n\n1,bad \"x\" y\n5,\n\"2\",\"\""), &d);
    if (!CHECK(t != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(t->count == 4 && t->classes == 3 && t->labels[0] == 2 && t->labels[1] == 0 && t->labels[3] == 1);
    CHECK(tx_is(t, 0, "great, \"really\"\nyes") && tx_is(t, 1, "bad \"x\" y") && tx_is(t, 2, "") && tx_is(t, 3, ""));
    d.like = t;
    CHECK(tx_fails(c, TX("\"5\",\"two\nlines\"\n3,x\n"), &d, IPR_E_FORMAT, "memory:3: label \"3\" is none of the 3 classes"));
    d.like = NULL;
    ipr_texts_free(t);
    CHECK(tx_fails(c, TX("5,ok\n1\n"), &d, IPR_E_FORMAT, "memory:2: 1 columns; the label is in 1, the text in 2"));
    CHECK(tx_fails(c, TX("5,ok\n1,\"open\n\n"), &d, IPR_E_FORMAT, "memory:2: a quote that opens here is not closed"));
    CHECK(tx_fails(c, TX("1,\"a\"b\n"), &d, IPR_E_FORMAT, "memory:1: text behind a closing quote"));
    CHECK(tx_fails(c, "1,a\n2,\"\n\0\"\n", 11, &d, IPR_E_FORMAT, "memory:3: a NUL byte"));
    d.encoding = IPR_ENC_UTF8;
    CHECK(tx_fails(c, TX("1,a\n\xe9,b\n"), &d, IPR_E_FORMAT, "memory:2: a byte that is not UTF-8"));
    d.encoding = 0;
    d.strip = IPR_STRIP_ESCAPES;
    t = tx_read(c, TX("1,\"a\\nb\\\"c\\\\d\\xe\"\n"), &d);          /* Yelp's escapes */
    CHECK(t && tx_is(t, 0, "a\nb\"c\\d\\xe"));
    ipr_texts_free(t);
    d.strip = 0; d.format = IPR_TEXT_TSV; d.label_column = 3; d.text_column = 1; d.no_quotes = 1; d.skip = 1;
    t = tx_read(c, TX("sentence\tid\tlabel\n\"Look, he said\t7\tgood\nno\t8\tbad\n"), &d);
    CHECK(t && t->count == 2 && tx_is(t, 0, "\"Look, he said") && t->labels[0] == 1);
    ipr_texts_free(t);
    d.label_column = 2; d.text_column = -1; d.skip = 0;
    t = tx_read(c, TX("a\tL\tb\tc\n"), &d);
    CHECK(t && tx_is(t, 0, "a b c"));
    ipr_texts_free(t);
    d.label_column = -1; d.text_column = 1;
    t = tx_read(c, TX("a\tL\n"), &d);
    CHECK(t && tx_is(t, 0, "a") && !t->labels);
    ipr_texts_free(t);
    d.label_column = 1;
    CHECK(tx_fails(c, TX("a\tL\n"), &d, IPR_E_ARG, "label in column 1, text in 1"));
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(text_trees) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_text_desc d;
    ipr_texts *t;
    size_t i;
    static const char good[] = "(3 (2 It) (4 (2 's) (3 -LRB-really-RRB-)))\n\n(0 (1 -LRB-) (2 and\\/or) (2 -RRB-))\n";
    static const struct { const char *text, *says; } bad[] = {
        { "(3 (2 It)\n", "memory:1: a tree does not close" }, { "(3 x))\n", "text behind the tree" }, { "x\n", "no tree" }, { ")\n", "more ) than (" },
        { "( (2 x))\n", "has no label" }, { "(2 x)\n(2 y) z\n", "memory:2: text behind" }, { "(2 x) (3 y)", "text behind" }, { "(", "has no label" } };
    memset(&d, 0, sizeof d);
    d.format = IPR_TEXT_TREES;
    t = tx_read(c, good, sizeof good - 1, &d);
    if (!CHECK(t != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(t->count == 2 && t->classes == 2 && t->labels[0] == 1 && t->labels[1] == 0 && strcmp(t->class_names[1], "3") == 0);
    CHECK(tx_is(t, 0, "It 's -LRB-really-RRB-") && tx_is(t, 1, "( and/or )"));
    ipr_texts_free(t);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(tx_fails(c, bad[i].text, strlen(bad[i].text), &d, IPR_E_FORMAT, bad[i].says));
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

TEST(text_folders) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_text_desc d;
    ipr_texts *t, *u;
    static const char *const one[] = { "pos" }, *const two[] = { "none", "pos" };
    static const char message[] = "From: x\nSubject: y\n\nIn article 5, a writes:\n> quoted\nMy answer.\n\nMore.\n\n--\nBob\nbob@x\n\n";
    static const char *const files[] = { TX_DIR "/pos/9_8.txt", TX_DIR "/pos/10_7.txt", TX_DIR "/neg/0_2.txt", TX_DIR "/loose.txt" };
    size_t i;
    if (!IPR__FILES) { ipr_close(c); SKIP("IPR_NO_STDIO"); }
    (void)TX_MKDIR(IPR_TEST_TMP); (void)TX_MKDIR(TX_DIR); (void)TX_MKDIR(TX_DIR "/pos"); (void)TX_MKDIR(TX_DIR "/neg"); (void)TX_MKDIR(TX_DIR "/pos/sub");
    ipr_file_write(c, files[0], TX("nine"), 0);
    ipr_file_write(c, files[1], TX("ten\nlines\xe9"), 0);
    ipr_file_write(c, files[2], message, sizeof message - 1, 0);
    ipr_file_write(c, files[3], TX("not in a class"), 0);
    memset(&d, 0, sizeof d);
    d.name = "tiny";
    t = ipr_texts_folders(c, TX_DIR, &d);
    if (!CHECK(t != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(t->count == 3 && t->classes == 2 && strcmp(t->class_names[0], "neg") == 0 && t->labels[0] == 0 && t->labels[1] == 1);
    CHECK(tx_is(t, 1, "ten\nlines\xc3\xa9") && tx_is(t, 2, "nine") && strcmp(t->source, TX_DIR) == 0);     /* by the names' bytes */
    d.strip = IPR_STRIP_HEADERS | IPR_STRIP_QUOTES | IPR_STRIP_FOOTERS;
    u = ipr_texts_folders(c, TX_DIR, &d);
    CHECK(u && tx_is(u, 0, "\nMy answer.\n\nMore.\n\n"));
    ipr_texts_free(u);
    d.strip = IPR_STRIP_QUOTES;
    u = ipr_texts_folders(c, TX_DIR, &d);
    CHECK(u && tx_is(u, 0, "From: x\nSubject: y\n\nMy answer.\n\nMore.\n\n--\nBob\nbob@x\n\n"));
    ipr_texts_free(u);
    d.strip = 0;
    d.folders = one; d.nfolders = 1;
    u = ipr_texts_folders(c, TX_DIR, &d);
    CHECK(u && u->count == 2 && u->classes == 1);
    ipr_texts_free(u);
    d.like = t;
    u = ipr_texts_folders(c, TX_DIR, &d);
    CHECK(u && u->count == 2 && u->classes == 2 && u->labels[0] == 1);
    ipr_texts_free(u);
    d.like = NULL;
    d.folders = two; d.nfolders = 2;
    CHECK(ipr_texts_folders(c, TX_DIR, &d) == NULL && ipr_status(c) == IPR_E_MISSING && strstr(ipr_message(c), "test_text.dir/none"));
    ipr_clear(c);
    d.folders = NULL;
    remove(files[2]);
    CHECK(ipr_texts_folders(c, TX_DIR, &d) == NULL && ipr_status(c) == IPR_E_FORMAT && strstr(ipr_message(c), "class neg has no files"));
    ipr_clear(c);
    ipr_file_write(c, files[2], "a\nb\0c", 5, 0);
    CHECK(ipr_texts_folders(c, TX_DIR, &d) == NULL && strstr(ipr_message(c), "neg/0_2.txt:2: a NUL byte"));
    ipr_clear(c);
    CHECK(ipr_texts_folders(c, TX_DIR "/pos/sub", &d) == NULL && ipr_status(c) == IPR_E_FORMAT);
    ipr_clear(c);
    CHECK(ipr_texts_folders(c, files[0], &d) == NULL && ipr_status(c) == IPR_E_MISSING);
    ipr_clear(c);
    ipr_texts_free(t);
    for (i = 0; i < 4; i++) remove(files[i]);
    TX_RMDIR(TX_DIR "/pos/sub"); TX_RMDIR(TX_DIR "/pos"); TX_RMDIR(TX_DIR "/neg"); TX_RMDIR(TX_DIR);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

static ipr_vocab *tx_vocab(ipr_ctx *c, const char *text) {
    ipr_vocab_desc d;
    ipr_texts *t = tx_read(c, text, strlen(text), NULL);
    const ipr_texts *list[1];
    ipr_vocab *v;
    memset(&d, 0, sizeof d);
    d.tokenizer = IPR_TOK_WORD;
    d.lower = 1;
    list[0] = t;
    v = ipr_vocab_build(c, &d, list, 1);
    ipr_texts_free(t);
    return v;
}

static ipr_vocab *tx_vocab_read(ipr_ctx *c, const char *text, size_t n) {
    ipr_reader r;
    ipr_vocab *v;
    ipr_reader_memory(c, &r, text, n);
    v = ipr_vocab_read(&r);
    ipr_reader_close(&r);
    return v;
}

TEST(vocab_file) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_vocab *v = tx_vocab(c, "the \"cat\" sat \\ on the caf\xc3\xa9"), *w;
    ipr_writer out;
    ipr_index i;
    size_t n, k;
    char *copy, *at;
    static const char *const swaps[][2] = { { "\"cat\"", "\"dog\"" }, { "\"word\"", "\"char\"" }, { "\"lower\": true", "\"lower\": false" }, { "\"specials\": 2", "\"specials\": 1" },
        { "\"version\": 1", "\"version\": 2" }, { "\"sat\"", "\"cat\"" }, { "\"sat\"", "\"\"   " }, { "\"sat\"", "12345" }, { "ipr.vocab", "ipr.vocax" } };
    if (!CHECK(v != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    ipr_writer_memory(c, &out);
    CHECK_EQ_I(ipr_vocab_write(v, &out), IPR_OK);
    n = (size_t)ipr_writer_bytes(&out);
    copy = (char *)malloc(n + 1);
    memcpy(copy, ipr_writer_data(&out), n);
    copy[n] = 0;
    w = tx_vocab_read(c, copy, n);
    if (CHECK(w != NULL)) {
        CHECK_STR(ipr_vocab_hash(w), ipr_vocab_hash(v));
        CHECK(ipr_vocab_size(w) == ipr_vocab_size(v) && ipr_vocab_unk(w) == 0 && ipr_vocab_pad(w) == 1);
        for (i = 0; i < ipr_vocab_size(v); i++) CHECK(strcmp(ipr_vocab_word(v, i), ipr_vocab_word(w, i)) == 0 && ipr_vocab_count(v, i) == ipr_vocab_count(w, i));
        CHECK(ipr_vocab_encode(w, TX("THE Dog"), NULL, 0) == 2);
    } else puts(ipr_message(c));
    ipr_vocab_free(w);
    for (k = 0; k < n; k += k < n - 40 ? 17 : 1) {        /* cut anywhere, it is refused */
        char *cut = (char *)malloc(k + 1);
        memcpy(cut, copy, k);
        w = tx_vocab_read(c, cut, k);
        if (k < n - 2 || w == NULL) CHECK(w == NULL && ipr_status(c) == IPR_E_FORMAT);      /* the last byte is a line end */
        ipr_vocab_free(w);
        ipr_clear(c);
        free(cut);
    }
    for (k = 0; k < sizeof swaps / sizeof *swaps; k++) {
        at = strstr(copy, swaps[k][0]);
        if (!CHECK(at != NULL)) continue;
        {
            size_t a = strlen(swaps[k][0]), b = strlen(swaps[k][1]), lead = (size_t)(at - copy);
            char *other = (char *)malloc(n + b);
            memcpy(other, copy, lead);
            memcpy(other + lead, swaps[k][1], b);
            memcpy(other + lead + b, at + a, n - lead - a);
            CHECK(tx_vocab_read(c, other, n - a + b) == NULL && ipr_status(c) == IPR_E_FORMAT);
            ipr_clear(c);
            free(other);
        }
    }
    free(copy);
    ipr_writer_close(&out);
    if (IPR__FILES) {      /* saved, loaded, tied to a model */
        ipr_params *p = ipr_params_new(c);
        ipr_pair pair[1];
        ipr_meta meta;
        ipr_st *st;
        pair[0].key = "ipr.vocab"; pair[0].value = ipr_vocab_hash(v);
        meta.pairs = pair; meta.count = 1;
        ipr_dense_new(p, "d", 2, 2, 1);
        CHECK_EQ_I(ipr_vocab_save(v, TX_PATH), IPR_OK);
        w = ipr_vocab_load(c, TX_PATH);
        CHECK(w != NULL);
        ipr_params_save(p, TX_PATH ".st", &meta);
        st = ipr_st_open_file(c, TX_PATH ".st", 0);
        CHECK_EQ_I(ipr_vocab_check(w, st), IPR_OK);
        ipr_vocab_free(w);
        w = tx_vocab(c, "another text");
        CHECK_EQ_I(ipr_vocab_check(w, st), IPR_E_FORMAT);
        CHECK(strstr(ipr_message(c), "this vocabulary is another model's") != NULL);
        ipr_clear(c);
        ipr_st_close(st);
        ipr_params_save(p, TX_PATH ".st", NULL);
        st = ipr_st_open_file(c, TX_PATH ".st", 0);
        CHECK_EQ_I(ipr_vocab_check(w, st), IPR_E_MISSING);
        ipr_clear(c);
        ipr_st_close(st);
        ipr_vocab_free(w);
        ipr_params_free(p);
        CHECK(ipr_vocab_load(c, TX_PATH ".none") == NULL && ipr_status(c) == IPR_E_MISSING);
        ipr_clear(c);
        remove(TX_PATH);
        remove(TX_PATH ".st");
    }
    ipr_vocab_free(v);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

static ipr_index tx_vectors(ipr_ctx *c, ipr_tensor *t, const ipr_vocab *v, const char *text, size_t n) {
    ipr_reader r;
    ipr_index found;
    ipr_reader_memory(c, &r, text, n);
    found = ipr_embed_vectors_read(t, v, &r);
    ipr_reader_close(&r);
    return found;
}

TEST(vectors) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_vocab *v = tx_vocab(c, "one two three . .");       /* <unk> <pad> . one three two */
    ipr_params *p = ipr_params_new(c);
    ipr_index dims[2], i;
    ipr_tensor *t;
    ipr_real *w;
    char *big;
    static const char *const bad[] = { "one 1 2\n", "2 3\none 1 2 x\n", "one 1 2 nan\n", "one 1 2 1e99\n", "7 3\ntwo 1 2 3\n7 3\n" };
    dims[0] = 6; dims[1] = 3;
    t = ipr_param(p, "e", 2, dims);
    w = ipr_write(c, t, 0);
    for (i = 0; i < 18; i++) w[i] = (ipr_real)-1;
    CHECK_EQ_I(tx_vectors(c, t, v, TX("2 3\none 1 2.5 -3e0\r\nzzz 1 2 3\n. .5 0 1 \none 9 9 9\n\n<unk> 7 7 7")), 3);
    w = ipr_write(c, t, 1);
    CHECK(w[9] == 1 && w[10] == (ipr_real)2.5 && w[11] == -3 && w[6] == (ipr_real).5 && w[15] == -1 && w[0] == 7 && w[3] == -1);
    CHECK_EQ_I(tx_vectors(c, t, v, TX("two words 1 2 3\ntwo 4 5 6")), 1);      /* GloVe has words with spaces */
    CHECK(ipr_read(c, t)[15] == 4);
    for (i = 0; i < 5; i++) {
        CHECK_EQ_I(tx_vectors(c, t, v, bad[i], strlen(bad[i])), -1);
        CHECK_EQ_I(ipr_status(c), IPR_E_FORMAT);
        ipr_clear(c);
        CHECK(ipr_read(c, t)[9] == 1 && ipr_read(c, t)[15] == 4);      /* as it was */
    }
    big = (char *)malloc(600000);      /* more than one piece of the reader */
    for (i = 0; i < 600000; i++) big[i] = i % 20 == 19 ? '\n' : i % 20 == 18 ? '3' : i % 20 == 17 ? ' ' : i % 20 == 16 ? '2' : i % 20 == 15 ? ' ' : i % 20 == 14 ? '1' : i % 20 == 13 ? ' ' : 'a';
    memcpy(big + 599980, "three", 5);
    big[599985] = ' ';
    for (i = 599986; i < 599993; i++) big[i] = ' ';
    CHECK_EQ_I(tx_vectors(c, t, v, big, 600000), 1);
    CHECK(ipr_read(c, t)[12] == 1 && ipr_read(c, t)[14] == 3);
    free(big);
    CHECK_EQ_I(tx_vectors(c, t, v, "", 0), 0);
    dims[0] = 5;
    t = ipr_param(p, "f", 2, dims);
    CHECK_EQ_I(tx_vectors(c, t, v, TX("one 1 2 3\n")), -1);
    CHECK_EQ_I(ipr_status(c), IPR_E_SHAPE);
    ipr_clear(c);
    if (IPR__FILES) {
        ipr_file_write(c, TX_PATH, TX("two 1 1 1\n"), 0);
        CHECK_EQ_I(ipr_embed_vectors(ipr_params_at(p, 0), v, TX_PATH), 1);
        CHECK_EQ_I(ipr_embed_vectors(ipr_params_at(p, 0), v, TX_PATH ".none"), -1);
        CHECK_EQ_I(ipr_status(c), IPR_E_MISSING);
        remove(TX_PATH);
    }
    ipr_vocab_free(v);
    ipr_close(c);
}

TEST(built_in_texts) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_texts *t = ipr_texts_questions(c, 1, 0, 600), *u, *f;
    uint8_t sum[32];
    char hex[65];
    int per[6], i;
    size_t n;
    if (!CHECK(t != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    memset(per, 0, sizeof per);
    for (i = 0; i < 600; i++) per[t->labels[i]]++;
    for (i = 0; i < 6; i++) CHECK_EQ_I(per[i], 100);
    CHECK(t->classes == 6 && strcmp(t->class_names[0], "ABBR") == 0 && strcmp(t->class_names[5], "NUM") == 0);
    ipr_sha256_of(t->text, (size_t)t->at[600], sum);
    ipr_hex(sum, 32, hex);
    CHECK_STR(hex, "554b35b8726509c2fd39a90b42f1947c9c8b7b47ba8301cb5d9aaa038ebeaf9b");         /* the same on every machine */
    u = ipr_texts_questions(c, 1, 77, 5);      /* a window */
    CHECK(u && u->labels[0] == t->labels[77] && ipr_texts_item(u, 0, &n) && memcmp(ipr_texts_item(t, 77, NULL), u->text, n) == 0);
    ipr_texts_free(u);
    u = ipr_texts_questions(c, 1, IPR_DIGITS_TEST, 6);
    CHECK(u && u->count == 6 && u->classes == 6);
    ipr_texts_free(u);
    ipr_texts_free(t);
    CHECK(ipr_texts_questions(c, 1, 0, -1) == NULL && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(ipr_texts_pairs(c, 1, 0, 300, &u, &f), IPR_OK);
    CHECK(u && f && u->count == 300 && f->count == 300);
    ipr_sha256_of(u->text, (size_t)u->at[300], sum);
    ipr_hex(sum, 32, hex);
    CHECK_STR(hex, "5e8ab960a7a67b6cbd086cc58f6426171fdbc66e8f56a815d3164966457a4681");
    ipr_sha256_of(f->text, (size_t)f->at[300], sum);
    ipr_hex(sum, 32, hex);
    CHECK_STR(hex, "fd3a05b632d71c852e9a566187f217b80f6894645e0eb2bff1ff9269c421c8bb");
    ipr_texts_free(u);
    ipr_texts_free(f);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

/* A line of a million tokens, of a megabyte without a space; truncation anywhere. */
TEST(text_extremes) {
    enum { N = 1000000 };
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live = tx_live(c);
    ipr_texts *t;
    const ipr_texts *list[1];
    ipr_vocab *v;
    ipr_dataset *ds;
    ipr_encode_desc e;
    char *big = (char *)malloc(2 * N + 3);
    int i;
    size_t k;
    static const char mixed[] = "\xef\xbb\xbfNUM:count How m\xc3\xa9ny ?\r\nDESC:def (2 \"a,b\"\xe2\x82\xac)\n";
    ipr_text_desc d;
    memset(&e, 0, sizeof e);
    memset(&d, 0, sizeof d);
    for (i = 0; i < N; i++) { big[2 * i] = (char)('a' + i % 26); big[2 * i + 1] = ' '; }
    big[2 * N] = '\n'; big[2 * N + 1] = 'z'; big[2 * N + 2] = '\n';
    t = tx_read(c, big, 2 * N + 3, NULL);
    list[0] = t;
    v = ipr_vocab_build(c, NULL, list, 1);
    ds = ipr_dataset_texts(t, v, NULL);
    CHECK(ds && ds->count == 2 && ipr_dataset_length(ds, 0) == N && ipr_dataset_length(ds, 1) == 1 && ipr_vocab_size(v) == 28);
    ipr_dataset_free(ds);
    e.max_tokens = 200;
    ds = ipr_dataset_texts(t, v, &e);
    CHECK(ds && ipr_dataset_length(ds, 0) == 200 && ds->item == 200);
    ipr_dataset_free(ds);
    ipr_vocab_free(v);
    ipr_texts_free(t);
    for (i = 0; i < N; i++) big[2 * i + 1] = 'x';
    t = tx_read(c, big, 2 * N, NULL);
    list[0] = t;
    v = ipr_vocab_build(c, NULL, list, 1);
    CHECK(v && ipr_vocab_size(v) == 3 && strlen(ipr_vocab_word(v, 2)) == 2 * N);
    ipr_vocab_free(v);
    ipr_texts_free(t);
    free(big);
    for (d.format = IPR_TEXT_LINES; d.format <= IPR_TEXT_TREES; d.format++)
        for (k = 0; k < sizeof mixed; k++) {
            char *cut = (char *)malloc(k + 1);
            memcpy(cut, mixed, k);
            t = tx_read(c, cut, k, &d);
            CHECK((t != NULL) == (ipr_status(c) == IPR_OK));
            ipr_texts_free(t);
            ipr_clear(c);
            free(cut);
        }
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

/* ---- memory runs out at every k-th allocation ---- */

typedef struct tx_heap { long calls, live, fail_at; } tx_heap;
static void *tx_alloc(void *user, size_t n) {
    tx_heap *h = (tx_heap *)user;
    void *p;
    if (h->calls++ == h->fail_at) return NULL;
    p = malloc(n ? n : 1);
    if (p) h->live++;
    return p;
}
static void tx_free(void *user, void *p, size_t n) { (void)n; if (p) ((tx_heap *)user)->live--; free(p); }

static void tx_everything(ipr_ctx *c) {
    static const char csv[] = "b,\"x y\"\na,z\nc,\xe9 w\n", trec[] = "A:b c d e\nF:g h\n", trees[] = "(2 (3 a) (1 b))\n";
    static const int formats[] = { IPR_TEXT_CSV, IPR_TEXT_TREC, IPR_TEXT_TREES };
    const char *const all[3] = { csv, trec, trees };
    ipr_texts *t, *u, *w;
    const ipr_texts *list[1];
    ipr_text_desc d;
    ipr_vocab *v, *again;
    ipr_dataset *ds, *view, *join;
    const ipr_dataset *two[2];
    ipr_writer out;
    uint32_t order[8];
    int k;
    memset(&d, 0, sizeof d);
    for (k = 0; k < 3; k++) {
        d.format = formats[k];
        t = tx_read(c, all[k], strlen(all[k]), &d);
        list[0] = t;
        v = t ? ipr_vocab_build(c, NULL, list, 1) : NULL;
        ds = ipr_dataset_texts(t, v, NULL);
        view = ipr_dataset_view(ds, NULL, 1);
        two[0] = ds; two[1] = view;
        join = view ? ipr_dataset_join(c, two, 2) : NULL;
        if (ds) (void)ipr_buckets(ds, NULL, ds->count, 1, 0, 1, 0, order);
        ipr_dataset_free(join);
        ipr_dataset_free(view);
        ipr_dataset_free(ds);
        if (!ipr_status(c) && v) {
            ipr_writer_memory(c, &out);
            if (!ipr_vocab_write(v, &out)) {
                again = tx_vocab_read(c, (const char *)ipr_writer_data(&out), (size_t)ipr_writer_bytes(&out));
                ipr_vocab_free(again);
            }
            ipr_writer_close(&out);
        }
        ipr_vocab_free(v);
        ipr_texts_free(t);
    }
    ipr_texts_free(ipr_texts_questions(c, 1, 0, 8));
    if (ipr_texts_pairs(c, 1, 0, 3, &u, &w) == IPR_OK) { ipr_texts_free(u); ipr_texts_free(w); }
    if (IPR__FILES) {
        if (ipr_texts_parallel(c, TX_PATH ".en", TX_PATH ".en", NULL, &u, &w) == IPR_OK) { ipr_texts_free(u); ipr_texts_free(w); }
        ipr_texts_free(ipr_texts_folders(c, TX_DIR, NULL));
    }
}

TEST(text_no_memory) {
    tx_heap h;
    ipr_desc d;
    ipr_ctx *c;
    long n, k, leaks = 0, silent = 0, live;
    if (IPR__FILES) {
        ipr_ctx *f = ipr_open(NULL, NULL);
        (void)TX_MKDIR(IPR_TEST_TMP); (void)TX_MKDIR(TX_DIR); (void)TX_MKDIR(TX_DIR "/a");
        ipr_file_write(f, TX_DIR "/a/1", TX("text"), 0);
        ipr_file_write(f, TX_PATH ".en", TX("one\ntwo\n"), 0);
        ipr_close(f);
    }
    memset(&h, 0, sizeof h);
    memset(&d, 0, sizeof d);
    d.allocator.alloc_fn = tx_alloc; d.allocator.free_fn = tx_free; d.allocator.user = &h;
    h.fail_at = -1;
    c = ipr_open(&d, NULL);
    h.calls = 0;
    live = h.live;
    tx_everything(c);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    CHECK_EQ_I(h.live, live);
    n = h.calls;
    CHECK(n > 100);
    for (k = 0; k < n; k++) {
        h.calls = 0;
        h.fail_at = k;
        tx_everything(c);
        h.fail_at = -1;
        silent += ipr_status(c) != IPR_E_NOMEM;
        leaks += h.live != live;
        ipr_clear(c);
    }
    CHECK_EQ_I(silent, 0);
    CHECK_EQ_I(leaks, 0);
    ipr_close(c);
    CHECK_EQ_I(h.live, 0);
    remove(TX_DIR "/a/1");
    remove(TX_PATH ".en");
    (void)TX_RMDIR(TX_DIR "/a"); (void)TX_RMDIR(TX_DIR);
}

static void suite_text(void) {
    RUN(token_set); RUN(buckets); RUN(text_lines); RUN(text_trec); RUN(tokenizers); RUN(vocab); RUN(parallel); RUN(text_csv); RUN(text_trees);
    RUN(text_folders); RUN(vocab_file); RUN(vectors); RUN(built_in_texts); RUN(text_extremes); RUN(text_no_memory);
}
