"""Several screens that show the same pictures."""

from __future__ import annotations

from pp1_orchestrator.media.frames import Picture
from pp1_orchestrator.media.pacer import Screen


class Screens:
    """A Screen that hands each picture to all of its screens, in order."""

    def __init__(self, *screens: Screen) -> None:
        self._screens = screens

    def present(self, picture: Picture, at_s: float) -> None:
        for screen in self._screens:
            screen.present(picture, at_s)
