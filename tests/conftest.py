"""Settings of all tests."""

import sys
from pathlib import Path

import mindspore as ms

sys.path.insert(0, str(Path(__file__).parent))  # the processes of tests/multirank import its modules by this name too
ms.set_device("CPU")
