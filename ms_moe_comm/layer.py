"""One mixture-of-experts layer as a cell: expert parallel through an expert window, and its dense twin.

Both are Qwen3-MoE's layer: a softmax router whose top-k weights are normalised to sum to one, SwiGLU experts, and an
optional shared expert whose output is added unweighted. `MoELayer` holds the experts of its own rank and lets the
tokens travel; `DenseMoELayer` holds all experts and sends every token through every one. They perform the same
operations on a token in the same order, so their results are the same bits, in every dtype:

* the router works in fp32 on the token alone;
* `moe_grouped_matmul` gives a row the same bits whatever other rows there are;
* the weighted sum is fp32: it starts at +0, multiplies, rounds, adds and rounds in k order; it is rounded to the dtype
  once at the end.
"""
from dataclasses import dataclass

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from .dispatcher import MoEDispatcher
from .ops import moe_grouped_matmul


@dataclass
class MoEWeights:
    """Parameters of one MoE layer. The layers of all phases are built from the same object and so share them.

    Attributes (E experts of the group, E_local of this rank; a dense layer holds all, E_local = E; H hidden size, I
    width of an expert, S width of the shared expert; `dtype` is that of the activations):
        router (Parameter): [H, E] float32.
        gate_up (Parameter): [E_local, H, 2 * I] dtype, each expert's gate projection left of its up projection.
        down (Parameter): [E_local, I, H] dtype.
        shared_gate_up (Parameter, optional): [1, H, 2 * S] dtype.
        shared_down (Parameter, optional): [1, S, H] dtype.
    """

    router: Parameter
    gate_up: Parameter
    down: Parameter
    shared_gate_up: Parameter = None
    shared_down: Parameter = None

    @classmethod
    def from_numpy(cls, name, arrays, dtype):
        """Parameters `<name>.<key>` from float32 arrays, which are rounded to `dtype` (the router's is not).

        Args:
            name (str): prefix of the parameters' names, unique in the model.
            arrays (dict[str, numpy.ndarray]): an array per attribute; those of the shared expert may be absent.
            dtype (mindspore.dtype): float32, float16 or bfloat16.
        """
        def parameter(key):
            value = Tensor(arrays[key], ms.float32 if key == "router" else dtype)
            return Parameter(value, name=f"{name}.{key}", requires_grad=False)
        return cls(**{key: parameter(key) for key in arrays})

    def __post_init__(self):
        hidden_size, intermediate_size = self.gate_up.shape[1], self.down.shape[1]
        expected = {
            "router": (hidden_size, self.router.shape[1]),
            "gate_up": (self.gate_up.shape[0], hidden_size, 2 * intermediate_size),
            "down": (self.gate_up.shape[0], intermediate_size, hidden_size),
        }
        if (self.shared_gate_up is None) != (self.shared_down is None):
            raise ValueError("A shared expert needs both shared_gate_up and shared_down; only one was given.")
        if self.shared_down is not None:
            shared_size = self.shared_down.shape[1]
            expected["shared_gate_up"] = (1, hidden_size, 2 * shared_size)
            expected["shared_down"] = (1, shared_size, hidden_size)
        for key, shape in expected.items():
            if getattr(self, key).shape != shape:
                raise ValueError(f"{key} has shape {getattr(self, key).shape}, but the other weights of the layer ask "
                                 f"for {shape}.")


def swiglu(hidden):
    """silu(gate) * up in float32, rounded once: [M, 2 * I] -> [M, I], dtype of `hidden`.

    Rows that nobody wrote (past the window's total) do no harm. With `ops.silu` or `ops.sigmoid` they would: a NaN
    anywhere in the tensor makes MindSpore 2.10 on CPU compute all of it another way, with other last bits.
    """
    gate, up = ops.chunk(ops.cast(hidden, ms.float32), 2, axis=-1)
    return ops.cast(gate / (1.0 + ops.exp(-gate)) * up, hidden.dtype)


class TopKRouter(nn.Cell):
    """Softmax over all experts, the top_k largest, normalised to sum to one. All in float32.

    Inputs:
        x (Tensor): [T, H], any of the activation dtypes.
    Outputs:
        expert_scales [T, K] float32 and expert_ids [T, K] int32, the largest weight first.
    """

    def __init__(self, router, top_k):
        super().__init__(auto_prefix=False)
        self.router = router
        self.top_k = top_k

    def construct(self, x):
        probabilities = ops.softmax(ops.matmul(ops.cast(x, ms.float32), self.router), axis=-1)
        expert_scales, expert_ids = ops.topk(probabilities, self.top_k)
        return expert_scales / ops.sum(expert_scales, -1, True), expert_ids


class SharedExpert(nn.Cell):
    """The SwiGLU expert that every token visits, where the token lives: [T, H] -> [T, H]."""

    def __init__(self, gate_up, down):
        super().__init__(auto_prefix=False)
        self.gate_up = gate_up
        self.down = down

    def construct(self, x):
        group_list = ops.full((1,), x.shape[0], dtype=ms.int64)
        hidden = moe_grouped_matmul(x, self.gate_up, group_list)
        return moe_grouped_matmul(swiglu(hidden), self.down, group_list)


class MoELayer(nn.Cell):
    """The expert-parallel layer: dispatch, grouped matmul, SwiGLU, grouped matmul into the window, combine.

    Every rank of the window's group must call it equally often, with any number of tokens.

    Args:
        window (ExpertWindow): its hidden size, dtype, top_k and experts are the layer's.
        weights (MoEWeights): this rank's experts, `window.local_expert_num` of them in order of their global ids.
        phase (str): "prefill" or "decode", which primitives the graph is built from.

    Inputs:
        x (Tensor): [T, H], dtype of the window; T at most `window.max_tokens_per_rank`.
        x_active_mask (Tensor, optional): [T] bool; a token with False visits no routed expert.
    Outputs:
        y [T, H], dtype of the window.

    Raises:
        ValueError: at construction, when the weights do not fit the window.
    """

    def __init__(self, window, weights, phase="prefill"):
        super().__init__(auto_prefix=False)
        needed = {
            "router": (window.hidden_size, window.moe_expert_num),
            "gate_up": (window.local_expert_num, window.hidden_size, weights.gate_up.shape[2]),
        }
        for key, shape in needed.items():
            if getattr(weights, key).shape != shape:
                raise ValueError(f"{key} has shape {getattr(weights, key).shape}, but the window of "
                                 f"{window.moe_expert_num} experts on {window.ep_world_size} ranks with hidden size "
                                 f"{window.hidden_size} needs {shape}.")
        if weights.gate_up.dtype != window.dtype:
            raise ValueError(f"The experts are {weights.gate_up.dtype}, but the window carries {window.dtype}: create "
                             f"both with the same dtype.")
        self.router = TopKRouter(weights.router, window.top_k)
        self.gate_up = weights.gate_up
        self.down = weights.down
        self.shared_expert = None
        if weights.shared_down is not None:
            self.shared_expert = SharedExpert(weights.shared_gate_up, weights.shared_down)
        self.dispatcher = MoEDispatcher(window, phase)
        self.outputs = window.outputs

    def construct(self, x, x_active_mask=None):
        expert_scales, expert_ids = self.router(x)
        expand_x, expert_token_nums, handle = self.dispatcher.dispatch(x, expert_ids, x_active_mask)
        hidden = moe_grouped_matmul(expand_x, self.gate_up, expert_token_nums)
        outputs = moe_grouped_matmul(swiglu(hidden), self.down, expert_token_nums, self.outputs)
        shared_expert_x = None
        if self.shared_expert is not None:
            shared_expert_x = self.shared_expert(x)
        return self.dispatcher.combine(outputs, expert_scales, handle, shared_expert_x)


class DenseMoELayer(nn.Cell):
    """The same layer on one rank without a window: every token through every expert, then the top_k gathered.

    For comparison only: it computes E / top_k times more than it uses.

    Args:
        weights (MoEWeights): all experts.
        top_k (int): experts per token.

    Inputs and outputs: as `MoELayer`.
    """

    def __init__(self, weights, top_k):
        super().__init__(auto_prefix=False)
        self.router = TopKRouter(weights.router, top_k)
        self.gate_up = weights.gate_up
        self.down = weights.down
        self.shared_expert = None
        if weights.shared_down is not None:
            self.shared_expert = SharedExpert(weights.shared_gate_up, weights.shared_down)
        self.expert_num = weights.gate_up.shape[0]
        self.top_k = top_k

    def construct(self, x, x_active_mask=None):
        expert_scales, expert_ids = self.router(x)
        tokens = x.shape[0]
        group_list = ops.full((self.expert_num,), tokens, dtype=ms.int64)
        # tile has no bfloat16 on CPU; the way through float32 loses nothing
        expand_x = ops.cast(ops.tile(ops.cast(x, ms.float32), (self.expert_num, 1)), x.dtype)
        hidden = moe_grouped_matmul(expand_x, self.gate_up, group_list)
        outputs = ops.cast(moe_grouped_matmul(swiglu(hidden), self.down, group_list), ms.float32)

        y = ops.zeros_like(ops.cast(x, ms.float32))
        for k in range(self.top_k):
            row = expert_ids[:, k] * tokens + ops.arange(tokens, dtype=ms.int32)
            y = y + expert_scales[:, k:k + 1] * ops.gather(outputs, row, 0)
        if x_active_mask is not None:
            y = ops.where(ops.expand_dims(x_active_mask, 1), y, ops.zeros_like(y))
        if self.shared_expert is not None:
            y = y + ops.cast(self.shared_expert(x), ms.float32)
        return ops.cast(y, x.dtype)
