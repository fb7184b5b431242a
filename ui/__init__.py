"""The page: a Gradio panel that only lays things out, and the scripts that speak to the server from the browser.

Knows nothing of the program behind the HTTP interface. Gradio costs seconds to import, so it is imported when mounted.
"""

from __future__ import annotations

from typing import Any

__all__ = ["mount_panel"]


def mount_panel(app: Any) -> None:
    """Put the page at `/` of a FastAPI application whose own routes stand already."""
    from ui.panel import mount

    mount(app)
