"""The virtual machines of `make lab-vm`: vm1 with a private and a shared guest, vm2 with a shared one."""

import os
from pathlib import Path

from pyinfra_nspawn.connectors.ssh import FAST_SSH

# Several labs can stand side by side: see tests/lab/README.md.
_INSTANCE = os.environ.get("PYINFRA_NSPAWN_LAB", "0")
_LAB = Path("/run/pyinfra-nspawn-lab" if _INSTANCE in ("", "0") else f"/run/pyinfra-nspawn-lab-{_INSTANCE}")
_KEY = _LAB / "key.pub"
_KEYS = [_KEY.read_text().strip()] if _KEY.exists() else []

_DATA = {
    **FAST_SSH,
    "ssh_config_file": str(_LAB / "ssh_config-vm"),
}
_WEB = {
    "name": "web",
    "authorized_keys": _KEYS,
    "limits": {
        "memory_max": "192M",
        "cpu_quota": "150%",
        "tasks_max": 200,
        "io_weight": 50,
        "disk_max": "256M",
    },
}
_DB = {"name": "db", "sysroot": "shared", "authorized_keys": _KEYS, "limits": {"disk_max": "512M"}}

lab_vm = [
    ("vm1", {**_DATA, "guests": [_WEB, _DB]}),
    ("vm2", {**_DATA, "guests": [_DB], "_sudo": True}),
]
