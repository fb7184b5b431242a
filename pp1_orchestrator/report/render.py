"""Writes report.md, report.html and the plots into a sweep's folder."""

import base64
from pathlib import Path
from typing import Any

import jinja2

from pp1_orchestrator.report.content import Content, build_content
from pp1_orchestrator.report.jobs import MachineInfo, read_jobs
from pp1_orchestrator.report.outcome import outcome_of, write_outcome
from pp1_orchestrator.report.plots import Plot, draw_plots
from pp1_orchestrator.report.sweep_manifest import read_manifest

FORMATS = ("md", "html")


def write_report(folder: Path, machine: MachineInfo) -> Content:
    """Read the jobs below the folder and write the report into it. Returns what it says."""
    jobs = read_jobs(folder)
    content, templates = build_content(jobs, machine, read_manifest(folder)), _templates()
    plots = draw_plots(jobs, content.estimates)
    for plot in plots:
        (folder / plot.file).write_text(plot.svg, encoding="utf-8")
    for suffix in FORMATS:
        text = templates.get_template(f"report.{suffix}.j2").render(content=content, plots=plots)
        (folder / f"report.{suffix}").write_text(text, encoding="utf-8")
    write_outcome(outcome_of(content), folder)
    return content


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pp1_orchestrator.report"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Any] = {"cell": _cell, "data_uri": _data_uri}
    environment.filters.update(filters)  # pyright: ignore[reportUnknownMemberType]
    return environment


def _cell(text: str) -> str:
    """Text that can't end a cell or a row of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _data_uri(plot: Plot) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(plot.svg.encode()).decode()
