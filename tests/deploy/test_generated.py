"""Files that are made from code are as the code makes them, and speak of metrics that there are."""

import json
import re

import pytest

from deploy.__main__ import ROOT, generated
from pp1_orchestrator.telemetry.metrics_catalogue import CATALOGUE

NAME = re.compile(r"\bpp1_[a-z_]+")
NAMES = {spec.name for spec in CATALOGUE} | {
    spec.name + suffix for spec in CATALOGUE if spec.kind == "histogram" for suffix in ("_sum", "_count", "_bucket")
}
BOARDS = sorted((ROOT / "deploy/grafana/json").glob("*.json"))


@pytest.mark.parametrize("path", generated())
def test_a_file_is_what_the_code_makes(path):
    assert (ROOT / path).read_text(encoding="utf-8") == generated()[path], "run python -m deploy"


def test_there_is_no_dashboard_that_no_code_makes():
    assert {f"deploy/grafana/json/{path.name}" for path in BOARDS} == {p for p in generated() if p.endswith(".json")}


@pytest.mark.parametrize("path", ["deploy/prometheus/rules.yml", "deploy/prometheus/rules_test.yml"])
def test_rules_name_metrics_of_the_catalogue(path):
    named = set(NAME.findall(re.sub(r"instance:pp1_[a-z_]+:", "", (ROOT / path).read_text(encoding="utf-8"))))
    assert named - {"pp1_orchestrator"} <= NAMES
    assert len(named) > 5


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_have_room_of_their_own_and_say_what_they_show(path):
    board = json.loads(path.read_text(encoding="utf-8"))
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
    numbers = [panel["id"] for panel in board["panels"] if "id" in panel and panel["type"] != "row"]
    assert len(set(numbers)) == len(numbers) > 0


def test_every_metric_is_on_a_dashboard():
    text = "".join(path.read_text(encoding="utf-8") for path in BOARDS)
    shown = set(NAME.findall(text))
    gone = {spec.name for spec in CATALOGUE if not any(name.startswith(spec.name) for name in shown)}
    assert gone == {"pp1_cache_epoch"}  # a number to look up, not to watch: its changes are shown by reason


@pytest.mark.parametrize("alert", re.findall(r"alert: (\w+)", (ROOT / "deploy/prometheus/rules.yml").read_text()))
def test_every_alert_is_explained(alert):
    assert f"`{alert}`" in (ROOT / "docs/operating.md").read_text(encoding="utf-8")
