"""The contract between rank 0 and the mesh: the messages, their rules and their wire format."""

from pp1_orchestrator.contract.envelope import Action, Envelope, PPEnvelopeV2
from pp1_orchestrator.contract.result import PPResultV2, Result

__all__ = ["Action", "Envelope", "PPEnvelopeV2", "PPResultV2", "Result"]
