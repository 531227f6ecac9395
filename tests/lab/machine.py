"""Start and stop the process that a host runs in, and find that host's PID 1."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import cgroup, network, supervisors
from tests.lab.paths import CACHE, INSTANCE, INSTANCE_VARIABLE, REPOSITORY, RUN, SUFFIX
from tests.lab.progress import say
from tests.lab.shell import LabError, retry, run

if TYPE_CHECKING:
    from tests.lab.fleet import HostSpec

#: Environment variable with the deployment to boot first, as if picked in the boot menu.
DEPLOYMENT = "PYINFRA_NSPAWN_LAB_DEPLOYMENT"

NSPAWN_RUNTIME = Path("/run/systemd/nspawn")
#: Keeps that directory while this instance is up: were it removed, supervisors would lose their mount on it.
_IN_USE = NSPAWN_RUNTIME / f".pyinfra-nspawn-lab{SUFFIX}"

SHUTDOWN_SECONDS = 60

_MODULE = "tests.lab.supervisor"


def runtime(spec: HostSpec) -> Path:
    """Return the directory with what the running host needs on this machine."""
    return RUN / spec.name


def console(spec: HostSpec) -> Path:
    """Return the log of what the host wrote on its console."""
    return runtime(spec) / "console.log"


def start(spec: HostSpec, deployment: str | None = None) -> None:
    """Start the host's supervisor, detached from this process."""
    (runtime(spec) / "boot").mkdir(parents=True, exist_ok=True)
    (runtime(spec) / "ostree-booted").touch()
    _IN_USE.mkdir(parents=True, exist_ok=True)
    environment = {
        "PYINFRA_NSPAWN_LAB_CACHE": str(CACHE),
        INSTANCE_VARIABLE: str(INSTANCE),
        DEPLOYMENT: deployment or "",
    }
    command = [
        "unshare",
        "--mount",
        "--propagation=private",
        sys.executable,
        *supervisors.words(_MODULE, spec.name),
    ]
    if service_manager_runs():
        _start_unit(spec, command, environment)
    else:
        with console(spec).open("w") as log:
            subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    retry(lambda: is_running(spec), 10, f"the supervisor of {spec.name} runs")


def stop(spec: HostSpec) -> None:
    """Shut the host down in order, then kill whatever is left of it."""
    supervisor = _supervisor(spec)
    if supervisor:
        os.kill(supervisor, 15)
        try:
            retry(lambda: not is_running(spec), SHUTDOWN_SECONDS, f"{spec.name} powers off")
        except LabError:
            say(f"{spec.name}: no end after {SHUTDOWN_SECONDS} s, killing it")
    kill(spec)


def kill(spec: HostSpec) -> None:
    """End at once all that is left of the host, whatever state it is in."""
    if service_manager_runs():
        subprocess.run(["systemctl", "kill", "--signal=KILL", _unit(spec)], capture_output=True, check=False)
        subprocess.run(["systemctl", "stop", _unit(spec)], capture_output=True, check=False)
    else:
        cgroup.kill(cgroup.mount_point() / cgroup.PARENT / spec.name)
    network.disconnect(spec)


def remove_runtime() -> None:
    """Remove the mount point that nspawn's own runtime directory was, unless it is in use."""
    with suppress(FileNotFoundError):
        _IN_USE.rmdir()
    with suppress(OSError):  # not empty: of another instance, or of a container that is not ours
        NSPAWN_RUNTIME.rmdir()


def is_running(spec: HostSpec) -> bool:
    """Tell whether the host's supervisor lives."""
    return _supervisor(spec) is not None


def leader(spec: HostSpec) -> int | None:
    """Return the host's PID 1 as this machine numbers it: nspawn's child in a new namespace."""
    supervisor = _supervisor(spec)
    for nspawn in supervisors.children(supervisor) if supervisor else ():
        for child in supervisors.children(nspawn):
            if _namespace_pids(child)[-1:] == ["1"]:
                return child
    return None


def _supervisor(spec: HostSpec) -> int | None:
    return supervisors.find(_MODULE, spec.name)


def _namespace_pids(pid: int) -> list[str]:
    """Return a process's pid in each pid namespace that it is in, the outermost first."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return []
    return next(line.split()[1:] for line in lines if line.startswith("NSpid:"))


def service_manager_runs() -> bool:
    """Tell whether PID 1 is systemd, as sd_booted(3) does."""
    return Path("/run/systemd/system").is_dir()


def _unit(spec: HostSpec) -> str:
    return f"pyinfra-nspawn-lab{SUFFIX}-{spec.name}.service"


def _start_unit(spec: HostSpec, command: list[str], environment: dict[str, str]) -> None:
    """Have systemd start it: nspawn's --keep-unit wants a unit of its own, delegated."""
    console(spec).write_text("")
    run(
        *("systemd-run", "--collect", f"--unit={_unit(spec)}", f"--working-directory={REPOSITORY}"),
        *("--property=Delegate=yes", "--property=KillMode=mixed", "--property=TasksMax=infinity"),
        f"--property=StandardOutput=append:{console(spec)}",
        *(f"--setenv={name}={value}" for name, value in environment.items()),
        *command,
    )
