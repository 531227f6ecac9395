"""k3s in a guest: when its files are placed, when it is restarted, and who is asked to move its pods away."""

import base64
from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Stored
from pyinfra_nspawn.facts.k3s import K3sProbe, K3sProbes, Service
from pyinfra_nspawn.facts.nspawn import Joined, Placed
from pyinfra_nspawn.plans.guest import STAGES, plan_guest
from pyinfra_nspawn.plans.k3s_node import k3s_leave, k3s_node, k3s_place
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.step import Turn
from pyinfra_nspawn.specs import Guest
from pyinfra_nspawn.specs.cluster import Node, before
from pyinfra_nspawn.specs.k3s import CONFIG, TOKEN
from pyinfra_nspawn.specs.k3s_guest import digest, node_files
from tests.unit.seen import HOST, OLD, error, guest, own, running, snapshot

BINARY, OTHER, ARCHIVE = "0" * 64, "1" * 64, "2" * 64
FOUNDED = Joined("server-founded", "default", "web")
AGENT = Joined("agent-joined", "default", "web")
PLACED = Placed({"k3s": BINARY, "images/a.tar": ARCHIVE}, FOUNDED)
STORED = {sha256: Stored(1, 2, whole=True) for sha256 in (BINARY, OTHER, ARCHIVE)}
NODE = "web Ready <none> 1d v1"


def node(name: str = "web", role: str = "server", binary: str = BINARY, **fields: object) -> Guest:
    k3s = {
        "binary": {"path": "k3s", "sha256": binary},
        "images": [{"path": "a.tar", "sha256": ARCHIVE}],
        "role": role,
        **{key: fields.pop(key) for key in ("drain", "cluster", "server", "token") if key in fields},
    }
    return guest(name=name, k3s=k3s, **fields)


def nodes(*guests: Guest) -> tuple[Node, ...]:
    return tuple(Node("lab1", item) for item in guests)


def service(wanted: Guest | None = None, **changed: str) -> Service:
    """Return the service as it runs with what is desired, but for some fields."""
    k3s = (wanted or node()).k3s
    files = digest(node_files(k3s))
    runs = Service(
        "loaded", "enabled", "active", files, f"{k3s.binary.sha256} {files}", "web Ready <none> 1d v1"
    )
    return replace(runs, **changed)


def planned(
    wanted: Guest,
    placed: Placed | None = PLACED,
    runs: Service | None = None,
    known: tuple[Node, ...] = (),
    stored: dict[str, Stored] = STORED,
) -> Plan:
    """Return the plan for a guest whose k3s runs, unless nothing is placed."""
    seen = replace(running(wanted), k3s=placed)
    runs = runs or (service() if placed and placed.joined else None)
    probe = K3sProbe({}, 1, 1, service=runs)
    found = snapshot(seen, host_facts=replace(HOST, stored=stored))
    return plan_guest(wanted, replace(found, k3s=K3sProbes({"web": probe})), (k3s_node(known),))


def test_a_node_that_is_ready_is_left_alone():
    assert planned(node()) == Plan("web")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"active_state": "failed"}, "k3s.service does not run"),
        ({"unit_file_state": "disabled"}, "k3s.service does not run"),
        ({"files": "other"}, "the configuration of k3s differs"),
        ({"started": "other"}, "k3s runs with another binary or configuration"),
        ({"node": "web NotReady <none> 1d v1"}, "its node is not ready: web NotReady <none> 1d v1"),
        ({"node": ""}, "its node is not ready: k3s is starting"),
    ],
)
def test_what_a_node_lacks_is_found_and_put_right(changed: dict[str, str], problem: str):
    found = planned(node(), runs=service(**changed))
    assert [item.problem for item in found.findings] == [problem]
    (step,) = found.steps
    assert step.arguments == (f"{ARCHIVE}=images/a.tar", f"{BINARY}=k3s")


def test_the_token_is_in_the_payload_alone():
    (step,) = planned(node(token="s3cret"), None).steps
    lines = {line.split(" ")[1]: line.split(" ") for line in step.payload.splitlines()}
    assert base64.b64decode(lines[TOKEN][2]) == b"s3cret"
    assert lines[TOKEN][0] == lines[CONFIG][0] == "600"
    assert "s3cret" not in str(replace(step, payload=None))
    (step,) = planned(node(), None).steps
    assert f"- {TOKEN}" in step.payload.splitlines()


def test_a_node_that_joins_is_no_others_business():
    known = nodes(node("a"), node(role="agent"))
    (step,) = planned(node(role="agent"), None, known=known).steps
    turn = step.turn
    assert (turn.alone, turn.founds, turn.drain_seconds, turn.after) == (False, False, 0, ())
    assert step.text == (
        "guest web: place k3s (000000000000), a.tar (222222222222), start k3s, "
        "wait up to 300 s until web is ready"
    )


def test_who_founds_a_cluster_asks_all_its_servers_whether_there_is_one():
    known = nodes(node(), node("a", state="stopped"), node("b", state="absent"), node("c", "agent"))
    (step,) = planned(node(), Placed(PLACED.files), known=known).steps
    assert step.turn.founds
    assert step.turn.servers == (("lab1", "a"), ("lab1", "b"), ("lab1", "c"))
    (step,) = planned(node(), runs=service(active_state="failed"), known=known).steps
    assert not step.turn.founds


def test_a_node_stays_what_it_is():
    joins = node(server="https://192.0.2.1:6443")
    assert "it founded its cluster" in error(planned(joins), "impossible").problem
    agent = error(planned(node(role="agent")), "impossible")
    now = "and would be agent web of cluster default now"
    assert agent.problem == f"it is server web of cluster default, {now}"
    for changed in ({"cluster": "other"}, {"hostname": "other"}):
        assert "it is server web of cluster default" in error(planned(node(**changed)), "impossible").problem


def test_other_servers_move_the_pods_of_a_node_that_is_upgraded():
    wanted = node(binary=OTHER)
    others = (node("s", state="stopped"), node("a"), node("b", "agent"), node("o", cluster="other"))
    (step,) = planned(wanted, known=nodes(*others[:2], wanted, *others[2:])).steps
    assert step.turn.servers == (("lab1", "a"), ("lab1", "web"))
    assert step.turn.after == ("a",)
    assert (step.turn.alone, step.turn.drain_seconds, step.turn.uncordon) == (True, 300, True)
    assert step.text.startswith("guest web: move the pods of node web away, place k3s (111111111111), ")
    assert "restart k3s" in step.text


def test_the_only_server_asks_itself_and_a_node_alone_keeps_its_pods():
    wanted = node(binary=OTHER)
    (step,) = planned(wanted, known=nodes(wanted, node("b", "agent"))).steps
    assert (step.turn.servers, step.turn.drain_seconds) == ((("lab1", "web"),), 300)
    (step,) = planned(wanted, known=nodes(wanted, node("b", cluster="other"))).steps
    assert (step.turn.drain_seconds, step.turn.uncordon) == (0, False)


def test_pods_stay_where_that_is_wanted_and_where_nothing_is_restarted():
    wanted = node(binary=OTHER, drain=False)
    (step,) = planned(wanted, known=nodes(wanted, node("a"))).steps
    assert (step.turn.drain_seconds, step.turn.uncordon) == (0, False)
    without = Placed({"k3s": BINARY}, FOUNDED)
    (step,) = planned(node(), without, known=nodes(node(), node("a"))).steps
    assert (step.turn.drain_seconds, step.turn.uncordon) == (0, False)
    assert "start k3s" not in step.text


def test_what_an_administrator_has_cordoned_stays_cordoned():
    wanted = node(binary=OTHER)
    cordoned = service(node="web Ready,SchedulingDisabled <none> 1d v1")
    (step,) = planned(wanted, runs=cordoned, known=nodes(wanted, node("a"))).steps
    assert (step.turn.drain_seconds, step.turn.uncordon) == (300, False)


def test_a_node_that_an_upgrade_left_cordoned_takes_pods_again():
    found = planned(node(), replace(PLACED, cordoned=True), known=nodes(node(), node("a")))
    assert [item.kind for item in found.findings] == ["interrupted"]
    (step,) = found.steps
    assert (step.turn.servers[0], step.turn.uncordon) == (("lab1", "a"), True)


def test_what_the_host_lacks_is_brought_before():
    found = planned(node(binary=OTHER), stored={BINARY: STORED[BINARY], ARCHIVE: STORED[ARCHIVE]})
    assert [step.verb for step in found.steps] == ["store-append", "k3s-node"]


def placing(wanted: Guest, placed: Placed | None) -> Plan:
    found = snapshot(replace(running(wanted), k3s=placed), host_facts=replace(HOST, stored=STORED))
    return plan_guest(wanted, found, (k3s_place,))


def test_files_are_placed_before_a_guest_starts_with_them_and_not_changed_by_that():
    (step,) = placing(node(), None).steps
    assert (step.verb, step.arguments) == ("k3s-place", (f"{ARCHIVE}=images/a.tar", f"{BINARY}=k3s"))
    assert placing(node(), PLACED) == Plan("web")
    found = placing(node(binary=OTHER), PLACED)
    assert not found.steps
    assert [(item.kind, item.severity) for item in found.notes] == [("behind", "note")]


def test_files_that_are_needed_no_more_are_removed_once_k3s_has_left_its_cluster():
    agent = replace(PLACED, joined=AGENT)
    assert (
        error(placing(guest(), agent), "impossible").hint == "Run deploys/k3s.py, which takes it out first."
    )
    assert error(placing(guest(), PLACED), "impossible").hint == "Remove the guest, with `state: absent`."
    seen = snapshot(replace(running(guest()), k3s=agent))
    found = plan_guest(guest(), seen, (k3s_leave(()), k3s_place))
    assert [step.verb for step in found.steps] == ["k3s-leave", "k3s-unplace"]


def removing(placed: Placed | None, *known: Guest, leave: bool = True, gone: Guest | None = None) -> Plan:
    gone = gone or node(state="absent")
    seen = snapshot(private=own(OLD), seen=replace(running(node()), k3s=placed))
    stages = (STAGES[0], k3s_leave(nodes(*known)), *STAGES[1:]) if leave else STAGES
    return plan_guest(gone, seen, stages)


def test_a_node_leaves_its_cluster_before_its_guest_is_removed():
    found = removing(PLACED, node("a"), node("b", "agent"))
    assert [step.verb for step in found.steps] == ["k3s-leave", "remove"]
    at = (("lab1", "a"),)
    leaves = Turn("default", "web", is_server=True, servers=at, drain_seconds=300, removed=True)
    assert found.steps[0].turn == leaves
    assert found.steps[0].text == "guest web: move its pods away, stop k3s, delete node web"
    alone = removing(PLACED)
    assert alone.steps[0].turn == Turn("default", "web", is_server=True, removed=True)
    assert [step.verb for step in removing(None, node("a")).steps] == ["remove"]


def test_who_is_needed_does_not_leave():
    only = error(removing(PLACED, node("b", "agent")), "impossible")
    assert only.problem == "it is the only server of b"
    assert removing(PLACED, node("b", "agent", state="absent")).steps
    outside = node(state="absent", server="https://192.0.2.1:6443")
    joined = replace(PLACED, joined=Joined("server-joined", "default", "web"))
    assert "no server of its cluster" in error(removing(joined, gone=outside), "impossible").problem
    unknown = error(removing(joined, gone=guest(state="absent")), "impossible")
    assert unknown.hint == "Keep its `k3s` in the inventory until it has left."


def test_a_guest_in_which_k3s_never_ran_is_just_removed():
    never = Placed({"k3s": BINARY})
    assert [step.verb for step in removing(never, node("a")).steps] == ["remove"]
    assert [step.verb for step in removing(never, node("a"), leave=False).steps] == ["remove"]


def test_servers_come_in_order_and_no_agent_before_them():
    three = [node(name, binary=OTHER) for name in ("a", "b", "c")]
    known = nodes(*three, node("agent", "agent"))
    assert [before(item, known) for item in three] == [(), ("a",), ("a",)]
    assert before(known[3].guest, known) == ("a", "b", "c")
    down = service(active_state="failed")
    (step,) = planned(node(role="agent", binary=OTHER), replace(PLACED, joined=AGENT), down, known).steps
    assert (step.turn.alone, step.turn.after) == (True, ("a", "b", "c"))


def test_a_guest_that_waits_for_its_restart_does_not_run_k3s_yet():
    wanted = node()
    seen = replace(running(guest()), k3s=Placed(PLACED.files))
    found = snapshot(seen, host_facts=replace(HOST, stored=STORED))
    refused = error(plan_guest(wanted, found, (k3s_node(()),)), "impossible")
    assert refused.problem == "it runs without its k3s until it is restarted"


def test_a_node_is_not_removed_behind_the_back_of_its_cluster():
    found = error(removing(PLACED, leave=False), "impossible")
    assert found.hint == "Run deploys/k3s.py, which takes it out first."


def test_a_guest_that_does_not_answer_is_unknown():
    wanted = node()
    found = snapshot(replace(running(wanted), k3s=PLACED))
    unknown = replace(found, k3s=K3sProbes({"web": Unreadable("no answer")}))
    refused = error(plan_guest(wanted, unknown, (k3s_node(()),)), "unreadable")
    assert refused.problem == "the state of k3s could not be read: no answer"
