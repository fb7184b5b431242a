"""Latents are shown only where each of their values is a number."""

import pytest
import torch

from pp1_orchestrator.stage0.pipeline import all_finite


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_no_number_is_found(dtype, value):
    latents = torch.full((1, 3, 4, 5, 6), torch.finfo(dtype).max, dtype=dtype)
    assert all_finite(latents)
    latents[0, 1, 2, 3, 4] = value
    assert not all_finite(latents)
