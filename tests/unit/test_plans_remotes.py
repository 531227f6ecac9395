"""Remotes of a host's repository: declared with their keys, or refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.plans.host import plan_host
from pyinfra_nspawn.plans.remotes import remote_files, remotes, with_remotes
from pyinfra_nspawn.specs import HostSettings
from pyinfra_nspawn.specs.base import InvalidSpecError
from tests.unit.seen import HOST, error, host_sysroot, payload, snapshot, step

if TYPE_CHECKING:
    from pyinfra_nspawn.plans.plan import Plan

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQGN\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
ED25519 = "A" * 43 + "="
IOT = {"name": "iot", "url": "https://example.org/repo", "gpg_keys": [KEY]}
OPEN = {"name": "open", "url": "http://example.org:8080/repo", "unverified": True}
FILE, KEYS = "/etc/ostree/remotes.d/iot.conf", "/etc/ostree/pyinfra-nspawn/iot.asc"


def settings(*given: dict[str, object]) -> HostSettings:
    return HostSettings.of({"remotes": list(given)}, "x")


def planned(wanted: HostSettings, present: dict[str, str] | None = None, **facts: object) -> Plan:
    features = tuple(facts.pop("features", ()))
    host = replace(HOST, remote_files=present or {}, ostree_features=features)
    return plan_host(wanted, (), snapshot(host_facts=host, **facts), (remotes,))


def test_a_remote_is_written_with_its_keys_and_how_it_is_verified():
    sent = payload(step(planned(settings(IOT)), "remotes"))
    assert sent[FILE][1].splitlines() == [
        "# Managed by pyinfra-nspawn",
        '[remote "iot"]',
        "url=https://example.org/repo",
        "gpg-verify=true",
        f"gpgkeypath={KEYS}",
    ]
    assert sent[KEYS] == ("644", f"# Managed by pyinfra-nspawn\n{KEY}")


def test_what_is_not_verified_says_so():
    sent = payload(step(planned(settings(OPEN)), "remotes"))
    assert "gpg-verify=false" in sent["/etc/ostree/remotes.d/open.conf"][1]


def test_an_ed25519_key_needs_an_ostree_that_knows_such():
    wanted = settings({"name": "iot", "url": "https://example.org/repo", "ed25519_key": ED25519})
    assert "verifies no ed25519 signatures" in error(planned(wanted), "unfit").problem
    sent = payload(step(planned(wanted, features=["sign-ed25519"]), "remotes"))
    assert f"sign-verify=ed25519\nverification-ed25519-key={ED25519}\n" in sent[FILE][1]


def test_the_second_time_there_is_nothing_to_do():
    wanted = settings(IOT, OPEN)
    present = {path: text for remote in wanted.remotes for path, text in remote_files(remote).items()}
    found = planned(wanted, present)
    assert not found.steps
    assert not found.findings


def test_what_is_no_longer_named_is_removed_and_others_stay():
    present = dict(remote_files(settings(IOT).remotes[0]).items())
    sent = payload(step(planned(settings(), present), "remotes"))
    assert sent == {FILE: ("-", ""), KEYS: ("-", "")}
    assert not planned(settings()).steps


def test_a_remote_of_that_name_that_is_not_ours_is_refused():
    wanted = settings({**IOT, "name": "fedora"})
    found = error(planned(wanted), "foreign")
    assert found.problem == "the host has a remote fedora that is not ours"


def test_a_plan_counts_on_the_remotes_that_the_host_is_given():
    found = with_remotes(snapshot(host=host_sysroot()), settings(IOT))
    assert set(found.sysroots.host.remotes) == {"fedora", "iot"}


@pytest.mark.parametrize(
    "bent",
    [
        {"gpg_keys": []},
        {"unverified": True},
        {"gpg_keys": ["no key"]},
        {"gpg_keys": [KEY.replace("mQGN", "m\x1b[2J")]},
        {"ed25519_key": ED25519},
        {"url": "https://me:secret@example.org/"},
        {"url": "-o"},
        {"url": 'https://x/"\nfoo=bar'},
        {"name": "a/b"},
        {"name": 'x"]'},
        {"name": "-x"},
    ],
)
def test_what_is_no_remote_is_refused(bent: dict[str, object]):
    with pytest.raises(InvalidSpecError):
        settings({**IOT, **bent})


def test_a_name_is_given_once():
    with pytest.raises(InvalidSpecError, match="remotes: iot is given twice"):
        settings(IOT, IOT)
