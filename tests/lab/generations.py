"""Which generations of the operating system and which hosts the lab has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Generation:
    """One generation of the tools: a Debian suite and the commits made of it."""

    name: str
    #: Tried in this order: what stands in where the first cannot be installed today.
    suites: tuple[str, ...]
    major: int

    @property
    def ref(self) -> str:
        """The ref that hosts of this generation boot."""
        return f"debian/{self.name}/x86_64/lab"

    @property
    def next_ref(self) -> str:
        """A later commit, in the host's repository too."""
        return f"{self.ref}-next"

    @property
    def remote_ref(self) -> str:
        """A still later commit, which only the remote has."""
        return f"{self.ref}-remote"

    @property
    def versions(self) -> dict[str, str]:
        """The version of each ref's commit, oldest first."""
        refs = (self.ref, self.next_ref, self.remote_ref)
        return {ref: f"{self.major}.{minor}" for minor, ref in enumerate(refs, start=1)}


@dataclass(frozen=True)
class HostSpec:
    """What one lab host is to be."""

    name: str
    generation: Generation
    number: int
    #: Who logs in over SSH: root, or somebody with sudo.
    user: str
    #: ostree's sysroot.readonly: /sysroot is mounted read-only once booted.
    readonly_sysroot: bool

    @property
    def address(self) -> str:
        """The host's own address; /31 networks hold two (RFC 3021)."""
        return f"198.51.100.{2 * self.number + 1}"

    @property
    def outer_address(self) -> str:
        """The address of the machine that the lab runs on, as the host sees it."""
        return f"198.51.100.{2 * self.number}"

    @property
    def outer_interface(self) -> str:
        """The outer end of the host's uplink.

        Not ve-*: systemd-networkd would take that over with its 80-container-ve.network.
        """
        return f"nspawn-{self.name}"


TRIXIE = Generation("trixie", ("trixie",), 13)
SID = Generation("sid", ("sid", "testing"), 14)

SPECS = {
    spec.name: spec
    for spec in (
        HostSpec("lab1", TRIXIE, number=1, user="root", readonly_sysroot=False),
        HostSpec("lab2", SID, number=2, user="admin", readonly_sysroot=True),
    )
}
