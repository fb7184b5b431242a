"""Binds a TCP port, or explains why that fails. Few imports, because it runs before anything slow."""

import contextlib
import errno
import socket

import psutil

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.media.loopback import LOCAL_NAMES


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP port. Raises ConfigError that names serving.host or serving.port."""
    try:
        found = socket.getaddrinfo(LOCAL_NAMES.get(host, host), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"serving.host={host}: not an address of this machine ({error})") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(_bind_error(host, port, error)) from error
    return listener


def check_port(host: str, port: int) -> str:
    """Check early that a port is free. Returns the address of `host`. Raises ConfigError."""
    with bind(host, port) as listener:
        return listener.getsockname()[0]


def _owner_of(port: int) -> str:
    """Which process listens on a port, if that is visible."""
    with contextlib.suppress(psutil.Error):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr[1] == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (process {found.pid})"
    return ""


def _bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        used = f"already in use on {host}{_owner_of(port)}"
        return f"serving.port={port}: {used}; free it or choose another, e.g. serving.port={port + 1}"
    if error.errno == errno.EACCES:
        return f"serving.port={port}: not permitted; choose one from 1024 to 65535"
    return f"serving.host={host}: can't listen there ({error.strerror})"
