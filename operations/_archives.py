"""Look at archives, and for the guests that they were taken of."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra.context import ctx_host

from pyinfra_nspawn.facts.archive import Archive, ArchiveFacts, read_archive
from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.operations._look import ask, current_host, current_state, look
from pyinfra_nspawn.plans.restore import Restoration
from pyinfra_nspawn.specs import Guest

if TYPE_CHECKING:
    from pyinfra_nspawn.specs.archive import ArchiveData

_ON_HOST = "host:"


def restoration_of(guest: Guest, data: ArchiveData) -> Restoration:
    """Return what a guest of the current host is restored from, read where it is."""
    sent = bool(data.archive) and not data.archive.startswith(_ON_HOST)
    if sent:
        found: Archive | Unreadable | None = _read(data.archive)
    else:
        found = ask(ArchiveFacts(), guest=guest.name, file=data.archive.removeprefix(_ON_HOST))
    original = None
    if isinstance(found, Archive) and data.identity == "same" and data.original != "gone":
        original = _original(found)
    return Restoration(found, sent, data.identity, original)


def _read(path: str) -> Archive | Unreadable:
    try:
        status = Path(path).stat()
    except OSError as error:
        return Unreadable(error.strerror or type(error).__name__)
    return _read_once(path, status.st_size, status.st_mtime_ns)


@functools.cache
def _read_once(path: str, _size: int, _mtime_ns: int) -> Archive | Unreadable:
    return read_archive(path)


def _original(archive: Archive) -> tuple[str, str] | None:
    """Return problem and hint where the guest of an archive still runs on another host, or may."""
    here, name = current_host(), archive.origin
    if name in ("", here.name):
        return None
    gone = "or say `--data original=gone` where it is."
    host = next((item for item in current_state().inventory if item.name == name), None)
    if host is None:
        return f"the inventory does not have host {name}, where the original was", f"Add it, {gone}"
    if not host.connected:
        return f"whether the original runs on {name} is unknown", f"Run for that host too, {gone}"
    with ctx_host.use(host):
        guests = look((Guest(name=archive.guest),)).guests
    seen = guests if isinstance(guests, Unreadable) else guests.get(archive.guest, GuestSeen())
    if isinstance(seen, Unreadable):
        return f"whether the original runs on {name} is unknown: {seen.reason}", f"Run again, {gone}"
    unit = seen.unit
    if unit and (unit.active or unit.enabled):
        runs = "runs" if unit.active else "starts with its host"
        hint = "There, set `state` to 'stopped' and `autostart` to False; or restore with `identity=new`."
        return f"the original {runs} on {name}", hint
    return None
