"""Runs a case on one rank and compares every output with the reference, to the bit."""

import dataclasses

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_moe_comm import ExpertWindow, MoEDispatcher, ops, reference
from multirank.routing_steps import encode
from tensors import DTYPES, memory_of, to_numpy
from views import SAME_VALUES

ROW_UNIT = 32


class Drawn:
    """A case with its numbers, the same on every rank."""

    def __init__(self, case):
        self.case = case
        self.rng = np.random.default_rng(case["seed"])
        self.dtype = case["dtype"]
        self.world_size = case["world_size"]
        self.hidden = case["row_units"] * ROW_UNIT // (4 if self.dtype == "float32" else 2)
        shared_expert_num, shared_rank_num = case["shared"]
        experts = case["experts_per_rank"] * (self.world_size - shared_rank_num)
        table, counts = self.placement(experts) if case["map"] else (None, None)
        self.group = reference.Group(self.world_size, experts, shared_expert_num, shared_rank_num, sum(case["special"]),
                                     table, counts, case["map"] or "spread")
        self.logical = experts if counts is None else len(counts)
        self.steps = []
        for step in case["steps"]:
            self.steps.append(self.numbers(step))
        live = [case["leave"] is not None and number >= case["leave"] for number in range(len(self.steps))]
        self.groups = [dataclasses.replace(self.group, live=case["live"] if some_left else None) for some_left in live]
        self.routed = [reference.route(group, step["expert_ids"], step["masks"])
                       for group, step in zip(self.groups, self.steps, strict=True)]
        most = max(len(rows) for routed in self.routed for rows in routed.rows)
        self.capacity = {"exact": max(most, 1), "more": most + 3, "overflow": max(most - 1, 1),
                         "drop": max(most // 2, 1)}[case["room"]]
        if case["room"] == "drop":
            self.routed = [reference.route(group, step["expert_ids"], step["masks"], self.capacity)
                           for group, step in zip(self.groups, self.steps, strict=True)]
        for step, routed in zip(self.steps, self.routed, strict=True):
            step["outputs"] = [self.normal(self.capacity, self.hidden) for _ in routed.rows]

    def normal(self, *shape):
        return reference.round_to(self.rng.standard_normal(shape, np.float32), self.dtype)

    def placement(self, experts):
        """A map of logical experts with one replica or more; some physical experts may be idle."""
        physical = self.rng.permutation(experts)
        logical = int(self.rng.integers(1, experts + 1))
        replicas = [[p] for p in physical[:logical]]
        for p in physical[logical:]:
            if self.rng.random() < 0.7:
                replicas[self.rng.integers(logical)].append(p)
        width = max(map(len, replicas)) + int(self.rng.integers(0, 2))
        table = np.array([r + [-1] * (width - len(r)) for r in replicas], np.int32)
        return table, np.array([len(r) for r in replicas], np.int32)

    def numbers(self, step):
        top_k, ids_num = self.case["top_k"], self.logical + sum(self.case["special"])
        drawn = dict(step, expert_ids=[], masks=[], x=[])
        for rank, tokens in enumerate(step["tokens"]):
            ids = self.rng.integers(0, ids_num, (tokens, top_k))
            if step["ids"] == "distinct" and ids_num >= top_k:
                ids = np.argsort(self.rng.random((tokens, ids_num)), axis=1)[:, :top_k]
            if step["ids"] == "hot":
                ids[:] = self.rng.integers(0, ids_num)
            ids[self.rng.random(ids.shape) < (1 if step["ids"] == "none" else 0.1)] = -7
            shape = {None: None, "token": (tokens,), "expert": (tokens, top_k)}[step["mask"]]
            mask = None if shape is None else self.rng.random(shape) < 0.7
            if step["keep"]:
                before = self.steps[-1]
                ids = before["expert_ids"][rank][:tokens]
                mask = None if shape is None else before["masks"][rank][:tokens]
            drawn["expert_ids"].append(ids.astype(step["id_dtype"]))
            drawn["masks"].append(mask)
            x = self.normal(tokens, self.hidden)
            if step["odd_rows"] and tokens:
                x[self.rng.integers(tokens)] = 0
                x[self.rng.integers(tokens), self.rng.integers(self.hidden)] = self.rng.choice([np.nan, np.inf])
            drawn["x"].append(x)
        for name in ("weights", "shared_expert_x", "residual_x"):
            width = top_k if name == "weights" else self.hidden
            drawn[name] = [self.normal(t, width) for t in step["tokens"]] if step[name] else None
        if drawn["weights"] is not None:
            drawn["weights"] = [np.abs(w) for w in drawn["weights"]]
        if self.case["shared"][0]:
            drawn["shared_expert_x"] = None  # refused beside shared experts on ranks of their own
        rows = {None: None, "column": (), "expert": (self.group.shared_expert_num + self.logical,)}[self.case["smooth"]]
        drawn["smooth"] = None if rows is None else self.rng.uniform(0.5, 2, (*rows, self.hidden)).astype(np.float32)
        constants = self.case["special"][2]
        drawn["alphas"] = [self.normal(constants) for _ in range(2)] if constants else [None, None]
        drawn["v"] = self.normal(constants, self.hidden) if constants else None
        return drawn


def run(case, group):
    """Raises AssertionError on the first difference."""
    drawn = Drawn(case)
    zero, copy, const = case["special"]
    dtype = DTYPES[drawn.dtype]
    with ExpertWindow.create(
            moe_expert_num=drawn.group.moe_expert_num, hidden_size=drawn.hidden, top_k=case["top_k"],
            max_tokens_per_rank=case["max_tokens"], dtype=dtype, group=group, capacity=drawn.capacity, timeout=60.0,
            block_dim=case["block_dim"], overflow="drop" if case["room"] == "drop" else "error",
            shared_expert_num=case["shared"][0], shared_expert_rank_num=case["shared"][1],
            balanced_prefill=case["balanced"]) as window:
        dispatchers = {phase: MoEDispatcher(window, phase, quant_mode=case["quant_mode"], zero_expert_num=zero,
                                            copy_expert_num=copy, const_expert_num=const,
                                            replica_policy=drawn.group.replica_policy)
                       for phase in ("decode", "prefill")}
        dropped = np.zeros((drawn.world_size, drawn.world_size), np.int64)
        lost, handle = 0, None
        for number, (step, routed) in enumerate(zip(drawn.steps, drawn.routed, strict=True)):
            if case["leave"] is not None and number > case["leave"] and not case["live"][group.rank]:
                return
            played = Step(drawn, step, routed, window, dispatchers[step["phases"][group.rank]], group.rank)
            played.rank_mask = Tensor(np.array(case["live"])) if number == case["leave"] else None
            played.live = case["live"] if case["leave"] is not None and number >= case["leave"] else None
            played.kept_handle = handle if step["keep"] else None
            handle = played.run()
            dropped += routed.dropped
            lost += routed.lost[group.rank] if handle else 0
        assert window.stats()["lost_pairs"] == lost
        if case["room"] == "drop":
            stats = window.stats()
            assert stats["dropped_from"] == dropped[:, group.rank].tolist()
            assert stats["dropped_to"] == dropped[group.rank].tolist()


class Step:
    """One dispatch and its combine on this rank."""

    def __init__(self, drawn, step, routed, window, dispatcher, rank):
        self.drawn, self.step, self.routed, self.rank = drawn, step, routed, rank
        self.window, self.dispatcher = window, dispatcher
        self.dtype = DTYPES[drawn.dtype]

    def tensor(self, values, dtype=None):
        return None if values is None else self.view(values, lambda wide: Tensor(wide).astype(dtype or self.dtype))

    def view(self, values, make=Tensor):
        """A tensor of these values, as the step's kind of view."""
        if values is None or self.step["view"] is None:
            return None if values is None else make(values)
        return SAME_VALUES[self.step["view"]](values, make)

    def run(self):
        rows_memory, scales_memory = memory_of(self.window.rows), memory_of(self.window.scales)
        if self.kept_handle is None:  # with a kept plan peers wait for no counts and may write already
            rows_memory[:] = 0xFF  # NaN in every dtype; no peer writes before it has this rank's counts
            scales_memory[:] = 0xFF
        overflows = [r for r, rows in enumerate(self.routed.rows) if len(rows) > self.drawn.capacity]
        if overflows:
            self.check_overflow(overflows[0])
            return None
        handle, nums = self.dispatch()
        expected = self.routed.expert_token_nums[self.rank]
        np.testing.assert_array_equal(nums, np.cumsum(expected) if self.step["cumulative"] else expected)
        np.testing.assert_array_equal(handle[0].asnumpy(), self.routed.physical_expert_ids[self.rank])
        np.testing.assert_array_equal(handle[1].asnumpy(), self.routed.expand_idx[self.rank])
        self.check_rows(rows_memory, scales_memory.view(np.float32))
        if self.window.balanced_prefill:
            self.check_balance()
        if self.step["combine"]:
            self.check_combine(handle)
        return handle

    def dispatch(self):
        step, rank = self.step, self.rank
        group = self.drawn.group
        mask, smooth, ids = map(self.view, (step["masks"][rank], step["smooth"], step["expert_ids"][rank]))
        tables = [self.view(table) for table in (group.logical_to_physical_map, group.logical_replica_count)]
        x = self.tensor(step["x"][rank])
        if not step["cumulative"]:
            _, nums, handle = self.dispatcher.dispatch(x, ids, mask, smooth, *tables, self.rank_mask, self.kept_handle)
            return handle, nums.asnumpy()
        d = self.dispatcher
        primitive = ops.moe_prefill_dispatch if d.schedule == "prefill" else ops.moe_decode_dispatch
        kept = () if self.kept_handle is None else (self.kept_handle[2],)
        _, _, expand_idx, nums, plan, physical_ids, control = primitive(
            x, ids, d.rows, d.scales, d.control, d.local_expert_num, mask, smooth, *tables, self.rank_mask,
            d.quant_mode, 0, d.zero_expert_num, d.copy_expert_num, d.const_expert_num, d.shared_expert_num,
            d.replica_policy, *kept)
        return (physical_ids, expand_idx, plan, control), nums.asnumpy()

    def check_overflow(self, first):
        try:
            self.dispatch()
        except RuntimeError as error:
            need = len(self.routed.rows[first])
            text = f"rank {first} would get {need} rows, but a window has capacity for {self.drawn.capacity}"
            assert text in str(error), str(error)
            return
        raise AssertionError("rows beyond the capacity are no error")

    def check_rows(self, rows_memory, scales):
        step, rows = self.step, self.routed.rows[self.rank]
        expected = np.array([step["x"][source][token] for source, token, _ in rows], np.float32)
        expected = expected.reshape(len(rows), self.drawn.hidden)
        if not self.dispatcher.quant_mode:
            content = encode(expected, self.drawn.dtype).reshape(-1)
        else:
            smooth = step["smooth"]
            if smooth is not None and smooth.ndim == 2:
                smooth = np.array([smooth[self.smooth_row(*row)] for row in rows], np.float32).reshape(expected.shape)
            steps, factors = reference.quantise_rows(expected, smooth)
            padded = np.zeros((len(rows), self.window.quantised_rows.shape[1]), np.int8)
            padded[:, :self.drawn.hidden] = steps
            content = padded.reshape(-1).view(np.uint8)
            np.testing.assert_array_equal(scales[:len(rows)].view(np.uint32) | (np.isnan(factors) << 31),
                                          factors.view(np.uint32) | (np.isnan(factors) << 31))
        np.testing.assert_array_equal(rows_memory[:len(content)], content)
        assert self.kept_handle or (rows_memory[len(content):] == 0xFF).all(), "a row past the total was written"

    def check_balance(self):
        """In prefill no rank moves more than an equal share of those ranks' rows, rounded up, in decode its own."""
        loads = np.bincount([source for rows in self.routed.rows for source, *_ in rows],
                            minlength=self.drawn.world_size)
        moved = sum(self.window.stats()["moved_rows"])
        sharing = [rank for rank, phase in enumerate(self.step["phases"])
                   if phase == "prefill" and (self.live is None or self.live[rank])]
        if self.rank in sharing:
            assert moved <= -(-sum(loads[sharing]) // len(sharing))
        else:
            assert moved == loads[self.rank]

    def smooth_row(self, source, token, column):
        top_k = self.drawn.case["top_k"]
        if column >= top_k:
            return column - top_k
        return self.drawn.group.shared_expert_num + int(self.step["expert_ids"][source][token, column])

    def check_combine(self, handle):
        step, rank, drawn = self.step, self.rank, self.drawn
        outputs_memory = memory_of(self.window.outputs)
        outputs_memory[:] = 0xFF  # every peer has sent the counts of this dispatch, so it has read the last outputs
        own = step["outputs"][rank][:len(self.routed.rows[rank])]
        expert_outputs = self.window.outputs
        if step["in_place"]:
            content = encode(own, drawn.dtype).reshape(-1)
            outputs_memory[:len(content)] = content
        else:
            expert_outputs = self.tensor(step["outputs"][rank])
        zero, copy, const = drawn.case["special"]
        of_rank = {name: None if step[name] is None else step[name][rank]
                   for name in ("weights", "shared_expert_x", "residual_x")}
        ori_x = step["x"][rank] if copy + const else None
        out = step["out_dtype"]
        y = self.dispatcher.combine(
            expert_outputs, self.tensor(of_rank["weights"], ms.float32), handle,
            self.tensor(of_rank["shared_expert_x"]), self.tensor(of_rank["residual_x"]), self.tensor(ori_x),
            self.tensor(step["alphas"][0]), self.tensor(step["alphas"][1]), self.tensor(step["v"]),
            None if out is None else DTYPES[out])
        expected = reference.combine(
            step["outputs"], self.routed.physical_expert_ids[rank], of_rank["weights"], self.routed.expand_idx[rank],
            drawn.group.moe_expert_num, out or drawn.dtype, of_rank["shared_expert_x"], of_rank["residual_x"], ori_x,
            *step["alphas"], step["v"], zero, copy, drawn.group, rank)
        got = to_numpy(y)
        both_nan = np.isnan(got) & np.isnan(expected)  # the bits of a NaN are not specified
        np.testing.assert_array_equal(np.where(both_nan, 0, got).view(np.uint32),
                                      np.where(both_nan, 0, expected).view(np.uint32))
