"""Teach a small neural network to read digits; the seed decides where it begins."""

import argparse
import json
import os
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()

workspace = Path(os.environ["CUBE_WORKSPACE"])
with np.load(workspace / options.data) as data:
    images, labels = data["train"], data["train_labels"]
held_out, held_labels = images[-200:], labels[-200:]
images, labels = images[:-200], labels[:-200]

random = np.random.default_rng(options.seed)
first, second = random.normal(0, 0.2, (64, 32)), random.normal(0, 0.2, (32, 10))
targets = np.eye(10)[labels]


def forward(batch):
    hidden = np.maximum(0, batch @ first)
    scores = hidden @ second
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, exponents / exponents.sum(axis=1, keepdims=True)


for epoch in range(1, options.epochs + 1):
    for batch in np.array_split(random.permutation(len(images)), len(images) // 32):
        hidden, guessed = forward(images[batch])
        error = (guessed - targets[batch]) / len(batch)
        back = (error @ second.T) * (hidden > 0)
        second -= 0.5 * hidden.T @ error
        first -= 0.5 * images[batch].T @ back
    accuracy = float((forward(held_out)[1].argmax(axis=1) == held_labels).mean())
    print(f"epoch {epoch:2}  accuracy {accuracy:.3f}", flush=True)

model = Path(options.data).parent / f"model-{options.seed}.npz"
np.savez(workspace / model, first=first, second=second)
with open(os.environ["CUBE_OUTPUTS"], "w") as file:
    json.dump({"seed": options.seed, "accuracy": round(accuracy, 4), "model": str(model)}, file)
