"""`python -m pp1_orchestrator.convert SOURCE TARGET`: rewrites a generator's checkpoint in our own layout.

Exit codes: 0 done, 2 the source can't be converted.
"""

import argparse
import sys
from pathlib import Path

import torch

from pp1_orchestrator.models.checkpoints.conversion import infer_config, write_converted
from pp1_orchestrator.models.checkpoints.reader import open_weights
from pp1_orchestrator.models.wan.load_generator import open_generator
from pp1_orchestrator.models.wan.wan_state_dict import in_our_names

EXIT_SOURCE = 2
DTYPES = {"as-stored": None, "bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m pp1_orchestrator.convert", description=__doc__)
    result.add_argument("source", type=Path, help="a file of weights, an index of shards, or a folder with one of them")
    result.add_argument("target", type=Path, help="a folder, new or empty")
    result.add_argument("--last", action="store_true", help="take the last weights instead of the averaged ones")
    result.add_argument("--lora", type=Path, help="a LoRA file to merge")
    result.add_argument("--lora-alpha", type=float, help="scales the LoRA by alpha / rank (default: by 1)")
    result.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="of the written weights")
    result.add_argument("--shard-gb", type=float, default=5.0, help="largest size of a file; also the memory needed")
    return result


def convert(options: argparse.Namespace) -> list[Path]:
    """Converts and returns the written files. Raises OSError, and ValueError with one line."""
    source = in_our_names(open_weights(options.source), ema=not options.last)
    config = infer_config(source.path, source.shapes())
    weights = open_generator(options.source, config, not options.last, options.lora, options.lora_alpha)
    sources = [weights.path, *([options.lora] if options.lora else [])]
    made = {"last": options.last, "lora_alpha": options.lora_alpha, "dtype": options.dtype}
    dtype = DTYPES[options.dtype]
    return write_converted(weights, config, options.target, dtype, int(options.shard_gb * 1e9), sources, made)


def main() -> int:
    options = parser().parse_args()
    try:
        written = convert(options)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_SOURCE
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
