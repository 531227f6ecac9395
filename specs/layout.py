"""How a guest lies on its host: every path of it, in one place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.specs.host import HOST_SYSROOT, STATE_DIRECTORY

if TYPE_CHECKING:
    from pyinfra_nspawn.specs import Guest

_RUN = "/run/pyinfra-nspawn"
_FIRST_PROJECT = 2**30


def project_of(name: str) -> int:
    """Return the project that a guest's files belong to for their quota: high, where no other tool begins."""
    return _FIRST_PROJECT + zlib.crc32(name.encode()) % _FIRST_PROJECT


@dataclass(frozen=True)
class Layout:
    """The paths of one guest on its host.

    + name: of the guest
    + shared: whether its stateroot lies in the host's own sysroot
    + tried: whether `current` and `credentials` are those of a trial
    """

    name: str
    shared: bool = False
    tried: bool = False

    @classmethod
    def of(cls, guest: Guest) -> Layout:
        """Return the layout of a guest."""
        return cls(guest.name, guest.sysroot == "shared")

    @property
    def unit(self) -> str:
        """Its unit."""
        return f"systemd-nspawn@{self.name}.service"

    @property
    def directory(self) -> str:
        """Everything that is kept of it: its sysroot too, unless that is shared."""
        return f"{STATE_DIRECTORY}/{self.name}"

    @property
    def sysroot_directory(self) -> str:
        """The OSTree sysroot that it is deployed in."""
        return HOST_SYSROOT if self.shared else self.directory

    @property
    def boot(self) -> str:
        """The /boot of that sysroot, with its boot loader entries."""
        return "/boot" if self.shared else f"{self.directory}/boot"

    @property
    def stateroot(self) -> str:
        """Its stateroot."""
        return f"{self.sysroot_directory}/ostree/deploy/{self.name}"

    @property
    def deployments(self) -> str:
        """Where its deployments lie, as `current` names them: below its directory by a relative path."""
        return f"{self.stateroot}/deploy".removeprefix(f"{self.directory}/")

    @property
    def current(self) -> str:
        """The symlink to the deployment that it boots."""
        return f"{self.trial if self.tried else self.directory}/current"

    @property
    def fallback(self) -> str:
        """The symlink to the deployment that it booted before the last upgrade or rollback."""
        return f"{self.directory}/fallback"

    @property
    def var(self) -> str:
        """Its /var."""
        return f"{self.stateroot}/var"

    @property
    def credentials(self) -> str:
        """The directory (0700) of its credentials (0600)."""
        return f"{self.trial if self.tried else self.directory}/credentials"

    @property
    def k3s(self) -> str:
        """The directory with its files of k3s: hard links to those that the host stores."""
        return f"{self.directory}/k3s"

    @property
    def refused(self) -> str:
        """The file with the digest of the definition that did not come up."""
        return f"{self.directory}/refused"

    @property
    def disk_limit(self) -> str:
        """The file with the quota of its /var and /etc."""
        return f"{self.directory}/disk-limit"

    @property
    def mounts(self) -> str:
        """Where its unit alone sees what it binds into the guest."""
        return f"{_RUN}/mounts/{self.name}"

    @property
    def dropins(self) -> str:
        """The directory of the unit's drop-ins."""
        return f"/etc/systemd/system/{self.unit}.d"

    @property
    def settings_file(self) -> str:
        """Its .nspawn file (systemd.nspawn(5)); an earlier version wrote one."""
        return f"/etc/systemd/nspawn/{self.name}.nspawn"

    @property
    def trial(self) -> str:
        """The directory of what is needed while a change is tried."""
        return f"{_RUN}/trial/{self.name}"

    @property
    def trial_dropin(self) -> str:
        """The drop-in with what is tried."""
        return f"/run/systemd/system/{self.unit}.d/55-trial.conf"
