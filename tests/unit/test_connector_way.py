"""One SSH connection for all guests of a host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from paramiko import SSHException
from pyinfra.api.exceptions import ConnectError

from pyinfra_nspawn.connectors import way
from pyinfra_nspawn.connectors.way import CHANNELS, Way

GUESTS = [f"guest-{number}" for number in range(30)]


class Connector:
    """An SSH connector that counts, and answers after a moment."""

    connections = 0
    open_channels = 0
    most_channels = 0
    error: str | None = None

    def __init__(self, _state: object, host: Any) -> None:
        self.data = {"ssh_hostname": host.address, "ssh_port": 22}
        self.client: Any = None

    def connect(self) -> None:
        Connector.connections += 1
        gevent.sleep(0.01)
        if self.error:
            raise ConnectError(self.error)
        transport = SimpleNamespace(is_active=lambda: self.client is not None, open_session=Channel)
        self.client = SimpleNamespace(get_transport=lambda: transport, close=self.close)

    def close(self) -> None:
        self.client = None


class Channel:
    """A command that takes a moment and says nothing."""

    def __enter__(self):
        Connector.open_channels += 1
        Connector.most_channels = max(Connector.most_channels, Connector.open_channels)
        return self

    def __exit__(self, *_error: object) -> None:
        Connector.open_channels -= 1

    def exec_command(self, _line: str) -> None:
        gevent.sleep(0.001)

    def sendall(self, _chunk: bytes) -> None:
        raise OSError("Socket is closed")

    def shutdown_write(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _connector(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(way, "SSHConnector", Connector)
    for name in ("connections", "open_channels", "most_channels"):
        monkeypatch.setattr(Connector, name, 0)


def ways(address: str = "one", **become: object) -> Way:
    return Way.of(STATE, SimpleNamespace(address=address), become)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _state():
    global STATE  # noqa: PLW0603
    STATE = SimpleNamespace()


def at_once(function: Any) -> list[str]:
    """Return what went wrong for each guest."""

    def outcome(guest: str) -> str:
        try:
            function(guest)
        except ConnectError as error:
            return str(error)
        return ""

    greenlets = [gevent.spawn(outcome, guest) for guest in GUESTS]
    return [greenlet.get() for greenlet in greenlets]


def test_all_guests_of_a_host_join_one_connection_and_the_last_closes_it():
    assert ways() is ways()
    assert ways() is not ways("two")
    assert ways() is not ways(_sudo=True)
    assert at_once(ways().join) == [""] * 30
    assert Connector.connections == 1
    for guest in GUESTS[1:]:
        ways().leave(guest)
    assert ways()._ssh.client is not None
    ways().leave(GUESTS[0])
    assert ways()._ssh.client is None
    ways().join(GUESTS[0])
    assert Connector.connections == 2


def test_a_host_that_cannot_be_reached_is_tried_once_for_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Connector, "error", "no route")
    assert at_once(ways().join) == ["no route"] * 30
    assert Connector.connections == 1
    monkeypatch.setattr(Connector, "error", None)
    ways().join("web")
    assert Connector.connections == 2


def test_no_more_commands_at_once_than_sshd_takes():
    ways().join("web")

    def run(_guest: str) -> None:
        with ways().channel(["true"], [b"not read"]):
            gevent.sleep(0.001)

    assert at_once(run) == [""] * 30
    assert Connector.most_channels == CHANNELS


def test_a_connection_that_is_gone_is_told():
    ways().join("web")
    ways().leave("web")
    with pytest.raises(SSHException, match="cut off"), ways().channel(["true"]):
        pass
