// Who touched which bytes, and in what order: the happens-before relation of a simulation.
//
// Every pipe of every core, and every rank's host, is one component of a vector clock. An access carries its
// component and a stamp there; it is over for whoever holds a clock that has reached the stamp. Two accesses to the
// same bytes of which one writes, and of which neither is over for the other, are a race, whatever the schedule.
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
  Site caller;             // the call before it from another file: what the helper at `site` was used for
  bool flag = false;       // moves 64-bit words of flags: atomic, and a write of them carries `published`
  bool whole_lines = false;
  bool remote = false;     // by another rank than the one whose memory it is
  uint32_t published = 0;  // number of a clock
  uint64_t committed = 0;  // when its last piece reached global memory
  uint8_t scalar_type = 0;  // of a scalar in local memory, see ScalarType
  uint32_t event = 0;      // in the trace, if there is one
};

constexpr uint32_t kGranuleBytes = 4;
constexpr uint64_t kLandsWhole = 8;  // bytes that a move writes at once: no more than an aligned word never tears
constexpr uint64_t kRecordBytes = 64;  // flags on whole lines may overwrite each other: all cores tell a rank's error

struct Granule {
  uint32_t write = 0;  // number of the last write, 0: none; kNoContent: what it left is not data
  uint32_t read = 0;   // number of the only read since, or of a list of reads (kList)
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
  bool flags;  // moves of 64-bit words there are atomic and carry what is over for their writer
  std::vector<Granule> granules;
  Area(std::string area_name, uint32_t of_rank, uint8_t *address, uint64_t size, bool in_global, bool of_flags = false)
      : name(std::move(area_name)), rank(of_rank), base(address), bytes(size), global(in_global), flags(of_flags),
        granules((size + kGranuleBytes - 1) / kGranuleBytes) {}
  bool Holds(const uint8_t *address, uint64_t size) const {
    return address >= base && size <= bytes && static_cast<uint64_t>(address - base) <= bytes - size;
  }
};

// Takes the clocks that flags carry, each once.
class Acquirer {
 public:
  // `over`: what is over for the reader anyway, and with a write all that it carries.
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
  static constexpr uint32_t kBeforeAll = 1;  // the access that made what was there at the start
  // What is called for each broken rule: (area, offset, the access, "reads"/"writes", the other, "read"/"write").
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
  // The last write of what is at `address`, with content or without.
  const Access &LastWrite(const Area &area, const uint8_t *address) const {
    return accesses_[area.granules[(address - area.base) / kGranuleBytes].write & ~kNoContent];
  }
  uint32_t Publish(const Clock &clock) {
    published_.push_back(clock);
    return static_cast<uint32_t>(published_.size());
  }

  // `clock`: what is over for the access. `acquirer`: of a read of flags, for `acquired`, or nullptr.
  // False if some of it has no content; `uses`: then that is a fault.
  bool Read(Area &area, const uint8_t *address, uint64_t bytes, uint32_t number, const Clock &clock, bool uses,
            Acquirer *acquirer = nullptr, Clock *acquired = nullptr) {
    bool complete = true;
    uint32_t known = 0;  // not to be in the way: neighbours were often written together
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
    uint32_t known = number;  // not to be in the way: neighbours were often touched together
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

  // Nobody may rely on what is there any more; who touched it stays known.
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
  // What the host laid down before anything ran.
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

  // Of one component's reads only the last counts: who has waited for it has waited for those before.
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
