/* ipr_test.h: a test harness in one small file (C99 and C++11, nothing but stdio and string).

     TEST(name) { CHECK(1 + 1 == 2); }
     static void suite_math(void) { RUN(name); }
     int main(int argc, char **argv) {
         ipr_test_init(argc, argv);        argv[1]: run only the tests whose "suite.name" contains it
         SUITE(math);
         return ipr_test_main_summary();   0 when nothing failed
     }

   A failed check prints file:line and the test goes on. A test counts once: failed if any check failed,
   else skipped if it called SKIP, else passed. */
#ifndef IPR_TEST_H_INCLUDED
#define IPR_TEST_H_INCLUDED

#include <stdio.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define IPR_TEST_MAYBE __attribute__((unused))
#else
#define IPR_TEST_MAYBE
#endif

typedef struct ipr_test_state_t {
    const char *filter;           /* argv[1], NULL for everything */
    const char *suite, *name;     /* what runs now */
    int passed, failed, skipped;  /* tests, over all suites */
    int suite_passed, suite_failed, suite_skipped;
    int bad;                      /* failed checks of the running test */
    int skip;                     /* the running test called SKIP */
    long checks;                  /* all checks, failed or not */
} ipr_test_state_t;

static ipr_test_state_t ipr_test = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

/* At most this many failed checks of one test are printed: a wrong table must not flood the log. */
enum { IPR_TEST_PRINT_MAX = 10 };

static IPR_TEST_MAYBE int ipr_test_bad(const char *file, int line) {
    if (++ipr_test.bad > IPR_TEST_PRINT_MAX) return 0;
    printf("%s:%d: %s.%s: ", file, line, ipr_test.suite, ipr_test.name);
    return 1;
}

static IPR_TEST_MAYBE int ipr_test_true(int ok, const char *text, const char *file, int line) {
    ipr_test.checks++;
    if (!ok && ipr_test_bad(file, line)) printf("not true: %s\n", text);
    return ok;
}

static IPR_TEST_MAYBE int ipr_test_eq_i(long long a, long long b, const char *ta, const char *tb, const char *file, int line) {
    ipr_test.checks++;
    if (a != b && ipr_test_bad(file, line)) printf("%s is %lld, want %s = %lld\n", ta, a, tb, b);
    return a == b;
}

/* |a - b| <= tol; equal infinities are near, NaN is near nothing. */
static IPR_TEST_MAYBE int ipr_test_near(double a, double b, double tol, const char *ta, const char *tb, const char *file, int line) {
    double d = a > b ? a - b : b - a;
    int ok = (a >= b && a <= b) || d <= tol;
    ipr_test.checks++;
    if (!ok && ipr_test_bad(file, line))
        printf("%s is %.17g, want %s = %.17g within %g (off by %g)\n", ta, a, tb, b, tol, d);
    return ok;
}

static IPR_TEST_MAYBE int ipr_test_str(const char *a, const char *b, const char *ta, const char *file, int line) {
    int ok = a && b ? strcmp(a, b) == 0 : a == b;
    ipr_test.checks++;
    if (!ok && ipr_test_bad(file, line)) printf("%s is \"%s\", want \"%s\"\n", ta, a ? a : "(null)", b ? b : "(null)");
    return ok;
}

static IPR_TEST_MAYBE void ipr_test_skip(const char *why) {
    ipr_test.skip = 1;
    printf("skip %s.%s: %s\n", ipr_test.suite, ipr_test.name, why);
}

static IPR_TEST_MAYBE void ipr_test_run(void (*fn)(void), const char *name) {
    char full[160];
    ipr_test.name = name;
    if (ipr_test.filter) {
        size_t a = strlen(ipr_test.suite), b = strlen(name);
        if (a + b + 2 > sizeof full) { a = 0; b = b < sizeof full - 2 ? b : sizeof full - 2; }
        memcpy(full, ipr_test.suite, a);
        full[a] = '.';
        memcpy(full + a + 1, name, b);
        full[a + 1 + b] = 0;
        if (!strstr(full, ipr_test.filter)) return;
    }
    ipr_test.bad = 0;
    ipr_test.skip = 0;
    fn();
    if (ipr_test.bad > IPR_TEST_PRINT_MAX)
        printf("%s.%s: %d more failed checks\n", ipr_test.suite, name, ipr_test.bad - IPR_TEST_PRINT_MAX);
    if (ipr_test.bad) ipr_test.suite_failed++;
    else if (ipr_test.skip) ipr_test.suite_skipped++;
    else ipr_test.suite_passed++;
    fflush(stdout);
}

static IPR_TEST_MAYBE void ipr_test_suite(void (*fn)(void), const char *name) {
    ipr_test.suite = name;
    ipr_test.suite_passed = ipr_test.suite_failed = ipr_test.suite_skipped = 0;
    fn();
    ipr_test.passed += ipr_test.suite_passed;
    ipr_test.failed += ipr_test.suite_failed;
    ipr_test.skipped += ipr_test.suite_skipped;
    if (ipr_test.suite_passed + ipr_test.suite_failed + ipr_test.suite_skipped == 0) return;
    printf("%-16s %d passed, %d failed", name, ipr_test.suite_passed, ipr_test.suite_failed);
    if (ipr_test.suite_skipped) printf(", %d skipped", ipr_test.suite_skipped);
    printf("\n");
    fflush(stdout);
}

static IPR_TEST_MAYBE void ipr_test_init(int argc, char **argv) {
    ipr_test.filter = argc > 1 ? argv[1] : 0;
}

/* Last line of the log; the exit status of the test program. A filter that matches nothing is a failure. */
static IPR_TEST_MAYBE int ipr_test_main_summary(void) {
    int none = ipr_test.passed + ipr_test.failed + ipr_test.skipped == 0;
    if (none) printf("no test matches \"%s\"\n", ipr_test.filter ? ipr_test.filter : "");
    if (ipr_test.skipped) printf("%d passed, %d failed, %d skipped\n", ipr_test.passed, ipr_test.failed, ipr_test.skipped);
    else printf("%d passed, %d failed\n", ipr_test.passed, ipr_test.failed);
    return ipr_test.failed || none ? 1 : 0;
}

#define TEST(name) static void test_##name(void)
#define RUN(name) ipr_test_run(test_##name, #name)
#define SUITE(name) ipr_test_suite(suite_##name, #name)

/* Each gives 1 when the check held, so that `if (!CHECK(p)) return;` can guard what follows. */
#define CHECK(cond) ipr_test_true((cond) ? 1 : 0, #cond, __FILE__, __LINE__)
#define CHECK_EQ_I(a, b) ipr_test_eq_i((long long)(a), (long long)(b), #a, #b, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tol) ipr_test_near((double)(a), (double)(b), (double)(tol), #a, #b, __FILE__, __LINE__)
#define CHECK_STR(a, b) ipr_test_str((a), (b), #a, __FILE__, __LINE__)
#define SKIP(why) do { ipr_test_skip(why); return; } while (0)

#endif
