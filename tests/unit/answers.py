"""Answers of fact scripts, put together from their parts."""


def part(header: str, text: str = "", code: int = 0) -> list[str]:
    return [f":: {header}", *(f"|{line}" for line in text.split("\n")), f":= {code}"]


def answer(*parts: list[str]) -> list[str]:
    return [*(line for lines in parts for line in lines), ":: done"]
