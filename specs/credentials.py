"""The credentials that a guest gets: the inventory's, and the lines of tmpfiles.d that make its files."""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING

from pyinfra_nspawn.specs.paths import canonical, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.specs.guest import Guest
    from pyinfra_nspawn.specs.network import GuestNetwork

MOST_BYTES = 1024 * 1024
"""What systemd loads for one service, names included; with more, systemd-tmpfiles-setup.service fails."""

_ROOT_KEYS = "/root/.ssh/authorized_keys"

# systemd-network-generator(8) of systemd 256 writes it to /run/systemd/network, where it comes before
# 80-container-host0.network.
_NETWORK = "network.network.10-pyinfra-nspawn"

# What systemd itself writes from credentials (tmpfiles.d's provision.conf), before it reads `tmpfiles.extra`.
_PROVISIONED = {
    "login.issue": "/etc/issue.d/50-provision.conf",
    "login.motd": "/etc/motd.d/50-provision.conf",
    "network.hosts": "/etc/hosts",
    "ssh.authorized_keys.root": _ROOT_KEYS,
}


def composed(guest: Guest) -> dict[str, str]:
    """Return the inventory's credentials, with what makes `authorized_keys` and `files`."""
    credentials = {name: value.get_secret_value() for name, value in guest.credentials.items()}
    if guest.network.addresses:
        credentials[_NETWORK] = _network(guest.network)
    lines = [*_root_login(guest), *_files(guest)]
    if lines:
        extra = credentials.get("tmpfiles.extra", "").removesuffix("\n")
        credentials["tmpfiles.extra"] = "\n".join([*([extra] if extra else []), *lines, ""])
    return credentials


def too_large(guest: Guest) -> str | None:
    """Return in which words a guest with more credentials than systemd takes is refused."""
    size = sum(len(name) + len(text.encode()) for name, text in composed(guest).items())
    if size <= MOST_BYTES:
        return None
    problem = f"take {size} bytes, and systemd's limit is {MOST_BYTES}"
    return f"credentials: with keys and files in base64 they {problem}; use binds for large files"


def written_twice(guest: Guest) -> str | None:
    """Return in which words a guest is refused when two of its fields write to one place."""
    writers: dict[str, str] = {}
    for writer, path in _writers(guest):
        first = writers.setdefault(canonical(path), writer)
        if first != writer:
            return f"files: {first} and {writer} write the same file; keep one of them"
    # A directory's files follow it at once, in the order of the paths' parts.
    for above, below in itertools.pairwise(sorted(writers, key=lambda path: path.split("/"))):
        if within(below, above):
            return f"files: {writers[below]} lies below {writers[above]}; rename one of them"
    return None


def written_in_vain(guest: Guest) -> str | None:
    """Return in which words a guest is refused that has a file in a bind to which its root cannot write."""
    private = not guest.is_host_root
    for bind in guest.binds:
        target = bind.target or bind.source
        if not bind.read_only and (bind.idmap or not private):
            continue
        for writer, path in _writers(guest):
            if within(canonical(path), canonical(target)):
                return f"files: the guest cannot write {writer} to the bind at {target}; change one of them"
    return None


def _network(network: GuestNetwork) -> str:
    """Return the .network file with the static addresses of a guest."""
    lines = [
        *("[Match]", "Kind=veth", "Name=host0", "[Network]"),
        *(f"Address={address}" for address in network.addresses),
        *(f"Gateway={gateway}" for gateway in network.gateways),
        *(f"DNS={server}" for server in network.dns),
    ]
    return "".join(f"{line}\n" for line in lines)


def _writers(guest: Guest) -> Iterator[tuple[str, str]]:
    """Yield who writes to which path: a field, a credential or a file."""
    if guest.authorized_keys:
        yield "authorized_keys", _ROOT_KEYS
    for credential, path in _PROVISIONED.items():
        if credential in guest.credentials:
            yield f"credential {credential}", path
    for path in guest.files:
        yield f"file {path}", path


def _root_login(guest: Guest) -> Iterator[str]:
    """Write root's authorized keys with lines of our own rather than `ssh.authorized_keys.root`.

    That credential is written by provision.conf, before the tmpfiles.d file of an OSTree system that
    makes /var/roothome, to which /root is a link; `tmpfiles.extra` comes after every file.
    """
    if guest.authorized_keys:
        keys = "".join(f"{key}\n" for key in guest.authorized_keys)
        yield "d /root/.ssh 0700 root root"
        yield _written(_ROOT_KEYS, "0600", "root", "root", keys)


def _files(guest: Guest) -> Iterator[str]:
    for path, file in sorted(guest.files.items()):
        for directory in _at_home(path) if file.user != "root" else ():
            mode = "0700" if directory.endswith("/.ssh") else "0755"
            yield f"d {directory} {mode} {file.user} {file.group}"
        content = file.content.get_secret_value()
        yield _written(path, file.mode, file.user, file.group, content)


def _at_home(path: str) -> Iterator[str]:
    """Yield the directories between a user's home and a file in it: they are the user's, not root's."""
    parts = path.split("/")
    home = len(canonical("/home").split("/")) if within(path, canonical("/home")) else len(["", "home"])
    if within(canonical(path), canonical("/home")):
        for end in range(home + 2, len(parts)):
            yield "/".join(parts[:end])


def _written(path: str, mode: str, user: str, group: str, content: str) -> str:
    """Return the tmpfiles.d(5) line that writes a file; `~` marks its content as base64."""
    return f"f+~ {path} {mode} {user} {group} - {base64.b64encode(content.encode()).decode()}"
