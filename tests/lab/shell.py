"""Run a command, wait for a condition, and say what went wrong."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

#: Between two attempts, at first and at most: an attempt often runs a command on a host.
POLL_SECONDS = 0.05
POLL_SECONDS_AT_MOST = 0.3


class LabError(Exception):
    """The lab could not do what it was asked: what was expected, what was found."""


def run(*argv: str | Path, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """Run a command that must succeed and return what it printed.

    It dies with the thread that started it: a killed `up` must not leave a builder behind.
    """
    command = [str(word) for word in argv]
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", *command],
        input=stdin,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(explain(command, done))
    return done.stdout


def explain(
    command: list[str] | str, done: subprocess.CompletedProcess[str], expected: str = "exit code 0"
) -> str:
    """Tell what was expected of a command and what was found."""
    line = command if isinstance(command, str) else " ".join(command)
    return (
        f"expected {expected}, found exit code {done.returncode}: {line}\n"
        f"stdout: {done.stdout.strip() or '(nothing)'}\n"
        f"stderr: {done.stderr.strip() or '(nothing)'}"
    )


def retry(attempt: Callable[[], T | None], timeout: float, expected: str) -> T:
    """Call `attempt` until it returns something, but for `timeout` seconds at most.

    An attempt may raise LabError or OSError to say what it found instead.
    """
    deadline, pause = time.monotonic() + timeout, POLL_SECONDS
    while True:
        found = "nothing"
        try:
            result = attempt()
        except (LabError, OSError) as error:
            result, found = None, str(error)
        if result:
            return result
        if time.monotonic() > deadline:
            raise LabError(f"expected within {timeout:g} s: {expected}\nfound: {found}")
        time.sleep(pause)
        pause = min(1.3 * pause, POLL_SECONDS_AT_MOST)
