#include "simulator.h"

#include <algorithm>
#include <cstring>

namespace AscendC::backend {
namespace {

constexpr uint64_t kCacheLineBytes = 64;
constexpr uint32_t kMaxBlockCount = 4095;
constexpr uint32_t kMaxBlockLen = 2097151;
constexpr uint8_t kGarbage = 0xa5;
constexpr uint32_t kLastLooks = 48;  // a kernel looks for aborted peers less often than it polls
constexpr uint64_t kMostSteps = 50'000'000;
constexpr int64_t kMostLeaps = 64;  // a kernel that still waits after so many leaps past all deadlines never ends

const char *const kPipeNames[kPipes] = {"S", "V", "MTE2", "MTE3"};

struct EventPipes {
  const char *name;
  pipe_t from;
  pipe_t to;
};
const EventPipes kEventPipes[kEvents] = {{"MTE2_V", PIPE_MTE2, PIPE_V},
                                         {"V_MTE2", PIPE_V, PIPE_MTE2},
                                         {"MTE3_V", PIPE_MTE3, PIPE_V},
                                         {"V_MTE3", PIPE_V, PIPE_MTE3},
                                         {"MTE2_MTE3", PIPE_MTE2, PIPE_MTE3},
                                         {"MTE3_MTE2", PIPE_MTE3, PIPE_MTE2},
                                         {"V_S", PIPE_V, PIPE_S},
                                         {"S_V", PIPE_S, PIPE_V},
                                         {"S_MTE2", PIPE_S, PIPE_MTE2},
                                         {"MTE2_S", PIPE_MTE2, PIPE_S},
                                         {"S_MTE3", PIPE_S, PIPE_MTE3},
                                         {"MTE3_S", PIPE_MTE3, PIPE_S}};

const EventPipes &PipesOf(HardEvent event) { return kEventPipes[static_cast<uint32_t>(event)]; }

std::string EventName(HardEvent event, int32_t id) {
  return std::string("event ") + PipesOf(event).name + " " + std::to_string(id);
}

Trace::Fields EventFields(HardEvent event, int32_t id) {
  return Trace::Fields().Text("event", PipesOf(event).name).Number("number", id);
}
Trace::Fields NoFields() { return Trace::Fields(); }
Trace::Fields PlaceFields(const uint8_t *address, uint64_t bytes) {
  return Trace::Fields().Number("address", reinterpret_cast<uint64_t>(address)).Number("bytes", bytes);
}

uint64_t RoundUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

struct Stop {};

}  // namespace

std::string ToString(Site site, Site caller) {
  const auto name = [](Site s) {
    const std::string file = s.file;
    return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(s.line);
  };
  if (site.file == nullptr) return "the start";
  std::string text = name(site);
  if (caller.file != nullptr) text += " (after " + name(caller) + ")";
  return text;
}

// Adds an event to the trace, if there is one, and returns its id. `fields`: a function that makes the fields.
template <typename MakeFields>
uint32_t Core::Record(uint32_t pipe, const char *op, MakeFields fields, bool flags) {
  if (simulator_.trace_ == nullptr) return 0;
  return simulator_.trace_->Add(rank, block, kPipeNames[pipe], op, ToString(site_), fields(), flags);
}
template <typename MakeFields>
uint32_t Simulator::Record(uint32_t rank, const char *op, Site site, MakeFields fields, bool flags) {
  return trace_ == nullptr ? 0 : trace_->Add(rank, Trace::kHost, "S", op, ToString(site), fields(), flags);
}

// --- core: what the kernel calls ---

Core::Core(Simulator &simulator, uint32_t rank_number, uint32_t block_number)
    : rank(rank_number), block(block_number), simulator_(simulator),
      memory_(new uint8_t[kUnifiedBufferBytes + kUbBlockBytes]),
      unified_buffer_(memory_.get() + (kUbBlockBytes - reinterpret_cast<uintptr_t>(memory_.get()) % kUbBlockBytes)),
      area_("unified buffer", rank_number, unified_buffer_, kUnifiedBufferBytes, false) {}

void Core::Begin(uint32_t block_number, const Clock &clock, std::function<void()> kernel) {
  blocks = block_number;
  pipe_pointer = nullptr;
  scalar_accesses = 0;
  for (Pipe &pipe : pipes_) {
    pipe.start = pipe.done = clock;
    pipe.published = 0;
  }
  Pipe &scalar = pipes_[PIPE_S];
  scalar.start.Set(scalar.component, ++scalar.stamp);
  cache_.clear();
  site_ = caller_ = Site{};
  running_ = true;
  looks_ = 0;
  fiber_ = std::make_unique<Fiber>([this, kernel = std::move(kernel)] {
    Record(PIPE_S, "begin", [this] { return Trace::Fields().Number("launch", simulator_.ranks_[rank].launch); });
    kernel();
    BlockUntil(kOnDrain);
    JoinAllPipes();
    for (auto &line : cache_) WriteBack(line.first, line.second);
    Record(PIPE_S, "end", NoFields);
    for (uint32_t event = 0; event < kEvents; ++event) {
      for (uint32_t id = 0; id < kEventIds; ++id) {
        if (flags_[event][id].issued != 0) {
          simulator_.Fail("unpaired event: " + EventName(static_cast<HardEvent>(event), id) + ", set at " +
                          ToString(flags_[event][id].site) + ", is never awaited");
        }
      }
    }
  });
  simulator_.Wake(scalar.actor);
}

void Core::Note(Site site) {
  if (site.file != site_.file) caller_ = site_;
  site_ = site;
}

void Core::Refuse(const std::string &rule, Site site) {
  Note(site);
  simulator_.Fail(rule + ", at " + ToString(site_, caller_) + ", " + simulator_.Describe(pipes_[PIPE_S].component));
}

void Core::OpenPipe(void *pipe, Site site) {
  if (pipe_pointer != nullptr) {
    Refuse("a second TPipe in one kernel", site);
  }
  Note(site);
  pipe_pointer = pipe;
  simulator_.shadow_.Clear(area_, unified_buffer_, used_);
  std::memset(unified_buffer_, kGarbage, used_);
  used_ = 0;
  buffers_.assign(1, Buffer{nullptr, 0, Site{}});  // number 0: a tensor without a buffer
  queues_.clear();
  reserved_ids_.fill(0);
}

void Core::ClosePipe() {
  for (QueueState &queue : queues_) {
    for (QueueState::Slot &slot : queue.slots) {
      if (slot.state != QueueState::Slot::kFree) {
        Refuse("a queue's tensor is not freed at the end of the kernel, buffer of " +
                   ToString(buffers_[slot.buffer].site),
               site_);
      }
      if (slot.free >= 0) WaitFlag(queue.free, slot.free, site_);
    }
  }
  PipeBarrier(PIPE_ALL, site_);
  pipe_pointer = nullptr;
}

Local Core::TakeBuffer(uint32_t bytes, Site site) {
  Note(site);
  if (pipe_pointer == nullptr) {
    Refuse("InitBuffer without a TPipe", site);
  }
  if (bytes <= 0) {
    Refuse("InitBuffer of no bytes", site);
  }
  if (buffers_.size() > kMaxBuffers) {
    Refuse("more than 64 buffers", site);
  }
  if (bytes > kUnifiedBufferBytes - used_) {
    Refuse("the unified buffer overflows: " + std::to_string(used_) + " bytes are taken, " + std::to_string(bytes) +
               " more do not fit " + std::to_string(kUnifiedBufferBytes),
           site);
  }
  buffers_.push_back({unified_buffer_ + used_, bytes, site});
  used_ += bytes;
  std::memset(buffers_.back().base, kGarbage, bytes);
  return {buffers_.back().base, static_cast<uint32_t>(buffers_.size() - 1), 0};
}

// --- queues ---

uint32_t Core::AddQueue(HardEvent filled, HardEvent free, uint32_t depth, uint32_t count, uint32_t bytes, Site site) {
  QueueState queue;
  queue.filled = filled;
  queue.free = free;
  queue.depth = depth;
  for (uint32_t i = 0; i < count; ++i) {
    QueueState::Slot slot;
    slot.buffer = TakeBuffer(bytes, site).buffer;
    queue.slots.push_back(slot);
  }
  queues_.push_back(queue);
  return static_cast<uint32_t>(queues_.size() - 1);
}

int32_t Core::TakeEventId(HardEvent event) {
  uint32_t &reserved = reserved_ids_[static_cast<uint32_t>(event)];
  for (uint32_t id = 0; id < kEventIds; ++id) {
    if ((reserved >> id & 1) != 0) continue;
    reserved |= 1u << id;
    return static_cast<int32_t>(id);
  }
  Refuse(std::string("all 8 ids of event ") + PipesOf(event).name + " are in use", site_);
}

TEventID Core::FetchEvent(HardEvent event, Site site) {
  Note(site);
  const int32_t id = TakeEventId(event);
  reserved_ids_[static_cast<uint32_t>(event)] &= ~(1u << id);
  return static_cast<TEventID>(id);
}

void Core::EndGeneration(uint32_t buffer, const char *unusable) {
  ++buffers_[buffer].generation;
  buffers_[buffer].unusable = unusable;
}

Local Core::QueueAlloc(uint32_t number, Site site) {
  Note(site);
  QueueState &queue = queues_[number];
  for (QueueState::Slot &slot : queue.slots) {
    if (slot.state != QueueState::Slot::kFree) continue;
    Buffer &buffer = buffers_[slot.buffer];
    const pipe_t user = PipesOf(queue.free).to;
    if (slot.free >= 0) {
      reserved_ids_[static_cast<uint32_t>(queue.free)] &= ~(1u << slot.free);
      WaitFlag(queue.free, slot.free, site);
      slot.free = -1;
      Instruction forget;
      forget.kind = Instruction::kForget;
      forget.local = buffer.base;
      forget.bytes = buffer.bytes;
      Issue(user, std::move(forget));
    }
    slot.state = QueueState::Slot::kAllocated;
    EndGeneration(slot.buffer, nullptr);
    std::rotate(queue.slots.begin(), queue.slots.begin() + (&slot - queue.slots.data()) + 1, queue.slots.end());
    return {buffer.base, static_cast<uint32_t>(&buffer - buffers_.data()), buffer.generation};
  }
  Refuse("AllocTensor waits for ever: all " + std::to_string(queue.slots.size()) + " buffers of the queue of " +
             ToString(buffers_[queue.slots[0].buffer].site) + " are in use",
         site);
}

QueueState::Slot &Core::FindSlot(QueueState &queue, const Local &tensor, const char *what) {
  CheckLocal(tensor, 0, false, what);
  for (QueueState::Slot &slot : queue.slots) {
    if (slot.buffer == tensor.buffer) return slot;
  }
  Refuse(std::string(what) + " of a tensor of another queue", site_);
}

void Core::QueueEnQue(uint32_t number, const Local &tensor, Site site) {
  Note(site);
  QueueState &queue = queues_[number];
  QueueState::Slot &slot = FindSlot(queue, tensor, "EnQue");
  if (queue.queued.size() >= queue.depth) {
    Refuse("the queue is " + std::to_string(queue.depth) + " deep and full", site);
  }
  slot.filled = TakeEventId(queue.filled);
  SetFlag(queue.filled, slot.filled, site);
  slot.state = QueueState::Slot::kQueued;
  queue.queued.push_back(slot.buffer);
  EndGeneration(slot.buffer, "was handed to EnQue; use what DeQue returns");
}

Local Core::QueueDeQue(uint32_t number, Site site) {
  Note(site);
  QueueState &queue = queues_[number];
  if (queue.queued.empty()) {
    Refuse("DeQue of an empty queue", site);
  }
  const uint32_t number_of_buffer = queue.queued.front();
  queue.queued.pop_front();
  EndGeneration(number_of_buffer, nullptr);
  const Buffer &buffer = buffers_[number_of_buffer];
  const Local tensor = {buffer.base, number_of_buffer, buffer.generation};
  QueueState::Slot &slot = FindSlot(queue, tensor, "DeQue");
  slot.state = QueueState::Slot::kDequeued;
  reserved_ids_[static_cast<uint32_t>(queue.filled)] &= ~(1u << slot.filled);
  WaitFlag(queue.filled, slot.filled, site);
  slot.filled = -1;
  return tensor;
}

void Core::QueueFree(uint32_t number, const Local &tensor, Site site) {
  Note(site);
  QueueState &queue = queues_[number];
  QueueState::Slot &slot = FindSlot(queue, tensor, "FreeTensor");
  slot.free = TakeEventId(queue.free);
  SetFlag(queue.free, slot.free, site);
  slot.state = QueueState::Slot::kFree;
  EndGeneration(slot.buffer, "was freed");
}

// --- scalar accesses ---

void Core::CheckLocal(const Local &place, uint64_t bytes, bool aligned, const char *what) {
  if (place.buffer == 0 || place.buffer >= buffers_.size()) {
    Refuse(std::string(what) + ": a tensor without a buffer", site_);
  }
  const Buffer &buffer = buffers_[place.buffer];
  if (place.generation != buffer.generation) {
    const std::string why = buffer.unusable != nullptr ? buffer.unusable : "was handed to EnQue or freed";
    Refuse(std::string(what) + ": use after its end of a tensor that " + why + ", buffer of " + ToString(buffer.site),
           site_);
  }
  if (place.address < buffer.base || place.address + bytes > buffer.base + buffer.bytes) {
    Refuse(std::string(what) + ": " + std::to_string(bytes) + " bytes at " +
               std::to_string(place.address - buffer.base) + " leave the buffer of " + std::to_string(buffer.bytes) +
               " bytes of " + ToString(buffer.site),
           site_);
  }
  if (aligned && (place.address - unified_buffer_) % kUbBlockBytes != 0) {
    Refuse(std::string(what) + ": misaligned, an address in the unified buffer must be a multiple of 32, this is " +
               std::to_string(place.address - buffer.base) + " bytes into the buffer of " + ToString(buffer.site),
           site_);
  }
}

uint32_t Core::ScalarAccess(Site site, uint8_t type) {
  const Pipe &scalar = pipes_[PIPE_S];
  ScalarSite &known = scalar_sites_[site.line % scalar_sites_.size()];
  if (known.site.file != site.file || known.site.line != site.line || known.stamp != scalar.stamp ||
      simulator_.shadow_[known.access].scalar_type != type) {
    known = {site, scalar.stamp, simulator_.shadow_.Add({scalar.component, scalar.stamp, site, caller_})};
    simulator_.shadow_[known.access].scalar_type = type;
  }
  return known.access;
}

void Core::ScalarLocal(const Local &place, uint64_t offset, uint32_t bytes, bool write, uint8_t type, Site site) {
  Note(site);
  ++scalar_accesses;
  const Local at = place.At(static_cast<uint32_t>(offset));
  CheckLocal(at, bytes, false, write ? "SetValue" : "GetValue");
  if ((at.address - unified_buffer_) % bytes != 0) {
    Refuse("a scalar across its own alignment", site);
  }
  const uint8_t written = simulator_.shadow_.LastWrite(area_, at.address).scalar_type;
  if (!write && type != 0 && written != 0 && written != type) {
    Refuse("GetValue of another type than SetValue wrote there: the compiler need not keep their order", site);
  }
  const uint32_t access = ScalarAccess(site, type);
  Record(PIPE_S, write ? "write" : "read", [&] {
    return Trace::Fields().Text("space", "ub").Number("address", at.address - unified_buffer_).Number("bytes", bytes);
  });
  if (write) {
    simulator_.shadow_.Write(area_, at.address, bytes, access, pipes_[PIPE_S].start, true);
  } else {
    simulator_.shadow_.Read(area_, at.address, bytes, access, pipes_[PIPE_S].start, true);
  }
}

Core::CacheLine &Core::Line(uint64_t number, const Area &area) {
  auto found = cache_.find(number);
  if (found != cache_.end() && simulator_.evict_in_ != 0 && simulator_.Random(simulator_.evict_in_) == 0) {
    WriteBack(number, found->second);
    cache_.erase(found);
    found = cache_.end();
  }
  if (found != cache_.end()) return found->second;
  CacheLine &line = cache_[number];
  const uint8_t *address = reinterpret_cast<const uint8_t *>(number * kCacheLineBytes);
  std::memcpy(line.data, address, kCacheLineBytes);
  Record(PIPE_S, "fill", [&] { return PlaceFields(address, kCacheLineBytes); });
  if (simulator_.on_transfer) simulator_.on_transfer({rank, block, area.rank, true, address, kCacheLineBytes});
  line.filled = simulator_.commits_;
  return line;
}

// Writes the whole line back, also the words beside the one that was written.
void Core::WriteBack(uint64_t number, CacheLine &line) {
  if (!line.dirty) return;
  uint8_t *address = reinterpret_cast<uint8_t *>(number * kCacheLineBytes);
  Record(PIPE_S, "writeback", [&] { return PlaceFields(address, kCacheLineBytes); });
  for (uint64_t at = 0; at < kCacheLineBytes; at += kGranuleBytes) {
    Area *area = simulator_.Find(address + at, kGranuleBytes);
    if (area == nullptr) continue;
    simulator_.shadow_.Write(*area, address + at, kGranuleBytes, line.access, pipes_[PIPE_S].start, true);
    std::memcpy(address + at, line.data + at, kGranuleBytes);
  }
  simulator_.shadow_[line.access].committed = simulator_.NextCommit();
  simulator_.Tell();
  line.dirty = false;
}

void Core::ReadGlobal(const void *address, void *value, uint32_t bytes, Site site) {
  Note(site);
  const uint8_t *from = static_cast<const uint8_t *>(address);
  Area &area = simulator_.Require(from, bytes, "GetValue", site_, caller_);
  const uint64_t number = reinterpret_cast<uint64_t>(from) / kCacheLineBytes;
  CacheLine &line = Line(number, area);
  const uint32_t access = ScalarAccess(site, 0);
  Record(PIPE_S, "read", [&] { return PlaceFields(from, bytes).Text("space", line.dirty ? "cache" : "gm"); });
  if (!line.dirty) {
    simulator_.shadow_.Read(area, from, bytes, access, pipes_[PIPE_S].start, true);
    if (simulator_.shadow_.LastCommit(area, from, bytes) > line.filled) {
      simulator_.Report("stale scalar cache: GetValue reads " + area.name + " +" + std::to_string(from - area.base) +
                        " from a cache line older than the last write there; DataCacheCleanAndInvalid it first, at " +
                        ToString(site_, caller_) + ", " + simulator_.Describe(pipes_[PIPE_S].component));
    }
  }
  std::memcpy(value, line.data + (from - reinterpret_cast<uint8_t *>(number * kCacheLineBytes)), bytes);
}

void Core::WriteGlobal(void *address, const void *value, uint32_t bytes, Site site) {
  Note(site);
  uint8_t *to = static_cast<uint8_t *>(address);
  const Area &area = simulator_.Require(to, bytes, "SetValue", site_, caller_);
  const uint64_t number = reinterpret_cast<uint64_t>(to) / kCacheLineBytes;
  CacheLine &line = Line(number, area);
  std::memcpy(line.data + (to - reinterpret_cast<uint8_t *>(number * kCacheLineBytes)), value, bytes);
  line.dirty = true;
  line.access = ScalarAccess(site, 0);
  Record(PIPE_S, "write", [&] { return PlaceFields(to, bytes).Text("space", "cache"); });
}

void Core::CleanCache(const uint8_t *address, bool all, Site site) {
  Note(site);
  Record(PIPE_S, "clean", [&] { return all ? NoFields() : PlaceFields(address, kCacheLineBytes); });
  const uint64_t number = reinterpret_cast<uint64_t>(address) / kCacheLineBytes;
  for (auto line = cache_.begin(); line != cache_.end();) {
    if (all || line->first == number) {
      WriteBack(line->first, line->second);
      line = cache_.erase(line);
    } else {
      ++line;
    }
  }
}

// --- instructions ---

void Core::Issue(pipe_t number, Instruction instruction) {
  instruction.site = site_;
  instruction.caller = caller_;
  Pipe &pipe = pipes_[number];
  if (simulator_.trace_ != nullptr) RecordInstruction(number, instruction);
  blocked_pipe_ = number;
  BlockUntil(kOnSpace);
  pipe.queue.push_back(std::move(instruction));
  if (PipeReady(pipe)) simulator_.Wake(pipe.actor);
  if (simulator_.Random(simulator_.yield_in_) == 0) fiber_->Leave();
}

void Core::RecordInstruction(uint32_t pipe, Instruction &i) {
  const auto event = [&i] { return EventFields(static_cast<HardEvent>(i.event), i.id); };
  Trace::Fields fields;
  const auto made = [&fields] { return fields; };
  const auto local = [this](const uint8_t *address) { return static_cast<uint64_t>(address - unified_buffer_); };
  const auto range = [&](const Operand<Local> &operand) {
    return "[" + std::to_string(local(operand.place.address)) + ", " + std::to_string(operand.bytes) + "]";
  };
  switch (i.kind) {
    case Instruction::kMoveIn:
    case Instruction::kMoveOut: {
      const bool in = i.kind == Instruction::kMoveIn;
      const uint64_t global = reinterpret_cast<uint64_t>(i.global);
      fields.Text("from", in ? "gm" : "ub").Text("to", in ? "ub" : "gm");
      fields.Number("from_address", in ? global : local(i.local)).Number("to_address", in ? local(i.local) : global);
      fields.Number("from_pitch", in ? i.global_pitch : i.local_pitch);
      fields.Number("to_pitch", in ? i.local_pitch : i.global_pitch);
      fields.Number("bytes", i.bytes).Number("blocks", i.blocks);
      i.event_id = Record(pipe, "move", made, i.flag);
      return;
    }
    case Instruction::kVector: {
      std::string reads;
      for (uint32_t n = 1; n < i.operand_number; ++n) reads += (n > 1 ? ", " : "") + range(i.operands[n]);
      fields.Raw("writes", range(i.operands[0])).Raw("reads", "[" + reads + "]");
      i.event_id = Record(pipe, "vector", made);
      return;
    }
    case Instruction::kSet: Record(pipe, "set", event); return;
    case Instruction::kWait: Record(pipe, "wait", event); return;
    case Instruction::kBarrier:
      fields.Text("of", kPipeNames[pipe]);
      Record(pipe, "barrier", made);
      return;
    default: return;
  }
}

void Core::Move(bool in, const Local &local, uint8_t *global, const DataCopyExtParams &p, uint32_t element, Site site) {
  Note(site);
  const char *what = in ? "DataCopyPad to the unified buffer" : "DataCopyPad from the unified buffer";
  if (p.blockCount > kMaxBlockCount) {
    Refuse(std::string(what) + ": illegal blockCount " + std::to_string(p.blockCount) + ", at most 4095", site);
  }
  if (p.blockLen > kMaxBlockLen) {
    Refuse(std::string(what) + ": illegal blockLen " + std::to_string(p.blockLen) + ", at most 2097151 bytes", site);
  }
  if (p.blockLen % element != 0) {
    Refuse(std::string(what) + ": illegal blockLen " + std::to_string(p.blockLen) +
               ", not a multiple of the element's " + std::to_string(element) + " bytes",
           site);
  }
  Instruction move;
  move.kind = in ? Instruction::kMoveIn : Instruction::kMoveOut;
  move.local = local.address;
  move.global = global;
  move.blocks = p.blockCount;
  move.bytes = p.blockLen;
  move.local_pitch = RoundUp(p.blockLen, kUbBlockBytes) +
                     static_cast<uint64_t>(in ? p.dstStride : p.srcStride) * kUbBlockBytes;
  move.global_pitch = static_cast<uint64_t>(p.blockLen) + (in ? p.srcStride : p.dstStride);
  if (move.blocks == 0 || move.bytes == 0) return;
  CheckLocal(local, (move.blocks - 1) * move.local_pitch + (in ? RoundUp(move.bytes, kUbBlockBytes) : move.bytes), true,
             what);
  uint32_t owner = rank;
  move.flag = element == sizeof(uint64_t);
  for (uint32_t i = 0; i < move.blocks; ++i) {
    const Area &area = simulator_.Require(global + i * move.global_pitch, move.bytes, what, site_, caller_);
    if (in) last_read_ = &area;
    owner = area.rank;
    move.flag = move.flag && area.flags;
  }
  if (simulator_.on_transfer) {
    simulator_.on_transfer({rank, block, owner, in, global, move.bytes, move.blocks, move.global_pitch});
  }
  move.remote = owner != rank;
  Issue(in ? PIPE_MTE2 : PIPE_MTE3, std::move(move));
}

void Core::Vector(const char *name, Site site, std::function<void()> compute, const Operand<Local> *operands,
                  uint32_t number) {
  Note(site);
  Instruction vector;
  vector.kind = Instruction::kVector;
  vector.compute = std::move(compute);
  vector.operand_number = number;
  for (uint32_t i = 0; i < number; ++i) {
    vector.operands[i] = operands[i];
    if (operands[i].bytes == 0) return;
    CheckLocal(operands[i].place, operands[i].bytes, true, name);
  }
  Issue(PIPE_V, std::move(vector));
}

// --- order ---

Core::Flag &Core::FlagOf(HardEvent event, int32_t id, Site site) {
  Note(site);
  if (id < 0 || id >= static_cast<int32_t>(kEventIds)) {
    Refuse(EventName(event, id) + " is out of range, ids are 0 to 7", site);
  }
  return flags_[static_cast<uint32_t>(event)][id];
}

void Core::SetFlag(HardEvent event, int32_t id, Site site) {
  Flag &flag = FlagOf(event, id, site);
  if (flag.issued != 0) {
    Refuse(EventName(event, id) + " is set twice without a wait, before at " + ToString(flag.site), site);
  }
  ++flag.issued;
  flag.site = site;
  const EventPipes &pipes = PipesOf(event);
  if (pipes.from != PIPE_S) {
    Instruction set;
    set.kind = Instruction::kSet;
    set.event = static_cast<uint32_t>(event);
    set.id = id;
    return Issue(pipes.from, std::move(set));
  }
  Pipe &scalar = pipes_[PIPE_S];
  Record(PIPE_S, "set", [&] { return EventFields(event, id); });
  flag.set.push_back(scalar.start);
  scalar.start.Set(scalar.component, ++scalar.stamp);
  if (PipeReady(pipes_[pipes.to])) simulator_.Wake(pipes_[pipes.to].actor);
}

void Core::WaitFlag(HardEvent event, int32_t id, Site site) {
  Flag &flag = FlagOf(event, id, site);
  if (flag.issued != 1) {
    Refuse("unpaired event: " + EventName(event, id) + " is awaited but was not set", site);
  }
  --flag.issued;
  const EventPipes &pipes = PipesOf(event);
  if (pipes.to != PIPE_S) {
    Instruction wait;
    wait.kind = Instruction::kWait;
    wait.event = static_cast<uint32_t>(event);
    wait.id = id;
    return Issue(pipes.to, std::move(wait));
  }
  blocked_event_ = static_cast<uint32_t>(event);
  blocked_id_ = id;
  BlockUntil(kOnFlag);
  Record(PIPE_S, "wait", [&] { return EventFields(event, id); });
  pipes_[PIPE_S].start.Join(flag.set.front());
  flag.set.pop_front();
}

void Core::PipeBarrier(pipe_t pipe, Site site) {
  Note(site);
  if (pipe == PIPE_S) return;
  if (pipe == PIPE_ALL) {
    BlockUntil(kOnDrain);
    Record(PIPE_S, "barrier", [] { return Trace::Fields().Text("of", "ALL"); });
    return JoinAllPipes();
  }
  Instruction barrier;
  barrier.kind = Instruction::kBarrier;
  Issue(pipe, std::move(barrier));
}

void Core::SyncAll(Site site) {
  Note(site);
  BlockUntil(kOnDrain);
  JoinAllPipes();
  Record(PIPE_S, "syncall", NoFields);
  Simulator::Rank &own = simulator_.ranks_[rank];
  at_barrier_ = true;
  if (++own.at_barrier == own.blocks) simulator_.FinishBarrier(own);
  BlockUntil(kOnSyncAll);
}

int64_t Core::ReadClock(Site site) {
  Note(site);
  if (looks_since_ != simulator_.told_) looks_ = 0;
  looks_since_ = simulator_.told_;
  if (++looks_ >= (simulator_.last_look_ ? kLastLooks : simulator_.looks_)) simulator_.Doze(pipes_[PIPE_S].actor);
  fiber_->Leave();
  return simulator_.now_;
}

void Core::JoinAllPipes() {
  Clock all = pipes_[PIPE_S].start;
  for (Pipe &pipe : pipes_) {
    all.Join(pipe.start);
    all.Join(pipe.done);
  }
  for (Pipe &pipe : pipes_) {
    pipe.start = pipe.done = all;
    pipe.published = 0;
  }
  Pipe &scalar = pipes_[PIPE_S];
  scalar.start.Set(scalar.component, ++scalar.stamp);
}

void Core::BlockUntil(Blocked reason) {
  blocked_ = reason;
  while (!Satisfied()) fiber_->Leave();
  blocked_ = kRuns;
}

bool Core::Satisfied() const {
  switch (blocked_) {
    case kOnFlag: return !flags_[blocked_event_][blocked_id_].set.empty();
    case kOnSpace: return pipes_[blocked_pipe_].queue.size() < simulator_.queue_length_;
    case kOnDrain:
      return pipes_[PIPE_V].queue.empty() && pipes_[PIPE_MTE2].queue.empty() && pipes_[PIPE_MTE3].queue.empty();
    case kOnSyncAll: return !at_barrier_;
    default: return true;
  }
}

// --- core: pipes ---

bool Core::PipeReady(const Pipe &pipe) const {
  if (pipe.queue.empty()) return false;
  const Instruction &first = pipe.queue.front();
  return first.kind != Instruction::kWait || !flags_[first.event][first.id].set.empty();
}

void Core::Start(Pipe &pipe, Instruction &instruction) {
  Access access{pipe.component, ++pipe.stamp, instruction.site, instruction.caller};
  access.remote = instruction.remote;
  access.event = instruction.event_id;
  if (instruction.flag) {
    access.flag = true;
    access.whole_lines = reinterpret_cast<uint64_t>(instruction.global) % kRecordBytes == 0 &&
                         instruction.bytes % kRecordBytes == 0 && instruction.global_pitch % kRecordBytes == 0;
    if (instruction.kind == Instruction::kMoveOut) {
      if (pipe.published == 0) pipe.published = simulator_.shadow_.Publish(pipe.start);
      access.published = pipe.published;
    }
  }
  instruction.access = simulator_.shadow_.Add(access);
}

void Core::Step(Pipe &pipe) {
  Instruction &now = pipe.queue.front();
  bool over = true;
  switch (now.kind) {
    case Instruction::kSet: {
      Clock clock = pipe.start;
      clock.Join(pipe.done);
      flags_[now.event][now.id].set.push_back(std::move(clock));
      const pipe_t to = kEventPipes[now.event].to;
      if (to != PIPE_S && PipeReady(pipes_[to])) simulator_.Wake(pipes_[to].actor);
      break;
    }
    case Instruction::kWait: {
      std::deque<Clock> &set = flags_[now.event][now.id].set;
      pipe.start.Join(set.front());
      pipe.published = 0;
      set.pop_front();
      break;
    }
    case Instruction::kBarrier:
      pipe.start.Join(pipe.done);
      pipe.published = 0;
      break;
    case Instruction::kForget: simulator_.shadow_.Forget(area_, now.local, now.bytes); break;
    case Instruction::kVector:
      Start(pipe, now);
      RunVector(pipe, now);
      pipe.done.Set(pipe.component, pipe.stamp);
      break;
    default:
      if (now.access == 0) Start(pipe, now);
      over = MovePiece(pipe, now);
      if (!over) break;
      pipe.done.Set(pipe.component, pipe.stamp);
      if (now.remote && now.kind == Instruction::kMoveIn) pipe.done.Reach(pipe.start.Hops() + 1);
      break;
  }
  if (over) pipe.queue.pop_front();
  if (blocked_ != kRuns && Satisfied()) simulator_.Wake(pipes_[PIPE_S].actor);
}

void Core::RunVector(Pipe &pipe, Instruction &instruction) {
  Shadow &shadow = simulator_.shadow_;
  for (uint32_t i = 1; i < instruction.operand_number; ++i) {
    shadow.Read(area_, instruction.operands[i].place.address, instruction.operands[i].bytes, instruction.access,
                pipe.start, true);
  }
  shadow.Write(area_, instruction.operands[0].place.address, instruction.operands[0].bytes, instruction.access,
               pipe.start, true);
  instruction.compute();
}

bool Core::MovePiece(Pipe &pipe, Instruction &move) {
  Shadow &shadow = simulator_.shadow_;
  const bool in = move.kind == Instruction::kMoveIn;
  uint64_t words = simulator_.Random(2) == 0 ? ~0u : 1 + simulator_.Random(simulator_.most_words_);
  while (words > 0 && move.block < move.blocks) {
    uint8_t *local = move.local + move.block * move.local_pitch + move.offset;
    uint8_t *global = move.global + move.block * move.global_pitch + move.offset;
    Area &area = *simulator_.Find(global, 1);
    const uint64_t into_word = reinterpret_cast<uint64_t>(global) % kLandsWhole;
    const uint64_t bytes = std::min<uint64_t>(move.bytes - move.offset, words * kLandsWhole - into_word);
    words -= (into_word + bytes + kLandsWhole - 1) / kLandsWhole;
    if (in) {
      if (shadow.Read(area, global, bytes, move.access, pipe.start, false, move.flag ? &acquirer_ : nullptr,
                      &pipe.done)) {
        shadow.Write(area_, local, bytes, move.access, pipe.start, true);
      } else {  // loading bytes that nobody wrote is no fault, using them is
        for (uint64_t at = 0; at < bytes; at += kGranuleBytes) {
          const uint64_t granule = std::min<uint64_t>(kGranuleBytes, bytes - at);
          shadow.Write(area_, local + at, granule, move.access, pipe.start, Shadow::HasContent(area, global + at));
        }
      }
      std::memcpy(local, global, bytes);
    } else {
      shadow.Read(area_, local, bytes, move.access, pipe.start, true);
      shadow.Write(area, global, bytes, move.access, pipe.start, true);
      std::memcpy(global, local, bytes);
      shadow[move.access].committed = simulator_.NextCommit();
      if (area.flags) simulator_.Tell();
    }
    move.offset += static_cast<uint32_t>(bytes);
    if (move.offset < move.bytes) continue;
    if (in) {  // the rest of the last 32 bytes is overwritten too
      const uint64_t end = RoundUp(move.bytes, kGranuleBytes);
      uint8_t *tail = move.local + move.block * move.local_pitch + end;
      const uint64_t tail_bytes = RoundUp(move.bytes, kUbBlockBytes) - end;
      shadow.Write(area_, tail, tail_bytes, move.access, pipe.start, false);
      std::memset(tail, kGarbage, tail_bytes);
    }
    move.offset = 0;
    ++move.block;
  }
  Simulator::Rank &own = simulator_.ranks_[rank];
  const bool over = move.block == move.blocks;
  if (move.remote && !in && own.ends_in > 0) {
    own.ends_in -= over;
    if (own.ends_in == 0 || (own.ends_in == 1 && simulator_.Random(2) == 0)) simulator_.End(own);
  }
  if (over && move.flag && move.remote && !in) simulator_.MayStall(*this);
  return over;
}

std::string Core::Where(const uint8_t *local) const {
  for (const Buffer &buffer : buffers_) {
    if (buffer.base != nullptr && local >= buffer.base && local < buffer.base + buffer.bytes) {
      return "unified buffer, byte " + std::to_string(local - buffer.base) + " of the buffer of " +
             ToString(buffer.site);
    }
  }
  return "unified buffer +" + std::to_string(local - unified_buffer_);
}

std::string Core::State() const {
  std::string text = "  rank " + std::to_string(rank) + " core " + std::to_string(block) + ": ";
  switch (blocked_) {
    case kOnSyncAll: text += "in SyncAll"; break;
    case kOnFlag: text += "waits for " + EventName(static_cast<HardEvent>(blocked_event_), blocked_id_); break;
    case kOnSpace: text += std::string("waits for room in ") + kPipeNames[blocked_pipe_]; break;
    case kOnDrain: text += "in a barrier of all pipes"; break;
    default: text += "polls"; break;
  }
  text += " at " + ToString(site_, caller_);
  if (last_read_ != nullptr && blocked_ != kOnSyncAll) text += ", last moved in from " + last_read_->name;
  for (const Pipe &pipe : pipes_) {
    if (pipe.queue.empty() || PipeReady(pipe)) continue;
    const Instruction &wait = pipe.queue.front();
    text += std::string("; ") + kPipeNames[&pipe - pipes_.data()] + " waits for " +
            EventName(static_cast<HardEvent>(wait.event), wait.id) + " at " + ToString(wait.site, wait.caller);
  }
  return text + "\n";
}

// --- simulator ---

Simulator::Simulator(const Options &options) : options_(options), random_(options.seed), ranks_(options.ranks) {
  const auto pick = [&](std::initializer_list<uint32_t> choices) { return choices.begin()[Random(choices.size())]; };
  queue_length_ = pick({1, 2, 4, 16, 64});
  yield_in_ = pick({1, 4, 16});
  evict_in_ = pick({0, 2, 32});
  most_words_ = pick({1, 8, 64});
  looks_ = pick({2, 4, 24});
  stalls_ = pick({0, 2, 6});
  stall_in_ = pick({1, 3, 8});
  uint32_t slow_in = pick({0, 3, 12});
  if (options.even) {
    queue_length_ = 64;
    yield_in_ = 16;
    evict_in_ = slow_in = stalls_ = 0;
    most_words_ = ~0u;
  }
  const auto slowness = [&] { return slow_in != 0 && Random(slow_in) == 0 ? pick({4, 16}) : 1; };
  uint32_t component = 0;
  for (uint32_t r = 0; r < options.ranks; ++r) {
    ranks_[r].component = component++;
    ranks_[r].actor.host = r;
    ranks_[r].actor.slowness = slowness();
    for (uint32_t c = 0; c < options.cores; ++c) {
      ranks_[r].cores.push_back(std::make_unique<Core>(*this, r, c));
      Core &core = *ranks_[r].cores.back();
      for (uint32_t p = 0; p < kPipes; ++p) {
        core.pipes_[p].component = component++;
        core.pipes_[p].actor.core = &core;
        core.pipes_[p].actor.pipe = p;
        core.pipes_[p].actor.slowness = slowness();
      }
    }
  }
  if (options.traces) {
    trace_ = std::make_unique<Trace>();
    shadow_.on_flag_seen = [this](uint32_t reader, uint32_t write) {
      trace_->Saw(shadow_[reader].event, shadow_[write].event);
    };
  }
  shadow_.on_race = [this](const Shadow::Finding &found) {
    std::string place = found.area.name + " +" + std::to_string(found.offset);
    for (const Rank &rank : ranks_) {
      for (const auto &core : rank.cores) {
        if (&core->area_ == &found.area) place = core->Where(found.area.base + found.offset);
      }
    }
    const Access &access = shadow_[found.access];
    const Access &other = shadow_[found.other];
    Report(std::string("race ") + Between(access.component, other.component) + " on " + place + "\n  " + found.does +
           ": " + Describe(access) + "\n  not ordered with the " + found.did + ": " + Describe(other));
  };
  shadow_.on_no_content = [this](const Area &area, uint64_t offset, uint32_t number, uint32_t last) {
    std::string text = area.name + " +" + std::to_string(offset);
    std::string why = last == 0 ? "nothing was ever written there"
                                : "what is there is no data: padding or the past of a buffer, left by " +
                                      Describe(shadow_[last]);
    for (const Rank &rank : ranks_) {
      for (const auto &core : rank.cores) {
        if (&core->area_ != &area) continue;
        const uint8_t *address = area.base + offset;
        text = core->Where(address);
        for (const Pipe &pipe : core->pipes_) {
          for (const Instruction &i : pipe.queue) {
            const bool writes = i.kind == Instruction::kMoveIn
                                    ? address >= i.local && address < i.local + (i.blocks - 1) * i.local_pitch + i.bytes
                                    : i.kind == Instruction::kVector && address >= i.operands[0].place.address &&
                                          address < i.operands[0].place.address + i.operands[0].bytes;
            if (writes) why = "what " + ToString(i.site, i.caller) + " brings has not arrived";
          }
        }
      }
    }
    Report("never written: read of " + text + ", " + why + "\n  reads: " + Describe(shadow_[number]));
  };
}

Simulator::~Simulator() = default;

Core &Simulator::Self() { return *current_; }

void Simulator::Register(uint32_t rank, std::string name, uint8_t *base, uint64_t bytes, bool content, bool flags) {
  name = "rank " + std::to_string(rank) + " " + std::move(name);
  auto area = std::make_unique<Area>(std::move(name), rank, base, bytes, true, flags);
  if (content) shadow_.Initialise(*area);
  if (trace_ != nullptr) {
    trace_->AddArea("{\"area\": " + Trace::Quoted(area->name) + ", \"rank\": " + std::to_string(rank) +
                    ", \"address\": " + std::to_string(reinterpret_cast<uint64_t>(base)) +
                    ", \"bytes\": " + std::to_string(bytes) + ", \"holds\": " + (flags ? "\"flags\"" : "\"data\"") +
                    ", \"content\": " + (content ? "true" : "false") + "}");
  }
  const auto at = running_ ? std::upper_bound(areas_.begin(), areas_.end(), base,
                                              [](const uint8_t *a, const auto &other) { return a < other->base; })
                           : areas_.end();  // Run sorts all areas at once
  areas_.insert(at, std::move(area));
}

Area *Simulator::Find(const uint8_t *address, uint64_t bytes) {
  for (size_t guess : {last_found_, last_found_ + 1}) {  // the pieces of a move often touch neighbouring areas
    if (guess < areas_.size() && areas_[guess]->Holds(address, bytes)) {
      last_found_ = guess;
      return areas_[guess].get();
    }
  }
  const auto after = std::upper_bound(areas_.begin(), areas_.end(), address,
                                      [](const uint8_t *a, const auto &area) { return a < area->base; });
  if (after == areas_.begin()) return nullptr;
  last_found_ = after - 1 - areas_.begin();
  Area *area = areas_[last_found_].get();
  return area->Holds(address, bytes) ? area : nullptr;
}

Area &Simulator::Require(const uint8_t *address, uint64_t bytes, const char *does, Site site, Site caller) {
  Area *area = Find(address, bytes);
  if (area != nullptr) return *area;
  std::string nearest = "no tensor or window part";
  const auto after = std::upper_bound(areas_.begin(), areas_.end(), address,
                                      [](const uint8_t *a, const auto &other) { return a < other->base; });
  if (after != areas_.begin()) {
    const Area &before = **(after - 1);
    nearest = "they begin " + std::to_string(address - before.base) + " bytes into " + before.name + " of " +
              std::to_string(before.bytes);
  }
  Fail(std::string("outside: ") + does + " of " + std::to_string(bytes) + " bytes, " + nearest + ", at " +
       ToString(site, caller) + (current_ != nullptr ? ", " + Describe(current_->pipes_[PIPE_S].component) : ""));
}

std::string Simulator::Describe(uint32_t component) const {
  const uint32_t of_rank = component % (1 + options_.cores * kPipes);
  const std::string rank = "rank " + std::to_string(component / (1 + options_.cores * kPipes));
  if (of_rank == 0) return rank + " host";
  return rank + " core " + std::to_string((of_rank - 1) / kPipes) + " " + kPipeNames[(of_rank - 1) % kPipes];
}

const char *Simulator::Between(uint32_t a, uint32_t b) const {
  const uint32_t per_rank = 1 + options_.cores * kPipes;
  if (a / per_rank != b / per_rank) return "between ranks";
  return (a % per_rank + kPipes - 1) / kPipes == (b % per_rank + kPipes - 1) / kPipes ? "in a core" : "between cores";
}

std::string Simulator::Describe(const Access &access) const {
  return ToString(access.site, access.caller) + ", " + Describe(access.component);
}

bool Simulator::WriteTrace(const std::string &path) const {
  return trace_->Write(path, options_.seed, options_.ranks, options_.cores, report_);
}

void Simulator::Report(const std::string &report) {
  if (!options_.goes_on) Fail(report);
  if (report_.empty()) report_ = report;
}

void Simulator::Fail(const std::string &report) {
  if (report_.empty()) report_ = report;
  stopped_ = true;
  if (Fiber::Current() == nullptr) throw Stop{};
  for (;;) Fiber::Current()->Leave();
}

// Stops all actors of a rank, whatever they were doing.
void Simulator::End(Rank &rank) {
  const auto end = [this](Actor &actor) {
    Sleep(actor);
    actor.gone = true;
  };
  end(rank.actor);
  for (const auto &core : rank.cores) {
    core->running_ = false;
    for (Pipe &pipe : core->pipes_) end(pipe.actor);
  }
  rank.ended = true;
  --hosts_running_;
  Tell();
}

// May stall a core, or all cores of its rank and the host.
void Simulator::MayStall(Core &core) {
  if (stalls_ == 0 || !stalled_.empty() || Random(stall_in_) != 0) return;
  --stalls_;
  Rank &rank = ranks_[core.rank];
  const bool all = Random(2) == 0;
  if (all) Stall(rank.actor);
  for (const auto &other : rank.cores) {
    for (Pipe &pipe : other->pipes_) {
      if (all || other.get() == &core) Stall(pipe.actor);
    }
  }
}

void Simulator::Stall(Actor &actor) {
  const bool due = actor.ready >= 0;
  Sleep(actor);
  actor.stalled = true;
  actor.due = due;
  stalled_.push_back(&actor);
}

void Simulator::GoOn() {
  for (Actor *actor : stalled_) {
    actor->stalled = false;
    if (actor->due) Wake(*actor);
  }
  stalled_.clear();
}

void Simulator::Wake(Actor &actor) {
  actor.due = true;
  if (actor.ready >= 0 || actor.stalled || actor.dozes || actor.gone) return;
  actor.ready = static_cast<int32_t>(ready_.size());
  ready_.push_back(&actor);
}

void Simulator::Sleep(Actor &actor) {
  actor.due = false;
  if (actor.ready < 0) return;
  ready_.back()->ready = actor.ready;
  ready_[actor.ready] = ready_.back();
  ready_.pop_back();
  actor.ready = -1;
}

Actor &Simulator::Pick() {
  for (uint32_t tries = 0; tries < 32; ++tries) {
    Actor &actor = *ready_[Random(ready_.size())];
    if (actor.slowness == 1 || Random(actor.slowness) == 0) return actor;
  }
  return *ready_[Random(ready_.size())];
}

void Simulator::Step(Actor &actor) {
  ++now_;
  if (actor.core == nullptr) {
    Rank &rank = ranks_[actor.host];
    rank.host->Resume();
    if (rank.host->Finished()) {
      --hosts_running_;
      rank.ended = true;
      Tell();
    }
    if (rank.host->Finished() || (rank.launched && rank.finished < rank.blocks)) Sleep(actor);
    return;
  }
  Core &core = *actor.core;
  if (actor.pipe != PIPE_S) {
    core.Step(core.pipes_[actor.pipe]);
    if (!core.PipeReady(core.pipes_[actor.pipe])) Sleep(actor);
    return;
  }
  current_ = &core;
  core.fiber_->Resume();
  current_ = nullptr;
  if (core.fiber_->Finished()) {
    Sleep(actor);
    FinishCore(core);
  } else if (!core.Satisfied()) {
    Sleep(actor);
  }
}

void Simulator::FinishCore(Core &core) {
  Rank &rank = ranks_[core.rank];
  core.running_ = false;
  rank.clock.Join(core.pipes_[PIPE_S].start);
  if (rank.at_barrier > 0) {
    Fail("deadlock: rank " + std::to_string(core.rank) + " core " + std::to_string(core.block) +
         " has ended and others wait for it in SyncAll\n" + WhoWaits());
  }
  if (++rank.finished == rank.blocks) Wake(rank.actor);
}

void Simulator::FinishBarrier(Rank &rank) {
  if (rank.finished > 0) Fail("deadlock: SyncAll after a core has ended\n" + WhoWaits());
  Clock all = rank.clock;
  for (uint32_t c = 0; c < rank.blocks; ++c) all.Join(rank.cores[c]->pipes_[PIPE_S].start);
  for (uint32_t c = 0; c < rank.blocks; ++c) {
    Core &core = *rank.cores[c];
    for (Pipe &pipe : core.pipes_) {
      pipe.start = pipe.done = all;
      pipe.published = 0;
    }
    Pipe &scalar = core.pipes_[PIPE_S];
    scalar.start.Set(scalar.component, ++scalar.stamp);
    core.at_barrier_ = false;
    Wake(scalar.actor);
  }
  rank.at_barrier = 0;
}

// An actor that polls in vain sleeps until the next Tell.
void Simulator::Doze(Actor &actor) {
  Sleep(actor);
  actor.dozes = actor.due = true;
  dozing_.push_back(&actor);
}

void Simulator::Tell() {
  ++told_;
  last_look_ = false;
  for (Actor *actor : dozing_) {
    actor->dozes = false;
    Wake(*actor);
  }
  dozing_.clear();
}

// Called when no actor can run. First the stalled actors continue, then all actors that doze poll once more, and then
// the clock leaps past every deadline.
void Simulator::Unblock() {
  const bool waits = std::any_of(dozing_.begin(), dozing_.end(), [](const Actor *actor) { return !actor->gone; });
  if (!stalled_.empty()) return GoOn();
  if (!waits) Fail("deadlock: nothing can go on\n" + WhoWaits());
  const bool again = last_look_;
  if (again && !options_.may_time_out) Fail("a wait that can never end:\n" + WhoWaits());
  if (now_ >= kMostLeaps * kTimeoutCycles) Fail("no end: cores go on waiting after their deadlines\n" + WhoWaits());
  if (again) now_ += kTimeoutCycles;
  Tell();
  last_look_ = !again;
}

std::string Simulator::WhoWaits() const {
  std::string text;
  for (const Rank &rank : ranks_) {
    for (const auto &core : rank.cores) {
      if (core->running_) text += core->State();
    }
  }
  return text;
}

void Simulator::Host(uint32_t rank, std::function<void()> body) {
  ranks_[rank].host = std::make_unique<Fiber>(std::move(body));
  ++hosts_running_;
  Wake(ranks_[rank].actor);
}

std::string Simulator::Run() {
  std::sort(areas_.begin(), areas_.end(), [](const auto &a, const auto &b) { return a->base < b->base; });
  running_ = true;
  try {
    while (hosts_running_ > 0 && !stopped_) {
      while (ready_.empty()) Unblock();
      if (Steps() > kMostSteps) Fail("no end: after " + std::to_string(kMostSteps) + " steps:\n" + WhoWaits());
      Step(Pick());
    }
  } catch (const Stop &) {
  }
  return report_;
}

void Simulator::Launch(uint32_t number, uint32_t blocks, std::function<void()> kernel) {
  Rank &rank = ranks_[number];
  rank.clock.Set(rank.component, ++rank.stamp);
  rank.blocks = blocks;
  rank.finished = 0;
  rank.launched = true;
  const Clock clock = rank.clock;
  rank.launch = Record(number, "launch", Site{}, [blocks] { return Trace::Fields().Number("cores", blocks); });
  for (uint32_t c = 0; c < blocks; ++c) rank.cores[c]->Begin(blocks, clock, kernel);
  while (rank.finished < rank.blocks) rank.host->Leave();
  rank.launched = false;
  Record(number, "return", Site{}, NoFields);
}

void Simulator::Touch(uint32_t number, const void *address, uint64_t bytes, bool write, bool flag, Site site) {
  if (bytes == 0) return;
  Rank &rank = ranks_[number];
  rank.clock.Set(rank.component, ++rank.stamp);
  uint8_t *at = static_cast<uint8_t *>(const_cast<void *>(address));
  Area &area = Require(at, bytes, write ? "a host's write" : "a host's read", site, Site{});
  Access own{rank.component, rank.stamp, site, Site{}};
  own.flag = flag;
  own.remote = area.rank != number;
  if (flag && write) own.published = shadow_.Publish(rank.clock);
  own.event = Record(number, write ? "write" : "read", site, [&] { return PlaceFields(at, bytes).Text("space", "gm"); },
                     flag);
  const uint32_t access = shadow_.Add(own);
  if (write) {
    shadow_.Write(area, at, bytes, access, rank.clock, true);
    shadow_[access].committed = NextCommit();
    Tell();
  } else {
    shadow_.Read(area, at, bytes, access, rank.clock, true, flag ? &rank.acquirer : nullptr, &rank.clock);
  }
}

void Simulator::Await(uint32_t number, const std::function<bool()> &holds) {
  while (!holds()) {
    Doze(ranks_[number].actor);
    ranks_[number].host->Leave();
  }
}

void Simulator::AwaitEnd(uint32_t number, uint32_t of) {
  const Rank &other = ranks_[of];
  Await(number, [&other] { return other.ended; });
  Record(number, "join", Site{}, [of] { return Trace::Fields().Number("rank", of); });
  Clock &clock = ranks_[number].clock;
  clock.Join(other.clock);
  for (const auto &core : other.cores) {
    for (const Pipe &pipe : core->pipes_) {
      clock.Join(pipe.start);
      clock.Set(pipe.component, pipe.stamp);
    }
  }
}

void Simulator::Pause(uint32_t steps) {
  for (uint32_t i = 0; i < steps; ++i) Fiber::Current()->Leave();
}

}  // namespace AscendC::backend
