"""The files of a guest's definition: rendered, compared, refused."""

import base64
from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen, Machine
from pyinfra_nspawn.plans import Plan
from pyinfra_nspawn.plans.definition import definition
from pyinfra_nspawn.plans.files import nspawn_word, unit_value
from pyinfra_nspawn.plans.rendered import define
from tests.unit.seen import guest, running

NSPAWN = "/etc/systemd/nspawn/web.nspawn"
DROPINS = "/etc/systemd/system/systemd-nspawn@web.service.d"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@example.org"


def bundle(plan: Plan) -> dict[str, tuple[str, str]]:
    lines = (line.split(" ") for line in plan.steps[0].stdin.splitlines())
    return {path: (mode, base64.b64decode("".join(rest)).decode()) for mode, path, *rest in lines}


def test_a_new_guest():
    plan = definition(guest(), {})
    files = bundle(plan)
    assert set(files) == {NSPAWN, f"{DROPINS}/50-ostree.conf", f"{DROPINS}/60-limits.conf"}
    assert all(mode == "644" for mode, _ in files.values())
    assert plan.steps[0].arguments == ("web", "reload")
    assert [diff.before for diff in plan.diffs] == [(), (), ()]


def test_nothing_to_do():
    assert definition(guest(), {"web": running(guest())}) == Plan()


def test_only_the_changed_lines_are_in_the_diff():
    before, after = guest(hostname="old"), guest(hostname="new")
    plan = definition(after, {"web": running(before)})
    settings, booted = plan.diffs
    assert set(settings.after) - set(settings.before) == {"Hostname=new"}
    (changed,) = set(booted.after) - set(booted.before)
    assert changed == f"Environment=PYINFRA_NSPAWN_DEFINITION={define(after).digest}"


def test_limits_reload_and_do_not_restart():
    before, after = guest(), guest(limits={"memory_max": "1G", "cpu_quota": "50%", "tasks_max": 9})
    plan = definition(after, {"web": running(before)})
    assert set(bundle(plan)) == {f"{DROPINS}/60-limits.conf"}
    assert plan.steps[0].arguments == ("web", "reload")
    assert define(before).digest == define(after).digest
    _, text = bundle(plan)[f"{DROPINS}/60-limits.conf"]
    assert "MemoryMax=1G\nCPUQuota=50%\nTasksMax=9\n" in text


def test_a_pending_daemon_reload_is_done():
    plan = definition(guest(), {"web": running(guest(), need_daemon_reload=True)})
    assert plan.steps[0].arguments == ("web", "reload")
    assert plan.steps[0].stdin == ""


def test_a_directory_that_others_can_enter_is_closed():
    seen = replace(running(guest()), directory="755 0:0")
    assert definition(guest(), {"web": seen}).steps[0].text.endswith("make /var/lib/pyinfra-nspawn/web 0700")


def test_wrong_modes_and_owners_are_mended():
    seen = running(guest())
    changed = FileSeen(seen.files[NSPAWN].content, "666", "1000:0")
    plan = definition(guest(), {"web": replace(seen, files={**seen.files, NSPAWN: changed})})
    assert set(bundle(plan)) == {NSPAWN}


def test_a_way_in():
    wanted = guest(
        authorized_keys=[KEY],
        mask_units=["a.service", "b.timer"],
        files={"/etc/motd": {"content": "50% of $x\n", "mode": "0600", "user": "daemon"}},
        credentials={"tmpfiles.extra": "d /opt", "token": "hunter2"},
        machine_id="0123456789abcdef0123456789abcdef",
    )
    text = define(wanted).files[NSPAWN]
    assert "Parameters=systemd.mask=a.service systemd.mask=b.timer\n" in text
    assert "MachineID=0123456789abcdef0123456789abcdef\n" in text
    extra = define(wanted).credentials["tmpfiles.extra"].splitlines()
    assert extra[:2] == ["d /opt", "d /root/.ssh 0700 root root"]
    assert extra[2].startswith("f+~ /root/.ssh/authorized_keys 0600 root root - ")
    assert base64.b64decode(extra[2].split()[-1]).decode() == f"{KEY}\n"
    assert extra[3] == "f+~ /etc/motd 0600 daemon root - " + base64.b64encode(b"50% of $x\n").decode()


def test_binds_stand_beside_those_of_etc_and_var():
    """One `Bind=` in the .nspawn file replaces all `--bind` of the command line, that of /etc too."""
    binds = [
        {"source": "/srv/a"},
        {"source": "/srv/b", "target": "/var/b", "read_only": False, "idmap": True},
    ]
    files = define(guest(binds=binds)).files
    assert "Bind" not in files[NSPAWN]
    lines = [line.strip(" \\") for line in files[f"{DROPINS}/50-ostree.conf"].splitlines()]
    assert [line for line in lines if line.startswith("--bind")] == [
        "--bind=/run/pyinfra-nspawn/web/etc:/etc:idmap",
        "--bind=/var/lib/pyinfra-nspawn/web/ostree/deploy/web/var:/var:idmap",
        "--bind-ro=/srv/a:/srv/a",
        "--bind=/srv/b:/var/b:idmap",
    ]


def test_secrets_travel_on_stdin_alone():
    plan = definition(guest(credentials={"token": "hunter2"}), {})
    step = plan.steps[0]
    assert bundle(plan)["/var/lib/pyinfra-nspawn/web/credentials/token"] == ("600", "hunter2")
    shown = [step.text, *step.arguments, *(line for diff in plan.diffs for line in diff.after)]
    assert not any("hunter2" in line for line in shown)
    assert "write credential token (not shown)" in step.text


def test_a_changed_secret_is_another_definition():
    one, two = (define(guest(credentials={"token": text})) for text in ("one", "two"))
    assert one.digest != two.digest


def test_a_credential_that_is_no_longer_wanted_goes():
    seen = replace(running(guest()), credentials={"old": FileSeen("e3b0", "600")})
    assert (
        definition(guest(), {"web": seen}).steps[0].stdin == "- /var/lib/pyinfra-nspawn/web/credentials/old\n"
    )


def test_the_definition_names_no_deployment():
    """/etc is that of one host deployment; a record in it would be the old one after a rollback."""
    assert not any("/deploy/web/deploy/" in text for text in define(guest()).files.values())


def test_a_file_in_our_place_that_is_not_ours():
    foreign = {NSPAWN: FileSeen("[Exec]\nBoot=no\n", "644")}
    plan = definition(guest(), {"web": GuestSeen(files=foreign)})
    assert not plan.steps
    (refusal,) = plan.refusals
    assert refusal == (
        f"guest web: {NSPAWN} is not ours: move it away, "
        "take it over with `--data adopt=web`, or give the guest another name"
    )
    assert plan.diffs[0].before == ("[Exec]", "Boot=no")


@pytest.mark.parametrize("folder", [DROPINS, "/run/systemd/system/systemd-nspawn@web.service.d"])
def test_another_drop_in_of_the_unit_is_foreign(folder: str):
    seen = running(guest(), dropin_paths=(f"{DROPINS}/50-ostree.conf", f"{folder}/10-service.conf"))
    (refusal,) = definition(guest(), {"web": seen}).refusals
    assert f"{folder}/10-service.conf is a drop-in that is not ours" in refusal


def test_a_drop_in_that_systemd_has_not_loaded_yet_is_foreign_too():
    seen = GuestSeen(files={f"{DROPINS}/10-service.conf": FileSeen("[Service]\n", "644")})
    assert "10-service.conf is a drop-in that is not ours" in definition(guest(), {"web": seen}).refusals[0]


def test_a_drop_in_of_all_services_is_the_host_s_affair():
    seen = running(guest(), dropin_paths=("/usr/lib/systemd/system/service.d/10-timeout-abort.conf",))
    assert definition(guest(), {"web": seen}) == Plan()


def test_a_machine_of_that_name_from_another_unit():
    seen = GuestSeen(machine=Machine(unit="machine-web.scope"))
    assert (
        "a machine of that name runs already, from machine-web.scope"
        in definition(guest(), {"web": seen}).refusals[0]
    )


def test_a_unit_file_that_replaces_the_template():
    path = "/etc/systemd/system/systemd-nspawn@web.service"
    seen = replace(running(guest()), unit=replace(running(guest()).unit, fragment_path=path))
    assert f"{path} replaces the unit's template" in definition(guest(), {"web": seen}).refusals[0]


def test_guests_that_could_not_be_read():
    assert definition(guest(), Unreadable("no")).refusals


def test_escaping():
    assert unit_value("a%b$c") == "a%%b$$c"
    assert unit_value('say "no"') == '"say \\"no\\""'
    assert nspawn_word("A=it's 100%") == "'A=it'\"'\"'s 100%'"
