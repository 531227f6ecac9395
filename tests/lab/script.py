"""The console script, run against the lab as an administrator would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("pyinfra-nspawn")


def script(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the console script in the repository."""
    return subprocess.run(
        [SCRIPT, *words], cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=180, check=False
    )


def findings(*words: str | Path) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code of `drift`, and what it found."""
    outcome = script("drift", *words, "--json")
    found: dict[str, list[dict[str, Any]]] = json.loads(outcome.stdout)
    return outcome.returncode, found["findings"]
