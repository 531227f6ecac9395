"""Thirty guests on one host: made, left alone, and back after the host was restarted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import DEPLOYS, Outcome, pyinfra, remote_commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab import Host

NAMES = [f"web-{number:02}" for number in range(30)]
AT_ONCE = 4
SHOWN = ("ActiveState", "NRestarts", "InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
STATES = f"for name in {' '.join(NAMES)}; do systemctl -M $name is-system-running || :; done"


def run(*options: str) -> Outcome:
    guests = [{"name": name} for name in NAMES]
    outcome = pyinfra("--limit", "lab1", *options, *DEPLOYS, guests=guests)
    assert outcome.code == 0, outcome.stderr
    return outcome


def units(host: Host) -> list[dict[str, str]]:
    """Return what systemd says of each guest's unit."""
    properties = " ".join(f"-p {name}" for name in SHOWN)
    ids = " ".join(f"systemd-nspawn@{name}.service" for name in NAMES)
    blocks = host.succeed(f"systemctl show {properties} {ids}").strip().split("\n\n")
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]


def most_at_once(shown: list[dict[str, str]]) -> int:
    """Return how many guests were starting at one time."""
    starts = [(int(unit[SHOWN[2]]), 1) for unit in shown]
    ends = [(int(unit[SHOWN[3]]), -1) for unit in shown]
    now = most = 0
    for _, step in sorted([*starts, *ends]):
        now += step
        most = max(most, now)
    return most


def used_mib(host: Host) -> int:
    return int(host.succeed("free -m").split("Mem:")[1].split()[1])


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str, float], None]:
    """Print how long it took since a time; no test is red for it."""

    def tell(what: str, since: float) -> None:
        with capsys.disabled():
            print(f"\nthirty guests: {what}: {time.monotonic() - since:.1f} s", end=" ", flush=True)

    return tell


def test_thirty_guests(fresh: dict[str, Host], tell: Callable[[str, float], None]):
    host = fresh["lab1"]
    memory, started = used_mib(host), time.monotonic()
    run("-y")
    tell(f"first run, {used_mib(host) - memory} MiB more in use", started)
    assert host.succeed(STATES).split() == ["running"] * len(NAMES)

    commands, started = remote_commands(host), time.monotonic()
    outcome = run("-y", "--json")
    tell("run with nothing to do", started)
    assert outcome.json["results"]["totals"]["success"] == 0
    assert remote_commands(host) - commands <= 4

    started = time.monotonic()
    host.reboot()
    tell("host restarted and all guests up", started)
    assert host.succeed(STATES).split() == ["running"] * len(NAMES)
    shown = units(host)
    assert {(unit["ActiveState"], unit["NRestarts"]) for unit in shown} == {("active", "0")}
    assert 1 < most_at_once(shown) <= AT_ONCE
    assert run("-y", "--json").json["results"]["totals"]["success"] == 0
