"""Trains a small network with tinygrad on DEV=CL and prints every loss to the last bit: 12 steps, or $STEPS.

$BATCH and $WIDTH make the steps longer, so that the device has more to do than Python has."""

import os

import numpy
from tinygrad import Tensor, nn

batch, width = int(os.environ.get("BATCH", "256")), int(os.environ.get("WIDTH", "64"))
random = numpy.random.default_rng(4)
inputs = Tensor(random.standard_normal((batch, 32)).astype(numpy.float32))
answers = Tensor((random.standard_normal((batch, 1)) > 0).astype(numpy.float32))
weights = [Tensor(random.standard_normal(shape).astype(numpy.float32) / 8) for shape in ((32, width), (width, 1))]
for weight in weights:
    weight.requires_grad = True
optimizer = nn.optim.SGD(weights, lr=0.1)
for _ in range(int(os.environ.get("STEPS", "12"))):
    optimizer.zero_grad()
    loss = (inputs.matmul(weights[0]).relu().matmul(weights[1]).sigmoid() - answers).square().mean()
    loss.backward()
    optimizer.step()
    print("loss", float(loss.numpy()).hex())
