"""A faster SSH transport: small packets are sent at once."""

from __future__ import annotations

import socket
from typing import Any

from paramiko import Transport


def no_delay(sock: Any, **arguments: Any) -> Transport:  # noqa: ANN401 - paramiko's own signature
    """Return a transport over `sock` with TCP_NODELAY; give it to pyinfra as `transport_factory`.

    Without it Nagle's algorithm waits for delayed acknowledgements: 48 ms a remote command even on
    loopback, against 5 to 8 ms. A proxy command is no socket and is left as it is.
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Transport(sock, **arguments)


FAST_SSH = {"ssh_paramiko_connect_kwargs": {"transport_factory": no_delay}}
"""Host data for an inventory: `("host1", {**FAST_SSH})`."""
