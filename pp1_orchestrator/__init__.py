"""PP1 Orchestrator: real-time text-to-video across a stage 0 rank and a generator mesh."""

__version__ = "0.2.0"
