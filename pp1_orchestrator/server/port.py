"""Takes a TCP port, or says why not. Few imports: it is asked before anything slow is."""

from __future__ import annotations

import contextlib
import errno
import socket

import psutil

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.media.sdp import LOCAL_NAMES


def bind(host: str, port: int) -> socket.socket:
    """Take a TCP port. Raises ConfigError that names serving.host or serving.port."""
    try:
        found = socket.getaddrinfo(LOCAL_NAMES.get(host, host), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        taken = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"serving.host={host}: it is no address of this machine ({error})") from error
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(address)
    except OSError as error:
        taken.close()
        raise ConfigError(_why_not(host, port, error)) from error
    return taken


def check_port(host: str, port: int) -> str:
    """Find out early whether a port can be had, and which address the host's name stands for. Raises ConfigError."""
    with bind(host, port) as taken:
        return taken.getsockname()[0]


def _by_whom(port: int) -> str:
    """Which process listens there, where that may be known."""
    with contextlib.suppress(psutil.Error):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr[1] == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (process {found.pid})"
    return ""


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        taken = f"already in use on {host}{_by_whom(port)}"
        return f"serving.port={port}: {taken}; free it or choose another, e.g. serving.port={port + 1}"
    if error.errno == errno.EACCES:
        return f"serving.port={port}: not permitted; choose one from 1024 to 65535"
    return f"serving.host={host}: can't listen there ({error.strerror})"
