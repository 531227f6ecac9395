"""The OSTree sysroots of a host: its own, and the private ones of its guests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

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

HOST = "/"
"""The name of the host's own sysroot among a host's sysroots."""


@dataclass(frozen=True)
class Deployment(Record):
    """One deployment of a sysroot.

    + index: its place in the list that `ostree admin` numbers from 0
    + checksum: the commit it was made of; a local one where rpm-ostree layered packages
    + base_checksum: the remote commit below layered packages; None where nothing is layered
    + origin: the refspec it follows; None where it follows none that ostree knows
    + packages: what rpm-ostree was asked to layer
    """

    index: int
    stateroot: str
    checksum: str
    serial: int
    version: str | None = None
    origin: str | None = None
    booted: bool = False
    staged: bool = False
    pending: bool = False
    rollback: bool = False
    pinned: bool = False
    unlocked: str = "none"
    base_checksum: str | None = None
    packages: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name of its directory: `CHECKSUM.SERIAL`."""
        return f"{self.checksum}.{self.serial}"

    @property
    def base_commit(self) -> str:
        """The commit as its publisher knows it, below anything that was layered upon it."""
        return self.base_checksum or self.checksum


@dataclass(frozen=True)
class Sysroot(Record):
    """An OSTree sysroot.

    + deployments: in ostree's order
    + refs: commits by refspec (`REMOTE:REF`, or `REF` for a local one)
    + remotes: URLs by name; read for the host's sysroot only
    + fallback: what boots the second deployment when the first does not come up; empty for nothing, and
      read for the host's sysroot only
    + commits: of those commits that were asked for, whether the host's repository has them: `present`,
      `partial` or `absent`
    + complaint: what `ostree admin status` said when it failed and printed the deployments all the same, as
      for a commit without the signature that its remote demands (ostree before 2025.3)
    + layers: why the base commits below layered packages are not known; None where they are
    """

    deployments: tuple[Deployment, ...] = ()
    stateroots: tuple[str, ...] = ()
    refs: dict[str, str] = field(default_factory=dict)
    remotes: dict[str, str] = field(default_factory=dict)
    fallback: str = ""
    commits: dict[str, str] = field(default_factory=dict)
    complaint: str = ""
    layers: Unreadable | None = None

    @property
    def booted(self) -> Deployment | None:
        """The deployment that runs; None in a sysroot that nothing was booted from."""
        return next((item for item in self.deployments if item.booted), None)

    def of_stateroot(self, stateroot: str) -> tuple[Deployment, ...]:
        """Return the deployments of one stateroot, in ostree's order."""
        return tuple(item for item in self.deployments if item.stateroot == stateroot)


@dataclass(frozen=True)
class HostSysroots(Record):
    """The host's own sysroot, those of its guests by the guest's name, and paths of the host.

    + offers: of those refs that were asked for, by `REMOTE:REF`, the commit that the remote has now
    + paths: of those paths that were asked for, where they really are, all links resolved; None for a path
      that does not exist
    """

    host: Sysroot | Unreadable
    guests: dict[str, Sysroot | Unreadable] = field(default_factory=dict)
    paths: dict[str, str | None] = field(default_factory=dict)
    offers: dict[str, str | Unreadable] = field(default_factory=dict)


_LINE = re.compile(
    r"(?P<mark>[* ]) (?P<stateroot>\S+) (?P<checksum>[0-9a-f]{64})\.(?P<serial>\d+)"
    r"(?P<notes>( \([a-z -]+\))*)"
)


def parse_status(lines: tuple[str, ...]) -> tuple[Deployment, ...]:
    """Read what `ostree admin status` prints to a person.

    Raises `GarbledError` on a line that begins no deployment and describes none.
    """
    found: list[Deployment] = []
    for line in lines:
        if match := _LINE.fullmatch(line.rstrip()):
            found.append(_from_line(len(found), match))
        elif line.startswith("    ") and found:
            found[-1] = _described(found[-1], line.strip())
        elif line.strip() not in ("", "No deployments."):
            raise GarbledError(f"no line of `ostree admin status`: {line[:120]!r}")
    return tuple(found)


def _from_line(index: int, match: re.Match[str]) -> Deployment:
    notes = match["notes"]
    return Deployment(
        index=index,
        stateroot=match["stateroot"],
        checksum=match["checksum"],
        serial=int(match["serial"]),
        booted=match["mark"] == "*",
        staged="(staged)" in notes,
        pending="(pending)" in notes,
        rollback="(rollback)" in notes,
    )


def _described(deployment: Deployment, text: str) -> Deployment:
    """Add what an indented line says; a line that is of no use here (a signature) adds nothing."""
    key, _, value = text.partition(": ")
    match key:
        case "Version":
            return replace(deployment, version=one_line(value))
        case "origin refspec":
            return replace(deployment, origin=value)
        case "Pinned":
            return replace(deployment, pinned=value == "yes")
        case "Unlocked":
            return replace(deployment, unlocked=value)
        case _:
            return deployment


def parse_status_json(text: str) -> tuple[Deployment, ...]:
    """Read what `ostree admin status --json` prints (ostree 2025.3 and later)."""
    return tuple(
        Deployment(
            index=int(item["index"]),
            stateroot=item["stateroot"],
            checksum=item["checksum"],
            serial=int(item["serial"]),
            version=one_line(item["version"]) if item.get("version") else None,
            origin=item.get("refspec"),
            booted=bool(item.get("booted")),
            staged=bool(item.get("staged")),
            pending=bool(item.get("pending")),
            rollback=bool(item.get("rollback")),
            pinned=bool(item.get("pinned")),
            unlocked=item.get("unlocked") or "none",
        )
        for item in json.loads(text)["deployments"]
    )


def with_layers(deployments: tuple[Deployment, ...], items: list[dict[str, Any]]) -> tuple[Deployment, ...]:
    """Add what only rpm-ostree knows: base commits, origins and layered packages.

    Both tools list deployments in the same order; `items` that name their checksum must agree.
    """
    pairs = zip(deployments, items, strict=False)
    known = {
        deployment.id: item
        for deployment, item in pairs
        if item.get("checksum", deployment.checksum) == deployment.checksum
    }
    return tuple(_layered(item, known.get(item.id, {})) for item in deployments)


def _layered(deployment: Deployment, item: dict[str, Any]) -> Deployment:
    return replace(
        deployment,
        base_checksum=item.get("base-checksum") or None,
        origin=deployment.origin or item.get("container-image-reference") or item.get("origin"),
        packages=tuple(item.get("requested-packages") or item.get("packages") or ()),
    )


_RPM_OSTREE_HEAD = re.compile(r"[●* ] (?P<origin>\S+:\S+)( \(.*\))?")


def parse_rpm_ostree(lines: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read what `rpm-ostree status` prints to a person, into the keys of its `--json`."""
    found: list[dict[str, Any]] = []
    for line in lines:
        key, _, value = line.strip().partition(": ")
        if match := _RPM_OSTREE_HEAD.fullmatch(line.rstrip()):
            found.append({"origin": match["origin"]})
        elif found and key == "BaseCommit":
            found[-1]["base-checksum"] = value.strip()
        elif found and key == "LayeredPackages":
            found[-1]["requested-packages"] = value.split()
    return found


def _refs(part: Part) -> dict[str, str]:
    """Read `heads/REF:COMMIT` and `remotes/REMOTE/REF:COMMIT`."""
    refs: dict[str, str] = {}
    for line in part.lines:
        path, _, commit = line.rpartition(":")
        kind, _, name = path.partition("/")
        if kind == "heads":
            refs[name] = commit
        elif kind == "remotes":
            refs[name.replace("/", ":", 1)] = commit
    return refs


def _remotes(part: Part) -> dict[str, str]:
    """Read the headers and URLs of the repository's configuration, and of remotes.d."""
    remotes: dict[str, str] = {}
    name = ""
    for line in map(str.strip, part.lines):
        key, _, value = line.partition("=")
        if match := re.fullmatch(r'\[remote "(.+)"\]', line):
            name = match[1]
            remotes[name] = ""
        elif name and key.rstrip() == "url":
            remotes[name] = value.strip()
    return remotes


def _sysroot(parts: dict[str, Part]) -> Sysroot:
    status = parts.get("status-json") or parts["status"]
    deployments = _deployments(status)
    refuse_failed(parts[kind] for kind in _REFUSED if kind in parts)
    layers: Unreadable | None = None
    try:
        deployments = with_layers(deployments, _layered_items(parts))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        layers = not_understood(error)
    return Sysroot(
        deployments=deployments,
        stateroots=parts["stateroots"].lines,
        refs=_refs(parts["refs"]),
        remotes=_remotes(parts["remotes"]) if "remotes" in parts else {},
        fallback=", ".join(parts["fallback"].lines) if "fallback" in parts else "",
        complaint=status.complaint if status.code else "",
        layers=layers,
    )


_REFUSED = ("stateroots", "refs", "remotes", "fallback")
"""The parts whose failure leaves a sysroot unknown; `status` and what rpm-ostree says are looked at apart."""


def _deployments(status: Part) -> tuple[Deployment, ...]:
    """Read a status; one that failed counts as far as it printed deployments."""
    try:
        as_json = status.words[0] == "status-json"
        deployments = parse_status_json(status.text) if as_json else parse_status(status.lines)
    except (ValueError, KeyError, TypeError):
        refuse_failed([status])  # its own words say more than what cannot be read of it
        raise
    if not deployments:
        refuse_failed([status])
    return deployments


def _layered_items(parts: dict[str, Part]) -> list[dict[str, Any]]:
    """Return what rpm-ostree says of each deployment; nothing where there is no rpm-ostree."""
    found = parts.get("rpm-ostree-json") or parts.get("rpm-ostree")
    if found is None:
        return []
    refuse_failed([found])
    if found.words[0] == "rpm-ostree":
        return parse_rpm_ostree(found.lines)
    items: list[dict[str, Any]] = json.loads(found.text)["deployments"]
    return items


_OF_SYSROOTS = frozenset(
    {
        "status",
        "status-json",
        "stateroots",
        "refs",
        "remotes",
        "fallback",
        "rpm-ostree",
        "rpm-ostree-json",
    }
)


def parse_sysroots(parts: Iterable[Part]) -> HostSysroots | Unreadable:
    """Return the sysroots that the parts of an answer describe; one that is unreadable spoils no other."""
    try:
        return _sysroots(parts)
    except (ValueError, IndexError) as error:
        return not_understood(error)


def _sysroots(parts: Iterable[Part]) -> HostSysroots:
    grouped: dict[str, dict[str, Part]] = {}
    commits: dict[str, str] = {}
    paths: dict[str, str | None] = {}
    offers: dict[str, str | Unreadable] = {}
    for part in parts:
        kind = part.words[0]
        if kind in _OF_SYSROOTS:
            grouped.setdefault(part.words[1], {})[kind] = part
        elif kind == "commit":
            commits[part.words[1]] = part.text
        elif kind == "offer":
            offers[part.words[1]] = _offer(part)
        elif kind == "path":
            paths[decoded_name(part.words[1])] = None if part.text == "absent" else decoded_name(part.text)
    sysroots = {name: _whole(items) for name, items in grouped.items()}
    host = sysroots.pop(HOST, Unreadable("the answer holds nothing of the host's sysroot"))
    if isinstance(host, Sysroot):
        host = replace(host, commits=commits)
    return HostSysroots(host=host, guests=sysroots, paths=paths, offers=offers)


def _offer(part: Part) -> str | Unreadable:
    """Read the commit of a remote's ref."""
    if part.code != 0:
        return Unreadable(f"its remote was asked in vain: {one_line(part.complaint)}")
    if not re.fullmatch("[0-9a-f]{64}", part.text):
        return Unreadable("its remote does not offer it")
    return part.text


def _whole(parts: dict[str, Part]) -> Sysroot | Unreadable:
    try:
        return _sysroot(parts)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return not_understood(error)


class Sysroots(FactBase[HostSysroots | Unreadable]):
    """Read every OSTree sysroot of the host: deployments, stateroots, refs, remotes.

    Returns `HostSysroots`, or `Unreadable` when nothing could be determined. Needs root, for the guests'.

    **Example:**

    .. code:: shell

        pyinfra inventories/mine.py fact pyinfra_nspawn.facts.ostree.Sysroots
    """

    def command(self) -> str:
        """Return the command; it exits 0 whatever it finds."""
        return command_line("facts", "sysroots")

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> HostSysroots | Unreadable:
        """Parse the answer."""
        try:
            return parse_sysroots(parse_answer(output))
        except ValueError as error:
            return not_understood(error)
