"""`make bench-fleet`: what a run with nothing to do costs the controller, against a bare SSH client.

Many inventory names stand for the lab's two hosts, which share the two cores with the controller: CPU seconds
of the controller are compared, wall time is only printed. Ansible runs the same commands with `raw`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.facts.snapshot import SnapshotFacts
from tests.lab import SSH_CONFIG, usual_hosts
from tests.lab.progress import say

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DEPLOYS = ("deploys/host.py", "deploys/guest.py")
ENDPOINTS = 100
MANY = 500
MOST_TIMES = 2.0
MOST_TIMES_WALL = 1.3
MOST_MIB = 300
SSHD = "/etc/ssh/sshd_config.d/00-bench.conf"


@dataclass(frozen=True)
class Cost:
    """What a process and its children took: CPU and wall seconds, and the peak memory of the largest."""

    cpu: float
    wall: float
    mib: float

    def __str__(self) -> str:
        return f"{self.cpu:6.2f} s CPU, {self.wall:6.2f} s wall, {self.mib:4.0f} MiB"


def main() -> int:
    """Measure and print; 1 when a budget is exceeded."""
    for host in usual_hosts().values():
        host.reset()  # a guest of others would be drift
        # sshd drops connections that are not authenticated yet, from the tenth on: that is not the subject.
        host.succeed(f"printf 'MaxStartups 1000\\n' >{SSHD}; systemctl reload ssh")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return measure(Path(folder))
    finally:
        for host in usual_hosts().values():
            host.succeed(f"rm {SSHD}; systemctl reload ssh")


def measure(folder: Path) -> int:
    """Compare with five guests a host and with one; then look at the memory of many endpoints."""
    failed = False
    for count in (5, 1):
        names = [f"web-{number}" for number in range(count)]
        converge(folder, names)
        say(f"{ENDPOINTS} endpoints, {count} guest{'s' if count > 1 else ''} each, nothing to do:")
        bare = run_bare(folder, commands(names))
        ours = run_pyinfra(folder, names, ENDPOINTS)
        times = ours.cpu / bare.cpu
        say(f"  bare client     {bare}")
        say(f"  pyinfra         {ours}: {times:.1f} x the CPU of the bare client (budget {MOST_TIMES})")
        if ansible := run_ansible(folder, names):
            say(f"  ansible         {ansible}: {ansible.cpu / ours.cpu:.1f} x the CPU of pyinfra")
        failed |= times > MOST_TIMES
        if count > 1:
            failed |= measure_report(folder, names, "status")
            failed |= measure_report(folder, names, "drift")
    many = run_pyinfra(folder, ["web-0"], MANY)
    say(f"{MANY} endpoints, 1 guest each: {many} (budget {MOST_MIB} MiB)")
    return int(failed or many.mib > MOST_MIB)


def measure_report(folder: Path, names: list[str], command: str) -> bool:
    """Compare a command of the console script with the same look by the bare client; True above a budget."""
    sent = SnapshotFacts().command(names=tuple(names), usage="addresses" if command == "status" else "")
    bare = run_bare(folder, [sent])
    ours = cost([BIN / "pyinfra-nspawn", command, inventory(folder, names, ENDPOINTS)])
    cpu, wall = ours.cpu / bare.cpu, ours.wall / bare.wall
    say(f"  bare, one look  {bare}")
    say(
        f"  {command:<6}          {ours}: {cpu:.1f} x the CPU (budget {MOST_TIMES}) "
        f"and {wall:.1f} x the time (budget {MOST_TIMES_WALL}) of the bare client"
    )
    return cpu > MOST_TIMES or wall > MOST_TIMES_WALL


def inventory(folder: Path, names: list[str], count: int) -> Path:
    """Write an inventory of so many names for the lab's hosts."""
    path = folder / f"fleet_{count}.py"
    guests = [{"name": name} for name in names]
    path.write_text(f"""
from pyinfra_nspawn.connectors.ssh import FAST_SSH
_DATA = {{**FAST_SSH, "ssh_config_file": {str(SSH_CONFIG)!r}, "guests": {guests!r}}}
_HOW = {{"lab1": {{}}, "lab2": {{"_sudo": True}}}}
hosts = [
    (f"host{{number:03}}", {{**_DATA, "ssh_hostname": lab, **_HOW[lab]}})
    for number in range({count})
    for lab in [f"lab{{number % 2 + 1}}"]
]
""")
    return path


def converge(folder: Path, names: list[str]) -> None:
    """Have exactly these guests on both hosts."""
    gone = {"web", *(f"web-{number}" for number in range(5))} - set(names)
    guests = [{"name": name} for name in names] + [{"name": name, "state": "absent"} for name in sorted(gone)]
    path = folder / "two.py"
    path.write_text(f"""
import runpy
lab = [(name, {{**data, "guests": {guests!r}}}) for name, data in runpy.run_path("inventories/lab.py")["lab"]]
""")
    subprocess.run([BIN / "pyinfra", "-y", path, *DEPLOYS], cwd=ROOT, check=True, capture_output=True)


def commands(names: list[str]) -> list[str]:
    """Return what our deploys ask of a host in such a run."""
    host = command_line("facts", "host", "--", "network", "--", "sysroot", "/")
    guests = command_line("facts", "host", "--", "network", "--", "sysroots", "--", "guests", *names)
    return [host, guests]


def run_pyinfra(folder: Path, names: list[str], count: int) -> Cost:
    """Run both deploys upon all endpoints."""
    return cost([BIN / "pyinfra", "-y", inventory(folder, names, count), *DEPLOYS])


def run_bare(folder: Path, asked: list[str]) -> Cost:
    """Run these commands once per endpoint, as one shell word each, as pyinfra sends them."""
    sent = [f"sh -c {shlex.quote(command)}" for command in asked]
    per_lab = {"lab1": sent, "lab2": [f"sudo -H -n {command}" for command in sent]}
    labs = [f"lab{number % 2 + 1}" for number in range(ENDPOINTS)]
    path = folder / "bare.json"
    path.write_text(json.dumps([[lab, per_lab[lab]] for lab in labs]))
    return cost([sys.executable, "-m", "tests.bench_client", path])


def run_ansible(folder: Path, names: list[str]) -> Cost | None:
    """Run the same commands with `raw`, over the same connections; None where Ansible cannot be had."""
    ansible = _ansible()
    if ansible is None:
        return None
    host_lines = "".join(
        f"host{number:03} ansible_host=lab{number % 2 + 1} ansible_become={number % 2 == 1}\n"
        for number in range(ENDPOINTS)
    )
    (folder / "hosts.ini").write_text(host_lines)
    tasks = "".join(f"    - raw: {json.dumps(command)}\n" for command in commands(names))
    (folder / "play.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")
    environment = {
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_SSH_ARGS": f"-F {SSH_CONFIG} -o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_FORKS": "40",
        "ANSIBLE_HOST_KEY_CHECKING": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    return cost([ansible, "-i", folder / "hosts.ini", folder / "play.yml"], environment)


def _ansible() -> Path | None:
    """Install ansible-core into an environment of its own, unless it is there."""
    venv = ROOT / "build/ansible"
    if not (venv / "bin/ansible-playbook").exists():
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "ansible-core"]
        if subprocess.run(pip, check=False).returncode != 0:
            say("ansible-core cannot be installed: it is left out")
            return None
    return venv / "bin/ansible-playbook"


def cost(command: list[str | Path], environment: dict[str, str] | None = None) -> Cost:
    """Run a command that must succeed, and return what it took."""
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - started
        output.seek(0)
        if process.returncode != 0:
            sys.exit(f"{command}: exit code {process.returncode}\n{output.read().decode()[-4000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    sys.exit(main())
