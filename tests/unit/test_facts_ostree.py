"""Parsing of what ostree and rpm-ostree print."""

import json

import pytest

from pyinfra_nspawn.facts.base import GarbledError, Unreadable, parse_answer
from pyinfra_nspawn.facts.ostree import (
    HostSysroots,
    Sysroot,
    Sysroots,
    parse_status,
    parse_status_json,
    parse_sysroots,
)
from tests.unit.answers import answer, cut, part, path_header, value, word
from tests.unit.transcripts import GUEST_STATUS, HOST_STATUS, RPM_OSTREE_STATUS

REMOTES = '[remote "fedora"]\nurl=https://ostree.example.org\n'
GLIB = "(process:812): GLib-GIO-CRITICAL **: 10:00:00.000: g_settings_schema_source_lookup: no source"


def sysroot_parts(name: str, *more: list[str], status: list[str] | None = None) -> list[list[str]]:
    """Return the parts of a sysroot; a later one of the same kind takes an earlier one's place."""
    return [
        status or part(f"status {name}", HOST_STATUS),
        part(f"stateroots {name}", "fedora\nguest\n"),
        part(
            f"refs {name}",
            f"remotes/fedora/fedora/30/x86_64/silverblue:{'f' * 64}\nheads/local:{'a' * 64}\n",
        ),
        *more,
    ]


def host_answer(*more: list[str], status: list[str] | None = None) -> list[str]:
    return answer(*sysroot_parts("/", part("remotes /", REMOTES), *more, status=status))


def sysroots(*more: list[str], status: list[str] | None = None) -> HostSysroots:
    seen = parse_sysroots(parse_answer(host_answer(*more, status=status)))
    assert isinstance(seen, HostSysroots), seen
    return seen


def host_sysroot(*more: list[str], status: list[str] | None = None) -> Sysroot:
    seen = sysroots(*more, status=status).host
    assert isinstance(seen, Sysroot), seen
    return seen


def spoilt(*more: list[str], status: list[str] | None = None) -> str:
    """Return why the host's sysroot is unreadable; a guest's is none the worse for it."""
    seen = sysroots(*more, *sysroot_parts("web"), status=status)
    assert isinstance(seen.guests["web"], Sysroot)
    assert isinstance(seen.host, Unreadable), seen.host
    return seen.host.reason


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
    sysroot = host_sysroot(part("rpm-ostree /", RPM_OSTREE_STATUS))
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
    (deployment,) = host_sysroot(part("rpm-ostree-json /", text), status=status).deployments
    assert deployment.base_commit == "b" * 64
    assert deployment.packages == ("tmux",)
    assert deployment.origin == image


def test_nothing_layered_has_no_base():
    sysroot = host_sysroot()
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
    (deployment,) = host_sysroot(status=status).deployments
    assert deployment.id == f"{'c' * 64}.1"
    assert deployment.pinned
    assert not deployment.booted
    assert (deployment.version, deployment.origin) == ("13.1", "lab:debian")


def test_refs_and_remotes():
    sysroot = host_sysroot()
    assert sysroot.refs == {"fedora:fedora/30/x86_64/silverblue": "f" * 64, "local": "a" * 64}
    assert sysroot.remotes == {"fedora": "https://ostree.example.org"}
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


# Case 3.
UNSIGNED = "error: Commit 8e72: GPG signatures found, but none are in trusted keyring"
PARTIAL_STATUS = "\n".join(HOST_STATUS.splitlines()[:6]) + "\n"


@pytest.mark.parametrize("name", ["/", "web"])
def test_a_status_that_failed_counts_as_far_as_it_got(name: str):
    failed = part(f"status {name}", PARTIAL_STATUS, 1, UNSIGNED)
    seen = sysroots(
        *sysroot_parts("web"), *([] if name == "/" else [failed]), status=failed if name == "/" else None
    )
    found = seen.host if name == "/" else seen.guests["web"]
    other = seen.guests["web"] if name == "/" else seen.host
    assert isinstance(found, Sysroot), found
    assert [item.booted for item in found.deployments] == [False, True]
    assert found.complaint == UNSIGNED
    assert isinstance(other, Sysroot)
    assert other.complaint == ""


def test_a_status_of_json_that_failed_counts_where_it_is_whole():
    item = {"index": 0, "checksum": "c" * 64, "serial": 0, "stateroot": "web"}
    seen = host_sysroot(status=part("status-json /", json.dumps({"deployments": [item]}), 1, UNSIGNED))
    assert (len(seen.deployments), seen.complaint) == (1, UNSIGNED)


@pytest.mark.parametrize("kind", ["status", "status-json"])
@pytest.mark.parametrize(
    "output", ["", "\n", '{"deployments": [', '{"deployments": []}', "bash: cannot fork\n"]
)
def test_a_status_that_failed_and_says_nothing_is_unreadable(kind: str, output: str):
    assert spoilt(status=part(f"{kind} /", output, 1, "error: no")) == f"{kind}: error: no"


@pytest.mark.parametrize("kind", ["status", "status-json"])
def test_a_status_that_timed_out_or_was_cut_is_unreadable(kind: str):
    assert spoilt(status=part(f"{kind} /", "", 124)) == f"{kind}: timed out"
    assert spoilt(status=cut(f"{kind} /", HOST_STATUS)) == f"{kind}: too much output"


@pytest.mark.parametrize(
    "text", ["[]", "1", "{}", '{"deployments": [1]}', '{"deployments": [{}]}', "\0", "\xff"]
)
def test_json_that_is_no_status_is_unreadable(text: str):
    assert spoilt(status=part("status-json /", text)).startswith("unexpected answer, ")


# Case 4.
@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (part("rpm-ostree /", "", 124), "rpm-ostree: timed out"),
        (
            part("rpm-ostree-json /", "", 1, "error: Could not activate"),
            "rpm-ostree-json: error: Could not activate",
        ),
        (part("rpm-ostree-json /", "half of wh", 124), "rpm-ostree-json: timed out"),
        (cut("rpm-ostree-json /", "{"), "rpm-ostree-json: too much output"),
        (part("rpm-ostree-json /", "{"), None),
        (part("rpm-ostree-json /", "[1]"), None),
        (part("rpm-ostree-json /", '{"deployments": 1}'), None),
        (part("rpm-ostree-json /", '{"deployments": ["a"]}'), None),
    ],
)
def test_an_rpm_ostree_that_does_not_answer_leaves_the_deployments(layers: list[str], reason: str | None):
    seen = host_sysroot(layers)
    assert [item.stateroot for item in seen.deployments] == ["fedora"] * 3
    assert isinstance(seen.layers, Unreadable)
    assert reason is None or seen.layers.reason == reason
    assert all(item.base_checksum is None for item in seen.deployments)


def test_layers_that_were_read_are_known():
    assert host_sysroot(part("rpm-ostree /", RPM_OSTREE_STATUS, 0, GLIB)).layers is None
    assert host_sysroot().layers is None


# Case 5.
@pytest.mark.parametrize(
    "status",
    [
        part("status /", HOST_STATUS, 0, GLIB),
        part(
            "status-json /",
            '{"deployments": [{"index":0,"checksum":"c","serial":0,"stateroot":"a"}]}',
            0,
            GLIB,
        ),
    ],
)
def test_a_warning_beside_a_good_status_is_no_complaint(status: list[str]):
    seen = host_sysroot(status=status)
    assert seen.deployments
    assert seen.complaint == ""


# Case 6.
@pytest.mark.parametrize(
    "text",
    [
        '[remote "a"]\nurl=https://a\n[remote "b"]\nurl=https://b\n',
        '[remote "a"]\nurl=https://a\n\n[remote "b"]\nurl=https://b',
        '\n[remote "a"]\nurl=https://a\n\n\n[remote "b"]\nurl=https://b\n\n',
        '[remote "a"]\n# url=https://x\nurl = https://a \ngpg-verify=true\n\n [remote "b"]\nurl=https://b\nurl-x=y\n',
    ],
)
def test_remotes_whatever_stands_between_them(text: str):
    assert host_sysroot(part("remotes /", text)).remotes == {"a": "https://a", "b": "https://b"}


def test_remotes_of_odd_names_and_urls():
    text = '[remote "my [one]"]\nurl=https://x/?a=b&c=d\n[remote "none"]\n'
    assert host_sysroot(part("remotes /", text)).remotes == {"my [one]": "https://x/?a=b&c=d", "none": ""}


@pytest.mark.parametrize("kind", ["stateroots", "refs", "remotes", "fallback"])
def test_a_part_that_failed_or_was_cut_is_not_taken_for_nothing(kind: str):
    assert spoilt(part(f"{kind} /", "", 1, "no")) == f"{kind}: no"
    assert spoilt(cut(f"{kind} /", "x")) == f"{kind}: too much output"


@pytest.mark.parametrize("said", [b"\xff", b"a\0b", "\x1b[2J", "x" * 2**20])
@pytest.mark.parametrize("kind", ["status", "status-json"])
def test_nonsense_is_unreadable(kind: str, said: bytes | str):
    reason = spoilt(part(f"{kind} /", said))
    assert reason.isprintable()
    assert len(reason) <= 300


def test_no_control_sequence_of_a_commit_is_passed_on():
    status = f"* fedora {'a' * 64}.0\n    Version: 1\x1b[2J\u202e\n"
    assert host_sysroot(status=part("status /", status)).deployments[0].version == "1?[2J?"
    item = {"index": 0, "checksum": "c" * 64, "serial": 0, "stateroot": "web", "version": "1\x1b[2J"}
    assert parse_status_json(json.dumps({"deployments": [item]}))[0].version == "1?[2J"


def test_refs_of_any_bytes():
    seen = host_sysroot(part("refs /", b"heads/caf\xe9:" + b"a" * 64 + b"\n\nheads/b:" + b"b" * 64 + b"\n"))
    assert seen.refs["b"] == "b" * 64
    assert len(seen.refs) == 2


def test_refs_of_mirrors_are_no_refs_of_ours():
    assert host_sysroot(part("refs /", f"mirrors/org.example/a:{'a' * 64}\n")).refs == {}


def test_what_was_asked_for():
    odd = b"/srv/caf\xe9 a\nb"
    seen = sysroots(
        value(f"commit {'a' * 64}", "present"),
        value(f"commit {'b' * 64}", "partial"),
        value(f"commit {'c' * 64}", "absent"),
        value(path_header("/srv/www"), word("/var/srv/www")),
        value(path_header("/none"), "absent"),
        value(path_header("absent"), word("absent")),
        value(path_header(odd), word(odd)),
    )
    assert isinstance(seen.host, Sysroot)
    assert seen.host.commits == {"a" * 64: "present", "b" * 64: "partial", "c" * 64: "absent"}
    name = odd.decode(errors="surrogateescape")
    assert seen.paths == {"/srv/www": "/var/srv/www", "/none": None, "absent": "absent", name: name}
    json.dumps(seen.to_json())


@pytest.mark.parametrize("name", ["status", "refs", "remotes", "done", "web", "commit"])
def test_a_guest_named_like_a_part(name: str):
    seen = sysroots(*sysroot_parts(name))
    assert set(seen.guests) == {name}
    assert isinstance(seen.guests[name], Sysroot)
    assert isinstance(seen.host, Sysroot)


@pytest.mark.parametrize(
    "output",
    [
        [],
        ["Welcome to this host!"],
        host_answer()[:-1],
        host_answer()[:3],
        ["motd", *host_answer()],
        answer(value("status")),
        answer(value("path /not/base64", "absent")),
        answer(value("commit")),
    ],
)
def test_an_answer_that_is_not_whole_is_unreadable(output: list[str]):
    assert isinstance(Sysroots().process(output), Unreadable)
    assert isinstance(Sysroots.default(), Unreadable)


def test_a_failing_command_makes_its_sysroot_unreadable_and_no_other():
    seen = sysroots(part("status web", "", 1, "error: opening repo: Permission denied"))
    assert isinstance(seen.host, Sysroot)
    assert seen.guests["web"] == Unreadable("status: error: opening repo: Permission denied")


@pytest.mark.parametrize("kind", ["stateroots", "refs"])
def test_a_part_that_is_missing_makes_its_sysroot_unreadable_and_no_other(kind: str):
    own = [lines for lines in sysroot_parts("web") if not lines[0].startswith(f":: {kind} ")]
    seen = sysroots(*own)
    assert seen.guests["web"] == Unreadable(f"unexpected answer, KeyError('{kind}')")
    assert isinstance(seen.host, Sysroot)


@pytest.mark.parametrize(
    "why", ["there is no ostree command", "this takes root: set _sudo to True in the inventory"]
)
def test_without_ostree_or_root_the_reason_is_given(why: str):
    seen = Sysroots().process(answer(part("status /", "", 1, why)))
    assert seen == HostSysroots(Unreadable(f"status: {why}"))


def test_a_host_that_is_not_spoken_of_is_unreadable():
    seen = Sysroots().process(answer(*sysroot_parts("web")))
    assert isinstance(seen, HostSysroots)
    assert isinstance(seen.host, Unreadable)
    assert isinstance(seen.guests["web"], Sysroot)


def test_records_print_as_json():
    assert host_sysroot().to_json()["deployments"][1]["booted"] is True


def test_what_would_boot_the_second_entry():
    said = "greenboot\nboot_counter (in /boot/grub2/grubenv)\n"
    assert host_sysroot(part("fallback /", said)).fallback == ", ".join(said.splitlines())
    assert host_sysroot(part("fallback /")).fallback == ""
