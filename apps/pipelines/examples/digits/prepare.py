"""Read the handwritten digits and put a part of them aside for the test."""

import argparse
import csv
import gzip
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--folder", required=True)
parser.add_argument("--test-share", type=float, default=0.25)
options = parser.parse_args()

found = importlib.util.find_spec("sklearn")
if found is None:
    sys.exit("scikit-learn, which brings the digits, is not installed in this image.")
source = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
with gzip.open(source, "rt") as file:
    rows = np.array([[float(cell) for cell in row] for row in csv.reader(file)], dtype=np.float32)

order = np.random.default_rng(0).permutation(len(rows))
rows = rows[order]
images, labels = rows[:, :-1] / 16, rows[:, -1].astype(int)
cut = int(len(rows) * (1 - options.test_share))

folder = Path(os.environ["CUBE_WORKSPACE"]) / options.folder
folder.mkdir(parents=True, exist_ok=True)
np.savez(
    folder / "digits.npz", train=images[:cut], train_labels=labels[:cut], test=images[cut:], test_labels=labels[cut:]
)
print(f"{len(rows)} digits: {cut} to learn from, {len(rows) - cut} to be tested with")

with open(os.environ["CUBE_OUTPUTS"], "w") as file:
    json.dump({"rows": len(rows), "train_rows": cut, "data": f"{options.folder}/digits.npz"}, file)
