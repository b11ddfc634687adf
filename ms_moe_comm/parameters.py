"""What an expert window is made for: its parameters, their limits, and the agreement of the ranks on them."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from mindspore.common.dtype import Type
from numpy.typing import NDArray

from ms_moe_comm import _lib
from ms_moe_comm.arguments import (
    MAX_INT32,
    check_dtype,
    check_type,
    checked_choice,
    checked_integer,
    checked_seconds,
)
from ms_moe_comm.dtypes import ROW_DTYPES, bytes_of, code_of
from ms_moe_comm.group import RankGroup, join_ranks
from ms_moe_comm.providers.choice import default_block_dim

_MAX_ROWS = MAX_INT32  # expand_idx is int32
OVERFLOWS = ("error", "drop")
_MAX_BYTES = 2**62  # offsets are 64-bit; only a typing error asks for so much


class WindowPart(NamedTuple):
    """Where a part of a window lies, in bytes: piece i at ``offset + i * pitch``."""

    offset: int
    bytes: int
    pitch: int
    kind: str  # "words", "flags", "table" or "rows"


@dataclass(frozen=True)
class WindowParameters:
    """Parameters of an expert window, checked.

    Attributes:
        ep_world_size (int): R, ranks of the group.
        moe_expert_num (int): E, routed experts of the group, 1 to 65536; a multiple of R - Q.
        hidden_size (int): H, elements of a row; a row is a multiple of 32 bytes.
        top_k (int): K, experts per token, 1 to 16.
        max_tokens_per_rank (int): the most tokens that a rank gives to one dispatch, at least 1.
        dtype (mindspore.dtype): of the rows: float32, float16 or bfloat16.
        capacity (int): A, rows of each rank's window. None: R * max_tokens_per_rank * min(E / (R - Q), K), which no
            routing with distinct experts per token exceeds (CANN asks for the same, aclnnMoeDistributeDispatch, shape
            of A), and never less than a shared expert's rank can get, max_tokens_per_rank * ceil(R * S / Q).
        timeout (float): seconds that a kernel waits for its peers.
        block_dim (int): the most cores that a kernel on this window uses, 1 to 64. None: 1 on CPU, on an NPU all vector
            cores.
        memory (str): name of the provider of the window's memory (see providers/choice.py).
        overflow (str): "error" or "drop".
        balanced_prefill (bool): ranks with few rows to send in a prefill move rows of those with many.
        keep_stats (bool): whether the operators add up times and bytes.
        shared_expert_num (int): S, shared experts on ranks of their own, 0 to 4.
        shared_expert_rank_num (int): Q, those ranks; a multiple of S, less than R.

    Raises:
        TypeError, ValueError: a parameter of the wrong type or outside its limits. The text says the value, the limit
            and what to do.
    """

    ep_world_size: int
    moe_expert_num: int
    hidden_size: int
    top_k: int
    max_tokens_per_rank: int
    dtype: Type
    capacity: Any = None  # an int once it is checked, like block_dim
    timeout: float = 30.0
    block_dim: Any = None
    memory: str = "shm"
    overflow: str = "error"
    shared_expert_num: int = 0
    shared_expert_rank_num: int = 0
    keep_stats: bool = False
    balanced_prefill: bool = False

    def __post_init__(self) -> None:
        limits = _lib.limits()
        self._check_integer("ep_world_size", 1, limits["max_ranks"], "use a group of such a size")
        self._check_integer("moe_expert_num", 1, limits["max_experts"],
                            "give the routed experts, of which no model is known to need more")
        self._check_integer("hidden_size", 1, _MAX_ROWS, "give the number of elements of a row")
        self._check_integer("top_k", 1, limits["max_top_k"], "give the experts of each token")
        self._check_integer("max_tokens_per_rank", 1, _MAX_ROWS, "give the most tokens that one dispatch may bring")
        if self.block_dim is None:
            object.__setattr__(self, "block_dim", default_block_dim(self.memory))
        self._check_integer("block_dim", 1, limits["max_blocks"], "give the cores that one operator may use")
        check_dtype("ExpertWindow", "dtype", self.dtype)
        self._check_shared_experts(limits)
        self._check_multiple("moe_expert_num", self.ep_world_size - self.shared_expert_rank_num,
                             "every rank that holds routed experts holds the same number of them")
        checked_choice("ExpertWindow", "overflow", self.overflow, OVERFLOWS)
        for name in ("keep_stats", "balanced_prefill"):
            check_type("ExpertWindow", name, getattr(self, name), bool, "True or False")
        row_align = limits["row_align"]
        self._check_multiple("hidden_size", row_align // bytes_of(self.dtype),
                             f"a row of {self.dtype} is a whole number of {row_align} bytes, and this one has "
                             f"{self.row_bytes}")
        seconds = checked_seconds("ExpertWindow", "timeout", self.timeout, 1e-6, 1e9,
                                  "give the time that an operator may wait for its peers")
        object.__setattr__(self, "timeout", seconds)
        self._check_capacity()

    @property
    def local_expert_num(self) -> int:
        """E / (R - Q), experts of one rank that holds routed experts."""
        return self.moe_expert_num // (self.ep_world_size - self.shared_expert_rank_num)

    def local_expert_num_of(self, rank: int) -> int:
        """Experts of `rank`: one on a shared expert's rank."""
        return 1 if rank < self.shared_expert_rank_num else self.local_expert_num

    @property
    def quantised_row_bytes(self) -> int:
        """Bytes of one row quantised to int8, a multiple of 32."""
        return -(-self.hidden_size // 32) * 32

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.hidden_size * bytes_of(self.dtype)

    @property
    def dtype_code(self) -> int:
        """The number that kernels know the dtype by."""
        return code_of(self.dtype)

    @property
    def timeout_us(self) -> int:
        """The time-out in whole microseconds, as kernels take it."""
        return round(self.timeout * 1e6)

    @property
    def pooled_tokens(self) -> int:
        """How many tokens have rows that other ranks may move; 0 unless prefill is balanced."""
        return self.max_tokens_per_rank if self.balanced_prefill else 0

    @property
    def pooled_pairs(self) -> int:
        """(token, expert) pairs of these tokens, shared experts on ranks of their own included."""
        return self.pooled_tokens * (self.top_k + self.shared_expert_num)

    def header_words(self) -> dict[str, int]:
        """What the host writes into a window's header, by the names of op_impl/contract/window_schema.h."""
        return {
            "world_size": self.ep_world_size, "expert_num": self.moe_expert_num, "capacity": self.capacity,
            "row_bytes": self.row_bytes, "block_dim": self.block_dim, "max_tokens": self.max_tokens_per_rank,
            "top_k": self.top_k, "dtype": self.dtype_code, "timeout_us": self.timeout_us,
            "shared_rank_num": self.shared_expert_rank_num, "shared_expert_num": self.shared_expert_num,
            "overflow_drop": OVERFLOWS.index(self.overflow), "pooled_tokens": self.pooled_tokens,
            "pooled_pairs": self.pooled_pairs, "keeps_stats": int(self.keep_stats),
        }

    def layout(self) -> dict[str, WindowPart]:
        """name -> WindowPart, in their order (see op_impl/contract/window_schema.h)."""
        return {name: WindowPart(*part) for name, part in _lib.window_layout(self.header_words()).items()}

    @property
    def window_bytes(self) -> int:
        """Bytes of the whole window of one rank."""
        return sum(part.bytes for part in self.layout().values())

    def _check_integer(self, name: str, low: int, high: int, advice: str) -> None:
        value = checked_integer("ExpertWindow", name, getattr(self, name), low, high, advice)
        object.__setattr__(self, name, value)

    def _check_shared_experts(self, limits: dict[str, int]) -> None:
        self._check_integer("shared_expert_num", 0, limits["max_shared_experts"],
                            "give those that have ranks of their own; no more are known to be of use")
        self._check_integer("shared_expert_rank_num", 0, self.ep_world_size - 1,
                            "give their ranks, and leave one for the routed experts")
        if (self.shared_expert_num == 0) != (self.shared_expert_rank_num == 0):
            raise ValueError("For 'ExpertWindow', 'shared_expert_num' and 'shared_expert_rank_num' belong together, "
                             f"but got {self.shared_expert_num} and {self.shared_expert_rank_num}. A shared expert "
                             "without ranks of its own is 'shared_expert_x' of combine: leave both at 0.")
        if self.shared_expert_num:
            self._check_multiple("shared_expert_rank_num", self.shared_expert_num,
                                 "every shared expert has the same number of instances")

    def _check_multiple(self, name: str, unit: int, reason: str) -> None:
        value = getattr(self, name)
        below = value // unit * unit
        if value != below:
            nearest = f"{below} or {below + unit}" if below else f"{unit}"
            raise ValueError(f"For 'ExpertWindow', '{name}' must be a multiple of {unit}, but got {value}: {reason}. "
                             f"The nearest that fits is {nearest}.")

    def _check_capacity(self) -> None:
        if self.capacity is None:
            worst_case = self.ep_world_size * self.max_tokens_per_rank * min(self.local_expert_num, self.top_k)
            if self.shared_expert_num:
                instances = self.shared_expert_rank_num // self.shared_expert_num
                worst_case = max(worst_case, self.max_tokens_per_rank * -(-self.ep_world_size // instances))
            if worst_case > _MAX_ROWS:
                raise ValueError("For 'ExpertWindow', the default 'capacity', ranks * max_tokens_per_rank * "
                                 f"min(experts per rank, top_k), must be at most {_MAX_ROWS} rows, but is "
                                 f"{worst_case}: lower max_tokens_per_rank, now {self.max_tokens_per_rank}, or give a "
                                 "capacity.")
            object.__setattr__(self, "capacity", worst_case)
        self._check_integer("capacity", 1, _MAX_ROWS, "give the rows that one rank may receive in a dispatch")
        needed = 2 * self.capacity * self.row_bytes * self.ep_world_size
        if needed > _MAX_BYTES:
            raise ValueError(f"For 'ExpertWindow', the rows of all ranks must take at most {_MAX_BYTES} bytes, but "
                             f"{needed} are needed for a capacity of {self.capacity}: lower capacity or "
                             "max_tokens_per_rank.")


# What the ranks compare: a name, the 64-bit word of the value, and how an error shows that word.
_AGREED: tuple[tuple[str, Callable[[WindowParameters], int], Callable[[int], str]], ...] = (
    ("the version of the window layout", lambda _: _lib.limits()["window_magic"], hex),
    ("MS_MOE_COMM_WINDOW", lambda parameters: int.from_bytes(parameters.memory.encode(), "little"),
     lambda word: word.to_bytes(8, "little").rstrip(b"\0").decode()),
    ("moe_expert_num", lambda parameters: parameters.moe_expert_num, str),
    ("hidden_size", lambda parameters: parameters.hidden_size, str),
    ("top_k", lambda parameters: parameters.top_k, str),
    ("max_tokens_per_rank", lambda parameters: parameters.max_tokens_per_rank, str),
    ("dtype", lambda parameters: parameters.dtype_code, lambda word: str(ROW_DTYPES[word][0])),
    ("capacity", lambda parameters: parameters.capacity, str),
    ("timeout", lambda parameters: parameters.timeout_us, lambda word: f"{word / 1e6:g} s"),
    ("block_dim", lambda parameters: parameters.block_dim, str),
    ("overflow", lambda parameters: OVERFLOWS.index(parameters.overflow), lambda word: OVERFLOWS[word]),
    ("shared_expert_num", lambda parameters: parameters.shared_expert_num, str),
    ("shared_expert_rank_num", lambda parameters: parameters.shared_expert_rank_num, str),
    ("balanced_prefill", lambda parameters: parameters.balanced_prefill, lambda word: str(bool(word))),
)


def agree(group: RankGroup, make_parameters: Callable[[], WindowParameters]) -> WindowParameters:
    """Makes this rank's parameters and has all ranks check that everyone's are the same. Collective.

    A rank whose parameters are refused still takes part, or its peers would wait for it until their deadline.

    Args:
        group: the ranks (see group.py).
        make_parameters: function without arguments that returns WindowParameters or raises TypeError or ValueError.

    Returns:
        WindowParameters, equal on all ranks.

    Raises:
        TypeError, ValueError: this rank's parameters are refused.
        RuntimeError: another rank's parameters are refused, or ranks disagree. Names the parameter, and every value
            with its ranks.
    """
    refusal = None
    try:
        parameters = make_parameters()
        words = [1, *(word_of(parameters) for _, word_of, _ in _AGREED)]
    except (TypeError, ValueError) as error:
        refusal, words = error, [0] * (1 + len(_AGREED))
    table = np.asarray(group.all_gather(words))
    if table.shape != (group.size, len(words)) or table.dtype != np.int64:
        raise TypeError(f"no window: all_gather of the group must return int64 [{group.size}, {len(words)}] for a list "
                        f"of {len(words)} ints, but gave {table.dtype} {list(table.shape)}.")
    if refusal is not None:
        raise refusal
    refused = [rank for rank, row in enumerate(table) if not row[0]]
    if refused:
        raise RuntimeError(f"no window: the parameters of rank {join_ranks(refused)} were refused there; the error of "
                           "that rank says why.")
    disagreements = [f"{name}: {_values_with_ranks(table[:, column], show)}"
                     for column, (name, _, show) in enumerate(_AGREED, 1) if len(set(table[:, column])) > 1]
    if disagreements:
        raise RuntimeError(f"no window: the ranks disagree on {'; on '.join(disagreements)}. All ranks of the group "
                           "must give the same values.")
    return parameters


def _values_with_ranks(words: NDArray[np.int64], show: Callable[[int], str]) -> str:
    """'7168 on rank 0, 1, 3 but 4096 on rank 2'."""
    ranks_of: dict[int, list[int]] = {}
    for rank, word in enumerate(words):
        ranks_of.setdefault(int(word), []).append(rank)
    return " but ".join(f"{show(word)} on rank {join_ranks(ranks)}" for word, ranks in ranks_of.items())
