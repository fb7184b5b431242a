"""A plan for people: tables that answer what to load where, which routing, which overlap, and what goes in and out."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from pp1_orchestrator.planning.calibrate import Machine
from pp1_orchestrator.planning.make_plan import Plan
from pp1_orchestrator.planning.strategy_traits import Strategies


def render(plan: Plan, strategies: Strategies) -> Group:
    """Everything, for a console of 100 columns or more."""
    parts: list[RenderableType] = []
    choices = (_routing(plan, strategies), _overlap(plan, strategies))
    for part in (_requirements(plan), _memory(plan), *choices, _machine(plan.machine)):
        parts += [*part, Text()]
    return Group(*parts[:-1])


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _requirements(plan: Plan) -> Iterator[RenderableType]:
    needs = plan.requirements
    schedule = " ".join(f"{step.timestep:g} (σ {step.sigma:.3g})" for step in needs.schedule)
    table = _table(f"What {plan.config['model']} requires (takes the place of prepare())", "what")
    table.add_column("value")
    table.add_row("input", "none: text to video" if not needs.input_frames else f"{needs.input_frames} frames a chunk")
    table.add_row("size", f"{needs.height} × {needs.width} pixels; multiples of {needs.size_multiple}")
    table.add_row("schedule", schedule)
    table.add_row(
        "chunk",
        f"{needs.chunk_latent_frames} latent frames = {needs.chunk_pixel_frames} pictures, "
        f"{needs.first_chunk_pixel_frames} in an epoch's first",
    )
    table.add_row("latents, text", f"{list(needs.latents)}, {list(needs.text)}")
    table.add_row("window", f"{needs.window_latent_frames} latent frames, {needs.sink_latent_frames} of them fixed")
    table.add_row("live at", f"{needs.fps} pictures a second: at most {needs.realtime_period_ms:.0f} ms a chunk")
    yield table


def _memory(plan: Plan) -> Iterator[RenderableType]:
    ranks = list(plan.ranks.values())
    names = list(dict.fromkeys(name for placement in ranks for name in placement.memory))
    heads = (f"{rank} {placement.role}" for rank, placement in plan.ranks.items())
    table = _table("1. What runs where, and its memory", "rank", *heads)
    table.add_row("device", *(placement.device for placement in ranks), end_section=True)
    for name in names:
        table.add_row(name, *(_size(placement.memory.get(name)) for placement in ranks))
    table.add_row("sum", *(_size(sum(placement.memory.values())) for placement in ranks), end_section=True)
    table.add_row("peak", *(_size(placement.peak) for placement in ranks))
    yield table
    stage0, leader = (sum(plan.memory[rank].values()) for rank in ("0", "1"))
    together = "" if ranks[1].peak else " Both are one process, and its peak is rank 0's."
    yield Text(
        f"Rank 0 holds {decimal(stage0)} and no generator, which with its caches takes a rank of the mesh "
        f"{decimal(leader)}. The peak is what is alive at once while a rank works.{together} Libraries come on top."
    )


def _routing(plan: Plan, strategies: Strategies) -> Iterator[RenderableType]:
    columns = ("envelope", "new prompt", "known prompt", "result", "new prompt", "stalls the mesh")
    table = _table("2. Routing: bytes on the wire, by message", "routing", *columns)
    for name, routing in strategies.routings.items():
        wire = plan.wire_bytes[name]
        envelopes = (wire.envelope, wire.envelope_new_prompt, wire.envelope_known_prompt)
        table.add_row(_marked(name, plan.recommended_routing), *map(_bytes, envelopes),
                      _bytes(wire.result), _bytes(wire.result_new_prompt), routing.stalls)  # fmt: skip
    yield table
    on_rank0 = strategies.routings[plan.recommended_routing].home == "rank0"
    why = "no chunk waits for it on rank 0" if on_rank0 else "the encoder does not fit beside the VAE"
    yield Text(f"Encoding a prompt takes {plan.text_ms:.1f} ms. Use {plan.recommended_routing}: {why}.")


def _overlap(plan: Plan, strategies: Strategies) -> Iterator[RenderableType]:
    frames = plan.requirements.chunk_pixel_frames
    columns = ("period ms", "pictures/s", "prompt to pixels: chunks", "ms")
    table = _table("3. Overlap: predicted, steady state, prompts at worst", "overlap", *columns)
    for name, period in plan.predicted_period_ms.items():
        latency = plan.prompt_to_pixels[name]
        cells = (f"{period:.0f}", f"{1e3 * frames / period:.1f}", str(latency.chunks), f"{latency.ms:.0f}")
        table.add_row(_marked(name, plan.recommended_overlap), *cells)
    yield table
    phases, periods = plan.phases_ms, plan.predicted_period_ms
    yield Text("One chunk: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in phases.items() if ms) + ".")
    serial = next(name for name, overlap in strategies.overlaps.items() if not overlap.hides_decode)
    hidden = max(0.0, periods[serial] - periods[plan.recommended_overlap])
    yield Text(
        f"Decode costs {phases['decode']:.0f} ms; {plan.recommended_overlap} hides {hidden:.0f} ms more of a chunk "
        f"than {serial}. Products alone take {plan.flops.floor_ms['mesh_rank']:.0f} ms on a mesh rank "
        f"({plan.flops.mesh_rank / 1e9:.2f} GFLOP) and {plan.flops.floor_ms['stage0']:.0f} ms on rank 0 "
        f"({plan.flops.stage0 / 1e9:.2f} GFLOP)."
    )


def _machine(machine: Machine) -> Iterator[RenderableType]:
    columns = ("GFLOP/s: matmul", "attention", "conv", "other GB/s")
    table = _table(f"The machine, measured in {machine.calibration_s:.2f} s on {machine.device}", "part", *columns)
    for part, rates in machine.rates.items():
        speeds = (rates.matmul_flops_s, rates.attention_flops_s, rates.conv_flops_s, rates.other_bytes_s)
        table.add_row(part, *(f"{speed / 1e9:.1f}" if speed else "" for speed in speeds))
    yield table
    link = machine.link
    lanes = "a device each" if machine.lanes is None else f"{machine.lanes} ranks at the same time"
    yield Text(
        f"{machine.torch_threads} torch thread(s) a rank, {lanes}; {machine.call_s * 1e6:.1f} µs an operation; "
        f"a message {link.message_s * 1e6:.0f} µs, a sum {link.sum_s * 1e6:.0f} µs, + {link.bytes_s / 1e9:.2f} GB/s "
        f"({link.method})."
    )


def _marked(name: str, recommended: str) -> Text:
    return Text(f"{name} ←", style="bold") if name == recommended else Text(name)


def _size(nbytes: int | None) -> str:
    return "" if nbytes is None else decimal(nbytes)


def _bytes(count: int) -> str:
    return f"{count:,} B"
