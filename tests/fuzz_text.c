/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_text.c: two bytes choose format, encoding, tokenizer and what is
   stripped; the rest is the file. What was read is made into a vocabulary, encoded, decoded, batched, and read again. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    ipr_text_desc d = IPR_ZERO;
    ipr_vocab_desc vd = IPR_ZERO;
    ipr_reader r;
    ipr_texts *t;
    const ipr_texts *list[1];
    ipr_stats s;
    uint64_t live;
    if (!c) c = ipr_open(NULL, NULL);
    ipr_clear(c);
    if (size < 2) return 0;
    d.format = data[0] % 5;
    d.encoding = data[0] / 5 % 3;
    d.fine = data[0] / 15 % 2;
    d.label_column = data[0] / 30 % 4 - 1;
    d.text_column = data[0] / 120 ? -1 : 0;
    d.strip = data[1] & 24;
    d.no_quotes = data[1] & 1;
    vd.tokenizer = (data[1] >> 1 & 3) % 3;
    vd.lower = data[1] >> 5 & 1;
    s = ipr_stats_get(c);
    live = s.allocs - s.frees;
    ipr_reader_memory(c, &r, data + 2, size - 2);
    t = ipr_texts_read(&r, &d);
    if (!t != !!ipr_status(c)) abort();
    if (t) {
        ipr_vocab *v;
        ipr_dataset *ds;
        ipr_tensor *x;
        ipr_index i, n;
        static char word[9000];
        for (i = 0; i < t->count; i++) {
            size_t bytes, k;
            const char *p = ipr_texts_item(t, i, &bytes);
            for (k = 0; k < bytes; k += (size_t)ipr__utf8((const uint8_t *)p + k, bytes - k))
                if (!ipr__utf8((const uint8_t *)p + k, bytes - k)) abort();
            if (t->labels && (t->labels[i] < 0 || t->labels[i] >= t->classes)) abort();
        }
        list[0] = t;
        v = ipr_vocab_build(c, &vd, list, 1);
        ds = ipr_dataset_texts(t, v, NULL);
        if (!ds || ipr_status(c)) abort();
        for (i = 0; i < ds->count && i < 8; i++) {
            const int32_t *ids = ipr_dataset_item_tokens(ds, i, &n);
            int32_t back[9000];
            size_t len = ipr_vocab_decode(v, ids, n, word, sizeof word);
            if (len < sizeof word && n < 9000 && vd.tokenizer == IPR_TOK_SPACE &&
                ipr_vocab_encode(v, word, len, back, 9000) > n) abort();
        }
        if (ds->count) (void)ipr_batch(c, ds, NULL, ds->count < 4 ? ds->count : 4, IPR_TIME_MAJOR, &x, NULL);
        ipr_dataset_free(ds);
        ipr_vocab_free(v);
        d.like = t;
        d.encoding = IPR_ENC_AUTO;
        ipr_reader_memory(c, &r, data + 2, size - 2);
        ipr_texts_free(ipr_texts_read(&r, &d));
        if (d.strip) {
            ipr__buf b = IPR_ZERO;
            (void)ipr__buf_add(c, &b, data, size);
            ipr__strip_message(&b, size > 3 ? 3 : 0, data[0] & 7);
            if (b.used > size) abort();
            ipr__free(c, b.p);
        }
    }
    ipr_texts_free(t);
    ipr_step_end(c);
    s = ipr_stats_get(c);
    if (s.allocs - s.frees > live + 8) abort();     /* the step arena may have grown */
    return 0;
}
