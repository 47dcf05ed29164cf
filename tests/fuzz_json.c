/* clang -g -O1 -fsanitize=fuzzer,address,undefined fuzz_json.c: parse, walk, write again, parse again. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdlib.h>

/* Copies v through the writer, one level at a time on a stack of its own; equal values must come back. */
static void fuzz_copy(ipr_json *j, ipr_json_val root) {
    struct { ipr_json_val v; size_t at; } up[64];
    ipr_json_val key, v;
    char *text = (char *)malloc(root.bytes + 1), *name = (char *)malloc(root.bytes + 1);
    int depth = 0, more;
    key.type = IPR_JSON_NONE; key.text = NULL; key.bytes = 0;
    v = root;
    for (;;) {
        const char *k = key.type ? name : NULL;
        if (key.type && ipr_json_to_text(key, name, root.bytes + 1) > root.bytes) abort();
        switch (v.type) {
        case IPR_JSON_NULL: ipr_json_null(j, k); break;
        case IPR_JSON_BOOL: ipr_json_bool(j, k, ipr_json_to_bool(v, 0)); break;
        case IPR_JSON_NUMBER: ipr_json_num(j, k, ipr_json_to_double(v, 0)); break;
        case IPR_JSON_STRING: ipr_json_to_text(v, text, root.bytes + 1); if (!ipr_json_equals(v, text)) abort(); ipr_json_str(j, k, text); break;
        case IPR_JSON_ARRAY: case IPR_JSON_OBJECT:
            if (v.type == IPR_JSON_ARRAY) ipr_json_array(j, k); else ipr_json_object(j, k);
            if (depth == 64) abort();
            up[depth].v = v;
            up[depth++].at = 0;
            break;
        default: abort();
        }
        for (more = 0; depth && !more; ) {
            more = ipr_json_next(up[depth - 1].v, &up[depth - 1].at, &key, &v);
            if (!more) { ipr_json_end(j); depth--; }
        }
        if (!more) break;
    }
    free(text);
    free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static ipr_ctx *c;
    ipr_json_val v, again;
    ipr_writer w, w2;
    ipr_json j;
    char *text = (char *)malloc(size ? size : 1);
    if (!c) c = ipr_open(NULL, NULL);
    ipr_clear(c);
    ipr__copy(text, data, size);
    if (ipr_json_parse(c, text, size, &v) == IPR_OK) {
        ipr_writer_memory(c, &w);
        ipr_json_begin(&j, &w, size & 1);
        fuzz_copy(&j, v);
        if (ipr_json_finish(&j)) abort();
        if (ipr_json_parse(c, (const char *)ipr_writer_data(&w), (size_t)ipr_writer_bytes(&w), &again)) abort();
        if (again.type != v.type && !(v.type == IPR_JSON_NUMBER && again.type == IPR_JSON_NULL)) abort();
        ipr_writer_memory(c, &w2);                      /* a second copy is the same text */
        ipr_json_begin(&j, &w2, size & 1);
        fuzz_copy(&j, again);
        if (ipr_json_finish(&j)) abort();
        if (ipr_writer_bytes(&w) != ipr_writer_bytes(&w2) || ipr__memcmp(ipr_writer_data(&w), ipr_writer_data(&w2), (size_t)ipr_writer_bytes(&w))) abort();
        (void)ipr_json_get(v, "rows[1].a[0]");
        ipr_writer_close(&w);
        ipr_writer_close(&w2);
    } else if (ipr_status(c) != IPR_E_FORMAT) abort();
    free(text);
    return 0;
}
