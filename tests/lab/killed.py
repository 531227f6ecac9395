"""A controller that dies once it has sent so many remote commands; the last is at work on its host then."""

from __future__ import annotations

import os
import signal
from typing import Any

from paramiko import SSHClient


def die_after(count: int) -> None:
    """Have this process killed by the sending of its command number `count`; 0 lets it live."""
    send = SSHClient.exec_command
    left = count

    def send_and_die(self: SSHClient, *arguments: Any, **keywords: Any) -> Any:
        nonlocal left
        channels = send(self, *arguments, **keywords)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return channels

    SSHClient.exec_command = send_and_die  # type: ignore[method-assign]
