"""Rank 0's part: prompts, planning, decoding, and the session that runs them."""
