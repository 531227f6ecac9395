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
from pyinfra_nspawn.specs.inventory import guests_from

if TYPE_CHECKING:
    from pyinfra.api.host import Host

    from pyinfra_nspawn.specs.archive import ArchiveData

_ON_HOST = "host:"


def restoration_of(guest: Guest, data: ArchiveData) -> Restoration:
    """Return what a guest of the current host is restored from, read where it is."""
    sent = bool(data.restore_from) and not data.restore_from.startswith(_ON_HOST)
    if sent:
        found: Archive | Unreadable | None = _read(data.restore_from)
    else:
        found = ask(ArchiveFacts(), guest=guest.name, file=data.restore_from.removeprefix(_ON_HOST))
    original = None
    if isinstance(found, Archive) and data.restore_as == "same" and data.restore_original != "gone":
        original = _original(found) or _twin(found)
    return Restoration(found, sent, data.restore_as, original)


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
    """Return problem and hint where the original of an archive still runs on its host, or may."""
    here, name = current_host(), archive.origin
    if name in ("", here.name):
        return None
    gone = "or say `--data restore_original=gone` where it is."
    host = next((item for item in current_state().inventory if item.name == name), None)
    if host is None:
        return f"the inventory does not have host {name}, where the original was", f"Add it, {gone}"
    if not host.connected:
        return f"whether the original runs on {name} is unknown", f"Run for that host too, {gone}"
    seen = _guest_on(host, archive.guest)
    if isinstance(seen, Unreadable):
        return f"whether the original runs on {name} is unknown: {seen.reason}", f"Run again, {gone}"
    if seen.unit and (seen.unit.active or seen.unit.enabled):
        runs = f"runs on {name}" if seen.unit.active else f"starts with its host, {name}"
        return f"the original {runs}", _STOP
    return None


_STOP = "There, set `state` to 'stopped' and `autostart` to False; or restore with `--data restore_as=new`."


def _twin(archive: Archive) -> tuple[str, str] | None:
    """Return problem and hint where a guest with its name and machine id runs on another host of this run.

    It may have moved since the archive was taken.
    """
    for host in current_state().inventory:
        if host is current_host() or not host.connected or host.name == archive.origin:
            continue
        guests = guests_from(host.data.dict(), f"inventory of {host.name}")
        if archive.guest not in [guest.name for guest in guests]:
            continue
        seen = _guest_on(host, archive.guest)
        machine_id = seen.machine.machine_id if isinstance(seen, GuestSeen) and seen.machine else ""
        if machine_id and machine_id == archive.machine_id:
            return f"a guest with its machine id runs on {host.name}", _STOP
    return None


def _guest_on(host: Host, name: str) -> GuestSeen | Unreadable:
    with ctx_host.use(host):
        guests = look((Guest(name=name),)).guests
    return guests if isinstance(guests, Unreadable) else guests.get(name, GuestSeen())
