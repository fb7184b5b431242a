"""What tells jobs apart, and the command that runs one of them live."""

import shlex

import pytest

from pp1_orchestrator.report.jobs import differing_keys, label, live_command


def test_only_keys_that_differ_name_a_job():
    jobs = [["run=bench", "overlap=sync", "seed=1"], ["run=bench", "overlap=stage0_owned", "seed=1"]]
    keys = differing_keys(jobs)
    assert keys == {"overlap"}
    assert [label(i, job, keys) for i, job in enumerate(jobs)] == ["overlap=sync", "overlap=stage0_owned"]


def test_a_key_that_only_one_job_sets_tells_them_apart():
    assert differing_keys([["seed=1"], ["seed=1", "+model.x=2"]]) == {"model.x"}


def test_a_job_with_nothing_of_its_own_is_named_by_its_number():
    assert label(3, ["run=bench"], set()) == "job 3"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["run=bench", "run.chunks=6", "overlap=sync", "layout=inline"], ["overlap=sync", "layout=inline"]),
        (["experiment=laptop_bench", "overlap=sync"], ["experiment=laptop_bench", "overlap=sync", "run=serve"]),
        (
            ["run=bench", "model.steps=[1000,500]", "serving.token='a b'"],
            ["model.steps=[1000,500]", "serving.token='a b'"],
        ),
        (["++run.chunks=6", "running=1"], ["running=1"]),
    ],
)
def test_the_command_has_the_choices_and_nothing_of_the_bench(overrides, words):
    assert shlex.split(live_command(overrides)) == ["python", "-m", "pp1_orchestrator", *words]


def test_the_command_names_the_folder_of_own_options():
    words = ["python", "-m", "pp1_orchestrator", "--config-dir", "/my conf", "model=mine"]
    assert shlex.split(live_command(["run=bench", "model=mine"], "/my conf")) == words
