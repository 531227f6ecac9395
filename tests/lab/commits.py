"""Commits of a lab host that differ from the one it boots: good ones, and some that guests fail with."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab.protocol import Machine

BOOTED = "ostree admin status | sed -n 's/^[*] [^ ]* \\([0-9a-f]*\\).*/\\1/p'"
WANTS = "/usr/lib/systemd/system/multi-user.target.wants"
UNITS = "/usr/lib/systemd/system"


def unit(name: str, exec_start: str, service: str = "") -> dict[str, str]:
    """Return the files of a service that every guest of a commit starts."""
    text = f"[Service]\nExecStart={exec_start}\n{service}"
    return {f"{UNITS}/{name}.service": text, f"{WANTS}/{name}.service": f"-> ../{name}.service"}


#: Files of commits by the trouble that a guest has with them.
BAD: dict[str, dict[str, str]] = {
    "starting for ever": unit("never", "/bin/sleep infinity", "Type=oneshot\nTimeoutStartSec=infinity\n"),
    "a unit fails": unit("bad", "/bin/false"),
    "a unit crashes in a loop": unit("loop", "/bin/false", "Restart=always\nRestartSec=200ms\n")
    | {f"{UNITS}/loop.service.d/no-limit.conf": "[Unit]\nStartLimitIntervalSec=0\n"},
    "the boot hangs": {"/usr/lib/systemd/systemd": "#!/bin/sh\nexec sleep infinity\n"},
}


def commit(host: Machine, ref: str, files: Mapping[str, str], base: str = "") -> str:
    """Commit a tree to the host's repository, and return its checksum.

    + ref: moved to it
    + files: what differs, by path: a text, or `-> TARGET` for a link
    + base: a ref or commit that it differs from; by default the one that the host boots
    """
    lines = []
    for path, text in files.items():
        target = shlex.quote(f"/var/tmp/tree{path}")
        lines.append(f"mkdir -p $(dirname {target})")
        if text.startswith("-> "):
            lines.append(f"ln -s {shlex.quote(text[3:])} {target}")
        else:
            lines.append(f"printf %s {shlex.quote(text)} >{target}; chmod 755 {target}")
    repo = "--repo=/sysroot/ostree/repo --owner-uid=0 --owner-gid=0"
    script = "\n".join(
        [
            "set -e",
            "rm -rf /var/tmp/tree; mkdir -p /var/tmp/tree",
            *lines,
            f"base={shlex.quote(base) if base else f'$({BOOTED})'}",
            "mount -o remount,bind,rw /sysroot",
            f"ostree commit {repo} --branch={shlex.quote(ref)} --tree=ref=$base --tree=dir=/var/tmp/tree",
        ]
    )
    return host.succeed(f"unshare --mount sh -c {shlex.quote(script)}", timeout=120).strip()


def release(text: str) -> dict[str, str]:
    """Return the file by which tests tell commits apart."""
    return {"/usr/lib/lab-release": f"{text}\n"}
