"""What an inventory may say, and in which words it is refused."""

import pytest
from pydantic import SecretStr

from pyinfra_nspawn.specs import File, Guest, Guests, HostSettings, Named, Source
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.layout import Layout
from tests.unit.refused import refusal

COMMIT = "0123456789abcdef" * 4
IMAGE = "ostree-unverified-registry:quay.io/fedora/fedora-coreos:stable"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@example.org"


def test_the_smallest_guest():
    guest = Guest.of({"name": "web"}, "here")
    layout = Layout.of(guest)
    assert layout.unit == "systemd-nspawn@web.service"
    assert layout.current == "/var/lib/pyinfra-nspawn/web/current"
    assert (guest.source, guest.state, guest.autostart) == (Source(), "running", True)


@pytest.mark.parametrize(
    "name",
    ["", "-web", "web-", "a b", "a/b", "..", ".web", "a..b", "web\n", "w%i", "$(id)", "a" * 65, "wéb", "a_b"],
)
def test_a_name_that_is_no_machine_name(name: str):
    assert refusal(name=name).startswith("inventory of host1: name: must be 1 to 64 letters")


@pytest.mark.parametrize("name", ["w", "web-1", "web.example.org", "a" * 64, "1"])
def test_a_machine_name(name: str):
    assert Guest.of({"name": name}, "here").name == name


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("host", Source()),
        (COMMIT, Source(commit=COMMIT)),
        (f"fedora:{COMMIT}", Source(commit=COMMIT, remote="fedora")),
        (IMAGE, Source(image=IMAGE)),
        ("fedora/42/x86_64/iot", Source(ref="fedora/42/x86_64/iot")),
        ("fedora:fedora/42/x86_64/iot", Source(ref="fedora/42/x86_64/iot", remote="fedora")),
    ],
)
def test_a_source_is_read_and_written_alike(text: str, source: Source):
    assert Guest.of({"name": "web", "source": text}, "here").source == source
    assert str(source) == text


@pytest.mark.parametrize(
    "text", ["", "-x", "a b", "a;b", "--ref", "fedora:", ":x", "a//b", "/a", "a\n", "x:-y"]
)
def test_a_source_that_is_none(text: str):
    assert refusal(source=text).startswith("inventory of host1: source: ")


def test_a_short_commit_is_refused_with_the_remedy():
    assert refusal(source=COMMIT[:12]).endswith("a commit is written with all its 64 hex digits")


def test_an_unknown_field():
    assert refusal(memory="1G") == "inventory of host1: memory: no such field"


def test_a_wrong_type():
    assert refusal(autostart="yes") == "inventory of host1: autostart: Input should be a valid boolean"


@pytest.mark.parametrize("value", ["web,db", True, 1, ["web", 1], "-web"])
def test_what_is_to_be_adopted_is_a_name_or_a_list_of_names(value: object):
    with pytest.raises(InvalidSpecError, match=r"^host1: adopt"):
        Named.of({"adopt": value}, "host1")
    assert Named.of({"adopt": "web"}, "host1").adopt == ("web",)
    assert Named.of({"adopt": ["web", "db"]}, "host1").adopt == ("web", "db")


def test_a_guest_that_deploys_for_itself_must_see_where():
    assert "source: 'guest' needs isolation 'none'" in refusal(source="guest", isolation="overlay")
    assert Guest.of({"name": "web", "source": "guest", "isolation": "none"}, "test").source.guest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("environment", {"A": "b\nExecStart=/bin/sh"}),
        ("environment", {"A=B": "c"}),
        ("mask_units", ["ssh"]),
        ("mask_units", ["-x.service"]),
        ("authorized_keys", [f"{KEY}\n{KEY}"]),
        ("authorized_keys", ["/root/.ssh/id_ed25519.pub"]),
        ("capabilities", ["CAP_SYS_ADMIN CAP_NET_ADMIN"]),
        ("system_calls", ["bpf;"]),
        ("credentials", {"../x": "y"}),
        ("files", {"etc/motd": "x"}),
        ("files", {"/etc/a b": "x"}),
        ("files", {"/etc/../usr/x": "x"}),
        ("machine_id", "F" * 32),
        ("limits", {"memory_max": "lots"}),
        ("binds", [{"source": "/srv:/x"}]),
    ],
)
def test_a_value_that_could_become_something_else(field: str, value: object):
    assert f": {field}" in refusal(**{field: value})


def test_two_guests_of_one_name():
    with pytest.raises(InvalidSpecError, match=r"^host1: more than one guest is called a, b$"):
        Guests.of({"guests": [{"name": name} for name in "abcab"]}, "host1")


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"a": ["b"]}, "after: no guest of this host is called b"),
        ({"a": ["a"]}, "after: each waits for the next: a, a"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "after: each waits for the next: "),
    ],
)
def test_guests_that_could_never_start(after: dict[str, list[str]], words: str):
    with pytest.raises(InvalidSpecError, match=f"^host1: {words}"):
        Guests.of({"guests": [{"name": name, "after": names} for name, names in after.items()]}, "host1")


def test_secrets_show_nowhere():
    guest = Guest.of(
        {"name": "web", "credentials": {"token": "hunter2"}, "files": {"/etc/token": "hunter2"}}, "here"
    )
    assert "hunter2" not in repr(guest)
    assert "hunter2" not in str(guest.to_json())
    assert "hunter2" not in refusal(credentials={"token": ["hunter2"]})


def test_a_file_is_a_text_or_a_file():
    files = {"/etc/a": "text", "/etc/b": {"content": "more", "mode": "0600"}}
    guest = Guest.of({"name": "web", "files": files}, "here")
    assert guest.files["/etc/a"] == File(content=SecretStr("text"))
    assert guest.files["/etc/b"].mode == "0600"


def test_purge_is_only_for_what_is_to_be_absent():
    assert Guest.of({"name": "web", "state": "absent", "purge": True}, "here").purge
    assert refusal(purge=True).endswith("purge: is only for a guest whose `state` is 'absent'")


def test_host_settings():
    assert HostSettings.of({}, "here") == HostSettings()
    with pytest.raises(InvalidSpecError, match="host1: selinux: Input should be 'permissive' or 'enforcing'"):
        HostSettings.of({"selinux": "off"}, "host1")
