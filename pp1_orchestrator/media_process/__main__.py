"""The media process: `python -m pp1_orchestrator.media_process CONTROL FRAMES MEMORY`, three file descriptors.

Started by rank 0 (`media_supervisor`), and ended by it: by a message, by the end of the control socket, or by the
kernel when rank 0 has ended.
"""

import asyncio
import ctypes
import faulthandler
import signal
import socket
import sys

from pp1_orchestrator.media_process.media_server import serve
from pp1_orchestrator.processes.signals import ignore_signals

PR_SET_PDEATHSIG = 1
"""From prctl.h."""


def main(control: int, frames: int, memory: int) -> None:
    """Serve until rank 0 has had enough. SIGTERM ends it, as well; no signal of a terminal does."""
    ignore_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # rank 0 starts this process with signals blocked
    # Even if this process is stopped or hangs. Sent when the parent's thread ends: that is the one with the event loop.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    faulthandler.enable()
    asyncio.run(serve(socket.socket(fileno=control), socket.socket(fileno=frames), memory))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
