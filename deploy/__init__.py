"""What runs beside the program: Prometheus rules, Grafana dashboards, and pages that are generated from code."""
