#!/usr/bin/env python3
"""Writes norms.h: what PyTorch computes for norms and pooling, for tests/test_norm.c.

usage: python3 make_norms.py > norms.h      (needs torch and numpy; last made with torch 1.13)

Inputs are made by formula here and in the test, value(i, s) = ((7919 i + 104729 s) mod 257 - 128) / 64, exact in float;
max pooling takes them rounded down, so that the rule for ties shows. PyTorch computes in double.
"""
import sys
import numpy as np
import torch
import torch.nn.functional as F

OUT = []


def value(shape, stream):
    n = int(np.prod(shape))
    i = np.arange(n, dtype=np.int64)
    a = ((7919 * i + 104729 * stream) % 257 - 128) / 64.0
    return torch.tensor(a.reshape(shape), dtype=torch.float64)


def emit(name, t):
    items = ['%.11g' % v for v in t.detach().numpy().reshape(-1)]
    lines, cur = [], ''
    for it in items:
        if len(cur) + len(it) + 1 > 118:
            lines.append(cur)
            cur = ''
        cur += it + ','
    lines.append(cur)
    OUT.append('static const double g_%s[%d] = {\n%s\n};' % (name, len(items), '\n'.join(lines)))


def case(name, shape, f, scale=None):
    """y, dx, dw, db for the upstream gradient value(.., 4); w, b of the given shape, streams 2 and 3"""
    x = value(shape, 1)
    x = (x.floor() if name.startswith('max') else x).requires_grad_(True)
    w = b = None
    if scale is not None:
        w, b = value(scale, 2).requires_grad_(True), value(scale, 3).requires_grad_(True)
    y = f(x, w, b)
    y.backward(value(y.shape, 4))
    emit(name + '_y', y), emit(name + '_dx', x.grad)
    if w is not None:
        emit(name + '_dw', w.grad), emit(name + '_db', b.grad)


def relu(f):
    return lambda *a: F.relu(f(*a))


def bn(x, w, b):
    return F.batch_norm(x, None, None, w, b, True)


case('bn', (3, 2, 3, 2), bn, (2,))
case('bn_relu', (3, 2, 3, 2), relu(bn), (2,))
case('bn_bare', (6, 3), bn)
case('bn_eps', (2, 3, 5), relu(lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=0.5)), (3,))
case('gn', (2, 6, 2, 2), lambda x, w, b: F.group_norm(x, 3, w, b), (6,))
case('gn_relu', (2, 6, 2, 2), relu(lambda x, w, b: F.group_norm(x, 2, w, b)), (6,))
case('in_bare', (2, 3, 5), lambda x, w, b: F.instance_norm(x))
case('gn_flat', (3, 6), relu(lambda x, w, b: F.group_norm(x, 2, w, b)), (6,))
case('ln', (3, 2, 4), lambda x, w, b: F.layer_norm(x, (4,), w, b), (4,))
case('ln_relu', (3, 2, 4), relu(lambda x, w, b: F.layer_norm(x, (2, 4), w, b)), (2, 4))
case('ln_bare', (2, 5), lambda x, w, b: F.layer_norm(x, (5,)))

# three training steps with running statistics, then evaluation
m = torch.nn.BatchNorm2d(3, momentum=0.3).double()
with torch.no_grad():
    m.weight.copy_(value((3,), 2)), m.bias.copy_(value((3,), 3))
for step in range(3):
    m(value((2, 3, 2, 2), 10 + step))
    emit('run_mean%d' % step, m.running_mean), emit('run_var%d' % step, m.running_var)
m.eval()
x = value((2, 3, 2, 2), 1).requires_grad_(True)
m.zero_grad()
y = F.relu(m(x))
y.backward(value(y.shape, 4))
emit('eval_y', y), emit('eval_dx', x.grad), emit('eval_dw', m.weight.grad), emit('eval_db', m.bias.grad)

S = (1, 2, 7, 5)
case('max22', S, lambda x, w, b: F.max_pool2d(x, 2))
case('max321', S, lambda x, w, b: F.max_pool2d(x, 3, 2, 1))
case('max_odd', S, lambda x, w, b: F.max_pool2d(x, (3, 2), (1, 2), (1, 0)))
case('avg22', S, lambda x, w, b: F.avg_pool2d(x, 2))
case('avg_pad', S, lambda x, w, b: F.avg_pool2d(x, 3, 2, 1, count_include_pad=True))
case('avg_nopad', S, lambda x, w, b: F.avg_pool2d(x, (3, 4), (2, 1), (1, 2), count_include_pad=False))
case('ada11', S, lambda x, w, b: F.adaptive_avg_pool2d(x, 1))
case('ada32', S, lambda x, w, b: F.adaptive_avg_pool2d(x, (3, 2)))
case('ada75', S, lambda x, w, b: F.adaptive_avg_pool2d(x, (9, 5)))

sys.stdout.write('/* Made by make_norms.py with PyTorch %s; do not edit. */\n' % torch.__version__.split('a')[0])
sys.stdout.write('\n'.join(OUT) + '\n')
