"""Files of k3s on a host: stored once, whole or not at all, and linked for each guest."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.host.machine import WORK, Answer, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An executable of this machine's architecture: the magic, class and machine of `sh`, and more.
BINARY = Path("/bin/sh").read_bytes()[:3000]
OTHER = BINARY + b"other"
ARCHIVE = b"no program" * 300


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def append(
    machine: Machine,
    content: bytes,
    kind: str = "binary",
    offset: int = 0,
    upto: int | None = None,
    **given: str,
) -> Answer:
    """Send a file's bytes from an offset on, or some of them."""
    payload = base64.b64encode(content[offset:upto])
    words = (given.get("sha256") or sha256(content), kind, str(len(content)), str(offset), str(len(payload)))
    return machine.run("change", "host", "--", "store-append", "-", *words, payload=payload)


def stored(machine: Machine) -> list[str]:
    return machine.shell("ls -A state/.k3s 2>/dev/null || :").split()


def place(machine: Machine, name: str, **files: bytes) -> Answer:
    entries = [f"{sha256(content)}={path}" for path, content in files.items()]
    return machine.run("change", f"guest:{name}", "--", "k3s-place", name, *entries)


def trouble(answer: Answer) -> tuple[str, str]:
    assert answer.code == 1
    (found,) = answer.outcome.troubles
    return found.problem, found.hint


def test_a_file_arrives_in_pieces_and_is_resumed_where_it_was_cut_off(machine: Machine):
    first = append(machine, BINARY, upto=1000)
    assert first.snapshot.host.stored[sha256(BINARY)].size == 1000
    assert not first.snapshot.host.stored[sha256(BINARY)].whole
    passed_over = append(machine, BINARY, offset=2000)
    assert passed_over.steps() == {"store-append": "nothing"}
    assert passed_over.snapshot.host.stored[sha256(BINARY)].size == 1000
    assert append(machine, BINARY, offset=1000).snapshot.host.stored[sha256(BINARY)].whole
    assert stored(machine) == [sha256(BINARY)]
    assert machine.shell("stat -c %a state/.k3s state/.k3s/*") == "700\n755\n"
    assert append(machine, BINARY).steps() == {"store-append": "nothing"}


@pytest.mark.parametrize(
    ("content", "given", "problem"),
    [
        (ARCHIVE, {}, "it is no program for this host ("),
        (BINARY, {"sha256": "0" * 64}, f"its sha256 is {sha256(BINARY)}"),
        (BINARY[:18] + b"\xff\xff" + BINARY[20:], {}, "it is no program for this host ("),
    ],
    ids=["no program", "another digest", "another architecture"],
)
def test_what_is_wrong_is_not_stored(machine: Machine, content: bytes, given: dict[str, str], problem: str):
    said, hint = trouble(append(machine, content, **given))
    assert said.startswith(problem)
    assert hint
    assert stored(machine) == []


def test_archives_need_be_no_programs(machine: Machine):
    assert append(machine, ARCHIVE, "images").code == 0
    assert stored(machine) == [sha256(ARCHIVE)]


def test_a_guest_has_what_is_stored_and_the_last_one_takes_it_along(machine: Machine):
    for content, kind in ((BINARY, "binary"), (OTHER, "binary"), (ARCHIVE, "images")):
        assert append(machine, content, kind).code == 0
    assert place(machine, "web", k3s=BINARY, **{"images/a.tar": ARCHIVE}).steps() == {"k3s-place": "changed"}
    assert place(machine, "web", k3s=BINARY, **{"images/a.tar": ARCHIVE}).steps() == {"k3s-place": "nothing"}
    seen = place(machine, "db", k3s=BINARY).snapshot.guests["db"]
    assert seen.k3s.files == {"k3s": sha256(BINARY)}
    assert machine.shell("cat state/db/k3s/sha256") == f"{sha256(BINARY)}\n"
    assert machine.facts("host").snapshot.host.stored[sha256(BINARY)].links == 3

    before = machine.shell("stat -c %i state/web/k3s").strip()
    assert place(machine, "web", k3s=OTHER).steps() == {"k3s-place": "changed"}
    assert machine.shell("stat -c %i state/web/k3s").strip() == before, "the guest sees that directory"
    assert set(stored(machine)) == {sha256(BINARY), sha256(OTHER)}, "the archive was the guest's alone"
    assert place(machine, "db", k3s=OTHER).code == 0
    assert stored(machine) == [sha256(OTHER)]
    for name in ("web", "db"):
        machine.change(f"guest:{name}", "--", "k3s-unplace", name)
    assert machine.shell("find state -name '*k3s*'") == ""


def test_what_is_not_stored_is_not_placed(machine: Machine):
    problem, hint = trouble(place(machine, "web", k3s=BINARY))
    assert (problem, hint) == ("the host does not have k3s of k3s", "Run again.")
    assert machine.shell("ls -A state/web") == ""


def test_only_what_nobody_has_and_nobody_is_to_get_is_removed(machine: Machine):
    append(machine, BINARY)
    append(machine, OTHER)
    append(machine, ARCHIVE, "images", upto=100)
    place(machine, "web", k3s=BINARY)
    prune = ("change", "host", "--", "store-prune", "-")
    assert machine.run(*prune, sha256(OTHER)).steps() == {"store-prune": "changed"}
    assert set(stored(machine)) == {sha256(BINARY), sha256(OTHER)}
    assert machine.run(*prune).steps() == {"store-prune": "changed"}
    assert stored(machine) == [sha256(BINARY)]
    assert machine.run(*prune).steps() == {"store-prune": "nothing"}


def test_a_file_that_cannot_be_written_keeps_nothing_of_it(machine: Machine):
    """/dev/full takes the place of the part: a write to it fails as one to a full disk does."""
    machine.shell(f"mkdir -p -m 700 state/.k3s; ln -s /dev/full state/.k3s/.{sha256(ARCHIVE)}.part")
    problem, hint = trouble(append(machine, ARCHIVE, "images"))
    assert problem == "it cannot be stored"
    assert hint
    assert stored(machine) == []


class Files(http.server.BaseHTTPRequestHandler):
    """Serve BINARY at /k3s, with ranges or without."""

    ranges = True
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers["Range"] or "all")
        if self.path != "/k3s":
            self.send_error(404)
            return
        begin = int(self.asked[-1].removeprefix("bytes=").rstrip("-")) if "=" in self.asked[-1] else 0
        if not self.ranges:
            begin = 0
        elif begin >= len(BINARY):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(BINARY) - 1}/{len(BINARY)}")
        self.send_header("Content-Length", str(len(BINARY) - begin))
        self.end_headers()
        self.wfile.write(BINARY[begin:])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(*, ranges: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Serve files on loopback; give the URL, and the list of ranges that are asked for."""
    handler = type("Handler", (Files,), {"ranges": ranges, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
        server.shutdown()


def fetch(machine: Machine, url: str, content: bytes = BINARY) -> Answer:
    words = (sha256(content), "binary", "5", str(len(url)))
    return machine.run("change", "host", "--", "store-fetch", "-", *words, payload=url.encode())


def test_a_url_is_fetched_by_the_host_and_resumed(machine: Machine):
    append(machine, BINARY, upto=1000)
    with served() as (url, asked):
        assert fetch(machine, f"{url}/k3s").steps() == {"store-fetch": "changed"}
        assert fetch(machine, f"{url}/k3s").steps() == {"store-fetch": "nothing"}
    assert asked == ["bytes=1000-"]
    assert stored(machine) == [sha256(BINARY)]


def test_what_arrived_whole_before_it_was_cut_off_is_not_fetched_again(machine: Machine):
    append(machine, BINARY + b"more", upto=len(BINARY))
    machine.shell(f"cd state/.k3s && mv .*.part .{sha256(BINARY)}.part")
    with served() as (url, asked):
        fetch(machine, f"{url}/k3s")
        fetch(machine, f"{url}/k3s")
    assert asked[0] == f"bytes={len(BINARY)}-"
    assert stored(machine) == [sha256(BINARY)]


def test_a_server_that_cannot_continue_is_asked_for_all_of_it(machine: Machine):
    append(machine, BINARY, upto=1000)
    with served(ranges=False) as (url, asked):
        assert fetch(machine, f"{url}/k3s").steps() == {"store-fetch": "nothing"}
        assert stored(machine) == []
        assert fetch(machine, f"{url}/k3s").steps() == {"store-fetch": "changed"}
    assert asked == ["bytes=1000-", "all"]
    assert stored(machine) == [sha256(BINARY)]


def test_what_cannot_be_fetched_says_why(machine: Machine):
    with served() as (url, _):
        problem, hint = trouble(fetch(machine, f"{url}/another"))
        assert problem.startswith("it cannot be fetched: curl: (22) ")
        assert "404" in problem
        assert hint == "Check the `url`, and the host's way to it."
        problem, _ = trouble(fetch(machine, f"{url}/k3s", OTHER))
        assert problem == f"its sha256 is {sha256(BINARY)}"
    problem, _ = trouble(fetch(machine, f"{url}/k3s"))
    assert problem.startswith("it cannot be fetched: curl: (7) ")
    assert stored(machine) == []


def test_the_password_in_a_url_is_in_no_command_line(machine: Machine):
    """A curl that keeps its arguments, and what it read."""
    curl = f"#!/bin/sh\necho $* >{WORK}/called; cat >{WORK}/called.stdin; exit 7\n"
    machine.shell(f"printf %s '{curl}' >bin/curl; chmod 755 bin/curl")
    fetch(machine, "https://ada:s3cret@192.0.2.1/k3s")
    assert "s3cret" not in machine.shell("cat called")
    assert "s3cret" in machine.shell("cat called.stdin")
