/* ipr.h - v0.1.0 - train, protect and verify neural networks - one file, no dependencies
                                            public domain or MIT-0, at your choice: see the end of this file

   Put a key into a network while it is trained, ship it without the key, and prove later, in front of a sceptic,
   that a suspect network is yours: tensors, reverse-mode autodiff, recurrent networks of every kind, text and
   translation, training, ownership schemes, the attacks on them, and verdicts with a stated error rate.

   Do this:
       #define IPR_IMPLEMENTATION
   before you include this file in ONE C or C++ file to create the implementation. Everywhere else just include it.
   Nothing to link: not even -lm. C99 and C++11.

   EXAMPLE (compiled by `make check`; tiny, to be read)

       #define IPR_IMPLEMENTATION
       #include "ipr.h"
       #include <stdio.h>

       int main(void)
       {
           ipr_ctx *c = ipr_open(NULL, NULL);
           ipr_dataset *train = ipr_dataset_digits(c, 1, 0, 1000);    // built-in digits
           ipr_classifier_desc md = IPR_ZERO;
           ipr_gatekeeper_desc kd = IPR_ZERO;
           ipr_gatekeeper_report report;
           ipr_classifier *model;
           ipr_gatekeeper *key;
           int step;
           md.input = 28; md.hidden = 32; md.classes = 10;             // 28 rows of 28 pixels -> 10 classes
           kd.steps = 28; kd.width = 28; kd.units = 32; kd.signature = "ann";
           model = ipr_classifier_new(c, &md);
           key = ipr_gatekeeper_new(c, &kd, "32 secret random bytes, please..", 32);
           ipr_opt *opt = ipr_opt_new(model->params, NULL);            // Adam, 1e-3
           for (step = 0; step < 200; step++) {
               ipr_tensor *x, *y;
               uint32_t items[50];
               for (int i = 0; i < 50; i++) items[i] = (uint32_t)((step * 50 + i) % 1000);
               ipr_batch(c, train, items, 50, IPR_TIME_MAJOR, &x, &y);
               ipr_backward(c, ipr_gatekeeper_step(key, model, NULL, (uint64_t)step, x, y, NULL));
               ipr_opt_step(opt);
               ipr_step_end(c);
           }
           ipr_gatekeeper_verify(key, model, train, NULL, 100, NULL, &report);
           if (ipr_status(c)) printf("%s\n", ipr_message(c));          // one check is enough
           else printf("%s: p = %g\n", ipr_decision_name(report.function.decision), report.function.p_value);
           ipr_close(c);
           return 0;
       }

   CONTENTS (search for the >>tag)
       >>config    0  options, compiler and CPU           >>train      9  optimisers, schedules, fit, checkpoints
       >>base      1  errors, memory, workers, hashes     >>models    10  networks that know no scheme
       >>math      2  GEMM, vector functions, recurrent   >>schemes   11  Gatekeeper keys, trigger sets, text triggers
       >>tensor    3  shapes, views, parameters           >>attacks   12  pruning, fine-tuning, overwriting, flipping
       >>tape      4  nodes and the reverse sweep         >>verdict   13  exact statistics, decisions
       >>ops       5  one block per op                    A floor calls only floors below it: -DIPR_FLOOR_MAX=n
       >>layers    6  dense, embedding, recurrent stacks  compiles nothing above floor n. Declarations come
       >>files     7  safetensors, npy, JSON              first, in the same order; then the implementation.
       >>data      8  IDX, images, text, vocabularies,
                      batches, generators

   OPTIONS (define before the implementation)
       IPR_STATIC              every function static: two copies can live in one program
       IPR_API                 your own linkage, e.g. __declspec(dllexport)
       IPR_REAL                float (default) or double; double uses the portable kernels
       IPR_THREADS             a pool of workers (pthreads or Win32): ipr_desc.threads = n
       IPR_MALLOC(n), IPR_REALLOC(p,n), IPR_FREE(p)   all three or none; or ipr_desc.allocator at run time
       IPR_ASSERT(x)           internal invariants; default none
       IPR_NO_STDIO            no FILE, no paths: memory and callbacks remain
       IPR_NO_SIMD             portable C only
       IPR_NO_CLOCK            no system clock; ipr_desc.now_fn instead
       IPR_NO_RNN, IPR_NO_TRAIN   leave out recurrent layers and what stands on them; training
       IPR_FREESTANDING        no libc at all: give ipr_desc.allocator or ipr_desc.memory. The compiler itself may call
                               memcpy, memmove, memset and memcmp, as on every freestanding target
       IPR_FLOOR_MAX=n         compile floors 0..n only

   ipr.h DOES NOT
       - print, abort, exit, longjmp, read environment variables, keep globals or start threads unasked
       - read pickles, sign, time-stamp or encrypt: use ssh-keygen, minisign or openssl on the files it writes
       - decompress: data_fetch/ unpacks data sets once
       - promise "uncrackable": see THREAT MODEL

   CONCEPTS
       Context     ipr_ctx: memory, error, randomness, workers. One per thread. A model belongs to its context.
       Tensor      a window on elements; temporaries die at ipr_step_end, parameters with their set.
       Tape        ops run at once; ipr_backward walks back over what needs gradients.
       Secret      what proves ownership (key, triggers): an object and a file of its own, never inside the model.
       Four verbs  embed (terms in the training step), fidelity (accuracy kept), verify (a verdict), invert (attacks).

   ERRORS
       The context keeps the first error: ipr_status, ipr_message ("ipr_matmul: 3x4 by 5x6: inner dimensions 4 and 5
       differ"). Functions that return tensors return poison, never NULL for a live context; poison passes through.
       Bad input costs nothing you had: a failed load leaves the old model, a failed save the old file.

   MEMORY
       Three lifetimes: parameter sets, the step (everything between two ipr_step_end), scratch per worker. All 64-byte
       aligned, over one allocator. After the longest batch seen there are no allocations in a training step.
       ipr_desc.memory: nothing but your buffer is used; run once with ipr_desc.measure = 1 to learn its size.

   THREADS
       None unless you define IPR_THREADS and set ipr_desc.threads, or give ipr_desc.parallel_fn.

   DETERMINISM
       Same build, ISA level, seed and input: the same bits at any thread count. ipr_desc.isa = IPR_ISA_PORTABLE: the
       same bits on every target with IEEE floats, if the compiler rounds every product (-ffp-contract=off where the
       baseline has FMA, SSE arithmetic on 32-bit x86); ipr_portable_bits says whether it does. With AVX2 and AVX-512
       recurrent layers, backward and optimisers take denormal numbers for zero; the caller's mode is restored.

   FILE FORMAT
       safetensors, little-endian by bytes on every host, the parameters' names and shapes as in PyTorch's state_dict.
       Secrets are safetensors files with "ipr.secret" in their metadata, readable by their owner only.

   THREAT MODEL of Gatekeeper, measured figures in README.md
       Withstands: forged keys of the same generator (with the default recipe), pruning, fine-tuning without the key.
       Does not:   - the public scheme's model works without a key: it proves ownership, it locks nothing
                   - overwriting adds the thief's own key beside yours: only a commitment dated before release decides
                   - an attacker who holds the weights can optimise a key that opens the gates: a key counts only if it
                     comes from a seed committed beforehand, and only by its rank among fresh keys
                   - signs can be flipped without changing the function (ipr_attack_gauge): verify with
                     ipr_gatekeeper_test.reference, or trust the rank of the key's function
                   - distillation into a new network removes everything that lives in weights

   CHANGES
       0.1.0  first version: engine, recurrent networks, text and translation, Gatekeeper, text triggers, attacks,
              verdicts
*/
#ifndef IPR_H_INCLUDED
#define IPR_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>

#define IPR_VERSION_MAJOR  0
#define IPR_VERSION_MINOR  1
#define IPR_VERSION_PATCH  0
#define IPR_VERSION_NUMBER (IPR_VERSION_MAJOR * 10000 + IPR_VERSION_MINOR * 100 + IPR_VERSION_PATCH)
#define IPR_VERSION_STRING "0.1.0"

#ifndef IPR_FLOOR_MAX
#define IPR_FLOOR_MAX 14
#endif

/* IPR_REAL is the type of every tensor element: float (default) or double. */
#ifndef IPR_REAL
#define IPR_REAL float
#endif
#define IPR__CAT_(a, b)       a##b
#define IPR__CAT(a, b)        IPR__CAT_(a, b)
#define IPR__REAL_SIZE_float  4
#define IPR__REAL_SIZE_double 8
#if IPR__CAT(IPR__REAL_SIZE_, IPR_REAL) == 4
#define IPR_REAL_IS_DOUBLE 0
#elif IPR__CAT(IPR__REAL_SIZE_, IPR_REAL) == 8
#define IPR_REAL_IS_DOUBLE 1
#else
#error "ipr.h: IPR_REAL must be float or double"
#endif

#ifdef __cplusplus
#define IPR_ZERO \
    { \
    }
#define IPR__EXTERN extern "C"
#else
#define IPR_ZERO \
    { \
        0 \
    }
#define IPR__EXTERN extern
#endif

#if defined(__GNUC__) || defined(__clang__)
#define IPR__UNUSED __attribute__((unused))
#else
#define IPR__UNUSED
#endif

#ifndef IPR_API
#ifdef IPR_STATIC
#define IPR_API static IPR__UNUSED
#else
#define IPR_API IPR__EXTERN
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef IPR_REAL ipr_real;   /* element of a tensor */
typedef ptrdiff_t ipr_index; /* every size, count and index: one signed type */

/* ---- Status and errors -------------------------------------------------------------------------
   The context keeps the FIRST error: code, function and a text with the offending shapes. Objects of
   a failed call are poison: every later call lets them pass through without work. One check at the
   end of a step is enough. Nothing here prints, aborts, exits or jumps. */

typedef struct ipr_ctx ipr_ctx;

enum {
    IPR_OK = 0,
    IPR_E_ARG = -1,          /* an argument is NULL, negative or not one of the allowed values */
    IPR_E_SHAPE = -2,        /* shapes do not fit together */
    IPR_E_NOMEM = -3,        /* the allocator or the caller's buffer is exhausted */
    IPR_E_RANGE = -4,        /* a number is out of range, or a size overflows */
    IPR_E_IO = -10,          /* a file or callback failed to read or write */
    IPR_E_FORMAT = -11,      /* a file's contents are not what they claim */
    IPR_E_MISSING = -12,     /* a named thing (file, tensor, key) is not there */
    IPR_E_STATE = -20,       /* called in the wrong order */
    IPR_E_NUMERIC = -21,     /* NaN or infinity where a finite number is needed */
    IPR_E_CANCELLED = -22,   /* a callback asked to stop */
    IPR_E_UNAVAILABLE = -30, /* not compiled in, or no such device */
    IPR_E_INTERNAL = -99     /* a bug in this header: please report it */
};

/* First error of the context, IPR_OK if none. NULL context: IPR_E_ARG. */
IPR_API int ipr_status(const ipr_ctx *c);
/* Text of the first error, "" if none. Owned by the context, valid until ipr_clear or ipr_close. */
IPR_API const char *ipr_message(const ipr_ctx *c);
/* Forget the error, so that the context can be used again. */
IPR_API void ipr_clear(ipr_ctx *c);
/* Name of a status code, e.g. "IPR_E_SHAPE". Never NULL. */
IPR_API const char *ipr_status_name(int code);

/* ---- Context ----------------------------------------------------------------------------------- */

enum { IPR_ISA_AUTO = 0, IPR_ISA_PORTABLE = 1, IPR_ISA_NEON = 2, IPR_ISA_AVX2 = 3, IPR_ISA_AVX512 = 4 };

typedef struct ipr_allocator {
    void *(*alloc_fn)(void *user, size_t bytes);                                  /* any alignment; NULL on failure */
    void *(*realloc_fn)(void *user, void *p, size_t old_bytes, size_t new_bytes); /* may be NULL: not used today */
    void (*free_fn)(void *user, void *p, size_t bytes);
    void *user;
} ipr_allocator;

/* A host's job system: run task(arg, item, worker) for item = 0..items-1, worker in 0..threads-1, and
   return when all are done. Two items running at the same time must have different workers. */
typedef void (*ipr_task)(void *arg, int item, int worker);
typedef void (*ipr_parallel_fn)(void *user, int items, ipr_task task, void *arg);

typedef struct ipr_desc {
    uint64_t seed;           /* of initialisation, dropout and shuffling; 0 is a seed like any other */
    int isa;                 /* IPR_ISA_*; AUTO takes the best this CPU has; asking for one it lacks is an error */
    int threads;             /* 0 or 1: the calling thread only; n > 1 needs IPR_THREADS or parallel_fn */
    ipr_allocator allocator; /* all zero: IPR_MALLOC family */
    void *memory;            /* caller-buffer mode: the only memory used, never grown */
    size_t memory_size;
    int measure; /* 1: lay memory out as caller-buffer mode would, and count: ipr_bytes_needed */
    ipr_parallel_fn parallel_fn;
    void *parallel_user;
    double (*now_fn)(void *user); /* seconds from any origin, for progress; NULL: the system clock where there is one */
    void *now_user;
} ipr_desc;

/* Open a context. d may be NULL (all defaults). NULL is returned only when there is no memory for the
   context itself or the description cannot be met; *status (may be NULL) says why. One context per thread. */
IPR_API ipr_ctx *ipr_open(const ipr_desc *d, int *status);
/* Close it and free everything that belongs to it. NULL is allowed. */
IPR_API void ipr_close(ipr_ctx *c);
IPR_API int ipr_isa(const ipr_ctx *c);     /* the resolved IPR_ISA_* */
IPR_API const char *ipr_isa_name(int isa); /* "portable", "neon", "avx2", "avx512" */
IPR_API int ipr_threads(const ipr_ctx *c);
IPR_API uint64_t ipr_seed(const ipr_ctx *c);
/* Another seed from now on, for the initialisation, dropout and shuffling of what is made and trained next. */
IPR_API void ipr_set_seed(ipr_ctx *c, uint64_t seed);
/* Bytes of desc.memory that the work done so far needs (measure or caller-buffer mode), else 0. */
IPR_API size_t ipr_bytes_needed(const ipr_ctx *c);
IPR_API double ipr_now(ipr_ctx *c); /* seconds, for progress only; 0 where there is no clock */

typedef struct ipr_stats {
    uint64_t allocs, frees; /* calls of the allocator since ipr_open */
    size_t bytes_now, bytes_peak;
    size_t step_bytes, step_peak; /* step arena: in use, high water */
    uint64_t nodes;               /* tape nodes recorded since ipr_open */
    uint64_t host_fallbacks;      /* ops a backend gave back to the CPU */
} ipr_stats;
IPR_API ipr_stats ipr_stats_get(const ipr_ctx *c);

/* ---- Randomness: counter based (Philox4x32-10, Salmon et al. 2011), no state to save ------------- */

/* The 128 bits that belong to (seed, stream, step, index): same on every machine, in any order. */
IPR_API void ipr_random_bits(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index, uint32_t out[4]);
/* A sequential reader over one stream; plain data, copy it to fork it. */
typedef struct ipr_rng {
    uint64_t seed, index;
    uint32_t stream, step;
    uint32_t buf[4];
    int left;
} ipr_rng;
IPR_API ipr_rng ipr_rng_make(uint64_t seed, uint32_t stream, uint32_t step);
IPR_API uint32_t ipr_rng_u32(ipr_rng *r);
IPR_API uint32_t ipr_rng_below(ipr_rng *r, uint32_t n); /* uniform 0..n-1, unbiased; n = 0 gives 0 */
IPR_API double ipr_rng_uniform(ipr_rng *r);             /* [0,1), 53 bits */
IPR_API double ipr_rng_normal(ipr_rng *r);              /* N(0,1) by Box-Muller with our own log, sqrt and cosine */
IPR_API void ipr_rng_shuffle(ipr_rng *r, uint32_t *a, ipr_index n); /* Fisher-Yates */

/* ---- Hashes: FIPS 180-4, RFC 2104, RFC 5869 ------------------------------------------------------ */

typedef struct ipr_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
} ipr_sha256;
IPR_API void ipr_sha256_init(ipr_sha256 *s);
IPR_API void ipr_sha256_update(ipr_sha256 *s, const void *data, size_t bytes);
IPR_API void ipr_sha256_final(ipr_sha256 *s, uint8_t out[32]); /* wipes the state */
IPR_API void ipr_sha256_of(const void *data, size_t bytes, uint8_t out[32]);
IPR_API void ipr_hmac_sha256(const void *key, size_t key_bytes, const void *data, size_t bytes, uint8_t out[32]);
/* HKDF-SHA-256; returns IPR_E_RANGE when out_bytes > 255*32. salt and info may be NULL with length 0. */
IPR_API int ipr_hkdf_sha256(const void *ikm, size_t ikm_bytes, const void *salt, size_t salt_bytes, const void *info,
                            size_t info_bytes, void *out, size_t out_bytes);
IPR_API void ipr_wipe(void *p, size_t bytes);                         /* zero that the optimiser cannot remove */
IPR_API int ipr_equal_ct(const void *a, const void *b, size_t bytes); /* 1 if equal; time depends on bytes only */
IPR_API void ipr_hex(const void *p, size_t bytes, char *out);         /* lower case, 2*bytes+1 characters */
/* Text from numbers without printf: shortest decimal that reads back to the same double. Returns length. */
IPR_API int ipr_fmt_double(char out[32], double v);
/* fixed point with `digits` decimals (0..9), e.g. 98.18; magnitudes over 1e15 fall back to ipr_fmt_double */
IPR_API int ipr_fmt_fixed(char out[32], double v, int digits);

/* ---- Tensors -------------------------------------------------------------------------------------
   Row-major, up to 6 dimensions, of reals or of int32 (labels, token ids). A view (reshape, slice,
   permute) shares its base's elements and gradient. Temporaries live until ipr_step_end; parameters
   as long as their set. */

typedef struct ipr_tensor ipr_tensor;
typedef struct ipr_params ipr_params;

enum { IPR_MAX_RANK = 6 };
enum { IPR_T_REAL = 0, IPR_T_I32 = 1 };

IPR_API ipr_tensor *ipr_new(ipr_ctx *c, int rank, const ipr_index *dims);     /* temporary, zeroed reals, no gradient */
IPR_API ipr_tensor *ipr_new_i32(ipr_ctx *c, int rank, const ipr_index *dims); /* temporary, zeroed int32 */
IPR_API ipr_tensor *ipr_from(ipr_ctx *c, int rank, const ipr_index *dims, const ipr_real *src);    /* copies */
IPR_API ipr_tensor *ipr_from_i32(ipr_ctx *c, int rank, const ipr_index *dims, const int32_t *src); /* copies */
IPR_API int ipr_is_poison(const ipr_tensor *t);                                                    /* 1 for NULL too */
IPR_API int ipr_rank(const ipr_tensor *t);
IPR_API ipr_index ipr_dim(const ipr_tensor *t, int axis); /* negative axis counts from the end; 0 if out of range */
IPR_API ipr_index ipr_count(const ipr_tensor *t);
IPR_API int ipr_type(const ipr_tensor *t);             /* IPR_T_* */
IPR_API void ipr_require_grad(ipr_tensor *t, int yes); /* leaves only */
/* Host access: contiguous row-major elements. Non-contiguous views cannot be mapped: NULL and an error.
   ipr_write with keep = 0 promises to overwrite everything. Poison gives NULL. */
IPR_API const ipr_real *ipr_read(ipr_ctx *c, const ipr_tensor *t);
IPR_API ipr_real *ipr_write(ipr_ctx *c, ipr_tensor *t, int keep);
IPR_API const int32_t *ipr_read_i32(ipr_ctx *c, const ipr_tensor *t);
IPR_API int32_t *ipr_write_i32(ipr_ctx *c, ipr_tensor *t, int keep);
/* Gradient of a leaf or temporary after ipr_backward; NULL (no error) where none arrived. */
IPR_API const ipr_real *ipr_grad(ipr_ctx *c, const ipr_tensor *t);
IPR_API ipr_real ipr_item(ipr_ctx *c, const ipr_tensor *t); /* the single element; 0 on error */

/* Named parameters, in order of creation; PyTorch's names and shapes. Owns its tensors. */
IPR_API ipr_params *ipr_params_new(ipr_ctx *c); /* NULL on error */
IPR_API void ipr_params_free(ipr_params *p);    /* wipes, then frees; NULL allowed */
IPR_API ipr_tensor *ipr_param(ipr_params *p, const char *name, int rank,
                              const ipr_index *dims); /* zeroed, requires grad; poison on error */
IPR_API int ipr_params_count(const ipr_params *p);
IPR_API const char *ipr_params_name(const ipr_params *p, int i);
IPR_API ipr_tensor *ipr_params_at(const ipr_params *p, int i);
IPR_API ipr_tensor *ipr_params_find(const ipr_params *p, const char *name); /* NULL if absent, no error */
IPR_API ipr_index ipr_params_elements(const ipr_params *p);                 /* sum of counts */
IPR_API ipr_ctx *ipr_params_ctx(const ipr_params *p);
/* Same names, shapes and values, own memory. NULL on error. */
IPR_API ipr_params *ipr_params_clone(const ipr_params *p);
IPR_API int ipr_params_copy(
    ipr_params *dst,
    const ipr_params *src); /* values by name; all names and shapes must agree, else nothing is changed */
IPR_API void ipr_params_zero_grad(ipr_params *p);

/* ---- Tape ----------------------------------------------------------------------------------------
   Ops run at once and append a node when an input needs a gradient. */
IPR_API int ipr_backward(ipr_ctx *c, ipr_tensor *loss); /* loss: one element. Adds to the gradients of leaves. */
IPR_API void ipr_step_end(ipr_ctx *c); /* frees every temporary and node; parameters and their gradients stay */
IPR_API void ipr_set_training(ipr_ctx *c, int yes); /* dropout acts only when training; default 0 */
IPR_API void ipr_no_grad(ipr_ctx *c, int yes);      /* 1: record nothing */
/* 1 when results of this context are the same bits on every IEEE target: portable ISA, and the self-test at
   ipr_open found that the compiler rounds every product (-ffp-contract=off where the target has FMA). */
IPR_API int ipr_portable_bits(const ipr_ctx *c);

/* ---- Ops -----------------------------------------------------------------------------------------
   Every op returns a temporary (poison on error) and is differentiable unless the table says NONDIFF.
   X(id, NAME, name, DIFF or NONDIFF, "what"): ids are fixed for ever, whatever IPR_NO_* cuts. */

#define IPR__OPS_CORE(X) \
    X(0, CONTIGUOUS, contiguous, DIFF, "a row-major copy of a strided view") \
    X(1, ADD, add, DIFF, "a + b, broadcast") \
    X(2, SUB, sub, DIFF, "a - b, broadcast") \
    X(3, MUL, mul, DIFF, "a * b, broadcast") \
    X(4, DIV, div, DIFF, "a / b, broadcast") \
    X(5, AFFINE, affine, DIFF, "scale * x + shift") \
    X(6, EXP, exp, DIFF, "e^x") \
    X(7, LOG, log, DIFF, "natural logarithm") \
    X(8, SQRT, sqrt, DIFF, "square root") \
    X(9, SQUARE, square, DIFF, "x^2") \
    X(10, RELU, relu, DIFF, "max(x, 0)") \
    X(11, SIGMOID, sigmoid, DIFF, "1 / (1 + e^-x)") \
    X(12, TANH, tanh, DIFF, "hyperbolic tangent") \
    X(13, SUM, sum, DIFF, "sum over all elements or one axis") \
    X(14, MATMUL, matmul, DIFF, "matrix product") \
    X(15, LINEAR, linear, DIFF, "x w^T + b") \
    X(16, SOFTMAX, softmax, DIFF, "softmax over the last axis") \
    X(17, LOG_SOFTMAX, log_softmax, DIFF, "log softmax over the last axis") \
    X(18, CROSS_ENTROPY, cross_entropy, DIFF, "mean cross-entropy of logits against labels") \
    X(19, NLL, nll, DIFF, "mean negative log-likelihood of log-probabilities") \
    X(20, BCE, bce, DIFF, "mean binary cross-entropy of logits") \
    X(21, MSE, mse, DIFF, "mean squared error") \
    X(22, KL_DIV, kl_div, DIFF, "T^2 KL(teacher || student) of tempered softmaxes") \
    X(23, EMBEDDING, embedding, DIFF, "rows of a table by id") \
    X(24, DROPOUT, dropout, DIFF, "zero with probability p, scale the rest by 1/(1-p)") \
    X(25, CONCAT, concat, DIFF, "join along an axis") \
    X(26, GRAD_REVERSE, grad_reverse, DIFF, "identity whose gradient is multiplied by -lambda") \
    X(27, ARGMAX, argmax, NONDIFF, "index of the largest along the last axis")
#define IPR__OPS_RNN(X) \
    X(64, LSTM, lstm, DIFF, "whole-sequence LSTM, optionally gated") \
    X(65, GRU, gru, DIFF, "whole-sequence GRU, optionally gated")
#define IPR__OPS(X) IPR__OPS_CORE(X) IPR__OPS_RNN(X)

#define IPR__OP_ENUM(id, NAME, name, diff, what) IPR_OP_##NAME = id,
enum { IPR__OPS(IPR__OP_ENUM) IPR_OP_COUNT = 128 };
#undef IPR__OP_ENUM

/* Name, one-line description and differentiability of an op id; NULL / 0 for ids without an op. */
IPR_API const char *ipr_op_name(int id);
IPR_API const char *ipr_op_doc(int id);
IPR_API int ipr_op_differentiable(int id);

/* Views: no copy, no node, the same elements and gradient. */
IPR_API ipr_tensor *ipr_reshape(ipr_ctx *c, ipr_tensor *x, int rank,
                                const ipr_index *dims); /* one size may be -1; strided views are copied first */
IPR_API ipr_tensor *ipr_slice(ipr_ctx *c, ipr_tensor *x, int axis, ipr_index start, ipr_index count);
IPR_API ipr_tensor *ipr_select(ipr_ctx *c, ipr_tensor *x, int axis, ipr_index at); /* slice of one, axis dropped */
IPR_API ipr_tensor *ipr_permute(ipr_ctx *c, ipr_tensor *x, const int *axes);       /* out dim i is x dim axes[i] */
IPR_API ipr_tensor *ipr_transpose(ipr_ctx *c, ipr_tensor *x);                      /* last two axes swapped */

IPR_API ipr_tensor *ipr_contiguous(ipr_ctx *c, ipr_tensor *x);
/* Elementwise, NumPy broadcasting: sizes agree from the right, or are 1. */
IPR_API ipr_tensor *ipr_add(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b);
IPR_API ipr_tensor *ipr_sub(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b);
IPR_API ipr_tensor *ipr_mul(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b);
IPR_API ipr_tensor *ipr_div(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b);
IPR_API ipr_tensor *ipr_affine(ipr_ctx *c, ipr_tensor *x, double scale, double shift); /* scale x + shift */
IPR_API ipr_tensor *ipr_exp(ipr_ctx *c, ipr_tensor *x);
IPR_API ipr_tensor *ipr_log(ipr_ctx *c, ipr_tensor *x);
IPR_API ipr_tensor *ipr_sqrt(ipr_ctx *c, ipr_tensor *x); /* gradient at 0 is 0, so that std of equal values is safe */
IPR_API ipr_tensor *ipr_square(ipr_ctx *c, ipr_tensor *x);
IPR_API ipr_tensor *ipr_relu(ipr_ctx *c, ipr_tensor *x);
IPR_API ipr_tensor *ipr_sigmoid(ipr_ctx *c, ipr_tensor *x);
IPR_API ipr_tensor *ipr_tanh(ipr_ctx *c, ipr_tensor *x);
IPR_API ipr_tensor *ipr_sum(ipr_ctx *c, ipr_tensor *x);                /* -> scalar */
IPR_API ipr_tensor *ipr_mean(ipr_ctx *c, ipr_tensor *x);               /* -> scalar */
IPR_API ipr_tensor *ipr_sum_axis(ipr_ctx *c, ipr_tensor *x, int axis); /* axis removed */
IPR_API ipr_tensor *ipr_mean_axis(ipr_ctx *c, ipr_tensor *x, int axis);
/* a [M,K] b [K,N] -> [M,N]; a [L,M,K] with b [L,K,N] or [K,N] -> [L,M,N] */
IPR_API ipr_tensor *ipr_matmul(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b);
/* x [...,I], w [O,I], b [O] or NULL -> [...,O] */
IPR_API ipr_tensor *ipr_linear(ipr_ctx *c, ipr_tensor *x, ipr_tensor *w, ipr_tensor *b);
IPR_API ipr_tensor *ipr_softmax(ipr_ctx *c, ipr_tensor *x);
IPR_API ipr_tensor *ipr_log_softmax(ipr_ctx *c, ipr_tensor *x);
/* logits or log-probabilities [N,C], labels int32 [N] in 0..C-1, or -100 to leave a row out -> scalar mean over the
   rest */
IPR_API ipr_tensor *ipr_cross_entropy(ipr_ctx *c, ipr_tensor *logits, ipr_tensor *labels);
IPR_API ipr_tensor *ipr_nll(ipr_ctx *c, ipr_tensor *logp, ipr_tensor *labels);
IPR_API ipr_tensor *ipr_bce(ipr_ctx *c, ipr_tensor *logits,
                            ipr_tensor *target);                       /* same shapes, target in [0,1], a constant */
IPR_API ipr_tensor *ipr_mse(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b); /* same shapes */
/* Hinton et al. 2015: T^2 mean_n KL(softmax(teacher/T) || softmax(student/T)); the teacher is a constant. [N,C] */
IPR_API ipr_tensor *ipr_kl_div(ipr_ctx *c, ipr_tensor *student, ipr_tensor *teacher, double temperature);
/* table [V,D], ids int32 [...] in 0..V-1 -> [...,D]; rows of id pad get no gradient (-1: none) */
IPR_API ipr_tensor *ipr_embedding(ipr_ctx *c, ipr_tensor *table, ipr_tensor *ids, int pad);
/* Acts only while training (ipr_set_training). The mask is keyed by (seed, draw, step, index): same bits at any
   thread count. */
IPR_API ipr_tensor *ipr_dropout(ipr_ctx *c, ipr_tensor *x, double p);
IPR_API ipr_tensor *ipr_concat(ipr_ctx *c, ipr_tensor *const *x, int count, int axis);
IPR_API ipr_tensor *ipr_grad_reverse(ipr_ctx *c, ipr_tensor *x, double lambda); /* Ganin and Lempitsky 2015 */
IPR_API ipr_tensor *ipr_argmax(ipr_ctx *c, ipr_tensor *x); /* [...,C] -> int32 [...]; first of equals */

/* Numeric gradient check: f builds a scalar loss from the parameters (deterministic). Central differences of
   width eps at up to `samples` elements per parameter; returns the worst |numeric - analytic| / max(1, |numeric|,
   |analytic|),
   or -1 on error. Meaningful in IPR_REAL=double builds. */
typedef ipr_tensor *(*ipr_loss_fn)(ipr_ctx *c, void *user);
IPR_API double ipr_gradcheck(ipr_ctx *c, ipr_params *p, ipr_loss_fn f, void *user, double eps, int samples);

#ifndef IPR_NO_RNN
/* ---- Recurrent layers: one node over a whole sequence --------------------------------------------
   T steps, B rows of states, I inputs, H units. PyTorch's cells and parameter shapes: G = 4 with gates
   i, f, g, o (LSTM), G = 3 with gates r, z, n and both biases (GRU). Fill with IPR_ZERO first: NULL is zeros
   or no gate, 0 the default.
   Three more cells are put together from ops, step by step: right, not fast. Gatekeeper's gate of each cell is what
   decides how much of the past is kept: the forget gate of the LSTM family, the GRU's reset gate (both as published),
   and |h| of the vanilla cell, which has no gate: its only activation, in 0..1 and blind to the signature's sign. */
typedef struct ipr_rnn_in {
    ipr_tensor *x;           /* [T,B,I]; dual: [T,B/2,I] */
    ipr_tensor *h0, *c0;     /* [B,H] or NULL; c0: LSTM only */
    ipr_tensor *w_ih, *w_hh; /* [G*H,I], [G*H,H] */
    ipr_tensor *b_ih, *b_hh; /* [G*H] or NULL */
    /* Gatekeeper (Tan, Wong, Chan 2023): after step t < Tk the states become h * gate[t] and c * gate[t]; later
       steps are not gated. [Tk,H] or NULL. */
    ipr_tensor *gate;
    ipr_index gate_from; /* the first gated row; 0: all rows (dual: the second half) */
    int dual;            /* 1: rows b and b + B/2 read the same row of x, whose projection is made once */
    /* int32, one for each row of x, 1..T: its steps; NULL: all T. After its last step a row's states stand still and y
       is 0; what x holds there is never read, and costs nothing. A padded row gives the bits of the row alone. */
    const ipr_tensor *lengths;
    int reverse; /* 1: each row is read from its last valid step to its first; y stays at its own step. gate and
                    gate_out go by the order of reading: gate[0] acts on the first step read */
    int want_gate_out;   /* 1: hand out the forget (LSTM) or reset (GRU) gate of every step */
    int no_y;            /* 1: only the last states are wanted; y is NULL and its memory is saved */
    ipr_tensor *w_peep;      /* ipr_peephole: [3*H], c's weights into i, f and o */
    ipr_tensor *w_mi, *w_mh; /* ipr_mlstm: [H,I], [H,H] */
} ipr_rnn_in;

/* All poison after an error, all differentiable. */
typedef struct ipr_rnn_out {
    ipr_tensor *y;         /* [T,B,H] h of every step before the gate; y[0] (reverse: y[T-1]) is the first-step h */
    ipr_tensor *h_n, *c_n; /* [B,H] last states after the gate; c_n: NULL for cells without c */
    ipr_tensor *gate_out;  /* [T,B,H], NULL unless wanted */
} ipr_rnn_out;

/* c = f*c + i*g, h = o*tanh(c) (Hochreiter and Schmidhuber 1997, with forget gate). Returns the context's status. */
IPR_API int ipr_lstm(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out);
/* h = (1-z)*n + z*h, n = tanh(W_in x + b_in + r*(W_hn h + b_hn)) (Cho et al. 2014, as PyTorch has it). */
IPR_API int ipr_gru(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out);
/* LSTM whose gates see c: i and f the old one, o the new one, unit by unit (Gers and Schmidhuber 2000). */
IPR_API int ipr_peephole(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out);
/* LSTM that reads m = (W_mi x) (W_mh h) in place of h (Krause et al. 2016). */
IPR_API int ipr_mlstm(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out);
/* h = tanh(W_ih x + b_ih + W_hh h + b_hh), G = 1 (Elman 1990). */
IPR_API int ipr_rnn_tanh(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out);
#endif

/* ---- Layers --------------------------------------------------------------------------------------
   A layer is a plain struct of borrowed parameter tensors: it lives as long as the set that owns them.
   Initialisation is PyTorch's default, drawn from (context seed, order of creation). */

enum { IPR_LSTM = 1, IPR_GRU = 2, IPR_PEEPHOLE = 3, IPR_MLSTM = 4, IPR_RNN_TANH = 5 };
IPR_API const char *ipr_cell_name(int cell); /* "lstm", "gru", "peephole", "mlstm", "tanh" */

/* t <- U(-bound, bound), or N(0, sd^2); the stream is t's ordinal in its set, so adding a layer at the end moves
   nothing. */
IPR_API void ipr_init_uniform(ipr_params *p, ipr_tensor *t, double bound);
IPR_API void ipr_init_normal(ipr_params *p, ipr_tensor *t, double sd);

typedef struct ipr_dense {
    ipr_tensor *weight, *bias;
} ipr_dense; /* weight [out,in], bias [out] or NULL */
/* Parameters NAME.weight and NAME.bias, both U(+-1/sqrt(in)). */
IPR_API ipr_dense ipr_dense_new(ipr_params *p, const char *name, ipr_index in, ipr_index out, int bias);
IPR_API ipr_tensor *ipr_dense_forward(ipr_ctx *c, const ipr_dense *l, ipr_tensor *x); /* [...,in] -> [...,out] */

typedef struct ipr_embed {
    ipr_tensor *weight;
    int pad;
} ipr_embed; /* weight [vocabulary,width] */
/* Parameter NAME.weight, N(0,1); row pad (-1: none) is zero and stays so. */
IPR_API ipr_embed ipr_embed_new(ipr_params *p, const char *name, ipr_index vocabulary, ipr_index width, int pad);
IPR_API ipr_tensor *ipr_embed_forward(ipr_ctx *c, const ipr_embed *l, ipr_tensor *ids); /* int32 [...] -> [...,width] */

#ifndef IPR_NO_RNN
enum {
    IPR_BIDIR = 1,       /* a second cell reads from the last step to the first */
    IPR_BIDIR_SHARED = 2 /* one cell reads both ways, as the published Gatekeeper code has it */
};
enum { IPR_RNN_CELLS_MAX = 16 };

typedef struct ipr_rnn_desc {
    int cell;                /* IPR_LSTM (default), IPR_GRU, IPR_PEEPHOLE, IPR_MLSTM, IPR_RNN_TANH */
    ipr_index input, hidden; /* features per step, units of each cell */
    int layers;              /* default 1; the next layer reads y of the one below, both directions side by side */
    int bidirectional;       /* 0, IPR_BIDIR, IPR_BIDIR_SHARED */
    double dropout;          /* between layers, while training */
} ipr_rnn_desc;

/* weight_ih [G*H,I], weight_hh [G*H,H], bias_ih, bias_hh [G*H]; G = 4, gates i,f,g,o (LSTM family), 3, gates r,z,n
   (GRU) or 1 (tanh). Peephole: weight_peephole [3*H]. mLSTM: weight_mi [H,I], weight_mh [H,H]. */
typedef struct ipr_rnn_cell {
    ipr_tensor *w_ih, *w_hh, *b_ih, *b_hh;
    ipr_tensor *w_peep, *w_mi, *w_mh; /* NULL where the cell has none */
} ipr_rnn_cell;

/* A stack of recurrent layers. Cells in the order layer 0, layer 0 reverse, layer 1, ... */
typedef struct ipr_rnn {
    ipr_rnn_desc desc; /* with defaults filled in */
    int cells;
    ipr_rnn_cell at[IPR_RNN_CELLS_MAX];
} ipr_rnn;

/* Gatekeeper's gates, one for each cell [Tk,H]; NULL: that cell is not gated. A shared cell has one for both ways.
   gate[t] acts after the t-th step that the cell reads, for a reverse cell counted from the end. */
typedef struct ipr_gates {
    int count;
    ipr_tensor *at[IPR_RNN_CELLS_MAX];
} ipr_gates;

/* How many cells (gates, signatures) such a layer has: layers, twice that with IPR_BIDIR; 0: more than fit, or a bad
   description. */
IPR_API int ipr_rnn_cells(const ipr_rnn_desc *d);
/* Parameters under PyTorch's names, NAME.weight_ih_l0, NAME.weight_hh_l0, NAME.bias_ih_l0, NAME.bias_hh_l0,
   NAME.weight_ih_l0_reverse ..., NAME.weight_ih_l1 ..., all U(+-1/sqrt(hidden)). Poison tensors on error. */
IPR_API ipr_rnn ipr_rnn_new(ipr_params *p, const char *name, const ipr_rnn_desc *d);

typedef struct ipr_rnn_call {
    ipr_tensor *x;             /* [T,B,I] */
    const ipr_tensor *lengths; /* int32 [B] or NULL, as in ipr_rnn_in */
    const ipr_gates *gates;    /* NULL: none */
    int dual;                  /* 1: the rows run twice, plain (0..B-1) and gated (B..2B-1), sharing what they can */
    int want_y;                /* 1: y of the top layer */
    int want_gates;            /* 1: gate_out and first of every cell */
    int no_dropout;            /* 1: none between layers, also while training */
} ipr_rnn_call;

typedef struct ipr_rnn_result {
    ipr_tensor *last; /* [B or 2B, H or 2H] last states of the top layer after the gate: forward, then reverse */
    ipr_tensor *y;    /* [T, B or 2B, H or 2H], NULL unless wanted */
    ipr_gates gate_out, first; /* per cell [T,B,H], [B,H]: forget or reset gates in the order of reading, h of the first
                                  step read (by rows of full length) */
} ipr_rnn_result;

/* Returns the context's status; on error last (and y, if wanted) is poison. */
IPR_API int ipr_rnn_apply(ipr_ctx *c, const ipr_rnn *l, const ipr_rnn_call *in, ipr_rnn_result *out);
/* The same where only the last states are wanted. */
IPR_API ipr_tensor *ipr_rnn_forward(ipr_ctx *c, const ipr_rnn *l, ipr_tensor *x, const ipr_gates *gates, int dual);
#endif

#if IPR_FLOOR_MAX >= 7
/* ---- Files: readers ------------------------------------------------------------------------------
   One way in for bytes from memory, a callback or a file. Every size a file claims is checked against
   the bytes that are really left before anything is allocated. A reader is plain data on your stack;
   its fields are private. Open it, hand it to a loader, close it. With IPR_NO_STDIO the calls that
   take a path answer IPR_E_UNAVAILABLE. A context that already holds an error reads and writes nothing. */

#define IPR_SIZE_UNKNOWN UINT64_MAX

/* Put up to `bytes` bytes at dst. Returns how many (fewer than asked is fine), 0 at the end, < 0 on failure. */
typedef ipr_index (*ipr_read_fn)(void *user, void *dst, size_t bytes);
/* Take all `bytes` bytes. Returns 1, or 0 on failure. */
typedef int (*ipr_write_fn)(void *user, const void *src, size_t bytes);

typedef struct ipr_reader {
    ipr_ctx *ctx;
    const char *name; /* for messages: the path, or "memory" */
    const uint8_t *mem;
    void *owned, *file, *user;
    ipr_read_fn read_fn;
    uint64_t size, at;
    int status;
} ipr_reader;

/* Read `bytes` bytes at data, which is not copied and has to outlive the reader and what is opened from it. */
IPR_API int ipr_reader_memory(ipr_ctx *c, ipr_reader *r, const void *data, size_t bytes);
/* Read through a callback. size: bytes in all, or IPR_SIZE_UNKNOWN, and then everything is read at once. */
IPR_API int ipr_reader_callback(ipr_ctx *c, ipr_reader *r, ipr_read_fn read_fn, void *user, uint64_t size);
/* Read a file (a pipe or device is read at once). path has to outlive the reader. IPR_E_MISSING, IPR_E_IO. */
IPR_API int ipr_reader_file(ipr_ctx *c, ipr_reader *r, const char *path);
/* Exactly `bytes` bytes, or IPR_E_FORMAT (fewer are left), IPR_E_IO (they could not be read). */
IPR_API int ipr_reader_read(ipr_reader *r, void *dst, size_t bytes);
IPR_API uint64_t ipr_reader_left(const ipr_reader *r); /* bytes not read yet */
IPR_API void ipr_reader_close(ipr_reader *r);          /* NULL and a reader that failed to open are allowed */

/* ---- Files: writers ------------------------------------------------------------------------------
   One way out. Write, then ipr_writer_commit, then always ipr_writer_close. A file is written beside
   its final name as PATH.tmp-XXXXXXXX, flushed to the disk and renamed by commit: at every moment, also
   after a crash, PATH holds all of the old bytes or all of the new ones. Closed without commit, or failed:
   the temporary is removed and the old file is as it was (a killed program leaves its PATH.tmp-* behind). A read-only
   file, a folder, a pipe or a device is refused; a symbolic link is replaced by the file itself. */

enum {
    IPR_FILE_PRIVATE = 1 /* only the owner may read the file (mode 0600): for secrets; no effect on Windows */
};

typedef struct ipr_writer {
    ipr_ctx *ctx;
    const char *name;
    int kind, status, flags, committed;
    uint8_t *buf;
    size_t cap, used;
    uint64_t total;
    ipr_write_fn write_fn;
    void *user;
    char *path, *temp;
    ipr_index handle;
} ipr_writer;

/* Write to memory that grows; ipr_writer_data has it until close. */
IPR_API int ipr_writer_memory(ipr_ctx *c, ipr_writer *w);
/* Write to the caller's buffer (NULL with 0 to count only). Bytes that do not fit are counted and dropped:
   ipr_writer_bytes is then the size needed and commit answers IPR_E_NOMEM. */
IPR_API int ipr_writer_buffer(ipr_ctx *c, ipr_writer *w, void *buf, size_t bytes);
IPR_API int ipr_writer_callback(ipr_ctx *c, ipr_writer *w, ipr_write_fn write_fn, void *user);
/* Replace the file at path atomically. An existing file's permissions are kept. flags: IPR_FILE_*. */
IPR_API int ipr_writer_file(ipr_ctx *c, ipr_writer *w, const char *path, int flags);
/* sticky: later calls repeat the failure */
IPR_API int ipr_writer_write(ipr_writer *w, const void *src, size_t bytes);
IPR_API int ipr_writer_text(ipr_writer *w, const char *s); /* the characters, without the 0 */
IPR_API uint64_t ipr_writer_bytes(const ipr_writer *w);    /* written so far, or needed */
/* memory and buffer writers, else NULL */
IPR_API const void *ipr_writer_data(const ipr_writer *w);
IPR_API int ipr_writer_commit(ipr_writer *w);
IPR_API void ipr_writer_close(ipr_writer *w);
/* A whole file at once, atomically. */
IPR_API int ipr_file_write(ipr_ctx *c, const char *path, const void *data, size_t bytes, int flags);
/* A whole file into a block of its own, 0 added behind it, *bytes without the 0; free with ipr_file_free. NULL on
   error. */
IPR_API void *ipr_file_read(ipr_ctx *c, const char *path, size_t *bytes);
IPR_API void ipr_file_free(ipr_ctx *c, void *data);

/* ---- Arrays: elements of a file --------------------------------------------------------------------
   What npy, IDX and safetensors hold: a name, an element type, dimensions, bytes in row-major order. */

enum {
    IPR_DT_NONE = 0,
    IPR_DT_F64,
    IPR_DT_F32,
    IPR_DT_F16,
    IPR_DT_BF16,
    IPR_DT_I64,
    IPR_DT_U64,
    IPR_DT_I32,
    IPR_DT_U32,
    IPR_DT_I16,
    IPR_DT_U16,
    IPR_DT_I8,
    IPR_DT_U8,
    IPR_DT_BOOL,
    IPR_DT_COUNT,
    IPR_DT_REAL = IPR_REAL_IS_DOUBLE ? IPR_DT_F64 : IPR_DT_F32
};
enum { IPR_ORDER_HOST = 0, IPR_ORDER_LITTLE = 1, IPR_ORDER_BIG = 2 };
enum { IPR_ARRAY_RANK = 8 };

typedef struct ipr_array {
    const char *name;       /* NULL where the format has none */
    int dtype, order, rank; /* IPR_DT_*, IPR_ORDER_* of the bytes at data */
    ipr_index dims[IPR_ARRAY_RANK];
    const void *data; /* may be unaligned */
    size_t bytes;
    void *owned; /* private */
} ipr_array;

IPR_API size_t ipr_dtype_bytes(int dtype);             /* 0 for no dtype */
IPR_API const char *ipr_dtype_name(int dtype);         /* safetensors' names: "F32"; "?" for no dtype */
IPR_API ipr_index ipr_array_count(const ipr_array *a); /* elements */
/* All elements as host numbers of `dtype` (F64, F32 from any type; I64, I32, U8 from integers and BOOL) at dst.
   IPR_E_RANGE where a value does not fit: then dst is partly written. */
IPR_API int ipr_array_get(ipr_ctx *c, const ipr_array *a, int dtype, void *dst);
/* A temporary with the array's elements: reals from F64, F32, F16, BF16, int32 from the others. Poison on error. */
IPR_API ipr_tensor *ipr_array_tensor(ipr_ctx *c, const ipr_array *a);
/* Describe a tensor's elements, to be written while the tensor lives; contiguous tensors only. */
IPR_API int ipr_array_of(ipr_ctx *c, const ipr_tensor *t, const char *name, ipr_array *out);
/* Free what ipr_npy_read or ipr_idx_read allocated; zeroes *a. */
IPR_API void ipr_array_free(ipr_ctx *c, ipr_array *a);

/* ---- safetensors: https://github.com/huggingface/safetensors -------------------------------------
   8 bytes header length, a JSON header, the tensors' bytes, little-endian on every host. Written files are
   the same bytes everywhere: tensors by element size (large first), then by name; data 8-byte aligned; and
   "sha256" in __metadata__, the hash of all tensor bytes in file order. Read strictly: header up to 100 MB,
   no duplicate names, no holes, overlaps or trailing bytes, every size equal to its shape. */

typedef struct ipr_pair {
    const char *key, *value;
} ipr_pair;
/* The text map of a file; the key "sha256" is ours. */
typedef struct ipr_meta {
    const ipr_pair *pairs;
    int count;
} ipr_meta;

enum {
    IPR_LOAD_EXTRA = 1,   /* tensors in the file that the model has not are passed over */
    IPR_LOAD_MISSING = 2, /* parameters that the file has not stay as they are */
    IPR_LOAD_NO_HASH = 4  /* do not check "sha256" */
};

typedef struct ipr_st ipr_st; /* an opened safetensors file */

/* Write n arrays (their names are the tensors'). meta may be NULL. Does not commit w. IPR_E_ARG: two equal names. */
IPR_API int ipr_st_write(ipr_writer *w, const ipr_array *arrays, int n, const ipr_meta *meta);
/* Read and check a whole file. From memory nothing is copied. NULL on error. flags: IPR_LOAD_NO_HASH. */
IPR_API ipr_st *ipr_st_open(ipr_reader *r, int flags);
IPR_API ipr_st *ipr_st_open_file(ipr_ctx *c, const char *path, int flags);
IPR_API void ipr_st_close(ipr_st *st); /* NULL allowed */
IPR_API int ipr_st_count(const ipr_st *st);
/* in order of name; NULL out of range; lives as long as st */
IPR_API const ipr_array *ipr_st_at(const ipr_st *st, int i);
IPR_API const ipr_array *ipr_st_find(const ipr_st *st, const char *name); /* NULL if absent, no error */
IPR_API const char *ipr_st_meta(const ipr_st *st, const char *key);       /* NULL if absent, no error */
IPR_API const ipr_meta *ipr_st_meta_all(const ipr_st *st);                /* in order of key; NULL for NULL */

/* Parameters to a file and back. Loading checks everything first (names, shapes, hash): on any error the
   model is as it was, and the message names the first tensors that are missing, unexpected or of another
   shape. F64, F32, F16 and BF16 load into either build. Only parameters are written: an optimiser's state
   is written by its own call. */
IPR_API int ipr_params_save(const ipr_params *p, const char *path, const ipr_meta *meta);
IPR_API int ipr_params_load(ipr_params *p, const char *path, int flags);
IPR_API int ipr_params_write(const ipr_params *p, ipr_writer *w, const ipr_meta *meta); /* does not commit */
IPR_API int ipr_params_read(ipr_params *p, ipr_reader *r, int flags);
/* Into buf; *needed (may be NULL) gets the bytes of the whole file. buf NULL with cap 0 only counts, which is no
   error. */
IPR_API int ipr_params_save_memory(const ipr_params *p, void *buf, size_t cap, size_t *needed, const ipr_meta *meta);
IPR_API int ipr_params_load_memory(ipr_params *p, const void *data, size_t bytes, int flags);
/* From a file that is open already (say, after reading its metadata to know which model to build). */
IPR_API int ipr_params_from(ipr_params *p, const ipr_st *st, int flags);
/* The "sha256" that ipr_params_save would write: hash of all parameters' bytes. */
IPR_API int ipr_params_sha256(const ipr_params *p, uint8_t out[32]);

/* ---- npy: numpy.lib.format, versions 1 to 3 ------------------------------------------------------- */

/* Write one array, version 1.0, C order, little-endian. BF16 has no npy type: IPR_E_ARG. */
IPR_API int ipr_npy_write(ipr_writer *w, const ipr_array *a);
/* Read one array; either byte order; Fortran order is transposed to row-major. Stops behind the array, so
   arrays that were appended to one stream can be read one by one. *out: free with ipr_array_free. */
IPR_API int ipr_npy_read(ipr_reader *r, ipr_array *out);
IPR_API int ipr_npy_save(ipr_ctx *c, const char *path, const ipr_tensor *t);
/* a temporary; bytes behind the array are an error */
IPR_API ipr_tensor *ipr_npy_load(ipr_ctx *c, const char *path);

/* ---- JSON out (RFC 8259) --------------------------------------------------------------------------
   Inside an object every value has a key, elsewhere key is NULL. Strings are UTF-8; bytes that are not become
   \ufffd. NaN and infinities become null. "</" is written "<\/", so the text can stand in an HTML script.
   Errors are sticky in the writer; misuse is IPR_E_STATE. */

typedef struct ipr_json {
    ipr_writer *w;
    uint64_t objects, filled;
    int depth, pretty, done;
} ipr_json;

/* pretty: 1 gives lines and 1 space of indent per level. */
IPR_API void ipr_json_begin(ipr_json *j, ipr_writer *w, int pretty);
IPR_API void ipr_json_object(ipr_json *j, const char *key);
IPR_API void ipr_json_array(ipr_json *j, const char *key);
IPR_API void ipr_json_end(ipr_json *j);                                     /* closes the innermost object or array */
IPR_API void ipr_json_str(ipr_json *j, const char *key, const char *value); /* NULL value: null */
IPR_API void ipr_json_num(ipr_json *j, const char *key, double value);      /* shortest text that reads back */
IPR_API void ipr_json_fixed(ipr_json *j, const char *key, double value, int digits);
IPR_API void ipr_json_int(ipr_json *j, const char *key, int64_t value);
IPR_API void ipr_json_bool(ipr_json *j, const char *key, int value);
IPR_API void ipr_json_null(ipr_json *j, const char *key);
/* IPR_OK when one whole value was written; no commit */
IPR_API int ipr_json_finish(ipr_json *j);

/* ---- JSON in: strict RFC 8259, at most 64 levels, no memory of its own ------------------------------ */

enum {
    IPR_JSON_NONE = 0,
    IPR_JSON_NULL,
    IPR_JSON_BOOL,
    IPR_JSON_NUMBER,
    IPR_JSON_STRING,
    IPR_JSON_ARRAY,
    IPR_JSON_OBJECT
};

/* A value: its span of the text (strings with their quotes), which has to stay where it is. */
typedef struct ipr_json_val {
    const char *text;
    size_t bytes;
    int type;
} ipr_json_val;

/* Check a whole text; the error names line and column. Of equal keys in one object the first is found. */
IPR_API int ipr_json_parse(ipr_ctx *c, const char *text, size_t bytes, ipr_json_val *root);
/* "rows[3].ours": keys with '.' between, [index]; type IPR_JSON_NONE where there is nothing. No errors. */
IPR_API ipr_json_val ipr_json_get(ipr_json_val v, const char *path);
IPR_API ipr_json_val ipr_json_member(ipr_json_val v, const char *key); /* any key, also with dots */
IPR_API ipr_json_val ipr_json_at(ipr_json_val v, ipr_index i);         /* i-th value of an array or object */
IPR_API ipr_index ipr_json_count(ipr_json_val v);                      /* values in an array or object, else 0 */
/* Walk an array or object: *cursor = 0 first; 1 while there is a value. key (may be NULL) is of type NONE in arrays. */
IPR_API int ipr_json_next(ipr_json_val v, size_t *cursor, ipr_json_val *key, ipr_json_val *value);
IPR_API double ipr_json_to_double(ipr_json_val v, double otherwise);
/* `otherwise` too for 1.5, 1e3 and what overflows */
IPR_API int64_t ipr_json_to_int(ipr_json_val v, int64_t otherwise);
IPR_API int ipr_json_to_bool(ipr_json_val v, int otherwise);
/* A string's UTF-8 text into out, always ended by 0, cut to fit. Returns the whole length; 0 and "" for no string. */
IPR_API size_t ipr_json_to_text(ipr_json_val v, char *out, size_t cap);
IPR_API int ipr_json_equals(ipr_json_val v, const char *text); /* 1 for a string of exactly this text */
#endif                                                         /* IPR_FLOOR_MAX >= 7 */

#if IPR_FLOOR_MAX >= 8
/* ---- Data sets -----------------------------------------------------------------------------------
   Items of one shape, as bytes or reals, or sequences of token ids of any length, with int32 labels; batches are
   gathered from them into tensors. Loaders read IDX and text; the built-in digits, questions and sentence pairs need
   no file. Data sets are made, viewed and freed on one thread. */

enum { IPR_DATA_BORROW = 1 }; /* items are not copied: the caller keeps them while the data set lives */

typedef struct ipr_dataset { /* read the fields, do not write them */
    ipr_ctx *ctx;
    ipr_index count;                  /* items */
    ipr_index dims[IPR_MAX_RANK - 1]; /* of one item, e.g. {28, 28}; tokens: {the longest item, at least 1} */
    ipr_index item;                   /* elements of one item (tokens: of the longest) */
    int rank, classes;                /* labels are 0 .. classes - 1; 0 classes where there are no labels */
    const char *name, *source;        /* "mnist", and where it came from, for reports */
    const uint8_t *u8;                /* count items of bytes, or NULL; of a view: the base's */
    const ipr_real *real;             /* count items of reals, or NULL */
    const int32_t *tokens;            /* ids, or NULL: item i of the base is tokens[offset[i]] .. [offset[i + 1] - 1] */
    const ipr_index *offset;          /* tokens: count + 1 of them, of the base */
    int32_t pad;                      /* tokens: what a batch's shorter rows end with; -1 where there are no tokens */
    const int32_t *labels;            /* NULL: none */
    const uint32_t *index;            /* of a view: item i is item index[i] of the base; NULL: i itself */
    struct ipr_dataset *base;         /* private from here on */
    void *own_items, *own_labels;
    int refs;
} ipr_dataset;

/* A data set of `count` items of bytes [dims] with labels (NULL: none), all copied unless IPR_DATA_BORROW, which
   borrows the items only. classes 0: the largest label + 1. name, source are copied (NULL: ""). NULL on error. */
IPR_API ipr_dataset *ipr_dataset_u8(ipr_ctx *c, const char *name, const char *source, ipr_index count, int rank,
                                    const ipr_index *dims, const uint8_t *items, const int32_t *labels, int classes,
                                    int flags);
IPR_API ipr_dataset *ipr_dataset_real(ipr_ctx *c, const char *name, const char *source, ipr_index count, int rank,
                                      const ipr_index *dims, const ipr_real *items, const int32_t *labels, int classes,
                                      int flags);
/* Sequences of token ids: item i is tokens[offsets[i]] .. tokens[offsets[i + 1] - 1] (empty ones are fine), all copied.
   offsets[count + 1] begin at 0 and never fall; ids and pad are 0 or more. classes 0: the largest label + 1; labels
   NULL: none. NULL on error. */
IPR_API ipr_dataset *ipr_dataset_tokens(ipr_ctx *c, const char *name, const char *source, ipr_index count,
                                        const ipr_index *offsets, const int32_t *tokens, const int32_t *labels,
                                        int classes, int32_t pad);
/* All items of n data sets of tokens, one set behind the other, copied into a new one; pad, name and classes (the
   largest) are those of the sets; labels only where all have them. IPR_E_ARG: not tokens, or pads differ. */
IPR_API ipr_dataset *ipr_dataset_join(ipr_ctx *c, const ipr_dataset *const *sets, int n);
/* Images and labels of an IDX pair (MNIST and its kin). name NULL: "idx". labels path NULL: no labels. NULL on
   error. */
IPR_API ipr_dataset *ipr_dataset_idx(ipr_ctx *c, const char *name, const char *images_path, const char *labels_path);
/* The same from memory; the images are used where they are and have to outlive the data set. */
IPR_API ipr_dataset *ipr_dataset_idx_memory(ipr_ctx *c, const char *name, const void *images, size_t image_bytes,
                                            const void *labels, size_t label_bytes);
/* Items first .. first + count - 1 of the endless sequence of rendered digits that belongs to seed: bytes [28,28],
   10 classes, as many of each in every ten items from a multiple of ten; the same bytes on every machine. A test set:
   same seed, first = IPR_DIGITS_TEST. */
#define IPR_DIGITS_TEST ((uint64_t)1 << 40)
IPR_API ipr_dataset *ipr_dataset_digits(ipr_ctx *c, uint64_t seed, uint64_t first, ipr_index count);
/* One digit of that sequence into out [28,28]; returns its label 0..9. */
IPR_API int ipr_digit_draw(uint64_t seed, uint64_t i, uint8_t out[784]);
/* Views keep their base alive: free in any order. NULL allowed. */
IPR_API void ipr_dataset_free(ipr_dataset *ds);

IPR_API int32_t ipr_dataset_label(const ipr_dataset *ds, ipr_index i); /* -1: no label, or out of range */
/* NULL: items are reals, or out of range */
IPR_API const uint8_t *ipr_dataset_item_u8(const ipr_dataset *ds, ipr_index i);
IPR_API const ipr_real *ipr_dataset_item_real(const ipr_dataset *ds, ipr_index i);
/* The ids of item i, *n of them. NULL (and *n = 0): items are no tokens, or out of range. */
IPR_API const int32_t *ipr_dataset_item_tokens(const ipr_dataset *ds, ipr_index i, ipr_index *n);
/* Steps of item i: how many tokens it has, dims[0] where all items have one shape. -1: out of range. */
IPR_API ipr_index ipr_dataset_length(const ipr_dataset *ds, ipr_index i);
/* A data set of the n items idx[] (copied; repeats are fine; NULL: the first n) of ds, sharing its items. NULL on
   error. */
IPR_API ipr_dataset *ipr_dataset_view(ipr_dataset *ds, const uint32_t *idx, ipr_index n);
/* A view of per_class items of every class, drawn by seed, in the order of ds; *rest (NULL: not wanted) the others.
   Without labels all items are one class. Same seed, same items, whatever came before. NULL on error. */
IPR_API ipr_dataset *ipr_dataset_take(ipr_dataset *ds, ipr_index per_class, uint64_t seed, ipr_dataset **rest);
/* The same with a share (0..1) of every class, rounded to nearest: a stratified split. */
IPR_API ipr_dataset *ipr_dataset_split(ipr_dataset *ds, double share, uint64_t seed, ipr_dataset **rest);

enum {
    IPR_BATCH_MAJOR = 0, /* x [B, item's dims] */
    IPR_TIME_MAJOR = 1   /* x [T, B, I] from items [T, ...]: rows are time steps, the rest of the row is I */
};
/* Gather items idx[0..n-1] (NULL: the first n) into temporaries: *x reals, bytes scaled to v / 255, and *y int32 labels
   [B] (y NULL: not wanted). Tokens: *x int32 [T,B] (or [B,T]), T the longest of the batch and at least 1, shorter rows
   end with ds->pad. IPR_E_RANGE: an index outside the data set. On error *x and *y are poison. */
IPR_API int ipr_batch(ipr_ctx *c, const ipr_dataset *ds, const uint32_t *idx, ipr_index n, int layout, ipr_tensor **x,
                      ipr_tensor **y);

/* An order for batches of near-equal length: items (NULL: 0..n-1) are shuffled, every `pool` batches of them (0: 50)
   sorted by length, and whole batches shuffled again; a last batch that is not full stays last. order [n] gets item
   numbers of ds, to be cut into batches of `batch`. The same seed and epoch give the same order. For ipr_fit, see
   ipr_fit_desc.bucket. */
IPR_API int ipr_buckets(const ipr_dataset *ds, const uint32_t *items, ipr_index n, ipr_index batch, ipr_index pool,
                        uint64_t seed, uint32_t epoch, uint32_t *order);

/* ---- Text ----------------------------------------------------------------------------------------
   Files become texts (UTF-8 with labels), texts make a vocabulary, and both give a data set of token ids:
       texts = ipr_texts_load(c, "train_5500.label", &d);    vocab = ipr_vocab_build(c, &vd, &texts, 1);
       train = ipr_dataset_texts(texts, vocab, NULL);
   Lines end with \n or \r\n; a UTF-8 byte order mark at the start is passed over. Errors name file and line. */

enum {
    IPR_TEXT_LINES = 0, /* a text a line, no labels; an empty line is an empty text */
    IPR_TEXT_TREC,      /* "LABEL:fine words": split at the first colon; the fine label is dropped; empty lines too */
    IPR_TEXT_CSV,       /* RFC 4180: quotes, "" for a quote, line ends inside quotes; empty lines are passed over */
    IPR_TEXT_TSV,       /* the same with tabs */
    IPR_TEXT_TREES      /* Penn trees, one a line: (3 (2 It) (4 works)): the leaves, and the root's label (SST) */
};
enum {
    IPR_ENC_AUTO = 0, /* a line (CSV: field, folders: file) that is not valid UTF-8 is read as LATIN1: none is lost */
    IPR_ENC_UTF8,     /* invalid bytes are an error */
    IPR_ENC_LATIN1    /* ISO 8859-1; 0x80..0x9f, control characters there, as in windows-1252, like browsers do */
};
enum {
    IPR_STRIP_HEADERS = 1, /* folders: up to the first empty line (mail and news) */
    IPR_STRIP_FOOTERS = 2, /* folders: from the last line that is empty or all dashes on: a signature */
    IPR_STRIP_QUOTES = 4,  /* folders: lines that begin with > or |, "... writes:", "In article ..." and their kin */
    IPR_STRIP_TAGS = 8,    /* <br />, </a>, <!-- -->: a space instead */
    IPR_STRIP_ESCAPES = 16 /* CSV, TSV: \n, \t, \" and \\ become what they stand for (Yelp) */
};

typedef struct ipr_texts { /* read the fields, do not write them */
    ipr_ctx *ctx;
    ipr_index count;                /* items */
    const char *name, *source;
    const char *text;               /* all items, one behind the other */
    const ipr_index *at;            /* [count + 1]: item i is text[at[i]] .. text[at[i + 1] - 1] */
    const int32_t *labels;          /* NULL: none */
    int classes;
    const char *const *class_names; /* [classes], in order of bytes */
    ipr_index dropped;              /* pairs that ipr_texts_parallel left out */
    void *own[4];                   /* private */
} ipr_texts;

typedef struct ipr_text_desc {
    int format, encoding;                /* IPR_TEXT_*, IPR_ENC_* */
    int strip;                           /* IPR_STRIP_*, added up */
    const char *name;                    /* of the data set; NULL: "text" */
    const ipr_texts *like;               /* a test set: classes are those of the training set, any other is an error */
    int label_column, text_column;       /* CSV, TSV, from 1; default 1 and 2; label_column -1: none; text_column -1:
                                            all columns but the label's, with spaces between */
    int no_quotes;                       /* CSV, TSV: 1: quotes are characters like any other */
    ipr_index skip;                      /* lines to pass over at the start: a header */
    int fine;                            /* TREC: 1: the label is "DESC:manner" */
    const char *const *folders;          /* ipr_texts_folders: only these; NULL: all */
    int nfolders;
} ipr_text_desc;

/* Texts from a reader, or a file. d NULL: lines. IPR_E_FORMAT: a NUL byte or UTF-16 ("is it binary?"), bytes that are
   not of the encoding, no label, a label that d->like has not, an unclosed quote, a tree that does not close; each with
   file and line. NULL on error. Lengths are limited by memory only. */
IPR_API ipr_texts *ipr_texts_read(ipr_reader *r, const ipr_text_desc *d);
IPR_API ipr_texts *ipr_texts_load(ipr_ctx *c, const char *path, const ipr_text_desc *d);
/* Every file of root/CLASS/ as one item (aclImdb's train/neg and train/pos; 20 Newsgroups), classes and files in order
   of their names' bytes, whatever order the disk has. IPR_E_FORMAT: a class without files. IPR_E_UNAVAILABLE: neither
   POSIX nor Windows. */
IPR_API ipr_texts *ipr_texts_folders(ipr_ctx *c, const char *root, const ipr_text_desc *d);
/* Two files of lines that belong together, e.g. Multi30k or WMT14: item i of *a is the translation of item i of *b.
   Pairs of which one side is blank are left out (and counted in `dropped`). IPR_E_FORMAT: unequal numbers of lines. */
IPR_API int ipr_texts_parallel(ipr_ctx *c, const char *path_a, const char *path_b, const ipr_text_desc *d,
                               ipr_texts **a, ipr_texts **b);
IPR_API void ipr_texts_free(ipr_texts *t); /* NULL allowed */
/* Item i and its bytes (no 0 behind it). NULL out of range. */
IPR_API const char *ipr_texts_item(const ipr_texts *t, ipr_index i, size_t *bytes);

/* ---- Text: tokens and vocabulary ------------------------------------------------------------------ */

enum {
    IPR_TOK_SPACE = 0, /* what stands between white space (Unicode's) */
    IPR_TOK_WORD = 1,  /* runs of letters and digits, and every other character by itself; an apostrophe between
                          letters ends its word: "l'" "homme", "don'" "t" */
    IPR_TOK_CHAR = 2   /* every character; a run of white space is one space */
};

typedef struct ipr_vocab_desc {
    int tokenizer;               /* IPR_TOK_* */
    int lower;                   /* 1: lower case (ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic) */
    ipr_index min_count;         /* words rarer than this are unknown; default 1 */
    ipr_index max_size;          /* entries, specials included; 0: no limit */
    const char *const *specials; /* the first ids; NULL: "<unk>" and "<pad>", as 0 and 1. The same words in a text */
    int nspecials;               /* are not them: they count as unknown */
} ipr_vocab_desc;

typedef struct ipr_vocab ipr_vocab; /* its tokenizer, and words <-> ids */

/* All words of n texts: specials, then by count, the most frequent first, ties in order of bytes. d may be NULL.
   NULL on error. */
IPR_API ipr_vocab *ipr_vocab_build(ipr_ctx *c, const ipr_vocab_desc *d, const ipr_texts *const *texts, int n);
IPR_API void ipr_vocab_free(ipr_vocab *v); /* NULL allowed */
IPR_API ipr_index ipr_vocab_size(const ipr_vocab *v);
IPR_API const char *ipr_vocab_word(const ipr_vocab *v, ipr_index id); /* UTF-8; NULL out of range */
IPR_API uint64_t ipr_vocab_count(const ipr_vocab *v, ipr_index id);   /* how often it was seen; 0 for specials */
/* Id of a word or special exactly as it stands in the vocabulary; -1: not there. */
IPR_API int32_t ipr_vocab_id(const ipr_vocab *v, const char *word);
IPR_API int32_t ipr_vocab_unk(const ipr_vocab *v); /* of "<unk>"; -1: none, unknown words are skipped */
IPR_API int32_t ipr_vocab_pad(const ipr_vocab *v); /* of "<pad>"; -1: none */
/* Token ids of a text, up to cap of them into out (NULL with 0: only counted). Returns how many there are; -1 on
   error, e.g. invalid UTF-8. */
IPR_API ipr_index ipr_vocab_encode(ipr_vocab *v, const char *text, size_t bytes, int32_t *out, ipr_index cap);
/* Words of n ids with spaces between (CHAR: without), no specials; cut to cap, always ended by 0. Returns the whole
   length. */
IPR_API size_t ipr_vocab_decode(const ipr_vocab *v, const int32_t *ids, ipr_index n, char *out, size_t cap);

typedef struct ipr_encode_desc {
    ipr_index max_tokens;     /* of a text; the rest is cut; 0: no limit */
    int both_ends;            /* 1: what is cut is the middle, not the end */
    const char *first, *last; /* specials put before and behind every text, e.g. "<sos>", "<eos>"; NULL: none */
} ipr_encode_desc;
/* The data set of t's tokens under v, with t's labels, name and source; pad: "<pad>", or 0 where v has none. d may be
   NULL. NULL on error. */
IPR_API ipr_dataset *ipr_dataset_texts(const ipr_texts *t, ipr_vocab *v, const ipr_encode_desc *d);

/* A vocabulary as a JSON file, with its hash: the SHA-256 of tokenizer, case rule and words in order. Loading checks
   everything, the hash too. */
IPR_API int ipr_vocab_save(const ipr_vocab *v, const char *path);
IPR_API int ipr_vocab_write(const ipr_vocab *v, ipr_writer *w); /* does not commit */
IPR_API ipr_vocab *ipr_vocab_load(ipr_ctx *c, const char *path);
IPR_API ipr_vocab *ipr_vocab_read(ipr_reader *r);
/* The hash in hex: give it to ipr_params_save as the pair {"ipr.vocab", hash}. "" for NULL. */
IPR_API const char *ipr_vocab_hash(const ipr_vocab *v);
/* Is this the vocabulary of the model file st? IPR_E_FORMAT: the file carries another hash; IPR_E_MISSING: none. */
IPR_API int ipr_vocab_check(const ipr_vocab *v, const ipr_st *st);
/* Rows of a table [vocabulary, width] from a text file of vectors (word2vec, fastText .vec, GloVe: "word 0.1 -0.2 ..."
   a line, a first line "count width" or none), words as they stand in v; the others stay as they are. Reads line by
   line, so a file may be larger than memory. Returns how many words were found (the first of equal ones counts), -1 on
   error: then the table is as it was. */
IPR_API ipr_index ipr_embed_vectors(ipr_tensor *table, const ipr_vocab *v, const char *path);
IPR_API ipr_index ipr_embed_vectors_read(ipr_tensor *table, const ipr_vocab *v, ipr_reader *r);

/* Texts first .. first + count - 1 of the endless sequence that belongs to seed, the same on every machine: questions
   in the six classes of TREC (ABBR, DESC, ENTY, HUM, LOC, NUM), as many of each in every six from a multiple of six.
   A test set: same seed, first = IPR_DIGITS_TEST. */
IPR_API ipr_texts *ipr_texts_questions(ipr_ctx *c, uint64_t seed, uint64_t first, ipr_index count);
/* Likewise short English sentences and their French translations, from a grammar with gender and number. */
IPR_API int ipr_texts_pairs(ipr_ctx *c, uint64_t seed, uint64_t first, ipr_index count, ipr_texts **english,
                            ipr_texts **french);

/* IDX (yann.lecun.com/exdb/mnist): one array; its bytes stay in the reader's memory, or are out->owned. The file
   ends behind the array. Free with ipr_array_free. */
IPR_API int ipr_idx_read(ipr_reader *r, ipr_array *out);
/* Look for root/name (e.g. "mnist/train-images-idx3-ubyte") in each of nroots folders, in order; NULL and "" are passed
   over, so getenv's answer can stand in the list. IPR_OK and its path; else "" and IPR_E_MISSING, or IPR_E_FORMAT with
   the path of name.gz where only that is there (make data unpacks it). A miss is no error of the context. */
IPR_API int ipr_data_find(ipr_ctx *c, const char *const *roots, int nroots, const char *name, char *out, size_t cap);

/* ---- Images: rows of bytes, channels interleaved ------------------------------------------------- */

/* channels 1 or 3 */
typedef struct ipr_image {
    ipr_index width, height;
    int channels;
    const uint8_t *px;
    void *owned;
} ipr_image;

enum { IPR_RESIZE_BILINEAR = 0, IPR_RESIZE_BOX = 1 };

/* Read one binary PGM or PPM (P5, P6; comments; any maxval, scaled to 255). Stops behind it. Free with
   ipr_image_free. */
IPR_API int ipr_image_read(ipr_reader *r, ipr_image *out);
IPR_API int ipr_image_load(ipr_ctx *c, const char *path, ipr_image *out); /* bytes behind the image are an error */
IPR_API int ipr_image_write(ipr_writer *w, const ipr_image *im);          /* P5 for 1 channel, P6 for 3 */
IPR_API int ipr_image_save(ipr_ctx *c, const char *path, const ipr_image *im);
IPR_API void ipr_image_free(ipr_ctx *c, ipr_image *im);
/* Bilinear: pixel centres at half integers, edges repeated (OpenCV's INTER_LINEAR, PyTorch's align_corners=False); for
   enlarging. Box: each new pixel is the exact mean of the area it covers; for shrinking. Integers only. */
IPR_API int ipr_image_resize(ipr_ctx *c, const ipr_image *im, ipr_index width, ipr_index height, int filter,
                             ipr_image *out);
/* One channel, luma of ITU-R BT.601: (19595 R + 38470 G + 7471 B + 32768) >> 16, as PIL's "L". */
IPR_API int ipr_image_grey(ipr_ctx *c, const ipr_image *im, ipr_image *out);
/* [H,W] for one channel, [C,H,W] for three; v / 255. A temporary. */
IPR_API ipr_tensor *ipr_image_tensor(ipr_ctx *c, const ipr_image *im);
/* Item i of bytes [H,W], [1,H,W] or [H,W,3] as an image that borrows the data set's bytes. */
IPR_API int ipr_dataset_image(const ipr_dataset *ds, ipr_index i, ipr_image *out);
#endif /* IPR_FLOOR_MAX >= 8 */

#if IPR_FLOOR_MAX >= 9 && !defined(IPR_NO_TRAIN)
/* ---- Train: optimisers ---------------------------------------------------------------------------
   PyTorch's SGD, Adam and AdamW over a parameter set. Like PyTorch, a step skips every parameter that
   requires no gradient (ipr_require_grad) and every one that got none since the gradients were last
   cleared: its value, its moments and its step count stay. State is allocated when a parameter's first
   gradient arrives. An optimiser borrows the set: free it first (or let ipr_close free both). */

enum { IPR_OPT_ADAM = 0, IPR_OPT_ADAMW = 1, IPR_OPT_SGD = 2 };

/* Zero means default; where zero itself is wanted, a negative number says so (marked "-: 0"). */
typedef struct ipr_opt_desc {
    int kind;            /* IPR_OPT_* */
    double lr;           /* learning rate; default 1e-3 */
    double weight_decay; /* ADAM, SGD: L2, added to the gradient, default 0; ADAMW: decoupled, default 0.01 (-: 0) */
    double beta1, beta2; /* ADAM, ADAMW: 0.9, 0.999 (-: 0) */
    double eps;          /* ADAM, ADAMW: 1e-8 (-: 0) */
    double momentum;     /* SGD: default 0 */
    double dampening;    /* SGD: default 0 */
    int nesterov;        /* SGD: 1 needs momentum > 0 and dampening 0 */
} ipr_opt_desc;

typedef struct ipr_opt ipr_opt;

/* d may be NULL: Adam with the defaults. NULL on error (IPR_E_ARG, IPR_E_RANGE, IPR_E_NOMEM).
   Sources: Kingma, Ba 2015; Loshchilov, Hutter 2019; Sutskever et al. 2013; torch.optim. */
IPR_API ipr_opt *ipr_opt_new(ipr_params *p, const ipr_opt_desc *d);
IPR_API void ipr_opt_free(ipr_opt *o); /* NULL allowed; wipes the moments */
/* One update from the gradients that ipr_backward left, then ipr_params_zero_grad. Several ipr_backward calls
   before one step add up. The same bits at any thread count. On error (also one from before) nothing is changed.
   IPR_E_STATE: parameters were added to the set after ipr_opt_new. */
IPR_API int ipr_opt_step(ipr_opt *o);
IPR_API double ipr_opt_lr(const ipr_opt *o);       /* 0 for NULL */
IPR_API int ipr_opt_set_lr(ipr_opt *o, double lr); /* from the next step on; 0 or more, else IPR_E_RANGE */
IPR_API uint64_t ipr_opt_steps(const ipr_opt *o);  /* calls of ipr_opt_step that succeeded */
IPR_API ipr_params *ipr_opt_params(const ipr_opt *o);
IPR_API ipr_opt_desc ipr_opt_resolved(const ipr_opt *o); /* the description with the defaults filled in */

/* Parameters and optimiser state (moments, step counts, learning rate) to a safetensors file and back, to go on
   with the same bits in your own loop; ipr_fit does this by itself. Parameters stand in the file under their own
   names, so ipr_params_load(p, path, IPR_LOAD_EXTRA) and PyTorch read them too. Loading checks everything first:
   on any error the run is as it was. IPR_E_FORMAT: no checkpoint, damaged, or of another optimiser, model or
   IPR_REAL. IPR_E_MISSING, IPR_E_SHAPE: names the parameter. */
IPR_API int ipr_opt_save(const ipr_opt *o, const char *path);
IPR_API int ipr_opt_load(ipr_opt *o, const char *path);
IPR_API int ipr_opt_write(const ipr_opt *o, ipr_writer *w); /* does not commit */
IPR_API int ipr_opt_read(ipr_opt *o, ipr_reader *r);

/* The gradient of t to read and change between ipr_backward and the step (to sum it over machines, to add noise):
   ipr_count(t) elements, made as zeros where none arrived. NULL: t requires none, or an error. */
IPR_API ipr_real *ipr_grad_write(ipr_ctx *c, ipr_tensor *t);
/* torch.nn.utils.clip_grad_norm_: with the 2-norm of all gradients together, every gradient is multiplied by
   min(1, max_norm / (norm + 1e-6)). Returns the norm before clipping; -1 on error. IPR_E_NUMERIC names the
   parameter whose gradient is not finite; nothing is changed then. */
IPR_API double ipr_clip_grad_norm(ipr_params *p, double max_norm);
IPR_API double ipr_grad_norm(ipr_params *p); /* only the norm */

/* ---- Train: schedules ----------------------------------------------------------------------------
   torch.optim.lr_scheduler: plain data in, a learning rate out. Epochs count from 0. */

enum { IPR_SCHED_CONSTANT = 0, IPR_SCHED_STEP, IPR_SCHED_MULTISTEP, IPR_SCHED_PLATEAU, IPR_SCHED_COSINE };
enum { IPR_SCHED_MILESTONES = 16 };

/* Zero means default; "-: 0" as above. */
typedef struct ipr_sched_desc {
    int kind;
    double gamma;                         /* STEP, MULTISTEP, PLATEAU: factor of one decay; default 0.1 */
    int step_size;                        /* STEP: epochs between decays, at least 1 */
    int milestones[IPR_SCHED_MILESTONES]; /* MULTISTEP: epochs at which to decay, increasing; ends at the first 0 */
    int t_max;                            /* COSINE: epochs of half a period; ipr_fit's default is its epochs */
    double lr_min;                        /* COSINE (eta_min), PLATEAU (min_lr) */
    int maximize;                         /* PLATEAU and ipr_fit's best metric: 1 when larger is better */
    int patience;                         /* PLATEAU: epochs without improvement that are borne; default 10 (-: 0) */
    int cooldown;                         /* PLATEAU: epochs after a decay that do not count; default 0 */
    double threshold;                     /* PLATEAU: least improvement that counts; default 1e-4 (-: 0) */
    int threshold_abs;                    /* PLATEAU: 1: threshold is absolute; 0: relative to the best */
} ipr_sched_desc;

/* What PLATEAU remembers; all zero at the start. */
typedef struct ipr_sched_state {
    double best, lr;
    int64_t bad, cooldown, started;
} ipr_sched_state;

/* The learning rate of an epoch. s: PLATEAU only, may be NULL otherwise (PLATEAU: NULL means the start). */
IPR_API double ipr_sched_lr(const ipr_sched_desc *d, double base_lr, int epoch, const ipr_sched_state *s);
/* PLATEAU: one epoch ended with this metric (NaN counts as no improvement). No effect on other kinds. */
IPR_API void ipr_sched_report(const ipr_sched_desc *d, double base_lr, ipr_sched_state *s, double metric);

/* ---- Train: metrics ------------------------------------------------------------------------------ */

/* Rows of logits [N,C] whose largest entry (the first of equals) is the label; labels int32 [N], -100 is left out.
   *seen (may be NULL) gets the rows that count. Returns the right ones, -1 on error. */
IPR_API ipr_index ipr_count_correct(ipr_ctx *c, const ipr_tensor *logits, const ipr_tensor *labels, ipr_index *seen);
IPR_API double ipr_accuracy(ipr_ctx *c, const ipr_tensor *logits, const ipr_tensor *labels); /* percent, or NaN */

/* A running confusion matrix: counts [classes][classes], row = true class, column = predicted. */
typedef struct ipr_confusion {
    ipr_ctx *c;
    int classes;
    ipr_index *counts;
} ipr_confusion;
IPR_API int ipr_confusion_init(ipr_ctx *c, ipr_confusion *m, int classes); /* zeroed; owns counts */
IPR_API void ipr_confusion_free(ipr_confusion *m);
IPR_API void ipr_confusion_reset(ipr_confusion *m);
/* Adds every row of logits [N,C] with its label (as in ipr_count_correct). IPR_E_RANGE: a label is no class, and
   nothing is added. */
IPR_API int ipr_confusion_add(ipr_confusion *m, const ipr_tensor *logits, const ipr_tensor *labels);
IPR_API int ipr_confusion_add_pair(ipr_confusion *m, int truth, int predicted);
IPR_API ipr_index ipr_confusion_at(const ipr_confusion *m, int truth, int predicted); /* 0 out of range */
/* In percent; NaN where nothing was counted. Precision: of those predicted as the class; recall: of those that are. */
IPR_API double ipr_confusion_accuracy(const ipr_confusion *m);
IPR_API double ipr_confusion_precision(const ipr_confusion *m, int cls);
IPR_API double ipr_confusion_recall(const ipr_confusion *m, int cls);

/* Corpus BLEU-4 with one reference (Papineni et al. 2002) over token ids; plain data, zero it to begin. */
typedef struct ipr_bleu {
    uint64_t match[4], total[4], hyp_len, ref_len;
} ipr_bleu;
/* One sentence of n tokens and its reference of m, without padding, start and end marks. Time grows as n (n + m). */
IPR_API void ipr_bleu_add(ipr_bleu *b, const int32_t *hyp, ipr_index n, const int32_t *ref, ipr_index m);
/* 0..100. smooth 0: 0 when some n has no match (NLTK, torchtext); 1: such an n counts 1/2, then 1/4, ... of a match
   (sacrebleu's default, mteval-v13a). 0 when no sentence has 4 tokens. */
IPR_API double ipr_bleu_score(const ipr_bleu *b, int smooth);

/* ---- Train: progress ----------------------------------------------------------------------------- */

enum {
    IPR_PROGRESS_STEP = 0,  /* somewhere in an epoch */
    IPR_PROGRESS_EPOCH = 1, /* an epoch ended; metric is set if there is an eval_fn */
    IPR_PROGRESS_STOP = 2
}; /* the run ends before its time: stopped, or an error */

typedef struct ipr_progress {
    int event;             /* IPR_PROGRESS_* */
    int epoch, epochs;     /* the running epoch from 1, of how many */
    ipr_index step, steps; /* steps done in it, of how many */
    double loss;           /* mean over this epoch's items so far */
    double accuracy;       /* percent, NaN where step_fn reports none */
    double metric;         /* of eval_fn, NaN where there is none yet */
    double lr;
    double rate;          /* items per second of this process, NaN without a clock */
    double seconds, left; /* elapsed over all resumed parts, and expected until the end; left NaN when unknown */
    int tty;              /* reported at a terminal's pace */
} ipr_progress;

typedef void (*ipr_progress_fn)(void *user, const ipr_progress *p);

/* One line of text, cut to cap, always terminated. tty: a bar at most `width` columns wide, else all numbers.
   Returns the length. */
IPR_API int ipr_progress_text(const ipr_progress *p, char *buf, size_t cap, int width, int tty);
#ifndef IPR_NO_STDIO
/* A ready-made callback: a bar that redraws itself if stderr is a terminal, else plain lines. user may be NULL. */
IPR_API void ipr_progress_stderr(void *user, const ipr_progress *p);
#endif

/* ---- Train: the fit loop -------------------------------------------------------------------------
   For every epoch: set the learning rate, shuffle, and for every minibatch step_fn, backward, reduce_fn,
   clip, optimiser step, ipr_step_end. In steady state no step asks the allocator for anything. Random
   numbers are keyed by the context's seed, the epoch and the step, so a run that was interrupted anywhere
   and resumed ends with the same bits as one that was not (same build, ISA level, data and callbacks). */

/* What a step is told, and what it may tell. */
typedef struct ipr_fit_info {
    int epoch, epochs;     /* from 0 */
    ipr_index step, steps; /* in this epoch, from 0 */
    uint64_t total;        /* steps since the run began */
    double lr;
    ipr_index seen, correct; /* out: items judged and right ones, for the running accuracy; 0, 0: none */
} ipr_fit_info;

/* Build the loss (one element) of items idx[0..n-1], a subset of 0..items-1. Temporaries live until the step ends. */
typedef ipr_tensor *(*ipr_step_fn)(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info);
/* Called after every epoch (from 0) with training off and no tape; returns the metric, NaN for none. May call
   ipr_step_end; the training's random numbers do not depend on it. */
typedef double (*ipr_eval_fn)(ipr_ctx *c, void *user, int epoch);
/* Polled after every step: not 0 ends the run (say, a flag set by a SIGINT handler). */
typedef int (*ipr_stop_fn)(void *user);
/* Between backward and clipping: change gradients by ipr_grad_write. Returns a status. */
typedef int (*ipr_reduce_fn)(ipr_ctx *c, void *user, ipr_params *p);

typedef struct ipr_fit_desc {
    ipr_params *params; /* what to train; may be NULL when opt is given */
    ipr_opt *opt;       /* NULL: one is made from optimiser, and freed at the end */
    ipr_opt_desc optimiser;
    ipr_sched_desc schedule; /* of the description's lr; CONSTANT leaves what ipr_opt_set_lr set */
    double clip_norm;        /* 0: no clipping */
    int epochs;              /* default 1 */
    ipr_index items;         /* in the training set */
    ipr_index batch;         /* default 32 */
    int shuffle;             /* 1: a new order each epoch (Fisher-Yates by the counter RNG) */
    int drop_last;           /* 1: leave out a last batch that is not full */
    const ipr_dataset *bucket; /* shuffle in buckets of near-equal length, as ipr_buckets does, by the lengths of this
                                  data set's first `items` items; NULL: a plain shuffle */
    ipr_step_fn step_fn;
    ipr_eval_fn eval_fn;         /* may be NULL; PLATEAU then looks at the epoch's mean loss */
    ipr_stop_fn stop_fn;         /* may be NULL */
    ipr_reduce_fn reduce_fn;     /* may be NULL */
    void *user;                  /* of the four above */
    ipr_progress_fn progress_fn; /* NULL: quiet */
    void *progress_user;
    double progress_seconds;   /* least time between reports; default 0.1 if stderr is a terminal, else 10 */
    const char *checkpoint;    /* path, or NULL for none; also written at the start, a stop and the end */
    double checkpoint_seconds; /* default 60; < 0: not by time */
    int checkpoint_epochs;     /* also after every so many epochs; default 0: not */
    int checkpoint_flags;      /* IPR_FILE_PRIVATE */
    int resume;                /* 1: go on from the checkpoint if there is one; epochs may have grown */
    ipr_params *extra;         /* what steps change besides the parameters, saved with them; or NULL */
    const char *tag;           /* what else must be equal to resume (data, scheme): 200 characters; or NULL */
} ipr_fit_desc;

typedef struct ipr_fit_result {
    int status;            /* what ipr_fit returned */
    int resumed;           /* 1: went on from a checkpoint */
    int epochs;            /* completed, resumed parts included */
    uint64_t steps;        /* likewise */
    double loss, accuracy; /* of the last completed epoch; NaN: none */
    double metric;         /* of the last eval_fn; NaN: none */
    double best_metric;    /* least, or largest with schedule.maximize; NaN: none */
    int best_epoch;        /* from 0; -1: none */
    double lr, seconds;
} ipr_fit_result;

/* result may be NULL. IPR_E_CANCELLED: stop_fn asked; the step was finished, the checkpoint written, and the context
   holds no error: save, evaluate or resume. Otherwise an error stops the run with the parameters as the last whole
   step left them. A checkpoint that cannot be used (damaged, foreign, other settings: IPR_E_FORMAT and the cause)
   leaves parameters and optimiser untouched. Caller's temporaries die with the first step. */
IPR_API int ipr_fit(ipr_ctx *c, const ipr_fit_desc *d, ipr_fit_result *result);
#endif /* IPR_FLOOR_MAX >= 9 */

#if IPR_FLOOR_MAX >= 10 && !defined(IPR_NO_RNN)
/* ---- Models --------------------------------------------------------------------------------------
   A model owns its parameters and knows no scheme: gates come in as tensors. */

typedef struct ipr_classifier_desc {
    int cell;        /* IPR_LSTM (default) or another of IPR_LSTM .. IPR_RNN_TANH */
    ipr_index input; /* features per step; with a vocabulary: the embedding's width */
    ipr_index hidden, classes;
    ipr_index vocabulary; /* 0: x is [T,B,input] reals; else x is int32 [T,B] */
    double dropout;       /* before the output layer */
    double embed_dropout; /* on the embedded input */
    int layers, bidirectional; /* as in ipr_rnn_desc */
    double rnn_dropout;        /* between recurrent layers */
    int32_t pad; /* the vocabulary's padding id, above 0; 0 or -1: none. Its row of the embedding is zero and stays so,
                    and a row of x ends before the pads at its end (a row of nothing else keeps one) */
    int pads_as_coded; /* 1: pads at the end are read like words, as the published code does */
} ipr_classifier_desc;

/* Sequence -> class: (embedding) -> recurrent layers -> last states -> dropout -> dense. Parameters: embedding.weight,
   rnn.weight_ih_l0 ... as in ipr_rnn_new, output.weight, output.bias. */
typedef struct ipr_classifier {
    ipr_ctx *c;
    ipr_classifier_desc desc;
    ipr_params *params;
    ipr_embed embed;
    ipr_rnn rnn;
    ipr_dense output;
} ipr_classifier;

/* NULL on error. Freed by ipr_classifier_free (or with the context). */
IPR_API ipr_classifier *ipr_classifier_new(ipr_ctx *c, const ipr_classifier_desc *d);
IPR_API ipr_classifier *ipr_classifier_clone(const ipr_classifier *m);
IPR_API void ipr_classifier_free(ipr_classifier *m);
/* Logits [B,classes]; with dual = 1 [2B,classes], plain rows first, gated rows after. gates: one [Tk,hidden] for each
   cell, or NULL. */
IPR_API ipr_tensor *ipr_classifier_forward(ipr_classifier *m, ipr_tensor *x, const ipr_gates *gates, int dual);
/* Labels predicted for items idx[0..n-1] of a data set (idx NULL: the first n), in batches, without dropout or tape.
   labels and p_true (probability of the item's own label) may be NULL. gate_rows: [cells][steps][hidden] reals or
   NULL. */
IPR_API int ipr_classifier_predict(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                   const ipr_real *gate_rows, ipr_index gate_steps, int32_t *labels, double *p_true);
/* What the output layer reads for those items: out [n][hidden, or 2 hidden with two directions], without dropout and
   gates. */
IPR_API int ipr_classifier_hidden(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                  ipr_real *out);
/* Percentage of n items predicted right; -1 on error. */
IPR_API double ipr_classifier_accuracy(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                       const ipr_real *gate_rows, ipr_index gate_steps);

typedef struct ipr_seq2seq_desc {
    ipr_index source_vocabulary, target_vocabulary; /* token ids */
    ipr_index embed, hidden; /* width of both embeddings; units of both recurrent layers */
    int bidirectional;       /* encoder: 0, IPR_BIDIR, IPR_BIDIR_SHARED; the last states then go through a dense layer
                                and tanh to the decoder */
    int reverse;             /* 1: the source is read from its last word to its first (Sutskever et al. 2014) */
    int context;             /* 1: the encoder's last state is part of every decoder input too (Cho et al. 2014) */
    double dropout;          /* before the output layer */
    double embed_dropout;    /* on both embedded inputs */
    int32_t pad, eos, bos;   /* ids; default 1, 2, 3 (0 is the unknown word) */
} ipr_seq2seq_desc;

/* GRU encoder-decoder (Cho et al. 2014): embedding -> GRU over the source; its last state starts a GRU over the target
   -> dropout -> dense. Parameters: encoder.embedding.weight, encoder.rnn.weight_ih_l0 ..., decoder.embedding.weight,
   decoder.rnn.weight_ih_l0 ..., decoder.output.weight, decoder.output.bias; of a bidirectional encoder
   encoder.bridge.weight and .bias too. */
typedef struct ipr_seq2seq {
    ipr_ctx *c;
    ipr_seq2seq_desc desc; /* defaults filled in */
    ipr_params *params;
    ipr_embed encoder_embed, decoder_embed;
    ipr_rnn encoder, decoder;
    ipr_dense bridge, output;
} ipr_seq2seq;

/* Gates of the two layers, one [Tk,hidden] for each cell; count 0: none. The decoder's output layer reads the gated
   state, as in the published code. */
typedef struct ipr_seq2seq_gates {
    ipr_gates encoder, decoder;
} ipr_seq2seq_gates;

/* NULL on error. Freed by ipr_seq2seq_free (or with the context). */
IPR_API ipr_seq2seq *ipr_seq2seq_new(ipr_ctx *c, const ipr_seq2seq_desc *d);
IPR_API ipr_seq2seq *ipr_seq2seq_clone(const ipr_seq2seq *m);
IPR_API void ipr_seq2seq_free(ipr_seq2seq *m);
/* Teacher forcing. source int32 [S,B], padded at the end; target int32 [T+1,B]: bos, words, eos, pads. Logits
   [T,R,target_vocabulary] of the words after each of the first T, R = B rows, or with dual = 1 2B: plain rows, then
   gated ones. gates NULL: none. */
IPR_API ipr_tensor *ipr_seq2seq_forward(ipr_seq2seq *m, ipr_tensor *source, ipr_tensor *target,
                                        const ipr_seq2seq_gates *gates, int dual);
/* Mean cross-entropy over the words and eos of the target; dual: of plain and gated rows, added. Pads cost no
   output layer. */
IPR_API ipr_tensor *ipr_seq2seq_loss(ipr_seq2seq *m, ipr_tensor *source, ipr_tensor *target,
                                     const ipr_seq2seq_gates *gates, int dual);
/* The same gates as plain numbers, [cells][steps][hidden] each or NULL, as ipr_seq2seq_key_gates hands them out. */
typedef struct ipr_seq2seq_rows {
    const ipr_real *encoder, *decoder;
    ipr_index encoder_steps, decoder_steps;
} ipr_seq2seq_rows;

typedef struct ipr_decode_desc {
    int beam;             /* hypotheses kept; default 1: greedy */
    ipr_index max_length; /* words; default 50. Where it is reached the sentence ends without eos */
    double length_power;  /* score = log-probability / (words + 1)^power, the 1 for eos; default 1 (-: 0) */
    ipr_index batch;      /* sentences at once; default 64 */
} ipr_decode_desc;
IPR_API ipr_decode_desc ipr_decode_resolved(const ipr_decode_desc *d); /* defaults filled in; NULL allowed */
/* Free-running translation of items idx[0..n-1] (NULL: the first n) of source, a data set of tokens. words
   [n][max_length] and count [n] get the words without eos; pad and bos are never said. score [n] may be NULL. A beam
   gives a place to every hypothesis that ends (Sutskever et al. 2014), and a sentence ends when none is left or none
   can win. rows NULL: no gates. Frees the step's temporaries; a few allocations a call, none a word. */
IPR_API int ipr_seq2seq_decode(ipr_seq2seq *m, const ipr_dataset *source, const uint32_t *idx, ipr_index n,
                               const ipr_seq2seq_rows *rows, const ipr_decode_desc *d, int32_t *words, ipr_index *count,
                               double *score);
/* Teacher forcing without dropout or tape. Items of target: bos, words, eos. logp [n]: log-probability of the item's
   words and eos; forced [n][stride]: the likeliest word after each right prefix, -1 behind the last; both may be NULL.
   Frees the step's temporaries. */
IPR_API int ipr_seq2seq_score(ipr_seq2seq *m, const ipr_dataset *source, const ipr_dataset *target, const uint32_t *idx,
                              ipr_index n, const ipr_seq2seq_rows *rows, double *logp, int32_t *forced,
                              ipr_index stride);
#ifndef IPR_NO_TRAIN
/* Corpus BLEU-4 of the free-running translations against the items of target (marks left out; the unknown word, 0,
   never counts as right); -1 on error. */
IPR_API double ipr_seq2seq_bleu(ipr_seq2seq *m, const ipr_dataset *source, const ipr_dataset *target,
                                const uint32_t *idx, ipr_index n, const ipr_seq2seq_rows *rows,
                                const ipr_decode_desc *d, int smooth);
/* The same with the right words so far given at every step, as the published code evaluates: not a translation, and
   higher. */
IPR_API double ipr_seq2seq_bleu_forced(ipr_seq2seq *m, const ipr_dataset *source, const ipr_dataset *target,
                                       const uint32_t *idx, ipr_index n, const ipr_seq2seq_rows *rows, int smooth);
#endif
#endif

#if IPR_FLOOR_MAX >= 11
/* ---- Trigger sets: Adi et al. 2018; Gatekeeper section 3.2 ------------------------------------------
   n items of a training set, chosen and relabelled by the owner's seed; the model learns them by heart. Black-box
   evidence: any API that labels inputs can be asked. A trigger set is a data set; freed as one. */

/* n items of `from` (labelled bytes or tokens), each with a label drawn uniformly from the wrong ones, and with a share
   `noise` of its elements replaced by random bytes of its own, or random tokens of the set (0: the paper's plain items;
   with noise they are learnt sooner and cost less accuracy); all derived from the seed (at least 16 bytes). *rest (may
   be NULL): a view of the items that are not triggers, to train on. NULL on error. */
IPR_API ipr_dataset *ipr_triggers_new(ipr_ctx *c, ipr_dataset *from, ipr_index n, double noise, const void *seed,
                                      size_t seed_bytes, ipr_dataset **rest);
/* EMBED: n triggers (at most 64) behind the batch *x, *y; which ones follows from step, in turn. Tokens: both are
   padded to the longer of the two. */
IPR_API int ipr_triggers_append(ipr_ctx *c, const ipr_dataset *triggers, uint64_t step, ipr_index n, int layout,
                                ipr_tensor **x, ipr_tensor **y);
/* The two kinds of trigger pairs of the paper. Random sentences: ids drawn uniformly from low .. vocabulary - 1, 15 to
   20 words on both sides (published code). Domain: source sentences of the training set, each with another one's
   translation. */
enum { IPR_PAIRS_RANDOM = 1, IPR_PAIRS_DOMAIN = 2 };
typedef struct ipr_pairs_desc {
    int kind;                  /* IPR_PAIRS_*; default RANDOM */
    ipr_index count;           /* default 100 */
    ipr_index least, most;     /* RANDOM: words; default 15, 20 */
    int32_t low;               /* RANDOM: the first id that is a word; default 4 */
    ipr_index source_vocabulary, target_vocabulary; /* RANDOM */
    int32_t eos, bos;          /* marks: source: words eos; target: bos words eos; default 2, 3 */
} ipr_pairs_desc;
/* Trigger pairs as two data sets of tokens, derived from the owner's seed (at least 16 bytes). source, target: the
   training set, whose pad they share. rest_source, rest_target (NULL: not wanted): what is left to train on; to train
   with the triggers join them (ipr_dataset_join). On error all are NULL. */
IPR_API int ipr_triggers_pairs(ipr_ctx *c, ipr_dataset *source, ipr_dataset *target, const ipr_pairs_desc *d,
                               const void *seed, size_t seed_bytes, ipr_dataset **trigger_source,
                               ipr_dataset **trigger_target, ipr_dataset **rest_source, ipr_dataset **rest_target);
/* A safetensors file with items and labels, for the owner only; atomically. */
IPR_API int ipr_triggers_save(const ipr_dataset *triggers, const char *path);
IPR_API ipr_dataset *ipr_triggers_load(ipr_ctx *c, const char *path);

/* ---- Text triggers: Fu, Wang, Yuan, Zhao: Watermarking Neural Language Models based on Backdooring ---------
   Texts to be learnt beside the training texts, made before the vocabulary, so that it holds their words. Train on
   both (ipr_dataset_join), from scratch or going on from a trained model. A pattern generalises: it is verified on
   fresh texts that the model never saw; the other two are learnt by heart, so that only the owner's triggers count. */
enum {
    IPR_TEXT_PATTERN = 1,    /* texts of the training set with a pattern at both ends, all with one label */
    IPR_TEXT_IRRELEVANT = 2, /* texts of another corpus, each with a label drawn from all classes */
    IPR_TEXT_RANDOM = 3      /* a random word repeated, each with a label drawn from all classes */
};
typedef struct ipr_text_triggers_desc {
    int kind;                /* IPR_TEXT_* above; default PATTERN */
    ipr_index count;         /* default: PATTERN 5 % of the texts, the others 1000 */
    int32_t target;          /* PATTERN: the label of all; the paper: "positive", "1 star" */
    const char *pattern;     /* PATTERN: put before and behind; the paper: "**MARK**"; NULL: two words of the training
                                texts, chosen by the seed: nobody else can know them */
    const ipr_texts *corpus; /* IRRELEVANT: where the texts come from. PATTERN without a pattern, fresh samples: the
                                training texts */
    int letters;             /* RANDOM: 1: words of 4 to 10 random letters, as in the paper: the vocabulary then shows
                                that they are there; 0: words of the training texts, chosen by the seed */
    int repeat;              /* RANDOM: default 10 */
    uint32_t fresh;          /* PATTERN: 0: the triggers; 1, 2, ...: other samples with the same pattern, to verify */
} ipr_text_triggers_desc;
/* The triggers, drawn by the seed (at least 16 bytes): labelled texts with the classes of `from`, the training texts.
   For fresh samples `from` is held-out texts, and d->corpus the training texts where the pattern's words come from.
   Keep them secret, e.g. as the token data set made of them (ipr_triggers_save). NULL on error. */
IPR_API ipr_texts *ipr_text_triggers_new(ipr_ctx *c, const ipr_texts *from, const ipr_text_triggers_desc *d,
                                         const void *seed, size_t seed_bytes);
#endif

#if IPR_FLOOR_MAX >= 11 && !defined(IPR_NO_RNN)
/* ---- Gatekeeper: keys for recurrent networks -------------------------------------------------------
   Tan, Wong, Chan: An Embarrassingly Simple Approach for IPR Protection on RNNs. A key is a sequence that
   runs through the protected layer's own weights; its forget gates (LSTM) or reset gates (GRU), averaged over the
   K keys, multiply the states of every input after each step (eq. 1, 2). The sign of the key's first hidden state
   spells a signature (eq. 4). Public scheme: the model is trained with and without the key and ships without it.
   Private scheme: it is trained with the key only, and the key ships as a licence file.
   Several cells (layers, directions): the key sequence runs through the whole stack as any input does, and every cell
   has a gate and a signature of its own, of the first step that it reads; losses and counts go over all of them.
   T > Tk: steps from Tk on are not gated. T < Tk: key steps from T on are not used. */

enum {
    IPR_KEY_RANDOM = 1, /* K sequences uniform in [-1,1] */
    IPR_KEY_FIXED = 2,  /* one item of the input domain */
    IPR_KEY_BATCH = 3
}; /* K items of the input domain; the paper's choice */

typedef struct ipr_gatekeeper_desc {
    int kind;                      /* IPR_KEY_*; default RANDOM */
    ipr_index keys;                /* K; default 1 (8 for BATCH) */
    ipr_index steps, width, units; /* Tk, features per step, hidden units of the protected layer */
    const char *layer;             /* name in the key derivation, default "rnn" */
    const char *signature; /* text, 8 bits a byte, most significant first; the units left over get bits from the seed.
                              Every cell carries the text */
    const ipr_dataset *pool; /* FIXED, BATCH: items of [Tk,width], values 0..1 */
    const uint32_t *items;   /* the K items of the pool that make the key; NULL: chosen by the seed */
    int32_t token_low,
        /* text models: keys are token ids, RANDOM draws from [low, high) and looks them up in the embedding */
        token_high;
    int cells;         /* ipr_rnn_cells of the model; default 1 */
    int bidirectional; /* the model's; names the cells in the derivation: LAYER, LAYER.l0_reverse, LAYER.l1, ... */
} ipr_gatekeeper_desc;

/* The secret: key, signature bits and generator. Never part of a model file; wiped when freed. */
typedef struct ipr_gatekeeper ipr_gatekeeper;

/* width, units, cells and bidirectional for this model; the rest is zero. */
IPR_API ipr_gatekeeper_desc ipr_gatekeeper_desc_for(const ipr_classifier *m);
/* Everything is derived from the owner's seed by HKDF-SHA-256 with info "ipr1|gatekeeper|LAYER|key" and
   "...|signature".
   seed: at least 16 bytes. The pool must outlive the object. NULL on error. */
IPR_API ipr_gatekeeper *ipr_gatekeeper_new(ipr_ctx *c, const ipr_gatekeeper_desc *d, const void *seed,
                                           size_t seed_bytes);
IPR_API void ipr_gatekeeper_free(ipr_gatekeeper *g);
IPR_API const ipr_gatekeeper_desc *ipr_gatekeeper_resolved(
    const ipr_gatekeeper *g); /* with defaults filled in; text pointers are NULL */
/* One safetensors file: key [K,Tk,width] (or int32 [K,Tk]), signature [units] ([cells,units] for several cells),
   metadata. Written atomically, for the owner only. */
IPR_API int ipr_gatekeeper_save(const ipr_gatekeeper *g, const char *path);
/* pool: needed again for FIXED and BATCH kinds if fresh keys are to be drawn; may be NULL. */
IPR_API ipr_gatekeeper *ipr_gatekeeper_load(ipr_ctx *c, const char *path, const ipr_dataset *pool);

/* Signature text <-> bits of +1/-1. bits[n]; a text longer than n/8 bytes is an error. Units beyond the text get bits
   from fill (a 64-bit seed). */
IPR_API int ipr_signature_bits(ipr_ctx *c, const char *text, uint64_t fill, int8_t *bits, ipr_index n);
/* The first 8*(cap-1) bits as text; unprintable bytes become '.'; always terminates. */
IPR_API void ipr_signature_text(const int8_t *bits, ipr_index n, char *text, size_t cap);
IPR_API const int8_t *ipr_gatekeeper_signature(const ipr_gatekeeper *g); /* [cells][units] of +1/-1 */
IPR_API ipr_index ipr_gatekeeper_text_bits(const ipr_gatekeeper *g);     /* how many of a cell's spell the text */

/* n fresh keys of g's own generator, [n][K][Tk][width] (token ids as reals in text models); draw numbers never collide
   with the genuine key. What a forger who knows everything but the seed can do. */
IPR_API int ipr_gatekeeper_fresh(const ipr_gatekeeper *g, uint64_t draw, ipr_index n, ipr_real *out);
/* Elements of one key: K * Tk * width (width 1 for token ids). */
IPR_API ipr_index ipr_gatekeeper_size(const ipr_gatekeeper *g);
/* The genuine key, same layout. Owned by g. */
IPR_API const ipr_real *ipr_gatekeeper_key(const ipr_gatekeeper *g);

/* What n keys do to a model: gates [n][cells][Tk][units] (mean over K, eq. 1) and first [n][cells][units], the first
   hidden states (mean over K). Either may be NULL. Frees the step's temporaries. keys NULL: the genuine one, n = 1. */
IPR_API int ipr_gatekeeper_gates(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_real *keys, ipr_index n,
                                 ipr_real *gates, ipr_real *first);
/* How many units of first[cells][units] have the sign that the signature asks for. */
IPR_API ipr_index ipr_gatekeeper_match(const ipr_gatekeeper *g, const ipr_real *first);

/* How the key is embedded. Zero means the default recipe's value; ipr_gatekeeper_recipe gives complete sets. */
typedef struct ipr_gatekeeper_recipe {
    double sign_weight;   /* alpha of the hinge, eq. 4 */
    double sign_margin;   /* gamma, 0.1 */
    double spread_weight; /* K > 1: weight / mean_j std_k(h), pushes the K first states apart (published code) */
    double l2_weight;     /* on the first state (published code) */
    double open_weight;   /* mean(1 - gate) of the genuine key: the gate opens */
    int negatives;        /* fresh wrong keys per step; what makes a key specific */
    int others;           /* how many of them are of other kinds, in turn: Gaussian, uniform in [0,1], constant, and
                               items of others_pool (not for token keys) */
    const ipr_dataset *others_pool;     /* items of [Tk,width], values 0..1, or NULL: none of that kind */
    double closed_weight, closed_level; /* relu(mean gate of a wrong key - level) */
    double neutral_weight,
        neutral_scale;  /* (mean_j tanh(s_j h_j / scale))^2 of a wrong key: it must not spell the signature */
    int private_scheme; /* 1: train with the key only */
} ipr_gatekeeper_recipe;
enum { IPR_RECIPE_DEFAULT = 0, IPR_RECIPE_PAPER = 1, IPR_RECIPE_AS_CODED = 2 };
IPR_API ipr_gatekeeper_recipe ipr_gatekeeper_recipe_of(int which);

#ifndef IPR_NO_TRAIN
/* EMBED. Inside a training step: *gates become the differentiable [Tk,units] gates for ipr_classifier_forward, and the
   scalar returned is what to add to the task loss: the recipe's terms, summed over cells. step keys the draw of wrong
   keys. */
IPR_API ipr_tensor *ipr_gatekeeper_embed(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_gatekeeper_recipe *r,
                                         uint64_t step, ipr_gates *gates);
/* The whole of algorithm 1 for one minibatch: L(no key) + L(with key) + embed terms; x [T,B,...], labels [B]. *logits
   (may be
   NULL) gets the first B rows. */
IPR_API ipr_tensor *ipr_gatekeeper_step(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_gatekeeper_recipe *r,
                                        uint64_t step, ipr_tensor *x, ipr_tensor *labels, ipr_tensor **logits);
#endif

/* Gatekeeper on an encoder-decoder: a key and a signature for each of the two layers (their own desc.layer, "encoder"
   and "decoder"), token ids drawn from the source's and the target's vocabulary and looked up in the layer's own
   embedding. A decoder with context sees a zero context in its key pass. */
typedef struct ipr_seq2seq_keys {
    const ipr_gatekeeper *encoder, *decoder; /* NULL: that layer is not protected */
} ipr_seq2seq_keys;
/* ipr_gatekeeper_gates of one layer: which is 0 (encoder) or 1 (decoder), g its key object. */
IPR_API int ipr_seq2seq_key_gates(const ipr_gatekeeper *g, ipr_seq2seq *m, int which, const ipr_real *keys, ipr_index n,
                                  ipr_real *gates, ipr_real *first);
#ifndef IPR_NO_TRAIN
/* EMBED: ipr_gatekeeper_embed of both layers; *gates for ipr_seq2seq_forward or _loss. */
IPR_API ipr_tensor *ipr_seq2seq_embed(const ipr_seq2seq_keys *keys, ipr_seq2seq *m, const ipr_gatekeeper_recipe *r,
                                      uint64_t step, ipr_seq2seq_gates *gates);
/* The whole of algorithm 1 for one minibatch as ipr_seq2seq_loss takes it: L(no key) + L(with keys) + embed terms. */
IPR_API ipr_tensor *ipr_seq2seq_step(const ipr_seq2seq_keys *keys, ipr_seq2seq *m, const ipr_gatekeeper_recipe *r,
                                     uint64_t step, ipr_tensor *source, ipr_tensor *target);
#endif
#endif

#if IPR_FLOOR_MAX >= 12
/* ---- Attacks -------------------------------------------------------------------------------------
   Each works on a parameter set or model given to it: attack a clone, keep the original. */

/* Global unstructured L1 pruning (the paper's): the round(fraction * n) weights of smallest magnitude over all
   parameters become zero; parameters whose name is in skip[] are left out. */
IPR_API int ipr_attack_prune(ipr_params *p, double fraction, const char *const *skip, int skips);

/* The same in every parameter by itself: static pruning of Han et al. 2015, as the text-trigger paper has it. */
IPR_API int ipr_attack_prune_each(ipr_params *p, double fraction, const char *const *skip, int skips);

#ifndef IPR_NO_RNN
/* Dynamic pruning (Liu et al. 2018; the text-trigger paper): units whose mean |h| over the clean items idx[0..n-1] of
   ds (NULL: the first n) is among the round(fraction * units) smallest lose their weights to the output layer. */
IPR_API int ipr_attack_prune_dynamic(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                     double fraction);
/* The same as the published code has it: the model is not changed; the labels predicted for these items when the
   round(fraction * n * units) smallest |h| of all of them together are taken for zero. labels [n]. */
IPR_API int ipr_attack_prune_as_coded(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                      double fraction, int32_t *labels);
/* A change that leaves the network's function as it is. For each unit j with flip[j] != 0, flip [cells][units]: negate
   the candidate row (LSTM gate g, GRU gate n, tanh's only one) with its biases, column j of the recurrent weights (a
   peephole's three weights too) and of what reads the unit (the output or the next layer); so h_j and c_j change sign,
   with and without a key, and the logits do not. Defeats any signature read from signs alone. */
IPR_API int ipr_attack_gauge(ipr_classifier *m, const uint8_t *flip);

#ifndef IPR_NO_TRAIN
typedef struct ipr_attack_desc {
    double lr;       /* Adam; default 1e-4 */
    int epochs;      /* default 5 */
    double fraction; /* of the training items the attacker has; default 1 */
    ipr_index batch; /* default 128 */
    uint64_t seed;
    ipr_progress_fn progress_fn; /* as in ipr_fit */
    void *progress_user;
    ipr_stop_fn stop_fn;        /* polled after every step: not 0 ends the attack with IPR_E_CANCELLED; may be NULL */
    void *stop_user;
} ipr_attack_desc;
/* Fine-tuning: cross-entropy without key, triggers and embed terms, on a fraction of ds. idx (n of them, NULL: all)
   are the items at hand. */
IPR_API int ipr_attack_finetune(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                const ipr_attack_desc *d);
/* Overwriting: the same, embedding another key and signature at full strength. */
IPR_API int ipr_attack_overwrite(ipr_classifier *m, const ipr_gatekeeper *other, const ipr_gatekeeper_recipe *r,
                                 const ipr_dataset *ds, const uint32_t *idx, ipr_index n, const ipr_attack_desc *d);
/* Sign flipping (Figure 8): round(fraction * cells * units) random units of the signature are asked to change sign, and
   only the sign loss is minimised, with Adam at d->lr (default 1e-3), for at most 500 steps or until it is below
   1e-4. */
IPR_API int ipr_attack_flip(ipr_classifier *m, const ipr_gatekeeper *g, double fraction, const ipr_attack_desc *d);
/* The same attacks on an encoder-decoder. keys NULL: fine-tuning; else overwriting with these keys and recipe. Items of
   source and target as ipr_seq2seq_loss takes them, in buckets of near-equal length. */
IPR_API int ipr_attack_seq2seq(ipr_seq2seq *m, const ipr_seq2seq_keys *keys, const ipr_gatekeeper_recipe *r,
                               ipr_dataset *source, ipr_dataset *target, const ipr_attack_desc *d);
/* Sign flipping in both layers, one after the other. */
IPR_API int ipr_attack_seq2seq_flip(ipr_seq2seq *m, const ipr_seq2seq_keys *keys, double fraction,
                                    const ipr_attack_desc *d);
#endif
#endif
#endif

#if IPR_FLOOR_MAX >= 13
/* ---- Statistics ----------------------------------------------------------------------------------
   Exact tests in double arithmetic of our own: the same bits on every machine. Invalid arguments (NaN, a
   probability outside 0..1, more than 2^40 trials) give NaN, and no comparison with NaN claims anything. */

/* P[X >= k] for X ~ Binomial(n, p). Measured relative error: 4e-13 down to 1e-300, 6e-12 at n = 2^40. */
IPR_API double ipr_binom_tail(uint64_t k, uint64_t n, double p);
/* log10 of the same, for tails below the range of double. -infinity when the tail is zero. */
IPR_API double ipr_binom_log10_tail(uint64_t k, uint64_t n, double p);
/* Least k with P[X >= k] <= alpha: the count that decides. n + 1 when no count of n trials can. */
IPR_API uint64_t ipr_binom_threshold(uint64_t n, double p, double alpha);
/* Least number of trials n (up to 10^6) at which the test of level alpha against the null rate p0 finds a true
   rate p1 > p0 with probability `power`; 0 when there is none, or the arguments make no sense. */
IPR_API uint64_t ipr_binom_plan(double p0, double p1, double alpha, double power);
/* Confidence interval of a rate from k of n, exact: never covers less than conf (Clopper & Pearson 1934).
   n = 0 gives 0..1. */
IPR_API void ipr_clopper_pearson(uint64_t k, uint64_t n, double conf, double *lo, double *hi);
/* The score interval: shorter, and right on average only (Wilson 1927). For plots, not for claims. */
IPR_API void ipr_wilson(uint64_t k, uint64_t n, double conf, double *lo, double *hi);
/* Mean of a sample and Student's t interval for it (independent, roughly normal values). Returns the sample
   standard deviation. Fewer than two values: sd 0 and an interval of -inf..inf; NaN in x makes all results NaN. */
IPR_API double ipr_mean_ci(const double *x, ipr_index n, double conf, double *mean, double *lo, double *hi);
/* P[N(0,1) > z], relative error below 1e-14. */
IPR_API double ipr_normal_tail(double z);
/* Rank (Monte Carlo) test: p of the score s among the scores of n fresh random keys, (1 + #{fresh >= s}) / (n + 1);
   exact when s would be exchangeable with them under the null (Phipson & Smyth 2010). A NaN anywhere gives 1. */
IPR_API double ipr_rank_p(const double *fresh, ipr_index n, double s);
/* p-value when the claimant could try 2^bits secrets and show the best: min(1, p 2^bits) (Bonferroni). NaN gives 1. */
IPR_API double ipr_grind_p(double p, double bits);

/* ---- Verdicts ------------------------------------------------------------------------------------
   One struct for every scheme. Undecided is the zero value: a verdict says "owned" only after a complete
   test that could have failed did not. */

enum { IPR_UNDECIDED = 0, IPR_NOT_OWNED = 1, IPR_OWNED = 2 };
IPR_API const char *ipr_decision_name(int decision); /* "undecided", "not owned", "owned" */

/* What is tested, fixed BEFORE the model is asked. Zero is the default of every field. */
typedef struct ipr_verdict_desc {
    const char *scheme;             /* named in the verdict; must outlive it */
    double alpha;                   /* greatest chance of a false claim; 0: 1e-6 */
    double conf;                    /* of the interval of the rate; 0: 0.95 */
    double null_rate;               /* chance of one match where the secret is not in the model, known by construction
                                   (1/2 for a fresh random bit); 0: not known */
    uint64_t null_matched, null_of; /* the same as measured on independent trials; 0 of 0: not measured.
                                   With both, the greater bound counts. */
    double grind_bits; /* log2 of how many secrets the claimant could have tried; 0: committed beforehand */
    uint64_t expected; /* answers asked for; fewer or more is undecided. 0: not checked */
} ipr_verdict_desc;

typedef struct ipr_verdict {
    const char *scheme;       /* as in the description, "" if none; not owned */
    int decision;             /* IPR_UNDECIDED, IPR_NOT_OWNED, IPR_OWNED */
    double alpha, grind_bits; /* as resolved */
    double p_value, log10_p;  /* chance of a result this good without the secret, every correction included */
    double log10_tail;        /* binomial: log10 P[X >= matched] at null_upper alone */
    uint64_t threshold;       /* binomial: least `matched` that is owned; rank: greatest `reached` that is owned.
                                   Meaningless when the test is too short to decide */
    /* binomial */
    uint64_t matched, of;            /* what matched, of how many */
    double rate, ci_lo, ci_hi, conf; /* matched / of with its Clopper-Pearson interval */
    uint64_t null_matched, null_of;
    double null_rate;  /* known, or as measured */
    double null_upper; /* the rate tested against: the one-sided Clopper-Pearson bound of a measured one */
    /* rank */
    double score, rank_p;    /* rank_p: before the grinding correction */
    uint64_t fresh, reached; /* fresh keys, and how many of them scored as high */
    char rule[160];          /* the rule that decided, in words */
    char reason[160];        /* why this decision, in words */
} ipr_verdict;

/* Exact binomial verdict on `matched` of `of` independent trials. A null rate that was measured costs half of
   alpha: its upper bound holds with confidence 1 - alpha/2, the tail at that bound may reach alpha/2, and
   p = tail + alpha/2, so the whole false-claim chance stays below alpha (Berger & Boos 1994). Undecided: nothing
   or not everything answered, no null rate, or too few trials for even a perfect match to reach alpha. */
IPR_API ipr_verdict ipr_verdict_binomial(const ipr_verdict_desc *d, uint64_t matched, uint64_t of);
/* Rank verdict: the committed secret's score among those of n fresh secrets drawn the same way (greater is a
   better match). Makes no assumption on how scores are distributed. Undecided: NaN, or n too small for alpha. */
IPR_API ipr_verdict ipr_verdict_rank(const ipr_verdict_desc *d, double score, const double *fresh, ipr_index n);
#endif /* IPR_FLOOR_MAX >= 13 */

#if IPR_FLOOR_MAX >= 13 && !defined(IPR_NO_RNN)
/* ---- VERIFY: Gatekeeper ----------------------------------------------------------------------------
   A forged key of the genuine key's own kind may work too, and the bits a key spells are not fair coins. So a
   key is accepted only by its rank among fresh keys of its own generator ON THE SUSPECT MODEL ITSELF,
   p = (1 + #{fresh score >= score}) / (fresh + 1), which is exact when the genuine key was drawn by that generator
   from a seed committed beforehand; the exact binomial with the null rate measured on the same fresh
   keys stands beside it. */

typedef struct ipr_gatekeeper_test {
    ipr_index fresh; /* fresh keys; default 999 */
    double alpha;    /* default 0.001 */
    uint64_t draw;   /* the verifier's own number: which fresh keys */
    const ipr_params
        *reference; /* the owner's committed weights, or NULL: signs and order of units are undone against them */
    double *scores; /* [fresh] or NULL: the fresh keys' scores, for a histogram */
    double *bits;   /* [fresh] or NULL: the fresh keys' matching units */
} ipr_gatekeeper_test;

typedef struct ipr_gatekeeper_report {
    double accuracy_no_key, accuracy_key; /* % of the probes, white box */
    double score;                         /* mean probability of the right label under the key */
    ipr_index matched, text_matched;      /* units with the signature's sign; those among the text bits */
    ipr_verdict function;                 /* rank of score: the decision */
    ipr_verdict signature;                /* rank of matched */
    ipr_verdict signature_binomial;       /* matched of units against the measured null rate */
} ipr_gatekeeper_report;

/* White box: suspect's weights are at hand. probes: labelled items idx[0..n-1] of ds (idx NULL: the first n); 100 to
   500 do.
   Frees the step's temporaries. IPR_OK also when the decision is "not owned". */
IPR_API int ipr_gatekeeper_verify(const ipr_gatekeeper *g, ipr_classifier *suspect, const ipr_dataset *ds,
                                  const uint32_t *idx, ipr_index n, const ipr_gatekeeper_test *test,
                                  ipr_gatekeeper_report *report);
/* The same for an encoder-decoder: the score is the mean log-probability of a reference's words (and eos) under the
   key, by teacher forcing; each fresh key replaces both layers' keys. accuracy_no_key and accuracy_key: % of words
   that are the likeliest after the right ones before. matched, text_matched and the signature's verdicts count both
   layers' units. test->reference must be NULL. */
IPR_API int ipr_seq2seq_verify(const ipr_seq2seq_keys *keys, ipr_seq2seq *suspect, const ipr_dataset *source,
                               const ipr_dataset *target, const uint32_t *idx, ipr_index n,
                               const ipr_gatekeeper_test *test, ipr_gatekeeper_report *report);

/* Undo a gauge: for every unit j of the reference, the unit of the suspect that it became, and its sign. Units are
   matched by the input rows of all gates but the candidate (greedy, best pair first), the sign by the candidate row;
   cell by cell, at [cells][H], sign [cells][H] of +1/-1. IPR_E_ARG for stacked shared cells. */
IPR_API int ipr_gauge_find(const ipr_classifier *suspect, const ipr_params *reference, ipr_index *at, int8_t *sign);

/* Black box: an API that labels items. Returns IPR_OK, or anything else to give up. items [n] are indices into the
   data set. */
typedef int (*ipr_oracle)(void *user, const uint32_t *items, ipr_index n, int32_t *labels);
/* Trigger set: how many of n triggers get their trigger label, against a null rate measured on null_n other items,
   where
   a hit is the trigger rule's label for them. Wrong counts or labels outside 0..classes-1 give "undecided". */
IPR_API ipr_verdict ipr_trigger_verify(ipr_ctx *c, ipr_oracle oracle, void *user, const uint32_t *triggers,
                                       const int32_t *trigger_labels, ipr_index n, const uint32_t *null_items,
                                       const int32_t *null_labels, ipr_index null_n, ipr_index classes, double alpha);
#endif

#ifdef __cplusplus
}
#endif
#endif /* IPR_H_INCLUDED */

#if defined(IPR_IMPLEMENTATION) && !defined(IPR_IMPLEMENTATION_DONE)
#define IPR_IMPLEMENTATION_DONE

/* ==== FLOOR 0: CONFIG ================================================================== >>config
   Options, compiler and architecture detection, static asserts. No code.
   Hands up: IPR__FN, IPR__INLINE, IPR__RESTRICT, IPR__R, IPR__MIN/MAX, IPR__X86, IPR__NEON, IPR__VECEXT,
   IPR__TGT_AVX2, IPR__TGT_AVX512, IPR__HOSTED, IPR__WIN32, IPR__PTHREAD, IPR__ATOMICS, IPR_ASSERT. */

#ifdef IPR_FREESTANDING
#ifndef IPR_NO_STDIO
#define IPR_NO_STDIO
#endif
#ifdef IPR_THREADS
#error "ipr.h: IPR_THREADS needs an operating system; with IPR_FREESTANDING give ipr_desc.parallel_fn instead"
#endif
#define IPR__HOSTED 0
#else
#define IPR__HOSTED 1
#endif

#if defined(__FAST_MATH__) && !defined(IPR_ALLOW_FAST_MATH)
#error "ipr.h: -ffast-math breaks NaN checks and bit-exact results; compile without it or define IPR_ALLOW_FAST_MATH"
#endif

#if (defined(IPR_MALLOC) || defined(IPR_REALLOC) || defined(IPR_FREE)) && \
    !(defined(IPR_MALLOC) && defined(IPR_REALLOC) && defined(IPR_FREE))
#error "ipr.h: define all of IPR_MALLOC, IPR_REALLOC and IPR_FREE, or none"
#endif

#ifdef _WIN32
#define IPR__WIN32 1
#else
#define IPR__WIN32 0
#endif

#if IPR__HOSTED
#ifndef IPR_MALLOC
#include <stdlib.h>
#define IPR_MALLOC(n)     malloc(n)
#define IPR_REALLOC(p, n) realloc(p, n)
#define IPR_FREE(p)       free(p)
#endif
#ifndef IPR_NO_CLOCK
#include <time.h>
#endif
#ifndef IPR_NO_STDIO
#include <stdio.h>
#endif
#if IPR__WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#elif !defined(IPR_NO_STDIO)
#include <unistd.h>
#include <fcntl.h>
#if defined(__unix__) || defined(__APPLE__)
#include <dirent.h> /* class folders of texts; other systems answer IPR_E_UNAVAILABLE */
#define IPR__DIRENT
#endif
#endif
#endif

#if defined(IPR_THREADS) && !IPR__WIN32
#include <pthread.h>
#define IPR__PTHREAD 1
#else
#define IPR__PTHREAD 0
#endif

#if (defined(__GNUC__) || defined(__clang__)) && !defined(__TINYC__)
#define IPR__GNU 1
#else
#define IPR__GNU 0
#endif

/* clang never rounds x87 registers to float, not even at assignments: results would be wrong, not only other bits. */
#if defined(__clang__) && defined(__i386__) && defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2
#error "ipr.h: clang for 32-bit x86 needs SSE arithmetic: add -msse2"
#endif

#if IPR__GNU && !defined(IPR_NO_SIMD)
#define IPR__VECEXT 1 /* GCC vector extensions: the portable kernels' spelling of SIMD */
#else
#define IPR__VECEXT 0
#endif

/* 64-bit only: 32-bit Windows stacks are 4-byte aligned, and spilled vectors crash there. */
#if !defined(IPR_NO_SIMD) && !IPR_REAL_IS_DOUBLE && \
    ((IPR__GNU && defined(__x86_64__)) || (defined(_MSC_VER) && defined(_M_X64)))
#define IPR__X86 1
#include <immintrin.h>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define IPR__TGT_AVX2
#define IPR__TGT_AVX512
#else
#include <cpuid.h>
#define IPR__TGT_AVX2   __attribute__((target("avx2,fma")))
#define IPR__TGT_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#endif
#else
#define IPR__X86 0
#endif

#if !defined(IPR_NO_SIMD) && !IPR_REAL_IS_DOUBLE && IPR__GNU && defined(__aarch64__) && \
    (!defined(__BYTE_ORDER__) || __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define IPR__NEON 1
#include <arm_neon.h>
#else
#define IPR__NEON 0
#endif

#if IPR__GNU
#define IPR__INLINE   static inline __attribute__((always_inline, unused))
#define IPR__COLD     __attribute__((cold))
#define IPR__NOINLINE __attribute__((noinline))
#define IPR__RESTRICT __restrict__
#define IPR__ATOMICS  1
#elif defined(_MSC_VER)
#define IPR__INLINE   static __forceinline
#define IPR__NOINLINE __declspec(noinline)
#define IPR__COLD
#define IPR__RESTRICT __restrict
#define IPR__ATOMICS  0
#else
#define IPR__INLINE static
#define IPR__NOINLINE
#define IPR__COLD
#define IPR__RESTRICT
#define IPR__ATOMICS 0
#endif

/* Every private function: static, and silent when a cut-down build leaves it unused. COLD, and TOOL for private ones:
   far from the training loop, so small and quick to compile rather than fast. */
#define IPR__FN   static IPR__UNUSED
#define IPR__TOOL static IPR__UNUSED IPR__COLD

#ifndef IPR_ASSERT
#define IPR_ASSERT(x) ((void)0)
#endif

#define IPR__R(x)        ((ipr_real)(x))
#define IPR__MIN(a, b)   ((a) < (b) ? (a) : (b))
#define IPR__MAX(a, b)   ((a) > (b) ? (a) : (b))
#define IPR__ALIGN       64u
#define IPR__ROUND64(n)  (((n) + 63u) & ~(size_t)63u)
#define IPR__MAX_WORKERS 64

/* Sizes this header relies on, refused at compile time otherwise. */
typedef char ipr__assert_char_bit[((unsigned char)-1) == 255 ? 1 : -1];
typedef char ipr__assert_int[sizeof(int) >= 4 ? 1 : -1];
typedef char ipr__assert_float[sizeof(float) == 4 && sizeof(double) == 8 ? 1 : -1];
typedef char ipr__assert_index[sizeof(ipr_index) == sizeof(size_t) ? 1 : -1];

#ifdef __cplusplus
extern "C" {
#endif

#if IPR_FLOOR_MAX >= 1
/* ==== FLOOR 1: BASE ====================================================================== >>base
   What everything stands on: bytes, checked sizes, text without printf, sticky errors, the allocator
   with its caller-buffer heap, arenas, scratch, workers, CPU detection; then double mathematics,
   randomness and hashes.
   Hands up: ipr__fail, ipr__fmt, ipr__alloc, ipr__arena_*, ipr__scratch, ipr__par, ipr__ld.. and st.. */

/* ---- bytes ---- */

IPR__FN void ipr__copy(void *dst, const void *src, size_t n)
{
    uint8_t *d = (uint8_t *)dst;
    const uint8_t *s = (const uint8_t *)src;
    size_t i;
#if IPR__GNU
    if (n) __builtin_memcpy(d, s, n);
    (void)i;
#else
    for (i = 0; i < n; i++) d[i] = s[i];
#endif
}

IPR__FN void ipr__zero(void *p, size_t n)
{
    uint8_t *d = (uint8_t *)p;
    size_t i;
#if IPR__GNU
    if (n) __builtin_memset(d, 0, n);
    (void)i;
#else
    for (i = 0; i < n; i++) d[i] = 0;
#endif
}

IPR__FN size_t ipr__strlen(const char *s)
{
    size_t n = 0;
    while (s[n]) n++;
    return n;
}

IPR__FN int ipr__streq(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

IPR__FN int ipr__memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
    size_t i;
    for (i = 0; i < n; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

IPR__FN int ipr__mul(size_t a, size_t b, size_t *out)
{
    *out = a * b;
    return a == 0 || *out / a == b;
}

IPR__FN int ipr__add(size_t a, size_t b, size_t *out)
{
    *out = a + b;
    return *out >= a;
}

IPR__FN uint16_t ipr__ld16be(const uint8_t *p) { return (uint16_t)((uint16_t)(p[0] << 8) | p[1]); }
IPR__FN uint32_t ipr__ld32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
IPR__FN uint32_t ipr__ld32le(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}
IPR__FN uint64_t ipr__ld64le(const uint8_t *p) { return (uint64_t)ipr__ld32le(p + 4) << 32 | ipr__ld32le(p); }
IPR__FN void ipr__st32be(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
IPR__FN void ipr__st64be(uint8_t *p, uint64_t v)
{
    ipr__st32be(p, (uint32_t)(v >> 32));
    ipr__st32be(p + 4, (uint32_t)v);
}
IPR__FN void ipr__st32le(uint8_t *p, uint32_t v)
{
    p[3] = (uint8_t)(v >> 24);
    p[2] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[0] = (uint8_t)v;
}
IPR__FN void ipr__st64le(uint8_t *p, uint64_t v)
{
    ipr__st32le(p, (uint32_t)v);
    ipr__st32le(p + 4, (uint32_t)(v >> 32));
}
IPR__FN uint32_t ipr__f32_bits(float f)
{
    uint32_t u;
    ipr__copy(&u, &f, 4);
    return u;
}
IPR__FN float ipr__bits_f32(uint32_t u)
{
    float f;
    ipr__copy(&f, &u, 4);
    return f;
}
IPR__FN uint64_t ipr__f64_bits(double f)
{
    uint64_t u;
    ipr__copy(&u, &f, 8);
    return u;
}
IPR__FN double ipr__bits_f64(uint64_t u)
{
    double f;
    ipr__copy(&f, &u, 8);
    return f;
}
/* finite test on the bits, so that no compiler flag can fold it away */
IPR__FN int ipr__finite(double v) { return (ipr__f64_bits(v) >> 52 & 0x7ffu) != 0x7ffu; }
IPR__FN int ipr__finite_real(ipr_real v) { return ipr__finite((double)v); }

/* ---- text ---- */

typedef struct ipr__text {
    char *buf;
    size_t cap, len;
} ipr__text;

IPR__TOOL void ipr__text_c(ipr__text *t, char ch)
{
    if (t->len + 1 < t->cap) t->buf[t->len++] = ch;
}

IPR__TOOL void ipr__text_s(ipr__text *t, const char *s)
{
    if (!s) s = "(null)";
    while (*s) ipr__text_c(t, *s++);
}

IPR__TOOL void ipr__text_u(ipr__text *t, uint64_t v)
{
    char d[20];
    int n = 0;
    do {
        d[n++] = (char)('0' + (int)(v % 10u));
        v /= 10u;
    } while (v);
    while (n) ipr__text_c(t, d[--n]);
}

IPR__TOOL void ipr__text_i(ipr__text *t, int64_t v)
{
    if (v < 0) ipr__text_c(t, '-');
    ipr__text_u(t, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

/* %s string, %d int, %I ipr_index, %U uint64_t, %X uint32_t as 8 hex digits, %g double, %% */
IPR__TOOL void ipr__text_v(ipr__text *t, const char *f, va_list ap)
{
    char num[32];
    for (; *f; f++) {
        if (*f != '%') {
            ipr__text_c(t, *f);
            continue;
        }
        f++;
        if (*f == 's') ipr__text_s(t, va_arg(ap, const char *));
        else if (*f == 'd') ipr__text_i(t, va_arg(ap, int));
        else if (*f == 'I') ipr__text_i(t, (int64_t)va_arg(ap, ipr_index));
        else if (*f == 'U') ipr__text_u(t, va_arg(ap, uint64_t));
        else if (*f == 'g') {
            (void)ipr_fmt_double(num, va_arg(ap, double));
            ipr__text_s(t, num);
        } else if (*f == 'X') {
            uint32_t x = va_arg(ap, uint32_t);
            int i;
            for (i = 28; i >= 0; i -= 4) ipr__text_c(t, "0123456789abcdef"[x >> i & 15u]);
        } else if (*f) ipr__text_c(t, *f);
        else break;
    }
}

IPR__TOOL int ipr__fmt(char *buf, size_t cap, const char *f, ...)
{
    ipr__text t;
    va_list ap;
    if (!cap) return 0;
    t.buf = buf;
    t.cap = cap;
    t.len = 0;
    va_start(ap, f);
    ipr__text_v(&t, f, ap);
    va_end(ap);
    buf[t.len] = 0;
    return (int)t.len;
}

/* ---- the context ---- */

/* Caller-buffer heap: first fit over a small sorted table, so that the measure pass can lay out the
   same blocks without the buffer. */
enum { IPR__HEAP_BLOCKS = 128 };
typedef struct ipr__heap {
    struct {
        size_t off, size;
    } blk[IPR__HEAP_BLOCKS];
    int n;
    size_t cap, extent;
    char *base;
} ipr__heap;

typedef struct ipr__chunk {
    struct ipr__chunk *next;
    size_t size, used;
} ipr__chunk;
typedef struct ipr__arena {
    ipr_ctx *c;
    ipr__chunk *first, *cur;
    size_t chunk_bytes, used, peak;
    int wipe;
} ipr__arena;

/* Every block is on a list, so closing a context frees all that was forgotten. */
typedef struct ipr__block {
    struct ipr__block *prev, *next;
    void *raw;
    size_t raw_bytes;
} ipr__block;

struct ipr__kern;
struct ipr__node;
typedef struct ipr__pool ipr__pool;

struct ipr_ctx {
    int err;
    int isa, threads, training, no_grad, fixed, exact;
    ipr_desc d;
    const struct ipr__kern *kern;
    ipr_stats stats;
    ipr__block blocks; /* list head */
    ipr__heap *heap;   /* caller-buffer and measure mode only */
    void *self_raw;
    size_t self_bytes;
    ipr__arena step; /* temporaries and nodes: one step's life */
    char *ws[IPR__MAX_WORKERS];
    size_t ws_bytes;
    ipr__pool *pool;
    struct ipr__node **nodes; /* floor 4: the tape */
    ipr_index nnodes, cap_nodes;
    uint32_t step_no, draw_no; /* keys of the counter RNG: step, draws within it */
    struct ipr_tensor *poison; /* floor 3 */
    void *backend;             /* floor 14 */
    char msg[512];
};

IPR_API int ipr_status(const ipr_ctx *c) { return c ? c->err : IPR_E_ARG; }
IPR_API const char *ipr_message(const ipr_ctx *c) { return c ? c->msg : "context is NULL"; }
IPR_API IPR__COLD void ipr_clear(ipr_ctx *c)
{
    if (c) {
        c->err = IPR_OK;
        c->msg[0] = 0;
    }
}
IPR_API int ipr_isa(const ipr_ctx *c) { return c ? c->isa : 0; }
IPR_API int ipr_threads(const ipr_ctx *c) { return c ? c->threads : 1; }
IPR_API uint64_t ipr_seed(const ipr_ctx *c) { return c ? c->d.seed : 0; }
IPR_API void ipr_set_seed(ipr_ctx *c, uint64_t seed)
{
    if (c) c->d.seed = seed;
}

IPR_API IPR__COLD const char *ipr_status_name(int code)
{
    switch (code) {
    case IPR_OK: return "IPR_OK";
    case IPR_E_ARG: return "IPR_E_ARG";
    case IPR_E_SHAPE: return "IPR_E_SHAPE";
    case IPR_E_NOMEM: return "IPR_E_NOMEM";
    case IPR_E_RANGE: return "IPR_E_RANGE";
    case IPR_E_IO: return "IPR_E_IO";
    case IPR_E_FORMAT: return "IPR_E_FORMAT";
    case IPR_E_MISSING: return "IPR_E_MISSING";
    case IPR_E_STATE: return "IPR_E_STATE";
    case IPR_E_NUMERIC: return "IPR_E_NUMERIC";
    case IPR_E_CANCELLED: return "IPR_E_CANCELLED";
    case IPR_E_UNAVAILABLE: return "IPR_E_UNAVAILABLE";
    case IPR_E_INTERNAL: return "IPR_E_INTERNAL";
    default: return "unknown status";
    }
}

IPR_API IPR__COLD const char *ipr_isa_name(int isa)
{
    switch (isa) {
    case IPR_ISA_AUTO: return "auto";
    case IPR_ISA_PORTABLE: return "portable";
    case IPR_ISA_NEON: return "neon";
    case IPR_ISA_AVX2: return "avx2";
    case IPR_ISA_AVX512: return "avx512";
    default: return "unknown";
    }
}

/* Keep the first error: later ones are its consequences. Returns code, so callers can return it. */
IPR__TOOL int ipr__fail(ipr_ctx *c, int code, const char *fn, const char *f, ...)
{
    ipr__text t;
    va_list ap;
    if (!c || c->err != IPR_OK) return code;
    c->err = code;
    t.buf = c->msg;
    t.cap = sizeof c->msg;
    t.len = 0;
    ipr__text_s(&t, fn);
    ipr__text_s(&t, ": ");
    va_start(ap, f);
    ipr__text_v(&t, f, ap);
    va_end(ap);
    c->msg[t.len] = 0;
    return code;
}

/* ---- allocator ---- */

IPR__FN void *ipr__host_alloc(void *user, size_t n)
{
    (void)user;
#if defined(IPR_MALLOC)
    return IPR_MALLOC(n);
#else
    (void)n;
    return NULL; /* freestanding: give an allocator or a buffer */
#endif
}

IPR__FN void ipr__host_free(void *user, void *p, size_t n)
{
    (void)user;
    (void)n;
#if defined(IPR_FREE)
    IPR_FREE(p);
#else
    (void)p;
#endif
}

/* Offset of a new block, first fit; (size_t)-1 when it does not fit. */
IPR__FN size_t ipr__heap_place(ipr__heap *h, size_t size)
{
    size_t at = 0;
    int i, j;
    if (h->n == IPR__HEAP_BLOCKS) return (size_t)-1;
    for (i = 0; i < h->n; i++) {
        if (h->blk[i].off - at >= size) break;
        at = h->blk[i].off + h->blk[i].size;
    }
    if (size > h->cap || at > h->cap - size) return (size_t)-1;
    for (j = h->n; j > i; j--) h->blk[j] = h->blk[j - 1];
    h->blk[i].off = at;
    h->blk[i].size = size;
    h->n++;
    if (at + size > h->extent) h->extent = at + size;
    return at;
}

IPR__FN void ipr__heap_remove(ipr__heap *h, size_t off)
{
    int i = 0;
    while (i < h->n && h->blk[i].off != off) i++;
    for (h->n--; i < h->n; i++) h->blk[i] = h->blk[i + 1];
}

/* A block is [slack][ipr__block, 64 bytes][n bytes, 64-aligned]. In measure mode its place in the
   imagined buffer is kept in the header's slack. */
IPR__FN void *ipr__alloc(ipr_ctx *c, size_t n)
{
    size_t bytes, off = 0;
    char *raw = NULL, *p;
    ipr__block *b;
    if (!c) return NULL;
    if (!ipr__add(n, 2 * IPR__ALIGN + 63u, &bytes)) bytes = 0;
    bytes &= ~(size_t)63u;
    if (bytes && c->heap) {
        off = ipr__heap_place(c->heap, bytes);
        if (off == (size_t)-1) bytes = 0;
        else if (c->fixed) raw = c->heap->base + off;
    }
    if (bytes && !raw) {
        raw = (char *)c->d.allocator.alloc_fn(c->d.allocator.user, bytes);
        if (raw) c->stats.allocs++;
        else if (c->heap) ipr__heap_remove(c->heap, off);
    }
    if (!bytes || !raw) {
        (void)ipr__fail(c, IPR_E_NOMEM, "ipr",
                        c->fixed ? "no room for %U bytes in the caller's buffer of %U; run once with ipr_desc.measure "
                                   "= 1 and give ipr_bytes_needed"
                                 : "the allocator has no %U bytes (in use: %U); use a smaller batch or model",
                        (uint64_t)n, (uint64_t)(c->fixed ? c->d.memory_size : c->stats.bytes_now));
        return NULL;
    }
    p = raw + IPR__ALIGN;
    p += (IPR__ALIGN - (size_t)((uintptr_t)p & 63u)) & 63u;
    b = (ipr__block *)(void *)(p - IPR__ALIGN);
    b->raw = raw;
    b->raw_bytes = bytes;
    b->next = c->blocks.next;
    b->prev = &c->blocks;
    b->next->prev = b;
    c->blocks.next = b;
    if (c->heap) ipr__copy((char *)(void *)b + sizeof *b, &off, sizeof off);
    c->stats.bytes_now += bytes;
    if (c->stats.bytes_now > c->stats.bytes_peak) c->stats.bytes_peak = c->stats.bytes_now;
    return p;
}
typedef char ipr__assert_block[sizeof(ipr__block) + sizeof(size_t) <= IPR__ALIGN ? 1 : -1];

IPR__FN void ipr__free(ipr_ctx *c, void *p)
{
    ipr__block *b;
    if (!c || !p) return;
    b = (ipr__block *)(void *)((char *)p - IPR__ALIGN);
    b->prev->next = b->next;
    b->next->prev = b->prev;
    c->stats.bytes_now -= b->raw_bytes;
    if (c->heap) {
        size_t off;
        ipr__copy(&off, (char *)(void *)b + sizeof *b, sizeof off);
        ipr__heap_remove(c->heap, off);
    }
    if (!c->fixed) {
        c->stats.frees++;
        c->d.allocator.free_fn(c->d.allocator.user, b->raw, b->raw_bytes);
    }
}

/* ---- arenas ---- */

IPR__FN void ipr__arena_init(ipr_ctx *c, ipr__arena *a, size_t chunk_bytes)
{
    ipr__zero(a, sizeof *a);
    a->c = c;
    a->chunk_bytes = c && c->heap ? IPR__MIN(chunk_bytes, (size_t)1024) : chunk_bytes;
}

IPR__TOOL int ipr__arena_grow(ipr__arena *a, size_t n)
{
    size_t size;
    ipr__chunk *k;
    if (!ipr__add(IPR__MAX(n, a->chunk_bytes), IPR__ALIGN, &size)) {
        (void)ipr__fail(a->c, IPR_E_RANGE, "ipr", "%U bytes do not fit the address space; use a smaller batch or model",
                        (uint64_t)n);
        return 0;
    }
    k = (ipr__chunk *)ipr__alloc(a->c, size);
    if (!k) return 0;
    k->next = NULL;
    k->size = size - IPR__ALIGN;
    k->used = 0;
    if (a->cur) {
        k->next = a->cur->next;
        a->cur->next = k;
    } else a->first = k;
    a->cur = k;
    return 1;
}

/* n bytes, 64-aligned, uninitialised; NULL with the context's error set. */
IPR__FN void *ipr__arena_get(ipr__arena *a, size_t n)
{
    char *p;
    size_t r = IPR__ROUND64(n);
    if (r < n) {
        (void)ipr__fail(a->c, IPR_E_RANGE, "ipr", "size overflow");
        return NULL;
    }
    while (!a->cur || a->cur->size - a->cur->used < r) {
        if (a->cur && a->cur->next && a->cur->next->used == 0 && a->cur->next->size >= r) a->cur = a->cur->next;
        else if (!ipr__arena_grow(a, r)) return NULL;
    }
    p = (char *)(void *)a->cur + IPR__ALIGN + a->cur->used;
    a->cur->used += r;
    a->used += r;
    if (a->used > a->peak) a->peak = a->used;
    return p;
}

IPR__FN void ipr__arena_free(ipr__arena *a, int wipe)
{
    ipr__chunk *k = a->first, *next;
    for (; k; k = next) {
        next = k->next;
        if (wipe || a->wipe) ipr_wipe((char *)(void *)k + IPR__ALIGN, k->used);
        ipr__free(a->c, k);
    }
    a->first = a->cur = NULL;
    a->used = 0;
}

/* Forget the contents, keep the memory. Several chunks are merged into one as large as all, so that the
   next round of the same or a smaller size never asks the allocator. */
IPR__FN void ipr__arena_reset(ipr__arena *a)
{
    ipr__chunk *k;
    if (a->first && a->first->next) {
        size_t total = 0;
        for (k = a->first; k; k = k->next) total += k->size;
        ipr__arena_free(a, 0);
        if (a->c->err == IPR_OK) (void)ipr__arena_grow(a, total);
        return;
    }
    if (a->first) a->first->used = 0;
    a->cur = a->first;
    a->used = 0;
}

/* ---- scratch: one flat buffer per worker ---- */

IPR__FN int ipr__scratch(ipr_ctx *c, size_t bytes)
{
    int i;
    if (bytes <= c->ws_bytes) return 1;
    bytes = (bytes + 4095u) & ~(size_t)4095u;
    for (i = 0; i < c->threads; i++) {
        ipr__free(c, c->ws[i]);
        c->ws[i] = NULL;
    }
    c->ws_bytes = 0;
    for (i = 0; i < c->threads; i++)
        if (!(c->ws[i] = (char *)ipr__alloc(c, bytes))) return 0;
    c->ws_bytes = bytes;
    return 1;
}

IPR__FN char *ipr__ws(ipr_ctx *c, int worker) { return c->ws[worker]; }

/* ---- workers: a pool in the context, a spin of some 20 us, then sleep ---- */

#if defined(IPR_THREADS)
#if IPR__WIN32
typedef struct {
    CRITICAL_SECTION m;
} ipr__mutex;
typedef CONDITION_VARIABLE ipr__cond;
typedef HANDLE ipr__thread;
#define ipr__lock(p)      EnterCriticalSection(&(p)->m)
#define ipr__unlock(p)    LeaveCriticalSection(&(p)->m)
#define ipr__wait(cv, p)  SleepConditionVariableCS(cv, &(p)->m, INFINITE)
#define ipr__wake_all(cv) WakeAllConditionVariable(cv)
#else
typedef struct {
    pthread_mutex_t m;
} ipr__mutex;
typedef pthread_cond_t ipr__cond;
typedef pthread_t ipr__thread;
#define ipr__lock(p)      (void)pthread_mutex_lock(&(p)->m)
#define ipr__unlock(p)    (void)pthread_mutex_unlock(&(p)->m)
#define ipr__wait(cv, p)  (void)pthread_cond_wait(cv, &(p)->m)
#define ipr__wake_all(cv) (void)pthread_cond_broadcast(cv)
#endif

#if IPR__ATOMICS
#define IPR__LOAD(p)     __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define IPR__STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define IPR__NEXT(p)     __atomic_fetch_add(p, 1, __ATOMIC_ACQ_REL)
#elif IPR__WIN32
#define IPR__LOAD(p)     InterlockedCompareExchange((volatile LONG *)(p), 0, 0)
#define IPR__STORE(p, v) InterlockedExchange((volatile LONG *)(p), v)
#define IPR__NEXT(p)     (InterlockedIncrement((volatile LONG *)(p)) - 1)
#else
#error "ipr.h: IPR_THREADS needs atomic builtins (gcc, clang) or Win32; use ipr_desc.parallel_fn instead"
#endif
enum { IPR__SPIN = 2000 };

typedef struct {
    ipr__pool *pool;
    int id;
    ipr__thread thread;
} ipr__worker;
struct ipr__pool {
    ipr__mutex mutex;
    ipr__cond start, done;
    ipr_task fn;
    void *arg;
    int items, next, active, round, quit, n;
    ipr__worker w[IPR__MAX_WORKERS];
};

IPR__FN void ipr__pool_items(ipr__pool *p, int worker)
{
    int i;
    while ((i = (int)IPR__NEXT(&p->next)) < p->items) p->fn(p->arg, i, worker);
}

IPR__FN void ipr__pool_loop(ipr__worker *w)
{
    ipr__pool *p = w->pool;
    int seen = 0, spin;
    for (;;) {
        for (spin = 0; spin < IPR__SPIN && IPR__LOAD(&p->round) == seen; spin++) {
#if IPR__X86
            _mm_pause();
#endif
        }
        ipr__lock(&p->mutex);
        while (p->round == seen && !p->quit) ipr__wait(&p->start, &p->mutex);
        seen = p->round;
        if (p->quit) {
            ipr__unlock(&p->mutex);
            return;
        }
        ipr__unlock(&p->mutex);
        ipr__pool_items(p, w->id);
        ipr__lock(&p->mutex);
        IPR__STORE(&p->active, p->active - 1);
        if (p->active == 0) ipr__wake_all(&p->done);
        ipr__unlock(&p->mutex);
    }
}

#if IPR__WIN32
static DWORD WINAPI ipr__pool_main(LPVOID arg)
{
    ipr__pool_loop((ipr__worker *)arg);
    return 0;
}
#else
static void *ipr__pool_main(void *arg)
{
    ipr__pool_loop((ipr__worker *)arg);
    return NULL;
}
#endif

IPR__TOOL void ipr__pool_close(ipr_ctx *c)
{
    ipr__pool *p = c->pool;
    int i;
    if (!p) return;
    ipr__lock(&p->mutex);
    p->quit = 1;
    ipr__wake_all(&p->start);
    ipr__unlock(&p->mutex);
    for (i = 1; i < p->n; i++) {
#if IPR__WIN32
        WaitForSingleObject(p->w[i].thread, INFINITE);
        CloseHandle(p->w[i].thread);
#else
        (void)pthread_join(p->w[i].thread, NULL);
#endif
    }
#if IPR__WIN32
    DeleteCriticalSection(&p->mutex.m);
#else
    (void)pthread_mutex_destroy(&p->mutex.m);
    (void)pthread_cond_destroy(&p->start);
    (void)pthread_cond_destroy(&p->done);
#endif
    ipr__free(c, p);
    c->pool = NULL;
}

/* Starts threads - 1 workers; fewer when the system refuses some. */
IPR__TOOL int ipr__pool_open(ipr_ctx *c, int threads)
{
    ipr__pool *p = (ipr__pool *)ipr__alloc(c, sizeof *p);
    if (!p) return 0;
    ipr__zero(p, sizeof *p);
#if IPR__WIN32
    InitializeCriticalSection(&p->mutex.m);
    InitializeConditionVariable(&p->start);
    InitializeConditionVariable(&p->done);
#else
    if (pthread_mutex_init(&p->mutex.m, NULL) || pthread_cond_init(&p->start, NULL) ||
        pthread_cond_init(&p->done, NULL)) {
        ipr__free(c, p);
        (void)ipr__fail(c, IPR_E_UNAVAILABLE, "ipr_open", "the system refuses a mutex; use threads = 1");
        return 0;
    }
#endif
    c->pool = p;
    for (p->n = 1; p->n < threads; p->n++) {
        ipr__worker *w = &p->w[p->n];
        w->pool = p;
        w->id = p->n;
#if IPR__WIN32
        w->thread = CreateThread(NULL, 0, ipr__pool_main, w, 0, NULL);
        if (!w->thread) break;
#else
        if (pthread_create(&w->thread, NULL, ipr__pool_main, w)) break;
#endif
    }
    c->threads = p->n;
    return 1;
}

IPR__FN void ipr__pool_run(ipr__pool *p, int items, ipr_task fn, void *arg)
{
    int spin;
    ipr__lock(&p->mutex);
    p->fn = fn;
    p->arg = arg;
    p->items = items;
    p->active = p->n - 1;
    IPR__STORE(&p->next, 0);
    IPR__STORE(&p->round, p->round + 1);
    ipr__wake_all(&p->start);
    ipr__unlock(&p->mutex);
    ipr__pool_items(p, 0);
    for (spin = 0; spin < IPR__SPIN && IPR__LOAD(&p->active); spin++) {
#if IPR__X86
        _mm_pause();
#endif
    }
    ipr__lock(&p->mutex);
    while (p->active) ipr__wait(&p->done, &p->mutex);
    ipr__unlock(&p->mutex);
}
#endif /* IPR_THREADS */

/* Gradients that fade over a long sequence, and momenta of words that do not come again, end among denormal numbers,
   which cost x86's vector units a hundred times the time of others: 6.8 s instead of 0.3 for a step over 200 words.
   With the AVX2 and AVX-512 tables recurrent layers, backward and optimisers therefore take them for zero. The portable
   table never does (there whole rows that faded are dropped: ipr__rnn_fade). */
#if IPR__X86
enum { IPR__FTZ = 0x8040 }; /* MXCSR: flush results to zero, read denormal operands as zero */
IPR__FN unsigned ipr__ftz(const ipr_ctx *c)
{
    const unsigned old = _mm_getcsr();
    if (c->isa == IPR_ISA_AVX2 || c->isa == IPR_ISA_AVX512) _mm_setcsr(old | IPR__FTZ);
    return old;
}
IPR__FN void ipr__ftz_end(unsigned old) { _mm_setcsr(old); }
#else
IPR__FN unsigned ipr__ftz(const ipr_ctx *c)
{
    (void)c;
    return 0;
}
IPR__FN void ipr__ftz_end(unsigned old) { (void)old; }
#endif


typedef struct ipr__par_job {
    ipr_task fn;
    void *arg;
    unsigned mode;
} ipr__par_job;

/* An item in the floating-point mode of the thread that asked for it: no bit depends on who computes. */
IPR__FN void ipr__par_item(void *arg, int item, int worker)
{
    const ipr__par_job *j = (const ipr__par_job *)arg;
#if IPR__X86
    const unsigned old = _mm_getcsr();
    _mm_setcsr(j->mode);
    j->fn(j->arg, item, worker);
    _mm_setcsr(old);
#else
    j->fn(j->arg, item, worker);
#endif
}

/* fn(arg, item, worker) for every item; items may run at the same time, in any order. */
IPR__FN void ipr__par(ipr_ctx *c, int items, ipr_task fn, void *arg)
{
    int i;
    if (items > 1 && c->threads > 1) {
        ipr__par_job j;
        j.fn = fn;
        j.arg = arg;
        j.mode = 0;
#if IPR__X86
        j.mode = _mm_getcsr();
#endif
        if (c->d.parallel_fn) {
            c->d.parallel_fn(c->d.parallel_user, items, ipr__par_item, &j);
            return;
        }
#if defined(IPR_THREADS)
        if (c->pool) {
            ipr__pool_run(c->pool, items, ipr__par_item, &j);
            return;
        }
#endif
    }
    for (i = 0; i < items; i++) fn(arg, i, 0);
}

/* ---- the CPU ---- */

#if IPR__X86
IPR__TOOL void ipr__cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
#if defined(_MSC_VER) && !defined(__clang__)
    int v[4], i;
    __cpuidex(v, (int)leaf, (int)sub);
    for (i = 0; i < 4; i++) r[i] = (uint32_t)v[i];
#else
    if (!__get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3])) r[0] = r[1] = r[2] = r[3] = 0;
#endif
}

/* Which register files the operating system saves (XCR0). */
IPR__TOOL uint32_t ipr__xgetbv(void)
{
#if defined(_MSC_VER) && !defined(__clang__)
    return (uint32_t)_xgetbv(0);
#else
    uint32_t lo, hi;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(lo), "=d"(hi) : "c"(0));
    (void)hi;
    return lo;
#endif
}
#endif

/* The best instruction set this CPU and operating system have. */
IPR__TOOL int ipr__cpu_isa(void)
{
#if IPR__X86
    uint32_t r1[4], r7[4], xcr;
    const uint32_t avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    ipr__cpuid(1, 0, r1);
    if (!(r1[2] >> 27 & 1u) || !(r1[2] >> 28 & 1u) || !(r1[2] >> 12 & 1u))
        return IPR_ISA_PORTABLE; /* OSXSAVE, AVX, FMA */
    xcr = ipr__xgetbv();
    ipr__cpuid(7, 0, r7);
    if ((xcr & 6u) != 6u || !(r7[1] >> 5 & 1u)) return IPR_ISA_PORTABLE;
    if ((xcr & 0xe6u) == 0xe6u && (r7[1] & avx512) == avx512) return IPR_ISA_AVX512;
    return IPR_ISA_AVX2;
#elif IPR__NEON
    return IPR_ISA_NEON;
#else
    return IPR_ISA_PORTABLE;
#endif
}

IPR_API IPR__COLD double ipr_now(ipr_ctx *c)
{
    if (c && c->d.now_fn) return c->d.now_fn(c->d.now_user);
#if IPR__HOSTED && !defined(IPR_NO_CLOCK)
#if IPR__WIN32
    {
        LARGE_INTEGER f, t;
        if (QueryPerformanceFrequency(&f) && QueryPerformanceCounter(&t))
            return (double)t.QuadPart / (double)f.QuadPart;
        return 0;
    }
#elif defined(CLOCK_MONOTONIC)
    {
        struct timespec t;
        if (clock_gettime(CLOCK_MONOTONIC, &t)) return 0;
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
#elif defined(TIME_UTC)
    {
        struct timespec t;
        if (!timespec_get(&t, TIME_UTC)) return 0;
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
#else
    return (double)time(NULL); /* strict C99: whole seconds */
#endif
#else
    return 0;
#endif
}

IPR_API IPR__COLD ipr_stats ipr_stats_get(const ipr_ctx *c)
{
    ipr_stats s = IPR_ZERO;
    if (!c) return s;
    s = c->stats;
    s.step_bytes = c->step.used;
    s.step_peak = c->step.peak;
    return s;
}

IPR_API IPR__COLD size_t ipr_bytes_needed(const ipr_ctx *c)
{
    if (!c || !c->heap) return 0;
    return IPR__ROUND64(sizeof *c) + IPR__ROUND64(sizeof *c->heap) + c->heap->extent + IPR__ALIGN;
}

/* The lower half of ipr_open: memory and workers. The kernels and the tape are added above. */
IPR__TOOL ipr_ctx *ipr__base_open(const ipr_desc *d, int *status)
{
    ipr_desc z = IPR_ZERO;
    ipr_ctx *c = NULL;
    size_t need = IPR__ROUND64(sizeof *c) + IPR__ROUND64(sizeof(ipr__heap)) + IPR__ALIGN;
    char *raw, *p;
    int best = ipr__cpu_isa();
    if (!d) d = &z;
    *status = IPR_E_ARG;
    if (d->isa < 0 || d->isa > IPR_ISA_AVX512 || d->threads < 0 || d->threads > IPR__MAX_WORKERS) return NULL;
    if (!d->allocator.alloc_fn != !d->allocator.free_fn || (d->memory && d->measure)) return NULL;
    *status = IPR_E_UNAVAILABLE;
    if (d->isa > IPR_ISA_PORTABLE && (d->isa > best || (d->isa == IPR_ISA_NEON) != (best == IPR_ISA_NEON))) return NULL;
#if !defined(IPR_THREADS)
    if (d->threads > 1 && !d->parallel_fn) return NULL;
#endif
    *status = IPR_E_NOMEM;
    if (d->memory) {
        if (d->memory_size < need) return NULL;
        raw = (char *)d->memory;
    } else {
        if (!d->allocator.alloc_fn) {
            z.allocator.alloc_fn = ipr__host_alloc;
            z.allocator.free_fn = ipr__host_free;
        } else z.allocator = d->allocator;
        raw = (char *)z.allocator.alloc_fn(z.allocator.user, need);
        if (!raw) return NULL;
    }
    p = raw + ((IPR__ALIGN - (size_t)((uintptr_t)raw & 63u)) & 63u);
    c = (ipr_ctx *)(void *)p;
    ipr__zero(c, sizeof *c);
    c->d = *d;
    if (!d->memory) c->d.allocator = z.allocator;
    c->self_raw = raw;
    c->self_bytes = need;
    c->blocks.next = c->blocks.prev = &c->blocks;
    c->isa = d->isa == IPR_ISA_AUTO ? best : d->isa;
    c->threads = 1;
    c->fixed = d->memory != NULL;
    if (d->memory || d->measure) {
        c->heap = (ipr__heap *)(void *)(p + IPR__ROUND64(sizeof *c));
        ipr__zero(c->heap, sizeof *c->heap);
        c->heap->base = (char *)(void *)c->heap + IPR__ROUND64(sizeof *c->heap);
        c->heap->cap = d->memory ? d->memory_size - (size_t)(c->heap->base - raw) : (size_t)-1 / 2;
    }
    ipr__arena_init(c, &c->step, (size_t)1 << 16);
    if (d->threads > 1) {
        c->threads = d->threads;
#if defined(IPR_THREADS)
        if (!d->parallel_fn && !ipr__pool_open(c, d->threads)) {
            *status = c->err;
            return c;
        }
#endif
    }
    *status = IPR_OK;
    return c;
}

IPR_API IPR__COLD void ipr_close(ipr_ctx *c)
{
    ipr__block *b, *next;
    void *raw;
    size_t bytes;
    ipr_allocator a;
    if (!c) return;
#if defined(IPR_THREADS)
    ipr__pool_close(c);
#endif
    for (b = c->blocks.next; b != &c->blocks; b = next) {
        next = b->next;
        if (!c->fixed) c->d.allocator.free_fn(c->d.allocator.user, b->raw, b->raw_bytes);
    }
    raw = c->self_raw;
    bytes = c->self_bytes;
    a = c->d.allocator;
    if (!c->fixed) a.free_fn(a.user, raw, bytes);
}
#endif /* IPR_FLOOR_MAX >= 1 */

#if IPR_FLOOR_MAX >= 1
/* ---- double mathematics: no libm, the same bits everywhere ----
   For statistics, random numbers and number text. Only + - * / (each rounded once, as IEEE 754 says) and
   integer work on the bits, so every target without excess precision and with contraction off agrees to
   the last bit. Largest relative errors seen against 50-digit values, in units of 1e-16: log 0.9, exp 1.3,
   log10 1.4, sin and cos 1.8, expm1 and log1p 2.1, sigmoid 2.2, tanh 2.9, lgamma 5.5, normal tail 30; sqrt is
   correctly rounded. */

/* 0 where doubles are computed with excess precision (x87): results then differ in the last bits. */
#if defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ == 2 || __FLT_EVAL_METHOD__ < 0)
#define IPR__DOUBLE_EXACT 0
#else
#define IPR__DOUBLE_EXACT 1
#endif

#define IPR__LN2_HI         6.93147180369123816490e-01 /* 32 bits of ln 2: an int times this is exact */
#define IPR__LN2_LO         1.90821492927058770002e-10 /* the rest */
#define IPR__LN2            0.693147180559945309417
#define IPR__TWO_PI         6.28318530717958647693
#define IPR__HALF_LN_TWO_PI 0.918938533204672741780

IPR__FN double ipr__dabs(double x) { return ipr__bits_f64(ipr__f64_bits(x) & 0x7fffffffffffffffu); }
IPR__FN double ipr__dnan(void) { return ipr__bits_f64(0x7ff8000000000000u); }
IPR__FN double ipr__dinf(void) { return ipr__bits_f64(0x7ff0000000000000u); }
/* on the bits, so that no compiler flag can fold it away */
IPR__FN int ipr__isnan(double x) { return (ipr__f64_bits(x) & 0x7fffffffffffffffu) > 0x7ff0000000000000u; }

/* x * 2^k in two steps, so that a subnormal result is rounded once. For x near 1 and |k| <= 2000. */
IPR__FN double ipr__dscale(double x, int k)
{
    int a = k / 2, b = k - a;
    return x * ipr__bits_f64((uint64_t)(1023 + a) << 52) * ipr__bits_f64((uint64_t)(1023 + b) << 52);
}

/* x = m * 2^k with m in [1,2); x finite and positive. */
IPR__FN double ipr__dsplit(double x, int *k)
{
    uint64_t u;
    int e = 0;
    if (x < 2.2250738585072014e-308) {
        x *= 18014398509481984.0;
        e = -54;
    } /* subnormal: times 2^54 */
    u = ipr__f64_bits(x);
    *k = e + (int)(u >> 52) - 1023;
    return ipr__bits_f64((u & 0x000fffffffffffffu) | 0x3ff0000000000000u);
}

/* c[0] + c[1] x + ... + c[n-1] x^(n-1), Horner's rule. */
IPR__FN double ipr__dpoly(double x, const double *c, int n)
{
    double s = c[--n];
    while (n > 0) s = s * x + c[--n];
    return s;
}

/* Square root, correctly rounded, two bits of the radicand for each bit of the root, as on paper.
   The 54th root bit decides the rounding: a tie cannot happen, its square would need 107 bits. */
IPR__FN double ipr__dsqrt_soft(double x)
{
    uint64_t m, q = 0, r = 0;
    int k, i;
    if (x < 0) return ipr__dnan();
    if (!(x > 0) || !ipr__finite(x)) return x;
    m = (ipr__f64_bits(ipr__dsplit(x, &k)) & 0x000fffffffffffffu) | 0x0010000000000000u;
    if (k & 1) {
        m <<= 1;
        k--;
    }
    m <<= 10; /* 27 pairs of bits, at the top of the word */
    for (i = 0; i < 54; i++) {
        uint64_t t = q << 2 | 1u;
        r = r << 2 | m >> 62;
        m <<= 2;
        q <<= 1;
        if (r >= t) {
            r -= t;
            q |= 1u;
        }
    }
    return ipr__dscale((double)((q + 1) >> 1) * 2.220446049250313e-16, k / 2);
}

IPR__FN double ipr__dsqrt(double x)
{
#if IPR__X86
    return x < 0 ? ipr__dnan() : _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(x)));
#elif IPR__NEON
    return x < 0 ? ipr__dnan() : vget_lane_f64(vsqrt_f64(vdup_n_f64(x)), 0);
#else
    return ipr__dsqrt_soft(x);
#endif
}

/* Float square root, correctly rounded. Newton in double leaves less than 2^-51; the root of a 24-bit
   number is never that close to a rounding boundary (a 25-bit m has |x - m^2| >= 1). */
IPR__FN float ipr__fsqrt_soft(float v)
{
    double x = (double)v, y, s;
    int i;
    if (x < 0) return (float)ipr__dnan();
    if (!(x > 0) || !ipr__finite(x)) return v;
    y = ipr__bits_f64(0x5fe6eb50c7b537a9u - (ipr__f64_bits(x) >> 1)); /* 1/sqrt within 4% */
    for (i = 0; i < 4; i++) y = y * (1.5 - 0.5 * x * y * y);
    s = x * y;
    return (float)(s + 0.5 * y * (x - s * s));
}

IPR__FN float ipr__fsqrt(float x)
{
#if IPR__X86
    return x < 0 ? (float)ipr__dnan() : _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#elif IPR__NEON
    return x < 0 ? (float)ipr__dnan() : vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
#else
    return ipr__fsqrt_soft(x);
#endif
}

/* (e^r - 1 - r) / r^2 for |r| <= ln2 / 2: the exponential series, next term 1e-18. */
IPR__FN double ipr__exp_tail(double r)
{
    static const double c[12] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                 1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    return ipr__dpoly(r, c, 12);
}

/* x = k ln2 + r, |r| <= ln2 / 2 */
IPR__FN double ipr__exp_reduce(double x, int *k)
{
    *k = (int)(x * 1.44269504088896340736 + (x < 0 ? -0.5 : 0.5));
    return (x - *k * IPR__LN2_HI) - *k * IPR__LN2_LO;
}

/* e^x. */
IPR__FN double ipr__dexp(double x)
{
    int k;
    double r;
    if (ipr__isnan(x)) return x;
    if (x > 709.782712893384) return ipr__dinf();
    if (x < -745.2) return 0;
    r = ipr__exp_reduce(x, &k);
    return ipr__dscale(1.0 + (r + r * r * ipr__exp_tail(r)), k);
}

/* e^x - 1 without cancellation near 0. */
IPR__FN double ipr__dexpm1(double x)
{
    int k;
    double r, p, two_k;
    if (ipr__isnan(x)) return x;
    if (x > 60) return ipr__dexp(x);
    if (x < -40) return -1.0;
    if (ipr__dabs(x) < 1e-300) return x;
    r = ipr__exp_reduce(x, &k);
    p = r + r * r * ipr__exp_tail(r);
    if (k == 0) return p;
    two_k = ipr__dscale(1.0, k);
    return k < 53 ? two_k * p + (two_k - 1.0) : two_k * (p + 1.0) - 1.0;
}

/* Natural logarithm. With f = m - 1 and s = f / (2 + f): log m = 2 artanh s (DLMF 4.6.4), arranged so
   that only small terms are rounded. */
IPR__FN double ipr__dlog(double x)
{
    static const double c[11] = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11, 2.0 / 13,
                                 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};
    double f, s, z, h;
    int k;
    if (ipr__isnan(x) || x < 0) return ipr__dnan();
    if (!(x > 0)) return -ipr__dinf();
    if (!ipr__finite(x)) return x;
    f = ipr__dsplit(x, &k);
    if (f > 1.41421356237309505) {
        f *= 0.5;
        k++;
    }
    f -= 1.0;
    s = f / (2.0 + f);
    z = s * s;
    h = 0.5 * f * f;
    z = s * (h + z * ipr__dpoly(z, c, 11));
    return k * IPR__LN2_HI - ((h - (z + k * IPR__LN2_LO)) - f);
}

/* log(1 + x) without cancellation near 0: the rounding of 1 + x is put back to first order. */
IPR__FN double ipr__dlog1p(double x)
{
    double u = 1.0 + x;
    if (ipr__isnan(x) || x < -1.0) return ipr__dnan();
    if (!(ipr__dabs(x) > 1e-300) || !ipr__finite(u)) return x;
    if (x > 1e17 || !(u > 0)) return ipr__dlog(u);
    return ipr__dlog(u) + (x - (u - 1.0)) / u;
}

IPR__FN double ipr__dlog10(double x) { return ipr__dlog(x) * 0.434294481903251827651; }

/* x^n by squaring. */
IPR__FN double ipr__dpow_i(double x, int n)
{
    unsigned m = n < 0 ? 0u - (unsigned)n : (unsigned)n;
    double r = 1.0;
    for (; m; m >>= 1, x *= x)
        if (m & 1u) r *= x;
    return n < 0 ? 1.0 / r : r;
}

/* 1 / (1 + e^-x). */
IPR__FN double ipr__dsigmoid(double x)
{
    double e = ipr__dexp(-ipr__dabs(x));
    return x < 0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
}

/* tanh x = (e^2x - 1) / (e^2x + 1), through e^-2|x| - 1 so that nothing overflows. */
IPR__FN double ipr__dtanh(double x)
{
    double a = ipr__dabs(x), e, t;
    if (ipr__isnan(x) || a < 1e-300) return x;
    e = ipr__dexpm1(-2.0 * a);
    t = a < 0.5 ? -e / (2.0 + e) : 1.0 - 2.0 * (1.0 + e) / (2.0 + e);
    return x < 0 ? -t : t;
}

/* cos(2 pi x) and sin(2 pi x) for |x| <= 1/8 turn: Taylor, next term 1e-18. */
IPR__FN double ipr__cos_turn(double x)
{
    static const double c[8] = {-1.0 / 2,       1.0 / 24,        -1.0 / 720,           1.0 / 40320,
                                -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200.0, 1.0 / 20922789888000.0};
    double t = IPR__TWO_PI * x, z = t * t;
    return 1.0 + z * ipr__dpoly(z, c, 8);
}

IPR__FN double ipr__sin_turn(double x)
{
    static const double c[8] = {-1.0 / 6,
                                1.0 / 120,
                                -1.0 / 5040,
                                1.0 / 362880,
                                -1.0 / 39916800,
                                1.0 / 6227020800.0,
                                -1.0 / 1307674368000.0,
                                1.0 / 355687428096000.0};
    double t = IPR__TWO_PI * x, z = t * t;
    return t + t * z * ipr__dpoly(z, c, 8);
}

/* x - nearest whole number, exact; NaN for NaN and infinity. */
IPR__FN double ipr__turn_fraction(double x)
{
    if (!ipr__finite(x)) return ipr__dnan();
    if (ipr__dabs(x) >= 4503599627370496.0) return 0; /* 2^52 and up: whole already */
    x -= (double)(int64_t)x;
    return x > 0.5 ? x - 1.0 : x < -0.5 ? x + 1.0 : x;
}

/* cos(2 pi x): the argument in turns, so the reduction is exact. */
IPR__FN double ipr__dcos2pi(double x)
{
    double a = ipr__dabs(ipr__turn_fraction(x)), sign = 1.0;
    if (a > 0.25) {
        a = 0.5 - a;
        sign = -1.0;
    }
    return sign * (a <= 0.125 ? ipr__cos_turn(a) : ipr__sin_turn(0.25 - a));
}

IPR__FN double ipr__dsin2pi(double x)
{
    double f = ipr__turn_fraction(x), a = ipr__dabs(f), s;
    if (a > 0.25) a = 0.5 - a;
    s = a <= 0.125 ? ipr__sin_turn(a) : ipr__cos_turn(0.25 - a);
    return f < 0 ? -s : s;
}

/* Stirling's remainder: log Gamma(x) - [(x - 1/2) log x - x + log(2 pi)/2] (DLMF 5.11.1), x >= 10.
   The same number is log x! - [(x + 1/2) log x - x + log(2 pi)/2]. */
IPR__FN double ipr__stirling(double x)
{
    static const double c[9] = {1.0 / 12,        -1.0 / 360, 1.0 / 1260,       -1.0 / 1680,     1.0 / 1188,
                                -691.0 / 360360, 1.0 / 156,  -3617.0 / 122400, 43867.0 / 244188};
    return ipr__dpoly(1.0 / x / x, c, 9) / x;
}

/* log Gamma(2 + z) = z (1 - gamma) + sum (-1)^n (zeta(n) - 1) z^n / n (DLMF 5.7.3), |z| <= 1/2. */
IPR__FN double ipr__lgamma_near2(double z)
{
    static const double zeta1[25] = {
        /* zeta(n) - 1, n = 2..26 */
        6.4493406684822643647e-1, 2.0205690315959428540e-1, 8.2323233711138191516e-2, 3.6927755143369926331e-2,
        1.7343061984449139715e-2, 8.3492773819228268398e-3, 4.0773561979443393787e-3, 2.0083928260822144179e-3,
        9.9457512781808533715e-4, 4.9418860411946455870e-4, 2.4608655330804829864e-4, 1.2271334757848914675e-4,
        6.1248135058704829259e-5, 3.0588236307020493552e-5, 1.5282259408651871733e-5, 7.6371976378997622736e-6,
        3.8172932649998398565e-6, 1.9082127165539389257e-6, 9.5396203387279611315e-7, 4.7693298678780646312e-7,
        2.3845050272773299000e-7, 1.1921992596531107307e-7, 5.9608189051259479612e-8, 2.9803503514652280186e-8,
        1.4901554828365041235e-8};
    double s = 0;
    int n;
    for (n = 26; n >= 2; n--) s = zeta1[n - 2] / n - z * s;
    return z * (0.422784335098467139393 + z * s);
}

/* log Gamma(x), x > 0; NaN otherwise. */
IPR__FN double ipr__dlgamma(double x)
{
    double product = 1.0;
    if (!(x > 0)) return ipr__dnan();
    if (x > 2.5e305) return ipr__dinf();
    if (x < 0.5) return (ipr__lgamma_near2(x) - ipr__dlog1p(x)) - ipr__dlog(x);
    if (x < 1.5) return ipr__lgamma_near2(x - 1.0) - ipr__dlog1p(x - 1.0);
    if (x >= 10.0) return (x - 0.5) * (ipr__dlog(x) - 1.0) + (IPR__HALF_LN_TWO_PI - 0.5) + ipr__stirling(x);
    while (x > 2.5) {
        x -= 1.0;
        product *= x;
    }
    return ipr__dlog(product) + ipr__lgamma_near2(x - 2.0);
}

/* x with the low half of its bits cleared: products of such halves are exact. */
IPR__FN double ipr__dhigh(double x) { return ipr__bits_f64(ipr__f64_bits(x) & 0xfffffffff8000000u); }

/* a * b - c with a * b kept to twice the precision (Dekker 1971): no cancellation when a * b is near c. */
IPR__FN double ipr__dmulsub(double a, double b, double c)
{
    double ah = ipr__dhigh(a), al = a - ah, bh = ipr__dhigh(b), bl = b - bh, p = a * b;
    double low = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
    return (p - c) + low;
}

/* e^(-z^2/2), the square split so that its rounding does not count. */
IPR__FN double ipr__dgauss(double z)
{
    double h = ipr__dhigh(z);
    return ipr__dexp(-0.5 * h * h) * ipr__dexp(-0.5 * (z - h) * (z + h));
}

/* Upper tail of the normal distribution, P[N(0,1) > z]. Below 1.5: the series of positive terms
   (DLMF 7.6.2). From there: the continued fraction 1/(z + 1/(z + 2/(z + 3/...))) (DLMF 7.9.2). */
IPR__FN double ipr__dnormal_tail(double z)
{
    double a = ipr__dabs(z), phi, s, t;
    int n;
    if (ipr__isnan(z)) return z;
    if (a > 40) return z < 0 ? 1.0 : 0.0;
    phi = ipr__dgauss(a) * 0.398942280401432677940;
    if (a < 1.5) {
        for (s = t = a, n = 3; t > s * 1e-17; n += 2) {
            t *= a * a / n;
            s += t;
        }
        return z < 0 ? 0.5 + phi * s : 0.5 - phi * s;
    }
    for (t = a, n = 200; n > 0; n--) t = a + n / t;
    return z < 0 ? 1.0 - phi / t : phi / t;
}
#endif /* IPR_FLOOR_MAX >= 1 */

#if IPR_FLOOR_MAX >= 1
/* ---- randomness: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011; Random123) ---- */

IPR_API void ipr_random_bits(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = stream, c3 = step;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    int round;
    for (round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9e3779b9u; /* Weyl sequence: golden ratio, sqrt(3) - 1 */
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

IPR_API ipr_rng ipr_rng_make(uint64_t seed, uint32_t stream, uint32_t step)
{
    ipr_rng r = IPR_ZERO;
    r.seed = seed;
    r.stream = stream;
    r.step = step;
    return r;
}

IPR_API uint32_t ipr_rng_u32(ipr_rng *r)
{
    if (r->left == 0) {
        ipr_random_bits(r->seed, r->stream, r->step, r->index++, r->buf);
        r->left = 4;
    }
    return r->buf[4 - r->left--];
}

/* Lemire (2019): multiply, and reject the few draws that would favour some results. */
IPR_API uint32_t ipr_rng_below(ipr_rng *r, uint32_t n)
{
    uint64_t m;
    if (n == 0) return 0;
    m = (uint64_t)ipr_rng_u32(r) * n;
    if ((uint32_t)m < n) {
        uint32_t unfair = (0u - n) % n;
        while ((uint32_t)m < unfair) m = (uint64_t)ipr_rng_u32(r) * n;
    }
    return (uint32_t)(m >> 32);
}

IPR_API double ipr_rng_uniform(ipr_rng *r)
{
    uint32_t hi = ipr_rng_u32(r) >> 5, lo = ipr_rng_u32(r) >> 6; /* 27 + 26 bits */
    return ((double)hi * 67108864.0 + (double)lo) * 1.1102230246251565e-16;
}

/* Box and Muller (1958); 1 - u keeps the logarithm's argument off zero. One Philox block per number. */
IPR_API double ipr_rng_normal(ipr_rng *r)
{
    double radius = ipr__dsqrt(-2.0 * ipr__dlog(1.0 - ipr_rng_uniform(r)));
    return radius * ipr__dcos2pi(ipr_rng_uniform(r));
}

/* Arrays over 2^32 - 1 entries: 64 bits, rejecting the incomplete last round. */
IPR__FN uint64_t ipr__rng_below64(ipr_rng *r, uint64_t n)
{
    uint64_t x, unfair;
    if (n <= 0xffffffffu) return ipr_rng_below(r, (uint32_t)n);
    unfair = ((uint64_t)0 - n) % n;
    do {
        x = (uint64_t)ipr_rng_u32(r) << 32;
        x |= ipr_rng_u32(r);
    } while (x < unfair);
    return x % n;
}

IPR_API void ipr_rng_shuffle(ipr_rng *r, uint32_t *a, ipr_index n)
{
    ipr_index i;
    for (i = n - 1; i > 0; i--) {
        ipr_index j = (ipr_index)ipr__rng_below64(r, (uint64_t)i + 1u);
        uint32_t t = a[i];
        a[i] = a[j];
        a[j] = t;
    }
}

/* ---- SHA-256 (FIPS 180-4), HMAC (RFC 2104), HKDF (RFC 5869) ---- */

IPR_API void ipr_wipe(void *p, size_t bytes)
{
    volatile uint8_t *v = (volatile uint8_t *)p;
    while (bytes--) *v++ = 0;
}

IPR_API int ipr_equal_ct(const void *a, const void *b, size_t bytes)
{
    const volatile uint8_t *x = (const volatile uint8_t *)a, *y = (const volatile uint8_t *)b;
    uint32_t diff = 0;
    while (bytes--) diff |= (uint32_t)(*x++ ^ *y++);
    return (int)((diff - 1u) >> 31);
}

#define IPR__ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* One round of FIPS 180-4, 6.2.2. The standard renames its eight variables after each round; here the
   callers rotate the indices instead. */
#define IPR__SHA_ROUND(a, b, c, d, e, f, g, h, i) \
    { \
        uint32_t t1 = s[h] + (IPR__ROTR(s[e], 6) ^ IPR__ROTR(s[e], 11) ^ IPR__ROTR(s[e], 25)) + \
                      (s[g] ^ (s[e] & (s[f] ^ s[g]))) + K[t + (i)] + w[i]; \
        s[d] += t1; \
        s[h] = t1 + (IPR__ROTR(s[a], 2) ^ IPR__ROTR(s[a], 13) ^ IPR__ROTR(s[a], 22)) + \
               ((s[a] & s[b]) | (s[c] & (s[a] | s[b]))); \
    }

/* Blocks of 64 bytes; the message schedule is a ring of 16 words. */
IPR__FN void ipr__sha256_blocks(uint32_t h[8], const uint8_t *p, size_t blocks)
{
    static const uint32_t K[64] = {
        0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
        0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
        0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
        0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
        0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
        0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
        0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
        0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u};
    uint32_t w[16], s[8];
    int t, i;
    for (; blocks; blocks--, p += 64) {
        for (i = 0; i < 16; i++) w[i] = ipr__ld32be(p + 4 * i);
        for (i = 0; i < 8; i++) s[i] = h[i];
        for (t = 0; t < 64; t += 16) {
            for (i = 0; t && i < 16; i++) {
                uint32_t a = w[(i + 1) & 15], b = w[(i + 14) & 15];
                w[i] += (IPR__ROTR(a, 7) ^ IPR__ROTR(a, 18) ^ a >> 3) + w[(i + 9) & 15] +
                        (IPR__ROTR(b, 17) ^ IPR__ROTR(b, 19) ^ b >> 10);
            }
            for (i = 0; i < 16; i += 8) {
                IPR__SHA_ROUND(0, 1, 2, 3, 4, 5, 6, 7, i)
                IPR__SHA_ROUND(7, 0, 1, 2, 3, 4, 5, 6, i + 1)
                IPR__SHA_ROUND(6, 7, 0, 1, 2, 3, 4, 5, i + 2)
                IPR__SHA_ROUND(5, 6, 7, 0, 1, 2, 3, 4, i + 3)
                IPR__SHA_ROUND(4, 5, 6, 7, 0, 1, 2, 3, i + 4)
                IPR__SHA_ROUND(3, 4, 5, 6, 7, 0, 1, 2, i + 5)
                IPR__SHA_ROUND(2, 3, 4, 5, 6, 7, 0, 1, i + 6)
                IPR__SHA_ROUND(1, 2, 3, 4, 5, 6, 7, 0, i + 7)
            }
        }
        for (i = 0; i < 8; i++) h[i] += s[i];
    }
    ipr_wipe(w, sizeof w); /* the message may be a key */
    ipr_wipe(s, sizeof s);
}

IPR_API void ipr_sha256_init(ipr_sha256 *s)
{
    static const uint32_t h0[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                   0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    ipr__zero(s, sizeof *s);
    ipr__copy(s->h, h0, sizeof h0);
}

IPR_API void ipr_sha256_update(ipr_sha256 *s, const void *data, size_t bytes)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t have = (size_t)(s->bytes & 63u);
    if (bytes == 0) return; /* data may be NULL */
    s->bytes += bytes;
    if (have) {
        size_t take = IPR__MIN(bytes, 64u - have);
        ipr__copy(s->block + have, p, take);
        if (have + take < 64u) return;
        ipr__sha256_blocks(s->h, s->block, 1);
        p += take;
        bytes -= take;
    }
    if (bytes >= 64u) ipr__sha256_blocks(s->h, p, bytes / 64u);
    ipr__copy(s->block, p + (bytes & ~(size_t)63u), bytes & 63u);
}

IPR_API void ipr_sha256_final(ipr_sha256 *s, uint8_t out[32])
{
    uint64_t bits = s->bytes << 3;
    size_t have = (size_t)(s->bytes & 63u);
    int i;
    s->block[have++] = 0x80;
    if (have > 56u) {
        ipr__zero(s->block + have, 64u - have);
        ipr__sha256_blocks(s->h, s->block, 1);
        have = 0;
    }
    ipr__zero(s->block + have, 56u - have);
    ipr__st64be(s->block + 56, bits);
    ipr__sha256_blocks(s->h, s->block, 1);
    for (i = 0; i < 8; i++) ipr__st32be(out + 4 * i, s->h[i]);
    ipr_wipe(s, sizeof *s);
}

IPR_API void ipr_sha256_of(const void *data, size_t bytes, uint8_t out[32])
{
    ipr_sha256 s;
    ipr_sha256_init(&s);
    ipr_sha256_update(&s, data, bytes);
    ipr_sha256_final(&s, out);
}

typedef struct ipr__hmac {
    ipr_sha256 inner, outer;
} ipr__hmac;

IPR__FN void ipr__hmac_init(ipr__hmac *m, const void *key, size_t key_bytes)
{
    uint8_t k[64];
    size_t i;
    ipr__zero(k, sizeof k);
    if (key_bytes > 64u) ipr_sha256_of(key, key_bytes, k);
    else ipr__copy(k, key, key_bytes);
    for (i = 0; i < 64u; i++) k[i] ^= 0x36;
    ipr_sha256_init(&m->inner);
    ipr_sha256_update(&m->inner, k, 64);
    for (i = 0; i < 64u; i++) k[i] ^= 0x36 ^ 0x5c;
    ipr_sha256_init(&m->outer);
    ipr_sha256_update(&m->outer, k, 64);
    ipr_wipe(k, sizeof k);
}

IPR__FN void ipr__hmac_final(ipr__hmac *m, uint8_t out[32])
{
    uint8_t d[32];
    ipr_sha256_final(&m->inner, d);
    ipr_sha256_update(&m->outer, d, 32);
    ipr_sha256_final(&m->outer, out);
    ipr_wipe(d, sizeof d);
}

IPR_API void ipr_hmac_sha256(const void *key, size_t key_bytes, const void *data, size_t bytes, uint8_t out[32])
{
    ipr__hmac m;
    ipr__hmac_init(&m, key, key_bytes);
    ipr_sha256_update(&m.inner, data, bytes);
    ipr__hmac_final(&m, out);
}

/* Extract, then expand: T(i) = HMAC(prk, T(i-1) | info | i). */
IPR_API IPR__COLD int ipr_hkdf_sha256(const void *ikm, size_t ikm_bytes, const void *salt, size_t salt_bytes,
                                      const void *info, size_t info_bytes, void *out, size_t out_bytes)
{
    uint8_t prk[32], t[32], counter = 0, *o = (uint8_t *)out;
    if (out_bytes > 255u * 32u) return IPR_E_RANGE;
    ipr_hmac_sha256(salt, salt_bytes, ikm, ikm_bytes, prk);
    while (out_bytes) {
        size_t take = IPR__MIN(out_bytes, (size_t)32);
        ipr__hmac m;
        ipr__hmac_init(&m, prk, 32);
        if (counter) ipr_sha256_update(&m.inner, t, 32);
        ipr_sha256_update(&m.inner, info, info_bytes);
        counter++;
        ipr_sha256_update(&m.inner, &counter, 1);
        ipr__hmac_final(&m, t);
        ipr__copy(o, t, take);
        o += take;
        out_bytes -= take;
    }
    ipr_wipe(prk, sizeof prk);
    ipr_wipe(t, sizeof t);
    return IPR_OK;
}

IPR_API IPR__COLD void ipr_hex(const void *p, size_t bytes, char *out)
{
    const uint8_t *b = (const uint8_t *)p;
    for (; bytes; bytes--, b++) {
        *out++ = "0123456789abcdef"[*b >> 4];
        *out++ = "0123456789abcdef"[*b & 15];
    }
    *out = 0;
}

/* ---- numbers and text: exact, on big integers ----
   Printing and reading doubles right in every case needs more bits than a double has; these hold up to
   3 904, enough for 768 significant digits (767 decide any rounding) over 10^1100. */

enum { IPR__BIG_WORDS = 122, IPR__DIGITS_MAX = 768 };
typedef struct ipr__big {
    int n;
    uint32_t w[IPR__BIG_WORDS];
} ipr__big; /* n words in use, lowest first */

IPR__FN void ipr__big_set(ipr__big *a, uint64_t v)
{
    a->w[0] = (uint32_t)v;
    a->w[1] = (uint32_t)(v >> 32);
    a->n = a->w[1] ? 2 : a->w[0] ? 1 : 0;
}

/* a = a * m + add */
IPR__FN void ipr__big_mul(ipr__big *a, uint32_t m, uint32_t add)
{
    uint64_t carry = add;
    int i;
    for (i = 0; i < a->n; i++) {
        carry += (uint64_t)a->w[i] * m;
        a->w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) a->w[a->n++] = (uint32_t)carry;
}

IPR__FN void ipr__big_mul_pow10(ipr__big *a, int p)
{
    for (; p >= 9; p -= 9) ipr__big_mul(a, 1000000000u, 0);
    for (; p > 0; p--) ipr__big_mul(a, 10u, 0);
}

IPR__FN void ipr__big_shl(ipr__big *a, int bits)
{
    int words = bits / 32, i;
    if (a->n == 0) return;
    ipr__big_mul(a, (uint32_t)1 << bits % 32, 0);
    if (words == 0) return;
    for (i = a->n - 1; i >= 0; i--) a->w[i + words] = a->w[i];
    for (i = 0; i < words; i++) a->w[i] = 0;
    a->n += words;
}

IPR__FN int ipr__big_cmp(const ipr__big *a, const ipr__big *b)
{
    int i;
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (i = a->n - 1; i >= 0; i--)
        if (a->w[i] != b->w[i]) return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}

/* a -= b, a >= b */
IPR__FN void ipr__big_sub(ipr__big *a, const ipr__big *b)
{
    uint64_t borrow = 0;
    int i;
    for (i = 0; i < a->n; i++) {
        uint64_t d = (uint64_t)a->w[i] - (i < b->n ? b->w[i] : 0u) - borrow;
        a->w[i] = (uint32_t)d;
        borrow = d >> 63;
    }
    while (a->n && a->w[a->n - 1] == 0) a->n--;
}

/* Sign of a + b - c, without writing. */
IPR__FN int ipr__big_cmp_sum(const ipr__big *a, const ipr__big *b, const ipr__big *c)
{
    ipr__big s = *c;
    if (ipr__big_cmp(a, c) > 0) return 1;
    ipr__big_sub(&s, a);
    return ipr__big_cmp(b, &s);
}

/* v = m * 2^e exactly; v finite and not negative */
IPR__FN uint64_t ipr__dparts(double v, int *e)
{
    uint64_t u = ipr__f64_bits(v), m = u & 0x000fffffffffffffu;
    int x = (int)(u >> 52 & 0x7ffu);
    *e = (x ? x : 1) - 1075;
    return x ? m | 0x0010000000000000u : m;
}

/* The free-format algorithm of Steele and White (1990) in Burger and Dybvig's form (1996), on exact
   integers: v = r/s, and the doubles' midpoints lie at (r - lo)/s and (r + hi)/s. Writes the shortest
   digits that read back as v > 0, nearest to v among these; returns how many, and the place k of the
   point: v = 0.d1d2... * 10^k. */
IPR__TOOL int ipr__shortest(double v, char digits[18], int *k)
{
    ipr__big r, s, lo, hi;
    int e, n = 0, even, edge, low, high;
    uint64_t m = ipr__dparts(v, &e);
    even = (m & 1u) == 0;                         /* then the midpoints round to v, too */
    edge = m == 0x0010000000000000u && e > -1074; /* power of two: the double below is nearer */
    ipr__big_set(&r, m);
    ipr__big_set(&s, 1);
    ipr__big_set(&lo, 1);
    ipr__big_set(&hi, 1);
    ipr__big_shl(&r, 1 + edge + IPR__MAX(e, 0));
    ipr__big_shl(&s, 1 + edge + IPR__MAX(-e, 0));
    ipr__big_shl(&lo, IPR__MAX(e, 0));
    ipr__big_shl(&hi, edge + IPR__MAX(e, 0));
    for (low = -1; m; m >>= 1) low++;
    *k = (e + low) * 1233 / 4096 - 1; /* log10(2) = 1233/4096; at most the right k */
    ipr__big_mul_pow10(&s, *k);
    ipr__big_mul_pow10(&r, -*k);
    ipr__big_mul_pow10(&lo, -*k);
    ipr__big_mul_pow10(&hi, -*k);
    while (ipr__big_cmp_sum(&r, &hi, &s) >= (even ? 0 : 1)) {
        ipr__big_mul(&s, 10, 0);
        ++*k;
    }
    do {
        int d = 0;
        ipr__big_mul(&r, 10, 0);
        ipr__big_mul(&lo, 10, 0);
        ipr__big_mul(&hi, 10, 0);
        for (; ipr__big_cmp(&r, &s) >= 0; d++) ipr__big_sub(&r, &s);
        low = ipr__big_cmp(&r, &lo) < (even ? 1 : 0);
        high = ipr__big_cmp_sum(&r, &hi, &s) >= (even ? 0 : 1);
        /* a tie goes to the even digit */
        if (high && (!low || ipr__big_cmp_sum(&r, &r, &s) >= (d & 1 ? 0 : 1))) d++;
        digits[n++] = (char)('0' + d);
    } while (!low && !high);
    return n;
}

/* "nan", "inf", "-inf" and the sign of the rest; 1 when that was all. */
IPR__TOOL int ipr__fmt_special(ipr__text *t, double v)
{
    if (ipr__isnan(v)) {
        ipr__text_s(t, "nan");
        return 1;
    }
    if (ipr__f64_bits(v) >> 63) ipr__text_c(t, '-');
    if (ipr__finite(v)) return 0;
    ipr__text_s(t, "inf");
    return 1;
}

IPR_API IPR__COLD int ipr_fmt_double(char out[32], double v)
{
    char d[18];
    ipr__text t;
    int n = 1, k = 1, i;
    t.buf = out;
    t.cap = 32;
    t.len = 0;
    d[0] = '0';
    if (!ipr__fmt_special(&t, v)) {
        v = ipr__dabs(v);
        if (v > 0) n = ipr__shortest(v, d, &k);
        if (k > 16 || k < -3) { /* scientific: d.ddde-10 */
            for (i = 0; i < n; i++) {
                if (i == 1) ipr__text_c(&t, '.');
                ipr__text_c(&t, d[i]);
            }
            ipr__text_c(&t, 'e');
            ipr__text_i(&t, k - 1);
        } else {
            if (k <= 0) ipr__text_s(&t, "0.");
            for (i = k; i < 0; i++) ipr__text_c(&t, '0');
            for (i = 0; i < n; i++) {
                if (i == k && i > 0) ipr__text_c(&t, '.');
                ipr__text_c(&t, d[i]);
            }
            for (; i < k; i++) ipr__text_c(&t, '0');
        }
    }
    out[t.len] = 0;
    return (int)t.len;
}

/* a = floor(a / 10); returns the digit that falls off */
IPR__TOOL int ipr__big_div10(ipr__big *a)
{
    uint64_t rest = 0;
    int i;
    for (i = a->n - 1; i >= 0; i--) {
        rest = rest << 32 | a->w[i];
        a->w[i] = (uint32_t)(rest / 10u);
        rest %= 10u;
    }
    while (a->n && a->w[a->n - 1] == 0) a->n--;
    return (int)rest;
}

/* a = a / 2^bits rounded to nearest, ties to even: the quotient is counted off from the top bit. */
IPR__TOOL void ipr__big_shr_round(ipr__big *a, int bits)
{
    int words = bits / 32, b = bits % 32, i, half, sticky = 0;
    if (bits == 0) return;
    if (words > a->n) {
        a->n = 0;
        return;
    }
    for (i = a->n; i < words + 2; i++) a->w[i] = 0; /* so that the words looked at exist */
    a->n = IPR__MAX(a->n, words + 2);
    half = (int)(a->w[(bits - 1) / 32] >> (bits - 1) % 32 & 1u);
    for (i = 0; i < bits - 1 && !sticky; i++) sticky = (int)(a->w[i / 32] >> i % 32 & 1u);
    for (i = words; i < a->n; i++) {
        uint64_t w = a->w[i] | (uint64_t)(i + 1 < a->n ? a->w[i + 1] : 0u) << 32;
        a->w[i - words] = (uint32_t)(w >> b);
    }
    a->n -= words;
    while (a->n && a->w[a->n - 1] == 0) a->n--;
    if (!half || (!sticky && !(a->n && (a->w[0] & 1u)))) return;
    if (a->n == 0) ipr__big_set(a, 1);
    else ipr__big_mul(a, 1, 1);
}

IPR_API IPR__COLD int ipr_fmt_fixed(char out[32], double v, int digits)
{
    ipr__big a;
    ipr__text t;
    char d[32];
    uint64_t m;
    int e, n = 0;
    if (!(ipr__dabs(v) <= 1e15)) return ipr_fmt_double(out, v);
    digits = IPR__MAX(0, IPR__MIN(digits, 9));
    m = ipr__dparts(ipr__dabs(v), &e); /* e <= -3 here */
    ipr__big_set(&a, m);
    ipr__big_mul_pow10(&a, digits);
    ipr__big_shr_round(&a, -e);
    t.buf = out;
    t.cap = 32;
    t.len = 0;
    if (v < 0 && a.n) ipr__text_c(&t, '-'); /* never "-0.00" */
    while (a.n || n <= digits) d[n++] = (char)('0' + ipr__big_div10(&a));
    while (n) {
        if (n == digits) ipr__text_c(&t, '.');
        ipr__text_c(&t, d[--n]);
    }
    out[t.len] = 0;
    return (int)t.len;
}

/* num / den correctly rounded to double; ties to even. Long division of 64 bits is enough: 53, a rounding
   bit, and the rest as sticky. */
IPR__FN double ipr__big_ratio(ipr__big *num, ipr__big *den)
{
    uint64_t q = 0;
    int shift, i, drop;
    if (num->n == 0) return 0;
    shift = 32 * (num->n - den->n); /* make num / den about 1: 2^-32 < ratio < 2^32 */
    if (shift > 0) ipr__big_shl(den, shift);
    else ipr__big_shl(num, -shift);
    while (ipr__big_cmp(num, den) >= 0) {
        ipr__big_shl(den, 1);
        shift++;
    }
    while (ipr__big_cmp(num, den) < 0) {
        ipr__big_shl(num, 1);
        shift--;
    }
    /* now 1 <= num/den < 2 and the value is that times 2^shift */
    if (shift > 1023) return ipr__dinf();
    if (shift < -1075) return 0;
    for (i = 0; i < 62; i++) {
        q <<= 1;
        if (ipr__big_cmp(num, den) >= 0) {
            ipr__big_sub(num, den);
            q |= 1u;
        }
        ipr__big_shl(num, 1);
    }
    if (num->n) q |= 1u;                            /* sticky */
    drop = 9 + (shift < -1022 ? -1022 - shift : 0); /* bits below the last place; more when subnormal */
    {
        uint64_t rest = drop < 63 ? q & (((uint64_t)1 << drop) - 1u) : q, half = (uint64_t)1 << (drop - 1);
        uint64_t m = drop < 63 ? q >> drop : 0;
        if (rest > half || (rest == half && (m & 1u))) m++;
        /* m carries its hidden bit into the exponent, also when rounding reaches the next power of two */
        return ipr__bits_f64(m + (shift < -1022 ? 0 : (uint64_t)(shift + 1022) << 52));
    }
}

IPR__TOOL size_t ipr__match_word(const char *s, size_t n, const char *word)
{
    size_t i;
    for (i = 0; word[i]; i++)
        if (i >= n || (s[i] | 32) != word[i]) return 0;
    return i;
}

/* What a decimal says: digits * 10^exp. More digits than decide a rounding become one sticky 1. */
typedef struct ipr__decimal {
    uint8_t digit[IPR__DIGITS_MAX + 1];
    int n, exp;
} ipr__decimal;

/* [digits][.digits][e[+-]digits], at least one digit before the e; returns the characters used. */
IPR__FN size_t ipr__scan_decimal(const char *s, size_t n, ipr__decimal *d)
{
    size_t i, j;
    int any = 0, point = 0, e = 0, sign = 1, sticky = 0;
    d->n = d->exp = 0;
    for (i = 0; i < n; i++) {
        int c = s[i] - '0';
        if (s[i] == '.' && !point) {
            point = 1;
            continue;
        }
        if (c < 0 || c > 9) break;
        any = 1;
        if (d->exp > -1000000000) d->exp -= point;
        if (d->n == 0 && c == 0) continue; /* leading zeros */
        if (d->n < IPR__DIGITS_MAX) d->digit[d->n++] = (uint8_t)c;
        else {
            sticky |= c;
            if (d->exp < 1000000000) d->exp++;
        }
    }
    if (!any) return 0;
    if (sticky) {
        d->digit[d->n++] = 1;
        d->exp--;
    }
    j = i;
    if (j < n && (s[j] | 32) == 'e') {
        j++;
        if (j < n && (s[j] == '-' || s[j] == '+')) sign = s[j++] == '-' ? -1 : 1;
        if (j < n && s[j] >= '0' && s[j] <= '9') {
            for (; j < n && s[j] >= '0' && s[j] <= '9'; j++)
                if (e < 100000000) e = 10 * e + (s[j] - '0');
            i = j;
        }
    }
    d->exp += sign * e;
    while (d->n && d->digit[d->n - 1] == 0) {
        d->n--;
        d->exp++;
    }
    return i;
}

/* The double nearest to the decimal. Up to 15 digits times a small power of ten is one exact operation
   (Clinger 1990); the rest goes through big integers. */
IPR__FN double ipr__decimal_value(const ipr__decimal *d)
{
    static const double pow10[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    ipr__big num, den;
    int i;
    if (d->n == 0 || d->n + d->exp < -330) return 0;
    if (d->n + d->exp > 310) return ipr__dinf();
    if (IPR__DOUBLE_EXACT && d->n <= 15 && d->exp >= -22 && d->exp <= 22) {
        double v = 0;
        for (i = 0; i < d->n; i++) v = 10.0 * v + (double)d->digit[i];
        return d->exp < 0 ? v / pow10[-d->exp] : v * pow10[d->exp];
    }
    ipr__big_set(&num, 0);
    for (i = 0; i < d->n; i++) {
        if (num.n) ipr__big_mul(&num, 10u, d->digit[i]);
        else ipr__big_set(&num, d->digit[i]);
    }
    ipr__big_set(&den, 1);
    ipr__big_mul_pow10(&num, d->exp);
    ipr__big_mul_pow10(&den, -d->exp);
    return ipr__big_ratio(&num, &den);
}

/* Reads a decimal number, "nan", "inf" or "infinity" (any case), with an optional sign, from s[0..n).
   Correctly rounded; too large gives infinity, too small zero. Returns the characters used, 0 if none. */
IPR__FN size_t ipr__parse_double(const char *s, size_t n, double *out)
{
    ipr__decimal d;
    size_t sign = n && (s[0] == '-' || s[0] == '+') ? 1u : 0u, used;
    double v = 0;
    if ((used = ipr__scan_decimal(s + sign, n - sign, &d)) != 0) v = ipr__decimal_value(&d);
    else if ((used = ipr__match_word(s + sign, n - sign, "nan")) != 0) v = ipr__dnan();
    else if ((used = ipr__match_word(s + sign, n - sign, "infinity")) != 0) v = ipr__dinf();
    else if ((used = ipr__match_word(s + sign, n - sign, "inf")) != 0) v = ipr__dinf();
    else return 0;
    *out = sign && s[0] == '-' ? -v : v;
    return used + sign;
}
#endif /* IPR_FLOOR_MAX >= 1 */

#if IPR_FLOOR_MAX >= 2
/* ==== FLOOR 2: MATH ====================================================================== >>math
   Raw pointers only: GEMM, vector mathematics, reductions, optimiser steps, whole LSTM and GRU sequences.
   One table of kernels per instruction set, chosen when a context opens; the algorithms are written once
   and stamped out for every instruction set.
   Hands up: ipr__kern (c->kern), ipr__gemm, ipr__rnn_forward, ipr__rnn_backward. */

/* Adam (Kingma, Ba 2015) and AdamW (Loshchilov, Hutter 2019), PyTorch's formulas. bias1 = 1 - beta1^t,
   bias2 = 1 - beta2^t. Doubles, so that 1 - beta is as exact as in PyTorch. */
typedef struct ipr__adam_args {
    double lr, beta1, beta2, eps, bias1, bias2;
    double decay_l2;   /* added to the gradient (Adam) */
    double decay_w;    /* shrinks the weight by lr * decay_w first (AdamW) */
    double grad_scale; /* clipping factor on the gradient, 1 = none */
} ipr__adam_args;

typedef struct ipr__sgd_args {
    double lr, momentum, dampening, decay_l2, grad_scale;
    int nesterov, first; /* first: the buffer starts as the gradient, undamped */
} ipr__sgd_args;

/* One time step of some rows that share one gate row (or none). Rows of states are H apart; a leading
   dimension of 0 repeats one row, which is how absent states are read as zeros. A row of gates is 4H:
   LSTM [i f g o], GRU [n r z nh] with nh = W_hn h + b_hn; xg is its input part (GRU: the first 3H), hg the
   recurrent part in PyTorch's order (GRU: r z n). */
typedef struct ipr__rnn_step {
    ipr_index rows, hidden;
    const ipr_real *xg, *hg, *bias; /* W_ih x, W_hh h, both biases in the order of gates */
    ipr_index ld_xg, ld_hg;
    ipr_real *gates;                 /* out: activations, kept for backward; NULL: dropped */
    const ipr_real *c_prev, *c_gate; /* LSTM: the state is c_prev * c_gate; c_gate NULL: not gated */
    const ipr_real *h_prev;          /* GRU */
    ipr_index ld_prev;
    const ipr_real *gk;  /* gate row of this step, NULL: not gated */
    ipr_real *c, *y, *h; /* out: c and y before the gate, h after it; y NULL: not wanted */
    ipr_real *gate_out;  /* out: forget (LSTM) or reset (GRU) gate; NULL: not wanted */
} ipr__rnn_step;

/* The same step backwards. */
typedef struct ipr__rnn_back {
    ipr_index rows, hidden;
    const ipr_real *gates;
    ipr_real *dg; /* out, rows of 4H as gates: gradients of the sums before the activations */
    const ipr_real *c, *c_prev, *c_gate, *h_prev;
    ipr_index ld_prev;
    const ipr_real *gk;
    const ipr_real *dy, *dgate_out; /* gradients that arrive from outside; NULL: none */
    ipr_real *dh, *dc;              /* in: of the gated states; out: of the states before (dh: GRU only,
                                           what does not pass through W_hh) */
    ipr_real *dgk;                  /* gradient of the gate row, added to; NULL: not wanted */
} ipr__rnn_back;

typedef void ipr__map1(ipr_index n, const ipr_real *x, ipr_real *y);                    /* y = f(x) */
typedef void ipr__map2(ipr_index n, const ipr_real *x, const ipr_real *y, ipr_real *z); /* z = f(x, y) */

typedef struct ipr__kern {
    int isa;
    /* C[m,n] = A[m,k] B[k,n] (+ C if acc), a(i,p) = a[i*ra + p*ca], b(p,j) = b[p*rb + j*cb], c(i,j) = c[i*ldc + j];
       ws: gemm_ws bytes, 64-aligned */
    size_t (*gemm_ws)(ipr_index m, ipr_index n, ipr_index k);
    void (*gemm)(ipr_index m, ipr_index n, ipr_index k, const ipr_real *a, ipr_index ra, ipr_index ca,
                 const ipr_real *b, ipr_index rb, ipr_index cb, int acc, ipr_real *c, ipr_index ldc, void *ws);
    /* the same with B packed once */
    size_t (*pack_b_bytes)(ipr_index k, ipr_index n);
    void (*pack_b)(ipr_index k, ipr_index n, const ipr_real *b, ipr_index rb, ipr_index cb, void *out);
    void (*gemm_pb)(ipr_index m, ipr_index n, ipr_index k, const ipr_real *a, ipr_index ra, ipr_index ca,
                    const void *pb, int acc, ipr_real *c, ipr_index ldc, void *ws);
    /* elementwise; outputs may be inputs */
    ipr__map1 *vexp, *vlog, *vsigmoid, *vtanh;
    ipr__map2 *add, *sub, *mul, *div;
    ipr__map2 *fma_acc;                                                     /* z += x y */
    void (*axpy)(ipr_index n, ipr_real a, const ipr_real *x, ipr_real *y);  /* y += a x */
    void (*scale)(ipr_index n, ipr_real a, const ipr_real *x, ipr_real *y); /* y = a x */
    /* reductions: fixed lanes, fixed tree */
    ipr_real (*sum)(ipr_index n, const ipr_real *x);
    ipr_real (*dot)(ipr_index n, const ipr_real *x, const ipr_real *y);
    double (*sumsq)(ipr_index n, const ipr_real *x);
    ipr_real (*maxv)(ipr_index n, const ipr_real *x); /* NaNs are skipped; -infinity when nothing is left */
    void (*col_sum)(ipr_index m, ipr_index n, const ipr_real *a, ipr_index lda, int acc, ipr_real *out);
    /* optimiser steps, one pass over memory; buf NULL: no momentum */
    void (*adam)(ipr_index n, ipr_real *w, const ipr_real *g, ipr_real *m, ipr_real *v, const ipr__adam_args *a);
    void (*sgd)(ipr_index n, ipr_real *w, const ipr_real *g, ipr_real *buf, const ipr__sgd_args *a);
    /* recurrent pointwise */
    void (*lstm_fwd)(const ipr__rnn_step *s);
    void (*lstm_bwd)(const ipr__rnn_back *s);
    void (*gru_fwd)(const ipr__rnn_step *s);
    void (*gru_bwd)(const ipr__rnn_back *s);
} ipr__kern;
#endif /* IPR_FLOOR_MAX >= 2 */

#if IPR_FLOOR_MAX >= 2
/* ---- matrix product ------------------------------------------------------------------- >>gemm
   C[m,n] = A[m,k] B[k,n] (+ C). Every element of C is ONE chain c = c + a(i,p) b(p,j), p = 0, 1, 2, ..
   in a register of a tile, begun at 0 or at the old C; between blocks of k it rests in C itself. So
   tile shapes, edges, blocks, packing and threads never change a bit. The chain is made of fused steps
   on AVX2, AVX-512 and NEON, which therefore agree with each other to the bit, and of a rounded product
   and a rounded sum in the portable kernel, which agrees with itself on every IEEE machine.

   The house: a *tile* kernel per instruction set keeps a few rows x a few vectors of C in registers; a
   *block* walks tiles; the *driver* cuts the product into blocks for the caches and copies ("packs")
   operands into panels where their own layout is slow. After K. Goto and R. van de Geijn, Anatomy of
   high-performance matrix multiplication, ACM TOMS 34(3), 2008, with rows and columns exchanged. */

/* What a tile kernel sees: rows r of A at a + r*ra, steps of k at ca (A) and rb (B), B's columns in
   panels of nr at distance bp, C's first element. cols <= nr (wide tiles: <= 2 nr) columns are stored. */
typedef struct ipr__gtile {
    const ipr_real *a, *b;
    ipr_real *c;
    ipr_index ra, ca, rb, bp, ldc, k, cols;
    int acc, far; /* far: operands beyond the second-level cache, fetch ahead */
} ipr__gtile;

typedef void (*ipr__gtile_fn)(const ipr__gtile *t);

/* One instruction set. pack: dst[p*ld + i] = src[i*rs + p*cs] for i < w, and 0 for w <= i < ld; it may
   write IPR__GSLACK reals past the end. */
typedef struct ipr__gisa {
    ipr_index mr, nr;     /* rows and columns of a tile */
    ipr_index kc, mc, nc; /* block sizes when packing */
    int masks;            /* tiles can read a partial panel of an unpacked B */
    void (*block)(ipr__gtile t, ipr_index m, ipr_index n, int apacked);
    void (*pack)(ipr_index w, ipr_index k, const ipr_real *src, ipr_index rs, ipr_index cs, ipr_real *dst,
                 ipr_index ld);
} ipr__gisa;

/* Address of p[n], n beyond the array allowed: only for prefetching. */
#define IPR__G_AT(p, n) ((const char *)((uintptr_t)(p) + (uintptr_t)(n) * sizeof(ipr_real)))

/* A value the compiler knows nothing about: clang would otherwise turn row addresses into one chain of adds. */
#if IPR__GNU
#define IPR__G_OPAQUE(x) __asm__("" : "+r"(x))
#else
#define IPR__G_OPAQUE(x) ((void)0)
#endif

enum {
    IPR__GSLACK = 16,     /* reals a pack may write past its panel */
    IPR__GTILE_MAX = 128, /* reals of the largest tile that needs an edge copy */
    IPR__GTHIN = 4,
    IPR__GTHIN_ROWS = 512 /* see ipr__g_thin */
};

/* Copy a partial tile to or from C. */
IPR__FN void ipr__g_move(ipr_index rows, ipr_index cols, const ipr_real *src, ipr_index lds, ipr_real *dst,
                         ipr_index ldd)
{
    ipr_index i, j;
    for (i = 0; i < rows; i++)
        for (j = 0; j < cols; j++) dst[i * ldd + j] = src[i * lds + j];
}

/* A tile at the right edge for kernels that only store whole panels: it works on a copy of C. */
IPR__FN void ipr__g_edge(ipr__gtile_fn tile, const ipr__gtile *t, ipr_index rows, ipr_index nr)
{
    ipr_real buf[IPR__GTILE_MAX];
    ipr__gtile e = *t;
    e.c = buf;
    e.ldc = nr;
    if (t->acc) {
        ipr__zero(buf, sizeof buf);
        ipr__g_move(rows, t->cols, t->c, t->ldc, buf, nr);
    }
    tile(&e);
    ipr__g_move(rows, t->cols, buf, nr, t->c, t->ldc);
}

/* Height of the next tile of `left` rows. Balanced (32 rows in 14s: 12, 10, 10) since a short last tile would starve
   the multipliers; 11 and 13 are not stamped. */
IPR__FN ipr_index ipr__g_height(ipr_index left, ipr_index mr)
{
    const ipr_index count = (left + mr - 1) / mr, h = (left + count - 1) / count;
    return h < 11 || h % 2 == 0 ? h : count > 1 ? h + 1 : (h + 1) / 2;
}

/* Tiles of a block. Packed A: panels one after the other, each as wide as its tile is high.
   Few rows take two panels at once, to have enough independent chains. Inlined into each ISA's block. */
IPR__INLINE void ipr__g_block(ipr__gtile t, ipr_index m, ipr_index n, int apacked, ipr_index mr, ipr_index nr,
                              int masks, ipr_index wide_rows, const ipr__gtile_fn *tiles, const ipr__gtile_fn *half,
                              const ipr__gtile_fn *wide)
{
    const ipr_real *a = t.a, *b = t.b;
    ipr_real *c = t.c;
    ipr_index i, j, w, rows;
    for (i = 0; i < m; i += rows) {
        rows = ipr__g_height(m - i, mr);
        t.a = apacked ? a + i * t.k : a + i * t.ra;
        if (apacked) t.ca = rows;
        t.b = b;
        for (j = 0; j < n; j += w) {
            const ipr__gtile_fn *fn = tiles;
            w = nr;
            if (rows <= wide_rows && (masks ? n - j > nr : n - j >= 2 * nr)) {
                w = 2 * nr;
                fn = wide;
            }
            t.cols = IPR__MIN(w, n - j);
            if (half && t.cols <= nr / 2) fn = half;
            t.c = c + i * t.ldc + j;
            if (masks || t.cols == w) fn[rows - 1](&t);
            else ipr__g_edge(fn[rows - 1], &t, rows, nr);
            t.b += w == nr ? t.bp : 2 * t.bp;
        }
    }
}

/* ---- portable ---- */

IPR__FN void ipr__g_pack_portable(ipr_index w, ipr_index k, const ipr_real *src, ipr_index rs, ipr_index cs,
                                  ipr_real *dst, ipr_index ld)
{
    ipr_index i, p;
    if (rs == 1) {
        for (p = 0; p < k; p++) {
            for (i = 0; i < w; i++) dst[p * ld + i] = src[p * cs + i];
            for (; i < ld; i++) dst[p * ld + i] = 0;
        }
        return;
    }
    for (i = 0; i + 4 <= w; i += 4) { /* four rows at a time: whole cache lines in, 16 bytes out */
        const ipr_real *s0 = src + i * rs, *s1 = s0 + rs, *s2 = s1 + rs, *s3 = s2 + rs;
        ipr_real *d = dst + i;
        for (p = 0; p < k; p++, d += ld) {
            d[0] = s0[p * cs];
            d[1] = s1[p * cs];
            d[2] = s2[p * cs];
            d[3] = s3[p * cs];
        }
    }
    for (; i < w; i++)
        for (p = 0; p < k; p++) dst[p * ld + i] = src[i * rs + p * cs];
    for (; i < ld; i++)
        for (p = 0; p < k; p++) dst[p * ld + i] = 0;
}

/* Four rows x two vectors (16 bytes each where the compiler has vectors: 8 sums, 2 B, 1 A, 1 product of
   SSE2's 16 registers); two rows x four vectors for m <= 2. Without vectors four rows x four scalars.
   Scalars are spread by assignment: vector * scalar is an error where FLT_EVAL_METHOD is not 0. */
#define IPR__REAL_BYTES (IPR_REAL_IS_DOUBLE ? 8 : 4)
#if IPR__VECEXT
#ifdef __AVX__
#define IPR__GV_BYTES 32
#else
#define IPR__GV_BYTES 16
#endif
typedef ipr_real ipr__gv __attribute__((vector_size(IPR__GV_BYTES)));
typedef ipr_real ipr__gvu __attribute__((vector_size(IPR__GV_BYTES), aligned(IPR__REAL_BYTES), may_alias));
#define IPR__GV_LOAD(v, p)  v = *(const ipr__gvu *)(const void *)(p)
#define IPR__GV_STORE(p, v) *(ipr__gvu *)(void *)(p) = v
enum { IPR__GV_LANES = IPR__GV_BYTES / IPR__REAL_BYTES, IPR__GV_WIDTH = 2 };
#else
typedef ipr_real ipr__gv;
#define IPR__GV_LOAD(v, p)  v = *(p)
#define IPR__GV_STORE(p, v) *(p) = v
enum { IPR__GV_LANES = 1, IPR__GV_WIDTH = 4 };
#endif
enum { IPR__GP_MR = 4, IPR__GP_NR = IPR__GV_LANES * IPR__GV_WIDTH };

/* x in every lane */
#if !IPR__VECEXT
#define IPR__GV_SPLAT(x) (x)
#elif IPR__GV_BYTES == 8 * IPR__REAL_BYTES
#define IPR__GV_SPLAT(x) \
    { \
        x, x, x, x, x, x, x, x \
    }
#elif IPR__GV_BYTES == 4 * IPR__REAL_BYTES
#define IPR__GV_SPLAT(x) \
    { \
        x, x, x, x \
    }
#else
#define IPR__GV_SPLAT(x) \
    { \
        x, x \
    }
#endif

#define IPR__GP_ROWS(X) X(0) X(1) X(2) X(3)
#define IPR__GP_ZERO(r) ipr__gv c##r##0 = z, c##r##1 = z, c##r##2 = z, c##r##3 = z;
#define IPR__GP_LOAD(r) \
    if (R > r) { \
        ipr_real *d = t->c + r * t->ldc; \
        IPR__GV_LOAD(c##r##0, d); \
        IPR__GV_LOAD(c##r##1, d + L); \
        if (W > 2) { \
            IPR__GV_LOAD(c##r##2, d + 2 * L); \
            IPR__GV_LOAD(c##r##3, d + 3 * L); \
        } \
    }
#define IPR__GP_STEP(r) \
    if (R > r) { \
        const ipr_real ar = a[r * ra]; \
        ipr__gv x = IPR__GV_SPLAT(ar), y; \
        y = x * b0; \
        c##r##0 = c##r##0 + y; \
        y = x * b1; \
        c##r##1 = c##r##1 + y; \
        if (W > 2) { \
            y = x * b2; \
            c##r##2 = c##r##2 + y; \
            y = x * b3; \
            c##r##3 = c##r##3 + y; \
        } \
    }
#define IPR__GP_STORE(r) \
    if (R > r) { \
        ipr_real *d = t->c + r * t->ldc; \
        IPR__GV_STORE(d, c##r##0); \
        IPR__GV_STORE(d + L, c##r##1); \
        if (W > 2) { \
            IPR__GV_STORE(d + 2 * L, c##r##2); \
            IPR__GV_STORE(d + 3 * L, c##r##3); \
        } \
    }

IPR__INLINE void ipr__g_tile_portable(const int R, const int W, const ipr__gtile *t)
{
    enum { L = IPR__GV_LANES };
    const ipr_real *a = t->a, *b = t->b;
    const ipr_index ra = t->ra, ca = t->ca, rb = t->rb, pan = IPR__GV_WIDTH > 2 ? 2 * L : t->bp;
    ipr_index p;
    ipr__gv z = IPR__GV_SPLAT(0), b0, b1, b2 = z, b3 = z;
    IPR__GP_ROWS(IPR__GP_ZERO)
    if (t->acc) { IPR__GP_ROWS(IPR__GP_LOAD) }
    for (p = t->k; p > 0; p--) {
        IPR__GV_LOAD(b0, b);
        IPR__GV_LOAD(b1, b + L);
        if (W > 2) {
            IPR__GV_LOAD(b2, b + pan);
            IPR__GV_LOAD(b3, b + pan + L);
        }
        IPR__GP_ROWS(IPR__GP_STEP)
        a += ca;
        b += rb;
    }
    IPR__GP_ROWS(IPR__GP_STORE)
}

#define IPR__GP_TILE(R, W) \
    IPR__FN void ipr__g_tile_portable_##R##x##W(const ipr__gtile *t) { ipr__g_tile_portable(R, W, t); }
#if IPR__VECEXT
IPR__GP_TILE(1, 2)
IPR__GP_TILE(2, 2) IPR__GP_TILE(3, 2) IPR__GP_TILE(4, 2) IPR__GP_TILE(1, 4)
    IPR__GP_TILE(2, 4) static const ipr__gtile_fn ipr__g_tiles_portable[4] = {
        ipr__g_tile_portable_1x2, ipr__g_tile_portable_2x2, ipr__g_tile_portable_3x2, ipr__g_tile_portable_4x2};
static const ipr__gtile_fn ipr__g_wide_portable[2] = {ipr__g_tile_portable_1x4, ipr__g_tile_portable_2x4};
enum { IPR__GP_WIDE = 2 };
#else
IPR__GP_TILE(1, 4)
IPR__GP_TILE(2, 4) IPR__GP_TILE(3, 4) IPR__GP_TILE(4, 4) static const ipr__gtile_fn ipr__g_tiles_portable[4] = {
    ipr__g_tile_portable_1x4, ipr__g_tile_portable_2x4, ipr__g_tile_portable_3x4, ipr__g_tile_portable_4x4};
static const ipr__gtile_fn ipr__g_wide_portable[1] = {ipr__g_tile_portable_1x4};
enum { IPR__GP_WIDE = 0 };
#endif

IPR__FN void ipr__g_block_portable(ipr__gtile t, ipr_index m, ipr_index n, int apacked)
{
    ipr__g_block(t, m, n, apacked, IPR__GP_MR, IPR__GP_NR, 0, IPR__GP_WIDE, ipr__g_tiles_portable, NULL,
                 ipr__g_wide_portable);
}

static const ipr__gisa ipr__gisa_portable = {IPR__GP_MR,          IPR__GP_NR, 256, 128, 768, 0, ipr__g_block_portable,
                                             ipr__g_pack_portable};

#if IPR__X86
/* ---- AVX2 ----
   Six rows x two vectors of 8: 12 sums, 2 B, 1 A of 16 registers; two rows x four vectors for m <= 2. */

#define IPR__GY_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define IPR__GY_ZERO(r) __m256 c##r##0 = z, c##r##1 = z, c##r##2 = z, c##r##3 = z;
#define IPR__GY_LOAD(r) \
    if (R > r) { \
        const float *d = t->c + r * t->ldc; \
        c##r##0 = _mm256_loadu_ps(d); \
        c##r##1 = _mm256_loadu_ps(d + 8); \
        if (W > 2) { \
            c##r##2 = _mm256_loadu_ps(d + 16); \
            c##r##3 = _mm256_loadu_ps(d + 24); \
        } \
    }
#define IPR__GY_STEP(r, at) \
    if (R > r) { \
        x = _mm256_broadcast_ss((const float *)(const void *)(at)); \
        c##r##0 = _mm256_fmadd_ps(x, b0, c##r##0); \
        c##r##1 = _mm256_fmadd_ps(x, b1, c##r##1); \
        if (W > 2) { \
            c##r##2 = _mm256_fmadd_ps(x, b2, c##r##2); \
            c##r##3 = _mm256_fmadd_ps(x, b3, c##r##3); \
        } \
    }
#define IPR__GY_STORE(r) \
    if (R > r) { \
        float *d = t->c + r * t->ldc; \
        _mm256_storeu_ps(d, c##r##0); \
        _mm256_storeu_ps(d + 8, c##r##1); \
        if (W > 2) { \
            _mm256_storeu_ps(d + 16, c##r##2); \
            _mm256_storeu_ps(d + 24, c##r##3); \
        } \
    }

IPR__INLINE IPR__TGT_AVX2 void ipr__g_tile_avx2(const int R, const int W, const ipr__gtile *t)
{
    const char *a = (const char *)t->a;
    const float *b = t->b;
    const ipr_index ra = t->ra * 4, ca = t->ca * 4, rb = t->rb, pan = t->bp;
    ipr_index ra3 = ra * 3, ra5 = ra * 5, p;
    __m256 z = _mm256_setzero_ps(), b0, b1, b2 = z, b3 = z, x;
    IPR__G_OPAQUE(ra3);
    IPR__G_OPAQUE(ra5);
    IPR__GY_ROWS(IPR__GY_ZERO)
    if (t->acc) { IPR__GY_ROWS(IPR__GY_LOAD) }
    for (p = t->k; p > 0; p--) {
        IPR__G_OPAQUE(a);
        b0 = _mm256_loadu_ps(b);
        b1 = _mm256_loadu_ps(b + 8);
        if (W > 2) {
            b2 = _mm256_loadu_ps(b + pan);
            b3 = _mm256_loadu_ps(b + pan + 8);
        }
        IPR__GY_STEP(0, a)
        IPR__GY_STEP(1, a + ra)
        IPR__GY_STEP(2, a + ra * 2)
        IPR__GY_STEP(3, a + ra3)
        IPR__GY_STEP(4, a + ra * 4)
        IPR__GY_STEP(5, a + ra5)
        a += ca;
        b += rb;
    }
    IPR__GY_ROWS(IPR__GY_STORE)
}

#define IPR__GY_TILE(R, W) \
    IPR__FN IPR__TGT_AVX2 void ipr__g_tile_avx2_##R##x##W(const ipr__gtile *t) { ipr__g_tile_avx2(R, W, t); }
IPR__GY_TILE(1, 2)
IPR__GY_TILE(2, 2) IPR__GY_TILE(3, 2) IPR__GY_TILE(4, 2) IPR__GY_TILE(5, 2) IPR__GY_TILE(6, 2) IPR__GY_TILE(1, 4)
    IPR__GY_TILE(2, 4) static const ipr__gtile_fn ipr__g_tiles_avx2[6] = {ipr__g_tile_avx2_1x2, ipr__g_tile_avx2_2x2,
                                                                          ipr__g_tile_avx2_3x2, ipr__g_tile_avx2_4x2,
                                                                          ipr__g_tile_avx2_5x2, ipr__g_tile_avx2_6x2};
static const ipr__gtile_fn ipr__g_wide_avx2[2] = {ipr__g_tile_avx2_1x4, ipr__g_tile_avx2_2x4};

IPR__FN void ipr__g_block_avx2(ipr__gtile t, ipr_index m, ipr_index n, int apacked)
{
    ipr__g_block(t, m, n, apacked, 6, 16, 0, 2, ipr__g_tiles_avx2, NULL, ipr__g_wide_avx2);
}

/* 8 rows x 4 steps of k: lanes hold rows 0-3 and 4-7, transposed as two 4x4 blocks. Missing rows repeat
   the last one and are cleared. Stores are 8 wide whatever ld is: the next k overwrites the excess. */
IPR__FN IPR__TGT_AVX2 void ipr__g_pack8_avx2(ipr_index w, ipr_index k, const float *src, ipr_index rs, float *dst,
                                             ipr_index ld)
{
    const float *s[8];
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256 keep = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int)w), lane));
    ipr_index p, i;
    for (i = 0; i < 8; i++) s[i] = src + IPR__MIN(i, w - 1) * rs;
    for (p = 0; p + 4 <= k; p += 4, dst += 4 * ld) {
        __m256 r0 = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(s[0] + p)), _mm_loadu_ps(s[4] + p), 1);
        __m256 r1 = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(s[1] + p)), _mm_loadu_ps(s[5] + p), 1);
        __m256 r2 = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(s[2] + p)), _mm_loadu_ps(s[6] + p), 1);
        __m256 r3 = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(s[3] + p)), _mm_loadu_ps(s[7] + p), 1);
        __m256 l0 = _mm256_unpacklo_ps(r0, r1), h0 = _mm256_unpackhi_ps(r0, r1);
        __m256 l1 = _mm256_unpacklo_ps(r2, r3), h1 = _mm256_unpackhi_ps(r2, r3);
        _mm256_storeu_ps(dst, _mm256_and_ps(keep, _mm256_shuffle_ps(l0, l1, 0x44)));
        _mm256_storeu_ps(dst + ld, _mm256_and_ps(keep, _mm256_shuffle_ps(l0, l1, 0xee)));
        _mm256_storeu_ps(dst + 2 * ld, _mm256_and_ps(keep, _mm256_shuffle_ps(h0, h1, 0x44)));
        _mm256_storeu_ps(dst + 3 * ld, _mm256_and_ps(keep, _mm256_shuffle_ps(h0, h1, 0xee)));
    }
    for (; p < k; p++, dst += ld)
        for (i = 0; i < 8; i++) dst[i] = i < w ? s[i][p] : 0;
}

IPR__FN IPR__TGT_AVX2 void ipr__g_pack_avx2(ipr_index w, ipr_index k, const float *src, ipr_index rs, ipr_index cs,
                                            float *dst, ipr_index ld)
{
    ipr_index p, i;
    if (rs == 1 && w == 16 && ld == 16) {
        for (p = 0; p < k; p++, src += cs, dst += 16) {
            _mm256_storeu_ps(dst, _mm256_loadu_ps(src));
            _mm256_storeu_ps(dst + 8, _mm256_loadu_ps(src + 8));
        }
    } else if (cs == 1 && ld >= w) {
        for (i = 0; i < ld; i += 8)
            if (i < w) ipr__g_pack8_avx2(IPR__MIN(w - i, 8), k, src + i * rs, rs, dst + i, ld);
            else
                for (p = 0; p < k; p++) _mm256_storeu_ps(dst + p * ld + i, _mm256_setzero_ps());
    } else ipr__g_pack_portable(w, k, src, rs, cs, dst, ld);
}

static const ipr__gisa ipr__gisa_avx2 = {6, 16, 256, 144, 1024, 0, ipr__g_block_avx2, ipr__g_pack_avx2};

/* ---- AVX-512 ----
   Fourteen rows x two vectors of 16: 28 sums, 2 B, 1 A of 32 registers; six rows x four vectors for
   m <= 6; fourteen x one at a right edge of 16 columns or fewer. Masks make every edge a whole tile.
   Row addresses come from two bases and three multiples of ra, so that nothing is spilled. */

#define IPR__GZ_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#define IPR__GZ_ZERO(r) __m512 c##r##0 = z, c##r##1 = z, c##r##2 = z, c##r##3 = z;
#define IPR__GZ_LOAD(r) \
    if (R > r) { \
        const float *d = t->c + r * t->ldc; \
        c##r##0 = _mm512_maskz_loadu_ps(m0, d); \
        if (W > 1) c##r##1 = _mm512_maskz_loadu_ps(m1, d + 16); \
        if (W > 2) { \
            c##r##2 = _mm512_maskz_loadu_ps(m2, d + 32); \
            c##r##3 = _mm512_maskz_loadu_ps(m3, d + 48); \
        } \
    }
#define IPR__GZ_STEP(r, at) \
    if (R > r) { \
        x = _mm512_set1_ps(*(const float *)(const void *)(at)); \
        c##r##0 = _mm512_fmadd_ps(x, b0, c##r##0); \
        if (W > 1) c##r##1 = _mm512_fmadd_ps(x, b1, c##r##1); \
        if (W > 2) { \
            c##r##2 = _mm512_fmadd_ps(x, b2, c##r##2); \
            c##r##3 = _mm512_fmadd_ps(x, b3, c##r##3); \
        } \
    }
#define IPR__GZ_STORE(r) \
    if (R > r) { \
        float *d = t->c + r * t->ldc; \
        _mm512_mask_storeu_ps(d, m0, c##r##0); \
        if (W > 1) _mm512_mask_storeu_ps(d + 16, m1, c##r##1); \
        if (W > 2) { \
            _mm512_mask_storeu_ps(d + 32, m2, c##r##2); \
            _mm512_mask_storeu_ps(d + 48, m3, c##r##3); \
        } \
    }

/* one step of k */
#define IPR__GZ_STEPS \
    IPR__G_OPAQUE(a); \
    IPR__G_OPAQUE(e); \
    b0 = _mm512_maskz_loadu_ps(m0, b); \
    if (W > 1) b1 = _mm512_maskz_loadu_ps(m1, b + 16); \
    if (W > 2) { \
        b2 = _mm512_maskz_loadu_ps(m2, b + pan); \
        b3 = _mm512_maskz_loadu_ps(m3, b + pan + 16); \
    } \
    IPR__GZ_STEP(0, a) \
    IPR__GZ_STEP(1, a + ra) IPR__GZ_STEP(2, a + ra * 2) IPR__GZ_STEP(3, a + ra3) IPR__GZ_STEP(4, a + ra * 4) \
        IPR__GZ_STEP(5, a + ra5) IPR__GZ_STEP(6, a + ra3 * 2) IPR__GZ_STEP(7, e) IPR__GZ_STEP(8, e + ra) \
            IPR__GZ_STEP(9, e + ra * 2) IPR__GZ_STEP(10, e + ra3) IPR__GZ_STEP(11, e + ra * 4) \
                IPR__GZ_STEP(12, e + ra5) IPR__GZ_STEP(13, e + ra3 * 2) a += ca; \
    e += ca; \
    b += rb;

/* the lanes of vector v among cols columns */
IPR__INLINE __mmask16 ipr__gz_mask(ipr_index cols, ipr_index v)
{
    ipr_index n = IPR__MAX(0, IPR__MIN(16, cols - 16 * v));
    return (__mmask16)((1u << n) - 1u);
}

IPR__INLINE IPR__TGT_AVX512 void ipr__g_tile_avx512(const int R, const int W, const ipr__gtile *t)
{
    const ipr_index ca = t->ca * 4, rb = t->rb, pan = t->bp, ahead = t->far ? 32 * rb : 0;
    ipr_index ra = t->ra * 4, ra3 = ra * 3, ra5 = ra * 5, k = t->k, p;
    const char *a = (const char *)t->a, *e = a + 7 * ra;
    const float *b = t->b;
    const __mmask16 m0 = ipr__gz_mask(t->cols, 0), m1 = ipr__gz_mask(t->cols, 1);
    const __mmask16 m2 = ipr__gz_mask(t->cols, 2), m3 = ipr__gz_mask(t->cols, 3);
    __m512 z = _mm512_setzero_ps(), b0, b1 = z, b2 = z, b3 = z, x;
    IPR__G_OPAQUE(ra3);
    IPR__G_OPAQUE(ra5);
    IPR__GZ_ROWS(IPR__GZ_ZERO)
    if (t->acc) { IPR__GZ_ROWS(IPR__GZ_LOAD) }
    for (p = t->far ? R : 0; p-- > 0;) { /* C of the next tile */
        _mm_prefetch(IPR__G_AT(t->c, p * t->ldc + 16 * W), _MM_HINT_T0);
        _mm_prefetch(IPR__G_AT(t->c, p * t->ldc + 16 * W + 31), _MM_HINT_T0);
    }
    /* A branch per step to fetch ahead is cheap to compile; the busiest tiles have a loop of their own without it. */
    if (W == 4 || (W == 2 && R >= 8))
        for (; !ahead && k > 0; k--) { IPR__GZ_STEPS }
    for (; k > 0; k--) {
        if (W > 1 && ahead) {
            _mm_prefetch(IPR__G_AT(b, ahead), _MM_HINT_T0);
            _mm_prefetch(IPR__G_AT(b, ahead + 16), _MM_HINT_T0);
            if (W > 2) _mm_prefetch(IPR__G_AT(b, pan + ahead), _MM_HINT_T0);
            if (W > 2) _mm_prefetch(IPR__G_AT(b, pan + ahead + 16), _MM_HINT_T0);
        }
        IPR__GZ_STEPS
    }
    IPR__GZ_ROWS(IPR__GZ_STORE)
}

#define IPR__GZ_TILE(R, W) \
    IPR__FN IPR__TGT_AVX512 void ipr__g_tile_avx512_##R##x##W(const ipr__gtile *t) { ipr__g_tile_avx512(R, W, t); }
#define IPR__GZ_TILES(W) \
    IPR__GZ_TILE(1, W) \
    IPR__GZ_TILE(2, W) IPR__GZ_TILE(3, W) IPR__GZ_TILE(4, W) IPR__GZ_TILE(5, W) IPR__GZ_TILE(6, W) IPR__GZ_TILE(7, W) \
        IPR__GZ_TILE(8, W) IPR__GZ_TILE(9, W) IPR__GZ_TILE(10, W) IPR__GZ_TILE(12, W) IPR__GZ_TILE(14, W)
#define IPR__GZ_LIST(W) \
    { \
        ipr__g_tile_avx512_1x##W, ipr__g_tile_avx512_2x##W, ipr__g_tile_avx512_3x##W, ipr__g_tile_avx512_4x##W, \
            ipr__g_tile_avx512_5x##W, ipr__g_tile_avx512_6x##W, ipr__g_tile_avx512_7x##W, ipr__g_tile_avx512_8x##W, \
            ipr__g_tile_avx512_9x##W, ipr__g_tile_avx512_10x##W, NULL, ipr__g_tile_avx512_12x##W, NULL, \
            ipr__g_tile_avx512_14x##W \
    }
IPR__GZ_TILES(1)
IPR__GZ_TILES(2)
IPR__GZ_TILE(1, 4)
IPR__GZ_TILE(2, 4) IPR__GZ_TILE(3, 4) IPR__GZ_TILE(4, 4) IPR__GZ_TILE(5, 4)
    IPR__GZ_TILE(6, 4) static const ipr__gtile_fn ipr__g_half_avx512[14] = IPR__GZ_LIST(1);
static const ipr__gtile_fn ipr__g_tiles_avx512[14] = IPR__GZ_LIST(2);
static const ipr__gtile_fn ipr__g_wide_avx512[6] = {ipr__g_tile_avx512_1x4, ipr__g_tile_avx512_2x4,
                                                    ipr__g_tile_avx512_3x4, ipr__g_tile_avx512_4x4,
                                                    ipr__g_tile_avx512_5x4, ipr__g_tile_avx512_6x4};

IPR__FN void ipr__g_block_avx512(ipr__gtile t, ipr_index m, ipr_index n, int apacked)
{
    ipr__g_block(t, m, n, apacked, 14, 32, 1, 6, ipr__g_tiles_avx512, ipr__g_half_avx512, ipr__g_wide_avx512);
}

/* 16 rows x 16 steps of k, whole lines at a time: t<q><c> holds rows 4q..4q+3, its lane l their column
   4l+c; then the lanes of t0c..t3c are transposed. Missing rows repeat the last one and are cleared. */
#define IPR__GZ_SOON(r)          _mm_prefetch(IPR__G_AT(s[r], p + 16 * rs), _MM_HINT_T1)
#define IPR__GZ_ROW(r)           _mm512_maskz_loadu_ps(km, s[r] + p)
#define IPR__GZ_LANES(x, y, how) _mm512_maskz_shuffle_f32x4(all, x, y, how)
#define IPR__GZ_QUAD(q) \
    { \
        IPR__GZ_SOON(4 * q); \
        IPR__GZ_SOON(4 * q + 1); \
        IPR__GZ_SOON(4 * q + 2); \
        IPR__GZ_SOON(4 * q + 3); \
        const __m512 r0 = IPR__GZ_ROW(4 * q), r1 = IPR__GZ_ROW(4 * q + 1), r2 = IPR__GZ_ROW(4 * q + 2); \
        const __m512 r3 = IPR__GZ_ROW(4 * q + 3); \
        const __m512 l0 = _mm512_maskz_unpacklo_ps(all, r0, r1), h0 = _mm512_maskz_unpackhi_ps(all, r0, r1); \
        const __m512 l1 = _mm512_maskz_unpacklo_ps(all, r2, r3), h1 = _mm512_maskz_unpackhi_ps(all, r2, r3); \
        t##q##0 = _mm512_maskz_shuffle_ps(all, l0, l1, 0x44); \
        t##q##1 = _mm512_maskz_shuffle_ps(all, l0, l1, 0xee); \
        t##q##2 = _mm512_maskz_shuffle_ps(all, h0, h1, 0x44); \
        t##q##3 = _mm512_maskz_shuffle_ps(all, h0, h1, 0xee); \
    }
#define IPR__GZ_OUT(c) \
    { \
        const __m512 u0 = IPR__GZ_LANES(t0##c, t1##c, 0x44), u1 = IPR__GZ_LANES(t2##c, t3##c, 0x44); \
        const __m512 v0 = IPR__GZ_LANES(t0##c, t1##c, 0xee), v1 = IPR__GZ_LANES(t2##c, t3##c, 0xee); \
        if (n > c) _mm512_mask_storeu_ps(dst + c * ld, out, _mm512_maskz_shuffle_f32x4(in, u0, u1, 0x88)); \
        if (n > c + 4) _mm512_mask_storeu_ps(dst + (c + 4) * ld, out, _mm512_maskz_shuffle_f32x4(in, u0, u1, 0xdd)); \
        if (n > c + 8) _mm512_mask_storeu_ps(dst + (c + 8) * ld, out, _mm512_maskz_shuffle_f32x4(in, v0, v1, 0x88)); \
        if (n > c + 12) _mm512_mask_storeu_ps(dst + (c + 12) * ld, out, _mm512_maskz_shuffle_f32x4(in, v0, v1, 0xdd)); \
    }

IPR__FN IPR__TGT_AVX512 void ipr__g_pack16_avx512(ipr_index w, ipr_index k, const float *src, ipr_index rs, float *dst,
                                                  ipr_index ld)
{
    const __mmask16 in = ipr__gz_mask(w, 0), out = ipr__gz_mask(ld, 0), all = 0xffff;
    const float *s[16];
    ipr_index p, i;
    for (i = 0; i < 16; i++) s[i] = src + IPR__MIN(i, w - 1) * rs;
    for (p = 0; p < k; p += 16, dst += 16 * ld) {
        const ipr_index n = k - p;
        const __mmask16 km = ipr__gz_mask(n, 0);
        __m512 t00, t01, t02, t03, t10, t11, t12, t13, t20, t21, t22, t23, t30, t31, t32, t33;
        IPR__GZ_QUAD(0)
        IPR__GZ_QUAD(1) IPR__GZ_QUAD(2) IPR__GZ_QUAD(3) IPR__GZ_OUT(0) IPR__GZ_OUT(1) IPR__GZ_OUT(2) IPR__GZ_OUT(3)
    }
}

IPR__FN IPR__TGT_AVX512 void ipr__g_pack_avx512(ipr_index w, ipr_index k, const float *src, ipr_index rs, ipr_index cs,
                                                float *dst, ipr_index ld)
{
    ipr_index p, i;
    for (i = 0; i < ld; i += 16) {
        const __mmask16 in = ipr__gz_mask(w - i, 0), out = ipr__gz_mask(ld - i, 0);
        if (rs == 1 || i >= w) {
            for (p = 0; p < k; p++) {
                _mm512_mask_storeu_ps(dst + p * ld + i, out, _mm512_maskz_loadu_ps(in, src + p * cs + i));
                _mm_prefetch(IPR__G_AT(src, p * cs + i + ld), _MM_HINT_T1);
            }
        } else if (cs == 1) {
            ipr__g_pack16_avx512(IPR__MIN(w - i, 16), k, src + i * rs, rs, dst + i, ld);
        } else {
            ipr_index r;
            for (r = i; r < IPR__MIN(ld, i + 16); r++)
                for (p = 0; p < k; p++) dst[p * ld + r] = r < w ? src[r * rs + p * cs] : 0;
        }
    }
}

static const ipr__gisa ipr__gisa_avx512 = {14, 32, 256, 112, 1024, 1, ipr__g_block_avx512, ipr__g_pack_avx512};
#endif /* IPR__X86 */

#if IPR__NEON
/* ---- NEON ----
   Eight rows x three vectors of 4: 24 sums, 3 B, 1 A (scalar lane) of 32 registers; two rows x six
   vectors for m <= 2. */

#define IPR__GN_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define IPR__GN_ZERO(r) float32x4_t c##r##0 = z, c##r##1 = z, c##r##2 = z, c##r##3 = z, c##r##4 = z, c##r##5 = z;
#define IPR__GN_LOAD(r) \
    if (R > r) { \
        const float *d = t->c + r * t->ldc; \
        c##r##0 = vld1q_f32(d); \
        c##r##1 = vld1q_f32(d + 4); \
        c##r##2 = vld1q_f32(d + 8); \
        if (W > 3) { \
            c##r##3 = vld1q_f32(d + 12); \
            c##r##4 = vld1q_f32(d + 16); \
            c##r##5 = vld1q_f32(d + 20); \
        } \
    }
#define IPR__GN_STEP(r) \
    if (R > r) { \
        const float x = a[r * ra]; \
        c##r##0 = vfmaq_n_f32(c##r##0, b0, x); \
        c##r##1 = vfmaq_n_f32(c##r##1, b1, x); \
        c##r##2 = vfmaq_n_f32(c##r##2, b2, x); \
        if (W > 3) { \
            c##r##3 = vfmaq_n_f32(c##r##3, b3, x); \
            c##r##4 = vfmaq_n_f32(c##r##4, b4, x); \
            c##r##5 = vfmaq_n_f32(c##r##5, b5, x); \
        } \
    }
#define IPR__GN_STORE(r) \
    if (R > r) { \
        float *d = t->c + r * t->ldc; \
        vst1q_f32(d, c##r##0); \
        vst1q_f32(d + 4, c##r##1); \
        vst1q_f32(d + 8, c##r##2); \
        if (W > 3) { \
            vst1q_f32(d + 12, c##r##3); \
            vst1q_f32(d + 16, c##r##4); \
            vst1q_f32(d + 20, c##r##5); \
        } \
    }

IPR__INLINE void ipr__g_tile_neon(const int R, const int W, const ipr__gtile *t)
{
    const float *a = t->a, *b = t->b;
    const ipr_index ra = t->ra, ca = t->ca, rb = t->rb, pan = t->bp;
    ipr_index p;
    float32x4_t z = vdupq_n_f32(0), b0, b1, b2, b3 = z, b4 = z, b5 = z;
    IPR__GN_ROWS(IPR__GN_ZERO)
    if (t->acc) { IPR__GN_ROWS(IPR__GN_LOAD) }
    for (p = t->k; p > 0; p--) {
        b0 = vld1q_f32(b);
        b1 = vld1q_f32(b + 4);
        b2 = vld1q_f32(b + 8);
        if (W > 3) {
            b3 = vld1q_f32(b + pan);
            b4 = vld1q_f32(b + pan + 4);
            b5 = vld1q_f32(b + pan + 8);
        }
        IPR__GN_ROWS(IPR__GN_STEP)
        a += ca;
        b += rb;
    }
    IPR__GN_ROWS(IPR__GN_STORE)
}

#define IPR__GN_TILE(R, W) \
    IPR__FN void ipr__g_tile_neon_##R##x##W(const ipr__gtile *t) { ipr__g_tile_neon(R, W, t); }
IPR__GN_TILE(1, 3)
IPR__GN_TILE(2, 3) IPR__GN_TILE(3, 3) IPR__GN_TILE(4, 3) IPR__GN_TILE(5, 3) IPR__GN_TILE(6, 3) IPR__GN_TILE(7, 3)
    IPR__GN_TILE(8, 3) IPR__GN_TILE(1, 6) IPR__GN_TILE(2, 6) static const ipr__gtile_fn ipr__g_tiles_neon[8] = {
        ipr__g_tile_neon_1x3, ipr__g_tile_neon_2x3, ipr__g_tile_neon_3x3, ipr__g_tile_neon_4x3,
        ipr__g_tile_neon_5x3, ipr__g_tile_neon_6x3, ipr__g_tile_neon_7x3, ipr__g_tile_neon_8x3};
static const ipr__gtile_fn ipr__g_wide_neon[2] = {ipr__g_tile_neon_1x6, ipr__g_tile_neon_2x6};

IPR__FN void ipr__g_block_neon(ipr__gtile t, ipr_index m, ipr_index n, int apacked)
{
    ipr__g_block(t, m, n, apacked, 8, 12, 0, 2, ipr__g_tiles_neon, NULL, ipr__g_wide_neon);
}

static const ipr__gisa ipr__gisa_neon = {8, 12, 256, 128, 768, 0, ipr__g_block_neon, ipr__g_pack_portable};
#endif /* IPR__NEON */

/* ---- the driver ---- */

/* One product, as the kernel table has it. pb: B packed by the caller, or NULL. */
typedef struct ipr__gmul {
    ipr_index m, n, k, ra, ca, rb, cb, ldc;
    const ipr_real *a, *b, *pb;
    ipr_real *c;
    int acc;
} ipr__gmul;

/* Reals of n packed columns, rounded to a cache line. */
IPR__FN ipr_index ipr__g_bsize(const ipr__gisa *g, ipr_index k, ipr_index n)
{
    return ((n + g->nr - 1) / g->nr * g->nr * k + 15) / 16 * 16;
}

/* n cut into the fewest equal parts of at most `most`, each (but a single one) a multiple of `unit` */
IPR__FN ipr_index ipr__g_part(ipr_index n, ipr_index most, ipr_index unit)
{
    ipr_index parts, part;
    if (n <= most) return n;
    parts = (n + most - 1) / most;
    part = (n + parts - 1) / parts;
    return (part + unit - 1) / unit * unit;
}

IPR__FN size_t ipr__g_ws(const ipr__gisa *g, ipr_index m, ipr_index n, ipr_index k)
{
    ipr_index kb = IPR__MIN(IPR__MAX(k, 1), g->kc), nb = n, mb = m, thin = 0;
    if (n <= IPR__GTHIN) { /* m and n exchanged, and a strip of C */
        nb = IPR__MIN(m, (ipr_index)IPR__GTHIN_ROWS);
        mb = n;
        thin = IPR__GTHIN * IPR__GTHIN_ROWS;
    }
    nb = IPR__MIN(IPR__MAX(nb, 1), g->nc);
    mb = IPR__MIN(IPR__MAX(mb, 1), g->mc);
    return (size_t)(thin + (nb + g->nr) * kb + mb * kb + 3 * IPR__GSLACK) * sizeof(ipr_real); /* at least g_bsize */
}

IPR__FN void ipr__g_pack_b(const ipr__gisa *g, ipr_index k, ipr_index n, const ipr_real *b, ipr_index rb, ipr_index cb,
                           ipr_real *out)
{
    ipr_index j;
    for (j = 0; j < n; j += g->nr) g->pack(IPR__MIN(g->nr, n - j), k, b + j * cb, cb, rb, out + j * k, g->nr);
}

/* Panels of A in the heights that ipr__g_block will use. */
IPR__FN void ipr__g_pack_a(const ipr__gisa *g, ipr_index m, ipr_index k, const ipr_real *a, ipr_index ra, ipr_index ca,
                           ipr_real *out)
{
    ipr_index i, rows;
    for (i = 0; i < m; i += rows) {
        rows = ipr__g_height(m - i, g->mr);
        g->pack(rows, k, a + i * ra, ra, ca, out + i * k, rows);
    }
}

/* Is a rows x cols matrix too large for the second-level cache to hold beside everything else? */
IPR__FN int ipr__g_far(ipr_index rows, ipr_index cols) { return (double)rows * (double)cols > 400.0 * 400; }

/* Is A worth copying? Where its rows fall into the same sets of a 4 KiB cache way they push each other
   out; and where C is so wide that the copy costs nothing. */
IPR__FN int ipr__g_wants_a(const ipr__gmul *x)
{
    const ipr_index page = 4096 / (ipr_index)sizeof(ipr_real);
    if (x->n < 512 || !ipr__g_far(x->m, x->k)) return 0;
    return x->n >= 1024 || x->ra % page == 0 || x->ca % page == 0;
}

/* Columns j.. of B, steps p.. of k, as t wants them; t->k is set. Returns how many of the n columns lie in
   whole panels (or all, where tiles have masks); the rest are packed at wb. */
IPR__FN ipr_index ipr__g_set_b(const ipr__gisa *g, const ipr__gmul *x, int pack, ipr_index p, ipr_index j, ipr_index n,
                               ipr_real *wb, ipr__gtile *t)
{
    ipr_index whole = n;
    t->rb = g->nr;
    if (x->pb) {
        t->bp = x->k * g->nr;
        t->b = x->pb + j * x->k + p * g->nr;
    } else if (pack) {
        t->bp = t->k * g->nr;
        t->b = wb;
        ipr__g_pack_b(g, t->k, n, x->b + p * x->rb + j * x->cb, x->rb, x->cb, wb);
    } else {
        t->bp = g->nr;
        t->b = x->b + p * x->rb + j;
        t->rb = x->rb;
        if (!g->masks) whole -= n % g->nr;
        if (whole < n) ipr__g_pack_b(g, t->k, n - whole, t->b + whole, x->rb, 1, wb);
    }
    return whole;
}

/* The blocks. B is packed when its columns are not unit, or when it is too large and rows enough pay for it;
   beside an A that stays in the cache, in narrow strips, which are then used while still warm. */
IPR__FN void ipr__g_blocks(const ipr__gisa *g, const ipr__gmul *x, ipr_real *ws)
{
    const int packa = ipr__g_wants_a(x);
    const int packb = !x->pb && (x->cb != 1 || (x->m >= 5 * g->mr && ipr__g_far(x->k, x->n)));
    const ipr_index mb = packa ? ipr__g_part(x->m, g->mc, g->mr) : x->m;
    const ipr_index nb = ipr__g_part(x->n, packb && !packa && !ipr__g_far(x->m, x->k) ? 4 * g->nr : g->nc, g->nr);
    const ipr_index kb = ipr__g_part(x->k, g->kc, 1);
    ipr_real *wa = packa ? ws + ipr__g_bsize(g, kb, nb) + IPR__GSLACK : NULL;
    ipr_index i, j, p, im, jn, whole;
    ipr__gtile t;
    t.ldc = x->ldc;
    t.far = ipr__g_far(x->k, x->n) || ipr__g_far(x->m, x->n);
    for (j = 0; j < x->n; j += nb)
        for (p = 0; p < x->k; p += kb) {
            jn = IPR__MIN(nb, x->n - j);
            t.k = IPR__MIN(kb, x->k - p);
            t.acc = x->acc || p > 0;
            whole = ipr__g_set_b(g, x, packb, p, j, jn, ws, &t);
            for (i = 0; i < x->m; i += mb) {
                im = IPR__MIN(mb, x->m - i);
                t.a = x->a + i * x->ra + p * x->ca;
                t.ra = x->ra;
                t.ca = x->ca;
                t.c = x->c + i * x->ldc + j;
                if (packa) {
                    ipr__g_pack_a(g, im, t.k, t.a, t.ra, t.ca, wa);
                    t.a = wa;
                    t.ra = 1;
                }
                if (whole) g->block(t, im, whole, packa);
                if (whole < jn) {
                    ipr__gtile last = t;
                    last.b = ws;
                    last.rb = g->nr;
                    last.c += whole;
                    g->block(last, im, jn - whole, packa);
                }
            }
        }
}

/* A few columns leave most lanes idle: strips of the transposed product B^T A^T fill them instead. */
IPR__FN void ipr__g_thin(const ipr__gisa *g, const ipr__gmul *x, ipr_real *ws)
{
    ipr_index i, j, r, rows;
    ipr_real *c = x->c;
    ipr__gmul y;
    y.m = x->n;
    y.k = x->k;
    y.acc = x->acc;
    y.pb = NULL;
    y.c = ws;
    y.a = x->b;
    y.ra = x->cb;
    y.ca = x->rb;
    y.rb = x->ca;
    y.cb = x->ra;
    for (i = 0; i < x->m; i += rows, c += rows * x->ldc) {
        rows = IPR__MIN(x->m - i, (ipr_index)IPR__GTHIN_ROWS);
        y.b = x->a + i * x->ra;
        y.n = y.ldc = rows;
        for (j = 0; y.acc && j < y.m; j++)
            for (r = 0; r < rows; r++) ws[j * rows + r] = c[r * x->ldc + j];
        ipr__g_blocks(g, &y, ws + IPR__GTHIN * IPR__GTHIN_ROWS);
        for (j = 0; j < y.m; j++)
            for (r = 0; r < rows; r++) c[r * x->ldc + j] = ws[j * rows + r];
    }
}

IPR__FN void ipr__g_drive(const ipr__gisa *g, const ipr__gmul *x, void *ws)
{
    ipr_index i;
    if (x->m <= 0 || x->n <= 0) return;
    if (x->k <= 0) {
        for (i = 0; i < x->m && !x->acc; i++) ipr__zero(x->c + i * x->ldc, (size_t)x->n * sizeof *x->c);
    } else if (x->n <= IPR__GTHIN && x->m > 2 * g->mr && !x->pb) ipr__g_thin(g, x, (ipr_real *)ws);
    else ipr__g_blocks(g, x, (ipr_real *)ws);
}

/* The five functions of the kernel table, for one instruction set. */
#define IPR__GEMM_TABLE(isa) \
    IPR__FN size_t ipr__gemm_ws_##isa(ipr_index m, ipr_index n, ipr_index k) \
    { \
        return ipr__g_ws(&ipr__gisa_##isa, m, n, k); \
    } \
    IPR__FN void ipr__gemm_##isa(ipr_index m, ipr_index n, ipr_index k, const ipr_real *a, ipr_index ra, ipr_index ca, \
                                 const ipr_real *b, ipr_index rb, ipr_index cb, int acc, ipr_real *c, ipr_index ldc, \
                                 void *ws) \
    { \
        ipr__gmul x; \
        x.m = m; \
        x.n = n; \
        x.k = k; \
        x.a = a; \
        x.ra = ra; \
        x.ca = ca; \
        x.b = b; \
        x.rb = rb; \
        x.cb = cb; \
        x.pb = NULL; \
        x.acc = acc; \
        x.c = c; \
        x.ldc = ldc; \
        ipr__g_drive(&ipr__gisa_##isa, &x, ws); \
    } \
    IPR__FN size_t ipr__pack_b_bytes_##isa(ipr_index k, ipr_index n) \
    { \
        return (size_t)(ipr__g_bsize(&ipr__gisa_##isa, k, n) + IPR__GSLACK) * sizeof(ipr_real); \
    } \
    IPR__FN void ipr__pack_b_##isa(ipr_index k, ipr_index n, const ipr_real *b, ipr_index rb, ipr_index cb, void *out) \
    { \
        ipr__g_pack_b(&ipr__gisa_##isa, k, n, b, rb, cb, (ipr_real *)out); \
    } \
    IPR__FN void ipr__gemm_pb_##isa(ipr_index m, ipr_index n, ipr_index k, const ipr_real *a, ipr_index ra, \
                                    ipr_index ca, const void *pb, int acc, ipr_real *c, ipr_index ldc, void *ws) \
    { \
        ipr__gmul x; \
        x.m = m; \
        x.n = n; \
        x.k = k; \
        x.a = a; \
        x.ra = ra; \
        x.ca = ca; \
        x.b = NULL; \
        x.rb = x.cb = 0; \
        x.acc = acc; \
        x.c = c; \
        x.ldc = ldc; \
        x.pb = (const ipr_real *)pb; \
        ipr__g_drive(&ipr__gisa_##isa, &x, ws); \
    }

IPR__GEMM_TABLE(portable)
#if IPR__X86
IPR__GEMM_TABLE(avx2)
IPR__GEMM_TABLE(avx512)
#endif
#if IPR__NEON
IPR__GEMM_TABLE(neon)
#endif

/* ---- threads ---- */

#define IPR__GEMM_ITEM 1048576.0 /* multiply-adds that pay for waking a worker */

typedef struct ipr__gemm_job {
    ipr_ctx *ctx;
    ipr_index m, n, k, ra, ca, rb, cb, ldc, mpart, npart;
    const ipr_real *a, *b;
    ipr_real *c;
    int acc, across; /* across: items per row of the grid of pieces of C */
} ipr__gemm_job;

IPR__FN void ipr__gemm_item(void *arg, int item, int worker)
{
    const ipr__gemm_job *g = (const ipr__gemm_job *)arg;
    const ipr_index i = item / g->across * g->mpart, j = item % g->across * g->npart;
    if (i >= g->m || j >= g->n) return;
    g->ctx->kern->gemm(IPR__MIN(g->mpart, g->m - i), IPR__MIN(g->npart, g->n - j), g->k, g->a + i * g->ra, g->ra, g->ca,
                       g->b + j * g->cb, g->rb, g->cb, g->acc, g->c + i * g->ldc + j, g->ldc, ipr__ws(g->ctx, worker));
}

/* The product on all workers: C is cut into a grid of pieces, one each, never k, so the bits are those of
   one thread. Small products run in the calling thread. 0: no memory (the context says so). */
IPR__FN int ipr__gemm(ipr_ctx *c, ipr_index m, ipr_index n, ipr_index k, const ipr_real *a, ipr_index ra, ipr_index ca,
                      const ipr_real *b, ipr_index rb, ipr_index cb, int acc, ipr_real *out, ipr_index ldc)
{
    const double work = (double)m * (double)n * (double)k / IPR__GEMM_ITEM;
    int pieces = work < (double)c->threads ? (int)work : c->threads, down;
    double cost, best = 0;
    ipr__gemm_job g;
    if (m <= 0 || n <= 0) return 1;
    if (pieces <= 1) {
        if (!ipr__scratch(c, c->kern->gemm_ws(m, n, k))) return 0;
        c->kern->gemm(m, n, k, a, ra, ca, b, rb, cb, acc, out, ldc, ipr__ws(c, 0));
        return 1;
    }
    g.ctx = c;
    g.m = m;
    g.n = n;
    g.k = k;
    g.a = a;
    g.ra = ra;
    g.ca = ca;
    g.b = b;
    g.rb = rb;
    g.cb = cb;
    g.acc = acc;
    g.c = out;
    g.ldc = ldc;
    g.mpart = m;
    g.npart = n;
    g.across = 1;
    for (down = 1; down <= pieces; down++) { /* the grid whose largest piece is least work */
        const ipr_index across = pieces / down, mpart = (m + down - 1) / down;
        const ipr_index npart = ((n + across - 1) / across + 31) / 32 * 32;
        if (pieces % down) continue;
        cost = (double)mpart * (double)npart + 16 * ((double)mpart + (double)npart);
        if (down > 1 && cost >= best) continue;
        best = cost;
        g.mpart = mpart;
        g.npart = npart;
        g.across = (int)across;
    }
    if (!ipr__scratch(c, c->kern->gemm_ws(g.mpart, g.npart, k))) return 0;
    ipr__par(c, pieces, ipr__gemm_item, &g);
    return 1;
}
#endif /* IPR_FLOOR_MAX >= 2 */

#if IPR_FLOOR_MAX >= 2
/* ---- vector mathematics ------------------------------------------------------------------ >>vec
   Every algorithm below is written once, as the body of a stamp, over the small vocabulary of the next
   section; stamping it with a vocabulary gives one instruction set's kernels. V is the vocabulary's
   prefix, V_t its vector, V_W the lanes; ld and st move n <= V_W lanes, the rest reads as zero.

   lt(a, b, x, y) is a < b ? x : y, so an unordered comparison takes y. fma(a, b, c) = a b + c and
   fnma(a, b, c) = c - a b round once on AVX2, AVX-512 and NEON; twice in the portable vocabulary, whose
   results are therefore the same bits on every IEEE target. */

/* Correctly rounded, like every square root below. */
IPR__FN ipr_real ipr__sqrt_real(ipr_real x)
{
#if IPR_REAL_IS_DOUBLE
    return ipr__dsqrt(x);
#else
    return ipr__fsqrt(x);
#endif
}

/* ---- portable: 16 bytes of lanes, in GCC's vectors where the baseline CPU has such registers ---- */

#if IPR_REAL_IS_DOUBLE
typedef int64_t ipr__pint;
#else
typedef int32_t ipr__pint;
#endif
enum { ipr__port_W = 16 / (int)sizeof(ipr_real) };

#if IPR__VECEXT && (defined(__SSE2__) || defined(__aarch64__) || defined(__VSX__) || defined(__wasm_simd128__))
typedef ipr_real ipr__port_t __attribute__((vector_size(16)));
typedef ipr__pint ipr__port_i __attribute__((vector_size(16)));
#define IPR__PORT_OP(name, op) \
    IPR__INLINE ipr__port_t ipr__port_##name(ipr__port_t a, ipr__port_t b) { return a op b; }
IPR__INLINE ipr__port_t ipr__port_lt(ipr__port_t a, ipr__port_t b, ipr__port_t x, ipr__port_t y)
{
    ipr__port_i m = (ipr__port_i)(a < b);
    return (ipr__port_t)((m & (ipr__port_i)x) | (~m & (ipr__port_i)y));
}
#else
typedef struct ipr__port_t {
    ipr_real v[16 / sizeof(ipr_real)];
} ipr__port_t;
#define IPR__PORT_OP(name, op) \
    IPR__INLINE ipr__port_t ipr__port_##name(ipr__port_t a, ipr__port_t b) \
    { \
        int i; \
        for (i = 0; i < ipr__port_W; i++) a.v[i] = (ipr_real)(a.v[i] op b.v[i]); \
        return a; \
    }
IPR__INLINE ipr__port_t ipr__port_lt(ipr__port_t a, ipr__port_t b, ipr__port_t x, ipr__port_t y)
{
    int i;
    for (i = 0; i < ipr__port_W; i++)
        if (a.v[i] < b.v[i]) y.v[i] = x.v[i];
    return y;
}
#endif
IPR__PORT_OP(add, +)
IPR__PORT_OP(sub, -)
IPR__PORT_OP(mul, *)
IPR__PORT_OP(div, /)

IPR__FN IPR__NOINLINE ipr__port_t ipr__port_ld_part(const ipr_real *p, ipr_index n)
{
    ipr__port_t r;
    ipr_real t[ipr__port_W];
    ipr_index i;
    for (i = 0; i < ipr__port_W; i++) t[i] = i < n ? p[i] : IPR__R(0);
    ipr__copy(&r, t, sizeof r);
    return r;
}
IPR__FN IPR__NOINLINE void ipr__port_st_part(ipr_real *p, ipr__port_t v, ipr_index n)
{
    ipr_real t[ipr__port_W];
    ipr_index i;
    ipr__copy(t, &v, sizeof v);
    for (i = 0; i < n; i++) p[i] = t[i];
}
IPR__INLINE ipr__port_t ipr__port_ld(const ipr_real *p, ipr_index n)
{
    ipr__port_t r;
    if (n < ipr__port_W) return ipr__port_ld_part(p, n);
    ipr__copy(&r, p, sizeof r);
    return r;
}
IPR__INLINE void ipr__port_st(ipr_real *p, ipr__port_t v, ipr_index n)
{
    if (n < ipr__port_W) ipr__port_st_part(p, v, n);
    else ipr__copy(p, &v, sizeof v);
}
IPR__INLINE ipr__port_t ipr__port_set(ipr_real a)
{
    ipr_real t[ipr__port_W];
    ipr__port_t r;
    int i;
    for (i = 0; i < ipr__port_W; i++) t[i] = a;
    ipr__copy(&r, t, sizeof r);
    return r;
}
IPR__INLINE ipr__port_t ipr__port_fma(ipr__port_t a, ipr__port_t b, ipr__port_t c)
{
    return ipr__port_add(ipr__port_mul(a, b), c);
}
IPR__INLINE ipr__port_t ipr__port_fnma(ipr__port_t a, ipr__port_t b, ipr__port_t c)
{
    return ipr__port_sub(c, ipr__port_mul(a, b));
}

/* One scalar function on every lane. */
#define IPR__PORT_LANES(name, expr) \
    IPR__INLINE ipr__port_t ipr__port_##name(ipr__port_t v) \
    { \
        ipr_real t[ipr__port_W]; \
        int i; \
        ipr__copy(t, &v, sizeof v); \
        for (i = 0; i < ipr__port_W; i++) { \
            const ipr_real x = t[i]; \
            t[i] = (expr); \
        } \
        ipr__copy(&v, t, sizeof v); \
        return v; \
    }
#if IPR__X86
IPR__INLINE ipr__port_t ipr__port_sqrt(ipr__port_t v)
{
    __m128 m; /* correctly rounded, as ipr__fsqrt */
    ipr__copy(&m, &v, sizeof m);
    m = _mm_sqrt_ps(m);
    ipr__copy(&v, &m, sizeof m);
    return v;
}
#elif IPR__NEON
IPR__INLINE ipr__port_t ipr__port_sqrt(ipr__port_t v)
{
    float32x4_t m;
    ipr__copy(&m, &v, sizeof m);
    m = vsqrtq_f32(m);
    ipr__copy(&v, &m, sizeof m);
    return v;
}
#else
IPR__PORT_LANES(sqrt, ipr__sqrt_real(x))
#endif

#if IPR_REAL_IS_DOUBLE
/* Doubles have no vector polynomials: lane by lane through floor 1. */
IPR__PORT_LANES(exp, ipr__dexp(x))
IPR__PORT_LANES(log, ipr__dlog(x))
IPR__PORT_LANES(tanh, ipr__dtanh(x))
IPR__PORT_LANES(sigmoid, ipr__dsigmoid(x))
#else
/* Bits of lanes: sums and masks only, in unsigned arithmetic. */
#define IPR__PORT_BITS(name, expr) \
    IPR__INLINE ipr__port_t ipr__port_##name(ipr__port_t v) \
    { \
        uint32_t t[4]; \
        int i; \
        ipr__copy(t, &v, sizeof v); \
        for (i = 0; i < 4; i++) { \
            const uint32_t x = t[i]; \
            t[i] = (expr); \
        } \
        ipr__copy(&v, t, sizeof v); \
        return v; \
    }
IPR__PORT_BITS(abs, x & 0x7fffffffu)
IPR__PORT_BITS(two_bits, (x << 23) + 0x3f800000u)
IPR__PORT_BITS(mant, (x & 0x007fffffu) | 0x3f800000u)
IPR__PORT_BITS(expo_bits, (x >> 23) | 0x4b000000u)
IPR__INLINE ipr__port_t ipr__port_sign(ipr__port_t m, ipr__port_t s)
{
    uint32_t a[4], b[4];
    int i;
    ipr__copy(a, &m, sizeof m);
    ipr__copy(b, &s, sizeof s);
    for (i = 0; i < 4; i++) a[i] |= b[i] & 0x80000000u;
    ipr__copy(&m, a, sizeof m);
    return m;
}
/* 2^k for whole k in -126..127: the sum with 1.5 * 2^23 leaves k in the low bits. */
IPR__INLINE ipr__port_t ipr__port_two(ipr__port_t k)
{
    return ipr__port_two_bits(ipr__port_add(k, ipr__port_set(IPR__R(12582912))));
}
/* p 2^k in two factors, so that k = -150..128 underflows gradually and overflows rightly */
IPR__INLINE ipr__port_t ipr__port_ldexp(ipr__port_t p, ipr__port_t k)
{
    const ipr__port_t magic = ipr__port_set(IPR__R(12582912));
    const ipr__port_t h = ipr__port_sub(ipr__port_fma(k, ipr__port_set(IPR__R(0.5)), magic), magic);
    return ipr__port_mul(ipr__port_mul(p, ipr__port_two(h)), ipr__port_two(ipr__port_sub(k, h)));
}
/* exponent of a positive normal number, as a real */
IPR__INLINE ipr__port_t ipr__port_expo(ipr__port_t x)
{
    return ipr__port_sub(ipr__port_expo_bits(x), ipr__port_set(IPR__R(8388735)));
}
#endif

/* ---- NEON ---- */

#if IPR__NEON
typedef float32x4_t ipr__neon_t;
enum { ipr__neon_W = 4 };
IPR__INLINE ipr__neon_t ipr__neon_ld(const float *p, ipr_index n)
{
    float t[4];
    ipr_index i;
    if (n == 4) return vld1q_f32(p);
    for (i = 0; i < 4; i++) t[i] = i < n ? p[i] : 0.0f;
    return vld1q_f32(t);
}
IPR__INLINE void ipr__neon_st(float *p, ipr__neon_t v, ipr_index n)
{
    float t[4];
    ipr_index i;
    if (n == 4) {
        vst1q_f32(p, v);
        return;
    }
    vst1q_f32(t, v);
    for (i = 0; i < n; i++) p[i] = t[i];
}
IPR__INLINE ipr__neon_t ipr__neon_set(float a) { return vdupq_n_f32(a); }
IPR__INLINE ipr__neon_t ipr__neon_add(ipr__neon_t a, ipr__neon_t b) { return vaddq_f32(a, b); }
IPR__INLINE ipr__neon_t ipr__neon_sub(ipr__neon_t a, ipr__neon_t b) { return vsubq_f32(a, b); }
IPR__INLINE ipr__neon_t ipr__neon_mul(ipr__neon_t a, ipr__neon_t b) { return vmulq_f32(a, b); }
IPR__INLINE ipr__neon_t ipr__neon_div(ipr__neon_t a, ipr__neon_t b) { return vdivq_f32(a, b); }
IPR__INLINE ipr__neon_t ipr__neon_fma(ipr__neon_t a, ipr__neon_t b, ipr__neon_t c) { return vfmaq_f32(c, a, b); }
IPR__INLINE ipr__neon_t ipr__neon_fnma(ipr__neon_t a, ipr__neon_t b, ipr__neon_t c) { return vfmsq_f32(c, a, b); }
IPR__INLINE ipr__neon_t ipr__neon_sqrt(ipr__neon_t a) { return vsqrtq_f32(a); }
IPR__INLINE ipr__neon_t ipr__neon_abs(ipr__neon_t a) { return vabsq_f32(a); }
IPR__INLINE ipr__neon_t ipr__neon_lt(ipr__neon_t a, ipr__neon_t b, ipr__neon_t x, ipr__neon_t y)
{
    return vbslq_f32(vcltq_f32(a, b), x, y);
}
IPR__INLINE ipr__neon_t ipr__neon_sign(ipr__neon_t m, ipr__neon_t s)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), s, m);
}
IPR__INLINE ipr__neon_t ipr__neon_two(ipr__neon_t k)
{
    const uint32x4_t b = vreinterpretq_u32_f32(vaddq_f32(k, vdupq_n_f32(12582912.0f)));
    return vreinterpretq_f32_u32(vaddq_u32(vshlq_n_u32(b, 23), vdupq_n_u32(0x3f800000u)));
}
IPR__INLINE ipr__neon_t ipr__neon_ldexp(ipr__neon_t p, ipr__neon_t k)
{
    const ipr__neon_t h = vrndnq_f32(vmulq_f32(k, vdupq_n_f32(0.5f)));
    return vmulq_f32(vmulq_f32(p, ipr__neon_two(h)), ipr__neon_two(vsubq_f32(k, h)));
}
IPR__INLINE ipr__neon_t ipr__neon_mant(ipr__neon_t x)
{
    const uint32x4_t b = vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(0x007fffffu));
    return vreinterpretq_f32_u32(vorrq_u32(b, vdupq_n_u32(0x3f800000u)));
}
IPR__INLINE ipr__neon_t ipr__neon_expo(ipr__neon_t x)
{
    return vsubq_f32(vcvtq_f32_u32(vshrq_n_u32(vreinterpretq_u32_f32(x), 23)), vdupq_n_f32(127.0f));
}
#endif /* IPR__NEON */

#if IPR__X86
/* ---- AVX2 ---- */

typedef __m256 ipr__avx2_t;
enum { ipr__avx2_W = 8 };
#define IPR__Y IPR__INLINE IPR__TGT_AVX2
IPR__Y __m256i ipr__avx2_lanes(ipr_index n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
IPR__Y __m256 ipr__avx2_ld(const float *p, ipr_index n)
{
    return n == 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, ipr__avx2_lanes(n));
}
IPR__Y void ipr__avx2_st(float *p, __m256 v, ipr_index n)
{
    if (n == 8) _mm256_storeu_ps(p, v);
    else _mm256_maskstore_ps(p, ipr__avx2_lanes(n), v);
}
IPR__Y __m256 ipr__avx2_set(float a) { return _mm256_set1_ps(a); }
IPR__Y __m256 ipr__avx2_add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
IPR__Y __m256 ipr__avx2_sub(__m256 a, __m256 b) { return _mm256_sub_ps(a, b); }
IPR__Y __m256 ipr__avx2_mul(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
IPR__Y __m256 ipr__avx2_div(__m256 a, __m256 b) { return _mm256_div_ps(a, b); }
IPR__Y __m256 ipr__avx2_fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
IPR__Y __m256 ipr__avx2_fnma(__m256 a, __m256 b, __m256 c) { return _mm256_fnmadd_ps(a, b, c); }
IPR__Y __m256 ipr__avx2_sqrt(__m256 a) { return _mm256_sqrt_ps(a); }
IPR__Y __m256 ipr__avx2_abs(__m256 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
IPR__Y __m256 ipr__avx2_lt(__m256 a, __m256 b, __m256 x, __m256 y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
IPR__Y __m256 ipr__avx2_sign(__m256 m, __m256 s) { return _mm256_or_ps(m, _mm256_and_ps(_mm256_set1_ps(-0.0f), s)); }
IPR__Y __m256 ipr__avx2_two(__m256 k)
{
    const __m256i b = _mm256_castps_si256(_mm256_add_ps(k, _mm256_set1_ps(12582912.0f)));
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(b, 23), _mm256_set1_epi32(0x3f800000)));
}
IPR__Y __m256 ipr__avx2_ldexp(__m256 p, __m256 k)
{
    const __m256 h =
        _mm256_round_ps(_mm256_mul_ps(k, _mm256_set1_ps(0.5f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm256_mul_ps(_mm256_mul_ps(p, ipr__avx2_two(h)), ipr__avx2_two(_mm256_sub_ps(k, h)));
}
IPR__Y __m256 ipr__avx2_mant(__m256 x)
{
    const __m256i b = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(b, _mm256_set1_epi32(0x3f800000)));
}
IPR__Y __m256 ipr__avx2_expo(__m256 x)
{
    return _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(_mm256_castps_si256(x), 23)), _mm256_set1_ps(127.0f));
}
#undef IPR__Y

/* ---- AVX-512 ---- */

/* The _maskz_ forms with a full mask compile to the plain instructions; gcc 12's plain intrinsics warn of their
   own uninitialised operand (gcc bug 105593). */
typedef __m512 ipr__avx512_t;
enum { ipr__avx512_W = 16 };
#define IPR__Z IPR__INLINE IPR__TGT_AVX512
IPR__Z __m512 ipr__avx512_ld(const float *p, ipr_index n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
IPR__Z void ipr__avx512_st(float *p, __m512 v, ipr_index n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), v);
}
IPR__Z __m512 ipr__avx512_set(float a) { return _mm512_set1_ps(a); }
IPR__Z __m512 ipr__avx512_add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
IPR__Z __m512 ipr__avx512_sub(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
IPR__Z __m512 ipr__avx512_mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
IPR__Z __m512 ipr__avx512_div(__m512 a, __m512 b) { return _mm512_div_ps(a, b); }
IPR__Z __m512 ipr__avx512_fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
IPR__Z __m512 ipr__avx512_fnma(__m512 a, __m512 b, __m512 c) { return _mm512_fnmadd_ps(a, b, c); }
IPR__Z __m512 ipr__avx512_sqrt(__m512 a) { return _mm512_maskz_sqrt_ps(0xffff, a); }
IPR__Z __m512 ipr__avx512_abs(__m512 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
IPR__Z __m512 ipr__avx512_lt(__m512 a, __m512 b, __m512 x, __m512 y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
IPR__Z __m512 ipr__avx512_sign(__m512 m, __m512 s) { return _mm512_or_ps(m, _mm512_and_ps(_mm512_set1_ps(-0.0f), s)); }
IPR__Z __m512 ipr__avx512_ldexp(__m512 p, __m512 k) { return _mm512_maskz_scalef_ps(0xffff, p, k); }
IPR__Z __m512 ipr__avx512_two(__m512 k) { return _mm512_maskz_scalef_ps(0xffff, _mm512_set1_ps(1.0f), k); }
/* by bits, as AVX2: the getmant and getexp macros warn at -O0 */
IPR__Z __m512 ipr__avx512_mant(__m512 x)
{
    const __m512i b = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x007fffff));
    return _mm512_castsi512_ps(_mm512_or_si512(b, _mm512_set1_epi32(0x3f800000)));
}
IPR__Z __m512 ipr__avx512_expo(__m512 x)
{
    const __m512i b = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7f800000)); /* e * 2^23, exact */
    const __m512 e = _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xffff, b), _mm512_set1_ps(1.0f / 8388608));
    return _mm512_sub_ps(e, _mm512_set1_ps(127.0f));
}
#undef IPR__Z
#endif /* IPR__X86 */

/* ---- exp, log, tanh, sigmoid of one vector of floats ----
   Range reduction as in Cephes (S. Moshier), polynomials by our own Remez exchange; relative errors before
   rounding 4e-9 and 1.3e-9. Measured (tests/test_vec.c): exp 1.01 ulp, log 0.75, sigmoid 2.21, tanh 2.29.

   expm1_part: x = k ln 2 + r with |r| <= ln 2 / 2, returns e^r - 1. k by adding and subtracting 1.5 * 2^23.
   HOW: inlined where a call would cost more than it saves; out of line in the portable vocabulary, to stay small. */
#define IPR__STAMP_FLOAT_MATH(V, HOW, T) \
    IPR__INLINE T V##_t V##_expm1_part(V##_t x, V##_t *k) \
    { \
        const V##_t magic = V##_set(12582912.0f); \
        V##_t n = V##_sub(V##_fma(x, V##_set(1.44269504f), magic), magic); \
        V##_t r = V##_fnma(n, V##_set(1.42860677e-06f), V##_fnma(n, V##_set(0.693145752f), x)); \
        V##_t q = V##_fma(r, V##_set(0.00138934037695f), V##_set(0.00837027005761f)); \
        q = V##_fma(r, q, V##_set(0.0416670903275f)); \
        q = V##_fma(r, q, V##_set(0.166665060032f)); \
        q = V##_fma(r, q, V##_set(0.499999981301f)); \
        *k = n; \
        return V##_fma(V##_mul(r, r), q, r); \
    } \
    /* Clamped so that k stays within ldexp's range; the order of operands lets NaN through. */ \
    HOW T V##_t V##_exp(V##_t x) \
    { \
        const V##_t lo = V##_set(-104.0f), hi = V##_set(89.0f); \
        V##_t k, p; \
        x = V##_lt(hi, x, hi, x); \
        x = V##_lt(x, lo, lo, x); \
        p = V##_expm1_part(x, &k); \
        return V##_ldexp(V##_add(V##_set(1.0f), p), k); \
    } \
    /* 1 / (1 + e^-x); for x < 0 as e^x / (1 + e^x), so that no digit is lost on either side */ \
    HOW T V##_t V##_sigmoid(V##_t x) \
    { \
        const V##_t one = V##_set(1.0f), zero = V##_set(0.0f); \
        const V##_t e = V##_exp(V##_sub(zero, V##_abs(x))); \
        return V##_div(V##_lt(x, zero, e, one), V##_add(one, e)); \
    } \
    /* (e^2a - 1) / (e^2a + 1) for a = |x|: the difference e^2a - 1 = 2^k (e^r - 1) + (2^k - 1) is exact near 0; \
   1 from 10 on (from 9.02 in floats) */ \
    HOW T V##_t V##_tanh(V##_t x) \
    { \
        const V##_t ten = V##_set(10.0f), one = V##_set(1.0f); \
        V##_t a = V##_abs(x), k, s, t; \
        a = V##_lt(ten, a, ten, a); \
        t = V##_expm1_part(V##_add(a, a), &k); \
        s = V##_two(k); \
        t = V##_fma(s, t, V##_sub(s, one)); \
        return V##_sign(V##_div(t, V##_add(t, V##_set(2.0f))), x); \
    } \
    /* x = m 2^e with m in [sqrt 1/2, sqrt 2), f = m - 1: log x = e ln 2 + f - f^2 / 2 + f^3 P(f) */ \
    HOW T V##_t V##_log(V##_t x) \
    { \
        const V##_t one = V##_set(1.0f), zero = V##_set(0.0f), tiny = V##_set(1.17549435e-38f); \
        const V##_t big = V##_set(3.40282347e+38f), half = V##_set(0.5f), inf = V##_div(one, zero); \
        V##_t n = V##_lt(x, tiny, V##_mul(x, V##_set(8388608.0f)), x); /* subnormals */ \
        V##_t e = V##_sub(V##_expo(n), V##_lt(x, tiny, V##_set(23.0f), zero)); \
        V##_t m = V##_mant(n), f, z, p, bad; \
        const V##_t root = V##_set(1.41421354f); \
        e = V##_lt(root, m, V##_add(e, one), e); \
        f = V##_sub(V##_lt(root, m, V##_mul(m, half), m), one); \
        z = V##_mul(f, f); \
        p = V##_fma(f, V##_set(0.0693730623125f), V##_set(-0.118467434607f)); \
        p = V##_fma(f, p, V##_set(0.118887973847f)); \
        p = V##_fma(f, p, V##_set(-0.123774855941f)); \
        p = V##_fma(f, p, V##_set(0.14217117589f)); \
        p = V##_fma(f, p, V##_set(-0.166694837363f)); \
        p = V##_fma(f, p, V##_set(0.200021872763f)); \
        p = V##_fma(f, p, V##_set(-0.249999838449f)); \
        p = V##_fma(f, p, V##_set(0.333333140401f)); \
        p = V##_mul(V##_mul(z, f), p); \
        p = V##_fma(e, V##_set(1.42860677e-06f), p); \
        p = V##_fnma(half, z, p); \
        p = V##_fma(e, V##_set(0.693145752f), V##_add(f, p)); \
        bad = V##_lt(x, zero, V##_sub(inf, inf), V##_sub(x, inf)); /* negative: NaN; 0: -infinity; NaN */ \
        return V##_lt(big, x, x, V##_lt(zero, x, p, bad)); \
    }

/* ---- loops over arrays ---- */

#define IPR__STAMP_MAP1(V, S, T, name, expr) \
    IPR__FN T void ipr__##name##_##S(ipr_index n, const ipr_real *x, ipr_real *y) \
    { \
        ipr_index i; \
        for (i = 0; i < n; i += V##_W) { \
            const ipr_index q = IPR__MIN(n - i, (ipr_index)V##_W); \
            const V##_t v = V##_ld(x + i, q); \
            V##_st(y + i, expr, q); \
        } \
    }
/* acc: the old z takes part as w */
#define IPR__STAMP_MAP2(V, S, T, name, acc, expr) \
    IPR__INLINE T void V##_##name##_n(const ipr_real *x, const ipr_real *y, ipr_real *z, ipr_index n) \
    { \
        const V##_t u = V##_ld(x, n), v = V##_ld(y, n), w = acc ? V##_ld(z, n) : u; \
        (void)w; \
        V##_st(z, expr, n); \
    } \
    IPR__FN T void ipr__v##name##_##S(ipr_index n, const ipr_real *x, const ipr_real *y, ipr_real *z) \
    { \
        ipr_index i; \
        for (i = 0; i + V##_W <= n; i += V##_W) V##_##name##_n(x + i, y + i, z + i, V##_W); \
        if (i < n) V##_##name##_n(x + i, y + i, z + i, n - i); \
    }

/* Reductions keep 2 V_W running lanes over blocks of 1024 elements, then halve the lanes, and add blocks as
   doubles: the order depends on n alone. */
#define IPR__STAMP_REDUCE(V, S, T) \
    IPR__INLINE T ipr_real V##_hsum(V##_t v) \
    { \
        ipr_real t[V##_W]; \
        int h, i; \
        V##_st(t, v, V##_W); \
        for (h = V##_W / 2; h > 0; h /= 2) \
            for (i = 0; i < h; i++) t[i] = (ipr_real)(t[i] + t[i + h]); \
        return t[0]; \
    } \
    IPR__INLINE T ipr_real V##_sum_block(ipr_index n, const ipr_real *x) \
    { \
        V##_t a = V##_set(0), b = a; \
        ipr_index i; \
        for (i = 0; i + 2 * V##_W <= n; i += 2 * V##_W) { \
            a = V##_add(a, V##_ld(x + i, V##_W)); \
            b = V##_add(b, V##_ld(x + i + V##_W, V##_W)); \
        } \
        if (i + V##_W <= n) { \
            a = V##_add(a, V##_ld(x + i, V##_W)); \
            i += V##_W; \
        } \
        if (i < n) b = V##_add(b, V##_ld(x + i, n - i)); \
        return V##_hsum(V##_add(a, b)); \
    } \
    IPR__INLINE T ipr_real V##_dot_block(ipr_index n, const ipr_real *x, const ipr_real *y) \
    { \
        V##_t a = V##_set(0), b = a; \
        ipr_index i; \
        for (i = 0; i + 2 * V##_W <= n; i += 2 * V##_W) { \
            a = V##_fma(V##_ld(x + i, V##_W), V##_ld(y + i, V##_W), a); \
            b = V##_fma(V##_ld(x + i + V##_W, V##_W), V##_ld(y + i + V##_W, V##_W), b); \
        } \
        if (i + V##_W <= n) { \
            a = V##_fma(V##_ld(x + i, V##_W), V##_ld(y + i, V##_W), a); \
            i += V##_W; \
        } \
        if (i < n) b = V##_fma(V##_ld(x + i, n - i), V##_ld(y + i, n - i), b); \
        return V##_hsum(V##_add(a, b)); \
    } \
    IPR__FN T ipr_real ipr__sum_##S(ipr_index n, const ipr_real *x) \
    { \
        double s = 0; \
        ipr_index i; \
        for (i = 0; i < n; i += 1024) s += (double)V##_sum_block(IPR__MIN(n - i, 1024), x + i); \
        return (ipr_real)s; \
    } \
    IPR__FN T ipr_real ipr__dot_##S(ipr_index n, const ipr_real *x, const ipr_real *y) \
    { \
        double s = 0; \
        ipr_index i; \
        for (i = 0; i < n; i += 1024) s += (double)V##_dot_block(IPR__MIN(n - i, 1024), x + i, y + i); \
        return (ipr_real)s; \
    } \
    IPR__FN T double ipr__sumsq_##S(ipr_index n, const ipr_real *x) \
    { \
        double s = 0; \
        ipr_index i; \
        for (i = 0; i < n; i += 1024) s += (double)V##_dot_block(IPR__MIN(n - i, 1024), x + i, x + i); \
        return s; \
    } \
    IPR__FN T ipr_real ipr__maxv_##S(ipr_index n, const ipr_real *x) \
    { \
        const V##_t low = V##_div(V##_set(IPR__R(-1)), V##_set(0)); \
        V##_t a = low, b = low; \
        ipr_real t[V##_W], r; \
        ipr_index i; \
        for (i = 0; i + 2 * V##_W <= n; i += 2 * V##_W) { \
            const V##_t u = V##_ld(x + i, V##_W), v = V##_ld(x + i + V##_W, V##_W); \
            a = V##_lt(a, u, u, a); \
            b = V##_lt(b, v, v, b); \
        } \
        V##_st(t, V##_lt(a, b, b, a), V##_W); \
        r = t[0]; \
        { \
            int k; \
            for (k = 1; k < V##_W; k++) \
                if (t[k] > r) r = t[k]; \
        } \
        for (; i < n; i++) \
            if (x[i] > r) r = x[i]; \
        return r; \
    } \
    /* Eight rows at a time over each vector of columns: every column is added in the order of rows. */ \
    IPR__INLINE T void V##_col_sum_n(ipr_index m, const ipr_real *a, ipr_index lda, int acc, ipr_real *out, \
                                     ipr_index n) \
    { \
        V##_t s = acc ? V##_ld(out, n) : V##_set(0); \
        ipr_index i; \
        for (i = 0; i < m; i++) s = V##_add(s, V##_ld(a + i * lda, n)); \
        V##_st(out, s, n); \
    } \
    IPR__FN T void ipr__col_sum_##S(ipr_index m, ipr_index n, const ipr_real *a, ipr_index lda, int acc, \
                                    ipr_real *out) \
    { \
        ipr_index i, j; \
        if (m <= 0 && !acc) ipr__zero(out, (size_t)n * sizeof *out); \
        for (i = 0; i < m; i += 8, acc = 1) { \
            const ipr_real *r = a + i * lda; \
            const ipr_index h = IPR__MIN(m - i, 8); \
            for (j = 0; j + V##_W <= n; j += V##_W) V##_col_sum_n(h, r + j, lda, acc, out + j, V##_W); \
            if (j < n) V##_col_sum_n(h, r + j, lda, acc, out + j, n - j); \
        } \
    }

/* ---- optimiser steps ---- */

/* m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= lr / bias1 * m / (sqrt v / sqrt bias2 + eps) */
#define IPR__STAMP_OPTIM(V, S, T) \
    IPR__INLINE T void V##_adam_n(ipr_real *w, const ipr_real *g, ipr_real *m, ipr_real *v, const ipr_real *k, \
                                  ipr_index n) \
    { \
        V##_t x = V##_ld(w, n), d = V##_mul(V##_ld(g, n), V##_set(k[0])), a, b; \
        d = V##_fma(V##_set(k[1]), x, d); \
        x = V##_fnma(V##_set(k[2]), x, x); \
        a = V##_fma(V##_set(k[4]), d, V##_mul(V##_set(k[3]), V##_ld(m, n))); \
        b = V##_fma(V##_mul(V##_set(k[6]), d), d, V##_mul(V##_set(k[5]), V##_ld(v, n))); \
        V##_st(m, a, n); \
        V##_st(v, b, n); \
        b = V##_fma(V##_sqrt(b), V##_set(k[7]), V##_set(k[8])); \
        V##_st(w, V##_fnma(V##_set(k[9]), V##_div(a, b), x), n); \
    } \
    IPR__FN T void ipr__adam_##S(ipr_index n, ipr_real *w, const ipr_real *g, ipr_real *m, ipr_real *v, \
                                 const ipr__adam_args *p) \
    { \
        ipr_real k[10]; \
        ipr_index i; \
        k[0] = (ipr_real)p->grad_scale; \
        k[1] = (ipr_real)p->decay_l2; \
        k[2] = (ipr_real)(p->lr * p->decay_w); \
        k[3] = (ipr_real)p->beta1; \
        k[4] = (ipr_real)(1 - p->beta1); \
        k[5] = (ipr_real)p->beta2; \
        k[6] = (ipr_real)(1 - p->beta2); \
        k[7] = (ipr_real)(1 / ipr__dsqrt(p->bias2)); \
        k[8] = (ipr_real)p->eps; \
        k[9] = (ipr_real)(p->lr / p->bias1); \
        for (i = 0; i + V##_W <= n; i += V##_W) V##_adam_n(w + i, g + i, m + i, v + i, k, V##_W); \
        if (i < n) V##_adam_n(w + i, g + i, m + i, v + i, k, n - i); \
    } \
    /* buf = momentum buf + (1 - dampening) g;  w -= lr (nesterov ? g + momentum buf : buf) */ \
    IPR__INLINE T void V##_sgd_n(ipr_real *w, const ipr_real *g, ipr_real *buf, const ipr__sgd_args *p, \
                                 const ipr_real *k, ipr_index n) \
    { \
        V##_t x = V##_ld(w, n), d = V##_fma(V##_set(k[1]), x, V##_mul(V##_ld(g, n), V##_set(k[0]))), b; \
        if (buf) { \
            b = p->first ? d : V##_fma(V##_set(k[3]), d, V##_mul(V##_set(k[2]), V##_ld(buf, n))); \
            V##_st(buf, b, n); \
            d = p->nesterov ? V##_fma(V##_set(k[2]), b, d) : b; \
        } \
        V##_st(w, V##_fnma(V##_set(k[4]), d, x), n); \
    } \
    IPR__FN T void ipr__sgd_##S(ipr_index n, ipr_real *w, const ipr_real *g, ipr_real *buf, const ipr__sgd_args *p) \
    { \
        ipr_real k[5]; \
        ipr_index i; \
        k[0] = (ipr_real)p->grad_scale; \
        k[1] = (ipr_real)p->decay_l2; \
        k[2] = (ipr_real)p->momentum; \
        k[3] = (ipr_real)(1 - p->dampening); \
        k[4] = (ipr_real)p->lr; \
        for (i = 0; i + V##_W <= n; i += V##_W) V##_sgd_n(w + i, g + i, buf ? buf + i : NULL, p, k, V##_W); \
        if (i < n) V##_sgd_n(w + i, g + i, buf ? buf + i : NULL, p, k, n - i); \
    }

#define IPR__STAMP_VEC(V, S, T) \
    IPR__STAMP_MAP1(V, S, T, vexp, V##_exp(v)) \
    IPR__STAMP_MAP1(V, S, T, vlog, V##_log(v)) \
    IPR__STAMP_MAP1(V, S, T, vsigmoid, V##_sigmoid(v)) \
    IPR__STAMP_MAP1(V, S, T, vtanh, V##_tanh(v)) \
    IPR__STAMP_MAP2(V, S, T, add, 0, V##_add(u, v)) \
    IPR__STAMP_MAP2(V, S, T, sub, 0, V##_sub(u, v)) \
    IPR__STAMP_MAP2(V, S, T, mul, 0, V##_mul(u, v)) \
    IPR__STAMP_MAP2(V, S, T, div, 0, V##_div(u, v)) \
    IPR__STAMP_MAP2(V, S, T, fma_acc, 1, V##_fma(u, v, w)) \
    IPR__FN T void ipr__axpy_##S(ipr_index n, ipr_real a, const ipr_real *x, ipr_real *y) \
    { \
        const V##_t k = V##_set(a); \
        ipr_index i; \
        for (i = 0; i + V##_W <= n; i += V##_W) \
            V##_st(y + i, V##_fma(k, V##_ld(x + i, V##_W), V##_ld(y + i, V##_W)), V##_W); \
        if (i < n) V##_st(y + i, V##_fma(k, V##_ld(x + i, n - i), V##_ld(y + i, n - i)), n - i); \
    } \
    IPR__FN T void ipr__scale_##S(ipr_index n, ipr_real a, const ipr_real *x, ipr_real *y) \
    { \
        const V##_t k = V##_set(a); \
        ipr_index i; \
        for (i = 0; i + V##_W <= n; i += V##_W) V##_st(y + i, V##_mul(k, V##_ld(x + i, V##_W)), V##_W); \
        if (i < n) V##_st(y + i, V##_mul(k, V##_ld(x + i, n - i)), n - i); \
    } \
    IPR__STAMP_REDUCE(V, S, T) \
    IPR__STAMP_OPTIM(V, S, T)

#define IPR__NO_TGT
#if !IPR_REAL_IS_DOUBLE
IPR__STAMP_FLOAT_MATH(ipr__port, IPR__FN IPR__NOINLINE, IPR__NO_TGT)
#endif
IPR__STAMP_VEC(ipr__port, portable, IPR__NO_TGT)
#if IPR__NEON
IPR__STAMP_FLOAT_MATH(ipr__neon, IPR__INLINE, IPR__NO_TGT)
IPR__STAMP_VEC(ipr__neon, neon, IPR__NO_TGT)
#endif
#if IPR__X86
IPR__STAMP_FLOAT_MATH(ipr__avx2, IPR__INLINE, IPR__TGT_AVX2)
IPR__STAMP_VEC(ipr__avx2, avx2, IPR__TGT_AVX2)
IPR__STAMP_FLOAT_MATH(ipr__avx512, IPR__INLINE, IPR__TGT_AVX512)
IPR__STAMP_VEC(ipr__avx512, avx512, IPR__TGT_AVX512)
#endif
#endif /* IPR_FLOOR_MAX >= 2 */

#if IPR_FLOOR_MAX >= 2 && !defined(IPR_NO_RNN)
/* ---- LSTM and GRU over whole sequences ----------------------------------------------------- >>rnn
   PyTorch's cells (Hochreiter, Schmidhuber 1997; Cho et al. 2014 with the reset gate after the product):
       LSTM  c = f c' + i g,  h = o tanh c           GRU  n = tanh(x_n + b_in + r (W_hn h' + b_hn)),  h = n + z (h' - n)
   and Gatekeeper's gate (Tan, Wong, Chan 2023): after step t < Tk the states of gated rows become
   h gk[t] and c gk[t]; outputs y[t] are taken before that.

   Shape of the computation: one product for the inputs of many steps, then per step one product with the
   recurrent weights, packed once, and one pointwise kernel. A worker owns some rows of the batch over the
   whole sequence, so there is no barrier per step. Backward runs the steps in reverse with one product
   each; the weights' gradients are single products over all steps afterwards. */

/* ---- pointwise steps, stamped for every instruction set ---- */

/* History is too long for the cache and rows end at page ends, where the CPU's own prefetcher stops: ask for
   the next row's line while working on this one. */
#if IPR__GNU
#define IPR__FETCH(p, write) __builtin_prefetch(p, write)
#else
#define IPR__FETCH(p, write) ((void)(p))
#endif
#define IPR__FETCH4(p, H, write) \
    do { \
        IPR__FETCH((p) + 4 * (H), write); \
        IPR__FETCH((p) + 5 * (H), write); \
        IPR__FETCH((p) + 6 * (H), write); \
        IPR__FETCH((p) + 7 * (H), write); \
    } while (0)

#define IPR__STAMP_RNN(V, S, T) \
    /* the sum before a gate's activation: W x + W h + b of gate block q */ \
    IPR__INLINE T V##_t V##_gate_sum(const ipr__rnn_step *s, ipr_index r, ipr_index j, ipr_index n) \
    { \
        const V##_t x = V##_ld(s->xg + r * s->ld_xg + j, n), h = V##_ld(s->hg + r * s->ld_hg + j, n); \
        return V##_add(V##_add(x, h), V##_ld(s->bias + j, n)); \
    } \
    /* y, gated h and the optional gate output of one vector */ \
    IPR__INLINE T void V##_state_out(const ipr__rnn_step *s, ipr_index r, ipr_index j, V##_t h, V##_t gate, \
                                     ipr_index n) \
    { \
        const ipr_index at = r * s->hidden + j; \
        if (s->y) V##_st(s->y + at, h, n); \
        if (s->gate_out) V##_st(s->gate_out + at, gate, n); \
        V##_st(s->h + at, s->gk ? V##_mul(h, V##_ld(s->gk + j, n)) : h, n); \
    } \
    IPR__INLINE T V##_t V##_prev(const ipr_real *p, ipr_index at, const ipr_real *gate, ipr_index j, ipr_index n) \
    { \
        const V##_t v = V##_ld(p + at, n); \
        return gate ? V##_mul(v, V##_ld(gate + j, n)) : v; \
    } \
    IPR__INLINE T void V##_lstm_fwd_n(const ipr__rnn_step *s, ipr_index r, ipr_index j, ipr_index n) \
    { \
        const ipr_index H = s->hidden; \
        const V##_t i = V##_sigmoid(V##_gate_sum(s, r, j, n)); \
        const V##_t f = V##_sigmoid(V##_gate_sum(s, r, j + H, n)); \
        const V##_t g = V##_tanh(V##_gate_sum(s, r, j + 2 * H, n)); \
        const V##_t o = V##_sigmoid(V##_gate_sum(s, r, j + 3 * H, n)); \
        const V##_t c = V##_fma(f, V##_prev(s->c_prev, r * s->ld_prev + j, s->c_gate, j, n), V##_mul(i, g)); \
        V##_st(s->c + r * H + j, c, n); \
        if (s->gates) { \
            ipr_real *a = s->gates + 4 * r * H + j; \
            IPR__FETCH4(a, H, 1); \
            V##_st(a, i, n); \
            V##_st(a + H, f, n); \
            V##_st(a + 2 * H, g, n); \
            V##_st(a + 3 * H, o, n); \
        } \
        V##_state_out(s, r, j, V##_mul(o, V##_tanh(c)), f, n); \
    } \
    /* xg [n r z], hg [r z n], bias and gates [n r z nh] */ \
    IPR__INLINE T void V##_gru_fwd_n(const ipr__rnn_step *s, ipr_index r, ipr_index j, ipr_index n) \
    { \
        const ipr_index H = s->hidden; \
        const ipr_real *x = s->xg + r * s->ld_xg + j, *h = s->hg + r * s->ld_hg + j, *b = s->bias + j; \
        const V##_t rt = V##_sigmoid(V##_add(V##_add(V##_ld(x + H, n), V##_ld(h, n)), V##_ld(b + H, n))); \
        const V##_t z = V##_sigmoid(V##_add(V##_add(V##_ld(x + 2 * H, n), V##_ld(h + H, n)), V##_ld(b + 2 * H, n))); \
        const V##_t nh = V##_add(V##_ld(h + 2 * H, n), V##_ld(b + 3 * H, n)); \
        const V##_t nt = V##_tanh(V##_fma(rt, nh, V##_add(V##_ld(x, n), V##_ld(b, n)))); \
        const V##_t hp = V##_ld(s->h_prev + r * s->ld_prev + j, n); \
        if (s->gates) { \
            ipr_real *a = s->gates + 4 * r * H + j; \
            IPR__FETCH4(a, H, 1); \
            V##_st(a, nt, n); \
            V##_st(a + H, rt, n); \
            V##_st(a + 2 * H, z, n); \
            V##_st(a + 3 * H, nh, n); \
        } \
        V##_state_out(s, r, j, V##_fma(z, V##_sub(hp, nt), nt), rt, n); \
    } \
    /* Gradient of the ungated h: through the gate, plus y's. dgk collects what the gate row gets. */ \
    IPR__INLINE T V##_t V##_dh_in(const ipr__rnn_back *s, ipr_index at, ipr_index j, V##_t dh, ipr_index n) \
    { \
        const V##_t g = s->gk ? V##_mul(dh, V##_ld(s->gk + j, n)) : dh; \
        return s->dy ? V##_add(g, V##_ld(s->dy + at, n)) : g; \
    } \
    /* a (1 - a) d: through a sigmoid */ \
    IPR__INLINE T V##_t V##_dsigmoid(V##_t a, V##_t d) { return V##_mul(V##_mul(a, V##_sub(V##_set(1), a)), d); } \
    /* (1 - a^2) d: through a tanh */ \
    IPR__INLINE T V##_t V##_dtanh_(V##_t a, V##_t d) { return V##_mul(V##_fnma(a, a, V##_set(1)), d); } \
    IPR__INLINE T void V##_lstm_bwd_n(const ipr__rnn_back *s, ipr_index r, ipr_index j, ipr_index n) \
    { \
        const ipr_index H = s->hidden, at = r * H + j; \
        const ipr_real *a = s->gates + 4 * r * H + j; \
        ipr_real *d = s->dg + 4 * r * H + j; \
        const V##_t i = V##_ld(a, n), f = V##_ld(a + H, n), g = V##_ld(a + 2 * H, n), o = V##_ld(a + 3 * H, n); \
        const V##_t c = V##_ld(s->c + at, n), tc = V##_tanh(c); \
        const V##_t cp = V##_prev(s->c_prev, r * s->ld_prev + j, s->c_gate, j, n); \
        const V##_t dhs = V##_ld(s->dh + at, n), dcs = V##_ld(s->dc + at, n), dh = V##_dh_in(s, at, j, dhs, n); \
        const V##_t dcu = s->gk ? V##_mul(dcs, V##_ld(s->gk + j, n)) : dcs; \
        const V##_t dc = V##_fma(V##_mul(dh, o), V##_fnma(tc, tc, V##_set(1)), dcu); \
        V##_t df = V##_mul(dc, cp); \
        IPR__FETCH4(a, H, 0); \
        IPR__FETCH(s->c + at + H, 0); \
        if (s->dgate_out) df = V##_add(df, V##_ld(s->dgate_out + at, n)); \
        if (s->dgk) V##_st(s->dgk + j, V##_fma(dcs, c, V##_fma(dhs, V##_mul(o, tc), V##_ld(s->dgk + j, n))), n); \
        V##_st(d, V##_dsigmoid(i, V##_mul(dc, g)), n); \
        V##_st(d + H, V##_dsigmoid(f, df), n); \
        V##_st(d + 2 * H, V##_dtanh_(g, V##_mul(dc, i)), n); \
        V##_st(d + 3 * H, V##_dsigmoid(o, V##_mul(dh, tc)), n); \
        V##_st(s->dc + at, V##_mul(dc, f), n); \
    } \
    IPR__INLINE T void V##_gru_bwd_n(const ipr__rnn_back *s, ipr_index r, ipr_index j, ipr_index n) \
    { \
        const ipr_index H = s->hidden, at = r * H + j; \
        const ipr_real *a = s->gates + 4 * r * H + j; \
        ipr_real *d = s->dg + 4 * r * H + j; \
        const V##_t nt = V##_ld(a, n), rt = V##_ld(a + H, n), z = V##_ld(a + 2 * H, n), nh = V##_ld(a + 3 * H, n); \
        const V##_t hp = V##_ld(s->h_prev + r * s->ld_prev + j, n), back = V##_sub(hp, nt); \
        const V##_t dhs = V##_ld(s->dh + at, n), dh = V##_dh_in(s, at, j, dhs, n); \
        const V##_t dn = V##_dtanh_(nt, V##_fnma(z, dh, dh)); \
        V##_t dr = V##_mul(dn, nh); \
        IPR__FETCH4(a, H, 0); \
        if (s->dgate_out) dr = V##_add(dr, V##_ld(s->dgate_out + at, n)); \
        if (s->dgk) V##_st(s->dgk + j, V##_fma(dhs, V##_fma(z, back, nt), V##_ld(s->dgk + j, n)), n); \
        V##_st(d, dn, n); \
        V##_st(d + H, V##_dsigmoid(rt, dr), n); \
        V##_st(d + 2 * H, V##_dsigmoid(z, V##_mul(dh, back)), n); \
        V##_st(d + 3 * H, V##_mul(dn, rt), n); \
        V##_st(s->dh + at, V##_mul(dh, z), n); \
    } \
    IPR__STAMP_RNN_ROWS(V, S, T, lstm_fwd, ipr__rnn_step) \
    IPR__STAMP_RNN_ROWS(V, S, T, lstm_bwd, ipr__rnn_back) \
    IPR__STAMP_RNN_ROWS(V, S, T, gru_fwd, ipr__rnn_step) \
    IPR__STAMP_RNN_ROWS(V, S, T, gru_bwd, ipr__rnn_back)

/* The local copy tells the compiler that stores do not change the description. */
#define IPR__STAMP_RNN_ROWS(V, S, T, name, type) \
    IPR__FN T void ipr__##name##_##S(const type *step) \
    { \
        const type s = *step; \
        ipr_index r, j; \
        for (r = 0; r < s.rows; r++) { \
            for (j = 0; j < s.hidden; j += V##_W) V##_##name##_n(&s, r, j, IPR__MIN((ipr_index)V##_W, s.hidden - j)); \
        } \
    }

IPR__STAMP_RNN(ipr__port, portable, IPR__NO_TGT)
#if IPR__NEON
IPR__STAMP_RNN(ipr__neon, neon, IPR__NO_TGT)
#endif
#if IPR__X86
IPR__STAMP_RNN(ipr__avx2, avx2, IPR__TGT_AVX2)
IPR__STAMP_RNN(ipr__avx512, avx512, IPR__TGT_AVX512)
#endif

/* ---- the sequence ---- */

/* A right-hand matrix, packed when enough rows will use it. */
typedef struct ipr__mat {
    const ipr_real *b;
    ipr_index k, n, rb, cb;
    void *packed;
} ipr__mat;

/* A whole recurrent call. Rows of x: T x Bx. Rows of states: T x B, B = Bx, or 2 Bx when dual: rows b and
   b + Bx then read the same x. Pointers may be NULL as noted. */
typedef struct ipr__rnn {
    int gru, dual, keep; /* keep: history for backward */
    ipr_index T, Bx, B, I, H;
    ipr_index gate_from, Tk; /* rows >= gate_from are gated at steps < Tk */
    const ipr_real *x, *w_ih, *w_hh;
    const ipr_real *h0, *c0, *b_ih, *b_hh, *gk; /* NULL: zeros; gk NULL: no gate */
    ipr_real *h_n, *c_n;                        /* out [B,H]; c_n: LSTM */
    ipr_real *y, *gate_out;                     /* out [T,B,H] or NULL */
    /* filled by ipr__rnn_forward, in the step arena */
    ipr_real *gates;            /* kept: [T,B,4H], LSTM [i f g o], GRU [n r z nh] */
    ipr_real *hs, *cs;          /* states [T,B,H]: h after the gate, c before it; or one [B,H] */
    int hs_all, cs_all;         /* 1: of every step */
    ipr_real *zeros;            /* [4H] */
    /* Rows of different lengths, filled by ipr__rnn_order: longest row first, and of every step only the rows that
       still run, so the T steps have off[T] rows of x instead of T Bx. All NULL: every row runs T steps. */
    int reverse;           /* step s of a row of length n is the caller's step n - 1 - s */
    ipr_index full;        /* the caller's T */
    const ipr_index *off;  /* [T+1] rows of x before step t */
    const ipr_index *len;  /* [Bx] steps of each row */
    const ipr_index *perm; /* [Bx] the caller's row */
} ipr__rnn;

/* Gradients to add to, each NULL when nobody wants it, and those that arrive (NULL: none). */
typedef struct ipr__rnn_grads {
    ipr_real *x, *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh, *gk;
    const ipr_real *y, *h_n, *c_n, *gate_out;
} ipr__rnn_grads;

IPR__FN ipr_index ipr__rnn_gates(const ipr__rnn *r) { return (r->gru ? 3 : 4) * r->H; }
IPR__FN int ipr__rnn_gated(const ipr__rnn *r) { return r->gk && r->gate_from < r->B && r->Tk > 0; }
IPR__FN int ipr__rnn_halves(const ipr__rnn *r) { return r->dual ? 2 : 1; }

/* Rows of x before step t, and in it. A step's states are its rows of the first half, then of the second. */
IPR__FN ipr_index ipr__rnn_off(const ipr__rnn *r, ipr_index t) { return r->off ? r->off[t] : t * r->Bx; }
IPR__FN ipr_index ipr__rnn_rows(const ipr__rnn *r, ipr_index t)
{
    return r->off ? r->off[t + 1] - r->off[t] : r->Bx;
}
/* The row of step t in arrays of all steps' states. */
IPR__FN ipr_index ipr__rnn_at(const ipr__rnn *r, ipr_index t, int half, ipr_index row)
{
    return ipr__rnn_off(r, t) * ipr__rnn_halves(r) + half * ipr__rnn_rows(r, t) + row;
}
/* The row of step t in arrays of states that have every step or only the last. */
IPR__FN ipr_index ipr__rnn_state(const ipr__rnn *r, int all, ipr_index t, int half, ipr_index row)
{
    return all ? ipr__rnn_at(r, t, half, row) : half * r->Bx + row;
}

/* The gate row of step t, NULL where nothing is gated. */
IPR__FN const ipr_real *ipr__rnn_gk(const ipr__rnn *r, ipr_index t, int gated)
{
    return gated && t >= 0 && t < r->Tk ? r->gk + t * r->H : NULL;
}

/* Reals from the step arena; NULL with the context's error set. */
IPR__FN ipr_real *ipr__rnn_reals(ipr_ctx *c, ipr_index a, ipr_index b, ipr_index d)
{
    size_t n;
    int fits = ipr__mul((size_t)a, (size_t)b, &n);
    fits = fits && ipr__mul(n, (size_t)d, &n) && ipr__mul(n, sizeof(ipr_real), &n);
    if (!fits) n = (size_t)-1;
    return (ipr_real *)ipr__arena_get(&c->step, n);
}

/* Packs B for products of `rows` rows in all; few rows read it where it lies. 0: no memory. */
IPR__FN int ipr__mat_make(ipr_ctx *c, ipr__mat *m, ipr_index rows, const ipr_real *b, ipr_index k, ipr_index n,
                          ipr_index rb, ipr_index cb)
{
    m->b = b;
    m->k = k;
    m->n = n;
    m->rb = rb;
    m->cb = cb;
    m->packed = NULL;
    if (rows < 16) return 1;
    m->packed = ipr__arena_get(&c->step, c->kern->pack_b_bytes(k, n));
    if (!m->packed) return 0;
    c->kern->pack_b(k, n, b, rb, cb, m->packed);
    return 1;
}

IPR__FN void ipr__mat_mul(const ipr__kern *k, const ipr__mat *m, ipr_index rows, const ipr_real *a, ipr_index lda,
                          int acc, ipr_real *out, ipr_index ldo, void *ws)
{
    if (m->packed) k->gemm_pb(rows, m->n, m->k, a, lda, 1, m->packed, acc, out, ldo, ws);
    else k->gemm(rows, m->n, m->k, a, lda, 1, m->b, m->rb, m->cb, acc, out, ldo, ws);
}

/* Rows are dealt to workers in groups, so that sums over a group are the same for any number of workers. */
IPR__FN ipr_index ipr__rnn_group(const ipr__rnn *r) { return r->Bx < 16 ? 1 : r->Bx < 64 ? 4 : 8; }
IPR__FN ipr_index ipr__rnn_groups(const ipr__rnn *r) { return (r->Bx + ipr__rnn_group(r) - 1) / ipr__rnn_group(r); }
IPR__FN int ipr__rnn_slices(ipr_ctx *c, const ipr__rnn *r)
{
    return (int)IPR__MIN((ipr_index)ipr_threads(c), ipr__rnn_groups(r));
}
/* The first row of a slice: slices are equal shares of the groups, or of their steps when rows end early. */
IPR__FN ipr_index ipr__rnn_cut(const ipr__rnn *r, int slice, int slices)
{
    const ipr_index g = ipr__rnn_group(r), want = r->off ? r->off[r->T] * slice / slices : 0;
    ipr_index row, i, sum = 0;
    if (!r->off || slice == slices) return IPR__MIN(r->Bx, ipr__rnn_groups(r) * slice / slices * g);
    for (row = 0; row < r->Bx && sum < want; row += g)
        for (i = row; i < r->Bx && i < row + g; i++) sum += r->len[i];
    return IPR__MIN(r->Bx, row);
}

/* Rows of one worker: [lo, hi) of Bx, in both halves when dual. */
typedef struct ipr__rnn_slice {
    ipr_index lo, hi;
} ipr__rnn_slice;

IPR__FN ipr__rnn_slice ipr__rnn_slice_of(const ipr__rnn *r, int slice, int slices)
{
    ipr__rnn_slice s;
    s.lo = ipr__rnn_cut(r, slice, slices);
    s.hi = ipr__rnn_cut(r, slice + 1, slices);
    return s;
}

/* Product of n rows in each half: out (+)= a M. a_half, out_half: rows from a half to the next. */
IPR__FN void ipr__rnn_product(const ipr__rnn *r, ipr_index n, const ipr__kern *k, const ipr__mat *m, const ipr_real *a,
                              ipr_index lda, ipr_index a_half, int acc, ipr_real *out, ipr_index ldo,
                              ipr_index out_half, void *ws)
{
    if (r->dual && n == a_half && n == out_half) ipr__mat_mul(k, m, 2 * n, a, lda, acc, out, ldo, ws);
    else {
        ipr__mat_mul(k, m, n, a, lda, acc, out, ldo, ws);
        if (r->dual) ipr__mat_mul(k, m, n, a + a_half * lda, lda, acc, out + out_half * ldo, ldo, ws);
    }
}

IPR__FN int ipr__rnn_gated_row(const ipr__rnn *r, int half, ipr_index row)
{
    return ipr__rnn_gated(r) && half * r->Bx + (r->perm ? r->perm[row] : row) >= r->gate_from;
}

/* The next run of rows from `row` that are alike: all gated or none. Returns its end, at most hi. */
IPR__FN ipr_index ipr__rnn_alike(const ipr__rnn *r, int half, ipr_index row, ipr_index hi)
{
    const int gated = ipr__rnn_gated_row(r, half, row);
    if (!ipr__rnn_gated(r)) return hi;
    for (row++; row < hi && ipr__rnn_gated_row(r, half, row) == gated; row++) {}
    return row;
}

/* ---- forward ---- */

enum { IPR__RNN_TILE = 64 }; /* rows whose W_hh h is worked on at a time */

typedef struct ipr__rnn_fwd {
    const ipr__rnn *r;
    const ipr__kern *k;
    ipr_ctx *c;
    ipr__mat in[2], rec; /* GRU: in[0] the n gate, in[1] r and z */
    ipr_index t0, t1;    /* chunk of steps */
    ipr_real *xg;        /* W_ih x of the chunk, LSTM [i f g o], GRU [n r z] */
    size_t hg_bytes;     /* front of a worker's scratch: W_hh h of one step of a tile of rows */
    ipr_real *bias;      /* [4H] in the order of gates */
    int slices;
} ipr__rnn_fwd;

/* W_ih x for one share of the chunk's rows. */
IPR__FN void ipr__rnn_project(void *arg, int item, int worker)
{
    const ipr__rnn_fwd *f = (const ipr__rnn_fwd *)arg;
    const ipr__rnn *r = f->r;
    const ipr_index G = ipr__rnn_gates(r), first = ipr__rnn_off(r, f->t0), rows = ipr__rnn_off(r, f->t1) - first;
    const ipr_index lo = rows * item / f->slices, n = rows * (item + 1) / f->slices - lo;
    const ipr_real *x = r->x + (first + lo) * r->I;
    void *ws = ipr__ws(f->c, worker);
    ipr__mat_mul(f->k, &f->in[0], n, x, r->I, 0, f->xg + lo * G, G, ws);
    if (r->gru) ipr__mat_mul(f->k, &f->in[1], n, x, r->I, 0, f->xg + lo * G + r->H, G, ws);
}

/* One step of one run of rows. */
IPR__FN void ipr__rnn_fwd_run(const ipr__rnn_fwd *f, ipr_index t, int half, ipr_index row, ipr_index end,
                              const ipr_real *hg)
{
    const ipr__rnn *r = f->r;
    const int gated = ipr__rnn_gated_row(r, half, row), all = r->gru ? r->hs_all : r->cs_all;
    const ipr_index H = r->H, at = ipr__rnn_at(r, t, half, row) * H, G = ipr__rnn_gates(r);
    const ipr_real *h_prev = t ? r->hs : r->h0, *c_prev = r->gru ? NULL : t ? r->cs : r->c0;
    const ipr_real *prev = r->gru ? h_prev : c_prev;
    ipr__rnn_step s;
    s.rows = end - row;
    s.hidden = H;
    s.xg = f->xg + (ipr__rnn_off(r, t) - ipr__rnn_off(r, f->t0) + row) * G;
    s.hg = h_prev ? hg : r->zeros;
    s.ld_xg = G;
    s.ld_hg = h_prev ? G : 0;
    s.bias = f->bias;
    s.gates = r->keep ? r->gates + 4 * at : NULL;
    s.c_prev = s.h_prev = prev ? prev + ipr__rnn_state(r, t && all, t - 1, half, row) * H : r->zeros;
    s.ld_prev = prev ? H : 0;
    s.c_gate = ipr__rnn_gk(r, t - 1, gated);
    s.gk = ipr__rnn_gk(r, t, gated);
    s.c = r->gru ? NULL : r->cs + ipr__rnn_state(r, r->cs_all, t, half, row) * H;
    s.h = r->hs + ipr__rnn_state(r, r->hs_all, t, half, row) * H;
    s.y = r->y && r->y != r->hs ? r->y + at : NULL;
    s.gate_out = r->gate_out ? r->gate_out + at : NULL;
    if (r->gru) f->k->gru_fwd(&s);
    else f->k->lstm_fwd(&s);
}

/* One step of a tile of rows. */
IPR__FN void ipr__rnn_fwd_tile(const ipr__rnn_fwd *f, const ipr__rnn_slice *s, ipr_index t, char *ws)
{
    const ipr__rnn *r = f->r;
    const ipr_real *h = t ? r->hs : r->h0;
    const ipr_index G = ipr__rnn_gates(r), n = s->hi - s->lo, before = t && r->hs_all ? ipr__rnn_rows(r, t - 1) : r->Bx;
    ipr_real *hg = (ipr_real *)(void *)ws;
    ipr_index row, end;
    int half;
    if (h)
        ipr__rnn_product(r, n, f->k, &f->rec, h + ipr__rnn_state(r, t && r->hs_all, t - 1, 0, s->lo) * r->H, r->H,
                         before, 0, hg, G, n, ws + f->hg_bytes);
    for (half = 0; half < ipr__rnn_halves(r); half++)
        for (row = s->lo; row < s->hi; row = end) {
            end = ipr__rnn_alike(r, half, row, s->hi);
            ipr__rnn_fwd_run(f, t, half, row, end, hg);
            hg += (end - row) * G;
        }
}

/* The chunk's steps for one slice of rows, in tiles whose sums stay in the cache. */
IPR__FN void ipr__rnn_steps(void *arg, int item, int worker)
{
    const ipr__rnn_fwd *f = (const ipr__rnn_fwd *)arg;
    const ipr__rnn *r = f->r;
    const ipr__rnn_slice s = ipr__rnn_slice_of(r, item, f->slices);
    ipr_index t;
    for (t = f->t0; t < f->t1; t++) {
        const ipr_index end = IPR__MIN(s.hi, ipr__rnn_rows(r, t));
        ipr__rnn_slice tile = s;
        for (tile.lo = s.lo; tile.lo < end; tile.lo = tile.hi) {
            tile.hi = IPR__MIN(tile.lo + IPR__RNN_TILE, end);
            ipr__rnn_fwd_tile(f, &tile, t, ipr__ws(f->c, worker));
        }
    }
}

/* bias in the order of gates: LSTM b_ih + b_hh; GRU n, r, z with the sum for r and z, then b_hn */
IPR__FN void ipr__rnn_bias(const ipr__rnn *r, ipr_real *bias)
{
    const ipr_index H = r->H, G = ipr__rnn_gates(r);
    ipr_index j, to;
    ipr__zero(bias, (size_t)(4 * H) * sizeof *bias);
    for (j = 0; j < G; j++) {
        to = !r->gru ? j : j < 2 * H ? j + H : j - 2 * H;
        if (r->b_ih) bias[to] = (ipr_real)(bias[to] + r->b_ih[j]);
        if (r->gru && j >= 2 * H) to += 3 * H;
        if (r->b_hh) bias[to] = (ipr_real)(bias[to] + r->b_hh[j]);
    }
}

/* Memory of a call. Without history the states live in y or in h_n and c_n. */
IPR__FN int ipr__rnn_memory(ipr_ctx *c, ipr__rnn *r)
{
    const ipr_index H = r->H, rows = ipr__rnn_off(r, r->T), halves = ipr__rnn_halves(r);
    r->gates = r->cs = NULL;
    r->hs_all = 1;
    r->cs_all = r->keep;
    if (r->y && !ipr__rnn_gated(r)) r->hs = r->y;
    else if (r->keep) r->hs = ipr__rnn_reals(c, rows, halves, H);
    else {
        r->hs = r->h_n;
        r->hs_all = 0;
    }
    if (!r->gru) r->cs = r->keep ? ipr__rnn_reals(c, rows, halves, H) : r->c_n;
    if (r->keep) r->gates = ipr__rnn_reals(c, rows, halves, 4 * H);
    r->zeros = ipr__rnn_reals(c, 4, H, 1);
    if (!r->hs || !r->zeros || (!r->gru && !r->cs) || (r->keep && !r->gates)) return 0;
    ipr__zero(r->zeros, (size_t)(4 * H) * sizeof *r->zeros);
    return 1;
}

/* Last states to h_n and c_n. */
IPR__FN void ipr__rnn_last(const ipr__rnn *r)
{
    const ipr_index H = r->H;
    ipr_index row, j;
    int half;
    for (half = 0; half < ipr__rnn_halves(r); half++)
        for (row = 0; row < r->Bx; row++) {
            const ipr_index t = (r->len ? r->len[row] : r->T) - 1, to = (half * r->Bx + row) * H;
            const ipr_real *g = ipr__rnn_gk(r, t, ipr__rnn_gated_row(r, half, row));
            const ipr_real *c = r->cs ? r->cs + ipr__rnn_state(r, r->cs_all, t, half, row) * H : NULL;
            if (r->hs != r->h_n)
                ipr__copy(r->h_n + to, r->hs + ipr__rnn_state(r, r->hs_all, t, half, row) * H,
                          (size_t)H * sizeof(ipr_real));
            for (j = 0; c && j < H; j++) r->c_n[to + j] = g ? (ipr_real)(c[j] * g[j]) : c[j];
        }
}

/* Steps worked on at a time, of step_rows each: equal chunks of about `rows`, enough for an efficient product
   and few enough to stay in the cache. */
IPR__FN ipr_index ipr__rnn_chunk(const ipr__rnn *r, ipr_index step_rows, ipr_index rows)
{
    const ipr_index all = ipr__rnn_off(r, r->T) * (step_rows / r->Bx), chunks = IPR__MIN(r->T, IPR__MAX(1, all / rows));
    return (r->T + chunks - 1) / chunks;
}

IPR__FN int ipr__rnn_fwd_mats(ipr_ctx *c, ipr__rnn_fwd *f)
{
    const ipr__rnn *r = f->r;
    const ipr_index H = r->H, I = r->I, rows = ipr__rnn_off(r, r->T);
    int ok = ipr__mat_make(c, &f->rec, rows * ipr__rnn_halves(r), r->w_hh, H, ipr__rnn_gates(r), 1, H);
    if (!r->gru) return ok && ipr__mat_make(c, &f->in[0], rows, r->w_ih, I, 4 * H, 1, I);
    return ok && ipr__mat_make(c, &f->in[0], rows, r->w_ih + 2 * H * I, I, H, 1, I) &&
           ipr__mat_make(c, &f->in[1], rows, r->w_ih, I, 2 * H, 1, I);
}

IPR__FN int ipr__rnn_forward_rows(ipr_ctx *c, ipr__rnn *r)
{
    const ipr_index G = ipr__rnn_gates(r), tile = IPR__MIN(r->Bx, (ipr_index)IPR__RNN_TILE) * (r->dual ? 2 : 1);
    ipr__rnn_fwd f;
    ipr_index chunk;
    unsigned mode;
    f.r = r;
    f.c = c;
    f.k = c->kern;
    f.slices = ipr__rnn_slices(c, r);
    chunk = ipr__rnn_chunk(r, r->Bx, 128 * f.slices);
    f.xg = ipr__rnn_reals(c, chunk, r->Bx, G);
    f.hg_bytes = IPR__ROUND64((size_t)(tile * G) * sizeof(ipr_real));
    f.bias = ipr__rnn_reals(c, 4, r->H, 1);
    if (!f.xg || !f.bias || !ipr__rnn_memory(c, r) || !ipr__rnn_fwd_mats(c, &f)) return 0;
    if (!ipr__scratch(c, f.hg_bytes + c->kern->gemm_ws(chunk * r->B, G, IPR__MAX(r->I, r->H)))) return 0;
    mode = ipr__ftz(c);
    ipr__rnn_bias(r, f.bias);
    for (f.t0 = 0; f.t0 < r->T; f.t0 = f.t1) {
        f.t1 = IPR__MIN(r->T, f.t0 + chunk);
        ipr__par(c, f.slices, ipr__rnn_project, &f);
        ipr__par(c, f.slices, ipr__rnn_steps, &f);
    }
    ipr__rnn_last(r);
    ipr__ftz_end(mode);
    return 1;
}

/* ---- backward ---- */

typedef struct ipr__rnn_bwd {
    const ipr__rnn *r;
    const ipr__rnn_grads *g;
    const ipr__kern *k;
    ipr_ctx *c;
    ipr__mat in[2], rec; /* of W_ih for dx (GRU: [0] the n gate, [1] r and z), of W_hh for dh */
    ipr_index t0, t1;    /* chunk of steps */
    ipr_real *dg;        /* gradients of the gates' sums in the chunk [steps,B,4H], rows as r->gates */
    ipr_real *dgx;       /* of rows of x [steps,Bx,4H]: dg itself, or the halves' sum when dual */
    ipr_real *dh, *dc;   /* gradients of the gated states [B,H] */
    ipr_real *dbias;     /* [4H] */
    ipr_real *dgk;       /* by step and group of rows [min(T,Tk), groups, H], or NULL */
    ipr_real *before;    /* rows of different lengths: the states before each of the chunk's rows [steps,B,H] */
    ipr_index groups;
    int slices;
} ipr__rnn_bwd;

/* One step of one run of rows. */
IPR__FN void ipr__rnn_bwd_run(const ipr__rnn_bwd *b, ipr_index t, int half, ipr_index row, ipr_index end)
{
    const ipr__rnn *r = b->r;
    const int gated = ipr__rnn_gated_row(r, half, row);
    const ipr_index H = r->H, at = ipr__rnn_at(r, t, half, row) * H, state = (half * r->Bx + row) * H;
    const ipr_real *h_prev = t ? r->hs : r->h0, *c_prev = r->gru ? NULL : t ? r->cs : r->c0;
    const ipr_real *prev = r->gru ? h_prev : c_prev;
    ipr__rnn_back s;
    s.rows = end - row;
    s.hidden = H;
    s.gates = r->gates + 4 * at;
    s.dg = b->dg + 4 * (at - ipr__rnn_at(r, b->t0, 0, 0) * H);
    s.c = r->gru ? NULL : r->cs + at;
    s.c_prev = s.h_prev = prev ? prev + ipr__rnn_state(r, t > 0, t - 1, half, row) * H : r->zeros;
    s.ld_prev = prev ? H : 0;
    s.c_gate = ipr__rnn_gk(r, t - 1, gated);
    s.gk = ipr__rnn_gk(r, t, gated);
    s.dy = b->g->y ? b->g->y + at : NULL;
    s.dgate_out = b->g->gate_out ? b->g->gate_out + at : NULL;
    s.dh = b->dh + state;
    s.dc = b->dc + state;
    s.dgk = NULL;
    if (b->dgk && s.gk)
        s.dgk = b->dgk + (t * b->groups + half * ipr__rnn_groups(r) + row / ipr__rnn_group(r)) * H;
    if (r->gru) b->k->gru_bwd(&s);
    else b->k->lstm_bwd(&s);
}

/* Dual: both halves of a row used the same W_ih x, so their gradients there are summed. */
IPR__FN void ipr__rnn_join(const ipr__rnn_bwd *b, const ipr__rnn_slice *s, ipr_index t)
{
    const ipr_index n = 4 * b->r->H, half = ipr__rnn_rows(b->r, t) * n;
    const ipr_index step = (ipr__rnn_off(b->r, t) - ipr__rnn_off(b->r, b->t0)) * n, at = step + s->lo * n;
    const ipr_real *d = b->dg + step + at;
    b->k->add((s->hi - s->lo) * n, d, d + half, b->dgx + at);
}

/* Gradients that fade over a long sequence end as subnormal numbers, on which a CPU multiplies many times slower. A row
   whose every state gradient is below 2^-100 (double: 2^-1000) goes on with zeros; NaN stays. */
IPR__FN void ipr__rnn_fade(const ipr__rnn_bwd *b, ipr_index row)
{
    const ipr_real limit = IPR__R(IPR_REAL_IS_DOUBLE ? 9.332636185032189e-302 : 7.888609052210118e-31);
    const ipr_index H = b->r->H;
    ipr_real *dh = b->dh + row * H, *dc = b->dc + row * H;
    ipr_index j;
    for (j = 0; j < H; j++)
        if (!(dh[j] < limit && dh[j] > -limit && dc[j] < limit && dc[j] > -limit)) return;
    ipr__zero(dh, (size_t)H * sizeof *dh);
    ipr__zero(dc, (size_t)H * sizeof *dc);
}

/* One step for some rows. */
IPR__FN void ipr__rnn_back_rows(const ipr__rnn_bwd *b, const ipr__rnn_slice *s, ipr_index t)
{
    const ipr__rnn *r = b->r;
    ipr_index row, end;
    int half;
    for (half = 0; half < ipr__rnn_halves(r); half++) {
        for (row = s->lo; row < s->hi; row++) ipr__rnn_fade(b, half * r->Bx + row);
        for (row = s->lo; row < s->hi; row = end) {
            end = ipr__rnn_alike(r, half, row, s->hi);
            ipr__rnn_bwd_run(b, t, half, row, end);
        }
    }
    if (r->dual) ipr__rnn_join(b, s, t);
}

/* Rows of different lengths: the states before step t beside the step's gradients, for one product over the chunk. */
IPR__FN void ipr__rnn_before(const ipr__rnn_bwd *b, ipr_index t, ipr_index lo, ipr_index n)
{
    const ipr__rnn *r = b->r;
    const ipr_index H = r->H;
    int half;
    for (half = 0; half < ipr__rnn_halves(r); half++)
        ipr__copy(b->before + (ipr__rnn_at(r, t, half, lo) - ipr__rnn_at(r, b->t0, 0, 0)) * H,
                  r->hs + ipr__rnn_at(r, t - 1, half, lo) * H, (size_t)(n * H) * sizeof(ipr_real));
}

/* The chunk's steps for one slice of rows, last step first. Group by group where sums over groups or halves
   are taken, while they are in the nearest cache. */
IPR__FN void ipr__rnn_back_steps(void *arg, int item, int worker)
{
    const ipr__rnn_bwd *b = (const ipr__rnn_bwd *)arg;
    const ipr__rnn *r = b->r;
    const ipr__rnn_slice s = ipr__rnn_slice_of(r, item, b->slices);
    const ipr_index step = b->dgk || r->dual ? ipr__rnn_group(r) : r->Bx;
    ipr_index t;
    for (t = b->t1 - 1; t >= b->t0; t--) {
        const ipr_index H = r->H, rows = ipr__rnn_rows(r, t), end = IPR__MIN(s.hi, rows);
        const ipr_real *dg =
            b->dg + 4 * H * (ipr__rnn_at(r, t, 0, s.lo) - ipr__rnn_at(r, b->t0, 0, 0)) + (r->gru ? H : 0);
        ipr__rnn_slice part = s;
        if (end <= s.lo) continue;
        for (part.lo = s.lo; part.lo < end; part.lo = part.hi) {
            part.hi = IPR__MIN(part.lo + step, end);
            ipr__rnn_back_rows(b, &part, t);
        }
        if (t > 0 && b->before) ipr__rnn_before(b, t, s.lo, end - s.lo);
        if (t > 0 || b->g->h0)
            ipr__rnn_product(r, end - s.lo, b->k, &b->rec, dg, 4 * H, rows, r->gru, b->dh + s.lo * H, H, r->Bx,
                             ipr__ws(b->c, worker));
    }
}

/* dW += dG^T X over `rows` rows; this share's part of the m rows of dW. */
IPR__FN void ipr__rnn_dw(const ipr__rnn_bwd *b, int item, void *ws, ipr_index m, ipr_index n, ipr_index rows,
                         const ipr_real *dg, ipr_index ld, const ipr_real *x, ipr_real *dw)
{
    const ipr_index lo = m * item / b->slices, hi = m * (item + 1) / b->slices;
    if (hi > lo && rows > 0) b->k->gemm(hi - lo, n, rows, dg + lo, 1, ld, x, n, 1, 1, dw + lo * n, n, ws);
}

/* Input side: dW_ih and dx. */
IPR__FN void ipr__rnn_back_input(const ipr__rnn_bwd *b, int item, void *ws)
{
    const ipr__rnn *r = b->r;
    const ipr_index H = r->H, I = r->I, begin = ipr__rnn_off(r, b->t0), rows = ipr__rnn_off(r, b->t1) - begin;
    const ipr_index ld = 4 * H, lo = rows * item / b->slices, n = rows * (item + 1) / b->slices - lo;
    const ipr_real *x = r->x + begin * I, *dg = b->dgx + lo * ld;
    if (b->g->w_ih && r->gru) {
        ipr__rnn_dw(b, item, ws, 2 * H, I, rows, b->dgx + H, ld, x, b->g->w_ih);
        ipr__rnn_dw(b, item, ws, H, I, rows, b->dgx, ld, x, b->g->w_ih + 2 * H * I);
    } else if (b->g->w_ih) ipr__rnn_dw(b, item, ws, 4 * H, I, rows, b->dgx, ld, x, b->g->w_ih);
    if (b->g->x) {
        ipr_real *dx = b->g->x + (begin + lo) * I;
        ipr__mat_mul(b->k, &b->in[0], n, dg, ld, 1, dx, I, ws);
        if (r->gru) ipr__mat_mul(b->k, &b->in[1], n, dg + H, ld, 1, dx, I, ws);
    }
}

/* dW_hh: the state before step t is hs[t - 1], before step 0 it is h0. */
IPR__FN void ipr__rnn_back_recurrent(const ipr__rnn_bwd *b, int item, void *ws)
{
    const ipr__rnn *r = b->r;
    const ipr_index G = ipr__rnn_gates(r), ld = 4 * r->H, first = IPR__MIN(IPR__MAX(b->t0, 1), b->t1);
    const ipr_index at = ipr__rnn_at(r, b->t0, 0, 0), skip = ipr__rnn_off(r, first) * ipr__rnn_halves(r) - at;
    const ipr_index rows = ipr__rnn_off(r, b->t1) * ipr__rnn_halves(r) - at - skip;
    const ipr_real *dg = b->dg + (r->gru ? r->H : 0);
    if (!b->g->w_hh) return;
    if (rows > 0)
        ipr__rnn_dw(b, item, ws, G, r->H, rows, dg + skip * ld, ld,
                    b->before ? b->before + skip * r->H : r->hs + ipr__rnn_at(r, first - 1, 0, 0) * r->H, b->g->w_hh);
    if (b->t0 == 0 && r->h0) ipr__rnn_dw(b, item, ws, G, r->H, r->B, dg, ld, r->h0, b->g->w_hh);
}

/* Sums over the chunk's rows, shared out by rows of the weights and columns of the biases. */
IPR__FN void ipr__rnn_back_sums(void *arg, int item, int worker)
{
    const ipr__rnn_bwd *b = (const ipr__rnn_bwd *)arg;
    const ipr__rnn *r = b->r;
    const ipr_index n = 4 * r->H, lo = n * item / b->slices, hi = n * (item + 1) / b->slices;
    void *ws = ipr__ws(b->c, worker);
    ipr__rnn_back_recurrent(b, item, ws);
    ipr__rnn_back_input(b, item, ws);
    if (hi > lo && (b->g->b_ih || b->g->b_hh))
        b->k->col_sum((ipr__rnn_off(r, b->t1) - ipr__rnn_off(r, b->t0)) * ipr__rnn_halves(r), hi - lo, b->dg + lo, n, 1,
                      b->dbias + lo);
}

/* Column sums of the gate gradients to the biases; GRU: b_hn has a block of its own. */
IPR__FN void ipr__rnn_back_bias(const ipr__rnn_bwd *b)
{
    const ipr_index H = b->r->H, G = ipr__rnn_gates(b->r);
    const int gru = b->r->gru;
    ipr_index j, from;
    for (j = 0; j < G; j++) {
        from = !gru ? j : j < 2 * H ? j + H : j - 2 * H;
        if (b->g->b_ih) b->g->b_ih[j] = (ipr_real)(b->g->b_ih[j] + b->dbias[from]);
        if (gru && j >= 2 * H) from += 3 * H;
        if (b->g->b_hh) b->g->b_hh[j] = (ipr_real)(b->g->b_hh[j] + b->dbias[from]);
    }
}

/* n reals that start as `from`, or zero. NULL: no memory. */
IPR__FN ipr_real *ipr__rnn_start(ipr_ctx *c, const ipr_real *from, ipr_index n)
{
    ipr_real *d = ipr__rnn_reals(c, n, 1, 1);
    if (d && from) ipr__copy(d, from, (size_t)n * sizeof *d);
    else if (d) ipr__zero(d, (size_t)n * sizeof *d);
    return d;
}

IPR__FN int ipr__rnn_bwd_mats(ipr_ctx *c, ipr__rnn_bwd *b)
{
    const ipr__rnn *r = b->r;
    const ipr_index H = r->H, I = r->I, rows = ipr__rnn_off(r, r->T);
    int ok = ipr__mat_make(c, &b->rec, rows * ipr__rnn_halves(r), r->w_hh, ipr__rnn_gates(r), H, H, 1);
    if (!b->g->x) return ok;
    if (!r->gru) return ok && ipr__mat_make(c, &b->in[0], rows, r->w_ih, 4 * H, I, I, 1);
    return ok && ipr__mat_make(c, &b->in[0], rows, r->w_ih + 2 * H * I, H, I, I, 1) &&
           ipr__mat_make(c, &b->in[1], rows, r->w_ih, 2 * H, I, I, 1);
}

/* Memory of backward for chunks of so many steps; 0: none left. */
IPR__FN int ipr__rnn_bwd_memory(ipr_ctx *c, ipr__rnn_bwd *b, ipr_index chunk)
{
    const ipr__rnn *r = b->r;
    const ipr_index H = r->H, G = ipr__rnn_gates(r), n = r->B * H, gated = IPR__MIN(r->T, r->Tk);
    const ipr_index widest = IPR__MAX(r->I, G), longest = IPR__MAX(chunk * r->B, G);
    b->groups = ipr__rnn_groups(r) * ipr__rnn_halves(r);
    b->dh = ipr__rnn_start(c, b->g->h_n, n);
    b->dc = ipr__rnn_start(c, b->g->c_n, n);
    b->dbias = ipr__rnn_start(c, NULL, 4 * H);
    b->dg = b->dgx = ipr__rnn_reals(c, chunk, r->B, 4 * H);
    if (r->dual) b->dgx = ipr__rnn_reals(c, chunk, r->Bx, 4 * H);
    b->dgk = b->before = NULL;
    if (r->off && b->g->w_hh && !(b->before = ipr__rnn_reals(c, chunk, r->B, H))) return 0;
    if (b->g->gk && ipr__rnn_gated(r) && !(b->dgk = ipr__rnn_start(c, NULL, gated * b->groups * H))) return 0;
    return b->dh && b->dc && b->dbias && b->dg && b->dgx && ipr__rnn_bwd_mats(c, b) &&
           ipr__scratch(c, c->kern->gemm_ws(longest, widest, longest));
}

/* The chunks depend on shapes alone, for they are blocks of the sums. */
IPR__FN int ipr__rnn_backward_rows(ipr_ctx *c, const ipr__rnn *r, const ipr__rnn_grads *g)
{
    const ipr_index H = r->H, chunk = ipr__rnn_chunk(r, r->B, 256), gated = IPR__MIN(r->T, r->Tk);
    ipr__rnn_bwd b;
    ipr_index t;
    b.r = r;
    b.g = g;
    b.k = c->kern;
    b.c = c;
    b.slices = ipr__rnn_slices(c, r);
    if (!ipr__rnn_bwd_memory(c, &b, chunk)) return 0;
    for (b.t1 = r->T; b.t1 > 0; b.t1 = b.t0) {
        b.t0 = IPR__MAX(b.t1 - chunk, 0);
        ipr__par(c, b.slices, ipr__rnn_back_steps, &b);
        ipr__par(c, b.slices, ipr__rnn_back_sums, &b);
    }
    ipr__rnn_back_bias(&b);
    for (t = 0; b.dgk && t < gated; t++) b.k->col_sum(b.groups, H, b.dgk + t * b.groups * H, H, 1, g->gk + t * H);
    if (g->h0) b.k->add(r->B * H, b.dh, g->h0, g->h0);
    if (g->c0) b.k->add(r->B * H, b.dc, g->c0, g->c0);
    return 1;
}

/* ---- rows of different lengths, and from the last step to the first ----
   Rows are put in order of length and their steps one behind the other without gaps, in the order in which they are
   read; the work above is done on that; and results are put back. What a row gives is independent of its
   neighbours, and of a batch of one nothing but its own steps is ever seen: padding cannot change a bit. */

/* Fills off, len, perm and the longest T from the lengths (NULL: all of r->T). 0: no memory. */
IPR__FN int ipr__rnn_order(ipr_ctx *c, ipr__rnn *r, const int32_t *lengths)
{
    const ipr_index T = r->T, B = r->Bx;
    ipr_index *off = (ipr_index *)ipr__arena_get(&c->step, (size_t)(T + 2) * sizeof *off);
    ipr_index *next = (ipr_index *)ipr__arena_get(&c->step, (size_t)(T + 2) * sizeof *next);
    ipr_index *len = (ipr_index *)ipr__arena_get(&c->step, (size_t)B * sizeof *len);
    ipr_index *perm = (ipr_index *)ipr__arena_get(&c->step, (size_t)B * sizeof *perm);
    ipr_index t, b;
    if (!off || !next || !len || !perm) return 0;
    for (t = 0; t <= T; t++) next[t] = 0;
    for (b = 0; b < B; b++) next[lengths ? lengths[b] : T]++;
    for (t = T, b = 0; t >= 0; t--) { /* next[t]: rows that are longer than t */
        const ipr_index here = next[t];
        next[t] = b;
        b += here;
    }
    for (t = 0, off[0] = 0; t < T && next[t]; t++) off[t + 1] = off[t] + next[t];
    r->full = T;
    r->T = t;
    for (b = 0; b < B; b++) {
        t = lengths ? lengths[b] : T;
        perm[next[t]] = b;
        len[next[t]++] = t;
    }
    r->off = off;
    r->len = len;
    r->perm = perm;
    return 1;
}

enum { IPR__RNN_IN = 0, IPR__RNN_OUT = 1 };

/* Copies rows of `width` between the caller's array and ours. steps: [full, halves Bx] and in the order of r->off;
   turned: at their own step, else in order of work. Not steps: [halves Bx]. */
IPR__FN void ipr__rnn_move(const ipr__rnn *r, int way, ipr_real *theirs, ipr_real *ours, ipr_index width, int halves,
                           int steps, int turned)
{
    const size_t bytes = (size_t)width * sizeof(ipr_real);
    ipr_index t, row;
    int half;
    for (t = 0; t < (steps ? r->T : 1); t++)
        for (half = 0; half < halves; half++)
            for (row = 0; row < (steps ? ipr__rnn_rows(r, t) : r->Bx); row++) {
                const ipr_index step = !steps ? 0 : turned && r->reverse ? r->len[row] - 1 - t : t;
                ipr_real *a = theirs + ((step * halves + half) * r->Bx + r->perm[row]) * width;
                ipr_real *b = ours;
                ours += width;
                if (way == IPR__RNN_IN) ipr__copy(b, a, bytes);
                else ipr__copy(a, b, bytes);
            }
}

/* Ours of theirs: memory, and what is there when way is IN. NULL stays NULL; *ok: 0 when memory is out. */
IPR__FN ipr_real *ipr__rnn_ours(ipr_ctx *c, const ipr__rnn *r, int way, const ipr_real *theirs, ipr_index width,
                                int halves, int steps, int turned, int *ok)
{
    ipr_real *d;
    if (!theirs || !*ok) return NULL;
    d = ipr__rnn_reals(c, steps ? ipr__rnn_off(r, r->T) : r->Bx, halves, width);
    if (!d) *ok = 0;
    else if (way == IPR__RNN_IN) ipr__rnn_move(r, way, (ipr_real *)(uintptr_t)theirs, d, width, halves, steps, turned);
    return d;
}

/* 1 when done; 0 when memory is out (the context has the error). lengths [Bx] of 1..T; NULL: all T. */
IPR__FN int ipr__rnn_forward(ipr_ctx *c, ipr__rnn *r, const int32_t *lengths)
{
    const ipr__rnn their = *r;
    const int halves = ipr__rnn_halves(r);
    const ipr_index H = r->H, padded = r->T * r->B;
    int ok = 1;
    if (!lengths && !r->reverse) return ipr__rnn_forward_rows(c, r);
    if (!ipr__rnn_order(c, r, lengths)) return 0;
    r->x = ipr__rnn_ours(c, r, IPR__RNN_IN, r->x, r->I, 1, 1, 1, &ok);
    r->h0 = ipr__rnn_ours(c, r, IPR__RNN_IN, r->h0, H, halves, 0, 0, &ok);
    r->c0 = ipr__rnn_ours(c, r, IPR__RNN_IN, r->c0, H, halves, 0, 0, &ok);
    r->h_n = ipr__rnn_ours(c, r, IPR__RNN_OUT, r->h_n, H, halves, 0, 0, &ok);
    r->c_n = ipr__rnn_ours(c, r, IPR__RNN_OUT, r->c_n, H, halves, 0, 0, &ok);
    r->y = ipr__rnn_ours(c, r, IPR__RNN_OUT, r->y, H, halves, 1, 1, &ok);
    r->gate_out = ipr__rnn_ours(c, r, IPR__RNN_OUT, r->gate_out, H, halves, 1, 0, &ok);
    if (!ok || !ipr__rnn_forward_rows(c, r)) return 0;
    if (their.y && ipr__rnn_off(r, r->T) * halves < padded)
        ipr__zero(their.y, (size_t)(padded * H) * sizeof(ipr_real));
    if (their.gate_out && ipr__rnn_off(r, r->T) * halves < padded)
        ipr__zero(their.gate_out, (size_t)(padded * H) * sizeof(ipr_real));
    ipr__rnn_move(r, IPR__RNN_OUT, their.h_n, r->h_n, H, halves, 0, 0);
    if (r->c_n) ipr__rnn_move(r, IPR__RNN_OUT, their.c_n, r->c_n, H, halves, 0, 0);
    if (r->y) ipr__rnn_move(r, IPR__RNN_OUT, their.y, r->y, H, halves, 1, 1);
    if (r->gate_out) ipr__rnn_move(r, IPR__RNN_OUT, their.gate_out, r->gate_out, H, halves, 1, 0);
    return 1;
}

/* 1 when done; 0 when memory is out. What is added to comes along, so that its sums are those of the row alone. */
IPR__FN int ipr__rnn_backward(ipr_ctx *c, const ipr__rnn *r, const ipr__rnn_grads *g)
{
    const int halves = ipr__rnn_halves(r);
    const ipr_index H = r->H;
    ipr__rnn_grads o = *g;
    int ok = 1;
    if (!r->off) return ipr__rnn_backward_rows(c, r, g);
    o.x = ipr__rnn_ours(c, r, IPR__RNN_IN, g->x, r->I, 1, 1, 1, &ok);
    o.h0 = ipr__rnn_ours(c, r, IPR__RNN_IN, g->h0, H, halves, 0, 0, &ok);
    o.c0 = ipr__rnn_ours(c, r, IPR__RNN_IN, g->c0, H, halves, 0, 0, &ok);
    o.h_n = ipr__rnn_ours(c, r, IPR__RNN_IN, g->h_n, H, halves, 0, 0, &ok);
    o.c_n = ipr__rnn_ours(c, r, IPR__RNN_IN, g->c_n, H, halves, 0, 0, &ok);
    o.y = ipr__rnn_ours(c, r, IPR__RNN_IN, g->y, H, halves, 1, 1, &ok);
    o.gate_out = ipr__rnn_ours(c, r, IPR__RNN_IN, g->gate_out, H, halves, 1, 0, &ok);
    if (!ok || !ipr__rnn_backward_rows(c, r, &o)) return 0;
    if (g->x) ipr__rnn_move(r, IPR__RNN_OUT, g->x, o.x, r->I, 1, 1, 1);
    if (g->h0) ipr__rnn_move(r, IPR__RNN_OUT, g->h0, o.h0, H, halves, 0, 0);
    if (g->c0) ipr__rnn_move(r, IPR__RNN_OUT, g->c0, o.c0, H, halves, 0, 0);
    return 1;
}
#endif /* IPR_FLOOR_MAX >= 2, IPR_NO_RNN */

#if IPR_FLOOR_MAX >= 2
/* ---- one table per instruction set ---- */

#ifdef IPR_NO_RNN
#define IPR__KERN_RNN(S) NULL, NULL, NULL, NULL
#else
#define IPR__KERN_RNN(S) ipr__lstm_fwd_##S, ipr__lstm_bwd_##S, ipr__gru_fwd_##S, ipr__gru_bwd_##S
#endif
#define IPR__KERN_TABLE(S, id) \
    static const ipr__kern ipr__kern_##S = {id, \
                                            ipr__gemm_ws_##S, \
                                            ipr__gemm_##S, \
                                            ipr__pack_b_bytes_##S, \
                                            ipr__pack_b_##S, \
                                            ipr__gemm_pb_##S, \
                                            ipr__vexp_##S, \
                                            ipr__vlog_##S, \
                                            ipr__vsigmoid_##S, \
                                            ipr__vtanh_##S, \
                                            ipr__vadd_##S, \
                                            ipr__vsub_##S, \
                                            ipr__vmul_##S, \
                                            ipr__vdiv_##S, \
                                            ipr__vfma_acc_##S, \
                                            ipr__axpy_##S, \
                                            ipr__scale_##S, \
                                            ipr__sum_##S, \
                                            ipr__dot_##S, \
                                            ipr__sumsq_##S, \
                                            ipr__maxv_##S, \
                                            ipr__col_sum_##S, \
                                            ipr__adam_##S, \
                                            ipr__sgd_##S, \
                                            IPR__KERN_RNN(S)};
IPR__KERN_TABLE(portable, IPR_ISA_PORTABLE)
#if IPR__NEON
IPR__KERN_TABLE(neon, IPR_ISA_NEON)
#endif
#if IPR__X86
IPR__KERN_TABLE(avx2, IPR_ISA_AVX2)
IPR__KERN_TABLE(avx512, IPR_ISA_AVX512)
#endif

/* Each row: e^(x - max) / sum. From kernels of the table: once for all instruction sets. */
IPR__FN void ipr__softmax_rows(const ipr__kern *k, ipr_index rows, ipr_index n, const ipr_real *x, ipr_real *y)
{
    ipr_index i, j;
    for (i = 0; i < rows; i++, x += n, y += n) {
        const ipr_real top = k->maxv(n, x);
        ipr_real sum;
        for (j = 0; j < n; j++) y[j] = (ipr_real)(x[j] - top);
        k->vexp(n, y, y);
        sum = k->sum(n, y);
        for (j = 0; j < n; j++) y[j] = (ipr_real)(y[j] / sum);
    }
}

/* (x - max) - log sum e^(x - max); the exponentials pass through a small buffer, y may be x */
IPR__FN void ipr__log_softmax_rows(const ipr__kern *k, ipr_index rows, ipr_index n, const ipr_real *x, ipr_real *y)
{
    enum { IPR__CHUNK = 256 };
    ipr_real t[IPR__CHUNK], s;
    ipr_index i, j, q, m;
    for (i = 0; i < rows; i++, x += n, y += n) {
        const ipr_real top = k->maxv(n, x);
        double sum = 0;
        for (q = 0; q < n; q += m) {
            m = IPR__MIN(n - q, (ipr_index)IPR__CHUNK);
            for (j = 0; j < m; j++) t[j] = (ipr_real)(x[q + j] - top);
            k->vexp(m, t, t);
            sum += (double)k->sum(m, t);
        }
        s = (ipr_real)sum;
        k->vlog(1, &s, &s);
        for (j = 0; j < n; j++) {
            const ipr_real d = (ipr_real)(x[j] - top);
            y[j] = (ipr_real)(d - s);
        }
    }
}

/* The table of a resolved IPR_ISA_*; portable for one that this build does not have. */
IPR__FN const ipr__kern *ipr__kern_for(int isa)
{
#if IPR__NEON
    if (isa == IPR_ISA_NEON) return &ipr__kern_neon;
#endif
#if IPR__X86
    if (isa == IPR_ISA_AVX2) return &ipr__kern_avx2;
    if (isa == IPR_ISA_AVX512) return &ipr__kern_avx512;
#endif
    (void)isa;
    return &ipr__kern_portable;
}
#endif /* IPR_FLOOR_MAX >= 2 */

#if IPR_FLOOR_MAX >= 3
/* ==== FLOOR 3: TENSOR ================================================================== >>tensor
   Shapes, strided views, named parameters. Elements and gradient belong to a store; tensors are windows
   on it, so the gradient of a view is the same window on its base's gradient and needs no node.
   Hands up: ipr__temp*, ipr__view, ipr__rd/wr, ipr__grad_acc, ipr__grad_of, ipr__in, ipr__shape. */

typedef struct ipr__store {
    void *data;         /* ipr_real or int32_t */
    ipr_real *grad;     /* same count as data; NULL until something arrives */
    ipr_real *grad_mem; /* its memory, kept when the gradient is cleared */
    ipr_index n;
    ipr__arena *arena; /* where grad comes from: the step's or the parameter set's */
    void *device;      /* floor 14: the backend's side of this store */
    uint8_t type, leaf, needs, host_valid;
} ipr__store;

struct ipr_tensor {
    ipr__store *s; /* NULL: poison */
    ipr_index off, n;
    ipr_index dim[IPR_MAX_RANK], stride[IPR_MAX_RANK];
    int rank, contig;
};

IPR__FN ipr_tensor *ipr__poison(ipr_ctx *c) { return c ? c->poison : NULL; }
IPR_API int ipr_is_poison(const ipr_tensor *t) { return !t || !t->s; }
IPR_API int ipr_rank(const ipr_tensor *t) { return t ? t->rank : 0; }
IPR_API ipr_index ipr_count(const ipr_tensor *t) { return t ? t->n : 0; }
IPR_API int ipr_type(const ipr_tensor *t) { return t && t->s ? (int)t->s->type : (int)IPR_T_REAL; }

IPR_API ipr_index ipr_dim(const ipr_tensor *t, int axis)
{
    if (!t) return 0;
    if (axis < 0) axis += t->rank;
    return axis < 0 || axis >= t->rank ? 0 : t->dim[axis];
}

/* "3x4", "scalar", "poison" */
IPR__FN const char *ipr__shape(const ipr_tensor *t, char buf[96])
{
    ipr__text x;
    int i;
    if (ipr_is_poison(t)) return "poison";
    if (t->rank == 0) return "scalar";
    x.buf = buf;
    x.cap = 96;
    x.len = 0;
    for (i = 0; i < t->rank; i++) {
        if (i) ipr__text_c(&x, 'x');
        ipr__text_i(&x, t->dim[i]);
    }
    buf[x.len] = 0;
    return buf;
}

/* 1: usable. 0: poison passes silently, NULL is the caller's mistake. */
IPR__FN int ipr__in(ipr_ctx *c, const char *fn, const char *arg, const ipr_tensor *t)
{
    if (!c) return 0;
    if (!t) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "%s is NULL; pass a tensor", arg);
        return 0;
    }
    return t->s != NULL;
}

IPR__FN int ipr__in_real(ipr_ctx *c, const char *fn, const char *arg, const ipr_tensor *t)
{
    if (!ipr__in(c, fn, arg, t)) return 0;
    if (t->s->type == IPR_T_REAL) return 1;
    (void)ipr__fail(c, IPR_E_ARG, fn, "%s holds int32; a tensor of reals is needed", arg);
    return 0;
}

IPR__FN int ipr__in_i32(ipr_ctx *c, const char *fn, const char *arg, const ipr_tensor *t)
{
    if (!ipr__in(c, fn, arg, t)) return 0;
    if (t->s->type == IPR_T_I32) return 1;
    (void)ipr__fail(c, IPR_E_ARG, fn, "%s holds reals; an int32 tensor is needed", arg);
    return 0;
}

/* Count of a shape; 0 with an error when a size is negative or the product overflows. Sizes of zero are
   refused: no op has a use for them, and they hide mistakes. */
IPR__FN int ipr__shape_count(ipr_ctx *c, const char *fn, int rank, const ipr_index *dims, ipr_index *count)
{
    size_t n = 1;
    int i;
    if (!c) return 0;
    if (rank < 0 || rank > IPR_MAX_RANK) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "rank %d: 0..%d are supported", rank, (int)IPR_MAX_RANK);
        return 0;
    }
    if (rank && !dims) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "dims is NULL; pass %d sizes", rank);
        return 0;
    }
    for (i = 0; i < rank; i++) {
        if (dims[i] <= 0) {
            (void)ipr__fail(c, IPR_E_SHAPE, fn, "size %I in dimension %d; every size must be at least 1", dims[i], i);
            return 0;
        }
        if (!ipr__mul(n, (size_t)dims[i], &n) || n > (size_t)-1 / 64) {
            (void)ipr__fail(c, IPR_E_RANGE, fn, "size %I in dimension %d: the product of sizes overflows", dims[i], i);
            return 0;
        }
    }
    *count = (ipr_index)n;
    return 1;
}

IPR__FN void ipr__set_shape(ipr_tensor *t, int rank, const ipr_index *dims)
{
    ipr_index n = 1;
    int i;
    t->rank = rank;
    for (i = rank - 1; i >= 0; i--) {
        t->dim[i] = dims[i];
        t->stride[i] = n;
        n *= dims[i];
    }
    t->n = n;
    t->contig = 1;
}

/* Tensor, store and elements from one arena; elements uninitialised. */
IPR__FN ipr_tensor *ipr__make(ipr_ctx *c, ipr__arena *a, const char *fn, int type, int rank, const ipr_index *dims)
{
    ipr_index n;
    ipr_tensor *t;
    ipr__store *s;
    const size_t head = IPR__ROUND64(sizeof *t + sizeof *s);
    char *p;
    if (!ipr__shape_count(c, fn, rank, dims, &n)) return ipr__poison(c);
    p = (char *)ipr__arena_get(a, head + (size_t)n * (type == IPR_T_I32 ? 4 : sizeof(ipr_real)));
    if (!p) return ipr__poison(c);
    t = (ipr_tensor *)(void *)p;
    s = (ipr__store *)(void *)(p + sizeof *t);
    ipr__zero(p, head);
    s->data = p + head;
    s->n = n;
    s->arena = a;
    s->type = (uint8_t)type;
    s->leaf = 1;
    s->host_valid = 1;
    t->s = s;
    ipr__set_shape(t, rank, dims);
    return t;
}

IPR__FN ipr_tensor *ipr__temp(ipr_ctx *c, int rank, const ipr_index *dims)
{
    return c ? ipr__make(c, &c->step, "ipr", IPR_T_REAL, rank, dims) : NULL;
}
IPR__FN ipr_tensor *ipr__temp1(ipr_ctx *c, ipr_index d0) { return ipr__temp(c, 1, &d0); }
IPR__FN ipr_tensor *ipr__temp2(ipr_ctx *c, ipr_index d0, ipr_index d1)
{
    ipr_index d[2];
    d[0] = d0;
    d[1] = d1;
    return ipr__temp(c, 2, d);
}
IPR__FN ipr_tensor *ipr__temp3(ipr_ctx *c, ipr_index d0, ipr_index d1, ipr_index d2)
{
    ipr_index d[3];
    d[0] = d0;
    d[1] = d1;
    d[2] = d2;
    return ipr__temp(c, 3, d);
}

IPR_API ipr_tensor *ipr_new(ipr_ctx *c, int rank, const ipr_index *dims)
{
    ipr_tensor *t = c ? ipr__make(c, &c->step, "ipr_new", IPR_T_REAL, rank, dims) : NULL;
    if (!ipr_is_poison(t)) ipr__zero(t->s->data, (size_t)t->n * sizeof(ipr_real));
    return t;
}

IPR_API ipr_tensor *ipr_new_i32(ipr_ctx *c, int rank, const ipr_index *dims)
{
    ipr_tensor *t = c ? ipr__make(c, &c->step, "ipr_new_i32", IPR_T_I32, rank, dims) : NULL;
    if (!ipr_is_poison(t)) ipr__zero(t->s->data, (size_t)t->n * 4);
    return t;
}

IPR_API ipr_tensor *ipr_from(ipr_ctx *c, int rank, const ipr_index *dims, const ipr_real *src)
{
    ipr_tensor *t;
    if (c && !src) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_from", "src is NULL; pass the elements");
        return ipr__poison(c);
    }
    t = c ? ipr__make(c, &c->step, "ipr_from", IPR_T_REAL, rank, dims) : NULL;
    if (!ipr_is_poison(t)) ipr__copy(t->s->data, src, (size_t)t->n * sizeof(ipr_real));
    return t;
}

IPR_API ipr_tensor *ipr_from_i32(ipr_ctx *c, int rank, const ipr_index *dims, const int32_t *src)
{
    ipr_tensor *t;
    if (c && !src) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_from_i32", "src is NULL; pass the elements");
        return ipr__poison(c);
    }
    t = c ? ipr__make(c, &c->step, "ipr_from_i32", IPR_T_I32, rank, dims) : NULL;
    if (!ipr_is_poison(t)) ipr__copy(t->s->data, src, (size_t)t->n * 4);
    return t;
}

IPR_API void ipr_require_grad(ipr_tensor *t, int yes)
{
    if (!ipr_is_poison(t) && t->s->leaf && t->s->type == IPR_T_REAL) t->s->needs = (uint8_t)(yes != 0);
}

IPR__FN int ipr__needs(const ipr_tensor *t) { return t && t->s && t->s->needs; }
IPR__FN const ipr_real *ipr__rd(const ipr_tensor *t) { return (const ipr_real *)t->s->data + t->off; }
IPR__FN ipr_real *ipr__wr(ipr_tensor *t) { return (ipr_real *)t->s->data + t->off; }
IPR__FN const int32_t *ipr__rdi(const ipr_tensor *t) { return (const int32_t *)t->s->data + t->off; }

IPR__FN int ipr__mappable(ipr_ctx *c, const char *fn, const ipr_tensor *t, int type)
{
    if (!ipr__in(c, fn, "the tensor", t)) return 0;
    if (t->s->type != type) {
        (void)ipr__fail(c, IPR_E_ARG, fn,
                        type == IPR_T_REAL ? "the tensor holds int32; use the _i32 call"
                                           : "the tensor holds reals; use the call without _i32");
        return 0;
    }
    if (!t->contig) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "a strided view has no contiguous elements; use ipr_contiguous first");
        return 0;
    }
    return 1;
}

IPR_API const ipr_real *ipr_read(ipr_ctx *c, const ipr_tensor *t)
{
    return ipr__mappable(c, "ipr_read", t, IPR_T_REAL) ? ipr__rd(t) : NULL;
}
IPR_API ipr_real *ipr_write(ipr_ctx *c, ipr_tensor *t, int keep)
{
    (void)keep; /* a hint for backends: without it nothing is copied from the device first */
    return ipr__mappable(c, "ipr_write", t, IPR_T_REAL) ? ipr__wr(t) : NULL;
}
IPR_API const int32_t *ipr_read_i32(ipr_ctx *c, const ipr_tensor *t)
{
    return ipr__mappable(c, "ipr_read_i32", t, IPR_T_I32) ? ipr__rdi(t) : NULL;
}
IPR_API int32_t *ipr_write_i32(ipr_ctx *c, ipr_tensor *t, int keep)
{
    (void)keep;
    return ipr__mappable(c, "ipr_write_i32", t, IPR_T_I32) ? (int32_t *)t->s->data + t->off : NULL;
}

IPR_API ipr_real ipr_item(ipr_ctx *c, const ipr_tensor *t)
{
    char s[96];
    if (!ipr__in_real(c, "ipr_item", "the tensor", t)) return 0;
    if (t->n != 1) {
        (void)ipr__fail(c, IPR_E_SHAPE, "ipr_item", "%s has %I elements; one is needed", ipr__shape(t, s), t->n);
        return 0;
    }
    return ipr__rd(t)[0];
}

/* Gradient to ADD to, zeroed at first touch; NULL when t needs none or memory is out. t is contiguous. */
IPR__FN ipr_real *ipr__grad_acc(ipr_ctx *c, ipr_tensor *t)
{
    if (!ipr__needs(t) || c->err) return NULL;
    if (!t->s->grad) {
        if (!t->s->grad_mem)
            t->s->grad_mem = (ipr_real *)ipr__arena_get(t->s->arena, (size_t)t->s->n * sizeof(ipr_real));
        t->s->grad = t->s->grad_mem;
        if (!t->s->grad) return NULL;
        ipr__zero(t->s->grad, (size_t)t->s->n * sizeof(ipr_real));
    }
    return t->s->grad + t->off;
}

IPR__FN const ipr_real *ipr__grad_of(const ipr_tensor *t)
{
    return t && t->s && t->s->grad ? t->s->grad + t->off : NULL;
}

IPR_API const ipr_real *ipr_grad(ipr_ctx *c, const ipr_tensor *t)
{
    return ipr__mappable(c, "ipr_grad", t, IPR_T_REAL) ? ipr__grad_of(t) : NULL;
}

/* A window on the same store, step lifetime. */
IPR__FN ipr_tensor *ipr__view(ipr_ctx *c, ipr_tensor *t)
{
    ipr_tensor *v = (ipr_tensor *)ipr__arena_get(&c->step, sizeof *v);
    if (!v) return ipr__poison(c);
    *v = *t;
    return v;
}

IPR__FN void ipr__find_contig(ipr_tensor *t)
{
    ipr_index n = 1;
    int i;
    t->contig = 1;
    for (i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] != 1 && t->stride[i] != n) t->contig = 0;
        n *= t->dim[i];
    }
    t->n = n;
}

/* Offsets of a strided view in row-major order: call with at[] zeroed and off = t->off. */
IPR__FN ipr_index ipr__next_off(const ipr_tensor *t, ipr_index at[IPR_MAX_RANK], ipr_index off)
{
    int i;
    for (i = t->rank - 1; i >= 0; i--) {
        off += t->stride[i];
        if (++at[i] < t->dim[i]) return off;
        off -= at[i] * t->stride[i];
        at[i] = 0;
    }
    return off;
}

/* ---- named parameters ---- */

typedef struct ipr__named {
    struct ipr__named *next;
    ipr_tensor *t;
    char *name;
} ipr__named;

struct ipr_params {
    ipr_ctx *c;
    ipr__arena arena;
    ipr__named *first, *last;
    int count;
};

IPR_API ipr_params *ipr_params_new(ipr_ctx *c)
{
    ipr_params *p = c ? (ipr_params *)ipr__alloc(c, sizeof *p) : NULL;
    if (!p) return NULL;
    ipr__zero(p, sizeof *p);
    p->c = c;
    ipr__arena_init(c, &p->arena, 8192);
    return p;
}

IPR_API void ipr_params_free(ipr_params *p)
{
    ipr_ctx *c;
    if (!p) return;
    c = p->c;
    ipr__arena_free(&p->arena, 1);
    ipr__free(c, p);
}

IPR_API ipr_tensor *ipr_params_find(const ipr_params *p, const char *name)
{
    const ipr__named *k;
    if (!p || !name) return NULL;
    for (k = p->first; k; k = k->next)
        if (ipr__streq(k->name, name)) return k->t;
    return NULL;
}

IPR_API ipr_tensor *ipr_param(ipr_params *p, const char *name, int rank, const ipr_index *dims)
{
    ipr_ctx *c = p ? p->c : NULL;
    ipr__named *k;
    ipr_tensor *t;
    size_t len;
    if (!p) return NULL;
    if (!name || !*name) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_param", "the name is empty; give every parameter one");
        return ipr__poison(c);
    }
    if (ipr_params_find(p, name)) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_param", "\"%s\" exists already; names must differ", name);
        return ipr__poison(c);
    }
    t = ipr__make(c, &p->arena, "ipr_param", IPR_T_REAL, rank, dims);
    if (ipr_is_poison(t)) return t;
    len = ipr__strlen(name) + 1;
    k = (ipr__named *)ipr__arena_get(&p->arena, sizeof *k + len);
    if (!k) return ipr__poison(c);
    ipr__zero(t->s->data, (size_t)t->n * sizeof(ipr_real));
    t->s->needs = 1;
    k->next = NULL;
    k->t = t;
    k->name = (char *)(k + 1);
    ipr__copy(k->name, name, len);
    if (p->last) p->last->next = k;
    else p->first = k;
    p->last = k;
    p->count++;
    return t;
}

IPR__FN const ipr__named *ipr__named_at(const ipr_params *p, int i)
{
    const ipr__named *k = p && i >= 0 ? p->first : NULL;
    while (k && i-- > 0) k = k->next;
    return k;
}

IPR_API int ipr_params_count(const ipr_params *p) { return p ? p->count : 0; }
IPR_API ipr_ctx *ipr_params_ctx(const ipr_params *p) { return p ? p->c : NULL; }
IPR_API const char *ipr_params_name(const ipr_params *p, int i)
{
    const ipr__named *k = ipr__named_at(p, i);
    return k ? k->name : NULL;
}
IPR_API ipr_tensor *ipr_params_at(const ipr_params *p, int i)
{
    const ipr__named *k = ipr__named_at(p, i);
    return k ? k->t : NULL;
}

IPR_API ipr_index ipr_params_elements(const ipr_params *p)
{
    const ipr__named *k;
    ipr_index n = 0;
    if (p)
        for (k = p->first; k; k = k->next) n += k->t->n;
    return n;
}

IPR_API void ipr_params_zero_grad(ipr_params *p)
{
    ipr__named *k;
    if (p)
        for (k = p->first; k; k = k->next) k->t->s->grad = NULL; /* PyTorch's None: zeroed again when one arrives */
}

IPR__FN int ipr__same_shape(const ipr_tensor *a, const ipr_tensor *b)
{
    int i;
    if (a->rank != b->rank) return 0;
    for (i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return 0;
    return 1;
}

IPR_API int ipr_params_copy(ipr_params *dst, const ipr_params *src)
{
    ipr_ctx *c = dst ? dst->c : NULL;
    const ipr__named *k;
    char s1[96], s2[96];
    if (!dst || !src) return ipr__fail(c, IPR_E_ARG, "ipr_params_copy", "a parameter set is NULL");
    if (dst->count != src->count)
        return ipr__fail(c, IPR_E_SHAPE, "ipr_params_copy", "%d parameters into %d; the sets must agree", src->count,
                         dst->count);
    for (k = src->first; k; k = k->next) {
        const ipr_tensor *t = ipr_params_find(dst, k->name);
        if (!t) return ipr__fail(c, IPR_E_MISSING, "ipr_params_copy", "the target has no \"%s\"", k->name);
        if (!ipr__same_shape(t, k->t))
            return ipr__fail(c, IPR_E_SHAPE, "ipr_params_copy", "\"%s\" is %s, the target's is %s", k->name,
                             ipr__shape(k->t, s1), ipr__shape(t, s2));
    }
    for (k = src->first; k; k = k->next)
        ipr__copy(ipr_params_find(dst, k->name)->s->data, k->t->s->data, (size_t)k->t->n * sizeof(ipr_real));
    return IPR_OK;
}

IPR_API ipr_params *ipr_params_clone(const ipr_params *p)
{
    ipr_params *q;
    const ipr__named *k;
    if (!p || !(q = ipr_params_new(p->c))) return NULL;
    for (k = p->first; k; k = k->next) {
        ipr_tensor *t = ipr_param(q, k->name, k->t->rank, k->t->dim);
        if (ipr_is_poison(t)) {
            ipr_params_free(q);
            return NULL;
        }
        ipr__copy(t->s->data, k->t->s->data, (size_t)t->n * sizeof(ipr_real));
    }
    return q;
}
#endif /* IPR_FLOOR_MAX >= 3 */

#if IPR_FLOOR_MAX >= 4
/* ==== FLOOR 4: TAPE ==================================================================== >>tape
   Ops run at once; when a gradient is wanted they append a node here, and ipr_backward walks the nodes
   in reverse. Opening a context ends here too, since now all its parts exist.
   Hands up: ipr__record, ipr__recording, ipr__keep. */

struct ipr__node;
typedef void (*ipr__backward_fn)(ipr_ctx *c, struct ipr__node *n);
typedef struct ipr__op {
    const char *name;
    ipr__backward_fn backward;
} ipr__op;
typedef struct ipr__node {
    const ipr__op *op;
    ipr_tensor **in, **out;
    void *aux; /* what backward needs */
    int nin, nout;
} ipr__node;

/* Will these inputs (NULL allowed) record a node? */
IPR__FN int ipr__recording(ipr_ctx *c, ipr_tensor *const *in, int nin)
{
    int i;
    if (!c || c->no_grad) return 0;
    for (i = 0; i < nin; i++)
        if (ipr__needs(in[i])) return 1;
    return 0;
}

IPR__FN void *ipr__keep(ipr_ctx *c, size_t bytes) { return ipr__arena_get(&c->step, bytes); }

/* Appends a node and marks the outputs as needing gradients; NULL when memory is out. */
IPR__FN ipr__node *ipr__record_op(ipr_ctx *c, const ipr__op *op, int nin, ipr_tensor *const *in, int nout,
                                  ipr_tensor *const *out, size_t aux_bytes)
{
    const size_t head = IPR__ROUND64(sizeof(ipr__node) + (size_t)(nin + nout) * sizeof(ipr_tensor *));
    ipr__node *n;
    int i;
    if (c->nnodes == c->cap_nodes) {
        const ipr_index cap = c->cap_nodes ? 2 * c->cap_nodes : 64;
        ipr__node **p = (ipr__node **)ipr__alloc(c, (size_t)cap * sizeof *p);
        if (!p) return NULL;
        ipr__copy(p, c->nodes, (size_t)c->nnodes * sizeof *p);
        ipr__free(c, c->nodes);
        c->nodes = p;
        c->cap_nodes = cap;
    }
    n = (ipr__node *)ipr__keep(c, head + aux_bytes);
    if (!n) return NULL;
    n->op = op;
    n->nin = nin;
    n->nout = nout;
    n->in = (ipr_tensor **)(void *)(n + 1);
    n->out = n->in + nin;
    n->aux = aux_bytes ? (char *)(void *)n + head : NULL;
    if (aux_bytes) ipr__zero(n->aux, aux_bytes);
    for (i = 0; i < nin; i++) n->in[i] = in[i];
    for (i = 0; i < nout; i++) {
        n->out[i] = out[i];
        if (out[i]) {
            out[i]->s->leaf = 0;
            out[i]->s->needs = 1;
        }
    }
    c->nodes[c->nnodes++] = n;
    c->stats.nodes++;
    return n;
}

IPR_API int ipr_backward(ipr_ctx *c, ipr_tensor *loss)
{
    char s[96];
    ipr_real *g;
    ipr_index i;
    unsigned mode;
    int k;
    if (!c) return IPR_E_ARG;
    if (c->err) return c->err;
    if (!ipr__in_real(c, "ipr_backward", "loss", loss))
        return c->err ? c->err
                      : ipr__fail(c, IPR_E_STATE, "ipr_backward", "the loss is poison: an error before it was cleared");
    if (loss->n != 1)
        return ipr__fail(c, IPR_E_SHAPE, "ipr_backward", "the loss is %s; reduce it to one element first",
                         ipr__shape(loss, s));
    if (!ipr__finite_real(ipr__rd(loss)[0]))
        return ipr__fail(c, IPR_E_NUMERIC, "ipr_backward",
                         "the loss is %g; look for NaN in weights or inputs, or lower the learning rate",
                         (double)ipr__rd(loss)[0]);
    if (!ipr__needs(loss))
        return ipr__fail(c, IPR_E_STATE, "ipr_backward", "the loss depends on nothing that requires a gradient");
    if (!loss->s->leaf && c->nnodes == 0)
        return ipr__fail(c, IPR_E_STATE, "ipr_backward", "this loss was gone through already; build it again");
    g = ipr__grad_acc(c, loss);
    if (!g) return c->err;
    g[0] += IPR__R(1);
    mode = ipr__ftz(c);
    for (i = c->nnodes - 1; i >= 0 && !c->err; i--) {
        ipr__node *n = c->nodes[i];
        for (k = 0; k < n->nout; k++)
            if (ipr__grad_of(n->out[k])) break;
        if (k < n->nout) n->op->backward(c, n);
    }
    ipr__ftz_end(mode);
    if (c->err) return c->err;
    c->nnodes = 0; /* the history is used up, as in every eager tape */
    return IPR_OK;
}

IPR_API void ipr_step_end(ipr_ctx *c)
{
    if (!c) return;
    c->nnodes = 0;
    ipr__arena_reset(&c->step);
    c->step_no++;
    c->draw_no = 0;
}

IPR_API void ipr_set_training(ipr_ctx *c, int yes)
{
    if (c) c->training = yes != 0;
}
IPR_API void ipr_no_grad(ipr_ctx *c, int yes)
{
    if (c) c->no_grad = yes != 0;
}

/* Does this build round every product before adding (no contraction)? 2^-23 + 2^-46 survives only in an FMA. */
IPR__FN int ipr__rounds(const ipr__kern *k, void *ws)
{
    ipr_real a[2], b[2], r[1];
    const ipr_real e = IPR_REAL_IS_DOUBLE ? IPR__R(2.220446049250313e-16) : IPR__R(1.1920928955078125e-07);
    a[0] = IPR__R(-1) - e - e;
    b[0] = IPR__R(1);
    a[1] = b[1] = IPR__R(1) + e;
    k->gemm(1, 1, 2, a, 2, 1, b, 1, 1, 0, r, 1, ws);
    return r[0] == IPR__R(0);
}

IPR_API ipr_ctx *ipr_open(const ipr_desc *d, int *status)
{
    int st = IPR_OK;
    ipr_ctx *c = ipr__base_open(d, &st);
    if (c && st == IPR_OK) {
        c->kern = ipr__kern_for(c->isa);
        c->poison = (ipr_tensor *)ipr__alloc(c, sizeof *c->poison);
        if (c->poison && ipr__scratch(c, c->kern->gemm_ws(1, 1, 2) + 64)) {
            ipr__zero(c->poison, sizeof *c->poison);
            c->exact = c->isa == IPR_ISA_PORTABLE && ipr__rounds(c->kern, ipr__ws(c, 0));
        } else st = c->err;
    }
    if (st != IPR_OK) {
        ipr_close(c);
        c = NULL;
    }
    if (status) *status = st;
    return c;
}

IPR_API int ipr_portable_bits(const ipr_ctx *c) { return c ? c->exact : 0; }
#endif /* IPR_FLOOR_MAX >= 4 */

#if IPR_FLOOR_MAX >= 5
/* ==== FLOOR 5: OPS ====================================================================== >>ops
   One block per op, in the order of the table: shape rule, forward, backward.
   Hands up: the ipr_* ops, ipr__contig, ipr__record. */

#define IPR__BACK_DIFF(name)    ipr__##name##_backward
#define IPR__BACK_NONDIFF(name) NULL
#define IPR__DECL_DIFF(name)    IPR__FN void ipr__##name##_backward(ipr_ctx *c, ipr__node *n);
#define IPR__DECL_NONDIFF(name)
#define IPR__OP_DECL(id, NAME, name, diff, what) IPR__DECL_##diff(name)
IPR__OPS_CORE(IPR__OP_DECL)
#ifndef IPR_NO_RNN
IPR__OPS_RNN(IPR__OP_DECL)
#endif

typedef struct ipr__op_row {
    int id, diff;
    ipr__op op;
    const char *what;
} ipr__op_row;
#define IPR__IS_DIFF                            1
#define IPR__IS_NONDIFF                         0
#define IPR__OP_ROW(id, NAME, name, diff, what) {id, IPR__IS_##diff, {"ipr_" #name, IPR__BACK_##diff(name)}, what},
static const ipr__op_row ipr__op_rows[] = {IPR__OPS_CORE(IPR__OP_ROW)
#ifndef IPR_NO_RNN
                                               IPR__OPS_RNN(IPR__OP_ROW)
#endif
};

IPR__FN const ipr__op_row *ipr__op_find(int id)
{
    size_t i;
    for (i = 0; i < sizeof ipr__op_rows / sizeof ipr__op_rows[0]; i++)
        if (ipr__op_rows[i].id == id) return &ipr__op_rows[i];
    return NULL;
}

IPR_API const char *ipr_op_name(int id)
{
    const ipr__op_row *r = ipr__op_find(id);
    return r ? r->op.name : NULL;
}
IPR_API const char *ipr_op_doc(int id)
{
    const ipr__op_row *r = ipr__op_find(id);
    return r ? r->what : NULL;
}
IPR_API int ipr_op_differentiable(int id)
{
    const ipr__op_row *r = ipr__op_find(id);
    return r ? r->diff : 0;
}

IPR__FN ipr__node *ipr__record(ipr_ctx *c, int op_id, int nin, ipr_tensor *const *in, int nout, ipr_tensor *const *out,
                               size_t aux_bytes)
{
    return ipr__record_op(c, &ipr__op_find(op_id)->op, nin, in, nout, out, aux_bytes);
}

/* The common case: one output, one small struct for backward. aux may be NULL. Returns out, or poison. */
IPR__FN ipr_tensor *ipr__done(ipr_ctx *c, int op_id, int nin, ipr_tensor *const *in, ipr_tensor *out, const void *aux,
                              size_t aux_bytes)
{
    ipr__node *n;
    if (!ipr__recording(c, in, nin)) return out;
    n = ipr__record(c, op_id, nin, in, 1, &out, aux_bytes);
    if (!n) return ipr__poison(c);
    if (aux) ipr__copy(n->aux, aux, aux_bytes);
    return out;
}

/* One operation, one rounding, also where the compiler evaluates float expressions in double (FLT_EVAL_METHOD 1, 2). */
IPR__INLINE ipr_real ipr__mul1(ipr_real a, ipr_real b)
{
    const ipr_real r = a * b;
    return r;
}
IPR__INLINE ipr_real ipr__add1(ipr_real a, ipr_real b)
{
    const ipr_real r = a + b;
    return r;
}
IPR__INLINE ipr_real ipr__sub1(ipr_real a, ipr_real b)
{
    const ipr_real r = a - b;
    return r;
}
IPR__INLINE ipr_real ipr__div1(ipr_real a, ipr_real b)
{
    const ipr_real r = a / b;
    return r;
}
IPR__INLINE void ipr__acc1(ipr_real *d, ipr_real a, ipr_real b) { *d = ipr__add1(*d, ipr__mul1(a, b)); }

/* ---- views ---- */

IPR_API ipr_tensor *ipr_reshape(ipr_ctx *c, ipr_tensor *x, int rank, const ipr_index *dims)
{
    ipr_index d[IPR_MAX_RANK], n = 1, total;
    char s[96];
    ipr_tensor *v;
    int i, guess = -1;
    if (!ipr__in(c, "ipr_reshape", "x", x)) return ipr__poison(c);
    if (rank < 0 || rank > IPR_MAX_RANK || (rank && !dims)) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_reshape", "rank %d with dims %s; ranks 0..%d", rank, dims ? "given" : "NULL",
                        (int)IPR_MAX_RANK);
        return ipr__poison(c);
    }
    for (i = 0; i < rank; i++) {
        d[i] = dims[i];
        if (d[i] == -1 && guess < 0) guess = i;
        else if (d[i] > 0 && n <= x->n / d[i]) n *= d[i];
        else {
            (void)ipr__fail(c, IPR_E_SHAPE, "ipr_reshape", "size %I in dimension %d does not fit %s", d[i], i,
                            ipr__shape(x, s));
            return ipr__poison(c);
        }
    }
    if (guess >= 0) {
        d[guess] = x->n / n;
        n *= d[guess];
    }
    total = n;
    if (total != x->n) {
        (void)ipr__fail(c, IPR_E_SHAPE, "ipr_reshape", "%s has %I elements, the new shape %I", ipr__shape(x, s), x->n,
                        total);
        return ipr__poison(c);
    }
    x = ipr_contiguous(c, x);
    if (ipr_is_poison(x)) return x;
    v = ipr__view(c, x);
    if (!ipr_is_poison(v)) ipr__set_shape(v, rank, d);
    return v;
}

IPR_API ipr_tensor *ipr_slice(ipr_ctx *c, ipr_tensor *x, int axis, ipr_index start, ipr_index count)
{
    ipr_tensor *v;
    char s[96];
    if (!ipr__in(c, "ipr_slice", "x", x)) return ipr__poison(c);
    if (axis < 0) axis += x->rank;
    if (axis < 0 || axis >= x->rank || start < 0 || count < 1 || start > x->dim[axis] - count) {
        (void)ipr__fail(c, IPR_E_RANGE, "ipr_slice", "%I elements from %I on axis %d of %s; stay inside it", count,
                        start, axis, ipr__shape(x, s));
        return ipr__poison(c);
    }
    v = ipr__view(c, x);
    if (ipr_is_poison(v)) return v;
    v->off += start * v->stride[axis];
    v->dim[axis] = count;
    ipr__find_contig(v);
    return v;
}

IPR_API ipr_tensor *ipr_select(ipr_ctx *c, ipr_tensor *x, int axis, ipr_index at)
{
    ipr_tensor *v = ipr_slice(c, x, axis, at, 1);
    int i;
    if (ipr_is_poison(v)) return v;
    if (axis < 0) axis += v->rank;
    for (i = axis; i + 1 < v->rank; i++) {
        v->dim[i] = v->dim[i + 1];
        v->stride[i] = v->stride[i + 1];
    }
    v->rank--;
    ipr__find_contig(v);
    return v;
}

IPR_API ipr_tensor *ipr_permute(ipr_ctx *c, ipr_tensor *x, const int *axes)
{
    ipr_tensor *v;
    int i, seen = 0;
    if (!ipr__in(c, "ipr_permute", "x", x)) return ipr__poison(c);
    for (i = 0; axes && i < x->rank; i++)
        if (axes[i] >= 0 && axes[i] < x->rank) seen |= 1 << axes[i];
    if (!axes || seen != (1 << x->rank) - 1) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_permute", "axes must name each of 0..%d once", x->rank - 1);
        return ipr__poison(c);
    }
    v = ipr__view(c, x);
    if (ipr_is_poison(v)) return v;
    for (i = 0; i < x->rank; i++) {
        v->dim[i] = x->dim[axes[i]];
        v->stride[i] = x->stride[axes[i]];
    }
    ipr__find_contig(v);
    return v;
}

IPR_API ipr_tensor *ipr_transpose(ipr_ctx *c, ipr_tensor *x)
{
    int axes[IPR_MAX_RANK], i;
    if (!ipr__in(c, "ipr_transpose", "x", x)) return ipr__poison(c);
    if (x->rank < 2) {
        (void)ipr__fail(c, IPR_E_SHAPE, "ipr_transpose", "rank %d; at least 2 is needed", x->rank);
        return ipr__poison(c);
    }
    for (i = 0; i < x->rank; i++) axes[i] = i;
    axes[x->rank - 1] = x->rank - 2;
    axes[x->rank - 2] = x->rank - 1;
    return ipr_permute(c, x, axes);
}

/* ---- contiguous ---- */

/* x as rows of its last axis: the row length, and a window over the other axes to walk with ipr__next_off. */
IPR__FN ipr_index ipr__runs(const ipr_tensor *x, ipr_tensor *rows)
{
    *rows = *x;
    if (x->rank == 0) return 1;
    rows->rank--;
    return x->dim[x->rank - 1];
}

IPR_API ipr_tensor *ipr_contiguous(ipr_ctx *c, ipr_tensor *x)
{
    ipr_index at[IPR_MAX_RANK] = {0, 0, 0, 0, 0, 0}, i, k, off, run;
    ipr_tensor *y, rows;
    if (!ipr__in(c, "ipr_contiguous", "x", x)) return ipr__poison(c);
    if (x->contig) return x;
    y = ipr__make(c, &c->step, "ipr_contiguous", x->s->type, x->rank, x->dim);
    if (ipr_is_poison(y)) return y;
    run = ipr__runs(x, &rows);
    for (i = 0, off = x->off; i < x->n; i += run, off = ipr__next_off(&rows, at, off)) {
        const ipr_index step = x->stride[x->rank - 1];
        for (k = 0; k < run; k++) {
            if (x->s->type == IPR_T_REAL)
                ((ipr_real *)y->s->data)[i + k] = ((const ipr_real *)x->s->data)[off + k * step];
            else ((int32_t *)y->s->data)[i + k] = ((const int32_t *)x->s->data)[off + k * step];
        }
    }
    return ipr__done(c, IPR_OP_CONTIGUOUS, 1, &x, y, NULL, 0);
}

IPR__FN ipr_tensor *ipr__contig(ipr_ctx *c, ipr_tensor *t)
{
    return ipr_is_poison(t) || t->contig ? t : ipr_contiguous(c, t);
}

IPR__FN void ipr__contiguous_backward(ipr_ctx *c, ipr__node *n)
{
    ipr_tensor *x = n->in[0];
    const ipr_real *g = ipr__grad_of(n->out[0]);
    ipr_tensor rows;
    ipr_index at[IPR_MAX_RANK] = {0, 0, 0, 0, 0, 0}, i, k, off = x->off;
    const ipr_index run = ipr__runs(x, &rows), step = x->stride[x->rank - 1];
    if (!ipr__grad_acc(c, x)) return;
    for (i = 0; i < x->n; i += run, off = ipr__next_off(&rows, at, off))
        for (k = 0; k < run; k++) x->s->grad[off + k * step] = ipr__add1(x->s->grad[off + k * step], g[i + k]);
}

/* ---- add, sub, mul, div ---- */

/* x as a window of the broadcast shape: stride 0 where it is repeated. */
IPR__FN void ipr__stretch(const ipr_tensor *x, int rank, const ipr_index *dims, ipr_tensor *v)
{
    int i, j;
    *v = *x;
    for (i = rank - 1, j = x->rank - 1; i >= 0; i--, j--) {
        v->dim[i] = dims[i];
        v->stride[i] = j < 0 || x->dim[j] == 1 ? 0 : x->stride[j];
    }
    v->rank = rank;
}

IPR__FN int ipr__broadcast(ipr_ctx *c, const char *fn, const ipr_tensor *a, const ipr_tensor *b, ipr_index *dims)
{
    int rank = IPR__MAX(a->rank, b->rank), i;
    char s1[96], s2[96];
    for (i = 0; i < rank; i++) {
        const int ia = a->rank - rank + i, ib = b->rank - rank + i;
        const ipr_index da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da != db && da != 1 && db != 1) {
            (void)ipr__fail(c, IPR_E_SHAPE, fn, "%s and %s: sizes %I and %I do not broadcast", ipr__shape(a, s1),
                            ipr__shape(b, s2), da, db);
            return -1;
        }
        dims[i] = IPR__MAX(da, db);
    }
    return rank;
}

IPR__FN ipr_real ipr__binary1(int op, ipr_real a, ipr_real b)
{
    return op == IPR_OP_ADD   ? ipr__add1(a, b)
           : op == IPR_OP_SUB ? ipr__sub1(a, b)
           : op == IPR_OP_MUL ? ipr__mul1(a, b)
                              : ipr__div1(a, b);
}

IPR__FN ipr_tensor *ipr__binary(ipr_ctx *c, int op, ipr_tensor *a, ipr_tensor *b)
{
    const char *fn = ipr_op_name(op);
    ipr_tensor *in[2], *y, va, vb, ra, rb;
    ipr_index dims[IPR_MAX_RANK], at1[IPR_MAX_RANK] = {0, 0, 0, 0, 0, 0}, at2[IPR_MAX_RANK] = {0, 0, 0, 0, 0, 0};
    ipr_index i, k, oa, ob, sa, sb, run;
    int rank;
    if (!ipr__in_real(c, fn, "a", a) || !ipr__in_real(c, fn, "b", b)) return ipr__poison(c);
    in[0] = a = ipr__contig(c, a);
    in[1] = b = ipr__contig(c, b);
    if (ipr_is_poison(a) || ipr_is_poison(b)) return ipr__poison(c);
    rank = ipr__broadcast(c, fn, a, b, dims);
    if (rank < 0) return ipr__poison(c);
    y = ipr__temp(c, rank, dims);
    if (ipr_is_poison(y)) return y;
    if (a->n == y->n && b->n == y->n) {
        void (*fast)(ipr_index, const ipr_real *, const ipr_real *, ipr_real *) = op == IPR_OP_ADD   ? c->kern->add
                                                                                  : op == IPR_OP_SUB ? c->kern->sub
                                                                                  : op == IPR_OP_MUL ? c->kern->mul
                                                                                                     : c->kern->div;
        fast(y->n, ipr__rd(a), ipr__rd(b), ipr__wr(y));
    } else {
        const ipr_real *pa = (const ipr_real *)a->s->data, *pb = (const ipr_real *)b->s->data;
        ipr_real *py = ipr__wr(y);
        ipr__stretch(a, rank, dims, &va);
        ipr__stretch(b, rank, dims, &vb);
        run = ipr__runs(&va, &ra);
        (void)ipr__runs(&vb, &rb);
        sa = rank ? va.stride[rank - 1] : 0;
        sb = rank ? vb.stride[rank - 1] : 0;
        for (i = 0, oa = va.off, ob = vb.off; i < y->n; i += run) {
            for (k = 0; k < run; k++) py[i + k] = ipr__binary1(op, pa[oa + k * sa], pb[ob + k * sb]);
            oa = ipr__next_off(&ra, at1, oa);
            ob = ipr__next_off(&rb, at2, ob);
        }
    }
    return ipr__done(c, op, 2, in, y, NULL, 0);
}

/* d(out)/d(in[k]) times the gradient, summed over the repeated axes, in row-major order of out. */
IPR__FN void ipr__binary_backward(ipr_ctx *c, ipr__node *n, int op, int k)
{
    const ipr_tensor *y = n->out[0];
    const ipr_real *g = ipr__grad_of(y), *pa = (const ipr_real *)n->in[0]->s->data,
                   *pb = (const ipr_real *)n->in[1]->s->data;
    ipr_tensor va, vb, ra, rb;
    ipr_index at1[IPR_MAX_RANK] = {0, 0, 0, 0, 0, 0}, at2[IPR_MAX_RANK] = {0, 0, 0, 0, 0, 0};
    ipr_index i, j, oa, ob, sa, sb, run;
    ipr_real *d;
    if (!ipr__grad_acc(c, n->in[k])) return;
    d = n->in[k]->s->grad;
    ipr__stretch(n->in[0], y->rank, y->dim, &va);
    ipr__stretch(n->in[1], y->rank, y->dim, &vb);
    run = ipr__runs(&va, &ra);
    (void)ipr__runs(&vb, &rb);
    sa = y->rank ? va.stride[y->rank - 1] : 0;
    sb = y->rank ? vb.stride[y->rank - 1] : 0;
    for (i = 0, oa = va.off, ob = vb.off; i < y->n; i += run) {
        for (j = 0; j < run; j++) {
            const ipr_real a = pa[oa + j * sa], b = pb[ob + j * sb];
            const ipr_real w = op == IPR_OP_ADD   ? IPR__R(1)
                               : op == IPR_OP_SUB ? (k ? IPR__R(-1) : IPR__R(1))
                               : op == IPR_OP_MUL ? (k ? a : b)
                               : k                ? ipr__div1(-a, ipr__mul1(b, b))
                                                  : ipr__div1(IPR__R(1), b);
            ipr__acc1(&d[k ? ob + j * sb : oa + j * sa], g[i + j], w);
        }
        oa = ipr__next_off(&ra, at1, oa);
        ob = ipr__next_off(&rb, at2, ob);
    }
}

IPR_API ipr_tensor *ipr_add(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr__binary(c, IPR_OP_ADD, a, b); }
IPR_API ipr_tensor *ipr_sub(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr__binary(c, IPR_OP_SUB, a, b); }
IPR_API ipr_tensor *ipr_mul(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr__binary(c, IPR_OP_MUL, a, b); }
IPR_API ipr_tensor *ipr_div(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr__binary(c, IPR_OP_DIV, a, b); }
IPR__FN void ipr__add_backward(ipr_ctx *c, ipr__node *n)
{
    ipr__binary_backward(c, n, IPR_OP_ADD, 0);
    ipr__binary_backward(c, n, IPR_OP_ADD, 1);
}
IPR__FN void ipr__sub_backward(ipr_ctx *c, ipr__node *n)
{
    ipr__binary_backward(c, n, IPR_OP_SUB, 0);
    ipr__binary_backward(c, n, IPR_OP_SUB, 1);
}
IPR__FN void ipr__mul_backward(ipr_ctx *c, ipr__node *n)
{
    ipr__binary_backward(c, n, IPR_OP_MUL, 0);
    ipr__binary_backward(c, n, IPR_OP_MUL, 1);
}
IPR__FN void ipr__div_backward(ipr_ctx *c, ipr__node *n)
{
    ipr__binary_backward(c, n, IPR_OP_DIV, 0);
    ipr__binary_backward(c, n, IPR_OP_DIV, 1);
}

/* ---- affine, exp, log, sqrt, square, relu, sigmoid, tanh ---- */

typedef struct ipr__affine_aux {
    ipr_real scale, shift;
} ipr__affine_aux;

IPR__FN ipr_tensor *ipr__unary(ipr_ctx *c, int op, ipr_tensor *x, const ipr__affine_aux *aux)
{
    ipr_tensor *y;
    const ipr_real *px;
    ipr_real *py;
    ipr_index i;
    if (!ipr__in_real(c, ipr_op_name(op), "x", x)) return ipr__poison(c);
    x = ipr__contig(c, x);
    if (ipr_is_poison(x)) return x;
    y = ipr__temp(c, x->rank, x->dim);
    if (ipr_is_poison(y)) return y;
    px = ipr__rd(x);
    py = ipr__wr(y);
    switch (op) {
    case IPR_OP_EXP: c->kern->vexp(x->n, px, py); break;
    case IPR_OP_LOG: c->kern->vlog(x->n, px, py); break;
    case IPR_OP_SIGMOID: c->kern->vsigmoid(x->n, px, py); break;
    case IPR_OP_TANH: c->kern->vtanh(x->n, px, py); break;
    case IPR_OP_SQUARE: c->kern->mul(x->n, px, px, py); break;
    case IPR_OP_SQRT:
        for (i = 0; i < x->n; i++) py[i] = ipr__sqrt_real(px[i]);
        break;
    case IPR_OP_RELU:
        for (i = 0; i < x->n; i++) py[i] = px[i] > IPR__R(0) ? px[i] : px[i] != px[i] ? px[i] : IPR__R(0);
        break;
    default:
        for (i = 0; i < x->n; i++) py[i] = ipr__add1(ipr__mul1(px[i], aux->scale), aux->shift);
        break;
    }
    return ipr__done(c, op, 1, &x, y, aux, aux ? sizeof *aux : 0);
}

#define IPR__UNARY_BACKWARD(name, expr) \
    IPR__FN void ipr__##name##_backward(ipr_ctx *c, ipr__node *n) \
    { \
        const ipr_real *g = ipr__grad_of(n->out[0]), *px = ipr__rd(n->in[0]), *py = ipr__rd(n->out[0]); \
        const ipr__affine_aux *aux = (const ipr__affine_aux *)n->aux; \
        ipr_real *d = ipr__grad_acc(c, n->in[0]); \
        ipr_index i; \
        (void)px; \
        (void)py; \
        (void)aux; \
        if (d) \
            for (i = 0; i < n->in[0]->n; i++) { \
                const ipr_real x = px[i], y = py[i]; \
                (void)x; \
                (void)y; \
                ipr__acc1(&d[i], g[i], (expr)); \
            } \
    }
IPR__UNARY_BACKWARD(affine, aux->scale)
IPR__UNARY_BACKWARD(exp, y)
IPR__UNARY_BACKWARD(log, ipr__div1(IPR__R(1), x))
IPR__UNARY_BACKWARD(sqrt, y > IPR__R(0) ? ipr__div1(IPR__R(0.5), y) : IPR__R(0))
IPR__UNARY_BACKWARD(square, ipr__add1(x, x))
IPR__UNARY_BACKWARD(relu, x > IPR__R(0) ? IPR__R(1) : IPR__R(0))
IPR__UNARY_BACKWARD(sigmoid, ipr__mul1(y, ipr__sub1(IPR__R(1), y)))
IPR__UNARY_BACKWARD(tanh, ipr__sub1(IPR__R(1), ipr__mul1(y, y)))
#undef IPR__UNARY_BACKWARD

IPR_API ipr_tensor *ipr_affine(ipr_ctx *c, ipr_tensor *x, double scale, double shift)
{
    ipr__affine_aux a;
    a.scale = IPR__R(scale);
    a.shift = IPR__R(shift);
    return ipr__unary(c, IPR_OP_AFFINE, x, &a);
}
IPR_API ipr_tensor *ipr_exp(ipr_ctx *c, ipr_tensor *x) { return ipr__unary(c, IPR_OP_EXP, x, NULL); }
IPR_API ipr_tensor *ipr_log(ipr_ctx *c, ipr_tensor *x) { return ipr__unary(c, IPR_OP_LOG, x, NULL); }
IPR_API ipr_tensor *ipr_sqrt(ipr_ctx *c, ipr_tensor *x) { return ipr__unary(c, IPR_OP_SQRT, x, NULL); }
IPR_API ipr_tensor *ipr_square(ipr_ctx *c, ipr_tensor *x) { return ipr__unary(c, IPR_OP_SQUARE, x, NULL); }
IPR_API ipr_tensor *ipr_relu(ipr_ctx *c, ipr_tensor *x) { return ipr__unary(c, IPR_OP_RELU, x, NULL); }
IPR_API ipr_tensor *ipr_sigmoid(ipr_ctx *c, ipr_tensor *x) { return ipr__unary(c, IPR_OP_SIGMOID, x, NULL); }
IPR_API ipr_tensor *ipr_tanh(ipr_ctx *c, ipr_tensor *x) { return ipr__unary(c, IPR_OP_TANH, x, NULL); }

/* ---- sum ---- */

typedef struct ipr__sum_aux {
    ipr_index outer, mid, inner;
} ipr__sum_aux;

IPR__FN ipr_tensor *ipr__sum_over(ipr_ctx *c, const char *fn, ipr_tensor *x, int axis, int all)
{
    ipr__sum_aux a = IPR_ZERO;
    ipr_index dims[IPR_MAX_RANK] = {0, 0, 0, 0, 0, 0}, o;
    ipr_tensor *y;
    char s[96];
    int k, rank = 0;
    if (!ipr__in_real(c, fn, "x", x)) return ipr__poison(c);
    if (axis < 0) axis += x->rank;
    if (!all && (axis < 0 || axis >= x->rank)) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "no such axis in %s", ipr__shape(x, s));
        return ipr__poison(c);
    }
    x = ipr__contig(c, x);
    if (ipr_is_poison(x)) return x;
    a.outer = a.inner = 1;
    a.mid = all ? x->n : x->dim[axis];
    for (k = 0; !all && k < x->rank; k++) {
        if (k == axis) continue;
        if (k < axis) a.outer *= x->dim[k];
        else a.inner *= x->dim[k];
        dims[rank++] = x->dim[k];
    }
    y = ipr__temp(c, rank, dims);
    if (ipr_is_poison(y)) return y;
    for (o = 0; o < a.outer; o++) {
        const ipr_real *p = ipr__rd(x) + o * a.mid * a.inner;
        if (a.inner == 1) ipr__wr(y)[o] = c->kern->sum(a.mid, p);
        else c->kern->col_sum(a.mid, a.inner, p, a.inner, 0, ipr__wr(y) + o * a.inner);
    }
    return ipr__done(c, IPR_OP_SUM, 1, &x, y, &a, sizeof a);
}

IPR__FN void ipr__sum_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr__sum_aux *a = (const ipr__sum_aux *)n->aux;
    const ipr_real *g = ipr__grad_of(n->out[0]);
    ipr_real *d = ipr__grad_acc(c, n->in[0]);
    ipr_index o, m, i;
    if (!d) return;
    for (o = 0; o < a->outer; o++)
        for (m = 0; m < a->mid; m++)
            for (i = 0; i < a->inner; i++, d++) *d = ipr__add1(*d, g[o * a->inner + i]);
}

IPR_API ipr_tensor *ipr_sum(ipr_ctx *c, ipr_tensor *x) { return ipr__sum_over(c, "ipr_sum", x, 0, 1); }
IPR_API ipr_tensor *ipr_mean(ipr_ctx *c, ipr_tensor *x)
{
    return ipr_affine(c, ipr__sum_over(c, "ipr_mean", x, 0, 1), 1.0 / (double)IPR__MAX(ipr_count(x), (ipr_index)1), 0);
}
IPR_API ipr_tensor *ipr_sum_axis(ipr_ctx *c, ipr_tensor *x, int axis)
{
    return ipr__sum_over(c, "ipr_sum_axis", x, axis, 0);
}
IPR_API ipr_tensor *ipr_mean_axis(ipr_ctx *c, ipr_tensor *x, int axis)
{
    const ipr_index n = ipr_dim(x, axis);
    return ipr_affine(c, ipr__sum_over(c, "ipr_mean_axis", x, axis, 0), 1.0 / (double)IPR__MAX(n, (ipr_index)1), 0);
}

/* ---- matmul ---- */

typedef struct ipr__mm {
    ipr_index l, m, n, k, sb;
} ipr__mm; /* batches, sizes, elements between b's batches (0: shared) */

IPR_API ipr_tensor *ipr_matmul(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b)
{
    ipr_tensor *in[2], *y;
    ipr__mm q;
    ipr_index i;
    char s1[96], s2[96];
    if (!ipr__in_real(c, "ipr_matmul", "a", a) || !ipr__in_real(c, "ipr_matmul", "b", b)) return ipr__poison(c);
    if (a->rank < 2 || a->rank > 3 || b->rank < 2 || b->rank > a->rank || (b->rank == 3 && a->dim[0] != b->dim[0])) {
        (void)ipr__fail(c, IPR_E_SHAPE, "ipr_matmul",
                        "%s by %s: ranks 2 by 2, 3 by 2, or 3 by 3 with equal first sizes", ipr__shape(a, s1),
                        ipr__shape(b, s2));
        return ipr__poison(c);
    }
    q.k = ipr_dim(a, -1);
    if (q.k != ipr_dim(b, -2)) {
        (void)ipr__fail(c, IPR_E_SHAPE, "ipr_matmul", "%s by %s: inner dimensions %I and %I differ", ipr__shape(a, s1),
                        ipr__shape(b, s2), q.k, ipr_dim(b, -2));
        return ipr__poison(c);
    }
    in[0] = a = ipr__contig(c, a);
    in[1] = b = ipr__contig(c, b);
    if (ipr_is_poison(a) || ipr_is_poison(b)) return ipr__poison(c);
    q.n = ipr_dim(b, -1);
    q.m = ipr_dim(a, -2);
    q.l = a->rank == 3 ? a->dim[0] : 1;
    q.sb = b->rank == 3 ? q.k * q.n : 0;
    if (q.sb == 0) {
        q.m *= q.l;
        q.l = 1;
    } /* a shared b: one tall product */
    y = a->rank == 3 ? ipr__temp3(c, a->dim[0], a->dim[1], q.n) : ipr__temp2(c, q.m, q.n);
    if (ipr_is_poison(y)) return y;
    for (i = 0; i < q.l; i++)
        if (!ipr__gemm(c, q.m, q.n, q.k, ipr__rd(a) + i * q.m * q.k, q.k, 1, ipr__rd(b) + i * q.sb, q.n, 1, 0,
                       ipr__wr(y) + i * q.m * q.n, q.n))
            return ipr__poison(c);
    return ipr__done(c, IPR_OP_MATMUL, 2, in, y, &q, sizeof q);
}

IPR__FN void ipr__matmul_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr__mm *q = (const ipr__mm *)n->aux;
    const ipr_real *g = ipr__grad_of(n->out[0]), *a = ipr__rd(n->in[0]), *b = ipr__rd(n->in[1]);
    ipr_real *da = ipr__grad_acc(c, n->in[0]), *db = ipr__grad_acc(c, n->in[1]);
    ipr_index i;
    for (i = 0; i < q->l; i++) {
        const ipr_real *gi = g + i * q->m * q->n;
        if (da)
            (void)ipr__gemm(c, q->m, q->k, q->n, gi, q->n, 1, b + i * q->sb, 1, q->n, 1, da + i * q->m * q->k, q->k);
        if (db)
            (void)ipr__gemm(c, q->k, q->n, q->m, a + i * q->m * q->k, 1, q->k, gi, q->n, 1, 1, db + i * q->sb, q->n);
    }
}

/* ---- linear ---- */

IPR_API ipr_tensor *ipr_linear(ipr_ctx *c, ipr_tensor *x, ipr_tensor *w, ipr_tensor *b)
{
    const char *fn = "ipr_linear";
    ipr_tensor *in[3], *y;
    ipr_index dims[IPR_MAX_RANK], m, o, i, r;
    char s1[96], s2[96];
    int k;
    if (!ipr__in_real(c, fn, "x", x) || !ipr__in_real(c, fn, "w", w) || (b && !ipr__in_real(c, fn, "b", b)))
        return ipr__poison(c);
    if (x->rank < 1 || w->rank != 2 || ipr_dim(x, -1) != w->dim[1]) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "x %s by w %s: x's last size must be w's second, %I", ipr__shape(x, s1),
                        ipr__shape(w, s2), ipr_dim(w, 1));
        return ipr__poison(c);
    }
    if (b && (b->rank != 1 || b->dim[0] != w->dim[0])) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "b is %s; w %s needs %I", ipr__shape(b, s1), ipr__shape(w, s2), w->dim[0]);
        return ipr__poison(c);
    }
    in[0] = x = ipr__contig(c, x);
    in[1] = w = ipr__contig(c, w);
    in[2] = b = b ? ipr__contig(c, b) : NULL;
    if (ipr_is_poison(x) || ipr_is_poison(w) || (b && ipr_is_poison(b))) return ipr__poison(c);
    o = w->dim[0];
    i = w->dim[1];
    m = x->n / i;
    for (k = 0; k < x->rank; k++) dims[k] = x->dim[k];
    dims[x->rank - 1] = o;
    y = ipr__temp(c, x->rank, dims);
    if (ipr_is_poison(y)) return y;
    for (r = 0; b && r < m; r++) ipr__copy(ipr__wr(y) + r * o, ipr__rd(b), (size_t)o * sizeof(ipr_real));
    if (!ipr__gemm(c, m, o, i, ipr__rd(x), i, 1, ipr__rd(w), 1, i, b != NULL, ipr__wr(y), o)) return ipr__poison(c);
    return ipr__done(c, IPR_OP_LINEAR, 3, in, y, NULL, 0);
}

IPR__FN void ipr__linear_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr_tensor *w = n->in[1];
    const ipr_index o = w->dim[0], i = w->dim[1], m = n->in[0]->n / i;
    const ipr_real *g = ipr__grad_of(n->out[0]);
    ipr_real *dx = ipr__grad_acc(c, n->in[0]), *dw = ipr__grad_acc(c, n->in[1]), *db = ipr__grad_acc(c, n->in[2]);
    if (dx) (void)ipr__gemm(c, m, i, o, g, o, 1, ipr__rd(w), i, 1, 1, dx, i);
    if (dw) (void)ipr__gemm(c, o, i, m, g, 1, o, ipr__rd(n->in[0]), i, 1, 1, dw, i);
    if (db) c->kern->col_sum(m, o, g, o, 1, db);
}

/* ---- softmax, log_softmax ---- */

IPR__FN ipr_tensor *ipr__softmax_any(ipr_ctx *c, int op, ipr_tensor *x)
{
    ipr_tensor *y;
    if (!ipr__in_real(c, ipr_op_name(op), "x", x)) return ipr__poison(c);
    if (x->rank < 1) {
        (void)ipr__fail(c, IPR_E_SHAPE, ipr_op_name(op), "a scalar has no last axis");
        return ipr__poison(c);
    }
    x = ipr__contig(c, x);
    if (ipr_is_poison(x)) return x;
    y = ipr__temp(c, x->rank, x->dim);
    if (ipr_is_poison(y)) return y;
    (op == IPR_OP_SOFTMAX ? ipr__softmax_rows : ipr__log_softmax_rows)(c->kern, x->n / ipr_dim(x, -1), ipr_dim(x, -1),
                                                                       ipr__rd(x), ipr__wr(y));
    return ipr__done(c, op, 1, &x, y, NULL, 0);
}

IPR_API ipr_tensor *ipr_softmax(ipr_ctx *c, ipr_tensor *x) { return ipr__softmax_any(c, IPR_OP_SOFTMAX, x); }
IPR_API ipr_tensor *ipr_log_softmax(ipr_ctx *c, ipr_tensor *x) { return ipr__softmax_any(c, IPR_OP_LOG_SOFTMAX, x); }

/* softmax: dx = y (g - <g, y>) */
IPR__FN void ipr__softmax_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr_index w = ipr_dim(n->out[0], -1);
    const ipr_real *g = ipr__grad_of(n->out[0]), *y = ipr__rd(n->out[0]);
    ipr_real *d = ipr__grad_acc(c, n->in[0]);
    ipr_index r, i;
    if (!d) return;
    for (r = 0; r < n->out[0]->n; r += w) {
        const ipr_real s = c->kern->dot(w, g + r, y + r);
        for (i = r; i < r + w; i++) ipr__acc1(&d[i], y[i], ipr__sub1(g[i], s));
    }
}

/* log softmax: dx = g - softmax(x) sum(g) */
IPR__FN void ipr__log_softmax_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr_index w = ipr_dim(n->out[0], -1);
    const ipr_real *g = ipr__grad_of(n->out[0]), *y = ipr__rd(n->out[0]);
    ipr_real *d = ipr__grad_acc(c, n->in[0]), *p;
    ipr_index r, i;
    if (!d || !(p = (ipr_real *)ipr__keep(c, (size_t)w * sizeof *p))) return;
    for (r = 0; r < n->out[0]->n; r += w) {
        const ipr_real s = c->kern->sum(w, g + r);
        c->kern->vexp(w, y + r, p);
        for (i = 0; i < w; i++) d[r + i] = ipr__add1(d[r + i], ipr__sub1(g[r + i], ipr__mul1(p[i], s)));
    }
}

/* ---- cross_entropy, nll ---- */

typedef struct ipr__ce_aux {
    ipr_real *logp;
    ipr_index used;
} ipr__ce_aux;

/* Mean of -logp[row][label] over the rows that count; -1 rows on a bad label. */
IPR__FN ipr_index ipr__pick(ipr_ctx *c, const char *fn, const ipr_tensor *x, const ipr_real *logp,
                            const ipr_tensor *labels, ipr_real *mean)
{
    const int32_t *lab = ipr__rdi(labels);
    const ipr_index w = x->dim[1];
    ipr_index r, used = 0;
    double sum = 0;
    for (r = 0; r < x->dim[0]; r++) {
        if (lab[r] == -100) continue;
        if (lab[r] < 0 || lab[r] >= w) {
            (void)ipr__fail(c, IPR_E_RANGE, fn, "label %d in row %I; 0..%I, or -100 to leave the row out", (int)lab[r],
                            r, w - 1);
            return -1;
        }
        sum -= (double)logp[r * w + lab[r]];
        used++;
    }
    *mean = IPR__R(used ? sum / (double)used : 0.0);
    return used;
}

IPR__FN ipr_tensor *ipr__class_loss(ipr_ctx *c, int op, ipr_tensor *x, ipr_tensor *labels)
{
    const char *fn = ipr_op_name(op);
    ipr_tensor *in[2], *y;
    ipr__ce_aux a;
    char s1[96], s2[96];
    if (!ipr__in_real(c, fn, op == IPR_OP_NLL ? "logp" : "logits", x) || !ipr__in_i32(c, fn, "labels", labels))
        return ipr__poison(c);
    if (x->rank != 2 || labels->rank != 1 || labels->dim[0] != x->dim[0]) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "%s against labels %s; [N,C] against [N] is needed", ipr__shape(x, s1),
                        ipr__shape(labels, s2));
        return ipr__poison(c);
    }
    in[0] = x = ipr__contig(c, x);
    in[1] = labels = ipr__contig(c, labels);
    y = ipr_is_poison(x) || ipr_is_poison(labels) ? ipr__poison(c) : ipr__temp(c, 0, NULL);
    if (ipr_is_poison(y)) return y;
    a.logp = ipr__wr(x);
    if (op == IPR_OP_CROSS_ENTROPY) {
        a.logp = (ipr_real *)ipr__keep(c, (size_t)x->n * sizeof(ipr_real));
        if (!a.logp) return ipr__poison(c);
        ipr__log_softmax_rows(c->kern, x->dim[0], x->dim[1], ipr__rd(x), a.logp);
    }
    a.used = ipr__pick(c, fn, x, a.logp, labels, ipr__wr(y));
    if (a.used < 0) return ipr__poison(c);
    return ipr__done(c, op, 2, in, y, &a, sizeof a);
}

IPR_API ipr_tensor *ipr_cross_entropy(ipr_ctx *c, ipr_tensor *logits, ipr_tensor *labels)
{
    return ipr__class_loss(c, IPR_OP_CROSS_ENTROPY, logits, labels);
}
IPR_API ipr_tensor *ipr_nll(ipr_ctx *c, ipr_tensor *logp, ipr_tensor *labels)
{
    return ipr__class_loss(c, IPR_OP_NLL, logp, labels);
}

/* (softmax - one hot) g / rows */
IPR__FN void ipr__cross_entropy_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr__ce_aux *a = (const ipr__ce_aux *)n->aux;
    const ipr_tensor *x = n->in[0];
    const int32_t *lab = ipr__rdi(n->in[1]);
    const ipr_index w = x->dim[1];
    ipr_real *d = ipr__grad_acc(c, n->in[0]), g;
    ipr_index r, i;
    if (!d || !a->used) return;
    g = ipr__grad_of(n->out[0])[0] / IPR__R(a->used);
    c->kern->vexp(x->n, a->logp, a->logp); /* in place: the log-probabilities are ours */
    for (r = 0; r < x->dim[0]; r++) {
        if (lab[r] == -100) continue;
        for (i = 0; i < w; i++)
            ipr__acc1(&d[r * w + i], g, ipr__sub1(a->logp[r * w + i], i == lab[r] ? IPR__R(1) : IPR__R(0)));
    }
}

IPR__FN void ipr__nll_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr__ce_aux *a = (const ipr__ce_aux *)n->aux;
    const int32_t *lab = ipr__rdi(n->in[1]);
    ipr_real *d = ipr__grad_acc(c, n->in[0]), g;
    ipr_index r;
    if (!d || !a->used) return;
    g = ipr__grad_of(n->out[0])[0] / IPR__R(a->used);
    for (r = 0; r < n->in[0]->dim[0]; r++)
        if (lab[r] != -100) {
            ipr_real *at = d + r * n->in[0]->dim[1] + lab[r];
            *at = ipr__sub1(*at, g);
        }
}

/* ---- bce, mse ---- */

IPR__FN ipr_tensor *ipr__pair_loss(ipr_ctx *c, int op, ipr_tensor *a, ipr_tensor *b)
{
    const char *fn = ipr_op_name(op);
    ipr_tensor *in[2], *y;
    const ipr_real *pa, *pb;
    ipr_real *t;
    ipr_index i;
    double sum = 0;
    char s1[96], s2[96];
    if (!ipr__in_real(c, fn, "the first tensor", a) || !ipr__in_real(c, fn, "the second tensor", b))
        return ipr__poison(c);
    if (!ipr__same_shape(a, b)) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "%s against %s; shapes must be equal", ipr__shape(a, s1),
                        ipr__shape(b, s2));
        return ipr__poison(c);
    }
    in[0] = a = ipr__contig(c, a);
    in[1] = b = ipr__contig(c, b);
    y = ipr_is_poison(a) || ipr_is_poison(b) ? ipr__poison(c) : ipr__temp(c, 0, NULL);
    if (ipr_is_poison(y)) return y;
    pa = ipr__rd(a);
    pb = ipr__rd(b);
    if (op == IPR_OP_MSE) {
        for (i = 0; i < a->n; i++) {
            const double e = (double)pa[i] - (double)pb[i];
            sum += e * e;
        }
    } else {
        /* max(x,0) - x t + log(1 + e^-|x|): no overflow for any x */
        t = (ipr_real *)ipr__keep(c, (size_t)a->n * sizeof *t);
        if (!t) return ipr__poison(c);
        for (i = 0; i < a->n; i++) t[i] = pa[i] > IPR__R(0) ? -pa[i] : pa[i];
        c->kern->vexp(a->n, t, t);
        for (i = 0; i < a->n; i++) t[i] = ipr__add1(t[i], IPR__R(1));
        c->kern->vlog(a->n, t, t);
        for (i = 0; i < a->n; i++)
            sum += (double)(pa[i] > IPR__R(0) ? pa[i] : IPR__R(0)) - (double)pa[i] * (double)pb[i] + (double)t[i];
    }
    ipr__wr(y)[0] = IPR__R(sum / (double)a->n);
    return ipr__done(c, op, 2, in, y, NULL, 0);
}

IPR_API ipr_tensor *ipr_bce(ipr_ctx *c, ipr_tensor *logits, ipr_tensor *target)
{
    return ipr__pair_loss(c, IPR_OP_BCE, logits, target);
}
IPR_API ipr_tensor *ipr_mse(ipr_ctx *c, ipr_tensor *a, ipr_tensor *b) { return ipr__pair_loss(c, IPR_OP_MSE, a, b); }

IPR__FN void ipr__bce_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr_tensor *x = n->in[0];
    const ipr_real *t = ipr__rd(n->in[1]);
    ipr_real *d = ipr__grad_acc(c, n->in[0]), *p, g;
    ipr_index i;
    if (!d || !(p = (ipr_real *)ipr__keep(c, (size_t)x->n * sizeof *p))) return;
    g = ipr__grad_of(n->out[0])[0] / IPR__R(x->n);
    c->kern->vsigmoid(x->n, ipr__rd(x), p);
    for (i = 0; i < x->n; i++) ipr__acc1(&d[i], g, ipr__sub1(p[i], t[i]));
}

IPR__FN void ipr__mse_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr_real *a = ipr__rd(n->in[0]), *b = ipr__rd(n->in[1]);
    ipr_real *da = ipr__grad_acc(c, n->in[0]), *db = ipr__grad_acc(c, n->in[1]);
    const ipr_real g = ipr__div1(ipr__mul1(ipr__grad_of(n->out[0])[0], IPR__R(2)), IPR__R(n->in[0]->n));
    ipr_index i;
    for (i = 0; i < n->in[0]->n; i++) {
        const ipr_real e = ipr__mul1(g, ipr__sub1(a[i], b[i]));
        if (da) da[i] = ipr__add1(da[i], e);
        if (db) db[i] = ipr__sub1(db[i], e);
    }
}

/* ---- kl_div ---- */

typedef struct ipr__kl_aux {
    ipr_real *ps, *pt;
    ipr_real temperature;
} ipr__kl_aux;

IPR_API ipr_tensor *ipr_kl_div(ipr_ctx *c, ipr_tensor *student, ipr_tensor *teacher, double temperature)
{
    const char *fn = "ipr_kl_div";
    ipr_tensor *in[1], *y;
    ipr__kl_aux a;
    ipr_index i;
    double sum = 0;
    char s1[96], s2[96];
    if (!ipr__in_real(c, fn, "student", student) || !ipr__in_real(c, fn, "teacher", teacher)) return ipr__poison(c);
    if (student->rank != 2 || !ipr__same_shape(student, teacher)) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "student %s, teacher %s; both must be the same [N,C]",
                        ipr__shape(student, s1), ipr__shape(teacher, s2));
        return ipr__poison(c);
    }
    if (!(temperature > 0) || !ipr__finite(temperature)) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "temperature %g; it must be positive", temperature);
        return ipr__poison(c);
    }
    in[0] = student = ipr__contig(c, student);
    teacher = ipr__contig(c, teacher);
    y = ipr_is_poison(student) || ipr_is_poison(teacher) ? ipr__poison(c) : ipr__temp(c, 0, NULL);
    if (ipr_is_poison(y)) return y;
    a.temperature = IPR__R(temperature);
    a.ps = (ipr_real *)ipr__keep(c, (size_t)student->n * sizeof(ipr_real));
    a.pt = (ipr_real *)ipr__keep(c, (size_t)student->n * sizeof(ipr_real));
    if (!a.ps || !a.pt) return ipr__poison(c);
    c->kern->scale(student->n, IPR__R(1.0 / temperature), ipr__rd(student), a.ps);
    c->kern->scale(student->n, IPR__R(1.0 / temperature), ipr__rd(teacher), a.pt);
    ipr__log_softmax_rows(c->kern, student->dim[0], student->dim[1], a.ps, a.ps);
    ipr__log_softmax_rows(c->kern, student->dim[0], student->dim[1], a.pt, a.pt);
    for (i = 0; i < student->n; i++) sum += ipr__dexp((double)a.pt[i]) * ((double)a.pt[i] - (double)a.ps[i]);
    ipr__wr(y)[0] = IPR__R(sum * temperature * temperature / (double)student->dim[0]);
    c->kern->vexp(student->n, a.ps, a.ps);
    c->kern->vexp(student->n, a.pt, a.pt);
    return ipr__done(c, IPR_OP_KL_DIV, 1, in, y, &a, sizeof a);
}

IPR__FN void ipr__kl_div_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr__kl_aux *a = (const ipr__kl_aux *)n->aux;
    ipr_real *d = ipr__grad_acc(c, n->in[0]);
    const ipr_real g = ipr__div1(ipr__mul1(ipr__grad_of(n->out[0])[0], a->temperature), IPR__R(n->in[0]->dim[0]));
    ipr_index i;
    if (d)
        for (i = 0; i < n->in[0]->n; i++) ipr__acc1(&d[i], g, ipr__sub1(a->ps[i], a->pt[i]));
}

/* ---- embedding ---- */

typedef struct ipr__emb_aux {
    int pad;
} ipr__emb_aux;

IPR_API ipr_tensor *ipr_embedding(ipr_ctx *c, ipr_tensor *table, ipr_tensor *ids, int pad)
{
    const char *fn = "ipr_embedding";
    ipr_tensor *in[2], *y;
    ipr_index dims[IPR_MAX_RANK], v, w, i;
    ipr__emb_aux a;
    char s[96];
    int k;
    if (!ipr__in_real(c, fn, "table", table) || !ipr__in_i32(c, fn, "ids", ids)) return ipr__poison(c);
    if (table->rank != 2 || ids->rank >= IPR_MAX_RANK) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "the table is %s; [vocabulary, width] is needed", ipr__shape(table, s));
        return ipr__poison(c);
    }
    in[0] = table = ipr__contig(c, table);
    in[1] = ids = ipr__contig(c, ids);
    if (ipr_is_poison(table) || ipr_is_poison(ids)) return ipr__poison(c);
    v = table->dim[0];
    w = table->dim[1];
    for (k = 0; k < ids->rank; k++) dims[k] = ids->dim[k];
    dims[ids->rank] = w;
    y = ipr__temp(c, ids->rank + 1, dims);
    if (ipr_is_poison(y)) return y;
    for (i = 0; i < ids->n; i++) {
        const int32_t id = ipr__rdi(ids)[i];
        if (id < 0 || id >= v) {
            (void)ipr__fail(c, IPR_E_RANGE, fn, "id %d at %I; the table has 0..%I", (int)id, i, v - 1);
            return ipr__poison(c);
        }
        ipr__copy(ipr__wr(y) + i * w, ipr__rd(table) + id * w, (size_t)w * sizeof(ipr_real));
    }
    a.pad = pad;
    return ipr__done(c, IPR_OP_EMBEDDING, 2, in, y, &a, sizeof a);
}

IPR__FN void ipr__embedding_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr__emb_aux *a = (const ipr__emb_aux *)n->aux;
    const ipr_tensor *ids = n->in[1];
    const ipr_index w = n->in[0]->dim[1];
    const ipr_real *g = ipr__grad_of(n->out[0]);
    ipr_real *d = ipr__grad_acc(c, n->in[0]);
    ipr_index i;
    if (!d) return;
    for (i = 0; i < ids->n; i++) {
        const int32_t id = ipr__rdi(ids)[i];
        if (id != a->pad) c->kern->axpy(w, IPR__R(1), g + i * w, d + id * w);
    }
}

/* ---- dropout ---- */

enum {
    IPR__STREAM_INIT = 1,
    IPR__STREAM_SHUFFLE = 2,
    IPR__STREAM_KEY = 3,
    IPR__STREAM_DATA = 4,
    IPR__STREAM_DROPOUT = 0x10000
};
typedef struct ipr__drop_aux {
    ipr_real *mask;
} ipr__drop_aux;

IPR_API ipr_tensor *ipr_dropout(ipr_ctx *c, ipr_tensor *x, double p)
{
    ipr_tensor *y;
    ipr__drop_aux a;
    ipr_index i, k;
    uint32_t r[4] = {0, 0, 0, 0}, cut;
    ipr_real scale[2];
    if (!ipr__in_real(c, "ipr_dropout", "x", x)) return ipr__poison(c);
    if (!(p >= 0 && p < 1)) {
        (void)ipr__fail(c, IPR_E_RANGE, "ipr_dropout", "p = %g; 0 <= p < 1", p);
        return ipr__poison(c);
    }
    if (!c->training || p == 0) return x;
    x = ipr__contig(c, x);
    y = ipr_is_poison(x) ? x : ipr__temp(c, x->rank, x->dim);
    if (ipr_is_poison(y)) return y;
    a.mask = (ipr_real *)ipr__keep(c, (size_t)x->n * sizeof(ipr_real));
    if (!a.mask) return ipr__poison(c);
    cut = (uint32_t)(p * 4294967296.0);
    scale[0] = IPR__R(1.0 / (1.0 - p));
    scale[1] = IPR__R(0);
    for (i = 0; i < x->n; i += 4) {
        ipr_random_bits(c->d.seed, (uint32_t)IPR__STREAM_DROPOUT + c->draw_no, c->step_no, (uint64_t)i / 4, r);
        for (k = 0; k < IPR__MIN(4, x->n - i); k++) a.mask[i + k] = scale[r[k] < cut]; /* no branch on a coin */
    }
    c->draw_no++;
    c->kern->mul(x->n, ipr__rd(x), a.mask, ipr__wr(y));
    return ipr__done(c, IPR_OP_DROPOUT, 1, &x, y, &a, sizeof a);
}

IPR__FN void ipr__dropout_backward(ipr_ctx *c, ipr__node *n)
{
    ipr_real *d = ipr__grad_acc(c, n->in[0]);
    if (d) c->kern->fma_acc(n->in[0]->n, ipr__grad_of(n->out[0]), ((const ipr__drop_aux *)n->aux)->mask, d);
}

/* ---- concat ---- */

typedef struct ipr__cat_aux {
    ipr_index outer, inner;
    int axis;
} ipr__cat_aux;

IPR_API ipr_tensor *ipr_concat(ipr_ctx *c, ipr_tensor *const *x, int count, int axis)
{
    const char *fn = "ipr_concat";
    ipr_tensor **in, *y;
    ipr_index dims[IPR_MAX_RANK], o, at = 0;
    ipr__cat_aux a;
    char s1[96], s2[96];
    int i, k, is_int;
    if (!c) return NULL;
    if (!x || count < 1) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "%d tensors; give at least one", count);
        return ipr__poison(c);
    }
    for (i = 0; i < count; i++)
        if (!ipr__in(c, fn, "a tensor of the list", x[i])) return ipr__poison(c);
    if (axis < 0) axis += x[0]->rank;
    if (axis < 0 || axis >= x[0]->rank) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "no such axis in %s", ipr__shape(x[0], s1));
        return ipr__poison(c);
    }
    in = (ipr_tensor **)ipr__keep(c, (size_t)count * sizeof *in);
    if (!in) return ipr__poison(c);
    is_int = x[0]->s->type == IPR_T_I32;
    for (k = 0; k < x[0]->rank; k++) dims[k] = x[0]->dim[k];
    dims[axis] = 0;
    for (i = 0; i < count; i++) {
        int same = x[i]->rank == x[0]->rank && x[i]->s->type == x[0]->s->type;
        for (k = 0; same && k < x[0]->rank; k++) same = k == axis || x[i]->dim[k] == x[0]->dim[k];
        if (!same) {
            (void)ipr__fail(c, IPR_E_SHAPE, fn, "%s and %s do not join on axis %d", ipr__shape(x[0], s1),
                            ipr__shape(x[i], s2), axis);
            return ipr__poison(c);
        }
        in[i] = ipr__contig(c, x[i]);
        if (ipr_is_poison(in[i])) return in[i];
        dims[axis] += x[i]->dim[axis];
    }
    y = ipr__make(c, &c->step, fn, x[0]->s->type, x[0]->rank, dims);
    if (ipr_is_poison(y)) return y;
    a.axis = axis;
    for (a.outer = 1, k = 0; k < axis; k++) a.outer *= dims[k];
    a.inner = y->n / a.outer;
    for (i = 0; i < count; i++) {
        const ipr_index w = in[i]->n / a.outer;
        const size_t esz = is_int ? 4 : sizeof(ipr_real);
        for (o = 0; o < a.outer; o++)
            ipr__copy((char *)y->s->data + (size_t)(o * a.inner + at) * esz,
                      (const char *)in[i]->s->data + (size_t)(in[i]->off + o * w) * esz, (size_t)w * esz);
        at += w;
    }
    return ipr__done(c, IPR_OP_CONCAT, count, in, y, &a, sizeof a);
}

IPR__FN void ipr__concat_backward(ipr_ctx *c, ipr__node *n)
{
    const ipr__cat_aux *a = (const ipr__cat_aux *)n->aux;
    const ipr_real *g = ipr__grad_of(n->out[0]);
    ipr_index o, at = 0;
    int i;
    for (i = 0; i < n->nin; i++) {
        const ipr_index w = n->in[i]->n / a->outer;
        ipr_real *d = ipr__grad_acc(c, n->in[i]);
        for (o = 0; d && o < a->outer; o++) c->kern->axpy(w, IPR__R(1), g + o * a->inner + at, d + o * w);
        at += w;
    }
}

/* ---- grad_reverse ---- */

IPR_API ipr_tensor *ipr_grad_reverse(ipr_ctx *c, ipr_tensor *x, double lambda)
{
    ipr__affine_aux a;
    ipr_tensor *y;
    if (!ipr__in_real(c, "ipr_grad_reverse", "x", x)) return ipr__poison(c);
    x = ipr__contig(c, x);
    y = ipr_is_poison(x) ? x : ipr__temp(c, x->rank, x->dim);
    if (ipr_is_poison(y)) return y;
    ipr__copy(ipr__wr(y), ipr__rd(x), (size_t)x->n * sizeof(ipr_real));
    a.scale = IPR__R(-lambda);
    a.shift = IPR__R(0);
    return ipr__done(c, IPR_OP_GRAD_REVERSE, 1, &x, y, &a, sizeof a);
}

IPR__FN void ipr__grad_reverse_backward(ipr_ctx *c, ipr__node *n)
{
    ipr_real *d = ipr__grad_acc(c, n->in[0]);
    if (d) c->kern->axpy(n->in[0]->n, ((const ipr__affine_aux *)n->aux)->scale, ipr__grad_of(n->out[0]), d);
}

/* ---- argmax ---- */

IPR_API ipr_tensor *ipr_argmax(ipr_ctx *c, ipr_tensor *x)
{
    ipr_tensor *y;
    ipr_index w, r, i;
    if (!ipr__in_real(c, "ipr_argmax", "x", x)) return ipr__poison(c);
    if (x->rank < 1) {
        (void)ipr__fail(c, IPR_E_SHAPE, "ipr_argmax", "a scalar has no last axis");
        return ipr__poison(c);
    }
    x = ipr__contig(c, x);
    y = ipr_is_poison(x) ? x : ipr__make(c, &c->step, "ipr_argmax", IPR_T_I32, x->rank - 1, x->dim);
    if (ipr_is_poison(y)) return y;
    w = ipr_dim(x, -1);
    for (r = 0; r < y->n; r++) {
        const ipr_real *p = ipr__rd(x) + r * w;
        ipr_index best = 0;
        for (i = 1; i < w; i++)
            if (p[i] > p[best]) best = i;
        ((int32_t *)y->s->data)[r] = (int32_t)best;
    }
    return y;
}

/* ---- gradient check ---- */

IPR__FN double ipr__loss_value(ipr_ctx *c, ipr_loss_fn f, void *user)
{
    double v;
    ipr_no_grad(c, 1);
    v = (double)ipr_item(c, f(c, user));
    ipr_no_grad(c, 0);
    c->step_no--; /* the same dropout masks every time */
    ipr_step_end(c);
    return v;
}

IPR_API double ipr_gradcheck(ipr_ctx *c, ipr_params *p, ipr_loss_fn f, void *user, double eps, int samples)
{
    ipr_rng r = ipr_rng_make(1, 0, 0);
    double worst = 0;
    ipr__named *k;
    if (!c || c->err) return -1;
    if (!p || !f || !(eps > 0) || samples < 1) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_gradcheck", "needs parameters, a loss, eps > 0 and samples > 0");
        return -1;
    }
    ipr_params_zero_grad(p);
    if (ipr_backward(c, f(c, user)) != IPR_OK) return -1;
    c->step_no--;
    ipr_step_end(c);
    for (k = p->first; k; k = k->next) {
        ipr_real *w = ipr__wr(k->t);
        int s;
        for (s = 0; s < samples && s < k->t->n; s++) {
            const ipr_index i = k->t->n <= samples ? s : (ipr_index)ipr_rng_below(&r, (uint32_t)k->t->n);
            const ipr_real old = w[i];
            double up, down, num, ana, err;
            w[i] = IPR__R((double)old + eps);
            up = ipr__loss_value(c, f, user);
            w[i] = IPR__R((double)old - eps);
            down = ipr__loss_value(c, f, user);
            w[i] = old;
            num = (up - down) / (2 * eps);
            ana = k->t->s->grad ? (double)k->t->s->grad[i] : 0;
            err = ipr__dabs(num - ana) / IPR__MAX(1.0, IPR__MAX(ipr__dabs(num), ipr__dabs(ana)));
            if (!(err <= worst)) worst = err; /* NaN is worst */
            if (c->err) return -1;
        }
    }
    return worst;
}
#endif /* IPR_FLOOR_MAX >= 5 */

#if IPR_FLOOR_MAX >= 5 && !defined(IPR_NO_RNN)
/* ---- lstm, gru ---------------------------------------------------------------------------- >>lstm
   Shapes are checked here; the work is ipr__rnn_forward and ipr__rnn_backward of floor 2. */

/* Slots of the node. NULL stands for what was not given or not wanted. */
enum {
    IPR__RNN_X,
    IPR__RNN_H0,
    IPR__RNN_C0,
    IPR__RNN_W_IH,
    IPR__RNN_W_HH,
    IPR__RNN_B_IH,
    IPR__RNN_B_HH,
    IPR__RNN_GATE,
    IPR__RNN_NIN
};
enum { IPR__RNN_H_N, IPR__RNN_C_N, IPR__RNN_Y, IPR__RNN_GATE_OUT, IPR__RNN_NOUT };

static const char *const ipr__rnn_arg[IPR__RNN_NIN] = {"x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "gate"};

/* An error unless the argument is absent or d0 x d1 (d1 = 0: d0 alone). */
IPR__FN int ipr__rnn_expect(ipr_ctx *c, const char *fn, ipr_tensor *const *in, int which, ipr_index d0, ipr_index d1,
                            ipr_index hidden)
{
    const ipr_tensor *t = in[which];
    char s[96], want[64];
    if (!t) return IPR_OK;
    if (d1 ? t->rank == 2 && t->dim[0] == d0 && t->dim[1] == d1 : t->rank == 1 && t->dim[0] == d0) return IPR_OK;
    if (d1) (void)ipr__fmt(want, sizeof want, "%Ix%I", d0, d1);
    else (void)ipr__fmt(want, sizeof want, "%I", d0);
    return ipr__fail(c, IPR_E_SHAPE, fn, "%s is %s, expected %s for hidden %I", ipr__rnn_arg[which], ipr__shape(t, s),
                     want, hidden);
}

/* x, w_ih and w_hh must be there; nothing may be poison (0 without an error) or hold integers. */
IPR__FN int ipr__rnn_given(ipr_ctx *c, const char *fn, ipr_tensor *const *in)
{
    int i;
    for (i = 0; i < IPR__RNN_NIN; i++) {
        const int must = i == IPR__RNN_X || i == IPR__RNN_W_IH || i == IPR__RNN_W_HH;
        if ((must || in[i]) && !ipr__in_real(c, fn, ipr__rnn_arg[i], in[i])) return 0;
    }
    return 1;
}

/* The gate's sizes into r. */
IPR__FN int ipr__rnn_gate_shape(ipr_ctx *c, const char *fn, const ipr_tensor *gate, const ipr_rnn_in *d, ipr__rnn *r)
{
    char s[96];
    if (!gate) return IPR_OK;
    if (gate->rank != 2 || gate->dim[1] != r->H)
        return ipr__fail(c, IPR_E_SHAPE, fn, "gate is %s, expected steps x %I", ipr__shape(gate, s), r->H);
    if (d->gate_from < 0 || d->gate_from > r->B)
        return ipr__fail(c, IPR_E_RANGE, fn, "gate_from is %I; 0..%I rows", d->gate_from, r->B);
    r->Tk = gate->dim[0];
    r->gate_from = r->dual && !d->gate_from ? r->Bx : d->gate_from;
    return IPR_OK;
}

/* Sizes from x and w_hh into r, checked against everything else. */
IPR__FN int ipr__rnn_shapes(ipr_ctx *c, const char *fn, ipr_tensor *const *in, const ipr_rnn_in *d, ipr_index gates,
                            ipr__rnn *r)
{
    const ipr_tensor *x = in[IPR__RNN_X], *w = in[IPR__RNN_W_HH];
    ipr_index H, G;
    char s[96];
    int bad;
    if (x->rank != 3)
        return ipr__fail(c, IPR_E_SHAPE, fn, "x is %s; steps x rows x inputs are needed", ipr__shape(x, s));
    if (gates != 4 && in[IPR__RNN_C0])
        return ipr__fail(c, IPR_E_ARG, fn, "c0 is given; a %s has no cell state, pass NULL",
                         gates == 3 ? "GRU" : "vanilla cell");
    if (w->rank != 2)
        return ipr__fail(c, IPR_E_SHAPE, fn, "w_hh is %s; %I*hidden x hidden is needed", ipr__shape(w, s), gates);
    r->T = x->dim[0];
    r->Bx = x->dim[1];
    r->I = x->dim[2];
    r->dual = d->dual != 0;
    r->B = r->Bx * (r->dual ? 2 : 1);
    r->H = H = IPR__MAX(w->dim[0] / gates, 1);
    G = gates * H;
    bad = ipr__rnn_expect(c, fn, in, IPR__RNN_W_HH, G, H, H);
    if (!bad) bad = ipr__rnn_expect(c, fn, in, IPR__RNN_W_IH, G, r->I, H);
    if (!bad) bad = ipr__rnn_expect(c, fn, in, IPR__RNN_B_IH, G, 0, H);
    if (!bad) bad = ipr__rnn_expect(c, fn, in, IPR__RNN_B_HH, G, 0, H);
    if (!bad) bad = ipr__rnn_expect(c, fn, in, IPR__RNN_H0, r->B, H, H);
    if (!bad) bad = ipr__rnn_expect(c, fn, in, IPR__RNN_C0, r->B, H, H);
    return bad ? bad : ipr__rnn_gate_shape(c, fn, in[IPR__RNN_GATE], d, r);
}

IPR__FN const ipr_real *ipr__rnn_rd(const ipr_tensor *t) { return t ? ipr__rd(t) : NULL; }
IPR__FN ipr_real *ipr__rnn_wr(ipr_tensor *t) { return t ? ipr__wr(t) : NULL; }

/* Output tensors and the pointers of r. 0: no memory. */
IPR__FN int ipr__rnn_bind(ipr_ctx *c, ipr__rnn *r, const ipr_rnn_in *d, ipr_tensor *const *in, ipr_tensor **out)
{
    int i;
    out[IPR__RNN_H_N] = ipr__temp2(c, r->B, r->H);
    out[IPR__RNN_C_N] = r->gru ? NULL : ipr__temp2(c, r->B, r->H);
    out[IPR__RNN_Y] = d->no_y ? NULL : ipr__temp3(c, r->T, r->B, r->H);
    out[IPR__RNN_GATE_OUT] = d->want_gate_out ? ipr__temp3(c, r->T, r->B, r->H) : NULL;
    for (i = 0; i < IPR__RNN_NOUT; i++)
        if (out[i] && ipr_is_poison(out[i])) return 0;
    r->x = ipr__rd(in[IPR__RNN_X]);
    r->w_ih = ipr__rd(in[IPR__RNN_W_IH]);
    r->w_hh = ipr__rd(in[IPR__RNN_W_HH]);
    r->h0 = ipr__rnn_rd(in[IPR__RNN_H0]);
    r->c0 = ipr__rnn_rd(in[IPR__RNN_C0]);
    r->b_ih = ipr__rnn_rd(in[IPR__RNN_B_IH]);
    r->b_hh = ipr__rnn_rd(in[IPR__RNN_B_HH]);
    r->gk = ipr__rnn_rd(in[IPR__RNN_GATE]);
    r->h_n = ipr__wr(out[IPR__RNN_H_N]);
    r->c_n = ipr__rnn_wr(out[IPR__RNN_C_N]);
    r->y = ipr__rnn_wr(out[IPR__RNN_Y]);
    r->gate_out = ipr__rnn_wr(out[IPR__RNN_GATE_OUT]);
    return 1;
}

/* The lengths' numbers to *lengths, NULL when all are T; 0 on error or poison. */
IPR__FN int ipr__rnn_lengths(ipr_ctx *c, const char *fn, const ipr_tensor *t, const ipr__rnn *r,
                             const int32_t **lengths)
{
    ipr_index b, full = 0;
    char s[96];
    if (!ipr__in_i32(c, fn, "lengths", t)) return 0;
    if (t->rank != 1 || t->dim[0] != r->Bx) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "lengths is %s, expected %I, one for each row of x", ipr__shape(t, s),
                        r->Bx);
        return 0;
    }
    t = ipr__contig(c, (ipr_tensor *)(uintptr_t)t);
    if (ipr_is_poison(t)) return 0;
    for (b = 0; b < r->Bx; b++) {
        const int32_t n = ipr__rdi(t)[b];
        if (n < 1 || n > r->T) {
            (void)ipr__fail(c, IPR_E_RANGE, fn, "length %d of row %I; 1..%I steps", (int)n, b, r->T);
            return 0;
        }
        full += n == r->T;
    }
    *lengths = full == r->Bx ? NULL : ipr__rdi(t);
    return 1;
}

/* The inputs in their slots, r's sizes and the lengths; 0 on error or poison. */
IPR__FN int ipr__rnn_check(ipr_ctx *c, const char *fn, const ipr_rnn_in *d, ipr_index gates, ipr_tensor **in,
                           ipr__rnn *r, const int32_t **lengths)
{
    in[IPR__RNN_X] = d->x;
    in[IPR__RNN_H0] = d->h0;
    in[IPR__RNN_C0] = d->c0;
    in[IPR__RNN_W_IH] = d->w_ih;
    in[IPR__RNN_W_HH] = d->w_hh;
    in[IPR__RNN_B_IH] = d->b_ih;
    in[IPR__RNN_B_HH] = d->b_hh;
    in[IPR__RNN_GATE] = d->gate;
    r->reverse = d->reverse != 0;
    return ipr__rnn_given(c, fn, in) && ipr__rnn_shapes(c, fn, in, d, gates, r) == IPR_OK &&
           (!d->lengths || ipr__rnn_lengths(c, fn, d->lengths, r, lengths));
}

/* The call itself; 0 on error or poison. */
IPR__FN int ipr__rnn_call(ipr_ctx *c, const char *fn, int op, const ipr_rnn_in *d, ipr_tensor **in, ipr_tensor **out)
{
    ipr__rnn r = IPR_ZERO;
    const int32_t *lengths = NULL;
    ipr__node *n;
    int i;
    r.gru = op == IPR_OP_GRU;
    if (!ipr__rnn_check(c, fn, d, r.gru ? 3 : 4, in, &r, &lengths)) return 0;
    for (i = 0; i < IPR__RNN_NIN; i++)
        if (in[i]) {
            in[i] = ipr__contig(c, in[i]);
            if (ipr_is_poison(in[i])) return 0;
        }
    r.keep = ipr__recording(c, in, IPR__RNN_NIN);
    if (!ipr__rnn_bind(c, &r, d, in, out) || !ipr__rnn_forward(c, &r, lengths)) return 0;
    if (!r.keep) return 1;
    n = ipr__record(c, op, IPR__RNN_NIN, in, IPR__RNN_NOUT, out, sizeof r);
    if (n) ipr__copy(n->aux, &r, sizeof r);
    return n != NULL;
}

IPR__FN int ipr__rnn_op(ipr_ctx *c, const char *fn, int op, const ipr_rnn_in *d, ipr_rnn_out *o)
{
    ipr_tensor *in[IPR__RNN_NIN], *out[IPR__RNN_NOUT];
    if (!c) return IPR_E_ARG;
    if (!o) return ipr__fail(c, IPR_E_ARG, fn, "out is NULL; pass a struct for the results");
    o->y = o->h_n = o->c_n = o->gate_out = ipr__poison(c);
    if (!d) return ipr__fail(c, IPR_E_ARG, fn, "in is NULL; pass the inputs");
    if (!ipr__rnn_call(c, fn, op, d, in, out)) return ipr_status(c);
    o->h_n = out[IPR__RNN_H_N];
    o->c_n = out[IPR__RNN_C_N];
    o->y = out[IPR__RNN_Y];
    o->gate_out = out[IPR__RNN_GATE_OUT];
    return ipr_status(c);
}

IPR_API int ipr_lstm(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out)
{
    return ipr__rnn_op(c, "ipr_lstm", IPR_OP_LSTM, in, out);
}
IPR_API int ipr_gru(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out)
{
    return ipr__rnn_op(c, "ipr_gru", IPR_OP_GRU, in, out);
}

IPR__FN void ipr__lstm_backward(ipr_ctx *c, ipr__node *n)
{
    ipr__rnn_grads g;
    g.x = ipr__grad_acc(c, n->in[IPR__RNN_X]);
    g.h0 = ipr__grad_acc(c, n->in[IPR__RNN_H0]);
    g.c0 = ipr__grad_acc(c, n->in[IPR__RNN_C0]);
    g.w_ih = ipr__grad_acc(c, n->in[IPR__RNN_W_IH]);
    g.w_hh = ipr__grad_acc(c, n->in[IPR__RNN_W_HH]);
    g.b_ih = ipr__grad_acc(c, n->in[IPR__RNN_B_IH]);
    g.b_hh = ipr__grad_acc(c, n->in[IPR__RNN_B_HH]);
    g.gk = ipr__grad_acc(c, n->in[IPR__RNN_GATE]);
    g.y = ipr__grad_of(n->out[IPR__RNN_Y]);
    g.h_n = ipr__grad_of(n->out[IPR__RNN_H_N]);
    g.c_n = ipr__grad_of(n->out[IPR__RNN_C_N]);
    g.gate_out = ipr__grad_of(n->out[IPR__RNN_GATE_OUT]);
    if (!ipr_status(c)) (void)ipr__rnn_backward(c, (const ipr__rnn *)n->aux, &g);
}

IPR__FN void ipr__gru_backward(ipr_ctx *c, ipr__node *n) { ipr__lstm_backward(c, n); }

/* ---- peephole LSTM, multiplicative LSTM, vanilla cell ----
   From the ops above, one step after the other. Rows are gathered as ipr__rnn_order has them, longest first and
   without gaps, so that a step is a slice; a dual call is one over 2B rows. */

enum { IPR__CELL_PEEP = 1, IPR__CELL_MULT = 2, IPR__CELL_TANH = 3 };

typedef struct ipr__steps {
    ipr_ctx *c;
    const ipr_rnn_in *d;
    int kind;
    ipr__rnn r;                  /* sizes and order; Bx counts all rows of states, dual is 0 */
    ipr_tensor *xg, *xm, *gates; /* [N,G*H], mLSTM [N,H]; a row of ones above the gate's [1+Tk,H], or NULL */
    ipr_tensor *h, *s;           /* of the running rows; s: c, NULL for the vanilla cell */
    ipr_tensor **y, **f, **hn, **sn; /* per step; hn and sn: rows that ended, from the last step down */
    int ended;
} ipr__steps;

/* Rows ids[0..n-1] of table; a gather that knows its gradient. */
IPR__FN ipr_tensor *ipr__gather_rows(ipr_ctx *c, ipr_tensor *table, const int32_t *ids, ipr_index n)
{
    return ipr_embedding(c, table, ipr_from_i32(c, 1, &n, ids), -1);
}

IPR__FN int32_t *ipr__steps_ids(ipr_ctx *c, ipr_index n)
{
    return (int32_t *)ipr__arena_get(&c->step, (size_t)n * sizeof(int32_t));
}

/* x in the order of work [N,I] */
IPR__FN ipr_tensor *ipr__steps_x(const ipr__steps *k, ipr_index x_rows)
{
    const ipr__rnn *r = &k->r;
    int32_t *ids = ipr__steps_ids(k->c, r->off[r->T]);
    ipr_index t, row, n = 0, d[2];
    if (!ids) return ipr__poison(k->c);
    for (t = 0; t < r->T; t++)
        for (row = 0; row < ipr__rnn_rows(r, t); row++) {
            const ipr_index step = r->reverse ? r->len[row] - 1 - t : t;
            ids[n++] = (int32_t)(step * x_rows + r->perm[row] % x_rows);
        }
    d[0] = -1;
    d[1] = r->I;
    return ipr__gather_rows(k->c, ipr_reshape(k->c, k->d->x, 2, d), ids, n);
}

/* A row of ones, then the gate's rows. */
IPR__FN ipr_tensor *ipr__steps_gates(const ipr__steps *k)
{
    ipr_tensor *two[2];
    ipr_index d[2];
    d[0] = 1;
    d[1] = k->r.H;
    two[0] = ipr_affine(k->c, ipr_new(k->c, 2, d), 0, 1);
    two[1] = k->d->gate;
    return ipr_concat(k->c, two, 2, 0);
}

/* Rows of h0 or c0 in the order of work, zeros where there are none. */
IPR__FN ipr_tensor *ipr__steps_start(const ipr__steps *k, ipr_tensor *from)
{
    ipr_index d[2], row;
    int32_t *ids = ipr__steps_ids(k->c, k->r.Bx);
    if (!ids) return ipr__poison(k->c);
    d[0] = k->r.Bx;
    d[1] = k->r.H;
    if (!from) return ipr_new(k->c, 2, d);
    for (row = 0; row < d[0]; row++) ids[row] = (int32_t)k->r.perm[row];
    return ipr__gather_rows(k->c, from, ids, d[0]);
}

IPR__FN ipr_tensor *ipr__steps_block(const ipr__steps *k, ipr_tensor *a, int block)
{
    return ipr_slice(k->c, a, 1, block * k->r.H, k->r.H);
}

/* a + w c, w the peephole's block; plain LSTM: a */
IPR__FN ipr_tensor *ipr__steps_peep(const ipr__steps *k, ipr_tensor *a, int block)
{
    if (k->kind != IPR__CELL_PEEP) return a;
    return ipr_add(k->c, a, ipr_mul(k->c, k->s, ipr_slice(k->c, k->d->w_peep, 0, block * k->r.H, k->r.H)));
}

/* One step of n rows: h and s become the states before Gatekeeper's gate; returns the gatekeeper's activation. */
IPR__FN ipr_tensor *ipr__steps_cell(ipr__steps *k, ipr_index t, ipr_index n)
{
    ipr_ctx *c = k->c;
    ipr_tensor *a = ipr_slice(c, k->xg, 0, k->r.off[t], n), *read = k->h, *i, *f;
    if (k->kind == IPR__CELL_MULT)
        read = ipr_mul(c, ipr_slice(c, k->xm, 0, k->r.off[t], n), ipr_linear(c, k->h, k->d->w_mh, NULL));
    a = ipr_add(c, a, ipr_linear(c, read, k->d->w_hh, k->d->b_hh));
    if (k->kind == IPR__CELL_TANH) {
        k->h = ipr_tanh(c, a);
        return ipr_sqrt(c, ipr_square(c, k->h));
    }
    i = ipr_sigmoid(c, ipr__steps_peep(k, ipr__steps_block(k, a, 0), 0));
    f = ipr_sigmoid(c, ipr__steps_peep(k, ipr__steps_block(k, a, 1), 1));
    k->s = ipr_add(c, ipr_mul(c, f, k->s), ipr_mul(c, i, ipr_tanh(c, ipr__steps_block(k, a, 2))));
    i = ipr_sigmoid(c, ipr__steps_peep(k, ipr__steps_block(k, a, 3), 2));
    k->h = ipr_mul(c, i, ipr_tanh(c, k->s));
    return f;
}

/* The gate of step t on the rows that it acts on. */
IPR__FN void ipr__steps_gate(ipr__steps *k, ipr_index t, ipr_index n)
{
    ipr_ctx *c = k->c;
    int32_t *ids = ipr__steps_ids(c, n);
    ipr_tensor *g;
    ipr_index row;
    for (row = 0; ids && row < n; row++) ids[row] = k->r.perm[row] >= k->r.gate_from ? (int32_t)t + 1 : 0;
    g = ids ? ipr__gather_rows(c, k->gates, ids, n) : ipr__poison(c);
    k->h = ipr_mul(c, k->h, g);
    if (k->s) k->s = ipr_mul(c, k->s, g);
}

/* Step t, from the slice of the rows that still run to those that end with it. */
IPR__FN void ipr__steps_one(ipr__steps *k, ipr_index t)
{
    ipr_ctx *c = k->c;
    const ipr__rnn *r = &k->r;
    const ipr_index n = ipr__rnn_rows(r, t), next = t + 1 < r->T ? ipr__rnn_rows(r, t + 1) : 0;
    k->f[t] = ipr__steps_cell(k, t, n);
    k->y[t] = k->h;
    if (k->gates && t < r->Tk) ipr__steps_gate(k, t, n);
    if (next == n) return;
    k->ended++;
    k->hn[r->T - k->ended] = ipr_slice(c, k->h, 0, next, n - next); /* filled from the end: longest rows first */
    if (k->s) k->sn[r->T - k->ended] = ipr_slice(c, k->s, 0, next, n - next);
    if (!next) return;
    k->h = ipr_slice(c, k->h, 0, 0, next);
    if (k->s) k->s = ipr_slice(c, k->s, 0, 0, next);
}

/* All steps' rows to [T,B,H] of the caller, zeros after a row's end. */
IPR__FN ipr_tensor *ipr__steps_all(const ipr__steps *k, ipr_tensor **part, int turned)
{
    ipr_ctx *c = k->c;
    const ipr__rnn *r = &k->r;
    const ipr_index full = r->full * r->Bx, N = r->off[r->T];
    int32_t *ids = ipr__steps_ids(c, full);
    ipr_tensor *two[2];
    ipr_index d[3], t, row, i;
    if (!ids) return ipr__poison(c);
    d[0] = 1;
    d[1] = r->H;
    two[0] = ipr_concat(c, part, (int)r->T, 0);
    two[1] = ipr_new(c, 2, d);
    for (i = 0; i < full; i++) ids[i] = (int32_t)N;
    for (t = 0, i = 0; t < r->T; t++)
        for (row = 0; row < ipr__rnn_rows(r, t); row++, i++)
            ids[(turned && r->reverse ? r->len[row] - 1 - t : t) * r->Bx + r->perm[row]] = (int32_t)i;
    two[0] = ipr__gather_rows(c, ipr_concat(c, two, 2, 0), ids, full);
    d[0] = r->full;
    d[1] = r->Bx;
    d[2] = r->H;
    return ipr_reshape(c, two[0], 3, d);
}

/* The rows that ended, in the caller's order. */
IPR__FN ipr_tensor *ipr__steps_last(const ipr__steps *k, ipr_tensor **part)
{
    int32_t *ids = ipr__steps_ids(k->c, k->r.Bx);
    ipr_index row;
    if (!ids) return ipr__poison(k->c);
    for (row = 0; row < k->r.Bx; row++) ids[k->r.perm[row]] = (int32_t)row;
    return ipr__gather_rows(k->c, ipr_concat(k->c, part + (k->r.T - k->ended), k->ended, 0), ids, k->r.Bx);
}

/* Order of rows and memory for the steps' tensors. 0 on error. */
IPR__FN int ipr__steps_order(ipr__steps *k, const int32_t *lengths)
{
    ipr__rnn *r = &k->r;
    const ipr_index rows = r->Bx;
    int32_t *len = ipr__steps_ids(k->c, r->B);
    ipr_tensor **p;
    ipr_index b;
    if (!len) return 0;
    for (b = 0; b < r->B; b++) len[b] = lengths ? lengths[b % rows] : (int32_t)r->T;
    r->Bx = r->B;
    r->dual = 0;
    if (!ipr__rnn_order(k->c, r, len)) return 0;
    p = (ipr_tensor **)ipr__arena_get(&k->c->step, (size_t)(4 * r->T) * sizeof *p);
    if (!p) return 0;
    k->y = p;
    k->f = p + r->T;
    k->hn = p + 2 * r->T;
    k->sn = p + 3 * r->T;
    return 1;
}

/* Weights beyond those of every cell; 0 on error. */
IPR__FN int ipr__steps_extra(ipr_ctx *c, const char *fn, const char *name, const ipr_tensor *t, ipr_index d0,
                             ipr_index d1)
{
    char s[96];
    if (!ipr__in_real(c, fn, name, t)) return 0;
    if (d1 ? t->rank == 2 && t->dim[0] == d0 && t->dim[1] == d1 : t->rank == 1 && t->dim[0] == d0) return 1;
    (void)ipr__fail(c, IPR_E_SHAPE, fn, d1 ? "%s is %s, expected %Ix%I" : "%s is %s, expected %I", name,
                    ipr__shape(t, s), d0, d1);
    return 0;
}

IPR__FN int ipr__steps_run(ipr_ctx *c, const char *fn, int kind, const ipr_rnn_in *d, ipr_rnn_out *o)
{
    ipr_tensor *in[IPR__RNN_NIN], *x;
    const int32_t *lengths = NULL;
    ipr__steps k = IPR_ZERO;
    ipr_index t, x_rows;
    k.c = c;
    k.d = d;
    k.kind = kind;
    if (!ipr__rnn_check(c, fn, d, kind == IPR__CELL_TANH ? 1 : 4, in, &k.r, &lengths)) return 0;
    if (kind == IPR__CELL_PEEP && !ipr__steps_extra(c, fn, "w_peep", d->w_peep, 3 * k.r.H, 0)) return 0;
    if (kind == IPR__CELL_MULT && (!ipr__steps_extra(c, fn, "w_mi", d->w_mi, k.r.H, k.r.I) ||
                                   !ipr__steps_extra(c, fn, "w_mh", d->w_mh, k.r.H, k.r.H)))
        return 0;
    if (k.r.T > 0x7ffffff0 / k.r.B || k.r.T < 1 || k.r.B < 1) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "%I steps of %I rows; at least one of each, less than 2^31 in all", k.r.T,
                        k.r.B);
        return 0;
    }
    x_rows = k.r.Bx;
    if (!ipr__steps_order(&k, lengths)) return 0;
    x = ipr__steps_x(&k, x_rows);
    k.xg = ipr_linear(c, x, d->w_ih, d->b_ih);
    if (kind == IPR__CELL_MULT) k.xm = ipr_linear(c, x, d->w_mi, NULL);
    if (d->gate) k.gates = ipr__steps_gates(&k);
    k.h = ipr__steps_start(&k, d->h0);
    if (kind != IPR__CELL_TANH) k.s = ipr__steps_start(&k, d->c0);
    for (t = 0; t < k.r.T && !c->err; t++) ipr__steps_one(&k, t);
    if (c->err) return 0;
    o->h_n = ipr__steps_last(&k, k.hn);
    o->c_n = k.s ? ipr__steps_last(&k, k.sn) : NULL;
    o->y = d->no_y ? NULL : ipr__steps_all(&k, k.y, 1);
    o->gate_out = d->want_gate_out ? ipr__steps_all(&k, k.f, 0) : NULL;
    return !c->err;
}

IPR__FN int ipr__steps_op(ipr_ctx *c, const char *fn, int kind, const ipr_rnn_in *d, ipr_rnn_out *o)
{
    if (!c) return IPR_E_ARG;
    if (!o) return ipr__fail(c, IPR_E_ARG, fn, "out is NULL; pass a struct for the results");
    o->y = o->h_n = o->c_n = o->gate_out = ipr__poison(c);
    if (!d) return ipr__fail(c, IPR_E_ARG, fn, "in is NULL; pass the inputs");
    if (!ipr__steps_run(c, fn, kind, d, o)) o->y = o->h_n = o->c_n = o->gate_out = ipr__poison(c);
    return ipr_status(c);
}

IPR_API int ipr_peephole(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out)
{
    return ipr__steps_op(c, "ipr_peephole", IPR__CELL_PEEP, in, out);
}
IPR_API int ipr_mlstm(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out)
{
    return ipr__steps_op(c, "ipr_mlstm", IPR__CELL_MULT, in, out);
}
IPR_API int ipr_rnn_tanh(ipr_ctx *c, const ipr_rnn_in *in, ipr_rnn_out *out)
{
    return ipr__steps_op(c, "ipr_rnn_tanh", IPR__CELL_TANH, in, out);
}
#endif /* IPR_FLOOR_MAX >= 5, IPR_NO_RNN */

#if IPR_FLOOR_MAX >= 6
/* ==== FLOOR 6: LAYERS ================================================================== >>layers
   Parameters with names, shapes and initialisation, and the op that uses them.
   Hands up: ipr_dense, ipr_embed, ipr_rnn. */

IPR_API const char *ipr_cell_name(int cell)
{
    static const char *const name[6] = {"unknown", "lstm", "gru", "peephole", "mlstm", "tanh"};
    return name[cell >= IPR_LSTM && cell <= IPR_RNN_TANH ? cell : 0];
}

IPR__FN uint32_t ipr__ordinal(const ipr_params *p, const ipr_tensor *t)
{
    const ipr__named *k;
    uint32_t i = 0;
    for (k = p->first; k && k->t != t; k = k->next) i++;
    return i;
}

IPR_API void ipr_init_uniform(ipr_params *p, ipr_tensor *t, double bound)
{
    ipr_rng r;
    ipr_index i;
    if (!p || ipr_is_poison(t)) return;
    r = ipr_rng_make(p->c->d.seed, IPR__STREAM_INIT, ipr__ordinal(p, t));
    for (i = 0; i < t->n; i++) ipr__wr(t)[i] = IPR__R(bound * (2 * ipr_rng_uniform(&r) - 1));
}

IPR_API void ipr_init_normal(ipr_params *p, ipr_tensor *t, double sd)
{
    ipr_rng r;
    ipr_index i;
    if (!p || ipr_is_poison(t)) return;
    r = ipr_rng_make(p->c->d.seed, IPR__STREAM_INIT, ipr__ordinal(p, t));
    for (i = 0; i < t->n; i++) ipr__wr(t)[i] = IPR__R(sd * ipr_rng_normal(&r));
}

/* "NAME.SUFFIX" as a parameter of the set; poison when a name is too long or a size bad. */
IPR__FN ipr_tensor *ipr__layer_param(ipr_params *p, const char *name, const char *suffix, int rank, ipr_index d0,
                                     ipr_index d1)
{
    char full[160];
    ipr_index d[2];
    if (!p) return NULL;
    if (!name || ipr__strlen(name) > 100) {
        (void)ipr__fail(p->c, IPR_E_ARG, "ipr", "a layer needs a name of at most 100 characters");
        return ipr__poison(p->c);
    }
    (void)ipr__fmt(full, sizeof full, *name ? "%s.%s" : "%s%s", name, suffix);
    d[0] = d0;
    d[1] = d1;
    return ipr_param(p, full, rank, d);
}

IPR_API ipr_dense ipr_dense_new(ipr_params *p, const char *name, ipr_index in, ipr_index out, int bias)
{
    ipr_dense l = IPR_ZERO;
    const double bound = in > 0 ? 1.0 / ipr__dsqrt((double)in) : 0;
    l.weight = ipr__layer_param(p, name, "weight", 2, out, in);
    ipr_init_uniform(p, l.weight, bound);
    if (bias) {
        l.bias = ipr__layer_param(p, name, "bias", 1, out, 0);
        ipr_init_uniform(p, l.bias, bound);
    }
    return l;
}

IPR_API ipr_tensor *ipr_dense_forward(ipr_ctx *c, const ipr_dense *l, ipr_tensor *x)
{
    if (!l) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_dense_forward", "the layer is NULL");
        return ipr__poison(c);
    }
    return ipr_linear(c, x, l->weight, l->bias);
}

IPR_API ipr_embed ipr_embed_new(ipr_params *p, const char *name, ipr_index vocabulary, ipr_index width, int pad)
{
    ipr_embed l = IPR_ZERO;
    l.pad = pad;
    l.weight = ipr__layer_param(p, name, "weight", 2, vocabulary, width);
    ipr_init_normal(p, l.weight, 1.0);
    if (!ipr_is_poison(l.weight) && pad >= 0 && pad < vocabulary)
        ipr__zero(ipr__wr(l.weight) + pad * width, (size_t)width * sizeof(ipr_real));
    return l;
}

IPR_API ipr_tensor *ipr_embed_forward(ipr_ctx *c, const ipr_embed *l, ipr_tensor *ids)
{
    if (!l) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_embed_forward", "the layer is NULL");
        return ipr__poison(c);
    }
    return ipr_embedding(c, l->weight, ids, l->pad);
}

#ifndef IPR_NO_RNN
/* Blocks of H rows in the weights, and the one whose sign is the state's. */
IPR__FN ipr_index ipr__rnn_blocks(int cell) { return cell == IPR_RNN_TANH ? 1 : cell == IPR_GRU ? 3 : 4; }
IPR__FN ipr_index ipr__rnn_candidate(int cell) { return cell == IPR_RNN_TANH ? 0 : 2; }

IPR__FN int ipr__rnn_dirs(const ipr_rnn_desc *d) { return d->bidirectional ? 2 : 1; }

/* Which cell reads layer k in direction dir. */
IPR__FN int ipr__rnn_cell_of(const ipr_rnn_desc *d, int k, int dir)
{
    return d->bidirectional == IPR_BIDIR ? 2 * k + dir : k;
}

IPR_API int ipr_rnn_cells(const ipr_rnn_desc *d)
{
    const int layers = d && d->layers ? d->layers : 1, each = d && d->bidirectional == IPR_BIDIR ? 2 : 1;
    if (!d || layers < 1 || d->bidirectional < 0 || d->bidirectional > IPR_BIDIR_SHARED) return 0;
    return layers > IPR_RNN_CELLS_MAX / each ? 0 : layers * each;
}

/* "SUFFIX_lK" or "SUFFIX_lK_reverse" of a layer as a parameter, U(+-bound). */
IPR__FN ipr_tensor *ipr__rnn_param(ipr_params *p, const char *name, const char *suffix, int layer, int dir, int rank,
                                   ipr_index d0, ipr_index d1, double bound)
{
    char full[48];
    ipr_tensor *t;
    (void)ipr__fmt(full, sizeof full, "%s_l%d%s", suffix, layer, dir ? "_reverse" : "");
    t = ipr__layer_param(p, name, full, rank, d0, d1);
    ipr_init_uniform(p, t, bound);
    return t;
}

IPR_API ipr_rnn ipr_rnn_new(ipr_params *p, const char *name, const ipr_rnn_desc *desc)
{
    const char *fn = "ipr_rnn_new";
    ipr_rnn l = IPR_ZERO;
    ipr_rnn_desc *d = &l.desc;
    ipr_index rows;
    double bound;
    int k, dir;
    if (desc) *d = *desc;
    if (!d->cell) d->cell = IPR_LSTM;
    if (!d->layers) d->layers = 1;
    l.cells = ipr_rnn_cells(d);
    if (p && !desc) (void)ipr__fail(p->c, IPR_E_ARG, fn, "the description is NULL");
    else if (p && (d->cell < IPR_LSTM || d->cell > IPR_RNN_TANH))
        (void)ipr__fail(p->c, IPR_E_ARG, fn, "cell %d; IPR_LSTM, IPR_GRU, IPR_PEEPHOLE, IPR_MLSTM or IPR_RNN_TANH",
                        d->cell);
    else if (p && !l.cells)
        (void)ipr__fail(p->c, IPR_E_ARG, fn, "layers %d, bidirectional %d: at most %d cells; 0, IPR_BIDIR or _SHARED",
                        d->layers, d->bidirectional, (int)IPR_RNN_CELLS_MAX);
    else if (p && !(d->dropout >= 0 && d->dropout < 1))
        (void)ipr__fail(p->c, IPR_E_RANGE, fn, "dropout %g: 0 <= p < 1", d->dropout);
    if (!l.cells) {
        d->layers = l.cells = 1;
        d->bidirectional = 0;
    }
    rows = ipr__rnn_blocks(d->cell) * d->hidden;
    bound = d->hidden > 0 ? 1.0 / ipr__dsqrt((double)d->hidden) : 0;
    for (k = 0; k < d->layers; k++)
        for (dir = 0; dir < (d->bidirectional == IPR_BIDIR ? 2 : 1); dir++) {
            ipr_rnn_cell *cell = &l.at[ipr__rnn_cell_of(d, k, dir)];
            const ipr_index in = k ? d->hidden * ipr__rnn_dirs(d) : d->input;
            cell->w_ih = ipr__rnn_param(p, name, "weight_ih", k, dir, 2, rows, in, bound);
            cell->w_hh = ipr__rnn_param(p, name, "weight_hh", k, dir, 2, rows, d->hidden, bound);
            cell->b_ih = ipr__rnn_param(p, name, "bias_ih", k, dir, 1, rows, 0, bound);
            cell->b_hh = ipr__rnn_param(p, name, "bias_hh", k, dir, 1, rows, 0, bound);
            if (d->cell == IPR_PEEPHOLE)
                cell->w_peep = ipr__rnn_param(p, name, "weight_peephole", k, dir, 1, 3 * d->hidden, 0, bound);
            if (d->cell != IPR_MLSTM) continue;
            cell->w_mi = ipr__rnn_param(p, name, "weight_mi", k, dir, 2, d->hidden, in, bound);
            cell->w_mh = ipr__rnn_param(p, name, "weight_mh", k, dir, 2, d->hidden, d->hidden, bound);
        }
    return l;
}

IPR__FN ipr_rnn_in ipr__rnn_inputs(const ipr_rnn_cell *l, ipr_tensor *x)
{
    ipr_rnn_in in = IPR_ZERO;
    in.x = x;
    in.w_ih = l->w_ih;
    in.w_hh = l->w_hh;
    in.b_ih = l->b_ih;
    in.b_hh = l->b_hh;
    in.w_peep = l->w_peep;
    in.w_mi = l->w_mi;
    in.w_mh = l->w_mh;
    return in;
}

IPR__FN ipr_rnn_out ipr__rnn_run(ipr_ctx *c, int cell, const ipr_rnn_in *in)
{
    ipr_rnn_out out = IPR_ZERO;
    if (cell == IPR_GRU) (void)ipr_gru(c, in, &out);
    else if (cell == IPR_PEEPHOLE) (void)ipr_peephole(c, in, &out);
    else if (cell == IPR_MLSTM) (void)ipr_mlstm(c, in, &out);
    else if (cell == IPR_RNN_TANH) (void)ipr_rnn_tanh(c, in, &out);
    else (void)ipr_lstm(c, in, &out);
    return out;
}

/* One layer: cells of both directions over x, which has been doubled already in layers above a dual one. */
IPR__FN int ipr__rnn_layer(ipr_ctx *c, const ipr_rnn *l, const ipr_rnn_call *call, int k, ipr_tensor *x,
                           const ipr_tensor *lengths, ipr_rnn_result *out)
{
    const int dirs = ipr__rnn_dirs(&l->desc), top = k + 1 == l->desc.layers;
    ipr_tensor *h[2], *y[2];
    int dir;
    for (dir = 0; dir < dirs; dir++) {
        const int at = ipr__rnn_cell_of(&l->desc, k, dir);
        ipr_rnn_in in = ipr__rnn_inputs(&l->at[at], x);
        ipr_rnn_out o;
        in.lengths = lengths;
        in.reverse = dir;
        in.gate = call->gates && at < call->gates->count ? call->gates->at[at] : NULL;
        if (k) in.gate_from = call->dual ? ipr_dim(x, 1) / 2 : 0;
        else in.dual = call->dual;
        in.no_y = top && !call->want_y && !call->want_gates;
        in.want_gate_out = call->want_gates && (!dir || l->desc.bidirectional == IPR_BIDIR);
        o = ipr__rnn_run(c, l->desc.cell, &in);
        if (ipr_is_poison(o.h_n)) return 0;
        h[dir] = o.h_n;
        y[dir] = o.y;
        if (!in.want_gate_out) continue;
        out->gate_out.at[at] = o.gate_out;
        out->first.at[at] = ipr_select(c, o.y, 0, dir ? ipr_dim(x, 0) - 1 : 0);
    }
    if (top) out->last = dirs == 2 ? ipr_concat(c, h, 2, 1) : h[0];
    if (!top || call->want_y) out->y = dirs == 2 ? ipr_concat(c, y, 2, 2) : y[0];
    return !c->err;
}

/* 0 on error or poison. */
IPR__FN int ipr__rnn_stack(ipr_ctx *c, const ipr_rnn *l, const ipr_rnn_call *in, ipr_rnn_result *out)
{
    const ipr_tensor *lengths = in->lengths;
    ipr_tensor *x = in->x, *twice[2];
    int k;
    if (in->gates && in->gates->count > l->cells) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_rnn_apply", "%d gates; the layer has %d cells", in->gates->count, l->cells);
        return 0;
    }
    for (k = 0; in->gates && k < in->gates->count; k++)
        if (in->gates->at[k] && ipr_is_poison(in->gates->at[k])) return 0;
    for (k = 0; k < l->desc.layers; k++) {
        if (!ipr__rnn_layer(c, l, in, k, x, lengths, out)) return 0;
        if (k + 1 == l->desc.layers) break;
        x = in->no_dropout ? out->y : ipr_dropout(c, out->y, l->desc.dropout);
        if (!k && in->dual && lengths) {
            twice[0] = twice[1] = (ipr_tensor *)(uintptr_t)lengths;
            lengths = ipr_concat(c, twice, 2, 0);
        }
    }
    return !c->err;
}

IPR_API int ipr_rnn_apply(ipr_ctx *c, const ipr_rnn *l, const ipr_rnn_call *in, ipr_rnn_result *out)
{
    const char *fn = "ipr_rnn_apply";
    if (!c) return IPR_E_ARG;
    if (!out) return ipr__fail(c, IPR_E_ARG, fn, "out is NULL; pass a struct for the results");
    ipr__zero(out, sizeof *out);
    out->last = out->y = ipr__poison(c);
    if (!l || !in) return ipr__fail(c, IPR_E_ARG, fn, "the layer or the inputs are NULL");
    out->gate_out.count = out->first.count = in->want_gates ? l->cells : 0;
    if ((in->x && ipr_is_poison(in->x)) || !ipr__rnn_stack(c, l, in, out)) {
        int k;
        out->last = out->y = ipr__poison(c);
        for (k = 0; k < out->first.count; k++) out->first.at[k] = out->gate_out.at[k] = ipr__poison(c);
    }
    if (!in->want_y) out->y = NULL;
    return c->err;
}

IPR_API ipr_tensor *ipr_rnn_forward(ipr_ctx *c, const ipr_rnn *l, ipr_tensor *x, const ipr_gates *gates, int dual)
{
    ipr_rnn_call in = IPR_ZERO;
    ipr_rnn_result out;
    if (!l) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_rnn_forward", "the layer is NULL");
        return ipr__poison(c);
    }
    if (ipr_is_poison(x)) return ipr__poison(c);
    in.x = x;
    in.gates = gates;
    in.dual = dual;
    (void)ipr_rnn_apply(c, l, &in, &out);
    return out.last;
}
#endif
#endif /* IPR_FLOOR_MAX >= 6 */

#if IPR_FLOOR_MAX >= 7
/* ==== FLOOR 7: FILES ===================================================================== >>files
   Bytes in and out of the library: readers and writers over memory, callbacks and files, with atomic
   replacement; JSON both ways; arrays, npy and safetensors. Every number a file states is a claim,
   checked against the bytes that are there before memory is taken or an index is formed.
   Hands up: ipr_reader_*, ipr_writer_*, ipr_json_*, ipr_st_*, ipr_params_save/load, ipr__reader_take. */

/* ---- the operating system: eight small calls ---- */

enum { IPR__PATH_NONE = 0, IPR__PATH_FILE, IPR__PATH_FOLDER, IPR__PATH_OTHER };

#if defined(IPR_NO_STDIO)
#define IPR__FILES 0
#else
#define IPR__FILES 1
#endif

#if IPR__FILES && IPR__WIN32

IPR__TOOL int ipr__os_kind(const char *path)
{
    DWORD a = GetFileAttributesA(path);
    if (a == INVALID_FILE_ATTRIBUTES) return IPR__PATH_NONE;
    if (a & FILE_ATTRIBUTE_DIRECTORY) return IPR__PATH_FOLDER;
    return a & FILE_ATTRIBUTE_DEVICE ? IPR__PATH_OTHER : IPR__PATH_FILE;
}

/* A new file, never an existing one; -1 when it cannot be made. */
IPR__TOOL ipr_index ipr__os_create(const char *path, const char *model, int flags)
{
    HANDLE h = CreateFileA(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    (void)model;
    (void)flags;
    return h == INVALID_HANDLE_VALUE ? -1 : (ipr_index)h;
}

IPR__TOOL int ipr__os_write(ipr_index h, const uint8_t *p, size_t n)
{
    while (n) {
        DWORD want = n > (1u << 30) ? (DWORD)(1u << 30) : (DWORD)n, got = 0;
        if (!WriteFile((HANDLE)h, p, want, &got, NULL) || !got) return 0;
        p += got;
        n -= got;
    }
    return 1;
}

IPR__TOOL int ipr__os_close(ipr_index h, int sync)
{
    int ok = !sync || FlushFileBuffers((HANDLE)h);
    return CloseHandle((HANDLE)h) && ok;
}

IPR__TOOL int ipr__os_replace(const char *temp, const char *path)
{
    return MoveFileExA(temp, path, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) != 0;
}

IPR__TOOL void ipr__os_sync_folder(char *path) { (void)path; }
IPR__TOOL int ipr__os_may_write(const char *path) { return !(GetFileAttributesA(path) & FILE_ATTRIBUTE_READONLY); }
IPR__TOOL void ipr__os_remove(const char *path) { (void)DeleteFileA(path); }
IPR__TOOL uint32_t ipr__os_process(void) { return (uint32_t)GetCurrentProcessId(); }
IPR__TOOL int ipr__os_seek_end(FILE *f, int64_t *size)
{
    if (_fseeki64(f, 0, SEEK_END)) return 0;
    *size = _ftelli64(f);
    return *size >= 0 && !_fseeki64(f, 0, SEEK_SET);
}

#elif IPR__FILES

#include <sys/stat.h>

/* fsync is not in the strict C99 view of some headers; there every write goes to the disk by itself. */
#if defined(F_FULLFSYNC)
#define IPR__FSYNC(fd) (fcntl(fd, F_FULLFSYNC) == -1 ? fsync(fd) : 0) /* macOS: fsync stops at the drive's cache */
#define IPR__OPEN_SYNC 0
#elif defined(__APPLE__) || (defined(_POSIX_C_SOURCE) && _POSIX_C_SOURCE >= 200112L) || defined(_XOPEN_SOURCE)
#define IPR__FSYNC(fd) fsync(fd)
#define IPR__OPEN_SYNC 0
#else
#define IPR__FSYNC(fd) 0
#ifdef O_SYNC
#define IPR__OPEN_SYNC O_SYNC
#else
#define IPR__OPEN_SYNC 0
#endif
#endif
#ifdef O_CLOEXEC
#define IPR__OPEN_CLOEXEC O_CLOEXEC
#else
#define IPR__OPEN_CLOEXEC 0
#endif

IPR__TOOL int ipr__os_kind(const char *path)
{
    struct stat s;
    if (stat(path, &s)) return IPR__PATH_NONE;
    if (S_ISREG(s.st_mode)) return IPR__PATH_FILE;
    return S_ISDIR(s.st_mode) ? IPR__PATH_FOLDER : IPR__PATH_OTHER;
}

/* A new file, never an existing one, with the permissions of the file it will replace (umask for a new one,
   0600 for a private one); -1 when it cannot be made. */
IPR__TOOL ipr_index ipr__os_create(const char *path, const char *model, int flags)
{
    struct stat s;
    int old = !(flags & IPR_FILE_PRIVATE) && stat(model, &s) == 0;
    unsigned mode = flags & IPR_FILE_PRIVATE ? 0600u : old ? (unsigned)s.st_mode & 0777u : 0666u;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | IPR__OPEN_SYNC | IPR__OPEN_CLOEXEC, (mode_t)mode);
    if (fd >= 0 && old) (void)chmod(path, (mode_t)mode); /* the umask may have taken some away */
    return fd;
}

IPR__TOOL int ipr__os_write(ipr_index h, const uint8_t *p, size_t n)
{
    int retries = 8; /* for a signal before the first byte; a full disk fails every time */
    while (n) {
        ptrdiff_t got = (ptrdiff_t)write((int)h, p, IPR__MIN(n, (size_t)1 << 30));
        if (got <= 0) {
            if (retries-- == 0) return 0;
            continue;
        }
        p += got;
        n -= (size_t)got;
    }
    return 1;
}

IPR__TOOL int ipr__os_close(ipr_index h, int sync)
{
    int ok = !sync || IPR__FSYNC((int)h) == 0;
    return close((int)h) == 0 && ok;
}

IPR__TOOL int ipr__os_replace(const char *temp, const char *path) { return rename(temp, path) == 0; }

/* The rename itself reaches the disk with the folder. path is cut at its last '/', and put back. */
IPR__TOOL void ipr__os_sync_folder(char *path)
{
    size_t n = ipr__strlen(path);
    int fd;
    char cut;
    while (n && path[n - 1] != '/') n--;
    cut = path[n];
    path[n] = 0;
    fd = open(n ? path : ".", O_RDONLY | IPR__OPEN_CLOEXEC);
    path[n] = cut;
    if (fd < 0) return; /* a folder that cannot be opened: the file itself is safe all the same */
    (void)IPR__FSYNC(fd);
    (void)close(fd);
}

IPR__TOOL int ipr__os_may_write(const char *path) { return access(path, W_OK) == 0; }
IPR__TOOL void ipr__os_remove(const char *path) { (void)unlink(path); }
IPR__TOOL uint32_t ipr__os_process(void) { return (uint32_t)getpid(); }
IPR__TOOL int ipr__os_seek_end(FILE *f, int64_t *size)
{
    long n;
    if (fseek(f, 0, SEEK_END)) return 0;
    n = ftell(f);
    *size = n;
    return n >= 0 && !fseek(f, 0, SEEK_SET);
}
#endif

#if IPR__FILES
/* The names in a folder, one at a time; "." and ".." among them. */
#if IPR__WIN32
typedef struct ipr__os_folder {
    HANDLE h;
    int first;
    WIN32_FIND_DATAA found;
} ipr__os_folder;
IPR__FN void *ipr__os_folder_open(ipr_ctx *c, const char *path)
{
    ipr__os_folder *f = (ipr__os_folder *)ipr__alloc(c, sizeof *f + ipr__strlen(path) + 3);
    char *all = f ? (char *)(f + 1) : NULL;
    if (!f) return NULL;
    (void)ipr__fmt(all, ipr__strlen(path) + 3, "%s\\*", path);
    f->first = 1;
    f->h = FindFirstFileA(all, &f->found);
    if (f->h != INVALID_HANDLE_VALUE) return f;
    ipr__free(c, f);
    return NULL;
}
IPR__FN const char *ipr__os_folder_next(void *folder)
{
    ipr__os_folder *f = (ipr__os_folder *)folder;
    if (!f->first && !FindNextFileA(f->h, &f->found)) return NULL;
    f->first = 0;
    return f->found.cFileName;
}
IPR__FN void ipr__os_folder_close(ipr_ctx *c, void *folder)
{
    (void)FindClose(((ipr__os_folder *)folder)->h);
    ipr__free(c, folder);
}
#elif defined(IPR__DIRENT)
IPR__FN void *ipr__os_folder_open(ipr_ctx *c, const char *path)
{
    (void)c;
    return opendir(path);
}
IPR__FN const char *ipr__os_folder_next(void *folder)
{
    struct dirent *e = readdir((DIR *)folder);
    return e ? e->d_name : NULL;
}
IPR__FN void ipr__os_folder_close(ipr_ctx *c, void *folder)
{
    (void)c;
    (void)closedir((DIR *)folder);
}
#else
IPR__FN void *ipr__os_folder_open(ipr_ctx *c, const char *path)
{
    (void)ipr__fail(c, IPR_E_UNAVAILABLE, "ipr_texts_folders",
                    "%s: folders cannot be listed on this system; read the files one by one with ipr_texts_load", path);
    return NULL;
}
IPR__FN const char *ipr__os_folder_next(void *folder)
{
    (void)folder;
    return NULL;
}
IPR__FN void ipr__os_folder_close(ipr_ctx *c, void *folder)
{
    (void)c;
    (void)folder;
}
#endif

IPR__TOOL FILE *ipr__os_fopen(const char *path)
{
#ifdef _MSC_VER
    FILE *f = NULL;
    return fopen_s(&f, path, "rb") ? NULL : f;
#else
    return fopen(path, "rb");
#endif
}
#endif

/* a + b as one owned text */
IPR__TOOL char *ipr__join(ipr_ctx *c, const char *a, const char *b)
{
    size_t na = ipr__strlen(a), nb = ipr__strlen(b);
    char *s = (char *)ipr__alloc(c, na + nb + 1);
    if (!s) return NULL;
    ipr__copy(s, a, na);
    ipr__copy(s + na, b, nb + 1);
    return s;
}

/* A name from a file, fit for a message: at most 64 characters, nothing a terminal would act on. */
IPR__TOOL const char *ipr__show(char out[72], const char *s)
{
    int n = 0;
    for (; *s && n < 64; s++) out[n++] = *s >= ' ' && *s < 127 ? *s : '?';
    if (*s) {
        out[n++] = '.';
        out[n++] = '.';
        out[n++] = '.';
    }
    out[n] = 0;
    return out;
}

/* ---- readers ---- */

IPR__TOOL int ipr__reader_start(ipr_ctx *c, ipr_reader *r, const char *fn, const char *name)
{
    if (!r) return ipr__fail(c, IPR_E_ARG, fn, "the reader is NULL; give the address of one");
    ipr__zero(r, sizeof *r);
    r->ctx = c;
    r->name = name;
    r->status = ipr_status(c);
    return r->status;
}

/* As many of `bytes` bytes as the callback or file gives; -1 when it fails. */
IPR__TOOL ipr_index ipr__reader_pull(ipr_reader *r, uint8_t *dst, size_t bytes)
{
    size_t got = 0;
#if IPR__FILES
    if (r->file) {
        got = fread(dst, 1, bytes, (FILE *)r->file);
        return got < bytes && ferror((FILE *)r->file) ? -1 : (ipr_index)got;
    }
#endif
    while (got < bytes) {
        ipr_index n = r->read_fn(r->user, dst + got, bytes - got);
        if (n < 0 || (size_t)n > bytes - got) return -1;
        if (n == 0) break;
        got += (size_t)n;
    }
    return (ipr_index)got;
}

IPR__TOOL void ipr__reader_close_file(ipr_reader *r)
{
#if IPR__FILES
    if (r->file) (void)fclose((FILE *)r->file);
#endif
    r->file = NULL;
}

/* A stream that cannot tell its size is read to its end, into a block that doubles. */
IPR__TOOL int ipr__reader_slurp(ipr_reader *r)
{
    size_t cap = 1 << 16, used = 0;
    uint8_t *block = (uint8_t *)ipr__alloc(r->ctx, cap);
    while (block) {
        ipr_index got = ipr__reader_pull(r, block + used, cap - used);
        uint8_t *next;
        if (got < 0) {
            ipr__free(r->ctx, block);
            return r->status = ipr__fail(r->ctx, IPR_E_IO, "ipr_reader", "%s: reading failed after %U bytes", r->name,
                                         (uint64_t)used);
        }
        used += (size_t)got;
        if (used < cap) break;
        next = cap > (size_t)-1 / 4 ? NULL : (uint8_t *)ipr__alloc(r->ctx, cap * 2);
        if (next) ipr__copy(next, block, used);
        ipr_wipe(block, cap);
        ipr__free(r->ctx, block);
        block = next;
        cap *= 2;
    }
    if (!block) return r->status = ipr__fail(r->ctx, IPR_E_NOMEM, "ipr_reader", "%s: does not fit in memory", r->name);
    r->owned = block;
    r->mem = block;
    r->size = used;
    ipr__reader_close_file(r);
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_reader_memory(ipr_ctx *c, ipr_reader *r, const void *data, size_t bytes)
{
    if (ipr__reader_start(c, r, "ipr_reader_memory", "memory")) return r ? r->status : IPR_E_ARG;
    if (!data && bytes)
        return r->status = ipr__fail(c, IPR_E_ARG, "ipr_reader_memory", "data is NULL with %U bytes", (uint64_t)bytes);
    r->mem = data ? (const uint8_t *)data : (const uint8_t *)"";
    r->size = bytes;
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_reader_callback(ipr_ctx *c, ipr_reader *r, ipr_read_fn read_fn, void *user, uint64_t size)
{
    if (ipr__reader_start(c, r, "ipr_reader_callback", "callback")) return r ? r->status : IPR_E_ARG;
    if (!read_fn) return r->status = ipr__fail(c, IPR_E_ARG, "ipr_reader_callback", "read_fn is NULL");
    r->read_fn = read_fn;
    r->user = user;
    r->size = size;
    return size == IPR_SIZE_UNKNOWN ? ipr__reader_slurp(r) : IPR_OK;
}

#if IPR__FILES
/* Say what is wrong with a path that cannot be read, and what to do about it. */
IPR__TOOL int ipr__reader_no_file(ipr_reader *r, const char *path, int kind)
{
    char *gz;
    int packed;
    if (kind == IPR__PATH_FOLDER)
        return r->status =
                   ipr__fail(r->ctx, IPR_E_IO, "ipr_reader_file", "%s: is a folder; give the name of a file", path);
    if (kind != IPR__PATH_NONE)
        return r->status =
                   ipr__fail(r->ctx, IPR_E_IO, "ipr_reader_file", "%s: cannot be opened; may you read it?", path);
    gz = ipr__join(r->ctx, path, ".gz");
    packed = gz && ipr__os_kind(gz) == IPR__PATH_FILE;
    ipr__free(r->ctx, gz);
    return r->status = ipr__fail(r->ctx, IPR_E_MISSING, "ipr_reader_file",
                                 packed ? "%s: only %s.gz is there; run make data, or gunzip it" : "%s: no such file",
                                 path, path);
}
#endif

IPR_API IPR__COLD int ipr_reader_file(ipr_ctx *c, ipr_reader *r, const char *path)
{
    if (ipr__reader_start(c, r, "ipr_reader_file", path)) return r ? r->status : IPR_E_ARG;
    if (!path || !*path) return r->status = ipr__fail(c, IPR_E_ARG, "ipr_reader_file", "the path is empty");
#if IPR__FILES
    {
        int64_t size = 0;
        int kind = ipr__os_kind(path);
        if (kind != IPR__PATH_FOLDER) r->file = ipr__os_fopen(path);
        if (!r->file) return ipr__reader_no_file(r, path, kind);
        if (kind != IPR__PATH_FILE || !ipr__os_seek_end((FILE *)r->file, &size)) return ipr__reader_slurp(r);
        r->size = (uint64_t)size;
    }
    return IPR_OK;
#else
    return r->status = ipr__fail(c, IPR_E_UNAVAILABLE, "ipr_reader_file",
                                 "%s: compiled with IPR_NO_STDIO; use a memory or callback reader", path);
#endif
}

IPR_API IPR__COLD int ipr_reader_read(ipr_reader *r, void *dst, size_t bytes)
{
    ipr_index got;
    if (!r) return IPR_E_ARG;
    if (r->status) return r->status;
    if (bytes > r->size - r->at)
        return r->status =
                   ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_reader_read", "%s: truncated: %U bytes wanted at byte %U of %U",
                             r->name, (uint64_t)bytes, r->at, r->size);
    if (r->mem) {
        ipr__copy(dst, r->mem + r->at, bytes);
        r->at += bytes;
        return IPR_OK;
    }
    got = ipr__reader_pull(r, (uint8_t *)dst, bytes);
    if (got < 0 || (size_t)got < bytes)
        return r->status = ipr__fail(r->ctx, IPR_E_IO, "ipr_reader_read",
                                     got < 0 ? "%s: reading failed at byte %U of %U"
                                             : "%s: ended early, between byte %U and the %U it claimed",
                                     r->name, r->at, r->size);
    r->at += bytes;
    return IPR_OK;
}

/* The next `bytes` bytes in memory: in place where they are in memory already, else read into a new block of
   bytes + 1, which *owned gets. NULL on error. */
IPR__TOOL const uint8_t *ipr__reader_take(ipr_reader *r, size_t bytes, void **owned)
{
    uint8_t *block;
    *owned = NULL;
    if (r->status) return NULL;
    if (r->mem && bytes <= r->size - r->at) {
        r->at += bytes;
        return r->mem + (r->at - bytes);
    }
    /* says that it is truncated */
    if (bytes > r->size - r->at) {
        (void)ipr_reader_read(r, NULL, bytes);
        return NULL;
    }
    block = bytes < (size_t)PTRDIFF_MAX ? (uint8_t *)ipr__alloc(r->ctx, bytes + 1) : NULL;
    if (!block) {
        r->status =
            ipr__fail(r->ctx, IPR_E_NOMEM, "ipr_reader", "%s: %U bytes do not fit in memory", r->name, (uint64_t)bytes);
        return NULL;
    }
    if (ipr_reader_read(r, block, bytes)) {
        ipr__free(r->ctx, block);
        return NULL;
    }
    *owned = block;
    return block;
}

/* What was taken in place from a stream that was read into memory outlives the reader: it takes the block along. */
IPR__TOOL void ipr__reader_hand_over(ipr_reader *r, void **owned)
{
    if (*owned || !r->owned) return;
    *owned = r->owned;
    r->owned = NULL;
}

IPR_API IPR__COLD uint64_t ipr_reader_left(const ipr_reader *r) { return r && !r->status ? r->size - r->at : 0; }

IPR_API IPR__COLD void ipr_reader_close(ipr_reader *r)
{
    if (!r) return;
    ipr__reader_close_file(r);
    if (r->owned) ipr_wipe(r->owned, (size_t)r->size);
    ipr__free(r->ctx, r->owned);
    ipr__zero(r, sizeof *r);
    r->status = IPR_E_STATE;
}

/* ---- writers ---- */

enum { IPR__W_NONE = 0, IPR__W_MEMORY, IPR__W_BUFFER, IPR__W_CALLBACK, IPR__W_FILE };

IPR__TOOL int ipr__writer_start(ipr_ctx *c, ipr_writer *w, const char *fn, const char *name, int kind, size_t cap)
{
    if (!w) return ipr__fail(c, IPR_E_ARG, fn, "the writer is NULL; give the address of one");
    ipr__zero(w, sizeof *w);
    w->ctx = c;
    w->name = name;
    w->handle = -1;
    w->status = ipr_status(c);
    if (w->status) return w->status;
    w->kind = kind;
    w->cap = cap;
    if (cap && !(w->buf = (uint8_t *)ipr__alloc(c, cap))) return w->status = IPR_E_NOMEM;
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_writer_memory(ipr_ctx *c, ipr_writer *w)
{
    return ipr__writer_start(c, w, "ipr_writer_memory", "memory", IPR__W_MEMORY, 1024);
}

IPR_API IPR__COLD int ipr_writer_buffer(ipr_ctx *c, ipr_writer *w, void *buf, size_t bytes)
{
    if (ipr__writer_start(c, w, "ipr_writer_buffer", "buffer", IPR__W_BUFFER, 0)) return w ? w->status : IPR_E_ARG;
    if (!buf && bytes)
        return w->status = ipr__fail(c, IPR_E_ARG, "ipr_writer_buffer", "buf is NULL with %U bytes", (uint64_t)bytes);
    w->buf = (uint8_t *)buf;
    w->cap = bytes;
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_writer_callback(ipr_ctx *c, ipr_writer *w, ipr_write_fn write_fn, void *user)
{
    if (w && !write_fn) {
        ipr__zero(w, sizeof *w);
        return w->status = ipr__fail(c, IPR_E_ARG, "ipr_writer_callback", "write_fn is NULL");
    }
    if (ipr__writer_start(c, w, "ipr_writer_callback", "callback", IPR__W_CALLBACK, 4096))
        return w ? w->status : IPR_E_ARG;
    w->write_fn = write_fn;
    w->user = user;
    return IPR_OK;
}

#if IPR__FILES
/* The temporary beside the file: PATH.tmp-XXXXXXXX, a name nobody has; 16 tries. */
IPR__TOOL int ipr__writer_create(ipr_writer *w)
{
    size_t n = ipr__strlen(w->path);
    uint32_t salt = ipr__os_process() * 2654435761u ^ (uint32_t)((uintptr_t)w >> 4);
    int tries;
    w->temp = ipr__join(w->ctx, w->path, ".tmp-00000000");
    if (!w->temp) return w->status = IPR_E_NOMEM;
    for (tries = 0; tries < 16 && w->handle < 0; tries++) {
        salt = salt * 1664525u + 1013904223u;
        (void)ipr__fmt(w->temp + n, 14, ".tmp-%X", salt);
        w->handle = ipr__os_create(w->temp, w->path, w->flags);
    }
    if (w->handle >= 0) return IPR_OK;
    return w->status = ipr__fail(w->ctx, IPR_E_IO, "ipr_writer_file",
                                 "%s: cannot be created; is the folder there, and may you write to it?", w->temp);
}
#endif

IPR_API IPR__COLD int ipr_writer_file(ipr_ctx *c, ipr_writer *w, const char *path, int flags)
{
    if (ipr__writer_start(c, w, "ipr_writer_file", path, IPR__W_FILE, IPR__FILES ? 65536 : 0))
        return w ? w->status : IPR_E_ARG;
    if (!path || !*path) return w->status = ipr__fail(c, IPR_E_ARG, "ipr_writer_file", "the path is empty");
    w->flags = flags;
#if IPR__FILES
    {
        int kind = ipr__os_kind(path);
        if (kind == IPR__PATH_FOLDER || kind == IPR__PATH_OTHER)
            return w->status =
                       ipr__fail(c, IPR_E_IO, "ipr_writer_file",
                                 kind == IPR__PATH_FOLDER
                                     ? "%s: is a folder; give the name of a file"
                                     : "%s: is a device or pipe, which cannot be replaced; use a callback writer",
                                 path);
    }
    /* a rename would replace it all the same: but who made a model read-only meant it */
    if (ipr__os_kind(path) == IPR__PATH_FILE && !ipr__os_may_write(path))
        return w->status = ipr__fail(c, IPR_E_IO, "ipr_writer_file", "%s: is read-only", path);
    w->path = ipr__join(c, path, "");
    if (!w->path) return w->status = IPR_E_NOMEM;
    w->name = w->path;
    return ipr__writer_create(w);
#else
    return w->status = ipr__fail(c, IPR_E_UNAVAILABLE, "ipr_writer_file",
                                 "%s: compiled with IPR_NO_STDIO; use a memory or callback writer", path);
#endif
}

/* Bytes leave for the callback or the disk. */
IPR__TOOL int ipr__writer_push(ipr_writer *w, const uint8_t *p, size_t n)
{
    int ok = 1;
    if (!n || w->status) return w->status;
    if (w->kind == IPR__W_CALLBACK) ok = w->write_fn(w->user, p, n) == 1;
#if IPR__FILES
    else ok = ipr__os_write(w->handle, p, n);
#endif
    if (ok) return IPR_OK;
    return w->status = ipr__fail(w->ctx, IPR_E_IO, "ipr_writer_write",
                                 w->kind == IPR__W_FILE
                                     ? "%s: writing failed within %U bytes, is the disk full? The old file is as it was"
                                     : "%s: write_fn failed within %U bytes",
                                 w->name, w->total);
}

IPR__TOOL int ipr__writer_flush(ipr_writer *w)
{
    size_t n = w->used;
    w->used = 0;
    return ipr__writer_push(w, w->buf, n);
}

IPR__TOOL int ipr__writer_grow(ipr_writer *w, size_t bytes)
{
    size_t need, cap = w->cap;
    uint8_t *next = NULL;
    if (!ipr__add(w->used, bytes, &need)) need = 0;
    while (need && cap < need) cap = cap > (size_t)-1 / 2 ? need : cap * 2;
    if (need) next = (uint8_t *)ipr__alloc(w->ctx, cap);
    if (!next)
        return w->status =
                   ipr__fail(w->ctx, IPR_E_NOMEM, "ipr_writer_write", "%U bytes do not fit in memory", w->total);
    ipr__copy(next, w->buf, w->used);
    ipr_wipe(w->buf, w->cap);
    ipr__free(w->ctx, w->buf);
    w->buf = next;
    w->cap = cap;
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_writer_write(ipr_writer *w, const void *src, size_t bytes)
{
    if (!w) return IPR_E_ARG;
    if (w->status || !bytes) return w->status;
    if (!w->kind || w->committed)
        return w->status = ipr__fail(w->ctx, IPR_E_STATE, "ipr_writer_write", "the writer is not open");
    w->total += bytes;
    if (w->kind == IPR__W_BUFFER && w->total > w->cap) return IPR_OK; /* counted only */
    if (bytes > w->cap - w->used) {
        if (w->kind == IPR__W_MEMORY) (void)ipr__writer_grow(w, bytes);
        else (void)ipr__writer_flush(w);
        if (w->status) return w->status;
        if (bytes > w->cap) return ipr__writer_push(w, (const uint8_t *)src, bytes);
    }
    ipr__copy(w->buf + w->used, src, bytes);
    w->used += bytes;
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_writer_text(ipr_writer *w, const char *s)
{
    return ipr_writer_write(w, s, s ? ipr__strlen(s) : 0);
}
IPR_API IPR__COLD uint64_t ipr_writer_bytes(const ipr_writer *w) { return w ? w->total : 0; }
IPR_API IPR__COLD const void *ipr_writer_data(const ipr_writer *w)
{
    return w && (w->kind == IPR__W_MEMORY || w->kind == IPR__W_BUFFER) ? w->buf : NULL;
}

#if IPR__FILES
IPR__TOOL int ipr__writer_replace(ipr_writer *w)
{
    int ok = ipr__os_close(w->handle, 1);
    w->handle = -1;
    if (ok && ipr__os_replace(w->temp, w->path)) {
        ipr__free(w->ctx, w->temp);
        w->temp = NULL;
        ipr__os_sync_folder(w->path);
        return IPR_OK;
    }
    return w->status = ipr__fail(w->ctx, IPR_E_IO, "ipr_writer_commit",
                                 ok ? "%s: cannot be replaced; may you write it? It is as it was"
                                    : "%s: the disk did not take all bytes; the old file is as it was",
                                 w->name);
}
#endif

IPR_API IPR__COLD int ipr_writer_commit(ipr_writer *w)
{
    if (!w) return IPR_E_ARG;
    if (w->status) return w->status;
    if (!w->kind || w->committed)
        return w->status = ipr__fail(w->ctx, IPR_E_STATE, "ipr_writer_commit", "the writer is not open");
    if (w->kind == IPR__W_BUFFER && w->total > w->cap)
        return w->status = ipr__fail(w->ctx, IPR_E_NOMEM, "ipr_writer_commit",
                                     "%U bytes into a buffer of %U; give ipr_writer_bytes", w->total, (uint64_t)w->cap);
    if (w->kind >= IPR__W_CALLBACK && ipr__writer_flush(w)) return w->status;
#if IPR__FILES
    if (w->kind == IPR__W_FILE && ipr__writer_replace(w)) return w->status;
#endif
    w->committed = 1;
    return IPR_OK;
}

IPR_API IPR__COLD void ipr_writer_close(ipr_writer *w)
{
    if (!w) return;
#if IPR__FILES
    if (w->kind == IPR__W_FILE && w->handle >= 0) (void)ipr__os_close(w->handle, 0);
    if (w->temp && w->kind == IPR__W_FILE) ipr__os_remove(w->temp);
#endif
    if (w->buf && w->kind != IPR__W_BUFFER) {
        ipr_wipe(w->buf, w->cap);
        ipr__free(w->ctx, w->buf);
    }
    ipr__free(w->ctx, w->temp);
    ipr__free(w->ctx, w->path);
    ipr__zero(w, sizeof *w);
    w->status = IPR_E_STATE;
}

IPR_API IPR__COLD int ipr_file_write(ipr_ctx *c, const char *path, const void *data, size_t bytes, int flags)
{
    ipr_writer w;
    int status;
    (void)ipr_writer_file(c, &w, path, flags);
    (void)ipr_writer_write(&w, data, bytes);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return status;
}

IPR_API IPR__COLD void *ipr_file_read(ipr_ctx *c, const char *path, size_t *bytes)
{
    ipr_reader r;
    uint8_t *data = NULL;
    size_t n;
    if (bytes) *bytes = 0;
    if (ipr_reader_file(c, &r, path)) return NULL;
    n = (size_t)ipr_reader_left(&r);
    if (n == ipr_reader_left(&r) && n < (size_t)-1 - 1) data = (uint8_t *)ipr__alloc(c, n + 1);
    if (data && ipr_reader_read(&r, data, n)) {
        ipr__free(c, data);
        data = NULL;
    }
    if (data) {
        data[n] = 0;
        if (bytes) *bytes = n;
    } else (void)ipr__fail(c, IPR_E_NOMEM, "ipr_file_read", "%s: does not fit in memory", path);
    ipr_reader_close(&r);
    return data;
}

IPR_API IPR__COLD void ipr_file_free(ipr_ctx *c, void *data) { ipr__free(c, data); }

/* ---- JSON: characters ---- */

/* Length of the UTF-8 character at s (RFC 3629: no overlong forms, no surrogates), 0 if there is none. */
IPR__TOOL int ipr__utf8(const uint8_t *s, size_t n)
{
    int len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0, i;
    if (!len || (size_t)len > n) return 0;
    for (i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return len;
}

/* Code point as UTF-8; returns the length. */
IPR__TOOL int ipr__utf8_put(char out[4], uint32_t u)
{
    if (u < 0x80) {
        out[0] = (char)u;
        return 1;
    }
    if (u < 0x800) {
        out[0] = (char)(0xc0u | u >> 6);
        out[1] = (char)(0x80u | (u & 63u));
        return 2;
    }
    if (u < 0x10000) {
        out[0] = (char)(0xe0u | u >> 12);
        out[1] = (char)(0x80u | (u >> 6 & 63u));
        out[2] = (char)(0x80u | (u & 63u));
        return 3;
    }
    out[0] = (char)(0xf0u | u >> 18);
    out[1] = (char)(0x80u | (u >> 12 & 63u));
    out[2] = (char)(0x80u | (u >> 6 & 63u));
    out[3] = (char)(0x80u | (u & 63u));
    return 4;
}

/* Four hex digits at s; -1 if they are not. */
IPR__TOOL int32_t ipr__hex4(const char *s, size_t n)
{
    int32_t v = 0;
    int i;
    if (n < 4) return -1;
    for (i = 0; i < 4; i++) {
        char ch = s[i];
        int d = ch >= '0' && ch <= '9'   ? ch - '0'
                : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                         : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

/* ---- JSON in: a pull lexer with the grammar in it; the nesting is one bit a level ---- */

enum {
    IPR__J_ERROR,
    IPR__J_END,
    IPR__J_OBJECT,
    IPR__J_OBJECT_END,
    IPR__J_ARRAY,
    IPR__J_ARRAY_END,
    IPR__J_KEY,
    IPR__J_STRING,
    IPR__J_NUMBER,
    IPR__J_TRUE,
    IPR__J_FALSE,
    IPR__J_NULL
};
enum {
    IPR__J_WANT_VALUE,
    IPR__J_WANT_VALUE_OR_END,
    IPR__J_WANT_KEY,
    IPR__J_WANT_KEY_OR_END,
    IPR__J_WANT_NEXT,
    IPR__J_WANT_NOTHING
};

typedef struct ipr__lex {
    const char *s;
    size_t n, at;     /* the text, and where we are */
    size_t from, to;  /* span of the last token; of strings without the quotes */
    uint64_t objects; /* bit d: level d is an object */
    int depth, want;
    const char *error;
} ipr__lex;

IPR__TOOL void ipr__lex_start(ipr__lex *x, const char *s, size_t n)
{
    ipr__zero(x, sizeof *x);
    x->s = s;
    x->n = n;
}

IPR__TOOL int ipr__lex_error(ipr__lex *x, const char *why)
{
    x->error = why;
    return IPR__J_ERROR;
}

IPR__TOOL void ipr__lex_space(ipr__lex *x)
{
    while (x->at < x->n && (x->s[x->at] == ' ' || x->s[x->at] == '\t' || x->s[x->at] == '\n' || x->s[x->at] == '\r'))
        x->at++;
}

/* An escape behind the backslash at x->at: steps over it. */
IPR__TOOL int ipr__lex_escape(ipr__lex *x)
{
    char ch = x->at + 1 < x->n ? x->s[x->at + 1] : 0;
    int32_t u, low;
    x->at += 2;
    if (ch == '"' || ch == '\\' || ch == '/' || ch == 'b' || ch == 'f' || ch == 'n' || ch == 'r' || ch == 't') return 1;
    if (ch != 'u' || x->at > x->n || (u = ipr__hex4(x->s + x->at, x->n - x->at)) < 0) {
        x->error = "bad escape in a string";
        return 0;
    }
    x->at += 4;
    if (u == 0) {
        x->error = "\\u0000 in a string";
        return 0;
    }
    if (u < 0xd800 || u > 0xdfff) return 1;
    low = -1;
    if (u < 0xdc00 && x->n - x->at >= 6 && x->s[x->at] == '\\' && x->s[x->at + 1] == 'u')
        low = ipr__hex4(x->s + x->at + 2, 4);
    if (low < 0xdc00 || low > 0xdfff) {
        x->error = "half a surrogate pair in a string";
        return 0;
    }
    x->at += 6;
    return 1;
}

IPR__TOOL int ipr__lex_string(ipr__lex *x, int kind)
{
    if (x->at >= x->n || x->s[x->at] != '"') return ipr__lex_error(x, "a key in double quotes is needed");
    x->from = ++x->at;
    while (x->at < x->n && x->s[x->at] != '"') {
        int len = ipr__utf8((const uint8_t *)x->s + x->at, x->n - x->at);
        if (!len) return ipr__lex_error(x, "bytes that are not UTF-8");
        if ((uint8_t)x->s[x->at] < 0x20) return ipr__lex_error(x, "a control character in a string");
        if (x->s[x->at] != '\\') x->at += (size_t)len;
        else if (!ipr__lex_escape(x)) return IPR__J_ERROR;
    }
    if (x->at >= x->n) return ipr__lex_error(x, "a string without end");
    x->to = x->at++;
    return kind;
}

IPR__TOOL size_t ipr__lex_digits(ipr__lex *x)
{
    size_t from = x->at;
    while (x->at < x->n && x->s[x->at] >= '0' && x->s[x->at] <= '9') x->at++;
    return x->at - from;
}

IPR__TOOL int ipr__lex_number(ipr__lex *x)
{
    size_t first, digits;
    x->from = x->at;
    if (x->s[x->at] == '-') x->at++;
    first = x->at;
    digits = ipr__lex_digits(x);
    if (!digits) return ipr__lex_error(x, "a value is needed");
    if (digits > 1 && x->s[first] == '0') return ipr__lex_error(x, "a number with a leading 0");
    if (x->at < x->n && x->s[x->at] == '.') {
        x->at++;
        if (!ipr__lex_digits(x)) return ipr__lex_error(x, "a number without digits behind its point");
    }
    if (x->at < x->n && (x->s[x->at] == 'e' || x->s[x->at] == 'E')) {
        x->at++;
        if (x->at < x->n && (x->s[x->at] == '+' || x->s[x->at] == '-')) x->at++;
        if (!ipr__lex_digits(x)) return ipr__lex_error(x, "a number without digits in its exponent");
    }
    x->to = x->at;
    return IPR__J_NUMBER;
}

IPR__TOOL int ipr__lex_word(ipr__lex *x, const char *word, int kind)
{
    size_t n = ipr__strlen(word);
    if (x->n - x->at < n || ipr__memcmp(x->s + x->at, word, n)) return ipr__lex_error(x, "a value is needed");
    x->from = x->at;
    x->to = x->at += n;
    return kind;
}

IPR__TOOL int ipr__lex_open(ipr__lex *x, int object)
{
    if (x->depth == 63) return ipr__lex_error(x, "more than 63 levels");
    x->depth++;
    x->objects = (x->objects & ~((uint64_t)1 << x->depth)) | (uint64_t)(object ? 1 : 0) << x->depth;
    x->from = x->at++;
    x->to = x->at;
    x->want = object ? IPR__J_WANT_KEY_OR_END : IPR__J_WANT_VALUE_OR_END;
    return object ? IPR__J_OBJECT : IPR__J_ARRAY;
}

IPR__TOOL int ipr__lex_close(ipr__lex *x)
{
    int object = (int)(x->objects >> x->depth & 1u);
    x->from = x->at++;
    x->to = x->at;
    x->depth--;
    x->want = x->depth ? IPR__J_WANT_NEXT : IPR__J_WANT_NOTHING;
    return object ? IPR__J_OBJECT_END : IPR__J_ARRAY_END;
}

IPR__TOOL int ipr__lex_value(ipr__lex *x)
{
    char ch = x->s[x->at];
    if (ch == '{' || ch == '[') return ipr__lex_open(x, ch == '{');
    x->want = x->depth ? IPR__J_WANT_NEXT : IPR__J_WANT_NOTHING;
    if (ch == '"') return ipr__lex_string(x, IPR__J_STRING);
    if (ch == 't') return ipr__lex_word(x, "true", IPR__J_TRUE);
    if (ch == 'f') return ipr__lex_word(x, "false", IPR__J_FALSE);
    if (ch == 'n') return ipr__lex_word(x, "null", IPR__J_NULL);
    return ipr__lex_number(x);
}

IPR__TOOL int ipr__lex_key(ipr__lex *x)
{
    size_t from, to;
    if (ipr__lex_string(x, IPR__J_KEY) == IPR__J_ERROR) return IPR__J_ERROR;
    from = x->from;
    to = x->to;
    ipr__lex_space(x);
    if (x->at >= x->n || x->s[x->at] != ':') return ipr__lex_error(x, "':' is needed behind a key");
    x->at++;
    x->from = from;
    x->to = to;
    x->want = IPR__J_WANT_VALUE;
    return IPR__J_KEY;
}

/* The next token. IPR__J_END once, behind the whole value; IPR__J_ERROR with x->error and x->at. */
IPR__TOOL int ipr__lex_next(ipr__lex *x)
{
    char ch, closing;
    if (x->error) return IPR__J_ERROR;
    ipr__lex_space(x);
    if (x->want == IPR__J_WANT_NOTHING) return x->at < x->n ? ipr__lex_error(x, "text behind the end") : IPR__J_END;
    if (x->at >= x->n) return ipr__lex_error(x, "the text ends early");
    ch = x->s[x->at];
    closing = x->objects >> x->depth & 1u ? '}' : ']';
    if (x->depth && ch == closing &&
        (x->want == IPR__J_WANT_NEXT || x->want == IPR__J_WANT_KEY_OR_END || x->want == IPR__J_WANT_VALUE_OR_END))
        return ipr__lex_close(x);
    if (x->want == IPR__J_WANT_NEXT) {
        if (ch != ',') return ipr__lex_error(x, closing == '}' ? "',' or '}' is needed" : "',' or ']' is needed");
        x->at++;
        x->want = closing == '}' ? IPR__J_WANT_KEY : IPR__J_WANT_VALUE;
        ipr__lex_space(x);
        if (x->at >= x->n) return ipr__lex_error(x, "the text ends early");
    }
    return x->want == IPR__J_WANT_KEY || x->want == IPR__J_WANT_KEY_OR_END ? ipr__lex_key(x) : ipr__lex_value(x);
}

/* One decoded character of a checked string span; returns its bytes in out. */
IPR__TOOL int ipr__json_char(const char *s, size_t n, size_t *at, char out[4])
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    uint32_t u;
    int i, len;
    if (s[*at] != '\\') {
        len = ipr__utf8((const uint8_t *)s + *at, n - *at);
        if (len < 1) len = 1;
        for (i = 0; i < len; i++) out[i] = s[*at + (size_t)i];
        *at += (size_t)len;
        return len;
    }
    if (s[*at + 1] != 'u') {
        out[0] = s[*at + 1];
        for (i = 0; i < 5; i++)
            if (s[*at + 1] == from[i]) out[0] = to[i];
        *at += 2;
        return 1;
    }
    u = (uint32_t)ipr__hex4(s + *at + 2, 4);
    *at += 6;
    if (u >= 0xd800 && u < 0xdc00) {
        u = 0x10000u + ((u - 0xd800u) << 10) + ((uint32_t)ipr__hex4(s + *at + 2, 4) - 0xdc00u);
        *at += 6;
    }
    return ipr__utf8_put(out, u);
}

/* Is the checked string span exactly this text? */
IPR__TOOL int ipr__json_span_is(const char *s, size_t n, const char *text)
{
    size_t at = 0;
    char ch[4];
    while (at < n) {
        int len = ipr__json_char(s, n, &at, ch), i;
        for (i = 0; i < len; i++)
            if (*text++ != ch[i]) return 0;
    }
    return *text == 0;
}

/* The decoded span into out with a 0 behind it: at most n + 1 bytes. Returns the length. */
IPR__TOOL size_t ipr__json_decode(const char *s, size_t n, char *out)
{
    size_t at = 0, len = 0;
    char ch[4];
    while (at < n) {
        int k = ipr__json_char(s, n, &at, ch);
        ipr__copy(out + len, ch, (size_t)k);
        len += (size_t)k;
    }
    out[len] = 0;
    return len;
}

/* All digits, and it fits: 1 and *out. JSON's other spellings (1.0, 1e3, -0) are no sizes. */
IPR__TOOL int ipr__json_u64(const char *s, size_t n, uint64_t *out)
{
    size_t i;
    *out = 0;
    for (i = 0; i < n; i++) {
        uint64_t d = (uint64_t)(s[i] - '0');
        if (s[i] < '0' || s[i] > '9' || *out > (UINT64_MAX - d) / 10u) return 0;
        *out = *out * 10u + d;
    }
    return n > 0;
}

IPR__TOOL int ipr__json_fail(ipr_ctx *c, const char *fn, const char *what, const ipr__lex *x)
{
    uint64_t line = 1, col = 1;
    size_t i;
    for (i = 0; i < x->at && i < x->n; i++) {
        if (x->s[i] == '\n') {
            line++;
            col = 1;
        } else col++;
    }
    return ipr__fail(c, IPR_E_FORMAT, fn, "%s: line %U column %U: %s", what, line, col, x->error);
}

IPR_API IPR__COLD int ipr_json_parse(ipr_ctx *c, const char *text, size_t bytes, ipr_json_val *root)
{
    ipr__lex x;
    ipr_json_val v = IPR_ZERO;
    int token;
    if (root) *root = v;
    if (ipr_status(c)) return ipr_status(c);
    if (!root || (!text && bytes)) return ipr__fail(c, IPR_E_ARG, "ipr_json_parse", "text or root is NULL");
    ipr__lex_start(&x, text, bytes);
    ipr__lex_space(&x);
    v.text = text + x.at;
    do token = ipr__lex_next(&x);
    while (token > IPR__J_END);
    if (token == IPR__J_ERROR) return ipr__json_fail(c, "ipr_json_parse", "JSON", &x);
    while (bytes &&
           (text[bytes - 1] == ' ' || text[bytes - 1] == '\t' || text[bytes - 1] == '\n' || text[bytes - 1] == '\r'))
        bytes--;
    v.bytes = bytes - (size_t)(v.text - text);
    v.type = *v.text == '{'                     ? IPR_JSON_OBJECT
             : *v.text == '['                   ? IPR_JSON_ARRAY
             : *v.text == '"'                   ? IPR_JSON_STRING
             : *v.text == 't' || *v.text == 'f' ? IPR_JSON_BOOL
             : *v.text == 'n'                   ? IPR_JSON_NULL
                                                : IPR_JSON_NUMBER;
    *root = v;
    return IPR_OK;
}

/* The value that starts with this token, up to and with its end. */
IPR__TOOL int ipr__json_span(ipr__lex *x, int token, ipr_json_val *v)
{
    size_t from = x->from;
    int depth = x->depth - 1;
    v->type = IPR_JSON_NONE;
    if (token == IPR__J_OBJECT || token == IPR__J_ARRAY) {
        v->type = token == IPR__J_OBJECT ? IPR_JSON_OBJECT : IPR_JSON_ARRAY;
        while (x->depth > depth)
            if (ipr__lex_next(x) <= IPR__J_END) {
                v->type = IPR_JSON_NONE;
                return 0;
            }
    } else if (token == IPR__J_STRING) {
        v->type = IPR_JSON_STRING;
        from--;
    } else if (token == IPR__J_NUMBER) v->type = IPR_JSON_NUMBER;
    else if (token == IPR__J_TRUE || token == IPR__J_FALSE) v->type = IPR_JSON_BOOL;
    else if (token == IPR__J_NULL) v->type = IPR_JSON_NULL;
    else return 0;
    v->text = x->s + from;
    v->bytes = x->at - from;
    return 1;
}

/* The cursor is the place behind the last value; the lexer is set down there as if it had come so far. */
IPR_API IPR__COLD int ipr_json_next(ipr_json_val v, size_t *cursor, ipr_json_val *key, ipr_json_val *value)
{
    ipr__lex x;
    ipr_json_val none = IPR_ZERO;
    int token;
    if (key) *key = none;
    if (value) *value = none;
    if (!cursor || !value || !v.text || (v.type != IPR_JSON_ARRAY && v.type != IPR_JSON_OBJECT)) return 0;
    ipr__lex_start(&x, v.text, v.bytes);
    if (ipr__lex_next(&x) <= IPR__J_END) return 0;
    if (*cursor) {
        x.at = *cursor;
        x.want = IPR__J_WANT_NEXT;
    }
    token = ipr__lex_next(&x);
    if (token == IPR__J_KEY) {
        if (key) {
            key->text = x.s + x.from - 1;
            key->bytes = x.to - x.from + 2;
            key->type = IPR_JSON_STRING;
        }
        token = ipr__lex_next(&x);
    }
    if (!ipr__json_span(&x, token, value)) return 0;
    *cursor = x.at;
    return 1;
}

IPR__TOOL int ipr__json_key_is(ipr_json_val k, const char *name, size_t n)
{
    size_t at = 0, used = 0;
    char ch[4];
    if (k.type != IPR_JSON_STRING) return 0;
    while (at < k.bytes - 2) {
        int len = ipr__json_char(k.text + 1, k.bytes - 2, &at, ch), i;
        for (i = 0; i < len; i++)
            if (used >= n || name[used++] != ch[i]) return 0;
    }
    return used == n;
}

IPR__TOOL ipr_json_val ipr__json_child(ipr_json_val v, const char *name, size_t n)
{
    ipr_json_val key, value, none = IPR_ZERO;
    size_t at = 0;
    while (v.type == IPR_JSON_OBJECT && ipr_json_next(v, &at, &key, &value))
        if (ipr__json_key_is(key, name, n)) return value;
    return none;
}

IPR_API IPR__COLD ipr_json_val ipr_json_member(ipr_json_val v, const char *key)
{
    return ipr__json_child(v, key ? key : "", key ? ipr__strlen(key) : 0);
}

IPR_API IPR__COLD ipr_json_val ipr_json_at(ipr_json_val v, ipr_index i)
{
    ipr_json_val value, none = IPR_ZERO;
    size_t at = 0;
    while (i >= 0 && ipr_json_next(v, &at, NULL, &value))
        if (i-- == 0) return value;
    return none;
}

IPR_API IPR__COLD ipr_index ipr_json_count(ipr_json_val v)
{
    ipr_json_val value;
    size_t at = 0;
    ipr_index n = 0;
    while (ipr_json_next(v, &at, NULL, &value)) n++;
    return n;
}

IPR_API IPR__COLD ipr_json_val ipr_json_get(ipr_json_val v, const char *path)
{
    ipr_json_val none = IPR_ZERO;
    if (!path) return none;
    while (*path && v.type) {
        size_t n = 0;
        if (*path == '[') {
            uint64_t i;
            while (path[n] && path[n] != ']') n++;
            if (!path[n] || !ipr__json_u64(path + 1, n - 1, &i) || i > (uint64_t)PTRDIFF_MAX) return none;
            v = v.type == IPR_JSON_ARRAY ? ipr_json_at(v, (ipr_index)i) : none;
            path += n + 1;
            if (*path == '.') path++;
            continue;
        }
        while (path[n] && path[n] != '.' && path[n] != '[') n++;
        v = ipr__json_child(v, path, n);
        path += n;
        if (*path == '.') path++;
    }
    return v;
}

IPR_API IPR__COLD double ipr_json_to_double(ipr_json_val v, double otherwise)
{
    double d;
    return v.type == IPR_JSON_NUMBER && ipr__parse_double(v.text, v.bytes, &d) == v.bytes ? d : otherwise;
}

IPR_API IPR__COLD int64_t ipr_json_to_int(ipr_json_val v, int64_t otherwise)
{
    uint64_t u;
    int minus = v.type == IPR_JSON_NUMBER && v.text[0] == '-';
    if (v.type != IPR_JSON_NUMBER || !ipr__json_u64(v.text + minus, v.bytes - (size_t)minus, &u)) return otherwise;
    if (u > (uint64_t)INT64_MAX) return otherwise;
    return minus ? -(int64_t)u : (int64_t)u;
}

IPR_API IPR__COLD int ipr_json_to_bool(ipr_json_val v, int otherwise)
{
    return v.type == IPR_JSON_BOOL ? *v.text == 't' : otherwise;
}

IPR_API IPR__COLD size_t ipr_json_to_text(ipr_json_val v, char *out, size_t cap)
{
    size_t at = 0, len = 0, cut = 0;
    char ch[4];
    while (v.type == IPR_JSON_STRING && at < v.bytes - 2) {
        size_t k = (size_t)ipr__json_char(v.text + 1, v.bytes - 2, &at, ch);
        if (len == cut && cut + k < cap) { /* whole characters only */
            ipr__copy(out + cut, ch, k);
            cut += k;
        }
        len += k;
    }
    if (cap) out[cut] = 0;
    return len;
}

IPR_API IPR__COLD int ipr_json_equals(ipr_json_val v, const char *text)
{
    return text && ipr__json_key_is(v, text, ipr__strlen(text));
}

/* ---- JSON out ---- */

IPR_API IPR__COLD void ipr_json_begin(ipr_json *j, ipr_writer *w, int pretty)
{
    ipr__zero(j, sizeof *j);
    j->w = w;
    j->pretty = pretty;
}

IPR__TOOL void ipr__json_misuse(ipr_json *j, const char *why)
{
    if (!j->w->status) j->w->status = ipr__fail(j->w->ctx, IPR_E_STATE, "ipr_json", "%s", why);
}

/* Characters that stand for themselves go out in runs. */
IPR__TOOL void ipr__json_quote(ipr_json *j, const char *s)
{
    size_t n = ipr__strlen(s), from = 0, at = 0;
    (void)ipr_writer_write(j->w, "\"", 1);
    while (at < n) {
        uint8_t ch = (uint8_t)s[at];
        int len = ipr__utf8((const uint8_t *)s + at, n - at);
        char esc[16] = "\\ufffd";
        if (len && ch >= 0x20 && ch != '"' && ch != '\\' && !(ch == '/' && at && s[at - 1] == '<')) {
            at += (size_t)len;
            continue;
        }
        (void)ipr_writer_write(j->w, s + from, at - from);
        if (ch == '"' || ch == '\\' || ch == '/') {
            esc[1] = (char)ch;
            esc[2] = 0;
        } else if (ch == '\n') {
            esc[1] = 'n';
            esc[2] = 0;
        } else if (ch == '\t') {
            esc[1] = 't';
            esc[2] = 0;
        } else if (ch < 0x20) {
            esc[2] = '0';
            esc[3] = '0';
            esc[4] = (char)('0' + (ch >> 4));
            esc[5] = "0123456789abcdef"[ch & 15];
        }
        (void)ipr_writer_text(j->w, esc);
        from = ++at;
    }
    (void)ipr_writer_write(j->w, s + from, n - from);
    (void)ipr_writer_write(j->w, "\"", 1);
}

IPR__TOOL void ipr__json_line(ipr_json *j)
{
    int i;
    if (!j->pretty) return;
    (void)ipr_writer_write(j->w, "\n", 1);
    for (i = 0; i < j->depth; i++) (void)ipr_writer_write(j->w, " ", 1);
}

/* Before every value: comma, line, key. 1 when the value may be written. */
IPR__TOOL int ipr__json_lead(ipr_json *j, const char *key)
{
    uint64_t bit = (uint64_t)1 << j->depth;
    if (j->w->status) return 0;
    if (j->depth ? !key != !(j->objects & bit) : key || j->done) {
        ipr__json_misuse(j, !j->depth ? "one value without a key is a whole text"
                            : key     ? "a key inside an array"
                                      : "a value without key inside an object");
        return 0;
    }
    if (j->filled & bit) (void)ipr_writer_write(j->w, ",", 1);
    if (j->depth) ipr__json_line(j);
    j->filled |= bit;
    if (key) {
        ipr__json_quote(j, key);
        (void)ipr_writer_write(j->w, ": ", j->pretty ? 2 : 1);
    }
    if (!j->depth) j->done = 1;
    return !j->w->status;
}

IPR__TOOL void ipr__json_open(ipr_json *j, const char *key, int object)
{
    if (!ipr__json_lead(j, key)) return;
    if (j->depth == 63) {
        ipr__json_misuse(j, "more than 63 levels");
        return;
    }
    (void)ipr_writer_write(j->w, object ? "{" : "[", 1);
    j->depth++;
    j->objects = (j->objects & ~((uint64_t)1 << j->depth)) | (uint64_t)(object ? 1 : 0) << j->depth;
    j->filled &= ~((uint64_t)1 << j->depth);
}

IPR__TOOL void ipr__json_raw(ipr_json *j, const char *key, const char *text)
{
    if (ipr__json_lead(j, key)) (void)ipr_writer_text(j->w, text);
}

IPR_API IPR__COLD void ipr_json_object(ipr_json *j, const char *key) { ipr__json_open(j, key, 1); }
IPR_API IPR__COLD void ipr_json_array(ipr_json *j, const char *key) { ipr__json_open(j, key, 0); }

IPR_API IPR__COLD void ipr_json_end(ipr_json *j)
{
    uint64_t bit = (uint64_t)1 << j->depth;
    if (j->w->status) return;
    if (!j->depth) {
        ipr__json_misuse(j, "nothing is open to end");
        return;
    }
    j->depth--;
    if (j->filled & bit) ipr__json_line(j);
    (void)ipr_writer_write(j->w, j->objects & bit ? "}" : "]", 1);
}

IPR_API IPR__COLD void ipr_json_str(ipr_json *j, const char *key, const char *value)
{
    if (!value) ipr__json_raw(j, key, "null");
    else if (ipr__json_lead(j, key)) ipr__json_quote(j, value);
}

IPR_API IPR__COLD void ipr_json_num(ipr_json *j, const char *key, double value)
{
    char text[32];
    if (ipr__finite(value)) (void)ipr_fmt_double(text, value);
    ipr__json_raw(j, key, ipr__finite(value) ? text : "null");
}

IPR_API IPR__COLD void ipr_json_fixed(ipr_json *j, const char *key, double value, int digits)
{
    char text[32];
    if (ipr__finite(value)) (void)ipr_fmt_fixed(text, value, digits);
    ipr__json_raw(j, key, ipr__finite(value) ? text : "null");
}

IPR_API IPR__COLD void ipr_json_int(ipr_json *j, const char *key, int64_t value)
{
    char text[32];
    (void)ipr__fmt(text, sizeof text, value < 0 ? "-%U" : "%U",
                   value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value);
    ipr__json_raw(j, key, text);
}

IPR_API IPR__COLD void ipr_json_bool(ipr_json *j, const char *key, int value)
{
    ipr__json_raw(j, key, value ? "true" : "false");
}
IPR_API IPR__COLD void ipr_json_null(ipr_json *j, const char *key) { ipr__json_raw(j, key, "null"); }

IPR_API IPR__COLD int ipr_json_finish(ipr_json *j)
{
    if (j->w->status) return j->w->status;
    if (j->depth || !j->done)
        ipr__json_misuse(j, j->depth ? "an object or array is still open" : "nothing was written");
    else if (j->pretty) (void)ipr_writer_write(j->w, "\n", 1);
    return j->w->status;
}

/* ---- arrays ---- */

typedef struct ipr__dtype {
    const char *name, *npy;
    uint8_t bytes, kind;
} ipr__dtype; /* kind: f, i, u */

/* in the order of IPR_DT_*; npy without its byte order */
static const ipr__dtype ipr__dtypes[IPR_DT_COUNT] = {
    {"?", "", 0, '?'},     {"F64", "f8", 8, 'f'}, {"F32", "f4", 4, 'f'}, {"F16", "f2", 2, 'f'}, {"BF16", "", 2, 'f'},
    {"I64", "i8", 8, 'i'}, {"U64", "u8", 8, 'u'}, {"I32", "i4", 4, 'i'}, {"U32", "u4", 4, 'u'}, {"I16", "i2", 2, 'i'},
    {"U16", "u2", 2, 'u'}, {"I8", "i1", 1, 'i'},  {"U8", "u1", 1, 'u'},  {"BOOL", "b1", 1, 'u'}};

IPR__TOOL int ipr__dtype_ok(int dtype) { return dtype > IPR_DT_NONE && dtype < IPR_DT_COUNT; }
IPR_API IPR__COLD size_t ipr_dtype_bytes(int dtype) { return ipr__dtype_ok(dtype) ? ipr__dtypes[dtype].bytes : 0; }
IPR_API IPR__COLD const char *ipr_dtype_name(int dtype) { return ipr__dtypes[ipr__dtype_ok(dtype) ? dtype : 0].name; }

/* Elements of a shape, and their bytes; 0 when a dimension is negative or the product overflows. */
IPR__TOOL int ipr__shape_bytes(int rank, const ipr_index *dims, size_t element, size_t *count, size_t *bytes)
{
    int i, zero = 0;
    *count = 1;
    for (i = 0; i < rank; i++) {
        if (dims[i] < 0) return 0;
        if (dims[i] == 0) zero = 1;
        else if (!ipr__mul(*count, (size_t)dims[i], count)) return 0;
    }
    if (!ipr__mul(*count, element, bytes) || *bytes > (size_t)PTRDIFF_MAX) return 0;
    if (zero) *count = *bytes = 0;
    return 1;
}

IPR_API IPR__COLD ipr_index ipr_array_count(const ipr_array *a)
{
    size_t n, bytes;
    return a && ipr__shape_bytes(a->rank, a->dims, 1, &n, &bytes) ? (ipr_index)n : 0;
}

/* An array that a user or a file made: rank, dtype and bytes must agree. */
IPR__TOOL int ipr__array_check(ipr_ctx *c, const char *fn, const ipr_array *a)
{
    char show[72];
    size_t n, bytes;
    const char *name = ipr__show(show, a && a->name ? a->name : "array");
    if (!a || !ipr__dtype_ok(a->dtype) || a->rank < 0 || a->rank > IPR_ARRAY_RANK || a->order < 0 ||
        a->order > IPR_ORDER_BIG)
        return ipr__fail(c, IPR_E_ARG, fn, "%s: NULL, or its dtype, order or rank is not one there is", name);
    if (!ipr__shape_bytes(a->rank, a->dims, ipr_dtype_bytes(a->dtype), &n, &bytes))
        return ipr__fail(c, IPR_E_RANGE, fn, "%s: a dimension is negative, or the size overflows", name);
    if (bytes != a->bytes || (bytes && !a->data))
        return ipr__fail(c, IPR_E_ARG, fn, "%s: %U bytes are given, its shape needs %U", name,
                         (uint64_t)(a->data ? a->bytes : 0), (uint64_t)bytes);
    return IPR_OK;
}

IPR__TOOL int ipr__host_order(void)
{
    const uint16_t one = 1;
    uint8_t low;
    ipr__copy(&low, &one, 1);
    return low ? IPR_ORDER_LITTLE : IPR_ORDER_BIG;
}

IPR__TOOL int ipr__order(int order) { return order == IPR_ORDER_HOST ? ipr__host_order() : order; }

/* n elements of `size` bytes from one byte order to another. */
IPR__TOOL void ipr__reorder(uint8_t *dst, const uint8_t *src, size_t n, size_t size, int from, int to)
{
    size_t i, k;
    if (size == 1 || ipr__order(from) == ipr__order(to)) {
        ipr__copy(dst, src, n * size);
        return;
    }
    for (i = 0; i < n; i++, src += size, dst += size)
        for (k = 0; k < size; k++) dst[k] = src[size - 1 - k];
}

/* Write an array's bytes little-endian; in place where they are so already. */
IPR__TOOL void ipr__array_emit(ipr_writer *w, const ipr_array *a)
{
    size_t size = ipr_dtype_bytes(a->dtype), n = size ? a->bytes / size : 0, i;
    const uint8_t *p = (const uint8_t *)a->data;
    uint8_t chunk[512];
    if (size == 1 || ipr__order(a->order) == IPR_ORDER_LITTLE) {
        (void)ipr_writer_write(w, p, a->bytes);
        return;
    }
    for (i = 0; i < n && !w->status;) {
        size_t k = IPR__MIN(n - i, sizeof chunk / size);
        ipr__reorder(chunk, p + i * size, k, size, a->order, IPR_ORDER_LITTLE);
        (void)ipr_writer_write(w, chunk, k * size);
        i += k;
    }
}

/* IEEE 754 binary16 to binary32, exact. */
IPR__TOOL float ipr__f16_f32(uint32_t h)
{
    uint32_t sign = (h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 0x3ffu;
    if (e == 31) return ipr__bits_f32(sign | 0x7f800000u | m << 13);
    if (e) return ipr__bits_f32(sign | (e + 112u) << 23 | m << 13);
    return ipr__bits_f32(sign | ipr__f32_bits((float)m * 5.9604644775390625e-8f)); /* m * 2^-24 */
}

/* Element i as raw bits, any byte order. */
IPR__TOOL uint64_t ipr__array_bits(const ipr_array *a, size_t i)
{
    size_t size = ipr__dtypes[a->dtype].bytes, k;
    const uint8_t *p = (const uint8_t *)a->data + i * size;
    int little = ipr__order(a->order) == IPR_ORDER_LITTLE;
    uint64_t v = 0;
    for (k = 0; k < size; k++) v = v << 8 | p[little ? size - 1 - k : k];
    return v;
}

/* Sign-extended integer element; 0 and *ok = 0 for what int64 cannot hold. */
IPR__TOOL int64_t ipr__array_int(const ipr_array *a, size_t i, int *ok)
{
    uint64_t v = ipr__array_bits(a, i);
    int bits = 8 * ipr__dtypes[a->dtype].bytes;
    if (ipr__dtypes[a->dtype].kind == 'i') {
        uint64_t top = (uint64_t)1 << (bits - 1);
        return v & top ? -(int64_t)(~(v | ~(top - 1u))) - 1 : (int64_t)v;
    }
    if (v > (uint64_t)INT64_MAX) {
        *ok = 0;
        return 0;
    }
    return (int64_t)v;
}

IPR__TOOL double ipr__array_double(const ipr_array *a, size_t i)
{
    uint64_t v = ipr__array_bits(a, i);
    int ok = 1;
    switch (a->dtype) {
    case IPR_DT_F64: return ipr__bits_f64(v);
    case IPR_DT_F32: return (double)ipr__bits_f32((uint32_t)v);
    case IPR_DT_F16: return (double)ipr__f16_f32((uint32_t)v);
    case IPR_DT_BF16: return (double)ipr__bits_f32((uint32_t)v << 16);
    case IPR_DT_U64: return (double)v;
    default: return (double)ipr__array_int(a, i, &ok);
    }
}

/* A double that float holds: finite ones up to FLT_MAX, and what is not finite. */
IPR__TOOL int ipr__fits_float(double v)
{
    return !ipr__finite(v) || (v <= 3.4028234663852886e38 && v >= -3.4028234663852886e38);
}

/* Elements [0, n) of a as floating point at dst; returns how many fitted in a row from the start. */
IPR__TOOL size_t ipr__array_floats(const ipr_array *a, size_t n, int dtype, void *dst)
{
    size_t i;
    if (a->dtype == dtype) {
        ipr__reorder((uint8_t *)dst, (const uint8_t *)a->data, n, ipr_dtype_bytes(dtype), a->order, IPR_ORDER_HOST);
        return n;
    }
    for (i = 0; i < n; i++) {
        double v = ipr__array_double(a, i);
        if (dtype == IPR_DT_F64) {
            ((double *)dst)[i] = v;
            continue;
        }
        if (!ipr__fits_float(v)) return i;
        ((float *)dst)[i] = (float)v;
    }
    return n;
}

IPR__TOOL size_t ipr__array_ints(const ipr_array *a, size_t n, int dtype, void *dst)
{
    size_t i;
    int ok = 1;
    for (i = 0; i < n; i++) {
        int64_t v = ipr__array_int(a, i, &ok);
        if (!ok) return i;
        if (dtype == IPR_DT_I64) ((int64_t *)dst)[i] = v;
        else if (dtype == IPR_DT_I32) {
            if (v < INT32_MIN || v > INT32_MAX) return i;
            ((int32_t *)dst)[i] = (int32_t)v;
        } else {
            if (v < 0 || v > 255) return i;
            ((uint8_t *)dst)[i] = (uint8_t)v;
        }
    }
    return n;
}

IPR_API IPR__COLD int ipr_array_get(ipr_ctx *c, const ipr_array *a, int dtype, void *dst)
{
    char show[72];
    size_t n, done;
    int floats = dtype == IPR_DT_F64 || dtype == IPR_DT_F32;
    int ints = dtype == IPR_DT_I64 || dtype == IPR_DT_I32 || dtype == IPR_DT_U8;
    if (ipr_status(c)) return ipr_status(c);
    if (ipr__array_check(c, "ipr_array_get", a)) return ipr_status(c);
    n = (size_t)ipr_array_count(a);
    if (n && !dst) return ipr__fail(c, IPR_E_ARG, "ipr_array_get", "dst is NULL");
    if (!(floats || (ints && ipr__dtypes[a->dtype].kind != 'f')))
        return ipr__fail(c, IPR_E_ARG, "ipr_array_get", "%s: %s elements are not given as %s",
                         ipr__show(show, a->name ? a->name : "array"), ipr_dtype_name(a->dtype), ipr_dtype_name(dtype));
    done = floats ? ipr__array_floats(a, n, dtype, dst) : ipr__array_ints(a, n, dtype, dst);
    if (done == n) return IPR_OK;
    return ipr__fail(c, IPR_E_RANGE, "ipr_array_get", "%s: element %U, %g, does not fit %s",
                     ipr__show(show, a->name ? a->name : "array"), (uint64_t)done, ipr__array_double(a, done),
                     ipr_dtype_name(dtype));
}

IPR_API IPR__COLD ipr_tensor *ipr_array_tensor(ipr_ctx *c, const ipr_array *a)
{
    ipr_tensor *t;
    int real;
    if (ipr_status(c) || ipr__array_check(c, "ipr_array_tensor", a)) return ipr__poison(c);
    if (a->rank > IPR_MAX_RANK) {
        (void)ipr__fail(c, IPR_E_SHAPE, "ipr_array_tensor", "%d dimensions; a tensor has up to %d", a->rank,
                        (int)IPR_MAX_RANK);
        return ipr__poison(c);
    }
    real = ipr__dtypes[a->dtype].kind == 'f';
    t = real ? ipr_new(c, a->rank, a->dims) : ipr_new_i32(c, a->rank, a->dims);
    if (ipr_is_poison(t)) return t;
    if (ipr_array_get(c, a, real ? IPR_DT_REAL : IPR_DT_I32,
                      real ? (void *)ipr_write(c, t, 0) : (void *)ipr_write_i32(c, t, 0)))
        return ipr__poison(c);
    return t;
}

IPR_API IPR__COLD int ipr_array_of(ipr_ctx *c, const ipr_tensor *t, const char *name, ipr_array *out)
{
    int i;
    if (!out) return ipr__fail(c, IPR_E_ARG, "ipr_array_of", "out is NULL");
    ipr__zero(out, sizeof *out);
    if (ipr_status(c)) return ipr_status(c);
    if (!ipr__in(c, "ipr_array_of", "the tensor", t)) return ipr_status(c) ? ipr_status(c) : IPR_E_ARG;
    out->name = name;
    out->dtype = ipr_type(t) == IPR_T_REAL ? (int)IPR_DT_REAL : (int)IPR_DT_I32;
    out->rank = ipr_rank(t);
    for (i = 0; i < out->rank; i++) out->dims[i] = ipr_dim(t, i);
    out->data = ipr_type(t) == IPR_T_REAL ? (const void *)ipr_read(c, t) : (const void *)ipr_read_i32(c, t);
    out->bytes = (size_t)ipr_count(t) * ipr_dtype_bytes(out->dtype);
    return ipr_status(c);
}

IPR_API IPR__COLD void ipr_array_free(ipr_ctx *c, ipr_array *a)
{
    if (!a) return;
    ipr__free(c, a->owned);
    ipr__zero(a, sizeof *a);
}

/* ---- npy ---- */

/* A bounded text writer with the 10 bytes of magic, version and length in front. */
IPR_API IPR__COLD int ipr_npy_write(ipr_writer *w, const ipr_array *a)
{
    char head[512];
    ipr__text t;
    int i;
    if (!w) return IPR_E_ARG;
    if (w->status) return w->status;
    if (ipr__array_check(w->ctx, "ipr_npy_write", a)) return w->status = ipr_status(w->ctx);
    if (!ipr__dtypes[a->dtype].npy[0])
        return w->status = ipr__fail(w->ctx, IPR_E_ARG, "ipr_npy_write", "npy has no %s; convert to F32 first",
                                     ipr_dtype_name(a->dtype));
    t.buf = head;
    t.cap = sizeof head;
    t.len = 0;
    ipr__text_s(&t, "\x93NUMPY\x01");
    t.len += 3; /* version 1.0 has a 0 byte, then the header's length, below */
    ipr__text_s(&t, ipr_dtype_bytes(a->dtype) == 1 ? "{'descr': '|" : "{'descr': '<");
    ipr__text_s(&t, ipr__dtypes[a->dtype].npy);
    ipr__text_s(&t, "', 'fortran_order': False, 'shape': (");
    for (i = 0; i < a->rank; i++) {
        ipr__text_i(&t, (int64_t)a->dims[i]);
        if (i + 1 < a->rank) ipr__text_s(&t, ", ");
        else if (a->rank == 1) ipr__text_c(&t, ',');
    }
    ipr__text_s(&t, "), }");
    while ((t.len + 1) % 64) ipr__text_c(&t, ' ');
    ipr__text_c(&t, '\n');
    head[7] = 0;
    head[8] = (char)(uint8_t)((t.len - 10) & 255u);
    head[9] = (char)(uint8_t)((t.len - 10) >> 8);
    (void)ipr_writer_write(w, head, t.len);
    ipr__array_emit(w, a);
    return w->status;
}

/* The header is a Python dictionary of three entries; this reads exactly that and nothing more clever. */
typedef struct ipr__npy {
    const char *s;
    size_t n, at;
    int dtype, order, fortran, rank;
    ipr_index dims[IPR_ARRAY_RANK];
} ipr__npy;

IPR__TOOL char ipr__npy_peek(ipr__npy *p)
{
    while (p->at < p->n && (p->s[p->at] == ' ' || p->s[p->at] == '\n' || p->s[p->at] == '\t')) p->at++;
    return p->at < p->n ? p->s[p->at] : 0;
}

IPR__TOOL int ipr__npy_eat(ipr__npy *p, char ch)
{
    if (!ch || ipr__npy_peek(p) != ch) return 0;
    p->at++;
    return 1;
}

IPR__TOOL int ipr__npy_word(ipr__npy *p, const char *word)
{
    size_t n = ipr__strlen(word);
    (void)ipr__npy_peek(p);
    if (p->n - p->at < n || ipr__memcmp(p->s + p->at, word, n)) return 0;
    p->at += n;
    return 1;
}

/* A quoted text of up to 15 characters without escapes. */
IPR__TOOL int ipr__npy_text(ipr__npy *p, char out[16])
{
    char quote = ipr__npy_peek(p);
    int n = 0;
    if (quote != '\'' && quote != '"') return 0;
    for (p->at++; p->at < p->n && p->s[p->at] != quote && n < 15; p->at++) {
        if (p->s[p->at] == '\\') return 0;
        out[n++] = p->s[p->at];
    }
    out[n] = 0;
    return p->at < p->n && p->s[p->at++] == quote;
}

IPR__TOOL int ipr__npy_dtype(ipr__npy *p, const char *t)
{
    int i;
    p->order = t[0] == '<' ? IPR_ORDER_LITTLE : t[0] == '>' ? IPR_ORDER_BIG : t[0] == '|' ? IPR_ORDER_HOST : -1;
    if (p->order < 0) return 0;
    for (i = 1; i < IPR_DT_COUNT; i++)
        if (ipr__dtypes[i].npy[0] && ipr__streq(t + 1, ipr__dtypes[i].npy)) p->dtype = i;
    return p->dtype && (p->order != IPR_ORDER_HOST || ipr__dtypes[p->dtype].bytes == 1);
}

IPR__TOOL int ipr__npy_shape(ipr__npy *p)
{
    if (!ipr__npy_eat(p, '(')) return 0;
    while (!ipr__npy_eat(p, ')')) {
        uint64_t v;
        size_t from;
        (void)ipr__npy_peek(p);
        from = p->at;
        while (p->at < p->n && p->s[p->at] >= '0' && p->s[p->at] <= '9') p->at++;
        if (p->rank == IPR_ARRAY_RANK || !ipr__json_u64(p->s + from, p->at - from, &v) || v > (uint64_t)PTRDIFF_MAX)
            return 0;
        p->dims[p->rank++] = (ipr_index)v;
        /* (3) is a number, (3,) a shape */
        if (!ipr__npy_eat(p, ',') && (ipr__npy_peek(p) != ')' || p->rank == 1)) return 0;
    }
    return 1;
}

/* NULL, or what is wrong with the header. */
IPR__TOOL const char *ipr__npy_header(ipr__npy *p)
{
    int seen = 0;
    if (!ipr__npy_eat(p, '{')) return "the header is no dictionary";
    while (!ipr__npy_eat(p, '}')) {
        char key[16], text[16];
        int bit;
        if (!ipr__npy_text(p, key) || !ipr__npy_eat(p, ':')) return "the header is no dictionary of texts";
        bit = ipr__streq(key, "descr") ? 1 : ipr__streq(key, "fortran_order") ? 2 : ipr__streq(key, "shape") ? 4 : 0;
        if (!bit || seen & bit)
            return "the header has an entry twice, or one that is not descr, fortran_order or shape";
        seen |= bit;
        if (bit == 1 && (!ipr__npy_text(p, text) || !ipr__npy_dtype(p, text)))
            return "its dtype is not read; save it as float32, float64, int32, int64 or uint8";
        if (bit == 2 && !ipr__npy_word(p, "False") && !(p->fortran = ipr__npy_word(p, "True")))
            return "fortran_order is not True or False";
        if (bit == 4 && !ipr__npy_shape(p)) return "the shape is no tuple of up to 8 sizes";
        if (!ipr__npy_eat(p, ',') && ipr__npy_peek(p) != '}') return "',' or '}' is missing in the header";
    }
    if (ipr__npy_peek(p)) return "text behind the header's dictionary";
    return seen == 7 ? NULL : "the header lacks descr, fortran_order or shape";
}

/* Fortran order is the row-major order of the reversed shape: walk the target, step through the source. */
IPR__TOOL void ipr__npy_transpose(const ipr_array *a, uint8_t *dst, const uint8_t *src, size_t n)
{
    size_t size = ipr_dtype_bytes(a->dtype), step[IPR_ARRAY_RANK], at[IPR_ARRAY_RANK], i, off = 0;
    int k;
    for (k = 0; k < a->rank; k++) {
        step[k] = k ? step[k - 1] * (size_t)a->dims[k - 1] : size;
        at[k] = 0;
    }
    for (i = 0; i < n; i++, dst += size) {
        ipr__copy(dst, src + off, size);
        for (k = a->rank - 1; k >= 0; k--) {
            off += step[k];
            if (++at[k] < (size_t)a->dims[k]) break;
            off -= step[k] * (size_t)a->dims[k];
            at[k] = 0;
        }
    }
}

/* The data behind a checked header, to host order. */
IPR__TOOL int ipr__npy_data(ipr_reader *r, const ipr__npy *p, ipr_array *out)
{
    size_t n, bytes, size = ipr_dtype_bytes(p->dtype);
    const uint8_t *src;
    uint8_t *dst;
    void *owned;
    out->dtype = p->dtype;
    out->rank = p->rank;
    ipr__copy(out->dims, p->dims, sizeof out->dims);
    if (!ipr__shape_bytes(p->rank, p->dims, size, &n, &bytes) || bytes > ipr_reader_left(r))
        return r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_npy_read",
                                     "%s: its shape needs more bytes than the %U that follow; is it truncated?",
                                     r->name, ipr_reader_left(r));
    dst = (uint8_t *)ipr__alloc(r->ctx, bytes + 1);
    if (!dst) return r->status = IPR_E_NOMEM;
    out->owned = dst;
    out->data = dst;
    out->bytes = bytes;
    src = p->fortran && p->rank > 1 ? ipr__reader_take(r, bytes, &owned) : NULL;
    if (src) {
        ipr__npy_transpose(out, dst, src, n);
        ipr__free(r->ctx, owned);
    } else if (ipr_reader_read(r, dst, bytes)) return r->status;
    if (size > 1 && ipr__order(p->order) != ipr__host_order()) {
        size_t i, k;
        for (i = 0; i < bytes; i += size)
            for (k = 0; k < size / 2; k++) {
                uint8_t b = dst[i + k];
                dst[i + k] = dst[i + size - 1 - k];
                dst[i + size - 1 - k] = b;
            }
    }
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_npy_read(ipr_reader *r, ipr_array *out)
{
    uint8_t head[12];
    ipr__npy p;
    const char *why = NULL;
    void *owned = NULL;
    size_t len;
    if (!out) return r ? ipr__fail(r->ctx, IPR_E_ARG, "ipr_npy_read", "out is NULL") : IPR_E_ARG;
    ipr__zero(out, sizeof *out);
    ipr__zero(&p, sizeof p);
    if (!r) return IPR_E_ARG;
    if (r->status) return r->status;
    if (ipr_reader_left(r) < 10 || ipr_reader_read(r, head, 10) || ipr__memcmp(head, "\x93NUMPY", 6) || head[6] < 1 ||
        head[6] > 3 || head[7])
        return r->status =
                   ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_npy_read", "%s: no npy file of version 1, 2 or 3", r->name);
    len = (size_t)head[8] | (size_t)head[9] << 8;
    if (head[6] > 1) {
        if (ipr_reader_read(r, head + 10, 2)) return r->status;
        len |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    if (len > 1u << 20 || len > ipr_reader_left(r))
        return r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_npy_read",
                                     "%s: header of %U bytes, over 1 MiB or behind the file's end; is it truncated?",
                                     r->name, (uint64_t)len);
    p.s = (const char *)ipr__reader_take(r, len, &owned);
    p.n = len;
    if (!p.s) return r->status;
    why = ipr__npy_header(&p);
    ipr__free(r->ctx, owned);
    if (why) return r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_npy_read", "%s: %s", r->name, why);
    if (ipr__npy_data(r, &p, out)) ipr_array_free(r->ctx, out);
    return r->status;
}

IPR_API IPR__COLD int ipr_npy_save(ipr_ctx *c, const char *path, const ipr_tensor *t)
{
    ipr_array a;
    ipr_writer w;
    int status;
    if (ipr_array_of(c, t, NULL, &a)) return ipr_status(c);
    (void)ipr_writer_file(c, &w, path, 0);
    (void)ipr_npy_write(&w, &a);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return status;
}

IPR_API IPR__COLD ipr_tensor *ipr_npy_load(ipr_ctx *c, const char *path)
{
    ipr_reader r;
    ipr_array a = IPR_ZERO;
    ipr_tensor *t;
    (void)ipr_reader_file(c, &r, path);
    if (!ipr_npy_read(&r, &a) && ipr_reader_left(&r))
        (void)ipr__fail(c, IPR_E_FORMAT, "ipr_npy_load",
                        "%s: %U bytes behind the array; read several arrays by ipr_npy_read", path,
                        ipr_reader_left(&r));
    t = ipr_status(c) ? ipr__poison(c) : ipr_array_tensor(c, &a);
    ipr_array_free(c, &a);
    ipr_reader_close(&r);
    return t;
}

/* ---- safetensors ---- */

enum { IPR__ST_HEADER_MAX = 100000000 }; /* the format's own cap */

/* Does item a come before item b? */
typedef int (*ipr__before_fn)(const void *arg, uint32_t a, uint32_t b);

/* Heap sort of indices: no recursion, no memory, n log n for the most hostile order. */
IPR__TOOL void ipr__sort(uint32_t *v, size_t n, ipr__before_fn before, const void *arg)
{
    size_t heap, end, at, kid;
    uint32_t x;
    for (heap = n / 2, end = n; end > 1;) {
        if (heap) x = v[--heap];
        else {
            end--;
            x = v[end];
            v[end] = v[0];
        }
        for (at = heap; (kid = 2 * at + 1) < end; at = kid) {
            if (kid + 1 < end && before(arg, v[kid], v[kid + 1])) kid++;
            if (!before(arg, x, v[kid])) break;
            v[at] = v[kid];
        }
        v[at] = x;
        if (end == 1) break;
    }
}

/* < 0, 0, > 0 by bytes */
IPR__TOOL int ipr__strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (int)(uint8_t)*a - (int)(uint8_t)*b;
}

/* Written order: large elements first, so that each starts aligned; then by name. */
IPR__TOOL int ipr__st_write_before(const void *arg, uint32_t i, uint32_t j)
{
    const ipr_array *v = (const ipr_array *)arg;
    size_t a = ipr_dtype_bytes(v[i].dtype), b = ipr_dtype_bytes(v[j].dtype);
    return a != b ? a > b : ipr__strcmp(v[i].name, v[j].name) < 0;
}

IPR__TOOL int ipr__array_name_before(const void *arg, uint32_t i, uint32_t j)
{
    const ipr_array *v = (const ipr_array *)arg;
    return ipr__strcmp(v[i].name, v[j].name) < 0;
}

IPR__TOOL int ipr__pair_before(const void *arg, uint32_t i, uint32_t j)
{
    const ipr_pair *v = (const ipr_pair *)arg;
    return ipr__strcmp(v[i].key, v[j].key) < 0;
}

/* A name that comes back from a file as it went in: not empty, UTF-8. */
IPR__TOOL int ipr__st_text_ok(const char *s)
{
    size_t n = s ? ipr__strlen(s) : 0, at = 0;
    while (at < n) {
        int len = ipr__utf8((const uint8_t *)s + at, n - at);
        if (!len) return 0;
        at += (size_t)len;
    }
    return s != NULL;
}

/* Check what is to be written; order[] gets the order of the file. */
IPR__TOOL int ipr__st_plan(ipr_ctx *c, const ipr_array *v, int n, const ipr_meta *meta, uint32_t *order, uint32_t *keys)
{
    char show[72];
    const char *fn = "ipr_st_write";
    int i, m = meta ? meta->count : 0;
    for (i = 0; i < n; i++) {
        if (!v[i].name || !v[i].name[0] || !ipr__st_text_ok(v[i].name) || ipr__streq(v[i].name, "__metadata__"))
            return ipr__fail(c, IPR_E_ARG, fn,
                             "array %d: its name is empty, not UTF-8 or __metadata__; give it "
                             "another",
                             i);
        if (ipr__array_check(c, fn, &v[i])) return ipr_status(c);
        order[i] = (uint32_t)i;
    }
    for (i = 0; i < m; i++) {
        if (!ipr__st_text_ok(meta->pairs[i].key) || !ipr__st_text_ok(meta->pairs[i].value) ||
            ipr__streq(meta->pairs[i].key, "sha256"))
            return ipr__fail(c, IPR_E_ARG, fn,
                             "metadata %d: NULL, not UTF-8, or the key sha256, which is written by "
                             "itself",
                             i);
        keys[i] = (uint32_t)i;
    }
    ipr__sort(keys, (size_t)m, ipr__pair_before, m ? meta->pairs : NULL);
    for (i = 1; i < m; i++)
        if (ipr__streq(meta->pairs[keys[i]].key, meta->pairs[keys[i - 1]].key))
            return ipr__fail(c, IPR_E_ARG, fn, "metadata key \"%s\" is there twice",
                             ipr__show(show, meta->pairs[keys[i]].key));
    ipr__sort(order, (size_t)n, ipr__array_name_before, v);
    for (i = 1; i < n; i++)
        if (ipr__streq(v[order[i]].name, v[order[i - 1]].name))
            return ipr__fail(c, IPR_E_ARG, fn, "two arrays are named \"%s\"; names must differ",
                             ipr__show(show, v[order[i]].name));
    ipr__sort(order, (size_t)n, ipr__st_write_before, v);
    return IPR_OK;
}

IPR__TOOL int ipr__st_hash_sink(void *user, const void *src, size_t bytes)
{
    ipr_sha256_update((ipr_sha256 *)user, src, bytes);
    return 1;
}

/* SHA-256 of all arrays' bytes as the file will have them. */
IPR__TOOL int ipr__st_hash(ipr_ctx *c, const ipr_array *v, int n, const uint32_t *order, uint8_t out[32])
{
    ipr_sha256 s;
    ipr_writer w;
    int i, status;
    ipr_sha256_init(&s);
    (void)ipr_writer_callback(c, &w, ipr__st_hash_sink, &s);
    for (i = 0; i < n; i++) ipr__array_emit(&w, &v[order[i]]);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    ipr_sha256_final(&s, out);
    return status;
}

IPR__TOOL int ipr__st_header(ipr_writer *w, const ipr_array *v, int n, const uint32_t *order, const ipr_meta *meta,
                             const uint32_t *keys, const char *hash)
{
    ipr_json j;
    uint64_t at = 0;
    int i, k, m = meta ? meta->count : 0, hashed = 0;
    ipr_json_begin(&j, w, 0);
    ipr_json_object(&j, NULL);
    ipr_json_object(&j, "__metadata__");
    for (i = 0; i < m; i++) { /* sha256 at its place in the sorted keys */
        if (!hashed && ipr__strcmp(meta->pairs[keys[i]].key, "sha256") > 0) {
            ipr_json_str(&j, "sha256", hash);
            hashed = 1;
        }
        ipr_json_str(&j, meta->pairs[keys[i]].key, meta->pairs[keys[i]].value);
    }
    if (!hashed) ipr_json_str(&j, "sha256", hash);
    ipr_json_end(&j);
    for (i = 0; i < n; i++) {
        const ipr_array *a = &v[order[i]];
        ipr_json_object(&j, a->name);
        ipr_json_str(&j, "dtype", ipr_dtype_name(a->dtype));
        ipr_json_array(&j, "shape");
        for (k = 0; k < a->rank; k++) ipr_json_int(&j, NULL, (int64_t)a->dims[k]);
        ipr_json_end(&j);
        ipr_json_array(&j, "data_offsets");
        ipr_json_int(&j, NULL, (int64_t)at);
        at += a->bytes;
        ipr_json_int(&j, NULL, (int64_t)at);
        ipr_json_end(&j);
        ipr_json_end(&j);
    }
    ipr_json_end(&j);
    return ipr_json_finish(&j);
}

/* The header is counted first, then written, so no memory is needed for it. */
IPR__TOOL int ipr__st_emit(ipr_writer *w, const ipr_array *v, int n, const ipr_meta *meta, const uint32_t *order,
                           const uint32_t *keys)
{
    ipr_writer count;
    uint8_t sum[32], head[8];
    char hash[65];
    uint64_t len;
    int i;
    if (ipr__st_hash(w->ctx, v, n, order, sum)) return w->status = ipr_status(w->ctx);
    ipr_hex(sum, 32, hash);
    (void)ipr_writer_buffer(w->ctx, &count, NULL, 0);
    if (ipr__st_header(&count, v, n, order, meta, keys, hash)) return w->status = count.status;
    len = (ipr_writer_bytes(&count) + 7u) & ~(uint64_t)7u;
    if (len > (uint64_t)IPR__ST_HEADER_MAX)
        return w->status = ipr__fail(w->ctx, IPR_E_RANGE, "ipr_st_write",
                                     "header of %U bytes; safetensors allows 100000000", len);
    ipr__st64le(head, len);
    (void)ipr_writer_write(w, head, 8);
    (void)ipr__st_header(w, v, n, order, meta, keys, hash);
    (void)ipr_writer_write(w, "       ", (size_t)(len - ipr_writer_bytes(&count)));
    for (i = 0; i < n; i++) ipr__array_emit(w, &v[order[i]]);
    return w->status;
}

IPR_API IPR__COLD int ipr_st_write(ipr_writer *w, const ipr_array *arrays, int n, const ipr_meta *meta)
{
    uint32_t *order;
    size_t bytes;
    int m = meta ? meta->count : 0;
    if (!w) return IPR_E_ARG;
    if (w->status) return w->status;
    if (n < 0 || (n && !arrays) || m < 0 || (m && !meta->pairs))
        return w->status = ipr__fail(w->ctx, IPR_E_ARG, "ipr_st_write",
                                     "arrays or metadata are NULL, or their count is negative");
    if (!ipr__mul((size_t)n + (size_t)m + 1, 4, &bytes) || !(order = (uint32_t *)ipr__alloc(w->ctx, bytes)))
        return w->status = IPR_E_NOMEM;
    if (ipr__st_plan(w->ctx, arrays, n, meta, order, order + n)) w->status = ipr_status(w->ctx);
    else (void)ipr__st_emit(w, arrays, n, meta, order, order + n);
    ipr__free(w->ctx, order);
    return w->status;
}

struct ipr_st {
    ipr_ctx *c;
    const char *file;  /* for messages while it is opened */
    ipr_array *arrays; /* by name */
    uint64_t *from;    /* their first bytes */
    ipr_pair *pairs;   /* by key */
    ipr_meta meta;
    uint32_t *order;        /* for sorting */
    char *text, *text_next; /* names, keys and values */
    const uint8_t *data;
    void *owned;
    size_t bytes, block;
    int count;
};

/* What a header asks memory for: an upper bound, from one pass over its tokens. */
typedef struct ipr__st_count {
    size_t tensors, pairs, text;
} ipr__st_count;

IPR__TOOL int ipr__st_measure(ipr_ctx *c, const char *file, const char *s, size_t n, ipr__st_count *k)
{
    ipr__lex x;
    int token, meta = 0;
    ipr__zero(k, sizeof *k);
    ipr__lex_start(&x, s, n);
    while ((token = ipr__lex_next(&x)) > IPR__J_END) {
        if (token == IPR__J_KEY && x.depth == 1) {
            meta = ipr__json_span_is(s + x.from, x.to - x.from, "__metadata__");
            if (!meta) {
                k->tensors++;
                k->text += x.to - x.from + 1;
            }
        } else if (meta && x.depth == 2 && (token == IPR__J_KEY || token == IPR__J_STRING)) {
            if (token == IPR__J_KEY) k->pairs++;
            k->text += x.to - x.from + 1;
        }
    }
    return token == IPR__J_END ? IPR_OK : ipr__json_fail(c, "ipr_st_open", file, &x);
}

IPR__TOOL int ipr__st_bad(const ipr_st *st, const char *name, const char *why)
{
    char show[72];
    return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open", "%s: tensor \"%s\": %s", st->file, ipr__show(show, name), why);
}

IPR__TOOL const char *ipr__st_keep(ipr_st *st, const ipr__lex *x)
{
    char *s = st->text_next;
    st->text_next += ipr__json_decode(x->s + x->from, x->to - x->from, s) + 1;
    return s;
}

/* [size, size, ...] of up to `most` numbers; -1 if it is not that. */
IPR__TOOL int ipr__st_numbers(ipr__lex *x, uint64_t *out, int most)
{
    int n = 0, token;
    if (ipr__lex_next(x) != IPR__J_ARRAY) return -1;
    while ((token = ipr__lex_next(x)) != IPR__J_ARRAY_END) {
        if (token != IPR__J_NUMBER || n == most || !ipr__json_u64(x->s + x->from, x->to - x->from, &out[n])) return -1;
        n++;
    }
    return n;
}

IPR__TOOL int ipr__st_dtype(ipr_st *st, ipr__lex *x, ipr_array *a)
{
    char show[72], type[72], text[72];
    int i, token = ipr__lex_next(x);
    ipr_json_val v;
    if (token != IPR__J_STRING) return ipr__st_bad(st, a->name, "dtype is no text");
    for (i = 1; i < IPR_DT_COUNT; i++)
        if (ipr__json_span_is(x->s + x->from, x->to - x->from, ipr__dtypes[i].name)) a->dtype = i;
    if (a->dtype) return IPR_OK;
    v.text = x->s + x->from - 1;
    v.bytes = x->to - x->from + 2;
    v.type = IPR_JSON_STRING;
    (void)ipr_json_to_text(v, text, sizeof text);
    return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open",
                     "%s: tensor \"%s\": dtype \"%s\" is not known; convert it to F32", st->file,
                     ipr__show(show, a->name), ipr__show(type, text));
}

/* {"dtype": .., "shape": [..], "data_offsets": [.., ..]} of the tensor a->name. */
IPR__TOOL int ipr__st_tensor(ipr_st *st, ipr__lex *x, ipr_array *a, uint64_t span[2])
{
    uint64_t dims[IPR_ARRAY_RANK];
    int seen = 0, token, i;
    if (ipr__lex_next(x) != IPR__J_OBJECT) return ipr__st_bad(st, a->name, "its entry is no object");
    while ((token = ipr__lex_next(x)) == IPR__J_KEY) {
        const char *key = x->s + x->from;
        size_t n = x->to - x->from;
        int bit = ipr__json_span_is(key, n, "dtype")          ? 1
                  : ipr__json_span_is(key, n, "shape")        ? 2
                  : ipr__json_span_is(key, n, "data_offsets") ? 4
                                                              : 0;
        if (!bit || seen & bit)
            return ipr__st_bad(st, a->name, "an entry is there twice, or is not dtype, shape or data_offsets");
        seen |= bit;
        if (bit == 1 && ipr__st_dtype(st, x, a)) return IPR_E_FORMAT;
        if (bit == 2 && (a->rank = ipr__st_numbers(x, dims, IPR_ARRAY_RANK)) < 0)
            return ipr__st_bad(st, a->name, "shape is no array of up to 8 sizes (whole numbers, 0 or more)");
        if (bit == 4 && ipr__st_numbers(x, span, 2) != 2)
            return ipr__st_bad(st, a->name, "data_offsets are no two whole numbers");
    }
    if (seen != 7) return ipr__st_bad(st, a->name, "dtype, shape or data_offsets is missing");
    for (i = 0; i < a->rank; i++) {
        if (dims[i] > (uint64_t)PTRDIFF_MAX)
            return ipr__st_bad(st, a->name, "a size is over what this machine can address");
        a->dims[i] = (ipr_index)dims[i];
    }
    return IPR_OK;
}

/* The offsets are claims: inside the data, and exactly as long as the shape says. */
IPR__TOOL int ipr__st_place(ipr_st *st, ipr_array *a, const uint64_t span[2])
{
    char show[72];
    size_t n, bytes;
    if (!ipr__shape_bytes(a->rank, a->dims, ipr_dtype_bytes(a->dtype), &n, &bytes))
        return ipr__st_bad(st, a->name, "its size overflows");
    if (span[0] > span[1] || span[1] > st->bytes)
        return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open",
                         "%s: tensor \"%s\": bytes %U to %U, but there are %U; is the file truncated?", st->file,
                         ipr__show(show, a->name), span[0], span[1], (uint64_t)st->bytes);
    if (span[1] - span[0] != bytes)
        return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open",
                         "%s: tensor \"%s\": its shape needs %U bytes, its data_offsets span %U", st->file,
                         ipr__show(show, a->name), (uint64_t)bytes, span[1] - span[0]);
    a->order = IPR_ORDER_LITTLE;
    a->data = st->data + (size_t)span[0];
    a->bytes = bytes;
    return IPR_OK;
}

IPR__TOOL int ipr__st_metadata(ipr_st *st, ipr__lex *x)
{
    int token;
    if (st->meta.count || ipr__lex_next(x) != IPR__J_OBJECT)
        return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open", "%s: __metadata__ is there twice, or is no object",
                         st->file);
    while ((token = ipr__lex_next(x)) == IPR__J_KEY) {
        ipr_pair *p = &st->pairs[st->meta.count++];
        p->key = ipr__st_keep(st, x);
        if (ipr__lex_next(x) != IPR__J_STRING)
            return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open", "%s: a value in __metadata__ is no text", st->file);
        p->value = ipr__st_keep(st, x);
    }
    return IPR_OK;
}

IPR__TOOL int ipr__st_entries(ipr_st *st, const char *s, size_t n)
{
    ipr__lex x;
    int meta = 0;
    ipr__lex_start(&x, s, n);
    if (ipr__lex_next(&x) != IPR__J_OBJECT)
        return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open", "%s: the header is no JSON object", st->file);
    while (ipr__lex_next(&x) == IPR__J_KEY) {
        ipr_array *a = &st->arrays[st->count];
        uint64_t span[2];
        if (ipr__json_span_is(s + x.from, x.to - x.from, "__metadata__")) {
            if (meta++ || ipr__st_metadata(st, &x))
                return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open", "%s: __metadata__ is there twice", st->file);
            continue;
        }
        a->name = ipr__st_keep(st, &x);
        if (ipr__st_tensor(st, &x, a, span) || ipr__st_place(st, a, span)) return IPR_E_FORMAT;
        st->from[st->count++] = span[0];
    }
    return IPR_OK;
}

IPR__TOOL int ipr__st_from_before(const void *arg, uint32_t i, uint32_t j)
{
    const ipr_st *st = (const ipr_st *)arg;
    return st->from[i] != st->from[j] ? st->from[i] < st->from[j] : st->arrays[i].bytes < st->arrays[j].bytes;
}

/* By place: every byte belongs to exactly one tensor. */
IPR__TOOL int ipr__st_tiling(ipr_st *st)
{
    char s1[72], s2[72];
    uint64_t at = 0;
    int i;
    for (i = 0; i < st->count; i++) st->order[i] = (uint32_t)i;
    ipr__sort(st->order, (size_t)st->count, ipr__st_from_before, st);
    for (i = 0; i < st->count; i++) {
        const ipr_array *a = &st->arrays[st->order[i]];
        uint64_t from = st->from[st->order[i]];
        if (from < at)
            return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open",
                             "%s: tensor \"%s\" starts at byte %U, inside \"%s\", which ends at %U", st->file,
                             ipr__show(s1, a->name), from, ipr__show(s2, st->arrays[st->order[i - 1]].name), at);
        if (from > at)
            return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open",
                             "%s: bytes %U to %U, before tensor \"%s\", belong to no tensor", st->file, at, from,
                             ipr__show(s1, a->name));
        at += a->bytes;
    }
    if (at != st->bytes)
        return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open", "%s: %U bytes behind the last tensor", st->file,
                         (uint64_t)st->bytes - at);
    return IPR_OK;
}

/* Put items into the order of order[], in place, cycle by cycle. */
IPR__TOOL void ipr__st_permute(uint32_t *order, int n, void *items, size_t size)
{
    uint8_t *v = (uint8_t *)items, hold[sizeof(ipr_array)];
    int i;
    for (i = 0; i < n; i++) {
        uint32_t at = (uint32_t)i;
        if (order[i] == at) continue;
        ipr__copy(hold, v + (size_t)i * size, size);
        while (order[at] != (uint32_t)i) {
            uint32_t next = order[at];
            ipr__copy(v + (size_t)at * size, v + (size_t)next * size, size);
            order[at] = at;
            at = next;
        }
        ipr__copy(v + (size_t)at * size, hold, size);
        order[at] = at;
    }
}

/* Sort tensors and metadata, and refuse two of one name. */
IPR__TOOL int ipr__st_names(ipr_st *st)
{
    char show[72];
    int i;
    for (i = 0; i < st->count; i++) st->order[i] = (uint32_t)i;
    ipr__sort(st->order, (size_t)st->count, ipr__array_name_before, st->arrays);
    ipr__st_permute(st->order, st->count, st->arrays, sizeof *st->arrays);
    for (i = 1; i < st->count; i++)
        if (ipr__streq(st->arrays[i].name, st->arrays[i - 1].name))
            return ipr__st_bad(st, st->arrays[i].name, "there are two of this name");
    for (i = 0; i < st->meta.count; i++) st->order[i] = (uint32_t)i;
    ipr__sort(st->order, (size_t)st->meta.count, ipr__pair_before, st->pairs);
    ipr__st_permute(st->order, st->meta.count, st->pairs, sizeof *st->pairs);
    for (i = 1; i < st->meta.count; i++)
        if (ipr__streq(st->pairs[i].key, st->pairs[i - 1].key))
            return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open", "%s: __metadata__ has \"%s\" twice", st->file,
                             ipr__show(show, st->pairs[i].key));
    return IPR_OK;
}

IPR__TOOL int ipr__st_check_hash(ipr_st *st)
{
    const char *want = ipr_st_meta(st, "sha256");
    uint8_t sum[32];
    char have[65];
    if (!want) return IPR_OK;
    ipr_sha256_of(st->data, st->bytes, sum);
    ipr_hex(sum, 32, have);
    if (ipr__streq(want, have)) return IPR_OK;
    return ipr__fail(st->c, IPR_E_FORMAT, "ipr_st_open",
                     "%s: its bytes changed since it was written: sha256 %s; IPR_LOAD_NO_HASH opens it all the same",
                     st->file, have);
}

/* One block for the object and all it points to, but the data. */
IPR__TOOL ipr_st *ipr__st_block(ipr_ctx *c, const ipr__st_count *k)
{
    size_t a, b, t, bytes, items = IPR__MAX(k->tensors, k->pairs);
    ipr_st *st = NULL;
    char *p;
    if (k->tensors < INT32_MAX && k->pairs < INT32_MAX && ipr__mul(k->tensors, sizeof(ipr_array) + 8, &a) &&
        ipr__mul(k->pairs, sizeof(ipr_pair), &b) && ipr__mul(items, 4, &t) && ipr__add(a, b, &bytes) &&
        ipr__add(bytes, t, &bytes) && ipr__add(bytes, k->text + IPR__ROUND64(sizeof *st) + 1, &bytes))
        st = (ipr_st *)ipr__alloc(c, bytes);
    if (!st) return NULL;
    ipr__zero(st, bytes);
    p = (char *)st + IPR__ROUND64(sizeof *st);
    st->c = c;
    st->block = bytes;
    st->from = (uint64_t *)(void *)p;
    st->arrays = (ipr_array *)(void *)(st->from + k->tensors);
    st->pairs = (ipr_pair *)(void *)(st->arrays + k->tensors);
    st->order = (uint32_t *)(void *)(st->pairs + k->pairs);
    st->text = st->text_next = (char *)(st->order + items);
    return st;
}

/* Header bytes are there: count, allocate, read the data, then believe nothing. */
IPR__TOOL ipr_st *ipr__st_build(ipr_reader *r, const char *head, size_t n, int flags)
{
    ipr__st_count k;
    ipr_st *st;
    int bad = ipr__st_measure(r->ctx, r->name, head, n, &k);
    if (bad) {
        r->status = bad;
        return NULL;
    }
    st = ipr__st_block(r->ctx, &k);
    if (!st) {
        r->status = ipr__fail(r->ctx, IPR_E_NOMEM, "ipr_st_open", "%s: no memory for its header", r->name);
        return NULL;
    }
    st->file = r->name;
    st->bytes = (size_t)ipr_reader_left(r);
    if (st->bytes != ipr_reader_left(r))
        bad = ipr__fail(r->ctx, IPR_E_NOMEM, "ipr_st_open", "%s: over what this machine can address", r->name);
    else if (!(st->data = ipr__reader_take(r, st->bytes, &st->owned))) bad = r->status;
    if (!bad) bad = ipr__st_entries(st, head, n);
    if (!bad) bad = ipr__st_tiling(st);
    if (!bad) bad = ipr__st_names(st);
    st->meta.pairs = st->pairs;
    if (!bad && !(flags & IPR_LOAD_NO_HASH)) bad = ipr__st_check_hash(st);
    st->file = "";
    if (!bad) {
        ipr__reader_hand_over(r, &st->owned);
        return st;
    }
    r->status = bad;
    ipr_st_close(st);
    return NULL;
}

IPR_API IPR__COLD ipr_st *ipr_st_open(ipr_reader *r, int flags)
{
    uint8_t len8[8];
    uint64_t len;
    const char *head;
    void *owned;
    ipr_st *st;
    if (!r || r->status) return NULL;
    if (ipr_reader_left(r) < 8 || ipr_reader_read(r, len8, 8)) {
        r->status =
            ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_st_open", "%s: %U bytes are no safetensors file", r->name, r->size);
        return NULL;
    }
    len = ipr__ld64le(len8);
    if (len > (uint64_t)IPR__ST_HEADER_MAX || len > ipr_reader_left(r)) {
        r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_st_open",
                              "%s: header of %U bytes, over 100000000 or behind the file's end at %U; truncated, or "
                              "no safetensors file",
                              r->name, len, r->size);
        return NULL;
    }
    head = (const char *)ipr__reader_take(r, (size_t)len, &owned);
    if (!head) return NULL;
    st = ipr__st_build(r, head, (size_t)len, flags);
    ipr__free(r->ctx, owned);
    return st;
}

IPR_API IPR__COLD ipr_st *ipr_st_open_file(ipr_ctx *c, const char *path, int flags)
{
    ipr_reader r;
    ipr_st *st;
    (void)ipr_reader_file(c, &r, path);
    st = ipr_st_open(&r, flags);
    ipr_reader_close(&r);
    return st;
}

IPR_API IPR__COLD void ipr_st_close(ipr_st *st)
{
    ipr_ctx *c;
    if (!st) return;
    c = st->c;
    /* perhaps a secret */
    if (st->owned) ipr_wipe((uint8_t *)st->owned + (st->data - (const uint8_t *)st->owned), st->bytes);
    ipr__free(c, st->owned);
    ipr_wipe(st, st->block);
    ipr__free(c, st);
}

IPR_API IPR__COLD int ipr_st_count(const ipr_st *st) { return st ? st->count : 0; }
IPR_API IPR__COLD const ipr_array *ipr_st_at(const ipr_st *st, int i)
{
    return st && i >= 0 && i < st->count ? &st->arrays[i] : NULL;
}
IPR_API IPR__COLD const ipr_meta *ipr_st_meta_all(const ipr_st *st) { return st ? &st->meta : NULL; }

IPR_API IPR__COLD const ipr_array *ipr_st_find(const ipr_st *st, const char *name)
{
    int lo = 0, hi = st && name ? st->count : 0;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, k = ipr__strcmp(st->arrays[mid].name, name);
        if (k == 0) return &st->arrays[mid];
        if (k < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

IPR_API IPR__COLD const char *ipr_st_meta(const ipr_st *st, const char *key)
{
    int i;
    for (i = 0; st && key && i < st->meta.count; i++)
        if (ipr__streq(st->pairs[i].key, key)) return st->pairs[i].value;
    return NULL;
}

/* ---- parameters ---- */

/* Arrays of all parameters; NULL on error. Free with ipr__free. */
IPR__TOOL ipr_array *ipr__params_arrays(const ipr_params *p, int *count)
{
    ipr_ctx *c = ipr_params_ctx(p);
    size_t bytes;
    ipr_array *v;
    int i, n = ipr_params_count(p);
    *count = n;
    if (!ipr__mul((size_t)n + 1, sizeof *v, &bytes) || !(v = (ipr_array *)ipr__alloc(c, bytes))) return NULL;
    for (i = 0; i < n; i++)
        if (ipr_array_of(c, ipr_params_at(p, i), ipr_params_name(p, i), &v[i])) {
            ipr__free(c, v);
            return NULL;
        }
    return v;
}

IPR_API IPR__COLD int ipr_params_write(const ipr_params *p, ipr_writer *w, const ipr_meta *meta)
{
    ipr_array *v;
    int n;
    if (!w) return IPR_E_ARG;
    if (w->status) return w->status;
    if (!p) return w->status = ipr__fail(w->ctx, IPR_E_ARG, "ipr_params_write", "the parameters are NULL");
    if (ipr_status(ipr_params_ctx(p))) return w->status = ipr_status(ipr_params_ctx(p));
    v = ipr__params_arrays(p, &n);
    if (!v) return w->status = ipr_status(ipr_params_ctx(p)) ? ipr_status(ipr_params_ctx(p)) : IPR_E_NOMEM;
    (void)ipr_st_write(w, v, n, meta);
    ipr__free(ipr_params_ctx(p), v);
    return w->status;
}

IPR_API IPR__COLD int ipr_params_save(const ipr_params *p, const char *path, const ipr_meta *meta)
{
    ipr_writer w;
    int status;
    if (!p) return IPR_E_ARG;
    (void)ipr_writer_file(ipr_params_ctx(p), &w, path, 0);
    (void)ipr_params_write(p, &w, meta);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return status;
}

IPR_API IPR__COLD int ipr_params_save_memory(const ipr_params *p, void *buf, size_t cap, size_t *needed,
                                             const ipr_meta *meta)
{
    ipr_writer w;
    int status;
    if (needed) *needed = 0;
    if (!p) return IPR_E_ARG;
    (void)ipr_writer_buffer(ipr_params_ctx(p), &w, buf, cap);
    status = ipr_params_write(p, &w, meta);
    if (needed) *needed = (size_t)ipr_writer_bytes(&w);
    if (buf || cap) status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return status;
}

IPR_API IPR__COLD int ipr_params_sha256(const ipr_params *p, uint8_t out[32])
{
    ipr_ctx *c = ipr_params_ctx(p);
    ipr_array *v;
    uint32_t *order;
    int n, status;
    ipr__zero(out, 32);
    if (!p) return IPR_E_ARG;
    if (ipr_status(c)) return ipr_status(c);
    v = ipr__params_arrays(p, &n);
    if (!v) return ipr_status(c) ? ipr_status(c) : IPR_E_NOMEM;
    order = (uint32_t *)ipr__alloc(c, ((size_t)n + 1) * sizeof *order);
    status = order ? ipr__st_plan(c, v, n, NULL, order, order + n) : IPR_E_NOMEM;
    if (!status) status = ipr__st_hash(c, v, n, order, out);
    ipr__free(c, order);
    ipr__free(c, v);
    return status;
}

IPR__TOOL const char *ipr__array_shape(const ipr_array *a, char out[96])
{
    ipr__text t;
    int i;
    t.buf = out;
    t.cap = 96;
    t.len = 0;
    for (i = 0; i < a->rank; i++) {
        if (i) ipr__text_c(&t, 'x');
        ipr__text_i(&t, (int64_t)a->dims[i]);
    }
    if (!a->rank) ipr__text_s(&t, "scalar");
    out[t.len] = 0;
    return out;
}

/* Up to three names and how many more there are. */
typedef struct ipr__names {
    ipr__text text;
    int count;
} ipr__names;

IPR__TOOL void ipr__names_add(ipr__names *v, const char *name)
{
    char show[72];
    if (v->count++ >= 3) return;
    if (v->count > 1) ipr__text_s(&v->text, ", ");
    ipr__text_s(&v->text, ipr__show(show, name));
}

IPR__TOOL const char *ipr__names_end(ipr__names *v)
{
    if (v->count > 3) {
        ipr__text_s(&v->text, " and ");
        ipr__text_i(&v->text, v->count - 3);
        ipr__text_s(&v->text, " more");
    }
    v->text.buf[v->text.len] = 0;
    return v->text.buf;
}

/* Names the model and the file do not share. */
IPR__TOOL int ipr__params_match_names(ipr_params *p, const ipr_st *st, int flags)
{
    char b1[180], b2[180];
    ipr__names missing, extra;
    int i, found;
    missing.text.buf = b1;
    missing.text.cap = sizeof b1;
    missing.text.len = 0;
    missing.count = 0;
    extra.text.buf = b2;
    extra.text.cap = sizeof b2;
    extra.text.len = 0;
    extra.count = 0;
    for (i = 0; i < p->count; i++)
        if (!ipr_st_find(st, ipr_params_name(p, i))) ipr__names_add(&missing, ipr_params_name(p, i));
    for (i = 0; i < st->count; i++)
        if (!ipr_params_find(p, st->arrays[i].name)) ipr__names_add(&extra, st->arrays[i].name);
    found = p->count - missing.count;
    if ((missing.count && !(flags & IPR_LOAD_MISSING)) || (extra.count && !(flags & IPR_LOAD_EXTRA)))
        return ipr__fail(p->c, IPR_E_MISSING, "ipr_params_load",
                         "%d of %d parameters are in the file; missing: %s; unexpected: %s", found, p->count,
                         missing.count ? ipr__names_end(&missing) : "none",
                         extra.count ? ipr__names_end(&extra) : "none");
    return IPR_OK;
}

/* One parameter against its array: floating point, same shape, and every value fits. */
IPR__TOOL int ipr__params_match(ipr_ctx *c, const ipr_tensor *t, const ipr_array *a)
{
    char show[72], s1[96], s2[96];
    int i, same = ipr_rank(t) == a->rank;
    for (i = 0; i < a->rank && same; i++) same = ipr_dim(t, i) == a->dims[i];
    if (!same)
        return ipr__fail(c, IPR_E_SHAPE, "ipr_params_load", "\"%s\" is %s in the file, %s in the model",
                         ipr__show(show, a->name), ipr__array_shape(a, s1), ipr__shape(t, s2));
    if (ipr__dtypes[a->dtype].kind != 'f')
        return ipr__fail(c, IPR_E_FORMAT, "ipr_params_load", "\"%s\" is %s in the file; parameters are floating point",
                         ipr__show(show, a->name), ipr_dtype_name(a->dtype));
    if (a->dtype == IPR_DT_F64 && !IPR_REAL_IS_DOUBLE) {
        size_t k, n = (size_t)ipr_count(t);
        for (k = 0; k < n; k++)
            if (!ipr__fits_float(ipr__array_double(a, k)))
                return ipr__fail(c, IPR_E_RANGE, "ipr_params_load", "\"%s\": element %U, %g, does not fit a float",
                                 ipr__show(show, a->name), (uint64_t)k, ipr__array_double(a, k));
    }
    return ipr_read(c, t) ? IPR_OK : ipr_status(c);
}

IPR_API IPR__COLD int ipr_params_from(ipr_params *p, const ipr_st *st, int flags)
{
    ipr_ctx *c = ipr_params_ctx(p);
    const ipr_array *a;
    int i;
    if (!p) return IPR_E_ARG;
    if (ipr_status(c)) return ipr_status(c);
    if (!st) return ipr__fail(c, IPR_E_ARG, "ipr_params_from", "the opened file is NULL");
    if (ipr__params_match_names(p, st, flags)) return ipr_status(c);
    for (i = 0; i < p->count; i++)
        if ((a = ipr_st_find(st, ipr_params_name(p, i))) != NULL && ipr__params_match(c, ipr_params_at(p, i), a))
            return ipr_status(c);
    for (i = 0; i < p->count; i++) /* nothing can fail from here on */
        if ((a = ipr_st_find(st, ipr_params_name(p, i))) != NULL)
            (void)ipr__array_floats(a, (size_t)ipr_array_count(a), IPR_DT_REAL, ipr_write(c, ipr_params_at(p, i), 0));
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_params_read(ipr_params *p, ipr_reader *r, int flags)
{
    ipr_st *st;
    int status;
    if (!p || !r) return IPR_E_ARG;
    if (ipr_status(ipr_params_ctx(p))) return ipr_status(ipr_params_ctx(p));
    st = ipr_st_open(r, flags);
    status = st ? ipr_params_from(p, st, flags) : r->status;
    ipr_st_close(st);
    return status;
}

IPR_API IPR__COLD int ipr_params_load(ipr_params *p, const char *path, int flags)
{
    ipr_reader r;
    int status;
    if (!p) return IPR_E_ARG;
    status = ipr_reader_file(ipr_params_ctx(p), &r, path);
    if (!status) status = ipr_params_read(p, &r, flags);
    ipr_reader_close(&r);
    return status;
}

IPR_API IPR__COLD int ipr_params_load_memory(ipr_params *p, const void *data, size_t bytes, int flags)
{
    ipr_reader r;
    int status;
    if (!p) return IPR_E_ARG;
    status = ipr_reader_memory(ipr_params_ctx(p), &r, data, bytes);
    if (!status) status = ipr_params_read(p, &r, flags);
    ipr_reader_close(&r);
    return status;
}
#endif /* IPR_FLOOR_MAX >= 7 */

#if IPR_FLOOR_MAX >= 8
/* ==== FLOOR 8: DATA ====================================================================== >>data
   Data sets and what makes them: IDX files, the built-in digits, views, stratified draws and batches; text from
   files, vocabularies and token sequences; images for keys and pictures. All arithmetic on pixels is in integers, so
   every machine sees the same bytes.
   Hands up: ipr_dataset_*, ipr_batch, ipr_buckets, ipr_texts_*, ipr_vocab_*, ipr_idx_read, ipr_data_find,
   ipr_image_*. */

/* ---- IDX ---- */

/* What a file that is no IDX looks like, so that the message can say what to do. */
IPR__TOOL const char *ipr__idx_looks_like(const uint8_t *p, size_t n)
{
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b) return "this is gzip: run make data, or gunzip it first";
    if (n >= 2 && p[0] == 'P' && p[1] == 'K') return "this is a zip archive: run make data, or unzip it first";
    if (n >= 1 && (p[0] == '<' || p[0] == '{'))
        return "this is a web page, not data: the download failed; run make data";
    return "no IDX file: it must start with 0 0 type rank";
}

IPR__TOOL int ipr__idx_dtype(uint8_t type)
{
    switch (type) {
    case 0x08: return IPR_DT_U8;
    case 0x09: return IPR_DT_I8;
    case 0x0b: return IPR_DT_I16;
    case 0x0c: return IPR_DT_I32;
    case 0x0d: return IPR_DT_F32;
    case 0x0e: return IPR_DT_F64;
    default: return IPR_DT_NONE;
    }
}

IPR_API IPR__COLD int ipr_idx_read(ipr_reader *r, ipr_array *out)
{
    uint8_t head[4] = {0, 0, 0, 0}, dim[4];
    size_t n, bytes, have;
    int i;
    if (!out) return r ? ipr__fail(r->ctx, IPR_E_ARG, "ipr_idx_read", "out is NULL") : IPR_E_ARG;
    ipr__zero(out, sizeof *out);
    if (!r) return IPR_E_ARG;
    if (r->status) return r->status;
    have = ipr_reader_left(r) < 4 ? (size_t)ipr_reader_left(r) : 4;
    if (ipr_reader_read(r, head, have)) return r->status;
    if (have < 4 || head[0] || head[1] || !ipr__idx_dtype(head[2]) || head[3] > IPR_ARRAY_RANK)
        return r->status =
                   ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_idx_read", "%s: %s", r->name, ipr__idx_looks_like(head, have));
    out->dtype = ipr__idx_dtype(head[2]);
    out->order = IPR_ORDER_BIG;
    out->rank = head[3];
    for (i = 0; i < out->rank; i++) {
        uint32_t d;
        if (ipr_reader_read(r, dim, 4)) return r->status;
        d = ipr__ld32be(dim);
        out->dims[i] = d > (uint32_t)INT32_MAX ? -1 : (ipr_index)d; /* -1 is refused below */
    }
    if (!ipr__shape_bytes(out->rank, out->dims, ipr_dtype_bytes(out->dtype), &n, &bytes) ||
        bytes != ipr_reader_left(r)) {
        char shape[96];
        return r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_idx_read",
                                     "%s: its header says %s %s, but %U bytes follow; truncated, or not whole", r->name,
                                     ipr__array_shape(out, shape), ipr_dtype_name(out->dtype), ipr_reader_left(r));
    }
    out->data = ipr__reader_take(r, bytes, &out->owned);
    out->bytes = bytes;
    if (out->data) ipr__reader_hand_over(r, &out->owned);
    return r->status;
}

/* ---- data sets ---- */

/* The object with its names behind it, shape checked, without items. */
IPR__TOOL ipr_dataset *ipr__dataset_make(ipr_ctx *c, const char *fn, const char *name, const char *source,
                                         ipr_index count, int rank, const ipr_index *dims)
{
    size_t item, bytes, nn = name ? ipr__strlen(name) + 1 : 1, ns = source ? ipr__strlen(source) + 1 : 1;
    ipr_dataset *d;
    char *text;
    int i;
    if (ipr_status(c)) return NULL;
    if (count < 0 || count > (ipr_index)INT32_MAX || rank < 1 || rank > IPR_MAX_RANK - 1 || !dims ||
        !ipr__shape_bytes(rank, dims, 1, &item, &bytes) || item == 0 ||
        (size_t)count > (size_t)PTRDIFF_MAX / sizeof(ipr_real) / item) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn,
                        "%I items of %d dimensions: items have 1 to %d, none 0, and all must fit "
                        "in memory",
                        count, rank, IPR_MAX_RANK - 1);
        return NULL;
    }
    d = (ipr_dataset *)ipr__alloc(c, sizeof *d + nn + ns);
    if (!d) return NULL;
    ipr__zero(d, sizeof *d);
    text = (char *)(d + 1);
    ipr__copy(text, name ? name : "", nn);
    ipr__copy(text + nn, source ? source : "", ns);
    d->ctx = c;
    d->count = count;
    d->rank = rank;
    for (i = 0; i < rank; i++) d->dims[i] = dims[i];
    d->item = (ipr_index)item;
    d->pad = -1;
    d->name = text;
    d->source = text + nn;
    d->refs = 1;
    return d;
}

/* Labels are all 0 .. classes - 1. */
IPR__TOOL int ipr__dataset_labels(ipr_dataset *d, const char *fn, const int32_t *labels, int classes)
{
    ipr_index i;
    int32_t most = -1;
    d->labels = labels;
    for (i = 0; i < d->count; i++) {
        if (labels[i] < 0 || (classes > 0 && labels[i] >= classes) || labels[i] == INT32_MAX)
            return ipr__fail(d->ctx, IPR_E_RANGE, fn, "label %d of item %I is not in 0..classes - 1", (int)labels[i],
                             i);
        if (labels[i] > most) most = labels[i];
    }
    d->classes = classes > 0 ? classes : (int)most + 1;
    return IPR_OK;
}

/* n bytes, copied to a block of the data set. */
IPR__TOOL const void *ipr__dataset_copy(ipr_dataset *d, const void *src, size_t n, void **own)
{
    *own = ipr__alloc(d->ctx, n + 1);
    if (*own) ipr__copy(*own, src, n);
    return *own;
}

IPR__TOOL ipr_dataset *ipr__dataset_fill(ipr_dataset *d, const char *fn, const void *items, size_t size,
                                         const int32_t *labels, int classes, int flags)
{
    const void *at = items;
    int bad = 0;
    if (!d) return NULL;
    if (!items && d->count) bad = ipr__fail(d->ctx, IPR_E_ARG, fn, "items is NULL");
    else if (!(flags & IPR_DATA_BORROW)) {
        at = ipr__dataset_copy(d, items, (size_t)d->count * (size_t)d->item * size, &d->own_items);
        bad = !at;
    }
    if (size == 1) d->u8 = (const uint8_t *)at;
    else d->real = (const ipr_real *)at;
    if (!bad && labels) bad = !ipr__dataset_copy(d, labels, (size_t)d->count * sizeof *labels, &d->own_labels);
    if (!bad && labels) bad = ipr__dataset_labels(d, fn, (const int32_t *)d->own_labels, classes);
    if (!bad) return d;
    ipr_dataset_free(d);
    return NULL;
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_u8(ipr_ctx *c, const char *name, const char *source, ipr_index count,
                                              int rank, const ipr_index *dims, const uint8_t *items,
                                              const int32_t *labels, int classes, int flags)
{
    ipr_dataset *d = ipr__dataset_make(c, "ipr_dataset_u8", name, source, count, rank, dims);
    return ipr__dataset_fill(d, "ipr_dataset_u8", items, 1, labels, classes, flags);
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_real(ipr_ctx *c, const char *name, const char *source, ipr_index count,
                                                int rank, const ipr_index *dims, const ipr_real *items,
                                                const int32_t *labels, int classes, int flags)
{
    ipr_dataset *d = ipr__dataset_make(c, "ipr_dataset_real", name, source, count, rank, dims);
    return ipr__dataset_fill(d, "ipr_dataset_real", items, sizeof(ipr_real), labels, classes, flags);
}

/* An empty data set of tokens with room for them; the caller fills offsets and tokens, then calls ipr__tokens_done. */
IPR__TOOL ipr_dataset *ipr__tokens_make(ipr_ctx *c, const char *fn, const char *name, const char *source,
                                        ipr_index count, size_t tokens, int labelled, int32_t pad)
{
    const ipr_index one = 1;
    size_t bytes, n = (size_t)count + 1; /* a negative count is refused by ipr__dataset_make */
    ipr_dataset *d = ipr__dataset_make(c, fn, name, source, count, 1, &one);
    if (!d) return NULL;
    d->pad = pad;
    if (pad < 0) (void)ipr__fail(c, IPR_E_RANGE, fn, "pad is %d; a token id, 0 or more", (int)pad);
    else if (!ipr__mul(n, sizeof(ipr_index), &bytes) || tokens > (size_t)PTRDIFF_MAX / 8 ||
             !ipr__add(bytes, tokens * sizeof(int32_t), &bytes))
        (void)ipr__fail(c, IPR_E_RANGE, fn, "%U tokens do not fit in memory", (uint64_t)tokens);
    else {
        d->own_items = ipr__alloc(c, bytes);
        if (labelled && d->own_items) d->own_labels = ipr__alloc(c, n * sizeof(int32_t));
    }
    if (ipr_status(c)) {
        ipr_dataset_free(d);
        return NULL;
    }
    d->offset = (const ipr_index *)d->own_items;
    d->tokens = (const int32_t *)(const void *)(d->offset + n);
    ((ipr_index *)d->own_items)[0] = 0;
    return d;
}

/* Offsets, ids and labels are in place: check them. NULL, and the data set freed, on error. */
IPR__TOOL ipr_dataset *ipr__tokens_done(ipr_dataset *d, const char *fn, int classes)
{
    ipr_index i, k;
    if (!d) return NULL;
    for (i = 0; i < d->count; i++) {
        const ipr_index n = d->offset[i + 1] - d->offset[i];
        if (n > d->item) d->item = d->dims[0] = n;
        for (k = d->offset[i]; k < d->offset[i + 1]; k++)
            if (d->tokens[k] < 0)
                (void)ipr__fail(d->ctx, IPR_E_RANGE, fn, "token %d of item %I is no id", (int)d->tokens[k], i);
    }
    if (d->own_labels) (void)ipr__dataset_labels(d, fn, (const int32_t *)d->own_labels, classes);
    if (!ipr_status(d->ctx)) return d;
    ipr_dataset_free(d);
    return NULL;
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_tokens(ipr_ctx *c, const char *name, const char *source, ipr_index count,
                                                  const ipr_index *offsets, const int32_t *tokens,
                                                  const int32_t *labels, int classes, int32_t pad)
{
    const char *fn = "ipr_dataset_tokens";
    ipr_dataset *d;
    ipr_index i;
    if (!c || ipr_status(c)) return NULL;
    if (!offsets || offsets[0] != 0) (void)ipr__fail(c, IPR_E_ARG, fn, "offsets is NULL or does not begin at 0");
    for (i = 0; !c->err && i < count; i++)
        if (offsets[i + 1] < offsets[i])
            (void)ipr__fail(c, IPR_E_RANGE, fn, "offset %I is %I, below the one before it", i + 1, offsets[i + 1]);
    if (!c->err && count > 0 && offsets[count] && !tokens) (void)ipr__fail(c, IPR_E_ARG, fn, "tokens is NULL");
    if (c->err) return NULL;
    d = ipr__tokens_make(c, fn, name, source, count, count > 0 ? (size_t)offsets[count] : 0, labels != NULL, pad);
    if (!d) return NULL;
    ipr__copy(d->own_items, offsets, ((size_t)count + 1) * sizeof *offsets);
    ipr__copy((ipr_index *)d->own_items + count + 1, tokens, (size_t)offsets[count] * sizeof *tokens);
    if (labels) ipr__copy(d->own_labels, labels, (size_t)count * sizeof *labels);
    return ipr__tokens_done(d, fn, classes);
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_join(ipr_ctx *c, const ipr_dataset *const *sets, int n)
{
    const char *fn = "ipr_dataset_join";
    ipr_index count = 0, i, len, at = 0, *offset;
    int labelled = 1, classes = 0, k;
    size_t tokens = 0;
    const int32_t *ids;
    ipr_dataset *d;
    if (!c || ipr_status(c)) return NULL;
    if (!sets || n < 1) (void)ipr__fail(c, IPR_E_ARG, fn, "no data sets");
    for (k = 0; !c->err && k < n; k++) {
        if (!sets[k] || !sets[k]->tokens || sets[k]->pad != sets[0]->pad) {
            (void)ipr__fail(c, IPR_E_ARG, fn, "set %d is NULL, not of tokens, or has another pad than the first", k);
            break;
        }
        labelled &= sets[k]->labels != NULL;
        classes = IPR__MAX(classes, sets[k]->classes);
        for (i = 0; i < sets[k]->count; i++) tokens += (size_t)ipr_dataset_length(sets[k], i);
        if (sets[k]->count > (ipr_index)INT32_MAX - count) (void)ipr__fail(c, IPR_E_RANGE, fn, "too many items");
        count += sets[k]->count;
    }
    if (c->err) return NULL;
    d = ipr__tokens_make(c, fn, sets[0]->name, sets[0]->source, count, tokens, labelled, sets[0]->pad);
    if (!d) return NULL;
    offset = (ipr_index *)d->own_items;
    for (k = 0; k < n; k++)
        for (i = 0; i < sets[k]->count; i++, at++) {
            ids = ipr_dataset_item_tokens(sets[k], i, &len);
            ipr__copy((int32_t *)(void *)(offset + count + 1) + offset[at], ids, (size_t)len * sizeof *ids);
            offset[at + 1] = offset[at] + len;
            if (labelled) ((int32_t *)d->own_labels)[at] = ipr_dataset_label(sets[k], i);
        }
    return ipr__tokens_done(d, fn, classes);
}

IPR_API IPR__COLD void ipr_dataset_free(ipr_dataset *ds)
{
    while (ds && --ds->refs == 0) { /* a view, then the base it kept alive */
        ipr_dataset *base = ds->base;
        ipr__free(ds->ctx, ds->own_items);
        ipr__free(ds->ctx, ds->own_labels);
        ipr__free(ds->ctx, ds);
        ds = base;
    }
}

/* The item's place in the base, -1 if there is none. */
IPR__FN ipr_index ipr__dataset_at(const ipr_dataset *ds, ipr_index i)
{
    if (!ds || i < 0 || i >= ds->count) return -1;
    return ds->index ? (ipr_index)ds->index[i] : i;
}

IPR_API int32_t ipr_dataset_label(const ipr_dataset *ds, ipr_index i)
{
    ipr_index k = ipr__dataset_at(ds, i);
    return k < 0 || !ds->labels ? -1 : ds->labels[k];
}

IPR_API const uint8_t *ipr_dataset_item_u8(const ipr_dataset *ds, ipr_index i)
{
    ipr_index k = ipr__dataset_at(ds, i);
    return k < 0 || !ds->u8 ? NULL : ds->u8 + k * ds->item;
}

IPR_API const ipr_real *ipr_dataset_item_real(const ipr_dataset *ds, ipr_index i)
{
    ipr_index k = ipr__dataset_at(ds, i);
    return k < 0 || !ds->real ? NULL : ds->real + k * ds->item;
}

IPR_API const int32_t *ipr_dataset_item_tokens(const ipr_dataset *ds, ipr_index i, ipr_index *n)
{
    ipr_index k = ipr__dataset_at(ds, i);
    if (n) *n = 0;
    if (k < 0 || !ds->tokens) return NULL;
    if (n) *n = ds->offset[k + 1] - ds->offset[k];
    return ds->tokens + ds->offset[k];
}

IPR_API ipr_index ipr_dataset_length(const ipr_dataset *ds, ipr_index i)
{
    ipr_index k = ipr__dataset_at(ds, i);
    return k < 0 ? -1 : ds->tokens ? ds->offset[k + 1] - ds->offset[k] : ds->dims[0];
}

/* Data set of two arrays, which it takes over (also when it fails). */
IPR__TOOL ipr_dataset *ipr__dataset_arrays(ipr_ctx *c, const char *name, const char *source, ipr_array *x, ipr_array *y)
{
    const char *fn = "ipr_dataset_idx";
    ipr_dataset *d = NULL;
    int bad = ipr_status(c);
    if (!bad && (x->dtype != IPR_DT_U8 || x->rank < 2))
        bad = ipr__fail(c, IPR_E_FORMAT, fn, "%s: images are bytes of rank 2 or more; this is %s of rank %d", source,
                        ipr_dtype_name(x->dtype), x->rank);
    if (!bad && y && (y->rank != 1 || y->dims[0] != x->dims[0]))
        bad = ipr__fail(c, IPR_E_FORMAT, fn,
                        "%s: %I images, and labels of rank %d, %I of them; do the two files "
                        "belong together?",
                        source, x->dims[0], y->rank, y->rank ? y->dims[0] : 0);
    if (!bad) d = ipr__dataset_make(c, fn, name ? name : "idx", source, x->dims[0], x->rank - 1, x->dims + 1);
    if (d) {
        d->u8 = (const uint8_t *)x->data;
        d->own_items = x->owned;
        x->owned = NULL;
        if (y) {
            d->own_labels = ipr__alloc(c, ((size_t)d->count + 1) * sizeof(int32_t));
            bad = !d->own_labels || ipr_array_get(c, y, IPR_DT_I32, d->own_labels) ||
                  ipr__dataset_labels(d, fn, (const int32_t *)d->own_labels, 0);
        }
    }
    ipr_array_free(c, x);
    if (y) ipr_array_free(c, y);
    if (!bad) return d;
    ipr_dataset_free(d);
    return NULL;
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_idx(ipr_ctx *c, const char *name, const char *images_path,
                                               const char *labels_path)
{
    ipr_reader r;
    ipr_array x = IPR_ZERO, y = IPR_ZERO;
    (void)ipr_reader_file(c, &r, images_path);
    (void)ipr_idx_read(&r, &x);
    ipr_reader_close(&r);
    if (labels_path && !ipr_status(c)) {
        (void)ipr_reader_file(c, &r, labels_path);
        (void)ipr_idx_read(&r, &y);
        ipr_reader_close(&r);
    }
    return ipr__dataset_arrays(c, name, images_path, &x, labels_path ? &y : NULL);
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_idx_memory(ipr_ctx *c, const char *name, const void *images,
                                                      size_t image_bytes, const void *labels, size_t label_bytes)
{
    ipr_reader r;
    ipr_array x = IPR_ZERO, y = IPR_ZERO;
    (void)ipr_reader_memory(c, &r, images, image_bytes);
    (void)ipr_idx_read(&r, &x);
    ipr_reader_close(&r);
    if (labels && !ipr_status(c)) {
        (void)ipr_reader_memory(c, &r, labels, label_bytes);
        (void)ipr_idx_read(&r, &y);
        ipr_reader_close(&r);
    }
    return ipr__dataset_arrays(c, name, "memory", &x, labels ? &y : NULL);
}

/* ---- views and stratified draws ---- */

/* A view without its index filled in yet. */
IPR__TOOL ipr_dataset *ipr__dataset_window(ipr_dataset *ds, ipr_index n)
{
    ipr_dataset *root = ds->base ? ds->base : ds, *v;
    v = ipr__dataset_make(ds->ctx, "ipr_dataset_view", ds->name, ds->source, n, ds->rank, ds->dims);
    if (!v) return NULL;
    v->own_items = ipr__alloc(ds->ctx, ((size_t)n + 1) * sizeof(uint32_t));
    if (!v->own_items) {
        ipr_dataset_free(v);
        return NULL;
    }
    v->index = (const uint32_t *)v->own_items;
    v->u8 = ds->u8;
    v->real = ds->real;
    v->tokens = ds->tokens;
    v->offset = ds->offset;
    v->pad = ds->pad;
    v->labels = ds->labels;
    v->classes = ds->classes;
    v->base = root;
    root->refs++;
    return v;
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_view(ipr_dataset *ds, const uint32_t *idx, ipr_index n)
{
    ipr_dataset *v;
    ipr_index i;
    if (!ds || ipr_status(ds->ctx)) return NULL;
    if (n < 0 || (!idx && n > ds->count)) {
        (void)ipr__fail(ds->ctx, IPR_E_RANGE, "ipr_dataset_view", "%I items of a data set of %I", n, ds->count);
        return NULL;
    }
    v = ipr__dataset_window(ds, n);
    for (i = 0; v && i < n; i++) {
        ipr_index k = ipr__dataset_at(ds, idx ? (ipr_index)idx[i] : i);
        if (k >= 0) {
            ((uint32_t *)v->own_items)[i] = (uint32_t)k;
            continue;
        }
        (void)ipr__fail(ds->ctx, IPR_E_RANGE, "ipr_dataset_view", "item %U of a data set of %I", (uint64_t)idx[i],
                        ds->count);
        ipr_dataset_free(v);
        v = NULL;
    }
    return v;
}

/* Which items are drawn: quota[k] of class k. mark[i] = 1 for those. order, mark: count each; left: classes. */
IPR__TOOL ipr_index ipr__draw(const ipr_dataset *ds, uint64_t seed, uint32_t *order, uint8_t *mark, ipr_index *left)
{
    ipr_rng r = ipr_rng_make(seed, IPR__STREAM_DATA, 1);
    ipr_index i, n = 0;
    for (i = 0; i < ds->count; i++) {
        order[i] = (uint32_t)i;
        mark[i] = 0;
    }
    ipr_rng_shuffle(&r, order, ds->count);
    for (i = 0; i < ds->count; i++) {
        int32_t k = ds->labels ? ipr_dataset_label(ds, (ipr_index)order[i]) : 0;
        if (left[k] > 0) {
            left[k]--;
            mark[order[i]] = 1;
            n++;
        }
    }
    return n;
}

/* The view of all items whose mark is `want`. */
IPR__TOOL ipr_dataset *ipr__marked(ipr_dataset *ds, const uint8_t *mark, int want, ipr_index n)
{
    ipr_dataset *v = ipr__dataset_window(ds, n);
    ipr_index i, k = 0;
    for (i = 0; v && i < ds->count; i++)
        if (mark[i] == want) ((uint32_t *)v->own_items)[k++] = (uint32_t)ipr__dataset_at(ds, i);
    return v;
}

/* quota[k]: items in class k on entry, items to draw on the way out. Too few of a class is an error. */
IPR__TOOL int ipr__quotas(const ipr_dataset *ds, const char *fn, ipr_index per_class, double share, ipr_index *quota,
                          int classes)
{
    int k;
    for (k = 0; k < classes; k++) {
        if (per_class < 0) quota[k] = (ipr_index)((double)quota[k] * share + 0.5);
        else if (quota[k] < per_class)
            return ipr__fail(ds->ctx, IPR_E_RANGE, fn, "%I items of class %d are wanted, the data set has %I",
                             per_class, k, quota[k]);
        else quota[k] = per_class;
    }
    return IPR_OK;
}

IPR__TOOL ipr_dataset *ipr__stratify(ipr_dataset *ds, const char *fn, ipr_index per_class, double share, uint64_t seed,
                                     ipr_dataset **rest)
{
    ipr_ctx *c = ds->ctx;
    int classes = ds->labels ? ds->classes : 1;
    size_t count = (size_t)ds->count, bytes;
    ipr_index *quota, i, n;
    ipr_dataset *taken = NULL, *others = NULL;
    if (!ipr__mul((size_t)classes + 1, sizeof *quota, &bytes) || !ipr__add(bytes, count * 5 + 1, &bytes)) return NULL;
    quota = (ipr_index *)ipr__alloc(c, bytes);
    if (!quota) return NULL;
    ipr__zero(quota, bytes);
    for (i = 0; i < ds->count; i++) quota[ds->labels ? ipr_dataset_label(ds, i) : 0]++;
    if (!ipr__quotas(ds, fn, per_class, share, quota, classes)) {
        uint32_t *order = (uint32_t *)(void *)(quota + classes + 1);
        uint8_t *mark = (uint8_t *)(order + count);
        n = ipr__draw(ds, seed, order, mark, quota);
        taken = ipr__marked(ds, mark, 1, n);
        if (taken && rest) others = ipr__marked(ds, mark, 0, ds->count - n);
    }
    ipr__free(c, quota);
    if (taken && rest && !others) {
        ipr_dataset_free(taken);
        return NULL;
    }
    if (rest) *rest = others;
    return taken;
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_take(ipr_dataset *ds, ipr_index per_class, uint64_t seed, ipr_dataset **rest)
{
    if (rest) *rest = NULL;
    if (!ds || ipr_status(ds->ctx)) return NULL;
    if (per_class < 0) {
        (void)ipr__fail(ds->ctx, IPR_E_ARG, "ipr_dataset_take", "%I items a class", per_class);
        return NULL;
    }
    return ipr__stratify(ds, "ipr_dataset_take", per_class, 0, seed, rest);
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_split(ipr_dataset *ds, double share, uint64_t seed, ipr_dataset **rest)
{
    if (rest) *rest = NULL;
    if (!ds || ipr_status(ds->ctx)) return NULL;
    if (!(share >= 0 && share <= 1)) {
        (void)ipr__fail(ds->ctx, IPR_E_ARG, "ipr_dataset_split", "a share of %g; it is 0 to 1", share);
        return NULL;
    }
    return ipr__stratify(ds, "ipr_dataset_split", -1, share, seed, rest);
}

/* ---- batches ---- */

/* v / 255, each value divided once. */
IPR__FN void ipr__byte_table(ipr_real table[256])
{
    int i;
    for (i = 0; i < 256; i++) table[i] = IPR__R(i) / IPR__R(255);
}

/* Row t of item k goes to dst + t * step: step = row for batch-major, B * row for time-major. */
IPR__FN void ipr__gather(const ipr_dataset *ds, ipr_index k, ipr_index row, ipr_index step, const ipr_real *table,
                         ipr_real *dst)
{
    ipr_index t, i;
    for (t = 0; t < ds->item; t += row, dst += step) {
        if (ds->u8) {
            const uint8_t *src = ds->u8 + k * ds->item + t;
            for (i = 0; i < row; i++) dst[i] = table[src[i]];
        } else ipr__copy(dst, ds->real + k * ds->item + t, (size_t)row * sizeof *dst);
    }
}

/* Tokens: x [T,B] or [B,T] to the batch's longest. */
IPR__FN void ipr__batch_tokens(ipr_ctx *c, const ipr_dataset *ds, const uint32_t *idx, ipr_index n, int layout,
                               ipr_tensor **x)
{
    ipr_index i, t, len, dims[2], step = layout == IPR_TIME_MAJOR ? n : 1, steps = 1;
    const int32_t *ids;
    int32_t *dst;
    for (i = 0; i < n; i++) steps = IPR__MAX(steps, ipr_dataset_length(ds, idx ? (ipr_index)idx[i] : i));
    dims[layout != IPR_TIME_MAJOR] = steps;
    dims[layout == IPR_TIME_MAJOR] = n;
    *x = ipr_new_i32(c, 2, dims);
    dst = ipr_write_i32(c, *x, 0);
    for (i = 0; dst && i < n; i++, dst += layout == IPR_TIME_MAJOR ? 1 : steps) {
        ids = ipr_dataset_item_tokens(ds, idx ? (ipr_index)idx[i] : i, &len);
        for (t = 0; t < steps; t++) dst[t * step] = t < len ? ids[t] : ds->pad;
    }
}

/* Empty tensors for x and y; the shape rule of the two layouts. */
IPR__FN int ipr__batch_make(ipr_ctx *c, const ipr_dataset *ds, ipr_index n, int layout, ipr_tensor **x, ipr_tensor **y)
{
    ipr_index dims[IPR_MAX_RANK];
    int i;
    for (i = 0; i < ds->rank; i++) dims[i + 1] = ds->dims[i];
    dims[0] = n;
    if (layout == IPR_TIME_MAJOR) {
        dims[0] = ds->dims[0];
        dims[1] = n;
        dims[2] = ds->item / ds->dims[0];
    }
    *x = ipr_new(c, layout == IPR_TIME_MAJOR ? 3 : ds->rank + 1, dims);
    if (y) *y = ipr_new_i32(c, 1, &n);
    return ipr_status(c);
}

IPR_API int ipr_batch(ipr_ctx *c, const ipr_dataset *ds, const uint32_t *idx, ipr_index n, int layout, ipr_tensor **x,
                      ipr_tensor **y)
{
    ipr_real table[256], *dst;
    int32_t *labels = NULL;
    ipr_index i, row, step, each;
    if (x) *x = ipr__poison(c);
    if (y) *y = ipr__poison(c);
    if (ipr_status(c)) return ipr_status(c);
    if (!ds || !x || n < 1 || (layout != IPR_BATCH_MAJOR && layout != IPR_TIME_MAJOR))
        return ipr__fail(c, IPR_E_ARG, "ipr_batch",
                         "ds or x is NULL, the batch is empty, or layout %d is not one "
                         "there is",
                         layout);
    if (y && !ds->labels) return ipr__fail(c, IPR_E_MISSING, "ipr_batch", "%s has no labels; give y = NULL", ds->name);
    for (i = 0; i < n; i++)
        if (ipr__dataset_at(ds, idx ? (ipr_index)idx[i] : i) < 0)
            return ipr__fail(c, IPR_E_RANGE, "ipr_batch", "item %I of a data set of %I", idx ? (ipr_index)idx[i] : i,
                             ds->count);
    if (ds->tokens) {
        if (y) *y = ipr_new_i32(c, 1, &n);
        ipr__batch_tokens(c, ds, idx, n, layout, x);
        if (y) labels = ipr_write_i32(c, *y, 0);
        for (i = 0; labels && i < n; i++) labels[i] = ipr_dataset_label(ds, idx ? (ipr_index)idx[i] : i);
        return ipr_status(c);
    }
    if (ipr__batch_make(c, ds, n, layout, x, y)) return ipr_status(c);
    dst = ipr_write(c, *x, 0);
    if (y) labels = ipr_write_i32(c, *y, 0);
    if (ipr_status(c)) return ipr_status(c);
    row = layout == IPR_TIME_MAJOR ? ds->item / ds->dims[0] : ds->item;
    step = layout == IPR_TIME_MAJOR ? n * row : row;
    each = layout == IPR_TIME_MAJOR ? row : ds->item;
    ipr__byte_table(table);
    for (i = 0; i < n; i++) {
        ipr_index k = ipr__dataset_at(ds, idx ? (ipr_index)idx[i] : i);
        ipr__gather(ds, k, row, step, table, dst + i * each);
        if (labels) labels[i] = ds->labels[k];
    }
    return IPR_OK;
}

/* Items in place, shuffled by the epoch, then sorted by length within pools; ties stay as the heap leaves them. */
IPR__TOOL int ipr__shorter(const void *arg, uint32_t a, uint32_t b)
{
    const ipr_dataset *ds = (const ipr_dataset *)arg;
    return ipr_dataset_length(ds, (ipr_index)a) < ipr_dataset_length(ds, (ipr_index)b);
}

IPR__TOOL void ipr__bucket(const ipr_dataset *ds, uint32_t *order, ipr_index n, ipr_index batch, ipr_index pool,
                           ipr_rng *r)
{
    ipr_index i, j, k, whole = n / batch;
    uint32_t t;
    ipr_rng_shuffle(r, order, n);
    pool = IPR__MIN(pool > 0 ? pool : 50, whole + 1) * batch;
    for (i = 0; i < n; i += pool) ipr__sort(order + i, (size_t)IPR__MIN(pool, n - i), ipr__shorter, ds);
    for (i = whole - 1; i > 0; i--) { /* Fisher-Yates over whole batches */
        j = (ipr_index)ipr__rng_below64(r, (uint64_t)i + 1u);
        for (k = 0; k < batch; k++) {
            t = order[i * batch + k];
            order[i * batch + k] = order[j * batch + k];
            order[j * batch + k] = t;
        }
    }
}

IPR_API IPR__COLD int ipr_buckets(const ipr_dataset *ds, const uint32_t *items, ipr_index n, ipr_index batch,
                                  ipr_index pool, uint64_t seed, uint32_t epoch, uint32_t *order)
{
    ipr_rng r = ipr_rng_make(seed, (uint32_t)IPR__STREAM_SHUFFLE, epoch);
    ipr_index i;
    if (!ds || !order || n < 0 || batch < 1)
        return ipr__fail(ds ? ds->ctx : NULL, IPR_E_ARG, "ipr_buckets",
                         "ds or order is NULL, or %I items in batches of %I", n, batch);
    if (ipr_status(ds->ctx)) return ipr_status(ds->ctx);
    for (i = 0; i < n; i++) {
        order[i] = items ? items[i] : (uint32_t)i;
        if (ipr__dataset_at(ds, (ipr_index)order[i]) < 0)
            return ipr__fail(ds->ctx, IPR_E_RANGE, "ipr_buckets", "item %U of a data set of %I", (uint64_t)order[i],
                             ds->count);
    }
    ipr__bucket(ds, order, n, batch, pool, &r);
    return IPR_OK;
}

/* ---- text: growing buffers and sets of words ---- */

typedef struct ipr__buf {
    void *p;
    size_t used, cap;
} ipr__buf;

/* Room for n more bytes behind what is used; NULL on error. */
IPR__TOOL void *ipr__buf_room(ipr_ctx *c, ipr__buf *b, size_t n)
{
    size_t need, cap;
    void *p;
    if (!ipr__add(b->used, n, &need) || need > (size_t)PTRDIFF_MAX / 2) {
        (void)ipr__fail(c, IPR_E_RANGE, "ipr_texts", "the text does not fit in memory");
        return NULL;
    }
    if (need > b->cap || !b->p) {
        cap = IPR__MAX(need, IPR__MAX(b->cap * 2, (size_t)192));
        p = ipr__alloc(c, cap);
        if (!p) return NULL;
        ipr__copy(p, b->p, b->used);
        ipr__free(c, b->p);
        b->p = p;
        b->cap = cap;
    }
    return (char *)b->p + b->used;
}

IPR__TOOL int ipr__buf_add(ipr_ctx *c, ipr__buf *b, const void *src, size_t n)
{
    void *p = ipr__buf_room(c, b, n);
    if (!p) return 0;
    ipr__copy(p, src, n);
    b->used += n;
    return 1;
}

/* A set of words, numbered in the order they came: open addressing, FNV-1a. */
typedef struct ipr__word {
    size_t at, len;
    uint64_t count;
    uint32_t hash;
} ipr__word;
typedef struct ipr__words {
    ipr__buf bytes, entries, table; /* each word ends with 0; ipr__word; uint32_t: entry + 1, 0 free */
    size_t n;
} ipr__words;

IPR__FN ipr__word *ipr__word_at(const ipr__words *w, size_t i) { return (ipr__word *)w->entries.p + i; }
IPR__FN const char *ipr__word_text(const ipr__words *w, size_t i)
{
    return (const char *)w->bytes.p + ipr__word_at(w, i)->at;
}

IPR__TOOL void ipr__words_free(ipr_ctx *c, ipr__words *w)
{
    ipr__free(c, w->bytes.p);
    ipr__free(c, w->entries.p);
    ipr__free(c, w->table.p);
    ipr__zero(w, sizeof *w);
}

/* A table for twice as many words. */
IPR__TOOL int ipr__words_rehash(ipr_ctx *c, ipr__words *w)
{
    size_t slots = w->table.used ? w->table.used / 4 * 2 : 64, i, k;
    uint32_t *t = (uint32_t *)ipr__alloc(c, slots * 4);
    if (!t) return 0;
    ipr__zero(t, slots * 4);
    for (i = 0; i < w->n; i++) {
        for (k = ipr__word_at(w, i)->hash & (slots - 1); t[k]; k = (k + 1) & (slots - 1)) {
        }
        t[k] = (uint32_t)i + 1;
    }
    ipr__free(c, w->table.p);
    w->table.p = t;
    w->table.used = slots * 4;
    return 1;
}

/* The number of a word; a new one is added if `add`. -1: not there, or an error. */
IPR__FN ipr_index ipr__words_find(ipr_ctx *c, ipr__words *w, const char *s, size_t n, int add)
{
    uint32_t h = 2166136261u, *t = (uint32_t *)w->table.p;
    size_t i, mask = w->table.used / 4 - 1;
    ipr__word *e;
    for (i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 16777619u;
    h ^= h >> 15;
    for (i = h & mask; w->n && t[i]; i = (i + 1) & mask) {
        e = ipr__word_at(w, t[i] - 1);
        if (e->hash == h && e->len == n && !ipr__memcmp((const char *)w->bytes.p + e->at, s, n))
            return (ipr_index)t[i] - 1;
    }
    if (!add) return -1;
    if (w->n >= (size_t)INT32_MAX - 1) {
        (void)ipr__fail(c, IPR_E_RANGE, "ipr_vocab", "over 2^31 different words");
        return -1;
    }
    if ((w->n + 1) * 2 > w->table.used / 4 && !ipr__words_rehash(c, w)) return -1;
    if (!ipr__buf_room(c, &w->bytes, n + 1)) return -1;
    e = (ipr__word *)ipr__buf_room(c, &w->entries, sizeof *e);
    if (!e) return -1;
    e->at = w->bytes.used;
    e->len = n;
    e->count = 0;
    e->hash = h;
    (void)ipr__buf_add(c, &w->bytes, s, n);
    (void)ipr__buf_add(c, &w->bytes, "", 1);
    w->entries.used += sizeof *e;
    t = (uint32_t *)w->table.p;
    mask = w->table.used / 4 - 1;
    for (i = h & mask; t[i]; i = (i + 1) & mask) {
    }
    t[i] = (uint32_t)w->n + 1;
    return (ipr_index)w->n++;
}

/* The more frequent first, then by bytes: with all counts 0, by bytes. */
IPR__TOOL int ipr__word_before(const void *arg, uint32_t a, uint32_t b)
{
    const ipr__words *w = (const ipr__words *)arg;
    const ipr__word *x = ipr__word_at(w, a), *y = ipr__word_at(w, b);
    int order;
    if (x->count != y->count) return x->count > y->count;
    order = ipr__memcmp((const char *)w->bytes.p + x->at, (const char *)w->bytes.p + y->at, IPR__MIN(x->len, y->len));
    return order ? order < 0 : x->len < y->len;
}

/* ---- text: characters ---- */

/* The code point of a valid UTF-8 character of len bytes. */
IPR__TOOL uint32_t ipr__utf8_get(const uint8_t *s, int len)
{
    uint32_t u = len == 1 ? s[0] : s[0] & (0x7fu >> len);
    int i;
    for (i = 1; i < len; i++) u = u << 6 | (s[i] & 63u);
    return u;
}

enum {
    IPR__CH_SPACE,
    IPR__CH_LETTER,
    IPR__CH_OTHER
};

/* First and last code points of runs that are no letters: 1 in the third place is white space. */
IPR__TOOL int ipr__char_kind(uint32_t u)
{
    static const uint32_t runs[][3] = {
        {0x85, 0x85, 1},     {0xa0, 0xa0, 1},     {0x80, 0xa9, 0},      {0xab, 0xb4, 0},     {0xb6, 0xb9, 0},
        {0xbb, 0xbf, 0},     {0xd7, 0xd7, 0},     {0xf7, 0xf7, 0},      {0x1680, 0x1680, 1}, {0x2000, 0x200a, 1},
        {0x2028, 0x2029, 1}, {0x202f, 0x202f, 1}, {0x205f, 0x205f, 1},  {0x2000, 0x206f, 0}, {0x20a0, 0x2bff, 0},
        {0x3000, 0x3000, 1}, {0x3001, 0x303f, 0}, {0xfe30, 0xfe6f, 0},  {0xfeff, 0xfeff, 1}, {0xff00, 0xff0f, 0},
        {0xff1a, 0xff20, 0}, {0xfff0, 0xffff, 0}, {0x1f000, 0x1faff, 0}};
    size_t i;
    if (u < 0x80) {
        if (u == ' ' || (u >= 9 && u <= 13) || (u >= 0x1c && u <= 0x1f)) return IPR__CH_SPACE;
        return (u >= '0' && u <= '9') || ((u | 32) >= 'a' && (u | 32) <= 'z') || u == '_' ? IPR__CH_LETTER
                                                                                          : IPR__CH_OTHER;
    }
    for (i = 0; i < sizeof runs / sizeof *runs; i++)
        if (u >= runs[i][0] && u <= runs[i][1]) return runs[i][2] ? IPR__CH_SPACE : IPR__CH_OTHER;
    return IPR__CH_LETTER;
}

/* Lower case of a code point below 0x800; what it maps to has as many bytes. */
IPR__TOOL uint32_t ipr__lower(uint32_t u)
{
    if (u < 0x80) return u >= 'A' && u <= 'Z' ? u + 32 : u;
    if (u < 0x100) return u >= 0xc0 && u <= 0xde && u != 0xd7 ? u + 32 : u;
    if (u == 0x178) return 0xff;
    if (u < 0x180) {
        const int odd = (u >= 0x139 && u <= 0x148) || u >= 0x179; /* where capitals are the odd ones */
        return u != 0x130 && u != 0x138 && u != 0x149 && u != 0x17f && (u & 1u) == (uint32_t)odd ? u + 1 : u;
    }
    if (u >= 0x391 && u <= 0x3ab && u != 0x3a2) return u + 32;
    if (u >= 0x388 && u <= 0x38a) return u + 37;
    if (u == 0x386 || u == 0x38c) return u == 0x386 ? 0x3ac : 0x3cc;
    if (u == 0x38e || u == 0x38f) return u + 63;
    if (u >= 0x410 && u <= 0x42f) return u + 32;
    return u >= 0x400 && u <= 0x40f ? u + 80 : u;
}

/* Valid UTF-8 to lower case, in place. */
IPR__TOOL void ipr__lower_text(char *s, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        const uint8_t a = (uint8_t)s[i];
        if (a < 0x80) s[i] = (char)ipr__lower(a);
        else if (a < 0xe0 && a >= 0xc2 && i + 1 < n) {
            (void)ipr__utf8_put(s + i, ipr__lower((a & 31u) << 6 | ((uint8_t)s[i + 1] & 63u)));
            i++;
        }
    }
}

/* IPR__CH_* of the character at s[i], 0 < *step bytes; beyond the end white space. */
IPR__TOOL int ipr__kind_at(const char *s, size_t n, size_t i, size_t *step)
{
    const uint8_t *p = (const uint8_t *)s + i;
    const int len = i < n ? ipr__utf8(p, n - i) : 0;
    *step = len ? (size_t)len : 1;
    return i < n ? ipr__char_kind(len ? ipr__utf8_get(p, len) : 0xfffd) : IPR__CH_SPACE;
}

/* The next token of valid UTF-8 from *at on: its start, *len bytes (0 at the end). */
IPR__TOOL const char *ipr__token(int kind, const char *s, size_t n, size_t *at, size_t *len)
{
    size_t i = *at, start, step, next;
    int k;
    while (i < n && ipr__kind_at(s, n, i, &step) == IPR__CH_SPACE) i += step;
    start = i;
    if (kind == IPR_TOK_CHAR && i > *at) {
        *at = i;
        *len = 1;
        return " ";
    }
    k = ipr__kind_at(s, n, i, &step);
    if (i < n) i += step;
    if (kind == IPR_TOK_SPACE || (kind == IPR_TOK_WORD && k == IPR__CH_LETTER))
        for (; i < n; i += step) {
            const int here = ipr__kind_at(s, n, i, &step);
            if (here != IPR__CH_SPACE && (kind == IPR_TOK_SPACE || here == IPR__CH_LETTER)) continue;
            if (kind == IPR_TOK_WORD && (s[i] == '\'' || (step == 3 && !ipr__memcmp(s + i, "\xe2\x80\x99", 3))) &&
                ipr__kind_at(s, n, i + step, &next) == IPR__CH_LETTER)
                i += step; /* an apostrophe between letters ends its word */
            break;
        }
    *at = i;
    *len = i - start;
    return s + start;
}

/* ---- text: reading ---- */

typedef struct ipr__corpus {
    ipr_ctx *c;
    const char *fn, *file;
    ipr_text_desc d;
    const uint8_t *p; /* the file */
    size_t n, pos;
    ipr_index line; /* of pos, from 1 */
    ipr__buf text, at, labels, field, label;
    ipr__words names;
    ipr_index count;
} ipr__corpus;

IPR__TOOL int ipr__corpus_bad(ipr__corpus *k, ipr_index line, const char *why)
{
    return ipr__fail(k->c, IPR_E_FORMAT, k->fn, "%s:%I: %s", k->file, line, why);
}

/* n bytes of the file, which stand from line `line` on, as UTF-8 behind what k->text holds. */
IPR__TOOL int ipr__corpus_text(ipr__corpus *k, ipr_index line, const uint8_t *p, size_t n)
{
    static const uint16_t cp1252[32] = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021,
                                        0x2c6,  0x2030, 0x160,  0x2039, 0x152,  0x8d,   0x17d,  0x8f,
                                        0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                        0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
    size_t i, bad = n, nul = n;
    int step;
    char *out;
    for (i = 0; i < n && nul == n; i += (size_t)step) {
        step = ipr__utf8(p + i, n - i);
        if (!p[i]) nul = i;
        if (!step && bad == n) bad = i;
        if (!step) step = 1;
    }
    if (nul < n || (bad < n && k->d.encoding == IPR_ENC_UTF8)) {
        const size_t where = nul < n ? nul : bad;
        for (i = 0; i < where; i++) line += p[i] == '\n';
        return ipr__corpus_bad(k, line,
                               nul < n ? "a NUL byte: this is binary or UTF-16, not text; convert it first"
                                       : "a byte that is not UTF-8; if the file is older than that, read it "
                                         "with IPR_ENC_LATIN1 or IPR_ENC_AUTO");
    }
    if (k->d.encoding != IPR_ENC_LATIN1 && (bad == n || k->d.encoding != IPR_ENC_AUTO))
        return ipr__buf_add(k->c, &k->text, p, n) ? IPR_OK : k->c->err;
    if (n > (size_t)PTRDIFF_MAX / 6) return ipr__corpus_bad(k, line, "too long");
    out = (char *)ipr__buf_room(k->c, &k->text, n * 3);
    for (i = 0; out && i < n; i++)
        k->text.used += (size_t)(step = ipr__utf8_put(out, p[i] >= 0x80 && p[i] < 0xa0 ? cp1252[p[i] - 0x80] : p[i])),
            out += step;
    return k->c->err;
}

/* The class of a label in the file's encoding; a new one unless d.like fixes them. -1 on error. */
IPR__TOOL ipr_index ipr__corpus_class(ipr__corpus *k, ipr_index line, const void *p, size_t n)
{
    const size_t from = k->text.used;
    const char *s;
    char show[72], text[80];
    ipr_index id;
    if (ipr__corpus_text(k, line, (const uint8_t *)p, n)) return -1;
    s = (const char *)k->text.p + from;
    n = k->text.used - from;
    k->text.used = from;
    id = ipr__words_find(k->c, &k->names, s, n, !k->d.like);
    if (id >= 0 || !k->d.like) return id;
    ipr__copy(text, s, IPR__MIN(n, sizeof text - 1));
    text[IPR__MIN(n, sizeof text - 1)] = 0;
    (void)ipr__fail(k->c, IPR_E_FORMAT, k->fn, "%s:%I: label \"%s\" is none of the %d classes of %s (%s, ...)", k->file,
                    line, ipr__show(show, text), k->d.like->classes, k->d.like->name,
                    k->d.like->classes ? k->d.like->class_names[0] : "none");
    return -1;
}

/* Tags of the text from byte `from` on become a space. */
IPR__TOOL void ipr__strip_tags(ipr__buf *b, size_t from)
{
    char *s = (char *)b->p;
    size_t i, to = from, end;
    for (i = from; i < b->used; i++) {
        const char next = i + 1 < b->used ? s[i + 1] : ' ';
        if (s[i] == '<' && (next == '/' || next == '!' || ((next | 32) >= 'a' && (next | 32) <= 'z'))) {
            for (end = i; end < b->used && end - i < 400 && s[end] != '>'; end++) {
            }
            if (end < b->used && s[end] == '>') {
                s[to++] = ' ';
                i = end;
                continue;
            }
        }
        s[to++] = s[i];
    }
    b->used = to;
}

/* The text from byte `from` on is an item of this class (-1: none). */
IPR__TOOL int ipr__corpus_item(ipr__corpus *k, size_t from, ipr_index cls)
{
    ipr_index end;
    int32_t label = (int32_t)cls;
    if (k->c->err) return k->c->err;
    if (k->d.strip & IPR_STRIP_TAGS) ipr__strip_tags(&k->text, from);
    if (k->count >= (ipr_index)INT32_MAX - 1) return ipr__corpus_bad(k, k->line, "over 2^31 items");
    end = (ipr_index)k->text.used;
    if (ipr__buf_add(k->c, &k->at, &end, sizeof end) && cls >= 0) (void)ipr__buf_add(k->c, &k->labels, &label, 4);
    k->count++;
    return k->c->err;
}

/* The next line without its end; 0 when there is none. k->line is its number. */
IPR__TOOL int ipr__corpus_line(ipr__corpus *k, const uint8_t **p, size_t *n)
{
    size_t i = k->pos;
    if (i >= k->n || k->c->err) return 0;
    while (i < k->n && k->p[i] != '\n') i++;
    *p = k->p + k->pos;
    *n = i - k->pos;
    if (*n && k->p[i - 1] == '\r') --*n;
    k->pos = i + 1;
    k->line++;
    return 1;
}

IPR__TOOL int ipr__blank(const void *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t i = 0;
    while (i < n && p[i] <= ' ' && ipr__char_kind(p[i]) == IPR__CH_SPACE) i++;
    return i == n;
}

/* "DESC:manner How did ...": one class, one text. */
IPR__TOOL int ipr__trec_line(ipr__corpus *k, const uint8_t *p, size_t n)
{
    size_t colon = 0, end, from = k->text.used;
    ipr_index cls;
    while (colon < n && p[colon] != ':' && p[colon] != ' ') colon++;
    if (colon == 0 || colon == n || p[colon] != ':') return ipr__corpus_bad(k, k->line, "no \"LABEL:\" at its start");
    for (end = colon; end < n && p[end] != ' ' && p[end] != '\t'; end++) {
    }
    cls = ipr__corpus_class(k, k->line, p, k->d.fine ? end : colon);
    while (end < n && (p[end] == ' ' || p[end] == '\t')) end++;
    if (cls < 0 || ipr__corpus_text(k, k->line, p + end, n - end)) return k->c->err;
    return ipr__corpus_item(k, from, cls);
}

/* One tree: numbers after "(" are labels, the first of them the root's; all else is leaves. */
IPR__TOOL int ipr__tree_line(ipr__corpus *k, const uint8_t *p, size_t n)
{
    size_t i = 0, start, depth = 0, from = k->text.used;
    ipr_index cls = -1;
    int done = 0;
    k->field.used = 0;
    while (i < n) {
        const uint8_t ch = p[i];
        if (ch == ' ' || ch == '\t') {
            i++;
            continue;
        }
        if (done) return ipr__corpus_bad(k, k->line, "text behind the tree's last bracket");
        start = i + (ch == '(');
        for (i = start; i < n && p[i] != ' ' && p[i] != '(' && p[i] != ')' && p[i] != '\t'; i++) {
        }
        if (ch == ')') {
            if (!depth) return ipr__corpus_bad(k, k->line, "a tree has more ) than (");
            done = --depth == 0;
            i = start + 1;
        } else if (ch == '(') {
            if (i == start) return ipr__corpus_bad(k, k->line, "a node of a tree has no label");
            if (!depth++ && (cls = ipr__corpus_class(k, k->line, p + start, i - start)) < 0) return k->c->err;
        } else {
            static const char *const escapes[] = {"-LRB-", "(", "-RRB-", ")"};
            const uint8_t *leaf = p + start;
            size_t len = i - start, e, j;
            if (!depth) return ipr__corpus_bad(k, k->line, "no tree: it must start with (");
            for (e = 0; e < 4; e += 2)
                if (len == 5 && !ipr__memcmp(leaf, escapes[e], 5)) {
                    leaf = (const uint8_t *)escapes[e + 1];
                    len = 1;
                }
            if (k->field.used && !ipr__buf_add(k->c, &k->field, " ", 1)) return k->c->err;
            for (j = 0; j < len; j++) /* "\/" and "\*" */
                if ((leaf[j] != '\\' || j + 1 == len) && !ipr__buf_add(k->c, &k->field, leaf + j, 1)) return k->c->err;
        }
    }
    if (!done) return ipr__corpus_bad(k, k->line, "a tree does not close");
    if (ipr__corpus_text(k, k->line, (const uint8_t *)k->field.p, k->field.used)) return k->c->err;
    return ipr__corpus_item(k, from, cls);
}

/* The field at k->pos goes to `to` (NULL: nowhere). Leaves k->pos behind it, at its separator, line end or the end. */
IPR__TOOL int ipr__csv_field(ipr__corpus *k, uint8_t separator, ipr__buf *to)
{
    const ipr_index opened = k->line;
    int quoted = k->pos < k->n && k->p[k->pos] == '"' && !k->d.no_quotes;
    uint8_t ch;
    for (k->pos += (size_t)quoted;; k->pos++) {
        if (k->pos >= k->n) return quoted ? ipr__corpus_bad(k, opened, "a quote that opens here is not closed") : 0;
        ch = k->p[k->pos];
        if (quoted && ch == '"') {
            if (k->pos + 1 >= k->n || k->p[k->pos + 1] != '"') {
                k->pos++;
                break;
            }
            k->pos++;
        } else if (!quoted &&
                   (ch == separator || ch == '\n' || (ch == '\r' && (k->pos + 1 == k->n || k->p[k->pos + 1] == '\n'))))
            return IPR_OK;
        if (ch == '\\' && (k->d.strip & IPR_STRIP_ESCAPES) && k->pos + 1 < k->n) {
            const uint8_t e = k->p[k->pos + 1];
            if (e == 'n' || e == 't' || e == '"' || e == '\\') {
                k->pos++;
                ch = e == 'n' ? '\n' : e == 't' ? '\t' : e;
            }
        }
        k->line += ch == '\n' && k->p[k->pos] == '\n';
        if (to && !ipr__buf_add(k->c, to, &ch, 1)) return k->c->err;
    }
    if (k->pos < k->n && k->p[k->pos] != separator && k->p[k->pos] != '\n' && k->p[k->pos] != '\r')
        return ipr__corpus_bad(k, k->line, "text behind a closing quote; a quote inside quotes is written twice");
    return IPR_OK;
}

/* All records. Line numbers are those of a record's first line. */
IPR__TOOL int ipr__csv(ipr__corpus *k)
{
    const uint8_t separator = k->d.format == IPR_TEXT_TSV ? '\t' : ',';
    const int lab = k->d.label_column ? k->d.label_column : 1, txt = k->d.text_column ? k->d.text_column : 2;
    for (k->line++; k->pos < k->n && !k->c->err; k->line++) {
        const size_t start = k->pos, from = k->text.used;
        const ipr_index line = k->line;
        ipr_index cls = -1;
        int column = 0;
        k->field.used = k->label.used = 0;
        do {
            ipr__buf *to = ++column == lab ? &k->label : txt < 0 || column == txt ? &k->field : NULL;
            if (column > 1) k->pos++;
            if (to == &k->field && to->used && !ipr__buf_add(k->c, to, " ", 1)) return k->c->err;
            if (ipr__csv_field(k, separator, to)) return k->c->err;
        } while (k->pos < k->n && k->p[k->pos] == separator);
        if (k->pos < k->n && k->p[k->pos] == '\r') k->pos++;
        if (ipr__blank(k->p + start, k->pos - start) && column == 1) {
            k->pos++;
            continue;
        }
        k->pos++;
        if (column < lab || column < txt)
            return ipr__fail(k->c, IPR_E_FORMAT, k->fn, "%s:%I: %d columns; the label is in %d, the text in %d",
                             k->file, line, column, lab, txt);
        if (lab > 0 && (cls = ipr__corpus_class(k, line, k->label.p, k->label.used)) < 0) return k->c->err;
        if (ipr__corpus_text(k, line, (const uint8_t *)k->field.p, k->field.used)) return k->c->err;
        (void)ipr__corpus_item(k, from, cls);
    }
    return k->c->err;
}

IPR__TOOL void ipr__corpus_start(ipr__corpus *k, ipr_ctx *c, const char *fn, const char *file, const ipr_text_desc *d)
{
    const ipr_index zero = 0;
    ipr_index i;
    ipr__zero(k, sizeof *k);
    k->c = c;
    k->fn = fn;
    k->file = file;
    if (d) k->d = *d;
    if (k->d.format < 0 || k->d.format > IPR_TEXT_TREES || k->d.encoding < 0 || k->d.encoding > IPR_ENC_LATIN1 ||
        k->d.label_column < -1 || k->d.text_column < -1 ||
        (k->d.label_column ? k->d.label_column : 1) == (k->d.text_column ? k->d.text_column : 2))
        (void)ipr__fail(c, IPR_E_ARG, fn, "format %d, encoding %d, label in column %d, text in %d: not ones there are",
                        k->d.format, k->d.encoding, k->d.label_column, k->d.text_column);
    (void)ipr__buf_add(c, &k->at, &zero, sizeof zero);
    for (i = 0; d && d->like && i < d->like->classes; i++)
        (void)ipr__words_find(c, &k->names, d->like->class_names[i], ipr__strlen(d->like->class_names[i]), 1);
}

/* The rest of a reader is k's file from now on; *owned is to be freed. Byte order marks are looked at. */
IPR__TOOL int ipr__corpus_file(ipr__corpus *k, ipr_reader *r, void **owned)
{
    *owned = NULL;
    if (r->status) return r->status;
    if (ipr_reader_left(r) > (uint64_t)PTRDIFF_MAX)
        return r->status = ipr__fail(k->c, IPR_E_NOMEM, k->fn, "%s does not fit in memory", k->file);
    k->n = (size_t)ipr_reader_left(r);
    k->p = ipr__reader_take(r, k->n, owned);
    k->pos = 0;
    k->line = 0;
    if (!k->p) return r->status;
    if (k->n >= 2 && ((k->p[0] == 0xff && k->p[1] == 0xfe) || (k->p[0] == 0xfe && k->p[1] == 0xff)))
        return r->status =
                   ipr__corpus_bad(k, 1, "this is UTF-16: convert it first, e.g. with iconv -f utf-16 -t utf-8");
    if (k->n >= 3 && k->p[0] == 0xef && k->p[1] == 0xbb && k->p[2] == 0xbf) k->pos = 3;
    return IPR_OK;
}

IPR_API IPR__COLD void ipr_texts_free(ipr_texts *t)
{
    int i;
    if (!t) return;
    for (i = 0; i < 4; i++) ipr__free(t->ctx, t->own[i]);
    ipr__free(t->ctx, t);
}

/* Class names in order, labels renumbered, and the object; frees the corpus. */
IPR__TOOL ipr_texts *ipr__corpus_end(ipr__corpus *k)
{
    ipr_ctx *c = k->c;
    const char *name = k->d.name ? k->d.name : "text";
    size_t nn = ipr__strlen(name) + 1, ns = ipr__strlen(k->file) + 1, n = k->names.n, i;
    const size_t labelled = k->labels.used / 4;
    uint32_t *order = NULL;
    ipr_texts *t = NULL;
    if (!c->err && n && labelled) order = (uint32_t *)ipr__alloc(c, n * 2 * sizeof *order);
    if (!c->err) t = (ipr_texts *)ipr__alloc(c, sizeof *t + nn + ns);
    if (t) ipr__zero(t, sizeof *t);
    if (t && order) t->own[3] = ipr__alloc(c, n * sizeof(char *) + k->names.bytes.used);
    if (!c->err && t) {
        t->ctx = c;
        t->count = k->count;
        t->name = (const char *)(t + 1);
        t->source = t->name + nn;
        ipr__copy(t + 1, name, nn);
        ipr__copy((char *)(t + 1) + nn, k->file, ns);
        t->own[0] = k->text.p;
        t->own[1] = k->at.p;
        t->own[2] = k->labels.p;
        t->text = k->text.p ? (const char *)k->text.p : "";
        t->at = (const ipr_index *)k->at.p;
        k->text.p = k->at.p = k->labels.p = NULL;
    }
    if (!c->err && order) {
        const char **name_of = (const char **)t->own[3];
        char *bytes = (char *)(name_of + n);
        for (i = 0; i < n; i++) order[i] = (uint32_t)i;
        if (!k->d.like) ipr__sort(order, n, ipr__word_before, &k->names);
        ipr__copy(bytes, k->names.bytes.p, k->names.bytes.used);
        for (i = 0; i < n; i++) {
            order[n + order[i]] = (uint32_t)i; /* the old number's new one */
            name_of[i] = bytes + ipr__word_at(&k->names, order[i])->at;
        }
        for (i = 0; i < labelled; i++)
            ((int32_t *)t->own[2])[i] = (int32_t)order[n + (size_t)((int32_t *)t->own[2])[i]];
        t->labels = (const int32_t *)t->own[2];
        t->class_names = name_of;
        t->classes = (int)n;
    }
    if (c->err && t) {
        t->ctx = c;
        ipr_texts_free(t);
        t = NULL;
    }
    ipr__free(c, order);
    ipr__free(c, k->text.p);
    ipr__free(c, k->at.p);
    ipr__free(c, k->labels.p);
    ipr__free(c, k->field.p);
    ipr__free(c, k->label.p);
    ipr__words_free(c, &k->names);
    return t;
}

IPR_API IPR__COLD ipr_texts *ipr_texts_read(ipr_reader *r, const ipr_text_desc *d)
{
    ipr__corpus k;
    const uint8_t *p = NULL;
    size_t n = 0;
    void *owned = NULL;
    int bad;
    if (!r) return NULL;
    if (r->status || ipr_status(r->ctx)) return NULL;
    ipr__corpus_start(&k, r->ctx, "ipr_texts", r->name, d);
    bad = k.c->err || ipr__corpus_file(&k, r, &owned);
    while (!bad && k.d.skip-- > 0 && ipr__corpus_line(&k, &p, &n)) {
    }
    if (!bad && (k.d.format == IPR_TEXT_CSV || k.d.format == IPR_TEXT_TSV)) (void)ipr__csv(&k);
    else
        while (!bad && ipr__corpus_line(&k, &p, &n)) {
            if (k.d.format == IPR_TEXT_LINES) {
                const size_t from = k.text.used;
                (void)ipr__corpus_text(&k, k.line, p, n);
                (void)ipr__corpus_item(&k, from, -1);
            } else if (ipr__blank(p, n)) continue;
            else if (k.d.format == IPR_TEXT_TREC) (void)ipr__trec_line(&k, p, n);
            else (void)ipr__tree_line(&k, p, n);
        }
    ipr__free(k.c, owned);
    return ipr__corpus_end(&k);
}

IPR_API IPR__COLD ipr_texts *ipr_texts_load(ipr_ctx *c, const char *path, const ipr_text_desc *d)
{
    ipr_reader r;
    ipr_texts *t;
    (void)ipr_reader_file(c, &r, path);
    t = ipr_texts_read(&r, d);
    ipr_reader_close(&r);
    return t;
}

/* Does the line of n bytes hold this word anywhere, or (at = 0) begin with it? */
IPR__TOOL int ipr__line_has(const char *s, size_t n, const char *word, int anywhere)
{
    const size_t w = ipr__strlen(word);
    size_t i;
    for (i = 0; i + w <= n && (anywhere || i == 0); i++)
        if (!ipr__memcmp(s + i, word, w)) return 1;
    return 0;
}

/* A message from byte `from` on: its headers, quotes and footer go. */
IPR__TOOL void ipr__strip_message(ipr__buf *b, size_t from, int strip)
{
    static const char *const said[] = {"writes in", "writes:", "wrote:", "says:", "said:"};
    char *s = (char *)b->p;
    size_t i = from, to = from, end, q, last = 0, gap = 0, lines = 0;
    if (strip & IPR_STRIP_HEADERS) {
        for (; i < b->used; i = end + 1) {
            for (end = i; end < b->used && s[end] != '\n'; end++) {
            }
            if (ipr__blank(s + i, end - i)) break;
        }
        if (i >= b->used) i = from; /* no empty line: no headers */
    }
    for (; i < b->used; i = end + 1) {
        int drop = 0;
        for (end = i; end < b->used && s[end] != '\n'; end++) {
        }
        if (strip & IPR_STRIP_QUOTES) {
            for (q = 0; q < sizeof said / sizeof *said; q++) drop |= ipr__line_has(s + i, end - i, said[q], 1);
            drop |= ipr__line_has(s + i, end - i, "In article", 0) || ipr__line_has(s + i, end - i, "Quoted from", 0) ||
                    s[i] == '>' || s[i] == '|';
        }
        if (drop) continue;
        for (q = i; q < end && (s[q] == '-' || s[q] == ' ' || s[q] == '\t' || s[q] == '\r'); q++) {
        }
        if (q == end) gap = lines ? to : 0; /* what follows may be a footer */
        else {
            if (gap) last = gap;
            gap = 0;
            lines++;
        }
        while (i < end) s[to++] = s[i++];
        if (to < b->used) s[to++] = '\n';
    }
    if ((strip & IPR_STRIP_FOOTERS) && last) to = last;
    b->used = to;
}

/* A file as one item of class cls. */
IPR__TOOL int ipr__folder_file(ipr__corpus *k, const char *path, ipr_index cls)
{
    ipr_reader r;
    void *owned = NULL;
    const size_t from = k->text.used;
    (void)ipr_reader_file(k->c, &r, path);
    k->file = path;
    if (!ipr__corpus_file(k, &r, &owned)) {
        (void)ipr__corpus_text(k, 1, k->p + k->pos, k->n - k->pos);
        if (!k->c->err && (k->d.strip & (IPR_STRIP_HEADERS | IPR_STRIP_FOOTERS | IPR_STRIP_QUOTES)))
            ipr__strip_message(&k->text, from, k->d.strip);
        (void)ipr__corpus_item(k, from, cls);
    }
    ipr__free(k->c, owned);
    ipr_reader_close(&r);
    return k->c->err;
}

/* a/b in a block of its own, NULL on error */
IPR__TOOL char *ipr__path(ipr_ctx *c, const char *a, const char *b)
{
    char *slash = ipr__join(c, a, "/"), *path = slash ? ipr__join(c, slash, b) : NULL;
    ipr__free(c, slash);
    return path;
}

/* The names in a folder, sorted: order[] of words w; NULL on error. Dot files are passed over. */
IPR__TOOL uint32_t *ipr__folder_names(ipr_ctx *c, const char *path, ipr__words *w)
{
    uint32_t *order = NULL;
    size_t i;
    ipr__zero(w, sizeof *w);
#if IPR__FILES
    {
        const char *name;
        void *dir = ipr__os_folder_open(c, path);
        if (!dir) (void)ipr__fail(c, IPR_E_MISSING, "ipr_texts_folders", "%s: there is no such folder", path);
        while (dir && !c->err && (name = ipr__os_folder_next(dir)) != NULL)
            if (name[0] != '.') (void)ipr__words_find(c, w, name, ipr__strlen(name), 1);
        if (dir) ipr__os_folder_close(c, dir);
    }
#else
    (void)ipr__fail(c, IPR_E_UNAVAILABLE, "ipr_texts_folders", "%s: compiled with IPR_NO_STDIO", path);
#endif
    if (!c->err) order = (uint32_t *)ipr__alloc(c, (w->n + 1) * sizeof *order);
    for (i = 0; order && i < w->n; i++) order[i] = (uint32_t)i;
    if (order) ipr__sort(order, w->n, ipr__word_before, w);
    return order;
}

/* Every file of one class's folder. */
IPR__TOOL int ipr__folder_class(ipr__corpus *k, const char *root, const char *cls)
{
    char *folder = ipr__path(k->c, root, cls);
    ipr__words names;
    uint32_t *order = folder ? ipr__folder_names(k->c, folder, &names) : NULL;
    const ipr_index before = k->count, id = order ? ipr__corpus_class(k, 0, cls, ipr__strlen(cls)) : -1;
    size_t i;
    for (i = 0; order && id >= 0 && i < names.n && !k->c->err; i++) {
        char *path = ipr__path(k->c, folder, ipr__word_text(&names, order[i]));
#if IPR__FILES
        if (path && ipr__os_kind(path) == IPR__PATH_FILE) (void)ipr__folder_file(k, path, id);
#endif
        k->file = root;
        ipr__free(k->c, path);
    }
    if (!k->c->err && k->count == before)
        (void)ipr__fail(k->c, IPR_E_FORMAT, k->fn, "%s: class %s has no files", root, cls);
    if (folder) ipr__words_free(k->c, &names);
    ipr__free(k->c, order);
    ipr__free(k->c, folder);
    return k->c->err;
}

IPR_API IPR__COLD ipr_texts *ipr_texts_folders(ipr_ctx *c, const char *root, const ipr_text_desc *d)
{
    ipr__corpus k;
    ipr__words names;
    uint32_t *order = NULL;
    int i;
    if (!c || c->err) return NULL;
    if (!root) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_texts_folders", "root is NULL");
        return NULL;
    }
    ipr__corpus_start(&k, c, "ipr_texts_folders", root, d);
    ipr__zero(&names, sizeof names);
    if (!c->err && !k.d.folders) {
        order = ipr__folder_names(c, root, &names);
        for (i = 0; order && (size_t)i < names.n && !c->err; i++) {
            char *path = ipr__path(c, root, ipr__word_text(&names, order[i]));
#if IPR__FILES
            if (path && ipr__os_kind(path) == IPR__PATH_FOLDER)
                (void)ipr__folder_class(&k, root, ipr__word_text(&names, order[i]));
#endif
            ipr__free(c, path);
        }
        if (!c->err && !k.count) (void)ipr__fail(c, IPR_E_FORMAT, k.fn, "%s: no folders in it, one a class", root);
    }
    for (i = 0; k.d.folders && i < k.d.nfolders && !c->err; i++) (void)ipr__folder_class(&k, root, k.d.folders[i]);
    ipr__free(c, order);
    ipr__words_free(c, &names);
    k.file = root;
    return ipr__corpus_end(&k);
}

IPR_API IPR__COLD const char *ipr_texts_item(const ipr_texts *t, ipr_index i, size_t *bytes)
{
    if (bytes) *bytes = 0;
    if (!t || i < 0 || i >= t->count) return NULL;
    if (bytes) *bytes = (size_t)(t->at[i + 1] - t->at[i]);
    return t->text + t->at[i];
}

/* Item `from` becomes item `to`, at or before it. */
IPR__TOOL void ipr__texts_move(ipr_texts *t, ipr_index from, ipr_index to)
{
    ipr_index *at = (ipr_index *)t->own[1], i, n = at[from + 1] - at[from];
    char *s = (char *)t->own[0];
    for (i = 0; from != to && i < n; i++) s[at[to] + i] = s[at[from] + i];
    at[to + 1] = at[to] + n;
}

IPR_API IPR__COLD int ipr_texts_parallel(ipr_ctx *c, const char *path_a, const char *path_b, const ipr_text_desc *d,
                                         ipr_texts **a, ipr_texts **b)
{
    const char *fn = "ipr_texts_parallel";
    ipr_text_desc lines = IPR_ZERO;
    ipr_index i, k = 0;
    size_t n, m;
    if (a) *a = NULL;
    if (b) *b = NULL;
    if (!a || !b) return ipr__fail(c, IPR_E_ARG, fn, "a or b is NULL");
    if (d) lines = *d;
    lines.format = IPR_TEXT_LINES;
    *a = ipr_texts_load(c, path_a, &lines);
    *b = ipr_texts_load(c, path_b, &lines);
    if (*a && *b && (*a)->count != (*b)->count)
        (void)ipr__fail(c, IPR_E_FORMAT, fn, "%s has %I lines, %s has %I; they must belong together line by line",
                        path_a, (*a)->count, path_b, (*b)->count);
    if (ipr_status(c) || !*a || !*b) {
        ipr_texts_free(*a);
        ipr_texts_free(*b);
        *a = *b = NULL;
        return ipr_status(c);
    }
    for (i = 0; i < (*a)->count; i++) {
        const char *s = ipr_texts_item(*a, i, &n), *t = ipr_texts_item(*b, i, &m);
        if (ipr__blank(s, n) || ipr__blank(t, m)) continue;
        ipr__texts_move(*a, i, k);
        ipr__texts_move(*b, i, k++);
    }
    (*a)->dropped = (*b)->dropped = (*a)->count - k;
    (*a)->count = (*b)->count = k;
    return IPR_OK;
}

/* ---- vocabulary ---- */

struct ipr_vocab {
    ipr_ctx *c;
    ipr_vocab_desc d; /* specials: only their number */
    ipr__words w;
    int32_t unk, pad;
    ipr__buf lowered;
    char hash[65];
};

IPR_API IPR__COLD void ipr_vocab_free(ipr_vocab *v)
{
    if (!v) return;
    ipr__words_free(v->c, &v->w);
    ipr__free(v->c, v->lowered.p);
    ipr__free(v->c, v);
}

IPR_API ipr_index ipr_vocab_size(const ipr_vocab *v) { return v ? (ipr_index)v->w.n : 0; }
IPR_API const char *ipr_vocab_word(const ipr_vocab *v, ipr_index id)
{
    return id >= 0 && id < ipr_vocab_size(v) ? ipr__word_text(&v->w, (size_t)id) : NULL;
}
IPR_API uint64_t ipr_vocab_count(const ipr_vocab *v, ipr_index id)
{
    return id >= 0 && id < ipr_vocab_size(v) ? ipr__word_at(&v->w, (size_t)id)->count : 0;
}
IPR_API int32_t ipr_vocab_id(const ipr_vocab *v, const char *word)
{
    ipr__words *w = v && word ? (ipr__words *)(uintptr_t)&v->w : NULL; /* looking up changes nothing */
    return w ? (int32_t)ipr__words_find(v->c, w, word, ipr__strlen(word), 0) : -1;
}
IPR_API int32_t ipr_vocab_unk(const ipr_vocab *v) { return v ? v->unk : -1; }
IPR_API int32_t ipr_vocab_pad(const ipr_vocab *v) { return v ? v->pad : -1; }
IPR_API IPR__COLD const char *ipr_vocab_hash(const ipr_vocab *v) { return v ? v->hash : ""; }

static const char *const ipr__tokenizers[] = {"space", "word", "char"};

/* An empty vocabulary with its specials. */
IPR__TOOL ipr_vocab *ipr__vocab_make(ipr_ctx *c, const char *fn, const ipr_vocab_desc *d)
{
    static const char *const usual[] = {"<unk>", "<pad>"};
    ipr_vocab *v;
    int i;
    size_t k, n;
    if (!c || c->err) return NULL;
    v = (ipr_vocab *)ipr__alloc(c, sizeof *v);
    if (!v) return NULL;
    ipr__zero(v, sizeof *v);
    v->c = c;
    if (d) v->d = *d;
    if (!v->d.specials) {
        v->d.specials = usual;
        v->d.nspecials = 2;
    }
    if (v->d.tokenizer < 0 || v->d.tokenizer > IPR_TOK_CHAR || v->d.min_count < 0 || v->d.max_size < 0 ||
        v->d.nspecials < 0 || (v->d.max_size && v->d.max_size < v->d.nspecials))
        (void)ipr__fail(c, IPR_E_ARG, fn,
                        "tokenizer %d, min_count %I, max_size %I with %d specials: no such vocabulary", v->d.tokenizer,
                        v->d.min_count, v->d.max_size, v->d.nspecials);
    for (i = 0; i < v->d.nspecials && !c->err; i++) {
        const char *s = v->d.specials[i];
        n = s ? ipr__strlen(s) : 0;
        for (k = 0; k < n && ipr__utf8((const uint8_t *)s + k, n - k) && s[k] != '\n'; k++)
            k += (size_t)ipr__utf8((const uint8_t *)s + k, n - k) - 1;
        if (!n || k < n || ipr__words_find(c, &v->w, s, n, 1) != i)
            (void)ipr__fail(c, IPR_E_ARG, fn, "special %d is NULL, empty, no UTF-8, or there twice", i);
    }
    v->d.specials = NULL;
    v->unk = ipr_vocab_id(v, "<unk>");
    v->pad = ipr_vocab_id(v, "<pad>");
    if (!c->err) return v;
    ipr_vocab_free(v);
    return NULL;
}

/* All words are in. */
IPR__TOOL ipr_vocab *ipr__vocab_seal(ipr_vocab *v)
{
    ipr_sha256 sha;
    uint8_t sum[32];
    char head[64];
    size_t i;
    if (v->c->err) {
        ipr_vocab_free(v);
        return NULL;
    }
    ipr_sha256_init(&sha);
    ipr_sha256_update(&sha, head,
                      (size_t)ipr__fmt(head, sizeof head, "ipr.vocab 1 %s %d %d\n", ipr__tokenizers[v->d.tokenizer],
                                       v->d.lower != 0, v->d.nspecials));
    for (i = 0; i < v->w.n; i++) {
        ipr_sha256_update(&sha, ipr__word_text(&v->w, i), ipr__word_at(&v->w, i)->len);
        ipr_sha256_update(&sha, "\n", 1);
    }
    ipr_sha256_final(&sha, sum);
    ipr_hex(sum, 32, v->hash);
    return v;
}

/* The text in v's case; NULL on error. */
IPR__TOOL const char *ipr__vocab_case(ipr_vocab *v, const char *text, size_t n)
{
    if (!v->d.lower) return text;
    v->lowered.used = 0;
    if (!ipr__buf_add(v->c, &v->lowered, text, n)) return NULL;
    ipr__lower_text((char *)v->lowered.p, n);
    return (const char *)v->lowered.p;
}

IPR_API IPR__COLD ipr_vocab *ipr_vocab_build(ipr_ctx *c, const ipr_vocab_desc *d, const ipr_texts *const *texts, int n)
{
    const char *fn = "ipr_vocab_build", *s, *t;
    ipr_vocab *v = ipr__vocab_make(c, fn, d);
    ipr__words all;
    uint32_t *order = NULL;
    size_t len, at, tok, i;
    ipr_index item, id;
    int k;
    if (!v) return NULL;
    ipr__zero(&all, sizeof all);
    for (k = 0; k < n && !c->err; k++) {
        if (!texts || !texts[k]) (void)ipr__fail(c, IPR_E_ARG, fn, "text %d is NULL", k);
        for (item = 0; !c->err && item < texts[k]->count; item++) {
            s = ipr_texts_item(texts[k], item, &len);
            t = ipr__vocab_case(v, s, len);
            for (at = 0; t && !c->err;) {
                s = ipr__token(v->d.tokenizer, t, len, &at, &tok);
                if (!tok) break;
                id = ipr__words_find(c, &all, s, tok, 1);
                if (id >= 0) ipr__word_at(&all, (size_t)id)->count++;
            }
        }
    }
    if (!c->err) order = (uint32_t *)ipr__alloc(c, (all.n + 1) * sizeof *order);
    for (i = 0; order && i < all.n; i++) order[i] = (uint32_t)i;
    if (order) ipr__sort(order, all.n, ipr__word_before, &all);
    for (i = 0; order && i < all.n; i++) {
        const ipr__word *w = ipr__word_at(&all, order[i]);
        if (w->count < (uint64_t)v->d.min_count || (v->d.max_size && v->w.n >= (size_t)v->d.max_size)) break;
        id = ipr__words_find(c, &v->w, ipr__word_text(&all, order[i]), w->len, 1);
        if (id >= v->d.nspecials) ipr__word_at(&v->w, (size_t)id)->count = w->count;
    }
    ipr__free(c, order);
    ipr__words_free(c, &all);
    return ipr__vocab_seal(v);
}

/* Ids of a valid text into out, up to cap of them; returns how many there are. */
IPR__TOOL ipr_index ipr__encode(ipr_vocab *v, const char *text, size_t bytes, int32_t *out, ipr_index cap)
{
    const char *t = ipr__vocab_case(v, text, bytes), *s;
    size_t at = 0, len;
    ipr_index n = 0, id;
    while (t) {
        s = ipr__token(v->d.tokenizer, t, bytes, &at, &len);
        if (!len) break;
        id = ipr__words_find(v->c, &v->w, s, len, 0);
        if (id < v->d.nspecials) id = v->unk;
        if (id < 0) continue;
        if (n < cap) out[n] = (int32_t)id;
        n++;
    }
    return t ? n : -1;
}

IPR_API IPR__COLD ipr_index ipr_vocab_encode(ipr_vocab *v, const char *text, size_t bytes, int32_t *out, ipr_index cap)
{
    size_t i;
    if (!v || v->c->err) return -1;
    if ((!text && bytes) || (!out && cap) || cap < 0) {
        (void)ipr__fail(v->c, IPR_E_ARG, "ipr_vocab_encode", "text or out is NULL");
        return -1;
    }
    for (i = 0; i < bytes; i++) {
        const int step = ipr__utf8((const uint8_t *)text + i, bytes - i);
        if (!step || !text[i]) {
            (void)ipr__fail(v->c, IPR_E_FORMAT, "ipr_vocab_encode", "byte %U of the text is not UTF-8, or NUL",
                            (uint64_t)i);
            return -1;
        }
        i += (size_t)step - 1;
    }
    return ipr__encode(v, text ? text : "", bytes, out, cap);
}

IPR_API IPR__COLD size_t ipr_vocab_decode(const ipr_vocab *v, const int32_t *ids, ipr_index n, char *out, size_t cap)
{
    size_t len = 0, k;
    ipr_index i;
    for (i = 0; v && ids && i < n; i++) {
        const char *w = ids[i] < v->d.nspecials ? NULL : ipr_vocab_word(v, ids[i]);
        if (!w) continue;
        if (len && v->d.tokenizer != IPR_TOK_CHAR) {
            if (len + 1 < cap) out[len] = ' ';
            len++;
        }
        for (k = 0; w[k]; k++, len++)
            if (len + 1 < cap) out[len] = w[k];
    }
    if (cap) out[IPR__MIN(len, cap - 1)] = 0;
    return len;
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_texts(const ipr_texts *t, ipr_vocab *v, const ipr_encode_desc *desc)
{
    const char *fn = "ipr_dataset_texts";
    ipr_encode_desc d = IPR_ZERO;
    ipr__buf offset = IPR_ZERO, ids = IPR_ZERO;
    ipr_dataset *ds = NULL;
    ipr_index i, n, at, most, end = 0;
    int32_t around[2];
    int k;
    if (!t || !v || v->c->err) return NULL;
    if (desc) d = *desc;
    for (k = 0; k < 2; k++) {
        const char *s = k ? d.last : d.first;
        around[k] = s ? ipr_vocab_id(v, s) : 0;
        if (around[k] >= 0 && (!s || around[k] < v->d.nspecials)) continue;
        (void)ipr__fail(v->c, IPR_E_MISSING, fn, "%s is no special of the vocabulary", s);
        return NULL;
    }
    most = d.max_tokens > 0 ? d.max_tokens : PTRDIFF_MAX;
    (void)ipr__buf_add(v->c, &offset, &end, sizeof end);
    for (i = 0; i < t->count && !v->c->err; i++) {
        size_t bytes;
        const char *s = ipr_texts_item(t, i, &bytes);
        /* never more tokens than bytes */
        int32_t *out =
            bytes > (size_t)PTRDIFF_MAX / 16 ? NULL : (int32_t *)ipr__buf_room(v->c, &ids, (bytes + 2) * sizeof *out);
        if (!out) break;
        if (d.first) *out++ = around[0];
        n = ipr__encode(v, s, bytes, out, (ipr_index)bytes);
        for (at = most / 2; d.both_ends && n > most && at < most; at++) out[at] = out[n - most + at];
        n = IPR__MIN(n, most);
        if (n < 0) break;
        if (d.last) out[n] = around[1];
        end += n + (d.first != NULL) + (d.last != NULL);
        ids.used = (size_t)end * sizeof *out;
        (void)ipr__buf_add(v->c, &offset, &end, sizeof end);
    }
    if (!v->c->err)
        ds = ipr_dataset_tokens(v->c, t->name, t->source, t->count, (const ipr_index *)offset.p, (const int32_t *)ids.p,
                                t->labels, t->classes, v->pad < 0 ? 0 : v->pad);
    ipr__free(v->c, offset.p);
    ipr__free(v->c, ids.p);
    return ds;
}

/* ---- vocabulary files ---- */

IPR_API IPR__COLD int ipr_vocab_write(const ipr_vocab *v, ipr_writer *w)
{
    ipr_json j;
    size_t i;
    if (!v || !w) return v ? ipr__fail(v->c, IPR_E_ARG, "ipr_vocab_write", "the writer is NULL") : IPR_E_ARG;
    ipr_json_begin(&j, w, 1);
    ipr_json_object(&j, NULL);
    ipr_json_str(&j, "format", "ipr.vocab");
    ipr_json_int(&j, "version", 1);
    ipr_json_str(&j, "tokenizer", ipr__tokenizers[v->d.tokenizer]);
    ipr_json_bool(&j, "lower", v->d.lower != 0);
    ipr_json_int(&j, "specials", v->d.nspecials);
    ipr_json_str(&j, "sha256", v->hash);
    ipr_json_array(&j, "words");
    for (i = 0; i < v->w.n; i++) ipr_json_str(&j, NULL, ipr__word_text(&v->w, i));
    ipr_json_end(&j);
    ipr_json_array(&j, "counts");
    for (i = 0; i < v->w.n; i++) ipr_json_int(&j, NULL, (int64_t)ipr__word_at(&v->w, i)->count);
    ipr_json_end(&j);
    ipr_json_end(&j);
    return ipr_json_finish(&j);
}

IPR_API IPR__COLD int ipr_vocab_save(const ipr_vocab *v, const char *path)
{
    ipr_writer w;
    int status;
    if (!v) return IPR_E_ARG;
    (void)ipr_writer_file(v->c, &w, path, 0);
    (void)ipr_vocab_write(v, &w);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return status;
}

/* Words and counts of a parsed file; what is wrong with them, or NULL. */
IPR__TOOL const char *ipr__vocab_parse(ipr_vocab *v, ipr_json_val root)
{
    ipr_json_val words = ipr_json_member(root, "words"), counts = ipr_json_member(root, "counts"), word, count;
    size_t cw = 0, cc = 0, n;
    v->d.nspecials = (int)ipr_json_to_int(ipr_json_member(root, "specials"), -1);
    v->d.lower = ipr_json_to_bool(ipr_json_member(root, "lower"), 0);
    for (v->d.tokenizer = 0; v->d.tokenizer <= IPR_TOK_CHAR; v->d.tokenizer++)
        if (ipr_json_equals(ipr_json_member(root, "tokenizer"), ipr__tokenizers[v->d.tokenizer])) break;
    if (!ipr_json_equals(ipr_json_member(root, "format"), "ipr.vocab") || v->d.tokenizer > IPR_TOK_CHAR ||
        ipr_json_to_int(ipr_json_member(root, "version"), 0) != 1 || words.type != IPR_JSON_ARRAY ||
        counts.type != IPR_JSON_ARRAY)
        return "no vocabulary of ipr.h: format, version, tokenizer, words and counts are needed";
    while (ipr_json_next(words, &cw, NULL, &word)) {
        char *s;
        if (!ipr_json_next(counts, &cc, NULL, &count) || word.type != IPR_JSON_STRING)
            return "words and counts do not pair";
        v->lowered.used = 0;
        s = (char *)ipr__buf_room(v->c, &v->lowered, word.bytes + 1);
        if (!s) return "no memory";
        n = ipr_json_to_text(word, s, word.bytes + 1);
        if (!n || n != ipr__strlen(s) || ipr__line_has(s, n, "\n", 1))
            return "a word is empty, or holds a NUL or line end";
        if (ipr__words_find(v->c, &v->w, s, n, 1) != (ipr_index)v->w.n - 1 || v->c->err) return "a word is there twice";
        if (ipr_json_to_int(count, -1) < 0) return "a count is no number";
        ipr__word_at(&v->w, v->w.n - 1)->count = (uint64_t)ipr_json_to_int(count, 0);
    }
    if (v->d.nspecials < 0 || (size_t)v->d.nspecials > v->w.n) return "it has fewer words than specials";
    return NULL;
}

IPR_API IPR__COLD ipr_vocab *ipr_vocab_read(ipr_reader *r)
{
    const char *fn = "ipr_vocab_read", *why = NULL;
    ipr_vocab_desc none = IPR_ZERO;
    const uint8_t *text = NULL;
    void *owned = NULL;
    ipr_json_val root;
    ipr_vocab *v = NULL;
    size_t n;
    if (!r || r->status || ipr_status(r->ctx)) return NULL;
    n = (size_t)ipr_reader_left(r);
    if (ipr_reader_left(r) < (uint64_t)PTRDIFF_MAX) text = ipr__reader_take(r, n, &owned);
    if (text && !ipr_json_parse(r->ctx, (const char *)text, n, &root)) {
        const char *any[1];
        any[0] = NULL;
        none.specials = any; /* none of them */
        v = ipr__vocab_make(r->ctx, fn, &none);
        if (v) why = ipr__vocab_parse(v, root);
        if (why) {
            r->status = ipr__fail(r->ctx, IPR_E_FORMAT, fn, "%s: %s", r->name, why);
            ipr_vocab_free(v);
            v = NULL;
        }
        if (v) v = ipr__vocab_seal(v);
        if (v && !ipr_json_equals(ipr_json_member(root, "sha256"), v->hash)) {
            r->status =
                ipr__fail(r->ctx, IPR_E_FORMAT, fn, "%s: its sha256 is not that of its words; it was changed", r->name);
            ipr_vocab_free(v);
            v = NULL;
        }
        if (v) {
            v->unk = ipr_vocab_id(v, "<unk>");
            v->pad = ipr_vocab_id(v, "<pad>");
            if (v->unk >= v->d.nspecials) v->unk = -1;
            if (v->pad >= v->d.nspecials) v->pad = -1;
        }
    }
    ipr__free(r->ctx, owned);
    return v;
}

IPR_API IPR__COLD ipr_vocab *ipr_vocab_load(ipr_ctx *c, const char *path)
{
    ipr_reader r;
    ipr_vocab *v;
    (void)ipr_reader_file(c, &r, path);
    v = ipr_vocab_read(&r);
    ipr_reader_close(&r);
    return v;
}

IPR_API IPR__COLD int ipr_vocab_check(const ipr_vocab *v, const ipr_st *st)
{
    const char *hash = ipr_st_meta(st, "ipr.vocab");
    if (!v || !st) return v ? ipr__fail(v->c, IPR_E_ARG, "ipr_vocab_check", "the file is NULL") : IPR_E_ARG;
    if (!hash)
        return ipr__fail(v->c, IPR_E_MISSING, "ipr_vocab_check", "the model file names no vocabulary (ipr.vocab)");
    if (ipr__streq(hash, v->hash)) return IPR_OK;
    return ipr__fail(v->c, IPR_E_FORMAT, "ipr_vocab_check",
                     "this vocabulary is another model's: its hash is %s, the model was trained with %s", v->hash,
                     hash);
}

/* ---- pretrained vectors ---- */

/* A line of vectors: the word is what stands before the last `width` fields. 0: too few fields; else 1 and its bytes.
 */
IPR__TOOL int ipr__vector_word(const char *s, size_t n, ipr_index width, size_t *word)
{
    ipr_index fields = 0;
    while (n && ipr__blank(s + n - 1, 1)) n--;
    while (n && fields < width) {
        while (n && !ipr__blank(s + n - 1, 1)) n--;
        while (n && ipr__blank(s + n - 1, 1)) n--;
        fields++;
    }
    *word = n;
    return n > 0 && fields == width;
}

IPR_API IPR__COLD ipr_index ipr_embed_vectors_read(ipr_tensor *table, const ipr_vocab *v, ipr_reader *r)
{
    const char *fn = "ipr_embed_vectors";
    ipr_ctx *c = v ? v->c : NULL;
    const ipr_index width = ipr_dim(table, 1), rows = ipr_dim(table, 0);
    ipr_index found = 0, line = 0, i;
    ipr__buf buf = IPR_ZERO;
    ipr_real *copy = NULL, *out = NULL;
    uint8_t *seen = NULL;
    size_t end, from = 0;
    if (!v || !r || r->status || c->err) return -1;
    if (ipr_rank(table) != 2 || rows != ipr_vocab_size(v)) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "the table has %I rows, the vocabulary %I words", rows, ipr_vocab_size(v));
        return -1;
    }
    out = ipr_write(c, table, 1);
    if (out) copy = (ipr_real *)ipr__alloc(c, (size_t)(rows * width) * sizeof *copy);
    if (copy) seen = (uint8_t *)ipr__alloc(c, (size_t)rows + 1);
    if (seen) {
        ipr__copy(copy, out, (size_t)(rows * width) * sizeof *copy);
        ipr__zero(seen, (size_t)rows + 1);
    }
    for (line = 1; seen && !c->err; line++) {
        char *s;
        size_t word, at, kept;
        ipr_index id;
        for (end = from;; end++) { /* the next line, with as much of the file as that needs */
            if (end == buf.used) {
                const size_t more = (size_t)IPR__MIN(ipr_reader_left(r), (uint64_t)65536);
                for (kept = from, s = (char *)buf.p; kept < buf.used; kept++) s[kept - from] = s[kept];
                buf.used -= from;
                end -= from;
                from = 0;
                if (!more || !ipr__buf_room(c, &buf, more) || ipr_reader_read(r, (char *)buf.p + buf.used, more)) break;
                buf.used += more;
            }
            if (((char *)buf.p)[end] == '\n') break;
        }
        if (c->err || from == buf.used) break;
        s = (char *)buf.p + from;
        end -= from;
        if (!ipr__vector_word(s, end, width, &word)) {
            double a, b;
            const size_t first = ipr__parse_double(s, end, &a);
            const int header = line == 1 && first && first < end &&
                               ipr__parse_double(s + first + 1, end - first - 1, &b) && b == (double)width;
            if (!header && !ipr__blank(s, end))
                (void)ipr__fail(c, IPR_E_FORMAT, fn, "%s:%I: not a word and %I numbers, as wide as the table", r->name,
                                line, width);
        } else {
            char keep = s[word];
            s[word] = 0;
            id = ipr_vocab_id(v, s);
            s[word] = keep;
            if (id >= 0 && !seen[id]) {
                for (i = 0, at = word; i < width; i++) {
                    double value = 0;
                    size_t took;
                    while (ipr__blank(s + at, 1)) at++;
                    took = ipr__parse_double(s + at, end - at, &value);
                    at += took;
                    if (!took || !ipr__finite(value) || !ipr__fits_float(value) ||
                        (at < end && !ipr__blank(s + at, 1))) {
                        (void)ipr__fail(c, IPR_E_FORMAT, fn, "%s:%I: number %I is none", r->name, line, i + 1);
                        break;
                    }
                    copy[id * width + i] = IPR__R(value);
                }
                seen[id] = 1;
                found++;
            }
        }
        from = IPR__MIN(from + end + 1, buf.used);
    }
    if (seen && !c->err) ipr__copy(out, copy, (size_t)(rows * width) * sizeof *copy);
    else found = -1;
    ipr__free(c, buf.p);
    ipr__free(c, copy);
    ipr__free(c, seen);
    return found;
}

IPR_API IPR__COLD ipr_index ipr_embed_vectors(ipr_tensor *table, const ipr_vocab *v, const char *path)
{
    ipr_reader r;
    ipr_index n;
    if (!v) return -1;
    (void)ipr_reader_file(v->c, &r, path);
    n = ipr_embed_vectors_read(table, v, &r);
    ipr_reader_close(&r);
    return n;
}

/* ---- built-in texts: a small grammar ----
   Rules are alternatives with | between; a capital X in brackets, [X], stands for rule X; "name=" begins one. */

typedef struct ipr__grammar {
    ipr_ctx *c;
    ipr_rng rng;
    const char *rules[26]; /* of 'A'..'Z' */
    ipr__buf *out;
} ipr__grammar;

/* One alternative of a rule, its [X] filled in; depth ends a grammar that never does. */
IPR__TOOL void ipr__grammar_put(ipr__grammar *g, const char *rule, int depth)
{
    uint32_t n = 1, pick;
    const char *s;
    for (s = rule; *s; s++) n += *s == '|';
    for (pick = ipr_rng_below(&g->rng, n), s = rule; pick; s++) pick -= *s == '|';
    for (; *s && *s != '|'; s++) {
        if (*s == '[' && depth < 6) {
            ipr__grammar_put(g, g->rules[s[1] - 'A'], depth + 1);
            s += 2;
        } else if (!ipr__buf_add(g->c, g->out, s, 1)) return;
    }
}

IPR_API IPR__COLD ipr_texts *ipr_texts_questions(ipr_ctx *c, uint64_t seed, uint64_t first, ipr_index count)
{
    static const char *const labels[] = {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"};
    static const char *const of_class[] = {
        "What does [A] stand for ?|What does the abbreviation [A] mean ?|What is the full form of [A] ?|What is the "
        "abbreviation for [T] ?|How do you abbreviate [T] ?|What do the letters [A] on a [O] mean ?",
        "What is [T] ?|Why do [N] [V] ?|How does a [O] work ?|What does the word [T] mean ?|How do [N] [V] in the [S] "
        "?|What is the meaning of [T] ?|What causes [T] ?|Why is [C] famous ?|Describe the [F] of [C] .",
        "What [G] do [N] like most ?|What color is a [O] ?|What is the [Q] [G] in the world ?|Which [G] was used by "
        "[P] "
        "?|What [G] did [P] write about ?|Name a [G] that can [V] .|What kind of [G] comes from [C] ?",
        "Who [W] the [O] ?|Who was the first [J] of [C] ?|What [J] [W] the [O] in [Y] ?|Which [J] was born in [C] "
        "?|Who "
        "is the [Q] [J] in the world ?|What company [W] the [O] ?|Name the [J] who [W] [T] .",
        "Where is [C] ?|What country has the [Q] [S] ?|Where was [P] born ?|What is the capital of [C] ?|Which city is "
        "home of the [O] ?|Where do [N] live ?|What [S] is near [C] ?|On which continent is [C] ?",
        "How many [N] live in [C] ?|When did [P] die ?|What year was the [O] made ?|How far is it from [C] to the [S] "
        "?|How much does a [O] cost ?|How old was [P] in [Y] ?|What is the population of [C] ?|How long do [N] live ?"};
    static const char *const rules[26] = {
        /* A */ "NASA|UNESCO|BBC|CPU|DNA|FBI|LASER|RADAR|VCR|ATM|PDF|URL|SCUBA|HTTP",
        NULL,
        /* C */ "[U]|[U]|northern [U]|southern [U]|the [D] [S]",
        /* D */ "great|blue|old|lost|golden|silent|hidden|white|black|frozen",
        NULL,
        /* F */ "history|flag|climate|anthem|coast|economy|government",
        /* G */ "book|animal|game|song|food|sport|language|instrument|plant|bird|drink|dance",
        NULL,
        NULL,
        /* J */ "president|author|actor|king|queen|inventor|singer|painter|explorer|coach|poet",
        NULL,
        NULL,
        NULL,
        /* N */ "bears|bees|cats|children|dolphins|farmers|lions|owls|people|sailors|spiders|wolves",
        /* O */ "telephone|bicycle|computer|camera|clock|piano|radio|rocket|steam engine|telescope|printer|compass",
        /* P */ "[X] [Z]",
        /* Q */ "largest|smallest|oldest|fastest|tallest|most popular|richest|best known",
        NULL,
        /* S */ "river|lake|mountain|desert|island|sea|valley|forest|volcano|ocean",
        /* T */
        "gravity|democracy|malaria|an eclipse|inflation|photosynthesis|jazz|a prism|thunder|osmosis|rust|a fossil",
        /* U */ "France|Peru|Kenya|Japan|Norway|Chile|Egypt|India|Cuba|Iceland|Poland|Ghana|Nepal|Canada",
        /* V */ "sleep|sing|swim|dance|migrate|hunt|dream|fly|hide|laugh",
        /* W */ "invented|discovered|built|designed|painted|sold|wrote about|stole",
        /* X */ "Anna|Marco|Elena|Peter|Ivan|Sofia|Clara|Hugo|Nora|Oscar|Laura|Victor",
        /* Y */ "1492|1776|1848|1903|1914|1945|1969|1989|2001",
        /* Z */ "Adams|Bell|Curie|Diaz|Eriksen|Fischer|Garcia|Holm|Ito|Keller|Lang|Moreau"};
    ipr__corpus k;
    ipr__grammar g;
    ipr_text_desc d = IPR_ZERO;
    ipr_index i;
    int j;
    if (!c || c->err) return NULL;
    d.name = "questions";
    ipr__corpus_start(&k, c, "ipr_texts_questions", "built-in", &d);
    if (count < 0) (void)ipr__fail(c, IPR_E_RANGE, k.fn, "%I texts", count);
    for (j = 0; j < 6; j++) (void)ipr__words_find(c, &k.names, labels[j], ipr__strlen(labels[j]), 1);
    g.c = c;
    g.out = &k.text;
    for (j = 0; j < 26; j++) g.rules[j] = rules[j] ? rules[j] : "";
    for (i = 0; i < count && !c->err; i++) {
        const uint64_t n = first + (uint64_t)i;
        const size_t from = k.text.used;
        uint32_t six[6] = {0, 1, 2, 3, 4, 5};
        g.rng = ipr_rng_make(seed ^ (n / 6) * 0x9e3779b97f4a7c15u, IPR__STREAM_DATA, 4);
        ipr_rng_shuffle(&g.rng, six, 6); /* each class once in every six */
        g.rng = ipr_rng_make(seed ^ n * 0x9e3779b97f4a7c15u, IPR__STREAM_DATA, 5);
        ipr__grammar_put(&g, of_class[six[n % 6]], 0);
        (void)ipr__corpus_item(&k, from, (ipr_index)six[n % 6]);
    }
    return ipr__corpus_end(&k);
}

/* The k-th of the parts of s between bars. */
IPR__TOOL void ipr__part(ipr_ctx *c, ipr__buf *out, const char *s, uint32_t k)
{
    for (; k; s++) k -= *s == '|';
    for (; *s && *s != '|'; s++)
        if (!ipr__buf_add(c, out, s, 1)) return;
}

/* A noun phrase in both languages: article or number, adjectives, noun. Returns 1 for a plural. */
IPR__TOOL int ipr__pair_noun(ipr_ctx *c, ipr_rng *r, ipr__buf *en, ipr__buf *fr, const char *const *nouns, uint32_t n)
{
    /* singular and plural, English and French; nouns begin with f or m, and v before a vowel (or mute h) */
    static const char *const adjectives[] = {"black|noir|noire|noirs|noires",
                                             "white|blanc|blanche|blancs|blanches",
                                             "green|vert|verte|verts|vertes",
                                             "tired|fatigu\xc3\xa9|fatigu\xc3\xa9"
                                             "e|fatigu\xc3\xa9s|fatigu\xc3\xa9"
                                             "es",
                                             "happy|heureux|heureuse|heureux|heureuses",
                                             "wet|mouill\xc3\xa9|mouill\xc3\xa9"
                                             "e|mouill\xc3\xa9s|mouill\xc3\xa9"
                                             "es"};
    static const char *const sizes[] = {"little|petit|petite|petits|petites", "big|grand|grande|grands|grandes",
                                        "young|jeune|jeune|jeunes|jeunes"};
    static const char *const some[] = {"two |deux ", "three |trois ", "the |les ", "many |plusieurs "};
    const char *noun = nouns[ipr_rng_below(r, n)], *size, *adjective, *number = some[ipr_rng_below(r, 4)];
    const int female = noun[0] == 'f', vowel = noun[1] == 'v', plural = ipr_rng_below(r, 3) == 0;
    const uint32_t has = ipr_rng_below(r, 4), form = 1u + (uint32_t)female + 2u * (uint32_t)plural;
    const int definite = (int)ipr_rng_below(r, 2);
    size = sizes[ipr_rng_below(r, 3)];
    adjective = adjectives[ipr_rng_below(r, 6)];
    if (plural) {
        ipr__part(c, en, number, 0);
        ipr__part(c, fr, number, 1);
    } else {
        /* the word behind the article decides on its form: no size, adjective or noun here begins with a vowel but v */
        ipr__part(c, en, definite ? "the " : !(has & 3u) && noun[2] == 'n' ? "an " : "a ", 0);
        ipr__part(c, fr, !definite ? "un |une " : vowel && !(has & 1u) ? "l'|l'" : "le |la ", (uint32_t)female);
    }
    if (has & 1u) {
        ipr__part(c, en, size, 0);
        ipr__part(c, en, " ", 0);
        ipr__part(c, fr, size, form);
        ipr__part(c, fr, " ", 0);
    }
    if (has & 2u) {
        ipr__part(c, en, adjective, 0);
        ipr__part(c, en, " ", 0);
    }
    ipr__part(c, en, noun + 4, (uint32_t)plural);
    ipr__part(c, fr, noun + 4, 2u + (uint32_t)plural);
    if (has & 2u) {
        ipr__part(c, fr, " ", 0);
        ipr__part(c, fr, adjective, form);
    }
    return plural;
}

IPR_API IPR__COLD int ipr_texts_pairs(ipr_ctx *c, uint64_t seed, uint64_t first, ipr_index count, ipr_texts **english,
                                      ipr_texts **french)
{
    /* f or m, v before a vowel, n where English takes "an" */
    static const char *const who[] = {"m-- dog|dogs|chien|chiens",
                                      "fv- girl|girls|enfant|enfants",
                                      "m-- boy|boys|gar\xc3\xa7on|gar\xc3\xa7ons",
                                      "mv- man|men|homme|hommes",
                                      "f-- woman|women|femme|femmes",
                                      "m-- cat|cats|chat|chats",
                                      "f-- singer|singers|chanteuse|chanteuses",
                                      "m-- worker|workers|travailleur|travailleurs"};
    static const char *const what[] = {"f-- car|cars|voiture|voitures",
                                       "mvn apple tree|apple trees|arbre|arbres",
                                       "f-- table|tables|table|tables",
                                       "m-- bench|benches|banc|bancs",
                                       "f-- house|houses|maison|maisons",
                                       "m-- boat|boats|bateau|bateaux",
                                       "fv- church|churches|\xc3\xa9glise|\xc3\xa9glises",
                                       "f-- wall|walls|barri\xc3\xa8re|barri\xc3\xa8res"};
    static const char *const verbs[] = {
        "is sleeping|are sleeping|dort|dorment",       "is standing|are standing|se tient|se tiennent",
        "is sitting|are sitting|est assis|sont assis", "is running|are running|court|courent",
        "is waiting|are waiting|attend|attendent",     "is singing|are singing|chante|chantent",
        "is playing|are playing|joue|jouent",          "is smiling|are smiling|sourit|sourient"};
    static const char *const where[] = {" near | pr\xc3\xa8s de ", " in front of | devant ",
                                        " behind | derri\xc3\xa8re ", " on | sur "};
    static const char *const tails[] = {" .| .", " .| .", " in the rain .| sous la pluie .", " at night .| la nuit .",
                                        " in the city .| en ville ."};
    ipr__corpus k[2];
    ipr_text_desc d = IPR_ZERO;
    ipr_index i;
    int j;
    if (english) *english = NULL;
    if (french) *french = NULL;
    if (!c || c->err) return c ? c->err : IPR_E_ARG;
    if (!english || !french || count < 0)
        return ipr__fail(c, IPR_E_ARG, "ipr_texts_pairs", "english or french is NULL, or %I pairs", count);
    for (j = 0; j < 2; j++) {
        d.name = j ? "pairs.fr" : "pairs.en";
        ipr__corpus_start(&k[j], c, "ipr_texts_pairs", "built-in", &d);
    }
    for (i = 0; i < count && !c->err; i++) {
        ipr_rng r = ipr_rng_make(seed ^ (first + (uint64_t)i) * 0x9e3779b97f4a7c15u, IPR__STREAM_DATA, 6);
        ipr__buf *en = &k[0].text, *fr = &k[1].text;
        const size_t e0 = en->used, f0 = fr->used;
        const int plural = ipr__pair_noun(c, &r, en, fr, who, 8);
        const char *verb = verbs[ipr_rng_below(&r, 8)], *prep = where[ipr_rng_below(&r, 4)], *tail;
        ipr__part(c, en, " ", 0);
        ipr__part(c, fr, " ", 0);
        ipr__part(c, en, verb, (uint32_t)plural);
        ipr__part(c, fr, verb, 2u + (uint32_t)plural);
        if (ipr_rng_below(&r, 4)) {
            ipr__part(c, en, prep, 0);
            ipr__part(c, fr, prep, 1);
            (void)ipr__pair_noun(c, &r, en, fr, what, 8);
        }
        tail = tails[ipr_rng_below(&r, 5)];
        ipr__part(c, en, tail, 0);
        ipr__part(c, fr, tail, 1);
        (void)ipr__corpus_item(&k[0], e0, -1);
        (void)ipr__corpus_item(&k[1], f0, -1);
    }
    *english = ipr__corpus_end(&k[0]);
    *french = ipr__corpus_end(&k[1]);
    if (!c->err) return IPR_OK;
    ipr_texts_free(*english);
    ipr_texts_free(*french);
    *english = *french = NULL;
    return c->err;
}

/* ---- finding files ---- */

#if IPR__FILES
/* root/name + tail in out; 0 when it does not fit or is no file. */
IPR__TOOL int ipr__data_try(const char *root, const char *name, const char *tail, char *out, size_t cap)
{
    ipr__text t;
    size_t n = ipr__strlen(root);
    t.buf = out;
    t.cap = cap;
    t.len = 0;
    if (n + ipr__strlen(name) + ipr__strlen(tail) + 2 > cap) return 0;
    ipr__text_s(&t, root);
    if (root[n - 1] != '/' && !(IPR__WIN32 && root[n - 1] == '\\')) ipr__text_c(&t, '/');
    ipr__text_s(&t, name);
    ipr__text_s(&t, tail);
    out[t.len] = 0;
    if (ipr__os_kind(out) == IPR__PATH_FILE) return 1;
    out[0] = 0;
    return 0;
}
#endif

IPR_API IPR__COLD int ipr_data_find(ipr_ctx *c, const char *const *roots, int nroots, const char *name, char *out,
                                    size_t cap)
{
    if (out && cap) out[0] = 0;
    if (!roots || nroots < 0 || !name || !*name || !out || !cap)
        return ipr__fail(c, IPR_E_ARG, "ipr_data_find", "roots, name or out is NULL or empty");
#if IPR__FILES
    {
        int pass, i;
        for (pass = 0; pass < 2; pass++)
            for (i = 0; i < nroots; i++)
                if (roots[i] && roots[i][0] && ipr__data_try(roots[i], name, pass ? ".gz" : "", out, cap))
                    return pass ? IPR_E_FORMAT : IPR_OK;
    }
#endif
    return IPR_E_MISSING;
}

/* ---- images ---- */

enum { IPR__IMAGE_MAX = 1 << 24 }; /* pixels a side: products of sides and weights stay inside 64 bits */

/* Pixels for an image of this size; NULL on error. */
IPR__TOOL uint8_t *ipr__image_make(ipr_ctx *c, const char *fn, ipr_image *im, ipr_index width, ipr_index height,
                                   int channels)
{
    size_t bytes;
    ipr__zero(im, sizeof *im);
    if (ipr_status(c)) return NULL;
    if (width < 1 || height < 1 || width > IPR__IMAGE_MAX || height > IPR__IMAGE_MAX ||
        !ipr__mul((size_t)width, (size_t)height, &bytes) || !ipr__mul(bytes, (size_t)channels, &bytes)) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "an image of %I by %I; sides are 1 to %d", width, height,
                        (int)IPR__IMAGE_MAX);
        return NULL;
    }
    im->owned = ipr__alloc(c, bytes);
    if (!im->owned) return NULL;
    im->width = width;
    im->height = height;
    im->channels = channels;
    im->px = (const uint8_t *)im->owned;
    return (uint8_t *)im->owned;
}

IPR__TOOL int ipr__image_check(ipr_ctx *c, const char *fn, const ipr_image *im)
{
    if (ipr_status(c)) return ipr_status(c);
    if (im && im->px && im->width > 0 && im->height > 0 && im->width <= IPR__IMAGE_MAX &&
        im->height <= IPR__IMAGE_MAX && (im->channels == 1 || im->channels == 3))
        return IPR_OK;
    return ipr__fail(c, IPR_E_ARG, fn, "the image is NULL or empty, or has not 1 or 3 channels");
}

IPR_API IPR__COLD void ipr_image_free(ipr_ctx *c, ipr_image *im)
{
    if (!im) return;
    ipr__free(c, im->owned);
    ipr__zero(im, sizeof *im);
}

/* A number of a PNM header, with the white space and comments before it and the one character behind it.
   -1 on anything else, or over 2^24. */
IPR__TOOL ipr_index ipr__pnm_number(ipr_reader *r)
{
    uint8_t ch = ' ';
    ipr_index v = 0;
    int digits = 0;
    while (ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '#') {
        if (ch == '#')
            while (ch != '\n')
                if (!ipr_reader_left(r) || ipr_reader_read(r, &ch, 1)) return -1;
        if (!ipr_reader_left(r) || ipr_reader_read(r, &ch, 1)) return -1;
    }
    for (; ch >= '0' && ch <= '9'; digits++) {
        v = v * 10 + (ch - '0');
        if (v > IPR__IMAGE_MAX || !ipr_reader_left(r) || ipr_reader_read(r, &ch, 1)) return -1;
    }
    return digits && (ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r') ? v : -1;
}

/* A sample to 0..255, rounded to nearest; one over maxval counts as maxval. */
IPR__TOOL uint8_t ipr__pnm_scale(ipr_index v, ipr_index maxval)
{
    return (uint8_t)((IPR__MIN(v, maxval) * 255 + maxval / 2) / maxval);
}

/* The raster; samples over one byte are big-endian. */
IPR__TOOL int ipr__pnm_pixels(ipr_reader *r, uint8_t *px, size_t n, ipr_index maxval)
{
    uint8_t chunk[512];
    size_t i, k;
    if (maxval < 256) {
        if (ipr_reader_read(r, px, n)) return r->status;
        for (i = 0; maxval != 255 && i < n; i++) px[i] = ipr__pnm_scale(px[i], maxval);
        return IPR_OK;
    }
    for (i = 0; i < n; i += k) {
        size_t at;
        k = IPR__MIN(n - i, sizeof chunk / 2);
        if (ipr_reader_read(r, chunk, k * 2)) return r->status;
        for (at = 0; at < k; at++) px[i + at] = ipr__pnm_scale(ipr__ld16be(chunk + 2 * at), maxval);
    }
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_image_read(ipr_reader *r, ipr_image *out)
{
    uint8_t head[2] = {0, 0};
    ipr_index w, h, maxval;
    size_t n;
    uint8_t *px;
    int channels;
    if (!out) return r ? ipr__fail(r->ctx, IPR_E_ARG, "ipr_image_read", "out is NULL") : IPR_E_ARG;
    ipr__zero(out, sizeof *out);
    if (!r) return IPR_E_ARG;
    if (r->status) return r->status;
    if (ipr_reader_left(r) >= 2 && ipr_reader_read(r, head, 2)) return r->status;
    if (head[0] != 'P' || (head[1] != '5' && head[1] != '6'))
        return r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_image_read",
                                     "%s: no binary PGM or PPM (P5 or P6); convert it first", r->name);
    channels = head[1] == '5' ? 1 : 3;
    w = ipr__pnm_number(r);
    h = w < 1 ? -1 : ipr__pnm_number(r);
    maxval = h < 1 ? -1 : ipr__pnm_number(r);
    if (r->status) return r->status;
    if (maxval < 1 || maxval > 65535)
        return r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_image_read",
                                     "%s: its header has no width, height (1 to %d) and maxval (1 to 65535)", r->name,
                                     (int)IPR__IMAGE_MAX);
    /* 2^24 squared, times 6 at most, stays inside 64 bits */
    if ((uint64_t)w * (uint64_t)h * (uint64_t)channels * (maxval > 255 ? 2u : 1u) > ipr_reader_left(r))
        return r->status = ipr__fail(r->ctx, IPR_E_FORMAT, "ipr_image_read",
                                     "%s: %I by %I pixels, but %U bytes follow; is it truncated?", r->name, w, h,
                                     ipr_reader_left(r));
    px = ipr__image_make(r->ctx, "ipr_image_read", out, w, h, channels);
    n = (size_t)w * (size_t)h * (size_t)channels;
    if (!px) return r->status = ipr_status(r->ctx) ? ipr_status(r->ctx) : IPR_E_NOMEM;
    if (ipr__pnm_pixels(r, px, n, maxval)) ipr_image_free(r->ctx, out);
    return r->status;
}

IPR_API IPR__COLD int ipr_image_load(ipr_ctx *c, const char *path, ipr_image *out)
{
    ipr_reader r;
    int status;
    (void)ipr_reader_file(c, &r, path);
    status = ipr_image_read(&r, out);
    if (!status && ipr_reader_left(&r)) {
        status =
            ipr__fail(c, IPR_E_FORMAT, "ipr_image_load", "%s: %U bytes behind the image", path, ipr_reader_left(&r));
        ipr_image_free(c, out);
    }
    ipr_reader_close(&r);
    return status;
}

IPR_API IPR__COLD int ipr_image_write(ipr_writer *w, const ipr_image *im)
{
    char head[64];
    if (!w) return IPR_E_ARG;
    if (w->status) return w->status;
    if (ipr__image_check(w->ctx, "ipr_image_write", im)) return w->status = ipr_status(w->ctx);
    (void)ipr__fmt(head, sizeof head, "P%d\n%I %I\n255\n", im->channels == 1 ? 5 : 6, im->width, im->height);
    (void)ipr_writer_text(w, head);
    return ipr_writer_write(w, im->px, (size_t)im->width * (size_t)im->height * (size_t)im->channels);
}

IPR_API IPR__COLD int ipr_image_save(ipr_ctx *c, const char *path, const ipr_image *im)
{
    ipr_writer w;
    int status;
    (void)ipr_writer_file(c, &w, path, 0);
    (void)ipr_image_write(&w, im);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return status;
}

/* Where a new pixel's centre falls among n old ones: between old pixels *a and *b, *num / (2 * m) of the way to *b.
   (x + 1/2) n / m - 1/2 = ((2 x + 1) n - m) / (2 m). */
IPR__TOOL void ipr__bilinear_at(ipr_index x, ipr_index n, ipr_index m, ipr_index *a, ipr_index *b, uint64_t *num)
{
    int64_t top = (2 * (int64_t)x + 1) * (int64_t)n - (int64_t)m;
    if (top < 0) top = 0;
    *a = (ipr_index)(top / (2 * (int64_t)m));
    *num = (uint64_t)(top % (2 * (int64_t)m));
    *b = *a + 1 < n ? *a + 1 : n - 1;
}

IPR__TOOL void ipr__resize_bilinear(const ipr_image *im, ipr_index width, ipr_index height, uint8_t *dst)
{
    ipr_index x, y, x0, x1, y0, y1, ch = im->channels, k;
    uint64_t fx, fy, wx = 2 * (uint64_t)width, wy = 2 * (uint64_t)height;
    for (y = 0; y < height; y++) {
        ipr__bilinear_at(y, im->height, height, &y0, &y1, &fy);
        for (x = 0; x < width; x++) {
            ipr__bilinear_at(x, im->width, width, &x0, &x1, &fx);
            for (k = 0; k < ch; k++) {
                uint64_t a = im->px[(y0 * im->width + x0) * ch + k], b = im->px[(y0 * im->width + x1) * ch + k];
                uint64_t d = im->px[(y1 * im->width + x0) * ch + k], e = im->px[(y1 * im->width + x1) * ch + k];
                uint64_t top = a * (wx - fx) + b * fx, low = d * (wx - fx) + e * fx;
                *dst++ = (uint8_t)((top * (wy - fy) + low * fy + wx * wy / 2) / (wx * wy));
            }
        }
    }
}

/* New pixel x of m covers old ones [x n / m, (x + 1) n / m): in units of 1/m, old pixel i is [i m, (i + 1) m). */
IPR__TOOL uint64_t ipr__box_weight(ipr_index i, ipr_index x, ipr_index n, ipr_index m)
{
    int64_t from = IPR__MAX((int64_t)i * m, (int64_t)x * n), to = IPR__MIN(((int64_t)i + 1) * m, ((int64_t)x + 1) * n);
    return to > from ? (uint64_t)(to - from) : 0;
}

/* Sum over the area of new pixel (x, y), channel k, weighted by overlap: below 255 * 2^24 * 2^24, inside 64 bits. */
IPR__TOOL uint64_t ipr__box_sum(const ipr_image *im, ipr_index x, ipr_index y, ipr_index width, ipr_index height,
                                ipr_index k)
{
    ipr_index i0 = (ipr_index)((int64_t)x * im->width / width), j0 = (ipr_index)((int64_t)y * im->height / height);
    ipr_index i1 = (ipr_index)((((int64_t)x + 1) * im->width + width - 1) / width);
    ipr_index j1 = (ipr_index)((((int64_t)y + 1) * im->height + height - 1) / height), i, j;
    uint64_t sum = 0;
    for (j = j0; j < j1; j++) {
        uint64_t row = 0;
        for (i = i0; i < i1; i++)
            row += ipr__box_weight(i, x, im->width, width) * im->px[(j * im->width + i) * im->channels + k];
        sum += row * ipr__box_weight(j, y, im->height, height);
    }
    return sum;
}

/* Exact area means, rounded to nearest: the weights of a pixel add up to the old width times the old height. */
IPR__TOOL void ipr__resize_box(const ipr_image *im, ipr_index width, ipr_index height, uint8_t *dst)
{
    uint64_t all = (uint64_t)im->width * (uint64_t)im->height;
    ipr_index x, y, k;
    for (y = 0; y < height; y++)
        for (x = 0; x < width; x++)
            for (k = 0; k < im->channels; k++)
                *dst++ = (uint8_t)((ipr__box_sum(im, x, y, width, height, k) + all / 2) / all);
}

IPR_API IPR__COLD int ipr_image_resize(ipr_ctx *c, const ipr_image *im, ipr_index width, ipr_index height, int filter,
                                       ipr_image *out)
{
    uint8_t *px;
    if (!out) return ipr__fail(c, IPR_E_ARG, "ipr_image_resize", "out is NULL");
    if (ipr__image_check(c, "ipr_image_resize", im)) {
        ipr__zero(out, sizeof *out);
        return ipr_status(c);
    }
    px = ipr__image_make(c, "ipr_image_resize", out, width, height, im->channels);
    if (!px) return ipr_status(c);
    if (filter == IPR_RESIZE_BOX) ipr__resize_box(im, width, height, px);
    else ipr__resize_bilinear(im, width, height, px);
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_image_grey(ipr_ctx *c, const ipr_image *im, ipr_image *out)
{
    uint8_t *px;
    size_t i, n;
    if (!out) return ipr__fail(c, IPR_E_ARG, "ipr_image_grey", "out is NULL");
    if (ipr__image_check(c, "ipr_image_grey", im)) {
        ipr__zero(out, sizeof *out);
        return ipr_status(c);
    }
    px = ipr__image_make(c, "ipr_image_grey", out, im->width, im->height, 1);
    if (!px) return ipr_status(c);
    n = (size_t)im->width * (size_t)im->height;
    for (i = 0; i < n; i++) {
        const uint8_t *p = im->px + i * (size_t)im->channels;
        px[i] = im->channels == 1 ? *p : (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
    }
    return IPR_OK;
}

IPR_API IPR__COLD ipr_tensor *ipr_image_tensor(ipr_ctx *c, const ipr_image *im)
{
    ipr_real table[256], *dst;
    ipr_index dims[3], i, n;
    ipr_tensor *t;
    int k;
    if (ipr__image_check(c, "ipr_image_tensor", im)) return ipr__poison(c);
    dims[0] = im->channels;
    dims[1] = im->height;
    dims[2] = im->width;
    t = im->channels == 1 ? ipr_new(c, 2, dims + 1) : ipr_new(c, 3, dims);
    dst = ipr_write(c, t, 0);
    if (!dst) return t;
    ipr__byte_table(table);
    n = im->width * im->height;
    for (k = 0; k < im->channels; k++)
        for (i = 0; i < n; i++) *dst++ = table[im->px[i * im->channels + k]];
    return t;
}

IPR_API IPR__COLD int ipr_dataset_image(const ipr_dataset *ds, ipr_index i, ipr_image *out)
{
    const uint8_t *px = ipr_dataset_item_u8(ds, i);
    int colour = ds && ds->rank == 3 && ds->dims[2] == 3, lead = ds && ds->rank == 3 && ds->dims[0] == 1 && !colour;
    if (!out) return ds ? ipr__fail(ds->ctx, IPR_E_ARG, "ipr_dataset_image", "out is NULL") : IPR_E_ARG;
    ipr__zero(out, sizeof *out);
    if (!ds) return IPR_E_ARG;
    if (!px || !(ds->rank == 2 || colour || lead))
        return ipr__fail(ds->ctx, IPR_E_ARG, "ipr_dataset_image",
                         "%s: item %I is out of range, or no bytes [H,W], [1,H,W] or [H,W,3]", ds->name, i);
    out->height = ds->dims[lead];
    out->width = ds->dims[lead + 1];
    out->channels = colour ? 3 : 1;
    out->px = px;
    return IPR_OK;
}

/* ---- digits: pen strokes through jittered points, sheared, turned, scaled, and drawn with a round nib ---- */

/* Points of a stroke in 0..100 from the glyph's top left; 255 ends a stroke, 254 the glyph. Curves pass through
   all points (Catmull and Rom 1974); a corner is where one stroke ends and the next begins. */
#define IPR__PEN_UP  255
#define IPR__PEN_END 254

static const uint8_t ipr__glyphs[] = {
    /* 0 */ 54, 3,   30,  10,  16,  34,  15,  64,  29,  90,  52,  97,  75,  88,  87,  60,  84,  28,  68,
    7,          48,  4,   254, 62,  8,   40,  3,   20,  20,  13,  52,  24,  86,  48,  98,  74,  88,  88,
    56,         80,  20,  58,  5,   40,  14,  254,
    /* 1 */ 52, 2,   51,  50,  49,  98,  254, 32,  24,  46,  14,  55,  2,   255, 55,  2,   53,  50,  52,
    98,         254, 30,  22,  54,  3,   255, 54,  3,   52,  96,  255, 28,  97,  52,  96,  77,  96,  254,
    /* 2 */ 17, 26,  30,  8,   54,  2,   76,  12,  80,  32,  66,  54,  42,  76,  17,  95,  255, 17,  95,
    50,         94,  86,  94,  254, 20,  20,  44,  3,   72,  10,  78,  32,  62,  60,  38,  82,  20,  94,
    13,         84,  24,  75,  46,  86,  68,  96,  88,  88,  254,
    /* 3 */ 18, 14,  42,  2,   70,  9,   74,  28,  60,  42,  40,  47,  255, 40,  47,  68,  53,  82,  70,
    72,         90,  46,  98,  16,  88,  254, 18,  5,   50,  5,   80,  4,   255, 80,  4,   62,  24,  44,
    42,         255, 44,  42,  72,  50,  83,  70,  70,  92,  42,  98,  16,  89,  254,
    /* 4 */ 30, 4,   23,  30,  18,  56,  255, 18,  56,  50,  58,  88,  55,  255, 68,  10,  65,  52,  62,
    98,         254, 62,  3,   38,  34,  12,  66,  255, 12,  66,  48,  66,  88,  64,  255, 62,  3,   62,
    50,         61,  98,  254,
    /* 5 */ 80, 5,   54,  5,   30,  7,   255, 30,  7,   27,  26,  24,  45,  255, 24,  45,  50,  36,  76,
    46,         84,  68,  70,  92,  44,  98,  16,  88,  254, 32,  6,   26,  42,  255, 26,  42,  54,  38,
    78,         54,  78,  78,  56,  97,  20,  92,  255, 32,  6,   58,  7,   82,  2,   254,
    /* 6 */ 70, 4,   46,  16,  27,  42,  18,  70,  28,  92,  52,  98,  74,  88,  80,  70,  68,  54,  46,
    52,         22,  70,  254, 58,  2,   36,  30,  20,  62,  24,  90,  46,  98,  70,  90,  76,  72,  60,
    58,         38,  64,  26,  82,  254,
    /* 7 */ 15, 7,   48,  7,   84,  6,   255, 84,  6,   62,  40,  46,  70,  40,  98,  254, 15,  8,   50,
    7,          84,  6,   255, 84,  6,   60,  48,  44,  98,  255, 36,  52,  76,  49,  254, 18,  22,  19,
    7,          255, 19,  7,   50,  9,   82,  5,   255, 82,  5,   66,  36,  58,  66,  56,  98,  254,
    /* 8 */ 74, 18,  52,  3,   28,  12,  30,  34,  54,  50,  78,  68,  76,  90,  50,  98,  24,  88,  24,
    68,         48,  50,  72,  34,  75,  16,  254, 52,  48,  30,  36,  26,  14,  50,  3,   74,  14,  70,
    36,         50,  48,  24,  64,  20,  86,  50,  98,  80,  86,  76,  62,  52,  48,  254,
    /* 9 */ 76, 24,  58,  5,   34,  8,   21,  28,  30,  46,  54,  46,  74,  26,  255, 76,  20,  73,  60,
    66,         98,  254, 76,  22,  52,  3,   26,  18,  28,  42,  52,  50,  74,  32,  255, 76,  18,  77,
    58,         62,  88,  28,  96,  254};
static const uint8_t ipr__glyph_styles[10] = {2, 3, 2, 2, 2, 2, 2, 3, 2, 2};

/* One digit's style, all in integers: pixels are 1/256, matrix entries 1/4096. */
typedef struct ipr__pen {
    uint8_t *px; /* [28,28] */
    ipr_rng *rng;
    int32_t m[4], cx, cy;  /* glyph units around 50, 50 to pixels / 256 around cx, cy */
    int32_t radius, swell; /* of the nib, 1/256 pixel, and its change along the stroke */
    int32_t jitter;        /* of points, glyph units / 16 */
} ipr__pen;

/* About normal, mean 0, deviation about `unit`: the sum of four uniforms. */
IPR__FN int32_t ipr__bell(ipr_rng *r, int32_t unit)
{
    int32_t s = 0;
    uint32_t v = ipr_rng_u32(r);
    int i;
    for (i = 0; i < 4; i++) s += (int32_t)(v >> (8 * i) & 255u) - 127;
    return s * unit / 148;
}

IPR__FN int32_t ipr__between(ipr_rng *r, int32_t lo, int32_t hi)
{
    return lo + (int32_t)ipr_rng_below(r, (uint32_t)(hi - lo + 1));
}

/* Floor of the square root, one bit at a time. */
IPR__FN uint32_t ipr__isqrt(uint32_t v)
{
    uint32_t root = 0, bit = (uint32_t)1 << 30;
    while (bit > v) bit >>= 2;
    for (; bit; bit >>= 2) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else root >>= 1;
    }
    return root;
}

/* Squared distance, in (1/16 pixel)^2, of pixel centre (px, py) from the segment a to b; all 1/16 pixel. */
IPR__FN uint32_t ipr__segment_d2(int32_t px, int32_t py, const int32_t a[2], const int32_t b[2])
{
    int32_t vx = b[0] - a[0], vy = b[1] - a[1], wx = px - a[0], wy = py - a[1];
    int32_t len2 = vx * vx + vy * vy, dot = vx * wx + vy * wy;
    if (dot > 0 && dot < len2) {
        int64_t cross = (int64_t)vx * wy - (int64_t)vy * wx;
        return (uint32_t)(cross * cross / len2);
    }
    if (dot > 0) {
        wx = px - b[0];
        wy = py - b[1];
    }
    return (uint32_t)(wx * wx + wy * wy);
}

/* Ink along a segment (1/256 pixel): full inside the nib, fading over one pixel at its edge. */
IPR__FN void ipr__pen_segment(ipr__pen *p, const int32_t from[2], const int32_t to[2], int32_t radius)
{
    int32_t a[2], b[2], reach = radius / 256 + 2, x, y, k, lo[2], hi[2];
    uint32_t edge = (uint32_t)(radius + 128) * (uint32_t)(radius + 128); /* no ink from here on */
    for (k = 0; k < 2; k++) {
        int32_t least = IPR__MIN(from[k], to[k]) / 256 - reach, most = IPR__MAX(from[k], to[k]) / 256 + reach;
        a[k] = from[k] / 16;
        b[k] = to[k] / 16;
        lo[k] = IPR__MAX(least, 0);
        hi[k] = IPR__MIN(most, 27);
    }
    for (y = lo[1]; y <= hi[1]; y++)
        for (x = lo[0]; x <= hi[0]; x++) {
            uint32_t d2 = ipr__segment_d2(x * 16 + 8, y * 16 + 8, a, b) * 256u;
            int32_t ink;
            if (d2 >= edge) continue;
            ink = radius + 128 - (int32_t)ipr__isqrt(d2);
            if (ink > 255) ink = 255;
            if (ink > p->px[y * 28 + x]) p->px[y * 28 + x] = (uint8_t)ink;
        }
}

/* One coordinate of the Catmull-Rom curve between q[1] and q[2] at k/8. */
IPR__FN int32_t ipr__spline(const int32_t q[4][2], int axis, int32_t k)
{
    int32_t p0 = q[0][axis], p1 = q[1][axis], p2 = q[2][axis], p3 = q[3][axis];
    int32_t a = 2 * p1, b = p2 - p0, c = 2 * p0 - 5 * p1 + 4 * p2 - p3, d = 3 * p1 - p0 - 3 * p2 + p3;
    return (a * 512 + b * k * 64 + c * k * k * 8 + d * k * k * k) / 1024;
}

/* The stroke through points pt[0..n-1] (1/256 pixel); ends continue straight on. */
IPR__FN void ipr__pen_stroke(ipr__pen *p, int32_t pt[16][2], int n)
{
    int32_t q[4][2], last[2], next[2], k, radius;
    int i, j, axis;
    for (i = 0; i + 1 < n; i++) {
        for (j = 0; j < 4; j++)
            for (axis = 0; axis < 2; axis++) {
                int at = i - 1 + j;
                q[j][axis] = at < 0    ? 2 * pt[0][axis] - pt[1][axis]
                             : at >= n ? 2 * pt[n - 1][axis] - pt[n - 2][axis]
                                       : pt[at][axis];
            }
        last[0] = q[1][0];
        last[1] = q[1][1];
        radius = p->radius + p->swell * (2 * i - n + 2) / n;
        for (k = 1; k <= 8; k++) {
            for (axis = 0; axis < 2; axis++) next[axis] = ipr__spline((const int32_t(*)[2])q, axis, k);
            ipr__pen_segment(p, last, next, IPR__MAX(radius, 100));
            last[0] = next[0];
            last[1] = next[1];
        }
    }
}

/* The n-th style of a digit in the table. */
IPR__FN const uint8_t *ipr__glyph(int digit, int style)
{
    const uint8_t *g = ipr__glyphs;
    int skip = style, i;
    for (i = 0; i < digit; i++) skip += ipr__glyph_styles[i];
    while (skip)
        if (*g++ == IPR__PEN_END) skip--;
    return g;
}

/* Draw all strokes of a glyph. A point that two strokes share is jittered once, so corners stay closed. */
IPR__FN void ipr__pen_glyph(ipr__pen *p, const uint8_t *g)
{
    int32_t pt[16][2], jx = 0, jy = 0;
    int n = 0;
    const uint8_t *before = NULL;
    for (;; g += 2) {
        int32_t x, y;
        if (*g == IPR__PEN_UP || *g == IPR__PEN_END) {
            ipr__pen_stroke(p, pt, n);
            if (*g == IPR__PEN_END) return;
            before = g - 2;
            n = 0;
            g++;
        }
        if (!before || n || before[0] != g[0] || before[1] != g[1]) {
            jx = ipr__bell(p->rng, p->jitter);
            jy = ipr__bell(p->rng, p->jitter);
        }
        x = (int32_t)(g[0] - 50) * 16 + jx;
        y = (int32_t)(g[1] - 50) * 16 + jy;
        pt[n][0] = p->cx + (p->m[0] * x + p->m[1] * y) / 4096;
        pt[n][1] = p->cy + (p->m[2] * x + p->m[3] * y) / 4096;
        n++;
    }
}

/* Size, slant, turn and place of one digit, and its nib. */
IPR__FN void ipr__pen_style(ipr__pen *p)
{
    /* 16 * 100 glyph units to 20 pixels * 256 is 3.2 a unit, 13107 in 1/4096 */
    int32_t high = ipr__between(p->rng, 9600, 14400), wide = high * ipr__between(p->rng, 58, 106) / 100;
    int32_t slant = ipr__bell(p->rng, 900) - 500, turn = ipr__bell(p->rng, 560); /* 1/4096 */
    int32_t cosine = 4096 - turn * turn / 8192;                                  /* 1 - t^2 / 2; the sine is t */
    int32_t sx = slant * high / 4096;
    p->m[0] = (int32_t)((int64_t)wide * cosine / 4096);
    p->m[1] = (int32_t)(((int64_t)sx * cosine - (int64_t)high * turn) / 4096);
    p->m[2] = (int32_t)((int64_t)wide * turn / 4096);
    p->m[3] = (int32_t)(((int64_t)sx * turn + (int64_t)high * cosine) / 4096);
    p->cx = 14 * 256 + ipr__bell(p->rng, 420);
    p->cy = 14 * 256 + ipr__bell(p->rng, 380);
    p->radius = ipr__between(p->rng, 190, 400);
    p->swell = ipr__between(p->rng, -70, 70);
    p->jitter = ipr__between(p->rng, 30, 104);
}

/* Mix every pixel with the 3 by 3 binomial mean of its neighbours, weight / 16. */
IPR__FN void ipr__soften(uint8_t px[784], int32_t weight)
{
    uint8_t old[784];
    int x, y, i, j;
    ipr__copy(old, px, 784);
    for (y = 1; y < 27; y++)
        for (x = 1; x < 27; x++) {
            int32_t sum = 0;
            for (j = -1; j <= 1; j++)
                for (i = -1; i <= 1; i++) sum += old[(y + j) * 28 + x + i] * (2 - i * i) * (2 - j * j);
            px[y * 28 + x] = (uint8_t)((old[y * 28 + x] * (16 - weight) * 16 + sum * weight + 128) / 256);
        }
}

/* Ink of some strength on paper with some grain. */
IPR__FN void ipr__grain(uint8_t px[784], ipr_rng *r, int32_t ink, int32_t noise)
{
    uint32_t bits = 0;
    int i;
    for (i = 0; i < 784; i++) {
        int32_t v;
        bits = i & 3 ? bits >> 8 : ipr_rng_u32(r);
        v = px[i] * ink / 255 + ((int32_t)(bits & 255u) - 128) * noise / 128;
        px[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

/* Every ten items from a multiple of ten are a permutation of the ten digits. */
IPR__FN int ipr__digit_label(uint64_t seed, uint64_t i)
{
    ipr_rng r = ipr_rng_make(seed, IPR__STREAM_DATA, 2);
    uint32_t order[10];
    int k;
    for (k = 0; k < 10; k++) order[k] = (uint32_t)k;
    r.index = i / 10 * 16;
    ipr_rng_shuffle(&r, order, 10);
    return (int)order[i % 10];
}

IPR_API int ipr_digit_draw(uint64_t seed, uint64_t i, uint8_t out[784])
{
    int label = ipr__digit_label(seed, i);
    ipr_rng r = ipr_rng_make(seed, IPR__STREAM_DATA, 3);
    int32_t ink, noise;
    ipr__pen p;
    r.index = i * 512; /* a digit uses fewer than 512 blocks of four words */
    ipr__zero(out, 784);
    ipr__zero(&p, sizeof p);
    p.px = out;
    p.rng = &r;
    ipr__pen_style(&p);
    ipr__pen_glyph(&p, ipr__glyph(label, (int)ipr_rng_below(&r, ipr__glyph_styles[label])));
    ipr__soften(out, ipr__between(&r, 0, 12));
    noise = ipr__between(&r, 0, 44); /* one draw a statement: C does not order arguments */
    ink = ipr__between(&r, 150, 255);
    ipr__grain(out, &r, ink, noise);
    return label;
}

enum { IPR__DIGITS_EACH = 64 }; /* digits one worker draws at a time */
typedef struct ipr__digits_job {
    uint64_t seed, first;
    ipr_index count;
    uint8_t *px;
    int32_t *labels;
} ipr__digits_job;

IPR__FN void ipr__digits_task(void *arg, int item, int worker)
{
    const ipr__digits_job *job = (const ipr__digits_job *)arg;
    ipr_index i = (ipr_index)item * IPR__DIGITS_EACH, end = IPR__MIN(i + IPR__DIGITS_EACH, job->count);
    (void)worker;
    for (; i < end; i++) job->labels[i] = ipr_digit_draw(job->seed, job->first + (uint64_t)i, job->px + i * 784);
}

IPR_API IPR__COLD ipr_dataset *ipr_dataset_digits(ipr_ctx *c, uint64_t seed, uint64_t first, ipr_index count)
{
    const ipr_index dims[2] = {28, 28};
    ipr__digits_job job;
    ipr_dataset *d =
        ipr__dataset_make(c, "ipr_dataset_digits", "digits", "built-in rendered digits (no files)", count, 2, dims);
    if (!d) return NULL;
    d->own_items = ipr__alloc(c, (size_t)count * 784 + 1);
    d->own_labels = ipr__alloc(c, ((size_t)count + 1) * sizeof(int32_t));
    if (!d->own_items || !d->own_labels) {
        ipr_dataset_free(d);
        return NULL;
    }
    d->u8 = job.px = (uint8_t *)d->own_items;
    d->labels = job.labels = (int32_t *)d->own_labels;
    d->classes = 10;
    job.seed = seed;
    job.first = first;
    job.count = count;
    ipr__par(c, (int)((count + IPR__DIGITS_EACH - 1) / IPR__DIGITS_EACH), ipr__digits_task, &job);
    return d;
}
#endif /* IPR_FLOOR_MAX >= 8 */

#if IPR_FLOOR_MAX >= 9 && !defined(IPR_NO_TRAIN)
/* ==== FLOOR 9: TRAIN ==================================================================== >>train
   From gradients to a trained model: optimisers, clipping, schedules, metrics, progress, and the fit loop
   with checkpoints from which a run goes on bit by bit.
   Hands up: ipr_opt_*, ipr_sched_*, ipr_confusion_*, ipr_progress_*, ipr_fit. */

/* ---- optimisers ---- */

enum {
    IPR__OPT_CHUNK = 8192, /* elements of one work item: fixed, so that the split never changes bits */
    IPR__OPT_ALONE = 65536
}; /* below this waking the workers costs more than it gains */

typedef struct ipr__slot { /* one parameter */
    const ipr__named *named;
    ipr_real *m, *v;     /* Adam's moments; SGD: m is the momentum buffer. NULL until the first gradient */
    uint64_t steps;      /* updates this parameter had: those without a gradient do not count */
    double bias1, bias2; /* of the running step */
    int first_chunk, active;
} ipr__slot;

struct ipr_opt {
    ipr_ctx *c;
    ipr_params *p;
    ipr_opt_desc d;
    double lr;
    uint64_t steps;
    int count;
    ipr__slot *slot;
    ipr__arena arena; /* slots and moments */
};

/* Zero is the default, a negative number is zero. */
IPR__FN double ipr__or(double v, double otherwise) { return v < 0 ? 0 : v > 0 ? v : ipr__isnan(v) ? v : otherwise; }

IPR__TOOL ipr_opt_desc ipr__opt_defaults(const ipr_opt_desc *d)
{
    ipr_opt_desc r = IPR_ZERO;
    if (d) r = *d;
    if (!(r.lr < 0)) r.lr = ipr__or(r.lr, 1e-3);
    r.weight_decay = ipr__or(r.weight_decay, r.kind == IPR_OPT_ADAMW ? 0.01 : 0);
    if (r.kind == IPR_OPT_SGD) return r;
    r.beta1 = ipr__or(r.beta1, 0.9);
    r.beta2 = ipr__or(r.beta2, 0.999);
    r.eps = ipr__or(r.eps, 1e-8);
    return r;
}

IPR__TOOL int ipr__opt_check(ipr_ctx *c, const ipr_opt_desc *d)
{
    const char *fn = "ipr_opt_new";
    if (d->kind < IPR_OPT_ADAM || d->kind > IPR_OPT_SGD)
        return ipr__fail(c, IPR_E_ARG, fn, "kind %d; use one of IPR_OPT_*", d->kind);
    if (!(d->lr >= 0) || !ipr__finite(d->lr))
        return ipr__fail(c, IPR_E_RANGE, fn, "lr = %g; it must be positive", d->lr);
    if (!ipr__finite(d->weight_decay))
        return ipr__fail(c, IPR_E_RANGE, fn, "weight_decay = %g; it must be finite", d->weight_decay);
    if (d->kind != IPR_OPT_SGD) {
        if (!(d->beta1 < 1) || !(d->beta2 < 1))
            return ipr__fail(c, IPR_E_RANGE, fn, "betas %g, %g; both must be below 1", d->beta1, d->beta2);
        if (!ipr__finite(d->eps)) return ipr__fail(c, IPR_E_RANGE, fn, "eps = %g; it must be finite", d->eps);
        return IPR_OK;
    }
    if (!(d->momentum >= 0) || !ipr__finite(d->momentum) || !ipr__finite(d->dampening))
        return ipr__fail(c, IPR_E_RANGE, fn, "momentum %g, dampening %g; both must be finite, momentum 0 or more",
                         d->momentum, d->dampening);
    if (d->nesterov && (!(d->momentum > 0) || d->dampening < 0 || d->dampening > 0))
        return ipr__fail(c, IPR_E_ARG, fn,
                         "Nesterov with momentum %g, dampening %g; it needs momentum > 0 and dampening 0", d->momentum,
                         d->dampening);
    return IPR_OK;
}

IPR_API IPR__COLD ipr_opt *ipr_opt_new(ipr_params *p, const ipr_opt_desc *d)
{
    ipr_ctx *c = ipr_params_ctx(p);
    const ipr_opt_desc r = ipr__opt_defaults(d);
    const ipr__named *k;
    ipr_opt *o;
    int i = 0;
    if (!p || c->err || ipr__opt_check(c, &r)) return NULL;
    o = (ipr_opt *)ipr__alloc(c, sizeof *o);
    if (!o) return NULL;
    ipr__zero(o, sizeof *o);
    o->c = c;
    o->p = p;
    o->d = r;
    o->lr = r.lr;
    o->count = p->count;
    ipr__arena_init(c, &o->arena, 8192);
    o->slot = (ipr__slot *)ipr__arena_get(&o->arena, (size_t)(o->count + 1) * sizeof *o->slot);
    if (!o->slot) {
        ipr__free(c, o);
        return NULL;
    }
    ipr__zero(o->slot, (size_t)(o->count + 1) * sizeof *o->slot);
    for (k = p->first; k; k = k->next) o->slot[i++].named = k;
    return o;
}

IPR_API IPR__COLD void ipr_opt_free(ipr_opt *o)
{
    if (!o) return;
    ipr__arena_free(&o->arena, 1);
    ipr__free(o->c, o);
}

IPR_API double ipr_opt_lr(const ipr_opt *o) { return o ? o->lr : 0; }
IPR_API uint64_t ipr_opt_steps(const ipr_opt *o) { return o ? o->steps : 0; }
IPR_API ipr_params *ipr_opt_params(const ipr_opt *o) { return o ? o->p : NULL; }

IPR_API IPR__COLD ipr_opt_desc ipr_opt_resolved(const ipr_opt *o)
{
    ipr_opt_desc z = IPR_ZERO;
    return o ? o->d : z;
}

IPR_API IPR__COLD int ipr_opt_set_lr(ipr_opt *o, double lr)
{
    if (!o) return IPR_E_ARG;
    if (!(lr >= 0) || !ipr__finite(lr))
        return ipr__fail(o->c, IPR_E_RANGE, "ipr_opt_set_lr", "lr = %g; it must be 0 or more, and finite", lr);
    o->lr = lr;
    return IPR_OK;
}

/* Does this parameter take part? In PyTorch's words: requires_grad, and grad is not None. */
IPR__FN int ipr__has_grad(const ipr_tensor *t) { return t->s->needs && t->s->grad; }

/* Its moments; 0 when memory is out. */
IPR__FN int ipr__slot_state(ipr_opt *o, ipr__slot *s)
{
    const size_t bytes = (size_t)s->named->t->n * sizeof(ipr_real);
    const int adam = o->d.kind != IPR_OPT_SGD;
    if (!s->m && (adam || o->d.momentum > 0)) {
        s->m = (ipr_real *)ipr__arena_get(&o->arena, bytes);
        if (!s->m) return 0;
        ipr__zero(s->m, bytes);
    }
    if (!s->v && adam) {
        s->v = (ipr_real *)ipr__arena_get(&o->arena, bytes);
        if (!s->v) return 0;
        ipr__zero(s->v, bytes);
    }
    return 1;
}

/* Everything that can fail, and the work list: *chunks items. Changes no value. */
IPR__FN int ipr__opt_prepare(ipr_opt *o, int *chunks, ipr_index *elements)
{
    int i;
    *chunks = 0;
    *elements = 0;
    if (o->count != o->p->count)
        return ipr__fail(o->c, IPR_E_STATE, "ipr_opt_step",
                         "the set has %d parameters, %d when the optimiser was made; make it after the last one",
                         o->p->count, o->count);
    for (i = 0; i < o->count; i++) {
        ipr__slot *s = &o->slot[i];
        const ipr_index n = s->named->t->n;
        s->first_chunk = *chunks;
        s->active = ipr__has_grad(s->named->t);
        if (!s->active) continue;
        if (!ipr__slot_state(o, s)) return o->c->err;
        if (n / IPR__OPT_CHUNK >= 0x7fffffff - *chunks)
            return ipr__fail(o->c, IPR_E_RANGE, "ipr_opt_step", "%I elements are too many", n);
        *chunks += (int)((n + IPR__OPT_CHUNK - 1) / IPR__OPT_CHUNK);
        *elements += n;
    }
    return IPR_OK;
}

/* The slot that a chunk belongs to: the last one that starts at or before it. */
IPR__FN ipr__slot *ipr__slot_of(ipr_opt *o, int chunk)
{
    int lo = 0, hi = o->count;
    while (hi - lo > 1) {
        const int mid = lo + (hi - lo) / 2;
        if (o->slot[mid].first_chunk <= chunk) lo = mid;
        else hi = mid;
    }
    return &o->slot[lo];
}

typedef struct ipr__opt_job {
    ipr_opt *o;
    double scale;
} ipr__opt_job;

IPR__FN void ipr__adam_chunk(const ipr_opt *o, const ipr__slot *s, ipr_index at, ipr_index n, double scale)
{
    ipr__adam_args a;
    a.lr = o->lr;
    a.beta1 = o->d.beta1;
    a.beta2 = o->d.beta2;
    a.eps = o->d.eps;
    a.bias1 = s->bias1;
    a.bias2 = s->bias2;
    a.decay_l2 = o->d.kind == IPR_OPT_ADAM ? o->d.weight_decay : 0;
    a.decay_w = o->d.kind == IPR_OPT_ADAMW ? o->d.weight_decay : 0;
    a.grad_scale = scale;
    o->c->kern->adam(n, ipr__wr(s->named->t) + at, ipr__grad_of(s->named->t) + at, s->m + at, s->v + at, &a);
}

IPR__FN void ipr__sgd_chunk(const ipr_opt *o, const ipr__slot *s, ipr_index at, ipr_index n, double scale)
{
    ipr__sgd_args a;
    a.lr = o->lr;
    a.momentum = o->d.momentum;
    a.dampening = o->d.dampening;
    a.decay_l2 = o->d.weight_decay;
    a.grad_scale = scale;
    a.nesterov = o->d.nesterov;
    a.first = s->steps == 1;
    o->c->kern->sgd(n, ipr__wr(s->named->t) + at, ipr__grad_of(s->named->t) + at, s->m ? s->m + at : NULL, &a);
}

IPR__FN void ipr__opt_task(void *arg, int item, int worker)
{
    const ipr__opt_job *j = (const ipr__opt_job *)arg;
    const ipr__slot *s = ipr__slot_of(j->o, item);
    const ipr_index at = (ipr_index)(item - s->first_chunk) * IPR__OPT_CHUNK;
    const ipr_index n = IPR__MIN(s->named->t->n - at, (ipr_index)IPR__OPT_CHUNK);
    (void)worker;
    if (j->o->d.kind == IPR_OPT_SGD) ipr__sgd_chunk(j->o, s, at, n, j->scale);
    else ipr__adam_chunk(j->o, s, at, n, j->scale);
}

/* One update from gradients times scale. */
IPR__FN int ipr__opt_apply(ipr_opt *o, double scale)
{
    ipr__opt_job job;
    ipr_index elements;
    unsigned mode;
    int i, chunks;
    if (o->c->err) return o->c->err;
    if (ipr__opt_prepare(o, &chunks, &elements)) return o->c->err;
    for (i = 0; i < o->count; i++) {
        ipr__slot *s = &o->slot[i];
        if (!s->active) continue;
        s->steps++;
        if (o->d.kind == IPR_OPT_SGD) continue;
        s->bias1 = 1.0 - ipr__dpow_i(o->d.beta1, (int)IPR__MIN(s->steps, (uint64_t)0x7fffffff));
        s->bias2 = 1.0 - ipr__dpow_i(o->d.beta2, (int)IPR__MIN(s->steps, (uint64_t)0x7fffffff));
    }
    job.o = o;
    job.scale = scale;
    mode = ipr__ftz(o->c);
    if (elements < IPR__OPT_ALONE)
        for (i = 0; i < chunks; i++) ipr__opt_task(&job, i, 0);
    else ipr__par(o->c, chunks, ipr__opt_task, &job);
    ipr__ftz_end(mode);
    o->steps++;
    ipr_params_zero_grad(o->p);
    return IPR_OK;
}

IPR_API int ipr_opt_step(ipr_opt *o) { return o ? ipr__opt_apply(o, 1.0) : IPR_E_ARG; }

/* ---- gradients: access, norm, clipping ---- */

IPR_API ipr_real *ipr_grad_write(ipr_ctx *c, ipr_tensor *t)
{
    return ipr__mappable(c, "ipr_grad_write", t, IPR_T_REAL) ? ipr__grad_acc(c, t) : NULL;
}

/* Norm of all gradients together; -1 on error. */
IPR__FN double ipr__norm(ipr_params *p, const char *fn)
{
    const ipr__named *k;
    char show[72];
    double sum = 0;
    if (!p || p->c->err) return -1;
    for (k = p->first; k; k = k->next) {
        double s;
        if (!ipr__has_grad(k->t)) continue;
        s = p->c->kern->sumsq(k->t->n, ipr__grad_of(k->t));
        if (!ipr__finite(s)) {
            (void)ipr__fail(p->c, IPR_E_NUMERIC, fn,
                            "the gradient of \"%s\" holds NaN or infinity; lower the learning rate, or look for "
                            "a division by zero or a log of zero in the loss",
                            ipr__show(show, k->name));
            return -1;
        }
        sum += s;
    }
    return ipr__dsqrt(sum);
}

/* torch.nn.utils.clip_grad_norm_ */
IPR__FN double ipr__clip_factor(double norm, double max_norm) { return IPR__MIN(1.0, max_norm / (norm + 1e-6)); }

IPR_API double ipr_grad_norm(ipr_params *p) { return ipr__norm(p, "ipr_grad_norm"); }

IPR_API double ipr_clip_grad_norm(ipr_params *p, double max_norm)
{
    const ipr__named *k;
    double norm, f;
    if (!p || p->c->err) return -1;
    if (!(max_norm >= 0)) {
        (void)ipr__fail(p->c, IPR_E_RANGE, "ipr_clip_grad_norm", "max_norm = %g; it must be 0 or more", max_norm);
        return -1;
    }
    norm = ipr__norm(p, "ipr_clip_grad_norm");
    if (norm < 0) return -1;
    f = ipr__clip_factor(norm, max_norm);
    for (k = p->first; k && f < 1; k = k->next)
        if (ipr__has_grad(k->t)) p->c->kern->scale(k->t->n, IPR__R(f), k->t->s->grad, k->t->s->grad);
    return norm;
}

/* ---- schedules (torch.optim.lr_scheduler) ---- */

IPR__TOOL ipr_sched_desc ipr__sched_defaults(const ipr_sched_desc *d, int epochs)
{
    ipr_sched_desc r = *d;
    r.gamma = ipr__or(r.gamma, 0.1);
    if (r.kind == IPR_SCHED_COSINE && r.t_max == 0) r.t_max = epochs;
    r.patience = r.patience < 0 ? 0 : r.patience ? r.patience : 10;
    r.threshold = ipr__or(r.threshold, 1e-4);
    return r;
}

IPR__TOOL int ipr__sched_check(ipr_ctx *c, const ipr_sched_desc *d)
{
    const char *fn = "ipr_fit";
    int i;
    if (d->kind < IPR_SCHED_CONSTANT || d->kind > IPR_SCHED_COSINE)
        return ipr__fail(c, IPR_E_ARG, fn, "schedule kind %d; use one of IPR_SCHED_*", d->kind);
    if (!ipr__finite(d->gamma) || !(d->lr_min >= 0) || !ipr__finite(d->threshold))
        return ipr__fail(c, IPR_E_RANGE, fn,
                         "schedule with gamma %g, lr_min %g, threshold %g; all must be finite, lr_min 0 or more",
                         d->gamma, d->lr_min, d->threshold);
    if (d->kind == IPR_SCHED_STEP && d->step_size < 1)
        return ipr__fail(c, IPR_E_RANGE, fn, "step_size %d; at least 1 epoch is needed", d->step_size);
    if (d->kind == IPR_SCHED_COSINE && d->t_max < 1)
        return ipr__fail(c, IPR_E_RANGE, fn, "t_max %d; at least 1 epoch is needed", d->t_max);
    if (d->cooldown < 0) return ipr__fail(c, IPR_E_RANGE, fn, "cooldown %d; it must be 0 or more", d->cooldown);
    for (i = 0; d->kind == IPR_SCHED_MULTISTEP && i < IPR_SCHED_MILESTONES && d->milestones[i]; i++)
        if (d->milestones[i] < 0 || (i && d->milestones[i] <= d->milestones[i - 1]))
            return ipr__fail(c, IPR_E_RANGE, fn, "milestone %d; they must be positive and increase", d->milestones[i]);
    return IPR_OK;
}

/* How many decays an epoch has behind it. */
IPR__TOOL int ipr__sched_decays(const ipr_sched_desc *d, int epoch)
{
    int n = 0;
    if (d->kind == IPR_SCHED_STEP) return d->step_size > 0 ? epoch / d->step_size : 0;
    while (n < IPR_SCHED_MILESTONES && d->milestones[n] > 0 && d->milestones[n] <= epoch) n++;
    return n;
}

IPR_API IPR__COLD double ipr_sched_lr(const ipr_sched_desc *desc, double base_lr, int epoch, const ipr_sched_state *s)
{
    ipr_sched_desc d;
    double lr = base_lr;
    int n;
    if (!desc) return base_lr;
    d = ipr__sched_defaults(desc, 1);
    switch (d.kind) {
    case IPR_SCHED_STEP:
    case IPR_SCHED_MULTISTEP:
        for (n = ipr__sched_decays(&d, epoch); n > 0 && lr > 0; n--) lr *= d.gamma; /* as PyTorch chains it */
        return lr;
    case IPR_SCHED_PLATEAU: return s && s->started ? s->lr : base_lr;
    case IPR_SCHED_COSINE:
        return d.lr_min + (base_lr - d.lr_min) * (1.0 + ipr__dcos2pi(0.5 * (double)epoch / (double)d.t_max)) / 2.0;
    default: return base_lr;
    }
}

IPR__TOOL int ipr__sched_better(const ipr_sched_desc *d, double v, double best)
{
    const double t = d->threshold;
    if (d->maximize) return v > (d->threshold_abs ? best + t : best * (1.0 + t));
    return v < (d->threshold_abs ? best - t : best * (1.0 - t));
}

IPR_API IPR__COLD void ipr_sched_report(const ipr_sched_desc *desc, double base_lr, ipr_sched_state *s, double metric)
{
    ipr_sched_desc d;
    double lower;
    if (!desc || !s || desc->kind != IPR_SCHED_PLATEAU) return;
    d = ipr__sched_defaults(desc, 1);
    if (!s->started) {
        s->started = 1;
        s->lr = base_lr;
        s->best = d.maximize ? -ipr__dinf() : ipr__dinf();
    }
    if (ipr__sched_better(&d, metric, s->best)) {
        s->best = metric;
        s->bad = 0;
    } else s->bad++;
    if (s->cooldown > 0) {
        s->cooldown--;
        s->bad = 0;
    }
    if (s->bad <= d.patience) return;
    lower = IPR__MAX(s->lr * d.gamma, d.lr_min);
    if (s->lr - lower > 1e-8) s->lr = lower; /* ReduceLROnPlateau's eps */
    s->cooldown = d.cooldown;
    s->bad = 0;
}

/* ---- metrics ---- */

IPR__TOOL int ipr__judge_check(ipr_ctx *c, const char *fn, const ipr_tensor *logits, const ipr_tensor *labels)
{
    char s1[96], s2[96];
    if (!c) return IPR_E_ARG;
    if (!ipr__mappable(c, fn, logits, IPR_T_REAL) || !ipr__mappable(c, fn, labels, IPR_T_I32))
        return c->err ? c->err : IPR_E_ARG;
    if (logits->rank != 2 || labels->rank != 1 || logits->dim[0] != labels->dim[0])
        return ipr__fail(c, IPR_E_SHAPE, fn, "logits %s, labels %s; [N,C] and [N] are needed", ipr__shape(logits, s1),
                         ipr__shape(labels, s2));
    return IPR_OK;
}

IPR__FN int ipr__row_argmax(const ipr_tensor *logits, ipr_index row)
{
    const ipr_index w = logits->dim[1];
    const ipr_real *p = ipr__rd(logits) + row * w;
    ipr_index i, best = 0;
    for (i = 1; i < w; i++)
        if (p[i] > p[best]) best = i;
    return (int)best;
}

IPR_API ipr_index ipr_count_correct(ipr_ctx *c, const ipr_tensor *logits, const ipr_tensor *labels, ipr_index *seen)
{
    ipr_index i, n = 0, right = 0;
    if (seen) *seen = 0;
    if (ipr__judge_check(c, "ipr_count_correct", logits, labels)) return -1;
    for (i = 0; i < labels->n; i++) {
        const int32_t label = ipr__rdi(labels)[i];
        if (label == -100) continue;
        n++;
        right += ipr__row_argmax(logits, i) == label;
    }
    if (seen) *seen = n;
    return right;
}

IPR__FN double ipr__percent(double part, double whole) { return whole > 0 ? 100.0 * part / whole : ipr__dnan(); }

IPR_API double ipr_accuracy(ipr_ctx *c, const ipr_tensor *logits, const ipr_tensor *labels)
{
    ipr_index seen, right = ipr_count_correct(c, logits, labels, &seen);
    return ipr__percent((double)right, (double)seen);
}

IPR_API IPR__COLD int ipr_confusion_init(ipr_ctx *c, ipr_confusion *m, int classes)
{
    size_t bytes;
    if (!m) return ipr__fail(c, IPR_E_ARG, "ipr_confusion_init", "the matrix is NULL");
    ipr__zero(m, sizeof *m);
    if (!c) return IPR_E_ARG;
    if (c->err) return c->err;
    if (classes < 1 || !ipr__mul((size_t)classes, (size_t)classes, &bytes) ||
        !ipr__mul(bytes, sizeof(ipr_index), &bytes))
        return ipr__fail(c, IPR_E_RANGE, "ipr_confusion_init", "%d classes", classes);
    m->counts = (ipr_index *)ipr__alloc(c, bytes);
    if (!m->counts) return c->err;
    m->c = c;
    m->classes = classes;
    ipr__zero(m->counts, bytes);
    return IPR_OK;
}

IPR_API IPR__COLD void ipr_confusion_free(ipr_confusion *m)
{
    if (!m) return;
    ipr__free(m->c, m->counts);
    ipr__zero(m, sizeof *m);
}

IPR_API IPR__COLD void ipr_confusion_reset(ipr_confusion *m)
{
    if (m) ipr__zero(m->counts, (size_t)m->classes * (size_t)m->classes * sizeof *m->counts);
}

IPR__FN int ipr__is_class(const ipr_confusion *m, int k) { return m && k >= 0 && k < m->classes; }

IPR_API int ipr_confusion_add_pair(ipr_confusion *m, int truth, int predicted)
{
    if (!m || !m->c) return IPR_E_ARG;
    if (!ipr__is_class(m, truth) || !ipr__is_class(m, predicted))
        return ipr__fail(m->c, IPR_E_RANGE, "ipr_confusion_add", "class %d predicted as %d; classes are 0..%d", truth,
                         predicted, m->classes - 1);
    m->counts[(ipr_index)truth * m->classes + predicted]++;
    return IPR_OK;
}

IPR_API int ipr_confusion_add(ipr_confusion *m, const ipr_tensor *logits, const ipr_tensor *labels)
{
    const char *fn = "ipr_confusion_add";
    ipr_index i;
    if (!m || !m->c) return IPR_E_ARG;
    if (m->c->err) return m->c->err;
    if (ipr__judge_check(m->c, fn, logits, labels)) return m->c->err ? m->c->err : IPR_E_ARG;
    if (logits->dim[1] != m->classes)
        return ipr__fail(m->c, IPR_E_SHAPE, fn, "logits for %I classes, a matrix of %d", logits->dim[1], m->classes);
    for (i = 0; i < labels->n; i++)
        if (ipr__rdi(labels)[i] != -100 && !ipr__is_class(m, ipr__rdi(labels)[i]))
            return ipr__fail(m->c, IPR_E_RANGE, fn, "label %d at %I; classes are 0..%d", (int)ipr__rdi(labels)[i], i,
                             m->classes - 1);
    for (i = 0; i < labels->n; i++)
        if (ipr__rdi(labels)[i] != -100)
            m->counts[(ipr_index)ipr__rdi(labels)[i] * m->classes + ipr__row_argmax(logits, i)]++;
    return IPR_OK;
}

IPR_API IPR__COLD ipr_index ipr_confusion_at(const ipr_confusion *m, int truth, int predicted)
{
    if (!ipr__is_class(m, truth) || !ipr__is_class(m, predicted)) return 0;
    return m->counts[(ipr_index)truth * m->classes + predicted];
}

IPR_API IPR__COLD double ipr_confusion_accuracy(const ipr_confusion *m)
{
    double right = 0, all = 0;
    ipr_index i, n = m ? (ipr_index)m->classes * m->classes : 0;
    for (i = 0; i < n; i++) {
        all += (double)m->counts[i];
        if (i / m->classes == i % m->classes) right += (double)m->counts[i];
    }
    return ipr__percent(right, all);
}

IPR_API IPR__COLD double ipr_confusion_precision(const ipr_confusion *m, int cls)
{
    double all = 0;
    int i;
    for (i = 0; m && i < m->classes; i++) all += (double)ipr_confusion_at(m, i, cls);
    return ipr__percent((double)ipr_confusion_at(m, cls, cls), all);
}

IPR_API IPR__COLD double ipr_confusion_recall(const ipr_confusion *m, int cls)
{
    double all = 0;
    int i;
    for (i = 0; m && i < m->classes; i++) all += (double)ipr_confusion_at(m, cls, i);
    return ipr__percent((double)ipr_confusion_at(m, cls, cls), all);
}

/* How often the n-gram at g stands in s[0..m-1]. */
IPR__TOOL ipr_index ipr__ngram_count(const int32_t *g, int n, const int32_t *s, ipr_index m)
{
    ipr_index i, found = 0;
    for (i = 0; i + n <= m; i++) found += ipr__memcmp(g, s + i, (size_t)n * sizeof *g) == 0;
    return found;
}

IPR_API IPR__COLD void ipr_bleu_add(ipr_bleu *b, const int32_t *hyp, ipr_index n, const int32_t *ref, ipr_index m)
{
    ipr_index i;
    int k;
    if (!b || n < 0 || m < 0 || (n && !hyp) || (m && !ref)) return;
    b->hyp_len += (uint64_t)n;
    b->ref_len += (uint64_t)m;
    for (k = 1; k <= 4; k++)
        for (i = 0; i + k <= n; i++) {
            /* the j-th of equal n-grams matches if the reference has at least j of them: Papineni's clipped count */
            b->total[k - 1]++;
            b->match[k - 1] += ipr__ngram_count(hyp + i, k, hyp, i + k) <= ipr__ngram_count(hyp + i, k, ref, m);
        }
}

IPR_API IPR__COLD double ipr_bleu_score(const ipr_bleu *b, int smooth)
{
    double sum = 0, half = 1, hits;
    int k;
    if (!b) return 0;
    for (k = 0; k < 4; k++) {
        hits = (double)b->match[k];
        if (!b->total[k] || (!b->match[k] && !smooth)) return 0;
        if (!b->match[k]) hits = half /= 2;
        sum += ipr__dlog(hits / (double)b->total[k]);
    }
    if (b->hyp_len < b->ref_len) sum += 4.0 * (1.0 - (double)b->ref_len / (double)b->hyp_len);
    return 100.0 * ipr__dexp(sum / 4.0);
}

/* ---- checkpoints ----
   One safetensors file: parameters under their own names; "ipr.m/NAME" and "ipr.v/NAME" (moments, where there are
   any), "ipr.extra/NAME", "ipr.opt" (int64: bits of the learning rate, steps, steps of each parameter) and "ipr.fit"
   (int64: ipr__fit_state). Metadata says whose state it is. */

/* Where a run stands. All 8 bytes wide, so that it is one array of 64-bit words in the file. */
typedef struct ipr__fit_state {
    int64_t epoch, step, total;   /* position: epochs and steps done */
    int64_t step_no;              /* key of the context's counter RNG */
    int64_t items, seen, correct; /* running sums of the epoch */
    double loss_sum;
    double loss, accuracy, metric; /* of the last epoch */
    double best;
    int64_t best_epoch;
    double seconds;
    ipr_sched_state sched;
} ipr__fit_state;
enum { IPR__FIT_WORDS = (int)(sizeof(ipr__fit_state) / 8) };
typedef char ipr__assert_fit_state[sizeof(ipr__fit_state) == 19 * 8 ? 1 : -1];

static const char *const ipr__opt_names[] = {"adam", "adamw", "sgd"};

typedef struct ipr__ckpt {
    ipr_ctx *c;
    ipr__arena arena;
    ipr_array *v;
    int n;
} ipr__ckpt;

/* PREFIX + NAME, in the checkpoint's arena. */
IPR__TOOL const char *ipr__ckpt_name(ipr__arena *a, const char *prefix, const char *name)
{
    const size_t n = ipr__strlen(prefix), m = ipr__strlen(name) + 1;
    char *s = (char *)ipr__arena_get(a, n + m);
    if (!s) return NULL;
    ipr__copy(s, prefix, n);
    ipr__copy(s + n, name, m);
    return s;
}

IPR__TOOL int ipr__ckpt_real(ipr__ckpt *k, const char *prefix, const ipr__named *p, const ipr_real *data)
{
    const char *name = ipr__ckpt_name(&k->arena, prefix, p->name);
    ipr_array *a = &k->v[k->n];
    if (!name || ipr_array_of(k->c, p->t, name, a)) return 0;
    a->data = data;
    k->n++;
    return 1;
}

IPR__TOOL void ipr__ckpt_words(ipr__ckpt *k, const char *name, const void *words, int n)
{
    ipr_array *a = &k->v[k->n++];
    ipr__zero(a, sizeof *a);
    a->name = name;
    a->dtype = IPR_DT_I64;
    a->rank = 1;
    a->dims[0] = n;
    a->data = words;
    a->bytes = (size_t)n * 8;
}

IPR__TOOL void ipr__hash_set(ipr_sha256 *h, const ipr_params *p)
{
    const ipr__named *k;
    uint8_t b[8];
    int i;
    for (k = p ? p->first : NULL; k; k = k->next) {
        ipr_sha256_update(h, k->name, ipr__strlen(k->name) + 1);
        for (i = -1; i < k->t->rank; i++) {
            ipr__st64le(b, (uint64_t)(i < 0 ? (ipr_index)k->t->rank : k->t->dim[i]));
            ipr_sha256_update(h, b, sizeof b);
        }
    }
}

/* Names and shapes in order: step counts are stored by position. */
IPR__TOOL void ipr__model_hash(const ipr_params *p, const ipr_params *extra, char out[33])
{
    ipr_sha256 h;
    uint8_t sum[32];
    ipr_sha256_init(&h);
    ipr__hash_set(&h, p);
    ipr_sha256_update(&h, "", 1);
    ipr__hash_set(&h, extra);
    ipr_sha256_final(&h, sum);
    ipr_hex(sum, 16, out);
}

IPR__TOOL int ipr__ckpt_fill(ipr__ckpt *k, const ipr_opt *o, const ipr_params *extra, const ipr__fit_state *s)
{
    int64_t *words = (int64_t *)ipr__arena_get(&k->arena, ((size_t)o->count + 2) * 8);
    const ipr__named *e;
    int i;
    if (!words) return 0;
    ipr__copy(&words[0], &o->lr, 8);
    words[1] = (int64_t)o->steps;
    for (i = 0; i < o->count; i++) {
        const ipr__slot *t = &o->slot[i];
        words[2 + i] = (int64_t)t->steps;
        if (!ipr__ckpt_real(k, "", t->named, ipr__rd(t->named->t))) return 0;
        if (t->steps && t->m && !ipr__ckpt_real(k, "ipr.m/", t->named, t->m)) return 0;
        if (t->steps && t->v && !ipr__ckpt_real(k, "ipr.v/", t->named, t->v)) return 0;
    }
    for (e = extra ? extra->first : NULL; e; e = e->next)
        if (!ipr__ckpt_real(k, "ipr.extra/", e, ipr__rd(e->t))) return 0;
    ipr__ckpt_words(k, "ipr.opt", words, o->count + 2);
    if (s) ipr__ckpt_words(k, "ipr.fit", s, IPR__FIT_WORDS);
    return 1;
}

IPR__TOOL int ipr__ckpt_write(const ipr_opt *o, ipr_writer *w, const ipr_params *extra, const ipr__fit_state *s,
                              const char *config)
{
    ipr__ckpt k;
    ipr_pair pair[4];
    ipr_meta meta;
    char model[33];
    const size_t most = 3 * (size_t)o->count + (size_t)(extra ? extra->count : 0) + 2;
    if (w->status) return w->status;
    if (o->c->err) return w->status = o->c->err;
    ipr__model_hash(o->p, extra, model);
    pair[0].key = "ipr_checkpoint";
    pair[0].value = "1";
    pair[1].key = "ipr_optimiser";
    pair[1].value = ipr__opt_names[o->d.kind];
    pair[2].key = "ipr_model";
    pair[2].value = model;
    pair[3].key = "ipr_fit";
    pair[3].value = config;
    meta.pairs = pair;
    meta.count = config ? 4 : 3;
    k.c = o->c;
    k.n = 0;
    ipr__arena_init(o->c, &k.arena, 8192);
    k.v = (ipr_array *)ipr__arena_get(&k.arena, most * sizeof *k.v);
    if (k.v && ipr__ckpt_fill(&k, o, extra, s)) (void)ipr_st_write(w, k.v, k.n, &meta);
    else w->status = o->c->err;
    ipr__arena_free(&k.arena, 0);
    return w->status;
}

/* The tensor PREFIX + NAME, of p's shape and in this build's type; NULL with the error set. */
IPR__TOOL const ipr_array *ipr__ckpt_find(ipr_ctx *c, ipr__arena *a, const ipr_st *f, const char *prefix,
                                          const ipr__named *p)
{
    const char *fn = "checkpoint", *name = ipr__ckpt_name(a, prefix, p->name);
    const ipr_array *v = name ? ipr_st_find(f, name) : NULL;
    char show[72], s1[96], s2[96];
    int i, same;
    if (!name) return NULL;
    if (!v) {
        (void)ipr__fail(c, IPR_E_MISSING, fn, "\"%s\" is not in it; it belongs to another model",
                        ipr__show(show, name));
        return NULL;
    }
    for (i = 0, same = v->rank == p->t->rank; same && i < v->rank; i++) same = v->dims[i] == p->t->dim[i];
    if (!same) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "\"%s\" is %s in it, %s in the model", ipr__show(show, name),
                        ipr__array_shape(v, s1), ipr__shape(p->t, s2));
        return NULL;
    }
    if (v->dtype != (int)IPR_DT_REAL) {
        (void)ipr__fail(c, IPR_E_FORMAT, fn,
                        "\"%s\" is %s in it; this build computes in %s, and a run cannot go on in another type",
                        ipr__show(show, name), ipr_dtype_name(v->dtype), ipr_dtype_name((int)IPR_DT_REAL));
        return NULL;
    }
    return v;
}

IPR__TOOL int ipr__ckpt_get_words(ipr_ctx *c, const ipr_st *f, const char *name, int64_t *words, int n)
{
    const ipr_array *a = ipr_st_find(f, name);
    if (!a || a->dtype != IPR_DT_I64 || a->rank != 1 || a->dims[0] != n)
        return ipr__fail(c, IPR_E_FORMAT, "checkpoint",
                         "\"%s\" is missing or not %d numbers; the file is of another version or damaged", name, n);
    return ipr_array_get(c, a, IPR_DT_I64, words);
}

/* Is this file a checkpoint of this optimiser and model? */
IPR__TOOL int ipr__ckpt_identity(const ipr_opt *o, const ipr_st *f, ipr__arena *a, const ipr_params *extra)
{
    const char *version = ipr_st_meta(f, "ipr_checkpoint"), *model = ipr_st_meta(f, "ipr_model");
    const char *kind = ipr_st_meta(f, "ipr_optimiser");
    const ipr__named *k;
    char show[72], hash[33];
    if (!version || !kind || !model)
        return ipr__fail(o->c, IPR_E_FORMAT, "checkpoint",
                         "this safetensors file is no training checkpoint; give another path");
    if (!ipr__streq(version, "1"))
        return ipr__fail(o->c, IPR_E_FORMAT, "checkpoint", "version %s; this header reads version 1",
                         ipr__show(show, version));
    if (!ipr__streq(kind, ipr__opt_names[o->d.kind]))
        return ipr__fail(o->c, IPR_E_FORMAT, "checkpoint", "it was written by %s, the optimiser now is %s",
                         ipr__show(show, kind), ipr__opt_names[o->d.kind]);
    for (k = o->p->first; k; k = k->next)
        if (!ipr__ckpt_find(o->c, a, f, "", k)) return o->c->err;
    for (k = extra ? extra->first : NULL; k; k = k->next)
        if (!ipr__ckpt_find(o->c, a, f, "ipr.extra/", k)) return o->c->err;
    ipr__model_hash(o->p, extra, hash);
    if (!ipr__streq(model, hash))
        return ipr__fail(o->c, IPR_E_FORMAT, "checkpoint",
                         "its parameters differ in number or order; it belongs to another model");
    return IPR_OK;
}

/* Step counts, and moments for every parameter that had a step; allocates what is needed. Changes no value. */
IPR__TOOL int ipr__ckpt_check(ipr_opt *o, const ipr_st *f, ipr__arena *a, const int64_t *words)
{
    double lr;
    int i;
    ipr__copy(&lr, &words[0], 8);
    if (!(lr >= 0) || !ipr__finite(lr) || words[1] < 0)
        return ipr__fail(o->c, IPR_E_FORMAT, "checkpoint",
                         "its learning rate or step count is out of range; it is damaged");
    for (i = 0; i < o->count; i++) {
        ipr__slot *s = &o->slot[i];
        if (words[2 + i] < 0)
            return ipr__fail(o->c, IPR_E_FORMAT, "checkpoint", "a step count is negative; it is damaged");
        if (words[2 + i] == 0) continue;
        if (!ipr__slot_state(o, s)) return o->c->err;
        if (s->m && !ipr__ckpt_find(o->c, a, f, "ipr.m/", s->named)) return o->c->err;
        if (s->v && !ipr__ckpt_find(o->c, a, f, "ipr.v/", s->named)) return o->c->err;
    }
    return IPR_OK;
}

/* Same shape and type, checked before: cannot fail but for a name that finds no memory. */
IPR__TOOL int ipr__ckpt_take(ipr_ctx *c, const ipr_array *a, ipr_real *dst)
{
    return a ? ipr_array_get(c, a, (int)IPR_DT_REAL, dst) : c->err;
}

typedef struct ipr__ckpt_copy {
    const ipr_array *a;
    ipr_real *dst;
} ipr__ckpt_copy;

/* First all sources, then all copies, so that a failure in between cannot leave half a run. */
IPR__TOOL int ipr__ckpt_apply(ipr_opt *o, const ipr_st *f, ipr__arena *a, ipr_params *extra, const int64_t *words)
{
    const size_t most = 3 * (size_t)o->count + (size_t)(extra ? extra->count : 0) + 1;
    ipr__ckpt_copy *v = (ipr__ckpt_copy *)ipr__arena_get(a, most * sizeof *v);
    const ipr__named *k;
    int i, n = 0;
    if (!v) return o->c->err;
    for (i = 0; i < o->count; i++) {
        ipr__slot *s = &o->slot[i];
        v[n].dst = ipr__wr(s->named->t);
        v[n++].a = ipr__ckpt_find(o->c, a, f, "", s->named);
        if (words[2 + i] && s->m) {
            v[n].dst = s->m;
            v[n++].a = ipr__ckpt_find(o->c, a, f, "ipr.m/", s->named);
        }
        if (words[2 + i] && s->v) {
            v[n].dst = s->v;
            v[n++].a = ipr__ckpt_find(o->c, a, f, "ipr.v/", s->named);
        }
    }
    for (k = extra ? extra->first : NULL; k; k = k->next) {
        v[n].dst = ipr__wr(k->t);
        v[n++].a = ipr__ckpt_find(o->c, a, f, "ipr.extra/", k);
    }
    if (o->c->err) return o->c->err;
    for (i = 0; i < n; i++)
        if (ipr__ckpt_take(o->c, v[i].a, v[i].dst)) return o->c->err;
    ipr__copy(&o->lr, &words[0], 8);
    o->steps = (uint64_t)words[1];
    for (i = 0; i < o->count; i++) {
        ipr__slot *s = &o->slot[i];
        s->steps = (uint64_t)words[2 + i];
        if (s->steps) continue;
        if (s->m) ipr__zero(s->m, (size_t)s->named->t->n * sizeof(ipr_real));
        if (s->v) ipr__zero(s->v, (size_t)s->named->t->n * sizeof(ipr_real));
    }
    ipr_params_zero_grad(o->p);
    return IPR_OK;
}

/* All or nothing. */
IPR__TOOL int ipr__ckpt_read(ipr_opt *o, const ipr_st *f, ipr_params *extra)
{
    ipr__arena a;
    int64_t *words;
    int status;
    if (o->count != o->p->count)
        return ipr__fail(o->c, IPR_E_STATE, "checkpoint", "parameters were added after the optimiser was made");
    ipr__arena_init(o->c, &a, 8192);
    words = (int64_t *)ipr__arena_get(&a, ((size_t)o->count + 2) * 8);
    status = words ? ipr__ckpt_identity(o, f, &a, extra) : o->c->err;
    if (!status) status = ipr__ckpt_get_words(o->c, f, "ipr.opt", words, o->count + 2);
    if (!status) status = ipr__ckpt_check(o, f, &a, words);
    if (!status) status = ipr__ckpt_apply(o, f, &a, extra, words);
    ipr__arena_free(&a, 0);
    return status;
}

IPR_API IPR__COLD int ipr_opt_write(const ipr_opt *o, ipr_writer *w)
{
    if (!w) return IPR_E_ARG;
    if (w->status) return w->status;
    if (!o) return w->status = ipr__fail(w->ctx, IPR_E_ARG, "ipr_opt_write", "the optimiser is NULL");
    return ipr__ckpt_write(o, w, NULL, NULL, NULL);
}

IPR_API IPR__COLD int ipr_opt_save(const ipr_opt *o, const char *path)
{
    ipr_writer w;
    int status;
    if (!o) return IPR_E_ARG;
    (void)ipr_writer_file(o->c, &w, path, 0);
    (void)ipr_opt_write(o, &w);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return status;
}

IPR_API IPR__COLD int ipr_opt_read(ipr_opt *o, ipr_reader *r)
{
    ipr_st *f;
    int status;
    if (!o || !r) return IPR_E_ARG;
    if (o->c->err) return o->c->err;
    f = ipr_st_open(r, 0);
    status = f ? ipr__ckpt_read(o, f, NULL) : o->c->err;
    ipr_st_close(f);
    return status;
}

IPR_API IPR__COLD int ipr_opt_load(ipr_opt *o, const char *path)
{
    ipr_reader r;
    int status;
    if (!o) return IPR_E_ARG;
    status = ipr_reader_file(o->c, &r, path);
    if (!status) status = ipr_opt_read(o, &r);
    ipr_reader_close(&r);
    return status;
}

/* ---- progress ---- */

/* Four digits that mean something: 0.3456, 12.34, 1.234e-05. */
IPR__TOOL void ipr__text_short(ipr__text *t, double v)
{
    char num[32];
    const double a = ipr__dabs(v);
    double m = a;
    int e = 0;
    if (!ipr__finite(v)) {
        ipr__text_s(t, ipr__isnan(v) ? "?" : v < 0 ? "-inf" : "inf");
        return;
    }
    if (a < 1e-300 || (a >= 1e-3 && a < 1e5)) {
        e = a >= 1000 ? 1 : a >= 100 ? 2 : a >= 10 ? 3 : a >= 0.1 || a < 1e-300 ? 4 : a >= 0.01 ? 5 : 6;
        (void)ipr_fmt_fixed(num, v, e);
        ipr__text_s(t, num);
        return;
    }
    while (m >= 9.9995) {
        m /= 10;
        e++;
    }
    while (m < 0.99995) {
        m *= 10;
        e--;
    }
    (void)ipr_fmt_fixed(num, v < 0 ? -m : m, 3);
    ipr__text_s(t, num);
    ipr__text_s(t, e < 0 ? "e-" : "e+");
    if (e > -10 && e < 10) ipr__text_c(t, '0');
    ipr__text_i(t, e < 0 ? -e : e);
}

/* A number somebody chose: as he wrote it, unless that is long. */
IPR__TOOL void ipr__text_chosen(ipr__text *t, double v)
{
    char num[32];
    if (ipr_fmt_double(num, v) <= 8) ipr__text_s(t, num);
    else ipr__text_short(t, v);
}

IPR__TOOL void ipr__text_fixed(ipr__text *t, double v, int digits)
{
    char num[32];
    (void)ipr_fmt_fixed(num, v, digits);
    ipr__text_s(t, num);
}

/* 9.3, 938, 12.3k, 4.56M */
IPR__TOOL void ipr__text_rate(ipr__text *t, double v)
{
    const char *unit = "";
    if (!ipr__finite(v) || v < 0) {
        ipr__text_c(t, '?');
        return;
    }
    if (v >= 999500) {
        v /= 1e6;
        unit = "M";
    } else if (v >= 9999.5) {
        v /= 1e3;
        unit = "k";
    }
    ipr__text_fixed(t, v, v < 9.95 && *unit ? 2 : v < 99.95 && (*unit || v < 9.95) ? 1 : 0);
    ipr__text_s(t, unit);
}

IPR__TOOL void ipr__text_2(ipr__text *t, int64_t v)
{
    if (v < 10) ipr__text_c(t, '0');
    ipr__text_i(t, v);
}

/* 0:07, 12:34, 1:02:03, 3d 04:05 */
IPR__TOOL void ipr__text_time(ipr__text *t, double seconds)
{
    int64_t s;
    if (!(seconds >= 0) || !(seconds < 1e11)) {
        ipr__text_c(t, '?');
        return;
    }
    s = (int64_t)(seconds + 0.5);
    if (s >= 86400) {
        ipr__text_i(t, s / 86400);
        ipr__text_s(t, "d ");
        ipr__text_2(t, s % 86400 / 3600);
        ipr__text_c(t, ':');
        ipr__text_2(t, s % 3600 / 60);
        return;
    }
    if (s >= 3600) {
        ipr__text_i(t, s / 3600);
        ipr__text_c(t, ':');
        ipr__text_2(t, s % 3600 / 60);
    } else ipr__text_i(t, s / 60);
    ipr__text_c(t, ':');
    ipr__text_2(t, s % 60);
}

/* " NAME value", the part that both forms share. */
IPR__TOOL void ipr__text_numbers(ipr__text *t, const ipr_progress *p, int brief)
{
    ipr__text_s(t, " loss ");
    ipr__text_short(t, p->loss);
    if (!ipr__isnan(p->accuracy)) {
        ipr__text_s(t, brief ? " acc " : " accuracy ");
        ipr__text_fixed(t, p->accuracy, 2);
        ipr__text_c(t, '%');
    }
    if (p->event == IPR_PROGRESS_EPOCH && !ipr__isnan(p->metric)) {
        ipr__text_s(t, " eval ");
        ipr__text_short(t, p->metric);
    }
}

IPR__TOOL void ipr__text_bar(ipr__text *t, int wide, double done)
{
    int i, full = (int)(done * (double)wide);
    ipr__text_c(t, '[');
    for (i = 0; i < wide; i++) ipr__text_c(t, i < full ? '=' : i == full ? '>' : ' ');
    ipr__text_s(t, "]");
}

/* epoch 3/20 [=====>    ]  45% loss 0.3456 acc 91.23% 1234/s left 0:12 */
IPR__TOOL void ipr__progress_bar(ipr__text *t, const ipr_progress *p, int width)
{
    const double done = p->steps > 0 ? (double)p->step / (double)p->steps : 1.0;
    char tail[128];
    ipr__text e;
    int room, percent = (int)(100.0 * done);
    e.buf = tail;
    e.cap = sizeof tail;
    e.len = 0;
    ipr__text_s(&e, percent < 10 ? "   " : percent < 100 ? "  " : " ");
    ipr__text_i(&e, percent);
    ipr__text_c(&e, '%');
    ipr__text_numbers(&e, p, 1);
    if (!ipr__isnan(p->rate)) {
        ipr__text_c(&e, ' ');
        ipr__text_rate(&e, p->rate);
        ipr__text_s(&e, "/s");
    }
    if (p->event != IPR_PROGRESS_STEP) {
        ipr__text_s(&e, p->event == IPR_PROGRESS_STOP ? " stopped " : " ");
        ipr__text_time(&e, p->seconds);
    } else if (!ipr__isnan(p->left)) {
        ipr__text_s(&e, " left ");
        ipr__text_time(&e, p->left);
    }
    tail[e.len] = 0;
    ipr__text_s(t, "epoch ");
    ipr__text_i(t, p->epoch);
    ipr__text_c(t, '/');
    ipr__text_i(t, p->epochs);
    room = IPR__MIN(width - (int)t->len - (int)e.len - 3, 40);
    if (room >= 4) {
        ipr__text_c(t, ' ');
        ipr__text_bar(t, room, done);
    }
    ipr__text_s(t, tail);
}

/* epoch 3/20 step 420/938 loss 0.3456 accuracy 91.23% lr 0.001 1234/s elapsed 0:10 left 0:12 */
IPR__TOOL void ipr__progress_line(ipr__text *t, const ipr_progress *p)
{
    ipr__text_s(t, "epoch ");
    ipr__text_i(t, p->epoch);
    ipr__text_c(t, '/');
    ipr__text_i(t, p->epochs);
    ipr__text_s(t, " step ");
    ipr__text_i(t, p->step);
    ipr__text_c(t, '/');
    ipr__text_i(t, p->steps);
    ipr__text_numbers(t, p, 0);
    ipr__text_s(t, " lr ");
    ipr__text_chosen(t, p->lr);
    if (!ipr__isnan(p->rate)) {
        ipr__text_c(t, ' ');
        ipr__text_rate(t, p->rate);
        ipr__text_s(t, "/s");
    }
    ipr__text_s(t, " elapsed ");
    ipr__text_time(t, p->seconds);
    if (p->event == IPR_PROGRESS_STOP) ipr__text_s(t, " stopped");
    else if (!ipr__isnan(p->left)) {
        ipr__text_s(t, " left ");
        ipr__text_time(t, p->left);
    }
}

IPR_API IPR__COLD int ipr_progress_text(const ipr_progress *p, char *buf, size_t cap, int width, int tty)
{
    ipr__text t;
    if (!p || !buf || !cap) return 0;
    t.buf = buf;
    t.cap = cap;
    t.len = 0;
    if (tty && width > 0) t.cap = IPR__MIN(cap, (size_t)width + 1);
    if (tty) ipr__progress_bar(&t, p, width);
    else ipr__progress_line(&t, p);
    buf[t.len] = 0;
    return (int)t.len;
}

#ifndef IPR_NO_STDIO
IPR__TOOL int ipr__stderr_tty(void)
{
#if IPR__WIN32
    return GetFileType(GetStdHandle(STD_ERROR_HANDLE)) == FILE_TYPE_CHAR;
#else
    return isatty(2);
#endif
}

IPR_API IPR__COLD void ipr_progress_stderr(void *user, const ipr_progress *p)
{
    enum { WIDTH = 79 }; /* the last column makes some terminals wrap */
    char line[256];
    int n;
    (void)user;
    if (!p) return;
    line[0] = '\r';
    n = p->tty ? 1 : 0;
    n += ipr_progress_text(p, line + n, sizeof line - 2 - WIDTH, WIDTH, p->tty);
    while (p->tty && n < WIDTH + 1) line[n++] = ' '; /* over what a longer line left */
    if (!p->tty || p->event != IPR_PROGRESS_STEP) line[n++] = '\n';
    line[n] = 0;
    (void)fputs(line, stderr);
    (void)fflush(stderr);
}
#else
IPR__TOOL int ipr__stderr_tty(void) { return 0; }
#endif

/* ---- the fit loop ---- */

typedef struct ipr__fit {
    ipr_ctx *c;
    const ipr_fit_desc *d;
    ipr_opt *o;
    ipr_sched_desc sched;
    ipr__fit_state s;
    uint32_t *order; /* of the running epoch */
    ipr_index batch, steps;
    int epochs, own_opt, resumed, training, no_grad, tty;
    int64_t saved_total, saved_epoch;
    double began, reported, saved, items_here, pace;
    char config[1024]; /* everything a resumed run must share */
} ipr__fit;

IPR__TOOL void ipr__pair_g(ipr__text *t, const char *key, double v)
{
    char num[32];
    ipr__text_s(t, key);
    ipr__text_c(t, '=');
    (void)ipr_fmt_double(num, v);
    ipr__text_s(t, num);
    ipr__text_c(t, ';');
}

IPR__TOOL void ipr__pair_i(ipr__text *t, const char *key, int64_t v)
{
    ipr__text_s(t, key);
    ipr__text_c(t, '=');
    ipr__text_i(t, v);
    ipr__text_c(t, ';');
}

/* The settings as text, so that a refusal can name what differs. Epochs are not among them: a run may be prolonged. */
IPR__TOOL void ipr__fit_config(ipr__fit *f)
{
    const ipr_fit_desc *d = f->d;
    const ipr_opt_desc *o = &f->o->d;
    const ipr_sched_desc *s = &f->sched;
    ipr__text t;
    int i;
    t.buf = f->config;
    t.cap = sizeof f->config;
    t.len = 0;
    ipr__pair_i(&t, "seed", (int64_t)f->c->d.seed);
    ipr__pair_i(&t, "items", d->items);
    ipr__pair_i(&t, "batch", f->batch);
    ipr__pair_i(&t, "shuffle", d->bucket ? 2 : d->shuffle != 0);
    ipr__pair_i(&t, "drop_last", d->drop_last != 0);
    ipr__pair_g(&t, "clip_norm", d->clip_norm);
    ipr__pair_g(&t, "lr", o->lr);
    ipr__pair_g(&t, "weight_decay", o->weight_decay);
    ipr__pair_g(&t, "beta1", o->beta1);
    ipr__pair_g(&t, "beta2", o->beta2);
    ipr__pair_g(&t, "eps", o->eps);
    ipr__pair_g(&t, "momentum", o->momentum);
    ipr__pair_g(&t, "dampening", o->dampening);
    ipr__pair_i(&t, "nesterov", o->nesterov != 0);
    ipr__pair_i(&t, "schedule", s->kind);
    ipr__pair_g(&t, "gamma", s->gamma);
    ipr__pair_i(&t, "step_size", s->step_size);
    for (i = 0; i < IPR_SCHED_MILESTONES && s->milestones[i]; i++) ipr__pair_i(&t, "milestone", s->milestones[i]);
    ipr__pair_i(&t, "t_max", s->t_max);
    ipr__pair_g(&t, "lr_min", s->lr_min);
    ipr__pair_i(&t, "maximize", s->maximize != 0);
    ipr__pair_i(&t, "patience", s->patience);
    ipr__pair_i(&t, "cooldown", s->cooldown);
    ipr__pair_g(&t, "threshold", s->threshold);
    ipr__pair_i(&t, "threshold_abs", s->threshold_abs != 0);
    ipr__text_s(&t, "tag=");
    if (d->tag) ipr__text_s(&t, d->tag);
    f->config[t.len] = 0;
}

/* "key=value" at *s, cut to fit; *s moves behind its ';'. The tag is last and may hold any character. */
IPR__TOOL void ipr__next_pair(const char **s, char out[72])
{
    const char *p = *s;
    const int tag = p[0] == 't' && p[1] == 'a' && p[2] == 'g' && p[3] == '=';
    int n = 0;
    for (; *p && (tag || *p != ';'); p++)
        if (n < 71) out[n++] = *p;
    out[n] = 0;
    *s = *p ? p + 1 : p;
}

IPR__TOOL int ipr__fit_same_config(ipr__fit *f, const char *saved)
{
    const char *a = saved, *b = f->config;
    char x[72], y[72];
    if (!saved)
        return ipr__fail(f->c, IPR_E_FORMAT, "ipr_fit",
                         "the checkpoint %s was not written by ipr_fit; give another path", f->d->checkpoint);
    if (ipr__streq(saved, f->config)) return IPR_OK;
    do {
        ipr__next_pair(&a, x);
        ipr__next_pair(&b, y);
    } while (ipr__streq(x, y) && (*a || *b));
    return ipr__fail(f->c, IPR_E_FORMAT, "ipr_fit",
                     "the checkpoint %s has %s, this run %s; resume with the same settings, or give another path",
                     f->d->checkpoint, x, y);
}

IPR__TOOL int ipr__fit_check(ipr__fit *f)
{
    const ipr_fit_desc *d = f->d;
    const char *fn = "ipr_fit";
    if (!d || !d->step_fn) return ipr__fail(f->c, IPR_E_ARG, fn, "%s is NULL", d ? "step_fn" : "the description");
    if (!d->opt && !d->params) return ipr__fail(f->c, IPR_E_ARG, fn, "params and opt are NULL; give one of them");
    if (d->opt && d->params && d->opt->p != d->params)
        return ipr__fail(f->c, IPR_E_ARG, fn, "opt belongs to other parameters than params");
    if ((d->opt && d->opt->c != f->c) || (d->params && d->params->c != f->c) || (d->extra && d->extra->c != f->c))
        return ipr__fail(f->c, IPR_E_ARG, fn, "params, opt or extra belong to another context");
    if (d->epochs < 0 || d->batch < 0 || d->checkpoint_epochs < 0)
        return ipr__fail(f->c, IPR_E_RANGE, fn, "epochs %d, batch %I, checkpoint_epochs %d; none may be negative",
                         d->epochs, d->batch, d->checkpoint_epochs);
    if (d->items < 1 || (uint64_t)d->items > 0xffffffffu)
        return ipr__fail(f->c, IPR_E_RANGE, fn, "%I items; 1 to 4294967295 are possible", d->items);
    if (!(d->clip_norm >= 0))
        return ipr__fail(f->c, IPR_E_RANGE, fn, "clip_norm = %g; it must be positive, or 0 for no clipping",
                         d->clip_norm);
    if (d->bucket && d->bucket->count < d->items)
        return ipr__fail(f->c, IPR_E_RANGE, fn, "%I items, but bucket has lengths of %I", d->items, d->bucket->count);
    if (d->tag && ipr__strlen(d->tag) > 200) return ipr__fail(f->c, IPR_E_RANGE, fn, "the tag has over 200 characters");
    if (d->resume && !d->checkpoint) return ipr__fail(f->c, IPR_E_ARG, fn, "resume without a checkpoint path");
    f->epochs = d->epochs ? d->epochs : 1;
    f->batch = d->batch ? d->batch : 32;
    f->steps = d->drop_last ? d->items / f->batch : (d->items - 1) / f->batch + 1;
    if (!f->steps)
        return ipr__fail(f->c, IPR_E_RANGE, fn, "%I items are less than one batch of %I, and drop_last leaves it out",
                         d->items, f->batch);
    f->sched = ipr__sched_defaults(&d->schedule, f->epochs);
    return ipr__sched_check(f->c, &f->sched);
}

IPR__TOOL int ipr__fit_state_ok(const ipr__fit *f, const ipr__fit_state *s)
{
    return s->epoch >= 0 && s->epoch <= 0x7fffffff && s->step >= 0 && s->step <= f->steps && s->total >= 0 &&
           s->step_no >= 0 && s->step_no <= 0xffffffff && s->items >= 0 && s->best_epoch >= -1 &&
           s->best_epoch <= s->epoch;
}

IPR__TOOL int ipr__fit_take(ipr__fit *f, const ipr_st *st)
{
    int64_t words[IPR__FIT_WORDS];
    ipr__fit_state s;
    int status = ipr__fit_same_config(f, ipr_st_meta(st, "ipr_fit"));
    if (!status) status = ipr__ckpt_get_words(f->c, st, "ipr.fit", words, IPR__FIT_WORDS);
    if (status) return status;
    ipr__copy(&s, words, sizeof s);
    if (!ipr__fit_state_ok(f, &s))
        return ipr__fail(f->c, IPR_E_FORMAT, "ipr_fit",
                         "the position in the checkpoint %s is out of range; it is damaged", f->d->checkpoint);
    status = ipr__ckpt_read(f->o, st, f->d->extra);
    if (status) return status;
    f->s = s;
    f->c->step_no = (uint32_t)s.step_no;
    f->resumed = 1;
    f->saved_total = s.total;
    f->saved_epoch = s.epoch;
    return IPR_OK;
}

/* Go on from the checkpoint; no such file is a fresh start. */
IPR__TOOL int ipr__fit_resume(ipr__fit *f)
{
    ipr_reader r;
    ipr_st *st;
    int status = ipr_reader_file(f->c, &r, f->d->checkpoint);
    if (status == IPR_E_MISSING) {
        ipr_reader_close(&r);
        ipr_clear(f->c); /* the context was free of errors when ipr_fit began */
        return IPR_OK;
    }
    st = status ? NULL : ipr_st_open(&r, 0);
    status = st ? ipr__fit_take(f, st) : f->c->err;
    ipr_st_close(st);
    ipr_reader_close(&r);
    return status;
}

IPR__TOOL int ipr__fit_open(ipr__fit *f)
{
    const ipr_fit_desc *d = f->d;
    ipr_index i;
    if (ipr__fit_check(f)) return f->c->err;
    f->o = d->opt;
    if (!f->o) {
        f->o = ipr_opt_new(d->params, &d->optimiser);
        f->own_opt = 1;
        if (!f->o) return f->c->err;
    }
    f->order = (uint32_t *)ipr__alloc(f->c, (size_t)d->items * sizeof *f->order);
    if (!f->order) return f->c->err;
    for (i = 0; i < d->items; i++) f->order[i] = (uint32_t)i;
    f->s.step_no = f->c->step_no;
    f->s.loss = f->s.accuracy = f->s.metric = f->s.best = ipr__dnan();
    f->s.best_epoch = -1;
    f->saved_total = f->saved_epoch = -1;
    ipr__fit_config(f);
    if (d->resume && ipr__fit_resume(f)) return f->c->err;
    ipr_params_zero_grad(f->o->p);
    f->c->draw_no = 0;
    f->tty = ipr__stderr_tty();
    f->pace = d->progress_seconds > 0 ? d->progress_seconds : f->tty ? 0.1 : 10.0;
    f->began = f->reported = f->saved = ipr_now(f->c);
    return IPR_OK;
}

IPR__FN double ipr__fit_seconds(const ipr__fit *f) { return f->s.seconds + (ipr_now(f->c) - f->began); }

IPR__TOOL int ipr__fit_save(ipr__fit *f)
{
    ipr_writer w;
    ipr__fit_state s = f->s;
    int status;
    if (!f->d->checkpoint || (f->saved_total == s.total && f->saved_epoch == s.epoch)) return IPR_OK;
    s.seconds = ipr__fit_seconds(f);
    s.step_no = f->c->step_no;
    (void)ipr_writer_file(f->c, &w, f->d->checkpoint, f->d->checkpoint_flags);
    (void)ipr__ckpt_write(f->o, &w, f->d->extra, &s, f->config);
    status = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    if (status) return status;
    f->saved = ipr_now(f->c);
    f->saved_total = s.total;
    f->saved_epoch = s.epoch;
    return IPR_OK;
}

IPR__TOOL void ipr__fit_report(ipr__fit *f, int event, double now)
{
    const ipr__fit_state *s = &f->s;
    const double epoch_items = (double)IPR__MIN(f->steps * f->batch, f->d->items);
    ipr_progress p;
    if (!f->d->progress_fn) return;
    p.event = event;
    p.epochs = f->epochs;
    p.steps = f->steps;
    p.lr = f->o->lr;
    p.tty = f->tty;
    p.seconds = s->seconds + (now - f->began);
    p.rate = now > f->began && f->items_here > 0 ? f->items_here / (now - f->began) : ipr__dnan();
    p.metric = s->metric;
    if (event == IPR_PROGRESS_EPOCH) { /* the state is already at the start of the next one */
        p.epoch = (int)s->epoch;
        p.step = f->steps;
        p.loss = s->loss;
        p.accuracy = s->accuracy;
        p.left = ((double)(f->epochs - (int)s->epoch) * epoch_items) / p.rate;
    } else {
        p.epoch = (int)s->epoch + 1;
        p.step = (ipr_index)s->step;
        p.loss = s->items ? s->loss_sum / (double)s->items : ipr__dnan();
        p.accuracy = ipr__percent((double)s->correct, (double)s->seen);
        p.left = ((double)(f->epochs - (int)s->epoch) * epoch_items - (double)s->items) / p.rate;
    }
    f->reported = now;
    f->d->progress_fn(f->d->progress_user, &p);
}

/* Forward, backward, reduce, clip, update: everything of one minibatch that can fail. */
IPR__FN int ipr__fit_train(ipr__fit *f, const uint32_t *idx, ipr_index n, ipr_fit_info *info, double *value)
{
    ipr_ctx *c = f->c;
    const ipr_fit_desc *d = f->d;
    double scale = 1.0;
    ipr_tensor *loss = d->step_fn(c, d->user, idx, n, info);
    int status;
    if (c->err) return c->err;
    if (ipr_is_poison(loss)) return ipr__fail(c, IPR_E_ARG, "ipr_fit", "step_fn returned no loss");
    *value = (double)ipr_item(c, loss);
    if (ipr_backward(c, loss)) return c->err;
    status = d->reduce_fn ? d->reduce_fn(c, d->user, f->o->p) : IPR_OK;
    if (status) return ipr__fail(c, status, "ipr_fit", "reduce_fn answered %s", ipr_status_name(status));
    if (d->clip_norm > 0) {
        const double norm = ipr__norm(f->o->p, "ipr_fit");
        if (norm < 0) return c->err;
        scale = ipr__clip_factor(norm, d->clip_norm);
    }
    return ipr__opt_apply(f->o, scale);
}

IPR__FN int ipr__fit_step(ipr__fit *f)
{
    ipr__fit_state *s = &f->s;
    const ipr_index at = (ipr_index)s->step * f->batch, n = IPR__MIN(f->batch, f->d->items - at);
    ipr_fit_info info;
    double value = 0;
    int status;
    ipr__zero(&info, sizeof info);
    info.epoch = (int)s->epoch;
    info.epochs = f->epochs;
    info.step = (ipr_index)s->step;
    info.steps = f->steps;
    info.total = (uint64_t)s->total;
    info.lr = f->o->lr;
    f->c->training = 1;
    f->c->no_grad = 0;
    status = ipr__fit_train(f, f->order + at, n, &info, &value);
    if (status) ipr_params_zero_grad(f->o->p);
    ipr_step_end(f->c);
    if (status) return status;
    if (f->c->err) return f->c->err;
    s->step++;
    s->total++;
    s->items += n;
    s->seen += info.seen;
    s->correct += info.correct;
    s->loss_sum += value * (double)n;
    f->items_here += (double)n;
    return IPR_OK;
}

/* Evaluation must not move the training's random numbers, so its steps do not count. */
IPR__TOOL int ipr__fit_eval(ipr__fit *f)
{
    ipr_ctx *c = f->c;
    const uint32_t step_no = c->step_no;
    c->training = 0;
    c->no_grad = 1;
    f->s.metric = f->d->eval_fn(c, f->d->user, (int)f->s.epoch);
    ipr_step_end(c);
    c->step_no = step_no;
    return c->err;
}

IPR__TOOL int ipr__fit_end_epoch(ipr__fit *f)
{
    ipr__fit_state *s = &f->s;
    double metric;
    s->loss = s->items ? s->loss_sum / (double)s->items : ipr__dnan();
    s->accuracy = ipr__percent((double)s->correct, (double)s->seen);
    if (f->d->eval_fn && ipr__fit_eval(f)) return f->c->err;
    metric = f->d->eval_fn ? s->metric : s->loss;
    if (f->d->eval_fn && !ipr__isnan(metric) &&
        (s->best_epoch < 0 || (f->sched.maximize ? metric > s->best : metric < s->best))) {
        s->best = metric;
        s->best_epoch = s->epoch;
    }
    ipr_sched_report(&f->sched, f->o->d.lr, &s->sched, metric);
    s->epoch++;
    s->step = s->items = s->seen = s->correct = 0;
    s->loss_sum = 0;
    return IPR_OK;
}

/* The order of an epoch depends on the seed and the epoch only. */
IPR__TOOL void ipr__fit_begin_epoch(ipr__fit *f)
{
    ipr_rng r = ipr_rng_make(f->c->d.seed, (uint32_t)IPR__STREAM_SHUFFLE, (uint32_t)f->s.epoch);
    ipr_index i;
    if (f->sched.kind != IPR_SCHED_CONSTANT)
        f->o->lr = ipr_sched_lr(&f->sched, f->o->d.lr, (int)f->s.epoch, &f->s.sched);
    if (!f->d->shuffle && !f->d->bucket) return;
    for (i = 0; i < f->d->items; i++) f->order[i] = (uint32_t)i;
    if (f->d->bucket) ipr__bucket(f->d->bucket, f->order, f->d->items, f->batch, 0, &r);
    else ipr_rng_shuffle(&r, f->order, f->d->items);
}

/* After a step or an epoch: IPR_OK, IPR_E_CANCELLED with the run saved, or an error. */
IPR__FN int ipr__fit_poll(ipr__fit *f, double now, int due)
{
    const double every = f->d->checkpoint_seconds;
    const int stop = f->d->stop_fn && f->d->stop_fn(f->d->user);
    if (every > 0 ? now - f->saved >= every : every >= 0 && now - f->saved >= 60) due = 1;
    if ((stop || due) && ipr__fit_save(f)) return f->c->err;
    return stop ? IPR_E_CANCELLED : IPR_OK;
}

IPR__TOOL int ipr__fit_epoch(ipr__fit *f)
{
    int status;
    double now;
    ipr__fit_begin_epoch(f);
    while (f->s.step < f->steps) {
        status = ipr__fit_step(f);
        if (status) return status;
        now = ipr_now(f->c);
        if (now - f->reported >= f->pace && f->s.step < f->steps) ipr__fit_report(f, IPR_PROGRESS_STEP, now);
        status = ipr__fit_poll(f, now, 0);
        if (status) return status;
    }
    if (ipr__fit_end_epoch(f)) return f->c->err;
    now = ipr_now(f->c);
    ipr__fit_report(f, IPR_PROGRESS_EPOCH, now);
    if (f->s.epoch >= f->epochs) return ipr__fit_save(f);
    return ipr__fit_poll(f, now, f->d->checkpoint_epochs > 0 && f->s.epoch % f->d->checkpoint_epochs == 0);
}

IPR__TOOL void ipr__fit_result_of(const ipr__fit *f, int status, ipr_fit_result *r)
{
    r->status = status;
    r->resumed = f->resumed;
    r->epochs = (int)f->s.epoch;
    r->steps = (uint64_t)f->s.total;
    r->loss = f->s.loss;
    r->accuracy = f->s.accuracy;
    r->metric = f->s.metric;
    r->best_metric = f->s.best;
    r->best_epoch = (int)f->s.best_epoch;
    r->lr = ipr_opt_lr(f->o);
    r->seconds = ipr__fit_seconds(f);
}

IPR_API IPR__COLD int ipr_fit(ipr_ctx *c, const ipr_fit_desc *d, ipr_fit_result *result)
{
    ipr__fit f;
    int status;
    if (result) {
        ipr__zero(result, sizeof *result);
        result->status = c ? c->err : IPR_E_ARG;
        result->best_epoch = -1;
        result->loss = result->accuracy = result->metric = result->best_metric = ipr__dnan();
    }
    if (!c) return IPR_E_ARG;
    if (c->err) return c->err;
    ipr__zero(&f, sizeof f);
    f.c = c;
    f.d = d;
    f.training = c->training;
    f.no_grad = c->no_grad;
    status = ipr__fit_open(&f);
    if (!status) {
        /* a path that cannot be written shows now, not in an hour */
        status = f.resumed ? IPR_OK : ipr__fit_save(&f);
        while (!status && f.s.epoch < f.epochs) status = ipr__fit_epoch(&f);
        if (status && f.items_here > 0) ipr__fit_report(&f, IPR_PROGRESS_STOP, ipr_now(c));
        if (result) ipr__fit_result_of(&f, status, result);
    } else if (result) result->status = status;
    c->training = f.training;
    c->no_grad = f.no_grad;
    ipr__free(c, f.order);
    if (f.own_opt) ipr_opt_free(f.o);
    return status;
}
#endif /* IPR_FLOOR_MAX >= 9 */

#if IPR_FLOOR_MAX >= 10 && !defined(IPR_NO_RNN)
/* ==== FLOOR 10: MODELS ================================================================= >>models
   Networks put together from layers. They take gates, scales and biases as tensors and know no scheme.
   Hands up: ipr_classifier, ipr_seq2seq. */

IPR_API IPR__COLD ipr_classifier *ipr_classifier_new(ipr_ctx *c, const ipr_classifier_desc *d)
{
    const char *fn = "ipr_classifier_new";
    ipr_rnn_desc rd = IPR_ZERO;
    ipr_classifier *m;
    int pad;
    if (!c || c->err) return NULL;
    if (!d) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "the description is NULL");
        return NULL;
    }
    pad = d->pad > 0 ? (int)d->pad : -1;
    if (pad >= 0 && (ipr_index)pad >= d->vocabulary) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "padding id %d; the vocabulary has %I", pad, d->vocabulary);
        return NULL;
    }
    if (d->input < 1 || d->hidden < 1 || d->classes < 2 || d->vocabulary < 0) {
        (void)ipr__fail(c, IPR_E_ARG, fn,
                        "input %I, hidden %I, classes %I, vocabulary %I: sizes must be at least 1, classes 2", d->input,
                        d->hidden, d->classes, d->vocabulary);
        return NULL;
    }
    if (!(d->dropout >= 0 && d->dropout < 1) || !(d->embed_dropout >= 0 && d->embed_dropout < 1)) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "dropout %g and %g: 0 <= p < 1", d->dropout, d->embed_dropout);
        return NULL;
    }
    m = (ipr_classifier *)ipr__alloc(c, sizeof *m);
    if (!m) return NULL;
    ipr__zero(m, sizeof *m);
    m->c = c;
    m->desc = *d;
    if (!m->desc.cell) m->desc.cell = IPR_LSTM;
    if (!m->desc.layers) m->desc.layers = 1;
    rd.cell = m->desc.cell;
    rd.input = d->input;
    rd.hidden = d->hidden;
    rd.layers = d->layers;
    rd.bidirectional = d->bidirectional;
    rd.dropout = d->rnn_dropout;
    m->params = ipr_params_new(c);
    if (d->vocabulary) m->embed = ipr_embed_new(m->params, "embedding", d->vocabulary, d->input, pad);
    m->rnn = ipr_rnn_new(m->params, "rnn", &rd);
    m->output = ipr_dense_new(m->params, "output", d->hidden * ipr__rnn_dirs(&rd), d->classes, 1);
    if (c->err) {
        ipr_classifier_free(m);
        return NULL;
    }
    return m;
}

IPR_API IPR__COLD void ipr_classifier_free(ipr_classifier *m)
{
    if (!m) return;
    ipr_params_free(m->params);
    ipr__free(m->c, m);
}

IPR_API IPR__COLD ipr_classifier *ipr_classifier_clone(const ipr_classifier *m)
{
    ipr_classifier *n = m ? ipr_classifier_new(m->c, &m->desc) : NULL;
    if (n && ipr_params_copy(n->params, m->params) != IPR_OK) {
        ipr_classifier_free(n);
        return NULL;
    }
    return n;
}

/* Steps of each row of ids [T,B] before the pads at its end, at least 1. */
IPR__FN ipr_tensor *ipr__pad_lengths(ipr_ctx *c, const ipr_tensor *ids, int32_t pad)
{
    ipr_index b, n;
    ipr_tensor *t;
    if (ipr_is_poison(ids) || ids->rank != 2 || ids->s->type != IPR_T_I32) return NULL; /* the embedding will say so */
    t = ipr_new_i32(c, 1, &ids->dim[1]);
    for (b = 0; !ipr_is_poison(t) && b < ids->dim[1]; b++) {
        for (n = ids->dim[0]; n > 1 && ipr__rdi(ids)[(n - 1) * ids->stride[0] + b * ids->stride[1]] == pad; n--) {}
        ((int32_t *)t->s->data)[b] = (int32_t)n;
    }
    return t;
}

/* What the output layer reads, before its dropout. */
IPR__FN ipr_tensor *ipr__classifier_last(ipr_classifier *m, ipr_tensor *x, const ipr_gates *gates, int dual)
{
    ipr_rnn_call in = IPR_ZERO;
    ipr_rnn_result out;
    if (m->desc.vocabulary) {
        if (m->desc.pad > 0 && !m->desc.pads_as_coded) in.lengths = ipr__pad_lengths(m->c, x, m->desc.pad);
        x = ipr_dropout(m->c, ipr_embed_forward(m->c, &m->embed, x), m->desc.embed_dropout);
    }
    if (ipr_is_poison(x)) return ipr__poison(m->c);
    in.x = x;
    in.gates = gates;
    in.dual = dual;
    (void)ipr_rnn_apply(m->c, &m->rnn, &in, &out);
    return out.last;
}

IPR_API ipr_tensor *ipr_classifier_forward(ipr_classifier *m, ipr_tensor *x, const ipr_gates *gates, int dual)
{
    if (!m) return NULL;
    x = ipr__classifier_last(m, x, gates, dual);
    return ipr_dense_forward(m->c, &m->output, ipr_dropout(m->c, x, m->desc.dropout));
}

IPR_API int ipr_classifier_hidden(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                  ipr_real *out)
{
    enum { IPR__HIDDEN_BATCH = 256 };
    uint32_t seq[IPR__HIDDEN_BATCH];
    ipr_ctx *c = m ? m->c : NULL;
    const int training = m ? c->training : 0, no_grad = m ? c->no_grad : 0;
    ipr_index at, i, k;
    if (!m || !ds || !out)
        return ipr__fail(c, IPR_E_ARG, "ipr_classifier_hidden", "the model, the data set or out is NULL");
    ipr_set_training(c, 0);
    ipr_no_grad(c, 1);
    for (at = 0; at < n && !c->err; at += k) {
        ipr_tensor *x = NULL, *h;
        const uint32_t step_no = c->step_no;
        k = IPR__MIN(n - at, (ipr_index)IPR__HIDDEN_BATCH);
        for (i = 0; i < k; i++) seq[i] = idx ? idx[at + i] : (uint32_t)(at + i);
        (void)ipr_batch(c, ds, seq, k, IPR_TIME_MAJOR, &x, NULL);
        h = ipr__classifier_last(m, x, NULL, 0);
        if (!ipr_is_poison(h)) {
            const ipr_index width = ipr_dim(h, 1);
            ipr__copy(out + at * width, ipr_read(c, h), (size_t)(k * width) * sizeof *out);
        }
        ipr_step_end(c);
        c->step_no = step_no;
    }
    ipr_set_training(c, training);
    ipr_no_grad(c, no_grad);
    return c->err;
}

IPR_API int ipr_classifier_predict(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                   const ipr_real *gate_rows, ipr_index gate_steps, int32_t *labels, double *p_true)
{
    enum { IPR__EVAL_BATCH = 512 };
    uint32_t seq[IPR__EVAL_BATCH];
    ipr_index at, i, k;
    const int training = m ? m->c->training : 0, no_grad = m ? m->c->no_grad : 0;
    ipr_ctx *c = m ? m->c : NULL;
    if (!c) return IPR_E_ARG;
    ipr_set_training(c, 0);
    ipr_no_grad(c, 1);
    for (at = 0; at < n && !c->err; at += k) {
        ipr_tensor *x = NULL, *y = NULL, *p, *best;
        ipr_gates gates = IPR_ZERO;
        const uint32_t step_no = c->step_no;
        k = IPR__MIN(n - at, (ipr_index)IPR__EVAL_BATCH);
        for (i = 0; !idx && i < k; i++) seq[i] = (uint32_t)(at + i);
        (void)ipr_batch(c, ds, idx ? idx + at : seq, k, IPR_TIME_MAJOR, &x, &y);
        for (gates.count = 0; gate_rows && gates.count < m->rnn.cells; gates.count++) {
            ipr_index d[2];
            d[0] = gate_steps;
            d[1] = m->desc.hidden;
            gates.at[gates.count] = ipr_from(c, 2, d, gate_rows + gates.count * gate_steps * m->desc.hidden);
        }
        p = ipr_softmax(c, ipr_classifier_forward(m, x, gate_rows ? &gates : NULL, 0));
        best = ipr_argmax(c, p);
        if (!ipr_is_poison(best) && !ipr_is_poison(y)) {
            for (i = 0; labels && i < k; i++) labels[at + i] = ipr__rdi(best)[i];
            for (i = 0; p_true && i < k; i++) p_true[at + i] = (double)ipr__rd(p)[i * m->desc.classes + ipr__rdi(y)[i]];
        }
        ipr_step_end(c);
        c->step_no = step_no; /* evaluation leaves the dropout keys of training alone */
    }
    ipr_set_training(c, training);
    ipr_no_grad(c, no_grad);
    return c->err;
}

IPR_API double ipr_classifier_accuracy(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                       const ipr_real *gate_rows, ipr_index gate_steps)
{
    ipr_index i, right = 0;
    int32_t *got;
    if (!m || n < 1) return -1;
    got = (int32_t *)ipr__alloc(m->c, (size_t)n * 4);
    if (!got || ipr_classifier_predict(m, ds, idx, n, gate_rows, gate_steps, got, NULL) != IPR_OK) {
        ipr__free(m->c, got);
        return -1;
    }
    for (i = 0; i < n; i++) right += got[i] == ipr_dataset_label(ds, idx ? (ipr_index)idx[i] : i);
    ipr__free(m->c, got);
    return 100.0 * (double)right / (double)n;
}

/* ---- ipr_seq2seq ---- */

IPR_API IPR__COLD IPR__COLD ipr_seq2seq *ipr_seq2seq_new(ipr_ctx *c, const ipr_seq2seq_desc *desc)
{
    const char *fn = "ipr_seq2seq_new";
    ipr_rnn_desc rd = IPR_ZERO;
    ipr_seq2seq_desc d;
    ipr_seq2seq *m;
    if (!c || c->err) return NULL;
    if (!desc) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "the description is NULL");
        return NULL;
    }
    d = *desc;
    if (!d.pad) d.pad = 1;
    if (!d.eos) d.eos = 2;
    if (!d.bos) d.bos = 3;
    if (d.source_vocabulary < 2 || d.target_vocabulary < 2 || d.embed < 1 || d.hidden < 1) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "vocabularies %I and %I, embed %I, hidden %I: at least 2, 2, 1 and 1",
                        d.source_vocabulary, d.target_vocabulary, d.embed, d.hidden);
        return NULL;
    }
    if (!(d.dropout >= 0 && d.dropout < 1) || !(d.embed_dropout >= 0 && d.embed_dropout < 1)) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "dropout %g and %g: 0 <= p < 1", d.dropout, d.embed_dropout);
        return NULL;
    }
    if (d.pad < 0 || d.eos < 0 || d.bos < 0 || d.pad == d.eos || d.pad == d.bos || d.eos == d.bos ||
        IPR__MAX(d.pad, IPR__MAX(d.eos, d.bos)) >= d.target_vocabulary || d.pad >= d.source_vocabulary) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "pad %d, eos %d, bos %d: three ids of the target vocabulary, pad of both",
                        (int)d.pad, (int)d.eos, (int)d.bos);
        return NULL;
    }
    m = (ipr_seq2seq *)ipr__alloc(c, sizeof *m);
    if (!m) return NULL;
    ipr__zero(m, sizeof *m);
    m->c = c;
    m->desc = d;
    m->params = ipr_params_new(c);
    m->encoder_embed = ipr_embed_new(m->params, "encoder.embedding", d.source_vocabulary, d.embed, (int)d.pad);
    rd.cell = IPR_GRU;
    rd.input = d.embed;
    rd.hidden = d.hidden;
    rd.bidirectional = d.bidirectional;
    m->encoder = ipr_rnn_new(m->params, "encoder.rnn", &rd);
    if (d.bidirectional) m->bridge = ipr_dense_new(m->params, "encoder.bridge", 2 * d.hidden, d.hidden, 1);
    m->decoder_embed = ipr_embed_new(m->params, "decoder.embedding", d.target_vocabulary, d.embed, (int)d.pad);
    rd.input += d.context ? d.hidden : 0;
    rd.bidirectional = 0;
    m->decoder = ipr_rnn_new(m->params, "decoder.rnn", &rd);
    m->output = ipr_dense_new(m->params, "decoder.output", d.hidden, d.target_vocabulary, 1);
    if (c->err) {
        ipr_seq2seq_free(m);
        return NULL;
    }
    return m;
}

IPR_API IPR__COLD IPR__COLD void ipr_seq2seq_free(ipr_seq2seq *m)
{
    if (!m) return;
    ipr_params_free(m->params);
    ipr__free(m->c, m);
}

IPR_API IPR__COLD IPR__COLD ipr_seq2seq *ipr_seq2seq_clone(const ipr_seq2seq *m)
{
    ipr_seq2seq *n = m ? ipr_seq2seq_new(m->c, &m->desc) : NULL;
    if (n && ipr_params_copy(n->params, m->params) != IPR_OK) {
        ipr_seq2seq_free(n);
        return NULL;
    }
    return n;
}

IPR__FN ipr_tensor *ipr__ones(ipr_ctx *c, int rank, const ipr_index *dims)
{
    return ipr_affine(c, ipr_new(c, rank, dims), 0, 1);
}

/* Steps of each column of ids [T,B] before its trailing pads, at least 1: int32 [B]. */
IPR__FN ipr_tensor *ipr__s2s_lengths(ipr_ctx *c, const ipr_tensor *ids, int32_t pad)
{
    ipr_index B = ids->dim[1], b, t;
    const int32_t *w = ipr_read_i32(c, ids);
    ipr_tensor *n = ipr_new_i32(c, 1, &B);
    for (b = 0; w && !ipr_is_poison(n) && b < B; b++) {
        for (t = ids->dim[0]; t > 1 && w[(t - 1) * B + b] == pad; t--) {}
        ((int32_t *)n->s->data)[b] = (int32_t)t;
    }
    return w ? n : ipr__poison(c);
}

/* Last encoder states [B or 2B,H] of source [S,B]. */
IPR__FN ipr_tensor *ipr__s2s_encode(ipr_seq2seq *m, ipr_tensor *source, const ipr_gates *gates, int dual)
{
    ipr_ctx *c = m->c;
    ipr_tensor *x = ipr_dropout(c, ipr_embed_forward(c, &m->encoder_embed, source), m->desc.embed_dropout);
    ipr_rnn_in in = ipr__rnn_inputs(&m->encoder.at[0], x);
    ipr_rnn_call call = IPR_ZERO;
    ipr_rnn_result out;
    if (ipr_is_poison(x)) return x;
    call.lengths = in.lengths = ipr__s2s_lengths(c, source, m->desc.pad);
    call.x = x;
    call.dual = in.dual = dual;
    if (m->desc.bidirectional) {
        call.gates = gates->count ? gates : NULL;
        (void)ipr_rnn_apply(c, &m->encoder, &call, &out);
        return ipr_tanh(c, ipr_dense_forward(c, &m->bridge, out.last));
    }
    in.gate = gates->at[0];
    in.reverse = m->desc.reverse;
    in.no_y = 1;
    return ipr__rnn_run(c, IPR_GRU, &in).h_n;
}

/* Decoder states after ids [T,B] from h0 [R,H], R = B or (dual) 2B: h of every step [T,R,H], behind the gate (all rows,
   dual: the second half). h_n (may be NULL) gets the last ones. */
IPR__FN ipr_tensor *ipr__s2s_decode(ipr_seq2seq *m, ipr_tensor *ids, ipr_tensor *h0, ipr_tensor *ctx, ipr_tensor *gate,
                                    int dual)
{
    ipr_ctx *c = m->c;
    ipr_tensor *x = ipr_dropout(c, ipr_embed_forward(c, &m->decoder_embed, ids), m->desc.embed_dropout), *g, *y, *p[2];
    ipr_rnn_in in;
    ipr_index d[4], T, B, H = m->desc.hidden;
    if (ipr_is_poison(x) || ipr_is_poison(h0)) return ipr__poison(c);
    T = ipr_dim(ids, 0);
    B = ipr_dim(ids, 1);
    if (m->desc.context) { /* the rows' contexts differ, so that dual shares no projection here */
        d[0] = T;
        d[1] = 1;
        d[2] = 1;
        p[0] = p[1] = x;
        if (dual) x = ipr_concat(c, p, 2, 1);
        p[0] = x;
        p[1] = ipr_mul(c, ipr__ones(c, 3, d), ctx); /* [T,R,H] */
        x = ipr_concat(c, p, 2, 2);
        if (ipr_is_poison(x)) return x;
    }
    in = ipr__rnn_inputs(&m->decoder.at[0], x);
    in.h0 = h0;
    in.gate = gate;
    in.dual = dual && !m->desc.context;
    if (dual) in.gate_from = B;
    if (T > 1 && !(dual && m->desc.context)) in.lengths = ipr__s2s_lengths(c, ids, m->desc.pad);
    y = ipr__rnn_run(c, IPR_GRU, &in).y;
    if (!gate || ipr_is_poison(y)) return y;
    /* what the output layer reads: h * gate[t] in the gated rows */
    d[0] = T - IPR__MIN(T, ipr_dim(gate, 0));
    d[1] = H;
    p[0] = ipr_slice(c, gate, 0, 0, T - d[0]);
    p[1] = d[0] ? ipr__ones(c, 2, d) : NULL;
    g = d[0] ? ipr_concat(c, p, 2, 0) : p[0];
    d[0] = T;
    d[1] = 1;
    d[2] = 1;
    d[3] = H;
    g = ipr_reshape(c, g, 4, d);
    p[0] = ipr__ones(c, 4, d);
    p[1] = g;
    if (dual) g = ipr_concat(c, p, 2, 1); /* [T,2,1,H] */
    d[1] = dual ? 2 : 1;
    d[2] = B;
    y = ipr_mul(c, ipr_reshape(c, y, 4, d), g);
    d[1] = dual ? 2 * B : B;
    d[2] = H;
    return ipr_reshape(c, y, 3, d);
}

/* Checks a pair of batches, and runs both layers: [T,R,H]. */
IPR__FN ipr_tensor *ipr__s2s_states(ipr_seq2seq *m, const char *fn, ipr_tensor *source, ipr_tensor *target,
                                    const ipr_seq2seq_gates *gates, int dual)
{
    const ipr_seq2seq_gates none = IPR_ZERO;
    ipr_ctx *c = m->c;
    ipr_tensor *h;
    char s1[96], s2[96];
    if (c->err || ipr_is_poison(source) || ipr_is_poison(target)) return ipr__poison(c);
    if (source->rank != 2 || target->rank != 2 || source->dim[1] != target->dim[1] || target->dim[0] < 2) {
        (void)ipr__fail(c, IPR_E_SHAPE, fn, "source %s, target %s; steps x rows of ids, as many rows, 2 target steps",
                        ipr__shape(source, s1), ipr__shape(target, s2));
        return ipr__poison(c);
    }
    if (!gates) gates = &none;
    h = ipr__s2s_encode(m, source, &gates->encoder, dual);
    return ipr__s2s_decode(m, ipr_slice(c, target, 0, 0, target->dim[0] - 1), h, h, gates->decoder.at[0], dual);
}

IPR_API ipr_tensor *ipr_seq2seq_forward(ipr_seq2seq *m, ipr_tensor *source, ipr_tensor *target,
                                        const ipr_seq2seq_gates *gates, int dual)
{
    if (!m) return NULL;
    return ipr_dense_forward(
        m->c, &m->output,
        ipr_dropout(m->c, ipr__s2s_states(m, "ipr_seq2seq_forward", source, target, gates, dual), m->desc.dropout));
}

IPR_API ipr_tensor *ipr_seq2seq_loss(ipr_seq2seq *m, ipr_tensor *source, ipr_tensor *target,
                                     const ipr_seq2seq_gates *gates, int dual)
{
    ipr_tensor *y, *at, *labels, *loss;
    ipr_index T, B, R, t, r, n = 0, d[2];
    const int32_t *w;
    if (!m) return NULL;
    y = ipr__s2s_states(m, "ipr_seq2seq_loss", source, target, gates, dual);
    if (ipr_is_poison(y) || !(w = ipr_read_i32(m->c, target))) return ipr__poison(m->c);
    T = ipr_dim(y, 0);
    R = ipr_dim(y, 1);
    B = ipr_dim(target, 1);
    for (t = 0; t < T * B; t++) n += w[t + B] != m->desc.pad;
    n *= dual ? 2 : 1;
    d[0] = n;
    at = ipr_new_i32(m->c, 1, d);
    labels = ipr_new_i32(m->c, 1, d);
    if (ipr_is_poison(at) || ipr_is_poison(labels)) return ipr__poison(m->c);
    for (n = t = 0; t < T; t++)
        for (r = 0; r < R; r++) {
            const int32_t id = w[(t + 1) * B + r % B];
            if (id == m->desc.pad) continue;
            ((int32_t *)at->s->data)[n] = (int32_t)(t * R + r);
            ((int32_t *)labels->s->data)[n++] = id;
        }
    d[0] = T * R;
    d[1] = m->desc.hidden;
    y = ipr_embedding(m->c, ipr_reshape(m->c, y, 2, d), at, -1);
    y = ipr_dense_forward(m->c, &m->output, ipr_dropout(m->c, y, m->desc.dropout));
    loss = ipr_cross_entropy(m->c, y, labels);
    return dual ? ipr_affine(m->c, loss, 2, 0) : loss; /* the mean over both kinds, doubled, is their sum */
}

/* ---- translation ---- */

IPR_API IPR__COLD IPR__COLD ipr_decode_desc ipr_decode_resolved(const ipr_decode_desc *desc)
{
    ipr_decode_desc d = IPR_ZERO;
    if (desc) d = *desc;
    if (!d.beam) d.beam = 1;
    if (!d.max_length) d.max_length = 50;
    if (!d.batch) d.batch = 64;
    d.length_power = d.length_power < 0 ? 0 : d.length_power > 0 ? d.length_power : 1;
    return d;
}

typedef struct ipr__hyp {
    double logp;
    ipr_index row;
    int32_t word;
} ipr__hyp;

/* One row for each living hypothesis; those of a sentence lie together. */
typedef struct ipr__hyps {
    ipr_index *sentence; /* [R] */
    double *logp;        /* [R] */
    int32_t *said;       /* [R][max_length] */
} ipr__hyps;

/* A batch of sentences being translated. */
typedef struct ipr__beam {
    const ipr_seq2seq *m;
    ipr_decode_desc d;
    ipr_index rows;
    ipr__hyps now, next;
    ipr_real *h, *context; /* [R][H] states of now's rows; [batch][H] */
    ipr__hyp *top;         /* [beam] */
    double *best;          /* [batch] score of the best hypothesis that ended */
    int *ended;            /* [batch] how many did */
    int32_t *words;        /* [batch][max_length] and [batch]: the caller's */
    ipr_index *count;
} ipr__beam;

/* The best `room` continuations of rows r0..r1-1 into b->top, best first, of equals the first. Returns how many. */
IPR__FN int ipr__beam_top(const ipr__beam *b, const ipr_real *lp, ipr_index r0, ipr_index r1, int room)
{
    const ipr_index V = b->m->desc.target_vocabulary;
    ipr_index r, v;
    int n = 0, k;
    for (r = r0; r < r1; r++)
        for (v = 0; v < V; v++) {
            const double p = b->now.logp[r] + (double)lp[r * V + v];
            if ((n == room && !(p > b->top[n - 1].logp)) || v == b->m->desc.pad || v == b->m->desc.bos) continue;
            if (n < room) n++;
            for (k = n - 1; k > 0 && p > b->top[k - 1].logp; k--) b->top[k] = b->top[k - 1];
            b->top[k].logp = p;
            b->top[k].row = r;
            b->top[k].word = (int32_t)v;
        }
    return n;
}

IPR__FN double ipr__beam_score(const ipr__beam *b, double logp, ipr_index words)
{
    const double n = (double)words + 1, a = b->d.length_power;
    return logp / (a == 1 ? n : ipr__dexp(a * ipr__dlog(n)));
}

/* Hypothesis h of sentence s ends after `length` words, with eos or (cut: its own word is the last) without. */
IPR__TOOL void ipr__beam_end(ipr__beam *b, ipr_index s, const ipr__hyp *h, ipr_index length, int cut)
{
    const double score = ipr__beam_score(b, h->logp, length);
    int32_t *out = b->words + s * b->d.max_length;
    if (b->ended[s]++ && !(score > b->best[s])) return;
    b->best[s] = score;
    b->count[s] = length;
    ipr__copy(out, b->now.said + h->row * b->d.max_length, (size_t)(length - cut) * sizeof *out);
    if (cut) out[length - 1] = h->word;
}

/* From log-probabilities lp [R,V] and states h [R,H] after t words: hypotheses end or become the next rows. */
IPR__FN void ipr__beam_advance(ipr__beam *b, const ipr_real *lp, const ipr_real *h, ipr_index t)
{
    const ipr_index H = b->m->desc.hidden, max = b->d.max_length;
    const ipr__hyps used = b->now;
    ipr_index r0, r1, R = 0;
    int k, n;
    for (r0 = 0; r0 < b->rows; r0 = r1) {
        const ipr_index s = used.sentence[r0], first = R;
        for (r1 = r0; r1 < b->rows && used.sentence[r1] == s; r1++) {}
        n = ipr__beam_top(b, lp, r0, r1, b->d.beam - b->ended[s]);
        for (k = 0; k < n; k++) {
            const ipr__hyp *p = &b->top[k];
            if (p->word == b->m->desc.eos || t + 1 == max) {
                const int cut = p->word != b->m->desc.eos;
                ipr__beam_end(b, s, p, t + cut, cut);
                continue;
            }
            ipr__copy(b->h + R * H, h + p->row * H, (size_t)H * sizeof *h);
            ipr__copy(b->next.said + R * max, used.said + p->row * max, (size_t)t * sizeof *used.said);
            b->next.said[R * max + t] = p->word;
            b->next.logp[R] = p->logp;
            b->next.sentence[R++] = s;
        }
        /* log-probabilities only fall: at the longest length the best row scores at most this, and cannot win */
        if (b->ended[s] && R > first && ipr__beam_score(b, b->next.logp[first], max) <= b->best[s]) R = first;
    }
    b->rows = R;
    b->now = b->next;
    b->next = used;
}

/* Gate row t as a tensor [1,H]; NULL behind the last. */
IPR__FN ipr_tensor *ipr__gate_row(ipr_ctx *c, const ipr_real *rows, ipr_index steps, ipr_index t, ipr_index H)
{
    ipr_index d[2];
    d[0] = 1;
    d[1] = H;
    return rows && t < steps ? ipr_from(c, 2, d, rows + t * H) : NULL;
}

/* All gate rows of a layer as tensors. */
IPR__TOOL ipr_gates ipr__gate_rows(ipr_ctx *c, const ipr_rnn *l, const ipr_real *rows, ipr_index steps)
{
    ipr_gates g = IPR_ZERO;
    ipr_index d[2];
    int i;
    d[0] = steps;
    d[1] = l->desc.hidden;
    g.count = rows ? l->cells : 0;
    for (i = 0; i < g.count; i++) g.at[i] = ipr_from(c, 2, d, rows + i * d[0] * d[1]);
    return g;
}

/* One word for every row. 0 on error. */
IPR__FN int ipr__beam_step(ipr__beam *b, ipr_seq2seq *m, const ipr_seq2seq_rows *g, ipr_index t)
{
    ipr_ctx *c = m->c;
    const ipr_index H = m->desc.hidden;
    ipr_index d[2], r;
    ipr_tensor *ids, *h, *ctx = NULL, *lp;
    d[0] = 1;
    d[1] = b->rows;
    ids = ipr_new_i32(c, 2, d);
    d[0] = b->rows;
    d[1] = H;
    h = ipr_from(c, 2, d, b->h);
    if (m->desc.context) ctx = ipr__temp(c, 2, d);
    if (ipr_is_poison(ids) || ipr_is_poison(h) || (ctx && ipr_is_poison(ctx))) return 0;
    for (r = 0; r < b->rows; r++) {
        ((int32_t *)ids->s->data)[r] = t ? b->now.said[r * b->d.max_length + t - 1] : m->desc.bos;
        if (ctx) ipr__copy(ipr__wr(ctx) + r * H, b->context + b->now.sentence[r] * H, (size_t)H * sizeof(ipr_real));
    }
    h = ipr__s2s_decode(m, ids, h, ctx, g ? ipr__gate_row(c, g->decoder, g->decoder_steps, t, H) : NULL, 0);
    lp = ipr_log_softmax(c, ipr_dense_forward(c, &m->output, h)); /* [1,R,V] */
    if (ipr_is_poison(lp)) return 0;
    ipr__beam_advance(b, ipr__rd(lp), ipr__rd(h), t);
    return 1;
}

/* Items idx[0..k-1]. */
IPR__FN int ipr__beam_run(ipr__beam *b, ipr_seq2seq *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index k,
                          const ipr_seq2seq_rows *g)
{
    ipr_ctx *c = m->c;
    const ipr_index H = m->desc.hidden;
    const ipr_gates gates = ipr__gate_rows(c, &m->encoder, g ? g->encoder : NULL, g ? g->encoder_steps : 0);
    ipr_tensor *x, *h;
    ipr_index s, t;
    (void)ipr_batch(c, ds, idx, k, IPR_TIME_MAJOR, &x, NULL);
    h = ipr__s2s_encode(m, x, &gates, 0);
    if (ipr_is_poison(h)) return 0;
    ipr__copy(b->h, ipr__rd(h), (size_t)(k * H) * sizeof(ipr_real));
    ipr__copy(b->context, ipr__rd(h), (size_t)(k * H) * sizeof(ipr_real));
    for (s = 0; s < k; s++) {
        b->now.sentence[s] = s;
        b->now.logp[s] = b->best[s] = 0;
        b->count[s] = b->ended[s] = 0;
    }
    b->rows = k;
    for (t = 0; b->rows > 0; t++) {
        ipr_step_end(c);
        if (!ipr__beam_step(b, m, g, t)) return 0;
    }
    return 1;
}

/* Evaluation leaves training mode, tape and the dropout keys of training as they were. */
typedef struct ipr__eval {
    int training, no_grad;
    uint32_t step_no;
} ipr__eval;
IPR__FN ipr__eval ipr__eval_begin(ipr_ctx *c)
{
    ipr__eval e;
    e.training = c->training;
    e.no_grad = c->no_grad;
    e.step_no = c->step_no;
    ipr_set_training(c, 0);
    ipr_no_grad(c, 1);
    return e;
}
IPR__FN int ipr__eval_end(ipr_ctx *c, ipr__eval e)
{
    ipr_step_end(c);
    c->step_no = e.step_no;
    ipr_set_training(c, e.training);
    ipr_no_grad(c, e.no_grad);
    return c->err;
}

/* Data sets and the items asked for; target may be NULL. */
IPR__TOOL int ipr__s2s_given(const ipr_seq2seq *m, const char *fn, const ipr_dataset *source, const ipr_dataset *target,
                             const uint32_t *idx, ipr_index n)
{
    if (!m) return IPR_E_ARG;
    if (m->c->err) return m->c->err;
    if (!source || !source->tokens || (target && !target->tokens))
        return ipr__fail(m->c, IPR_E_ARG, fn, "the source or the target is not a data set of tokens");
    if (n < 1 || (!idx && n > source->count) || (target && target->count != source->count))
        return ipr__fail(m->c, IPR_E_RANGE, fn, "%I of %I sentences, %I translations: at least one, as many of both", n,
                         source->count, target ? target->count : source->count);
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_seq2seq_decode(ipr_seq2seq *m, const ipr_dataset *source, const uint32_t *idx, ipr_index n,
                                         const ipr_seq2seq_rows *rows, const ipr_decode_desc *desc, int32_t *words,
                                         ipr_index *count, double *score)
{
    const char *fn = "ipr_seq2seq_decode";
    const ipr_decode_desc d = ipr_decode_resolved(desc);
    ipr_index at, i, k, R, H;
    ipr__beam b = IPR_ZERO;
    uint32_t *seq;
    ipr__eval e;
    ipr_ctx *c;
    if (ipr__s2s_given(m, fn, source, NULL, idx, n) != IPR_OK) return m ? m->c->err : IPR_E_ARG;
    c = m->c;
    if (!words || !count) return ipr__fail(c, IPR_E_ARG, fn, "words or count is NULL");
    if (d.beam < 1 || d.beam > 4096 || d.max_length < 1 || d.max_length > 1 << 16 || d.batch < 1 || d.batch > 1 << 16)
        return ipr__fail(c, IPR_E_RANGE, fn, "beam %d, max_length %I, batch %I: 1..4096, 1..65536, 1..65536", d.beam,
                         d.max_length, d.batch);
    H = m->desc.hidden;
    R = d.batch * d.beam;
    b.m = m;
    b.d = d;
    b.now.sentence = (ipr_index *)ipr__alloc(c, (size_t)R * sizeof(ipr_index));
    b.now.logp = (double *)ipr__alloc(c, (size_t)R * sizeof(double));
    b.now.said = (int32_t *)ipr__alloc(c, (size_t)(R * d.max_length) * sizeof(int32_t));
    b.next.sentence = (ipr_index *)ipr__alloc(c, (size_t)R * sizeof(ipr_index));
    b.next.logp = (double *)ipr__alloc(c, (size_t)R * sizeof(double));
    b.next.said = (int32_t *)ipr__alloc(c, (size_t)(R * d.max_length) * sizeof(int32_t));
    b.h = (ipr_real *)ipr__alloc(c, (size_t)(R * H) * sizeof(ipr_real));
    b.context = (ipr_real *)ipr__alloc(c, (size_t)(d.batch * H) * sizeof(ipr_real));
    b.top = (ipr__hyp *)ipr__alloc(c, (size_t)d.beam * sizeof(ipr__hyp));
    b.best = (double *)ipr__alloc(c, (size_t)d.batch * sizeof(double));
    b.ended = (int *)ipr__alloc(c, (size_t)d.batch * sizeof(int));
    seq = (uint32_t *)ipr__alloc(c, (size_t)d.batch * sizeof(uint32_t));
    e = ipr__eval_begin(c);
    for (at = 0; at < n && !c->err; at += k) {
        k = IPR__MIN(n - at, d.batch);
        for (i = 0; i < k; i++) seq[i] = idx ? idx[at + i] : (uint32_t)(at + i);
        b.words = words + at * d.max_length;
        b.count = count + at;
        if (!ipr__beam_run(&b, m, source, seq, k, rows)) break;
        for (i = 0; score && i < k; i++) score[at + i] = b.best[i];
        ipr_step_end(c);
    }
    (void)ipr__eval_end(c, e);
    ipr__free(c, b.now.sentence);
    ipr__free(c, b.now.logp);
    ipr__free(c, b.now.said);
    ipr__free(c, b.next.sentence);
    ipr__free(c, b.next.logp);
    ipr__free(c, b.next.said);
    ipr__free(c, b.h);
    ipr__free(c, b.context);
    ipr__free(c, b.top);
    ipr__free(c, b.best);
    ipr__free(c, b.ended);
    ipr__free(c, seq);
    return c->err;
}

IPR_API IPR__COLD int ipr_seq2seq_score(ipr_seq2seq *m, const ipr_dataset *source, const ipr_dataset *target,
                                        const uint32_t *idx, ipr_index n, const ipr_seq2seq_rows *rows, double *logp,
                                        int32_t *forced, ipr_index stride)
{
    enum { IPR__SCORE_BATCH = 64 };
    uint32_t seq[IPR__SCORE_BATCH];
    ipr_index at, i, k, t, V;
    ipr__eval e;
    ipr_ctx *c;
    if (!target && m) return ipr__fail(m->c, IPR_E_ARG, "ipr_seq2seq_score", "the target is NULL");
    if (ipr__s2s_given(m, "ipr_seq2seq_score", source, target, idx, n) != IPR_OK) return m ? m->c->err : IPR_E_ARG;
    c = m->c;
    V = m->desc.target_vocabulary;
    e = ipr__eval_begin(c);
    for (at = 0; at < n && !c->err; at += k) {
        ipr_seq2seq_gates g = IPR_ZERO;
        ipr_tensor *x, *y, *p, *best;
        k = IPR__MIN(n - at, (ipr_index)IPR__SCORE_BATCH);
        for (i = 0; i < k; i++) seq[i] = idx ? idx[at + i] : (uint32_t)(at + i);
        (void)ipr_batch(c, source, seq, k, IPR_TIME_MAJOR, &x, NULL);
        (void)ipr_batch(c, target, seq, k, IPR_TIME_MAJOR, &y, NULL);
        if (rows) {
            g.encoder = ipr__gate_rows(c, &m->encoder, rows->encoder, rows->encoder_steps);
            g.decoder = ipr__gate_rows(c, &m->decoder, rows->decoder, rows->decoder_steps);
        }
        p = ipr_log_softmax(c, ipr_seq2seq_forward(m, x, y, &g, 0)); /* [T,k,V] */
        best = forced ? ipr_argmax(c, p) : NULL;
        for (i = 0; i < k && !ipr_is_poison(p) && !(forced && ipr_is_poison(best)); i++) {
            const ipr_index T = ipr_dim(p, 0);
            double sum = 0;
            for (t = 0; t < IPR__MAX(T, forced ? stride : 0); t++) {
                const int32_t w = t < T ? ipr__rdi(y)[(t + 1) * k + i] : m->desc.pad;
                if (w != m->desc.pad) sum += (double)ipr__rd(p)[(t * k + i) * V + w];
                if (forced && t < stride)
                    forced[(at + i) * stride + t] = w != m->desc.pad ? ipr__rdi(best)[t * k + i] : -1;
            }
            if (logp) logp[at + i] = sum;
        }
        ipr_step_end(c);
    }
    return ipr__eval_end(c, e);
}

#ifndef IPR_NO_TRAIN
/* The words of target item i without its marks. */
IPR__TOOL const int32_t *ipr__s2s_reference(const ipr_seq2seq *m, const ipr_dataset *target, ipr_index i, ipr_index *n)
{
    const int32_t *w = ipr_dataset_item_tokens(target, i, n);
    if (*n && w[0] == m->desc.bos) {
        w++;
        --*n;
    }
    if (*n && w[*n - 1] == m->desc.eos) --*n;
    return w;
}

/* BLEU of said [n][max], which is changed; count NULL: each ends at its first eos or -1. The unknown word (0) is right
   nowhere: so scored, ids give the BLEU of the words themselves. */
IPR__TOOL double ipr__s2s_corpus(const ipr_seq2seq *m, const ipr_dataset *target, const uint32_t *idx, ipr_index n,
                                 int32_t *said, ipr_index max, const ipr_index *count, int smooth)
{
    ipr_bleu b = IPR_ZERO;
    ipr_index i, k, j, ref;
    for (i = 0; i < n; i++) {
        int32_t *w = said + i * max;
        const int32_t *r = ipr__s2s_reference(m, target, idx ? (ipr_index)idx[i] : i, &ref);
        for (k = 0; !count && k < max && w[k] >= 0 && w[k] != m->desc.eos; k++) {}
        if (count) k = count[i];
        for (j = 0; j < k; j++) w[j] = w[j] ? w[j] : -1;
        ipr_bleu_add(&b, w, k, r, ref);
    }
    return ipr_bleu_score(&b, smooth);
}

IPR_API IPR__COLD double ipr_seq2seq_bleu(ipr_seq2seq *m, const ipr_dataset *source, const ipr_dataset *target,
                                          const uint32_t *idx, ipr_index n, const ipr_seq2seq_rows *rows,
                                          const ipr_decode_desc *desc, int smooth)
{
    const ipr_decode_desc d = ipr_decode_resolved(desc);
    ipr_index *count;
    int32_t *said;
    double v = -1;
    if (!target && m) (void)ipr__fail(m->c, IPR_E_ARG, "ipr_seq2seq_bleu", "the target is NULL");
    if (ipr__s2s_given(m, "ipr_seq2seq_bleu", source, target, idx, n) != IPR_OK || d.max_length < 1) return v;
    said = (int32_t *)ipr__alloc(m->c, (size_t)(n * d.max_length) * sizeof *said);
    count = (ipr_index *)ipr__alloc(m->c, (size_t)n * sizeof *count);
    if (said && count && ipr_seq2seq_decode(m, source, idx, n, rows, desc, said, count, NULL) == IPR_OK)
        v = ipr__s2s_corpus(m, target, idx, n, said, d.max_length, count, smooth);
    ipr__free(m->c, said);
    ipr__free(m->c, count);
    return v;
}

IPR_API IPR__COLD double ipr_seq2seq_bleu_forced(ipr_seq2seq *m, const ipr_dataset *source, const ipr_dataset *target,
                                                 const uint32_t *idx, ipr_index n, const ipr_seq2seq_rows *rows,
                                                 int smooth)
{
    ipr_index max = 1, i;
    int32_t *said;
    double v = -1;
    if (!target && m) (void)ipr__fail(m->c, IPR_E_ARG, "ipr_seq2seq_bleu_forced", "the target is NULL");
    if (ipr__s2s_given(m, "ipr_seq2seq_bleu_forced", source, target, idx, n) != IPR_OK) return v;
    for (i = 0; i < n; i++) max = IPR__MAX(max, ipr_dataset_length(target, idx ? (ipr_index)idx[i] : i));
    said = (int32_t *)ipr__alloc(m->c, (size_t)(n * max) * sizeof *said);
    if (said && ipr_seq2seq_score(m, source, target, idx, n, rows, NULL, said, max) == IPR_OK)
        v = ipr__s2s_corpus(m, target, idx, n, said, max, NULL, smooth);
    ipr__free(m->c, said);
    return v;
}
#endif
#endif /* IPR_FLOOR_MAX >= 10 */

#if IPR_FLOOR_MAX >= 11
/* ==== FLOOR 11: SCHEMES ================================================================ >>schemes
   Ownership schemes. Each has a secret object of its own, embeds by adding terms to a training step, and
   leaves verification to the verdict floor and inversion to the attacks.
   Hands up: ipr_triggers_*, ipr_gatekeeper. */

/* ---- derivation: owner seed -> 64-bit seed of the counter RNG, one per item ---- */

IPR__TOOL uint64_t ipr__derive(const void *seed, size_t bytes, const char *scheme, const char *layer, const char *item)
{
    char info[200];
    uint8_t out[8];
    uint64_t v;
    const int n = ipr__fmt(info, sizeof info, "ipr1|%s|%s|%s", scheme, layer, item);
    (void)ipr_hkdf_sha256(seed, bytes, NULL, 0, info, (size_t)n, out, sizeof out);
    v = ipr__ld64le(out);
    ipr_wipe(out, sizeof out);
    return v;
}

/* ---- trigger sets ---- */

IPR_API IPR__COLD ipr_dataset *ipr_triggers_new(ipr_ctx *c, ipr_dataset *from, ipr_index n, double noise,
                                                const void *seed, size_t seed_bytes, ipr_dataset **rest)
{
    const char *fn = "ipr_triggers_new";
    ipr_dataset *set = NULL;
    uint32_t *order;
    int32_t *labels;
    uint8_t *items;
    ipr_index i, k, longest = 0, len, *offset;
    size_t bytes, each = from ? (size_t)from->item : 0;
    ipr_rng r;
    if (rest) *rest = NULL;
    if (!c || c->err) return NULL;
    if (!from || !seed) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "the data set or the seed is NULL");
        return NULL;
    }
    if (seed_bytes < 16) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "a seed of %U bytes can be guessed; use at least 16 random ones",
                        (uint64_t)seed_bytes);
        return NULL;
    }
    if ((!from->u8 && !from->tokens) || !from->labels || from->classes < 2) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "needs labelled items of bytes or tokens, with at least 2 classes");
        return NULL;
    }
    if (n < 1 || n >= from->count) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "%I triggers from %I items", n, from->count);
        return NULL;
    }
    if (!(noise >= 0 && noise <= 1)) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "noise %g; a share of the elements, 0..1", noise);
        return NULL;
    }
    if (from->tokens) { /* offsets, then ids */
        for (i = 0; i < from->count; i++) longest = IPR__MAX(longest, ipr_dataset_length(from, i));
        each = (size_t)longest * 4;
    }
    if (!ipr__mul((size_t)n + 1, each + (from->tokens ? sizeof *offset : 0), &bytes)) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "%I triggers overflow", n);
        return NULL;
    }
    order = (uint32_t *)ipr__alloc(c, (size_t)from->count * 4);
    labels = (int32_t *)ipr__alloc(c, (size_t)n * 4);
    items = (uint8_t *)ipr__alloc(c, bytes);
    if (order && labels && items) {
        r = ipr_rng_make(ipr__derive(seed, seed_bytes, "triggers", "items", "choice"), IPR__STREAM_KEY, 2);
        for (i = 0; i < from->count; i++) order[i] = (uint32_t)i;
        ipr_rng_shuffle(&r, order, from->count);
        for (i = 0; i < n; i++) {
            const ipr_index at = (ipr_index)order[i];
            const uint32_t shift = 1 + ipr_rng_below(&r, (uint32_t)from->classes - 1); /* any label but the right one */
            labels[i] = (int32_t)(((uint32_t)ipr_dataset_label(from, at) + shift) % (uint32_t)from->classes);
            if (from->tokens) {
                int32_t *ids = (int32_t *)(void *)(items + ((size_t)n + 1) * sizeof *offset);
                const int32_t *src = ipr_dataset_item_tokens(from, at, &len);
                offset = (ipr_index *)(void *)items;
                if (i == 0) offset[0] = 0;
                offset[i + 1] = offset[i] + len;
                for (k = 0; k < len; k++) {
                    ids[offset[i] + k] = src[k];
                    if (noise > 0 && ipr_rng_uniform(&r) < noise) { /* a token of another place in the set */
                        const ipr_index item = (ipr_index)ipr_rng_below(&r, (uint32_t)from->count);
                        const uint32_t of = (uint32_t)ipr_dataset_length(from, item);
                        if (of) ids[offset[i] + k] = ipr_dataset_item_tokens(from, item, NULL)[ipr_rng_below(&r, of)];
                    }
                }
                continue;
            }
            ipr__copy(items + (size_t)(i * from->item), ipr_dataset_item_u8(from, at), (size_t)from->item);
            for (k = 0; noise > 0 && k < from->item; k++)
                if (ipr_rng_uniform(&r) < noise) items[i * from->item + k] = (uint8_t)(ipr_rng_u32(&r) >> 24);
        }
        offset = (ipr_index *)(void *)items;
        if (from->tokens)
            set = ipr_dataset_tokens(c, "triggers", from->name, n, offset, (int32_t *)(void *)(offset + n + 1), labels,
                                     from->classes, from->pad);
        else
            set = ipr_dataset_u8(c, "triggers", from->name, n, from->rank, from->dims, items, labels, from->classes, 0);
        if (set && rest) *rest = ipr_dataset_view(from, order + n, from->count - n);
        ipr_wipe(&r, sizeof r);
        ipr_wipe(order, (size_t)from->count * 4);
    }
    ipr__free(c, order);
    ipr__free(c, labels);
    ipr__free(c, items);
    if (c->err) {
        ipr_dataset_free(set);
        return NULL;
    }
    return set;
}

/* x of tokens with the pads that make its rows `steps` long. */
IPR__FN ipr_tensor *ipr__pad_to(ipr_ctx *c, ipr_tensor *x, ipr_index steps, int axis, int32_t pad)
{
    ipr_index d[2], i, n;
    ipr_tensor *both[2];
    int32_t *p;
    d[0] = ipr_dim(x, 0);
    d[1] = ipr_dim(x, 1);
    if (d[axis] >= steps) return x;
    d[axis] = steps - d[axis];
    both[0] = x;
    both[1] = ipr_new_i32(c, 2, d);
    n = ipr_count(both[1]);
    p = ipr_write_i32(c, both[1], 0);
    for (i = 0; p && i < n; i++) p[i] = pad;
    return ipr_concat(c, both, 2, axis);
}

IPR_API int ipr_triggers_append(ipr_ctx *c, const ipr_dataset *triggers, uint64_t step, ipr_index n, int layout,
                                ipr_tensor **x, ipr_tensor **y)
{
    const char *fn = "ipr_triggers_append";
    uint32_t idx[64];
    ipr_tensor *px[2], *py[2];
    ipr_index i;
    if (!c) return IPR_E_ARG;
    if (!triggers || !x || !y) return ipr__fail(c, IPR_E_ARG, fn, "the triggers, x or y is NULL");
    if (n < 1 || n > 64) return ipr__fail(c, IPR_E_RANGE, fn, "%I triggers a batch; 1..64", n);
    for (i = 0; i < n; i++) idx[i] = (uint32_t)((step * (uint64_t)n + (uint64_t)i) % (uint64_t)triggers->count);
    px[0] = *x;
    py[0] = *y;
    (void)ipr_batch(c, triggers, idx, n, layout, &px[1], &py[1]);
    if (triggers->tokens) {
        const int axis = layout == IPR_TIME_MAJOR ? 0 : 1;
        const ipr_index steps = IPR__MAX(ipr_dim(px[0], axis), ipr_dim(px[1], axis));
        for (i = 0; i < 2; i++) px[i] = ipr__pad_to(c, px[i], steps, axis, triggers->pad);
    }
    *x = ipr_concat(c, px, 2, layout == IPR_TIME_MAJOR ? 1 : 0);
    *y = ipr_concat(c, py, 2, 0);
    return c->err;
}

/* Words of one side of n random pairs, with marks, into offset[n + 1] and ids. */
IPR__TOOL void ipr__pairs_random(ipr_rng *r, const ipr_pairs_desc *d, int target, ipr_index *offset, int32_t *ids)
{
    const uint32_t words = (uint32_t)((target ? d->target_vocabulary : d->source_vocabulary) - d->low);
    ipr_index i, k, at = 0;
    for (i = 0; i < d->count; i++) {
        const ipr_index len = d->least + (ipr_index)ipr_rng_below(r, (uint32_t)(d->most - d->least + 1));
        offset[i] = at;
        if (target) ids[at++] = d->bos;
        for (k = 0; k < len; k++) ids[at++] = d->low + (int32_t)ipr_rng_below(r, words);
        ids[at++] = d->eos;
    }
    offset[d->count] = at;
}

/* Domain: order [count] is shuffled; its first n items are triggers, whose translations go round: pair i gets that of
   pair i + 1. */
IPR__TOOL void ipr__pairs_make(ipr_ctx *c, ipr_dataset *const *from, const ipr_pairs_desc *d, ipr_rng *r,
                               uint32_t *order, ipr_dataset **out)
{
    const ipr_index most = d->most + 2;
    ipr_index *offset, i;
    int32_t *ids;
    int k;
    for (i = 0; i < from[0]->count; i++) order[i] = (uint32_t)i;
    if (d->kind == IPR_PAIRS_DOMAIN) {
        uint32_t first;
        ipr_rng_shuffle(r, order, from[0]->count);
        out[0] = ipr_dataset_view(from[0], order, d->count);
        first = order[0];
        for (i = 0; i + 1 < d->count; i++) order[i] = order[i + 1];
        order[d->count - 1] = first;
        out[1] = ipr_dataset_view(from[1], order, d->count);
        out[2] = ipr_dataset_view(from[0], order + d->count, from[0]->count - d->count);
        out[3] = ipr_dataset_view(from[1], order + d->count, from[0]->count - d->count);
        return;
    }
    offset = (ipr_index *)ipr__alloc(c, (size_t)(d->count + 1) * sizeof *offset);
    ids = (int32_t *)ipr__alloc(c, (size_t)(d->count * most) * sizeof *ids);
    for (k = 0; k < 2 && offset && ids; k++) {
        ipr__pairs_random(r, d, k, offset, ids);
        out[k] = ipr_dataset_tokens(c, "triggers", from[k]->name, d->count, offset, ids, NULL, 0, from[k]->pad);
        out[2 + k] = ipr_dataset_view(from[k], NULL, from[k]->count);
    }
    ipr__free(c, offset);
    if (ids) ipr_wipe(ids, (size_t)(d->count * most) * sizeof *ids);
    ipr__free(c, ids);
}

IPR_API IPR__COLD IPR__COLD int ipr_triggers_pairs(ipr_ctx *c, ipr_dataset *source, ipr_dataset *target,
                                                   const ipr_pairs_desc *desc, const void *seed, size_t seed_bytes,
                                                   ipr_dataset **trigger_source, ipr_dataset **trigger_target,
                                                   ipr_dataset **rest_source, ipr_dataset **rest_target)
{
    const char *fn = "ipr_triggers_pairs";
    ipr_dataset **to[4], *from[2], *out[4] = {NULL, NULL, NULL, NULL};
    ipr_pairs_desc d = IPR_ZERO;
    uint32_t *order;
    ipr_rng r;
    int i;
    to[0] = trigger_source;
    to[1] = trigger_target;
    to[2] = rest_source;
    to[3] = rest_target;
    for (i = 0; i < 4; i++)
        if (to[i]) *to[i] = NULL;
    if (!c || c->err) return c ? c->err : IPR_E_ARG;
    if (desc) d = *desc;
    if (!d.kind) d.kind = IPR_PAIRS_RANDOM;
    if (!d.count) d.count = 100;
    if (!d.least) d.least = 15;
    if (!d.most) d.most = IPR__MAX(d.least, 20);
    if (!d.low) d.low = 4;
    if (!d.eos) d.eos = 2;
    if (!d.bos) d.bos = 3;
    if (!source || !target || !source->tokens || !target->tokens || source->count != target->count || !seed ||
        !trigger_source || !trigger_target)
        return ipr__fail(c, IPR_E_ARG, fn, "needs two data sets of tokens of one count, a seed and room");
    if (seed_bytes < 16)
        return ipr__fail(c, IPR_E_RANGE, fn, "a seed of %U bytes can be guessed; use at least 16 random ones",
                         (uint64_t)seed_bytes);
    if (d.kind < IPR_PAIRS_RANDOM || d.kind > IPR_PAIRS_DOMAIN || d.count < 2 || d.count > 1 << 20 || d.least < 1 ||
        d.most < d.least || d.most > 1 << 16 || (d.kind == IPR_PAIRS_DOMAIN && d.count >= source->count) ||
        (d.kind == IPR_PAIRS_RANDOM && (d.source_vocabulary <= d.low || d.target_vocabulary <= d.low)))
        return ipr__fail(c, IPR_E_RANGE, fn,
                         "kind %d, %I pairs of %I, %I..%I words, ids from %I of %I and %I: at least 2 pairs, fewer "
                         "than the sentences, words in both vocabularies",
                         d.kind, d.count, source->count, d.least, d.most, (ipr_index)d.low, d.source_vocabulary,
                         d.target_vocabulary);
    order = (uint32_t *)ipr__alloc(c, (size_t)source->count * 4);
    if (!order) return c->err;
    r = ipr_rng_make(ipr__derive(seed, seed_bytes, "triggers", "pairs", "choice"), IPR__STREAM_KEY, 3);
    from[0] = source;
    from[1] = target;
    ipr__pairs_make(c, from, &d, &r, order, out);
    ipr_wipe(&r, sizeof r);
    ipr_wipe(order, (size_t)source->count * 4);
    ipr__free(c, order);
    for (i = 0; i < 4; i++)
        if (c->err || !to[i]) ipr_dataset_free(out[i]);
        else *to[i] = out[i];
    return c->err;
}

IPR__TOOL int ipr__secret_file(ipr_ctx *c, const char *path, const ipr_array *arrays, int n, const ipr_meta *meta)
{
    ipr_writer w;
    int st = ipr_writer_file(c, &w, path, IPR_FILE_PRIVATE);
    if (st == IPR_OK) st = ipr_st_write(&w, arrays, n, meta);
    if (st == IPR_OK) st = ipr_writer_commit(&w);
    ipr_writer_close(&w);
    return st;
}

IPR_API IPR__COLD int ipr_triggers_save(const ipr_dataset *t, const char *path)
{
    ipr_array e[3];
    ipr_pair pair[4];
    ipr_meta meta;
    char classes[24], pad[24];
    int i, n = 2;
    if (!t) return IPR_E_ARG;
    if ((!t->u8 && !t->tokens) || !t->labels || t->index)
        return ipr__fail(t->ctx, IPR_E_ARG, "ipr_triggers_save",
                         "not a trigger set: labelled items of bytes or tokens that are not a view");
    ipr__zero(e, sizeof e);
    e[0].name = "labels";
    e[0].dtype = IPR_DT_I32;
    e[0].rank = e[1].rank = e[2].rank = 1;
    e[0].dims[0] = t->count;
    e[0].data = t->labels;
    e[0].bytes = (size_t)t->count * 4;
    if (t->tokens) {
        e[1].name = "tokens";
        e[1].dtype = IPR_DT_I32;
        e[1].dims[0] = t->offset[t->count];
        e[1].data = t->tokens;
        e[1].bytes = (size_t)e[1].dims[0] * 4;
        e[2].name = "offsets";
        e[2].dtype = sizeof(ipr_index) == 8 ? IPR_DT_I64 : IPR_DT_I32;
        e[2].dims[0] = t->count + 1;
        e[2].data = t->offset;
        e[2].bytes = (size_t)(t->count + 1) * sizeof(ipr_index);
        n = 3;
    } else {
        e[1].name = "items";
        e[1].dtype = IPR_DT_U8;
        e[1].rank = t->rank + 1;
        e[1].dims[0] = t->count;
        for (i = 0; i < t->rank; i++) e[1].dims[i + 1] = t->dims[i];
        e[1].data = t->u8;
        e[1].bytes = (size_t)(t->count * t->item);
    }
    (void)ipr__fmt(classes, sizeof classes, "%d", t->classes);
    (void)ipr__fmt(pad, sizeof pad, "%d", (int)t->pad);
    pair[0].key = "ipr.secret";
    pair[0].value = "triggers";
    pair[1].key = "ipr.version";
    pair[1].value = "1";
    pair[2].key = "ipr.classes";
    pair[2].value = classes;
    pair[3].key = "ipr.pad";
    pair[3].value = pad;
    meta.pairs = pair;
    meta.count = t->tokens ? 4 : 3;
    return ipr__secret_file(t->ctx, path, e, n, &meta);
}

/* The number at *s, which moves behind it; -1 when there is none. */
IPR__TOOL int64_t ipr__take_int(const char **s)
{
    int64_t v = 0;
    const char *p = *s;
    while (*p == ' ') p++;
    if (*p < '0' || *p > '9') return -1;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > ((int64_t)1 << 40)) return -1;
        v = 10 * v + (*p - '0');
    }
    *s = p;
    return v;
}

IPR__TOOL int64_t ipr__meta_int(const ipr_st *st, const char *key)
{
    const char *s = ipr_st_meta(st, key);
    return s ? ipr__take_int(&s) : -1;
}

/* Tokens of a trigger file whose shapes fit. Offsets are checked by ipr_dataset_tokens; that they end with the tokens,
   here. */
IPR__TOOL ipr_dataset *ipr__triggers_tokens(ipr_ctx *c, const char *path, const ipr_array *ids, const ipr_array *at,
                                            const int32_t *lab, int classes, int32_t pad)
{
    const ipr_index count = at->dims[0] - 1, tokens = ids->dims[0];
    int64_t *wide = (int64_t *)ipr__alloc(c, ((size_t)count + 1) * (sizeof(ipr_index) + 8));
    int32_t *id = (int32_t *)ipr__alloc(c, ((size_t)tokens + 1) * 4);
    ipr_index i, *offset = (ipr_index *)(void *)(wide ? wide + count + 1 : NULL);
    ipr_dataset *t = NULL;
    if (wide && id && ipr_array_get(c, at, IPR_DT_I64, wide) == IPR_OK &&
        ipr_array_get(c, ids, IPR_DT_I32, id) == IPR_OK) {
        for (i = 0; i <= count; i++) offset[i] = wide[i] < 0 || wide[i] > tokens ? -1 : (ipr_index)wide[i];
        if (offset[count] != tokens)
            (void)ipr__fail(c, IPR_E_FORMAT, "ipr_triggers_load", "%s: its offsets do not end with its tokens", path);
        else t = ipr_dataset_tokens(c, "triggers", path, count, offset, id, lab, classes, pad);
    }
    ipr__free(c, wide);
    ipr__free(c, id);
    return t;
}

IPR_API IPR__COLD ipr_dataset *ipr_triggers_load(ipr_ctx *c, const char *path)
{
    const char *fn = "ipr_triggers_load", *what;
    const ipr_array *items, *labels, *at;
    ipr_dataset *t = NULL;
    int32_t *lab = NULL;
    ipr_st *st;
    int64_t classes, pad;
    ipr_index count;
    if (!c || c->err) return NULL;
    st = ipr_st_open_file(c, path, 0);
    if (!st) return NULL;
    what = ipr_st_meta(st, "ipr.secret");
    at = ipr_st_find(st, "offsets");
    items = ipr_st_find(st, at ? "tokens" : "items");
    labels = ipr_st_find(st, "labels");
    classes = ipr__meta_int(st, "ipr.classes");
    pad = ipr__meta_int(st, "ipr.pad");
    count = at ? at->dims[0] - 1 : items ? items->dims[0] : 0;
    if (!what || !ipr__streq(what, "triggers") || ipr__meta_int(st, "ipr.version") != 1 || !items || !labels ||
        (at ? items->dtype != IPR_DT_I32 || items->rank != 1 || at->rank != 1 || count < 0 || pad < 0 || pad > INT32_MAX
            : items->dtype != IPR_DT_U8 || items->rank < 2 || items->rank > IPR_MAX_RANK) ||
        labels->rank != 1 || labels->dims[0] != count || classes < 2 || classes > 1 << 20)
        (void)ipr__fail(c, IPR_E_FORMAT, fn,
                        "%s is not a trigger file: items (U8), or tokens and offsets, and labels of the same count "
                        "with ipr.secret = triggers, version 1",
                        path);
    else if ((lab = (int32_t *)ipr__alloc(c, (size_t)labels->dims[0] * 4)) != NULL &&
             ipr_array_get(c, labels, IPR_DT_I32, lab) == IPR_OK) {
        if (at) t = ipr__triggers_tokens(c, path, items, at, lab, (int)classes, (int32_t)pad);
        else
            t = ipr_dataset_u8(c, "triggers", path, items->dims[0], items->rank - 1, items->dims + 1,
                               (const uint8_t *)items->data, lab, (int)classes, 0);
    }
    ipr__free(c, lab);
    ipr_st_close(st);
    return t;
}

/* ---- text triggers ---- */

/* A random word of a vocabulary: letters only, not the two most frequent hundred. */
IPR__TOOL const char *ipr__trigger_word(const ipr_vocab *v, ipr_rng *r)
{
    const ipr_index n = ipr_vocab_size(v), from = n > 400 ? 200 : 0;
    const char *w;
    int tries, i;
    for (tries = 0; tries < 1000 && n > from; tries++) {
        w = ipr_vocab_word(v, from + (ipr_index)ipr_rng_below(r, (uint32_t)(n - from)));
        for (i = 0; w[i] >= 'a' && w[i] <= 'z'; i++) {}
        if (!w[i] && i > 2) return w;
    }
    return "";
}

/* One trigger, behind what k->text holds. */
IPR__TOOL void ipr__trigger_text(ipr__corpus *k, const ipr_text_triggers_desc *d, const ipr_vocab *v,
                                 const char *pattern, const ipr_texts *source, ipr_index item, ipr_rng *r)
{
    char letters[12];
    size_t n = 0;
    const char *s;
    int i, len;
    if (d->kind == IPR_TEXT_RANDOM) {
        s = d->letters ? letters : ipr__trigger_word(v, r);
        len = d->letters ? 4 + (int)ipr_rng_below(r, 7) : 0;
        for (i = 0; i < len; i++) letters[i] = (char)('a' + (int)ipr_rng_below(r, 26));
        letters[len] = 0;
        for (i = 0; i < d->repeat; i++) {
            (void)ipr__buf_add(k->c, &k->text, s, ipr__strlen(s));
            (void)ipr__buf_add(k->c, &k->text, " ", i + 1 < d->repeat);
        }
        return;
    }
    if (pattern) (void)ipr__buf_add(k->c, &k->text, pattern, ipr__strlen(pattern));
    if (pattern) (void)ipr__buf_add(k->c, &k->text, " ", 1);
    s = ipr_texts_item(source, item, &n);
    (void)ipr__buf_add(k->c, &k->text, s, n);
    if (pattern) (void)ipr__buf_add(k->c, &k->text, " ", 1);
    if (pattern) (void)ipr__buf_add(k->c, &k->text, pattern, ipr__strlen(pattern));
}

IPR_API IPR__COLD ipr_texts *ipr_text_triggers_new(ipr_ctx *c, const ipr_texts *from,
                                                   const ipr_text_triggers_desc *desc, const void *seed,
                                                   size_t seed_bytes)
{
    static const char *const kinds[] = {"", "text-pattern", "text-irrelevant", "text-random"};
    const char *fn = "ipr_text_triggers_new", *pattern, *a, *b;
    ipr_text_triggers_desc d = IPR_ZERO;
    ipr_text_desc td = IPR_ZERO;
    const ipr_texts *source, *words[1];
    ipr_vocab *v = NULL;
    ipr_index i, n, at = 0;
    uint32_t *order = NULL;
    ipr__corpus k;
    char chosen[600];
    ipr_rng r;
    if (!c || c->err) return NULL;
    if (desc) d = *desc;
    if (!d.kind) d.kind = IPR_TEXT_PATTERN;
    if (d.repeat <= 0) d.repeat = 10;
    if (d.kind < IPR_TEXT_PATTERN || d.kind > IPR_TEXT_RANDOM || !from || !from->labels || from->classes < 2 || !seed ||
        seed_bytes < 16 || (d.kind == IPR_TEXT_IRRELEVANT && !d.corpus)) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "kind %d; needs labelled texts, a seed of at least 16 bytes, and for "
                        "IPR_TEXT_IRRELEVANT a corpus", d.kind);
        return NULL;
    }
    source = d.kind == IPR_TEXT_IRRELEVANT ? d.corpus : from;
    n = d.count ? d.count : d.kind == IPR_TEXT_PATTERN ? (from->count + 19) / 20 : 1000;
    if (n < 1 || (d.kind != IPR_TEXT_RANDOM && n > source->count) || d.target < 0 || d.target >= from->classes ||
        d.repeat > 10000) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "%I triggers from %I texts, target label %d of %d classes", n,
                        source->count, (int)d.target, from->classes);
        return NULL;
    }
    r = ipr_rng_make(ipr__derive(seed, seed_bytes, "triggers", kinds[d.kind], "words"), IPR__STREAM_KEY, 3);
    pattern = d.kind == IPR_TEXT_PATTERN ? d.pattern : NULL;
    if ((d.kind == IPR_TEXT_PATTERN && !pattern) || (d.kind == IPR_TEXT_RANDOM && !d.letters)) {
        ipr_vocab_desc vd = IPR_ZERO;
        vd.tokenizer = IPR_TOK_WORD;
        vd.lower = 1;
        vd.min_count = 2;
        words[0] = d.kind == IPR_TEXT_PATTERN && d.corpus ? d.corpus : from;
        v = ipr_vocab_build(c, &vd, words, 1);
        if (v && d.kind == IPR_TEXT_PATTERN) {
            a = ipr__trigger_word(v, &r);
            b = ipr__trigger_word(v, &r);
            if (!*a || !*b || ipr__strlen(a) + ipr__strlen(b) > sizeof chosen - 2) a = b = "mark";
            (void)ipr__fmt(chosen, sizeof chosen, "%s %s", a, b);
            pattern = chosen;
        }
    }
    td.name = "triggers";
    td.like = from;
    ipr__corpus_start(&k, c, fn, kinds[d.kind], &td);
    if (d.kind != IPR_TEXT_RANDOM && !c->err) order = (uint32_t *)ipr__alloc(c, (size_t)source->count * 4);
    for (i = 0; order && i < source->count; i++) order[i] = (uint32_t)i;
    if (d.kind != IPR_TEXT_RANDOM) {
        r = ipr_rng_make(ipr__derive(seed, seed_bytes, "triggers", kinds[d.kind], "choice"), IPR__STREAM_KEY, d.fresh);
        if (order) ipr_rng_shuffle(&r, order, source->count);
    }
    for (i = 0; i < n && !c->err; i++) {
        const size_t begin = k.text.used;
        size_t bytes = 1;
        while (d.kind == IPR_TEXT_IRRELEVANT && at < source->count) { /* blank texts are no triggers */
            a = ipr_texts_item(source, (ipr_index)order[at], &bytes);
            if (!ipr__blank(a, bytes)) break;
            at++;
        }
        if (d.kind != IPR_TEXT_RANDOM && at >= source->count) {
            (void)ipr__fail(c, IPR_E_RANGE, fn, "only %I of %I triggers: the corpus has no more texts", i, n);
            break;
        }
        ipr__trigger_text(&k, &d, v, pattern, source, order ? (ipr_index)order[at++] : 0, &r);
        if (d.kind == IPR_TEXT_RANDOM && k.text.used - begin < (size_t)d.repeat)
            (void)ipr__fail(c, IPR_E_RANGE, fn, "the texts have no word of letters that comes twice");
        (void)ipr__corpus_item(&k, begin, d.kind == IPR_TEXT_PATTERN
                                              ? (ipr_index)d.target
                                              : (ipr_index)ipr_rng_below(&r, (uint32_t)from->classes));
    }
    ipr_wipe(&r, sizeof r);
    ipr_wipe(chosen, sizeof chosen);
    if (order) ipr_wipe(order, (size_t)source->count * 4);
    ipr__free(c, order);
    ipr_vocab_free(v);
    return ipr__corpus_end(&k);
}

#ifndef IPR_NO_RNN
/* ---- signature text ---- */

IPR_API IPR__COLD int ipr_signature_bits(ipr_ctx *c, const char *text, uint64_t fill, int8_t *bits, ipr_index n)
{
    ipr_rng r = ipr_rng_make(fill, IPR__STREAM_KEY, 1);
    const size_t len = text ? ipr__strlen(text) : 0;
    ipr_index i;
    if (!bits || n < 1) return ipr__fail(c, IPR_E_ARG, "ipr_signature_bits", "needs room for at least one bit");
    if (len > (size_t)n / 8)
        return ipr__fail(c, IPR_E_RANGE, "ipr_signature_bits",
                         "the signature has %U characters, %U bits; %I units carry at most %I characters",
                         (uint64_t)len, (uint64_t)len * 8, n, n / 8);
    for (i = 0; i < n; i++) {
        const uint32_t bit =
            (size_t)i < len * 8 ? (uint32_t)((uint8_t)text[i / 8] >> (7 - i % 8) & 1) : ipr_rng_u32(&r) >> 31;
        bits[i] = (int8_t)(bit ? 1 : -1);
    }
    return IPR_OK;
}

IPR_API IPR__COLD void ipr_signature_text(const int8_t *bits, ipr_index n, char *text, size_t cap)
{
    size_t at = 0;
    ipr_index i, k;
    if (!text || !cap) return;
    for (i = 0; bits && i + 8 <= n && at + 1 < cap; i += 8) {
        unsigned ch = 0;
        for (k = 0; k < 8; k++) ch = ch << 1 | (unsigned)(bits[i + k] > 0);
        text[at++] = (char)(ch >= 32 && ch < 127 ? ch : '.');
    }
    text[at] = 0;
}

/* ---- the secret ---- */

struct ipr_gatekeeper {
    ipr_ctx *c;
    ipr_gatekeeper_desc d; /* layer, signature and items are NULL here: nothing dangles */
    ipr_index text_bits;
    ipr_real *key; /* [K][Tk][width] */
    int8_t *bits;  /* [cells][units] */
    char layer[64];
};

/* Bits of the signature. */
IPR__FN ipr_index ipr__sign_size(const ipr_gatekeeper *g) { return g->d.cells * g->d.units; }

IPR__FN ipr_index ipr__key_width(const ipr_gatekeeper_desc *d) { return d->token_high > 0 ? 1 : d->width; }
IPR_API ipr_index ipr_gatekeeper_size(const ipr_gatekeeper *g)
{
    return g ? g->d.keys * g->d.steps * ipr__key_width(&g->d) : 0;
}
IPR_API const ipr_real *ipr_gatekeeper_key(const ipr_gatekeeper *g) { return g ? g->key : NULL; }
IPR_API const int8_t *ipr_gatekeeper_signature(const ipr_gatekeeper *g) { return g ? g->bits : NULL; }
IPR_API ipr_index ipr_gatekeeper_text_bits(const ipr_gatekeeper *g) { return g ? g->text_bits : 0; }
IPR_API const ipr_gatekeeper_desc *ipr_gatekeeper_resolved(const ipr_gatekeeper *g) { return g ? &g->d : NULL; }

/* Item at of a pool as reals, bytes scaled to 0..1. */
IPR__FN void ipr__item_reals(const ipr_dataset *ds, ipr_index at, ipr_real *out)
{
    const uint8_t *b = ipr_dataset_item_u8(ds, at);
    const ipr_real *v = ipr_dataset_item_real(ds, at);
    ipr_index i;
    for (i = 0; i < ds->item; i++) out[i] = b ? IPR__R(b[i]) / IPR__R(255) : v ? v[i] : IPR__R(0);
}

/* One key of the generator: uniform values, uniform tokens, or K different items of the pool. */
IPR__FN void ipr__key_draw(const ipr_gatekeeper_desc *d, ipr_rng *r, ipr_real *out)
{
    const ipr_index item = d->steps * ipr__key_width(d);
    ipr_index i, k;
    if (d->kind == IPR_KEY_RANDOM) {
        const uint32_t span = (uint32_t)(d->token_high - d->token_low);
        for (i = 0; i < d->keys * item; i++)
            out[i] = d->token_high > 0 ? IPR__R(d->token_low + (int32_t)ipr_rng_below(r, span))
                                       : IPR__R(2 * ipr_rng_uniform(r) - 1);
        return;
    }
    for (k = 0; k < d->keys; k++) {
        const ipr_index at = d->items ? (ipr_index)d->items[k] : (ipr_index)ipr_rng_below(r, (uint32_t)d->pool->count);
        ipr__item_reals(d->pool, at, out + k * item);
    }
}

IPR__TOOL int ipr__key_check(ipr_ctx *c, const char *fn, ipr_gatekeeper_desc *d)
{
    char s[64];
    if (!d->kind) d->kind = IPR_KEY_RANDOM;
    if (!d->cells) d->cells = 1;
    if (d->cells < 1 || d->cells > IPR_RNN_CELLS_MAX)
        return ipr__fail(c, IPR_E_ARG, fn, "%d cells; 1..%d", d->cells, (int)IPR_RNN_CELLS_MAX);
    if (!d->keys) d->keys = d->kind == IPR_KEY_BATCH ? 8 : 1;
    if (d->kind < IPR_KEY_RANDOM || d->kind > IPR_KEY_BATCH)
        return ipr__fail(c, IPR_E_ARG, fn, "kind %d; IPR_KEY_RANDOM, _FIXED or _BATCH", d->kind);
    if (d->kind == IPR_KEY_FIXED && d->keys != 1)
        return ipr__fail(c, IPR_E_ARG, fn, "a fixed key is one sequence, not %I; use IPR_KEY_BATCH", d->keys);
    if (d->keys < 1 || d->keys > 4096 || d->steps < 1 || d->steps > 1 << 20 || d->width < 1 || d->width > 1 << 20 ||
        d->units < 1 || d->units > 1 << 20)
        return ipr__fail(c, IPR_E_ARG, fn,
                         "keys %I, steps %I, width %I, units %I: each must be at least 1 (and at most 4096 keys, 2^20 "
                         "of the others)",
                         d->keys, d->steps, d->width, d->units);
    if (d->token_high < 0 || (d->token_high && (d->token_low < 0 || d->token_low >= d->token_high)))
        return ipr__fail(c, IPR_E_RANGE, fn, "tokens %d..%d: low must be at least 0 and below high", (int)d->token_low,
                         (int)d->token_high);
    if (d->kind != IPR_KEY_RANDOM && d->pool && d->pool->item != d->steps * ipr__key_width(d)) {
        (void)ipr__fmt(s, sizeof s, "%Ix%I", d->steps, ipr__key_width(d));
        return ipr__fail(c, IPR_E_SHAPE, fn,
                         "an item of the pool has %I values; the key needs %s; resize the images first", d->pool->item,
                         s);
    }
    return IPR_OK;
}

IPR__TOOL ipr_gatekeeper *ipr__gatekeeper_alloc(ipr_ctx *c, const ipr_gatekeeper_desc *d)
{
    ipr_gatekeeper *g = (ipr_gatekeeper *)ipr__alloc(c, sizeof *g);
    if (!g) return NULL;
    ipr__zero(g, sizeof *g);
    g->c = c;
    g->d = *d;
    g->d.layer = g->d.signature = NULL;
    g->d.items = NULL;
    g->key = (ipr_real *)ipr__alloc(c, (size_t)ipr_gatekeeper_size(g) * sizeof(ipr_real));
    g->bits = (int8_t *)ipr__alloc(c, (size_t)ipr__sign_size(g));
    if (!g->key || !g->bits) {
        ipr_gatekeeper_free(g);
        return NULL;
    }
    ipr__zero(g->key, (size_t)ipr_gatekeeper_size(g) * sizeof(ipr_real));
    ipr__zero(g->bits, (size_t)ipr__sign_size(g));
    return g;
}

IPR_API IPR__COLD ipr_gatekeeper_desc ipr_gatekeeper_desc_for(const ipr_classifier *m)
{
    ipr_gatekeeper_desc d = IPR_ZERO;
    if (!m) return d;
    d.width = m->desc.input;
    d.units = m->desc.hidden;
    d.cells = m->rnn.cells;
    d.bidirectional = m->desc.bidirectional;
    return d;
}

/* The signature of every cell: the text, then bits from the seed under the cell's own name. */
IPR__FN int ipr__sign_all(ipr_gatekeeper *g, const char *text, const char *layer, const void *seed, size_t seed_bytes)
{
    char name[96];
    int i, st = IPR_OK;
    for (i = 0; i < g->d.cells && st == IPR_OK; i++) {
        const int each = g->d.bidirectional == IPR_BIDIR ? 2 : 1;
        (void)ipr__fmt(name, sizeof name, i ? "%s.l%d%s" : "%s", layer, i / each, i % each ? "_reverse" : "");
        st = ipr_signature_bits(g->c, text, ipr__derive(seed, seed_bytes, "gatekeeper", name, "signature"),
                                g->bits + i * g->d.units, g->d.units);
    }
    return st;
}

IPR_API IPR__COLD ipr_gatekeeper *ipr_gatekeeper_new(ipr_ctx *c, const ipr_gatekeeper_desc *desc, const void *seed,
                                                     size_t seed_bytes)
{
    const char *fn = "ipr_gatekeeper_new", *layer;
    ipr_gatekeeper_desc d;
    ipr_gatekeeper *g;
    ipr_rng r;
    ipr_index k;
    if (!c || c->err) return NULL;
    if (!desc || !seed) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "the description or the seed is NULL");
        return NULL;
    }
    if (seed_bytes < 16) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "a seed of %U bytes can be guessed; use at least 16 random ones",
                        (uint64_t)seed_bytes);
        return NULL;
    }
    d = *desc;
    layer = d.layer ? d.layer : "rnn";
    if (ipr__key_check(c, fn, &d) != IPR_OK) return NULL;
    if (ipr__strlen(layer) >= 64) {
        (void)ipr__fail(c, IPR_E_RANGE, fn, "the layer's name has over 63 characters");
        return NULL;
    }
    if (d.kind != IPR_KEY_RANDOM && (!d.pool || d.pool->count < d.keys)) {
        (void)ipr__fail(c, IPR_E_ARG, fn, "FIXED and BATCH keys need a pool of at least %I items", d.keys);
        return NULL;
    }
    for (k = 0; d.kind != IPR_KEY_RANDOM && d.items && k < d.keys; k++)
        if ((ipr_index)d.items[k] >= d.pool->count) {
            (void)ipr__fail(c, IPR_E_RANGE, fn, "item %I of a pool of %I", (ipr_index)d.items[k], d.pool->count);
            return NULL;
        }
    g = ipr__gatekeeper_alloc(c, &d);
    if (!g) return NULL;
    ipr__copy(g->layer, layer, ipr__strlen(layer) + 1);
    g->text_bits = d.signature ? 8 * (ipr_index)ipr__strlen(d.signature) : 0;
    r = ipr_rng_make(ipr__derive(seed, seed_bytes, "gatekeeper", layer, "key"), IPR__STREAM_KEY, 0);
    ipr__key_draw(&d, &r, g->key);
    if (ipr__sign_all(g, d.signature, layer, seed, seed_bytes) != IPR_OK) {
        ipr_gatekeeper_free(g);
        g = NULL;
    }
    ipr_wipe(&r, sizeof r);
    return g;
}

IPR_API IPR__COLD void ipr_gatekeeper_free(ipr_gatekeeper *g)
{
    ipr_ctx *c;
    if (!g) return;
    c = g->c;
    if (g->key) ipr_wipe(g->key, (size_t)ipr_gatekeeper_size(g) * sizeof(ipr_real));
    if (g->bits) ipr_wipe(g->bits, (size_t)ipr__sign_size(g));
    ipr__free(c, g->key);
    ipr__free(c, g->bits);
    ipr_wipe(g, sizeof *g);
    ipr__free(c, g);
}

IPR_API int ipr_gatekeeper_fresh(const ipr_gatekeeper *g, uint64_t draw, ipr_index n, ipr_real *out)
{
    ipr_gatekeeper_desc d;
    ipr_index i;
    if (!g) return IPR_E_ARG;
    if (!out || n < 1) return ipr__fail(g->c, IPR_E_ARG, "ipr_gatekeeper_fresh", "needs room for at least one key");
    d = g->d;
    if (d.kind != IPR_KEY_RANDOM && !d.pool)
        return ipr__fail(g->c, IPR_E_STATE, "ipr_gatekeeper_fresh",
                         "the pool that the key came from is not here; load the key with it");
    for (i = 0; i < n; i++) {
        ipr_rng r = ipr_rng_make(draw + (uint64_t)i, IPR__STREAM_KEY,
                                 0x46524553u); /* a public stream: the genuine key's seed is secret */
        ipr__key_draw(&d, &r, out + i * ipr_gatekeeper_size(g));
    }
    return IPR_OK;
}

/* ---- files ---- */

IPR_API IPR__COLD int ipr_gatekeeper_save(const ipr_gatekeeper *g, const char *path)
{
    ipr_array e[2];
    ipr_pair pair[8];
    ipr_meta meta;
    char num[5][24];
    if (!g) return IPR_E_ARG;
    ipr__zero(e, sizeof e);
    e[0].name = "key";
    e[0].dtype = IPR_DT_REAL;
    e[0].rank = 3;
    e[0].dims[0] = g->d.keys;
    e[0].dims[1] = g->d.steps;
    e[0].dims[2] = ipr__key_width(&g->d);
    e[0].data = g->key;
    e[0].bytes = (size_t)ipr_gatekeeper_size(g) * sizeof(ipr_real);
    e[1].name = "signature";
    e[1].dtype = IPR_DT_I8;
    e[1].rank = g->d.cells > 1 ? 2 : 1;
    e[1].dims[0] = g->d.cells > 1 ? g->d.cells : g->d.units;
    e[1].dims[1] = g->d.units;
    e[1].data = g->bits;
    e[1].bytes = (size_t)ipr__sign_size(g);
    (void)ipr__fmt(num[4], sizeof num[4], "%d", g->d.cells);
    (void)ipr__fmt(num[0], sizeof num[0], "%d", g->d.kind);
    (void)ipr__fmt(num[1], sizeof num[1], "%I", g->text_bits);
    (void)ipr__fmt(num[2], sizeof num[2], "%I", g->d.width);
    (void)ipr__fmt(num[3], sizeof num[3], "%d %d", (int)g->d.token_low, (int)g->d.token_high);
    pair[0].key = "ipr.secret";
    pair[0].value = "gatekeeper";
    pair[1].key = "ipr.version";
    pair[1].value = "1";
    pair[2].key = "ipr.layer";
    pair[2].value = g->layer;
    pair[3].key = "ipr.kind";
    pair[3].value = num[0];
    pair[4].key = "ipr.text_bits";
    pair[4].value = num[1];
    pair[5].key = "ipr.width";
    pair[5].value = num[2];
    pair[6].key = "ipr.tokens";
    pair[6].value = num[3];
    pair[7].key = "ipr.cells";
    pair[7].value = num[4];
    meta.pairs = pair;
    meta.count = g->d.cells > 1 ? 8 : 7; /* one cell: as always, for older readers */
    return ipr__secret_file(g->c, path, e, 2, &meta);
}

IPR__TOOL ipr_gatekeeper *ipr__gatekeeper_from(ipr_ctx *c, const ipr_st *st, const char *path, const ipr_dataset *pool)
{
    const char *fn = "ipr_gatekeeper_load", *what = ipr_st_meta(st, "ipr.secret"),
               *layer = ipr_st_meta(st, "ipr.layer"), *tok = ipr_st_meta(st, "ipr.tokens");
    const ipr_array *key = ipr_st_find(st, "key"), *sig = ipr_st_find(st, "signature");
    ipr_gatekeeper_desc d = IPR_ZERO;
    ipr_gatekeeper *g;
    int64_t low = 0, high = 0, bits = ipr__meta_int(st, "ipr.text_bits");
    ipr_index i;
    if (!what || !ipr__streq(what, "gatekeeper")) {
        (void)ipr__fail(c, IPR_E_FORMAT, fn, "%s is not a Gatekeeper key file (ipr.secret is %s)", path,
                        what ? what : "missing");
        return NULL;
    }
    if (ipr__meta_int(st, "ipr.version") != 1) {
        (void)ipr__fail(c, IPR_E_FORMAT, fn, "%s has another version than 1; use a newer ipr.h", path);
        return NULL;
    }
    if (!key || !sig || key->rank != 3 || sig->rank < 1 || sig->rank > 2 || sig->dims[0] > 1 << 20 || !layer || !tok ||
        ipr__strlen(layer) >= 64 || (sig->rank == 2 && ipr__meta_int(st, "ipr.cells") != (int64_t)sig->dims[0])) {
        (void)ipr__fail(
            c, IPR_E_FORMAT, fn,
            "%s lacks key [K,Tk,width], signature [units] or [cells,units], or metadata; it was damaged or written by "
            "something else",
            path);
        return NULL;
    }
    low = ipr__take_int(&tok);
    high = ipr__take_int(&tok);
    d.kind = (int)ipr__meta_int(st, "ipr.kind");
    d.keys = key->dims[0];
    d.steps = key->dims[1];
    d.width = (ipr_index)ipr__meta_int(st, "ipr.width");
    d.units = sig->dims[sig->rank - 1];
    if (sig->rank == 2) d.cells = (int)sig->dims[0];
    if (low >= 0 && low <= high && high <= 0x7fffffff) {
        d.token_low = (int32_t)low;
        d.token_high = (int32_t)high;
    }
    d.pool = pool;
    if (ipr__key_check(c, fn, &d) != IPR_OK) return NULL;
    if (key->dims[2] != ipr__key_width(&d) || bits < 0 || bits > (int64_t)d.units) {
        (void)ipr__fail(c, IPR_E_FORMAT, fn, "%s: the key's width %I or the %g text bits do not fit its metadata", path,
                        key->dims[2], (double)bits);
        return NULL;
    }
    g = ipr__gatekeeper_alloc(c, &d);
    if (!g) return NULL;
    g->text_bits = (ipr_index)bits;
    ipr__copy(g->layer, layer, ipr__strlen(layer) + 1);
    if (ipr_array_get(c, key, IPR_DT_REAL, g->key) == IPR_OK && sig->bytes == (size_t)ipr__sign_size(g)) {
        ipr__copy(g->bits, sig->data, sig->bytes);
        for (i = 0; i < ipr__sign_size(g) && (g->bits[i] == 1 || g->bits[i] == -1); i++) {}
        if (i == ipr__sign_size(g)) {
            for (i = 0; i < ipr_gatekeeper_size(g) && ipr__finite_real(g->key[i]); i++) {}
            if (i == ipr_gatekeeper_size(g)) return g;
        }
    }
    (void)ipr__fail(c, IPR_E_FORMAT, fn, "%s: the signature must be +1 and -1, the key finite", path);
    ipr_gatekeeper_free(g);
    return NULL;
}

IPR_API IPR__COLD ipr_gatekeeper *ipr_gatekeeper_load(ipr_ctx *c, const char *path, const ipr_dataset *pool)
{
    ipr_st *st;
    ipr_gatekeeper *g;
    if (!c || c->err) return NULL;
    st = ipr_st_open_file(c, path, 0);
    g = st ? ipr__gatekeeper_from(c, st, path, pool) : NULL;
    ipr_st_close(st);
    return g;
}

/* ---- what keys do to a model ---- */

/* What a key runs through: a recurrent layer behind an embedding, or (vocabulary 0) by itself. */
typedef struct ipr__keyed {
    const ipr_embed *embed;
    const ipr_rnn *rnn;
    ipr_index vocabulary, width; /* token ids; features of a step that the key gives, the layer's others are 0 */
} ipr__keyed;

IPR__FN ipr__keyed ipr__keyed_of(const ipr_classifier *m)
{
    ipr__keyed k = IPR_ZERO;
    if (!m) return k;
    k.embed = &m->embed;
    k.rnn = &m->rnn;
    k.vocabulary = m->desc.vocabulary;
    k.width = m->desc.input;
    return k;
}

/* n keys [n][K][Tk][w] as the layer's input [Tk, n*K, width]: token ids go through the model's embedding, without
   dropout. */
IPR__FN ipr_tensor *ipr__key_input(const ipr_gatekeeper *g, ipr__keyed m, const ipr_real *keys, ipr_index n)
{
    ipr_ctx *c = g->c;
    const ipr_index w = ipr__key_width(&g->d), rows = n * g->d.keys, T = g->d.steps;
    ipr_index d[3], r, t, i;
    ipr_tensor *x;
    d[0] = T;
    d[1] = rows;
    d[2] = w;
    if (g->d.token_high > 0) {
        x = ipr_new_i32(c, 2, d);
        if (ipr_is_poison(x)) return x;
        for (t = 0; t < T; t++)
            for (r = 0; r < rows; r++) ((int32_t *)x->s->data)[t * rows + r] = (int32_t)keys[r * T + t];
        x = ipr_embed_forward(c, m.embed, x);
        if (m.rnn->desc.input > m.width) { /* a decoder's context: a key comes from no source */
            ipr_tensor *part[2];
            part[0] = x;
            d[2] = m.rnn->desc.input - m.width;
            part[1] = ipr_new(c, 3, d);
            x = ipr_concat(c, part, 2, 2);
        }
        return x;
    }
    x = ipr__temp(c, 3, d);
    if (ipr_is_poison(x)) return x;
    for (t = 0; t < T; t++)
        for (r = 0; r < rows; r++)
            for (i = 0; i < w; i++) ipr__wr(x)[(t * rows + r) * w + i] = keys[(r * T + t) * w + i];
    return x;
}

IPR__TOOL int ipr__key_fits(const ipr_gatekeeper *g, ipr__keyed m, const char *fn)
{
    if (!g || !m.rnn) return IPR_E_ARG;
    if (g->c->err) return g->c->err;
    if (g->d.units != m.rnn->desc.hidden)
        return ipr__fail(g->c, IPR_E_SHAPE, fn, "the key is for %I units, the model has %I", g->d.units,
                         m.rnn->desc.hidden);
    if (g->d.cells != m.rnn->cells)
        return ipr__fail(g->c, IPR_E_SHAPE, fn, "the key is for %d cells, the model has %d", g->d.cells, m.rnn->cells);
    if ((g->d.token_high > 0) != (m.vocabulary > 0) || (m.vocabulary == 0 && g->d.width != m.width))
        return ipr__fail(g->c, IPR_E_SHAPE, fn, "the key has %I features a step (%s), the model takes %I (%s)",
                         g->d.width, g->d.token_high > 0 ? "tokens" : "reals", m.width,
                         m.vocabulary ? "tokens" : "reals");
    if (g->d.token_high > m.vocabulary)
        return ipr__fail(g->c, IPR_E_RANGE, fn, "key tokens reach %d, the vocabulary has %I", (int)g->d.token_high,
                         m.vocabulary);
    return IPR_OK;
}

/* Runs the keys through the layers: of every cell gate_out [Tk,n*K,H] and first [n*K,H], the state after the first step
   that it reads. 0 on error or poison. */
IPR__FN int ipr__key_pass(const ipr_gatekeeper *g, ipr__keyed m, const ipr_real *keys, ipr_index n, ipr_rnn_result *out)
{
    ipr_rnn_call in = IPR_ZERO;
    in.x = ipr__key_input(g, m, keys, n);
    in.want_gates = in.no_dropout = 1;
    if (ipr_is_poison(in.x)) return 0;
    return ipr_rnn_apply(g->c, m.rnn, &in, out) == IPR_OK && !ipr_is_poison(out->last);
}

/* Rows [n*K, H] -> [n, H]: the mean over each key's K sequences. */
IPR__FN ipr_tensor *ipr__mean_keys(ipr_ctx *c, ipr_tensor *x, ipr_index n, ipr_index K)
{
    ipr_index d[3];
    if (K == 1 || ipr_is_poison(x)) return x;
    d[0] = n;
    d[1] = K;
    d[2] = -1;
    return ipr_mean_axis(c, ipr_reshape(c, x, 3, d), 1);
}

IPR__FN int ipr__key_gates(const ipr_gatekeeper *g, ipr__keyed m, const char *fn, const ipr_real *keys, ipr_index n,
                           ipr_real *gates, ipr_real *first)
{
    enum { IPR__KEY_ROWS = 256 };
    ipr_ctx *c = g ? g->c : NULL;
    const ipr_index K = g ? g->d.keys : 0, H = g ? g->d.units : 0, T = g ? g->d.steps : 0;
    const int cells = g ? g->d.cells : 0;
    ipr_index at, k, per, i, t, j;
    int no_grad;
    if (ipr__key_fits(g, m, fn) != IPR_OK) return c ? c->err : IPR_E_ARG;
    if (!keys) {
        keys = g->key;
        n = 1;
    }
    no_grad = c->no_grad;
    ipr_no_grad(c, 1);
    per = IPR__MAX((ipr_index)1, IPR__KEY_ROWS / g->d.keys);
    for (at = 0; at < n && !c->err; at += k) {
        const uint32_t step_no = c->step_no;
        ipr_rnn_result out;
        int cell;
        k = IPR__MIN(per, n - at);
        if (ipr__key_pass(g, m, keys + at * ipr_gatekeeper_size(g), k, &out))
            for (cell = 0; cell < cells; cell++) {
                ipr_tensor *a = ipr__contig(c, out.gate_out.at[cell]);
                ipr_tensor *h0 = ipr__contig(c, ipr__mean_keys(c, out.first.at[cell], k, K));
                if (ipr_is_poison(a) || ipr_is_poison(h0)) break;
                for (i = 0; first && i < k; i++)
                    ipr__copy(first + ((at + i) * cells + cell) * H, ipr__rd(h0) + i * H, (size_t)H * sizeof(ipr_real));
                for (i = 0; gates && i < k; i++)
                    for (t = 0; t < T; t++) {
                        ipr_real *to = gates + (((at + i) * cells + cell) * T + t) * H;
                        c->kern->col_sum(K, H, ipr__rd(a) + (t * k + i) * K * H, H, 0, to);
                        for (j = 0; j < H; j++) to[j] /= IPR__R(K);
                    }
            }
        ipr_step_end(c);
        c->step_no = step_no;
    }
    ipr_no_grad(c, no_grad);
    return c->err;
}

IPR_API int ipr_gatekeeper_gates(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_real *keys, ipr_index n,
                                 ipr_real *gates, ipr_real *first)
{
    return ipr__key_gates(g, ipr__keyed_of(m), "ipr_gatekeeper_gates", keys, n, gates, first);
}

IPR_API ipr_index ipr_gatekeeper_match(const ipr_gatekeeper *g, const ipr_real *first)
{
    ipr_index j, n = 0;
    if (!g || !first) return 0;
    for (j = 0; j < ipr__sign_size(g); j++) n += g->bits[j] > 0 ? first[j] > IPR__R(0) : first[j] < IPR__R(0);
    return n;
}

/* ---- embed ---- */

IPR_API IPR__COLD ipr_gatekeeper_recipe ipr_gatekeeper_recipe_of(int which)
{
    ipr_gatekeeper_recipe r = IPR_ZERO;
    r.sign_weight = which == IPR_RECIPE_PAPER ? 1.0 : 0.5; /* eq. 4 has weight 1; the published configuration 0.5 */
    r.sign_margin = 0.1;
    if (which == IPR_RECIPE_AS_CODED) {
        r.spread_weight = 1e-3;
        r.l2_weight = 1e-5;
    }
    if (which == IPR_RECIPE_DEFAULT) {
        r.spread_weight = 1e-3;
        r.open_weight = 1.0;
        r.negatives = 8;
        r.closed_weight = 1.0;
        r.closed_level = 0.3;
        r.others = 2;
        r.neutral_weight = 3.0;
        r.neutral_scale = 0.03;
    }
    return r;
}

#ifndef IPR_NO_TRAIN
/* sum_j relu(gamma - s_j h_j), eq. 4; h [1,H], s [H] */
IPR__FN ipr_tensor *ipr__sign_loss(ipr_ctx *c, ipr_tensor *h, ipr_tensor *s, double gamma)
{
    return ipr_sum(c, ipr_relu(c, ipr_affine(c, ipr_mul(c, h, s), -1, gamma)));
}

/* 1 / mean_j std_k(h): published code, unbiased over the K keys; h [K,H] */
IPR__FN ipr_tensor *ipr__spread_loss(ipr_ctx *c, ipr_tensor *h, ipr_index K)
{
    ipr_tensor *d = ipr_sub(c, h, ipr_mean_axis(c, h, 0));
    ipr_tensor *sd = ipr_sqrt(c, ipr_affine(c, ipr_sum_axis(c, ipr_square(c, d), 0), 1.0 / (double)(K - 1), 0));
    ipr_index one = 1;
    ipr_tensor *num = ipr_affine(c, ipr_new(c, 1, &one), 0, 1);
    return ipr_sum(c, ipr_div(c, num, ipr_affine(c, ipr_mean(c, sd), 1, 1e-6)));
}

IPR__FN ipr_tensor *ipr__plus(ipr_ctx *c, ipr_tensor *sum, double w, ipr_tensor *term)
{
    term = ipr_affine(c, term, w, 0);
    return sum ? ipr_add(c, sum, term) : term;
}

/* A wrong key of another kind than the generator's. */
IPR__FN void ipr__other_key(const ipr_gatekeeper *g, const ipr_dataset *pool, int kind, ipr_rng *r, ipr_real *out)
{
    const ipr_index n = ipr_gatekeeper_size(g), item = g->d.steps * g->d.width;
    const ipr_real constant = IPR__R(2 * ipr_rng_normal(r));
    ipr_index i, k;
    for (i = 0; i < n; i++)
        out[i] = kind == 0 ? IPR__R(ipr_rng_normal(r)) : kind == 1 ? IPR__R(ipr_rng_uniform(r)) : constant;
    for (k = 0; kind == 3 && k < g->d.keys; k++)
        ipr__item_reals(pool, (ipr_index)ipr_rng_below(r, (uint32_t)pool->count), out + k * item);
}

/* The wrong keys of a training step; another range of draws than verification uses. */
IPR__FN int ipr__wrong_keys(const ipr_gatekeeper *g, const ipr_gatekeeper_recipe *r, uint64_t step, ipr_real *out)
{
    const uint64_t draw = ((uint64_t)1 << 63) + (g->c->d.seed << 40) + step * (uint64_t)r->negatives;
    const ipr_dataset *pool =
        r->others_pool && r->others_pool->item == g->d.steps * g->d.width && r->others_pool->count > 0 ? r->others_pool
                                                                                                       : NULL;
    const int others = g->d.token_high > 0 ? 0 : IPR__MIN(r->others, r->negatives), kinds = pool ? 4 : 3;
    int i;
    if (ipr_gatekeeper_fresh(g, draw, r->negatives, out) != IPR_OK) return g->c->err;
    for (i = 0; i < others; i++) {
        ipr_rng rng = ipr_rng_make(draw + (uint64_t)i, IPR__STREAM_KEY, 0x4f544845u);
        ipr__other_key(g, pool, (int)((step + (uint64_t)i) % (uint64_t)kinds), &rng, out + i * ipr_gatekeeper_size(g));
    }
    return IPR_OK;
}

/* The recipe's terms for one cell; a [Tk,n*K,H] its gates under the n keys, h0 [n*K,H] its first states, bits its
   signature. *gate becomes the genuine key's; the sum is added to loss (NULL: none yet). */
IPR__FN ipr_tensor *ipr__embed_cell(const ipr_gatekeeper *g, const ipr_gatekeeper_recipe *r, ipr_tensor *loss,
                                    ipr_tensor *a, ipr_tensor *h0, const int8_t *bits, ipr_tensor **gate)
{
    ipr_ctx *c = g->c;
    const ipr_index K = g->d.keys, H = g->d.units;
    ipr_tensor *h, *s = ipr__temp1(c, H), *wrong, *v;
    ipr_index j, d[3];
    if (ipr_is_poison(s)) return s;
    for (j = 0; j < H; j++) ipr__wr(s)[j] = IPR__R(bits[j]);
    *gate = ipr_mean_axis(c, ipr_slice(c, a, 1, 0, K), 1); /* eq. 1, mean over the K keys */
    h = ipr__mean_keys(c, h0, 1 + r->negatives, K);        /* [n,H] */
    loss = ipr__plus(c, loss, r->sign_weight, ipr__sign_loss(c, ipr_slice(c, h, 0, 0, 1), s, r->sign_margin));
    if (r->spread_weight != 0 && K > 1)
        loss = ipr__plus(c, loss, r->spread_weight, ipr__spread_loss(c, ipr_slice(c, h0, 0, 0, K), K));
    if (r->l2_weight != 0) loss = ipr__plus(c, loss, r->l2_weight, ipr_sum(c, ipr_square(c, ipr_slice(c, h, 0, 0, 1))));
    if (r->open_weight != 0)
        loss = ipr__plus(c, loss, r->open_weight, ipr_affine(c, ipr_mean(c, *gate), -1, 1));
    if (!r->negatives) return loss;
    /* gates of wrong key q, mean over steps, its K sequences and units */
    d[0] = g->d.steps;
    d[1] = r->negatives;
    d[2] = K * H;
    wrong = ipr_reshape(c, ipr_slice(c, a, 1, K, K * r->negatives), 3, d);
    wrong = ipr_mean_axis(c, ipr_mean_axis(c, wrong, 0), 1);
    if (r->closed_weight != 0)
        loss =
            ipr__plus(c, loss, r->closed_weight, ipr_mean(c, ipr_relu(c, ipr_affine(c, wrong, 1, -r->closed_level))));
    if (r->neutral_weight != 0) {
        v = ipr_tanh(c, ipr_affine(c, ipr_mul(c, ipr_slice(c, h, 0, 1, r->negatives), s), 1.0 / r->neutral_scale, 0));
        loss = ipr__plus(c, loss, r->neutral_weight, ipr_mean(c, ipr_square(c, ipr_mean_axis(c, v, 1))));
    }
    return loss;
}

IPR__FN ipr_tensor *ipr__key_embed(const ipr_gatekeeper *g, ipr__keyed m, const ipr_gatekeeper_recipe *recipe,
                                   uint64_t step, ipr_gates *gates)
{
    ipr_ctx *c = g ? g->c : NULL;
    const ipr_gatekeeper_recipe r = recipe ? *recipe : ipr_gatekeeper_recipe_of(IPR_RECIPE_DEFAULT);
    const ipr_index item = ipr_gatekeeper_size(g), n = 1 + r.negatives;
    ipr_tensor *loss = NULL;
    ipr_rnn_result out;
    ipr_real *keys;
    int i;
    if (ipr__key_fits(g, m, "ipr_gatekeeper_embed") != IPR_OK || !gates) return ipr__poison(c);
    if (r.negatives < 0 || r.negatives > 4096 || (r.neutral_weight != 0 && !(r.neutral_scale > 0))) {
        (void)ipr__fail(c, IPR_E_RANGE, "ipr_gatekeeper_embed", "%d negatives, neutral_scale %g: 0..4096, and above 0",
                        r.negatives, r.neutral_scale);
        return ipr__poison(c);
    }
    ipr__zero(gates, sizeof *gates);
    keys = (ipr_real *)ipr__keep(c, (size_t)(n * item) * sizeof *keys);
    if (!keys) return ipr__poison(c);
    ipr__copy(keys, g->key, (size_t)item * sizeof *keys);
    if (r.negatives && ipr__wrong_keys(g, &r, step, keys + item) != IPR_OK) return ipr__poison(c);
    if (!ipr__key_pass(g, m, keys, n, &out)) return ipr__poison(c);
    for (i = 0; i < g->d.cells; i++)
        loss = ipr__embed_cell(g, &r, loss, out.gate_out.at[i], out.first.at[i], g->bits + i * g->d.units,
                               &gates->at[i]);
    gates->count = g->d.cells;
    return loss;
}

IPR_API ipr_tensor *ipr_gatekeeper_embed(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_gatekeeper_recipe *r,
                                         uint64_t step, ipr_gates *gates)
{
    return ipr__key_embed(g, ipr__keyed_of(m), r, step, gates);
}

IPR_API ipr_tensor *ipr_gatekeeper_step(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_gatekeeper_recipe *r,
                                        uint64_t step, ipr_tensor *x, ipr_tensor *labels, ipr_tensor **logits)
{
    ipr_ctx *c = g ? g->c : NULL;
    const int dual = !(r && r->private_scheme);
    ipr_gates gates;
    ipr_tensor *loss = ipr_gatekeeper_embed(g, m, r, step, &gates), *out, *pair[2];
    if (ipr_is_poison(loss)) return ipr__poison(c);
    out = ipr_classifier_forward(m, x, &gates, dual);
    pair[0] = pair[1] = labels;
    if (logits) *logits = ipr_is_poison(out) ? out : ipr_slice(c, out, 0, 0, ipr_dim(x, 1));
    /* the mean over 2B rows, doubled, is L(no key) + L(with key) */
    return ipr__plus(c, loss, dual ? 2 : 1, ipr_cross_entropy(c, out, dual ? ipr_concat(c, pair, 2, 0) : labels));
}
#endif

/* ---- encoder-decoder ---- */

IPR__FN ipr__keyed ipr__keyed_s2s(const ipr_seq2seq *m, int which)
{
    ipr__keyed k = IPR_ZERO;
    if (!m) return k;
    k.embed = which ? &m->decoder_embed : &m->encoder_embed;
    k.rnn = which ? &m->decoder : &m->encoder;
    k.vocabulary = which ? m->desc.target_vocabulary : m->desc.source_vocabulary;
    k.width = m->desc.embed;
    return k;
}

IPR_API int ipr_seq2seq_key_gates(const ipr_gatekeeper *g, ipr_seq2seq *m, int which, const ipr_real *keys, ipr_index n,
                                  ipr_real *gates, ipr_real *first)
{
    return ipr__key_gates(g, ipr__keyed_s2s(m, which), "ipr_seq2seq_key_gates", keys, n, gates, first);
}

#ifndef IPR_NO_TRAIN
IPR_API ipr_tensor *ipr_seq2seq_embed(const ipr_seq2seq_keys *keys, ipr_seq2seq *m, const ipr_gatekeeper_recipe *r,
                                      uint64_t step, ipr_seq2seq_gates *gates)
{
    ipr_ctx *c = m ? m->c : NULL;
    ipr_tensor *e = NULL, *d = NULL;
    if (!m) return NULL;
    if (!keys || !gates || !(keys->encoder || keys->decoder)) {
        (void)ipr__fail(c, IPR_E_ARG, "ipr_seq2seq_embed", "the keys or gates is NULL");
        return ipr__poison(c);
    }
    ipr__zero(gates, sizeof *gates);
    if (keys->encoder) e = ipr__key_embed(keys->encoder, ipr__keyed_s2s(m, 0), r, step, &gates->encoder);
    if (keys->decoder) d = ipr__key_embed(keys->decoder, ipr__keyed_s2s(m, 1), r, step, &gates->decoder);
    return e && d ? ipr_add(c, e, d) : e ? e : d;
}

IPR_API ipr_tensor *ipr_seq2seq_step(const ipr_seq2seq_keys *keys, ipr_seq2seq *m, const ipr_gatekeeper_recipe *r,
                                     uint64_t step, ipr_tensor *source, ipr_tensor *target)
{
    ipr_seq2seq_gates g = IPR_ZERO;
    ipr_tensor *loss = ipr_seq2seq_embed(keys, m, r, step, &g);
    if (ipr_is_poison(loss)) return m ? ipr__poison(m->c) : NULL;
    return ipr_add(m->c, loss, ipr_seq2seq_loss(m, source, target, &g, !(r && r->private_scheme)));
}
#endif
#endif /* IPR_NO_RNN */
#endif /* IPR_FLOOR_MAX >= 11 */

#if IPR_FLOOR_MAX >= 12
/* ==== FLOOR 12: ATTACKS =============================================================== >>attacks
   The inverse verb: what removes, forges or rewrites a mark. Shipped so that every claim can be tried.
   Hands up: nothing is built on attacks. */

/* k-th smallest (from 0) of a[n]; reorders a. Hoare's selection. */
IPR__FN ipr_real ipr__select_kth(ipr_real *a, ipr_index n, ipr_index k)
{
    ipr_index lo = 0, hi = n - 1;
    while (lo < hi) {
        const ipr_real pivot = a[lo + (hi - lo) / 2];
        ipr_index i = lo, j = hi;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (pivot < a[j]) j--;
            if (i <= j) {
                const ipr_real t = a[i];
                a[i] = a[j];
                a[j] = t;
                i++;
                j--;
            }
        }
        if (k <= j) hi = j;
        else if (k >= i) lo = i;
        else break;
    }
    return a[k];
}

IPR__FN int ipr__skipped(const char *name, const char *const *skip, int skips)
{
    int i;
    for (i = 0; i < skips; i++)
        if (ipr__streq(name, skip[i])) return 1;
    return 0;
}

IPR__FN ipr_real ipr__abs_real(ipr_real x) { return x < IPR__R(0) ? -x : x; }

/* Of all parameters together, or of `only` this one. */
IPR__FN int ipr__prune(ipr_params *p, const char *fn, double fraction, const char *const *skip, int skips,
                       const ipr__named *only)
{
    ipr_ctx *c = ipr_params_ctx(p);
    ipr_index n = 0, cut, i, at = 0, ties;
    ipr_real *mag, limit;
    ipr__named *k;
    if (!p) return IPR_E_ARG;
    if (c->err) return c->err;
    if (!(fraction >= 0 && fraction <= 1)) return ipr__fail(c, IPR_E_RANGE, fn, "fraction %g; 0..1", fraction);
    if (skips > 0 && !skip) return ipr__fail(c, IPR_E_ARG, fn, "skip is NULL");
    for (k = p->first; k; k = k->next)
        if (!ipr__skipped(k->name, skip, skips) && (!only || k == only)) n += k->t->n;
    cut = (ipr_index)(fraction * (double)n + 0.5);
    if (!cut) return IPR_OK;
    mag = (ipr_real *)ipr__alloc(c, (size_t)n * sizeof *mag);
    if (!mag) return c->err;
    for (k = p->first; k; k = k->next) {
        if (ipr__skipped(k->name, skip, skips) || (only && k != only)) continue;
        for (i = 0; i < k->t->n; i++) {
            mag[at] = ipr__abs_real(ipr__rd(k->t)[i]);
            if (!ipr__finite_real(mag[at++])) {
                ipr__free(c, mag);
                return ipr__fail(c, IPR_E_NUMERIC, fn, "\"%s\" holds NaN or infinity", k->name);
            }
        }
    }
    limit = ipr__select_kth(mag, n, cut - 1);
    for (ties = cut, i = 0; i < n; i++) ties -= mag[i] < limit; /* how many of those equal to the limit go too */
    ipr__free(c, mag);
    for (k = p->first; k; k = k->next) {
        ipr_real *w = ipr__wr(k->t);
        if (ipr__skipped(k->name, skip, skips) || (only && k != only)) continue;
        for (i = 0; i < k->t->n; i++) {
            const ipr_real a = ipr__abs_real(w[i]);
            if (a < limit || (a == limit && ties-- > 0)) w[i] = IPR__R(0);
        }
    }
    return IPR_OK;
}

IPR_API int ipr_attack_prune(ipr_params *p, double fraction, const char *const *skip, int skips)
{
    return ipr__prune(p, "ipr_attack_prune", fraction, skip, skips, NULL);
}

IPR_API int ipr_attack_prune_each(ipr_params *p, double fraction, const char *const *skip, int skips)
{
    const ipr__named *k;
    int bad = p ? IPR_OK : IPR_E_ARG;
    for (k = p ? p->first : NULL; k && !bad; k = k->next)
        bad = ipr__prune(p, "ipr_attack_prune_each", fraction, skip, skips, k);
    return bad;
}

#ifndef IPR_NO_RNN
/* Hidden states [n][*width] in a block of their own, arguments checked; NULL on error. */
IPR__FN ipr_real *ipr__hidden(ipr_classifier *m, const char *fn, const ipr_dataset *ds, const uint32_t *idx,
                              ipr_index n, double fraction, ipr_index *width)
{
    ipr_real *h = NULL;
    size_t bytes;
    if (!m || !ds || n < 1 || !(fraction >= 0 && fraction <= 1)) {
        (void)ipr__fail(m ? m->c : NULL, IPR_E_ARG, fn, "the model or data set is NULL, %I items, or a fraction of %g",
                        n, fraction);
        return NULL;
    }
    *width = m->output.weight->dim[1];
    if (ipr__mul((size_t)n, (size_t)*width * sizeof *h, &bytes)) h = (ipr_real *)ipr__alloc(m->c, bytes);
    if (h && ipr_classifier_hidden(m, ds, idx, n, h) == IPR_OK) return h;
    ipr__free(m->c, h);
    return NULL;
}

IPR_API int ipr_attack_prune_dynamic(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                     double fraction)
{
    ipr_index width = 0, i, j, k, cut, before;
    ipr_real *h = ipr__hidden(m, "ipr_attack_prune_dynamic", ds, idx, n, fraction, &width), *w;
    double sum, *mean;
    if (!h) return m ? m->c->err : IPR_E_ARG;
    mean = (double *)ipr__alloc(m->c, (size_t)width * sizeof *mean);
    for (j = 0; mean && j < width; j++) {
        for (sum = 0, i = 0; i < n; i++) sum += (double)ipr__abs_real(h[i * width + j]);
        mean[j] = sum;
    }
    cut = (ipr_index)(fraction * (double)width + 0.5);
    w = ipr__wr(m->output.weight);
    for (j = 0; mean && j < width; j++) {
        for (before = 0, i = 0; i < width; i++) before += mean[i] < mean[j] || (i < j && !(mean[j] < mean[i]));
        for (k = 0; before < cut && k < m->desc.classes; k++) w[k * width + j] = IPR__R(0);
    }
    ipr__free(m->c, mean);
    ipr__free(m->c, h);
    return m->c->err;
}

IPR_API int ipr_attack_prune_as_coded(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                      double fraction, int32_t *labels)
{
    const char *fn = "ipr_attack_prune_as_coded";
    ipr_index width = 0, i, j, k, cut;
    ipr_real *h = labels ? ipr__hidden(m, fn, ds, idx, n, fraction, &width) : NULL, *mag, limit = IPR__R(-1);
    const ipr_real *w, *b;
    if (!labels) return ipr__fail(m ? m->c : NULL, IPR_E_ARG, fn, "labels is NULL");
    if (!h) return m ? m->c->err : IPR_E_ARG;
    cut = (ipr_index)(fraction * (double)n * (double)width + 0.5);
    mag = cut ? (ipr_real *)ipr__alloc(m->c, (size_t)(n * width) * sizeof *mag) : NULL;
    for (i = 0; mag && i < n * width; i++) mag[i] = ipr__abs_real(h[i]);
    if (mag) limit = ipr__select_kth(mag, n * width, cut - 1);
    w = ipr__rd(m->output.weight);
    b = ipr__rd(m->output.bias);
    for (i = 0; i < n && !m->c->err; i++) {
        double best = 0;
        for (k = 0; k < m->desc.classes; k++) {
            double s = (double)b[k];
            for (j = 0; j < width; j++)
                if (ipr__abs_real(h[i * width + j]) > limit) s += (double)h[i * width + j] * (double)w[k * width + j];
            if (k == 0 || s > best) {
                best = s;
                labels[i] = (int32_t)k;
            }
        }
    }
    ipr__free(m->c, mag);
    ipr__free(m->c, h);
    return m->c->err;
}

IPR__FN void ipr__negate(ipr_real *p, ipr_index n, ipr_index stride)
{
    ipr_index i;
    for (i = 0; i < n; i++) p[i * stride] = -p[i * stride];
}

/* What reads h_j of a cell: column `col` of the output layer, or of the cells of the next layer. */
IPR__FN void ipr__gauge_readers(ipr_classifier *m, int layer, ipr_index col)
{
    const ipr_rnn_desc *d = &m->rnn.desc;
    const ipr_index ld = d->hidden * ipr__rnn_dirs(d);
    int dir;
    if (layer + 1 == d->layers) ipr__negate(ipr__wr(m->output.weight) + col, m->desc.classes, ld);
    else
        for (dir = 0; dir < (d->bidirectional == IPR_BIDIR ? 2 : 1); dir++) {
            const ipr_rnn_cell *cell = &m->rnn.at[ipr__rnn_cell_of(d, layer + 1, dir)];
            ipr__negate(ipr__wr(cell->w_ih) + col, cell->w_ih->dim[0], ld);
            if (cell->w_mi) ipr__negate(ipr__wr(cell->w_mi) + col, d->hidden, ld);
        }
}

IPR_API int ipr_attack_gauge(ipr_classifier *m, const uint8_t *flip)
{
    ipr_index j, H, cand;
    int i, way;
    if (!m || !flip) return ipr__fail(m ? m->c : NULL, IPR_E_ARG, "ipr_attack_gauge", "the model or flip is NULL");
    H = m->desc.hidden;
    for (i = 0; i < m->rnn.cells; i++) {
        const ipr_rnn_cell *cell = &m->rnn.at[i];
        const ipr_rnn_desc *d = &m->rnn.desc;
        const int two = d->bidirectional == IPR_BIDIR, layer = two ? i / 2 : i;
        for (j = 0; j < H; j++) {
            if (!flip[i * H + j]) continue;
            cand = ipr__rnn_candidate(d->cell) * H + j;
            ipr__negate(ipr__wr(cell->w_ih) + cand * cell->w_ih->dim[1], cell->w_ih->dim[1], 1);
            ipr__negate(ipr__wr(cell->w_hh) + cand * H, H, 1);
            ipr__negate(ipr__wr(cell->b_ih) + cand, 1, 1);
            ipr__negate(ipr__wr(cell->b_hh) + cand, 1, 1);
            if (cell->w_mh) ipr__negate(ipr__wr(cell->w_mh) + j, H, H); /* w_hh reads m, which stays */
            else ipr__negate(ipr__wr(cell->w_hh) + j, cell->w_hh->dim[0], H);
            if (cell->w_peep) ipr__negate(ipr__wr(cell->w_peep) + j, 3, H);
            for (way = 0; way < ipr__rnn_dirs(d); way++)
                if (!two || way == i % 2) ipr__gauge_readers(m, layer, way * H + j);
        }
    }
    return IPR_OK;
}

#ifndef IPR_NO_TRAIN
/* One attack run: which items, and which key to embed on the way (NULL: none). */
typedef struct ipr__attack {
    ipr_classifier *m;
    const ipr_gatekeeper *key;
    const ipr_gatekeeper_recipe *recipe;
    const ipr_dataset *ds;
    uint32_t *items; /* the fraction the attacker has */
    uint32_t *batch;
    ipr_stop_fn stop_fn;
    void *stop_user;
} ipr__attack;

IPR__FN int ipr__attack_stop(void *user)
{
    const ipr__attack *a = (const ipr__attack *)user;
    return a->stop_fn ? a->stop_fn(a->stop_user) : 0;
}

IPR__FN ipr_tensor *ipr__attack_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    ipr__attack *a = (ipr__attack *)user;
    ipr_tensor *x = NULL, *y = NULL, *logits, *loss;
    ipr_index i;
    for (i = 0; i < n; i++) a->batch[i] = a->items[idx[i]];
    (void)ipr_batch(c, a->ds, a->batch, n, IPR_TIME_MAJOR, &x, &y);
    if (a->key) return ipr_gatekeeper_step(a->key, a->m, a->recipe, (uint64_t)info->total, x, y, NULL);
    logits = ipr_classifier_forward(a->m, x, NULL, 0);
    loss = ipr_cross_entropy(c, logits, y);
    return loss;
}

IPR__FN int ipr__attack_run(ipr__attack *a, const uint32_t *idx, ipr_index n, const ipr_attack_desc *desc,
                            const char *fn)
{
    ipr_attack_desc d = IPR_ZERO;
    ipr_fit_desc f = IPR_ZERO;
    ipr_fit_result res;
    ipr_ctx *c = a->m ? a->m->c : NULL;
    ipr_index i, have;
    ipr_rng r;
    int st;
    if (desc) d = *desc;
    if (!a->m || !a->ds) return ipr__fail(c, IPR_E_ARG, fn, "the model or the data set is NULL");
    if (!idx) n = a->ds->count;
    if (d.fraction == 0) d.fraction = 1;
    if (!(d.fraction > 0 && d.fraction <= 1) || d.lr < 0 || n < 1)
        return ipr__fail(c, IPR_E_RANGE, fn, "fraction %g of %I items, lr %g: 0 < fraction <= 1, lr >= 0", d.fraction,
                         n, d.lr);
    have = IPR__MAX((ipr_index)1, (ipr_index)(d.fraction * (double)n + 0.5));
    if (!d.batch) d.batch = 128;
    a->items = (uint32_t *)ipr__alloc(c, (size_t)n * 4);
    a->batch = (uint32_t *)ipr__alloc(c, (size_t)d.batch * 4);
    if (!a->items || !a->batch) {
        ipr__free(c, a->items);
        ipr__free(c, a->batch);
        return c->err;
    }
    for (i = 0; i < n; i++) a->items[i] = idx ? idx[i] : (uint32_t)i;
    r = ipr_rng_make(d.seed, IPR__STREAM_DATA, 1);
    ipr_rng_shuffle(&r, a->items, n);
    f.params = a->m->params;
    f.optimiser.lr = d.lr > 0 ? d.lr : 1e-4;
    f.epochs = d.epochs ? d.epochs : 5;
    f.items = have;
    f.batch = IPR__MIN(d.batch, have);
    f.shuffle = 1;
    f.clip_norm = 1.0;
    f.step_fn = ipr__attack_step;
    f.stop_fn = ipr__attack_stop;
    a->stop_fn = d.stop_fn;
    a->stop_user = d.stop_user;
    f.user = a;
    f.progress_fn = d.progress_fn;
    f.progress_user = d.progress_user;
    st = ipr_fit(c, &f, &res);
    ipr__free(c, a->items);
    ipr__free(c, a->batch);
    return st;
}

IPR_API int ipr_attack_finetune(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                                const ipr_attack_desc *d)
{
    ipr__attack a = IPR_ZERO;
    a.m = m;
    a.ds = ds;
    return ipr__attack_run(&a, idx, n, d, "ipr_attack_finetune");
}

IPR_API int ipr_attack_overwrite(ipr_classifier *m, const ipr_gatekeeper *other, const ipr_gatekeeper_recipe *r,
                                 const ipr_dataset *ds, const uint32_t *idx, ipr_index n, const ipr_attack_desc *d)
{
    ipr__attack a = IPR_ZERO;
    if (!other) return ipr__fail(m ? m->c : NULL, IPR_E_ARG, "ipr_attack_overwrite", "the new key is NULL");
    a.m = m;
    a.key = other;
    a.recipe = r;
    a.ds = ds;
    return ipr__attack_run(&a, idx, n, d, "ipr_attack_overwrite");
}

IPR__FN int ipr__flip(ipr_params *p, ipr__keyed m, const ipr_gatekeeper *g, double fraction,
                      const ipr_attack_desc *desc, const char *fn)
{
    ipr_ctx *c = ipr_params_ctx(p);
    ipr_opt_desc od = IPR_ZERO;
    ipr_opt *opt;
    ipr_real *first;
    uint32_t *order;
    ipr_index H, i, flips, units = g ? g->d.units : 0;
    ipr_rng r;
    int k;
    if (!p || !g) return ipr__fail(c, IPR_E_ARG, fn, "the model or the key is NULL");
    if (!(fraction >= 0 && fraction <= 1)) return ipr__fail(c, IPR_E_RANGE, fn, "fraction %g; 0..1", fraction);
    if (ipr__key_fits(g, m, fn) != IPR_OK) return c->err;
    H = ipr__sign_size(g);
    flips = (ipr_index)(fraction * (double)H + 0.5);
    first = (ipr_real *)ipr__alloc(c, (size_t)H * sizeof *first);
    order = (uint32_t *)ipr__alloc(c, (size_t)H * 4);
    od.lr = desc && desc->lr > 0 ? desc->lr : 1e-3;
    opt = ipr_opt_new(p, &od);
    if (first && order && opt && ipr__key_gates(g, m, fn, NULL, 1, NULL, first) == IPR_OK) {
        r = ipr_rng_make(desc ? desc->seed : 0, IPR__STREAM_DATA, 2);
        for (i = 0; i < H; i++) {
            order[i] = (uint32_t)i;
            first[i] = first[i] > IPR__R(0) ? IPR__R(1) : IPR__R(-1);
        }
        ipr_rng_shuffle(&r, order, H);
        for (i = 0; i < flips; i++) first[order[i]] = -first[order[i]];
        for (k = 0; k < 500 && !c->err; k++) {
            ipr_tensor *loss = NULL, *part;
            ipr_rnn_result out;
            double v;
            if (!ipr__key_pass(g, m, g->key, 1, &out)) break;
            for (i = 0; i < g->d.cells; i++) {
                part = ipr__sign_loss(c, ipr__mean_keys(c, out.first.at[i], 1, g->d.keys),
                                      ipr_from(c, 1, &units, first + i * units), 0.1);
                loss = loss ? ipr_add(c, loss, part) : part;
            }
            v = (double)ipr_item(c, loss);
            if (v >= 1e-4 && ipr_backward(c, loss) == IPR_OK) (void)ipr_opt_step(opt);
            ipr_step_end(c);
            if (v < 1e-4) break;
        }
    }
    ipr_opt_free(opt);
    ipr__free(c, order);
    ipr__free(c, first);
    return c->err;
}

IPR_API int ipr_attack_flip(ipr_classifier *m, const ipr_gatekeeper *g, double fraction, const ipr_attack_desc *d)
{
    return ipr__flip(m ? m->params : NULL, ipr__keyed_of(m), g, fraction, d, "ipr_attack_flip");
}

typedef struct ipr__s2s_attack {
    ipr_seq2seq *m;
    const ipr_seq2seq_keys *keys;
    const ipr_gatekeeper_recipe *recipe;
    const ipr_dataset *source, *target;
    ipr_attack_desc d;
} ipr__s2s_attack;

IPR__TOOL int ipr__s2s_attack_stop(void *user)
{
    const ipr__s2s_attack *a = (const ipr__s2s_attack *)user;
    return a->d.stop_fn ? a->d.stop_fn(a->d.stop_user) : 0;
}

IPR__FN ipr_tensor *ipr__s2s_attack_step(ipr_ctx *c, void *user, const uint32_t *idx, ipr_index n, ipr_fit_info *info)
{
    const ipr__s2s_attack *a = (const ipr__s2s_attack *)user;
    ipr_tensor *x = NULL, *y = NULL;
    (void)ipr_batch(c, a->source, idx, n, IPR_TIME_MAJOR, &x, NULL);
    (void)ipr_batch(c, a->target, idx, n, IPR_TIME_MAJOR, &y, NULL);
    return a->keys ? ipr_seq2seq_step(a->keys, a->m, a->recipe, (uint64_t)info->total, x, y)
                   : ipr_seq2seq_loss(a->m, x, y, NULL, 0);
}

IPR_API IPR__COLD int ipr_attack_seq2seq(ipr_seq2seq *m, const ipr_seq2seq_keys *keys,
                                         const ipr_gatekeeper_recipe *recipe, ipr_dataset *source, ipr_dataset *target,
                                         const ipr_attack_desc *desc)
{
    const char *fn = "ipr_attack_seq2seq";
    ipr_dataset *own[2] = {NULL, NULL};
    ipr_attack_desc d = IPR_ZERO;
    ipr_fit_desc f = IPR_ZERO;
    ipr__s2s_attack a = IPR_ZERO;
    ipr_ctx *c = m ? m->c : NULL;
    uint32_t *items;
    ipr_index i, have;
    ipr_rng r;
    int st;
    if (desc) d = *desc;
    if (!m || !source || !target || !source->tokens || !target->tokens || source->count != target->count)
        return ipr__fail(c, IPR_E_ARG, fn, "the model is NULL, or no two data sets of tokens of one count are given");
    if (c->err) return c->err;
    if (d.fraction == 0) d.fraction = 1;
    if (!(d.fraction > 0 && d.fraction <= 1) || d.lr < 0)
        return ipr__fail(c, IPR_E_RANGE, fn, "fraction %g, lr %g: 0 < fraction <= 1, lr >= 0", d.fraction, d.lr);
    have = IPR__MAX((ipr_index)1, (ipr_index)(d.fraction * (double)source->count + 0.5));
    items = (uint32_t *)ipr__alloc(c, (size_t)source->count * 4);
    if (!items) return c->err;
    for (i = 0; i < source->count; i++) items[i] = (uint32_t)i;
    r = ipr_rng_make(d.seed, IPR__STREAM_DATA, 1);
    ipr_rng_shuffle(&r, items, source->count);
    a.source = own[0] = ipr_dataset_view(source, items, have);
    a.target = own[1] = ipr_dataset_view(target, items, have);
    ipr__free(c, items);
    a.m = m;
    a.keys = keys;
    a.recipe = recipe;
    a.d = d;
    f.params = m->params;
    f.optimiser.lr = d.lr > 0 ? d.lr : 1e-4;
    f.epochs = d.epochs ? d.epochs : 5;
    f.items = have;
    f.batch = IPR__MIN(d.batch ? d.batch : 64, have);
    f.bucket = a.source;
    f.clip_norm = 1.0;
    f.step_fn = ipr__s2s_attack_step;
    f.stop_fn = ipr__s2s_attack_stop;
    f.user = &a;
    f.progress_fn = d.progress_fn;
    f.progress_user = d.progress_user;
    st = c->err ? c->err : ipr_fit(c, &f, NULL);
    ipr_dataset_free(own[0]);
    ipr_dataset_free(own[1]);
    return st;
}

IPR_API IPR__COLD int ipr_attack_seq2seq_flip(ipr_seq2seq *m, const ipr_seq2seq_keys *keys, double fraction,
                                              const ipr_attack_desc *d)
{
    const char *fn = "ipr_attack_seq2seq_flip";
    int st = m && keys ? IPR_OK : ipr__fail(m ? m->c : NULL, IPR_E_ARG, fn, "the model or the keys are NULL");
    if (!st && keys->encoder) st = ipr__flip(m->params, ipr__keyed_s2s(m, 0), keys->encoder, fraction, d, fn);
    if (!st && keys->decoder) st = ipr__flip(m->params, ipr__keyed_s2s(m, 1), keys->decoder, fraction, d, fn);
    return st;
}
#endif
#endif
#endif /* IPR_FLOOR_MAX >= 12 */

#if IPR_FLOOR_MAX >= 13
/* ==== FLOOR 13: VERDICT =============================================================== >>verdict
   The last word: exact tests in doubles of our own, decision rules that say "undecided" unless a complete test
   that could have failed did not, and verification of a suspect model by rank among fresh secrets.
   Hands up: nothing; applications start here. */

/* ---- statistics: exact tests ---- */

enum { IPR__PLAN_MAX = 1000000 };
#define IPR__TRIALS_MAX ((uint64_t)1 << 40)

IPR__FN int ipr__is_prob(double p) { return p >= 0 && p <= 1; }

/* log of the smaller of p and q = 1 - p is taken directly, of the other by log1p: no digit is lost. */
IPR__FN double ipr__log_p(double p, double q) { return p <= q ? ipr__dlog(p) : ipr__dlog1p(-q); }

/* x log(x/m) + m - x with d = x - m given exactly: Loader's deviance (2000). Near m by the series in
   v = d / (x + m), where x log(x/m) = 2 x artanh v. */
IPR__FN double ipr__deviance(double x, double m, double d)
{
    double v = d / (x + m), term = 2.0 * x * v, s = d * v, j;
    if (ipr__dabs(v) > 0.5) return x * ipr__dlog(x / m) - d;
    for (j = 3.0;; j += 2.0) {
        term *= v * v;
        s += term / j;
        if (ipr__dabs(term) <= 1e-17 * s) return s;
    }
}

/* log n! - [(n + 1/2) log n - n + log(2 pi)/2], n >= 1: Stirling's remainder, from 10 on by its series. */
IPR__FN double ipr__stirling_int(double n)
{
    static const double small[9] = {0.08106146679532725822,  0.041340695955409294094, 0.027677925684998339149,
                                    0.020790672103765093112, 0.016644691189821192163, 0.013876128823070747999,
                                    0.011896709945891770095, 0.010411265261972096497, 0.0092554621827127329177};
    return n < 10.0 ? small[(int)n - 1] : ipr__stirling(n);
}

/* log P[X = k] by Loader (2000), "Fast and accurate computation of binomial probabilities": no difference
   of large log-factorials, so nothing cancels. 1 <= k <= n. */
IPR__FN double ipr__binom_log_point(double k, double n, double p, double q)
{
    double d, spread;
    if (n - k < 0.5) return n * ipr__log_p(p, q);
    d = p <= q ? -ipr__dmulsub(n, p, k) : ipr__dmulsub(n, q, n - k); /* k - n p */
    spread = ipr__deviance(k, n * p, d) + ipr__deviance(n - k, n * q, -d);
    return ipr__stirling_int(n) - ipr__stirling_int(k) - ipr__stirling_int(n - k) - spread +
           0.5 * ipr__dlog(n / (IPR__TWO_PI * k * (n - k)));
}

/* log P[X >= k] for k >= n p: the first point times 1 + r1 + r1 r2 + ..., positive and falling; it ends when
   the geometric bound of the rest is below rounding. */
IPR__FN double ipr__binom_log_upper(double k, double n, double p, double q)
{
    double odds = p / q, term = 1.0, sum = 1.0, j;
    for (j = k; j < n; j += 1.0) {
        double ratio = (n - j) / (j + 1.0) * odds;
        term *= ratio;
        sum += term;
        if (term * ratio <= 1e-17 * sum * (1.0 - ratio)) break;
    }
    return ipr__binom_log_point(k, n, p, q) + ipr__dlog(sum);
}

/* Natural log of the upper tail. Below the mean through the complement, which is then not near 1. A p under
   1e-300 counts as 1e-300: the tail is never understated. */
IPR__FN double ipr__binom_log_tail(uint64_t k, uint64_t n, double p)
{
    double kk = (double)k, nn = (double)n, q = 1.0 - p;
    if (!ipr__is_prob(p) || n > IPR__TRIALS_MAX) return ipr__dnan();
    if (k == 0) return 0;
    if (k > n || !(p > 0)) return -ipr__dinf();
    if (!(q > 0)) return 0;
    if (p < 1e-300) p = 1e-300;
    if (kk >= nn * p) return ipr__binom_log_upper(kk, nn, p, q);
    return ipr__dlog1p(-ipr__dexp(ipr__binom_log_upper(nn - kk + 1.0, nn, q, p)));
}

IPR_API double ipr_binom_tail(uint64_t k, uint64_t n, double p) { return ipr__dexp(ipr__binom_log_tail(k, n, p)); }

IPR_API double ipr_binom_log10_tail(uint64_t k, uint64_t n, double p)
{
    return ipr__binom_log_tail(k, n, p) * 0.434294481903251827651;
}

/* P[X <= k], as the upper tail of the misses. */
IPR__FN double ipr__binom_lower(uint64_t k, uint64_t n, double p)
{
    double kk = (double)k, nn = (double)n, q = 1.0 - p;
    if (k >= n || !(p > 0)) return 1.0;
    if (!(q > 0)) return 0;
    if (p < 1e-300) p = 1e-300;
    if (nn - kk >= nn * q) return ipr__dexp(ipr__binom_log_upper(nn - kk, nn, q, p));
    return 1.0 - ipr__dexp(ipr__binom_log_upper(kk + 1.0, nn, p, q));
}

IPR_API uint64_t ipr_binom_threshold(uint64_t n, double p, double alpha)
{
    uint64_t lo = 0, hi = n + 1; /* the answer is in lo..hi */
    if (!ipr__is_prob(p) || !(alpha >= 0) || n > IPR__TRIALS_MAX) return n + 1;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (ipr_binom_tail(mid, n, p) <= alpha) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

/* Kullback-Leibler divergence of Bernoulli(a) from Bernoulli(b). */
IPR__FN double ipr__bernoulli_kl(double a, double b)
{
    double s = a > 0 ? a * ipr__dlog(a / b) : 0;
    return a < 1 ? s + (1.0 - a) * ipr__dlog((1.0 - a) / (1.0 - b)) : s;
}

/* No test of any kind can do with fewer trials than kl(power, alpha) / kl(p1, p0) (data-processing
   inequality); the search starts there and takes every n, since power is a sawtooth in n. */
IPR_API uint64_t ipr_binom_plan(double p0, double p1, double alpha, double power)
{
    double start;
    uint64_t n, k;
    if (!(p0 >= 0 && p0 < p1 && p1 <= 1 && alpha > 0 && alpha < power && power < 1)) return 0;
    start = ipr__bernoulli_kl(power, alpha) / ipr__bernoulli_kl(p1, p0) * (1.0 - 1e-9);
    if (!(start < (double)IPR__PLAN_MAX)) return 0;
    n = start > 1.0 ? (uint64_t)start : 1u;
    k = ipr_binom_threshold(n, p0, alpha);
    for (; n <= IPR__PLAN_MAX; n++) {
        if (ipr_binom_tail(k, n, p0) > alpha) k++; /* one more trial moves the threshold by 0 or 1 */
        if (k <= n && ipr_binom_tail(k, n, p1) >= power) return n;
    }
    return 0;
}

/* The place where a monotone predicate turns from 1 to 0, to the last bit: bisection over the doubles
   themselves (their bit patterns are ordered). before(0) is taken as 1, before(*hi) as 0. */
typedef int (*ipr__below_fn)(double x, const void *arg);
IPR__FN void ipr__boundary(ipr__below_fn before, const void *arg, double *lo, double *hi)
{
    uint64_t a = ipr__f64_bits(0.0), b = ipr__f64_bits(*hi);
    while (b - a > 1) {
        uint64_t mid = a + (b - a) / 2;
        if (before(ipr__bits_f64(mid), arg)) a = mid;
        else b = mid;
    }
    *lo = ipr__bits_f64(a);
    *hi = ipr__bits_f64(b);
}

typedef struct ipr__solve {
    uint64_t k, n;
    double nu, level;
} ipr__solve;

IPR__FN int ipr__upper_small(double p, const void *arg)
{
    const ipr__solve *s = (const ipr__solve *)arg;
    return ipr_binom_tail(s->k, s->n, p) <= s->level;
}

IPR__FN int ipr__lower_large(double p, const void *arg)
{
    const ipr__solve *s = (const ipr__solve *)arg;
    return ipr__binom_lower(s->k, s->n, p) > s->level;
}

/* One-sided exact upper bound of a rate: the p at which k or fewer of n have probability `level`. */
IPR__FN double ipr__rate_upper(uint64_t k, uint64_t n, double level)
{
    ipr__solve s = IPR_ZERO;
    double lo, hi = 1.0;
    if (k >= n) return 1.0;
    s.k = k;
    s.n = n;
    s.level = level;
    ipr__boundary(ipr__lower_large, &s, &lo, &hi);
    return hi;
}

IPR__FN double ipr__rate_lower(uint64_t k, uint64_t n, double level)
{
    ipr__solve s = IPR_ZERO;
    double lo, hi = 1.0;
    if (k == 0) return 0.0;
    s.k = k;
    s.n = n;
    s.level = level;
    ipr__boundary(ipr__upper_small, &s, &lo, &hi);
    return lo;
}

/* 1 for a usable interval request; otherwise the answer is written: NaN, or 0..1 for no trials. */
IPR__TOOL int ipr__interval_ok(uint64_t k, uint64_t n, double conf, double *lo, double *hi)
{
    int sane = conf > 0 && conf < 1 && k <= n && n <= IPR__TRIALS_MAX;
    *lo = sane ? 0.0 : ipr__dnan();
    *hi = sane ? 1.0 : ipr__dnan();
    return sane && n > 0;
}

IPR_API void ipr_clopper_pearson(uint64_t k, uint64_t n, double conf, double *lo, double *hi)
{
    if (!ipr__interval_ok(k, n, conf, lo, hi)) return;
    *lo = ipr__rate_lower(k, n, 0.5 * (1.0 - conf));
    *hi = ipr__rate_upper(k, n, 0.5 * (1.0 - conf));
}

IPR_API double ipr_normal_tail(double z) { return ipr__dnormal_tail(z); }

IPR__FN int ipr__normal_large(double z, const void *arg)
{
    return ipr__dnormal_tail(z) > ((const ipr__solve *)arg)->level;
}

/* (k + z^2/2 -+ z sqrt(k (n - k) / n + z^2/4)) / (n + z^2) */
IPR_API void ipr_wilson(uint64_t k, uint64_t n, double conf, double *lo, double *hi)
{
    double kk = (double)k, nn = (double)n, z = 40.0, zz, mid, half;
    ipr__solve s = IPR_ZERO;
    if (!ipr__interval_ok(k, n, conf, lo, hi)) return;
    s.level = 0.5 * (1.0 - conf);
    ipr__boundary(ipr__normal_large, &s, &zz, &z);
    zz = z * z;
    mid = kk + 0.5 * zz;
    half = z * ipr__dsqrt(kk * (nn - kk) / nn + 0.25 * zz);
    *lo = kk * kk / (nn * (mid + half)); /* the minus sign, without its cancellation */
    *hi = k == n ? 1.0 : (mid + half) / (nn + zz);
}

/* log(Gamma(a + 1/2) / Gamma(a)): for large a from Stirling's remainders, where the rest is elementary. */
IPR__FN double ipr__log_gamma_half_step(double a)
{
    if (a < 10.0) return ipr__dlgamma(a + 0.5) - ipr__dlgamma(a);
    return a * ipr__dlog1p(0.5 / a) - 0.5 + 0.5 * ipr__dlog(a) + ipr__stirling(a + 0.5) - ipr__stirling(a);
}

/* P[|T| > t] of Student's t with nu degrees of freedom: the incomplete beta function I_x(a, 1/2), a = nu/2,
   x = nu / (nu + t^2), by DLMF 8.17.8 and, as for the normal tail, in positive terms only. Below t = 1.5 from
   the complement's series; from there F(1, 1/2; a+1; -nu/t^2) by Gauss's continued fraction (DLMF 15.7.1). */
IPR__FN double ipr__student_tail2(double t, double nu)
{
    double a = 0.5 * nu, w = t * t / nu, y = w / (1.0 + w), front, f, m;
    if (!(t > 0)) return 1.0;
    front = ipr__dexp(ipr__log_gamma_half_step(a) - a * ipr__dlog1p(w)) * 0.564189583547756286948; /* x^a / B */
    if (t < 1.5) {
        double term = 1.0;
        for (f = 1.0, m = 0; term > f * 1e-17; m += 1.0) {
            term *= (a + 0.5 + m) / (1.5 + m) * y;
            f += term;
        }
        return 1.0 - 2.0 * front * ipr__dsqrt(y) * f;
    }
    for (f = 1.0, m = 100.0; m > 0; m -= 1.0) {
        f = 1.0 + (m + 0.5) * (a + m) / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)) / (w * f);
        f = 1.0 + m * (a + m - 0.5) / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)) / (w * f);
    }
    f = 1.0 + 0.5 / (a + 1.0) / (w * f);
    return front / (a * f * ipr__dsqrt(y));
}

IPR__FN int ipr__student_large(double t, const void *arg)
{
    const ipr__solve *s = (const ipr__solve *)arg;
    return ipr__student_tail2(t, s->nu) > s->level;
}

/* t with P[|T| > t] = level */
IPR__FN double ipr__student_quantile(double level, double nu)
{
    ipr__solve s = IPR_ZERO;
    double lo, hi = 1e150;
    s.nu = nu;
    s.level = level;
    ipr__boundary(ipr__student_large, &s, &lo, &hi);
    return hi;
}

/* Two passes; the second also takes out the rounding of the mean (Chan, Golub, LeVeque 1983). */
IPR_API double ipr_mean_ci(const double *x, ipr_index n, double conf, double *mean, double *lo, double *hi)
{
    double m = 0, s1 = 0, s2 = 0, nn = (double)n, sd, half;
    ipr_index i;
    *mean = *lo = *hi = ipr__dnan();
    if (!x || n < 1 || !(conf > 0 && conf < 1)) return ipr__dnan();
    for (i = 0; i < n; i++) m += x[i];
    m /= nn;
    for (i = 0; i < n; i++) {
        double d = x[i] - m;
        s1 += d;
        s2 += d * d;
    }
    m += s1 / nn;
    if (!ipr__finite(m) || !ipr__finite(s2)) return ipr__dnan();
    *mean = m;
    *lo = -ipr__dinf();
    *hi = ipr__dinf();
    if (n < 2) return 0;
    s2 -= s1 * s1 / nn;
    sd = ipr__dsqrt(IPR__MAX(s2, 0.0) / (nn - 1.0));
    half = ipr__student_quantile(1.0 - conf, nn - 1.0) * sd / ipr__dsqrt(nn);
    *lo = m - half;
    *hi = m + half;
    return sd;
}

/* How many of fresh[0..n) are >= s; -1 when a NaN is among them or there is nothing to compare with. */
IPR__FN ipr_index ipr__rank_count(const double *fresh, ipr_index n, double s)
{
    ipr_index i, count = 0;
    if (!fresh || n < 1 || ipr__isnan(s)) return -1;
    for (i = 0; i < n; i++) {
        if (ipr__isnan(fresh[i])) return -1;
        count += fresh[i] >= s;
    }
    return count;
}

IPR_API double ipr_rank_p(const double *fresh, ipr_index n, double s)
{
    ipr_index count = ipr__rank_count(fresh, n, s);
    return count < 0 ? 1.0 : ((double)count + 1.0) / ((double)n + 1.0);
}

IPR_API double ipr_grind_p(double p, double bits)
{
    double r = bits > 0 ? p * ipr__dexp(bits * IPR__LN2) : p;
    return !ipr__isnan(bits) && r < 1 ? r : 1.0;
}

/* ---- verdicts ---- */

IPR_API IPR__COLD const char *ipr_decision_name(int decision)
{
    return decision == IPR_OWNED ? "owned" : decision == IPR_NOT_OWNED ? "not owned" : "undecided";
}

/* Resolved description in, undecided verdict out; why = NULL, or what is wrong with the description. */
IPR__TOOL ipr_verdict ipr__verdict_open(const ipr_verdict_desc *d, ipr_verdict_desc *r, const char **why)
{
    ipr_verdict_desc z = IPR_ZERO;
    ipr_verdict v = IPR_ZERO;
    *r = d ? *d : z;
    *why = NULL;
    if (!(r->alpha < 0 || r->alpha > 0 || ipr__isnan(r->alpha))) r->alpha = 1e-6;
    if (!(r->conf < 0 || r->conf > 0 || ipr__isnan(r->conf))) r->conf = 0.95;
    if (!(r->alpha > 0 && r->alpha < 1)) *why = "alpha is not between 0 and 1";
    else if (!(r->conf > 0 && r->conf < 1)) *why = "conf is not between 0 and 1";
    else if (!(r->grind_bits >= 0 && r->grind_bits <= 1000)) *why = "grind_bits is not in 0..1000";
    else if (!(r->null_rate >= 0 && r->null_rate <= 1)) *why = "null_rate is not in 0..1";
    else if (r->null_matched > r->null_of) *why = "more null matches than null trials";
    else if (r->null_of > IPR__TRIALS_MAX) *why = "more than 2^40 null trials";
    v.scheme = r->scheme ? r->scheme : "";
    v.alpha = r->alpha;
    v.conf = r->conf;
    v.grind_bits = r->grind_bits;
    v.p_value = v.rank_p = v.ci_hi = 1.0;
    return v;
}

/* IPR_UNDECIDED with this reason. */
IPR__TOOL ipr_verdict ipr__verdict_undecided(ipr_verdict *v, const char *why)
{
    v->decision = IPR_UNDECIDED;
    (void)ipr__fmt(v->reason, sizeof v->reason, "%s", why);
    return *v;
}

/* The last step of both tests: p against alpha. */
IPR__TOOL ipr_verdict ipr__verdict_decide(ipr_verdict *v, int owned)
{
    v->decision = owned ? IPR_OWNED : IPR_NOT_OWNED;
    (void)ipr__fmt(v->reason, sizeof v->reason,
                   owned ? "p = %g is at most alpha = %g" : "p = %g is above alpha = %g: no evidence at this level",
                   v->p_value, v->alpha);
    return *v;
}

IPR_API IPR__COLD ipr_verdict ipr_verdict_binomial(const ipr_verdict_desc *d, uint64_t matched, uint64_t of)
{
    ipr_verdict_desc r;
    const char *why;
    ipr_verdict v = ipr__verdict_open(d, &r, &why);
    double cost = r.null_of ? 0.5 * r.alpha : 0.0; /* Berger & Boos: the part of alpha the null's bound takes */
    v.matched = matched;
    v.of = of;
    if (why) return ipr__verdict_undecided(&v, why);
    if (of == 0) return ipr__verdict_undecided(&v, "no answers");
    if (of > IPR__TRIALS_MAX) return ipr__verdict_undecided(&v, "more than 2^40 answers");
    if (matched > of) return ipr__verdict_undecided(&v, "more matches than answers");
    v.rate = (double)matched / (double)of;
    ipr_clopper_pearson(matched, of, r.conf, &v.ci_lo, &v.ci_hi);
    if (r.expected && of != r.expected) {
        (void)ipr__fmt(v.reason, sizeof v.reason, "%U answers where %U were asked for", of, r.expected);
        return v;
    }
    v.null_matched = r.null_matched;
    v.null_of = r.null_of;
    v.null_rate = r.null_of ? (double)r.null_matched / (double)r.null_of : r.null_rate;
    v.null_upper = r.null_of ? ipr__rate_upper(r.null_matched, r.null_of, cost) : 0.0;
    v.null_upper = IPR__MAX(v.null_upper, r.null_rate);
    if (!(v.null_upper > 0))
        return ipr__verdict_undecided(&v, "no null rate: give null_rate, or null_matched of null_of");
    v.log10_tail = ipr_binom_log10_tail(matched, of, v.null_upper);
    v.p_value = ipr_grind_p(ipr_binom_tail(matched, of, v.null_upper), r.grind_bits) + cost;
    v.p_value = IPR__MIN(v.p_value, 1.0);
    v.log10_p = cost > 0 ? ipr__dlog10(v.p_value) : v.log10_tail + r.grind_bits * 0.301029995663981195214;
    v.log10_p = IPR__MIN(v.log10_p, 0.0);
    v.threshold = ipr_binom_threshold(of, v.null_upper, (r.alpha - cost) * ipr__dexp(-r.grind_bits * IPR__LN2));
    if (v.threshold > of) {
        (void)ipr__fmt(v.rule, sizeof v.rule, "exact binomial test against a null rate of at most %g", v.null_upper);
        (void)ipr__fmt(v.reason, sizeof v.reason, "%U answers are too few: even all matching cannot reach alpha = %g",
                       of, r.alpha);
        return v;
    }
    (void)ipr__fmt(v.rule, sizeof v.rule,
                   "exact binomial test: owned if at least %U of %U match, against a null rate of at most %g",
                   v.threshold, of, v.null_upper);
    return ipr__verdict_decide(&v, matched >= v.threshold);
}

/* p of the rank test when `reached` of n fresh keys score as high. */
IPR__FN double ipr__rank_p_of(double reached, double n, double bits)
{
    return ipr_grind_p((reached + 1.0) / (n + 1.0), bits);
}

IPR_API IPR__COLD ipr_verdict ipr_verdict_rank(const ipr_verdict_desc *d, double score, const double *fresh,
                                               ipr_index n)
{
    ipr_verdict_desc r;
    const char *why;
    ipr_verdict v = ipr__verdict_open(d, &r, &why);
    ipr_index reached = ipr__rank_count(fresh, n, score);
    double nn = (double)n, most;
    v.score = score;
    v.fresh = n > 0 ? (uint64_t)n : 0u;
    if (why) return ipr__verdict_undecided(&v, why);
    if (!fresh || n < 1) return ipr__verdict_undecided(&v, "no fresh keys to compare with");
    if (ipr__isnan(score)) return ipr__verdict_undecided(&v, "the score is not a number");
    if (reached < 0) return ipr__verdict_undecided(&v, "a fresh key's score is not a number");
    if (r.expected && (uint64_t)n != r.expected) {
        (void)ipr__fmt(v.reason, sizeof v.reason, "%U scores of fresh keys where %U were asked for", v.fresh,
                       r.expected);
        return v;
    }
    v.reached = (uint64_t)reached;
    v.rank_p = ipr__rank_p_of((double)reached, nn, 0);
    v.p_value = ipr__rank_p_of((double)reached, nn, r.grind_bits);
    v.log10_p = ipr__dlog10(v.p_value);
    if (ipr__rank_p_of(0, nn, r.grind_bits) > r.alpha) {
        (void)ipr__fmt(v.rule, sizeof v.rule,
                       "rank test: p = (1 + fresh keys that reach the score) / (1 + fresh keys)");
        (void)ipr__fmt(v.reason, sizeof v.reason,
                       "%U fresh keys are too few for alpha = %g: even the best rank gives p = %g", v.fresh, r.alpha,
                       ipr__rank_p_of(0, nn, r.grind_bits));
        return v;
    }
    most = (double)(uint64_t)(r.alpha * ipr__dexp(-r.grind_bits * IPR__LN2) * (nn + 1.0)) + 1.0; /* or less */
    while (most > 0 && ipr__rank_p_of(most, nn, r.grind_bits) > r.alpha) most -= 1.0;
    v.threshold = (uint64_t)most;
    (void)ipr__fmt(v.rule, sizeof v.rule, "rank test: owned if at most %U of %U fresh keys reach the score",
                   v.threshold, v.fresh);
    return ipr__verdict_decide(&v, v.p_value <= r.alpha);
}
#endif /* IPR_FLOOR_MAX >= 13 */

#if IPR_FLOOR_MAX >= 13 && !defined(IPR_NO_RNN)
/* ---- verification protocols ---- */

/* One cell of the suspect against the reference's weight_ih. Its inputs are columns at[i] with sign[i] of the suspect,
   as found for the layer below; NULL: as they are. */
typedef struct ipr__gauge {
    const ipr_real *w, *ref;
    ipr_index H, I;
    ipr_index blocks, cand; /* cand: the block whose sign is free */
    const ipr_index *at;
    const int8_t *sign;
} ipr__gauge;

IPR__FN double ipr__gauge_input(const ipr__gauge *g, ipr_index row, ipr_index i)
{
    const double v = (double)g->w[row * g->I + (g->at ? i / g->H * g->H + g->at[i] : i)];
    return g->at && g->sign[i] < 0 ? -v : v;
}

IPR__FN double ipr__unit_distance(const ipr__gauge *g, ipr_index j, ipr_index k)
{
    double sum = 0, turned = 0;
    ipr_index i, b;
    for (b = 0; b < g->blocks; b++) {
        if (b == g->cand && g->blocks > 1) continue;
        for (i = 0; i < g->I; i++) {
            const double v = ipr__gauge_input(g, b * g->H + k, i), w = (double)g->ref[(b * g->H + j) * g->I + i];
            sum += (v - w) * (v - w);
            turned += (v + w) * (v + w);
        }
    }
    return g->blocks > 1 || sum < turned ? sum : turned;
}

/* Pairs the units of one cell: greedy, best pair first. dist [H*H], used [2H]. */
IPR__FN void ipr__gauge_cell(const ipr__gauge *g, double *dist, uint8_t *used, ipr_index *at, int8_t *sign)
{
    const ipr_index H = g->H;
    ipr_index j, k, done, i;
    ipr__zero(used, (size_t)(2 * H));
    for (j = 0; j < H; j++)
        for (k = 0; k < H; k++) dist[j * H + k] = ipr__unit_distance(g, j, k);
    for (done = 0; done < H; done++) {
        ipr_index bj = -1, bk = -1;
        double dot = 0;
        for (j = 0; j < H; j++) {
            if (used[j]) continue;
            for (k = 0; k < H; k++)
                if (!used[H + k] && (bj < 0 || dist[j * H + k] < dist[bj * H + bk])) {
                    bj = j;
                    bk = k;
                }
        }
        used[bj] = used[H + bk] = 1;
        at[bj] = bk;
        for (i = 0; i < g->I; i++)
            dot += ipr__gauge_input(g, g->cand * H + bk, i) * (double)g->ref[(g->cand * H + bj) * g->I + i];
        sign[bj] = (int8_t)(dot < 0 ? -1 : 1);
    }
}

IPR_API int ipr_gauge_find(const ipr_classifier *s, const ipr_params *reference, ipr_index *at, int8_t *sign)
{
    const char *fn = "ipr_gauge_find";
    const ipr_index H = s ? s->desc.hidden : 0;
    double *dist;
    uint8_t *used;
    char name[64];
    int i;
    if (!s || !at || !sign) return ipr__fail(s ? s->c : NULL, IPR_E_ARG, fn, "an argument is NULL");
    if (s->desc.bidirectional == IPR_BIDIR_SHARED && s->desc.layers > 1)
        return ipr__fail(s->c, IPR_E_ARG, fn, "stacked layers of shared cells cannot be aligned");
    dist = (double *)ipr__alloc(s->c, (size_t)(H * H) * sizeof *dist);
    used = (uint8_t *)ipr__alloc(s->c, (size_t)(2 * H));
    for (i = 0; dist && used && i < s->rnn.cells; i++) {
        const int each = s->desc.bidirectional == IPR_BIDIR ? 2 : 1, layer = i / each;
        const ipr_tensor *w = s->rnn.at[i].w_ih, *ref;
        ipr__gauge g = IPR_ZERO;
        (void)ipr__fmt(name, sizeof name, "rnn.weight_ih_l%d%s", layer, i % each ? "_reverse" : "");
        ref = ipr_params_find(reference, name);
        if (!ref || !ipr__same_shape(ref, w)) {
            (void)ipr__fail(s->c, IPR_E_SHAPE, fn, "the reference has no %s of the suspect's shape", name);
            break;
        }
        g.w = ipr__rd(w);
        g.ref = ipr__rd(ref);
        g.H = H;
        g.I = w->dim[1];
        g.blocks = ipr__rnn_blocks(s->desc.cell);
        g.cand = ipr__rnn_candidate(s->desc.cell);
        g.at = layer ? at + (layer - 1) * each * H : NULL;
        g.sign = layer ? sign + (layer - 1) * each * H : NULL;
        ipr__gauge_cell(&g, dist, used, at + i * H, sign + i * H);
    }
    ipr__free(s->c, dist);
    ipr__free(s->c, used);
    return s->c->err;
}

/* Mean probability of the right label over the probes under one gate; NaN on error. */
IPR__FN double ipr__key_score(ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx, ipr_index n,
                              const ipr_real *gate, ipr_index steps, double *p)
{
    double sum = 0;
    ipr_index i;
    if (ipr_classifier_predict(m, ds, idx, n, gate, steps, NULL, p) != IPR_OK)
        return ipr__bits_f64((uint64_t)0x7ff8 << 48);
    for (i = 0; i < n; i++) sum += p[i];
    return sum / (double)n;
}

typedef struct ipr__gk_work {
    ipr_real *keys, *gates, *first, *tmp;
    double *p, *scores, *bits;
    ipr_index *at;
    int8_t *sign;
} ipr__gk_work;

/* Units of first[] that spell the signature (the first `limit` of each cell), read after undoing the gauge where a
   reference is given. */
IPR__FN ipr_index ipr__read_signature(const ipr_gatekeeper *g, const ipr__gk_work *w, const ipr_real *first,
                                      ipr_index limit, int aligned)
{
    const ipr_index H = g->d.units;
    ipr_index j, n = 0;
    for (j = 0; j < ipr__sign_size(g); j++) {
        const ipr_real v = aligned ? IPR__R(w->sign[j]) * first[j / H * H + w->at[j]] : first[j];
        if (j % H < limit) n += g->bits[j] > 0 ? v > IPR__R(0) : v < IPR__R(0);
    }
    return n;
}

IPR__TOOL int ipr__gk_run(const ipr_gatekeeper *g, ipr_classifier *m, const ipr_dataset *ds, const uint32_t *idx,
                          ipr_index n, const ipr_gatekeeper_test *t, ipr_gatekeeper_report *r, ipr__gk_work *w)
{
    enum { IPR__FRESH_BATCH = 32 };
    const ipr_index T = g->d.steps, all = ipr__sign_size(g);
    const int aligned = t->reference != NULL;
    ipr_verdict_desc vd = IPR_ZERO;
    ipr_index at, k, i;
    uint64_t null_matched = 0;
    if (aligned && ipr_gauge_find(m, t->reference, w->at, w->sign) != IPR_OK) return g->c->err;
    r->accuracy_no_key = ipr_classifier_accuracy(m, ds, idx, n, NULL, 0);
    if (ipr_gatekeeper_gates(g, m, NULL, 1, w->gates, w->first) != IPR_OK) return g->c->err;
    r->accuracy_key = ipr_classifier_accuracy(m, ds, idx, n, w->gates, T);
    r->score = ipr__key_score(m, ds, idx, n, w->gates, T, w->p);
    r->matched = ipr__read_signature(g, w, w->first, g->d.units, aligned);
    r->text_matched = ipr__read_signature(g, w, w->first, g->text_bits, aligned);
    for (at = 0; at < t->fresh && !g->c->err; at += k) {
        k = IPR__MIN((ipr_index)IPR__FRESH_BATCH, t->fresh - at);
        /* draws of verification lie below 2^62, those of training above 2^63 */
        if (ipr_gatekeeper_fresh(g, (t->draw << 24 & 0x3fffffffffffffffu) + (uint64_t)at, k, w->keys) != IPR_OK ||
            ipr_gatekeeper_gates(g, m, w->keys, k, w->gates, w->first) != IPR_OK)
            return g->c->err;
        for (i = 0; i < k; i++) {
            w->scores[at + i] = ipr__key_score(m, ds, idx, n, w->gates + i * T * all, T, w->p);
            w->bits[at + i] = (double)ipr__read_signature(g, w, w->first + i * all, g->d.units, aligned);
            null_matched += (uint64_t)w->bits[at + i];
        }
    }
    if (g->c->err) return g->c->err;
    vd.scheme = "gatekeeper";
    vd.alpha = t->alpha;
    r->function = ipr_verdict_rank(&vd, r->score, w->scores, t->fresh);
    r->signature = ipr_verdict_rank(&vd, (double)r->matched, w->bits, t->fresh);
    vd.null_matched = null_matched;
    vd.null_of = (uint64_t)(t->fresh * all);
    r->signature_binomial = ipr_verdict_binomial(&vd, (uint64_t)r->matched, (uint64_t)all);
    for (i = 0; t->scores && i < t->fresh; i++) t->scores[i] = w->scores[i];
    for (i = 0; t->bits && i < t->fresh; i++) t->bits[i] = w->bits[i];
    return IPR_OK;
}

IPR_API IPR__COLD int ipr_gatekeeper_verify(const ipr_gatekeeper *g, ipr_classifier *suspect, const ipr_dataset *ds,
                                            const uint32_t *idx, ipr_index n, const ipr_gatekeeper_test *test,
                                            ipr_gatekeeper_report *report)
{
    const char *fn = "ipr_gatekeeper_verify";
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr__gk_work w;
    ipr_ctx *c = g ? g->c : NULL;
    ipr_index H;
    int st = IPR_OK;
    if (!g || !suspect || !ds || !report)
        return ipr__fail(c, IPR_E_ARG, fn, "the key, the model, the data set or the report is NULL");
    ipr__zero(report, sizeof *report);
    if (c->err) return c->err;
    if (ipr__key_fits(g, ipr__keyed_of(suspect), fn) != IPR_OK) return c->err;
    if (n < 1 || n > (idx ? n : ds->count))
        return ipr__fail(c, IPR_E_RANGE, fn, "%I probes of %I items; give at least one", n, ds->count);
    if (test) t = *test;
    if (!t.fresh) t.fresh = 999;
    if (t.alpha == 0) t.alpha = 0.001;
    if (t.fresh < 1 || !(t.alpha > 0 && t.alpha < 1))
        return ipr__fail(c, IPR_E_RANGE, fn, "%I fresh keys, alpha %g: at least one, 0 < alpha < 1", t.fresh, t.alpha);
    H = ipr__sign_size(g);
    ipr__zero(&w, sizeof w);
    w.keys = (ipr_real *)ipr__alloc(c, (size_t)(32 * ipr_gatekeeper_size(g)) * sizeof(ipr_real));
    w.gates = (ipr_real *)ipr__alloc(c, (size_t)(32 * g->d.steps * H) * sizeof(ipr_real));
    w.first = (ipr_real *)ipr__alloc(c, (size_t)(32 * H) * sizeof(ipr_real));
    w.p = (double *)ipr__alloc(c, (size_t)n * sizeof(double));
    w.scores = (double *)ipr__alloc(c, (size_t)t.fresh * sizeof(double));
    w.bits = (double *)ipr__alloc(c, (size_t)t.fresh * sizeof(double));
    w.at = (ipr_index *)ipr__alloc(c, (size_t)H * sizeof(ipr_index));
    w.sign = (int8_t *)ipr__alloc(c, (size_t)H);
    st = c->err ? c->err : ipr__gk_run(g, suspect, ds, idx, n, &t, report, &w);
    ipr__free(c, w.keys);
    ipr__free(c, w.gates);
    ipr__free(c, w.first);
    ipr__free(c, w.p);
    ipr__free(c, w.scores);
    ipr__free(c, w.bits);
    ipr__free(c, w.at);
    ipr__free(c, w.sign);
    return st;
}

/* Work room of ipr_seq2seq_verify: what each layer's keys do, layer 0 the encoder. */
typedef struct ipr__s2s_work {
    ipr_real *keys[2], *gates[2], *first[2];
    double *logp, *scores, *bits;
    int32_t *forced;
    ipr_index stride, words;
} ipr__s2s_work;

/* Mean log-probability of a reference word with gates number i; *accuracy (may be NULL): % of words said right. */
IPR__TOOL double ipr__s2s_key_score(ipr_seq2seq *m, const ipr_gatekeeper *const *g, const ipr_dataset *source,
                                    const ipr_dataset *target, const uint32_t *idx, ipr_index n, const ipr__s2s_work *w,
                                    ipr_index i, int gated, double *accuracy)
{
    ipr_seq2seq_rows rows = IPR_ZERO;
    ipr_index k, t, len, right = 0;
    double sum = 0;
    if (gated && g[0]) {
        rows.encoder_steps = g[0]->d.steps;
        rows.encoder = w->gates[0] + i * g[0]->d.steps * ipr__sign_size(g[0]);
    }
    if (gated && g[1]) {
        rows.decoder_steps = g[1]->d.steps;
        rows.decoder = w->gates[1] + i * g[1]->d.steps * ipr__sign_size(g[1]);
    }
    if (ipr_seq2seq_score(m, source, target, idx, n, &rows, w->logp, accuracy ? w->forced : NULL, w->stride) != IPR_OK)
        return ipr__bits_f64((uint64_t)0x7ff8 << 48);
    for (k = 0; k < n; k++) sum += w->logp[k];
    for (k = 0; accuracy && k < n; k++) {
        const int32_t *ref = ipr_dataset_item_tokens(target, idx ? (ipr_index)idx[k] : k, &len);
        for (t = 1; t < len; t++) right += w->forced[k * w->stride + t - 1] == ref[t];
    }
    if (accuracy) *accuracy = 100.0 * (double)right / (double)w->words;
    return sum / (double)w->words;
}

IPR__TOOL int ipr__s2s_gk_run(const ipr_gatekeeper *const *g, ipr_seq2seq *m, const ipr_dataset *source,
                              const ipr_dataset *target, const uint32_t *idx, ipr_index n, const ipr_gatekeeper_test *t,
                              ipr_gatekeeper_report *r, ipr__s2s_work *w)
{
    enum { IPR__FRESH_BATCH = 32 };
    ipr_verdict_desc vd = IPR_ZERO;
    ipr_index at, k, i, units = 0, j;
    uint64_t null_matched = 0;
    ipr_ctx *c = m->c;
    int p;
    (void)ipr__s2s_key_score(m, g, source, target, idx, n, w, 0, 0, &r->accuracy_no_key);
    for (p = 0; p < 2; p++) {
        if (!g[p]) continue;
        units += ipr__sign_size(g[p]);
        if (ipr_seq2seq_key_gates(g[p], m, p, NULL, 1, w->gates[p], w->first[p]) != IPR_OK) return c->err;
        r->matched += ipr_gatekeeper_match(g[p], w->first[p]);
        for (j = 0; j < ipr__sign_size(g[p]); j++)
            if (j % g[p]->d.units < g[p]->text_bits)
                r->text_matched += g[p]->bits[j] > 0 ? w->first[p][j] > IPR__R(0) : w->first[p][j] < IPR__R(0);
    }
    r->score = ipr__s2s_key_score(m, g, source, target, idx, n, w, 0, 1, &r->accuracy_key);
    for (at = 0; at < t->fresh && !c->err; at += k) {
        k = IPR__MIN((ipr_index)IPR__FRESH_BATCH, t->fresh - at);
        for (i = 0; i < k; i++) w->bits[at + i] = 0;
        for (p = 0; p < 2; p++) {
            /* draws of verification lie below 2^62, those of training above 2^63; the layers' are independent */
            const uint64_t draw = (t->draw << 24 & 0x3fffffffffffffffu) + ((uint64_t)p << 23) + (uint64_t)at;
            if (!g[p]) continue;
            if (ipr_gatekeeper_fresh(g[p], draw, k, w->keys[p]) != IPR_OK ||
                ipr_seq2seq_key_gates(g[p], m, p, w->keys[p], k, w->gates[p], w->first[p]) != IPR_OK)
                return c->err;
            for (i = 0; i < k; i++)
                w->bits[at + i] += (double)ipr_gatekeeper_match(g[p], w->first[p] + i * ipr__sign_size(g[p]));
        }
        for (i = 0; i < k; i++) {
            w->scores[at + i] = ipr__s2s_key_score(m, g, source, target, idx, n, w, i, 1, NULL);
            null_matched += (uint64_t)w->bits[at + i];
        }
    }
    if (c->err) return c->err;
    vd.scheme = "gatekeeper";
    vd.alpha = t->alpha;
    r->function = ipr_verdict_rank(&vd, r->score, w->scores, t->fresh);
    r->signature = ipr_verdict_rank(&vd, (double)r->matched, w->bits, t->fresh);
    vd.null_matched = null_matched;
    vd.null_of = (uint64_t)(t->fresh * units);
    r->signature_binomial = ipr_verdict_binomial(&vd, (uint64_t)r->matched, (uint64_t)units);
    for (i = 0; t->scores && i < t->fresh; i++) t->scores[i] = w->scores[i];
    for (i = 0; t->bits && i < t->fresh; i++) t->bits[i] = w->bits[i];
    return IPR_OK;
}

IPR_API IPR__COLD IPR__COLD int ipr_seq2seq_verify(const ipr_seq2seq_keys *keys, ipr_seq2seq *suspect,
                                                   const ipr_dataset *source, const ipr_dataset *target,
                                                   const uint32_t *idx, ipr_index n, const ipr_gatekeeper_test *test,
                                                   ipr_gatekeeper_report *report)
{
    const char *fn = "ipr_seq2seq_verify";
    const ipr_gatekeeper *g[2];
    ipr_gatekeeper_test t = IPR_ZERO;
    ipr_ctx *c = suspect ? suspect->c : NULL;
    ipr__s2s_work w;
    ipr_index i, len;
    int p;
    if (!keys || !suspect || !source || !target || !report || !(keys->encoder || keys->decoder))
        return ipr__fail(c, IPR_E_ARG, fn, "the keys, the model, a data set or the report is NULL");
    ipr__zero(report, sizeof *report);
    if (test) t = *test;
    if (!t.fresh) t.fresh = 999;
    if (t.alpha == 0) t.alpha = 0.001;
    if (ipr__s2s_given(suspect, fn, source, target, idx, n) != IPR_OK) return c->err;
    if (t.fresh < 1 || t.fresh > 1 << 23 || !(t.alpha > 0 && t.alpha < 1) || t.reference)
        return ipr__fail(c, IPR_E_RANGE, fn, "%I fresh keys, alpha %g: at least one, 0 < alpha < 1; no reference",
                         t.fresh, t.alpha);
    g[0] = keys->encoder;
    g[1] = keys->decoder;
    ipr__zero(&w, sizeof w);
    for (i = 0; i < n; i++) {
        (void)ipr_dataset_item_tokens(target, idx ? (ipr_index)idx[i] : i, &len);
        w.stride = IPR__MAX(w.stride, len);
        w.words += IPR__MAX(len - 1, (ipr_index)0);
    }
    if (w.words < 1) return ipr__fail(c, IPR_E_RANGE, fn, "the probes have no words");
    for (p = 0; p < 2; p++) {
        if (!g[p]) continue;
        if (ipr__key_fits(g[p], ipr__keyed_s2s(suspect, p), fn) != IPR_OK) break;
        w.keys[p] = (ipr_real *)ipr__alloc(c, (size_t)(32 * ipr_gatekeeper_size(g[p])) * sizeof(ipr_real));
        w.gates[p] = (ipr_real *)ipr__alloc(c, (size_t)(32 * g[p]->d.steps * ipr__sign_size(g[p])) * sizeof(ipr_real));
        w.first[p] = (ipr_real *)ipr__alloc(c, (size_t)(32 * ipr__sign_size(g[p])) * sizeof(ipr_real));
    }
    w.logp = (double *)ipr__alloc(c, (size_t)n * sizeof(double));
    w.forced = (int32_t *)ipr__alloc(c, (size_t)(n * w.stride) * sizeof(int32_t));
    w.scores = (double *)ipr__alloc(c, (size_t)t.fresh * sizeof(double));
    w.bits = (double *)ipr__alloc(c, (size_t)t.fresh * sizeof(double));
    if (!c->err) (void)ipr__s2s_gk_run(g, suspect, source, target, idx, n, &t, report, &w);
    for (p = 0; p < 2; p++) {
        ipr__free(c, w.keys[p]);
        ipr__free(c, w.gates[p]);
        ipr__free(c, w.first[p]);
    }
    ipr__free(c, w.logp);
    ipr__free(c, w.forced);
    ipr__free(c, w.scores);
    ipr__free(c, w.bits);
    return c->err;
}

/* Hits of an oracle on n items; -1 when it failed or answered outside the classes. */
IPR__FN ipr_index ipr__oracle_hits(ipr_ctx *c, ipr_oracle oracle, void *user, const uint32_t *items,
                                   const int32_t *want, ipr_index n, ipr_index classes)
{
    int32_t *got = (int32_t *)ipr__alloc(c, (size_t)IPR__MAX(n, (ipr_index)1) * 4);
    ipr_index i, hits = 0;
    if (!got) return -1;
    for (i = 0; i < n; i++) got[i] = -1;
    if (n && oracle(user, items, n, got) != IPR_OK) hits = -1;
    for (i = 0; hits >= 0 && i < n; i++) {
        if (got[i] < 0 || got[i] >= classes) {
            hits = -1;
            break;
        }
        hits += got[i] == want[i];
    }
    ipr__free(c, got);
    return hits;
}

IPR_API IPR__COLD ipr_verdict ipr_trigger_verify(ipr_ctx *c, ipr_oracle oracle, void *user, const uint32_t *triggers,
                                                 const int32_t *trigger_labels, ipr_index n, const uint32_t *null_items,
                                                 const int32_t *null_labels, ipr_index null_n, ipr_index classes,
                                                 double alpha)
{
    ipr_verdict_desc d = IPR_ZERO;
    ipr_verdict v;
    ipr_index hits = -1, nulls = -1;
    d.scheme = "triggers";
    d.alpha = alpha;
    if (c && oracle && triggers && trigger_labels && null_items && null_labels && n > 0 && null_n > 0) {
        hits = ipr__oracle_hits(c, oracle, user, triggers, trigger_labels, n, classes);
        nulls = ipr__oracle_hits(c, oracle, user, null_items, null_labels, null_n, classes);
    }
    if (hits < 0 || nulls < 0) {
        v = ipr_verdict_binomial(&d, 0, 0);
        (void)ipr__fmt(v.reason, sizeof v.reason,
                       "the oracle failed, answered too little, or gave a label outside 0..%I", classes - 1);
        return v;
    }
    d.null_matched = (uint64_t)nulls;
    d.null_of = (uint64_t)null_n;
    d.expected = (uint64_t)n;
    v = ipr_verdict_binomial(&d, (uint64_t)hits, (uint64_t)n);
    return v;
}
#endif /* IPR_FLOOR_MAX >= 13 */

#ifdef __cplusplus
}
#endif
#endif /* IPR_IMPLEMENTATION */
/*
   This software is available under two licences; choose whichever you prefer.

   ------------------------------------------------------------------------------
   ALTERNATIVE A - Public domain (www.unlicense.org)

   This is free and unencumbered software released into the public domain.

   Anyone is free to copy, modify, publish, use, compile, sell, or distribute this
   software, either in source code form or as a compiled binary, for any purpose,
   commercial or non-commercial, and by any means.

   In jurisdictions that recognize copyright laws, the author or authors of this
   software dedicate any and all copyright interest in the software to the public
   domain. We make this dedication for the benefit of the public at large and to
   the detriment of our heirs and successors. We intend this dedication to be an
   overt act of relinquishment in perpetuity of all present and future rights to
   this software under copyright law.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
   FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
   ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION
   WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

   ------------------------------------------------------------------------------
   ALTERNATIVE B - MIT No Attribution

   Copyright 2026 the ipr.h authors

   Permission is hereby granted, free of charge, to any person obtaining a copy of
   this software and associated documentation files (the "Software"), to deal in
   the Software without restriction, including without limitation the rights to
   use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
   of the Software, and to permit persons to whom the Software is furnished to do
   so.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
   FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
   AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
   LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
   SOFTWARE.
*/
