/* bench_kann.c: kann's time for one LSTM training step and forward pass, T=32 B=64 I=128 H=256, as a JSON line.
   Built against the user's own copy of kann (IPR_KANN_DIR), as published: cc -O2 bench_kann.c kann.c kautodiff.c -lm
   The network is kann's LSTM layer unrolled over 32 steps with a softmax of 10 classes on every step (kann's own
   way; 0.1% of the work). */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "kann.h"

enum { T = 32, B = 64, I = 128, H = 256, C = 10, REPS = 3 };

/* wall time, or CPU time with IPR_BENCH_CPU=1 (see bench_rnn.c) */
static double now(void)
{
    struct timespec t;
    clock_gettime(getenv("IPR_BENCH_CPU") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    kad_node_t *t = kann_layer_cost(kann_layer_lstm(kann_layer_input(I), H, 0), C, KANN_C_CEM);
    kann_t *net = kann_new(t, 0), *unrolled;
    float *x[T], *y[T], *state;
    double ms[2][REPS];
    int i, k, r, size;
    kann_srand(1);
    unrolled = kann_unroll(net, T);
    kann_set_batch_size(unrolled, B);
    for (k = 0; k < T; k++) {
        x[k] = (float *)malloc(sizeof(float) * B * I);
        y[k] = (float *)calloc(B * C, sizeof(float));
        for (i = 0; i < B * I; i++) x[k][i] = (float)kad_drand_normal(0);
        for (i = 0; i < B; i++) y[k][i * C + i % C] = 1.0f;
    }
    kann_feed_bind(unrolled, KANN_F_IN, 0, x);
    kann_feed_bind(unrolled, KANN_F_TRUTH, 0, y);
    kann_switch(unrolled, 1);
    size = kann_size_var(net);
    state = (float *)calloc((size_t)size, sizeof(float));
    kann_cost(unrolled, 0, 1);
    for (r = 0; r < REPS; r++) {
        double a = now();
        kann_cost(unrolled, 0, 1);
        kann_RMSprop(size, 1e-3f, 0, 0.9f, unrolled->g, unrolled->x, state);
        ms[0][r] = (now() - a) * 1e3;
        a = now();
        kann_cost(unrolled, 0, 0);
        ms[1][r] = (now() - a) * 1e3;
    }
    for (k = 0; k < 2; k++) {
        qsort(ms[k], REPS, sizeof(double), by_value);
        printf("{\"name\": \"lstm_t32_T32_B64_I128_H256_%s\", \"who\": \"kann\", \"threads\": 1, \"unit\": \"ms\", \"value\": %.5g}\n",
               k ? "forward" : "train", ms[k][REPS / 2]);
    }
    return 0;
}
