"""The virtual machines' command line: `python3 -m tests.lab.vm`. They go with `python3 -m tests.lab down`."""

from __future__ import annotations

import argparse
import os
import sys

from tests.lab.progress import say
from tests.lab.shell import LabError
from tests.lab.vm.lab import up
from tests.lab.vm.machine import machines

ACTS = {
    "reset": "load what the machine was after its first boot",
    "reboot": "boot what a boot loader would choose now",
    "stop": "shut down in order",
    "start": "boot",
}


def main() -> int:
    """Do what the command line says; 1 when that could not be done."""
    arguments = _parse()
    if os.geteuid() != 0:
        say("must be root: it makes disks")
        return 1
    try:
        if arguments.command == "up":
            _up(arguments.names)
        elif arguments.command == "status":
            _status()
        else:
            getattr(machines()[arguments.name], arguments.command)()
    except LabError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; `python3 -m tests.lab down` clears what is there, `up` goes on")
        return 130
    return 0


def _parse() -> argparse.Namespace:
    known = sorted(machines())
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab.vm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    some = commands.add_parser("up", help="have machines running: vm1 and vm2, or those named")
    some.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    commands.add_parser("status", help="say what runs, and what it booted")
    for name, about in ACTS.items():
        commands.add_parser(name, help=about).add_argument("name", choices=known)
    return parser.parse_args()


def _up(names: list[str]) -> None:
    unknown = set(names) - machines().keys()
    if unknown:
        raise LabError(f"expected {', '.join(machines())}, found {', '.join(sorted(unknown))}")
    up(names)


def _status() -> None:
    for machine in machines().values():
        state = "down"
        if machine.is_running:
            state = machine.run(
                "systemctl is-system-running; ostree admin status | grep '^[*]'"
            ).stdout.strip()
        say(f"{machine.name}: {', '.join(state.splitlines())}")


if __name__ == "__main__":
    sys.exit(main())
