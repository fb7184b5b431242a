"""What the program does not take from its environment: variables that are meant for others and that libraries obey."""

import io
import os
import sys
from importlib import import_module
from pathlib import Path

GRADIO = "GRADIO_"
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")
MULTIPROCESS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
"""With one of these, prometheus_client keeps all figures in files of that folder, and adds those of other programs."""


CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
KEY_LOG = "SSLKEYLOGFILE"
PLUGINS = "hydra_plugins"


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
