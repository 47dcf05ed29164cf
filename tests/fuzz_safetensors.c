/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_safetensors.c: any bytes are opened or refused, nothing leaks. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

static ipr_index fuzz_seven(void *user, void *dst, size_t bytes) { return (ipr_index)ipr_reader_read((ipr_reader *)user, dst, bytes < 7 ? bytes : 7) ? -1 : (ipr_index)(bytes < 7 ? bytes : 7); }

/* What was accepted must be whole: readable, and the same after writing and reading it again. */
static void fuzz_again(ipr_ctx *c, const ipr_st *st) {
    ipr_array *v = (ipr_array *)calloc((size_t)ipr_st_count(st) + 1, sizeof *v);
    ipr_writer w;
    ipr_reader r;
    ipr_st *again;
    int i;
    for (i = 0; i < ipr_st_count(st); i++) {
        const ipr_array *a = ipr_st_at(st, i);
        double *d = (double *)malloc((size_t)ipr_array_count(a) * sizeof *d + 1);
        v[i] = *a;
        if (ipr_array_get(c, a, IPR_DT_F64, d)) abort();
        if (ipr_st_find(st, a->name) != a) abort();
        if (!a->name[0]) v[i].name = "\x01";     /* read, but not written */
        free(d);
    }
    ipr_writer_memory(c, &w);
    if (ipr_st_write(&w, v, ipr_st_count(st), NULL) == IPR_OK) {
        ipr_reader_memory(c, &r, ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w));
        again = ipr_st_open(&r, 0);
        if (!again || ipr_st_count(again) != ipr_st_count(st)) abort();
        for (i = 0; i < ipr_st_count(st); i++) {
            const ipr_array *a = ipr_st_find(again, v[i].name);
            if (!a || a->bytes != v[i].bytes || ipr__memcmp(a->data, v[i].data, a->bytes)) abort();
        }
        ipr_st_close(again);
    } else if (ipr_status(c) != IPR_E_ARG) abort();     /* a tensor was named "\x01" too */
    ipr_writer_close(&w);
    free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    ipr_reader r, source;
    ipr_st *st;
    ipr_params *p;
    ipr_index d[2] = { 2, 2 };
    uint64_t live;
    ipr_stats s;
    if (!c) c = ipr_open(NULL, NULL);
    ipr_clear(c);
    s = ipr_stats_get(c);
    live = s.allocs - s.frees;
    ipr_reader_memory(c, &r, data, size);
    st = ipr_st_open(&r, IPR_LOAD_NO_HASH);
    if ((st == NULL) != (ipr_status(c) != IPR_OK)) abort();
    if (st) fuzz_again(c, st);
    ipr_st_close(st);
    ipr_reader_close(&r);
    ipr_clear(c);
    ipr_reader_memory(c, &source, data, size);
    ipr_reader_callback(c, &r, fuzz_seven, &source, size);
    p = ipr_params_new(c);
    ipr_param(p, "a", 2, d);
    (void)ipr_params_read(p, &r, IPR_LOAD_EXTRA | IPR_LOAD_MISSING);
    ipr_params_free(p);
    ipr_reader_close(&r);
    s = ipr_stats_get(c);
    if (s.allocs - s.frees != live) abort();
    return 0;
}
