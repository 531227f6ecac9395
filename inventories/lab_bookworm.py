"""The lab's host of Debian bookworm, lab3 (systemd 252, ostree 2022.7): a private and a shared guest."""

import os
from pathlib import Path

from pyinfra_nspawn.connectors.ssh import FAST_SSH

# Several labs can stand side by side: see tests/lab/README.md.
_INSTANCE = os.environ.get("PYINFRA_NSPAWN_LAB", "0")
_LAB = Path("/run/pyinfra-nspawn-lab" if _INSTANCE in ("", "0") else f"/run/pyinfra-nspawn-lab-{_INSTANCE}")

# There the package makes the host keys of ssh, and the tree has none: a guest's ssh.service would fail.
_GUEST = {"mask_units": ["ssh.service"]}

lab_bookworm = [
    (
        "lab3",
        {
            **FAST_SSH,
            "ssh_config_file": str(_LAB / "ssh_config"),
            "guests": [{"name": "web", **_GUEST}, {"name": "db", "sysroot": "shared", **_GUEST}],
        },
    )
]
