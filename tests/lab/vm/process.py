"""Start and end the process that a virtual machine hangs on, and find it again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import supervisors
from tests.lab.paths import CACHE, INSTANCE, INSTANCE_VARIABLE, REPOSITORY
from tests.lab.shell import LabError, retry
from tests.lab.vm import qemu

if TYPE_CHECKING:
    from tests.lab.vm.fleet import VmSpec

#: Environment variable with the snapshot to begin with, in place of a boot.
SNAPSHOT = "PYINFRA_NSPAWN_LAB_SNAPSHOT"

_MODULE = "tests.lab.vm.supervisor"
END_SECONDS = 10


def start(spec: VmSpec, snapshot: str | None = None) -> None:
    """Start the machine's supervisor, detached from this process."""
    spec.runtime.mkdir(parents=True, exist_ok=True)
    for left in (qemu.monitor(spec), qemu.agent(spec)):
        left.unlink(missing_ok=True)
    environment = {
        "PYINFRA_NSPAWN_LAB_CACHE": str(CACHE),
        INSTANCE_VARIABLE: str(INSTANCE),
        SNAPSHOT: snapshot or "",
    }
    with qemu.console(spec).open("w") as log:
        subprocess.Popen(
            [sys.executable, *supervisors.words(_MODULE, spec.name)],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    retry(lambda: is_running(spec), END_SECONDS, f"the supervisor of {spec.name} runs")


def kill(spec: VmSpec) -> None:
    """End at once all that is left of the machine; QEMU dies with its supervisor."""
    pid = _find(spec)
    if pid is None:
        return
    children = supervisors.children(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    retry(lambda: not any(map(_lives, (pid, *children))), END_SECONDS, f"the processes of {spec.name} end")


def is_running(spec: VmSpec) -> bool:
    """Tell whether the machine's supervisor lives."""
    return _find(spec) is not None


def check(spec: VmSpec) -> None:
    """Raise unless the machine's supervisor lives."""
    if not is_running(spec):
        raise LabError(f"expected {spec.name} to be up, found its supervisor ended")


def _find(spec: VmSpec) -> int | None:
    return supervisors.find(_MODULE, spec.name)


def _lives(pid: int) -> bool:
    """Tell whether a process is there; one that nobody waits for is not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
