"""What the program does not take from its environment: variables that are meant for others and that libraries obey."""

import io
import os
import sys
import tempfile
from importlib import import_module
from multiprocessing import util
from pathlib import Path

from pp1_orchestrator.errors import ConfigError

GRADIO = "GRADIO_"
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")
MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
"""With one of these, prometheus_client keeps all figures in files of that folder, and adds those of other programs."""


CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
KEY_LOG = "SSLKEYLOGFILE"
PLUGINS = "hydra_plugins"
TORCH = ("TORCH_", "PYTORCH_")
WITHOUT_DOCSTRINGS = 2
LONGEST_FOLDER, SHORT_FOLDER = 70, "/tmp"
"""Bytes: Linux allows 107 for a socket's path, of which multiprocessing's own names take 33."""
MAX_ECHO_CHARS, MAX_REASON_CHARS = 40, 120


def find_own_plugins() -> None:
    """Hydra looks for plug-ins in the first package of that name: perhaps a folder where the program was started."""
    places, own = import_module(PLUGINS).__path__, str(Path(__file__).resolve().parents[2] / PLUGINS)
    if own not in places:
        places.append(own)


def ignore_metrics_folder() -> None:
    """Has to run before prometheus_client is imported."""
    for name in MULTIPROCESS:
        os.environ.pop(name, None)


def ignore_page_variables() -> None:
    """For a program that serves a page and asks nobody: `GRADIO_…` would change the page, and Gradio's import makes a
    client that fails for proxies which it does not know, and for files of OpenSSL that are not there. Has to run before
    Gradio is imported."""
    for name in [*os.environ]:
        if name.startswith(GRADIO) or name.upper() in PROXIES:
            del os.environ[name]
    lead_nowhere = [name for name in CERTIFICATES if not Path(os.environ.get(name, "/")).exists()]
    if not Path(os.environ.get(KEY_LOG, "/")).parent.is_dir():
        lead_nowhere.append(KEY_LOG)
    for name in lead_nowhere:
        del os.environ[name]


def tolerate_encodings() -> None:
    """Print what the terminal's encoding has not as a substitute."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_interpreter() -> None:
    """Raises ConfigError for an interpreter without docstrings, which libraries read when they are imported."""
    if sys.flags.optimize >= WITHOUT_DOCSTRINGS:
        given = f"PYTHONOPTIMIZE={sys.flags.optimize} (-OO)"
        raise ConfigError(f"{given}: libraries need their docstrings; 0 and 1 are possible")


def check_torch_variables() -> None:
    """Raises ConfigError for a variable that torch refuses when it is imported, such as TORCH_LOGS. Without any nothing
    is imported here: torch takes seconds, and is imported beside other work."""
    given = [f"{name}={value:.{MAX_ECHO_CHARS}}" for name, value in os.environ.items() if name.startswith(TORCH)]
    if not given:
        return
    try:
        import_module("torch.distributed")
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:MAX_REASON_CHARS]
        raise ConfigError(f"{', '.join(given)}: torch refuses the environment: {reason}") from error


def use_short_folder() -> None:
    """Let multiprocessing have its sockets where their path is short enough for the kernel, if TMPDIR is too long."""
    given = tempfile.gettempdir()
    if len(os.fsencode(given)) <= LONGEST_FOLDER:
        return
    tempfile.tempdir = SHORT_FOLDER
    try:
        util.get_temp_dir()  # is made once, and removed at the end
    except OSError as error:
        line = f"TMPDIR={given:.{MAX_ECHO_CHARS}}…: too long for a socket's path, of at most {LONGEST_FOLDER} bytes"
        raise ConfigError(f"{line}; and {SHORT_FOLDER} can't be used: {error.strerror}") from error
    finally:
        tempfile.tempdir = given
