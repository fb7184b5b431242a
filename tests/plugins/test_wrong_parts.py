"""A plug-in that can't be used: one exact line, before anything is started. What is not allowed is not imported."""

import sys

import pytest

from pp1_orchestrator.errors import ConfigError
from tests.plugins import pages
from tests.system.in_process import make_settings
from tests.system.program import run_to_end

PACKAGE = {
    "wrong_parts/needs.py": "import nothing_like_this\n",
    "wrong_parts/exits.py": "raise SystemExit(3)\n",
    "wrong_parts/raises.py": 'raise RuntimeError("first line\\nsecond line")\n',
    "wrong_parts/syntax.py": "class\n",
    "wrong_parts/kinds.py": """
import msgspec
from pp1_orchestrator.plugin_api import Overlap, OverlapParts, Routing, WanVaeLoader

class Other:
    pass

number = 7

class Half(Overlap):
    pass

class Fine(Overlap):
    def __init__(self, parts, options=None):
        super().__init__(parts)
    def step(self, pipeline):
        return False

class Deaf(Fine):
    def __init__(self, parts):
        super().__init__(parts)
    class Options(msgspec.Struct):
        most: int = 3

class Unread(Fine):
    class Options(msgspec.Struct):
        most: "Number" = 3

class Mixed(Fine):
    class Options(msgspec.Struct):
        most: list[int] | set[int] = msgspec.field(default_factory=list)

class Picky(Fine):
    class Options(msgspec.Struct):
        folder: str = "/nowhere"
        def __post_init__(self):
            raise FileNotFoundError(f"no folder {self.folder}")

class Late(WanVaeLoader):
    def __init__(self):
        raise SystemExit("no licence")

class Odd(Fine):
    hides_decode = "often"

class Listed(Fine):
    Options = dict

class Bounded(Fine):
    class Options(msgspec.Struct):
        most: int = 3
        def __post_init__(self):
            if self.most > 8:
                raise ValueError("most is at most 8")

class Asking(Fine):
    class Options(msgspec.Struct):
        needed: str

class Homeless(Routing):
    def __init__(self, encoder):
        pass
    def payload(self, recipe, epoch):
        raise NotImplementedError
""",
}
ALLOWED = "plugins.allow=[wrong_parts]"


def own(path: str, *more: str, group: str = "overlap") -> list[str]:
    return [ALLOWED, f"{group}.name=mine", f"+{group}.class={path}", *more]


def kind(name: str, *more: str, group: str = "overlap") -> list[str]:
    return own(f"wrong_parts.kinds:{name}", *more, group=group)


CASES = {
    "no class": (
        ["overlap.name=mine"],
        "overlap=mine: neither built in nor a plug-in's; choices: decode_thread, loop_ahead, stage0_owned, sync",
    ),
    "not allowed": (
        ["overlap.name=mine", "+overlap.class=wrong_parts.kinds:Fine"],
        "overlap.class=wrong_parts.kinds:Fine: not allowed; to allow it: plugins.allow=[wrong_parts]",
    ),
    "allowed by the beginning of a name": (
        ["plugins.allow=[wrong]", "overlap.name=mine", "+overlap.class=wrong_parts.kinds:Fine"],
        "overlap.class=wrong_parts.kinds:Fine: not allowed; to allow it: plugins.allow=[wrong_parts]",
    ),
    "another module of the package": (
        ["plugins.allow=[wrong_parts.kinds]", "overlap.name=mine", "+overlap.class=wrong_parts.raises:Fine"],
        "overlap.class=wrong_parts.raises:Fine: not allowed; to allow it: plugins.allow=[wrong_parts]",
    ),
    "a package of the program that is not public": (
        ["overlap.name=mine", "+overlap.class=pp1_orchestrator.stage0.overlap.strategies:Sync"],
        "overlap.class=pp1_orchestrator.stage0.overlap.strategies:Sync: not allowed; to allow it: "
        "plugins.allow=[pp1_orchestrator]",
    ),
    "everything allowed": (
        ["plugins.allow=['*']"],
        "plugins.allow=['*']: '*' is no package; such as: my_package",
    ),
    "one package, not a list": (
        ["plugins.allow=wrong_parts"],
        "plugins.allow=wrong_parts: expected `array`, got `str`",
    ),
    "no colon": (own("wrong_parts.kinds.Fine"), "overlap.class=wrong_parts.kinds.Fine: expected package.module:Class"),
    "a call": (own("'wrong_parts:Fine()'"), "overlap.class=wrong_parts:Fine(): expected package.module:Class"),
    "no such package": (
        ["plugins.allow=[nowhere]", "overlap.name=mine", "+overlap.class=nowhere.at.all:Fine"],
        "overlap=mine: nowhere.at.all:Fine: no module nowhere; is it installed, or on PYTHONPATH?",
    ),
    "no such module": (
        own("wrong_parts.none:Fine"),
        "overlap=mine: wrong_parts.none:Fine: no module wrong_parts.none; is it installed, or on PYTHONPATH?",
    ),
    "a module that needs another one": (
        own("wrong_parts.needs:Fine"),
        "overlap=mine: wrong_parts.needs:Fine: importing wrong_parts.needs failed: ModuleNotFoundError: "
        "No module named 'nothing_like_this'",
    ),
    "a module that raises": (
        own("wrong_parts.raises:Fine"),
        "overlap=mine: wrong_parts.raises:Fine: importing wrong_parts.raises failed: RuntimeError: first line",
    ),
    "a module that exits": (
        own("wrong_parts.exits:Fine"),
        "overlap=mine: wrong_parts.exits:Fine: importing wrong_parts.exits failed: SystemExit: 3",
    ),
    "a module that can't be parsed": (
        own("wrong_parts.syntax:Fine"),
        "overlap=mine: wrong_parts.syntax:Fine: importing wrong_parts.syntax failed: SyntaxError: "
        "invalid syntax (syntax.py, line 1)",
    ),
    "no such class": (kind("None_"), "overlap=mine: wrong_parts.kinds:None_: wrong_parts.kinds has no None_"),
    "a class of something else": (
        kind("Other"),
        "overlap=mine: wrong_parts.kinds:Other: no subclass of Overlap, see pp1_orchestrator.plugin_api",
    ),
    "no class at all": (
        kind("number"),
        "overlap=mine: wrong_parts.kinds:number: no subclass of Overlap, see pp1_orchestrator.plugin_api",
    ),
    "a class of another group": (
        kind("Fine", group="context"),
        "context=mine: wrong_parts.kinds:Fine: no subclass of ContextPolicy, see pp1_orchestrator.plugin_api",
    ),
    "an abstract class": (
        kind("Half"),
        "overlap=mine: wrong_parts.kinds:Half: lacks step, which Overlap asks for",
    ),
    "the base class itself": (
        own("pp1_orchestrator.plugin_api:VaeLoader", group="stage0"),
        "stage0=mine: pp1_orchestrator.plugin_api:VaeLoader: lacks check, load, which VaeLoader asks for",
    ),
    "a trait of the wrong type": (
        kind("Odd"),
        "wrong_parts.kinds:Odd.hides_decode=often: expected `bool`, got `str`",
    ),
    "a trait that is missing": (
        kind("Homeless", group="routing"),
        "wrong_parts.kinds:Homeless.home=None: expected `str`, got `null`",
    ),
    "the name of a built-in one": (
        ["overlap=sync", ALLOWED, "+overlap.class=wrong_parts.kinds:Fine"],
        "overlap=sync: this name is built in; wrong_parts.kinds:Fine needs another one",
    ),
    "a name that is no name": (
        kind("Fine", "overlap.name='a b'"),
        "overlap.name=a b: expected `str` matching regex '^\\\\w[\\\\w.-]*$'",
    ),
    "options where there are none": (
        kind("Fine", "+overlap.options.most=4"),
        "overlap.options.most=4: no such option; possible: none",
    ),
    "options of a built-in one": (
        ["+overlap.options.most=4"],
        "overlap.options.most=4: no such option; possible: none",
    ),
    "an option that is misspelt": (
        kind("Bounded", "+overlap.options.mots=4"),
        "overlap.options.mots=4: no such option; possible: most",
    ),
    "an option of the wrong type": (
        kind("Bounded", "+overlap.options.most=many"),
        "overlap.options.most=many: expected `int`, got `str`",
    ),
    "an option that the class refuses": (
        kind("Bounded", "+overlap.options.most=9"),
        "overlap.options={'most': 9}: most is at most 8",
    ),
    "an option that is needed": (
        kind("Asking"),
        "overlap.options.needed: can't be left out",
    ),
    "options that are no struct": (
        kind("Listed"),
        "overlap=mine: wrong_parts.kinds:Listed.Options is no msgspec.Struct",
    ),
    "options that nobody takes": (
        kind("Deaf"),
        "overlap=mine: wrong_parts.kinds:Deaf has Options, but its __init__ has no parameter options",
    ),
    "options of an unknown type": (
        kind("Unread"),
        "overlap=mine: wrong_parts.kinds:Unread.Options: NameError: name 'Number' is not defined",
    ),
    "options that fail in a way of their own": (
        kind("Picky"),
        "overlap=mine: wrong_parts.kinds:Picky.Options: FileNotFoundError: no folder /nowhere",
    ),
    "a decoder that can't be made": (
        kind("Late", group="stage0"),
        "stage0=mine: Late() failed: SystemExit: no licence",
    ),
    "a model that was trained for an unknown context": (
        ["model.context=mine"],
        "model.context=mine: neither built in nor a plug-in's; choices: "
        "clean_pass, none, recompute_anchor, recompute_latent, recompute_synthetic",
    ),
}


@pytest.fixture
def wrong(tmp_path, importable):
    pages.write(PACKAGE, tmp_path)
    importable(tmp_path)


@pytest.mark.parametrize(("options", "line"), CASES.values(), ids=CASES.keys())
def test_it_is_one_line(wrong, options, line):
    with pytest.raises(ConfigError) as refused:
        make_settings(*options)
    assert str(refused.value) == line


def test_options_of_a_type_that_nothing_reads_are_one_line(wrong):
    """The reader's own words end it, which may change."""
    with pytest.raises(ConfigError, match=r"^overlap=mine: wrong_parts\.kinds:Mixed\.Options: TypeError: [^\n]*union"):
        make_settings(*kind("Mixed"))


def test_the_right_one_beside_them_is_taken(wrong):
    make_settings(*kind("Bounded", "+overlap.options.most=8"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["overlap.name=mine", "+overlap.class=wrong_parts.kinds:Fine"], "not allowed"),
        (kind("Fine", "stream.height=100"), "stream.height=100"),
        (kind("Fine", "layout.mesh_ranks=3"), "layout.mesh_ranks=3"),
    ],
    ids=["not allowed", "a wrong size", "a wrong layout"],
)
def test_nothing_is_imported_before_all_settings_are_right(wrong, options, said):
    with pytest.raises(ConfigError, match=said):
        make_settings(*options)
    assert [name for name in sys.modules if name.startswith("wrong_parts")] == []
    make_settings(*kind("Fine"))
    assert "wrong_parts.kinds" in sys.modules


def test_the_program_says_the_line_and_exits_with_code_2(tmp_path):
    options = ["run=plan", "overlap.name=mine", "+overlap.class=nowhere:Mine"]
    for allowed, line in (
        ([], "overlap.class=nowhere:Mine: not allowed; to allow it: plugins.allow=[nowhere]"),
        (
            ["plugins.allow=[nowhere]"],
            "overlap=mine: nowhere:Mine: no module nowhere; is it installed, or on PYTHONPATH?",
        ),
    ):
        done = run_to_end(*options, *allowed, out=tmp_path / f"out{len(allowed)}")
        assert done.returncode == 2, done.stderr
        assert done.stderr == f"configuration error: {line}\n"
