"""The text of a first inventory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def first_inventory(
    hosts: Sequence[str], guests: Sequence[str], *, user: str, sudo: bool, key: str = ""
) -> str:
    """Return an inventory in which all these hosts run all these guests.

    + hosts: names or addresses
    + guests: names
    + user: who logs in over SSH
    + sudo: whether that user becomes root with sudo
    + key: a line for `authorized_keys` of the guests' root; none by default

    >>> print(first_inventory(["lab1"], ["web"], user="core", sudo=True).splitlines()[-4])
    hosts = (
    """
    keys = f', "authorized_keys": [{_text(key)}]' if key else ""
    lines = [
        '"""OSTree hosts, and the guests that each of them runs."""',
        "",
        "from pyinfra_nspawn.connectors.ssh import FAST_SSH",
        "",
        "_DATA = {",
        "    **FAST_SSH,",
        f'    "ssh_user": {_text(user)},',
        *(['    "_sudo": True,'] if sudo else []),
        f'    "guest_defaults": {{"source": "host"{keys}}},',
        '    "guests": [',
        *(f'        {{"name": {_text(name)}}},' for name in guests),
        "    ],",
        "}",
        "",
        "hosts = (",
        f"    [{', '.join(map(_text, hosts))}],",
        "    _DATA,",
        ")",
    ]
    return "".join(f"{line}\n" for line in lines)


def _text(value: str) -> str:
    """Return a text as Python writes it, in double quotes."""
    return json.dumps(value, ensure_ascii=True)
