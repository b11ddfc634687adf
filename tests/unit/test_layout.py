"""The layout of a window, for random shapes: parts in order, aligned, each large enough for what it holds, 64-bit."""
import random

import pytest

from ms_moe_comm import _lib

LINE, REGION = 64, 512
PARTS = ("header", "records", "peers", "live", "counts", "arrived", "ready", "handed", "aborted", "meeting", "scratch",
         "rows", "scales", "outputs")


def round_up(value, unit):
    return -(-value // unit) * unit


def random_shape(seed):
    rng = random.Random(seed)
    limits = _lib.limits()
    world_size = rng.choice([1, 2, 3, 8, 48, 384, limits["max_ranks"]])
    shared_ranks = rng.choice([0, 0, rng.randrange(world_size)])
    expert_num = (world_size - shared_ranks) * rng.randint(1, limits["max_experts"] // world_size)
    capacity = rng.choice([1, 31, 32, 33, rng.randint(1, 2**20), 2**31 - 1])
    row_bytes = limits["row_align"] * rng.choice([1, 2, 3, 448, rng.randint(1, 1024)])
    tokens = rng.choice([0, 0, 1, rng.randint(1, 2**20)])
    return (world_size, expert_num, rng.randint(1, limits["max_blocks"]), capacity, row_bytes, shared_ranks, tokens,
            tokens * rng.randint(1, 16))


def least_bytes(world_size, expert_num, block_dim, capacity, row_bytes, shared_ranks, pooled_tokens, pooled_pairs):
    """What each part must hold at least, from the description at the top of window_layout.h."""
    slots = shared_ranks + expert_num
    table_row = round_up(4 * slots, LINE)
    received = round_up(4 * expert_num // (world_size - shared_ranks), LINE)
    rank_row = round_up(4 * world_size, LINE)
    balance = world_size * rank_row + 5 * rank_row + 2 * table_row if pooled_tokens else 0
    inputs = {"inputs": pooled_tokens * row_bytes, "entries": 16 * pooled_pairs} if pooled_tokens else {}
    return {
        "header": 8 * (max(_lib.window_fields().values()) + 1),
        "records": block_dim * LINE,
        "peers": 8 * world_size,
        "live": world_size,
        "counts": 2 * world_size * round_up(8 * (slots + 1), LINE),
        "arrived": world_size * LINE,
        "ready": world_size * LINE,
        "handed": world_size * LINE,
        "aborted": world_size * LINE,
        "meeting": world_size * LINE,
        "scratch": 2 * block_dim * table_row + 2 * table_row + received + 4 * round_up(4 * world_size, LINE)
                   + 2 * 8 * world_size + block_dim * LINE + 4 * block_dim * round_up(8 * world_size, LINE)
                   + balance,
        "rows": capacity * row_bytes,
        "scales": capacity * 4,
        "outputs": capacity * row_bytes,
        **inputs,
    }


@pytest.mark.parametrize("seed", range(200))
def test_parts_do_not_overlap(seed):
    shape = random_shape(seed)
    layout, least = _lib.window_layout(*shape), least_bytes(*shape)
    parts = list(least)
    assert parts[:len(PARTS)] == list(PARTS)
    ends = [*(layout[name] for name in parts[1:]), layout["window_bytes"]]
    assert layout["header"] == 0
    for name, end in zip(parts, ends, strict=True):
        assert layout[name] % REGION == 0, (name, shape)
        assert least[name] <= end - layout[name], (name, shape)
    assert layout["control_bytes"] == layout["rows"]
    assert layout["window_bytes"] % REGION == 0


@pytest.mark.parametrize("seed", range(200))
def test_little_is_wasted(seed):
    """Alignment may cost a region per part, and one more for each of the 21 tables of scratch."""
    shape = random_shape(seed)
    padding = _lib.window_layout(*shape)["window_bytes"] - sum(least_bytes(*shape).values())
    assert padding <= (len(PARTS) + 2 + 21) * REGION


def test_offsets_are_64_bit():
    capacity, row_bytes = 2**31 - 1, 16384
    layout = _lib.window_layout(8, 256, 1, capacity, row_bytes, 0, 0, 0)
    assert layout["scales"] - layout["rows"] == round_up(capacity * row_bytes, REGION)
    assert layout["window_bytes"] > 2 * capacity * row_bytes > 2**45


def test_fields_are_distinct_words():
    words = _lib.window_fields()
    assert len(set(words.values())) == len(words) and words["magic"] == 0
