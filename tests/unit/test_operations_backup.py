"""In which order guests are backed up, and how an archive comes to the controller."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.nspawn import Backup
from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.operations import _backup
from pyinfra_nspawn.operations._backup import BackupProgram, copied
from pyinfra_nspawn.operations._order import BackupOrder
from pyinfra_nspawn.plans.step import Archiving, Step

if TYPE_CHECKING:
    from pathlib import Path

FAILED = Outcome(troubles=(Trouble("backup", "web", "it did not come up", "Mend it."),))


class Fake:
    """A host, a run, or a program with this outcome."""

    def __init__(self, name: str = "", outcome: Outcome | None = None) -> None:
        self.name, self.data, self.outcome, self.runs = name, {}, outcome or Outcome(), 0

    def execute(self, *_: object) -> None:
        self.runs += 1


def test_no_other_guest_of_a_host_is_stopped_after_one_that_failed():
    order = BackupOrder()
    assert order.refusal("a") is None
    order.done("a")
    assert order.refusal("b") is None
    assert order.refusal("planned otherwise", due=False) is None
    order.done("planned otherwise")
    refusal = order.refusal("c")
    assert refusal is not None
    assert refusal.problem == "not tried: the backup of guest b failed before"


def backup(run: Fake, host: str, outcome: Outcome, cluster: str) -> tuple[BackupProgram, Fake]:
    program = Fake(outcome=outcome)
    tried = BackupProgram(Step("", "backup", "web"), program, Archiving(cluster=cluster))  # type: ignore[arg-type]
    tried.execute(run, Fake(host), {})  # type: ignore[arg-type]
    return tried, program


def test_no_other_server_of_a_cluster_is_stopped_after_one_that_failed():
    run = Fake()
    backup(run, "one", FAILED, "default")
    tried, program = backup(run, "two", Outcome(), "default")
    assert program.runs == 0
    assert tried.outcome.troubles[0].problem == "not tried: the backup of web on one failed before"
    assert backup(run, "two", Outcome(), "another")[1].runs == 1
    assert backup(run, "two", Outcome(), "")[1].runs == 1
    # Tried again, and well.
    assert backup(run, "one", Outcome(), "default")[1].runs == 1
    assert backup(run, "two", Outcome(), "default")[1].runs == 1


@dataclass
class Source:
    """An archive on a host, and the requests for it."""

    content: bytes
    digest: str = ""
    host: Fake = field(default_factory=lambda: Fake("h/1"))
    guest: str = "web"
    asked: list[str] = field(default_factory=list)

    @property
    def archive(self) -> Backup:
        return Backup("20260102T030405Z.tar", len(self.content))

    def ask(self, mode: str, *words: str) -> list[str]:
        self.asked.append(mode)
        if mode == "archive-digest":
            return [":: sha256", f"|{self.digest or hashlib.sha256(self.content).hexdigest()}", ":: done"]
        offset, count = map(int, words)
        return [base64.b64encode(self.content[offset : offset + count]).decode(), ":: done"]


def test_a_copy_is_whole_and_the_administrator_s_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_backup, "CHUNK_BYTES", 4)
    source = Source(b"0123456789")
    path = copied(source, tmp_path / "new")  # type: ignore[arg-type]
    assert path.name == "web@h_1-20260102T030405Z.tar"
    assert path.read_bytes() == source.content
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert source.asked == ["archive-bytes"] * 3 + ["archive-digest"]
    assert list(path.parent.iterdir()) == [path]


def test_a_copy_that_differs_is_none(tmp_path: Path):
    with pytest.raises(ValueError, match="differs from the archive"):
        copied(Source(b"0123456789", digest="0" * 64), tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_copy_writes_over_nothing(tmp_path: Path):
    part = tmp_path / ".web@h_1-20260102T030405Z.tar.part"
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        copied(Source(b"0123456789"), tmp_path)  # type: ignore[arg-type]
    assert not (tmp_path / "elsewhere").exists()


def test_what_interrupted_copies_have_left_goes_a_day_later(tmp_path: Path):
    old, new, other = (
        tmp_path / name for name in (".web@h_1-1.tar.part", ".web@h_1-2.tar.part", ".db@h_1-1.tar.part")
    )
    for path in (old, new, other):
        path.touch()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    copied(Source(b"0123456789"), tmp_path)  # type: ignore[arg-type]
    assert [path.exists() for path in (old, new, other)] == [False, True, True]
