"""The process that a running virtual machine hangs on: `python3 -m tests.lab.vm.supervisor NAME [INSTANCE]`.

It boots what a boot loader would choose, again after each reboot that the machine asks for, until that powers
off. The instance is read from the environment; on the command line it is for those who look for the process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.lab.progress import say
from tests.lab.vm import bootloader, qemu
from tests.lab.vm.fleet import VMS
from tests.lab.vm.process import SNAPSHOT

if TYPE_CHECKING:
    from tests.lab.vm.bootloader import Boot
    from tests.lab.vm.fleet import VmSpec

#: Why QEMU ended when the machine asked for a reboot (ShutdownCause of QMP).
REBOOT = "guest-reset"


def main(name: str) -> None:
    """Run the machine until it powers off."""
    spec = VMS[name]
    snapshot = os.environ.get(SNAPSHOT) or None
    boot = bootloader.chosen(spec) if snapshot else bootloader.choose(spec)
    while _run(spec, boot, snapshot) == REBOOT:
        snapshot, boot = None, bootloader.choose(spec)


def _run(spec: VmSpec, boot: Boot, snapshot: str | None) -> str:
    """Run QEMU once; return why it ended, or nothing where it does not say."""
    say(f"{spec.name}: {'loading ' + snapshot if snapshot else 'booting ' + boot.options.read_text()}")
    command = ["setpriv", "--pdeathsig", "KILL", *qemu.command(spec, boot, snapshot)]
    reason = ""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write('{"execute": "qmp_capabilities"}\n')  # no events before that
        process.stdin.flush()
        for line in process.stdout:
            event = json.loads(line)
            if event.get("event") == "SHUTDOWN":
                reason = event["data"]["reason"]
    say(f"{spec.name}: ended: {reason or process.returncode}")
    return reason


if __name__ == "__main__":
    main(sys.argv[1])
