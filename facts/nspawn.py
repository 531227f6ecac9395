"""The guests of a host: their units, their machines, and the files that define them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import (
    Part,
    Record,
    Unreadable,
    fact_script,
    not_understood,
    parse_parts,
    refuse_failed,
)

if TYPE_CHECKING:
    from pyinfra.api.command import StringCommand


@dataclass(frozen=True)
class Unit(Record):
    """What systemd says of a guest's unit (systemctl(1), `show`).

    + definition: digest of the definition that the running guest was started with; None when it does
      not run or was not started by ours
    + started_monotonic_us: when its main process started, in microseconds since the host's boot
    """

    load_state: str
    unit_file_state: str
    active_state: str
    sub_state: str
    result: str
    need_daemon_reload: bool
    fragment_path: str = ""
    dropin_paths: tuple[str, ...] = ()
    main_pid: int = 0
    started_monotonic_us: int = 0
    restarts: int = 0
    definition: str | None = None

    @property
    def enabled(self) -> bool:
        """Whether it starts with machines.target."""
        return self.unit_file_state == "enabled"

    @property
    def active(self) -> bool:
        """Whether it runs, or is on its way to."""
        return self.active_state in ("active", "activating", "reloading")


@dataclass(frozen=True)
class Machine(Record):
    """What machined and the guest itself say of a running machine.

    + unit: the unit that runs it
    + leader: process id of the guest's PID 1 on the host
    + os, version: from the guest's os-release
    + addresses: of the guest's interfaces
    + system_state: what `systemctl is-system-running` says in the guest; empty when it does not answer
    + failed_units: those of a `degraded` guest
    + deployment: directory name of the deployment it was started from; None when it cannot be seen
    """

    unit: str = ""
    leader: int = 0
    os: str = ""
    version: str = ""
    addresses: tuple[str, ...] = ()
    system_state: str = ""
    failed_units: tuple[str, ...] = ()
    deployment: str | None = None


@dataclass(frozen=True)
class FileSeen(Record):
    """A file of a guest's definition: content (of a credential: its sha256), mode, owner."""

    content: str
    mode: str
    owner: str = "0:0"


@dataclass(frozen=True)
class GuestSeen(Record):
    """A guest as a host has it; every field is empty for a guest that is not there.

    + directory: mode and owner of its directory below /var/lib/pyinfra-nspawn; None without one
    + current: where its `current` points
    + stateroot: where its `stateroot` points, which says that the stateroot of that name in the host's own
      sysroot is ours; None without one
    + files: its .nspawn file and every drop-in of its unit in /etc/systemd/system, by path
    + credentials: by name; the content is the sha256
    """

    unit: Unit | None = None
    machine: Machine | None = None
    directory: str | None = None
    current: str | None = None
    stateroot: str | None = None
    files: dict[str, FileSeen] = field(default_factory=dict)
    credentials: dict[str, FileSeen] = field(default_factory=dict)

    @property
    def current_deployment(self) -> str | None:
        """Directory name of the deployment that it boots; None when none was chosen."""
        return self.current.rsplit("/", 1)[-1] if self.current else None


# Parts that are about the whole host: without them nothing can be said of any guest.
_ALL_OR_NOTHING = ("host", "units", "machines")


def parse_guests(output: list[str]) -> dict[str, GuestSeen] | Unreadable:
    """Read the answer of `scripts/guests.sh`."""
    try:
        parts = parse_parts(output)
        refuse_failed(part for part in parts if part.words[0] in _ALL_OR_NOTHING)
        units = _units(next(part for part in parts if part.words[0] == "units"))
        by_name: dict[str, list[Part]] = {name: [] for name in units}
        for part in parts:
            if part.words[0] not in ("units", "machines"):
                by_name[part.words[1]].append(part)
        listed = _listed(parts)
        return {name: _guest(units[name], listed.get(name, {}), by_name[name]) for name in units}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return not_understood(error)


def _units(part: Part) -> dict[str, dict[str, str]]:
    """Read the blocks of `systemctl show`, by the guest's name."""
    units = {}
    for block in part.text.split("\n\n"):
        shown = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if shown:
            units[shown["Id"].removeprefix("systemd-nspawn@").removesuffix(".service")] = shown
    return units


def _listed(parts: list[Part]) -> dict[str, dict[str, str]]:
    """Read `machinectl list --output=json`; it knows a machine's OS and addresses."""
    text = next((part.text for part in parts if part.words[0] == "machines"), "")
    # An empty list is no JSON before systemd 253: "No machines."
    return {item["machine"]: item for item in json.loads(text)} if text.startswith("[") else {}


def _guest(shown: dict[str, str], listed: dict[str, str], parts: list[Part]) -> GuestSeen:
    named = {part.words[0]: part for part in parts}
    return GuestSeen(
        unit=_unit(shown, named.get("definition")),
        machine=_machine(listed, named) if "machine" in named else None,
        directory=named["directory"].text if "directory" in named else None,
        current=named["current"].text if "current" in named else None,
        stateroot=named["stateroot"].text if "stateroot" in named else None,
        files=dict(_file(part) for part in parts if part.words[0] == "file"),
        credentials={
            part.words[2]: FileSeen(part.text, part.words[3])
            for part in parts
            if part.words[0] == "credential"
        },
    )


def _file(part: Part) -> tuple[str, FileSeen]:
    refuse_failed([part])
    _, _, mode, owner, *path = part.words
    return " ".join(path), FileSeen(part.output, mode, owner)


def _unit(shown: dict[str, str], definition: Part | None) -> Unit:
    return Unit(
        load_state=shown["LoadState"],
        unit_file_state=shown["UnitFileState"],
        active_state=shown["ActiveState"],
        sub_state=shown["SubState"],
        result=shown["Result"],
        need_daemon_reload=shown["NeedDaemonReload"] == "yes",
        fragment_path=shown["FragmentPath"],
        dropin_paths=tuple(shown["DropInPaths"].split()),
        main_pid=int(shown["MainPID"]),
        started_monotonic_us=int(shown["ExecMainStartTimestampMonotonic"]),
        restarts=int(shown["NRestarts"]),
        definition=definition.text or None if definition and definition.code == 0 else None,
    )


def _machine(listed: dict[str, str], parts: dict[str, Part]) -> Machine:
    shown = dict(line.split("=", 1) for line in parts["machine"].lines if "=" in line)
    etc = parts.get("etc")
    system = parts.get("system")
    failed = parts.get("failed")
    return Machine(
        unit=shown.get("Unit", ""),
        leader=int(shown.get("Leader") or 0),
        os=listed.get("os") or "",
        version=listed.get("version") or "",
        addresses=tuple((listed.get("addresses") or "").split()),
        system_state=system.lines[-1] if system and system.lines else "",
        failed_units=tuple(line.split()[0] for line in failed.lines) if failed else (),
        deployment=_deployment(etc.text) if etc and etc.code == 0 else None,
    )


def _deployment(etc: str) -> str | None:
    """Return the name of the directory that an /etc lies in."""
    return etc.removesuffix("/etc").rpartition("/")[2] or None


class Guests(FactBase[dict[str, GuestSeen] | Unreadable]):
    """Every guest the host knows of, ours or not, by name: unit, machine, `current`, files.

    + only: the one guest to read; all by default

    Returns a dict of `GuestSeen` (a name that is not in it is not on the host), or `Unreadable`.
    Needs root.
    """

    def command(self, only: str = "") -> StringCommand:
        """Return the script; it exits 0 whatever it finds."""
        return fact_script("guests", *([only] if only else []))

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> dict[str, GuestSeen] | Unreadable:
        """Parse the answer."""
        return parse_guests(output)

    @staticmethod
    def merged(
        before: dict[str, GuestSeen] | Unreadable, now: dict[str, GuestSeen] | Unreadable, only: str
    ) -> dict[str, GuestSeen] | Unreadable:
        """Return `before`, with the guest `only` as it is `now`."""
        if isinstance(before, Unreadable) or isinstance(now, Unreadable):
            return now
        return {**before, **{name: seen for name, seen in now.items() if name == only}}
