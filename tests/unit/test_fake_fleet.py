"""Whole deploys, run as an administrator runs them, upon fleets of pyinfra's `@fake` hosts."""

from __future__ import annotations

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pyinfra_nspawn.plans.render import define
from tests.unit.answers import file_header, part, value
from tests.unit.fleet import (
    ABC,
    GUESTS,
    HOST,
    LOST,
    STEPS,
    WEB,
    asked,
    done,
    fresh,
    lost_at,
    paths,
    run,
    running,
    unknown,
    wanted,
)

(GUEST,) = wanted([WEB])
DROPIN = "/etc/systemd/system/systemd-nspawn@web.service.d/10-service.conf"
SETTINGS = "/etc/systemd/nspawn/web.nspawn"
SMALL = "ext2/ext3\n/dev/vda4 200000 100000 100000 50% /var"
SUDO = {"success": False, "stderr": "sudo: a password is required"}
NAMED = {"name": "web", "source": "c" * 64}
BINDS = {"name": "web", "binds": [{"source": "/srv/data"}]}
FIX = "Fix the cause on the host, then run again."
ADOPT = "Adopt it with `--data adopt=web`, or give the guest another name."
GONE = "The host was lost or the command killed: check it, then run again."
PYINFRA = ("Connected", "Ready: ", "Success", "No changes", "Error: executed")
UNREADABLE = part(file_header("b", "/etc/x.conf"), "", 1, "I/O error")
NSPAWN = part(file_header("b", "/etc/systemd/nspawn/b.nspawn"), "[Exec]\n")
DEGRADED = "nginx.service loaded failed failed The proxy"
RESTARTING = "httpd.service loaded activating auto-restart The web"


def lying(name, *parts):
    """Return what a host has of a guest that it does not know, but for these files."""
    return {name: unknown(name, *parts)}


def spoken(lines):
    """Return what was said without what pyinfra says of every host."""
    return [line for line in lines if not line.startswith(PYINFRA)]


def other(*parts, state="running", **changed):
    """Return a host on which all is as desired, but for what is said of its guest."""
    seen = replace(running(GUEST, state), **changed).with_parts(*parts)
    return done(WEB, seen={"web": seen})


UNFIT = {
    "garbled": (
        asked(fresh(WEB), ["Welcome to this host!"]),
        f"the host could not be read: unexpected output: 'Welcome to this host!'. {FIX}",
    ),
    "silent": (asked(fresh(WEB), LOST), f"the host could not be read: the host gave no answer. {FIX}"),
    "sudo": (asked(fresh(WEB), SUDO), f"the host could not be read: sudo: a password is required. {FIX}"),
    "unbooted": (
        fresh(WEB, facts={"ostree-booted": "no"}),
        "this host was not booted from OSTree. Use an OSTree host: guests are deployed from its /ostree.",
    ),
    "bare": (
        fresh(WEB, facts={"commands": "flock\nostree\nunshare"}),
        (
            "command `machinectl` is missing. "
            "Install systemd-container, or set `layer_packages` in the inventory's `nspawn_host`."
        ),
    ),
    "full": (
        fresh(WEB, facts={"state-file-system": SMALL}),
        (
            "/var/lib/pyinfra-nspawn has 97 MiB left, and a new guest needs 256. "
            "Free some, or lower `free_mib` in the inventory's `nspawn_host`."
        ),
    ),
    "newer": (
        done(WEB, facts={"state-version": "2"}),
        (
            "/var/lib/pyinfra-nspawn was made by a newer version of pyinfra-nspawn. "
            "Upgrade pyinfra-nspawn on this controller."
        ),
    ),
}
"""Hosts that are refused, and why."""
EARLY = set(UNFIT) - {"full"}
"""Hosts that are refused without a look at their guests: only a new guest needs space."""
REFUSED = {
    "foreign": (
        fresh(WEB, seen=lying("web", part(file_header("web", DROPIN), "[Service]\nNice=5\n"))),
        f"{DROPIN} is a foreign drop-in. {ADOPT}",
    ),
    "file": (
        fresh(WEB, seen=lying("web", part(file_header("web", SETTINGS), "[Exec]\nBoot=no\n"))),
        f"{SETTINGS} is not ours. {ADOPT}",
    ),
    "stateroot": (
        fresh(WEB, stateroots=("fedora", "web")),
        f"the host's /ostree has a stateroot web that is not ours. {ADOPT}",
    ),
    "image": (
        fresh(WEB, seen=lying("web", value("image web", "/var/lib/machines/web"))),
        "/var/lib/machines/web is a container or image of that name. Give the guest another name.",
    ),
    "machine": (
        other(machine="Name=web\nLeader=900\nUnit=web.scope\nClass=container\n"),
        "a machine of that name runs already, from web.scope. Stop it. Give the guest another name.",
    ),
    "degraded": (
        other(part("units-of web", DEGRADED), state="degraded"),
        (
            "nginx.service failed. "
            'Run "pyinfra-nspawn logs HOST:web -u nginx.service", and fix it in the guest.'
        ),
    ),
    "tried": (
        other(value("definition web", "0" * 64), value("refused web", define(GUEST).digest)),
        (
            "the desired definition did not come up when it was tried last. Change it in the inventory, "
            "or fix the cause and remove /var/lib/pyinfra-nspawn/web/refused."
        ),
    ),
    "bind": (
        fresh(BINDS, more=paths({"/srv/data": None})),
        "bind source /srv/data does not exist on the host. Create it on the host, or correct `binds`.",
    ),
    "commit": (
        fresh(NAMED, more=[value(f"commit {'c' * 64}", "absent")]),
        (
            f"the host's repository has no commit {'c' * 64}. "
            "Pull it on the host, or write REMOTE:COMMIT in `source`."
        ),
    ),
    "unreadable": (
        fresh(WEB, seen=lying("web", part(file_header("web", SETTINGS), "", 1, "cat: I/O error"))),
        f"the guest could not be read: {SETTINGS}: cat: I/O error. {FIX}",
    ),
}
"""Guests that are refused, and why."""
FAILING = {
    "dying": (
        fresh(WEB, failed={"web": ("await", "it did not start (waited 3 s)", "Look at its journal.")}),
        "it did not start (waited 3 s). Look at its journal.",
    ),
    "nospace": (
        fresh(WEB, failed={"web": ("deploy", "No space left on device", "Free some of it, then run again.")}),
        "No space left on device. Free some of it, then run again.",
    ),
    "lost": (
        lost_at(fresh(WEB), "web", stderr="Connection reset by peer"),
        f"no answer (Connection reset by peer). {GONE}",
    ),
    "restarting": (
        done(
            WEB,
            seen={"web": running(GUEST, units=RESTARTING)},
            failed={"web": ("await", "httpd.service keeps restarting", "Fix it in the guest.")},
        ),
        "httpd.service keeps restarting. Fix it in the guest.",
    ),
}
"""Guests whose trouble only a change shows; no plan knows of it."""
TROUBLED = {**UNFIT, **REFUSED, **FAILING}
AMONG_THREE = {
    "b-file": fresh(*ABC, seen=lying("b", NSPAWN)),
    "b-unreadable": fresh(*ABC, seen=lying("b", UNREADABLE)),
    "b-nospace": fresh(*ABC, failed={"b": ("pull", "No space left on device", "Free some of it.")}),
    "b-dying": fresh(*ABC, failed={"b": ("await", "it did not start", "Look at its journal.")}),
    "b-lost": lost_at(fresh(*ABC, failed={"b": ("stateroot", "", "")}), "b"),
}
"""Hosts with three guests, of which the middle one is in trouble."""
HOSTS = 300
FRESH = {**{f"fresh{number}": fresh(WEB) for number in range(8)}, "abc": fresh(*ABC)}
EMPTY = {"empty": {key: data for key, data in fresh().items() if key != "guests"}}
CHANGED = {**FRESH, **EMPTY}
ALL_TROUBLED = {**{name: data for name, (data, _) in TROUBLED.items()}, **AMONG_THREE}
COUNT = HOSTS - len(CHANGED) - len(ALL_TROUBLED)
SECRETIVE = done(WEB, {"name": "db", "credentials": {"key": "x"}})
DONE = {"done0": SECRETIVE, **{f"done{number}": done(WEB) for number in range(1, COUNT)}}
# The troubled ones in the middle: what stops the fleet must not pass because it comes last.
FLEET = {**CHANGED, **ALL_TROUBLED, **DONE}
UNREACHABLE = "('gone', {'ssh_hostname': '127.0.0.1', 'ssh_port': 1})"
PLANNED = {name: data for name, (data, _) in {**UNFIT, **REFUSED}.items()}
FEW = {"fresh": fresh(WEB), "abc": fresh(*ABC), **PLANNED, "done": done(WEB)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs that many tests look at, side by side: that of the whole fleet takes as long as all others."""
    confirmed = {"abc": FEW["abc"], "dying": FAILING["dying"][0], "done": FEW["done"]}
    with ThreadPoolExecutor() as pool:

        def start(name, fleet, *options, **more):
            return pool.submit(run, tmp_path_factory.mktemp(name), fleet, *options, **more)

        yield {
            "executed": start("executed", FLEET, "-y", "--json", others=UNREACHABLE),
            "planned": start("planned", FEW, "--dry"),
            "confirmed": start("confirmed", confirmed, "--diff", stdin="\n\n\n"),
        }


@pytest.fixture(scope="module")
def executed(runs):
    return runs["executed"].result()


@pytest.fixture(scope="module")
def planned(runs):
    return runs["planned"].result()


@pytest.fixture(scope="module")
def confirmed(runs):
    """A run whose plan was confirmed with Enter."""
    return runs["confirmed"].result()


def test_troubled_hosts_fail_and_no_other(executed):
    assert executed.code != 0
    assert "Traceback" not in executed.output
    assert sorted(executed.json["results"]["failed_hosts"]) == sorted([*ALL_TROUBLED, "gone"])


def test_the_others_are_done(executed):
    success, no_change = executed.ended("success"), executed.ended("no_change")
    assert list(success) == [HOST, GUESTS]
    assert set(success[HOST]) - set(ALL_TROUBLED) == set(CHANGED)
    assert set(success[GUESTS]) == set(FRESH)
    assert set(no_change[HOST]) - set(ALL_TROUBLED) == set(DONE)
    assert set(no_change[GUESTS]) == {*DONE, *EMPTY}


def test_each_troubled_host_fails_where_its_trouble_is_met(executed):
    assert set(executed.ended("error")[HOST]) - {"gone"} == EARLY
    assert set(executed.ended("error")[GUESTS]) - {"gone"} == set(ALL_TROUBLED)
    assert not set(UNFIT) & {*executed.ended("success")[GUESTS], *executed.ended("no_change")[GUESTS]}


def test_the_summary_names_each_trouble_with_its_reason(executed):
    rows = executed.summary()
    assert {name: rows[name, ""]["result"] for name in UNFIT} == {n: why for n, (_, why) in UNFIT.items()}
    guests = {**REFUSED, **FAILING}
    assert {name: rows[name, "web"]["result"] for name in guests} == {
        n: why for n, (_, why) in guests.items()
    }
    assert rows["gone", ""]["result"] == "unreachable"


def test_a_guest_that_the_run_did_not_come_to_has_a_row(executed):
    """Its host was refused by the operation before."""
    rows = executed.summary()
    assert {rows[name, "web"]["result"] for name in EARLY & set(UNFIT)} == {"not tried"}


def test_the_summary_has_a_row_for_each_host_and_guest(executed):
    rows = executed.summary()
    assert {host for host, guest in rows if not guest} == {*FLEET, "gone"}
    hosts = {**FRESH, **DONE, **AMONG_THREE}
    expected = {(host, guest["name"]) for host, data in hosts.items() for guest in data["guests"]}
    assert {key for key in rows if key[0] in hosts and key[1]} == expected
    assert rows["fresh0", ""]["result"] == "done: machines-target, sysctl"
    made = rows["fresh0", "web"]
    assert (made["state"], made["commit"], made["version"]) == ("running", "a" * 12, "41.20250101.0")
    assert made["result"] == f"done: {', '.join(STEPS)}"
    assert rows["done1", ""]["result"] == rows["done1", "web"]["result"] == "nothing to do"


def test_without_a_terminal_a_row_is_a_line_of_plain_text(executed, planned):
    for outcome in (executed, planned):
        assert "\x1b" not in outcome.stderr
        assert [line for line in outcome.table if line != line.rstrip()] == []
        assert len(outcome.table) == 1 + len(outcome.summary())


def test_one_troubled_guest_does_not_keep_the_others_from_being_tried(executed):
    rows = executed.summary()
    for name in AMONG_THREE:
        for guest in ("a", "c"):
            assert rows[name, guest]["state"] == "running", name
            assert rows[name, guest]["result"] == f"done: {', '.join(STEPS)}", name
        started = [line for line in executed.said(name) if "start guest" in line]
        tried = [re.search(r"start guest (\w+)", line)[1] for line in started]
        assert tried == (["a", "c"] if name in ("b-file", "b-unreadable") else ["a", "b", "c"]), name
    assert rows["b-file", "b"]["result"].startswith("/etc/systemd/nspawn/b.nspawn is not ours.")
    assert rows["b-unreadable", "b"]["result"].startswith(
        "the guest could not be read: /etc/x.conf: I/O error."
    )
    assert rows["b-nospace", "b"]["result"] == "No space left on device. Free some of it."
    assert rows["b-dying", "b"]["result"] == "it did not start. Look at its journal."
    assert rows["b-dying", "b"]["state"] == "failed"
    assert rows["b-lost", "b"]["result"] == f"no answer (the answer broke off). {GONE}"


def test_the_journal_of_a_guest_that_did_not_start_is_shown(executed):
    said = executed.said("b-dying")
    assert said.index("Starting httpd") < said.index("b: it did not start. Look at its journal.")


def test_no_error_is_called_ignored(executed, planned, confirmed):
    for outcome in (executed, planned, confirmed):
        assert "ignored" not in outcome.output.lower()


def test_a_plan_says_each_sentence_with_its_hint_once_and_stops_nobody(planned):
    assert planned.code == 0, planned.stderr
    assert "Traceback" not in planned.output
    for name, (_, why) in {**UNFIT, **REFUSED}.items():
        sentence = why if name in UNFIT else f"web: {why}"
        assert planned.said(name).count(sentence) == 1, name
        assert planned.summary()[name, "" if name in UNFIT else "web"]["result"] == why


def test_nothing_is_planned_after_a_refusal(planned):
    for name in EARLY:
        assert spoken(planned.said(name)) == [UNFIT[name][1]], name
    assert spoken(planned.said("full"))[-1] == UNFIT["full"][1]
    for name in REFUSED:
        assert not [
            line for line in planned.said(name) if "stateroot web of" in line or "start guest" in line
        ]
        assert not planned.summary()[name, "web"]["result"].startswith("due: ")


def test_a_refusal_shows_what_is_in_the_way(planned):
    assert "- Nice=5" in planned.said("foreign")


def test_a_dry_run_shows_every_step_of_every_guest(planned):
    said = spoken(planned.said("abc"))[2:]  # after the host's steps
    steps = len(STEPS)
    for number, guest in enumerate("abc"):
        own = said[number * steps : (number + 1) * steps]
        assert all(re.search(rf"\b{guest}\b", line) for line in own), own
    assert said[3 * steps :] == [f"wait up to 120 s until guest {guest} is running" for guest in "abc"]
    assert planned.summary()["abc", "b"]["result"] == f"due: {', '.join(STEPS)}, await"


def test_a_confirmed_run_does_what_its_plan_says_in_the_same_order(confirmed, planned):
    before, after = confirmed.stderr.split("--> Beginning operation run")
    plan, done = (spoken(replace(confirmed, stderr=text).said("abc")) for text in (before, after))
    assert plan == done
    steps = spoken(planned.said("abc"))
    assert [line for line in plan if line in steps] == steps  # with the diffs between them


def test_diffs_are_shown_where_they_are_asked_for(confirmed, planned):
    path = "/etc/systemd/system/systemd-nspawn@a.service.d/50-ostree.conf"
    said = confirmed.said("abc")
    assert said.count(f"{path}:") == 2  # with the plan, and where it is done
    assert said.count("+ # Managed by pyinfra-nspawn") > 2
    assert f"{path}:" not in planned.said("abc")


def test_a_run_that_was_confirmed_and_failed_says_so(confirmed):
    assert confirmed.code == 1
    assert "Traceback" not in confirmed.output
    rows = confirmed.summary()
    assert rows["dying", "web"]["result"] == FAILING["dying"][1]
    assert rows["dying", ""]["result"] == "done: machines-target, sysctl"
    assert rows["abc", "c"]["result"] == f"done: {', '.join(STEPS)}"
    assert rows["done", "web"]["result"] == "nothing to do"


@pytest.mark.parametrize(("trouble", "row"), [("silent", ("one", "")), ("dying", ("one", "web"))])
def test_where_all_hosts_fail_the_summary_is_shown(tmp_path, trouble, row):
    data, why = TROUBLED[trouble]
    outcome = run(tmp_path, {"one": data}, "-y", "--json")
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    assert outcome.summary()[row]["result"] == why


@pytest.mark.parametrize("deploy", ["deploys/fleet.py", "pyinfra_nspawn.deploys.fleet.converge"])
def test_host_and_guests_in_one_deploy(tmp_path, deploy):
    """It says and does what both deploys do, one after the other; their names are below its own."""
    fleet = {name: FLEET[name] for name in ("abc", "done1", "empty", "dying", "file", "bare")}
    one = run(tmp_path, fleet, "-y", "--json", "-vv", deploys=(deploy,))
    both = run(tmp_path, fleet, "-y", "--json", "-vv")
    assert one.code == both.code == 1
    assert "Traceback" not in one.output
    for kind in ("success", "error", "no_change"):
        expected = both.ended(kind)
        assert one.ended(kind) == {f"Fleet | {name}": hosts for name, hosts in expected.items()}
    assert one.summary() == both.summary()
    assert sorted(one.calls) == sorted(both.calls)
    for name in fleet:
        assert spoken(one.said(name)) == spoken(both.said(name))


def test_a_retry_does_not_turn_a_refused_host_green(tmp_path):
    fleet = {"one": REFUSED["file"][0], "other": FEW["done"]}
    outcome = run(tmp_path, fleet, "-y", "--retry", "1", "--retry-delay", "0")
    assert outcome.code == 1
    assert "Retrying Guests | Each guest" in outcome.stderr
    rows = outcome.summary()
    assert rows["one", "web"]["result"] == REFUSED["file"][1]
    assert rows["other", "web"]["result"] == "nothing to do"


def test_the_summary_of_a_limited_run_that_is_given_up(tmp_path):
    fleet = {
        "one": FEW["bare"],
        "two": FEW["file"],
        "three": FEW["bare"],
        "four": FEW["done"],
        "left": FEW["done"],
    }
    limits = [word for name in ("one", "two", "three", "four") for word in ("--limit", f"@fake/{name}")]
    outcome = run(tmp_path, fleet, "-y", "--fail-percent", "40", *limits, others=UNREACHABLE)
    assert outcome.code == 1
    assert "Over 40% of hosts failed" in outcome.output
    assert "Traceback" not in outcome.output
    rows = outcome.summary()
    assert {host for host, _ in rows} == {"one", "two", "three", "four"}
    assert rows["one", ""]["result"] == UNFIT["bare"][1]


def test_bad_data_of_one_host_is_one_line_before_any_command(tmp_path):
    fleet = {"good": fresh(WEB), "bad": {**fresh(), "guests": [{"name": "web", "sauce": "host"}]}}
    outcome = run(tmp_path, fleet, "-y", "-vvv", "--json")
    assert outcome.code != 0
    assert "Traceback" not in outcome.output
    (line,) = (line for line in outcome.output.splitlines() if "inventory of" in line)
    assert "inventory of @fake/bad: guests.0.sauce: no such field" in line
    assert ">>> " not in outcome.output


@pytest.mark.parametrize("options", [("--dry", "--diff", "-vvv"), ("-y", "-vvv", "--json")])
def test_a_secret_is_shown_nowhere(tmp_path, options):
    secret = "hunter2-correct-horse"
    web = {**WEB, "credentials": {"token": secret}, "files": {"/etc/token": f"token={secret}\n"}}
    outcome = run(tmp_path, {"new": fresh(web)}, *options)
    assert outcome.code == 0, outcome.stderr
    assert "write credential token (not shown)" in outcome.stderr
    for text in (secret, f"token={secret}\n"):
        assert text not in outcome.output
        assert base64.b64encode(text.encode()).decode() not in outcome.output
        assert not [call for call in outcome.calls if text in call]
    # The looks alone, and then the host's steps, the guest's, and the wait.
    modes = ["facts", "facts"] if "--dry" in options else ["facts", "change", "facts", "change", "await"]
    assert [call.split()[1] for call in outcome.calls] == modes
