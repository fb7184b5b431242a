"""The Prometheus metrics of one run, as methods. `metrics_catalogue` has their names and meanings.

Each run has its own registry, so that several runs in one process do not collide. Knows nothing of HTTP.
"""

import threading
from collections import deque

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from pp1_orchestrator import __version__
from pp1_orchestrator.telemetry import metrics_catalogue as catalogue
from pp1_orchestrator.telemetry.metrics_catalogue import Spec, epoch_reason
from pp1_orchestrator.telemetry.overlap_score import overlap_score
from pp1_orchestrator.telemetry.records import ChunkRecord, periods_s
from pp1_orchestrator.types import (
    Codec,
    DropReason,
    Limited,
    PromptOutcome,
    RestartReason,
    StreamState,
    ViewerTransport,
)

disable_created_metrics()  # they would double the series of every counter and histogram


class Metrics:
    """Every method is thread-safe and cheap. Ranks are labelled by their global number.

    warmup_chunks: the first ones, which the overlap score leaves out.
    """

    def __init__(self, warmup_chunks: int = 0) -> None:
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._warmup_left = warmup_chunks
        self._last: ChunkRecord | None = None
        self._recent: deque[tuple[float, float, float]] = deque(maxlen=catalogue.SCORE_WINDOW)
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._phase, self._period = histogram(catalogue.PHASE), histogram(catalogue.PERIOD)
        self._to_pixels_s = histogram(catalogue.TO_PIXELS)
        self._to_pixels_chunks = histogram(catalogue.TO_PIXELS_IN_CHUNKS)
        self._score = gauge(catalogue.SCORE)
        self._frames = counter(catalogue.FRAMES)
        self._dropped = counter(catalogue.DROPPED)
        self._target_fps = gauge(catalogue.TARGET_FPS)
        self._queue = gauge(catalogue.QUEUE)
        self._epoch = gauge(catalogue.EPOCH)
        self._epochs = counter(catalogue.EPOCHS)
        self._updates = counter(catalogue.PROMPT_UPDATES)
        self._wire = counter(catalogue.WIRE)
        self._repeated = counter(catalogue.REPEATED)
        self._viewers = gauge(catalogue.VIEWERS)
        for transport in catalogue.VIEWER_TRANSPORTS:
            self._viewers.labels(transport)
        self._viewer_rtt, self._viewer_packets = histogram(catalogue.VIEWER_RTT), counter(catalogue.VIEWER_PACKETS)
        self._limited = counter(catalogue.LIMITED)
        self._ready, self._paused = gauge(catalogue.READY), gauge(catalogue.PAUSED)
        self._state = gauge(catalogue.STATE)
        for state in catalogue.STREAM_STATES:
            self._state.labels(state)
        self._rank_up = gauge(catalogue.RANK_UP)
        self._restarts = counter(catalogue.RESTARTS)
        self._encode_s, self._encoded_bytes = counter(catalogue.ENCODE), counter(catalogue.ENCODED)
        self._media_up, self._media_restarts = gauge(catalogue.MEDIA_UP), counter(catalogue.MEDIA_RESTARTS)
        self._media_cpu = counter(catalogue.MEDIA_CPU)
        self._vram, self._host_memory = gauge(catalogue.VRAM), gauge(catalogue.HOST_MEMORY)
        self._cpu = counter(catalogue.CPU)
        gauge(catalogue.BUILD).labels(__version__).set(1)
        ProcessCollector(registry=self.registry)

    def observe_chunk(self, record: ChunkRecord) -> None:
        """Count one decoded chunk: its frames, phases, period, and the overlap score of the recent ones."""
        on_leader = {"mesh"} | ({"text"} if record.mesh_text_ms > 0 else set[str]())
        for phase, seconds in record.phases_s().items():
            self._phase.labels(phase, "1" if phase in on_leader else "0").observe(seconds)
        self._frames.inc(record.frames)
        self._wire.labels("envelope").inc(record.envelope_bytes)
        self._wire.labels("result").inc(record.result_bytes)
        with self._lock:
            period_s = periods_s([self._last, record])[1] if self._last else None
            self._last = record
            if period_s is not None:
                self._period.observe(period_s)
            self._update_score(record, period_s)

    def prompt_to_pixels(self, seconds: float, chunks: int) -> None:
        """One prompt update reached its first decoded frame."""
        self._to_pixels_s.observe(seconds)
        self._to_pixels_chunks.observe(chunks)

    def prompt_update(self, outcome: PromptOutcome) -> None:
        """One prompt update reached this state for the first time."""
        self._updates.labels(outcome).inc()

    def epoch_changed(self, epoch: int, reason: str) -> None:
        """A new epoch has begun. reason: as in the event."""
        self._epoch.set(epoch)
        self._epochs.labels(epoch_reason(reason)).inc()

    def target_fps(self, fps: float) -> None:
        self._target_fps.set(fps)

    def health(self, ready: bool, paused: bool) -> None:
        """ready: what /readyz says. paused: on request."""
        self._ready.set(ready)
        self._paused.set(paused)

    def frames_dropped(self, reason: DropReason, count: int = 1) -> None:
        self._dropped.labels(reason).inc(count)

    def queue_depth(self, queue: str, depth: int) -> None:
        self._queue.labels(queue).set(depth)

    def result_repeated(self) -> None:
        """Count one result that came twice or late."""
        self._repeated.inc()

    def viewers(self, count: int, transport: ViewerTransport = "webrtc") -> None:
        self._viewers.labels(transport).set(count)

    def viewer_quality(self, rtt_s: float | None, sent: int, lost: int) -> None:
        """Count what a viewer's report says."""
        if rtt_s is not None:
            self._viewer_rtt.observe(max(0.0, rtt_s))  # the clock may have been set back meanwhile
        self._viewer_packets.labels("sent").inc(sent)
        self._viewer_packets.labels("lost").inc(lost)

    def limited(self, limit: Limited, count: int = 1) -> None:
        """Count requests that a limit refused."""
        self._limited.labels(limit).inc(count)

    def encoded(self, codec: Codec, seconds: float, size: int) -> None:
        """Video for viewers was encoded, which took `seconds`, into packets of `size` bytes."""
        self._encode_s.labels(codec).inc(seconds)
        self._encoded_bytes.labels(codec).inc(size)

    def media_up(self, up: bool) -> None:
        """Whether the media process can admit viewers."""
        self._media_up.set(up)

    def media_restarts(self, reason: RestartReason) -> None:
        self._media_restarts.labels(reason).inc()

    def media_cpu(self, seconds: float) -> None:
        """CPU time that the media process has used since the previous call."""
        self._media_cpu.inc(seconds)

    def rank_up(self, rank: int, up: bool) -> None:
        self._rank_up.labels(str(rank)).set(up)

    def mesh_restarts(self, reason: RestartReason) -> None:
        self._restarts.labels(reason).inc()

    def stream_state(self, state: StreamState) -> None:
        for other in catalogue.STREAM_STATES:
            self._state.labels(other).set(other == state)

    def memory(self, rank: int, component: str, count: int, on_gpu: bool) -> None:
        """Bytes that a component holds."""
        if not on_gpu:
            self._host_memory.labels(str(rank), component).set(count)
        self._vram.labels(str(rank), component).set(count)  # also the host's, until 0.4

    def cpu(self, rank: int, seconds: float) -> None:
        """CPU time that a rank's process has used since the previous call."""
        self._cpu.labels(str(rank)).inc(seconds)

    def _counter(self, spec: Spec) -> Counter:
        """Known values of its label start at 0, so that a query sees the first increase."""
        counter = Counter(spec.name, spec.meaning, tuple(spec.labels), registry=self.registry)
        for value in spec.values:
            counter.labels(value)
        return counter

    def _gauge(self, spec: Spec) -> Gauge:
        return Gauge(spec.name, spec.meaning, tuple(spec.labels), registry=self.registry)

    def _histogram(self, spec: Spec) -> Histogram:
        return Histogram(spec.name, spec.meaning, tuple(spec.labels), buckets=spec.buckets, registry=self.registry)

    def _update_score(self, record: ChunkRecord, period_s: float | None) -> None:
        if self._warmup_left > 0:
            self._warmup_left -= 1
        elif period_s is not None:
            self._recent.append((record.stage0_s, record.mesh_s, period_s))
            self._score.set(overlap_score(self._recent) or 0.0)


class QueueDepths:
    """Depths of the bounded queues: the current one as a metric, the largest for the summary. Thread-safe."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._max: dict[str, int] = {}

    def record(self, queue: str, depth: int) -> None:
        """depth: entries in the queue after one was added or taken."""
        with self._lock:
            self._max[queue] = max(self._max.get(queue, 0), depth)
        self._metrics.queue_depth(queue, depth)

    def max_depths(self) -> dict[str, int]:
        with self._lock:
            return dict(self._max)
