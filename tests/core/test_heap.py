import subprocess
import sys

LOOK = (
    "import gc; from apps.core import heap; heap.settle(); print(gc.get_freeze_count() > 1000, gc.get_threshold()[0])"
)


def test_what_is_there_is_left_out_of_later_collections():
    """In a process of its own: it cannot be undone."""
    seen = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout  # noqa: S603

    assert seen.split() == ["True", "50000"]
