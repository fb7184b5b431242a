"""The contract between rank 0 and the mesh: the messages, their rules and their wire format."""

from pp1_orchestrator.contract.envelope import Action, Envelope, PPEnvelopeV3
from pp1_orchestrator.contract.result import PPResultV3, Result

__all__ = ["Action", "Envelope", "PPEnvelopeV3", "PPResultV3", "Result"]
