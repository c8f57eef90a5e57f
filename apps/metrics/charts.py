"""Curves as the page draws them: pure geometry, from a selector's answer to the numbers of an SVG."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from .choices import Unit
from .selectors import Asked, Figures, Point, Series, Spread, Usage

WIDTH, HEIGHT = 1000, 100  # of the drawing, which is stretched to its place
HEADROOM = 1.08
FAR = 4  # a limit that many times above everything else would press the curve flat, and is not drawn
BROKEN_AFTER_SECONDS = 75.0  # five looks without a sample: what was used then is not known, and not drawn
LEAST_SPAN = timedelta(seconds=60)


@dataclass(frozen=True)
class Part:
    """An unbroken piece of a curve, and where it stands on the ground."""

    points: str
    first_x: float
    last_x: float


@dataclass(frozen=True)
class Curve:
    """One line; `latest` and `max` are in the chart's unit."""

    series: Series
    parts: list[Part]
    latest: int
    max: int


@dataclass(frozen=True)
class Chart:
    """One resource over time; `request_y` and `limit_y` say where those lines are. No curves: the samples are gone."""

    unit: Unit
    asked: Asked
    spread: Spread
    curves: list[Curve]
    top: float
    request_y: float
    limit_y: float | None  # None: as the request, or too far up

    @property
    def percent_of_request(self) -> int:
        """The mean, of what is reserved for it."""
        return round(100 * self.spread.mean / self.asked.request)


@dataclass(frozen=True)
class Drawing:
    """`seconds`: the length of the time axis, from the attempt's start to its end, or to now."""

    charts: list[Chart]
    seconds: int

    @property
    def rows(self) -> list[tuple[Curve, ...]]:
        """Each pod with its curve in every chart."""
        return list(zip(*(chart.curves for chart in self.charts), strict=True))


@dataclass(frozen=True)
class Axis:
    """Time, from left to right."""

    begin: datetime
    seconds: float

    def x(self, at: datetime) -> float:
        return round(WIDTH * (at - self.begin).total_seconds() / self.seconds, 1)


def draw(usage: Usage, *, now: datetime) -> Drawing | None:
    """CPU and memory; None where nothing was measured."""
    figures = usage.figures
    if figures is None:
        return None
    axis, step = _axis(usage, figures, now), usage.step_seconds
    cpu, memory = usage.cpu_millicores, usage.memory_bytes
    charts = [
        _chart(Unit.CORES, cpu, figures.cpu_millicores, usage.series, axis, step, lambda point: point.cpu_millicores),
        _chart(Unit.BYTES, memory, figures.memory_bytes, usage.series, axis, step, lambda point: point.memory_bytes),
    ]
    return Drawing(charts, round(axis.seconds))


def _axis(usage: Usage, figures: Figures, now: datetime) -> Axis:
    """A point stands at the beginning of the time it tells of, and clocks differ: nothing may fall off the edges.

    To the end, not to the last sample: where measuring has stopped, that is seen.
    """
    times = [usage.attempt.started_at or figures.first_at, *(series.points[0].at for series in usage.series)]
    begin, end = min(times), max(figures.last_at, usage.attempt.finished_at or now)
    return Axis(begin, max(end - begin, LEAST_SPAN).total_seconds())


def _chart(
    unit: Unit,
    asked: Asked,
    spread: Spread,
    series: Iterable[Series],
    axis: Axis,
    step: int,
    value: Callable[[Point], int],
) -> Chart:
    most = max(asked.request, spread.max)
    shows_limit = asked.request < asked.limit <= FAR * most
    top = HEADROOM * max(most, asked.limit if shows_limit else 0)
    return Chart(
        unit=unit,
        asked=asked,
        spread=spread,
        curves=[_curve(each, axis, top, step, value) for each in series],
        top=top,
        request_y=_y(asked.request, top),
        limit_y=_y(asked.limit, top) if shows_limit else None,
    )


def _y(value: float, top: float) -> float:
    return round(HEIGHT * (1 - value / top), 2)


def _curve(series: Series, axis: Axis, top: float, step: int, value: Callable[[Point], int]) -> Curve:
    values = [value(point) for point in series.points]
    patience = timedelta(seconds=max(BROKEN_AFTER_SECONDS, 2 * step))
    parts = [
        Part(
            points=" ".join(f"{axis.x(point.at)},{_y(value(point), top)}" for point in part),
            first_x=axis.x(part[0].at),
            last_x=axis.x(part[-1].at),
        )
        for part in _unbroken(series.points, patience)
    ]
    return Curve(series, parts, values[-1], max(values))


def _unbroken(points: Iterable[Point], patience: timedelta) -> Iterator[list[Point]]:
    """Runs of points that follow each other closely. One alone is given twice: a line of no length is a dot."""
    part: list[Point] = []
    for point in points:
        if part and point.at - part[-1].at > patience:
            yield part if len(part) > 1 else part * 2
            part = []
        part.append(point)
    if part:
        yield part if len(part) > 1 else part * 2
