"""Whole answers of hosts, one file a case, and what each fact makes of them.

`facts/MODULE.CLASS/NAME.yaml`: `output` is what the fact's script printed, `fact` what it comes to.
"""

from pathlib import Path

import pytest
from pyinfra_testing.facts import make_fact_tests

# A fact's command is a whole script of ours: a second copy of it in each case would prove nothing.
pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")

for _folder in (Path(__file__).parent / "facts").iterdir():
    _tests = make_fact_tests("pyinfra_nspawn.facts", _folder.name, _folder)
    globals()[f"Test{_folder.suffix[1:]}"] = _tests
# pytest would collect the last class a second time, under this name.
del _tests
