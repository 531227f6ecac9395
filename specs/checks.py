"""A guest's own checks: what must work in it before a change of it is kept."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from pyinfra_nspawn.specs.base import Items, Line, Spec
from pyinfra_nspawn.specs.names import UnitName, matching

_DAY = 86400
_LAST_PORT = 65535
# An address or a name, so that neither bash nor curl can take it for anything else.
_ADDRESS = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*"


def _address_and_port(value: object) -> object:
    """Read `PORT` or `ADDRESS:PORT`; a port alone is one of the guest's loopback."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"127.0.0.1:{value}"
    if not isinstance(value, str):
        raise ValueError("must be a port, or ADDRESS:PORT")
    address, _, port = value.rpartition(":")
    bare = address.removeprefix("[").removesuffix("]")
    if not (re.fullmatch(_ADDRESS, bare, re.ASCII) and re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII)):
        raise ValueError("must be a port, or ADDRESS:PORT")
    if int(port) > _LAST_PORT:
        raise ValueError(f"a port is 1 to {_LAST_PORT}")
    return f"{bare} {port}"


TcpAddress = Annotated[str, BeforeValidator(_address_and_port)]
# What a URL may hold (RFC 3986), less the braces and brackets that curl expands; but for an IPv6 address.
Url = Annotated[
    Line,
    matching(
        r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?",
        "must be like http://localhost:8080/healthz",
    ),
]


class Checks(Spec):
    """A guest's own checks.

    A changed definition or commit is kept only if the guest comes up, all of them pass within
    `timeout_seconds`, and the guest is still healthy, and they still pass, after `settle_seconds`. They run
    in the guest, those of addresses in its network.

    + units: that must be active
    + commands: for the guest's `sh`, as root; each must exit 0. Units and commands are tried every 0.5 s
      until all pass: they must change nothing, and take less than 20 s together
    + tcp: ports that must accept a connection: `PORT` on the guest's loopback, or `ADDRESS:PORT`. Takes
      bash on the host
    + http: URLs that must be answered with a status of 200 to 399; certificates are not checked. Takes
      curl on the host
    + timeout_seconds: how long they may take to pass once the guest is up; 60 by default
    + settle_seconds: how long the guest must stay healthy then, until they are tried again; 0 by default
    """

    units: Annotated[tuple[UnitName, ...], Items] = ()
    commands: Annotated[tuple[Line, ...], Items] = ()
    tcp: Annotated[tuple[TcpAddress, ...], Items] = ()
    http: Annotated[tuple[Url, ...], Items] = ()
    timeout_seconds: int = Field(default=60, ge=0, le=_DAY)
    settle_seconds: int = Field(default=0, ge=0, le=_DAY)
