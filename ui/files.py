"""The scripts and styles beside this file."""

from importlib import resources


def text(name: str) -> str:
    """One of them."""
    return (resources.files("pp1_orchestrator.ui") / name).read_text(encoding="utf-8")
