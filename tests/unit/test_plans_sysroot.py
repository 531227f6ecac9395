"""Where a guest's stateroot lies, which commit it gets, and that nothing is done twice."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.plans import guest as stages
from pyinfra_nspawn.plans.plan import Plan
from tests.unit.seen import (
    BESIDE,
    LINK,
    NEW,
    OLD,
    STATE,
    THIRD,
    UNIT,
    UNKNOWN,
    beside,
    current,
    deployment,
    error,
    finding,
    guest,
    host_sysroot,
    own,
    plan,
    running,
    step,
    verbs,
)

OF_SYSROOT = (stages.stateroot, stages.commit, stages.deployment, stages.current)
MOVED = deployment(THIRD, "fedora", booted=True)


def sysroot(wanted=None, **seen: object) -> Plan:
    return plan(wanted or guest(), *OF_SYSROOT, **seen)


def pull(source: str, **seen: object) -> tuple[str, ...]:
    return step(sysroot(guest(source=source), **seen), "pull").arguments


def deployed(**fields: object) -> dict[str, object]:
    """Return a guest that boots a deployment of OLD."""
    return {"seen": GuestSeen(current=current(OLD)), "private": own(OLD), **fields}


def test_a_new_guest():
    found = sysroot()
    assert [(item.verb, item.arguments) for item in found.steps] == [
        ("stateroot", ("private",)),
        ("pull", ("private", "", OLD)),
        ("deploy", ("private", OLD)),
        ("current", ("private", OLD)),
    ]
    assert not any(item.sysroot for item in found.steps)
    assert finding(found, "missing", "stateroot").wanted == f"{STATE}/ostree/deploy/web"
    assert finding(found, "missing", "commit").wanted == OLD
    assert finding(found, "missing", "deployment").wanted == OLD
    assert finding(found, "missing", "current").wanted == OLD
    assert found.steps[0].text == f"make the OSTree sysroot {STATE} with stateroot web"


def test_a_guest_that_exists():
    assert sysroot(**deployed()) == Plan("web")


def test_the_base_commit_of_a_host_with_layered_packages():
    host = host_sysroot(deployments=(deployment(THIRD, "fedora", booted=True, base_checksum=OLD),))
    assert pull("host", host=host) == ("private", "", OLD)


def test_a_ref_that_the_host_has_is_not_pulled_again():
    assert pull("fedora:iot") == ("private", "", NEW)
    assert pull("local") == ("private", "", NEW)


IMAGE = "ostree-unverified-registry:quay.io/fedora/fedora-coreos:stable"


def test_a_container_image_refuses_a_new_guest_and_is_a_note_of_one_that_is_deployed():
    assert str(error(sysroot(guest(source=IMAGE)))) == (
        "web: a container image cannot be deployed yet. "
        "Write `host` for the one that the host boots, or the commit of another that it has."
    )
    note = finding(sysroot(guest(source=IMAGE), **deployed()), "impossible", "source")
    assert (note.severity, note.wanted) == ("note", IMAGE)


def test_a_ref_that_only_the_remote_has():
    found = sysroot(guest(source="fedora:silverblue"))
    assert step(found, "pull").arguments == ("private", "fedora", "silverblue")
    assert step(found, "pull").sysroot
    assert step(found, "deploy").arguments == ("private", "fedora:silverblue")
    assert step(found, "current").arguments == ("private", "fedora:silverblue")
    assert finding(found, "missing", "commit").wanted == "fedora:silverblue"


@pytest.mark.parametrize("presence", ["partial", "absent"])
def test_a_commit_that_only_the_remote_has(presence: str):
    host = host_sysroot(commits={THIRD: presence})
    assert pull(f"fedora:{THIRD}", host=host) == ("private", "fedora", THIRD)


def test_a_commit_that_the_host_has():
    host = host_sysroot(commits={THIRD: "present"})
    assert pull(THIRD, host=host) == ("private", "", THIRD)
    assert pull(f"fedora:{THIRD}", host=host) == ("private", "", THIRD)


@pytest.mark.parametrize(
    ("source", "problem", "hint"),
    [
        ("nowhere", "the host's repository has no ref nowhere", "or write REMOTE:nowhere in `source`."),
        ("iot", "the host's repository has no ref iot", "or write REMOTE:iot in `source`."),
        ("debian:iot", "the host knows no remote debian", "Add it to `remotes` of `nspawn_host`."),
        (THIRD, f"the host's repository has no commit {THIRD}", "or write REMOTE:COMMIT in `source`."),
        (
            f"debian:{THIRD}",
            "the host knows no remote debian",
            "Add it to `remotes` of `nspawn_host`.",
        ),
    ],
)
def test_a_source_that_cannot_be_had(source: str, problem: str, hint: str):
    found = error(sysroot(guest(source=source), host=host_sysroot(commits={THIRD: "absent"})), "impossible")
    assert (found.guest, found.field, found.wanted) == ("web", "source", source)
    assert found.problem == problem
    assert found.hint.endswith(hint)


def test_an_unbooted_host_has_no_commit_of_its_own():
    host = host_sysroot(deployments=(deployment(OLD, "fedora"),))
    found = error(sysroot(host=host), "impossible")
    assert found.problem == "`source: host` needs a host that was booted from OSTree"


def test_a_commit_of_which_nothing_is_known_is_not_taken_for_absent():
    found = error(sysroot(guest(source=THIRD)), "unreadable")
    assert (found.guest, found.field, found.wanted) == ("web", "source", THIRD)


# Trouble with what a guest does not need is not its trouble.

LAYERS = host_sysroot(layers=UNKNOWN, commits={THIRD: "present"})


def test_rpm_ostree_s_trouble_refuses_what_needs_the_base_commit():
    """Case 4."""
    for source in ("host", "guest"):
        wanted = guest(source=source, isolation="none")
        found = error(sysroot(wanted, host=LAYERS), "unreadable")
        assert (found.guest, found.field, found.wanted) == ("web", "source", source)
        assert found.problem == "the host's base commit is unknown: it said 'Cannot fork'"
        assert "rpm-ostree status" in found.hint


@pytest.mark.parametrize("source", ["fedora:iot", "local", THIRD])
def test_and_nothing_else(source: str):
    assert verbs(sysroot(guest(source=source), host=LAYERS)) == ["stateroot", "pull", "deploy", "current"]


def test_and_no_guest_that_is_deployed():
    found = plan(seen=running(guest()), private=own(OLD), host=LAYERS)
    assert not found.errors
    assert finding(found, "unreadable").severity == "note"


def test_ostree_s_complaint_of_the_guest_s_sysroot_is_a_note():
    """Case 3."""
    private = own(OLD, complaint="GPG verification enabled, but no signatures found")
    found = sysroot(**deployed(private=private))
    note = finding(found, "unreadable")
    assert (note.guest, note.field, note.severity) == ("web", "deployments", "note")
    assert note.seen == "GPG verification enabled, but no signatures found"
    assert f"ostree admin --sysroot={STATE} status" in note.hint
    assert not found.errors


# A deployed guest keeps its commit.


def test_a_source_that_moved_is_noted_and_nothing_more():
    found = sysroot(guest(source="fedora:iot"), **deployed())
    behind = finding(found, "behind")
    assert (behind.guest, behind.field, behind.wanted, behind.seen) == ("web", "source", NEW, OLD)
    assert behind.problem == f"it boots commit {OLD[:12]}, and fedora:iot is {NEW[:12]} now"
    assert (behind.severity, bool(behind.hint)) == ("note", True)
    assert not found.steps


def test_a_deployed_guest_needs_its_source_no_more():
    found = sysroot(guest(source="debian:iot"), **deployed())
    assert not found.errors
    assert finding(found, "impossible").severity == "note"


def test_a_run_that_was_cut_off_after_the_deployment():
    found = sysroot(private=own(NEW, OLD))
    assert [(item.verb, item.arguments) for item in found.steps] == [("current", ("private", OLD))]
    assert finding(found, "missing", "current").wanted == f"{OLD}.0"


def test_a_current_that_points_nowhere_is_set_by_the_source():
    found = sysroot(seen=GuestSeen(current=current(NEW)), private=own(OLD))
    assert verbs(found) == ["current"]
    differs = finding(found, "differs", "current")
    assert (differs.wanted, differs.seen) == (f"{OLD}.0", f"{NEW}.0")
    assert differs.problem == f"`current` points at {NEW[:12]}, which does not exist"


def test_a_deployment_of_another_stateroot_is_none_of_the_guest():
    other = replace(own(), deployments=(deployment(OLD, "web-1"),), stateroots=("web-1",))
    assert "deploy" in verbs(sysroot(private=other))


@pytest.mark.parametrize(
    ("source", "hint", "wanted"),
    [
        ("host", "Set `source` to 'guest' to let it boot that.", OLD),
        ("guest", "It boots it at its next start.", NEW),
    ],
)
def test_what_a_guest_deployed_itself_is_noted(source: str, hint: str, wanted: str):
    guest_ = guest(isolation="none", source=source)
    found = sysroot(guest_, seen=GuestSeen(current=current(OLD)), private=own(NEW, OLD))
    assert not found.steps
    note = finding(found, "own-commit")
    assert (note.guest, note.field, note.severity) == ("web", "deployments", "note")
    assert {note.wanted, note.seen} == {OLD, NEW}
    assert (note.wanted, note.hint) == (wanted, hint)
    assert note.problem == f"it has deployed commit {NEW[:12]} itself"


def test_a_guest_that_deploys_for_itself_begins_with_the_host_s_commit():
    found = sysroot(guest(isolation="none", source="guest"))
    assert step(found, "deploy").arguments == ("private", OLD)
    assert step(found, "current").arguments == ("private", "guest")


# Beside the host, and back.

SHARED = guest(sysroot="shared")
PINNED = guest(sysroot="shared", source=OLD)


def test_a_new_guest_beside_the_host():
    found = sysroot(SHARED)
    assert [(item.verb, item.arguments, item.sysroot) for item in found.steps] == [
        ("stateroot", ("shared",), True),
        ("deploy", ("shared", OLD), True),
        ("current", ("shared", OLD), False),
    ]
    assert found.steps[0].text == "make stateroot web in the host's /ostree"


def test_a_ref_of_a_remote_is_pulled_for_it_too():
    found = sysroot(guest(sysroot="shared", source="fedora:silverblue"))
    assert step(found, "pull").arguments == ("shared", "fedora", "silverblue")


def test_a_guest_beside_the_host_that_exists():
    found = sysroot(SHARED, seen=beside(), host=BESIDE)
    assert not found.steps
    assert finding(found, "behind").seen == OLD


def test_a_deployment_beside_the_host_that_was_not_chosen_yet():
    seen = replace(beside(), current=None)
    host = replace(BESIDE, commits={OLD: "present"})
    assert verbs(sysroot(PINNED, seen=seen, host=host)) == ["current"]


def test_where_a_fallback_would_boot_it_it_is_refused_and_a_private_one_is_not():
    host = replace(BESIDE, fallback="greenboot")
    found = error(sysroot(SHARED, seen=beside(), host=host), "unfit")
    assert (found.guest, found.field, found.wanted, found.seen) == ("web", "sysroot", "shared", "greenboot")
    assert found.problem.startswith("greenboot falls back to the host's second boot entry")
    assert found.hint == "Set the guest's `sysroot` to 'private'."
    assert not sysroot(**deployed(host=host_sysroot(fallback="greenboot"))).errors


@pytest.mark.parametrize(
    ("wanted", "other", "seen"),
    [
        (guest(), "shared", {"seen": beside(), "host": BESIDE}),
        (SHARED, "private", deployed()),
    ],
)
def test_a_guest_in_the_other_sysroot_is_moved_and_nothing_else_is_made(wanted, other: str, seen):
    found = sysroot(wanted, **seen)
    assert [(item.verb, item.arguments, item.sysroot) for item in found.steps] == [
        ("move", (wanted.sysroot,), True)
    ]
    differs = finding(found, "differs")
    assert (differs.guest, differs.field, differs.wanted, differs.seen) == (
        "web",
        "sysroot",
        wanted.sysroot,
        other,
    )


def test_a_move_stops_the_guest_and_so_it_is_started_with_its_new_definition():
    seen = replace(running(SHARED), stateroot=LINK, current=f"{LINK}/deploy/{OLD}.0")
    found = plan(guest(), seen=seen, host=BESIDE)
    assert verbs(found) == ["move", "definition", "unit", "await"]
    assert step(found, "move").text.startswith("stop and move guest web from the host's /ostree")
    assert step(found, "unit").arguments == ("", "start")


def test_one_that_runs_is_not_moved_when_changes_are_only_reported():
    seen = replace(beside(), unit=UNIT)
    found = error(sysroot(guest(on_change="report"), seen=seen, host=BESIDE), "impossible")
    assert (found.guest, found.field) == ("web", "sysroot")
    assert found.hint == "Stop it, then run again."


def test_what_a_move_would_destroy_is_named_and_refused():
    several = (deployment(NEW, "fedora", booted=True), deployment(NEW), deployment(OLD))
    found = error(sysroot(seen=beside(), host=replace(BESIDE, deployments=several)), "impossible")
    assert (found.guest, found.field) == ("web", "sysroot")
    assert found.problem.endswith(f"and not deployment {NEW[:12]}")
    private = own(OLD, refs={"ostree/1/1/0": OLD, "mine": NEW})
    assert error(sysroot(SHARED, **deployed(private=private))).problem.endswith("and not ref mine")


def test_what_a_move_that_was_cut_off_left_is_no_reason_to_refuse():
    assert verbs(sysroot(SHARED, seen=beside(), private=own(NEW), host=BESIDE)) == ["move"]


def test_a_stateroot_without_a_deployment_is_moved_and_deployed():
    """Its /var was kept by a removal."""
    assert verbs(sysroot(SHARED, private=own())) == ["move", "deploy", "current"]
