"""Draws transitions: one frame of each chunk, from red to blue over eight chunks, linear and slerp.

python -m scripts.docs.transition_strip --out docs/images/transition.png
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

SOURCE = "a red circle standing still on a black background"
TARGET = "a blue circle standing still on a black background"
FIRST, STEPS, AFTER = 3, 8, 2
"""Chunks before the transition begins, its length, and chunks after it."""
FRAMES_A_CHUNK = 12
PADDING = 4


def strip(method: str, folder: Path) -> Image.Image:
    """The last frame of every chunk from the one before the transition on, side by side."""
    script = folder / f"{method}.yaml"
    transition = f"transition: {{steps: {STEPS}, method: {method}}}"
    script.write_text(f'- {{chunk: 0, prompt: "{SOURCE}"}}\n- {{chunk: {FIRST}, prompt: "{TARGET}", {transition}}}\n')
    out = folder / method
    chunks = FIRST + STEPS + AFTER
    command = [sys.executable, "-m", "pp1_orchestrator", "run=bench", "layout=inline", f"run.chunks={chunks}"]
    subprocess.run([*command, f"run.script={script}", f"hydra.run.dir={out}"], check=True, capture_output=True)
    with av.open(str(out / "stream.mp4")) as video:
        frames = [frame.to_image() for frame in video.decode(video=0)]
    last = [frames[FRAMES_A_CHUNK * (chunk + 1) - 4] for chunk in range(FIRST - 1, chunks)]
    width, height = last[0].size
    picture = Image.new("RGB", (len(last) * (width + PADDING) - PADDING, height), "white")
    for index, frame in enumerate(last):
        picture.paste(frame, (index * (width + PADDING), 0))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [strip(method, Path(folder)) for method in ("linear", "slerp")]
    width, height = rows[0].size
    picture = Image.new("RGB", (width, 2 * height + PADDING), "white")
    for index, row in enumerate(rows):
        picture.paste(row, (0, index * (height + PADDING)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
