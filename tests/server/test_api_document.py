"""docs/api.md has the examples' code and every route, event and status; docs/api_reference.md is up to date."""

import re
from pathlib import Path

import pytest

from pp1_orchestrator.server.event_schemas import EVENT
from pp1_orchestrator.server.openapi import ERRORS
from pp1_orchestrator.server.server_settings import Limits
from scripts.api_reference import TARGET, openapi, reference
from tests.server.test_auth import all_routes

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
SOURCES = {"bash": ("curl.sh",), "python": ("client.py", "packets.py"), "js": ("player.html",)}
SET_UP = BLOCKS[0][1]
"""The variables; the script gets its address from the command line."""


@pytest.mark.parametrize("language", SOURCES)
def test_the_code_is_that_of_the_examples(language):
    source = "\n".join((ROOT / "examples" / name).read_text(encoding="utf-8") for name in SOURCES[language])
    blocks = [code for kind, code in BLOCKS if kind == language and code != SET_UP]
    assert blocks
    assert [code for code in blocks if code not in source] == []


def test_every_line_of_the_script_is_in_the_document():
    shown = "".join(code for _, code in BLOCKS)
    script = (ROOT / "examples" / "curl.sh").read_text(encoding="utf-8").split("# The stream\n")[1]
    assert [line for line in script.splitlines() if line and not line.startswith("#") and line not in shown] == []


@pytest.mark.parametrize(("method", "path"), [route for route in all_routes() if route[0] != "HEAD"])
def test_every_route_is_in_the_table(method, path):
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    wanted = path.replace("v0", "{id}").replace("c0", "{id}")
    assert any(method in row and wanted in row for row in rows)


def test_every_event_and_its_fields_are_in_the_table():
    kinds = [kind for kind in EVENT.json_schema()["$defs"].values() if "event" in kind["properties"]]
    assert len(kinds) == 15
    for kind in kinds:
        name = kind["properties"]["event"]["const"]
        row = next(line for line in TEXT.splitlines() if re.match(rf"\| [^|]*`{name}`", line))
        fields = set(kind["properties"]) - {"id", "at", "event"}
        assert [field for field in fields if f"`{field}`" not in row] == []


def test_every_status_and_the_limits_are_documented():
    rows = TEXT.split("| status |")[1]
    assert [status for status in ERRORS if str(status) not in rows] == []
    limits = Limits()
    assert f"{limits.body_s:g} s" in rows
    assert f"{limits.body_bytes // 1024} KiB" in rows


def test_the_reference_is_up_to_date_and_has_every_route_and_object():
    document = openapi()
    text = TARGET.read_text(encoding="utf-8")
    assert text == reference(document), "run: python -m scripts.api_reference"
    for path, operations in document["paths"].items():
        assert [
            method for method in operations.keys() - {"head"} if f"\n### {method.upper()} {path}\n" not in text
        ] == []
    assert [name for name in document["components"]["schemas"] if f"\n### {name}\n" not in text] == []
