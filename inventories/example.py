"""Copy me: OSTree hosts, each with one guest of its own commit. README.md lists a guest's fields."""

from pathlib import Path

from pyinfra_nspawn.connectors.ssh import FAST_SSH

_KEY = Path("~/.ssh/id_ed25519.pub").expanduser()

_DATA = {
    **FAST_SSH,
    "guests": [
        {
            "name": "web",
            "source": "host",
            "authorized_keys": [_KEY.read_text().strip()] if _KEY.exists() else [],
        },
    ],
}

hosts = [
    ("root@atomic1.example.org", _DATA),
    # CoreOS and IoT are reached as an ordinary user with sudo.
    ("core@coreos1.example.org", {**_DATA, "_sudo": True}),
]
