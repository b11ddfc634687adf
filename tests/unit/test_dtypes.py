"""The table of dtypes (op_impl/contract/dtype.h) and all that speaks of them: none knows more, none fewer."""

import mindspore as ms
import numpy as np
import pytest

from ms_moe_comm import _lib, dtypes, reference
from tensors import DTYPES

NAMES = list(_lib.dtypes())


def test_the_tests_know_all_of_them():
    assert list(DTYPES) == NAMES
    assert [(dtype, code) for dtype, code, _ in dtypes.ROW_DTYPES] == [(getattr(ms, name), code) for name, (code, _)
                                                                      in _lib.dtypes().items()]


@pytest.mark.parametrize("name", NAMES)
def test_a_window_and_the_reference_have_them(name):
    memory = np.zeros(64, np.uint8)
    tensor = _lib.memory_tensor(memory.ctypes.data, False, name, [8])
    assert tensor.dtype == getattr(ms, name) and tensor.itemsize == _lib.dtypes()[name][1]
    ones = reference.round_to(np.ones(8, np.float32), name)
    np.testing.assert_array_equal(ones, 1)
    assert dtypes.bytes_of(getattr(ms, name)) == tensor.itemsize


def test_no_other():
    assert dtypes.code_of(ms.int32) == dtypes.code_of(ms.float64) == -1
    with pytest.raises(ValueError, match="dtype must be"):
        reference.round_to(np.ones(1), "int32")
