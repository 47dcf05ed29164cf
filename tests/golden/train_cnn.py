#!/usr/bin/env python3
"""The same training by ipr.h and by PyTorch: same start, same items in the same order, same recipe, on CIFAR-10. Prints both
losses of every epoch and both test accuracies; fails when those differ by more than 2.5 points (rounding alone moves them by
one or two: training is chaotic).

usage: python3 tests/golden/train_cnn.py CIFAR_FOLDER [ARCH [SCALE [NORM [EPOCHS]]]]    (from the top folder; torch, numpy, cc)
       defaults: alexnet 0.25 batch 6; CIFAR_FOLDER holds data_batch_1.bin (or all five) and test_batch.bin
"""
import glob
import os
import subprocess
import sys
import numpy as np
import torch
import torch.nn.functional as F
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cnn_nets import Net
from exchange_cnn import ARCH, NORM, read

OUT = 'build/train_cnn'


def images(files):
    raw = np.concatenate([np.fromfile(f, np.uint8).reshape(-1, 3073) for f in sorted(files)])
    mean = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
    sd = torch.tensor([0.2023, 0.1994, 0.2010])[:, None, None]
    return (torch.tensor(raw[:, 1:].reshape(-1, 3, 32, 32)).float() / 255 - mean) / sd, torch.tensor(raw[:, 0]).long()


def main():
    folder, arch, scale, norm, epochs = (sys.argv[1:] + ['alexnet', '0.25', 'batch', '6'][len(sys.argv) - 2:])[:5]
    os.makedirs(OUT, exist_ok=True)
    subprocess.run(['cc', '-O2', '-I.', '-w', 'tests/golden/train_cnn.c', '-o', OUT + '/train_cnn'], check=True)
    ours = subprocess.run([OUT + '/train_cnn', OUT, str(ARCH.index(arch) + 1), scale, str(NORM.index(norm)), epochs, folder],
                          stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout.split('\n')
    losses = [float(s.split()[1]) for s in ours if s.startswith('loss')]
    accuracy = [float(s.split()[1]) for s in ours if s.startswith('test')][0]
    m = Net(arch, 10, scale=float(scale), norm=norm)
    missing = m.load_state_dict(read(OUT + '/start.safetensors'), strict=False)
    assert not missing.unexpected_keys and all(k.endswith('num_batches_tracked') for k in missing.missing_keys), missing
    x, y = images(glob.glob(folder + '/data_batch_*.bin'))
    order = np.fromfile(OUT + '/order.i32', np.uint32).astype(np.int64)
    opt = torch.optim.SGD(m.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    sched = torch.optim.lr_scheduler.StepLR(opt, (2 * int(epochs) + 2) // 3)
    m.train()
    at, seen, total, epoch = 0, 0, 0.0, 0
    while at < len(order):
        n = order[at]
        idx = torch.tensor(order[at + 1:at + 1 + n])
        at += 1 + n
        opt.zero_grad()
        loss = F.cross_entropy(m(x[idx]), y[idx])
        loss.backward()
        opt.step()
        seen += len(idx)
        total += loss.item() * len(idx)
        if seen == len(x):
            print('epoch %d: loss %.5f, PyTorch %.5f' % (epoch + 1, losses[epoch], total / seen), flush=True)
            seen, total, epoch = 0, 0.0, epoch + 1
            sched.step()
    m.eval()
    x, y = images([folder + '/test_batch.bin'])
    with torch.no_grad():
        theirs = 100 * sum((m(x[i:i + 500]).argmax(1) == y[i:i + 500]).sum().item() for i in range(0, len(x), 500)) / len(x)
    print('%s x %s, %s norm, %s epochs: test %.2f, PyTorch %.2f' % (arch, scale, norm, epochs, accuracy, theirs))
    return abs(accuracy - theirs) > 2.5


if __name__ == '__main__':
    sys.exit(main())
