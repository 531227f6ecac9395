"""Secrets of an inventory are on no command line, in no output, and in no file that others can read."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from tests.lab.command_lines import command_lines
from tests.lab.conftest import ROOT, deploy
from tests.lab.side_by_side import on_each

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

OWN = "/var/lib/pyinfra-nspawn/web"
SECRET = "correct-horse-battery"
# What hides in a longer text is found by what its middle is in base64, wherever it begins.
FORMS = [SECRET, *(base64.b64encode(bytes(shift) + SECRET.encode())[4:-4].decode() for shift in range(3))]
PLACES = "/etc /var /run /tmp /dev/shm /root /home"


def guest(text: str) -> dict[str, object]:
    return {
        "name": "web",
        "credentials": {"token": f"{text}-{SECRET}"},
        "files": {
            "/etc/token": {"content": f"a line\n{text}: {SECRET}\n", "mode": "0600"},
            "/etc/other": f"{text} {SECRET}",
        },
    }


def told(text: str) -> list[str]:
    return [form for form in FORMS if form in text]


def inventory(folder: Path, text: str) -> str:
    """Write the lab's inventory with this guest: a secret comes from a file, not from an option."""
    path = folder / f"{text}.py"
    lab = (ROOT / "inventories/lab.py").read_text()
    path.write_text(f"{lab}\nlab = [(name, {{**data, 'guests': [{guest(text)}]}}) for name, data in lab]\n")
    return str(path)


RUNS = [("--dry", "--diff"), ("--dry", "--json"), ("-y", "-vvv", "--diff"), ("-y", "--json")]


def test_a_secret_is_told_to_nobody(fresh: dict[str, Host], tmp_path: Path):
    with command_lines() as seen:
        outcomes = [
            deploy(*options, inventory=inventory(tmp_path, text))
            for text in ("first", "changed")
            for options in RUNS
        ]
    for outcome in outcomes:
        assert outcome.code == 0, outcome.stderr
        assert not told(outcome.stdout + outcome.stderr)
    calls = [line for line in seen if "main --by " in line and " change guest:web " in line]
    assert [line for line in calls if "definition web" in line]
    assert not [line for line in seen if told(line)]
    for host in fresh.values():
        inside = (
            "systemd-run -M web --pipe --wait --quiet --collect cat /etc/other /run/host/credentials/token"
        )
        assert host.succeed(inside) == f"changed {SECRET}changed-{SECRET}"


def test_no_file_with_a_secret_is_readable_by_others(fresh: dict[str, Host]):
    """What root finds proves that the search would."""
    search = f"grep -rlsF {' '.join(f'-e {form}' for form in FORMS)} {PLACES}"

    def look(host: Host) -> None:
        found = host.run(search).stdout.split()
        assert f"{OWN}/credentials/token" in found
        assert f"{OWN}/credentials/tmpfiles.extra" in found
        nobody = host.run(f"setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '{search}'")
        assert nobody.stdout == ""
        assert not told(host.succeed("journalctl --output=cat"))

    on_each(fresh.values(), look)
