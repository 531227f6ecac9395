"""Talk in lines of JSON to QEMU (its monitor, QMP) and to the agent in a running machine.

https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.lab.shell import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedRWPair
    from pathlib import Path

#: Each answer takes as long at most: a machine that starts up answers late, a snapshot is written first.
ANSWER_SECONDS = 60
#: A byte that no text has: what came before it was an earlier client's.
_DELIMITER = b"\xff"


class Channel:
    """An open connection; one request at a time."""

    def __init__(self, stream: BufferedRWPair):
        self._stream = stream

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command and return what it returned."""
        self._send({"execute": command, "arguments": arguments})
        while True:
            answer = self._receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"expected {command} to succeed, found {answer['error']['desc']}")

    def synchronize(self) -> None:
        """Drop what an earlier client was still to hear."""
        mark = int.from_bytes(os.urandom(4))
        self._stream.write(_DELIMITER)
        self._send({"execute": "guest-sync-delimited", "arguments": {"id": mark}})
        while True:
            line = self._line()
            if _DELIMITER in line and json.loads(line.rpartition(_DELIMITER)[2]).get("return") == mark:
                return

    def _send(self, request: dict[str, Any]) -> None:
        self._stream.write(json.dumps(request).encode() + b"\n")
        self._stream.flush()

    def _receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> bytes:
        line = self._stream.readline()
        if not line:
            raise LabError("expected an answer, found the connection closed")
        return line


@contextmanager
def monitor(path: Path) -> Iterator[Channel]:
    """Connect to QEMU's monitor."""
    with _connection(path, ANSWER_SECONDS) as stream:
        stream.readline()  # its greeting
        channel = Channel(stream)
        channel.ask("qmp_capabilities")
        yield channel


@contextmanager
def agent(path: Path, timeout: float = ANSWER_SECONDS) -> Iterator[Channel]:
    """Connect to the agent in the machine: there is one connection at a time, others wait for their turn."""
    with _connection(path, timeout) as stream:
        channel = Channel(stream)
        channel.synchronize()
        yield channel


@contextmanager
def _connection(path: Path, timeout: float) -> Iterator[BufferedRWPair]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        with connection.makefile("rwb") as stream:
            yield stream
