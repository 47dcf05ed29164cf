#!/usr/bin/env python3
"""Writes cnn.h: what PyTorch computes for the networks of ipr_cnn_new, for tests/test_cnn.c.

usage: python3 make_cnn.py > cnn.h      (needs torch and numpy; last made with torch 1.13)

Weights, images and projections come from the integer formula of cnn_nets.py, so only results stand in the file.
PyTorch computes in double.
"""
import copy
import sys
import torch
import torch.nn.functional as F
from cnn_nets import Net, fill, tensors, values

# 2: gradients without training: statistics of few values in 50 layers blow rounding up
CASES = (   # name, arch, options, train
    ('lenet', 'lenet', dict(classes=10, channels=1, size=28, norm='none'), 1),
    ('keynet_lenet', 'keynet-lenet', dict(classes=5, size=28), 1),
    ('keynet_cnn', 'keynet-cnn', dict(classes=5, size=28, scale=0.125), 1),
    ('alexnet', 'alexnet', dict(classes=10, scale=0.125), 1),
    ('alexnet_group', 'alexnet', dict(classes=10, scale=0.125, norm='group', gc=4), 1),
    ('alexnet_instance', 'alexnet', dict(classes=10, scale=0.125, norm='instance'), 1),
    ('vgg16', 'vgg16', dict(classes=10, scale=0.125), 1),
    ('vgg16_none', 'vgg16', dict(classes=10, scale=0.125, norm='none'), 1),
    ('resnet9_group', 'resnet9', dict(classes=10, scale=0.125, norm='group', gc=8), 1),
    ('resnet18', 'resnet18', dict(classes=10, scale=0.125), 1),
    ('resnet18_relu', 'resnet18', dict(classes=10, scale=0.125, ra=1), 1),
    ('resnet50', 'resnet50', dict(classes=10, scale=0.125), 2),
    ('resnet18_imagenet', 'resnet18', dict(classes=12, size=64, scale=0.125, imagenet=1), 1),
    ('vgg16_imagenet', 'vgg16', dict(classes=12, size=64, scale=0.125, imagenet=1), 0),
)
B, LR, IMAGES, PROJECT = 4, 0.05, 1000, 2000
OUT = []


def emit(name, v):
    items = ['%.10g' % x for x in v]
    lines, cur = [], ''
    for it in items:
        if len(cur) + len(it) + 1 > 118:
            lines.append(cur)
            cur = ''
        cur += it + ','
    OUT.append('static const double g_cnn_%s[%d] = {\n%s\n};' % (name, len(items), '\n'.join(lines + [cur])))


def summary(k, t):
    """projection on the formula's numbers of its stream, and 2-norm"""
    t = t.detach().reshape(-1)
    return [(t * values(PROJECT + k, t.numel())).sum().item(), t.norm().item()]


def gradients(m, x, y):
    m.zero_grad()
    F.cross_entropy(m(x), y).backward()
    return [(t, t.grad.double()) for n, t in tensors(m) if t.grad is not None]


def calm(m, x, y):
    """Do float and noise of float's size leave every ReLU and every maximum where it is?"""
    want = [g.clone() for t, g in gradients(m, x, y)]
    big = max(g.norm().item() for g in want)
    far = lambda got: max(((g - w).norm() / max(w.norm().item(), 1e-2 * big)).item() for (t, g), w in zip(got, want))
    noise = lambda t, k: t * (1 + 1e-6 * values(5000 + k, t.numel()).reshape(t.shape))
    worst = far(gradients(copy.deepcopy(m).float(), x.float(), y))
    for k in range(3):
        worst = max(worst, far(gradients(copy.deepcopy(m), noise(x, k), y)))
    return worst < 5e-5


for name, arch, o, train in CASES:
    size, channels = o.get('size', 32), o.get('channels', 3)
    y = torch.tensor([(7 * i + 3) % o['classes'] for i in range(B)])
    for stream in range(IMAGES, IMAGES + 500):
        x = values(stream, B * channels * size * size).reshape(B, channels, size, size) * 2
        m = fill(Net(arch, **o).double())
        m.train(train == 1)
        if calm(copy.deepcopy(m), x, y):
            break
    sys.stderr.write('%s: images of stream %d\n' % (name, stream))
    m.eval()
    OUT.append('\n/* %s: %s */' % (arch, ', '.join('%s %s' % v for v in o.items())))
    OUT.append('enum { g_cnn_%s_images = %d };' % (name, stream))
    emit(name + '_eval', m(x).reshape(-1).tolist())
    m.train(train == 1)
    x.requires_grad_(True)
    z = m(x)
    loss = F.cross_entropy(z, y)
    loss.backward()
    emit(name + '_train', z.reshape(-1).tolist() + [loss.item()])
    grads = []
    for k, (n, t) in enumerate(tensors(m)):
        if t.grad is not None:
            grads += summary(k, t.grad)
    emit(name + '_grads', grads + summary(999, x.grad))
    if not train:
        continue
    torch.optim.SGD(m.parameters(), lr=LR).step()
    m.train()
    m(x)
    m.eval()
    emit(name + '_after', m(x).reshape(-1).tolist())
    stats = []
    for k, (n, t) in enumerate(tensors(m)):
        if 'running' in n:
            stats += summary(k, t)
    if stats:
        emit(name + '_stats', stats)

# Full width: what a state_dict holds (tensors without counters), its parameters, and a hash of names and shapes.
FULL = (('lenet', dict(classes=10, channels=1, size=28, norm='none')), ('keynet-lenet', dict(classes=5, size=28)),
        ('keynet-cnn', dict(classes=5, size=28)), ('alexnet', dict(classes=10)), ('vgg16', dict(classes=10)),
        ('vgg16', dict(classes=10, norm='none')), ('resnet9', dict(classes=10)), ('resnet18', dict(classes=100)),
        ('resnet50', dict(classes=10)), ('resnet18', dict(classes=1000, size=224, imagenet=1)),
        ('resnet50', dict(classes=1000, size=224, imagenet=1)))


def fnv(text):
    h = 2166136261
    for ch in text.encode():
        h = (h ^ ch) * 16777619 & 0xffffffff
    return h


OUT.append('\n/* full width: tensors, parameters, FNV-1a of "name:shape\\n" of every tensor */')
OUT.append('static const unsigned long g_cnn_full[%d][3] = {' % len(FULL))
for arch, o in FULL:
    m = Net(arch, **o)
    t = tensors(m)
    text = ''.join('%s:%s\n' % (n, 'x'.join(str(d) for d in v.shape)) for n, v in t)
    OUT.append('{ %d, %d, 0x%08xul },    /* %s %s */' %
               (len(t), sum(p.numel() for p in m.parameters()), fnv(text), arch, o))
OUT.append('};')

print('/* Made by make_cnn.py with PyTorch %s; do not edit. B = %d, one step of SGD with rate %g between.\n'
      '   *_images: stream of the images, the first where rounding moves no ReLU and no maximum;\n'
      '   eval: logits; train: logits and loss in training; grads, stats (after two forwards): projection and norm of\n'
      '   every tensor, grads of the images last; after: logits in the end. */' % (torch.__version__.split('a')[0], B, LR))
print('enum { g_cnn_B = %d, g_cnn_project = %d };' % (B, PROJECT))
print('\n'.join(OUT))
