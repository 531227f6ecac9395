"""Where a guest's deployment comes from: the host's commit, a commit, a ref, or the guest itself."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import BeforeValidator, PlainSerializer

from pyinfra_nspawn.specs.base import Spec

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_SHORT_CHECKSUM = re.compile(r"[0-9a-f]{7,63}")
# What libostree accepts as a ref and as a remote's name (OSTREE_REF_REGEXP, OSTREE_REMOTE_REGEXP).
_REF = re.compile(r"[\w][-._\w]*(/[-._\w]+)*", re.ASCII)
_REMOTE = re.compile(r"[\w][-._\w]*", re.ASCII)


class Source(Spec):
    """A commit to deploy, by one of the names that an administrator has for it.

    + commit: the checksum, 64 hex digits; else None
    + ref: a ref in the host's repository, or on `remote`; else None
    + remote: the remote that offers the ref or commit; None when the host must have it
    + guest: the guest deploys its own commits, and boots what it deployed last; it begins with the host's

    All None is `host`: the commit that the host is booted from (its base commit when rpm-ostree has
    layered packages upon it).
    """

    commit: str | None = None
    ref: str | None = None
    remote: str | None = None
    guest: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host`, `guest`, a checksum, `REF`, `REMOTE:REF` or `REMOTE:CHECKSUM`.

        Raises ValueError for anything else, a shortened checksum included.
        """
        if text in ("host", "guest"):
            return cls(guest=text == "guest")
        remote, colon, name = text.rpartition(":")
        if colon and not _REMOTE.fullmatch(remote):
            raise ValueError("the part before ':' is no name of a remote")
        if _CHECKSUM.fullmatch(name):
            return cls(commit=name, remote=remote or None)
        if _SHORT_CHECKSUM.fullmatch(name):
            raise ValueError("a commit is written with all its 64 hex digits")
        if not _REF.fullmatch(name):
            raise ValueError("must be 'host', 'guest', a commit of 64 hex digits, 'REF' or 'REMOTE:REF'")
        return cls(ref=name, remote=remote or None)

    @property
    def refspec(self) -> str | None:
        """The ref as the host's repository names it: `REMOTE:REF` or `REF`; None for no ref."""
        if self.ref is None:
            return None
        return f"{self.remote}:{self.ref}" if self.remote else self.ref

    def __str__(self) -> str:
        name = self.commit or self.ref or ("guest" if self.guest else "host")
        return f"{self.remote}:{name}" if self.remote else name


def _from_text(value: object) -> object:
    return Source.parse(value) if isinstance(value, str) else value


SourceText = Annotated[Source, BeforeValidator(_from_text), PlainSerializer(str)]
