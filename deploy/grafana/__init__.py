"""Grafana's dashboards as code, and the JSON that Grafana is given."""
