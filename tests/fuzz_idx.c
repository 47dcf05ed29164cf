/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_idx.c: the input is images, a 0xff byte, labels. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    ipr_dataset *d, *t, *rest;
    ipr_tensor *x, *y;
    size_t cut = 0;
    ipr_stats s;
    uint64_t live;
    if (!c) c = ipr_open(NULL, NULL);
    ipr_clear(c);
    s = ipr_stats_get(c);
    live = s.allocs - s.frees;
    while (cut < size && data[cut] != 0xff) cut++;
    d = ipr_dataset_idx_memory(c, "fuzz", data, cut, cut < size ? data + cut + 1 : NULL, cut < size ? size - cut - 1 : 0);
    if (d) {
        ipr_index n = d->count < 5 ? d->count : 5;
        if (n) (void)ipr_batch(c, d, NULL, n, IPR_TIME_MAJOR, &x, d->labels ? &y : NULL);
        if (n) (void)ipr_batch(c, d, NULL, n, IPR_BATCH_MAJOR, &x, NULL);
        if (ipr_status(c)) abort();
        t = d->classes < 1000 ? ipr_dataset_split(d, 0.3, 1, &rest) : NULL;
        if (t) { ipr_dataset_free(rest); ipr_dataset_free(t); }
    }
    ipr_dataset_free(d);
    ipr_step_end(c);
    s = ipr_stats_get(c);
    if (s.allocs - s.frees > live + 8) abort();     /* the step arena may have grown */
    return 0;
}
