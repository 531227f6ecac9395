"""The lab's virtual machine with SELinux, vm3: a permissive host with a private guest."""

import os
from pathlib import Path

from pyinfra_nspawn.connectors.ssh import FAST_SSH

# Several labs can stand side by side: see tests/lab/README.md.
_INSTANCE = os.environ.get("PYINFRA_NSPAWN_LAB", "0")
_LAB = Path("/run/pyinfra-nspawn-lab" if _INSTANCE in ("", "0") else f"/run/pyinfra-nspawn-lab-{_INSTANCE}")

lab_selinux = [
    (
        "vm3",
        {
            **FAST_SSH,
            "ssh_config_file": str(_LAB / "ssh_config-vm"),
            "nspawn_host": {"selinux": "permissive"},
            "guests": [{"name": "web"}],
        },
    )
]
