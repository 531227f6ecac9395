"""A guest's plan as a whole: its stages in order, and nothing done for what is refused."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
from pyinfra_nspawn.plans import guest as stages
from pyinfra_nspawn.plans.guest import STAGES
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.preflight import STATE_VERSION
from pyinfra_nspawn.plans.step import Step
from tests.unit.seen import (
    BOOT,
    DROPINS,
    HOST,
    NEVER,
    NEW,
    OLD,
    UNKNOWN,
    beside,
    converged,
    error,
    finding,
    guest,
    host_sysroot,
    own,
    plan,
    running,
    snapshot,
    step,
    stopped,
    verbs,
)

MADE = ["stateroot", "pull", "deploy", "current", "definition", "unit", "await"]


def test_a_new_guest_is_made_in_one_sweep():
    found = plan(seen=GuestSeen(unit=NEVER))
    assert verbs(found) == MADE
    assert {item.severity for item in found.findings} == {"change"}
    assert {item.guest for item in found.findings} == {"web"}
    assert [step.guest for step in found.steps] == ["web"] * len(MADE)


def test_a_host_that_has_never_heard_of_the_guest():
    assert verbs(plan()) == MADE


def test_a_converged_guest():
    assert converged(guest()) == plan_of_nothing()


def plan_of_nothing():
    return stages.plan_guest(guest(), snapshot(running(guest()), own(OLD)), ())


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_can_be_asked_for_alone(stage):
    fresh, done = plan(guest(), stage), plan(guest(), stage, seen=running(guest()), private=own(OLD))
    assert not done.steps
    assert set(verbs(fresh)) <= set(MADE)


def test_waits_come_last_and_all_else_keeps_its_order():
    steps = [Step("", verb) for verb in ("await", "b", "await", "a")]
    assert verbs(Plan.of("web", steps)) == ["b", "a", "await"]


@pytest.mark.parametrize("source", ["nowhere", "iot", "debian:iot", NEW])
def test_nothing_is_made_for_a_guest_whose_source_cannot_be_had(source: str):
    """What can be refused is refused before the guest's first step."""
    found = plan(guest(source=source), host=host_sysroot(commits={NEW: "absent"}))
    assert error(found, "impossible").field == "source"


def test_an_error_of_the_last_stage_keeps_the_first_from_being_done():
    found = plan(guest(binds=[{"source": "/srv/www"}]), paths={"/srv/www": None})
    assert not found.steps
    assert "missing" in {item.kind for item in found.findings}


def test_a_refusal_shows_how_our_files_differ():
    seen = GuestSeen(files={BOOT: FileSeen("[Service]\n", "644")})
    found = plan(seen=seen)
    (diff,) = found.diffs
    assert (diff.path, diff.before) == (BOOT, ("[Service]",))
    assert diff.after[0] == "# Managed by pyinfra-nspawn"
    assert error(found, "foreign").field == BOOT


@pytest.mark.parametrize(
    ("unreadable", "what"),
    [
        ({"guests": UNKNOWN}, "the host's guests"),
        ({"seen": UNKNOWN}, "the guest"),
        ({"sysroots": UNKNOWN}, "the host's OSTree sysroots"),
        ({"host": UNKNOWN}, "the host's OSTree sysroot"),
        ({"private": UNKNOWN}, "the guest's OSTree sysroot"),
    ],
)
def test_what_cannot_be_read_is_not_taken_for_absent(unreadable, what: str):
    seen = {} if "guests" in unreadable else {"seen": beside()}
    for wanted in (guest(sysroot="shared"), guest(state="absent")):
        found = error(plan(wanted, **{**seen, **unreadable}), "unreadable")
        assert found.guest == "web"
        assert found.problem == f"{what} could not be read: it said 'Cannot fork'"
        assert found.hint == "Fix the cause on the host, then run again."


def test_a_stage_is_not_kept_from_its_work_by_what_it_does_not_need():
    seen = replace(running(guest()), files={}, unit=NEVER)
    found = plan(guest(), stages.definition, stages.unit, seen=seen, sysroots=UNKNOWN)
    assert verbs(found) == ["definition", "unit", "await"]


def test_one_guest_that_cannot_be_read_is_no_other_one_s_trouble():
    found = plan(guest(), guests={"other": UNKNOWN, "web": running(guest())}, private=own(OLD))
    assert not found.findings


def test_state_of_a_later_version_is_refused():
    later = replace(HOST, state_version=STATE_VERSION + 1)
    found = error(plan(host_facts=later), "unfit")
    assert (found.guest, found.field, found.seen) == ("web", "state_version", str(STATE_VERSION + 1))
    assert found.hint == "Upgrade pyinfra-nspawn on this controller."
    assert plan(host_facts=replace(HOST, state_version=STATE_VERSION)).steps


@pytest.mark.parametrize("stage", [STAGES, (stages.definition,), (stages.stateroot, stages.unit)])
@pytest.mark.parametrize(
    "seen",
    [
        replace(running(guest()), trial="interrupted"),
        replace(stopped(guest()), trial="interrupted", refused="x"),
        running(guest(), dropin_paths=("/run/systemd/system/systemd-nspawn@web.service.d/55-trial.conf",)),
        # What is foreign can wait: the guest may be down.
        replace(stopped(guest()), trial="interrupted", files={f"{DROPINS}/10-x.conf": FileSeen("", "644")}),
    ],
)
def test_an_interrupted_trial_is_finished_or_undone_before_anything_else(seen, stage):
    found = plan(guest(), *stage, seen=seen, private=own(OLD))
    assert verbs(found) == ["recover"]
    assert step(found, "recover").arguments == ()
    interrupted = finding(found, "interrupted")
    assert (interrupted.guest, interrupted.field, interrupted.severity) == ("web", "trial", "change")


def test_a_guest_is_degraded_only_once_its_steps_had_no_effect():
    """More memory may be what it lacks."""
    machine = replace(running(guest()).machine, system_state="degraded", failed_units=("a.service",))
    changed = guest(limits={"memory_max": "2G"})
    seen = replace(running(guest()), machine=machine)
    found = plan(changed, seen=seen, private=own(OLD))
    assert verbs(found) == ["definition"]
    assert finding(found, "degraded").severity == "note"
    seen = replace(running(changed, memory_max=str(2 * 2**30)), machine=machine)
    assert error(plan(changed, seen=seen, private=own(OLD))).kind == "degraded"
