"""Keeps the processes of a run in order: restarts, watchdogs, resource figures."""
