"""Which hosts the lab has; each instance of the lab has them all, at addresses of its own."""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.generations import BOOKWORM, SID, TRIXIE, Generation
from tests.lab.paths import INSTANCE, INSTANCE_VARIABLE, SUFFIX

#: How many hosts an instance has addresses for. Instances 0 to 40 fit into 198.51.100.0/24.
HOSTS_PER_INSTANCE = 3
if not 0 <= INSTANCE <= 40:
    raise ValueError(f"expected {INSTANCE_VARIABLE} from 0 to 40, found {INSTANCE}")


@dataclass(frozen=True)
class MachineSpec:
    """What one machine of the lab is to be, whatever its body is."""

    name: str
    generation: Generation
    number: int
    #: Who logs in over SSH: root, or somebody with sudo.
    user: str
    #: ostree's sysroot.readonly: /sysroot is mounted read-only once booted.
    readonly_sysroot: bool
    #: It is up only when it is named: few tests want it.
    on_demand: bool = False


@dataclass(frozen=True)
class HostSpec(MachineSpec):
    """A machine whose body is a container."""

    @property
    def address(self) -> str:
        """The host's own address; /31 networks hold two (RFC 3021)."""
        return f"198.51.100.{2 * self._slot + 1}"

    @property
    def outer_address(self) -> str:
        """The address of the machine that the lab runs on, as the host sees it."""
        return f"198.51.100.{2 * self._slot}"

    @property
    def outer_interface(self) -> str:
        """The outer end of the host's uplink.

        Not ve-*: systemd-networkd would take that over with its 80-container-ve.network.
        """
        return f"nspawn-{self.name}{SUFFIX}"

    @property
    def _slot(self) -> int:
        return HOSTS_PER_INSTANCE * INSTANCE + self.number


SPECS = {
    spec.name: spec
    for spec in (
        HostSpec("lab1", TRIXIE, number=1, user="root", readonly_sysroot=False),
        HostSpec("lab2", SID, number=2, user="admin", readonly_sysroot=True),
        HostSpec("lab3", BOOKWORM, number=3, user="root", readonly_sysroot=True, on_demand=True),
    )
}
