#include "common/glue/resume.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "common/glue/window_host.h"

namespace moe_comm {
namespace {

// What a rank tells the others when they meet.
struct Meeting {
  uint64_t round;  // written last: with it, the rest is there
  uint64_t epoch;
  uint64_t exchange;
  uint64_t ranks;  // a hash of those that meet
};

class Group {
 public:
  Group(uint8_t *base, const WindowParameters &window, const std::vector<bool> &live)
      : base_(base), window_(window), live_(live),
        peers_(reinterpret_cast<const uint64_t *>(base + PeersOffset(window.shape))) {}

  // Tells every rank `own` and returns what each of them tells; nobody goes on before all have come.
  std::vector<Meeting> Meet(const Meeting &own) const {
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (!live_[rank]) continue;
      Meeting *line = Line(reinterpret_cast<uint8_t *>(peers_[rank]), window_.rank);
      line->epoch = own.epoch;
      line->exchange = own.exchange;
      line->ranks = own.ranks;
      __atomic_store_n(&line->round, own.round, __ATOMIC_RELEASE);
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(window_.timeout_us);
    std::vector<Meeting> told(live_.size());
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (!live_[rank]) continue;
      const Meeting *line = Line(base_, rank);
      while (__atomic_load_n(&line->round, __ATOMIC_ACQUIRE) < own.round) {
        if (std::chrono::steady_clock::now() > end) Fail(own.round);
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
      told[rank] = *line;
    }
    return told;
  }

 private:
  Meeting *Line(uint8_t *base, uint64_t rank) const {
    return reinterpret_cast<Meeting *>(base + MeetingOffset(window_.shape, rank));
  }

  [[noreturn]] void Fail(uint64_t round) const {
    std::string missing;
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (live_[rank] && __atomic_load_n(&Line(base_, rank)->round, __ATOMIC_ACQUIRE) < round) {
        missing += (missing.empty() ? "" : ", ") + std::to_string(rank);
      }
    }
    throw std::runtime_error("For 'ExpertWindow.resume', rank " + std::to_string(window_.rank) + " waited " +
                             Seconds(window_.timeout_us) + " in vain for rank " + missing +
                             ". Every rank that goes on must call it, with the same rank_mask.");
  }

  uint8_t *base_;
  const WindowParameters &window_;
  const std::vector<bool> &live_;
  const uint64_t *peers_;
};

uint64_t Hash(const std::vector<bool> &live) {
  uint64_t hash = 1;
  for (const bool rank : live) hash = hash * 3 + rank;
  return hash;
}

}  // namespace

void ResumeWindow(uint8_t *base, const std::vector<bool> &live) {
  const WindowParameters window = RegisteredWindow(base);
  const WindowShape &shape = window.shape;
  uint64_t *header = reinterpret_cast<uint64_t *>(base);
  const Group group(base, window, live);
  Meeting own = {2 * header[kResumes] + 1, header[kEpoch], header[kExchange], Hash(live)};
  uint64_t epoch = 0;
  uint64_t exchange = 0;
  const std::vector<Meeting> told = group.Meet(own);
  for (uint64_t rank = 0; rank < live.size(); ++rank) {
    if (!live[rank]) continue;
    if (told[rank].ranks != own.ranks) {
      throw std::runtime_error("For 'ExpertWindow.resume', rank " + std::to_string(rank) +
                               " was given another rank_mask than rank " + std::to_string(window.rank) +
                               ". Give all ranks that go on the same.");
    }
    epoch = std::max(epoch, told[rank].epoch);
    exchange = std::max(exchange, told[rank].exchange);
  }
  // above any that is in use: a dispatch that failed has used the next one
  header[kEpoch] = epoch + 1;
  header[kExchange] = exchange + 1;
  header[kVerdictCode] = kOk;
  std::memset(base + RecordOffset(0), 0, shape.block_dim * kLineBytes);
  std::memset(base + AbortedOffset(shape), 0, shape.world_size * kLineBytes);
  std::copy(live.begin(), live.end(), base + LiveOffset(shape));
  header[kLeftRanks] = static_cast<uint64_t>(std::count(live.begin(), live.end(), false));
  header[kResumes] += 1;
  own.round += 1;  // nobody begins before all have cleared theirs
  group.Meet(own);
}

}  // namespace moe_comm
