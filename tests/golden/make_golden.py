#!/usr/bin/env python3
"""Writes golden.h: what PyTorch computes, for tests/test_golden.c.

usage: python3 make_golden.py > golden.h      (needs torch and numpy; last made with torch 1.13)

Inputs are multiples of 1/64, exact in float and double and short in print. PyTorch computes in double, so the
figures are good for float and double builds of ipr.h. Every random draw comes from numpy's legacy generator
with a fixed seed, whose stream does not change between versions.
"""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

RNG = np.random.RandomState(20240601)
OUT = []


def draw(*shape, scale=1.0):
    a = np.round(RNG.standard_normal(shape) * scale * 64) / 64
    return torch.tensor(a, dtype=torch.float64)


def leaf(*shape, scale=1.0):
    return draw(*shape, scale=scale).requires_grad_(True)


def text(v):
    s = '%.11g' % v
    return s


def emit(name, t):
    a = t.detach().numpy() if torch.is_tensor(t) else np.asarray(t)
    a = a.reshape(-1)
    if a.dtype.kind in 'iu':
        kind, items = 'int', ['%d' % v for v in a]
    else:
        kind, items = 'double', [text(v) for v in a.astype(np.float64)]
    lines, cur = [], ''
    for it in items:
        if len(cur) + len(it) + 1 > 118:
            lines.append(cur)
            cur = ''
        cur += it + ','
    lines.append(cur)
    OUT.append('static const %s g_%s[%d] = {\n%s\n};' % (kind, name, len(items), '\n'.join(lines)))


def size(name, v):
    OUT.append('enum { g_%s = %d };' % (name, v))


def note(s):
    OUT.append('\n/* %s */' % s)


# ---- LSTM, GRU: one layer, both biases, given initial state --------------------------------------
T, B, I, H = 5, 3, 4, 6


def recurrent(kind):
    g = 4 if kind == 'lstm' else 3
    m = (nn.LSTM if kind == 'lstm' else nn.GRU)(I, H).double()
    with torch.no_grad():
        for p in m.parameters():
            p.copy_(draw(*p.shape, scale=0.4))
    assert m.weight_ih_l0.shape == (g * H, I)
    return m


def golden_recurrent(kind, m):
    note('%s: T=%d B=%d I=%d H=%d; d_* are gradients for the upstream gradients gy, ghn%s'
         % (kind.upper(), T, B, I, H, ', gcn' if kind == 'lstm' else ''))
    x, h0, c0 = leaf(T, B, I), leaf(1, B, H, scale=0.5), leaf(1, B, H, scale=0.5)
    gy, ghn, gcn = draw(T, B, H), draw(1, B, H), draw(1, B, H)
    if kind == 'lstm':
        y, (hn, cn) = m(x, (h0, c0))
        loss = (y * gy).sum() + (hn * ghn).sum() + (cn * gcn).sum()
    else:
        y, hn = m(x, h0)
        loss = (y * gy).sum() + (hn * ghn).sum()
    loss.backward()
    k = kind + '_'
    for n, v in (('x', x), ('h0', h0), ('w_ih', m.weight_ih_l0), ('w_hh', m.weight_hh_l0),
                 ('b_ih', m.bias_ih_l0), ('b_hh', m.bias_hh_l0)):
        emit(k + n, v)
        emit(k + 'd_' + n, v.grad)
    emit(k + 'gy', gy), emit(k + 'ghn', ghn), emit(k + 'y', y), emit(k + 'hn', hn)
    if kind == 'lstm':
        emit(k + 'c0', c0), emit(k + 'd_c0', c0.grad), emit(k + 'gcn', gcn), emit(k + 'cn', cn)


# ---- Gatekeeper: the same weights, K keys, the gates of the published cell loop ------------------
K, ALPHA, GAMMA, STD_ALPHA, REG = 3, 0.5, 0.1, 0.001, 1e-5


def cell(kind, m, x, h, c):
    """One step; returns h, c and the gate activation (LSTM forget, GRU reset)."""
    a = x @ m.weight_ih_l0.t() + m.bias_ih_l0
    b = h @ m.weight_hh_l0.t() + m.bias_hh_l0
    if kind == 'lstm':
        i, f, g, o = (a + b).chunk(4, -1)
        f = torch.sigmoid(f)
        c = f * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c, f
    ar, az, an = a.chunk(3, -1)
    br, bz, bn = b.chunk(3, -1)
    r, z = torch.sigmoid(ar + br), torch.sigmoid(az + bz)
    n = torch.tanh(an + r * bn)
    return (1 - z) * n + z * h, c, r


def key_pass(kind, m, key):
    """key [K,Tk,I] -> gates [Tk,H] (mean over keys), first hidden state of every key [K,H]"""
    h = torch.zeros(K, H, dtype=torch.float64)
    c = torch.zeros(K, H, dtype=torch.float64)
    gates, first = [], None
    for t in range(key.shape[1]):
        h, c, f = cell(kind, m, key[:, t], h, c)
        gates.append(f.mean(0))
        if first is None:
            first = h
    return torch.stack(gates), first


def gated(kind, m, x, gate):
    """returns h before the gate [T,B,H], after it [T,B,H], final h, c"""
    h = torch.zeros(x.shape[1], H, dtype=torch.float64)
    c = torch.zeros(x.shape[1], H, dtype=torch.float64)
    raw, out = [], []
    for t in range(x.shape[0]):
        h, c, _ = cell(kind, m, x[t], h, c)
        raw.append(h)
        if t < gate.shape[0]:
            h, c = h * gate[t], c * gate[t]
        out.append(h)
    return torch.stack(raw), torch.stack(out), h, c


def sign_loss(first, s):
    hbar = first.mean(0)
    return (ALPHA * F.relu(GAMMA - s * hbar).sum() + STD_ALPHA / first.std(0).mean() + REG * (hbar ** 2).sum())


def golden_gatekeeper(kind, m, tx, tk):
    k = 'gate_%s_%s_' % (kind, 'long' if tx > tk else 'short')
    note('Gatekeeper %s: T=%d Tk=%d K=%d; loss_h = sum(ghn hn) + sign loss (alpha %g, gamma %g, std alpha %g, '
         'reg %g), d_* its gradients;\n   loss_y = sum(gy raw), e_* its gradients (raw: h before the gate; '
         'out: after it)' % (kind.upper(), tx, tk, K, ALPHA, GAMMA, STD_ALPHA, REG))
    x, key = leaf(tx, B, I), leaf(K, tk, I)
    s = torch.tensor(RNG.randint(0, 2, H) * 2 - 1, dtype=torch.float64)
    ghn, gy = draw(B, H), draw(tx, B, H)
    par = [('w_ih', m.weight_ih_l0), ('w_hh', m.weight_hh_l0), ('b_ih', m.bias_ih_l0), ('b_hh', m.bias_hh_l0),
           ('x', x), ('key', key)]

    def forward():
        m.zero_grad()
        x.grad = key.grad = None
        gate, first = key_pass(kind, m, key)
        return gate, first, gated(kind, m, x, gate)

    gate, first, (raw, out, hn, cn) = forward()
    sl = sign_loss(first, s)
    loss = (hn * ghn).sum() + sl
    loss.backward()
    emit(k + 'x', x), emit(k + 'key', key), emit(k + 's', s), emit(k + 'ghn', ghn), emit(k + 'gy', gy)
    emit(k + 'gate', gate), emit(k + 'first', first), emit(k + 'raw', raw), emit(k + 'out', out)
    emit(k + 'cn', cn), emit(k + 'sign', sl), emit(k + 'loss_h', loss)
    for n, v in par:
        emit(k + 'd_' + n, v.grad if v.grad is not None else torch.zeros_like(v))
    gate, first, (raw, out, hn, cn) = forward()
    loss = (raw * gy).sum()
    loss.backward()
    emit(k + 'loss_y', loss)
    for n, v in par:
        emit(k + 'e_' + n, v.grad if v.grad is not None else torch.zeros_like(v))


size('T', T), size('B', B), size('I', I), size('H', H), size('K', K)
for kind in ('lstm', 'gru'):
    m = recurrent(kind)
    golden_recurrent(kind, m)
    golden_gatekeeper(kind, m, 6, 4)
    golden_gatekeeper(kind, m, 4, 6)


# ---- ops and losses -----------------------------------------------------------------------------
def op(name, y, ins, gy=None):
    for _, v in ins:
        v.grad = None
    (y if gy is None else (y * gy).sum()).backward()
    emit(name + '_y', y)
    if gy is not None:
        emit(name + '_gy', gy)
    for n, v in ins:
        emit(name + '_' + n, v)
        emit(name + '_d_' + n, v.grad)


note('linear: x [5,4], w [3,4], b [3]')
x, w, b = leaf(5, 4), leaf(3, 4), leaf(3)
op('linear', F.linear(x, w, b), (('x', x), ('w', w), ('b', b)), draw(5, 3))

note('embedding: table [7,3], ids [2,4], padding id 1')
table = leaf(7, 3)
ids = torch.tensor([[0, 1, 6, 3], [3, 3, 1, 5]])
emit('embedding_ids', ids)
op('embedding', F.embedding(ids, table, padding_idx=1), (('table', table),), draw(2, 4, 3))

note('losses: logits [6,5]; label -100 is left out')
x = leaf(6, 5, scale=2)
labels = torch.tensor([0, 4, -100, 2, 2, -100])
emit('ce_labels', labels)
op('ce', F.cross_entropy(x, labels), (('x', x),))
lp = leaf(6, 5)
op('nll', F.nll_loss(lp, labels), (('x', lp),))
x = leaf(3, 4, scale=4)
t = torch.tensor(RNG.randint(0, 5, (3, 4)) / 4.0)
emit('bce_t', t)
op('bce', F.binary_cross_entropy_with_logits(x, t), (('x', x),))
a, b = leaf(3, 4), leaf(3, 4)
op('mse', F.mse_loss(a, b), (('a', a), ('b', b)))
s, t = leaf(4, 5, scale=2), draw(4, 5, scale=2)
TEMP = 3.0
emit('kl_t', t)
op('kl', TEMP * TEMP * F.kl_div(F.log_softmax(s / TEMP, 1), F.softmax(t / TEMP, 1), reduction='batchmean'), (('s', s),))
x = leaf(4, 7, scale=3)
op('softmax', F.softmax(x, -1), (('x', x),), draw(4, 7))
x = leaf(4, 7, scale=3)
op('log_softmax', F.log_softmax(x, -1), (('x', x),), draw(4, 7))

# ---- optimisers: ten steps with given gradients, the weights after every step ---------------------
N, STEPS = 5, 10
note('optimisers: %d weights, %d steps; every *_w is [steps][weights]' % (N, STEPS))
w0 = draw(N)
grads = draw(STEPS, N)
emit('opt_w0', w0), emit('opt_grads', grads)
size('opt_n', N), size('opt_steps', STEPS)
for name, make in (
        ('sgd', lambda p: torch.optim.SGD(p, lr=0.1)),
        ('sgd_wd', lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.05)),
        ('momentum', lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ('dampening', lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3)),
        ('nesterov', lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        ('nesterov_wd', lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)),
        ('adam', lambda p: torch.optim.Adam(p, lr=0.02)),
        ('adam_wd', lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.05)),
        ('adamw', lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.05))):
    w = w0.clone().requires_grad_(True)
    o = make([w])
    rows = []
    for k in range(STEPS):
        w.grad = grads[k].clone()
        o.step()
        rows.append(w.detach().clone())
    emit('opt_%s_w' % name, torch.stack(rows))

note('clip_grad_norm_: two tensors of 6 and 4 elements; over the limit 1.5, and under the limit 100')
a, b = leaf(6), leaf(4)
ga, gb = draw(6), draw(4)
emit('clip_ga', ga), emit('clip_gb', gb)
a.grad, b.grad = ga.clone(), gb.clone()
norm = nn.utils.clip_grad_norm_([a, b], 1.5)
emit('clip_norm', norm), emit('clip_out_a', a.grad), emit('clip_out_b', b.grad)

# ---- learning-rate schedules: the rate of epoch 0, 1, ... 19, base rate 0.1 ------------------------
EPOCHS = 20
size('lr_epochs', EPOCHS)
metric = np.array([1.0, .9, .8, .81, .82, .83, .79, .79, .79, .79, .79, .5, .6, .6, .6, .6, .6, .6, .6, .6])
note('learning rates of epochs 0..19 from base 0.1; plateau: factor 0.5, patience 2, threshold 1e-4 relative, fed lr_metric')
emit('lr_metric', metric)
for name, make in (
        ('step', lambda o: torch.optim.lr_scheduler.StepLR(o, 5, 0.1)),
        ('multistep', lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [4, 9, 15], 0.2)),
        ('cosine', lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS, 1e-3)),
        ('plateau', lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=2))):
    o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    sch = make(o)
    rates = []
    for e in range(EPOCHS):
        rates.append(o.param_groups[0]['lr'])
        o.step()
        sch.step(metric[e]) if name == 'plateau' else sch.step()
    emit('lr_' + name, np.array(rates))

# ---- a whole training run ---------------------------------------------------------------------------
note('training: LSTM 8->16 on x [5,6,8], linear 16->4 on the last output, cross-entropy, Adam 0.01, 5 steps;\n'
     '   run_loss before each update; run_p* / run_q*: weights before and after')
lstm, lin = nn.LSTM(8, 16).double(), nn.Linear(16, 4).double()
names = (('w_ih', lstm.weight_ih_l0), ('w_hh', lstm.weight_hh_l0), ('b_ih', lstm.bias_ih_l0),
         ('b_hh', lstm.bias_hh_l0), ('w', lin.weight), ('b', lin.bias))
with torch.no_grad():
    for n, p in names:
        p.copy_(draw(*p.shape, scale=0.25))
for n, p in names:
    emit('run_p_' + n, p)
x, y = draw(5, 6, 8), torch.tensor(RNG.randint(0, 4, 6))
emit('run_x', x), emit('run_labels', y)
o = torch.optim.Adam([p for _, p in names], lr=0.01)
losses = []
for _ in range(5):
    o.zero_grad()
    loss = F.cross_entropy(lin(lstm(x)[0][-1]), y)
    loss.backward()
    o.step()
    losses.append(loss.item())
emit('run_loss', np.array(losses))
for n, p in names:
    emit('run_q_' + n, p)

# ---- stacked, bidirectional, rows of different lengths ------------------------------------------------
SI, SH, SB, ST, LENGTHS = 3, 4, 3, 5, [3, 5, 2]
size('stack_T', ST), size('stack_B', SB), size('stack_I', SI), size('stack_H', SH)
emit('stack_lengths', np.array(LENGTHS))
for kind in ('lstm', 'gru'):
    note('%s, 2 layers, bidirectional, packed: x [%d,%d,%d], lengths %s; y [T,B,2H], last [B,2H] of the top layer;\n'
         '   parameters and d_ gradients one after the other in the order of state_dict' % (kind.upper(), ST, SB, SI, LENGTHS))
    m = (nn.LSTM if kind == 'lstm' else nn.GRU)(SI, SH, num_layers=2, bidirectional=True).double()
    with torch.no_grad():
        for p in m.parameters():
            p.copy_(draw(*p.shape, scale=0.4))
    x, gy, gl = leaf(ST, SB, SI), draw(ST, SB, 2 * SH), draw(SB, 2 * SH)
    pk = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)
    y, h = m(pk)
    y, _ = nn.utils.rnn.pad_packed_sequence(y, total_length=ST)
    h = h[0] if kind == 'lstm' else h
    last = torch.cat([h[2], h[3]], 1)
    ((y * gy).sum() + (last * gl).sum()).backward()
    k = 'stack_%s_' % kind
    emit(k + 'x', x), emit(k + 'gy', gy), emit(k + 'gl', gl), emit(k + 'y', y), emit(k + 'last', last)
    emit(k + 'd_x', x.grad)
    emit(k + 'p', torch.cat([p.reshape(-1) for _, p in m.named_parameters()]))
    emit(k + 'd_p', torch.cat([p.grad.reshape(-1) for _, p in m.named_parameters()]))

sys.stdout.write('/* Made by make_golden.py with PyTorch %s; do not edit. */\n' % torch.__version__.split('a')[0])
sys.stdout.write('\n'.join(OUT) + '\n')
