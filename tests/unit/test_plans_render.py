"""What a guest's definition says, and the digest of what it means."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest
from jinja2 import DictLoader

from pyinfra_nspawn.plans.render import define, templates
from pyinfra_nspawn.plans.render.templates import argument, word
from pyinfra_nspawn.specs import Guest
from pyinfra_nspawn.specs.layout import Layout
from pyinfra_nspawn.specs.paths import canonical
from tests.unit.seen import BOOT, LIMITS, OLD, SETTINGS, STATE, guest, own, plan, running, step, verbs

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@example.org"


def arguments(**fields: object) -> list[str]:
    return list(define(guest(**fields)).command)


def digest(**fields: object) -> str:
    return define(guest(**fields)).digest


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["--hostname=web"]),
        ({"hostname": "www.example.org"}, ["--hostname=www.example.org"]),
        ({"machine_id": "0123456789abcdef" * 2}, [f"--uuid={'0123456789abcdef' * 2}"]),
        (
            {"mask_units": ["b.timer", "a.service"]},
            ["systemd.mask=a.service", "systemd.mask=b.timer"],
        ),
        ({"capabilities": ["CAP_SYSLOG", "CAP_BPF"]}, ["--capability=CAP_BPF,CAP_SYSLOG"]),
        ({"capabilities": ["all"]}, ["--capability=all"]),
        (
            {"system_calls": ["bpf", "~keyctl", "@keyring"]},
            ["--system-call-filter=@keyring", "--system-call-filter=bpf", "--system-call-filter=~keyctl"],
        ),
        ({"environment": {"B": "2 3", "A": ""}}, ["--setenv=A=", "--setenv=B=2 3"]),
        ({"credentials": {"token": "x"}}, [f"--load-credential=token:{STATE}/credentials/token"]),
        ({"isolation": "overlay"}, ["--volatile=overlay", "--private-users=no"]),
        ({"isolation": "none"}, ["--read-only", "--private-users=no"]),
        ({"sysroot": "shared"}, ["--bind=/run/pyinfra-nspawn/mounts/web/var:/var:idmap"]),
    ],
)
def test_every_setting_is_an_argument(fields, expected: list[str]):
    found = arguments(**fields)
    assert [item for item in found if item in expected] == expected


def test_no_settings_file_is_read():
    assert "--settings=no" in arguments()
    assert "--notify-ready=yes" in arguments()
    assert "--network-veth" in arguments()
    assert set(define(guest()).files) == {BOOT, LIMITS}


def test_what_is_for_the_guest_s_init_follows_on_every_option():
    """nspawn takes its own options only before the first argument that is none."""
    found = arguments(mask_units=["a.service"], credentials={"x": "y"})
    assert found[-1] == "systemd.mask=a.service"
    assert all(item.startswith("--") for item in found[1:-1])


def test_a_way_in():
    wanted = guest(
        authorized_keys=[KEY],
        files={"/etc/motd": {"content": "50% of $x\n", "mode": "0600", "user": "daemon"}},
        credentials={"tmpfiles.extra": "d /opt", "token": "hunter2"},
    )
    extra = define(wanted).credentials["tmpfiles.extra"].splitlines()
    assert extra[:2] == ["d /opt", "d /root/.ssh 0700 root root"]
    assert extra[2].startswith("f+~ /root/.ssh/authorized_keys 0600 root root - ")
    assert base64.b64decode(extra[2].split()[-1]).decode() == f"{KEY}\n"
    assert extra[3] == "f+~ /etc/motd 0600 daemon root - " + base64.b64encode(b"50% of $x\n").decode()


def test_binds_stand_beside_those_of_etc_and_var():
    binds = [
        {"source": "/srv/b", "target": "/var/b", "read_only": False, "idmap": True},
        {"source": "/data/a"},
    ]
    assert [item for item in arguments(binds=binds) if item.startswith("--bind")] == [
        "--bind=/run/pyinfra-nspawn/mounts/web/etc:/etc:idmap",
        f"--bind={STATE}/ostree/deploy/web/var:/var:idmap",
        "--bind-ro=/data/a:/data/a",
        "--bind=/srv/b:/var/b:idmap",
    ]


@pytest.mark.parametrize(
    ("path", "really"),
    [
        ("/srv/www", "/var/srv/www"),
        ("/srv", "/var/srv"),
        ("/srvx", "/srvx"),
        ("/home/core/x", "/var/home/core/x"),
        ("/root", "/var/roothome"),
        ("/opt/x", "/var/opt/x"),
        ("/mnt/x", "/var/mnt/x"),
        ("/media/x", "/run/media/x"),
        ("/usr/local/bin", "/var/usrlocal/bin"),
        ("/usr/localx", "/usr/localx"),
        ("/var/srv", "/var/srv"),
        ("/etc/x", "/etc/x"),
    ],
)
def test_a_bind_is_mounted_where_ostree_s_links_lead(path: str, really: str):
    """Case 17: nspawn mounts in the order of paths, and what it mounts on /srv is under the mount on /var."""
    assert canonical(path) == really
    assert f"--bind-ro=/data:{really}" in arguments(binds=[{"source": "/data", "target": path}])


def test_a_source_is_bound_as_it_is_written():
    assert "--bind-ro=/srv/www:/var/srv/www" in arguments(binds=[{"source": "/srv/www"}])


def test_the_definition_names_no_deployment():
    """/etc is that of one host deployment; a record in it would be the old one after a rollback."""
    assert not any("/deploy/web/deploy/" in text for text in define(guest()).files.values())


def test_two_guests_of_any_name_do_not_meet_in_run():
    names = ("trial", "mounts", "web")
    places = [place for name in names for place in (Layout(name).mounts, Layout(name).trial)]
    assert len(set(places)) == len(places)
    assert not [
        (one, other) for one in places for other in places if one != other and other.startswith(f"{one}/")
    ]


def test_secrets_are_not_shown():
    assert "hunter2" not in repr(define(guest(credentials={"token": "hunter2"})))


# The trial: the same unit, with credentials of its own.


def test_a_trial_differs_in_nothing_but_paths_of_its_own():
    made = define(guest(credentials={"token": "x"}, source="guest", isolation="none"))
    trial = re.sub(r"/run/pyinfra-nspawn/trial/web/(current|credentials)", rf"{STATE}/\1", made.trial)
    assert made.trial != made.files[BOOT]
    assert trial == made.files[BOOT]


LISTS = ("BindPaths", "ExecStartPre", "ExecStart", "ExecStopPost", "DeviceAllow")


@pytest.mark.parametrize("key", LISTS)
@pytest.mark.parametrize("source", ["host", "guest"])
def test_each_list_begins_anew_since_a_trial_follows_on_the_old_definition(key: str, source: str):
    text = define(guest(source=source, isolation="none", sysroot="shared")).trial
    first = next(line for line in text.splitlines() if line.startswith(f"{key}="))
    assert first == f"{key}="


def test_what_is_no_list_is_set_by_the_later_file():
    text = define(guest()).trial
    keys = {
        line.partition("=")[0]
        for line in text.splitlines()
        if "=" in line and not line.startswith((" ", "#"))
    }
    assert keys - {*LISTS} == {"Description", "RequiresMountsFor", "Environment"}


# The digest.

CHANGED = [
    {"hostname": "new"},
    {"machine_id": "0123456789abcdef" * 2},
    {"mask_units": ["a.service"]},
    {"capabilities": ["all"]},
    {"system_calls": ["bpf"]},
    {"environment": {"A": "1"}},
    {"binds": [{"source": "/data"}]},
    {"credentials": {"token": "1"}},
    {"files": {"/etc/motd": "x"}},
    {"authorized_keys": [KEY]},
    {"isolation": "overlay"},
    {"isolation": "none"},
    {"isolation": "none", "source": "guest"},
    {"sysroot": "shared"},
]


def test_what_takes_a_restart_is_another_definition():
    digests = [digest(), *(digest(**fields) for fields in CHANGED)]
    assert len(set(digests)) == len(digests)


def test_a_changed_secret_is_another_definition():
    assert digest(credentials={"token": "1"}) != digest(credentials={"token": "2"})


def test_the_same_secret_of_another_guest_shows_as_another():
    one, two = (define(guest(name=name, credentials={"token": "1"})).digest for name in ("a", "b"))
    assert one != two


def test_a_secret_is_stretched_with_a_salt_of_its_guest(monkeypatch):
    salts = []
    scrypt = hashlib.scrypt
    monkeypatch.setattr(
        hashlib, "scrypt", lambda *_, salt, **fields: salts.append(salt) or scrypt(b"", salt=salt, **fields)
    )
    define(guest(name="salted", credentials={"token": "never seen before"}))
    assert salts == [b"salted"]


@pytest.mark.parametrize(
    "fields",
    [
        {"limits": {"memory_max": "1G", "cpu_quota": "50%", "tasks_max": 9}},
        {"restart": "no"},
        {"start_timeout_seconds": 9},
        {"after": ["db"]},
        {"autostart": False},
        {"on_change": "report"},
        {"on_degraded": "report"},
        {"source": OLD},
        {"state": "stopped"},
        {"adopt": True},
    ],
)
def test_what_takes_no_restart_is_the_same(fields):
    assert digest(**fields) == digest()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("mask_units", ["a.service", "b.service"]),
        ("capabilities", ["CAP_BPF", "CAP_SYSLOG"]),
        ("system_calls", ["bpf", "@keyring"]),
        ("binds", [{"source": "/a"}, {"source": "/b"}]),
    ],
)
def test_the_order_of_an_inventory_means_nothing(field: str, values: list[object]):
    assert digest(**{field: values}) == digest(**{field: values[::-1]})


def test_the_digest_is_short_and_hexadecimal():
    assert len(digest()) == 32
    assert int(digest(), 16)


@pytest.fixture
def rewritten(monkeypatch) -> None:
    """Let every template have other comments, and its lines in another order where that means nothing."""
    loader = templates.ENVIRONMENT.loader
    names = templates.ENVIRONMENT.list_templates(extensions=["j2"])
    sources = {name: loader.get_source(templates.ENVIRONMENT, name)[0] for name in names}
    assert set(sources) >= {"50-ostree.conf.j2", "60-limits.conf.j2"}
    changed = {name: reordered(text) for name, text in sources.items()}
    assert all(changed[name] != sources[name] for name in sources)
    other = templates.ENVIRONMENT.overlay(loader=DictLoader(changed))
    monkeypatch.setattr(templates, "ENVIRONMENT", other)


def reordered(text: str) -> str:
    first, *rest = text.splitlines(keepends=True)
    # The environment comes last of all; the limits' two settings that every guest has change places.
    moved = [line for line in rest if line.startswith(("Environment=", "Restart="))]
    rest = [
        "# Another version of this comment.\n" if line.startswith("#") else line
        for line in rest
        if line not in moved
    ]
    return "".join([first, "# A new comment.\n", *rest, *moved])


@pytest.mark.usefixtures("rewritten")
def test_another_wording_of_our_files_is_written_and_restarts_no_guest():
    other = running(Guest.of({"name": "web"}, "test"))
    assert "A new comment." in other.files[BOOT].content
    assert other.unit.definition == json.loads(json.dumps(DIGEST))


DIGEST = define(guest()).digest
BEFORE = running(guest())


@pytest.mark.usefixtures("rewritten")
def test_and_the_run_that_brings_it_says_so():
    found = plan(guest(), seen=BEFORE, private=own(OLD))
    assert verbs(found) == ["definition"]
    assert step(found, "definition").arguments == ("reload",)
    assert {diff.path for diff in step(found, "definition").diffs} == {BOOT, LIMITS}
    assert not [item for item in found.findings if item.kind == "outdated"]


def test_an_old_settings_file_is_part_of_no_definition():
    assert SETTINGS not in define(guest()).files


# Quoting.


def test_quoting():
    assert argument("a%b$c") == "a%%b$$c"
    assert argument('say "no"') == '"say \\"no\\""'
    assert word("a%b$c") == "a%%b$c"
    assert word("") == '""'
    assert replace(Layout("web"), shared=True).boot == "/boot"
