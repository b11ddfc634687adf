"""Values of the rows' dtypes, as float32."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def round_to(values: ArrayLike, dtype: str) -> NDArray[np.float32]:
    """Rounds to "float32", "float16" or "bfloat16", half to even; the result is float32 again.

    Args:
        values (numpy.ndarray): float32, any shape.
        dtype (str): one of the three names.

    Returns:
        numpy.ndarray, float32.

    Raises:
        ValueError: another `dtype`.
    """
    values = np.asarray(values, np.float32)
    if dtype == "float32":
        return values
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if dtype == "bfloat16":
        bits = values.view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return np.where(np.isnan(values), values, rounded.view(np.float32))
    raise ValueError(f"dtype must be float32, float16 or bfloat16, but got {dtype!r}.")
