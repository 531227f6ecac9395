"""KVM where it works, else emulation by QEMU itself (TCG)."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.paths import RUN
from tests.lab.progress import step

if TYPE_CHECKING:
    from tests.lab.vm.bootloader import Boot

KVM = ("-accel", "kvm", "-cpu", "host")
#: Emulating a plain processor takes a third less time than one with all that QEMU knows (`max`). All
#: processors share a thread: with one for each, QEMU 7.2 ran code that another processor had just replaced,
#: and the kernel, which patches its own, died (seen: `Oops: int3` in a static key of the scheduler).
TCG = ("-accel", "tcg,thread=single,tb-size=1024", "-cpu", "qemu64")
MACHINE = ("-machine", "q35", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none")
PROBE_SECONDS = 5

#: What the probe found, until the lab goes down.
_FOUND = RUN / "accelerator"


def options(boot: Boot) -> tuple[str, ...]:
    """Return QEMU's options for the fastest accelerator that works on this machine."""
    if not _FOUND.exists():
        new = _FOUND.with_name(f"{_FOUND.name}.{os.getpid()}")  # another machine may be starting too
        new.write_text("kvm" if _kvm_boots(boot) else "tcg")
        new.rename(_FOUND)
    return KVM if _FOUND.read_text() == "kvm" else TCG


def _kvm_boots(boot: Boot) -> bool:
    """Boot the kernel with KVM until it says its name.

    /dev/kvm may be there and open, and make a virtual machine, whose kernel dies all the same.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with step("booting a kernel with KVM") as done:
        works = b"Linux version" in _first_words(boot)
        done.result = "it works" if works else "it does not boot, taking emulation"
    return works


def _first_words(boot: Boot) -> bytes:
    """Return what the kernel says on its console, or nothing."""
    log = RUN / f"accelerator.log.{os.getpid()}"
    command = ["qemu-system-x86_64", *MACHINE, *KVM, "-m", "512", "-serial", f"file:{log}"]
    command += ["-kernel", str(boot.kernel), "-append", "console=ttyS0 panic=-1"]
    with suppress(subprocess.TimeoutExpired):  # it is killed then: a kernel without a root never ends
        subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    return Path(log).read_bytes() if log.exists() else b""
