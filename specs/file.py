"""A file that a guest gets, and where it can lie."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from pyinfra_nspawn.specs.base import Path, Secret, Spec
from pyinfra_nspawn.specs.names import matching
from pyinfra_nspawn.specs.paths import LINKED, canonical, within

_WRITTEN_BY_FIELDS = {"/etc/hostname": "hostname", "/etc/machine-id": "machine_id"}
_DIRECTORIES = {"/", "/etc", "/run", "/tmp", "/var", *LINKED}
_KERNEL_TREES = ("/dev", "/proc", "/sys")
_READ_ONLY_TREES = ("/boot", "/efi", "/ostree", "/sysroot", "/usr")


def _writable_place(path: str) -> str:
    """Refuse a path that no guest can write to, whatever its isolation."""
    place, top = canonical(path), "/" + path.split("/")[1]
    if field := _WRITTEN_BY_FIELDS.get(place):
        raise ValueError(f"use the field {field} in its place")
    if any(within(place, tree) for tree in _KERNEL_TREES):
        raise ValueError(f"the guest's {top} belongs to its kernel; use a path in /etc or /var")
    if any(within(place, tree) for tree in _READ_ONLY_TREES) and place not in LINKED:
        raise ValueError(f"the guest's {top} is read-only; use a path in /etc or /var")
    if place in _DIRECTORIES:
        raise ValueError(f"{path} is a directory; add the file's name")
    if place == top:
        raise ValueError("the guest's / is read-only; use a path in /etc or /var")
    return path


FilePath = Annotated[Path, AfterValidator(_writable_place)]
FileMode = Annotated[str, matching(r"[0-7]{4}", "must be four octal digits, like 0644")]
UserName = Annotated[str, matching(r"[a-z_][a-z0-9_-]{0,31}|[0-9]+", "must be a user's name or number")]


class File(Spec):
    """A file in the guest, written at each of its starts.

    + content: its text
    + mode: four octal digits; 0644 by default
    + user, group: its owner in the guest; root by default

    It lies in /etc, /var, /run or a link into them, like /root: the rest of a guest is read-only.
    """

    content: Secret
    mode: FileMode = "0644"
    user: UserName = "root"
    group: UserName = "root"


def _from_text(value: object) -> object:
    return File(content=SecretStr(value)) if isinstance(value, str) else value


FileText = Annotated[File, BeforeValidator(_from_text)]
