"""A hostile root in a guest with private users, in either sysroot: nothing of its host changes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import BOTH, deploy, succeed
from tests.lab.side_by_side import on_each
from tests.lab.store import check, inodes, tree

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

# By its comment it is told from any other key: one in 256 begins as this one does, a host's own too.
KEY_COMMENT = "nobody@hostile.example"
KEY = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ {KEY_COMMENT}"
OWN = "/var/lib/pyinfra-nspawn/web"
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"


@pytest.fixture(scope="module", params=["private", "shared"])
def sysroot(request: pytest.FixtureRequest) -> str:
    """Where the guest is; into the second one it is moved after all that it did in the first one."""
    succeed(guests=[{"name": "web", "sysroot": request.param, "on_degraded": "report"}])
    return request.param


def state(host: Host) -> tuple[str, str]:
    return tree(host), inodes(host)


@pytest.fixture(scope="module")
def before(fresh: dict[str, Host], sysroot: str) -> dict[str, tuple[str, str]]:
    assert sysroot
    return on_each(fresh.values(), state)


@pytest.fixture(scope="module")
def var(sysroot: str) -> str:
    """The guest's /var on its host."""
    return f"{OWN}/ostree/deploy/web/var" if sysroot == "private" else "/sysroot/ostree/deploy/web/var"


@pytest.fixture(scope="module")
def attacked(before: dict[str, object], fresh: dict[str, Host]) -> dict[str, str]:
    assert set(before) == set(fresh)
    script = Path(__file__).with_name("hostile.sh").read_text()

    def attack(host: Host) -> str:
        devices = host.succeed("cat /sys/class/block/*/dev || :").split()
        inside = shlex.join(["sh", "-c", script, "hostile", *devices])
        return host.succeed(
            f"systemd-run -M web --pipe --wait --quiet --collect {inside} 2>/dev/null", timeout=300
        )

    return on_each(fresh.values(), attack)


def test_no_attempt_succeeds(attacked: dict[str, str]):
    assert attacked == dict.fromkeys(BOTH, "")


@pytest.mark.usefixtures("attacked")
def test_the_stores_are_whole(fresh: dict[str, Host]):
    on_each(fresh.values(), check)


@pytest.mark.usefixtures("attacked")
def test_the_hosts_tree_and_every_deployment_are_as_before(fresh: dict[str, Host], before):
    assert on_each(fresh.values(), state) == before


@pytest.mark.usefixtures("attacked")
def test_no_user_of_the_host_reaches_what_is_setuid_there(fresh: dict[str, Host], var: str):
    for host in fresh.values():
        assert host.succeed(f"stat -c '%a %u' {var}/setuid-sh") == "4755 0\n"
        leader = host.succeed("machinectl show web -p Leader --value").strip()
        ways = (var, f"/sysroot/ostree/deploy/host{var}", f"/proc/{leader}/root/var")
        for way in (*ways, "/run/pyinfra-nspawn/web/etc/../var", f"{OWN}/current/var"):
            # A shell in between: setpriv(1) itself has its capabilities until it executes something.
            said = host.fail(f"{NOBODY} sh -c 'exec {way}/setuid-sh -p -c id'")
            assert "uid=" not in said, said
        # The file is what it seems to be: who can reach it is root.
        assert "euid=0" in host.succeed(
            f"cp -a {var}/setuid-sh /var/tmp && {NOBODY} /var/tmp/setuid-sh -p -c id"
        )
        host.succeed("rm /var/tmp/setuid-sh")


@pytest.mark.usefixtures("attacked")
def test_the_next_run_writes_nothing_outside_the_guest(
    fresh: dict[str, Host], before, sysroot: str, var: str
):
    """The guest left links where a run's keys, files and binds go; they lead to the host's /etc by name.

    What cannot be written for that is reported, and the guest goes back to the definition that it ran.
    """
    guest = {
        "name": "web",
        "sysroot": sysroot,
        "authorized_keys": [KEY],
        "files": {"/etc/written": "hostile", "/root/.ssh/written": "hostile"},
        "binds": [{"source": "/usr/share", "target": "/var/shared"}],
        "on_degraded": "report",
    }
    other = {"name": "other"}
    outcome = deploy("-y", guests=[guest, other])
    assert outcome.code == 1
    for name, host in fresh.items():
        assert any("web: " in line and "was not written" in line for line in outcome.lines(name)), (
            outcome.stderr
        )
        assert tree(host) == before[name][0]
        host.fail(f"test -e {var}/sysroot || find {var} -path '*/ostree/repo' | grep .")
        assert host.succeed("systemctl -M other is-system-running") == "running\n"
    deploy("-y", guests=[guest, {**other, "state": "absent", "purge": True}])
    for host in fresh.values():
        host.fail("test -e /var/lib/pyinfra-nspawn/other")
        host.fail("test -e /etc/written || test -e /etc/authorized_keys")
        host.fail(f"grep -rqs {KEY_COMMENT} /etc")
