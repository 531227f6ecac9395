"""The files of a guest's definition: compared, written, and tried on a running guest."""

import base64
from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen, Unit
from pyinfra_nspawn.plans import guest as stages
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.specs import Guest
from tests.unit.seen import (
    BOOT,
    LIMITS,
    OLD,
    SETTINGS,
    STATE,
    STOPPED,
    converged,
    error,
    finding,
    guest,
    own,
    payload,
    plan,
    running,
    snapshot,
    step,
    stopped,
    verbs,
)

MANAGED = "# Managed by pyinfra-nspawn\n"


def written(found: Plan) -> dict[str, tuple[str, str]]:
    return payload(step(found, "definition"))


def edited(seen: GuestSeen, path: str, **fields: str) -> dict[str, FileSeen]:
    return {**seen.files, path: replace(seen.files[path], **fields)}


def test_a_new_guest():
    found = plan(guest(), stages.definition)
    assert set(written(found)) == {BOOT, LIMITS}
    assert all(mode == "644" for mode, _ in written(found).values())
    assert step(found, "definition").arguments == ("reload",)
    assert [diff.before for diff in step(found, "definition").diffs] == [(), ()]
    missing = finding(found, "missing", BOOT)
    assert (missing.guest, missing.seen, missing.severity) == ("web", "", "change")
    assert missing.wanted.startswith("sha256:")
    assert missing.wanted.endswith(" 644 0:0")


@pytest.mark.parametrize(
    ("fields", "said"), [({}, False), ({"isolation": "overlay"}, True), ({"k3s": True}, True)]
)
def test_the_plan_says_of_a_guest_that_its_root_is_the_host_s(fields: dict[str, object], said: bool):
    found = step(plan(guest(**fields), stages.definition), "definition")
    assert ("its root is root on the host" in found.text) is said


def test_nothing_to_do():
    assert converged(guest()) == Plan("web")


def test_only_the_changed_lines_are_in_the_diff():
    after = guest(hostname="new")
    found = plan(after, seen=running(guest(hostname="old")), private=own(OLD))
    (diff,) = step(found, "try").diffs
    changed = set(diff.after) - set(diff.before)
    assert changed == {
        r"    --hostname=new \\".replace(r"\\", "\\"),
        f"Environment=PYINFRA_NSPAWN_DEFINITION={define(after).digest}",
    }


def test_limits_are_reloaded_and_restart_nothing():
    after = guest(limits={"memory_max": "1G", "cpu_quota": "50%", "tasks_max": 9})
    found = plan(after, seen=running(guest()), private=own(OLD))
    assert verbs(found) == ["definition"]
    assert set(written(found)) == {LIMITS}
    assert step(found, "definition").arguments == ("reload",)
    assert "MemoryMax=1G\nCPUQuota=50%\nTasksMax=9\n" in written(found)[LIMITS][1]


def test_a_pending_daemon_reload_is_done():
    found = plan(seen=running(guest(), need_daemon_reload=True), private=own(OLD))
    reload = step(found, "definition")
    assert (reload.arguments, reload.payload) == (("reload",), "")
    assert reload.text == "guest web: daemon-reload"


def test_a_unit_that_is_enabled_next_is_reloaded_by_that():
    after = guest(limits={"tasks_max": 9})
    seen = running(guest(), unit_file_state="disabled")
    found = plan(after, seen=seen, private=own(OLD))
    assert verbs(found) == ["definition", "unit"]
    assert step(found, "definition").arguments == ("",)
    alone = plan(after, stages.definition, seen=seen, private=own(OLD))
    assert step(alone, "definition").arguments == ("reload",)
    pending = running(guest(), unit_file_state="disabled", need_daemon_reload=True)
    assert verbs(plan(seen=pending, private=own(OLD))) == ["unit"]


def test_a_directory_that_others_can_enter_is_closed():
    found = converged(guest(), directory="755 0:0")
    assert step(found, "definition").text == f"guest web: make {STATE} 0700"
    assert step(found, "definition").arguments == ("",)
    differs = finding(found, "differs")
    assert (differs.guest, differs.field) == ("web", STATE)
    assert (differs.wanted, differs.seen) == ("700 0:0", "755 0:0")


def test_wrong_modes_and_owners_are_corrected():
    found = converged(guest(), files=edited(running(guest()), BOOT, mode="666", owner="1000:0"))
    assert set(written(found)) == {BOOT}
    differs = finding(found, "differs")
    assert (differs.guest, differs.field) == ("web", BOOT)
    assert differs.wanted.split() != differs.seen.split()
    assert differs.wanted.split()[0] == differs.seen.split()[0]
    assert differs.seen.endswith(" 666 1000:0")


def test_the_settings_file_of_an_earlier_version_is_removed():
    seen = running(guest())
    found = converged(guest(), files={**seen.files, SETTINGS: FileSeen(MANAGED + "[Exec]\n", "644")})
    assert verbs(found) == ["definition"]
    assert written(found) == {SETTINGS: ("-", "")}
    assert step(found, "definition").arguments == ("",)
    extra = finding(found, "extra")
    assert (extra.guest, extra.field, extra.wanted) == ("web", SETTINGS, "")
    assert extra.problem == f"{SETTINGS} is no longer used"


# Credentials.

SECRET = guest(credentials={"token": "hunter2"})


def test_secrets_travel_in_the_payload_alone():
    found = plan(SECRET, stages.definition)
    writes = step(found, "definition")
    assert written(found)[f"{STATE}/credentials/token"] == ("600", "hunter2")
    shown = [writes.text, *writes.arguments, *(line for diff in writes.diffs for line in diff.after)]
    shown += [str(item.to_json()) for item in found.findings]
    assert not any("hunter2" in line for line in shown)
    assert "write credential token (not shown)" in writes.text


@pytest.mark.parametrize(
    ("seen", "kind"),
    [({}, "missing"), ({"token": FileSeen("e3b0", "600")}, "differs")],
)
def test_a_credential_is_found_by_name_and_without_its_value(seen, kind: str):
    item = finding(plan(SECRET, seen=replace(running(SECRET), credentials=seen), private=own(OLD)), kind)
    assert (item.guest, item.field) == ("web", "credentials.token")
    assert item.wanted == item.seen == ""


def test_a_credential_that_others_can_read_is_written_anew():
    readable = replace(running(SECRET).credentials["token"], mode="644")
    found = converged(SECRET, credentials={"token": readable})
    assert written(found) == {f"{STATE}/credentials/token": ("600", "hunter2")}


def test_a_credential_that_is_no_longer_wanted_goes():
    found = converged(guest(), credentials={"old": FileSeen("e3b0", "600")})
    assert written(found) == {f"{STATE}/credentials/old": ("-", "")}
    extra = finding(found, "extra")
    assert (extra.guest, extra.field) == ("web", "credentials.old")


# A changed definition of a running guest is tried.

CHANGED = guest(hostname="new", credentials={"token": "hunter2"}, start_timeout_seconds=30)


def test_a_changed_definition_is_tried_and_nothing_else_is_done():
    found = plan(CHANGED, seen=running(guest()), private=own(OLD))
    assert verbs(found) == ["try"]
    tries = step(found, "try")
    assert tries.arguments == ("30", "fail", define(CHANGED).digest, "")
    assert tries.program
    assert tries.text.startswith(
        "try the changed definition of guest web: restart it, go back if it does not come up"
    )
    outdated = finding(found, "outdated")
    assert (outdated.guest, outdated.field, outdated.severity) == ("web", "definition", "change")
    assert (outdated.wanted, outdated.seen) == (define(CHANGED).digest, define(guest()).digest)


def test_the_payload_of_a_trial():
    tries = step(plan(CHANGED, seen=running(guest()), private=own(OLD)), "try")
    verb, trial = tries.payload.splitlines()[0].split(" ")
    assert verb == "trial"
    assert base64.b64decode(trial).decode() == define(CHANGED).trial
    assert payload(tries) == {
        BOOT: ("644", define(CHANGED).files[BOOT]),
        LIMITS: ("644", define(CHANGED).files[LIMITS]),
        f"{STATE}/credentials/token": ("600", "hunter2"),
    }


def test_a_trial_brings_every_credential_and_what_is_to_go():
    before, after = (guest(hostname=name, credentials={"kept": "1", name: "2"}) for name in ("old", "new"))
    seen = running(before)
    seen = replace(seen, files={**seen.files, SETTINGS: FileSeen(MANAGED, "644")})
    tries = step(plan(after, seen=seen, private=own(OLD)), "try")
    assert {path: mode for path, (mode, _) in payload(tries).items()} == {
        BOOT: "644",
        SETTINGS: "-",
        f"{STATE}/credentials/old": "-",
        f"{STATE}/credentials/kept": "600",
        f"{STATE}/credentials/new": "600",
    }
    assert len(tries.payload.splitlines()) == 6


def test_a_definition_that_was_written_and_is_not_run_yet_is_tried():
    """`on_change` was `report` before."""
    seen = running(CHANGED, definition="0" * 32)
    found = plan(CHANGED, seen=seen, private=own(OLD))
    assert verbs(found) == ["try"]
    assert set(payload(step(found, "try"))) == {f"{STATE}/credentials/token"}


@pytest.mark.parametrize("digest", [define(guest()).digest, define(CHANGED).digest])
def test_while_another_run_tries_one_this_one_waits_and_looks_again(digest: str):
    """Under the lock the program finds it done, or does it."""
    seen = replace(running(guest(), definition=digest), trial="running")
    assert verbs(plan(CHANGED, seen=seen, private=own(OLD))) == ["try"]


def test_a_change_is_only_reported_when_asked():
    wanted = guest(hostname="new", on_change="report")
    found = plan(wanted, seen=running(guest()), private=own(OLD))
    assert verbs(found) == ["definition"]
    outdated = finding(found, "outdated")
    assert (outdated.guest, outdated.field, outdated.severity) == ("web", "definition", "note")
    assert outdated.hint == "Restart it, or set `on_change` to 'restart'."
    again = replace(running(wanted), unit=replace(running(guest()).unit))
    found = plan(wanted, seen=again, private=own(OLD))
    assert not found.steps
    assert finding(found, "outdated").severity == "note"


@pytest.mark.parametrize(
    "seen",
    [
        replace(running(guest()), files={}),
        running(guest(), main_pid=0, active_state="activating", sub_state="auto-restart", definition=None),
    ],
)
def test_a_guest_with_nothing_to_go_back_to_is_not_tried(seen: GuestSeen):
    assert "try" not in verbs(plan(CHANGED, seen=seen, private=own(OLD)))


@pytest.mark.parametrize("wanted", [guest(hostname="new", state="stopped"), guest(hostname="new")])
def test_a_guest_that_does_not_run_is_not_tried(wanted: Guest):
    seen = stopped(guest()) if wanted.state == "running" else running(guest())
    found = plan(wanted, seen=seen, private=own(OLD))
    assert verbs(found)[:2] == ["definition", "unit"]
    assert not [item for item in found.findings if item.kind == "outdated"]


# What did not come up is not tried again.

REFUSED = define(CHANGED).digest


@pytest.mark.parametrize("seen", [running(guest()), stopped(guest()), replace(running(guest()), files={})])
@pytest.mark.parametrize("on_change", ["restart", "report"])
def test_a_definition_that_did_not_come_up_is_refused(seen: GuestSeen, on_change: str):
    wanted = CHANGED.model_copy(update={"on_change": on_change})
    found = error(plan(wanted, seen=replace(seen, refused=REFUSED), private=own(OLD)), "refused-definition")
    assert (found.guest, found.field, found.wanted) == ("web", "definition", REFUSED)
    assert found.seen == (seen.unit.definition or "")
    assert found.problem == "the desired definition did not come up when it was tried last"
    assert found.hint == f"Change it in the inventory, or fix the cause and remove {STATE}/refused."


@pytest.mark.parametrize(
    "seen", [replace(running(CHANGED), refused=REFUSED), replace(running(guest()), refused="another")]
)
def test_any_other_definition_is_tried_or_runs(seen: GuestSeen):
    assert not plan(CHANGED, seen=seen, private=own(OLD)).errors


def test_a_guest_is_stopped_all_the_same():
    wanted = CHANGED.model_copy(update={"state": "stopped"})
    found = plan(wanted, seen=replace(running(guest()), refused=REFUSED), private=own(OLD))
    assert verbs(found) == ["definition", "unit"]


# What systemd makes of limits (case 14).


@pytest.mark.parametrize(
    ("limits", "unit", "field", "wanted", "seen"),
    [
        ({"memory_max": "1G"}, {"memory_max": "infinity"}, "memory_max", "1G", "infinity"),
        ({"memory_max": "50%"}, {"memory_max": "infinity"}, "memory_max", "50%", "infinity"),
        ({"memory_max": "1G"}, {"memory_max": "1048576"}, "memory_max", "1G", "1048576"),
        ({"cpu_quota": "50%"}, {"cpu_quota_us": "infinity"}, "cpu_quota", "50%", "infinity"),
        ({"cpu_quota": "150%"}, {"cpu_quota_us": "500ms"}, "cpu_quota", "150%", "500ms"),
        ({"tasks_max": 9}, {"tasks_max": "infinity"}, "tasks_max", "9", "infinity"),
        ({"tasks_max": 9}, {"tasks_max": "16384"}, "tasks_max", "9", "16384"),
        ({"tasks_max": "infinity"}, {"tasks_max": "16384"}, "tasks_max", "infinity", "16384"),
        ({"io_weight": 50}, {"io_weight": "100"}, "io_weight", "50", "100"),
        ({"io_weight": 50}, {"io_weight": "[not set]"}, "io_weight", "50", "[not set]"),
    ],
)  # fmt: skip
def test_a_limit_that_systemd_does_not_apply(limits, unit, field: str, wanted: str, seen: str):
    limited = guest(limits=limits)
    found = error(plan(limited, seen=running(limited, **unit), private=own(OLD)), "differs")
    assert (found.guest, found.field, found.wanted, found.seen) == ("web", f"limits.{field}", wanted, seen)
    assert found.hint.startswith(f"Correct `limits.{field}` in the inventory")


@pytest.mark.parametrize(
    ("limits", "unit"),
    [
        ({"memory_max": "1G"}, {"memory_max": "1073741824"}),
        ({"memory_max": "2000000"}, {"memory_max": "2000000"}),
        ({"memory_max": "infinity"}, {"memory_max": "infinity"}),
        ({"tasks_max": "infinity"}, {"tasks_max": "infinity"}),
        ({"memory_max": "50%"}, {"memory_max": "8589934592"}),
        ({"memory_max": "1G"}, {}),
        ({"cpu_quota": "50%"}, {"cpu_quota_us": "500ms"}),
        ({"cpu_quota": "150%"}, {"cpu_quota_us": "1.500000s"}),
        ({"cpu_quota": "6150%"}, {"cpu_quota_us": "1min 1.500000s"}),
        ({"cpu_quota": "9999999%"}, {"cpu_quota_us": "1d 3h 46min 39.990000s"}),
        ({"tasks_max": 9}, {"tasks_max": "9"}),
        ({"io_weight": 50}, {"io_weight": "50"}),
        ({}, {"memory_max": "infinity", "cpu_quota_us": "infinity", "tasks_max": "16384"}),
    ],
)
def test_a_limit_that_systemd_applies(limits, unit):
    limited = guest(limits=limits)
    assert not plan(limited, seen=running(limited, **unit), private=own(OLD)).findings


@pytest.mark.parametrize("loaded", [{"need_daemon_reload": True}, {"dropin_paths": (BOOT,)}])
def test_a_limit_is_compared_only_once_it_is_loaded(loaded):
    limited = guest(limits={"tasks_max": 9})
    assert not plan(limited, seen=running(limited, tasks_max="16384", **loaded), private=own(OLD)).errors


def test_a_limit_of_a_guest_that_does_not_run_is_compared_too():
    limited = guest(limits={"tasks_max": 9}, state="stopped")
    unit: Unit = replace(STOPPED, tasks_max="16384")
    assert (
        error(plan(limited, seen=replace(stopped(limited), unit=unit), private=own(OLD))).field
        == "limits.tasks_max"
    )


# Binds (cases 17 and 18).


def bound(paths, **fields: object) -> Plan:
    wanted = guest(**fields)
    return stages.plan_guest(wanted, snapshot(running(wanted), own(OLD), paths=paths))


def test_a_bind_whose_source_does_not_exist():
    found = error(bound({"/srv/www": None}, binds=[{"source": "/srv/www"}]), "impossible")
    assert (found.guest, found.field, found.wanted, found.seen) == ("web", "binds./srv/www", "/srv/www", "")
    assert found.problem == "bind source /srv/www does not exist on the host"
    assert found.hint == "Create it on the host, or correct `binds`."


def test_a_device_that_does_not_exist():
    found = error(bound({"/dev/kmsg": None}, devices=["/dev/kmsg r"]), "impossible")
    assert (found.field, found.wanted) == ("devices./dev/kmsg", "/dev/kmsg")
    assert found.problem == "device /dev/kmsg does not exist on the host"
    assert error(bound({}, devices=["/dev/kmsg r"])).problem == "whether /dev/kmsg exists is unknown"


def test_a_bind_of_which_nothing_is_known():
    found = error(bound({}, binds=[{"source": "/srv/www"}]), "impossible")
    assert found.problem == "whether /srv/www exists is unknown"


@pytest.mark.parametrize(
    ("bind", "isolation", "refused"),
    [
        ({"idmap": True, "read_only": False}, "private-users", True),
        ({"idmap": True}, "private-users", True),
        ({"read_only": False}, "private-users", False),  # what the guest writes there is nobody's
        ({"read_only": False}, "overlay", True),
        ({"read_only": False}, "none", True),
        ({}, "overlay", False),
    ],
)
def test_a_link_to_one_of_the_host_s_own_trees(bind, isolation: str, refused: bool):
    found = bound({"/data/a": "/etc"}, binds=[{"source": "/data/a", **bind}], isolation=isolation)
    if not refused:
        assert not found.errors
        return
    item = error(found, "impossible")
    assert (item.guest, item.field, item.wanted, item.seen) == ("web", "binds./data/a", "/data/a", "/etc")
    assert item.problem == "bind source /data/a is /etc, which is the host's own"
    assert item.hint == "Bind another directory, or bind it read-only and without `idmap`."


def test_a_link_to_anything_else():
    bind = {"source": "/data/a", "read_only": False, "idmap": True}
    assert not bound({"/data/a": "/big disk/b"}, binds=[bind]).errors


def test_a_guest_that_was_started_a_moment_ago_is_not_started_again():
    """Its process is still systemd's own, and has another environment."""
    started = running(guest(), active_state="activating", sub_state="start", definition=None)
    seen = replace(started, machine=None)
    assert verbs(plan(seen=seen, private=own(OLD))) == ["await"]
    other = running(guest(), active_state="activating", sub_state="start", definition="0" * 64)
    assert "try" in verbs(plan(seen=other, private=own(OLD)))
