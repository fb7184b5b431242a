"""The name, kind, unit, labels, buckets and meaning of every Prometheus metric.

`metrics` and docs/metrics.md are made from it. Knows nothing of who measures or scrapes.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from pp1_orchestrator.types import (
    Codec,
    DropReason,
    EpochReason,
    Limited,
    PromptOutcome,
    RestartReason,
    StreamState,
    ViewerTransport,
)

EPOCH_REASONS: tuple[EpochReason, ...] = get_args(EpochReason)
STREAM_STATES: tuple[StreamState, ...] = get_args(StreamState)
VIEWER_TRANSPORTS: tuple[ViewerTransport, ...] = get_args(ViewerTransport)

# Within the usual range neighbouring bounds differ by a factor of at most 1.6, which bounds the error of a quantile
# that Prometheus interpolates. Outside it a few bounds tell "nothing" from "far too long".

# A phase: planning (1 ms), sending (a few ms), decoding, or all of the mesh's work on a chunk: 80 to 400 ms for the
# tiny model on a CPU, 300 to 2000 ms for a 14B model on a few GPUs.
PHASE_S = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0,
    3.0, 5.0, 10.0,
)  # fmt: skip
# A chunk's period is compared with the allowed one (750 ms for 12 frames at 16 FPS, 500 ms at 24 FPS): the bounds are
# closest there.
PERIOD_S = (0.05, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.3, 1.6, 2.0, 2.5, 4.0, 10.0)
# One to three chunks and the text encoding: 200 ms to 5 s.
TO_PIXELS_S = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 7.0, 10.0, 20.0)
# 1 to 3 with overlap, a few more with queues or a burst of updates.
TO_PIXELS_CHUNKS = (0, 1, 2, 3, 4, 6, 8, 12, 16)

# From a viewer on this machine to one across the world.
RTT_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)

SCORE_WINDOW = 60
"""Number of chunks that `pp1_overlap_score` covers."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric. labels: all values of each label, or what the label means where its values are open."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    labels: dict[str, str | tuple[str, ...]] = field(default_factory=dict[str, str | tuple[str, ...]])
    buckets: tuple[float, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """All values of its only label, if they are known."""
        known = list(self.labels.values())
        return known[0] if len(known) == 1 and isinstance(known[0], tuple) else ()


_RANK = "global number of the rank, `0` is rank 0"

PHASE = Spec(
    "pp1_phase_seconds", "histogram", "seconds", "Time of one phase of one chunk.",
    {"phase": ("text", "build", "send", "mesh", "recv", "decode"), "rank": "the rank that did it"}, PHASE_S,
)  # fmt: skip
PERIOD = Spec(
    "pp1_chunk_period_seconds", "histogram", "seconds", "Time from one decoded chunk to the next.", {}, PERIOD_S
)
TO_PIXELS = Spec(
    "pp1_prompt_to_pixels_seconds", "histogram", "seconds",
    "Time from an accepted prompt update to its first decoded frame.", {}, TO_PIXELS_S,
)  # fmt: skip
TO_PIXELS_IN_CHUNKS = Spec(
    "pp1_prompt_to_pixels_chunks", "histogram", "chunks",
    "Chunks from an accepted prompt update to the first one made with it.", {}, TO_PIXELS_CHUNKS,
)  # fmt: skip
SCORE = Spec(
    "pp1_overlap_score", "gauge", "ratio",
    f"Share of the shorter stage's time that is overlapped, 0 to 1, median of the last {SCORE_WINDOW} chunks.",
)  # fmt: skip
FRAMES = Spec("pp1_frames_total", "counter", "frames", "Pixel frames decoded.")
DROPPED = Spec(
    "pp1_frames_dropped_total", "counter", "frames", "Frames made but not shown, or not to a slow viewer or clip.",
    {"reason": get_args(DropReason)},
)  # fmt: skip
TARGET_FPS = Spec("pp1_target_fps", "gauge", "frames per second", "Rate at which the stream is shown.")
QUEUE = Spec(
    "pp1_queue_depth", "gauge", "entries", "Entries waiting in a bounded queue.",
    {"queue": "`frames`, `packets` of a viewer, and those of the chosen overlap"},
)  # fmt: skip
EPOCH = Spec("pp1_cache_epoch", "gauge", "epochs", "Number of KV cache resets so far.")
EPOCHS = Spec(
    "pp1_epochs_total", "counter", "epochs", "Changes of the epoch by what asked for them.",
    {"reason": EPOCH_REASONS},
)  # fmt: skip
PROMPT_UPDATES = Spec(
    "pp1_prompt_updates_total", "counter", "updates", "Prompt updates that have come that far, each counted once.",
    {"outcome": get_args(PromptOutcome)},
)  # fmt: skip
WIRE = Spec(
    "pp1_wire_bytes_total", "counter", "bytes", "Bytes between rank 0 and the leader, of chunks that were decoded.",
    {"message": ("envelope", "result")},
)  # fmt: skip
REPEATED = Spec(
    "pp1_results_repeated_total", "counter", "results", "Results of the mesh that came twice or late, and were dropped."
)
VIEWERS = Spec(
    "pp1_viewers", "gauge", "viewers", "Connected viewers.", {"transport": get_args(ViewerTransport)},
)  # fmt: skip
VIEWER_RTT = Spec(
    "pp1_viewer_rtt_seconds", "histogram", "seconds", "Round-trip time to a WebRTC viewer, by its RTCP reports.",
    {}, RTT_S,
)  # fmt: skip
VIEWER_PACKETS = Spec(
    "pp1_viewer_packets_total", "counter", "packets",
    "Video packets to WebRTC viewers; `lost`: that did not arrive at first, by their RTCP reports.",
    {"outcome": ("sent", "lost")},
)  # fmt: skip
LIMITED = Spec(
    "pp1_requests_limited_total", "counter", "requests",
    "Requests refused with 429 or 503 because of a limit; `address`: of one address's viewers.",
    {"limit": get_args(Limited)},
)  # fmt: skip
READY = Spec("pp1_ready", "gauge", "0 or 1", "What /readyz says: 1 while chunks come, or the stream is paused.")
PAUSED = Spec("pp1_paused", "gauge", "0 or 1", "1 while the stream is paused.")
RANK_UP = Spec("pp1_rank_up", "gauge", "0 or 1", "1 while the rank is alive, else 0.", {"rank": _RANK})
STATE = Spec(
    "pp1_state", "gauge", "0 or 1", "1 for the state that the stream is in, 0 for the others.",
    {"state": STREAM_STATES},
)  # fmt: skip
RESTARTS = Spec(
    "pp1_mesh_restarts_total", "counter", "restarts", "Restarts of the mesh that were begun, by what it failed of.",
    {"reason": get_args(RestartReason)},
)  # fmt: skip
ENCODE = Spec(
    "pp1_encode_seconds_total", "counter", "seconds",
    "Time of encoding video, once for all viewers; `h264`: a second time, for those that can't take VP8.",
    {"codec": get_args(Codec)},
)  # fmt: skip
ENCODED = Spec(
    "pp1_encoded_bytes_total", "counter", "bytes", "Video encoded, once for all viewers of a codec.",
    {"codec": get_args(Codec)},
)  # fmt: skip
MEDIA_UP = Spec("pp1_media_up", "gauge", "0 or 1", "1 while the media process can admit viewers, else 0.")
MEDIA_RESTARTS = Spec(
    "pp1_media_restarts_total", "counter", "restarts", "Restarts of the media process, by what it failed of.",
    {"reason": get_args(RestartReason)},
)  # fmt: skip
MEDIA_CPU = Spec("pp1_media_cpu_seconds_total", "counter", "seconds", "CPU time of the media process.")
VRAM = Spec(
    "pp1_vram_bytes", "gauge", "bytes",
    "Memory of a GPU that a component holds. Deprecated, until 0.4: the host's memory is here, too.",
    {"rank": _RANK, "component": "what was loaded; `peak` of the GPU"},
)  # fmt: skip
HOST_MEMORY = Spec(
    "pp1_host_memory_bytes", "gauge", "bytes", "Memory of the host that a component, or the rank's process, holds.",
    {"rank": _RANK, "component": "what was loaded; `resident` of the process; `peak` of it, for a rank on a CPU"},
)  # fmt: skip
CPU = Spec(
    "pp1_cpu_seconds_total", "counter", "seconds",
    "CPU time of the rank's process. Ranks that share a process show the same.", {"rank": _RANK},
)  # fmt: skip
BUILD = Spec("pp1_build_info", "gauge", "1", "Always 1. The label says what runs.", {"version": "as `pp1 --version`"})

CATALOGUE = (
    PHASE, PERIOD, TO_PIXELS, TO_PIXELS_IN_CHUNKS, SCORE, FRAMES, DROPPED, TARGET_FPS, QUEUE, EPOCH, EPOCHS,
    PROMPT_UPDATES, WIRE, REPEATED, VIEWERS, VIEWER_RTT, VIEWER_PACKETS, LIMITED, READY, PAUSED, STATE, RANK_UP,
    RESTARTS, ENCODE, ENCODED, MEDIA_UP, MEDIA_RESTARTS, MEDIA_CPU, VRAM, HOST_MEMORY, CPU, BUILD,
)  # fmt: skip

OPEN_FILES = Spec("process_open_fds", "gauge", "files", "Open file descriptors.")
FILE_LIMIT = Spec("process_max_fds", "gauge", "files", "Limit on open file descriptors.")
PROCESS = (
    OPEN_FILES, FILE_LIMIT,
    Spec("process_cpu_seconds_total", "counter", "seconds", "CPU time of the process."),
    Spec("process_resident_memory_bytes", "gauge", "bytes", "Resident memory of the process."),
    Spec("process_virtual_memory_bytes", "gauge", "bytes", "Virtual memory of the process."),
    Spec("process_start_time_seconds", "gauge", "seconds", "Unix time of its start."),
)  # fmt: skip
"""Metrics of rank 0's process, which prometheus_client collects on Linux."""


def epoch_reason(words: str) -> EpochReason:
    """The label for an event's reason, which may name an update: a label needs few values."""
    first = words.split(" ", 1)[0]
    return first if first in EPOCH_REASONS else "other"
