"""The sweeper behind `-m`, and the registration of the report's callback. Hydra finds this module by its folder's name.

Owns the order of a sweep's jobs. Knows nothing of what a job does or of what the report says.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus, configure_log
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pp1_orchestrator.report.jobs import RECORD_FILE


class SteadySweeper(BasicSweeper):
    """Hydra's basic sweep, except that a job that fails, or that can't be composed, does not stop the next one.

    Callbacks get the end of every job, even of one that never began, and the end of a sweep that is interrupted.
    """

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        assert self.config is not None
        assert self.hydra_context is not None
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        jobs = [job for batch in self.split_arguments(overrides, self.max_batch_size) for job in batch]
        folder = Path(self.config.hydra.sweep.dir)
        if any(folder.glob(f"*/{RECORD_FILE}")):
            raise HydraException(f"hydra.sweep.dir={folder}: holds the jobs of another sweep; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "multirun.yaml"
        settings.touch(mode=0o600)  # it has all settings, tokens too
        OmegaConf.save(self.config, settings)
        try:
            return [self._run(number, job) for number, job in enumerate(jobs)]
        except BaseException:
            self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name=None)
            raise

    def _run(self, number: int, overrides: Sequence[str]) -> JobReturn:
        assert self.launcher is not None
        try:
            self.validate_batch_is_legal([overrides])
        except (HydraException, OmegaConfBaseException) as error:
            return self._fail_uncomposed(number, overrides, error)
        return self.launcher.launch([overrides], initial_job_idx=number)[0]

    def _fail_uncomposed(self, number: int, overrides: Sequence[str], error: Exception) -> JobReturn:
        assert self.config is not None
        assert self.hydra_context is not None
        config = copy.deepcopy(self.config)
        with open_dict(config):
            config.hydra.job.num = number
        job = JobReturn(overrides=overrides, status=JobStatus.FAILED)
        job.return_value = error
        self.hydra_context.callbacks.on_job_end(config=config, job_return=job)
        return job


_SWEEPER: dict[str, Any] = {"_target_": f"{__name__}.{SteadySweeper.__name__}", "max_batch_size": None, "params": None}
_REPORT: dict[str, Any] = {"sweep_report": {"_target_": "pp1_orchestrator.report.hydra_callback.SweepReport"}}
ConfigStore.instance().store(group="hydra/sweeper", name="steady", node=_SWEEPER, provider=__name__)
ConfigStore.instance().store(group="hydra/callbacks", name="sweep_report", node=_REPORT, provider=__name__)
