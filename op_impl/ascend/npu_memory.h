// Device memory that other processes map, through CANN's virtual memory calls. The provider `vmm` uses it. Compiled
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

// The size of every region must be a multiple of this.
uint64_t Granularity();

// Returns the address of a new region of `bytes` on this device, mapped and zeroed. The region stays until the process
// ends, since peers and operators in flight may still read it.
uint64_t Reserve(uint64_t bytes);

// Who may map a region by its handle: any process of the super-node (Ascend 910_93), any process of this server, or the
// listed processes of this server. The first two need CANN 8.5.
enum HandleKind : int64_t { kFabric = 0, kServer, kProcesses };

// The handle of the region at `address`, as words for another process. `pids`: the listed processes of kProcesses.
std::vector<int64_t> Export(uint64_t address, int64_t kind, const std::vector<int64_t> &pids);
constexpr uint64_t kHandleWords = 32;  // of an exported handle, unused ones zero

// Maps a peer's region and returns its address in this process. Called once per region and process.
uint64_t Import(const std::vector<int64_t> &handle, int64_t kind, uint64_t bytes);
// Unmaps a peer's region that is not used.
void Release(uint64_t address);

// Lets this device reach device `peer` of the same server. False if it cannot.
bool EnablePeer(int64_t peer);

}  // namespace moe_comm::npu

#endif  // MOE_COMM_ASCEND_NPU_MEMORY_H
