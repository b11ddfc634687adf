"""Every optional argument of every operator changes a result where it can, and is refused where it cannot."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import yaml
from mindspore import Tensor

import ms_moe_comm.ops  # noqa: F401  # gives the matmuls their BLAS
from ms_moe_comm import ExpertWindow
from ms_moe_comm._generated import gen_ops_def

E, H, K, T = 4, 32, 2, 3
DEFINITIONS = {op: definition for path in (Path(__file__).resolve().parents[2] / "ops_yaml").glob("moe_*.yaml")
               for op, definition in yaml.safe_load(path.read_text()).items()}
RNG = np.random.default_rng(24)


def normal(*shape):
    return Tensor(RNG.standard_normal(shape, np.float32))


def int32(values):
    return Tensor(np.array(values, np.int32))


X, OUTPUTS, WEIGHT = normal(T, H), normal(T * K, H), normal(2, H, 16)
IDS, SPECIAL_IDS = int32([[0, 1], [1, 3], [2, 0]]), int32([[0, 4], [1, 3], [5, 0]])
MAP, COUNT = int32([[0, 2], [1, 3]]), int32([2, 2])
LOGICAL = {"expert_ids": int32([[0, 1], [1, 0], [0, 0]]), "logical_to_physical_map": MAP,
           "logical_replica_count": COUNT}
COPIES = {"expert_ids": SPECIAL_IDS, "copy_expert_num": 2, "ori_x": X}
CONSTANT = {"const_expert_alpha_1": normal(1), "const_expert_alpha_2": normal(1), "const_expert_v": normal(1, H)}
CONSTANTS = {"expert_ids": SPECIAL_IDS, "zero_expert_num": 1, "const_expert_num": 1, "ori_x": X, **CONSTANT}
SMOOTH = Tensor(np.linspace(0.5, 2, H, dtype=np.float32))
QUANT = {"x": Tensor(RNG.integers(-99, 100, (3, H)).astype(np.int8)), "group_list": Tensor(np.array([2, 1])),
         "weight": Tensor(RNG.integers(-99, 100, (2, H, 16)).astype(np.int8)), "scale": normal(2, 16),
         "per_token_scale": normal(3)}

# argument: the other arguments, and two values of it that must give different results
DISPATCH = {
    "x_active_mask": ({}, None, Tensor(np.array([True, False, True]))),
    "scales": ({"quant_mode": 2}, None, SMOOTH),
    "logical_to_physical_map": (LOGICAL, MAP, int32([[0, 1], [2, 3]])),
    "logical_replica_count": (LOGICAL, COUNT, int32([1, 2])),
    "rank_mask": ({}, None, Tensor(np.array([False]))),
    "quant_mode": ({}, 0, 2),
    "expert_token_nums_type": ({}, 0, 1),
    "zero_expert_num": ({"expert_ids": SPECIAL_IDS, "copy_expert_num": 1}, 0, 1),
    "copy_expert_num": ({"expert_ids": SPECIAL_IDS, "const_expert_num": 1}, 0, 1),
    "const_expert_num": ({"expert_ids": SPECIAL_IDS, "zero_expert_num": 1}, 0, 1),
    "shared_expert_num": ({}, 0, 1),
    "replica_policy": (LOGICAL, 0, 1),
}
COMBINE = {
    "expert_scales": ({}, None, normal(T, K)),
    "shared_expert_x": ({}, None, normal(T, H)),
    "residual_x": ({}, None, normal(T, H)),
    "ori_x": (COPIES, X, normal(T, H)),
    **{name: (CONSTANTS, given, normal(*given.shape)) for name, given in CONSTANT.items()},
    "zero_expert_num": (COPIES, 0, 1),
    "copy_expert_num": ({**CONSTANTS, "zero_expert_num": 0}, 0, 1),
    "const_expert_num": (CONSTANTS, 1, 2),
    "out_dtype": ({}, -1, 1),
}
MATMUL = {"group_list_type": ({}, 1, 0)}
EFFECTS = {
    **{f"moe_{phase}_{kind}": table for phase in ("prefill", "decode")
       for kind, table in (("dispatch", DISPATCH), ("combine", COMBINE))},
    "moe_prefill_dispatch": {**DISPATCH, "kept_plan": ({}, None, int32([0] * (96 + T * K)))},
    "moe_dynamic_quant": {"smooth_scales": ({}, None, SMOOTH)},
    "moe_grouped_matmul": MATMUL,
    "moe_grouped_matmul_out": MATMUL,
    "moe_grouped_matmul_quant": {**MATMUL, "bias": ({}, None, int32([[9] * 16] * 2)), "output_dtype": ({}, 0, 1)},
    "moe_grouped_matmul_quant_out": {**MATMUL, "bias": ({}, None, int32([[9] * 16] * 2))},
}

ALONE = "'logical_to_physical_map' and 'logical_replica_count' belong together, but only the"
NO_CONSTANTS = "has no effect without constant experts (const_expert_num): pass None, or the number of them."
# the kind of operator, arguments of which the first has no effect, and the message
REFUSED = [
    ("dispatch", {"scales": SMOOTH}, "'scales' are the smooth factors of quantisation and have no effect with "
                                     "quant_mode 0. Pass None, or quant_mode 2."),
    ("dispatch", {"replica_policy": 2}, "'replica_policy' has no effect without 'logical_to_physical_map'. Pass a "
                                        "map, or leave it at 0."),
    ("dispatch", {"logical_to_physical_map": MAP}, f"{ALONE} first was given."),
    ("dispatch", {"logical_replica_count": COUNT}, f"{ALONE} second was given."),
    ("dispatch", {"shared_expert_num": 1}, "'shared_expert_num' is 1, but the window has 0 shared experts"),
    ("combine", {"ori_x": X}, "'ori_x' has no effect without copy experts (copy_expert_num) and constant experts"),
    ("combine", {"ori_x": X, "zero_expert_num": 2}, "'ori_x' has no effect without copy experts (copy_expert_num)"),
    *[("combine", {name: CONSTANT[name], **COPIES}, f"'{name}' {NO_CONSTANTS}") for name in CONSTANT],
]


def run(op, changes):
    """Bytes of the results of `op`, or its error."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    with ExpertWindow.create(moe_expert_num=E, hidden_size=H, top_k=K, max_tokens_per_rank=T,
                             dtype=ms.float32) as window:  # one for each run: some errors end it
        try:
            return [output.asnumpy().tobytes() for output in call(op, window, dict(changes))]
        except (ValueError, RuntimeError) as error:
            return str(error).splitlines()[0]


def call(op, window, changes):
    function = getattr(gen_ops_def, op)
    if op == "moe_dynamic_quant":
        return function(X, **changes)
    if "matmul" in op:
        arguments = QUANT if "quant" in op else {"x": OUTPUTS[:3], "weight": WEIGHT, "group_list": QUANT["group_list"]}
        out = {"out": ms.Parameter(Tensor(np.zeros((3, 16), np.float32)))} if op.endswith("out") else {}
        return (function(**arguments, **out, **changes),)
    ids = changes.pop("expert_ids", IDS)
    if op.endswith("dispatch"):
        rows = window.quantised_rows if changes.get("quant_mode") == 2 else window.rows
        outputs = function(X, ids, rows, window.scales, window.control, E, **changes)
        return *outputs[:4], outputs[5]  # neither control nor the plan, whose last words nobody writes or reads
    dispatch = getattr(gen_ops_def, op.replace("combine", "dispatch"))
    outputs = dispatch(X, ids, window.rows, window.scales, window.control, E, zero_expert_num=2)
    _, _, expand_idx, _, plan, physical_expert_ids, control = outputs
    return function(OUTPUTS, physical_expert_ids, expand_idx, plan, control, **changes)[:1]


@pytest.mark.parametrize("op, name", [(op, name) for op, definition in sorted(DEFINITIONS.items())
                                      for name, argument in definition["args"].items() if "default" in argument])
def test_an_argument_has_an_effect(op, name):
    """Field report 24 (sgl-kernel-npu's documents: arguments accepted and ignored): no argument is ignored."""
    others, one, other = EFFECTS[op][name]
    results = [run(op, {**others, name: value}) for value in (one, other)]
    assert any(isinstance(result, list) for result in results), results
    assert results[0] == run(op, {**others, name: one}), "something else differs as well"
    assert results[0] != results[1]


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("kind, arguments, text", REFUSED, ids=[next(iter(case[1])) for case in REFUSED])
def test_an_argument_without_an_effect_is_refused(phase, kind, arguments, text):
    """Field report 24 (sgl-kernel-npu's documents)."""
    result = run(f"moe_{phase}_{kind}", arguments)
    assert isinstance(result, str) and text in result, result


@pytest.mark.parametrize("op, name", [(op, name) for op, definition in sorted(DEFINITIONS.items())
                                      for name, argument in definition["args"].items()
                                      if argument["dtype"] == "int" and "default" in argument])
@pytest.mark.parametrize("value", [-2, 2**40])
def test_an_int_out_of_range_is_refused_by_name(op, name, value):
    """A kernel gets only 32 bits of the argument."""
    result = run(op, {name: value})
    assert isinstance(result, str) and f"'{name}'" in result, result
