"""Which virtual machines the lab has; each instance of the lab has them all, at ports of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.fleet import MachineSpec
from tests.lab.generations import TRIXIE_SELINUX, TRIXIE_VM
from tests.lab.paths import INSTANCE, RUN

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "127.0.0.1"
#: Below the ports that the kernel gives to whoever asks for any.
FIRST_PORT = 22000
PORTS_PER_INSTANCE = 10

#: The name that udev gives to a network card in this slot of the first PCI bus.
UPLINK, UPLINK_SLOT = "enp0s16", "0x10"


@dataclass(frozen=True)
class VmSpec(MachineSpec):
    """A machine whose body is QEMU's."""

    #: /boot is a file system of its own, on a second disk.
    own_boot: bool = False

    @property
    def port(self) -> int:
        """Where on this machine its sshd is reached."""
        return FIRST_PORT + PORTS_PER_INSTANCE * INSTANCE + self.number

    @property
    def mac(self) -> str:
        """The uplink's address: locally administered, another one for each machine of each instance."""
        return f"52:54:00:1a:{INSTANCE:02x}:{self.number:02x}"

    @property
    def runtime(self) -> Path:
        """The directory with what the running machine has on this one: sockets and the console's log."""
        return RUN / self.name


VMS = {
    spec.name: spec
    for spec in (
        VmSpec("vm1", TRIXIE_VM, number=1, user="root", readonly_sysroot=False),
        VmSpec("vm2", TRIXIE_VM, number=2, user="admin", readonly_sysroot=True, own_boot=True),
        VmSpec("vm3", TRIXIE_SELINUX, number=3, user="root", readonly_sysroot=False, on_demand=True),
    )
}
