"""Where rank 0's models come from, and the text encoder's device, as settings say. Opens no file."""

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.text.load_text_encoder import TextSource, UMT5Sizes
from pp1_orchestrator.models.vae.load_vae import VaeSource
from pp1_orchestrator.user_paths import user_path


def text_source(settings: Settings) -> TextSource:
    model, chosen, sizes = settings.model, settings.text_encoder, settings.text_encoder.sizes
    given = UMT5Sizes(
        vocab_size=sizes.vocab,
        d_model=sizes.dim,
        d_ff=sizes.ffn_dim,
        d_kv=sizes.head_dim,
        num_heads=sizes.num_heads,
        num_layers=sizes.num_layers,
        relative_attention_num_buckets=sizes.buckets,
        relative_attention_max_distance=sizes.distance,
    )
    return TextSource(model.part("text_encoder"), model.part("tokenizer"), given, _random_seed(settings), chosen.int8)


def text_device(settings: Settings, device: torch.device) -> torch.device:
    """The text encoder's device on a rank whose other models are on `device`."""
    return device if settings.text_encoder.device == "same" else torch.device(settings.text_encoder.device)


def vae_source(settings: Settings) -> VaeSource:
    model, stage0 = settings.model, settings.stage0
    path = model.part("vae") if stage0.file is None else model.folder / user_path(stage0.file)
    return VaeSource(path, stage0.widths, _random_seed(settings))


def _random_seed(settings: Settings) -> int | None:
    return settings.seed if settings.model.weights == "random" else None
