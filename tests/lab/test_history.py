"""What was changed on a host, when and by whom: recorded in its journal, and read back.

The tests of this file tell one story, in order, upon hosts that are fresh at its beginning.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pyinfra_nspawn import __version__
from pyinfra_nspawn.operations._program import controller
from tests.lab.conftest import BOTH, deploy, pyinfra, succeed
from tests.lab.script import script

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

FACT = "pyinfra_nspawn.facts.history.History"
SECRET = "correct-horse-battery"
GUEST: dict[str, Any] = {"name": "web", "credentials": {"token": SECRET}}
DEGRADED = {
    "systemd.extra-unit.bad.service": "[Service]\nExecStart=/bin/false\n",
    "systemd.unit-dropin.multi-user.target": "[Unit]\nWants=bad.service\n",
}
LOGINS = {"lab1": "root", "lab2": "admin"}
MADE = ["stateroot", "pull", "deploy", "current", "definition", "unit"]
OURS = "SYSLOG_IDENTIFIER=pyinfra-nspawn"
FORGED = """
for field in MESSAGE=x SYSLOG_IDENTIFIER=pyinfra-nspawn _UID=0 PYINFRA_NSPAWN_VERB=forged \
    PYINFRA_NSPAWN_GUEST=web PYINFRA_NSPAWN_RESULT=changed; do echo $field; done | logger --journald
"""


def history(hosts: dict[str, Host]) -> dict[str, list[dict[str, str]]]:
    for host in hosts.values():
        host.succeed("journalctl --sync")
    outcome = pyinfra("--json", "fact", FACT)
    assert outcome.code == 0, outcome.stderr
    (seen,) = outcome.json.values()
    return seen


def verbs(entries: list[dict[str, str]], guest: str = "web") -> list[str]:
    return [f"{entry['verb']} {entry['result']}" for entry in entries if entry["guest"] == guest]


def test_a_host_that_was_never_changed_has_none(fresh: dict[str, Host]):
    assert history(fresh) == {name: [] for name in BOTH}


def test_a_deploy_is_recorded_step_by_step(fresh: dict[str, Host]):
    succeed(guests=[GUEST])
    for name, entries in history(fresh).items():
        assert verbs(entries) == [f"{verb} changed" for verb in MADE]
        assert [entry["time"] for entry in entries] == sorted(entry["time"] for entry in entries)
        for entry in entries:
            assert entry["by"] == controller()
            assert (entry["login"], entry["version"]) == (LOGINS[name], __version__)


def test_a_run_with_nothing_to_do_adds_nothing(fresh: dict[str, Host]):
    before = history(fresh)
    succeed(guests=[GUEST])
    assert history(fresh) == before


def test_what_a_trial_came_to_is_recorded_once(fresh: dict[str, Host]):
    before = history(fresh)
    succeed(guests=[{**GUEST, "environment": {"NEW": "1"}}])
    for name, entries in history(fresh).items():
        added = entries[len(before[name]) :]
        assert verbs(added) == ["try changed"]
        assert {(entry["by"], entry["login"]) for entry in added} == {(controller(), LOGINS[name])}
        message = fresh[name].succeed(f"journalctl --output=cat --lines=1 _UID=0 {OURS}")
        assert "kept its changed definition" in message


def test_a_trial_that_went_back_is_recorded_once_and_without_what_its_guest_says(fresh: dict[str, Host]):
    before = history(fresh)
    assert deploy(guests=[{**GUEST, "credentials": {**GUEST["credentials"], **DEGRADED}}]).code == 1
    for name, entries in history(fresh).items():
        assert verbs(entries[len(before[name]) :]) == ["try failed"]
        entry = fresh[name].succeed(f"journalctl --all -o verbose --lines=1 _UID=0 {OURS}")
        assert "went back" in entry
        assert "bad.service" not in entry


def test_neither_a_guest_nor_a_user_of_the_host_adds_to_it(fresh: dict[str, Host]):
    before = history(fresh)
    for host in fresh.values():
        in_guest = "systemd-run -M web --pipe --wait --quiet --collect sh"
        host.succeed(f"{in_guest} <<'EOF'\n{FORGED}\nEOF")
        written = "journalctl --sync; journalctl -o json SYSLOG_IDENTIFIER=pyinfra-nspawn"
        assert "forged" in host.succeed(f"{in_guest} <<'EOF'\n{written}\nEOF")
        host.succeed(f"setpriv --reuid=65534 --regid=65534 --clear-groups sh <<'EOF'\n{FORGED}\nEOF")
        host.succeed("journalctl --sync")
        assert "forged" in host.succeed(f"journalctl -o json {OURS}")
    assert history(fresh) == before


def test_no_secret_is_in_it(fresh: dict[str, Host]):
    for host in fresh.values():
        entries = host.succeed(f"journalctl --all -o verbose {OURS}")
        assert "definition web" in entries
        assert SECRET not in entries


def test_the_console_script_shows_it_in_order(fresh: dict[str, Host]):
    shown = script("history", "--inventory", "inventories/lab.py", *fresh, "--lines", "50", "--json")
    found = json.loads(shown.stdout)
    assert (shown.returncode, found["problems"]) == (0, {})
    for name in fresh:
        mine = [entry for entry in found["entries"] if entry["host"] == name]
        assert verbs(mine)[: len(MADE)] == [f"{verb} changed" for verb in MADE]
        assert {entry["package_version"] for entry in mine} == {__version__}
    times = [entry["time"] for entry in found["entries"]]
    assert times == sorted(times)
    table = script("history", "--inventory", "inventories/lab.py", "lab2").stdout
    assert f"{controller()} as admin" in table
    assert "lab1" not in table
