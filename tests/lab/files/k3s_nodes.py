"""What deploys/k3s.py does on a host whose kernel is not ready for k3s, as the lab's: all but that."""

from pyinfra.api.operation import operation

from pyinfra_nspawn.deploys._inventory import guests_of_host, nodes_of_fleet, settings_of_host
from pyinfra_nspawn.deploys.guest import guests
from pyinfra_nspawn.deploys.k3s import run_nodes
from pyinfra_nspawn.deploys.network import bridges
from pyinfra_nspawn.operations._converge import Commands, converge_host
from pyinfra_nspawn.plans.k3s_store import k3s_prune


@operation()
def prune() -> Commands:
    yield from converge_host(settings_of_host(), guests_of_host(), (k3s_prune,), "nothing is stored in vain")


prune(name="Stored files")
bridges()
nodes = nodes_of_fleet()
guests(nodes=nodes)
run_nodes(nodes)
