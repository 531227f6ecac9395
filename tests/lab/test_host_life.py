"""A guest keeps its commit whatever its host boots, and guests of one host keep out of each other's way."""

from __future__ import annotations

import json

import pytest

from tests.lab import Host
from tests.lab.conftest import BOTH, deploy, succeed
from tests.lab.side_by_side import on_each

pytestmark = pytest.mark.usefixtures("fresh")

WEB = {"name": "web"}
BOOTS = "readlink /var/lib/pyinfra-nspawn/web/current"
# The directory that the guest's root was mounted from, as the kernel has it.
RUNS = "awk '$5 == \"/\" {print $4}' /proc/$(machinectl show web -p Leader --value)/mountinfo"
STARTED = "systemctl show systemd-nspawn@{} -p ExecMainStartTimestampMonotonic -p MainPID"
PENDING = "the host boots another deployment next, whose /etc was made before this run"


def commit_that_runs(host: Host) -> str:
    """Wait for the guest and return the commit that it was started from."""
    host.wait_until_succeeds("systemctl -M web is-system-running")
    running, chosen = (host.succeed(command).strip().rsplit("/", 1)[-1] for command in (RUNS, BOOTS))
    assert running == chosen
    return running.partition(".")[0]


def booted(host: Host) -> str:
    (line,) = (
        line for line in host.succeed("ostree admin status").splitlines() if line.startswith("* host ")
    )
    return line.split()[2]


def test_the_guest_starts_on_the_same_commit_whatever_its_host_boots(fresh: dict[str, Host]):
    succeed(guests=[WEB])
    installed = {name: booted(host) for name, host in fresh.items()}
    commits = {name: commit_that_runs(host) for name, host in fresh.items()}
    assert commits == {name: deployment.partition(".")[0] for name, deployment in installed.items()}

    for host in fresh.values():
        host.succeed(f"ostree admin deploy --os=host {host.spec.generation.next_ref}")
        host.succeed("systemctl restart systemd-nspawn@web")
    outcome = succeed(guests=[WEB])
    assert outcome.json["results"]["totals"]["success"] == 0
    for name, host in fresh.items():
        assert commit_that_runs(host) == commits[name]
        assert any(line.startswith(PENDING) for line in outcome.lines(name))

    on_each(fresh.values(), Host.reboot)
    assert on_each(fresh.values(), commit_that_runs) == commits
    for name, host in fresh.items():
        assert booted(host) != installed[name]
    outcome = succeed(guests=[WEB])
    assert outcome.json["results"]["totals"]["success"] == 0
    for name in fresh:
        assert any(line.startswith("web: it boots commit") for line in outcome.lines(name))
        assert not any(line.startswith(PENDING) for line in outcome.lines(name))

    on_each(fresh.values(), lambda host: host.reboot(installed[host.name]))
    assert on_each(fresh.values(), booted) == installed
    assert on_each(fresh.values(), commit_that_runs) == commits
    fsck = "ostree fsck --quiet --repo=/var/lib/pyinfra-nspawn/web/ostree/repo"
    on_each(fresh.values(), lambda host: host.succeed(fsck, timeout=120))
    assert succeed(guests=[WEB]).json["results"]["totals"]["success"] == 0


# The two long names are the same up to their 24th character; an interface's name has 15 at most.
LONG = ("a-guest-with-a-long-name-1", "a-guest-with-a-long-name-2")
GUESTS = [WEB, {"name": "web-1"}, *({"name": name} for name in LONG)]


def interfaces(host: Host) -> list[str]:
    """The outer ends of the guests' interfaces."""
    links = json.loads(host.succeed("ip -json link show type veth"))
    return [link["ifname"] for link in links if link["ifname"].startswith("ve-")]


def test_guests_with_names_alike_do_not_touch_each_other(fresh: dict[str, Host]):
    succeed(guests=GUESTS)
    started = {
        name: {guest["name"]: host.succeed(STARTED.format(guest["name"])) for guest in GUESTS}
        for name, host in fresh.items()
    }
    for host in fresh.values():
        assert len(set(interfaces(host))) == len(GUESTS)
    changed = [WEB, {"name": "web-1", "hostname": "other"}, *GUESTS[2:]]
    outcome = succeed(guests=changed)
    for name, host in fresh.items():
        now = {guest["name"]: host.succeed(STARTED.format(guest["name"])) for guest in GUESTS}
        assert [guest for guest, when in now.items() if when != started[name][guest]] == ["web-1"]
        assert host.succeed("systemd-run -M web --pipe --wait --quiet --collect hostname") == "web\n"
        assert not any(line.startswith("web: ") for line in outcome.lines(name))


def test_one_broken_guest_keeps_no_other_from_being_tried(fresh: dict[str, Host]):
    """It dies at each start, since what is to be bound into it is not there."""
    broken = {"name": "web-1", "binds": [{"source": "/srv/nothing-here", "target": "/var/bound"}]}
    guests = [{**WEB, "hostname": "first"}, broken, {"name": LONG[0], "hostname": "last"}]
    for host in fresh.values():
        host.succeed(f"systemctl stop systemd-nspawn@{LONG[0]}")
    outcome = deploy("-y", guests=guests)
    assert outcome.code != 0
    for name in BOTH:
        said = outcome.lines(name)
        assert any(line.startswith("web-1: ") for line in said), outcome.stderr
    for host in fresh.values():
        for guest, hostname in (("web", "first"), (LONG[0], "last")):
            assert host.succeed(f"systemctl -M {guest} is-system-running") == "running\n"
            inside = f"systemd-run -M {guest} --pipe --wait --quiet --collect hostname"
            assert host.succeed(inside) == f"{hostname}\n"
        host.succeed("mkdir -p /srv/nothing-here")
    succeed(guests=guests)
    assert succeed(guests=guests).json["results"]["totals"]["success"] == 0
