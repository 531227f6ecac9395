"""A guest with all that k3s needs of it, and the files by which k3s runs in it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import SecretStr

from pyinfra_nspawn.specs.base import MANAGED
from pyinfra_nspawn.specs.bind import Bind
from pyinfra_nspawn.specs.file import File
from pyinfra_nspawn.specs.k3s import CONFIG, NODE_FILES, PLACE, PREPARE, PROFILE, SERVICE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyinfra_nspawn.specs.guest import Guest
    from pyinfra_nspawn.specs.k3s import K3s

# After https://get.k3s.io, but for Type=exec: a server without its cluster is never ready, and with `notify`
# its guest would be taken for one that does not start.
_UNIT = f"""\
{MANAGED}
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStartPre={PREPARE}
ExecStart={PLACE}/k3s ROLE
Delegate=yes
KillMode=process
LimitCORE=infinity
LimitNOFILE=1048576
LimitNPROC=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s

[Install]
WantedBy=multi-user.target
"""
_PREPARE = f"""\
#!/bin/sh
{MANAGED}
# Before k3s starts: record with which binary and which files, for it unpacks itself and runs from there; and
# have it do without overlayfs where /var is on a file system that cannot hold the upper layer of one.
set -e
mkdir -p /run/k3s {CONFIG}.d /var/lib/rancher/k3s/agent
files=$(cat {" ".join(NODE_FILES)} 2>/dev/null | sha256sum | cut -c1-64)
echo "$(cat {PLACE}/sha256) $files" >/run/k3s/started
chosen={CONFIG}.d/10-snapshotter.yaml
rm -f "$chosen"
! grep -q '^snapshotter:' {CONFIG} || exit 0
test=$(mktemp -d /var/lib/rancher/k3s/agent/overlay.XXXXXX)
cd "$test"
mkdir lower upper work merged
if mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; then
    umount merged
else
    echo 'snapshotter: native' >"$chosen"
fi
rm -rf "$test"
"""
_PATH = f"""\
{MANAGED}
PATH=$PATH:{PLACE}
"""


def with_k3s(guest: Guest) -> Guest:
    """Return a guest with all that k3s needs of it; unchanged without `k3s`."""
    if guest.k3s is None:
        return guest
    given = {bind.source for bind in guest.binds}
    # kube-proxy reads the size of the conntrack table in /sys/module, which nspawn's /sys lacks.
    needed = (Bind(source=path) for path in ("/sys/module", "/usr/lib/modules") if path not in given)
    tasks = guest.limits.tasks_max or "infinity"
    return guest.model_copy(
        update={
            "isolation": "overlay",
            "binds": (*guest.binds, *needed),
            "capabilities": ("all",),
            # runc joins a session keyring and loads device filters. systemd-nspawn's own list lacks
            # open_by_handle_at(2), which opens files past all mounts; no group of calls may bring it in.
            "system_calls": (*guest.system_calls, "@keyring", "bpf", "perf_event_open", "~open_by_handle_at"),
            "devices": (
                *(item for item in guest.devices if not item.startswith("/dev/kmsg ")),
                "/dev/kmsg r",
            ),
            "limits": guest.limits.model_copy(update={"tasks_max": tasks}),
            "files": guest.files if guest.k3s.binary else {**guest.files, CONFIG: _config(guest.k3s)},
        }
    )


def node_files(k3s: K3s) -> dict[str, File]:
    """Return the files by which k3s runs in a guest, by path, in the order of `NODE_FILES`.

    They are no `files` of the guest: those take a restart of it to change.
    """
    files = {
        CONFIG: _config(k3s),
        SERVICE: File(content=SecretStr(_UNIT.replace("ROLE", k3s.role))),
        PREPARE: File(content=SecretStr(_PREPARE), mode="0755"),
        PROFILE: File(content=SecretStr(_PATH)),
    }
    return {**files, TOKEN: File(content=k3s.token, mode="0600")} if k3s.token else files


def digest(files: Mapping[str, File]) -> str:
    """Return the sha256 of the contents of a node's files, one after another."""
    contents = (files[path].content.get_secret_value().encode() for path in NODE_FILES if path in files)
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _config(k3s: K3s) -> File:
    return File(content=SecretStr(k3s.to_yaml()), mode="0600")
