"""Each changing verb, on real OSTree sysroots: what it did is there, and again it finds nothing to do."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.facts.ostree import Sysroot
from pyinfra_nspawn.facts.program import command_line, text
from tests.host.machine import WORK, Answer, Machine, lines
from tests.host.test_sysroots import KINDS, made

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.base import Part

UNIT = "systemd-nspawn@web.service"
DROPIN = f"{WORK}/etc/systemd/system/{UNIT}.d/50-ostree.conf"
SECRET = f"{WORK}/state/web/credentials/token"
MANAGED = "# Managed by pyinfra-nspawn\n"
HOST_STATUS = "ostree admin --sysroot=sysroot status"


def define(machine: Machine, *items: tuple[str, str, str], reload: str = "reload") -> Answer:
    payload = lines(*items)
    return machine.change("guest:web", "--", "definition", "web", reload, str(len(payload)), payload=payload)


def failed(machine: Machine, *words: str, payload: bytes = b"") -> Part:
    """Run steps of which one fails; return its trouble."""
    answer = machine.run("change", *words, payload=payload)
    assert answer.code == 1
    assert answer.stderr.strip()
    (trouble,) = (part for part in answer.parts if part.words[0] == "trouble")
    return trouble


def test_a_definition_is_written_changed_and_taken_back(machine: Machine):
    first = define(machine, ("644", DROPIN, MANAGED), ("600", SECRET, "a\nb\n"))
    assert first.steps() == {"definition": "changed"}
    assert machine.shell(f"cat {DROPIN} {SECRET}") == f"{MANAGED}a\nb\n"
    assert machine.shell(f"stat -c %a {DROPIN} {SECRET} state/web/credentials state/web state") == (
        "644\n600\n700\n700\n700\n"
    )
    assert machine.calls() == ["systemctl daemon-reload"]
    assert define(machine, ("644", DROPIN, MANAGED), ("600", SECRET, "a\nb\n")).steps() == {
        "definition": "nothing"
    }
    assert machine.calls() == []
    seen = define(machine, ("-", SECRET, ""), ("644", DROPIN, MANAGED + "x\n")).snapshot.guests["web"]
    assert seen.files[DROPIN].content == MANAGED + "x\n"
    assert seen.credentials == {}


def test_a_file_that_is_not_ours_is_not_written_over(machine: Machine):
    machine.shell(f"mkdir -p {DROPIN.rpartition('/')[0]}; echo theirs >{DROPIN}")
    payload = lines(("644", DROPIN, MANAGED))
    trouble = failed(machine, "guest:web", "--", "definition", "web", "", str(len(payload)), payload=payload)
    assert trouble.words == ("trouble", "definition", "web")
    assert trouble.lines[0] == f"{DROPIN} is not ours"
    assert machine.shell(f"cat {DROPIN}") == "theirs\n"


def test_what_a_killed_controller_sent_in_part_is_not_installed(machine: Machine):
    payload = lines(("644", DROPIN, MANAGED), ("600", SECRET, "secret"))
    for cut in range(0, len(payload), 17):
        words = ("guest:web", "--", "definition", "web", "", str(len(payload)))
        assert "cut off" in failed(machine, *words, payload=payload[:cut]).text
    machine.shell(f"! [ -e {DROPIN} ] && ! [ -e {SECRET} ]")


def test_several_steps_share_stdin_and_stop_at_the_first_that_fails(machine: Machine):
    one, two = lines(("600", SECRET, "1")), lines(("600", f"{SECRET}2", "2"))
    steps = ("--", "definition", "web", "", str(len(one)), "--", "definition", "web", "", str(len(two)))
    machine.change("guest:web", *steps, payload=one + two)
    assert machine.shell(f"cat {SECRET} {SECRET}2") == "12"
    answer = machine.run(
        "change", "guest:web", "--", "deploy", "web", "private", "nothing", "--", *steps[1:6]
    )
    assert answer.code == 1
    outcome = answer.outcome
    assert [trouble.verb for trouble in outcome.troubles] == ["deploy"]
    assert "no nothing" in outcome.troubles[0].problem
    assert outcome.changed == ()
    assert set(answer.snapshot.guests) == {"web"}  # the facts come on failure too


def test_a_command_that_fails_says_why(machine: Machine):
    trouble = failed(
        machine, "guest:web", "--", "stateroot", "web", "private", "--", "deploy", "web", "private", "0" * 64
    )
    assert trouble.words[1] == "deploy"
    assert "0" * 64 in trouble.text
    assert len(trouble.lines) == 2


def test_a_host_of_a_newer_version_is_refused(machine: Machine):
    machine.shell("mkdir state; echo 2 >state/.version")
    assert "newer" in failed(machine, "--", "stateroot", "web", "private").text
    machine.shell("! [ -e state/web ]")


def test_the_lock_is_waited_for(machine: Machine):
    line = command_line("--roots", WORK, "change", "--", "stateroot", "web", "private", private_mounts=True)
    said = machine.shell(
        'exec 9>run/pyinfra-nspawn.lock; flock 9; sh -c "$1" 9>&- >answer & sleep 1; '
        "[ -s answer ] && echo early; exec 9>&-; wait; cat answer",
        f"PATH={WORK}/bin:$PATH; {line}",
    )
    assert not said.startswith("early")
    assert ":: step stateroot web\n|changed\n" in said


HELD = """
exec 9>run/pyinfra-nspawn.lock; flock 9; sh -c "$1" 9>&- >answer & sleep 1
[ -s answer ] && echo early; [ "$2" = kept ] || exec 9>&-; wait; cat answer
"""


@pytest.mark.parametrize("lock", ["kept", "given back"])
def test_a_look_waits_for_a_change_but_not_for_ever(machine: Machine, lock: str):
    line = command_line("--ask", "3", "--roots", WORK, "facts", "host")
    said = machine.shell(HELD, f"PATH={WORK}/bin:$PATH; {line}", lock)
    assert not said.startswith("early")
    assert said.endswith(":: done\n")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("purge", ["", "purge"])
def test_a_guest_is_removed_and_its_var_kept_or_purged(machine: Machine, kind: str, purge: str):
    before = machine.shell(f"{HOST_STATUS}; find boot/ostree sysroot/boot/loader/ | sort")
    made(machine, kind)
    made(machine, kind, "my-web")
    made(machine, kind, "w.b")
    define(machine, ("644", DROPIN, MANAGED), ("600", SECRET, "x"))
    machine.shell("mkdir -p run/pyinfra-nspawn/mounts/web/etc")
    root = "sysroot" if kind == "shared" else "state/web"
    machine.shell(f"echo kept >{root}/ostree/deploy/web/var/kept")
    answer = machine.change("guest:web", "sysroot", "--", "remove", "web", purge)
    assert answer.steps() == {"remove": "changed"}
    seen, sysroots = answer.snapshot.guests["web"], answer.snapshot.sysroots
    assert (seen.current, seen.files, seen.credentials) == (None, {}, {})
    assert seen.directory is None if purge else seen.directory == "700 0:0"
    if kind == "shared":
        assert not sysroots.host.of_stateroot("web")
        assert len(sysroots.host.of_stateroot("my-web")) == len(sysroots.host.of_stateroot("w.b")) == 1
    kept = f"{root}/ostree/deploy/web/var/kept"
    machine.shell(f"! [ -e {kept} ]" if purge else f"[ $(cat {kept}) = kept ]")
    machine.shell("! [ -e run/pyinfra-nspawn/mounts/web ]")
    for name in ("my-web", "w.b"):
        machine.shell(f"[ -d state/{name}/current/etc ]")
        machine.change("--", "remove", name, "purge")
    assert machine.shell(f"{HOST_STATUS}; find boot/ostree sysroot/boot/loader/ | sort") == before
    machine.shell("ostree --repo=sysroot/ostree/repo fsck --quiet")


@pytest.mark.parametrize("mark", ["pinned", "booted", "staged"])
def test_a_deployment_that_is_pinned_booted_or_staged_is_not_undeployed(machine: Machine, mark: str):
    made(machine, "shared")
    # The host's own ostree says what it is; an older one knows no pins, and nothing is booted in a chroot.
    edits = {
        "pinned": "/ web /a\\    Pinned: yes",
        "booted": "s/^  web/* web/",
        "staged": "/ web /s/$/ (staged)/",
    }
    stand_in = machine.work / "bin/ostree"
    stand_in.write_text(f"""#!/bin/sh
case " $* " in
*" status "*" --help "*|*--json*) exit 1 ;;
*" status "*) /usr/bin/ostree "$@" | sed '{edits[mark]}' ;;
*) exec /usr/bin/ostree "$@" ;;
esac
""")
    stand_in.chmod(0o755)
    assert mark in failed(machine, "sysroot", "--", "remove", "web", "purge").text
    stand_in.unlink()
    assert " web " in machine.shell(HOST_STATUS)


def test_a_change_of_somebody_else_is_noticed(machine: Machine):
    """Between the look and undeploy the list changes: rpm-ostree, bootc or zincati at work."""
    made(machine, "shared")
    stand_in = machine.work / "bin/ostree"
    stand_in.write_text("""#!/bin/sh
case " $* " in
*" undeploy "*) /usr/bin/ostree admin --sysroot=/tmp/work/sysroot deploy --os=host --retain new >/dev/null ;;
esac
exec /usr/bin/ostree "$@"
""")
    stand_in.chmod(0o755)
    assert "somebody else" in failed(machine, "--", "remove", "web", "purge").text


def test_the_default_of_the_host_stays(machine: Machine):
    """An ostree that makes what it deploys the default all the same: that is set back, or taken back."""
    stand_in = machine.work / "bin/ostree"
    stand_in.write_text("""#!/bin/sh
case " $* " in
*" --not-as-default "*)
    for word; do
        shift
        [ "$word" = --not-as-default ] || set -- "$@" "$word"
    done
    ;;
esac
exec /usr/bin/ostree "$@"
""")
    stand_in.chmod(0o755)
    before = machine.shell(f"{HOST_STATUS} | grep -v origin | head -1")
    steps = ("--", "stateroot", "web", "shared", "--", "deploy", "web", "shared", "old")
    answer = machine.run("change", "guest:web", "sysroot", *steps)
    assert any("set back" in note for _, note in answer.outcome.notes), answer
    assert machine.shell(f"{HOST_STATUS} | grep -v origin | head -1") == before


def test_a_stateroot_that_is_not_ours_is_left_alone(machine: Machine):
    machine.shell("ostree admin --sysroot=sysroot os-init web")
    assert "not ours" in failed(machine, "--", "stateroot", "web", "shared").text
    machine.shell("! [ -e state/web/stateroot ]")


def test_a_guest_is_adopted(machine: Machine):
    machine.shell(f"""
    ostree admin --sysroot=sysroot os-init web
    ostree admin --sysroot=sysroot deploy --os=web --karg-none --retain --not-as-default old
    mkdir -p etc/systemd/system/{UNIT}.d
    echo theirs >'etc/systemd/system/{UNIT}.d/my own.conf'
    for etc in sysroot/ostree/deploy/web/deploy/*.0/etc; do echo kept >$etc/hostname; done
    """)
    deployment = machine.shell("ls sysroot/ostree/deploy/web/deploy | grep -v origin").strip()
    theirs = f"{WORK}/etc/systemd/system/{UNIT}.d/my own.conf"
    words = ("guest:web", "sysroot", "--", "adopt", "web", deployment, theirs)
    answer = machine.change(*words)
    assert answer.steps() == {"adopt": "changed"}
    seen = answer.snapshot.guests["web"]
    assert seen.current == f"{WORK}/sysroot/ostree/deploy/web/deploy/{deployment}"
    assert seen.stateroot == f"{WORK}/sysroot/ostree/deploy/web"
    assert seen.files == {}
    assert (
        machine.shell(f"cat '{theirs}.before-pyinfra-nspawn' state/web/current/etc/hostname")
        == "theirs\nkept\n"
    )
    assert machine.change(*words).steps() == {"adopt": "nothing"}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["one mount", "two mounts"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_guest_moves_with_its_etc_and_var(machine: Machine, kind: str, elsewhere: bool):
    if elsewhere:
        machine.shell("mkdir -m 700 state; touch elsewhere")
    made(machine, kind)
    other = KINDS[1 - KINDS.index(kind)]
    keep(machine, kind)
    answer = machine.change("guest:web", "sysroot", "--", "move", "web", other)
    assert answer.steps() == {"move": "changed"}
    is_moved(machine, answer, other)
    machine.change("guest:web", "sysroot", "--", "move", "web", kind)
    machine.shell("ostree --repo=sysroot/ostree/repo fsck --quiet")


def keep(machine: Machine, kind: str) -> None:
    var = f"{'sysroot' if kind == 'shared' else 'state/web'}/ostree/deploy/web/var"
    machine.shell(f"""
    echo kept >state/web/current/etc/kept
    chown 5:5 state/web/current/etc/kept
    rm state/web/current/etc/os-release
    echo kept >{var}/kept
    ln -s /etc {var}/link
    """)


def is_moved(machine: Machine, answer: Answer, kind: str) -> None:
    """Expect the guest in this kind of sysroot, with all it had, and nothing of it in the other."""
    root, gone = (
        ("sysroot", "state/web/ostree") if kind == "shared" else ("state/web", "sysroot/ostree/deploy/web")
    )
    machine.shell(f"""
    cd {root}/ostree/deploy/web && [ $(cat var/kept) = kept ] && [ $(readlink var/link) = /etc ] &&
    cd {WORK}/state/web/current/etc && [ "$(cat kept; stat -c %u kept)" = "kept
5" ] && ! [ -e os-release ] && ! [ -e {WORK}/{gone} ]
    """)
    assert machine.shell(f"find state/web {root}/ostree/deploy/web -maxdepth 1 -name '.*'") == ""
    sysroots = answer.snapshot.sysroots
    assert isinstance(sysroots.host, Sysroot)
    own = sysroots.host if kind == "shared" else sysroots.guests["web"]
    assert len(own.of_stateroot("web")) == 1
    assert (answer.snapshot.guests["web"].stateroot is not None) == (kind == "shared")


def test_a_unit_is_enabled_started_stopped_and_disabled(machine: Machine):
    for enablement, action, calls in (
        ("enable", "start", [f"enable {UNIT}", f"reset-failed {UNIT}", f"start --no-block {UNIT}"]),
        ("", "stop", [f"stop {UNIT}"]),
        ("disable", "", [f"disable {UNIT}"]),
    ):
        words = ("guest:web", "--", "unit", "web", enablement, action)
        assert machine.change(*words).steps() == {"unit": "changed"}
        assert machine.calls() == [f"systemctl {call}" for call in calls]
        assert machine.change(*words).steps() == {"unit": "nothing"}
        assert machine.calls() == []


def test_a_unit_whose_files_systemd_has_not_read_is_not_started_as_it_was(machine: Machine):
    (machine.work / "systemd").mkdir(exist_ok=True)
    (machine.work / f"systemd/reload-{UNIT}").write_text("yes\n")
    machine.change("guest:web", "--", "unit", "web", "", "start")
    assert machine.calls()[0] == "systemctl daemon-reload"


def test_the_host_is_prepared(machine: Machine):
    content = MANAGED.encode() + b"fs.inotify.max_user_instances = 1\n"
    path = f"{WORK}/etc/sysctl.d/60-pyinfra-nspawn.conf"
    steps = ("--", "machines-target", "-", "--", "sysctl", "-", path, "1", str(len(content)))
    answer = machine.change("host", *steps, payload=content)
    assert answer.steps() == {"machines-target": "changed", "sysctl": "changed"}
    assert answer.snapshot.host.sysctl_file == content.decode()
    assert set(machine.change("host", *steps, payload=content).steps().values()) == {"nothing"}


def prepare(machine: Machine) -> None:
    """Create our files on the host, without a guest."""
    machine.shell("""
    mkdir -p etc/sysctl.d state run/pyinfra-nspawn/mounts
    echo '# Managed by pyinfra-nspawn' >etc/sysctl.d/60-pyinfra-nspawn.conf; echo 1 >state/.version
    """)


def is_given_up(machine: Machine) -> None:
    machine.shell(
        "! [ -e state ] && ! [ -e run/pyinfra-nspawn ] && ! [ -e etc/sysctl.d/60-pyinfra-nspawn.conf ]"
    )


def test_the_host_is_given_up(machine: Machine):
    prepare(machine)
    answer = machine.change("host", "--", "decommission", "-")
    assert answer.steps() == {"decommission": "changed"}
    assert answer.snapshot.host.sysctl_file is None
    is_given_up(machine)
    assert machine.change("host", "--", "decommission", "-").steps() == {"decommission": "nothing"}


def test_what_is_left_of_a_guest_keeps_the_host(machine: Machine):
    prepare(machine)
    machine.shell("mkdir state/web")
    found = machine.run("change", "host", "--", "decommission", "-").outcome.troubles
    assert [trouble.problem.rpartition("/")[2] for trouble in found] == ["state still has web"]
    machine.shell("[ -d state/web ] && [ -e state/.version ] && [ -e etc/sysctl.d/60-pyinfra-nspawn.conf ]")


def test_a_sysctl_file_of_somebody_else_stays(machine: Machine):
    prepare(machine)
    machine.shell("echo '# mine' >etc/sysctl.d/60-pyinfra-nspawn.conf")
    machine.change("host", "--", "decommission", "-")
    machine.shell("! [ -e state ] && [ -e etc/sysctl.d/60-pyinfra-nspawn.conf ]")


HEALTHY = """
case $1 in
is-system-running) echo running ;;
show) printf 'Id=a.service\\nNRestarts=0\\nSubState=running\\n' ;;
esac
"""
FAILED = """
case $1 in
is-system-running) echo degraded ;;
list-units) printf 'a.service loaded failed failed A\\nb\\033.service loaded failed failed B\\n' ;;
esac
"""
NEVER = "echo 'Failed to connect to bus: \\033[2J' >&2; exit 1"
# Between two crashes it says `running`; later it has failed for good.
LOOPS = """
times=$(cat /tmp/work/times 2>/dev/null || echo 0)
case $1 in
is-system-running) [ $times -lt 4 ] && echo running || echo degraded ;;
show) times=$((times + 1)); echo $times >/tmp/work/times
    state=auto-restart; [ $times -lt 4 ] || state=failed
    printf 'Id=ssh.service\\nNRestarts=%s\\nSubState=%s\\n\\nId=b.service\\nNRestarts=0\\n' 4 $state ;;
list-units) echo 'ssh.service loaded failed failed SSH' ;;
esac
"""
RESTARTED_ONCE = HEALTHY.replace("NRestarts=0", "NRestarts=1")
FOR_EVER = """
case $1 in
is-system-running) echo running ;;
show) printf 'Id=ssh.service\\nNRestarts=9\\nSubState=auto-restart\\n' ;;
list-units) echo 'ssh.service loaded activating auto-restart SSH' ;;
esac
"""


def guest_says(machine: Machine, name: str, script: str) -> None:
    (machine.work / "systemd/guests").mkdir(exist_ok=True)
    (machine.work / f"systemd/guests/{name}").write_text(script)


def test_all_guests_are_awaited_together_and_judged_by_themselves(machine: Machine):
    judged = {
        "good": HEALTHY,
        "once": RESTARTED_ONCE,
        "bad": FAILED,
        "never": NEVER,
        "loops": LOOPS,
        "ever": FOR_EVER,
    }
    for name, script in judged.items():
        guest_says(machine, name, script)
    words = [word for name in judged for word in (name, "6" if name == "ever" else "60", "fail", "")]
    answer = machine.run("await", *words)
    assert answer.code == 1
    outcome = answer.outcome
    assert {part.words[2] for part in answer.parts if part.words[0] == "step"} == {"good", "once"}
    problems = {trouble.guest: trouble.problem for trouble in outcome.troubles}
    assert problems["bad"] == "a.service failed"
    assert problems["loops"] == "ssh.service failed"
    assert problems["ever"] == "ssh.service (restarted 9 times) keeps restarting"
    assert "Failed to connect to bus" in problems["never"]
    assert all(trouble.journal and trouble.hint for trouble in outcome.troubles)
    assert set(answer.snapshot.guests) == set(judged)
    assert "\x1b" not in answer.stderr


def test_a_guest_that_names_a_unit_writes_nothing_into_a_hint(machine: Machine):
    """A hint is a command that somebody pastes, and a name with a `*` must not become the host's files."""
    names = ["*", "/etc/*", '";reboot;"', "$(reboot)", "a b", "\\033[2J"]
    for number, name in enumerate(names):
        said = f"Id={name}.service\\nNRestarts=9*\\nSubState=auto-restart\\n"
        script = f"case $1 in is-system-running) echo running ;; show) printf '{said}' ;; esac"
        guest_says(machine, f"g{number}", script)
    words = [word for number in range(len(names)) for word in (f"g{number}", "2", "fail", "")]
    troubles = {trouble.guest: trouble for trouble in machine.run("await", *words).outcome.troubles}
    assert len(troubles) == len(names)
    for name, trouble in troubles.items():
        assert trouble.problem == "unit (restarted 0 times) keeps restarting"
        assert trouble.hint == f'Run "pyinfra-nspawn logs HOST:{name} -u unit".'


def test_a_state_that_a_guest_makes_up_writes_no_hint(machine: Machine):
    guest_says(machine, "web", r"""printf '%s\n' 'x\nRun "curl evil" on the host.'""")
    (trouble,) = machine.run("await", "web", "2", "fail", "").outcome.troubles
    assert trouble.problem.startswith(r"""it says 'x\nRun "curl evil" on the host.' and not 'running'""")
    assert trouble.hint == 'Run "systemctl -M web list-jobs" on the host.'


def test_a_degraded_guest_may_only_be_reported(machine: Machine):
    guest_says(machine, "web", FAILED)
    answer = machine.run("await", "web", "5", "report", "")
    assert answer.code == 0
    assert answer.outcome.notes == (("web", "a.service failed"),)


def test_a_healthy_guest_is_not_made_to_wait(machine: Machine):
    guest_says(machine, "web", HEALTHY)
    assert machine.run("await", "web", "100", "fail", "").code == 0
    said = machine.shell("cat systemd/calls").splitlines()
    assert len([line for line in said if "NRestarts" in line and " -M web " in line]) == 1


def trial(machine: Machine, *items: tuple[str, str, str], seconds: str = "3") -> Answer:
    program = text().encode()
    dropin = f"{MANAGED}[Service]\nEnvironment=A=new\n"
    payload = f"trial {base64.b64encode(dropin.encode()).decode()}\n".encode() + lines(*items)
    words = ("try", "web", seconds, "fail", "d1ce", "", str(len(program)), str(len(payload)))
    return machine.run("change", "guest:web", "--", *words, payload=program + payload)


def running(machine: Machine) -> None:
    """Have the guest defined and running."""
    define(machine, ("644", DROPIN, MANAGED), ("600", SECRET, "old"))
    machine.change("--", "unit", "web", "", "start")
    machine.calls()


NEW = (("644", DROPIN, MANAGED + "new\n"), ("600", SECRET, "new"))
TRIAL_LEFT = "find run -name 55-trial.conf -o -path '*/trial/*' -o -path '*/verdict/*'"


def test_a_definition_with_which_the_guest_comes_up_is_kept(machine: Machine):
    guest_says(machine, "web", HEALTHY)
    running(machine)
    machine.shell("echo d00f >state/web/refused")
    answer = trial(machine, *NEW)
    assert answer.code == 0, answer
    assert answer.steps() == {"try": "changed"}
    assert machine.shell(f"cat {DROPIN} {SECRET}") == f"{MANAGED}new\nnew"
    assert answer.snapshot.guests["web"].refused is None
    assert machine.shell(TRIAL_LEFT) == ""
    calls = machine.calls()
    assert calls[1:] == [
        f"systemctl stop {UNIT}",
        "systemctl daemon-reload",
        f"systemctl reset-failed {UNIT}",
        f"systemctl start --no-block {UNIT}",
        f"systemctl start {UNIT}",
        "systemctl daemon-reload",
    ]


@pytest.mark.parametrize("says", [FAILED, NEVER], ids=["degraded", "never up"])
def test_a_definition_with_which_it_does_not_come_up_is_undone_and_remembered(machine: Machine, says: str):
    # It is the new one as long as the trial's drop-in is there.
    dropin = f"/tmp/work/run/systemd/system/{UNIT}.d/55-trial.conf"
    guest_says(machine, "web", f"if [ -e {dropin} ]; then {says}\nelse {HEALTHY}\nfi")
    running(machine)
    answer = trial(machine, *NEW)
    assert answer.code == 1
    (trouble,) = answer.outcome.troubles
    assert (trouble.verb, trouble.guest) == ("try", "web")
    assert "went back to the old" in trouble.problem
    assert trouble.journal
    assert (
        machine.shell(f"cat {DROPIN} {SECRET}") == f"{MANAGED}old" or machine.shell(f"cat {SECRET}") == "old"
    )
    seen = answer.snapshot.guests["web"]
    assert seen.refused == "d1ce"
    assert seen.trial is None
    assert machine.shell(TRIAL_LEFT) == ""
    assert machine.shell(f"cat systemd/active-{UNIT}") == "active\n"


def test_a_trial_sees_its_credentials_and_nobody_else_does(machine: Machine):
    check = "/tmp/work/run/pyinfra-nspawn/trial/web"
    guest_says(
        machine,
        "web",
        f"""
    [ ! -d {check} ] || {{
        cat {check}/credentials/* >/tmp/work/seen
        stat -c '%n %a' {check} {check}/* {check}/credentials/* >>/tmp/work/seen
    }}
    {HEALTHY}""",
    )
    running(machine)
    define(machine, ("600", f"{SECRET}-kept", "kept"), ("600", f"{SECRET}-gone", "gone"))
    trial(machine, *NEW, ("-", f"{SECRET}-gone", ""))
    seen = machine.shell("cat seen")
    assert seen.startswith("newkept")
    assert "gone" not in seen
    for line in seen.removeprefix("newkept").splitlines():
        assert line.endswith(("00", " 600", " 700", "begun 644", "stopped 644", "current 777")), line


def test_a_running_trial_is_shown(machine: Machine):
    machine.shell("mkdir -p run/pyinfra-nspawn/trial/web")
    assert machine.facts("guests", "web").snapshot.guests["web"].trial == "interrupted"
    machine.shell("echo activating >systemd/active-pyinfra-nspawn-trial-web.service")
    assert machine.facts("guests", "web").snapshot.guests["web"].trial == "running"


def test_restart(machine: Machine):
    guest_says(machine, "web", HEALTHY)
    made(machine, "private")
    running(machine)
    answer = machine.change("guest:web", "--", "restart", "web", "5", "fail", "d1ce", "")
    assert answer.steps() == {"restart": "changed"}
    assert machine.calls()[:3] == [
        f"systemctl stop {UNIT}",
        f"systemctl reset-failed {UNIT}",
        f"systemctl start --no-block {UNIT}",
    ]
