"""The order of a sweep's runs, and what of it is there already."""

import pytest

from pp1_orchestrator.report.jobs import JobRecord, records_below, write_record
from pp1_orchestrator.report.sweep_manifest import Manifest, done_before, jobs_told, place_in, turns, write_manifest


@pytest.mark.parametrize(("jobs", "repeats"), [(1, 1), (2, 3), (4, 3), (8, 3), (3, 5)])
def test_every_job_has_its_runs_and_a_folder_for_each(jobs, repeats):
    places = list(turns(jobs, repeats))
    assert sorted(place.number for place in places) == list(range(jobs * repeats))
    assert {(place.job, place.repeat) for place in places} == {(j, r) for j in range(jobs) for r in range(repeats)}
    assert [place.number for place in places[:jobs]] == list(range(jobs))


@pytest.mark.parametrize("jobs", [2, 3, 4, 8])
def test_jobs_take_turns_and_none_is_always_first(jobs):
    places = list(turns(jobs, 3))
    rounds = [places[start : start + jobs] for start in range(0, len(places), jobs)]
    assert [{place.repeat for place in one} for one in rounds] == [{0}, {1}, {2}]
    assert len({one[0].job for one in rounds}) > 1


def test_secrets_and_the_sweeps_own_settings_are_not_in_the_manifest():
    assert jobs_told([["seed=1", "sweep.repeats=5", "serving.token=x"]]) == [["seed=1", "serving.token=***"]]


def test_a_runs_number_says_which_job_it_is(tmp_path):
    assert place_in(tmp_path, 5) == (5, 0)
    write_manifest(Manifest(jobs=[["seed=1"], ["seed=2"]], repeats=3), tmp_path)
    assert [place_in(tmp_path, number) for number in (0, 1, 5)] == [(0, 0), (1, 0), (1, 2)]


def test_only_runs_that_ended_well_need_not_be_made_again(tmp_path):
    write_manifest(Manifest(jobs=[["seed=1"], ["seed=2"]], repeats=2), tmp_path)
    for number, repeat, error in ((0, 0, None), (1, 0, "broken"), (1, 1, None)):
        folder = tmp_path / f"{number}-{repeat}"
        folder.mkdir()
        write_record(JobRecord(number=number, repeat=repeat, overrides=[], error=error), folder)
    assert done_before(tmp_path) == {0: tmp_path / "0-0", 3: tmp_path / "1-1"}


def test_a_spoilt_record_stands_for_no_run(tmp_path):
    write_manifest(Manifest(jobs=[["seed=1"], ["seed=2"]], repeats=1), tmp_path)
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        write_record(JobRecord(number=number, overrides=[], error=None), tmp_path / str(number))
    (tmp_path / "0" / "job.json").write_bytes(b"")
    assert done_before(tmp_path) == {1: tmp_path / "1"}
    assert [record.number for _, record in records_below(tmp_path)] == [1]
