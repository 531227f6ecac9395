"""What guests must never change: their host's tree, and the deployments that share its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.host import Host

OWN = "/var/lib/pyinfra-nspawn/web"
BOOTED = "ostree admin status | sed -n 's/^[*] host //p'"
TREE = """
cd /sysroot/ostree/deploy/host/deploy
ours="! -path */etc/systemd/* ! -path */etc/sysctl.d*"
set -f
find . -type f $ours | sort | xargs -d '\\n' sha256sum | sha256sum
find . $ours -printf '%p %y %m %U %G %l\\n' | sort | sha256sum
cd /boot && find . -type f | sort | xargs sha256sum | sha256sum
cat /proc/sys/kernel/core_pattern
"""
DIFFS = f"""
booted=$({BOOTED})
ostree diff --repo=/ostree/repo "${{booted%.*}}" "/sysroot/ostree/deploy/host/deploy/$booted" |
    grep -v '    etc'
"""
REPOSITORY = f"repo={OWN}/ostree/repo; [ -e $repo ] || repo=/ostree/repo"
GUEST_DIFF = f"""
{REPOSITORY}
id=$(basename "$(readlink {OWN}/current)")
ostree diff --repo=$repo "${{id%.*}}" {OWN}/current | grep -v '    etc'
"""


def tree(host: Host) -> str:
    """Return digests of the host's deployments, less what is ours, and of /boot; and its core_pattern."""
    return host.succeed(TREE, timeout=120)


def deviations(host: Host) -> tuple[str, str]:
    """What differs between the deployments and their commits, /etc aside."""
    return host.run(DIFFS, timeout=120).stdout, host.run(GUEST_DIFF, timeout=120).stdout


def check(host: Host) -> None:
    """Expect every object in the stores of the host and of the guest to be what its name says."""
    host.succeed("ostree fsck --quiet", timeout=120)
    host.succeed(f"{REPOSITORY}; ostree fsck --quiet --repo=$repo", timeout=120)
