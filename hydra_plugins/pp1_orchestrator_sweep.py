"""The sweeper behind `-m`, and the registration of the report's callback. Hydra finds this module by its folder's name.

Owns the order of a sweep's runs, its time, and how it is continued. Knows nothing of what a job does or of what the
report says.
"""

import copy
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus, configure_log
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pp1_orchestrator.config.load_settings import describe
from pp1_orchestrator.config.sweep import SweepSettings
from pp1_orchestrator.report.jobs import RECORD_FILE, differing_keys, label, records_below
from pp1_orchestrator.report.sweep_manifest import (
    Manifest,
    RunPlace,
    done_before,
    jobs_told,
    read_manifest,
    turns,
    write_manifest,
)

log = logging.getLogger("pp1_orchestrator.sweep")
MEASURING = "bench"
"""The runs that are repeated; the others measure nothing."""
SETTINGS_FILE = "multirun.yaml"
OWN_NUMBER = ("hydra.job.num", "hydra.job.id")
"""What a run's folder is named by, if its name differs from run to run."""
Job = Sequence[str]


class SteadySweeper(BasicSweeper):
    """Hydra's basic sweep, except that jobs take turns and are repeated, and that a job that fails, or that can't be
    composed, does not stop the next one.

    Callbacks get the end of every job, even of one that never began, and the end of a sweep that is interrupted.
    """

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        assert self.config is not None
        assert self.hydra_context is not None
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        jobs = [job for batch in self.split_arguments(overrides, self.max_batch_size) for job in batch]
        settings = _sweep_settings(self.config)
        folder = Path(self.config.hydra.sweep.dir)
        _continued(folder, jobs)  # refuses another sweep's folder before anything is written there
        with _settings_kept(self.config, folder):
            kept = _continued(folder, jobs)
            try:
                return self._run_all(folder, jobs, settings, kept)
            except BaseException:
                log.info("to make the rest: the same command with hydra.sweep.dir=%s", folder)
                self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name=None)
                raise

    def _run_all(self, folder: Path, jobs: Sequence[Job], settings: SweepSettings, kept: set[int]) -> list[JobReturn]:
        composed = [self._compose(job) for job in jobs]
        measuring = [
            not isinstance(one, Exception) and OmegaConf.select(one, "run.name") == MEASURING for one in composed
        ]
        repeats = settings.repeats if any(measuring) else 1
        _begin(folder, Manifest(jobs=jobs_told(jobs), repeats=repeats), any(measuring))
        wanted = [place for place in turns(len(jobs), repeats) if place.repeat == 0 or measuring[place.job]]
        left = [place for place in wanted if place.number not in kept]
        if len(left) < len(wanted):
            log.info("%d of %d runs are there from before", len(wanted) - len(left), len(wanted))
        keys = differing_keys(jobs)
        budget, ended, failed = _Budget(settings.budget_s), list[JobReturn](), set[int]()
        for turn, place in enumerate(left, 1):
            if place.job in failed:
                continue
            if place.repeat and not budget.has_room(place.job):
                log.warning("sweep.budget_s=%g: spent after %d of %d runs", settings.budget_s, turn - 1, len(left))
                break
            name = label(place.job, jobs[place.job], keys)
            log.info("run %d of %d: job %d, %s%s", turn, len(left), place.job, name, _again(place, repeats))
            done = self._run(folder, place, jobs[place.job], composed[place.job])
            budget.note(place.job)
            ended.append(done)
            if done.status is JobStatus.FAILED:
                failed.add(place.job)
        return ended

    def _compose(self, overrides: Job) -> DictConfig | Exception:
        """A job's configuration, or why there is none."""
        assert self.config is not None
        assert self.hydra_context is not None
        try:
            return self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            return error

    def _run(self, folder: Path, place: RunPlace, overrides: Job, composed: DictConfig | Exception) -> JobReturn:
        assert self.launcher is not None
        _forget_unfinished(folder, place)
        if isinstance(composed, Exception):
            return self._fail_uncomposed(place.number, overrides, composed)
        return self.launcher.launch([[*overrides, *self._own_folder(place)]], initial_job_idx=place.number)[0]

    def _own_folder(self, place: RunPlace) -> list[str]:
        """What gives a repeat a folder of its own where the user's name for it would be that of the job's first run."""
        assert self.config is not None
        named: Any = OmegaConf.to_container(self.config.hydra.sweep, resolve=False)
        subdir = str(named["subdir"])
        if place.repeat == 0 or any(key in subdir for key in OWN_NUMBER):
            return []
        return [f"hydra.sweep.subdir='{subdir}.{place.repeat + 1}'"]

    def _fail_uncomposed(self, number: int, overrides: Job, error: Exception) -> JobReturn:
        assert self.config is not None
        assert self.hydra_context is not None
        config = copy.deepcopy(self.config)
        with open_dict(config):
            config.hydra.job.num = number
        job = JobReturn(overrides=overrides, status=JobStatus.FAILED)
        job.return_value = error
        self.hydra_context.callbacks.on_job_end(config=config, job_return=job)
        return job


class _Budget:
    """The sweep's time. Each job has its first run in any case; a repeat must be likely to end in time."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._start_s = self._last_s = time.monotonic()
        self._longest_s: dict[int, float] = {}

    def note(self, job: int) -> None:
        now = time.monotonic()
        self._longest_s[job] = max(now - self._last_s, self._longest_s.get(job, 0.0))
        self._last_s = now

    def has_room(self, job: int) -> bool:
        spent = time.monotonic() - self._start_s
        return self._seconds is None or spent + self._longest_s.get(job, 0.0) <= self._seconds


def _sweep_settings(config: DictConfig) -> SweepSettings:
    plain = OmegaConf.to_container(config.sweep, resolve=True)
    try:
        return msgspec.convert(plain, SweepSettings)
    except msgspec.ValidationError as error:
        raise HydraException(describe(str(error), plain, "sweep")) from error


def _continued(folder: Path, jobs: Sequence[Job]) -> set[int]:
    """The numbers of the runs that are there from before. Raises HydraException where they are another sweep's."""
    if not any(folder.rglob(RECORD_FILE)):
        return set()
    try:
        manifest = read_manifest(folder)
    except msgspec.DecodeError:
        manifest = None
    if manifest is None or manifest.jobs != jobs_told(jobs):
        raise HydraException(f"hydra.sweep.dir={folder}: holds the jobs of another sweep; choose another folder")
    return set(done_before(folder))


@contextmanager
def _settings_kept(config: DictConfig, folder: Path) -> Generator[None]:
    """Write all settings. Inside, the folder is this sweep's alone. Raises HydraException where it can't be.

    The kernel ends the lock with the process, however that ends.
    """
    path = folder / SETTINGS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # it has all settings, tokens too
    except OSError as error:
        line = f"hydra.sweep.dir={folder}: no sweep can leave its files there: {error.strerror}"
        raise HydraException(line) from error
    with open(descriptor, "rb"):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HydraException(f"hydra.sweep.dir={folder}: another sweep is running there") from error
        except OSError as error:
            log.warning("%s: can't be locked (%s); start no other sweep in this folder", path, error.strerror)
        OmegaConf.save(config, path)
        yield


def _begin(folder: Path, manifest: Manifest, measuring: bool) -> None:
    """Write what is to be done, and say so if the machine is busy."""
    if measuring:
        from pp1_orchestrator.report.machine_load import load_before

        before, names = load_before()
        manifest = msgspec.structs.replace(manifest, before=before)
        if before.busy:
            most = f" (most: {', '.join(names)})" if names else ""
            log.warning("this machine is busy: %s%s; less can be told apart", before, most)
    write_manifest(manifest, folder)


def _forget_unfinished(folder: Path, place: RunPlace) -> None:
    """Remove what an earlier attempt at this run left."""
    for path, record in records_below(folder):
        of_this_run = (record.number, record.repeat) == (place.job, place.repeat)
        if of_this_run and path.parent != folder:
            shutil.rmtree(path.parent)


def _again(place: RunPlace, repeats: int) -> str:
    return f", repeat {place.repeat + 1} of {repeats}" if repeats > 1 else ""


_SWEEPER: dict[str, Any] = {"_target_": f"{__name__}.{SteadySweeper.__name__}", "max_batch_size": None, "params": None}
_REPORT: dict[str, Any] = {"sweep_report": {"_target_": "pp1_orchestrator.report.hydra_callback.SweepReport"}}
ConfigStore.instance().store(group="hydra/sweeper", name="steady", node=_SWEEPER, provider=__name__)
ConfigStore.instance().store(group="hydra/callbacks", name="sweep_report", node=_REPORT, provider=__name__)
