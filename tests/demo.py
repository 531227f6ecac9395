"""`make demo`: both deploys over SSH upon the lab's two hosts, and what came of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import SSH_CONFIG, usual_hosts
from tests.lab.guest import address, ssh_command
from tests.lab.progress import say, step

if TYPE_CHECKING:
    from tests.lab import Host

ROOT = Path(__file__).parents[1]
PYINFRA = Path(sys.executable).with_name("pyinfra")
RUN = ("inventories/lab.py", "deploys/host.py", "deploys/guest.py", "-y")


def main() -> int:
    """Run the deploys and show the guests; 1 when the deploys failed."""
    with step(f"pyinfra {' '.join(RUN)}") as running:
        done = subprocess.run([PYINFRA, *RUN], cwd=ROOT, check=False)
        running.result = f"{len(usual_hosts())} hosts"
    if done.returncode != 0:
        return 1
    for host in usual_hosts().values():
        address(host, "web")
        show(host, "machinectl list --no-pager")
        show(host, "ostree admin status")
        # du counts a file of many links once: the second line is what the guest costs.
        show(host, "du -sh /ostree/repo /var/lib/pyinfra-nspawn/web")
        show(host, "ostree admin --sysroot=/var/lib/pyinfra-nspawn/web status")
        show_guest(host, "web")
    print("\n[controller]# pyinfra-nspawn status inventories/lab.py", flush=True)
    subprocess.run([PYINFRA.with_name("pyinfra-nspawn"), "status", RUN[0]], cwd=ROOT, check=True)
    say(f"the hosts stay up: ssh -F {SSH_CONFIG} lab1; `make lab-down` ends them")
    return 0


def show(host: Host, command: str) -> None:
    """Run a command on a host over SSH, under the prompt that an administrator would see."""
    print(f"\n[{host.name}]# {command}", flush=True)
    subprocess.run(["ssh", "-F", SSH_CONFIG, host.name, f"sudo {command}"], check=True)


def show_guest(host: Host, guest: str) -> None:
    """Run a command in a guest over SSH, with the guest's host on the way."""
    command = "hostname; systemctl is-system-running; cat /proc/self/uid_map"
    over_ssh = ssh_command(host, guest, command)
    print(f"\n[{host.name}]# ssh {over_ssh[-2]}   # guest {guest}\n[{guest}]# {command}", flush=True)
    subprocess.run(over_ssh, check=True)


if __name__ == "__main__":
    sys.exit(main())
