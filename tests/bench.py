"""`make bench`: what our deploys add to a first run, against one shell script over one SSH connection.

Five rounds in one go on lab1, each the same steps from a host without the guest until the guest says
`running`; the medians are compared. What pyinfra takes to start and to do nothing is measured in the same
rounds and is not ours. Also the run that has nothing to do, and thirty guests.
"""

from __future__ import annotations

import json
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
PYINFRA = Path(sys.executable).with_name("pyinfra")
HOST = "lab1"
ROUNDS = 5
ADDED_SECONDS = 0.4
THIRTY_SECONDS = 75.0
THIRTY_IDLE_SECONDS = 2.0
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
    """Measure and print; 1 when a budget is exceeded."""
    hosts()[HOST].reset()
    return int(one_guest() | thirty_guests())


def one_guest() -> bool:
    """Measure a first run with one guest; tell whether it exceeds its budget."""
    runs: dict[str, Callable[[], None]] = {
        "shell script": by_hand,
        "bare start": bare_start,
        "pyinfra": deploy,
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*runs, "nothing to do")}
    for number in range(1, ROUNDS + 1):
        for name, run in runs.items():
            if name != "bare start":
                hosts()[HOST].run(UNDO)
            seconds[name].append(timed(run))
        seconds["nothing to do"].append(timed(deploy))
        print(f"round {number}: {', '.join(f'{name} {each[-1]:.2f} s' for name, each in seconds.items())}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"medians: {', '.join(f'{name} {median:.2f} s' for name, median in medians.items())}")
    added = medians["pyinfra"] - medians["shell script"] - medians["bare start"]
    print(f"our deploys add {added:.2f} s to script and bare start (budget {ADDED_SECONDS} s)", flush=True)
    return added > ADDED_SECONDS


def thirty_guests() -> bool:
    """Measure thirty guests on one host; tell whether a run exceeds its budget."""
    names = [{"name": f"web-{number:02}"} for number in range(30)]
    data = ("--data", f"guests={json.dumps(names)}")
    hosts()[HOST].run(UNDO)
    first = timed(lambda: deploy(*data))
    idle = statistics.median(timed(lambda: deploy(*data)) for _ in range(ROUNDS))
    print(f"thirty guests, first run: {first:.1f} s (budget {THIRTY_SECONDS} s)")
    print(f"thirty guests, nothing to do: median {idle:.2f} s of {ROUNDS} (budget {THIRTY_IDLE_SECONDS} s)")
    hosts()[HOST].reset()
    return first > THIRTY_SECONDS or idle > THIRTY_IDLE_SECONDS


def timed(run: Callable[[], None]) -> float:
    """Return how many seconds a run takes."""
    started = time.monotonic()
    run()
    return time.monotonic() - started


def deploy(*options: str) -> None:
    """Run both deploys."""
    deploys = ("deploys/host.py", "deploys/guest.py")
    quietly([PYINFRA, "--limit", HOST, *options, "-y", "inventories/lab.py", *deploys])


def bare_start() -> None:
    """Have pyinfra do nothing."""
    quietly([PYINFRA, "@local", "exec", "-y", "--", "true"])


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
