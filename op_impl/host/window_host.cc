#include "host/window_host.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "host/npu.h"

namespace moe_comm {
namespace {

uint64_t *Words(uint8_t *base) { return reinterpret_cast<uint64_t *>(base); }
const uint64_t *Words(const uint8_t *base) { return reinterpret_cast<const uint64_t *>(base); }

// Every open window of this process under the address of its control.
struct Registry {
  static Registry &Instance() {
    static Registry *registry = new Registry();  // never destroyed: operators may outlive static destruction
    return *registry;
  }
  std::mutex mutex;
  std::map<const uint8_t *, std::shared_ptr<OpenWindow>> windows;
};

// Bytes of a window where the host can read them: in place, or copied from the NPU.
class Memory {
 public:
  Memory(const uint8_t *address, uint64_t size, bool on_npu) : bytes_(address) {
    if (!on_npu) return;
    copy_.resize(size / sizeof(uint64_t));
    npu::CopyToHost(copy_.data(), address, size);
    bytes_ = reinterpret_cast<const uint8_t *>(copy_.data());
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  const uint8_t *Bytes() const { return bytes_; }

 private:
  std::vector<uint64_t> copy_;
  const uint8_t *bytes_;
};

// The record of this rank's error, nullptr if there is none.
const int64_t *FindRecord(const uint8_t *header, const WindowInfo &window) {
  for (uint64_t block = 0; block < window.shape.block_dim; ++block) {
    const int64_t *record = reinterpret_cast<const int64_t *>(header + window.layout.records(block));
    if (record[kCode] != kOk) return record;
  }
  return nullptr;
}

}  // namespace

std::string Seconds(uint64_t microseconds) {
  std::string text = std::to_string(microseconds / 1e6);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

namespace {

std::string AwaitedThing(int64_t phase) {
  switch (phase) {
    case kWaitCounts: return "the counts (phase 'counts')";
    case kWaitArrived: return "the rows (phase 'arrived')";
    case kWaitReady: return "the expert outputs (phase 'ready')";
    case kWaitHanded: return "the rows that it hands over (phase 'handed')";
    default: return "nothing (phase 'input')";
  }
}

std::string Cause(int64_t code, int64_t phase, int64_t missed) {
  switch (code) {
    case kTimedOut: return "it waited in vain for " + AwaitedThing(phase) + " of rank " + std::to_string(missed);
    case kPeerAborted: return "rank " + std::to_string(missed) + " had given up";
    case kExpertIdRange: return "an expert id was out of range there";
    case kRowIndexRange: return "an expand_idx was out of range there";
    case kNoDispatch: return "it called combine without a dispatch of its own";
    case kDisagree: return "its arguments were not those of rank " + std::to_string(missed);
    case kBadMap: return "its placement map was not valid";
    case kPlanMismatch: return "its plan was of another dispatch";
    case kKeptPlan: return "its kept plan did not hold any more";
    case kBadRankMask: return "its rank_mask could not be";
    case kInterrupted: return "it was interrupted";
    default: return "error code " + std::to_string(code);
  }
}

std::string Ranks(const int64_t *detail, int64_t count) {
  std::string text = count == 1 ? "rank " : "ranks ";
  for (int64_t i = 0; i < count && i < kDetailWords; ++i) text += (i ? ", " : "") + std::to_string(detail[i]);
  if (count > kDetailWords) text += " and " + std::to_string(count - kDetailWords) + " more";
  return text;
}

// `detail`: the first rank that was given something else, its agreement word, the own one.
std::string Disagreement(int64_t count, const int64_t *detail) {
  const int64_t there = detail[1];
  const int64_t here = detail[2];
  const auto field = [](int64_t word, uint32_t shift, uint32_t bits) { return (word >> shift) & ((1 << bits) - 1); };
  const auto differs = [=](uint32_t shift, uint32_t bits) { return field(there ^ here, shift, bits) != 0; };
  std::string text = "was given other arguments than rank " + std::to_string(detail[0]) +
                     (count > 1 ? " and " + std::to_string(count - 1) + " more" : "") + ": ";
  if (((there ^ here) & kKeepsPlan) != 0) {
    text += "that one keeps its plan, this one does not ('kept_plan', the kept_handle of MoEDispatcher)";
  } else if (differs(kQuantModeShift, kQuantModeBits)) {
    text += "quant_mode is " + std::to_string(field(here, kQuantModeShift, kQuantModeBits)) + " here and " +
            std::to_string(field(there, kQuantModeShift, kQuantModeBits)) + " there";
  } else if (differs(kSmoothKindShift, kSmoothKindBits)) {
    text += "scales (smooth factors) are of different shapes, or given to one alone, and balanced prefill needs them alike";
  } else if (differs(kMapHashBits, kMaskHashBits)) {
    text += "rank_mask differs";
  } else {
    text += "logical_to_physical_map or logical_replica_count differ";
  }
  return text + ". Give all ranks the same, from the same step on.";
}

// `detail`: logical expert, MapFault, the value, its limit.
std::string BadMap(const int64_t *detail) {
  const std::string expert = "logical expert " + std::to_string(detail[0]);
  const std::string value = std::to_string(detail[2]);
  if (detail[1] == kReplicaCount) {
    return "'logical_replica_count' gives " + expert + " " + value + " replicas, but the map has room for 1 to " +
           std::to_string(detail[3]) + ". Give each logical expert one replica at least, and the map a column for each.";
  }
  if (detail[1] == kOwnedTwice) {
    return "'logical_to_physical_map' gives physical expert " + value + " to " + expert + ", but it serves another "
           "already. Give each physical expert to one logical expert at most.";
  }
  return "'logical_to_physical_map' gives " + expert + " the physical expert " + value + ", but the window has 0 to " +
         std::to_string(detail[3] - 1) + ". Give physical ids; -1 only behind the replicas that count.";
}

// `detail`: PlanFault, what the plan says, what is so.
std::string KeptPlan(const int64_t *detail) {
  const std::string plan = std::to_string(detail[1]);
  const std::string here = std::to_string(detail[2]);
  switch (detail[0]) {
    case kOtherExchange:
      return "'kept_plan' is of the window's exchange of counts number " + plan + ", but the last one is number " + here +
             ". Keep the plan of the dispatch before, on the same window, or pass None to exchange anew.";
    case kNotCombined:
      return "a dispatch with 'kept_plan' needs the combine of the one before, but dispatch number " + here +
             (detail[1] == 0 ? " has none" : " has none yet (the last combined is number " + plan + ")") +
             ". Combine first, or pass None to exchange anew.";
    case kOtherTokenNum: return "'kept_plan' is for T = " + plan + ", but T is " + here + ".";
    case kOtherColumns: return "'kept_plan' is for " + plan + " experts per token, but there are " + here + ".";
    case kOtherQuantMode: return "'kept_plan' is for quant_mode " + plan + ", but quant_mode is " + here + ".";
    case kOtherRanks: return "'rank_mask' is not that of the dispatch before, so its plan does not hold. Exchange anew.";
    default:
      return "'kept_plan' was made for other expert_ids, x_active_mask or placement map. Pass those of that dispatch, or "
             "None to exchange anew.";
  }
}

// `detail`: RankFault, the rank.
std::string BadRankMask(const int64_t *detail) {
  const std::string rank = std::to_string(detail[1]);
  switch (detail[0]) {
    case kCameBack:
      return "'rank_mask' has rank " + rank + ", which took no part in the dispatch before. A rank that has left does not "
             "come back: create a new window.";
    case kSelfLeft:
      return "rank " + rank + " has left this window by a 'rank_mask' without it. Create a new one to come back.";
    default:
      return "'rank_mask' leaves no rank that holds routed experts. Keep one at least.";
  }
}

// The error that made ranks give up one after the other: its rank, code, phase, and the first rank that was missed.
struct Origin {
  int64_t rank, code, phase, missed;
};

// From what a rank has adopted. `aborted`: the lines of all ranks, in which each tells its own error to every peer.
Origin FindOrigin(const int64_t *detail, const uint8_t *aborted, uint64_t world_size) {
  Origin origin = {detail[0], detail[1], detail[2], detail[3]};
  for (uint64_t i = 0; i < world_size && origin.code == kPeerAborted; ++i) {
    const int64_t *record = reinterpret_cast<const int64_t *>(aborted + origin.missed * kLineBytes);
    if (record[kCode] == kOk) break;  // on its way
    origin = {origin.missed, record[kCode], record[kPhase], record[kDetail]};
  }
  return origin;
}

// `limit`: the first id that names nothing. Under a placement map ids are logical.
std::string KnownExperts(int64_t limit, const WindowInfo &w) {
  const std::string range = " 0 to " + std::to_string(limit - 1);
  if (limit == static_cast<int64_t>(w.shape.expert_num)) return "the window has the experts" + range;
  return "the logical and special experts are" + range;
}

std::string Describe(const int64_t *record, const WindowInfo &w, const uint8_t *base) {
  const int64_t *detail = record + kDetail;
  const std::string where = "token " + std::to_string(detail[2]) + ", k " + std::to_string(detail[3]);
  switch (record[kCode]) {
    case kTimedOut:
      return "waited " + Seconds(w[kTimeoutUs]) + " in vain for " + AwaitedThing(record[kPhase]) + " of " +
             Ranks(detail, record[kCount]) + ". A rank named here is dead, more than the window's timeout late, waits "
             "in vain for another itself, or did not call the same operators in the same order.";
    case kInterrupted:
      return "was interrupted while it waited for " + AwaitedThing(record[kPhase]) + " of " +
             Ranks(detail, record[kCount]) + ".";
    case kPeerAborted: {
      const Memory aborted(base + w.layout.aborted.offset, w.shape.world_size * kLineBytes, w.on_npu);
      const Origin origin = FindOrigin(detail, aborted.Bytes(), w.shape.world_size);
      return "was waiting for " + AwaitedThing(record[kPhase]) + " of rank " + std::to_string(record[kCount]) +
             " when rank " + std::to_string(origin.rank) + " gave up: " +
             Cause(origin.code, origin.phase, origin.missed) + ".";
    }
    case kExpertIdRange:
      return "'expert_ids' holds " + std::to_string(detail[0]) + " (" + where + "), but " + KnownExperts(detail[1], w) +
             ". Pass a negative id for a (token, k) that goes to no expert.";
    case kRowIndexRange:
      return "'expand_idx' holds " + std::to_string(detail[0]) + " (" + where + "), but " +
             (detail[0] < detail[1] ? "the expert id there has another place"
                                    : "the window has " + std::to_string(detail[1]) + " rows") +
             ". Pass expert_ids and expand_idx of the last dispatch unchanged.";
    case kNoDispatch:
      if (detail[0] != 0 && detail[0] == detail[2]) {
        return "dispatch number " + std::to_string(detail[0]) + " was combined already, and peers may have gone on. "
               "Dispatch again first.";
      }
      return "found no rows to combine: the window's last dispatch is number " + std::to_string(detail[0]) +
             ", the last that placed its rows number " + std::to_string(detail[1]) + ". Dispatch first.";
    case kPlanMismatch:
      return "got the plan of dispatch " + std::to_string(detail[0]) + " for T = " + std::to_string(detail[1]) +
             " and K = " + std::to_string(detail[2]) + ", but the window's last dispatch is number " +
             std::to_string(detail[3]) + ". Pass 'plan' and 'expert_ids' of the last dispatch unchanged.";
    case kDisagree: return Disagreement(record[kCount], detail);
    case kBadMap: return BadMap(detail);
    case kKeptPlan: return KeptPlan(detail);
    case kBadRankMask: return BadRankMask(detail);
    default:
      return "failed with code " + std::to_string(record[kCode]) + ".";
  }
}

constexpr char kDead[] = " The window cannot be used any more: create a new one on all ranks, or resume without the dead.";

}  // namespace

std::string Where(const char *op, const WindowInfo &w) {
  return "'" + std::string(op) + "' on rank " + std::to_string(w[kRankId]) + " of " + std::to_string(w.shape.world_size);
}

std::shared_ptr<OpenWindow> FindWindow(const uint8_t *base) {
  Registry &registry = Registry::Instance();
  std::lock_guard<std::mutex> lock(registry.mutex);
  const auto found = registry.windows.find(base);
  return found == registry.windows.end() ? nullptr : found->second;
}

namespace {

// Whether what was written once still stands in `control`.
bool HeaderStands(const uint8_t *control, const OpenWindow &window) {
  const uint64_t *words = Words(control);
#define MOE_COMM_FIELD(constant, name, given) \
  if (Given::given == Given::kAtCreation && words[constant] != window.info[constant]) return false;
  MOE_COMM_WINDOW_FIELDS(MOE_COMM_FIELD)
#undef MOE_COMM_FIELD
  return std::equal(window.peers.begin(), window.peers.end(), Words(control + window.info.layout.peers.offset));
}

}  // namespace

uint8_t *WindowOf(uint8_t *control, uint64_t bytes, bool readable) {
  if (FindWindow(control) != nullptr) return control;
  if (!readable) return nullptr;
  Registry &registry = Registry::Instance();
  std::lock_guard<std::mutex> lock(registry.mutex);
  for (const auto &[base, window] : registry.windows) {
    const bool fits = !window->info.on_npu && bytes == ControlBytes(window->info.layout);
    if (fits && HeaderStands(control, *window)) return const_cast<uint8_t *>(base);
  }
  return nullptr;
}

namespace {

uint64_t Word(const HeaderWords &words, const std::string &name) {
  const auto found = words.find(name);
  if (found == words.end()) throw std::invalid_argument("a window's header needs '" + name + "'");
  return found->second;
}

std::vector<uint64_t> MakeHeader(HeaderWords words) {
  std::vector<uint64_t> header(kFieldCount);
  words.emplace("magic", kWindowMagic);
#define MOE_COMM_FIELD(constant, name, given)  \
  if (Given::given == Given::kAtCreation) {    \
    header[constant] = Word(words, #name);     \
    words.erase(#name);                        \
  }
  MOE_COMM_WINDOW_FIELDS(MOE_COMM_FIELD)
#undef MOE_COMM_FIELD
  if (words.empty()) return header;
  throw std::invalid_argument("'" + words.begin()->first + "' is no word that a window's creation gives");
}

}  // namespace

WindowShape ShapeOf(const HeaderWords &words) {
  static const char *const names[] = {
#define MOE_COMM_FIELD(constant, name, given) #name,
      MOE_COMM_WINDOW_FIELDS(MOE_COMM_FIELD)
#undef MOE_COMM_FIELD
  };
  return ShapeOf([&words](WindowField field) { return Word(words, names[field]); });
}

void InitWindow(uint8_t *base, const HeaderWords &words, const std::vector<uint64_t> &peer_bases, bool on_npu) {
  auto window = std::make_shared<OpenWindow>();
  window->peers = peer_bases;
  WindowInfo &info = window->info;
  info.header = MakeHeader(words);
  info.shape = ShapeOf([&info](WindowField field) { return info[field]; });
  info.layout = WindowLayout(info.shape);
  info.on_npu = on_npu;
  info.blocks = on_npu ? std::min(info.shape.block_dim, npu::VectorCores()) : info.shape.block_dim;
  if (peer_bases.size() != info.shape.world_size) {
    throw std::invalid_argument("a window of " + std::to_string(info.shape.world_size) +
                                " ranks needs as many addresses, got " + std::to_string(peer_bases.size()));
  }
  if (on_npu) npu::Clear(base, ControlBytes(info.layout));  // the framework's memory has been used before
  const auto write = [&](uint64_t offset, const std::vector<uint64_t> &content) {
    const uint64_t bytes = content.size() * sizeof(uint64_t);
    if (on_npu) {
      npu::CopyToDevice(base + offset, content.data(), bytes);
    } else {
      std::memcpy(base + offset, content.data(), bytes);
    }
  };
  write(info.layout.header.offset, info.header);
  write(info.layout.peers.offset, peer_bases);
  Registry &registry = Registry::Instance();
  std::lock_guard<std::mutex> lock(registry.mutex);
  registry.windows[base] = std::move(window);
}

void CloseWindow(const uint8_t *base) {
  Registry &registry = Registry::Instance();
  std::lock_guard<std::mutex> lock(registry.mutex);
  registry.windows.erase(base);
}

void CheckUsable(uint8_t *base, const OpenWindow &window, const char *op) {
  const WindowInfo &info = window.info;
  if (!HeaderStands(base, window)) {
    throw std::runtime_error(Where(op, info) + " is refused: the memory of window.control was overwritten, for "
                             "example by a loop that broadcasts or loads parameters. Create a new window on all ranks, "
                             "and keep its tensors out of such loops.");
  }
  const int64_t *record = FindRecord(base, info);
  if (record == nullptr) return;
  throw std::runtime_error(Where(op, info) + " is refused. Epoch " + std::to_string(record[kRecordEpoch]) +
                           " failed here: " + Describe(record, info, base) + kDead);
}

bool MarkInterrupted(uint8_t *base, const WindowInfo &window) {
  bool any = false;
  for (uint64_t block = 0; block < window.shape.block_dim; ++block) {
    int64_t *record = reinterpret_cast<int64_t *>(base + window.layout.records(block));
    if (record[kCode] != kTimedOut) continue;
    record[kCode] = kInterrupted;
    any = true;
  }
  const uint64_t *peers = Words(base + window.layout.peers.offset);
  const uint64_t line = window.layout.aborted(window[kRankId]);
  for (uint64_t peer = 0; any && peer < window.shape.world_size; ++peer) {
    __atomic_store_n(reinterpret_cast<int64_t *>(peers[peer] + line) + kCode, kInterrupted, __ATOMIC_RELAXED);
  }
  return any;
}

std::string TakeError(uint8_t *base, const char *op) {
  const std::shared_ptr<OpenWindow> open = FindWindow(base);
  const WindowInfo &window = open->info;
  const WindowShape &shape = window.shape;
  const Memory header(base, window.layout.peers.offset, window.on_npu);
  const uint64_t *words = Words(header.Bytes());
  const auto prefix = [&](int64_t epoch) { return Where(op, window) + ", epoch " + std::to_string(epoch) + ": "; };
  const int64_t *record = FindRecord(header.Bytes(), window);
  if (record != nullptr) return prefix(record[kRecordEpoch]) + Describe(record, window, base) + kDead;
  if (words[kVerdictCode] == kOverflow) {
    const std::string text =
        prefix(static_cast<int64_t>(words[kVerdictEpoch])) + "rank " + std::to_string(words[kVerdictRank]) + " would get " +
        std::to_string(words[kVerdictNeed]) + " rows, but a window has capacity for " +
        std::to_string(shape.capacity) + " (most come from rank " + std::to_string(words[kVerdictSource]) +
        "). No row was moved on any rank, and the window stays usable. Create it with a larger capacity, or "
        "dispatch fewer tokens at a time.";
    const uint64_t told = kOk;
    if (window.on_npu) {
      npu::CopyToDevice(base + FieldOffset(kVerdictCode), &told, sizeof(told));
    } else {
      Words(base)[kVerdictCode] = told;
    }
    return text;
  }
  return "";
}

}  // namespace moe_comm
