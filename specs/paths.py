"""Paths on an OSTree system, whose top-level directories are links into /var."""

from __future__ import annotations

_LINKS = {
    "/bin": "/usr/bin",
    "/home": "/var/home",
    "/lib": "/usr/lib",
    "/lib64": "/usr/lib64",
    "/media": "/run/media",
    "/mnt": "/var/mnt",
    "/opt": "/var/opt",
    "/root": "/var/roothome",
    "/sbin": "/usr/sbin",
    "/srv": "/var/srv",
    "/usr/local": "/var/usrlocal",
    "/var/lock": "/run/lock",
    "/var/run": "/run",
}

LINKED = frozenset(_LINKS.values())
"""The directories that those links lead to."""


def within(path: str, tree: str) -> bool:
    """Return whether `path` is `tree` or lies below it."""
    return tree in ("/", path) or path.startswith(f"{tree}/")


def canonical(path: str) -> str:
    """Return `path` with the links resolved that every OSTree system has."""
    for link, target in _LINKS.items():
        if within(path, link):
            return target + path.removeprefix(link)
    return path
