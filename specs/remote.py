"""A remote of a host's OSTree repository, and what its commits must be signed with."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, model_validator

from pyinfra_nspawn.specs.base import Items, Line, Spec
from pyinfra_nspawn.specs.names import matching

REMOTES_DIRECTORY = "/etc/ostree/remotes.d"
KEYS_DIRECTORY = "/etc/ostree/pyinfra-nspawn"

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"


def armored(text: str) -> str:
    """Return an OpenPGP public key in ASCII armor; raise `ValueError` for anything else."""
    lines = text.strip().splitlines()
    if not (lines and lines[0].strip() == _BEGIN and lines[-1].strip() == _END):
        raise ValueError("must be a public key in ASCII armor, as `gpg --armor --export` prints it")
    if not all(line.isascii() and (line.isprintable() or not line) for line in lines):
        raise ValueError("must be lines of printable ASCII")
    return "\n".join(lines) + "\n"


RemoteName = Annotated[Line, matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", "must be a remote's name")]
RemoteUrl = Annotated[
    Line,
    matching(
        r"(https?://[A-Za-z0-9.\[\]:-]+|file://)(/[A-Za-z0-9._~:/?!$&'()*+,=%-]*)?",
        "must be like https://ostree.example.org/repo, without a user",
    ),
]
GpgKey = Annotated[str, AfterValidator(armored)]
# 32 bytes.
Ed25519Key = Annotated[Line, matching(r"[A-Za-z0-9+/]{43}=", "must be 32 bytes in base64")]


class Remote(Spec):
    """A remote that guests are pulled from, as `remotes` of `nspawn_host` describes it.

    Its commits must be signed with one of its keys; ostree verifies them as they are pulled.

    + name: as `source` of a guest names it
    + url: of the repository
    + gpg_keys: public keys in ASCII armor
    + ed25519_key: a public key of 32 bytes, in base64; the host's ostree must have been built for that
    + unverified: accept whatever the URL offers, without any signature; False by default
    """

    name: RemoteName
    url: RemoteUrl
    gpg_keys: Annotated[tuple[GpgKey, ...], Items] = ()
    ed25519_key: Ed25519Key | None = None
    unverified: bool = False

    @property
    def file(self) -> str:
        """The path of its file on a host."""
        return f"{REMOTES_DIRECTORY}/{self.name}.conf"

    @property
    def keyring(self) -> str:
        """The path of the file with its GPG keys."""
        return f"{KEYS_DIRECTORY}/{self.name}.asc"

    @model_validator(mode="after")
    def _be_verified_or_say_so(self) -> Remote:
        keys = bool(self.gpg_keys) + bool(self.ed25519_key)
        if keys + self.unverified != 1:
            raise ValueError("give one of `gpg_keys` and `ed25519_key`, or `unverified: True`")
        return self
