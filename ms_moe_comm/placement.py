"""Which physical experts serve each logical one: the map that dispatch takes, as parameters that may change."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor
from numpy.typing import NDArray

from ms_moe_comm.arguments import MAX_INT32, check_type, checked_integer, checked_integers


class ExpertPlacement:
    """Redundant experts of one layer, after the maps of EPLB (github.com/deepseek-ai/EPLB).

    A change needs no compilation: the graph reads the two parameters. Change the weights of the slots first, then the
    map, between two steps and on all ranks alike.

    Args:
        physical_to_logical (sequence of int): [E], the logical expert in each physical slot, or -1 for an idle one.
            Slot p is on rank p // (E / ranks); ranks of shared experts come before and do not count.
        logical_expert_num (int): L, at most E.
        max_replicas (int, optional): X, the most replicas of one expert that this or any later map has; None for
            E - L + 1, the most that there can be.
        name (str): prefix of the parameters' names, unique in the model.

    Attributes:
        logical_to_physical_map (Parameter): [L, X] int32, padded with -1.
        logical_replica_count (Parameter): [L] int32.
        physical_to_logical (numpy.ndarray): [E].

    Raises:
        TypeError: an argument of another type than these.
        ValueError: a logical expert without a slot, with more than `max_replicas`, or that does not exist; or
            `max_replicas` below 1 or above E.
    """

    physical_to_logical: NDArray[np.int64]

    def __init__(self, physical_to_logical: Sequence[int] | NDArray[np.integer], logical_expert_num: int,
                 max_replicas: int | None = None, name: str = "placement") -> None:
        slots = len(checked_integers("ExpertPlacement", "physical_to_logical", physical_to_logical))
        logical_expert_num = checked_integer("ExpertPlacement", "logical_expert_num", logical_expert_num, 1, MAX_INT32,
                                             "give the experts that the router knows")
        check_type("ExpertPlacement", "name", name, str, "a str")
        self.logical_expert_num = logical_expert_num
        if slots < logical_expert_num:
            raise ValueError(f"For 'ExpertPlacement', 'physical_to_logical' must have a slot for each of "
                             f"{logical_expert_num} logical experts, but has {slots}.")
        self.max_replicas = slots - logical_expert_num + 1
        if max_replicas is not None:
            self.max_replicas = checked_integer("ExpertPlacement", "max_replicas", max_replicas, 1, slots,
                                                "every expert has one, and none more than there are slots")
        shape = (logical_expert_num, self.max_replicas)
        self.logical_to_physical_map = Parameter(Tensor(np.full(shape, -1, np.int32)), requires_grad=False,
                                                 name=f"{name}.logical_to_physical_map")
        self.logical_replica_count = Parameter(Tensor(np.zeros(logical_expert_num, np.int32)), requires_grad=False,
                                               name=f"{name}.logical_replica_count")
        self._slots = slots
        self.update(physical_to_logical)

    def update(self, physical_to_logical: Sequence[int] | NDArray[np.integer]) -> None:
        """Takes another map with the same number of slots, for the steps from now on.

        Args:
            physical_to_logical (sequence of int): see the class.

        Raises:
            TypeError, ValueError: see the class; the old map stays.
        """
        logical = checked_integers("ExpertPlacement", "physical_to_logical", physical_to_logical)
        if len(logical) != self._slots:
            raise ValueError(f"physical_to_logical must have a logical expert for each of {self._slots} slots, but has "
                             f"{len(logical)} elements.")
        unknown = [expert for expert in logical if not -1 <= expert < self.logical_expert_num]
        if unknown:
            raise ValueError(f"physical_to_logical names logical expert {unknown[0]}, but there are 0 to "
                             f"{self.logical_expert_num - 1}, and -1 for an idle slot.")
        table = np.full((self.logical_expert_num, self.max_replicas), -1, np.int32)
        count = np.zeros(self.logical_expert_num, np.int32)
        for slot, expert in enumerate(logical):
            if expert < 0:
                continue
            if count[expert] == self.max_replicas:
                raise ValueError(f"logical expert {expert} has more replicas than the {self.max_replicas} that there "
                                 "is room for: make the placement with a larger max_replicas.")
            table[expert, count[expert]] = slot
            count[expert] += 1
        if not count.all():
            raise ValueError(f"logical expert {int(count.argmin())} has no slot: every expert needs one.")
        self.physical_to_logical = np.array(logical)
        self.logical_to_physical_map.set_data(Tensor(table, ms.int32))
        self.logical_replica_count.set_data(Tensor(count, ms.int32))
