// A trace of a run, for race detectors and viewers: what each core and each host did, in program order.
//
// Version 1. One JSON object per line. First the run, then the areas of global memory, then the events, last a report:
//
//   {"trace": 1, "seed": .., "ranks": .., "cores": ..}
//   {"area": name, "rank": .., "address": .., "bytes": .., "holds": "flags" | "data", "content": true | false}
//   {"id": .., "by": "RANK.CORE" | "RANK.host", "pipe": "S" | "V" | "MTE2" | "MTE3", "op": .., "at": "FILE:LINE", ..}
//   {"report": text}                      the first broken rule, empty if there is none
//
// Ids ascend. Events of one core are in program order; the order between cores means nothing. A core's unified buffer
// is a space of its own, "ub"; all global memory is "gm". Events, and their fields beside the above:
//
//   read, write   space, address, bytes     by the scalar pipe or a host; a write to "cache" reaches "gm" later
//   move          from, to (spaces), from_address, to_address, from_pitch, to_pitch, bytes (of a block), blocks
//   vector        writes [address, bytes], reads [[address, bytes], ..]
//   set, wait     event (as "MTE2_S"), number; the pipe is the one that sets or waits. Queues set and wait, too
//   barrier       of: a pipe, or "ALL"
//   syncall       the n-th syncalls of all cores of a launch are one barrier
//   fill, writeback, clean   address, bytes  of the scalar cache; clean without an address: all lines
//   launch        cores; by the host. return: all cores have ended, the host continues
//   begin, end    of a core; begin has the id of the launch
//   join          rank: the host has learned that this rank has ended, with all that it did
//
// "flags": true marks a move, or a host's access, of flags: it is atomic in words of 64 bits. Such a read has "saw":
// the ids of the writes that it saw. The initial content has no id.
//
// What orders what: the scalar pipe is ordered with itself, an instruction of another pipe only behind what its pipe
// has waited for (wait, barrier). A set stands for all that its pipe was given before it. What happens before a write
// of flags also happens before everything that waits for a read that saw the write. An instruction that the end of its
// rank or of the run cut off is in the trace as if it had ended.
#ifndef MOE_COMM_HOST_TWIN_CHECK_TRACE_H
#define MOE_COMM_HOST_TWIN_CHECK_TRACE_H

#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

namespace AscendC::backend {

class Trace {
 public:
  static constexpr uint32_t kVersion = 1;
  static constexpr int64_t kHost = -1;

  // Fields of an event, as JSON.
  class Fields {
   public:
    Fields &Number(const char *name, uint64_t value) { return Raw(name, std::to_string(value)); }
    Fields &Text(const char *name, const std::string &value) { return Raw(name, Quoted(value)); }
    Fields &Raw(const char *name, const std::string &value) {
      text_ += std::string(", \"") + name + "\": " + value;
      return *this;
    }
    const std::string &Json() const { return text_; }

   private:
    std::string text_;
  };

  void AddArea(const std::string &json) { areas_.push_back(json); }
  // Returns the event's id.
  uint32_t Add(uint32_t rank, int64_t core, const char *pipe, const char *op, const std::string &at,
               const Fields &fields, bool flags) {
    std::string by = std::to_string(rank) + "." + (core == kHost ? "host" : std::to_string(core));
    Fields all;
    all.Text("by", by).Text("pipe", pipe).Text("op", op).Text("at", at);
    events_.push_back({all.Json() + fields.Json() + (flags ? ", \"flags\": true" : ""), {}});
    return static_cast<uint32_t>(events_.size());
  }
  void Saw(uint32_t reader, uint32_t write) {
    if (reader != 0 && write != 0) events_[reader - 1].saw.insert(write);
  }

  // False if the file cannot be written.
  bool Write(const std::string &path, uint64_t seed, uint32_t ranks, uint32_t cores, const std::string &report) const {
    std::FILE *file = std::fopen(path.c_str(), "w");
    if (file == nullptr) return false;
    std::fprintf(file, "{\"trace\": %u, \"seed\": %lu, \"ranks\": %u, \"cores\": %u}\n", kVersion, seed, ranks, cores);
    for (const std::string &area : areas_) std::fprintf(file, "%s\n", area.c_str());
    for (size_t i = 0; i < events_.size(); ++i) {
      std::fprintf(file, "{\"id\": %zu%s", i + 1, events_[i].json.c_str());
      std::string saw;
      for (const uint32_t write : events_[i].saw) saw += (saw.empty() ? "" : ", ") + std::to_string(write);
      if (!saw.empty()) std::fprintf(file, ", \"saw\": [%s]", saw.c_str());
      std::fprintf(file, "}\n");
    }
    std::fprintf(file, "{\"report\": %s}\n", Quoted(report).c_str());
    return std::fclose(file) == 0;
  }

  static std::string Quoted(const std::string &text) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c == '\n' ? "\\n" : std::string(1, c);
    }
    return quoted + "\"";
  }

 private:
  struct Event {
    std::string json;
    std::set<uint32_t> saw;
  };
  std::vector<std::string> areas_;
  std::vector<Event> events_;
};

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_CHECK_TRACE_H
