"""docs/configuration.md is what its command makes, and it leaves nothing unsaid."""

import re

import msgspec
import pytest

from pp1_orchestrator.config.conf_files import CONF, options, read
from pp1_orchestrator.config.schema import Settings
from scripts.config_reference import TARGET, reference

ROWS = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in reference().splitlines() if line.startswith("| `")]
KEYS = {row[0].strip("`"): row for row in ROWS if "=" not in row[0]}


def dotted(value, prefix="") -> list[str]:
    if isinstance(value, dict):
        return [key for name, inner in value.items() for key in dotted(inner, f"{prefix}.{name}" if prefix else name)]
    return [prefix]


def test_the_committed_page_is_up_to_date():
    assert TARGET.read_text(encoding="utf-8") == reference(), "run: python -m scripts.config_reference"


def test_every_key_of_the_schema_is_there():
    schema = msgspec.json.schema(Settings)

    def keys(node) -> dict | None:
        node = schema["$defs"][node["$ref"].rsplit("/")[-1]] if "$ref" in node else node
        return {name: keys(inner) for name, inner in node["properties"].items()} if "properties" in node else None

    wanted = {key for key in dotted(keys(schema)) if not key.endswith(".name")}
    assert len(wanted) > 40
    assert wanted == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_type_a_default_and_a_meaning(key):
    assert len(KEYS[key]) == 4
    assert all(cell.strip(" `") for cell in KEYS[key])


def test_every_option_is_named():
    text = reference()
    missing = [path for path in CONF.glob("*/*.yaml") if f"`{path.stem}`" not in text and f"={path.stem}`" not in text]
    assert missing == []


def test_bounds_and_choices_are_in_words():
    assert KEYS["overlap.d_in"][1] == "a whole number from 1 to 8"
    assert KEYS["model.shift"][1] == "a number from 0.001 to 1000"
    assert KEYS["layout.backend"][1] == "`gloo`, `nccl`, `none`"
    assert KEYS["run.chunks"][1] == "a whole number ≥ 1 or `null`"
    assert KEYS["layout.memory_share"][2].startswith("`cpu`, `inline`: `1.0`; `gpu_1p1`")


def test_a_file_is_read_with_its_comments(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "# @package _global_\n# First,\n# then.\nplain: 1\nnest:  # of two\n  x: [1, a]   # one\n  y: ${z}\n"
    )
    read_back = read(path)
    assert read_back.about == "First, then."
    told = {key: (entry.value, entry.comment) for key, entry in read_back.entries.items()}
    assert told == {"plain": ("1", ""), "nest.x": ("[1, a]", "of two: one"), "nest.y": ("${z}", "of two")}


def test_options_are_the_files_of_a_group():
    assert set(options("run")) == {path.stem for path in (CONF / "run").glob("*.yaml")}
