"""What makes two trees of files the same, seen from outside of the lab's hosts."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = (1000, 65534, 70000)
NOBLE = {
    "user.color": b"blue\0green",
    "trusted.kept": b"by root",
    "security.capability": bytes.fromhex("0100000200040000000000000000000000000000"),
}


def fill(directory: Path, count: int) -> None:
    """Make so many files: of foreign owners, with links, holes, attributes, and names that no shell likes."""
    directory.mkdir(parents=True)
    chance = random.Random(count)
    for number in range(count):
        folder = directory / f"folder {number // 500}"
        folder.mkdir(exist_ok=True)
        file = folder / f"file\n{number} * ' \" \\ \udcff"
        if number % 10 == 1:
            os.link(folder / f"file\n{number - 1} * ' \" \\ \udcff", file)
            continue
        file.write_bytes(chance.randbytes(chance.randrange(2000)))
        if number % 100 == 0:
            for name, value in NOBLE.items():
                os.setxattr(file, name, value)
        if number % 3:
            os.chown(file, FOREIGN[number % len(FOREIGN)], FOREIGN[(number + 1) % len(FOREIGN)])
        file.chmod(chance.choice([0o600, 0o644, 0o4755, 0o2750, 0]))
        os.utime(file, ns=(0, chance.randrange(10**18)))
    with (directory / "holes").open("wb") as sparse:
        sparse.seek(64 * 2**20)
        sparse.write(b"end")
    (directory / "link").symlink_to("../../../../etc/shadow")
    (directory / "absolute").symlink_to("/etc/shadow")
    os.mkfifo(directory / "pipe", 0o640)
    (directory / "empty").mkdir(mode=0o1777)
    os.setxattr(directory / "empty", "user.of", b"a directory")


def digests(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return, by path, everything that a copy must keep; names of one file have all its names."""
    found: dict[str, tuple[object, ...]] = {}
    names: dict[int, list[str]] = {}
    for folder, folders, files in os.walk(directory):
        for name in [*folders, *files, "."]:
            path = os.path.join(folder, name)
            if name != ".":
                names.setdefault(os.lstat(path).st_ino, []).append(os.path.relpath(path, directory))
            found[os.path.relpath(path, directory)] = _status(path)
    linked = {
        one: sorted(all_names) for all_names in names.values() for one in all_names if len(all_names) > 1
    }
    return {path: (*status, tuple(linked.get(path, ()))) for path, status in found.items()}


def _status(path: str) -> tuple[object, ...]:
    seen = os.lstat(path)
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    content = ""
    if stat.S_ISREG(seen.st_mode):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif stat.S_ISLNK(seen.st_mode):
        content = os.readlink(path)
    return (
        seen.st_mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_mtime_ns,
        content,
        tuple(sorted(attributes.items())),
    )
