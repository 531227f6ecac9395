"""`make demo`: both deploys over SSH upon the lab's two hosts, and what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.lab import SSH_CONFIG, hosts
from tests.lab.progress import say, step
from tests.lab.shell import retry

ROOT = Path(__file__).parents[1]
PYINFRA = Path(sys.executable).with_name("pyinfra")
RUN = ("inventories/lab.py", "deploys/host.py", "deploys/guest.py", "-y")


def main() -> int:
    """Run the deploys and show the guests; 1 when the deploys failed."""
    with step(f"pyinfra {' '.join(RUN)}"):
        done = subprocess.run([PYINFRA, *RUN], cwd=ROOT, check=False)
    if done.returncode != 0:
        return 1
    for name in hosts():
        address = retry(partial(address_of, name, "web"), 30, "an address for guest web")
        show(name, "machinectl list --no-pager")
        show(name, "ostree admin status")
        # du counts a file of many links once: the second line is what the guest costs.
        show(name, "du -sh /ostree/repo /var/lib/pyinfra-nspawn/web")
        show(name, "ostree admin --sysroot=/var/lib/pyinfra-nspawn/web status")
        show_guest(name, "web", address)
    say("the hosts stay up: ssh -F /run/pyinfra-nspawn-lab/ssh_config lab1; `make lab-down` ends them")
    return 0


def show(host: str, command: str) -> None:
    """Run a command on a host over SSH, under the prompt that an administrator would see."""
    print(f"\n[{host}]# {command}", flush=True)
    subprocess.run(["ssh", "-F", SSH_CONFIG, host, f"sudo {command}"], check=True)


def show_guest(host: str, guest: str, address: str) -> None:
    """Run a command in a guest over SSH, with the guest's host on the way."""
    command = "hostname; systemctl is-system-running; cat /proc/self/uid_map"
    print(f"\n[{host}]# ssh root@{address}   # guest {guest}\n[{guest}]# {command}", flush=True)
    subprocess.run(
        [
            *("ssh", "-o", f"ProxyCommand=ssh -F {SSH_CONFIG} -W %h:%p {host}"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
            *("-i", SSH_CONFIG.with_name("key"), f"root@{address}", command),
        ],
        check=True,
    )


def address_of(host: str, guest: str) -> str:
    """Return a guest's IPv4 address; empty while DHCP has given it none."""
    listed = json.loads(hosts()[host].succeed("machinectl list --output=json --max-addresses=all"))
    (addresses,) = (item["addresses"] or "" for item in listed if item["machine"] == guest)
    return next((word for word in addresses.split() if "." in word), "")


if __name__ == "__main__":
    sys.exit(main())
