"""One verb of the program on the host, with its arguments and its stdin."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyinfra_nspawn.specs import Artifact
    from pyinfra_nspawn.specs.artifact import Kind


@dataclass(frozen=True)
class FileDiff:
    """How a file would change: its lines before and after."""

    path: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Confirmation:
    """How the controller confirms a change that its host reverts otherwise.

    + seconds: how long the host waits for it
    + digest: by which the host knows the change
    + address: where the host is reached then; empty for as before
    """

    seconds: int
    digest: str
    address: str = ""


@dataclass(frozen=True)
class Transfer:
    """A file that a host gets, in as many commands as that takes.

    + artifact: the file
    + kind: a binary must be of the host's architecture
    """

    artifact: Artifact
    kind: Kind


@dataclass(frozen=True)
class Turn:
    """How a node of a cluster is changed, or taken out of it.

    + cluster: the name of the cluster
    + node: its name there
    + is_server: whether it is a server of the cluster, of which one at a time is changed
    + alone: whether it waits for its turn, and is not changed after a node that failed
    + after: nodes that must be ready in this run before
    + founds: whether it starts the cluster, of which no other node may exist then
    + servers: hosts and guests of the cluster's other servers, and of itself; of all others where it founds
    + drain_seconds: how long moving its pods away may take; 0 to leave them
    + uncordon: whether pods may come back afterwards
    + ready_seconds: how long it may take to be ready; 0 for a node that leaves
    + removed: whether its guest is removed afterwards
    """

    cluster: str
    node: str
    is_server: bool = False
    alone: bool = True
    after: tuple[str, ...] = ()
    founds: bool = False
    servers: tuple[tuple[str, str], ...] = ()
    drain_seconds: int = 0
    uncordon: bool = False
    ready_seconds: int = 0
    removed: bool = False


@dataclass(frozen=True)
class Archiving:
    """Where the archive of a backup goes, and which guests must not be down at the same time.

    + copied_to: a directory of the controller; empty for none
    + cluster: of which one server at a time is backed up; empty for a guest that is no server of a cluster
    """

    copied_to: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class Step:
    """One verb of the program on the host.

    + text: what it does, for the administrator
    + verb: of the program
    + guest: the guest's name; empty for the host itself
    + arguments: after the guest's name; none may begin with `-`
    + payload: what must not appear on a command line, file contents; None for a verb that reads nothing.
      Its length in bytes is the last argument that the program gets
    + program: whether the program's text lies on stdin before the payload, for what must outlive the
      connection; its length in bytes is then the last argument but one
    + diffs: of the files that it writes
    + sysroot: whether it changes the host's own sysroot, which must then be read again
    + network: whether it changes the host's network, which must then be read again
    + confirmation: of a change that may cut the connection; None for all others
    + transfer: of a file that is brought in a loop of commands; None for all others
    + turn: of a node of a cluster; None for all others
    + archiving: of a backup; None for all others
    + pulling: whether it gets a commit from a remote; meanwhile, how much has arrived is shown
    """

    text: str
    verb: str
    guest: str = ""
    arguments: tuple[str, ...] = ()
    payload: str | None = None
    diffs: tuple[FileDiff, ...] = ()
    sysroot: bool = False
    program: bool = False
    network: bool = False
    confirmation: Confirmation | None = None
    transfer: Transfer | None = None
    turn: Turn | None = None
    archiving: Archiving | None = None
    pulling: bool = False


def encoded(text: str) -> str:
    """Return text as one word of a payload."""
    return base64.b64encode(text.encode()).decode()


def file_line(mode: str, path: str, content: str) -> str:
    """Return the line of a payload by which the program on the host installs a file."""
    return f"{mode} {path} {encoded(content)}"


def payload_of(lines: Iterable[str]) -> str:
    """Return lines as a payload; an empty one is left out."""
    return "".join(f"{line}\n" for line in lines if line)


def file_diffs(present: Mapping[str, str], desired: Mapping[str, str]) -> tuple[FileDiff, ...]:
    """Return how files would change, by their contents by path; an empty content stands for no file."""
    return tuple(
        FileDiff(path, tuple(present.get(path, "").splitlines()), tuple(content.splitlines()))
        for path, content in desired.items()
        if present.get(path, "") != content
    )
