"""Placement maps made from EPLB's physical_to_logical."""

import numpy as np
import pytest

from ms_moe_comm import ExpertPlacement


def test_the_map_of_four_experts_in_seven_slots():
    placement = ExpertPlacement([0, 1, 2, 3, 2, -1, 2], 4, max_replicas=3)
    np.testing.assert_array_equal(placement.logical_replica_count.asnumpy(), [1, 1, 3, 1])
    np.testing.assert_array_equal(placement.logical_to_physical_map.asnumpy(),
                                  [[0, -1, -1], [1, -1, -1], [2, 4, 6], [3, -1, -1]])
    placement.update([3, 2, 1, 0, 0, 1, -1])
    np.testing.assert_array_equal(placement.logical_replica_count.asnumpy(), [2, 2, 1, 1])
    np.testing.assert_array_equal(placement.logical_to_physical_map.asnumpy()[0], [3, 4, -1])


@pytest.mark.parametrize("slots, text", [
    ([0, 1, 2], "must have a slot for each of 4 logical experts, but has 3"),
    ([0, 1, 2, 2], "logical expert 3 has no slot"),
    ([0, 1, 2, 3, 4], "names logical expert 4, but there are 0 to 3"),
    ([0, 1, 2, 3, 3, 3], "logical expert 3 has more replicas than the 2 that there is room for"),
])
def test_what_is_no_placement(slots, text):
    """Field report 15 (vllm-ascend PR 1223, 5311, 12650: local ids past the last expert)."""
    with pytest.raises(ValueError, match=text):
        ExpertPlacement(slots, 4, max_replicas=2)


def test_an_update_of_another_length_is_refused_and_changes_nothing():
    placement = ExpertPlacement([0, 1, 1], 2)
    with pytest.raises(ValueError, match="must have a logical expert for each of 3 slots"):
        placement.update([0, 1])
    np.testing.assert_array_equal(placement.logical_replica_count.asnumpy(), [1, 2])


@pytest.mark.parametrize("max_replicas", [0, -1])
def test_no_room_for_any_replica(max_replicas):
    """Field report 24 (sgl-kernel-npu's documents): 0 does not mean None."""
    with pytest.raises(ValueError, match=f"'max_replicas' must be from 1 to 3, but got {max_replicas}"):
        ExpertPlacement([0, 1, 1], 2, max_replicas)
