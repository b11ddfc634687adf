"""The provider `vmm`, for Ascend: CANN's virtual memory calls."""
from pathlib import Path

from ms_moe_comm import _ascend
from ms_moe_comm.group import join_ranks
from ms_moe_comm.providers.npu import PAGE_BYTES, NpuProvider

# The kinds of handle that share memory, in the order in which they are tried: within a super-node, within a server, and
# with listed processes of a server. The first needs Ascend 910_93, the first two need CANN 8.5.
_HANDLE_KINDS = ("fabric", "server", "processes")


class VirtualMemoryProvider(NpuProvider):
    """CANN's virtual memory calls: any group on one server; across the servers of a super-node on Ascend 910_93."""

    def allocate(self, window_bytes: int) -> None:
        rank = self.group.rank
        device, pid = _ascend.device()
        table = self.group.all_gather([device, pid, server_word()]).tolist()
        same_server = [row[2] == table[rank][2] for row in table]
        self._agree(self._reach(table, same_server))
        page = max(_ascend.granularity(), PAGE_BYTES)
        region_bytes = -(-window_bytes // page) * page
        base, refusal = 0, None
        try:
            base = _ascend.reserve(region_bytes)
        except RuntimeError as error:
            refusal = RuntimeError(f"no window: {region_bytes} bytes of device memory cannot be had: {error}. Lower "
                                   "max_tokens_per_rank or capacity.")
        self._agree(refusal)
        servers = len({row[2] for row in table})
        causes = []
        for kind in range(len(_HANDLE_KINDS) if servers == 1 else 1):
            bases, cause = self._share(base, region_bytes, kind, [row[1] for row in table])
            if bases is not None:
                self._bases = bases
                break
            causes.append(f"{_HANDLE_KINDS[kind]}: {cause}")
        else:
            raise RuntimeError(f"no window: device memory cannot be shared by any kind of handle that serves ranks on "
                               f"{servers} server{'s' * (servers > 1)}; {'; '.join(causes)}. Set "
                               "MS_MOE_COMM_WINDOW=symm on all ranks.")
        self._try_kernels()

    def _share(self, base: int, region_bytes: int, kind: int,
               pids: list[int]) -> tuple[list[int], None] | tuple[None, str]:
        """Maps every rank's region with one kind of handle: (addresses, None), or (None, cause) on all ranks."""
        handle, cause = [0] * 32, None
        try:
            handle = _ascend.export_region(base, kind, pids)
        except RuntimeError as error:
            cause = str(error)
        rows = self.group.all_gather([int(cause is not None), *handle]).tolist()
        failed = [rank for rank, row in enumerate(rows) if row[0]]
        if failed:
            return None, cause or f"rank {join_ranks(failed)} cannot export its memory"
        bases = []
        for peer, row in enumerate(rows):
            try:
                own = peer == self.group.rank
                bases.append(base if own else _ascend.import_region(row[1:], kind, region_bytes))
            except RuntimeError as error:
                cause = f"the memory of rank {peer} cannot be mapped: {error}"
                break
        without = self.group.all_gather([int(cause is not None)])[:, 0].nonzero()[0]
        if not without.size:
            return bases, None
        for address in bases:
            if address != base:
                _ascend.release_region(address)
        return None, cause or f"rank {join_ranks(without)} cannot map the memory of others"

    def _reach(self, table: list[list[int]], same_server: list[bool]) -> Exception | None:
        """Lets this device reach the peers' devices of this server; returns an error or None."""
        for peer, (device, _, _) in enumerate(table):
            if not same_server[peer] or peer == self.group.rank:
                continue
            try:
                reached = _ascend.enable_peer(device)
            except RuntimeError as error:
                return RuntimeError(f"no window: no access to device {device} of rank {peer}: {error}.")
            if not reached:
                return RuntimeError(f"no window: device {device} of rank {peer} cannot be reached from this one. Use "
                                    "cards that are joined by HCCS (npu-smi info -t topo), and do not hide devices "
                                    "with ASCEND_RT_VISIBLE_DEVICES.")
        return None


def server_word() -> int:
    """63 bits that differ between servers: a part of Linux's boot id, which the containers of a server share."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    return int(boot_id, 16) & (1 << 63) - 1
