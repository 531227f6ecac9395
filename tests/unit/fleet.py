"""A fleet of pyinfra's `@fake` hosts, whose program answers with canned text, and runs upon it.

A host answers what it is asked at first (the host's look, the guests' look) and to the wait for its guests by
the end of the command, which differs with the words of the call; whatever else is asked of it is a change.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinfra_nspawn.facts.snapshot import SnapshotFacts, parse_snapshot
from pyinfra_nspawn.operations._command import change, wait
from pyinfra_nspawn.plans.guest import plan_guest, unit
from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.plans.stagger import staggered
from pyinfra_nspawn.specs import Guest, HostSettings
from tests.unit.answers import (
    answer,
    credential_header,
    file_header,
    machine_shown,
    part,
    path_header,
    unit_shown,
    value,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Fields = dict[str, Any]
Parts = list[list[str]]
"""What a host's data says of a guest, and parts of an answer."""

ROOT = Path(__file__).parents[2]
DEPLOYS = ("deploys/host.py", "deploys/guest.py")
HOST, GUESTS = "Host | Fit for guests", "Guests | Each guest"
"""The names of the operations."""
COMMIT, NEWER = "a" * 64, "b" * 64
WEB = {"name": "web"}
ABC = ({"name": "a"}, {"name": "b"}, {"name": "c"})
STEPS = ("stateroot", "pull", "deploy", "current", "definition", "unit")
"""The verbs that make a guest."""
LOST = {"success": False}
"""How a command ends that gets no answer."""

_ANY = "|base64 -d|gzip -dc`"
"""What is in every command that runs the program."""
_HOST = {
    "user": "0",
    "ostree-booted": "yes",
    "kernel": "6.12.9-200.fc41.x86_64",
    "commands": "flock\nmachinectl\nostree\nsystemd-nspawn\nunshare",
    "systemd": "systemd 256 (256.11-1.fc41)",
    "ostree": "libostree:\n Version: '2025.1'",
    "cgroup": "cgroup2fs",
    "sysroot-options": "ro,relatime",
    "state-file-system": "xfs\n/dev/vda4 90000000 4000000 86000000 5% /var",
    "state-version": "0",
    "user-namespaces": "63432",
    "inotify-instances": "128",
    "machines-target": "LoadState=loaded\nUnitFileState=disabled",
}
FIT = {
    "state-version": "1",
    "inotify-instances": "1024",
    "sysctl-file": "# Managed by pyinfra-nspawn\nfs.inotify.max_user_instances = 1024\n",
    "machines-target": "LoadState=loaded\nUnitFileState=enabled",
}
"""What differs on a host that has been made fit for guests."""


@dataclass(frozen=True)
class Seen:
    """What an answer says of one guest: its block among the units, that among the machines, its parts."""

    unit: str
    machine: str = ""
    parts: tuple[list[str], ...] = ()

    def with_parts(self, *parts: list[str]) -> Seen:
        return replace(self, parts=(*self.parts, *parts))


def host_parts(changed: Mapping[str, str] | None = None) -> Parts:
    """Answer as a host on which nothing was done yet, but for what `changed` says."""
    return [part(header, text) for header, text in {**_HOST, **(changed or {})}.items()]


def sysroot_parts(name: str, *stateroots: str, commit: str = COMMIT) -> Parts:
    """Answer for a sysroot with a deployment of its first stateroot; `/` is the host's own."""
    mark = "*" if name == "/" else " "
    status = f"{mark} {stateroots[0]} {commit}.0\n    Version: 41.20250101.0\n    origin: none"
    return [
        part(f"status {name}", status),
        part(f"stateroots {name}", "\n".join(stateroots)),
        part(f"refs {name}"),
        *([part("remotes /"), part("fallback /")] if name == "/" else []),
    ]


def guest_parts(seen: Iterable[Seen]) -> Parts:
    """Answer for these guests."""
    seen = tuple(seen)
    machines = "\n".join(guest.machine for guest in seen if guest.machine)
    return [
        part("units", "\n".join(guest.unit for guest in seen)),
        part("machines", machines),
        *(lines for guest in seen for lines in guest.parts),
    ]


def unknown(name: str, *parts: list[str], **shown: str) -> Seen:
    """Answer for a guest that the host has never heard of, but for what is said of it."""
    never = {
        "ActiveState": "inactive",
        "SubState": "dead",
        "UnitFileState": "disabled",
        "MainPID": "0",
        "ExecMainStartTimestampMonotonic": "0",
    }
    return Seen(unit_shown(name, **{**never, **shown}), parts=(value(f"guest {name}"), *parts))


def stopped(guest: Guest, commit: str = COMMIT, **shown: str) -> Seen:
    """Answer for a guest that is deployed and defined as it is desired, and does not run."""
    name, wanted = guest.name, define(guest)
    digests = {key: hashlib.sha256(text.encode()).hexdigest() for key, text in wanted.credentials.items()}
    arguments = " ".join(argument.replace("$", "$$") for argument in wanted.command)
    loaded = {
        "UnitFileState": "enabled",
        "DropInPaths": " ".join(wanted.files),
        "ExecStart": f"{{ path={wanted.command[0]} ; argv[]={arguments} ; ignore_errors=no }}",
        "DeviceAllow": "\n".join(sorted(wanted.devices)),
    }
    return unknown(
        name,
        value(f"directory {name}", "700 0:0"),
        part(f"current {name}", f"ostree/deploy/{name}/deploy/{commit}.0"),
        *(part(file_header(name, path), text) for path, text in wanted.files.items()),
        *(value(credential_header(name, key), digest) for key, digest in digests.items()),
        **{**loaded, **shown},
    )


def running(
    guest: Guest, state: str = "running", units: str = "", commit: str = COMMIT, **shown: str
) -> Seen:
    """Answer for a guest that runs as it is desired, and says `state` of itself."""
    name = guest.name
    active = {"ActiveState": "active", "SubState": "running", "MainPID": "812"}
    deployment = f"/var/lib/pyinfra-nspawn/{name}/ostree/deploy/{name}/deploy/{commit}.0"
    seen = stopped(guest, commit, **{**active, **shown})
    return replace(seen, machine=machine_shown(name)).with_parts(
        value(f"definition {name}", define(guest).digest),
        part(f"etc {name}", f"{deployment}/etc"),
        part(f"system {name}", f"SystemState={state}"),
        part(f"units-of {name}", units),
    )


def wanted(guests: Iterable[Fields]) -> tuple[Guest, ...]:
    """Return the guests as the deploys read them from a host's data."""
    return staggered([Guest.of(fields, "test") for fields in guests], HostSettings().starts_at_once)


def steps(guests: Iterable[Guest], failed: Mapping[str, tuple[str, str, str]] | None = None) -> Parts:
    """Answer that every step of the host and of these guests is done; `failed` names a verb and says why."""
    found = [value(f"step {verb} -", "changed") for verb in ("machines-target", "sysctl")]
    for guest in guests:
        verb, problem, hint = (failed or {}).get(guest.name, ("", "", ""))
        done = STEPS[: STEPS.index(verb)] if verb in STEPS else STEPS
        found += [value(f"step {name} {guest.name}", "changed") for name in done]
        if verb in STEPS:
            found.append(part(f"trouble {verb} {guest.name}", f"{problem}\n{hint}"))
    return found


def end_of(command: str) -> str:
    """Return the end of a command, which differs with the words of its call."""
    return command[-100:]


def host(guests: Iterable[Fields], looks: tuple[Any, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return a host's data.

    + looks: what it answers to the host's look, and to the guests'
    + after: what it answers to commands, each known by a part of it; the first counts
    """
    asked = {
        end_of(SnapshotFacts().command(whole=False)): looks[0],
        end_of(guests_look(wanted(guests))): looks[1],
    }
    return {
        "guests": list(guests),
        "fake_delay": 0,
        "fake_delay_jitter": 0,
        "fake_responses": {**asked, **after},
    }


def guests_look(guests: tuple[Guest, ...]) -> str:
    """Return the command that reads everything for these guests, as `operations._command.look` asks."""
    return SnapshotFacts().command(
        names=tuple(guest.name for guest in guests),
        commits=tuple(sorted({guest.source.commit for guest in guests if guest.source.commit})),
        paths=tuple(sorted({bind.source for guest in guests for bind in guest.binds})),
    )


def fresh(
    *guests: Fields,
    facts: Mapping[str, str] | None = None,
    seen: Mapping[str, Seen] | None = None,
    stateroots: tuple[str, ...] = ("fedora",),
    failed: Mapping[str, tuple[str, str, str]] | None = None,
    more: Parts | None = None,
    after: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a host on which nothing was done yet, and everything succeeds but for what is said.

    + facts: of the host
    + seen: guests that it has already, by name
    + stateroots: of the host's own sysroot
    + failed: why a verb fails for a guest; `await` is the wait for its start
    + more: parts of the looks
    + after: answers in place of those to changes
    """
    all_wanted = wanted(guests)
    fails = failed or {}
    before = [(seen or {}).get(guest.name) or unknown(guest.name) for guest in all_wanted]
    before += [found for name, found in (seen or {}).items() if name not in {g.name for g in all_wanted}]
    looked = [*host_parts(facts), *sysroot_parts("/", *stateroots), *(more or [])]
    first = parse_snapshot(answer(*looked, *guest_parts(before)))
    made = [
        guest
        for guest in all_wanted
        if fails.get(guest.name, ("await",))[0] == "await" and not plan_guest(guest, first).errors
    ]
    own = [lines for guest in made for lines in sysroot_parts(guest.name, guest.name)]
    changed = [*steps(all_wanted, fails), *host_parts({**(facts or {}), **FIT}), *own]
    changed += guest_parts(running(guest, "starting") for guest in made)
    responses = {
        end_of(awaiting(made)): waited(made, fails),
        _ANY: answer(*changed),
        **(after or {}),
    }
    return host(guests, (answer(*looked), answer(*looked, *guest_parts(before))), responses)


def awaiting(guests: Iterable[Guest]) -> str:
    """Return the command that waits for these guests."""
    guests = tuple(guests)
    parts = [*host_parts(FIT), *sysroot_parts("/", "fedora")]
    parts += [lines for guest in guests for lines in sysroot_parts(guest.name, guest.name)]
    parts += guest_parts(running(guest, "starting") for guest in guests)
    snapshot = parse_snapshot(answer(*parts))
    planned = [step for guest in guests for step in plan_guest(guest, snapshot, (unit,)).steps]
    return str(wait(step for step in planned if step.verb == "await"))


def waited(guests: Iterable[Guest], failed: Mapping[str, tuple[str, str, str]]) -> list[str]:
    """Answer that these guests are up, but for those that failed."""
    parts: Parts = []
    seen = []
    for guest in guests:
        if guest.name in failed:
            _, problem, hint = failed[guest.name]
            parts += [
                part(f"journal {guest.name}", "Starting httpd\nexit 1"),
                part(f"trouble await {guest.name}", f"{problem}\n{hint}"),
            ]
            seen.append(stopped(guest, ActiveState="failed", SubState="failed", Result="exit-code"))
        else:
            parts.append(value(f"step await {guest.name}", "nothing"))
            seen.append(running(guest))
    return answer(*parts, *guest_parts(seen))


def done(
    *guests: Fields,
    facts: Mapping[str, str] | None = None,
    seen: Mapping[str, Seen] | None = None,
    failed: Mapping[str, tuple[str, str, str]] | None = None,
) -> dict[str, Any]:
    """Return a host on which everything is as desired, but for the guests that are `seen` otherwise.

    + failed: why the wait fails for a guest

    Whatever else changes it gets no answer: nothing should.
    """
    all_wanted = wanted(guests)
    own = [lines for guest in all_wanted for lines in sysroot_parts(guest.name, guest.name)]
    looked = [*host_parts({**FIT, **(facts or {})}), *sysroot_parts("/", "fedora"), *own]
    found = [(seen or {}).get(guest.name) or running(guest) for guest in all_wanted]
    after = {end_of(awaiting(all_wanted)): waited(all_wanted, failed or {}), _ANY: LOST}
    return host(guests, (answer(*looked), answer(*looked, *guest_parts(found))), after)


def asked(data: dict[str, Any], answered: object) -> dict[str, Any]:
    """Return a host that answers so to whatever it is asked."""
    return {**data, "fake_responses": {"": answered}}


def lost_at(data: dict[str, Any], *guests: str, stderr: str = "") -> dict[str, Any]:
    """Return a host that is lost when it is asked to change one of these guests."""
    lost = {"success": False, "stderr": stderr}
    all_wanted = wanted(data["guests"])
    snapshot = parse_snapshot(data["fake_responses"][end_of(guests_look(all_wanted))])
    found = {}
    for guest in all_wanted:
        if guest.name in guests:
            planned = plan_guest(guest, snapshot).steps
            found[end_of(str(change(step for step in planned if step.verb != "await")))] = lost
    return {**data, "fake_responses": {**found, **data["fake_responses"]}}


def paths(real: Mapping[str, str | None]) -> Parts:
    """Answer where paths of the host really are; None for one that does not exist."""
    return [value(path_header(path), word(found) if found else "absent") for path, found in real.items()]


@dataclass(frozen=True)
class Outcome:
    """How a run of pyinfra upon the fleet ended; hosts go by their short names."""

    code: int
    stdout: str
    stderr: str

    @property
    def calls(self) -> list[str]:
        """The words of all calls of the program, in order, but for who asks; they are shown with `-vv`."""
        words = re.findall(r"echo ([A-Za-z0-9+/=]+)\|base64 -d", self.stderr)
        calls = [gzip.decompress(base64.b64decode(text)).decode().splitlines()[-1] for text in words]
        return [re.sub(r"^main --by \S+ --version \S+ ", "main ", call) for call in calls]

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout.replace("@fake/", ""))
        return found

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

    @property
    def table(self) -> list[str]:
        """The lines of the summary, its header first."""
        lines = self.stderr.splitlines()
        headers = [number for number, line in enumerate(lines) if re.match(r"host +guest +state ", line)]
        return lines[headers[-1] :] if headers else []

    def summary(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return the rows of the summary by host and guest; an empty name is the host itself."""
        header, *lines = self.table
        starts = [found.start() for found in re.finditer(r"\S+", header)]
        names = header.split()
        rows = {}
        for line in lines:
            cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
            row = dict(zip(names, cells, strict=True))
            rows[row["host"].removeprefix("@fake/"), row["guest"].replace("-", "", 1)] = row
        return rows


def run(
    folder: Path,
    fleet: Mapping[str, dict[str, Any]],
    *options: str,
    deploys: tuple[str, ...] = DEPLOYS,
    others: str = "",
    stdin: str = "",
) -> Outcome:
    """Run deploys upon a fleet, as an administrator does without a terminal.

    + deploys: what is run, by path or by name
    + others: more hosts, as text of the inventory
    + stdin: what is typed
    """
    return command("pyinfra", *options, inventory(folder, fleet, others), *deploys, stdin=stdin)


def inventory(folder: Path, fleet: Mapping[str, dict[str, Any]], others: str = "") -> Path:
    """Write a fleet as an inventory.

    + others: more hosts, as text of the inventory
    """
    path = folder / "fleet.py"
    # An answer that many hosts give is in the file once.
    texts: dict[str, int] = {}
    shared = [(f"@fake/{name}", texts.setdefault(repr(data), len(texts))) for name, data in fleet.items()]
    path.write_text(
        f"_answers = [{', '.join(texts)}]\n"
        f"hosts = [(name, _answers[number]) for name, number in {shared!r}] + [{others}]\n"
    )
    return path


def command(name: str, *words: str | Path, stdin: str = "", cwd: Path = ROOT) -> Outcome:
    """Run an installed command without a terminal."""
    finished = subprocess.run(
        [Path(sys.executable).with_name(name), *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return Outcome(finished.returncode, finished.stdout, finished.stderr)
