"""Scripts in YAML. The only error is ConfigError; what is accepted is written again, and read as the same."""

import tempfile
from pathlib import Path

from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.stage0.timeline import Timeline, read_script, write_script
from tests.fuzz.oracle import Finding, check_line

FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
PATH, COPY = Path(FOLDER.name, "script.yaml"), Path(FOLDER.name, "copy.yaml")


def fuzz_one(data: bytes) -> None:
    PATH.write_bytes(data)
    try:
        entries = read_script(PATH)
    except ConfigError as error:
        check_line(error, len(data))
        return
    write_script(entries, COPY, "written again")
    if repr(read_script(COPY)) != repr(entries):
        raise Finding(f"{entries} are read as {read_script(COPY)} after they were written")
    timeline = Timeline(entries)
    for chunk in range(4):
        timeline.drops(chunk)
        timeline.take(chunk)
    try:
        timeline.replace(entries, relative=True)
    except RequestError as error:  # not everything that a script may have is possible while a stream runs
        check_line(error)
