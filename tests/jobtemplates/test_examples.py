"""The example programs, run as a job would run them."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from apps import jobtemplates

EXAMPLES = Path(jobtemplates.__file__).parent / "examples"


def start(name, **env):
    return subprocess.Popen(  # noqa: S603
        [sys.executable, str(EXAMPLES / name)],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_workers_agree_on_one_line():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

    # The second worker first: it has to wait for the other.
    workers = [start("sum_of_ranks.py", RANK=rank, **place) for rank in ("1", "0")]
    outputs = [worker.communicate(timeout=60) for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0], outputs
    for rank, (printed, _errors) in zip((1, 0), outputs, strict=True):
        lines = printed.splitlines()
        assert lines[0] == f"[rank {rank}] sum of ranks: 3 from 2 workers"
        assert lines[-1] == f"[rank {rank}] all 2 workers agree: y = 2.995x + 1.996"


@pytest.mark.skipif(bool(importlib.util.find_spec("sklearn")), reason="scikit-learn is installed here")
def test_without_scikit_learn_one_sentence_says_what_to_do():
    worker = start("train_digits.py")
    printed, errors = worker.communicate(timeout=60)

    assert (worker.returncode, printed) == (78, "")
    assert errors == "scikit-learn is not installed in this image. On the built-in devcluster run: make setup\n"


@pytest.mark.skipif(not importlib.util.find_spec("sklearn"), reason="scikit-learn is not installed here")
def test_digits_are_learnt(tmp_path):
    worker = start("train_digits.py", CUBE_WORKSPACE=str(tmp_path))
    printed, errors = worker.communicate(timeout=120)

    assert worker.returncode == 0, errors
    epochs = [line for line in printed.splitlines() if line.startswith("epoch=")]
    assert len(epochs) == 20
    assert float(epochs[-1].rpartition("accuracy=")[2]) >= 0.9
    assert (tmp_path / "models" / "digits.joblib").stat().st_size > 0
