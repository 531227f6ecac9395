"""Where the lab keeps what outlives a command."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = Path(__file__).resolve().parent / "files"

CACHE = Path(os.environ.get("PYINFRA_NSPAWN_LAB_CACHE", "/var/cache/pyinfra-nspawn-lab")).absolute()
#: The hosts' disks lie beside the images: reflinks work on one filesystem only.
HOSTS = CACHE / "hosts"

RUN = Path("/run/pyinfra-nspawn-lab")
SSH_CONFIG = RUN / "ssh_config"
