"""What every machine of the lab can do, whatever its body is: a container or a virtual machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tests.lab.shell import LabError, explain, retry

if TYPE_CHECKING:
    import subprocess

COMMAND_SECONDS = 60


class Machine(ABC):
    """One machine of the lab, running or not.

    Commands run as root and go by a side door, never through sshd: its log holds only what the tested
    product did.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in ssh_config, and the machine's own hostname."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether the machine is up, or about to be."""

    # What a person at the machine does.

    @abstractmethod
    def start(self) -> None:
        """Boot what a boot loader would choose, and wait until the machine is `running` and sshd answers."""

    @abstractmethod
    def stop(self) -> None:
        """Shut down in order, as a person would; what does not end is killed."""

    @abstractmethod
    def reboot(self) -> None:
        """Shut down in order and boot what a boot loader would choose now."""

    @abstractmethod
    def crash(self) -> None:
        """Cut the power, and boot again: what was not written to disk is lost, and so is /run."""

    @abstractmethod
    def reset(self) -> None:
        """Make it a freshly installed machine again. No orderly shutdown: the disk is thrown away."""

    @abstractmethod
    def log(self) -> str:
        """Return what the machine wrote on its console since it was started."""

    # What a person with a root shell does.

    @abstractmethod
    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a shell command line as root on the machine, however it ends."""

    def succeed(self, command: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run a command that must succeed; return its standard output."""
        done = self.run(command, timeout)
        if done.returncode != 0:
            raise LabError(f"{self.name}: {explain(command, done)}")
        return done.stdout

    def fail(self, command: str, timeout: float = COMMAND_SECONDS) -> str:
        """Run a command that must fail; return all that it said."""
        done = self.run(command, timeout)
        if done.returncode == 0:
            raise LabError(f"{self.name}: {explain(command, done, 'a failure')}")
        return done.stdout + done.stderr

    def wait_until_succeeds(self, command: str, timeout: float = COMMAND_SECONDS) -> str:
        """Repeat a command until it succeeds; return that run's standard output."""

        def attempt() -> list[str]:
            return [self.succeed(command, timeout)]

        return retry(attempt, timeout, f"{self.name}: success of {command}")[0]

    def check_system_state(self) -> None:
        """Wait until all units are started; raise unless the system is `running`."""
        state = self.run("systemctl is-system-running --wait").stdout.strip()
        if state == "degraded":
            raise LabError(f"failed units:\n{self.run('systemctl --failed --plain').stdout}")
        if state != "running":
            raise LabError(f"system state {state or 'unknown'}")

    def log_tail(self) -> str:
        """Return the last lines of the log, for an error message."""
        return "console:\n" + "\n".join(self.log().splitlines()[-30:])
