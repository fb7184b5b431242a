"""Looks for known holes in the pinned dependencies: `python -m scripts.audit`. Needs pip-audit and the network.

Holes that are accepted stand in `scripts/audit_exceptions.toml`, each with a reason and the last day it is accepted.
"""

import datetime
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXCEPTIONS = Path(__file__).with_name("audit_exceptions.toml")


def accepted(exceptions: Mapping[str, Any], today: datetime.date) -> Iterator[str]:
    """Ids of the holes that are accepted today. Raises ValueError for one without a reason or a last day."""
    for name, entry in exceptions.items():
        reason, until = entry.get("reason"), entry.get("until")
        if not reason or not isinstance(until, datetime.date):
            raise ValueError(f"{name}: needs a reason, and until = a date")
        if today <= until:
            yield name


def main() -> int:
    """pip-audit's exit code: 1 when there is a hole that is not accepted."""
    today = datetime.datetime.now(datetime.UTC).date()
    ignored = accepted(tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8")), today)
    options = [word for name in ignored for word in ("--ignore-vuln", name)]
    pins = str(ROOT / "constraints.txt")
    return subprocess.run([sys.executable, "-m", "pip_audit", "--requirement", pins, "--no-deps", *options]).returncode


if __name__ == "__main__":
    sys.exit(main())
