"""One log line as JSON: what is known of it, and what is kept out."""

import json
import logging
import sys

from pp1_orchestrator.processes.log_setup import JsonFormatter


def line(formatter, message="chunk %d", arguments=(7,), error=None, **extra):
    record = logging.getLogger("pp1_orchestrator.x").makeRecord(
        "pp1_orchestrator.x", logging.WARNING, "x.py", 1, message, arguments, error, extra=extra
    )
    written = formatter.format(record)
    assert "\n" not in written
    return json.loads(written)


def test_it_has_the_process_and_the_ids_that_are_known():
    told = line(JsonFormatter(2, 3, prompts=False), chunk=7, call_id=9, epoch=1, unknown="no")
    assert told.pop("time").endswith("+00:00")
    assert isinstance(told.pop("pid"), int)
    ids = {"chunk": 7, "call_id": 9, "epoch": 1}
    place = {"level": "WARNING", "logger": "pp1_orchestrator.x", "rank": 2, "generation": 3}
    assert told == {**place, "message": "chunk 7", **ids}


def test_a_process_without_a_generation_may_tell_of_another_ones():
    assert "generation" not in line(JsonFormatter(0, None, prompts=False))
    assert line(JsonFormatter(0, None, prompts=False), generation=4)["generation"] == 4


def test_a_prompt_needs_to_be_allowed():
    assert "prompt" not in line(JsonFormatter(0, None, prompts=False), prompt="a unicorn")
    assert line(JsonFormatter(0, None, prompts=True), prompt="a unicorn")["prompt"] == "a unicorn"


def test_an_error_has_its_traceback_in_the_same_line():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        told = line(JsonFormatter(0, None, prompts=False), error=sys.exc_info())
    assert told["error"].startswith("Traceback")
    assert told["error"].endswith("two\nlines")
