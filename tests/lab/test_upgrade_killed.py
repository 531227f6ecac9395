"""An upgrade that is cut off anywhere: the guest runs the old or the new commit, and the next run goes on."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.commits import BAD, commit, release
from tests.lab.conftest import PYINFRA, ROOT, Outcome, pyinfra, succeed
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each
from tests.lab.test_killed import NO_ORPHAN

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("one_guest")

REF = "test/web"
WEB: dict[str, Any] = {"name": "web", "source": REF, "start_timeout_seconds": 25}
# On lab2 in the host's own sysroot.
WANTED = {"lab1": WEB, "lab2": {**WEB, "sysroot": "shared"}}
STATE = "/var/lib/pyinfra-nspawn/web"
TRIAL = "/run/pyinfra-nspawn/trial/web"
ENDED = f"! systemctl is-active --quiet pyinfra-nspawn-trial-web && ! test -e {TRIAL}"
# What is there once the guest was stopped, its commit deployed, and it started again.
POINTS = {
    "stopped": f"test -e {TRIAL}/stopped",
    "deployed": f"test -L {TRIAL}/current",
    "started": "test -e /run/systemd/system/systemd-nspawn@web.service.d/55-trial.conf && "
    "systemctl show --value -p ActiveState systemd-nspawn@web | grep -q ^activ",
}


@pytest.fixture(scope="module")
def one_guest(fresh: dict[str, Host]) -> None:
    def make(host: Host) -> None:
        commit(host, REF, release("first"))
        succeed("--limit", host.name, "-y", guests=[WANTED[host.name]])

    on_each(fresh.values(), make)


def upgrade(host: Host, kill_after: int = 0) -> Outcome:
    words = ("--limit", host.name, "-y", "deploys/upgrade.py")
    return pyinfra(*words, kill_after=kill_after, guests=[WANTED[host.name]])


def under_way(host: Host, point: str) -> subprocess.Popen[bytes]:
    """Start an upgrade, and return it once it has come so far."""
    # Long enough to be seen, on a machine at work on something else too.
    wanted = {**WANTED[host.name], "checks": {"settle_seconds": 3}}
    data = ("--data", f"guests={json.dumps([wanted])}")
    command = [PYINFRA, "--limit", host.name, "-y", *data, "inventories/lab.py", "deploys/upgrade.py"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
    host.wait_until_succeeds(POINTS[point])
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def runs(host: Host, name: str) -> None:
    """Expect the guest to run that commit, with what it had in /etc, and nothing left over."""
    assert inside(host, "web", "cat /usr/lib/lab-release /etc/mine") == f"{name}\n{name}'s\n"
    assert host.succeed("systemctl -M web is-system-running") == "running\n"
    assert host.succeed("ls -A /run/pyinfra-nspawn/trial /run/pyinfra-nspawn/verdict").split() == [
        "/run/pyinfra-nspawn/trial:",
        "/run/pyinfra-nspawn/verdict:",
    ]
    sysroot = "" if host.name == "lab2" else f"--sysroot={STATE}"
    status = host.succeed(f"ostree admin {sysroot} status")
    # What is no longer kept goes with the next run, where the controller of this one died.
    assert len([line for line in status.splitlines() if " web " in line]) <= 3
    assert host.succeed("ostree admin status").startswith("* host ")
    assert host.succeed("ostree refs --repo=/sysroot/ostree/repo --list pyinfra-nspawn") == ""


def newer(host: Host, name: str) -> str:
    """Have the guest keep something in its /etc, and its source name another commit, which is returned."""
    inside(host, "web", f'echo "{name}\'s" >/etc/mine')
    return commit(host, REF, release(name))


def test_a_controller_that_is_killed_after_any_command(fresh: dict[str, Host]):
    def kill_each(host: Host) -> int:
        for count in itertools.count(1):
            newer(host, f"killed{count}")
            outcome = upgrade(host, kill_after=count)
            assert outcome.code in (0, -signal.SIGKILL), outcome.stderr
            if outcome.code == 0:
                runs(host, f"killed{count}")
                return count - 1
            if host.name == "lab2":  # the next run of lab1 waits for what is still at work
                host.wait_until_succeeds(NO_ORPHAN)
            last = upgrade(host)
            assert last.code == 0, last.stderr
            runs(host, f"killed{count}")
        raise AssertionError

    assert min(on_each(fresh.values(), kill_each).values()) >= 2


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_an_upgrade_does_not_need_its_controller(fresh: dict[str, Host], good: bool):
    """What became of it is read from the host alone."""

    def lose_the_controller(host: Host) -> None:
        before = inside(host, "web", "cat /usr/lib/lab-release").strip()
        if good:
            newer(host, "alone")
        else:
            bad = commit(host, REF, {**release("bad"), **BAD["a unit fails"]})
        end(under_way(host, "stopped"))
        host.wait_until_succeeds(ENDED)
        host.wait_until_succeeds("systemctl -M web is-system-running")
        runs(host, "alone" if good else before)
        if not good:
            assert host.succeed(f"cat {STATE}/refused-commits") == f"{bad} bad.service failed\n"
            assert upgrade(host).code == 1

    on_each(fresh.values(), lose_the_controller)


@pytest.mark.parametrize("point", POINTS)
def test_a_trial_that_is_killed_itself(fresh: dict[str, Host], point: str):
    def kill_the_trial(host: Host) -> None:
        newer(host, f"after-{point}")
        process = under_way(host, point)
        host.succeed("systemctl kill --signal=KILL pyinfra-nspawn-trial-web || :")
        end(process)
        # Without another run.
        host.wait_until_succeeds(ENDED)
        host.wait_until_succeeds("systemctl -M web is-system-running")
        last = upgrade(host)
        assert last.code == 0, last.stderr
        runs(host, f"after-{point}")

    on_each(fresh.values(), kill_the_trial)


@pytest.mark.parametrize("point", POINTS)
def test_a_power_cut_boots_the_old_one(fresh: dict[str, Host], point: str):
    def cut_the_power(host: Host) -> None:
        before = inside(host, "web", "cat /usr/lib/lab-release").strip()
        newer(host, f"cut-{point}")
        inside(host, "web", f'echo "{before}\'s" >/etc/mine; sync')
        process = under_way(host, point)
        host.crash()
        end(process)
        host.wait_until_succeeds("systemctl -M web is-system-running")
        assert inside(host, "web", "cat /usr/lib/lab-release").strip() == before
        inside(host, "web", f'echo "cut-{point}\'s" >/etc/mine')
        last = upgrade(host)
        assert last.code == 0, last.stderr
        runs(host, f"cut-{point}")

    on_each(fresh.values(), cut_the_power)
