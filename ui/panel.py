"""Layout of the page. Nothing here runs on a click: the scripts handle events in the browser."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from gradio import routes
from gradio.route_utils import BUILD_PATH_LIB, STATIC_PATH_LIB
from gradio.themes import Base

from pp1_orchestrator.ui import markup
from pp1_orchestrator.ui.files import text

SCRIPTS = (
    "wire", "dom", "words", "webrtc", "socket", "mse", "player", "draft", "compose", "guide", "receipts", "history",
    "undo", "seed", "timeline", "plan", "charts", "trends", "fullscreen", "share", "snapshot", "clip", "lease", "keys",
    "status", "ranks", "live", "panel",
)  # fmt: skip
"""In order of dependency."""
ICON = '<link rel="icon" href="favicon.ico">'
"""Without it, a browser asks the root of the origin, which may be a path above the page."""
STYLES = ("panel", "compose", "timeline", "live", "viewer")
FONT = (
    "Inter",
    "ui-sans-serif",
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica",
    "Arial",
    "sans-serif",
)
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def build(max_prompts: int, max_prompt_chars: int, max_transition_steps: int) -> gr.Blocks:
    """The page, without callbacks."""
    with gr.Blocks(title=markup.TITLE, analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(markup.header(), elem_id="pp1-header")
        with gr.Row(elem_id="pp1-main"):
            with gr.Column(scale=7, min_width=320, elem_id="pp1-left"):
                gr.HTML(markup.stage(), elem_id="pp1-stage")
            with gr.Column(scale=5, min_width=320, elem_id="pp1-right"):
                _prompt(max_prompt_chars, markup.mix(max_prompts, max_transition_steps))
                gr.HTML(markup.controls(), elem_id="pp1-controls-box")
                gr.HTML(markup.live(), elem_id="pp1-live")
    return blocks


def mount(app: Any, max_prompts: int, max_prompt_chars: int, max_transition_steps: int) -> set[str]:
    """Add the page at `/`, without sharing, API pages, files, statistics or anything from the internet.

    Returns the paths of its files.
    """
    with ThreadPoolExecutor(1) as thread, TemporaryDirectory() as folder:  # a loop may be running in this thread
        routes.__dict__["DEFAULT_TEMP_DIR"] = folder  # Gradio's own has a fixed name, which another user may have taken
        thread.submit(asyncio.run, _mount(app, max_prompts, max_prompt_chars, max_transition_steps)).result()
    return _files("/assets", BUILD_PATH_LIB) | _files("/static", STATIC_PATH_LIB)


def _files(prefix: str, folder: str) -> set[str]:
    return {f"{prefix}/{path.relative_to(folder).as_posix()}" for path in Path(folder).rglob("*") if path.is_file()}


async def _mount(app: Any, max_prompts: int, max_prompt_chars: int, max_transition_steps: int) -> None:
    """A coroutine, because without a running loop Gradio creates one for each of its locks and closes none of them."""
    gr.mount_gradio_app(  # pyright: ignore[reportUnknownMemberType]
        app,
        build(max_prompts, max_prompt_chars, max_transition_steps),
        path="/",
        server_name="127.0.0.1",
        footer_links=[],
        run_history=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        allowed_paths=[],
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        css="\n".join(text(f"{name}.css") for name in STYLES),
        head=ICON + "".join(f"<script>{text(f'{name}.js')}</script>" for name in SCRIPTS),
        favicon_path=str(resources.files("pp1_orchestrator.ui") / "favicon.svg"),
    )


def _theme() -> Base:
    return Base(primary_hue="indigo", neutral_hue="slate", radius_size="lg", font=FONT, font_mono=MONO)


def _prompt(max_chars: int, mix: str) -> None:
    with gr.Group(elem_id="pp1-ask"):
        gr.Textbox(
            label="Prompt",
            placeholder="What should the stream show?",
            lines=2,
            max_lines=4,
            max_length=max_chars,
            elem_id="pp1-prompt",
        )
        gr.HTML(mix, elem_id="pp1-mix-box")
        gr.HTML(markup.ask(), elem_id="pp1-apply-box")
    gr.HTML(markup.receipt(), elem_id="pp1-receipt-box")
    gr.HTML(markup.examples(), elem_id="pp1-examples")
    gr.HTML(markup.timeline(), elem_id="pp1-timeline-box")
