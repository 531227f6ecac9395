"""What lies beyond the network that QEMU makes for a machine: a server that says hello."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.lab.guest import inside
from tests.lab.shell import retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.protocol import Machine

#: This machine's loopback, as QEMU's network shows it.
ADDRESS = "10.0.2.2"
#: By emulation a guest boots for half a minute.
REACHED_SECONDS = 240


class _Greeting(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"hello")


@contextmanager
def serve() -> Iterator[int]:
    """Serve, and yield the port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Greeting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def is_reached(machine: Machine, guest: str, port: int) -> None:
    """Wait until a guest reads what the server says."""
    fetch = f"timeout 10 bash -c 'exec 3<>/dev/tcp/{ADDRESS}/{port} && cat <&3'"
    retry(lambda: inside(machine, guest, fetch) == "hello", REACHED_SECONDS, f"{guest} reaches the outside")
