"""Unpacking an untrusted archive writes only to its guest."""

from __future__ import annotations

import base64
import itertools
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from pyinfra_nspawn.facts.program import text
from tests.archives import archive, device, file, hard_link, link
from tests.host.test_killed import COMMANDS, ONE, Case, is_made, is_whole_after, killed
from tests.host.test_sysroots import made
from tests.host.test_verbs import HEALTHY, guest_says, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.host.machine import Answer, Machine

NAME = "20260102T030405Z.tar"
FILE = f".backups/web/{NAME}"
SECRETS = ("etc/shadow", "etc/ssh/ssh_host_rsa_key")
#: The paths of the test's own directories, as an archive would name them.
HOST = "/tmp/work"
UP = "../" * 12


def put(machine: Machine, content: bytes) -> None:
    directory = machine.work / "state/.backups/web"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).write_bytes(content)


def commit(machine: Machine) -> str:
    return machine.shell("ostree --repo=sysroot/ostree/repo rev-parse old").strip()


def words(kind: str, commit: str, digest: str, identity: str = "same") -> tuple[str, ...]:
    return (
        *("--", "restore-begin", "web", digest, identity),
        *("--", "stateroot", "web", kind),
        *("--", "pull", "web", kind, "", commit),
        *("--", "deploy", "web", kind, commit),
        *("--", "restore", "web", kind, commit, FILE, digest, identity),
    )


def restore(
    machine: Machine, more: Any = (), kind: str = "private", identity: str = "same", **fields: Any
) -> Answer:
    made = commit(machine)
    content, digest = archive(made, more, **fields)
    put(machine, content)
    return machine.run("change", "guest:web", "sysroot", *words(kind, made, digest, identity))


def hostile(machine: Machine) -> None:
    """Give the host what an archive could be after."""
    for path in SECRETS:
        target = machine.work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("secret\n")


@pytest.mark.parametrize("kind", ["private", "shared"])
def test_an_ordinary_archive(machine: Machine, kind: str):
    answer = restore(machine, kind=kind)
    assert answer.code == 0, answer.stderr
    root = "sysroot" if kind == "shared" else "state/web"
    assert (
        machine.shell(f"cat state/web/current/etc/kept {root}/ostree/deploy/web/var/kept")
        == "of its /etc\nof its /var\n"
    )
    assert machine.shell("ls state/web/current/etc") == "kept\n"
    assert machine.shell(f"find {root}/ostree/deploy/web -maxdepth 1 -name '.*'") == ""
    assert machine.shell("ls state/web/restoring 2>/dev/null || :") == ""


EVIL = {
    "leads up": (file(f"var/{UP}{HOST}/evil", "evil\n"),),
    "begins with a slash": (file(f"{HOST}/evil", "evil\n"),),
    "by a link to elsewhere": (link("var/out", HOST), file("var/out/evil", "evil\n")),
    "by a link upwards": (link("var/out", UP + HOST), file("var/out/evil", "evil\n")),
    "by two links": (link("var/a", "b/../.."), link("var/b", ".."), file(f"var/a/{UP}{HOST}/evil", "evil\n")),
    "another name of a secret": (hard_link("var/stolen", f"{HOST}/etc/shadow"),),
    "another name upwards": (hard_link("var/stolen", f"{UP}{HOST}/etc/shadow"),),
    "another name through a link": (
        link("var/out", f"{HOST}/etc"),
        hard_link("var/stolen", "var/out/shadow"),
    ),
    "a character device": (device("var/mem", tarfile.CHRTYPE, 1, 1),),
    "a block device": (device("var/disk", tarfile.BLKTYPE, 8, 0),),
    "beside a guest": (file("usr", None), file("usr/evil", "evil\n")),
    "hidden beside a guest": (file(".evil", "evil\n"),),
    "a program of the host": (link("var/usr", "/usr"), file("var/usr/bin/evil", "evil\n")),
}


@pytest.mark.parametrize("name", EVIL)
def test_what_leads_out_of_a_guest_is_refused(machine: Machine, name: str):
    hostile(machine)
    answer = restore(machine, EVIL[name])
    assert answer.code == 1, answer.stdout
    assert answer.outcome.troubles[0].verb == "restore"
    assert machine.shell("find . /usr/bin -name '*evil*' -o -name stolen -o -name mem -o -name disk") == ""
    assert machine.shell("stat -c %h etc/shadow; cat etc/shadow") == "1\nsecret\n"
    assert machine.shell("find state/web/ostree/deploy/web -maxdepth 1 -name '.*'") == ""
    # Nothing of it was put in its place, and another archive can be.
    assert machine.shell("ls -A state/web/current 2>/dev/null || :") == ""
    assert restore(machine).code == 0
    assert machine.shell("cat state/web/current/etc/kept") == "of its /etc\n"


def test_a_whiteout_of_an_overlay_is_no_device(machine: Machine):
    """What containers removed from their images, in the /var of a node."""
    assert restore(machine, (device("var/gone", tarfile.CHRTYPE, 0, 0),)).code == 0
    assert machine.shell("stat -c '%F %t:%T' state/web/ostree/deploy/web/var/gone") == (
        "character special file 0:0\n"
    )


@pytest.mark.parametrize("member", ["etc", "var"])
@pytest.mark.parametrize("how", ["a link", "nothing"])
def test_an_archive_without_one_of_its_directories_is_refused(machine: Machine, member: str, how: str):
    hostile(machine)
    members = {name: text for name, text in (("etc", None), ("var", None)) if name != member}
    answer = restore(machine, (link(member, HOST),) if how == "a link" else (), members=members)
    assert answer.outcome.troubles[0].problem == f"the archive has no /{member}"
    assert machine.shell("cat etc/shadow") == "secret\n"


def test_a_new_identity_spares_what_is_the_hosts(machine: Machine):
    """The directory of the keys is a link of the archive's."""
    hostile(machine)
    more = (
        link("etc/ssh", f"{HOST}/etc/ssh"),
        file("etc/machine-id", "0" * 31 + "1\n"),
        file("etc/hostname", "old\n"),
    )
    answer = restore(machine, more, identity="new")
    assert answer.code == 0, answer.stderr
    assert machine.shell("cat etc/ssh/ssh_host_rsa_key") == "secret\n"
    assert machine.shell("stat -c '%s %a' state/web/current/etc/machine-id; ls state/web/current/etc") == (
        "0 444\nkept\nmachine-id\nssh\n"
    )


def test_a_new_identity_has_no_keys_of_the_old_one(machine: Machine):
    more = (
        file("etc/ssh", None),
        file("etc/ssh/ssh_host_rsa_key", "key\n"),
        file("etc/ssh/sshd_config", "kept\n"),
    )
    assert restore(machine, more, identity="new").code == 0
    assert machine.shell("ls state/web/current/etc/ssh") == "sshd_config\n"


@pytest.mark.parametrize("change", ["cut", "longer", "another byte", "another digest"])
def test_one_that_was_changed_is_refused(machine: Machine, change: str):
    made = commit(machine)
    content, digest = archive(made)
    middle = content.index(b"of its /var")
    put(
        machine,
        {
            "cut": content[:-1000],
            "longer": content + b"more",
            "another byte": content[:middle] + b"O" + content[middle + 1 :],
            "another digest": archive(made, members={"etc": None, "var": None})[0],
        }[change],
    )
    answer = machine.run("change", "guest:web", "sysroot", *words("private", made, digest))
    assert answer.code == 1
    assert answer.outcome.troubles[0].problem == "the archive is not whole, or was changed"
    assert machine.shell("find state/web/ostree/deploy/web -maxdepth 1 -name '.*'") == ""


def test_one_of_another_commit_is_refused(machine: Machine):
    made = commit(machine)
    content, digest = archive("1" * 64)
    put(machine, content)
    answer = machine.run("change", "guest:web", "sysroot", *words("private", made, digest))
    assert "no archive of a guest with commit" in answer.outcome.troubles[0].problem


def test_nothing_is_restored_over_a_guest(machine: Machine):
    assert restore(machine).code == 0
    machine.shell("echo mine >state/web/ostree/deploy/web/var/kept")
    answer = restore(machine, (file("var/more", "x"),))
    assert answer.outcome.troubles[0].problem == "the host has a guest web"
    machine.shell("rm state/web/current state/web/restored")
    answer = restore(machine, (file("var/more", "x"),))
    assert "has left its /var" in answer.outcome.troubles[0].problem
    assert machine.shell("cat state/web/ostree/deploy/web/var/kept") == "mine\n"


def back_up(machine: Machine, keep: int = 3) -> Answer:
    program = text().encode()
    words = {"manifest": "origin lab1\n", "json": "{}"}
    payload = "".join(
        f"{name} {base64.b64encode(word.encode()).decode()}\n" for name, word in words.items()
    ).encode()
    arguments = ("backup", "web", "3", str(keep), "", str(len(program)), str(len(payload)))
    return machine.run("change", "guest:web", "--", *arguments, payload=program + payload)


def runs(machine: Machine) -> None:
    """Give the machine a guest that runs."""
    made(machine, "private")
    guest_says(machine, "web", HEALTHY)
    running(machine)
    machine.shell("echo kept >state/web/ostree/deploy/web/var/kept")


KEPT = "ls -A state/.backups/web"


def test_what_no_archive_holds_is_named(machine: Machine):
    runs(machine)
    machine.shell("""
    cd state/web/ostree/deploy/web/var
    mkdir spool && mknod spool/null c 1 3 && mknod spool/gone c 0 0 && mkdir other
    """)
    answer = back_up(machine)
    assert answer.code == 0, answer.stderr
    (note,) = (said for guest, said in answer.outcome.notes if guest == "web")
    assert "without devices: var/spool/null" in note
    (name,) = machine.shell(KEPT).split()
    listed = machine.shell(f"tar -tf state/.backups/web/{name}").splitlines()
    assert {"var/spool/gone", "var/kept", "etc/os-release"} < set(listed)
    assert "var/spool/null" not in listed
    # And so it can be restored.
    machine.shell("systemctl stop systemd-nspawn@web.service")
    digest = machine.shell(f"tail -c 87 state/.backups/web/{name}").split()[-1]
    machine.change("guest:web", "sysroot", "--", "remove", "web", "purge")
    machine.shell(f"mv state/.backups/web/{name} state/{FILE}")
    machine.change("guest:web", "sysroot", *words("private", commit(machine), digest))
    assert machine.shell("cat state/web/ostree/deploy/web/var/kept") == "kept\n"


@pytest.mark.parametrize("code", [1, 2])
def test_an_archive_that_could_not_be_written_whole_is_none(machine: Machine, code: int):
    runs(machine)
    assert back_up(machine).code == 0
    before = machine.shell(KEPT)
    machine.shell(f"""
    printf '#!/bin/sh\\ntar() {{ /usr/bin/tar "$@"; }}\\ntar "$@"\\nexit {code}\\n' >bin/tar
    chmod 755 bin/tar
    """)
    answer = back_up(machine, keep=1)
    assert answer.code == 1
    assert "could not write the archive" in answer.outcome.troubles[0].problem
    assert machine.shell(KEPT) == before
    assert machine.shell("cat systemd/active-systemd-nspawn@web.service") == "active\n"
    assert machine.shell("ls -A run/pyinfra-nspawn/backup run/pyinfra-nspawn/verdict").split() == [
        "run/pyinfra-nspawn/backup:",
        "run/pyinfra-nspawn/verdict:",
    ]


def test_an_archive_of_the_future_is_not_passed(machine: Machine):
    runs(machine)
    put(machine, b"")
    machine.shell(f"mv state/{FILE} state/.backups/web/29990102T030405Z.tar")
    assert "from the future" in back_up(machine).outcome.troubles[0].problem


def archived(machine: Machine) -> None:
    put(machine, archive(commit(machine))[0])


def is_restored(machine: Machine) -> None:
    is_made(machine)
    directory = "$(readlink -f state/web/current)"
    kept = f"cat {directory}/etc/kept {directory}/../../var/kept"
    assert machine.shell(kept) == "of its /etc\nof its /var\n"
    left = "find state/web sysroot/ostree/deploy/web -name '.restored*' -o -name restoring 2>/dev/null || :"
    assert machine.shell(left) == ""


@pytest.mark.slow
@ONE
@pytest.mark.parametrize("kind", ["private", "shared"])
def test_a_restore_that_is_killed_before_any_command_is_finished_by_the_next_run(
    again: Callable[..., Machine], kind: str
):
    for nth in itertools.count(1):
        machine = again(archived)
        made = commit(machine)
        case = Case(archived, words(kind, made, archive(made)[1]), is_restored)
        if not killed(machine, case, COMMANDS, nth):
            assert nth > 20
            return
        is_whole_after(machine, case, nth)
