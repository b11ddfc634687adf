"""The library of operators (op_impl/mindspore/module.cc). Operators' signatures: _generated/gen_ops_def.pyi."""

from collections.abc import Sequence

from mindspore import Tensor

def drain() -> None: ...
def window_layout(
    world_size: int,
    expert_num: int,
    block_dim: int,
    capacity: int,
    row_bytes: int,
    shared_ranks: int,
    pooled_tokens: int,
    pooled_pairs: int,
) -> dict[str, int]: ...
def window_fields() -> dict[str, int]: ...
def limits() -> dict[str, int]: ...
def init_window(
    base: int,
    world_size: int,
    rank_id: int,
    expert_num: int,
    capacity: int,
    row_bytes: int,
    block_dim: int,
    max_tokens: int,
    top_k: int,
    dtype_code: int,
    timeout_us: int,
    shared_ranks: int,
    shared_experts: int,
    drops: bool,
    keeps_stats: bool,
    pooled_tokens: int,
    pooled_pairs: int,
    peer_bases: Sequence[int],
    on_npu: bool,
) -> None: ...
def resume_window(base: int, live: Sequence[bool]) -> None: ...
def close_window(base: int) -> None: ...
def start_recording() -> None: ...
def stop_recording() -> None: ...
def replay() -> None: ...
def memory_tensor(address: int, on_npu: bool, dtype: str, shape: Sequence[int]) -> Tensor: ...
def try_kernels(memory: int, cpu_cores: int) -> None: ...
def describe_error(base: int) -> str: ...
def set_sgemm(sgemm: object) -> None: ...  # a capsule of SciPy's BLAS
