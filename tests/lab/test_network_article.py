"""The article's network, made by hand as it says: refused, then taken over with its address and MAC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import lan
from tests.lab.conftest import BOTH, Outcome, pyinfra

if TYPE_CHECKING:
    from tests.lab import Host
    from tests.lab.lan import Lan

FILES = {
    "br0.netdev": "[NetDev]\nName=br0\nKind=bridge\n",
    "br0-bind.network": "[Match]\nName=en* eth*\n\n[Network]\nBridge=br0\n",
    "br0.network": "[Match]\nName=br0\n\n[Network]\nDHCP=ipv4\n",
}
"""As in the article, whose uplink is `en*` alone."""
ADDRESS = "ip -4 -o address show dev br0 scope global | grep -o 'inet [0-9.]*'"


def bridged(**bridge: Any) -> Outcome:
    settings = {"bridge": {"uplinks": ["eth0"], "confirm_seconds": 15, **bridge}}
    return pyinfra("-y", "--json", "deploys/network.py", nspawn_host=settings, guests=[])


@pytest.fixture(scope="module")
def by_hand(fresh: dict[str, Host], network: Lan) -> dict[str, tuple[str, str]]:
    """Address and MAC of the bridges that somebody made: the article warns that the MAC is another."""
    for host in fresh.values():
        host.succeed("rm /etc/systemd/network/00-original.network")
        for name, content in FILES.items():
            host.succeed(f"echo '{content}' >/etc/systemd/network/{name}")
    for host in fresh.values():
        # With another MAC the host would have another address, and could not be reached.
        network.plug(host.spec, host.succeed("networkctl reload; cat /sys/class/net/br0/address").strip())
    network.restart_serving()
    for host in fresh.values():
        host.succeed("networkctl reconfigure br0")
        host.wait_until_succeeds(f"ip address show dev br0 | grep -q {lan.address_of(host.name)}/")
    return {name: (seen(host, ADDRESS), seen(host, MAC)) for name, host in fresh.items()}


MAC = "cat /sys/class/net/br0/address"


def seen(host: Host, command: str) -> str:
    return host.succeed(command).strip()


def test_a_bridge_made_by_hand_is_left_alone(by_hand: dict[str, tuple[str, str]], fresh: dict[str, Host]):
    outcome = bridged()
    assert outcome.code == 1
    for name, host in fresh.items():
        assert "bridge br0 is foreign" in "\n".join(outcome.lines(name))
        assert (seen(host, ADDRESS), seen(host, MAC)) == by_hand[name]
        assert host.succeed("cd /etc/systemd/network; echo *").split() == sorted(FILES)


def test_it_is_adopted_with_its_address_and_its_mac(
    by_hand: dict[str, tuple[str, str]], fresh: dict[str, Host]
):
    outcome = bridged(adopt=True)
    assert outcome.code == 0, outcome.stderr
    for name, host in fresh.items():
        assert (seen(host, ADDRESS), seen(host, MAC)) == by_hand[name]
        aside = {f"{name}.before-pyinfra-nspawn" for name in FILES}
        ours = {f"0-pyinfra-nspawn-br0{end}" for end in (".netdev", ".network", "-uplink0.network")}
        assert set(host.succeed("cd /etc/systemd/network; echo *").split()) == aside | ours
    assert bridged(adopt=True).hosts("no_change") == {"Network | Bridge": BOTH}
    assert bridged().hosts("no_change") == {"Network | Bridge": BOTH}
    fresh["lab1"].reboot()
    assert (seen(fresh["lab1"], ADDRESS), seen(fresh["lab1"], MAC)) == by_hand["lab1"]
