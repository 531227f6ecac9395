"""What a guest that is to be absent still has, and what is left alone."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot
from pyinfra_nspawn.plans import Plan
from pyinfra_nspawn.plans.removal import removal
from tests.unit.seen import NEW, OLD, deployment, guest, host_sysroot, own, running, sysroots

PRESENT = guest()
ABSENT = guest(state="absent")
PURGED = guest(state="absent", purge=True)
# What a removal leaves: a sysroot without a deployment, in which /var lies.
KEPT = GuestSeen(directory="700 0:0")
EMPTY = Sysroot((), ("web",))


@pytest.mark.parametrize("wanted", [ABSENT, PURGED])
def test_a_guest_that_was_never_there(wanted):
    assert removal(wanted, sysroots(), {}) == Plan()


@pytest.mark.parametrize(("wanted", "argument"), [(ABSENT, ""), (PURGED, "purge")])
def test_a_running_guest(wanted, argument: str):
    plan = removal(wanted, sysroots(own(OLD)), {"web": running(PRESENT)})
    assert [step.arguments for step in plan.steps] == [("web", argument)]
    assert {diff.path for diff in plan.diffs} == set(running(PRESENT).files)
    assert all(diff.before and not diff.after for diff in plan.diffs)


def test_its_var_is_kept_and_purged_only_when_told():
    assert removal(ABSENT, sysroots(EMPTY), {"web": KEPT}) == Plan()
    assert "/var included" in removal(PURGED, sysroots(EMPTY), {"web": KEPT}).steps[0].text


@pytest.mark.parametrize(
    "left",
    [
        GuestSeen(directory="700 0:0", current="ostree/deploy/web/deploy/x.0"),
        GuestSeen(directory="700 0:0", credentials={"token": FileSeen("x", "600")}),
        GuestSeen(files=running(PRESENT).files),
    ],
)
def test_what_a_killed_removal_left_is_removed(left: GuestSeen):
    assert removal(ABSENT, sysroots(EMPTY), {"web": left}).steps


def test_what_is_somebody_elses_is_left_alone():
    path = "/etc/systemd/nspawn/web.nspawn"
    theirs = GuestSeen(files={path: FileSeen("[Exec]", "644")})
    assert removal(PURGED, sysroots(), {"web": theirs}) == Plan()


def test_a_foreign_drop_in_of_our_guest_is_refused():
    path = "/etc/systemd/system/systemd-nspawn@web.service.d/10-x.conf"
    seen = running(PRESENT)
    seen = replace(seen, files={**seen.files, path: FileSeen("[Service]", "644")})
    assert "is not ours" in removal(ABSENT, sysroots(own(OLD)), {"web": seen}).refusals[0]


def test_what_could_not_be_read_is_not_taken_for_absent():
    unreadable = Unreadable("no answer")
    for seen in (
        removal(ABSENT, unreadable, {}),
        removal(ABSENT, sysroots(), unreadable),
        removal(ABSENT, HostSysroots(host_sysroot(), {"web": unreadable}), {}),
    ):
        assert "no answer" in seen.refusals[0]


def test_a_guest_beside_its_host_is_removed_from_there():
    deployments = (deployment(NEW, "fedora", booted=True), deployment(OLD))
    host = host_sysroot(deployments=deployments, stateroots=("fedora", "web"))
    seen = replace(running(PRESENT), stateroot="/sysroot/ostree/deploy/web")
    (step,) = removal(ABSENT, sysroots(host=host), {"web": seen}).steps
    assert "1 deployment; keep its /var, /sysroot/ostree/deploy/web/var" in step.text
    theirs = replace(seen, stateroot=None)
    assert "0 deployments" in removal(ABSENT, sysroots(host=host), {"web": theirs}).steps[0].text
