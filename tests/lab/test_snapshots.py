"""A copy of /var from before an upgrade, where the file system shares blocks; a refusal where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.commits import BAD, commit, release
from tests.lab.conftest import Outcome, pyinfra, succeed
from tests.lab.guest import inside
from tests.lab.lab import install_tools
from tests.lab.shell import run
from tests.lab.test_paths_opened import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Host

REF = "test/web"
OWN = "/var/lib/pyinfra-nspawn"
BEFORE = f"{OWN}/web/ostree/deploy/web/var.before"
WEB: dict[str, Any] = {"name": "web", "source": REF, "snapshot": True, "start_timeout_seconds": 25}
LOOPS = "for number in 0 1 2 3 4 5 6 7; do mknod -m 600 /dev/loop$number b 7 $number; done"


@pytest.fixture(scope="module")
def host(fresh: dict[str, Host]) -> Iterator[Host]:
    """A host whose guests lie on btrfs."""
    install_tools({"mkfs.btrfs": "btrfs-progs"})
    host = fresh["lab1"]
    disk = host.sysroot / "ostree/deploy/host/var/guests.img"
    run("truncate", "--size=4G", disk)
    run("mkfs.btrfs", "--quiet", disk)
    host.succeed(f"{LOOPS}; mkdir -m 0700 {OWN}; mount -o loop /var/guests.img {OWN}")
    commit(host, REF, release("one"))
    succeed("--limit", "lab1", "-y", guests=[WEB])
    yield host
    succeed("--limit", "lab1", "-y", guests=[{"name": "web", "state": "absent", "purge": True}])
    host.succeed(f"umount {OWN}")


def upgrade(name: str = "lab1") -> Outcome:
    return pyinfra("--limit", name, "-y", "deploys/upgrade.py", guests=[WEB])


def test_var_is_there_as_it_was_before(host: Host):
    inside(
        host, "web", "echo old >/var/data; dd if=/dev/urandom of=/var/big bs=1M count=64 status=none; sync"
    )
    commit(host, REF, release("two"))
    assert upgrade().code == 0
    inside(host, "web", "echo new >/var/data; sync")
    assert inside(host, "web", "cat /usr/lib/lab-release") == "two\n"
    assert host.succeed(f"cat {BEFORE}/data") == "old\n"
    assert host.succeed(f"stat -c %a {OWN}/web") == "700\n"


def test_a_bad_commit_leaves_the_copy_of_before_it(host: Host):
    commit(host, REF, {**release("bad"), **BAD["a unit fails"]})
    assert upgrade().code == 1
    assert host.succeed(f"cat {BEFORE}/data") == "new\n"
    assert inside(host, "web", "cat /usr/lib/lab-release /var/data") == "two\nnew\n"
    assert host.succeed(f"ls -d {BEFORE}/../.var* || :") == ""


def test_a_backup_reads_a_copy_while_the_guest_runs(host: Host):
    outcome = pyinfra("--limit", "lab1", "-y", "deploys/backup.py", guests=[WEB])
    assert outcome.code == 0, outcome.stderr
    (name,) = host.succeed(f"ls {OWN}/.backups/web").split()
    written = float(host.succeed(f"stat -c %.6Y {OWN}/.backups/web/{name}"))
    shown = host.succeed(
        "systemctl show --timestamp=us+utc --value -p ExecMainStartTimestamp systemd-nspawn@web"
    )
    assert seconds(shown.strip()) < written
    assert host.succeed(f"tar -xOf {OWN}/.backups/web/{name} var/data") == "new\n"
    assert host.succeed(f"ls -A {BEFORE}/.. | grep '^[.]' || :") == ""
    host.succeed(f"rm -r {OWN}/.backups")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (WEB, "`snapshot` takes a file system that shares blocks, unlike ext2/ext3"),
        ({**WEB, "name": "own", "sysroot": "shared"}, "the file system of its /var cannot share blocks"),
    ],
    ids=["private", "shared"],
)
def test_where_blocks_cannot_be_shared_the_guest_is_left_alone(
    fresh: dict[str, Host], wanted: dict[str, Any], says: str
):
    host = fresh["lab2"]
    commit(host, REF, release("one"))
    succeed("--limit", "lab2", "-y", guests=[wanted])
    started = f"systemctl show systemd-nspawn@{wanted['name']} -p ExecMainStartTimestampMonotonic --value"
    at = host.succeed(started)
    commit(host, REF, release("two"))
    outcome = pyinfra("--limit", "lab2", "-y", "deploys/upgrade.py", guests=[wanted])
    assert outcome.code == 1
    assert any(says in line for line in outcome.lines("lab2")), outcome.stderr
    assert host.succeed(started) == at
