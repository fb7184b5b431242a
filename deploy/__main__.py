"""`python -m deploy` writes all generated files of this package. Tests compare them with the repository."""

from pathlib import Path

from deploy.grafana.dashboards import dashboards
from deploy.metrics_page import metrics_page
from deploy.prometheus.rules import rules_page

ROOT = Path(__file__).resolve().parent.parent


def generated() -> dict[str, str]:
    """Text by path from the repository's root."""
    files = {f"deploy/grafana/json/{name}.json": text for name, text in dashboards().items()}
    return files | {"docs/metrics.md": metrics_page(), "deploy/prometheus/rules.yml": rules_page()}


def write() -> None:
    for path, text in generated().items():
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
