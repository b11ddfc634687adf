"""The expert window: symmetric memory that dispatch writes into and combine reads from, as MindSpore tensors."""
import functools
import itertools
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor
from mindspore.common.dtype import Type
from mindspore.common.initializer import initializer
from numpy.typing import NDArray

from ms_moe_comm import _lib
from ms_moe_comm.arguments import check_type, checked_mask, shown
from ms_moe_comm.group import RankGroup, join_ranks, open_group
from ms_moe_comm.memory import MemoryReport
from ms_moe_comm.parameters import WindowParameters, agree
from ms_moe_comm.providers.choice import make_provider, provider_name
from ms_moe_comm.providers.contract import WindowProvider

_COUNTERS = ("epoch", "exchange", "received_rows", "copied_bytes", "left_ranks", "lost_pairs")
_PHASES = {"dispatch": ("count", "exchange", "place", "arrive"), "combine": ("outputs", "ready", "reduce")}
_WAITS = ("counts", "arrived", "ready", "handed")
_CYCLE = 20e-9  # seconds; GetSystemCycle counts at 50 MHz
_numbers = itertools.count()  # parameters of one cell must differ in name, and a cell may use several windows


def _settle() -> None:
    """Waits for all operators that were called before. Their errors belong to other calls and are warnings here."""
    try:
        _lib.drain()
    except Exception as error:  # noqa: BLE001  # any error of another call
        warnings.warn(f"an operator that was called before has failed: {error}", RuntimeWarning, stacklevel=3)


def _refuse_data(name: str, *_: object, **__: object) -> NoReturn:
    raise RuntimeError(f"{name} is the memory of an expert window and takes no other data: it belongs in no "
                       "checkpoint. Let your cells use the tensors of their MoEDispatcher (self.dispatcher.outputs), "
                       "which are no parameters of the model.")


class ExpertWindow:
    """One region of memory per rank, laid out alike on all ranks and mapped by every rank. Made by `create`.

    Dispatch on any rank writes token rows straight to their final place in `rows` of the rank that holds the expert;
    the experts work on `rows` in place and leave their results in `outputs`; combine on any rank reads `outputs`.

    Attributes:
        rows (Parameter): [A, H] dtype; what dispatch returns as `expand_x`.
        quantised_rows (Parameter): [A, H rounded up to 32] int8, the same memory; `expand_x` of a quantised dispatch.
        scales (Parameter): [A] float32; one factor per row when rows are quantised.
        outputs (Parameter): [A, H] dtype; where the last expert matmul should write.
        control (Parameter): int32, opaque; counts, flags and epochs.
        ep_world_size, ep_rank_id, moe_expert_num, local_expert_num, hidden_size, top_k, max_tokens_per_rank, capacity,
        timeout, block_dim, overflow, keep_stats, balanced_prefill, shared_expert_num, shared_expert_rank_num and dtype:
        the window's parameters, see `create`.

    The tensors are the window's memory itself. Inside a graph use what the operators return and not these parameters:
    a graph does not see that other ranks write to them. They are no parameters of a model: a `MoEDispatcher` or
    `MoELayer` hides them from checkpoints and from loops over a cell's parameters. A cell that sets one as its own
    attribute shows it, so use the tensors of its dispatcher (``self.dispatcher.outputs``).

    A window serves one dispatch and its combine at a time; two overlapping micro-batches need two windows. Each rank
    chooses its phase by itself: in one step some may be in prefill and others in decode. After an error in an operator
    the window is dead: all ranks close it and create a new one together, or the ranks that are left `resume` it without
    the ranks that have died.
    """

    rows: Parameter
    quantised_rows: Parameter
    scales: Parameter
    outputs: Parameter
    control: Parameter
    _provider: WindowProvider | None

    def __init__(self, parameters: WindowParameters, provider: WindowProvider) -> None:
        check_type("ExpertWindow", "parameters", parameters, WindowParameters, "what ExpertWindow.create makes")
        self._parameters, self._provider = parameters, provider
        self.ep_rank_id = provider.group.rank
        self.ep_world_size = parameters.ep_world_size
        self.moe_expert_num = parameters.moe_expert_num
        self.local_expert_num = parameters.local_expert_num_of(self.ep_rank_id)
        self.hidden_size = parameters.hidden_size
        self.top_k = parameters.top_k
        self.max_tokens_per_rank = parameters.max_tokens_per_rank
        self.dtype = parameters.dtype
        self.capacity: int = parameters.capacity
        self.timeout = parameters.timeout
        self.block_dim: int = parameters.block_dim
        self.overflow = parameters.overflow
        self.keep_stats = parameters.keep_stats
        self.balanced_prefill = parameters.balanced_prefill
        self.shared_expert_num = parameters.shared_expert_num
        self.shared_expert_rank_num = parameters.shared_expert_rank_num
        number, layout = next(_numbers), parameters.layout()
        rows = (self.capacity, self.hidden_size)
        quantised = (self.capacity, parameters.quantised_row_bytes)
        for name, offset, shape, dtype in (("rows", layout["rows"].offset, rows, self.dtype),
                                           ("quantised_rows", layout["rows"].offset, quantised, ms.int8),
                                           ("scales", layout["scales"].offset, (self.capacity,), ms.float32),
                                           ("outputs", layout["outputs"].offset, rows, self.dtype),
                                           ("control", 0, (layout["rows"].offset // 4,), ms.int32)):
            setattr(self, name, _bind(provider, f"expert_window_{number}.{name}", offset, shape, dtype))

    @classmethod
    def create(cls, *, moe_expert_num: int, hidden_size: int, top_k: int, max_tokens_per_rank: int,
               dtype: Type = ms.bfloat16, group: RankGroup | str | None = None, capacity: int | None = None,
               timeout: float = 30.0, block_dim: int | None = None, overflow: str = "error",
               shared_expert_num: int = 0, shared_expert_rank_num: int = 0, keep_stats: bool = False,
               balanced_prefill: bool = False) -> "ExpertWindow":
        """Makes a window. Collective: all ranks of the group call it together, with the same values.

        Args:
            moe_expert_num (int): E, routed (physical) experts of the whole group, 1 to 65536, a multiple of the ranks
                that hold them: rank Q + i holds those from i * E / (R - Q) to (i + 1) * E / (R - Q) - 1.
            hidden_size (int): H, elements of a row; a row is a multiple of 32 bytes.
            top_k (int): K, experts per token, 1 to 16.
            max_tokens_per_rank (int): the most tokens that a rank may give to one dispatch; ranks may give fewer, or 0.
            dtype (mindspore.dtype): of the rows: bfloat16, float16 or float32.
            group: None for MindSpore's world group, or for a group of this rank alone if communication is not
                initialised; the name of a MindSpore communication group; or an object with `rank`, `size` and
                `all_gather(int64 [n]) -> int64 [size, n]`, such as `group.LocalGroup`.
            capacity (int): A, rows of each rank's window. None for the worst case of distinct experts per token:
                R * max_tokens_per_rank * min(E / R, K).
            timeout (float): seconds that an operator waits for its peers before it fails.
            block_dim (int): the most cores that an operator on this window uses, 1 to 64. None: 1 on CPU, where a
                process per rank is the parallelism, and all vector cores of an NPU. An operator takes no more cores
                than the chip has, and begins only when as many are free. Operators that run at the same time, on two
                streams, must not take more together; otherwise the operators of two ranks may wait for each other.
            overflow (str): what happens if a dispatch brings a rank more rows than its capacity. "error": all ranks
                raise, before any row moves. "drop": rows are dropped and counted in `stats`, first those of the last
                source, and within a source those of the last expert; a token's dropped experts contribute nothing.
            shared_expert_num (int): S, shared experts on ranks of their own, 0 to 4; a shared expert that every rank
                computes itself is `shared_expert_x` of combine.
            shared_expert_rank_num (int): Q, the ranks 0 to Q - 1 that hold one shared expert each and no routed one, a
                multiple of S; the instances of shared expert j are the ranks from j * Q / S on.
            balanced_prefill (bool): in a prefill, ranks with few rows to send move rows of ranks with many, so that
                none moves more than an equal share. The result is the same to the bit. It costs memory in the window
                for rows of x, a copy of the rows that others move, and one more wait. It pays for prompts of very
                different length. Ranks in decode in the same step neither help nor get help. Smooth factors (`scales`
                of a quantised dispatch) must be the same on all ranks, since another rank may quantise a row.
            keep_stats (bool): whether this rank's operators add up times and bytes, see `stats`. It may differ between
                ranks.

        Returns:
            ExpertWindow, ready on all ranks.

        Raises:
            TypeError, ValueError: a parameter outside its limits; the text says value, limit and what to do.
            MemoryError: too little memory, on all ranks; states needed and free bytes.
            RuntimeError: the ranks disagree in a parameter (named, with each value and its ranks), a rank's parameters
                were refused, a rank is missing, or the ranks do not share one machine's memory.
        """
        _settle()
        with open_group(group) as ranks:
            parameters = agree(ranks, lambda: WindowParameters(
                ep_world_size=ranks.size, moe_expert_num=moe_expert_num, hidden_size=hidden_size, top_k=top_k,
                max_tokens_per_rank=max_tokens_per_rank, dtype=dtype, capacity=capacity, timeout=timeout,
                block_dim=block_dim, memory=provider_name(), overflow=overflow, shared_expert_num=shared_expert_num,
                shared_expert_rank_num=shared_expert_rank_num, keep_stats=keep_stats,
                balanced_prefill=balanced_prefill))
            provider = make_provider(parameters.memory, ranks)
            provider.allocate(parameters.window_bytes)
            window = cls(parameters, provider)
            bases = [provider.peer_base(rank) for rank in range(ranks.size)]
            _lib.init_window(bases[ranks.rank], {**parameters.header_words(), "rank_id": ranks.rank}, bases,
                             provider.on_npu)
            ranks.all_gather([0])  # every window is ready before anybody's first dispatch
            return window

    def check(self) -> None:
        """Waits for the operators that were launched and raises the error of any.

        On CPU an operator raises its error itself. On an NPU nothing looks at a kernel's result until this is called:
        after a step, or whenever a result looks wrong. Operators after a failed one do nothing and end at once, except
        after an error that leaves the window usable (capacity), which is told once.

        Raises:
            RuntimeError: an operator's error, as told on CPU; or the window is closed.
        """
        provider = self._opened("check")
        error = _lib.describe_error(provider.peer_base(self.ep_rank_id))
        if error:
            raise RuntimeError(error)

    def memory_report(self) -> MemoryReport:
        """Bytes of each part of this rank's window, and what relay buffers would take (a MemoryReport; print it)."""
        return MemoryReport.of(self._parameters)

    def stats(self) -> dict[str, Any]:
        """What this rank's operators have done so far; waits for those that were launched.

        Returns:
            dict: "epoch" dispatches, "exchange" exchanges of counts, "received_rows" rows that the last dispatch
            brought here, "copied_bytes" bytes that the last combine had to copy into `outputs`, "left_ranks" how many
            ranks take no part any more, "lost_pairs" how many (token, k) of this rank had their expert on such a rank,
            since the window was made. With overflow "drop", lists of R, rows dropped since the window was made:
            "dropped_from", from each source to this rank, and "dropped_to", from this rank to each destination.

            With `keep_stats`, sums since the window was made: "sent_rows" and "sent_bytes" from this rank to others by
            dispatch, "read_bytes" from others by combine; "seconds", measured on the first core, of the phases of
            "dispatch" ("count", "exchange", "place", "arrive") and of "combine" ("outputs", "ready", "reduce"); and
            "waited", lists of R, seconds of the core that waited longest: for each rank's "counts", rows ("arrived"),
            outputs ("ready") and rows handed over ("handed"). Each wait counts for the first rank that was missing.

            With `balanced_prefill`, "moved_rows": a list of R, the rows that this rank moved to each rank in the last
            dispatch: in prefill also the rows of other ranks, in decode only its own.

        Raises:
            RuntimeError: the window is closed.
        """
        provider = self._opened("stats")
        stats: dict[str, Any] = {name: _word(provider, name) for name in _COUNTERS}
        if self.overflow == "drop":
            layout = self._parameters.layout()
            for name in ("dropped_from", "dropped_to"):
                stats[name] = provider.words(layout[name].offset, self.ep_world_size).tolist()
        if self.keep_stats:
            stats.update({name: _word(provider, name) for name in ("sent_rows", "sent_bytes", "read_bytes")})
            stats["seconds"] = {op: {phase: _word(provider, f"{phase}_cycles") * _CYCLE for phase in phases}
                                for op, phases in _PHASES.items()}
            stats["waited"] = self._waited(provider)
        if self.balanced_prefill:
            words = -(-self.ep_world_size // 2)
            moves = provider.words(self._parameters.layout()["moves"].offset, words).view(np.int32)
            stats["moved_rows"] = moves[:self.ep_world_size].tolist()
        return stats

    def _waited(self, provider: WindowProvider) -> dict[str, list[float]]:
        part = self._parameters.layout()["waited"]
        pitch = part.pitch // 8
        words = provider.words(part.offset, self.block_dim * len(_WAITS) * pitch)
        longest = words.reshape(self.block_dim, len(_WAITS), pitch)[..., :self.ep_world_size].max(axis=0) * _CYCLE
        return {phase: seconds.tolist() for phase, seconds in zip(_WAITS, longest, strict=True)}

    def resume(self, rank_mask: Sequence[bool] | NDArray[np.bool_] | Tensor) -> None:
        """Continues after a failure, without the ranks that caused it. Collective over the remaining ranks.

        The remaining ranks call it together, after an error of an operator, with the same `rank_mask`. The ranks that
        the mask leaves out must have ended: a process that lives might still write into the windows of others. From
        then on nobody sends to them or waits for them. Pairs for their experts are dropped and counted (`stats`,
        "lost_pairs"), unless a placement map has another replica.

        What was in flight is lost: dispatch the step again. A rank that exchanged no rows with the dead rank notices
        the failure only in its next dispatch, so the ranks may be one step apart: agree on the step with which all
        begin again.

        `msrun` ends all ranks when one dies. Ranks that are to continue need another launcher, and a group such as
        `LocalGroup`. A rank that is alive leaves without `resume`: give all ranks a `rank_mask` without it in one
        dispatch, in which it still takes part.

        MindSpore 2.10 does not run a graph again after an operator in it failed: in graph mode make the cell anew, too.

        On an NPU there is no `resume`: the hosts would have to meet in the windows, and there they reach the windows'
        memory by copies alone. The remaining ranks create a new window.

        Args:
            rank_mask (sequence of R bools): the ranks that go on, this one among them.

        Raises:
            TypeError: `rank_mask` holds something else than bools.
            ValueError: `rank_mask` has not R elements, lacks this rank, or has one that has left before.
            RuntimeError: a rank did not come within the window's timeout, or came with another mask; the window is
                closed or on an NPU. In the last two cases create a new window of the remaining ranks.
        """
        if self._provider is None or self._provider.on_npu:
            reason = "it was closed" if self._provider is None else (
                "it is on an NPU, where the hosts cannot meet: they do so in each other's windows, whose memory they "
                "reach there by copies alone")
            raise RuntimeError(f"For 'ExpertWindow.resume', the window must be open and on the CPU, but {reason}. "
                               "Create a new one of the ranks that are left.")
        mask = checked_mask("ExpertWindow.resume", "rank_mask", rank_mask, self.ep_world_size)
        if not mask[self.ep_rank_id]:
            raise ValueError(f"For 'ExpertWindow.resume', 'rank_mask' must have rank {self.ep_rank_id}, which calls "
                             f"it, among those that go on, but got {shown(mask)}.")
        if _word(self._provider, "left_ranks"):
            live = self._provider.words(self._parameters.layout()["live"].offset,
                                        -(-self.ep_world_size // 8)).view(np.uint8)
            back = [rank for rank in range(self.ep_world_size) if mask[rank] and not live[rank]]
            if back:
                raise ValueError(f"For 'ExpertWindow.resume', 'rank_mask' has rank {join_ranks(back)}, which left "
                                 "before: a rank comes back with a new window alone.")
        _settle()
        _lib.resume_window(self._provider.peer_base(self.ep_rank_id), mask)

    def timers(self) -> dict[str, float]:
        """Time that this rank spent in the window's operators, including waits for peers; waits for launched operators.

        On CPU. On an NPU all are 0: the framework's profiler times the kernels there.

        Returns:
            dict: "dispatch" and "combine" in seconds, "dispatch_calls" and "combine_calls".

        Raises:
            RuntimeError: the window is closed.
        """
        provider = self._opened("timers")
        times: dict[str, float] = {}
        for op in ("dispatch", "combine"):
            times[op] = _word(provider, f"{op}_nanoseconds") * 1e-9
            times[f"{op}_calls"] = _word(provider, f"{op}_calls")
        return times

    def close(self) -> None:
        """Ends the window's use on this rank, after the operators that were launched. Safe to call twice.

        Not collective: peers keep their own mapping. The memory is given back when its last tensor on any rank is gone.
        Tensors that still live, and graphs that hold them, stay valid, but operators on them report a closed window.

        Raises:
            RuntimeError: the error of a launched operator whose result nobody has looked at.
        """
        provider = self._provider
        if provider is None:
            return
        try:
            if provider.on_npu:
                self.check()
            else:
                _wait(provider)
        finally:
            _lib.close_window(provider.peer_base(self.ep_rank_id))
            provider.free()
            self._provider = None

    def __reduce_ex__(self, _: object) -> NoReturn:
        """Refuses copy.copy, copy.deepcopy and pickle."""
        raise TypeError("An ExpertWindow cannot be copied or pickled: it is memory that the ranks share, and a copy "
                        "would be none. Pass the window itself, or make one more by ExpertWindow.create on all ranks.")

    def __enter__(self) -> "ExpertWindow":
        return self

    def __exit__(self, exception_type: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except RuntimeError:
            if exception_type is None:  # otherwise it is most likely the same error
                raise

    def _opened(self, method: str) -> WindowProvider:
        """The memory of an open window, once the operators that were launched have ended."""
        if self._provider is None:
            raise RuntimeError(f"For 'ExpertWindow.{method}', the window must be open, but it was closed.")
        _wait(self._provider)
        return self._provider


def _bind(provider: WindowProvider, name: str, offset: int, shape: tuple[int, ...], dtype: Type) -> Parameter:
    """A Parameter that is the memory at `offset`. `Parameter(tensor)` would copy; `set_data` takes the tensor."""
    parameter = Parameter(initializer("zeros", shape, dtype), name=name, requires_grad=False)
    parameter.set_data(provider.tensor(offset, shape, dtype))
    parameter.set_data = functools.partial(_refuse_data, name)
    address, expected = parameter.data_ptr(), provider.peer_base(provider.group.rank) + offset
    if address != expected:
        raise RuntimeError(f"{name} is at {address:#x} and not at {expected:#x} in the window: this MindSpore "
                           f"({ms.__version__}) copies where 2.10 aliases. Use the version that the package needs.")
    return parameter


def _wait(provider: WindowProvider) -> None:
    """Waits for the operators that this process has launched."""
    if provider.on_npu:
        ms.runtime.synchronize()
    else:
        _lib.drain()


def _word(provider: WindowProvider, field: str) -> int:
    """A field of the window's header."""
    return int(provider.words(8 * _lib.window_fields()[field], 1)[0])
