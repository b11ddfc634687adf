"""ExpertWindow: its tensors are its memory, ranks check and agree on its parameters, its size is reported."""
import ctypes
import os
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from ms_moe_comm import _lib
from ms_moe_comm.memory import MemoryReport, format_bytes
from ms_moe_comm.ops import moe_decode_dispatch
from ms_moe_comm.parameters import WindowParameters
from ms_moe_comm.providers.shm import free_shared_memory
from ms_moe_comm.window import ExpertWindow
from rank_helpers import run_rank_processes, segments

SHAPE = {"moe_expert_num": 4, "hidden_size": 64, "top_k": 2, "max_tokens_per_rank": 8}
RANK_SCRIPT = os.path.join(os.path.dirname(__file__), "window_rank.py")


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert not segments(), "a segment is left in shared memory"


def raw(parameter, size, dtype=np.uint8):
    """The first `size` bytes at a tensor's address."""
    return np.frombuffer((ctypes.c_char * size).from_address(parameter.data_ptr()), dtype)


# --- a window of one rank ---

def test_attributes():
    with ExpertWindow.create(**SHAPE, timeout=2.5, block_dim=3) as window:
        assert (window.ep_world_size, window.ep_rank_id) == (1, 0)
        assert (window.moe_expert_num, window.local_expert_num, window.hidden_size, window.top_k) == (4, 4, 64, 2)
        assert (window.max_tokens_per_rank, window.capacity, window.timeout, window.block_dim) == (8, 16, 2.5, 3)
        assert window.dtype == ms.bfloat16
        assert window.rows.shape == window.outputs.shape == (16, 64) and window.scales.shape == (16,)
        assert window.rows.dtype == window.outputs.dtype == ms.bfloat16
        assert (window.scales.dtype, window.control.dtype) == (ms.float32, ms.int32)
        assert not any(tensor.requires_grad for tensor in (window.rows, window.scales, window.outputs, window.control))


@pytest.mark.parametrize("dtype, one", [(ms.float32, 0x3F800000), (ms.float16, 0x3C00), (ms.bfloat16, 0x3F80)])
def test_tensors_are_the_memory(dtype, one):
    with ExpertWindow.create(**SHAPE, dtype=dtype) as window:
        layout = MemoryReport.of(window._parameters).parameters.layout()
        base = window.control.data_ptr()
        for name in ("rows", "scales", "outputs"):
            assert getattr(window, name).data_ptr() == base + layout[name].offset, name
        elements = raw(window.rows, 16, np.uint32 if dtype == ms.float32 else np.uint16)
        assert window.rows.float().asnumpy()[0, :4].tolist() == [0, 0, 0, 0]
        elements[:4] = one
        assert window.rows.float().asnumpy()[0, :5].tolist() == [1, 1, 1, 1, 0]


def test_header_holds_the_parameters():
    with ExpertWindow.create(**SHAPE, dtype=ms.float16, capacity=33, timeout=1.5, block_dim=2) as window:
        words, fields = raw(window.control, 8 * 32, np.int64), _lib.window_fields()
        expected = {"magic": _lib.limits()["window_magic"], "world_size": 1, "rank_id": 0, "expert_num": 4,
                    "capacity": 33, "row_bytes": 128, "block_dim": 2, "max_tokens": 8, "top_k": 2, "dtype": 1,
                    "timeout_us": 1_500_000}
        assert {name: int(words[fields[name]]) for name in expected} == expected


def test_dispatch_writes_where_rows_are():
    x = np.arange(3 * 64, dtype=np.float32).reshape(3, 64)
    with ExpertWindow.create(**SHAPE, dtype=ms.float32) as window:
        expert_ids = Tensor([[0, 2], [0, 2], [0, 2]], ms.int32)
        expand_x = moe_decode_dispatch(Tensor(x), expert_ids, window.rows, window.scales, window.control,
                                       window.local_expert_num)[0]
        assert np.array_equal(expand_x.asnumpy()[:6], np.concatenate([x, x]))
        assert expand_x.data_ptr() == window.rows.data_ptr()
        assert np.array_equal(raw(window.rows, x.nbytes, np.float32), x.ravel())
        assert window.stats() == {"epoch": 1, "exchange": 1, "received_rows": 6, "copied_bytes": 0,
                                  "left_ranks": 0, "lost_pairs": 0}


def test_closed_window():
    with ExpertWindow.create(**SHAPE, dtype=ms.float32) as window:
        rows, scales, control = window.rows, window.scales, window.control
    window.close()  # a second time does nothing
    assert rows.asnumpy().shape == (16, 64), "tensors that live stay valid"
    x, expert_ids = Tensor(np.zeros((1, 64), np.float32)), Tensor([[0, 1]], ms.int32)
    with pytest.raises(ValueError, match="window_control"):
        moe_decode_dispatch(x, expert_ids, rows, scales, control, 4)[0].asnumpy()
    with pytest.raises(RuntimeError, match="window must be open, but it was closed"):
        window.stats()


def test_error_in_the_body_comes_out():
    with pytest.raises(KeyError, match="mine"):
        with ExpertWindow.create(**SHAPE):
            raise KeyError("mine")


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
def test_windows_share_a_cell(mode):
    """A graph takes two parameters of one name in a cell for one parameter."""
    class Rows(nn.Cell):
        def __init__(self, *windows):
            super().__init__()
            self.first, self.second = (window.rows for window in windows)

        def construct(self, factor):
            return self.first * factor, self.second * factor

    before = ms.get_context("mode")
    ms.set_context(mode=mode)
    try:
        shape = {**SHAPE, "dtype": ms.float32}
        with ExpertWindow.create(**shape) as one, ExpertWindow.create(**shape) as two:
            raw(one.rows, 4, np.float32)[:] = 2
            raw(two.rows, 4, np.float32)[:] = 3
            assert one.rows.name != two.rows.name
            cell = Rows(one, two)
            assert [float(y.asnumpy()[0, 0]) for y in cell(Tensor(10.0))] == [20, 30]
            assert len(cell.parameters_dict()) == 2 and not cell.trainable_params()
    finally:
        ms.set_context(mode=before)


def test_creation_leaves_the_mode_alone():
    for mode in (ms.GRAPH_MODE, ms.PYNATIVE_MODE):
        ms.set_context(mode=mode)
        with ExpertWindow.create(**SHAPE):
            assert ms.get_context("mode") == mode


def test_copying_mindspore_is_noticed(monkeypatch):
    set_data = Parameter.set_data
    monkeypatch.setattr(Parameter, "set_data", lambda self, data: set_data(self, data.copy()))
    with pytest.raises(RuntimeError, match="copies where 2.10 aliases"):
        ExpertWindow.create(**SHAPE)


# --- parameters ---

@pytest.mark.parametrize("change, error, text", [
    ({"hidden_size": 100}, ValueError, "'hidden_size' must be a multiple of 16, but got 100: a row of BFloat16 is a "
                                       "whole number of 32 bytes, and this one has 200. The nearest that fits is 96 or "
                                       "112."),
    ({"hidden_size": 12, "dtype": ms.float32}, ValueError, "multiple of 8, but got 12.*nearest that fits is 8 or 16"),
    ({"hidden_size": 3}, ValueError, "nearest that fits is 16"),
    ({"hidden_size": 0}, ValueError, "'hidden_size' must be from 1 to 2147483647, but got 0"),
    ({"hidden_size": 64.0}, TypeError, "'hidden_size' must be an int from 1 to 2147483647, but got 64.0"),
    ({"top_k": 0}, ValueError, "'top_k' must be from 1 to 16, but got 0"),
    ({"top_k": 17}, ValueError, "'top_k' must be from 1 to 16, but got 17: give the experts of each token"),
    ({"top_k": True}, TypeError, "'top_k' must be an int from 1 to 16, but got True"),
    ({"moe_expert_num": 0}, ValueError, "'moe_expert_num' must be from 1 to 65536, but got 0"),
    ({"moe_expert_num": 65537}, ValueError, "'moe_expert_num' must be from 1 to 65536, but got 65537"),
    ({"max_tokens_per_rank": 0}, ValueError, "'max_tokens_per_rank' must be from 1 to 2147483647, but got 0"),
    ({"max_tokens_per_rank": "8"}, TypeError, "'max_tokens_per_rank' must be an int .* but got '8'"),
    ({"max_tokens_per_rank": 2**30}, ValueError, "default 'capacity'.*at most 2147483647 rows, but is 2147483648: "
                                                 "lower max_tokens_per_rank, now 1073741824, or give a capacity"),
    ({"capacity": 0}, ValueError, "'capacity' must be from 1 to 2147483647, but got 0"),
    ({"capacity": 2**31}, ValueError, "'capacity' must be from 1 to 2147483647, but got 2147483648"),
    ({"capacity": 2**31 - 1, "hidden_size": 2**30}, ValueError, "at most 4611686018427387904 bytes, but 9223"),
    ({"block_dim": 65}, ValueError, "'block_dim' must be from 1 to 64, but got 65"),
    ({"timeout": 0}, ValueError, r"'timeout' must be from 1e-06 to 1e\+09 seconds, but got 0"),
    ({"timeout": float("nan")}, ValueError, "'timeout' must be .* but got nan"),
    ({"timeout": "1"}, TypeError, "'timeout' must be .* but got '1'"),
    ({"dtype": ms.int8}, TypeError, "'dtype' must be float32, float16 or bfloat16, but got Int8"),
    ({"dtype": "bf16"}, TypeError, "'dtype' must be float32, float16 or bfloat16, but got 'bf16'"),
])
def test_refused_parameters(change, error, text):
    """Field report 21 (UCCL 923: a deadlock without a word at 256 experts): limits are checked at creation, and named.

    Hundreds of experts work: tests/multirank/test_routing.py, tests/multirank/test_long_runs.py. Field report 14
    (DeepEP PR 413), Field report 28 (public kernels): an H whose row is no whole number of 32 bytes gets no window.
    """
    with pytest.raises(error, match=f"For 'ExpertWindow', .*{text}"):
        ExpertWindow.create(**{**SHAPE, **change})


def test_experts_are_divided_evenly():
    with pytest.raises(ValueError, match="'moe_expert_num' must be a multiple of 4, but got 10: every rank that holds "
                                         "routed experts holds the same number of them. The nearest that fits is 8 "
                                         "or 12"):
        WindowParameters(ep_world_size=4, **{**SHAPE, "moe_expert_num": 10}, dtype=ms.float32)


@pytest.mark.parametrize("ranks, experts, top_k, tokens, rows", [
    (1, 4, 2, 8, 16), (1, 1, 1, 3, 3), (8, 256, 8, 128, 8192), (4, 8, 8, 5, 40), (384, 384, 8, 128, 49152)])
def test_default_capacity(ranks, experts, top_k, tokens, rows):
    """Field report 3 (vllm-ascend PR 4512: a default too small for long prefill): it follows from the stated limits."""
    parameters = WindowParameters(ep_world_size=ranks, moe_expert_num=experts, hidden_size=64, top_k=top_k,
                                  max_tokens_per_rank=tokens, dtype=ms.float32)
    assert parameters.capacity == rows


def test_numpy_integers_are_integers():
    with ExpertWindow.create(**{name: np.int64(value) for name, value in SHAPE.items()}) as window:
        assert type(window.hidden_size) is int and window.hidden_size == 64


def test_other_memory_is_refused(monkeypatch):
    monkeypatch.setenv("MS_MOE_COMM_WINDOW", "vmm")
    with pytest.raises(ValueError, match="MS_MOE_COMM_WINDOW is 'vmm'.*device CPU: shm"):
        ExpertWindow.create(**SHAPE)


def test_lack_of_space():
    """Field report 1 (vllm-ascend 2674, 16835, PR 5287): nobody gives a buffer's size; a lack of memory is an error
    that says needed and free bytes, before anything is launched.
    """
    shape = {**SHAPE, "hidden_size": 8192, "capacity": 2**31 - 1}
    text = r"1 ranks need (\d+) bytes .* but (\d+) bytes are free. Lower max_tokens"
    with pytest.raises(MemoryError, match=text) as error:
        ExpertWindow.create(**shape)
    needed, free = map(int, re.search(text, str(error.value)).groups())
    assert needed >= WindowParameters(ep_world_size=1, dtype=ms.bfloat16, **shape).window_bytes > free > 0


# --- several ranks ---

def test_ranks_must_agree():
    """Each rank tries the same cases one after the other; in each, rank 1 differs in one parameter."""
    base = {**SHAPE, "moe_expert_num": 3, "dtype": "float32", "capacity": None, "timeout": 30.0, "block_dim": 1}
    changes = [({"moe_expert_num": 6}, "moe_expert_num: 3 on rank 0, 2 but 6 on rank 1"),
               ({"hidden_size": 128}, "hidden_size: 64 on rank 0, 2 but 128 on rank 1"),
               ({"top_k": 1}, "top_k: 2 on rank 0, 2 but 1 on rank 1"),
               ({"max_tokens_per_rank": 9}, "max_tokens_per_rank: 8 on rank 0, 2 but 9 on rank 1"),
               ({"dtype": "float16"}, "dtype: Float32 on rank 0, 2 but Float16 on rank 1"),
               ({"capacity": 50}, "capacity: 24 on rank 0, 2 but 50 on rank 1"),
               ({"timeout": 1.5}, "timeout: 30 s on rank 0, 2 but 1.5 s on rank 1"),
               ({"block_dim": 2}, "block_dim: 1 on rank 0, 2 but 2 on rank 1")]
    agreeing = [base] * len(changes)
    results = run_rank_processes(RANK_SCRIPT, [agreeing, [{**base, **change} for change, _ in changes], agreeing])
    for number, (_, text) in enumerate(changes):
        for result in results:
            assert result[number]["error"] == "RuntimeError", result[number]
            assert f"the ranks disagree on {text}" in result[number]["text"]


def test_window_of_three_ranks():
    base = {**SHAPE, "moe_expert_num": 6, "dtype": "bfloat16"}
    bad = {**base, "top_k": 17}
    huge = {**base, "hidden_size": 8192, "capacity": 2**31 - 1}
    good = [base, base, huge, base]
    results = run_rank_processes(RANK_SCRIPT, [good, [base, bad, huge, base], good])
    for rank, (first, refused, lack, again) in enumerate(results):
        assert first == again == {"rank": rank, "size": 3, "capacity": 48, "segments": []}
        if rank == 1:
            assert refused["error"] == "ValueError" and "'top_k' must be from 1 to 16, but got 17" in refused["text"]
        else:
            assert refused["error"] == "RuntimeError"
            assert "the parameters of rank 1 were refused there" in refused["text"]
        assert lack["error"] == "MemoryError"
        assert "its 3 ranks need" in lack["text"] and "bytes are free" in lack["text"]


# --- the report ---

@pytest.mark.parametrize("ranks, experts, dtype, capacity", [(1, 4, ms.float32, None), (8, 256, ms.bfloat16, None),
                                                            (384, 384, ms.float16, 7), (2, 8, ms.float32, 2**31 - 1)])
def test_parts_add_up(ranks, experts, dtype, capacity):
    parameters = WindowParameters(ep_world_size=ranks, moe_expert_num=experts, hidden_size=7168, top_k=4,
                                  max_tokens_per_rank=128, dtype=dtype, capacity=capacity)
    report = MemoryReport.of(parameters)
    assert list(report.parts) == ["header", "records", "peers", "tables", "counts", "arrived", "ready", "handed",
                                  "aborted", "meeting", "dropped_from", "dropped_to", "waited", "rows",
                                  "scales", "outputs"]
    assert sum(report.parts.values()) == report.total == parameters.window_bytes
    assert report.parts["rows"] == report.parts["outputs"] >= parameters.capacity * parameters.row_bytes
    for size in (*report.parts.values(), report.total, *report.relay_buffers.values(), *report.relay_totals.values()):
        assert format_bytes(size) in str(report)


def test_relay_buffers_follow_cann():
    """DeepSeek-V3's decode shape on 8 ranks, worked out by hand from the two published formulas."""
    report = MemoryReport.of(WindowParameters(ep_world_size=8, moe_expert_num=256, hidden_size=7168, top_k=8,
                                              max_tokens_per_rank=128, dtype=ms.bfloat16))
    # 2 * (128 tokens * 265 slots * 14,592 bytes) + 2 MB = 946.06 MB; 2 * (8,192 rows * 14,336 bytes + 2 MB) = 228 MB
    assert report.relay_buffers == {"Atlas A3": 947 << 20, "Atlas A2": 228 << 20}
    assert report.relay_totals["Atlas A3"] == (947 << 20) + 2 * 8192 * 14336


def test_report_of_a_window():
    with ExpertWindow.create(**SHAPE) as window:
        assert window.memory_report().total < free_shared_memory()
        assert "1 ranks, 4 experts, hidden size 64, top-k 2" in str(window.memory_report())
