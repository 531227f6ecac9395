"""Where a guest's deployment comes from: the host's commit, a commit, a ref, or the guest itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, PlainSerializer, model_validator

from pyinfra_nspawn.specs.base import Spec

_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_ALMOST_A_CHECKSUM = re.compile(r"[0-9a-fA-F]{7,}")
# As `ostree admin status` prints it: CHECKSUM.SERIAL. Fewer digits than these may be a date.
_DEPLOYMENT = re.compile(r"[0-9a-fA-F]{16,}(\.[0-9]+)")
# What libostree accepts as a ref and as a remote's name (OSTREE_REF_REGEXP, OSTREE_REMOTE_REGEXP).
_REF = re.compile(r"[\w][-._\w]*(/[-._\w]+)*", re.ASCII)
_REMOTE = re.compile(r"[\w][-._\w]*", re.ASCII)

# How ostree-rs-ext writes container images, of which CoreOS and bootc hosts are updated.
_IMAGE = re.compile(
    r"(ostree-(unverified|remote|image)-[a-z]+|registry|docker|oci|oci-archive|containers-storage):[!-~]+"
)


class Source(Spec):
    """A commit to deploy, by one of the names that an administrator has for it.

    + commit: the checksum, 64 hex digits; else None
    + ref: a ref in the host's repository, or on `remote`; else None
    + remote: the remote that offers the ref or commit; None when the host must have it
    + image: a container image, as CoreOS and bootc hosts name theirs; it cannot be deployed yet
    + guest: the guest deploys its own commits, and boots what it deployed last; it begins with the host's

    All None is `host`: the commit that the host is booted from (its base commit when rpm-ostree has
    layered packages upon it).
    """

    commit: str | None = None
    ref: str | None = None
    remote: str | None = None
    image: str | None = None
    guest: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host`, `guest`, a checksum, `REF`, `REMOTE:REF`, `REMOTE:CHECKSUM` or an image.

        Raises ValueError for anything else, a shortened checksum included.
        """
        return cls(**_parts(text))

    @model_validator(mode="after")
    def _as_it_is_written(self) -> Self:
        """Refuse parts that no text stands for, such as a ref that is a commit."""
        parts = Source.model_fields.keys() & self.model_fields_set
        if _parts(str(self)) != {name: value for name in parts if (value := getattr(self, name))}:
            raise ValueError("must be one of 'host', 'guest', a commit or a ref, and with them a remote")
        return self

    @property
    def refspec(self) -> str | None:
        """The ref as the host's repository names it: `REMOTE:REF` or `REF`; None for no ref."""
        if self.ref is None:
            return None
        return f"{self.remote}:{self.ref}" if self.remote else self.ref

    def __str__(self) -> str:
        name = self.commit or self.ref or self.image or ("guest" if self.guest else "host")
        return f"{self.remote}:{name}" if self.remote else name


def _parts(text: str) -> dict[str, Any]:
    """Return the fields of the source that `text` names; raise ValueError for anything else."""
    if text in ("host", "guest"):
        return {"guest": True} if text == "guest" else {}
    if _IMAGE.fullmatch(text):
        return {"image": text}
    remote, colon, name = text.rpartition(":")
    if colon and not _REMOTE.fullmatch(remote):
        raise ValueError("the part before ':' is no name of a remote")
    kind = _kind(name)
    return {kind: name, "remote": remote} if colon else {kind: name}


def _kind(name: str) -> Literal["commit", "ref"]:
    if _CHECKSUM.fullmatch(name):
        return "commit"
    if _CHECKSUM.fullmatch(name.lower()):
        raise ValueError("a commit is written in lower case")
    if deployment := _DEPLOYMENT.fullmatch(name):
        raise ValueError(f"is a deployment; write its commit, without '{deployment[1]}'")
    if _ALMOST_A_CHECKSUM.fullmatch(name):
        raise ValueError("a commit is written with all its 64 hex digits")
    if not _REF.fullmatch(name):
        raise ValueError("must be 'host', 'guest', a commit of 64 hex digits, 'REF' or 'REMOTE:REF'")
    return "ref"


def _from_text(value: object) -> object:
    return Source.parse(value) if isinstance(value, str) else value


SourceText = Annotated[Source, BeforeValidator(_from_text), PlainSerializer(str)]
