// Balanced prefill: ranks with few rows to send move rows for those with many, so that none moves more than an equal
// share. The rows end where they would have anyway. Only `arrived` differs: the rank that has moved the rows raises it.
// Who moves what follows from the counts matrix and from the phases that travel with it. A rank in decode neither helps
// nor is helped, but waits for the ranks that bring it rows.
//
//   The rows of a rank are in the order of (slot, token). Those beyond its equal share are its surplus. The surpluses
//   of all ranks, one after the other, make a line. The ranks that have room take parts of the line, in rank order.
//
//   Derive     finds from the table of shares who brings rows here, and what this rank brings where - barrier -
//              (a rank in decode runs DeriveBringers and no later step)
//   HandOver   stores the surplus in pooled memory: entries (token, row, rank) and rows of x    - barrier, `handed` -
//   Help       waits for `handed`, reads entries and rows of others, and writes the rows
//
// Entries and rows are not overwritten before a helper has read them. The next dispatch writes its own after the
// exchange of counts, which the helper joins when it is done. With a kept plan it writes them after a combine, which
// has waited for the outputs of just those ranks to which the helper has brought the rows.
#ifndef MOE_COMM_KERNEL_BALANCE_H
#define MOE_COMM_KERNEL_BALANCE_H

#include "kernel/delivery.h"
#include "kernel/placement.h"
#include "kernel/slot_page.h"

namespace moe_comm {

class Balance {
 public:
  // `helps`: this rank may move rows of others, and others may move its rows. False in decode.
  __aicore__ inline void Init(Core &core, bool helps) {
    window_ = &core.window;
    if (!On()) return;
    const uint32_t table = static_cast<uint32_t>(TableRowBytes(window_->world_size));
    if (helps) page_.Init(core);
    core.pipe->InitBuffer(tables_buffer_, 4 * table);
    core.pipe->InitBuffer(words_buffer_, kWords * sizeof(int32_t));
    loads_ = tables_buffer_.Get<int32_t>();
    table_ = loads_[table / sizeof(int32_t)];
    before_ = loads_[2 * table / sizeof(int32_t)];
    bringers_ = loads_[3 * table / sizeof(int32_t)];
    words_ = words_buffer_.Get<int32_t>();
  }

  __aicore__ inline bool On() const { return window_->shape.pooled_tokens > 0; }

  // Who brings what to whom. Valid once one block has derived it.
  __aicore__ inline Delivery Balanced() const { return {window_->layout.moves, window_->layout.bringers}; }

  // One block calls this, after exchange number `exchange`.
  __aicore__ inline void Derive(const LiveRanks &live, uint64_t exchange) {
    FindHelpers(live, exchange);
    SumLoads();
    FindShare();
    FindBringers();
    FindOwnMoves();
    FindShifts();
  }

  // Replaces Derive in decode, where a rank moves its own rows.
  __aicore__ inline void DeriveBringers(const LiveRanks &live, uint64_t exchange) {
    if (FindHelpers(live, exchange) > 0) {
      SumLoads();
      FindShare();
      FindBringers();
    } else {
      Copy(window_->layout.sources, window_->layout.bringers);
    }
    Copy(window_->layout.destinations, window_->layout.moves);
  }

  // Every block calls this, after the barrier that follows Derive.
  __aicore__ inline void Open() {
    Load(loads_, window_->Own(window_->layout.loads), window_->world_size);
    FindShare();
  }

  // Hands over the surplus pairs of the tile that begins at token `first`.
  __aicore__ inline void HandOver(const Routes &routes, Placement &placement, uint32_t first, uint32_t tokens,
                                  const AscendC::LocalTensor<int32_t> &indices) {
    const HandOverPair hand_over = {this, &routes, &placement, first};
    WalkSurplus(routes, tokens, indices, hand_over);
  }
  // Leaves in `indices` only the pairs that this rank moves itself.
  __aicore__ inline void TakeOut(const Routes &routes, uint32_t tokens, const AscendC::LocalTensor<int32_t> &indices) {
    WalkSurplus(routes, tokens, indices, TakeOutPair());
  }

  // Moves this block's part of what this rank takes over.
  __aicore__ inline void Help(Placement &placement) {
    const Part own = OwnPart();
    const Span share = ShareOf(static_cast<uint64_t>(own.end - own.begin));
    const int64_t begin = own.begin + share.begin;
    const int64_t end = own.begin + share.end;
    int64_t line = 0;
    for (uint32_t source = 0; source < window_->world_size; ++source) {
      const Part part = Overlap(begin, end, line, line + Surplus(source));
      for (int64_t at = part.begin; at < part.end; at += kEntries) {
        const uint32_t entries = static_cast<uint32_t>(part.end - at < kEntries ? part.end - at : kEntries);
        const uint64_t entry = static_cast<uint64_t>(at - line);
        Load(words_, window_->Peer(source, window_->layout.entries(entry)), entries * kEntryWords);
        for (uint32_t i = 0; i < entries; ++i) MoveEntry(placement, source, i * kEntryWords);
      }
      line += Surplus(source);
    }
  }

 private:
  static constexpr uint32_t kWords = 1024;
  static constexpr uint32_t kPitch = kRowAlign / sizeof(int32_t);  // between single words loaded from a column
  static constexpr int64_t kEntries = kWords / kEntryWords;

  struct Part {
    int64_t begin;
    int64_t end;
  };
  static __aicore__ inline Part Overlap(int64_t a_begin, int64_t a_end, int64_t b_begin, int64_t b_end) {
    const int64_t begin = a_begin > b_begin ? a_begin : b_begin;
    const int64_t end = a_end < b_end ? a_end : b_end;
    return {begin, end > begin ? end : begin};
  }

  __aicore__ inline bool Helps(uint32_t rank) const { return loads_.GetValue(rank) >= 0; }
  __aicore__ inline int64_t Rows(uint32_t rank) const {
    const int32_t load = loads_.GetValue(rank);
    return load < 0 ? ~load : load;
  }
  __aicore__ inline int64_t Kept(uint32_t rank) const {
    return Helps(rank) && Rows(rank) > share_ ? share_ : Rows(rank);
  }
  __aicore__ inline int64_t Surplus(uint32_t rank) const { return Rows(rank) - Kept(rank); }
  __aicore__ inline int64_t Room(uint32_t rank) const { return Helps(rank) ? share_ - Kept(rank) : 0; }

  // The part of the line that this rank takes over.
  __aicore__ inline Part OwnPart() const {
    int64_t line = 0;
    int64_t begin = 0;
    for (uint32_t rank = 0; rank < window_->world_size; ++rank) line += Surplus(rank);
    for (uint32_t rank = 0; rank < window_->rank; ++rank) begin += Room(rank);
    return Overlap(begin, begin + Room(window_->rank), 0, line);
  }

  __aicore__ inline GM_ADDR Shares(uint32_t destination) const {
    return window_->Own(window_->layout.shares, destination);
  }

  // Sets bringers_ to 1 for the ranks that are in prefill and take part. Returns how many they are.
  __aicore__ inline uint32_t FindHelpers(const LiveRanks &live, uint64_t exchange) {
    constexpr uint32_t kTile = kWords / kPitch;
    const AscendC::LocalTensor<uint64_t> agreements = words_.template ReinterpretCast<uint64_t>();
    uint32_t helpers = 0;
    for (uint32_t first = 0; first < window_->world_size; first += kTile) {
      const uint32_t ranks = Min(kTile, window_->world_size - first);
      const uint64_t word = window_->CountsRow(exchange, first) + kAgreementWord * sizeof(uint64_t);
      LoadStrided(agreements, window_->Own(word), 1, ranks, window_->layout.counts.pitch);
      for (uint32_t i = 0; i < ranks; ++i) {
        const bool helps = live.Has(first + i) && (agreements.GetValue(i * kWordPitch) & kInPrefill) != 0;
        bringers_.SetValue(first + i, static_cast<int32_t>(helps));
        helpers += helps;
      }
    }
    return helpers;
  }

  // loads_ = the rows that each rank sends, before_ = its rows to ranks below this one, table_ = its rows to this one.
  __aicore__ inline void SumLoads() {
    const uint32_t ranks = window_->world_size;
    Clear(loads_, window_->world_size);
    for (uint32_t destination = 0; destination < ranks; ++destination) {
      if (destination == window_->rank) {
        for (uint32_t rank = 0; rank < ranks; ++rank) before_.SetValue(rank, loads_.GetValue(rank));
      }
      Load(table_, Shares(destination), ranks);
      Sync<AscendC::HardEvent::S_V>();
      AscendC::Add(loads_, loads_, table_, static_cast<int32_t>(ranks));
      Sync<AscendC::HardEvent::V_S>();
    }
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      if (bringers_.GetValue(rank) == 0) loads_.SetValue(rank, ~loads_.GetValue(rank));
    }
    Store(window_->Own(window_->layout.loads), loads_, ranks);
    Load(table_, Shares(window_->rank), ranks);
  }

  __aicore__ inline void FindShare() {
    int64_t total = 0;
    int64_t helpers = 0;
    for (uint32_t rank = 0; rank < window_->world_size; ++rank) {
      if (!Helps(rank)) continue;
      total += Rows(rank);
      ++helpers;
    }
    share_ = helpers == 0 ? 0 : (total + helpers - 1) / helpers;  // none helps: this rank leaves, others decode
  }

  // Finds how many of the rows that come here each rank brings.
  __aicore__ inline void FindBringers() {
    int64_t line = 0;
    uint32_t helper = 0;
    int64_t helper_begin = 0;
    Clear(bringers_, window_->world_size);
    for (uint32_t source = 0; source < window_->world_size; ++source) {
      const int64_t begin = before_.GetValue(source);
      const int64_t end = begin + table_.GetValue(source);
      const Part kept = Overlap(begin, end, 0, Kept(source));
      const Part surplus = Overlap(begin, end, Kept(source), Rows(source));
      Count(bringers_, source, kept);
      for (int64_t at = surplus.begin; at < surplus.end;) {
        const int64_t on_line = line + at - Kept(source);
        while (on_line >= helper_begin + Room(helper)) helper_begin += Room(helper++);
        const Part part = Overlap(at, surplus.end, at, at + helper_begin + Room(helper) - on_line);
        Count(bringers_, helper, part);
        at = part.end;
      }
      line += Surplus(source);
    }
    Store(window_->Own(window_->layout.bringers), bringers_, window_->world_size);
  }

  // Finds what this rank moves to each destination, to whom it hands rows over, and who hands rows over to it.
  __aicore__ inline void FindOwnMoves() {
    const uint32_t ranks = window_->world_size;
    Clear(table_, window_->world_size);
    AddMoves(window_->rank, {0, Kept(window_->rank)});
    const Part own = OwnPart();
    int64_t line = 0;
    for (uint32_t source = 0; source < ranks; ++source) {
      const Part part = Overlap(own.begin, own.end, line, line + Surplus(source));
      before_.SetValue(source, static_cast<int32_t>(part.end - part.begin));
      if (part.end > part.begin) {
        AddMoves(source, {Kept(source) + part.begin - line, Kept(source) + part.end - line});
      }
      line += Surplus(source);
    }
    Store(window_->Own(window_->layout.moves), table_, ranks);
    Store(window_->Own(window_->layout.helped), before_, ranks);
    int64_t begin = 0;
    for (uint32_t source = 0; source < window_->rank; ++source) begin += Surplus(source);
    const int64_t end = begin + Surplus(window_->rank);
    int64_t helper_begin = 0;
    for (uint32_t helper = 0; helper < ranks; ++helper) {
      const Part part = Overlap(begin, end, helper_begin, helper_begin + Room(helper));
      before_.SetValue(helper, static_cast<int32_t>(part.end - part.begin));
      helper_begin += Room(helper);
    }
    Store(window_->Own(window_->layout.helpers), before_, ranks);
  }

  // Adds the rows of `source` in the places `part` of its order to table_, by destination.
  __aicore__ inline void AddMoves(uint32_t source, const Part &part) {
    constexpr uint32_t kTile = kWords / kPitch;
    int64_t place = 0;
    for (uint32_t first = 0; first < window_->world_size; first += kTile) {
      const uint32_t ranks = Min(kTile, window_->world_size - first);
      LoadStrided(words_, Shares(first) + source * sizeof(int32_t), 1, ranks, window_->layout.shares.pitch);
      for (uint32_t i = 0; i < ranks; ++i) {
        const int64_t rows = words_.GetValue(i * kPitch);
        const Part moved = Overlap(part.begin, part.end, place, place + rows);
        Count(table_, first + i, moved);
        place += rows;
      }
    }
  }

  // Stores for each slot the place in this rank's order less the row in the destination's window.
  __aicore__ inline void FindShifts() {
    int32_t place = 0;
    for (uint32_t first = 0; first < window_->slot_num; first += kWords / 2) {
      const uint32_t slots = Min(kWords / 2, window_->slot_num - first);
      Load(words_, window_->Own(window_->layout.own_rows, first), slots);
      Load(words_[kWords / 2], window_->Own(window_->layout.first_rows, first), slots);
      for (uint32_t i = 0; i < slots; ++i) {
        const int32_t rows = words_.GetValue(i);
        words_.SetValue(i, place - words_.GetValue(kWords / 2 + i));
        place += rows;
      }
      Store(window_->Own(window_->layout.shifts, first), words_, slots);
    }
  }

  // An action for a surplus pair of the tile: `row` is its row in the destination, `place` its place in the surplus.
  struct TakeOutPair {
    __aicore__ inline void Take(const AscendC::LocalTensor<int32_t> &indices, uint32_t pair, int32_t, uint64_t) const {
      indices.SetValue(pair, kDropped);
    }
  };
  struct HandOverPair {
    Balance *balance;
    const Routes *routes;
    Placement *placement;
    uint32_t first;
    __aicore__ inline void Take(const AscendC::LocalTensor<int32_t> &, uint32_t pair, int32_t row,
                                uint64_t place) const {
      balance->StoreEntry(*routes, *placement, first, pair, row, place);
    }
  };

  template <typename Action>
  __aicore__ inline void WalkSurplus(const Routes &routes, uint32_t tokens,
                                     const AscendC::LocalTensor<int32_t> &indices, const Action &action) {
    const int64_t kept = Kept(window_->rank);
    if (Surplus(window_->rank) == 0) return;
    copied_ = kNoToken;
    for (uint32_t slot = 0; slot < window_->slot_num; slot += SlotPage::kSlots) {
      page_.Turn(slot);
      page_.LoadFrom(window_->layout.shifts);
      for (uint32_t pair = 0; pair < tokens * routes.Columns(); ++pair) {
        const int32_t row = indices.GetValue(pair);
        if (row < 0 || !page_.Has(routes.SlotOfPair(pair))) continue;
        const int64_t place = static_cast<int64_t>(row) + page_.Get(routes.SlotOfPair(pair));
        if (place < kept) continue;
        action.Take(indices, pair, row, static_cast<uint64_t>(place - kept));
      }
    }
  }

  // Consecutive pairs of one token share one copy of its row.
  __aicore__ inline void StoreEntry(const Routes &routes, Placement &placement, uint32_t first, uint32_t pair,
                                    int32_t row, uint64_t place) {
    const uint32_t token = pair / routes.Columns();
    if (token != copied_) {
      placement.CopyRow(placement.RowOf(first + token), window_->Own(window_->layout.inputs, first + token));
    }
    copied_ = token;
    words_.SetValue(kEntryToken, static_cast<int32_t>(first + token));
    words_.SetValue(kEntryRow, row);
    words_.SetValue(kEntryRank, static_cast<int32_t>(window_->Owner(routes.SlotOfPair(pair))));
    words_.SetValue(kEntrySmooth, static_cast<int32_t>(routes.SmoothRow(token, pair % routes.Columns())));
    Store(window_->Own(window_->layout.entries, place), words_, kEntryWords);
  }

  __aicore__ inline void MoveEntry(Placement &placement, uint32_t source, uint32_t word) {
    GM_ADDR inputs = window_->Peer(source, window_->layout.inputs.offset);
    const uint32_t token = static_cast<uint32_t>(words_.GetValue(word + kEntryToken));
    const OnePlace place(static_cast<uint32_t>(words_.GetValue(word + kEntryRank)),
                         static_cast<uint64_t>(words_.GetValue(word + kEntryRow)),
                         static_cast<uint64_t>(words_.GetValue(word + kEntrySmooth)));
    placement.Move(placement.RowOf(inputs, token), place);
  }

  // Copies a table [R] of this rank.
  __aicore__ inline void Copy(const PartPlace &from, const PartPlace &to) const {
    Load(table_, window_->Own(from), window_->world_size);
    Store(window_->Own(to), table_, window_->world_size);
  }

  __aicore__ inline void Count(const AscendC::LocalTensor<int32_t> &table, uint32_t rank, const Part &part) const {
    table.SetValue(rank, table.GetValue(rank) + static_cast<int32_t>(part.end - part.begin));
  }

  const Window *window_;
  static constexpr uint32_t kNoToken = ~uint32_t{0};

  SlotPage page_;
  int64_t share_ = 0;
  uint32_t copied_ = kNoToken;  // the token of the tile whose row was copied last
  AscendC::TBuf<AscendC::TPosition::VECCALC> tables_buffer_;
  AscendC::TBuf<AscendC::TPosition::VECCALC> words_buffer_;
  AscendC::LocalTensor<int32_t> loads_;     // [R]
  AscendC::LocalTensor<int32_t> table_;     // [R]
  AscendC::LocalTensor<int32_t> before_;    // [R]
  AscendC::LocalTensor<int32_t> bringers_;  // [R]
  AscendC::LocalTensor<int32_t> words_;
};

}  // namespace moe_comm

#endif  // MOE_COMM_KERNEL_BALANCE_H
