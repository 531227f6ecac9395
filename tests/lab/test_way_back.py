"""A changed definition that does not come up: the guest goes back to the one it ran, whoever is killed."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import BOTH, PYINFRA, ROOT, deploy, succeed
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each
from tests.lab.test_killed import NO_ORPHAN, killed_run

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

WEB: dict[str, Any] = {"name": "web", "credentials": {"token": "old"}, "hostname": "old"}
GOOD = {"name": "web", "credentials": {"token": "new"}, "hostname": "new"}
# It comes up with a unit that fails, or not at all.
DEGRADED = {
    **GOOD,
    "credentials": {
        "token": "new",
        "systemd.extra-unit.bad.service": "[Service]\nExecStart=/bin/false\n",
        "systemd.unit-dropin.multi-user.target": "[Unit]\nWants=bad.service\n",
    },
}
NEVER = {**GOOD, "system_calls": ["~@file-system"], "start_timeout_seconds": 20}
STARTED = "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic --value"
STATE = "/var/lib/pyinfra-nspawn"
LEFT = "ls -A /run/systemd/system/systemd-nspawn@web.service.d /run/pyinfra-nspawn/trial 2>/dev/null || :"


def runs(host: Host, hostname: str) -> None:
    assert host.succeed("systemctl -M web is-system-running") == "running\n"
    assert inside(host, "web", "hostname") == f"{hostname}\n"
    assert host.succeed("systemctl show systemd-nspawn@web -p NeedDaemonReload --value") == "no\n"
    assert host.succeed(LEFT).split() in ([], ["/run/pyinfra-nspawn/trial:"])


def test_a_good_one_is_kept(fresh: dict[str, Host]):
    succeed(guests=[WEB])
    succeed(guests=[GOOD])
    for host in fresh.values():
        runs(host, "new")
        assert host.succeed(f"cat {STATE}/web/credentials/token") == "new"
    assert succeed(guests=[GOOD]).json["results"]["totals"]["success"] == 0


@pytest.mark.parametrize("bad", [DEGRADED, NEVER], ids=["degraded", "never up"])
def test_a_bad_one_is_undone_reported_and_not_tried_again(fresh: dict[str, Host], bad: dict[str, Any]):
    succeed(guests=[WEB])
    outcome = deploy("-y", guests=[bad])
    assert outcome.code == 1
    for name, host in fresh.items():
        runs(host, "old")
        assert host.succeed(f"cat {STATE}/web/credentials/token") == "old"
        said = "\n".join(outcome.lines(name))
        assert "went back" in said, said
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    again = deploy("-y", guests=[bad])
    assert again.code == 1
    for name, host in fresh.items():
        assert host.succeed(STARTED) == started[name]
        assert any("did not come up when it was tried" in line for line in again.lines(name)), again.stderr
    succeed(guests=[GOOD])
    for host in fresh.values():
        runs(host, "new")


def test_what_is_missing_on_the_host_is_refused_before_a_restart(fresh: dict[str, Host]):
    succeed(guests=[WEB])
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    outcome = deploy("-y", guests=[{**WEB, "binds": [{"source": "/srv/nothing", "target": "/var/bound"}]}])
    assert outcome.code == 1
    for name, host in fresh.items():
        assert any("/srv/nothing" in line for line in outcome.lines(name))
        assert host.succeed(STARTED) == started[name]


@pytest.mark.parametrize("wanted", [GOOD, DEGRADED], ids=["good", "degraded"])
def test_a_controller_that_is_killed_before_it_has_sent_all_changes_nothing(
    fresh: dict[str, Host], wanted: dict[str, Any]
):
    """The third command of such a run is the trial."""
    succeed(guests=[WEB])
    assert on_each(fresh.values(), lambda host: killed_run(host.name, wanted, 3)) == dict.fromkeys(BOTH, True)
    on_each(fresh.values(), lambda host: host.wait_until_succeeds(NO_ORPHAN))
    on_each(fresh.values(), partial(runs, hostname="old"))


BEGUN = "test -e /run/pyinfra-nspawn/trial/web/begun"
ENDED = "! systemctl is-active --quiet pyinfra-nspawn-trial-web && ! test -e /run/pyinfra-nspawn/trial/web"


def trial_under_way(host: Host, wanted: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a run upon the host, and return it once the trial has begun."""
    data = ("--data", f"guests={json.dumps([wanted])}")
    command = [PYINFRA, "--limit", host.name, "-y", *data, "inventories/lab.py", "deploys/guest.py"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
    host.wait_until_succeeds(BEGUN)
    return process


@pytest.mark.parametrize("wanted", [GOOD, DEGRADED], ids=["good", "degraded"])
def test_a_trial_does_not_need_its_controller(fresh: dict[str, Host], wanted: dict[str, Any]):
    succeed(guests=[WEB])

    def lose_the_controller(host: Host) -> None:
        process = trial_under_way(host, wanted)
        process.kill()
        process.wait()
        host.wait_until_succeeds(ENDED)

    on_each(fresh.values(), lose_the_controller)
    on_each(fresh.values(), partial(runs, hostname="new" if wanted is GOOD else "old"))
    outcome = deploy("-y", guests=[wanted])
    assert (outcome.code == 0) == (wanted is GOOD), outcome.stderr
    on_each(fresh.values(), partial(runs, hostname="new" if wanted is GOOD else "old"))


def test_a_trial_that_is_killed_itself_is_undone_or_finished(fresh: dict[str, Host]):
    succeed(guests=[WEB])

    def kill_the_trial(host: Host) -> None:
        process = trial_under_way(host, GOOD)
        process.kill()
        process.wait()
        host.run("systemctl kill --signal=KILL pyinfra-nspawn-trial-web")

    on_each(fresh.values(), kill_the_trial)
    succeed(guests=[GOOD])
    on_each(fresh.values(), partial(runs, hostname="new"))
    assert succeed(guests=[GOOD]).json["results"]["totals"]["success"] == 0


def test_a_power_cut_in_a_trial_boots_the_old_one(fresh: dict[str, Host]):
    succeed(guests=[WEB])

    def cut_the_power(host: Host) -> None:
        process = trial_under_way(host, GOOD)
        process.kill()
        process.wait()
        host.crash()
        host.wait_until_succeeds("systemctl -M web is-system-running")

    on_each(fresh.values(), cut_the_power)
    on_each(fresh.values(), partial(runs, hostname="old"))
    succeed(guests=[GOOD])
    on_each(fresh.values(), partial(runs, hostname="new"))
