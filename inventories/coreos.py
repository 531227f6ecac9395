"""CoreOS hosts behind a jump host, reached as an ordinary user with sudo.

The way through the jump host is OpenSSH's, in ~/.ssh/config:

    Host *.internal.example.org
        ProxyJump jump.example.org
"""

from pyinfra_nspawn.connectors.ssh import FAST_SSH

_DATA = {
    **FAST_SSH,
    "ssh_user": "core",
    "ssh_strict_host_key_checking": "yes",
    "_sudo": True,
    "guests": [{"name": "web"}],
}

hosts = (
    ["coreos1.internal.example.org", "coreos2.internal.example.org"],
    _DATA,
)
