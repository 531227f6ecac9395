"""Share what all reports for machines have: frozen data with a version, and its JSON."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict


class Report(BaseModel):
    """Data that is printed as JSON; `pyinfra-nspawn schema` prints its schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_text(self) -> str:
        """Return the JSON, indented and in ASCII: what a guest has a say in cannot reach a terminal."""
        return json.dumps(self.model_dump(mode="json"), indent=2)
