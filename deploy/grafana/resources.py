"""The dashboard "resources": memory, CPU and bytes on the wire of one stream."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import Panel, Query, Row, chart, framed
from deploy.grafana.queries import chunks, of, rate
from pp1_orchestrator.telemetry import metrics_catalogue as pp1


def resources() -> Dashboard:
    rows = [Row("Memory", _memory()), Row("Processes", _processes()), Row("Wire", _wire())]
    return framed("pp1-resources", "PP1 resources", "What one stream uses, by rank.", pp1.TARGET_FPS.name, rows)


def _memory() -> list[Panel]:
    return [
        chart("Memory by component", "Weights and caches, on the GPU or in the host's memory.", "bytes",
              Query(_held('!~"peak|resident"'), "rank {{rank}} {{component}}"), stacked=True),
        chart("Peak by rank", "The most that the GPU, or a CPU rank's process, has ever used.", "bytes",
              Query(_held('="peak"'), "rank {{rank}}")),
    ]  # fmt: skip


def _held(component: str) -> str:
    """Each component once, wherever its memory is."""
    return f"{of(pp1.HOST_MEMORY, component=component)} or {of(pp1.VRAM, component=component)}"


def _processes() -> list[Panel]:
    return [
        chart("Resident memory", "Of each rank's process. Growth over hours is a leak.", "bytes",
              Query(of(pp1.HOST_MEMORY, component='="resident"'), "rank {{rank}}"), span=8),
        chart("CPU cores in use", "Of each rank's process. Ranks of one process show the same.", "none",
              Query(rate(pp1.CPU, by="rank"), "rank {{rank}}"), Query(rate(pp1.MEDIA_CPU), "media process"),
              Query(rate(pp1.ENCODE), "encoding"), span=8),
        chart("Open files", "Of rank 0: its sockets, one of each client among them.", "none",
              Query(of(pp1.OPEN_FILES), "open"), Query(of(pp1.FILE_LIMIT), "limit"), span=8),
        chart("Version", "Of the program. Another line is another version.", "none",
              Query(of(pp1.BUILD), "{{version}}"), span=8),
    ]  # fmt: skip


def _wire() -> list[Panel]:
    return [
        chart("Bytes per second", "Between rank 0 and the leader.", "Bps",
              Query(rate(pp1.WIRE, by="message"), "{{message}}")),
        chart("Bytes per chunk", "Envelopes are small unless they carry an embedding.", "bytes",
              Query(f"{rate(pp1.WIRE, by='message')} / on () group_left {chunks()}", "{{message}}")),
        chart("Encoded video", "Once for all viewers; each gets it.", "Bps", Query(rate(pp1.ENCODED), "video")),
    ]  # fmt: skip
