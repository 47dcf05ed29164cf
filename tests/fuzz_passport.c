/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_passport.c: the input as a file of passports, as a licence and as
   a file of Uchida's projection. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    static ipr_cnn *m;
    ipr_passport_unit at[IPR_CNN_UNITS];
    ipr_detection det;
    ipr_reader r;
    ipr_st *st;
    ipr_stats s;
    uint64_t live;
    if (!c) {
        ipr_cnn_desc d = IPR_ZERO;
        c = ipr_open(NULL, NULL);
        d.arch = IPR_LENET;
        d.height = d.width = 16;
        m = ipr_cnn_new(c, &d);
    }
    ipr_clear(c);
    s = ipr_stats_get(c);
    live = s.allocs - s.frees;
    ipr_reader_memory(c, &r, data, size);
    st = ipr_st_open(&r, IPR_LOAD_NO_HASH);
    if (st) {
        ipr_passport *p = ipr__pass_from(c, st, "fuzz", NULL, at);
        ipr_uchida *u;
        if ((p == NULL) != (ipr_status(c) != IPR_OK)) abort();
        if (p) { /* what was accepted can be used, or says why not */
            (void)ipr_passport_detect(p, m, &det);
            ipr_clear(c);
            (void)ipr_passport_fixed(p, m);
            ipr_clear(c);
            ipr_passport_free(ipr_passport_fresh(p, 0, NULL, 1));
        }
        ipr_passport_free(p);
        ipr_clear(c);
        u = ipr__uchida_from(c, st, "fuzz");
        if ((u == NULL) != (ipr_status(c) != IPR_OK)) abort();
        if (u) (void)ipr_uchida_match(u, m, NULL);
        ipr_uchida_free(u);
    }
    ipr_st_close(st);
    ipr_reader_close(&r);
    ipr_clear(c);
    s = ipr_stats_get(c);
    if (s.allocs - s.frees != live) abort();
    return 0;
}
