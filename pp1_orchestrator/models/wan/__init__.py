"""The causal Wan2.1-family generator: transformer, KV cache, schedule, sampling, tensor-parallel plan."""
