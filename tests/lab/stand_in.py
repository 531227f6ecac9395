"""Put a script in the place of a tool of a host, to have it fail, disobey or die at will."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.lab.host import Host


@contextmanager
def stand_in(host: Host, tool: str, script: str) -> Iterator[None]:
    """Have a shell script run in the place of /usr/bin/TOOL of a host while the block runs.

    In the script `$real` is the tool itself, and `$own` a directory that goes with the script.
    """
    own = f"/var/tmp/stand-in/{tool}"
    text = f"#!/bin/sh\nown={own} real={own}/{tool}\n{script}\n"
    host.succeed(f"""
        set -e
        mkdir -p {own}
        cp /usr/bin/{tool} {own}/{tool}
        printf %s {shlex.quote(text)} >{own}/script
        chmod 755 {own}/script
        mount --bind {own}/script /usr/bin/{tool}
    """)
    try:
        yield
    finally:
        host.succeed(f"umount /usr/bin/{tool} && rm -r {own}")


@contextmanager
def stand_ins(hosts: Iterable[Host], tool: str, script: str) -> Iterator[None]:
    """Do that on several hosts."""
    with ExitStack() as stack:
        for host in hosts:
            stack.enter_context(stand_in(host, tool, script))
        yield
