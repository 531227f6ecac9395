"""The files of k3s that a host stores for its guests: brought once, and removed when no guest needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.plans.host import HostComparison
    from pyinfra_nspawn.specs import Artifact, Guest
    from pyinfra_nspawn.specs.artifact import Kind

_SPARE_BYTES = 64 * 2**20
"""What remains free on the host."""
_SHOWN = 12
"""How many digits of a digest are shown."""


@dataclass(frozen=True)
class LocalFile:
    """A file of the controller.

    + size: in bytes
    + sha256: of its content
    """

    size: int
    sha256: str


def k3s_store(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Bring the files of k3s that the host lacks for its guests; remove those that no guest needs."""
    wanted = wanted_by(comparison.guests)
    stored = comparison.host.stored
    for sha256, (artifact, kind) in wanted.items():
        if sha256 in stored and stored[sha256].whole:
            continue
        if error := _unusable(comparison, artifact):
            yield error
            continue
        yield Finding("missing", f"{described(artifact)} is not stored", field="k3s", wanted=sha256)
        yield _bring(comparison, artifact, kind)
    yield from _full(comparison, wanted)
    unused = [key for key, item in stored.items() if key not in wanted and item.links == 1]
    if unused:
        names = ", ".join(key[:_SHOWN] for key in unused)
        yield Finding("extra", f"files of k3s that no guest has: {names}", field="k3s", seen=" ".join(unused))
        yield Step(f"remove files of k3s: {names}", "k3s-prune", arguments=tuple(wanted))


def wanted_by(guests: Iterable[Guest]) -> dict[str, tuple[Artifact, Kind]]:
    """Return the files of k3s that guests are to have, by digest."""
    return {
        artifact.sha256: (artifact, "binary" if path == "k3s" else "images")
        for guest in guests
        if guest.k3s and guest.state != "absent"
        for path, artifact in guest.k3s.artifacts.items()
    }


def described(artifact: Artifact) -> str:
    """Return an artifact by its name and the beginning of its digest."""
    return f"{artifact.name} ({artifact.sha256[:_SHOWN]})"


def _bring(comparison: HostComparison, artifact: Artifact, kind: Kind) -> Step:
    local = comparison.local.get(artifact.path or "")
    part = comparison.host.stored.get(artifact.sha256)
    texts = [f"{local.size / 2**20:.0f} MiB"] if isinstance(local, LocalFile) else []
    texts += [f"{part.size / 2**20:.0f} MiB of it are there"] if part and part.size else []
    more = f" ({', '.join(texts)})" if texts else ""
    verb, manner = ("k3s-append", "send") if artifact.path else ("k3s-fetch", "fetch")
    return Step(f"{manner} {described(artifact)}{more}", verb, transfer=Transfer(artifact, kind))


def _unusable(comparison: HostComparison, artifact: Artifact) -> Finding | None:
    """Return an error for a file of the controller that does not exist, or is another than is wanted."""
    local = comparison.local.get(artifact.path or "")
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
        field="k3s",
        wanted=artifact.sha256,
        seen=seen,
        severity="error",
    )


def _full(comparison: HostComparison, wanted: dict[str, tuple[Artifact, Kind]]) -> Iterator[Finding]:
    """Yield an error where what is sent does not fit; how large a URL's file is shows when it is fetched."""
    host = comparison.host
    sizes = [
        local.size - (host.stored[sha256].size if sha256 in host.stored else 0)
        for sha256, (artifact, _) in wanted.items()
        if not _is_whole(host, sha256)
        and isinstance(local := comparison.local.get(artifact.path or ""), LocalFile)
    ]
    if sizes and sum(sizes) + _SPARE_BYTES > host.free_bytes:
        need, free = (sum(sizes) + _SPARE_BYTES) // 2**20, host.free_bytes // 2**20
        problem = f"the files of k3s need {need} MiB and the host has {free} MiB left"
        yield Finding("unfit", problem, "Free some below /var/lib.", field="free_bytes", severity="error")


def _is_whole(host: Host, sha256: str) -> bool:
    return sha256 in host.stored and host.stored[sha256].whole
