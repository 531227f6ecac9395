"""What differs from the inventory is found, each difference once and by its kind; and nothing is changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import DEPLOYS, pyinfra
from tests.lab.guest import address
from tests.lab.script import findings, script
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab import Host

WEB = {
    "name": "web",
    "machine_id": "ab" * 16,
    "limits": {"tasks_max": 500},
    "credentials": {"token": "s3cret"},
}
UNIT = "systemd-nspawn@web.service"
DROPINS = f"/etc/systemd/system/{UNIT}.d"
TEMPLATE = "/etc/systemd/system/systemd-nspawn@.service.d"
STATE = "/var/lib/pyinfra-nspawn/web"
SYSCTL = "/etc/sysctl.d/60-pyinfra-nspawn.conf"
IS_UP = "systemctl -M web is-system-running --wait"
INSIDE = "systemd-run -M web --pipe --wait --quiet --collect"
IDENTIFY = f"{INSIDE} sh -c 'echo %s >/etc/machine-id'; systemctl restart {UNIT}; {IS_UP}"
SAVED = "/run/saved.conf"

INVENTORY = """
import runpy
_OF = {of!r}
lab = [(name, {{**data, "guests": _OF[name]}}) for name, data in runpy.run_path("inventories/lab.py")["lab"]]
{more}
"""
GONE = 'gone = [("gone", {"ssh_hostname": "127.0.0.1", "ssh_port": 1})]'


@dataclass(frozen=True)
class Change:
    """Something that a person does to a host, and the one finding about it."""

    do: str
    undo: str
    kind: str
    field: str
    guest: str = "web"


CHANGES = {
    "file edited": Change(
        f"echo '# mine' >>{DROPINS}/50-ostree.conf",
        f"sed -i '$d' {DROPINS}/50-ostree.conf; systemctl daemon-reload",
        "differs",
        f"{DROPINS}/50-ostree.conf",
    ),
    "file touched": Change(
        f"touch {DROPINS}/50-ostree.conf",
        "systemctl daemon-reload",
        "differs",
        "need_daemon_reload",
    ),
    "unit disabled": Change(f"systemctl disable {UNIT}", f"systemctl enable {UNIT}", "differs", "autostart"),
    "guest stopped": Change(f"systemctl stop {UNIT}", f"systemctl start {UNIT}; {IS_UP}", "differs", "state"),
    "current moved": Change(
        f"readlink {STATE}/current >{SAVED}; ln -sfn ostree/deploy/web/deploy/{'0' * 64}.0 {STATE}/current",
        f'ln -sfn "$(cat {SAVED})" {STATE}/current',
        "differs",
        "current",
    ),
    "limit edited": Change(
        f"sed -i.old s/TasksMax=500/TasksMax=400/ {DROPINS}/60-limits.conf; systemctl daemon-reload",
        f"mv {DROPINS}/60-limits.conf.old {DROPINS}/60-limits.conf; systemctl daemon-reload",
        "differs",
        f"{DROPINS}/60-limits.conf",
    ),
    "limit set": Change(
        f"systemctl set-property --runtime {UNIT} TasksMax=400",
        f"rm -r /run/systemd/system.control/{UNIT}.d; systemctl daemon-reload",
        "foreign",
        f"/run/systemd/system.control/{UNIT}.d/50-TasksMax.conf",
    ),
    "foreign drop-in": Change(
        f"printf '[Service]\\nNice=5\\n' >{DROPINS}/90-mine.conf",
        f"rm {DROPINS}/90-mine.conf",
        "foreign",
        f"{DROPINS}/90-mine.conf",
    ),
    "template drop-in": Change(
        f"mkdir {TEMPLATE}; printf '[Service]\\nDelegate=no\\n' >{TEMPLATE}/90-mine.conf; "
        "systemctl daemon-reload",
        f"rm -r {TEMPLATE}; systemctl daemon-reload",
        "foreign",
        f"{TEMPLATE}/90-mine.conf",
    ),
    "credential changed": Change(
        f"cp -p {STATE}/credentials/token {SAVED}; echo other >{STATE}/credentials/token",
        f"cp -p {SAVED} {STATE}/credentials/token",
        "differs",
        "credentials.token",
    ),
    "directory's mode": Change(f"chmod 755 {STATE}", f"chmod 700 {STATE}", "differs", STATE),
    "machines.target": Change(
        "systemctl disable machines.target",
        "systemctl enable machines.target",
        "differs",
        "machines_target",
        guest="",
    ),
    "sysctl": Change(
        f"sed -i.old 's/=.*/= 100/' {SYSCTL}",
        f"mv {SYSCTL}.old {SYSCTL}",
        "differs",
        "inotify_instances",
        guest="",
    ),
    "an old definition runs": Change(
        f"cp {DROPINS}/50-ostree.conf {SAVED}; "
        f"sed -Ei 's/(DEFINITION=)[0-9a-f]*/\\100/' {DROPINS}/50-ostree.conf; "
        f"systemctl daemon-reload; systemctl restart {UNIT}; {IS_UP}; "
        f"cp {SAVED} {DROPINS}/50-ostree.conf; systemctl daemon-reload",
        f"systemctl restart {UNIT}; {IS_UP}",
        "outdated",
        "definition",
    ),
    "machine id": Change(
        IDENTIFY % ("cd" * 16),
        IDENTIFY % ("ab" * 16),
        "differs",
        "machine_id",
    ),
}
"""Drop-ins, files, units and the guest itself, each changed by hand."""


@pytest.fixture(scope="module")
def inventory_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return an inventory of the lab with these guests for each host, and more."""

    def write(of: dict[str, list[dict[str, Any]]], more: str = "") -> Path:
        path = tmp_path_factory.mktemp("inventory") / "drift.py"
        path.write_text(INVENTORY.format(of=of, more=more))
        return path

    return write


@pytest.fixture(scope="module")
def inventory(fresh: dict[str, Host], inventory_of: Callable[..., Path]) -> Path:
    """The inventory of a fleet that is as it says."""
    path = inventory_of({name: [WEB] for name in fresh})
    outcome = pyinfra("-y", *DEPLOYS, inventory=str(path))
    assert outcome.code == 0, outcome.stderr
    return path


def test_a_converged_fleet_has_none(inventory: Path):
    assert findings(inventory) == (0, [])
    outcome = script("drift", inventory)
    assert (outcome.stdout, outcome.stderr) == ("", "2 hosts, 0 findings\n")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_by_hand_is_one_finding(fresh: dict[str, Host], inventory: Path, change: Change):
    on_each(fresh.values(), lambda host: host.succeed(change.do, timeout=120))
    try:
        code, found = findings(inventory)
    finally:
        on_each(fresh.values(), lambda host: host.succeed(change.undo, timeout=120))
    seen = [(item["host"], item["guest"], item["kind"], item["field"]) for item in found]
    assert seen == [(name, change.guest, change.kind, change.field) for name in fresh]
    assert code == 2
    assert "s3cret" not in json.dumps(found)


def test_a_source_that_moved_on_is_behind(fresh: dict[str, Host], inventory_of: Callable[..., Path]):
    of = {name: [{**WEB, "source": host.spec.generation.next_ref}] for name, host in fresh.items()}
    code, found = findings(inventory_of(of))
    assert [(item["kind"], item["field"]) for item in found] == [("behind", "source")] * 2
    assert code == 2


def test_a_guest_that_no_inventory_names_is_an_orphan(inventory_of: Callable[..., Path], inventory: Path):
    assert inventory  # the guests are there
    code, found = findings(inventory_of({"lab1": [], "lab2": [WEB]}))
    assert [(item["host"], item["guest"], item["kind"]) for item in found] == [("lab1", "web", "orphan")]
    assert code == 2


def test_a_host_without_sudo_and_one_that_is_down_are_not_taken_for_converged(
    fresh: dict[str, Host], inventory: Path, inventory_of: Callable[..., Path]
):
    path = inventory_of({name: [WEB] for name in fresh}, GONE)
    fresh["lab1"].succeed(f"systemctl disable {UNIT}")
    try:
        code, found = findings(path, "--data", "_sudo=False")
    finally:
        fresh["lab1"].succeed(f"systemctl enable {UNIT}")
    kinds = {(item["host"], item["kind"]) for item in found}
    assert {("gone", "unreachable"), ("lab1", "differs"), ("lab2", "unfit")} <= kinds
    assert {host for host, _ in kinds} == {"gone", "lab1", "lab2"}
    assert code == 1
    states = {host["name"]: host["state"] for host in _status(path, "--data", "_sudo=False")}
    assert states == {"gone": "unreachable", "lab1": "ready", "lab2": "unreadable"}
    assert findings(inventory) == (0, [])


def test_status_shows_what_runs(fresh: dict[str, Host], inventory: Path):
    addresses = {name: address(host, "web") for name, host in fresh.items()}
    hosts = {host["name"]: host for host in _status(inventory)}
    for name, host in fresh.items():
        (guest,) = hosts[name]["guests"]
        booted = host.succeed("ostree admin status | sed -n 's/^\\* host \\([0-9a-f]*\\).*/\\1/p'").strip()
        assert guest["commit"] == guest["source_commit"] == hosts[name]["commit"] == booted
        assert (guest["state"], guest["behind"], guest["autostart"]) == ("running", False, True)
        assert addresses[name] in guest["addresses"]
        began = host.succeed(f"TZ=UTC systemctl show {UNIT} -P ExecMainStartTimestamp").split()
        assert guest["since"] == f"{began[1]}T{began[2]}Z"
    table = script("status", inventory).stdout
    assert "\x1b" not in table
    assert len(re.findall(r"^lab[12] +web +running +[0-9a-f]{12}", table, re.M)) == 2


def test_status_has_guests_measure_their_files_when_asked(fresh: dict[str, Host], inventory: Path):
    for host in fresh.values():
        host.succeed(f"{INSIDE} sh -c 'head -c 33554432 /dev/zero >/var/zeros'")
    try:
        for host in _status(inventory, "--disk"):
            (guest,) = host["guests"]
            assert 32 * 2**20 < guest["disk_bytes"] < 200 * 2**20
        assert " MiB on disk" in script("status", inventory, "--disk").stdout
        assert {host["guests"][0]["disk_bytes"] for host in _status(inventory)} == {None}
    finally:
        for host in fresh.values():
            host.succeed(f"{INSIDE} rm /var/zeros")


def _status(*words: str | Path) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(script("status", *words, "--json").stdout)
    return found["hosts"]
