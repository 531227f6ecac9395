"""The program as it is sent: one text, one word."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import subprocess

import pytest

from pyinfra_nspawn.facts.program import command_line, source, text

#: An argument may have 128 KiB (execve(2)); the program is one of `sh`, and the call of `main` has the rest.
LONGEST = 118_000


def test_shellcheck_finds_nothing():
    # Whole, as it is sent: what one file defines another uses.
    options = ["--shell=sh", "--exclude=SC2034,SC2317"]
    whole = f"{source()}\nmain facts host\n"
    done = subprocess.run(
        ["shellcheck", *options, "-"], input=whole, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_it_is_ascii_and_fits_into_an_argument():
    assert text().isascii()
    assert len(text()) < LONGEST


@pytest.mark.parametrize(
    "words", [("facts", "host"), ("change", "guest:web", "--", "remove", "web", "a'b\n$x!")]
)
def test_the_command_line_passes_any_login_shell(words: tuple[str, ...]):
    line = command_line(*words)
    assert not set("'$!\\\n") & set(line)
    word = re.search(r"echo ([A-Za-z0-9+/=]+)\|base64", line)
    assert word is not None
    unpacked = gzip.decompress(base64.b64decode(word[1])).decode()
    assert unpacked == f"{text()}\nmain {shlex.join(words)}\n"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "fish", "tcsh"])
def test_a_login_shell_runs_it(shell: str):
    wrapped = f"sh -c '{command_line('facts', 'no such part')}'"
    done = subprocess.run([shell, "-c", wrapped], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("\n:: done\n"), done


def test_what_has_one_definition_is_written_once():
    program = text()
    assert program.count("ostree admin ") - len(re.findall(r"#.*ostree admin |`ostree admin ", program)) <= 3
    calls = [line for line in program.splitlines() if re.match(r"(exec )?ostree admin ", line)]
    assert calls == ['ostree admin "$@"']
    assert program.count("# Managed by pyinfra-nspawn") == 1
    assert program.count("ln -sfn") == 1


def test_no_file_does_anything_when_it_is_read():
    done = subprocess.run(["sh", "-eu", "-c", f"{text()}\nset"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    before = subprocess.run(["sh", "-eu", "-c", "set"], capture_output=True, text=True, check=True).stdout
    # A value may have many lines.
    names = {word.partition("=")[0] for word in {*shlex.split(done.stdout)} - {*shlex.split(before)}}
    # Constants alone, in capitals.
    assert {"SEAL", "UNPACK"} < names
    assert all(name.isupper() for name in names - {"_"}), names
