"""The plain HTML of the page. The scripts beside this file fill it and handle its events."""

import html

TITLE = "PP1 Orchestrator"
EXAMPLES = (
    "a red circle moving left on a blue background",
    "a yellow star spinning on a black background",
    "a small green triangle bouncing on a purple background",
    "a large purple square moving up on a brown background",
    "a white star moving right on a red background",
)
FIGURES = (
    ("fps", "frames / s", "Frames decoded per second, over the last chunks"),
    ("latency", "prompt to screen", "Of the newest prompt, as in its receipt: from Accepted to On screen"),
    ("chunk", "chunk", "Newest chunk that has reached stage 0"),
    ("epoch", "cache epoch", "One more with every hard cut"),
    ("viewers", "viewers", "Pages and programs that are watching"),
)
PHASES = (("denoise", "denoise"), ("context", "context"), ("decode", "decode"), ("text", "text"))
CHARTS = (
    ("phases", "Milliseconds a chunk<span></span>", "Median of the newest chunks, by phase"),
    ("fps", 'Frames / s<span id="pp1-target"></span>', "Frames decoded per second"),
    ("latency", 'Prompt to screen<span id="pp1-slowest"></span>', "Of the last prompts, as in their receipts"),
)
CHOICES = (
    ("model", "model"),
    ("layout", "Which rank runs on which device: layout"),
    ("routing", "Where prompts are encoded: routing"),
    ("overlap", "How decoding overlaps with the next chunk: overlap"),
    ("context", "How the KV cache gets its history: context"),
    ("cache", "Which history the KV cache keeps: cache"),
    ("parallel", "How the mesh splits the generator: parallel"),
    ("steps", "Denoising steps: model.steps"),
    ("size", "Frame size in pixels: stream.width, stream.height"),
    ("fps", "Frames shown per second: stream.fps"),
)
TIMELINE_BUTTONS = (
    ("add-entry", "Add", "Add the form's content as an entry"),
    ("run", "Run", "Run the table on the server, counting from the next chunk"),
    ("clear", "Clear", "Remove the entries that are still to come; the table stays"),
    ("import", "Import", "Fill the table from a JSON file"),
    ("export", "Export", "Save the table as a JSON file"),
    ("recording", "Load recording", "Fill the table with the changes since the start of the stream"),
)
KEYS = (
    ("Ctrl+Enter", "apply the form"),
    ("P", "write a prompt"),
    ("Z", "undo: the prompt and seed before"),
    ("Shift+Z", "redo"),
    ("Shift+click", "on an example or in History: load it without applying it"),
    ("B", "blend and transition"),
    ("T", "timeline"),
    ("Space", "pause, resume"),
    ("C", "hard cut"),
    ("S", "snapshot"),
    ("R", "record, stop"),
    ("F", "the picture on the whole screen"),
    ("Esc", "leave a field"),
    ("?", "this list"),
)
CONTROLS = (
    ("pause", "Pause", "Keep the last frame; nothing is generated meanwhile (Space)"),
    ("cut", "Hard cut", "Drop the history: the picture starts over (C)"),
    ("reset", "Reset", "Start over with the seed of this run (Z: undo)"),
)
CUTS = ("soft", "hard", "recache")
METHODS = ("linear", "slerp")


def header() -> str:
    """Title, control lease, status and keyboard shortcuts."""
    keys = "".join(f"<dt><kbd>{key}</kbd></dt><dd>{what}</dd>" for key, what in KEYS)
    tooltip = html.escape("Keyboard shortcuts\n" + "\n".join(f"{key}: {what}" for key, what in KEYS))
    return f"""
    <div class="bar">
      <h1>{TITLE}</h1>
      <p>Text to video, live: type a prompt, and the picture follows it.</p>
      <div id="pp1-control" data-state="free"><span id="pp1-holder" role="status"></span>
        <button type="button" class="pp1-small" id="pp1-who" popovertarget="pp1-me">Name</button>
        <button type="button" class="pp1-small" id="pp1-lease">Take control</button></div>
      <div id="pp1-me" popover aria-label="Your name"><label>Your name, for others to see when you have control
        <input type="text" id="pp1-name" maxlength="40" placeholder="Viewer" autocomplete="nickname"></label></div>
      <div id="pp1-status" data-state="connecting" role="status"><i></i><span>Connecting</span></div>
      <button type="button" class="pp1-small" id="pp1-open-share" popovertarget="pp1-share"
        title="A link for viewers, as text and as a QR code">Share</button>
      {share()}
      <button type="button" class="pp1-small" popovertarget="pp1-keys" aria-label="Keyboard shortcuts"
        title="{tooltip}">?</button>
      <dl id="pp1-keys" tabindex="0" popover aria-label="Keyboard shortcuts">{keys}</dl>
    </div>
    """


def share() -> str:
    """The link for viewers, initially closed."""
    return """
    <div id="pp1-share" popover aria-labelledby="pp1-share-title">
      <h2 id="pp1-share-title">For viewers: the picture alone</h2>
      <div class="line"><input id="pp1-share-link" aria-label="Link for viewers" readonly>
        <button type="button" class="pp1-small" id="pp1-copy">Copy</button></div>
      <img id="pp1-qr" alt="The link as a QR code">
      <p id="pp1-share-note"></p>
      <p id="pp1-share-error" class="pp1-error" role="alert" hidden></p>
    </div>
    """


def watch(style: str, scripts: str) -> str:
    """A whole page with the picture alone."""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
<link rel="icon" href="favicon.ico">
<style>{style}</style>
<main><video aria-label="The stream" autoplay muted playsinline disablepictureinpicture></video></main>
<script>{scripts}</script>
</html>
"""


def stage() -> str:
    """The video, the text over it, and the prompt below."""
    return """
    <div class="screen">
      <video id="pp1-video" aria-label="The stream" autoplay muted playsinline disablepictureinpicture></video>
      <div id="pp1-veil"><span>Connecting to the stream</span></div>
      <button type="button" class="pp1-small" id="pp1-fullscreen" aria-keyshortcuts="f" aria-pressed="false"
        title="Show the picture on the whole screen (F, or a double click)">Fullscreen</button>
    </div>
    <div class="under">
      <p id="pp1-caption"><b>Showing</b> <span></span></p>
      <a id="pp1-clip" download hidden></a>
      <button type="button" class="pp1-small" id="pp1-record" aria-keyshortcuts="r" aria-pressed="false"
        title="Record the stream on the server as MP4 (R)">Record</button>
      <button type="button" class="pp1-small" id="pp1-snapshot" aria-keyshortcuts="s"
        title="Save the current frame as PNG (S)">Snapshot</button>
    </div>
    """


def mix(max_prompts: int, max_transition_steps: int) -> str:
    """More prompts with weights, how they blend, transition and cut; initially closed."""
    methods = "".join(f'<option value="{name}">{name}</option>' for name in METHODS)
    cuts = "".join(
        f'<label><input type="radio" name="pp1-cut" value="{name}"{" checked" if name == "soft" else ""}>'
        f"<span>{name}</span></label>"
        for name in CUTS
    )
    return f"""
    <details id="pp1-mix">
      <summary title="More prompts with weights, transition and cut (B)">Blend &amp; transition
        <span></span></summary>
      <div id="pp1-rows" data-count="1" data-max="{max_prompts}">
        <div class="row"><b>The prompt above</b><input type="range" min="0" max="100"><output></output></div>
      </div>
      <div class="line">
        <button type="button" id="pp1-add">Add a prompt</button>
        <label title="How the prompts are mixed; slerp joins exactly two">Blend
          <select id="pp1-blend">{methods}</select></label>
      </div>
      <div class="line">
        <label title="How long it takes to reach the new prompt; 0: it is there with the next chunk">Over
          <input type="number" id="pp1-steps" min="0" max="{max_transition_steps}" step="1" value="0"></label>
        <select id="pp1-unit" aria-label="Unit of the transition"
          title="A transition takes whole chunks; seconds are rounded to them">
          <option value="chunks">chunks</option><option value="seconds">seconds</option></select>
        <span id="pp1-steps-means"></span>
        <label title="The path from the old prompt to the new one">Path
          <select id="pp1-method">{methods}</select></label>
      </div>
      <fieldset class="line">
        <legend>History</legend>
        <div class="segments">{cuts}</div>
        <span id="pp1-cut-means"></span>
      </fieldset>
      <button type="button" id="pp1-plain" hidden>Back to a plain prompt</button>
    </details>
    """


def ask() -> str:
    """What the model understands, and the button that applies the form."""
    return """
    <p id="pp1-hint" role="status" hidden></p>
    <details id="pp1-guide" hidden><summary title="What this model was trained on">What the model understands</summary>
      <p></p></details>
    <button type="button" id="pp1-apply" title="Show what the form says (Ctrl+Enter)">Apply</button>
    """


def controls() -> str:
    """Pause, cuts and the seed; an error of the seed stands at its field."""
    buttons = "".join(
        f'<button type="button" id="pp1-{key}" title="{html.escape(hint)}">{name}</button>'
        for key, name, hint in CONTROLS
    )
    dots = "".join(f'<circle cx="{at}" cy="{at}" r="1.7"/>' for at in (8, 12, 16))
    return f"""
    <div id="pp1-controls">
      {buttons}
      <label id="pp1-seed" title="Start of the random numbers: the same seed and prompts give the same pictures">Seed
        <input type="text" inputmode="numeric" maxlength="20" autocomplete="off" spellcheck="false"
          aria-describedby="pp1-seed-error"></label>
      <button type="button" id="pp1-set-seed" title="Start over with this seed (Enter)">Set seed</button>
      <button type="button" id="pp1-dice" title="Start over with a random seed" aria-label="Random seed">
        <svg viewBox="0 0 24 24" aria-hidden="true"><rect x="3" y="3" width="18" height="18" rx="4"/>{dots}</svg>
      </button>
    </div>
    <p id="pp1-seed-error" class="pp1-error" role="alert" hidden></p>
    """


def receipt() -> str:
    """The three steps of an update, and the place for errors."""
    steps = "".join(
        f'<li data-step="{step}"><i></i><b>{name}</b><span></span></li>'
        for step, name in (("accepted", "Accepted"), ("applied", "Applied"), ("visible", "On screen"))
    )
    return f"""
    <ol id="pp1-receipt" aria-label="Status of the newest prompt" aria-live="polite">{steps}</ol>
    <p id="pp1-error" class="pp1-error" role="alert" hidden></p>
    """


def examples() -> str:
    """Example prompts, and the applied ones."""
    chips = "".join(f'<button type="button">{html.escape(text)}</button>' for text in EXAMPLES)
    return f"""
    <div class="shelf"><h2 title="A click shows one; Shift+click only loads it">Examples</h2>
      <div class="chips">{chips}</div></div>
    <div class="shelf" id="pp1-history" hidden>
      <h2 title="Applied prompts; a click applies one again, Shift+click only loads it">History</h2>
      <div class="chips"></div>
    </div>
    """


def timeline() -> str:
    """Planned changes: the table, its buttons, and the entries that are still to come."""
    buttons = "".join(
        f'<button type="button" id="pp1-{key}" title="{html.escape(hint)}">{name}</button>'
        for key, name, hint in TIMELINE_BUTTONS
    )
    return f"""
    <details id="pp1-timeline">
      <summary title="Changes by chunk, run by the server (T)">Timeline <span></span></summary>
      <ol id="pp1-coming" aria-label="Still to come" hidden></ol>
      <div class="entry" id="pp1-head" aria-hidden="true"><b>Chunk</b><b>Prompt</b><b>Over</b><b>Cut</b></div>
      <div id="pp1-entries" role="list" aria-label="Planned changes"></div>
      <div class="line">{buttons}</div>
      <input type="file" id="pp1-file" accept="application/json,.json" aria-label="Timeline file" hidden>
      <p id="pp1-timeline-error" class="pp1-error" role="alert" hidden></p>
    </details>
    """


def live() -> str:
    """Figures of the running stream."""
    figures = "".join(
        f'<div title="{html.escape(hint)}"><dd data-figure="{key}">–</dd><dt>{name}</dt></div>'
        for key, name, hint in FIGURES
    )
    phases = "".join(f'<li data-phase="{key}"><i></i><b>{name}</b> <span>–</span></li>' for key, name in PHASES)
    charts = "".join(
        f'<figure title="{html.escape(hint)}"><figcaption>{name}</figcaption>'
        f'<svg id="pp1-chart-{key}" role="img" aria-label="{html.escape(hint)}"></svg></figure>'
        for key, name, hint in CHARTS
    )
    badges = "".join(
        f'<span data-choice="{key}" title="{html.escape(hint)}"><b>{key}</b><em>–</em></span>' for key, hint in CHOICES
    )
    return f"""
    <dl class="figures">{figures}</dl>
    <div class="charts">{charts}</div>
    <ul class="phases" aria-label="Milliseconds a chunk">{phases}</ul>
    <section aria-labelledby="pp1-ranks-title"><h2 id="pp1-ranks-title">Processes and their memory</h2>
      <ul id="pp1-ranks"></ul></section>
    <section class="badges" aria-labelledby="pp1-fixed-title"><h2 id="pp1-fixed-title"
      title="Set on the command line; changing them needs a restart">Fixed for this run</h2>
      {badges}</section>
    """
