"""No value of an inventory is taken for anything but a value: by a shell, by systemd, by tmpfiles.d.

Whatever an inventory says is refused in one line, or comes out of what we write as it went in: out of the
commands by a shell's rules, out of the files by systemd's (tests/unit/systemd_syntax.py).
"""

import base64
import gzip
import re
import shlex
import zlib
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from pyinfra.api.command import StringCommand

from pyinfra_nspawn.facts import program
from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
from pyinfra_nspawn.facts.ostree import Deployment, HostSysroots, Sysroot
from pyinfra_nspawn.facts.snapshot import Snapshot, SnapshotFacts
from pyinfra_nspawn.operations._command import change, wait
from pyinfra_nspawn.plans.comparison import Comparison
from pyinfra_nspawn.plans.effective import effective
from pyinfra_nspawn.plans.guest import plan_guest
from pyinfra_nspawn.plans.host import concerns_of, plan_host
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.plans.render.templates import argument, word
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.specs import (
    Bind,
    Bridge,
    Checks,
    File,
    Guest,
    GuestNetwork,
    HostSettings,
    Limits,
    Remote,
    Source,
)
from pyinfra_nspawn.specs.base import MANAGED, InvalidSpecError, Spec
from pyinfra_nspawn.specs.paths import canonical
from tests.unit.seen import HOST, NEW, guest, host_sysroot
from tests.unit.seen import UNIT as UNIT_SEEN
from tests.unit.systemd_syntax import (
    LINE_END,
    command_line,
    expanded,
    known,
    sections,
    unit_words,
)

SECRET = "hunter2"
SECRET_BASE64 = base64.b64encode(SECRET.encode())[:9].decode()
"""How every secret begins, and nothing else: what hides in it may be a text like any other."""

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
        # A slow machine, and guests that a test does not speak of: with another hash seed there are more.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
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


def first_word(drawn: object) -> str:
    """Return what two devices differ in; what is drawn may be no device."""
    return str(drawn).partition(" ")[0]


DEVICE = like(r"/dev/[a-z0-9][a-z0-9_.:+-]{0,5} (r|rw|w|rwm)")
MEMORY = like("[1-9][0-9]{0,3}[MGT]|[1-9][0-9]?%") | st.just("infinity")
TASKS = st.integers(1, 4194304) | st.just("infinity")
COMMIT = st.sampled_from(["0123456789abcdef" * 4, NEW])
REF = like(r"[a-z_][a-z0-9._-]{0,5}(/[-._a-z0-9]{1,5}){0,2}")
IMAGE = like(r"(ostree-unverified-registry|docker|oci):[!-~]{1,8}")
LINK = like(r"[a-z][a-z0-9._-]{0,11}")
NAMED = st.builds("{}:{}".format, st.sampled_from(["bridge", "zone"]), LINK)
NETWORK_TEXT = st.sampled_from(["default", "veth", "host"]) | NAMED
VARIABLE = like(r"[A-Za-z_][A-Za-z0-9_]{0,5}")
UNIT = like(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,8}\.(service|timer|mount)")
KEY = st.builds("{} AAAA{} {}".format, st.sampled_from(["ssh-rsa", "no-pty ssh-ed25519"]), WORD, LINE)
CREDENTIAL = st.sampled_from(["tmpfiles.extra", "token"]) | WORD
SECRET_TEXT = st.just("") | TEXT.map(SECRET.__add__)
CLEAN = LINE.filter(lambda text: all(map(known, text)))

GPG_KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQGN\n-----END PGP PUBLIC KEY BLOCK-----\n"

# How every field is drawn; `of` makes a strategy of what is right for one place, and may add what is not.
FIELDS = {
    Guest: {
        "name": lambda of: of(NAME),
        "source": lambda of: of(st.sampled_from(["host", "guest"]) | COMMIT | REF | IMAGE) | parts(of),
        "sysroot": lambda of: of(st.sampled_from(["private", "shared"])),
        "isolation": lambda of: of(st.sampled_from(["private-users", "overlay", "none"])),
        "network": lambda of: of(NETWORK_TEXT) | data(GuestNetwork, of),
        "autostart": lambda of: of(st.booleans()),
        "after": lambda of: some(of(NAME)),
        "state": lambda of: of(st.sampled_from(["running", "stopped", "absent"])),
        "purge": lambda of: of(st.just(False)),
        "restart": lambda of: of(st.sampled_from(["always", "on-failure", "no"])),
        "on_change": lambda of: of(st.sampled_from(["restart", "report"])),
        "on_degraded": lambda of: of(st.sampled_from(["fail", "report"])),
        "checks": lambda of: data(Checks, of),
        "backups": lambda of: of(st.integers(1, 9)),
        "keep": lambda of: of(st.integers(0, 9)),
        "pinned": lambda of: some(of(COMMIT)),
        "snapshot": lambda of: of(st.booleans()),
        "start_timeout_seconds": lambda of: of(st.integers(1, 86400)),
        "binds": lambda of: some(data(Bind, of)),
        "devices": lambda of: st.lists(of(DEVICE), max_size=3, unique_by=first_word),
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
        "k3s": lambda of: of(st.none()),
        "adopt": lambda of: of(st.booleans()),
    },
    Source: {
        "commit": lambda of: of(COMMIT),
        "ref": lambda of: of(REF),
        "remote": lambda of: of(WORD),
        "image": lambda of: of(IMAGE),
        "guest": lambda of: of(st.booleans()),
    },
    Bind: {
        "source": lambda of: of(SOURCE_OF_BIND),
        "target": lambda of: of(PATH),
        "read_only": lambda of: of(st.booleans()),
        "idmap": lambda of: of(st.booleans()),
    },
    Checks: {
        "units": lambda of: some(of(UNIT)),
        "commands": lambda of: some(of(LINE)),
        "tcp": lambda of: some(of(st.integers(1, 65535) | like("[a-z0-9.]{1,9}:[1-9][0-9]{0,3}"))),
        "http": lambda of: some(of(like("https?://[a-z0-9.]{1,9}(:80)?/[a-z?&;$'()*+=%-]{0,9}"))),
        "timeout_seconds": lambda of: of(st.integers(0, 86400)),
        "settle_seconds": lambda of: of(st.integers(0, 86400)),
    },
    Limits: {
        "memory_max": lambda of: of(MEMORY),
        "cpu_quota": lambda of: of(like("[1-9][0-9]{0,4}%")),
        "tasks_max": lambda of: of(TASKS),
        "io_weight": lambda of: of(st.integers(1, 10000)),
        "disk_max": lambda of: of(like("[1-9][0-9]{2}[MGT]")),
    },
    File: {
        "content": lambda of: of(SECRET_TEXT),
        "mode": lambda of: of(like("[0-7]{4}")),
        "user": lambda of: of(like("[a-z_][a-z0-9_-]{0,5}|[0-9]{1,5}")),
        "group": lambda of: of(like("[a-z_][a-z0-9_-]{0,5}|[0-9]{1,5}")),
    },
    HostSettings: {
        "state": lambda of: of(st.sampled_from(["present", "absent"])),
        "layer_packages": lambda of: of(st.booleans()),
        "selinux": lambda of: of(st.sampled_from(["permissive", "enforcing", None])),
        "free_mib": lambda of: of(NUMBER),
        "starts_at_once": lambda of: of(NUMBER),
        "bridge": lambda of: st.none() | data(Bridge, of),
        "backup_key": lambda of: of(st.sampled_from(["", f"age1{'q' * 58}"])),
        "remotes": lambda of: some(data(Remote, of)),
    },
    Remote: {
        "name": lambda of: of(WORD),
        "url": lambda of: of(like("https?://[a-z0-9.:]{1,9}(/[a-z?&;$'()*+=%-]{0,9})?")),
        "gpg_keys": lambda of: some(of(st.just(GPG_KEY))),
        "ed25519_key": lambda of: of(st.just(f"{'A' * 43}=")),
        "unverified": lambda of: of(st.booleans()),
    },
    GuestNetwork: {
        "kind": lambda of: of(st.sampled_from(["default", "veth", "bridge", "zone", "host"])),
        "name": lambda of: of(LINK),
        "addresses": lambda of: some(of(st.sampled_from(["192.0.2.7/24", "2001:db8::7/64"]))),
        "gateways": lambda of: some(of(st.sampled_from(["192.0.2.1", "fe80::1"]))),
        "dns": lambda of: some(of(st.just("192.0.2.53"))),
        "mac": lambda of: of(st.sampled_from(["02:00:00:00:00:01", "52:54:00:ab:cd:ef"])),
    },
    Bridge: {
        "name": lambda of: of(LINK),
        "uplinks": lambda of: some(of(st.sampled_from(["en*", "eth0", "52:54:00:ab:cd:ef"]))),
        "dhcp": lambda of: of(st.sampled_from(["yes", "no", "ipv4", "ipv6"])),
        "addresses": lambda of: some(of(st.sampled_from(["192.0.2.7/24", "2001:db8::7/64"]))),
        "gateways": lambda of: some(of(st.sampled_from(["192.0.2.1", "fe80::1"]))),
        "dns": lambda of: some(of(st.just("192.0.2.53"))),
        "accept_ra": lambda of: of(st.none() | st.booleans()),
        "mac": lambda of: of(st.sampled_from(["uplink", "52:54:00:ab:cd:ef"])),
        "mtu": lambda of: of(st.none() | st.integers(68, 9000)),
        "reached_at": lambda of: of(st.none() | st.just("192.0.2.7")),
        "confirm_seconds": lambda of: of(st.integers(5, 600)),
        "adopt": lambda of: of(st.booleans()),
        "state": lambda of: of(st.sampled_from(["present", "absent"])),
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


# A container image is refused, see test_plans_sysroot.py; so is a bridge of a host that has none.
GUESTS = (
    INVENTORIES[Guest]
    .map(lambda drawn: read(Guest, drawn))
    .filter(lambda found: isinstance(found, Guest) and not found.source.image)
    .filter(lambda found: found.network.kind != "bridge" or found.network.name)
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


def said(text: str, **readers) -> list:
    """Return a file's sections with their assignments, each value through the reader of its key."""
    return [
        (section, [(key, readers.get(key, str)(value)) for key, value in assignments])
        for section, assignments in sections(text)
    ]


def said_to_boot(wanted: Guest, text: str) -> list:
    values = partial(unit_words, instance=wanted.name)
    command = partial(command_line, instance=wanted.name)
    readers = {
        "Description": partial(expanded, instance=wanted.name),
        **dict.fromkeys(("RequiresMountsFor", "Environment", "BindPaths"), values),
        **dict.fromkeys(("ExecStart", "ExecStartPre", "ExecStopPost"), command),
    }
    return said(text, **readers)


def said_to_limit(wanted: Guest, text: str) -> list:
    """Read 60-limits.conf; of its command only the words that follow its script."""
    return said(text, ExecStopPost=lambda value: command_line(value, wanted.name)[3:])


def to_boot(wanted: Guest, place: str) -> list:
    """Return what 50-ostree.conf has to say; `place` is where `current` and `credentials` lie."""
    directory, shared = f"/var/lib/pyinfra-nspawn/{wanted.name}", wanted.sysroot == "shared"
    network = wanted.network
    about = [("Description", f"OSTree guest {wanted.name}"), ("RequiresMountsFor", [directory])]
    service = [
        ("Environment", [f"PYINFRA_NSPAWN_DEFINITION={define(wanted).digest}"]),
        *([("Environment", [f"SYSTEMD_NSPAWN_NETWORK_MAC={network.mac}"])] if network.mac else []),
        ("BindPaths", []),
        ("BindPaths", [f"{place}/current/etc:{MOUNTS}/{wanted.name}/etc"]),
        *([("BindPaths", [f"{in_host(wanted)}/var:{MOUNTS}/{wanted.name}/var"])] if shared else []),
        ("ExecStartPre", []),
        *([("ExecStartPre", awaiting(network.name))] if network.kind == "bridge" else []),
        *([("ExecStartPre", ["+sh", "-ec", choosing(wanted, directory)])] if wanted.source.guest else []),
        *([("ExecStartPre", joining(wanted, f"{place}/current/etc"))] if wanted.limits.disk_max else []),
        ("ExecStart", []),
        ("ExecStart", [*beginning(wanted), *container(wanted, directory, place)]),
        ("ExecStopPost", []),
        ("DeviceAllow", ""),
        *(("DeviceAllow", device) for device in sorted({"/dev/net/tun rwm", "char-pts rw", *wanted.devices})),
    ]
    return [("Unit", about), ("Service", service)]


def awaiting(bridge: str) -> list[str]:
    script = (
        'for _ in $(seq 300); do [ ! -e "/sys/class/net/$1" ] || exit 0; sleep 0.1; done; '
        'echo "bridge $1 does not exist" >&2; exit 1'
    )
    return ["sh", "-ec", script, "sh", bridge]


def joining(wanted: Guest, etc: str) -> list[str]:
    kept, mounts = f"/var/lib/pyinfra-nspawn/{wanted.name}", f"{MOUNTS}/{wanted.name}"
    shared = wanted.sysroot == "shared"
    remount = 'mount -o remount,bind,rw "$path"; ' if shared else ""
    script = (
        f'project=$1; read -r _ _ most <"$2"; shift 2; for path; do {remount}'
        'set -- $(lsattr -dp "$path"); case "$1 $2" in "$project "*P*) continue;; esac; '
        'used=$(du -kxs "$path"); [ "${used%%[!0-9]*}" -lt "$most" ] || '
        '{ echo "$path takes more than the quota" >&2; continue; }; '
        'find "$path" -xdev -mindepth 1 -type f -exec chattr -p "$project" {} + && '
        'find "$path" -xdev -mindepth 1 -type d -exec chattr -p "$project" +P {} + && '
        'chattr -p "$project" +P "$path"; done'
    )
    paths = [f"{mounts}/var", f"{mounts}/etc"] if shared else [f"{kept}/ostree/deploy/{wanted.name}/var", etc]
    project = 2**30 + zlib.crc32(wanted.name.encode()) % 2**30
    seconds = str(max(wanted.start_timeout_seconds // 2, 1))
    return ["-timeout", seconds, "sh", "-c", script, "sh", str(project), f"{kept}/disk-limit", *paths]


ISOLATION = {
    "private-users": ["--read-only", "--private-users=pick", "--private-users-ownership=map"],
    "overlay": ["--volatile=overlay", "--private-users=no"],
    "none": ["--read-only", "--private-users=no"],
}
MOUNTS = "/run/pyinfra-nspawn/mounts"


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
    """Return the shell that prepares what nspawn mounts, where that takes one."""
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


def container(wanted: Guest, directory: str, place: str) -> list[str]:
    private = wanted.isolation == "private-users"
    own = f"{directory}/ostree/deploy/{wanted.name}"
    var = f"{MOUNTS}/{wanted.name}/var" if wanted.sysroot == "shared" else f"{own}/var"
    return [
        *("systemd-nspawn", "--quiet", "--keep-unit", "--boot", "--settings=no", "--notify-ready=yes"),
        *(f"--machine={wanted.name}", f"--directory={place}/current"),
        *ISOLATION[wanted.isolation],
        *(seen_by_ostree(wanted, directory) if wanted.isolation == "none" else []),
        f"--bind={MOUNTS}/{wanted.name}/etc:/etc{':idmap' if private else ''}",
        f"--bind={var}:/var{':idmap' if private else ''}",
        *(bound(bind, private=private) for bind in sorted(wanted.binds, key=mounted)),
        *(seen_device(*device.split()) for device in sorted(wanted.devices)),
        *options(wanted),
        *loaded(wanted, f"{place}/credentials"),
        *CONNECTED.get(wanted.network.kind, lambda _: ["--network-veth"])(wanted.network.name),
        *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        *sorted({f"systemd.mask={name}" for name in wanted.mask_units}),
    ]


CONNECTED = {
    "bridge": lambda name: [f"--network-bridge={name}"],
    "zone": lambda name: [f"--network-zone={name}"],
    "host": lambda _: [],
}


def mounted(bind: Bind) -> str:
    return canonical(bind.target or bind.source)


def seen_device(path: str, access: str) -> str:
    return f"--bind={path}" if "w" in access else f"--bind-ro={path}"


def bound(bind: Bind, *, private: bool) -> str:
    option = "--bind-ro" if bind.read_only else "--bind"
    return f"{option}={bind.source}:{mounted(bind)}{':idmap' if bind.idmap and private else ''}"


def options(wanted: Guest) -> list[str]:
    """Return what was a line of a .nspawn file."""
    return [
        f"--hostname={wanted.hostname or wanted.name}",
        *([f"--uuid={wanted.machine_id}"] if wanted.machine_id else []),
        *([f"--capability={','.join(sorted({*wanted.capabilities}))}"] if wanted.capabilities else []),
        *(f"--system-call-filter={call}" for call in sorted({*wanted.system_calls})),
        *(f"--setenv={name}={value}" for name, value in sorted(wanted.environment.items())),
    ]


def loaded(wanted: Guest, directory: str) -> list[str]:
    made = {"tmpfiles.extra"} if wanted.authorized_keys or wanted.files else set()
    made |= {"network.network.10-pyinfra-nspawn"} if wanted.network.addresses else set()
    return [f"--load-credential={name}:{directory}/{name}" for name in sorted({*wanted.credentials, *made})]


def to_limit(wanted: Guest) -> list:
    """Return what 60-limits.conf has to say."""
    limits = {
        "Restart": wanted.restart,
        "RestartSec": "3s",
        "TimeoutStartSec": f"{wanted.start_timeout_seconds}s",
        "MemoryMax": wanted.limits.memory_max,
        "CPUQuota": wanted.limits.cpu_quota,
        "TasksMax": wanted.limits.tasks_max,
        "IOWeight": wanted.limits.io_weight,
    }
    after = [("After", f"systemd-nspawn@{name}.service") for name in wanted.after]
    service: list = [(key, str(value)) for key, value in limits.items() if value]
    service.insert(3, ("ExecStopPost", ["sh", wanted.name]))
    return [*([("Unit", after)] if after else []), ("Service", service)]


@examples(80)
@given(wanted=GUESTS)
def test_systemd_reads_what_the_guest_says(wanted: Guest):
    made, kept = define(wanted), f"/var/lib/pyinfra-nspawn/{wanted.name}"
    boot, limits = (path.format(wanted.name) for path in (BOOTED, LIMITS))
    assert set(made.files) == {boot, limits}
    assert said_to_boot(wanted, made.files[boot]) == to_boot(wanted, kept)
    assert said_to_limit(wanted, made.files[limits]) == to_limit(wanted)
    tried = f"/run/pyinfra-nspawn/trial/{wanted.name}"
    assert said_to_boot(wanted, made.trial) == to_boot(wanted, tried)


@examples(80)
@given(wanted=GUESTS)
def test_what_systemd_shows_of_the_command_is_known_again(wanted: Guest):
    """`systemctl show` prints arguments as they are once specifiers are expanded; variables come later."""
    made = define(wanted)
    text = dict(sections(made.files[made.boot]))["Service"]
    *_, value = [value for key, value in text if key == "ExecStart"]
    shown = " ".join(unit_words(value, wanted.name))
    seen = GuestSeen(
        unit=replace(UNIT_SEEN, dropin_paths=tuple(made.files), exec_start=shown, definition=made.digest),
        files={path: FileSeen(text, "644") for path, text in made.files.items()},
        directory="700 0:0",
    )
    comparison = Comparison(wanted, Snapshot(HOST, HostSysroots(host_sysroot()), {wanted.name: seen}))
    assert not list(effective(comparison))
    other = replace(seen, unit=replace(seen.unit, exec_start=f"{shown} x"))
    comparison = Comparison(wanted, Snapshot(HOST, HostSysroots(host_sysroot()), {wanted.name: other}))
    assert [item.field for item in effective(comparison)] == ["unit.ExecStart"]


@examples(200)
@given(text=CLEAN)
def test_every_text_can_be_one_word(text: str):
    """Paths and names are narrow today; the day they are not, the templates' filters have to hold."""
    ((_, found),) = sections(
        f"[Service]\nExecStart=x --a={argument(text)} \\\n {argument(text)} b\nBindPaths={word(text)}\n"
    )
    assert command_line(found[0][1], "web") == ["x", f"--a={text}", text, "b"]
    assert unit_words(found[1][1], "web") == [text]


@examples(60)
@given(source=CLEAN, target=CLEAN, credential=CLEAN)
def test_the_unit_quotes_even_what_a_spec_would_refuse(source: str, target: str, credential: str):
    bind = Bind.model_construct(source=source, target=target, read_only=True, idmap=False)
    wanted = guest().model_copy(update={"binds": (bind,), "credentials": {credential: SecretStr("")}})
    made = define(wanted)
    kept = "/var/lib/pyinfra-nspawn/web"
    assert said_to_boot(wanted, made.files[made.boot]) == to_boot(wanted, kept)


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
    files = []
    for path, file in sorted(wanted.files.items()):
        if file.user != "root":
            files += [
                ["d", str(above), "0700" if above.name == ".ssh" else "0755", file.user, file.group]
                for above in reversed(PurePosixPath(path).parents)
                if re.fullmatch("(/var)?/home/[^/]+/.+", str(above))
            ]
        files.append(["f+~", path, file.mode, file.user, file.group, "-", file.content.get_secret_value()])
    return [*(login if keys else []), *files]


def network_file(network: GuestNetwork) -> str:
    said = {"Address": network.addresses, "Gateway": network.gateways, "DNS": network.dns}
    lines = [f"{key}={value}\n" for key, values in said.items() for value in values]
    return "".join(["[Match]\nKind=veth\nName=host0\n[Network]\n", *lines])


@examples(60)
@given(wanted=GUESTS)
def test_credentials_are_what_the_guest_says(wanted: Guest):
    expected = {name: secret.get_secret_value() for name, secret in wanted.credentials.items()}
    if wanted.network.addresses:
        expected["network.network.10-pyinfra-nspawn"] = network_file(wanted.network)
    found = dict(define(wanted).credentials)
    own, lines = (lines_of(credentials.pop("tmpfiles.extra", "")) for credentials in (expected, found))
    assert found == expected
    assert lines[: len(own)] == own
    fields = [line.split(" ") for line in lines[len(own) :]]
    assert [[*words[:6], *map(content, words[6:])] for words in fields] == written(wanted)


@examples(30)
@given(wanted=GUESTS)
def test_what_is_written_is_in_the_payload(wanted: Guest):
    made, directory = define(wanted), f"/var/lib/pyinfra-nspawn/{wanted.name}/credentials"
    assume(wanted.state != "absent")
    (found,) = (step for step in plan_of(wanted).steps if step.verb == "definition")
    lines = [line.split(" ") for line in found.payload.removesuffix("\n").split("\n")]
    assert {path: (mode, content(text)) for mode, path, text in lines} == {
        **{path: ("644", text) for path, text in made.files.items()},
        **{f"{directory}/{name}": ("600", text) for name, text in made.credentials.items()},
    }


@examples(30)
@given(wanted=GUESTS)
def test_what_is_tried_is_in_the_payload(wanted: Guest):
    made, directory = define(wanted), f"/var/lib/pyinfra-nspawn/{wanted.name}/credentials"
    assume(wanted.state == "running" and wanted.on_change == "restart")
    (found,) = (step for step in plan_of(wanted, runs_another(wanted)).steps if step.verb == "try")
    (_, trial), *lines = [line.split(" ") for line in found.payload.removesuffix("\n").split("\n")]
    assert content(trial) == made.trial
    files = [line for line in lines if line[0] != "check"]
    assert {path: content(text) for mode, path, text in files if mode == "600"} == {
        f"{directory}/{name}": text for name, text in made.credentials.items()
    }


# Commands: what the program reads in them are its arguments, and nothing more.


def runs_another(wanted: Guest) -> GuestSeen:
    """Return the guest as it runs another definition, of ours."""
    files = {path: FileSeen(f"{MANAGED}\n", "644") for path in define(wanted).files}
    current = f"ostree/deploy/{wanted.name}/deploy/{NEW}.0"
    if wanted.sysroot == "shared":
        current = f"{in_host(wanted)}/deploy/{NEW}.0"
    unit = replace(UNIT_SEEN, dropin_paths=tuple(files), definition="0" * 32)
    stateroot = in_host(wanted) if wanted.sysroot == "shared" else None
    return GuestSeen(unit, directory="700 0:0", current=current, stateroot=stateroot, files=files)


def paths_of(wanted: Guest) -> list[str]:
    return [*(bind.source for bind in wanted.binds), *(device.split()[0] for device in wanted.devices)]


def plan_of(wanted: Guest, seen: GuestSeen | None = None) -> Plan:
    """Return the plan for a guest, new or as seen, on a host that has its source and its binds."""
    source, shared = wanted.source, wanted.sysroot == "shared"
    own = Deployment(0, wanted.name, NEW, 0)
    host = host_sysroot(
        remotes={source.remote: "https://x"} if source.remote else {},
        refs={} if source.remote or not source.refspec else {source.refspec: NEW},
        commits={source.commit: "absent" if source.remote else "present"} if source.commit else {},
    )
    if seen and shared:
        host = replace(host, deployments=(*host.deployments, own), stateroots=(*host.stateroots, wanted.name))
    private = {wanted.name: Sysroot((own,), (wanted.name,))} if seen and not shared else {}
    paths = {path: path for path in paths_of(wanted)}
    guests = {wanted.name: seen} if seen else {}
    return plan_guest(wanted, Snapshot(HOST, HostSysroots(host, private, paths), guests))


def plans(wanted: Guest) -> list[Plan]:
    return [plan_of(wanted), plan_of(wanted, runs_another(wanted))]


def host_plan(settings: HostSettings) -> Plan:
    commands = (*(name for name in HOST.commands if name != "machinectl"), "rpm-ostree")
    bare = replace(HOST, commands=commands, state_version=1)
    seen = Snapshot(bare, HostSysroots(host_sysroot()), {})
    return plan_host(settings, (), seen, concerns_of(settings)[1:])


def arguments(command: StringCommand) -> list[str]:
    """Return the arguments of the program that a command carries, as a shell reads them."""
    (packed,) = re.findall(r"`echo (\S+)\|base64 -d\|gzip -dc`", command.get_raw_value())
    called = gzip.decompress(base64.b64decode(packed)).decode().removeprefix(f"{program.text()}\n")
    main, *found = shlex.split(called)
    assert main == "main"
    return found


def words(steps: tuple[Step, ...]) -> list[str]:
    """Return the words of the steps that change something, as the program has to read them."""
    found: list[str] = []
    for step in steps:
        sizes = [len(program.text().encode())] if step.program else []
        sizes += [] if step.payload is None else [len(step.payload.encode())]
        found += ["--", step.verb, step.guest or "-", *step.arguments, *map(str, sizes)]
    return found


@examples(40)
@given(wanted=GUESTS)
def test_the_program_reads_what_the_guest_says(wanted: Guest):
    for made in plans(wanted):
        assert not made.errors
        assert all(len(step.text.splitlines()) == 1 for step in made.steps)
        steps = tuple(step for step in made.steps if step.verb != "await")
        waits = tuple(step for step in made.steps if step.verb == "await")
        scope, *_ = " ".join(arguments(change(steps))).split(" -- ")
        assert arguments(change(steps)) == [*scope.split(" "), *words(steps)] if steps else True
        awaited = arguments(wait(waits))
        assert awaited[awaited.index("await") + 1 :] == [
            text for step in waits for text in (step.guest, *step.arguments)
        ]


@examples(40)
@given(wanted=GUESTS)
def test_a_payload_is_as_long_as_is_said(wanted: Guest):
    for made in plans(wanted):
        steps = tuple(step for step in made.steps if step.payload is not None)
        if not steps:
            continue
        command = change(steps)
        rest = command.connector_arguments["_stdin"].encode()
        for step in steps:
            if step.program:
                text = program.text().encode()
                assert rest.startswith(text)
                rest = rest[len(text) :]
            assert rest.startswith(step.payload.encode())
            rest = rest[len(step.payload.encode()) :]
        assert rest == b""


@examples(40)
@given(wanted=GUESTS)
def test_the_facts_are_asked_for_what_the_guest_says(wanted: Guest):
    paths = tuple(paths_of(wanted))
    commits = (wanted.source.commit,) if wanted.source.commit else ()
    command = SnapshotFacts().command(names=(wanted.name,), commits=commits, paths=paths)
    found = arguments(StringCommand(command))
    assert {f"path:{path}" for path in paths} <= set(found)
    assert found[-1] == wanted.name


@examples(30)
@given(settings=INVENTORIES[HostSettings].map(partial(read, HostSettings)))
def test_the_program_reads_what_the_host_s_settings_say(settings: HostSettings | str):
    assume(isinstance(settings, HostSettings))
    steps = host_plan(settings).steps
    if steps:
        found = arguments(change(steps))
        assert found[found.index("--") :] == words(steps)


@examples(60)
@given(wanted=GUESTS)
def test_an_argument_cannot_be_taken_for_an_option(wanted: Guest):
    for made in plans(wanted):
        assert not [text for step in made.steps for text in step.arguments if text.startswith("-")]


@examples(40)
@given(wanted=GUESTS)
def test_secrets_are_shown_nowhere(wanted: Guest):
    made = plans(wanted)
    shown = [repr(wanted), str(wanted), str(wanted.to_json()), repr(define(wanted))]
    shown += [*define(wanted).files.values(), define(wanted).trial]
    for plan in made:
        shown += [str(plan.findings), *map(str, plan.findings), *map(str, plan.diffs)]
        shown += [text for step in plan.steps for text in (step.text, *step.arguments, str(step.diffs))]
        steps = tuple(step for step in plan.steps if step.verb != "await")
        if steps:
            command = change(steps)
            shown += [*arguments(command), str(command), repr(command), command.get_raw_value()]
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
    ("text", "expected"),
    [
        ("", []),
        ("a  b\tc", ["a", "b", "c"]),
        ("a'b c'd\"e\"", ["ab cde"]),
        ("'' \"\"", ["", ""]),
        ("'\"' \"'\"", ['"', "'"]),
        ("é\u00a0\u2028語", ["é\u00a0\u2028語"]),
        (r"a\\b 'c\\'", [r"a\b", "c\\"]),
        (r"\x41\101\u0041\sb\t \"", ["AAA b\t", '"']),
        ("%%i %i", ["%i", "web"]),
    ],
)
def test_words_are_read(text: str, expected: list[str]):
    assert unit_words(text, "web") == expected


@pytest.mark.parametrize("text", ["'a", r"\q", "a\\", "%n", "%"])
def test_what_is_no_list_of_words(text: str):
    with pytest.raises(ValueError):  # noqa: PT011
        unit_words(text, "web")


@pytest.mark.parametrize("text", ["a $b", "a ${b}", "a $", "a ; b", "a ';' ;", "%%%"])
def test_what_would_run_as_something_else(text: str):
    with pytest.raises(ValueError):  # noqa: PT011
        command_line(text, "web")


def test_a_command_line_is_read():
    assert command_line("a $$b '$$$$' 'c ; d' e;f \";\"", "web") == ["a", "$b", "$$", "c ; d", "e;f", ";"]
