"""A stream inside another Python program: no server, no signals. `pp1_orchestrator` has the public names."""
