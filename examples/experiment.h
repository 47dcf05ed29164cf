/* experiment.h: what every experiment program of examples/ needs around its own work: one number per (table, row, metric,
   seed) in a file that survives a kill, means over seeds, the results file that all share, and stopping.

   Include it once, after ipr.h and report.h. The program defines `paper_figures` (the paper's own numbers), calls
   experiment_open, put, and at the end experiment_json. */
#ifndef IPR_EXAMPLES_EXPERIMENT_H
#define IPR_EXAMPLES_EXPERIMENT_H

enum { MAX_SEEDS = 16, MAX_ROWS = 4000 };
typedef struct { char table[16], row[64], metric[48]; double v[MAX_SEEDS]; int has[MAX_SEEDS]; } cell;
typedef struct { const char *table, *row, *metric; double value; } paper_figure;
static cell cells[MAX_ROWS];
static int ncells;
static FILE *part;
static volatile sig_atomic_t stop_asked;

static void on_signal(int sig) { (void)sig; stop_asked = 1; }
static int stop_now(void *user) { (void)user; return stop_asked; }

static void catch_signals(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

static cell *cell_at(const char *table, const char *row, const char *metric)
{
    int i;
    for (i = 0; i < ncells; i++)
        if (!strcmp(cells[i].row, row) && !strcmp(cells[i].metric, metric) && !strcmp(cells[i].table, table)) return &cells[i];
    if (ncells == MAX_ROWS) { fprintf(stderr, "too many rows: raise MAX_ROWS\n"); exit(1); }
    memset(&cells[ncells], 0, sizeof cells[0]);
    snprintf(cells[ncells].table, sizeof cells[0].table, "%s", table);
    snprintf(cells[ncells].row, sizeof cells[0].row, "%s", row);
    snprintf(cells[ncells].metric, sizeof cells[0].metric, "%s", metric);
    return &cells[ncells++];
}

static void put(const char *table, const char *row, const char *metric, int seed, double v)
{
    cell *c = cell_at(table, row, metric);
    c->v[seed] = v;
    c->has[seed] = 1;
    if (part) { fprintf(part, "%s\t%s\t%s\t%d\t%.9g\n", table, row, metric, seed, v); fflush(part); }
}

/* What an earlier, stopped run measured, if `settings` are the same (1), else a new file (0); -1: it cannot be written. */
static int experiment_open(const char *path, const char *settings, int fresh)
{
    char line[256], table[16], row[64], metric[48], head[300];
    FILE *f = fresh ? NULL : fopen(path, "r");
    int seed, kept = 0;
    double v;
    if (f && (!fgets(head, sizeof head, f) || (head[strcspn(head, "\n")] = 0, strcmp(head, settings)))) {
        fprintf(stderr, "%s is of other settings: starting over\n", path);
        fclose(f);
        f = NULL;
    }
    if (f) {
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "%15[^\t]\t%63[^\t]\t%47[^\t]\t%d\t%lf", table, row, metric, &seed, &v) == 5 && seed >= 0 && seed < MAX_SEEDS)
                put(table, row, metric, seed, v);
        fclose(f);
        kept = 1;
    }
    part = fopen(path, kept ? "a" : "w");
    if (!part) { fprintf(stderr, "%s: cannot write; choose another folder with --out\n", path); return -1; }
    if (!kept) { /* then to be added to, at its end, whoever else adds rows of his own */
        fprintf(part, "%s\n", settings);
        part = freopen(path, "a", part);
        if (!part) { fprintf(stderr, "%s: cannot write; choose another folder with --out\n", path); return -1; }
    }
    return kept;
}

/* Mean of a cell's seeds with Student's t 95 % interval. Returns how many seeds. */
static int summary(const cell *k, double *mean, double *lo, double *hi)
{
    double x[MAX_SEEDS];
    int i, n = 0;
    for (i = 0; i < MAX_SEEDS; i++) if (k->has[i]) x[n++] = k->v[i];
    if (!n) return 0;
    ipr_mean_ci(x, n, 0.95, mean, lo, hi);
    if (n < 2) *lo = *hi = *mean;
    return n;
}

/* worst: the largest over the seeds. NaN, n = 0 and at NULL: not measured. */
typedef struct { double mean, lo, hi, worst; int n; const cell *at; } figure;
static figure figure_of(const char *table, const char *row, const char *metric)
{
    figure f;
    int i, k;
    f.mean = f.lo = f.hi = f.worst = report_nan();
    f.n = 0;
    f.at = NULL;
    for (i = 0; i < ncells; i++) {
        const cell *c = &cells[i];
        if (strcmp(c->row, row) || strcmp(c->metric, metric) || strcmp(c->table, table)) continue;
        f.n = summary(c, &f.mean, &f.lo, &f.hi);
        f.at = c;
        for (k = 0; k < MAX_SEEDS; k++) if (c->has[k] && !(f.worst >= c->v[k])) f.worst = c->v[k];
    }
    return f;
}

/* The paper's number for a row, whose name may end in " (as in the paper)"; NaN where it has none. */
static double paper_value(const paper_figure *paper, int n, const char *table, const char *row, const char *metric)
{
    const size_t len = strcspn(row, " ");
    int i;
    for (i = 0; i < n; i++)
        if (!strcmp(paper[i].table, table) && !strncmp(paper[i].row, row, len) && !paper[i].row[len] && !strcmp(paper[i].metric, metric)) return paper[i].value;
    return report_nan();
}

static void cpu_name(char *out, size_t cap)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256], *p;
    snprintf(out, cap, "unknown");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10) && (p = strchr(line, ':')) != NULL) {
            p[strcspn(p, "\n")] = 0;
            snprintf(out, cap, "%s", p + 2);
            break;
        }
    if (f) fclose(f);
}

/* The contract's object up to and with its rows; the program adds what else it has, ends the object and commits. Table "-"
   is the program's own book-keeping, and its cells "seconds..." are summed. */
static void experiment_rows(ipr_json *j, ipr_ctx *c, const char *name, const char *data, int quick, int seeds, const paper_figure *paper, int npaper)
{
    char cpu[128];
    double mean, lo, hi, seconds = 0;
    int k, n;
    for (k = 0; k < ncells; k++)
        for (n = 0; n < MAX_SEEDS; n++) if (!strncmp(cells[k].metric, "seconds", 7) && cells[k].has[n]) seconds += cells[k].v[n];
    cpu_name(cpu, sizeof cpu);
    ipr_json_object(j, NULL);
    ipr_json_str(j, "experiment", name);
    ipr_json_str(j, "data", data);
    ipr_json_bool(j, "quick", quick);
    ipr_json_array(j, "seeds");
    for (k = 0; k < seeds; k++) ipr_json_int(j, NULL, k + 1);
    ipr_json_end(j);
    ipr_json_fixed(j, "seconds", seconds, 1);
    ipr_json_str(j, "cpu", cpu);
    ipr_json_str(j, "isa", ipr_isa_name(ipr_isa(c)));
    ipr_json_int(j, "threads", ipr_threads(c));
    ipr_json_str(j, "version", IPR_VERSION_STRING);
    ipr_json_array(j, "rows");
    for (k = 0; k < ncells; k++) {
        const cell *x = &cells[k];
        const double p = paper_value(paper, npaper, x->table, x->row, x->metric);
        if (!strcmp(x->table, "-") || !(n = summary(x, &mean, &lo, &hi))) continue;
        ipr_json_object(j, NULL);
        ipr_json_str(j, "table", x->table);
        ipr_json_str(j, "row", x->row);
        ipr_json_str(j, "metric", x->metric);
        if (report_finite(p)) ipr_json_num(j, "paper", p);
        else ipr_json_null(j, "paper");
        ipr_json_num(j, "ours", mean);
        ipr_json_num(j, "lo", lo);
        ipr_json_num(j, "hi", hi);
        ipr_json_int(j, "n", n);
        ipr_json_end(j);
    }
    ipr_json_end(j);
}

/* The main figures beside the paper's, on the terminal. */
static void print_figures(const paper_figure *paper, int npaper, const char *const *metrics, int n)
{
    int i, m;
    printf("%-30s %-26s %10s %10s   95 %% interval (n)\n", "row", "metric", "paper", "ours");
    for (i = 0; i < ncells; i++)
        for (m = 0; m < n; m++) {
            const cell *k = &cells[i];
            const double p = paper_value(paper, npaper, k->table, k->row, k->metric);
            double mean, lo, hi;
            int seeds;
            if (strcmp(k->metric, metrics[m]) || !strcmp(k->table, "-") || !(seeds = summary(k, &mean, &lo, &hi))) continue;
            printf("%-30s %-26s ", k->row, k->metric);
            if (report_finite(p)) printf("%10.2f ", p);
            else printf("%10s ", "-");
            printf(!strncmp(k->metric, "p_value", 7) ? "%10.2g" : "%10.2f", mean);
            if (seeds > 1 && strncmp(k->metric, "p_value", 7)) printf("   %.2f..%.2f (%d)", lo, hi, seeds);
            printf("\n");
        }
}

/* "[3 of 8, 1:20, about 4:00 left] " to stderr. */
static void say_where(ipr_ctx *c, double started, int done, int todo)
{
    const double t = ipr_now(c) - started;
    fprintf(stderr, "[%d of %d, %d:%02d", done + 1, todo, (int)t / 60, (int)t % 60);
    if (done) { const double left = t / done * (todo - done); fprintf(stderr, ", about %d:%02d left", (int)left / 60, (int)left % 60); }
    fprintf(stderr, "] ");
}

/* 1: an earlier run trained these parameters to the end; they are loaded from path. */
static int trained_already(ipr_ctx *c, ipr_params *p, const char *path)
{
    FILE *have = fopen(path, "rb");
    if (!have) return 0;
    fclose(have);
    if (ipr_params_load(p, path, 0) == IPR_OK) return 1;
    fprintf(stderr, "%s; training again\n", ipr_message(c));
    ipr_clear(c);
    return 0;
}

/* ipr_fit with progress, a signal's stop, and a checkpoint beside `path`, where the parameters go in the end. The rest of f
   is the caller's. IPR_OK, IPR_E_CANCELLED, or the context's error. */
static int train_to(ipr_ctx *c, ipr_fit_desc *f, const char *path, const ipr_meta *meta, ipr_fit_result *result)
{
    char checkpoint[640];
    int st;
    snprintf(checkpoint, sizeof checkpoint, "%s.run", path);
    f->stop_fn = stop_now;
    f->progress_fn = ipr_progress_stderr;
    f->checkpoint = checkpoint;
    f->resume = 1;
    st = ipr_fit(c, f, result);
    if (st == IPR_E_FORMAT) { /* a checkpoint of other settings: start over */
        ipr_clear(c);
        f->resume = 0;
        st = ipr_fit(c, f, result);
    }
    if (st == IPR_OK) st = ipr_params_save(f->params, path, meta);
    if (st == IPR_OK) remove(checkpoint);
    return st;
}

static int number(const char *s, int lo, int hi, int *out)
{
    char *end;
    const long v = s ? strtol(s, &end, 10) : -1;
    if (!s || end == s || *end || v < lo || v > hi) return 0;
    *out = (int)v;
    return 1;
}
#endif
