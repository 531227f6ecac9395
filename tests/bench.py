"""`make bench`: what pyinfra adds to a first run, against one shell script over one SSH connection.

Five rounds in one go on lab1, each the same steps from a host without the guest until the guest says
`running`; the medians are compared. Also the run that has nothing to do.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import SSH_CONFIG, hosts

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
HOST = "lab1"
ROUNDS = 5
BUDGET_SECONDS = 1.5
UNDO = """
systemctl disable --now systemd-nspawn@web machines.target
chattr -i /var/lib/pyinfra-nspawn/*/ostree/deploy/*/deploy/*.[0-9]
rm -rf /var/lib/pyinfra-nspawn /etc/systemd/nspawn/web.nspawn /etc/sysctl.d/60-pyinfra-nspawn.conf
rm -rf /etc/systemd/system/systemd-nspawn@web.service.d
systemctl daemon-reload
echo 128 >/proc/sys/fs/inotify/max_user_instances
sync
"""


def main() -> int:
    """Measure and print; 1 when the budget is exceeded."""
    runs: dict[str, Callable[[], None]] = {"one shell script": by_hand, "pyinfra": by_pyinfra}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    idle = []
    hosts()[HOST].reset()
    for number in range(1, ROUNDS + 1):
        for name, run in runs.items():
            hosts()[HOST].run(UNDO)
            seconds[name].append(timed(run))
            print(f"round {number}: {name}: {seconds[name][-1]:.2f} s", flush=True)
        idle.append(timed(by_pyinfra))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"first run, {name}: median {median:.2f} s of {ROUNDS}")
    print(f"run with nothing to do: median {statistics.median(idle):.2f} s of {ROUNDS}")
    added = medians["pyinfra"] - medians["one shell script"]
    print(f"pyinfra adds {added:.2f} s (budget: {BUDGET_SECONDS} s)")
    return int(added > BUDGET_SECONDS)


def timed(run: Callable[[], None]) -> float:
    """Return how many seconds a run takes."""
    started = time.monotonic()
    run()
    return time.monotonic() - started


def by_pyinfra() -> None:
    """Run both deploys."""
    deploys = ("deploys/host.py", "deploys/guest.py")
    pyinfra = Path(sys.executable).with_name("pyinfra")
    quietly([pyinfra, "--limit", HOST, "-y", "inventories/lab.py", *deploys])


def by_hand() -> None:
    """Run the shell script over one SSH connection."""
    quietly(["ssh", "-F", SSH_CONFIG, HOST, "sh", "-s"], (ROOT / "tests/by_hand.sh").read_text())


def quietly(command: list[str | Path], stdin: str = "") -> None:
    """Run a command; show what it printed only when it fails."""
    done = subprocess.run(command, input=stdin, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
