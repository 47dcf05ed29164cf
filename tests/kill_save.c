/* A kill during a save, at a random moment: the file holds the old model or the new one, whole.
     kill_save write PATH   saves two models in turn for ever (to be killed)
     kill_save check PATH   0 when PATH holds one of them
   tests/kill_save.sh drives it. */
#define IPR_IMPLEMENTATION
#include "ipr.h"
#include <stdio.h>

static ipr_params *model(ipr_ctx *c, int base) {
    ipr_index n = 400000, i;
    ipr_params *p = ipr_params_new(c);
    ipr_real *x = ipr_write(c, ipr_param(p, "w", 1, &n), 0);
    for (i = 0; x && i < n; i++) x[i] = (ipr_real)(base + i % 100);
    return p;
}

static int holds(ipr_ctx *c, const ipr_params *p) {
    const ipr_real *x = ipr_read(c, ipr_params_at(p, 0));
    ipr_index i;
    if (!x || (x[0] != 1 && x[0] != 1000)) return 0;
    for (i = 1; i < 400000; i++) if (x[i] != x[0] + (ipr_real)(i % 100)) return 0;
    return 1;
}

int main(int argc, char **argv) {
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_params *a = model(c, 1), *b = model(c, 1000), *out = model(c, 5);
    int k, status;
    if (argc != 3) return 2;
    if (argv[1][0] == 'w')
        for (k = 0; !ipr_params_save(k & 1 ? a : b, argv[2], NULL); k++) { }
    else if (!ipr_params_load(out, argv[2], 0) && holds(c, out)) { ipr_close(c); return 0; }
    fprintf(stderr, "kill_save: %s\n", ipr_message(c));
    status = ipr_status(c) ? 1 : 3;
    ipr_close(c);
    return status;
}
