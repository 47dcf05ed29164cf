/* Floor 1: double mathematics, randomness, hashes, numbers and text. Included by all.c after ipr.h. */
#ifndef IPR_TEST_H_INCLUDED
#include "ipr_test.h"
#endif
#include <stdlib.h>     /* strtod: a second reader to compare with */

/* Hex of p, for comparisons that print both sides. */
static const char *tb_hex(const void *p, size_t n)
{
    static char s[2 * 128 + 1];
    ipr_hex(p, n, s);
    return s;
}

static uint64_t tb_bits64(ipr_rng *r)
{
    uint64_t hi = ipr_rng_u32(r);
    return hi << 32 | ipr_rng_u32(r);
}

/* ---- Philox ---- */

TEST(philox_known_answers)  /* Random123 1.14, tests/kat_vectors: philox4x32 10 */
{
    static const struct { uint32_t c[4], k[2], want[4]; } kat[3] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u } },
        { { 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu }, { 0xffffffffu, 0xffffffffu },
          { 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu } },
        { { 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u }, { 0xa4093822u, 0x299f31d0u },
          { 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u } } };
    int i, j;
    for (i = 0; i < 3; i++) {
        uint32_t out[4];
        ipr_random_bits((uint64_t)kat[i].k[1] << 32 | kat[i].k[0], kat[i].c[2], kat[i].c[3],
                        (uint64_t)kat[i].c[1] << 32 | kat[i].c[0], out);
        for (j = 0; j < 4; j++) CHECK_EQ_I(out[j], kat[i].want[j]);
    }
}

TEST(rng_is_the_stream)
{
    ipr_rng r = ipr_rng_make(7, 3, 9), fork;
    uint32_t b[4];
    int i;
    for (i = 0; i < 40; i++) {
        ipr_random_bits(7, 3, 9, (uint64_t)(i / 4), b);
        CHECK_EQ_I(ipr_rng_u32(&r), b[i % 4]);
    }
    (void)ipr_rng_u32(&r);
    fork = r;
    for (i = 0; i < 9; i++) CHECK_EQ_I(ipr_rng_u32(&fork), ipr_rng_u32(&r));
}

TEST(rng_below_is_fair)
{
    static const uint32_t sizes[5] = { 2, 3, 7, 10, 50 };
    int s, i;
    ipr_rng r = ipr_rng_make(1, 0, 0);
    CHECK_EQ_I(ipr_rng_below(&r, 0), 0);
    CHECK_EQ_I(ipr_rng_below(&r, 1), 0);
    for (s = 0; s < 5; s++) {
        int count[50] = { 0 }, n = 100000;
        double e = (double)n / sizes[s], chi = 0, df = (double)sizes[s] - 1;
        for (i = 0; i < n; i++) {
            uint32_t v = ipr_rng_below(&r, sizes[s]);
            if (!CHECK(v < sizes[s])) return;
            count[v]++;
        }
        for (i = 0; i < (int)sizes[s]; i++) chi += (count[i] - e) * (count[i] - e) / e;
        CHECK(chi < df + 5 * ipr__dsqrt(2 * df) + 10);      /* far beyond p = 1e-4 */
    }
    {   /* Without rejection every third result of 3 * 2^30 would come twice as often. */
        int thirds = 0;
        for (i = 0; i < 100000; i++) thirds += ipr_rng_below(&r, 3221225472u) % 3 == 0;
        CHECK_NEAR(thirds, 33333.3, 750);
    }
    for (i = 0; i < 1000; i++) CHECK(ipr__rng_below64(&r, (uint64_t)5 << 33) < (uint64_t)5 << 33);
}

TEST(rng_uniform_moments)
{
    ipr_rng r = ipr_rng_make(2, 0, 0);
    double s = 0, s2 = 0, lo = 1, hi = 0;
    int i, n = 200000;
    for (i = 0; i < n; i++) {
        double u = ipr_rng_uniform(&r);
        s += u; s2 += u * u;
        if (u < lo) lo = u;
        if (u > hi) hi = u;
    }
    CHECK(lo >= 0 && lo < 1e-4 && hi < 1 && hi > 1 - 1e-4);
    CHECK_NEAR(s / n, 0.5, 0.0033);             /* 5 sigma */
    CHECK_NEAR(s2 / n, 1.0 / 3, 0.0034);
}

TEST(rng_normal_moments)
{
    ipr_rng r = ipr_rng_make(3, 0, 0);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    int i, n = 200000, over2 = 0;
    for (i = 0; i < n; i++) {
        double z = ipr_rng_normal(&r);
        m1 += z; m2 += z * z; m3 += z * z * z; m4 += z * z * z * z;
        over2 += z > 2;
    }
    CHECK_NEAR(m1 / n, 0, 0.0112);              /* 5 sigma each: variances 1, 2, 15, 96 */
    CHECK_NEAR(m2 / n, 1, 0.0159);
    CHECK_NEAR(m3 / n, 0, 0.0433);
    CHECK_NEAR(m4 / n, 3, 0.11);
    CHECK_NEAR(over2, n * 0.02275013194817921, 334);
    CHECK_EQ_I(r.index, n);                     /* one block per number */
}

TEST(rng_shuffle_permutes)
{
    uint32_t a[100], n;
    int i, first[5] = { 0 }, trial;
    ipr_rng r = ipr_rng_make(4, 0, 0);
    for (n = 0; n <= 100; n++) {
        int seen[100] = { 0 };
        for (i = 0; i < (int)n; i++) a[i] = (uint32_t)i;
        ipr_rng_shuffle(&r, a, (ipr_index)n);
        for (i = 0; i < (int)n; i++) if (CHECK(a[i] < n)) seen[a[i]]++;
        for (i = 0; i < (int)n; i++) CHECK_EQ_I(seen[i], 1);
    }
    for (trial = 0; trial < 50000; trial++) {
        for (i = 0; i < 5; i++) a[i] = (uint32_t)i;
        ipr_rng_shuffle(&r, a, 5);
        for (i = 0; i < 5; i++) if (a[i] == 0) first[i]++;
    }
    for (i = 0; i < 5; i++) CHECK_NEAR(first[i], 10000, 450);    /* 5 sigma */
}

/* ---- hashes ---- */

TEST(sha256_fips_vectors)
{
    uint8_t d[32];
    ipr_sha256 s;
    char a[1000];
    int i;
    ipr_sha256_of("abc", 3, d);
    CHECK_STR(tb_hex(d, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ipr_sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, d);
    CHECK_STR(tb_hex(d, 32), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    ipr_sha256_of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu", 112, d);
    CHECK_STR(tb_hex(d, 32), "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    memset(a, 'a', sizeof a);
    ipr_sha256_init(&s);
    for (i = 0; i < 1000; i++) ipr_sha256_update(&s, a, sizeof a);
    ipr_sha256_final(&s, d);
    CHECK_STR(tb_hex(d, 32), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(sha256_lengths_and_pieces)  /* byte i is 7 i mod 256; want from Python's hashlib */
{
    static const struct { size_t n; const char *want; } t[] = {
        { 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { 1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
        { 55, "576a1bf8d4478657e6dc4af9398544765c2a92cde28478b019235cfed315fc09" },
        { 56, "9b20501dfd1d99161c257950f3444f3e49230c351c5c8e0943ef369f85f5205d" },
        { 57, "a5534a9d0694341dfde5b1bb3d8addcb38bd46f44a629dc97b3f8fb2721b0720" },
        { 63, "30b345906b493f06f69444b6521113511c242f30e29840462950035043682f1e" },
        { 64, "d8bc63b4fc1156e5e7d95a418b9bf54cd3174bedbc2db40f74895349b229b3c0" },
        { 65, "1ee23b0fbcaecc1aff4a9e8f1645f35ab2c8e13609cd73b68df8b5e3f63ce073" },
        { 119, "7a6589821178918ca8d9edaba5abfc1e9b2669564f4469b66885379c1530b2c8" },
        { 120, "655250427d56b1b0eeb8497d21428704273458a01772d6881b65c0abac0f8a98" },
        { 128, "54c9eb041badfd7064645067b107661fed6113197ce2dd066ba69618abd3732f" },
        { 1000, "89f4ff56a25dd1db06a4ce6033603775d705fb96f30f8693733fef602a1ca532" } };
    uint8_t m[1000], d[32], z[sizeof(ipr_sha256)];
    size_t i, piece;
    memset(z, 0, sizeof z);
    for (i = 0; i < sizeof m; i++) m[i] = (uint8_t)(7 * i);
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        ipr_sha256_of(m, t[i].n, d);
        CHECK_STR(tb_hex(d, 32), t[i].want);
        for (piece = 1; piece < 130; piece += 9) {
            size_t at;
            ipr_sha256 s;
            ipr_sha256_init(&s);
            for (at = 0; at < t[i].n; at += piece)
                ipr_sha256_update(&s, m + at, t[i].n - at < piece ? t[i].n - at : piece);
            ipr_sha256_update(&s, NULL, 0);
            ipr_sha256_final(&s, d);
            CHECK_STR(tb_hex(d, 32), t[i].want);
            CHECK(memcmp(&s, z, sizeof z) == 0);         /* wiped */
        }
    }
}

static void tb_hmac(const void *key, size_t nk, const void *data, size_t nd, size_t shown, const char *want)
{
    uint8_t d[32];
    ipr_hmac_sha256(key, nk, data, nd, d);
    CHECK_STR(tb_hex(d, shown), want);
}

TEST(hmac_rfc4231)
{
    uint8_t k[131], m[50];
    int i;
    static const char *big = "Test Using Larger Than Block-Size Key - Hash Key First";
    static const char *both = "This is a test using a larger than block-size key and a larger than block-size data. "
                              "The key needs to be hashed before being used by the HMAC algorithm.";
    memset(k, 0x0b, 20);
    tb_hmac(k, 20, "Hi There", 8, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    tb_hmac("Jefe", 4, "what do ya want for nothing?", 28, 32,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(k, 0xaa, 20);
    memset(m, 0xdd, 50);
    tb_hmac(k, 20, m, 50, 32, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    for (i = 0; i < 25; i++) k[i] = (uint8_t)(i + 1);
    memset(m, 0xcd, 50);
    tb_hmac(k, 25, m, 50, 32, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
    memset(k, 0x0c, 20);
    tb_hmac(k, 20, "Test With Truncation", 20, 16, "a3b6167473100ee06e0c796c2955552b");
    memset(k, 0xaa, 131);
    tb_hmac(k, 131, big, strlen(big), 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    tb_hmac(k, 131, both, strlen(both), 32, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(hkdf_rfc5869)
{
    uint8_t ikm[80], salt[80], info[80], out[255 * 32 + 1], d[32];
    int i;
    memset(ikm, 0x0b, 22);
    for (i = 0; i < 13; i++) salt[i] = (uint8_t)i;
    for (i = 0; i < 10; i++) info[i] = (uint8_t)(0xf0 + i);
    CHECK_EQ_I(ipr_hkdf_sha256(ikm, 22, salt, 13, info, 10, out, 42), IPR_OK);
    CHECK_STR(tb_hex(out, 42), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    CHECK_EQ_I(ipr_hkdf_sha256(ikm, 22, NULL, 0, NULL, 0, out, 42), IPR_OK);
    CHECK_STR(tb_hex(out, 42), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    for (i = 0; i < 80; i++) {
        ikm[i] = (uint8_t)i;
        salt[i] = (uint8_t)(0x60 + i);
        info[i] = (uint8_t)(0xb0 + i);
    }
    CHECK_EQ_I(ipr_hkdf_sha256(ikm, 80, salt, 80, info, 80, out, 82), IPR_OK);
    CHECK_STR(tb_hex(out, 82), "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                               "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                               "cc30c58179ec3e87c14c01d5c1f3434f1d87");
    CHECK_EQ_I(ipr_hkdf_sha256("k", 1, NULL, 0, NULL, 0, out, 255 * 32), IPR_OK);     /* the longest allowed */
    ipr_sha256_of(out, 255 * 32, d);
    CHECK_STR(tb_hex(d, 32), "5f2fe4180e267577c5cfa77f2bb546e2c2fe7b605612ecadd145f099ecd87571");
    out[0] = 99;
    CHECK_EQ_I(ipr_hkdf_sha256("k", 1, NULL, 0, NULL, 0, out, 255 * 32 + 1), IPR_E_RANGE);
    CHECK_EQ_I(out[0], 99);                      /* refused, nothing written */
}

TEST(hex_equal_wipe)
{
    uint8_t a[4] = { 0x00, 0x7f, 0xa0, 0xff }, b[4];
    int i, bit;
    char s[9];
    ipr_hex(a, 4, s);
    CHECK_STR(s, "007fa0ff");
    ipr_hex(a, 0, s);
    CHECK_STR(s, "");
    memcpy(b, a, 4);
    CHECK_EQ_I(ipr_equal_ct(a, b, 4), 1);
    CHECK_EQ_I(ipr_equal_ct(a, b, 0), 1);
    for (i = 0; i < 4; i++) for (bit = 0; bit < 8; bit++) {
        b[i] = (uint8_t)(b[i] ^ 1 << bit);
        CHECK_EQ_I(ipr_equal_ct(a, b, 4), 0);
        b[i] = (uint8_t)(b[i] ^ 1 << bit);
    }
    ipr_wipe(b + 1, 2);
    CHECK(b[0] == 0x00 && b[1] == 0 && b[2] == 0 && b[3] == 0xff);
}

/* ---- numbers and text ---- */

TEST(fmt_double_cases)
{
    static const struct { double v; const char *want; } t[] = {
        { 0.0, "0" }, { 1.0, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" }, { 0.30000000000000004, "0.30000000000000004" },
        { 1e-10, "1e-10" }, { 100.0, "100" }, { 1e15, "1000000000000000" }, { 1e16, "1e16" }, { 1e21, "1e21" },
        { 0.0001, "0.0001" }, { 0.00001, "1e-5" }, { 123456.789, "123456.789" }, { 1.2345e-7, "1.2345e-7" },
        { 5e-324, "5e-324" }, { 2.2250738585072014e-308, "2.2250738585072014e-308" },
        { 1.7976931348623157e308, "1.7976931348623157e308" }, { 9007199254740993.0, "9007199254740992" },
        { 5e22, "5e22" }, { 1e23, "1e23" }, { 9.5367431640625e-7, "9.5367431640625e-7" },
        { 5.684341886080802e-14, "5.684341886080802e-14" },     /* 2^-44: the gap below is half the gap above */
        { 1801514316094494.25, "1801514316094494.2" },          /* a tie of the last digit */
        { 18014398509481992.0, "1.801439850948199e16" } };      /* the midpoint below, which reads as even */
    char s[32];
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        CHECK_EQ_I(ipr_fmt_double(s, t[i].v), strlen(t[i].want));
        CHECK_STR(s, t[i].want);
    }
    (void)ipr_fmt_double(s, ipr__dnan());       CHECK_STR(s, "nan");
    (void)ipr_fmt_double(s, ipr__dinf());       CHECK_STR(s, "inf");
    (void)ipr_fmt_double(s, -ipr__dinf());      CHECK_STR(s, "-inf");
    (void)ipr_fmt_double(s, -1.0 * 0.0);        CHECK_STR(s, "-0");
}

static void tb_round_trip(double v)
{
    char s[32];
    double back = 0, c = 0;
    size_t n = (size_t)ipr_fmt_double(s, v);
    CHECK_EQ_I(ipr__parse_double(s, n, &back), n);
    CHECK(n < 26 && s[n] == 0);
    if (ipr__f64_bits(back) != ipr__f64_bits(v)) CHECK_STR("does not read back", s);
    c = strtod(s, NULL);                        /* an independent reader agrees */
    if (ipr__f64_bits(c) != ipr__f64_bits(v)) CHECK_STR("strtod differs", s);
}

/* One digit less never reads back to v: the text is the shortest. */
static void tb_shortest(double v)
{
    char s[48], dec[32];
    double back = 0;
    int n;
    if (!ipr__finite(v) || !(v > 0)) return;
    (void)ipr_fmt_double(dec, v);
    for (n = 1; n < 17; n++) {
        (void)snprintf(s, sizeof s, "%.*e", n - 1, v);
        if (!ipr__parse_double(s, strlen(s), &back)) return;
        if (ipr__f64_bits(back) == ipr__f64_bits(v)) break;
    }
    {
        int digits = 0, zeros = 0, lead = 1;
        const char *p;
        for (p = dec; *p && *p != 'e'; p++) {
            if (*p == '.') continue;
            if (*p == '0' && lead) continue;
            lead = 0;
            digits++;
            zeros = *p == '0' ? zeros + 1 : 0;
        }
        CHECK(digits - zeros <= n);
    }
}

TEST(fmt_parse_round_trip)
{
    ipr_rng r = ipr_rng_make(11, 0, 0);
    int i;
    for (i = 0; i < 100000; i++) {
        double v = ipr__bits_f64(tb_bits64(&r));
        if (ipr__isnan(v)) continue;
        tb_round_trip(v);
        if (i % 20 == 0) tb_shortest(v);
    }
    for (i = 0; i < 2046; i++) {                /* every power of two and its neighbours */
        uint64_t u = (uint64_t)i << 52;
        tb_round_trip(ipr__bits_f64(u));
        tb_round_trip(ipr__bits_f64(u + 1));
        if (u) tb_round_trip(ipr__bits_f64(u - 1));
        tb_shortest(ipr__bits_f64(u));
    }
    for (i = 0; i < 52; i++) tb_round_trip(ipr__bits_f64((uint64_t)1 << i));
}

TEST(parse_double_cases)
{
    const struct { const char *s; double want; int used; } t[] = {
        { "0", 0, 1 }, { "1", 1, 1 }, { "-2.5", -2.5, 4 }, { "+3e2", 300, 4 }, { ".5", 0.5, 2 }, { "5.", 5, 2 },
        { "1e", 1, 1 }, { "1e+", 1, 1 }, { "1e5x", 1e5, 3 }, { "1.2.3", 1.2, 3 }, { "7 8", 7, 1 },
        { "", 0, 0 }, { "-", 0, 0 }, { ".", 0, 0 }, { "e5", 0, 0 }, { "-.e1", 0, 0 }, { "x", 0, 0 },
        { "1e400", 1e308 * 10, 5 }, { "-1e-400", -0.0, 7 }, { "0e99999999999999999999", 0, 22 },
        { "1e-99999999999999999999", 0, 23 },
        { "9007199254740993", 9007199254740992.0, 16 },                     /* tie to even */
        { "9007199254740993.0000000000000000000000001", 9007199254740994.0, 42 },
        { "2.2250738585072011e-308", 2.2250738585072011e-308, 23 },         /* once hung PHP and Java */
        { "2.2250738585072012e-308", 2.2250738585072014e-308, 23 },
        { "2.4703282292062327208e-324", 0, 26 },                            /* just below half the least double */
        { "2.4703282292062328e-324", 5e-324, 23 },
        { "1.7976931348623158e308", 1.7976931348623157e308, 22 },
        { "1.7976931348623159e308", 1e308 * 10, 22 },
        { "6.92949564460091985e-310", 6.92949564460092e-310, 24 } };
    char big[2600];
    double v;
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        v = 0;
        CHECK_EQ_I(ipr__parse_double(t[i].s, strlen(t[i].s), &v), t[i].used);
        if (ipr__f64_bits(v) != ipr__f64_bits(t[i].want)) CHECK_NEAR(v, t[i].want, -1);
    }
    CHECK_EQ_I(ipr__parse_double("123", 2, &v), 2);      /* n is respected */
    CHECK_NEAR(v, 12, 0);
    CHECK_EQ_I(ipr__parse_double("NaN", 3, &v), 3);
    CHECK(ipr__isnan(v));
    CHECK_EQ_I(ipr__parse_double("-Infinity", 9, &v), 9);
    CHECK(v < -1.7e308);
    CHECK_EQ_I(ipr__parse_double("infin", 5, &v), 3);
    memset(big, '0', sizeof big);                        /* 1 + 2 000 zeros, e-2000 */
    big[0] = '1';
    memcpy(big + 2001, "e-2000", 6);
    CHECK_EQ_I(ipr__parse_double(big, 2007, &v), 2007);
    CHECK_NEAR(v, 1, 0);
    memset(big, '0', sizeof big);                        /* 0. + 2 000 zeros + 1e2001 */
    big[1] = '.';
    memcpy(big + 2002, "1e2001", 6);
    CHECK_EQ_I(ipr__parse_double(big, 2008, &v), 2008);
    CHECK_NEAR(v, 1, 0);
    memset(big, '0', sizeof big);                        /* a tie, broken by a 1 in the 2 000th place */
    memcpy(big, "9007199254740993.", 17);
    CHECK_EQ_I(ipr__parse_double(big, 2001, &v), 2001);
    CHECK_NEAR(v, 9007199254740992.0, 0);
    big[2000] = '1';
    CHECK_EQ_I(ipr__parse_double(big, 2001, &v), 2001);
    CHECK_NEAR(v, 9007199254740994.0, 0);
}

TEST(parse_double_against_strtod)
{
    ipr_rng r = ipr_rng_make(12, 0, 0);
    int i;
    for (i = 0; i < 30000; i++) {
        char s[80];
        int n = 0, digits = 1 + (int)ipr_rng_below(&r, 40), point = (int)ipr_rng_below(&r, 60), d;
        double v = 0, want;
        for (d = 0; d < digits; d++) {
            if (d == point) s[n++] = '.';
            s[n++] = (char)('0' + (int)ipr_rng_below(&r, 10));
        }
        if (ipr_rng_below(&r, 2)) n += snprintf(s + n, 12, "e%d", (int)ipr_rng_below(&r, 660) - 340);
        s[n] = 0;
        want = strtod(s, NULL);
        CHECK_EQ_I(ipr__parse_double(s, (size_t)n, &v), n);
        if (ipr__f64_bits(v) != ipr__f64_bits(want)) CHECK_STR("strtod differs", s);
    }
}

TEST(fmt_fixed_cases)
{
    static const struct { double v; int digits; const char *want; } t[] = {
        { 98.18, 2, "98.18" }, { 0.125, 2, "0.12" }, { 0.375, 2, "0.38" }, { 2.5, 0, "2" }, { 3.5, 0, "4" },
        { 0.0, 3, "0.000" }, { -0.001, 2, "0.00" }, { -1.005, 2, "-1.00" }, { 999.9996, 3, "1000.000" },
        { 1e15, 1, "1000000000000000.0" }, { 1e15, 9, "1000000000000000.000000000" }, { 2e15, 2, "2000000000000000" },
        { 5e-324, 9, "0.000000000" }, { 0.5, -3, "0" }, { 0.123456789123, 12, "0.123456789" }, { -12.5, 1, "-12.5" } };
    char s[32];
    size_t i;
    ipr_rng r = ipr_rng_make(13, 0, 0);
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        CHECK_EQ_I(ipr_fmt_fixed(s, t[i].v, t[i].digits), strlen(t[i].want));
        CHECK_STR(s, t[i].want);
    }
    (void)ipr_fmt_fixed(s, ipr__dnan(), 2);
    CHECK_STR(s, "nan");
    for (i = 0; i < 20000; i++) {
        char want[64];
        int digits = (int)ipr_rng_below(&r, 10);
        double v = ipr_rng_uniform(&r) * ipr__dpow_i(10, (int)ipr_rng_below(&r, 15)) + 1;
        (void)ipr_fmt_fixed(s, v, digits);
        (void)snprintf(want, sizeof want, "%.*f", digits, v);
        CHECK_STR(s, want);
    }
}

/* ---- double mathematics ---- */

TEST(dmath_values)  /* mpmath at 60 digits, e.g. mp.dps = 60; nstr(loggamma(mpf(0.7)), 17) */
{
    static const struct { double (*f)(double); double x, want; } t[] = {
        { ipr__dexp, -700, 9.8596765437597709e-305 }, { ipr__dexp, -1, 0.36787944117144232 },
        { ipr__dexp, 0.5, 1.6487212707001281 }, { ipr__dexp, 1, 2.7182818284590452 },
        { ipr__dexp, 300.25, 2.4941248615349213e+130 }, { ipr__dexp, -740, 4.1887398800480489e-322 },
        { ipr__dexpm1, 1e-10, 1.00000000005e-10 }, { ipr__dexpm1, -0.3, -0.25918177931828213 },
        { ipr__dexpm1, 0.4, 0.49182469764127035 }, { ipr__dexpm1, 1, 1.7182818284590452 },
        { ipr__dexpm1, -30, -0.99999999999990642 },
        { ipr__dlog, 0.1, -2.3025850929940456 }, { ipr__dlog, 2, 0.69314718055994531 },
        { ipr__dlog, 1e+300, 690.77552789821371 }, { ipr__dlog, 1.0000001, 9.9999995058387045e-8 },
        { ipr__dlog, 1e-310, -713.80137882815417 },
        { ipr__dlog1p, 1e-12, 9.9999999999949998e-13 }, { ipr__dlog1p, -0.5, -0.69314718055994531 },
        { ipr__dlog1p, 3, 1.3862943611198906 }, { ipr__dlog1p, 0.01, 0.0099503308531680831 },
        { ipr__dlog10, 2, 0.3010299956639812 }, { ipr__dlog10, 1e-300, -300.0 }, { ipr__dlog10, 12345, 4.0914910942679511 },
        { ipr__dlgamma, 0.1, 2.2527126517342059 }, { ipr__dlgamma, 0.7, 0.26086724653166657 },
        { ipr__dlgamma, 1.25, -0.098271836421813161 }, { ipr__dlgamma, 1.75, -0.084401121020485556 },
        { ipr__dlgamma, 2.5, 0.28468287047291916 }, { ipr__dlgamma, 3.5, 1.2009736023470742 },
        { ipr__dlgamma, 10.5, 13.940625219403764 }, { ipr__dlgamma, 100, 359.1342053695754 },
        { ipr__dlgamma, 1000000.0, 12815504.569147612 }, { ipr__dlgamma, 1e+100, 2.2925850929940457e+102 },
        { ipr__dcos2pi, 0.1, 0.8090169943749474 }, { ipr__dcos2pi, 0.2, 0.30901699437494736 },
        { ipr__dcos2pi, 0.3, -0.30901699437494736 }, { ipr__dcos2pi, 0.4, -0.80901699437494751 },
        { ipr__dcos2pi, 0.9, 0.80901699437494751 },
        { ipr__dsin2pi, 0.1, 0.58778525229247316 }, { ipr__dsin2pi, 0.2, 0.95105651629515359 },
        { ipr__dsin2pi, 0.3, 0.95105651629515359 }, { ipr__dsin2pi, -0.4, -0.58778525229247302 },
        { ipr__dsin2pi, 0.9, -0.58778525229247302 },
        { ipr__dtanh, 0.01, 0.0099996666799994605 }, { ipr__dtanh, 0.3, 0.2913126124515909 },
        { ipr__dtanh, 0.7, 0.60436777711716347 }, { ipr__dtanh, 2, 0.96402758007581688 },
        { ipr__dtanh, -5, -0.99990920426259513 },
        { ipr__dsigmoid, -30, 9.357622968839299e-14 }, { ipr__dsigmoid, -1, 0.26894142136999512 },
        { ipr__dsigmoid, 0.5, 0.62245933120185456 }, { ipr__dsigmoid, 4, 0.98201379003790844 },
        { ipr__dsigmoid, -700, 9.8596765437597709e-305 },
        { ipr__dnormal_tail, -2, 0.97724986805182079 }, { ipr__dnormal_tail, 0.5, 0.3085375387259869 },
        { ipr__dnormal_tail, 1.4, 0.08075665923377106 }, { ipr__dnormal_tail, 1.6, 0.054799291699557984 },
        { ipr__dnormal_tail, 6, 9.8658764503769814e-10 }, { ipr__dnormal_tail, 37, 5.7255712225245768e-300 } };
    size_t i;
    for (i = 0; i < sizeof t / sizeof t[0]; i++) {
        double tol = (t[i].f == ipr__dnormal_tail ? 4e-15 : 7e-16) * ipr__dabs(t[i].want) + 5e-324;
        if (!CHECK_NEAR(t[i].f(t[i].x), t[i].want, tol)) printf("    entry %d, x = %g\n", (int)i, t[i].x);
    }
}

TEST(dmath_specials)
{
    double inf = ipr__dinf(), nan = ipr__dnan();
    CHECK(ipr__dexp(710) > 1.7e308 && ipr__dexp(inf) > 1.7e308);
    CHECK_NEAR(ipr__dexp(-746), 0, 0);
    CHECK_NEAR(ipr__dexp(-inf), 0, 0);
    CHECK_NEAR(ipr__dexp(0), 1, 0);
    CHECK(ipr__dlog(0) < -1.7e308 && ipr__dlog(inf) > 1.7e308 && ipr__isnan(ipr__dlog(-1)));
    CHECK_NEAR(ipr__dlog(1), 0, 0);
    CHECK(ipr__dlog1p(-1) < -1.7e308 && ipr__isnan(ipr__dlog1p(-1.5)) && ipr__dlog1p(inf) > 1.7e308);
    CHECK_NEAR(ipr__dexpm1(-inf), -1, 0);
    CHECK_NEAR(ipr__dtanh(inf), 1, 0);
    CHECK_NEAR(ipr__dtanh(-inf), -1, 0);
    CHECK_NEAR(ipr__dsigmoid(-inf), 0, 0);
    CHECK_NEAR(ipr__dsigmoid(inf), 1, 0);
    CHECK_NEAR(ipr__dsigmoid(0), 0.5, 0);
    CHECK_NEAR(ipr__dcos2pi(0.25), 0, 0);
    CHECK_NEAR(ipr__dcos2pi(1e300), 1, 0);
    CHECK_NEAR(ipr__dsin2pi(0.5), 0, 0);
    CHECK_NEAR(ipr__dsin2pi(-0.25), -1, 0);
    CHECK(ipr__isnan(ipr__dcos2pi(inf)) && ipr__isnan(ipr__dsin2pi(nan)));
    CHECK_NEAR(ipr__dlgamma(1), 0, 0);
    CHECK_NEAR(ipr__dlgamma(2), 0, 0);
    CHECK(ipr__isnan(ipr__dlgamma(0)) && ipr__isnan(ipr__dlgamma(-3)) && ipr__dlgamma(inf) > 1.7e308);
    CHECK(ipr__isnan(ipr__dexp(nan)) && ipr__isnan(ipr__dlog(nan)) && ipr__isnan(ipr__dtanh(nan)) &&
          ipr__isnan(ipr__dexpm1(nan)) && ipr__isnan(ipr__dlog1p(nan)) && ipr__isnan(ipr__dlgamma(nan)) &&
          ipr__isnan(ipr__dsqrt(nan)) && ipr__isnan(ipr__dsigmoid(nan)) && ipr__isnan(ipr__dnormal_tail(nan)));
    CHECK_NEAR(ipr__dpow_i(3, 5), 243, 0);
    CHECK_NEAR(ipr__dpow_i(2, -3), 0.125, 0);
    CHECK_NEAR(ipr__dpow_i(7, 0), 1, 0);
    CHECK_NEAR(ipr__dmulsub(1.0 + 1.1102230246251565e-16 * 2, 1.0 - 1.1102230246251565e-16, 1.0),
               1.1102230246251563e-16, 1e-32);           /* (1 + 2e)(1 - e) - 1 = e - 2e^2, not 0 or 2e */
}

TEST(dmath_identities)  /* scanned: functions that share no code must agree */
{
    ipr_rng r = ipr_rng_make(21, 0, 0);
    int i;
    for (i = 0; i < 20000; i++) {
        double x = (ipr_rng_uniform(&r) - 0.5) * 60, u = ipr_rng_uniform(&r), g = 0.01 + 30 * u, c, s;
        CHECK_NEAR(ipr__dlog(ipr__dexp(x)), x, 3e-16 * ipr__dabs(x) + 3e-16);
        CHECK_NEAR(ipr__dlog1p(ipr__dexpm1(u)), u, 1e-15 * u);
        CHECK_NEAR(ipr__dlgamma(g + 1) - ipr__dlgamma(g), ipr__dlog(g), 4e-14);
        c = ipr__dcos2pi(x); s = ipr__dsin2pi(x);
        CHECK_NEAR(c * c + s * s, 1, 8e-16);
        CHECK_NEAR(ipr__dtanh(x / 20), 2 * ipr__dsigmoid(x / 10) - 1, 4e-16);
        CHECK_NEAR(ipr__dnormal_tail(x / 5) + ipr__dnormal_tail(-x / 5), 1, 3e-16);
    }
}

TEST(sqrt_is_correctly_rounded)
{
    ipr_rng r = ipr_rng_make(22, 0, 0);
    int i;
    CHECK_EQ_I(ipr__f64_bits(ipr__dsqrt_soft(-0.0)) >> 63, ipr__f64_bits(ipr__dsqrt(-0.0)) >> 63);
    CHECK(ipr__isnan(ipr__dsqrt(-1)) && ipr__isnan(ipr__dsqrt_soft(-1)) && ipr__dsqrt_soft(ipr__dinf()) > 1e308);
    CHECK_NEAR(ipr__dsqrt_soft(5e-324), 2.2227587494850775e-162, 0);
    CHECK_NEAR(ipr__dsqrt_soft(1.7976931348623157e308), 1.3407807929942596e154, 0);
    for (i = 0; i < 50000; i++) {
        double x = ipr__bits_f64(tb_bits64(&r) >> 1), q;
        if (!ipr__finite(x)) continue;
        q = ipr__dsqrt_soft(x);
        CHECK_EQ_I(ipr__f64_bits(q), ipr__f64_bits(ipr__dsqrt(x)));
        if (x > 1e-280 && x < 1e280) {          /* |x - q^2| <= q ulp(q), without the square's rounding */
            double rest = ipr__dmulsub(q, q, x), ulp = ipr__bits_f64(ipr__f64_bits(q) + 1) - q;
            CHECK(ipr__dabs(rest) <= q * ulp);
        }
    }
    for (i = 0; i < 1 << 24; i += 37) {         /* two octaves of floats: all others are these, scaled */
        float x = ipr__bits_f32(0x3f800000u + (uint32_t)i), q = ipr__fsqrt_soft(x);
        double lo = (double)ipr__bits_f32(ipr__f32_bits(q) - 1), hi = (double)ipr__bits_f32(ipr__f32_bits(q) + 1);
        double a = 0.5 * (lo + (double)q), b = 0.5 * ((double)q + hi);
        CHECK(a * a < (double)x && (double)x < b * b);  /* x between the squared midpoints, exact in double */
        CHECK_EQ_I(ipr__f32_bits(ipr__fsqrt(x)), ipr__f32_bits(q));
    }
}

/* Everything above, hashed: one digest for all machines. */
TEST(same_bits_everywhere)
{
    static double (*const f[])(double) = { ipr__dexp, ipr__dexpm1, ipr__dlog, ipr__dlog1p, ipr__dlog10, ipr__dsqrt, ipr__dlgamma,
                                           ipr__dcos2pi, ipr__dsin2pi, ipr__dtanh, ipr__dsigmoid, ipr__dnormal_tail };
    ipr_rng r = ipr_rng_make(31, 0, 0);
    ipr_sha256 h;
    uint8_t b[8], d[32];
    size_t j;
    int i;
    if (!IPR__DOUBLE_EXACT) SKIP("this target computes doubles with excess precision");
    ipr_sha256_init(&h);
    for (i = 0; i < 5000; i++) {
        double x = ipr_rng_uniform(&r) * ipr__dpow_i(2, (int)ipr_rng_below(&r, 14) - 6);
        ipr__st64le(b, ipr__f64_bits(ipr_rng_normal(&r)));
        ipr_sha256_update(&h, b, 8);
        for (j = 0; j < sizeof f / sizeof f[0]; j++) {
            ipr__st64le(b, ipr__f64_bits(f[j](x)));
            ipr_sha256_update(&h, b, 8);
        }
        ipr__st32le(b, ipr__f32_bits(ipr__fsqrt((float)x)));
        ipr_sha256_update(&h, b, 4);
    }
    ipr_sha256_final(&h, d);
    CHECK_STR(tb_hex(d, 32), "17cab4217c6c821047ae7feb5cbc19791f074c403f2388e605a822ee5525482d");
}

static void suite_base(void)
{
    RUN(philox_known_answers);
    RUN(rng_is_the_stream);
    RUN(rng_below_is_fair);
    RUN(rng_uniform_moments);
    RUN(rng_normal_moments);
    RUN(rng_shuffle_permutes);
    RUN(sha256_fips_vectors);
    RUN(sha256_lengths_and_pieces);
    RUN(hmac_rfc4231);
    RUN(hkdf_rfc5869);
    RUN(hex_equal_wipe);
    RUN(fmt_double_cases);
    RUN(fmt_parse_round_trip);
    RUN(parse_double_cases);
    RUN(parse_double_against_strtod);
    RUN(fmt_fixed_cases);
    RUN(dmath_values);
    RUN(dmath_specials);
    RUN(dmath_identities);
    RUN(sqrt_is_correctly_rounded);
    RUN(same_bits_everywhere);
}
