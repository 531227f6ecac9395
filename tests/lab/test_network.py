"""A bridge, made over the very connection that leads through its uplink, in the network of lan.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import lan
from tests.lab.conftest import BOTH, ORIGINAL, Outcome, pyinfra, remote_commands
from tests.lab.guest import address
from tests.lab.paths import RUN
from tests.lab.shell import retry, run

if TYPE_CHECKING:
    from tests.lab import Host
    from tests.lab.lan import Lan

NETWORK = "deploys/network.py"
BRIDGE: dict[str, Any] = {"uplinks": ["eth0"], "confirm_seconds": 15}
OURS = "/etc/systemd/network/0-pyinfra-nspawn-br0"
LEASE = "ip -4 -o address show scope global"
MAC = "cat /sys/class/net/{}/address"
FILES = "cd /etc/systemd/network; sha256sum *; ls /run/systemd/network"
STARTED = "systemctl show systemd-networkd -p ExecMainStartTimestampMonotonic --value"
LEADERS = (
    "for name in $(machinectl list --no-legend | cut -d ' ' -f 1); do machinectl show $name -p Leader; done"
)
LOG = "journalctl --sync; journalctl --boot --output=json -t systemd-networkd -t sshd-session -t sshd"

LONG = "a-guest-whose-name-has-as-many-letters-as-machinectl-allows-it64"
NAMES = ("web", "thirteen-long", LONG)


def bridged(
    *options: str, deploy: str = NETWORK, guests: tuple[dict[str, Any], ...] = (), **changed: Any
) -> Outcome:
    """Run a deploy with that bridge on both hosts, `-y --json` unless told otherwise."""
    settings = {"bridge": {**BRIDGE, **changed}}
    return pyinfra(*(options or ("-y", "--json")), deploy, nspawn_host=settings, guests=list(guests))


@pytest.fixture(scope="module")
def before(fresh: dict[str, Host], network: Lan) -> dict[str, tuple[str, str]]:
    """The MAC of each host's uplink and its files, once it is plugged in."""
    assert network.holder
    return {name: (host.succeed(MAC.format("eth0")), host.succeed(FILES)) for name, host in fresh.items()}


@pytest.fixture(scope="module")
def planned(before: dict[str, Any], fresh: dict[str, Host]) -> Outcome:
    """A dry run, which changes nothing."""
    outcome = bridged("--dry", "--diff")
    for name, host in fresh.items():
        assert host.succeed(FILES) == before[name][1]
    return outcome


@pytest.fixture(scope="module")
def made(planned: Outcome) -> Outcome:
    """The run that makes the bridges, after the dry one."""
    assert planned.code == 0, planned.stderr
    outcome = bridged()
    assert outcome.code == 0, outcome.stderr
    return outcome


@pytest.fixture(params=BOTH)
def host(request: pytest.FixtureRequest, fresh: dict[str, Host]) -> Host:
    return fresh[request.param]


@pytest.mark.parametrize("name", BOTH)
def test_a_dry_run_shows_the_files(planned: Outcome, name: str):
    said = "\n".join(planned.lines(name))
    assert "bridge eth0 into br0, and restore the network unless this controller" in said
    assert f"{OURS}.netdev" in said
    assert "+ Bridge=br0" in said


def test_the_host_keeps_its_mac_its_lease_and_its_connection(made: Outcome, host: Host, before):
    assert made.hosts("success") == {"Network | Bridge": BOTH}
    assert f"{lan.address_of(host.name)}/" in host.succeed(f"{LEASE} dev br0")
    assert not host.succeed(f"{LEASE} dev eth0")
    assert host.succeed(MAC.format("br0")) == before[host.name][0]
    (reached,) = (line for line in made.lines(host.name) if line.startswith("reached again after"))
    print(host.name, reached)


@pytest.mark.usefixtures("made")
def test_the_files_are_kept_and_the_former_one_is_left(host: Host):
    ours = [f"{OURS}{end}" for end in ("-uplink0.network", ".netdev", ".network")]
    assert host.succeed("ls /etc/systemd/network/*").split() == [*ours, ORIGINAL]
    assert not host.succeed("ls /run/systemd/network")
    host.fail("test -e /run/pyinfra-nspawn/network")
    host.fail("systemctl is-active pyinfra-nspawn-network-revert.timer")


@pytest.mark.usefixtures("made")
def test_it_is_confirmed_over_a_connection_that_is_younger_than_the_change(host: Host):
    log = [json.loads(line) for line in host.succeed(LOG).splitlines()]
    at = {str(entry["MESSAGE"]): int(entry["__MONOTONIC_TIMESTAMP"]) for entry in log}
    logins = [when for message, when in at.items() if message.startswith("Accepted publickey")]
    assert any(when > at["br0: Gained carrier"] for when in logins)


@pytest.mark.usefixtures("made")
def test_the_second_run_does_nothing(fresh: dict[str, Host]):
    def state() -> dict[str, tuple[str, str]]:
        return {name: (host.succeed(FILES), host.succeed(STARTED)) for name, host in fresh.items()}

    before, commands = state(), {name: remote_commands(host) for name, host in fresh.items()}
    assert bridged().hosts("no_change") == {"Network | Bridge": BOTH}
    assert state() == before
    assert {name: remote_commands(host) - commands[name] for name, host in fresh.items()} == {
        "lab1": 1,
        "lab2": 1,
    }


@pytest.fixture(scope="module")
def guests(made: Outcome) -> tuple[dict[str, Any], ...]:
    """Guests of both hosts, on the bridge because there is one."""
    assert made.code == 0
    key = (RUN / "key.pub").read_text().strip()
    wanted = tuple({"name": name, "authorized_keys": [key]} for name in NAMES)
    outcome = bridged(deploy="deploys/fleet.py", guests=wanted)
    assert outcome.code == 0, outcome.stderr
    return wanted


def ssh(to: str, command: str) -> str:
    """Run a command on a guest as anybody on the network would: its host is not on the way."""
    options = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
        "ConnectTimeout": "5",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return run("ssh", *words, "-i", RUN / "key", f"root@{to}", command)


@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize("name", NAMES, ids=["3", "13", "64"])
def test_a_guest_has_an_address_of_the_network_and_is_reached_from_outside(host: Host, name: str):
    found = address(host, name)
    assert lan.has(found)
    assert retry(lambda: ssh(found, "cat /proc/sys/kernel/hostname"), 20, f"ssh to {name}").strip() == name
    ports = json.loads(host.succeed("ip -j link show master br0"))
    assert any(f"vb-{name}" in (port["ifname"], *port.get("altnames", ())) for port in ports)


def test_the_second_run_restarts_no_guest(guests: tuple[dict[str, Any], ...], fresh: dict[str, Host]):
    before = {name: host.succeed(LEADERS) for name, host in fresh.items()}
    outcome = bridged(deploy="deploys/fleet.py", guests=guests)
    assert outcome.json["results"]["totals"]["success"] == 0, outcome.stderr
    assert {name: host.succeed(LEADERS) for name, host in fresh.items()} == before


@pytest.mark.usefixtures("guests")
def test_a_host_that_starts_again_has_its_bridge_and_its_guests(host: Host, before):
    host.reboot()
    assert f"{lan.address_of(host.name)}/" in host.succeed(f"{LEASE} dev br0")
    assert host.succeed(MAC.format("br0")) == before[host.name][0]
    assert lan.has(address(host, "web"))


def test_the_bridge_is_changed(guests: tuple[dict[str, Any], ...], fresh: dict[str, Host]):
    outcome = bridged(mtu=1400)
    assert outcome.code == 0, outcome.stderr
    for host in fresh.values():
        assert host.succeed("cat /sys/class/net/br0/mtu /sys/class/net/eth0/mtu").split() == ["1400", "1400"]
        assert f"{lan.address_of(host.name)}/" in host.succeed(f"{LEASE} dev br0")
        # The guest's link went down and up with the bridge: it may ask for its lease anew.
        assert retry(lambda: ssh(address(host, "web"), "echo here"), 60, "ssh to web").strip() == "here"  # noqa: B023
    assert bridged(mtu=1400, guests=guests).hosts("no_change") == {"Network | Bridge": BOTH}


def test_a_change_by_hand_is_undone(fresh: dict[str, Host]):
    for host in fresh.values():
        host.succeed("ip link set br0 mtu 1450")
    outcome = bridged(mtu=1400)
    assert outcome.code == 0, outcome.stderr
    for host in fresh.values():
        assert host.succeed("cat /sys/class/net/br0/mtu") == "1400\n"


def test_a_bridge_that_guests_use_is_not_removed(guests: tuple[dict[str, Any], ...]):
    outcome = bridged(state="absent", guests=guests)
    assert outcome.code == 1
    for name in BOTH:
        assert "guests use bridge br0" in "\n".join(outcome.lines(name))


def test_the_uplink_gets_its_address_back_when_the_bridge_is_removed(
    guests: tuple[dict[str, Any], ...], fresh: dict[str, Host], before
):
    gone = [{"name": guest["name"], "state": "absent", "purge": True} for guest in guests]
    assert pyinfra("-y", "deploys/guest.py", guests=gone).code == 0
    outcome = bridged(state="absent")
    assert outcome.code == 0, outcome.stderr
    for name, host in fresh.items():
        assert f"{lan.address_of(name)}/" in host.succeed(f"{LEASE} dev eth0")
        host.fail("ip link show br0")
        assert host.succeed(FILES) == before[name][1]
    assert bridged(state="absent").hosts("no_change") == {"Network | Bridge": BOTH}
