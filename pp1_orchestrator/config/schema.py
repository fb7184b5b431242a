"""Every setting, typed and frozen. All values come from `conf/`, which has the defaults and the comments."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from pp1_orchestrator.config.bounds import Delay, Pixels, Positive, Restarts, Seconds
from pp1_orchestrator.config.machine import MachineSettings, PlanSettings
from pp1_orchestrator.config.model_settings import CacheSettings, ModelSettings
from pp1_orchestrator.config.sizes import TextSizeSettings
from pp1_orchestrator.config.source_settings import SourceSettings
from pp1_orchestrator.config.sweep import SweepSettings

NAME = r"^\w[\w.-]*$"

RUN_GROUPS = ("model", "routing", "overlap", "context", "cache", "source", "layout", "parallel")
"""The groups whose options say which run it was."""
RANK, INDEX = "{rank}", "{index}"
"""Placeholders in a mesh rank's device: its global rank, and its rank in the mesh, from 0."""


class ClassSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An option that stands for a class. class_path: `package.module:Class` of a plug-in. options: its own settings."""

    name: Annotated[str, Meta(pattern=NAME)]
    class_path: str | None = field(default=None, name="class")
    options: dict[str, Any] = {}


class Stage0Settings(ClassSettings, frozen=True, forbid_unknown_fields=True):
    """file: the decoder's weights; None: model.vae. widths: channels by level, for weights without sizes."""

    file: str | None
    widths: tuple[Positive, ...]


class TextEncoderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """device: `same` as the other models of its rank, or `cpu`. int8: 8-bit weights."""

    name: str
    device: Literal["same", "cpu"]
    int8: bool
    sizes: TextSizeSettings


class RoutingSettings(ClassSettings, frozen=True, forbid_unknown_fields=True):
    """encoder: the rank that holds the text encoder; determined by the routing."""

    encoder: Literal["rank0", "leader"]


class OverlapSettings(ClassSettings, frozen=True, forbid_unknown_fields=True):
    """d_in: envelopes without a result. d_out: results that are not decoded."""

    d_in: Annotated[int, Meta(ge=1, le=8)]
    d_out: Annotated[int, Meta(ge=1, le=8)]


class ContextSettings(ClassSettings, frozen=True, forbid_unknown_fields=True):
    """recompute_every: chunks between two rebuilds of the cache. For the others see conf/context/."""

    recompute_every: Positive
    attention_bias: Annotated[float, Meta(gt=0, le=1)]
    recache_mask: Literal["causal", "bidirectional"]
    rope: Literal["absolute", "relative"]


class FaultSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """kind: `none`, or one of `testing.faults`; see conf/debug/fault.yaml."""

    kind: str
    rank: Positive
    chunk: Annotated[int, Meta(ge=0)]
    seconds: Delay


class DebugSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds added to stages, and a scripted fault; see conf/debug/none.yaml."""

    name: str
    mesh_s: Delay
    decode_s: Delay
    encode_s: Delay
    fault: FaultSettings


class ShardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Optional parts of a block that parallel=tensor splits (`models.wan.tensor_parallel.ShardPlan`)."""

    qk: bool
    cross_attention: bool


class LayoutSettings(ClassSettings, frozen=True, forbid_unknown_fields=True):
    """mesh_ranks: that share the generator. backend: of their collectives. device: rank 0's. mesh_device: others'.

    memory_share: of its device that a rank may use. environment: NAME=value of each mesh rank. threads: torch's, a
    rank. compile: generator and decoder, at start. fp8: matrix products of the compiled generator.
    """

    mesh_ranks: Positive
    backend: Literal["gloo", "nccl", "none"]
    device: str
    mesh_device: str
    memory_share: Annotated[float, Meta(gt=0, le=1)]
    environment: tuple[str, ...]
    threads: Positive
    compile: bool
    fp8: bool
    shard: ShardSettings

    def device_of(self, rank: int) -> str:
        """The device of a rank, with the placeholders of `mesh_device` filled in."""
        return self.device if rank == 0 else self.mesh_device.replace(RANK, str(rank)).replace(INDEX, str(rank - 1))

    @property
    def devices(self) -> list[str]:
        """The devices of all ranks, in order."""
        return [self.device_of(rank) for rank in range(self.mesh_ranks + 1)]


class ParallelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the mesh splits the generator; see conf/parallel/."""

    name: str


class RunSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """chunks: None for an endless run. prompt: of chunk 0, unless a script has one. restarts: of the mesh.

    resume: auto, never, or a run's folder.
    """

    name: str
    chunks: Positive | None
    script: str | None
    prompt: str
    show: Annotated[str, Meta(pattern=NAME, max_length=100)]
    resume: Annotated[str, Meta(min_length=1)]
    warmup_chunks: Annotated[int, Meta(ge=0)]
    restarts: Restarts


class StreamSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Frame rate and size in pixels."""

    fps: Annotated[int, Meta(ge=1, le=120)]
    height: Pixels
    width: Pixels


class IceServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A STUN or TURN server; `media.ice_servers` has the rules."""

    urls: str | tuple[str, ...] = ()
    username: str | None = None
    credential: str | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """All urls: one may stand alone, as in browsers."""
        return (self.urls,) if isinstance(self.urls, str) else self.urls


class ServingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server listens and what it allows."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)]
    token: str | None
    view_token: str | None
    frame_ancestors: tuple[str, ...]
    ice_servers: tuple[IceServerSettings, ...]
    root_path: str | None
    tls_cert: str | None
    tls_key: str | None
    tls: Literal["self_signed"] | None
    max_viewers: Positive
    viewers_per_address: Positive
    bitrate: Annotated[int, Meta(ge=50_000, le=50_000_000)]
    keyframe_s: Seconds
    clip_s: Seconds
    clip_bytes: Annotated[int, Meta(ge=100_000)]
    clips_kept: Positive


class Deadlines(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds; see conf/config.yaml."""

    start: Seconds
    message: Seconds
    answer: Seconds
    decode: Seconds
    loop: Seconds
    media: Seconds
    heartbeat: Seconds
    chunk: Seconds
    stop: Seconds


class SupervisionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How often a failed mesh or media process is restarted; see conf/config.yaml."""

    restarts: Restarts
    window_s: Seconds
    pauses_s: Annotated[tuple[Delay, ...], Meta(min_length=1)]
    media_restarts: Restarts


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Log lines of all ranks; see conf/config.yaml."""

    format: Literal["text", "json"]
    prompts: bool


class PluginSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """allow: packages and modules from which an option may name a class."""

    allow: tuple[str, ...]


class CheckSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Of run=check; see conf/config.yaml."""

    path: str | None
    make: Annotated[int, Meta(ge=0, le=100)]
    prompt: str


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """One run."""

    model: ModelSettings
    stage0: Stage0Settings
    text_encoder: TextEncoderSettings
    routing: RoutingSettings
    overlap: OverlapSettings
    context: ContextSettings
    cache: CacheSettings
    source: SourceSettings
    layout: LayoutSettings
    parallel: ParallelSettings
    machine: MachineSettings
    run: RunSettings
    debug: DebugSettings
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    stream: StreamSettings
    serving: ServingSettings
    deadlines: Deadlines
    supervision: SupervisionSettings
    log: LogSettings
    plugins: PluginSettings
    plan: PlanSettings
    sweep: SweepSettings
    check: CheckSettings
    trace: bool
    outputs: Annotated[str, Meta(min_length=1)]
