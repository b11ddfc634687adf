"""How much memory a window takes, part by part, and what relay buffers would take for the same shape."""
from dataclasses import dataclass

from ms_moe_comm.arguments import check_type
from ms_moe_comm.parameters import WindowParameters

_MIB = 1 << 20


@dataclass(frozen=True)
class MemoryReport:
    """Memory of one rank, in bytes. `str()` of it is a table.

    Attributes:
        parameters (WindowParameters): what the window is for.
        parts (dict[str, int]): the window's parts (see op_impl/contract/window_schema.h), alignment included. The
            tables of a rank's own kernels are one, "tables".
        total (int): the whole window; the sum of the parts.
        relay_buffers (dict[str, int]): product -> bytes of the buffers of a design that packs rows, relays them and
            restores their order. Such a design needs them besides the tensors that take the place of `rows` and
            `outputs`.
    """

    parameters: WindowParameters
    parts: dict[str, int]
    total: int
    relay_buffers: dict[str, int]

    @classmethod
    def of(cls, parameters: WindowParameters) -> "MemoryReport":
        """The report of a window with these parameters; needs no window and no group."""
        check_type("MemoryReport.of", "parameters", parameters, WindowParameters,
                   "a ms_moe_comm.parameters.WindowParameters")
        parts: dict[str, int] = {}
        for name, part in parameters.layout().items():
            heading = "tables" if part.kind == "table" else name
            parts[heading] = parts.get(heading, 0) + part.bytes
        relay_buffers = {product: formula(parameters) for product, formula in _RELAY_BUFFERS.items()}
        return cls(parameters, parts, parameters.window_bytes, relay_buffers)

    @property
    def relay_totals(self) -> dict[str, int]:
        """product -> bytes of the relay buffers and of the tensors [A, H] before and after the experts."""
        tensors = 2 * self.parameters.capacity * self.parameters.row_bytes
        return {product: buffers + tensors for product, buffers in self.relay_buffers.items()}

    def __str__(self) -> str:
        p = self.parameters
        lines = [f"expert window of one rank: {p.ep_world_size} ranks, {p.moe_expert_num} experts, hidden size "
                 f"{p.hidden_size}, top-k {p.top_k}, up to {p.max_tokens_per_rank} tokens per rank, {p.dtype}, "
                 f"capacity {p.capacity} rows"]
        lines += [f"  {name:<28}{format_bytes(size):>12}" for name, size in self.parts.items()]
        lines += [f"  {'total':<28}{format_bytes(self.total):>12}",
                  "with relay buffers (HCCL_BUFFSIZE as CANN asks for MoeDistributeDispatch, and tensors [A, H]):"]
        lines += [f"  {f'{product}: buffers':<28}{format_bytes(buffers):>12}\n"
                  f"  {f'{product}: total':<28}{format_bytes(self.relay_totals[product]):>12}"
                  for product, buffers in self.relay_buffers.items()]
        return "\n".join(lines)


def format_bytes(size: float) -> str:
    """'512 B', '38.5 KiB', '224.1 MiB': at most one digit after the point."""
    if size < 1024:
        return f"{size} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def _relay_bytes_a3(parameters: WindowParameters) -> int:
    """HCCL_BUFFSIZE of an Atlas A3 rank in bytes.

    CANN, aclnnMoeDistributeDispatch, constraints (repository ops-transformer, mc2/moe_distribute_dispatch/docs):
    `1024^2 * (HCCL_BUFFSIZE - 2) / 2 >= BS * 2 * (H + 128) * (epWorldSize * localExpertNum + K + 1)`, in whole MB,
    where 2 in `2 * (H + 128)` are the bytes of a bf16 element and 256 bytes per row are its metadata. BS is
    max_tokens_per_rank; for float32, which CANN does not offer, an element counts its 4 bytes.
    """
    p = parameters
    rows = p.max_tokens_per_rank * (p.ep_world_size * p.local_expert_num + p.top_k + 1)
    return _whole_mib(2 * rows * (p.row_bytes + 256) + 2 * _MIB)


def _relay_bytes_a2(parameters: WindowParameters) -> int:
    """HCCL_BUFFSIZE of an Atlas A2 rank in bytes.

    Same document: `HCCL_BUFFSIZE >= 2 * (BS * epWorldSize * min(localExpertNum, K) * H * sizeof(uint16) + 2MB)`.
    """
    p = parameters
    rows = p.max_tokens_per_rank * p.ep_world_size * min(p.local_expert_num, p.top_k)
    return _whole_mib(2 * (rows * p.row_bytes + 2 * _MIB))


def _whole_mib(size: int) -> int:
    return -(-size // _MIB) * _MIB


_RELAY_BUFFERS = {"Atlas A3": _relay_bytes_a3, "Atlas A2": _relay_bytes_a2}
