"""Stands by as the helper that forks a program's mesh ranks, with the imports done that it would take seconds for.

`multiprocessing` starts that helper with `python -c`, and imports in it. Here the program's process has forked it
before anything else ran; it takes the command, the environment and the files that it would have been started with.
"""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Sequence
from multiprocessing import forkserver, util
from typing import NoReturn

BYTES = 1 << 20
FILES = 8


def stand_by() -> None:
    """To be called in a process that has imported everything and runs no thread; works for one start of the helper."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _become_helper(theirs)
    theirs.close()
    cold = util.spawnv_passfds

    def start(path: bytes, arguments: Sequence[str], files: Sequence[int]) -> int:
        if forkserver.__name__ not in arguments[-1]:
            return cold(path, arguments, files)
        util.spawnv_passfds = cold
        command = arguments[-1].replace(f"main({files[0]}, {files[1]}, ", "main(*files, ")
        request = json.dumps({"command": command, "env": dict(os.environ)})
        with ours:
            socket.send_fds(ours, [request.encode()], list(files))
        return pid

    util.spawnv_passfds = start


def _become_helper(theirs: socket.socket) -> NoReturn:
    with theirs:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells the whole group
        data, files, *_ = socket.recv_fds(theirs, BYTES, FILES)
    if not data:
        os._exit(0)  # the program has ended and had no mesh
    request = json.loads(data)
    os.environ.clear()
    os.environ.update(request["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(SystemExit):
        exec(request["command"], {"files": files})
    os._exit(0)
