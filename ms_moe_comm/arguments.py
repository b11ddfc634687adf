"""Checks of users' arguments. An error names the argument, what it must be, and what was given, on one line."""
import numbers
import operator
import reprlib
from collections.abc import Sequence
from typing import Any, TypeVar

import mindspore as ms
import numpy as np
from mindspore.common.dtype import Type

from ms_moe_comm.dtypes import ALL_NAMES, code_of

MAX_INT32 = 2**31 - 1
_SHOWN = (type(None), bool, int, float, str, list, tuple, dict, np.generic)
_Choice = TypeVar("_Choice", str, int)
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60


def shown(value: object) -> str:
    """`value` for an error: in full if it is short, else its beginning or its type. Never waits for a tensor."""
    if isinstance(value, Type):
        return str(value)
    if isinstance(value, _SHOWN):
        return " ".join(_repr.repr(value).split())
    return f"the type {value.__name__}" if isinstance(value, type) else f"an object of type {type(value).__name__}"


def as_integer(value: Any) -> int | None:
    """`value` as an int, or None if it is no int. numpy's integers are ints, floats and bools are not."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError):  # the latter from MindSpore's tensors
        return None


def checked_integer(owner: str, name: str, given: object, low: int, high: int, advice: str) -> int:
    """`given`, the argument `name` of `owner`, as an int from `low` to `high`.

    Raises:
        TypeError: it is no int.
        ValueError: it lies outside; `advice` says what to do.
    """
    value = as_integer(given)
    if value is None:
        raise TypeError(f"For '{owner}', '{name}' must be an int from {low} to {high}, but got {shown(given)}.")
    if not low <= value <= high:
        raise ValueError(f"For '{owner}', '{name}' must be from {low} to {high}, but got {shown(value)}: {advice}.")
    return value


def checked_integers(owner: str, name: str, given: object) -> list[int]:
    """`given` as a list of ints: a list, a tuple or an array of numpy; anything else is a TypeError."""
    if not isinstance(given, (list, tuple, np.ndarray)):
        raise TypeError(f"For '{owner}', '{name}' must be a sequence of ints, but got {shown(given)}.")
    values = []
    for place, element in enumerate(given):
        value = as_integer(element)
        if value is None:
            raise TypeError(f"For '{owner}', '{name}' must be a sequence of ints, but element {place} is "
                            f"{shown(element)}.")
        values.append(value)
    return values


def checked_mask(owner: str, name: str, given: Any, size: int) -> list[bool]:
    """`given` as a list of `size` bools; ints, floats and texts are a TypeError."""
    elements = given.asnumpy() if isinstance(given, ms.Tensor) else given
    is_sequence = isinstance(elements, (list, tuple, np.ndarray))
    if not is_sequence or not all(isinstance(element, (bool, np.bool_)) for element in elements):
        raise TypeError(f"For '{owner}', '{name}' must be a sequence of {size} bools, but got {shown(given)}.")
    if len(elements) != size:
        raise ValueError(f"For '{owner}', '{name}' must have {size} elements, but got {len(elements)}.")
    return [bool(element) for element in elements]


def checked_seconds(owner: str, name: str, given: Any, low: float, high: float, advice: str) -> float:
    """`given` as a float from `low` to `high`; else a TypeError or a ValueError, as for `checked_integer`."""
    is_number = isinstance(given, numbers.Real) and not isinstance(given, (bool, np.bool_))
    if is_number and low <= given < high:
        return float(given)
    raise (ValueError if is_number else TypeError)(
        f"For '{owner}', '{name}' must be from {low:g} to {high:g} seconds, but got {shown(given)}: {advice}.")


def check_type(owner: str, name: str, given: object, kind: type | tuple[type, ...], needed: str) -> None:
    """Raises TypeError if `given` is no `kind`; `needed` names the kind for the error."""
    if not isinstance(given, kind):
        raise TypeError(f"For '{owner}', '{name}' must be {needed}, but got {shown(given)}.")


def checked_choice(owner: str, name: str, given: object, allowed: Sequence[_Choice]) -> _Choice:
    """`given`, if it is one of `allowed` (texts or ints); else a ValueError or a TypeError."""
    kind = type(allowed[0])
    value = as_integer(given) if kind is int else given
    if not isinstance(value, kind) or value not in allowed:
        raise (ValueError if isinstance(value, kind) else TypeError)(
            f"For '{owner}', '{name}' must be one of {allowed}, but got {shown(given)}.")
    return value


def check_dtype(owner: str, name: str, given: object) -> None:
    """Raises TypeError if `given` is none of the dtypes that rows may have."""
    if not isinstance(given, Type) or code_of(given) < 0:
        raise TypeError(f"For '{owner}', '{name}' must be {ALL_NAMES}, but got {shown(given)}.")
