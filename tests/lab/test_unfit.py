"""One host of two is unfit, in every way that a host can be: it fails with the remedy, the other is done."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.bench import UNDO
from tests.lab.conftest import DEPLOYS, PYINFRA, ROOT, deploy, pyinfra, remote_commands, succeed
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

# The same name for another commit on each host: what is wrong with one host's is right with the other's.
REF = "unfit"
WEB = {"name": "web", "source": REF, "start_timeout_seconds": 20}
OWN = "/var/lib/pyinfra-nspawn"
DROPINS = "/etc/systemd/system/systemd-nspawn@web.service.d"
SMALL = f"""
for number in 0 1 2 3 4 5 6 7; do mknod -m 600 /dev/loop$number b 7 $number; done
truncate -s SIZE /var/small.img
mkfs.ext4 -q /var/small.img
mkdir -m 0700 {OWN}
mount -o loop /var/small.img {OWN}
"""
ENOUGH = f"umount {OWN}; rm -r {OWN} /var/small.img /dev/loop*"


def writing(command: str) -> str:
    """Return what runs a command with the host's repository writable."""
    return f"unshare --mount sh -e -c 'mount -o remount,rw /sysroot 2>/dev/null || :; {command}'"


USUAL = writing(f"ostree refs --delete {REF}; ostree refs --create={REF} BASE")


def commit(tree: str) -> str:
    """Return what makes a commit: the host's own, and upon it what `tree` makes in its working directory."""
    commit = f"ostree commit --branch={REF} --tree=ref=BASE --tree=dir=."
    return (
        f"mkdir /var/tmp/tree && cd /var/tmp/tree && {{ {tree} }} && {writing(commit)}; rm -r /var/tmp/tree"
    )


def init(script: str) -> str:
    """Return what makes a commit of which PID 1 is a script."""
    return commit(f"""
        mkdir -p usr/lib/systemd
        printf '#!/bin/sh\\n{script}\\n' >usr/lib/systemd/systemd
        chmod 755 usr/lib/systemd/systemd;""")


@dataclass(frozen=True)
class Way:
    """A way of being unfit.

    + host: the host that is; the other is as ever
    + says: a part of the sentence
    + make, mend: commands on the host; without `mend` it takes another guest to mend it
    + data: more of the inventory
    """

    name: str
    host: str
    says: str
    make: str
    mend: str = ""
    data: dict[str, object] = field(default_factory=dict)


FAILING = commit("""
    mkdir -p usr/lib/systemd/system/multi-user.target.wants
    printf '[Service]\\nExecStart=/bin/false\\n' >usr/lib/systemd/system/failing.service
    ln -s ../failing.service usr/lib/systemd/system/multi-user.target.wants/;""")
WAYS = [
    Way(
        "no-machinectl",
        "lab1",
        "command `machinectl` is missing. Install systemd-container",
        "mount --bind /dev/null /usr/bin/machinectl",
        "umount /usr/bin/machinectl",
    ),
    Way(
        "little-space",
        "lab2",
        "MiB left, and a new guest needs 256. Free some",
        SMALL.replace("SIZE", "200M"),
        ENOUGH,
    ),
    Way(
        "space-runs-out",
        "lab1",
        "% used): free some of it, then run again",
        SMALL.replace("SIZE", "200M"),
        ENOUGH,
        {"nspawn_host": {"free_mib": 1}},
    ),
    Way(
        "foreign-file",
        "lab2",
        "/etc/systemd/nspawn/web.nspawn is not ours",
        "mkdir -p /etc/systemd/nspawn; echo '[Exec]' >/etc/systemd/nspawn/web.nspawn",
        "rm /etc/systemd/nspawn/web.nspawn",
    ),
    Way(
        "foreign-drop-in",
        "lab1",
        f"{DROPINS}/10-service.conf is a foreign drop-in",
        f"mkdir {DROPINS}; echo '[Service]' >{DROPINS}/10-service.conf",
        f"rm {DROPINS}/10-service.conf",
    ),
    Way(
        "no-such-ref",
        "lab1",
        f"web: the host's repository has no ref {REF}. Pull it on the host, or write REMOTE:{REF}",
        writing(f"ostree refs --delete {REF}"),
        USUAL,
    ),
    Way("dies-at-boot", "lab2", "web: it did not start (waited ", init("exit 1")),
    Way(
        "boot-hangs",
        "lab1",
        "web: it did not start (waited ",
        # It heeds SIGRTMIN+3, which asks it to shut down: systemd would wait 90 s for it.
        init('trap "exit 0" 37; sleep infinity & wait'),
    ),
    Way("degraded", "lab2", "web: failing.service failed", FAILING),
    Way(
        "garbage",
        "lab1",
        "the host's OSTree sysroot could not be read: ",
        "mkdir -p /usr/local/bin; printf '#!/bin/sh\\necho {[nonsense\\n' >/usr/local/bin/ostree;"
        "chmod 755 /usr/local/bin/ostree",
        "rm /usr/local/bin/ostree",
    ),
]


def prepare(hosts: dict[str, Host]) -> None:
    """Take the guest away, and have its commit on every host."""

    def clear(host: Host) -> None:
        host.run(UNDO)
        host.succeed(USUAL.replace("BASE", host.spec.generation.ref))

    on_each(hosts.values(), clear)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_an_unfit_host_fails_with_the_remedy_and_the_other_is_done(fresh: dict[str, Host], way: Way):
    prepare(fresh)
    unfit, (other,) = fresh[way.host], (host for name, host in fresh.items() if name != way.host)
    unfit.succeed(way.make.replace("BASE", unfit.spec.generation.ref))
    try:
        outcome = deploy("-y", guests=[WEB], **way.data)
    finally:
        unfit.run(way.mend.replace("BASE", unfit.spec.generation.ref))
    assert outcome.code == 1
    assert any(way.says in line for line in outcome.lines(way.host)), outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert other.succeed("systemctl -M web is-system-running") == "running\n"
    if way.mend:
        succeed(guests=[WEB])
        assert unfit.succeed("systemctl -M web is-system-running") == "running\n"


def test_a_commit_that_one_of_two_hosts_has(fresh: dict[str, Host]):
    prepare(fresh)
    commit = fresh["lab1"].succeed(f"ostree rev-parse {REF}").strip()
    outcome = deploy("-y", guests=[{**WEB, "source": commit}])
    assert outcome.code == 1
    sentence = f"web: the host's repository has no commit {commit}. "
    assert any(line.startswith(sentence) for line in outcome.lines("lab2")), outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert fresh["lab1"].succeed("systemctl -M web is-system-running") == "running\n"


#: Longer than such a run takes; one that waits for an answer would wait for ever.
RUN_SECONDS = 240


def at_a_terminal(*arguments: str, typed: str = "") -> tuple[int, str]:
    """Run both deploys at a terminal, and return the exit code and what it showed."""
    ours, theirs = pty.openpty()
    deadline = time.monotonic() + RUN_SECONDS
    command = [PYINFRA, "--data", f"guests={json.dumps([WEB])}", *arguments, "inventories/lab.py", *DEPLOYS]
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's end is an error
            while select.select([ours], [], [], max(0, deadline - time.monotonic()))[0]:
                shown += os.read(ours, 65536)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        code = process.wait()
    os.close(ours)
    return code, re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown.decode())


@pytest.mark.parametrize(
    ("options", "typed", "commands"),
    [(["-y"], "", 5), ([], "\n" * 20, 7)],
    ids=["told-yes", "asking"],
)
def test_at_a_terminal_it_is_the_same(fresh: dict[str, Host], options: list[str], typed: str, commands: int):
    """Whoever confirms a plan has each host read for it first, in a command for each deploy."""
    prepare(fresh)
    fresh["lab1"].succeed(WAYS[0].make)
    asked = remote_commands(fresh["lab2"])
    try:
        code, shown = at_a_terminal(*options, typed=typed)
    finally:
        fresh["lab1"].succeed(WAYS[0].mend)
    assert code == 1, shown
    assert WAYS[0].says in " ".join(shown.split()), shown
    assert remote_commands(fresh["lab2"]) - asked == commands
    assert fresh["lab2"].succeed("systemctl -M web is-system-running") == "running\n"
    fresh["lab1"].fail(f"test -e {OWN}")


def test_without_a_terminal_and_without_yes_nothing_is_done(fresh: dict[str, Host]):
    prepare(fresh)
    outcome = pyinfra(*DEPLOYS, guests=[WEB])
    assert outcome.code != 0
    for host in fresh.values():
        host.fail(f"test -e {OWN}")


# What a host does when it is first told to change something: it is gone, without a word or with a last one.
LOST = {
    "silent": "for link in /sys/class/net/*; do ip link set ${link##*/} down; done",
    "closed": "systemctl kill --signal=KILL ssh.service; kill -9 $(pgrep sshd)",
}


@pytest.mark.parametrize("how", LOST)
def test_a_host_that_is_lost_on_the_way(fresh: dict[str, Host], how: str):
    prepare(fresh)
    lost, other = fresh["lab1"], fresh["lab2"]
    lost.succeed(f"""
mkdir -p /usr/local/bin
cat >/usr/local/bin/flock <<'EOF'
#!/bin/sh
[ "$1" != -s ] || exec /usr/bin/flock "$@" # only a look
{LOST[how]}
exec sleep infinity
EOF
chmod 755 /usr/local/bin/flock
""")
    outcome = deploy("-y", guests=[WEB])
    assert outcome.code == 1
    assert any("The host was lost or the command killed" in line for line in outcome.lines("lab1"))
    assert "Traceback" not in outcome.stderr
    assert other.succeed("systemctl -M web is-system-running") == "running\n"
    lost.reboot()
    lost.succeed("rm /usr/local/bin/flock")
    succeed(guests=[WEB])
