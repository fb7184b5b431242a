"""Where a prompt becomes an embedding, and what an envelope carries of a new conditioning. All give the same pixels.

Knows nothing of when prompts change. `rank0_encoder`: the embedding travels. `mesh_encoder`: the prompts travel.
`hybrid_cache`: a prompt travels once and its embedding comes back; from then on the embedding travels.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pp1_orchestrator.contract import Result
from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.contract.result import TEXT_EMBEDS
from pp1_orchestrator.contract.text_recipe import TextRecipe
from pp1_orchestrator.models.text.blend import RecipeMixer
from pp1_orchestrator.models.text.umt5 import CACHE_SIZE, CachedEncoder
from pp1_orchestrator.stage0.strategy_facts import HOMES, EncoderHome

PromptForm = Literal["text", "embeds"]


@dataclass(frozen=True, slots=True)
class Payload:
    """What an envelope carries of a conditioning that the mesh does not have: a tensor, or a recipe to make it by."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    recipe: TextRecipe | None = None
    return_embeds: bool = False


class Routing(ABC):
    """Where a prompt becomes an embedding."""

    home: ClassVar[EncoderHome]
    """Which rank holds the text encoder. Only rank 0's is passed to `__init__`."""
    first_sends: ClassVar[PromptForm]
    known_sends: ClassVar[PromptForm]
    """What an envelope carries of a new prompt, and of one that was sent before."""

    @abstractmethod
    def __init__(self, encoder: CachedEncoder | None) -> None: ...

    @abstractmethod
    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        """What travels for conditioning `epoch`. Called once for every change, in order, by the session's thread."""

    def caption(self, text: str) -> Tensor | None:
        """The embedding of an input's caption, [1, L, text_dim]; None if the leader makes it of the text."""
        return None

    def prepare(self, texts: Sequence[str]) -> None:
        """Rank 0's slow work on new prompts. Never runs on the session's thread of a live stream."""
        return

    def learn(self, recipe: TextRecipe, result: Result) -> None:
        """Take what a result brought back for a recipe that was sent."""
        return

    def forget(self) -> None:
        """The mesh was replaced: nothing that it owed will come. What rank 0 has itself stays."""
        return


class Rank0Encoder(Routing):
    """routing=rank0_encoder: rank 0 encodes and blends. The embedding travels when it changed; the mesh never waits."""

    home: ClassVar[EncoderHome] = HOMES["rank0_encoder"]
    first_sends: ClassVar[PromptForm] = "embeds"
    known_sends: ClassVar[PromptForm] = "embeds"

    def __init__(self, encoder: CachedEncoder | None) -> None:
        assert encoder is not None
        self._encoder = encoder
        self._mixer = RecipeMixer(encoder.encode)

    def prepare(self, texts: Sequence[str]) -> None:
        for text in texts:
            self._encoder.encode(text)

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        return Payload({CONDITIONING: self._mixer.apply(recipe, epoch)})

    def caption(self, text: str) -> Tensor | None:
        return self._encoder.encode(text)


class MeshEncoder(Routing):
    """routing=mesh_encoder: prompts travel as strings. The leader encodes and blends, on the mesh's critical path."""

    home: ClassVar[EncoderHome] = HOMES["mesh_encoder"]
    first_sends: ClassVar[PromptForm] = "text"
    known_sends: ClassVar[PromptForm] = "text"

    def __init__(self, encoder: CachedEncoder | None) -> None:
        assert encoder is None

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        return Payload(recipe=recipe)


class HybridCache(Routing):
    """routing=hybrid_cache: a new prompt travels as a string, and the leader's result brings its embedding back.

    From then on rank 0 blends from its cache and sends the tensor, so no prompt makes the mesh wait twice. Rank 0 also
    follows every recipe whose prompts it knows, so that a transition can start from a blend that the mesh made.
    """

    home: ClassVar[EncoderHome] = HOMES["hybrid_cache"]
    first_sends: ClassVar[PromptForm] = "text"
    known_sends: ClassVar[PromptForm] = "embeds"

    def __init__(self, encoder: CachedEncoder | None) -> None:
        assert encoder is None
        self._known: OrderedDict[str, Tensor] = OrderedDict()
        """Embeddings by prompt; the one that was used last is the last."""
        self._mixer = RecipeMixer(self._recall)
        self._waiting: deque[tuple[TextRecipe, int]] = deque()

    def payload(self, recipe: TextRecipe, epoch: int) -> Payload:
        self._waiting.append((recipe, epoch))
        embedding = self._catch_up()
        if embedding is None:
            return Payload(recipe=recipe, return_embeds=True)
        return Payload({CONDITIONING: embedding})

    def learn(self, recipe: TextRecipe, result: Result) -> None:
        embeds = result.tensors.get(TEXT_EMBEDS)
        if embeds is not None:
            for text, embedding in zip(recipe.texts, torch.split(embeds, 1), strict=True):
                self._known[text] = embedding.clone()
                self._known.move_to_end(text)
                if len(self._known) > CACHE_SIZE:
                    self._known.popitem(last=False)

    def forget(self) -> None:
        """Recipes whose embeddings will not come are dropped. Known embeddings stay valid."""
        self._waiting.clear()

    def _catch_up(self) -> Tensor | None:
        """Apply waiting recipes in order while their prompts are known. The newest recipe's embedding, or None."""
        embedding = None
        while self._waiting and self._known.keys() >= set(self._waiting[0][0].texts):
            embedding = self._mixer.apply(*self._waiting.popleft())
        return None if self._waiting else embedding

    def _recall(self, text: str) -> Tensor:
        self._known.move_to_end(text)
        return self._known[text]
