"""From settings to models: opens and checks checkpoints, builds rank 0's models."""
