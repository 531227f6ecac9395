"""The group data that pyinfra will read for an inventory that is still being run."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinfra.api.state import State
from pyinfra.context import ctx_state
from pyinfra_cli.inventory import _get_group_data as read_folder

if TYPE_CHECKING:
    from collections.abc import Mapping


def group_data_of(hosts: object, own: Mapping[str, Any], inventory: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a group of hosts as pyinfra merges it: a group's file wins over the inventory.

    + hosts: the group
    + own: what the inventory itself says of it
    + inventory: the names that its inventory has bound so far; those bound to `hosts` are its groups

    `group_data` is looked for beside the inventory and in the working directory. The groups are `all`, those
    names and the inventory file's own name. Folders of `--group-data` are not known yet.
    """
    path = inventory.get("__file__")
    if not path:
        return dict(own)
    groups = [*(name for name, value in inventory.items() if value is hosts), Path(path).stem]
    folders = dict.fromkeys(Path(where, "group_data").resolve() for where in (Path.cwd(), Path(path).parent))
    found: dict[str, dict[str, Any]] = {}
    with nullcontext() if ctx_state.isset() else ctx_state.use(State()):  # files are run in a state
        for folder in folders:
            for group, data in read_folder(str(folder)).items():
                found.setdefault(group, {}).update(data)
    of_groups = {key: value for group in groups for key, value in found.get(group, {}).items()}
    return {**found.get("all", {}), **own, **of_groups}
