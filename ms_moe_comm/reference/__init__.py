"""Dispatch and combine of a whole group in plain numpy: written for reading, and what the kernels are tested against.

Lists have one entry per rank. Values are float32 arrays that hold exact values of the rows' dtype; :func:`round_to`
makes such values.
"""

from ms_moe_comm.reference.combining import combine, constant_coefficients
from ms_moe_comm.reference.int8 import grouped_matmul_int8, quantise_rows
from ms_moe_comm.reference.rounding import round_to
from ms_moe_comm.reference.routing import DROPPED, NOT_ROUTED, SPECIAL_EXPERT, Group, Routed, dispatch, route

__all__ = ["DROPPED", "NOT_ROUTED", "SPECIAL_EXPERT", "Group", "Routed", "combine", "constant_coefficients", "dispatch",
           "grouped_matmul_int8", "quantise_rows", "round_to", "route"]
