"""A stand-in for the k3s binary, which no archive of Debian's has and the lab cannot download.

It is a real executable of this machine's architecture. As server or agent it reads config.yaml and its token,
joins over port 6443 and says each second that it is there. `k3s kubectl` shows, cordons, drains and deletes
nodes. A command that it does not know makes it write /var/lib/rancher/k3s/unexpected.

It has no containers, no pods, no certificates, no etcd and no API: it proves in which order and with which
words the product calls k3s, and what comes of the answers. It does not prove that the real k3s starts with
these settings, takes its images from the archives, moves pods away in a drain, or upgrades a cluster's data.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from tests.lab import lock
from tests.lab.lab import install_tools
from tests.lab.paths import CACHE, FILES
from tests.lab.progress import step
from tests.lab.shell import run

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = FILES / "k3s-stand-in.c"
#: libc6-dev has no command. `cc` is gcc's: where one is missing, so is the other.
TOOLS = {"gcc": "gcc", "cc": "libc6-dev"}
FLAGS = ("-std=c11", "-static", "-O1", "-s", "-Wall", "-Wextra", "-Werror")


def built(version: str = "v1.30.1+k3s1", *, broken: bool = False) -> Path:
    """Return the executable that says it is this version, compiled where the cache lacks it.

    + broken: as server or agent it ends at once; `kubectl` works
    """
    name = f"k3s-stand-in{'-broken' if broken else ''}-{version}"
    final = CACHE / f"{name}-{sha256_of(SOURCE)[:12]}"
    if not final.is_dir():
        install_tools(TOOLS)
        with lock.image(name):
            if not final.is_dir():
                _build(name, final, version, broken=broken)
    return final / "k3s"


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content, as an `Artifact` has it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _build(name: str, final: Path, version: str, *, broken: bool) -> None:
    new = CACHE / f"building.{final.name}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with step(f"compiling {name}"):
        defined = (f'-DVERSION="{version}"', f"-DBROKEN={int(broken)}")
        run("gcc", *FLAGS, *defined, "-o", new / "k3s", SOURCE)
    for old in CACHE.glob(f"{name}-*"):
        shutil.rmtree(old)
    new.rename(final)
