"""A file that a host gets whole: from the controller, or from a URL that the host reaches."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from pyinfra_nspawn.specs.base import Line, Spec
from pyinfra_nspawn.specs.names import matching

Kind = Literal["binary", "images", "archive"]
"""An executable of the host's architecture, an archive of container images, or one of a guest."""

Sha256 = Annotated[Line, matching(r"[0-9a-f]{64}", "must be a sha256: 64 lower-case hex digits")]


def _fetchable(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL that begins with http:// or https://")
    if not re.fullmatch(r"[!#-\[\]-~]+", text):
        raise ValueError("must be ASCII without spaces, quotes or backslashes; write them like %20")
    return text


Url = Annotated[Line, AfterValidator(_fetchable)]


class Artifact(Spec):
    """A file by its digest, and where it comes from: exactly one of `path` and `url`.

    + path: on the controller; a relative one begins in the directory that pyinfra runs in
    + url: that the host itself fetches with curl(1), over http or https
    + sha256: of its content, 64 hex digits: the publisher's, not one computed from a download
    """

    path: Line | None = None
    url: Url | None = Field(default=None, repr=False)  # it may hold a password
    sha256: Sha256

    @property
    def name(self) -> str:
        """The last part of its path or URL."""
        return (self.path or urlsplit(self.url or "").path).rstrip("/").rpartition("/")[2]

    @model_validator(mode="after")
    def _from_one_place(self) -> Artifact:
        if (self.path is None) == (self.url is None):
            raise ValueError("needs either `path` or `url`")
        return self
