"""Guests from a remote that the inventory declares: signed, unsigned, and one that dies in the middle."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import pytest

from tests.lab.commits import commit, release
from tests.lab.conftest import Outcome, pyinfra, remote_commands, succeed
from tests.lab.guest import inside
from tests.lab.served import ALL, serve
from tests.lab.shell import retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab import Host
    from tests.lab.served import Web

REF = "test/served"
SERVED = "var/tmp/served"
KEY = """
set -e
export GNUPGHOME=/var/tmp/gpg
mkdir -p -m 0700 $GNUPGHOME
gpg --batch --quiet --passphrase '' --quick-generate-key test default default never 2>/dev/null
gpg --armor --export
"""
FINGERPRINT = (
    "gpg --homedir=/var/tmp/gpg --list-keys --with-colons | "
    r"sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p' | head -n 1"
)
RELEASE = "cat /usr/lib/lab-release"
#: Of a commit, and what a server that dies gives out of them.
OBJECTS = 25
FEW = 20


@pytest.fixture(scope="module")
def host(fresh: dict[str, Host]) -> Host:
    return fresh["lab1"]


@pytest.fixture(scope="module")
def key(host: Host) -> str:
    """A public key, whose secret half is on the host."""
    return host.succeed(f"sh -c '{KEY}'".replace("''", '""'), timeout=120)


@pytest.fixture(scope="module")
def web(host: Host) -> Iterator[Web]:
    """A remote, empty at first, whose repository is a directory of the host."""
    host.succeed(f"ostree init --mode=archive --repo=/{SERVED}")
    with serve(host, host.sysroot / "ostree/deploy/host" / SERVED) as found:
        yield found


def offer(host: Host, name: str, *, signed: bool) -> str:
    """Have the remote's ref name another commit, which the host's own repository does not keep."""
    made = commit(
        host, REF, {**release(name), **{f"/usr/share/{name}/{n}": f"{name}{n}" for n in range(OBJECTS)}}
    )
    repo = f"--repo=/{SERVED}"
    host.succeed(f"ostree pull-local {repo} /sysroot/ostree/repo {made}", timeout=120)
    if signed:
        host.succeed(f"ostree gpg-sign {repo} --gpg-homedir=/var/tmp/gpg {made} $({FINGERPRINT})")
    host.succeed(f"ostree refs {repo} --create={REF} --force {made} && ostree summary {repo} --update")
    host.succeed(
        "unshare --mount sh -c 'mount -o remount,bind,rw /sysroot; "
        f"ostree refs --repo=/sysroot/ostree/repo --delete {REF}; "
        "ostree prune --repo=/sysroot/ostree/repo --refs-only'",
        timeout=120,
    )
    return made


GUESTS = {
    "web": {"name": "web", "source": f"served:{REF}", "start_timeout_seconds": 40},
    "own": {"name": "own", "source": f"served:{REF}", "start_timeout_seconds": 40, "sysroot": "shared"},
}
"""A guest in a sysroot of its own, and one in the host's."""


def converge(url: str, guest: str, **remote: object) -> Outcome:
    return run(*("deploys/host.py", "deploys/guest.py"), url=url, guest=guest, **remote)


def upgrade(url: str, guest: str, **remote: object) -> Outcome:
    return run(*("deploys/host.py", "deploys/upgrade.py"), url=url, guest=guest, **remote)


def run(*deploys: str, url: str, guest: str, **remote: object) -> Outcome:
    settings = {"remotes": [{"name": "served", "url": url, **remote}]}
    return pyinfra("--limit", "lab1", "-y", *deploys, nspawn_host=settings, guests=[GUESTS[guest]])


def is_refused(outcome: Outcome) -> None:
    assert outcome.code == 1
    assert any("signature" in line or "GPG" in line for line in outcome.lines("lab1")), outcome.stderr


def test_an_unsigned_commit_makes_no_guest(host: Host, key: str, web: Web):
    offer(host, "unsigned", signed=False)
    is_refused(converge(web.url, "web", gpg_keys=[key]))
    assert host.run("systemctl is-active systemd-nspawn@web").returncode != 0


@pytest.mark.parametrize("guest", GUESTS)
def test_a_guest_moves_to_what_is_signed_and_to_nothing_else(host: Host, key: str, web: Web, guest: str):
    offer(host, f"{guest}1", signed=True)
    made = converge(web.url, guest, gpg_keys=[key])
    assert made.code == 0, made.stderr
    before = inside(host, guest, RELEASE)
    offer(host, f"{guest}2", signed=False)
    is_refused(upgrade(web.url, guest, gpg_keys=[key]))
    assert inside(host, guest, RELEASE) == before
    offer(host, f"{guest}3", signed=True)
    told = converge(web.url, guest, gpg_keys=[key])
    assert any(f"{guest}: it boots commit" in line for line in told.lines("lab1")), told.stderr
    upgraded = upgrade(web.url, guest, gpg_keys=[key])
    assert upgraded.code == 0, upgraded.stderr
    assert any("from remote served" in line for line in upgraded.lines("lab1")), upgraded.stderr
    assert inside(host, guest, RELEASE) == f"{guest}3\n"
    again = upgrade(web.url, guest, gpg_keys=[key])
    assert again.code == 0, again.stderr
    assert "pull " not in again.stderr


def test_what_is_unsigned_is_taken_where_the_inventory_says_so(host: Host, web: Web):
    offer(host, "open", signed=False)
    opened = upgrade(web.url, "web", unverified=True)
    assert opened.code == 0, opened.stderr
    assert inside(host, "web", RELEASE) == "open\n"


@pytest.mark.parametrize("guest", GUESTS)
def test_a_remote_that_dies_in_the_middle_leaves_the_old_guest_running(
    host: Host, key: str, web: Web, guest: str
):
    """The next run pulls only what is missing."""
    before = inside(host, guest, RELEASE)
    started = f"systemctl show systemd-nspawn@{guest} -p ExecMainStartTimestampMonotonic --value"
    at = host.succeed(started)
    offer(host, f"{guest}4", signed=True)
    with web.gives_out(FEW):
        cut = upgrade(web.url, guest, gpg_keys=[key])
    assert cut.code == 1
    assert inside(host, guest, RELEASE) == before
    assert host.succeed(started) == at
    done = upgrade(web.url, guest, gpg_keys=[key])
    left = ALL - web.left
    assert done.code == 0, done.stderr
    assert inside(host, guest, RELEASE) == f"{guest}4\n"
    assert 0 < left < OBJECTS


def test_a_long_pull_says_how_far_it_came(host: Host, web: Web):
    offer(host, "long", signed=False)

    @functools.cache
    def asked_twice() -> bool:
        """Wait until the host has been asked meanwhile, and has answered."""
        before = remote_commands(host)
        retry(lambda: remote_commands(host) > before + 1, 28, "two commands beside the pull")
        return True

    with web.gives_out(FEW, more=asked_twice):
        upgraded = upgrade(web.url, "web", unverified=True)
    assert upgraded.code == 0, upgraded.stderr
    assert any(re.fullmatch(r"web: \d+\.\d MiB have arrived", line) for line in upgraded.lines("lab1"))
    assert inside(host, "web", RELEASE) == "long\n"


def test_a_remote_that_does_not_answer_refuses_the_upgrade_alone(web: Web):
    dead = web.url.rpartition(":")[0] + ":1"
    outcome = upgrade(dead, "web", unverified=True)
    assert outcome.code == 1
    assert any("its remote was asked in vain" in line for line in outcome.lines("lab1")), outcome.stderr
    assert converge(dead, "web", unverified=True).code == 0


def test_a_remote_that_is_no_longer_named_goes(host: Host):
    gone = [{"name": name, "state": "absent", "purge": True} for name in GUESTS]
    succeed("--limit", "lab1", "-y", guests=gone)
    assert host.succeed("ls /etc/ostree/remotes.d /etc/ostree/pyinfra-nspawn").split() == [
        "/etc/ostree/pyinfra-nspawn:",
        "/etc/ostree/remotes.d:",
    ]
