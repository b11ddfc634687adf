// Device memory that other processes map, by CANN's virtual memory calls: what the provider `vmm` is made of. Compiled
// only with CANN. Each call throws std::runtime_error with CANN's own words.
#ifndef MOE_COMM_ASCEND_NPU_MEMORY_H
#define MOE_COMM_ASCEND_NPU_MEMORY_H

#include <cstdint>
#include <vector>

namespace moe_comm::npu {

struct Device {
  int64_t id;   // as this process sees it
  int64_t pid;  // of this process, as the driver knows it
};
Device ThisDevice();

// Multiple of which every region must be.
uint64_t Granularity();

// A region of `bytes` on this device, mapped and zeroed. It is held until the process ends: peers may be reading it,
// and so may operators in flight.
uint64_t Reserve(uint64_t bytes);

// Who may map a region by a handle: whoever has it, in the super-node (Ascend 910_93) or on this server, which both take
// CANN 8.5; or the processes of this server that are listed.
enum HandleKind : int64_t { kFabric = 0, kServer, kProcesses };

// The words by which another process finds the region at `address`. `pids`: for kProcesses.
std::vector<int64_t> Export(uint64_t address, int64_t kind, const std::vector<int64_t> &pids);
constexpr uint64_t kHandleWords = 32;  // of an exported handle, unused ones zero

// Maps a peer's region here; returns its address in this process. Once per region and process.
uint64_t Import(const std::vector<int64_t> &handle, int64_t kind, uint64_t bytes);
// Of a peer's region that is not used.
void Release(uint64_t address);

// False if this device cannot reach device `peer` of the same server; otherwise it can from now on.
bool EnablePeer(int64_t peer);

}  // namespace moe_comm::npu

#endif  // MOE_COMM_ASCEND_NPU_MEMORY_H
