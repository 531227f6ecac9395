"""The console script, run as an administrator runs it, upon inventories and fleets of `@fake` hosts."""

from __future__ import annotations

import importlib
import json
import re

import pytest
from jsonschema import Draft202012Validator

from pyinfra_nspawn.facts.k3s import TRIES
from pyinfra_nspawn.specs.inventory import guests_from
from tests.unit.answers import part, path_header, value, word
from tests.unit.fleet import ROOT, WEB, Outcome, asked, command, done, fresh, inventory, running, wanted
from tests.unit.test_fake_fleet import (
    ALL_TROUBLED,
    DONE,
    FLEET,
    FRESH,
    PLANNED,
    REFUSED,
    UNFIT,
    UNREACHABLE,
)

(GUEST,) = wanted([WEB])


def script(*words, **more) -> Outcome:
    return command("pyinfra-nspawn", *words, **more)


def schema(name):
    return json.loads(script("schema", name).stdout)


@pytest.mark.parametrize("width", [80, 140])
def test_the_pictures_of_status_are_those_that_are_generated(width, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    generate = importlib.import_module("generate")
    assert (ROOT / f"docs/pictures/status-{width}.svg").read_text() == generate.screenshot(width)


@pytest.mark.parametrize("name", ["guest", "nspawn_host", "drift", "history", "k3s", "status"])
def test_the_schemas_in_the_repository_are_those_that_are_printed(name):
    assert (ROOT / f"docs/schema/{name}.json").read_text() == script("schema", name).stdout


def looked_at(data):
    """Return a host that answers every look as it answers the guests'."""
    return asked(data, list(data["fake_responses"].values())[:2][-1])


@pytest.fixture(scope="module")
def drift(tmp_path_factory):
    """The drift of the whole fleet, in JSON."""
    path = inventory(tmp_path_factory.mktemp("drift"), FLEET, UNREACHABLE)
    return script("drift", path, "--json")


@pytest.fixture(scope="module")
def findings(drift):
    found = {}
    for finding in drift.json["findings"]:
        found.setdefault(finding["host"], []).append(finding)
    return found


def test_drift_of_a_fleet_names_every_trouble(findings):
    for name, (_, message) in {**UNFIT, **REFUSED}.items():
        shown = [f"{item['problem']}. {item['hint']}" for item in findings[name]]
        assert message in shown, name


def test_drift_of_a_fleet_is_about_those_hosts_alone(drift, findings):
    assert set(findings) == {*ALL_TROUBLED, *FRESH, "empty", "gone"}
    assert set(drift.json["hosts"]) == {*FLEET, "gone"}
    assert {item["kind"] for item in findings["gone"]} == {"unreachable"}
    assert not set(findings) & set(DONE)


def test_drift_exits_1_when_something_could_not_be_determined(drift):
    assert drift.code == 1
    assert "Traceback" not in drift.output


def test_drift_in_json_is_valid(drift):
    Draft202012Validator(schema("drift")).validate(drift.json)


def test_drift_exits_0_without_findings_and_2_with_any(tmp_path):
    path = inventory(tmp_path, {"done": done(WEB), "fresh": fresh(WEB)})
    assert script("drift", path, "--limit", "@fake/done").code == 0
    outcome = script("drift", path)
    assert outcome.code == 2
    assert re.search(r"^@fake/fresh +web +missing +stateroot +it has no stateroot$", outcome.stdout, re.M)


def test_drift_leaves_out_ignored_kinds(tmp_path):
    path = inventory(tmp_path, {"fresh": fresh(WEB)})
    kinds = [word for kind in ("missing", "differs") for word in ("--ignore", kind)]
    outcome = script("drift", path, *kinds, "--json")
    assert (outcome.code, outcome.json["findings"]) == (0, [])
    assert script("drift", path, "--ignore", "nonsense").code == 2


def test_a_guest_of_ours_that_no_inventory_names_is_an_orphan(tmp_path):
    data = looked_at(done(WEB, {"name": "old", "autostart": False}))  # else web would wait for it
    path = inventory(tmp_path, {"one": {**data, "guests": [WEB]}})
    outcome = script("drift", path, "--json")
    (found,) = outcome.json["findings"]
    assert (found["guest"], found["kind"], found["seen"], outcome.code) == ("old", "orphan", "running", 2)
    assert re.search(r"old +running .* orphan", script("status", path).stdout)


def test_status_has_a_row_for_every_host_and_guest(tmp_path):
    fleet = {"done": done(WEB), "fresh": fresh(WEB), **PLANNED}
    path = inventory(tmp_path, {name: looked_at(data) for name, data in fleet.items()}, UNREACHABLE)
    outcome = script("status", path, "--json")
    Draft202012Validator(schema("status")).validate(outcome.json)
    hosts = {host["name"]: host for host in outcome.json["hosts"]}
    assert set(hosts) == {*fleet, "gone"}
    states = {name: hosts[name]["state"] for name in ("done", "fresh", "unbooted", "sudo", "gone")}
    assert states == {
        "done": "ready",
        "fresh": "ready",
        "unbooted": "refused",
        "sudo": "unreadable",
        "gone": "unreachable",
    }
    assert outcome.code == 1
    table = script("status", path).stdout
    for host in outcome.json["hosts"]:
        assert re.search(rf"^(@fake/)?{host['name']} +- +{host['state']}", table, re.M)


def test_status_of_a_guest(tmp_path):
    memory = {"MemoryCurrent": str(300 * 2**20), "ExecMainStartTimestamp": "Fri 2026-01-02 03:04:05 UTC"}
    seen = running(GUEST, "degraded", "nginx.service loaded failed failed", **memory)
    path = inventory(tmp_path, {"one": looked_at(done(WEB, seen={"web": seen}))})
    (host,) = script("status", path, "--json").json["hosts"]
    (found,) = host["guests"]
    expected = {
        "name": "web",
        "named": True,
        "state": "degraded",
        "wanted_state": "running",
        "commit": "a" * 64,
        "version": "41.20250101.0",
        "since": "2026-01-02T03:04:05Z",
        "source": "host",
        "behind": False,
        "autostart": True,
        "failed_units": ["nginx.service"],
        "memory_bytes": 300 * 2**20,
    }
    assert {key: found[key] for key in expected} == expected
    assert "failed: nginx.service; 300 MiB" in script("status", path).stdout


NODE = {"name": "node", "k3s": True}


def probed(*lines: str) -> dict:
    """Return a host that answers this to what k3s needs in its guest, and knows no module."""
    (guest,) = guests_from({"guests": [NODE]}, "test")
    tried = "".join(f"{line}\n" for line in (*lines, "space 9000000 8000000", "done"))
    paths = [
        value(path_header(path), word(path)) for path in ("/dev/kmsg", "/sys/module", "/usr/lib/modules")
    ]
    seen = running(guest).with_parts(part("k3s node", tried), *paths)
    return looked_at(done(NODE, seen={"node": seen}))


def test_k3s_shows_what_is_unmet(tmp_path):
    lines = [f"met {name}" for name in TRIES if name != "bpf"]
    fleet = {
        "one": probed(*lines, "unmet bpf a filter of devices has no effect"),
        "hostile": probed("\x1b[31m"),
        "stopped": looked_at(done(NODE)),
        "plain": looked_at(done(WEB)),
    }
    path = inventory(tmp_path, fleet, UNREACHABLE)
    outcome = script("k3s", path, "--json")
    Draft202012Validator(schema("k3s")).validate(outcome.json)
    assert outcome.code == 1
    found = {item["host"]: item for item in outcome.json["guests"]}
    assert {name: item["ready"] for name, item in found.items()} == {
        "one": False,
        "hostile": None,
        "stopped": None,
    }
    unmet = {item["name"]: item for item in found["one"]["preconditions"] if item["state"] == "unmet"}
    assert set(unmet) == {"modules", "sysctls", "bpf"}
    assert unmet["bpf"]["found"] == "a filter of devices has no effect"
    assert unmet["bpf"]["hint"]
    table = script("k3s", path)
    assert re.search(r"^@fake/one +node +bpf +unmet +a filter of devices has no effect$", table.stdout, re.M)
    assert re.search(r"^bpf +Runc loads a filter of devices for each container. Set ", table.stdout, re.M)
    assert "\x1b" not in table.stdout
    assert script("k3s", path, "--limit", "@fake/one").code == 2
    assert script("k3s", path, "--limit", "@fake/plain").code == 0
    assert "not ready for k3s: modules, sysctls, bpf" in script("status", path, "--limit", "@fake/one").stdout
    kinds = {
        item["field"] for item in script("drift", path, "--limit", "@fake/one", "--json").json["findings"]
    }
    assert {"k3s.modules", "k3s.sysctls", "k3s.bpf"} <= kinds


INVENTORY = """
hosts = [
    ("one", {"guests": [{"name": "web", "stat": 1}]}),
    ("two", {"guests": [{"name": "web"}], "nspawn_host": {"free_mib": "many"}}),
    ("three", {"guests": [{"name": "web"}]}),
]
"""


def test_check_names_every_error_of_every_host_without_a_connection(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(INVENTORY)
    outcome = script("check", path)
    assert outcome.code == 1
    assert outcome.stderr.splitlines() == [
        "one: guests.0.stat: no such field",
        "two: free_mib: Input should be a valid integer",
    ]
    assert script("drift", path).code == 1
    assert script("check", path, "--limit", "three").stdout == "1 host, 1 guest: no errors\n"


def test_check_names_a_source_that_no_host_can_provide(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('hosts = [("one", {"guests": [{"name": "db", "source": "docker://quay.io/x/y:1"}]})]\n')
    outcome = script("check", path)
    assert outcome.code == 1
    assert outcome.stderr == (
        "one: db: a container image cannot be deployed yet. Write `host` for the one that the host boots, "
        "or the commit of another that it has.\n"
    )


def test_check_refuses_a_list_that_is_no_group_of_hosts(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('hosts = [("one", {"guests": []})]\nguests = [{"name": "web"}]\n')
    outcome = script("check", path)
    assert outcome.code == 1
    assert 'Ignoring host group "guests"' in outcome.stderr


KEYS = 'KEYS = ["ssh-ed25519 AAAA me@here"]\nhosts = [("one", {"guests": [{"name": "web"}]})]\n'


def test_check_refuses_a_list_of_texts_that_are_no_names_of_hosts(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(KEYS)
    outcome = script("check", path)
    assert outcome.code == 1
    assert outcome.stderr == (
        "'ssh-ed25519 AAAA me@here' in KEYS is no name of a host: pyinfra takes every list of an inventory "
        "for a group of hosts; begin its name with `_`\n"
    )


LOAD = """
import sys
from pyinfra_cli.prints import _host_to_dict, print_json
from pyinfra_nspawn.cli.inventory import load
from pyinfra_nspawn.cli.main import cli
options = cli.commands["check"].make_context("check", sys.argv[1:]).params
print_json([_host_to_dict(host) for host in load(options.pop("inventory"), options).hosts])
"""
"""Print an inventory as `debug-inventory --json` does, as the console script loads it."""


def test_an_inventory_is_what_pyinfra_makes_of_it(tmp_path):
    """Names and data, as `debug-inventory` shows them: group data, `--data`, host-key policy, passwords."""
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text('guests = [{"name": "web"}]\nssh_user = "core"\n')
    (tmp_path / "group_data/east.py").write_text('guest_defaults = {"autostart": False}\n_sudo = True\n')
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra/west.py").write_text('ssh_strict_host_key_checking = "yes"\n')
    (tmp_path / "mine.py").write_text(
        'east = ["one", ("two", {"ssh_user": "root"})]\nwest = (["three"], {"_sudo_password": "s3cret"})\n'
    )
    options = ["--data", "free=3", "--group-data", "extra", "--ssh-port", "2222", "--limit", "east"]
    shown = command("pyinfra", "mine.py", "debug-inventory", "--json", *options, cwd=tmp_path)
    ours = command("python", "-c", LOAD, "mine.py", *options, cwd=tmp_path)
    found = {host["name"]: host for host in json.loads(ours.stdout)}
    by_pyinfra = {host["name"]: host for host in json.loads(shown.stdout)}
    assert found == {name: by_pyinfra[name] for name in ("one", "two")}
    assert found["one"]["data"]["guest_defaults"] == {"autostart": False}


def test_a_first_inventory_is_one_that_check_accepts(tmp_path):
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here\n")
    words = ["--host", "one", "--host", "two", "--guest", "web", "--ssh-user", "core", "--key", "key.pub"]
    assert script("init", "mine.py", *words, cwd=tmp_path).code == 0
    assert script("check", "mine.py", cwd=tmp_path).stdout == "2 hosts, 2 guests: no errors\n"
    shown = command("pyinfra", "mine.py", "debug-inventory", "--json", cwd=tmp_path)
    (one, _) = json.loads(shown.stdout)
    assert (one["data"]["ssh_user"], one["data"]["_sudo"]) == ("core", True)
    assert "me@here" in one["data"]["guest_defaults"]["authorized_keys"][0]
    again = script("init", "mine.py", "--host", "three", cwd=tmp_path)
    assert (again.code, again.stderr) == (1, "Error: mine.py exists: name another file\n")


def test_a_first_inventory_needs_hosts_and_proper_names(tmp_path):
    assert "give the hosts" in script("init", cwd=tmp_path).stderr
    wrong = script("init", "--host", "one", "--guest", "-web", cwd=tmp_path)
    assert (wrong.code, list(tmp_path.iterdir())) == (1, [])


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("smallest", "1 host, 1 guest"),
        ("thirty/fleet", "30 hosts, 50 guests"),
        ("coreos", "2 hosts, 2 guests"),
        ("adoption", "1 host, 1 guest"),
        ("ci", "1 host, 1 guest"),
    ],
)
def test_the_inventories_to_copy_are_accepted(name, counted):
    assert script("check", f"inventories/{name}.py").stdout == f"{counted}: no errors\n"


def test_the_fleet_of_thirty_shares_its_defaults():
    shown = command("pyinfra", "inventories/thirty/fleet.py", "debug-inventory", "--json")
    hosts = {host["name"]: host["data"] for host in json.loads(shown.stdout)}
    till, db = guests_from(hosts["shop07.example.org"], "test")
    assert (till.limits.memory_max, db.limits.memory_max, db.limits.tasks_max) == ("1G", "4G", 2048)
    assert [guest.name for guest in guests_from(hosts["depot10.example.org"], "test")] == ["stock"]


def test_history_of_a_host_that_the_inventory_lacks_is_an_error(tmp_path):
    path = inventory(tmp_path, {"done": done(WEB)})
    outcome = script("history", "-i", path, "@fake/done", "@fake/gone")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "No host matches found for --limit pattern: @fake/gone" in outcome.stderr
