"""Settings of the whole test run: one torch thread, no hub access, stack dumps on a crash, our own tools first.

They stand here, before anything imports torch, and are inherited by the processes that tests start.
"""

import faulthandler
import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])

import torch
from hypothesis import settings

faulthandler.enable()
torch.set_num_threads(1)

# No deadline: a busy machine is no fault. The same examples every time: a failure must be seen again.
settings.register_profile("project", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("project")
