"""Ways of logging in: other login shells, `sudo -i`, and a terminal where sudo demands one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import deploy, pyinfra, succeed
from tests.lab.guest import inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

HOSTILE = """it's $HOME `id` "!!" \\ %i ;&|<>*?[a]{b} #"""
WEB = {
    "name": "web",
    "environment": {"NASTY": HOSTILE},
    "credentials": {"token": f"{HOSTILE}\nsecond line\n"},
}
SHARED = {**WEB, "sysroot": "shared", "isolation": "none"}


@pytest.fixture(params=["/usr/bin/fish", "/bin/tcsh", "/bin/dash"])
def shell(fresh: dict[str, Host], request: pytest.FixtureRequest) -> Iterator[str]:
    """The login shell of those who log in on both hosts."""
    for host in fresh.values():
        host.succeed(f"test -x {request.param}; usermod --shell {request.param} {host.spec.user}")
    yield request.param
    for host in fresh.values():
        host.succeed(f"usermod --shell /bin/bash {host.spec.user}")


def test_any_login_shell(fresh: dict[str, Host], shell: str):
    """Creation, a change, a move and a removal, with values that any shell would take for something else."""
    assert shell
    for guest in (WEB, SHARED):
        succeed(guests=[guest])
        assert succeed(guests=[guest]).json["results"]["totals"]["success"] == 0
        for host in fresh.values():
            shown = inside(host, "web", "tr '\\0' '\\n' </proc/1/environ | grep ^NASTY=")
            assert shown == f"NASTY={HOSTILE}\n"
            token = host.succeed("cat /var/lib/pyinfra-nspawn/web/credentials/token")
            assert token == WEB["credentials"]["token"]  # type: ignore[index]
    succeed(guests=[{"name": "web", "state": "absent", "purge": True}])
    for host in fresh.values():
        host.fail("test -e /var/lib/pyinfra-nspawn/web || test -e /sysroot/ostree/deploy/web")


def inventory(folder: Path, **data: object) -> str:
    """Write the lab's inventory, lab2 alone, with more data of the host."""
    path = folder / "login.py"
    path.write_text(
        "import runpy\n"
        "lab = [(name, {**data, **" + repr(data) + "}) for name, data in "
        'runpy.run_path("inventories/lab.py")["lab"] if name == "lab2"]\n'
    )
    return str(path)


def test_sudo_login(fresh: dict[str, Host], tmp_path: Path):
    """`sudo -i` hands the command to root's login shell, which expands `$` and drops newlines."""
    path = inventory(tmp_path, _use_sudo_login=True)
    succeed(guests=[WEB], inventory=path)
    assert succeed(guests=[WEB], inventory=path).json["results"]["totals"]["success"] == 0
    assert fresh["lab2"].succeed("systemctl -M web is-system-running") == "running\n"


def test_a_terminal_that_sudo_demands(fresh: dict[str, Host], tmp_path: Path):
    """What needs no payload works; what would send a secret through a terminal is refused with a hint."""
    host = fresh["lab2"]
    host.succeed("echo 'Defaults requiretty' >/etc/sudoers.d/tty; chmod 440 /etc/sudoers.d/tty")
    path = inventory(tmp_path, _get_pty=True)
    try:
        idle = succeed(guests=[WEB], inventory=path)
        assert idle.json["results"]["totals"]["success"] == 0
        facts = pyinfra("fact", "pyinfra_nspawn.facts.nspawn.Guests", inventory=path)
        assert facts.code == 0, facts.stderr
        secret = {**WEB, "credentials": {"token": "another"}}
        refused = deploy("-y", guests=[secret], inventory=path)
        assert refused.code == 1
        assert any("_get_pty" in line for line in refused.lines("lab2")), refused.stderr
        assert "another" not in refused.stdout + refused.stderr
        stopped = deploy("-y", guests=[{**WEB, "state": "stopped"}], inventory=path)
        assert stopped.code == 0, stopped.stderr
    finally:
        host.succeed("rm /etc/sudoers.d/tty")
    succeed(guests=[WEB])
