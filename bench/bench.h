/* bench.h: what the measuring programs share: the clock, medians, one JSON line per figure. Include it after ipr.h. */
#ifndef IPR_BENCH_H
#define IPR_BENCH_H

/* Times are medians of wall time; "busy" is CPU time over wall time, which a shared machine drags below the thread
   count. IPR_BENCH_CPU=1 measures CPU time instead: the only honest clock on a busy machine, for one thread. */
static int threads = 1;
static const char *only = "";

static double busy_cpu, busy_wall;     /* since the last line */

static void line(const char *name, const char *unit, double value)
{
    printf("{\"name\": \"%s\", \"who\": \"ipr\", \"threads\": %d, \"unit\": \"%s\", \"value\": %.5g, \"busy\": %.2f}\n",
           name, threads, unit, value, busy_wall > 0 ? busy_cpu / busy_wall : 1.0);
    fflush(stdout);
    busy_cpu = busy_wall = 0;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, by_value);
    return t[n / 2];
}

static void stop(ipr_ctx *c)
{
    fprintf(stderr, "bench: %s\n", c ? ipr_message(c) : "ipr_open failed");
    exit(1);
}

static ipr_ctx *open_ctx(void)
{
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    d.seed = 1;
    d.threads = threads;
    c = ipr_open(&d, NULL);
    if (!c) stop(NULL);
    return c;
}

static ipr_real *noise(ipr_index n, uint32_t stream)
{
    ipr_rng r = ipr_rng_make(1, stream, 0);
    ipr_real *p = (ipr_real *)malloc((size_t)n * sizeof *p);
    ipr_index i;
    if (!p) exit(1);
    for (i = 0; i < n; i++) p[i] = (ipr_real)ipr_rng_normal(&r);
    return p;
}

static double time_step(ipr_ctx *c, void (*step)(void *), void *arg)
{
    const double a = ipr_now(c);
    const clock_t k = clock();
    double wall, cpu;
    step(arg);
    cpu = (double)(clock() - k) / CLOCKS_PER_SEC;
    wall = ipr_now(c) - a;
    busy_cpu += cpu;
    busy_wall += wall;
    return (getenv("IPR_BENCH_CPU") ? cpu : wall) * 1e3;
}

/* Median of reps steps after two unmeasured ones; a second line where a step still asks the allocator. */
static void measure_steps(ipr_ctx *c, const char *name, void (*step)(void *), void *arg, int reps)
{
    double t[16];
    uint64_t allocs;
    int k;
    if (!strstr(name, only)) return;
    step(arg);
    step(arg);
    allocs = ipr_stats_get(c).allocs;
    for (k = 0; k < reps; k++) t[k] = time_step(c, step, arg);
    line(name, "ms", median(t, reps));
    if (ipr_stats_get(c).allocs != allocs) {
        char text[128];
        (void)sprintf(text, "%.100s_allocations_per_step", name);
        line(text, "calls", (double)(ipr_stats_get(c).allocs - allocs) / reps);
    }
}
#endif
