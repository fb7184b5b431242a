"""Where the description of a model lies that some layouts keep beside its weights. Reads nothing."""

from __future__ import annotations

from pathlib import Path


def config_folder(weights: Path) -> Path | None:
    """The folder whose config.json describes the weights in a file or folder; None where they have none.

    A file that `torch.save` wrote has none: what lies beside it in Wan's own folders describes the transformer.
    """
    folder = weights.parent if weights.suffix in (".safetensors", ".json") else weights
    return folder if (folder / "config.json").is_file() else None
