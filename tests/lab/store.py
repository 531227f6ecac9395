"""What guests must never change: their host's tree, and the deployments that share its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.host import Host

OWN = "/var/lib/pyinfra-nspawn/web"
TREE = """
cd /sysroot/ostree/deploy/host/deploy
ours="! -path */etc/systemd/* ! -path */etc/sysctl.d*"
set -f
find . -type f $ours | sort | xargs -d '\\n' sha256sum | sha256sum
find . $ours -printf '%p %y %m %U %G %l\\n' | sort | sha256sum
cd /boot && find . -type f | sort | xargs sha256sum | sha256sum
cat /proc/sys/kernel/core_pattern
"""
# An inode's ctime changes with every change of it: content, owner, mode, flags, extended attributes.
INODES = f"""
find /sysroot/ostree {OWN}/ostree {OWN}/boot /boot -regextype posix-extended \\
    -regex '.*/deploy/[^/]+/(var|deploy/[^/]+/(etc|var))' -prune \\
    -o -printf '%p %i %y %m %U %G %s %C@ %l\\n' 2>/dev/null >/run/inodes
wc -l </run/inodes
sort /run/inodes | sha256sum
rm /run/inodes
"""
REPOSITORY = f"repo={OWN}/ostree/repo; [ -e $repo ] || repo=/ostree/repo"


def tree(host: Host) -> str:
    """Return digests of the host's deployments, less what is ours, and of /boot; and its core_pattern."""
    return host.succeed(TREE, timeout=120)


def inodes(host: Host) -> str:
    """Return a digest of the inodes of both stores, deployments and kernels, less each /etc and /var."""
    found = host.succeed(INODES, timeout=120)
    assert int(found.split()[0]) > 1000
    return found


def check(host: Host) -> None:
    """Expect every object in the store of the guest to be what its name says."""
    host.succeed(f"{REPOSITORY}; ostree fsck --quiet --repo=$repo", timeout=120)
