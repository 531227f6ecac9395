"""The guests on the hosts of `make lab`, as hosts: `pyinfra inventories/lab_guests.py exec -- hostname`."""

import runpy
from pathlib import Path

from pyinfra_nspawn.connectors.nspawn import guests_of

_LAB = Path(__file__).with_name("lab.py")

lab_guests = guests_of(runpy.run_path(str(_LAB))["lab"])
