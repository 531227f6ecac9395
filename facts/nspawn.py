"""The guests of a host: their units, their machines, and the files that define them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import (
    GarbledError,
    Record,
    Unreadable,
    decoded_name,
    not_understood,
    one_line,
    parse_answer,
    refuse_failed,
)
from pyinfra_nspawn.facts.program import command_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra_nspawn.facts.base import Part


@dataclass(frozen=True)
class Unit(Record):
    """What systemd says of a guest's unit (systemctl(1), `show`).

    + definition: digest of the definition that the running guest was started with; None when it does
      not run or was not started by ours
    + started: when its main process started, as an ISO 8601 time in UTC; empty when it has not
    + started_monotonic_us: the same, in microseconds since the host's boot
    + restarts: how often systemd has restarted it by itself
    + exec_start: the arguments of its command as systemd will run it; empty when it has none
    + device_allow: what its device list allows, sorted
    + memory_max, cpu_quota_us, tasks_max, io_weight: limits in force, as systemd prints them
    + memory_bytes: what the guest uses now; None where that is not known
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
    started: str = ""
    started_monotonic_us: int = 0
    restarts: int = 0
    definition: str | None = None
    exec_start: str = ""
    device_allow: tuple[str, ...] = ()
    memory_max: str = ""
    cpu_quota_us: str = ""
    tasks_max: str = ""
    io_weight: str = ""
    memory_bytes: int | None = None

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
    + system_state: what the guest's systemd says of itself; empty when it does not answer
    + failed_units, restarting_units: those of the guest
    + complaint: why the guest's systemd could not be asked; empty when it could
    + deployment: directory name of the deployment it was started from; None when it cannot be seen
    + machine_id: as machined knows it; empty when it does not
    + addresses: of its network, but for the loopback and link-local ones; read only when asked for
    + disk_bytes: what its /etc and /var take, by its own word; None unless it was asked for
    """

    unit: str = ""
    leader: int = 0
    system_state: str = ""
    failed_units: tuple[str, ...] = ()
    restarting_units: tuple[str, ...] = ()
    complaint: str = ""
    deployment: str | None = None
    machine_id: str = ""
    addresses: tuple[str, ...] = ()
    disk_bytes: int | None = None


@dataclass(frozen=True)
class FileSeen(Record):
    """A file of a guest's definition: content (of a credential: its sha256), mode, owner.

    Bytes that are not UTF-8 are shown as replacement characters, so that such a file equals none of ours.
    """

    content: str
    mode: str
    owner: str = "0:0"


@dataclass(frozen=True)
class Joined(Record):
    """The role, cluster and name that a node got when k3s was started in it for the first time.

    + how: `server-founded`, `server-joined` or `agent-joined`
    + cluster: the name of its cluster in the inventory
    + node: its name in that cluster
    """

    how: str
    cluster: str
    node: str

    @property
    def role(self) -> str:
        """`server` or `agent`."""
        return self.how.partition("-")[0]


@dataclass(frozen=True)
class Placed(Record):
    """The files of k3s that a guest has, and its state as a node.

    + files: digests by path below /usr/lib/k3s, `k3s` and `images/...`; empty digests of unknown files
    + joined: role, cluster and name of its node; None before k3s was started
    + cordoned: whether its node was cordoned for a change that was cut off
    """

    files: dict[str, str] = field(default_factory=dict)
    joined: Joined | None = None
    cordoned: bool = False


@dataclass(frozen=True)
class Upgraded(Record):
    """The last upgrade or rollback of a guest.

    + at: seconds since 1970
    + down_seconds: how long the guest was down, from its stop until it was healthy
    + commit: to which commit
    """

    at: int
    down_seconds: float
    commit: str


@dataclass(frozen=True)
class Backup(Record):
    """An archive of a guest that its host keeps.

    + file: its name, which begins with the time at which it was taken: `20260102T030405Z.tar`
    + size: in bytes
    """

    file: str
    size: int

    @property
    def taken(self) -> str:
        """When it was taken, as an ISO 8601 time in UTC; empty where its name does not say."""
        match = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.", self.file, re.ASCII)
        return "{}-{}-{}T{}:{}:{}Z".format(*match.groups()) if match else ""


@dataclass(frozen=True)
class DiskLimit(Record):
    """The project quota of a guest's /var and /etc.

    + project: the number of the project
    + sysroot: on whose file system, `private` or `shared`; empty for what cannot be read
    + kib: how much they may take together; 0 for one that was to be set or lifted when a run was killed
    + size_kib: how large the guest sees the larger of the two: as large as the limit, where that is in force
    + used_kib: how much of that is taken
    """

    project: int
    sysroot: str
    kib: int
    size_kib: int
    used_kib: int = 0

    @property
    def is_in_force(self) -> bool:
        """Whether the guest sees no more than its quota."""
        return self.size_kib <= self.kib


@dataclass(frozen=True)
class GuestSeen(Record):
    """A guest as a host has it; every field is empty for a guest that does not exist.

    + directory: mode and owner of its directory below /var/lib/pyinfra-nspawn; None without one
    + current: where its `current` points
    + fallback: where its `fallback` points: the deployment that it booted before; None without one
    + stateroot: where its `stateroot` points, which says that the stateroot of that name in the host's own
      sysroot is ours; None without one
    + files: its .nspawn file and every drop-in of its unit in /etc/systemd/system, by path
    + dropins: contents of the drop-ins that systemd merges into the unit from elsewhere, by path: those of
      the template, and of all services
    + credentials: by name; the content is the sha256
    + image: a tree or image of that name in /var/lib/machines; None without one
    + unwritten: whether a file that it was given was not there after its last start
    + refused: digest of the definition that did not come up when it was tried last; None without one
    + k3s: its files of k3s and its state as a node; None without files
    + refused_commits: why commits are not tried again, by their checksums
    + upgraded: its last upgrade or rollback; None without one
    + disk_limit: the quota that was set for it; None without one
    + backups: its archives on the host, the oldest first
    + restoring: `DIGEST IDENTITY` of the archive that it is being restored from, where that was interrupted;
      None else
    + restored: digest of the archive that it was restored from; None for any other guest
    + trial: `running` while a change is tried, `interrupted` when that was cut off; None else
    """

    unit: Unit | None = None
    machine: Machine | None = None
    directory: str | None = None
    current: str | None = None
    fallback: str | None = None
    stateroot: str | None = None
    files: dict[str, FileSeen] = field(default_factory=dict)
    dropins: dict[str, str] = field(default_factory=dict)
    credentials: dict[str, FileSeen] = field(default_factory=dict)
    image: str | None = None
    unwritten: bool = False
    refused: str | None = None
    k3s: Placed | None = None
    refused_commits: dict[str, str] = field(default_factory=dict)
    upgraded: Upgraded | None = None
    disk_limit: DiskLimit | None = None
    backups: tuple[Backup, ...] = ()
    restoring: str | None = None
    restored: str | None = None
    trial: str | None = None

    @property
    def current_deployment(self) -> str | None:
        """Directory name of the deployment that it boots; None when none was chosen."""
        return self.current.rsplit("/", 1)[-1] if self.current else None

    @property
    def fallback_deployment(self) -> str | None:
        """Directory name of the deployment that it booted before; None without one."""
        return self.fallback.rsplit("/", 1)[-1] if self.fallback else None


Seen = dict[str, "GuestSeen | Unreadable"]
"""The guests of a host by name; a name that it does not hold is not on the host."""

_OF_GUESTS = frozenset(
    {
        "guest",
        "directory",
        "current",
        "falls-back-to",
        "stateroot",
        "file",
        "dropin",
        "credential",
        "image",
        "unwritten",
        "refused",
        "refused-commits",
        "upgraded",
        "disk-limit",
        "backups",
        "restoring",
        "restored",
        "k3s-placed",
        "trial",
        "definition",
        "etc",
        "system",
        "units-of",
        "addresses",
        "disk",
    }
)


def parse_guests(parts: Iterable[Part]) -> Seen | Unreadable:
    """Return the guests that the parts of an answer describe.

    What is said of one guest is read by itself: an unreadable one spoils no other.
    """
    by_name: dict[str, list[Part]] = {}
    of_host: dict[str, Part] = {}
    try:
        for part in parts:
            if part.words[0] in _OF_GUESTS:
                by_name.setdefault(part.words[1], []).append(part)
            else:
                of_host[part.words[0]] = part
        refuse_failed(of_host[name] for name in ("root", "units") if name in of_host)
        units = _blocks(of_host["units"], "Id")
        machines = _blocks(of_host["machines"], "Name") if "machines" in of_host else {}
    except (ValueError, KeyError, IndexError) as error:
        return not_understood(error)
    return {name: _readable(name, units, machines.get(name, {}), own) for name, own in by_name.items()}


def _blocks(part: Part, key: str) -> dict[str, dict[str, str]]:
    """Read blocks of `KEY=VALUE` lines, each by what `key` says in it."""
    found = {}
    for block in part.text.split("\n\n"):
        shown: dict[str, str] = {}
        for line in block.split("\n"):
            name, equals, value = line.partition("=")
            # DeviceAllow has a line for each device.
            shown[name] = f"{shown[name]}\n{value}" if name in shown else value if equals else ""
        if key in shown:
            found[shown[key]] = shown
    return found


def _readable(
    name: str, units: dict[str, dict[str, str]], machine: dict[str, str], parts: list[Part]
) -> GuestSeen | Unreadable:
    unit = f"systemd-nspawn@{name}.service"
    if unit not in units:  # systemd shows a unit that does not exist too, but an alias by its other name
        return Unreadable(f"systemd shows no {unit}: it may be an alias of another unit")
    try:
        return _guest(units[unit], machine, parts)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return not_understood(error)


def _guest(shown: dict[str, str], machine: dict[str, str], parts: list[Part]) -> GuestSeen:
    named = {part.words[0]: part for part in parts}
    _refuse_unreadable(parts)
    return GuestSeen(
        unit=_unit(shown, named.get("definition")),
        # One that comes or goes in this moment may be asked without being in the list of machines.
        machine=_machine(machine, named) if machine or "system" in named else None,
        directory=_text(named, "directory"),
        current=_text(named, "current"),
        fallback=_text(named, "falls-back-to"),
        stateroot=_text(named, "stateroot"),
        files={
            decoded_name(part.words[4]): FileSeen(
                part.output.decode(errors="replace"), part.words[2], part.words[3]
            )
            for part in parts
            if part.words[0] == "file"
        },
        dropins={
            decoded_name(part.words[2]): part.output.decode(errors="replace")
            for part in parts
            if part.words[0] == "dropin"
        },
        credentials={
            decoded_name(part.words[2]): FileSeen(part.text, part.words[3])
            for part in parts
            if part.words[0] == "credential"
        },
        image=_text(named, "image"),
        unwritten="unwritten" in named,
        refused=_text(named, "refused"),
        k3s=_placed(named["k3s-placed"]) if "k3s-placed" in named else None,
        refused_commits=_refused_commits(named.get("refused-commits")),
        upgraded=_upgraded(named.get("upgraded")),
        disk_limit=_disk_limit(named.get("disk-limit")),
        backups=_backups(named.get("backups")),
        restoring=_text(named, "restoring"),
        restored=_text(named, "restored"),
        trial=_text(named, "trial"),
    )


def _refused_commits(part: Part | None) -> dict[str, str]:
    """Read lines `COMMIT PROBLEM`."""
    if part is None:
        return {}
    refuse_failed([part])
    lines = (line.partition(" ") for line in part.lines)
    return {commit: one_line(problem) for commit, _, problem in lines if commit}


def _upgraded(part: Part | None) -> Upgraded | None:
    """Read `AT CENTISECONDS COMMIT`; a power cut may have emptied it."""
    words = part.text.split(" ") if part and part.code == 0 else []
    if len(words) != len(Upgraded.__dataclass_fields__) or not all(map(str.isdecimal, words[:2])):
        return None
    return Upgraded(int(words[0]), int(words[1]) / 100, words[2])


def _disk_limit(part: Part | None) -> DiskLimit | None:
    """Read `PROJECT SYSROOT KIB`, which a power cut may have emptied, and lines `BLOCK_BYTES BLOCKS FREE`."""
    if part is None:
        return None
    first, *sizes = [line.split() for line in part.lines] or [[]]
    if len(first) != 3 or not all(map(str.isdecimal, (first[0], first[2]))):  # noqa: PLR2004
        return DiskLimit(0, "", 0, 0)
    blocks = [tuple(map(int, words)) for words in sizes]
    size = max((size * count // 1024 for size, count, _ in blocks), default=0)
    used = max((size * (count - free) // 1024 for size, count, free in blocks), default=0)
    return DiskLimit(int(first[0]), first[1], int(first[2]), size, used)


def _backups(part: Part | None) -> tuple[Backup, ...]:
    """Read lines `FILE BYTES`."""
    if part is None:
        return ()
    refuse_failed([part])
    lines = (line.partition(" ") for line in sorted(part.lines))
    return tuple(Backup(one_line(file), int(size)) for file, _, size in lines if file)


def _placed(part: Part) -> Placed:
    """Read lines `file SHA256 PATH`, `joined HOW CLUSTER NODE` and `cordoned`."""
    refuse_failed([part])
    lines = [line.split(" ") for line in part.lines]
    return Placed(
        files={words[2]: words[1] for words in lines if words[0] == "file"},
        joined=next((Joined(*words[1:]) for words in lines if words[0] == "joined"), None),
        cordoned=["cordoned"] in lines,
    )


_NAME_AT = {"file": 4, "dropin": 2, "credential": 2}
"""Which word of a header is the file's path or name."""


def _refuse_unreadable(parts: Iterable[Part]) -> None:
    """Raise `GarbledError`, with the path, for a file that could not be read."""
    for part in parts:
        if part.code != 0 and part.words[0] in _NAME_AT:
            name = decoded_name(part.words[_NAME_AT[part.words[0]]])
            raise GarbledError(f"{name}: {part.complaint}")


def _text(parts: dict[str, Part], name: str) -> str | None:
    if name not in parts:
        return None
    refuse_failed([parts[name]])
    return parts[name].text


def _unit(shown: dict[str, str], definition: Part | None) -> Unit:
    return Unit(
        load_state=shown["LoadState"],
        unit_file_state=shown["UnitFileState"],
        active_state=shown["ActiveState"],
        sub_state=shown["SubState"],
        result=shown["Result"],
        need_daemon_reload=shown["NeedDaemonReload"] == "yes",
        fragment_path=shown["FragmentPath"],
        dropin_paths=_paths(shown["DropInPaths"]),
        main_pid=int(shown["MainPID"]),
        started=_time(shown.get("ExecMainStartTimestamp", "")),
        started_monotonic_us=int(shown["ExecMainStartTimestampMonotonic"]),
        restarts=int(shown["NRestarts"]),
        definition=definition.text or None if definition and definition.code == 0 else None,
        exec_start=_arguments(shown.get("ExecStart", "")),
        device_allow=tuple(sorted(filter(None, shown.get("DeviceAllow", "").split("\n")))),
        memory_max=shown.get("MemoryMax", ""),
        cpu_quota_us=shown.get("CPUQuotaPerSecUSec", ""),
        tasks_max=shown.get("TasksMax", ""),
        io_weight=shown.get("IOWeight", ""),
        memory_bytes=_bytes(shown.get("MemoryCurrent", "")),
    )


def _time(text: str) -> str:
    """Return a time of systemd's, `Fri 2026-01-02 03:04:05 UTC`, in ISO 8601; nothing for anything else."""
    match = re.fullmatch(r"[A-Z][a-z]{2} (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC", text, re.ASCII)
    return f"{match[1]}T{match[2]}Z" if match else ""


def _bytes(text: str) -> int | None:
    """Return a size; None for `[not set]`, and for the largest number, by which systemd means the same."""
    return int(text) if text.isdecimal() and int(text) != 2**64 - 1 else None


_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


def _paths(text: str) -> tuple[str, ...]:
    """Read a list as `systemctl show` prints it: a word with a space or backslash is in double quotes."""
    return tuple(re.sub(r"\\(.)", r"\1", quoted) if quoted else bare for quoted, bare in _WORD.findall(text))


def _arguments(text: str) -> str:
    """Return `argv[]` of what `systemctl show -p ExecStart` prints: `{ path=... ; argv[]=... ; ... }`."""
    return text.partition("argv[]=")[2].rpartition(" ; ignore_errors=")[0]


def _machine(shown: dict[str, str], parts: dict[str, Part]) -> Machine:
    etc = parts.get("etc")
    system, units = parts.get("system"), parts.get("units-of")
    state = _system_state(system)
    complaints = [part.complaint for part in (system, units) if part and part.code != 0]
    if system and not state:
        complaints.append(f"no state of a system: {one_line(system.text, 80)}")
    states = _states(units)
    return Machine(
        unit=shown.get("Unit", ""),
        leader=int(shown.get("Leader") or 0),
        system_state=state,
        failed_units=tuple(name for name, sub in states if sub == "failed"),
        restarting_units=tuple(name for name, sub in states if sub == "auto-restart"),
        complaint=next(iter(complaints), ""),
        deployment=_deployment(etc.text) if etc and etc.code == 0 else None,
        machine_id=shown.get("Id", ""),
        addresses=_addresses(parts.get("addresses")),
        disk_bytes=_disk(parts.get("disk")),
    )


def _addresses(part: Part | None) -> tuple[str, ...]:
    """Read the kernel's tables of a network namespace: lines of the form `4 ADDRESS` or `6 HEX`."""
    found: list[IPv4Address | IPv6Address] = []
    for line in part.lines if part and part.code == 0 else ():
        kind, _, text = line.partition(" ")
        try:
            found.append(IPv4Address(text) if kind == "4" else IPv6Address(int(text[:32], 16)))
        except ValueError:
            return ()
    outside = (item for item in found if not (item.is_loopback or item.is_link_local))
    return tuple(map(str, dict.fromkeys(outside)))


def _disk(part: Part | None) -> int | None:
    """Read the total of `du -ck`, in KiB; du exits 1 where a file has gone meanwhile."""
    match = re.fullmatch(r"([0-9]{1,15})\s+total", part.lines[-1]) if part and part.lines else None
    return int(match[1]) * 1024 if match else None


def _system_state(part: Part | None) -> str:
    """Read `SystemState=...`; the guest may have printed anything."""
    if part is None or part.code != 0:
        return ""
    match = re.fullmatch(r"SystemState=([a-z-]{1,40})", part.text)
    return match[1] if match else ""


_UNIT_LINE = re.compile(
    # A name of systemd's alphabet holds no control sequence.
    r"(?P<name>[A-Za-z0-9:_.\\@-]{1,255}\.[a-z]+)\s+[a-z-]+\s+[a-z-]+\s+(?P<sub>failed|auto-restart)(\s.*)?"
)


def _states(part: Part | None) -> list[tuple[str, str]]:
    """Read names and sub-states of `list-units --plain`: UNIT LOAD ACTIVE SUB DESCRIPTION.

    A description may hold newlines, and so a line of a guest's own making: only what looks like a unit's
    line counts. What root of a guest makes up in this way is said of that guest alone.
    """
    if part is None or part.code != 0:
        return []
    found = (_UNIT_LINE.fullmatch(line.strip()) for line in part.lines)
    return list(dict.fromkeys((match["name"], match["sub"]) for match in found if match))


def _deployment(etc: str) -> str | None:
    """Return the name of the directory that an /etc lies in; root of a guest can mount any upon it."""
    return one_line(etc.removesuffix("/etc").rpartition("/")[2], 256) or None


class Guests(FactBase[Seen | Unreadable]):
    """Read every guest that the host knows of, ours or not, by name: unit, machine, `current`, files.

    Returns a dict of `GuestSeen` or `Unreadable` by name (a name that it does not hold is not on the host),
    or `Unreadable`. Needs root.

    **Example:**

    .. code:: shell

        pyinfra inventories/mine.py fact pyinfra_nspawn.facts.nspawn.Guests
    """

    def command(self) -> str:
        """Return the command; it exits 0 whatever it finds."""
        return command_line("facts", "guests")

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> Seen | Unreadable:
        """Parse the answer."""
        try:
            return parse_guests(parse_answer(output))
        except ValueError as error:
            return not_understood(error)
