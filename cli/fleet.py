"""Look at all hosts of an inventory, side by side, and change none of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gevent
from pyinfra.api.exceptions import ConnectError
from pyinfra.context import ctx_host

from pyinfra_nspawn.operations._look import LOST, cause, look
from pyinfra_nspawn.reports.visit import Visit
from pyinfra_nspawn.specs.inventory import errors_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra.api.host import Host

    from pyinfra_nspawn.cli.inventory import Loaded


def errors_of(hosts: Iterable[Host]) -> list[str]:
    """Return every error in the data of these hosts, a line each, without a connection to any."""
    return [line for host in hosts for line in errors_in(host.data.dict(), host.name)]


def visit_all(loaded: Loaded, *, timeout_seconds: int, usage: bool = False) -> list[Visit]:
    """Look at every host of an inventory.

    + timeout_seconds: how long a host may take to answer
    + usage: read the addresses of guests too

    Raises `InvalidSpecError` for the first host whose data is wrong, before any is connected to.
    """
    planned = [(host, Visit.planned(host.name, host.data.dict())) for host in loaded.hosts]
    jobs = [loaded.state.pool.spawn(_visit, host, visit, timeout_seconds, usage) for host, visit in planned]
    return [job.get() for job in jobs]


def _visit(host: Host, visit: Visit, timeout_seconds: int, usage: bool) -> Visit:
    try:
        with gevent.Timeout(timeout_seconds), ctx_host.use(host):
            host.connect(show_errors=False, raise_exceptions=True)
            try:
                return replace(visit, snapshot=look(visit.guests, usage=usage))
            finally:
                host.disconnect()
    except gevent.Timeout:
        return replace(visit, problem=f"no answer within {timeout_seconds} s")
    except (ConnectError, *LOST) as error:
        return replace(visit, problem=cause(error))
