"""The script with which a guest that deploys for itself boots what it deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyinfra_nspawn.specs.layout import Layout

_SCRIPT = """
ostree admin{option} status | while read -r name id rest; do
if [ "$name" = "*" ]; then name=$id id=${{rest%% *}}; fi;
if [ "$name" = {name} ]; then cd {directory};
ln -sfn {deployments}/"$id" .current.new; exec mv -T .current.new current; fi; done
"""


def choose(layout: Layout) -> tuple[str, ...]:
    """Return the command that points `current` at what ostree lists first of the guest's stateroot."""
    script = _SCRIPT.format(
        option="" if layout.shared else f" --sysroot={layout.directory}",
        name=layout.name,
        directory=layout.directory,
        deployments=layout.deployments,
    )
    # A unit file has no word with a newline in it.
    return ("sh", "-ec", " ".join(script.split()))
