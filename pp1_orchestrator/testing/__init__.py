"""Scripted faults and delays, for `debug=fault` and for tests."""
