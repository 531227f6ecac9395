"""Let the tests of a clone import `pyinfra_nspawn` without it being installed; keep threads threads."""

import runpy
from pathlib import Path
from unittest import mock

runpy.run_path(str(Path(__file__).parent.parent / "config.py"))

# pyinfra's command line makes every thread a greenlet when it is imported. No test runs it in its own process
# (pyinfra-testing only takes a helper from it), and a worker of pytest-xdist dies of that.
with mock.patch("gevent.monkey.patch_all"):
    import pyinfra_cli  # noqa: F401
