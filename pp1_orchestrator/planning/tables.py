"""A plan as tables: what goes in and out, what to load where, which routing, and which overlap."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from pp1_orchestrator.planning.calibrate import Machine
from pp1_orchestrator.planning.make_plan import Plan
from pp1_orchestrator.planning.strategy_traits import RoutingTraits, Strategies


def render(plan: Plan, strategies: Strategies) -> Group:
    """All tables, for a console of 100 columns or more."""
    sections = (
        _requirements(plan),
        _memory(plan),
        _fits(plan),
        _routing(plan, strategies),
        _overlap(plan, strategies),
        _bounds(plan),
        _machine(plan.machine),
    )
    parts: list[RenderableType] = []
    for section in sections:
        parts += [*section, Text()]
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
    table = _table(f"What the model {plan.config['model']} needs", "what")
    table.add_column("value")
    table.add_row("input", f"{needs.input_frames} frames per chunk" if needs.input_frames else "none: text to video")
    table.add_row("size", f"{needs.height} × {needs.width} pixels; multiples of {needs.size_multiple}")
    table.add_row("schedule", schedule)
    table.add_row(
        "chunk",
        f"{needs.chunk_latent_frames} latent frames = {needs.chunk_pixel_frames} pixel frames, "
        f"{needs.first_chunk_pixel_frames} in an epoch's first chunk",
    )
    table.add_row("latents, text", f"{list(needs.latents)}, {list(needs.text)}")
    table.add_row("window", f"{needs.window_latent_frames} latent frames, {needs.sink_latent_frames} of them sinks")
    table.add_row("real time", f"{needs.fps} frames per second: at most {needs.realtime_period_ms:.0f} ms per chunk")
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
    together = "" if ranks[1].peak else " Both are one process; its peak is listed as rank 0's."
    yield Text(
        f"Rank 0 holds {decimal(stage0)} and no generator; a rank of the mesh holds {decimal(leader)}. The peak is the "
        f"most memory in use while a rank works, without libraries.{together}"
    )


def _fits(plan: Plan) -> Iterator[RenderableType]:
    table = _table("What fits", "device", "ranks", "needed", "room", "spare")
    for need in plan.devices:
        ranks = ", ".join(map(str, need.ranks))
        spare = Text(signed(need.spare), style="" if need.spare >= 0 else "bold red")
        table.add_row(need.device, ranks, decimal(need.needed), decimal(need.room), spare)
    yield table
    for need in plan.devices:
        if not need.room:
            yield Text(f"{need.device}: machine={plan.machine.name} has {plan.machine.gpus} GPUs.", style="bold red")
        elif need.spare < 0:
            yield Text(f"{need.device} is too small by {decimal(-need.spare)}.", style="bold red")
    if plan.fits:
        yield Text("Everything fits. On a GPU, the context of each process is included.")


def signed(nbytes: int) -> str:
    """With a minus where it is missing."""
    return decimal(nbytes) if nbytes >= 0 else f"-{decimal(-nbytes)}"


def _bounds(plan: Plan) -> Iterator[RenderableType]:
    kinds = list(dict.fromkeys(kind for spent in plan.bounds_ms.values() for kind in spent))
    table = _table("What a chunk's time is made of, ms", "on", *kinds)
    for place, spent in plan.bounds_ms.items():
        table.add_row(place, *(f"{spent[kind]:.1f}" if kind in spent else "" for kind in kinds))
    yield table
    yield Text(f"The limit: {plan.limited_by}.")


def _routing(plan: Plan, strategies: Strategies) -> Iterator[RenderableType]:
    columns = ("envelope", "new prompt", "known prompt", "result", "new prompt", "stalls the mesh")
    table = _table("2. Routing: bytes on the wire, by message", "routing", *columns)
    for name, wire in plan.wire_bytes.items():
        stalls = _stalls(strategies.routings[name])
        envelopes = (wire.envelope, wire.envelope_new_prompt, wire.envelope_known_prompt)
        table.add_row(_marked(name, plan.recommended_routing), *map(_bytes, envelopes),
                      _bytes(wire.result), _bytes(wire.result_new_prompt), stalls)  # fmt: skip
    yield table
    on_rank0 = strategies.routings[plan.recommended_routing].home == "rank0"
    why = "on rank 0 no chunk waits for it" if on_rank0 else "the encoder does not fit on rank 0 beside the VAE"
    yield Text(f"Encoding a prompt takes {plan.text_ms:.1f} ms. Use {plan.recommended_routing}: {why}.")


def _overlap(plan: Plan, strategies: Strategies) -> Iterator[RenderableType]:
    frames = plan.requirements.chunk_pixel_frames
    columns = ("period ms", "frames/s", "prompt to pixels: chunks", "ms")
    table = _table("3. Overlap: predicted, steady state; prompts: worst case", "overlap", *columns)
    for name, period in plan.predicted_period_ms.items():
        latency = plan.prompt_to_pixels[name]
        cells = (f"{period:.0f}", f"{1e3 * frames / period:.1f}", str(latency.chunks), f"{latency.ms:.0f}")
        table.add_row(_marked(name, plan.recommended_overlap), *cells)
    yield table
    phases, periods = plan.phases_ms, plan.predicted_period_ms
    yield Text("One chunk: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in phases.items() if ms) + ".")
    baseline = next(name for name, overlap in strategies.overlaps.items() if not overlap.hides_decode)
    hidden = max(0.0, periods[baseline] - periods[plan.recommended_overlap])
    yield Text(
        f"Decoding takes {phases['decode']:.0f} ms; {plan.recommended_overlap} hides {hidden:.0f} ms more of a chunk "
        f"than {baseline}. Products alone take {plan.flops.floor_ms['mesh_rank']:.0f} ms on a mesh rank "
        f"({plan.flops.mesh_rank / 1e9:.2f} GFLOP) and {plan.flops.floor_ms['stage0']:.0f} ms on rank 0 "
        f"({plan.flops.stage0 / 1e9:.2f} GFLOP)."
    )


def _machine(machine: Machine) -> Iterator[RenderableType]:
    columns = ("GFLOP/s: matmul", "attention", "conv", "other GB/s", "µs per operation")
    took = f" in {machine.calibration_s:.2f} s" if machine.calibration_s else ""
    table = _table(f"The machine {machine.name}: {machine.device}", "part", *columns)
    for part, rates in machine.rates.items():
        speeds = (rates.matmul_flops_s, rates.attention_flops_s, rates.conv_flops_s, rates.other_bytes_s)
        called = f"{rates.call_s * 1e6:.1f}" if rates.call_s else ""
        table.add_row(part, *(f"{speed / 1e9:.1f}" if speed else "" for speed in speeds), called)
    yield table
    link = machine.link
    parallel = "a device each" if machine.parallel_ranks is None else f"{machine.parallel_ranks} ranks at a time"
    yield Text(
        f"Rates: {machine.source}{took}. {machine.torch_threads} torch thread(s) per rank, {parallel}; a message "
        f"{link.message_s * 1e6:.0f} µs + {link.bytes_s / 1e9:.2f} GB/s, an all-reduce {link.sum_s * 1e6:.0f} µs + "
        f"{link.sum_bytes_s / 1e9:.2f} GB/s ({link.method})."
    )


def _stalls(routing: RoutingTraits) -> str:
    """When the mesh waits for the text encoder."""
    if routing.home == "rank0":
        return "never"
    return "new prompts" if routing.known_sends == "embeds" else "each prompt"


def _marked(name: str, recommended: str) -> Text:
    return Text(f"{name} ←", style="bold") if name == recommended else Text(name)


def _size(nbytes: int | None) -> str:
    return "" if nbytes is None else decimal(nbytes)


def _bytes(count: int) -> str:
    return f"{count:,} B"
