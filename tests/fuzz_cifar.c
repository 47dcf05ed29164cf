/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_cifar.c: the first byte says what the rest is: records of
   CIFAR-10, CIFAR-100, CIFAR-100 coarse, or a csv of GTSRB. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

static void fuzz_records(ipr_ctx *c, const uint8_t *data, size_t size, int format) {
    const int classes = format == IPR_CIFAR10 ? 10 : format == IPR_CIFAR100 ? 100 : 20;
    ipr_image_norm norm = ipr_image_norm_of(IPR_PIXELS_CIFAR10);
    ipr_augment_desc a = IPR_ZERO;
    ipr_tensor *x, *y;
    ipr_dataset *d, *v;
    ipr_reader r;
    ipr_index i;
    ipr_reader_memory(c, &r, data, size);
    d = ipr_dataset_cifar_read(&r, "fuzz", format);
    ipr_reader_close(&r);
    if (!d && ipr_status(c) != IPR_E_FORMAT) abort();
    if (!d) return;
    if (d->count != (ipr_index)(size / (format == IPR_CIFAR10 ? 3073 : 3074)) || d->classes != classes) abort();
    for (i = 0; i < d->count; i++)
        if (ipr_dataset_label(d, i) < 0 || ipr_dataset_label(d, i) >= classes || !*ipr_dataset_class_name(d, ipr_dataset_label(d, i))) abort();
    a.pad = data[0] % 40;
    a.flip = 1;
    a.norm = &norm;
    ipr_set_training(c, 1);
    if (ipr_batch_images(c, d, NULL, d->count, &a, size, &x, &y)) abort();
    for (i = 0; i < ipr_count(x); i++)
        if (!(ipr_read(c, x)[i] > -3 && ipr_read(c, x)[i] < 3)) abort();
    v = ipr_dataset_classes(d, NULL, classes / 2, 1);
    if (!v) abort();
    for (i = 0; i < v->count; i++)
        if (ipr_dataset_label(v, i) < 0 || ipr_dataset_label(v, i) >= classes / 2) abort();
    ipr_dataset_free(v);
    ipr_dataset_free(d);
    ipr_step_end(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    ipr_stats s;
    uint64_t live;
    if (!size) return 0;
    if (!c) c = ipr_open(NULL, NULL);
    ipr_clear(c);
    s = ipr_stats_get(c);
    live = s.allocs - s.frees;
    if (data[0] % 4 < 3) fuzz_records(c, data + 1, size - 1, data[0] % 4);
    else {
        ipr__images k;
        if (!ipr__images_start(&k, c, "fuzz", "csv", NULL)) abort();
        ipr__images_rows(&k, "csv", (const char *)data + 1, size - 1, ".", -1);
        if (k.n < 0 || (size_t)k.n > size / 16 || (ipr_status(c) && ipr_status(c) != IPR_E_FORMAT)) abort();
    }
    s = ipr_stats_get(c);
    if (s.allocs - s.frees > live + 8) abort();     /* the step arena may have grown */
    return 0;
}
