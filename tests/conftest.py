"""Let the tests of a clone import `pyinfra_nspawn` without it being installed."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent.parent / "config.py"))
