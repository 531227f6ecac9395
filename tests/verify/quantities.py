"""Sizes and times in systemd's spelling (systemd.syntax(7), systemd.time(7))."""

from __future__ import annotations

import re

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TIMES = {"us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}


def size(text: str) -> int:
    """Return the bytes in a size like `512M`."""
    return int(text.rstrip("KMGT")) * _SIZES[text.lstrip("0123456789")]


def microseconds(text: str) -> int | None:
    """Return the microseconds in a time span like `1min 2.5s`; None for `infinity`."""
    if text == "infinity":
        return None
    parts = re.findall(r"([0-9.]+)([a-z]+)", text)
    return round(sum(float(number) * _TIMES[unit] for number, unit in parts))


def mebibytes_of_host(meminfo: str) -> int:
    """Return the memory that /proc/meminfo tells of, rounded up."""
    (kibibytes,) = re.findall(r"(?m)^MemTotal: +(\d+) kB$", meminfo)
    return -(-int(kibibytes) // 1024)
