"""`python -m pp1_orchestrator`: compose, check, run. Exit codes: 0 done, 1 failed, 2 bad configuration."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pp1_orchestrator.errors import ConfigError, Pp1Error

CONF = Path(__file__).parents[1] / "conf"
EXIT_FAILED, EXIT_CONFIG = 1, 2
log = logging.getLogger("pp1_orchestrator")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(composed: DictConfig) -> None:
    """One job: the whole program, or one run of a sweep."""
    # Imported here so that a mistyped option answers before torch is loaded.
    from pp1_orchestrator.config.load import load_settings

    settings = load_settings(composed)
    from pp1_orchestrator.runtime.program import run_program

    run_program(settings, Path(HydraConfig.get().runtime.output_dir))


def one_line(error: BaseException) -> str:
    """An error's text without its line breaks."""
    return " ".join(part.strip() for part in str(error).splitlines() if part.strip())


def main() -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the text and exit code are ours
    try:
        run()
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"configuration error: {one_line(error)}\n")
        return EXIT_CONFIG
    except Pp1Error as error:
        log.error("failed: %s", one_line(error))
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
