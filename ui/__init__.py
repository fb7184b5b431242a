"""The page: a Gradio layout without callbacks, and scripts that use the HTTP interface from the browser.

Knows nothing of the program behind that interface. Gradio takes seconds to import, so it is imported when mounted.
"""

from importlib import import_module
from typing import Any

from pp1_orchestrator.ui.files import text
from pp1_orchestrator.ui.markup import watch

__all__ = ["import_panel", "mount_panel", "watch_page"]
WATCH_SCRIPTS = ("wire", "dom", "webrtc", "socket", "mse", "player", "keys", "watch")
"""Those of the player are the page's."""


def import_panel() -> None:
    """Do now what `mount_panel` would take seconds for."""
    import_module("pp1_orchestrator.ui.panel")


def mount_panel(app: Any, max_prompts: int, max_prompt_chars: int, max_transition_steps: int) -> set[str]:
    """Add the page at `/` to a FastAPI application that has its own routes already. The numbers bound the form.

    Returns the paths of the page's files.
    """
    from pp1_orchestrator.ui.panel import mount

    return mount(app, max_prompts, max_prompt_chars, max_transition_steps)


def watch_page() -> str:
    """The page with the picture alone, as HTML."""
    return watch(text("watch.css"), "\n".join(text(f"{name}.js") for name in WATCH_SCRIPTS))
