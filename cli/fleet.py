"""Look at all hosts of an inventory, side by side, and change none of them."""

from __future__ import annotations

import functools
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import gevent
from pyinfra.context import ctx_host

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.operations._look import LOST, cause, look, look_back
from pyinfra_nspawn.plans.ready import probed
from pyinfra_nspawn.plans.source import unsupported
from pyinfra_nspawn.reports.visit import Visit
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.cluster import nodes_of
from pyinfra_nspawn.specs.inventory import errors_in, guests_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyinfra.api.host import Host

    from pyinfra_nspawn.cli.inventory import Loaded
    from pyinfra_nspawn.facts.history import Change
    from pyinfra_nspawn.facts.snapshot import Usage
    from pyinfra_nspawn.specs import Guest
    from pyinfra_nspawn.specs.cluster import Node

T = TypeVar("T")


def errors_of(hosts: Iterable[Host]) -> list[str]:
    """Return every error in the data of these hosts, a line each, without a connection to any."""
    return [line for host in hosts for line in errors_in(host.data.dict(), host.name)]


def clusters_of(loaded: Loaded) -> list[str]:
    """Return why hosts' nodes cannot join their clusters, a line each, without a connection to any."""
    fleet, found = _fleet(loaded), []
    for host in loaded.hosts:
        try:
            Visit.planned(host.name, host.data.dict(), fleet)
        except InvalidSpecError as error:
            found.append(str(error))
    return found


def nodes_in(loaded: Loaded) -> tuple[Node, ...]:
    """Return the nodes of all clusters of an inventory, those on hosts that are limited away included.

    Raises `InvalidSpecError` for the first host whose guests are wrong.
    """
    return nodes_of(_fleet(loaded)())


def _fleet(loaded: Loaded) -> Callable[[], dict[str, tuple[Guest, ...]]]:
    """Return what reads, once, the guests of every host of the inventory, those that are limited away too."""

    @functools.cache
    def fleet() -> dict[str, tuple[Guest, ...]]:
        return {
            host.name: guests_from(host.data.dict(), f"inventory of {host.name}")
            for host in loaded.state.inventory
        }

    return fleet


def impossible_on(hosts: Iterable[Host]) -> list[str]:
    """Return what no host can do for its guests, a line each, without a connection to any.

    A host whose data has errors yields nothing: see `errors_of`.
    """
    found = []
    for host in hosts:
        with suppress(InvalidSpecError):
            guests = guests_from(host.data.dict(), host.name)
            found += [f"{host.name}: {finding}" for finding in filter(None, map(unsupported, guests))]
    return found


def visit_all(
    loaded: Loaded, *, timeout_seconds: int, usage: Usage = "", every: bool = False, remotes: bool = False
) -> list[Visit]:
    """Look at every host of an inventory.

    + timeout_seconds: how long a host may take to answer
    + usage: `addresses` to read those of guests too, `disk` to have the guests measure their files
    + every: test the preconditions of k3s in guests without `k3s` too
    + remotes: ask the remotes of the guests' sources for the commits that they have now

    Raises `InvalidSpecError` for the first host whose data is wrong, before any is connected to.
    """
    fleet = _fleet(loaded)
    planned = {host.name: Visit.planned(host.name, host.data.dict(), fleet) for host in loaded.hosts}

    def visit(host: Host) -> Visit:
        guests = planned[host.name].guests
        snapshot = look(guests, usage=usage, probed=probed(guests, every=every), remotes=remotes)
        return replace(planned[host.name], snapshot=snapshot)

    found = _on_each(loaded, visit, timeout_seconds)
    return [
        replace(planned[host], problem=item.reason) if isinstance(item, Unreadable) else item
        for host, item in found.items()
    ]


def histories(
    loaded: Loaded, *, limit: int, timeout_seconds: int
) -> dict[str, tuple[Change, ...] | Unreadable]:
    """Return the changes of every host of an inventory, by the host's name.

    + limit: how many entries of each, the latest
    + timeout_seconds: how long a host may take to answer
    """
    return _on_each(loaded, lambda _: look_back(limit), timeout_seconds)


def _on_each(
    loaded: Loaded, act: Callable[[Host], T | Unreadable], timeout_seconds: int
) -> dict[str, T | Unreadable]:
    """Connect to every host and act there, as many side by side as pyinfra's `--parallel` says."""
    jobs: dict[str, gevent.Greenlet[..., T | Unreadable]] = {
        host.name: loaded.state.pool.spawn(_connected, host, act, timeout_seconds) for host in loaded.hosts
    }
    return {name: job.get() for name, job in jobs.items()}


def _connected(host: Host, act: Callable[[Host], T | Unreadable], timeout_seconds: int) -> T | Unreadable:
    try:
        with gevent.Timeout(timeout_seconds), ctx_host.use(host):
            host.connect(show_errors=False, raise_exceptions=True)
            try:
                return act(host)
            finally:
                host.disconnect()
    except gevent.Timeout:
        return Unreadable(f"no answer within {timeout_seconds} s")
    except LOST as error:
        return Unreadable(cause(error))
