"""The model that is trained: the package's generator and transformers' UMT5 encoder, small, with initial weights."""

from typing import Final

import torch
from torch import Tensor, nn
from transformers.models.umt5 import UMT5Config, UMT5EncoderModel

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.model import CausalWanModel
from training.tokenizer import TEXT_LENGTH
from training.umt5_forward import encode_tokens, position_buckets

CHUNK_FRAMES: Final = 3  # latent frames a chunk
WINDOW_CHUNKS: Final = 3  # past chunks that a chunk sees
LATENT_SHAPE: Final = (16, 16, 16)  # channels, height, width
STEPS: Final = (1000.0, 750.0, 500.0, 250.0)  # diffusion times of the four denoising steps
VOCABULARY: Final = 448  # rows of the text embedding, at least the tokenizer's size

GENERATOR_CONFIG: Final = WanConfig(
    dim=192,
    ffn_dim=640,
    num_heads=4,
    num_layers=6,
    text_dim=96,
    text_len=TEXT_LENGTH,
    freq_dim=128,
    chunk_frames=CHUNK_FRAMES,
    local_attn_size=(WINDOW_CHUNKS + 1) * CHUNK_FRAMES,
)


def make_text_encoder() -> UMT5EncoderModel:
    """A UMT5 encoder with 2 layers of width 96 and without dropout."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=VOCABULARY,
            d_model=GENERATOR_CONFIG.text_dim,
            d_kv=24,
            d_ff=192,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            relative_attention_num_buckets=32,
            relative_attention_max_distance=64,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


class TinyModel(nn.Module):
    """Generator and text encoder."""

    def __init__(self, config: WanConfig = GENERATOR_CONFIG) -> None:
        super().__init__()
        self.generator = CausalWanModel(config)
        self.text = make_text_encoder()
        self.encode_tokens = encode_tokens
        self.register_buffer("buckets", position_buckets(self.text, TEXT_LENGTH), persistent=False)
        _initialise(self.generator)

    def compile_text(self) -> None:
        """Compiles the text encoder to one graph."""
        self.encode_tokens = torch.compile(encode_tokens, dynamic=False)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [..., L], 0 = padding -> embeddings [..., L, text_dim], zero at padding."""
        embedded = self.encode_tokens(self.text, tokens.flatten(0, -2), self.get_buffer("buckets"))
        return embedded.unflatten(0, tokens.shape[:-1])


def _initialise(generator: CausalWanModel) -> None:
    """Wan's initialisation: Xavier, small embeddings, a zero head."""
    for module in generator.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(generator.patch_embedding.weight.flatten(1))
    nn.init.zeros_(_bias(generator.patch_embedding))
    for embedding in (generator.text_embedding, generator.time_embedding):
        for module in embedding:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
    nn.init.zeros_(generator.head.head.weight)


def _bias(layer: nn.Conv3d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon trains a parameter: the matrices inside the blocks of both networks."""
    return parameter.ndim == 2 and (".blocks." in name or ".block." in name) and "relative" not in name


def chunk_noise(count: int, chunks: int, device: torch.device) -> Tensor:
    """Standard normal noise [count, chunks · CHUNK_FRAMES, c, h, w]."""
    return torch.randn(count, chunks * CHUNK_FRAMES, *LATENT_SHAPE, device=device)


def per_frame(values: Tensor) -> Tensor:
    """Repeats values of chunks [B, n] for every latent frame: [B, n · CHUNK_FRAMES, 1, 1, 1]."""
    return values.repeat_interleave(CHUNK_FRAMES, 1)[:, :, None, None, None]
