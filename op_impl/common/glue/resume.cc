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

  // Tells every rank `own` and returns what each of them tells.
  std::vector<Meeting> Exchange(const Meeting &own) const {
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (!live_[rank]) continue;
      Meeting *line = LineAt(rank);
      line->epoch = own.epoch;
      line->exchange = own.exchange;
      line->ranks = own.ranks;
    }
    return Meet(own.round);
  }

  // Nobody goes on before all have come to `round`. What was told before stays: a rank that is late still reads it.
  std::vector<Meeting> Meet(uint64_t round) const {
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (live_[rank]) __atomic_store_n(&LineAt(rank)->round, round, __ATOMIC_RELEASE);
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(window_.timeout_us);
    std::vector<Meeting> told(live_.size());
    for (uint64_t rank = 0; rank < live_.size(); ++rank) {
      if (!live_[rank]) continue;
      const Meeting *line = Line(base_, rank);
      while (__atomic_load_n(&line->round, __ATOMIC_ACQUIRE) < round) {
        if (std::chrono::steady_clock::now() > end) Fail(round);
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
      told[rank] = *line;
    }
    return told;
  }

 private:
  // This rank's line in the window of `peer`.
  Meeting *LineAt(uint64_t peer) const { return Line(reinterpret_cast<uint8_t *>(peers_[peer]), window_.rank); }
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

// The ranks tell each other where they are, and make their windows ready for what comes.
void Agree(uint8_t *base, const WindowParameters &window, const Group &group, const std::vector<bool> &live) {
  const WindowShape &shape = window.shape;
  uint64_t *header = reinterpret_cast<uint64_t *>(base);
  const Meeting own = {header[kResumeRounds] + 1, header[kEpoch], header[kExchange], Hash(live)};
  uint64_t epoch = 0;
  uint64_t exchange = 0;
  const std::vector<Meeting> told = group.Exchange(own);
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
  std::memset(base + AbortedOffset(shape), 0, shape.world_size * kLineBytes);
  std::copy(live.begin(), live.end(), base + LiveOffset(shape));
  header[kLeftRanks] = static_cast<uint64_t>(std::count(live.begin(), live.end(), false));
  header[kResumeRounds] += 1;
}

}  // namespace

void ResumeWindow(uint8_t *base, const std::vector<bool> &live) {
  const std::shared_ptr<OpenWindow> open = FindWindow(base);
  const WindowParameters &window = open->parameters;
  uint64_t *header = reinterpret_cast<uint64_t *>(base);
  const Group group(base, window, live);
  if (header[kResumeRounds] % 2 == 0) Agree(base, window, group, live);
  // Nobody begins before all have agreed. A rank that waits in vain here comes again, and goes on from here.
  group.Meet(header[kResumeRounds] + 1);
  std::memset(base + RecordOffset(0), 0, window.shape.block_dim * kLineBytes);  // until now the window was dead
  header[kResumeRounds] += 1;
}

}  // namespace moe_comm
