"""A guest moves to another commit, and back where it does not come up with it."""

from __future__ import annotations

import base64
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.commits import BAD, commit, release
from tests.lab.conftest import BOTH, Outcome, pyinfra, succeed
from tests.lab.guest import inside
from tests.lab.shell import retry
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("both_guests")

REF = "test/web"
RELEASE = "cat /usr/lib/lab-release"
WEB: dict[str, Any] = {"name": "web", "source": REF, "start_timeout_seconds": 25}
SHARED: dict[str, Any] = {**WEB, "name": "own", "sysroot": "shared"}
GUESTS = [WEB, SHARED]
STATE = "/var/lib/pyinfra-nspawn"
STARTED = "systemctl show systemd-nspawn@{} -p ExecMainStartTimestampMonotonic --value"
# It writes down each line that it has written, in a place that is not merged or copied. bash waits without a
# process of its own, so that it comes to a hundred lines a second. With the new commit it goes on.
WRITER = """[Service]
ExecStart=bash -c 'exec 9<> <(:); \\
  count=$$(tail -n 1 /var/written%(path)s 2>/dev/null); \\
  while :; do \\
    count=$$((count + 1)); \\
    echo $$count >>%(path)s && echo $$count >>/var/written%(path)s; \\
    read -rt 0.008 -u 9; \\
  done'
"""
WRITTEN = ("/etc/log", "/var/log/lines")
#: Lines of about a second.
A_SECOND = 100


@pytest.fixture(scope="module")
def taken(fresh: dict[str, Host]) -> dict[str, int]:
    """How much of each host's disk was taken before it had a guest, in MiB."""
    moved(fresh, "one")
    return {name: used(host) for name, host in fresh.items()}


@pytest.fixture(scope="module")
def both_guests(taken: dict[str, int]) -> None:
    """A guest of each kind of sysroot on each host."""
    assert taken
    succeed(guests=GUESTS)


def upgrade(*options: str, guests: list[dict[str, Any]] | None = None, **data: object) -> Outcome:
    return pyinfra("-y", "--json", *options, "deploys/upgrade.py", guests=guests or GUESTS, **data)


def moved(fresh: dict[str, Host], name: str) -> dict[str, str]:
    """Have the source of the guests name a commit of that name on both hosts; return it by host."""
    return on_each(fresh.values(), lambda host: commit(host, REF, release(name)))


def runs(host: Host, guest: str, name: str) -> None:
    assert inside(host, guest, RELEASE) == f"{name}\n"
    assert host.succeed(f"systemctl -M {guest} is-system-running") == "running\n"
    assert host.succeed("ls -A /run/pyinfra-nspawn/trial") == ""


def deployments(host: Host, guest: str) -> list[str]:
    sysroot = "" if guest == "own" else f"--sysroot={STATE}/{guest}"
    listed = host.succeed(f"ostree admin {sysroot} status").splitlines()
    return [line.split()[1] for line in listed if re.match(rf"[* ] {guest} ", line)]


def boots(host: Host, guest: str) -> str:
    """Return the commit that a guest boots."""
    return host.succeed(f"basename $(readlink {STATE}/{guest}/current)").partition(".")[0]


def start_writers(host: Host, guest: str) -> None:
    inside(host, guest, "mkdir -p /var/written/etc /var/written/var/log")
    for path in WRITTEN:
        unit = f"writer{path.replace('/', '-')}.service"
        text = base64.b64encode((WRITER % {"path": path}).encode()).decode()
        inside(host, guest, f"echo {text} | base64 -d >/etc/systemd/system/{unit}")
        wants = "/etc/systemd/system/multi-user.target.wants"
        inside(host, guest, f"mkdir -p {wants}; ln -s ../{unit} {wants}; systemctl daemon-reload")
        inside(host, guest, f"systemctl start {unit}")
        retry(partial(_wrote, host, guest, path, A_SECOND), 30, f"lines in {path}")


def _wrote(host: Host, guest: str, path: str, count: int) -> bool:
    return int(inside(host, guest, f"wc -l </var/written{path}")) > count


def nothing_is_lost(host: Host, guest: str, before: int) -> None:
    """+ before: how many lines each writer had written before the upgrade, at least"""
    for path in WRITTEN:
        retry(partial(_wrote, host, guest, path, before + A_SECOND), 30, f"more lines in {path}")
        inside(host, guest, f"systemctl disable --now writer{path.replace('/', '-')}.service")
        written = inside(host, guest, f"cat /var/written{path}").splitlines()
        assert written == [str(number) for number in range(1, len(written) + 1)]
        # A writer that was ended between its two files has written that line twice.
        found = list(dict.fromkeys(inside(host, guest, f"cat {path}").splitlines()))
        assert found[: len(written)] == written, path


def test_a_good_commit_is_kept_and_no_write_is_lost(fresh: dict[str, Host]):
    commits = moved(fresh, "two")
    told = succeed(guests=GUESTS)
    for name in BOTH:
        assert any("web: it boots commit" in line and REF in line for line in told.lines(name)), told.stderr
    for host in fresh.values():
        start_writers(host, "web")
        start_writers(host, "own")
    before = {
        name: int(inside(host, "own", f"wc -l </var/written{WRITTEN[1]}")) for name, host in fresh.items()
    }
    outcome = upgrade()
    assert outcome.code == 0, outcome.stderr
    for name, host in fresh.items():
        for guest in ("web", "own"):
            runs(host, guest, "two")
            nothing_is_lost(host, guest, before[name])
            said = f"{guest}: runs commit {commits[name][:12]}, was down for "
            (down,) = [line.removeprefix(said) for line in outcome.lines(name) if line.startswith(said)]
            assert float(down.removesuffix(" s")) < 10
            assert len(deployments(host, guest)) == 2
        assert host.succeed("ostree admin status").startswith("* host ")
    again = upgrade()
    assert again.code == 0
    assert again.json["results"]["totals"]["success"] == 0


def test_what_a_dry_run_shows_is_what_is_done(fresh: dict[str, Host]):
    moved(fresh, "three")
    started = {name: host.succeed(STARTED.format("web")) for name, host in fresh.items()}
    outcome = pyinfra("--dry", "deploys/upgrade.py", guests=GUESTS)
    for name, host in fresh.items():
        lines = "\n".join(outcome.lines(name))
        for guest in ("web", "own"):
            assert f"upgrade guest {guest} to commit" in lines
            assert f"remove 1 deployment of guest {guest}" in lines
            assert inside(host, guest, RELEASE) == "two\n"
        assert host.succeed(STARTED.format("web")) == started[name]


def test_a_failure_ends_the_upgrade_of_its_host_and_of_later_waves(fresh: dict[str, Host]):
    """On one host only, the first: the other is not reached."""
    host = fresh["lab1"]
    before = {name: inside(host, "web", RELEASE).strip() for name, host in fresh.items()}
    moved(fresh, "four")
    bad = commit(host, REF, {**release("bad"), **BAD["a unit fails"]})
    outcome = upgrade()
    assert outcome.code == 1
    runs(host, "web", before["lab1"])
    runs(fresh["lab2"], "web", before["lab2"])
    said = "\n".join(outcome.lines("lab1"))
    assert f"web: with commit {bad[:12]}: bad.service failed; it went back to the old" in said
    for name, guest in (("lab1", "own"), ("lab2", "web"), ("lab2", "own")):
        not_tried = f"{guest}: not tried: the upgrade of guest web on lab1 failed before"
        assert any(line.startswith(not_tried) for line in outcome.lines(name)), outcome.stderr


#: How the run begins to say why.
REASONS = {
    "starting for ever": "it did not start (waited ",
    "a unit fails": "bad.service failed",
    "a unit crashes in a loop": "loop.service",
    "the boot hangs": "it did not start (waited ",
}
#: A part of the guest's console that the run shows.
LAST_LINES = {
    "a unit fails": "Started bad.service",
    "the boot hangs": "Starting systemd-nspawn@own.service",
}


@pytest.mark.parametrize("troubles", [list(BAD)[:2], list(BAD)[2:]], ids=" and ".join)
def test_a_bad_commit_is_undone_reported_and_not_tried_again(fresh: dict[str, Host], troubles: list[str]):
    """Another one on each host; the second guest is in the host's own sysroot."""

    def try_it(host: Host) -> None:
        trouble, guest = (troubles[0], WEB) if host.name == "lab1" else (troubles[1], SHARED)
        name = guest["name"]
        wanted = [one if one is guest else {**one, "source": boots(host, one["name"])} for one in GUESTS]
        before = inside(host, name, RELEASE).strip()
        bad = commit(host, REF, {**release("bad"), **BAD[trouble]})
        began = time.monotonic()
        outcome = upgrade("--limit", host.name, guests=wanted)
        assert time.monotonic() - began < 2 * WEB["start_timeout_seconds"] + 20
        assert outcome.code == 1
        runs(host, name, before)
        said = "\n".join(outcome.lines(host.name))
        assert f"{name}: with commit {bad[:12]}: {REASONS[trouble]}" in said
        assert "went back to the old" in said
        assert LAST_LINES.get(trouble, "") in said
        assert not [found for found in deployments(host, name) if found.startswith(bad)]
        started = host.succeed(STARTED.format(name))
        again = upgrade("--limit", host.name, guests=wanted)
        assert again.code == 1
        assert any(f"commit {bad[:12]} is not tried again" in line for line in again.lines(host.name))
        assert host.succeed(STARTED.format(name)) == started

    on_each(fresh.values(), try_it)


def test_a_refusal_is_lifted_by_a_word_or_by_another_commit(fresh: dict[str, Host]):
    host = fresh["lab1"]
    outcome = upgrade("--limit", "lab1", retry="web")
    assert outcome.code == 1
    assert any("went back to the old" in line for line in outcome.lines("lab1")), outcome.stderr
    good = commit(host, REF, release("five"))
    assert upgrade("--limit", "lab1").code == 0
    runs(host, "web", "five")
    assert good not in host.succeed(f"cat {STATE}/web/refused-commits")


CHECKS = {
    "`test -e /etc/nothing; false`": {"commands": ["test -e /etc/nothing; false"]},
    "nothing.service": {"units": ["nothing.service"]},
    "port 81": {"tcp": [81]},
    "`mkdir /run/once` failed (after 1 s)": {"commands": ["mkdir /run/once"], "settle_seconds": 1},
    "http://localhost:81/ is not answered": {
        "units": ["dbus.service"],
        "tcp": [22],
        "http": ["http://localhost:81/"],
    },
}
"""By what the run says of them; the guest meets none."""
MET = {
    "units": ["dbus.service"],
    "commands": [
        "grep -q six /usr/lib/lab-release && exit 0",
        "[ -e /run/waited ] || { touch /run/waited; false; }",
    ],
    "tcp": [22],
    "timeout_seconds": 20,
    "settle_seconds": 1,
}


def test_its_own_checks_decide(fresh: dict[str, Host]):
    host = fresh["lab1"]
    before = inside(host, "web", RELEASE).strip()
    commit(host, REF, release("six"))
    for says, check in CHECKS.items():
        wanted = [{**WEB, "checks": {"timeout_seconds": 1, **check}}, SHARED]
        outcome = upgrade("--limit", "lab1", guests=wanted, retry="web")
        assert outcome.code == 1
        runs(host, "web", before)
        assert any(says in line for line in outcome.lines("lab1")), outcome.stderr
    wanted = [{**guest, "checks": MET} for guest in GUESTS]
    assert upgrade("--limit", "lab1", guests=wanted, retry="web").code == 0
    runs(host, "web", "six")


def rollback(*names: str) -> Outcome:
    return pyinfra("-y", "--json", "deploys/rollback.py", guests=GUESTS, rollback=list(names))


def test_back_and_forward_and_an_upgrade_after_that(fresh: dict[str, Host]):
    """Each time with the /etc that it had; an upgrade carries the /etc of the one that ran."""
    commits = moved(fresh, "seven")
    assert upgrade().code == 0
    both = ("web", "own")
    for host in fresh.values():
        for guest in both:
            inside(host, guest, "echo new >/etc/of; echo kept >/var/of")
    dry = pyinfra("--dry", "deploys/rollback.py", guests=GUESTS, rollback=list(both))
    assert any("with deployment" in line for line in dry.lines("lab1")), dry.stderr
    assert rollback(*both).code == 0
    for host in fresh.values():
        for guest in both:
            assert inside(host, guest, RELEASE) != "seven\n"
            assert inside(host, guest, "cat /etc/of; cat /var/of").splitlines()[-1:] == ["kept"]
            assert inside(host, guest, "ls /etc/of || echo none").endswith("none\n")
            inside(host, guest, "echo old >/etc/of")
    refused = upgrade()
    assert refused.code == 1
    assert any(
        f"commit {commits['lab1'][:12]} is not tried again: it was rolled back" in line
        for line in refused.lines("lab1")
    ), refused.stderr
    assert rollback(*both).code == 0
    for host in fresh.values():
        for guest in both:
            runs(host, guest, "seven")
            assert inside(host, guest, "cat /etc/of") == "new\n"
    assert rollback(*both).code == 0
    moved(fresh, "eight")
    assert upgrade().code == 0
    for host in fresh.values():
        for guest in both:
            runs(host, guest, "eight")
            assert inside(host, guest, "cat /etc/of; cat /var/of") == "old\nkept\n"


def used(host: Host) -> int:
    """Return how much of the disk is taken, in MiB, but for the host's own journal."""
    host.succeed("sync")
    journal = int(host.succeed("du -sm /var/log").split()[0])
    return int(host.succeed("df --output=used -m /var | tail -n 1")) - journal


def test_five_upgrades_in_a_row_leave_two_deployments_and_what_is_pinned(fresh: dict[str, Host]):
    """Of the guest in a sysroot of its own on one host, and of the one in the host's on the other."""

    def upgrades(host: Host) -> None:
        one = WEB if host.name == "lab1" else SHARED
        guest = one["name"]
        first = commit(host, REF, release("pinned"))
        pinning = {**one, "pinned": [first]}
        succeed("--limit", host.name, "-y", guests=[pinning])
        for name in ("pinned", "b", "c", "d", "e"):
            if name != "pinned":
                commit(host, REF, release(name))
            outcome = upgrade("--limit", host.name, guests=[pinning])
            assert outcome.code == 0, outcome.stderr
            runs(host, guest, name)
            assert len(deployments(host, guest)) <= 3
        assert any(found.startswith(first) for found in deployments(host, guest))
        assert upgrade("--limit", host.name, guests=[{**one, "keep": 1}]).code == 0
        assert len(deployments(host, guest)) == 3
        assert upgrade("--limit", host.name, guests=[one]).code == 0
        assert len(deployments(host, guest)) == 2
        sysroot = f"{STATE}/web" if guest == "web" else "/sysroot"
        host.succeed(f"ostree fsck --quiet --repo={sysroot}/ostree/repo", timeout=120)

    on_each(fresh.values(), upgrades)


def test_a_removal_gives_the_disk_back(fresh: dict[str, Host], taken: dict[str, int]):
    """After all these upgrades, good ones and bad ones."""
    gone = [{**guest, "state": "absent", "purge": True} for guest in GUESTS]
    succeed(guests=gone)
    for name, host in fresh.items():
        assert used(host) - taken[name] < 10
        assert "own" not in host.succeed("ostree admin status; ls /boot/ostree")
