"""`pyinfra-nspawn kubeconfig`: what is taken of a guest's answer, and how it is written."""

from __future__ import annotations

import base64
import os
import stat
from contextlib import contextmanager

import gevent
import pytest
import yaml
from click.testing import CliRunner
from pyinfra.api.exceptions import ConnectError

from pyinfra_nspawn.cli import main
from pyinfra_nspawn.cli.kubeconfig import MOST_BYTES, Credentials, credentials_in, kubeconfig, merged

AUTHORITY, CERTIFICATE, KEY = (base64.b64encode(text).decode() for text in (b"authority", b"mine", b"s3cret"))
FOUND = Credentials(AUTHORITY, CERTIFICATE, KEY)
URL = "https://192.0.2.10:6443"
REFUSAL = "Error: first on lab1 gave no kubeconfig of k3s. If k3s is still starting, run again.\n"


def said(cluster: dict | None = None, user: dict | None = None, **more) -> bytes:
    """Return what k3s writes, but for what is given."""
    in_cluster = {"certificate-authority-data": AUTHORITY, "server": "https://127.0.0.1:6443"}
    in_user = {"client-certificate-data": CERTIFICATE, "client-key-data": KEY}
    config = {
        "apiVersion": "v1",
        "clusters": [{"cluster": {**in_cluster, **(cluster or {})}, "name": "default"}],
        "contexts": [{"context": {"cluster": "default", "user": "default"}, "name": "default"}],
        "current-context": "default",
        "kind": "Config",
        "preferences": {},
        "users": [{"name": "default", "user": {**in_user, **(user or {})}}],
    }
    return yaml.safe_dump({**config, **more}).encode()


HOSTILE = {
    "nothing": b"",
    "text": b"k3s is starting\n",
    "list": b"[]",
    "binary": b"\xff\xfe\x00",
    "no UTF-8": said() + b"# \xff",
    "unfinished": said()[:-40] + b"'",
    "two documents": said() + b"---\n" + said(),
    "deep": b"[" * 60000,
    "deep mappings": b"{a: " * 12000,
    "merge bomb": "\n".join(
        ["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30))]
    ).encode(),
    "itself": b"&a [*a]",
    "tag": b'!!int ""',
    "object": b"!!python/object/apply:os.system [touch /tmp/x]",
    "no clusters": said(clusters=[]),
    "no users": said(users=None),
    "no authority": said(clusters=[{"name": "default", "cluster": {}}]),
    "a list as key": said(user={"client-key-data": [KEY]}),
    "no base64": said(user={"client-key-data": "s3cret!"}),
    "two lines": said(user={"client-key-data": f"{KEY}\n{KEY}"}),
    "empty": said({"certificate-authority-data": ""}),
    "no ASCII": said({"certificate-authority-data": "YQ=\u00e9"}),
    "a path": said(user={"client-certificate-data": "/etc/passwd.pem"}),
}


def test_three_strings_are_taken():
    assert credentials_in(said()) == FOUND
    assert KEY not in repr(FOUND)


@pytest.mark.parametrize("name", HOSTILE)
def test_another_answer_is_refused(name):
    assert credentials_in(HOSTILE[name]) is None


def test_nothing_that_kubectl_would_run_or_ask_is_taken():
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", "id"]}
    answer = said(
        {"proxy-url": "http://evil", "insecure-skip-tls-verify": True, "server": "https://evil"},
        {
            "exec": plugin,
            "auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}},
            "tokenFile": "/x",
        },
        extensions=[{"name": "x", "extension": {}}],
    )
    found = credentials_in(answer)
    assert found == FOUND
    assert yaml.safe_load(kubeconfig("default", URL, found)) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "default", "cluster": {"server": URL, "certificate-authority-data": AUTHORITY}}
        ],
        "users": [
            {"name": "default", "user": {"client-certificate-data": CERTIFICATE, "client-key-data": KEY}}
        ],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
    }


def test_a_cluster_may_have_a_name_that_yaml_takes_for_another_value():
    config = yaml.safe_load(kubeconfig("true", URL, FOUND))
    assert (config["current-context"], config["clusters"][0]["name"]) == ("true", "true")


OTHERS = """\
# mine
apiVersion: v1
kind: Config
preferences: {colors: on}
clusters:
- name: default
  cluster: {server: "https://old:6443", insecure-skip-tls-verify: true}
- cluster:
    server: https://work.example.org
  name: work
users:
- name: work
  user:
    auth-provider:
      config: {expiry: 2024-01-01T00:00:00Z, port: 010, note: a text of more than eighty letters so that it is more than one line would hold}
- name: default
  user: {token: old}
contexts:
- name: work
  context: {cluster: work, user: work, namespace: "5"}
current-context: work
created: 2024-01-01T00:00:00Z
x-other: [1, 2.50, ~]
"""  # noqa: E501


def written(text: str) -> object:
    """Return each value as it is written."""
    return yaml.load(text, Loader=yaml.BaseLoader)


def test_merging_replaces_the_same_names_and_keeps_all_else_as_it_is_written():
    old, new = written(OTHERS), written(kubeconfig("default", URL, FOUND))
    text = merged(OTHERS.encode(), kubeconfig("default", URL, FOUND))
    assert written(text) == {
        **old,
        "clusters": [old["clusters"][1], *new["clusters"]],
        "users": [old["users"][0], *new["users"]],
        "contexts": [old["contexts"][0], *new["contexts"]],
    }
    for plain in (
        "colors: on",
        "port: 010",
        "[1, 2.50, ~]",
        'namespace: "5"',
        "created: 2024-01-01T00:00:00Z",
    ):
        assert plain in text
    assert "!!" not in text


def test_merging_again_changes_nothing():
    new = kubeconfig("default", URL, FOUND)
    once = merged(OTHERS.encode(), new)
    assert merged(once.encode(), new) == once


@pytest.mark.parametrize("context", ["", "current-context: ''", "current-context:", 'current-context: ""'])
def test_the_context_becomes_current_where_none_is(context):
    old = f"kind: Config\nclusters: []\nusers: null\n{context}\n"
    assert yaml.safe_load(merged(old.encode(), kubeconfig("east", URL, FOUND))) == {
        **yaml.safe_load(kubeconfig("east", URL, FOUND))
    }


def test_a_kubeconfig_in_json_can_be_merged_into():
    old = b'{"kind": "Config", "clusters": [{"name": "work", "cluster": {}}], "users": [], "contexts": []}'
    config = yaml.safe_load(merged(old, kubeconfig("default", URL, FOUND)))
    assert [item["name"] for item in config["clusters"]] == ["work", "default"]


NO_KUBECONFIG = [
    b"",
    b"text",
    b"[]",
    b"kind: Pod",
    b"clusters: []",
    b"kind: [Config]",
    b"kind: Config\nclusters: {}",
    b"kind: Config\nusers: [x]",
    b"kind: Config\nusers: x",
    b"kind: Config\n---\nkind: Config",
    b"kind: 'Config",
    b"kind: Config\nx: \xff",
    b"[" * 5000,
]


@pytest.mark.parametrize("old", NO_KUBECONFIG)
def test_what_is_no_kubeconfig_is_not_merged_into(old):
    assert merged(old, kubeconfig("default", URL, FOUND)) is None


# The command.


class Guest:
    """A guest that answers to one command, and counts who asks."""

    def __init__(self) -> None:
        self.answer, self.errors, self.code = said(), b"", 0
        self.error: Exception | None = None
        self.hangs = False
        self.asked: list[tuple[str, str]] = []
        self.texts: list[str] = []

    @contextmanager
    def connected(self, loaded, host, guest):
        assert host in [item.name.removeprefix("@ssh/") for item in loaded.hosts]
        self.asked.append((host, guest))
        if self.error:
            raise self.error
        yield self

    @contextmanager
    def session(self, text, stdin):
        assert not list(stdin)
        self.texts.append(text)
        self.rest = self.answer
        yield self

    def recv(self, count):
        if self.hangs:
            gevent.sleep(60)
        chunk, self.rest = self.rest[: min(count, 1000)], self.rest[min(count, 1000) :]
        return chunk

    def recv_stderr(self, _count):
        chunk, self.errors = self.errors, b""
        return chunk

    def recv_exit_status(self):
        return self.code


@pytest.fixture
def guest(monkeypatch):
    found = Guest()
    monkeypatch.setattr(main, "connected", found.connected)
    return found


BINARY = {"path": "k3s", "sha256": "0" * 64}


def node(name: str, address: str | None = "192.0.2.10/24", *, state: str = "running", **k3s) -> dict:
    network = {"kind": "bridge", "name": "br0", "addresses": [address], "gateways": []} if address else "host"
    return {
        "name": name,
        "state": state,
        "network": network,
        "k3s": {"binary": BINARY, "token": "t0ken", **k3s},
    }


FLEET = {
    "lab0": [node("agent", role="agent"), node("off", state="stopped"), {"name": "plain"}],
    "lab1": [node("first", "192.0.2.10/24")],
    "lab2": [node("second", "192.0.2.11/24"), node("lone", None, cluster="lone")],
    "lab3": [node("six", "2001:db8::10/64", cluster="six"), node("gone", cluster="gone", state="stopped")],
}


@pytest.fixture
def run(tmp_path, guest):  # noqa: ARG001 - no host is reached
    path = tmp_path / "fleet.py"
    path.write_text(f"hosts = {[(host, {'guests': guests}) for host, guests in FLEET.items()]!r}\n")

    def run(*words, **more):
        return CliRunner().invoke(main.cli, ["kubeconfig", str(path), *map(str, words)], **more)

    return run


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_written_for_its_owner_alone(run, guest, tmp_path):
    (tmp_path / "new").mkdir()
    file = tmp_path / "new/kube config"
    outcome = run(file)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == f"wrote {file}. Next:\n    kubectl --kubeconfig '{file}' get nodes\n"
    assert file.read_text() == kubeconfig("default", URL, FOUND)
    assert mode(file) == 0o600
    assert list(file.parent.iterdir()) == [file]
    assert guest.asked == [("lab1", "first")]
    assert guest.texts == ["exec cat /etc/rancher/k3s/k3s.yaml </dev/null"]


def test_a_dash_prints_it(run):
    outcome = run("-")
    assert (outcome.exit_code, outcome.stdout) == (0, kubeconfig("default", URL, FOUND))


def test_a_server_outside_the_limit_is_asked(run, guest):
    assert run("-", "--limit", "lab2").exit_code == 0
    assert guest.asked == [("lab1", "first")]


def test_the_server_may_be_given(run):
    outcome = run("-", "--server", "https://k3s.example.org")
    assert outcome.stdout == kubeconfig("default", "https://k3s.example.org", FOUND)
    assert run("-", "--server", "http://k3s.example.org").exit_code == 2


def test_an_address_of_ipv6_has_brackets(run, guest):
    assert run("-", "--cluster", "six").stdout == kubeconfig("six", "https://[2001:db8::10]:6443", FOUND)
    assert guest.asked == [("lab3", "six")]


def test_a_server_without_an_address_needs_one_given(run, guest):
    outcome = run("-", "--cluster", "lone")
    assert (outcome.exit_code, guest.asked) == (1, [])
    assert outcome.stderr == ("Error: lone on lab2 has no static address: give the URL, with `--server`\n")
    assert run("-", "--cluster", "lone", "--server", URL).stdout == kubeconfig("lone", URL, FOUND)


@pytest.mark.parametrize("name", ["west", "gone"])
def test_a_cluster_without_a_server_is_refused_with_those_that_have_one(run, guest, name):
    outcome = run("-", "--cluster", name)
    assert (outcome.exit_code, outcome.stdout, guest.asked) == (1, "", [])
    assert outcome.stderr == (
        f"Error: cluster {name} has no running server. Clusters with one: default, lone, six\n"
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_of_another_kind_ends_in_one_line(run, guest, tmp_path, name):
    guest.answer = HOSTILE[name]
    file = tmp_path / "kubeconfig"
    outcome = run(file)
    assert (outcome.exit_code, outcome.output, file.exists()) == (1, REFUSAL, False)


def test_an_answer_is_taken_only_where_the_command_succeeds(run, guest):
    guest.code, guest.errors = 1, b"\x1b[31mcat: s3cret"
    outcome = run("-")
    assert (outcome.exit_code, outcome.output) == (1, REFUSAL)


@pytest.mark.parametrize(("more", "code"), [(0, 0), (1, 1)])
def test_an_answer_has_a_bound(run, guest, more, code):
    guest.answer += b"#" * (MOST_BYTES + more - len(guest.answer))
    assert run("-").exit_code == code


def test_an_answer_without_an_end_is_not_read_to_it(run, guest):
    guest.recv = lambda _count: b"#" * 1000
    assert run("-").output == REFUSAL


def test_a_guest_that_does_not_answer_is_given_up(run, guest):
    guest.hangs = True
    assert run("-", "--timeout", "1").output == REFUSAL


def test_a_guest_that_is_not_reached_ends_in_one_line(run, guest):
    guest.error = ConnectError("guest first is not running")
    assert run("-").output == "Error: guest first is not running\n"


def test_an_existing_file_is_left_as_it_is(run, guest, tmp_path):
    file = tmp_path / "config"
    file.write_text(OTHERS)
    outcome = run(file)
    assert outcome.output == f"Error: {file} exists: name another file, or give --merge\n"
    assert (outcome.exit_code, file.read_text(), guest.asked) == (1, OTHERS, [])


def test_merging_into_a_file(run, tmp_path):
    folder = tmp_path / "kube"
    folder.mkdir()
    file = folder / "config"
    file.write_text(OTHERS)
    file.chmod(0o644)
    assert run(file, "--merge", "--cluster", "six").exit_code == 0
    config = yaml.safe_load(file.read_text())
    assert [item["name"] for item in config["clusters"]] == ["default", "work", "six"]
    assert config["current-context"] == "work"
    assert mode(file) == 0o600
    assert list(folder.iterdir()) == [file]


def test_merging_into_no_file_makes_one(run, tmp_path):
    file = tmp_path / "config"
    assert run(file, "--merge").exit_code == 0
    assert (file.read_text(), mode(file)) == (kubeconfig("default", URL, FOUND), 0o600)


@pytest.mark.parametrize("old", NO_KUBECONFIG)
def test_merging_leaves_another_file_as_it_is(run, tmp_path, old):
    file = tmp_path / "config"
    file.write_bytes(old)
    file.chmod(0o644)
    outcome = run(file, "--merge")
    assert (outcome.exit_code, outcome.output) == (1, f"Error: {file} is no kubeconfig: name another file\n")
    assert (file.read_bytes(), mode(file)) == (old, 0o644)


@pytest.mark.parametrize("exists", [True, False])
def test_a_symlink_stays_and_its_target_is_written(run, tmp_path, exists):
    target, link = tmp_path / "real/config", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to("real/config")
    if exists:
        target.write_text(OTHERS)
        assert run(link).exit_code == 1
    assert run(link, *(["--merge"] if exists else [])).exit_code == 0
    assert os.readlink(link) == "real/config"
    assert "192.0.2.10" in target.read_text()
    assert (mode(target), list(target.parent.iterdir())) == (0o600, [target])


def test_a_file_that_cannot_be_written_ends_in_one_line(run, tmp_path):
    file = tmp_path / "none/config"
    assert run(file).output == f"Error: {file}: No such file or directory\n"


def test_a_write_that_fails_leaves_nothing(run, tmp_path, monkeypatch):
    def fail(_file):
        raise OSError(28, "No space left on device")

    folder = tmp_path / "kube"
    folder.mkdir()
    (folder / "config").write_text(OTHERS)
    monkeypatch.setattr(os, "fsync", fail)
    outcome = run(folder / "config", "--merge")
    assert outcome.output == f"Error: {folder / 'config'}: No space left on device\n"
    assert [path.read_text() for path in folder.iterdir()] == [OTHERS]


def test_merging_needs_a_file(run, guest):
    outcome = run("-", "--merge")
    assert (outcome.exit_code, guest.asked) == (2, [])
    assert "`--merge` needs a file" in outcome.stderr


def test_a_file_is_where_the_user_is_and_not_where_pyinfra_goes(run, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("config", "--chdir", "elsewhere").exit_code == 0
    assert (tmp_path / "config").exists()
