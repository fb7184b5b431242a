"""A prompt's text as Wan's encoder was trained on it: entities of HTML resolved, white space one blank.

Not done: repairing text that was decoded in the wrong encoding. Prompts come as Unicode.
"""

from __future__ import annotations

import html
import unicodedata


def clean(text: str) -> str:
    """Entities are resolved twice, since text from the web is often escaped twice; ’ and “ become plain quotes."""
    plain = unicodedata.normalize("NFC", html.unescape(html.unescape(text))).translate(_QUOTES)
    return " ".join(plain.split())


_QUOTES = str.maketrans(dict.fromkeys("‘’‛ʼ", "'") | dict.fromkeys("“”‟", '"'))
