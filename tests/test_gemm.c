/* Matrix products: values against a double reference, and bits against the chain they promise. */
#include <stdlib.h>

enum gm_hash_names { GM_HASHES = 2 };
static const uint32_t gm_hash[GM_HASHES] = { 0x26bb08c4u, 0xd3c49550u };   /* float, double */

typedef struct gm_isa {
    int isa;
    size_t (*ws)(ipr_index, ipr_index, ipr_index);
    void (*gemm)(ipr_index, ipr_index, ipr_index, const ipr_real *, ipr_index, ipr_index, const ipr_real *, ipr_index,
                 ipr_index, int, ipr_real *, ipr_index, void *);
    size_t (*pb_bytes)(ipr_index, ipr_index);
    void (*pack)(ipr_index, ipr_index, const ipr_real *, ipr_index, ipr_index, void *);
    void (*gemm_pb)(ipr_index, ipr_index, ipr_index, const ipr_real *, ipr_index, ipr_index, const void *, int,
                    ipr_real *, ipr_index, void *);
    int fused;
} gm_isa;

#define GM_ISA(id, name, fused) { id, ipr__gemm_ws_##name, ipr__gemm_##name, ipr__pack_b_bytes_##name, \
    ipr__pack_b_##name, ipr__gemm_pb_##name, fused }
static const gm_isa gm_all[] = {
    GM_ISA(IPR_ISA_PORTABLE, portable, 0),
#if IPR__NEON
    GM_ISA(IPR_ISA_NEON, neon, 1),
#endif
#if IPR__X86
    GM_ISA(IPR_ISA_AVX2, avx2, 1),
    GM_ISA(IPR_ISA_AVX512, avx512, 1),
#endif
};
enum { GM_ISAS = sizeof gm_all / sizeof *gm_all };

static int gm_runs(int which) { return gm_all[which].isa <= ipr__cpu_isa(); }

static uint32_t gm_seed = 1;
static uint32_t gm_rand(void) { gm_seed = gm_seed * 1664525u + 1013904223u; return gm_seed >> 8; }
static int gm_below(int n) { return (int)(gm_rand() % (uint32_t)n); }

/* values with full mantissas, so that every rounding shows */
static void gm_fill(ipr_real *p, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) p[i] = (ipr_real)((double)gm_rand() / 8388608.0 - 1.0);
}

static ipr_real *gm_new(size_t n)
{
    ipr_real *p = (ipr_real *)malloc((n + 1) * sizeof *p);
    gm_fill(p, n);
    return p;
}

/* 64-aligned workspace with a guard behind it */
typedef struct gm_ws { char *raw, *p; size_t n; } gm_ws;
static gm_ws gm_ws_new(size_t n)
{
    gm_ws w;
    size_t i;
    w.raw = (char *)malloc(n + 128);
    w.p = w.raw + (64 - (size_t)((uintptr_t)w.raw & 63)) % 64;
    w.n = n;
    for (i = 0; i < n + 16; i++) w.p[i] = (char)0x7f;      /* NaN-like garbage: reading it would show */
    return w;
}
static int gm_ws_ok(const gm_ws *w)
{
    size_t i;
    for (i = 0; i < 16; i++) if (w->p[w->n + i] != 0x7f) return 0;
    return 1;
}

typedef struct gm_case {
    ipr_index m, n, k, ra, ca, rb, cb, ldc;
    size_t an, bn, cn;
    ipr_real *a, *b, *c0;
    int acc;
} gm_case;

/* layout 0: unit columns, 1: transposed, 2: both strides odd */
static void gm_strides(int layout, ipr_index rows, ipr_index cols, ipr_index pad, ipr_index *rs, ipr_index *cs,
                       size_t *len)
{
    if (layout == 0) { *rs = cols + pad; *cs = 1; }
    else if (layout == 1) { *rs = 1; *cs = rows + pad; }
    else { *cs = 2; *rs = 2 * cols + 3; }
    *len = (size_t)((rows - 1) * *rs + (cols - 1) * *cs + 1);
    if (!rows || !cols) *len = 0;
}

static gm_case gm_make(ipr_index m, ipr_index n, ipr_index k, int la, int lb, ipr_index pad, int acc)
{
    gm_case g;
    g.m = m; g.n = n; g.k = k; g.acc = acc;
    gm_strides(la, m, k, pad, &g.ra, &g.ca, &g.an);
    gm_strides(lb, k, n, pad, &g.rb, &g.cb, &g.bn);
    g.ldc = n + pad;
    g.cn = (size_t)(m * g.ldc);
    g.a = gm_new(g.an);
    g.b = gm_new(g.bn);
    g.c0 = gm_new(g.cn);
    return g;
}
static void gm_free(gm_case *g) { free(g->a); free(g->b); free(g->c0); }

static ipr_real *gm_copy(const gm_case *g)
{
    ipr_real *c = (ipr_real *)malloc((g->cn + 1) * sizeof *c);
    ipr__copy(c, g->c0, g->cn * sizeof *c);
    return c;
}

static ipr_real *gm_run(const gm_isa *s, const gm_case *g, int packed)
{
    ipr_real *c = gm_copy(g);
    gm_ws ws = gm_ws_new(s->ws(g->m, g->n, g->k));
    if (packed) {
        gm_ws pb = gm_ws_new(s->pb_bytes(g->k, g->n));
        s->pack(g->k, g->n, g->b, g->rb, g->cb, pb.p);
        s->gemm_pb(g->m, g->n, g->k, g->a, g->ra, g->ca, pb.p, g->acc, c, g->ldc, ws.p);
        CHECK(gm_ws_ok(&pb));
        free(pb.raw);
    } else s->gemm(g->m, g->n, g->k, g->a, g->ra, g->ca, g->b, g->rb, g->cb, g->acc, c, g->ldc, ws.p);
    CHECK(gm_ws_ok(&ws));
    free(ws.raw);
    return c;
}

/* The promise itself, one element: product rounded, then sum rounded. */
static ipr_real gm_chain(const gm_case *g, ipr_index i, ipr_index j)
{
    volatile ipr_real s = g->acc ? g->c0[i * g->ldc + j] : (ipr_real)0, t;
    ipr_index p;
    for (p = 0; p < g->k; p++) {
        t = g->a[i * g->ra + p * g->ca] * g->b[p * g->rb + j * g->cb];
        s = s + t;
    }
    return s;
}

/* |error| <= (k + 2) eps sum |a b| (Higham, Accuracy and Stability, 3.1), and nothing outside C is touched. */
static int gm_right(const gm_isa *s, const gm_case *g, const ipr_real *c)
{
    const double eps = sizeof(ipr_real) == 4 ? 1.1920929e-7 : 2.220446049250313e-16;
    ipr_index i, j, p;
    for (i = 0; i < g->m; i++) {
        for (j = 0; j < g->n; j++) {
            double sum = g->acc ? (double)g->c0[i * g->ldc + j] : 0, mag = sum < 0 ? -sum : sum, d;
            for (p = 0; p < g->k; p++) {
                d = (double)g->a[i * g->ra + p * g->ca] * (double)g->b[p * g->rb + j * g->cb];
                sum += d;
                mag += d < 0 ? -d : d;
            }
            d = (double)c[i * g->ldc + j] - sum;
            if (!((d < 0 ? -d : d) <= (double)(g->k + 2) * eps * mag)) return 0;
            if (!s->fused) {
                ipr_real want = gm_chain(g, i, j);
                if (want != c[i * g->ldc + j]) return 0;
            }
        }
        for (j = g->n; j < g->ldc; j++)
            if (ipr__memcmp(&c[i * g->ldc + j], &g->c0[i * g->ldc + j], sizeof *c)) return 0;
    }
    return 1;
}

static int gm_same(const gm_case *g, const ipr_real *x, const ipr_real *y)
{
    return ipr__memcmp(x, y, g->cn * sizeof *x) == 0;
}

static void gm_check(ipr_index m, ipr_index n, ipr_index k, int la, int lb, ipr_index pad, int acc)
{
    gm_case g = gm_make(m, n, k, la, lb, pad, acc);
    ipr_real *fused = NULL;
    int w;
    for (w = 0; w < GM_ISAS; w++) {
        ipr_real *c, *d;
        if (!gm_runs(w)) continue;
        c = gm_run(&gm_all[w], &g, 0);
        d = gm_run(&gm_all[w], &g, 1);
        if (!CHECK(gm_right(&gm_all[w], &g, c)) || !CHECK(gm_same(&g, c, d)))
            printf("  %s m=%d n=%d k=%d A %d B %d pad %d acc %d\n", ipr_isa_name(gm_all[w].isa), (int)m, (int)n, (int)k,
                   la, lb, (int)pad, acc);
        if (gm_all[w].fused && fused) CHECK(gm_same(&g, c, fused));
        free(d);
        if (gm_all[w].fused && !fused) fused = c;
        else free(c);
    }
    free(fused);
    gm_free(&g);
}

TEST(gemm_small)
{
    int t;
    gm_seed = 1;
    for (t = 0; t < 67; t++) gm_check(t + 1, 67 - t, 1 + t * 7 % 67, t % 3, t / 3 % 3, t % 2 * 3, t / 2 % 2);
    for (t = 0; t < 400; t++)
        gm_check(1 + gm_below(67), 1 + gm_below(67), 1 + gm_below(67), gm_below(3), gm_below(3), gm_below(5),
                 gm_below(2));
}

TEST(gemm_empty)
{
    int w, acc;
    for (w = 0; w < GM_ISAS; w++) for (acc = 0; acc < 2; acc++) {
        ipr_real c[6] = { 1, 2, 3, 4, 5, 6 }, x[1] = { 0 };
        gm_ws ws;
        if (!gm_runs(w)) continue;
        ws = gm_ws_new(gm_all[w].ws(2, 2, 0));
        gm_all[w].gemm(2, 2, 0, x, 1, 1, x, 1, 1, acc, c, 3, ws.p);
        CHECK(acc ? c[0] > 0 && c[4] > 0 : !(c[0] > 0 || c[1] > 0 || c[3] > 0 || c[4] > 0));
        CHECK(c[2] > 2 && c[5] > 5);
        gm_all[w].gemm(0, 2, 2, x, 1, 1, x, 1, 1, acc, c, 3, ws.p);
        gm_all[w].gemm(2, 0, 2, x, 1, 1, x, 1, 1, acc, c, 3, ws.p);
        CHECK(c[2] > 2 && c[5] > 5);
        free(ws.raw);
    }
}

/* Sizes that cross every block boundary; fewer where the checking is slow. */
TEST(gemm_blocks)
{
    static const ipr_index s[][3] = { { 30, 40, 900 }, { 3, 1100, 20 }, { 470, 18, 30 }, { 140, 20, 530 },
                                      { 9, 1300, 270 }, { 130, 70, 40 }, { 1, 500, 400 }, { 500, 1, 400 } };
    int i, l;
    gm_seed = 2;
    for (i = 0; i < (int)(sizeof s / sizeof *s); i++) for (l = 0; l < 2; l++)
        gm_check(s[i][0], s[i][1], s[i][2], l, (l + i) % 3, i % 2, l);
}

/* A piece of C computed alone has the bits of the whole. */
TEST(gemm_pieces)
{
    int w, t;
    gm_seed = 3;
    for (t = 0; t < 12; t++) {
        const ipr_index m = 20 + gm_below(150), n = 20 + gm_below(150), k = 1 + gm_below(t < 4 ? 700 : 60);
        gm_case g = gm_make(m, n, k, t % 3, t / 3 % 3, 1, t % 2);
        for (w = 0; w < GM_ISAS; w++) {
            ipr_real *whole, *part;
            int r;
            if (!gm_runs(w)) continue;
            whole = gm_run(&gm_all[w], &g, 0);
            for (r = 0; r < 8; r++) {
                const ipr_index i = gm_below((int)g.m), j = gm_below((int)g.n);
                const ipr_index pm = 1 + gm_below((int)(g.m - i)), pn = 1 + gm_below((int)(g.n - j));
                gm_ws ws = gm_ws_new(gm_all[w].ws(pm, pn, g.k));
                ipr_index x, y;
                int same = 1;
                part = gm_copy(&g);
                gm_all[w].gemm(pm, pn, g.k, g.a + i * g.ra, g.ra, g.ca, g.b + j * g.cb, g.rb, g.cb, g.acc,
                               part + i * g.ldc + j, g.ldc, ws.p);
                for (x = 0; x < g.m; x++) for (y = 0; y < g.ldc; y++) {
                    const int in = x >= i && x < i + pm && y >= j && y < j + pn;
                    const ipr_real *want = in ? &whole[x * g.ldc + y] : &g.c0[x * g.ldc + y];
                    if (ipr__memcmp(&part[x * g.ldc + y], want, sizeof *part)) same = 0;
                }
                CHECK(same);
                free(part);
                free(ws.raw);
            }
            free(whole);
        }
        gm_free(&g);
    }
}

/* The chain may be cut anywhere in k: the two halves one after the other give the bits of the whole. */
TEST(gemm_chain)
{
    int w, t;
    gm_seed = 4;
    for (t = 0; t < 6; t++) {
        gm_case g = gm_make(17 + t * 9, 61 - t * 7, 400, t % 2, t / 2 % 2, 0, 0);
        for (w = 0; w < GM_ISAS; w++) {
            const ipr_index k1 = 1 + gm_below(398);
            ipr_real *whole, *c;
            gm_ws ws;
            if (!gm_runs(w)) continue;
            whole = gm_run(&gm_all[w], &g, 0);
            c = gm_copy(&g);
            ws = gm_ws_new(gm_all[w].ws(g.m, g.n, g.k));
            gm_all[w].gemm(g.m, g.n, k1, g.a, g.ra, g.ca, g.b, g.rb, g.cb, 0, c, g.ldc, ws.p);
            gm_all[w].gemm(g.m, g.n, g.k - k1, g.a + k1 * g.ca, g.ra, g.ca, g.b + k1 * g.rb, g.rb, g.cb, 1, c, g.ldc,
                           ws.p);
            CHECK(gm_same(&g, whole, c));
            free(ws.raw);
            free(whole);
            free(c);
        }
        gm_free(&g);
    }
}

/* FNV-1a of portable bits: the same number on every machine. */
TEST(gemm_portable_bits)
{
    uint32_t h = 2166136261u;
    int t;
    gm_seed = 5;
    for (t = 0; t < 20; t++) {
        gm_case g = gm_make(1 + t * 3, 70 - t * 3, 1 + t * 29, t % 3, t % 2, 0, t % 2);
        ipr_real *c = gm_run(&gm_all[0], &g, 0);
        size_t i;
        for (i = 0; i < g.cn; i++) {
            const uint64_t b = sizeof(ipr_real) == 4 ? ipr__f32_bits((float)c[i]) : ipr__f64_bits((double)c[i]);
            h = (h ^ (uint32_t)b) * 16777619u;
            h = (h ^ (uint32_t)(b >> 32)) * 16777619u;
        }
        free(c);
        gm_free(&g);
    }
    if (!CHECK(h == gm_hash[IPR_REAL_IS_DOUBLE])) printf("  hash 0x%08xu\n", (unsigned)h);
}

/* A host's job system that runs items backwards, each as another worker: any order must do. */
static void gm_host(void *user, int items, ipr_task task, void *arg)
{
    int i;
    (*(int *)user)++;
    for (i = items - 1; i >= 0; i--) task(arg, i, i);
}

TEST(gemm_threads)
{
    static const ipr_index s[][3] = { { 64, 300, 128 }, { 200, 50, 300 }, { 1, 3000, 700 }, { 2000, 2, 700 },
                                      { 5, 5, 5 } };
    int i, th, calls = 0;
    gm_seed = 6;
    for (i = 0; i < 5; i++) {
        gm_case g = gm_make(s[i][0], s[i][1], s[i][2], i % 2, i / 2 % 2, i % 2, i % 2);
        ipr_real *one = NULL;
        for (th = 1; th <= 4; th++) {
            ipr_desc d = IPR_ZERO;
            ipr_ctx *c;
            ipr_real *out = gm_copy(&g);
            d.threads = th;
#if !defined(IPR_THREADS)
            d.parallel_fn = gm_host;
#else
            if (th == 3) d.parallel_fn = gm_host;
#endif
            d.parallel_user = &calls;
            c = ipr_open(&d, NULL);
            if (!CHECK(c != NULL)) { free(out); continue; }
            CHECK(ipr__gemm(c, g.m, g.n, g.k, g.a, g.ra, g.ca, g.b, g.rb, g.cb, g.acc, out, g.ldc));
            CHECK_EQ_I(ipr_status(c), IPR_OK);
            ipr_close(c);
            if (!one) one = out;
            else {
                CHECK(gm_same(&g, one, out));
                free(out);
            }
        }
        free(one);
        gm_free(&g);
    }
    CHECK(calls > 0);
}

static void suite_gemm(void)
{
    RUN(gemm_small); RUN(gemm_empty); RUN(gemm_blocks); RUN(gemm_pieces); RUN(gemm_chain); RUN(gemm_portable_bits);
    RUN(gemm_threads);
}
