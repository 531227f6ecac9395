"""Parsing of what systemd, machined and the guests' files say."""

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import GuestSeen, parse_guests
from tests.unit.answers import answer, part

SHOWN = """\
Id=systemd-nspawn@web.service
LoadState=loaded
UnitFileState=enabled
ActiveState=active
SubState=running
Result=success
NeedDaemonReload=no
FragmentPath=/usr/lib/systemd/system/systemd-nspawn@.service
DropInPaths=/etc/systemd/system/systemd-nspawn@web.service.d/50-ostree.conf /run/x.conf
MainPID=812
ExecMainStartTimestampMonotonic=4711
NRestarts=2

Id=systemd-nspawn@web-1.service
LoadState=loaded
UnitFileState=disabled
ActiveState=inactive
SubState=dead
Result=success
NeedDaemonReload=yes
FragmentPath=/usr/lib/systemd/system/systemd-nspawn@.service
DropInPaths=
MainPID=0
ExecMainStartTimestampMonotonic=0
NRestarts=0
"""
MACHINES = """[{"machine":"web","class":"container","service":"systemd-nspawn","os":"debian","version":"13",
"addresses":"10.0.0.5\\nfe80::1%3"}]"""


def guests(*more: list[str]) -> dict[str, GuestSeen]:
    seen = parse_guests(answer(part("units", SHOWN), *more, part("machines", MACHINES.replace("\n", ""))))
    assert not isinstance(seen, Unreadable), seen
    return seen


def test_units_are_told_apart_by_their_whole_name():
    seen = guests()
    assert set(seen) == {"web", "web-1"}
    web, other = seen["web"].unit, seen["web-1"].unit
    assert web
    assert other
    assert web.enabled
    assert web.active
    assert web.main_pid == 812
    assert web.dropin_paths[1] == "/run/x.conf"
    assert not other.enabled
    assert not other.active
    assert other.need_daemon_reload


def test_the_running_definition_is_read_from_the_running_process():
    seen = guests(part("definition web", "0123abcd"))
    assert seen["web"].unit
    assert seen["web"].unit.definition == "0123abcd"
    assert seen["web-1"].unit
    assert seen["web-1"].unit.definition is None


def test_a_machine():
    seen = guests(
        part("machine web", "Leader=900\nUnit=systemd-nspawn@web.service\nClass=container"),
        part(
            "etc web",
            f"/ostree/deploy/host/var/lib/pyinfra-nspawn/web/ostree/deploy/web/deploy/{'a' * 64}.0/etc",
        ),
        part("system web", "degraded", 1),
        part("failed web", "nginx.service loaded failed failed The web server"),
    )
    machine = seen["web"].machine
    assert machine
    assert machine.leader == 900
    assert (machine.os, machine.version) == ("debian", "13")
    assert machine.addresses == ("10.0.0.5", "fe80::1%3")
    assert machine.system_state == "degraded"
    assert machine.failed_units == ("nginx.service",)
    assert machine.deployment == f"{'a' * 64}.0"


def test_a_machine_that_does_not_answer():
    seen = guests(part("machine web", "Leader=900"), part("system web", "", 124))
    assert seen["web"].machine
    assert seen["web"].machine.system_state == ""


def test_files_credentials_and_current():
    path = "/etc/systemd/system/systemd-nspawn@web.service.d/my own.conf"
    seen = guests(
        part("directory web", "700 0:0"),
        part("current web", f"ostree/deploy/web/deploy/{'b' * 64}.1"),
        part(f"file web 644 0:0 {path}", "[Service]\n\nNice=1\n"),
        part("credential web tmpfiles.extra 600", "e3b0"),
    )["web"]
    assert seen.directory == "700 0:0"
    assert seen.current_deployment == f"{'b' * 64}.1"
    assert seen.files[path].content == "[Service]\n\nNice=1\n"
    assert seen.credentials["tmpfiles.extra"].content == "e3b0"


def test_a_machine_that_is_gone_before_it_was_looked_at():
    seen = guests(
        part("machine web", "Could not get path to machine: No machine 'web' known"),
        part("etc web", "/x.sh: cannot open /proc//mountinfo: No such file", 2),
        part("system web", "Failed to connect to bus: Host is down\nsomething more", 1),
    )["web"].machine
    assert seen
    assert seen.deployment is None
    assert seen.leader == 0


def test_no_guests():
    assert parse_guests(answer(part("units"), part("machines", "No machines."))) == {}


def test_what_a_guest_says_cannot_pass_for_a_header():
    seen = guests(part("machine web", "Leader=1"), part("system web", ":: done\n:: file web 644 0:0 /etc/x"))
    assert seen["web"].files == {}


def test_systemd_that_does_not_answer_is_unreadable():
    seen = parse_guests(answer(part("units", "Failed to connect to bus", 1)))
    assert seen == Unreadable("units: Failed to connect to bus")


def test_without_root_nothing_is_said():
    seen = parse_guests(answer(part("host /", "this takes root", 1)))
    assert seen == Unreadable("host: this takes root")


def test_a_definition_that_could_not_be_read_is_none():
    seen = guests(part("definition web", "cannot open /proc/812/environ", 1))
    assert seen["web"].unit
    assert seen["web"].unit.definition is None


def test_garbage_is_unreadable():
    assert isinstance(parse_guests(["<html>"]), Unreadable)
    assert isinstance(parse_guests(answer(part("units", "Id=x"))), Unreadable)


def test_the_link_that_claims_a_stateroot_of_the_hosts():
    link = "/sysroot/ostree/deploy/web"
    seen = guests(part("directory web", "700 0:0"), part("stateroot web", link))
    assert (seen["web"].stateroot, seen["web-1"].stateroot) == (link, None)
