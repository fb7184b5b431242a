"""The versioned contract between rank 0 and the mesh: messages, their rules, their form on the wire."""

from pp1_orchestrator.contract.envelope import Action, Envelope, PPEnvelopeV1
from pp1_orchestrator.contract.result import PPResultV1, Result

__all__ = ["Action", "Envelope", "PPEnvelopeV1", "PPResultV1", "Result"]
