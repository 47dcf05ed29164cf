/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_npy.c */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    ipr_reader r, r2;
    ipr_array a, b;
    ipr_writer w;
    if (!c) c = ipr_open(NULL, NULL);
    ipr_clear(c);
    ipr_reader_memory(c, &r, data, size);
    while (ipr_npy_read(&r, &a) == IPR_OK) {        /* what was read is written and read as the same array */
        ipr_writer_memory(c, &w);
        if (ipr_npy_write(&w, &a)) abort();
        ipr_reader_memory(c, &r2, ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w));
        if (ipr_npy_read(&r2, &b) || b.bytes != a.bytes || b.rank != a.rank || b.dtype != a.dtype || ipr__memcmp(a.data, b.data, a.bytes)) abort();
        ipr_array_free(c, &b);
        ipr_writer_close(&w);
        (void)ipr_array_tensor(c, &a);
        ipr_array_free(c, &a);
        ipr_clear(c);
        ipr_step_end(c);
    }
    if (a.data) abort();
    ipr_reader_close(&r);
    return 0;
}
