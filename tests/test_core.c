/* test_core.c: properties and bad input of context, tensors, tape, ops and memory. Included by all.c after ipr.h
   (with IPR_IMPLEMENTATION, so private names are visible) and ipr_test.h. */
#include <stdlib.h>

/* ---- helpers ---- */

static ipr_ctx *core_open(void) { return ipr_open(NULL, NULL); }

/* Deterministic values in [-1,1], none nearer to 0 than 0.1, so that relu has no kink under a gradient check. */
static double core_value(ipr_rng *r)
{
    const double u = 0.1 + 0.9 * ipr_rng_uniform(r);
    return ipr_rng_below(r, 2) ? u : -u;
}

static void core_fill(ipr_ctx *c, ipr_tensor *t, uint32_t stream, int positive)
{
    ipr_rng r = ipr_rng_make(7, stream, 0);
    ipr_real *p = ipr_write(c, t, 0);
    ipr_index i;
    for (i = 0; p && i < ipr_count(t); i++) {
        const double v = core_value(&r);
        p[i] = (ipr_real)(positive && v < 0 ? 0.5 - v : v);
    }
}

static ipr_tensor *core_tensor(ipr_ctx *c, int rank, const ipr_index *dims, uint32_t stream)
{
    ipr_tensor *t = ipr_new(c, rank, dims);
    core_fill(c, t, stream, 0);
    return t;
}

static ipr_tensor *core_t1(ipr_ctx *c, ipr_index a) { return core_tensor(c, 1, &a, 1); }
static ipr_tensor *core_t2(ipr_ctx *c, ipr_index a, ipr_index b)
{
    ipr_index d[2];
    d[0] = a; d[1] = b;
    return core_tensor(c, 2, d, 2);
}
static ipr_tensor *core_t3(ipr_ctx *c, ipr_index a, ipr_index b, ipr_index e)
{
    ipr_index d[3];
    d[0] = a; d[1] = b; d[2] = e;
    return core_tensor(c, 3, d, 3);
}

static ipr_tensor *core_param(ipr_params *p, const char *name, ipr_index a, ipr_index b, ipr_index e, uint32_t stream, int positive)
{
    ipr_index d[3];
    ipr_tensor *t;
    d[0] = a; d[1] = b; d[2] = e;
    t = ipr_param(p, name, e ? 3 : b ? 2 : 1, d);
    core_fill(ipr_params_ctx(p), t, stream, positive);
    return t;
}

/* A scalar that depends on every element of y, on each by another weight. */
static ipr_tensor *core_weigh(ipr_ctx *c, ipr_tensor *y)
{
    ipr_index d[IPR_MAX_RANK];
    int i;
    if (ipr_is_poison(y)) return y;
    for (i = 0; i < ipr_rank(y); i++) d[i] = ipr_dim(y, i);
    return ipr_sum(c, ipr_mul(c, y, core_tensor(c, ipr_rank(y), d, 99)));
}

static ipr_tensor *core_ids(ipr_ctx *c, int n, const int32_t *v)
{
    ipr_index d = n;
    return ipr_from_i32(c, 1, &d, v);
}

/* ---- an allocator that counts, and fails at a given call ---- */

typedef struct { long calls, live, fail_at; int for_ever; size_t bytes; } core_heap;

static void *core_alloc(void *user, size_t n)
{
    core_heap *h = (core_heap *)user;
    const long k = h->calls++;
    void *p;
    if (h->fail_at >= 0 && (k == h->fail_at || (h->for_ever && k > h->fail_at))) return NULL;
    if (n > (size_t)1 << 30) return NULL;     /* an absurd request is refused without asking the system */
    p = malloc(n);
    if (p) { h->live++; h->bytes += n; }
    return p;
}

static void core_free(void *user, void *p, size_t n)
{
    core_heap *h = (core_heap *)user;
    h->live--;
    h->bytes -= n;
    free(p);
}

static ipr_desc core_desc(core_heap *h)
{
    ipr_desc d = IPR_ZERO;
    h->calls = h->live = 0;
    h->bytes = 0;
    h->fail_at = -1;
    h->for_ever = 0;
    d.allocator.alloc_fn = core_alloc;
    d.allocator.free_fn = core_free;
    d.allocator.user = h;
    return d;
}

/* ---- context and errors ---- */

TEST(core_open_close)
{
    core_heap h;
    ipr_desc d = core_desc(&h);
    int st = 1;
    ipr_ctx *c = ipr_open(NULL, &st);
    CHECK_EQ_I(st, IPR_OK);
    CHECK(c != NULL);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    CHECK_STR(ipr_message(c), "");
    CHECK(ipr_isa(c) >= IPR_ISA_PORTABLE);
    CHECK_EQ_I(ipr_threads(c), 1);
    ipr_close(c);
    ipr_close(NULL);
    CHECK_EQ_I(ipr_status(NULL), IPR_E_ARG);
    c = ipr_open(&d, &st);
    CHECK(h.live > 0);
    (void)core_t2(c, 10, 10);
    (void)ipr_params_new(c);                 /* forgotten: closing frees it */
    ipr_close(c);
    CHECK_EQ_I(h.live, 0);
    CHECK_EQ_I(h.bytes, 0);
    d.isa = 77;
    CHECK(!ipr_open(&d, &st));
    CHECK_EQ_I(st, IPR_E_ARG);
    d.isa = IPR_ISA_AUTO;
    d.threads = -1;
    CHECK(!ipr_open(&d, &st));
    CHECK_EQ_I(st, IPR_E_ARG);
    d.threads = 0;
    d.allocator.free_fn = NULL;
    CHECK(!ipr_open(&d, &st));
    CHECK_EQ_I(st, IPR_E_ARG);
#if !defined(IPR_THREADS)
    d = core_desc(&h);
    d.threads = 2;
    CHECK(!ipr_open(&d, &st));
    CHECK_EQ_I(st, IPR_E_UNAVAILABLE);
#endif
    CHECK_EQ_I(h.live, 0);
    CHECK_STR(ipr_status_name(IPR_E_NUMERIC), "IPR_E_NUMERIC");
    CHECK_STR(ipr_status_name(12345), "unknown status");
}

/* Status and message of c are as told, then cleared. Each part of text must be in the message. */
static void core_expect(ipr_ctx *c, int code, const char *fn, const char *text, int line)
{
    const char *m = ipr_message(c);
    const int ok = ipr_status(c) == code && strstr(m, fn) == m && strstr(m, text) != NULL;
    if (!ipr_test_true(ok, fn, __FILE__, line) && ipr_test.bad <= IPR_TEST_PRINT_MAX)
        printf("    status %s, message \"%s\", want %s with \"%s\"\n", ipr_status_name(ipr_status(c)), m, ipr_status_name(code), text);
    ipr_clear(c);
}
#define EXPECT(code, fn, text) core_expect(c, code, fn, text, __LINE__)
#define EXPECT_BAD(call, code, fn, text) do { CHECK(ipr_is_poison(call)); core_expect(c, code, fn, text, __LINE__); } while (0)

TEST(core_bad_shapes)
{
    ipr_ctx *c = core_open();
    ipr_tensor *a = core_t2(c, 3, 4), *b = core_t2(c, 5, 6), *v = core_t1(c, 4), *t3 = core_t3(c, 2, 3, 4), *list[2];
    const int32_t good[3] = {0, 1, 3}, high[3] = {0, 4, 1}, low[3] = {0, -1, 1};
    ipr_tensor *lab = core_ids(c, 3, good), *lab_high = core_ids(c, 3, high), *lab_low = core_ids(c, 3, low), *two = core_ids(c, 2, good);
    ipr_index d[8] = {1, 2, 3, 4, 5, 6, 7, 8}, zero[2] = {3, 0}, neg[2] = {3, -2}, guess2[2] = {-1, -1}, bad5[2] = {5, -1};
    ipr_index huge[3] = {(ipr_index)1 << (sizeof(ipr_index) * 8 - 2), 8, 8};
    int axes_twice[2] = {0, 0}, axes_far[2] = {0, 2};
    EXPECT_BAD(ipr_new(c, 7, d), IPR_E_SHAPE, "ipr_new: ", "rank 7");
    EXPECT_BAD(ipr_new(c, -1, d), IPR_E_SHAPE, "ipr_new: ", "rank -1");
    EXPECT_BAD(ipr_new(c, 2, NULL), IPR_E_ARG, "ipr_new: ", "NULL");
    EXPECT_BAD(ipr_new(c, 2, zero), IPR_E_SHAPE, "ipr_new: ", "size 0 in dimension 1");
    EXPECT_BAD(ipr_new(c, 2, neg), IPR_E_SHAPE, "ipr_new: ", "size -2");
    EXPECT_BAD(ipr_new(c, 3, huge), IPR_E_RANGE, "ipr_new: ", "overflow");
    EXPECT_BAD(ipr_new_i32(c, 3, huge), IPR_E_RANGE, "ipr_new_i32: ", "overflow");
    EXPECT_BAD(ipr_from(c, 1, d, NULL), IPR_E_ARG, "ipr_from: ", "NULL");
    EXPECT_BAD(ipr_from_i32(c, 1, d, NULL), IPR_E_ARG, "ipr_from_i32: ", "NULL");
    EXPECT_BAD(ipr_reshape(c, a, 2, bad5), IPR_E_SHAPE, "ipr_reshape: ", "3x4");
    EXPECT_BAD(ipr_reshape(c, a, 2, guess2), IPR_E_SHAPE, "ipr_reshape: ", "size -1");
    EXPECT_BAD(ipr_reshape(c, a, 2, zero), IPR_E_SHAPE, "ipr_reshape: ", "size 0");
    EXPECT_BAD(ipr_reshape(c, a, 1, d + 4), IPR_E_SHAPE, "ipr_reshape: ", "12 elements");
    EXPECT_BAD(ipr_reshape(c, a, 9, d), IPR_E_ARG, "ipr_reshape: ", "rank 9");
    EXPECT_BAD(ipr_slice(c, a, 2, 0, 1), IPR_E_RANGE, "ipr_slice: ", "3x4");
    EXPECT_BAD(ipr_slice(c, a, 0, 2, 2), IPR_E_RANGE, "ipr_slice: ", "2 elements from 2 on axis 0");
    EXPECT_BAD(ipr_slice(c, a, 0, -1, 1), IPR_E_RANGE, "ipr_slice: ", "3x4");
    EXPECT_BAD(ipr_slice(c, a, 0, 0, 0), IPR_E_RANGE, "ipr_slice: ", "3x4");
    EXPECT_BAD(ipr_select(c, a, 1, 4), IPR_E_RANGE, "ipr_s", "axis 1 of 3x4");
    EXPECT_BAD(ipr_permute(c, a, axes_twice), IPR_E_ARG, "ipr_permute: ", "once");
    EXPECT_BAD(ipr_permute(c, a, axes_far), IPR_E_ARG, "ipr_permute: ", "once");
    EXPECT_BAD(ipr_permute(c, a, NULL), IPR_E_ARG, "ipr_permute: ", "axes");
    EXPECT_BAD(ipr_transpose(c, v), IPR_E_SHAPE, "ipr_transpose: ", "rank 1");
    EXPECT_BAD(ipr_add(c, a, b), IPR_E_SHAPE, "ipr_add: ", "3x4 and 5x6: sizes 3 and 5");
    EXPECT_BAD(ipr_sub(c, a, b), IPR_E_SHAPE, "ipr_sub: ", "3x4 and 5x6");
    EXPECT_BAD(ipr_mul(c, a, b), IPR_E_SHAPE, "ipr_mul: ", "3x4 and 5x6");
    EXPECT_BAD(ipr_div(c, a, b), IPR_E_SHAPE, "ipr_div: ", "3x4 and 5x6");
    EXPECT_BAD(ipr_sum_axis(c, a, 2), IPR_E_RANGE, "ipr_sum_axis: ", "3x4");
    EXPECT_BAD(ipr_mean_axis(c, a, -3), IPR_E_RANGE, "ipr_mean_axis: ", "3x4");
    EXPECT_BAD(ipr_matmul(c, a, b), IPR_E_SHAPE, "ipr_matmul: ", "3x4 by 5x6: inner dimensions 4 and 5 differ");
    EXPECT_BAD(ipr_matmul(c, v, a), IPR_E_SHAPE, "ipr_matmul: ", "4 by 3x4");
    EXPECT_BAD(ipr_matmul(c, t3, core_t3(c, 3, 4, 2)), IPR_E_SHAPE, "ipr_matmul: ", "2x3x4 by 3x4x2");
    EXPECT_BAD(ipr_linear(c, a, b, NULL), IPR_E_SHAPE, "ipr_linear: ", "x 3x4 by w 5x6");
    EXPECT_BAD(ipr_linear(c, a, core_t2(c, 2, 4), v), IPR_E_SHAPE, "ipr_linear: ", "b is 4");
    EXPECT_BAD(ipr_softmax(c, ipr_sum(c, a)), IPR_E_SHAPE, "ipr_softmax: ", "scalar");
    EXPECT_BAD(ipr_log_softmax(c, ipr_sum(c, a)), IPR_E_SHAPE, "ipr_log_softmax: ", "scalar");
    EXPECT_BAD(ipr_cross_entropy(c, a, lab_high), IPR_E_RANGE, "ipr_cross_entropy: ", "label 4 in row 1");
    EXPECT_BAD(ipr_cross_entropy(c, a, lab_low), IPR_E_RANGE, "ipr_cross_entropy: ", "label -1");
    EXPECT_BAD(ipr_cross_entropy(c, a, two), IPR_E_SHAPE, "ipr_cross_entropy: ", "3x4");
    EXPECT_BAD(ipr_cross_entropy(c, t3, lab), IPR_E_SHAPE, "ipr_cross_entropy: ", "2x3x4");
    EXPECT_BAD(ipr_nll(c, a, lab_high), IPR_E_RANGE, "ipr_nll: ", "label 4");
    EXPECT_BAD(ipr_nll(c, a, two), IPR_E_SHAPE, "ipr_nll: ", "3x4");
    EXPECT_BAD(ipr_bce(c, a, b), IPR_E_SHAPE, "ipr_bce: ", "3x4 against 5x6");
    EXPECT_BAD(ipr_mse(c, a, b), IPR_E_SHAPE, "ipr_mse: ", "3x4 against 5x6");
    EXPECT_BAD(ipr_kl_div(c, a, b, 1), IPR_E_SHAPE, "ipr_kl_div: ", "student 3x4, teacher 5x6");
    EXPECT_BAD(ipr_kl_div(c, a, a, 0), IPR_E_RANGE, "ipr_kl_div: ", "temperature 0");
    EXPECT_BAD(ipr_embedding(c, a, lab_low, -1), IPR_E_RANGE, "ipr_embedding: ", "id -1 at 1");
    EXPECT_BAD(ipr_embedding(c, core_t2(c, 2, 4), lab, -1), IPR_E_RANGE, "ipr_embedding: ", "id 3 at 2");
    EXPECT_BAD(ipr_embedding(c, t3, lab, -1), IPR_E_SHAPE, "ipr_embedding: ", "2x3x4");
    EXPECT_BAD(ipr_dropout(c, a, 1), IPR_E_RANGE, "ipr_dropout: ", "p = 1");
    EXPECT_BAD(ipr_dropout(c, a, -0.5), IPR_E_RANGE, "ipr_dropout: ", "p = -0.5");
    list[0] = a; list[1] = b;
    EXPECT_BAD(ipr_concat(c, list, 2, 0), IPR_E_SHAPE, "ipr_concat: ", "3x4 and 5x6");
    EXPECT_BAD(ipr_concat(c, list, 2, 2), IPR_E_RANGE, "ipr_concat: ", "3x4");
    EXPECT_BAD(ipr_concat(c, list, 0, 0), IPR_E_ARG, "ipr_concat: ", "0 tensors");
    EXPECT_BAD(ipr_concat(c, NULL, 2, 0), IPR_E_ARG, "ipr_concat: ", "at least one");
    list[1] = lab;
    EXPECT_BAD(ipr_concat(c, list, 2, 0), IPR_E_SHAPE, "ipr_concat: ", "3x4 and 3");
    EXPECT_BAD(ipr_argmax(c, ipr_sum(c, a)), IPR_E_SHAPE, "ipr_argmax: ", "scalar");
    (void)ipr_item(c, a);
    EXPECT(IPR_E_SHAPE, "ipr_item: ", "12 elements");
    CHECK_EQ_I(ipr_backward(c, a), IPR_E_SHAPE);
    EXPECT(IPR_E_SHAPE, "ipr_backward: ", "3x4");
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, a)), IPR_E_STATE);
    EXPECT(IPR_E_STATE, "ipr_backward: ", "requires a gradient");
    CHECK_EQ_I(ipr_backward(c, NULL), IPR_E_ARG);
    EXPECT(IPR_E_ARG, "ipr_backward: ", "NULL");
    CHECK_EQ_I(ipr_backward(NULL, a), IPR_E_ARG);
    CHECK(ipr_add(NULL, a, a) == NULL);
    ipr_step_end(NULL);
    ipr_set_training(NULL, 1);
    ipr_no_grad(NULL, 1);
    ipr_clear(NULL);
    ipr_close(c);
}

TEST(core_wrong_type_and_maps)
{
    ipr_ctx *c = core_open();
    const int32_t id[3] = {0, 1, 2};
    ipr_tensor *a = core_t2(c, 3, 4), *n = core_ids(c, 3, id), *tr = ipr_transpose(c, a);
    EXPECT_BAD(ipr_exp(c, n), IPR_E_ARG, "ipr_exp: ", "int32");
    EXPECT_BAD(ipr_add(c, a, n), IPR_E_ARG, "ipr_add: ", "int32");
    EXPECT_BAD(ipr_matmul(c, n, a), IPR_E_ARG, "ipr_matmul: ", "int32");
    EXPECT_BAD(ipr_cross_entropy(c, a, a), IPR_E_ARG, "ipr_cross_entropy: ", "int32");
    EXPECT_BAD(ipr_embedding(c, a, a, -1), IPR_E_ARG, "ipr_embedding: ", "int32");
    EXPECT_BAD(ipr_embedding(c, n, n, -1), IPR_E_ARG, "ipr_embedding: ", "reals");
    EXPECT_BAD(ipr_argmax(c, n), IPR_E_ARG, "ipr_argmax: ", "int32");
    CHECK(!ipr_read(c, n)); EXPECT(IPR_E_ARG, "ipr_read: ", "int32");
    CHECK(!ipr_read_i32(c, a)); EXPECT(IPR_E_ARG, "ipr_read_i32: ", "reals");
    CHECK(!ipr_write(c, n, 0)); EXPECT(IPR_E_ARG, "ipr_write: ", "int32");
    CHECK(!ipr_write_i32(c, a, 0)); EXPECT(IPR_E_ARG, "ipr_write_i32: ", "reals");
    CHECK(!ipr_read(c, tr)); EXPECT(IPR_E_ARG, "ipr_read: ", "strided");
    CHECK(!ipr_read(c, NULL)); EXPECT(IPR_E_ARG, "ipr_read: ", "NULL");
    CHECK(!ipr_grad(c, a));
    CHECK_EQ_I(ipr_status(c), IPR_OK);       /* no gradient is not an error */
    CHECK_EQ_I(ipr_backward(c, n), IPR_E_ARG);
    EXPECT(IPR_E_ARG, "ipr_backward: ", "int32");
    ipr_require_grad(n, 1);                  /* ids have no gradient */
    CHECK(!ipr_grad(c, a));
    CHECK_EQ_I(ipr_rank(NULL), 0);
    CHECK_EQ_I(ipr_count(NULL), 0);
    CHECK_EQ_I(ipr_dim(a, 5), 0);
    CHECK_EQ_I(ipr_dim(a, -1), 4);
    CHECK_EQ_I(ipr_dim(a, -3), 0);
    ipr_close(c);
}

/* Every op of tensors in, tensor out, by one signature, for the tests that treat all alike. */
typedef ipr_tensor *(*core_op1)(ipr_ctx *c, ipr_tensor *x);
typedef ipr_tensor *(*core_op2)(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b);
static ipr_tensor *core_reshape(ipr_ctx *c, ipr_tensor *x) { ipr_index d = -1; return ipr_reshape(c, x, 1, &d); }
static ipr_tensor *core_slice(ipr_ctx *c, ipr_tensor *x) { return ipr_slice(c, x, 0, 0, 1); }
static ipr_tensor *core_select(ipr_ctx *c, ipr_tensor *x) { return ipr_select(c, x, 0, 0); }
static ipr_tensor *core_permute(ipr_ctx *c, ipr_tensor *x) { int axes[2] = {1, 0}; return ipr_permute(c, x, axes); }
static ipr_tensor *core_affine(ipr_ctx *c, ipr_tensor *x) { return ipr_affine(c, x, 2, 1); }
static ipr_tensor *core_sum_axis(ipr_ctx *c, ipr_tensor *x) { return ipr_sum_axis(c, x, 0); }
static ipr_tensor *core_mean_axis(ipr_ctx *c, ipr_tensor *x) { return ipr_mean_axis(c, x, 0); }
static ipr_tensor *core_linear(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr_linear(c, a, b, NULL); }
static ipr_tensor *core_kl(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr_kl_div(c, a, b, 2); }
static ipr_tensor *core_embedding(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr_embedding(c, a, b, -1); }
static ipr_tensor *core_dropout(ipr_ctx *c, ipr_tensor *x) { return ipr_dropout(c, x, 0.5); }
static ipr_tensor *core_reverse(ipr_ctx *c, ipr_tensor *x) { return ipr_grad_reverse(c, x, 1); }
static ipr_tensor *core_concat(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b)
{
    ipr_tensor *l[2];
    l[0] = a; l[1] = b;
    return ipr_concat(c, l, 2, 0);
}
static const core_op1 core_ops1[] = { core_reshape, core_slice, core_select, core_permute, ipr_transpose, ipr_contiguous, core_affine,
    ipr_exp, ipr_log, ipr_sqrt, ipr_square, ipr_relu, ipr_sigmoid, ipr_tanh, ipr_sum, ipr_mean, core_sum_axis, core_mean_axis,
    ipr_softmax, ipr_log_softmax, core_dropout, core_reverse, ipr_argmax };
static const core_op2 core_ops2[] = { ipr_add, ipr_sub, ipr_mul, ipr_div, ipr_matmul, core_linear, ipr_cross_entropy, ipr_nll,
    ipr_bce, ipr_mse, core_kl, core_embedding, core_concat };

TEST(core_null_and_poison)
{
    ipr_ctx *c = core_open();
    ipr_tensor *a = core_t2(c, 3, 4), *bad;
    size_t i;
    uint64_t nodes;
    for (i = 0; i < sizeof core_ops1 / sizeof core_ops1[0]; i++) EXPECT_BAD(core_ops1[i](c, NULL), IPR_E_ARG, "ipr_", "NULL");
    for (i = 0; i < sizeof core_ops2 / sizeof core_ops2[0]; i++) EXPECT_BAD(core_ops2[i](c, NULL, a), IPR_E_ARG, "ipr_", "NULL");
    for (i = 0; i < sizeof core_ops2 / sizeof core_ops2[0]; i++) {
        CHECK(ipr_is_poison(core_ops2[i](c, a, NULL)));
        CHECK_EQ_I(ipr_status(c), IPR_E_ARG);
        ipr_clear(c);
    }
    bad = ipr_matmul(c, a, a);
    CHECK(ipr_is_poison(bad));
    ipr_clear(c);
    /* poison goes through silently, whatever the error state */
    nodes = ipr_stats_get(c).nodes;
    for (i = 0; i < sizeof core_ops1 / sizeof core_ops1[0]; i++) {
        CHECK(ipr_is_poison(core_ops1[i](c, bad)));
        CHECK_EQ_I(ipr_status(c), IPR_OK);
    }
    for (i = 0; i < sizeof core_ops2 / sizeof core_ops2[0]; i++) {
        CHECK(ipr_is_poison(core_ops2[i](c, bad, bad)));
        CHECK_EQ_I(ipr_status(c), IPR_OK);
    }
    CHECK_EQ_I(ipr_stats_get(c).nodes, nodes);
    CHECK(!ipr_read(c, bad));
    CHECK_EQ_I(ipr_rank(bad), 0);
    ipr_require_grad(bad, 1);
    ipr_clear(c);
    /* but a loss that is poison must never look like a training step that worked */
    CHECK(ipr_backward(c, bad) != IPR_OK);
    ipr_close(c);
}

TEST(core_first_error_and_recovery)
{
    ipr_ctx *c = core_open();
    ipr_params *p = ipr_params_new(c);
    ipr_tensor *w = core_param(p, "w", 3, 4, 0, 1, 0), *y;
    y = ipr_matmul(c, w, w);
    (void)ipr_reshape(c, w, 9, NULL);
    (void)ipr_exp(c, NULL);
    CHECK_EQ_I(ipr_status(c), IPR_E_SHAPE);
    CHECK_STR(ipr_message(c), "ipr_matmul: 3x4 by 3x4: inner dimensions 4 and 3 differ");
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, y)), IPR_E_SHAPE);
    ipr_step_end(c);
    ipr_clear(c);
    CHECK_STR(ipr_message(c), "");
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_square(c, w))), IPR_OK);
    if (CHECK(ipr_grad(c, w) != NULL)) CHECK_NEAR(ipr_grad(c, w)[5], 2 * ipr_read(c, w)[5], 1e-6);
    ipr_close(c);
}

TEST(core_nan_loss)
{
    ipr_ctx *c = core_open();
    ipr_params *p = ipr_params_new(c);
    ipr_tensor *w = core_param(p, "w", 3, 0, 0, 1, 0);
    ipr_write(c, w, 1)[1] = (ipr_real)-1;
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_log(c, w))), IPR_E_NUMERIC);
    EXPECT(IPR_E_NUMERIC, "ipr_backward: ", "NaN");
    CHECK(!ipr_grad(c, w));
    ipr_write(c, w, 1)[1] = (ipr_real)0;
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_log(c, w))), IPR_E_NUMERIC);
    EXPECT(IPR_E_NUMERIC, "ipr_backward: ", "the loss is");
    ipr_close(c);
}

/* ---- parameters ---- */

TEST(core_params)
{
    ipr_ctx *c = core_open();
    ipr_params *p = ipr_params_new(c), *q, *r = ipr_params_new(c);
    ipr_index d[2] = {2, 3}, e[2] = {3, 2};
    ipr_tensor *w = core_param(p, "w", 2, 3, 0, 1, 0), *b = core_param(p, "b", 3, 0, 0, 2, 0);
    CHECK_EQ_I(ipr_params_count(p), 2);
    CHECK_EQ_I(ipr_params_elements(p), 9);
    CHECK_STR(ipr_params_name(p, 1), "b");
    CHECK(ipr_params_at(p, 0) == w && ipr_params_find(p, "b") == b);
    CHECK(!ipr_params_find(p, "nothing") && !ipr_params_at(p, 2) && !ipr_params_name(p, -1));
    CHECK(ipr_params_ctx(p) == c);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    EXPECT_BAD(ipr_param(p, "w", 2, d), IPR_E_ARG, "ipr_param: ", "\"w\" exists");
    EXPECT_BAD(ipr_param(p, "", 2, d), IPR_E_ARG, "ipr_param: ", "name is empty");
    EXPECT_BAD(ipr_param(p, NULL, 2, d), IPR_E_ARG, "ipr_param: ", "name is empty");
    EXPECT_BAD(ipr_param(p, "z", 7, d), IPR_E_SHAPE, "ipr_param: ", "rank 7");
    CHECK_EQ_I(ipr_params_count(p), 2);
    q = ipr_params_clone(p);
    if (!CHECK(q != NULL)) return;
    CHECK(ipr_params_at(q, 0) != w);
    CHECK(memcmp(ipr_read(c, ipr_params_at(q, 0)), ipr_read(c, w), 6 * sizeof(ipr_real)) == 0);
    ipr_write(c, w, 1)[0] = (ipr_real)42;
    CHECK_EQ_I(ipr_params_copy(q, p), IPR_OK);
    CHECK_NEAR(ipr_read(c, ipr_params_at(q, 0))[0], 42, 0);
    (void)ipr_param(r, "w", 2, e);
    CHECK_EQ_I(ipr_params_copy(r, p), IPR_E_SHAPE);
    EXPECT(IPR_E_SHAPE, "ipr_params_copy: ", "2 parameters into 1");
    (void)ipr_param(r, "b", 1, d + 1);
    CHECK_EQ_I(ipr_params_copy(r, p), IPR_E_SHAPE);
    EXPECT(IPR_E_SHAPE, "ipr_params_copy: ", "\"w\" is 2x3, the target's is 3x2");
    CHECK_NEAR(ipr_read(c, ipr_params_at(r, 1))[0], 0, 0);     /* nothing was changed */
    CHECK(ipr_params_copy(NULL, p) != IPR_OK);
    CHECK(ipr_params_copy(p, NULL) != IPR_OK);
    ipr_clear(c);
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, w)), IPR_OK);
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, w)), IPR_OK);         /* gradients add up */
    CHECK_NEAR(ipr_grad(c, w)[3], 2, 0);
    ipr_params_zero_grad(p);
    CHECK(ipr_grad(c, w) == NULL);                              /* as PyTorch's None */
    ipr_params_free(q);
    ipr_params_free(NULL);
    ipr_params_zero_grad(NULL);
    CHECK(!ipr_params_clone(NULL) && !ipr_params_new(NULL) && !ipr_param(NULL, "x", 1, d));
    ipr_close(c);
}

/* ---- views ---- */

TEST(core_views)
{
    ipr_ctx *c = core_open();
    ipr_params *p = ipr_params_new(c);
    ipr_index d[3] = {2, 3, 4}, flat[2] = {4, -1}, i, j, k;
    ipr_tensor *x = ipr_param(p, "x", 3, d), *y, *g;
    ipr_real *w = ipr_write(c, x, 0);
    const ipr_real *r;
    const int axes[3] = {2, 0, 1};
    for (i = 0; i < 24; i++) w[i] = (ipr_real)i;

    y = ipr_contiguous(c, ipr_permute(c, x, axes));             /* [4,2,3] */
    CHECK(ipr_rank(y) == 3 && ipr_dim(y, 0) == 4 && ipr_dim(y, 1) == 2 && ipr_dim(y, 2) == 3);
    r = ipr_read(c, y);
    for (i = 0; i < 4; i++) for (j = 0; j < 2; j++) for (k = 0; k < 3; k++)
        CHECK_NEAR(r[(i * 2 + j) * 3 + k], (j * 3 + k) * 4 + i, 0);
    g = ipr_mul(c, y, core_t3(c, 4, 2, 3));
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, g)), IPR_OK);
    r = ipr_read(c, core_t3(c, 4, 2, 3));
    for (i = 0; i < 4; i++) for (j = 0; j < 2; j++) for (k = 0; k < 3; k++)
        CHECK_NEAR(ipr_grad(c, x)[(j * 3 + k) * 4 + i], r[(i * 2 + j) * 3 + k], 0);

    /* a slice of a slice, and its gradient: only the window is touched */
    ipr_params_zero_grad(p);
    y = ipr_slice(c, ipr_slice(c, x, 1, 1, 2), 2, 1, 3);        /* [2,2,3] */
    CHECK_EQ_I(ipr_count(y), 12);
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_affine(c, y, 3, 0))), IPR_OK);
    for (i = 0; i < 2; i++) for (j = 0; j < 3; j++) for (k = 0; k < 4; k++)
        CHECK_NEAR(ipr_grad(c, x)[(i * 3 + j) * 4 + k], j >= 1 && k >= 1 ? 3 : 0, 0);
    CHECK_NEAR(ipr_read(c, ipr_contiguous(c, y))[11], 23, 0);

    /* contiguous windows are mapped in place, gradients too */
    ipr_params_zero_grad(p);
    y = ipr_select(c, x, 0, 1);                                 /* [3,4], contiguous */
    CHECK(ipr_rank(y) == 2 && ipr_read(c, y) == ipr_read(c, x) + 12);
    y = ipr_select(c, y, -2, 2);                                /* [4] */
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_square(c, y))), IPR_OK);
    for (i = 0; i < 24; i++) CHECK_NEAR(ipr_grad(c, x)[i], i >= 20 ? 2 * i : 0, 0);
    y = ipr_select(c, x, 2, 3);                                 /* [2,3], strided */
    CHECK(ipr_rank(y) == 2 && ipr_dim(y, 0) == 2 && ipr_dim(y, 1) == 3);
    r = ipr_read(c, ipr_contiguous(c, y));
    for (i = 0; i < 6; i++) CHECK_NEAR(r[i], 4 * i + 3, 0);

    /* reshape of a strided view copies; -1 is worked out */
    ipr_params_zero_grad(p);
    y = ipr_reshape(c, ipr_transpose(c, x), 2, flat);           /* [2,4,3] -> [4,6] */
    CHECK(ipr_dim(y, 0) == 4 && ipr_dim(y, 1) == 6);
    CHECK_NEAR(ipr_read(c, y)[1], 4, 0);
    CHECK_EQ_I(ipr_backward(c, core_weigh(c, y)), IPR_OK);
    ipr_close(c);
}

/* Views of views of random shapes against index arithmetic on the base. */
TEST(core_views_random)
{
    ipr_ctx *c = core_open();
    ipr_rng r = ipr_rng_make(11, 0, 0);
    int round, i, step;
    for (round = 0; round < 60; round++) {
        ipr_index d[4], off = 0, dim[4], str[4], at[4] = {0, 0, 0, 0}, n;
        const int rank = 1 + (int)ipr_rng_below(&r, 4);
        int rk = rank;
        ipr_tensor *x, *v;
        const ipr_real *base, *got;
        for (i = 0; i < rank; i++) d[i] = 1 + (ipr_index)ipr_rng_below(&r, 5);
        x = v = core_tensor(c, rank, d, (uint32_t)round);
        for (i = rank - 1, n = 1; i >= 0; i--) { dim[i] = d[i]; str[i] = n; n *= d[i]; }
        for (step = 0; step < 3 && rk > 0; step++) {
            const int a = (int)ipr_rng_below(&r, (uint32_t)rk);
            const uint32_t what = ipr_rng_below(&r, 3);
            if (what == 0) {
                const ipr_index s = (ipr_index)ipr_rng_below(&r, (uint32_t)dim[a]), len = 1 + (ipr_index)ipr_rng_below(&r, (uint32_t)(dim[a] - s));
                v = ipr_slice(c, v, a, s, len);
                off += s * str[a];
                dim[a] = len;
            } else if (what == 1) {
                const ipr_index s = (ipr_index)ipr_rng_below(&r, (uint32_t)dim[a]);
                v = ipr_select(c, v, a, s);
                off += s * str[a];
                for (i = a, rk--; i < rk; i++) { dim[i] = dim[i + 1]; str[i] = str[i + 1]; }
            } else {
                int axes[4];
                ipr_index d2[4], s2[4];
                for (i = 0; i < rk; i++) axes[i] = (i + a) % rk;
                v = ipr_permute(c, v, axes);
                for (i = 0; i < rk; i++) { d2[i] = dim[axes[i]]; s2[i] = str[axes[i]]; }
                for (i = 0; i < rk; i++) { dim[i] = d2[i]; str[i] = s2[i]; }
            }
        }
        if (!CHECK_EQ_I(ipr_rank(v), rk)) break;
        for (i = 0, n = 1; i < rk; i++) { CHECK_EQ_I(ipr_dim(v, i), dim[i]); n *= dim[i]; }
        CHECK_EQ_I(ipr_count(v), n);
        base = ipr_read(c, x);
        got = ipr_read(c, ipr_contiguous(c, v));
        if (!CHECK(base && got)) break;
        for (; n > 0; n--, got++) {
            ipr_index o = off;
            for (i = 0; i < rk; i++) o += at[i] * str[i];
            CHECK_NEAR(*got, base[o], 0);
            for (i = rk - 1; i >= 0 && ++at[i] == dim[i]; i--) at[i] = 0;
        }
        ipr_step_end(c);
    }
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

/* ---- broadcasting against a naive reference ---- */

static double core_naive(int op, double a, double b) { return op == 0 ? a + b : op == 1 ? a - b : op == 2 ? a * b : a / b; }

TEST(core_broadcast)
{
    static const core_op2 ops[4] = { ipr_add, ipr_sub, ipr_mul, ipr_div };
    ipr_ctx *c = core_open();
    ipr_rng r = ipr_rng_make(5, 0, 0);
    const double tol = IPR_REAL_IS_DOUBLE ? 1e-12 : 2e-5;
    int round, i, op;
    for (round = 0; round < 80; round++) {
        ipr_index da[4], db[4], at[4] = {0, 0, 0, 0}, n = 1, dy[4];
        const int ra = (int)ipr_rng_below(&r, 5), rb = (int)ipr_rng_below(&r, 5), ry = ra > rb ? ra : rb;
        ipr_tensor *a, *b, *y, *k;
        double ga[625], gb[625];
        const ipr_real *pa, *pb, *py, *pk;
        for (i = 0; i < ry; i++) dy[i] = 1 + (ipr_index)ipr_rng_below(&r, 4);
        for (i = 0; i < ra; i++) da[i] = ipr_rng_below(&r, 3) ? dy[ry - ra + i] : 1;
        for (i = 0; i < rb; i++) db[i] = ipr_rng_below(&r, 3) ? dy[ry - rb + i] : 1;
        for (i = 0; i < ry; i++) {
            const ipr_index x = i < ry - ra ? 1 : da[i - ry + ra], z = i < ry - rb ? 1 : db[i - ry + rb];
            dy[i] = x > z ? x : z;
            n *= dy[i];
        }
        op = round & 3;
        a = core_tensor(c, ra, da, (uint32_t)round);
        b = core_tensor(c, rb, db, (uint32_t)round + 1000);
        ipr_require_grad(a, 1);
        ipr_require_grad(b, 1);
        y = ops[op](c, a, b);
        if (!CHECK_EQ_I(ipr_rank(y), ry) || !CHECK_EQ_I(ipr_count(y), n)) break;
        k = core_tensor(c, ry, dy, 99);
        pa = ipr_read(c, a); pb = ipr_read(c, b); py = ipr_read(c, y); pk = ipr_read(c, k);
        CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_mul(c, y, k))), IPR_OK);
        for (i = 0; i < 625; i++) ga[i] = gb[i] = 0;
        for (; n > 0; n--, py++, pk++) {
            ipr_index oa = 0, ob = 0;
            double x, z;
            for (i = 0; i < ra; i++) oa = oa * da[i] + (da[i] == 1 ? 0 : at[ry - ra + i]);
            for (i = 0; i < rb; i++) ob = ob * db[i] + (db[i] == 1 ? 0 : at[ry - rb + i]);
            x = (double)pa[oa]; z = (double)pb[ob];
            CHECK_NEAR(*py, core_naive(op, x, z), tol * 10);
            ga[oa] += (double)*pk * (op < 2 ? 1 : op == 2 ? z : 1 / z);
            gb[ob] += (double)*pk * (op == 0 ? 1 : op == 1 ? -1 : op == 2 ? x : -x / (z * z));
            for (i = ry - 1; i >= 0 && ++at[i] == dy[i]; i--) at[i] = 0;
        }
        for (i = 0; i < (int)ipr_count(a); i++) CHECK_NEAR(ipr_grad(c, a)[i], ga[i], tol * (1 + (ga[i] < 0 ? -ga[i] : ga[i])) * 10);
        for (i = 0; i < (int)ipr_count(b); i++) CHECK_NEAR(ipr_grad(c, b)[i], gb[i], tol * (1 + (gb[i] < 0 ? -gb[i] : gb[i])) * 10);
        ipr_step_end(c);
    }
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
}

/* ---- numeric gradients: every differentiable op of the table must have a case ---- */

typedef struct core_grad {
    ipr_params *p;
    ipr_tensor *a, *b, *v, *w, *t3, *u3, *pos, *table;          /* [3,4] [3,4] [4] [5,4] [2,3,4] [2,4,2] [3,4]>0.6 [7,3] */
    ipr_tensor *x, *w_ih, *w_hh, *b_ih, *b_hh, *h0, *c0, *gate;  /* recurrent: T=3 B=2 I=3 H=4 */
} core_grad;

typedef ipr_tensor *(*core_case_fn)(ipr_ctx *c, core_grad *g);

static ipr_tensor *cg_contiguous(ipr_ctx *c, core_grad *g)
{
    static const int axes[3] = {1, 2, 0};
    return core_weigh(c, ipr_contiguous(c, ipr_permute(c, ipr_slice(c, g->t3, 2, 1, 2), axes)));
}
static ipr_tensor *cg_add(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_add(c, ipr_add(c, g->a, g->b), ipr_add(c, g->v, g->v))); }
static ipr_tensor *cg_sub(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_sub(c, ipr_sub(c, g->v, g->a), ipr_select(c, g->t3, 0, 1))); }
static ipr_tensor *cg_mul(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_mul(c, ipr_mul(c, g->a, g->a), ipr_mul(c, g->t3, g->v))); }
static ipr_tensor *cg_div(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_div(c, ipr_div(c, g->t3, g->pos), ipr_slice(c, g->pos, 0, 1, 1))); }
static ipr_tensor *cg_affine(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_affine(c, ipr_transpose(c, g->a), -1.5, 0.25)); }
static ipr_tensor *cg_exp(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_exp(c, g->a)); }
static ipr_tensor *cg_log(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_log(c, g->pos)); }
static ipr_tensor *cg_sqrt(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_sqrt(c, g->pos)); }
static ipr_tensor *cg_square(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_square(c, g->a)); }
static ipr_tensor *cg_relu(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_relu(c, g->a)); }
static ipr_tensor *cg_sigmoid(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_sigmoid(c, g->a)); }
static ipr_tensor *cg_tanh(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_tanh(c, g->a)); }
static ipr_tensor *cg_sum(ipr_ctx *c, core_grad *g) { return ipr_sum(c, ipr_square(c, ipr_select(c, g->t3, 1, 1))); }
static ipr_tensor *cg_sum_axis(ipr_ctx *c, core_grad *g)
{
    ipr_tensor *s = ipr_mul(c, core_weigh(c, ipr_sum_axis(c, g->t3, 0)), core_weigh(c, ipr_sum_axis(c, g->t3, 1)));
    return ipr_mul(c, s, core_weigh(c, ipr_sum_axis(c, g->t3, -1)));
}
static ipr_tensor *cg_mean(ipr_ctx *c, core_grad *g) { return ipr_mul(c, ipr_mean(c, g->a), core_weigh(c, ipr_mean_axis(c, g->t3, 1))); }
static ipr_tensor *cg_matmul(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_matmul(c, g->a, ipr_transpose(c, g->w))); }
static ipr_tensor *cg_matmul32(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_matmul(c, g->t3, ipr_transpose(c, g->w))); }
static ipr_tensor *cg_matmul33(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_matmul(c, g->t3, g->u3)); }
static ipr_tensor *cg_linear(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_linear(c, g->t3, g->w, NULL)); }
static ipr_tensor *cg_linear_bias(ipr_ctx *c, core_grad *g)
{
    return core_weigh(c, ipr_linear(c, g->a, g->w, ipr_sum_axis(c, g->w, 1)));
}
static ipr_tensor *cg_softmax(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_softmax(c, g->t3)); }
static ipr_tensor *cg_log_softmax(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_log_softmax(c, g->t3)); }
static ipr_tensor *cg_cross_entropy(ipr_ctx *c, core_grad *g)
{
    const int32_t lab[3] = {3, -100, 0};
    return ipr_cross_entropy(c, ipr_affine(c, g->a, 2, 0), core_ids(c, 3, lab));
}
static ipr_tensor *cg_nll(ipr_ctx *c, core_grad *g)
{
    const int32_t lab[3] = {-100, 1, 1};
    return ipr_nll(c, g->a, core_ids(c, 3, lab));
}
static ipr_tensor *cg_bce(ipr_ctx *c, core_grad *g)
{
    ipr_index d[2] = {3, 4}, i;
    ipr_tensor *t = ipr_new(c, 2, d);
    for (i = 0; i < 12; i++) ipr_write(c, t, 1)[i] = (ipr_real)((double)(i % 5) / 4);
    return ipr_bce(c, g->a, t);
}
static ipr_tensor *cg_mse(ipr_ctx *c, core_grad *g) { return ipr_mse(c, g->a, g->b); }
static ipr_tensor *cg_kl_div(ipr_ctx *c, core_grad *g) { return ipr_kl_div(c, g->a, core_t2(c, 3, 4), 2.5); }
static ipr_tensor *cg_embedding(ipr_ctx *c, core_grad *g)
{
    const int32_t ids[6] = {2, 0, 2, 6, 5, 2};
    ipr_index d[2] = {2, 3};
    return core_weigh(c, ipr_embedding(c, g->table, ipr_from_i32(c, 2, d, ids), -1));
}
static ipr_tensor *cg_dropout(ipr_ctx *c, core_grad *g)
{
    ipr_tensor *y;
    ipr_set_training(c, 1);
    y = core_weigh(c, ipr_dropout(c, ipr_dropout(c, g->t3, 0.3), 0.2));
    ipr_set_training(c, 0);
    return y;
}
static ipr_tensor *cg_concat0(ipr_ctx *c, core_grad *g) { return core_weigh(c, core_concat(c, g->a, g->w)); }
static ipr_tensor *cg_concat1(ipr_ctx *c, core_grad *g)
{
    ipr_tensor *l[3];
    l[0] = g->t3; l[1] = ipr_slice(c, g->t3, 2, 1, 2); l[2] = g->t3;
    return core_weigh(c, ipr_concat(c, l, 3, -1));
}
static ipr_tensor *cg_reverse(ipr_ctx *c, core_grad *g) { return core_weigh(c, ipr_grad_reverse(c, g->a, -1)); }

#ifndef IPR_NO_CNN
static ipr_tensor *core_conv(ipr_ctx *c, core_grad *g, ipr_index groups, ipr_tensor *b, const ipr_conv2d_desc *d)
{
    const ipr_index xd[4] = {1, 2, 3, 4}, wd[4] = {4, 2 / groups, 2 * groups, 3};
    ipr_tensor *x = ipr_reshape(c, g->t3, 4, xd), *w = ipr_reshape(c, g->w_ih, 4, wd);
    return core_weigh(c, ipr_conv2d(c, x, w, b, d));
}
static ipr_tensor *cg_conv2d(ipr_ctx *c, core_grad *g) { return core_conv(c, g, 1, NULL, NULL); }
static ipr_tensor *cg_conv2d_all(ipr_ctx *c, core_grad *g)
{
    ipr_conv2d_desc d = IPR_ZERO;
    d.stride[0] = 1; d.stride[1] = 2; d.padding[0] = 3; d.padding[1] = 1; d.dilation[0] = 2; d.groups = 2;
    return core_conv(c, g, 2, g->v, &d);
}
/* x [4,4,3] (w_ih) and scale, bias [4] of h0's rows; variant bits: 1 relu, 2 no scale and bias, 4 evaluation */
static ipr_tensor *core_norm(ipr_ctx *c, core_grad *g, int op, int variant)
{
    const ipr_index xd[3] = {4, 4, 3}, sd[2] = {4, 3};
    ipr_tensor *x = ipr_reshape(c, g->w_ih, 3, xd), *w = variant & 2 ? NULL : g->v, *b = variant & 2 ? NULL : ipr_select(c, g->h0, 0, 1), *y;
    ipr_norm_desc d = IPR_ZERO;
    d.relu = variant & 1;
    ipr_set_training(c, !(variant & 4));
    if (op == IPR_OP_BATCH_NORM) y = ipr_batch_norm(c, x, w, b, ipr_new(c, 1, sd), ipr_square(c, core_t1(c, 4)), &d);
    else if (op == IPR_OP_GROUP_NORM) y = ipr_group_norm(c, x, 2, w, b, &d);
    else y = ipr_layer_norm(c, ipr_reshape(c, ipr_slice(c, g->w_hh, 0, 4, 12), 3, xd), 2, w ? ipr_reshape(c, ipr_slice(c, g->w_hh, 0, 0, 3), 2, sd) : NULL, b ? ipr_reshape(c, g->a, 2, sd) : NULL, &d);
    ipr_set_training(c, 0);
    return core_weigh(c, y);
}
#define CG_NORM(name, op) \
    static ipr_tensor *cg_##name(ipr_ctx *c, core_grad *g) { return core_norm(c, g, op, 0); } \
    static ipr_tensor *cg_##name##_relu(ipr_ctx *c, core_grad *g) { return core_norm(c, g, op, 1); } \
    static ipr_tensor *cg_##name##_bare(ipr_ctx *c, core_grad *g) { return core_norm(c, g, op, 3); }
CG_NORM(batch_norm, IPR_OP_BATCH_NORM)
CG_NORM(group_norm, IPR_OP_GROUP_NORM)
CG_NORM(layer_norm, IPR_OP_LAYER_NORM)
static ipr_tensor *cg_batch_norm_eval(ipr_ctx *c, core_grad *g) { return core_norm(c, g, IPR_OP_BATCH_NORM, 4); }
/* one value of each channel in a row: the path by rows */
static ipr_tensor *cg_group_norm_rows(ipr_ctx *c, core_grad *g)
{
    ipr_norm_desc d = IPR_ZERO;
    d.relu = 1;
    return core_weigh(c, ipr_group_norm(c, g->a, 2, g->v, ipr_select(c, g->h0, 0, 0), &d));
}
static ipr_tensor *core_pool(ipr_ctx *c, core_grad *g, int op, int count_pad)
{
    const ipr_index xd[4] = {1, 2, 8, 4};
    ipr_tensor *x = ipr_reshape(c, g->w_hh, 4, xd);
    ipr_pool2d_desc d = IPR_ZERO;
    d.kernel[0] = 3; d.kernel[1] = 2; d.stride[0] = 2; d.stride[1] = 1; d.padding[0] = 1; d.count_pad = count_pad;
    return core_weigh(c, op == IPR_OP_MAX_POOL2D ? ipr_max_pool2d(c, x, &d) : op == IPR_OP_AVG_POOL2D ? ipr_avg_pool2d(c, x, &d) : ipr_adaptive_avg_pool2d(c, x, 4, 3));
}
static ipr_tensor *cg_max_pool2d(ipr_ctx *c, core_grad *g) { return core_pool(c, g, IPR_OP_MAX_POOL2D, 0); }
static ipr_tensor *cg_avg_pool2d(ipr_ctx *c, core_grad *g) { return core_pool(c, g, IPR_OP_AVG_POOL2D, 0); }
static ipr_tensor *cg_avg_pool2d_pad(ipr_ctx *c, core_grad *g) { return core_pool(c, g, IPR_OP_AVG_POOL2D, 1); }
static ipr_tensor *cg_adaptive(ipr_ctx *c, core_grad *g) { return core_pool(c, g, IPR_OP_ADAPTIVE_AVG_POOL2D, 0); }
#endif

#ifndef IPR_NO_RNN
/* Everything an LSTM or GRU can hand out, weighted. variant bits: 1 initial states, 2 gate (all rows), 4 gate from
   row 1, 8 dual with gate, 16 no biases, 32 only the last states, 64 gate outputs; long_gate: Tk > T. */
enum { CG_STATE = 1, CG_GATE = 2, CG_FROM = 4, CG_DUAL = 8, CG_NO_BIAS = 16, CG_NO_Y = 32, CG_OUT = 64, CG_SHORT = 128 };
static ipr_tensor *core_recurrent(ipr_ctx *c, core_grad *g, int lstm, int variant)
{
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out out = IPR_ZERO;
    ipr_tensor *s;
    const ipr_index rows = lstm ? 16 : 12;
    in.x = g->x;
    in.w_ih = ipr_slice(c, g->w_ih, 0, 0, rows);
    in.w_hh = ipr_slice(c, g->w_hh, 0, 0, rows);
    if (!(variant & CG_NO_BIAS)) {
        in.b_ih = ipr_slice(c, g->b_ih, 0, 0, rows);
        in.b_hh = ipr_slice(c, g->b_hh, 0, 0, rows);
    }
    if (variant & CG_STATE) { in.h0 = g->h0; in.c0 = lstm ? g->c0 : NULL; }
    if (variant & (CG_GATE | CG_FROM | CG_DUAL)) in.gate = variant & CG_SHORT ? ipr_slice(c, g->gate, 0, 0, 2) : g->gate;
    if (variant & CG_FROM) in.gate_from = 1;
    if (variant & CG_DUAL) {
        in.dual = 1;
        if (in.h0) in.h0 = core_concat(c, g->h0, ipr_affine(c, g->h0, 0.5, 0));
        if (in.c0) in.c0 = core_concat(c, g->c0, ipr_affine(c, g->c0, 0.5, 0));
    }
    in.no_y = (variant & CG_NO_Y) != 0;
    in.want_gate_out = (variant & CG_OUT) != 0;
    if ((lstm ? ipr_lstm : ipr_gru)(c, &in, &out) != IPR_OK) return out.h_n;
    s = core_weigh(c, out.h_n);
    if (out.c_n) s = ipr_add(c, s, ipr_affine(c, core_weigh(c, out.c_n), 0.7, 0));
    if (!(variant & CG_NO_Y)) s = ipr_add(c, s, ipr_add(c, core_weigh(c, out.y), core_weigh(c, ipr_square(c, ipr_select(c, out.y, 0, 0)))));
    if (variant & CG_OUT) s = ipr_add(c, s, core_weigh(c, ipr_square(c, out.gate_out)));
    return s;
}
#define CG_RECURRENT(name, variant) \
    static ipr_tensor *cg_lstm_##name(ipr_ctx *c, core_grad *g) { return core_recurrent(c, g, 1, variant); } \
    static ipr_tensor *cg_gru_##name(ipr_ctx *c, core_grad *g) { return core_recurrent(c, g, 0, variant); }
CG_RECURRENT(plain, 0)
CG_RECURRENT(state, CG_STATE | CG_NO_BIAS)
CG_RECURRENT(last, CG_STATE | CG_NO_Y)
CG_RECURRENT(gate, CG_GATE)
CG_RECURRENT(gate_short, CG_GATE | CG_SHORT | CG_STATE | CG_OUT)
CG_RECURRENT(gate_from, CG_FROM | CG_STATE)
CG_RECURRENT(dual, CG_DUAL | CG_NO_Y)
CG_RECURRENT(dual_all, CG_DUAL | CG_SHORT | CG_STATE | CG_OUT)
CG_RECURRENT(out, CG_OUT | CG_NO_Y)

/* A key pass feeding its gate outputs to a gated pass of the same weights: the Gatekeeper's graph. */
static ipr_tensor *core_keyed(ipr_ctx *c, core_grad *g, int lstm)
{
    ipr_rnn_in in = IPR_ZERO;
    ipr_rnn_out key = IPR_ZERO, out = IPR_ZERO;
    const ipr_index rows = lstm ? 16 : 12;
    int (*run)(ipr_ctx *, const ipr_rnn_in *, ipr_rnn_out *) = lstm ? ipr_lstm : ipr_gru;
    in.x = ipr_affine(c, g->x, -0.8, 0.3);
    in.w_ih = ipr_slice(c, g->w_ih, 0, 0, rows);
    in.w_hh = ipr_slice(c, g->w_hh, 0, 0, rows);
    in.b_ih = ipr_slice(c, g->b_ih, 0, 0, rows);
    in.b_hh = ipr_slice(c, g->b_hh, 0, 0, rows);
    in.want_gate_out = 1;
    if (run(c, &in, &key) != IPR_OK) return key.y;
    in.want_gate_out = 0;
    in.x = g->x;
    in.gate = ipr_mean_axis(c, key.gate_out, 1);
    if (run(c, &in, &out) != IPR_OK) return out.y;
    return ipr_add(c, core_weigh(c, out.h_n), core_weigh(c, ipr_mean_axis(c, ipr_select(c, key.y, 0, 0), 0)));
}
static ipr_tensor *cg_lstm_keyed(ipr_ctx *c, core_grad *g) { return core_keyed(c, g, 1); }
static ipr_tensor *cg_gru_keyed(ipr_ctx *c, core_grad *g) { return core_keyed(c, g, 0); }
#endif

typedef struct core_case { int op; const char *what; core_case_fn fn; } core_case;
static const core_case core_cases[] = {
    { IPR_OP_CONTIGUOUS, "permuted slice", cg_contiguous },
    { IPR_OP_ADD, "same and broadcast", cg_add }, { IPR_OP_SUB, "broadcast and view", cg_sub },
    { IPR_OP_MUL, "a*a, broadcast", cg_mul }, { IPR_OP_DIV, "broadcast", cg_div }, { IPR_OP_AFFINE, "of a transpose", cg_affine },
    { IPR_OP_EXP, "exp", cg_exp }, { IPR_OP_LOG, "log", cg_log }, { IPR_OP_SQRT, "sqrt", cg_sqrt }, { IPR_OP_SQUARE, "square", cg_square },
    { IPR_OP_RELU, "relu", cg_relu }, { IPR_OP_SIGMOID, "sigmoid", cg_sigmoid }, { IPR_OP_TANH, "tanh", cg_tanh },
    { IPR_OP_SUM, "all", cg_sum }, { IPR_OP_SUM, "axes", cg_sum_axis }, { IPR_OP_SUM, "mean", cg_mean },
    { IPR_OP_MATMUL, "2 by 2", cg_matmul }, { IPR_OP_MATMUL, "3 by 2", cg_matmul32 }, { IPR_OP_MATMUL, "3 by 3", cg_matmul33 },
    { IPR_OP_LINEAR, "no bias", cg_linear }, { IPR_OP_LINEAR, "bias", cg_linear_bias },
    { IPR_OP_SOFTMAX, "softmax", cg_softmax }, { IPR_OP_LOG_SOFTMAX, "log softmax", cg_log_softmax },
    { IPR_OP_CROSS_ENTROPY, "ignored row", cg_cross_entropy }, { IPR_OP_NLL, "ignored row", cg_nll },
    { IPR_OP_BCE, "bce", cg_bce }, { IPR_OP_MSE, "both sides", cg_mse }, { IPR_OP_KL_DIV, "T = 2.5", cg_kl_div },
    { IPR_OP_EMBEDDING, "repeated ids", cg_embedding }, { IPR_OP_DROPOUT, "twice", cg_dropout },
    { IPR_OP_CONCAT, "axis 0", cg_concat0 }, { IPR_OP_CONCAT, "last axis, repeated", cg_concat1 },
    { IPR_OP_GRAD_REVERSE, "lambda = -1", cg_reverse },
#ifndef IPR_NO_CNN
    { IPR_OP_CONV2D, "plain", cg_conv2d }, { IPR_OP_CONV2D, "stride, padding, dilation, groups", cg_conv2d_all },
#define CG_NORM_ROW(id, name) { id, "", cg_##name }, { id, "relu", cg_##name##_relu }, { id, "relu, no scale, no bias", cg_##name##_bare },
    CG_NORM_ROW(IPR_OP_BATCH_NORM, batch_norm) CG_NORM_ROW(IPR_OP_GROUP_NORM, group_norm) CG_NORM_ROW(IPR_OP_LAYER_NORM, layer_norm)
    { IPR_OP_BATCH_NORM, "running statistics", cg_batch_norm_eval }, { IPR_OP_GROUP_NORM, "by rows", cg_group_norm_rows },
    { IPR_OP_MAX_POOL2D, "", cg_max_pool2d }, { IPR_OP_AVG_POOL2D, "", cg_avg_pool2d }, { IPR_OP_AVG_POOL2D, "padding counts", cg_avg_pool2d_pad },
    { IPR_OP_ADAPTIVE_AVG_POOL2D, "", cg_adaptive },
#endif
#ifndef IPR_NO_RNN
#define CG_ROW(name) { IPR_OP_LSTM, "lstm " #name, cg_lstm_##name }, { IPR_OP_GRU, "gru " #name, cg_gru_##name },
    CG_ROW(plain) CG_ROW(state) CG_ROW(last) CG_ROW(gate) CG_ROW(gate_short) CG_ROW(gate_from) CG_ROW(dual) CG_ROW(dual_all)
    CG_ROW(out) CG_ROW(keyed)
#endif
};
enum { CORE_CASES = (int)(sizeof core_cases / sizeof core_cases[0]) };

static void core_grad_new(ipr_ctx *c, core_grad *g)
{
    ipr_params *p = g->p = ipr_params_new(c);
    g->a = core_param(p, "a", 3, 4, 0, 1, 0);
    g->b = core_param(p, "b", 3, 4, 0, 2, 0);
    g->v = core_param(p, "v", 4, 0, 0, 3, 0);
    g->w = core_param(p, "w", 5, 4, 0, 4, 0);
    g->t3 = core_param(p, "t3", 2, 3, 4, 5, 0);
    g->u3 = core_param(p, "u3", 2, 4, 2, 6, 0);
    g->pos = core_param(p, "pos", 3, 4, 0, 7, 1);
    g->table = core_param(p, "table", 7, 3, 0, 8, 0);
    g->x = core_param(p, "x", 3, 2, 3, 9, 0);
    g->w_ih = core_param(p, "w_ih", 16, 3, 0, 10, 0);
    g->w_hh = core_param(p, "w_hh", 16, 4, 0, 11, 0);
    g->b_ih = core_param(p, "b_ih", 16, 0, 0, 12, 0);
    g->b_hh = core_param(p, "b_hh", 16, 0, 0, 13, 0);
    g->h0 = core_param(p, "h0", 2, 4, 0, 14, 0);
    g->c0 = core_param(p, "c0", 2, 4, 0, 15, 0);
    g->gate = core_param(p, "gate", 5, 4, 0, 16, 1);
}

typedef struct { core_case_fn fn; core_grad *g; } core_loss_arg;
static ipr_tensor *core_loss(ipr_ctx *c, void *user)
{
    const core_loss_arg *a = (const core_loss_arg *)user;
    return a->fn(c, a->g);
}

/* Did the tape get a node of this op? */
static int core_recorded(const ipr_ctx *c, int op)
{
    ipr_index i;
    for (i = 0; i < c->nnodes; i++) if (c->nodes[i]->op == &ipr__op_find(op)->op) return 1;
    return 0;
}

TEST(core_every_op_has_a_gradient_case)
{
    int id, i, seen, n = 0;
    for (id = 0; id < IPR_OP_COUNT; id++) {
        if (!ipr_op_name(id)) { CHECK(!ipr_op_doc(id) && !ipr_op_differentiable(id)); continue; }
        n++;
        CHECK(strncmp(ipr_op_name(id), "ipr_", 4) == 0 && ipr_op_doc(id) && ipr_op_doc(id)[0]);
        for (i = seen = 0; i < CORE_CASES; i++) seen |= core_cases[i].op == id;
        if (ipr_op_differentiable(id) && !CHECK(seen)) printf("    no gradient case for %s (id %d)\n", ipr_op_name(id), id);
    }
    CHECK(n >= 28);
    CHECK(!ipr_op_name(-1) && !ipr_op_name(1000));
}

/* In double builds the two gradients agree to 1e-7; in float builds the check is coarse. */
static void core_check_gradients(int isa)
{
    const double eps = IPR_REAL_IS_DOUBLE ? 1e-5 : 1e-2, tol = IPR_REAL_IS_DOUBLE ? 1e-7 : 1e-2;
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    core_grad g;
    core_loss_arg arg;
    int i;
    d.isa = isa;
    c = ipr_open(&d, NULL);
    if (!c) return;                           /* this CPU lacks it */
    core_grad_new(c, &g);
    arg.g = &g;
    for (i = 0; i < CORE_CASES; i++) {
        double err, v;
        arg.fn = core_cases[i].fn;
        v = (double)ipr_item(c, core_loss(c, &arg));
        if (!CHECK(core_recorded(c, core_cases[i].op) && v * v > 0)) printf("    %s (%s) is not on the tape\n", ipr_op_name(core_cases[i].op), core_cases[i].what);
        ipr_step_end(c);
        err = ipr_gradcheck(c, g.p, core_loss, &arg, eps, 24);
        if (!CHECK(err >= 0 && err <= tol))
            printf("    %s (%s, %s): worst error %g %s\n", ipr_op_name(core_cases[i].op), core_cases[i].what, ipr_isa_name(ipr_isa(c)), err, ipr_message(c));
        ipr_clear(c);
    }
    ipr_close(c);
}

TEST(core_gradients) { core_check_gradients(IPR_ISA_AUTO); }
TEST(core_gradients_portable) { core_check_gradients(IPR_ISA_PORTABLE); }

/* The check itself must be able to fail. */
static ipr_tensor *core_liar(ipr_ctx *c, void *user) { return core_weigh(c, ipr_grad_reverse(c, ((core_grad *)user)->a, 1)); }
TEST(core_gradcheck_can_fail)
{
    ipr_ctx *c = core_open();
    core_grad g;
    core_grad_new(c, &g);
    CHECK(ipr_gradcheck(c, g.p, core_liar, &g, 1e-2, 12) > 0.05);
    CHECK(ipr_gradcheck(c, NULL, core_liar, &g, 1e-2, 12) < 0);
    EXPECT(IPR_E_ARG, "ipr_gradcheck: ", "parameters");
    CHECK(ipr_gradcheck(c, g.p, core_liar, &g, 0, 12) < 0);
    EXPECT(IPR_E_ARG, "ipr_gradcheck: ", "eps");
    ipr_close(c);
}

TEST(core_grad_reverse_scales)
{
    ipr_ctx *c = core_open();
    core_grad g;
    ipr_index i;
    core_grad_new(c, &g);
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_grad_reverse(c, g.a, 0.75))), IPR_OK);
    for (i = 0; i < 12; i++) CHECK_NEAR(ipr_grad(c, g.a)[i], -0.75, 0);
    ipr_close(c);
}

TEST(core_argmax_sqrt_no_grad)
{
    ipr_ctx *c = core_open();
    ipr_params *p = ipr_params_new(c);
    ipr_index d[2] = {2, 4};
    const ipr_real v[8] = {1, 5, 5, 2, -3, -2, -9, -1};
    ipr_tensor *x = ipr_from(c, 2, d, v), *a = ipr_argmax(c, x), *w = ipr_param(p, "w", 1, d);
    CHECK(ipr_type(a) == IPR_T_I32 && ipr_rank(a) == 1 && ipr_count(a) == 2);
    CHECK_EQ_I(ipr_read_i32(c, a)[0], 1);
    CHECK_EQ_I(ipr_read_i32(c, a)[1], 3);
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_sqrt(c, w))), IPR_OK);     /* at 0 */
    CHECK_NEAR(ipr_grad(c, w)[0], 0, 0);
    ipr_no_grad(c, 1);
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, ipr_square(c, w))), IPR_E_STATE);
    ipr_clear(c);
    CHECK_EQ_I(c->nnodes, 0);
    ipr_no_grad(c, 0);
    ipr_close(c);
}

/* ---- dropout ---- */

TEST(core_dropout)
{
    ipr_ctx *c = core_open();
    ipr_index n = 200000, i, kept = 0, pairs = 0, same = 0;
    ipr_tensor *x = ipr_new(c, 1, &n), *y, *z;
    const ipr_real *a, *b;
    double sum = 0;
    for (i = 0; i < n; i++) ipr_write(c, x, 1)[i] = (ipr_real)1;
    CHECK(ipr_dropout(c, x, 0.3) == x);                         /* not training: nothing happens */
    ipr_set_training(c, 1);
    CHECK(ipr_dropout(c, x, 0) == x);
    ipr_require_grad(x, 1);
    y = ipr_dropout(c, x, 0.3);
    z = ipr_dropout(c, x, 0.3);
    a = ipr_read(c, y);
    b = ipr_read(c, z);
    for (i = 0; i < n; i++) {
        kept += a[i] > 0;
        sum += (double)a[i];
        same += (a[i] > 0) == (b[i] > 0);
        if (i) pairs += a[i] > 0 && a[i - 1] > 0;
        if (a[i] > 0 && !CHECK_NEAR(a[i], 1 / 0.7, 1e-6)) break;
    }
    CHECK_NEAR((double)kept / (double)n, 0.7, 5 * 0.0011);      /* 5 standard deviations */
    CHECK_NEAR(sum / (double)n, 1.0, 5 * 0.0015);
    CHECK_NEAR((double)pairs / (double)n, 0.49, 5 * 0.0015);    /* neighbours are independent */
    CHECK_NEAR((double)same / (double)n, 0.58, 5 * 0.0012);     /* and so are two draws of a step */
    CHECK_EQ_I(ipr_backward(c, ipr_sum(c, y)), IPR_OK);
    for (i = 0; i < n; i++) if (!CHECK(ipr_grad(c, x)[i] >= a[i] && ipr_grad(c, x)[i] <= a[i])) break;
    ipr_close(c);
}

static int core_mask(uint64_t seed, int steps, ipr_real out[256])
{
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c;
    ipr_index n = 256;
    d.seed = seed;
    c = ipr_open(&d, NULL);
    ipr_set_training(c, 1);
    while (steps-- > 0) ipr_step_end(c);
    memcpy(out, ipr_read(c, ipr_dropout(c, core_tensor(c, 1, &n, 1), 0.5)), 256 * sizeof(ipr_real));
    ipr_close(c);
    return 1;
}

TEST(core_dropout_is_keyed)
{
    ipr_real a[256], b[256];
    core_mask(3, 2, a); core_mask(3, 2, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    core_mask(3, 3, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    core_mask(4, 2, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

/* ---- a small LSTM training step: memory, threads ---- */

#if !defined(IPR_NO_RNN) && !defined(IPR_NO_TRAIN)
typedef struct { ipr_params *p; ipr_rnn rnn; ipr_dense out; ipr_opt *opt; ipr_index t, b, i, h; int cell; } core_net;

static int core_net_open(ipr_ctx *c, core_net *n, int cell, ipr_index t, ipr_index b, ipr_index i, ipr_index h)
{
    ipr_rnn_desc d = IPR_ZERO;
    n->t = t; n->b = b; n->i = i; n->h = h; n->cell = cell;
    n->p = ipr_params_new(c);
    d.cell = cell; d.input = i; d.hidden = h;
    n->rnn = ipr_rnn_new(n->p, "rnn", &d);
    n->out = ipr_dense_new(n->p, "output", h, 4, 1);
    n->opt = n->p ? ipr_opt_new(n->p, NULL) : NULL;
    return ipr_status(c);
}

/* One step with everything a training loop does; the loss. */
static double core_net_step(ipr_ctx *c, core_net *n)
{
    int32_t lab[64];
    ipr_index k;
    ipr_tensor *x, *h, *loss;
    double v;
    for (k = 0; k < n->b; k++) lab[k] = (int32_t)(k % 4);
    ipr_set_training(c, 1);
    x = core_t3(c, n->t, n->b, n->i);
    h = ipr_dropout(c, ipr_rnn_forward(c, &n->rnn, x, NULL, 0), 0.2);
    loss = ipr_cross_entropy(c, ipr_dense_forward(c, &n->out, h), core_ids(c, (int)n->b, lab));
    v = (double)ipr_item(c, loss);
    if (ipr_backward(c, loss) == IPR_OK) {
        (void)ipr_clip_grad_norm(n->p, 1.0);
        (void)ipr_opt_step(n->opt);
    }
    ipr_step_end(c);
    return v;
}

/* The run whose every allocation is made to fail once: two steps of an LSTM with its optimiser. */
static int core_run_small(const ipr_desc *d, double *loss, size_t *needed)
{
    int st = IPR_OK, k;
    core_net n;
    ipr_ctx *c = ipr_open(d, &st);
    double v = 0;
    if (!c) return st;
    (void)core_net_open(c, &n, IPR_LSTM, 4, 3, 5, 6);
    for (k = 0; k < 2; k++) v = core_net_step(c, &n);
    st = ipr_status(c);
    if (st != IPR_OK) CHECK(strlen(ipr_message(c)) > 10);
    if (st == IPR_OK) *loss = v;
    if (needed) *needed = ipr_bytes_needed(c);
    if (d->allocator.user && st != IPR_OK) {   /* the context is usable again, in so far as there is memory */
        ipr_clear(c);
        ipr_step_end(c);
    }
    ipr_opt_free(n.opt);
    ipr_params_free(n.p);
    ipr_close(c);
    return st;
}

static void core_fail_every_allocation(int for_ever, int threads)
{
    core_heap h;
    long k;
    int st = IPR_E_NOMEM, leaks = 0;
    double loss = 0;
    for (k = 0; k < 500 && st != IPR_OK; k++) {
        ipr_desc d = core_desc(&h);
        d.threads = threads;
        h.fail_at = k;
        h.for_ever = for_ever;
        st = core_run_small(&d, &loss, NULL);
        if (h.calls > k && !CHECK_EQ_I(st, IPR_E_NOMEM)) printf("    at allocation %ld\n", k);
        if (h.calls > k) st = IPR_E_NOMEM;
        leaks += h.live != 0 || h.bytes != 0;
    }
    CHECK_EQ_I(leaks, 0);
    CHECK_EQ_I(st, IPR_OK);
    CHECK(k > 6);
    CHECK(loss > 0.1 && loss < 5);
}

TEST(core_out_of_memory_once) { core_fail_every_allocation(0, 1); }
TEST(core_out_of_memory_from_then_on) { core_fail_every_allocation(1, 1); }
TEST(core_out_of_memory_threads)
{
#if defined(IPR_THREADS)
    core_fail_every_allocation(0, 3);
    core_fail_every_allocation(1, 3);
#else
    SKIP("built without IPR_THREADS");
#endif
}

/* After a failed allocation and ipr_clear the same context trains on, once there is memory again. */
TEST(core_out_of_memory_recovery)
{
    core_heap h;
    ipr_desc d = core_desc(&h);
    core_net n;
    ipr_ctx *c = ipr_open(&d, NULL);
    double a, b;
    CHECK_EQ_I(core_net_open(c, &n, IPR_GRU, 4, 3, 5, 6), IPR_OK);
    (void)core_net_step(c, &n);
    a = core_net_step(c, &n);
    h.fail_at = h.calls;
    h.for_ever = 1;
    n.t = 400;                                /* needs more than there is */
    (void)core_net_step(c, &n);
    CHECK_EQ_I(ipr_status(c), IPR_E_NOMEM);
    ipr_clear(c);
    h.fail_at = -1;
    n.t = 4;
    b = core_net_step(c, &n);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    CHECK(b > 0 && b < a + 1);
    ipr_close(c);
    CHECK_EQ_I(h.live, 0);
}

TEST(core_absurd_sizes)
{
    core_heap h;
    ipr_desc d = core_desc(&h);
    ipr_ctx *c = ipr_open(&d, NULL);
    ipr_index big[2], one = 1;
    big[0] = big[1] = (ipr_index)1 << (sizeof(ipr_index) == 8 ? 20 : 12);
    if (sizeof(ipr_index) == 8) EXPECT_BAD(ipr_new(c, 2, big), IPR_E_NOMEM, "ipr: ", "bytes");
    CHECK(!ipr_is_poison(ipr_new(c, 1, &one)));
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    ipr_close(c);
    CHECK_EQ_I(h.live, 0);
}

/* What a temporary held makes room during the sweep; a retained gradient, every value that a caller can see, stays. */
TEST(core_retain_grad)
{
    ipr_desc d = IPR_ZERO;
    ipr_ctx *c = ipr_open(&d, NULL);
    ipr_params *p = ipr_params_new(c);
    ipr_index n = 1000, i;
    ipr_tensor *w = ipr_param(p, "w", 1, &n), *a, *b, *loss;
    size_t before;
    a = ipr_affine(c, w, 3, 3);
    b = ipr_square(c, ipr_add(c, a, a));
    ipr_retain_grad(a);
    loss = ipr_sum(c, ipr_relu(c, b));
    before = ipr_stats_get(c).step_bytes;
    CHECK_EQ_I(ipr_backward(c, loss), IPR_OK);
    CHECK(ipr_stats_get(c).step_bytes <= before + 2 * (size_t)n * sizeof(ipr_real));
    CHECK(!ipr_grad(c, b));
    if (CHECK(ipr_grad(c, a) && ipr_grad(c, w)))
        for (i = 0; i < n; i++) {
            CHECK_NEAR(ipr_grad(c, a)[i], 24, 1e-4);    /* b = 4 a^2, a = 3 */
            CHECK_NEAR(ipr_grad(c, w)[i], 72, 1e-4);
            CHECK_NEAR(ipr_read(c, a)[i], 3, 0);
            CHECK_NEAR(ipr_read(c, b)[i], 36, 0);
        }
    ipr_retain_grad(NULL);
    ipr_retain_grad(ipr_matmul(c, w, w));               /* poison */
    ipr_clear(c);
    ipr_params_free(p);
    ipr_close(c);
}

TEST(core_caller_buffer)
{
    core_heap h;
    ipr_desc d = core_desc(&h);
    double plain = 0, measured = 0, fixed = 0;
    size_t need = 0, used = 0, i;
    char *raw, *mem;
    CHECK_EQ_I(core_run_small(&d, &plain, NULL), IPR_OK);
    d = core_desc(&h);
    d.measure = 1;
    CHECK_EQ_I(core_run_small(&d, &measured, &need), IPR_OK);
    CHECK(need > 1000 && need < (size_t)1 << 20);
    CHECK_EQ_I(h.live, 0);
    CHECK(memcmp(&plain, &measured, sizeof plain) == 0);
    raw = (char *)malloc(need + 256);
    if (!raw) return;
    mem = raw + (64 - (size_t)((uintptr_t)raw & 63u));
    for (i = 0; i < need + 128; i++) mem[i] = (char)0x5a;
    d = core_desc(&h);
    memset(&d.allocator, 0, sizeof d.allocator);
    d.memory = mem;
    d.memory_size = need - 64;                /* bytes_needed allows for any alignment; this buffer is aligned */
    CHECK_EQ_I(core_run_small(&d, &fixed, &used), IPR_OK);
    CHECK(memcmp(&plain, &fixed, sizeof plain) == 0);
    CHECK_EQ_I(used, need);
    for (i = need - 64; i < need + 128; i++) if (!CHECK_EQ_I(mem[i], 0x5a)) break;
    d.memory_size = need - 65;
    CHECK_EQ_I(core_run_small(&d, &fixed, NULL), IPR_E_NOMEM);
    for (i = 1; i < 64; i += 21) {            /* any alignment */
        d.memory = mem + i;
        d.memory_size = need;
        CHECK_EQ_I(core_run_small(&d, &fixed, NULL), IPR_OK);
        CHECK(memcmp(&plain, &fixed, sizeof plain) == 0);
    }
    for (i = 0; i + 64 < need; i += need / 23) {   /* every smaller buffer is refused, none crashes or writes past its end */
        size_t k;
        memset(mem, 0x5a, need + 128);
        d.memory = mem;
        d.memory_size = i;
        CHECK_EQ_I(core_run_small(&d, &fixed, NULL), IPR_E_NOMEM);
        for (k = i; k < need + 128; k++) if (!CHECK_EQ_I(mem[k], 0x5a)) break;
    }
    d.measure = 1;
    CHECK_EQ_I(core_run_small(&d, &fixed, NULL), IPR_E_ARG);      /* a buffer or a measure pass, not both */
    free(raw);
}

TEST(core_no_allocation_in_steady_state)
{
    int cell, k;
    for (cell = IPR_LSTM; cell <= IPR_GRU; cell++) {
        core_heap h;
        ipr_desc d = core_desc(&h);
        ipr_ctx *c = ipr_open(&d, NULL);
        core_net n;
        long after_first;
        CHECK_EQ_I(core_net_open(c, &n, cell, 20, 16, 12, 24), IPR_OK);
        (void)core_net_step(c, &n);
        after_first = h.calls;
        for (k = 0; k < 5; k++) (void)core_net_step(c, &n);
        CHECK_EQ_I(h.calls, after_first);
        CHECK_EQ_I(ipr_stats_get(c).frees, ipr_stats_get(c).allocs - (uint64_t)h.live + 1);   /* + the context itself */
        n.t = 11;                             /* shorter sequences need nothing new either */
        (void)core_net_step(c, &n);
        CHECK_EQ_I(h.calls, after_first);
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_close(c);
        CHECK_EQ_I(h.live, 0);
    }
}

/* A hostile but legal job system: items in reverse order, workers handed out from the far end. */
typedef struct { int threads, calls; } core_jobs;
static void core_parallel(void *user, int items, ipr_task task, void *arg)
{
    core_jobs *j = (core_jobs *)user;
    int i;
    j->calls++;
    for (i = items - 1; i >= 0; i--) task(arg, i, j->threads - 1 - i % j->threads);
}

/* Parameters after three steps of a net big enough to be worth splitting. */
static int core_train_bits(ipr_desc *d, int cell, ipr_real *out, ipr_index room)
{
    ipr_ctx *c = ipr_open(d, NULL);
    core_net n;
    ipr_index at = 0;
    int k;
    if (!CHECK(c != NULL)) return 0;
    CHECK_EQ_I(core_net_open(c, &n, cell, 5, 40, 33, 70), IPR_OK);
    for (k = 0; k < 3; k++) (void)core_net_step(c, &n);
    CHECK_EQ_I(ipr_status(c), IPR_OK);
    for (k = 0; k < ipr_params_count(n.p); k++) {
        ipr_tensor *t = ipr_params_at(n.p, k);
        if (at + ipr_count(t) > room) break;
        memcpy(out + at, ipr_read(c, t), (size_t)ipr_count(t) * sizeof(ipr_real));
        at += ipr_count(t);
    }
    CHECK_EQ_I(at, ipr_params_elements(n.p));
    ipr_close(c);
    return (int)at;
}

enum { CORE_BITS = 32768 };
TEST(core_threads_same_bits)
{
    static ipr_real one[CORE_BITS], many[CORE_BITS];
    int cell, t;
    for (cell = IPR_LSTM; cell <= IPR_GRU; cell++) {
        ipr_desc d = IPR_ZERO;
        const int n = core_train_bits(&d, cell, one, CORE_BITS);
        CHECK(n > 20000);
        for (t = 2; t <= 4; t++) {
            core_jobs j;
            j.threads = d.threads = t;
            j.calls = 0;
            d.parallel_fn = core_parallel;
            d.parallel_user = &j;
            CHECK_EQ_I(core_train_bits(&d, cell, many, CORE_BITS), n);
            CHECK(memcmp(one, many, (size_t)n * sizeof(ipr_real)) == 0);
            CHECK(j.calls > 0);
            d.parallel_fn = NULL;
#if defined(IPR_THREADS)
            CHECK_EQ_I(core_train_bits(&d, cell, many, CORE_BITS), n);
            CHECK(memcmp(one, many, (size_t)n * sizeof(ipr_real)) == 0);
#endif
        }
    }
}

TEST(core_same_seed_same_bits)
{
    static ipr_real a[CORE_BITS], b[CORE_BITS];
    ipr_desc d = IPR_ZERO;
    const int n = core_train_bits(&d, IPR_LSTM, a, CORE_BITS);
    core_train_bits(&d, IPR_LSTM, b, CORE_BITS);
    CHECK(memcmp(a, b, (size_t)n * sizeof(ipr_real)) == 0);
    d.seed = 1;
    core_train_bits(&d, IPR_LSTM, b, CORE_BITS);
    CHECK(memcmp(a, b, (size_t)n * sizeof(ipr_real)) != 0);
}

TEST(core_rnn_bad_input)
{
    ipr_ctx *c = core_open();
    int k;
    for (k = 0; k < 2; k++) {
        const char *fn = k ? "ipr_lstm: " : "ipr_gru: ";
        int (*run)(ipr_ctx *, const ipr_rnn_in *, ipr_rnn_out *) = k ? ipr_lstm : ipr_gru;
        const ipr_index g = k ? 4 : 3;
        ipr_rnn_in ok = IPR_ZERO, in;
        ipr_rnn_out out = IPR_ZERO;
        ok.x = core_t3(c, 5, 2, 3);
        ok.w_ih = core_t2(c, g * 4, 3);
        ok.w_hh = core_t2(c, g * 4, 4);
        CHECK_EQ_I(run(c, &ok, &out), IPR_OK);
        CHECK(ipr_dim(out.y, 0) == 5 && ipr_dim(out.y, 1) == 2 && ipr_dim(out.y, 2) == 4);
        CHECK(ipr_dim(out.h_n, 0) == 2 && ipr_dim(out.h_n, 1) == 4 && (out.c_n != NULL) == (k == 1));
        CHECK(!out.gate_out);
#define RNN_BAD(what, code, text) do { in = ok; what; CHECK(run(c, &in, &out) != IPR_OK); CHECK(ipr_is_poison(out.h_n) && ipr_is_poison(out.y)); \
        core_expect(c, code, fn, text, __LINE__); } while (0)
        RNN_BAD(in.x = NULL, IPR_E_ARG, "NULL");
        RNN_BAD(in.w_ih = NULL, IPR_E_ARG, "NULL");
        RNN_BAD(in.w_hh = NULL, IPR_E_ARG, "NULL");
        RNN_BAD(in.x = core_t2(c, 5, 3), IPR_E_SHAPE, "5x3");
        RNN_BAD(in.x = core_t3(c, 5, 2, 7), IPR_E_SHAPE, "x7");
        RNN_BAD(in.w_hh = core_t2(c, g * 4, 5), IPR_E_SHAPE, "x5");
        RNN_BAD(in.w_hh = core_t2(c, 17, 4), IPR_E_SHAPE, "17x4");
        RNN_BAD(in.w_ih = core_t2(c, 17, 3), IPR_E_SHAPE, "17x3");
        RNN_BAD(in.b_ih = core_t1(c, 3), IPR_E_SHAPE, "3");
        RNN_BAD(in.b_hh = core_t1(c, 3), IPR_E_SHAPE, "3");
        RNN_BAD(in.h0 = core_t2(c, 3, 4), IPR_E_SHAPE, "3x4");
        RNN_BAD(in.gate = core_t2(c, 5, 3), IPR_E_SHAPE, "5x3");
        RNN_BAD(in.gate = core_t1(c, 4), IPR_E_SHAPE, "4");
        if (k) RNN_BAD(in.c0 = core_t2(c, 2, 5), IPR_E_SHAPE, "2x5");
        /* poison in, poison out, silently */
        in = ok;
        in.w_hh = ipr_matmul(c, ok.w_ih, ok.w_ih);
        CHECK(ipr_is_poison(in.w_hh));
        ipr_clear(c);
        (void)run(c, &in, &out);
        CHECK(ipr_is_poison(out.h_n));
        CHECK_EQ_I(ipr_status(c), IPR_OK);
        ipr_clear(c);
        CHECK_EQ_I(run(c, &ok, &out), IPR_OK);
    }
    CHECK(ipr_lstm(NULL, NULL, NULL) != IPR_OK);
    CHECK(ipr_lstm(c, NULL, NULL) != IPR_OK);
    ipr_close(c);
}
#endif

static void suite_core(void)
{
    RUN(core_open_close);
    RUN(core_bad_shapes);
    RUN(core_wrong_type_and_maps);
    RUN(core_null_and_poison);
    RUN(core_first_error_and_recovery);
    RUN(core_nan_loss);
    RUN(core_params);
    RUN(core_views);
    RUN(core_views_random);
    RUN(core_broadcast);
    RUN(core_every_op_has_a_gradient_case);
    RUN(core_gradients);
    RUN(core_gradients_portable);
    RUN(core_gradcheck_can_fail);
    RUN(core_grad_reverse_scales);
    RUN(core_argmax_sqrt_no_grad);
    RUN(core_dropout);
    RUN(core_dropout_is_keyed);
#if !defined(IPR_NO_RNN) && !defined(IPR_NO_TRAIN)
    RUN(core_rnn_bad_input);
    RUN(core_out_of_memory_once);
    RUN(core_out_of_memory_from_then_on);
    RUN(core_out_of_memory_threads);
    RUN(core_out_of_memory_recovery);
    RUN(core_absurd_sizes);
    RUN(core_retain_grad);
    RUN(core_caller_buffer);
    RUN(core_no_allocation_in_steady_state);
    RUN(core_threads_same_bits);
    RUN(core_same_seed_same_bits);
#endif
}
