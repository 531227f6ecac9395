"""The files of k3s that a host stores for its guests: brought once, and removed when no guest needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.local import LocalFile
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.plans.step import Step, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.host import HostComparison
    from pyinfra_nspawn.specs import Artifact, Guest

SPARE_BYTES = 64 * 2**20
"""What remains free on the host."""
_SHOWN = 12
"""How many digits of a digest are shown."""


def k3s_bring(comparison: Comparison) -> Iterator[Step | Finding]:
    """Bring the files of k3s that the host lacks for a guest; what one guest lacks keeps no other waiting."""
    guest = comparison.guest
    host = readable("the host", comparison.snapshot.host, guest.name)
    lacking = {path: item for path, item in _artifacts(guest).items() if not is_whole(host, item.sha256)}
    errors = tuple(filter(None, (_unusable(comparison, item) for item in lacking.values())))
    yield from errors or _full(comparison, host, lacking.values())
    for path, artifact in lacking.items():
        problem = f"the host does not have {described(artifact)}"
        yield Finding("missing", problem, guest=guest.name, field="k3s", wanted=artifact.sha256)
        verb, manner = ("store-append", "send") if artifact.path else ("store-fetch", "fetch")
        yield Step(
            f"{manner} {described(artifact)}{_progress(comparison, host, artifact)}",
            verb,
            guest.name,
            transfer=Transfer(artifact, "binary" if path == "k3s" else "images"),
        )


def k3s_prune(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Remove the files of k3s that no guest has or will get."""
    wanted = {item.sha256 for guest in comparison.guests for item in _artifacts(guest).values()}
    unused = [key for key, item in comparison.host.stored.items() if key not in wanted and item.links == 1]
    if unused:
        names = ", ".join(key[:_SHOWN] for key in unused)
        yield Finding("extra", f"files of k3s that no guest has: {names}", field="k3s", seen=" ".join(unused))
        yield Step(f"remove files of k3s: {names}", "store-prune", arguments=tuple(sorted(wanted)))


def described(artifact: Artifact) -> str:
    """Return an artifact by its name and the beginning of its digest."""
    return f"{artifact.name} ({artifact.sha256[:_SHOWN]})"


def _artifacts(guest: Guest) -> dict[str, Artifact]:
    return guest.k3s.artifacts if guest.k3s and guest.state != "absent" else {}


def _progress(comparison: Comparison, host: Host, artifact: Artifact) -> str:
    local, part = comparison.snapshot.local.get(artifact.path or ""), host.stored.get(artifact.sha256)
    texts = [f"{local.size / 2**20:.0f} MiB"] if isinstance(local, LocalFile) else []
    texts += [f"{part.size / 2**20:.0f} MiB of it are there"] if part and part.size else []
    return f" ({', '.join(texts)})" if texts else ""


def _unusable(comparison: Comparison, artifact: Artifact) -> Finding | None:
    """Return an error for a file of the controller that does not exist, or is not the desired one."""
    local = comparison.snapshot.local.get(artifact.path or "")
    if local is None or (isinstance(local, LocalFile) and local.sha256 == artifact.sha256):
        return None
    if isinstance(local, Unreadable):
        problem, hint, seen = local.reason, "Correct its `path`.", ""
    else:
        problem, hint, seen = (
            f"its sha256 is {local.sha256}",
            "Correct it, or get the file anew.",
            local.sha256,
        )
    return Finding(
        "impossible",
        f"{artifact.path}: {problem}",
        hint,
        guest=comparison.guest.name,
        field="k3s",
        wanted=artifact.sha256,
        seen=seen,
        severity="error",
    )


def _full(comparison: Comparison, host: Host, lacking: Iterable[Artifact]) -> Iterator[Finding]:
    """Yield an error where a file to send does not fit; the size of a URL's file shows when it is fetched."""
    sizes = [
        local.size - (host.stored[item.sha256].size if item.sha256 in host.stored else 0)
        for item in lacking
        if isinstance(local := comparison.snapshot.local.get(item.path or ""), LocalFile)
    ]
    if sizes and sum(sizes) + SPARE_BYTES > host.free_bytes:
        need, free = (sum(sizes) + SPARE_BYTES) // 2**20, host.free_bytes // 2**20
        problem = f"its files of k3s need {need} MiB and the host has {free} MiB left"
        hint = "Free some below /var/lib."
        name = comparison.guest.name
        yield Finding("unfit", problem, hint, guest=name, field="free_bytes", severity="error")


def is_whole(host: Host, sha256: str) -> bool:
    """Return whether a host stores all of a file."""
    return sha256 in host.stored and host.stored[sha256].whole
