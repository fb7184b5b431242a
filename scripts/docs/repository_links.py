"""A hook of MkDocs: links that lead out of `docs/` lead to the repository on the web.

On GitHub and in an editor, a link such as `../SECURITY.md` opens the file. The site has only the pages of `docs/`.
"""

import re

REPOSITORY = "https://github.com/pp1-orchestrator/pp1-orchestrator/blob/main/"
OUTSIDE = re.compile(r"\]\(\.\./")


def on_page_markdown(markdown: str, **_: object) -> str:
    """Called by MkDocs with the text of each page."""
    return OUTSIDE.sub(f"]({REPOSITORY}", markdown)
