"""A guest that was made by hand, as the article has it, is refused; and taken over when the run says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import BOTH, DEPLOYS, deploy, pyinfra, succeed
from tests.lab.guest import inside

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

UNIT = "systemd-nspawn@guest.service"
DROPINS = f"/etc/systemd/system/{UNIT}.d"
# To the letter: 10-service.conf and 10-flags.conf.
SERVICE = r"""
[Service]
ExecStart=
Environment=SYSTEMD_NSPAWN_LOCK=0
ExecStart=/bin/sh -xc ' \
        deployment=`ostree admin status | sed -ne \'s/. %i \\(\\S*\\)\\( .*\\)*$/\\1/; T; p; q\'`; \
        exec /usr/bin/systemd-nspawn --quiet --keep-unit --boot --link-journal=try-guest --network-veth \
        --settings=override --machine=%i \
        --directory=/sysroot \
        --bind /boot:/boot \
        --bind +/sysroot/ostree/deploy/%i/var:/var \
        --pivot-root /ostree/deploy/%i/deploy/$deployment:/sysroot \
        $SYSTEMD_NSPAWN_FLAGS \
        '
RestartForceExitStatus=
Restart=always
RestartSec=3s
"""
FLAGS = """
[Service]
Environment=SYSTEMD_NSPAWN_FLAGS=--network-bridge=br0
"""
BY_HAND = f"""
ostree admin os-init guest
ostree admin deploy --not-as-default --os=guest REF
mkdir -p {DROPINS}
cat >{DROPINS}/10-service.conf <<'EOF'
{SERVICE}
EOF
cat >{DROPINS}/10-flags.conf <<'EOF'
{FLAGS}
EOF
"""
BRIDGE = "ip link add br0 type bridge && ip link set br0 up"
START = f"systemctl daemon-reload; systemctl enable --now {UNIT}"
KEEP = "echo kept >/etc/kept; echo kept >/var/kept; chown 1000:1000 /var/kept"
KEPT = "cat /etc/kept; stat -c '%n %u:%g' /etc/kept /var/kept"
GUEST: dict[str, Any] = {"name": "guest", "sysroot": "shared", "isolation": "none"}
STARTED = f"systemctl show {UNIT} -p ExecMainStartTimestampMonotonic -p MainPID"
FILES = f"cd {DROPINS} && sha256sum *; ls -A /etc/systemd/nspawn /var/lib/pyinfra-nspawn 2>&1 || :"


@pytest.fixture(scope="module")
def article(fresh: dict[str, Host]) -> Host:
    """lab1, whose /sysroot is writable, with the article's guest running."""
    host = fresh["lab1"]
    host.succeed(BRIDGE)
    host.succeed(BY_HAND.replace("REF", host.spec.generation.ref))
    host.succeed(START)
    host.wait_until_succeeds("systemctl -M guest is-system-running")
    inside(host, "guest", KEEP)
    # A fallback beside what runs, which the article's drop-in would boot next or not, by position.
    host.succeed(f"ostree admin deploy --os=guest --not-as-default --retain {host.spec.generation.next_ref}")
    return host


def test_it_is_refused_and_named(fresh: dict[str, Host], article: Host):
    before = article.succeed(STARTED), article.succeed(FILES)
    outcome = deploy("-y", guests=[GUEST])
    assert outcome.code == 1
    said = "\n".join(outcome.lines("lab1"))
    for file in ("10-flags.conf", "10-service.conf"):
        assert f"guest: {DROPINS}/{file} is a foreign drop-in" in said
    stateroot = "the host's /ostree has a stateroot guest that is not ours"
    assert f"guest: {stateroot}. Adopt it with `--data adopt=guest`" in said
    assert "Environment=SYSTEMD_NSPAWN_FLAGS=--network-bridge=br0" in said
    assert (article.succeed(STARTED), article.succeed(FILES)) == before
    assert fresh["lab2"].succeed("systemctl -M guest is-system-running") == "running\n"


def test_a_dry_run_tells_what_it_would_take_over(article: Host):
    before = article.succeed(STARTED), article.succeed(FILES)
    outcome = deploy("--dry", "--json", guests=[GUEST], adopt="guest")
    assert outcome.code == 0, outcome.stderr
    said = "\n".join(outcome.lines("lab1"))
    assert "adopt guest guest, its stateroot in the host's /ostree" in said
    assert f"move {DROPINS}/10-service.conf aside" in said
    planned = {item["name"]: item["hosts_with_change"] for item in outcome.json["plan"]}
    assert planned["Guests | Each guest"] == ["lab1"]
    assert not any(line.startswith(("make ", "deploy ", "pull ")) for line in outcome.lines("lab1"))
    assert any(line.startswith("try the changed definition") for line in outcome.lines("lab1")) or (
        "start guest guest" in said or "restart guest guest" in said
    )
    assert (article.succeed(STARTED), article.succeed(FILES)) == before


def test_adopted_it_keeps_its_deployment_etc_and_var(fresh: dict[str, Host], article: Host):
    deployments = article.succeed("ostree admin status")
    outcome = succeed(guests=[GUEST], adopt="guest")
    assert outcome.hosts("success")["Guests | Each guest"] == ["lab1"]
    assert article.succeed("ostree admin status") == deployments
    assert inside(article, "guest", "cat /usr/lib/lab-release") == f"{article.spec.generation.major}.1\n"
    assert inside(article, "guest", KEPT) == "kept\n/etc/kept 0:0\n/var/kept 1000:1000\n"
    assert article.succeed("systemctl -M guest is-system-running") == "running\n"
    assert article.succeed(f"cat {DROPINS}/10-flags.conf.before-pyinfra-nspawn") == f"{FLAGS}\n"
    article.fail(f"test -e {DROPINS}/10-service.conf || test -e {DROPINS}/10-flags.conf")
    for data in ({}, {"adopt": "guest"}):
        assert succeed(guests=[GUEST], **data).json["results"]["totals"]["success"] == 0
    assert fresh["lab2"].succeed("systemctl -M guest is-system-running") == "running\n"


OTHER = "systemd-nspawn@other.service.d"
DROPINS_OF_OTHER = [f"/etc/systemd/system/{OTHER}/a.conf", f"/run/systemd/system/{OTHER}/99-z.conf"]
MAKE_OTHER = f"""
ostree admin os-init other
ostree admin deploy --not-as-default --retain --os=other REF
for path in {" ".join(DROPINS_OF_OTHER)}; do
    mkdir -p "${{path%/*}}"
    printf '[Service]\\nNice=5\\n' >$path
done
mkdir -p /etc/systemd/nspawn
echo '[Exec]' >/etc/systemd/nspawn/other.nspawn
systemctl daemon-reload
"""


def test_a_drop_in_of_somebody_else_is_taken_from_a_guest_of_ours(fresh: dict[str, Host], article: Host):
    path = f"{DROPINS}/override.conf"
    article.succeed(f"printf '[Service]\\nNice=5\\n' >{path}")
    refused = pyinfra("--limit", "lab1", "-y", *DEPLOYS, guests=[GUEST])
    assert any(f"{path} is a foreign drop-in" in line for line in refused.lines("lab1"))
    succeed("-y", "--limit", "lab1", guests=[GUEST], adopt="guest")
    article.succeed(f"test -e {path}.before-pyinfra-nspawn")
    assert succeed(guests=[GUEST]).json["results"]["totals"]["success"] == 0
    assert fresh["lab2"].succeed("systemctl -M guest is-system-running") == "running\n"


def test_one_with_other_drop_ins_goes_into_a_sysroot_of_its_own(fresh: dict[str, Host]):
    """It does not run; it has drop-ins in two places, and a .nspawn file; lab2's /sysroot is read-only."""
    wanted = {"name": "other"}
    for host in fresh.values():
        host.succeed(MAKE_OTHER.replace("REF", host.spec.generation.ref))
    refused = deploy("-y", guests=[wanted])
    assert refused.code == 1
    for name in BOTH:
        said = "\n".join(refused.lines(name))
        for path in (*DROPINS_OF_OTHER, "/etc/systemd/nspawn/other.nspawn"):
            assert f"other: {path} is" in said
    succeed(guests=[wanted], adopt=["other"])
    for host in fresh.values():
        assert host.succeed("systemctl -M other is-system-running") == "running\n"
        assert "other" not in host.succeed("ostree admin status; ls /sysroot/ostree/deploy").split()
        for path in DROPINS_OF_OTHER:
            host.succeed(f"test -e {path}.before-pyinfra-nspawn")
        assert host.succeed("systemctl show systemd-nspawn@other -p Nice --value") == "0\n"
    assert succeed(guests=[wanted]).json["results"]["totals"]["success"] == 0


def test_what_cannot_be_adopted_is_refused(fresh: dict[str, Host]):
    fresh["lab1"].succeed("ostree admin os-init empty")
    for guest, sentence in (
        ("host", "the host itself was booted from stateroot host. Give the guest another name."),
        ("empty", "the host's /ostree has no deployment of a stateroot empty to adopt"),
    ):
        outcome = pyinfra("--limit", "lab1", "-y", *DEPLOYS, guests=[{"name": guest}], adopt=guest)
        assert outcome.code == 1
        assert any(sentence in line for line in outcome.lines("lab1")), outcome.stderr
        fresh["lab1"].fail(f"test -e /var/lib/pyinfra-nspawn/{guest}")
