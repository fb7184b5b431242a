"""Tokens in what a sweep leaves behind: in files for their owner alone, or nowhere."""

import os
import stat
from pathlib import Path

import pytest

from pp1_orchestrator.report.jobs import without_secrets
from tests.system.program import run_to_end

TOKEN, VIEW, CREDENTIAL = "s€cret token", "only for eyes", "for-the-relay"


def exposed(folder: Path, *secrets: str) -> list[Path]:
    """Files with a secret in them that others may read."""

    def is_private(path: Path) -> bool:
        below = [path, *(parent for parent in path.parents if folder in parent.parents or parent == folder)]
        return any(not stat.S_IMODE(each.stat().st_mode) & 0o077 for each in below)

    files = [path for path in folder.rglob("*") if path.is_file()]
    spellings = [spelling for secret in secrets for spelling in (secret.encode(), ascii(secret)[1:-1].encode())]
    having = [path for path in files if any(each in path.read_bytes() for each in spellings)]
    assert having, "the settings of the jobs have them"
    return [path for path in having if not is_private(path)]


@pytest.mark.slow
def test_no_file_of_a_sweep_that_others_may_read_has_a_token(tmp_path):
    before = os.umask(0o022)
    try:
        folder = tmp_path / "sweep"
        tokens = [f"serving.token='{TOKEN}'", f"serving.view_token='{VIEW}'"]
        tokens += [f"serving.ice_servers=[{{urls: 'turn:a.example', username: me, credential: {CREDENTIAL}}}]"]
        job = ["run=bench", "run.chunks=1", "run.warmup_chunks=0", "layout=inline", "run.prompt='a red circle','b'"]
        done = run_to_end("-m", *job, *tokens, f"hydra.sweep.dir={folder}", out=folder, cold=True)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").is_file()
    assert exposed(folder, TOKEN, VIEW, CREDENTIAL) == []


@pytest.mark.slow
def test_a_folder_with_the_jobs_of_another_sweep_is_refused(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "job.json").write_text("{}")
    done = run_to_end(
        "-m", "run=plan", "layout=inline", "seed=1,2", f"hydra.sweep.dir={tmp_path}", out=tmp_path, cold=True
    )
    assert done.returncode == 2, done.stderr
    line = f"configuration error: hydra.sweep.dir={tmp_path}: holds the jobs of another sweep; choose another folder\n"
    assert done.stderr == line


def test_secrets_are_left_out_of_records():
    given = [
        "serving.token=a",
        "+serving.view_token=b",
        "serving.ice_servers=[x]",
        "seed=1",
        "run.prompt='serving.token=a'",
    ]
    expected = ["serving.token=***", "+serving.view_token=***", "serving.ice_servers=***", *given[3:]]
    assert without_secrets(given) == expected
