"""The element types that rows may have: the table of op_impl/contract/dtype.h in MindSpore's terms."""

import mindspore as ms
from mindspore.common.dtype import Type

from ms_moe_comm import _lib

_NAMES = tuple(_lib.dtypes())
# (dtype, code, bytes of an element): kernels, headers and primitives know a dtype by its code
ROW_DTYPES: tuple[tuple[Type, int, int], ...] = tuple((getattr(ms, name), *_lib.dtypes()[name]) for name in _NAMES)
ALL_NAMES = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"


def code_of(dtype: Type) -> int:
    """The code of a dtype of the table, -1 for any other."""
    for known, code, _ in ROW_DTYPES:
        if dtype == known:
            return code
    return -1


def bytes_of(dtype: Type) -> int:
    """Bytes of an element of a dtype of the table."""
    return next(size for known, _, size in ROW_DTYPES if known == dtype)
