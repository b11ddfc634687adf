"""One mixture-of-experts layer as a cell: expert parallel through an expert window, and its dense twin.

Both are Qwen3-MoE's layer: a softmax router whose top-k weights are normalised to sum to one, SwiGLU experts, and an
optional shared expert whose output is added unweighted. `MoELayer` holds the experts of its own rank and lets the
tokens travel; `DenseMoELayer` holds all experts and sends every token through every one. They perform the same
operations on a token in the same order, so their results are the same bits, in every dtype, with int8 weights
(`MoEWeights.quantised`) as without:

* the router works in fp32 on the token alone;
* the grouped matmuls give a row the same bits whatever other rows there are, and a row is quantised by itself;
* the weighted sum is fp32: it starts at +0, multiplies, rounds, adds and rounds in k order; it is rounded to the dtype
  once at the end.
"""
from collections.abc import Callable

import mindspore as ms
from mindspore import Parameter, Tensor, mint, nn, ops

from .arguments import MAX_INT32, check_type, checked_integer
from .dispatcher import MoEDispatcher
from .ops import moe_dynamic_quant, moe_grouped_matmul, moe_grouped_matmul_quant
from .placement import ExpertPlacement
from .weights import MoEWeights
from .window import ExpertWindow


def swiglu(hidden: Tensor) -> Tensor:
    """silu(gate) * up in float32, rounded once: [M, 2 * I] -> [M, I], dtype of `hidden`.

    Rows that nobody wrote (past the window's total) do not change the others. With `ops.silu` or `ops.sigmoid` they
    would: if a NaN is anywhere in the tensor, MindSpore 2.10 on CPU computes all of it in another way, with other bits.
    """
    gate, up = mint.chunk(ops.cast(hidden, ms.float32), 2, -1)
    return ops.cast(gate / (1.0 + ops.exp(-gate)) * up, hidden.dtype)


def _per_device(on_cpu: Callable, on_npu: Callable) -> Callable:
    """The operator for the device: on an NPU `on_cpu` is compiled at run time, on a CPU `on_npu` has no kernel."""
    return on_cpu if ms.get_context("device_target") == "CPU" else on_npu


class TopKRouter(nn.Cell):
    """Softmax over all experts, the top_k largest, normalised to sum to one. All in float32.

    Inputs:
        x (Tensor): [T, H], any of the activation dtypes.
    Outputs:
        expert_scales [T, K] float32 and expert_ids [T, K] int32, the largest weight first.
    """

    def __init__(self, router: Parameter, top_k: int) -> None:
        super().__init__(auto_prefix=False)
        self.router = router
        self.top_k = top_k
        self.topk = _per_device(ops.topk, mint.topk)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = ops.softmax(ops.matmul(ops.cast(x, ms.float32), self.router), axis=-1)
        expert_scales, expert_ids = self.topk(probabilities, self.top_k)  # mint's ids are int64
        return expert_scales / ops.sum(expert_scales, -1, True), ops.cast(expert_ids, ms.int32)


class SwigluExperts(nn.Cell):
    """Rows, sorted by expert, through their experts: up, SwiGLU, down.

    With int8 weights both matmuls are int8 (W8A8). Rows that do not come quantised are quantised here, each by itself.
    The rows that SwiGLU returns are quantised, too.

    Args:
        gate_up, down (Parameter): [E, H, 2 * I] and [E, I, H].
        gate_up_scale, down_scale (Parameter, optional): [E, 2 * I] and [E, H] with int8 weights.

    Inputs:
        x (Tensor): [M, H], dtype of the activations; or int8 with `dynamic_scales`.
        group_list (Tensor): [E] int64 counts.
        out (Tensor, optional): [M, H] dtype of the activations: written in place and returned. Needed with int8 rows.
        dynamic_scales (Tensor, optional): [M] float32, the scales of int8 rows.
    Outputs:
        y [M, H]; rows past the last group are undefined.
    """

    def __init__(self, gate_up: Parameter, down: Parameter, gate_up_scale: Parameter | None = None,
                 down_scale: Parameter | None = None) -> None:
        super().__init__(auto_prefix=False)
        self.gate_up = gate_up
        self.down = down
        self.gate_up_scale = gate_up_scale
        self.down_scale = down_scale
        self.quantised = gate_up_scale is not None

    def construct(self, x: Tensor, group_list: Tensor, out: Tensor | None = None,
                  dynamic_scales: Tensor | None = None) -> Tensor:
        if not self.quantised:
            hidden = moe_grouped_matmul(x, self.gate_up, group_list)
            return moe_grouped_matmul(swiglu(hidden), self.down, group_list, out)
        dtype = x.dtype if out is None else out.dtype
        if dynamic_scales is None:
            x, dynamic_scales = moe_dynamic_quant(x)
        hidden = moe_grouped_matmul_quant(x, self.gate_up, group_list, self.gate_up_scale, dynamic_scales,
                                          output_dtype=dtype)
        rows, row_scales = moe_dynamic_quant(swiglu(hidden))
        if out is None:
            return moe_grouped_matmul_quant(rows, self.down, group_list, self.down_scale, row_scales,
                                            output_dtype=dtype)
        return moe_grouped_matmul_quant(rows, self.down, group_list, self.down_scale, row_scales, out=out)


class SharedExpert(nn.Cell):
    """The SwiGLU expert that every token visits, where the token lives: [T, H] -> [T, H]."""

    def __init__(self, weights: MoEWeights) -> None:
        super().__init__(auto_prefix=False)
        self.expert = SwigluExperts(weights.shared_gate_up, weights.shared_down, weights.shared_gate_up_scale,
                                    weights.shared_down_scale)
        self.full = _per_device(ops.full, mint.full)

    def construct(self, x: Tensor) -> Tensor:
        return self.expert(x, self.full((1,), x.shape[0], dtype=ms.int64))


def checked_max_tokens(max_tokens: int, round_tokens: int) -> int:
    """`max_tokens` as an int, if a layer on a window for `round_tokens` can have it; else an error that says why."""
    value = checked_integer("MoELayer", "max_tokens", max_tokens, 1, MAX_INT32, "give the most tokens of one call")
    if value < round_tokens:
        raise ValueError(f"For 'MoELayer', 'max_tokens' must be at least {round_tokens}, the window's "
                         f"max_tokens_per_rank, but got {value}: leave it out, for one round takes as many, or create "
                         f"the window with a smaller max_tokens_per_rank.")
    return value


def check_tokens(layer: str, x: Tensor, hidden_size: int) -> None:
    """Raises an error that names `x`, which the router's operators would not. In a graph it runs during the build."""
    if not isinstance(x, Tensor):
        raise TypeError(f"For '{layer}', 'x' must be a Tensor, but got {type(x)}.")
    if x.ndim != 2 or x.shape[1] != hidden_size:
        raise ValueError(f"For '{layer}', 'x' must have the shape [T, {hidden_size}], but has {x.shape}.")


def checked_zero_expert_num(layer: str, zero_expert_num: int) -> int:
    """`zero_expert_num` as an int."""
    return checked_integer(layer, "zero_expert_num", zero_expert_num, 0, MAX_INT32, "give the number of such experts")


class MoELayer(nn.Cell):
    """The expert-parallel layer: dispatch, grouped matmul, SwiGLU, grouped matmul into the window, combine.

    Every rank of the window's group must call it equally often, with any number of tokens. With int8 weights the rows
    travel as int8, too.

    Args:
        window (ExpertWindow): its hidden size, dtype, top_k and experts are the layer's.
        weights (MoEWeights): this rank's experts, `window.local_expert_num` of them in order of their global ids.
        phase (str): "prefill" or "decode", which primitives the graph is built from.
        placement (ExpertPlacement, optional): redundant experts. Then the window's experts are physical ones, and the
            experts of the router and of `weights.router` are logical ones.
        zero_expert_num (int): how many additional outputs of the router are experts that give nothing.
        max_tokens (int, optional): the most tokens of a rank in one call, the same on all ranks; at least
            `window.max_tokens_per_rank`, which is also the default. A window needs memory only for the tokens of one
            round: the layer takes `window.max_tokens_per_rank` tokens at a time, in ceil(max_tokens /
            window.max_tokens_per_rank) rounds of one graph. Every rank does all rounds, whatever its T; the rounds past
            its own tokens have none. The result has the bits of a single round, unless a window with overflow="drop"
            drops rows: each round drops by itself.

    Inputs:
        x (Tensor): [T, H], dtype of the window; T from 0 to `max_tokens`.
        x_active_mask (Tensor, optional): [T] bool; a token with False visits no routed expert.
    Outputs:
        y [T, H], dtype of the window.

    Raises:
        TypeError: at construction, an argument of another type than these.
        ValueError: at construction, when the weights do not fit the window, or `max_tokens` is less than one round; in
            a call, when T is more than `max_tokens`.
    """

    def __init__(self, window: ExpertWindow, weights: MoEWeights, phase: str = "prefill",
                 placement: ExpertPlacement | None = None, zero_expert_num: int = 0,
                 max_tokens: int | None = None) -> None:
        super().__init__(auto_prefix=False)
        check_type("MoELayer", "window", window, ExpertWindow, "what ExpertWindow.create returned")
        check_type("MoELayer", "weights", weights, MoEWeights, "MoEWeights")
        check_type("MoELayer", "placement", placement, (ExpertPlacement, type(None)), "an ExpertPlacement or None")
        zero_expert_num = checked_zero_expert_num("MoELayer", zero_expert_num)
        logical = window.moe_expert_num if placement is None else placement.logical_expert_num
        if placement is not None and len(placement.physical_to_logical) != window.moe_expert_num:
            raise ValueError(f"For 'MoELayer', 'placement' must have {window.moe_expert_num} slots, the window's "
                             f"experts, but has {len(placement.physical_to_logical)}: create the window with so many.")
        needed = {
            "router": (window.hidden_size, logical + zero_expert_num),
            "gate_up": (window.local_expert_num, window.hidden_size, weights.gate_up.shape[2]),
        }
        for key, shape in needed.items():
            if getattr(weights, key).shape != shape:
                raise ValueError(f"{key} has shape {getattr(weights, key).shape}, but the window of "
                                 f"{window.moe_expert_num} experts on {window.ep_world_size} ranks with hidden size "
                                 f"{window.hidden_size} needs {shape}.")
        if not weights.is_quantised and weights.gate_up.dtype != window.dtype:
            raise ValueError(f"The experts are {weights.gate_up.dtype}, but the window carries {window.dtype}: create "
                             f"both with the same dtype.")
        scale = weights.gate_up_scale
        if scale is not None and scale.dtype == ms.bfloat16 != window.dtype:
            raise ValueError(f"The scales of the experts are {scale.dtype}, but the window carries "
                             f"{window.dtype}: quantise the weights for that dtype.")
        self.router = TopKRouter(weights.router, window.top_k)
        self.experts = SwigluExperts(weights.gate_up, weights.down, weights.gate_up_scale, weights.down_scale)
        self.shared_expert = SharedExpert(weights) if weights.shared_down is not None else None
        self.quantised = weights.is_quantised
        self.dispatcher = MoEDispatcher(window, phase, quant_mode=2 if self.quantised else 0,
                                        zero_expert_num=zero_expert_num)
        self.logical_to_physical_map = None if placement is None else placement.logical_to_physical_map
        self.logical_replica_count = None if placement is None else placement.logical_replica_count
        self.hidden_size = window.hidden_size
        self.round_tokens = window.max_tokens_per_rank
        self.max_tokens = self.round_tokens if max_tokens is None else checked_max_tokens(max_tokens, self.round_tokens)
        self.round_num = -(-self.max_tokens // self.round_tokens)
        # MindSpore 2.10 on CPU cannot slice bfloat16; float32 holds the values exactly
        self.sliceable_dtype = ms.float32 if ms.get_context("device_target") == "CPU" else window.dtype

    def construct(self, x: Tensor, x_active_mask: Tensor | None = None) -> Tensor:
        check_tokens("MoELayer", x, self.hidden_size)
        # All tokens at once: unlike the experts' matmul, this one may give a row other bits when there are fewer rows.
        expert_scales, expert_ids = self.router(x)
        if self.round_num == 1:
            return self.one_round(x, expert_scales, expert_ids, x_active_mask)
        if x.shape[0] > self.max_tokens:
            raise ValueError(f"For 'MoELayer', T, dimension 0 of 'x', must be at most max_tokens = {self.max_tokens}, "
                             f"but got {x.shape[0]}: make the layer with a larger max_tokens on all ranks, or pass "
                             f"fewer tokens.")
        sliceable = ops.cast(x, self.sliceable_dtype)
        # The rounds are independent, yet run one after the other: a graph keeps the order of operators with side
        # effects on memory, and from dispatch to combine a round is a chain of such operators.
        y: tuple[Tensor, ...] = ()
        for start in range(0, self.max_tokens, self.round_tokens):
            end = start + self.round_tokens  # slices end with x, and may be empty
            mask = None if x_active_mask is None else x_active_mask[start:end]
            y += (self.one_round(ops.cast(sliceable[start:end], x.dtype), expert_scales[start:end],
                                 expert_ids[start:end], mask),)
        return ops.cat(y)

    def one_round(self, x: Tensor, expert_scales: Tensor, expert_ids: Tensor, x_active_mask: Tensor | None) -> Tensor:
        """Tokens that fit in the window at once, from dispatch to combine: [t, H] -> [t, H], t may be 0."""
        expand_x, expert_token_nums, handle = self.dispatcher.dispatch(
            x, expert_ids, x_active_mask, None, self.logical_to_physical_map, self.logical_replica_count)
        dynamic_scales = None
        if self.quantised:  # the rows came as int8
            expand_x, dynamic_scales = expand_x
        outputs = self.experts(expand_x, expert_token_nums, self.dispatcher.outputs, dynamic_scales)
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
        zero_expert_num (int): how many additional outputs of the router are experts that give nothing.

    Inputs and outputs: as `MoELayer`.
    """

    def __init__(self, weights: MoEWeights, top_k: int, zero_expert_num: int = 0) -> None:
        super().__init__(auto_prefix=False)
        check_type("DenseMoELayer", "weights", weights, MoEWeights, "MoEWeights")
        self.zero_expert_num = checked_zero_expert_num("DenseMoELayer", zero_expert_num)
        top_k = checked_integer("DenseMoELayer", "top_k", top_k, 1, weights.router.shape[1],
                                "a token visits an expert once at most")
        self.router = TopKRouter(weights.router, top_k)
        self.experts = SwigluExperts(weights.gate_up, weights.down, weights.gate_up_scale, weights.down_scale)
        self.shared_expert = SharedExpert(weights) if weights.shared_down is not None else None
        self.expert_num, self.hidden_size = weights.gate_up.shape[:2]
        self.top_k = top_k

    def construct(self, x: Tensor, x_active_mask: Tensor | None = None) -> Tensor:
        check_tokens("DenseMoELayer", x, self.hidden_size)
        expert_scales, expert_ids = self.router(x)
        tokens = x.shape[0]
        group_list = ops.full((self.expert_num,), tokens, dtype=ms.int64)
        # tile has no bfloat16 on CPU; float32 holds the values exactly
        expand_x = ops.cast(ops.tile(ops.cast(x, ms.float32), (self.expert_num, 1)), x.dtype)
        outputs = ops.cast(self.experts(expand_x, group_list), ms.float32)

        y = ops.zeros_like(ops.cast(x, ms.float32))
        for k in range(self.top_k):
            expert = ops.minimum(expert_ids[:, k], self.expert_num - 1)
            row = expert * tokens + ops.arange(tokens, dtype=ms.int32)
            term = expert_scales[:, k:k + 1] * ops.gather(outputs, row, 0)
            if self.zero_expert_num > 0:
                term = ops.where(expert_ids[:, k:k + 1] < self.expert_num, term, ops.zeros_like(term))
            y = y + term
        if x_active_mask is not None:
            y = ops.where(ops.expand_dims(x_active_mask, 1), y, ops.zeros_like(y))
        if self.shared_expert is not None:
            y = y + ops.cast(self.shared_expert(x), ms.float32)
        return ops.cast(y, x.dtype)
