"""Commands that measure; their results stand in RESULTS.md beside them."""
