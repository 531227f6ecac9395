"""Hosts as a CI job names them: in an environment variable, with the job's own key.

export NSPAWN_HOSTS="atomic1.example.org atomic2.example.org"
pyinfra-nspawn check inventories/ci.py
pyinfra inventories/ci.py deploys/host.py deploys/guest.py -y
pyinfra-nspawn drift inventories/ci.py
"""

import os

from pyinfra_nspawn.connectors.ssh import FAST_SSH

_DATA = {
    **FAST_SSH,
    "ssh_user": "root",
    "ssh_key": os.environ.get("NSPAWN_KEY", "~/.ssh/id_ed25519"),
    "ssh_strict_host_key_checking": "yes",
    "guests": [{"name": "web"}],
}

hosts = (os.environ.get("NSPAWN_HOSTS", "atomic1.example.org").split(), _DATA)
