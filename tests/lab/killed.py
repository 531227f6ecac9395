"""Run pyinfra until it has sent so many remote commands, and kill it: `python -m tests.lab.killed COUNT ...`.

The last command is at work on its host when its controller dies. Says `killed` before it dies; a run
that ends by itself sent fewer.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from paramiko import SSHClient
from pyinfra_cli.main import main  # type: ignore[import-untyped]

_send = SSHClient.exec_command
_left = int(sys.argv.pop(1))


def _send_and_die(self: SSHClient, *arguments: Any, **keywords: Any) -> Any:
    global _left  # noqa: PLW0603 - one process, one count
    channels = _send(self, *arguments, **keywords)
    _left -= 1
    if _left == 0:
        os.write(1, b"killed\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return channels


if __name__ == "__main__":
    SSHClient.exec_command = _send_and_die  # type: ignore[method-assign]
    main()
