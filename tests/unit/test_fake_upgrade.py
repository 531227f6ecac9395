"""A fleet is upgraded in waves: the next only when the one before is healthy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.answers import answer, part, value
from tests.unit.fleet import (
    _ANY,
    COMMIT,
    FIT,
    LOST,
    NEWER,
    Outcome,
    done,
    guest_parts,
    host,
    host_parts,
    run,
    running,
    sysroot_parts,
    wanted,
)

WEB = {"name": "web", "source": NEWER}
(GUEST,) = wanted([WEB])
TEN = [f"h{number}" for number in range(10)]
WAVES = {"upgrade_waves": [1, 3]}
BAD = part(
    "trouble upgrade web", f"with commit {NEWER[:12]}: x.service failed; it went back to the old\nLook."
)


def behind(*trouble: list[str], **data: object) -> dict[str, Any]:
    """Return a host whose guest is behind its source; its upgrade succeeds, or ends in this trouble."""
    looked = [*host_parts(FIT), *sysroot_parts("/", "fedora"), *sysroot_parts("web", "web")]
    look = answer(*looked, value(f"commit {NEWER}", "present"), *guest_parts([running(GUEST)]))
    commit = COMMIT if trouble else NEWER
    now = [*sysroot_parts("web", "web", commit=commit), *guest_parts([running(GUEST, commit=commit)])]
    done = [value(f"step {verb} web", "changed") for verb in ("pull", "upgrade")]
    changed = answer(*(trouble or done), *now)
    return {**host([WEB], (answer(*looked), look), {_ANY: changed}), **data}


def upgraded(outcome: Outcome) -> set[str]:
    rows = outcome.summary()
    return {name for name, guest in rows if guest == "web" and "done:" in rows[name, guest]["result"]}


def upgrade(tmp_path, fleet: dict[str, dict[str, Any]], *options: str, **more: str) -> Outcome:
    return run(tmp_path, fleet, "-y", *options, deploys=("deploys/upgrade.py",), **more)


def test_all_waves_where_all_is_well(tmp_path):
    outcome = upgrade(tmp_path, {name: behind(**WAVES) for name in TEN})
    assert outcome.code == 0, outcome.stderr
    assert upgraded(outcome) == set(TEN)
    heads = [line for line in outcome.stderr.splitlines() if "Starting operation: Upgrade" in line]
    assert [line.split("|")[1].strip() for line in heads] == ["Wave 1", "Wave 2", "Wave 3"]


def test_a_bad_commit_on_the_first_leaves_nine_untouched(tmp_path):
    fleet = {name: behind(*([BAD] if name == "h0" else []), **WAVES) for name in TEN}
    outcome = upgrade(tmp_path, fleet, "-vv")
    assert outcome.code == 1
    assert len([call for call in outcome.calls if " upgrade web " in call]) == 1
    rows = outcome.summary()
    assert "went back to the old" in rows["h0", "web"]["result"]
    for name in TEN[1:]:
        assert rows[name, "web"]["result"] == (
            "not tried: the upgrade of guest web on @fake/h0 failed before. Fix that, then run again."
        )


def test_the_last_wave_is_not_reached_where_the_second_fails(tmp_path):
    fleet = {name: behind(*([BAD] if name == "h2" else []), **WAVES) for name in TEN}
    outcome = upgrade(tmp_path, fleet)
    assert outcome.code == 1
    assert "h0" in upgraded(outcome)
    assert not upgraded(outcome) & set(TEN[4:])
    assert all("not tried" in outcome.summary()[name, "web"]["result"] for name in TEN[4:])


@pytest.mark.parametrize("gone", ["('gone', {'ssh_hostname': '127.0.0.1', 'ssh_port': 1})"])
def test_a_first_host_that_cannot_be_reached_ends_it(tmp_path, gone: str):
    data = {"upgrade_waves": ["gone", 1]}
    outcome = upgrade(tmp_path, {name: behind(**data) for name in TEN[:2]}, others=gone)
    assert outcome.code == 1
    assert upgraded(outcome) == set()
    assert outcome.summary()["h0", "web"]["result"].startswith("not tried: host gone was not upgraded before")


def test_a_host_that_is_lost_ends_it(tmp_path):
    lost = behind(**WAVES)
    lost["fake_responses"][_ANY] = LOST
    outcome = upgrade(tmp_path, {"h0": lost, "h1": behind(**WAVES)})
    assert outcome.code == 1
    assert upgraded(outcome) == set()


def test_waves_that_name_nothing_are_refused_in_one_line(tmp_path):
    outcome = upgrade(tmp_path, {"h0": behind(upgrade_waves=["nowhere"])})
    assert outcome.code == 1
    assert "upgrade_waves: there is no host or group nowhere" in outcome.output


def test_a_host_with_nothing_to_do_is_not_said_to_be_left_out(tmp_path):
    fleet = {"h0": behind(BAD, **WAVES), "h1": {**done({"name": "web"}), **WAVES}}
    outcome = upgrade(tmp_path, fleet)
    assert outcome.code == 1
    assert outcome.summary()["h1", "web"]["result"] == "nothing to do"


def test_hosts_agree_upon_the_waves(tmp_path):
    fleet = {"h0": behind(upgrade_waves=[1]), "h1": behind(upgrade_waves=[2])}
    outcome = upgrade(tmp_path, fleet)
    assert outcome.code == 1
    assert "upgrade_waves: hosts have different ones; write it once, for all of them" in outcome.output


def test_a_name_that_no_guest_has_is_refused(tmp_path):
    outcome = run(
        tmp_path, {"h0": behind()}, "-y", "--data", "rollback=wbe", deploys=("deploys/rollback.py",)
    )
    assert outcome.code == 1
    assert "rollback: no guest is called wbe. Correct the name." in outcome.output
