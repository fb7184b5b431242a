"""Chunk records as a run would make them, from the seconds that a test wants to see."""

from pp1_orchestrator.telemetry.records import ChunkRecord

BUILD_S, SEND_S, QUEUE_S = 0.010, 0.002, 0.005


def run(stage0_s: list[float], mesh_s: list[float], period_s: list[float], frames: int = 12) -> list[ChunkRecord]:
    """Records of chunks 0, 1, … whose stage 0 time, mesh time and period are the given ones."""
    emit_s, records = 100.0, []
    for index, (stage0, mesh, period) in enumerate(zip(stage0_s, mesh_s, period_s, strict=True)):
        emit_s += period
        records.append(_record(index, emit_s, stage0, mesh, frames))
    return records


def _record(index: int, emit_s: float, stage0_s: float, mesh_s: float, frames: int) -> ChunkRecord:
    received_s = emit_s - (stage0_s - BUILD_S)
    built_s = received_s - mesh_s - SEND_S
    return ChunkRecord(
        chunk_index=index,
        cache_epoch=0,
        call_id=index + 1,
        build_start_s=built_s - BUILD_S,
        build_end_s=built_s,
        send_start_s=built_s,
        send_end_s=built_s + SEND_S,
        recv_start_s=received_s - 0.001,
        recv_end_s=received_s,
        recv_ms=1.0,
        decode_start_s=received_s + QUEUE_S,
        emit_s=emit_s,
        denoise_ms=1e3 * mesh_s * 0.8,
        context_ms=1e3 * mesh_s * 0.2,
        mesh_idle_ms=3.0,
        envelope_bytes=1000 + index,
        result_bytes=5000,
        frames=frames,
    )
