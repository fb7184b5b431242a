"""Settings on the command line, one override a line: composed, read and validated, but not run.

Errors are ConfigError and those of Hydra and OmegaConf; the program makes one line of each.
"""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

import pp1_orchestrator
from pp1_orchestrator.app.run import MODES
from pp1_orchestrator.app.strategy_registry import BUILT_IN
from pp1_orchestrator.config.command_flags import check_groups
from pp1_orchestrator.config.load_settings import load_settings, one_line
from pp1_orchestrator.config.validate import check_options, validate
from pp1_orchestrator.errors import ConfigError
from tests.fuzz.oracle import check_line

CONF = Path(pp1_orchestrator.__file__).resolve().parent / "conf"
KNOWN = {**BUILT_IN, "run": MODES}
MOST = 8


def fuzz_one(data: bytes) -> None:
    overrides = data.decode("utf-8", "replace").replace("\0", "").split("\n")[:MOST]
    if not GlobalHydra.instance().is_initialized():
        initialize_config_dir(str(CONF), version_base="1.3")
    try:
        check_groups(overrides)
        made = load_settings(compose("config", [line for line in overrides if line]))
        validate(made)
        check_options(made, KNOWN)
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        check_line(ConfigError(one_line(error)), len(data))


def close() -> None:
    """Leave Hydra to whoever comes next in this process."""
    GlobalHydra.instance().clear()
