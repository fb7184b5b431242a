"""The versioned contract between rank 0 and the mesh: messages, their rules, their form on the wire."""

from pp1_orchestrator.contract.envelope import Action, Envelope, PPEnvelopeV2
from pp1_orchestrator.contract.result import PPResultV2, Result

__all__ = ["Action", "Envelope", "PPEnvelopeV2", "PPResultV2", "Result"]
