"""A host of the oldest generation, systemd 252 and ostree 2022.7: every kind of guest, and its life."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import lan
from tests.lab.commits import BAD, commit, release
from tests.lab.conftest import Outcome, plugged, pyinfra
from tests.lab.guest import address, inside
from tests.lab.test_kinds import HOST, KEEP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab import Host

pytestmark = pytest.mark.timeout(1200)  # the image may be built first

REF = "test/web"
KINDS = [
    (sysroot, isolation)
    for sysroot in ("private", "shared")
    for isolation in ("private-users", "overlay", "none")
]
GUESTS: list[dict[str, Any]] = [
    {
        "name": f"{sysroot[0]}-{isolation}",
        "sysroot": sysroot,
        "isolation": isolation,
        "source": REF,
        "start_timeout_seconds": 30,
        # There the package makes the host keys, and the tree has none.
        "mask_units": ["ssh.service"],
    }
    for sysroot, isolation in KINDS
]
NAMES = [guest["name"] for guest in GUESTS]
RELEASE = "cat /usr/lib/lab-release"
STARTED = f"systemctl show {' '.join(f'systemd-nspawn@{name}' for name in NAMES)} -p ExecMainPID --value"
#: A guest of each kind of sysroot.
TWO = [GUESTS[0], GUESTS[3]]


@pytest.fixture(scope="module")
def host(have_up: Callable[[list[str]], dict[str, Host]]) -> Host:
    (found,) = have_up(["lab3"]).values()
    found.reset()
    return found


def run(*words: str, guests: list[dict[str, Any]] = GUESTS, **data: object) -> Outcome:
    """Run a deploy and expect it to succeed."""
    outcome = tried(*words, guests=guests, **data)
    assert outcome.code == 0, outcome.stderr
    return outcome


def tried(*words: str, guests: list[dict[str, Any]] = GUESTS, **data: object) -> Outcome:
    options = words if "--dry" in words else ("-y", *words)
    return pyinfra("--json", *options, inventory="inventories/lab_bookworm.py", guests=guests, **data)


def changes(outcome: Outcome) -> int:
    found: int = outcome.json["results"]["totals"]["success"]
    return found


def runs(host: Host, guest: str, text: str) -> None:
    assert host.succeed(f"systemctl -M {guest} is-system-running") == "running\n"
    assert inside(host, guest, RELEASE) == f"{text}\n"


@pytest.fixture(scope="module")
def before(host: Host) -> str:
    """The host before it had a guest."""
    assert host.succeed("systemctl --version").startswith("systemd 252 ")
    assert "2022.7" in host.succeed("ostree --version")
    commit(host, REF, release("one"))
    return host.succeed(HOST)


def test_every_kind_of_guest_runs_and_the_second_run_does_nothing(host: Host, before: str):
    run("--dry", "deploys/fleet.py")
    assert host.succeed(HOST) == before
    run("deploys/fleet.py")
    for guest in GUESTS:
        runs(host, guest["name"], "one")
        owns_ids = inside(host, guest["name"], "cat /proc/self/uid_map").split() == ["0", "0", "4294967295"]
        assert owns_ids == (guest["isolation"] != "private-users")
        inside(host, guest["name"], KEEP)
    started = host.succeed(STARTED)
    assert changes(run("deploys/fleet.py")) == 0
    assert host.succeed(STARTED) == started


@pytest.mark.usefixtures("before")
def test_guests_are_upgraded_rolled_back_and_move_on_again(host: Host):
    new = commit(host, REF, release("two"))
    upgraded = run("deploys/upgrade.py")
    for name in NAMES:
        runs(host, name, "two")
        assert inside(host, name, "cat /etc/kept /var/kept") == "kept\nkept\n"
        said = f"{name}: runs commit {new[:12]}, was down for "
        (down,) = [line.removeprefix(said) for line in upgraded.lines("lab3") if line.startswith(said)]
        assert float(down.removesuffix(" s")) < 10
    assert changes(run("deploys/upgrade.py")) == 0
    for text in ("one", "two"):
        for guest in TWO:
            run("deploys/rollback.py", guests=TWO, rollback=guest["name"])
            runs(host, guest["name"], text)
    assert changes(run("deploys/upgrade.py")) == 0


@pytest.mark.usefixtures("before")
def test_a_bad_commit_is_undone(host: Host):
    bad = commit(host, REF, {**release("bad"), **BAD["a unit fails"]})
    outcome = tried("deploys/upgrade.py", guests=TWO)
    assert outcome.code == 1
    said = "\n".join(outcome.lines("lab3"))
    assert f"with commit {bad[:12]}: bad.service failed; it went back to the old" in said
    for name in NAMES:
        runs(host, name, "two")


@pytest.mark.usefixtures("before")
def test_old_deployments_go(host: Host):
    for text in ("three", "four"):
        commit(host, REF, release(text))
        run("deploys/upgrade.py", guests=TWO)
    for guest in TWO:
        runs(host, guest["name"], "four")
        sysroot = "" if guest["sysroot"] == "shared" else f"--sysroot=/var/lib/pyinfra-nspawn/{guest['name']}"
        listed = host.succeed(f"ostree admin {sysroot} status")
        assert len(re.findall(rf"^[* ] {guest['name']} ", listed, re.MULTILINE)) == 2
    host.succeed("ostree fsck --repo=/sysroot/ostree/repo --quiet", timeout=120)


@pytest.mark.usefixtures("before")
def test_the_host_boots_its_own_and_its_guests_come_back(host: Host):
    booted = host.succeed("ostree admin status | sed -n 's/^[*] //p'")
    host.reboot()
    assert host.succeed("ostree admin status | sed -n 's/^[*] //p'") == booted
    for name in NAMES:
        host.wait_until_succeeds(f"systemctl -M {name} is-system-running")


@pytest.mark.usefixtures("before")
def test_a_guest_is_made_again_from_its_backup(host: Host):
    web = GUESTS[0]
    name = web["name"]
    run("deploys/backup.py", guests=[web], backup=name)
    run("deploys/guest.py", guests=[{**web, "state": "absent", "purge": True}])
    host.fail(f"test -e /var/lib/pyinfra-nspawn/{name}")
    run("deploys/restore.py", guests=[web], restore=name)
    runs(host, name, "four")
    assert inside(host, name, "cat /etc/kept /var/kept; stat -c %u /var/kept") == "kept\nkept\n1000\n"
    assert changes(run("deploys/fleet.py", guests=[web])) == 0


def test_after_their_removal_the_host_is_as_before(host: Host, before: str):
    gone = [{"name": name, "state": "absent", "purge": True} for name in NAMES]
    assert changes(run("deploys/guest.py", guests=gone)) == 1
    assert host.succeed(HOST) == before
    assert changes(run("deploys/guest.py", guests=gone)) == 0


def test_a_bridge_keeps_the_host_s_address_and_gives_guests_theirs(host: Host):
    guest = {**GUESTS[0], "source": "host"}
    settings = {"bridge": {"uplinks": ["eth0"], "confirm_seconds": 15}}
    lease = "ip -4 -o address show scope global dev br0"
    host.reset()
    with plugged({"lab3": host}):
        run("deploys/fleet.py", guests=[guest], nspawn_host=settings)
        assert f"{lan.address_of('lab3')}/" in host.succeed(lease)
        assert lan.has(address(host, guest["name"]))
        assert changes(run("deploys/fleet.py", guests=[guest], nspawn_host=settings)) == 0
        host.reboot()
        assert f"{lan.address_of('lab3')}/" in host.succeed(lease)
