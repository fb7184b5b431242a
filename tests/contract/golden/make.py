"""Writes the golden files anew: `python -m tests.contract.golden.make`. Only for a new version of the contract.

One file a message: header, metadata and tensors as they travel. decoded.json: what a reader must find in whole ones.
"""

import json
from pathlib import Path

import msgspec
import torch

from pp1_orchestrator.transport.link import receive_message
from tests.contract.golden.messages import BROKEN, WHOLE, as_bytes

FOLDER = Path(__file__).parent
DECODED = FOLDER / "decoded.json"


class File:
    """A pipe that gives what a file has; `left` is what nobody asked for."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def receive(self, tensor: torch.Tensor) -> None:
        size = tensor.nbytes
        assert size <= len(self.left), "the message ends too early"
        taken, self.left = self.left[:size], self.left[size:]
        if size:
            tensor.view(-1).view(torch.uint8).copy_(torch.frombuffer(bytearray(taken), dtype=torch.uint8))


def decoded(data: bytes) -> dict:
    """What a reader finds in a message, as JSON has it. Raises ContractError for one that must be refused."""
    file = File(data)
    message = receive_message(file.receive, "cpu").message
    assert not file.left
    tensors = {
        name: {"dtype": str(t.dtype), "shape": list(t.shape), "values": t.flatten().tolist()}
        for name, t in sorted(message.tensors.items())
    }
    return json.loads(json.dumps({"meta": msgspec.to_builtins(message.meta), "tensors": tensors}))


def main() -> None:
    found = {}
    for name, make in WHOLE.items():
        data = as_bytes(make())
        (FOLDER / f"{name}.bin").write_bytes(data)
        found[name] = decoded(data)
    for name, (data, _) in BROKEN.items():
        (FOLDER / f"broken-{name}.bin").write_bytes(data)
    DECODED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
