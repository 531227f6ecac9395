"""What a hand-made guest is taken over with, and what is refused all the same."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen, Machine
from pyinfra_nspawn.plans import Plan
from pyinfra_nspawn.plans.adoption import adopted, adoption
from tests.unit.seen import NEW, OLD, UNIT, deployment, guest, host_sysroot, own, running, sysroots

DROPINS = "/etc/systemd/system/systemd-nspawn@web.service.d"
SERVICE, FLAGS = f"{DROPINS}/10-service.conf", f"{DROPINS}/10-flags.conf"
BOOTED = deployment(NEW, "fedora", booted=True)
HOST = host_sysroot(deployments=(BOOTED, deployment(OLD)), stateroots=("fedora", "web"))
BY_HAND = GuestSeen(
    unit=replace(UNIT, dropin_paths=(FLAGS, SERVICE)),
    machine=Machine(
        unit="systemd-nspawn@web.service", leader=2, system_state="running", deployment=f"{OLD}.0"
    ),
    files={SERVICE: FileSeen("[Service]\n", "644"), FLAGS: FileSeen("[Service]\n", "644")},
)
ADOPT = guest(adopt=True, sysroot="shared", isolation="none")


def plan(wanted=ADOPT, seen=BY_HAND, host=HOST, private=None) -> Plan:
    return adoption(wanted, sysroots(private, host), {"web": seen})


def test_without_adopt_all_of_it_is_refused_and_named():
    refusals = plan(guest(sysroot="shared")).refusals
    assert [path for path in (SERVICE, FLAGS) if any(path in sentence for sentence in refusals)] == [
        SERVICE,
        FLAGS,
    ]
    assert any("a stateroot of that name that is not ours" in sentence for sentence in refusals)
    assert len(plan(guest(sysroot="shared")).diffs) == 2


def test_it_keeps_the_deployment_that_it_runs():
    host = replace(HOST, deployments=(BOOTED, deployment(NEW), deployment(OLD)))
    (step,) = plan(host=host).steps
    assert step.arguments == ("web", f"{OLD}.0", FLAGS, SERVICE)


def test_of_one_that_does_not_run_the_only_deployment_is_taken_and_never_one_by_position():
    stopped = replace(BY_HAND, machine=None)
    assert plan(seen=stopped).steps[0].arguments[1] == f"{OLD}.0"
    several = replace(HOST, deployments=(BOOTED, deployment(NEW), deployment(OLD)))
    assert "start it, so that the one that it runs is adopted" in plan(seen=stopped, host=several).refusals[0]


def test_the_plans_after_it_find_it_adopted():
    seen = adopted(ADOPT, BY_HAND, HOST)
    assert seen.current == f"/sysroot/ostree/deploy/web/deploy/{OLD}.0"
    assert seen.stateroot == "/sysroot/ostree/deploy/web"
    assert seen.files == {}


def test_one_that_is_adopted_already_is_left_alone():
    ours = running(guest(sysroot="shared", isolation="none"))
    ours = replace(ours, stateroot="/sysroot/ostree/deploy/web")
    assert plan(seen=ours) == Plan()
    assert adopted(ADOPT, ours, HOST) is ours


def test_of_a_guest_of_ours_only_the_files_of_others_are_moved_aside():
    ours = running(guest())
    edited = replace(ours, files={**ours.files, FLAGS: FileSeen("[Service]\n", "644")})
    wanted = guest(adopt=True)
    (step,) = adoption(wanted, sysroots(own(OLD)), {"web": edited}).steps
    assert step.arguments == ("web", "", FLAGS)
    assert adopted(wanted, edited, host_sysroot()) == ours


def test_an_adoption_that_was_killed_goes_on():
    begun = GuestSeen(stateroot="/sysroot/ostree/deploy/web", directory="700 0:0")
    assert plan(seen=begun).steps[0].arguments == ("web", f"{OLD}.0")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"host": host_sysroot(stateroots=("fedora", "web"))}, "no deployment of a stateroot web to adopt"),
        (
            {"host": host_sysroot(deployments=(deployment(OLD, booted=True),), stateroots=("web",))},
            "booted from",
        ),
        (
            {"seen": replace(running(guest()), machine=None), "private": own(OLD)},
            "a stateroot of that name that is not this guest's",
        ),
        (
            {"seen": replace(BY_HAND, machine=Machine(unit="other.service"))},
            "runs already, from other.service",
        ),
        (
            {"seen": replace(BY_HAND, unit=replace(UNIT, dropin_paths=(f"/usr/lib{DROPINS[4:]}/x.conf",)))},
            "x.conf is a drop-in that is not ours",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_refused_all_the_same(changes, sentence: str):
    found = plan(**changes)
    assert not found.steps
    assert any(sentence in refusal for refusal in found.refusals), found.refusals
