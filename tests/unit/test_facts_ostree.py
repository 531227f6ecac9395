"""Parsing of what ostree and rpm-ostree print."""

import json

import pytest

from pyinfra_nspawn.facts.base import GarbledError, Unreadable
from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot, parse_status, parse_sysroots
from tests.unit.answers import answer, part
from tests.unit.transcripts import GUEST_STATUS, HOST_STATUS, RPM_OSTREE_STATUS

DF = """\
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda2         10000000  4000000   6000000      40% /sysroot
"""


def host_answer(*more: list[str], status: list[str] | None = None) -> list[str]:
    return answer(
        status or part("status /", HOST_STATUS),
        part("stateroots /", "fedora\nguest"),
        part("refs /", f"remotes/fedora/fedora/30/x86_64/silverblue:{'f' * 64}\nheads/local:{'a' * 64}"),
        part("free /", DF),
        part("remotes /", '[remote "fedora"]\nurl=https://ostree.example.org'),
        *more,
    )


def host_sysroot(output: list[str]) -> Sysroot:
    seen = parse_sysroots(output)
    assert isinstance(seen, HostSysroots)
    assert isinstance(seen.host, Sysroot), seen.host
    return seen.host


def test_the_article_host_status():
    staged, booted, rollback = parse_status(tuple(HOST_STATUS.splitlines()))
    assert staged.staged
    assert not staged.booted
    assert (staged.index, staged.stateroot, staged.version) == (0, "fedora", "30.20190715.0")
    assert booted.booted
    assert booted.id == "8e721e68bfa7c813361f3067d202b2fd907634e192059451ffa8365ca5733224.0"
    assert booted.origin is None
    assert rollback.rollback
    assert rollback.index == 2


def test_the_article_guest_status():
    deployments = parse_status(tuple(GUEST_STATUS.splitlines()))
    (guest,) = (item for item in deployments if item.stateroot == "guest")
    assert guest.booted
    assert (
        guest.origin == guest.checksum == "fa23b170d892d78935de422064e73a84057119ea315257a9030dc7659e726a7b"
    )


def test_a_base_commit_is_told_from_a_layered_one():
    """The article: `ostree admin status` shows no commit that the remote knows, rpm-ostree does."""
    sysroot = host_sysroot(host_answer(part("rpm-ostree /", RPM_OSTREE_STATUS)))
    assert sysroot.booted is not None
    assert sysroot.booted.checksum.startswith("8e721e68")
    assert sysroot.booted.base_commit == "f8aeed3ee64bddecb6ebfd382db9c4b19c5f5502cb24fdb4eed788b9c4558f62"
    assert sysroot.booted.origin == "ostree://fedora:fedora/30/x86_64/silverblue"
    assert "systemd-container" in sysroot.booted.packages
    assert "systemd-container" not in sysroot.deployments[2].packages


def test_rpm_ostree_json():
    image = "ostree-unverified-registry:quay.io/fedora/fedora-coreos:stable"
    layered = {
        "osname": "fedora",
        "checksum": "a" * 64,
        "serial": 0,
        "base-checksum": "b" * 64,
        "requested-packages": ["tmux"],
        "booted": True,
        "container-image-reference": image,
    }
    text = json.dumps({"deployments": [layered]})
    status = part("status /", f"* fedora {'a' * 64}.0\n    Version: 42\n    origin: <unknown origin type>")
    (deployment,) = host_sysroot(host_answer(part("rpm-ostree-json /", text), status=status)).deployments
    assert deployment.base_commit == "b" * 64
    assert deployment.packages == ("tmux",)
    assert deployment.origin == image


def test_nothing_layered_has_no_base():
    sysroot = host_sysroot(host_answer())
    assert sysroot.booted is not None
    assert sysroot.booted.base_checksum is None
    assert sysroot.booted.base_commit == sysroot.booted.checksum


def test_status_json():
    item = {
        "index": 0,
        "checksum": "c" * 64,
        "serial": 1,
        "stateroot": "web",
        "pinned": True,
        "unlocked": "none",
        "version": "13.1",
        "refspec": "lab:debian",
    }
    status = part("status-json /", json.dumps({"deployments": [item]}))
    (deployment,) = host_sysroot(host_answer(status=status)).deployments
    assert deployment.id == f"{'c' * 64}.1"
    assert deployment.pinned
    assert not deployment.booted
    assert (deployment.version, deployment.origin) == ("13.1", "lab:debian")


def test_refs_remotes_and_space():
    sysroot = host_sysroot(host_answer())
    assert sysroot.refs == {"fedora:fedora/30/x86_64/silverblue": "f" * 64, "local": "a" * 64}
    assert sysroot.remotes == {"fedora": "https://ostree.example.org"}
    assert sysroot.free_bytes == 6000000 * 1024
    assert sysroot.stateroots == ("fedora", "guest")


def test_pinned_unlocked_and_finalization_locked():
    text = f"""\
  web {"d" * 64}.2 (finalization locked) (pending)
    Version: 1
    Unlocked: development
    Pinned: yes
    origin refspec: lab:web
    GPG: Signature made Mon
"""
    (deployment,) = parse_status(tuple(text.splitlines()))
    assert deployment.pending
    assert deployment.pinned
    assert deployment.unlocked == "development"


def test_no_deployments():
    assert parse_status(("No deployments.",)) == ()


def test_garbage_is_no_status():
    with pytest.raises(GarbledError):
        parse_status(("bash: cannot fork",))


@pytest.mark.parametrize(
    "output",
    [
        [],
        ["Welcome to this host!"],
        host_answer()[:-1],
        host_answer()[:3],
        ["motd", *host_answer()],
    ],
)
def test_an_answer_that_is_not_whole_is_unreadable(output: list[str]):
    assert isinstance(parse_sysroots(output), Unreadable)


def test_a_failing_command_makes_its_sysroot_unreadable_and_no_other():
    seen = parse_sysroots(host_answer(part("status web", "error: opening repo: Permission denied", 1)))
    assert isinstance(seen, HostSysroots)
    assert isinstance(seen.host, Sysroot)
    assert seen.guests["web"] == Unreadable("status: error: opening repo: Permission denied")


def test_a_missing_ostree_is_unreadable():
    seen = parse_sysroots(answer(part("status /", "there is no ostree command"), part("missing /", code=1)))
    assert isinstance(seen, HostSysroots)
    assert isinstance(seen.host, Unreadable)


def test_records_print_as_json():
    assert host_sysroot(host_answer()).to_json()["deployments"][1]["booted"] is True


def test_what_would_boot_the_second_entry():
    said = "greenboot\nboot_counter (in /boot/grub2/grubenv)\n"
    assert host_sysroot(host_answer(part("fallback /", said))).fallback == ", ".join(said.splitlines())
    assert host_sysroot(host_answer(part("fallback /"))).fallback == ""
