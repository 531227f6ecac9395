"""The rooms: how they are packaged, and which of them may import which."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "pyproject.toml"
PACKAGE = "pyinfra_nspawn"
TOOLS = tomllib.loads(PROJECT.read_text())["tool"]
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != PACKAGE)
# The folder of each part of the package, by its name there.
PARTS = {**{room: room for room in ROOMS}, "verify": "tests/verify"}
BIN = Path(sys.executable).parent


def run(*words: str | Path, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(BIN / "lint-imports", "--no-logo", "--no-cache", PROJECT, cwd=folder)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The rooms and the links to them, in a folder in which they may be broken."""
    for name in (*PARTS.values(), PACKAGE):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    return tmp_path


def test_every_room_is_linked_by_a_relative_path():
    linked = {path.name: os.readlink(path) for path in (ROOT / PACKAGE).iterdir() if path.is_symlink()}
    assert linked == {name: f"../{folder}" for name, folder in PARTS.items()}


def test_every_room_is_built():
    built = TOOLS["setuptools"]
    of_parts = {name: folder for name, folder in built["package-dir"].items() if name.count(".") == 1}
    assert of_parts == {f"{PACKAGE}.{name}": folder for name, folder in PARTS.items()}
    assert {PACKAGE, *built["package-dir"]} <= set(built["packages"])


@pytest.mark.parametrize("name", PARTS)
def test_a_bare_import_of_a_room_is_refused(name: str):
    words = (BIN / "ruff", "check", "--stdin-filename", "plans/new.py", "-")
    bare = PARTS[name].replace("/", ".")
    outcome = run(*words, cwd=ROOT, stdin=f'"""Example."""\n\nfrom {bare}.base import X\n\nX()\n')
    assert f"Import {PACKAGE}.{name}." in outcome.stdout


def test_imports_keep_the_contracts(copy: Path):
    for folder in (ROOT, copy):
        outcome = lint_imports(folder)
        assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("specs", "facts", "Imports run only downwards"),
        ("facts", "plans", "Imports run only downwards"),
        ("plans", "reports", "Imports run only downwards"),
        ("reports", "operations", "Imports run only downwards"),
        ("operations", "deploys", "Imports run only downwards"),
        ("host", "specs", "Imports run only downwards"),
        ("connectors", "facts", "Connectors see only specs"),
        ("connectors", "verify", "Connectors see only specs"),
        ("deploys", "connectors", "Connectors are pyinfra's to load"),
        ("facts", "host", "Host is data"),
        ("deploys", "verify", "Imports run only downwards"),
        ("verify", "deploys", "Imports run only downwards"),
        ("verify", "facts", "Verification shares no look at a host"),
    ],
)
def test_an_import_that_breaks_a_contract_is_found(copy: Path, importer: str, imported: str, contract: str):
    (copy / PARTS[importer] / "new.py").write_text(f"import {PACKAGE}.{imported}\n")
    outcome = lint_imports(copy)
    assert outcome.returncode != 0
    (broken,) = (line for line in outcome.stdout.splitlines() if line.endswith(" BROKEN"))
    assert broken.startswith(contract)
    assert f"{PACKAGE}.{importer}.new -> {PACKAGE}.{imported} " in outcome.stdout


def test_a_new_room_must_be_given_its_place(copy: Path):
    (copy / "attic").mkdir()
    (copy / "attic" / "__init__.py").touch()
    (copy / PACKAGE / "attic").symlink_to("../attic")
    outcome = lint_imports(copy)
    assert outcome.returncode != 0
    assert "attic" in outcome.stdout
