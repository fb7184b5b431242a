"""What runs beside the program: Prometheus rules, Grafana dashboards, and the pages that are made from code."""
