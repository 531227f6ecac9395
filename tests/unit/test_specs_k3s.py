"""A guest that is ready for k3s: what that comes to, and what is refused."""

import pytest
import yaml

from pyinfra_nspawn.specs import Guest, K3s
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.inventory import guests_from
from pyinfra_nspawn.specs.k3s import CONFIG, PREPARE, PROFILE, SERVICE
from pyinfra_nspawn.specs.k3s_guest import node_files

DIGEST = "0" * 64
PLACED = {"binary": {"path": "k3s", "sha256": DIGEST}}


def wanted(**fields: object) -> Guest:
    (found,) = guests_from({"guests": [{"name": "web", "k3s": True, **fields}]}, "lab1")
    return found


def refusal(**fields: object) -> str:
    with pytest.raises(InvalidSpecError) as refused:
        wanted(**fields)
    return str(refused.value)


def config_of(guest: Guest) -> dict[str, object]:
    return yaml.safe_load(guest.files[CONFIG].content.get_secret_value())


def test_it_has_what_k3s_needs():
    found = wanted()
    assert found.isolation == "overlay"
    assert found.capabilities == ("all",)
    assert set(found.system_calls) == {"@keyring", "bpf", "perf_event_open", "~open_by_handle_at"}
    assert found.devices == ("/dev/kmsg r",)
    assert {(bind.source, bind.read_only) for bind in found.binds} == {
        ("/sys/module", True),
        ("/usr/lib/modules", True),
    }
    assert found.limits.tasks_max == "infinity"
    assert found.files[CONFIG].mode == "0600"
    assert config_of(found) == {"kube-proxy-arg": ["conntrack-max-per-core=0"]}


def test_what_it_is_given_besides_stays():
    found = wanted(
        binds=[{"source": "/srv/images", "target": "/var/images"}],
        devices=["/dev/fuse rw", "/dev/kmsg rw"],
        limits={"memory_max": "2G", "tasks_max": 5000},
        system_calls=["@mount"],
        files={"/etc/motd": "hello"},
    )
    assert "/srv/images" in {bind.source for bind in found.binds}
    assert set(found.devices) == {"/dev/fuse rw", "/dev/kmsg r"}
    assert (found.limits.memory_max, found.limits.tasks_max) == ("2G", 5000)
    assert "@mount" in found.system_calls
    assert set(found.files) == {"/etc/motd", CONFIG}


def test_an_argument_alone_is_added_to_ours():
    found = config_of(wanted(k3s={"config": {"kube-proxy-arg": "v=2"}}))
    assert found == {"kube-proxy-arg": ["conntrack-max-per-core=0", "v=2"]}


def test_its_configuration_is_yaml():
    said = {
        "node_name": "a.example",
        "node_labels": ["zone=eu", "example.com/disk=ssd"],
        "tls_names": ["k3s.example", "2001:db8::1"],
        "config": {
            "disable": ["traefik"],
            "kube-proxy-arg": ["v=2"],
            "write-kubeconfig-mode": "0600",
            "debug": True,
        },
    }
    assert config_of(wanted(k3s=said)) == {
        "node-name": "a.example",
        "node-label": ["zone=eu", "example.com/disk=ssd"],
        "tls-san": ["k3s.example", "2001:db8::1"],
        "disable": ["traefik"],
        "kube-proxy-arg": ["conntrack-max-per-core=0", "v=2"],
        "write-kubeconfig-mode": "0600",
        "debug": True,
    }


@pytest.mark.parametrize("text", ["a: b", "- x", "#", "'", '"', "é", "{", "yes", "0x1", "\ufeff"])
def test_any_text_is_kept(text):
    assert yaml.safe_load(K3s(config={"x": text}).to_yaml())["x"] == text


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"isolation": "private-users"}, "k3s: needs isolation 'overlay'"),
        ({"isolation": "none"}, "k3s: needs isolation 'overlay'"),
        ({"files": {CONFIG: "x"}}, f"files: {CONFIG} is made of `k3s`"),
        ({"k3s": {"config": {"token": "secret"}}}, "token is a secret; write it in `files`"),
        ({"k3s": {"config": {"datastore-endpoint": "x"}}}, "datastore-endpoint is a secret"),
        (
            {"binds": [{"source": "/etc", "target": "/var/x", "read_only": False}]},
            "gives guest root what is the host's own",
        ),
        ({"k3s": {"node_labels": ["zone"]}}, "must be like KEY=VALUE"),
        ({"k3s": {"node_name": "A_B"}}, "must be a DNS name"),
        ({"k3s": {"nod_name": "a"}}, "k3s.nod_name: no such field"),
        ({"k3s": False}, "k3s: "),
        ({"k3s": {"token": "secret"}}, "token: needs `binary`"),
        ({"k3s": {"role": "agent"}}, "role: needs `binary`"),
        ({"k3s": {"binary": {"sha256": DIGEST}}}, "needs either `path` or `url`"),
        ({"k3s": {"binary": {"path": "k", "url": "https://x/k", "sha256": DIGEST}}}, "needs either `path`"),
        ({"k3s": {"binary": {"path": "k", "sha256": "0"}}}, "must be a sha256"),
        ({"k3s": {"binary": {"url": "file:///etc/shadow", "sha256": DIGEST}}}, "must be a URL that begins"),
        (
            {"k3s": {"binary": {"url": 'https://x/"\\n', "sha256": DIGEST}}},
            "must be ASCII without spaces",
        ),
        ({"k3s": {**PLACED, "token": "a secret"}}, "token: must be one word"),
        ({"k3s": {**PLACED, "config": {"server": "x"}}}, "server: use the field server"),
        ({"k3s": {**PLACED, "config": {"with-node-id": True}}}, "use the field node_name"),
        ({"k3s": {**PLACED, "config": {"data-dir": "/x"}}}, "data-dir: cannot be changed"),
        ({"k3s": {**PLACED, "role": "agent", "tls_names": ["x"]}}, "are only for servers"),
        ({"k3s": {**PLACED, "images": [{"path": "a.iso", "sha256": DIGEST}]}}, "is no name of an archive"),
        (
            {"k3s": {**PLACED, "images": [{"path": p, "sha256": DIGEST} for p in ("a.tar", "b/a.tar")]}},
            "more than one",
        ),
        ({"k3s": PLACED, "files": {SERVICE: "x"}}, f"files: {SERVICE} is made of `k3s`"),
    ],
)
def test_what_cannot_be_is_refused(fields, problem):
    words = refusal(**fields)
    assert problem in words
    assert "secret" not in words.replace("is a secret", "")


def test_a_binary_brings_its_service_and_its_way_into_the_path():
    found = wanted(k3s={**PLACED, "images": [{"url": "https://x/y/images.tar.zst", "sha256": "1" * 64}]})
    assert set(node_files(found.k3s)) == {CONFIG, SERVICE, PREPARE, PROFILE}
    assert found.files == {}, "they would take a restart of the guest"
    assert {path: item.sha256 for path, item in found.k3s.artifacts.items()} == {
        "k3s": DIGEST,
        "images/images.tar.zst": "1" * 64,
    }
    assert set(wanted().files) == {CONFIG}
