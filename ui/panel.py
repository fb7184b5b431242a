"""Layout of the panel. Nothing here runs when something is clicked: `panel.js` does that in the browser."""

from __future__ import annotations

import html
from importlib import resources
from typing import Any

import gradio as gr

TITLE = "PP1 Orchestrator"
MAX_PROMPT_CHARS = 2000
EXAMPLES = (
    "a red circle moving left on a blue background",
    "a yellow star spinning on a black background",
    "a small green triangle bouncing on a white background",
    "a large purple square moving up on a brown background",
    "a white star moving right on a red background",
)
FIGURES = (
    ("fps", "frames / s", "Frames decoded a second, over the last chunks"),
    ("to-pixels", "prompt to pixels", "From the accepted prompt to its first decoded frame"),
    ("chunk", "chunk", "Newest chunk that has reached stage 0"),
    ("epoch", "cache epoch", "Grows by one with every hard cut"),
    ("viewers", "viewers", "Pages and programs that watch"),
)
PHASES = (("text", "text"), ("denoise", "denoise"), ("context", "context"), ("decode", "decode"))
CHOICES = ("model", "routing", "overlap", "context", "layout")
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


def build() -> gr.Blocks:
    """The page, without callbacks."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(_header(), elem_id="pp1-header")
        with gr.Row(elem_id="pp1-main"):
            with gr.Column(scale=7, min_width=320, elem_id="pp1-left"):
                gr.HTML(_stage(), elem_id="pp1-stage")
            with gr.Column(scale=5, min_width=320, elem_id="pp1-right"):
                _prompt()
                _controls()
                gr.HTML(_live(), elem_id="pp1-live")
    return blocks


def mount(app: Any) -> None:
    """At `/`, hardened: no sharing, no API page, no files, no statistics, nothing from the internet."""
    gr.mount_gradio_app(
        app,
        build(),
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
        css=_text("panel.css"),
        head=f"<script>{_text('player.js')}</script><script>{_text('panel.js')}</script>",
        favicon_path=str(resources.files("ui") / "favicon.svg"),
    )


def _text(name: str) -> str:
    return (resources.files("ui") / name).read_text(encoding="utf-8")


def _theme() -> gr.themes.Base:
    return gr.themes.Base(primary_hue="indigo", neutral_hue="slate", radius_size="lg", font=FONT, font_mono=MONO)


def _header() -> str:
    return f"""
    <div class="bar">
      <h1>{TITLE}</h1>
      <p>Type a prompt and watch the stream follow it.</p>
      <div id="pp1-status" data-state="connecting" role="status"><i></i><span>Connecting</span></div>
    </div>
    """


def _stage() -> str:
    return """
    <div class="screen">
      <video id="pp1-video" autoplay muted playsinline disablepictureinpicture></video>
      <div id="pp1-veil"><span>Connecting to the stream</span></div>
    </div>
    <p id="pp1-caption"><b>Showing</b> <span></span></p>
    """


def _prompt() -> None:
    with gr.Group(elem_id="pp1-ask"):
        gr.Textbox(
            label="Prompt",
            placeholder="What should the stream show?",
            lines=2,
            max_lines=4,
            max_length=MAX_PROMPT_CHARS,
            elem_id="pp1-prompt",
        )
        gr.Button("Apply", variant="primary", elem_id="pp1-apply")
    chips = "".join(f'<button type="button">{html.escape(text)}</button>' for text in EXAMPLES)
    steps = "".join(
        f'<li data-step="{step}"><i></i><b>{name}</b><span></span></li>'
        for step, name in (("accepted", "Accepted"), ("applied", "Applied"), ("visible", "On screen"))
    )
    gr.HTML(f'<ol id="pp1-receipt">{steps}</ol><p id="pp1-error" role="alert" hidden></p>', elem_id="pp1-receipt-box")
    gr.HTML(f'<h2>Examples</h2><div class="chips">{chips}</div>', elem_id="pp1-examples")


def _controls() -> None:
    with gr.Row(elem_id="pp1-controls"):
        gr.Button("Pause", elem_id="pp1-pause", min_width=90)
        gr.Button("Hard cut", elem_id="pp1-cut", min_width=90)
        gr.Number(label="Seed", precision=0, minimum=0, elem_id="pp1-seed", min_width=90, container=False)
        gr.Button("Set seed", elem_id="pp1-set-seed", min_width=90)


def _live() -> str:
    figures = "".join(
        f'<div title="{html.escape(hint)}"><dd data-figure="{key}">–</dd><dt>{name}</dt></div>'
        for key, name, hint in FIGURES
    )
    phases = "".join(f'<li data-phase="{key}"><b>{name}</b><i><u></u></i><span>–</span></li>' for key, name in PHASES)
    badges = "".join(f'<span data-choice="{key}"><b>{key}</b><em>–</em></span>' for key in CHOICES)
    return f"""
    <dl class="figures">{figures}</dl>
    <h2>Milliseconds a chunk</h2>
    <ul class="phases">{phases}</ul>
    <div class="badges">{badges}</div>
    """
