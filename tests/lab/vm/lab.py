"""The virtual machines as a whole: up. They go down with the rest of their instance (tests/lab/lab.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab import image, sysroot
from tests.lab.lab import install_tools
from tests.lab.progress import say
from tests.lab.side_by_side import on_each
from tests.lab.vm import access, disks
from tests.lab.vm.machine import BOOTED, machines

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.lab.vm.machine import VirtualMachine

#: What the virtual machines need on this one, beside what the lab needs, and the Debian package that has it.
TOOLS = {
    "debugfs": "e2fsprogs",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
}


def up(names: Collection[str] = ()) -> None:
    """Have these machines running (if none is named, all but those on demand), with whatever that takes."""
    install_tools(TOOLS)
    usual = [name for name, machine in machines().items() if not machine.spec.on_demand]
    wanted = [machines()[name] for name in names or usual]
    for machine in wanted:
        image.build(machine.spec.generation)
    access.prepare()
    on_each(wanted, _up)


def _up(machine: VirtualMachine) -> None:
    is_current = sysroot.is_current(machine.spec) and BOOTED in disks.snapshots(machine.spec)
    if not (is_current and machine.is_running):
        machine.reset()
    say(f"{machine.name}: ssh -F {access.SSH_CONFIG} {machine.name}")
