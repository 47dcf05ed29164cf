/* exchange_cnn.c: the C side of exchange_cnn.py.
   exchange_cnn save|load FILE ARCH CLASSES IMAGENET SCALE NORM RELU_BEFORE_ADD IMAGES
   save: new weights to FILE; load: weights from FILE. Then the logits of IMAGES images of the formula of cnn_nets.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define IPR_IMPLEMENTATION
#include "ipr.h"

static ipr_real value(uint32_t k, ipr_index j)
{
    uint32_t h = (uint32_t)j * 2654435761u + (k + 1) * 2246822519u;
    h ^= h >> 15;
    h *= 2654435761u;
    h ^= h >> 13;
    return (ipr_real)(((double)(h >> 8 & 4095) * 2 - 4095) / 4096);
}

int main(int argc, char **argv)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = IPR_ZERO;
    ipr_index dims[4], i;
    ipr_tensor *x, *y;
    ipr_cnn *m;
    if (argc != 10) return 2;
    d.arch = atoi(argv[3]);
    d.classes = atoi(argv[4]);
    d.imagenet = atoi(argv[5]);
    d.scale = atof(argv[6]);
    d.norm = atoi(argv[7]);
    d.relu_before_add = atoi(argv[8]);
    d.no_init = strcmp(argv[1], "load") == 0;
    m = ipr_cnn_new(c, &d);
    if (m && d.no_init) (void)ipr_params_load(m->params, argv[2], 0);
    else if (m) (void)ipr_params_save(m->params, argv[2], NULL);
    if (!m || ipr_status(c)) {
        fprintf(stderr, "%s\n", ipr_message(c));
        return 1;
    }
    dims[0] = atoi(argv[9]);
    dims[1] = m->desc.channels;
    dims[2] = m->desc.height;
    dims[3] = m->desc.width;
    x = ipr_new(c, 4, dims);
    for (i = 0; i < ipr_count(x); i++) ipr_write(c, x, 1)[i] = 2 * value(1000, i);
    ipr_no_grad(c, 1);
    y = ipr_cnn_forward(m, x, NULL);
    for (i = 0; ipr_status(c) == IPR_OK && i < ipr_count(y); i++) printf("%.9g\n", (double)ipr_read(c, y)[i]);
    if (ipr_status(c)) fprintf(stderr, "%s\n", ipr_message(c));
    ipr_close(c);
    return 0;
}
