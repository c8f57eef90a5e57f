"""Run a command that does not outlive the process that asked for it, even when that one is killed with -9.

Usage: python launch.py PARENT_PID SIGNAL NICE COMMAND… Linux tells the child itself when its parent dies; elsewhere
this process stays and looks. Standard library only: it starts in milliseconds, before any package is found.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
LOOK_EVERY_SECONDS = 0.25


def become(parent: int, farewell: int, command: list[str]) -> None:
    """Linux: replace this process by the command; the kernel sends `farewell` when the parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, farewell)
    if os.getppid() != parent:  # It died before the kernel was asked.
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  The supervisor's own command line.


def guard(parent: int, farewell: int, command: list[str]) -> int:
    """Elsewhere: stay beside the command, end its process group when the parent is gone, hand on its exit status."""
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)  # noqa: S606
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # The whole group gets it; the command decides when it is done.
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) & 0xFF
        if os.getppid() != parent:
            os.kill(child, farewell)
            parent = os.getppid()
        time.sleep(LOOK_EVERY_SECONDS)


def be_nice(nice: int) -> None:
    """Leave processor time to the others. Linux with autogroups shares it among sessions first, and each program here
    is a session of its own: there the group's niceness counts and the process's own changes nothing (`man 7 sched`).
    """
    os.nice(nice)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:
        autogroup.write(str(nice))


def main() -> None:
    parent, farewell, nice, command = *map(int, sys.argv[1:4]), sys.argv[4:]
    be_nice(nice)
    if sys.platform == "linux":
        become(parent, farewell, command)
    sys.exit(guard(parent, farewell, command))


if __name__ == "__main__":
    main()
