"""A guest's own checks."""

import pytest

from pyinfra_nspawn.specs import Checks
from pyinfra_nspawn.specs.base import InvalidSpecError


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (22, "127.0.0.1 22"),
        ("192.0.2.1:80", "192.0.2.1 80"),
        ("db.example:5432", "db.example 5432"),
        ("[2001:db8::1]:443", "2001:db8::1 443"),
    ],
)
def test_an_address_and_its_port(given: object, read: str):
    assert Checks.of({"tcp": [given]}, "x").tcp == (read,)


@pytest.mark.parametrize("given", [0, 65536, "80", "-h:80", "a b:80", "$(id):80", "a/b:80", True, None, "x:"])
def test_what_is_no_address_is_refused(given: object):
    with pytest.raises(InvalidSpecError):
        Checks.of({"tcp": [given]}, "x")


@pytest.mark.parametrize(
    "given",
    [
        "file:///etc/shadow",
        "http://",
        "-o/etc/passwd",
        "http://a/{b,c}",
        "http://a/[1-9]",
        "http://user@a/",
        "http://a/ b",
        "http://a/\n",
    ],
)
def test_what_is_no_url_is_refused(given: str):
    with pytest.raises(InvalidSpecError):
        Checks.of({"http": [given]}, "x")


@pytest.mark.parametrize("given", ["http://localhost:8080/healthz?a=b&c", "https://[::1]:8443/", "http://a"])
def test_urls(given: str):
    assert Checks.of({"http": [given]}, "x").http == (given,)
