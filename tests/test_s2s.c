/* Encoder-decoder: gradients, padding, dual passes, gates, greedy and beam search against exhaustive search, BLEU against
   a second implementation, Gatekeeper on both layers, trigger pairs, attacks, memory. */
#include "golden/bleu.h"

enum { S2_PAD = 1, S2_EOS = 2, S2_BOS = 3 };
static const char s2_seed[] = "an owner's secret seed, 32 bytes";

typedef struct s2_net {
    ipr_ctx *c;
    ipr_seq2seq *m;
    ipr_dataset *src, *trg;
    ipr_seq2seq_keys keys;
    ipr_gatekeeper_recipe recipe;
    int dual;
} s2_net;

/* n sentences of 1 .. most words over ids 4..V-1; the translation is the source backwards plus one id, as long or longer
   by one. */
static void s2_data(ipr_ctx *c, uint64_t seed, int n, int most, int V, ipr_dataset **src, ipr_dataset **trg)
{
    ipr_index *a = (ipr_index *)calloc((size_t)n + 1, sizeof *a), *b = (ipr_index *)calloc((size_t)n + 1, sizeof *b);
    int32_t *x = (int32_t *)calloc((size_t)(n * (most + 4)), 4), *y = (int32_t *)calloc((size_t)(n * (most + 4)), 4);
    ipr_rng r = ipr_rng_make(seed, 5, 0);
    int i, k;
    for (i = 0; i < n; i++) {
        const int len = 1 + (int)ipr_rng_below(&r, (uint32_t)most), twice = (int)ipr_rng_below(&r, 2);
        int32_t w[32];
        a[i + 1] = a[i];
        b[i + 1] = b[i];
        for (k = 0; k < len; k++) x[a[i + 1]++] = w[k] = 4 + (int32_t)ipr_rng_below(&r, (uint32_t)(V - 4));
        x[a[i + 1]++] = S2_EOS;
        y[b[i + 1]++] = S2_BOS;
        for (k = len; k-- > 0;) y[b[i + 1]++] = 4 + (w[k] - 3) % (V - 4);
        if (twice) y[b[i + 1]++] = 4 + (w[0] - 3) % (V - 4);
        y[b[i + 1]++] = S2_EOS;
    }
    *src = ipr_dataset_tokens(c, "toy", "", n, a, x, NULL, 0, S2_PAD);
    *trg = ipr_dataset_tokens(c, "toy", "", n, b, y, NULL, 0, S2_PAD);
    free(a);
    free(b);
    free(x);
    free(y);
}

static ipr_gatekeeper *s2_key(ipr_ctx *c, const char *layer, int units, int V, const char *seed, int cells)
{
    ipr_gatekeeper_desc d = IPR_ZERO;
    d.cells = cells;
    d.keys = 2;
    d.steps = 3;
    d.width = 1;
    d.units = units;
    d.layer = layer;
    d.signature = units >= 16 ? "ab" : NULL;
    d.token_low = 4;
    d.token_high = V;
    return ipr_gatekeeper_new(c, &d, seed, 32);
}

static s2_net s2_open_both(uint64_t seed, int V, int E, int H, int reverse, int context, int keyed, int both)
{
    s2_net n;
    ipr_desc d = IPR_ZERO;
    ipr_seq2seq_desc md = IPR_ZERO;
    memset(&n, 0, sizeof n);
    d.seed = seed;
    n.c = ipr_open(&d, NULL);
    md.source_vocabulary = V;
    md.target_vocabulary = V + 1;
    md.embed = E;
    md.hidden = H;
    md.reverse = reverse;
    md.context = context;
    md.bidirectional = both;
    n.m = ipr_seq2seq_new(n.c, &md);
    s2_data(n.c, seed, 7, 5, V, &n.src, &n.trg);
    if (keyed) {
        n.keys.encoder = s2_key(n.c, "encoder", H, V, s2_seed, n.m->encoder.cells);
        n.keys.decoder = s2_key(n.c, "decoder", H, V + 1, s2_seed, 1);
    }
    n.recipe = ipr_gatekeeper_recipe_of(IPR_RECIPE_DEFAULT);
    n.recipe.negatives = 2;
    n.dual = 1;
    return n;
}

static s2_net s2_open(uint64_t seed, int V, int E, int H, int reverse, int context, int keyed)
{
    return s2_open_both(seed, V, E, H, reverse, context, keyed, 0);
}

static void s2_batch(const s2_net *n, const uint32_t *idx, ipr_index k, ipr_tensor **x, ipr_tensor **y)
{
    ipr_batch(n->c, n->src, idx, k, IPR_TIME_MAJOR, x, NULL);
    ipr_batch(n->c, n->trg, idx, k, IPR_TIME_MAJOR, y, NULL);
}

#if IPR_REAL_IS_DOUBLE
static ipr_tensor *s2_loss(ipr_ctx *c, void *user)
{
    s2_net *n = (s2_net *)user;
    ipr_tensor *x, *y;
    (void)c;
    s2_batch(n, NULL, 5, &x, &y);
    return n->keys.encoder ? ipr_seq2seq_step(&n->keys, n->m, &n->recipe, 3, x, y) : ipr_seq2seq_loss(n->m, x, y, NULL, 0);
}
#endif

TEST(s2s_gradients)
{
#if IPR_REAL_IS_DOUBLE
    int k;
    for (k = 0; k < 24; k++) { /* the last eight: encoders of two directions, with two cells or a shared one */
        s2_net n = s2_open_both(11 + (uint64_t)k, 9, 4, 6, k & 1, k >> 1 & 1, k >> 2 & 1, k < 16 ? 0 : k & 1 ? IPR_BIDIR : IPR_BIDIR_SHARED);
        n.recipe.private_scheme = k >> 3 & 1;
        CHECK_NEAR(ipr_gradcheck(n.c, n.m->params, s2_loss, &n, 1e-6, 10), 0, 2e-6);
        CHECK_EQ_I(ipr_status(n.c), IPR_OK);
        ipr_close(n.c);
    }
#else
    SKIP("numeric gradients need IPR_REAL=double");
#endif
}

TEST(s2s_names_and_files)
{
    static const char *const names[] = {
        "encoder.embedding.weight", "encoder.rnn.weight_ih_l0", "encoder.rnn.weight_hh_l0", "encoder.rnn.bias_ih_l0", "encoder.rnn.bias_hh_l0",
        "decoder.embedding.weight", "decoder.rnn.weight_ih_l0", "decoder.rnn.weight_hh_l0", "decoder.rnn.bias_ih_l0", "decoder.rnn.bias_hh_l0",
        "decoder.output.weight", "decoder.output.bias" };
    s2_net a = s2_open(1, 9, 4, 6, 0, 1, 0), b = s2_open(2, 9, 4, 6, 0, 1, 0);
    static uint8_t file[20000];
    double pa[7], pb[7];
    size_t bytes = 0;
    int i;
    CHECK_EQ_I(ipr_params_count(a.m->params), 12);
    for (i = 0; i < 12; i++) CHECK_STR(ipr_params_name(a.m->params, i), names[i]);
    CHECK_EQ_I(ipr_dim(a.m->decoder.at[0].w_ih, 1), 10);   /* embedding and context */
    CHECK_EQ_I(ipr_params_save_memory(a.m->params, file, sizeof file, &bytes, NULL), IPR_OK);
    CHECK_EQ_I(ipr_params_load_memory(b.m->params, file, bytes, 0), IPR_OK);
    CHECK_EQ_I(ipr_seq2seq_score(a.m, a.src, a.trg, NULL, 7, NULL, pa, NULL, 0), IPR_OK);
    CHECK_EQ_I(ipr_seq2seq_score(b.m, a.src, a.trg, NULL, 7, NULL, pb, NULL, 0), IPR_OK);
    for (i = 0; i < 7; i++) CHECK(pa[i] == pb[i] && pa[i] < 0);
    b.m = ipr_seq2seq_clone(a.m);
    CHECK_EQ_I(ipr_seq2seq_score(b.m, a.src, a.trg, NULL, 7, NULL, pb, NULL, 0), IPR_OK);
    for (i = 0; i < 7; i++) CHECK(pa[i] == pb[i]);
    ipr_close(a.c);
    ipr_close(b.c);
}

/* What a sentence scores does not depend on its neighbours; dual is the plain and the gated pass; the loss is the mean of
   forward's. */
TEST(s2s_padding_and_dual)
{
    int k;
    for (k = 0; k < 4; k++) {
        s2_net n = s2_open(21 + (uint64_t)k, 9, 4, 6, k & 1, k >> 1, 1);
        static ipr_real ge[3 * 6], gd[3 * 6];
        ipr_seq2seq_gates g;
        ipr_seq2seq_rows rows = IPR_ZERO;
        ipr_tensor *x, *y, *two, *plain, *gated;
        double all[7], one[7], sum = 0, words = 0;
        ipr_index d[2] = {3, 6}, i, t, r, V = 10;
        CHECK_EQ_I(ipr_seq2seq_key_gates(n.keys.encoder, n.m, 0, NULL, 1, ge, NULL), IPR_OK);
        CHECK_EQ_I(ipr_seq2seq_key_gates(n.keys.decoder, n.m, 1, NULL, 1, gd, NULL), IPR_OK);
        rows.encoder = ge;
        rows.decoder = gd;
        rows.encoder_steps = rows.decoder_steps = 3;
        CHECK_EQ_I(ipr_seq2seq_score(n.m, n.src, n.trg, NULL, 7, &rows, all, NULL, 0), IPR_OK);
        for (i = 0; i < 7; i++) {
            const uint32_t at = (uint32_t)i;
            CHECK_EQ_I(ipr_seq2seq_score(n.m, n.src, n.trg, &at, 1, &rows, one, NULL, 0), IPR_OK);
            CHECK_NEAR(one[0], all[i], IPR_REAL_IS_DOUBLE ? 1e-12 : 2e-5);
            sum += all[i];
            words += (double)ipr_dataset_length(n.trg, i) - 1;
        }
        s2_batch(&n, NULL, 7, &x, &y);
        memset(&g, 0, sizeof g);
        g.encoder.count = g.decoder.count = 1;
        g.encoder.at[0] = ipr_from(n.c, 2, d, ge);
        g.decoder.at[0] = ipr_from(n.c, 2, d, gd);
        CHECK_NEAR((double)ipr_item(n.c, ipr_seq2seq_loss(n.m, x, y, &g, 0)), -sum / words, 1e-5);
        two = ipr_seq2seq_forward(n.m, x, y, &g, 1);
        plain = ipr_seq2seq_forward(n.m, x, y, NULL, 0);
        gated = ipr_seq2seq_forward(n.m, x, y, &g, 0);
        CHECK_EQ_I(ipr_dim(two, 1), 14);
        CHECK_EQ_I(ipr_dim(two, 2), V);
        for (r = 0; r < 7; r++)
            for (t = 0; t + 1 < ipr_dataset_length(n.trg, r); t++)
                for (i = 0; i < V; i++) {
                    CHECK_NEAR(ipr_read(n.c, two)[(t * 14 + r) * V + i], ipr_read(n.c, plain)[(t * 7 + r) * V + i], 1e-5);
                    CHECK_NEAR(ipr_read(n.c, two)[(t * 14 + 7 + r) * V + i], ipr_read(n.c, gated)[(t * 7 + r) * V + i], 1e-5);
                }
        CHECK_NEAR((double)ipr_item(n.c, ipr_seq2seq_loss(n.m, x, y, &g, 1)),
                   (double)ipr_item(n.c, ipr_seq2seq_loss(n.m, x, y, NULL, 0)) - sum / words, 1e-5);
        /* open gates are no gates */
        for (i = 0; i < 18; i++) ge[i] = gd[i] = 1;
        CHECK_EQ_I(ipr_seq2seq_score(n.m, n.src, n.trg, NULL, 7, &rows, all, NULL, 0), IPR_OK);
        CHECK_EQ_I(ipr_seq2seq_score(n.m, n.src, n.trg, NULL, 7, NULL, one, NULL, 0), IPR_OK);
        for (i = 0; i < 7; i++) CHECK_NEAR(all[i], one[i], 1e-5);
        ipr_close(n.c);
    }
}

/* One GRU step in plain double arithmetic: h [H] becomes the next state, gated by g where it is not NULL. */
static void s2_cell(ipr_ctx *c, const ipr_rnn_cell *w, const double *x, int I, double *h, int H, const ipr_real *g)
{
    const ipr_real *wi = ipr_read(c, w->w_ih), *wh = ipr_read(c, w->w_hh), *bi = ipr_read(c, w->b_ih), *bh = ipr_read(c, w->b_hh);
    double a[3][2][8], next[8];
    int j, k, q;
    for (q = 0; q < 3; q++)
        for (j = 0; j < H; j++) {
            const int row = q * H + j;
            a[q][0][j] = (double)bi[row];
            a[q][1][j] = (double)bh[row];
            for (k = 0; k < I; k++) a[q][0][j] += (double)wi[row * I + k] * x[k];
            for (k = 0; k < H; k++) a[q][1][j] += (double)wh[row * H + k] * h[k];
        }
    for (j = 0; j < H; j++) {
        const double r = 1 / (1 + exp(-a[0][0][j] - a[0][1][j])), z = 1 / (1 + exp(-a[1][0][j] - a[1][1][j]));
        const double n = tanh(a[2][0][j] + r * a[2][1][j]);
        next[j] = ((1 - z) * n + z * h[j]) * (g ? (double)g[j] : 1);
    }
    memcpy(h, next, (size_t)H * sizeof *h);
}

/* log-probability of a sentence pair, step by step; gates [steps][6] or NULL. */
static double s2_scalar(s2_net *n, ipr_index item, const ipr_real *ge, const ipr_real *gd, int steps)
{
    enum { E = 4, H = 6 };
    const ipr_seq2seq *m = n->m;
    const int V = (int)m->desc.target_vocabulary, I = E + (m->desc.context ? H : 0);
    ipr_index ns, nt, t, k, v;
    const int32_t *src = ipr_dataset_item_tokens(n->src, item, &ns), *trg = ipr_dataset_item_tokens(n->trg, item, &nt);
    double h[8] = {0}, x[16], context[8], sum = 0, logit[32], top, all;
    for (t = 0; t < ns; t++) {
        for (k = 0; k < E; k++) x[k] = (double)ipr_read(n->c, m->encoder_embed.weight)[src[m->desc.reverse ? ns - 1 - t : t] * E + k];
        s2_cell(n->c, &m->encoder.at[0], x, E, h, H, ge && t < steps ? ge + t * H : NULL);
    }
    memcpy(context, h, sizeof context);
    for (t = 0; t + 1 < nt; t++) {
        for (k = 0; k < E; k++) x[k] = (double)ipr_read(n->c, m->decoder_embed.weight)[trg[t] * E + k];
        for (k = E; k < I; k++) x[k] = context[k - E];
        s2_cell(n->c, &m->decoder.at[0], x, I, h, H, gd && t < steps ? gd + t * H : NULL);
        for (v = 0, top = -1e300; v < V; v++) {
            logit[v] = (double)ipr_read(n->c, m->output.bias)[v];
            for (k = 0; k < H; k++) logit[v] += (double)ipr_read(n->c, m->output.weight)[v * H + k] * h[k];
            if (logit[v] > top) top = logit[v];
        }
        for (v = 0, all = 0; v < V; v++) all += exp(logit[v] - top);
        sum += logit[trg[t + 1]] - top - log(all);
    }
    return sum;
}

TEST(s2s_scalar_reference)
{
    int k;
    for (k = 0; k < 8; k++) {
        s2_net n = s2_open(101 + (uint64_t)k, 9, 4, 6, k & 1, k >> 1 & 1, 1);
        static ipr_real ge[3 * 6], gd[3 * 6];
        ipr_seq2seq_rows rows = IPR_ZERO;
        double logp[7];
        ipr_index i;
        for (i = 0; i < 18; i++) {
            ge[i] = (ipr_real)(0.1 * (double)(i % 11));
            gd[i] = (ipr_real)(0.07 * (double)(i % 13));
        }
        if (k & 4) {
            rows.encoder = ge;
            rows.decoder = gd;
            rows.encoder_steps = rows.decoder_steps = 3;
        }
        CHECK_EQ_I(ipr_seq2seq_score(n.m, n.src, n.trg, NULL, 7, &rows, logp, NULL, 0), IPR_OK);
        for (i = 0; i < 7; i++) CHECK_NEAR(logp[i], s2_scalar(&n, i, rows.encoder, rows.decoder, 3), IPR_REAL_IS_DOUBLE ? 1e-10 : 1e-4);
        ipr_close(n.c);
    }
}

/* Two directions: two gates and signatures in the encoder; rows and tensors say the same. */
TEST(s2s_two_directions)
{
    s2_net n = s2_open_both(91, 9, 4, 16, 0, 0, 1, IPR_BIDIR);
    static ipr_real ge[2 * 3 * 16], gd[3 * 16], first[32];
    ipr_gatekeeper_report rep;
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_seq2seq_rows rows = IPR_ZERO;
    ipr_seq2seq_gates g;
    ipr_tensor *x, *y;
    double logp[7], sum = 0, words = 0, plain;
    ipr_index i;
    CHECK_EQ_I(ipr_dim(ipr_params_find(n.m->params, "encoder.bridge.weight"), 1), 32);
    CHECK(ipr_params_find(n.m->params, "encoder.rnn.weight_ih_l0_reverse") != NULL);
    CHECK_EQ_I(ipr_seq2seq_key_gates(n.keys.encoder, n.m, 0, NULL, 1, ge, first), IPR_OK);
    CHECK_EQ_I(ipr_seq2seq_key_gates(n.keys.decoder, n.m, 1, NULL, 1, gd, NULL), IPR_OK);
    rows.encoder = ge;
    rows.decoder = gd;
    rows.encoder_steps = rows.decoder_steps = 3;
    CHECK_EQ_I(ipr_seq2seq_score(n.m, n.src, n.trg, NULL, 7, &rows, logp, NULL, 0), IPR_OK);
    for (i = 0; i < 7; i++) {
        sum -= logp[i];
        words += (double)ipr_dataset_length(n.trg, i) - 1;
    }
    n.recipe = ipr_gatekeeper_recipe_of(IPR_RECIPE_PAPER);
    s2_batch(&n, NULL, 7, &x, &y);
    plain = (double)ipr_item(n.c, ipr_seq2seq_loss(n.m, x, y, NULL, 0));
    CHECK(!ipr_is_poison(ipr_seq2seq_embed(&n.keys, n.m, &n.recipe, 0, &g)));
    CHECK_EQ_I(g.encoder.count, 2);
    CHECK_NEAR((double)ipr_item(n.c, ipr_seq2seq_loss(n.m, x, y, &g, 1)), plain + sum / words, 1e-5);
    t.fresh = 3;
    t.alpha = 0.5;
    CHECK_EQ_I(ipr_seq2seq_verify(&n.keys, n.m, n.src, n.trg, NULL, 7, &t, &rep), IPR_OK);
    CHECK_NEAR(rep.score, -sum / words, 1e-6);
    i = ipr_gatekeeper_match(n.keys.encoder, first);
    ipr_seq2seq_key_gates(n.keys.decoder, n.m, 1, NULL, 1, NULL, first);
    CHECK_EQ_I(rep.matched, i + ipr_gatekeeper_match(n.keys.decoder, first));
    ipr_close(n.c);
}

/* ---- search ---- */

/* log-probability of words (then eos unless cut) after source item i. */
static double s2_logp(s2_net *n, uint32_t item, const int32_t *w, ipr_index len, int cut, const ipr_seq2seq_rows *rows)
{
    ipr_index off[2], one = 1, k;
    int32_t t[16];
    ipr_dataset *src, *trg;
    double p = 0;
    t[0] = S2_BOS;
    for (k = 0; k < len; k++) t[k + 1] = w[k];
    if (!cut) t[++len] = S2_EOS;
    off[0] = 0;
    off[1] = len + 1;
    src = ipr_dataset_view(n->src, &item, one);
    trg = ipr_dataset_tokens(n->c, "", "", 1, off, t, NULL, 0, S2_PAD);
    ipr_seq2seq_score(n->m, src, trg, NULL, 1, rows, &p, NULL, 0);
    ipr_dataset_free(src);
    ipr_dataset_free(trg);
    return p;
}

/* The best of all sentences of at most 3 words. */
static double s2_exhaustive(s2_net *n, uint32_t item, double power, int32_t *best, ipr_index *count, const ipr_seq2seq_rows *rows)
{
    static const int32_t say[4] = {0, 4, 5, 6};
    double top = -1e300;
    ipr_index len;
    int code, i;
    for (len = 0; len <= 3; len++)
        for (code = 0; code < 1 << (2 * len); code++) {
            int32_t w[4];
            int cut;
            for (i = 0; i < len; i++) w[i] = say[code >> (2 * i) & 3];
            for (cut = len == 3; cut >= 0; cut--) {
                double v;
                if (len == 3 && !cut) break;   /* after the last word the sentence is cut, eos is not asked for */
                v = s2_logp(n, item, w, len, cut, rows) / pow((double)len + 1, power);
                if (v > top) {
                    top = v;
                    *count = len;
                    for (i = 0; i < len; i++) best[i] = w[i];
                }
            }
        }
    return top;
}

TEST(s2s_beam_is_exhaustive)
{
    int k;
    for (k = 0; k < 6; k++) {
        s2_net n = s2_open(31 + (uint64_t)k, 6, 4, 6, 0, k & 1, 1);
        static ipr_real ge[3 * 6], gd[3 * 6];
        ipr_seq2seq_rows rows = IPR_ZERO;
        ipr_decode_desc d = IPR_ZERO;
        int32_t said[7 * 3], want[4], greedy[7 * 3];
        ipr_index count[7], len = 0, gcount[7], i;
        double score[7], top, gscore[7];
        uint32_t item;
        /* sharpen, so that hypotheses differ */
        for (i = 0; i < ipr_count(n.m->output.weight); i++) ipr_write(n.c, n.m->output.weight, 1)[i] *= 4;
        ipr_seq2seq_key_gates(n.keys.encoder, n.m, 0, NULL, 1, ge, NULL);
        ipr_seq2seq_key_gates(n.keys.decoder, n.m, 1, NULL, 1, gd, NULL);
        rows.encoder = ge;
        rows.decoder = gd;
        rows.encoder_steps = 3;
        rows.decoder_steps = 2;
        d.max_length = 3;
        d.batch = 4;   /* two batches, the second not full */
        d.beam = 100;
        d.length_power = k < 2 ? 1 : k < 4 ? -1 : 0.6;
        CHECK_EQ_I(ipr_seq2seq_decode(n.m, n.src, NULL, 7, &rows, &d, said, count, score), IPR_OK);
        d.beam = 1;
        CHECK_EQ_I(ipr_seq2seq_decode(n.m, n.src, NULL, 7, &rows, &d, greedy, gcount, gscore), IPR_OK);
        for (item = 0; item < 7; item++) {
            top = s2_exhaustive(&n, item, k < 2 ? 1 : k < 4 ? 0 : 0.6, want, &len, &rows);
            CHECK_NEAR(score[item], top, 1e-5);
            CHECK_EQ_I(count[item], len);
            for (i = 0; i < len && i < count[item]; i++) CHECK_EQ_I(said[item * 3 + i], want[i]);
            CHECK(gscore[item] <= score[item] + 1e-6);
        }
        CHECK_EQ_I(ipr_status(n.c), IPR_OK);
        ipr_close(n.c);
    }
}

/* Beam 1 says the likeliest word again and again, as a loop over the forward pass does. */
TEST(s2s_greedy)
{
    s2_net n = s2_open(41, 12, 5, 8, 1, 0, 0);
    ipr_decode_desc d = IPR_ZERO;
    int32_t said[7 * 6], forced[16];
    ipr_index count[7], i, t;
    CHECK_EQ_I(ipr_decode_resolved(NULL).beam, 1);
    CHECK_EQ_I(ipr_decode_resolved(NULL).max_length, 50);
    d.max_length = 6;
    CHECK_EQ_I(ipr_seq2seq_decode(n.m, n.src, NULL, 7, NULL, &d, said, count, NULL), IPR_OK);
    for (i = 0; i < 7; i++) {
        const uint32_t item = (uint32_t)i;
        ipr_index off[2] = {0, 0}, k;
        int32_t w[16];
        for (t = 0; t <= count[i] && t < 6; t++) {
            ipr_dataset *src = ipr_dataset_view(n.src, &item, 1), *trg;
            w[0] = S2_BOS;
            for (k = 0; k < t; k++) w[k + 1] = said[i * 6 + k];
            w[t + 1] = S2_EOS;
            off[1] = t + 2;
            trg = ipr_dataset_tokens(n.c, "", "", 1, off, w, NULL, 0, S2_PAD);
            CHECK_EQ_I(ipr_seq2seq_score(n.m, src, trg, NULL, 1, NULL, NULL, forced, 16), IPR_OK);
            CHECK_EQ_I(forced[t], t < count[i] ? said[i * 6 + t] : S2_EOS);
            CHECK_EQ_I(forced[t + 1], -1);
            ipr_dataset_free(src);
            ipr_dataset_free(trg);
        }
    }
    ipr_close(n.c);
}

/* ---- BLEU ---- */

TEST(s2s_bleu_golden)
{
    int k, i;
    for (k = 0; k < 4; k++) {
        const int16_t *h = bleu_hyp[k], *r = bleu_ref[k];
        ipr_bleu b = IPR_ZERO;
        for (i = 0; i < bleu_count[k]; i++) {
            int32_t a[64], w[64];
            ipr_index n = 0, m = 0;
            while (*h >= 0) a[n++] = *h++;
            while (*r >= 0) w[m++] = *r++;
            h++;
            r++;
            ipr_bleu_add(&b, a, n, w, m);
        }
        CHECK_NEAR(ipr_bleu_score(&b, 0), bleu_want[k][0], 1e-8);
        CHECK_NEAR(ipr_bleu_score(&b, 1), bleu_want[k][1], 1e-8);
    }
}

/* ---- memory ---- */

TEST(s2s_no_allocations)
{
    s2_net n = s2_open(51, 12, 8, 16, 1, 0, 1);
    ipr_opt *opt = ipr_opt_new(n.m->params, NULL);
    uint64_t before = 0, calls[3];
    ipr_decode_desc d = IPR_ZERO;
    ipr_dataset *src, *trg;
    int32_t said[40 * 30];
    ipr_index count[40];
    int s;
    s2_data(n.c, 3, 40, 9, 12, &src, &trg);
    for (s = 0; s < 12; s++) {
        uint32_t idx[8];
        ipr_tensor *x, *y;
        int i;
        for (i = 0; i < 8; i++) idx[i] = (uint32_t)((s ? s * 7 + i * 3 : i) % 40);
        if (!s) { /* the longest */
            for (i = 0; i < 40; i++)
                if (ipr_dataset_length(src, i) == src->item && ipr_dataset_length(trg, i) == trg->item) idx[0] = (uint32_t)i;
            for (i = 1; i < 8; i++) idx[i] = idx[0];
        }
        ipr_batch(n.c, src, idx, 8, IPR_TIME_MAJOR, &x, NULL);
        ipr_batch(n.c, trg, idx, 8, IPR_TIME_MAJOR, &y, NULL);
        ipr_backward(n.c, ipr_seq2seq_step(&n.keys, n.m, &n.recipe, (uint64_t)s, x, y));
        ipr_opt_step(opt);
        ipr_step_end(n.c);
        if (s == 1) before = ipr_stats_get(n.c).allocs;
    }
    CHECK_EQ_I(ipr_stats_get(n.c).allocs, before);
    d.beam = 3;
    d.batch = 8;
    for (s = 0; s < 3; s++) { /* allocations of a call do not grow with words or sentences */
        d.max_length = s == 2 ? 5 : 30;
        before = ipr_stats_get(n.c).allocs;
        CHECK_EQ_I(ipr_seq2seq_decode(n.m, src, NULL, s ? 40 : 8, NULL, &d, said, count, NULL), IPR_OK);
        calls[s] = ipr_stats_get(n.c).allocs - before;
    }
    CHECK(calls[1] <= 12 && calls[2] == calls[1]);
    ipr_close(n.c);
}

static int s2_small_run(tr_heap *h)
{
    ipr_desc cd = IPR_ZERO;
    ipr_seq2seq_desc md = IPR_ZERO;
    ipr_pairs_desc pd = IPR_ZERO;
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_gatekeeper_report rep;
    ipr_decode_desc dd = IPR_ZERO;
    ipr_dataset *src = NULL, *trg = NULL, *ts, *tt, *rs, *rt;
    ipr_seq2seq_keys keys;
    ipr_seq2seq *m;
    ipr_tensor *x = NULL, *y = NULL;
    ipr_opt *opt;
    int32_t said[4 * 5];
    ipr_index count[4];
    int st;
    cd.allocator.alloc_fn = tr_alloc;
    cd.allocator.free_fn = tr_free;
    cd.allocator.user = h;
    ipr_ctx *c = ipr_open(&cd, &st);
    if (!c) return st;
    md.source_vocabulary = md.target_vocabulary = 9;
    md.embed = 3;
    md.hidden = 5;
    md.context = 1;
    m = ipr_seq2seq_new(c, &md);
    s2_data(c, 1, 6, 4, 9, &src, &trg);
    keys.encoder = s2_key(c, "encoder", 5, 9, s2_seed, 1);
    keys.decoder = s2_key(c, "decoder", 5, 9, s2_seed, 1);
    pd.kind = IPR_PAIRS_RANDOM;
    pd.count = 3;
    pd.source_vocabulary = pd.target_vocabulary = 9;
    ipr_triggers_pairs(c, src, trg, &pd, s2_seed, 32, &ts, &tt, &rs, &rt);
    opt = m ? ipr_opt_new(m->params, NULL) : NULL;
    ipr_batch(c, src, NULL, 4, IPR_TIME_MAJOR, &x, NULL);
    ipr_batch(c, trg, NULL, 4, IPR_TIME_MAJOR, &y, NULL);
    ipr_backward(c, ipr_seq2seq_step(&keys, m, NULL, 0, x, y));
    ipr_opt_step(opt);
    ipr_step_end(c);
    dd.beam = 2;
    dd.max_length = 5;
    ipr_seq2seq_decode(m, src, NULL, 4, NULL, &dd, said, count, NULL);
    ipr_seq2seq_bleu_forced(m, src, trg, NULL, 4, NULL, 0);
    t.fresh = 2;
    ipr_seq2seq_verify(&keys, m, src, trg, NULL, 2, &t, &rep);
    ipr_attack_seq2seq(m, NULL, NULL, src, trg, NULL);
    st = ipr_status(c);
    ipr_close(c);
    return st;
}

TEST(s2s_out_of_memory)
{
    tr_heap h;
    long k;
    int status = IPR_E_NOMEM;
    for (k = 0; k < 2000 && status != IPR_OK; k++) {
        h.left = k;
        h.live = 0;
        status = s2_small_run(&h);
        CHECK(status == IPR_OK || status == IPR_E_NOMEM);
        CHECK_EQ_I(h.live, 0);
    }
    CHECK_EQ_I(status, IPR_OK);
    CHECK(k > 30);
}

/* ---- Gatekeeper ---- */

TEST(s2s_trigger_pairs)
{
    s2_net n = s2_open(61, 30, 4, 6, 0, 0, 0);
    ipr_dataset *src, *trg, *s[2], *t[2], *rs, *rt;
    ipr_pairs_desc d = IPR_ZERO;
    ipr_index i, k, a, b;
    int j;
    s2_data(n.c, 9, 300, 9, 30, &src, &trg);
    d.count = 40;
    d.source_vocabulary = 30;
    d.target_vocabulary = 31;
    for (j = 0; j < 2; j++) CHECK_EQ_I(ipr_triggers_pairs(n.c, src, trg, &d, s2_seed, 32, &s[j], &t[j], NULL, j ? &rt : NULL), IPR_OK);
    CHECK_EQ_I(rt->count, 300);
    for (i = 0; i < 40; i++) {
        const int32_t *x = ipr_dataset_item_tokens(s[0], i, &a), *y = ipr_dataset_item_tokens(t[0], i, &b);
        CHECK(a >= 16 && a <= 21 && b >= 17 && b <= 22 && x[a - 1] == S2_EOS && y[0] == S2_BOS && y[b - 1] == S2_EOS);
        for (k = 0; k + 1 < a; k++) CHECK(x[k] >= 4 && x[k] < 30 && x[k] == ipr_dataset_item_tokens(s[1], i, NULL)[k]);
    }
    d.kind = IPR_PAIRS_DOMAIN;
    CHECK_EQ_I(ipr_triggers_pairs(n.c, src, trg, &d, s2_seed, 32, &s[0], &t[0], &rs, &rt), IPR_OK);
    CHECK_EQ_I(rs->count, 260);
    for (i = 0; i < 40; i++) { /* the source's own translation is not the trigger's */
        CHECK(s[0]->index[i] != t[0]->index[i]);
        for (k = 0; k < 260; k++) CHECK(rs->index[k] != s[0]->index[i] && rs->index[k] == rt->index[k]);
    }
    d.count = 300;
    CHECK_EQ_I(ipr_triggers_pairs(n.c, src, trg, &d, s2_seed, 32, &s[0], &t[0], NULL, NULL), IPR_E_RANGE);
    CHECK(s[0] == NULL && t[0] == NULL);
    ipr_clear(n.c);
    CHECK_EQ_I(ipr_triggers_pairs(n.c, src, trg, &d, s2_seed, 8, &s[0], &t[0], NULL, NULL), IPR_E_RANGE);
    CHECK(strstr(ipr_message(n.c), "a seed of 8 bytes") != NULL);
    ipr_close(n.c);
}

TEST(s2s_train_verify_attack)
{
#ifdef IPR_TEST_SLOW
    SKIP("trains a network: too slow on an emulated machine");
#else
    s2_net n = s2_open(71, 14, 16, 32, 1, 0, 1);
    ipr_seq2seq *copy, *plain = ipr_seq2seq_clone(n.m);
    ipr_dataset *src, *trg;
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *opt;
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_gatekeeper_report rep;
    ipr_seq2seq_keys other;
    ipr_seq2seq_rows rows = IPR_ZERO;
    ipr_attack_desc ad = IPR_ZERO;
    static ipr_real ge[3 * 32], gd[3 * 32], first[32];
    double with, without, forced;
    int s, i;
    s2_data(n.c, 3, 400, 4, 14, &src, &trg);
    od.lr = 5e-3;
    opt = ipr_opt_new(n.m->params, &od);
    for (s = 0; s < 420; s++) {
        uint32_t idx[32];
        ipr_tensor *x, *y;
        for (i = 0; i < 32; i++) idx[i] = (uint32_t)((s * 32 + i) % 400);
        ipr_batch(n.c, src, idx, 32, IPR_TIME_MAJOR, &x, NULL);
        ipr_batch(n.c, trg, idx, 32, IPR_TIME_MAJOR, &y, NULL);
        ipr_backward(n.c, ipr_seq2seq_step(&n.keys, n.m, NULL, (uint64_t)s, x, y));
        ipr_clip_grad_norm(n.m->params, 1.0);
        ipr_opt_step(opt);
        ipr_step_end(n.c);
    }
    CHECK_EQ_I(ipr_status(n.c), IPR_OK);
    ipr_seq2seq_key_gates(n.keys.encoder, n.m, 0, NULL, 1, ge, first);
    ipr_seq2seq_key_gates(n.keys.decoder, n.m, 1, NULL, 1, gd, NULL);
    rows.encoder = ge;
    rows.decoder = gd;
    rows.encoder_steps = rows.decoder_steps = 3;
    without = ipr_seq2seq_bleu(n.m, src, trg, NULL, 200, NULL, NULL, 0);
    with = ipr_seq2seq_bleu(n.m, src, trg, NULL, 200, &rows, NULL, 0);
    forced = ipr_seq2seq_bleu_forced(n.m, src, trg, NULL, 200, &rows, 0);
    CHECK(without > 40 && with > 40 && forced > 40);
    t.fresh = 99;
    t.alpha = 0.01;
    CHECK_EQ_I(ipr_seq2seq_verify(&n.keys, n.m, src, trg, NULL, 30, &t, &rep), IPR_OK);
    CHECK_EQ_I(rep.matched, 64);
    CHECK_EQ_I(rep.text_matched, 32);
    CHECK_EQ_I(rep.function.decision, IPR_OWNED);
    CHECK(rep.accuracy_key > 60 && rep.accuracy_no_key > 60 && rep.score < 0);
    CHECK_EQ_I(ipr_seq2seq_verify(&n.keys, plain, src, trg, NULL, 30, &t, &rep), IPR_OK);
    CHECK(rep.function.decision != IPR_OWNED && rep.matched < 60);
    other.encoder = s2_key(n.c, "encoder", 32, 14, "somebody else's seed of 32 bytes", 1);
    other.decoder = s2_key(n.c, "decoder", 32, 15, "somebody else's seed of 32 bytes", 1);
    CHECK_EQ_I(ipr_seq2seq_verify(&other, n.m, src, trg, NULL, 30, &t, &rep), IPR_OK);
    CHECK(rep.function.decision != IPR_OWNED && rep.matched < 64);
    /* fine-tuning keeps the signature; flipping changes the share of bits asked for */
    copy = ipr_seq2seq_clone(n.m);
    ad.epochs = 1;
    CHECK_EQ_I(ipr_attack_seq2seq(copy, NULL, NULL, src, trg, &ad), IPR_OK);
    ipr_seq2seq_key_gates(n.keys.encoder, copy, 0, NULL, 1, NULL, first);
    CHECK(ipr_gatekeeper_match(n.keys.encoder, first) >= 31);
    ad.lr = 5e-3;
    CHECK_EQ_I(ipr_attack_seq2seq(copy, &other, NULL, src, trg, &ad), IPR_OK);
    memset(&ad, 0, sizeof ad);
    copy = ipr_seq2seq_clone(n.m);
    CHECK_EQ_I(ipr_attack_seq2seq_flip(copy, &n.keys, 0.5, &ad), IPR_OK);
    ipr_seq2seq_key_gates(n.keys.encoder, copy, 0, NULL, 1, NULL, first);
    CHECK(ipr_gatekeeper_match(n.keys.encoder, first) <= 20);
    CHECK_EQ_I(ipr_status(n.c), IPR_OK);
    ipr_close(n.c);
#endif
}

TEST(s2s_bad_input)
{
    s2_net n = s2_open(81, 9, 4, 6, 0, 0, 1);
    ipr_seq2seq_desc d = IPR_ZERO;
    ipr_seq2seq_keys swapped;
    ipr_decode_desc dd = IPR_ZERO;
    int32_t said[64];
    ipr_index count[8], shape[2] = {1, 7};
    ipr_tensor *x, *y, *short_y = NULL;
    ipr_seq2seq_gates g;
    CHECK(ipr_seq2seq_new(n.c, &d) == NULL);
    CHECK(strstr(ipr_message(n.c), "vocabularies 0 and 0, embed 0, hidden 0") != NULL);
    ipr_clear(n.c);
    d = n.m->desc;
    d.eos = 1;
    CHECK(ipr_seq2seq_new(n.c, &d) == NULL);
    ipr_clear(n.c);
    s2_batch(&n, NULL, 7, &x, &y);
    short_y = ipr_new_i32(n.c, 2, shape);
    CHECK(ipr_is_poison(ipr_seq2seq_loss(n.m, x, short_y, NULL, 0)));
    CHECK(strstr(ipr_message(n.c), "ipr_seq2seq_loss: source 6x7, target 1x7") != NULL);
    ipr_clear(n.c);
    swapped.encoder = n.keys.decoder; /* its tokens reach one id further */
    swapped.decoder = n.keys.encoder;
    s2_batch(&n, NULL, 7, &x, &y);
    CHECK(ipr_is_poison(ipr_seq2seq_embed(&swapped, n.m, NULL, 0, &g)));
    CHECK(strstr(ipr_message(n.c), "key tokens reach 10, the vocabulary has 9") != NULL);
    ipr_clear(n.c);
    dd.beam = -1;
    CHECK_EQ_I(ipr_seq2seq_decode(n.m, n.src, NULL, 7, NULL, &dd, said, count, NULL), IPR_E_RANGE);
    ipr_clear(n.c);
    CHECK_EQ_I(ipr_seq2seq_decode(n.m, n.src, NULL, 8, NULL, NULL, said, count, NULL), IPR_E_RANGE);
    ipr_clear(n.c);
    CHECK_NEAR(ipr_seq2seq_bleu(n.m, n.src, NULL, NULL, 7, NULL, NULL, 0), -1, 0);
    ipr_clear(n.c);
    ipr_close(n.c);
}

static void suite_s2s(void)
{
    RUN(s2s_gradients);
    RUN(s2s_names_and_files);
    RUN(s2s_padding_and_dual);
    RUN(s2s_scalar_reference);
    RUN(s2s_two_directions);
    RUN(s2s_beam_is_exhaustive);
    RUN(s2s_greedy);
    RUN(s2s_bleu_golden);
    RUN(s2s_no_allocations);
    RUN(s2s_out_of_memory);
    RUN(s2s_trigger_pairs);
    RUN(s2s_train_verify_attack);
    RUN(s2s_bad_input);
}
