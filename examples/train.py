"""Logistic regression by gradient descent, in plain Python: a training job that needs nothing but Python.

The data is two overlapping clouds of points. Each epoch prints the loss and the share of points told
apart; the weights are written as JSON at the end.
"""

import argparse
import json
import math
import os
import random
import sys


def clouds(count, seed):
    """Points of two classes around (-1, -1) and (1, 1)."""
    chance = random.Random(seed)
    points = []
    for number in range(count):
        label = number % 2
        centre = 1.0 if label else -1.0
        points.append((chance.gauss(centre, 1.0), chance.gauss(centre, 1.0), label))
    return points


def sigmoid(value):
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    power = math.exp(value)
    return power / (1.0 + power)


def epoch(points, weights, rate):
    """One pass of gradient descent over all points: new weights, mean loss, accuracy."""
    gradient = [0.0, 0.0, 0.0]
    loss = right = 0.0
    for x, y, label in points:
        guess = sigmoid(weights[0] * x + weights[1] * y + weights[2])
        error = guess - label
        gradient[0] += error * x
        gradient[1] += error * y
        gradient[2] += error
        loss -= math.log(max(guess if label else 1.0 - guess, 1e-12))
        right += (guess >= 0.5) == bool(label)
    count = len(points)
    weights = [weight - rate * part / count for weight, part in zip(weights, gradient)]
    return weights, loss / count, right / count


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--points", type=int, default=4000)
    arguments.add_argument("--rate", type=float, default=0.5)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", help="where the weights are written, as JSON")
    chosen = arguments.parse_args()

    points = clouds(chosen.points, chosen.seed)
    print(f"training on {len(points)} points, job {os.environ.get('POND_JOB_ID', 'none')}", flush=True)
    weights = [0.0, 0.0, 0.0]
    accuracy = 0.0
    for number in range(1, chosen.epochs + 1):
        weights, loss, accuracy = epoch(points, weights, chosen.rate)
        print(f"epoch {number:3d}  loss {loss:.4f}  accuracy {accuracy:.3f}", flush=True)
    if chosen.out:
        with open(chosen.out, "w", encoding="utf-8") as file:
            json.dump({"weights": weights, "accuracy": accuracy}, file)
    return 0 if accuracy > 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
