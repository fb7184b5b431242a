from pp1_orchestrator.library.chunk_buffer import Chunk
from pp1_orchestrator.library.composed_settings import Settings
from pp1_orchestrator.library.live_stream import Stream
from pp1_orchestrator.types import PromptReceipt, PromptUpdate, TimelineEntry, Transition, WeightedPrompt

__all__ = [
    "Chunk",
    "PromptReceipt",
    "PromptUpdate",
    "Settings",
    "Stream",
    "TimelineEntry",
    "Transition",
    "WeightedPrompt",
    "__version__",
]

__version__: str
