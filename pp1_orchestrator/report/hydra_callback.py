"""The callback that keeps what became of each job of a sweep, and has the report written when the sweep ends.

Knows Hydra's jobs; what the report says is `pp1_orchestrator.report`'s business. Does nothing in a single run.
"""

from __future__ import annotations

import datetime
import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from pp1_orchestrator.config.load_settings import one_line
from pp1_orchestrator.errors import Pp1Error
from pp1_orchestrator.report.jobs import UNFINISHED, JobRecord, write_record

log = logging.getLogger(__name__)
EXIT_FAILED = 1


class SweepReport(Callback):
    """job.json in each job's folder, then report.md and report.html in the sweep's."""

    def __init__(self) -> None:
        self._failed = False

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        if config.hydra.mode is RunMode.MULTIRUN:
            write_record(_record(config, config.hydra.overrides.task, UNFINISHED), _folder(config))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        error = job_return._return_value if job_return.status is JobStatus.FAILED else None  # the property would raise
        reason = None if error is None else _reason(error)
        if error is not None:
            self._failed = True
            log.error("job %d failed: %s", config.hydra.job.num, reason, exc_info=None if _expected(error) else error)
        write_record(_record(config, job_return.overrides or (), reason), _folder(config))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leaves the program with exit code 1 where a job or the report failed; Hydra would make it a mere warning."""
        try:
            _write(Path(config.hydra.sweep.dir))
        except Exception:
            log.exception("the sweep's report could not be written")
            self._failed = True
        if self._failed:
            sys.exit(EXIT_FAILED)


def _record(config: DictConfig, overrides: Any, error: str | None) -> JobRecord:
    composed = not OmegaConf.is_missing(config.hydra.runtime, "output_dir")

    def chosen(key: str) -> Any:
        return OmegaConf.select(config, key) if composed else None

    return JobRecord(
        number=config.hydra.job.num,
        overrides=[str(override) for override in overrides],
        error=error,
        overlap=chosen("overlap.name"),
        script=chosen("run.script"),
        seed=chosen("seed"),
        trained_context=chosen("model.context"),
    )


def _folder(config: DictConfig) -> Path:
    """A job that was not composed has no folder yet."""
    runtime = config.hydra.runtime
    if not OmegaConf.is_missing(runtime, "output_dir"):
        return Path(runtime.output_dir)
    folder = Path(config.hydra.sweep.dir) / str(config.hydra.job.num)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _expected(error: BaseException) -> bool:
    """Whether one line says it all. Anything else is a bug, whose traceback is wanted."""
    return isinstance(error, Pp1Error) or type(error).__module__.partition(".")[0] in ("hydra", "omegaconf")


def _reason(error: BaseException) -> str:
    return one_line(error) if _expected(error) else f"{type(error).__name__}: {one_line(error)}"


def _write(folder: Path) -> None:
    import torch

    from pp1_orchestrator.report.jobs import this_machine
    from pp1_orchestrator.report.render import write_report

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    log.info("report: %s", write_report(folder, this_machine(today, str(torch.__version__), gpus)))
