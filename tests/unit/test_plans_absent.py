"""What is removed of a guest, and what is left alone."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
from pyinfra_nspawn.facts.ostree import Sysroot
from pyinfra_nspawn.plans.plan import Plan
from tests.unit.seen import (
    BESIDE,
    DROPINS,
    LINK,
    OLD,
    SETTINGS,
    STATE,
    UNIT,
    error,
    finding,
    guest,
    own,
    plan,
    running,
    step,
    stopped,
    verbs,
)

PRESENT = guest()
ABSENT = guest(state="absent")
PURGED = guest(state="absent", purge=True)
# What a removal leaves: a sysroot without a deployment, in which /var lies.
KEPT = GuestSeen(directory="700 0:0")
EMPTY = Sysroot((), ("web",))
MANAGED = FileSeen("# Managed by pyinfra-nspawn\n", "644")


@pytest.mark.parametrize("wanted", [ABSENT, PURGED])
def test_a_guest_that_was_never_there(wanted):
    assert plan(wanted) == Plan("web")


@pytest.mark.parametrize(("wanted", "argument"), [(ABSENT, ""), (PURGED, "purge")])
def test_a_running_guest(wanted, argument: str):
    found = plan(wanted, seen=running(PRESENT), private=own(OLD))
    assert verbs(found) == ["remove"]
    removal = step(found, "remove")
    assert (removal.guest, removal.arguments, removal.sysroot) == ("web", (argument,), False)
    assert {diff.path for diff in removal.diffs} == set(running(PRESENT).files)
    assert all(diff.before and not diff.after for diff in removal.diffs)
    extra = finding(found, "extra")
    assert (extra.guest, extra.field, extra.wanted, extra.seen) == ("web", "state", "absent", "running")


def test_one_that_does_not_run():
    assert finding(plan(ABSENT, seen=stopped(PRESENT), private=own(OLD)), "extra").seen == "stopped"


def test_its_var_is_kept_and_purged_only_when_asked():
    assert plan(ABSENT, seen=KEPT, private=EMPTY) == Plan("web")
    removal = step(plan(PURGED, seen=KEPT, private=EMPTY), "remove")
    assert f"everything in {STATE}, its /var included" in removal.text


@pytest.mark.parametrize(
    "left",
    [
        replace(KEPT, current="ostree/deploy/web/deploy/x.0"),
        replace(KEPT, credentials={"token": FileSeen("x", "600")}),
        replace(KEPT, trial="interrupted"),
        GuestSeen(files=running(PRESENT).files),
        GuestSeen(files={SETTINGS: MANAGED}),  # of an earlier version
    ],
)
def test_what_a_removal_that_was_cut_off_left_is_removed(left: GuestSeen):
    assert verbs(plan(ABSENT, seen=left, private=EMPTY)) == ["remove"]


@pytest.mark.parametrize(
    "theirs",
    [
        GuestSeen(files={SETTINGS: FileSeen("[Exec]", "644")}),
        GuestSeen(unit=replace(UNIT, dropin_paths=()), image="/var/lib/machines/web"),
    ],
)
def test_what_is_foreign_is_left_alone(theirs: GuestSeen):
    assert plan(PURGED, seen=theirs) == Plan("web")
    assert plan(ABSENT, seen=theirs, host=BESIDE) == Plan("web")


def test_a_foreign_drop_in_of_our_guest_is_refused():
    path = f"{DROPINS}/10-x.conf"
    seen = running(PRESENT)
    seen = replace(seen, files={**seen.files, path: FileSeen("[Service]", "644")})
    found = error(plan(ABSENT, seen=seen, private=own(OLD)), "foreign")
    assert found.field == path


def test_a_foreign_stateroot_keeps_no_private_guest_from_being_removed():
    assert verbs(plan(ABSENT, seen=running(PRESENT), private=own(OLD), host=BESIDE)) == ["remove"]


def test_a_guest_beside_its_host_is_removed_from_there():
    seen = replace(running(PRESENT), stateroot=LINK)
    removal = step(plan(ABSENT, seen=seen, host=BESIDE), "remove")
    assert removal.sysroot
    assert f"1 deployment; keep its /var, {LINK}/var" in removal.text
    theirs = replace(seen, stateroot=None)
    removal = step(plan(ABSENT, seen=theirs, host=BESIDE), "remove")
    assert "0 deployments" in removal.text
    assert not removal.sysroot


def test_a_hand_made_guest_is_adopted_and_then_removed():
    path = f"{DROPINS}/10-x.conf"
    seen = GuestSeen(unit=UNIT, files={path: FileSeen("[Service]", "644")})
    wanted = guest(state="absent", adopt=True)
    assert verbs(plan(wanted, seen=seen, host=BESIDE)) == ["adopt", "remove"]
