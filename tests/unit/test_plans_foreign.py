"""What is foreign in a guest's place is refused and left alone, whatever else it is."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen, Machine
from pyinfra_nspawn.plans.dropins import vital_keys
from tests.unit.seen import (
    BESIDE,
    BOOT,
    DROPINS,
    LIMITS,
    NEVER,
    OLD,
    SETTINGS,
    STOPPED,
    UNIT,
    converged,
    deployment,
    error,
    guest,
    host_sysroot,
    own,
    plan,
    running,
    verbs,
)
from tests.unit.systemd_syntax import sections

ADOPTION = "Adopt it with `--data adopt=web`, or give the guest another name."
THEIRS = FileSeen("[Service]\n", "644")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (BOOT, "is not ours"),
        (SETTINGS, "is not ours"),
        ("/run/systemd/nspawn/web.nspawn", "is not ours"),
        (f"{DROPINS}/10-service.conf", "is a foreign drop-in"),
    ],
)
def test_a_file_in_the_guest_s_place(path: str, what: str):
    found = error(plan(seen=GuestSeen(files={path: THEIRS})), "foreign")
    assert (found.guest, found.field, found.problem) == ("web", path, f"{path} {what}")
    assert found.hint == ADOPTION


@pytest.mark.parametrize(
    "folder",
    [
        DROPINS,
        "/run/systemd/system/systemd-nspawn@web.service.d",
        "/etc/systemd/system.control/systemd-nspawn@web.service.d",
    ],
)
def test_another_drop_in_of_the_unit_that_systemd_has_loaded(folder: str):
    seen = running(guest(), dropin_paths=(BOOT, f"{folder}/10-service.conf", LIMITS))
    found = error(plan(seen=seen, private=own(OLD)), "foreign")
    assert found.field == f"{folder}/10-service.conf"


def test_a_drop_in_of_the_unit_that_only_its_content_was_read_of():
    path = "/run/systemd/system/systemd-nspawn@web.service.d/zz.conf"
    assert error(converged(guest(), dropins={path: "[Service]\nNice=5\n"})).field == path


def test_a_byte_that_is_no_utf_8_makes_a_file_foreign_by_name_and_spoils_nothing_else():
    """Case 2."""
    path = f"{DROPINS}/10-caf.conf"
    found = error(plan(seen=GuestSeen(files={path: FileSeen("# caf\ufffd\n", "644")})))
    assert (found.kind, found.field) == ("foreign", path)
    assert verbs(plan(guest(name="db"), seen=GuestSeen(files={path: THEIRS}))) != []


def test_a_file_of_ours_with_such_a_byte_is_written_anew():
    seen = running(guest())
    edited = replace(seen.files[LIMITS], content=seen.files[LIMITS].content + "# caf\ufffd\n")
    assert verbs(converged(guest(), files={**seen.files, LIMITS: edited})) == ["definition"]


def test_a_unit_file_that_replaces_the_template():
    path = "/etc/systemd/system/systemd-nspawn@web.service"
    found = error(plan(seen=running(guest(), fragment_path=path), private=own(OLD)), "foreign")
    assert found.problem == f"{path} replaces the unit's template"


def test_a_machine_of_that_name_from_another_unit():
    found = error(plan(seen=GuestSeen(machine=Machine(unit="machine-web.scope"))), "foreign")
    assert (found.guest, found.field, found.seen) == ("web", "machine", "machine-web.scope")
    assert found.problem == "a machine of that name runs already, from machine-web.scope"
    assert found.hint == "Stop it. Give the guest another name."


@pytest.mark.parametrize("adopt", [False, True])
@pytest.mark.parametrize("unit", [UNIT, STOPPED, NEVER, None])
def test_a_container_of_machinectl_s_is_never_replaced(unit, adopt: bool):
    """Case 7: running, only enabled, or only there; to adopt it is no way out."""
    tree = "/var/lib/machines/web"
    unit = replace(unit, dropin_paths=()) if unit else None
    found = error(plan(guest(adopt=adopt), seen=GuestSeen(unit=unit, image=tree)), "foreign")
    assert (found.guest, found.field, found.seen) == ("web", "image", tree)
    assert found.problem == f"{tree} is a container or image of that name"
    assert found.hint == "Give the guest another name."


@pytest.mark.parametrize("adopt", [False, True])
@pytest.mark.parametrize(("unit", "state"), [(UNIT, "runs"), (STOPPED, "is enabled")])
def test_a_unit_that_runs_or_is_enabled_while_nothing_of_it_is_ours(unit, state: str, adopt: bool):
    seen = GuestSeen(unit=replace(unit, dropin_paths=()))
    found = error(plan(guest(adopt=adopt), seen=seen), "foreign")
    assert (found.field, found.seen) == ("unit", unit.active_state)
    assert found.problem == f"systemd-nspawn@web.service {state}, and nothing of it is ours"
    assert found.hint == "Disable and stop it, or give the guest another name."


def test_a_tree_of_that_name_that_came_later_does_not_touch_a_guest_of_ours():
    assert not converged(guest(), image="/var/lib/machines/web").findings


def test_a_removed_guest_s_unit_is_ours():
    """Its directory, with its /var, is kept."""
    seen = GuestSeen(unit=replace(NEVER, unit_file_state="enabled"), directory="700 0:0")
    assert plan(seen=seen, private=own()).steps


def test_a_stateroot_of_that_name_in_the_host_s_sysroot():
    found = error(plan(host=BESIDE), "foreign")
    assert (found.guest, found.field, found.seen) == ("web", "stateroot", "web")
    assert found.problem == "the host's /ostree has a stateroot web that is not ours"
    assert found.hint == ADOPTION


def test_the_stateroot_that_the_host_runs_from():
    host = host_sysroot(deployments=(deployment(OLD, booted=True),), stateroots=("web",))
    found = error(plan(guest(adopt=True), host=host), "foreign")
    assert found.problem == "the host itself was booted from stateroot web"
    assert found.hint == "Give the guest another name."


def test_a_stateroot_of_that_name_does_not_meet_a_private_one():
    assert not plan(seen=running(guest()), private=own(OLD), host=BESIDE).errors


def test_a_stateroot_in_the_way_of_a_guest_that_has_its_own():
    wanted = guest(sysroot="shared")
    found = error(plan(wanted, seen=running(guest()), private=own(OLD), host=BESIDE), "foreign")
    assert found.problem == "the host's /ostree has a stateroot web that is not this guest's"
    assert found.hint == "Give one of them another name."


# Drop-ins of the template and of all services.

TEMPLATE = "/etc/systemd/system/systemd-nspawn@.service.d/override.conf"
FEDORA = "/usr/lib/systemd/system/service.d/10-timeout-abort.conf"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("[Service]\nExecStart=\nExecStart=systemd-nspawn --boot\n", "ExecStart"),  # case 8
        ("[Service]\nDeviceAllow=block-* rwm\n", "DeviceAllow"),  # case 9
        (
            "[Service]\nNice=5\n[Unit]\nConditionPathExists=/x\nBindsTo=a.service\n",
            "ConditionPathExists, BindsTo",
        ),
    ],
)
def test_a_drop_in_of_the_template_that_the_guest_s_wall_or_start_rests_on(text: str, keys: str):
    for adopt in (False, True):
        found = error(
            plan(
                guest(adopt=adopt), seen=replace(running(guest()), dropins={TEMPLATE: text}), private=own(OLD)
            ),
            "foreign",
        )
        assert (found.guest, found.field, found.seen) == ("web", TEMPLATE, keys)
        assert found.problem == f"{TEMPLATE} changes the guest's unit: it sets {keys}"
        assert found.hint == "Move these settings to drop-ins of the units that need them."


def test_a_drop_in_that_a_guest_can_live_with():
    fine = {
        FEDORA: "[Service]\nTimeoutStopFailureMode=abort\n",
        TEMPLATE: "[Service]\nNice=5\nMemoryHigh=2G\n",
    }
    assert not converged(guest(), dropins=fine).findings


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        ("nonsense\n[Service\nExecStart=x\n", ()),
        ("[Service]\n  PrivateUsers = yes \n", ("PrivateUsers",)),
        ("[Service]\n# ExecStart=x\n;User=x\nNice=5\n", ()),
        ("[Service]\nNice=5 \\\nExecStart=x\nUser=y\n", ("User",)),  # ExecStart is part of a value
        ("[Service]\nNice=5 \\\n# a comment between\nExecStart=x\n", ()),
        ("[Install]\nAlias=x\n[Unit]\nAfter=a\nJobTimeoutSec=1\n", ()),
        ("[Unit]\nExecStart=x\n", ()),
        ("[Service]\rUser=x\n", ("User",)),
        ("[Service]\r\nNice=5 \\\r\nExecStart=x\r\n", ()),
        ("\ufeff[Service]\nExecStart=x\n", ("ExecStart",)),
        ("[Service]\nNice=5 \\ \nExecStart=x\n", ("ExecStart",)),  # a blank after the backslash
        ("[Service]\nNice=5 \\\\\nExecStart=x\n", ("ExecStart",)),  # a backslash that is escaped
        ("[Service]\nLoadCredential=a\nSetCredential=b\n", ("LoadCredential", "SetCredential")),
        ("[Service]\nImportCredential=c\nCredentials=d\n", ("ImportCredential",)),
        ("[Service]\nUser=a\nUser=b\nTimeoutStopSec=1\nCPUWeight=9\nOOMPolicy=stop\n", ("User",)),
        ("[Service]\nEnvironment=\ufffd\nKillMode=none\n", ("Environment", "KillMode")),
    ],
)  # fmt: skip
def test_settings_are_found_as_systemd_finds_them(text: str, keys: tuple[str, ...]):
    assert vital_keys(text) == keys


PIECE = st.sampled_from(
    [
        *("[Service]", "[Unit]", "[Install]", "ExecStart=x", "Nice=5", "User=", "ConditionHost=y"),
        *("#", ";", "# ExecStart=x", "\\", " ", "\t", "", "Description=a b"),
    ]
)
LINES = st.lists(st.lists(PIECE, max_size=3).map("".join), max_size=8).map("\n".join)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(text=LINES)
def test_no_spelling_hides_a_setting(text: str):
    """Wherever the strict reader of systemd's syntax understands a file, both find the same."""
    try:
        read = sections(text)
    except ValueError:
        return
    keys = [key for name, found in read for key, _ in found if is_vital(name, key)]
    assert vital_keys(text) == tuple(dict.fromkeys(keys))


def is_vital(section: str, key: str) -> bool:
    return (section, key) in {("Service", "ExecStart"), ("Service", "User"), ("Unit", "ConditionHost")}


# What systemd made of our own files.


@pytest.mark.parametrize(
    ("unit", "setting"),
    [
        ({"exec_start": "systemd-nspawn --boot --machine=web"}, "ExecStart"),
        ({"exec_start": "/usr/bin/systemd-nspawn --quiet"}, "ExecStart"),
        ({"device_allow": ("/dev/net/tun rwm", "block-* rwm", "char-pts rw")}, "DeviceAllow"),
        ({"device_allow": ("char-pts rw",)}, "DeviceAllow"),
    ],
)
def test_an_effective_setting_that_is_not_ours(unit, setting: str):
    """Cases 8 and 9, however it came about."""
    found = error(plan(seen=running(guest(), **unit), private=own(OLD)), "foreign")
    assert (found.guest, found.field) == ("web", f"unit.{setting}")
    assert found.seen
    assert found.wanted
    assert "systemctl cat systemd-nspawn@web.service" in found.hint


def test_a_command_s_program_may_be_shown_with_its_directory():
    seen = running(guest())
    shown = f"/usr/bin/{seen.unit.exec_start}"
    assert not plan(seen=running(guest(), exec_start=shown), private=own(OLD)).findings


@pytest.mark.parametrize(
    "unit",
    [{"need_daemon_reload": True}, {"load_state": "error"}, {"dropin_paths": (BOOT,)}],
)
def test_a_setting_is_compared_only_where_our_files_are_loaded(unit):
    seen = running(guest(), exec_start="another", **unit)
    assert not plan(seen=seen, private=own(OLD)).errors


def test_a_setting_is_not_compared_with_a_file_that_is_yet_to_be_written():
    seen = running(guest(), exec_start="another")
    edited = {**seen.files, BOOT: replace(seen.files[BOOT], content="# Managed by pyinfra-nspawn\n")}
    assert verbs(plan(seen=replace(seen, files=edited), private=own(OLD))) == ["definition"]
