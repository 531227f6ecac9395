"""A controller that is killed after any of its remote commands: the next run makes all whole."""

from __future__ import annotations

import itertools
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench import UNDO
from tests.lab.conftest import BOTH, DEPLOYS, Outcome, deploy, pyinfra, succeed
from tests.lab.side_by_side import on_each
from tests.lab.stand_in import stand_ins

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

INVENTORY = "inventories/lab.py"
WEB = {"name": "web"}
CHANGED = {"name": "web", "hostname": "changed", "credentials": {"token": "changed"}}
# The text of every command of ours, at work or waiting for the lock, names the lock.
NO_ORPHAN = "! pgrep -f '[p]yinfra-nspawn.lock'"
SHARED = {"name": "web", "sysroot": "shared", "isolation": "none"}
PURGED = {"name": "web", "state": "absent", "purge": True}
LEFT = """
find /var/lib/pyinfra-nspawn -maxdepth 2 -name '.*' ! -name .version
find /etc/systemd /etc/sysctl.d -name '.*'
for sysroot in /var/lib/pyinfra-nspawn/web /sysroot; do
    find $sysroot/ostree/deploy/web/deploy -mindepth 1 -maxdepth 1 -type d 2>/dev/null
done | tail -n +2
cut -d' ' -f5 /proc/self/mountinfo | grep pyinfra-nspawn || :
"""


def killed_run(host: str, guest: dict[str, Any], count: int) -> bool:
    """Run both deploys until so many commands were sent; tell whether it came so far."""
    outcome = pyinfra("--limit", host, "-y", *DEPLOYS, inventory=INVENTORY, kill_after=count, guests=[guest])
    assert outcome.code in (0, -signal.SIGKILL), outcome.stderr
    return outcome.code != 0


def run(host: str, guest: dict[str, Any]) -> Outcome:
    return pyinfra("--limit", host, "-y", *DEPLOYS, inventory=INVENTORY, guests=[guest])


def is_whole(host: Host, guest: dict[str, Any]) -> None:
    """Expect the guest to run as it is wanted, on the one deployment of its commit, and nothing left over."""
    assert host.succeed("systemctl -M web is-system-running") == "running\n"
    inside = "systemd-run -M web --pipe --wait --quiet --collect hostname"
    assert host.succeed(inside) == f"{guest.get('hostname', 'web')}\n"
    own = "" if guest.get("sysroot") == "shared" else "--sysroot=/var/lib/pyinfra-nspawn/web"
    status = host.succeed(f"ostree admin {own} status")
    assert len([line for line in status.splitlines() if " web " in line]) == 1, status
    assert host.succeed(LEFT) == ""
    assert host.succeed("systemctl show systemd-nspawn@web -p NeedDaemonReload --value") == "no\n"


def undo(host: Host) -> None:
    """Take the guest away, and what was done to the host for it."""
    host.run(UNDO)


def trials(hosts: dict[str, Host], before: Callable[[Host], None], guest: dict[str, Any]) -> int:
    """Kill a run after each of its commands in turn, on each host; return how many commands there were.

    lab1 is run upon again at once, while the last command is still at work, and lab2 when it has ended.
    """

    def kill_each(host: Host) -> int:
        for count in itertools.count(1):
            before(host)
            if not killed_run(host.name, guest, count):
                return count - 1
            if host.name == "lab2":
                host.wait_until_succeeds(NO_ORPHAN)
            outcome = run(host.name, guest)
            assert outcome.code == 0, f"{host.name}, killed after command {count}: {outcome.stderr}"
            is_whole(host, guest)
        raise AssertionError

    return min(on_each(hosts.values(), kill_each).values())


def test_a_first_run_killed_after_any_command_is_made_whole(fresh: dict[str, Host]):
    assert trials(fresh, undo, WEB) >= 4


def test_a_first_run_beside_the_host_killed_after_any_command_is_made_whole(fresh: dict[str, Host]):
    def before(host: Host) -> None:
        assert run(host.name, PURGED).code == 0

    assert trials(fresh, before, SHARED) >= 3
    on_each(fresh.values(), before)


def test_a_change_killed_after_any_command_is_made_whole(fresh: dict[str, Host]):
    def before(host: Host) -> None:
        assert run(host.name, WEB).code == 0

    assert trials(fresh, before, CHANGED) >= 3


# It lets the tool begin, and then ends it and the script that called it.
CUT_OFF = """
case " $* " in
*" VERB "*) timeout --signal=KILL SECONDS $real "$@"; kill -KILL $PPID ;;
*) exec $real "$@" ;;
esac
"""


@pytest.mark.parametrize(
    ("tool", "verb", "seconds"),
    [
        *(("ostree", "deploy", seconds) for seconds in ("0.01", "0.04", "9")),
        *(("systemctl", "start", seconds) for seconds in ("0.01", "0.2")),
    ],
)
def test_a_host_on_which_deploy_or_start_is_killed_is_made_whole(
    fresh: dict[str, Host], tool: str, verb: str, seconds: str
):
    on_each(fresh.values(), undo)
    with stand_ins(fresh.values(), tool, CUT_OFF.replace("VERB", verb).replace("SECONDS", seconds)):
        outcome = deploy("-y", guests=[WEB])
    assert outcome.code == 1
    for name in BOTH:
        assert any(re.match("web: .*(cut off|did not start)", line) for line in outcome.lines(name)), (
            outcome.stderr
        )
    succeed(guests=[WEB])
    for host in fresh.values():
        is_whole(host, WEB)


def test_two_controllers_at_once_are_as_good_as_one(fresh: dict[str, Host]):
    on_each(fresh.values(), undo)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(run, name, WEB) for name in (*BOTH, *BOTH)]
    for outcome in [pending.result() for pending in runs]:
        assert outcome.code == 0, outcome.stderr
    for host in fresh.values():
        is_whole(host, WEB)
    assert succeed(guests=[WEB]).json["results"]["totals"]["success"] == 0
