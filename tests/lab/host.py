"""A lab host as tests see it."""

from __future__ import annotations

import shlex
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab import cgroup, lock, machine, network, ssh, sysctls, sysroot
from tests.lab.fleet import SPECS
from tests.lab.progress import step
from tests.lab.protocol import COMMAND_SECONDS, Machine
from tests.lab.shell import LabError, explain, retry
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tests.lab.fleet import HostSpec

BOOT_SECONDS = 60
#: What timeout(1) exits with when it had to end the command.
TIMED_OUT = 124

ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
)


@dataclass(frozen=True)
class Host(Machine):
    """One host of the lab, running or not: a container.

    Commands enter the host's own namespaces.
    """

    spec: HostSpec

    @property
    def name(self) -> str:
        """The name in ssh_config, and the host's own hostname."""
        return self.spec.name

    @property
    def sysroot(self) -> Path:
        """The host's physical root, as this machine sees it."""
        return sysroot.copy(self.spec).sysroot

    @property
    def is_running(self) -> bool:
        """Whether the host is up, or about to be."""
        return machine.is_running(self.spec)

    # What a person at the machine does.

    def start(self, deployment: str | None = None) -> None:
        """Boot, and wait until the host is `running` and sshd answers. Booted already: fine.

        `deployment` (CHECKSUM.SERIAL) is a choice in the boot menu, for this boot only.
        """
        with lock.host(self.name):
            if not self.is_running:
                prepare()
                sysroot.create(self.spec)
                self._boot(deployment)

    def stop(self) -> None:
        """Shut down in order, as a person would; what does not end is killed."""
        with lock.host(self.name), step(f"{self.name}: shutting down"):
            machine.stop(self.spec)

    def reboot(self, deployment: str | None = None) -> None:
        """Shut down in order and boot what a boot loader would choose now."""
        self.stop()
        self.start(deployment)

    def crash(self) -> None:
        """Cut the power, and boot again: what was not written to disk is lost, and so is /run."""
        with lock.host(self.name):
            machine.kill(self.spec)
        self.start()

    def reset(self) -> None:
        """Make it a freshly installed host again. No orderly shutdown: the disk is thrown away."""
        reset([self])

    def log(self) -> str:
        """Return what the host wrote on its console since it was started."""
        return machine.console(self.spec).read_text(errors="replace")

    def _install(self) -> None:
        with lock.host(self.name):
            machine.kill(self.spec)
            prepare()
            sysroot.delete(self.spec)
            sysroot.create(self.spec)
            self._boot(None)

    # What a person with a root shell does.

    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a shell command line as root on the host, however it ends."""
        leader = machine.leader(self.spec)
        if leader is None:
            raise LabError(f"expected {self.name} to be up, found it down")
        done = subprocess.run(
            self._side_door(leader, command, timeout),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == TIMED_OUT:
            raise LabError(f"{self.name}: {explain(command, done, f'an end within {timeout:g} s')}")
        return done

    @staticmethod
    def _side_door(leader: int, command: str, timeout: float) -> list[str]:
        """Return the command line that runs another one beside the host's PID 1.

        The process enters the host's control group first: a command that makes groups itself, as
        nspawn does, would not find its own in the host's cgroup namespace.
        """
        door = cgroup.of(leader).parent / "side-door"
        inside = [
            *("nsenter", f"--target={leader}"),
            *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
            *("env", "--ignore-environment", "--chdir=/", *ENVIRONMENT),
            *("timeout", "--kill-after=5", f"{timeout:g}", "sh", "-c", command),
        ]
        enter = f'mkdir -p {shlex.quote(str(door))} && echo $$ >"$0/cgroup.procs" && exec "$@"'
        return ["sh", "-c", enter, str(door), *inside]

    def _boot(self, deployment: str | None) -> None:
        with step(f"{self.name}: booting") as done:
            machine.start(self.spec, deployment)
            try:
                retry(self._has_booted, BOOT_SECONDS, f"{self.name} is running and sshd answers")
            except LabError as error:
                raise LabError(f"{error}\n{self.log_tail()}") from error
            done.result = f"{self.spec.user}@{network.address(self.spec)} answers"

    def _has_booted(self) -> bool:
        if not self.is_running:
            raise LabError("the host's supervisor has ended")
        self.check_system_state()
        with socket.create_connection((network.address(self.spec), 22), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"


def reset(wanted: Collection[Host]) -> None:
    """Make these hosts freshly installed again, side by side."""
    on_each(wanted, Host._install)


def prepare() -> None:
    """Have what all hosts of this instance need before one of them is made or boots."""
    with lock.instance():
        sysctls.prepare()
        ssh.prepare()


def hosts() -> dict[str, Host]:
    """Return all hosts that the lab knows, by name."""
    return {name: Host(spec) for name, spec in SPECS.items()}


def usual_hosts() -> dict[str, Host]:
    """Return those that are up unless others are named."""
    return {name: host for name, host in hosts().items() if not host.spec.on_demand}
