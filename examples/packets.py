"""Reads a second of the stream over TCP: `pip install websockets`, then `python examples/packets.py`."""

import json

from websockets.sync.client import connect

with connect("ws://localhost:7860/ws/stream") as stream:
    config = json.loads(stream.recv())
    for _ in range(round(config["fps"])):
        message = stream.recv()
        assert isinstance(message, bytes)
        is_keyframe, number, packet = message[0] & 1, message[4:8], message[16:]
        stream.send(number)
