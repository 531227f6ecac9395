"""When a guest is backed up, and when one may be made of an archive."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.archive import Archive
from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Stored
from pyinfra_nspawn.facts.nspawn import Backup, GuestSeen
from pyinfra_nspawn.plans.backup import backup_with
from pyinfra_nspawn.plans.guest import commit, definition, deployment, recover, stateroot, unit
from pyinfra_nspawn.plans.restore import Restoration, restore_with, restored
from tests.unit.seen import (
    HOST,
    NEW,
    OLD,
    beside,
    error,
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
    from pyinfra_nspawn.plans.guest import Stage
    from pyinfra_nspawn.plans.plan import Plan
    from pyinfra_nspawn.specs import Guest

DIGEST, SHA256 = "d" * 64, "5" * 64
ARCHIVE = Archive("lab1-web.tar", "web", OLD, DIGEST, 1, size=3 * 2**20, sha256=SHA256)
ON_HOST = replace(ARCHIVE, file="20260102T030405Z.tar", sha256="")
TAKEN = (Backup("20260102T030405Z.tar", 9),)


def backup(seen: GuestSeen, stage: Stage | None = None, wanted: Guest | None = None, **options: str) -> Plan:
    facts = {"host_facts": replace(HOST, commands=(*HOST.commands, "age", "gpg"))}
    stage = stage or backup_with("lab1", **options)
    return plan(wanted or guest(), recover, stage, seen=seen, private=own(OLD), **facts)


def payload(found: Plan) -> dict[str, str]:
    lines = (line.split(" ") for line in (step(found, "backup").payload or "").splitlines())
    return {name: base64.b64decode(text).decode() for name, text in lines}


def test_a_guest_that_runs_is_stopped_and_one_that_does_not_is_not():
    assert "stop it, read its /etc and /var, start it again" in step(backup(running(guest())), "backup").text
    assert "stop" not in step(backup(stopped(guest())), "backup").text


def test_what_the_archive_says_of_a_guest_holds_no_secret():
    wanted = guest(credentials={"token": "hunter2"}, files={"/etc/x": "hunter2"}, source="local")
    found = payload(backup(running(wanted), wanted=wanted))
    assert found["manifest"] == "origin lab1\nsource local\n"
    assert json.loads(found["json"])["name"] == "web"
    assert "hunter2" not in found["json"]
    assert "key" not in found


def test_the_key_travels_on_stdin_alone():
    found = backup(running(guest()), key="age1abc")
    assert payload(found)["key"] == "age1abc"
    assert "age1abc" not in " ".join((*step(found, "backup").arguments, step(found, "backup").text))


def test_a_guest_is_backed_up_once_in_a_try_and_again_in_the_next():
    stage = backup_with("lab1")
    before = replace(running(guest()), backups=TAKEN)
    assert verbs(backup(before, stage)) == ["backup"]
    assert verbs(backup(before, stage)) == ["backup"]
    after = replace(before, backups=(*TAKEN, Backup("20260102T040506Z.tar", 9)))
    assert verbs(backup(after, stage)) == []
    assert verbs(backup(after)) == ["backup"]


def test_a_guest_that_would_start_with_something_else_is_not_restarted():
    other = running(guest(), definition="e" * 64)
    assert "another definition" in error(backup(other), "impossible").problem
    machine = replace(running(guest()).machine, deployment=f"{NEW}.0")
    assert (
        "another definition"
        in error(backup(replace(running(guest()), machine=machine)), "impossible").problem
    )


def test_without_the_program_that_encrypts_it_the_plan_says_so():
    found = plan(guest(), backup_with("lab1", key="age1abc"), seen=running(guest()), private=own(OLD))
    assert "the host has no age" in error(found, "impossible").problem


def test_there_is_nothing_to_back_up_of_a_guest_that_is_not_deployed():
    assert "not deployed" in error(backup(GuestSeen()), "impossible").problem


def restore(
    archive: Archive | Unreadable | None = ARCHIVE,
    seen: GuestSeen | None = None,
    wanted: Guest | None = None,
    identity: str = "same",
    original: tuple[str, str] | None = None,
    *,
    sent: bool = True,
    **facts: object,
) -> Plan:
    restoration = Restoration(archive, sent, identity, original)  # type: ignore[arg-type]
    begin, finish = restore_with(restoration)
    facts.setdefault("host", host_sysroot(commits={OLD: "present"}))
    stages = (recover, begin, stateroot, commit, deployment, finish, definition, unit)
    return plan(restored(wanted or guest(source="local"), restoration), *stages, seen=seen, **facts)


def test_a_guest_is_deployed_at_the_commit_of_its_archive_before_it_is_unpacked():
    found = restore()
    assert verbs(found) == [
        *("restore-begin", "store-append", "stateroot", "pull", "deploy", "restore"),
        *("definition", "unit", "await"),
    ]
    assert step(found, "pull").arguments == ("private", "", OLD)
    assert step(found, "restore").arguments == ("private", OLD, f".k3s/{SHA256}", DIGEST, "same")


def test_what_the_host_has_is_not_sent_again():
    facts = replace(HOST, stored={SHA256: Stored(9, 1, whole=True)})
    assert "store-append" not in verbs(restore(host_facts=facts))
    facts = replace(HOST, stored={SHA256: Stored(9, 1, whole=False)})
    assert "store-append" in verbs(restore(host_facts=facts))


def test_an_archive_of_the_host_is_unpacked_where_it_is():
    found = restore(ON_HOST, sent=False)
    assert verbs(found)[0] == "restore-begin"
    assert step(found, "restore").arguments[2] == ".backups/web/20260102T030405Z.tar"


def test_once_it_is_restored_nothing_is_done():
    wanted = guest(source="local")
    seen = replace(running(wanted), restored=DIGEST)
    assert restore(seen=seen, wanted=wanted, private=own(OLD)).steps == ()
    assert not restore(seen=seen, wanted=wanted, private=own(OLD), original=("it runs", "x")).errors


def test_what_was_cut_off_is_gone_on_with():
    seen = GuestSeen(directory="700 0:0", restoring=f"{DIGEST} same")
    found = restore(seen=seen, private=own(OLD))
    assert verbs(found)[:2] == ["store-append", "restore"]
    assert "restore-begin" in verbs(restore(seen=replace(seen, restoring=f"{DIGEST} new"), private=own(OLD)))


def test_no_other_run_touches_what_was_cut_off():
    seen = replace(running(guest()), restoring=f"{DIGEST} same")
    for stages in ((), (backup_with("lab1"),)):
        found = plan(guest(), *stages, seen=seen, private=own(OLD))
        assert found.steps == ()
        assert "interrupted" in error(found, "interrupted").problem
    absent = plan(guest(state="absent", purge=True), seen=seen, private=own(OLD))
    assert verbs(absent) == ["remove"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"archive": None}, "its host has no archive of it"),
        ({"archive": Unreadable("it is not whole, or was changed")}, "not whole"),
        ({"archive": replace(ARCHIVE, guest="db")}, "the archive is of guest db"),
        (
            {"archive": replace(ARCHIVE, joined="server-founded c n"), "identity": "new"},
            "identity of a k3s node",
        ),
        ({"original": ("the original runs on lab1", "Stop it.")}, "the original runs on lab1"),
        (
            {"seen": running(guest()), "private": own(OLD)},
            "the host has a guest web, and nothing is replaced",
        ),
        ({"seen": GuestSeen(directory="700 0:0"), "private": own()}, "the host has a stateroot web"),
        ({"seen": beside(), "host": host_sysroot(stateroots=("fedora", "web"))}, "nothing is replaced"),
        ({"wanted": guest(source="guest", isolation="none")}, "it deploys for itself"),
    ],
)
def test_what_is_refused(given: dict[str, object], says: str):
    found = restore(**given)  # type: ignore[arg-type]
    assert found.steps == ()
    assert says in error(found, "impossible").problem


def test_a_host_without_room_is_refused_before_anything_is_sent():
    found = restore(host_facts=replace(HOST, free_bytes=2**20))
    assert "a restore needs 70 MiB, and the host has 1 left" in error(found, "unfit").problem


def test_a_commit_that_is_gone_is_told_of_while_the_guest_is_still_there():
    host = host_sysroot(commits={OLD: "absent"})
    found = restore(host=host, seen=running(guest()), private=own(OLD))
    assert {item.field for item in found.errors} == {"restored", "source"}


def test_a_new_machine_may_have_another_name_and_an_original_that_runs():
    found = restore(
        replace(ARCHIVE, guest="db"), identity="new", original=("the original runs on lab1", "Stop it.")
    )
    assert step(found, "restore").arguments[-1] == "new"


def test_a_commit_that_the_host_lacks_is_pulled_from_the_remote_of_its_source():
    host = host_sysroot(commits={OLD: "absent"})
    assert step(restore(host=host, wanted=guest(source="fedora:iot")), "pull").arguments == (
        "private",
        "fedora",
        OLD,
    )
    assert f"has no commit {OLD}" in error(restore(host=host), "impossible").problem


def test_the_commit_of_the_archive_is_not_that_of_the_source():
    wanted = guest(source="local")
    assert restored(wanted, Restoration(ARCHIVE)).source.commit == OLD != NEW
    assert restored(wanted, Restoration(None)) == wanted
