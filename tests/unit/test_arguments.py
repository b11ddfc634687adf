"""Any value for an argument of the Python classes either is right or gives an error that names the argument."""
import warnings

import mindspore as ms
import numpy as np
import pytest

from ms_moe_comm import (
    DenseMoELayer,
    ExpertPlacement,
    ExpertWindow,
    LocalGroup,
    MemoryReport,
    MoEDispatcher,
    MoELayer,
    MoEWeights,
    SoloGroup,
)
from ms_moe_comm.arguments import shown

E, H, INTERMEDIATE = 4, 8, 8
SHAPE = {"moe_expert_num": E, "hidden_size": H, "top_k": 2, "max_tokens_per_rank": 4, "dtype": ms.float32}
ARRAYS = {"router": np.ones((H, E), np.float32), "gate_up": np.ones((E, H, 2 * INTERMEDIATE), np.float32),
          "down": np.ones((E, INTERMEDIATE, H), np.float32)}

# Each of these is wrong for every argument, unless RIGHT says otherwise.
WRONG = {
    "None": None, "text": "wrong", "list of floats": [0.5, 1.9], "empty list": [], "float": 1.5, "nan": float("nan"),
    "negative": -3, "bool": True, "huge": 10**30, "dict": {}, "nested list": [[0, 1]], "list of texts": ["a", "b"],
    "huge in a list": [10**30, 1], "floats": np.array([0.5, 1.9]), "matrix": np.ones((2, 2)), "object": object(),
    "tensor": ms.Tensor([1.5]), "class": ExpertWindow, "dtype": ms.int8, "several lines": np.zeros((30, 30)),
}
RIGHT = {
    ("create", "group"): {"None"}, ("create", "capacity"): {"None"}, ("create", "block_dim"): {"None"},
    ("create", "timeout"): {"float"},
    ("create", "keep_stats"): {"bool"}, ("create", "balanced_prefill"): {"bool"},
    ("ExpertPlacement", "max_replicas"): {"None"}, ("ExpertPlacement", "name"): {"text"},
    ("LocalGroup", "address"): {"text"}, ("LocalGroup", "timeout"): {"float"},
    ("LocalGroup.all_gather", "values"): {"empty list"}, ("SoloGroup.all_gather", "values"): {"empty list"},
    ("MoELayer", "placement"): {"None"}, ("MoELayer", "max_tokens"): {"None"},
    ("MoEWeights", "shared_gate_up"): {"None"}, ("MoEWeights", "gate_up_scale"): {"None"},
    ("MoEWeights.from_numpy", "name"): {"text"}, ("MoEWeights.quantised", "name"): {"text"},
}


@pytest.fixture(name="window", scope="module")
def a_window():
    with ExpertWindow.create(**SHAPE) as window:
        yield window


@pytest.fixture(name="calls", scope="module")
def calls_with_right_arguments(window):
    """The functions that users call, by name, each with right arguments."""
    weights = MoEWeights.from_numpy("layer", ARRAYS, ms.float32)
    placement = ExpertPlacement([0, 1, 1, 0], 2)

    def create(**arguments):
        ExpertWindow.create(**arguments).close()

    def local_group(**arguments):
        LocalGroup(**arguments).close()

    return {
        "create": (create, {**SHAPE, "group": None, "capacity": None, "timeout": 1.0, "block_dim": 1,
                            "overflow": "error", "shared_expert_num": 0, "shared_expert_rank_num": 0,
                            "keep_stats": False, "balanced_prefill": False}),
        "resume": (window.resume, {"rank_mask": [True]}),
        "ExpertPlacement": (ExpertPlacement, {"physical_to_logical": [0, 1, 1], "logical_expert_num": 2,
                                              "max_replicas": None, "name": "a"}),
        "update": (placement.update, {"physical_to_logical": [0, 1, 1, 1]}),
        "LocalGroup": (local_group, {"address": "test_arguments", "rank": 0, "size": 1, "timeout": 1.0}),
        "LocalGroup.all_gather": (LocalGroup("test_arguments, too", 0, 1).all_gather, {"values": [1]}),
        "SoloGroup.all_gather": (SoloGroup().all_gather, {"values": [1]}),
        "MemoryReport.of": (MemoryReport.of, {"parameters": window.memory_report().parameters}),
        "MoEDispatcher": (MoEDispatcher, {"window": window, "phase": "decode", "quant_mode": 0, "zero_expert_num": 0,
                                          "copy_expert_num": 0, "const_expert_num": 0, "replica_policy": "spread"}),
        "MoELayer": (MoELayer, {"window": window, "weights": weights, "phase": "prefill", "placement": None,
                                "zero_expert_num": 0, "max_tokens": None}),
        "DenseMoELayer": (DenseMoELayer, {"weights": weights, "top_k": 2, "zero_expert_num": 0}),
        "MoEWeights": (MoEWeights, {"router": weights.router, "gate_up": weights.gate_up, "down": weights.down,
                                    "shared_gate_up": None, "gate_up_scale": None}),
        "MoEWeights.from_numpy": (MoEWeights.from_numpy, {"name": "a", "arrays": ARRAYS, "dtype": ms.float32}),
        "MoEWeights.quantised": (MoEWeights.quantised, {"name": "a", "arrays": ARRAYS, "dtype": ms.float32}),
        "copy_from": (weights.copy_from, {"other": weights}),
    }


ARGUMENTS = {
    "create": [*SHAPE, "group", "capacity", "timeout", "block_dim", "overflow", "shared_expert_num",
               "shared_expert_rank_num", "keep_stats", "balanced_prefill"],
    "resume": ["rank_mask"],
    "ExpertPlacement": ["physical_to_logical", "logical_expert_num", "max_replicas", "name"],
    "update": ["physical_to_logical"],
    "LocalGroup": ["address", "rank", "size", "timeout"],
    "LocalGroup.all_gather": ["values"],
    "SoloGroup.all_gather": ["values"],
    "MemoryReport.of": ["parameters"],
    "MoEDispatcher": ["window", "phase", "quant_mode", "zero_expert_num", "copy_expert_num", "const_expert_num",
                      "replica_policy"],
    "MoELayer": ["window", "weights", "phase", "placement", "zero_expert_num", "max_tokens"],
    "DenseMoELayer": ["weights", "top_k", "zero_expert_num"],
    "MoEWeights": ["router", "gate_up", "down", "shared_gate_up", "gate_up_scale"],
    "MoEWeights.from_numpy": ["name", "arrays", "dtype"],
    "MoEWeights.quantised": ["name", "arrays", "dtype"],
    "copy_from": ["other"],
}


def test_the_right_arguments_are_taken(calls):
    assert {name: list(arguments) for name, (_, arguments) in calls.items()} == ARGUMENTS
    for function, arguments in calls.values():
        function(**arguments)


@pytest.mark.parametrize("call, argument", [(call, argument) for call, arguments in ARGUMENTS.items()
                                            for argument in arguments])
def test_a_wrong_argument_is_named(calls, call, argument):
    function, arguments = calls[call]
    for kind, wrong in WRONG.items():
        if kind in RIGHT.get((call, argument), ()):
            function(**{**arguments, argument: wrong})
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
                function(**{**arguments, argument: wrong})
        message = str(caught.value)
        assert argument in message, f"{kind}: {message}"
        assert type(caught.value) in (TypeError, ValueError, RuntimeError) and "\n" not in message, f"{kind}: {message}"
        assert len(message) < 400 and message.endswith("."), f"{kind}: {message}"
        if wrong is None:
            assert isinstance(caught.value, TypeError), message


@pytest.mark.parametrize("key", ARRAYS)
@pytest.mark.parametrize("function", [MoEWeights.from_numpy, MoEWeights.quantised])
def test_wrong_arrays_are_named(function, key):
    for kind, wrong in WRONG.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            function("a", {**ARRAYS, key: wrong}, ms.float32)
        assert key in str(caught.value) or (kind == "matrix" and key == "router"), f"{kind}: {caught.value}"
        assert isinstance(wrong, np.ndarray) or isinstance(caught.value, TypeError), f"{kind}: {caught.value}"
    with pytest.raises(ValueError, match="must have router, gate_up, down, may have shared_gate_up, shared_down, and"):
        function("a", {name: array for name, array in ARRAYS.items() if name != key}, ms.float32)
    with pytest.raises(ValueError, match="must have router, gate_up, down, may have .* but got .*'biases'"):
        function("a", {**ARRAYS, "biases": ARRAYS[key]}, ms.float32)
    with pytest.raises(TypeError, match=rf"arrays\['{key}'\] must hold numbers, but its dtype is <U1"):
        function("a", {**ARRAYS, key: np.full(ARRAYS[key].shape, "a")}, ms.float32)


def test_numbers_that_are_no_ints_are_not_cut():
    for wrong in ([0.5, 1.9], np.array([0.0, 1.0]), [0, True], [np.float32(0), 1]):
        with pytest.raises(TypeError, match="'physical_to_logical' must be a sequence of ints, but"):
            ExpertPlacement(wrong, 2)
    with pytest.raises(TypeError, match="but element 1 is 1.9"):
        ExpertPlacement([0, 1.9], 2)
    with pytest.raises(ValueError, match="names logical expert -2, but there are 0 to 1, and -1 for an idle slot"):
        ExpertPlacement([0, 1, -2], 2)
    placement = ExpertPlacement(np.array([1, 0], np.int8), np.int64(2), np.int32(1))
    assert placement.physical_to_logical.tolist() == [1, 0]


def test_a_mask_of_anything_but_bools(window):
    for mask in (np.array([True]), ms.Tensor([True]), (np.bool_(True),)):
        window.resume(mask)
    for wrong in ([1], ["yes"], "y", np.array([1])):
        with pytest.raises(TypeError, match="'rank_mask' must be a sequence of 1 bools, but got"):
            window.resume(wrong)
    with pytest.raises(ValueError, match="'rank_mask' must have 1 elements, but got 2"):
        window.resume([True, True])
    with pytest.raises(ValueError, match="'rank_mask' must have rank 0, which calls it, among those that go on"):
        window.resume([False])


class OddGroup:
    """A group of one; a test chooses its attributes."""

    def __init__(self, rank=0, size=1, table=lambda values: np.array([values])):
        self.rank, self.size, self.all_gather = rank, size, table


@pytest.mark.parametrize("group, text", [
    (SoloGroup, "group is the type SoloGroup: give None, the name of"),
    (OddGroup(rank=lambda: 0), "the group's rank must be an int, but is an object of type function"),
    (OddGroup(size=1.0), "the group's size must be an int, but is 1.0"),
    (OddGroup(table=lambda values: None), r"all_gather of the group must return int64 \[1, 15\] for a list of 15 ints, "
                                          r"but gave object \[\]"),
    (OddGroup(table=np.array), r"but gave int64 \[15\]"),
    (OddGroup(table=lambda values: np.array([values], float)), r"but gave float64 \[1, 15\]"),
])
def test_a_group_that_is_none(group, text):
    with pytest.raises(TypeError, match=text):
        ExpertWindow.create(**SHAPE, group=group)


def test_what_is_shown_of_a_value():
    assert shown("a" * 1000) == "'" + "a" * 27 + "..." + "a" * 28 + "'"
    assert shown([1.5] * 100) == "[1.5, 1.5, 1.5, 1.5, 1.5, 1.5, ...]"
    assert shown(np.float32(1.5)) == "1.5" and shown(ms.int8) == "Int8"
    assert shown(np.ones(3)) == "an object of type ndarray"
