"""Verbs that move a guest to another commit and back, with the real ostree of each generation."""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.program import text
from tests.host.test_killed import ONE, cut_off
from tests.host.test_sysroots import KINDS, made
from tests.host.test_verbs import FAILED, HEALTHY, TRIAL_LEFT, UNIT, failed, guest_says, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.host.machine import Answer, Machine

DROPIN = base64.b64encode(b"[Service]\nEnvironment=A=new\n").decode()
SCOPE = ("guest:web", "sysroot")
# The guest fails as long as it boots the new commit.
BAD = f"""
if grep -q new /tmp/work/run/pyinfra-nspawn/trial/web/current/usr/release 2>/dev/null; then {FAILED}
else {HEALTHY}
fi
"""
# Of the program that a trial runs, and of ostree beside it.
TRIAL_COMMANDS = ("mv", "systemctl", "ostree")


def commit_of(machine: Machine, ref: str) -> str:
    return machine.shell(f"ostree --repo=sysroot/ostree/repo rev-parse {ref}").strip()


def a_guest(kind: str) -> Callable[[Machine], None]:
    def before(machine: Machine) -> None:
        made(machine, kind)
        # As the guest would: its /etc belongs to it.
        machine.shell("echo mine >state/web/current/etc/mine")
        guest_says(machine, "web", HEALTHY)
        (machine.work / "systemd/machines").write_text("1\n")
        running(machine)

    return before


def tried(verb: str, kind: str, what: str, *checks: str) -> tuple[tuple[str, ...], bytes]:
    program = text().encode()
    payload = "".join(f"{line}\n" for line in (f"trial {DROPIN}", *checks)).encode()
    sizes = (str(len(program)), str(len(payload)))
    return (verb, "web", "3", "fail", "d1ce", "", kind, what, *sizes), program + payload


def upgrade(machine: Machine, kind: str, ref: str = "new", *checks: str) -> Answer:
    commit = commit_of(machine, ref)
    words, payload = tried("upgrade", kind, commit, *checks)
    return machine.run("change", *SCOPE, "--", "pull", "web", kind, "", commit, "--", *words, payload=payload)


def rollback(machine: Machine, kind: str) -> Answer:
    target = machine.shell("basename $(readlink state/web/fallback)").strip()
    words, payload = tried("rollback", kind, target)
    return machine.run("change", *SCOPE, "--", *words, payload=payload)


def boots(machine: Machine, ref: str) -> None:
    """Expect the guest to run the release, which is its `current`, and nothing left of a trial."""
    assert machine.shell("cat state/web/current/usr/release") == f"{ref}\n"
    assert machine.shell(TRIAL_LEFT) == ""
    assert machine.shell(f"cat systemd/active-{UNIT}") == "active\n"
    assert machine.shell("ostree admin --sysroot=sysroot status").splitlines()[0].split()[-2:-1] == ["host"]


def deployments(machine: Machine, kind: str) -> list[str]:
    """Return the releases of the guest's deployments, in ostree's order."""
    root = "sysroot" if kind == "shared" else "state/web"
    listed = machine.shell(f"ostree admin --sysroot={root} status | grep ' web ' || :").split()
    paths = [f"{root}/ostree/deploy/web/deploy/{word}" for word in listed if len(word) > 64]
    return machine.shell("".join(f"cat {path}/usr/release\n" for path in paths)).split()


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_with_which_the_guest_comes_up_is_kept(machine: Machine, kind: str):
    a_guest(kind)(machine)
    answer = upgrade(machine, kind)
    assert answer.code == 0, answer
    assert answer.steps()["upgrade"] == "changed"
    boots(machine, "new")
    assert machine.shell("cat state/web/current/etc/mine state/web/fallback/etc/mine") == "mine\nmine\n"
    assert machine.shell("cat state/web/fallback/usr/release") == "old\n"
    seen = answer.snapshot.guests["web"]
    assert seen.upgraded
    assert seen.upgraded.commit == commit_of(machine, "new")
    assert seen.fallback_deployment == f"{commit_of(machine, 'old')}.0"
    (note,) = answer.outcome.notes
    assert note[1].startswith(f"runs commit {commit_of(machine, 'new')[:12]}, was down for ")
    again = upgrade(machine, kind)
    assert set(again.steps().values()) == {"nothing"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_with_which_it_does_not_come_up_is_undone_and_remembered(machine: Machine, kind: str):
    a_guest(kind)(machine)
    guest_says(machine, "web", BAD)
    answer = upgrade(machine, kind)
    assert answer.code == 1
    (trouble,) = answer.outcome.troubles
    commit = commit_of(machine, "new")
    assert trouble.problem == f"with commit {commit[:12]}: a.service failed; it went back to the old"
    boots(machine, "old")
    assert deployments(machine, kind) == ["old"]
    seen = answer.snapshot.guests["web"]
    assert seen.refused_commits == {commit: "a.service failed"}
    assert seen.upgraded is None
    guest_says(machine, "web", HEALTHY)
    assert upgrade(machine, kind).snapshot.guests["web"].refused_commits == {}


# What has failed before may still fail.
FAILS_ANYHOW = FAILED


def test_a_unit_that_failed_before_does_not_count(machine: Machine):
    a_guest("private")(machine)
    guest_says(machine, "web", FAILS_ANYHOW)
    answer = upgrade(machine, "private")
    assert answer.code == 0, answer
    (note,) = answer.outcome.notes
    assert note[1].startswith("a.service failed; runs commit")
    boots(machine, "new")


@pytest.mark.parametrize("kind", KINDS)
def test_back_and_forward_each_with_its_etc(machine: Machine, kind: str):
    a_guest(kind)(machine)
    upgrade(machine, kind)
    machine.shell("echo new >state/web/current/etc/mine")
    back = rollback(machine, kind)
    assert back.code == 0, back
    boots(machine, "old")
    assert machine.shell("cat state/web/current/etc/mine") == "mine\n"
    refused = back.snapshot.guests["web"].refused_commits
    assert refused == {commit_of(machine, "new"): "it was rolled back"}
    machine.shell("echo old >state/web/current/etc/mine")
    forward = rollback(machine, kind)
    assert forward.snapshot.guests["web"].refused_commits == {}
    boots(machine, "new")
    assert machine.shell("cat state/web/current/etc/mine state/web/fallback/etc/mine") == "new\nold\n"


def test_what_was_refused_before_a_rollback_stays_refused(machine: Machine):
    a_guest("private")(machine)
    upgrade(machine, "private")
    machine.shell(f"echo '{'c' * 64} x.service failed' >state/web/refused-commits")
    back = rollback(machine, "private").snapshot.guests["web"].refused_commits
    assert back == {"c" * 64: "x.service failed", commit_of(machine, "new"): "it was rolled back"}
    forward = rollback(machine, "private").snapshot.guests["web"].refused_commits
    assert forward == {"c" * 64: "x.service failed"}


def test_what_a_power_cut_has_emptied_is_nothing(machine: Machine):
    a_guest("private")(machine)
    machine.shell(": >state/web/upgraded; : >state/web/refused-commits")
    seen = machine.facts("sysroots", "--", "guests").snapshot.guests["web"]
    assert (seen.upgraded, seen.refused_commits) == (None, {})


def test_another_tool_that_changes_deployments_is_waited_for(machine: Machine):
    """`ostree admin undeploy` waits for it too, with an index from before."""
    a_guest("shared")(machine)
    upgrade(machine, "shared")
    old = f"{commit_of(machine, 'old')}.0"
    machine.shell("""
    rm state/web/fallback
    touch sysroot/ostree/lock
    flock sysroot/ostree/lock sh -c 'touch locked; sleep 2; touch released' >/dev/null 2>&1 &
    until [ -e locked ]; do sleep 0.1; done
    """)
    answer = machine.change(*SCOPE, "--", "prune", "web", "shared", old)
    assert answer.steps() == {"prune": "changed"}
    assert (machine.work / "released").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_an_upgrade_carries_the_etc_that_the_guest_ran_with(machine: Machine, kind: str):
    """ostree would take that of the deployment which comes first: here of the one that was rolled away."""
    a_guest(kind)(machine)
    upgrade(machine, kind)
    machine.shell("echo new >state/web/current/etc/mine")
    rollback(machine, kind)
    machine.shell("echo old >state/web/current/etc/mine")
    answer = upgrade(machine, kind)
    assert answer.code == 0, answer
    boots(machine, "new")
    assert machine.shell("cat state/web/current/etc/mine") == "old\n"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_power_cut_has_left_is_no_base_of_the_next(machine: Machine, kind: str):
    """It was deployed and not kept: /run is gone, and so is all that said so."""
    a_guest(kind)(machine)
    commit = commit_of(machine, "new")
    pull = ("--", "pull", "web", kind, "", commit)
    machine.change(*SCOPE, *pull, "--", "deploy", "web", kind, commit)
    machine.shell("echo later >state/web/current/etc/mine")
    answer = upgrade(machine, kind)
    assert answer.code == 0, answer
    boots(machine, "new")
    assert machine.shell("cat state/web/current/etc/mine") == "later\n"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_needed_is_removed_and_nothing_else(machine: Machine, kind: str):
    a_guest(kind)(machine)
    upgrade(machine, kind)
    old, new = (f"{commit_of(machine, ref)}.0" for ref in ("old", "new"))
    for needed, link in ((new, "current"), (old, "fallback")):
        trouble = failed(machine, *SCOPE, "--", "prune", "web", kind, needed)
        assert trouble.text.splitlines()[0] == f"its {link} deployment is {needed} by now"
    machine.shell("rm state/web/fallback")
    answer = machine.change(*SCOPE, "--", "prune", "web", kind, old, "f" * 64 + ".0")
    assert answer.steps() == {"prune": "changed"}
    assert deployments(machine, kind) == ["new"]
    root = "sysroot" if kind == "shared" else "state/web"
    machine.shell(f"ostree --repo={root}/ostree/repo fsck --quiet")


FULL = """#!/bin/sh
case $* in *" deploy "*) echo "error: No space left on device" >&2; exit 1 ;; esac
exec /usr/bin/ostree "$@"
"""


def test_a_disk_that_is_full_refuses_no_commit(machine: Machine):
    """The guest runs what it ran, and the next run tries again."""
    a_guest("private")(machine)
    stand_in = machine.work / "bin/ostree"
    stand_in.write_text(FULL)
    stand_in.chmod(0o755)
    answer = upgrade(machine, "private")
    assert answer.code == 1
    (trouble,) = answer.outcome.troubles
    assert "could not deploy its commit: error: No space left on device" in trouble.problem
    assert "went back to the old" in trouble.problem
    assert answer.snapshot.guests["web"].refused_commits == {}
    boots(machine, "old")
    stand_in.unlink()
    assert upgrade(machine, "private").code == 0
    boots(machine, "new")


@pytest.mark.slow
@ONE
@pytest.mark.parametrize(
    ("kind", "says"), [("private", HEALTHY), ("shared", BAD)], ids=["private, good", "shared, bad"]
)
def test_an_upgrade_that_is_killed_is_finished_or_undone(again: Callable[..., Machine], kind: str, says: str):
    """Before each command of the trial: the guest runs the old or the new, and the next run goes on."""
    before = a_guest(kind)
    for nth in itertools.count(1):
        machine = again(before)
        guest_says(machine, "web", says)
        # systemd-run's stand-in begins a session of its own: only the trial is killed.
        first = cut_off(machine, TRIAL_COMMANDS, nth)
        runner = machine.work / "bin/systemd-run"
        runner.write_text(runner.read_text().replace("setsid", f"PATH={first}:$PATH setsid"))
        answer = upgrade(machine, kind)
        if not (machine.work / "cut-off-at").exists():
            assert (answer.code == 0) == (says == HEALTHY)
            return
        at = (nth, (machine.work / "cut-off-at").read_text())
        (machine.work / "cut-off").unlink()
        machine.change(*SCOPE, "--", "recover", "web")
        assert machine.shell(TRIAL_LEFT) == "", at
        assert machine.shell(f"cat systemd/active-{UNIT}") == "active\n", at
        assert machine.shell("cat state/web/current/etc/mine") == "mine\n", at
        last = upgrade(machine, kind)
        boots(machine, "new" if says == HEALTHY else "old")
        assert (last.code == 0) == (says == HEALTHY), at
        assert machine.shell("find state/web -maxdepth 1 -name '.*'") == "", at


SMALL = """#!/bin/sh
case $* in
"-Pk "*/ostree) echo; echo "/dev/vda4 200000 199000 1000 99% /var" ;;
*) exec /usr/bin/df "$@" ;;
esac
"""


def test_a_disk_without_room_for_a_deployment_is_refused_while_the_guest_runs(machine: Machine):
    a_guest("private")(machine)
    stand_in = machine.work / "bin/df"
    stand_in.write_text(SMALL)
    stand_in.chmod(0o755)
    machine.calls()
    answer = upgrade(machine, "private")
    assert answer.code == 1
    (trouble,) = answer.outcome.troubles
    assert "a deployment takes up to 65 MiB" in trouble.problem
    assert "has 0 left" in trouble.problem
    old = machine.shell("ostree --repo=sysroot/ostree/repo rev-parse old")
    assert trouble.hint.endswith(f"; it has {old[:12]}.")
    assert not [call for call in machine.calls() if "stop" in call]
    boots(machine, "old")
