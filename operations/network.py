"""Operations on the network of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.operation import operation

from pyinfra_nspawn.operations._converge import converge_host
from pyinfra_nspawn.plans.network import network
from pyinfra_nspawn.plans.preflight import preflight

if TYPE_CHECKING:
    from pyinfra_nspawn.operations._converge import Commands
    from pyinfra_nspawn.specs import Guest, HostSettings


@operation()
def bridge(settings: HostSettings, guests: tuple[Guest, ...] = ()) -> Commands:
    """Make, change or remove the host's bridge, and restore the network unless the change is confirmed.

    + settings: the inventory's `nspawn_host`, of which `bridge` is read
    + guests: all guests that the host is to have

    The change is written to /run/systemd/network, and moves to /etc once the host itself is content (address,
    default route, gateway, DNS) and this controller has reached it over a fresh connection. After
    `confirm_seconds` without that, or a reboot, or whatever else happens on the way, the host has its former
    network. One host at a time (data key `network_at_once`), and none after one that failed, unless the data
    key `network_keep_going` is true.

    **Example:**

    .. code:: python

        network.bridge(name="Bridge", settings=HostSettings(bridge=Bridge(uplinks=("en*",))))
    """
    yield from converge_host(settings, guests, (preflight, network), "the network is as desired")
