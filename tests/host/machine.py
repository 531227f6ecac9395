"""A host that was never booted: the tools of one generation, in a chroot, and directories of its own.

Real: sh, coreutils, util-linux and ostree of that generation, and the OSTree sysroots. Stand-ins: what asks
systemd or machined; they prove only what they were asked. What takes a booted host is proven in tests/lab.
"""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Part, parse_answer
from pyinfra_nspawn.facts.outcome import Outcome, parse_outcome
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.facts.snapshot import Snapshot, parse_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

STAND_INS = Path(__file__).parent / "stand-ins"
#: Who asks for changes, as the controller says it.
ASKS = ("--by", "ada@controller", "--version", "1.2.3")
#: Where the tools see the directories of a test.
WORK = "/tmp/work"
#: Mounts for one command; `$1` is the tree of the tools, `$2` the directories of a test.
ENTER = f"""
mount --bind "$2" "$2"
[ "$1" = / ] || mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp"
mkdir "$1{WORK}"
mount --bind "$2" "$1{WORK}"
[ ! -e "$2/elsewhere" ] || mount --bind "$2/state" "$1{WORK}/state"
root=$1 path=$3
shift 3
exec chroot "$root" env -i PATH="$path" HOME=/root "$@"
"""
PATH = "/usr/bin:/usr/sbin:/bin:/sbin"


@dataclass(frozen=True)
class Answer:
    """What the program said and how it ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.decode("ascii").split("\n")

    @property
    def parts(self) -> list[Part]:
        return parse_answer(self.lines)

    @property
    def outcome(self) -> Outcome:
        return parse_outcome(self.lines)

    @property
    def snapshot(self) -> Snapshot:
        return parse_snapshot(self.lines)

    def steps(self) -> dict[str, str]:
        """Return what became of each step, by its verb."""
        return {part.words[1]: part.text for part in self.parts if part.words[0] == "step"}

    def part(self, *words: str) -> Part:
        """Return the one part whose header begins with these words."""
        (found,) = (part for part in self.parts if part.words[: len(words)] == words)
        return found


@dataclass(frozen=True)
class Machine:
    """A host that was never booted.

    + tools: the tree of its tools
    + work: the directories of a test: state, sysroot, etc, run, boot, and its stand-ins' own
    """

    tools: Path
    work: Path

    def shell(self, script: str, *arguments: str, check: bool = True) -> str:
        """Run a script with the machine's tools, in the directories of the test."""
        command = self._command(("sh", "-c", f"cd {WORK} || exit\n{script}", "sh", *arguments))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert not check or done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def run(self, *words: str, payload: bytes = b"", first: Iterable[str] = (), sh: str = "sh") -> Answer:
        """Run the program's `main` with these words, asked as a controller asks.

        + first: directories of commands that stand before all others
        + sh: the shell that runs it, as a login shell would
        """
        options = [] if words[0] == "--ask" else [*ASKS, "--roots", WORK]
        line = command_line(*words, options=options, private_mounts="change" in words)
        command = self._command((sh, "-c", line), first)
        # A session of its own: what ends it in the middle ends all of it.
        done = subprocess.run(
            command, input=payload, capture_output=True, check=False, timeout=120, start_new_session=True
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def facts(self, *words: str, seconds: int = 10) -> Answer:
        """Read facts.

        + seconds: how long a guest, or a tool of the host, may take to answer
        """
        answer = self.run("--ask", str(seconds), "--roots", WORK, "facts", *words)
        assert answer.code == 0, answer.stderr
        return answer

    def change(self, *words: str, payload: bytes = b"") -> Answer:
        """Run steps that must succeed."""
        answer = self.run("change", *words, payload=payload)
        assert answer.code == 0, (answer.stderr, answer.stdout)
        return answer

    def recorded(self) -> list[dict[str, str]]:
        """Return the entries that the journal's stand-in was given, and forget them."""
        log = self.work / "systemd/journal"
        entries = log.read_text().strip().split("\n\n") if log.exists() else []
        log.unlink(missing_ok=True)
        return [dict(line.split("=", 1) for line in entry.splitlines()) for entry in entries]

    def calls(self) -> list[str]:
        """Return what the stand-ins were asked, less what only looks, and forget it."""
        log = self.work / "systemd/calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        looks = ("systemctl show", "systemctl is-", "systemctl -M", "machinectl")
        return [line for line in lines if not line.startswith(looks)]

    def _command(self, argv: Iterable[str], first: Iterable[str] = ()) -> list[str]:
        path = ":".join([*first, f"{WORK}/bin", PATH])
        enter = ["unshare", "--mount", "sh", "-ec", ENTER, "sh"]
        return [*enter, str(self.tools), str(self.work), path, *argv]


def lines(*items: tuple[str, str, str | bytes]) -> bytes:
    """Return the payload of a definition: mode, path and content of each file."""
    rows = []
    for mode, path, content in items:
        data = content.encode() if isinstance(content, str) else content
        rows.append(f"{mode} {path} {base64.b64encode(data).decode()}\n" if mode != "-" else f"- {path}\n")
    return "".join(rows).encode()
