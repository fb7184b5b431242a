"""Random schedules of faults, and what must hold after each."""
