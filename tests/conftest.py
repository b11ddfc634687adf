"""Settings of all tests."""

import mindspore as ms

ms.set_device("CPU")
