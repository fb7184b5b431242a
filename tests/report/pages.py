"""A sweep's report, as its readers get it."""

import re
from pathlib import Path

from pp1_orchestrator.report.render import write_report
from tests.report.factories import MACHINE


def report(sweep: Path) -> tuple[str, str]:
    """The Markdown and the HTML of a sweep's folder."""
    write_report(sweep, MACHINE)
    return (sweep / "report.md").read_text(), (sweep / "report.html").read_text()


def table(markdown: str) -> dict[str, dict[str, str]]:
    """The Markdown table of the jobs: the cells by column, by job."""
    jobs = markdown.partition("## Plan and measurement")[0]
    lines = [line for line in jobs.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in rows}) == 1
    return {row[1]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}
