"""A fleet of pyinfra's `@fake` hosts, whose facts are answered with canned text, and runs upon it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinfra_nspawn.facts.host import HostFacts
from pyinfra_nspawn.facts.nspawn import Guests
from pyinfra_nspawn.facts.ostree import Sysroots
from pyinfra_nspawn.plans.rendered import define
from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs import Guest, HostSettings
from tests.unit.answers import answer, part

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
DEPLOYS = ("deploys/host.py", "deploys/guest.py")
COMMIT = "a" * 64
WEB = {"name": "web"}

_PARTS = {
    "user": "0",
    "ostree-booted": "yes",
    "kernel": "6.12.9-200.fc41.x86_64",
    "commands": "flock\nmachinectl\nostree\nsystemd-nspawn\nunshare",
    "systemd": "systemd 256 (256.11-1.fc41)",
    "ostree": "libostree:\n Version: '2025.1'",
    "cgroup": "cgroup2fs",
    "sysroot-options": "ro,relatime",
    "state-file-system": "xfs\n/dev/vda4 90000000 4000000 86000000 5% /var",
    "user-namespaces": "63432",
    "inotify-instances": "128",
    "machines-target": "LoadState=loaded\nUnitFileState=disabled",
}
_FIT = {
    "inotify-instances": "1024",
    "sysctl-file": "# Managed by pyinfra-nspawn\nfs.inotify.max_user_instances = 1024\n",
    "machines-target": "LoadState=loaded\nUnitFileState=enabled",
}


def host_answer(**changed: str) -> list[str]:
    """Answer `HostFacts` as a host on which nothing was done yet, but for what `changed` says."""
    parts = {**_PARTS, **{key.replace("_", "-"): text for key, text in changed.items()}}
    return answer(*(part(header, text) for header, text in parts.items()))


def _sysroot(name: str, stateroot: str, mark: str) -> list[list[str]]:
    df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda4 90000000 4000000 86000000 5% /"
    return [
        part(f"status {name}", f"{mark} {stateroot} {COMMIT}.0\n    Version: 41\n    origin: none"),
        part(f"stateroots {name}", stateroot),
        part(f"refs {name}"),
        part(f"free {name}", df),
    ]


def sysroots_answer(*guests: str) -> list[str]:
    """Answer `Sysroots`: the host's own, and one for each of these guests."""
    own = [lines for name in guests for lines in _sysroot(name, name, " ")]
    return answer(*_sysroot("/", "fedora", "*"), part("remotes /"), *own)


def unit_shown(guest: Guest, dropins: tuple[str, ...], *, running: bool) -> str:
    """Return what `systemctl show` says of a guest's unit."""
    shown = {
        "Id": guest.unit,
        "LoadState": "loaded",
        "UnitFileState": "enabled" if running else "disabled",
        "ActiveState": "active" if running else "inactive",
        "SubState": "running" if running else "dead",
        "Result": "success",
        "NeedDaemonReload": "no",
        "FragmentPath": "/usr/lib/systemd/system/systemd-nspawn@.service",
        "DropInPaths": " ".join(dropins),
        "MainPID": "812" if running else "0",
        "ExecMainStartTimestampMonotonic": "4711" if running else "0",
        "NRestarts": "0",
    }
    return "\n".join(f"{key}={value}" for key, value in shown.items())


def _running(guest: Guest, state: str) -> list[list[str]]:
    wanted = define(guest)
    deployment = f"ostree/deploy/{guest.name}/deploy/{COMMIT}.0"
    files = [part(f"file {guest.name} 644 0:0 {path}", text) for path, text in wanted.files.items()]
    credentials = [
        part(f"credential {guest.name} {name} 600", hashlib.sha256(text.encode()).hexdigest())
        for name, text in wanted.credentials.items()
    ]
    return [
        part(f"definition {guest.name}", wanted.digest),
        part(f"directory {guest.name}", "700 0:0"),
        part(f"current {guest.name}", deployment),
        *files,
        *credentials,
        part(f"machine {guest.name}", f"Unit={guest.unit}\nLeader=900"),
        part(f"etc {guest.name}", f"{guest.directory}/{deployment}/etc"),
        part(f"system {guest.name}", state),
        *([part(f"failed {guest.name}", "nginx.service loaded failed")] if state == "degraded" else []),
    ]


def running_answer(*guests: Guest, state: str = "running") -> list[str]:
    """Answer `Guests` as a host on which each of `guests` runs as it is wanted, or is in `state`."""
    units = [unit_shown(guest, tuple(define(guest).files)[1:], running=True) for guest in guests]
    parts = [lines for guest in guests for lines in _running(guest, state)]
    return answer(part("units", "\n\n".join(units)), *parts, part("machines", "[]"))


NO_GUESTS = answer(part("units"), part("machines", "[]"))


def host(guests: list[dict[str, Any]], facts: Mapping[type, Any], **data: object) -> dict[str, Any]:
    """Return a host's data: its guests, and what it answers to facts, each known by its whole script."""
    responses: dict[str, Any] = {fact().command().get_masked_value(): lines for fact, lines in facts.items()}
    # pyinfra's fake host runs nothing, and `exit 1` would succeed on it.
    responses[">&2; exit 1"] = {"success": False}
    return {"guests": guests, "fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": responses, **data}


def fresh(*guests: dict[str, Any], facts: Mapping[type, Any] | None = None) -> dict[str, Any]:
    """Return a host on which nothing was done yet, but for what `facts` answers."""
    return host(
        list(guests),
        {HostFacts: host_answer(), Sysroots: sysroots_answer(), Guests: NO_GUESTS, **(facts or {})},
    )


def done(*guests: dict[str, Any], state: str = "running") -> dict[str, Any]:
    """Return a host on which everything is as wanted, but for the `state` of its running guests."""
    wanted = staggered([Guest.of(fields, "test") for fields in guests], HostSettings().starts_at_once)
    return host(
        list(guests),
        {
            HostFacts: host_answer(**_FIT),
            Sysroots: sysroots_answer(*(guest.name for guest in wanted)),
            Guests: running_answer(*wanted, state=state),
        },
    )


@dataclass(frozen=True)
class Outcome:
    """How a run of pyinfra upon the fleet ended; hosts go by their short names."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.stdout.replace("@fake/", ""))

    def planned(self) -> dict[str, list[str]]:
        """Return the hosts that each operation would change."""
        return {item["name"]: sorted(item["hosts_with_change"]) for item in self.json["plan"]}

    def ended(self, kind: str) -> dict[str, list[str]]:
        """Return the hosts in each operation's `success`, `error` or `no_change`."""
        return {item["name"]: sorted(item[kind]) for item in self.json["results"]["operations"]}

    def said(self, name: str) -> list[str]:
        """Return what was said of a host, in order."""
        mark = f"[@fake/{name}] "  # and spaces: pyinfra aligns what it says of a fleet
        return [line.split(mark)[1].strip() for line in self.stderr.splitlines() if mark in line]


def run(folder: Path, fleet: Mapping[str, dict[str, Any]], *options: str) -> Outcome:
    """Run both deploys upon a fleet, as an administrator does without a terminal."""
    inventory = folder / "fleet.py"
    inventory.write_text(f"hosts = {[(f'@fake/{name}', data) for name, data in fleet.items()]!r}\n")
    finished = subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), *options, inventory, *DEPLOYS],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return Outcome(finished.returncode, finished.stdout, finished.stderr)
