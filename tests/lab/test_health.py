"""Healthy is more than `running`: a unit that crashes in a loop is awaited, and named with its count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import deploy
from tests.lab.guest import inside

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

LOOP = """
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/false
Restart=always
RestartSec=3s
"""
SETTLES = """
[Service]
ExecStart=/bin/sh -c 'echo x >>/run/settles; [ $(wc -l </run/settles) -ge 4 ] && exec sleep infinity; exit 1'
Restart=always
RestartSec=300ms
"""


def web(name: str, text: str) -> dict[str, object]:
    credentials = {
        f"systemd.extra-unit.{name}.service": text,
        "systemd.unit-dropin.multi-user.target": f"[Unit]\nWants={name}.service\n",
    }
    return {"name": name, "credentials": credentials, "start_timeout_seconds": 15}


def test_a_unit_that_crashes_in_a_loop_is_named_with_its_count(fresh: dict[str, Host]):
    outcome = deploy("-y", guests=[web("loop", LOOP), web("settles", SETTLES), {"name": "plain"}])
    assert outcome.code == 1
    for name, host in fresh.items():
        said = [line for line in outcome.lines(name) if line.startswith("loop: ")]
        assert any("loop.service" in line and "restarted" in line for line in said), outcome.stderr
        assert not any(line.startswith(("settles: ", "plain: ")) for line in outcome.lines(name))
        assert host.succeed("systemctl -M settles is-system-running") == "running\n"
        assert inside(host, "settles", "systemctl show settles.service -p NRestarts --value") == "3\n"
    again = deploy("-y", guests=[web("settles", SETTLES), {"name": "plain"}])
    assert again.code == 0, again.stderr


def test_a_later_run_sees_it_while_it_waits_for_its_next_start(fresh: dict[str, Host]):
    outcome = deploy("-y", guests=[web("loop", LOOP)])
    assert outcome.code == 1
    for name in fresh:
        assert any("loop.service" in line for line in outcome.lines(name)), outcome.stderr
