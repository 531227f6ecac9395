"""No value of an inventory is taken for anything but a value: by a shell, by systemd, by tmpfiles.d.

Whatever an inventory says is refused in one line, or comes out of what we write as it went in: out of the
commands by a shell's rules, out of the files by systemd's (tests/unit/systemd_syntax.py).
"""

import base64
import re
import shlex
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pyinfra.api.command import StringCommand
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_state

from pyinfra_nspawn.facts.nspawn import Guests
from pyinfra_nspawn.facts.ostree import Commit, HostSysroots, Sysroots
from pyinfra_nspawn.operations import _run
from pyinfra_nspawn.plans import Plan, host, sysroot
from pyinfra_nspawn.plans.definition import definition
from pyinfra_nspawn.plans.files import nspawn_word, unit_value
from pyinfra_nspawn.plans.rendered import define
from pyinfra_nspawn.plans.unit import unit
from pyinfra_nspawn.specs import Bind, File, Guest, HostSettings, Limits, Source
from pyinfra_nspawn.specs.base import InvalidSpecError, Spec
from tests.unit.seen import HOST, NEW, guest, host_sysroot, sysroots
from tests.unit.systemd_syntax import (
    LINE_END,
    command_line,
    expanded,
    known,
    nspawn_words,
    sections,
    system_calls,
    unit_words,
)

SCRIPTS = Path(_run.__file__).parent / "scripts"
SECRET = "hunter2"
SECRET_BASE64 = base64.b64encode(SECRET.encode())[:9].decode()
"""How every secret begins, and nothing else: what hides in it may be a text like any other."""

NSPAWN = "/etc/systemd/nspawn/{}.nspawn"
BOOTED = "/etc/systemd/system/systemd-nspawn@{}.service.d/50-ostree.conf"
LIMITS = "/etc/systemd/system/systemd-nspawn@{}.service.d/60-limits.conf"


def examples(count: int) -> settings:
    """Return settings that try the same examples in every run: a failure is a change's, not chance's."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # the machine's fault, not the test's
    )


# What is drawn: texts that some reader could take for more than a text, and texts like those that are right.

PIECES = ["$(id)", "`id`", "$HOME", "${HOME}", "$$", "$", "%i", "%n", "%%", "%", "'", '"', "''", '""']
PIECES += [
    "\\",
    "\\\\",
    "\\x41",
    "\\n",
    " \\\n",
    ";",
    " ; ",
    "&&",
    "|",
    ">x",
    "<",
    "*",
    "?",
    "~",
    "!",
    "#",
    " # ",
]
PIECES += [" ", "  ", "\t", "\n", "\r\n", "\r", "\0", "\x0b", "\x1b[31m", "\x7f", "\x85", "\u00a0", "\u2028"]
PIECES += [
    "-",
    "--help",
    "=",
    ":",
    ",",
    "..",
    "//",
    "[Service]",
    "\n[Service]\n",
    "\nExecStart=/bin/sh\n",
    "\n#",
]
PIECES += ["a", "b1", "web", "/x", "é", "語", "\ufeff", "\ufdd0", "\uffff", "\ud800"]
TEXT = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=6).map("".join)
LINE = TEXT.map(lambda text: re.sub(r"[\0-\x1f\x7f]", "", text))
JUNK = TEXT | st.lists(TEXT, max_size=2) | st.dictionaries(TEXT, TEXT, max_size=2) | st.integers() | st.none()


def like(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)


def some(drawn: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(drawn, max_size=3)


NUMBER = st.integers(1, 10**9)
NAME = like(r"[A-Za-z0-9]([a-z0-9-]{0,4}[a-z0-9])?(\.[a-z0-9]{1,3})?")
PATH = like(r"(/[A-Za-z0-9_@+=,~-][A-Za-z0-9._@+=,~-]{0,3}){1,3}")
WORD = like(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,6}")
FILE_PATH = like(
    r"/(etc|var|run|root|home|usr/local|etc/a)(/[A-Za-z0-9_@+=,~-][A-Za-z0-9._@+=,~-]{0,3}){1,3}"
).filter(lambda path: path.count("/") > 2 or not path.startswith("/var"))
SOURCE_OF_BIND = st.sampled_from(["/srv", "/var/lib/app", "/mnt"]) | PATH
CAPABILITY = st.sampled_from(["all", "CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_BPF"])
SYSTEM_CALL = st.sampled_from(["@keyring", "~@mount"]) | like("~?[a-z0-9_-]{1,5}")
MEMORY = like("[1-9][0-9]{0,3}[MGT]|[1-9][0-9]?%") | st.just("infinity")
TASKS = st.integers(1, 4194304) | st.just("infinity")
COMMIT = st.sampled_from(["0123456789abcdef" * 4, NEW])
REF = like(r"[a-z_][a-z0-9._-]{0,5}(/[-._a-z0-9]{1,5}){0,2}")
VARIABLE = like(r"[A-Za-z_][A-Za-z0-9_]{0,5}")
UNIT = like(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,8}\.(service|timer|mount)")
KEY = st.builds("{} AAAA{} {}".format, st.sampled_from(["ssh-rsa", "no-pty ssh-ed25519"]), WORD, LINE)
CREDENTIAL = st.sampled_from(["tmpfiles.extra", "token"]) | WORD
SECRET_TEXT = st.just("") | TEXT.map(SECRET.__add__)
CLEAN = LINE.filter(lambda text: all(map(known, text)))

# How every field is drawn; `of` makes a strategy of what is right for one place, and may add what is not.
FIELDS = {
    Guest: {
        "name": lambda of: of(NAME),
        "source": lambda of: of(st.sampled_from(["host", "guest"]) | COMMIT | REF) | parts(of),
        "sysroot": lambda of: of(st.sampled_from(["private", "shared"])),
        "isolation": lambda of: of(st.sampled_from(["private-users", "overlay", "none"])),
        "network": lambda of: of(st.just("veth")),
        "autostart": lambda of: of(st.booleans()),
        "after": lambda of: some(of(NAME)),
        "state": lambda of: of(st.sampled_from(["running", "stopped", "absent"])),
        "purge": lambda of: of(st.just(False)),
        "restart": lambda of: of(st.sampled_from(["always", "on-failure", "no"])),
        "on_change": lambda of: of(st.sampled_from(["restart", "report"])),
        "on_degraded": lambda of: of(st.sampled_from(["fail", "report"])),
        "start_timeout_seconds": lambda of: of(st.integers(1, 86400)),
        "binds": lambda of: some(data(Bind, of)),
        "limits": lambda of: data(Limits, of),
        "capabilities": lambda of: some(of(CAPABILITY)),
        "system_calls": lambda of: some(of(SYSTEM_CALL)),
        "environment": lambda of: st.dictionaries(of(VARIABLE), of(LINE), max_size=3),
        "hostname": lambda of: of(NAME),
        "machine_id": lambda of: of(st.just("0123456789abcdef" * 2)),
        "authorized_keys": lambda of: some(of(KEY)),
        "mask_units": lambda of: some(of(UNIT)),
        "files": lambda of: st.dictionaries(of(FILE_PATH), SECRET_TEXT | data(File, of), max_size=2),
        "credentials": lambda of: st.dictionaries(of(CREDENTIAL), of(SECRET_TEXT), max_size=2),
        "adopt": lambda of: of(st.booleans()),
    },
    Source: {
        "commit": lambda of: of(COMMIT),
        "ref": lambda of: of(REF),
        "remote": lambda of: of(WORD),
        "guest": lambda of: of(st.booleans()),
    },
    Bind: {
        "source": lambda of: of(SOURCE_OF_BIND),
        "target": lambda of: of(PATH),
        "read_only": lambda of: of(st.booleans()),
        "idmap": lambda of: of(st.booleans()),
    },
    Limits: {
        "memory_max": lambda of: of(MEMORY),
        "cpu_quota": lambda of: of(like("[1-9][0-9]{0,4}%")),
        "tasks_max": lambda of: of(TASKS),
    },
    File: {
        "content": lambda of: of(SECRET_TEXT),
        "mode": lambda of: of(like("[0-7]{4}")),
        "user": lambda of: of(like("[a-z_][a-z0-9_-]{0,5}|[0-9]{1,5}")),
        "group": lambda of: of(like("[a-z_][a-z0-9_-]{0,5}|[0-9]{1,5}")),
    },
    HostSettings: {
        "layer_packages": lambda of: of(st.booleans()),
        "selinux": lambda of: of(st.sampled_from(["permissive", "enforcing", None])),
        "free_mib": lambda of: of(NUMBER),
        "starts_at_once": lambda of: of(NUMBER),
    },
}


def right(drawn: st.SearchStrategy) -> st.SearchStrategy:
    return drawn


def free(drawn: st.SearchStrategy) -> st.SearchStrategy:
    both = "{}{}".format
    return drawn | TEXT | st.builds(both, drawn, TEXT) | st.builds(both, TEXT, drawn)


def data(spec: type[Spec], of, bent: str = "") -> st.SearchStrategy[dict[str, object]]:
    """Draw plain data for a spec, as an inventory has it; of the field `bent` anything."""
    drawn = {name: draw(of) for name, draw in FIELDS[spec].items()}
    if bent:
        drawn[bent] = FIELDS[spec][bent](free) | JUNK
    needed = {name for name, field in spec.model_fields.items() if name == bent or field.is_required()}
    return st.fixed_dictionaries({name: drawn.pop(name) for name in needed if name in drawn}, optional=drawn)


def parts(of) -> st.SearchStrategy[dict[str, object]]:
    """Draw a source by its parts: a commit or a ref with or without a remote, or what fits no text."""
    fields = FIELDS[Source]
    remote = {"remote": fields["remote"](of)}
    right = [st.fixed_dictionaries({name: fields[name](of)}, optional=remote) for name in ("commit", "ref")]
    return st.one_of(*right, data(Source, of))


def inventories(spec: type[Spec]) -> st.SearchStrategy[dict[str, object]]:
    """Draw data of which no field, one field, or the name of a field is anything."""
    fields = [data(spec, right, name) for name in FIELDS[spec]]
    unknown = st.builds(lambda junk, known: {**junk, **known}, st.dictionaries(TEXT, TEXT), data(spec, right))
    return st.one_of(data(spec, right), unknown, *fields)


INVENTORIES = {spec: inventories(spec) for spec in (Guest, HostSettings, Source)}


def read(spec: type[Spec], drawn: object) -> Spec | str:
    """Return the spec, or the words in which it is refused."""
    try:
        return spec.of(drawn, "inventory of host1")
    except InvalidSpecError as error:
        return str(error)


GUESTS = (
    INVENTORIES[Guest].map(lambda drawn: read(Guest, drawn)).filter(lambda found: isinstance(found, Guest))
)


@pytest.mark.parametrize("spec", FIELDS)
def test_every_field_is_drawn(spec: type[Spec]):
    missing = set(spec.model_fields) ^ set(FIELDS[spec])
    assert not missing, f"{spec.__name__}: say in FIELDS how {', '.join(sorted(missing))} is drawn"


@pytest.mark.parametrize("spec", INVENTORIES)
@examples(150)
@given(drawn=st.data())
def test_a_refusal_is_one_line_and_tells_no_secret(spec: type[Spec], drawn):
    found = read(spec, drawn.draw(INVENTORIES[spec]))
    if isinstance(found, str):
        assert found.startswith("inventory of host1: ")
        assert len(found.splitlines()) == 1
        assert SECRET not in found


# Files: what systemd reads in them is what the guest says, and nothing more.


def said(wanted: Guest, path: str, **readers) -> list:
    """Return a file's sections with their assignments, each value through the reader of its key."""
    return [
        (section, [(key, readers.get(key, str)(value)) for key, value in assignments])
        for section, assignments in sections(define(wanted).files[path.format(wanted.name)])
    ]


def said_to_boot(wanted: Guest) -> list:
    values = partial(unit_words, instance=wanted.name)
    command = partial(command_line, instance=wanted.name)
    readers = {
        "Description": partial(expanded, instance=wanted.name),
        **dict.fromkeys(("RequiresMountsFor", "Environment", "BindPaths"), values),
        **dict.fromkeys(("ExecStart", "ExecStartPre", "ExecStopPost"), command),
    }
    return said(wanted, BOOTED, **readers)


def to_boot(wanted: Guest) -> list:
    """Return what 50-ostree.conf has to say."""
    directory, shared = f"/var/lib/pyinfra-nspawn/{wanted.name}", wanted.sysroot == "shared"
    about = [("Description", f"OSTree guest {wanted.name}"), ("RequiresMountsFor", [directory])]
    service = [
        ("Environment", [f"PYINFRA_NSPAWN_DEFINITION={define(wanted).digest}"]),
        ("BindPaths", [f"{directory}/current/etc:{MOUNTS}/{wanted.name}/etc"]),
        *([("BindPaths", [f"{in_host(wanted)}/var:{MOUNTS}/{wanted.name}/var"])] if shared else []),
        *([("ExecStartPre", ["+sh", "-ec", choosing(wanted, directory)])] if wanted.source.guest else []),
        ("ExecStart", []),
        ("ExecStart", [*beginning(wanted), *container(wanted, directory)]),
        ("ExecStopPost", []),
        *(("DeviceAllow", devices) for devices in ("", "char-pts rw", "/dev/net/tun rwm")),
    ]
    return [("Unit", about), ("Service", service)]


ISOLATION = {
    "private-users": ["--read-only", "--private-users=pick", "--private-users-ownership=map"],
    "overlay": ["--volatile=overlay", "--private-users=no"],
    "none": ["--read-only", "--private-users=no"],
}
MOUNTS = "/run/pyinfra-nspawn"


def in_host(wanted: Guest) -> str:
    return f"/sysroot/ostree/deploy/{wanted.name}"


def choosing(wanted: Guest, directory: str) -> str:
    """Return the script that lets a guest boot what it deployed; its name is all that varies."""
    shared = wanted.sysroot == "shared"
    option = "" if shared else f" --sysroot={directory}"
    deployments = f"{in_host(wanted) if shared else f'ostree/deploy/{wanted.name}'}/deploy"
    return (
        f"ostree admin{option} status | while read -r name id rest; do "
        'if [ "$name" = "*" ]; then name=$id id=${rest%% *}; fi; '
        f'if [ "$name" = {wanted.name} ]; then cd {directory}; '
        f'ln -sfn {deployments}/"$id" .current.new; exec mv -T .current.new current; fi; done'
    )


def beginning(wanted: Guest) -> list[str]:
    """Return the shell that makes ready what nspawn is to mount, where that takes one."""
    mounts = f"{MOUNTS}/{wanted.name}"
    writable = [f"mount -o remount,bind,rw {mounts}/{what};" for what in ("etc", "var")]
    script = [
        *(writable if wanted.sysroot == "shared" else []),
        *([f": >{mounts}/ostree-booted;"] if wanted.isolation == "none" else []),
    ]
    return ["sh", "-ec", " ".join([*script, 'exec "$0" "$@"'])] if script else []


def seen_by_ostree(wanted: Guest, directory: str) -> list[str]:
    """Return the binds in which a guest without isolation finds the sysroot it was deployed in."""
    shared = wanted.sysroot == "shared"
    return [
        f"--bind-ro={'/sysroot' if shared else directory}:/sysroot:norbind",
        f"--bind-ro={'' if shared else directory}/boot:/boot:norbind",
        f"--bind-ro={MOUNTS}/{wanted.name}/ostree-booted:/run/ostree-booted",
    ]


def container(wanted: Guest, directory: str) -> list[str]:
    private = wanted.isolation == "private-users"
    made = {"tmpfiles.extra"} if wanted.authorized_keys or wanted.files else set()
    own = f"{directory}/ostree/deploy/{wanted.name}"
    var = f"{MOUNTS}/{wanted.name}/var" if wanted.sysroot == "shared" else f"{own}/var"
    return [
        *("systemd-nspawn", "--quiet", "--keep-unit", "--boot", "--settings=override"),
        *(f"--machine={wanted.name}", f"--directory={directory}/current"),
        *ISOLATION[wanted.isolation],
        *(seen_by_ostree(wanted, directory) if wanted.isolation == "none" else []),
        f"--bind={MOUNTS}/{wanted.name}/etc:/etc{':idmap' if private else ''}",
        f"--bind={var}:/var{':idmap' if private else ''}",
        *(bound(bind, private=private) for bind in wanted.binds),
        *(
            f"--load-credential={name}:{directory}/credentials/{name}"
            for name in sorted({*wanted.credentials, *made})
        ),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
    ]


def bound(bind: Bind, *, private: bool) -> str:
    option = "--bind-ro" if bind.read_only else "--bind"
    return f"{option}={bind.source}:{bind.target or bind.source}{':idmap' if bind.idmap and private else ''}"


def to_limit(wanted: Guest) -> list:
    """Return what 60-limits.conf has to say; nothing in it knows quotes, or specifiers."""
    limits = {
        "Restart": wanted.restart,
        "RestartSec": "3s",
        "TimeoutStartSec": f"{wanted.start_timeout_seconds}s",
        "MemoryMax": wanted.limits.memory_max,
        "CPUQuota": wanted.limits.cpu_quota,
        "TasksMax": wanted.limits.tasks_max,
    }
    after = [("After", f"systemd-nspawn@{name}.service") for name in wanted.after]
    service = [(key, str(value)) for key, value in limits.items() if value]
    return [*([("Unit", after)] if after else []), ("Service", service)]


def said_to_contain(wanted: Guest) -> list:
    """Return what the .nspawn file says, with all that it says of system calls at the end."""
    lists = {"Parameters": nspawn_words, "Environment": nspawn_words, "Capability": str.split}
    (name, found), *rest = said(wanted, NSPAWN, SystemCallFilter=system_calls, **lists)
    calls = [call for key, value in found if key == "SystemCallFilter" for call in value]
    others = [(key, value) for key, value in found if key != "SystemCallFilter"]
    return [(name, [*others, ("SystemCallFilter", sorted(calls))]), *rest]


def to_contain(wanted: Guest) -> list:
    """Return what the .nspawn file has to say."""
    optional = {
        "MachineID": wanted.machine_id,
        "Parameters": [f"systemd.mask={name}" for name in wanted.mask_units],
        "Capability": list(wanted.capabilities),
    }
    environment = sorted(wanted.environment.items(), key=lambda item: item[0].lower())
    settings = [
        *(("Boot", "yes"), ("NotifyReady", "yes"), ("Hostname", wanted.hostname or wanted.name)),
        *((key, value) for key, value in optional.items() if value),
        *(("Environment", [f"{name}={value}"]) for name, value in environment),
        ("SystemCallFilter", sorted(wanted.system_calls)),
    ]
    return [("Exec", settings), ("Network", [("VirtualEthernet", "yes")])]


@examples(80)
@given(wanted=GUESTS)
def test_systemd_reads_what_the_guest_says(wanted: Guest):
    assert set(define(wanted).files) == {path.format(wanted.name) for path in (NSPAWN, BOOTED, LIMITS)}
    assert said_to_boot(wanted) == to_boot(wanted)
    assert said(wanted, LIMITS) == to_limit(wanted)
    assert said_to_contain(wanted) == to_contain(wanted)


@examples(200)
@given(text=CLEAN)
def test_every_text_can_be_one_word(text: str):
    """Paths and names are narrow today; the day they are not, the templates' filters have to hold."""
    command, word = f"x --a={unit_value(text)} \\\n b", nspawn_word(f"A={text}")
    ((_, found),) = sections(f"[Service]\nExecStart={command}\nEnvironment={word}\n")
    assert command_line(found[0][1], "web") == ["x", f"--a={text}", "b"]
    assert nspawn_words(found[1][1]) == [f"A={text}"]


@examples(60)
@given(source=CLEAN, target=CLEAN, credential=CLEAN)
def test_the_unit_quotes_even_what_a_spec_would_refuse(source: str, target: str, credential: str):
    bind = Bind.model_construct(source=source, target=target, read_only=True, idmap=False)
    wanted = guest().model_copy(update={"binds": (bind,), "credentials": {credential: SecretStr("")}})
    assert said_to_boot(wanted) == to_boot(wanted)


# Credentials: each comes as it went in, and a file of the guest's is one line of tmpfiles.d(5).


def content(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


def lines_of(text: str) -> list[str]:
    return [line for line in LINE_END.split(text) if line]


def written(wanted: Guest) -> list[list[str]]:
    """Return the fields of the lines of tmpfiles.d(5) that a guest's keys and files come to."""
    keys = "".join(f"{key}\n" for key in wanted.authorized_keys)
    login = [
        ["d", "/root/.ssh", "0700", "root", "root"],
        ["f+~", "/root/.ssh/authorized_keys", "0600", "root", "root", "-", keys],
    ]
    files = [
        ["f+~", path, file.mode, file.user, file.group, "-", file.content.get_secret_value()]
        for path, file in sorted(wanted.files.items())
    ]
    return [*(login if keys else []), *files]


@examples(60)
@given(wanted=GUESTS)
def test_credentials_are_what_the_guest_says(wanted: Guest):
    expected = {name: secret.get_secret_value() for name, secret in wanted.credentials.items()}
    found = dict(define(wanted).credentials)
    own, lines = (lines_of(credentials.pop("tmpfiles.extra", "")) for credentials in (expected, found))
    assert found == expected
    assert lines[: len(own)] == own
    fields = [line.split(" ") for line in lines[len(own) :]]
    assert [[*words[:6], *map(content, words[6:])] for words in fields] == written(wanted)


@examples(30)
@given(wanted=GUESTS)
def test_what_is_written_is_on_stdin(wanted: Guest):
    made, directory = define(wanted), f"/var/lib/pyinfra-nspawn/{wanted.name}/credentials"
    (step,) = definition(wanted, {}).steps
    lines = [line.split(" ") for line in step.stdin.removesuffix("\n").split("\n")]
    assert {path: (mode, content(text)) for mode, path, text in lines} == {
        **{path: ("644", text) for path, text in made.files.items()},
        **{f"{directory}/{name}": ("600", text) for name, text in made.credentials.items()},
    }


# Commands: what a shell reads in them are the script and its arguments, and nothing more.


def plans(wanted: Guest) -> list[Plan]:
    """Return all plans for a guest on a host that knows nothing of it yet, but has its source."""
    source = wanted.source
    has = {"remotes": {source.remote: "https://x"}} if source.remote else {"refs": {source.refspec: NEW}}
    view = sysroot.look(wanted, HostSysroots(host_sysroot(**has)), {})
    return [
        sysroot.stateroot(wanted, view),
        sysroot.commit(wanted, view, lambda _: "absent" if source.remote else "present"),
        sysroot.deployment(wanted, view),
        sysroot.current(wanted, view),
        definition(wanted, {}),
        unit(wanted, {}),
    ]


def host_plans(settings: HostSettings) -> list[Plan]:
    bare = replace(HOST, commands=("rpm-ostree",), selinux_configured="disabled")
    return [
        host.container_package(settings, bare, sysroots()),
        host.machines_target(bare),
        host.inotify((), bare),
        host.selinux(settings, bare),
    ]


def commands(plans: list[Plan]) -> list[tuple[StringCommand, list[str]]]:
    """Return the command of each step, with the words that a shell has to read in it."""
    found = []
    for step in (step for plan in plans for step in plan.steps):
        shared = ["shared"] if step.script.endswith("-shared") else []
        upon = ["beside", *shared] if shared or step.script in ("stateroot", "pull", "deploy") else []
        script = "\n".join((SCRIPTS / f"{part}.sh").read_text() for part in ("common", *upon, step.script))
        before = ["unshare", "--mount"] if upon else []
        after = [] if step.stdin else ["</dev/null"]
        words = [*before, "sh", "-c", script, step.script, *step.arguments, *after]
        found.append((_run.command(step), words))
    return found


def questions(wanted: Guest) -> list[tuple[StringCommand, list[str]]]:
    """Return the command of each fact that is asked about a guest, with its words."""
    asked = [(Guests(), wanted.name), (Sysroots(), wanted.name), (Commit(), wanted.source.commit or "none")]
    return [
        (fact.command(value), [*shlex.split(fact.command("x").get_raw_value())[:-1], value])
        for fact, value in asked
    ]


@examples(40)
@given(wanted=GUESTS)
def test_a_shell_reads_what_the_guest_says(wanted: Guest):
    made = plans(wanted)
    assert not [plan.refusals for plan in made if plan.refusals]
    assert all(len(step.text.splitlines()) == 1 for plan in made for step in plan.steps)
    for command, words in [*commands(made), *questions(wanted)]:
        assert shlex.split(command.get_raw_value()) == words


@examples(30)
@given(settings=INVENTORIES[HostSettings].map(partial(read, HostSettings)))
def test_a_shell_reads_what_the_host_s_settings_say(settings: HostSettings | str):
    assume(isinstance(settings, HostSettings))
    for command, words in commands(host_plans(settings)):
        assert shlex.split(command.get_raw_value()) == words


@examples(60)
@given(sentence=TEXT)
def test_a_refusal_is_printed_as_it_is(sentence: str):
    with ctx_state.use(SimpleNamespace(config=SimpleNamespace(DIFF=False))):
        (command,) = _run._refuse(Plan(refusals=(sentence,)), _run._Memory(StateStage.Execute))
    assert shlex.split(command.get_raw_value()) == ["printf", r"%s\n", sentence, ">&2;", "exit", "1"]


STAND_INS = r"""
sh() { printf '%s\0' sh "$@"; }
unshare() { printf '%s\0' unshare "$@"; }
"""


@examples(15)
@given(wanted=GUESTS)
def test_a_real_shell_reads_them_alike(tmp_path_factory, wanted: Guest):
    told = commands(plans(wanted))
    text = STAND_INS + "\n".join(command.get_raw_value() for command, _ in told)
    # Whatever should get loose finds no program to run, and a folder of its own to write to.
    folder = tmp_path_factory.mktemp("shell")
    sh = ["/bin/sh", "-c", text]
    done = subprocess.run(sh, cwd=folder, env={"PATH": ""}, capture_output=True, check=True)
    words = [word for _, expected in told for word in expected if word != "</dev/null"]
    assert done.stdout.decode().split("\0") == [*words, ""]
    assert (done.stderr, list(folder.iterdir())) == (b"", [])


@examples(40)
@given(wanted=GUESTS)
def test_secrets_are_shown_nowhere(wanted: Guest):
    made = plans(wanted)
    shown = [repr(wanted), str(wanted), str(wanted.to_json()), *define(wanted).files.values()]
    for plan in made:
        shown += [*plan.notes, *plan.refusals, *map(str, plan.diffs)]
        shown += [text for step in plan.steps for text in (step.text, *step.arguments)]
    for command, _ in commands(made):
        shown += [command.get_raw_value(), str(command), repr(command)]
    assert not [text for text in shown if SECRET in text or SECRET_BASE64 in text]


# The reader itself.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# [A]\n;b=c\n\n[A]\n", [("A", [])]),
        ("[A]\n b = c d \n[B]\nb=\nb=\u00a0", [("A", [("b", "c d")]), ("B", [("b", ""), ("b", "\u00a0")])]),
        ("[A]\nb=c \\\n# no\n  d\\\\\ne=\\x", [("A", [("b", "c    d\\\\"), ("e", "\\x")])]),
        ("[A]\nb=c\r[B]\0d=[e]", [("A", [("b", "c")]), ("B", [("d", "[e]")])]),
    ],
)
def test_sections_are_read(text: str, expected: list):
    assert sections(text) == expected


@pytest.mark.parametrize(
    "text", ["a=b", "[A]\nb", "[A\nb=c", "[A]\nb=c\\", "[A]\nb=\uffff", "[A]\nb=\ufdd0", "[A]\nb=\ud800"]
)
def test_what_is_no_unit_file(text: str):
    with pytest.raises(ValueError):  # noqa: PT011
        sections(text)


@pytest.mark.parametrize(
    ("text", "of_unit", "of_settings"),
    [
        ("", [], []),
        ("a  b\tc", ["a", "b", "c"], ["a", "b", "c"]),
        ("a'b c'd\"e\"", ["ab cde"], ["ab cde"]),
        ("'' \"\"", ["", ""], ["", ""]),
        ("'\"' \"'\"", ['"', "'"], ['"', "'"]),
        ("é\u00a0\u2028語", ["é\u00a0\u2028語"], ["é\u00a0\u2028語"]),
        (r"a\\b 'c\\'", [r"a\b", "c\\"], [r"a\\b", r"c\\"]),
        (r"\x41\101\u0041\sb\t \"", ["AAA b\t", '"'], None),
        ("%%i %i", ["%i", "web"], ["%%i", "%i"]),
        ("'a", None, None),
        (r"\q", None, [r"\q"]),
        ("a\\", None, ["a\\"]),
        ("%n", None, ["%n"]),
        ("%", None, ["%"]),
    ],
)
def test_words_are_read(text: str, of_unit: list[str] | None, of_settings: list[str] | None):
    for reader, expected in ((partial(unit_words, instance="web"), of_unit), (nspawn_words, of_settings)):
        with pytest.raises(ValueError) if expected is None else nullcontext():  # noqa: PT011
            assert reader(text) == expected


@pytest.mark.parametrize("text", ["a $b", "a ${b}", "a $", "a ; b", "a ';' ;", "%%%"])
def test_what_would_run_as_something_else(text: str):
    with pytest.raises(ValueError):  # noqa: PT011
        command_line(text, "web")


def test_a_command_line_is_read():
    assert command_line("a $$b '$$$$' 'c ; d' e;f \";\"", "web") == ["a", "$b", "$$", "c ; d", "e;f", ";"]


def test_system_calls_are_read():
    assert system_calls("bpf @keyring") == ["bpf", "@keyring"]
    assert system_calls("~bpf @keyring") == ["~bpf", "~@keyring"]
    with pytest.raises(ValueError, match="'bpf ~keyctl'"):
        system_calls("bpf ~keyctl")
