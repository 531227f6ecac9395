"""Which commit a guest's source names on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding, Refused

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.ostree import Sysroot
    from pyinfra_nspawn.specs import Guest


def resolve(guest: Guest, host: Sysroot) -> str | None:
    """Return the commit that the guest's source names in the host's repository.

    None while the remote has not been asked for the ref. Raises `Refused` when the source cannot be had.
    """
    source = guest.source
    if finding := unsupported(guest):
        raise Refused(finding)
    if source.commit:
        return source.commit
    if source.refspec:
        return _resolve_ref(guest, host)
    if host.booted is None:
        raise Refused(
            _impossible(
                guest,
                "`source: host` needs a host that was booted from OSTree",
                "Name a commit or a ref in `source`.",
            )
        )
    if host.layers is not None:
        raise Refused(
            Finding(
                "unreadable",
                f"the host's base commit is unknown: {host.layers.reason}",
                'Run "rpm-ostree status" on the host, or name a commit in `source`.',
                guest=guest.name,
                field="source",
                wanted=str(source),
                severity="error",
            )
        )
    return host.booted.base_commit


def unsupported(guest: Guest) -> Finding | None:
    """Return the finding about a source that no host can provide; None for all others.

    It needs no facts, so that an inventory can be checked for it.
    """
    if guest.source.image is None:
        return None
    return _impossible(
        guest,
        "a container image cannot be deployed yet",
        "Write `host` for the one that the host boots, or the commit of another that it has.",
    )


def _resolve_ref(guest: Guest, host: Sysroot) -> str | None:
    source = guest.source
    commit = host.refs.get(source.refspec or "")
    if commit or source.remote in host.remotes:
        return commit
    if source.remote:
        problem, hint = _unknown_remote(source.remote)
        raise Refused(_impossible(guest, problem, hint))
    raise Refused(
        _impossible(
            guest,
            f"the host's repository has no ref {source.ref}",
            f"Pull it on the host, or write REMOTE:{source.ref} in `source`.",
        )
    )


def refuse_absent(guest: Guest, host: Sysroot) -> None:
    """Raise `Refused` for a commit that the host lacks and that `source` names no known remote for."""
    source = guest.source
    if source.remote and source.remote not in host.remotes:
        problem, hint = _unknown_remote(source.remote)
        raise Refused(_impossible(guest, problem, hint))
    if not source.remote:
        raise Refused(
            _impossible(
                guest,
                f"the host's repository has no commit {source.commit}",
                "Pull it on the host, or write REMOTE:COMMIT in `source`.",
            )
        )


def _unknown_remote(remote: str) -> tuple[str, str]:
    """Return problem and hint about a remote that the host does not know."""
    return f"the host knows no remote {remote}", "Add it to `remotes` of `nspawn_host`."


def _impossible(guest: Guest, problem: str, hint: str) -> Finding:
    return Finding(
        "impossible",
        problem,
        hint,
        guest=guest.name,
        field="source",
        wanted=str(guest.source),
        severity="error",
    )
