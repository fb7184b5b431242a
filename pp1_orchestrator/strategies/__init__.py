"""The choices: where prompts are encoded, how decode overlaps, how the cache gets its history. One small class each."""
