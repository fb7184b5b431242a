"""Lets installed packages bring options: Hydra also searches the folders that they name as `pp1_orchestrator.conf`.

The value of such an entry point is the folder in dotted form, `my_package.conf`. Nothing of the package is imported.
"""

import warnings
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from pp1_orchestrator.processes.installed_packages import installed


class InstalledOptions(SearchPathPlugin):
    """Appends those folders, so that options of the program itself are found first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for point in installed("pp1_orchestrator.conf"):
            folder = _folder(point)
            if folder is None:
                text = f"{point.name}: no folder {point.value} is installed; its options are left out"
                warnings.warn(text, stacklevel=2)
            else:
                search_path.append(point.name, f"file://{folder}")


def _folder(point: EntryPoint) -> Path | None:
    package, *below = point.value.split(".")
    found = find_spec(package)
    places = found.submodule_search_locations if found and found.submodule_search_locations else []
    folders = [Path(place, *below) for place in places]
    return next((folder for folder in folders if folder.is_dir()), None)
