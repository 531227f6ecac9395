"""What a host is asked to be, beside the guests it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pyinfra_nspawn.specs.archive import BackupKey
from pyinfra_nspawn.specs.base import Items, Spec
from pyinfra_nspawn.specs.network import Bridge
from pyinfra_nspawn.specs.remote import Remote

STATE_DIRECTORY = "/var/lib/pyinfra-nspawn"
HOST_SYSROOT = "/sysroot"
SYSCTL_FILE = "/etc/sysctl.d/60-pyinfra-nspawn.conf"


class HostSettings(Spec):
    """The inventory's `nspawn_host`.

    + state: `present`, or `absent` to decommission the host: a run removes all its guests, then our files.
      The host is refused unless every guest on it is in the inventory, with `purge`
    + layer_packages: let rpm-ostree layer systemd-container where it is missing. Off by default: it
      takes a reboot, and on bootc hosts layered packages block updates.
    + selinux: `permissive` or `enforcing`, now and across reboots; None leaves SELinux as it is
    + free_mib: MiB that must be free below /var before a guest is made; 256 by default
    + starts_at_once: how many guests start side by side when the host starts; 4 by default
    + bridge: a bridge for the guests; see `Bridge`. None by default
    + backup_key: what backups are encrypted to, with what the host has of age(1) and gpg(1): a recipient of
      age (`age1...`, or an SSH public key), or an OpenPGP public key in ASCII armor. Empty by default: they
      are not encrypted
    + remotes: of the host's repository, for the sources of guests; see `Remote`. Other remotes of the host
      stay as they are
    """

    state: Literal["present", "absent"] = "present"
    layer_packages: bool = False
    selinux: Literal["permissive", "enforcing"] | None = None
    free_mib: int = 256
    starts_at_once: int = Field(default=4, gt=0)
    bridge: Bridge | None = None
    backup_key: BackupKey = ""
    remotes: Annotated[tuple[Remote, ...], Items] = ()

    @model_validator(mode="after")
    def _name_remotes_once(self) -> HostSettings:
        names = [remote.name for remote in self.remotes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"remotes: {', '.join(twice)} is given twice")
        return self


def inotify_instances(guests: int) -> int:
    """Return how many inotify instances a host with so many guests needs.

    A booting guest takes about 8 of the *host's* instances, and the kernel's default is 128 for all:
    the 18th guest came up degraded, the 19th died with 'Too many open files'.
    """
    return 128 + 16 * guests
