"""A graph on a window is not exported: no file can hold the window."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_moe_comm import ExpertWindow, MoEDispatcher, moe_grouped_matmul

E, H = 2, 8


class DispatchAlone(nn.Cell):
    def __init__(self, window):
        super().__init__(auto_prefix=False)
        self.dispatcher = MoEDispatcher(window, "prefill")

    def construct(self, x, expert_ids):
        return self.dispatcher.dispatch(x, expert_ids)[1]


class DispatchAndCombine(nn.Cell):
    def __init__(self, window):
        super().__init__(auto_prefix=False)
        self.dispatcher = MoEDispatcher(window, "decode")

    def construct(self, x, expert_ids):
        expand_x, _, handle = self.dispatcher.dispatch(x, expert_ids)
        return self.dispatcher.combine(expand_x, None, handle)


class MatmulAlone(nn.Cell):
    def construct(self, x, weight, group_list):
        return moe_grouped_matmul(x, weight, group_list)


@pytest.mark.parametrize("cell, op", [(DispatchAlone, "moe_prefill_dispatch"),
                                      (DispatchAndCombine, "moe_decode_(dispatch|combine)")])
@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_a_graph_on_a_window_is_not_exported(tmp_path, monkeypatch, cell, op, file_format):
    monkeypatch.chdir(tmp_path)  # MindSpore writes files about the failed graph there
    inputs = Tensor(np.ones((3, H), np.float32)), Tensor(np.zeros((3, 1), np.int32))
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=1, max_tokens_per_rank=4, dtype=ms.float32) as made:
        with pytest.raises(RuntimeError, match=f"For '{op}', the graph cannot be exported: no file can hold an Expert"):
            ms.export(cell(made), *inputs, file_name=str(tmp_path / "graph"), file_format=file_format)
        assert not list(tmp_path.glob("graph*"))
        ms.set_context(mode=ms.GRAPH_MODE)
        try:
            cell(made)(*inputs)[0].asnumpy()  # without an export the graph compiles as before
        finally:
            ms.set_context(mode=ms.PYNATIVE_MODE)


def test_operators_without_a_window_are_exported(tmp_path):
    x, weight = Tensor(np.ones((4, H), np.float32)), Tensor(np.ones((2, H, 4), np.float32))
    group_list = Tensor(np.array([3, 1]))
    ms.export(MatmulAlone(), x, weight, group_list, file_name=str(tmp_path / "graph"), file_format="MINDIR")
    loaded = nn.GraphCell(ms.load(str(tmp_path / "graph.mindir")))
    np.testing.assert_array_equal(loaded(x, weight, group_list).asnumpy(), np.full((4, 4), H, np.float32))
