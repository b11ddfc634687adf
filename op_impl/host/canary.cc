#include "host/canary.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "contract/canary_lines.h"
#include "contract/window_schema.h"
#include "host/launch.h"

namespace moe_comm {
namespace {

constexpr uint64_t kLineWords = kCanaryLineBytes / sizeof(uint64_t);
constexpr uint64_t kHalfWords = kCanaryHalfBytes / sizeof(uint64_t);

std::string Hex(uint64_t word) {
  char text[sizeof("0x0123456789abcdef")];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(word));
  return text;
}

// Names the first wrong word in the lines of `cores` cores; empty if there is none.
std::string Fault(const std::vector<uint64_t> &lines, uint64_t cores) {
  for (uint64_t core = 0; core < cores; ++core) {
    const uint64_t expected[] = {kCanaryWord + core, kCanaryWord + (core + 1) % cores};
    for (uint64_t half = 0; half < 2; ++half) {
      const uint64_t found = lines[core * kLineWords + half * kHalfWords];
      if (found == expected[half]) continue;
      return "core " + std::to_string(core) + " of " + std::to_string(cores) +
             (half == 0 ? " wrote " : " read in the next core's line, after all had met, ") + Hex(found) +
             " instead of " + Hex(expected[half]);
    }
  }
  return "";
}

constexpr char kAdvice[] =
    ". Check: that CANN is 8.5 or newer; that this package was built with it and for this chip (install it again with "
    "ASCEND_HOME_PATH set, and with MOE_COMM_SOC_VERSIONS naming the chip of npu-smi info); that nothing else holds "
    "cores of this NPU (npu-smi info); and CANN's log (ASCEND_SLOG_PRINT_TO_STDOUT=1).";

}  // namespace

void TryKernels(uint64_t memory, uint64_t cpu_cores) {
  uint8_t *const lines = reinterpret_cast<uint8_t *>(memory);
  const bool on_npu = cpu_cores == 0;
  const uint64_t cores = std::min<uint64_t>(on_npu ? npu::VectorCores() : cpu_cores, kMaxBlocks);
  std::vector<uint64_t> words(cores * kLineWords);
  const uint64_t bytes = words.size() * sizeof(uint64_t);
  const CanaryArguments arguments = CanaryWith(named::Lines(lines), named::Low(static_cast<uint32_t>(kCanaryWord)),
                                               named::High(static_cast<uint32_t>(kCanaryWord >> 32)));
  std::string fault;
  if (on_npu) {
    npu::Clear(lines, bytes);
    try {
      const ArgumentBlock<CanaryArguments> block(arguments);
      npu::RunAlone(NameOf(arguments), cores, block.Data(), block.Bytes());
      npu::CopyToHost(words.data(), lines, bytes);
      npu::Clear(lines, bytes);
      fault = Fault(words, cores);
    } catch (const std::runtime_error &error) {
      fault = error.what();
    }
  } else {
    LaunchKernel(nullptr, cores, arguments);
    std::memcpy(words.data(), lines, bytes);
    std::memset(lines, 0, bytes);
    fault = Fault(words, cores);
  }
  if (!fault.empty())
    throw std::runtime_error("kernels do not run on this device: the first one failed: " + fault + kAdvice);
}

}  // namespace moe_comm
