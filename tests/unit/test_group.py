"""Rendezvous and all-gather of the ranks of one machine: right results, and errors that name the rank."""
import threading
import time

import numpy as np
import pytest

from ms_moe_comm.group import LocalGroup, SoloGroup, open_group
from rank_helpers import run_ranks, unique_address


@pytest.fixture(name="address")
def address_of_this_test(request):
    return unique_address(request.node.nodeid)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_gather(address, size):
    def program(rank):
        with LocalGroup(address, rank, size, timeout=10) as group:
            first = group.all_gather([rank, -rank, (1 << 62) + rank])
            second = group.all_gather([7 * rank])
            return first, second

    expected = [[rank, -rank, (1 << 62) + rank] for rank in range(size)]
    for first, second in run_ranks(size, program):
        assert first.dtype == np.int64 and first.tolist() == expected
        assert second.tolist() == [[7 * rank] for rank in range(size)]


def test_late_rank_zero(address):
    def program(rank):
        time.sleep(0.3 * (rank == 0))
        with LocalGroup(address, rank, 2, timeout=5) as group:
            return group.all_gather([rank]).tolist()

    assert run_ranks(2, program) == [[[0], [1]]] * 2


def test_missing_rank_is_named_on_all(address):
    def program(rank):
        if rank == 2:
            return None
        return LocalGroup(address, rank, 4, timeout=0.5).all_gather([rank])

    errors = run_ranks(4, program)
    for rank in (0, 1, 3):
        assert isinstance(errors[rank], RuntimeError) and "rank 2 of 4 did not come" in str(errors[rank])


def test_missing_rank_zero_is_named(address):
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="rank 0 did not come to the address .* within 0.3 seconds"):
        LocalGroup(address, 1, 2, timeout=0.3)
    assert time.monotonic() - started < 3


def test_rank_that_left_is_named_on_all(address):
    def program(rank):
        with LocalGroup(address, rank, 3, timeout=5) as group:
            group.all_gather([rank])
            if rank == 1:
                return None
            return group.all_gather([rank])

    started = time.monotonic()
    errors = run_ranks(3, program)
    for rank in (0, 2):
        assert isinstance(errors[rank], RuntimeError) and "rank 1 of 3" in str(errors[rank])
    assert time.monotonic() - started < 4, "the end of a rank is known at once, not at the deadline"


def test_rank_that_never_gathers_is_named_on_all(address):
    done = threading.Event()

    def program(rank):
        with LocalGroup(address, rank, 3, timeout=0.5) as group:
            if rank == 2:
                return done.wait(10)
            try:
                return group.all_gather([rank])
            finally:
                done.set()

    errors = run_ranks(3, program)
    for rank in (0, 1):
        assert isinstance(errors[rank], RuntimeError) and "rank 2 of 3" in str(errors[rank])


def test_different_lengths_are_an_error_on_all(address):
    errors = run_ranks(2, lambda rank: LocalGroup(address, rank, 2, timeout=5).all_gather([0] * (rank + 1)))
    assert all("different numbers of values: {0: 1, 1: 2}" in str(error) for error in errors)


def test_different_sizes_are_an_error_on_all(address):
    errors = run_ranks(2, lambda rank: LocalGroup(address, rank, 2 + rank, timeout=2).all_gather([0]))
    assert all("rank 1 expects a group of 3, rank 0 one of 2" in str(error) for error in errors)


def test_rank_twice_is_an_error_on_all(address):
    errors = run_ranks(3, lambda rank: LocalGroup(address, min(rank, 1), 3, timeout=2).all_gather([0]))
    assert all("rank 1 came" in str(error) and "twice" in str(error) for error in errors)


def test_two_groups_at_one_address(address):
    errors = run_ranks(2, lambda _: LocalGroup(address, 0, 2, timeout=0.5))
    assert sum("another rank 0 already waits" in str(error) for error in errors) == 1


def test_closed_group_refuses(address):
    def program(rank):
        with LocalGroup(address, rank, 2, timeout=5) as group:
            group.all_gather([0])
        return group.all_gather([0])

    assert all("the group is closed" in str(error) for error in run_ranks(2, program))


def test_rank_out_of_range(address):
    with pytest.raises(ValueError, match="rank is 2, but a group of 2 has ranks 0 to 1"):
        LocalGroup(address, 2, 2)


def test_open_group_of_one():
    with open_group() as group:
        assert (group.rank, group.size, group.all_gather([3, 4]).tolist()) == (0, 1, [[3, 4]])


def test_open_group_takes_any_group_object():
    mine = SoloGroup()
    with open_group(mine) as group:
        assert group is mine


def test_open_group_refuses_other_things():
    with pytest.raises(TypeError, match="group is 7: give None"):
        with open_group(7):
            pass


def test_forgotten_init_is_told(monkeypatch):
    monkeypatch.setenv("MS_WORKER_NUM", "4")
    with pytest.raises(RuntimeError, match=r"one of 4 processes of msrun.*call mindspore.communication.init\(\)"):
        with open_group():
            pass


def test_named_group_without_communication():
    with pytest.raises(RuntimeError, match="group is 'ep', but communication is not initialised"):
        with open_group("ep"):
            pass
