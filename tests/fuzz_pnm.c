/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_pnm.c */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    ipr_reader r;
    ipr_image a, b, g;
    ipr_writer w;
    if (!c) c = ipr_open(NULL, NULL);
    ipr_clear(c);
    ipr_reader_memory(c, &r, data, size);
    while (ipr_image_read(&r, &a) == IPR_OK) {
        size_t n = (size_t)(a.width * a.height * a.channels);
        ipr_writer_memory(c, &w);
        if (ipr_image_write(&w, &a)) abort();
        {
            ipr_reader r2;
            ipr_reader_memory(c, &r2, ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w));
            if (ipr_image_read(&r2, &b) || b.width != a.width || b.height != a.height || ipr__memcmp(a.px, b.px, n) || ipr_reader_left(&r2)) abort();
            ipr_image_free(c, &b);
        }
        ipr_writer_close(&w);
        if (ipr_image_resize(c, &a, 5, 3, IPR_RESIZE_BOX, &b)) abort();
        ipr_image_free(c, &b);
        if (ipr_image_resize(c, &a, 7, 9, IPR_RESIZE_BILINEAR, &b)) abort();
        if (ipr_image_grey(c, &b, &g)) abort();
        ipr_image_free(c, &g);
        ipr_image_free(c, &b);
        ipr_image_free(c, &a);
    }
    if (a.px) abort();
    ipr_reader_close(&r);
    return 0;
}
