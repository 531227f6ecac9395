"""An OSTree repository, served over HTTP to one host of the lab."""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab import Host

ALL = 10**9
"""More objects than any commit has."""


def _no_more() -> bool:
    return False


class Web:
    """A server, which may die in the middle.

    + url: of the repository
    + left: how many objects it still gives out
    + more: whether it gives out another when none is left; if not, it closes the connection without an answer
    """

    def __init__(self) -> None:
        self.url = ""
        self.left = ALL
        self.more: Callable[[], bool] = _no_more

    @contextmanager
    def gives_out(self, count: int, more: Callable[[], bool] = _no_more) -> Iterator[None]:
        """Give out so many objects, and then only what `more` allows, until this ends."""
        self.left, self.more = count, more
        yield
        self.left, self.more = ALL, _no_more


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, web: Web, directory: str):
        self._web = web
        super().__init__(*arguments, directory=directory)

    def do_GET(self) -> None:
        if "/objects/" in self.path:
            if self._web.left <= 0 and not self._web.more():
                self.close_connection = True
                self.connection.close()
                return
            self._web.left -= 1
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(host: Host, repository: Path) -> Iterator[Web]:
    """Serve a repository at the address by which a host sees this machine."""
    web = Web()
    handler = functools.partial(_Handler, web=web, directory=str(repository))
    with ThreadingHTTPServer((host.spec.outer_address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        web.url = f"http://{host.spec.outer_address}:{server.server_address[1]}"
        yield web
        server.shutdown()
