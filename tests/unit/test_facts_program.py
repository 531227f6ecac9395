"""The way of the program and its arguments through every shell to a host."""

import base64
import gzip
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyinfra.api.command import StringCommand
from pyinfra.connectors.util import make_unix_command

from pyinfra_nspawn.facts import program
from pyinfra_nspawn.facts.history import History
from pyinfra_nspawn.facts.host import HostFacts
from pyinfra_nspawn.facts.nspawn import Guests
from pyinfra_nspawn.facts.ostree import Sysroots
from pyinfra_nspawn.facts.program import command_line, text
from pyinfra_nspawn.facts.snapshot import SnapshotFacts

SHELLS = [shell for shell in ("dash", "bash", "busybox", "zsh", "fish", "tcsh") if shutil.which(shell)]
HARMLESS = re.compile(r'[A-Za-z0-9+/= "`|-]+')
STEADY = settings(deadline=None, derandomize=True)
MAX_ARG_STRLEN = 128 * 1024
"""What Linux takes for one argument."""

ECHO = """\
main() {
    printf '%s\\0' "$@"
}
"""

# An argument is any text that a path or a word can be; bytes that are no UTF-8 too.
arguments = st.one_of(
    st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    st.binary().map(lambda raw: raw.replace(b"\0", b"").decode(errors="surrogateescape")),
    st.text("'\"$`!\\\n\r\t *?[]{}()~#&|;<>%=:-äa"),
)


@pytest.fixture(scope="module", autouse=True)
def _program_is_packed_anew() -> Iterator[None]:
    yield
    program._packed.cache_clear()


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a program that prints its arguments."""
    monkeypatch.setattr(program, "text", lambda: ECHO)
    program._packed.cache_clear()
    yield
    program._packed.cache_clear()


def unpacked(command: str) -> str:
    (word,) = re.findall(r"`echo (\S+)\|base64 -d\|gzip -dc`", command)
    return gzip.decompress(base64.b64decode(word, validate=True)).decode(errors="surrogateescape")


def run(*argv: str, **environ: str) -> bytes:
    done = subprocess.run(argv, capture_output=True, env={**os.environ, **environ}, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return done.stdout


def nul_ended(words: tuple[str, ...]) -> bytes:
    return b"".join(word.encode(errors="surrogateescape") + b"\0" for word in words) or b"\0"


def by_login_shell(shell: str) -> Callable[[str], tuple[str, ...]]:
    """Return how sshd has a login shell run what pyinfra sends."""
    words = ("busybox", "sh") if shell == "busybox" else (shell,)

    def argv(command: str) -> tuple[str, ...]:
        sent = make_unix_command(StringCommand(command))
        return (*words, "-c", sent.get_raw_value())

    return argv


@STEADY
@given(words=st.lists(arguments))
def test_the_word_unpacks_to_the_program_and_its_arguments(words: list[str]):
    command = command_line(*words, private_mounts=False)
    unchanged, call = unpacked(command).removeprefix(text()).split("\n", 1)
    assert unchanged == ""
    assert shlex.split(call) == ["main", *words]
    assert call.endswith("\n")


@STEADY
@given(words=st.lists(arguments))
@example(words=["facts", "host"])
@example(words=["change", "guest:web", "--", "remove", "web", ""])
def test_nothing_in_it_means_anything_to_a_login_shell(words: list[str]):
    """No single quote, `$`, `!`, backslash or newline: not of the constant, and not of a value."""
    assert HARMLESS.fullmatch(command_line(*words))
    assert HARMLESS.fullmatch(command_line(*words, private_mounts=True))


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_login_shell_runs_it(shell: str, locale: str):
    words = (
        "facts",
        "",
        "a b",
        "$HOME",
        "`id`",
        "!!",
        "\\",
        "'",
        '"',
        "\n",
        "*",
        "-n",
        "ä",
        "\udce9",
        "\x81\x88",
    )
    argv = by_login_shell(shell)(command_line(*words))
    assert run(*argv, LC_ALL=locale) == nul_ended(words)


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_sh_itself_runs_it(shell: str):
    assert run(shell, "-c", command_line("a", "b\nc")) == b"a\0b\nc\0"


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_arguments_arrive_as_they_are(shell: str):
    """hypothesis and a function's fixture do not go together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "text", lambda: ECHO)
        program._packed.cache_clear()

        @settings(STEADY, max_examples=60)
        @given(words=st.lists(arguments, max_size=4))
        @example(words=[])
        @example(words=["\n", "a\n", "\n\n\n"])
        @example(words=["\udc81\udc82\udc83\udc84\udc85\udc86\udc87\udc88"])  # which dash uses for itself
        def arrive(words: list[str]) -> None:
            command = command_line(*words, private_mounts=False)
            assert run(shell, "-c", command) == nul_ended(tuple(words))

        arrive()
    program._packed.cache_clear()


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize("shell", SHELLS)
def test_stdin_stays_free_for_payloads(shell: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "text", lambda: "main() { head -c 3; cat; }")
    program._packed.cache_clear()
    argv = by_login_shell(shell)(command_line())
    payload = os.urandom(100_000)
    done = subprocess.run(argv, input=payload, capture_output=True, check=True, timeout=60)
    assert done.stdout == payload


@pytest.mark.usefixtures("echo")
def test_a_change_gets_mounts_of_its_own(tmp_path: Path):
    stand_in = tmp_path / "unshare"
    stand_in.write_text('#!/bin/sh\nprintf "%s " "$1" "$2" "$3"\nshift 3\nexec "$@"\n')
    stand_in.chmod(0o755)
    argv = by_login_shell("dash")(command_line("change", "it's", "\n"))
    output = run(*argv, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert output == b"--mount --propagation slave change\0it's\0\n\0"


def test_only_a_change_does():
    assert command_line("change", "host").startswith("unshare ")
    assert command_line("change", "host", options=("--by", "me")).startswith("unshare ")
    for mode in ("facts", "await", "trial"):
        assert command_line(mode, "change").startswith("eval ")


def test_it_fits_into_a_command_line():
    words = ["change", "guest:web", *["--", "deploy", "web", "private", "a" * 64] * 8]
    # One argument may have 128 KiB (MAX_ARG_STRLEN): packed the login shell's, and unpacked that of `sh`.
    assert len(command_line(*words)) < 48_000
    assert len(text()) < 118_000
    # A change hands the text itself to sh.
    assert len(unpacked(command_line(*words)).encode()) < MAX_ARG_STRLEN - 10_000


def test_the_same_words_are_the_same_command():
    assert command_line("facts", "host") == command_line("facts", "host")


def test_the_program_is_ascii_and_does_nothing_by_itself():
    assert text().isascii()
    assert "\r" not in text()
    for shell in ("dash", "bash"):
        assert run(shell, "-euc", text()) == b""


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_real_program_answers(shell: str):
    output = run(shell, "-c", command_line("facts")).decode()
    assert output == ":: done\n"


def test_what_the_facts_send():
    def sent(command: str) -> str:
        return unpacked(command).splitlines()[-1]

    whole = SnapshotFacts().command(names=("web", "db"), commits=("a" * 64,), paths=("/srv/it's",))
    assert sent(HostFacts().command()) == "main facts host"
    assert sent(Sysroots().command()) == "main facts sysroots"
    assert sent(Guests().command()) == "main facts guests"
    assert sent(History().command()) == "main facts history 100"
    assert sent(SnapshotFacts().command(whole=False)) == "main facts host -- network -- sysroot /"
    assert shlex.split(sent(whole)) == shlex.split(
        f'main facts host -- network -- sysroots commit:{"a" * 64} "path:/srv/it\'s" -- guests web db'
    )
