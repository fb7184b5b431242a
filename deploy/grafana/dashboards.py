"""All dashboards, as the JSON that Grafana reads."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.overview import overview
from deploy.grafana.resources import resources


def dashboards() -> dict[str, str]:
    """JSON text by name."""
    boards = {"overview": overview().build(), "resources": resources().build()}
    return {name: json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True) + "\n" for name, board in boards.items()}
