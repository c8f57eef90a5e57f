"""Runs Cube's processes on one machine: starts, watches, restarts and ends them. Knows no room and no settings."""

from .programs import Program, StartFailed
from .running import Supervisor
from .single import AlreadyRunning, only_one

__all__ = ["AlreadyRunning", "Program", "StartFailed", "Supervisor", "only_one"]
