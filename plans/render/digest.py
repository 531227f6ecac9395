"""The digest by which a running guest's definition is known: of what it means, not of how it is written."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FORMAT = 2
"""Part of every digest: raised, it restarts every guest."""
_DIGITS = 32


def digest_of(
    name: str,
    meaning: Mapping[str, Sequence[str] | Mapping[str, str] | bool],
    secrets: Mapping[str, str],
) -> str:
    """Return one digest of all that takes a restart to change.

    + name: of the guest; it salts the secrets
    + meaning: what a unit file says, without its text
    + secrets: the credentials' contents by name

    It is readable by every user of the host, so that a secret must be costly to guess from it.
    """
    stretched = {key: _stretched(name, text) for key, text in secrets.items()}
    known = {"format": _FORMAT, "guest": name, "meaning": meaning, "secrets": stretched}
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@functools.lru_cache(maxsize=4096)
def _stretched(salt: str, secret: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=salt.encode(), n=2**12, r=8, p=1).hex()
