"""Hosts whose network is NetworkManager's: guests that reach the outside, and a bridge."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import Outcome, pyinfra
from tests.lab.guest import inside
from tests.lab.network_change import NETWORK
from tests.lab.shell import retry
from tests.lab.vm.fleet import ADDRESS
from tests.vm.conftest import GUEST_SECONDS, INVENTORY, converge
from tests.vm.outside import is_reached

if TYPE_CHECKING:
    from tests.vm.conftest import Machines

LINK = "enp0s16"
#: On the network that QEMU makes: the machine's own address, and who else is there.
OWN, ROUTER, DNS = "10.0.2.15/24", "10.0.2.2", "10.0.2.3"
GUESTS = [{"name": "web", "network": "veth"}, {"name": "zoned", "network": "zone:lab"}]
#: Seconds for a confirmation: a connection takes several by emulation.
WINDOW = 60


def test_guests_have_addresses_and_reach_the_outside(managed: Machines, outside: int):
    machine = managed["vm1"]
    first = converge("-y", "--json", "--limit", "vm1", guests=GUESTS)
    assert "have NetworkManager serve the links of guests" in first.lines("vm1")
    for guest in ("web", "zoned"):
        is_reached(machine, guest, outside)
        assert "10.42." in inside(machine, guest, "ip -4 -o address show dev host0")
    again = converge("-y", "--json", "--limit", "vm1", guests=GUESTS)
    assert again.json["results"]["totals"]["success"] == 0
    machine.succeed("systemctl restart systemd-nspawn@web systemd-nspawn@zoned")
    for guest in ("web", "zoned"):
        is_reached(machine, guest, outside)

    gone = [{**guest, "state": "absent", "purge": True} for guest in GUESTS]
    converge("-y", "--limit", "vm1", guests=gone)
    converge("-y", "--limit", "vm1", guests=gone, nspawn_host={"state": "absent"})
    machine.fail("find /etc -name '*pyinfra-nspawn*' | grep .")
    machine.fail("ip link show vz-lab")


def bridged(*options: str, guests: tuple[dict[str, Any], ...] = (), **bridge: Any) -> Outcome:
    """Run the network's deploy upon vm1, with that bridge; expect it to succeed."""
    settings = {"bridge": {"uplinks": [LINK], "confirm_seconds": WINDOW, **bridge}}
    words = (*(options or ("-y", "--json")), "--limit", "vm1", NETWORK)
    outcome = pyinfra(*words, inventory=INVENTORY, nspawn_host=settings, guests=list(guests))
    assert outcome.code == 0, outcome.stderr
    return outcome


def greeted(port: int) -> bool:
    """Return whether an sshd answers there."""
    with socket.create_connection((ADDRESS, port), timeout=10) as connection:
        return connection.recv(4) == b"SSH-"


def test_a_bridge_is_made_kept_changed_and_removed(managed: Machines):
    machine = managed["vm1"]
    mac = machine.succeed(f"cat /sys/class/net/{LINK}/address")
    profiles = "ls /etc/NetworkManager/system-connections /run/NetworkManager/system-connections; ip -br link"
    before = machine.succeed(profiles)
    assert f"bridge {LINK} into br0" in "\n".join(bridged("--dry", "--diff").lines("vm1"))
    assert machine.succeed(profiles) == before

    made = bridged()
    print([line for line in made.lines("vm1") if "reached again" in line])
    assert OWN in machine.succeed("ip -4 -o address show dev br0")
    assert machine.succeed("cat /sys/class/net/br0/address") == mac
    assert bridged().hosts("no_change") == {"Network | Bridge": ["vm1"]}

    machine.reboot()
    assert OWN in machine.succeed("ip -4 -o address show dev br0")
    assert f"{LINK}:connected" in machine.succeed("nmcli -t -f DEVICE,STATE device")
    assert bridged().hosts("no_change") == {"Network | Bridge": ["vm1"]}

    removed = bridged(state="absent")
    assert "remove bridge br0" in "\n".join(removed.lines("vm1"))
    machine.wait_until_succeeds(f"ip -4 -o address show dev {LINK} | grep -qF {OWN}")
    machine.fail("ip link show br0")
    machine.succeed("! ls /etc/NetworkManager/system-connections | grep pyinfra-nspawn")
    machine.reboot()
    assert OWN in machine.succeed(f"ip -4 -o address show dev {LINK}")


@pytest.mark.full
def test_a_profile_that_is_eager_does_not_win_at_the_next_boot(managed: Machines):
    machine = managed["vm1"]
    machine.succeed(
        f"nmcli connection add type ethernet ifname {LINK} con-name eager "
        "connection.autoconnect-priority 999 && nmcli connection up eager"
    )
    bridged()
    machine.reboot()
    assert OWN in machine.succeed("ip -4 -o address show dev br0")
    bridged(state="absent")
    assert f"{LINK}:eager" in machine.succeed("nmcli -t -f DEVICE,CONNECTION device")
    machine.reboot()
    assert OWN in machine.succeed(f"ip -4 -o address show dev {LINK}")


@pytest.mark.full
def test_a_guest_stays_on_a_bridge_that_changes(managed: Machines, outside: int):
    machine, guest = managed["vm1"], {"name": "web"}
    settings = {"bridge": {"uplinks": [LINK], "confirm_seconds": WINDOW}}
    converge("-y", "--json", "--limit", "vm1", guests=[guest], nspawn_host=settings)
    is_reached(machine, "web", outside)
    found = inside(machine, "web", "ip -4 -o address show dev host0 | grep -o '10.0.2.[0-9]*'").split()[0]
    machine.forward(22099, found)
    retry(lambda: greeted(22099), GUEST_SECONDS, "the guest's sshd answers from beyond the host")

    started = machine.succeed("systemctl show -P MainPID systemd-nspawn@web")
    static = {"dhcp": "no", "addresses": [OWN], "gateways": [ROUTER], "dns": [DNS]}
    bridged(mtu=1400, **static, guests=(guest,))
    machine.succeed("nmcli -g ipv4.method connection show pyinfra-nspawn-bridge-br0 | grep -qx manual")
    assert machine.succeed("cat /sys/class/net/br0/mtu") == "1400\n"
    machine.succeed("test -e /sys/class/net/br0/brif/vb-web")
    is_reached(machine, "web", outside)
    assert machine.succeed("systemctl show -P MainPID systemd-nspawn@web") == started
