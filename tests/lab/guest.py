"""A guest inside a lab host, as tests reach it."""

from __future__ import annotations

import json
import shlex
from functools import partial
from typing import TYPE_CHECKING

from tests.lab.paths import RUN, SSH_CONFIG
from tests.lab.shell import retry

if TYPE_CHECKING:
    from tests.lab.host import Host
    from tests.lab.protocol import Machine

#: DHCP in a guest takes 3 to 6 s from its start.
ADDRESS_SECONDS = 30


def inside(host: Machine, guest: str, script: str) -> str:
    """Return what a shell command printed in the guest, which must succeed."""
    door = f"systemd-run --machine={guest} --pipe --wait --quiet --collect"
    return host.succeed(f"{door} sh -c {shlex.quote(script)}", timeout=120)


def greeting(host: Machine, guest: str, to: str) -> str:
    """Return the first four bytes that an sshd says to the guest; bash is all the guest has for that."""
    return inside(host, guest, f"timeout 5 bash -c 'exec 3<>/dev/tcp/{to}/22 && head -c 4 <&3'")


def address(host: Host, guest: str) -> str:
    """Return the IPv4 address that the host's networkd gave the guest; wait for it."""
    return retry(
        partial(_address, host, guest), ADDRESS_SECONDS, f"an address for guest {guest} of {host.name}"
    )


def _address(host: Host, guest: str) -> str:
    listed = json.loads(host.succeed("machinectl list --output=json --max-addresses=all"))
    (words,) = ((item["addresses"] or "").split() for item in listed if item["machine"] == guest)
    # Until DHCP answers, sid's networkd has a link-local one.
    return next((word for word in words if "." in word and not word.startswith("169.254.")), "")


def ssh_command(host: Host, guest: str, command: str) -> list[str]:
    """Return the OpenSSH command that runs `command` as the guest's root, its host on the way.

    The guest must have the lab's key; its own host key is new and known to nobody.
    """
    options = {
        "ProxyCommand": f"ssh -F {SSH_CONFIG} -W %h:%p {host.name}",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return ["ssh", *words, "-i", str(RUN / "key"), f"root@{address(host, guest)}", command]
