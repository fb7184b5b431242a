"""A client of the HTTP interface, plain and for asyncio: `pip install "pp1-orchestrator[client]"`. Needs no torch."""

from pp1_orchestrator.client.asyncio_client import AsyncClient
from pp1_orchestrator.client.blocking_client import Client
from pp1_orchestrator.types import Control, PromptUpdate, TimelineEntry, Transition, WeightedPrompt

__all__ = ["AsyncClient", "Client", "Control", "PromptUpdate", "TimelineEntry", "Transition", "WeightedPrompt"]
