"""What an archive on the controller, or on a host, says of itself."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.archive import Archive, ArchiveFacts, archive_bytes, parse_archive, read_archive
from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import Backup
from pyinfra_nspawn.specs.archive import ArchiveData
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.host import HostSettings
from tests.archives import archive, file
from tests.unit.answers import answer, part, value

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "c" * 64
MANIFEST = f"pyinfra-nspawn-archive 1\nguest web\ncommit {COMMIT}\ntaken 7\norigin lab1\nsource host\n"
SEAL = f"pyinfra-nspawn sha256 {'d' * 64}\n"


def test_a_whole_one(tmp_path: Path):
    content, digest = archive(COMMIT, origin="lab1", source="host")
    path = tmp_path / "web.tar"
    path.write_bytes(content)
    found = read_archive(str(path))
    assert isinstance(found, Archive)
    assert (found.guest, found.commit, found.digest) == ("web", COMMIT, digest)
    assert (found.origin, found.source, found.size) == ("lab1", "host", len(content))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content[:-1], "no archive of a guest"),
        (lambda content: content[: len(content) // 2], "no archive of a guest"),
        (lambda content: content[:3000] + b"?" + content[3001:], "it is not whole, or was changed"),
        (lambda content: b"age-encryption.org/v1\n" + content, "must be decrypted before"),
        (lambda _: b"", "no archive of a guest"),
        (lambda content: content[-87:], "no archive of a guest"),
    ],
)
def test_one_that_was_cut_off_or_changed(tmp_path: Path, change, says: str):
    path = tmp_path / "web.tar"
    path.write_bytes(change(archive(COMMIT)[0]))
    found = read_archive(str(path))
    assert isinstance(found, Unreadable)
    assert says in found.reason


def test_one_that_is_not_there(tmp_path: Path):
    assert read_archive(str(tmp_path / "none")) == Unreadable("No such file or directory")
    assert read_archive(str(tmp_path)) == Unreadable("Is a directory")


def test_a_manifest_that_is_no_first_member(tmp_path: Path):
    path = tmp_path / "web.tar"
    path.write_bytes(
        archive(COMMIT, [file("manifest", "pyinfra-nspawn-archive 2\n")], **{"pyinfra-nspawn-archive": "0"})[
            0
        ]
    )
    assert isinstance(read_archive(str(path)), Unreadable)


@pytest.mark.parametrize("left_out", ["guest", "commit", "taken"])
def test_a_manifest_that_lacks_what_counts(left_out: str):
    lines = [line for line in MANIFEST.splitlines() if not line.startswith(left_out)]
    assert isinstance(parse_archive("x", "\n".join(lines), SEAL, 1), Unreadable)


def test_a_manifest_with_control_sequences_reaches_no_terminal():
    found = parse_archive("x", MANIFEST.replace("lab1", "lab\x1b[31m1"), SEAL, 1)
    assert isinstance(found, Archive)
    assert found.origin == "lab?[31m1"


def test_one_on_a_host():
    parts = [
        value("file", "20260102T030405Z.tar"),
        value("size", "9"),
        part("manifest", MANIFEST),
        part("seal", SEAL),
    ]
    found = ArchiveFacts().process(answer(*parts))
    assert isinstance(found, Archive)
    assert (found.file, found.digest, found.sha256) == ("20260102T030405Z.tar", "d" * 64, "")
    assert ArchiveFacts().process(answer()) is None
    parts[2] = part("manifest", "", code=2)
    assert isinstance(ArchiveFacts().process(answer(*parts)), Unreadable)
    assert isinstance(ArchiveFacts().process([":: file"]), Unreadable)


def test_the_bytes_of_one():
    data = bytes(range(256)) * 10
    lines = [base64.b64encode(data[:300]).decode(), base64.b64encode(data[300:]).decode()]
    assert archive_bytes([*lines, ":: done"]) == data
    with pytest.raises(ValueError, match="broke off"):
        archive_bytes(lines)
    with pytest.raises(ValueError, match="base64"):
        archive_bytes(["?", ":: done"])


def test_when_one_was_taken():
    assert Backup("20260102T030405Z.tar.gpg", 1).taken == "2026-01-02T03:04:05Z"
    assert Backup("something else.tar", 1).taken == ""


@pytest.mark.parametrize("value", ["host:20260102T030405Z.tar", "host.tar", "/srv/a b.tar", ""])
def test_what_may_be_restored(value: str):
    assert ArchiveData.of({"restore_from": value}, "x").restore_from == value


@pytest.mark.parametrize(
    "data",
    [
        {"restore_from": "host:../../x"},
        {"restore_from": "host:"},
        {"restore_as": "another"},
        {"restore_original": "maybe"},
        {"restore_from": 1},
    ],
)
def test_what_may_not(data: dict[str, object]):
    with pytest.raises(InvalidSpecError):
        ArchiveData.of(data, "x")


ARMORED = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc=\n-----END PGP PUBLIC KEY BLOCK-----"


@pytest.mark.parametrize("key", ["", f"age1{'q' * 58}", f"ssh-ed25519 AAAA{'B' * 60}", ARMORED])
def test_what_backups_are_encrypted_to(key: str):
    assert HostSettings(backup_key=key).backup_key.strip() == key


@pytest.mark.parametrize(
    "key", ["age1", "AGE-SECRET-KEY-1ABC", "a\nb", "--option", "ssh-ed25519 x", "age1q\n-o"]
)
def test_what_is_no_such_key(key: str):
    with pytest.raises(InvalidSpecError):
        HostSettings.of({"backup_key": key}, "x")
