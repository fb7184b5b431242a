"""What a Python program makes settings with: the constructor of `schema.Settings` that composes `conf/`."""

from os import PathLike
from typing import Any, Self

from msgspec import Struct


class Composed(Struct, frozen=True):
    """Base of all settings of a run."""

    @classmethod
    def compose(cls, *overrides: str, config_dir: str | PathLike[str] | None = None, **values: object) -> Self:
        """Compose settings as the command line does. Raises ConfigError with one line that names key and value.

        Args:
            overrides: such as "overlap=sync" or "stream.height=64".
            config_dir: a folder with more options of groups, as `--config-dir`.
            values: the same as keywords, which go last: `seed=7`, `stream={"height": 64}`.
        """
        from pp1_orchestrator.config.compose import compose_settings  # imports Hydra, which no rank needs

        settings: Any = compose_settings(overrides, config_dir, values)
        return settings
