"""What is built from the repository, installed elsewhere, and a clone that is not installed at all.

The tests of this file tell one story, in order: at its end the package is uninstalled again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.lab.conftest import BOTH, ROOT, Outcome

PACKAGE = "pyinfra_nspawn"
HOST_FACTS = f"{PACKAGE}.facts.host.HostFacts"
# Neither the test's own environment nor a Python path of the user's may lend a hand.
CLEAN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def command(*words: str | Path, cwd: Path) -> Outcome:
    done = subprocess.run(
        words,
        cwd=cwd,
        env=CLEAN,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def succeed(*words: str | Path, cwd: Path) -> Outcome:
    outcome = command(*words, cwd=cwd)
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    return outcome


@pytest.fixture(scope="session")
def tracked() -> list[str]:
    """The repository's files as git knows them."""
    listed = succeed("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    return [name for name in listed if name and (ROOT / name).exists()]


@pytest.fixture(scope="session")
def clone(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files: a build leaves things behind in the tree."""
    folder = tmp_path_factory.mktemp("clone")
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def packaged(tracked: list[str]) -> set[str]:
    """All files of the rooms, which are the top-level folders that are Python packages."""
    rooms = {name.split("/")[0] for name in tracked if name.count("/") == 1 and name.endswith("/__init__.py")}
    return {name for name in tracked if name.split("/")[0] in rooms}


@pytest.fixture(scope="session")
def dist(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--outdir", folder, clone, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def venv(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, what the wheel asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("venv")
    succeed(sys.executable, "-m", "venv", folder, cwd=folder)
    (wheel,) = dist.glob("*.whl")
    succeed(*pip(folder), "install", wheel, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an inventory, as a user's own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(ROOT / "inventories" / "lab.py", folder / "mine.py")
    return folder


@pytest.fixture(scope="session")
def uninstalled(venv: Path) -> Path:
    """The same environment without our package; what the package depends on is still there."""
    succeed(*pip(venv), "uninstall", "--yes", "pyinfra-nspawn", cwd=venv)
    return venv


def pip(venv: Path) -> tuple[str | Path, ...]:
    return venv / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"


def done_on_both(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.stderr
    results = outcome.json["results"]
    assert results["failed_hosts"] == []
    assert results["operations"]
    for operation in results["operations"]:
        assert sorted(operation["success"] + operation["no_change"]) == BOTH, operation


def test_the_wheel_holds_every_file_of_the_rooms_and_no_other(dist: Path, packaged: set[str]):
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name.removeprefix(f"{PACKAGE}/") for name in names if ".dist-info/" not in name}
    assert inside == packaged
    assert {"facts/scripts/host.sh", "plans/templates/nspawn.j2"} <= inside


def test_the_sdist_holds_every_file_of_the_rooms_and_no_tests(dist: Path, packaged: set[str]):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    assert packaged <= inside
    assert {"pyproject.toml", "README.md", "LICENSE"} <= inside
    assert not [name for name in inside if name.split("/")[0] == "tests"]


@pytest.mark.usefixtures("lab_hosts")
def test_an_installed_fact(venv: Path, elsewhere: Path):
    outcome = succeed(venv / "bin" / "pyinfra", "--json", "mine.py", "fact", HOST_FACTS, cwd=elsewhere)
    (seen,) = outcome.json.values()
    assert {name: host["ostree_booted"] for name, host in seen.items()} == dict.fromkeys(BOTH, True)


def test_installed_deploys_by_their_dotted_names(venv: Path, elsewhere: Path, lab_hosts):
    for deploy in ("host.fit_for_guests", "guest.guests"):
        words = ("-y", "--json", "mine.py", f"{PACKAGE}.deploys.{deploy}")
        done_on_both(command(venv / "bin" / "pyinfra", *words, cwd=elsewhere))
    for host in lab_hosts.values():
        assert host.succeed("systemctl -M web is-system-running") == "running\n"


@pytest.mark.usefixtures("lab_hosts")
def test_an_installed_deploy_by_its_path(venv: Path, elsewhere: Path):
    (path,) = venv.glob(f"lib/python*/site-packages/{PACKAGE}/deploys/guest.py")
    outcome = command(venv / "bin" / "pyinfra", "-y", "--json", "mine.py", path, cwd=elsewhere)
    done_on_both(outcome)
    assert len(outcome.hosts("no_change")) == 8


def test_without_the_package_there_is_nothing_to_import(uninstalled: Path, elsewhere: Path):
    outcome = command(uninstalled / "bin" / "python", "-c", f"import {PACKAGE}.specs", cwd=elsewhere)
    assert "No module named" in outcome.stderr
    succeed(uninstalled / "bin" / "python", "-c", "import pyinfra, pydantic, jinja2", cwd=elsewhere)


@pytest.mark.usefixtures("lab_hosts")
def test_a_deploy_of_a_clone_that_is_not_installed(uninstalled: Path, clone: Path):
    words = ("--dry", "--json", "inventories/lab.py", "deploys/guest.py")
    outcome = succeed(uninstalled / "bin" / "pyinfra", *words, cwd=clone)
    assert len(outcome.json["plan"]) == 8
    for name in BOTH:
        assert "Ready: deploys/guest.py" in outcome.lines(name)
