"""The lab as a whole: up, and gone again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.lab import cgroup, image, lock, machine, sysctls, sysroot
from tests.lab.fleet import SPECS
from tests.lab.host import hosts, prepare, usual_hosts
from tests.lab.paths import CACHE, INSTANCE_VARIABLE, REPOSITORY, RUN, SSH_CONFIG, instances
from tests.lab.progress import say, step
from tests.lab.shell import LabError, run
from tests.lab.side_by_side import on_each
from tests.lab.vm import process
from tests.lab.vm.fleet import VMS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tests.lab.host import Host

#: What the lab runs on this machine, and the Debian package that has it.
TOOLS = {
    "chattr": "e2fsprogs",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "losetup": "mount",
    "mmdebstrap": "mmdebstrap",
    "ostree": "ostree",
    "setpriv": "util-linux",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
}


def up(names: Collection[str] = ()) -> None:
    """Have these hosts running (if none is named, all but those on demand), with whatever that takes."""
    wanted = [host for name, host in hosts().items() if name in (names or usual_hosts())]
    install_tools()
    _build_images(wanted)
    prepare()
    on_each(wanted, _up)


def _up(host: Host) -> None:
    if not sysroot.is_current(host.spec):
        host.reset()
    host.start()
    say(f"{host.name}: ssh -F {SSH_CONFIG} {host.name}")


def down() -> None:
    """Stop all hosts of this instance and leave nothing of it on this machine; the image cache stays."""
    with ExitStack() as locked:
        for name in (*SPECS, *VMS):
            locked.enter_context(lock.host(name))
        locked.enter_context(lock.instance())
        # Whatever was up, half up or gone: each step takes what it finds.
        with step("taking the hosts away"):
            for spec in SPECS.values():
                machine.kill(spec)
            for virtual in VMS.values():
                process.kill(virtual)
            cgroup.kill(cgroup.mount_point() / cgroup.PARENT)
            sysroot.delete_all()
            image.remove_unfinished()
        machine.remove_runtime()
        shutil.rmtree(RUN, ignore_errors=True)
        sysctls.restore()
        say(f"nothing left but the images in {CACHE}")


def down_all() -> None:
    """Take down every instance: each by a process that has its number in the environment."""
    suffixes = {path.name.removeprefix("pyinfra-nspawn-lab") for path in instances()}
    suffixes |= {path.name.removeprefix("hosts") for path in CACHE.glob("hosts*")}
    failed = [suffix or "-0" for suffix in sorted(suffixes | {""}) if not _down_apart(suffix)]
    if failed:
        raise LabError(f"expected every instance to go, found still there: {', '.join(failed)}")


def _down_apart(suffix: str) -> bool:
    environment = {**os.environ, INSTANCE_VARIABLE: suffix.removeprefix("-")}
    command = [sys.executable, "-m", "tests.lab", "down"]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode == 0


def install_tools(more: Mapping[str, str] | None = None) -> None:
    """Install what is missing of what the lab runs on this machine, and of `more`."""
    tools = TOOLS | dict(more or {})
    with lock.machine():
        missing = sorted({package for tool, package in tools.items() if not shutil.which(tool)})
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
