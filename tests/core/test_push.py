"""The courier carries what has gathered, and goes on after what could not be delivered."""

import threading

import pytest

from apps.core import push as door
from apps.core.push import Courier

PATIENCE_SECONDS = 5


class Layer:
    """Takes messages once it is let; the first round fails where it is told to."""

    def __init__(self, failures=0):
        self.rounds, self.failures = [], failures
        self.may_go, self.news = threading.Event(), threading.Semaphore(0)

    async def group_send_many(self, messages):
        self.may_go.wait(PATIENCE_SECONDS)
        self.rounds.append([group for group, _message in messages])
        self.news.release()
        if len(self.rounds) <= self.failures:
            raise OSError("away")

    def wait_for_round(self):
        assert self.news.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def layer(monkeypatch):
    made = Layer()
    monkeypatch.setattr(door, "get_channel_layer", lambda: made)
    return made


def send(courier, *groups):
    for group in groups:
        courier.send(group, {"type": "news"})


def test_what_gathers_while_one_is_under_way_goes_together(layer):
    courier = Courier()
    send(courier, "a")
    while courier.waiting:  # until the first is under way
        threading.Event().wait(0.001)
    send(courier, "b", "c", "d")

    layer.may_go.set()
    layer.wait_for_round()
    layer.wait_for_round()

    assert layer.rounds == [["a"], ["b", "c", "d"]]


def test_a_message_after_a_rest_is_delivered_too(layer):
    courier = Courier()
    layer.may_go.set()
    send(courier, "a")
    layer.wait_for_round()

    send(courier, "b")
    layer.wait_for_round()

    assert layer.rounds == [["a"], ["b"]]


def test_what_could_not_be_delivered_does_not_keep_the_next(layer):
    courier, layer.failures = Courier(), 1
    layer.may_go.set()
    send(courier, "a")
    layer.wait_for_round()

    send(courier, "b")
    layer.wait_for_round()

    assert layer.rounds == [["a"], ["b"]]


def test_too_many_that_wait_are_dropped(layer, monkeypatch):
    monkeypatch.setattr(door, "MOST_WAITING", 2)
    courier = Courier()
    send(courier, "a")
    while courier.waiting:
        threading.Event().wait(0.001)
    send(courier, "b", "c", "dropped")

    layer.may_go.set()
    layer.wait_for_round()
    layer.wait_for_round()

    assert layer.rounds == [["a"], ["b", "c"]]
