"""Hostile offers without end: real ones of three kinds of viewer, damaged by a seeded random generator."""

import random
from collections.abc import Iterator
from pathlib import Path

SEEDS = Path(__file__).parent / "offers"
ODD = (
    "",
    " ",
    "\x00",
    "-1",
    "0",
    "4294967296",
    str(2**63),
    "1e9",
    "\ud7ff",
    "🟥" * 40,
    "a" * 3000,
    "%s%n",
    "../..",
    "=",
)
ADDRESSES = ("127.0.0.1", "::1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "::ffff:10.0.0.1", "nobody.local", "1.2.3")


def seeds() -> list[str]:
    """Offers as a browser or aiortc writes them."""
    return [path.read_text() for path in sorted(SEEDS.glob("*.sdp"))]


def mutants(count: int, seed: int) -> Iterator[str]:
    """`count` offers, each with one to six damages; the same for the same seed."""
    chance = random.Random(seed)
    corpus = seeds()
    for _ in range(count):
        lines = chance.choice(corpus).splitlines()
        for _ in range(chance.randint(1, 6)):
            chance.choice(DAMAGES)(lines, chance)
        yield "\r\n".join(lines) + "\r\n"


def _drop(lines: list[str], chance: random.Random) -> None:
    if lines:
        del lines[chance.randrange(len(lines))]


def _drop_many(lines: list[str], chance: random.Random) -> None:
    start = chance.randrange(len(lines) + 1)
    del lines[start : start + chance.randint(1, 20)]


def _double(lines: list[str], chance: random.Random) -> None:
    if lines:
        lines.insert(chance.randrange(len(lines)), chance.choice(lines))


def _swap(lines: list[str], chance: random.Random) -> None:
    if lines:
        a, b = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]


def _word(lines: list[str], chance: random.Random) -> None:
    """Another word in one place of a line."""
    if lines:
        at = chance.randrange(len(lines))
        words = lines[at].split(" ")
        words[chance.randrange(len(words))] = chance.choice(ODD)
        lines[at] = " ".join(words)


def _value(lines: list[str], chance: random.Random) -> None:
    """A line that ends after its name, or in something odd."""
    if lines:
        at = chance.randrange(len(lines))
        lines[at] = lines[at].split(":", 1)[0] + chance.choice((":", "")) + chance.choice(ODD)


def _letter(lines: list[str], chance: random.Random) -> None:
    if lines:
        at = chance.randrange(len(lines))
        place = chance.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:place] + chr(chance.randrange(1, 0x2FF)) + lines[at][place + 1 :]


def _many(lines: list[str], chance: random.Random) -> None:
    if lines:
        lines[:] += [chance.choice(lines)] * chance.choice((10, 100, 5000))


def _candidates(lines: list[str], chance: random.Random) -> None:
    host = chance.choice(ADDRESSES)
    lines += [
        f"a=candidate:1 1 udp {i} {host} {chance.randrange(70000)} typ host" for i in range(chance.randint(1, 40))
    ]


def _cut(lines: list[str], chance: random.Random) -> None:
    del lines[chance.randrange(len(lines) + 1) :]


DAMAGES = (_drop, _drop_many, _double, _swap, _word, _word, _value, _value, _letter, _many, _candidates, _cut)
