"""Which files, keys and credentials an inventory may ask for: each file once, where it can be written."""

import base64

import pytest

from pyinfra_nspawn.plans.render import define
from tests.unit.refused import accepted, refusal

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@example.org"
KEYS = "/root/.ssh/authorized_keys"
MIB = 1024 * 1024


@pytest.mark.parametrize("path", [KEYS, "/var/roothome/.ssh/authorized_keys"])
def test_root_s_keys_are_written_once(path: str):
    words = refusal(authorized_keys=[KEY], files={path: KEY})
    assert f"authorized_keys and file {path} write the same file; keep one of them" in words
    assert accepted(files={path: KEY})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/root/x", "/var/roothome/x"),
        ("/home/core/x", "/var/home/core/x"),
        ("/opt/x", "/var/opt/x"),
        ("/srv/x", "/var/srv/x"),
        ("/mnt/x", "/var/mnt/x"),
        ("/media/x", "/run/media/x"),
        ("/usr/local/x", "/var/usrlocal/x"),
        ("/var/run/x", "/run/x"),
        ("/var/lock/x", "/run/lock/x"),
    ],
)
def test_two_paths_of_one_file(one: str, other: str):
    words = refusal(files={one: "a", other: "b"})
    assert f"file {one} and file {other} write the same file" in words
    assert accepted(files={one: "a", f"{other}y": "b"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/etc/a", "/etc/a/b"),
        ("/etc/a", "/etc/a/b/c"),
        ("/opt/a", "/var/opt/a/b"),
        ("/var/opt/a", "/opt/a/b"),
    ],
)
def test_a_file_that_another_takes_for_a_directory(one: str, other: str):
    words = refusal(files={one: "a", "/etc/a-b": "c", other: "b"})
    assert f"file {other} lies below file {one}; rename one of them" in words
    assert accepted(files={one: "a", f"{one}.d": "c"})


@pytest.mark.parametrize("path", ["/root/.ssh", "/var/roothome/.ssh"])
def test_a_file_where_root_s_keys_need_a_directory(path: str):
    assert f"authorized_keys lies below file {path}" in refusal(authorized_keys=[KEY], files={path: ""})


@pytest.mark.parametrize(
    ("credential", "path"),
    [
        ("ssh.authorized_keys.root", KEYS),
        ("login.motd", "/etc/motd.d/50-provision.conf"),
        ("login.issue", "/etc/issue.d/50-provision.conf"),
        ("network.hosts", "/etc/hosts"),
    ],
)
def test_a_credential_that_systemd_writes_to_a_file(credential: str, path: str):
    words = refusal(credentials={credential: "x"}, files={path: "y"})
    assert f"credential {credential} and file {path} write the same file" in words
    assert accepted(credentials={credential: "x"}, files={"/etc/motd": "y"})


def test_the_credential_for_root_s_keys_and_the_field():
    words = refusal(credentials={"ssh.authorized_keys.root": KEY}, authorized_keys=[KEY])
    assert "authorized_keys and credential ssh.authorized_keys.root write the same file" in words


def test_lines_of_one_s_own_stand_beside_those_of_the_fields():
    own = {"tmpfiles.extra": f"f {KEYS} 0600\nd /etc/a\n"}
    guest = accepted(credentials=own, authorized_keys=[KEY], files={"/etc/a": ""})
    assert define(guest).credentials["tmpfiles.extra"].startswith(own["tmpfiles.extra"])


@pytest.mark.parametrize(
    "path",
    [
        *("/usr/x", "/usr/share/x", "/bin/x", "/sbin/x", "/lib/x", "/lib64/x"),
        *("/boot/x", "/efi/x", "/sysroot/x", "/ostree/x", "/a"),
    ],
)
def test_a_file_where_the_guest_is_read_only(path: str):
    top = path if path == "/a" else "/" + path.split("/")[1]
    assert refusal(files={path: ""}).endswith(
        f"the guest's {'/' if path == '/a' else top} is read-only; use a path in /etc or /var"
    )


@pytest.mark.parametrize("top", ["/proc", "/sys", "/dev"])
def test_a_file_where_the_kernel_keeps_its_own(top: str):
    words = f"the guest's {top} belongs to its kernel; use a path in /etc or /var"
    assert refusal(files={f"{top}/x": ""}).endswith(words)


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/var", "/run", "/tmp", "/root", "/home", "/var/home", "/usr/local", "/run/media"]
)
def test_a_directory_is_no_file(path: str):
    assert refusal(files={path: ""}).endswith(f"{path} is a directory; add the file's name")


@pytest.mark.parametrize(
    ("path", "field"), [("/etc/hostname", "hostname"), ("/etc/machine-id", "machine_id")]
)
def test_a_file_that_is_a_field(path: str, field: str):
    assert refusal(files={path: "x"}).endswith(f"use the field {field} in its place")


@pytest.mark.parametrize(
    ("credential", "field"), [("system.hostname", "hostname"), ("system.machine_id", "machine_id")]
)
def test_a_credential_that_is_a_field(credential: str, field: str):
    assert refusal(credentials={credential: "x"}).endswith(f"use the field {field} in its place")


@pytest.mark.parametrize(
    "path", ["/etc/motd", "/var/lib/x", "/usr/local/bin/x", "/run/x", "/tmp/x", "/opt/a/b"]
)
def test_a_file_where_the_guest_can_write(path: str):
    assert accepted(files={path: ""})


def weight(guest) -> int:
    return sum(len(name) + len(text.encode()) for name, text in define(guest).credentials.items())


@pytest.mark.parametrize("field", ["credentials", "files"])
def test_what_systemd_takes_is_a_mebibyte(field: str):
    name = "/etc/x" if field == "files" else "x"
    empty = weight(accepted(**{field: {name: ""}}))
    room = (MIB - empty) * 3 // 4 // 3 * 3 if field == "files" else MIB - empty
    full = accepted(**{field: {name: "y" * room}})
    assert MIB - 4 < weight(full) <= MIB
    words = refusal(**{field: {name: "y" * (room + 3)}})
    size = empty + (len(base64.b64encode(bytes(room + 3))) if field == "files" else room + 3)
    assert f"take {size} bytes, and systemd's limit is {MIB}; use binds for large files" in words


def test_credentials_keys_and_files_count_together_and_in_bytes():
    each = {"credentials": {"a": "é" * (MIB // 5)}, "files": {"/etc/a": "y" * (MIB // 5)}}
    keys = [f"{KEY}{'z' * (MIB // 4)}"]
    assert accepted(**each)
    assert "systemd's limit is" in refusal(**each, authorized_keys=keys)
    assert "systemd's limit is" in refusal(credentials={"a": "é" * (MIB * 3 // 5)})
    assert "systemd's limit is" in refusal(credentials=dict.fromkeys("ab", "y" * (MIB // 2)))


@pytest.mark.parametrize(
    ("bind", "isolation"),
    [
        ({"source": "/srv/www"}, "private-users"),
        ({"source": "/srv/www", "read_only": False}, "private-users"),
        ({"source": "/srv/www", "idmap": True}, "private-users"),
        ({"source": "/data", "target": "/var/srv/www"}, "overlay"),
        ({"source": "/data", "target": "/srv"}, "none"),
    ],
)
def test_a_file_in_a_bind_that_guest_root_cannot_write(bind: dict[str, object], isolation: str):
    words = refusal(isolation=isolation, binds=[bind], files={"/srv/www/x": ""})
    target = bind.get("target", "/srv/www")
    assert words.endswith(
        f"files: the guest cannot write file /srv/www/x to the bind at {target}; change one of them"
    )
    assert accepted(isolation=isolation, binds=[bind], files={"/srv/x-www": ""} if target != "/srv" else {})


@pytest.mark.parametrize(
    ("bind", "isolation"),
    [
        ({"source": "/srv/www", "idmap": True, "read_only": False}, "private-users"),
        ({"source": "/srv/www", "read_only": False}, "none"),
    ],
)
def test_a_file_in_a_bind_that_guest_root_can_write(bind: dict[str, object], isolation: str):
    assert accepted(isolation=isolation, binds=[bind], files={"/srv/www/x": ""})
