"""FlashAttention-4; the package itself exports nothing that we use."""
