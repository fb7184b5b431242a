"""No way to run somebody else's code: no pickle, no shell, no evaluated text, no code named by configuration.

The rules that hold for the tests too are in tests/test_house.py; here are the ways around them.
"""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("pp1_orchestrator", "hydra_plugins", "ui", "training", "benchmarks", "scripts", "examples", "deploy")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
OBJECT_MOVERS = {
    "all_gather_object", "broadcast_object_list", "gather_object", "scatter_object_list", "send_object_list",
    "recv_object_list",
}  # fmt: skip
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
EVALUATING = {"eval", "exec", "__import__", "compile"}


def findings(text: str) -> list[str]:
    """What in this source could run code that it was handed."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or ""
            names = [alias.name for alias in node.names]
            found += [name for name in [module, *names] if name.split(".")[0] in UNPICKLING]
            found += [name for name in names if name in OBJECT_MOVERS]
            found += [f"{module}.{name}" for name in names if f"{module}.{name}" in SHELLS | {"torch.load"}]
        elif isinstance(node, ast.Attribute) and node.attr in OBJECT_MOVERS:
            found.append(node.attr)
        elif isinstance(node, ast.Call):
            found += _call(node)
    return found


def _call(node: ast.Call) -> list[str]:
    name = ast.unparse(node.func)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    found = [name] if name in EVALUATING | SHELLS else []
    if name.endswith("torch.load") and given.get("weights_only") != "True":
        found.append(name)
    if given.get("allow_pickle", "False") != "False":
        found.append(f"{name}(allow_pickle)")
    if given.get("trust_remote_code", "False") != "False":
        found.append(f"{name}(trust_remote_code)")
    if given.get("shell", "False") != "False":
        found.append(f"{name}(shell)")
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load('x')",
        "torch.load('x', weights_only=False)",
        "from torch import load",
        "dist.broadcast_object_list([])",
        "from torch.distributed import send_object_list as send",
        "eval('1')",
        "exec('1')",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "numpy.load('x', allow_pickle=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_is_for(text):
    assert findings(text)


def test_no_source_can_be_made_to_run_what_it_is_handed():
    assert len(SOURCES) > 100
    assert {str(path.relative_to(ROOT)): found for path in SOURCES if (found := findings(path.read_text()))} == {}


def keys(value: object) -> list[str]:
    if isinstance(value, dict):
        return [str(key) for key in value] + [key for inner in value.values() for key in keys(inner)]
    return [key for inner in value for key in keys(inner)] if isinstance(value, list) else []


def test_no_configuration_names_code():
    files = sorted((ROOT / "conf").rglob("*.yaml"))
    assert len(files) > 15
    for path in files:
        named = [key for key in keys(yaml.safe_load(path.read_text())) if key.startswith("_") and key != "_self_"]
        assert named == [], path
        assert "_target_" not in path.read_text(), path
