"""Data-parallel training with nothing but Python: two workers fit one straight line together.

Submit it with the template "Distributed Python" (file: examples/sum_of_ranks.py, 2 workers). Every worker holds its own
points of the line y = 3x + 2. In each step it works out the gradient on its own points and sends it to rank 0, which
sends back the sum of all: an all-reduce, the heart of every distributed training. No worker ever sees another's data.
"""

import json
import os
import random
import socket
import time

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
ADDRESS = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
STEPS, RATE, PATIENCE = 40, 0.4, 120  # patience: how many seconds to wait for the others


def say(text):
    print(f"[rank {RANK}] {text}", flush=True)


def keep_trying(connect):
    """Workers start in any order, and the first one's name may not be known yet."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return connect()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)


class Star:
    """The connections of a star: rank 0 in the middle, everyone else at the end of one line of JSON after another."""

    def __init__(self):
        self.lines = self.gather_workers() if RANK == 0 else [self.find_first_worker()]

    def gather_workers(self):
        # On its own name, not on all addresses: jobs that share a machine's network may all use this port.
        server = keep_trying(lambda: socket.create_server(ADDRESS))
        server.settimeout(PATIENCE)
        return [server.accept()[0].makefile("rw") for _ in range(WORLD - 1)]

    def find_first_worker(self):
        return keep_trying(lambda: socket.create_connection(ADDRESS, timeout=PATIENCE).makefile("rw"))

    def sum(self, numbers):
        """What all workers' numbers add up to; every worker gets the same answer."""
        if RANK == 0:
            for line in self.lines:
                numbers = [a + b for a, b in zip(numbers, json.loads(line.readline()), strict=True)]
            for line in self.lines:
                self.write(line, numbers)
            return numbers
        self.write(self.lines[0], numbers)
        return json.loads(self.lines[0].readline())

    @staticmethod
    def write(line, numbers):
        line.write(json.dumps(numbers) + "\n")
        line.flush()


workers = Star()
expected = WORLD * (WORLD + 1) // 2
(total,) = workers.sum([RANK + 1])
assert total == expected, f"the ranks add up to {total}, not {expected}"
say(f"sum of ranks: {total} from {WORLD} workers")

# Each worker draws its own points; the noise keeps it from being too easy.
chance = random.Random(RANK)
points = [(x, 3 * x + 2 + chance.gauss(0, 0.1)) for x in (chance.uniform(-1, 1) for _ in range(200))]

slope, offset = 0.0, 0.0
for step in range(1, STEPS + 1):
    errors = [(x, slope * x + offset - y) for x, y in points]
    mine = [sum(e * x for x, e in errors), sum(e for _, e in errors), sum(e * e for _, e in errors), len(points)]
    by_slope, by_offset, squares, count = workers.sum(mine)
    slope -= RATE * by_slope / count
    offset -= RATE * by_offset / count
    if step % 5 == 0 or step == 1:
        say(f"step={step} loss={squares / count:.4f} line: y = {slope:.3f}x + {offset:.3f}")

# Everyone took the same steps, so everyone must hold the same line, to the last digit.
slopes, offsets = workers.sum([slope, offset])
assert abs(slopes - WORLD * slope) < 1e-9, "the workers do not agree"
assert abs(offsets - WORLD * offset) < 1e-9, "the workers do not agree"
say(f"all {WORLD} workers agree: y = {slope:.3f}x + {offset:.3f}")
