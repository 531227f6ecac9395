"""JSON schemas of the inventory's data and of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyinfra_nspawn.reports.drift import Drift
from pyinfra_nspawn.reports.history import HistoryReport
from pyinfra_nspawn.reports.k3s import K3sReport
from pyinfra_nspawn.reports.status import Status
from pyinfra_nspawn.specs import Guest, HostSettings

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "guest": Guest.model_json_schema,
    "nspawn_host": HostSettings.model_json_schema,
    "drift": lambda: Drift.model_json_schema(mode="serialization"),
    "history": lambda: HistoryReport.model_json_schema(mode="serialization"),
    "k3s": lambda: K3sReport.model_json_schema(mode="serialization"),
    "status": lambda: Status.model_json_schema(mode="serialization"),
}
"""The schemas by name: of a guest, of a host's settings, and of the reports."""
