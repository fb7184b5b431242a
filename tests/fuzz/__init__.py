"""Fuzzing: inputs without end for everything that reads what others wrote.

`python -m tests.fuzz TARGET` fuzzes one part. Each module of `targets` is a target; `corpus/TARGET` has its seeds and
every input that once was a finding.
"""
