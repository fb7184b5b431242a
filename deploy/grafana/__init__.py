"""Grafana dashboards as code, and the JSON that Grafana loads."""
