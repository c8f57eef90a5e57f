"""When something is due: pure functions of a written timetable, a zone and a moment. They ask no database."""

from .cron import Cron, parse
from .intervals import Interval
from .rules import Fold, Timetable, occurrences, zone_named
from .words import describe

__all__ = ["Cron", "Fold", "Interval", "Timetable", "describe", "occurrences", "parse", "zone_named"]
