"""Take the best of the trained models and try it on the digits that none of them has seen."""

import argparse
import json
import os
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--models", type=json.loads, required=True)
parser.add_argument("--accuracies", type=json.loads, required=True)
options = parser.parse_args()

workspace = Path(os.environ["CUBE_WORKSPACE"])
accuracy, best = max((accuracy, model) for model, accuracy in zip(options.models, options.accuracies, strict=True))
print(f"the best of {len(options.models)} is {best} with {accuracy:.3f}")

with np.load(workspace / options.data) as data, np.load(workspace / best) as model:
    scores = np.maximum(0, data["test"] @ model["first"]) @ model["second"]
    labels = data["test_labels"]
guessed = scores.argmax(axis=1)
confusion = np.zeros((10, 10), dtype=int)
np.add.at(confusion, (labels, guessed), 1)
result = round(float((guessed == labels).mean()), 4)
print(f"on {len(labels)} new digits: {result:.3f}")

table = Path(options.data).parent / "confusion.json"
(workspace / table).write_text(json.dumps(confusion.tolist()))
with open(os.environ["CUBE_OUTPUTS"], "w") as file:
    json.dump({"accuracy": result, "best": best, "confusion": str(table)}, file)
