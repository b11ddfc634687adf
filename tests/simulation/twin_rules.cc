// Tests of the host twin's check form: for each rule a small kernel that keeps it and one that breaks it.
//
// A right kernel must run clean under every seed tried. A wrong kernel must be reported with the rule's words under
// some seed, and under no seed with other words.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "host_twin/kernel_operator.h"
#include "operators/canary/op_kernel/canary.h"

namespace {

using namespace AscendC;
using backend::Simulator;

constexpr uint64_t kBytes = 1024;  // of each tensor
constexpr uint64_t kSeeds = 24;
alignas(512) uint8_t in[kBytes];     // holds 0, 1, 2, .. as int32
alignas(512) uint8_t out[kBytes];    // never written
alignas(512) uint8_t flags[kBytes];  // zeros
alignas(512) uint8_t words[kBytes];  // zeros, no flags

// One kernel's tools.
struct Tools {
  TPipe pipe;
  TBuf<TPosition::VECCALC> first, second;
  LocalTensor<int32_t> a, b;
  GlobalTensor<int32_t> from, to;
  Tools() {
    pipe.InitBuffer(first, 256);
    pipe.InitBuffer(second, 256);
    a = first.Get<int32_t>();
    b = second.Get<int32_t>();
    from.SetGlobalBuffer(reinterpret_cast<int32_t *>(in));
    to.SetGlobalBuffer(reinterpret_cast<int32_t *>(out));
  }
  void Load(uint32_t bytes = 64) { DataCopyPad(a, from, {1, bytes, 0, 0, 0}, {}); }
  void Store(uint32_t bytes = 64) { DataCopyPad(to, a, {1, bytes, 0, 0, 0}); }
};

template <HardEvent event>
void Sync() {
  SetFlag<event>(0);
  WaitFlag<event>(0);
}

void Fill(Tools &t) {
  for (int32_t i = 0; i < 16; ++i) t.a.SetValue(i, i);
}

// Core or rank 0 writes a payload and a flag, for which the other waits. `Word`: the flag's type; `fence`: between the
// two writes.
template <typename Word, bool fence>
void Message(bool sender, uint8_t *at = flags) {
  Tools t;
  GlobalTensor<Word> flag;
  flag.SetGlobalBuffer(reinterpret_cast<Word *>(at));
  const LocalTensor<Word> word = t.b.ReinterpretCast<Word>();
  if (sender) {
    Fill(t);
    word.SetValue(0, Word{1});
    Sync<HardEvent::S_MTE3>();
    t.Store();
    if (fence) PipeBarrier<PIPE_MTE3>();
    DataCopyPad(flag, word, {1, sizeof(Word), 0, 0, 0});
    return;
  }
  do {
    Sync<HardEvent::S_MTE2>();
    DataCopyPad(word, flag, {1, sizeof(Word), 0, 0, 0}, {});
    Sync<HardEvent::MTE2_S>();
    GetSystemCycle();
  } while (word.GetValue(0) == 0);
  Sync<HardEvent::S_MTE2>();
  DataCopyPad(t.a, t.to, {1, 64, 0, 0, 0}, {});
  Sync<HardEvent::MTE2_S>();
  t.a.GetValue(0);
}

using BindQueue = TQueBind<TPosition::VECIN, TPosition::VECOUT, 1>;
void InQueue(const std::function<void(BindQueue &, Tools &)> &use) {
  Tools t;
  BindQueue queue;
  t.pipe.InitBuffer(queue, 2, 64);
  use(queue, t);
}

void TwoCores(const std::function<void(Tools &, bool first)> &use) {
  Tools t;
  use(t, GetBlockIdx() == 0);
}

struct Rule {
  const char *name;
  const char *report;  // words of the expected report; nullptr: the kernel is right
  std::function<void()> kernel;
  uint32_t cores = 1;
  uint32_t ranks = 1;
};

// clang-format off
const std::vector<Rule> kRules = {
    // --- events between the pipes of a core ---
    {"load, then scalar read", nullptr, [] { Tools t; t.Load(); Sync<HardEvent::MTE2_S>(); t.a.GetValue(3); }},
    {"scalar read before arrival", "never written|race in a core", [] { Tools t; t.Load(); t.a.GetValue(3); }},
    {"scalar write, then store", nullptr, [] { Tools t; Fill(t); Sync<HardEvent::S_MTE3>(); t.Store(); }},
    {"store without S_MTE3", "race in a core", [] { Tools t; Fill(t); t.Store(); }},
    {"store, then scalar write", nullptr,
     [] { Tools t; Fill(t); Sync<HardEvent::S_MTE3>(); t.Store(); Sync<HardEvent::MTE3_S>(); Fill(t); }},
    {"scalar write without MTE3_S", "race in a core",
     [] { Tools t; Fill(t); Sync<HardEvent::S_MTE3>(); t.Store(); Fill(t); }},
    {"scalar read, then load", nullptr,
     [] { Tools t; Fill(t); t.a.GetValue(0); Sync<HardEvent::S_MTE2>(); t.Load(); }},
    {"load without S_MTE2", "race in a core", [] { Tools t; Fill(t); t.Load(); }},
    {"load, then vector", nullptr, [] { Tools t; t.Load(); Sync<HardEvent::MTE2_V>(); Add(t.b, t.a, t.a, 16); }},
    {"vector without MTE2_V", "race in a core|never written", [] { Tools t; t.Load(); Add(t.b, t.a, t.a, 16); }},
    {"vector, then load", nullptr,
     [] { Tools t; Duplicate(t.a, 1, 16); Sync<HardEvent::V_MTE2>(); t.Load(); }},
    {"load without V_MTE2", "race in a core", [] { Tools t; Duplicate(t.a, 1, 16); t.Load(); }},
    {"vector, then store", nullptr, [] { Tools t; Duplicate(t.a, 1, 16); Sync<HardEvent::V_MTE3>(); t.Store(); }},
    {"store without V_MTE3", "race in a core|never written", [] { Tools t; Duplicate(t.a, 1, 16); t.Store(); }},
    {"vector, then scalar", nullptr,
     [] { Tools t; Duplicate(t.a, 1, 16); Sync<HardEvent::V_S>(); t.a.GetValue(1); Sync<HardEvent::S_V>();
          Duplicate(t.a, 2, 16); }},
    {"scalar without V_S", "race in a core|never written", [] { Tools t; Duplicate(t.a, 1, 16); t.a.GetValue(1); }},
    {"scalar read, then vector in place", nullptr,
     [] { Tools t; Fill(t); t.a.GetValue(0); Sync<HardEvent::S_V>(); Add(t.a, t.a, t.a, 16); }},
    {"vector without S_V", "race in a core", [] { Tools t; Fill(t); Add(t.b, t.a, t.a, 16); }},
    {"an event that orders other pipes", "race in a core|never written",
     [] { Tools t; t.Load(); Sync<HardEvent::MTE2_V>(); t.a.GetValue(0); }},
    // --- a pipe with itself ---
    {"vector after vector", nullptr,
     [] { Tools t; Duplicate(t.a, 1, 16); PipeBarrier<PIPE_V>(); Add(t.b, t.a, t.a, 16); }},
    {"dependent vectors without PipeBarrier<V>", "race in a core",
     [] { Tools t; Duplicate(t.a, 1, 16); Add(t.b, t.a, t.a, 16); }},
    {"two stores to one place", nullptr,
     [] { Tools t; Fill(t); Sync<HardEvent::S_MTE3>(); t.Store(); PipeBarrier<PIPE_MTE3>(); t.Store(); }},
    {"two stores to one place without a barrier", "race in a core",
     [] { Tools t; Fill(t); Sync<HardEvent::S_MTE3>(); t.Store(); t.Store(); }},
    {"two loads to one place", nullptr, [] { Tools t; t.Load(); PipeBarrier<PIPE_MTE2>(); t.Load(); }},
    {"two loads to one place without a barrier", "race in a core", [] { Tools t; t.Load(); t.Load(); }},
    {"PipeBarrier<ALL> orders all", nullptr,
     [] { Tools t; t.Load(); PipeBarrier<PIPE_ALL>(); Add(t.b, t.a, t.a, 16); PipeBarrier<PIPE_ALL>(); Fill(t); }},
    // --- between cores and ranks ---
    {"payload, fence, flag between cores", nullptr, [] { Message<uint64_t, true>(GetBlockIdx() == 0); }, 2},
    {"flag without a fence between cores", "race between cores",
     [] { Message<uint64_t, false>(GetBlockIdx() == 0); }, 2},
    {"a flag that is no 64-bit word", "race between cores", [] { Message<int32_t, true>(GetBlockIdx() == 0); }, 2},
    {"a 64-bit word where no flags are", "race between cores",
     [] { Message<uint64_t, true>(GetBlockIdx() == 0, words); }, 2},
    {"payload, fence, flag between ranks", nullptr, [] { Message<uint64_t, true>(Simulator::Self().rank == 0); }, 1, 2},
    {"flag without a fence between ranks", "race between ranks",
     [] { Message<uint64_t, false>(Simulator::Self().rank == 0); }, 1, 2},
    {"SyncAll between cores", nullptr, [] { TwoCores([](Tools &t, bool first) {
       Fill(t); Sync<HardEvent::S_MTE3>(); if (first) t.Store(); SyncAll(); if (!first) t.Store(); }); }, 2},
    {"two cores store to one place", "race between cores",
     [] { Tools t; Fill(t); Sync<HardEvent::S_MTE3>(); t.Store(); }, 2},
    // --- content ---
    {"scalar read of a new buffer", "never written", [] { Tools t; t.a.GetValue(0); }},
    {"store of a new buffer", "never written", [] { Tools t; t.Store(); }},
    {"vector on a new buffer", "never written", [] { Tools t; Add(t.b, t.a, t.a, 16); }},
    {"a tensor that nobody wrote, loaded but not used", nullptr,
     [] { Tools t; DataCopyPad(t.a, t.to, {1, 64, 0, 0, 0}, {}); }},
    {"a tensor that nobody wrote, used", "never written",
     [] { Tools t; DataCopyPad(t.a, t.to, {1, 64, 0, 0, 0}, {}); Sync<HardEvent::MTE2_S>(); t.a.GetValue(0); }},
    {"the padding after a load", "never written",
     [] { Tools t; t.Load(40); Sync<HardEvent::MTE2_S>(); t.a.GetValue(9); t.a.GetValue(10); }},
    {"live data in the padding of a load", "never written",
     [] { Tools t; Fill(t); Sync<HardEvent::S_MTE2>(); t.Load(4); Sync<HardEvent::MTE2_S>(); t.a.GetValue(1); }},
    // --- types ---
    {"an int read as unsigned", nullptr,
     [] { Tools t; t.a.SetValue(0, 1); t.a.ReinterpretCast<uint32_t>().GetValue(0); }},
    {"an int read as bytes", nullptr, [] { Tools t; t.a.SetValue(0, 1); t.a.ReinterpretCast<uint8_t>().GetValue(0); }},
    {"an int read as a float", "another type",
     [] { Tools t; t.a.SetValue(0, 1); t.a.ReinterpretCast<float>().GetValue(0); }},
    {"an int that a vector has made a float", nullptr,
     [] { Tools t; t.a.SetValue(0, 1); Sync<HardEvent::S_V>(); const LocalTensor<float> f = t.a.ReinterpretCast<float>();
          Duplicate(f, 2.0f, 8); Sync<HardEvent::V_S>(); f.GetValue(0); }},
    // --- a whole kernel ---
    {"the canary", nullptr, [] { moe_comm::Canary({out, 1, 2}); }, 4},
    // --- queues ---
    {"a queue", nullptr, [] { InQueue([](BindQueue &queue, Tools &t) {
       for (int i = 0; i < 5; ++i) {
         LocalTensor<int32_t> piece = queue.AllocTensor<int32_t>();
         DataCopyPad(piece, t.from, {1, 64, 0, 0, 0}, {});
         queue.EnQue(piece);
         piece = queue.DeQue<int32_t>();
         DataCopyPad(t.to[i * 16], piece, {1, 64, 0, 0, 0});
         queue.FreeTensor(piece);
       } }); }},
    {"use after FreeTensor", "use after its end", [] { InQueue([](BindQueue &queue, Tools &) {
       LocalTensor<int32_t> piece = queue.AllocTensor<int32_t>(); queue.FreeTensor(piece); piece.SetValue(0, 1); }); }},
    {"use after EnQue", "use after its end", [] { InQueue([](BindQueue &queue, Tools &) {
       LocalTensor<int32_t> piece = queue.AllocTensor<int32_t>(); queue.EnQue(piece); piece.SetValue(0, 1); }); }},
    {"freed twice", "use after its end", [] { InQueue([](BindQueue &queue, Tools &) {
       LocalTensor<int32_t> piece = queue.AllocTensor<int32_t>(); queue.FreeTensor(piece); queue.FreeTensor(piece);
       }); }},
    {"past the depth", "deep and full", [] { InQueue([](BindQueue &queue, Tools &) {
       for (int i = 0; i < 2; ++i) queue.EnQue(queue.AllocTensor<int32_t>()); }); }},
    {"more tensors than buffers", "AllocTensor waits for ever", [] { InQueue([](BindQueue &queue, Tools &) {
       for (int i = 0; i < 3; ++i) queue.AllocTensor<int32_t>(); }); }},
    {"DeQue of nothing", "empty queue", [] { InQueue([](BindQueue &queue, Tools &) { queue.DeQue<int32_t>(); }); }},
    {"a tensor kept to the end", "is not freed", [] { InQueue([](BindQueue &queue, Tools &) {
       queue.AllocTensor<int32_t>(); }); }},
    {"what a buffer held before", "never written", [] { InQueue([](BindQueue &queue, Tools &) {
       for (int i = 0; i < 3; ++i) {
         LocalTensor<int32_t> piece = queue.AllocTensor<int32_t>();
         if (i == 0) piece.SetValue(0, 1);
         if (i == 2) { PipeBarrier<PIPE_ALL>(); piece.GetValue(0); }
         queue.FreeTensor(piece);
       } }); }},
    // --- limits ---
    {"188,160 bytes of buffers", nullptr,
     [] { Tools t; TBuf<TPosition::VECCALC> rest; t.pipe.InitBuffer(rest, 187648); }},
    {"more than 188,160 bytes", "overflows",
     [] { Tools t; TBuf<TPosition::VECCALC> rest; t.pipe.InitBuffer(rest, 187680); }},
    {"a scalar past the buffer", "leave the buffer", [] { Tools t; t.a.SetValue(64, 1); }},
    {"a load past the buffer", "leave the buffer", [] { Tools t; t.Load(260); }},
    {"a vector past the buffer", "leave the buffer", [] { Tools t; Duplicate(t.a, 1, 65); }},
    {"a misaligned load", "misaligned", [] { Tools t; DataCopyPad(t.a[4], t.from, {1, 32, 0, 0, 0}, {}); }},
    {"a misaligned vector", "misaligned", [] { Tools t; Duplicate(t.a[1], 1, 8); }},
    {"a tensor's last bytes", nullptr, [] { Tools t; DataCopyPad(t.a, t.from[255], {1, 4, 0, 0, 0}, {}); }},
    {"past the end of a tensor", "outside", [] { Tools t; DataCopyPad(t.a, t.from[255], {1, 8, 0, 0, 0}, {}); }},
    {"a gap that leads out of a tensor", "outside",
     [] { Tools t; DataCopyPad(t.a, t.from, {2, 4, 1024, 0, 0}, {}); }},
    {"blockLen over 21 bits", "illegal blockLen", [] { Tools t; t.Load(2097152); }},
    {"blockLen not of whole elements", "illegal blockLen", [] { Tools t; t.Load(6); }},
    {"blockCount over 12 bits", "illegal blockCount",
     [] { Tools t; DataCopyPad(t.a, t.from, {4096, 4, 0, 0, 0}, {}); }},
    {"a rounding mode of the other direction", "RoundMode",
     [] { Tools t; Cast(t.b.ReinterpretCast<float>(), t.a.ReinterpretCast<half>(), RoundMode::CAST_RINT, 8u); }},
    {"two pipes at once", "second TPipe", [] { Tools t; TPipe other; }},
    // --- events that do not pair ---
    {"a flag set twice", "set twice", [] { Tools t; SetFlag<HardEvent::S_MTE2>(1); SetFlag<HardEvent::S_MTE2>(1); }},
    {"two ids at once", nullptr, [] { Tools t; SetFlag<HardEvent::S_MTE2>(0); SetFlag<HardEvent::S_MTE2>(7);
       WaitFlag<HardEvent::S_MTE2>(0); WaitFlag<HardEvent::S_MTE2>(7); }},
    {"a wait without a set", "unpaired event", [] { Tools t; WaitFlag<HardEvent::S_MTE2>(1); }},
    {"a set without a wait", "unpaired event", [] { Tools t; SetFlag<HardEvent::MTE2_S>(1); }},
    {"an id out of range", "out of range", [] { Tools t; SetFlag<HardEvent::MTE2_S>(8); }},
    // --- the scalar cache ---
    {"cleaned before the second look", nullptr, [] { TwoCores([](Tools &t, bool first) {
       GlobalTensor<int32_t> word; word.SetGlobalBuffer(reinterpret_cast<int32_t *>(flags));
       if (!first) word.GetValue(0);
       SyncAll(); Fill(t); Sync<HardEvent::S_MTE3>(); if (first) DataCopyPad(word, t.a, {1, 4, 0, 0, 0}); SyncAll();
       DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE, DcciDst::CACHELINE_OUT>(word);
       if (!first) word.GetValue(0); }); }, 2},
    {"a second look at an old line", "stale scalar cache", [] { TwoCores([](Tools &t, bool first) {
       GlobalTensor<int32_t> word; word.SetGlobalBuffer(reinterpret_cast<int32_t *>(flags));
       if (!first) word.GetValue(0);
       SyncAll(); Fill(t); Sync<HardEvent::S_MTE3>(); if (first) DataCopyPad(word, t.a, {1, 4, 0, 0, 0}); SyncAll();
       if (!first) word.GetValue(0); }); }, 2},
    {"scalar writes on lines of their own", nullptr, [] { TwoCores([](Tools &t, bool first) {
       t.to.SetValue(first ? 0 : 16, 1); }); }, 2},
    {"scalar writes of two cores in one line", "race between cores", [] { TwoCores([](Tools &t, bool first) {
       t.to.SetValue(first ? 0 : 1, 1); }); }, 2},
    {"a scalar write cleaned, then read by another core", nullptr, [] { TwoCores([](Tools &t, bool first) {
       if (first) t.to.SetValue(0, 1);
       DataCacheCleanAndInvalid<int32_t, CacheLine::ENTIRE_DATA_CACHE, DcciDst::CACHELINE_OUT>(t.to);
       SyncAll();
       if (!first) t.to.GetValue(0); }); }, 2},
    {"a scalar write that stayed in the cache", "never written|race between cores",
     [] { TwoCores([](Tools &t, bool first) {
       if (first) t.to.SetValue(0, 1);
       SyncAll();
       if (!first) t.to.GetValue(0); }); }, 2},
    // --- waits without end ---
    {"a flag that nobody sets", "a wait that can never end", [] { Message<uint64_t, true>(false); }, 2},
    {"SyncAll without one core", "deadlock", [] { if (GetBlockIdx() == 0) SyncAll(); }, 2},
};
// clang-format on

// Kernels of two ranks on memory of rank 1 alone, and the hops that each rank has waited for at the end.
struct Chain {
  Rule rule;
  std::vector<uint32_t> hops;
};
template <bool apart>
void TwoReads() {
  Tools t;
  t.Load();
  if (apart) Sync<HardEvent::MTE2_S>();
  Sync<HardEvent::S_MTE2>();
  DataCopyPad(t.b, t.from, {1, 64, 0, 0, 0}, {});
  Sync<HardEvent::MTE2_S>();
}
const std::vector<Chain> kChains = {
    {{"a message", nullptr, [] { Message<uint64_t, true>(Simulator::Self().rank == 0); }, 1, 2}, {0, 1}},
    {{"reads side by side", nullptr, TwoReads<false>, 1, 2}, {1, 0}},
    {{"reads one after another", nullptr, TwoReads<true>, 1, 2}, {2, 0}},
};

// `hops`: of each rank at the end.
std::string RunOnce(const Rule &rule, uint64_t seed, uint32_t owner, std::vector<uint32_t> &hops) {
  for (uint64_t i = 0; i < kBytes / sizeof(int32_t); ++i) reinterpret_cast<int32_t *>(in)[i] = static_cast<int32_t>(i);
  std::memset(flags, 0, kBytes);
  std::memset(words, 0, kBytes);
  Simulator::Options options;
  options.ranks = rule.ranks;
  options.cores = rule.cores;
  options.seed = seed;
  Simulator simulator(options);
  simulator.Register(owner, "in", in, kBytes, true);
  simulator.Register(owner, "out", out, kBytes, false);
  simulator.Register(owner, "flags", flags, kBytes, true, true);
  simulator.Register(owner, "words", words, kBytes, true);
  for (uint32_t rank = 0; rank < rule.ranks; ++rank) {
    simulator.Host(rank, [&simulator, &rule, rank] { simulator.Launch(rank, rule.cores, rule.kernel); });
  }
  const std::string report = simulator.Run();
  for (uint32_t rank = 0; rank < rule.ranks; ++rank) hops.push_back(simulator.Hops(rank));
  return report;
}

bool Names(const std::string &report, const std::string &words) {
  for (size_t begin = 0; begin <= words.size();) {
    const size_t end = std::min(words.find('|', begin), words.size());
    if (report.find(words.substr(begin, end - begin)) != std::string::npos) return true;
    begin = end + 1;
  }
  return false;
}

bool Holds(const Rule &rule) {
  uint64_t reported = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    std::vector<uint32_t> hops;
    const std::string report = RunOnce(rule, seed, 0, hops);
    if (report.empty()) continue;
    ++reported;
    if (rule.report != nullptr && Names(report, rule.report)) continue;
    std::printf("FAILED %s, seed %lu: expected %s, but:\n%s\n", rule.name, seed,
                rule.report == nullptr ? "no report" : rule.report, report.c_str());
    return false;
  }
  if (rule.report == nullptr || reported > 0) return true;
  std::printf("FAILED %s: expected '%s' under some of %lu seeds, but nothing was reported\n", rule.name, rule.report,
              kSeeds);
  return false;
}

bool Holds(const Chain &chain) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    std::vector<uint32_t> hops;
    const std::string report = RunOnce(chain.rule, seed, 1, hops);
    if (report.empty() && hops == chain.hops) continue;
    std::printf("FAILED %s, seed %lu: %u and %u hops instead of %u and %u, report '%s'\n", chain.rule.name, seed,
                hops[0], hops[1], chain.hops[0], chain.hops[1], report.c_str());
    return false;
  }
  return true;
}

}  // namespace

int main() {
  uint64_t failed = 0;
  for (const Chain &chain : kChains) failed += !Holds(chain);
  uint64_t right = 0;
  for (const Rule &rule : kRules) {
    failed += !Holds(rule);
    right += rule.report == nullptr;
  }
  std::printf("rules of the twin: %lu right kernels, %lu wrong ones, %lu chains of hops, %lu seeds each, %lu failed\n",
              right, kRules.size() - right, kChains.size(), kSeeds, failed);
  return failed == 0 ? 0 : 1;
}
