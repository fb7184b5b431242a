"""Stands for the program where only so many files may be open: PP1_TEST_FILES says how many."""

import os
import resource
import sys

from pp1_orchestrator.__main__ import main

if __name__ == "__main__":
    files = int(os.environ["PP1_TEST_FILES"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, 128), files))
    sys.exit(main())
