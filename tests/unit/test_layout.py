"""The layout of a window, for random shapes: parts in order, aligned, each large enough for what it holds, 64-bit."""
import random

import mindspore as ms
import numpy as np
import pytest

from ms_moe_comm import _lib
from ms_moe_comm.parameters import WindowParameters

LINE, REGION = 64, 512


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
    return {"world_size": world_size, "expert_num": expert_num, "block_dim": rng.randint(1, limits["max_blocks"]),
            "capacity": capacity, "row_bytes": row_bytes, "shared_rank_num": shared_ranks, "pooled_tokens": tokens,
            "pooled_pairs": tokens * rng.randint(1, 16)}


def least_bytes(shape):
    """{part: least bytes}: room for what the kernels write, with the row of each block and source on its own lines."""
    ranks, blocks, capacity, row = (shape[name] for name in ("world_size", "block_dim", "capacity", "row_bytes"))
    slots = shape["shared_rank_num"] + shape["expert_num"]
    table = blocks * round_up(4 * slots, LINE)
    parts = {
        "header": 8 * len(_lib.window_fields()), "records": blocks * LINE, "peers": 8 * ranks, "live": ranks,
        "counts": 2 * ranks * round_up(8 * (slots + 1), LINE),
        **dict.fromkeys(("arrived", "ready", "handed", "aborted", "meeting"), ranks * LINE),
        "histogram": table, "next_rows": table, "first_rows": 4 * slots, "last_rows": 4 * slots,
        "received": 4 * (shape["expert_num"] // (ranks - shape["shared_rank_num"])),
        "sources": 4 * ranks, "destinations": 4 * ranks, "dropped_from": 8 * ranks, "dropped_to": 8 * ranks,
        "last_dropped_from": 4 * ranks, "last_dropped_to": 4 * ranks, "notes": blocks * LINE,
        "waited": 4 * blocks * round_up(8 * ranks, LINE),
    }
    if shape["pooled_tokens"]:
        parts.update({"shares": ranks * round_up(4 * ranks, LINE),
                      **dict.fromkeys(("loads", "bringers", "moves", "helpers", "helped"), 4 * ranks),
                      "own_rows": 4 * slots, "shifts": 4 * slots})
    parts.update({"rows": capacity * row, "scales": 4 * capacity, "outputs": capacity * row})
    if shape["pooled_tokens"]:
        parts.update({"inputs": shape["pooled_tokens"] * row, "entries": 16 * shape["pooled_pairs"]})
    return parts


@pytest.mark.parametrize("seed", range(200))
def test_parts_do_not_overlap(seed):
    shape = random_shape(seed)
    layout, least = _lib.window_layout(shape), least_bytes(shape)
    assert list(layout) == list(least)
    end = 0
    for name, (offset, size, pitch, _) in layout.items():
        assert offset == end and offset % REGION == 0 and size % REGION == 0, (name, shape)
        assert least[name] <= size and pitch > 0, (name, shape)
        end = offset + size


@pytest.mark.parametrize("seed", range(200))
def test_little_is_wasted(seed):
    """Alignment costs less than one region per part."""
    layout, least = _lib.window_layout(random_shape(seed)), least_bytes(random_shape(seed))
    assert all(size - least[name] < REGION for name, (_, size, _, _) in layout.items())


def test_offsets_are_64_bit():
    capacity, row_bytes = 2**31 - 1, 16384
    layout = _lib.window_layout({"world_size": 8, "expert_num": 256, "block_dim": 1, "capacity": capacity,
                                 "row_bytes": row_bytes, "shared_rank_num": 0, "pooled_tokens": 0, "pooled_pairs": 0})
    assert layout["scales"][0] - layout["rows"][0] == round_up(capacity * row_bytes, REGION)
    assert sum(layout["outputs"][:2]) > 2 * capacity * row_bytes > 2**45


@pytest.mark.parametrize("change, text", [
    ({}, None), ({"top_k": None}, "needs 'top_k'"), ({"epoch": 3}, "'epoch' is no word that a window's creation gives"),
    ({"capacities": 3}, "'capacities' is no word"), ({"world_size": None}, "needs 'world_size'")])
def test_a_header_has_the_words_of_the_schema(change, text):
    words = WindowParameters(ep_world_size=1, moe_expert_num=2, hidden_size=32, top_k=1, max_tokens_per_rank=1,
                             dtype=ms.float32).header_words()
    words = {name: word for name, word in {**words, "rank_id": 0, **change}.items() if word is not None}
    memory = np.zeros(1 << 16, np.uint8)
    if text is None:
        _lib.init_window(memory.ctypes.data, words, [memory.ctypes.data], False)
        _lib.close_window(memory.ctypes.data)
    else:
        with pytest.raises(ValueError, match=text):
            _lib.init_window(memory.ctypes.data, words, [memory.ctypes.data], False)


def test_fields_are_distinct_words():
    words = _lib.window_fields()
    assert len(set(words.values())) == len(words) and words["magic"] == 0
