"""A show: what is followed, what another run makes of it, and which files of it are refused."""

import os
import stat
import subprocess
import sys

import msgspec
import pytest

from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.stage0 import show_file
from pp1_orchestrator.stage0.show import HISTORY_KEPT, Show
from pp1_orchestrator.types import KnownClient, PromptUpdate, TimelineEntry, WeightedPrompt

BLEND = PromptUpdate(prompts=(WeightedPrompt("a red circle", 0.3), WeightedPrompt("a blue circle", 0.7)), blend="slerp")
SHOW = Show(
    update=BLEND,
    seed=7,
    timeline=(TimelineEntry(chunk=3, prompt="a green star"), TimelineEntry(chunk=9, seed=11, cut="hard")),
    history=(BLEND, PromptUpdate(prompt="a green star", cut="hard")),
    clients=(KnownClient("v1", "Ann", "0" * 64),),
)


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ((), TimelineEntry(chunk=0, seed=7, prompts=BLEND.prompts, blend="slerp")),
        (("run.prompt",), TimelineEntry(chunk=0, seed=7)),
        (("seed",), TimelineEntry(chunk=0, prompts=BLEND.prompts, blend="slerp")),
        (("seed", "run.prompt"), TimelineEntry(chunk=0)),
    ],
)
def test_a_show_goes_on_where_it_was_and_what_was_given_wins(given, first):
    assert SHOW.script(given) == [first, *SHOW.timeline]


def test_what_was_planned_for_the_next_chunk_comes_with_it():
    for entry in (TimelineEntry(chunk=0, prompt="a star", seed=1, cut="hard"), TimelineEntry(chunk=0, prompt="a star")):
        show = msgspec.structs.replace(SHOW, timeline=(entry,))
        assert show.script(()) == [TimelineEntry(chunk=0, prompt="a star", seed=entry.seed or 7, cut=entry.cut)]
    only_seed = msgspec.structs.replace(SHOW, timeline=(TimelineEntry(chunk=0, seed=1),))
    assert only_seed.script(()) == [TimelineEntry(chunk=0, prompts=BLEND.prompts, blend="slerp", seed=1)]


def keep(folder, show=SHOW, name="main"):
    folder.mkdir(parents=True, exist_ok=True)
    data = show_file.encode(show, name)
    assert data is not None
    show_file.write(data, folder)
    return folder / show_file.FILE


def test_a_file_gives_the_same_show_and_is_for_its_owner_alone(tmp_path):
    (tmp_path / show_file.NEW).write_text("half of one")  # the program was killed
    path = keep(tmp_path)
    assert show_file.read(path) == SHOW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [show_file.FILE]


def test_the_longest_history_has_room():
    odd = "\x00" * 2000
    updates = [
        PromptUpdate(prompts=tuple(WeightedPrompt(f"{n}{odd[2:]}") for _ in range(8))) for n in range(HISTORY_KEPT)
    ]
    assert show_file.encode(Show(update=updates[0], seed=0, history=tuple(updates)), "main") is not None


def change(**fields):
    return lambda data: msgspec.json.encode(msgspec.json.decode(data) | fields)


def change_show(**fields):
    def damage(data):
        whole = msgspec.json.decode(data)
        return msgspec.json.encode(whole | {"show": whole["show"] | fields})

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: b"", "truncated"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: b"\xff\xfe" + data, "malformed"),
        (lambda data: b"[" * 100_000, "show.json"),
        (lambda data: data + b" " * show_file.MAX_BYTES, "is larger than"),
        (change(version=2), "is of version 2; this program reads version 1"),
        (change(more=1), "unknown field `more`"),
        (change_show(seed=-1), "value is -1"),
        (change_show(seed=2**40), "a seed is a whole number"),
        (change_show(update={"prompt": ""}), "prompt is empty"),
        (change_show(update={"prompt": "x" * 3000}), "prompt has 3000 characters"),
        (change_show(timeline=[{"chunk": -1, "prompt": "a"}]), "chunk is -1"),
        (change_show(timeline=[{"chunk": 5, "cut": "hard", "dropped": 2}]), "dropped is 2"),
        (change_show(history=[{"prompt": "a"}] * 21), "length <= 20"),
        (change_show(clients=[{"id": "v1", "name": "", "key_sha256": "0" * 64}]), "length >= 1"),
        (change_show(clients=[{"id": "x", "name": "Ann", "key_sha256": "0" * 64}]), "matching regex"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage, says):
    path = keep(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError) as refused:
        show_file.read(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_show_that_nothing_can_show_is_refused():
    with pytest.raises(RequestError, match="exclude each other"):
        msgspec.structs.replace(SHOW, update=PromptUpdate(prompt="a", prompts=BLEND.prompts)).check()


def test_the_newest_run_of_the_same_show_is_found(tmp_path):
    outputs = tmp_path / "outputs"
    own = outputs / "2030-01-02" / "12-00-00"
    own.mkdir(parents=True)
    assert show_file.newest("main", own, outputs) is None
    folders = ["2030-01-01/10-00-00", "2030-01-01/11-00-00", "mine", "2030-01-02/09-00-00"]
    paths = [keep(outputs / folder, name="other" if index == 3 else "main") for index, folder in enumerate(folders)]
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (1e9 - age, 1e9 - age))
    assert show_file.newest("main", own, outputs) == paths[2]
    assert show_file.newest("other", own, outputs) == paths[3]
    assert show_file.newest("third", own, outputs) is None
    elsewhere = tmp_path / "elsewhere"
    assert show_file.newest("main", elsewhere, outputs) is None  # a run that is somewhere else is on its own
    assert show_file.newest("main", elsewhere, outputs) is None
    own_path = keep(elsewhere)
    assert show_file.newest("main", elsewhere, outputs) == own_path  # started again in the same folder


HOLDS = """
import sys
from pathlib import Path
from pp1_orchestrator.stage0.show_file import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_show_belongs_to_one_process_until_that_is_gone_however_it_goes(tmp_path):
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigError, match="another program is running this show"), show_file.locked(tmp_path):
            pass
        other.kill()
        other.wait()
    with show_file.locked(tmp_path):
        assert stat.S_IMODE((tmp_path / show_file.LOCK).stat().st_mode) == 0o600
