#include "host/resume.h"

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "host/errors.h"
#include "host/resume_protocol.h"
#include "host/window_host.h"

namespace moe_comm {
namespace {

// This rank's host; the windows are memory of the operating system.
class Host {
 public:
  explicit Host(const WindowInfo &window) : window_(window) {}

  uint64_t Load(const uint64_t *word) const { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
  void Store(uint64_t *word, uint64_t value) const { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
  void Reads(const uint8_t *, uint64_t) const {}
  void Writes(const uint8_t *, uint64_t) const {}

  void Await(const std::vector<const uint64_t *> &rounds, const std::vector<bool> &live, uint64_t round) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(window_[kTimeoutUs]);
    for (;;) {
      const std::string missing = Missing(rounds, live, round);
      if (missing.empty()) return;
      if (std::chrono::steady_clock::now() > end) {
        throw std::runtime_error("For 'ExpertWindow.resume', rank " + std::to_string(window_[kRankId]) + " waited " +
                                 Seconds(window_[kTimeoutUs]) + " in vain for rank " + missing +
                                 ". Every rank that goes on must call it, with the same rank_mask.");
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  [[noreturn]] void Disagree(uint64_t rank) const {
    throw std::runtime_error("For 'ExpertWindow.resume', rank " + std::to_string(rank) +
                             " was given another rank_mask than rank " + std::to_string(window_[kRankId]) +
                             ". Give all ranks that go on the same.");
  }

 private:
  std::string Missing(const std::vector<const uint64_t *> &rounds, const std::vector<bool> &live,
                      uint64_t round) const {
    std::string missing;
    for (uint64_t rank = 0; rank < live.size(); ++rank) {
      if (live[rank] && Load(rounds[rank]) < round) missing += (missing.empty() ? "" : ", ") + std::to_string(rank);
    }
    return missing;
  }

  const WindowInfo &window_;
};

}  // namespace

void ResumeWindow(uint8_t *base, const std::vector<bool> &live) {
  const std::shared_ptr<OpenWindow> open = FindWindow(base);
  const WindowInfo &window = open->info;
  Host host(window);
  ResumeProtocol<Host>(host, base, window.shape, window[kRankId], live).Run();
}

}  // namespace moe_comm
