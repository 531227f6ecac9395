"""The two hosts that `make lab` boots on this machine, each with one guest."""

from pathlib import Path

from pyinfra_nspawn.connectors.ssh import FAST_SSH

_LAB = Path("/run/pyinfra-nspawn-lab")
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
