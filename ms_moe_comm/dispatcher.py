"""Dispatch and combine on one expert window, for use inside a model."""

from mindspore import nn

from ms_moe_comm import ops

PHASES = ("prefill", "decode")


class MoEDispatcher(nn.Cell):
    """Sends tokens to their experts and reads the experts' outputs back, through `window`.

    Args:
        window (ExpertWindow): the group's window. Its tensors stay bound to this cell.
        phase (str): "prefill" for many tokens (bound by bytes), "decode" for few (bound by latency). It is chosen when
            the graph is built; cells of both phases may share one window in any order.

    Raises:
        ValueError: another `phase`.

    Inside a graph, run the experts on `expand_x` as returned, and let the last matmul write into ``window.outputs``
    (:func:`moe_grouped_matmul` with ``out=``): then combine copies nothing. `combine` returns the complete sum over a
    token's experts: do not reduce it again over the group.
    """

    def __init__(self, window, phase="decode"):
        super().__init__(auto_prefix=False)
        if phase not in PHASES:
            raise ValueError(f"For 'MoEDispatcher', 'phase' must be one of {PHASES}, but got {phase!r}.")
        self.schedule = phase  # `Cell.phase` is MindSpore's own
        self.rows = window.rows
        self.outputs = window.outputs
        self.control = window.control
        self.local_expert_num = window.local_expert_num
        self.max_tokens_per_rank = window.max_tokens_per_rank

    def dispatch(self, x, expert_ids, x_active_mask=None):
        """Places each token's row in the windows of its experts.

        Args:
            x (Tensor): [T, H], dtype of the window, T from 0 to ``max_tokens_per_rank``.
            expert_ids (Tensor): [T, K] int32 or int64; a negative id is not routed.
            x_active_mask (Tensor, optional): [T] or [T, K] bool; false is not routed.

        Returns:
            tuple: `expand_x` [A, H] (the rows received, ordered by local expert, source rank, source token; rows past
            the total are undefined), `expert_token_nums` [E/R] int64 counts, and a handle for :meth:`combine`.

        Raises:
            ValueError: shapes or ids out of range. RuntimeError: a rank that did not answer in time, or capacity.
        """
        if self.schedule == "prefill":
            expand_x, expand_idx, expert_token_nums, plan, control = ops.moe_prefill_dispatch(
                x, expert_ids, self.rows, self.control, self.local_expert_num, x_active_mask)
            return expand_x, expert_token_nums, (expert_ids, expand_idx, plan, control)
        expand_x, expand_idx, expert_token_nums, plan, control = ops.moe_decode_dispatch(
            x, expert_ids, self.rows, self.control, self.local_expert_num, x_active_mask)
        return expand_x, expert_token_nums, (expert_ids, expand_idx, plan, control)

    def combine(self, expert_outputs, expert_scales, handle, shared_expert_x=None, residual_x=None, out_dtype=None):
        """Sums each token's expert outputs, weighted, in fp32 and in k order.

        Args:
            expert_outputs (Tensor): [A, H] the experts' outputs in the order of `expand_x`; ``window.outputs`` as
                written by the last matmul is used in place, anything else is copied there once.
            expert_scales (Tensor): [T, K] float32 router weights, or None for a plain sum.
            handle (tuple): what :meth:`dispatch` returned.
            shared_expert_x (Tensor, optional): [T, H] added unweighted.
            residual_x (Tensor, optional): [T, H] added last, before the one rounding.
            out_dtype (mindspore.dtype, optional): of the result: float32, float16 or bfloat16. Default: that of
                `expert_outputs`.

        Returns:
            Tensor, [T, H], dtype `out_dtype`. Where a token has no expert, zero and what is added.

        Raises:
            TypeError: another `out_dtype`.
            RuntimeError: a rank that did not answer in time, a handle of an earlier dispatch, or one that was combined
                before: a dispatch has one combine.
        """
        expert_ids, expand_idx, plan, control = handle
        code = ops.dtype_code("MoEDispatcher.combine", "out_dtype", out_dtype, ops.SAME_DTYPE)
        if self.schedule == "prefill":
            return ops.moe_prefill_combine(expert_outputs, expert_ids, expand_idx, plan, control, expert_scales,
                                           shared_expert_x, residual_x, code)[0]
        return ops.moe_decode_combine(expert_outputs, expert_ids, expand_idx, plan, control, expert_scales,
                                      shared_expert_x, residual_x, code)[0]
