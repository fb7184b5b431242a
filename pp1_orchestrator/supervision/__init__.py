"""Keeps the processes honest: restarts, watchdogs, stack dumps, resources."""
