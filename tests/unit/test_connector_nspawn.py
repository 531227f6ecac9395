"""Names of guests as inventory hosts, and the data that they have from their hosts."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import InventoryError
from pyinfra_cli.util import json_encode

from pyinfra_nspawn.connectors.door import BECOME, PASSWORDS
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


GUESTS = [{"name": "web"}, {"name": "old", "state": "absent"}, {"name": "off", "state": "stopped"}]


def test_the_guests_of_an_inventory_are_reached_as_their_hosts_are():
    hosts = [
        ("one", {"ssh_user": "core", "_sudo": True, "guests": GUESTS, "other": 1}),
        ("@ssh/two", {"ssh_port": 23, "_sudo": False, "guests": [{"name": "db"}]}),
        ("bare", {}),
        "text",
        ("@local", {}),
    ]
    assert guests_of(hosts) == [
        ("@nspawn/one:web", {"ssh_user": "core", "nspawn_sudo": True}),
        ("@nspawn/two:db", {"ssh_port": 23}),
    ]


@pytest.mark.parametrize("key", BECOME)
def test_all_that_makes_pyinfra_root_on_a_host_leads_to_its_guests(key: str):
    ((_, data),) = guests_of([("one", {key: "value", "guests": GUESTS})])
    assert f"nspawn{key}" in NspawnConnector.data_meta
    value = data[f"nspawn{key}"]
    assert (value.unmask() if key in PASSWORDS else value) == "value"


def test_a_password_is_shown_nowhere():
    ((_, data),) = guests_of([("one", {"_sudo_password": "s3cret", "guests": GUESTS})])
    assert "s3cret" not in f"{data} {json.dumps(data, default=json_encode)}"


@pytest.mark.parametrize(
    ("hosts", "data"),
    [
        (["one"], {"guests": GUESTS, "ssh_user": "core"}),
        ((["one"], {"guests": GUESTS, "ssh_user": "core"}), None),
        ((["one"], {"guests": []}), {"guests": GUESTS, "ssh_user": "core"}),  # as a file in group_data
        (([("one", {"ssh_user": "core"})], {"guests": GUESTS, "ssh_user": "root"}), None),
        ((("one", {"ssh_user": "core", "guests": GUESTS}),), {"ssh_user": "root"}),
        ([("one", {"ssh_user": "core"})], {"guests": GUESTS, "__name__": "group", "json": json}),
    ],
)
def test_group_data_is_understood(hosts: Any, data: Any):
    assert guests_of(hosts, data) == [("@nspawn/one:web", {"ssh_user": "core"})]


@pytest.mark.parametrize("hosts", ["one", {"one": {}}, [None], [("one",)], [("one", None)], [["one", {}]]])
def test_what_is_no_group_of_hosts_is_refused(hosts: Any):
    with pytest.raises(InvalidSpecError, match="guests_of: expected"):
        guests_of(hosts)


def test_guests_of_a_host_that_is_not_reached_over_ssh_are_refused():
    with pytest.raises(InvalidSpecError, match="@local is not reached over SSH"):
        guests_of([("@local", {"guests": GUESTS})])


def test_hosts_without_guests_are_told(caplog: pytest.LogCaptureFixture):
    assert guests_of(["one"]) == []
    assert "pass it as `data`" in caplog.text


def test_guests_that_are_none_are_refused():
    with pytest.raises(InvalidSpecError, match=r"inventory of one: guests.0.sauce: no such field"):
        guests_of([("one", {"guests": [{"name": "web", "sauce": "x"}]})])


INVENTORY = """
from pyinfra_nspawn.connectors.nspawn import guests_of
east = ["one", ("two", {"ssh_user": "root"})]
west = (["three"], {"ssh_user": "core"})
in_guests = [*guests_of(east), *guests_of(west)]
"""


def test_group_data_has_guests(tmp_path: Path):
    """pyinfra reads it after the inventory: what it will say is known before."""
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text('guests = [{"name": "web"}]\nssh_user = "admin"\n')
    (tmp_path / "group_data/east.py").write_text(
        'import os\nguest_defaults = {"hostname": "x"}\n_sudo = True\n'
    )
    (tmp_path / "group_data/west.py").write_text(
        'guests = [{"name": "db"}, {"name": "off", "state": "stopped"}]\n'
    )
    (tmp_path / "mine.py").write_text(INVENTORY)
    found = runpy.run_path(str(tmp_path / "mine.py"))["in_guests"]
    assert found == [
        ("@nspawn/one:web", {"ssh_user": "admin", "nspawn_sudo": True}),
        ("@nspawn/two:web", {"ssh_user": "root", "nspawn_sudo": True}),
        ("@nspawn/three:db", {"ssh_user": "core"}),
    ]


def test_guests_have_the_defaults_of_their_host():
    data = {
        "guest_defaults": {"state": "stopped"},
        "guests": [{"name": "web"}, {"name": "db", "state": "running"}],
    }
    assert [name for name, _ in guests_of([("one", data)])] == ["@nspawn/one:db"]
