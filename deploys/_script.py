"""A deploy file that pyinfra runs by its path."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import state


def is_script(file: str) -> bool:
    """Return whether pyinfra runs the deploy file `file` itself, instead of importing it as a module.

    Raises `PyinfraError`, one readable line, when the file lies in a clone but would run another, installed
    pyinfra_nspawn: whoever edits or updates the clone would wait for an effect in vain.
    """
    if state.current_exec_filename != file:
        return False
    folder, imported = Path(file).resolve().parent, Path(__file__).resolve().parent
    if folder != imported:
        message = (
            f"{file} would run the deploys installed in {imported}. "
            f'Run "pip install --editable {folder.parent}", or "pip uninstall pyinfra-nspawn".'
        )
        raise PyinfraError(message)
    return True
