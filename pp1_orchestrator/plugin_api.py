"""What plug-ins may import. These names stay; all others of this package may change in any release.

docs/add_a_strategy.md and docs/add_a_decoder.md show their use. The program itself never imports this module.
"""

from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.contract.result import Result
from pp1_orchestrator.contract.text_recipe import TextRecipe
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.layouts.base import Layout, Mesh
from pp1_orchestrator.layouts.inline import InlineLayout
from pp1_orchestrator.layouts.spawn import SpawnedLayout
from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import check_shapes, open_weights
from pp1_orchestrator.models.text.blend import RecipeMixer
from pp1_orchestrator.models.text.umt5 import CachedEncoder
from pp1_orchestrator.models.vae.base import DecodeState, EncodeState, FrameEncoder, StreamingDecoder, StreamingEncoder
from pp1_orchestrator.models.vae.load_vae import TaehvLoader, VaeLoader, VaeParts, VaeSource, WanVaeLoader
from pp1_orchestrator.stage0.context_policies import ContextPolicy, LatentHistory
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk, ReceivedChunk
from pp1_orchestrator.stage0.overlap.base import Overlap, OverlapParts, exchange, receive, send
from pp1_orchestrator.stage0.overlap.threads import DecoderThread, LinkThread
from pp1_orchestrator.stage0.pipeline import ChunkPipeline
from pp1_orchestrator.stage0.text_routing import Payload, Routing

__all__ = [
    "CONDITIONING", "CachedEncoder", "ChunkPipeline", "ConfigError", "ContextPolicy", "DecodeState", "DecoderThread",
    "EncodeState", "FrameEncoder", "InFlightChunk", "InlineLayout", "LatentHistory", "Layout", "LinkThread", "Mesh",
    "Overlap", "OverlapParts", "Payload", "RandomWeights", "ReceivedChunk", "RecipeMixer", "Result", "Routing",
    "SpawnedLayout", "StreamingDecoder", "StreamingEncoder", "TaehvLoader", "TextRecipe", "VaeLoader", "VaeParts",
    "VaeSource", "WanVaeLoader", "check_shapes", "exchange", "open_weights", "receive", "send",
]  # fmt: skip
