"""Share what all reports for machines have: frozen data with a version, and its JSON."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from typing import TextIO


class Report(BaseModel):
    """Data that is printed as JSON; `pyinfra-nspawn schema` prints its schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_text(self) -> str:
        """Return the JSON, indented and in ASCII: what a guest has a say in cannot reach a terminal."""
        return json.dumps(self.model_dump(mode="json"), indent=2)


class FleetReport(Report):
    """A whole report, with the version of its form."""

    version: Literal[1] = 1
    """Of this form; it changes when a field is removed or means something else."""

    @property
    @abstractmethod
    def exit_code(self) -> int:
        """The exit code of the command that prints it."""

    @abstractmethod
    def show(self, file: TextIO) -> None:
        """Print it as a table for people."""
