"""Which of the times that have come are run, and why the others are not. Pure: rows and clocks are the caller's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .choices import CatchUp, Why

ON_TIME = timedelta(seconds=60)  # a time that is fired within this was not missed: the engine was merely busy
ENOUGH = 1000  # what is older than this many later times is caught up by no policy


@dataclass(frozen=True)
class Policy:
    catch_up: str
    limit: int
    window: timedelta


def judge(times: Sequence[datetime], *, policy: Policy, now: datetime) -> dict[datetime, Why]:
    """For each due time, in order, why it is not run; `Why.NONE` for one that is."""
    on_time = [at for at in times if now - at <= ON_TIME]
    late = [at for at in times if now - at > ON_TIME]
    recent = [at for at in late if now - at <= policy.window]
    verdicts = dict.fromkeys(on_time, Why.NONE)
    verdicts.update(dict.fromkeys(late, Why.CATCH_UP_WINDOW))
    if policy.catch_up == CatchUp.NONE:
        verdicts.update(dict.fromkeys(recent, Why.CATCH_UP_NONE))
    elif policy.catch_up == CatchUp.LATEST:
        verdicts.update(dict.fromkeys(recent, Why.CATCH_UP_LATEST))
        if recent and not on_time:
            verdicts[recent[-1]] = Why.NONE
    else:
        kept = recent[-policy.limit :]
        verdicts.update(dict.fromkeys(recent, Why.CATCH_UP_LIMIT))
        verdicts.update(dict.fromkeys(kept, Why.NONE))
    return verdicts
