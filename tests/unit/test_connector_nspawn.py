"""Names of guests as inventory hosts, and the data that they have from their hosts."""

import pytest
from pyinfra.api.exceptions import InventoryError

from pyinfra_nspawn.connectors.nspawn import NspawnConnector, guests_of
from pyinfra_nspawn.specs.base import InvalidSpecError


def test_a_name():
    (found,) = NspawnConnector.make_names_data("core.example.org:web-1")
    data = {"ssh_hostname": "core.example.org", "nspawn_guest": "web-1"}
    assert found == ("@nspawn/core.example.org:web-1", data, ["@nspawn"])


@pytest.mark.parametrize("name", [None, "", "host", "host:", ":web", "host:-web", "host:a b", "host:$(id)"])
def test_what_is_no_name(name: str | None):
    with pytest.raises(InventoryError):
        list(NspawnConnector.make_names_data(name))


def test_the_guests_of_an_inventory_are_reached_as_their_hosts_are():
    guests = [{"name": "web"}, {"name": "old", "state": "absent"}, {"name": "off", "state": "stopped"}]
    hosts = [
        ("one", {"ssh_user": "core", "_sudo": True, "guests": guests, "other": 1}),
        ("two", {"ssh_port": 23, "guests": [{"name": "db"}]}),
        ("bare", {}),
    ]
    assert guests_of(hosts) == [
        ("@nspawn/one:web", {"ssh_user": "core", "nspawn_sudo": True}),
        ("@nspawn/two:db", {"ssh_port": 23, "nspawn_sudo": False}),
    ]


def test_guests_that_are_none_are_refused():
    with pytest.raises(InvalidSpecError, match=r"inventory of one: guests.0.sauce: no such field"):
        guests_of([("one", {"guests": [{"name": "web", "sauce": "x"}]})])
