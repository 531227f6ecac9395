"""A machine whose power is cut in the middle of an upgrade comes back with a guest that runs."""

from __future__ import annotations

import json
import runpy
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.commits import commit, release
from tests.lab.conftest import PYINFRA, ROOT, pyinfra
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each
from tests.vm.conftest import GUEST_SECONDS, INVENTORY, wait_for_guests

if TYPE_CHECKING:
    from tests.lab.vm.machine import VirtualMachine
    from tests.vm.conftest import Machines

REF = "test/next"
#: The guest that is upgraded: in a sysroot of its own, and in the host's.
UPGRADED = {"vm1": "web", "vm2": "db"}
STARTED = (
    "test -e /run/systemd/system/systemd-nspawn@{}.service.d/55-trial.conf && "
    "systemctl is-active --quiet systemd-nspawn@{}.service"
)


def wanted(name: str) -> list[dict[str, Any]]:
    """Return a machine's guests of the inventory, one of them with another source."""
    fleet = runpy.run_path(str(ROOT / INVENTORY))["lab_vm"]
    guests = dict(fleet)[name]["guests"]
    return [{**guest, "source": REF} if guest["name"] == UPGRADED[name] else guest for guest in guests]


@pytest.mark.full
def test_a_power_cut_boots_the_old_commit_and_the_next_run_upgrades(guests: Machines):
    def cut_and_go_on(machine: VirtualMachine) -> None:
        guest = UPGRADED[machine.name]
        commit(machine, REF, release("next"))
        inside(machine, guest, "echo kept >/etc/mine; echo kept >/var/mine; sync")
        data = json.dumps(wanted(machine.name))
        words = ["--limit", machine.name, "-y", "--data", f"guests={data}", INVENTORY, "deploys/upgrade.py"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen([PYINFRA, *words], cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
        machine.wait_until_succeeds(STARTED.format(guest, guest), GUEST_SECONDS)
        machine.crash()
        process.kill()
        process.wait()
        wait_for_guests(machine)
        assert inside(machine, guest, "cat /usr/lib/lab-release /etc/mine /var/mine") == "13.1\nkept\nkept\n"
        assert machine.succeed("ostree admin status").startswith("* host ")
        again = ("--limit", machine.name, "-y", "deploys/upgrade.py")
        outcome = pyinfra(*again, inventory=INVENTORY, guests=wanted(machine.name))
        assert outcome.code == 0, outcome.stderr
        assert inside(machine, guest, "cat /usr/lib/lab-release /etc/mine /var/mine") == "next\nkept\nkept\n"

    on_each(guests.values(), cut_and_go_on)
