"""Prometheus' rules as code, and the files that Prometheus is given."""
