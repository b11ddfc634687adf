"""Dispatch and combine of a whole group in plain numpy: written for reading, and what the kernels are tested against.

All functions take one entry per rank in their lists. Values are float32 arrays that hold exact values of the rows' dtype;
:func:`round_to` makes such values.
"""

import numpy as np

NOT_ROUTED = -1
SPECIAL_EXPERT = -3


def round_to(values, dtype):
    """Rounds to "float32", "float16" or "bfloat16", half to even; the result is float32 again.

    Args:
        values (numpy.ndarray): float32, any shape.
        dtype (str): one of the three names.

    Returns:
        numpy.ndarray, float32.

    Raises:
        ValueError: another `dtype`.
    """
    values = np.asarray(values, np.float32)
    if dtype == "float32":
        return values
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if dtype == "bfloat16":
        bits = values.view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return np.where(np.isnan(values), values, rounded.view(np.float32))
    raise ValueError(f"dtype must be float32, float16 or bfloat16, but got {dtype!r}.")


def routed_experts(expert_ids, x_active_mask=None):
    """The ids that count: -1 where an id is negative or its mask false.

    Args:
        expert_ids (numpy.ndarray): [T, K] integers.
        x_active_mask (numpy.ndarray, optional): [T] or [T, K] bool.

    Returns:
        numpy.ndarray, [T, K] int64.
    """
    experts = np.where(expert_ids < 0, NOT_ROUTED, expert_ids).astype(np.int64)
    if x_active_mask is not None:
        mask = x_active_mask if x_active_mask.ndim == 2 else x_active_mask[:, None]
        experts = np.where(mask, experts, NOT_ROUTED)
    return experts


def dispatch(x, expert_ids, moe_expert_num, x_active_mask=None):
    """Where every row of the group goes: ordered by expert, then source rank, then the source's (token, k).

    Args:
        x (list[numpy.ndarray]): per rank [T, H].
        expert_ids (list[numpy.ndarray]): per rank [T, K].
        moe_expert_num (int): E, a multiple of the number of ranks R.
        x_active_mask (list, optional): per rank [T] or [T, K] bool, or None.

    Returns:
        tuple of three lists, one entry per rank: `expand_x` [rows, H] of its window, `expand_idx` [T, K] int32, and
        `expert_token_nums` [E/R] int64.
    """
    world_size = len(x)
    local = moe_expert_num // world_size
    masks = x_active_mask or [None] * world_size
    experts = [routed_experts(ids, mask) for ids, mask in zip(expert_ids, masks)]
    expand_idx = [np.full(ids.shape, NOT_ROUTED, np.int32) for ids in expert_ids]
    expand_x, expert_token_nums = [], []
    for owner in range(world_size):
        rows, nums = [], []
        for expert in range(owner * local, (owner + 1) * local):
            begin = len(rows)
            for source in range(world_size):
                for token, k in np.argwhere(experts[source] == expert):
                    expand_idx[source][token, k] = len(rows)
                    rows.append(x[source][token])
            nums.append(len(rows) - begin)
        hidden = x[owner].shape[1]
        expand_x.append(np.stack(rows) if rows else np.zeros((0, hidden), np.float32))
        expert_token_nums.append(np.array(nums, np.int64))
    return expand_x, expand_idx, expert_token_nums


def constant_coefficients(x, alpha_1, alpha_2):
    """The coefficients of one constant expert for one token.

    Args:
        x (numpy.ndarray): [H], the token.
        alpha_1, alpha_2 (numpy.ndarray): scalars, which are the coefficients, or [H].

    Returns:
        tuple of two float32, a1 and a2. With alphas [H], the softmax of the dot products in float64, rounded: the
        kernels' float32 dot products differ from it.
    """
    if np.ndim(alpha_1) == 0:
        return np.float32(alpha_1), np.float32(alpha_2)
    dots = np.array([np.dot(x.astype(np.float64), alpha.astype(np.float64)) for alpha in (alpha_1, alpha_2)])
    weights = np.exp(dots - dots.max())
    return tuple((weights / weights.sum()).astype(np.float32))


def special_term(special, x, alpha_1, alpha_2, v, zero_expert_num, copy_expert_num):
    """What a special expert gives for the token `x`, unweighted.

    Args:
        special (int): its id, counted from E.
        x (numpy.ndarray): [H].
        alpha_1, alpha_2 (numpy.ndarray): [V] or [V, H], or None.
        v (numpy.ndarray): [V, H], or None.
        zero_expert_num, copy_expert_num (int): Z and C.

    Returns:
        numpy.ndarray, [H] float32, or None for a zero expert.
    """
    if special < zero_expert_num:
        return None
    if special < zero_expert_num + copy_expert_num:
        return x
    constant = special - zero_expert_num - copy_expert_num
    a1, a2 = constant_coefficients(x, alpha_1[constant], alpha_2[constant])
    return a1 * x + a2 * v[constant]


def combine(outputs, expert_ids, expert_scales, expand_idx, moe_expert_num, dtype, shared_expert_x=None,
            residual_x=None, ori_x=None, const_expert_alpha_1=None, const_expert_alpha_2=None, const_expert_v=None,
            zero_expert_num=0, copy_expert_num=0):
    """The weighted sum of one rank's expert outputs, in fp32 and in k order, rounded once.

    Args:
        outputs (list[numpy.ndarray]): per rank [rows, H], the expert outputs in each window.
        expert_ids, expand_idx (numpy.ndarray): [T, K] of this rank.
        expert_scales (numpy.ndarray): [T, K] float32, or None for a plain sum.
        moe_expert_num (int): E.
        dtype (str): of the result, see :func:`round_to`.
        shared_expert_x (numpy.ndarray, optional): [T, H], added unweighted.
        residual_x (numpy.ndarray, optional): [T, H], added last.
        ori_x, const_expert_alpha_1, const_expert_alpha_2, const_expert_v (numpy.ndarray, optional): [T, H], [V] or
            [V, H] twice, and [V, H], of the special experts: ids from E on, with expand_idx -3.
        zero_expert_num, copy_expert_num (int): Z and C. The ids behind theirs are constant experts.

    Returns:
        numpy.ndarray, [T, H] float32.
    """
    local = moe_expert_num // len(outputs)
    token_num, top_k = expert_ids.shape
    y = np.zeros((token_num, outputs[0].shape[1]), np.float32)
    for token in range(token_num):
        for k in range(top_k):
            row, expert = expand_idx[token, k], expert_ids[token, k]
            term = None
            if row >= 0:
                term = outputs[expert // local][row]
            elif row == SPECIAL_EXPERT:
                term = special_term(expert - moe_expert_num, None if ori_x is None else ori_x[token],
                                    const_expert_alpha_1, const_expert_alpha_2, const_expert_v, zero_expert_num,
                                    copy_expert_num)
            if term is None:
                continue
            if expert_scales is not None:
                term = expert_scales[token, k] * term
            y[token] = y[token] + term
        for addend in (shared_expert_x, residual_x):
            if addend is not None:
                y[token] = y[token] + addend[token]
    return round_to(y, dtype)


def quantise_rows(x, smooth=None):
    """Each row as int8 with a scale of its own: the largest magnitude m becomes 127.

    Every operation is rounded to fp32, the quotient to an integer half to even. A row with a NaN or an infinity gives
    zeros and the scale NaN; a row with m below 2^-119, whose scale would be denormal, zeros and the scale 0.

    Args:
        x (numpy.ndarray): [M, H] float32.
        smooth (numpy.ndarray, optional): [H] or [M, H] float32 factors.

    Returns:
        tuple of numpy.ndarray: [M, H] int8, and [M] float32: the factors that undo it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = x if smooth is None else x * smooth
        largest = np.abs(values).max(axis=1)
        finite = np.isfinite(largest)
        regular = finite & (largest >= np.float32(2.0**-119))
        factor = np.float32(127) / np.where(regular, largest, np.float32(1))
        steps = np.where(regular[:, None], np.rint(values * factor[:, None]), 0)
        scale = np.where(regular, largest / np.float32(127), np.where(finite, np.float32(0), np.float32(np.nan)))
    return steps.astype(np.int8), scale


def grouped_matmul_int8(x, weight, groups, scale, per_token_scale, dtype, bias=None):
    """The W8A8 matmul of :func:`ms_moe_comm.moe_grouped_matmul_quant`, group by group.

    Args:
        x (numpy.ndarray): [M, K] int8, rows sorted by group.
        weight (numpy.ndarray): [E, K, N] int8.
        groups (list[int]): [E] rows of each group.
        scale (numpy.ndarray): [E, N] float32 (exact values of its dtype).
        per_token_scale (numpy.ndarray): [M] float32.
        dtype (str): of the result, see :func:`round_to`.
        bias (numpy.ndarray, optional): [E, N] int32.

    Returns:
        numpy.ndarray, [sum of `groups`, N] float32.
    """
    results, begin = [], 0
    for group, rows in enumerate(groups):
        end = begin + rows
        total = x[begin:end].astype(np.int32) @ weight[group].astype(np.int32)
        if bias is not None:
            total = total + bias[group]
        results.append(total.astype(np.float32) * scale[group] * per_token_scale[begin:end, None])
        begin = end
    return round_to(np.concatenate(results), dtype)
