/* Floor 13: exact statistics and verdicts. Included by all.c after ipr.h. */
#ifndef IPR_TEST_H_INCLUDED
#include "ipr_test.h"
#endif

TEST(binom_tail_values)
/* Up to n = 1000: mpmath 60 digits, fsum(binomial(n,j) p^j q^(n-j), j = k..n), p the exact double.
   Beyond: exp(loggamma) point and ratio sum at 80 digits. */
{
    static const struct { uint64_t k, n; double p, tail, log10_tail; } t[] = {
        { 1, 1, 0.25, 0.25, -0.60205999132796239 },
        { 3, 5, 0.5, 0.5, -0.3010299956639812 },
        { 8, 10, 0.5, 0.0546875, -1.2621119296336115 },
        { 20, 20, 0.1, 1.0000000000000011e-20, -20.0 },
        { 60, 100, 0.5, 0.028443966820490396, -1.546009836630221 },
        { 100, 100, 0.5, 7.8886090522101181e-31, -30.10299956639812 },
        { 100, 128, 0.5, 5.4757299481428744e-11, -10.2615579785299 },
        { 128, 128, 0.5, 2.9387358770557188e-39, -38.531839444989593 },
        { 75, 100, 0.1, 1.8069537937344575e-53, -52.743052952797521 },
        { 40, 100, 0.5, 0.98239989989114759, -0.0077116904585309163 },
        { 1, 1000, 1e-06, 0.00099950066612559108, -3.0002169121065726 },
        { 5, 50, 0.9, 1.0, -6.6246688586719219e-42 },
        { 300, 1000, 0.01, 0, -339.31038150084552 },
        { 900, 1000, 0.1, 0, -764.76519641685047 },
        { 501000, 1000000, 0.5, 0.022804149932691043, -1.6419861122598054 },
        { 515000, 1000000, 0.5, 4.7262031262857919e-198, -197.32548761687011 },
        { 300500, 1000000, 0.3, 0.1378629461339584, -0.86055244486076703 },
        { 5100000, 10000000, 0.5, 0, -870.83841823249325 },
        { 3000, 10000000, 0.0001, 0, -564.82333179103391 },
        { 9000, 10000, 0.5, 0, -1600.3076504190745 } };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        CHECK_NEAR(ipr_binom_tail(t[i].k, t[i].n, t[i].p), t[i].tail, 1e-12 * t[i].tail);
        CHECK_NEAR(ipr_binom_log10_tail(t[i].k, t[i].n, t[i].p), t[i].log10_tail, -1e-13 * t[i].log10_tail);
    }
}

TEST(binom_tail_edges)
{
    CHECK_NEAR(ipr_binom_tail(0, 10, 0.3), 1, 0);
    CHECK_NEAR(ipr_binom_tail(0, 0, 0.3), 1, 0);
    CHECK_NEAR(ipr_binom_tail(11, 10, 0.3), 0, 0);
    CHECK_NEAR(ipr_binom_tail(1, 10, 0.0), 0, 0);
    CHECK_NEAR(ipr_binom_tail(10, 10, 1.0), 1, 0);
    CHECK_NEAR(ipr_binom_tail(1, 1, 1e-17), 1e-17, 1e-31);
    CHECK_NEAR(ipr_binom_tail(1, 1000, 1e-20), 1e-17, 1e-30);
    CHECK(ipr_binom_tail(1, 3, 1e-310) >= 3e-310 && ipr_binom_tail(1, 3, 1e-310) < 1e-299);  /* never understated */
    CHECK(ipr_binom_log10_tail(11, 10, 0.3) < -1.7e308);
    CHECK(ipr__isnan(ipr_binom_tail(1, 10, ipr__dnan())));
    CHECK(ipr__isnan(ipr_binom_tail(1, 10, -0.1)) && ipr__isnan(ipr_binom_tail(1, 10, 1.1)));
    CHECK(ipr__isnan(ipr_binom_tail(1, ((uint64_t)1 << 40) + 1, 0.5)));
    CHECK(ipr_binom_tail((uint64_t)1 << 39, (uint64_t)1 << 40, 0.5) > 0.5);
}

/* The naive recurrence over all n + 1 points, in plain double: right to 1e-13 for small n. */
static double ts_naive_tail(int k, int n, double p)
{
    double pmf[41], s = 0;
    int i, j;
    for (i = 0; i <= n; i++) pmf[i] = i == 0;
    for (j = 0; j < n; j++)                     /* add one trial at a time */
        for (i = n; i >= 0; i--) pmf[i] = pmf[i] * (1 - p) + (i ? pmf[i - 1] * p : 0);
    for (i = n; i >= k; i--) s += pmf[i];
    return s;
}

TEST(binom_tail_every_small_case)
{
    static const double ps[7] = { 0.001, 0.1, 0.25, 0.5, 0.7, 0.9, 0.999 };
    int n, k, i;
    for (i = 0; i < 7; i++)
        for (n = 1; n <= 40; n += n < 12 ? 1 : 7)
            for (k = 0; k <= n; k++) {
                double want = ts_naive_tail(k, n, ps[i]);
                CHECK_NEAR(ipr_binom_tail((uint64_t)k, (uint64_t)n, ps[i]), want, 3e-13 * want);
                CHECK_NEAR(ipr__binom_lower((uint64_t)k, (uint64_t)n, ps[i]),
                           ts_naive_tail(n - k, n, 1 - ps[i]), 4e-14);
            }
}

TEST(binom_threshold_is_least)
{
    static const double ps[4] = { 0.01, 0.1, 0.5, 0.9 }, as[4] = { 0.05, 1e-3, 1e-6, 1e-12 };
    uint64_t n;
    int i, j;
    for (i = 0; i < 4; i++) for (j = 0; j < 4; j++) for (n = 0; n < 400; n += 1 + n / 3) {
        uint64_t k = ipr_binom_threshold(n, ps[i], as[j]);
        CHECK(k <= n + 1 && k > 0);
        CHECK(ipr_binom_tail(k, n, ps[i]) <= as[j]);
        CHECK(ipr_binom_tail(k - 1, n, ps[i]) > as[j]);
    }
    CHECK_EQ_I(ipr_binom_threshold(100, 0.5, 1e-6), 74);         /* scipy: binom.sf(73, 100, .5) = 8.34e-7 */
    CHECK_EQ_I(ipr_binom_threshold(10, 0.5, 1e-6), 11);          /* out of reach */
    CHECK_EQ_I(ipr_binom_threshold(10, ipr__dnan(), 0.5), 11);
    CHECK_EQ_I(ipr_binom_threshold(10, 0.5, ipr__dnan()), 11);
}

TEST(binom_plan_values)  /* scipy.stats.binom, every n from 1 */
{
    CHECK_EQ_I(ipr_binom_plan(0.5, 0.9, 1e-6, 0.99), 61);
    CHECK_EQ_I(ipr_binom_plan(0.1, 0.3, 1e-3, 0.9), 68);
    CHECK_EQ_I(ipr_binom_plan(0.5, 0.6, 0.01, 0.8), 252);
    CHECK_EQ_I(ipr_binom_plan(0.01, 0.05, 1e-4, 0.9), 353);
    CHECK_EQ_I(ipr_binom_plan(0.5, 1.0, 1e-9, 0.5), 30);
    CHECK_EQ_I(ipr_binom_plan(0.0, 0.1, 0.01, 0.9), 22);
    CHECK_EQ_I(ipr_binom_plan(0.9, 0.99, 0.001, 0.9), 108);
    CHECK_EQ_I(ipr_binom_plan(0.5, 0.50001, 0.01, 0.9), 0);      /* over a million */
    CHECK_EQ_I(ipr_binom_plan(0.5, 0.5, 0.01, 0.9), 0);
    CHECK_EQ_I(ipr_binom_plan(0.5, 0.4, 0.01, 0.9), 0);
    CHECK_EQ_I(ipr_binom_plan(0.5, 0.9, 0.9, 0.5), 0);
    CHECK_EQ_I(ipr_binom_plan(ipr__dnan(), 0.9, 0.01, 0.9), 0);
    CHECK_EQ_I(ipr_binom_plan(0.5, 0.9, 0.01, ipr__dnan()), 0);
}

TEST(binom_plan_is_least)
{
    static const struct { double p0, p1, alpha, power; } t[3] = {
        { 0.5, 0.8, 1e-3, 0.9 }, { 0.05, 0.4, 1e-6, 0.95 }, { 0.3, 0.6, 0.05, 0.6 } };
    int i;
    for (i = 0; i < 3; i++) {
        uint64_t n, found = ipr_binom_plan(t[i].p0, t[i].p1, t[i].alpha, t[i].power);
        CHECK(found > 0);
        for (n = 1; n <= found; n++) {
            uint64_t k = ipr_binom_threshold(n, t[i].p0, t[i].alpha);
            CHECK((k <= n && ipr_binom_tail(k, n, t[i].p1) >= t[i].power) == (n == found));
        }
    }
}

TEST(clopper_pearson_values)  /* mpmath 40 digits, bisection on betainc(k, n-k+1, 0, p, regularized=True) */
{
    static const struct { uint64_t k, n; double conf, lo, hi; } t[] = {
        { 0, 10, 0.95, 0, 0.30849710781876076 },
        { 3, 10, 0.95, 0.06673951117773449, 0.65245285005999724 },
        { 10, 10, 0.95, 0.69150289218123924, 1 },
        { 1, 100, 0.99, 5.0124161977656463e-5, 0.071957682401636297 },
        { 50, 1000, 0.999999, 0.022983431793725655, 0.091802932920563623 },
        { 12000, 12345, 0.95, 0.9689918659243206, 0.97488967920472109 } };
    size_t i;
    double lo, hi;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        ipr_clopper_pearson(t[i].k, t[i].n, t[i].conf, &lo, &hi);
        CHECK_NEAR(lo, t[i].lo, 3e-15 * 5 * t[i].lo);
        CHECK_NEAR(hi, t[i].hi, 3e-15 * t[i].hi);
    }
    for (i = 1; i < 5000; i = i * 3 + 1) {      /* nothing of n has a closed form: 1 - (level)^(1/n) */
        ipr_clopper_pearson(0, i, 0.99, &lo, &hi);
        CHECK_NEAR(hi, -ipr__dexpm1(ipr__dlog(0.005) / (double)i), 1e-14 * hi);
    }
    ipr_clopper_pearson(0, 0, 0.95, &lo, &hi);
    CHECK(lo <= 0 && hi >= 1);
    ipr_clopper_pearson(5, 4, 0.95, &lo, &hi);
    CHECK(ipr__isnan(lo) && ipr__isnan(hi));
    ipr_clopper_pearson(1, 4, ipr__dnan(), &lo, &hi);
    CHECK(ipr__isnan(lo) && ipr__isnan(hi));
    ipr_clopper_pearson(1, 4, 1.0, &lo, &hi);
    CHECK(ipr__isnan(lo) && ipr__isnan(hi));
}

TEST(clopper_pearson_covers)  /* exact coverage, by summing the binomial: never less than stated */
{
    static const double ps[5] = { 0.01, 0.1, 0.37, 0.5, 0.93 };
    uint64_t n = 30, k;
    int i;
    for (i = 0; i < 5; i++) {
        double cover = 0;
        for (k = 0; k <= n; k++) {
            double lo, hi;
            ipr_clopper_pearson(k, n, 0.9, &lo, &hi);
            if (lo <= ps[i] && ps[i] <= hi) cover += ipr_binom_tail(k, n, ps[i]) - ipr_binom_tail(k + 1, n, ps[i]);
        }
        CHECK(cover >= 0.9 && cover <= 1 + 1e-12);
    }
}

TEST(wilson_values)  /* mpmath 40 digits, the formula of i13a_stats */
{
    static const struct { uint64_t k, n; double conf, lo, hi; } t[] = {
        { 0, 10, 0.95, 0.0, 0.27753279986288917 },
        { 3, 10, 0.95, 0.10779126740630104, 0.60322185253885463 },
        { 10, 10, 0.95, 0.72246720013711083, 1.0 },
        { 1, 100, 0.99, 0.001175145426512288, 0.079801128534994226 },
        { 500, 1000, 0.9, 0.47402769147842012, 0.52597230852157988 } };
    size_t i;
    double lo, hi;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        ipr_wilson(t[i].k, t[i].n, t[i].conf, &lo, &hi);
        CHECK_NEAR(lo, t[i].lo, 1e-14 * t[i].lo);
        CHECK_NEAR(hi, t[i].hi, 1e-14 * t[i].hi);
    }
    ipr_wilson(0, 0, 0.95, &lo, &hi);
    CHECK(lo <= 0 && hi >= 1);
    ipr_wilson(3, 2, 0.95, &lo, &hi);
    CHECK(ipr__isnan(lo));
}

TEST(student_values)  /* mpmath 40 digits, bisection on betainc(nu/2, 1/2, 0, nu/(nu+t^2), regularized=True) */
{
    static const struct { double level; int nu; double t; } t[] = {
        { 0.05, 1, 12.706204736174704 }, { 0.05, 2, 4.3026527297494637 }, { 0.05, 4, 2.7764451051977943 },
        { 0.01, 9, 3.2498355415921263 }, { 0.05, 29, 2.0452296421327043 }, { 1e-06, 7, 15.767009437482582 },
        { 0.5, 3, 0.76489232840434528 }, { 0.05, 200, 1.9718962236339094 } };
    size_t i;
    double x;
    for (i = 0; i < sizeof t / sizeof t[0]; i++)
        CHECK_NEAR(ipr__student_quantile(t[i].level, t[i].nu), t[i].t, 2e-14 * t[i].t);
    for (x = 0.01; x < 60; x *= 1.3) {          /* closed forms: nu = 1 has arctan, nu = 2 is algebraic */
        CHECK_NEAR(ipr__student_tail2(x, 2), 2 / (2 + x * x) / (1 + x / ipr__dsqrt(2 + x * x)), 1e-15);
        CHECK_NEAR(ipr__student_tail2(x, 1e12), 2 * ipr_normal_tail(x), 1e-12);
    }
}

TEST(mean_ci_values)
{
    static const double x[5] = { 0.9123, 0.9087, 0.9155, 0.9101, 0.9099 };
    double bad[3] = { 1, 2, 3 }, mean, lo, hi, sd;
    sd = ipr_mean_ci(x, 5, 0.95, &mean, &lo, &hi);          /* mpmath 40 digits */
    CHECK_NEAR(mean, 0.9113, 2e-16);
    CHECK_NEAR(sd, 0.0026832815729997438, 1e-16);
    CHECK_NEAR(lo, 0.90796826587376265, 1e-15);
    CHECK_NEAR(hi, 0.91463173412623735, 1e-15);
    sd = ipr_mean_ci(x, 1, 0.95, &mean, &lo, &hi);
    CHECK(mean > 0.9 && sd <= 0 && lo < -1e308 && hi > 1e308);
    bad[1] = ipr__dnan();
    sd = ipr_mean_ci(bad, 3, 0.95, &mean, &lo, &hi);
    CHECK(ipr__isnan(sd) && ipr__isnan(mean) && ipr__isnan(lo) && ipr__isnan(hi));
    sd = ipr_mean_ci(x, 0, 0.95, &mean, &lo, &hi);
    CHECK(ipr__isnan(sd) && ipr__isnan(mean));
    sd = ipr_mean_ci(x, 5, 2, &mean, &lo, &hi);
    CHECK(ipr__isnan(sd) && ipr__isnan(lo));
    bad[0] = bad[1] = bad[2] = 1e8 + 0.125;                 /* no spread, large offset */
    sd = ipr_mean_ci(bad, 3, 0.95, &mean, &lo, &hi);
    CHECK(sd <= 0 && mean >= 1e8 + 0.125 && lo >= mean && hi <= mean);
}

TEST(rank_p_and_grinding)
{
    double f[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    CHECK_NEAR(ipr_rank_p(f, 9, 10), 0.1, 0);
    CHECK_NEAR(ipr_rank_p(f, 9, 9), 0.2, 0);                /* a tie counts against the claim */
    CHECK_NEAR(ipr_rank_p(f, 9, 0), 1, 0);
    CHECK_NEAR(ipr_rank_p(f, 0, 1), 1, 0);
    CHECK_NEAR(ipr_rank_p(NULL, 9, 1), 1, 0);
    CHECK_NEAR(ipr_rank_p(f, 9, ipr__dnan()), 1, 0);
    CHECK_NEAR(ipr_rank_p(f, 9, ipr__dinf()), 0.1, 0);
    f[4] = ipr__dnan();
    CHECK_NEAR(ipr_rank_p(f, 9, 10), 1, 0);
    CHECK_NEAR(ipr_grind_p(1e-30, 40), 1e-30 * 1099511627776.0, 1e-32);
    CHECK_NEAR(ipr_grind_p(0.3, 2), 1, 0);
    CHECK_NEAR(ipr_grind_p(0.3, 0), 0.3, 0);
    CHECK_NEAR(ipr_grind_p(0.3, -5), 0.3, 0);               /* never in the claimant's favour */
    CHECK_NEAR(ipr_grind_p(ipr__dnan(), 1), 1, 0);
    CHECK_NEAR(ipr_grind_p(0.1, ipr__dnan()), 1, 0);
}

/* ---- verdicts ---- */

TEST(verdict_known_null)
{
    ipr_verdict_desc d = IPR_ZERO;
    ipr_verdict v;
    uint64_t k;
    d.scheme = "test";
    d.null_rate = 0.5;
    v = ipr_verdict_binomial(&d, 100, 128);
    CHECK_EQ_I(v.decision, IPR_OWNED);
    CHECK_STR(v.scheme, "test");
    CHECK_NEAR(v.p_value, 5.4757299481428744e-11, 1e-23);
    CHECK_NEAR(v.log10_p, -10.2615579785299, 1e-12);
    CHECK_NEAR(v.rate, 100.0 / 128, 0);
    CHECK(v.ci_lo < v.rate && v.rate < v.ci_hi);
    CHECK_NEAR(v.alpha, 1e-6, 0);
    CHECK(strstr(v.rule, "128 match") && strstr(v.reason, "at most alpha"));
    for (k = 0; k <= 128; k++) {                            /* decision, threshold and p agree at every count */
        v = ipr_verdict_binomial(&d, k, 128);
        CHECK_EQ_I(v.decision == IPR_OWNED, k >= v.threshold);
        CHECK_EQ_I(v.decision == IPR_OWNED, v.p_value <= v.alpha);
        CHECK(v.decision != IPR_UNDECIDED);
    }
    CHECK_STR(ipr_decision_name(IPR_OWNED), "owned");
    CHECK_STR(ipr_decision_name(IPR_NOT_OWNED), "not owned");
    CHECK_STR(ipr_decision_name(IPR_UNDECIDED), "undecided");
}

TEST(verdict_measured_null)
{
    ipr_verdict_desc d = IPR_ZERO;
    ipr_verdict v;
    double lo, hi;
    d.null_matched = 3;
    d.null_of = 1000;
    d.alpha = 1e-4;
    v = ipr_verdict_binomial(&d, 90, 100);
    CHECK_EQ_I(v.decision, IPR_OWNED);
    ipr_clopper_pearson(3, 1000, 1 - 1e-4, &lo, &hi);       /* one-sided alpha/2 = two-sided alpha */
    CHECK_NEAR(v.null_upper, hi, 1e-11);
    CHECK_NEAR(v.null_rate, 0.003, 0);
    CHECK_NEAR(v.p_value, 0.5e-4, 1e-15);                   /* the bound's share is all that is left */
    CHECK(v.log10_tail < -100);
    d.null_rate = 0.5;                                      /* the greater bound counts */
    v = ipr_verdict_binomial(&d, 90, 100);
    CHECK_NEAR(v.null_upper, 0.5, 0);
    d.null_rate = 0;
    d.null_matched = d.null_of = 4;                         /* the null always matches: nothing can be shown */
    v = ipr_verdict_binomial(&d, 100, 100);
    CHECK_EQ_I(v.decision, IPR_UNDECIDED);
}

TEST(verdict_undecided_says_why)
{
    ipr_verdict_desc d = IPR_ZERO, z = IPR_ZERO;
    double nan = ipr__dnan(), f[3] = { 1, 2, 3 };
    ipr_verdict v;
#define TS_UNDECIDED(call, words) \
    v = call; CHECK_EQ_I(v.decision, IPR_UNDECIDED); \
    if (!CHECK(strstr(v.reason, words) != NULL)) printf("    reason: %s\n", v.reason)
    TS_UNDECIDED(ipr_verdict_binomial(NULL, 5, 10), "no null rate");
    TS_UNDECIDED(ipr_verdict_binomial(&d, 5, 10), "no null rate");
    d.null_rate = 0.5;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 0, 0), "no answers");
    TS_UNDECIDED(ipr_verdict_binomial(&d, 11, 10), "more matches");
    TS_UNDECIDED(ipr_verdict_binomial(&d, 10, 10), "10 answers are too few");
    CHECK_NEAR(v.p_value, 1.0 / 1024, 1e-15);
    d.expected = 100;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 60, 60), "60 answers where 100");
    d = z; d.null_rate = nan;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "null_rate");
    d = z; d.null_rate = 0.5; d.alpha = nan;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "alpha");
    d = z; d.null_rate = 0.5; d.alpha = 1.5;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "alpha");
    d = z; d.null_rate = 0.5; d.conf = nan;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "conf");
    d = z; d.null_rate = 0.5; d.grind_bits = nan;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "grind_bits");
    d = z; d.null_matched = 5; d.null_of = 4;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "null matches");
    d = z; d.null_rate = 1;
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "too few");
    d = z; d.null_rate = 0.5; d.grind_bits = 200;           /* 100 bits cannot carry 2^200 tries */
    TS_UNDECIDED(ipr_verdict_binomial(&d, 100, 100), "too few");
    d = z; d.alpha = 0.25;
    TS_UNDECIDED(ipr_verdict_rank(&d, nan, f, 3), "score is not a number");
    TS_UNDECIDED(ipr_verdict_rank(&d, 9, f, 0), "no fresh keys");
    TS_UNDECIDED(ipr_verdict_rank(&d, 9, NULL, 3), "no fresh keys");
    TS_UNDECIDED(ipr_verdict_rank(&d, 9, f, 2), "too few");
    TS_UNDECIDED(ipr_verdict_rank(NULL, 9, f, 3), "too few");
    d.expected = 9;
    TS_UNDECIDED(ipr_verdict_rank(&d, 9, f, 3), "9 were asked");
    d.expected = 0;
    f[1] = nan;
    TS_UNDECIDED(ipr_verdict_rank(&d, 9, f, 3), "fresh key's score");
    CHECK_NEAR(v.p_value, 1, 0);
#undef TS_UNDECIDED
}

TEST(verdict_grinding)
{
    ipr_verdict_desc d = IPR_ZERO;
    ipr_verdict v;
    d.null_rate = 0.5;
    d.grind_bits = 40;
    v = ipr_verdict_binomial(&d, 64, 64);                   /* 2^-64 2^40 = 2^-24 = 6e-8 */
    CHECK_EQ_I(v.decision, IPR_OWNED);
    CHECK_NEAR(v.p_value, 5.9604644775390625e-8, 1e-20);
    CHECK_NEAR(v.log10_p, -7.2247198959355487, 1e-12);
    d.grind_bits = 50;
    v = ipr_verdict_binomial(&d, 64, 64);
    CHECK_EQ_I(v.decision, IPR_UNDECIDED);
}

TEST(verdict_rank_decides)
{
    double f[1999];
    ipr_verdict_desc d = IPR_ZERO;
    ipr_verdict v;
    int i;
    for (i = 0; i < 1999; i++) f[i] = i;
    d.alpha = 0.001;
    v = ipr_verdict_rank(&d, 5000, f, 999);
    CHECK_EQ_I(v.decision, IPR_OWNED);                      /* p = 1/1000 = alpha: reached exactly */
    CHECK_EQ_I(v.threshold, 0);
    CHECK_NEAR(v.p_value, 0.001, 0);
    v = ipr_verdict_rank(&d, 998, f, 999);
    CHECK_EQ_I(v.decision, IPR_NOT_OWNED);
    v = ipr_verdict_rank(&d, 1998, f, 1999);
    CHECK_EQ_I(v.decision, IPR_OWNED);
    CHECK_EQ_I(v.reached, 1);
    CHECK_EQ_I(v.threshold, 1);
    v = ipr_verdict_rank(&d, 1997, f, 1999);
    CHECK_EQ_I(v.decision, IPR_NOT_OWNED);
    CHECK(strstr(v.rule, "at most 1 of 1999") != NULL);
    d.grind_bits = 1;
    v = ipr_verdict_rank(&d, 1998, f, 1999);
    CHECK_EQ_I(v.decision, IPR_NOT_OWNED);
    CHECK_NEAR(v.p_value, 0.002, 1e-18);
    CHECK_NEAR(v.rank_p, 0.001, 0);
}

/* ---- by simulation: false claims stay below alpha, whatever is measured ---- */

static uint64_t ts_draw(ipr_rng *r, uint64_t n, double p)
{
    uint64_t i, k = 0;
    for (i = 0; i < n; i++) k += ipr_rng_uniform(r) < p;
    return k;
}

TEST(false_claims_stay_below_alpha)
{
    ipr_rng r = ipr_rng_make(41, 0, 0);
    int trial, trials = 2000, known = 0, measured = 0, ranked = 0, i;
    double limit = trials * 0.05 + 4.5 * ipr__dsqrt(trials * 0.05 * 0.95);
    for (trial = 0; trial < trials; trial++) {
        ipr_verdict_desc d = IPR_ZERO;
        double f[39], p = 0.3;
        d.alpha = 0.05;
        d.null_rate = p;
        known += ipr_verdict_binomial(&d, ts_draw(&r, 60, p), 60).decision == IPR_OWNED;
        d.null_rate = 0;
        d.null_of = 40;
        d.null_matched = ts_draw(&r, 40, p);
        measured += ipr_verdict_binomial(&d, ts_draw(&r, 60, p), 60).decision == IPR_OWNED;
        for (i = 0; i < 39; i++) f[i] = ipr_rng_normal(&r);
        ranked += ipr_verdict_rank(&d, ipr_rng_normal(&r), f, 39).decision == IPR_OWNED;
    }
    CHECK(known <= limit);
    CHECK(measured <= limit);
    CHECK(ranked <= limit);
    CHECK(ranked >= 2 * trials * 0.05 - limit);             /* the rank test is exact, not only safe */
    CHECK(known > trials * 0.02);
}

TEST(true_claims_are_found)
{
    ipr_rng r = ipr_rng_make(42, 0, 0);
    uint64_t n = ipr_binom_plan(0.5, 0.8, 1e-4, 0.9);
    int trial, trials = 1000, found = 0;
    for (trial = 0; trial < trials; trial++) {
        ipr_verdict_desc d = IPR_ZERO;
        d.alpha = 1e-4;
        d.null_rate = 0.5;
        found += ipr_verdict_binomial(&d, ts_draw(&r, n, 0.8), n).decision == IPR_OWNED;
    }
    CHECK(found >= trials * 0.9 - 4.5 * ipr__dsqrt(trials * 0.09));
}

static void ts_hash(ipr_sha256 *h, double v)
{
    uint8_t b[8];
    ipr__st64le(b, ipr__f64_bits(v));
    ipr_sha256_update(h, b, 8);
}

TEST(same_verdicts_everywhere)  /* one digest for all machines */
{
    ipr_rng r = ipr_rng_make(43, 0, 0);
    ipr_sha256 h;
    uint8_t d[32];
    char s[65];
    int i;
    if (!IPR__DOUBLE_EXACT) SKIP("this target computes doubles with excess precision");
    ipr_sha256_init(&h);
    for (i = 0; i < 300; i++) {
        uint64_t n = 1 + ipr_rng_below(&r, 3000), k = ipr_rng_below(&r, (uint32_t)n + 1);
        double p = ipr_rng_uniform(&r), lo, hi;
        ts_hash(&h, ipr_binom_tail(k, n, p));
        ts_hash(&h, ipr_binom_log10_tail(k, n, p));
        ts_hash(&h, ipr__student_tail2(4 * p, (double)n));
        ipr_clopper_pearson(k, n, 0.99, &lo, &hi);
        ts_hash(&h, lo); ts_hash(&h, hi);
        ipr_wilson(k, n, 0.99, &lo, &hi);
        ts_hash(&h, lo); ts_hash(&h, hi);
    }
    ipr_sha256_final(&h, d);
    ipr_hex(d, 32, s);
    CHECK_STR(s, "2b424e2fb762346638971919f5392b1669adcad3240fa4c85246cfc1d5218b99");
}

static void suite_stats(void)
{
    RUN(binom_tail_values);
    RUN(binom_tail_edges);
    RUN(binom_tail_every_small_case);
    RUN(binom_threshold_is_least);
    RUN(binom_plan_values);
    RUN(binom_plan_is_least);
    RUN(clopper_pearson_values);
    RUN(clopper_pearson_covers);
    RUN(wilson_values);
    RUN(student_values);
    RUN(mean_ci_values);
    RUN(rank_p_and_grinding);
    RUN(verdict_known_null);
    RUN(verdict_measured_null);
    RUN(verdict_undecided_says_why);
    RUN(verdict_grinding);
    RUN(verdict_rank_decides);
    RUN(false_claims_stay_below_alpha);
    RUN(true_claims_are_found);
    RUN(same_verdicts_everywhere);
}
