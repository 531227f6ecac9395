"""The data keys of a backup and a restore."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from pyinfra_nspawn.specs.base import Line, Spec
from pyinfra_nspawn.specs.remote import armored

_OF_AGE = re.compile(r"age1[0-9a-z]{10,200}|ssh-(ed25519|rsa) [A-Za-z0-9+/]{40,2000}={0,3}")
_ON_HOST = re.compile(r"host:[0-9]{8}T[0-9]{6}Z\.tar")


def _key(text: str) -> str:
    text = text.strip()
    if text.startswith("-"):
        return armored(text)
    if text and not _OF_AGE.fullmatch(text):
        raise ValueError("must be a recipient of age (`age1...`), or an OpenPGP public key in ASCII armor")
    return text


def _of_host(text: str) -> str:
    if text.startswith("host:") and not _ON_HOST.fullmatch(text):
        raise ValueError("must be like `host:20260102T030405Z.tar`, or the path of a file of the controller")
    return text


BackupKey = Annotated[str, AfterValidator(_key)]


class ArchiveData(Spec):
    """The data keys of `deploys/backup.py` and `deploys/restore.py`, beside the names of guests to back up.

    + restore: the guest to restore: its name, or `HOST:NAME` where several hosts have a guest of that name
    + backup_to: a directory of the controller, where archives are copied to; none by default
    + restore_from: the path of a file of the controller, or `host:FILE`, an archive that the host keeps; by
      default the latest that it keeps
    + restore_as: `same`, or `new`: without the machine id, host name and SSH host keys of the original
    + restore_original: `gone`, where the host of the archive cannot be asked whether the original runs
    """

    restore: Line = ""
    backup_to: Line = ""
    restore_from: Annotated[Line, AfterValidator(_of_host)] = ""
    restore_as: Literal["same", "new"] = "same"
    restore_original: Literal["", "gone"] = ""
