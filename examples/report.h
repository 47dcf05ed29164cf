/* report.h: self-contained HTML reports with tables and charts, for the examples. C99 and C++11; stdio, stdlib, string only.

   One file comes out: inline CSS and SVG, no script, nothing fetched; it follows the reader's light or dark setting, fits a
   phone and prints. Series differ by colour (safe for colour-blind readers), dash and marker. All text is UTF-8 and escaped;
   NaN and infinity show as a dash. Every function is a no-op after a failed open, so one check at report_close is enough.

       report r;
       report_open(&r, "results/x.html", "Title", "One line below it");
       report_h2(&r, "Result");
       report_text(&r, "Text with `code` and **strong** marks.");
       if (report_close(&r)) fprintf(stderr, "%s\n", report_error(&r));

   Structures start zeroed (memset, or = { 0 } in C): zero means default or absent. Strings are only read during the call. */
#ifndef IPR_EXAMPLES_REPORT_H
#define IPR_EXAMPLES_REPORT_H
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define REPORT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define REPORT_PRINTF(f, a)
#endif
#define REPORT_FN static inline     /* unused ones do not warn */

typedef struct {
    FILE *f;
    char path[1024], tmp[1040], error[1400];
    int ids, row_open, columns;
    char align[32];
} report;

/* ---- small helpers, usable alone ---- */

/* 1 for a number that can be shown: not NaN, not infinite. */
REPORT_FN int report_finite(double v) { return v == v && v < 1e300 && v > -1e300; }
/* "Not measured", for fields that take a NaN. */
REPORT_FN double report_nan(void) { volatile double z = 0; return z / z; }

REPORT_FN double report__floor(double v)
{
    double t;
    if (v > 9e15 || v < -9e15) return v;
    t = (double)(long long)v;
    return t > v ? t - 1 : t;
}

/* log10 without libm: digits by scaling, the rest by a series in (m-1)/(m+1). */
REPORT_FN double report__log10(double v)
{
    double e = 0, y, y2, term, s = 0;
    int i;
    if (!(v > 0)) return -400;
    while (v >= 10) { v /= 10; e++; }
    while (v < 1) { v *= 10; e--; }
    if (v > 3.1622776601683795) { v /= 3.1622776601683795; e += 0.5; }
    y = (v - 1) / (v + 1);
    y2 = y * y;
    for (term = y, i = 1; i < 60; i += 2, term *= y2) s += term / i;
    return e + 2 * s / 2.302585092994046;
}

REPORT_FN double report__pow10(int e)
{
    double p = 1;
    while (e > 0) { p *= 10; e--; }
    while (e < 0) { p /= 10; e++; }
    return p;
}

/* Copies what fits, whole UTF-8 characters only, and terminates. */
REPORT_FN void report__copy(char *out, size_t cap, const char *text)
{
    size_t n = strlen(text);
    if (!cap) return;
    if (n >= cap) for (n = cap - 1; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80; n--) {}
    memcpy(out, text, n);
    out[n] = 0;
}

/* A number with that many decimals, a true minus sign, no "-0"; a dash if it is not finite. Returns out. */
REPORT_FN const char *report_number(char *out, size_t cap, double v, int decimals)
{
    char t[400];
    size_t i;
    if (!report_finite(v)) { report__copy(out, cap, "\xE2\x80\x93"); return out; }
    snprintf(t + 2, sizeof t - 2, "%.*f", decimals < 0 ? 0 : decimals > 15 ? 15 : decimals, v);
    if (t[2] != '-') { report__copy(out, cap, t + 2); return out; }
    for (i = 3; t[i] == '0' || t[i] == '.'; i++) {}
    if (t[i]) memcpy(t, "\xE2\x88\x92", 3);
    report__copy(out, cap, t[i] ? t : t + 3);
    return out;
}

/* 10^log10p as a reader wants it: 0.034, 0.001, 6.2 x 10^-88 with raised digits. Returns out. */
REPORT_FN const char *report_p_log10(char *out, size_t cap, double log10p)
{
    static const char *const raised[] = { "\xE2\x81\xB0", "\xC2\xB9", "\xC2\xB2", "\xC2\xB3", "\xE2\x81\xB4", "\xE2\x81\xB5", "\xE2\x81\xB6", "\xE2\x81\xB7", "\xE2\x81\xB8", "\xE2\x81\xB9" };
    char digits[32], sup[128] = "", text[192];
    double e = report__floor(log10p), m = 1, x;
    size_t i;
    int k;
    if (!report_finite(log10p)) { report__copy(out, cap, "\xE2\x80\x93"); return out; }
    for (x = (log10p - e) * 2.302585092994046 / 64, k = 1, m = 1 + x + x * x / 2 + x * x * x / 6 + x * x * x * x / 24; k <= 6; k++) m *= m;
    if (m >= 9.95) { m = 1; e++; }
    if (e >= -4) {
        x = m * report__pow10((int)e);
        if (x > 1) x = 1;
        snprintf(digits, sizeof digits, "%.*f", e <= -2 ? (int)(1 - e) : 3, x);
        k = (int)strlen(digits);
        while (k > 1 && digits[k - 1] == '0') digits[--k] = 0;
        if (digits[k - 1] == '.') digits[k - 1] = 0;
        report__copy(out, cap, digits);
        return out;
    }
    snprintf(digits, sizeof digits, "%.0f", -e);
    for (i = 0; digits[i]; i++) strncat(sup, raised[digits[i] - '0'], sizeof sup - strlen(sup) - 1);
    snprintf(text, sizeof text, "%.1f\xC2\xA0\xC3\x97\xC2\xA0" "10\xE2\x81\xBB%s", m, sup);
    report__copy(out, cap, text);
    return out;
}

/* The same from the probability itself; 0 (below what a double holds) shows as "< 10^-300". */
REPORT_FN const char *report_p(char *out, size_t cap, double p)
{
    if (p == 0) { report__copy(out, cap, "< 10\xE2\x81\xBB\xC2\xB3\xE2\x81\xB0\xE2\x81\xB0"); return out; }
    return report_p_log10(out, cap, report_finite(p) && p > 0 ? report__log10(p) : p < 0 ? report_nan() : p);
}

/* ---- escaping ---- */

/* Bytes of the well-formed UTF-8 sequence at s, 0 if it is none. */
REPORT_FN int report__utf8(const unsigned char *s)
{
    int n = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0, i;
    for (i = 1; i < n; i++) if ((s[i] & 0xC0) != 0x80) return 0;
    if (n == 3 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))) return 0;
    if (n == 4 && ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))) return 0;
    return n;
}

/* Text for element content and quoted attributes. marks: `code` and **strong** are understood. At most max characters, then an ellipsis. */
REPORT_FN void report__escape(report *r, const char *text, int marks, int max)
{
    const unsigned char *s = (const unsigned char *)(text ? text : "");
    int code = 0, strong = 0, n;
    if (!r->f) return;
    for (; *s; s += n) {
        n = report__utf8(s);
        if (max-- == 0) { fputs("\xE2\x80\xA6", r->f); break; }
        if (n == 0) { fputs("\xEF\xBF\xBD", r->f); n = 1; }
        else if (n > 1) fwrite(s, 1, (size_t)n, r->f);
        else if (marks && *s == '`' && (code || strchr((const char *)s + 1, '`'))) { fputs(code ? "</code>" : "<code>", r->f); code = !code; }
        else if (marks && !code && s[0] == '*' && s[1] == '*' && (strong || strstr((const char *)s + 2, "**"))) {
            fputs(strong ? "</strong>" : "<strong>", r->f);
            strong = !strong;
            n = 2;
        }
        else if (*s == '<') fputs("&lt;", r->f);
        else if (*s == '>') fputs("&gt;", r->f);
        else if (*s == '&') fputs("&amp;", r->f);
        else if (*s == '"') fputs("&quot;", r->f);
        else if (*s == '\'') fputs("&#39;", r->f);
        else if (*s < 0x20 && *s != '\n' && *s != '\t') fputs("\xEF\xBF\xBD", r->f);
        else fputc(*s, r->f);
    }
    if (code) fputs("</code>", r->f);
    if (strong) fputs("</strong>", r->f);
}

REPORT_FN void report__raw(report *r, const char *html) { if (r->f) fputs(html, r->f); }
REPORT_FN void report__rawf(report *r, const char *format, ...) REPORT_PRINTF(2, 3);
REPORT_FN void report__rawf(report *r, const char *format, ...)
{
    va_list a;
    if (!r->f) return;
    va_start(a, format);
    vfprintf(r->f, format, a);
    va_end(a);
}

/* A heading's anchor: letters and digits, the rest as single hyphens. */
REPORT_FN void report__slug(report *r, const char *s)
{
    int hyphen = 0;
    for (; *s; s++) {
        const int c = *s >= 'A' && *s <= 'Z' ? *s + 32 : *s;
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) { report__rawf(r, "%s%c", hyphen == 1 ? "-" : "", c); hyphen = 2; }
        else if (hyphen) hyphen = 1;
    }
}

/* ---- the page ---- */

static const char *const report__css[] = {
    ":root{color-scheme:light dark;--bg:#fff;--card:#f7f8fa;--ink:#16191d;--ink2:#565e69;--line:#dde1e6;--grid:#e6e9ed;--axis:#9aa3ae;"
    "--yes:#005fa3;--no:#b2410a;--yes-bg:#edf5fb;--no-bg:#fcf1ea;--und:#565e69;"
    "--s0:#0067b1;--s1:#c2500a;--s2:#007a5a;--s3:#9a3f85;--s4:#8f6a00;--s5:#2f8fc4;--s6:#454c55;--s7:#b5294e}",
    "@media screen and (prefers-color-scheme:dark){:root{--bg:#121417;--card:#1b1e23;--ink:#e7eaee;--ink2:#a3acb8;--line:#31363e;--grid:#2a2f36;--axis:#6b7480;"
    "--yes:#64b5f2;--no:#ff9a66;--yes-bg:#15222e;--no-bg:#2c1d14;--und:#a3acb8;"
    "--s0:#5aaef0;--s1:#ff8f52;--s2:#3ec79b;--s3:#e08fd0;--s4:#dcb53c;--s5:#92d2f5;--s6:#c2c9d2;--s7:#ff7f9f}}",
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%;text-size-adjust:100%}"
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;overflow-wrap:break-word}"
    "main{max-width:68rem;margin:0 auto;padding:2.25rem 1.25rem 3rem}",
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .35rem;letter-spacing:-.015em;font-weight:680}"
    "h2{font-size:1.3rem;line-height:1.3;margin:3rem 0 .6rem;letter-spacing:-.01em;font-weight:650;scroll-margin-top:1rem}"
    "h3{font-size:1.02rem;margin:1.75rem 0 .4rem;font-weight:650}"
    "p,ul,ol,dl{margin:.6rem 0}p,li{max-width:46rem}ul,ol{padding-left:1.25rem}li{margin:.3rem 0}a{color:var(--yes)}"
    ".sub{color:var(--ink2);margin:0}.lead{font-size:1.12rem;line-height:1.6;max-width:50rem;margin:1.25rem 0}.note{color:var(--ink2);font-size:.9rem}",
    "code,pre{font:.88em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace}code{background:var(--card);border-radius:4px;padding:.08em .3em}"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem;overflow-x:auto;margin:.75rem 0}pre code{background:none;padding:0}"
    "nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.25rem;margin:1rem 0 0;font-size:.92rem}nav li{margin:.1rem 0}",
    ".verdict{border:1px solid var(--line);border-left:5px solid var(--v);border-radius:8px;background:var(--vb);padding:1.2rem 1.4rem;margin:1.5rem 0}"
    ".verdict .top{display:flex;flex-wrap:wrap;align-items:baseline;gap:.3rem 1.5rem}.verdict h2{margin:0;font-size:.92rem;font-weight:500;letter-spacing:0;color:var(--ink2);flex-basis:100%}"
    ".verdict .word{font-size:2.1rem;font-weight:720;letter-spacing:.01em;line-height:1.2;color:var(--v)}.verdict .word svg{width:.82em;height:.82em;margin-right:.4em;vertical-align:-.06em}"
    ".verdict .p{font-size:1.3rem;font-variant-numeric:tabular-nums;white-space:nowrap}.verdict .rule{margin:.5rem 0 0}",
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:1rem 1.5rem;margin:1.1rem 0 0}.figures div{border-top:1px solid var(--line);padding-top:.55rem}"
    ".figures dt{font-size:.84rem;color:var(--ink2)}.figures dd{margin:.05rem 0 0;font-size:1.28rem;font-weight:620;font-variant-numeric:tabular-nums}.figures dd small{display:block;font-size:.82rem;font-weight:400;color:var(--ink2);line-height:1.4}",
    ".table{overflow-x:auto;margin:1rem 0;border:1px solid var(--line);border-radius:8px;-webkit-overflow-scrolling:touch}.table:focus-visible{outline:2px solid var(--yes)}"
    "table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums;line-height:1.4}caption{text-align:left;color:var(--ink2);padding:.6rem .85rem .15rem;font-size:.9rem}caption span{display:block;max-width:min(46rem,calc(100vw - 4.2rem));position:sticky;left:.85rem}"
    "th,td{padding:.5rem .85rem;text-align:left;vertical-align:baseline}thead th{font-weight:600;border-bottom:1px solid var(--axis);font-size:.86rem;vertical-align:bottom;line-height:1.3}"
    "tbody tr+tr>*{border-top:1px solid var(--grid)}tbody th{font-weight:600}.r{text-align:right;white-space:nowrap}.m{color:var(--ink2)}td small,th small{display:block;font-weight:400;font-size:.82em;color:var(--ink2);white-space:nowrap}th small{white-space:normal}"
    "tbody tr.group th{background:var(--card);font-weight:650}td.dash{color:var(--axis)}table.wide tbody th,table.wide thead th:first-child{position:sticky;left:0;background:var(--bg);z-index:1}table.wide tbody tr.group th{background:var(--card)}",
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21.5rem),1fr));gap:1.5rem 2.25rem;align-items:start}"
    "figure{margin:1.1rem 0;min-width:0;max-width:35rem}.grid figure{margin:.6rem 0}figcaption{font-weight:620;font-size:.97rem;line-height:1.35;margin:0 0 .3rem}figcaption small{display:block;font-weight:400;color:var(--ink2);font-size:.86rem;line-height:1.45;margin-top:.1rem}"
    "figure>svg{display:block;width:100%;height:auto;overflow:visible;margin-top:.35rem}",
    "svg text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:var(--ink2);font-variant-numeric:tabular-nums}svg text.b{fill:var(--ink);paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}svg .g{stroke:var(--grid);stroke-width:1}svg .x{stroke:var(--axis);stroke-width:1}"
    "svg .l{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}svg .k{fill:var(--bg);stroke-width:1.7}",
    ".legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;list-style:none;padding:0;margin:.35rem 0 0;font-size:.87rem;color:var(--ink2)}.legend li{display:flex;align-items:center;gap:.45rem;margin:0}.legend svg{width:34px;height:14px;flex:none}"
    "details{margin:.35rem 0;font-size:.87rem;color:var(--ink2)}summary{cursor:pointer;width:max-content}details .table{margin:.4rem 0}details td,details th{padding:.25rem .6rem}",
    ".images{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));gap:1.25rem;margin:1rem 0;padding:0;list-style:none}.images.wide{grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr))}.images li{margin:0}.images img,.heat img{display:block;width:100%;height:auto;image-rendering:pixelated;border:1px solid var(--line);border-radius:4px}"
    ".images p{margin:.25rem 0 0;font-size:.88rem;line-height:1.4}.images .c{font-weight:620;font-size:.92rem}.yes{color:var(--yes)}.no{color:var(--no)}.yes b,.no b{display:inline-block;width:1.15em}.heat img+img{height:12px;max-width:none;margin-top:.5rem}.heat .s{display:flex;justify-content:space-between;font-size:.84rem;color:var(--ink2);font-variant-numeric:tabular-nums}",
    "footer{margin-top:3rem;padding-top:.9rem;border-top:1px solid var(--line);color:var(--ink2);font-size:.86rem}"
    "@media(max-width:32rem){main{padding:1.4rem 1rem 2rem}h1{font-size:1.55rem}h2{margin-top:2.3rem}.lead{font-size:1.04rem}.verdict{padding:1rem}.verdict .word{font-size:1.7rem}th,td{padding:.42rem .65rem}.images:not(.wide){grid-template-columns:repeat(auto-fill,minmax(6.2rem,1fr));gap:1rem .9rem}.images p{font-size:.84rem}.figures{grid-template-columns:1fr 1fr;gap:.8rem 1rem}svg text{font-size:14.5px}}",
    "@page{margin:16mm 14mm}@media print{:root{color-scheme:light;font-size:9.5pt}body{font-size:10pt}main{max-width:none;padding:0}h2,h3,h2+p,h3+p,.group{break-after:avoid}.images:not(.wide){grid-template-columns:repeat(auto-fill,minmax(7rem,1fr))}.figures{grid-template-columns:repeat(4,1fr)}figure,.verdict,.images li,tr{break-inside:avoid}.table{overflow:visible;border:0}table{font-size:8.5pt}th,td{padding:.25rem .4rem}nav,details{display:none}"
    "table.wide tbody th,table.wide thead th:first-child{position:static}.grid{grid-template-columns:1fr 1fr}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}",
};

/* Starts the page in a temporary file beside path. subtitle may be NULL. 0, or 1 when it cannot be written (then the rest does nothing). */
REPORT_FN int report_open(report *r, const char *path, const char *title, const char *subtitle)
{
    size_t i;
    memset(r, 0, sizeof *r);
    report__copy(r->path, sizeof r->path, path);
    snprintf(r->tmp, sizeof r->tmp, "%s.tmp", r->path);
    r->f = strlen(path) < sizeof r->path ? fopen(r->tmp, "wb") : NULL;
    if (!r->f) { snprintf(r->error, sizeof r->error, "%s: cannot write", r->path); return 1; }
    report__raw(r, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    report__escape(r, title, 0, -1);
    report__raw(r, "</title>\n<style>\n");
    for (i = 0; i < sizeof report__css / sizeof report__css[0]; i++) { report__raw(r, report__css[i]); report__raw(r, "\n"); }
    report__raw(r, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>");
    report__escape(r, title, 0, -1);
    report__raw(r, "</h1>\n");
    if (subtitle) { report__raw(r, "<p class=\"sub\">"); report__escape(r, subtitle, 1, -1); report__raw(r, "</p>\n"); }
    report__raw(r, "</header>\n");
    return 0;
}

/* Ends the page and renames it into place. 0, or 1: then report_error says what failed and an earlier page is untouched. */
REPORT_FN int report_close(report *r)
{
    int bad;
    if (!r->f) return 1;
    report__raw(r, "</main>\n</body>\n</html>\n");
    bad = fflush(r->f) != 0 || ferror(r->f);
    bad |= fclose(r->f) != 0;
    r->f = NULL;
    if (!bad && rename(r->tmp, r->path)) bad = remove(r->path) || rename(r->tmp, r->path);  /* some systems do not rename over a file */
    if (!bad) return 0;
    remove(r->tmp);
    snprintf(r->error, sizeof r->error, "%s: could not be written", r->path);
    return 1;
}

/* What failed, "" if nothing did. */
REPORT_FN const char *report_error(const report *r) { return r->error; }

REPORT_FN void report__element(report *r, const char *open, const char *text, const char *close)
{
    report__raw(r, open);
    report__escape(r, text, 1, -1);
    report__raw(r, close);
}

/* A section heading; report_contents links to it. */
REPORT_FN void report_h2(report *r, const char *text)
{
    report__raw(r, "<h2 id=\"");
    report__slug(r, text);
    report__element(r, "\">", text, "</h2>\n");
}
/* A heading inside a section. */
REPORT_FN void report_h3(report *r, const char *text) { report__element(r, "<h3>", text, "</h3>\n"); }
/* The paragraph a hurried reader reads. */
REPORT_FN void report_lead(report *r, const char *text) { report__element(r, "<p class=\"lead\">", text, "</p>\n"); }
/* A paragraph. */
REPORT_FN void report_text(report *r, const char *text) { report__element(r, "<p>", text, "</p>\n"); }
/* A small, quiet paragraph: how something was measured, a caveat. */
REPORT_FN void report_note(report *r, const char *text) { report__element(r, "<p class=\"note\">", text, "</p>\n"); }
/* A paragraph by a printf format; at most 4000 bytes. */
REPORT_FN void report_textf(report *r, const char *format, ...) REPORT_PRINTF(2, 3);
REPORT_FN void report_textf(report *r, const char *format, ...)
{
    char text[4000];
    va_list a;
    va_start(a, format);
    vsnprintf(text, sizeof text, format, a);
    va_end(a);
    report_text(r, text);
}
/* A bulleted list of n texts. */
REPORT_FN void report_list(report *r, const char *const *texts, int n)
{
    int i;
    if (n < 1) return;
    report__raw(r, "<ul>\n");
    for (i = 0; i < n; i++) report__element(r, "<li>", texts[i], "</li>\n");
    report__raw(r, "</ul>\n");
}
/* Lines to copy into a terminal, as they are. */
REPORT_FN void report_code(report *r, const char *text)
{
    report__raw(r, "<pre tabindex=\"0\"><code>");
    report__escape(r, text, 0, -1);
    report__raw(r, "</code></pre>\n");
}
/* Links to the sections with these titles, which report_h2 writes later. */
REPORT_FN void report_contents(report *r, const char *const *titles, int n)
{
    int i;
    report__raw(r, "<nav aria-label=\"Contents\"><ul>\n");
    for (i = 0; i < n; i++) {
        report__raw(r, "<li><a href=\"#");
        report__slug(r, titles[i]);
        report__element(r, "\">", titles[i], "</a></li>\n");
    }
    report__raw(r, "</ul></nav>\n");
}
/* The last line of the page: program, version, machine. */
REPORT_FN void report_footer(report *r, const char *text) { report__element(r, "<footer>", text, "</footer>\n"); }

/* ---- the verdict ---- */

enum { REPORT_UNDECIDED = 0, REPORT_NOT_OWNED = 1, REPORT_OWNED = 2 };
typedef struct { const char *label, *value, *note; } report_figure;     /* note may be NULL */

/* n key figures side by side: a label, a large value, a small note. */
REPORT_FN void report_figures(report *r, const report_figure *f, int n)
{
    int i;
    if (n < 1) return;
    report__raw(r, "<dl class=\"figures\">\n");
    for (i = 0; i < n; i++) {
        report__element(r, "<div><dt>", f[i].label, "</dt><dd>");
        report__escape(r, f[i].value, 0, -1);
        if (f[i].note) report__element(r, "<small>", f[i].note, "</small>");
        report__raw(r, "</dd></div>\n");
    }
    report__raw(r, "</dl>\n");
}

/* The decision in a box: question ("Does this model hold the owner's key?"), p-value by its log10 (NaN: left out), the rule, figures. */
REPORT_FN void report_verdict(report *r, int decision, const char *question, double log10_p, const char *rule, const report_figure *f, int n)
{
    static const char *const word[] = { "UNDECIDED", "NOT OWNED", "OWNED" };
    static const char *const var[] = { "--v:var(--und);--vb:var(--card)", "--v:var(--no);--vb:var(--no-bg)", "--v:var(--yes);--vb:var(--yes-bg)" };
    static const char *const sign[] = { "M5 10H15", "M5.5 5.5l9 9M14.5 5.5l-9 9", "M4.5 10.5l4 4 7-8.5" };
    char p[64];
    if (decision < 0 || decision > 2) decision = REPORT_UNDECIDED;
    report__rawf(r, "<section class=\"verdict\" style=\"%s\">\n<div class=\"top\">", var[decision]);
    report__element(r, "<h2>", question, "</h2>");
    report__rawf(r, "<span class=\"word\"><svg viewBox=\"0 0 20 20\" aria-hidden=\"true\"><circle cx=\"10\" cy=\"10\" r=\"10\" fill=\"var(--v)\"/><path d=\"%s\" fill=\"none\" stroke=\"var(--bg)\" stroke-width=\"2.4\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg>%s</span>", sign[decision], word[decision]);
    if (report_finite(log10_p)) report__rawf(r, "<span class=\"p\"><i>p</i> = %s</span>", report_p_log10(p, sizeof p, log10_p));
    report__raw(r, "</div>\n");
    if (rule) report__element(r, "<p class=\"rule\">", rule, "</p>\n");
    report_figures(r, f, n);
    report__raw(r, "</section>\n");
}

/* ---- tables ---- */

/* Text whose part after a line break is in small print. */
REPORT_FN void report__split(report *r, const char *text)
{
    char head[256];
    const char *small = strchr(text, '\n');
    if (!small) { report__escape(r, text, 1, -1); return; }
    report__copy(head, small - text < 255 ? (size_t)(small - text) + 1 : sizeof head, text);
    report__element(r, "", head, "<small>");
    report__escape(r, small + 1, 1, -1);
    report__raw(r, "</small>");
}

/* Starts a table. align: one letter a column, 'l' text, 'r' number. A line break in a column's name puts the rest in small print.
   More than three columns: the first stays in view while the others scroll. Then report_row and one cell a column after the first. */
REPORT_FN void report_table(report *r, const char *caption, const char *align, const char *const *columns, int n)
{
    int i;
    r->columns = n;
    snprintf(r->align, sizeof r->align, "%s", align ? align : "");
    report__raw(r, "<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"");
    report__escape(r, caption ? caption : "Table", 0, -1);
    report__rawf(r, "\"><table%s>\n", n > 3 ? " class=\"wide\"" : "");
    if (caption) report__element(r, "<caption><span>", caption, "</span></caption>\n");
    report__raw(r, "<thead><tr>");
    for (i = 0; i < n; i++) {
        report__rawf(r, "<th scope=\"col\"%s>", i < (int)strlen(r->align) && r->align[i] == 'r' ? " class=\"r\"" : "");
        report__split(r, columns[i]);
        report__raw(r, "</th>");
    }
    report__raw(r, "</tr></thead>\n<tbody>\n");
}
/* Starts a line with its name. A line break in the name puts the rest in small print. */
REPORT_FN void report_row(report *r, const char *name)
{
    if (r->row_open) report__raw(r, "</tr>\n");
    report__raw(r, "<tr><th scope=\"row\">");
    report__split(r, name);
    report__raw(r, "</th>");
    r->row_open = 1;
}
/* A heading line across the table. */
REPORT_FN void report_group(report *r, const char *name)
{
    if (r->row_open) report__raw(r, "</tr>\n");
    report__rawf(r, "<tr class=\"group\"><th scope=\"colgroup\" colspan=\"%d\">", r->columns);
    report__element(r, "", name, "</th></tr>\n");
    r->row_open = 0;
}
/* A cell of text. */
REPORT_FN void report_cell(report *r, const char *text) { report__element(r, "<td>", text, "</td>"); }
/* A right-aligned number with that many decimals; NaN: a dash. */
REPORT_FN void report_cell_num(report *r, double v, int decimals)
{
    char t[64];
    report__rawf(r, "<td class=\"r%s\">%s</td>", report_finite(v) ? "" : " dash", report_number(t, sizeof t, v, decimals));
}
/* A p-value by its log10; NaN: a dash. */
REPORT_FN void report_cell_p(report *r, double log10_p)
{
    char t[64];
    report__rawf(r, "<td class=\"r%s\">%s</td>", report_finite(log10_p) ? "" : " dash", report_p_log10(t, sizeof t, log10_p));
}
/* An interval "lo to hi"; a dash when either is NaN or they are equal (one seed). */
REPORT_FN void report_cell_interval(report *r, double lo, double hi, int decimals)
{
    char a[64], b[64];
    if (!report_finite(lo) || !report_finite(hi) || lo == hi) report__raw(r, "<td class=\"r dash\">\xE2\x80\x93</td>");
    else report__rawf(r, "<td class=\"r m\">%s to %s</td>", report_number(a, sizeof a, lo, decimals), report_number(b, sizeof b, hi, decimals));
}
/* Ours, its interval (left out when lo == hi or NaN) and the paper's number (left out when NaN), one below the other. */
REPORT_FN void report_cell_compare(report *r, double ours, double lo, double hi, double paper, int decimals)
{
    char t[64];
    if (!report_finite(ours) && !report_finite(paper)) { report_cell_num(r, ours, decimals); return; }
    report__rawf(r, "<td class=\"r\">%s", report_number(t, sizeof t, ours, decimals));
    if (report_finite(lo) && report_finite(hi) && lo != hi) {
        report__rawf(r, "<small>%s", report_number(t, sizeof t, lo, decimals));
        report__rawf(r, " to %s</small>", report_number(t, sizeof t, hi, decimals));
    }
    if (report_finite(paper)) report__rawf(r, "<small>paper %s</small>", report_number(t, sizeof t, paper, decimals));
    report__raw(r, "</td>");
}
/* Ends the table. */
REPORT_FN void report_table_end(report *r)
{
    if (r->row_open) report__raw(r, "</tr>\n");
    report__raw(r, "</tbody>\n</table></div>\n");
    r->row_open = 0;
}

/* ---- charts ---- */

/* Figures between the two stand side by side where there is room. */
REPORT_FN void report_grid(report *r) { report__raw(r, "<div class=\"grid\">\n"); }
REPORT_FN void report_grid_end(report *r) { report__raw(r, "</div>\n"); }

/* A chart's own units; its CSS width scales them. */
#define REPORT_W 440
#define REPORT_H 286
#define REPORT_LEFT 50
#define REPORT_RIGHT 18
#define REPORT_TOP 26
#define REPORT_BOTTOM 42

typedef struct { double lo, hi, step; int decimals, percent, log; } report__axis;    /* log: lo, hi are powers of ten */

/* Round limits and a step of 1, 2, 2.5 or 5 times a power of ten. snap: limits move out to whole steps. */
REPORT_FN report__axis report__nice(double lo, double hi, int ticks, int percent, int snap)
{
    static const double nice[] = { 1, 2, 2.5, 5, 10 };
    report__axis a;
    double raw, mag, eps;
    int e, i;
    if (!report_finite(lo) || !report_finite(hi)) { lo = 0; hi = 1; }
    if (!(hi > lo)) { const double w = lo == 0 ? 1 : (lo < 0 ? -lo : lo) * 0.1; lo -= w; hi += w; }
    raw = (hi - lo) / ticks;
    e = (int)report__floor(report__log10(raw));
    mag = report__pow10(e);
    for (i = 0; i < 4 && nice[i] * mag < raw * 0.9999; i++) {}
    a.step = nice[i] * mag;
    a.decimals = i == 2 ? 1 - e : i == 4 ? -e - 1 : -e;
    if (a.decimals < 0) a.decimals = 0;
    eps = a.step * 1e-6;
    a.lo = snap ? report__floor((lo + eps) / a.step) * a.step : lo;
    a.hi = snap ? -report__floor(-(hi - eps) / a.step) * a.step : hi;
    a.percent = percent;
    a.log = 0;
    return a;
}

REPORT_FN double report__at_x(const report__axis *a, double v) { return REPORT_LEFT + (v - a->lo) / (a->hi - a->lo) * (REPORT_W - REPORT_LEFT - REPORT_RIGHT); }
REPORT_FN double report__at_y(const report__axis *a, double v)
{
    const double u = !a->log ? v : v > 0 ? report__log10(v) : a->lo;
    double y = REPORT_H - REPORT_BOTTOM - (u - a->lo) / (a->hi - a->lo) * (REPORT_H - REPORT_TOP - REPORT_BOTTOM);
    return y < REPORT_TOP - 4 ? REPORT_TOP - 4 : y > REPORT_H - REPORT_BOTTOM + 4 ? REPORT_H - REPORT_BOTTOM + 4 : y;
}

REPORT_FN void report__figure(report *r, const char *title, const char *desc, int height)
{
    r->ids++;
    report__element(r, "<figure><figcaption>", title, "");
    if (desc) report__element(r, "<small>", desc, "</small>");
    report__rawf(r, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"t%d d%d\"><title id=\"t%d\">", REPORT_W, height, r->ids, r->ids, r->ids);
    report__escape(r, title, 0, -1);
    report__rawf(r, "</title><desc id=\"d%d\">", r->ids);
    report__escape(r, desc, 0, -1);
    report__raw(r, "</desc>\n");
}

REPORT_FN void report__axes(report *r, const report__axis *x, const report__axis *y, const char *x_label, const char *y_label)
{
    char t[64];
    double v;
    for (v = y->lo; v <= y->hi + y->step * 1e-6; v += y->step) {
        const double u = y->log ? report__pow10((int)report__floor(v + 0.5)) : v, at = report__at_y(y, u);
        report__rawf(r, "<path class=\"%s\" d=\"M%d %.1fH%d\"/>", v == y->lo ? "x" : "g", REPORT_LEFT, at, REPORT_W - REPORT_RIGHT);
        report__rawf(r, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s%s</text>\n", REPORT_LEFT - 10, at + 4, report_number(t, sizeof t, u, !y->log ? y->decimals : v < 0 ? (int)(0.5 - v) : 0), y->percent ? "%" : "");
    }
    for (v = -report__floor(-(x->lo - x->step * 1e-6) / x->step) * x->step; v <= x->hi + x->step * 1e-6; v += x->step) {
        const double at = report__at_x(x, v);
        report__rawf(r, "<path class=\"x\" d=\"M%.1f %dv4\"/>", at, REPORT_H - REPORT_BOTTOM);
        report__rawf(r, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s%s</text>\n", at, REPORT_H - REPORT_BOTTOM + 18, report_number(t, sizeof t, v, x->decimals), x->percent ? "%" : "");
    }
    if (y_label) { report__rawf(r, "<text x=\"0\" y=\"12\">"); report__escape(r, y_label, 0, 64); report__raw(r, "</text>"); }
    if (x_label) {
        report__rawf(r, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (REPORT_W + REPORT_LEFT - REPORT_RIGHT) / 2, REPORT_H - 5);
        report__escape(r, x_label, 0, 64);
        report__raw(r, "</text>\n");
    }
}

REPORT_FN const char *report__dash(int i)
{
    static const char *const d[] = { "none", "7 4", "1.5 4", "9 3.5 1.5 3.5", "4 3", "12 4", "5 2 1 2 1 2", "3 6" };
    return d[i & 7];
}

/* A marker of series i: circle, square, triangle, diamond, down triangle, cross, plus, bar. */
REPORT_FN void report__marker(report *r, int i, double x, double y, const char *extra)
{
    static const char *const d[] = { "", "M-3.4-3.4h6.8v6.8h-6.8z", "M0-4.5L4.3 3.2H-4.3z", "M0-4.7L4.7 0 0 4.7-4.7 0z", "M0 4.5L4.3-3.2H-4.3z", "M-3.5-3.5l7 7M3.5-3.5l-7 7", "M-4.4 0h8.8M0-4.4v8.8", "M0-4.5v9" };
    if ((i & 7) == 0) report__rawf(r, "<circle class=\"k\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.7\" stroke=\"var(--s%d)\">%s</circle>", x, y, i & 7, extra);
    else report__rawf(r, "<path class=\"k\" transform=\"translate(%.1f %.1f)\" d=\"%s\" stroke=\"var(--s%d)\">%s</path>", x, y, d[i & 7], i & 7, extra);
}

typedef struct {
    const char *name;
    const double *x, *y, *lo, *hi;  /* n each; lo, hi: a band, or NULL; a NaN breaks the line */
    int n;
    int reference;                  /* 1: a paper's figures: large rings without a line */
    int style;                      /* 0: by its place; k: as series k - 1, for the same colour in several charts */
} report_series;

typedef struct {
    const char *title, *desc;       /* desc: what the reader should see, below the title */
    const char *x_label, *y_label;
    int x_percent, y_percent;       /* tick labels end in % (values 0..100) */
    double x_lo, x_hi, y_lo, y_hi;  /* equal: from the data */
    const report_series *series;
    int count;
    int x_decimals, y_decimals;     /* in the table of numbers below the chart */
} report_chart;

REPORT_FN int report__style(const report_series *s, int i) { return (s->style ? s->style - 1 : i) & 7; }

/* A line chart, its legend, and its numbers as a table that opens on demand. */
REPORT_FN void report_lines(report *r, const report_chart *c)
{
    const report_series *s;
    report__axis ax, ay;
    double xl = c->x_lo, xh = c->x_hi, yl = c->y_lo, yh = c->y_hi;
    char a[64], b[64], t[64], tip[600];
    int i, k, first = 1, yfirst = 1, pen, longest = 0;
    if (!r->f || c->count < 1) return;
    for (i = 0; i < c->count; i++)
        for (s = &c->series[i], k = 0; k < s->n; k++) {
            const double v[3] = { s->y[k], s->lo ? s->lo[k] : s->y[k], s->hi ? s->hi[k] : s->y[k] };
            int q;
            if (c->x_lo == c->x_hi && report_finite(s->x[k])) { if (first || s->x[k] < xl) xl = s->x[k]; if (first || s->x[k] > xh) xh = s->x[k]; first = 0; }
            for (q = 0; q < 3; q++)
                if (c->y_lo == c->y_hi && report_finite(v[q])) { if (yfirst || v[q] < yl) yl = v[q]; if (yfirst || v[q] > yh) yh = v[q]; yfirst = 0; }
        }
    ax = report__nice(xl, xh, 6, c->x_percent, 0);
    ay = report__nice(yl, yh, 5, c->y_percent, 1);
    report__figure(r, c->title, c->desc, REPORT_H);
    report__axes(r, &ax, &ay, c->x_label, c->y_label);
    for (i = 0; i < c->count; i++) {
        const int st = report__style(s = &c->series[i], i);
        if (s->n > c->series[longest].n) longest = i;
        if (s->lo && s->hi) {
            for (k = 0; k < s->n; ) {   /* one closed band for each run of finite points */
                int from = k, q;
                while (k < s->n && report_finite(s->lo[k]) && report_finite(s->hi[k])) k++;
                if (k - from > 1) {
                    report__rawf(r, "<path fill=\"var(--s%d)\" fill-opacity=\".15\" d=\"", st);
                    for (q = from; q < k; q++) report__rawf(r, "%c%.1f %.1f", q == from ? 'M' : 'L', report__at_x(&ax, s->x[q]), report__at_y(&ay, s->hi[q]));
                    for (q = k; q-- > from; ) report__rawf(r, "L%.1f %.1f", report__at_x(&ax, s->x[q]), report__at_y(&ay, s->lo[q]));
                    report__raw(r, "z\"/>\n");
                }
                if (k == from) k++;
            }
        }
        if (s->n > 1 && !s->reference) {
            report__rawf(r, "<path class=\"l\" stroke=\"var(--s%d)\" stroke-dasharray=\"%s\" d=\"", st, report__dash(st));
            for (pen = 0, k = 0; k < s->n; k++) {
                if (!report_finite(s->y[k]) || !report_finite(s->x[k])) { pen = 0; continue; }
                report__rawf(r, "%c%.1f %.1f", pen ? 'L' : 'M', report__at_x(&ax, s->x[k]), report__at_y(&ay, s->y[k]));
                pen = 1;
            }
            report__raw(r, "\"/>\n");
        }
    }
    for (i = 0; i < c->count; i++) {
        const int st = report__style(s = &c->series[i], i);
        for (k = 0; k < s->n; k++) {
            if (!report_finite(s->y[k]) || !report_finite(s->x[k])) continue;
            snprintf(tip, sizeof tip, "<title>%s%s: %s%s</title>", report_number(a, sizeof a, s->x[k], c->x_decimals), c->x_percent ? " %" : "", report_number(b, sizeof b, s->y[k], c->y_decimals), c->y_percent ? " %" : "");
            if (s->reference) report__rawf(r, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"6.6\" fill=\"none\" stroke=\"var(--s%d)\" stroke-width=\"1.5\">%s</circle>", report__at_x(&ax, s->x[k]), report__at_y(&ay, s->y[k]), st, tip);
            else if (s->n <= 40) report__marker(r, st, report__at_x(&ax, s->x[k]), report__at_y(&ay, s->y[k]), tip);
        }
    }
    report__raw(r, "</svg>\n<ul class=\"legend\">");
    for (i = 0; i < c->count; i++) {
        const int st = report__style(s = &c->series[i], i);
        report__raw(r, "<li><svg viewBox=\"0 0 34 14\" aria-hidden=\"true\">");
        if (s->n > 1 && !s->reference) report__rawf(r, "<path class=\"l\" stroke=\"var(--s%d)\" stroke-dasharray=\"%s\" d=\"M1 7H33\"/>", st, report__dash(st));
        if (s->reference) report__rawf(r, "<circle cx=\"17\" cy=\"7\" r=\"6\" fill=\"none\" stroke=\"var(--s%d)\" stroke-width=\"1.5\"/>", st);
        else if (s->n <= 40) report__marker(r, st, 17, 7, "");
        report__element(r, "</svg><span>", s->name, "</span></li>");
    }
    report__raw(r, "</ul>\n<details><summary>Numbers</summary><div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"Numbers\"><table><thead><tr>");
    report__element(r, "<th scope=\"col\" class=\"r\">", c->x_label, "</th>");
    for (i = 0; i < c->count; i++) report__element(r, "<th scope=\"col\" class=\"r\">", c->series[i].name, "</th>");
    report__raw(r, "</tr></thead><tbody>\n");
    for (k = 0; k < c->series[longest].n; k++) {
        const double at = c->series[longest].x[k];
        report__rawf(r, "<tr><th scope=\"row\" class=\"r\">%s</th>", report_number(a, sizeof a, at, c->x_decimals));
        for (i = 0; i < c->count; i++) {
            int q, hit = -1;
            for (s = &c->series[i], q = 0; q < s->n; q++) if (s->x[q] == at) hit = q;
            report__rawf(r, "<td class=\"r\">%s", hit < 0 ? "" : report_number(t, sizeof t, s->y[hit], c->y_decimals));
            if (hit >= 0 && s->lo && s->hi && report_finite(s->lo[hit]) && s->lo[hit] != s->hi[hit])
                report__rawf(r, "<small>%s to %s</small>", report_number(a, sizeof a, s->lo[hit], c->y_decimals), report_number(b, sizeof b, s->hi[hit], c->y_decimals));
            report__raw(r, "</td>");
        }
        report__raw(r, "</tr>\n");
    }
    report__raw(r, "</tbody></table></div></details>\n</figure>\n");
}

typedef struct {
    const char *name;
    const double *share;            /* [bins], all at least 0, e.g. percent of the values in each bin; NULL leaves the series out */
    int style;                      /* as in report_series */
} report_distribution;

typedef struct {
    const char *title, *desc, *x_label, *y_label;
    double lo, hi;                  /* the range that the equal bins divide */
    int bins, y_percent, y_log;     /* y_log: a logarithmic axis, for shares that differ a hundredfold */
    const report_distribution *series;
    int count;
    int has_marker;                 /* 1: a vertical line */
    double marker;
    const char *marker_label;
} report_histogram_chart;

/* Overlaid distributions from bin shares, with an optional labelled vertical line. */
REPORT_FN void report_histogram(report *r, const report_histogram_chart *c)
{
    report__axis ax, ay;
    double top = 0, least = 0;
    int i, b;
    if (!r->f || c->count < 1 || c->bins < 1) return;
    for (i = 0; i < c->count; i++)
        for (b = 0; c->series[i].share && b < c->bins; b++) {
            const double v = c->series[i].share[b];
            if (report_finite(v) && v > top) top = v;
            if (report_finite(v) && v > 0 && (least == 0 || v < least)) least = v;
        }
    ax = report__nice(c->lo, c->hi, 6, 0, 0);
    ay = report__nice(0, top > 0 ? top : 1, 5, c->y_percent, 1);
    if (c->y_log && top > 0) {
        ay.lo = report__floor(report__log10(least) + 1e-9);
        ay.hi = -report__floor(-report__log10(top) + 1e-9);
        if (ay.hi <= ay.lo) ay.hi = ay.lo + 1;
        ay.step = 1;
        ay.log = 1;
    }
    report__figure(r, c->title, c->desc, REPORT_H);
    report__axes(r, &ax, &ay, c->x_label, c->y_label);
    for (i = 0; i < c->count; i++) {
        const double *h = c->series[i].share;
        const int st = (c->series[i].style ? c->series[i].style - 1 : i) & 7;
        int pass;
        if (!h) continue;
        for (pass = 0; pass < 2; pass++) {
            report__rawf(r, pass ? "<path class=\"l\" style=\"stroke-width:1.8;stroke-linecap:butt\" stroke=\"var(--s%d)\" stroke-dasharray=\"%s\" d=\"" : "<path fill=\"var(--s%d)\" fill-opacity=\".16\" d=\"", st, report__dash(st));
            report__rawf(r, "M%.1f %.1f", report__at_x(&ax, c->lo), report__at_y(&ay, 0));
            for (b = 0; b < c->bins; b++)
                report__rawf(r, "V%.1fH%.1f", report__at_y(&ay, report_finite(h[b]) ? h[b] : 0), report__at_x(&ax, c->lo + (b + 1) * (c->hi - c->lo) / c->bins));
            report__rawf(r, "V%.1f%s\"/>\n", report__at_y(&ay, 0), pass ? "" : "z");
        }
    }
    if (c->has_marker && report_finite(c->marker) && c->marker >= c->lo && c->marker <= c->hi) {
        const double x = report__at_x(&ax, c->marker);
        const int left = c->marker > (c->lo + c->hi) / 2;
        report__rawf(r, "<path d=\"M%.1f %dV%d\" stroke=\"var(--ink)\" stroke-width=\"1.6\"/><text class=\"b\" x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">", x, REPORT_TOP - 2, REPORT_H - REPORT_BOTTOM, x + (left ? -6 : 6), REPORT_TOP + 9, left ? "end" : "start");
        report__escape(r, c->marker_label, 0, 40);
        report__raw(r, "</text>\n");
    }
    report__raw(r, "</svg>\n<ul class=\"legend\">");
    for (i = 0; i < c->count; i++) {
        const int st = (c->series[i].style ? c->series[i].style - 1 : i) & 7;
        if (!c->series[i].share) continue;
        report__rawf(r, "<li><svg viewBox=\"0 0 34 14\" aria-hidden=\"true\"><path fill=\"var(--s%d)\" fill-opacity=\".16\" d=\"M1 2H33V13H1z\"/><path class=\"l\" stroke=\"var(--s%d)\" stroke-dasharray=\"%s\" d=\"M1 2H33\"/></svg>", st, st, report__dash(st));
        report__element(r, "<span>", c->series[i].name, "</span></li>");
    }
    report__raw(r, "</ul>\n</figure>\n");
}

typedef struct {
    const char *label;
    double value, lo, hi;           /* lo == hi: no error bar */
    int has_reference;
    double reference;               /* the paper's figure: a hollow diamond */
    int style;                      /* colour 0..7 */
} report_bar;

/* Horizontal bars from zero, with the label above at the left and the value at the right. lo == hi: the axis from the data. */
REPORT_FN void report_bars(report *r, const char *title, const char *desc, const char *x_label, int percent, int decimals, double lo, double hi, const report_bar *bars, int n)
{
    const int each = 36, top = 4, foot = 42, left = 2, right = 16;
    report__axis a;
    char t[64];
    int i, reference = 0;
    double v;
    if (!r->f || n < 1) return;
    if (lo == hi) {
        for (lo = hi = 0, i = 0; i < n; i++) {
            if (report_finite(bars[i].value)) { if (bars[i].value > hi) hi = bars[i].value; if (bars[i].value < lo) lo = bars[i].value; }
            if (bars[i].lo != bars[i].hi) { if (report_finite(bars[i].hi) && bars[i].hi > hi) hi = bars[i].hi; if (report_finite(bars[i].lo) && bars[i].lo < lo) lo = bars[i].lo; }
            if (bars[i].has_reference && report_finite(bars[i].reference) && bars[i].reference > hi) hi = bars[i].reference;
        }
    }
    a = report__nice(lo, hi, 5, percent, 1);
    report__figure(r, title, desc, top + n * each + foot);
#define REPORT__X(u) (left + ((u) - a.lo) / (a.hi - a.lo) * (REPORT_W - left - right))
    for (v = a.lo; v <= a.hi + a.step * 1e-6; v += a.step) {
        const double x = REPORT__X(v);
        report__rawf(r, "<path class=\"g\" d=\"M%.1f %dV%d\"/>", x, top, top + n * each);
        report__rawf(r, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s%s</text>\n", v == a.lo ? 0 : v > a.hi - a.step / 2 ? x + right - 2 : x, top + n * each + 16, v == a.lo ? "start" : v > a.hi - a.step / 2 ? "end" : "middle", report_number(t, sizeof t, v, a.decimals), percent ? "%" : "");
    }
    for (i = 0; i < n; i++) {
        const report_bar *b = &bars[i];
        const double y = top + i * each + 18, zero = a.lo > 0 ? a.lo : a.hi < 0 ? a.hi : 0;
        const double value = !report_finite(b->value) ? zero : b->value < a.lo ? a.lo : b->value > a.hi ? a.hi : b->value;
        const double x0 = REPORT__X(zero), x1 = REPORT__X(value);
        report__rawf(r, "<text class=\"b\" x=\"%d\" y=\"%.1f\">", left, y - 4);
        report__escape(r, b->label, 0, 56);
        report__rawf(r, "</text><text class=\"b\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s%s</text>", REPORT_W - right, y - 4, report_number(t, sizeof t, b->value, decimals), percent && report_finite(b->value) ? "%" : "");
        report__rawf(r, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"11\" rx=\"1.5\" fill=\"var(--s%d)\" fill-opacity=\".82\"/>", x0 < x1 ? x0 : x1, y, x0 < x1 ? x1 - x0 : x0 - x1, b->style & 7);
        if (report_finite(b->lo) && report_finite(b->hi) && b->lo != b->hi) {
            const double e0 = REPORT__X(b->lo < a.lo ? a.lo : b->lo), e1 = REPORT__X(b->hi > a.hi ? a.hi : b->hi);
            report__rawf(r, "<path d=\"M%.1f %.1fH%.1fM%.1f %.1fv6M%.1f %.1fv6\" fill=\"none\" stroke=\"var(--ink)\" stroke-width=\"1.4\"/>", e0, y + 5.5, e1, e0, y + 2.5, e1, y + 2.5);
        }
        if (b->has_reference && report_finite(b->reference)) {
            const double x = REPORT__X(b->reference);
            report__rawf(r, "<path d=\"M%.1f %.1fl6 6-6 6-6-6z\" fill=\"var(--bg)\" stroke=\"var(--ink)\" stroke-width=\"1.6\"/>", x, y - 0.5);
            reference = 1;
        }
        report__raw(r, "\n");
    }
#undef REPORT__X
    if (x_label) {
        report__rawf(r, "<text x=\"0\" y=\"%d\">", top + n * each + 35);
        report__escape(r, x_label, 0, 64);
        report__raw(r, "</text>");
    }
    report__raw(r, "</svg>\n");
    if (reference) report__raw(r, "<ul class=\"legend\"><li><svg viewBox=\"0 0 34 14\" aria-hidden=\"true\"><path d=\"M17 1l6 6-6 6-6-6z\" fill=\"var(--bg)\" stroke=\"var(--ink)\" stroke-width=\"1.6\"/></svg><span>paper</span></li></ul>\n");
    report__raw(r, "</figure>\n");
}

/* ---- pictures: PNG in stored blocks, as data URIs ---- */

typedef struct { report *r; unsigned long crc, a, b; unsigned tri; int have; } report__png;

REPORT_FN void report__b64(report__png *p, unsigned byte)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    p->tri = (p->tri << 8 | (byte & 255)) & 0xFFFFFF;
    if (++p->have < 3) return;
    if (p->r->f) fprintf(p->r->f, "%c%c%c%c", digits[p->tri >> 18], digits[p->tri >> 12 & 63], digits[p->tri >> 6 & 63], digits[p->tri & 63]);
    p->have = 0;
}
REPORT_FN void report__b64_end(report__png *p)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned t = p->have == 1 ? p->tri << 16 & 0xFF0000 : p->tri << 8 & 0xFFFF00;
    if (p->have && p->r->f) fprintf(p->r->f, "%c%c%c=", digits[t >> 18 & 63], digits[t >> 12 & 63], p->have == 2 ? digits[t >> 6 & 63] : '=');
}
REPORT_FN void report__byte(report__png *p, unsigned v)     /* counted by the chunk's CRC-32 */
{
    int k;
    p->crc ^= v & 255;
    for (k = 0; k < 8; k++) p->crc = p->crc & 1 ? 0xEDB88320ul ^ p->crc >> 1 : p->crc >> 1;
    report__b64(p, v);
}
REPORT_FN void report__u32(report__png *p, unsigned long v, int counted)
{
    int k;
    for (k = 24; k >= 0; k -= 8) { if (counted) report__byte(p, (unsigned)(v >> k)); else report__b64(p, (unsigned)(v >> k & 255)); }
}
REPORT_FN void report__chunk(report__png *p, unsigned long bytes, const char *type)
{
    int k;
    report__u32(p, bytes, 0);
    p->crc = 0xFFFFFFFFul;
    for (k = 0; k < 4; k++) report__byte(p, (unsigned char)type[k]);
}
REPORT_FN void report__chunk_end(report__png *p) { report__u32(p, (p->crc ^ 0xFFFFFFFFul) & 0xFFFFFFFFul, 0); }

enum { REPORT_GREY = 0, REPORT_RGB = 1, REPORT_PLANES = 2 };    /* [h][w]; [h][w][3]; [3][h][w], as data sets have it */

/* "data:image/png;base64,..." of w x h pixels; palette: 768 bytes of RGB for REPORT_GREY's bytes, or NULL. */
REPORT_FN void report__png_uri(report *r, const unsigned char *px, int w, int h, int kind, const unsigned char *palette)
{
    static const unsigned char magic[8] = { 0x89, 'P', 'N', 'G', 13, 10, 26, 10 };
    report__png p;
    const unsigned long row = (unsigned long)w * (kind ? 3 : 1), plane = (unsigned long)w * (unsigned long)h;
    unsigned long raw = (row + 1) * (unsigned long)h, left = raw, block = 0, i;
    memset(&p, 0, sizeof p);
    p.r = r;
    p.a = 1;
    report__raw(r, "data:image/png;base64,");
    for (i = 0; i < 8; i++) report__b64(&p, magic[i]);
    report__chunk(&p, 13, "IHDR");
    report__u32(&p, (unsigned long)w, 1);
    report__u32(&p, (unsigned long)h, 1);
    report__byte(&p, 8);
    report__byte(&p, palette ? 3 : kind ? 2 : 0);
    for (i = 0; i < 3; i++) report__byte(&p, 0);
    report__chunk_end(&p);
    if (palette) {
        report__chunk(&p, 768, "PLTE");
        for (i = 0; i < 768; i++) report__byte(&p, palette[i]);
        report__chunk_end(&p);
    }
    report__chunk(&p, 2 + raw + 5 * ((raw + 65534) / 65535) + 4, "IDAT");
    report__byte(&p, 0x78);
    report__byte(&p, 0x01);
    for (i = 0; i < raw; i++) {
        const unsigned long x = i % (row + 1), y = i / (row + 1);     /* each line starts with filter 0 */
        const unsigned v = !x ? 0 : kind == REPORT_PLANES ? px[(x - 1) % 3 * plane + y * (unsigned long)w + (x - 1) / 3] : px[y * row + x - 1];
        if (!block) {
            block = left < 65535 ? left : 65535;
            report__byte(&p, left == block);
            report__byte(&p, (unsigned)(block & 255));
            report__byte(&p, (unsigned)(block >> 8));
            report__byte(&p, (unsigned)(~block & 255));
            report__byte(&p, (unsigned)(~block >> 8 & 255));
            left -= block;
        }
        block--;
        report__byte(&p, v);
        p.a = (p.a + v) % 65521;
        p.b = (p.b + p.a) % 65521;
    }
    report__u32(&p, p.b << 16 | p.a, 1);
    report__chunk_end(&p);
    report__chunk(&p, 0, "IEND");
    report__chunk_end(&p);
    report__b64_end(&p);
}

enum { REPORT_PLAIN = 0, REPORT_RIGHT_MARK = 1, REPORT_WRONG_MARK = 2 };
typedef struct { const char *text; int mark; } report_line;     /* text NULL: none */
typedef struct {
    const unsigned char *px;        /* [h][w], 0 black, 255 white */
    int w, h;
    const char *caption;
    report_line line[4];            /* below it, marked right or wrong by colour and sign */
    int kind;                       /* REPORT_*: how px holds it; 0: grey */
} report_image;

/* Small images, grey or in colour, side by side, each with a caption and lines. */
REPORT_FN void report_images(report *r, const report_image *im, int n)
{
    int i, k;
    if (!r->f || n < 1) return;
    report__raw(r, im[0].w >= 200 ? "<ul class=\"images wide\">\n" : "<ul class=\"images\">\n");
    for (i = 0; i < n; i++) {
        report__raw(r, "<li><img alt=\"");
        report__escape(r, im[i].caption, 0, -1);
        report__rawf(r, "\" width=\"%d\" height=\"%d\" src=\"", im[i].w, im[i].h);
        report__png_uri(r, im[i].px, im[i].w, im[i].h, im[i].kind, NULL);
        report__raw(r, "\">");
        if (im[i].caption) report__element(r, "<p class=\"c\">", im[i].caption, "</p>");
        for (k = 0; k < 4; k++) {
            static const char *const open[] = { "<p>", "<p class=\"yes\"><b aria-label=\"right\">\xE2\x9C\x93</b>", "<p class=\"no\"><b aria-label=\"wrong\">\xE2\x9C\x97</b>" };
            if (im[i].line[k].text) report__element(r, open[im[i].line[k].mark < 0 || im[i].line[k].mark > 2 ? 0 : im[i].line[k].mark], im[i].line[k].text, "</p>");
        }
        report__raw(r, "</li>\n");
    }
    report__raw(r, "</ul>\n");
}

/* A matrix v[rows][cols] in blue (negative), white, orange (positive), on a scale of -limit to limit (0: the largest magnitude).
   NaN is grey. Never give it a genuine key in a report that leaves the house. */
REPORT_FN void report_heat(report *r, const char *title, const char *desc, const double *v, int rows, int cols, double limit)
{
    static const double stop[5][3] = { { 5, 60, 120 }, { 90, 160, 210 }, { 248, 248, 246 }, { 236, 150, 84 }, { 140, 50, 4 } };
    unsigned char palette[768], bar[255], *px;
    char t[64];
    int i, k, n = rows * cols;
    if (!r->f || rows < 1 || cols < 1) return;
    px = (unsigned char *)malloc((size_t)n);
    if (!px) return;
    if (!(limit > 0)) for (limit = 0, i = 0; i < n; i++) { const double m = v[i] < 0 ? -v[i] : v[i]; if (report_finite(m) && m > limit) limit = m; }
    if (!(limit > 0)) limit = 1;
    for (i = 0; i < 255; i++) {
        const double at = i / 254.0 * 4;
        const int s = at >= 4 ? 3 : (int)at;
        for (k = 0; k < 3; k++) palette[3 * i + k] = (unsigned char)(stop[s][k] + (stop[s + 1][k] - stop[s][k]) * (at - s) + 0.5);
        bar[i] = (unsigned char)i;
    }
    memset(palette + 765, 128, 3);
    for (i = 0; i < n; i++) {
        const double u = v[i] / limit;
        px[i] = !report_finite(v[i]) ? 255 : u <= -1 ? 0 : u >= 1 ? 254 : (unsigned char)(127 + u * 127 + 0.5);
    }
    report__element(r, "<figure class=\"heat\"><figcaption>", title, "");
    if (desc) report__element(r, "<small>", desc, "</small>");
    report__raw(r, "</figcaption>\n<img alt=\"");
    report__escape(r, desc ? desc : title, 0, -1);
    report__rawf(r, "\" width=\"%d\" height=\"%d\" src=\"", cols, rows);
    report__png_uri(r, px, cols, rows, REPORT_GREY, palette);
    report__raw(r, "\"><img alt=\"\" width=\"255\" height=\"1\" src=\"");
    report__png_uri(r, bar, 255, 1, REPORT_GREY, palette);
    report__rawf(r, "\"><div class=\"s\"><span>%s</span><span>0</span>", report_number(t, sizeof t, -limit, 2));
    report__rawf(r, "<span>%s</span></div></figure>\n", report_number(t, sizeof t, limit, 2));
    free(px);
}

#endif /* IPR_EXAMPLES_REPORT_H */
