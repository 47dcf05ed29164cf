/* experiment_html.h: the parts of a page that experiments share: cells beside the paper's, curves over an attack's levels,
   histograms kept as rows. Include it after experiment.h; the program defines `paper` and PAPERS before. */
#ifndef IPR_EXAMPLES_EXPERIMENT_HTML_H
#define IPR_EXAMPLES_EXPERIMENT_HTML_H

enum { BINS = 40 };

/* Our mean with its interval and the paper's number. */
static void html_cell(report *r, const char *table, const char *row, const char *metric, int decimals)
{
    const figure f = figure_of(table, row, metric);
    if (f.n) report_cell_compare(r, f.mean, f.lo, f.hi, paper_value(paper, PAPERS, table, row, metric), decimals);
    else report_cell_num(r, report_nan(), decimals);
}

/* "METRIC@ATTACK=LEVEL" */
static const char *metric_at(char *out, size_t cap, const char *what, const char *attack, double level)
{
    snprintf(out, cap, "%s@%s=%g", what, attack, level);
    return out;
}

typedef struct { const char *row, *what, *name; } curve; /* one line: its cells are (table, row, "what@attack=level") */

/* A chart of several curves over the same levels (shares, 0..1), with the paper's points as rings. Nothing measured: no
   chart. */
REPORT_FN void html_curves(report *r, const char *table, const char *attack, const double *levels, int n, const curve *lines, int count, const char *title, const char *desc, const char *x_label)
{
    enum { LINES = 6, MOST = 24 };
    static double x[MOST], y[LINES][MOST], lo[LINES][MOST], hi[LINES][MOST], px[LINES][MOST], py[LINES][MOST];
    static char label[LINES][64];
    report_series s[2 * LINES];
    report_chart c;
    char metric[48];
    int i, k, m = 0, refs[LINES];
    memset(s, 0, sizeof s);
    memset(&c, 0, sizeof c);
    for (k = 0; k < count && k < LINES; k++) {
        int have = 0, band = 0;
        refs[k] = 0;
        for (i = 0; i < n && i < MOST; i++) {
            const figure f = figure_of(table, lines[k].row, metric_at(metric, sizeof metric, lines[k].what, attack, levels[i]));
            const double p = paper_value(paper, PAPERS, table, lines[k].row, metric);
            x[i] = 100 * levels[i];
            y[k][i] = f.mean;
            lo[k][i] = f.lo;
            hi[k][i] = f.hi;
            have += f.n > 0;
            band |= f.n > 1;
            if (report_finite(p)) { px[k][refs[k]] = x[i]; py[k][refs[k]++] = p; }
        }
        if (!have) { refs[k] = 0; continue; }
        s[m].name = lines[k].name;
        s[m].x = x;
        s[m].y = y[k];
        if (band) { s[m].lo = lo[k]; s[m].hi = hi[k]; }
        s[m].n = n;
        s[m++].style = k + 1;
    }
    if (!m) return;
    for (k = 0; k < count && k < LINES; k++) {
        if (!refs[k]) continue;
        snprintf(label[k], sizeof label[k], "paper, %s", lines[k].name);
        s[m].name = label[k];
        s[m].x = px[k];
        s[m].y = py[k];
        s[m].n = refs[k];
        s[m].reference = 1;
        s[m++].style = k + 1;
    }
    c.title = title;
    c.desc = desc;
    c.x_label = x_label;
    c.y_label = "per cent right";
    c.x_percent = c.y_percent = 1;
    c.y_hi = 100;
    c.y_decimals = 1;
    c.series = s;
    c.count = m;
    report_lines(r, &c);
}

/* Shares of the values in BINS equal bins of lo..hi, as cells "METRIC=CENTRE" of seed 0. */
REPORT_FN void put_histogram(const char *table, const char *row, const char *metric, const ipr_real *x, ipr_index n, double lo, double hi)
{
    double count[BINS] = { 0 };
    char name[48];
    ipr_index i;
    int b;
    for (i = 0; i < n; i++) {
        b = (int)(((double)x[i] - lo) / (hi - lo) * BINS);
        count[b < 0 ? 0 : b >= BINS ? BINS - 1 : b] += 100.0 / (double)n;
    }
    for (b = 0; b < BINS; b++) {
        snprintf(name, sizeof name, "%.30s=%.3f", metric, lo + (b + 0.5) * (hi - lo) / BINS);
        put(table, row, name, 0, count[b]);
    }
}

/* Several of them over one another. */
REPORT_FN void html_histograms(report *r, const char *table, const curve *lines, int count, double lo, double hi, const char *title, const char *desc, const char *x_label)
{
    enum { MOST = 4 };
    static double share[MOST][BINS];
    report_histogram_chart c;
    report_distribution d[MOST];
    char name[48];
    int b, k, m = 0;
    memset(&c, 0, sizeof c);
    memset(d, 0, sizeof d);
    for (k = 0; k < count && k < MOST; k++) {
        int any = 0;
        for (b = 0; b < BINS; b++) {
            figure f;
            snprintf(name, sizeof name, "%.30s=%.3f", lines[k].what, lo + (b + 0.5) * (hi - lo) / BINS);
            f = figure_of(table, lines[k].row, name);
            any |= f.n > 0;
            share[k][b] = f.n ? f.mean : 0;
        }
        if (!any) continue;
        d[m].share = share[k];
        d[m].style = k + 1;
        d[m++].name = lines[k].name;
    }
    if (!m) return;
    c.title = title;
    c.desc = desc;
    c.x_label = x_label;
    c.y_label = "share (logarithmic)";
    c.lo = lo;
    c.hi = hi;
    c.bins = BINS;
    c.y_percent = c.y_log = 1;
    c.series = d;
    c.count = m;
    report_histogram(r, &c);
}
#endif
