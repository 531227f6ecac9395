"""Hosts that move to another address with their bridge, and hosts of which all is IPv6."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import lan
from tests.lab.conftest import ORIGINAL, Outcome, pyinfra
from tests.lab.guest import greeting, inside
from tests.lab.paths import RUN, SSH_CONFIG
from tests.lab.shell import retry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Host
    from tests.lab.lan import Lan

ASKING_IPV6 = "[Match]\nName=eth0\n\n[Network]\nDHCP=no\nIPv6AcceptRA=yes\n"


def reached_at(folder: Path, host: Host, first: str, *later: str) -> dict[str, str]:
    """Return the data by which pyinfra reaches a host at an address, and knows it at later ones."""
    config, known = folder / "ssh_config", folder / "known_hosts"
    (line,) = (line for line in (RUN / "known_hosts").read_text().splitlines() if line.startswith(host.name))
    known.write_text(f"{','.join((first, *later))} {line.partition(' ')[2]}\n")
    own = SSH_CONFIG.read_text().split("\n\n")[0 if host.name == "lab1" else 1]
    settings = [line for line in own.splitlines() if line.startswith("  ") and "HostName" not in line]
    text = "\n".join(settings).replace(str(RUN / "known_hosts"), str(known))
    config.write_text("".join(f"Host {address}\n{text}\n" for address in (first, *later)))
    return {"ssh_hostname": first, "ssh_config_file": str(config)}


def bridged(host: Host, data: dict[str, str], guests: list[dict[str, Any]], **bridge: Any) -> Outcome:
    words = ("-y", "--json", "--limit", host.name, "deploys/fleet.py")
    settings = {"bridge": {"uplinks": ["eth0"], "confirm_seconds": 15, **bridge}}
    return pyinfra(*words, nspawn_host=settings, guests=guests, **data)


@pytest.fixture
def host(fresh: dict[str, Host], network: Lan) -> Host:
    assert network.holder
    return fresh["lab1"]


def test_a_host_moves_to_the_address_that_the_inventory_names(host: Host, tmp_path: Path):
    now = lan.address_of(host.name)
    static = {"dhcp": "no", "addresses": [f"{lan.STATIC}/{lan.NETWORK.prefixlen}"], "gateways": [lan.ROUTER]}
    data = reached_at(tmp_path, host, now, lan.STATIC)
    outcome = bridged(host, data, [], **static, reached_at=lan.STATIC)
    assert outcome.code == 0, outcome.stderr
    assert f"{lan.STATIC}/" in host.succeed("ip -4 -o address show dev br0")
    assert f"{now}/" not in host.succeed("ip -4 -o address show")
    later = {**data, "ssh_hostname": lan.STATIC}
    assert bridged(host, later, [], **static).json["results"]["totals"]["success"] == 0
    assert bridged(host, later, [], **static, state="absent", reached_at=now).code == 0
    assert f"{now}/" in host.succeed("ip -4 -o address show dev eth0")


def test_a_host_behind_a_jump_host_is_bridged_and_restores_its_network(host: Host, tmp_path: Path):
    config = tmp_path / "ssh_config"
    config.write_text(SSH_CONFIG.read_text().replace("Host lab1\n", "Host lab1\n  ProxyJump lab2\n"))
    data = {"ssh_config_file": str(config)}
    outcome = bridged(host, data, [])
    assert outcome.code == 0, outcome.stderr
    assert f"{lan.address_of('lab1')}/" in host.succeed("ip -4 -o address show dev br0")
    host.succeed(f"journalctl --sync; journalctl --boot | grep -qF 'from {lan.address_of('lab2')} port'")

    elsewhere = {"dhcp": "no", "addresses": ["198.51.100.77/24"], "gateways": ["198.51.100.1"]}
    outcome = bridged(host, data, [], **elsewhere)
    assert outcome.code == 1
    reason = "the host restored its network: the gateway 198.51.100.1 does not answer"
    assert reason in "\n".join(outcome.lines("lab1"))
    assert bridged(host, data, []).json["results"]["totals"]["success"] == 0
    assert bridged(host, data, [], state="absent").code == 0


def test_a_host_and_its_guest_have_ipv6_alone(host: Host, network: Lan, tmp_path: Path):
    network.advertise()
    mac = host.succeed("cat /sys/class/net/eth0/address").strip()
    address = str(lan.address6_of(mac))
    host.succeed(f"echo '{ASKING_IPV6}' >{ORIGINAL}; networkctl reload")
    host.wait_until_succeeds(f"ip -6 -o address show dev eth0 scope global | grep -qF '{address}/'")
    assert not host.succeed("ip -4 -o address show scope global")
    wanted = [{"name": "web"}]
    data = reached_at(tmp_path, host, address)
    outcome = bridged(host, data, wanted, dhcp="no", accept_ra=True)
    assert outcome.code == 0, outcome.stderr
    assert f"{address}/" in host.succeed("ip -6 -o address show dev br0 scope global")
    assert not host.succeed("ip -4 -o address show scope global")
    again = bridged(host, data, wanted, dhcp="no", accept_ra=True)
    assert again.json["results"]["totals"]["success"] == 0, again.stderr

    def fetched() -> bool:
        return greeting(host, "web", address) == "SSH-"

    retry(fetched, 30, "the guest reaches its host by IPv6")
    shown = inside(host, "web", "ip -6 -o address show dev host0 scope global")
    assert any(
        IPv6Address(word.partition("/")[0]) in lan.NETWORK6
        for word in shown.split()
        if ":" in word and "/" in word
    )
