"""Teach a small neural network to read handwritten digits.

Submit it with the template "Python script" (file: examples/train_digits.py). Each epoch prints one line; the trained
model and its metrics are kept in the workspace, in models/.

    --epochs 20    how often to look at all training images
    --seed 0       the same seed gives the same model
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

try:
    import joblib
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
except ImportError:
    print(
        "scikit-learn is not installed in this image. On the built-in devcluster run: make setup",
        file=sys.stderr,
    )
    sys.exit(78)

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

# 1,797 real images of 8 x 8 pixels, written by 43 people. A fifth is put aside to test on.
images, labels = load_digits(return_X_y=True)
images = images / 16.0
train_x, test_x, train_y, test_y = train_test_split(
    images, labels, test_size=0.2, stratify=labels, random_state=options.seed
)
print(f"{len(train_x)} images to learn from, {len(test_x)} to test on")

model = MLPClassifier(hidden_layer_sizes=(64,), learning_rate_init=0.003, random_state=options.seed)
shuffle = np.random.default_rng(options.seed)
classes = np.arange(10)
history = []
started = time.perf_counter()

for epoch in range(1, options.epochs + 1):
    # partial_fit sees the images in small batches, in a new order each time.
    for batch in np.array_split(shuffle.permutation(len(train_x)), 40):
        model.partial_fit(train_x[batch], train_y[batch], classes=classes)
    loss = log_loss(test_y, model.predict_proba(test_x), labels=classes)
    accuracy = model.score(test_x, test_y)
    history.append({"epoch": epoch, "loss": round(loss, 4), "accuracy": round(accuracy, 4)})
    print(f"epoch={epoch} loss={loss:.4f} accuracy={accuracy:.4f}", flush=True)

# What is written to the workspace is still there when the job is gone.
folder = Path(os.environ.get("CUBE_WORKSPACE", "/workspace")) / "models"
folder.mkdir(parents=True, exist_ok=True)
joblib.dump(model, folder / "digits.joblib")
metrics = {**history[-1], "seconds": round(time.perf_counter() - started, 2), "history": history}
(folder / "digits.json").write_text(json.dumps(metrics, indent=2) + "\n")
print(f"saved models/digits.joblib: {accuracy:.1%} of the unseen digits are read correctly")
