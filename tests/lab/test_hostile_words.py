"""What a guest's root says, names or has a bus answer decides about no other guest, in any isolation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import Outcome, deploy, succeed
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from tests.lab import Host

ISOLATIONS = {"users": "private-users", "layer": "overlay", "bare": "none"}
HOSTILE: list[dict[str, Any]] = [
    {"name": name, "isolation": isolation, "start_timeout_seconds": 5}
    for name, isolation in ISOLATIONS.items()
]
STARTED = "systemctl show systemd-nspawn@other -p ExecMainStartTimestampMonotonic --value"
# Descriptions that break lines, imitate an answer of the program, and command a terminal; the hostname of
# another guest, and a console and a journal full of the same.
WORDS = r"""
says() { systemd-run --quiet --unit="$1" --description="$(printf "$2")" false || :; }
says bad 'a\n\nb'
says answer ':: done\n:: definition other\n|0\n:: trouble restart other\n+\n:: done'
says terminal '\033]0;owned\007\033[2J\r[lab1] other: owned'
hostname other
yes "$(printf '\033[2J:: done\n[lab1] other: owned')" | head -c 300000 >/dev/console
head -c 100000 /dev/urandom >/dev/console
logger --priority emerg "$(printf ':: trouble restart other\n\033[2Jowned')"
"""
# Whoever asks its systemd has this answer, and no end of it.
BUS = r"""
systemd-run --quiet --unit=bus perl -MIO::Socket::UNIX -e '
    $SIG{PIPE} = "IGNORE";
    unlink($path = "/run/dbus/system_bus_socket");
    $bus = IO::Socket::UNIX->new(Local => $path, Listen => 100) or die;
    chmod 0666, $path;
    while ($client = $bus->accept) { push @all, $client; syswrite $client, "\e[2J:: done\n" x 1000 }'
"""


@pytest.fixture(scope="module")
def hosts(fresh: dict[str, Host]) -> dict[str, Host]:
    succeed(guests=[*HOSTILE, {"name": "other"}])
    return fresh


def act(hosts: dict[str, Host], script: str) -> None:
    """Have the root of each hostile guest run a script, on all hosts at once."""

    def each(host: Host) -> None:
        for name in ISOLATIONS:
            inside(host, name, script)

    on_each(hosts.values(), each)


def is_served(outcome: Outcome, hosts: dict[str, Host], others: dict[str, str]) -> None:
    """Expect trouble for each hostile guest and for none of the others, which have these hostnames."""
    assert outcome.code == 1
    assert not set(outcome.stdout + outcome.stderr) & {"\x1b", "\x07"}
    assert "owned" not in outcome.stdout + outcome.stderr
    for name, host in hosts.items():
        said = outcome.lines(name)
        assert {line.partition(": ")[0] for line in said if ": " in line} & {*others, "", "host"} == set()
        for guest in ISOLATIONS:
            assert any(line.startswith(f"{guest}: ") for line in said), outcome.stderr
        for guest, hostname in others.items():
            assert host.succeed(f"systemctl -M {guest} is-system-running") == "running\n"
            assert inside(host, guest, "hostname") == f"{hostname}\n"


def test_what_it_says_and_names(hosts: dict[str, Host]):
    act(hosts, WORDS)
    outcome = deploy("-y", guests=[*HOSTILE, {"name": "other", "hostname": "one"}])
    is_served(outcome, hosts, {"other": "one"})
    for name in hosts:
        assert any(line.startswith("users: ") and "bad.service" in line for line in outcome.lines(name))


def test_a_bus_that_answers_without_end(hosts: dict[str, Host]):
    act(hosts, BUS)
    before = on_each(hosts.values(), lambda host: host.succeed(STARTED))
    outcome = deploy("-y", guests=[*HOSTILE, {"name": "other", "hostname": "one"}, {"name": "new"}])
    is_served(outcome, hosts, {"other": "one", "new": "new"})
    assert on_each(hosts.values(), lambda host: host.succeed(STARTED)) == before


def test_it_is_purged_all_the_same(hosts: dict[str, Host]):
    gone = [{"name": name, "state": "absent", "purge": True} for name in ISOLATIONS]
    succeed(guests=[*gone, {"name": "other", "hostname": "one"}])
    on_each(hosts.values(), partial(is_gone, names=tuple(ISOLATIONS)))


def is_gone(host: Host, names: tuple[str, ...]) -> None:
    for name in names:
        host.fail(f"test -e /var/lib/pyinfra-nspawn/{name} || systemctl is-active systemd-nspawn@{name}")
    assert host.succeed("systemctl -M other is-system-running") == "running\n"
