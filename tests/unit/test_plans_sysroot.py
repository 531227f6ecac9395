"""Which commit a guest gets, and that nothing of it is done twice or chosen by position."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
from pyinfra_nspawn.facts.ostree import HostSysroots
from pyinfra_nspawn.plans import Plan
from pyinfra_nspawn.plans import sysroot as plans
from tests.unit.seen import NEW, OLD, UNIT, current, deployment, guest, host_sysroot, own, sysroots

ABSENT = "c" * 64


def no_one_asks(commit: str) -> str:
    raise AssertionError(f"asked for {commit}")


def look(seen=None, found=None, wanted=None):
    return plans.look(wanted or guest(), found or sysroots(), {"web": seen} if seen else {})


def pull(source: str, presence=no_one_asks, **view: object) -> Plan:
    wanted = guest(source=source)
    return plans.commit(wanted, look(wanted=wanted, **view), presence)


def test_a_new_guest():
    wanted, view = guest(), look()
    assert [step.script for step in plans.stateroot(wanted, view).steps] == ["stateroot"]
    assert plans.commit(wanted, view, no_one_asks).steps[0].arguments == ("web", OLD, "", "")
    assert plans.deployment(wanted, view).steps[0].arguments == ("web", OLD)
    assert plans.current(wanted, view).steps[0].text == "let guest web boot the deployment of host"


def test_a_guest_that_is_there():
    wanted, view = guest(), look(GuestSeen(current=current(OLD)), sysroots(own(OLD)))
    assert plans.stateroot(wanted, view) == Plan()
    assert plans.commit(wanted, view, no_one_asks) == Plan()
    assert plans.deployment(wanted, view) == Plan()
    assert plans.current(wanted, view) == Plan()


def test_the_base_commit_of_a_host_with_layered_packages():
    host = host_sysroot(deployments=(deployment(ABSENT, "fedora", booted=True, base_checksum=OLD),))
    assert pull("host", found=sysroots(host=host)).steps[0].arguments == ("web", OLD, "", "")


def test_a_ref_that_the_host_has_is_not_pulled_again():
    assert pull("fedora:iot").steps[0].arguments == ("web", NEW, "", "")
    assert pull("local").steps[0].arguments == ("web", NEW, "", "")


def test_a_ref_that_only_the_remote_has():
    plan = pull("fedora:silverblue")
    assert plan.steps[0].arguments == ("web", "", "fedora", "silverblue")
    wanted = guest(source="fedora:silverblue")
    assert plans.deployment(wanted, look()).steps[0].text.startswith("deploy fedora:silverblue in")


def test_a_commit_that_only_the_remote_has():
    plan = pull(f"fedora:{ABSENT}", lambda _: "partial")
    assert plan.steps[0].arguments == ("web", ABSENT, "fedora", ABSENT)


def test_a_commit_that_the_host_has():
    assert pull(ABSENT, lambda _: "present").steps[0].arguments == ("web", ABSENT, "", "")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "the host's repository has no ref nowhere: pull it, or write REMOTE:nowhere"),
        ("iot", "the host's repository has no ref iot: pull it, or write REMOTE:iot"),
        ("debian:iot", "the host knows no remote debian: add it with `ostree remote add`"),
        (ABSENT, f"the host's repository has no commit {ABSENT}: pull it, or write REMOTE:COMMIT"),
    ],
)
def test_a_source_that_cannot_be_had(source: str, sentence: str):
    (refusal,) = pull(source, lambda _: "absent").refusals
    assert refusal.startswith(f"guest web: {sentence}")


def test_a_commit_of_which_nothing_is_known_is_not_taken_for_absent():
    (refusal,) = pull(ABSENT, lambda _: Unreadable("it said 'Cannot fork'")).refusals
    assert refusal.endswith("could not be read (it said 'Cannot fork'); mend that and run again")


def test_what_is_somebody_else_s_is_refused_before_anything_is_made():
    dropin = "/etc/systemd/system/systemd-nspawn@web.service.d/10-service.conf"
    view = look(GuestSeen(files={dropin: FileSeen("[Service]\n", "644")}))
    assert f"{dropin} is a drop-in that is not ours" in plans.stateroot(guest(), view).refusals[0]


def test_an_unbooted_host_has_no_commit_of_its_own():
    host = host_sysroot(deployments=(deployment(OLD, "fedora"),))
    assert "name a commit" in pull("host", found=sysroots(host=host)).refusals[0]


def test_a_source_that_moved_is_told_and_nothing_more():
    seen, found = GuestSeen(current=current(OLD)), sysroots(own(OLD))
    plan = pull("fedora:iot", seen=seen, found=found)
    assert plan.notes == (
        f"guest web is behind: it boots commit {OLD[:12]}, and fedora:iot is {NEW[:12]} now",
    )
    assert not plan.steps
    wanted = guest(source="fedora:iot")
    assert plans.deployment(wanted, look(seen, found, wanted)) == Plan()
    assert plans.current(wanted, look(seen, found, wanted)) == Plan()


def test_a_run_that_was_killed_after_the_deployment():
    wanted, view = guest(), look(GuestSeen(), sysroots(own(NEW, OLD)))
    assert plans.commit(wanted, view, no_one_asks) == Plan()
    assert plans.deployment(wanted, view) == Plan()
    assert plans.current(wanted, view).steps[0].arguments == ("web", current(OLD))


def test_a_current_that_points_nowhere_is_mended_by_the_source():
    wanted, view = guest(), look(GuestSeen(current=current(NEW)), sysroots(own(OLD)))
    assert plans.deployment(wanted, view) == Plan()
    assert plans.current(wanted, view).steps[0].arguments == ("web", current(OLD))


def test_a_deployment_of_another_stateroot_is_none_of_the_guest():
    other = own(OLD)
    other = type(other)((deployment(OLD, "web-1"),), ("web-1",))
    assert plans.deployment(guest(), look(GuestSeen(), sysroots(other))).steps


@pytest.mark.parametrize(
    ("found", "seen", "what"),
    [
        (Unreadable("no"), {}, "the host's OSTree sysroots"),
        (HostSysroots(Unreadable("no")), {}, "the host's OSTree sysroot"),
        (HostSysroots(host_sysroot(), {"web": Unreadable("no")}), {}, "the OSTree sysroot of guest web"),
        (sysroots(), Unreadable("no"), "the host's guests"),
    ],
)
def test_what_cannot_be_read_is_not_taken_for_absent(found, seen, what: str):
    view = plans.look(guest(), found, seen)
    assert isinstance(view, Plan)
    assert view.refusals == (f"{what} could not be read (no); mend that and run again",)
    assert plans.stateroot(guest(), view) is view
    assert plans.deployment(guest(), view) is view


SHARED = guest(sysroot="shared")
LINK = "/sysroot/ostree/deploy/web"
OURS = GuestSeen(current=f"{LINK}/deploy/{OLD}.0", stateroot=LINK)
BESIDE = host_sysroot(
    deployments=(deployment(NEW, "fedora", booted=True), deployment(OLD)), stateroots=("fedora", "web")
)


def test_a_new_guest_beside_the_host():
    view = look(wanted=SHARED)
    assert plans.stateroot(SHARED, view).steps[0].script == "stateroot-shared"
    assert plans.commit(SHARED, view, no_one_asks) == Plan()
    assert plans.deployment(SHARED, view).steps[0].script == "deploy-shared"
    view = look(replace(OURS, current=None), sysroots(host=BESIDE), SHARED)
    assert plans.current(guest(sysroot="shared", source=OLD), view).steps[0].arguments == (
        "web",
        f"{LINK}/deploy/{OLD}.0",
    )


def test_a_guest_beside_the_host_that_is_there():
    view = look(OURS, sysroots(host=BESIDE), SHARED)
    assert (
        plans.stateroot(SHARED, view)
        == plans.deployment(SHARED, view)
        == plans.current(SHARED, view)
        == Plan()
    )
    assert plans.commit(SHARED, view, no_one_asks).notes[0].startswith("guest web is behind")


def test_where_a_fallback_would_boot_it_it_is_refused_and_a_private_one_is_not():
    host = replace(BESIDE, fallback="greenboot")
    (sentence,) = look(OURS, sysroots(host=host), SHARED).refusals
    assert sentence.startswith(
        "guest web: this host uses greenboot, which falls back to the second boot entry"
    )
    assert not isinstance(look(OURS, sysroots(host=host), guest()), Plan)


@pytest.mark.parametrize(
    ("wanted", "seen", "found"),
    [
        (guest(), OURS, sysroots(host=BESIDE)),
        (SHARED, GuestSeen(current=current(OLD)), sysroots(own(OLD))),
    ],
)
def test_a_guest_in_the_other_sysroot_is_moved_and_nothing_else_is_made(wanted, seen, found):
    view = look(seen, found, wanted)
    assert plans.stateroot(wanted, view).steps[0].arguments == ("web", wanted.sysroot)
    assert plans.commit(wanted, view, no_one_asks) == Plan()
    assert plans.deployment(wanted, view) == plans.current(wanted, view) == Plan()


def test_one_that_runs_is_not_moved_when_changes_are_only_to_be_reported():
    wanted = guest(on_change="report")
    view = look(replace(OURS, unit=UNIT), sysroots(host=BESIDE), wanted)
    assert "`on_change` is 'report': stop it, then run again" in plans.stateroot(wanted, view).refusals[0]


def test_what_a_move_would_destroy_is_named_and_refused():
    several = host_sysroot(
        deployments=(deployment(NEW, "fedora", booted=True), deployment(NEW), deployment(OLD)),
        stateroots=("fedora", "web"),
    )
    plan = plans.stateroot(guest(), look(OURS, sysroots(host=several), guest()))
    assert f"remove deployment {NEW[:12]} first" in plan.refusals[0]
    private = replace(own(OLD), refs={"ostree/1/1/0": OLD, "mine": NEW})
    seen = GuestSeen(current=current(OLD))
    plan = plans.stateroot(SHARED, look(seen, sysroots(private), SHARED))
    assert "remove ref mine first" in plan.refusals[0]


def test_what_a_killed_move_left_is_no_reason_to_refuse():
    left = replace(own(NEW), refs={})
    view = look(OURS, sysroots(left, host=BESIDE), SHARED)
    assert [step.script for step in plans.stateroot(SHARED, view).steps] == ["move"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("host", "set `source` to 'guest' if it is to boot what it deploys"),
        ("guest", "and boots it when it starts next"),
    ],
)
def test_what_a_guest_deployed_itself_is_told(source: str, says: str):
    wanted = guest(isolation="none", source=source)
    view = look(GuestSeen(current=current(OLD)), sysroots(own(NEW, OLD)), wanted)
    plan = plans.commit(wanted, view, no_one_asks)
    assert not plan.steps
    assert f"has deployed commit {NEW[:12]} itself" in plan.notes[-1]
    assert plan.notes[-1].endswith(says)
