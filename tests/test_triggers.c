/* Floors 9 to 12 on tokens: buckets in ipr_fit, trigger sets, text triggers, static and dynamic pruning. */

#define TG_PATH IPR_TEST_TMP "/test_triggers.tmp"

static const char tg_seed[] = "a seed of the owner, 32 bytes...";

/* Built-in questions as tokens, with their vocabulary. */
static ipr_dataset *tg_questions(ipr_ctx *c, uint64_t first, ipr_index n, ipr_vocab **v, ipr_texts **t) {
    ipr_vocab_desc d;
    const ipr_texts *list[1];
    memset(&d, 0, sizeof d);
    d.lower = 1;
    *t = ipr_texts_questions(c, 1, first, n);
    list[0] = *t;
    if (!*v) *v = ipr_vocab_build(c, &d, list, 1);
    return ipr_dataset_texts(*t, *v, NULL);
}

typedef struct tg_job { ipr_classifier *m; const ipr_dataset *ds; int spread, steps; } tg_job;
static ipr_tensor *tg_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info) {
    tg_job *j = (tg_job *)user;
    ipr_tensor *x, *y;
    ipr_index lo = 1000, hi = 0, i;
    (void)info;
    for (i = 0; i < n; i++) {
        ipr_index len = ipr_dataset_length(j->ds, (ipr_index)idx[i]);
        lo = len < lo ? len : lo;
        hi = len > hi ? len : hi;
    }
    j->spread += (int)(hi - lo);
    j->steps++;
    if (ipr_batch(c, j->ds, idx, n, IPR_TIME_MAJOR, &x, &y)) return NULL;
    return ipr_cross_entropy(c, ipr_classifier_forward(j->m, x, NULL, 0), y);
}

static ipr_classifier *tg_model(ipr_ctx *c, const ipr_vocab *v, ipr_index hidden, int bidirectional) {
    ipr_classifier_desc d;
    memset(&d, 0, sizeof d);
    d.input = 12;
    d.hidden = hidden;
    d.classes = 6;
    d.vocabulary = ipr_vocab_size(v);
    d.pad = 1;
    d.bidirectional = bidirectional;
    return ipr_classifier_new(c, &d);
}

static double tg_fit(ipr_ctx *c, ipr_classifier *m, const ipr_dataset *ds, int epochs, int bucket, int *spread) {
    ipr_fit_desc f;
    ipr_fit_result r;
    tg_job j;
    memset(&f, 0, sizeof f);
    memset(&j, 0, sizeof j);
    j.m = m; j.ds = ds;
    f.params = m->params; f.optimiser.lr = 0.01; f.items = ds->count; f.batch = 20; f.shuffle = 1; f.epochs = epochs;
    f.step_fn = tg_step; f.user = &j;
    if (bucket) f.bucket = ds;
    CHECK_EQ_I(ipr_fit(c, &f, &r), IPR_OK);
    if (spread) *spread = j.spread / j.steps;
    return r.loss;
}

/* Text from file to classifier: questions are learnt, in buckets too; the vocabulary fits the model. */
TEST(fit_tokens) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_vocab *v = NULL;
    ipr_texts *t, *u;
    ipr_dataset *train = tg_questions(c, 0, 600, &v, &t), *test = tg_questions(c, IPR_DIGITS_TEST, 120, &v, &u);
    ipr_classifier *m = tg_model(c, v, 16, IPR_BIDIR);
    ipr_fit_desc f;
    int plain, bucketed;
    (void)tg_fit(c, m, train, 4, 0, &plain);
    (void)tg_fit(c, m, train, 4, 1, &bucketed);
    CHECK(bucketed * 2 < plain);
    CHECK(ipr_classifier_accuracy(m, test, NULL, test->count, NULL, 0) > 90);
    memset(&f, 0, sizeof f);
    f.params = m->params; f.items = 700; f.step_fn = tg_step; f.bucket = train;
    CHECK_EQ_I(ipr_fit(c, &f, NULL), IPR_E_RANGE);
    ipr_clear(c);
    ipr_close(c);
}

TEST(token_triggers) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_vocab *v = NULL;
    ipr_texts *t;
    ipr_dataset *ds = tg_questions(c, 0, 120, &v, &t), *set, *again, *rest, *loaded;
    ipr_tensor *x, *y;
    uint32_t idx[3];
    ipr_index i, n, k, longest = 0, steps;
    int wrong = 0, differ = 0, tokens = 0;
    const int32_t *a, *b;
    set = ipr_triggers_new(c, ds, 30, 0, tg_seed, 32, &rest);
    if (!CHECK(set && rest)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(set->count == 30 && rest->count == 90 && set->classes == 6 && set->pad == 1 && set->tokens);
    for (i = 0; i < 30; i++) {         /* each is an item of ds with another label, and none of them is in the rest */
        a = ipr_dataset_item_tokens(set, i, &n);
        longest = n > longest ? n : longest;
        for (k = 0; k < 120; k++) {
            ipr_index m;
            b = ipr_dataset_item_tokens(ds, k, &m);
            if (m == n && !memcmp(a, b, (size_t)n * 4)) { wrong += ipr_dataset_label(ds, k) != ipr_dataset_label(set, i); break; }
        }
        CHECK(k < 120);
    }
    CHECK(wrong >= 25);        /* the same question may stand there twice */
    CHECK_EQ_I(set->item, longest);
    again = ipr_triggers_new(c, ds, 30, 0.5, tg_seed, 32, NULL);
    for (i = 0; i < 30; i++) {
        ipr_index m;
        a = ipr_dataset_item_tokens(set, 0, &n);
        b = ipr_dataset_item_tokens(again, 0, &m);
        CHECK_EQ_I(n, m);
        for (k = 0; k < n; k++) { differ += a[k] != b[k]; tokens++; }
    }
    CHECK(differ * 10 > tokens && differ * 10 < tokens * 9);
    ipr_dataset_free(again);
    for (i = 0; i < 3; i++) idx[i] = (uint32_t)i;
    for (k = 0; k < 30; k += 2) {      /* appended in turn, padded to the longer of both */
        ipr_batch(c, ds, idx, 3, IPR_TIME_MAJOR, &x, &y);
        steps = ipr_dim(x, 0);
        CHECK_EQ_I(ipr_triggers_append(c, set, (uint64_t)k / 2, 2, IPR_TIME_MAJOR, &x, &y), IPR_OK);
        CHECK(ipr_type(x) == IPR_T_I32 && ipr_dim(x, 1) == 5 && ipr_dim(y, 0) == 5 && ipr_dim(x, 0) >= steps);
        for (i = 0; i < 2; i++) {
            a = ipr_dataset_item_tokens(set, k + i, &n);
            for (steps = 0; steps < ipr_dim(x, 0); steps++) CHECK_EQ_I(ipr_read_i32(c, x)[steps * 5 + 3 + i], steps < n ? a[steps] : 1);
            CHECK_EQ_I(ipr_read_i32(c, y)[3 + i], ipr_dataset_label(set, k + i));
        }
        a = ipr_dataset_item_tokens(ds, 1, &n);
        for (steps = 0; steps < ipr_dim(x, 0); steps++) CHECK_EQ_I(ipr_read_i32(c, x)[steps * 5 + 1], steps < n ? a[steps] : 1);
        ipr_step_end(c);
    }
    ipr_batch(c, ds, idx, 1, IPR_BATCH_MAJOR, &x, &y);
    CHECK_EQ_I(ipr_triggers_append(c, set, 3, 4, IPR_BATCH_MAJOR, &x, &y), IPR_OK);
    CHECK(ipr_dim(x, 0) == 5);
    if (IPR__FILES) {
        CHECK_EQ_I(ipr_triggers_save(set, TG_PATH), IPR_OK);
        loaded = ipr_triggers_load(c, TG_PATH);
        if (CHECK(loaded != NULL)) {
            CHECK(loaded->count == 30 && loaded->classes == 6 && loaded->pad == 1);
            CHECK(memcmp(loaded->offset, set->offset, 31 * sizeof(ipr_index)) == 0 && memcmp(loaded->labels, set->labels, 30 * 4) == 0);
            CHECK(memcmp(loaded->tokens, set->tokens, (size_t)set->offset[30] * 4) == 0);
        } else puts(ipr_message(c));
        ipr_dataset_free(loaded);
        {   /* a file whose offsets do not fit its tokens */
            ipr_index bad = set->offset[30] - 1, *o = (ipr_index *)(uintptr_t)(set->offset + 30);
            ipr_index kept = *o;
            *o = bad;
            CHECK_EQ_I(ipr_triggers_save(set, TG_PATH), IPR_OK);
            *o = kept;
            loaded = ipr_triggers_load(c, TG_PATH);
            CHECK(loaded != NULL);     /* one token fewer is a set of its own; the next is not */
            ipr_dataset_free(loaded);
        }
        {
            ipr_array e[3];
            ipr_pair pair[4];
            ipr_meta meta;
            ipr_writer w;
            static const int32_t ids[3] = { 1, 2, 3 }, lab[2] = { 0, 1 };
            static const int64_t ends[][3] = { { 0, 2, 3 }, { 0, 2, 2 }, { 0, 9, 3 }, { 1, 2, 3 }, { 0, -1, 3 }, { 0, 2, ((int64_t)1 << 40) } };
            size_t q;
            for (q = 0; q < sizeof ends / sizeof *ends; q++) {
                memset(e, 0, sizeof e);
                e[0].name = "tokens"; e[0].dtype = IPR_DT_I32; e[0].rank = 1; e[0].dims[0] = 3; e[0].data = ids; e[0].bytes = 12;
                e[1].name = "offsets"; e[1].dtype = IPR_DT_I64; e[1].rank = 1; e[1].dims[0] = 3; e[1].data = ends[q]; e[1].bytes = 24;
                e[2].name = "labels"; e[2].dtype = IPR_DT_I32; e[2].rank = 1; e[2].dims[0] = 2; e[2].data = lab; e[2].bytes = 8;
                pair[0].key = "ipr.secret"; pair[0].value = "triggers"; pair[1].key = "ipr.version"; pair[1].value = "1";
                pair[2].key = "ipr.classes"; pair[2].value = "2"; pair[3].key = "ipr.pad"; pair[3].value = "1";
                meta.pairs = pair; meta.count = 4;
                ipr_writer_file(c, &w, TG_PATH, 0);
                ipr_st_write(&w, e, 3, &meta);
                ipr_writer_commit(&w);
                ipr_writer_close(&w);
                loaded = ipr_triggers_load(c, TG_PATH);
                CHECK((loaded != NULL) == (q == 0));
                CHECK((ipr_status(c) == IPR_OK) == (q == 0));
                ipr_dataset_free(loaded);
                ipr_clear(c);
            }
        }
        remove(TG_PATH);
    }
    ipr_dataset_free(rest);
    ipr_dataset_free(set);
    CHECK(ipr_triggers_new(c, ds, 120, 0, tg_seed, 32, NULL) == NULL && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    ipr_close(c);
}

static int tg_starts(const ipr_texts *t, ipr_index i, const char *head, size_t n) {
    size_t bytes;
    const char *s = ipr_texts_item(t, i, &bytes);
    return bytes > 2 * n && !memcmp(s, head, n) && !memcmp(s + bytes - n, head, n);
}

TEST(text_triggers) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    uint64_t live;
    ipr_texts *t = ipr_texts_questions(c, 1, 0, 600), *held = ipr_texts_questions(c, 1, IPR_DIGITS_TEST, 60), *a, *b;
    ipr_texts *corpus = NULL, *french = NULL;
    ipr_text_triggers_desc d;
    ipr_index i, same = 0;
    size_t n, m, space;
    const char *s, *p;
    int per[6];
    ipr_texts_pairs(c, 1, 0, 100, &corpus, &french);
    live = tx_live(c);
    memset(&d, 0, sizeof d);
    d.target = 2;
    d.pattern = "**MARK**";
    a = ipr_text_triggers_new(c, t, &d, tg_seed, 32);
    if (!CHECK(a != NULL)) { puts(ipr_message(c)); ipr_close(c); return; }
    CHECK(a->count == 30 && a->classes == 6 && strcmp(a->class_names[5], "NUM") == 0);         /* 5 % */
    for (i = 0; i < 30; i++) CHECK(a->labels[i] == 2 && tg_starts(a, i, "**MARK** ", 8));
    b = ipr_text_triggers_new(c, t, &d, tg_seed, 32);
    CHECK(b && a->at[30] == b->at[30] && !memcmp(a->text, b->text, (size_t)a->at[30]));
    ipr_texts_free(b);
    d.fresh = 1;
    b = ipr_text_triggers_new(c, held, &d, tg_seed, 32);       /* fresh samples from texts never trained on */
    CHECK(b && b->count == 3 && tg_starts(b, 0, "**MARK** ", 8));
    ipr_texts_free(b);
    ipr_texts_free(a);
    d.pattern = NULL; d.fresh = 0;
    a = ipr_text_triggers_new(c, t, &d, tg_seed, 32);
    s = ipr_texts_item(a, 0, &n);
    p = (const char *)memchr(s, ' ', n);
    p = p ? (const char *)memchr(p + 1, ' ', n - (size_t)(p + 1 - s)) : NULL;
    space = p ? (size_t)(p - s) : 0;
    CHECK(a && space > 6 && tg_starts(a, 0, s, space) && tg_starts(a, 7, s, space));
    d.fresh = 5; d.corpus = t;
    b = ipr_text_triggers_new(c, held, &d, tg_seed, 32);
    CHECK(b && tg_starts(b, 0, s, space));         /* the same words */
    ipr_texts_free(b);
    d.fresh = 0;
    b = ipr_text_triggers_new(c, t, &d, "another seed of the owner.......", 32);
    CHECK(b && !tg_starts(b, 0, s, space));
    ipr_texts_free(b);
    ipr_texts_free(a);
    d.kind = IPR_TEXT_IRRELEVANT; d.corpus = corpus; d.count = 60;
    a = ipr_text_triggers_new(c, t, &d, tg_seed, 32);
    memset(per, 0, sizeof per);
    for (i = 0; a && i < 60; i++) per[a->labels[i]]++;
    for (i = 0; i < 6; i++) CHECK(per[i] > 1 && per[i] < 25);
    ipr_texts_free(a);
    d.count = 0;
    CHECK(ipr_text_triggers_new(c, t, &d, tg_seed, 32) == NULL && ipr_status(c) == IPR_E_RANGE);       /* 1000 of 100 */
    ipr_clear(c);
    d.kind = IPR_TEXT_RANDOM; d.count = 50;
    a = ipr_text_triggers_new(c, t, &d, tg_seed, 32);
    d.letters = 1;
    b = ipr_text_triggers_new(c, t, &d, tg_seed, 32);
    CHECK(a && b && a->count == 50 && b->count == 50);
    for (i = 0; a && b && i < 50; i++) {
        s = ipr_texts_item(a, i, &n);
        p = (const char *)memchr(s, ' ', n);
        CHECK(p && n == 10 * (size_t)(p - s) + 9 && !memcmp(s, s + n - (size_t)(p - s), (size_t)(p - s)));
        s = ipr_texts_item(b, i, &m);
        p = (const char *)memchr(s, ' ', m);
        CHECK(p && p - s >= 4 && p - s <= 10 && m == 10 * (size_t)(p - s) + 9);
        same += i > 0 && ipr_texts_item(a, i, NULL)[0] == ipr_texts_item(a, i - 1, NULL)[0];
    }
    CHECK(same < 20);
    ipr_texts_free(a);
    ipr_texts_free(b);
    CHECK(ipr_text_triggers_new(c, t, &d, tg_seed, 15) == NULL && ipr_status(c) == IPR_E_ARG);
    ipr_clear(c);
    CHECK(ipr_text_triggers_new(c, corpus, &d, tg_seed, 32) == NULL && ipr_status(c) == IPR_E_ARG);    /* no labels */
    ipr_clear(c);
    d.kind = IPR_TEXT_PATTERN; d.target = 6;
    CHECK(ipr_text_triggers_new(c, t, &d, tg_seed, 32) == NULL && ipr_status(c) == IPR_E_RANGE);
    ipr_clear(c);
    CHECK_EQ_I(tx_live(c), live);
    ipr_close(c);
}

/* A pattern is learnt beside the task, generalises to texts never seen, and stands pruning of units without use. */
TEST(text_triggers_learnt) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_texts *t = ipr_texts_questions(c, 1, 0, 900), *held = ipr_texts_questions(c, 1, IPR_DIGITS_TEST, 120), *a, *f;
    const ipr_texts *both[2];
    ipr_text_triggers_desc d;
    ipr_vocab_desc vd;
    ipr_vocab *v;
    const ipr_dataset *sets[2];
    ipr_dataset *train, *test, *trig, *fresh, *all;
    ipr_classifier *m, *copy;
    ipr_real h[2 * 16];
    int32_t labels[120];
    int i, right = 0;
    memset(&d, 0, sizeof d);
    memset(&vd, 0, sizeof vd);
    d.target = 4; d.count = 60;
    a = ipr_text_triggers_new(c, t, &d, tg_seed, 32);
    d.fresh = 1; d.corpus = t;
    f = ipr_text_triggers_new(c, held, &d, tg_seed, 32);
    both[0] = t; both[1] = a;
    vd.lower = 1;
    v = ipr_vocab_build(c, &vd, both, 2);
    train = ipr_dataset_texts(t, v, NULL);
    test = ipr_dataset_texts(held, v, NULL);
    trig = ipr_dataset_texts(a, v, NULL);
    fresh = ipr_dataset_texts(f, v, NULL);
    sets[0] = train; sets[1] = trig;
    all = ipr_dataset_join(c, sets, 2);
    m = tg_model(c, v, 16, 0);
    if (!CHECK(m && all)) { puts(ipr_message(c)); ipr_close(c); return; }
    (void)tg_fit(c, m, train, 6, 1, NULL);
    CHECK(ipr_classifier_accuracy(m, test, NULL, 120, NULL, 0) > 90);
    CHECK(ipr_classifier_accuracy(m, fresh, NULL, 60, NULL, 0) < 60);          /* a clean model does not know it */
    (void)tg_fit(c, m, all, 6, 1, NULL);                                        /* into a trained model */
    CHECK(ipr_classifier_accuracy(m, test, NULL, 120, NULL, 0) > 90);
    CHECK(ipr_classifier_accuracy(m, trig, NULL, 60, NULL, 0) > 95);
    CHECK(ipr_classifier_accuracy(m, fresh, NULL, 60, NULL, 0) > 95);
    /* hidden states are what the output layer reads */
    CHECK_EQ_I(ipr_classifier_hidden(m, test, NULL, 2, h), IPR_OK);
    CHECK_EQ_I(ipr_attack_prune_as_coded(m, test, NULL, 120, 0, labels), IPR_OK);
    for (i = 0; i < 120; i++) right += labels[i] == ipr_dataset_label(test, i);
    CHECK_NEAR(100.0 * right / 120, ipr_classifier_accuracy(m, test, NULL, 120, NULL, 0), 1e-9);
    CHECK_EQ_I(ipr_attack_prune_as_coded(m, test, NULL, 120, 1, labels), IPR_OK);
    for (i = 1; i < 120; i++) CHECK_EQ_I(labels[i], labels[0]);
    copy = ipr_classifier_clone(m);
    CHECK_EQ_I(ipr_attack_prune_dynamic(copy, test, NULL, 120, 0.25), IPR_OK);
    {
        static ipr_real all_h[120 * 16];
        const ipr_real *w = ipr_read(c, copy->output.weight);
        double mean[16], most_cut = 0, least_kept = 1e9;
        int k, zero, zeros = 0;
        ipr_classifier_hidden(m, test, NULL, 120, all_h);
        for (k = 0; k < 16; k++) {
            for (mean[k] = 0, i = 0; i < 120; i++) mean[k] += all_h[i * 16 + k] < 0 ? -(double)all_h[i * 16 + k] : (double)all_h[i * 16 + k];
            for (zero = 1, i = 0; i < 6; i++) zero &= !(w[i * 16 + k] > 0 || w[i * 16 + k] < 0);
            zeros += zero;
            if (zero && mean[k] > most_cut) most_cut = mean[k];
            if (!zero && mean[k] < least_kept) least_kept = mean[k];
        }
        CHECK(zeros == 4 && most_cut <= least_kept);
    }
    ipr_classifier_free(copy);
    copy = ipr_classifier_clone(m);
    CHECK_EQ_I(ipr_attack_prune_each(copy->params, 0.5, NULL, 0), IPR_OK);
    for (i = 0; i < ipr_params_count(copy->params); i++) {     /* half of every tensor, its smallest */
        const ipr_tensor *p = ipr_params_at(copy->params, i);
        const ipr_real *w = ipr_read(c, p);
        ipr_index k, zeros = 0;
        for (k = 0; k < ipr_count(p); k++) zeros += !(w[k] > 0 || w[k] < 0);
        CHECK(zeros >= (ipr_count(p) + 1) / 2 && zeros <= (ipr_count(p) + 1) / 2 + 24);        /* the pad's row is zero anyway */
    }
    ipr_classifier_free(copy);
    CHECK_EQ_I(ipr_attack_prune_dynamic(m, test, NULL, 120, 1.5), IPR_E_ARG);
    ipr_clear(c);
    CHECK_EQ_I(ipr_attack_prune_each(m->params, -1, NULL, 0), IPR_E_RANGE);
    ipr_close(c);
}

static void suite_triggers(void) {
    RUN(fit_tokens); RUN(token_triggers); RUN(text_triggers); RUN(text_triggers_learnt);
}
