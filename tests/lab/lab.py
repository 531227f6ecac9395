"""The lab as a whole: up, and gone again."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.lab import cgroup, image, machine, ssh, sysctls, sysroot
from tests.lab.generations import SPECS
from tests.lab.host import hosts
from tests.lab.lock import lock
from tests.lab.paths import CACHE, HOSTS, RUN, SSH_CONFIG
from tests.lab.progress import say, step
from tests.lab.shell import run
from tests.lab.trash import remove

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tests.lab.host import Host

#: What the lab runs on this machine, and the Debian package that has it.
TOOLS = {
    "chattr": "e2fsprogs",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "ostree": "ostree",
    "setpriv": "util-linux",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
}


def up(names: Collection[str] = ()) -> None:
    """Have these hosts running (all, if none is named), with whatever that takes."""
    wanted = [host for name, host in hosts().items() if not names or name in names]
    with lock():
        _install_tools()
        _build_images(wanted)
        ssh.prepare()
    for host in wanted:
        if not sysroot.is_current(host.spec):
            host.reset()
        host.start()
        say(f"{host.name}: ssh -F {SSH_CONFIG} {host.name}")


def down() -> None:
    """Stop all hosts and leave nothing on this machine but the image cache."""
    with lock():
        # Whatever was up, half up or gone: each step takes what it finds.
        with step("taking the hosts away"):
            for spec in SPECS.values():
                machine.kill(spec)
            cgroup.kill(cgroup.mount_point() / cgroup.PARENT)
            for leftover in (HOSTS, *CACHE.glob("building.*")):
                remove(leftover)
        sysctls.restore()
        machine.remove_runtime()
        shutil.rmtree(RUN, ignore_errors=True)
        say(f"nothing left but the images in {CACHE}")


def _install_tools() -> None:
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if missing:
        with step(f"installing {', '.join(missing)}"):
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            run("apt-get", "update", "--quiet", env=quiet)
            run("apt-get", "install", "--yes", "--no-install-recommends", *missing, env=quiet)


def _build_images(wanted: Iterable[Host]) -> None:
    generations = {host.spec.generation for host in wanted}
    with ThreadPoolExecutor() as pool:
        for built in [pool.submit(image.build, generation) for generation in generations]:
            built.result()
