"""A cron line or an interval in words."""

from collections.abc import Iterable
from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .cron import Cron
from .fields import LAST, Field
from .intervals import Interval

TIMES_LISTED = 6


def describe(timetable: Cron | Interval) -> str:
    if isinstance(timetable, Interval):
        return _("Every %(span)s") % {"span": span(timetable.seconds)}
    parts = [_times(timetable), *_days(timetable), *_months(timetable)]
    return " ".join(part for part in parts if part)


def span(seconds: int) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return _counted(seconds // size, word)
    return _counted(seconds, "second")


def _counted(count: int, word: str) -> str:
    forms = {
        "day": ngettext("%(n)d day", "%(n)d days", count),
        "hour": ngettext("%(n)d hour", "%(n)d hours", count),
        "minute": ngettext("%(n)d minute", "%(n)d minutes", count),
        "second": ngettext("%(n)d second", "%(n)d seconds", count),
    }
    return forms[word] % {"n": count}


def _times(cron: Cron) -> str:
    hours, minutes = sorted(cron.hour.values), sorted(cron.minute.values)
    every = _step(minutes, 60)
    if len(hours) == 24:
        if every == 1:
            return _("Every minute")
        if every:
            return _("Every %(n)d minutes") % {"n": every}
        if minutes == [0]:
            return _("Every hour")
        return _("Every hour at minute %(list)s") % {"list": listed(str(m) for m in minutes)}
    if len(hours) * len(minutes) <= TIMES_LISTED:
        return _("At %(list)s") % {"list": listed(f"{h:02}:{m:02}" for h in hours for m in minutes)}
    told = _("every minute") if every == 1 else _("every %(n)d minutes") % {"n": every} if every else ""
    told = told or _("at minute %(list)s") % {"list": listed(str(m) for m in minutes)}
    step = _step(hours, 24)
    if step and step > 1:
        return _("%(times)s of every hour that %(n)d divides") % {"times": _capital(told), "n": step}
    return _("%(times)s of the hours %(hours)s") % {"times": _capital(told), "hours": listed(runs(hours, str))}


def _days(cron: Cron) -> list[str]:
    of_month, of_week = _month_days(cron.day), _week_days(cron.weekday)
    if not of_month and not of_week:
        return []
    if of_month and of_week:
        both = cron.day.is_starred or cron.weekday.is_starred
        joined = _("%(a)s if it is %(b)s") if both else _("%(a)s and also on %(b)s")
        return [joined % {"a": _("on %(days)s") % {"days": of_month}, "b": of_week}]
    return [_("on %(days)s") % {"days": of_month or of_week}]


def _month_days(field: Field) -> str:
    if len(field.values - {LAST}) == 31:
        return ""
    named = listed(runs(sorted(field.values - {LAST}), str))
    last = _("the last day of the month")
    if LAST in field.values:
        return listed([_("day %(list)s") % {"list": named}, last]) if named else last
    return _("day %(list)s of the month") % {"list": named}


def _week_days(field: Field) -> str:
    if len(field.values) == 7:
        return ""
    names = [_("Sunday"), _("Monday"), _("Tuesday"), _("Wednesday"), _("Thursday"), _("Friday"), _("Saturday")]
    order = [_("first"), _("second"), _("third"), _("fourth"), _("fifth")]
    plain = runs(sorted(field.values), lambda day: str(names[day]))
    nth = [
        _("the %(which)s %(day)s of the month")
        % {"which": _("last") if which == LAST else order[which - 1], "day": names[day]}
        for day, which in sorted(field.nth)
    ]
    return listed([*plain, *nth])


def _months(cron: Cron) -> list[str]:
    if len(cron.month.values) == 12:
        return []
    names = [
        _("January"), _("February"), _("March"), _("April"), _("May"), _("June"), _("July"),
        _("August"), _("September"), _("October"), _("November"), _("December"),
    ]  # fmt: skip
    told = runs(sorted(cron.month.values), lambda month: str(names[month - 1]))
    return [_("in %(months)s") % {"months": listed(told)}]


def _step(values: list[int], size: int) -> int:
    """n when the values are every nth of `size`, from 0; else 0."""
    step = values[1] - values[0] if len(values) > 1 else 0
    return step if step and size % step == 0 and values == list(range(0, size, step)) else 0


def runs(values: list[int], name) -> list[str]:  # type: ignore[no-untyped-def]
    """Neighbours become "a to b" from three on."""
    groups: list[list[int]] = []
    for value in values:
        if groups and value == groups[-1][-1] + 1:
            groups[-1].append(value)
        else:
            groups.append([value])
    told: list[str] = []
    for group in groups:
        if len(group) > 2:
            told.append(_("%(first)s to %(last)s") % {"first": name(group[0]), "last": name(group[-1])})
        else:
            told.extend(name(value) for value in group)
    return told


def listed(items: Iterable[str]) -> str:
    words = list(items)
    if len(words) < 2:
        return "".join(words)
    return _("%(some)s and %(last)s") % {"some": ", ".join(words[:-1]), "last": words[-1]}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_words(delay: timedelta) -> str:
    return span(max(0, round(delay.total_seconds())))
