"""Stands for a media process that a stranger has taken over: it is ready, and then says what can't be."""

import signal
import socket
import sys

import msgspec

from pp1_orchestrator.media_process.control_messages import LENGTH_BYTES

READY, LIE = {"type": "Ready"}, {"type": "Figures", "packets_lost": -1}


def main(control: int) -> None:
    with socket.socket(fileno=control) as rank_0:
        rank_0.recv(1)  # it has been told what to do
        for message in (READY, LIE):
            data = msgspec.msgpack.encode(message)
            rank_0.sendall(len(data).to_bytes(LENGTH_BYTES) + data)
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]))
