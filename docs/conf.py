"""Sphinx's configuration; the reference of fields and kinds is generated from the package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import generate  # noqa: E402

from pyinfra_nspawn import __version__  # noqa: E402

generate.main()

project = "pyinfra-nspawn"
author = "The pyinfra-nspawn maintainers"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["generated", "schema"]
autodoc_typehints = "none"
# The rules of this package's docstrings: a list of arguments begins with `+`, and code stands in one pair of
# backticks, which reStructuredText takes for emphasis.
default_role = "code"
html_theme = "furo"
html_title = "pyinfra-nspawn"
suppress_warnings = ["myst.xref_missing"]  # links of PROMISES.md into the repository
