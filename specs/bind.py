"""What a guest sees of its host's directories, and what its root must not write to."""

from __future__ import annotations

import re

from pydantic import model_validator

from pyinfra_nspawn.specs.base import Path, Spec
from pyinfra_nspawn.specs.host import STATE_DIRECTORY
from pyinfra_nspawn.specs.paths import canonical, within

# Trees in which a write is a write to the host itself: its system, its services, what its root runs or reads.
_HOST_TREES = (
    *("/boot", "/dev", "/efi", "/etc", "/ostree", "/proc", "/run", "/sys", "/sysroot", "/usr"),
    *("/var/roothome", "/var/usrlocal", STATE_DIRECTORY),
    # Systems and containers that the host starts as root.
    *("/var/lib/machines", "/var/lib/portables", "/var/lib/extensions", "/var/lib/confexts"),
    *(
        "/var/lib/containers",
        "/var/lib/docker",
        "/var/lib/containerd",
        "/var/lib/kubelet",
        "/var/lib/rancher",
    ),
    *("/var/lib/libvirt", "/var/lib/flatpak", "/var/lib/snapd"),
    # State that the host's own services act upon.
    *("/var/lib/systemd", "/var/lib/private", "/var/lib/dbus", "/var/lib/cloud", "/var/lib/NetworkManager"),
    *("/var/lib/polkit-1", "/var/lib/selinux", "/var/lib/sss", "/var/lib/AccountsService", "/var/lib/fwupd"),
    *("/var/lib/rpm", "/var/lib/dpkg", "/var/lib/rpm-ostree", "/var/lib/ostree"),
    *("/var/spool/cron", "/var/spool/at", "/var/spool/anacron", "/var/log/journal", "/var/log/audit"),
)
# Directories shared by many: one below them may be data, they themselves are not.
_HOST_DIRECTORIES = ("/tmp", "/var/cache", "/var/home", "/var/opt", "/var/tmp")
# A user's home, and what programs read in it: ~/.ssh, ~/.config, ~/.bashrc.
_HOME = re.compile(r"/var/home/[^/]+(/\..*)?")
_REMOVABLE_MEDIA = "/run/media/"


def of_the_host(path: str) -> bool:
    """Return whether `path` is, contains or lies in a directory where a write changes the host itself."""
    place = canonical(path)
    if place.startswith(_REMOVABLE_MEDIA):
        return False
    return (
        any(within(place, tree) or within(tree, place) for tree in _HOST_TREES)
        or any(within(shared, place) for shared in _HOST_DIRECTORIES)
        or _HOME.fullmatch(place) is not None
    )


class Bind(Spec):
    """A directory or file of the host that the guest sees.

    + source: its path on the host; it must exist when the guest starts
    + target: where the guest sees it; the same path by default. It must be there in the guest's tree, which
      is read-only, or lie below its /var, where it is made
    + read_only: on by default
    + idmap: show the host's owners as the guest's own, so that guest root may write as host root
      into it. Off by default: then everything belongs to `nobody`. Only for a directory that no
      unprivileged user of the host can reach: a guest's root can leave a setuid-root file there

    Only directories of data can be id-mapped, or writable for a guest without private users. Refused are
    the host's system, /root, homes and what programs read in them, and state of the host's own services
    below /var. `source` is judged with the links resolved that every OSTree system has.
    """

    source: Path
    target: Path | None = None
    read_only: bool = True
    idmap: bool = False

    @property
    def canonical_source(self) -> str:
        """The source with OSTree's own links resolved; the host may have others."""
        return canonical(self.source)

    @property
    def is_of_the_host(self) -> bool:
        """Whether a write to it is a write to the host itself."""
        return of_the_host(self.source)

    def refusal(self, kind: str) -> str:
        """Return why a bind of that kind would let the guest change its host, and what to do instead."""
        problem = f"{kind} bind of {self.source} gives guest root what is the host's own"
        return f"{problem}; bind a directory of data, like /srv/www"

    @model_validator(mode="after")
    def _spare_the_host(self) -> Bind:
        if self.idmap and self.is_of_the_host:
            raise ValueError(self.refusal("an id-mapped"))
        return self
