"""Keys and client configuration: the lab's machines are known before they boot."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests.lab import lan, network
from tests.lab.fleet import SPECS
from tests.lab.paths import RUN, SSH_CONFIG
from tests.lab.shell import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.fleet import HostSpec, MachineSpec

KEY = RUN / "key"
KNOWN_HOSTS = RUN / "known_hosts"


def prepare() -> None:
    """Write whatever is missing, under the instance's lock: keys of client and hosts, and ssh_config.

    Host keys are kept here, so that a reset host is still the host that clients know.
    """
    (RUN / "host-keys").mkdir(parents=True, exist_ok=True)
    for key in (KEY, *(host_key(spec) for spec in SPECS.values())):
        make_key(key)
    write(KNOWN_HOSTS, "".join(_known_host(spec) for spec in SPECS.values()))
    write(SSH_CONFIG, "\n".join(_client_config(spec) for spec in SPECS.values()))


def make_key(key: Path) -> None:
    """Make a key pair, unless it is there."""
    if not key.exists() or not public(key).exists():
        key.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", key)


def write(path: Path, text: str) -> None:
    """Write in one go: a client may be reading it."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.rename(path)


def install_host_key(spec: MachineSpec, etc: Path) -> None:
    """Give a host its key, in its /etc."""
    for key in (host_key(spec), public(host_key(spec))):
        shutil.copy(key, etc / "ssh" / key.name.replace(spec.name, "ssh_host_ed25519_key"))


def authorized_key() -> str:
    """Return the public key that the lab's hosts let in."""
    return public(KEY).read_text()


def authorize(home: Path, owner: int) -> None:
    """Let the lab's key into the account with that home directory."""
    directory = home / ".ssh"
    directory.mkdir(parents=True)
    (directory / "authorized_keys").write_text(authorized_key())
    for path in (home, directory, directory / "authorized_keys"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, owner, owner)


def host_key(spec: MachineSpec) -> Path:
    """Return the file with the key that a machine answers with."""
    return RUN / "host-keys" / spec.name


def public(key: Path) -> Path:
    """Return the file with the public half of a key."""
    return key.with_name(f"{key.name}.pub")


def _known_host(spec: HostSpec) -> str:
    names = f"{spec.name},{spec.address},{lan.address_of(spec.name)}"
    return f"{names} {public(host_key(spec)).read_text()}"


def _client_config(spec: HostSpec) -> str:
    """Return plain lines only: paramiko reads this file too."""
    return (
        f"Host {spec.name}\n"
        f"  HostName {network.address(spec)}\n"
        f"  User {spec.user}\n"
        f"  IdentityFile {KEY}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {KNOWN_HOSTS}\n"
        "  StrictHostKeyChecking yes\n"
    )
