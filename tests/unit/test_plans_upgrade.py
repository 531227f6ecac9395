"""Moving a guest to another commit and back, and which of its deployments are kept."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot
from pyinfra_nspawn.plans.guest import recover
from pyinfra_nspawn.plans.retention import retention
from pyinfra_nspawn.plans.rollback import rollback_to
from pyinfra_nspawn.plans.upgrade import upgrade_with
from pyinfra_nspawn.specs import Checks, Guest
from tests.unit.seen import (
    HOST,
    NEW,
    OLD,
    THIRD,
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
    stopped,
    verbs,
)

if TYPE_CHECKING:
    from pyinfra_nspawn.plans.plan import Plan

BEHIND = guest(source="local")
"""It boots OLD, and its source names NEW."""


def planned(wanted: Guest = BEHIND, seen: GuestSeen | None = None, *retry: str, **facts: object) -> Plan:
    facts.setdefault("private", own(OLD))
    stages = (recover, upgrade_with(retry), retention)
    return plan(wanted, *stages, seen=seen or running(wanted), **facts)


def test_a_guest_that_boots_what_its_source_names_is_left_alone():
    assert planned(guest()).steps == ()
    assert planned(guest()).findings == ()


def test_what_is_newer_is_pulled_and_tried():
    found = planned()
    assert verbs(found) == ["pull", "upgrade"]
    assert step(found, "pull").arguments == ("private", "", NEW)
    tried = step(found, "upgrade")
    assert tried.arguments[-2:] == ("private", NEW)
    assert tried.program
    assert not tried.sysroot
    assert finding(found, "behind").wanted == NEW


def test_the_host_s_own_repository_has_what_a_shared_guest_needs():
    wanted = guest(source="local", sysroot="shared")
    seen = replace(running(wanted), **{name: getattr(beside(), name) for name in ("current", "stateroot")})
    host = host_sysroot(
        deployments=(deployment(NEW, "fedora", booted=True), deployment(OLD)), stateroots=("fedora", "web")
    )
    found = planned(wanted, seen, private=None, host=host)
    assert verbs(found) == ["upgrade"]
    assert step(found, "upgrade").sysroot


@pytest.mark.parametrize("source", ["fedora:iot", "fedora:new"])
def test_what_a_remote_offers_is_pulled_from_there(source: str):
    host = host_sysroot()
    sysroots = HostSysroots(host, {"web": own(OLD)}, offers={source: THIRD})
    found = planned(guest(source=source), sysroots=sysroots)
    assert step(found, "pull").arguments == ("private", "fedora", source.partition(":")[2])
    assert step(found, "upgrade").arguments[-1] == THIRD


def test_what_the_host_has_of_a_remote_is_not_pulled_from_it_again():
    sysroots = HostSysroots(host_sysroot(), {"web": own(OLD)}, offers={"fedora:iot": NEW})
    assert step(planned(guest(source="fedora:iot"), sysroots=sysroots), "pull").arguments == (
        "private",
        "",
        NEW,
    )


def test_a_remote_that_does_not_answer_refuses_the_guest():
    offers = {"fedora:iot": Unreadable("its remote was asked in vain: 404")}
    sysroots = HostSysroots(host_sysroot(), {"web": own(OLD)}, offers=offers)
    assert "asked in vain: 404" in error(planned(guest(source="fedora:iot"), sysroots=sysroots)).problem


def test_a_refused_commit_is_tried_again_only_when_told_so():
    seen = replace(running(BEHIND), refused_commits={NEW: "x.service failed", THIRD: "y.service failed"})
    found = error(planned(seen=seen), "refused-commit")
    assert "x.service failed" in found.problem
    assert "--data retry=web" in found.hint
    assert verbs(planned(BEHIND, seen, "web")) == ["pull", "upgrade"]
    assert error(planned(BEHIND, seen, "db"), "refused-commit")
    other = replace(seen, refused_commits={THIRD: "x.service failed"})
    assert verbs(planned(seen=other)) == ["pull", "upgrade"]


@pytest.mark.parametrize(
    "seen",
    [
        stopped(BEHIND),
        replace(running(BEHIND), files={}),
        running(guest(source="local", hostname="another")),
    ],
    ids=["stopped", "without files", "with another definition"],
)
def test_a_guest_that_is_not_as_desired_is_not_upgraded(seen: GuestSeen):
    found = error(planned(seen=seen), "impossible")
    assert found.hint == "Run deploys/guest.py first, with `on_change: restart`."


def test_a_guest_that_does_not_exist_is_not_upgraded():
    assert error(planned(seen=GuestSeen(), private=None), "impossible")


def test_a_plan_shows_the_upgrade_of_a_guest_that_will_be_as_desired():
    found = plan(BEHIND, upgrade_with(planning=True), seen=stopped(BEHIND), private=own(OLD))
    assert verbs(found) == ["pull", "upgrade"]
    assert not found.errors


def test_a_stopped_guest_is_left_alone():
    wanted = guest(source="local", state="stopped")
    found = planned(wanted, stopped(wanted))
    assert not found.steps
    assert not found.errors
    assert finding(found, "impossible").severity == "note"


def test_a_degraded_guest_may_be_upgraded():
    """The newer commit may be the cure."""
    seen = running(BEHIND)
    machine = replace(seen.machine, system_state="degraded", failed_units=("x.service",))
    assert verbs(planned(seen=replace(seen, machine=machine))) == ["pull", "upgrade"]


def test_a_guest_that_deploys_for_itself_is_left_alone():
    wanted = guest(source="guest", isolation="none")
    assert not planned(wanted).findings


def test_an_interrupted_trial_is_recovered_before():
    assert verbs(planned(seen=replace(running(BEHIND), trial="interrupted"))) == ["recover"]


def test_its_own_checks_are_in_the_payload():
    checks = Checks(
        units=("x.service",),
        commands=("true && false",),
        tcp=(22,),
        http=("http://localhost/",),
        settle_seconds=5,
    )
    wanted = guest(source="local", checks=checks)
    lines = [line.split(" ") for line in step(planned(wanted), "upgrade").payload.splitlines()]
    assert lines[1] == ["check", "within", "60", "5"]
    assert [(kind, base64.b64decode(text).decode()) for _, kind, text in lines[2:]] == [
        ("unit", "x.service"),
        ("command", "true && false"),
        ("tcp", "127.0.0.1 22"),
        ("http", "http://localhost/"),
    ]


# Retention.


def deployed(*checksums: str, pinned: str = "") -> Sysroot:
    found = own(*checksums)
    return replace(
        found,
        deployments=tuple(replace(item, pinned=item.checksum == pinned) for item in found.deployments),
    )


def kept(wanted: Guest, sysroot: Sysroot, boots: str, fallback: str = "") -> tuple[str, ...]:
    seen = replace(running(wanted), current=current(boots), fallback=current(fallback) if fallback else None)
    seen = replace(seen, machine=replace(seen.machine, deployment=f"{boots}.0"))
    found = plan(wanted, retention, seen=seen, private=sysroot)
    gone = step(found, "prune").arguments[1:] if found.steps else ()
    return tuple(item.checksum for item in sysroot.deployments if item.id not in gone)


def test_what_is_neither_booted_nor_the_fallback_goes():
    assert kept(guest(), deployed(THIRD, NEW, OLD), NEW, OLD) == (NEW, OLD)
    assert kept(guest(), deployed(NEW, OLD), NEW, OLD) == (NEW, OLD)
    assert kept(guest(), deployed(NEW, OLD), OLD) == (OLD,)


@pytest.mark.parametrize(
    ("wanted", "pinned"), [(guest(keep=1), ""), (guest(pinned=(THIRD,)), ""), (guest(), THIRD)]
)
def test_what_is_kept_besides(wanted: Guest, pinned: str):
    assert kept(wanted, deployed(THIRD, NEW, OLD, pinned=pinned), NEW, OLD) == (THIRD, NEW, OLD)


def test_the_latest_are_kept():
    assert kept(guest(keep=1), deployed(NEW, THIRD, OLD), OLD) == (NEW, OLD)


def test_what_it_runs_is_not_removed():
    seen = replace(running(guest()), current=current(NEW))
    assert not plan(guest(), retention, seen=seen, private=deployed(NEW, OLD)).steps


def test_a_plan_of_an_upgrade_shows_what_goes_then():
    """The fallback of before goes, and what is booted now is the next fallback."""
    seen = replace(running(BEHIND), fallback=current(THIRD))
    found = planned(seen=seen, private=deployed(OLD, THIRD))
    assert verbs(found) == ["pull", "upgrade", "prune"]
    assert step(found, "prune").arguments == ("private", f"{THIRD}.0")


def test_what_a_power_cut_has_left_of_the_newest_commit_does_not_go_with_its_upgrade():
    assert verbs(planned(private=deployed(NEW, OLD))) == ["pull", "upgrade"]


# Rollback.


def test_a_rollback_boots_the_fallback_once():
    targets: dict[str, str] = {}
    wanted = guest()
    seen = replace(running(wanted), fallback=current(NEW))
    stage = rollback_to(targets)
    found = plan(wanted, stage, seen=seen, private=own(OLD, NEW))
    assert step(found, "rollback").arguments[-2:] == ("private", f"{NEW}.0")
    arrived = replace(seen, current=current(NEW), fallback=current(OLD))
    assert not plan(wanted, stage, seen=arrived, private=own(OLD, NEW)).steps


@pytest.mark.parametrize("fallback", [None, current(NEW)], ids=["none", "removed"])
def test_without_a_fallback_there_is_no_rollback(fallback: str | None):
    seen = replace(running(guest()), fallback=fallback)
    found = error(plan(guest(), rollback_to({}), seen=seen, private=own(OLD)), "impossible")
    assert found.problem == "it has no deployment to go back to"


def test_a_guest_that_is_not_as_desired_is_not_rolled_back():
    seen = replace(stopped(guest()), fallback=current(NEW))
    assert error(plan(guest(), rollback_to({}), seen=seen, private=own(OLD, NEW)), "impossible")


# Snapshots of /var.


@pytest.mark.parametrize(("file_system", "can"), [("btrfs", True), ("xfs", True), ("ext2/ext3", False)])
def test_a_snapshot_takes_a_file_system_that_shares_blocks(file_system: str, can: bool):
    wanted = guest(source="local", snapshot=True)
    host = replace(HOST, state_file_system=file_system)
    found = planned(wanted, running(wanted), host_facts=host)
    if can:
        assert "snapshot" in step(found, "upgrade").payload.splitlines()
    else:
        assert error(found, "impossible").field == "snapshot"


def test_a_changed_definition_takes_no_snapshot():
    wanted = guest(snapshot=True, hostname="other")
    found = plan(wanted, seen=running(guest(snapshot=True)), private=own(OLD))
    assert "snapshot" not in step(found, "try").payload.splitlines()


# What deploys/guest.py refuses, an upgrade refuses too.


@pytest.mark.parametrize("stage", ["upgrade", "rollback"])
def test_a_missing_bind_source_is_refused_before_the_guest_is_stopped(stage: str):
    wanted = guest(source="local", binds=[{"source": "/srv/data", "target": "/var/data"}])
    seen = replace(running(wanted), fallback=current(THIRD))
    stages = (upgrade_with(),) if stage == "upgrade" else (rollback_to({}),)
    found = plan(wanted, *stages, seen=seen, private=own(OLD, THIRD), paths={"/srv/data": None})
    assert "/srv/data does not exist" in error(found).problem


def test_a_definition_that_is_only_reported_leaves_nothing_to_go_back_to():
    wanted = guest(source="local", hostname="new", on_change="report")
    seen = replace(running(wanted), unit=replace(running(wanted).unit, definition="0" * 32))
    assert error(planned(wanted, seen), "impossible").hint.startswith("Run deploys/guest.py first")


@pytest.mark.parametrize(
    ("version", "sysroot", "goes"),
    [("2022.7", "private", True), ("2025.2", "private", False), ("2025.2", "shared", True)],
)
def test_what_ostree_would_merge_from_instead_is_removed_and_said(version: str, sysroot: str, goes: bool):
    wanted = guest(source="local", sysroot=sysroot)
    here = {"private": deployed(THIRD, OLD)}
    seen = running(wanted)
    if sysroot == "shared":
        beside_it = beside()
        seen = replace(seen, current=beside_it.current, stateroot=beside_it.stateroot)
        items = (deployment(NEW, "fedora", booted=True), deployment(THIRD), deployment(OLD))
        here = {"private": None, "host": host_sysroot(deployments=items, stateroots=("fedora", "web"))}
    facts = {**here, "host_facts": replace(HOST, ostree_version=version)}
    text = step(planned(wanted, seen, **facts), "upgrade").text
    assert (f"remove deployment {THIRD[:12]}, stop" in text) == goes
    pinned = guest(source="local", sysroot=sysroot, pinned=(THIRD,))
    found = planned(pinned, seen, **facts)
    assert [item.field for item in found.errors] == (["pinned"] if goes else [])


@pytest.mark.parametrize("seen", [{"refused_commits": {NEW: "x"}}, {}], ids=["refused", "not refused"])
def test_a_stopped_guest_fails_nothing_and_loses_nothing(seen: dict[str, object]):
    wanted = guest(source="local", state="stopped")
    found = planned(wanted, replace(stopped(wanted), **seen), private=own(OLD, THIRD))
    assert not found.errors
    assert not found.steps


def test_a_stopped_guest_is_not_rolled_back():
    wanted = guest(state="stopped")
    seen = replace(stopped(wanted), fallback=current(NEW))
    found = error(plan(wanted, rollback_to({}), seen=seen, private=own(OLD, NEW)), "impossible")
    assert found.problem == "it is stopped, and a rollback restarts it"


def test_a_rollback_leaves_the_snapshot_of_before_the_upgrade():
    wanted = guest(snapshot=True)
    seen = replace(running(wanted), fallback=current(NEW))
    host = replace(HOST, state_file_system="btrfs")
    found = plan(wanted, rollback_to({}), seen=seen, private=own(OLD, NEW), host_facts=host)
    assert "snapshot" not in step(found, "rollback").payload.splitlines()
