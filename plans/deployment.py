"""Deploy the commit of a guest's source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def deployment(comparison: Comparison) -> Iterator[Step | Finding]:
    """Deploy the source's commit, unless the guest has a deployment to boot; never twice."""
    if comparison.moves or comparison.current or comparison.candidate:
        return
    guest, commit = comparison.guest, comparison.commit
    shared = guest.sysroot == "shared"
    what = f"commit {commit[:12]}" if commit else str(guest.source)
    where = "the host's /ostree, not as default" if shared else comparison.layout.directory
    yield Finding(
        "missing",
        f"it has no deployment of {guest.source}",
        guest=guest.name,
        field="deployment",
        wanted=commit or str(guest.source),
    )
    yield Step(
        f"deploy {what} in stateroot {guest.name} of {where}",
        "deploy",
        guest.name,
        (guest.sysroot, commit or guest.source.refspec or ""),
        sysroot=shared,
    )
