"""In which order a node is changed, who is asked, and when nothing is done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.operations import _node
from pyinfra_nspawn.operations._node import NodeProgram
from pyinfra_nspawn.operations._turns import turns_of
from pyinfra_nspawn.plans.step import Step, Turn

UPGRADE = Turn(
    "default",
    "web",
    is_server=True,
    servers=(("lab1", "a"), ("lab2", "b")),
    drain_seconds=10,
    uncordon=True,
    ready_seconds=20,
)
LEAVES = replace(UPGRADE, uncordon=False, ready_seconds=0, removed=True)
FOUNDS = Turn("default", "web", is_server=True, founds=True, servers=UPGRADE.servers, ready_seconds=20)


class Host:
    """A host of pyinfra, as far as it is needed."""

    def __init__(self, name: str) -> None:
        self.name, self.connected, self.data = name, True, {}


class Fleet:
    """Hosts, the commands that they were asked for, and those that fail."""

    def __init__(self) -> None:
        self.hosts = {name: Host(name) for name in ("lab1", "lab2", "own")}
        self.asked: list[str] = []
        self.failing: set[str] = set()
        self.inventory = self

    def get_host(self, name: str) -> Host:
        return self.hosts[name]

    def run(self, turn: Turn, **step: object) -> NodeProgram:
        program = NodeProgram(Step("", "k3s-node", "web", ("0=k3s",), payload="x\n", **step), turn)
        program.execute(self, self.hosts["own"], {})
        return program


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    found = Fleet()

    class Program:
        def __init__(self, words: tuple[str, ...], payload: str | None = None) -> None:
            self.words, self.payload, self.outcome = words, payload, Outcome()

        def execute(self, _: object, host: Host, __: object) -> None:
            verbs = [word for word in self.words if word.startswith("k3s-")]
            found.asked.append(f"{host.name}: {' '.join(verbs)}")
            if (failing := {f"{host.name}: {verb}" for verb in verbs} & found.failing) and failing:
                self.outcome = Outcome(troubles=(Trouble(verbs[0], "", "it fails", "Mend it."),))

    monkeypatch.setattr(_node, "Program", Program)
    monkeypatch.setattr(_node, "_arguments_of", lambda *_: {})
    return found


def problem(program: NodeProgram) -> str:
    (trouble,) = program.outcome.troubles
    assert (trouble.verb, trouble.guest) == ("k3s-node", "web")
    assert trouble.hint
    return trouble.problem


def test_an_upgrade_is_drained_before_and_takes_pods_after(fleet: Fleet):
    assert fleet.run(UPGRADE).outcome.changed == (("k3s-node", "web"),)
    assert fleet.asked == [
        "lab1: k3s-answers",
        "own: k3s-cordoned",
        "lab1: k3s-drain",
        "own: k3s-place k3s-start",
        "own: k3s-await",
        "lab1: k3s-uncordon",
        "own: k3s-cordoned",
    ]


def test_another_server_is_asked_where_one_does_not_answer(fleet: Fleet):
    fleet.failing = {"lab1: k3s-answers"}
    assert not fleet.run(UPGRADE).outcome.troubles
    assert "lab2: k3s-drain" in fleet.asked
    fleet.failing.add("lab2: k3s-answers")
    fleet.asked.clear()
    assert problem(fleet.run(UPGRADE)) == "it fails"
    assert fleet.asked == ["lab1: k3s-answers", "lab2: k3s-answers"]


def test_a_server_that_is_down_is_started_before_it_is_asked(fleet: Fleet):
    fleet.run(replace(UPGRADE, drain_seconds=0))
    assert fleet.asked[:3] == ["own: k3s-place k3s-start", "own: k3s-await", "lab1: k3s-answers"]


def test_nothing_is_done_where_no_server_is_part_of_the_run(fleet: Fleet):
    for name in ("lab1", "lab2"):
        fleet.hosts[name].connected = False
    assert "which is not part of this run" in problem(fleet.run(UPGRADE))
    leaves = fleet.run(replace(LEAVES, drain_seconds=0))
    assert "which is not part of this run" in problem(leaves)
    assert leaves.outcome.troubles[0].hint == "Run for that host too."
    assert "no server of its cluster" in problem(fleet.run(replace(UPGRADE, servers=(), drain_seconds=0)))
    assert fleet.asked == []


@pytest.mark.parametrize("failing", ["lab1: k3s-drain", "own: k3s-place", "own: k3s-await"])
def test_what_fails_ends_it_and_stops_the_others(fleet: Fleet, failing: str):
    fleet.failing = {failing}
    assert problem(fleet.run(UPGRADE)) == "it fails"
    assert fleet.asked[-1].startswith(failing)
    fleet.failing = set()
    assert problem(fleet.run(replace(UPGRADE, node="other"))) == "not tried: node web failed before"
    assert not fleet.run(replace(UPGRADE, cluster="another", node="other")).outcome.troubles
    assert not fleet.run(replace(UPGRADE, node="joins", alone=False)).outcome.troubles
    assert not fleet.run(UPGRADE).outcome.troubles, "it is tried again"
    assert not fleet.run(replace(UPGRADE, node="other")).outcome.troubles


def test_a_node_waits_for_the_servers_of_its_cluster(fleet: Fleet):
    turn = replace(UPGRADE, after=("a",))
    assert problem(fleet.run(turn)) == "not tried: server a is not as desired"
    turns_of(fleet, fleet.hosts["own"], "k3s", "default").done.add("a")
    assert not fleet.run(turn).outcome.troubles


def test_a_server_is_deleted_while_it_runs_and_once_it_has_stopped(fleet: Fleet):
    assert not fleet.run(LEAVES).outcome.troubles
    assert fleet.asked == [
        "lab1: k3s-answers",
        "own: k3s-cordoned",
        "lab1: k3s-drain",
        "own: k3s-hold",
        "lab1: k3s-delete-node",
        "own: k3s-leave",
        "lab1: k3s-delete-node",
        "own: k3s-unplace",
    ]


def test_an_agent_is_deleted_once_it_has_stopped_and_one_alone_just_stops(fleet: Fleet):
    fleet.run(replace(LEAVES, is_server=False))
    assert fleet.asked[3:] == ["own: k3s-leave", "lab1: k3s-delete-node", "own: k3s-unplace"]
    fleet.asked.clear()
    fleet.run(replace(LEAVES, servers=(), drain_seconds=0, removed=False))
    assert fleet.asked == ["own: k3s-leave", "own: k3s-left"]


def test_a_cluster_is_founded_only_where_every_server_says_that_there_is_none(fleet: Fleet):
    fleet.run(FOUNDS)
    founded = ["own: k3s-place k3s-start", "own: k3s-await"]
    assert fleet.asked == ["lab1: k3s-founds", "lab2: k3s-founds", *founded]
    fleet.failing = {"lab2: k3s-founds"}
    fleet.asked.clear()
    assert problem(fleet.run(FOUNDS)) == "it fails"
    assert fleet.asked == ["lab1: k3s-founds", "lab2: k3s-founds"]
    fleet.hosts["lab2"].connected = False
    unknown = "whether its cluster exists is unknown: host lab2 is not part of this run"
    assert problem(fleet.run(FOUNDS)) == unknown
