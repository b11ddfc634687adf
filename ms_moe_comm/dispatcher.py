"""Dispatch and combine on one expert window, for use inside a model."""

from typing import NoReturn

from mindspore import Tensor, nn
from mindspore.common.dtype import Type

from ms_moe_comm import ops
from ms_moe_comm.arguments import MAX_INT32, check_type, checked_choice, checked_integer
from ms_moe_comm.window import ExpertWindow

PHASES = ("prefill", "decode")
QUANT_MODES = (0, 2)
REPLICA_POLICIES = ("spread", "rank", "token")  # by number, as the operators take them


Handle = tuple[Tensor, Tensor, Tensor, Tensor]  # physical expert ids, expand_idx, plan, control


def checked_handle(name: str, handle: Handle) -> Handle:
    """`handle`, the argument `name`, if it can be a handle that dispatch returned."""
    if not isinstance(handle, tuple):
        raise TypeError(f"For 'MoEDispatcher', '{name}' must be what dispatch returned last, a tuple of 4 tensors, but "
                        f"got {type(handle)}.")
    if len(handle) != 4:
        raise TypeError(f"For 'MoEDispatcher', '{name}' must be what dispatch returned last, a tuple of 4 tensors, but "
                        f"got one of {len(handle)}.")
    return handle


class MoEDispatcher(nn.Cell):
    """Sends tokens to their experts and reads the experts' outputs back, through `window`.

    Args:
        window (ExpertWindow): the group's window. Its tensors stay bound to this cell.
        phase (str): "prefill" for many tokens (bound by bytes), "decode" for few (bound by latency). It is chosen when
            the graph is built; cells of both phases may share one window in any order, and in one step some ranks may
            be in prefill and others in decode.
        quant_mode (int): 0 sends rows as they are; 2 quantises each token's row to int8 on the way (numbered as CANN's
            MoeDistributeDispatch does).
        zero_expert_num, copy_expert_num, const_expert_num (int): special experts, whose ids follow those of the
            (logical) experts in this order. They make no traffic, since combine computes them: a zero expert gives
            nothing, a copy expert the token, constant expert c a blend of the token and v[c].
        replica_policy (str): which replica of a logical expert a token goes to: "spread" (token + rank) mod replicas,
            "rank" rank * replicas // ranks, "token" token mod replicas.

    Raises:
        TypeError: an argument of another type than these.
        ValueError: another `phase`, `quant_mode` or `replica_policy`, or a negative number of experts.

    Run the experts on `expand_x` as returned, and let the last matmul write into this cell's `outputs`, which is
    ``window.outputs`` (:func:`moe_grouped_matmul` with ``out=``): then combine copies nothing. `combine` returns the
    complete sum over a token's experts: do not reduce it again over the group.

    Two overlapping micro-batches need two windows, with a dispatcher on each: dispatch A, dispatch B, then experts and
    combine of A, experts and combine of B; or A's next layer before B's combine. A graph keeps the order in which the
    calls are written; the order must be the same on all ranks. After a second dispatch on one window the combine of the
    first is an error.
    """

    rows: Tensor
    scales: Tensor
    outputs: Tensor
    control: Tensor
    zero_expert_num: int
    copy_expert_num: int
    const_expert_num: int

    def __init__(self, window: ExpertWindow, phase: str = "decode", quant_mode: int = 0, zero_expert_num: int = 0,
                 copy_expert_num: int = 0, const_expert_num: int = 0, replica_policy: str = "spread") -> None:
        super().__init__(auto_prefix=False)
        check_type("MoEDispatcher", "window", window, ExpertWindow, "what ExpertWindow.create returned")
        self.schedule = checked_choice("MoEDispatcher", "phase", phase, PHASES)  # `Cell.phase` is MindSpore's own
        self.quant_mode = checked_choice("MoEDispatcher", "quant_mode", quant_mode, QUANT_MODES)
        # Not `self.rows = ...`: checkpoints and broadcasts would find the window's memory, and save or overwrite it.
        for name, tensor in (("rows", window.quantised_rows if self.quant_mode else window.rows),
                             ("scales", window.scales), ("outputs", window.outputs), ("control", window.control)):
            object.__setattr__(self, name, tensor)
        self.local_expert_num = window.local_expert_num
        self.shared_expert_num = window.shared_expert_num
        self.max_tokens_per_rank = window.max_tokens_per_rank
        for name, given in (("zero_expert_num", zero_expert_num), ("copy_expert_num", copy_expert_num),
                            ("const_expert_num", const_expert_num)):
            value = checked_integer("MoEDispatcher", name, given, 0, MAX_INT32, "give the number of such experts")
            setattr(self, name, value)
        policy = checked_choice("MoEDispatcher", "replica_policy", replica_policy, REPLICA_POLICIES)
        self.replica_policy = REPLICA_POLICIES.index(policy)

    def __reduce_ex__(self, _: object) -> NoReturn:
        """Refuses copy.copy, copy.deepcopy and pickle, also for a cell that holds this one."""
        raise TypeError("A MoEDispatcher, and a cell that holds one, cannot be copied or pickled: its tensors are an "
                        "ExpertWindow's memory, and copies would be none. Make another cell on the window.")

    def dispatch(self, x: Tensor, expert_ids: Tensor, x_active_mask: Tensor | None = None,
                 scales: Tensor | None = None, logical_to_physical_map: Tensor | None = None,
                 logical_replica_count: Tensor | None = None, rank_mask: Tensor | None = None,
                 kept_handle: Handle | None = None) -> tuple[Tensor | tuple[Tensor, Tensor], Tensor, Handle]:
        """Places each token's row in the windows of its experts.

        Args:
            x (Tensor): [T, H], dtype of the window, T from 0 to ``max_tokens_per_rank``.
            expert_ids (Tensor): [T, K] int32 or int64; a negative id is not routed.
            x_active_mask (Tensor, optional): [T] or [T, K] bool; false is not routed.
            scales (Tensor, optional): [H] or [experts, H] float32, smooth factors of quantisation; a row per shared
                expert on ranks of its own, then one per routed (logical) expert. Only with quant_mode 2.
            logical_to_physical_map (Tensor, optional): [L, X] int32, the physical experts of each logical one, padded
                with -1. With it, expert_ids are logical. The same on all ranks; its values may change from step to
                step.
            logical_replica_count (Tensor, optional): [L] int32, how many replicas each logical expert has.
            rank_mask (Tensor, optional): [R] bool, the same on all ranks. A rank that is false gets and sends no rows
                from this dispatch on. It still calls this dispatch and its combine, but none after them, and it does
                not come back. Pairs for its experts are dropped and counted, unless a map has another replica. None: as
                in the dispatch before. Only for ranks that live; when one has died, use `ExpertWindow.resume`.
            kept_handle (tuple, optional): the handle of the dispatch before, which must have been combined and had the
                same T, ids, masks and map: the rows of `x` go to the same places without an exchange of counts. Only
                with phase "prefill", and on all ranks.

        Returns:
            tuple: `expand_x` [A, H] (the rows received, ordered by local expert, source rank, source token; rows past
            the total are undefined), or with quant_mode 2 the pair of int8 rows [A, H rounded up to 32] and their
            float32 scales [A]; `expert_token_nums` int64 counts, one per local expert; and a handle for
            :meth:`combine`.

        Raises:
            TypeError: dtypes other than these, or a `kept_handle` that is no handle.
            ValueError: shapes or ids out of range, or a `kept_handle` in phase "decode".
            RuntimeError: a rank did not answer in time; too small a capacity; an argument differs between ranks
                (named: `quant_mode`, map, `rank_mask`, whether there is a `kept_handle`); an invalid `rank_mask`; a
                `kept_handle` that is no longer valid.
        """
        kept_plan = None if kept_handle is None else checked_handle("kept_handle", kept_handle)[2]
        if self.schedule == "prefill":
            outputs = ops.moe_prefill_dispatch(
                x, expert_ids, self.rows, self.scales, self.control, self.local_expert_num, x_active_mask, scales,
                logical_to_physical_map, logical_replica_count, rank_mask, self.quant_mode, 1, self.zero_expert_num,
                self.copy_expert_num, self.const_expert_num, self.shared_expert_num, self.replica_policy, kept_plan)
        else:
            if kept_plan is not None:
                raise ValueError("For 'MoEDispatcher.dispatch', 'kept_handle' has no effect in phase 'decode', which "
                                 "keeps no plan. Pass None, or use phase 'prefill'.")
            outputs = ops.moe_decode_dispatch(
                x, expert_ids, self.rows, self.scales, self.control, self.local_expert_num, x_active_mask, scales,
                logical_to_physical_map, logical_replica_count, rank_mask, self.quant_mode, 1, self.zero_expert_num,
                self.copy_expert_num, self.const_expert_num, self.shared_expert_num, self.replica_policy)
        expand_x, dynamic_scales, expand_idx, expert_token_nums, plan, physical_expert_ids, control = outputs
        handle = (physical_expert_ids, expand_idx, plan, control)
        if self.quant_mode:
            return (expand_x, dynamic_scales), expert_token_nums, handle
        return expand_x, expert_token_nums, handle

    def combine(self, expert_outputs: Tensor, expert_scales: Tensor | None, handle: Handle,
                shared_expert_x: Tensor | None = None, residual_x: Tensor | None = None, ori_x: Tensor | None = None,
                const_expert_alpha_1: Tensor | None = None, const_expert_alpha_2: Tensor | None = None,
                const_expert_v: Tensor | None = None, out_dtype: Type | None = None) -> Tensor:
        """Sums each token's expert outputs, weighted, in fp32 and in k order.

        Args:
            expert_outputs (Tensor): [A, H] the experts' outputs in the order of `expand_x`; ``window.outputs`` as
                written by the last matmul is used in place, anything else is copied there once.
            expert_scales (Tensor): [T, K] float32 router weights, or None for a plain sum.
            handle (tuple): what :meth:`dispatch` returned.
            shared_expert_x (Tensor, optional): [T, H] added unweighted.
            residual_x (Tensor, optional): [T, H] added last, before the one rounding.
            ori_x (Tensor, optional): [T, H] the tokens as dispatched, for copy and constant experts.
            const_expert_alpha_1, const_expert_alpha_2 (Tensor, optional): for constant experts: [V], the coefficients
                of the token and of v; or [V, H], then the softmax of their dot products with the token.
            const_expert_v (Tensor, optional): [V, H], for constant experts.
            out_dtype (mindspore.dtype, optional): the result's dtype: float32, float16 or bfloat16. Default: the dtype
                of `expert_outputs`.

        Returns:
            Tensor, [T, H], dtype `out_dtype`. A token without experts gets zeros plus what is added.

        Raises:
            TypeError: another `out_dtype`, or a `handle` that is no handle.
            ValueError: a tensor of the special experts that is missing or has no effect.
            RuntimeError: a rank did not answer in time; the handle is of an earlier dispatch, or was combined before (a
                dispatch has one combine).
        """
        expert_ids, expand_idx, plan, control = checked_handle("handle", handle)
        code = ops.dtype_code("MoEDispatcher.combine", "out_dtype", out_dtype, ops.SAME_DTYPE)
        if self.schedule == "prefill":
            return ops.moe_prefill_combine(
                expert_outputs, expert_ids, expand_idx, plan, control, expert_scales, shared_expert_x, residual_x,
                ori_x, const_expert_alpha_1, const_expert_alpha_2, const_expert_v, self.zero_expert_num,
                self.copy_expert_num, self.const_expert_num, code)[0]
        return ops.moe_decode_combine(
            expert_outputs, expert_ids, expand_idx, plan, control, expert_scales, shared_expert_x, residual_x, ori_x,
            const_expert_alpha_1, const_expert_alpha_2, const_expert_v, self.zero_expert_num, self.copy_expert_num,
            self.const_expert_num, code)[0]
