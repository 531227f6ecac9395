"""k3s in a guest: when its files are placed, when it is restarted, and who is asked to move its pods away."""

from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.k3s import K3sProbe, K3sProbes, Service
from pyinfra_nspawn.facts.nspawn import Placed
from pyinfra_nspawn.plans.guest import STAGES, plan_guest
from pyinfra_nspawn.plans.k3s_node import k3s_leave, k3s_node, k3s_place
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.step import Turn
from pyinfra_nspawn.specs import Guest
from pyinfra_nspawn.specs.cluster import Node
from tests.unit.seen import OLD, error, guest, own, running, snapshot

BINARY, OTHER, ARCHIVE = "0" * 64, "1" * 64, "2" * 64
PLACED = Placed({"k3s": BINARY, "images/a.tar": ARCHIVE}, "7")
SERVICE = Service(
    "loaded", "enabled", "active", need_daemon_reload=False, started="7", node="web Ready <none> 1d v1"
)


def node(name: str = "web", role: str = "server", binary: str = BINARY, **fields: object) -> Guest:
    k3s = {
        "binary": {"path": "k3s", "sha256": binary},
        "images": [{"path": "a.tar", "sha256": ARCHIVE}],
        "role": role,
        **{key: fields.pop(key) for key in ("drain", "cluster") if key in fields},
    }
    return guest(name=name, k3s=k3s, **fields)


def nodes(*guests: Guest) -> tuple[Node, ...]:
    return tuple(Node("lab1", item) for item in guests)


def planned(
    wanted: Guest,
    placed: Placed | None = PLACED,
    service: Service | None = SERVICE,
    known: tuple[Node, ...] = (),
) -> Plan:
    seen = replace(running(wanted), k3s=placed)
    probe = K3sProbe({}, 1, 1, service=service)
    found = replace(snapshot(seen), k3s=K3sProbes({"web": probe}))
    return plan_guest(wanted, found, (k3s_node(known),))


def test_a_node_that_is_ready_is_left_alone():
    assert planned(node()) == Plan("web")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"active_state": "failed"}, "k3s.service does not run"),
        ({"unit_file_state": "disabled"}, "k3s.service does not run"),
        ({"started": "6"}, "k3s runs from another binary"),
        ({"node": "web NotReady <none> 1d v1"}, "its node is not ready: web NotReady <none> 1d v1"),
        ({"node": ""}, "its node is not ready: k3s is starting"),
    ],
)
def test_what_a_node_lacks_is_found_and_put_right(changed: dict[str, str], problem: str):
    found = planned(node(), service=replace(SERVICE, **changed))
    assert [item.problem for item in found.findings] == [problem]
    (step,) = found.steps
    assert step.arguments == (f"{ARCHIVE}=images/a.tar", f"{BINARY}=k3s")


def test_a_node_that_joins_is_no_others_business():
    (step,) = planned(node(role="agent"), None, None, nodes(node("a"), node(role="agent"))).steps
    assert step.turn == Turn("default", "web", alone=False, ready_seconds=300)
    assert step.text == (
        "guest web: place k3s (000000000000), a.tar (222222222222), start k3s, "
        "wait up to 300 s until web is ready"
    )


def test_another_server_moves_the_pods_of_a_node_that_is_upgraded():
    (step,) = planned(
        node(binary=OTHER), known=nodes(node(binary=OTHER), node("a"), node("b", "agent"))
    ).steps
    assert step.turn == Turn(
        "default", "web", ("lab1", "a"), drain_seconds=300, uncordon=True, ready_seconds=300
    )
    assert step.text.startswith("guest web: move the pods of node web away, place k3s (111111111111), ")
    assert "restart k3s" in step.text


def test_the_only_server_asks_itself_and_a_node_alone_asks_nobody():
    (step,) = planned(node(binary=OTHER), known=nodes(node(binary=OTHER), node("b", "agent"))).steps
    assert step.turn.server == ("lab1", "web")
    (step,) = planned(node(binary=OTHER), known=nodes(node(binary=OTHER), node("b", cluster="other"))).steps
    assert step.turn == Turn("default", "web", ready_seconds=300)


def test_pods_stay_where_that_is_wanted():
    (step,) = planned(node(binary=OTHER, drain=False), known=nodes(node(binary=OTHER), node("a"))).steps
    assert (step.turn.server, step.turn.drain_seconds, step.turn.uncordon) == (None, 0, False)


def test_a_node_that_an_upgrade_left_cordoned_takes_pods_again():
    found = planned(node(), replace(PLACED, cordoned=True), known=nodes(node(), node("a")))
    assert [item.kind for item in found.findings] == ["interrupted"]
    (step,) = found.steps
    assert step.turn == Turn("default", "web", ("lab1", "a"), uncordon=True, ready_seconds=300)


def placing(wanted: Guest, placed: Placed | None) -> Plan:
    return plan_guest(wanted, snapshot(replace(running(wanted), k3s=placed)), (k3s_place,))


def test_files_are_placed_before_a_guest_starts_with_them_and_not_changed_by_that():
    (step,) = placing(node(), None).steps
    assert (step.verb, step.arguments) == ("k3s-place", (f"{ARCHIVE}=images/a.tar", f"{BINARY}=k3s"))
    assert placing(node(), PLACED) == Plan("web")
    found = placing(node(binary=OTHER), PLACED)
    assert not found.steps
    assert [(item.kind, item.severity) for item in found.notes] == [("behind", "note")]


def test_files_that_are_needed_no_more_are_removed_once_k3s_has_left_its_cluster():
    assert (
        error(placing(guest(), PLACED), "impossible").hint == "Run deploys/k3s.py, which takes it out first."
    )
    seen = snapshot(replace(running(guest()), k3s=PLACED))
    found = plan_guest(guest(), seen, (k3s_leave(()), k3s_place))
    assert [step.verb for step in found.steps] == ["k3s-leave", "k3s-unplace"]


def removing(placed: Placed | None, *known: Guest, leave: bool = True) -> Plan:
    gone = node(state="absent")
    seen = snapshot(private=own(OLD), seen=replace(running(node()), k3s=placed))
    stages = (STAGES[0], k3s_leave(nodes(*known)), *STAGES[1:]) if leave else STAGES
    return plan_guest(gone, seen, stages)


def test_a_node_leaves_its_cluster_before_its_guest_is_removed():
    found = removing(PLACED, node("a"), node("b", "agent"))
    assert [step.verb for step in found.steps] == ["k3s-leave", "remove"]
    assert found.steps[0].turn == Turn("default", "web", ("lab1", "a"), drain_seconds=300, removed=True)
    assert found.steps[0].text == "guest web: move its pods away, stop k3s, delete node web"
    alone = removing(PLACED)
    assert alone.steps[0].turn == Turn("default", "web", removed=True)
    assert [step.verb for step in removing(None, node("a")).steps] == ["remove"]


def test_a_node_is_not_removed_behind_the_back_of_its_cluster():
    found = error(removing(PLACED, leave=False), "impossible")
    assert found.hint == "Run deploys/k3s.py, which takes it out first."


def test_a_guest_that_does_not_answer_is_unknown():
    wanted = node()
    found = snapshot(replace(running(wanted), k3s=PLACED))
    unknown = replace(found, k3s=K3sProbes({"web": Unreadable("no answer")}))
    refused = error(plan_guest(wanted, unknown, (k3s_node(()),)), "unreadable")
    assert refused.problem == "its k3s could not be looked at: no answer"
