// The counts exchange of a dispatch leads from the counts of this rank's blocks to the row of each of its tokens in the
// remote windows.
//
//   Publish     sends this rank's counts row to every rank, behind the word of agreement
//   Collect     waits for every rank's row. Each block sums its share of the destinations, and stores in the table of
//               first rows the row of this rank's first token for each of their slots   - barrier -
//
// The [R][slots] matrix is never kept. The blocks read it in tiles and keep only [slots] and [R] tables.
#ifndef MOE_COMM_KERNEL_EXCHANGE_H
#define MOE_COMM_KERNEL_EXCHANGE_H

#include "kernel/slot_page.h"
#include "kernel/wait.h"

namespace moe_comm {

class Exchange {
 public:
  static constexpr uint32_t kStageWords = 2048;
  static constexpr uint32_t kStageExperts = 512;

  __aicore__ inline void Init(Core &core) {
    const Window *window = window_ = &core.window;
    failure_ = &core.failure;
    epoch_ = window->epoch + 1;
    exchange_ = window->exchange;
    core.pipe->InitBuffer(ranks_buffer_, static_cast<uint32_t>(TableRowBytes(window->world_size)));
    core.pipe->InitBuffer(sums_buffer_, 3 * kStageExperts * sizeof(int32_t));
    core.pipe->InitBuffer(stage_buffer_, kStageWords * sizeof(uint64_t));
    core.pipe->InitBuffer(line_buffer_, static_cast<uint32_t>(kLineBytes));
    per_source_ = ranks_buffer_.Get<int32_t>();
    total_ = sums_buffer_.Get<int32_t>();
    before_ = total_[kStageExperts];
    own_ = total_[2 * kStageExperts];
    stage_ = stage_buffer_.Get<uint64_t>();
    line_ = line_buffer_.Get<uint64_t>();
    for (uint32_t i = 0; i < kVerdictWords; ++i) verdict_[i] = 0;
  }

  __aicore__ inline uint64_t Epoch() const { return epoch_; }
  __aicore__ inline uint64_t Number() const { return exchange_; }

  // Sums this rank's counts over its blocks and sends them to every rank, behind its word of agreement.
  __aicore__ inline void Publish(SlotPage &page, uint32_t agreement) {
    ++exchange_;
    const Span own = ShareOf(window_->world_size);
    const uint64_t row = window_->CountsRow(exchange_, window_->rank);
    const uint64_t tag = epoch_ << 32;  // 32 bits do: the other parity was rewritten since it last held this tag
    uint64_t word = tag | agreement;
    for (uint32_t first = 0; first < window_->slot_num && own.begin < own.end; first += SlotPage::kSlots) {
      page.Turn(first);
      page.LoadFrom(window_->layout.histogram);
      for (uint32_t block = 1; block < Blocks(); ++block) page.AddHistogram(block);
      stage_.SetValue(0, word);  // the word before the page's words, once more
      for (uint32_t i = 0; i < page.Count(); ++i) {
        word = tag | static_cast<uint32_t>(page.Word(i));
        stage_.SetValue(i + 1, word);
      }
      const uint64_t at = row + first * sizeof(uint64_t);
      for (uint32_t peer = own.begin; peer < own.end; ++peer) {
        if (window_->TookPart(peer)) Store(window_->Peer(peer, at), stage_, page.Count() + 1);
      }
    }
  }

  // Replaces Publish if this rank keeps its plan: a rank that waits for its counts learns that none come. Nobody reads
  // the other parity any more, since all counts of the last exchange have come.
  __aicore__ inline void Announce(uint32_t agreement) {
    const uint64_t row = window_->CountsRow(exchange_ + 1, window_->rank);
    stage_.SetValue(0, epoch_ << 32 | agreement);
    const Span own = ShareOf(window_->world_size);
    for (uint32_t peer = own.begin; peer < own.end; ++peer) {
      if (window_->TookPart(peer)) Store(window_->Peer(peer, row + kAgreementWord * sizeof(uint64_t)), stage_, 1);
    }
  }

  // Reads every rank's counts of this epoch. Every rank's word of agreement must be `agreement`.
  // `expert_token_nums`: int64 counts of this rank's slots, or cumulative sums.
  __aicore__ inline void Collect(uint32_t agreement, GM_ADDR expert_token_nums, bool cumulative) {
    const Span own = ShareOf(window_->world_size);
    Wait wait(*window_, *failure_, kWaitCounts, epoch_);
    if (!CheckAgreement(agreement, own, wait)) return;
    for (uint32_t destination = own.begin; destination < own.end; ++destination) {
      if (!CollectDestination(destination, expert_token_nums, cumulative, wait)) return;
    }
    wait.End();
    for (uint32_t i = 0; i < kVerdictWords; ++i) line_.SetValue(i, verdict_[i]);
    Store(Note(Block()), line_, kVerdictWords);
  }

  // After the second barrier: false if some rank would get more rows than its window has. All ranks conclude the same.
  __aicore__ inline bool Fits() {
    for (uint32_t block = 0; block < Blocks(); ++block) {  // in order of destinations: the first is reported
      Load(line_, Note(block), kVerdictWords);
      if (line_.GetValue(kNoteCode) == kNoError) continue;
      for (uint32_t i = 0; i < kVerdictWords; ++i) verdict_[i] = line_.GetValue(i);
      return false;
    }
    return true;
  }

  // Replaces an exchange: the last one's counts hold for this dispatch, too. One block calls this.
  __aicore__ inline void ReportKept(GM_ADDR expert_token_nums, bool cumulative) {
    const uint32_t own_slots = window_->SlotNumOf(window_->rank);
    uint64_t sum = 0;
    for (uint32_t first = 0; first < own_slots; first += kStageExperts) {
      const uint32_t part = Min(kStageExperts, own_slots - first);
      Load(total_, window_->Own(window_->layout.received, first), part);
      for (uint32_t i = 0; i < part; ++i) {
        const uint32_t rows = static_cast<uint32_t>(total_.GetValue(i));
        sum += rows;
        stage_.SetValue(i, cumulative ? sum : static_cast<uint64_t>(rows));
      }
      Store(expert_token_nums + first * sizeof(int64_t), stage_, part);
    }
  }

  // One block calls this when its rank is done. It writes what the host and the next kernels read. A verdict that the
  // host has not seen yet stays: on an NPU the host may look after further dispatches.
  __aicore__ inline void Finish(bool placed) {
    if (placed && window_->drops) {
      AddDropped(window_->layout.last_dropped_from, window_->layout.dropped_from);
      AddDropped(window_->layout.last_dropped_to, window_->layout.dropped_to);
    }
    stage_.SetValue(0, epoch_);
    stage_.SetValue(kExchange - kEpoch, exchange_);
    stage_.SetValue(kPlacedEpoch - kEpoch, placed ? epoch_ : window_->placed_epoch);
    const bool verdict = !placed && !window_->untold_verdict;
    for (uint32_t i = 0; verdict && i < kVerdictWords; ++i) stage_.SetValue(kVerdictCode - kEpoch + i, verdict_[i]);
    Store(window_->Own(FieldOffset(kEpoch)), stage_, kVerdictCode - kEpoch + (verdict ? kVerdictWords : 0));
  }

  // One block calls this if no row was placed. Kernels queued behind this dispatch then work on no rows.
  __aicore__ inline void ReportNothing(GM_ADDR expert_token_nums) {
    const uint32_t own_slots = window_->SlotNumOf(window_->rank);
    for (uint32_t first = 0; first < own_slots; first += kStageWords) {
      const uint32_t experts = Min(kStageWords, own_slots - first);
      for (uint32_t i = 0; i < experts; ++i) stage_.SetValue(i, static_cast<uint64_t>(0));
      Store(expert_token_nums + first * sizeof(int64_t), stage_, experts);
    }
    window_->SetField(kReceivedRows, 0);
  }

 private:
  __aicore__ inline GM_ADDR Note(uint64_t block) const { return window_->Own(window_->layout.notes, block); }

  // Records an error and returns false if a rank of `ranks` has another word of agreement, but for the phase.
  __aicore__ inline bool CheckAgreement(uint32_t agreement, Span ranks, Wait &wait) {
    constexpr uint32_t kTile = kStageWords / kWordPitch;
    uint32_t differing = 0;
    uint32_t first_rank = 0;
    uint32_t first_word = 0;
    for (uint32_t first = ranks.begin; first < ranks.end; first += kTile) {
      const uint32_t tile = Min(kTile, ranks.end - first);
      if (!AwaitTile(kAgreementWord, 1, first, tile, kWordPitch, wait)) return false;
      for (uint32_t i = 0; i < tile; ++i) {
        const uint32_t word = static_cast<uint32_t>(stage_.GetValue(i * kWordPitch));
        if (((word ^ agreement) & ~kInPrefill) == 0 || !window_->TookPart(first + i)) continue;
        if (differing++ == 0) {
          first_rank = first + i;
          first_word = word;
        }
      }
    }
    if (differing == 0) return true;
    const Disagreement error = {differing, first_rank, first_word, agreement};
    failure_->Record(kWaitCounts, epoch_, error);
    return false;
  }

  // Loads `words` words from `word` on of each of `sources` ranks from `source` on. True once all are of this epoch.
  __aicore__ inline bool AwaitTile(uint32_t word, uint32_t words, uint32_t source, uint32_t sources, uint32_t pitch,
                                   Wait &wait) {
    const uint64_t row = window_->CountsRow(exchange_, source) + word * sizeof(uint64_t);
    for (;;) {
      LoadStrided(stage_, window_->Own(row), words, sources, window_->layout.counts.pitch);
      bool all = true;
      uint32_t looked_at = 0;
      for (; looked_at < sources && all; ++looked_at) {
        if (!window_->TookPart(source + looked_at)) continue;
        for (uint32_t w = 0; w < words && all; ++w) all = IsCurrent(stage_.GetValue(looked_at * pitch + w));
      }
      if (all) return true;
      if (!wait.Expired(source + looked_at - 1)) continue;
      if (!failure_->Failed()) RecordMissing(word, words, source, sources, pitch);
      return false;
    }
  }

  __aicore__ inline bool IsCurrent(uint64_t word) const { return (word >> 32) == (epoch_ & 0xffffffffULL); }

  // Records the missing ranks: those of the last look by all words that it loaded, all others by one word each.
  __aicore__ inline void RecordMissing(uint32_t word, uint32_t words, uint32_t source, uint32_t sources,
                                       uint32_t pitch) {
    constexpr uint32_t kTile = kStageWords / kWordPitch;
    MissingRanks missing;
    for (uint32_t s = 0; s < sources; ++s) {
      bool all = true;
      for (uint32_t w = 0; w < words && all; ++w) all = IsCurrent(stage_.GetValue(s * pitch + w));
      if (!all && window_->TookPart(source + s)) missing.Add(source + s);
    }
    for (uint32_t first = 0; first < window_->world_size; first += kTile) {
      const uint32_t ranks = Min(kTile, window_->world_size - first);
      const uint64_t row = window_->CountsRow(exchange_, first) + word * sizeof(uint64_t);
      LoadStrided(stage_, window_->Own(row), 1, ranks, window_->layout.counts.pitch);
      for (uint32_t i = 0; i < ranks; ++i) {
        const bool looked_at = first + i >= source && first + i < source + sources;
        const bool missed = !IsCurrent(stage_.GetValue(i * kWordPitch)) && window_->TookPart(first + i);
        if (missed && !looked_at) missing.Add(first + i);
      }
    }
    missing.Record(*failure_, kWaitCounts, epoch_);
  }

  // Which of a destination's rows are kept: all from ranks below `source`, `left` from `source` by ascending slot, and
  // none from ranks above it. Without a cut, `source` is no rank.
  struct Cut {
    uint32_t source;
    int32_t left;
  };

  __aicore__ inline bool CollectDestination(uint32_t destination, GM_ADDR expert_token_nums, bool cumulative,
                                            Wait &wait) {
    const bool own = destination == window_->rank;
    Cut cut = {window_->world_size, 0};
    int64_t need = PlaceSlots(destination, cut, own ? expert_token_nums : nullptr, cumulative, wait);
    if (need < 0) return false;
    const int64_t capacity = static_cast<int64_t>(window_->shape.capacity);
    if (need > capacity && window_->drops) cut = FindCut(need - capacity);
    if (window_->drops) StoreDropped(destination, cut);
    if (cut.source < window_->world_size) {
      need = PlaceSlots(destination, cut, own ? expert_token_nums : nullptr, cumulative, wait);
    }
    if (need > capacity && verdict_[kNoteCode] == kNoError) SetVerdict(destination, static_cast<uint64_t>(need));
    if (own) {
      Store(window_->Own(window_->layout.sources), per_source_, window_->world_size);
      window_->SetField(kReceivedRows, static_cast<uint64_t>(need));
    }
    if (window_->shape.pooled_tokens > 0) {
      Store(window_->Own(window_->layout.shares, destination), per_source_, window_->world_size);
    }
    before_.SetValue(0, per_source_.GetValue(window_->rank));
    Store(window_->Own(window_->layout.destinations, destination), before_, 1);
    return true;
  }

  // Finds where the rows of each slot of `destination` begin, and how many each source sends there. Returns the number
  // of all rows, or -1 if the wait for the counts has failed.
  __aicore__ inline int64_t PlaceSlots(uint32_t destination, Cut cut, GM_ADDR token_nums, bool cumulative, Wait &wait) {
    const uint32_t slots = window_->SlotNumOf(destination);
    uint64_t need = 0;
    Clear(per_source_, window_->world_size);
    for (uint32_t first = 0; first < slots; first += kStageExperts) {
      const uint32_t part = Min(kStageExperts, slots - first);
      const uint32_t slot = window_->FirstSlotOf(destination) + first;
      if (!SumSources(slot, part, cut, wait)) return -1;
      if (window_->shape.pooled_tokens > 0) {
        Store(window_->Own(window_->layout.own_rows, slot), own_, part);
      }
      for (uint32_t i = 0; i < part; ++i) {
        const uint32_t rows = static_cast<uint32_t>(total_.GetValue(i));
        const int32_t first_row = static_cast<int32_t>(need) + before_.GetValue(i);
        before_.SetValue(i, first_row);
        own_.SetValue(i, first_row + own_.GetValue(i));
        need += rows;
        stage_.SetValue(i, cumulative ? need : static_cast<uint64_t>(rows));
      }
      Store(window_->Own(window_->layout.first_rows, slot), before_, part);
      if (window_->drops) Store(window_->Own(window_->layout.last_rows, slot), own_, part);
      if (token_nums == nullptr) continue;
      Store(token_nums + first * sizeof(int64_t), stage_, part);
      Store(window_->Own(window_->layout.received, first), total_, part);
    }
    return static_cast<int64_t>(need);
  }

  // total_[i] = rows for slot + i from all ranks, before_[i] = from the ranks before this one, own_[i] = from this one.
  __aicore__ inline bool SumSources(uint32_t slot, uint32_t slots, Cut &cut, Wait &wait) {
    const uint32_t pitch = static_cast<uint32_t>(RoundUp(slots, kWordPitch));
    const uint32_t tile = kStageWords / pitch;
    Clear(total_, slots);
    Clear(before_, slots);
    Clear(own_, slots);
    for (uint32_t first = 0; first < window_->world_size && first <= cut.source; first += tile) {
      const uint32_t sources = Min(tile, window_->world_size - first);
      if (!AwaitTile(kFirstSlotWord + slot, slots, first, sources, pitch, wait)) return false;
      for (uint32_t s = 0; s < sources && first + s <= cut.source; ++s) {
        if (!window_->TookPart(first + s)) continue;
        int32_t from_source = per_source_.GetValue(first + s);
        for (uint32_t e = 0; e < slots; ++e) {
          int32_t rows = static_cast<int32_t>(stage_.GetValue(s * pitch + e) & 0xffffffffULL);
          if (first + s == cut.source) {
            rows = rows < cut.left ? rows : cut.left;
            cut.left -= rows;
          }
          from_source += rows;
          total_.SetValue(e, total_.GetValue(e) + rows);
          if (first + s < window_->rank) before_.SetValue(e, before_.GetValue(e) + rows);
          if (first + s == window_->rank) own_.SetValue(e, rows);
        }
        per_source_.SetValue(first + s, from_source);
      }
    }
    return true;
  }

  // Finds the cut that drops `excess` rows: the last source's first, and of one source those of its last slot first.
  __aicore__ inline Cut FindCut(int64_t excess) const {
    uint32_t source = window_->world_size - 1;
    while (source > 0 && per_source_.GetValue(source) <= excess) excess -= per_source_.GetValue(source--);
    return {source, per_source_.GetValue(source) - static_cast<int32_t>(excess)};
  }

  // The rows of `source` that the cut drops. per_source_ still holds all its rows.
  __aicore__ inline int32_t DroppedOf(uint32_t source, const Cut &cut) const {
    if (source < cut.source) return 0;
    return per_source_.GetValue(source) - (source == cut.source ? cut.left : 0);
  }

  // Stores how many rows to `destination` this exchange drops. per_source_ still holds all rows.
  __aicore__ inline void StoreDropped(uint32_t destination, const Cut &cut) {
    before_.SetValue(0, DroppedOf(window_->rank, cut));
    Store(window_->Own(window_->layout.last_dropped_to, destination), before_, 1);
    if (destination != window_->rank) return;
    for (uint32_t first = 0; first < window_->world_size; first += kStageExperts) {
      const uint32_t part = Min(kStageExperts, window_->world_size - first);
      for (uint32_t i = 0; i < part; ++i) before_.SetValue(i, DroppedOf(first + i, cut));
      Store(window_->Own(window_->layout.last_dropped_from, first), before_, part);
    }
  }

  // Adds the last exchange's drops in the table at `last` to the counters at `sums`.
  __aicore__ inline void AddDropped(const PartPlace &last, const PartPlace &sums) {
    for (uint32_t first = 0; first < window_->world_size; first += kStageExperts) {
      const uint32_t part = Min(kStageExperts, window_->world_size - first);
      Load(before_, window_->Own(last, first), part);
      Load(stage_, window_->Own(sums, first), part);
      for (uint32_t i = 0; i < part; ++i) {
        stage_.SetValue(i, stage_.GetValue(i) + static_cast<uint64_t>(before_.GetValue(i)));
      }
      Store(window_->Own(sums, first), stage_, part);
    }
  }

  __aicore__ inline void SetVerdict(uint32_t destination, uint64_t need) {
    uint32_t largest = 0;
    for (uint32_t s = 1; s < window_->world_size; ++s) {
      if (per_source_.GetValue(s) > per_source_.GetValue(largest)) largest = s;
    }
    verdict_[kNoteCode] = kOverflow;
    verdict_[kNoteRank] = destination;
    verdict_[kNoteNeed] = need;
    verdict_[kNoteSource] = largest;
    verdict_[kNoteEpoch] = epoch_;
  }

  const Window *window_;
  Failure *failure_;
  uint64_t epoch_;
  uint64_t exchange_;
  uint64_t verdict_[kVerdictWords];
  AscendC::TBuf<AscendC::TPosition::VECCALC> ranks_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> sums_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> stage_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> line_buffer_;
  AscendC::LocalTensor<int32_t> per_source_;  // [R], kMaxRanks at most
  AscendC::LocalTensor<int32_t> total_;
  AscendC::LocalTensor<int32_t> before_;
  AscendC::LocalTensor<int32_t> own_;
  AscendC::LocalTensor<uint64_t> stage_;
  AscendC::LocalTensor<uint64_t> line_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_EXCHANGE_H
