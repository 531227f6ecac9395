"""An archive of a guest: what its manifest says, on a host or on the controller."""

from __future__ import annotations

import base64
import hashlib
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import (
    Record,
    Unreadable,
    not_understood,
    one_line,
    parse_answer,
    refuse_failed,
)
from pyinfra_nspawn.facts.program import command_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

FORMAT = "1"
_SEAL = "pyinfra-nspawn sha256 "
_SEAL_BYTES = len(_SEAL) + 64 + 1
_MANIFEST_BYTES = 65536
_CHUNK_BYTES = 2**20
_STRANGE = "it is no archive of a guest; one that is encrypted must be decrypted before"


@dataclass(frozen=True)
class Archive(Record):
    """An archive of a guest.

    + file: its name on the host that keeps it, or its path on the controller
    + guest: the guest's name
    + commit: the commit that it booted
    + digest: sha256 of what the archive holds, by which one that was cut off or changed is known
    + taken: seconds since 1970
    + origin: the host that it was taken on, by its name in the inventory
    + source: the guest's `source` then
    + machine_id: the guest's; empty where it had none
    + joined: role, cluster and name of its node; empty for a guest that is none
    + size: in bytes
    + sha256: of the whole file; empty for one on a host
    """

    file: str
    guest: str
    commit: str
    digest: str
    taken: int
    origin: str = ""
    source: str = ""
    machine_id: str = ""
    joined: str = ""
    size: int = 0
    sha256: str = ""


def parse_archive(file: str, manifest: str, seal: str, size: int, sha256: str = "") -> Archive | Unreadable:
    """Return what a manifest and the last line of an archive say."""
    pairs = dict(line.partition(" ")[::2] for line in reversed(manifest.splitlines()))
    values = {key: one_line(value) for key, value in pairs.items()}
    if values.get("pyinfra-nspawn-archive") != FORMAT or not seal.startswith(_SEAL):
        return Unreadable(_STRANGE)
    try:
        return Archive(
            file=file,
            guest=values["guest"],
            commit=_digits(values["commit"]),
            digest=_digits(seal.removeprefix(_SEAL).strip()),
            taken=int(values["taken"]),
            origin=values.get("origin", ""),
            source=values.get("source", ""),
            machine_id=values.get("machine-id", ""),
            joined=values.get("joined", ""),
            size=size,
            sha256=sha256,
        )
    except (KeyError, ValueError):
        return Unreadable(_STRANGE)


def _digits(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("no sha256")
    return text


def read_archive(path: str) -> Archive | Unreadable:
    """Return what an archive on the controller says, once all of it was read and found whole."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _SEAL_BYTES))
            seal = file.read().decode(errors="replace")
            digest, sha256 = _digests(file, size - _SEAL_BYTES)
            file.seek(0)
            found = parse_archive(path, _manifest(file), seal, size, sha256)
    except OSError as error:
        return Unreadable(error.strerror or type(error).__name__)
    if isinstance(found, Archive) and found.digest != digest:
        return Unreadable("it is not whole, or was changed")
    return found


def _manifest(file: BinaryIO) -> str:
    """Return the first member of a tar file; nothing where that is no manifest."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            first = archive.next()
            is_manifest = first is not None and first.isreg() and first.name == "manifest"
            content = archive.extractfile(first) if first and is_manifest else None
            return content.read(_MANIFEST_BYTES).decode(errors="replace") if content else ""
    except (tarfile.TarError, ValueError, KeyError, EOFError, OverflowError):
        return ""


def _digests(file: BinaryIO, count: int) -> tuple[str, str]:
    """Return the digests of the first bytes of a file, and of all of it."""
    file.seek(0)
    digest = hashlib.sha256()
    for left in range(max(0, count), 0, -_CHUNK_BYTES):
        digest.update(file.read(min(left, _CHUNK_BYTES)))
    whole = digest.copy()
    whole.update(file.read())
    return digest.hexdigest(), whole.hexdigest()


class ArchiveFacts(FactBase["Archive | Unreadable | None"]):
    """Read the manifest of an archive that a host keeps.

    + guest: the guest's name
    + file: of that name; by default the latest

    Returns None where the host has no such archive, and `Unreadable` for one that is encrypted, or none.
    """

    def command(self, guest: str, file: str = "") -> str:
        """Return the command; it exits 0 whatever it finds."""
        return command_line("archive", guest, file)

    def process(self, output: list[str]) -> Archive | Unreadable | None:
        """Parse the answer."""
        try:
            parts = {part.words[0]: part for part in parse_answer(output)}
            refuse_failed(part for name, part in parts.items() if name == "root")
            if "file" not in parts:
                return None
            if parts["manifest"].code != 0:
                return Unreadable(_STRANGE)
            size, seal = int(parts["size"].text), parts["seal"].text
            return parse_archive(parts["file"].text, parts["manifest"].text, seal, size)
        except (ValueError, KeyError) as error:
            return not_understood(error)


def archive_bytes(output: Iterable[str]) -> bytes:
    """Return what a host sends of an archive. Raises `ValueError` for an answer that broke off."""
    lines = [line.strip() for line in output if line.strip()]
    if not lines or lines.pop() != ":: done":
        raise ValueError("the answer broke off")
    return b"".join(base64.b64decode(line, validate=True) for line in lines)
