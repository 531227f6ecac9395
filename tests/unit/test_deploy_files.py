"""Deploy files that pyinfra runs by their path, in a clone beside another copy of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "pyinfra_nspawn"
FLEET = "@fake/one,@fake/two"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for link in (ROOT / PACKAGE).iterdir():
        if link.is_symlink():
            shutil.copytree(link, tmp_path / link.resolve().relative_to(ROOT))
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, symlinks=True)
    return tmp_path


def run(file: str | Path, *, cwd: Path, installed: Path) -> subprocess.CompletedProcess[str]:
    """Run a deploy file where the package of the folder `installed` is the one that is imported."""
    return subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), "--dry", "--json", FLEET, file],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["fleet.py", "guest.py", "host.py"])
def test_a_deploy_file_that_would_run_other_code_is_refused(clone: Path, name: str):
    outcome = run(f"deploys/{name}", cwd=clone, installed=ROOT)
    assert outcome.returncode == 1
    (line,) = (line for line in outcome.stderr.splitlines() if "pyinfra error" in line)
    assert f"deploys/{name} would run the deploys installed in {ROOT / 'deploys'}." in line
    assert f'Run "pip install --editable {clone}"' in line
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("way", ["deploys/host.py", f"{PACKAGE}/deploys/host.py", "absolute"])
def test_a_deploy_file_that_runs_its_own_code_is_not(clone: Path, way: str):
    file = clone / "deploys" / "host.py" if way == "absolute" else way
    outcome = run(file, cwd=clone, installed=clone)
    assert "would run the deploys installed" not in outcome.stderr
    assert "Host | Fit for guests" in outcome.stderr + outcome.stdout
