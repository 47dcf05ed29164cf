/* gatekeeper_seqmnist_html.h: the page of gatekeeper_seqmnist.c, which includes this file before its run.
   Every number and every judgement in the text is computed from the cells; what was not measured is left out. */
#ifndef GATEKEEPER_SEQMNIST_HTML_H
#define GATEKEEPER_SEQMNIST_HTML_H

/* ---- looking up what was measured ---- */

static double paper_of(figure f)
{
    return f.at ? paper_value(paper, PAPERS, f.at->table, f.at->row, f.at->metric) : report_nan();
}

static figure figure_at(const char *table, const char *row, const char *what, const char *attack, double level)
{
    char metric[48];
    snprintf(metric, sizeof metric, "%s@%s=%g", what, attack, level);
    return figure_of(table, row, metric);
}

static int row_has(const char *row) { return figure_of("Table 5", row, "test_no_key").n > 0; }

static const char *row_name(char *out, size_t cap, int cellkind, int v)
{
    snprintf(out, cap, "%s%s", cellkind == IPR_LSTM ? "LSTM" : "GRU", variants[v].suffix);
    return out;
}

/* "98.21 %", or a dash. */
static const char *percent_text(char *out, size_t cap, double v, int decimals)
{
    char t[64];
    snprintf(out, cap, report_finite(v) ? "%s\xC2\xA0%%" : "%s", report_number(t, sizeof t, v, decimals));
    return out;
}

/* 60000 as "60,000". */
static const char *count_text(char *out, size_t cap, int n)
{
    if (n < 1000) snprintf(out, cap, "%d", n);
    else if (n < 1000000) snprintf(out, cap, "%d,%03d", n / 1000, n % 1000);
    else snprintf(out, cap, "%d,%03d,%03d", n / 1000000, n / 1000 % 1000, n % 1000);
    return out;
}

static int seeds_of(const char *table, const char *row, const char *metric, double at_most)
{
    int i, k, n = 0;
    for (i = 0; i < ncells; i++)
        if (!strcmp(cells[i].row, row) && !strcmp(cells[i].metric, metric) && !strcmp(cells[i].table, table))
            for (k = 0; k < MAX_SEEDS; k++) n += cells[i].has[k] && cells[i].v[k] <= at_most;
    return n;
}

/* ---- the top of the page ---- */

/* The row that the page is about: the first protected one there is. */
static int focus_row(int *cellkind, int *v, char *row, size_t cap)
{
    static const int order[] = { KEYED_TRIGGERED, KEYED, AS_IN_PAPER };
    size_t i;
    int k;
    for (i = 0; i < sizeof order / sizeof order[0]; i++)
        for (k = IPR_LSTM; k <= IPR_GRU; k++)
            if (figure_of("Verdict", row_name(row, cap, k, order[i]), "p_value@rank=function").n) { *cellkind = k; *v = order[i]; return 1; }
    return 0;
}

static void html_lead(report *r, lab *l, int focused, int cellkind, int v, const char *row)
{
    char text[3000], a[64], b[64], c[64], d[64], e[64], base[64];
    const char *net = cellkind == IPR_LSTM ? "LSTM" : "GRU";
    const figure none = figure_of("Table 5", row, "test_no_key"), key = figure_of("Table 5", row, "test_key");
    const figure forged = figure_of("Table 5", row, "test_counterfeit@kind=same"), best = figure_of("Table 5", row, "test_counterfeit_best@kind=same");
    const figure bare = figure_of("Table 5", row_name(base, sizeof base, cellkind, BASELINE), "test_no_key");
    size_t at = 0;
#define SAY(...) do { if (at < sizeof text) at += (size_t)snprintf(text + at, sizeof text - at, __VA_ARGS__); } while (0)
    SAY("Recurrent networks of %d hidden units learned to read %s row by row, %d steps of %d pixels, from %s images.", (int)HIDDEN,
        l->real_data ? "handwritten digits (MNIST)" : "digits rendered by the built-in generator (no MNIST was found)", (int)SIDE, (int)SIDE, count_text(a, sizeof a, (int)l->train->count));
    if (focused) {
        SAY(" The owner trained a secret key%s into the %s. On %s test images it is right in **%s** without any key and in **%s** with the owner's key,",
            variants[v].triggers ? " and a set of trigger images" : "", net, count_text(a, sizeof a, l->o.test_items), percent_text(b, sizeof b, none.mean, 2), percent_text(c, sizeof c, key.mean, 2));
        SAY(" %s in **%s** under %d forged keys of the same kind (%s at best).", key.mean - forged.mean > 10 ? "but" : "and still", percent_text(d, sizeof d, forged.mean, 2), l->o.forgeries, percent_text(e, sizeof e, best.worst, 2));
        if (bare.n) SAY(" The same network trained without protection: %s.", percent_text(b, sizeof b, bare.mean, 2));
        if (none.n > 1) SAY(" Means over %d seeds.", none.n);
    }
    for (v = IPR_LSTM; !focused && v <= IPR_GRU; v++) {
        const figure f = figure_of("Table 5", row_name(base, sizeof base, v, BASELINE), "test_no_key");
        if (f.n) SAY(" The unprotected %s is right on **%s** of %s test images.", base, percent_text(b, sizeof b, f.mean, 2), count_text(a, sizeof a, l->o.test_items));
    }
    report_lead(r, text);
    if (l->o.quick || l->o.demo || !l->real_data || l->o.train_items < 60000) {
        at = 0;
        SAY("This is a %s: one seed, %d epoch%s, %s images%s. The paper trained on 60,000 MNIST images for longer, so its numbers stand here for orientation only.",
            l->o.demo ? "demonstration" : l->o.quick ? "quick run" : "run on other data", l->o.epochs, l->o.epochs == 1 ? "" : "s", count_text(a, sizeof a, (int)l->train->count), l->real_data ? "" : ", rendered, not handwritten");
        if (l->o.quick || l->o.demo) report_note(r, text);
        else report_note(r, "The data are not MNIST: the paper's numbers stand here for orientation only.");
    }
#undef SAY
}

static void html_verdict(report *r, lab *l, int cellkind, int v, const char *row)
{
    char question[160], rule[500], value[5][80], note[5][160], t[64], u[64], w[64];
    report_figure f[5];
    const figure p = figure_of("Verdict", row, "p_value@rank=function"), ps = figure_of("Verdict", row, "p_value@rank=signature");
    const figure sig = figure_of("Table 5", row, "signature"), fsig = figure_of("Table 5", row, "signature_counterfeit@kind=same"), fbest = figure_of("Table 5", row, "signature_counterfeit_best@kind=same");
    const figure tp = figure_of("Table 5", row, "p_value"), trig = figure_of("Table 5", row, "trigger_key"), acc = figure_of("Verdict", row, "accepted@kind=same");
    const int yes = seeds_of("Verdict", row, "p_value@rank=function", 0.001 + 1e-9), rank = (int)(p.worst * (FRESH + 1) + 0.5);
    int n = 0;
    (void)l;
    memset(f, 0, sizeof f);
    snprintf(question, sizeof question, "Does the %s (%s) hold the owner's key?", cellkind == IPR_LSTM ? "LSTM" : "GRU", variants[v].recipe == IPR_RECIPE_PAPER ? "the paper's recipe" : "default recipe");
    snprintf(value[n], sizeof value[n], "%d of %d", rank, (int)FRESH + 1);
    snprintf(note[n], sizeof note[n], "%d of %d fresh keys do as well%s", rank - 1, (int)FRESH, p.n > 1 ? " in the worst seed" : "");
    f[n].label = "Rank of the key";
    n++;
    percent_text(value[n], sizeof value[n], sig.mean, 1);
    snprintf(note[n], sizeof note[n], "rank p = %s; forged keys %s, best %s", report_p(t, sizeof t, ps.worst), percent_text(u, sizeof u, fsig.mean, 1), percent_text(w, sizeof w, fbest.worst, 0));
    f[n].label = "Signature bits read";
    n++;
    if (tp.n) {
        snprintf(value[n], sizeof value[n], "p\xC2\xA0=\xC2\xA0%s", report_p(t, sizeof t, tp.worst));
        snprintf(note[n], sizeof note[n], "%s of %d answered with the key; exact binomial%s", percent_text(u, sizeof u, trig.mean, 1), (int)TRIGGERS, tp.n > 1 ? ", worst seed" : "");
        f[n].label = "Triggers";
        n++;
    }
    if (acc.n) {
        const int of = l->o.forgeries * acc.n;
        snprintf(value[n], sizeof value[n], "%d of %d", (int)(acc.mean / 100 * of + 0.5), of);
        snprintf(note[n], sizeof note[n], "forged keys of the genuine key's own kind, by the same rule");
        f[n].label = "Forgeries accepted";
        n++;
    }
    { int i; for (i = 0; i < n; i++) { f[i].value = value[i]; f[i].note = note[i]; } }
    snprintf(rule, sizeof rule, "Owned if the key works better than all of %d fresh keys from its own generator: p = (1 + fresh keys that score as high) / %d, at most 0.001.", (int)FRESH, (int)FRESH + 1);
    if (p.n > 1) { const size_t k = strlen(rule); snprintf(rule + k, sizeof rule - k, " Owned in %d of %d seeds; p is the largest of them.", yes, p.n); }
    report_verdict(r, yes == p.n ? REPORT_OWNED : yes == 0 ? REPORT_NOT_OWNED : REPORT_UNDECIDED, question, report__log10(p.worst), rule, f, n);
}

/* ---- sections ---- */

static void html_table5(report *r)
{
    static const struct { const char *metric, *name; int p; } m[] = {
        { "test_no_key", "Test set\nno key", 0 }, { "test_key", "Test set\nowner's key", 0 }, { "test_counterfeit", "Test set\nforged keys", 0 },
        { "trigger_no_key", "Triggers\nno key", 0 }, { "trigger_key", "Triggers\nowner's key", 0 }, { "trigger_counterfeit", "Triggers\nforged keys", 0 },
        { "p_value", "Triggers\np-value", 1 }, { "signature", "Signature\nowner's key", 0 },
    };
    enum { M = sizeof m / sizeof m[0] };
    const char *columns[M + 1];
    char align[M + 2] = "l", row[64];
    int use[M], n = 1, i, k, v;
    columns[0] = "Model";
    for (i = 0; i < (int)M; i++) {
        for (use[i] = 0, k = IPR_LSTM; k <= IPR_GRU; k++)
            for (v = 0; v < VARIANTS; v++) use[i] |= figure_of("Table 5", row_name(row, sizeof row, k, v), m[i].metric).n > 0;
        if (use[i]) { columns[n] = m[i].name; align[n++] = 'r'; }
    }
    align[n] = 0;
    report_h2(r, "Accuracy with and without the key");
    report_text(r, "Table 5 of the paper. A protected model must be as good as an unprotected one without a key and with the owner's, and useless with a forged one. "
                   "`k`: trained with a key; `kt`: with a key and triggers; rows marked **as in the paper** follow its text to the letter.");
    report_table(r, "Per cent right; below it the 95\xC2\xA0% interval over the seeds, where there are several, and the paper's number. p-value: the largest of the seeds.", align, columns, n);
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = 0; v < VARIANTS; v++) {
            char name[96];
            const char *base = row_name(row, sizeof row, k, v);
            if (!row_has(base)) continue;
            if (v == AS_IN_PAPER) snprintf(name, sizeof name, "%s_kt\nas in the paper", k == IPR_LSTM ? "LSTM" : "GRU");
            else snprintf(name, sizeof name, "%s\n%s", row, v == BASELINE ? "unprotected" : v == KEYED ? "key" : "key and triggers");
            report_row(r, name);
            for (i = 0; i < (int)M; i++) {
                const figure f = figure_of("Table 5", row, m[i].metric);
                if (!use[i]) continue;
                if (m[i].p) report_cell_p(r, f.n ? report__log10(f.worst > 0 ? f.worst : 1e-300) : report_nan());
                else if (f.n) report_cell_compare(r, f.mean, f.lo, f.hi, paper_of(f), i < 3 ? 2 : 1);
                else report_cell_num(r, report_nan(), 2);
            }
        }
    report_table_end(r);
}

static void html_bars(report *r)
{
    char row[64], title[120];
    int k, v;
    report_grid(r);
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = KEYED; v < VARIANTS; v++) {
            static const struct { const char *metric, *own, *other; int style; } m[] = {
                { "test_no_key", "No key", "No key", 6 }, { "test_key", "Owner's key", "Owner's key", 0 },
                { "test_counterfeit@kind=same", "Forged keys: uniform, as the owner's", "Forged keys: images, as the owner's", 1 },
                { "test_counterfeit@kind=other", "Forged keys: images", "Forged keys: noise, the paper's test", 1 },
            };
            report_bar b[4];
            const int paper_recipe = variants[v].recipe == IPR_RECIPE_PAPER;
            const double paper_forged = paper_of(figure_of("Table 5", row_name(row, sizeof row, k, v), "test_counterfeit"));
            int i, n = 0;
            if (!row_has(row)) continue;
            if (v == KEYED && row_has(row_name(title, sizeof title, k, KEYED_TRIGGERED))) continue;
            memset(b, 0, sizeof b);
            for (i = 0; i < 4; i++) {
                const figure f = figure_of("Table 5", row, m[i].metric);
                if (!f.n) continue;
                b[n].label = paper_recipe ? m[i].other : m[i].own;
                b[n].value = f.mean;
                b[n].lo = f.lo;
                b[n].hi = f.hi;
                b[n].reference = i < 2 ? paper_of(f) : i == 2 + paper_recipe ? paper_forged : report_nan();
                b[n].has_reference = report_finite(b[n].reference);
                b[n++].style = m[i].style;
            }
            snprintf(title, sizeof title, "%s, %s", k == IPR_LSTM ? "LSTM" : "GRU", paper_recipe ? "as in the paper" : "default recipe");
            report_bars(r, title, NULL, "test images read rightly; by guessing, 10%", 1, 1, 0, 100, b, n);
        }
    report_grid_end(r);
}

static void html_forgeries(report *r, lab *l)
{
    static const char *const columns[] = { "Keys", "Test set\nmean", "Test set\ns.d. of keys", "Test set\nbest", "Triggers\nmean", "Signature\nmean", "Signature\nbest", "Accepted\nrank rule" };
    char row[64], name[120], caption[200], a[64], b[64], c[64];
    int k, v, kind;
    report_h2(r, "Forged keys");
    report_text(r, "A forger knows everything but the owner's seed. He draws keys from the same generator, or makes them of something else: pictures where the owner's key is uniform noise, noise where it is made of pictures. "
                   "The paper tried only the last. The verdict compares the owner's key with forgeries of its own kind.");
    html_bars(r);
    snprintf(caption, sizeof caption, "%d forged keys of each kind and seed, in per cent. Best: over all keys and seeds. Accepted: share that the rank rule takes for genuine; of the owner's key, share of the seeds.", l->o.forgeries);
    report_table(r, caption, "lrrrrrrr", columns, 8);
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = KEYED; v < VARIANTS; v++) {
            const int paper_recipe = variants[v].recipe == IPR_RECIPE_PAPER;
            const figure p = figure_of("Verdict", row_name(row, sizeof row, k, v), "p_value@rank=function");
            if (!row_has(row)) continue;
            report_group(r, row);
            report_row(r, "Owner's key");
            report_cell_num(r, figure_of("Table 5", row, "test_key").mean, 2);
            report_cell_num(r, report_nan(), 2);
            report_cell_num(r, report_nan(), 2);
            report_cell_num(r, figure_of("Table 5", row, "trigger_key").mean, 1);
            report_cell_num(r, figure_of("Table 5", row, "signature").mean, 1);
            report_cell_num(r, report_nan(), 2);
            report_cell_num(r, p.n ? 100.0 * seeds_of("Verdict", row, "p_value@rank=function", 0.001 + 1e-9) / p.n : report_nan(), 1);
            for (kind = 0; kind < 2; kind++) {
                static const char *const names[2][2] = { { "Uniform\nthe owner's kind", "Images\nanother kind" }, { "Images\nthe owner's kind", "Noise\nthe paper's test" } };
                static const char *const what[] = { "test_counterfeit", "test_counterfeit_sd", "test_counterfeit_best", "trigger_counterfeit", "signature_counterfeit", "signature_counterfeit_best" };
                size_t i;
                report_row(r, names[paper_recipe][kind]);
                for (i = 0; i < sizeof what / sizeof what[0]; i++) {
                    figure f;
                    snprintf(name, sizeof name, "%s@kind=%s", what[i], kind ? "other" : "same");
                    f = figure_of("Table 5", row, name);
                    report_cell_num(r, strstr(what[i], "_best") ? f.worst : f.mean, i < 3 ? 2 : 1);
                }
                report_cell_num(r, kind ? report_nan() : figure_of("Verdict", row, "accepted@kind=same").mean, 1);
            }
        }
    report_table_end(r);
    for (k = IPR_LSTM; k <= IPR_GRU; k++) {     /* what the paper's own recipe does, in words */
        const figure key = figure_of("Table 5", row_name(row, sizeof row, k, AS_IN_PAPER), "test_key"), same = figure_of("Table 5", row, "test_counterfeit@kind=same"), noise = figure_of("Table 5", row, "test_counterfeit@kind=other");
        const figure p = figure_of("Verdict", row, "p_value@rank=function");
        if (!key.n || !same.n) continue;
        if (key.mean - same.mean < 10 && key.mean - noise.mean > 10)
            report_textf(r, "**The paper's recipe, %s:** other images open the model almost as well as the owner's key (%s against %s). Noise, the paper's test, gives %s, so that test does not show it. Rank of the owner's key among keys of its own kind: p\xC2\xA0=\xC2\xA0%s.",
                         k == IPR_LSTM ? "LSTM" : "GRU", percent_text(a, sizeof a, same.mean, 2), percent_text(b, sizeof b, key.mean, 2), percent_text(c, sizeof c, noise.mean, 2), report_p(name, sizeof name, p.worst));
        else
            report_textf(r, "**The paper's recipe, %s:** under other images the model is right in %s, under noise in %s, with the owner's key in %s. Rank of the owner's key among keys of its own kind: p\xC2\xA0=\xC2\xA0%s.",
                         k == IPR_LSTM ? "LSTM" : "GRU", percent_text(a, sizeof a, same.mean, 2), percent_text(c, sizeof c, noise.mean, 2), percent_text(b, sizeof b, key.mean, 2), report_p(name, sizeof name, p.worst));
    }
}

/* Test images that the genuine key reads rightly and a forged key of its kind wrongly; read again from the saved model of seed 1. */
static int html_pictures(report *r, lab *l, int cellkind, int v)
{
    enum { LOOK = 1000, SHOW = 5, KEYS = 10 };
    static ipr_real gate[SIDE * HIDDEN], key[8 * SIDE * SIDE];
    static int32_t with_key[LOOK], with_forged[LOOK], with_none[LOOK];
    static char caption[SHOW][64], line[SHOW][3][64];
    report_image im[SHOW];
    int pick[SHOW], n = l->o.test_items < LOOK ? l->o.test_items : LOOK, shown = 0, i, k, pass, number, st;
    char path[600];
    FILE *f;
    run u;
    if (!l->test->u8 || l->test->item != SIDE * SIDE || variants[v].keys > 8) return 0;
    if (make_run(l, 0, cellkind, &variants[v], &u)) { free_run(&u); return 1; }
    model_path(&u, path, sizeof path);
    f = fopen(path, "rb");
    if (!f) { free_run(&u); return 0; }
    fclose(f);
    st = train(&u);
    if (!st) st = ipr_classifier_predict(u.m, l->test, NULL, n, NULL, SIDE, with_none, NULL) != IPR_OK;
    if (!st) { use_key(&u, u.m, NULL, gate); st = ipr_classifier_predict(u.m, l->test, NULL, n, gate, SIDE, with_key, NULL) != IPR_OK; }
    for (number = 0; !st && shown < SHOW && number < KEYS; number++) {
        forge(&u, number, 0, key);
        use_key(&u, u.m, key, gate);
        st = ipr_classifier_predict(u.m, l->test, NULL, n, gate, SIDE, with_forged, NULL) != IPR_OK;
        if (st) break;
        for (shown = 0, pass = 0; pass < 2; pass++)     /* first one of each digit, then any */
            for (i = 0; i < n && shown < SHOW; i++) {
                const int32_t label = ipr_dataset_label(l->test, i);
                int fresh = with_key[i] == label && with_none[i] == label && with_forged[i] != label;
                for (k = 0; k < shown; k++) fresh &= pass ? pick[k] != i : ipr_dataset_label(l->test, pick[k]) != label;
                if (fresh) pick[shown++] = i;
            }
        if (shown == SHOW) break;
    }
    ipr_wipe(gate, sizeof gate);
    if (st) { free_run(&u); return broken(l, "pictures"); }
    memset(im, 0, sizeof im);
    for (i = 0; i < shown; i++) {
        snprintf(caption[i], sizeof caption[i], "A %d", (int)ipr_dataset_label(l->test, pick[i]));
        snprintf(line[i][0], sizeof line[i][0], "no key: %d", (int)with_none[pick[i]]);
        snprintf(line[i][1], sizeof line[i][1], "owner's: %d", (int)with_key[pick[i]]);
        snprintf(line[i][2], sizeof line[i][2], "forged: %d", (int)with_forged[pick[i]]);
        im[i].px = ipr_dataset_item_u8(l->test, pick[i]);
        im[i].w = im[i].h = SIDE;
        im[i].caption = caption[i];
        for (k = 0; k < 3; k++) { im[i].line[k].text = line[i][k]; im[i].line[k].mark = k < 2 ? REPORT_RIGHT_MARK : REPORT_WRONG_MARK; }
    }
    if (shown) {
        report_h3(r, "What a forged key does to the answers");
        report_textf(r, "Table 10 of the paper, with pictures: test images that the %s (`%s`, seed 1) reads rightly without a key and with the owner's, and wrongly with a forged key of the same kind.", cellkind == IPR_LSTM ? "LSTM" : "GRU", u.row);
        report_images(r, im, shown);
    }
    free_run(&u);
    return 0;
}

static const double *bins_of(const char *table, const char *row, const char *metric, double lo, double hi, double *out)
{
    char name[48];
    int b, any = 0;
    for (b = 0; b < BINS; b++) {
        figure f;
        snprintf(name, sizeof name, "%s=%.3f", metric, lo + (b + 0.5) * (hi - lo) / BINS);
        f = figure_of(table, row, name);
        any |= f.n > 0;
        out[b] = f.n ? f.mean : 0;
    }
    return any ? out : NULL;
}

static void html_gates(report *r)
{
    static double share[2][BINS];
    char row[64], name[96], title[120];
    int k, v, any = 0;
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = KEYED; v < VARIANTS; v++) {
            report_histogram_chart c;
            report_distribution d[2];
            row_name(row, sizeof row, k, v);
            if (v == KEYED && row_has(row_name(title, sizeof title, k, KEYED_TRIGGERED))) continue;
            memset(&c, 0, sizeof c);
            memset(d, 0, sizeof d);
            snprintf(name, sizeof name, "%s genuine", row);
            d[0].share = bins_of("Fig 3", name, "share@gate", 0, 1, share[0]);
            d[0].name = "owner's key";
            snprintf(name, sizeof name, "%s forged", row);
            d[1].share = bins_of("Fig 3", name, "share@gate", 0, 1, share[1]);
            d[1].name = variants[v].recipe == IPR_RECIPE_PAPER ? "forged key (noise)" : "forged key (uniform)";
            if (!d[0].share && !d[1].share) continue;
            if (!any++) {
                report_h3(r, "The gates that a key makes");
                report_text(r, "Figure 3 of the paper. Run through the model, a key becomes gates between 0 and 1 that multiply the states of every input. Near 1 the state passes untouched; lower values fade it, step after step.");
                report_grid(r);
            }
            snprintf(title, sizeof title, "%s, %s", k == IPR_LSTM ? "LSTM" : "GRU", variants[v].recipe == IPR_RECIPE_PAPER ? "as in the paper" : "default recipe");
            c.title = title;
            c.x_label = "gate value";
            c.y_label = "share of the gates (logarithmic)";
            c.hi = 1;
            c.bins = BINS;
            c.y_percent = c.y_log = 1;
            c.series = d;
            c.count = 2;
            report_histogram(r, &c);
        }
    if (any) report_grid_end(r);
}

static void html_table9(report *r)
{
    static const char *const columns[] = { "Attack", "Test set\nowner's key", "Triggers\nowner's key", "Signature\nowner's key" };
    static const char *const what[] = { "test_key", "trigger_key", "signature" };
    static const struct { const char *name, *attack; double level; } a[] = {
        { "No attack", NULL, 0 }, { "Fine-tuning\nlearning rate 1e-5", "finetune", 1e-5 }, { "Fine-tuning\nlearning rate 1e-3, one epoch", "finetune", 1e-3 },
        { "Overwriting with a thief's key\nlearning rate 1e-5", "overwrite", 1e-5 }, { "Overwriting with a thief's key\nlearning rate 1e-3, one epoch", "overwrite", 1e-3 },
    };
    char row[64];
    size_t i, m;
    int k, v, open = 0;
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = KEYED; v < VARIANTS; v++) {
            row_name(row, sizeof row, k, v);
            if (!figure_at("Table 9", row, "test_key", "finetune", 1e-5).n) continue;
            if (!open++) {
                report_h3(r, "Fine-tuning and overwriting");
                report_text(r, "Table 9 of the paper. A thief trains the stolen model on, or trains a key and signature of his own into it. The paper's learning rate is 1e-5; a hundred times as much, 1e-3, is the stronger attack.");
                report_table(r, "After the attack, in per cent; below it the 95\xC2\xA0% interval over the seeds and the paper's number.", "lrrr", columns, 4);
            }
            report_group(r, row);
            for (i = 0; i < sizeof a / sizeof a[0]; i++) {
                if (a[i].attack && !figure_at("Table 9", row, "test_key", a[i].attack, a[i].level).n) continue;
                report_row(r, a[i].name);
                for (m = 0; m < 3; m++) {
                    const figure f = a[i].attack ? figure_at("Table 9", row, what[m], a[i].attack, a[i].level) : figure_of("Table 5", row, what[m]);
                    report_cell_compare(r, f.mean, f.lo, f.hi, paper_of(f), m ? 1 : 2);
                }
            }
        }
    if (open) report_table_end(r);
}

static void html_curves(report *r, const char *table, const char *attack, const char *heading, const char *text, const char *x_label)
{
    static const char *const what[] = { "test_key", "trigger_key", "signature" }, *const name[] = { "test set, owner's key", "triggers, owner's key", "signature bits" };
    static double x[11], y[3][11], lo[3][11], hi[3][11], px[3][11], py[3][11];
    char row[64];
    int k, v, i, m, any = 0;
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = KEYED; v < VARIANTS; v++) {
            report_series s[6];
            report_chart c;
            int n = 0, refs[3] = { 0, 0, 0 };
            row_name(row, sizeof row, k, v);
            memset(s, 0, sizeof s);
            memset(&c, 0, sizeof c);
            for (m = 0; m < 3; m++) {
                int have = 0, band = 0;
                for (i = 0; i <= 10; i++) {
                    const figure f = figure_at(table, row, what[m], attack, i / 10.0);
                    x[i] = 10 * i;
                    y[m][i] = f.mean;
                    lo[m][i] = f.lo;
                    hi[m][i] = f.hi;
                    have += f.n > 0;
                    band |= f.n > 1;
                    if (report_finite(paper_of(f))) { px[m][refs[m]] = x[i]; py[m][refs[m]++] = paper_of(f); }
                }
                if (!have) continue;
                s[n].name = name[m];
                s[n].x = x;
                s[n].y = y[m];
                if (band) { s[n].lo = lo[m]; s[n].hi = hi[m]; }
                s[n].n = 11;
                s[n++].style = m + 1;
            }
            if (!n) continue;
            for (m = 0; m < 3; m++) {
                if (!refs[m]) continue;
                s[n].name = m == 0 ? "paper, test set" : m == 1 ? "paper, triggers" : "paper, signature";
                s[n].x = px[m];
                s[n].y = py[m];
                s[n].n = refs[m];
                s[n].reference = 1;
                s[n++].style = m + 1;
            }
            if (!any++) { report_h3(r, heading); report_text(r, text); report_grid(r); }
            c.title = row;
            c.x_label = x_label;
            c.y_label = "per cent right";
            c.x_percent = c.y_percent = 1;
            c.y_hi = 100;
            c.y_decimals = 1;
            c.series = s;
            c.count = n;
            report_lines(r, &c);
        }
    if (any) report_grid_end(r);
}

static void html_gauge(report *r)
{
    static const char *const columns[] = { "Model", "Test set\nbefore", "Test set\nafter", "Signature\nas it is read", "Signature\nafter undoing" };
    char row[64];
    int k, v, open = 0;
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (v = KEYED; v < VARIANTS; v++) {
            const figure after = figure_at("Gauge", row_name(row, sizeof row, k, v), "test_key", "gauge", 0.5);
            if (!after.n) continue;
            if (!open++) {
                report_h3(r, "Changing signs without changing the model");
                report_text(r, "A unit's sign can be turned round in all the weights that write and read it: not one prediction changes, but the signature, which is made of signs, does. Here every second unit is turned. "
                               "An owner who committed to his weights beforehand undoes it by comparing the suspect with them, then reads the signature again.");
                report_table(r, "Half of the signs turned, in per cent with the owner's key.", "lrrrr", columns, 5);
            }
            report_row(r, row);
            report_cell_num(r, figure_of("Table 5", row, "test_key").mean, 2);
            report_cell_num(r, after.mean, 2);
            report_cell_num(r, figure_at("Gauge", row, "signature", "gauge", 0.5).mean, 1);
            report_cell_num(r, figure_at("Gauge", row, "signature", "gauge_undone", 0.5).mean, 1);
        }
    if (open) report_table_end(r);
}

static void html_weights(report *r)
{
    static double share[VARIANTS][BINS];
    static const char *const names[] = { "unprotected", "key", "key and triggers", "as in the paper" };
    char row[64], title[80];
    int k, v, any = 0;
    for (k = IPR_LSTM; k <= IPR_GRU; k++) {
        report_histogram_chart c;
        report_distribution d[VARIANTS];
        int n = 0, keyed = 0, cut = BINS / 2 - 1, i, b;     /* cut: bins left out at either end, where there is next to nothing */
        memset(&c, 0, sizeof c);
        memset(d, 0, sizeof d);
        for (v = 0; v < VARIANTS; v++) {
            static const int style[] = { 7, 3, 1, 2 };
            if (v == KEYED && row_has(row_name(row, sizeof row, k, KEYED_TRIGGERED))) continue;
            d[n].share = bins_of("Fig 9", row_name(row, sizeof row, k, v), "share@weight", -1, 1, share[v]);
            if (!d[n].share) continue;
            d[n].name = names[v];
            d[n++].style = style[v];
            keyed |= v != BASELINE;
        }
        if (!n || !keyed) continue;
        for (i = 0; i < n; i++)
            for (b = 0; b < cut; b++) if (d[i].share[b] > 0.02 || d[i].share[BINS - 1 - b] > 0.02) cut = b;
        for (i = 0; i < n; i++) d[i].share += cut;
        if (!any++) {
            report_h2(r, "The weights");
            report_text(r, "Figure 9 of the paper. If protection showed in the weights, a thief could see which models to attack. Recurrent weights of seed 1; outer bins below 0.02\xC2\xA0% are left out.");
            report_grid(r);
        }
        snprintf(title, sizeof title, "%s, recurrent weights", k == IPR_LSTM ? "LSTM" : "GRU");
        c.title = title;
        c.x_label = "weight";
        c.y_label = "share of the weights";
        c.lo = -1 + cut * 2.0 / BINS;
        c.hi = -c.lo;
        c.bins = BINS - 2 * cut;
        c.y_percent = 1;
        c.series = d;
        c.count = n;
        report_histogram(r, &c);
    }
    if (any) report_grid_end(r);
}

static void html_reproduce(report *r, lab *l)
{
    char text[1200], seeds[32] = "", only[120] = "", out[640] = "";
    report_h2(r, "Reproduce this");
    if (!l->o.quick && !l->o.demo) snprintf(seeds, sizeof seeds, " --seeds %d", l->o.seeds);
    if (l->o.only) snprintf(only, sizeof only, " --only \"%.100s\"", l->o.only);
    if (!l->o.demo && strcmp(l->o.out, "results")) snprintf(out, sizeof out, " --out \"%.600s\"", l->o.out);
    snprintf(text, sizeof text, "make data NAMES=\"mnist fashion-mnist\"\nmake build/gatekeeper_seqmnist\n./build/gatekeeper_seqmnist%s%s%s%s --threads %d",
             l->o.demo ? " --demo" : l->o.quick ? " --quick" : "", seeds, only, out, ipr_threads(l->c));
    report_code(r, text);
    report_textf(r, "The same build, instruction set and seeds give the same numbers at any thread count. All of them, with intervals, stand in `%s.json` beside this page.", l->o.demo ? "demo" : "gatekeeper-seqmnist");
}

static int write_html(lab *l)
{
    static const char *const titles[] = { "Accuracy with and without the key", "Forged keys", "Attacks", "The weights", "How it was measured", "Reproduce this" };
    const char *contents[6];
    char path[600], subtitle[300], foot[400], cpu[128], row[64], a[64], b[64], base[64];
    int focused, cellkind = IPR_LSTM, v = KEYED_TRIGGERED, k, attacks = 0, weights = 0, n = 0, st = 0;
    report r;
    size_t i;
    for (k = IPR_LSTM; k <= IPR_GRU; k++)
        for (i = BASELINE; i < VARIANTS; i++) {
            attacks |= figure_at("Fig 7", row_name(base, sizeof base, k, (int)i), "test_key", "prune", 0).n > 0;
            weights |= i > BASELINE && row_has(base) && figure_of("Fig 9", base, "share@weight=0.025").n > 0;
        }
    focused = focus_row(&cellkind, &v, row, sizeof row);
    if (!focused) snprintf(row, sizeof row, "-");
    snprintf(path, sizeof path, "%s/%s.html", l->o.out, l->o.demo ? "demo" : "gatekeeper-seqmnist");
    snprintf(subtitle, sizeof subtitle, "%s, %s training and %s test images, %d seed%s, %d epochs", l->real_data ? "MNIST" : "Built-in rendered digits", count_text(a, sizeof a, (int)l->train->count),
             count_text(b, sizeof b, l->o.test_items), l->o.seeds, l->o.seeds == 1 ? "" : "s", l->o.epochs);
    if (report_open(&r, path, "Gatekeeper keys in recurrent networks: SeqMNIST", subtitle)) { fprintf(stderr, "%s\n", report_error(&r)); return 1; }
    html_lead(&r, l, focused, cellkind, v, row);
    if (focused) html_verdict(&r, l, cellkind, v, row);
    for (i = 0; i < 6; i++) if ((i != 1 || focused) && (i != 2 || attacks) && (i != 3 || weights)) contents[n++] = titles[i];
    report_contents(&r, contents, n);
    html_table5(&r);
    if (focused) {
        html_forgeries(&r, l);
        st = html_pictures(&r, l, cellkind, v);
        html_gates(&r);
    }
    if (attacks) {
        report_h2(&r, titles[2]);
        html_table9(&r);
        html_curves(&r, "Fig 7", "prune", "Pruning", "Figure 7 of the paper. The smallest weights of every layer are set to zero. Protection should last as long as the model is of use; guessing is right once in ten.", "weights set to zero");
        html_curves(&r, "Fig 8", "flip", "Flipping signs of the signature", "Figure 8 of the paper. A thief turns signs of the key's first hidden state to spoil the signature. The question is what that costs him in accuracy under the key.", "signs turned");
        html_gauge(&r);
    }
    html_weights(&r);
    report_h2(&r, titles[4]);
    report_list(&r, notes, (int)(sizeof notes / sizeof notes[0]));
    if (l->train->source && *l->train->source) report_textf(&r, "Data: %s.", l->train->source);
    html_reproduce(&r, l);
    cpu_name(cpu, sizeof cpu);
    snprintf(foot, sizeof foot, "ipr.h %s, %s, %s kernels, %d thread%s.", IPR_VERSION_STRING, cpu, ipr_isa_name(ipr_isa(l->c)), ipr_threads(l->c), ipr_threads(l->c) == 1 ? "" : "s");
    report_footer(&r, foot);
    if (report_close(&r)) { fprintf(stderr, "%s\n", report_error(&r)); return 1; }
    return st;
}

#endif /* GATEKEEPER_SEQMNIST_HTML_H */
