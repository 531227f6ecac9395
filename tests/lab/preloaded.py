"""pyinfra's command line in forks of a process that has imported it.

A run of pyinfra takes a second of processor time, of which two thirds are imports, and the lab's tests
start it a thousand times. A fork has arguments, output and an end of its own, as the command has;
`make demo`, `make bench` and tests of what happens at a terminal start the command.

`python -m tests.lab.preloaded` takes jobs on the socket that is its stdin, in JSON: the arguments, and
after how many seconds and how many remote commands the fork is killed; with the descriptors of stdout, of
stderr, and of a socket for the exit code.
"""

from __future__ import annotations

# As they are before pyinfra has gevent replace them.
import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from importlib import import_module
from os import fork, waitpid
from pathlib import Path
from tempfile import TemporaryFile

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "pyinfra_cli.main",
    "pyinfra_nspawn.deploys.guest",
    "pyinfra_nspawn.deploys.host",
    "pyinfra_nspawn.deploys.network",
    "tests.lab.killed",
)


def pyinfra(*arguments: str, timeout: int, kill_after: int = 0) -> subprocess.CompletedProcess[str]:
    """Run pyinfra in the repository, without anything on stdin.

    + timeout: seconds, after which it is killed and `TimeoutExpired` raised
    + kill_after: the number of the remote command whose sending kills it; 0 lets it live
    """
    ours, theirs = socket.socketpair()
    with ours, TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        with theirs:
            descriptors = [stdout.fileno(), stderr.fileno(), theirs.fileno()]
            socket.send_fds(_server(), [json.dumps([arguments, timeout, kill_after]).encode()], descriptors)
        ours.settimeout(timeout + 30)
        code = int(ours.recv(16))
        stdout.seek(0)
        stderr.seek(0)
        if code == -signal.SIGALRM:
            expired = subprocess.TimeoutExpired(arguments, timeout, stdout.read(), stderr.read())
            expired.add_note(str(expired.stderr))  # which a report does not show by itself
            raise expired
        return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())


@cache
def _server() -> socket.socket:
    """Start the process that has imported pyinfra; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen([sys.executable, "-m", __name__], cwd=ROOT, stdin=theirs.fileno())
    return ours


def _serve() -> None:
    """Have a child for each job, until nobody is left who could send one."""
    jobs = socket.socket(fileno=0)
    for module in PRELOADED:
        import_module(module)
    while True:
        job, (*descriptors,), _, _ = socket.recv_fds(jobs, 1 << 20, 3)
        if not job:
            return
        if fork() == 0:
            _keep(*json.loads(job), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()


def _reap() -> None:
    """Forget the children that have ended."""
    try:
        while waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _keep(arguments: list[str], timeout: int, kill_after: int, *descriptors: int) -> None:
    """Have pyinfra run in a child, and tell how it ended."""
    stdout, stderr, answer = descriptors
    child = fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for descriptor in descriptors:
            os.close(descriptor)
        signal.alarm(timeout)
        sys.argv = ["pyinfra", *arguments]
        sys.modules["tests.lab.killed"].die_after(kill_after)
        sys.exit(sys.modules["pyinfra_cli.main"].main())
    os.write(answer, str(os.waitstatus_to_exitcode(waitpid(child, 0)[1])).encode())
    os._exit(0)


if __name__ == "__main__":
    _serve()
