"""Where checks look: a host, and a guest on it. What one command tells is asked once."""

from __future__ import annotations

import functools
import shlex
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.specs.layout import Layout
from pyinfra_nspawn.verify.backend import guest_host
from pyinfra_nspawn.verify.mounts import Mount, parse

if TYPE_CHECKING:
    from testinfra.backend.base import CommandResult
    from testinfra.host import Host as TestinfraHost

    from pyinfra_nspawn import specs
    from pyinfra_nspawn.verify.shell import Shell

PROPERTIES = (
    *("FragmentPath", "DropInPaths", "UnitFileState", "NeedDaemonReload", "ActiveState", "MainPID"),
    *("Restart", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "IOWeight"),
)
# Where systemd looks for units, the most important first: those that an administrator or a package fills.
UNIT_PATH = (
    *("/etc/systemd/system.control", "/run/systemd/system.control"),
    *("/etc/systemd/system", "/run/systemd/system"),
    *("/usr/local/lib/systemd/system", "/usr/lib/systemd/system"),
)


class Place:
    """A host or a guest: what a sentence about it begins with, and how it is said."""

    def expect(self, what: str, wanted: object, found: object) -> None:
        """Fail with one sentence unless `found` is `wanted`."""
        __tracebackhide__ = True
        if found != wanted:
            self.fail(f"expected {what} to be {_shown(wanted)}, found {_shown(found)}")

    def fail(self, sentence: str) -> None:
        """Fail with one sentence."""
        __tracebackhide__ = True
        pytest.fail(f"{self}: {sentence}", pytrace=False)


class Host(Place):
    """A host of the inventory.

    + name: in the inventory
    + shell: None when it is not reached over SSH
    + guests: that it is to have
    + absent: those that it is not to have
    + bridge: the one that it is to have, or not to have; None where the inventory says nothing of one
    """

    def __init__(self, name: str, shell: Shell | None) -> None:
        self.name = name
        self.shell = shell
        self.guests: list[Guest] = []
        self.absent: list[specs.Guest] = []
        self.bridge: specs.Bridge | None = None

    def __str__(self) -> str:
        return f"host {self.name}"

    def run(self, *words: str) -> CommandResult:
        """Run a command, however it ends."""
        __tracebackhide__ = True
        assert self.shell is not None
        return self.shell.run(*words)

    def output(self, *words: str) -> str:
        """Return what a command printed, which must succeed."""
        __tracebackhide__ = True
        done = self.run(*words)
        if done.rc != 0:
            said = done.stderr.strip() or done.stdout.strip() or "nothing"
            self.fail(f"expected success of `{shlex.join(words)}`, found exit code {done.rc}: {said}")
        return done.stdout

    def content(self, path: str) -> str:
        """Return what is in a file, which must be readable; bytes that are no text are replaced."""
        __tracebackhide__ = True
        done = self.run("cat", "--", path)
        if done.rc != 0:
            self.fail(f"expected to read {path}, found: {done.stderr.strip()}")
        return done.stdout_bytes.decode(errors="replace")

    def answer(self, *words: str) -> str:
        """Return the first line that a command printed, whether or not it succeeded."""
        done = self.run(*words)
        return (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()[0]

    def mode(self, path: str) -> str:
        """Return a path's mode and owner, like `0700 root:root`; `nothing` where there is none."""
        done = self.run("stat", "-c", "%a %U:%G", path)
        return done.stdout.strip().zfill(len("0700 root:root")) if done.rc == 0 else "nothing"

    def properties(self, names: tuple[str, ...], unit: str) -> dict[str, str]:
        """Return a unit's properties as systemd has them."""
        __tracebackhide__ = True
        shown = self.output("systemctl", "show", "-p", ",".join(names), "--", unit)
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    @functools.cached_property
    def status(self) -> str:
        """What `ostree admin status` says."""
        return self.output("ostree", "admin", "status")

    @property
    def guests_beside_it(self) -> set[str]:
        """The guests that are not to be in the host's own sysroot."""
        return {guest.spec.name for guest in self.guests if guest.spec.sysroot == "private"}


class Guest(Place):
    """A guest of the inventory, seen from its host.

    + host: where it is to be
    + spec: what it is to be; its secrets are masked
    """

    def __init__(self, host: Host, spec: specs.Guest) -> None:
        self.host = host
        self.spec = spec
        self.layout = Layout.of(spec)

    def __str__(self) -> str:
        return f"host {self.host.name}, guest {self.spec.name}"

    @functools.cached_property
    def unit(self) -> dict[str, str]:
        """The properties of its unit."""
        return self.host.properties(PROPERTIES, self.layout.unit)

    @functools.cached_property
    def dropins(self) -> list[str]:
        """The drop-ins that systemd has loaded for its unit, and those that it would load next time."""
        unit, template, every = self.layout.unit, "systemd-nspawn@.service", "service"
        own = [f"{place}/{name}.d" for place in UNIT_PATH for name in (unit, template)]
        shared = [f"{place}/{every}.d" for place in UNIT_PATH]
        lists = 'for d; do for f in "$d"/*.conf; do [ ! -e "$f" ] || printf "%s\\n" "$f"; done; done'
        lying = self.host.output("sh", "-c", lists, "sh", *own, *shared).splitlines()
        # Of several of one name systemd loads the first, in the order of systemd.unit(5).
        first = {path.rpartition("/")[2]: path for path in reversed(lying)}
        return sorted({*self.unit["DropInPaths"].split(), *first.values()})

    @functools.cached_property
    def current(self) -> str:
        """What `current` points at, as the symlink has it; `nothing` where there is none."""
        return self.host.run("readlink", self.layout.current).stdout.strip() or "nothing"

    @property
    def repository(self) -> str:
        """The repository that its commit is in."""
        return f"{self.layout.sysroot_directory}/ostree/repo"

    @property
    def stateroot(self) -> str:
        """The end of its stateroot's path, wherever the file system that it lies on is mounted."""
        own = "" if self.spec.sysroot == "shared" else f"/{self.spec.name}"
        return f"{own}/ostree/deploy/{self.spec.name}"

    @property
    def etc(self) -> str:
        """The end of the path of the /etc that it is to have."""
        return f"{self.stateroot}/deploy/{self.current.rpartition('/')[2]}/etc"

    # While it runs.

    @functools.cached_property
    def leader(self) -> str:
        """The process id of its PID 1 on the host."""
        return self.host.output("machinectl", "show", self.spec.name, "-p", "Leader", "--value").strip()

    @functools.cached_property
    def mounts(self) -> dict[str, Mount]:
        """What it has mounted, by where."""
        return parse(self.host.output("cat", f"/proc/{self.leader}/mountinfo"))

    @functools.cached_property
    def environment(self) -> list[str]:
        """The environment of its PID 1, `NAME=VALUE`."""
        return self.environment_of(self.leader)

    def environment_of(self, process: str) -> list[str]:
        """Return the environment that a process of the host was started with, `NAME=VALUE`."""
        return self.host.output("cat", f"/proc/{process}/environ").split("\0")

    @functools.cached_property
    def within(self) -> TestinfraHost:
        """The guest itself, with testinfra's modules."""
        assert self.host.shell is not None
        return guest_host(self.host.shell, self.spec.name)

    def inside(self, *words: str) -> str:
        """Return what a command printed in the guest, which must succeed."""
        __tracebackhide__ = True
        done = self.within.run(shlex.join(words))
        if done.rc != 0:
            said = done.stderr.strip() or done.stdout.strip() or "nothing"
            self.fail(f"expected success of `{shlex.join(words)}` in the guest, found {done.rc}: {said}")
        return done.stdout

    def mode_inside(self, path: str, *, numeric: tuple[bool, bool] = (False, False)) -> str:
        """Return mode and owner of a file in the guest, like `0600 root:root`; `nothing` where there is none.

        + numeric: whether the user, and whether the group, are told as numbers
        """
        file = self.within.file(path)
        if not file.exists:
            return "nothing"
        user = file.uid if numeric[0] else file.user
        group = file.gid if numeric[1] else file.group
        return f"{file.mode:04o} {user}:{group}"


def deployments(status: str) -> list[str]:
    """Return the deployments in what `ostree admin status` says, as `STATEROOT CHECKSUM.SERIAL`."""
    found = []
    for line in status.splitlines():
        words = line.removeprefix("*").split()
        if len(words) > 1 and line[0:2] in ("* ", "  ") and line[2:3] != " ":
            found.append(f"{words[0]} {words[1]}")
    return found


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
