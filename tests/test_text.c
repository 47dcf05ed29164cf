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
    CHECK(tx_is(t, 0, " How did it : go ?") && tx_is(t, 1, " What is R\xc3\xb0 ?") && tx_is(t, 2, " x"));
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

static void suite_text(void) {
    RUN(token_set); RUN(buckets); RUN(text_lines); RUN(text_trec); RUN(tokenizers); RUN(vocab); RUN(parallel);
}
