"""The settings of a run with a constructor for Python programs: other parts of this program know nothing of Hydra."""

from os import PathLike
from typing import Self

from pp1_orchestrator.config import schema
from pp1_orchestrator.config.compose import compose_settings


class Settings(schema.Settings, frozen=True, forbid_unknown_fields=True):
    """One run."""

    @classmethod
    def compose(cls, *overrides: str, config_dir: str | PathLike[str] | None = None, **values: object) -> Self:
        """Compose settings as the command line does. Raises ConfigError with one line that names key and value.

        Args:
            overrides: such as "overlap=sync" or "stream.height=64".
            config_dir: a folder with more options of groups, as `--config-dir`.
            values: the same as keywords, which go last: `seed=7`, `stream={"height": 64}`.
        """
        composed = compose_settings(overrides, config_dir, values)
        return cls(**{name: getattr(composed, name) for name in cls.__struct_fields__})
