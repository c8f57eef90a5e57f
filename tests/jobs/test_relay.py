"""Windows: how much of a terminal is held when one side does not keep up."""

import asyncio
import contextlib

import pytest

from apps.clusters.gateway.fake import FakeExecution
from apps.jobs.relay import CHUNK, SHOWN_WINDOW, TYPED_WINDOW, Overrun, Relay


class Screen:
    def __init__(self):
        self.shown, self.taken = b"", 0

    async def show(self, data):
        self.shown += data

    async def took(self, count):
        self.taken += count


@contextlib.asynccontextmanager
async def relaying(execution):
    screen = Screen()
    relay = Relay(execution, show=screen.show, took=screen.took)
    running = asyncio.create_task(relay.run())
    try:
        yield relay, screen, running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until_still(screen):
    """Let everything run that can."""
    before = None
    while before != (before := (len(screen.shown), screen.taken)):
        for _ in range(50):
            await asyncio.sleep(0)


async def test_a_flood_stops_at_the_window_until_the_browser_has_drawn():
    execution = FakeExecution(["sh"])
    async with relaying(execution) as (relay, screen, _):
        flood = asyncio.create_task(flooding(execution, 3 * SHOWN_WINDOW))
        await until_still(screen)
        assert len(screen.shown) == SHOWN_WINDOW
        assert not flood.done()

        relay.drawn(SHOWN_WINDOW)
        await until_still(screen)

        assert len(screen.shown) == 2 * SHOWN_WINDOW
        flood.cancel()


async def flooding(execution, size):
    for _ in range(size // CHUNK):
        await execution.say(b"x" * CHUNK)


async def test_a_paste_beyond_the_window_is_refused():
    execution = FakeExecution(["sh"])
    async with relaying(execution) as (relay, _screen, _):
        relay.type(b"x" * TYPED_WINDOW)

        with pytest.raises(Overrun):
            relay.type(b"x")


async def test_what_was_typed_makes_room_once_the_program_has_it():
    execution = FakeExecution(["sh"])
    async with relaying(execution) as (relay, screen, _):
        relay.type(b"x" * TYPED_WINDOW)

        await until_still(screen)

        assert (screen.taken, execution.typed) == (TYPED_WINDOW, b"x" * TYPED_WINDOW)
        relay.type(b"y" * TYPED_WINDOW)


@pytest.mark.parametrize("count", [0, -1, 6])
async def test_nobody_acknowledges_what_was_not_sent(count):
    execution = FakeExecution(["sh"])
    async with relaying(execution) as (relay, screen, _):
        await execution.say(b"12345")
        await until_still(screen)

        with pytest.raises(Overrun):
            relay.drawn(count)


async def test_only_the_latest_size_is_told_and_the_exit_code_comes_back():
    execution = FakeExecution(["sh"])
    async with relaying(execution) as (relay, screen, running):
        relay.resize(10, 5)
        relay.resize(120, 40)
        relay.type(b"stty size\rexit 7\r")

        assert await running == 7

    assert b"40 120\r\n" in screen.shown
