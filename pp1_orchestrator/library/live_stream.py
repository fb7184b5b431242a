"""A stream that a Python program opens, iterates over, changes and closes; plain or from asyncio.

Starts no server and handles no signals. Knows nothing of how chunks are made.
"""

import asyncio
import atexit
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from pp1_orchestrator.app.resume import AUTO, NEVER, stream_start
from pp1_orchestrator.app.run import check_inputs
from pp1_orchestrator.app.strategy_registry import check
from pp1_orchestrator.app.stream import Instruments
from pp1_orchestrator.app.stream import Stream as RunningStream
from pp1_orchestrator.config import schema
from pp1_orchestrator.errors import ConfigError, Pp1Error, RequestError, Stage0Error
from pp1_orchestrator.event_bus import Event
from pp1_orchestrator.layouts.torchrun import TorchrunLayout
from pp1_orchestrator.library.chunk_buffer import Chunk, ChunkBuffer
from pp1_orchestrator.library.composed_settings import Settings
from pp1_orchestrator.library.process_state import PROCESS
from pp1_orchestrator.models.vae.pixel_format import to_rgb24
from pp1_orchestrator.processes.resource_limits import check_address_space, shortage
from pp1_orchestrator.stage0.session import Session
from pp1_orchestrator.types import (
    Control,
    Cut,
    Interpolation,
    PromptReceipt,
    PromptUpdate,
    TimelineEntry,
    Transition,
    WeightedPrompt,
    update_of,
)

AHEAD = 2
"""Enough for every overlap to work without a break."""
MODES = ("serve", "bench")
NOT_OPEN = "the stream is not open"


class Stream:
    """One run: `with Stream(settings) as stream: for chunk in stream: …`, or both with `async`.

    Methods that change the stream are thread-safe and do not block.

    Args:
        settings: by default `Settings.compose()`. Raises ConfigError for impossible ones, before anything is started.
        ahead: a chunk is begun while at most so many are waiting to be taken or being made. Fewer: a prompt is seen
            sooner. More: an uneven reader waits less.
    """

    def __init__(self, settings: schema.Settings | None = None, *, ahead: int = AHEAD) -> None:
        self._settings = settings or Settings.compose()
        if ahead < 1:
            raise ConfigError(f"ahead={ahead}: at least one chunk must be made at a time; possible: 1, 2 …")
        check_address_space()
        self._config, self._registry = check(self._settings, MODES)
        if issubclass(self._registry.layout.kind, TorchrunLayout):
            raise ConfigError(
                f"layout={self._settings.layout.name}: for the command line only; it starts no ranks itself"
            )
        check_inputs(self._settings, self._config, self._registry)
        self._instruments = Instruments(self._settings.run.warmup_chunks)
        self._buffer = ChunkBuffer(ahead, self._instruments.receipts, self._instruments.metrics)
        self._heard = self._instruments.events.subscribe(lambda: None)
        self._running: RunningStream | None = None
        self._closed = False
        self._restored = contextlib.ExitStack()
        self._lock = threading.Lock()
        """Held while the stream is opened or closed."""

    @property
    def settings(self) -> schema.Settings:
        return self._settings

    def open(self) -> Self:
        """Load the models, start the ranks, begin to make chunks. Once. Raises Pp1Error."""
        with self._lock:
            if self._closed or self._running is not None:
                raise Stage0Error("a stream is opened once; make another one")
            grouped = self._settings.layout.backend != "none"
            self._restored.enter_context(PROCESS.shared(grouped=grouped))
            try:
                self._running = running = self._start()
            except BaseException as error:
                self._closed = True
                self._buffer.close()
                self._restored.close()
                if not isinstance(error, Exception):
                    raise
                told = None if isinstance(error, Pp1Error) else shortage(error)
                if told is None:
                    raise
                raise told from error
            atexit.register(self.close)  # before that of `multiprocessing`, which would wait for the ranks
        threading.Thread(target=self._end_with, args=(running.session,), name="end-of-stream", daemon=True).start()
        return self

    def close(self) -> None:
        """Finish the chunk in flight and end the ranks, within `deadlines.stop`. Chunks that wait are dropped."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
            self._buffer.flush()
            self._buffer.close()
            if running is None:
                return
            atexit.unregister(self.close)
            running.close()
            self._restored.close()

    def next_chunk(self, timeout_s: float | None = None) -> Chunk | None:
        """The next chunk; None when the stream has ended. Raises TimeoutError after `timeout_s`, or Pp1Error."""
        self._check_begun()
        return self._buffer.take(timeout_s)

    async def next_chunk_async(self) -> Chunk | None:
        """The same, without blocking the event loop."""
        self._check_begun()
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(changed.set)

        with self._buffer.waking(wake):
            while True:
                with contextlib.suppress(TimeoutError):
                    return self._buffer.take(0.0)
                await changed.wait()
                changed.clear()

    def update_prompt(
        self,
        prompt: str | PromptUpdate | None = None,
        *,
        prompts: Sequence[WeightedPrompt] = (),
        blend: Interpolation = "linear",
        transition: Transition | None = None,
        cut: Cut = "soft",
    ) -> PromptReceipt:
        """Show something else, as POST /api/prompt. Raises RequestError for what can't be shown."""
        return self._session.update_prompt(update_of(prompt, prompts, blend, transition, cut))

    def pause(self) -> None:
        self._session.control(Control("pause"))

    def resume(self) -> None:
        self._session.control(Control("resume"))

    def hard_cut(self) -> None:
        """Drop all history before the next chunk."""
        self._session.control(Control("hard_cut"))

    def set_seed(self, seed: int) -> None:
        """Use another seed from the next chunk on; also a hard cut. Raises RequestError."""
        self._session.control(Control("seed", seed))

    def set_strength(self, strength: float) -> None:
        """Let chunks leave their input this far, 0…1, from the next one on. Raises RequestError."""
        self._session.set_strength(strength)

    def set_timeline(self, entries: Sequence[TimelineEntry], *, relative: bool = True) -> int:
        """Replace what is planned; the chunk that the entries count from. Raises RequestError.

        relative: chunk 0 is the next one that can still be planned.
        """
        return self._session.set_timeline(entries, relative)

    def timeline(self) -> list[TimelineEntry]:
        """The entries that are still to come."""
        return self._session.timeline()

    def recording(self) -> list[TimelineEntry]:
        """The run so far, as a timeline that gives the same latents again."""
        return self._instruments.record.entries()

    def state(self) -> dict[str, Any]:
        """What GET /api/state has of a stream: choices, prompt, seed, epoch, chunk, figures, ranks."""
        return self._session.state()

    def events(self) -> list[Event]:
        """What has happened since the last call, oldest first, as GET /api/events tells it; the newest 256."""
        return self._heard.drain()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        chunk = self.next_chunk()
        if chunk is None:
            raise StopIteration
        return chunk

    async def __aenter__(self) -> Self:
        opening = asyncio.ensure_future(asyncio.to_thread(self.open))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else will ask
            await asyncio.shield(asyncio.to_thread(self.close))  # it waits for the opening
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.close))

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await self.next_chunk_async()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def _check_begun(self) -> None:
        """No chunk will ever come of a stream that nobody has opened."""
        if self._running is None and not self._closed:
            raise RequestError(NOT_OPEN, status=503)

    @property
    def _session(self) -> Session:
        running = self._running
        if running is None:
            raise RequestError(NOT_OPEN, status=503)
        return running.session

    def _start(self) -> RunningStream:
        own = msgspec.structs.replace(self._settings, trace=False)  # there is no folder for it
        if own.run.resume == AUTO:  # nobody has asked for another run's show
            own = msgspec.structs.replace(own, run=msgspec.structs.replace(own.run, resume=NEVER))
        start = stream_start(own, (), Path())
        with start.locks:
            running = RunningStream(
                own, self._config, self._registry, start.script, self._instruments, self._buffer, [self._buffer],
                pixel_format=to_rgb24, on_hang=self._fail,
            )  # fmt: skip
        self._buffer.on_full = running.progress_timer.exclude
        running.session.start()
        return running

    def _end_with(self, session: Session) -> None:
        session.done.wait()
        self._buffer.end(session.failure)

    def _fail(self, line: str) -> None:
        """Rank 0's own work hangs. Nothing can interrupt it, and the process is the caller's."""
        self._instruments.events.publish("failed", reason=line)
        self._buffer.end(Stage0Error(line))
