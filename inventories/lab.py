"""The two hosts that `make lab` boots on this machine, each with one guest."""

import os
from pathlib import Path

from pyinfra_nspawn.connectors.ssh import FAST_SSH

# Several labs can stand side by side: see tests/lab/README.md.
_INSTANCE = os.environ.get("PYINFRA_NSPAWN_LAB", "0")
_LAB = Path("/run/pyinfra-nspawn-lab" if _INSTANCE in ("", "0") else f"/run/pyinfra-nspawn-lab-{_INSTANCE}")
_KEY = _LAB / "key.pub"

_DATA = {
    **FAST_SSH,
    "ssh_config_file": str(_LAB / "ssh_config"),
    "guests": [
        {
            "name": "web",
            "authorized_keys": [_KEY.read_text().strip()] if _KEY.exists() else [],
        },
    ],
}

lab = [
    ("lab1", _DATA),
    ("lab2", {**_DATA, "_sudo": True}),
]
