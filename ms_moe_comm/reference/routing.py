"""Where every row of a group goes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOT_ROUTED, DROPPED, SPECIAL_EXPERT = -1, -2, -3


@dataclass(frozen=True)
class Group:
    """The experts of a group, and where they are.

    Attributes:
        world_size (int): R.
        moe_expert_num (int): E, physical experts, a multiple of R - Q.
        shared_expert_num, shared_expert_rank_num (int): S and Q. The ranks below Q hold one shared expert each.
        special_expert_num (int): special experts, whose ids follow those of the (logical) experts.
        logical_to_physical_map (numpy.ndarray, optional): [L, X]; without it ids are physical.
        logical_replica_count (numpy.ndarray, optional): [L].
        replica_policy (str): "spread", "rank" or "token".
        live (tuple of R bools, optional): the ranks that take part.
    """

    world_size: int
    moe_expert_num: int
    shared_expert_num: int = 0
    shared_expert_rank_num: int = 0
    special_expert_num: int = 0
    logical_to_physical_map: NDArray | None = None
    logical_replica_count: NDArray | None = None
    replica_policy: str = "spread"
    live: tuple[bool, ...] | None = None

    @property
    def local_expert_num(self) -> int:
        """Experts of a rank that holds routed ones."""
        return self.moe_expert_num // (self.world_size - self.shared_expert_rank_num)

    def owner(self, expert: int) -> int:
        """The rank of a physical expert."""
        return self.shared_expert_rank_num + int(expert) // self.local_expert_num

    def shared_owner(self, index: int, rank: int) -> int:
        """The rank to which `rank` sends its tokens for shared expert `index`."""
        instances = self.shared_expert_rank_num // self.shared_expert_num
        return rank % instances + index * instances

    def physical(self, expert: int, token: int, rank: int) -> int:
        """The physical expert that an id means for `token` of `rank`; special experts from E on."""
        if expert < 0:
            return NOT_ROUTED
        if self.logical_to_physical_map is None or self.logical_replica_count is None:
            return int(expert)
        logical = len(self.logical_replica_count)
        if expert >= logical:
            return self.moe_expert_num + int(expert) - logical
        copies = int(self.logical_replica_count[expert])
        replica = {"spread": (token + rank) % copies, "rank": rank * copies // self.world_size,
                   "token": token % copies}[self.replica_policy]
        replicas = [int(self.logical_to_physical_map[expert, (replica + i) % copies]) for i in range(copies)]
        return next((physical for physical in replicas if self.is_live(self.owner(physical))), replicas[0])

    def is_live(self, rank: int) -> bool:
        """Whether `rank` takes part."""
        return self.live is None or bool(self.live[rank])


@dataclass(frozen=True)
class Routed:
    """Lists with one entry per rank.

    Attributes:
        rows: per window row (source rank, token, column); columns from K on are the shared experts.
        expand_idx: [T, K + S] int32.
        physical_expert_ids: [T, K] int32.
        expert_token_nums: [local experts] int64.
        dropped (numpy.ndarray): [R sources, R destinations], not a list.
        lost: how many pairs have no expert because its rank takes no part.
    """

    rows: list[list[tuple[int, int, int]]]
    expand_idx: list[NDArray[np.int32]]
    physical_expert_ids: list[NDArray[np.int32]]
    expert_token_nums: list[NDArray[np.int64]]
    dropped: NDArray[np.int64]
    lost: list[int]


def route(group: Group, expert_ids: list[NDArray], x_active_mask: Sequence[NDArray | None] | None = None,
          capacity: int | None = None) -> Routed:
    """Rows in the order of (local expert, source rank, source token and column).

    Args:
        group (Group): the experts.
        expert_ids (list[numpy.ndarray]): per rank [T, K].
        x_active_mask (list, optional): per rank [T] or [T, K] bool, or None.
        capacity (int, optional): rows of a window, beyond which rows are dropped: those of the last source first, and
            of one source those of its last expert first.

    Returns:
        Routed.
    """
    masks = x_active_mask or [None] * group.world_size
    physical, pairs = [], []  # pairs: (owner, place among the owner's experts, source, token, column)
    for rank, (ids, mask) in enumerate(zip(expert_ids, masks, strict=True)):
        active = np.ones(ids.shape, bool)
        if mask is not None:
            active = np.broadcast_to(mask if mask.ndim == 2 else mask[:, None], ids.shape)
        of_rank = np.full(ids.shape, NOT_ROUTED, np.int32)
        for token, k in np.argwhere(active):
            expert = of_rank[token, k] = group.physical(ids[token, k], token, rank)
            if 0 <= expert < group.moe_expert_num:
                pairs.append((group.owner(expert), expert % group.local_expert_num, rank, token, k))
        for token in np.flatnonzero(active.any(axis=1)):
            for j in range(group.shared_expert_num):
                pairs.append((group.shared_owner(j, rank), 0, rank, token, ids.shape[1] + j))
        physical.append(of_rank)
    lost_pairs = [pair for pair in pairs if not (group.is_live(pair[0]) and group.is_live(pair[2]))]
    pairs = [pair for pair in pairs if group.is_live(pair[0]) and group.is_live(pair[2])]
    for _, _, rank, token, column in lost_pairs:
        if column < physical[rank].shape[1]:
            physical[rank][token, column] = NOT_ROUTED
    dropped = np.zeros((group.world_size, group.world_size), np.int64)
    if capacity is not None:
        for owner in range(group.world_size):
            need = sum(pair[0] == owner for pair in pairs)
            # drop rows from the end of the order (source, expert, token, column)
            last = sorted((pair for pair in pairs if pair[0] == owner), key=lambda p: (p[2], p[1], p[3], p[4]))
            for pair in last[min(need, capacity):]:
                dropped[pair[2], owner] += 1
            gone = set(last[min(need, capacity):])
            pairs = [pair if pair not in gone else (DROPPED, *pair[1:]) for pair in pairs]
    expand_idx = [np.full((len(ids), ids.shape[1] + group.shared_expert_num), NOT_ROUTED, np.int32)
                  for ids in expert_ids]
    for index, ids in zip(expand_idx, physical, strict=True):
        index[:, :ids.shape[1]][ids >= group.moe_expert_num] = SPECIAL_EXPERT
    for _, _, rank, token, column in lost_pairs:
        expand_idx[rank][token, column] = DROPPED
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(group.world_size)]
    nums = [np.zeros(1 if rank < group.shared_expert_rank_num else group.local_expert_num, np.int64)
            for rank in range(group.world_size)]
    for owner, place, source, token, column in sorted(pairs):
        if owner == DROPPED:
            expand_idx[source][token, column] = DROPPED
            continue
        expand_idx[source][token, column] = len(rows[owner])
        rows[owner].append((source, int(token), int(column)))
        nums[owner][place] += 1
    lost = [sum(pair[2] == rank for pair in lost_pairs) for rank in range(group.world_size)]
    return Routed(rows, expand_idx, physical, nums, dropped, lost)


def dispatch(x: list[NDArray], expert_ids: list[NDArray], moe_expert_num: int,
             x_active_mask: Sequence[NDArray | None] | None = None,
             ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int32]], list[NDArray[np.int64]]]:
    """The plain case of :func:`route`, with the rows themselves.

    Args:
        x (list[numpy.ndarray]): per rank [T, H].
        expert_ids (list[numpy.ndarray]): per rank [T, K].
        moe_expert_num (int): E, a multiple of the number of ranks R.
        x_active_mask (list, optional): per rank [T] or [T, K] bool, or None.

    Returns:
        tuple of three lists, one entry per rank: `expand_x` [rows, H] of its window, `expand_idx` [T, K] int32, and
        `expert_token_nums` [E/R] int64.
    """
    routed = route(Group(len(x), moe_expert_num), expert_ids, x_active_mask)
    hidden = x[0].shape[1]
    expand_x = [np.array([x[source][token] for source, token, _ in rows], np.float32).reshape(len(rows), hidden)
                for rows in routed.rows]
    return expand_x, routed.expand_idx, routed.expert_token_nums
