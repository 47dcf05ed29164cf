#!/usr/bin/env python3
"""Weights both ways between ipr.h and PyTorch, full width: our file into load_state_dict(strict=True), a state_dict
(with its counters) into ipr_params_load; the same tensors in the same order; the same logits each time. With
torchvision installed, its own resnet18, resnet50, vgg16_bn and vgg16 at 224 pixels too.

usage: python3 tests/golden/exchange_cnn.py [WORD]     (from the top folder; needs torch, numpy, cc; a few minutes)
"""
import json
import os
import subprocess
import sys
import numpy as np
import torch
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cnn_nets import Net, tensors, values

OUT = 'build/exchange'
ARCH = ['lenet', 'keynet-lenet', 'keynet-cnn', 'alexnet', 'vgg16', 'resnet9', 'resnet18', 'resnet50']
NORM = ['', 'batch', 'group', 'none', 'instance']


def write(path, state):
    head, data = {}, b''
    for n, t in state.items():
        raw = t.detach().contiguous().numpy().tobytes()
        head[n] = {'dtype': 'I64' if t.dtype == torch.int64 else 'F32', 'shape': list(t.shape),
                   'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    with open(path, 'wb') as f:
        f.write(len(text).to_bytes(8, 'little') + text + data)


def read(path):
    raw = open(path, 'rb').read()
    n = int.from_bytes(raw[:8], 'little')
    head = json.loads(raw[8:8 + n])
    return {k: torch.tensor(np.frombuffer(raw, np.float32, (v['data_offsets'][1] - v['data_offsets'][0]) // 4,
                                          8 + n + v['data_offsets'][0]).reshape(v['shape']))
            for k, v in head.items() if k != '__metadata__'}


def ours(what, path, arch, classes, imagenet, scale, norm, ra, images):
    args = [OUT + '/exchange_cnn', what, path, ARCH.index(arch) + 1, classes, imagenet, scale, NORM.index(norm), ra, images]
    r = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, check=True)
    return torch.tensor([float(v) for v in r.stdout.split()]).reshape(images, classes)


def apart(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def exchange(label, m, arch, classes=10, imagenet=0, scale=1, norm='batch', ra=0, size=32, channels=3, images=4):
    x = (values(1000, images * channels * size * size).reshape(images, channels, size, size) * 2).float()
    path = OUT + '/weights.safetensors'
    m = m.float().eval()
    a = ours('save', path, arch, classes, imagenet, scale, norm, ra, images)
    state = read(path)
    names = [n for n, t in tensors(m)]
    assert sorted(names) == sorted(state), set(names) ^ set(state)
    m.load_state_dict(state, strict=True)
    with torch.no_grad():
        e1 = apart(a, m(x))
        for n, t in tensors(m):         # other weights, other statistics
            t += 0.01 * torch.rand_like(t) if t.dim() == 1 else torch.randn_like(t) * t.std() * 0.3
        b = m(x)
    write(path, m.state_dict())
    e2 = apart(ours('load', path, arch, classes, imagenet, scale, norm, ra, images), b)
    print('%-30s %4d tensors, %10d parameters; ours in PyTorch: %.1e, PyTorch\'s in ours: %.1e of the largest logit'
          % (label, len(names), sum(p.numel() for p in m.parameters()), e1, e2), flush=True)
    assert e1 < 1e-5 and e2 < 1e-5


os.makedirs(OUT, exist_ok=True)
subprocess.run(['cc', '-O2', '-I.', '-ffp-contract=off', 'tests/golden/exchange_cnn.c', '-o', OUT + '/exchange_cnn'], check=True)
torch.manual_seed(1)
word = sys.argv[1] if len(sys.argv) > 1 else ''
for label, arch, o in (
        ('LeNet', 'lenet', dict(channels=1, size=28, norm='none')), ('KeyNet LeNet', 'keynet-lenet', dict(classes=5, size=28)),
        ('KeyNet CNN', 'keynet-cnn', dict(classes=5, size=28)), ('AlexNet', 'alexnet', {}),
        ('AlexNet, groups', 'alexnet', dict(norm='group')), ('AlexNet, no norm', 'alexnet', dict(norm='none')),
        ('VGG16', 'vgg16', {}), ('ResNet-9', 'resnet9', {}), ('ResNet-18', 'resnet18', {}),
        ('ResNet-18, more ReLUs', 'resnet18', dict(ra=1)), ('ResNet-18, half', 'resnet18', dict(scale=0.5, norm='group')),
        ('ResNet-50', 'resnet50', {})):
    o.setdefault('classes', 10)
    if word in label:
        exchange(label, Net(arch, **o), arch, **o)
try:
    from torchvision import models
except ImportError:
    sys.exit('torchvision is not installed: its own networks were not tried')
for label, make, arch, norm in (('torchvision resnet18', models.resnet18, 'resnet18', 'batch'),
                                ('torchvision resnet50', models.resnet50, 'resnet50', 'batch'),
                                ('torchvision vgg16_bn', models.vgg16_bn, 'vgg16', 'batch'),
                                ('torchvision vgg16', models.vgg16, 'vgg16', 'none')):
    if word in label:
        exchange(label, make(), arch, 1000, 1, 1, norm, 0, 224, 3, 2)
