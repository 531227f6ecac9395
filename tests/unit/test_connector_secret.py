"""A secret that is made once, and kept for its owner alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.connectors.secret import made_once
from pyinfra_nspawn.specs.base import InvalidSpecError

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_and_for_its_owner_alone(tmp_path: Path):
    file = tmp_path / "token"
    first = made_once(file)
    assert len(first) == 64
    assert made_once(str(file)) == first
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_all_who_make_it_at_once_have_the_same(tmp_path: Path):
    with ThreadPoolExecutor(8) as beside:
        assert len(set(beside.map(made_once, [tmp_path / "token"] * 50))) == 1


def test_one_that_is_given_is_taken(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o400)
    assert made_once(file) == "s3cret"


@pytest.mark.parametrize(
    ("name", "problem"),
    [("open", 'others can read it; run "chmod 600" for it'), ("no/file", "No such file or directory")],
)
def test_what_cannot_be_is_refused_in_a_line(tmp_path: Path, name: str, problem: str):
    (tmp_path / "open").write_text("s3cret")
    (tmp_path / "open").chmod(0o640)
    with pytest.raises(InvalidSpecError) as refused:
        made_once(tmp_path / name)
    assert str(refused.value) == f"{tmp_path / name}: {problem}"
