"""The process that a running host hangs on: `python3 -m tests.lab.supervisor NAME [INSTANCE]`.

It boots the deployment that a boot loader would choose, again after each reboot that the host asks
for, until the host powers off. Started in a mount namespace of its own (see machine.py). The instance is
read from the environment; on the command line it is for those who look for the process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.lab import cgroup, disk, network, sysctls, sysroot
from tests.lab.fleet import SPECS
from tests.lab.image import REMOTE_DIRECTORY, STATEROOT, image
from tests.lab.machine import DEPLOYMENT, NSPAWN_RUNTIME, runtime, service_manager_runs
from tests.lab.progress import say
from tests.lab.shell import run

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from tests.lab.fleet import HostSpec

#: systemd-nspawn --keep-unit exits with this when its payload asks for a reboot
#: (EXIT_FORCE_RESTART in systemd's exit-status.h).
REBOOT = 133

#: Where a host sees the files that stand in for kernel settings.
OWN_SETTINGS = "/run/lab-sysctls"

ENVIRONMENT = {
    # With nspawn's filter, guests inside the host could have no keyring and no bpf.
    "SYSTEMD_SECCOMP": "0",
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    # A host has its own sysctls and its own udev.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
}


def main(name: str) -> None:
    """Run the host until it powers off."""
    spec = SPECS[name]
    group = cgroup.of("self")
    if not service_manager_runs():  # which gave this process a group
        group = cgroup.mount_point() / cgroup.PARENT / name
    # A group that hands controllers down has no processes of its own.
    cgroup.enter(group / "supervisor")
    cgroup.hand_down_controllers(group)
    _mount(spec)
    wanted = os.environ.get(DEPLOYMENT) or None
    while _boot(spec, group / "machine", wanted) == REBOOT:
        wanted = None


def _mount(spec: HostSpec) -> None:
    """Prepare the mounts that nspawn needs, in this process's own namespace."""
    # Its locks and propagation directories go with the namespace.
    run("mount", "-t", "tmpfs", "tmpfs", NSPAWN_RUNTIME)
    (NSPAWN_RUNTIME / "propagate").mkdir()
    root = sysroot.copy(spec).sysroot
    disk.forget_others(root)
    run("mount", "--bind", root, root)
    run("mount", "--make-private", root)  # a shared mount cannot be moved to become /
    # nspawn resolves the source of a bind after the pivot if it lies in its directory.
    run("mount", "--bind", root / "boot", runtime(spec) / "boot")


def _boot(spec: HostSpec, group: Path, wanted: str | None) -> int:
    """Boot once; return nspawn's exit code."""
    cgroup.kill(group)
    deployment = sysroot.booting(sysroot.copy(spec).sysroot, wanted)
    say(f"{spec.name}: booting {deployment.name}")
    enter_group = ["sh", "-ec", 'mkdir -p "$0"; echo $$ >"$0/cgroup.procs"; exec "$@"', str(group)]
    with subprocess.Popen(
        [*enter_group, *_nspawn(spec, deployment)],
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
    ) as nspawn:

        def power_off(_signal: int, _frame: FrameType | None) -> None:
            nspawn.terminate()  # nspawn asks the host's PID 1 for an orderly shutdown

        signal.signal(signal.SIGTERM, power_off)
        network.connect(spec)
        return nspawn.wait()


def _nspawn(spec: HostSpec, deployment: Path) -> list[str]:
    """Return the command that stands in for firmware, kernel and ostree-prepare-root."""
    root = sysroot.copy(spec).sysroot
    own_settings = runtime(spec) / "sysctls"
    sysctls.write_own(own_settings)
    inside = f"/{deployment.relative_to(root)}"
    return [
        *("setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--boot"),
        *("--register=no", "--keep-unit", f"--machine={spec.name}"),
        *(f"--directory={root}", f"--pivot-root={inside}:/sysroot"),
        *(f"--bind-ro=+{inside}/usr:/usr", f"--bind=+/ostree/deploy/{STATEROOT}/var:/var"),
        f"--bind={runtime(spec)}/boot:/boot",
        f"--bind-ro={runtime(spec)}/ostree-booted:/run/ostree-booted",
        f"--bind-ro={image(spec.generation).remote}:{REMOTE_DIRECTORY}",
        *("--capability=all", "--bind=/dev/kmsg", "--bind-ro=/sys/module"),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        network.nspawn_option(spec),
        f"--bind={own_settings}:{OWN_SETTINGS}",
        # nspawn mounts below /proc from within the host: sources are the host's paths.
        *(f"--bind={OWN_SETTINGS}/{sysctls.file_name(name)}:/proc/sys/{name}" for name in sysctls.OWN),
    ]


if __name__ == "__main__":
    main(sys.argv[1])
