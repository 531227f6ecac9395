"""The lab's command line: `python3 -m tests.lab`."""

from __future__ import annotations

import argparse
import os
import sys

from tests.lab import lab
from tests.lab.host import Host, hosts
from tests.lab.paths import INSTANCE_VARIABLE
from tests.lab.progress import say
from tests.lab.shell import LabError


def main() -> int:
    """Do what the command line says; 1 when that could not be done."""
    arguments = _parse()
    if os.geteuid() != 0:
        say("must be root: it boots machines")
        return 1
    try:
        arguments.act(arguments)
    except LabError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; `down` clears what is there, `up` goes on")
        return 130
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.lab",
        description=__doc__,
        epilog=f"{INSTANCE_VARIABLE}=N in the environment names a lab beside the usual one, which is 0.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    known = sorted(hosts())

    up = commands.add_parser("up", help="have hosts running: lab1 and lab2, or those named")
    up.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    up.set_defaults(act=_up)

    down = commands.add_parser("down", help="leave nothing behind but the image cache")
    down.add_argument("--all", action="store_true", help="of every instance on this machine")
    down.set_defaults(act=lambda given: lab.down_all() if given.all else lab.down())

    status = commands.add_parser("status", help="say what runs, and what it booted")
    status.set_defaults(act=_status)

    reset = commands.add_parser("reset", help="make a host freshly installed again")
    reset.add_argument("name", choices=known)
    reset.set_defaults(act=lambda given: hosts()[given.name].reset())

    reboot = commands.add_parser("reboot", help="boot what a boot loader would choose now")
    reboot.add_argument("name", choices=known)
    reboot.add_argument("--deployment", metavar="CHECKSUM.SERIAL", help="instead of the default")
    reboot.set_defaults(act=lambda given: hosts()[given.name].reboot(given.deployment))

    return parser.parse_args()


def _up(given: argparse.Namespace) -> None:
    unknown = set(given.names) - hosts().keys()
    if unknown:
        raise LabError(f"expected {', '.join(hosts())}, found {', '.join(sorted(unknown))}")
    lab.up(given.names)


def _status(_given: argparse.Namespace) -> None:
    for host in hosts().values():
        say(f"{host.name}: {_state(host)}")


def _state(host: Host) -> str:
    if not host.is_running:
        return "down"
    state = host.run("systemctl is-system-running").stdout.strip()
    booted = host.run("ostree admin status | grep '^[*]'").stdout.strip()
    return f"{state}, {host.spec.user}@{host.spec.address}, {booted}"


if __name__ == "__main__":
    sys.exit(main())
