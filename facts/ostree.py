"""The OSTree sysroots of a host: its own, and the private ones of its guests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import (
    GarbledError,
    Part,
    Record,
    Unreadable,
    fact_script,
    not_understood,
    parse_parts,
    refuse_failed,
)

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
    + free_bytes: what its file system has left
    + fallback: what boots the second deployment when the first does not come up; empty for nothing, and
      read for the host's sysroot only
    """

    deployments: tuple[Deployment, ...] = ()
    stateroots: tuple[str, ...] = ()
    refs: dict[str, str] = field(default_factory=dict)
    remotes: dict[str, str] = field(default_factory=dict)
    free_bytes: int = 0
    fallback: str = ""

    @property
    def booted(self) -> Deployment | None:
        """The deployment that runs; None in a sysroot that nothing was booted from."""
        return next((item for item in self.deployments if item.booted), None)

    def of_stateroot(self, stateroot: str) -> tuple[Deployment, ...]:
        """Return the deployments of one stateroot, in ostree's order."""
        return tuple(item for item in self.deployments if item.stateroot == stateroot)


@dataclass(frozen=True)
class HostSysroots(Record):
    """The host's own sysroot, and those of its guests by the guest's name."""

    host: Sysroot | Unreadable
    guests: dict[str, Sysroot | Unreadable] = field(default_factory=dict)


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
            return replace(deployment, version=value)
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
            version=item.get("version"),
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
        refs[name.replace("/", ":", 1) if kind == "remotes" else name] = commit
    return refs


def _remotes(part: Part) -> dict[str, str]:
    """Read the headers and URLs of the repository's configuration, and of remotes.d."""
    remotes: dict[str, str] = {}
    name = ""
    for line in part.lines:
        if line.startswith("[remote "):
            name = line.removeprefix('[remote "').removesuffix('"]')
            remotes[name] = ""
        elif name:
            remotes[name] = line.removeprefix("url=")
    return remotes


def _free_bytes(part: Part) -> int:
    """Read the `Available` column of POSIX `df -Pk`."""
    return int(part.lines[-1].split()[3]) * 1024


def _sysroot(parts: dict[str, Part]) -> Sysroot:
    refuse_failed(parts.values())
    if "status-json" in parts:
        deployments = parse_status_json(parts["status-json"].text)
    else:
        deployments = parse_status(parts["status"].lines)
    if "rpm-ostree-json" in parts:
        items = json.loads(parts["rpm-ostree-json"].text)["deployments"]
        deployments = with_layers(deployments, items)
    elif "rpm-ostree" in parts:
        deployments = with_layers(deployments, parse_rpm_ostree(parts["rpm-ostree"].lines))
    return Sysroot(
        deployments=deployments,
        stateroots=parts["stateroots"].lines,
        refs=_refs(parts["refs"]),
        remotes=_remotes(parts["remotes"]) if "remotes" in parts else {},
        free_bytes=_free_bytes(parts["free"]),
        fallback=", ".join(parts["fallback"].lines) if "fallback" in parts else "",
    )


def parse_sysroots(output: list[str]) -> HostSysroots | Unreadable:
    """Read the answer of `scripts/sysroots.sh`; one unreadable sysroot spoils no other."""
    try:
        grouped: dict[str, dict[str, Part]] = {}
        for part in parse_parts(output):
            kind, name = part.words
            grouped.setdefault(name, {})[kind] = part
    except ValueError as error:
        return not_understood(error)
    sysroots = {name: _whole(parts) for name, parts in grouped.items()}
    host = sysroots.pop(HOST, Unreadable("nothing was said of the host's sysroot"))
    return HostSysroots(host=host, guests=sysroots)


def _whole(parts: dict[str, Part]) -> Sysroot | Unreadable:
    try:
        return _sysroot(parts)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return not_understood(error)


class Sysroots(FactBase[HostSysroots | Unreadable]):
    """Every OSTree sysroot of the host: deployments, stateroots, refs, remotes, free space.

    + only: the one guest whose sysroot is to be read; the host's and all guests' by default

    Returns `HostSysroots`, or `Unreadable` when nothing could be told. Needs root, for the guests'.
    """

    def command(self, only: str = "") -> StringCommand:
        """Return the script; it exits 0 whatever it finds."""
        return fact_script("sysroots", *([only] if only else []))

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> HostSysroots | Unreadable:
        """Parse the answer."""
        return parse_sysroots(output)

    @staticmethod
    def merged(
        before: HostSysroots | Unreadable, now: HostSysroots | Unreadable, only: str
    ) -> HostSysroots | Unreadable:
        """Return `before`, with the sysroot of the guest `only` as it is `now`."""
        if isinstance(before, Unreadable) or isinstance(now, Unreadable):
            return now
        others = {name: sysroot for name, sysroot in before.guests.items() if name != only}
        own = {name: sysroot for name, sysroot in now.guests.items() if name == only}
        return replace(before, guests={**others, **own})


class Commit(FactBase[str | Unreadable]):
    """Whether the host's repository has a commit, whole: `present`, `partial` or `absent`.

    + commit: the checksum
    """

    def command(self, commit: str) -> StringCommand:
        """Return the script; it exits 0 whatever it finds."""
        return StringCommand("sh", "-c", QuoteString(_COMMIT), "commit", QuoteString(commit))

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> str | Unreadable:
        """Return the one word of the answer."""
        text = " ".join(output)
        return text if text in ("present", "partial", "absent") else Unreadable(f"it said {text[:120]!r}")


# Objects lie by the first two digits; a pull that did not finish leaves state/CHECKSUM.commitpartial.
_COMMIT = """
object=${1%"${1#??}"}/${1#??}.commit
if [ -e "/ostree/repo/state/$1.commitpartial" ]; then echo partial
elif [ -e "/ostree/repo/objects/$object" ]; then echo present
else echo absent
fi
"""
