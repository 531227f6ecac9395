"""What a real boot shows: the boot loader's entries, other kinds of /boot and /sysroot, modules, reboots."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.lab.guest import inside
from tests.vm.conftest import BOTH, GUESTS, ON, converge, wait_for_guests

if TYPE_CHECKING:
    from tests.vm.conftest import Machines

BOOTED_DEPLOYMENT = "ostree admin status | sed -n 's/^[*] //p'"
#: What the firmware's user sees, the default first.
TITLES = "grep -h ^title $(ls -r /boot/loader/entries/*.conf)"


def test_a_shared_guest_has_an_entry_behind_the_hosts(guests: Machines):
    for machine in guests.values():
        stateroots = machine.succeed("ostree admin status | sed -n 's/^[* ] \\([^ ]*\\) .*/\\1/p'").split()
        assert stateroots == ["host", "db"]
        assert len(machine.succeed(TITLES).splitlines()) == 2


def test_boot_is_a_file_system_of_its_own(guests: Machines):
    """The kernels lie there, the guest's entry with them, and nothing in the directory below it."""
    machine = guests["vm2"]
    assert machine.succeed("findmnt --noheadings --output=SOURCE /boot") == "/dev/vdb\n"
    for kind in ("linux", "initrd"):
        for path in machine.succeed(f"sed -n 's/^{kind} //p' /boot/loader/entries/*.conf").split():
            machine.succeed(f"test -s /boot{path}")
    below = machine.succeed("mkdir /run/root && mount /dev/vda /run/root && ls -A /run/root/boot")
    assert below == ""


def test_a_readonly_sysroot_stays_so(guests: Machines):
    machine = guests["vm2"]
    assert "ro" in machine.succeed("findmnt --noheadings --output=OPTIONS /sysroot").strip().split(",")
    machine.fail("touch /sysroot/x")
    gone = [{"name": "db", "state": "absent", "purge": True}]
    converge("-y", "--limit", "vm2", guests=gone)
    assert "ro" in machine.succeed("findmnt --noheadings --output=OPTIONS /sysroot").strip().split(",")
    machine.fail("test -e /sysroot/ostree/deploy/db")
    assert len(machine.succeed(TITLES).splitlines()) == 1


@pytest.mark.parametrize("name", BOTH)
def test_after_a_reboot_the_host_is_in_its_own_deployment_and_its_guests_run(guests: Machines, name: str):
    machine = guests[name]
    before = machine.succeed(BOOTED_DEPLOYMENT)
    assert re.match(r"host [0-9a-f]{64}\.0", before)
    for guest in ON[name]:
        inside(machine, guest, "echo kept >/var/kept; echo kept >/etc/kept")
    machine.reboot()
    assert machine.succeed(BOOTED_DEPLOYMENT) == before
    wait_for_guests(machine)
    for guest in ON[name]:
        assert inside(machine, guest, "cat /etc/kept /var/kept") == "kept\nkept\n"
    assert converge("-y", "--json", "--limit", name).json["results"]["totals"]["success"] == 0


def test_the_host_loads_modules(booted: Machines):
    """The lab's containers cannot: VLANs and dummy links are what many kernels have as modules."""
    for machine in booted.values():
        machine.fail("grep -w ^8021q /proc/modules")
        machine.succeed("ip link add link enp0s16 name vlan7 type vlan id 7")
        machine.succeed("grep -w ^8021q /proc/modules")


def test_network_manager_is_there_and_does_nothing(booted: Machines):
    for machine in booted.values():
        machine.succeed("command -v nmcli dnsmasq nft ping")
        machine.fail("systemctl is-enabled NetworkManager")
        machine.fail("systemctl is-active NetworkManager")


@pytest.mark.full
@pytest.mark.parametrize("name", BOTH)
def test_guests_survive_a_power_cut(guests: Machines, name: str):
    machine = guests[name]
    machine.succeed("sync")
    machine.crash()
    wait_for_guests(machine)
    assert converge("-y", "--json", "--limit", name).json["results"]["totals"]["success"] == 0


@pytest.mark.full
@pytest.mark.parametrize("name", BOTH)
def test_an_updated_host_keeps_its_guests(guests: Machines, name: str):
    """The host deploys its next commit and boots that; a guest stays at the commit it was deployed from."""
    machine = guests[name]
    machine.succeed(f"ostree admin deploy --os=host {machine.spec.generation.next_ref}")
    machine.reboot()
    assert machine.succeed("cat /usr/lib/lab-release") == "13.2\n"
    wait_for_guests(machine)
    for guest in ON[name]:
        assert inside(machine, guest, "cat /usr/lib/lab-release") == "13.1\n"


@pytest.mark.full
def test_a_machine_that_is_off_begins_from_a_snapshot(guests: Machines):
    machine = guests["vm1"]
    machine.stop()
    assert not machine.is_running
    machine.load(GUESTS)
    assert machine.succeed("systemctl -M web is-system-running") == "running\n"
