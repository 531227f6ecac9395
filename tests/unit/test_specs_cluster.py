"""Which guests are nodes of a cluster, and what each is told of it."""

import pytest
import yaml

from pyinfra_nspawn.specs import File, Guest
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.cluster import in_order, joined, node_name, nodes_of
from pyinfra_nspawn.specs.inventory import guests_from
from pyinfra_nspawn.specs.k3s import CONFIG, SERVICE, TOKEN
from pyinfra_nspawn.specs.k3s_guest import node_files

BINARY = {"path": "k3s", "sha256": "0" * 64}
STATIC = {"kind": "bridge", "name": "br0", "addresses": ["192.0.2.10/24"], "gateways": ["192.0.2.1"]}


def node(name: str = "web", network: object = "host", **fields: object) -> dict[str, object]:
    return {"name": name, "network": network, "k3s": {"binary": BINARY, "token": "s3cret", **fields}}


def fleet(**hosts: list[dict[str, object]]) -> dict[str, tuple[Guest, ...]]:
    return {host: guests_from({"guests": guests}, host) for host, guests in hosts.items()}


def config(host: str, found: dict[str, tuple[Guest, ...]], number: int = 0) -> dict[str, object]:
    return yaml.safe_load(files(host, found, number)[CONFIG].content.get_secret_value())


def files(host: str, found: dict[str, tuple[Guest, ...]], number: int = 0) -> dict[str, File]:
    return node_files(joined(host, found)[number].k3s)


def refusal(host: str, found: dict[str, tuple[Guest, ...]]) -> str:
    with pytest.raises(InvalidSpecError) as refused:
        joined(host, found)
    assert "s3cret" not in str(refused.value)
    return str(refused.value)


def test_a_server_alone_needs_neither_address_nor_token():
    found = fleet(lab1=[node(token=None)])
    assert config("lab1", found) == {"kube-proxy-arg": ["conntrack-max-per-core=0"], "node-name": "web"}
    assert TOKEN not in files("lab1", found)
    assert "ExecStart=/usr/lib/k3s/k3s server\n" in files("lab1", found)[SERVICE].content.get_secret_value()


def test_agents_join_the_first_server_of_the_inventory():
    found = fleet(
        lab1=[node("a", STATIC)],
        lab2=[node("b", STATIC | {"addresses": ["192.0.2.11/24"]}), node("c", role="agent")],
    )
    assert config("lab1", found)["cluster-init"] is True
    assert "server" not in config("lab1", found)
    for number in (0, 1):
        assert config("lab2", found, number)["server"] == "https://192.0.2.10:6443"
        assert config("lab2", found, number)["token-file"] == TOKEN
        assert "cluster-init" not in config("lab2", found, number)
    agent = files("lab2", found, 1)
    assert agent[TOKEN].content.get_secret_value() == "s3cret"
    assert agent[TOKEN].mode == "0600"
    assert "s3cret" not in agent[CONFIG].content.get_secret_value()
    assert "k3s agent\n" in agent[SERVICE].content.get_secret_value()


def test_an_address_of_ipv6_stands_in_brackets():
    network = STATIC | {"addresses": ["2001:db8::10/64"], "gateways": []}
    found = fleet(lab1=[node("a", network), node("b", role="agent")])
    assert config("lab1", found, 1)["server"] == "https://[2001:db8::10]:6443"


def test_a_server_may_be_no_guest_of_the_inventory():
    found = fleet(lab1=[node(role="agent", server="https://k3s.example:6443")])
    assert config("lab1", found)["server"] == "https://k3s.example:6443"


def test_clusters_of_other_names_have_nothing_in_common():
    found = fleet(lab1=[node("a", token="s1"), node("b", cluster="other", token="s2")])
    assert all("server" not in config("lab1", found, number) for number in (0, 1))


def test_a_server_that_is_removed_is_none_to_join():
    gone = {**node("a", STATIC), "state": "absent"}
    found = fleet(lab1=[gone, node("b", STATIC), node("c", role="agent")])
    assert "server" not in config("lab1", found, 1)
    assert [[item.name for item in group] for group in in_order(nodes_of(found))] == [["b"], [], ["c"]]


@pytest.mark.parametrize(
    ("guests", "problem"),
    [
        ([node(role="agent")], "server: cluster default has no server; give its URL"),
        ([node("a"), node("b", role="agent")], "a on lab1 has no static address; give it one"),
        ([node("a", STATIC), node("b", role="agent", token=None)], "token: "),
        ([node(role="agent", server="https://k3s.example:6443", token=None)], "token: is needed"),
        ([node("a", STATIC), node("b", role="agent", token="other")], "token: b on lab1 has another"),
        ([node("a", STATIC), node("b", role="agent", node_name="a")], "node_name: b on lab1 is node a too"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(guests, problem):
    assert problem in refusal("lab1", fleet(lab1=guests))


def test_a_node_has_the_name_of_its_guest_in_lower_case():
    (guest,) = guests_from({"guests": [node("Web1")]}, "lab1")
    assert node_name(guest) == "web1"
    (guest,) = guests_from({"guests": [{**node("Web1"), "hostname": "N.example"}]}, "lab1")
    assert node_name(guest) == "n.example"


def test_first_servers_come_first_and_agents_last():
    found = nodes_of(
        fleet(
            lab1=[node("agent", role="agent"), node("first", STATIC), node("x", cluster="other")],
            lab2=[node("second")],
        )
    )
    assert [[item.name for item in group] for group in in_order(found)] == [
        ["first", "x"],
        ["second"],
        ["agent"],
    ]
