"""What a model understands, from an optional file beside its parts: prompt_guide.json.

The page shows it, and tells a person which words the model was not trained on. Knows nothing of encoders.
"""

from pathlib import Path

import msgspec

from pp1_orchestrator.types import PromptGuide

FILE = "prompt_guide.json"
MAX_BYTES, MAX_SUMMARY_CHARS = 256 * 1024, 500
"""Room for some 30,000 words."""


def read_prompt_guide(folder: Path) -> PromptGuide:
    """The guide in a model's folder; an empty one without a file. Raises ValueError for a file of another form."""
    path = folder / FILE
    if not path.is_file():
        return PromptGuide()
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size} bytes; at most {MAX_BYTES} are read")
    try:
        guide = msgspec.json.decode(path.read_bytes(), type=PromptGuide)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if len(guide.summary) > MAX_SUMMARY_CHARS:
        raise ValueError(
            f"{path}: summary has {len(guide.summary)} characters; at most {MAX_SUMMARY_CHARS} are allowed"
        )
    return guide
