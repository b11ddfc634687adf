"""What combine returns."""

import numpy as np
from numpy.typing import NDArray

from ms_moe_comm.reference.rounding import round_to
from ms_moe_comm.reference.routing import SPECIAL_EXPERT, Group


def constant_coefficients(x: NDArray[np.float32], alpha_1: NDArray[np.float32],
                          alpha_2: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """The coefficients of one constant expert for one token.

    Args:
        x (numpy.ndarray): [H], the token.
        alpha_1, alpha_2 (numpy.ndarray): scalars, which are the coefficients, or [H].

    Returns:
        tuple of two float32, a1 and a2. With alphas [H] they are the rounded softmax of dot products in float64, so the
        kernels' float32 dot products give slightly other values.
    """
    if np.ndim(alpha_1) == 0:
        return np.float32(alpha_1), np.float32(alpha_2)
    dots = np.array([np.dot(x.astype(np.float64), alpha.astype(np.float64)) for alpha in (alpha_1, alpha_2)])
    weights = np.exp(dots - dots.max())
    a1, a2 = (weights / weights.sum()).astype(np.float32)
    return a1, a2


def special_term(special: int, x: NDArray | None, alpha_1: NDArray | None, alpha_2: NDArray | None,
                 v: NDArray | None, zero_expert_num: int, copy_expert_num: int) -> NDArray[np.float32] | None:
    """What a special expert gives for the token `x`, unweighted.

    Args:
        special (int): its id, counted from E.
        x (numpy.ndarray): [H], or None for a zero expert.
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
    assert x is not None and alpha_1 is not None and alpha_2 is not None and v is not None
    constant = special - zero_expert_num - copy_expert_num
    a1, a2 = constant_coefficients(x, alpha_1[constant], alpha_2[constant])
    return a1 * x + a2 * v[constant]


def combine(outputs: list[NDArray], expert_ids: NDArray, expert_scales: NDArray | None, expand_idx: NDArray,
            moe_expert_num: int, dtype: str, shared_expert_x: NDArray | None = None, residual_x: NDArray | None = None,
            ori_x: NDArray | None = None, const_expert_alpha_1: NDArray | None = None,
            const_expert_alpha_2: NDArray | None = None, const_expert_v: NDArray | None = None,
            zero_expert_num: int = 0, copy_expert_num: int = 0, group: Group | None = None,
            rank: int = 0) -> NDArray[np.float32]:
    """The weighted sum of one rank's expert outputs, in fp32 and in k order, rounded once.

    Args:
        outputs (list[numpy.ndarray]): per rank [rows, H], the expert outputs in each window.
        expert_ids (numpy.ndarray): [T, K] physical ids of this rank.
        expand_idx (numpy.ndarray): [T, K], or [T, K + S] with shared experts on ranks of their own.
        expert_scales (numpy.ndarray): [T, K] float32, or None for a plain sum.
        moe_expert_num (int): E.
        dtype (str): of the result, see :func:`round_to`.
        shared_expert_x (numpy.ndarray, optional): [T, H], added unweighted.
        residual_x (numpy.ndarray, optional): [T, H], added last.
        ori_x, const_expert_alpha_1, const_expert_alpha_2, const_expert_v (numpy.ndarray, optional): [T, H], [V] or
            [V, H] twice, and [V, H], of the special experts: ids from E on, with expand_idx -3.
        zero_expert_num, copy_expert_num (int): Z and C. The ids behind theirs are constant experts.
        group (Group, optional): where the experts are, if some ranks hold shared experts.
        rank (int): this rank, needed with `group`.

    Returns:
        numpy.ndarray, [T, H] float32.
    """
    group = group or Group(len(outputs), moe_expert_num)
    token_num, top_k = expert_ids.shape
    y = np.zeros((token_num, outputs[0].shape[1]), np.float32)
    for token in range(token_num):
        for k in range(top_k):
            row, expert = expand_idx[token, k], expert_ids[token, k]
            term = None
            if row >= 0:
                term = outputs[group.owner(expert)][row]
            elif row == SPECIAL_EXPERT:
                term = special_term(expert - moe_expert_num, None if ori_x is None else ori_x[token],
                                    const_expert_alpha_1, const_expert_alpha_2, const_expert_v, zero_expert_num,
                                    copy_expert_num)
            if term is None:
                continue
            if expert_scales is not None:
                term = expert_scales[token, k] * term
            y[token] = y[token] + term
        for j in range(group.shared_expert_num):
            row = expand_idx[token, top_k + j]
            if row >= 0:
                y[token] = y[token] + outputs[group.shared_owner(j, rank)][row]
        for addend in (shared_expert_x, residual_x):
            if addend is not None:
                y[token] = y[token] + addend[token]
    return round_to(y, dtype)
