"""Prometheus rules as code, and the files that Prometheus loads."""
