"""Let a clone run without being installed: map the repository's rooms onto `pyinfra_nspawn`.

pyinfra executes the `config.py` of the working directory before it loads an inventory. An installed
`pyinfra_nspawn` (a wheel, or `pip install -e`) wins: then there is nothing to map.
"""

import sys
import types
from importlib.util import find_spec
from pathlib import Path

# The package alone tells nothing: it is a namespace, and an empty folder of that name would do.
if find_spec("pyinfra_nspawn") is None or find_spec("pyinfra_nspawn.specs") is None:
    package = types.ModuleType("pyinfra_nspawn")
    package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["pyinfra_nspawn"] = package
