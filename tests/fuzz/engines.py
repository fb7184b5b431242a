"""The two ways to make inputs: atheris, which follows the branches that are taken, or else Hypothesis, which doesn't.

Imports nothing of the program before atheris can instrument it.
"""

import hashlib
import importlib
import importlib.util
import itertools
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tests.fuzz.oracle import Guard

CORPUS, TARGETS = Path(__file__).parent / "corpus", Path(__file__).parent / "targets"
NAMES = sorted(path.stem for path in TARGETS.glob("*.py") if path.stem != "__init__")
INSTRUMENTED = (
    "pp1_orchestrator", "aiortc", "aioice", "starlette", "fastapi", "h11", "yaml", "omegaconf", "hydra",
)  # fmt: skip
"""Packages in which atheris sees the branches. Compiled code it does not see."""
LEFT_OUT = ("hydra.grammar.gen", "omegaconf.grammar.gen")
"""Generated parsers: large tables, and no branch of interest."""
MOST_BYTES = 64 * 1024
EXAMPLES = 200


def import_target(name: str) -> ModuleType:
    """Raises ModuleNotFoundError for an unknown one."""
    return importlib.import_module(f"tests.fuzz.targets.{name}")


def seeds(name: str, target: ModuleType) -> dict[str, bytes]:
    """The corpus by file name, and the target's other seeds."""
    files = {path.name: path.read_bytes() for path in sorted((CORPUS / name).glob("*"))}
    more = getattr(target, "seeds", list)()
    return files | {f"seed-{number}": data for number, data in enumerate(more)}


def close(target: ModuleType) -> None:
    """End what the target keeps open between two inputs."""
    getattr(target, "close", lambda: None)()


def guarded(target: ModuleType) -> Guard:
    return Guard(target.fuzz_one, getattr(target, "still_works", lambda: None))


class Run:
    """Calls a target until the time is over and keeps one input of each kind of finding, as a file in `folder`."""

    def __init__(self, guard: Guard, seconds: float, folder: Path) -> None:
        self._guard, self._folder = guard, folder
        self._start_s = time.monotonic()
        self._end_s = self._start_s + seconds
        self._kinds: set[str] = set()
        self._executions = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end_s

    def __call__(self, data: bytes) -> None:
        self._executions += 1
        self._record(lambda: self._guard(data), data)

    def finish(self) -> int:
        """Report; the exit code."""
        self._record(self._guard.look, b"")
        seconds = time.monotonic() - self._start_s
        figures = f"{self._executions} executions in {seconds:.0f} s, {self._executions / seconds:.1f}/s"
        sys.stdout.write(f"{figures}, {len(self._kinds)} findings\n")
        sys.stdout.flush()
        return 1 if self._kinds else 0

    def _record(self, act: Callable[[], None], data: bytes) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - what a target raises is what is looked for
            self._keep(error, data)

    def _keep(self, error: Exception, data: bytes) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} {place.filename}:{place.lineno} {re.sub(r'[^A-Za-z ]', '', str(error))[:40]}"
        if kind in self._kinds:
            return
        self._kinds.add(kind)
        path = self._folder / f"finding-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        sys.stdout.write(f"FINDING {path}: {type(error).__name__}: {str(error)[:300]!r}\n")
        sys.stdout.flush()


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def fuzz_with_atheris(name: str, seconds: float, folder: Path, seed: int) -> int:
    """Does not return: libFuzzer ends the process. It prints edges (`cov:`) and executions per second."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(INSTRUMENTED), exclude=list(LEFT_OUT)):
        target = import_target(name)
    grown, given = folder / "corpus", folder / "seeds"
    for path in (grown, given):
        path.mkdir(parents=True, exist_ok=True)
    for file, data in seeds(name, target).items():
        (given / file).write_bytes(data)
    run = Run(guarded(target), seconds, folder)

    def fuzz_one(data: bytes) -> None:
        run(data)
        if run.is_over:
            os._exit(run.finish())

    options = [f"-max_len={MOST_BYTES}", "-timeout=300", "-rss_limit_mb=0", "-len_control=0", "-use_value_profile=1"]
    options.append(f"-seed={seed}")
    words = CORPUS.parent / "words" / f"{name}.dict"
    if words.is_file():
        options.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(grown), str(given)], fuzz_one)
    atheris.Fuzz()
    raise AssertionError("atheris ends the process")


def fuzz_with_hypothesis(name: str, seconds: float, folder: Path, seed: int) -> int:
    """Rounds of examples, each with the next seed, until the time is over."""
    import hypothesis

    from tests.fuzz.damage import UNCHECKED, damaged

    target = import_target(name)
    run = Run(guarded(target), seconds, folder)
    inputs = damaged(list(seeds(name, target).values()))
    rules = hypothesis.settings(
        database=None, deadline=None, max_examples=EXAMPLES, phases=[hypothesis.Phase.generate],
        suppress_health_check=UNCHECKED,
    )  # fmt: skip
    for number in itertools.count(seed):

        @hypothesis.seed(number)
        @rules
        @hypothesis.given(inputs)
        def examples(data: bytes) -> None:
            if not run.is_over:
                run(data)

        examples()
        if run.is_over:
            code = run.finish()
            close(target)
            return code
    raise AssertionError("never reached")
