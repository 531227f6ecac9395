"""Which sources an inventory may name, and what is too near to a commit to be a ref."""

import pytest

from tests.unit.refused import accepted, refusal

COMMIT = "0123456789abcdef" * 4


@pytest.mark.parametrize("remote", ["", "fedora:"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{COMMIT}.0", "is a deployment; write its commit, without '.0'"),
        (f"{COMMIT}.12", "is a deployment; write its commit, without '.12'"),
        (f"{COMMIT.upper()}.0", "is a deployment; write its commit, without '.0'"),
        (f"{COMMIT[:20]}.1", "is a deployment; write its commit, without '.1'"),
        (COMMIT.upper(), "a commit is written in lower case"),
        (COMMIT[:-1] + "F", "a commit is written in lower case"),
        (COMMIT[:12].upper(), "a commit is written with all its 64 hex digits"),
        (f"{COMMIT}0", "a commit is written with all its 64 hex digits"),
    ],
)
def test_what_an_administrator_may_take_for_a_commit(remote: str, name: str, words: str):
    assert refusal(source=f"{remote}{name}").endswith(f"source: {words}")


@pytest.mark.parametrize("ref", ["f43/20240101.0", "20240101.0", "stable/ABCDEF0123", "v1.0"])
def test_a_ref_with_digits(ref: str):
    assert accepted(source=ref).source.ref == ref


@pytest.mark.parametrize(
    "source",
    [
        {"commit": COMMIT.upper()},
        {"commit": f"{COMMIT}.0"},
        {"commit": "x"},
        {"ref": COMMIT},
        {"ref": "--all"},
        {"ref": "host"},
        {"ref": "a", "commit": COMMIT},
        {"remote": "fedora"},
        {"remote": "-x", "ref": "a"},
        {"guest": True, "ref": "a"},
        {"image": "a"},
        {"image": "docker://x y"},
    ],
)
def test_a_source_by_its_parts_is_what_its_text_says(source: dict[str, object]):
    assert ": source" in refusal(isolation="none", source=source)
