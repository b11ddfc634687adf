"""Two ranks on two NPUs. Skipped without NPUs; validate.sh runs the whole list of checks."""

from pathlib import Path

import pytest

from ms_moe_comm.providers.choice import built_for_ascend
from npu.launch import run
from tensors import DTYPES


def reason_to_skip():
    devices = list(Path("/dev").glob("davinci[0-9]*"))
    if len(devices) < 2:
        return f"needs 2 NPUs, and /dev has {len(devices)} (davinci0, davinci1, ...)"
    if not built_for_ascend():
        return "the package was built without CANN (ASCEND_HOME_PATH was not set)"
    return None


pytestmark = pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip()))


@pytest.mark.parametrize("provider", ["symm", "vmm"])
def test_exchange(provider, monkeypatch):
    monkeypatch.setenv("MS_MOE_COMM_WINDOW", provider)
    run(2, "exchange")


@pytest.mark.parametrize("mode", ["pynative", "O0", "O1"])
def test_random_routing(mode):
    run(2, "random_routing", "--mode", mode)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_captured_graph(dtype, phase):
    run(2, "random_routing", "--mode", "capture", "--dtypes", dtype, "--phases", phase)


def test_killed_rank():
    outputs = run(2, "killed_rank", expected_to_die=[1])
    assert "left after" in outputs[0]
