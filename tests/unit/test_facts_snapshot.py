"""Everything of a host in one answer, and what the answer of a change makes of it."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable, parse_answer
from pyinfra_nspawn.facts.host import Host
from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot
from pyinfra_nspawn.facts.snapshot import Snapshot, SnapshotFacts, parse_snapshot
from tests.unit.answers import answer, cut, part, path_header, unit_shown, value, word

COMMIT = "a" * 64
DF = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda4 9 4 5 50% /\n"


def host_parts(user: str = "0") -> list[list[str]]:
    return [
        value("user", user),
        value("ostree-booted", "yes"),
        value("kernel", "6.12.9"),
        part("commands", "flock\n"),
        value("cgroup", "cgroup2fs"),
        part("sysroot-options", "ro\n"),
        part("state-file-system", f"xfs\n{DF.splitlines()[1]}\n"),
        part("user-namespaces", "1\n"),
        part("inotify-instances", "128\n"),
    ]


def sysroot_parts(name: str, *stateroots: str) -> list[list[str]]:
    status = "".join(f"  {stateroot} {COMMIT}.0\n    Version: 1\n" for stateroot in stateroots)
    return [
        part(f"status {name}", status or "No deployments.\n"),
        part(f"stateroots {name}", "".join(f"{stateroot}\n" for stateroot in stateroots)),
        part(f"refs {name}"),
    ]


def guest_parts(*names: str, directory: bool = True) -> list[list[str]]:
    units = part("units", "\n".join(unit_shown(name) for name in names))
    guests = [
        lines
        for name in names
        for lines in (value(f"guest {name}"), *([value(f"directory {name}", "700 0:0")] if directory else []))
    ]
    return [units, *guests]


WHOLE = answer(
    *host_parts(),
    *sysroot_parts("/", "fedora"),
    *sysroot_parts("web", "web"),
    *sysroot_parts("db", "db"),
    value(f"commit {COMMIT}", "present"),
    value(path_header("/srv"), word("/var/srv")),
    *guest_parts("web", "db"),
)
BEFORE = parse_snapshot(WHOLE)


def updated(*parts: list[str], before: Snapshot = BEFORE, sysroots: bool = True) -> Snapshot:
    return before.updated(parse_answer(answer(*parts)), sysroots=sysroots)


def sysroots_of(snapshot: Snapshot) -> HostSysroots:
    assert isinstance(snapshot.sysroots, HostSysroots)
    return snapshot.sysroots


def test_a_whole_answer():
    assert isinstance(BEFORE.host, Host)
    assert isinstance(BEFORE.guests, dict)
    assert all(isinstance(guest, GuestSeen) for guest in BEFORE.guests.values())
    assert set(BEFORE.guests) == set(sysroots_of(BEFORE).guests) == {"web", "db"}
    assert sysroots_of(BEFORE).paths == {"/srv": "/var/srv"}
    assert isinstance(sysroots_of(BEFORE).host, Sysroot)
    assert SnapshotFacts().process(WHOLE) == BEFORE


@pytest.mark.parametrize("output", [[], ["<html>"], WHOLE[:-1], WHOLE[:9]])
def test_an_answer_that_is_not_whole_leaves_nothing_known(output: list[str]):
    seen = SnapshotFacts().process(output)
    assert all(isinstance(side, Unreadable) for side in (seen.host, seen.sysroots, seen.guests))


def test_no_answer():
    seen = SnapshotFacts.default()
    assert all(isinstance(side, Unreadable) for side in (seen.host, seen.sysroots, seen.guests))


def test_what_is_missing_is_unreadable_and_nothing_else_is():
    seen = parse_snapshot(answer(*host_parts(), *sysroot_parts("/", "fedora")))
    assert isinstance(seen.host, Host)
    assert isinstance(sysroots_of(seen).host, Sysroot)
    assert seen.guests == Unreadable("the guests were not read")
    seen = parse_snapshot(answer(*guest_parts("web")))
    assert isinstance(seen.host, Unreadable)
    assert isinstance(sysroots_of(seen).host, Unreadable)
    assert isinstance(seen.guests, dict)


def test_without_root_the_reason_is_given():
    seen = parse_snapshot(answer(*host_parts("1000"), part("root", "", 1, "this takes root")))
    assert isinstance(seen.host, Host)
    assert seen.guests == Unreadable("root: this takes root")


def test_a_header_without_its_name_is_unreadable_on_its_side_alone():
    seen = parse_snapshot(answer(*host_parts(), value("guest"), part("units"), *sysroot_parts("/", "fedora")))
    assert isinstance(seen.guests, Unreadable)
    assert isinstance(seen.host, Host)
    seen = parse_snapshot(answer(*host_parts(), part("status", ""), *guest_parts("web")))
    assert isinstance(seen.sysroots, Unreadable)
    assert isinstance(seen.guests, dict)


def test_an_answer_that_says_nothing_changes_nothing():
    assert updated() == BEFORE


def test_an_answer_about_one_guest_leaves_the_others_as_they_were():
    seen = updated(*sysroot_parts("web", "web", "new"), *guest_parts("web", directory=False))
    assert isinstance(seen.guests, dict)
    assert isinstance(BEFORE.guests, dict)
    assert seen.guests["db"] is BEFORE.guests["db"]
    web = seen.guests["web"]
    assert isinstance(web, GuestSeen)
    assert web.directory is None
    own = sysroots_of(seen).guests
    assert own["db"] is sysroots_of(BEFORE).guests["db"]
    assert isinstance(own["web"], Sysroot)
    assert own["web"].stateroots == ("web", "new")
    assert sysroots_of(seen).host is sysroots_of(BEFORE).host
    assert sysroots_of(seen).paths == {"/srv": "/var/srv"}
    assert seen.host is BEFORE.host


def test_a_guest_that_is_new():
    seen = updated(*sysroot_parts("mail", "mail"), *guest_parts("mail"))
    assert isinstance(seen.guests, dict)
    assert set(seen.guests) == set(sysroots_of(seen).guests) == {"web", "db", "mail"}


def test_a_private_sysroot_that_is_gone():
    seen = updated(*guest_parts("web"))
    assert set(sysroots_of(seen).guests) == {"db"}


def test_an_answer_that_says_nothing_of_sysroots_leaves_them_as_they_were():
    """As that of an `await`, which asks the guests alone."""
    seen = updated(*guest_parts("web"), sysroots=False)
    assert sysroots_of(seen) is sysroots_of(BEFORE)
    assert isinstance(seen.guests, dict)


def test_a_private_sysroot_that_became_unreadable():
    own = sysroots_of(updated(part("status web", "", 1, "error: no"), *guest_parts("web"))).guests
    assert own["web"] == Unreadable("status: error: no")
    assert isinstance(own["db"], Sysroot)


def test_the_hosts_own_sysroot_keeps_what_was_asked_for():
    seen = sysroots_of(updated(*sysroot_parts("/", "fedora", "web"), *guest_parts("web")))
    assert isinstance(seen.host, Sysroot)
    assert seen.host.stateroots == ("fedora", "web")
    assert seen.host.commits == {COMMIT: "present"}
    assert seen.paths == {"/srv": "/var/srv"}
    assert set(seen.guests) == {"db"}


def test_the_hosts_own_sysroot_that_became_unreadable():
    seen = sysroots_of(updated(part("status /", "", 1, "error: no")))
    assert seen.host == Unreadable("status: error: no")
    assert set(seen.guests) == {"web", "db"}


def test_the_host():
    seen = updated(*host_parts("1000"))
    assert isinstance(seen.host, Host)
    assert not seen.host.root
    assert replace(seen, host=BEFORE.host) == BEFORE


@pytest.mark.parametrize(
    "units", [part("units", "", 1, "no bus"), cut("units", "Id=x"), part("root", "", 1, "no")]
)
def test_a_guest_that_became_unreadable_spoils_no_other(units: list[str]):
    seen = updated(units, value("guest web"), *sysroot_parts("web", "web"))
    assert isinstance(seen.guests, dict)
    assert isinstance(BEFORE.guests, dict)
    assert isinstance(seen.guests["web"], Unreadable)
    assert seen.guests["db"] is BEFORE.guests["db"]


def test_what_is_said_of_one_guest_makes_nothing_known_of_all():
    nothing = Unreadable("the answer broke off")
    before = Snapshot(nothing, nothing, nothing)
    seen = updated(
        *sysroot_parts("/", "fedora"), *sysroot_parts("web", "web"), *guest_parts("web"), before=before
    )
    assert (seen.guests, seen.sysroots) == (nothing, nothing)
