"""Collects what the steps of a training report, and logs it at intervals."""

import logging

import torch

from training.common import Schedule
from training.losses import LossReport

_log = logging.getLogger(__name__)


class Progress:
    """Collects loss reports and logs them at intervals."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule, self._rollouts = schedule, 0
        self._reports: dict[bool, list[LossReport]] = {False: [], True: []}

    def add(self, rollout: bool, report: LossReport) -> None:
        """Adds the report of one step."""
        self._rollouts += rollout
        self._reports[rollout].append(report.copy())
        step = self._schedule.steps
        if step in (50, 200) or step % 500 == 0:
            pace = 1e3 * self._schedule.elapsed / step
            _log.info("step %d (%d self-rollout), %.1f ms a step", step, self._rollouts, pace)
            for kind, name in ((False, "teacher forcing"), (True, "self-rollout")):
                self._describe(name, self._reports[kind][-100:])
            self._reports = {False: [], True: []}

    @staticmethod
    def _describe(name: str, reports: list[LossReport]) -> None:
        if not reports:
            return
        whole = LossReport(*(torch.cat([getattr(r, key) for r in reports]) for key in LossReport.__slots__))
        level, later, plain = whole.level, torch.ones_like(whole.level), whole.video == 0
        later[:, 0] = 0
        first = whole.mean((level == 1) & (later == 0))
        full, middle = whole.mean((level == 1) * later), whole.mean((level >= 0.4) & (level < 1) & plain)
        text = "  %s: flow error at full noise %.4f first, %.4f later; middle %.4f; low %.4f; with an input %.4f"
        _log.info(text, name, first, full, middle, whole.mean((level < 0.4) & plain), whole.mean(~plain))
