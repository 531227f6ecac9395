"""The command line of a virtual machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.vm import accelerator, disks
from tests.lab.vm.fleet import ADDRESS, UPLINK_SLOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.vm.bootloader import Boot
    from tests.lab.vm.fleet import VmSpec

PROCESSORS = "2"
MEMORY = "2048"
#: Added to the entry's options, as a person may do at a boot loader's prompt: the log is that console's.
#: Nobody is there to log in, or to answer what systemd asks of a terminal.
CONSOLE = "console=ttyS0 quiet systemd.getty_auto=no systemd.tty.term.console=dumb"


def monitor(spec: VmSpec) -> Path:
    """Return the socket of QEMU's monitor."""
    return spec.runtime / "monitor"


def agent(spec: VmSpec) -> Path:
    """Return the socket of the agent in the machine."""
    return spec.runtime / "agent"


def console(spec: VmSpec) -> Path:
    """Return the log of what the machine wrote on its console."""
    return spec.runtime / "console.log"


def command(spec: VmSpec, boot: Boot, snapshot: str | None) -> list[str]:
    """Return the command that runs the machine; it ends when that reboots or powers off.

    + snapshot: begin there, in place of a boot
    """
    return [
        *("qemu-system-x86_64", "-name", spec.name),
        *(*accelerator.MACHINE, *accelerator.options(boot), "-smp", PROCESSORS, "-m", MEMORY),
        *("-kernel", str(boot.kernel), "-initrd", str(boot.initramfs)),
        *("-append", f"{boot.options.read_text()} {CONSOLE}"),
        *disks.options(spec),
        *_links(spec),
        *_channels(spec),
        *("-device", "virtio-rng-pci"),
        *(("-loadvm", snapshot) if snapshot else ()),
    ]


def _links(spec: VmSpec) -> list[str]:
    """Return the network cards: the uplink, by which this machine reaches the other's sshd.

    A second card is another pair of lines, in a slot of its own; `-netdev socket,mcast=...` joins machines.
    """
    return [
        *("-netdev", f"user,id=uplink,hostfwd=tcp:{ADDRESS}:{spec.port}-:22"),
        *("-device", f"virtio-net-pci,netdev=uplink,mac={spec.mac},addr={UPLINK_SLOT},romfile="),
    ]


def _channels(spec: VmSpec) -> list[str]:
    """Return the ways in that need no network: monitor, agent, console; and QEMU's events on its stdout."""
    return [
        *("-qmp", f"unix:{monitor(spec)},server=on,wait=off"),
        *("-chardev", "stdio,id=events,signal=off", "-mon", "chardev=events,mode=control"),
        *(
            "-device",
            "virtio-serial-pci",
            "-chardev",
            f"socket,id=agent,path={agent(spec)},server=on,wait=off",
        ),
        *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        *("-chardev", f"file,id=console,path={console(spec)},append=on", "-serial", "chardev:console"),
    ]
