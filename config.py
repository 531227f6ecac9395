"""Let a clone run without being installed: map the repository's rooms onto `pyinfra_nspawn`.

pyinfra executes the `config.py` of the working directory before it loads an inventory. An installed
`pyinfra_nspawn` (a wheel, or `pip install -e`) wins: then there is nothing to map.
"""

import importlib.util
import sys
import types
from pathlib import Path

if importlib.util.find_spec("pyinfra_nspawn") is None:
    package = types.ModuleType("pyinfra_nspawn")
    package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["pyinfra_nspawn"] = package
