"""Limits that really apply: each is reached, or read back from the guest's control group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.guest import inside

if TYPE_CHECKING:
    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

GROUP = "/sys/fs/cgroup/machine.slice/systemd-nspawn@web.service"
MEMORY_MAX = 192 * 2**20
TASKS_MAX = 200


def events(machine: VirtualMachine, file: str) -> dict[str, int]:
    lines = machine.succeed(f"cat {GROUP}/{file}").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def test_a_guest_that_takes_too_much_memory_loses_the_process(guests: Machines):
    machine = guests["vm1"]
    assert int(machine.succeed(f"cat {GROUP}/memory.max")) == MEMORY_MAX
    assert events(machine, "memory.events")["oom_kill"] == 0
    # tail(1) keeps a last line that never ends.
    done = machine.run(
        "systemd-run -M web --pipe --wait --collect sh -c 'head -c 400M /dev/zero | tail -n 1'"
    )
    assert "oom-kill" in done.stderr
    assert events(machine, "memory.events")["oom_kill"] >= 1
    assert int(machine.succeed(f"cat {GROUP}/memory.peak")) <= MEMORY_MAX
    assert machine.succeed("systemctl is-system-running") == "running\n"


def test_a_guest_that_starts_too_many_processes_is_refused_the_next(guests: Machines):
    machine = guests["vm1"]
    assert int(machine.succeed(f"cat {GROUP}/pids.max")) == TASKS_MAX
    assert events(machine, "pids.events")["max"] == 0
    many = f"for i in $(seq {TASKS_MAX}); do sleep 300 & done 2>/dev/null; exit 0"
    machine.run(f"systemd-run -M web --pipe --wait --quiet --collect sh -c '{many}'")
    assert events(machine, "pids.events")["max"] >= 1
    assert int(machine.succeed(f"cat {GROUP}/pids.peak")) <= TASKS_MAX


def test_a_guest_that_takes_more_than_its_share_of_processors_is_throttled(guests: Machines):
    machine = guests["vm1"]
    assert machine.succeed(f"cat {GROUP}/cpu.max") == "150000 100000\n"
    before = events(machine, "cpu.stat")["nr_throttled"]
    inside(machine, "web", "for i in 1 2; do timeout 3 sh -c 'while :; do :; done' & done; wait")
    assert events(machine, "cpu.stat")["nr_throttled"] > before


def test_a_guest_has_its_share_of_the_disks(guests: Machines):
    assert guests["vm1"].succeed(f"cat {GROUP}/io.weight") == "default 50\n"
