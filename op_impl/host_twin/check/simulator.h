// The check back end of the host twin: all cores of all ranks in one thread, under a scheduler that a seed decides.
//
// The scalar pipe of a core is a fiber that runs the kernel. It issues instructions to the queues of MTE2, V and MTE3.
// They commit when the scheduler chooses, big moves in pieces. Only events and barriers order them, even within one
// pipe. The first broken rule ends the run with a report. A run without a report speaks for its seed alone.
#ifndef MOE_COMM_HOST_TWIN_CHECK_SIMULATOR_H
#define MOE_COMM_HOST_TWIN_CHECK_SIMULATOR_H

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "../types.h"
#include "fiber.h"
#include "shadow.h"
#include "trace.h"

namespace AscendC::backend {

class Core;
class Simulator;

constexpr uint32_t kPipes = 4;  // S, V, MTE2, MTE3, in the order of pipe_t
constexpr uint32_t kEventIds = 8;
constexpr uint32_t kEvents = static_cast<uint32_t>(HardEvent::MAX);
constexpr uint32_t kMaxBuffers = 64;
constexpr int64_t kTimeoutCycles = int64_t{1} << 40;  // a wait's limit; the clock leaps so far when no actor can run

// An address in the unified buffer, and the tensor that it belongs to.
struct Local {
  uint8_t *address = nullptr;
  uint32_t buffer = 0;
  uint32_t generation = 0;  // the buffer's tensor: EnQue, DeQue and FreeTensor each end a generation
  Local At(uint32_t bytes) const { return {address + bytes, buffer, generation}; }
};

struct Instruction {
  enum Kind { kMoveIn, kMoveOut, kVector, kSet, kWait, kBarrier, kForget };
  Kind kind;
  Site site;
  Site caller;
  // an event
  uint32_t event = 0;
  int32_t id = 0;
  // a move; kForget: `local` and `bytes`
  uint8_t *local = nullptr;
  uint8_t *global = nullptr;
  uint64_t local_pitch = 0;
  uint64_t global_pitch = 0;
  uint32_t blocks = 0;
  uint32_t bytes = 0;
  bool flag = false;
  bool remote = false;    // to or from the memory of another rank
  uint32_t event_id = 0;  // its id in the trace
  // a vector instruction: the first operand is written, the others are read
  std::function<void()> compute;
  std::array<Operand<Local>, 3> operands;
  uint32_t operand_number = 0;
  // progress
  uint32_t access = 0;
  uint32_t block = 0;
  uint32_t offset = 0;
};

// What the scheduler runs: a pipe of a core, or a rank's host.
struct Actor {
  Core *core = nullptr;
  uint32_t pipe = 0;      // of the core
  uint32_t host = 0;      // the rank, if there is no core
  uint32_t slowness = 1;  // runs once in so many times that it could
  bool stalled = false;   // does not run, though it may be `due`
  bool due = false;
  bool gone = false;   // its rank has ended
  bool dozes = false;  // it polled in vain and sleeps until the next Tell
  int32_t ready = -1;  // its place among the actors that can run
};

struct Pipe {
  uint32_t component = 0;
  uint32_t stamp = 0;
  Clock start;             // what happens before the next instruction
  Clock done;              // what happens before a waiter for all instructions so far
  uint32_t published = 0;  // number of `start` as a clock of flags, 0: not yet
  std::deque<Instruction> queue;
  Actor actor;
};

struct Buffer {
  uint8_t *base;
  uint32_t bytes;
  Site site;
  uint32_t generation = 0;
  const char *unusable = nullptr;  // why no tensor of it may be used now
};

// The state of a TQue or TQueBind.
struct QueueState {
  struct Slot {
    uint32_t buffer;
    enum { kFree, kAllocated, kQueued, kDequeued } state = kFree;
    int32_t filled = -1;  // ids of the events that it holds
    int32_t free = -1;
  };
  HardEvent filled;
  HardEvent free;
  uint32_t depth = 0;
  std::vector<Slot> slots;
  std::deque<uint32_t> queued;
};

class Core {
 public:
  Core(Simulator &simulator, uint32_t rank, uint32_t block);

  // --- what backend.h calls, from the kernel ---
  void OpenPipe(void *pipe, Site site);
  void ClosePipe();
  Local TakeBuffer(uint32_t bytes, Site site);
  uint32_t AddQueue(HardEvent filled, HardEvent free, uint32_t depth, uint32_t count, uint32_t bytes, Site site);
  Local QueueAlloc(uint32_t queue, Site site);
  void QueueEnQue(uint32_t queue, const Local &tensor, Site site);
  Local QueueDeQue(uint32_t queue, Site site);
  void QueueFree(uint32_t queue, const Local &tensor, Site site);
  void ScalarLocal(const Local &place, uint64_t offset, uint32_t bytes, bool write, uint8_t type, Site site);
  void ReadGlobal(const void *address, void *value, uint32_t bytes, Site site);
  void WriteGlobal(void *address, const void *value, uint32_t bytes, Site site);
  void CleanCache(const uint8_t *address, bool all, Site site);
  void Move(bool in, const Local &local, uint8_t *global, const DataCopyExtParams &p, uint32_t element, Site site);
  void Vector(const char *name, Site site, std::function<void()> compute, const Operand<Local> *operands,
              uint32_t number);
  TEventID FetchEvent(HardEvent event, Site site);
  void SetFlag(HardEvent event, int32_t id, Site site);
  void WaitFlag(HardEvent event, int32_t id, Site site);
  void PipeBarrier(pipe_t pipe, Site site);
  void SyncAll(Site site);
  int64_t ReadClock(Site site);
  [[noreturn]] void Refuse(const std::string &rule, Site site);

  void *pipe_pointer = nullptr;  // the kernel's TPipe
  uint32_t rank;
  uint32_t block;
  uint32_t blocks = 0;
  uint64_t scalar_accesses = 0;  // how often the kernel accessed the unified buffer

 private:
  friend class Simulator;
  enum Blocked { kRuns, kOnFlag, kOnSpace, kOnDrain, kOnSyncAll };
  struct CacheLine {
    uint8_t data[64];
    bool dirty = false;
    uint64_t filled = 0;
    uint32_t access = 0;
  };
  struct Flag {
    uint32_t issued = 0;  // sets that have no wait yet, in program order
    Site site;
    std::deque<Clock> set;
  };

  void Begin(uint32_t block_number, const Clock &clock, std::function<void()> kernel);
  void Note(Site site);
  template <typename MakeFields>
  uint32_t Record(uint32_t pipe, const char *op, MakeFields fields, bool flags = false);
  void Issue(pipe_t pipe, Instruction instruction);
  void RecordInstruction(uint32_t pipe, Instruction &instruction);
  void BlockUntil(Blocked reason);
  bool Satisfied() const;
  void JoinAllPipes();
  void CheckLocal(const Local &place, uint64_t bytes, bool aligned, const char *what);
  uint32_t ScalarAccess(Site site, uint8_t type);
  CacheLine &Line(uint64_t line, const Area &area);
  void WriteBack(uint64_t line, CacheLine &cache_line);
  int32_t TakeEventId(HardEvent event);
  Flag &FlagOf(HardEvent event, int32_t id, Site site);
  void EndGeneration(uint32_t buffer, const char *unusable);
  QueueState::Slot &FindSlot(QueueState &queue, const Local &tensor, const char *what);
  bool PipeReady(const Pipe &pipe) const;
  void Step(Pipe &pipe);
  void Start(Pipe &pipe, Instruction &instruction);
  bool MovePiece(Pipe &pipe, Instruction &instruction);
  void RunVector(Pipe &pipe, Instruction &instruction);
  std::string Where(const uint8_t *local) const;
  std::string State() const;

  Simulator &simulator_;
  std::array<Pipe, kPipes> pipes_;
  std::unique_ptr<Fiber> fiber_;
  std::unique_ptr<uint8_t[]> memory_;
  uint8_t *unified_buffer_;
  Area area_;
  uint32_t used_ = 0;
  std::vector<Buffer> buffers_;
  std::vector<QueueState> queues_;
  std::array<std::array<Flag, kEventIds>, kEvents> flags_;
  std::array<uint32_t, kEvents> reserved_ids_{};
  Acquirer acquirer_;  // for MTE2
  std::unordered_map<uint64_t, CacheLine> cache_;
  struct ScalarSite {
    Site site;
    uint32_t stamp = 0;
    uint32_t access = 0;
  };
  std::array<ScalarSite, 64> scalar_sites_;
  Site site_;
  Site caller_;
  bool running_ = false;
  bool at_barrier_ = false;
  Blocked blocked_ = kRuns;
  uint32_t blocked_event_ = 0;
  int32_t blocked_id_ = 0;
  uint32_t blocked_pipe_ = 0;
  uint32_t looks_ = 0;  // reads of the clock since the last Tell
  uint64_t looks_since_ = 0;
  const Area *last_read_ = nullptr;
};

// A move between a core and global memory, or a line that the scalar cache loads.
struct Transfer {
  uint32_t rank;  // of the core
  uint32_t block;
  uint32_t owner;  // the rank whose memory it is
  bool in;         // into the core
  const uint8_t *global;
  uint32_t bytes;  // of each piece
  uint32_t pieces = 1;
  uint64_t pitch = 0;
};

class Simulator {
 public:
  struct Options {
    uint32_t ranks = 1;
    uint32_t cores = 1;
    uint64_t seed = 0;
    bool may_time_out = false;  // waits may end at their deadlines; else such a wait is reported
    bool goes_on = false;       // the run continues after a race or a wrong result; the first is reported at the end
    bool traces = false;
    bool even = false;  // equal speeds, whole moves, no evicted lines: for counting, not for finding races
  };
  explicit Simulator(const Options &options);
  ~Simulator();

  // Registers `bytes` of a rank's memory as `name`, with content or without. No other memory may be accessed.
  // `flags`: the memory holds words that synchronise cores and ranks; all else is data.
  void Register(uint32_t rank, std::string name, uint8_t *base, uint64_t bytes, bool content, bool flags = false);

  // Sets what a rank's host runs. `body` may call the functions under "from a host".
  void Host(uint32_t rank, std::function<void()> body);
  // Runs everything; returns the report of the first broken rule, or nothing.
  std::string Run();

  // --- from a host ---
  void Launch(uint32_t rank, uint32_t blocks, std::function<void()> kernel);
  // `flag`: an access to a word that synchronises hosts.
  void Touch(uint32_t rank, const void *address, uint64_t bytes, bool write, bool flag = false,
             Site site = Site::Here());
  void Pause(uint32_t steps);
  void Await(uint32_t rank, const std::function<bool()> &holds);
  // Waits until another rank has ended, by itself or not. All that it did happens before the return.
  void AwaitEnd(uint32_t rank, uint32_t of);
  // The rank ends after so many more moves to other ranks, or during the move that follows.
  void Doom(uint32_t rank, uint32_t moves) { ranks_[rank].ends_in = moves + 1; }
  [[noreturn]] void Fail(const std::string &report);
  void Report(const std::string &report);          // as Fail, unless the run continues after a report
  bool WriteTrace(const std::string &path) const;  // after the run

  uint64_t Random(uint64_t below) { return random_() % below; }
  uint64_t Steps() const { return static_cast<uint64_t>(now_ & (kTimeoutCycles - 1)); }
  // The hops on the longest chain of waits that ends at this host. A hop is a write to another rank that was waited for
  // there, or a read from another rank's memory.
  uint32_t Hops(uint32_t rank) const { return ranks_[rank].clock.Hops(); }
  const Core &CoreOf(uint32_t rank, uint32_t block) const { return *ranks_[rank].cores[block]; }
  static Core &Self();

  std::function<void(const Transfer &)> on_transfer;  // called when a move is issued; may be empty

 private:
  friend class Core;
  struct Rank {
    std::unique_ptr<Fiber> host;
    std::vector<std::unique_ptr<Core>> cores;
    Actor actor;
    uint32_t component = 0;
    uint32_t stamp = 0;
    Clock clock;
    uint32_t blocks = 0;  // of the launch
    uint32_t finished = 0;
    uint32_t at_barrier = 0;
    bool launched = false;
    uint32_t launch = 0;  // the launch's event in the trace
    Acquirer acquirer;
    uint32_t ends_in = 0;  // the move to another rank, counted from now, with which it ends; 0: at its host's end
    bool ended = false;
  };

  void End(Rank &rank);
  void MayStall(Core &core);
  void Stall(Actor &actor);
  void GoOn();
  void Wake(Actor &actor);
  void Sleep(Actor &actor);
  Actor &Pick();
  void Step(Actor &actor);
  void FinishBarrier(Rank &rank);
  void FinishCore(Core &core);
  void Doze(Actor &actor);
  void Tell();
  void Unblock();
  std::string WhoWaits() const;
  Area *Find(const uint8_t *address, uint64_t bytes);
  Area &Require(const uint8_t *address, uint64_t bytes, const char *does, Site site, Site caller);
  std::string Describe(uint32_t component) const;
  std::string Describe(const Access &access) const;
  const char *Between(uint32_t a, uint32_t b) const;
  template <typename MakeFields>
  uint32_t Record(uint32_t rank, const char *op, Site site, MakeFields fields, bool flags = false);
  uint64_t NextCommit() { return ++commits_; }

  Options options_;
  std::mt19937_64 random_;
  Shadow shadow_;
  std::vector<std::unique_ptr<Area>> areas_;  // in order of their addresses
  size_t last_found_ = 0;
  bool running_ = false;
  std::vector<Rank> ranks_;
  std::vector<Actor *> ready_;
  uint32_t hosts_running_ = 0;
  uint32_t queue_length_;  // most instructions waiting in a pipe
  uint32_t yield_in_;      // a scalar pipe yields once in so many instructions
  uint32_t evict_in_;      // a cached line is lost once in so many uses; 0: never
  uint32_t most_words_;    // of a piece of a move, unless the move lands whole
  uint32_t stalls_;        // how often a core, or a whole rank, stalls for as long as others can run
  uint32_t stall_in_;      //   once in so many writes of a flag to another rank
  std::vector<Actor *> stalled_;
  int64_t now_ = 0;
  uint64_t commits_ = 0;
  std::vector<Actor *> dozing_;
  uint64_t told_ = 0;       // writes of flags so far, leaps of the clock, and ends of ranks
  uint32_t looks_;          // reads of the clock, in vain, before a core dozes
  bool last_look_ = false;  // since the last Tell, all that doze have polled again for long enough
  std::string report_;
  bool stopped_ = false;
  std::unique_ptr<Trace> trace_;
  static inline Core *current_ = nullptr;
};

std::string ToString(Site site, Site caller);
inline std::string ToString(Site site) { return ToString(site, Site{}); }

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_CHECK_SIMULATOR_H
