"""The Hydra callback that records how each job of a sweep ended, and writes the report when the sweep ends.

Does nothing in a single run. Knows nothing of what the report says.
"""

import datetime
import logging
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from pp1_orchestrator.config.command_flags import given_folder
from pp1_orchestrator.config.load_settings import one_line
from pp1_orchestrator.errors import Pp1Error
from pp1_orchestrator.report.jobs import UNFINISHED, JobRecord, MachineInfo, processor, without_secrets, write_record
from pp1_orchestrator.report.sweep_manifest import place_in

if TYPE_CHECKING:
    from pp1_orchestrator.report.machine_load import LoadSampler

log = logging.getLogger(__name__)
EXIT_FAILED = 1


class SweepReport(Callback):
    """Writes job.json into each job's folder, and the report into the sweep's."""

    def __init__(self) -> None:
        self._failed = False
        self._sampler: LoadSampler | None = None

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        if config.hydra.mode is RunMode.MULTIRUN:
            write_record(_record(config, config.hydra.overrides.task, UNFINISHED), _folder(config))
            self._sample()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        self._write_load(_folder(config))
        failed = job_return.status is JobStatus.FAILED
        error: Any = vars(job_return)["_return_value"] if failed else None  # the property would raise
        reason = None if error is None else _reason(error)
        if error is not None:
            self._failed = True
        record = _record(config, job_return.overrides or (), reason)
        if error is not None:
            log.error("job %d failed: %s", record.number, reason, exc_info=None if _expected(error) else error)
        write_record(record, _folder(config))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the report; its recommendation is the last line.

        Exits with code 1 where a job or the report failed; Hydra would only warn.
        """
        if self._sampler is not None:
            self._sampler.stop()
        try:
            _write(Path(config.hydra.sweep.dir))
        except Exception:
            log.exception("the sweep's report could not be written")
            self._failed = True
        if self._failed:
            sys.exit(EXIT_FAILED)

    def _sample(self) -> None:
        from pp1_orchestrator.report.machine_load import LoadSampler  # a single run has no use for it

        self._sampler = LoadSampler()
        self._sampler.start()

    def _write_load(self, folder: Path) -> None:
        if self._sampler is None:  # the job could not be composed
            return
        from pp1_orchestrator.report.machine_load import write_load

        write_load(self._sampler.stop(), folder)
        self._sampler = None


def _record(config: DictConfig, overrides: Any, error: str | None) -> JobRecord:
    composed = not OmegaConf.is_missing(config.hydra.runtime, "output_dir")

    def selected(key: str) -> Any:
        return OmegaConf.select(config, key) if composed else None

    number, repeat = place_in(Path(config.hydra.sweep.dir), config.hydra.job.num)
    return JobRecord(
        number=number,
        repeat=repeat,
        overrides=without_secrets(overrides),
        error=error,
        overlap=selected("overlap.name"),
        script=selected("run.script"),
        seed=selected("seed"),
        trained_context=selected("model.context"),
        trained_cache=selected("model.cache"),
        config_dir=given_folder(config.hydra.runtime.config_sources),
    )


def _folder(config: DictConfig) -> Path:
    """The job's folder. Hydra has not made it where the configuration could not be composed."""
    runtime = config.hydra.runtime
    if not OmegaConf.is_missing(runtime, "output_dir"):
        return Path(runtime.output_dir)
    folder = Path(config.hydra.sweep.dir) / str(config.hydra.job.num)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _expected(error: BaseException) -> bool:
    """Whether its one line is enough. Anything else is a bug, and its traceback is logged."""
    return isinstance(error, Pp1Error) or type(error).__module__.partition(".")[0] in ("hydra", "omegaconf")


def _reason(error: BaseException) -> str:
    return one_line(error) if _expected(error) else f"{type(error).__name__}: {one_line(error)}"


def _write(folder: Path) -> None:
    import torch

    from pp1_orchestrator.report.outcome import last_line
    from pp1_orchestrator.report.render import write_report

    gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    versions, today = (platform.python_version(), str(torch.__version__)), datetime.datetime.now(datetime.UTC).date()
    machine = MachineInfo(processor(), os.cpu_count() or 1, gpus, *versions, today.isoformat())
    content = write_report(folder, machine)
    log.info("report: %s", folder / "report.html")
    log.info("%s", last_line(content))
