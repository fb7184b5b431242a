"""The rules of the house, checked on the source itself: what may be imported where, how large things may get, names."""

import ast
import io
import re
import tokenize
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pp1_orchestrator"
"""Its links to conf/ and ui/ are not followed here: what they lead to is checked under its own path."""
FOLDERS = ("pp1_orchestrator", "hydra_plugins", "ui", "training", "benchmarks", "scripts", "examples", "deploy")
LIBRARY = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
EVERYTHING = LIBRARY + list((ROOT / "tests").rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 300, 60
PACKAGE_FILES, PACKAGE_LINES, PROTOCOLS = 285, 31_875, 40
REPEATED = {"__init__.py", "__main__.py", "base.py"}
"""The only base names that the package may have more than once."""
RETIRED = """
    Accepted Aim AnswerClock AroundGenerator BRIDGED CapturedPasses Commanded ConditioningTrack FORESEEN Facts Fence
    Findings Flight KernelSteps Life Looks LoopWatch Meeting MeshGuard MeshKeeper MetMesh NOTICED_S Onlooker
    OrderedLink Parcel PartedAttention Passes Pictures PlainPasses PromptBook PromptHeaders REMEMBERED RealTable
    Rising Rounded RoundedInto RoundingSteps Screens SelfWatch SharedSums Spoilage Stage StreamWishes Surface
    TIMES_USUAL Take Takes TinyDecoder TinyFrameEncoder TinyVae Untraced Vitals Way WideSteps Wish Wishes _having
    _unless_known _with_missed assemble attend_two choose_parts end_with_parent foresee forgive
    keep_collections_short keep_freed_memory keep_rope last_words let_go misses own_facts own_lane raise_to read_aim
    spoils stopped_s stuck take_part to_planes turn_into
    AGAIN_S Alive Changed GAIN GENERATIONS History LEAST Loss Planned RINGS Room Seat Sending Sockets Survey _Done
    _Memory _NEXT _Running _Started _Told _carried _claims _fix _gave_up _look _places _try _welcome end_with meet
    pass_on readings weaker woken
"""
"""Coined names that once stood for what the field has a word for."""

# Libraries that only some places may import, and those places.
DOORS = {
    "aiortc": ["pp1_orchestrator/media/"],
    "gradio": ["ui/"],
    "pp1_orchestrator.ui": ["pp1_orchestrator/app/", "ui/"],
    "ui": [],  # the name that the page has in a checkout; in the program it is `pp1_orchestrator.ui`
    "httpx": ["pp1_orchestrator/client/"],
    "fastapi": ["pp1_orchestrator/server/"],
    "starlette": ["pp1_orchestrator/server/"],
    "pydantic": ["pp1_orchestrator/server/"],
    "uvicorn": ["pp1_orchestrator/server/"],
    "hydra": ["pp1_orchestrator/__main__.py", "pp1_orchestrator/config/", "pp1_orchestrator/report/hydra_callback.py"],
    "omegaconf": ["pp1_orchestrator/__main__.py", "pp1_orchestrator/config/", "pp1_orchestrator/report/"],
    "torch.distributed": [
        "pp1_orchestrator/transport/",
        "pp1_orchestrator/mesh/",
        "pp1_orchestrator/models/wan/tensor_parallel.py",
    ],
    "matplotlib": ["pp1_orchestrator/report/plots.py"],
    "jinja2": ["pp1_orchestrator/report/render.py"],
    "grafana_foundation_sdk": [],  # deploy/ alone, which the program does not need
    "prometheus_client": ["pp1_orchestrator/telemetry/", "pp1_orchestrator/server/"],
}
NOWHERE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
OBJECT_COLLECTIVES = {
    "all_gather_object", "broadcast_object_list", "gather_object", "scatter_object_list", "send_object_list",
    "recv_object_list",
}  # fmt: skip

Found = Iterator[tuple[int, str]]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def faults(paths: list[Path], rule: Callable[[Path], Found]) -> list[str]:
    """`file:line: what` for each thing that `rule` finds."""
    return [f"{path.relative_to(ROOT)}:{line}: {what}" for path in paths for line, what in rule(path)]


def imported(path: Path) -> Found:
    """Every absolute module name that the file imports, wherever the statement stands."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the dotted name of what is called."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def is_or_is_in(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def test_the_rules_have_something_to_check():
    assert len(LIBRARY) > 20


@pytest.mark.parametrize("library", DOORS)
def test_a_dangerous_library_has_one_door(library):
    def rule(path: Path) -> Found:
        here = path.relative_to(ROOT).as_posix()
        if not any(here == door or (door.endswith("/") and here.startswith(door)) for door in DOORS[library]):
            yield from ((line, name) for line, name in imported(path) if is_or_is_in(name, library))

    inside = [path for path in LIBRARY if path.is_relative_to(PACKAGE) or path.is_relative_to(ROOT / "ui")]
    assert not faults(inside, rule)


def test_nothing_is_pickled():
    def rule(path: Path) -> Found:
        yield from ((line, name) for line, name in imported(path) if name.split(".")[0] in NOWHERE)

    assert not faults(EVERYTHING, rule)


def test_no_collective_moves_python_objects():
    def rule(path: Path) -> Found:
        yield from ((call.lineno, name) for call, name in calls(path) if name.split(".")[-1] in OBJECT_COLLECTIVES)

    assert not faults(EVERYTHING, rule)


def test_torch_load_is_always_weights_only():
    def rule(path: Path) -> Found:
        for call, name in calls(path):
            safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords)
            if name == "torch.load" and not safe:
                yield call.lineno, name

    assert not faults(EVERYTHING, rule)


def test_nothing_is_evaluated_or_printed():
    def rule(path: Path) -> Found:
        banned = {"eval", "exec", "__import__", "compile"} | ({"print"} if path.is_relative_to(PACKAGE) else set())
        yield from ((call.lineno, f"{name}()") for call, name in calls(path) if name in banned)

    assert not faults(LIBRARY, rule)


def test_configuration_never_names_code_to_call():
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "conf").rglob("*.yaml")}
    assert texts
    assert [path.name for path, text in texts.items() if "_target_" in text] == []


def test_no_global_statement_and_no_swallowed_error():
    def rule(path: Path) -> Found:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Global):
                yield node.lineno, "global"
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                if broad and all(isinstance(statement, ast.Pass) for statement in node.body):
                    yield node.lineno, "an error is swallowed"

    assert not faults(EVERYTHING, rule)


def test_every_module_says_what_it_is():
    def rule(path: Path) -> Found:
        if tree(path).body and not ast.get_docstring(tree(path)):
            yield 1, "no module docstring"

    assert not faults(EVERYTHING, rule)


def test_functions_and_files_stay_small():
    def rule(path: Path) -> Found:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            yield 1, f"{lines} lines"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    yield node.lineno, f"{node.name} has {length} lines"

    assert not faults(EVERYTHING, rule)


def test_the_package_stays_small():
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py"))
    bases = [ast.unparse(base) for path in files for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)
             for base in node.bases]  # fmt: skip
    assert len(files) <= PACKAGE_FILES
    assert lines <= PACKAGE_LINES
    assert sum(base.split("[")[0] == "Protocol" for base in bases) <= PROTOCOLS


def test_a_file_is_known_by_its_base_name():
    names = Counter(path.name for path in PACKAGE.rglob("*.py"))
    assert [name for name, count in names.items() if count > 1 and name not in REPEATED] == []


def identifiers(path: Path) -> set[str]:
    """Names in a Python file's code; in other files what looks like a name and is no English word."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return {found.string for found in tokenize.generate_tokens(io.StringIO(text).readline) if found.type == 1}
    return {word for word in re.findall(r"[A-Za-z_]\w*", text) if re.search(r"[a-z][A-Z]|_", word)}


def test_retired_names_stay_retired():
    retired = set(RETIRED.split())
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "ui").glob("*.js")]
    paths = [path for path in EVERYTHING if path != Path(__file__).resolve() and "golden" not in path.parts]
    found = {path.relative_to(ROOT).as_posix(): identifiers(path) & retired for path in paths + pages}
    assert {path: sorted(names) for path, names in found.items() if names and path != "CHANGELOG.md"} == {}


def test_the_type_check_is_told_which_rule_to_leave_out_and_where():
    def rule(path: Path) -> Found:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"#\s*(type: ignore|pyright: (?!ignore\[report\w+\]|report\w+=false$))", line):
                yield number, line.strip()

    assert not faults([path for path in EVERYTHING if path != Path(__file__).resolve()], rule)
    pyright = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]
    assert {"pp1_orchestrator", "ui"} <= set(pyright["strict"])
    assert not pyright["enableTypeIgnoreComments"]


def test_every_parameter_and_result_of_the_library_has_a_type():
    def rule(path: Path) -> Found:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                typed = all(a.annotation or a.arg in ("self", "cls") for a in arguments)
                if not typed or (node.returns is None and node.name != "__init__"):
                    yield node.lineno, node.name

    assert not faults(LIBRARY, rule)
