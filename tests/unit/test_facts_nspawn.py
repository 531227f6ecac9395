"""Parsing of what systemd, machined and the guests say, and of the files that define them."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyinfra_nspawn.facts.base import Record, Unreadable, parse_answer
from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen, Machine, parse_guests
from tests.unit.answers import (
    answer,
    credential_header,
    cut,
    dropin_header,
    file_header,
    machine_shown,
    part,
    unit_shown,
    value,
)

STEADY = settings(deadline=None, derandomize=True)
DROPINS = "/etc/systemd/system/systemd-nspawn@web.service.d"
STOPPED = {"UnitFileState": "disabled", "ActiveState": "inactive", "SubState": "dead", "MainPID": "0"}
UNITS = "\n".join(
    [
        unit_shown("web", DropInPaths=f"{DROPINS}/50-ostree.conf /run/x.conf", NRestarts="2"),
        unit_shown("web-1", **STOPPED, NeedDaemonReload="yes"),
    ]
)


def guests(
    *more: list[str], units: str = UNITS, machines: str = machine_shown("web")
) -> dict[str, GuestSeen]:
    """Return the guests web, which runs, and web-1, which does not."""
    seen = parse_guests(
        parse_answer(
            answer(
                part("units", units),
                part("machines", machines),
                value("guest web"),
                value("guest web-1"),
                *more,
            )
        )
    )
    assert isinstance(seen, dict), seen
    assert all(isinstance(guest, GuestSeen) for guest in seen.values()), seen
    return seen  # type: ignore[return-value]


def spoilt(*more: list[str]) -> str:
    """Return why guest web is unreadable; guest web-1 is none the worse for it."""
    seen = Guests().process(
        answer(part("units", UNITS), part("machines", machine_shown("web")), *more, value("guest web-1"))
    )
    assert isinstance(seen, dict), seen
    assert isinstance(seen["web-1"], GuestSeen)
    assert isinstance(seen["web"], Unreadable), seen["web"]
    assert seen["web"].reason.isprintable()
    return seen["web"].reason


def asked(
    state: str = "SystemState=degraded\n",
    units: str = "",
    *more: list[str],
    state_code: int = 0,
    units_code: int = 0,
) -> Machine:
    """Return the machine of a guest that answers so."""
    seen = guests(part("system web", state, state_code), part("units-of web", units, units_code), *more)
    assert seen["web-1"].machine is None
    assert seen["web"].machine
    return seen["web"].machine


def texts(found: object) -> list[str]:
    """Return every text of a record, keys included."""
    if isinstance(found, Record):
        return texts(found.to_json())
    if isinstance(found, dict):
        return [text for pair in found.items() for item in pair for text in texts(item)]
    if isinstance(found, (list, tuple)):
        return [text for item in found for text in texts(item)]
    return [found] if isinstance(found, str) else []


def hostile(system: bytes, units: bytes, etc: bytes, code: int = 0) -> None:
    """Have guest web say this, and look at what comes of it."""
    found = guests(
        part("system web", system, code), part("units-of web", units, code), part("etc web", etc, code)
    )
    assert found["web-1"] == guests()["web-1"]
    said = found["web"].machine
    assert said
    assert all(text.isprintable() and len(text) <= 300 for text in texts(said))
    json.dumps(said.to_json())


def test_units_are_told_apart_by_their_whole_name():
    seen = guests()
    assert set(seen) == {"web", "web-1"}
    web, other = seen["web"].unit, seen["web-1"].unit
    assert web
    assert other
    assert web.enabled
    assert web.active
    assert (web.main_pid, web.started_monotonic_us, web.restarts) == (812, 4711, 2)
    assert web.dropin_paths == (f"{DROPINS}/50-ostree.conf", "/run/x.conf")
    assert not other.enabled
    assert not other.active
    assert other.need_daemon_reload


def test_what_systemd_made_of_a_unit():
    nspawn = "/usr/bin/systemd-nspawn --quiet --keep-unit --machine=web"
    shown = unit_shown(
        "web",
        ExecStart=f"{{ path=/usr/bin/systemd-nspawn ; argv[]={nspawn} ; ignore_errors=no ; pid=0 }}",
        DeviceAllow="char-pts rw\n/dev/net/tun rwm",
        MemoryMax="1073741824",
        CPUQuotaPerSecUSec="500ms",
        TasksMax="infinity",
    )
    unit = guests(units=f"{shown}\n{unit_shown('web-1', **STOPPED)}")["web"].unit
    assert unit
    assert unit.exec_start == nspawn
    assert unit.device_allow == ("/dev/net/tun rwm", "char-pts rw")
    assert (unit.memory_max, unit.cpu_quota_us, unit.tasks_max) == ("1073741824", "500ms", "infinity")


def test_a_unit_without_command_or_devices():
    unit = guests()["web"].unit
    assert unit
    assert (unit.exec_start, unit.device_allow) == ("", ())


def test_paths_that_systemctl_quotes():
    shown = unit_shown(
        "web", DropInPaths=rf'"{DROPINS}/my \"own\".conf" {DROPINS}/a.conf "{DROPINS}/b\\x.conf"'
    )
    unit = guests(units=f"{shown}\n{unit_shown('web-1')}")["web"].unit
    assert unit
    assert unit.dropin_paths == (rf'{DROPINS}/my "own".conf', f"{DROPINS}/a.conf", rf"{DROPINS}/b\x.conf")


def test_the_running_definition_is_read_from_the_running_process():
    seen = guests(value("definition web", "0123abcd"))
    assert seen["web"].unit
    assert seen["web"].unit.definition == "0123abcd"
    assert seen["web-1"].unit
    assert seen["web-1"].unit.definition is None


def test_a_definition_that_could_not_be_read_is_none():
    seen = guests(part("definition web", "", 1, "cannot open /proc/812/environ"))
    assert seen["web"].unit
    assert seen["web"].unit.definition is None


def test_a_machine():
    etc = f"/ostree/deploy/host/var/lib/pyinfra-nspawn/web/ostree/deploy/web/deploy/{'a' * 64}.0/etc\n"
    machine = asked(
        "SystemState=degraded\n",
        "nginx.service        loaded failed     failed       The web server\n"
        "flaky.service        loaded activating auto-restart A flaky one\n"
        "srv.mount            loaded failed     failed       /srv\n",
        part("etc web", etc),
    )
    assert (machine.unit, machine.leader) == ("systemd-nspawn@web.service", 900)
    assert machine.system_state == "degraded"
    assert machine.failed_units == ("nginx.service", "srv.mount")
    assert machine.restarting_units == ("flaky.service",)
    assert machine.complaint == ""
    assert machine.deployment == f"{'a' * 64}.0"


def test_a_machine_that_goes_while_it_is_looked_at():
    seen = guests(
        part("system web", "", 1, "Failed to connect to bus: Host is down\nsomething more"),
        part("units-of web", "", 1, "Failed to connect to bus: Host is down"),
        machines="",
    )["web"].machine
    assert seen == Machine(complaint="Failed to connect to bus: Host is down something more")


def test_a_machine_that_comes_while_it_is_looked_at():
    seen = guests(part("system web", "SystemState=starting\n"), part("units-of web"), machines="")[
        "web"
    ].machine
    assert seen == Machine(system_state="starting")


# Case 1.
@pytest.mark.parametrize(
    "description",
    [
        "a\n\nb",
        "\n",
        "\n\n\n",
        "a\n   \n\t\nb",
        "a\n●\nb",
        "a\nb.service",
        "a\nb.service loaded failed",
        "a\nUNIT LOAD ACTIVE SUB DESCRIPTION",
        "a\n\u2028\x85\x0b\x0c\x1c b",
        "x" * 2**16,
    ],
)
def test_a_description_of_many_lines_hides_no_unit(description: str):
    machine = asked(
        units=f"bad.service loaded failed failed {description}\nworse.service loaded failed failed x\n"
    )
    assert machine.failed_units == ("bad.service", "worse.service")


def test_a_description_makes_up_units_of_its_own_guest_at_most():
    machine = asked(units="bad.service loaded failed failed a\nssh.service loaded failed failed x\n")
    assert machine.failed_units == ("bad.service", "ssh.service")


def test_a_unit_is_named_once():
    line = "bad.service loaded failed failed x\n"
    assert asked(units=line * 3).failed_units == ("bad.service",)


# Case 19.
@pytest.mark.parametrize(
    ("output", "code", "complaint"),
    [
        ("Failed to list units: Connection timed out\n", 1, "Failed to list units: Connection timed out"),
        ("Failed loaded failed failed\n", 1, "Failed loaded failed failed"),
        ("", 124, "timed out"),
        ("ssh.service loaded failed failed half of what it wo", 124, "timed out"),
    ],
)
def test_units_that_could_not_be_listed_are_a_complaint_and_no_unit(output: str, code: int, complaint: str):
    machine = asked(units=output, units_code=code)
    assert (machine.complaint, machine.failed_units, machine.restarting_units) == (complaint, (), ())
    assert machine.system_state == "degraded"


def test_more_units_than_an_answer_holds_are_a_complaint():
    seen = guests(
        part("system web", "SystemState=degraded\n"),
        cut("units-of web", "x.service loaded failed failed x\n" * 2000),
    )["web"].machine
    assert seen
    assert (seen.complaint, seen.failed_units) == ("too much output", ())


@pytest.mark.parametrize(
    ("state", "code", "complaint"),
    [
        ("", 124, "timed out"),
        ("SystemState=running\n", 124, "timed out"),
        ("", 1, "exit code 1"),
        ("", 0, "no state of a system: "),
        (
            "Failed to connect to bus: Host is down\n",
            0,
            "no state of a system: Failed to connect to bus: Host is down",
        ),
        ("SystemState=\x1b[2Jrunning\n", 0, "no state of a system: SystemState=?[2Jrunning"),
        (
            "SystemState=running\nSystemState=degraded\n",
            0,
            "no state of a system: SystemState=running SystemState=degraded",
        ),
    ],
)
def test_a_system_that_says_no_state_is_a_complaint(state: str, code: int, complaint: str):
    machine = asked(state, state_code=code)
    assert (machine.system_state, machine.complaint) == ("", complaint)


# Whatever a guest says, it is said of that guest alone, and reaches no terminal as it is.
@STEADY
@given(system=st.binary(), units=st.binary(), etc=st.binary(), code=st.integers(0, 255))
@example(b"\x1b[2J\n", b"\x1b]0;x\x07.service loaded failed failed x\n", b"/x\x1b[2J/etc", 0)
@example(b":: done\n", b":: guest web-1\n|\n:: directory web-1\n|700\n", b"\xff\0/etc\n", 0)
@example(b"", "a\u202ecod.service loaded failed failed x".encode(), "/\u202e/etc".encode(), 0)
def test_whatever_a_guest_says(system: bytes, units: bytes, etc: bytes, code: int):
    hostile(system, units, etc, code)


@pytest.mark.parametrize("byte", [b"\n", b" ", b"/", b"a", b"\xff", b"\x1b", b"."])
def test_a_mebibyte_of_anything(byte: bytes):
    flood = byte * 2**20
    hostile(b"SystemState=" + flood, flood + b"x.service loaded failed failed x\n", flood)


@STEADY
@given(st.lists(st.tuples(st.sampled_from(["system", "units-of", "etc"]), st.binary()), max_size=4))
def test_what_was_cut_of_a_guest_spoils_no_other(parts: list[tuple[str, bytes]]):
    assert guests(*(cut(f"{kind} web", output) for kind, output in parts))["web-1"] == guests()["web-1"]


def test_a_cut_that_ends_in_a_long_number_spoils_no_other():
    """Python refuses to read a number of so many digits."""
    machine = guests(part("system web", "SystemState=running\n"), cut("units-of web", b"\n" + b"9" * 65535))
    assert machine["web"].machine
    assert machine["web"].machine.complaint == "too much output"


def test_what_a_guest_says_cannot_pass_for_a_header():
    header = file_header("web", "/etc/x")
    assert asked(f":: done\n:: {header}\n+QQ==\n").failed_units == ()
    seen = guests(part("system web", f":: done\n:: {header}"))
    assert seen["web"].files == {}


@pytest.mark.parametrize(
    "name",
    ["units", "machines", "guest", "file", "system", "done", "root", "user", "status", "host", "-x", "web"],
)
def test_a_guest_named_like_a_part(name: str):
    seen = Guests().process(
        answer(
            part("units", unit_shown(name)),
            part("machines", machine_shown(name)),
            value(f"guest {name}"),
            value(f"directory {name}", "700 0:0"),
            part(f"system {name}", "SystemState=running\n"),
        )
    )
    assert isinstance(seen, dict)
    assert set(seen) == {name}
    guest = seen[name]
    assert isinstance(guest, GuestSeen)
    assert guest.machine
    assert (guest.directory, guest.machine.system_state) == ("700 0:0", "running")


def test_files_credentials_and_links():
    own, template = f"{DROPINS}/my own.conf", "/etc/systemd/system/systemd-nspawn@.service.d/override.conf"
    seen = guests(
        value("directory web", "700 0:0"),
        part("current web", f"ostree/deploy/web/deploy/{'b' * 64}.1"),
        part("stateroot web", "/sysroot/ostree/deploy/web"),
        part(file_header("web", own), "[Service]\n\nNice=1\n"),
        part(dropin_header("web", template), "[Service]\nExecStart=\n"),
        value(credential_header("web", "tmpfiles.extra"), "e3b0"),
        value("image web", "/var/lib/machines/web"),
        value("refused web", "4711"),
        value("unwritten web", ""),
        value("trial web", "interrupted"),
    )
    web, other = seen["web"], seen["web-1"]
    assert web.directory == "700 0:0"
    assert web.current_deployment == f"{'b' * 64}.1"
    assert web.stateroot == "/sysroot/ostree/deploy/web"
    assert (web.files[own].content, web.files[own].mode) == ("[Service]\n\nNice=1\n", "644")
    assert web.dropins == {template: "[Service]\nExecStart=\n"}
    assert web.credentials["tmpfiles.extra"].content == "e3b0"
    assert web.credentials["tmpfiles.extra"].mode == "600"
    assert (web.image, web.refused, web.trial) == ("/var/lib/machines/web", "4711", "interrupted")
    assert web.unwritten
    assert other == GuestSeen(unit=other.unit)


# Case 2.
@pytest.mark.parametrize("content", [b"# caf\xe9\n", b"\xff\xfe\0", b"a\0b", "# ä\r\n".encode("utf-16")])
def test_a_file_of_any_bytes_is_seen_by_name_and_equals_none_of_ours(content: bytes):
    seen = guests(
        part(file_header("web", "/etc/x.conf"), content), part(dropin_header("web", "/y.conf"), content)
    )
    text = seen["web"].files["/etc/x.conf"].content
    assert text == seen["web"].dropins["/y.conf"]
    assert text.encode() != content or b"\0" in content


@pytest.mark.parametrize("name", [b"caf\xe9.conf", b"a b\n|x.conf", b"\x1b[2J.conf", "ä.conf".encode()])
def test_a_file_of_any_name(name: bytes):
    path = f"{DROPINS}/".encode() + name
    (found,) = guests(part(file_header("web", path), "x"))["web"].files
    assert found.encode(errors="surrogateescape") == path
    json.dumps(found)


@pytest.mark.parametrize(
    "header",
    [
        file_header("web", "/etc/x.conf"),
        dropin_header("web", "/etc/x.conf"),
        credential_header("web", "/etc/x.conf"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_spoils_its_guest_alone(header: str):
    assert spoilt(value("guest web"), part(header, "", 1, "cat: I/O error")) == "/etc/x.conf: cat: I/O error"
    assert spoilt(value("guest web"), cut(header, "x" * 2**18)) == "/etc/x.conf: too much output"


def test_a_link_that_cannot_be_read_spoils_its_guest_alone():
    assert spoilt(value("guest web"), part("current web", "", 1)) == "current: exit code 1"


def test_a_header_that_is_cut_spoils_its_guest_alone():
    assert "IndexError" in spoilt(value("guest web"), part("file web 644", "x"))
    assert "no base64" in spoilt(value("guest web"), part("file web 644 0:0 /etc/x", "x"))


def test_a_unit_that_is_incomplete_spoils_its_guest_alone():
    """As by a newline in a command of somebody else's drop-in, which systemctl prints as it is."""
    broken = "Id=systemd-nspawn@web.service\nExecStart={ argv[]=sh -c \n\nid ; }\n"
    seen = Guests().process(
        answer(part("units", f"{broken}\n{unit_shown('web-1')}"), value("guest web"), value("guest web-1"))
    )
    assert isinstance(seen, dict)
    assert seen["web"] == Unreadable("unexpected answer, KeyError('LoadState')")
    assert isinstance(seen["web-1"], GuestSeen)


def test_a_unit_that_is_an_alias_of_another_is_not_taken_for_absent():
    shown = f"{unit_shown('web').replace('systemd-nspawn@web', 'my-web')}\n{unit_shown('web-1')}"
    seen = Guests().process(answer(part("units", shown), value("guest web"), value("guest web-1")))
    assert isinstance(seen, dict)
    assert seen["web"] == Unreadable(
        "systemd shows no systemd-nspawn@web.service: it may be an alias of another unit"
    )
    assert isinstance(seen["web-1"], GuestSeen)


def test_no_guests():
    assert Guests().process(answer(part("units", "\n"))) == {}


def test_systemd_that_does_not_answer_is_unreadable():
    seen = Guests().process(answer(part("units", "", 1, "Failed to connect to bus"), value("guest web")))
    assert seen == Unreadable("units: Failed to connect to bus")


def test_without_root_nothing_is_said():
    seen = Guests().process(answer(part("root", "", 1, "this takes root")))
    assert seen == Unreadable("root: this takes root")


@pytest.mark.parametrize(
    "output",
    [
        ["<html>"],
        answer(),
        answer(value("guest web")),
        answer(part("units", UNITS), value("guest")),
        answer(part("units", UNITS), value("guest web"))[:-1],
        answer(cut("units", UNITS), value("guest web")),
    ],
)
def test_an_answer_that_is_none_is_unreadable(output: list[str]):
    assert isinstance(Guests().process(output), Unreadable)
    assert isinstance(Guests.default(), Unreadable)


@pytest.mark.parametrize(
    ("shown", "started"),
    [
        ("Fri 2026-01-02 03:04:05 UTC", "2026-01-02T03:04:05Z"),
        ("", ""),
        ("n/a", ""),
        ("Fri 2026-01-02 03:04:05 CET", ""),
    ],
)
def test_when_a_guest_started(shown: str, started: str):
    units = unit_shown("web", ExecMainStartTimestamp=shown) + "\n" + unit_shown("web-1")
    assert guests(units=units)["web"].unit.started == started


@pytest.mark.parametrize(
    ("shown", "size"), [("1048576", 1048576), ("[not set]", None), (str(2**64 - 1), None), ("", None)]
)
def test_the_memory_of_a_guest(shown: str, size: int | None):
    units = unit_shown("web", MemoryCurrent=shown) + "\n" + unit_shown("web-1")
    assert guests(units=units)["web"].unit.memory_bytes == size


ADDRESSES = (
    "4 127.0.0.1\n4 192.168.1.5\n4 192.168.1.5\n6 00000000000000000000000000000001\n"
    "6 fe80000000000000000000000000abcd\n6 20010db8000000000000000000000005\n"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ADDRESSES, ("192.168.1.5", "2001:db8::5")),
        ("", ()),
        ("4 1.2.3.4\nrubbish\n", ()),
        ("4 1.2.3.400\n", ()),
    ],
)
def test_the_addresses_of_a_guest(text: str, found: tuple[str, ...]):
    seen = guests(part("system web", "SystemState=running\n"), part("addresses web", text))
    assert seen["web"].machine.addresses == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("8\t/etc\n12\t/var\n20\ttotal\n", 20480),
        ("du: cannot access '/var/x': No such file or directory\n20\ttotal\n", 20480),
        ("-20\ttotal\n", None),
        (f"{'9' * 16}\ttotal\n", None),
        ("20\ttotal\n\x1b[2J", None),
        ("", None),
    ],
)
def test_what_the_files_of_a_guest_take(text: str, found: int | None):
    seen = guests(part("system web", "SystemState=running\n"), part("disk web", text))
    assert seen["web"].machine.disk_bytes == found


def test_the_machine_id_that_machined_knows():
    assert guests(machines=machine_shown("web") + f"Id={'ab' * 16}\n")["web"].machine.machine_id == "ab" * 16
