"""Guests of every kind of network: traffic that really passes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import lan
from tests.lab.conftest import ROOT, Outcome, pyinfra
from tests.lab.guest import address, greeting, inside
from tests.lab.shell import retry
from tests.lab.test_verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Host
    from tests.lab.lan import Lan

BRIDGE = {"uplinks": ["eth0"], "confirm_seconds": 15}
MAC = "52:54:00:12:34:56"
GUESTS: tuple[dict[str, Any], ...] = (
    {
        "name": "static",
        "network": {
            "addresses": [f"{lan.STATIC}/{lan.NETWORK.prefixlen}"],
            "gateways": [lan.ROUTER],
            "dns": [lan.NAMESERVER],
        },
    },
    {"name": "known", "network": {"mac": MAC}},
    {"name": "zone-a", "network": "zone:lab"},
    {"name": "zone-b", "network": "zone:lab"},
    {"name": "behind", "network": "veth"},
    # The host has its port 22.
    {"name": "open", "network": "host", "mask_units": ["ssh.service"]},
)


def run(*options: str) -> Outcome:
    words = (*options, "--limit", "lab1", "deploys/fleet.py")
    return pyinfra(*words, nspawn_host={"bridge": BRIDGE}, guests=list(GUESTS))


@pytest.fixture(scope="module")
def running(fresh: dict[str, Host], network: Lan) -> dict[str, Host]:
    """The guests on lab1, which has a bridge; lab2 is not part of this."""
    assert network.holder
    outcome = run("-y")
    assert outcome.code == 0, outcome.stderr
    return fresh


@pytest.fixture
def host(running: dict[str, Host]) -> Host:
    return running["lab1"]


def reaches(host: Host, guest: str, to: str) -> None:
    """Have a guest open a connection to an sshd, and read what it says first."""
    retry(lambda: greeting(host, guest, to) == "SSH-", 30, f"{guest} reaches {to}")


def test_a_static_address(host: Host):
    assert address(host, "static") == lan.STATIC
    reaches(host, "static", lan.address_of("lab2"))
    routes = json.loads(inside(host, "static", "ip -j route show default"))
    assert [route["gateway"] for route in routes] == [lan.ROUTER]


def test_a_mac_of_its_own(host: Host, network: Lan):
    assert inside(host, "known", "cat /sys/class/net/host0/address").strip() == MAC
    found = address(host, "known")
    assert lan.has(found)
    assert MAC in network.leases()
    reaches(host, "known", lan.address_of("lab2"))


def test_guests_of_a_zone_reach_each_other_and_the_outside(host: Host):
    found = address(host, "zone-b")
    assert not lan.has(found)
    reaches(host, "zone-a", found)
    reaches(host, "zone-a", lan.address_of("lab2"))


def test_a_guest_behind_its_host_reaches_the_outside(host: Host):
    assert not lan.has(address(host, "behind"))
    reaches(host, "behind", lan.address_of("lab2"))


def test_a_guest_on_the_host_s_network(host: Host):
    assert inside(host, "open", "readlink /proc/self/ns/net") == host.succeed("readlink /proc/1/ns/net")
    reaches(host, "open", lan.address_of("lab2"))


@pytest.mark.parametrize("guest", ["known", "zone-a", "behind"])
def test_a_guest_is_found_by_name_from_its_host(guest: str, host: Host):
    found = address(host, guest)
    assert found in host.succeed(f"getent ahosts {guest}")


@pytest.mark.usefixtures("running")
def test_the_second_run_does_nothing():
    outcome = run("-y", "--json")
    assert outcome.json["results"]["totals"]["success"] == 0, outcome.stderr


def test_the_checks_of_a_fleet_look_at_networks(host: Host, tmp_path: Path):
    inventory = tmp_path / "inventory.py"
    inventory.write_text(f"""
import runpy
_lab1 = dict(runpy.run_path({str(ROOT / "inventories/lab.py")!r})["lab"])["lab1"]
lab = [("lab1", {{**_lab1, "nspawn_host": {{"bridge": {BRIDGE!r}}}, "guests": {list(GUESTS)!r}}})]
""")
    verdict = verify(inventory=inventory)
    assert verdict.code == 0, verdict.output
    host.succeed("ip link set vb-known nomaster")
    found = verify(inventory=inventory).failed
    host.succeed("ip link set vb-known master br0")
    assert list(found) == ["test_the_guest_is_a_port_of_its_bridge[lab1-known]"]
