"""PP1 Orchestrator: real-time text-to-video across a stage 0 rank and a generator mesh.

`from pp1_orchestrator import Settings, Stream` is the library (docs/library.md). Its names are imported when
they are first used, since torch takes seconds. `__init__.pyi` has their types.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_MODULES = {
    "pp1_orchestrator.library.composed_settings": ("Settings",),
    "pp1_orchestrator.library.chunk_buffer": ("Chunk",),
    "pp1_orchestrator.library.live_stream": ("Stream",),
    "pp1_orchestrator.types": ("PromptReceipt", "PromptUpdate", "TimelineEntry", "Transition", "WeightedPrompt"),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}
__all__ = ["__version__", *sorted(_PLACES)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
