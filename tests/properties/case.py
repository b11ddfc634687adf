"""A case, drawn by hypothesis: one window and a few steps on it. A case's seed decides the numbers in its tensors."""

from hypothesis import strategies as st

from views import SAME_VALUES

DTYPES = ("float32", "float16", "bfloat16")


@st.composite
def steps(draw, world_size, max_tokens):
    phase = st.sampled_from(["decode", "prefill"])
    alike = phase.map(lambda drawn: [drawn] * world_size)
    return {
        "phases": draw(alike | st.lists(phase, min_size=world_size, max_size=world_size)),  # of each rank
        "tokens": draw(st.lists(st.integers(0, max_tokens), min_size=world_size, max_size=world_size)),
        "ids": draw(st.sampled_from(["distinct", "any", "hot", "none"])),
        "id_dtype": draw(st.sampled_from(["int32", "int64"])),
        "mask": draw(st.sampled_from([None, "token", "expert"])),
        "cumulative": draw(st.booleans()),
        "weights": draw(st.booleans()),
        "shared_expert_x": draw(st.booleans()),
        "residual_x": draw(st.booleans()),
        "out_dtype": draw(st.sampled_from([None, *DTYPES])),
        "in_place": draw(st.booleans()),
        "combine": draw(st.sampled_from([True, True, True, False])),
        "odd_rows": draw(st.booleans()),  # rows of zeros, with NaN, with infinity
        "keep": draw(st.booleans()),  # the plan of the step before
        "view": draw(st.sampled_from([None, *SAME_VALUES])),  # the kind of view of the arguments
    }


@st.composite
def cases(draw, max_ranks=4):
    world_size = draw(st.integers(1, max_ranks))
    max_tokens = draw(st.sampled_from([1, 5, 40]))
    quant_mode = draw(st.sampled_from([0, 2]))
    shared = (0, 0)
    if world_size > 1 and draw(st.booleans()):
        shared_expert_num = draw(st.integers(1, world_size - 1))
        shared = (shared_expert_num, shared_expert_num * draw(st.integers(1, (world_size - 1) // shared_expert_num)))
    room = draw(st.sampled_from(["exact", "more", "overflow", "drop"]))
    all_steps = draw(st.lists(steps(world_size, max_tokens), min_size=1, max_size=3))
    live, leave = None, None
    if world_size > 1 and draw(st.integers(0, 3)) == 0:
        stays = draw(st.integers(shared[1], world_size - 1))  # a rank that holds routed experts
        live = [draw(st.booleans()) or rank == stays for rank in range(world_size)]
        leave = draw(st.integers(0, len(all_steps) - 1))
    settle(all_steps, room, live, leave)
    return {
        "world_size": world_size,
        "dtype": draw(st.sampled_from(DTYPES)),
        "row_units": draw(st.sampled_from([1, 2, 3, 7, 150])),  # of 32 bytes
        "block_dim": draw(st.integers(1, 4)),
        "top_k": draw(st.sampled_from([1, 2, 3, 8, 16])),
        "experts_per_rank": draw(st.sampled_from([1, 2, 3, 9])),
        "shared": shared,
        "quant_mode": quant_mode,
        "smooth": draw(st.sampled_from([None, "column", "expert"])) if quant_mode else None,
        "map": draw(st.sampled_from([None, "spread", "rank", "token"])),
        "special": draw(st.sampled_from([(0, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 2)])),
        "room": room,
        "max_tokens": max_tokens,
        "steps": all_steps,
        "balanced": draw(st.booleans()),
        "live": live,  # of each rank, from step `leave` on
        "leave": leave,
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def settle(all_steps, room, live, leave):
    """Makes steps consistent: a kept plan is valid and keeps its routing; a rank that has left has no tokens."""
    before = None
    for number, step in enumerate(all_steps):
        step["keep"] = bool(step["keep"] and before and "decode" not in before["phases"] and before["combine"] and
                            room != "overflow" and number != leave)
        if step["keep"]:
            step.update({name: before[name] for name in ("phases", "ids", "id_dtype", "mask")},
                        tokens=[*before["tokens"]])
        if leave is not None and number > leave:
            step["tokens"] = [tokens * alive for tokens, alive in zip(step["tokens"], live, strict=True)]
        before = step
