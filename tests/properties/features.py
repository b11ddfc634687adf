"""The features that a step of a case exercises: the rows of the table that tests/features.sh prints."""

import itertools

# name -> whether a step of a case has it
BOTH = {
    "several ranks": lambda case, step: case["world_size"] > 1,
    "ranks in prefill and in decode": lambda case, step: len(set(step["phases"])) > 1,
    "several cores": lambda case, step: case["block_dim"] > 1,
    "T = 0 on a rank": lambda case, step: 0 in step["tokens"],
    "views": lambda case, step: step["view"] is not None,
    "int32 ids": lambda case, step: step["id_dtype"] == "int32",
    "int64 ids": lambda case, step: step["id_dtype"] == "int64",
    "negative ids": lambda case, step: any(step["tokens"]),
    "repeated experts": lambda case, step: step["ids"] in ("any", "hot") and case["top_k"] > 1,
    "experts without rows": lambda case, step: step["ids"] in ("hot", "none"),
    "mask [T]": lambda case, step: step["mask"] == "token",
    "mask [T, K]": lambda case, step: step["mask"] == "expert",
    "redundant experts": lambda case, step: case["map"] is not None,
    "replica policy spread": lambda case, step: case["map"] == "spread",
    "replica policy rank": lambda case, step: case["map"] == "rank",
    "replica policy token": lambda case, step: case["map"] == "token",
    "zero experts": lambda case, step: case["special"][0] > 0,
    "copy experts": lambda case, step: case["special"][1] > 0,
    "constant experts": lambda case, step: case["special"][2] > 0,
    "shared experts on ranks of their own": lambda case, step: case["shared"][0] > 0,
    "ranks that leave": lambda case, step: case["leave"] is not None,
    "overflow: drop": lambda case, step: case["room"] == "drop",
}
DISPATCH = {
    **BOTH,
    "overflow: error": lambda case, step: case["room"] == "overflow",
    "counts": lambda case, step: not step["cumulative"],
    "cumulative sums": lambda case, step: step["cumulative"],
    "balanced": lambda case, step: (case["balanced"] and "prefill" in step["phases"] and
                                    len(set(step["tokens"])) > 1),
    "rows as they are": lambda case, step: case["quant_mode"] == 0,
    "int8 rows": lambda case, step: case["quant_mode"] == 2,
    "smooth scales [H]": lambda case, step: case["smooth"] == "column",
    "smooth scales [E, H]": lambda case, step: case["smooth"] == "expert",
}
COMBINE = {
    **BOTH,
    "weights": lambda case, step: step["weights"],
    "plain sum": lambda case, step: not step["weights"],
    "outputs in place": lambda case, step: step["in_place"],
    "outputs elsewhere": lambda case, step: not step["in_place"],
    "shared_expert_x": lambda case, step: step["shared_expert_x"] and not case["shared"][0],
    "residual_x": lambda case, step: step["residual_x"],
    "out_dtype": lambda case, step: step["out_dtype"] is not None,
}
PREFILL_DISPATCH = {
    **DISPATCH,
    "kept plan": lambda case, step: step["keep"],
}
PRIMITIVES = {"moe_decode_dispatch": DISPATCH, "moe_prefill_dispatch": PREFILL_DISPATCH,
              "moe_decode_combine": COMBINE, "moe_prefill_combine": COMBINE}


def cells(case):
    """(feature, primitive) of every step of a case that passed. A step that overflows has no combine."""
    for step in case["steps"]:
        for phase, kind in itertools.product(sorted(set(step["phases"])), ("dispatch", "combine")):
            if kind == "combine" and (not step["combine"] or case["room"] == "overflow"):
                continue
            primitive = f"moe_{phase}_{kind}"
            for name, has in PRIMITIVES[primitive].items():
                if has(case, step):
                    yield name, primitive


def table(seen, dtypes):
    """The table as text, and the cells that no step exercised."""
    names = list(dict.fromkeys(name for features in PRIMITIVES.values() for name in features))
    head = [f"{primitive.removeprefix('moe_')} {dtype}" for primitive in PRIMITIVES for dtype in dtypes]
    lines = [f"{'':38}" + "".join(f"{word:>10}" for word in (h.split()[0].split("_")[0] for h in head)),
             f"{'':38}" + "".join(f"{word:>10}" for word in (h.split()[0].split("_")[1] for h in head)),
             f"{'':38}" + "".join(f"{h.split()[1]:>10}" for h in head)]
    empty = []
    for name in names:
        row = []
        for primitive, features in PRIMITIVES.items():
            for dtype in dtypes:
                count = seen[name, primitive, dtype]
                row.append(f"{count:>10}" if name in features else f"{'-':>10}")
                if name in features and count == 0:
                    empty.append((name, primitive, dtype))
        lines.append(f"{name:38}" + "".join(row))
    return "\n".join(lines), empty
