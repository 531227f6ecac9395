"""Archives of guests that are made by hand."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ORDINARY = {"etc": None, "etc/kept": "of its /etc\n", "var": None, "var/kept": "of its /var\n"}


def file(name: str, content: str | None = None, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Return a member: a file, or a directory for no content; or what `fields` make of it."""
    member = tarfile.TarInfo(name)
    data = (content or "").encode()
    member.type, member.mode = (tarfile.DIRTYPE, 0o755) if content is None else (tarfile.REGTYPE, 0o644)
    member.size = len(data)
    for key, value in fields.items():
        setattr(member, key, value)
    return member, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """Return a symbolic link."""
    return file(name, "", type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    """Return another name of a file."""
    return file(name, "", type=tarfile.LNKTYPE, linkname=target)


def device(name: str, kind: bytes, major: int, minor: int) -> tuple[tarfile.TarInfo, bytes]:
    """Return a device node."""
    return file(name, "", type=kind, devmajor=major, devminor=minor)


def archive(
    commit: str,
    more: Iterable[tuple[tarfile.TarInfo, bytes]] = (),
    members: dict[str, str | None] | None = None,
    **manifest: str,
) -> tuple[bytes, str]:
    """Return an archive that is sealed as ours are, and its digest.

    + more: members after the ordinary ones
    + members: instead of the ordinary ones
    + manifest: what differs in it
    """
    lines = {"pyinfra-nspawn-archive": "1", "guest": "web", "commit": commit, "taken": "1", **manifest}
    text = "".join(f"{key} {value}\n" for key, value in lines.items())
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as made:
        ordinary = ORDINARY if members is None else members
        first = {"manifest": text, "guest.json": "{}", **ordinary}
        for member, data in (*(file(name, content) for name, content in first.items()), *more):
            made.addfile(member, io.BytesIO(data))
    content = written.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    return content + f"pyinfra-nspawn sha256 {digest}\n".encode(), digest
