"""A network of NetworkManager's that does not work, or that nobody confirms: the host has its old one again.

vm2's controller lives, and is told; vm1's is killed as soon as the change is under way.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import Outcome, pyinfra
from tests.lab.network_change import ARMED_AND_ASKED, CHECKED, NETWORK, OVER, PENDING, is_as_before
from tests.vm.conftest import INVENTORY
from tests.vm.test_network_manager import LINK, OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

#: Seconds for a confirmation; nobody is to confirm anything here.
WINDOW = 40
BACK_SECONDS = 120
STATE = """
ls /etc/NetworkManager/system-connections /run/NetworkManager/system-connections
ip -j link | tr '{' '\\n' | grep -o '"ifname":"[^"]*"\\|"mtu":[0-9]*\\|"master":"[^"]*"'
ip -4 -o address show scope global | sed 's/valid_lft.*//; s/ dynamic//; s/ noprefixroute//'
ip -4 route show default | sed 's/ proto.*//; s/ metric.*//'
ls /run/pyinfra-nspawn | grep -v network-verdict
systemctl list-units --all --plain --no-legend 'pyinfra-nspawn-network*'
"""
#: A second link, which leads nowhere.
SPARE = """
ip link add spare type veth peer name nowhere
ip link set nowhere up
ip link set spare up
nmcli device set spare managed yes
"""
#: What DHCP servers say does not arrive.
UNSERVED = f"""
nft add table netdev lab
nft add chain netdev lab in '{{ type filter hook ingress device {LINK} priority 0; }}'
nft add rule netdev lab in udp sport 67 drop
"""


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble.

    + reason: why the host restores its network, as a controller is told that lives
    + bridge: what is asked for
    + before: what is out of order from the beginning, as a command
    + meanwhile: what is wrong with a host from when the change is tried
    """

    reason: str
    bridge: dict[str, Any] = field(default_factory=dict)
    before: str = ":"
    meanwhile: Callable[[VirtualMachine], AbstractContextManager[None]] = lambda _: nullcontext()


def cut_off(machine: VirtualMachine) -> AbstractContextManager[None]:
    return machine.cut()


@contextmanager
def manager_killed(machine: VirtualMachine) -> Iterator[None]:
    """Kill NetworkManager once the host has what it had before, which nobody can confirm."""
    with machine.cut():
        machine.wait_until_succeeds(CHECKED)
        machine.succeed("systemctl kill --signal=KILL NetworkManager")
        yield


@contextmanager
def rebooted(machine: VirtualMachine) -> Iterator[None]:
    with machine.cut():
        machine.wait_until_succeeds(CHECKED)
        machine.reboot()
        yield


STATIC = {"dhcp": "no", "addresses": [OWN]}
UNCONFIRMED = f"the controller did not reach the host within {WINDOW} s"
NO_ADDRESS = "br0 got no address"
TROUBLES = {
    "wrong-uplink": Trouble(NO_ADDRESS, {"uplinks": ["spare"]}, SPARE),
    "wrong-address": Trouble(
        "the gateway 198.51.100.1 does not answer",
        {"dhcp": "no", "addresses": ["198.51.100.77/24"], "gateways": ["198.51.100.1"]},
    ),
    "no-gateway": Trouble("the gateway 10.0.2.99 does not answer", {**STATIC, "gateways": ["10.0.2.99"]}),
    "no-dhcp-server": Trouble(NO_ADDRESS, before=UNSERVED),
    "cut-off": Trouble(UNCONFIRMED, meanwhile=cut_off),
    "manager-killed": Trouble(UNCONFIRMED, meanwhile=manager_killed),
    "rebooted": Trouble("it did not keep the new one", meanwhile=rebooted),
}


def change(machine: VirtualMachine, bridge: dict[str, Any], kill_after: int = 0) -> Outcome:
    """Run the deploy upon a host."""
    settings = {"bridge": {"uplinks": [LINK], "confirm_seconds": WINDOW, **bridge}}
    words = ("-y", "--json", "--limit", machine.name, NETWORK)
    return pyinfra(*words, inventory=INVENTORY, kill_after=kill_after, nspawn_host=settings, guests=[])


def run(machine: VirtualMachine, trouble: Trouble, *, killed: bool) -> Outcome:
    """Run into the trouble, and wait until the host has its network back."""
    with ThreadPoolExecutor() as beside:
        running = beside.submit(change, machine, trouble.bridge, ARMED_AND_ASKED if killed else 0)
        machine.wait_until_succeeds(PENDING)
        with trouble.meanwhile(machine):
            machine.wait_until_succeeds(OVER, WINDOW + BACK_SECONDS)
        return running.result()


@pytest.mark.full
@pytest.mark.parametrize("name", TROUBLES)
def test_a_host_restores_its_network(name: str, managed: Machines):
    trouble, alone, told = TROUBLES[name], managed["vm1"], managed["vm2"]
    for machine in managed.values():
        machine.succeed(trouble.before)
    before = {machine.name: machine.succeed(STATE) for machine in managed.values()}
    with ThreadPoolExecutor() as both:
        killed = both.submit(run, alone, trouble, killed=True)
        outcome = run(told, trouble, killed=False)
        killed.result()
    assert outcome.code == 1
    assert f"the host restored its network: {trouble.reason}" in "\n".join(outcome.lines("vm2"))
    for machine in managed.values():
        assert OWN in machine.succeed(f"ip -4 -o address show dev {LINK}")
        is_as_before(machine, STATE, before[machine.name], BACK_SECONDS)
        assert pyinfra("--limit", machine.name, "exec", "--", "true", inventory=INVENTORY).code == 0


DEAD = """
systemctl stop pyinfra-nspawn-network-revert.timer pyinfra-nspawn-network-trial.service
systemctl kill --signal=KILL NetworkManager
"""


@pytest.mark.full
def test_a_change_whose_units_and_checkpoint_died_is_undone_by_the_next_run(managed: Machines):
    machine = managed["vm2"]
    before = machine.succeed(STATE)
    with ThreadPoolExecutor() as beside:
        running = beside.submit(change, machine, {})
        machine.wait_until_succeeds(PENDING)
        with machine.cut():
            machine.wait_until_succeeds(CHECKED)
            machine.succeed(DEAD)
            assert running.result().code == 1
    outcome = change(machine, {})
    assert outcome.code == 0, outcome.stderr
    assert "finish or undo the change of the network that was cut off" in "\n".join(outcome.lines("vm2"))
    assert OWN in machine.succeed("ip -4 -o address show dev br0")
    assert change(machine, {}).hosts("no_change") == {"Network | Bridge": ["vm2"]}
    assert change(machine, {"state": "absent"}).code == 0
    is_as_before(machine, STATE, before, BACK_SECONDS)
