"""The convolutional networks of ipr.h in PyTorch, with a width knob: for make_cnn.py and exchange_cnn.py.

net(arch, ...) builds one with the same parameter names as ipr_cnn_new; fill(module) gives it weights that both sides
compute by the same integer formula, exact in float and double.
"""
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def width(n, scale, unit=8):
    return n if scale == 1 else max(1, int(n * scale / unit + 0.5)) * unit


class Net(nn.Module):
    """norm: 'batch', 'group', 'instance', 'none'; gc: channels of a group; ra: ReLUs before a block's sum"""

    def __init__(self, arch, classes, channels=3, size=32, scale=1, norm='batch', gc=16, ra=0, imagenet=0):
        super().__init__()
        self.arch, self.ra, self.imagenet, self.kind = arch, ra, imagenet, norm
        self.w = lambda n: width(n, scale, gc if norm == 'group' else 8)

        def make_norm(n):
            return {'batch': lambda: nn.BatchNorm2d(n), 'group': lambda: nn.GroupNorm(n // gc, n),
                    'instance': lambda: nn.InstanceNorm2d(n, affine=True), 'none': nn.Identity}[norm]()
        self.make_norm = make_norm
        getattr(self, 'build_' + arch.replace('-', '_'))(channels, size, classes)

    def conv(self, i, o, k, stride=1, pad=0, bias=False):
        return nn.Conv2d(i, o, k, stride, pad, bias=bias or self.kind == 'none')

    def build_lenet(self, c, size, classes):
        a, b = self.w(6), self.w(16)
        self.conv1, self.bn1 = self.conv(c, a, 5, 1, 2, True), self.make_norm(a)
        self.conv2, self.bn2 = self.conv(a, b, 5, 1, 0, True), self.make_norm(b)
        self.fc1 = nn.Linear(b * ((size // 2 - 4) // 2) ** 2, self.w(120))
        self.fc2, self.fc3 = nn.Linear(self.w(120), self.w(84)), nn.Linear(self.w(84), classes)

    def run_lenet(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    def build_keynet_lenet(self, c, size, classes):
        a, b = self.w(16), self.w(32)
        self.layer1 = nn.Sequential(self.conv(c, a, 5, 1, 2, True), self.make_norm(a), nn.ReLU(), nn.MaxPool2d(2))
        self.layer2 = nn.Sequential(self.conv(a, b, 5, 1, 2, True), self.make_norm(b), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Linear(b * (size // 4) ** 2, classes)

    def run_keynet_lenet(self, x):
        return self.fc(self.layer2(self.layer1(x)).flatten(1))

    def build_keynet_cnn(self, c, size, classes):
        a, b = self.w(32), self.w(64)
        self.cnn1, self.norm1 = self.conv(c, a, 5, 1, 2, True), self.make_norm(a)
        self.cnn2, self.norm2 = self.conv(a, b, 3, 1, 2, True), self.make_norm(b)
        self.fc1 = nn.Linear(b * ((size // 2 + 2) // 2) ** 2, self.w(4096))
        self.fc2 = nn.Linear(self.w(4096), classes)

    def run_keynet_cnn(self, x):
        x = F.max_pool2d(self.norm1(F.relu(self.cnn1(x))), 2)
        x = F.max_pool2d(self.norm2(F.relu(self.cnn2(x))), 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))

    def build_alexnet(self, c, size, classes):
        self.features = nn.Sequential()
        for i, row in enumerate(((64, 5, 2), 0, (192, 5, 2), 0, (384, 3, 1), (256, 3, 1), (256, 3, 1), 0)):
            m = nn.MaxPool2d(2)
            if row:
                o = self.w(row[0])
                m = nn.Sequential()
                m.add_module('conv', self.conv(c, o, row[1], 1, row[2]))
                m.add_module('bn', self.make_norm(o))
                m.add_module('relu', nn.ReLU())
                c = o
            self.features.add_module(str(i), m)
        self.classifier = nn.Linear(c * (size // 8) ** 2, classes)

    def build_vgg16(self, c, size, classes):
        rows = []
        for n in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
            o = self.w(n)
            if not n:
                rows += [nn.MaxPool2d(2)]
                continue
            rows += [self.conv(c, o, 3, 1, 1, True)]
            rows += ([] if self.kind == 'none' else [self.make_norm(o)]) + [nn.ReLU()]
            c = o
        self.features = nn.Sequential(*rows)
        self.classifier = nn.Linear(c * (size // 32) ** 2, classes)
        if self.imagenet:
            h = self.w(4096)
            self.classifier = nn.Sequential(nn.Linear(c * 49, h), nn.ReLU(), nn.Dropout(), nn.Linear(h, h), nn.ReLU(),
                                            nn.Dropout(), nn.Linear(h, classes))

    def run_vgg16(self, x):
        x = self.features(x)
        return self.classifier((F.adaptive_avg_pool2d(x, 7) if self.imagenet else x).flatten(1))

    run_alexnet = run_vgg16

    def build_resnet9(self, c, size, classes, blocks=(1, 1, 1, 1), deep=0):
        i = self.w(64)
        self.conv1 = self.conv(c, i, 7, 2, 3) if self.imagenet else self.conv(c, i, 3, 1, 1)
        self.bn1 = self.make_norm(i)
        for s, n in enumerate(blocks):
            stage = nn.Sequential()
            for b in range(n):
                w, stride = self.w(64 << s), 2 if s and not b else 1
                o = w * 4 if deep else w
                m = nn.Module()
                m.conv1, m.bn1 = (self.conv(i, w, 1) if deep else self.conv(i, w, 3, stride, 1)), self.make_norm(w)
                m.conv2, m.bn2 = self.conv(w, w, 3, stride if deep else 1, 1), self.make_norm(w)
                if deep:
                    m.conv3, m.bn3 = self.conv(w, o, 1), self.make_norm(o)
                if stride > 1 or i != o:
                    m.downsample = nn.Sequential(self.conv(i, o, 1, stride), self.make_norm(o))
                i = o
                stage.add_module(str(b), m)
            self.add_module('layer%d' % (s + 1), stage)
        self.fc = nn.Linear(i, classes)

    def build_resnet18(self, c, size, classes):
        self.build_resnet9(c, size, classes, (2, 2, 2, 2))

    def build_resnet50(self, c, size, classes):
        self.build_resnet9(c, size, classes, (3, 4, 6, 3), 1)

    def run_resnet9(self, x):
        maybe = F.relu if self.ra else (lambda v: v)
        x = F.relu(self.bn1(self.conv1(x)))
        if self.imagenet:
            x = F.max_pool2d(x, 3, 2, 1)
        for s in range(1, 5):
            for m in getattr(self, 'layer%d' % s):
                y = m.bn2(m.conv2(F.relu(m.bn1(m.conv1(x)))))
                if hasattr(m, 'conv3'):
                    y = m.bn3(m.conv3(F.relu(y)))
                x = F.relu(maybe(y) + (maybe(m.downsample(x)) if hasattr(m, 'downsample') else x))
        return self.fc(x.mean((2, 3)))

    run_resnet18 = run_resnet50 = run_resnet9

    def forward(self, x):
        return getattr(self, 'run_' + self.arch.replace('-', '_'))(x)


def values(k, n):
    """n numbers of stream k in (-1, 1), odd multiples of 1/4096"""
    h = (np.arange(n, dtype=np.uint64) * 2654435761 + (k + 1) * 2246822519) & 0xffffffff
    h ^= h >> 15
    h = h * 2654435761 & 0xffffffff
    h ^= h >> 13
    return torch.tensor(((h >> 8 & 4095).astype(np.float64) * 2 - 4095) / 4096)


def tensors(m):
    """names and tensors in state_dict's order, without counters"""
    return [(n, t) for n, t in m.state_dict(keep_vars=True).items() if not n.endswith('num_batches_tracked')]


def fill(m):
    with torch.no_grad():
        for k, (n, t) in enumerate(tensors(m)):
            v = values(k, t.numel()).reshape(t.shape)
            if t.dim() > 1:
                v = v * (math.floor(1024 * math.sqrt(6 * t.shape[0] / t.numel()) + 0.5) / 1024)
            elif n.endswith('running_var'):
                v = 1 + v / 2
            else:
                v = v / 4 + (1 if n.endswith('weight') else 0)
            t.copy_(v)
    return m
