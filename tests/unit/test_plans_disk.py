"""The quota of a guest's /var and /etc: set, changed, lifted, refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.base import parse_answer
from pyinfra_nspawn.facts.nspawn import DiskLimit, GuestSeen, _disk_limit
from pyinfra_nspawn.facts.ostree import HostSysroots
from pyinfra_nspawn.facts.snapshot import Snapshot
from pyinfra_nspawn.plans.comparison import Comparison
from pyinfra_nspawn.plans.disk import disk
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.specs.layout import project_of
from tests.unit.seen import HOST, UNIT, guest, host_sysroot

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.specs import Guest

PROJECT = project_of("web")
LIMITED = guest(limits={"disk_max": "1G"})
SET = DiskLimit(PROJECT, "private", 2**20, 2**20)


def planned(
    wanted: Guest, seen: DiskLimit | None, host: Host = HOST, *, runs: bool = False, state: str = "active"
) -> tuple[list[Step], list[Finding]]:
    unit = replace(UNIT, definition=define(wanted).digest, active_state=state) if runs else None
    found = GuestSeen(unit=unit, disk_limit=seen)
    items = list(disk(Comparison(wanted, Snapshot(host, HostSysroots(host_sysroot()), {"web": found}))))
    steps = [item for item in items if isinstance(item, Step)]
    return steps, [item for item in items if isinstance(item, Finding)]


def arguments(steps: list[Step]) -> list[tuple[str, ...]]:
    assert all((step.verb, step.guest) == ("disk-limit", "web") for step in steps)
    return [step.arguments for step in steps]


@pytest.mark.parametrize(
    ("wanted", "seen", "expected"),
    [
        (LIMITED, None, [("private", str(PROJECT), "1048576")]),
        (LIMITED, SET, []),
        (LIMITED, replace(SET, kib=5), [("private", str(PROJECT), "1048576")]),
        (LIMITED, replace(SET, sysroot="shared"), [("private", str(PROJECT), "1048576")]),
        (guest(), SET, [("private", str(PROJECT), "0")]),
        (guest(), None, []),
    ],
    ids=["set", "as it is", "changed", "moved", "lifted", "none"],
)
def test_what_differs_is_set(wanted: Guest, seen: DiskLimit | None, expected: list[tuple[str, ...]]):
    steps, findings = planned(wanted, seen)
    assert arguments(steps) == expected
    assert [found.severity for found in findings] == ["change"] * len(expected)


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        (replace(HOST, project_quotas=("shared",)), "prjquota"),
        (replace(HOST, commands=("chattr", "lsattr")), "Install quota on the host."),
        (replace(HOST, commands=("setquota",)), "Install e2fsprogs on the host."),
    ],
    ids=["file system", "quota", "e2fsprogs"],
)
def test_a_host_without_quotas_is_an_error(host: Host, hint: str):
    steps, (found,) = planned(LIMITED, None, host)
    assert not steps
    assert (found.kind, found.severity, found.field) == ("impossible", "error", "limits.disk_max")
    assert hint in found.hint
    assert not planned(guest(), None, host)[1]


def test_a_quota_that_is_not_in_force_is_an_error():
    large = replace(SET, size_kib=2**30)
    steps, (found,) = planned(LIMITED, large, runs=True)
    assert not steps
    assert (found.kind, found.severity) == ("differs", "error")
    assert found.problem == "no quota is in force: not all of its /var and /etc is under it"
    assert not any(planned(LIMITED, SET, runs=True))
    # On a file system that is smaller.
    assert not any(planned(LIMITED, replace(SET, size_kib=2**10), runs=True))
    assert not any(planned(LIMITED, large))
    # Its unit has yet to bring its files under it.
    assert not any(planned(LIMITED, large, runs=True, state="activating"))


def test_projects_are_high_and_differ():
    projects = {project_of(f"guest{number}") for number in range(1000)}
    assert len(projects) == 1000
    assert min(projects) >= 2**30
    assert max(projects) < 2**31


def test_less_than_the_guest_has_is_refused():
    full = replace(SET, used_kib=2**19)
    steps, (found,) = planned(guest(limits={"disk_max": "500M"}), full, runs=True)
    assert not steps
    assert (found.kind, found.severity) == ("impossible", "error")
    assert found.problem == "its /var and /etc take 512M, which is more than `disk_max`"
    assert planned(guest(limits={"disk_max": "600M"}), full, runs=True)[0]
    # How much the whole file system has is no guest's.
    assert planned(guest(limits={"disk_max": "500M"}), replace(full, size_kib=2**30), runs=True)[0]


def test_a_quota_that_was_being_set_is_set_or_lifted():
    for seen in (replace(SET, kib=0), DiskLimit(0, "", 0, 0)):
        assert arguments(planned(LIMITED, seen)[0]) == [("private", str(PROJECT), "1048576")]
        assert arguments(planned(guest(), seen)[0]) == [("private", str(PROJECT), "0")]


SIZED = "1 private 1048576\n4096 262144 131072\n4096 {} 131072\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (SIZED.format(262144), DiskLimit(1, "private", 2**20, 2**20, 2**19)),
        (SIZED.format(999999), DiskLimit(1, "private", 2**20, 3999996, 3475708)),
        ("1 shared 0\n", DiskLimit(1, "shared", 0, 0, 0)),
        ("\n4096 262144 131072\n", DiskLimit(0, "", 0, 0)),
        ("x y z\n", DiskLimit(0, "", 0, 0)),
    ],
    ids=["in force", "not in force", "being set", "emptied", "garbage"],
)
def test_what_the_host_says_of_a_quota(answer: str, expected: DiskLimit):
    said = base64.b64encode(answer.encode() + b"\n0").decode()
    (part,) = parse_answer([":: disk-limit web", f"+{said}", ":: done"])
    assert _disk_limit(part) == expected
