"""The command `pp1`, which is also `python -m pp1_orchestrator`: composes the configuration and runs it.

Exit codes: 0 done, 1 failed, 2 bad configuration.
"""

import logging
import os
import sys
import traceback
from pathlib import Path

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pp1_orchestrator import __version__
from pp1_orchestrator.config.command_flags import CONFIG_DIR, check_flags, check_groups, given_folder
from pp1_orchestrator.config.help_text import help_text
from pp1_orchestrator.config.load_settings import one_line
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError, Pp1Error
from pp1_orchestrator.processes.environment import (
    check_interpreter,
    check_torch_variables,
    find_own_plugins,
    ignore_metrics_folder,
    tolerate_encodings,
    use_short_folder,
)
from pp1_orchestrator.processes.fork_server import start_fork_server
from pp1_orchestrator.processes.installed_packages import skip_damaged
from pp1_orchestrator.processes.log_setup import keep_from_console, tracebacks
from pp1_orchestrator.processes.resource_limits import check_address_space, shortage
from pp1_orchestrator.processes.run_folder import forget, new_folder
from pp1_orchestrator.processes.signals import StopRequested, on_signals, raise_stop

OmegaConf.register_new_resolver("new_folder", new_folder, replace=True)


def _help_text(*, _root_: DictConfig) -> str:
    return help_text(_root_)


OmegaConf.register_new_resolver("help_text", _help_text, replace=True)
CONF = Path(__file__).with_name("conf")
EXIT_FAILED, EXIT_CONFIG = 1, 2
NO_FOLDER = [
    "hydra.run.dir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=stdout",
    "~hydra.job_logging.handlers.file",
]
"""Other ranks of torchrun have no folder: they write into rank 0's."""
MESH_MODES = ("serve", "bench")
log = logging.getLogger("pp1_orchestrator")
skip_damaged()  # here, so that it also applies to the mesh's ranks, which import this module first


def report(error: Exception) -> int:
    """Report an error in one line; return the exit code."""
    if isinstance(error, Pp1Error) and not isinstance(error, ConfigError):
        log.error("failed: %s", one_line(error))
        return EXIT_FAILED
    sys.stderr.write(f"configuration error: {one_line(error)}\n")
    return EXIT_CONFIG


def keep_private(job: HydraConf) -> None:
    """Make the folder of the settings readable for its owner only: they may contain a token."""
    if job.output_subdir is None:
        return
    folder = Path(job.runtime.output_dir) / job.output_subdir
    try:
        folder.chmod(0o700)
    except OSError as error:  # not every file system has modes
        log.warning("%s, which holds all settings, may be read by others: %s", folder, error.strerror)


def forks_ranks(settings: Settings) -> bool:
    """Whether this process is going to fork mesh ranks, which torchrun's or a plug-in's layout does in its own way."""
    layout = settings.layout
    own = layout.class_path is None and layout.backend != "none" and "WORLD_SIZE" not in os.environ
    return own and settings.run.name in MESH_MODES


def run_job(composed: DictConfig) -> None:
    """Read the settings and run. Imports late, so that a wrong option is reported before torch is loaded."""
    from pp1_orchestrator.app.first_checks import check_first
    from pp1_orchestrator.config.load_settings import load_settings
    from pp1_orchestrator.config.validate import validate

    keep_private(HydraConfig.get())
    check_address_space()
    settings = load_settings(composed)
    check_torch_variables()
    check_first(settings, validate(settings))
    if forks_ranks(settings):
        use_short_folder()
        encodes = settings.routing.encoder == "leader"
        start_fork_server(settings.layout.threads, encodes)  # it imports at the same time as this process
    from pp1_orchestrator.app.run import run_program

    run_program(settings, Path(HydraConfig.get().runtime.output_dir), given_words(HydraConfig.get()))


def given_words(job: HydraConf) -> list[str]:
    """The words of the command line that choose settings."""
    folder = given_folder(job.runtime.config_sources)
    return [*([] if folder is None else [CONFIG_DIR, folder]), *job.overrides.task]


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(composed: DictConfig) -> None:
    """One job: the whole program, or one run of a sweep. The sweep's callback reports errors."""
    keep_from_console()
    with on_signals(raise_stop) as state:
        try:
            run_job(composed)
        except Exception as error:
            if state.received:  # a library has turned the stop into an error
                raise StopRequested from None
            told = error if isinstance(error, Pp1Error) else shortage(error)
            if told is None or HydraConfig.get().mode is RunMode.MULTIRUN:
                raise
            if told is not error:
                tracebacks.error("where there was too little:", exc_info=error)
            code = report(told)
            if isinstance(told, ConfigError):
                job = HydraConfig.get()
                forget(Path(job.runtime.output_dir), job.output_subdir)
            sys.exit(code)


def main() -> int:
    """Run the program with the process's arguments; return its exit code."""
    if "--version" in sys.argv[1:]:  # Hydra would tell its own
        sys.stdout.write(f"pp1_orchestrator {__version__}\n")
        return 0
    tolerate_encodings()
    ignore_metrics_folder()
    find_own_plugins()
    try:
        Path.cwd()
    except OSError as error:
        return report(ConfigError(f"the current folder can't be used: {error.strerror}"))
    try:
        check_interpreter()
        check_flags(sys.argv[1:])
        check_groups(sys.argv[1:])
    except ConfigError as error:
        return report(error)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing and exiting
    if "layout=torchrun" in sys.argv and os.environ.get("RANK", "0") != "0":
        sys.argv += NO_FOLDER
    try:
        with on_signals(raise_stop):
            run()
    except StopRequested:
        log.info("stopped")
    except (HydraException, OmegaConfBaseException) as error:
        return report(error)
    except OSError as error:
        frames = traceback.extract_tb(error.__traceback__)
        job_began = any((frame.filename, frame.name) == (__file__, run_job.__name__) for frame in frames)
        if isinstance(error, BrokenPipeError) and not job_began:  # whoever read the help has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if job_began or error.filename is None:
            raise
        # Hydra could not make the run's folder.
        return report(ConfigError(f"hydra.run.dir: no run can leave its files in {error.filename}: {error.strerror}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
