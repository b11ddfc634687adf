"""The numpy reference against another formulation: dense one-hot matrices, as GShard writes dispatch and combine."""

import numpy as np
import pytest

from ms_moe_comm import reference


def draw(seed):
    """Ids and masks of a group, all ids physical."""
    rng = np.random.default_rng(seed)
    world_size, local, top_k = int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(1, 5))
    experts = world_size * local
    tokens = rng.integers(0, 7, world_size)
    ids = [rng.integers(-1, experts, (t, top_k)) for t in tokens]
    masks = [rng.random((t, top_k)) < 0.8 for t in tokens]
    return rng, reference.Group(world_size, experts), ids, masks


def one_hot(ids, masks, experts):
    """0 and 1, [pairs of all ranks in the order (rank, token, k), E]."""
    flat = np.concatenate([np.where(mask, i, -1).reshape(-1) for i, mask in zip(ids, masks, strict=True)])
    return (flat[:, None] == np.arange(experts)[None, :]).astype(np.int64)


@pytest.mark.parametrize("seed", range(50))
def test_rows_and_counts(seed):
    """A pair's row is its expert's first row on the rank, plus the number of earlier pairs for this expert."""
    _, group, ids, masks = draw(seed)
    hot = one_hot(ids, masks, group.moe_expert_num)
    counts = hot.sum(axis=0)
    begins = np.concatenate([np.cumsum(c) - c for c in counts.reshape(group.world_size, -1)])
    rows = ((np.cumsum(hot, axis=0) - hot + begins) * hot).sum(axis=1) - (1 - hot.sum(axis=1))
    routed = reference.route(group, ids, masks)
    np.testing.assert_array_equal(np.concatenate([i.reshape(-1) for i in routed.expand_idx]), rows)
    np.testing.assert_array_equal(np.concatenate(routed.expert_token_nums), counts)


@pytest.mark.parametrize("seed", range(50))
def test_drops(seed):
    """The first `capacity` rows in the order (source, expert, pair) are kept."""
    rng, group, ids, masks = draw(seed)
    capacity = int(rng.integers(1, 6))
    routed = reference.route(group, ids, masks, capacity)
    local = group.local_expert_num
    for owner in range(group.world_size):
        own = slice(owner * local, (owner + 1) * local)
        hot = [one_hot([i], [m], group.moe_expert_num)[:, own] for i, m in zip(ids, masks, strict=True)]
        before = 0
        for source, index in enumerate(routed.expand_idx):
            # a rank's pairs, expert after expert
            order = (np.cumsum(hot[source], axis=0) - hot[source] + np.cumsum(hot[source].sum(0)) - hot[source].sum(0))
            place = (hot[source] * (before + order + 1)).sum(axis=1)  # counted from 1; 0: not for this owner
            before += int(hot[source].sum())
            dropped = index.reshape(-1)[place > 0] == reference.DROPPED
            np.testing.assert_array_equal(dropped, place[place > 0] > capacity)
        assert len(routed.rows[owner]) == min(before, capacity)
        assert routed.dropped[:, owner].sum() == max(before - capacity, 0)


@pytest.mark.parametrize("seed", range(50))
def test_a_layer_of_linear_experts(seed):
    """If experts multiply by a matrix, dispatch, experts and combine are one dense sum over all experts."""
    rng, group, ids, masks = draw(seed)
    hidden = 8
    weight = rng.integers(-3, 4, (group.moe_expert_num, hidden, hidden)).astype(np.float32)  # exact in float32
    x = [rng.integers(-5, 6, (len(i), hidden)).astype(np.float32) for i in ids]
    scales = [rng.integers(0, 4, i.shape).astype(np.float32) for i in ids]
    expand_x, expand_idx, nums = reference.dispatch(x, ids, group.moe_expert_num, masks)
    outputs = []
    for rank, rows in enumerate(expand_x):
        first = rank * group.local_expert_num
        of_row = np.repeat(np.arange(first, first + group.local_expert_num), nums[rank])
        outputs.append(np.einsum("mh,mhn->mn", rows, weight[of_row]))
    for rank in range(group.world_size):
        hot = one_hot([ids[rank]], [masks[rank]], group.moe_expert_num).reshape(*ids[rank].shape, group.moe_expert_num)
        dense = np.einsum("tk,tke,th,ehn->tn", scales[rank], hot, x[rank], weight)
        y = reference.combine(outputs, np.where(masks[rank], ids[rank], -1), scales[rank], expand_idx[rank],
                              group.moe_expert_num, "float32")
        np.testing.assert_array_equal(y, dense)


def test_replicas_and_special_experts():
    """Worked out by hand: logical 0 has the replicas 3 and 1, logical 1 has 0; physical 2 is idle; then one special."""
    table, counts = np.array([[3, 1], [0, -1]], np.int32), np.array([2, 1], np.int32)
    for policy, expected in (("spread", [[3, 0], [1, 4], [3, -1]]), ("token", [[3, 0], [1, 4], [3, -1]]),
                             ("rank", [[3, 0], [3, 4], [3, -1]])):
        group = reference.Group(1, 4, special_expert_num=1, logical_to_physical_map=table, logical_replica_count=counts,
                                replica_policy=policy)
        routed = reference.route(group, [np.array([[0, 1], [0, 2], [0, -5]])])
        np.testing.assert_array_equal(routed.physical_expert_ids[0], expected)
        np.testing.assert_array_equal(routed.expand_idx[0] == reference.SPECIAL_EXPERT, [[0, 0], [0, 1], [0, 0]])
    assert [reference.Group(4, 4, replica_policy="rank", logical_to_physical_map=table,
                            logical_replica_count=counts).physical(0, 0, r) for r in range(4)] == [3, 3, 1, 1]


def test_shared_experts_on_ranks_of_their_own():
    """With two shared experts on four of six ranks every active token goes to one instance of each."""
    group = reference.Group(6, 4, shared_expert_num=2, shared_expert_rank_num=4)
    ids = [np.full((2, 1), -1) for _ in range(6)]
    masks = [np.array([True, rank != 3]) for rank in range(6)]
    routed = reference.route(group, ids, masks)
    assert [[source for source, _, _ in rows] for rows in routed.rows] == [
        [0, 0, 2, 2, 4, 4], [1, 1, 3, 5, 5], [0, 0, 2, 2, 4, 4], [1, 1, 3, 5, 5], [], []]
    assert [len(nums) for nums in routed.expert_token_nums] == [1, 1, 1, 1, 2, 2]
