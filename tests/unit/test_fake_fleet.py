"""Whole deploys, run as an administrator runs them, upon fleets of pyinfra's `@fake` hosts."""

from __future__ import annotations

import base64
import inspect
import pkgutil
import re
from importlib import import_module

import pytest
from pyinfra.api.arguments import all_global_arguments

from pyinfra_nspawn import operations
from pyinfra_nspawn.facts.host import HostFacts
from pyinfra_nspawn.facts.nspawn import Guests
from pyinfra_nspawn.specs import Guest
from tests.unit.answers import answer, part
from tests.unit.fleet import WEB, done, fresh, host_answer, run, unit_shown

HOST_OPERATIONS = ["Preflight", "systemd-container", "machines.target", "Inotify limits", "SELinux"]
GUEST_OPERATIONS = ["Stateroot", "Commit", "Deployment", "Current deployment", "Definition", "Unit"]
OPERATIONS = [
    *(f"Host | {name}" for name in HOST_OPERATIONS),
    "Guests | Preflight",
    *(f"Guests | {name}" for name in GUEST_OPERATIONS),
    "Guests | Verdict",
]
CHANGED_ON_A_FRESH_HOST = {
    "Host | machines.target",
    "Host | Inotify limits",
    *(f"Guests | {name}" for name in GUEST_OPERATIONS),
}

DROPIN = "/etc/systemd/system/systemd-nspawn@web.service.d/10-service.conf"
FOREIGN = answer(
    part("units", unit_shown(Guest(name="web"), (DROPIN,), running=False)),
    part(f"file web 644 0:0 {DROPIN}", "[Service]\nNice=5\n"),
    part("machines", "[]"),
)
SETTINGS = "/etc/systemd/nspawn/web.nspawn"
FILE = answer(
    part("units", unit_shown(Guest(name="web"), (), running=False)),
    part(f"file web 644 0:0 {SETTINGS}", "[Exec]\n"),
    part("machines", "[]"),
)
SMALL = "ext2/ext3\n/dev/vda4 200000 100000 100000 50% /var"
DID_NOT_START = "guest web: it did not start"


def starting(outcome: dict[str, object]) -> dict[str, object]:
    """Return a fresh host on which the script that starts a guest ends like that."""
    data = fresh(WEB)
    data["fake_responses"] = {"up_to_date()": outcome, **data["fake_responses"]}
    return data


TROUBLED = {
    "garbled": fresh(WEB, facts={HostFacts: ["Welcome to this host!"]}),
    "unbooted": fresh(WEB, facts={HostFacts: host_answer(ostree_booted="no")}),
    "foreign": fresh(WEB, facts={Guests: FOREIGN}),
    "bare": fresh(WEB, facts={HostFacts: host_answer(commands="flock\nostree\nunshare")}),
    "full": fresh(WEB, facts={HostFacts: host_answer(state_file_system=SMALL)}),
    "file": fresh(WEB, facts={Guests: FILE}),
    "degraded": done(WEB, state="degraded"),
    # A host that went away in the middle: its commands fail and say nothing.
    "lost": fresh(WEB, facts={Guests: {"success": False}}),
    "dying": starting({"success": False, "stderr": DID_NOT_START}),
}
# What only a start can show is in no plan.
PLANNED = {name: data for name, data in TROUBLED.items() if name != "dying"}
SENTENCES = {
    "garbled": "the host could not be read (unexpected output: "
    "'Welcome to this host!'); mend that and run again",
    "unbooted": "this host was not booted from OSTree: guests are deployed from an OSTree host's /ostree",
    "foreign": f"guest web: {DROPIN} is a drop-in that is not ours: move it away, "
    "take it over with `--data adopt=web`, or give the guest another name",
    "full": "/var/lib/pyinfra-nspawn has 97 MiB left, and a new guest is made only with 256: free some, "
    "or lower `free_mib` in the inventory's `nspawn_host`",
    "file": f"guest web: {SETTINGS} is not ours: move it away, "
    "take it over with `--data adopt=web`, or give the guest another name",
    "degraded": "guest web is degraded: nginx.service failed; "
    "mend it in the guest, or set `on_degraded` to 'report'",
    "lost": "the host's guests could not be read (the host gave no answer); mend that and run again",
    "bare": "there is no `machinectl` command: run `rpm-ostree install systemd-container` and reboot, "
    "or set `layer_packages` to True in the inventory's `nspawn_host` and run deploys/host.py",
}
HOSTS = 300
FRESH = {f"fresh{number}": fresh(WEB) for number in range(8)}
DONE = {f"done{number}": done(WEB) for number in range(HOSTS - len(FRESH) - len(TROUBLED))}
# The troubled ones in the middle: what stops the fleet must not pass because it comes last.
FLEET = {**FRESH, **TROUBLED, **DONE}
FEW = {"fresh": fresh(WEB), **PLANNED, "done": done(WEB)}
EARLY = {"bare", "full", "garbled", "unbooted"}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("executed"), FLEET, "-y", "--json")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return run(tmp_path_factory.mktemp("planned"), FEW, "--dry", "--json")


def test_where_everything_is_as_wanted_no_operation_changes_anything(tmp_path):
    outcome = run(tmp_path, {"host1": done(WEB, {"name": "db", "credentials": {"key": "x"}})}, "-y", "--json")
    assert outcome.code == 0, outcome.stderr
    totals = outcome.json["results"]["totals"]
    assert (totals["success"], totals["error"]) == (0, 0)
    assert totals["no_change"] == totals["hosts"] == len(OPERATIONS) + len(GUEST_OPERATIONS)


@pytest.mark.parametrize("trouble", sorted(TROUBLED))
def test_one_troubled_host_fails_and_the_other_is_done(tmp_path, trouble):
    outcome = run(tmp_path, {"one": TROUBLED[trouble], "other": fresh(WEB)}, "-y", "--json")
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    assert outcome.json["results"]["failed_hosts"] == ["one"]
    done_there = {name for name, hosts in outcome.ended("success").items() if "other" in hosts}
    assert done_there == CHANGED_ON_A_FRESH_HOST


@pytest.mark.parametrize("trouble", sorted(TROUBLED))
def test_a_troubled_host_alone_fails_without_a_traceback(tmp_path, trouble):
    outcome = run(tmp_path, {"one": TROUBLED[trouble]}, "-y")
    assert outcome.code == 1
    assert "Traceback" not in outcome.output


def test_one_troubled_guest_does_not_keep_the_others_from_being_tried(tmp_path):
    guests = [{"name": "a"}, WEB, {"name": "z"}]
    one = {**TROUBLED["file"], "guests": guests}
    outcome = run(tmp_path, {"one": one, "other": done(WEB)}, "-y", "--json")
    assert outcome.code == 1
    assert outcome.json["results"]["failed_hosts"] == ["one"]
    started = [line for line in outcome.said("one") if "start guest" in line]
    assert [re.search(r"start guest (\w+)", line)[1] for line in started] == ["a", "z"]
    assert outcome.ended("error")["Guests | Verdict"] == ["one"]


def test_the_plan_of_a_fresh_host_lists_the_operations(planned):
    assert planned.code == 0, planned.stderr
    assert list(planned.planned()) == OPERATIONS
    changed = {name for name, hosts in planned.planned().items() if "fresh" in hosts}
    assert changed == CHANGED_ON_A_FRESH_HOST


def test_troubled_hosts_fail_and_no_other(executed):
    assert executed.code != 0
    assert "Traceback" not in executed.output
    assert sorted(executed.json["results"]["failed_hosts"]) == sorted(TROUBLED)


def test_the_others_are_done(executed):
    success, no_change = executed.ended("success"), executed.ended("no_change")
    for name in OPERATIONS:
        untouched = set(DONE) if name in CHANGED_ON_A_FRESH_HOST else {*DONE, *FRESH}
        assert set(no_change[name]) - set(TROUBLED) == untouched, name
        assert set(success[name]) - set(TROUBLED) == {*DONE, *FRESH} - untouched, name


def test_each_troubled_host_fails_where_its_trouble_is_met(executed):
    failed_at = {}
    for operation, failed in executed.ended("error").items():
        # pyinfra counts a failed host as an error of each later operation too.
        for name in failed:
            failed_at.setdefault(name, operation)
    early = dict.fromkeys(EARLY, "Host | Preflight")
    at_the_guest = dict.fromkeys(("file", "foreign", "lost"), "Guests | Stateroot")
    assert failed_at == {**early, **at_the_guest, **dict.fromkeys(("degraded", "dying"), "Guests | Unit")}


def test_after_a_refusal_nothing_more_is_done_on_that_host(executed):
    for kind in ("success", "no_change"):
        ended = executed.ended(kind)
        for name in OPERATIONS[1:]:
            assert not EARLY & set(ended[name]), name
    for name in GUEST_OPERATIONS:
        assert not {"file", "foreign", "lost"} & set(executed.ended("success")[f"Guests | {name}"]), name


def test_a_plan_says_each_sentence_with_its_remedy_and_stops_nobody(tmp_path):
    outcome = run(tmp_path, FEW, "--dry")
    assert outcome.code == 0, outcome.stderr
    assert "Traceback" not in outcome.output
    for name, sentence in SENTENCES.items():
        assert sentence in outcome.said(name)
    for name in ("fresh", "done"):
        assert not set(SENTENCES.values()) & set(outcome.said(name))


def test_after_a_refusal_nothing_more_is_planned_on_that_host(planned):
    for name, hosts in planned.planned().items():
        assert not EARLY & set(hosts), name
    assert "foreign" in planned.planned()["Host | Inotify limits"]
    for name in GUEST_OPERATIONS:
        assert "foreign" not in planned.planned()[f"Guests | {name}"]


def test_nothing_is_said_of_a_host_after_its_refusal(planned):
    for name, sentence in SENTENCES.items():
        said = planned.said(name)
        after = said[said.index(sentence) + 1 :]
        assert [line for line in after if not line.startswith("Ready: ")] == [], name


@pytest.mark.parametrize(
    ("guests", "words"),
    [
        ([{"name": "web", "sauce": "host"}], "guests.0.sauce: no such field"),
        ([WEB, {"name": "db"}, WEB], "more than one guest is called web"),
        ([{"name": "my web"}], "guests.0.name: must be 1 to 64 letters, digits"),
    ],
)
def test_bad_data_of_one_host_is_one_line_before_any_command(tmp_path, guests, words):
    fleet = {"good": fresh(WEB), "bad": {**fresh(), "guests": guests}}
    outcome = run(tmp_path, fleet, "-y", "-vvv", "--json")
    assert outcome.code != 0
    assert "Traceback" not in outcome.output
    (line,) = (line for line in outcome.output.splitlines() if "inventory of" in line)
    assert f"inventory of @fake/bad: {words}" in line
    assert ">>> " not in outcome.output


def test_hosts_without_the_key_guests(tmp_path):
    fleet = {"host1": fresh(), "host2": fresh(WEB)}
    del fleet["host1"]["guests"]
    outcome = run(tmp_path, fleet, "-y", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.ended("success")["Host | machines.target"] == ["host1", "host2"]
    assert outcome.ended("no_change")["Guests | Preflight"] == ["host1", "host2"]
    assert outcome.ended("success")["Guests | Unit"] == ["host2"]


@pytest.mark.parametrize("options", [("--dry", "--diff", "-vvv"), ("-y", "-vvv", "--json")])
def test_a_secret_is_shown_nowhere(tmp_path, options):
    secret = "hunter2-correct-horse"
    web = {**WEB, "credentials": {"token": secret}, "files": {"/etc/token": f"token={secret}\n"}}
    # On `stale` the secret changes, so that there is something to compare it with.
    stale = {**done({**web, "credentials": {"token": f"old-{secret}"}}), "guests": [web]}
    outcome = run(tmp_path, {"new": fresh(web), "stale": stale}, *options)
    assert outcome.code == 0, outcome.stderr
    assert "write credential token (not shown)" in outcome.stderr
    for text in (secret, f"old-{secret}", f"token={secret}\n"):
        assert text not in outcome.output
        assert base64.b64encode(text.encode()).decode() not in outcome.output


def test_no_parameter_of_an_operation_shadows_a_global_argument():
    reserved = {name for name, _ in all_global_arguments()}
    found = [
        function
        for module in pkgutil.iter_modules(operations.__path__, f"{operations.__name__}.")
        for function in vars(import_module(module.name)).values()
        if getattr(function, "is_idempotent", None) is not None
    ]
    assert len(found) >= 12
    for function in found:
        assert not reserved & set(inspect.signature(function).parameters), function.__name__
