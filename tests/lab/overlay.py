"""Lay the lab's own files over a tree."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.lab.paths import FILES

if TYPE_CHECKING:
    from pathlib import Path


def lay_over(tree: Path, name: str) -> None:
    """Copy files/NAME over `tree`: links as links, modes not as the checkout's umask made them."""
    source = FILES / name
    for path in sorted(source.rglob("*")):
        target = tree / path.relative_to(source)
        if path.is_symlink():
            os.symlink(path.readlink(), target)
        elif path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            shutil.copyfile(path, target)
            target.chmod(0o644)
