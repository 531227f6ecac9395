"""A host with SELinux: permissive with a guest, and the mode that the inventory sets.

The policy is Debian's reference policy, which has a domain of its own for nspawn and its guests. Fedora's has
none: there it is machined that is denied something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import Outcome, pyinfra, remote_commands
from tests.lab.guest import inside
from tests.lab.vm.machine import BOOTED
from tests.vm.conftest import FLEET, GUEST_SECONDS, GUESTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

pytestmark = pytest.mark.full

INVENTORY = "inventories/lab_selinux.py"
CONFIG = "/etc/selinux/config"
PERMISSIVE = "make SELinux permissive, now and at the next boot"


@pytest.fixture(scope="module")
def machine(have_up: Callable[[list[str]], Machines]) -> VirtualMachine:
    """The machine with SELinux, up; the other two are not needed."""
    return have_up(["vm3"])["vm3"]


@pytest.fixture
def booted(machine: VirtualMachine) -> VirtualMachine:
    """The machine as it was after its first boot."""
    machine.load(BOOTED)
    return machine


@pytest.fixture(scope="module")
def job(machine: VirtualMachine) -> tuple[Outcome, Outcome, int]:
    """Run the main job, and once more with its remote commands counted; its end is saved."""
    machine.load(BOOTED)
    first = run()
    before = remote_commands(machine)
    second = run()
    after = remote_commands(machine)
    machine.save(GUESTS)
    return first, second, after - before


@pytest.fixture
def guests(job: tuple[Outcome, Outcome, int], machine: VirtualMachine) -> VirtualMachine:
    """The machine, permissive, with the inventory's guest running."""
    assert job[0].code == 0, job[0].stderr
    machine.load(GUESTS)
    return machine


def run(*options: str, **data: object) -> Outcome:
    return pyinfra(*(options or ("-y", "--json")), FLEET, inventory=INVENTORY, **data)


def mode(machine: VirtualMachine) -> tuple[str, str]:
    """Return SELinux's mode now and for the next boot."""
    configured = machine.succeed(f"sed -n s/^SELINUX=//p {CONFIG}")
    return machine.succeed("getenforce").strip().lower(), configured.strip()


def domain(machine: VirtualMachine, process: str) -> str:
    """Return the type of the oldest process of that name."""
    return machine.succeed(f"ps -o label= -p $(pgrep -o -x {process})").split(":")[2]


def test_the_host_boots_permissive_with_its_policy(booted: VirtualMachine):
    assert "enforcing=" not in booted.succeed("cat /proc/cmdline")  # the configuration decides
    assert mode(booted) == ("permissive", "permissive")
    assert domain(booted, "systemd") == "init_t"
    assert domain(booted, "systemd-journal") == "syslogd_t"
    assert domain(booted, "sshd") == "sshd_t"
    assert booted.succeed("systemctl is-system-running") == "running\n"


def test_labels_are_in_the_commit(booted: VirtualMachine):
    ref = booted.spec.generation.ref
    listed = booted.succeed(f"ostree ls -X {ref} /usr/bin/systemd-nspawn /usr/etc/passwd")
    assert "system_u:object_r:systemd_nspawn_exec_t:s0" in listed
    assert "system_u:object_r:etc_t:s0" in listed


def test_the_first_run_makes_a_guest(guests: VirtualMachine):
    assert guests.succeed("systemctl -M web is-system-running") == "running\n"
    assert inside(guests, "web", "cat /usr/lib/lab-release") == "13.1\n"
    assert domain(guests, "systemd-nspawn") == "systemd_nspawn_t"


def test_the_second_run_changes_nothing(job: tuple[Outcome, Outcome, int]):
    _, second, asked = job
    assert second.code == 0, second.stderr
    assert second.json["results"]["totals"]["success"] == 0
    assert asked == 2


def test_it_becomes_permissive_and_stays_so(guests: VirtualMachine):
    guests.succeed(f"sed -i s/^SELINUX=permissive/SELINUX=enforcing/ {CONFIG} && setenforce 1")
    planned = run("--dry")
    assert PERMISSIVE in planned.lines("vm3"), planned.stderr
    assert mode(guests) == ("enforcing", "enforcing")
    done = run()
    assert done.code == 0, done.stderr
    assert PERMISSIVE in done.lines("vm3")
    assert mode(guests) == ("permissive", "permissive")
    assert guests.succeed(f"ls -Z {CONFIG}").split(":")[2] == "selinux_config_t"
    guests.reboot()
    assert mode(guests) == ("permissive", "permissive")
    guests.wait_until_succeeds("systemctl -M web is-system-running --wait", GUEST_SECONDS)
    assert run().json["results"]["totals"]["success"] == 0
