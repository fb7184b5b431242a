"""Numbers that a setting may have."""

from typing import Annotated

from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Pixels = Annotated[int, Meta(ge=1, le=8192)]
Seconds = Annotated[float, Meta(gt=0)]
Restarts = Annotated[int, Meta(ge=0, le=1000)]
Delay = Annotated[float, Meta(ge=0, le=60)]
