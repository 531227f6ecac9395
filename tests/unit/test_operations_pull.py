"""What a pull shows while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from pyinfra.connectors.util import CommandOutput, OutputLine

from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.operations import _pull
from pyinfra_nspawn.operations._pull import PullProgram

if TYPE_CHECKING:
    import pytest

FAILED = Outcome(troubles=(Trouble("pull", "web", "no signature", "Sign it."),))


class Host:
    """A host that gives these answers, or raises these errors, one after another."""

    print_prefix = "[one] "

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers, self.asked = answers, gevent.event.Event()
        self._next = iter(answers)

    def run_shell_command(self, *_: object, **__: object) -> tuple[bool, CommandOutput]:
        answer = next(self._next, None)
        if answer is None:
            self.asked.set()
            raise TimeoutError
        if isinstance(answer, Exception):
            raise answer
        return True, CommandOutput([OutputLine("stdout", line) for line in answer])


class Pull:
    """A pull that goes on until its host has given all answers."""

    def __init__(self, host: Host) -> None:
        self.host, self.outcome = host, Outcome()

    def execute(self, *_: object) -> tuple[bool, CommandOutput]:
        assert self.host.asked.wait(30)
        self.outcome = FAILED
        return True, CommandOutput([])


def shown(monkeypatch: pytest.MonkeyPatch, *answers: list[str] | Exception) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(_pull, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(_pull, "MOST_SECONDS", 0.01)
    monkeypatch.setattr(_pull.logger, "info", lambda _, line: lines.append(line))
    host = Host(*answers)
    program = PullProgram("web", Pull(host))  # type: ignore[arg-type]
    program.execute(None, host, {})  # type: ignore[arg-type]
    assert program.outcome == FAILED
    return lines


def answer(count: int) -> list[str]:
    return [":: pulled", f"|{count}", ":: done"]


def test_only_news_is_shown(monkeypatch: pytest.MonkeyPatch):
    lines = shown(monkeypatch, answer(0), answer(0), answer(3 * 2**19), answer(3 * 2**19), answer(2**20))
    assert lines == ["[one] web: 0.0 MiB have arrived", "[one] web: 1.5 MiB have arrived"]


def test_an_answer_that_says_nothing_decides_nothing(monkeypatch: pytest.MonkeyPatch):
    strange = ([], ["motd"], [":: done"], [":: pulled", "|many", ":: done"], OSError(), answer(2**20))
    assert shown(monkeypatch, *strange) == ["[one] web: 1.0 MiB have arrived"]
