"""A virtual machine as tests see it."""

from __future__ import annotations

import base64
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.lab import lock, sysroot
from tests.lab.host import ENVIRONMENT, TIMED_OUT
from tests.lab.progress import say, step
from tests.lab.protocol import COMMAND_SECONDS, Machine
from tests.lab.shell import LabError, explain, retry
from tests.lab.vm import access, channel, disks, process, qemu
from tests.lab.vm.fleet import ADDRESS, VMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.lab.vm.fleet import VmSpec

#: By emulation on two cores it takes half a minute; both at once a minute.
BOOT_SECONDS = 240
LOAD_SECONDS = 60
SHUTDOWN_SECONDS = 90
#: A command that takes longer is asked after now and then, and others have their turn meanwhile.
QUICK_SECONDS = 1
#: What a shell exits with when it cannot say better: the command was ended by a signal.
SIGNALLED = 128

#: The state of a machine that has booted, with nothing done to it.
BOOTED = "booted"


@dataclass(frozen=True)
class VirtualMachine(Machine):
    """One virtual machine of the lab, running or not.

    Commands are given to an agent in it, which needs no network.
    """

    spec: VmSpec

    @property
    def name(self) -> str:
        """The name in ssh_config, and the machine's own hostname."""
        return self.spec.name

    @property
    def is_running(self) -> bool:
        """Whether the machine is up, or about to be."""
        return process.is_running(self.spec)

    # What a person at the machine does.

    def start(self) -> None:
        """Boot what a boot loader would choose, and wait until the machine is `running` and sshd answers."""
        with lock.host(self.name):
            self._start()

    def stop(self) -> None:
        """Shut down in order, as a person would; what does not end is killed."""
        with lock.host(self.name), step(f"{self.name}: shutting down"):
            if self.is_running:
                self._power_off()
            process.kill(self.spec)

    def reboot(self) -> None:
        """Reboot from within: firmware has the boot loader choose again."""
        with lock.host(self.name), step(f"{self.name}: rebooting"):
            before = self._boot_id()
            with suppress(OSError, LabError):  # its agent may go before it has answered
                self.run("systemctl reboot --no-block")
            self._wait(lambda: self._boot_id() != before and self._has_booted(), BOOT_SECONDS)

    def crash(self) -> None:
        """Cut the power, and boot again: /run and unwritten data are lost."""
        with lock.host(self.name):
            self._cut_power()
            self._start()

    def reset(self) -> None:
        """Make it a freshly installed machine again, which has booted once."""
        if BOOTED in disks.snapshots(self.spec) and sysroot.is_current(self.spec):
            self.load(BOOTED)
            return
        with lock.host(self.name):
            process.kill(self.spec)
            sysroot.delete(self.spec)
            self._start()
        self.save(BOOTED)

    def save(self, snapshot: str) -> None:
        """Keep memory and disks as they are now under a name, in place of what had it."""
        with lock.host(self.name), step(f"{self.name}: saving {snapshot}"):
            self.succeed("sync")
            self._monitor(f"savevm {snapshot}")

    def load(self, snapshot: str) -> None:
        """Have memory and disks as they were saved; the clock is put right.

        In a new process: in a running QEMU the processor's time stamp counter never goes back
        (`cpu_get_ticks` of QEMU 7.2). The kernel takes the leap for a stall of RCU, and the traces that it
        then asks for by NMI have killed a machine.
        """
        with lock.host(self.name), step(f"{self.name}: loading {snapshot}"):
            if self.is_running:
                self._cut_power()
            access.prepare()
            process.start(self.spec, snapshot)
            self._wait(self._has_loaded, LOAD_SECONDS)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Let nobody connect to its sshd for a while; it cannot tell. Booting anew ends it too."""
        way = f"tcp:{ADDRESS}:{self.spec.port}"
        self._monitor(f"hostfwd_remove uplink {way}", f"host forwarding rule for {way} removed")
        try:
            yield
        finally:
            ways = [line for line in self._say("info usernet").splitlines() if "HOST_FORWARD" in line]
            if not any(str(self.spec.port) in line.split() for line in ways):
                self.forward(self.spec.port)

    def forward(self, port: int, to: str = "", to_port: int = 22) -> None:
        """Lead a port of this machine to one (sshd's) of the machine, or of an address on its network."""
        self._monitor(f"hostfwd_add uplink tcp:{ADDRESS}:{port}-{to}:{to_port}")

    def log(self) -> str:
        """Return what the machine wrote on its console since it was started."""
        return qemu.console(self.spec).read_text(errors="replace")

    # What a person with a root shell does.

    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a shell command line as root on the machine, however it ends."""
        process.check(self.spec)
        words = ["--ignore-environment", "--chdir=/", *ENVIRONMENT]
        words += ["timeout", "--kill-after=5", f"{timeout:g}", "sh", "-c", command]
        answer = self._execute("/usr/bin/env", words, timeout + LOAD_SECONDS)
        code = answer["exitcode"] if "exitcode" in answer else SIGNALLED + answer["signal"]
        stdout, stderr = (_text(answer, f"{stream}-data") for stream in ("out", "err"))
        done = subprocess.CompletedProcess(command, code, stdout, stderr)
        if code == TIMED_OUT:
            raise LabError(f"{self.name}: {explain(command, done, f'an end within {timeout:g} s')}")
        return done

    def _execute(self, path: str, words: list[str], timeout: float) -> dict[str, Any]:
        """Have the agent run a program; return its last word about that."""
        with self._agent() as agent:
            pid = agent.ask("guest-exec", path=path, arg=words, **{"capture-output": True})["pid"]
            quick = time.monotonic() + QUICK_SECONDS
            while time.monotonic() < quick:
                answer: dict[str, Any] = agent.ask("guest-exec-status", pid=pid)
                if answer["exited"]:
                    return answer
                time.sleep(0.02)

        def attempt() -> dict[str, Any] | None:
            with self._agent() as agent:
                answer: dict[str, Any] = agent.ask("guest-exec-status", pid=pid)
                return answer if answer["exited"] else None

        return retry(attempt, timeout, f"an end of {words[-1]} on {self.name}")

    def _agent(self) -> AbstractContextManager[channel.Channel]:
        return channel.agent(qemu.agent(self.spec))

    def _monitor(self, line: str, answer: str = "") -> None:
        """Give QEMU a line of its monitor for people, which says nothing else when all went well."""
        said = self._say(line).strip()
        if said != answer:
            raise LabError(f"{self.name}: expected {line} to succeed, found {said}")

    def _say(self, line: str) -> str:
        """Give QEMU a line of its monitor for people; return what it says."""
        with channel.monitor(qemu.monitor(self.spec)) as monitor:
            said: str = monitor.ask("human-monitor-command", **{"command-line": line})
            return said

    def _start(self) -> None:
        if self.is_running:
            return
        access.prepare()
        disks.create(self.spec)
        with step(f"{self.name}: booting") as done:
            process.start(self.spec)
            self._wait(self._has_booted, BOOT_SECONDS)
            done.result = f"{self.spec.user}@{ADDRESS}:{self.spec.port} answers"

    def _cut_power(self) -> None:
        """Have QEMU quit: a killed one would lose what the machine has written to its disks, even flushed."""
        with suppress(OSError, LabError), channel.monitor(qemu.monitor(self.spec)) as monitor:
            monitor.ask("quit")
        retry(lambda: not self.is_running, SHUTDOWN_SECONDS, f"{self.name} is off")

    def _power_off(self) -> None:
        try:
            self.run("systemctl poweroff --no-block")
            retry(lambda: not self.is_running, SHUTDOWN_SECONDS, f"{self.name} powers off")
        except (LabError, OSError) as error:
            say(f"{self.name}: killing it: {error}")

    def _wait(self, condition: Callable[[], bool], timeout: float) -> None:
        try:
            retry(condition, timeout, f"{self.name} is running and sshd answers")
        except LabError as error:
            raise LabError(f"{error}\n{self.log_tail()}") from error

    def _boot_id(self) -> str:
        return self.succeed("cat /proc/sys/kernel/random/boot_id")

    def _has_booted(self) -> bool:
        self.check_system_state()
        return self._sshd_answers()

    def _has_loaded(self) -> bool:
        self.succeed(f"date --set=@{time.time():.3f}")
        return self._sshd_answers()

    def _sshd_answers(self) -> bool:
        with socket.create_connection((ADDRESS, self.spec.port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"


def _text(answer: dict[str, Any], key: str) -> str:
    return base64.b64decode(answer.get(key, "")).decode(errors="replace")


def machines() -> dict[str, VirtualMachine]:
    """Return all virtual machines that the lab knows, by name."""
    return {name: VirtualMachine(spec) for name, spec in VMS.items()}
