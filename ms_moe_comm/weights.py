"""The parameters of one mixture-of-experts layer, and their quantisation to int8."""

from dataclasses import dataclass, fields

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor
from mindspore.common.dtype import Type
from mindspore.common.np_dtype import bfloat16
from numpy.typing import NDArray

from .arguments import check_dtype, check_type, shown
from .reference import round_to

_MATRICES = ("gate_up", "down", "shared_gate_up", "shared_down")
_OPTIONAL_ARRAYS = _MATRICES[2:]


def quantise_columns(weight: NDArray[np.float32],
                     scale_dtype: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 weights with a scale for each output column: symmetric, the largest magnitude of a column becomes 127.

    The scale is first rounded to its dtype, and then the weights are divided by it. So the matmul's product is off by
    at most half a step (a column's largest weight by a bit more if the rounding took its scale down).

    Args:
        weight (numpy.ndarray): [E, K, N] float32, finite.
        scale_dtype (str): "float32" or "bfloat16".

    Returns:
        tuple of numpy.ndarray: [E, K, N] int8 in -127 to 127, and [E, N] float32 with exact values of `scale_dtype`. A
        column of zeros has scale 0.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    largest = np.abs(weight).max(axis=1)
    if not np.isfinite(largest).all():
        expert, column = np.argwhere(~np.isfinite(largest))[0]
        raise ValueError(f"Weights must be finite to be quantised, but column {column} of expert {expert} has a NaN or "
                         f"an infinity.")
    scale = round_to(largest / np.float32(127), scale_dtype)
    steps = np.rint(weight / np.where(scale > 0, scale, np.float32(1))[:, None])
    return np.clip(steps, -127, 127).astype(np.int8), scale


def _check_dimensions(owner: str, key: str, array: NDArray | Tensor) -> None:
    needed = 3 if key in _MATRICES else 2
    if array.ndim != needed:
        raise ValueError(f"For '{owner}', '{key}' must have {needed} dimensions, but its shape is "
                         f"{tuple(array.shape)}.")


@dataclass
class MoEWeights:
    """Parameters of one MoE layer. The layers of all phases are built from the same object and so share them.

    Attributes (E experts of the group, E_local of this rank; a dense layer holds all, E_local = E; H hidden size, I
    width of an expert, S width of the shared expert; `dtype` is that of the activations, or int8):
        router (Parameter): [H, E] float32.
        gate_up (Parameter): [E_local, H, 2 * I] dtype, each expert's gate projection left of its up projection.
        down (Parameter): [E_local, I, H] dtype.
        shared_gate_up (Parameter, optional): [1, H, 2 * S] dtype.
        shared_down (Parameter, optional): [1, S, H] dtype.
        gate_up_scale, down_scale, shared_gate_up_scale, shared_down_scale (Parameter, optional): with int8 weights, the
            scale of each output column, float32 or bfloat16: the shape of the weights without the middle dimension.
    """

    router: Parameter
    gate_up: Parameter
    down: Parameter
    shared_gate_up: Parameter | None = None
    shared_down: Parameter | None = None
    gate_up_scale: Parameter | None = None
    down_scale: Parameter | None = None
    shared_gate_up_scale: Parameter | None = None
    shared_down_scale: Parameter | None = None

    @classmethod
    def from_numpy(cls, name: str, arrays: dict[str, NDArray], dtype: Type) -> "MoEWeights":
        """Parameters `<name>.<key>` from float32 arrays, which are rounded to `dtype` (the router's is not).

        Args:
            name (str): prefix of the parameters' names, unique in the model.
            arrays (dict[str, numpy.ndarray]): an array per attribute without the scales; those of the shared expert may
                be absent.
            dtype (mindspore.dtype): float32, float16 or bfloat16.

        Raises:
            TypeError: an argument of another type than these.
            ValueError: an array is missing, unknown, or has wrong dimensions.
        """
        cls._check_arrays("MoEWeights.from_numpy", name, arrays, dtype)
        tensors = {key: Tensor(array, ms.float32 if key == "router" else dtype) for key, array in arrays.items()}
        return cls._named(name, tensors)

    @classmethod
    def quantised(cls, name: str, arrays: dict[str, NDArray], dtype: Type) -> "MoEWeights":
        """Like :meth:`from_numpy`, with the experts' weights as int8 (see :func:`quantise_columns`).

        The scales are bfloat16 for bfloat16 activations, as CANN's GroupedMatmul needs, else float32.

        Args:
            name, arrays: see :meth:`from_numpy`.
            dtype (mindspore.dtype): of the activations: float32, float16 or bfloat16.

        Raises:
            TypeError, ValueError: see :meth:`from_numpy`.
            ValueError: a weight is NaN or infinite.
        """
        cls._check_arrays("MoEWeights.quantised", name, arrays, dtype)
        scale_dtype = ms.bfloat16 if dtype == ms.bfloat16 else ms.float32
        tensors = {"router": Tensor(arrays["router"], ms.float32)}
        for key in (key for key in _MATRICES if key in arrays):
            weight, scale = quantise_columns(arrays[key], "bfloat16" if scale_dtype == ms.bfloat16 else "float32")
            tensors[key] = Tensor(weight)
            tensors[f"{key}_scale"] = Tensor(scale, scale_dtype)
        return cls._named(name, tensors)

    @classmethod
    def _check_arrays(cls, owner: str, name: str, arrays: dict[str, NDArray], dtype: Type) -> None:
        check_type(owner, "name", name, str, "a str")
        check_type(owner, "arrays", arrays, dict, "a dict of arrays")
        check_dtype(owner, "dtype", dtype)
        names = ("router", *_MATRICES)
        missing = [key for key in names if key not in arrays and key not in _OPTIONAL_ARRAYS]
        unknown = [key for key in arrays if key not in names]
        if missing or unknown:
            raise ValueError(f"For '{owner}', 'arrays' must have {', '.join(names[:3])}, may have "
                             f"{', '.join(_OPTIONAL_ARRAYS)}, and nothing else, but got {shown(list(arrays))}.")
        for key, array in arrays.items():
            check_type(owner, f"arrays[{key!r}]", array, np.ndarray, "a numpy array")
            if array.dtype.kind not in "fiu" and array.dtype != bfloat16:
                raise TypeError(f"For '{owner}', arrays[{key!r}] must hold numbers, but its dtype is {array.dtype}.")
            _check_dimensions(owner, key, array)

    @classmethod
    def _named(cls, name: str, tensors: dict[str, Tensor]) -> "MoEWeights":
        return cls(**{key: Parameter(tensor, name=f"{name}.{key}", requires_grad=False)
                      for key, tensor in tensors.items()})

    @property
    def is_quantised(self) -> bool:
        """bool: the experts' weights are int8."""
        return self.gate_up_scale is not None

    def copy_from(self, other: "MoEWeights") -> None:
        """Takes the values of `other`, of the same shapes and dtypes, without a new compilation.

        Args:
            other (MoEWeights): for instance this rank's experts after a new placement.

        Raises:
            TypeError: `other` is no MoEWeights.
            ValueError: a parameter is absent in one of the two, or differs in shape or dtype.
        """
        check_type("MoEWeights.copy_from", "other", other, MoEWeights, "MoEWeights")
        for field in fields(self):
            own, given = getattr(self, field.name), getattr(other, field.name)
            described = [None if p is None else (p.shape, p.dtype) for p in (own, given)]
            if described[0] != described[1]:
                raise ValueError(f"{field.name} is {described[0]} here, but {described[1]} in the weights to copy.")
        for field in fields(self):
            if getattr(self, field.name) is not None:
                getattr(self, field.name).set_data(getattr(other, field.name))

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if given is None and field.default is None:
                continue
            check_type("MoEWeights", field.name, given, Tensor, "a Parameter" + " or None" * (field.default is None))
            _check_dimensions("MoEWeights", field.name, given)
        hidden_size, intermediate_size = self.gate_up.shape[1], self.down.shape[1]
        expected = {
            "router": (hidden_size, self.router.shape[1]),
            "gate_up": (self.gate_up.shape[0], hidden_size, 2 * intermediate_size),
            "down": (self.gate_up.shape[0], intermediate_size, hidden_size),
        }
        if (self.shared_gate_up is None) != (self.shared_down is None):
            raise ValueError("A shared expert needs both shared_gate_up and shared_down; only one was given.")
        if self.shared_down is not None:
            shared_size = self.shared_down.shape[1]
            expected["shared_gate_up"] = (1, hidden_size, 2 * shared_size)
            expected["shared_down"] = (1, shared_size, hidden_size)
        for key in [key for key in _MATRICES if key in expected]:
            weight, scale = getattr(self, key), getattr(self, f"{key}_scale")
            if (weight.dtype == ms.int8) != (scale is not None):
                raise ValueError(f"int8 weights need scales and others have none, but {key} is {weight.dtype} and "
                                 f"{key}_scale is {'absent' if scale is None else 'given'}.")
            if (scale is not None) != self.is_quantised:
                raise ValueError(f"All experts are int8 or none is, but gate_up is {self.gate_up.dtype} and {key} is "
                                 f"{weight.dtype}.")
            if scale is not None:
                expected[f"{key}_scale"] = (expected[key][0], expected[key][2])
        for key, shape in expected.items():
            if getattr(self, key).shape != shape:
                raise ValueError(f"{key} has shape {getattr(self, key).shape}, but the other weights of the layer ask "
                                 f"for {shape}.")
