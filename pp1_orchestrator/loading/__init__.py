"""From settings to models: opens checkpoints and builds generator, VAE and text encoder."""
