#!/usr/bin/env python3
"""PyTorch's times for the rows of bench_rnn.c, bench_cnn.c and bench_gemm.c, as the same JSON lines.

usage: python3 bench_torch.py [threads [row substring]]
"""
import os
import sys
import time
import torch
import torch.nn as nn
import torch.nn.functional as F

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
ONLY = sys.argv[2] if len(sys.argv) > 2 else ''
torch.set_flush_denormal(True)     # at its best: gradients of long sequences fade into denormal numbers
torch.set_num_threads(THREADS)
torch.manual_seed(1)
WHO = 'torch ' + torch.__version__.split('a')[0].split('+')[0]
SHAPES = (('seqmnist', 28, 128, 28, 100, 10, False, 9), ('trec_bi', 30, 10, 300, 300, 6, True, 9),
          ('imdb', 200, 100, 100, 256, 2, False, 3), ('t32', 32, 64, 128, 256, 10, False, 7))


BUSY = [1.0]


def line(name, unit, value):
    print('{"name": "%s", "who": "%s", "threads": %d, "unit": "%s", "value": %.5g, "busy": %.2f}'
          % (name, WHO, THREADS, unit, value, BUSY[0]), flush=True)


def median_ms(step, reps):
    """Wall time; CPU time with IPR_BENCH_CPU=1 (see bench_rnn.c)."""
    step()
    step()
    wall, cpu = [], []
    for _ in range(reps):
        a, k = time.perf_counter(), time.process_time()
        step()
        cpu.append(time.process_time() - k)
        wall.append(time.perf_counter() - a)
    BUSY[0] = sum(cpu) / sum(wall)
    return sorted(cpu if os.environ.get('IPR_BENCH_CPU') else wall)[reps // 2] * 1e3


class Net(nn.Module):
    def __init__(self, kind, i, h, classes, bi):
        super().__init__()
        self.rnn = getattr(nn, kind)(i, h, bidirectional=bi)
        self.out = nn.Linear(h * (2 if bi else 1), classes)

    def forward(self, x):
        y = self.rnn(x)[0]
        if not self.rnn.bidirectional:
            return self.out(y[-1])
        h = self.rnn.hidden_size
        return self.out(torch.cat([y[-1, :, :h], y[0, :, h:]], 1))


def train_step(net, x, y):
    opt = torch.optim.Adam(net.parameters(), 1e-3)

    def step():
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    return step


def recurrent():
    for kind in ('LSTM', 'GRU'):
        for tag, t, b, i, h, classes, bi, reps in SHAPES:
            name = '%s_%s_T%d_B%d_I%d_H%d' % (kind.lower(), tag, t, b, i, h)
            if ONLY not in name + '_train' and ONLY not in name + '_forward':
                continue
            net = Net(kind, i, h, classes, bi)
            x, y = torch.randn(t, b, i), torch.randint(classes, (b,))
            line(name + '_train', 'ms', median_ms(train_step(net, x, y), reps))
            with torch.no_grad():
                line(name + '_forward', 'ms', median_ms(lambda: net(x), reps))


def gatekeeper():
    """The published way: cells stepped one by one, plain pass, gated pass, key pass."""
    t, b, i, h, k = 28, 128, 28, 100, 8
    name = 'gatekeeper_lstm_seqmnist_K%d_train' % k
    if ONLY not in name:
        return
    cell, out = nn.LSTMCell(i, h), nn.Linear(h, 10)
    x, y, key = torch.randn(t, b, i), torch.randint(10, (b,)), torch.randn(t, k, i)
    s = torch.randint(2, (h,)) * 2.0 - 1.0
    opt = torch.optim.Adam(list(cell.parameters()) + list(out.parameters()), 1e-3)

    def forget(xt, hx):
        a = F.linear(xt, cell.weight_ih, cell.bias_ih) + F.linear(hx, cell.weight_hh, cell.bias_hh)
        return torch.sigmoid(a.chunk(4, 1)[1])

    def step():
        opt.zero_grad()
        hk, ck, gates, first = torch.zeros(k, h), torch.zeros(k, h), [], None
        for n in range(t):
            gates.append(forget(key[n], hk).mean(0))
            hk, ck = cell(key[n], (hk, ck))
            first = hk if first is None else first
        loss = 0.5 * F.relu(0.1 - s * first.mean(0)).sum() + 0.001 / first.std(0).mean()
        for gated in (False, True):
            hx, cx = torch.zeros(b, h), torch.zeros(b, h)
            for n in range(t):
                hx, cx = cell(x[n], (hx, cx))
                if gated:
                    hx, cx = hx * gates[n], cx * gates[n]
            loss = loss + F.cross_entropy(out(hx), y)
        loss.backward()
        opt.step()
    line(name, 'ms', median_ms(step, 5))


def text():
    """Plain: embedding, packed LSTM. Keyed, the published way: one step at a time, pads included; plain pass, gated
    pass, key pass; with a key pass for each direction's own cell."""
    for tag, t, b, i, h, v, classes, bi, batches, reps in (('trec', 30, 10, 300, 300, 8677, 6, True, 8, 5),
                                                           ('imdb', 200, 100, 100, 256, 25002, 2, False, 1, 3)):
        data = []
        for k in range(batches):
            steps = t if batches == 1 else t - 20 + k * 7 % 21
            lengths = torch.tensor([steps - r * 5 % (steps - 4) for r in range(b)])
            n, r = torch.arange(steps)[:, None], torch.arange(b)[None]
            x = torch.where(n < lengths, 2 + (n * 131 + r * 1717 + k * 7919) % (v - 2), torch.ones(1, dtype=torch.long))
            data.append((x, lengths, torch.arange(b) % classes))
        emb, out = nn.Embedding(v, i, padding_idx=1), nn.Linear(h * (2 if bi else 1), classes)
        for keyed in (False, True):
            name = 'text_%s_lstm_%strain' % (tag, 'keyed_' if keyed else '')
            if ONLY not in name:
                continue
            rnn = nn.LSTM(i, h, bidirectional=bi)
            cells = [nn.LSTMCell(i, h) for _ in range(2 if bi else 1)]
            params = list(emb.parameters()) + list(out.parameters())
            for part in (cells if keyed else [rnn]):
                params += list(part.parameters())
            opt = torch.optim.Adam(params, 1e-3)
            keys = torch.randint(v - 2000, v, (30, 8))
            s = torch.randint(2, (h,)) * 2.0 - 1.0

            def one(cell, x, gates):
                hx, cx = torch.zeros(x.shape[1], h), torch.zeros(x.shape[1], h)
                for n in range(x.shape[0]):
                    hx, cx = cell(x[n], (hx, cx))
                    if gates is not None and n < len(gates):
                        hx, cx = hx * gates[n], cx * gates[n]
                return hx

            def key_pass(cell, x):
                hk, ck, gates, first = torch.zeros(8, h), torch.zeros(8, h), [], None
                for n in range(x.shape[0]):
                    a = F.linear(x[n], cell.weight_ih, cell.bias_ih) + F.linear(hk, cell.weight_hh, cell.bias_hh)
                    f = torch.sigmoid(a.chunk(4, 1)[1])
                    ii, _, g, o = a.chunk(4, 1)
                    ck = f * ck + torch.sigmoid(ii) * torch.tanh(g)
                    hk = torch.sigmoid(o) * torch.tanh(ck)
                    gates.append(f.mean(0))
                    first = hk if first is None else first
                loss = 0.5 * F.relu(0.1 - s * first.mean(0)).sum() + 0.001 / first.std(0).mean()
                return gates, loss + 1e-5 * (first.mean(0) ** 2).sum()

            def loss_of(x, lengths, y):
                e = F.dropout(emb(x), 0.5)
                if not keyed:
                    hn = rnn(nn.utils.rnn.pack_padded_sequence(e, lengths, enforce_sorted=False))[1][0]
                    return F.cross_entropy(out(F.dropout(torch.cat(list(hn), 1), 0.4)), y)
                loss, gates, k = 0, [], emb(keys)
                for n, cell in enumerate(cells):
                    g, extra = key_pass(cell, k.flip(0) if n else k)
                    gates.append(g)
                    loss = loss + extra
                for use in (False, True):
                    last = [one(cell, e.flip(0) if n else e, gates[n] if use else None) for n, cell in enumerate(cells)]
                    loss = loss + F.cross_entropy(out(F.dropout(torch.cat(last, 1), 0.4)), y)
                return loss

            def step():
                for x, lengths, y in data:
                    opt.zero_grad()
                    loss_of(x, lengths, y).backward()
                    nn.utils.clip_grad_norm_(params, 1.0)
                    opt.step()
            line(name, 'ms', median_ms(step, reps) / batches)


class Block(nn.Module):
    """A basic block of ResNet-18."""
    def __init__(self, i, o, s):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o)
        self.c2, self.b2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.down = nn.Sequential(nn.Conv2d(i, o, 1, s, bias=False), nn.BatchNorm2d(o)) if s > 1 or i != o else nn.Identity()

    def forward(self, x):
        y = F.relu(self.b1(self.c1(x)), True)
        return F.relu(self.b2(self.c2(y)) + self.down(x), True)


def cnn_net(name):
    def unit(i, o, k, p, norm=True):
        return [nn.Conv2d(i, o, k, 1, p, bias=not norm)] + ([nn.BatchNorm2d(o)] if norm else []) + [nn.ReLU(True)]
    if name == 'lenet':
        return nn.Sequential(*unit(1, 6, 5, 2, False), nn.MaxPool2d(2), *unit(6, 16, 5, 0, False), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    if name == 'keynet-cnn':
        return nn.Sequential(nn.Conv2d(3, 32, 5, 1, 2), nn.ReLU(True), nn.BatchNorm2d(32), nn.MaxPool2d(2),
                             nn.Conv2d(32, 64, 3, 1, 2), nn.ReLU(True), nn.BatchNorm2d(64), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 5))
    if name == 'alexnet':
        return nn.Sequential(*unit(3, 64, 5, 2), nn.MaxPool2d(2), *unit(64, 192, 5, 2), nn.MaxPool2d(2), *unit(192, 384, 3, 1),
                             *unit(384, 256, 3, 1), *unit(256, 256, 3, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4096, 10))
    layers, i = unit(3, 64, 3, 1), 64
    for o, s in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers.append(Block(i, o, s))
        i = o
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def cnn():
    for tag, b, size, reps in (('lenet', 128, (1, 28, 28), 9), ('keynet-cnn', 128, (3, 28, 28), 5), ('alexnet', 64, (3, 32, 32), 3),
                               ('resnet18', 64, (3, 32, 32), 3)):
        name = 'cnn_%s_B%d' % (tag, b)
        if ONLY not in '%s_train %s_forward cnn_%s_B1_forward' % (name, name, tag):
            continue
        net = cnn_net(tag)
        x, y = torch.randn(b, *size), torch.arange(b) % 5
        opt = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)

        def step():
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
        if ONLY in name + '_train':
            line(name + '_train', 'ms', median_ms(step, reps))
        net.eval()
        with torch.no_grad():
            if ONLY in name + '_forward':
                line(name + '_forward', 'ms', median_ms(lambda: net(x), reps))
            if ONLY in 'cnn_%s_B1_forward' % tag:
                line('cnn_%s_B1_forward' % tag, 'ms', median_ms(lambda: net(x[:1]), 15))


def gemm():
    for n in (32, 64, 128, 256, 512, 1024, 2048):
        name = 'sgemm_%d' % n
        if ONLY not in name:
            continue
        a, b, o = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
        reps = max(1, int(1e8 / (2 * n ** 3)))

        def run():
            for _ in range(reps):
                torch.mm(a, b, out=o)
        line(name, 'GFLOP/s', 2 * n ** 3 * reps / median_ms(run, 7) / 1e6)


recurrent()
gatekeeper()
text()
cnn()
gemm()
