"""What contributors and CI rely on agrees with itself: workflows, hooks, make targets, Python's and other versions."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import pp1_orchestrator

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SETUP_MODES = set(
    re.findall(r"^    ([a-z]+)\) install", (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8"), re.M)
)


def load(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in load(workflow)["jobs"].values():
        yield from job.get("steps", ())


def commands(workflow: Path) -> str:
    return "\n".join(step.get("run", "") for step in steps(workflow))


def make_targets(text: str) -> set[str]:
    return {target for line in re.findall(r"\bmake ([a-z ]+)", text) for target in line.split()}


def python_matrix() -> list[str]:
    return load(ROOT / ".github" / "workflows" / "unit.yml")["jobs"]["unit"]["strategy"]["matrix"]["python"]


def test_each_kind_of_check_has_its_workflow():
    names = {"audit", "docs", "lint", "package", "publish", "system", "unit"}
    assert {path.stem for path in WORKFLOWS} == {load(path)["name"] for path in WORKFLOWS} == names


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_little_and_ends(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    jobs = [job for job in workflow["jobs"].values() if "uses" not in job]
    assert all(job["timeout-minutes"] <= 120 for job in jobs)
    checkouts = [step for step in steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_say_which_version_that_is(path):
    used = re.findall(r"uses: (?!\./)(.+)", path.read_text(encoding="utf-8"))
    assert [line for line in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / ".ci" / "run"], ids=lambda path: path.stem)
def test_ci_runs_what_exists(path):
    text = path.read_text(encoding="utf-8") if path.suffix != ".yml" else commands(path)
    assert make_targets(text) <= TARGETS
    assert set(re.findall(r"scripts/setup\.sh (\w+)", text)) <= SETUP_MODES
    assert all((ROOT / script).is_file() for script in re.findall(r"scripts/\w+\.sh", text))


def test_all_that_make_test_and_make_slow_check_is_checked_by_workflows():
    assert make_targets("\n".join(map(commands, WORKFLOWS))) >= {"lint", "types", "unit", "coverage", "docs", "sbom"}


def test_python_versions_agree():
    oldest, *_ = tested = python_matrix()
    classifiers = [line.rpartition(" ")[2] for line in PYPROJECT["project"]["classifiers"] if ":: Python ::" in line]
    assert classifiers == tested
    assert PYPROJECT["project"]["requires-python"] == f">={oldest}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    given = [
        step["with"]["python-version"]
        for path in WORKFLOWS
        for step in steps(path)
        if "python-version" in step.get("with", {})
    ]
    assert set(given) == {oldest, "${{ matrix.python }}"}


def test_hooks_check_what_the_lint_workflow_checks():
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = "\n".join(hook["entry"] for hook in repository["hooks"])
    assert repository["repo"] == "local"  # the tools of .venv, whose versions constraints.txt pins
    assert make_targets(hooks) == make_targets(commands(ROOT / ".github" / "workflows" / "lint.yml"))


def test_the_development_container_sets_itself_up():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["image"].startswith(f"python:{python_matrix()[0]}-")
    assert container["postCreateCommand"] == "scripts/setup.sh test"
    assert container["forwardPorts"] == [load(ROOT / "conf" / "config.yaml")["serving"]["port"]]


def test_every_development_tool_is_pinned():
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    extras = PYPROJECT["project"]["optional-dependencies"]
    lines = [*extras["dev"], *extras["docs"], *extras["release"]]
    wanted = [re.split(r"[\[<>=]", line)[0] for line in lines]
    assert [name for name in wanted if name not in pinned] == []


def test_the_citation_names_this_version():
    citation = load(ROOT / "CITATION.cff")
    assert citation["version"] == pp1_orchestrator.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{citation['version']}] - {citation['date-released']}" in changelog


@pytest.mark.parametrize("name", ["bug", "performance", "feature"])
def test_an_issue_form_asks_for_something_and_names_fields_once(name):
    form = load(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml")
    fields = [element for element in form["body"] if element["type"] != "markdown"]
    assert {"name", "description", "labels"} <= form.keys()
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
