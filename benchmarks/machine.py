"""What a figure was measured on."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

import torch

from pp1_orchestrator.report.jobs import processor


def commit() -> str:
    """The commit of this checkout, with a mark when something is not committed."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def describe() -> str:
    """One line: date, commit, processor, versions."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor()}, {os.cpu_count()} cores"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{today}, commit {commit()}, {device}, Python {platform.python_version()}, torch {torch.__version__}"
