"""No process of the host opens a path below the /etc or /var of a guest that runs: those are the guest's."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.lab import machine
from tests.lab.commits import commit, release
from tests.lab.conftest import pyinfra, succeed
from tests.lab.guest import inside
from tests.lab.lab import install_tools
from tests.lab.shell import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab import Host

REF = "test/web"
GUESTS: list[dict[str, Any]] = [
    {"name": "web", "source": REF},
    {"name": "own", "source": REF, "sysroot": "shared"},
]
DIRECTORIES = {"web": "/var/lib/pyinfra-nspawn/web/ostree/deploy/web", "own": "/sysroot/ostree/deploy/own"}
SHOWN = (
    "for moment in InactiveEnterTimestamp ActiveEnterTimestamp; do "
    "systemctl show --timestamp=us+utc --value -p $moment systemd-nspawn@{}; done"
)


def descendants(pid: int | None) -> list[int]:
    """Return a process and all that come from it."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = [pid]
    for one in found:
        found += [child for child, parent in pairs if parent == one]
    return [one for one in found if one]


@contextmanager
def traced(host: Host, log: Path) -> Iterator[None]:
    """Write down each path that a process of the host, or of a guest, gives to the kernel meanwhile."""
    words = [
        "strace",
        "--follow-forks",
        "--decode-fds=path",
        "--absolute-timestamps=format:unix,precision:ms",
    ]
    words += ["--trace=%file", "--string-limit=400", f"--output={log}"]
    words += [f"--attach={pid}" for pid in descendants(machine.leader(host.spec))]
    strace = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        retry(lambda: log.exists() and host.succeed("true") == "" and log.stat().st_size, 60, "a first call")
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait(60)


def opened_while_it_ran(log: Path, host: Host, guest: str, before: str, after: str) -> list[str]:
    """Return the calls that named a path below the /etc or /var that a guest had when it ran."""
    stopped, started = map(seconds, host.succeed(SHOWN.format(guest)).splitlines())
    directory = DIRECTORIES[guest]
    runs: list[tuple[str, Callable[[float], bool]]] = [
        (f"{directory}/deploy/{before}/etc/", lambda at: at < stopped),
        (f"{directory}/deploy/{after}/etc/", lambda at: at > started),
        (f"{directory}/var/", lambda at: at < stopped or at > started),
    ]
    found = []
    for line in log.read_text(errors="replace").splitlines():
        match = re.match(r"\d+ +(\d+\.\d+) (.*)", line)
        if match and any(path in match[2] and when(float(match[1])) for path, when in runs):
            found.append(line)
    return found


def seconds(shown: str) -> float:
    """Return a time that systemd shows, `Fri 2026-01-02 03:04:05.678901 UTC`, in seconds since 1970."""
    return datetime.strptime(f"{shown.split(maxsplit=1)[1]}+0000", "%Y-%m-%d %H:%M:%S.%f %Z%z").timestamp()


def test_an_upgrade_opens_nothing_of_a_guest_that_runs(fresh: dict[str, Host], tmp_path: Path):
    install_tools({"strace": "strace", "ps": "procps"})
    name, log = "lab1", tmp_path / "log"
    host = fresh[name]
    first = commit(host, REF, release("one"))
    succeed("--limit", name, "-y", guests=GUESTS)
    second = commit(host, REF, release("two"))
    with traced(host, log):
        outcome = pyinfra("--limit", name, "-y", "deploys/upgrade.py", guests=GUESTS)
        again = pyinfra("--limit", name, "-y", "deploys/upgrade.py", guests=GUESTS)
        for guest in DIRECTORIES:
            inside(host, guest, "cat /usr/lib/lab-release")
    assert (outcome.code, again.code) == (0, 0), outcome.stderr
    text = log.read_text(errors="replace")
    for guest, directory in DIRECTORIES.items():
        assert f"{directory}/deploy/{second}.0" in text  # it sees what there is to see
        assert opened_while_it_ran(log, host, guest, f"{first}.0", f"{second}.0") == []


def test_a_backup_opens_nothing_of_a_guest_that_runs(fresh: dict[str, Host], tmp_path: Path):
    install_tools({"strace": "strace", "ps": "procps"})
    name, log = "lab2", tmp_path / "log"
    host = fresh[name]
    first = commit(host, REF, release("one"))
    succeed("--limit", name, "-y", guests=GUESTS)
    with traced(host, log):
        outcome = pyinfra("--limit", name, "-y", "deploys/backup.py", guests=GUESTS)
        for guest in DIRECTORIES:
            inside(host, guest, "cat /usr/lib/lab-release")
    assert outcome.code == 0, outcome.stderr
    text = log.read_text(errors="replace")
    for guest, directory in DIRECTORIES.items():
        assert f"{directory}/var" in text  # it sees what there is to see
        assert opened_while_it_ran(log, host, guest, f"{first}.0", f"{first}.0") == []
