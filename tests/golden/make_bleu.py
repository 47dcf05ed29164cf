#!/usr/bin/env python3
"""Writes bleu.h: fixed sentences and their corpus BLEU-4 by an independent implementation, for tests/test_s2s.c.

usage: python3 make_bleu.py > bleu.h      (needs sacrebleu; last made with 2.x)

Sentences are lists of word ids; to sacrebleu they go as text "w7 w12 ...", tokenize='none', one reference, so that
tokenisation plays no part. Smoothing: 'none' and 'exp' (sacrebleu's default, mteval-v13a). A second count by hand below
must agree with sacrebleu before anything is written.
"""
import collections
import math
import random
import textwrap
import sacrebleu


def by_hand(hyps, refs):
    match, total, h, r = [0] * 4, [0] * 4, 0, 0
    for hyp, ref in zip(hyps, refs):
        h += len(hyp)
        r += len(ref)
        for n in range(1, 5):
            have = collections.Counter(tuple(hyp[i:i + n]) for i in range(len(hyp) - n + 1))
            want = collections.Counter(tuple(ref[i:i + n]) for i in range(len(ref) - n + 1))
            match[n - 1] += sum((have & want).values())
            total[n - 1] += sum(have.values())
    if min(match) == 0:
        return 0.0
    return 100 * math.exp(min(0, 1 - r / h)) * math.exp(sum(math.log(m / t) for m, t in zip(match, total)) / 4)


def corpus(seed, n, keep, cut):
    rng = random.Random(seed)
    word = lambda: int(rng.paretovariate(0.9)) % 200
    hyps, refs = [], []
    for _ in range(n):
        ref = [word() for _ in range(rng.randint(1, 18))]
        hyp = []
        for w in ref:
            u = rng.random()
            if u < keep:
                hyp.append(w)
            elif u < keep + 0.5 * (1 - keep):
                hyp.append(word())
            elif u < keep + 0.7 * (1 - keep):
                hyp += [word(), w]
        if rng.random() < cut:
            hyp = hyp[:len(hyp) // 2]
        hyps.append(hyp)
        refs.append(ref)
    return hyps, refs


def main():
    text = lambda s: ' '.join('w%d' % w for w in s)
    wrap = lambda t: print(textwrap.fill(t, 119, subsequent_indent='    ', break_long_words=False))
    flat = lambda name, a: wrap('static const int16_t %s[] = {%s};' % (name, ', '.join('%d' % v for s in a for v in s + [-1])))
    print('/* made by make_bleu.py; sentences end with -1 */')
    scores = []
    for k, (n, keep, cut) in enumerate([(40, 0.85, 0.0), (40, 0.6, 0.5), (6, 0.12, 0.0), (25, 1.0, 0.0)]):
        hyps, refs = corpus(100 + k, n, keep, cut)
        got = [sacrebleu.corpus_bleu([text(h) for h in hyps], [[text(r) for r in refs]], tokenize='none', smooth_method=s,
                                     force=True).score for s in ('none', 'exp')]
        assert abs(got[0] - by_hand(hyps, refs)) < 1e-9, (got, by_hand(hyps, refs))
        flat('bleu_hyp%d' % k, hyps)
        flat('bleu_ref%d' % k, refs)
        scores.append(got)
    print('static const int16_t *const bleu_hyp[] = {bleu_hyp0, bleu_hyp1, bleu_hyp2, bleu_hyp3};')
    print('static const int16_t *const bleu_ref[] = {bleu_ref0, bleu_ref1, bleu_ref2, bleu_ref3};')
    print('static const int bleu_count[] = {40, 40, 6, 25};')
    wrap('static const double bleu_want[][2] = {%s}; /* none, exp */' % ', '.join('{%.12g, %.12g}' % tuple(s) for s in scores))


main()
