"""Settings of the whole test run: one torch thread, no hub access, stack dumps on a crash.

They stand here, before anything imports torch, and are inherited by the processes that tests start.
"""

import faulthandler
import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch

faulthandler.enable()
torch.set_num_threads(1)
