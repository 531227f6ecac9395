"""The virtual machines, each test's beginning loaded from a snapshot, and pyinfra run against them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import hosts, lab
from tests.lab.conftest import Outcome, pyinfra, remote_commands
from tests.lab.side_by_side import on_each
from tests.lab.vm.lab import up
from tests.lab.vm.machine import BOOTED, machines
from tests.vm.outside import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.vm.machine import VirtualMachine

    Machines = dict[str, VirtualMachine]

INVENTORY = "inventories/lab_vm.py"
FLEET = "deploys/fleet.py"
BOTH = ["vm1", "vm2"]
#: By emulation, with this machine at work on something else too.
GUEST_SECONDS = 240
#: The inventory's guests: `web` has a sysroot of its own and limits, `db` lies in the host's.
ON = {"vm1": ("web", "db"), "vm2": ("db",)}
#: The state in which the inventory's guests are deployed and run.
GUESTS = "guests"

#: The state in which NetworkManager has taken over from systemd-networkd.
MANAGED = "network-manager"
#: NetworkManager's own dnsmasq fails where /etc/resolv.conf is missing; and it kills an nft that takes more
#: than a second, in which emulation does not load the modules.
SWITCH = """
touch /etc/resolv.conf
printf '%s\\n' nft_chain_nat nft_ct nft_masq nft_reject_ipv4 >/etc/modules-load.d/nft.conf
modprobe -a $(cat /etc/modules-load.d/nft.conf)
systemctl disable --now systemd-networkd.socket systemd-networkd.service
systemctl enable --now NetworkManager.service
"""

#: All that decides what a machine boots, and whatever a run makes.
STATE = """
ostree admin status
cat /boot/loader/entries/*.conf
cd /boot && find . -type f | sort | xargs sha256sum
ls /ostree/deploy /var/lib/pyinfra-nspawn /etc/systemd/system /etc/sysctl.d 2>&1 || :
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            # The first one waits until the image is built, both machines have booted, and their guests.
            item.add_marker(pytest.mark.timeout(1800))
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="the lab makes disks: it needs root"))


def converge(*options: str, **data: object) -> Outcome:
    """Run the main job, `-y --json` unless told otherwise, and expect it to succeed."""
    outcome = pyinfra(*(options or ("-y", "--json")), FLEET, inventory=INVENTORY, **data)
    assert outcome.code == 0, outcome.stderr
    return outcome


@pytest.fixture(scope="session")
def have_up() -> Iterator[Callable[[list[str]], Machines]]:
    """Have machines up, by name; the lab is left as it was found, up or down."""
    was_up = any(machine.is_running for machine in (*machines().values(), *hosts().values()))

    def have(names: list[str]) -> Machines:
        up(names)
        return {name: machines()[name] for name in names}

    yield have
    if not was_up:
        lab.down()


@pytest.fixture(scope="session")
def virtual(have_up: Callable[[list[str]], Machines]) -> Machines:
    """Both machines, up."""
    return have_up(BOTH)


@dataclass(frozen=True)
class MainJob:
    """The main job as it went upon freshly booted machines."""

    before: dict[str, str]
    planned: Outcome
    after_plan: dict[str, str]
    first: Outcome
    asked: dict[str, int]
    second: Outcome
    asked_again: dict[str, int]


@pytest.fixture(scope="session")
def main_job(virtual: Machines) -> MainJob:
    """Run the main job for nothing, in earnest, and once more; its end is saved for others to begin with."""
    load(virtual, BOOTED)

    def states() -> dict[str, str]:
        return {name: machine.succeed(STATE) for name, machine in virtual.items()}

    def asked() -> dict[str, int]:
        return {name: remote_commands(machine) for name, machine in virtual.items()}

    job = MainJob(states(), converge("--dry"), states(), converge(), asked(), converge(), asked())
    on_each(virtual.values(), lambda machine: machine.save(GUESTS))
    return job


@pytest.fixture
def booted(virtual: Machines) -> Machines:
    """Both machines as they were after their first boot."""
    return load(virtual, BOOTED)


@pytest.fixture(scope="session")
def outside() -> Iterator[int]:
    """The port of a server beyond the machines."""
    with serve() as port:
        yield port


@pytest.fixture
def guests(main_job: MainJob, virtual: Machines) -> Machines:
    """Both machines with the inventory's guests running."""
    assert main_job.first.code == 0
    return load(virtual, GUESTS)


@pytest.fixture(scope="session")
def switched(virtual: Machines) -> Machines:
    """Have NetworkManager take over on both machines; the state is saved for others to begin with."""

    def switch(machine: VirtualMachine) -> None:
        machine.succeed(SWITCH)
        machine.wait_until_succeeds("nmcli -t -f STATE general | grep -qx connected")
        machine.save(MANAGED)

    load(virtual, BOOTED)
    on_each(virtual.values(), switch)
    return virtual


@pytest.fixture
def managed(switched: Machines) -> Machines:
    """Both machines, with NetworkManager."""
    return load(switched, MANAGED)


def wait_for_guests(machine: VirtualMachine) -> None:
    """Wait until the inventory's guests have booted."""
    for guest in ON[machine.name]:
        machine.wait_until_succeeds(f"systemctl -M {guest} is-system-running --wait", GUEST_SECONDS)


def load(virtual: Machines, snapshot: str) -> Machines:
    on_each(virtual.values(), lambda machine: machine.load(snapshot))
    return virtual
