"""What is built from the repository, installed elsewhere, and a clone that is not installed at all.

The tests of this file tell one story, in order: at its end the package is uninstalled again.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn import __version__
from tests.lab.conftest import BOTH, ROOT, Outcome

if TYPE_CHECKING:
    from tests.lab import Host

PACKAGE = "pyinfra_nspawn"
VERIFY = "tests/verify"
HOST_FACTS = f"{PACKAGE}.facts.host.HostFacts"
# Neither the test's own environment nor a Python path of the user's may lend a hand.
CLEAN = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def command(*words: str | Path, cwd: Path, stdin: str = "", **environment: str) -> Outcome:
    done = subprocess.run(
        words,
        cwd=cwd,
        env=CLEAN | environment,
        input=stdin,
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
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="session")
def packaged(tracked: list[str]) -> set[str]:
    """All files of the package, its rooms (the top-level folders that are Python packages) and the checks."""
    rooms = {name.split("/")[0] for name in tracked if name.count("/") == 1 and name.endswith("/__init__.py")}
    folders = tuple(f"{folder}/" for folder in (*rooms, VERIFY))
    files = {name for name in tracked if name.startswith(folders) and not (ROOT / name).is_symlink()}
    assert {f"{PACKAGE}/__init__.py", f"{PACKAGE}/py.typed", "facts/base.py", f"{VERIFY}/plugin.py"} <= files
    return files


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


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def done_on_both(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.stderr
    results = outcome.json["results"]
    assert results["failed_hosts"] == []
    assert results["operations"]
    for operation in results["operations"]:
        assert sorted(operation["success"] + operation["no_change"]) == BOTH, operation


def booted_on_both(fact: Outcome) -> None:
    (seen,) = fact.json.values()
    assert {name: host["ostree_booted"] for name, host in seen.items()} == dict.fromkeys(BOTH, True)


def test_the_wheel_holds_every_file_of_the_rooms_and_no_other(dist: Path, packaged: set[str]):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [item for item in archive.infolist() if stat.S_ISLNK(item.external_attr >> 16)]
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == {
        f"{PACKAGE}/{name.removeprefix(f'{PACKAGE}/').removeprefix('tests/')}" for name in packaged
    }
    assert {f"{PACKAGE}/host/facts/host.sh", f"{PACKAGE}/plans/templates/50-ostree.conf.j2"} <= inside


def test_the_sdist_holds_every_file_of_the_rooms_and_no_other_tests(dist: Path, packaged: set[str]):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert not [item for item in archive.getmembers() if item.issym() or item.islnk()]
        inside = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    assert packaged <= inside
    assert {"pyproject.toml", "README.md", "LICENSE"} <= inside
    assert not [name for name in inside - packaged if name.startswith("tests/") and name != VERIFY]


def test_a_checkout_without_symlinks_builds_the_same(dist: Path, clone: Path, tmp_path: Path):
    checkout = shutil.copytree(clone, tmp_path / "checkout", symlinks=True)
    for link in [path for path in (checkout / PACKAGE).iterdir() if path.is_symlink()]:
        target = link.readlink()
        link.unlink()
        link.write_text(str(target))  # as git does where it cannot make links
    succeed(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, checkout, cwd=tmp_path)
    (wheel,), (other,) = dist.glob("*.whl"), tmp_path.glob("*.whl")
    assert contents(wheel) == contents(other)


def test_the_version_is_the_packages(dist: Path, venv: Path, elsewhere: Path):
    show = (
        f"import {PACKAGE}; from importlib.metadata import version; "
        f"print({PACKAGE}.__version__, version('{PACKAGE}'))"
    )
    shown = succeed(venv / "bin" / "python", "-c", show, cwd=elsewhere).stdout
    assert shown.split() == [__version__, __version__]
    assert [path.name for path in dist.glob("*.tar.gz")] == [f"{PACKAGE}-{__version__}.tar.gz"]


@pytest.mark.usefixtures("lab_hosts")
def test_an_installed_fact(venv: Path, elsewhere: Path):
    words = ("--json", "mine.py", "fact", HOST_FACTS)
    booted_on_both(succeed(venv / "bin" / "pyinfra", *words, cwd=elsewhere))


def test_installed_deploys_by_their_dotted_names(venv: Path, elsewhere: Path, fresh: dict[str, Host]):
    for deploy in ("host.fit_for_guests", "guest.guests", "fleet.converge"):
        words = ("-y", "--json", "mine.py", f"{PACKAGE}.deploys.{deploy}")
        done_on_both(command(venv / "bin" / "pyinfra", *words, cwd=elsewhere))
    for host in fresh.values():
        assert host.succeed("systemctl -M web is-system-running") == "running\n"


@pytest.mark.usefixtures("lab_hosts")
def test_an_installed_deploy_by_its_path(venv: Path, elsewhere: Path):
    (path,) = venv.glob(f"lib/python*/site-packages/{PACKAGE}/deploys/guest.py")
    outcome = command(venv / "bin" / "pyinfra", "-y", "--json", "mine.py", path, cwd=elsewhere)
    done_on_both(outcome)
    assert list(outcome.hosts("no_change")) == ["Guests | Each guest"]


@pytest.mark.usefixtures("lab_hosts")
def test_the_installed_script(venv: Path, elsewhere: Path):
    script = venv / "bin" / "pyinfra-nspawn"
    succeed(script, "init", "first.py", "--host=lab1", "--guest=web", cwd=elsewhere)
    for inventory in ("first.py", "mine.py"):
        succeed(script, "check", inventory, cwd=elsewhere)
    hosts = succeed(script, "status", "mine.py", "--json", cwd=elsewhere).json["hosts"]
    assert [(host["name"], host["state"]) for host in hosts] == [("lab1", "ready"), ("lab2", "ready")]
    assert {guest["state"] for host in hosts for guest in host["guests"]} == {"running"}
    assert succeed(script, "drift", "mine.py", "--json", cwd=elsewhere).json["findings"] == []


CHECKS = ("-m", "pytest", "--color=no", "--pyargs", f"{PACKAGE}.verify")
OPTION = "--nspawn-inventory"


def test_without_its_extra_the_verification_says_what_to_install(venv: Path, elsewhere: Path):
    succeed(*pip(venv), "install", "pytest", cwd=elsewhere)
    outcome = command(venv / "bin" / "python", *CHECKS, f"{OPTION}=mine.py", cwd=elsewhere)
    assert outcome.code == 4
    assert outcome.stderr.strip() == (
        f"ERROR: {OPTION} needs testinfra. Run \"pip install 'pyinfra-nspawn[verify]'\"."
    )


@pytest.mark.usefixtures("lab_hosts")
def test_an_installed_verification(venv: Path, dist: Path, elsewhere: Path):
    (wheel,) = dist.glob("*.whl")
    succeed(*pip(venv), "install", f"{wheel}[verify]", cwd=elsewhere)
    outcome = succeed(venv / "bin" / "python", *CHECKS, "-v", f"{OPTION}=mine.py", cwd=elsewhere)
    for place in ("lab1", "lab2", "lab1-web", "lab2-web"):
        assert f"[{place}] PASSED" in outcome.stdout, outcome.stdout


@pytest.mark.parametrize("name", ["fleet.py", "guest.py", "host.py"])
def test_a_deploy_file_of_a_clone_beside_the_wheel_is_refused(venv: Path, clone: Path, name: str):
    outcome = command(venv / "bin" / "pyinfra", "--dry", "@local", f"deploys/{name}", cwd=clone)
    assert outcome.code == 1
    (line,) = (line for line in outcome.stderr.splitlines() if "pyinfra error" in line)
    assert f"deploys/{name} would run the deploys installed in {venv}" in line
    assert f'Run "pip install --editable {clone}"' in line
    assert "Traceback" not in outcome.stderr


def test_without_the_package_there_is_nothing_to_import(uninstalled: Path, elsewhere: Path):
    outcome = command(uninstalled / "bin" / "python", "-c", f"import {PACKAGE}.specs", cwd=elsewhere)
    assert "No module named" in outcome.stderr
    succeed(uninstalled / "bin" / "python", "-c", "import pyinfra, pydantic, jinja2, yaml", cwd=elsewhere)


@pytest.mark.usefixtures("lab_hosts")
@pytest.mark.parametrize(
    ("deploy", "shown"),
    [("deploys/guest.py", "deploys/guest.py"), (f"{PACKAGE}.deploys.guest.guests", "guests")],
)
def test_a_deploy_of_a_clone_that_is_not_installed(uninstalled: Path, clone: Path, deploy: str, shown: str):
    words = ("--dry", "--json", "inventories/lab.py", deploy)
    outcome = succeed(uninstalled / "bin" / "pyinfra", *words, cwd=clone)
    assert len(outcome.json["plan"]) == 1
    for name in BOTH:
        assert f"Ready: {shown}" in outcome.lines(name)


@pytest.mark.usefixtures("lab_hosts")
def test_a_fact_of_a_clone_that_is_not_installed(uninstalled: Path, clone: Path):
    words = ("--json", "inventories/lab.py", "fact", HOST_FACTS)
    booted_on_both(succeed(uninstalled / "bin" / "pyinfra", *words, cwd=clone))


LAB_HOSTS = """
import runpy

_DATA = dict(runpy.run_path("inventories/lab.py")["lab"])["lab1"]
_CONFIG = {"ssh_config_file": _DATA["ssh_config_file"]}
hosts = [
    ("atomic1.example.org", {**_CONFIG, "ssh_hostname": "lab1", "ssh_user": "root"}),
    ("coreos1.example.org", {**_CONFIG, "ssh_hostname": "lab2", "ssh_user": "admin"}),
]
"""


# What is typed before a program on the way has the terminal to itself is thrown away: typed again, then.
EXIT_WHEN_IT_LISTENS = '(while sleep 1; do echo exit || exit; done) | exec "$@"'


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("lab_hosts")
def test_the_commands_of_the_readme_one_after_the_other(uninstalled: Path, clone: Path):
    """Its inventory is the README's, but for the addresses of the hosts and who logs in there."""
    text = (clone / "README.md").read_text()
    for block in blocks(text, "python"):
        path = clone / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
    (clone / "inventories/mine.py").write_text(LAB_HOSTS)
    pasted = [
        line[2:] for block in blocks(text, "console") for line in block.splitlines() if line[:2] == "$ "
    ]
    assert len(pasted) >= 12
    path = f"{uninstalled / 'bin'}:{CLEAN['PATH']}"
    exports = ""
    for line in pasted:
        if line.startswith("export "):
            exports += f"{line}\n"
            continue
        endless = " -f" in line
        words = f"{exports}timeout 5 {line}" if endless else exports + line
        # At a terminal, where pyinfra shows what it would do and waits for Enter, and a shell for its end.
        at_terminal = ("script", "--quiet", "--return", "--command", words, "/dev/null")
        if re.search(r" shell \S+( +#.*)?$", line):
            at_terminal = ("sh", "-c", EXIT_WHEN_IT_LISTENS, "sh", *at_terminal)
        outcome = command(*at_terminal, cwd=clone, stdin="\n", PATH=path, SHELL="/bin/bash")
        assert outcome.code == (124 if endless else 0), f"{line}\n{outcome.stdout}{outcome.stderr}"
