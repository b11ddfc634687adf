#include "host/window_host.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "host/errors.h"
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
    if (record[kCode] != kNoError) return record;
  }
  return nullptr;
}

}  // namespace

namespace {

// The sentence of a record of the window at `base`.
std::string Describe(const int64_t *record, const WindowInfo &window, const uint8_t *base) {
  const auto aborted = [&] {
    const Memory lines(base + window.layout.aborted.offset, window.shape.world_size * kLineBytes, window.on_npu);
    const int64_t *words = reinterpret_cast<const int64_t *>(lines.Bytes());
    return std::vector<int64_t>(words, words + window.shape.world_size * kLineBytes / sizeof(int64_t));
  };
  return Sentence(record, {window[kTimeoutUs], static_cast<int64_t>(window.shape.expert_num), aborted});
}

constexpr char kDead[] =
    " The window cannot be used any more: create a new one on all ranks, or resume without the dead.";

}  // namespace

std::string Where(const char *op, const WindowInfo &w) {
  return "'" + std::string(op) + "' on rank " + std::to_string(w[kRankId]) + " of " +
         std::to_string(w.shape.world_size);
}

std::shared_ptr<OpenWindow> FindWindow(const uint8_t *base) {
  Registry &registry = Registry::Instance();
  std::lock_guard<std::mutex> lock(registry.mutex);
  const auto found = registry.windows.find(base);
  return found == registry.windows.end() ? nullptr : found->second;
}

namespace {

// Whether the header's constant words in `control` are unchanged.
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
#define MOE_COMM_FIELD(constant, name, given) \
  if (Given::given == Given::kAtCreation) {   \
    header[constant] = Word(words, #name);    \
    words.erase(#name);                       \
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
    throw std::runtime_error(Where(op, info) +
                             " is refused: the memory of window.control was overwritten, for "
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
        prefix(static_cast<int64_t>(words[kVerdictEpoch])) + "rank " + std::to_string(words[kVerdictRank]) +
        " would get " + std::to_string(words[kVerdictNeed]) + " rows, but a window has capacity for " +
        std::to_string(shape.capacity) + " (most come from rank " + std::to_string(words[kVerdictSource]) +
        "). No row was moved on any rank, and the window stays usable. Create it with a larger capacity, or "
        "dispatch fewer tokens at a time.";
    const uint64_t told = kNoError;
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
