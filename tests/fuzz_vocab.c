/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_vocab.c: the input as a vocabulary file, and as a file of vectors. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    static ipr_vocab *known;
    static ipr_tensor *table;
    static const char text[] = "one two three\n";
    ipr_reader r;
    ipr_vocab *v;
    ipr_writer w;
    if (!c) {
        const ipr_texts *list[1];
        ipr_index dims[2];
        c = ipr_open(NULL, NULL);
        ipr_reader_memory(c, &r, text, sizeof text - 1);
        list[0] = ipr_texts_read(&r, NULL);
        known = ipr_vocab_build(c, NULL, list, 1);
        dims[0] = ipr_vocab_size(known);
        dims[1] = 2;
        table = ipr_param(ipr_params_new(c), "table", 2, dims);
    }
    ipr_clear(c);
    ipr_reader_memory(c, &r, data, size);
    v = ipr_vocab_read(&r);
    if (!v != !!ipr_status(c)) abort();
    if (v) {       /* written and read again it is the same */
        ipr_vocab *again;
        ipr_writer_memory(c, &w);
        if (ipr_vocab_write(v, &w)) abort();
        ipr_reader_memory(c, &r, ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w));
        again = ipr_vocab_read(&r);
        if (!again || ipr_vocab_size(again) != ipr_vocab_size(v)) abort();
        ipr_vocab_free(again);
        ipr_writer_close(&w);
    }
    ipr_vocab_free(v);
    ipr_clear(c);
    ipr_reader_memory(c, &r, data, size);
    if ((ipr_embed_vectors_read(table, known, &r) < 0) != (ipr_status(c) != 0)) abort();
    return 0;
}
