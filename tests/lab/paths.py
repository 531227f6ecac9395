"""Where the lab keeps what outlives a command."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = Path(__file__).resolve().parent / "files"

#: Which of the labs that stand side by side on this machine: see README.md.
INSTANCE_VARIABLE = "PYINFRA_NSPAWN_LAB"
INSTANCE = int(os.environ.get(INSTANCE_VARIABLE) or 0)
#: What the names of things have that belong to this instance alone.
SUFFIX = f"-{INSTANCE}" if INSTANCE else ""

#: The images, for all instances.
CACHE = Path(os.environ.get("PYINFRA_NSPAWN_LAB_CACHE", "/var/cache/pyinfra-nspawn-lab")).absolute()
#: The disks of this instance's hosts.
HOSTS = CACHE / f"hosts{SUFFIX}"

RUN = Path(f"/run/pyinfra-nspawn-lab{SUFFIX}")
SSH_CONFIG = RUN / "ssh_config"


def instances() -> list[Path]:
    """Return the RUN directory of every instance that is up, or was when something went wrong."""
    return sorted(path for path in RUN.parent.glob("pyinfra-nspawn-lab*") if path.is_dir())


def other_instances() -> list[Path]:
    """Return those of the other instances."""
    return [path for path in instances() if path != RUN]
