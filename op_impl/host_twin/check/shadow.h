// Who touched which bytes, and in what order: the happens-before relation of a simulation.
//
// Every pipe of every core, and every rank's host, is one component of a vector clock. An access has a component and a
// stamp; it happens before everything whose clock has reached the stamp. Two accesses to the same bytes are a race,
// whatever the schedule, if one of them writes and neither happens before the other.
#ifndef MOE_COMM_HOST_TWIN_CHECK_SHADOW_H
#define MOE_COMM_HOST_TWIN_CHECK_SHADOW_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clock.h"

namespace AscendC::backend {

// Where a kernel calls the API from.
struct Site {
  const char *file = nullptr;
  uint32_t line = 0;
  static constexpr Site Here(const char *file = __builtin_FILE(), uint32_t line = __builtin_LINE()) {
    return {file, line};
  }
};

struct Access {
  uint32_t component;
  uint32_t stamp;
  Site site;
  Site caller;        // the last call from another file: where the helper at `site` was used
  bool flag = false;  // moves 64-bit words of flags: atomic, and a write carries `published`
  bool whole_lines = false;
  bool remote = false;      // to another rank's memory
  uint32_t published = 0;   // number of a clock
  uint64_t committed = 0;   // when its last piece reached global memory
  uint8_t scalar_type = 0;  // for a scalar in local memory, see ScalarType
  uint32_t event = 0;       // its id in the trace, if there is one
};

constexpr uint32_t kGranuleBytes = 4;
constexpr uint64_t kLandsWhole = 8;    // bytes that a move writes at once: only an aligned word is never torn
constexpr uint64_t kRecordBytes = 64;  // whole lines of flags may overwrite each other: all cores tell a rank's error

struct Granule {
  uint32_t write = 0;  // number of the last write, 0: none; kNoContent: it left no data
  uint32_t read = 0;   // number of the only read since then, or of a list of reads (kList)
};
constexpr uint32_t kNoContent = 1u << 31;
constexpr uint32_t kList = 1u << 31;

// A part of memory that accesses must not leave: a tensor, a part of a window, a core's unified buffer.
struct Area {
  std::string name;
  uint32_t rank;
  uint8_t *base;
  uint64_t bytes;
  bool global;
  bool flags;  // moves of 64-bit words here are atomic and carry their writer's clock
  std::vector<Granule> granules;
  Area(std::string area_name, uint32_t of_rank, uint8_t *address, uint64_t size, bool in_global, bool of_flags = false)
      : name(std::move(area_name)), rank(of_rank), base(address), bytes(size), global(in_global), flags(of_flags),
        granules((size + kGranuleBytes - 1) / kGranuleBytes) {}
  bool Holds(const uint8_t *address, uint64_t size) const {
    return address >= base && size <= bytes && static_cast<uint64_t>(address - base) <= bytes - size;
  }
};

// Joins the clocks that flags carry, each once.
class Acquirer {
 public:
  // `over`: the reader's own clock. If the write happens before it, so does all that the write carries.
  void Take(const Access &write, const std::vector<Clock> &published, const Clock &over, Clock &clock) {
    const uint32_t number = write.published;
    if (known_.size() < published.size() + 1) known_.resize(published.size() + 1, false);
    if (number == 0 || known_[number]) return;
    known_[number] = true;
    if (over[write.component] >= write.stamp) return;
    clock.Join(published[number - 1], write.remote ? 1 : 0);
  }

 private:
  std::vector<bool> known_;
};

class Shadow {
 public:
  static constexpr uint32_t kBeforeAll = 1;  // the access that made the initial content
  // A race: (area, offset, the access, "reads"/"writes", the other access, "read"/"write").
  struct Finding {
    const Area &area;
    uint64_t offset;
    uint32_t access;
    const char *does;
    uint32_t other;
    const char *did;
  };
  std::function<void(const Finding &)> on_race;
  std::function<void(const Area &, uint64_t offset, uint32_t access, uint32_t last_write)> on_no_content;
  std::function<void(uint32_t access, uint32_t write)> on_flag_seen;  // may be empty

  Shadow() { accesses_.resize(2); }

  uint32_t Add(const Access &access) {
    accesses_.push_back(access);
    return static_cast<uint32_t>(accesses_.size() - 1);
  }
  Access &operator[](uint32_t number) { return accesses_[number]; }
  // The last write to `address`, with content or without.
  const Access &LastWrite(const Area &area, const uint8_t *address) const {
    return accesses_[area.granules[(address - area.base) / kGranuleBytes].write & ~kNoContent];
  }
  uint32_t Publish(const Clock &clock) {
    published_.push_back(clock);
    return static_cast<uint32_t>(published_.size());
  }

  // `clock`: the clock of the access. `acquirer`: for a read of flags, joins their clocks into `acquired`; else
  // nullptr. False if some byte has no content; with `uses` this is reported.
  bool Read(Area &area, const uint8_t *address, uint64_t bytes, uint32_t number, const Clock &clock, bool uses,
            Acquirer *acquirer = nullptr, Clock *acquired = nullptr) {
    bool complete = true;
    uint32_t known = 0;  // checked already: neighbours were often written together
    ForEach(area, address, bytes, [&](Granule &granule, uint64_t offset) {
      const uint32_t last = granule.write & ~kNoContent;
      if (granule.write != last || last == 0) {
        if (uses) on_no_content(area, offset, number, last);
        complete = false;
      }
      if (last != known) {
        const Access &write = accesses_[last];
        if (write.flag && acquirer != nullptr) {
          acquirer->Take(write, published_, clock, *acquired);
          if (on_flag_seen) on_flag_seen(number, last);
        } else if (!IsOver(last, clock)) {
          on_race({area, offset, number, "reads", last, "write"});
        }
        known = last;
      }
      AddRead(granule, number);
    });
    return complete;
  }
  static bool HasContent(const Area &area, const uint8_t *address) {
    const uint32_t write = area.granules[(address - area.base) / kGranuleBytes].write;
    return write != 0 && (write & kNoContent) == 0;
  }

  void Write(Area &area, const uint8_t *address, uint64_t bytes, uint32_t number, const Clock &clock, bool content) {
    const bool flag = accesses_[number].flag && area.global;
    const bool whole_lines = flag && accesses_[number].whole_lines;
    uint32_t known = number;  // checked already: neighbours were often touched together
    uint32_t known_read = number;
    ForEach(area, address, bytes, [&](Granule &granule, uint64_t offset) {
      const uint32_t last = granule.write & ~kNoContent;
      if (last != 0 && last != known) {
        if (!IsOver(last, clock) && !(whole_lines && accesses_[last].whole_lines)) {
          on_race({area, offset, number, "writes", last, "write"});
        }
        known = last;
      }
      const auto check_read = [&](uint32_t read) {
        if (read == known_read || read == number) return;  // an instruction may write where it has read
        if (!IsOver(read, clock) && !(flag && accesses_[read].flag)) {
          on_race({area, offset, number, "writes", read, "read"});
        }
        known_read = read;
      };
      if ((granule.read & kList) != 0) {
        std::vector<uint32_t> &reads = lists_[granule.read & ~kList];
        for (const uint32_t read : reads) check_read(read);
        free_lists_.push_back(granule.read & ~kList);
      } else if (granule.read != 0) {
        check_read(granule.read);
      }
      granule.read = 0;
      granule.write = content ? number : number | kNoContent;
    });
  }

  // Takes the content away; the last accesses stay known.
  void Forget(Area &area, const uint8_t *address, uint64_t bytes) {
    ForEach(area, address, bytes, [](Granule &granule, uint64_t) {
      if (granule.write != 0) granule.write |= kNoContent;
    });
  }
  void Clear(Area &area, const uint8_t *address, uint64_t bytes) {
    ForEach(area, address, bytes, [&](Granule &granule, uint64_t) {
      if ((granule.read & kList) != 0) free_lists_.push_back(granule.read & ~kList);
      granule = Granule{};
    });
  }
  // Gives the area the content that it has before anything runs.
  void Initialise(Area &area) {
    for (Granule &granule : area.granules) granule.write = kBeforeAll;
  }
  // The last moment at which a byte of the range changed.
  uint64_t LastCommit(Area &area, const uint8_t *address, uint64_t bytes) {
    uint64_t last = 0;
    ForEach(area, address, bytes, [&](Granule &granule, uint64_t) {
      const uint64_t committed = accesses_[granule.write & ~kNoContent].committed;
      last = committed > last ? committed : last;
    });
    return last;
  }

 private:
  bool IsOver(uint32_t number, const Clock &clock) const {
    if (number == kBeforeAll) return true;
    const Access &access = accesses_[number];
    return clock[access.component] >= access.stamp;
  }

  template <typename Visit>
  static void ForEach(Area &area, const uint8_t *address, uint64_t bytes, Visit visit) {
    if (bytes == 0) return;
    const uint64_t begin = static_cast<uint64_t>(address - area.base);
    const uint64_t end = (begin + bytes + kGranuleBytes - 1) / kGranuleBytes;
    for (uint64_t i = begin / kGranuleBytes; i < end; ++i) visit(area.granules[i], i * kGranuleBytes);
  }

  // Keeps only the last read of a component: who has waited for it has waited for the earlier ones.
  void AddRead(Granule &granule, uint32_t number) {
    const uint32_t component = accesses_[number].component;
    if (granule.read == 0) {
      granule.read = number;
      return;
    }
    if ((granule.read & kList) == 0) {
      if (accesses_[granule.read].component == component) {
        granule.read = number;
        return;
      }
      const uint32_t first = granule.read;
      if (free_lists_.empty()) {
        free_lists_.push_back(static_cast<uint32_t>(lists_.size()));
        lists_.emplace_back();
      }
      granule.read = free_lists_.back() | kList;
      free_lists_.pop_back();
      lists_[granule.read & ~kList].assign(1, first);
    }
    std::vector<uint32_t> &reads = lists_[granule.read & ~kList];
    for (uint32_t &read : reads) {
      if (accesses_[read].component == component) {
        read = number;
        return;
      }
    }
    reads.push_back(number);
  }

  std::vector<Access> accesses_;  // [0] is no access, [1] kBeforeAll
  std::vector<Clock> published_;
  std::vector<std::vector<uint32_t>> lists_;
  std::vector<uint32_t> free_lists_;
};

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_CHECK_SHADOW_H
