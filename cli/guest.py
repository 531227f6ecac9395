"""A way into one guest that needs no network there: by its host, as `@nspawn/HOST:GUEST` goes."""

from __future__ import annotations

import codecs
import os
import shutil
import stat
import sys
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import gevent
from gevent.select import select
from pyinfra.api.arguments import pop_global_arguments
from pyinfra.api.exceptions import InventoryError
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from pyinfra_nspawn.connectors.door import BECOME
from pyinfra_nspawn.connectors.nspawn import NspawnConnector, guest_as_host
from pyinfra_nspawn.connectors.way import exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, TextIO

    from paramiko import Channel
    from pyinfra.api.host import Host

    from pyinfra_nspawn.cli.inventory import Loaded

_CHUNK_BYTES = 2**16


@contextmanager
def connected(loaded: Loaded, host: str, guest: str) -> Iterator[NspawnConnector]:
    """Connect to a guest while the block lasts.

    + loaded: an inventory with its host
    + host, guest: their names

    Raises `ConnectError` when the guest cannot be reached, and `InventoryError` for a host that the inventory
    does not have or that is not reached over SSH.
    """
    with connection(loaded, host, guest) as connector:
        connector.host.connect(show_errors=False, raise_exceptions=True)
        try:
            yield connector
        finally:
            connector.host.disconnect()


@contextmanager
def connection(loaded: Loaded, host: str, guest: str) -> Iterator[NspawnConnector]:
    """Give the way to a guest, which is not connected to yet and may not run.

    + loaded: an inventory with its host
    + host, guest: their names

    Raises `InventoryError` for a host that the inventory does not have or that is not reached over SSH.
    """
    found = host_in(loaded, host)
    state = State()
    inventory = Inventory(([guest_as_host(found.name, _way_to(loaded, found), guest)], {}))
    state.init(inventory, loaded.state.config)
    (as_host,) = inventory
    with ctx_state.use(state), ctx_host.use(as_host):
        yield cast("NspawnConnector", as_host.connector)


def host_in(loaded: Loaded, host: str) -> Host:
    """Return a host of an inventory by its name; raise `InventoryError` where it has none of that name."""
    found = next((item for item in loaded.hosts if item.name.removeprefix("@ssh/") == host), None)
    if found is None:
        raise InventoryError(f"the inventory has no host {host}")
    return found


def _way_to(loaded: Loaded, host: Host) -> dict[str, Any]:
    """Return what leads to a host's root: its data, and what the command line or config.py says."""
    arguments = cast("dict[str, Any]", pop_global_arguments(loaded.state, host, {})[0])
    return {**host.data.dict(), **{key: arguments[key] for key in BECOME if arguments.get(key)}}


def run(connector: NspawnConnector, text: str, write: Callable[[bytes], None] | None = None) -> int:
    """Run a shell program in the guest, with this process's stdin, stdout and stderr; return its exit code.

    + write: takes the output; by default it goes to stdout unchanged
    """
    with connector.session(text, typed()) as channel:
        return passed_on(channel, write)


def read(connector: NspawnConnector, text: str, *, most: int, timeout_seconds: int) -> bytes | None:
    """Return what a shell program prints in the guest; None when it fails, says too much or takes too long.

    + most: how many bytes it may print
    + timeout_seconds: how long it may take
    """
    found = b""
    with (
        suppress(gevent.Timeout),
        gevent.Timeout(timeout_seconds),
        connector.session(text, ()) as channel,
    ):
        errors = gevent.spawn(_copy, channel.recv_stderr, lambda _: None)
        try:
            while len(found) <= most and (chunk := channel.recv(_CHUNK_BYTES)):
                found += chunk
            return found if len(found) <= most and exit_code(channel) == 0 else None
        finally:
            errors.kill()
    return None


def log_in(connector: NspawnConnector) -> int:
    """Start a login shell in the guest at this process's terminal; return its exit code."""
    size = shutil.get_terminal_size()
    terminal = os.environ.get("TERM", "dumb")
    with raw_terminal(), connector.login(terminal, size.lines, size.columns, typed()) as channel:
        return passed_on(channel)


def printable(file: TextIO) -> Callable[[bytes], None]:
    """Return what writes a guest's output to a file without what a terminal would obey."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def write(chunk: bytes) -> None:
        text = decoder.decode(chunk)
        file.write("".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text))
        file.flush()

    return write


def passed_on(channel: Channel, write: Callable[[bytes], None] | None = None) -> int:
    """Pass on what a command prints until it ends; return its exit code.

    + write: takes the output; by default it goes to stdout unchanged
    """
    write = write or _writer(sys.stdout.buffer)
    errors = gevent.spawn(_copy, channel.recv_stderr, _writer(sys.stderr.buffer))
    _copy(channel.recv, write)
    errors.join()
    return exit_code(channel)


def _copy(receive: Callable[[int], bytes], write: Callable[[bytes], None]) -> None:
    while chunk := receive(_CHUNK_BYTES):
        write(chunk)


def _writer(file: BinaryIO) -> Callable[[bytes], None]:
    def write(chunk: bytes) -> None:
        file.write(chunk)
        file.flush()

    return write


def typed() -> Iterator[bytes]:
    """Yield what comes on stdin, and let other greenlets run meanwhile."""
    waits = sys.stdin.isatty() or not _is_always_ready(sys.stdin.fileno())
    while True:
        if waits:
            select([sys.stdin.fileno()], [], [])
        chunk = os.read(sys.stdin.fileno(), _CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _is_always_ready(file: int) -> bool:
    """Return whether a file is none that epoll(7) takes: a regular file, /dev/null."""
    mode = os.fstat(file).st_mode
    return stat.S_ISREG(mode) or stat.S_ISCHR(mode)


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Pass every key on while the block lasts, Ctrl-C too."""
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    tty.setraw(file)
    try:
        yield
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)
