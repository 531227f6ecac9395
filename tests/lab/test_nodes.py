"""Two guests on two hosts become nodes of a cluster, are upgraded one by one, and leave it.

k3s is a stand-in (k3s_stand_in.py), and the lab's kernel is not ready for k3s: containers, pods and the
cluster itself are not proven here. Files, services, turns, tokens and what is asked of a cluster are real.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.lab import lan
from tests.lab.command_lines import command_lines
from tests.lab.conftest import Outcome, pyinfra, remote_commands
from tests.lab.guest import inside
from tests.lab.k3s_stand_in import built, sha256_of
from tests.lab.paths import FILES, SSH_CONFIG
from tests.lab.script import findings, script
from tests.lab.shell import retry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab import Host
    from tests.lab.lan import Lan

OLD, NEW = "v1.30.1+k3s1", "v1.31.0+k3s1"
TOKEN = "a-token-that-nobody-sees"
EVENTS = "/var/lib/rancher/k3s/server/events"
UNEXPECTED = "/var/lib/rancher/k3s/unexpected"
DEPLOY = str(FILES / "k3s_nodes.py")
KUBECTL = "/usr/lib/k3s/k3s kubectl"
WHERE = {"first": "lab1", "agent": "lab2"}
#: Free in the lab's network, beside lan.STATIC.
SECOND = str(ip_address(lan.STATIC) + 1)

pytestmark = pytest.mark.timeout(600)


@dataclass
class Cluster:
    """The cluster that an inventory describes, as tests change it.

    + binary: of k3s
    + fields: of the guests' `k3s`, by the guest's name
    + states: of the guests, by name
    """

    hosts: dict[str, Host]
    inventory: Path
    binary: Path
    fields: dict[str, dict[str, Any]]
    states: dict[str, str]
    order: tuple[str, ...] = ("lab1", "lab2")

    def run(self, *options: str, deploy: str = DEPLOY, kill_after: int = 0) -> Outcome:
        self.inventory.write_text(f"lab = {self._hosts()!r}\n")
        words = options or ("-y", "--json")
        return pyinfra(*words, deploy, inventory=str(self.inventory), kill_after=kill_after)

    def succeed(self, *options: str) -> Outcome:
        outcome = self.run(*options)
        assert outcome.code == 0, outcome.stderr
        return outcome

    def nodes(self) -> dict[str, tuple[str, str]]:
        """Return status and version of each node."""
        listed = inside(self.hosts["lab1"], "first", f"{KUBECTL} get nodes --no-headers")
        return {line.split()[0]: (line.split()[1], line.split()[4]) for line in listed.splitlines()}

    def events(self) -> list[str]:
        """Return what was done to nodes since this was asked last."""
        said = inside(self.hosts["lab1"], "first", f"cat {EVENTS} 2>/dev/null; rm -f {EVENTS}")
        return said.splitlines()

    def leaders(self) -> list[str]:
        """Return the process ids of the guests' PID 1, which are others after a restart."""
        return [
            self.hosts[host].succeed(f"machinectl show {guest} -p Leader --value")
            for guest, host in WHERE.items()
        ]

    def _hosts(self) -> list[tuple[str, dict[str, Any]]]:
        common = {
            "ssh_config_file": str(SSH_CONFIG),
            "nspawn_host": {"bridge": {"uplinks": ["eth0"], "confirm_seconds": 15}},
        }
        first = self._guest("first", lan.STATIC)
        agent = self._guest("agent", SECOND, role="agent")
        hosts = {
            "lab1": {**common, "guests": [first]},
            "lab2": {**common, "guests": [agent], "_sudo": True},
        }
        return [(name, hosts[name]) for name in self.order]

    def _guest(self, name: str, address: str, **k3s: object) -> dict[str, Any]:
        static = {"addresses": [f"{address}/{lan.NETWORK.prefixlen}"], "gateways": [lan.ROUTER]}
        binary = {"path": str(self.binary), "sha256": sha256_of(self.binary)}
        given = {"binary": binary, "token": TOKEN, "ready_seconds": 60, "drain_seconds": 10, **k3s}
        return {
            "name": name,
            "network": {"kind": "bridge", **static},
            "k3s": {**given, **self.fields.get(name, {})},
            "state": (state := self.states.get(name, "running")),
            "purge": state == "absent",
        }


@pytest.fixture(scope="module")
def made(
    fresh: dict[str, Host], network: Lan, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Cluster, Outcome, set[str]]:
    """The cluster, the run that made it, and the command lines of that time in which the token was."""
    assert network.holder
    found = Cluster(fresh, tmp_path_factory.mktemp("k3s") / "inventory.py", built(OLD), {}, {})
    with command_lines() as seen:
        outcome = found.run("-y", "-vvv", "--json")
    assert outcome.code == 0, outcome.stderr[-5000:]
    return found, outcome, {line for line in seen if TOKEN in line}


@pytest.fixture
def cluster(made: tuple[Cluster, Outcome, set[str]]) -> Iterator[Cluster]:
    found = made[0]
    found.binary, found.fields, found.states = built(OLD), {}, {}
    found.succeed()
    found.events()
    yield found
    for name, host in WHERE.items():
        if found.hosts[host].run(f"machinectl show {name}").returncode == 0:
            inside(found.hosts[host], name, f"! test -e {UNEXPECTED}")


def test_both_are_nodes_that_are_ready(made: tuple[Cluster, Outcome, set[str]]):
    cluster = made[0]
    assert cluster.nodes() == {"first": ("Ready", OLD), "agent": ("Ready", OLD)}
    before = {name: remote_commands(host) for name, host in cluster.hosts.items()}
    again = cluster.succeed().json
    assert again["results"]["totals"]["success"] == 0
    asked = {name: remote_commands(host) - before[name] for name, host in cluster.hosts.items()}
    # The look at the host, at its bridge, at its guests, and at its nodes.
    assert asked == {"lab1": 4, "lab2": 4}


def test_a_dry_run_says_so_and_changes_nothing(cluster: Cluster):
    cluster.binary = built(NEW)
    before = cluster.leaders()
    planned = cluster.succeed("--dry", "--diff")
    digest = sha256_of(cluster.binary)[:12]
    assert f"send k3s ({digest}) (1 MiB)" in planned.lines("lab1")
    assert (
        f"guest agent: move the pods of node agent away, place k3s ({digest}), restart k3s, "
        "wait up to 60 s until agent is ready, let pods come back"
    ) in planned.lines("lab2")
    assert cluster.nodes()["first"] == ("Ready", OLD)
    assert cluster.leaders() == before
    assert cluster.events() == []


#: In what others can read, and in what was logged; a pattern that does not find itself there.
PATTERN = f"{TOKEN[:-1]}[{TOKEN[-1]}]"
SEARCH = f"""
find /etc /run /tmp /var -xdev -type f -perm -o=r -exec grep -la '{PATTERN}' {{}} + 2>/dev/null
journalctl --no-pager | grep '{PATTERN}'
test ! -e /usr/lib/k3s || stat -c '%a %n' /etc/rancher/k3s/cluster-token /etc/rancher/k3s/config.yaml
true"""


def test_the_token_is_seen_nowhere(made: tuple[Cluster, Outcome, set[str]]):
    cluster, outcome, seen = made
    assert seen == set()
    assert TOKEN not in outcome.stdout + outcome.stderr
    modes = "600 /etc/rancher/k3s/cluster-token\n600 /etc/rancher/k3s/config.yaml\n"
    for guest, host in WHERE.items():
        assert cluster.hosts[host].succeed(SEARCH) == ""
        assert inside(cluster.hosts[host], guest, SEARCH) == modes
        given = inside(cluster.hosts[host], guest, "cat /etc/rancher/k3s/cluster-token")
        assert given == TOKEN


def test_the_kubeconfig_of_the_cluster_is_written_for_its_administrator_alone(
    cluster: Cluster, tmp_path: Path
):
    file = tmp_path / "kubeconfig"
    outcome = script("kubeconfig", cluster.inventory, file)
    assert outcome.returncode == 0, outcome.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert (
        yaml.safe_load(file.read_text())["clusters"][0]["cluster"]["server"] == f"https://{lan.STATIC}:6443"
    )


def test_k3s_does_without_overlayfs_where_its_directory_cannot_hold_one(cluster: Cluster):
    host, chosen = cluster.hosts["lab2"], "/etc/rancher/k3s/config.yaml.d/10-snapshotter.yaml"
    inside(host, "agent", f"! test -e {chosen}")
    # The upper layer of an overlay cannot lie on another.
    layers = "lowerdir=/run/l,upperdir=/run/u,workdir=/run/w"
    mount = f"mkdir -p /run/l /run/u /run/w && mount -t overlay o -o {layers} /var/lib/rancher/k3s/agent"
    inside(host, "agent", f"{mount} && systemctl restart k3s")
    assert inside(host, "agent", f"cat {chosen}") == "snapshotter: native\n"
    inside(host, "agent", "umount /var/lib/rancher/k3s/agent && systemctl restart k3s")
    inside(host, "agent", f"! test -e {chosen}")


def other_architecture(directory: Path) -> Path:
    """Return an executable of another machine than any."""
    content = bytearray(built(NEW).read_bytes())
    content[18:20] = b"\xff\xff"
    (directory / "k3s").write_bytes(content)
    return directory / "k3s"


@pytest.mark.parametrize("kind", ["missing", "another digest", "another architecture", "unreachable"])
def test_a_binary_that_cannot_be_had_changes_nothing(cluster: Cluster, kind: str, tmp_path: Path):
    other = other_architecture(tmp_path)
    binary, problem = {
        "missing": ({"path": "no-such-file", "sha256": "0" * 64}, "no-such-file: No such file or directory"),
        "another digest": ({"path": str(built(NEW)), "sha256": "0" * 64}, f"{built(NEW)}: its sha256 is "),
        "another architecture": (
            {"path": str(other), "sha256": sha256_of(other)},
            "it is no program for this host (",
        ),
        "unreachable": (
            {"url": "http://127.0.0.1:9/k3s", "sha256": "0" * 64},
            "it cannot be fetched: curl: (7) ",
        ),
    }[kind]
    cluster.binary, cluster.fields = built(NEW), {"first": {"binary": binary}}
    outcome = cluster.run()
    assert outcome.code == 1
    assert problem in "\n".join(outcome.lines("lab1"))
    assert cluster.nodes() == {"first": ("Ready", OLD), "agent": ("Ready", OLD)}
    assert "agent: not tried: server first is not as desired" in "\n".join(outcome.lines("lab2"))
    assert cluster.hosts["lab1"].succeed("ls -A /var/lib/pyinfra-nspawn/.k3s").split() == [
        sha256_of(built(OLD))
    ]


def test_a_large_file_is_sent_in_pieces_and_resumed_where_it_was_cut_off(cluster: Cluster, tmp_path: Path):
    cluster.binary = tmp_path / "k3s"
    cluster.binary.write_bytes(built(OLD).read_bytes() + bytes(20 * 2**20))
    digest = sha256_of(cluster.binary)[:12]
    cluster.run(kill_after=10)  # three looks at each host, one at the node, and the first pieces
    planned = cluster.succeed("--dry")
    part = re.compile(rf"send k3s \({digest}\) \(21 MiB, \d+ MiB of it are there\)")
    assert any(map(part.fullmatch, [*planned.lines("lab1"), *planned.lines("lab2")]))
    outcome = cluster.succeed()
    assert f"k3s ({digest}): 20 MiB" in outcome.lines("lab1")
    assert cluster.nodes() == {"first": ("Ready", OLD), "agent": ("Ready", OLD)}


def test_an_upgrade_drains_one_node_after_the_other_and_restarts_no_guest(cluster: Cluster):
    before = cluster.leaders()
    cluster.binary = built(NEW)
    outcome = cluster.succeed()
    assert cluster.events() == ["drain first", "uncordon first", "drain agent", "uncordon agent"]
    assert cluster.nodes() == {"first": ("Ready", NEW), "agent": ("Ready", NEW)}
    assert cluster.leaders() == before
    assert outcome.hosts("success")["Agents"] == ["lab2"]
    assert cluster.succeed().json["results"]["totals"]["success"] == 0
    for host in cluster.hosts.values():
        assert host.succeed("ls /var/lib/pyinfra-nspawn/.k3s").split() == [sha256_of(cluster.binary)]


def test_nodes_whose_pods_stay_are_not_drained(cluster: Cluster):
    cluster.binary = built(NEW)
    cluster.fields = {name: {"drain": False} for name in WHERE}
    cluster.succeed()
    assert cluster.events() == []
    assert cluster.nodes() == {"first": ("Ready", NEW), "agent": ("Ready", NEW)}


def test_a_server_that_does_not_come_back_stops_the_upgrade(cluster: Cluster):
    cluster.binary = built(NEW, broken=True)
    cluster.fields = {name: {"ready_seconds": 10} for name in WHERE}
    outcome = cluster.run()
    assert outcome.code == 1
    assert "first: node first is not ready (waited 10 s): " in "\n".join(outcome.lines("lab1"))
    problem = "agent: not tried: node first failed before. Fix that node, then run again."
    assert problem in outcome.lines("lab2")
    assert inside(cluster.hosts["lab2"], "agent", "/usr/lib/k3s/k3s --version").split()[2] == OLD

    cluster.binary = built(OLD)
    cluster.succeed()
    assert cluster.nodes() == {"first": ("Ready", OLD), "agent": ("Ready", OLD)}


def test_a_node_that_the_cluster_calls_ready_although_it_does_not_run_is_none(cluster: Cluster):
    """The cluster heard of it less than 40 s ago."""
    broken = built(OLD, broken=True)
    binary = {"path": str(broken), "sha256": sha256_of(broken)}
    cluster.fields = {"agent": {"binary": binary, "ready_seconds": 10}}
    outcome = cluster.run()
    assert outcome.code == 1
    assert "agent: node agent is not ready (waited 10 s): " in "\n".join(outcome.lines("lab2"))
    assert cluster.nodes()["agent"] == ("Ready,SchedulingDisabled", OLD)
    cluster.fields = {}
    cluster.succeed()
    assert cluster.nodes()["agent"] == ("Ready", OLD)


def test_a_changed_configuration_restarts_nodes_in_their_turns_and_no_guest(cluster: Cluster):
    before = cluster.leaders()
    cluster.fields = {name: {"node_labels": ["zone=lab"]} for name in WHERE}
    outcome = cluster.succeed()
    assert "first: the configuration of k3s differs" not in outcome.lines("lab1")
    assert cluster.events() == ["drain first", "uncordon first", "drain agent", "uncordon agent"]
    assert cluster.leaders() == before
    config = inside(cluster.hosts["lab2"], "agent", "cat /etc/rancher/k3s/config.yaml")
    assert 'node-label: ["zone=lab"]' in config
    assert cluster.succeed().json["results"]["totals"]["success"] == 0


def test_what_an_administrator_has_cordoned_stays_cordoned(cluster: Cluster):
    inside(cluster.hosts["lab1"], "first", f"{KUBECTL} cordon agent")
    cluster.binary = built(NEW)
    cluster.succeed()
    assert cluster.nodes()["agent"] == ("Ready,SchedulingDisabled", NEW)
    inside(cluster.hosts["lab1"], "first", f"{KUBECTL} uncordon agent")


def test_an_agent_is_not_upgraded_without_its_server(cluster: Cluster):
    cluster.binary = built(NEW)
    outcome = cluster.run("-y", "--limit", "lab2")
    assert outcome.code == 1
    assert "agent: not tried: server first is not as desired. Run for its host too, and fix it first." in (
        outcome.lines("lab2")
    )
    assert cluster.nodes()["agent"] == ("Ready", OLD)


def test_a_second_cluster_is_not_founded_by_a_server_that_comes_first_in_the_inventory(cluster: Cluster):
    cluster.fields = {"agent": {"role": "server"}}
    cluster.order = ("lab2", "lab1")
    cluster.states = {}
    outcome = cluster.run()
    cluster.order = ("lab1", "lab2")
    assert outcome.code == 1
    assert "first: it founded its cluster, and would join https://" in "\n".join(outcome.lines("lab1"))
    assert (
        "agent: it is agent agent of cluster default, and would be server agent of cluster default"
        in "\n".join(outcome.lines("lab2"))
    )
    cluster.fields = {}
    cluster.succeed()
    assert cluster.nodes() == {"first": ("Ready", OLD), "agent": ("Ready", OLD)}


def test_a_node_that_cannot_be_drained_is_left_as_it_is(cluster: Cluster):
    inside(cluster.hosts["lab1"], "first", "touch /var/lib/rancher/k3s/server/refuse-drain")
    cluster.binary = built(NEW)
    outcome = cluster.run()
    inside(cluster.hosts["lab1"], "first", "rm /var/lib/rancher/k3s/server/refuse-drain")
    assert outcome.code == 1
    said = "\n".join(outcome.lines("lab1"))
    assert 'error: unable to drain node "first"' in said
    assert "first: node first cannot be drained. End or move its pods, or set `drain: False`." in said
    assert cluster.nodes() == {"first": ("Ready", OLD), "agent": ("Ready", OLD)}


#: Of six looks at hosts and guests nothing is left; the others change first one node, then the other.
@pytest.mark.parametrize("command", range(7, 26))
def test_an_upgrade_that_is_killed_is_finished_by_the_next_run(cluster: Cluster, command: int):
    cluster.binary = built(NEW)
    cluster.run(kill_after=command)
    cluster.succeed()
    retry(
        lambda: cluster.nodes() == {"first": ("Ready", NEW), "agent": ("Ready", NEW)},
        30,
        "both nodes are ready and take pods",
    )
    assert cluster.succeed().json["results"]["totals"]["success"] == 0


def test_a_node_leaves_its_cluster_before_its_guest_is_removed(cluster: Cluster):
    cluster.states = {"agent": "absent"}
    refused = cluster.run(deploy="deploys/guest.py")
    assert "agent: its node would remain in its cluster. Run deploys/k3s.py, which takes it out first." in (
        refused.lines("lab2")
    )
    assert cluster.nodes()["agent"] == ("Ready", OLD)
    cluster.succeed()
    assert cluster.events() == ["drain agent", "delete agent"]
    assert set(cluster.nodes()) == {"first"}
    left = cluster.hosts["lab2"].succeed("find /var/lib/pyinfra-nspawn /etc -name '*k3s*' -o -name agent")
    assert left == ""
    assert cluster.succeed().json["results"]["totals"]["success"] == 0


#: Before the drain, before k3s is stopped, and before the node is deleted.
@pytest.mark.parametrize("command", [9, 10, 11])
def test_a_removal_that_is_killed_is_finished_by_the_next_run(cluster: Cluster, command: int):
    cluster.states = {"agent": "absent"}
    cluster.run(kill_after=command)
    cluster.succeed()
    assert cluster.events()[-1] == "delete agent"
    assert set(cluster.nodes()) == {"first"}
    left = cluster.hosts["lab2"].succeed("find /var/lib/pyinfra-nspawn /etc -name '*k3s*' -o -name agent")
    assert left == ""


def test_a_second_server_joins_and_leaves(cluster: Cluster):
    cluster.states = {"agent": "absent"}
    cluster.succeed()
    cluster.events()
    cluster.states, cluster.fields = {}, {"agent": {"role": "server"}}
    outcome = cluster.succeed()
    # The first one keeps its data in etcd from now on.
    assert "first: the configuration of k3s differs" not in "\n".join(outcome.lines("lab1"))
    assert "cluster-init: true" in inside(cluster.hosts["lab1"], "first", "cat /etc/rancher/k3s/config.yaml")
    assert cluster.nodes() == {"first": ("Ready", OLD), "agent": ("Ready", OLD)}
    assert cluster.succeed().json["results"]["totals"]["success"] == 0
    cluster.events()
    cluster.states = {"agent": "absent"}
    cluster.succeed()
    # Deleted while it runs, and once more when it has stopped.
    events = cluster.events()
    assert events[:2] == ["drain agent", "delete agent"]
    assert set(cluster.nodes()) == {"first"}


def test_what_is_reported_of_nodes(cluster: Cluster):
    shown = script("status", cluster.inventory, "--json")
    nodes = {
        guest["name"]: guest["node"] for host in json.loads(shown.stdout)["hosts"] for guest in host["guests"]
    }
    assert nodes == {"first": f"Ready, {OLD}", "agent": f"Ready, {OLD}"}
    cluster.binary = built(NEW)
    outcome = cluster.run("-y", "--json", deploy="deploys/guest.py")
    assert json.loads(outcome.stdout)["results"]["totals"]["success"] == 0
    hint = "Run deploys/k3s.py, which moves its pods away first."
    assert f"first: other files of k3s are placed than are desired. {hint}" in outcome.lines("lab1")
    inside(cluster.hosts["lab2"], "agent", "systemctl stop k3s")
    code, found = findings(cluster.inventory)
    assert code == 2
    assert ("lab2", "agent", "k3s.service does not run") in {
        (item["host"], item["guest"], item["problem"]) for item in found
    }
