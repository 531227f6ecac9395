"""The way in over SSH: a port of this machine for each virtual machine, known before it boots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab import lock, ssh
from tests.lab.paths import RUN
from tests.lab.vm.fleet import ADDRESS, VMS

if TYPE_CHECKING:
    from tests.lab.vm.fleet import VmSpec

SSH_CONFIG = RUN / "ssh_config-vm"
KNOWN_HOSTS = RUN / "known_hosts-vm"


def prepare() -> None:
    """Write whatever is missing: keys of client and machines, and ssh_config."""
    with lock.instance():
        ssh.prepare()
        for spec in VMS.values():
            ssh.make_key(ssh.host_key(spec))
        ssh.write(KNOWN_HOSTS, "".join(_known_host(spec) for spec in VMS.values()))
        ssh.write(SSH_CONFIG, "\n".join(_client_config(spec) for spec in VMS.values()))


def _known_host(spec: VmSpec) -> str:
    return f"{spec.name},[{ADDRESS}]:{spec.port} {ssh.public(ssh.host_key(spec)).read_text()}"


def _client_config(spec: VmSpec) -> str:
    """Return plain lines only: paramiko reads this file too."""
    return (
        f"Host {spec.name}\n"
        f"  HostName {ADDRESS}\n"
        f"  Port {spec.port}\n"
        f"  User {spec.user}\n"
        f"  IdentityFile {ssh.KEY}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {KNOWN_HOSTS}\n"
        "  StrictHostKeyChecking yes\n"
    )
