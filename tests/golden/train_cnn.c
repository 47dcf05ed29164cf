/* train_cnn.c: the C side of train_cnn.py.
   train_cnn OUT ARCH SCALE NORM EPOCHS CIFAR_FOLDER: trains on CIFAR-10 without augmentation (SGD 0.01, momentum 0.9,
   weight decay 5e-4, batch 64, x 0.1 after 2/3 of the epochs) and leaves in OUT the weights it began with
   (start.safetensors) and the items of every step (order.i32: how many, then which). Prints the loss of every epoch and
   the test accuracy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define IPR_IMPLEMENTATION
#include "ipr.h"

typedef struct { ipr_cnn *m; ipr_dataset *train; ipr_image_norm norm; FILE *order; } run;

static ipr_tensor *step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    run *r = (run *)user;
    ipr_augment_desc a = IPR_ZERO;
    ipr_tensor *x, *y;
    const uint32_t count = (uint32_t)n;
    a.norm = &r->norm;
    (void)ipr_batch_images(c, r->train, idx, n, &a, info->total, &x, &y);
    if (fwrite(&count, 4, 1, r->order) != 1 || fwrite(idx, 4, (size_t)n, r->order) != (size_t)n) return NULL;
    return ipr_cross_entropy(c, ipr_cnn_forward(r->m, x, NULL), y);
}

static void epoch_ended(void *user, const ipr_progress *p)
{
    (void)user;
    if (p->event == IPR_PROGRESS_EPOCH) printf("loss %.5f\n", p->loss);
}

int main(int argc, char **argv)
{
    ipr_ctx *c = ipr_open(NULL, NULL);
    ipr_cnn_desc d = IPR_ZERO;
    ipr_fit_desc f = IPR_ZERO;
    ipr_dataset *test;
    char path[600];
    run r;
    if (argc != 7) return 2;
    d.arch = atoi(argv[2]);
    d.scale = atof(argv[3]);
    d.norm = atoi(argv[4]);
    r.m = ipr_cnn_new(c, &d);
    r.train = ipr_dataset_cifar10(c, argv[6], 0);
    test = ipr_dataset_cifar10(c, argv[6], 1);
    r.norm = ipr_image_norm_of(IPR_PIXELS_CIFAR_2019);
    snprintf(path, sizeof path, "%s/start.safetensors", argv[1]);
    if (r.m && r.train && test) (void)ipr_params_save(r.m->params, path, NULL);
    snprintf(path, sizeof path, "%s/order.i32", argv[1]);
    r.order = fopen(path, "wb");
    if (ipr_status(c) || !r.order) {
        fprintf(stderr, "%s: %s\n", path, ipr_message(c));
        return 1;
    }
    f.params = r.m->params;
    f.optimiser.kind = IPR_OPT_SGD;
    f.optimiser.lr = 0.01;
    f.optimiser.momentum = 0.9;
    f.optimiser.weight_decay = 5e-4;
    f.epochs = atoi(argv[5]);
    f.schedule.kind = IPR_SCHED_STEP;
    f.schedule.step_size = (2 * f.epochs + 2) / 3;
    f.items = r.train->count;
    f.batch = 64;
    f.shuffle = 1;
    f.step_fn = step;
    f.progress_fn = epoch_ended;
    f.user = &r;
    if (ipr_fit(c, &f, NULL) == IPR_OK)
        printf("test %.2f\n", ipr_cnn_accuracy(r.m, test, NULL, test->count, &r.norm, NULL));
    if (ipr_status(c)) fprintf(stderr, "%s\n", ipr_message(c));
    return fclose(r.order) || ipr_status(c);
}
