"""Guests of another release than their host's: an ordinary source."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import pyinfra
from tests.lab.generations import BOOKWORM, SID, TRIXIE
from tests.lab.guest import inside
from tests.lab.image import build, image
from tests.lab.served import serve
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from tests.lab import Host
    from tests.lab.generations import Generation

#: By host (trixie; sid): an older one in a sysroot of its own, and a newer and an older one in the host's.
RELEASES: dict[str, dict[str, tuple[Generation, str]]] = {
    "lab1": {"older": (BOOKWORM, "private"), "newer": (SID, "shared")},
    "lab2": {"older": (TRIXIE, "shared")},
}
#: There its package makes the host keys of ssh, and the tree has none.
MORE = {"bookworm": {"mask_units": ["ssh.service"]}}
DEPLOYS = ("deploys/host.py", "deploys/guest.py")


def wanted(name: str) -> list[dict[str, Any]]:
    return [
        {
            "name": guest,
            "source": f"{release.name}:{release.ref}",
            "sysroot": kind,
            **MORE.get(release.name, {}),
        }
        for guest, (release, kind) in RELEASES[name].items()
    ]


@pytest.mark.timeout(1200)  # the image of bookworm is built first
def test_a_guest_of_another_release_boots_and_the_second_run_does_nothing(fresh: dict[str, Host]):
    build(BOOKWORM)

    def deploy(host: Host) -> None:
        with ExitStack() as serving:
            remotes = []
            for release, _ in RELEASES[host.name].values():
                web = serving.enter_context(serve(host, image(release).remote))
                remotes.append({"name": release.name, "url": web.url, "unverified": True})
            words = ("--limit", host.name, "-y", "--json", *DEPLOYS)
            data = {"nspawn_host": {"remotes": remotes}, "guests": wanted(host.name)}
            first = pyinfra(*words, **data)
            assert first.code == 0, first.stderr
            second = pyinfra(*words, **data)
            assert second.code == 0, second.stderr
            assert second.json["results"]["totals"]["success"] == 0, second.stderr
        for guest, (release, _) in RELEASES[host.name].items():
            assert host.succeed(f"systemctl -M {guest} is-system-running") == "running\n"
            assert inside(host, guest, "cat /usr/lib/lab-release") == f"{release.major}.1\n"
        assert host.succeed("ostree admin status").startswith("* host ")

    on_each(fresh.values(), deploy)
