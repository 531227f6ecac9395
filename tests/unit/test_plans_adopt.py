"""What a hand-made guest is taken over with, and what is refused all the same."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen, Machine
from pyinfra_nspawn.plans.comparison import Comparison
from pyinfra_nspawn.plans.guest import adopt
from pyinfra_nspawn.plans.plan import Plan
from tests.unit.seen import (
    BOOT,
    DROPINS,
    LINK,
    NEW,
    OLD,
    UNIT,
    deployment,
    error,
    finding,
    guest,
    host_sysroot,
    own,
    plan,
    running,
    snapshot,
    step,
    verbs,
)

SERVICE, FLAGS = f"{DROPINS}/10-service.conf", f"{DROPINS}/10-flags.conf"
BOOTED = deployment(NEW, "fedora", booted=True)
BESIDE = host_sysroot(deployments=(BOOTED, deployment(OLD)), stateroots=("fedora", "web"))
SEVERAL = replace(BESIDE, deployments=(BOOTED, deployment(NEW), deployment(OLD)))
BY_HAND = GuestSeen(
    unit=replace(UNIT, dropin_paths=(FLAGS, SERVICE)),
    machine=Machine(
        unit="systemd-nspawn@web.service", leader=2, system_state="running", deployment=f"{OLD}.0"
    ),
    files={SERVICE: FileSeen("[Service]\n", "644"), FLAGS: FileSeen("[Service]\n", "644")},
)
ADOPT = guest(adopt=True, sysroot="shared", isolation="none")


def adoption(wanted=ADOPT, seen=BY_HAND, host=BESIDE, private=None) -> Plan:
    return plan(wanted, adopt, seen=seen, host=host, private=private)


def adopted(wanted=ADOPT, seen=BY_HAND, host=BESIDE) -> GuestSeen:
    return Comparison(wanted, snapshot(seen, host=host)).seen


def test_without_adopt_all_of_it_is_refused_and_named():
    found = adoption(guest(sysroot="shared"))
    assert not found.steps
    assert {item.field for item in found.errors} == {SERVICE, FLAGS, "stateroot"}
    assert {item.kind for item in found.errors} == {"foreign"}
    assert {diff.path for diff in found.diffs} == {SERVICE, FLAGS}


def test_it_keeps_the_deployment_that_it_runs():
    found = adoption(host=SEVERAL)
    assert step(found, "adopt").arguments == (f"{OLD}.0", FLAGS, SERVICE)
    assert step(found, "adopt").sysroot
    foreign = finding(found, "foreign")
    assert (foreign.guest, foreign.field, foreign.severity) == ("web", "adopt", "change")
    assert (foreign.wanted, foreign.seen) == ("ours", f"{OLD}.0")
    assert foreign.problem == f"its stateroot, {FLAGS}, {SERVICE} to adopt"


def test_of_one_that_does_not_run_the_only_deployment_is_taken_and_never_one_by_position():
    halted = replace(BY_HAND, machine=None)
    assert step(adoption(seen=halted), "adopt").arguments[0] == f"{OLD}.0"
    found = error(adoption(seen=halted, host=SEVERAL), "impossible")
    assert (found.guest, found.field) == ("web", "adopt")
    assert found.problem == "it does not run and has several deployments"
    assert found.hint.startswith("Start it, so that the one that it runs is adopted")


def test_the_stages_after_it_find_it_adopted():
    seen = adopted()
    assert seen.current == f"{LINK}/deploy/{OLD}.0"
    assert seen.stateroot == LINK
    assert seen.files == {}


def test_in_one_sweep_it_is_adopted_and_defined_and_restarted():
    """There is no definition of ours to go back to, and so it is not tried."""
    found = plan(ADOPT, seen=BY_HAND, host=BESIDE)
    assert verbs(found) == ["adopt", "definition", "restart"]
    assert finding(found, "behind").severity == "note"


def test_one_that_is_adopted_already_is_left_alone():
    ours = replace(running(ADOPT), stateroot=LINK, current=f"{LINK}/deploy/{OLD}.0")
    assert adoption(seen=ours) == Plan("web")
    assert adopted(seen=ours) is ours


def test_of_a_guest_of_ours_only_the_foreign_files_are_moved_aside():
    ours = running(guest())
    edited = replace(ours, files={**ours.files, FLAGS: FileSeen("[Service]\n", "644")})
    wanted = guest(adopt=True)
    found = adoption(wanted, edited, host_sysroot(), own(OLD))
    assert step(found, "adopt").arguments == ("", FLAGS)
    assert not step(found, "adopt").sysroot
    assert adopted(wanted, edited, host_sysroot()) == ours
    assert verbs(plan(wanted, seen=edited, private=own(OLD))) == ["adopt"]


def test_a_foreign_file_in_the_place_of_ours_is_moved_aside_and_written():
    ours = running(guest())
    seen = replace(ours, files={**ours.files, BOOT: FileSeen("[Service]\n", "644")})
    found = plan(guest(adopt=True), seen=seen, private=own(OLD))
    assert verbs(found) == ["adopt", "definition"]


def test_an_adoption_that_was_cut_off_goes_on():
    begun = GuestSeen(stateroot=LINK, directory="700 0:0")
    assert step(adoption(seen=begun), "adopt").arguments == (f"{OLD}.0",)


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"host": host_sysroot(stateroots=("fedora", "web"))}, "adopt", "no deployment of a stateroot web"),
        ({"host": host_sysroot()}, "adopt", "no deployment of a stateroot web to adopt"),
        (
            {"host": host_sysroot(deployments=(deployment(OLD, booted=True),), stateroots=("web",))},
            "stateroot",
            "the host itself was booted from stateroot web",
        ),
        (
            {"seen": replace(running(guest()), machine=None), "private": own(OLD)},
            "stateroot",
            "a stateroot web that is not this guest's",
        ),
        (
            {"seen": replace(BY_HAND, machine=Machine(unit="other.service"))},
            "machine",
            "runs already, from other.service",
        ),
        (
            {"seen": replace(BY_HAND, unit=replace(UNIT, dropin_paths=(f"/usr/lib{DROPINS[4:]}/x.conf",)))},
            f"/usr/lib{DROPINS[4:]}/x.conf",
            "x.conf is a foreign drop-in, and belongs to a package",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused_all_the_same(changes, field: str, problem: str):
    found = adoption(**changes)
    assert not found.steps
    assert [item for item in found.errors if item.field == field and problem in item.problem], found.errors
