#include "workload.h"

#include "contract/quant_mode.h"
#include "faults/fault.h"

namespace simulation {

using namespace moe_comm;

namespace {

class Maker {
 public:
  Maker(const Options &options, Draw &draw) : options_(options), draw_(draw), needs_(NeedsOf(options)) {}

  Workload Make() {
    uint64_t most_rows = 1;
    for (uint32_t n = 0; n < options_.steps + options_.resumed_steps; ++n) {
      workload_.steps.push_back(MakeStep(n));
      most_rows = std::max(most_rows, workload_.steps.back().expected.most_rows);
    }
    DrawCapacity(most_rows);
    Rules rules = options_.rules;
    if (options_.drops) rules.drop_beyond = workload_.capacity;
    for (uint64_t n = 0; n < workload_.steps.size(); ++n) {
      Step &step = workload_.steps[n];
      rules.live = options_.LiveIn(n);
      if (options_.drops) {
        step.expected = Dispatch(step.tokens, rules);
        step.expected.most_rows = std::min(step.expected.most_rows, workload_.capacity);
      }
      for (const std::vector<Row> &rows : step.expected.rows) step.outputs.push_back(Values(rows.size()));
    }
    for (Step &step : workload_.steps) step.keeps = step.keeps && workload_.Fits(step);
    return std::move(workload_);
  }

  Workload MakePlain(uint32_t token_num) {
    for (const bool prefill : {false, true}) {
      Step step;
      step.prefill.assign(options_.world_size, prefill);
      step.combine = true;
      step.out_dtype = options_.dtype;
      for (uint32_t rank = 0; rank < options_.world_size; ++rank) {
        step.tokens.push_back(MakeTokens(token_num, false, true, false));
      }
      step.expected = Dispatch(step.tokens, options_.rules);
      for (const std::vector<Row> &rows : step.expected.rows) step.outputs.push_back(Values(rows.size()));
      workload_.capacity = std::max(workload_.capacity, step.expected.most_rows);
      workload_.steps.push_back(std::move(step));
    }
    return std::move(workload_);
  }

 private:
  uint64_t Random(uint64_t below) { return draw_.Below(below); }
  bool OneIn(uint64_t times) { return draw_.OneIn(times); }
  bool Resumed(uint64_t n) const { return n >= options_.steps; }

  Step MakeStep(uint64_t n) {
    const Options &o = options_;
    Step step;
    DrawPhases(n, &step);
    step.combine = !OneIn(5);
    step.in_place = OneIn(2);
    const uint64_t most_tokens = o.many_ranks          ? 2
                                 : o.row_bytes > 2048  ? 3
                                 : o.expert_num > 1024 ? 90
                                 : OneIn(12)           ? 150
                                                       : 10;
    const bool skewed = OneIn(4);
    const bool scales = !OneIn(4);
    const bool shared = OneIn(3);
    const bool residual = OneIn(3);
    step.out_dtype = OneIn(2) ? o.dtype : static_cast<uint32_t>(Random(kDtypeCount));
    step.special = MakeSpecial();
    DrawKept(n, &step);
    for (uint32_t rank = 0; rank < o.world_size; ++rank) {
      const bool has_tokens = !OneIn(5) || (needs_.tokens && rank == o.fault_rank);
      Tokens tokens = MakeTokens(has_tokens ? Random(most_tokens + 1) : 0, skewed, scales, shared);
      if (o.local) RouteToOwn(rank, &tokens);
      if (step.keeps) tokens = WithOtherRows(workload_.steps.back().tokens[rank]);
      if (n > o.leave_step && !o.live[rank]) tokens = Tokens();
      if (Resumed(n) && !o.resuming[rank]) tokens = Tokens();
      if (residual) tokens.residual = Values(tokens.token_num);
      step.tokens.push_back(std::move(tokens));
    }
    DrawSmooth(&step);
    DrawRankMask(n, &step);
    Rules rules = o.rules;
    rules.live = o.LiveIn(n);
    step.expected = Dispatch(step.tokens, rules);
    return step;
  }

  void DrawPhases(uint64_t n, Step *step) {
    const Options &o = options_;
    const bool local_first = o.local && n == 0;
    step->prefill.assign(o.world_size, OneIn(2) || local_first);
    if (!OneIn(2) || local_first) return;
    // each rank decides by itself
    const bool only_those_that_leave = n == o.leave_step && OneIn(2);
    for (uint32_t rank = 0; rank < o.world_size; ++rank) {
      step->prefill[rank] = only_those_that_leave ? !o.live[rank] : OneIn(2);
    }
  }

  // Whether the step keeps the plan of the step before. A fault may need its own step to do so.
  void DrawKept(uint64_t n, Step *step) {
    const bool may_keep = n > 0 && n != options_.leave_step && n != options_.steps &&
                          workload_.steps.back().AllPrefill() && workload_.steps.back().combine;
    step->keeps = may_keep && (needs_.kept_plan || OneIn(2));
    const bool of_fault = needs_.kept_plan && !Resumed(n);
    if (of_fault || step->keeps) step->prefill.assign(options_.world_size, true);
    if (of_fault) step->combine = true;
  }

  void DrawSmooth(Step *step) {
    const Options &o = options_;
    if (o.smooth_kind == kNoSmooth) return;
    const uint64_t rows = o.smooth_kind == kSmoothPerColumn ? 1 : o.rules.LogicalNum() + o.rules.shared_experts;
    for (uint64_t i = 0; i < rows * o.HiddenSize(); ++i) {
      step->smooth.push_back(static_cast<float>(1 + Random(64)) / 32);
    }
  }

  void DrawRankMask(uint64_t n, Step *step) {
    const Options &o = options_;
    if (n == o.leave_step || (n > o.leave_step && OneIn(2))) step->rank_mask = o.live;
    if (n < o.leave_step && OneIn(6)) {
      step->rank_mask = o.LiveIn(n);
      step->rank_mask.resize(o.world_size, 1);
    }
  }

  // Sometimes the fullest step does not fit: all ranks must find that and continue, or drop the same rows.
  void DrawCapacity(uint64_t most_rows) {
    const bool drops = options_.drops;
    if (OneIn(drops ? 2 : 6) && most_rows > 1) {
      workload_.capacity = most_rows - 1 - (drops ? Random(most_rows - 1) : 0);
    } else {
      workload_.capacity = most_rows + (OneIn(2) ? 0 : Random(9));
    }
  }

  Special MakeSpecial() {
    Special special;
    special.number = options_.special;
    if (special.number.constant == 0) return special;
    special.alpha_rank = 1 + Random(2);
    special.v = Values(special.number.constant);
    special.alpha_1 = Values(special.number.constant);
    special.alpha_2 = Values(special.number.constant);
    if (special.alpha_rank == 1) {
      special.alpha_1.resize(special.number.constant * ElementBytes(options_.dtype));
      special.alpha_2.resize(special.alpha_1.size());
    }
    return special;
  }

  Tokens MakeTokens(uint32_t token_num, bool skewed, bool scales, bool shared) {
    const Options &o = options_;
    Tokens tokens;
    tokens.token_num = token_num;
    tokens.x = Values(token_num);
    if (shared) tokens.shared = Values(token_num);
    for (uint32_t pair = 0; pair < token_num * o.top_k; ++pair) {
      const bool first = pair % o.top_k == 0;
      const bool active = o.mask_kind == kNoMask ||
                          (o.mask_kind == kMaskPerToken && !first ? tokens.active.back() != 0 : !OneIn(3));
      tokens.active.push_back(active);
      tokens.expert_ids.push_back(OneIn(12) ? -1 - static_cast<int64_t>(Random(3))
                                            : static_cast<int64_t>(Random(skewed ? 1 : o.IdNum())));
      if (scales) tokens.scales.push_back(static_cast<float>(static_cast<double>(Random(1 << 20)) / (1 << 20)));
    }
    return tokens;
  }

  // Routes to the rank's own experts only: it waits for no rows of others, and they wait for none of its own.
  void RouteToOwn(uint32_t rank, Tokens *tokens) {
    const uint64_t experts = options_.expert_num / options_.world_size;
    for (int64_t &id : tokens->expert_ids) {
      if (id >= 0 && id < static_cast<int64_t>(options_.expert_num)) id = rank * experts + id % experts;
    }
  }

  // Draws the same routing for other rows.
  Tokens WithOtherRows(Tokens tokens) {
    tokens.x = Values(tokens.token_num);
    if (!tokens.shared.empty()) tokens.shared = Values(tokens.token_num);
    return tokens;
  }

  // Random finite values of the window's dtype.
  std::vector<uint8_t> Values(uint64_t rows) {
    std::vector<uint8_t> values(rows * options_.row_bytes);
    for (uint64_t i = 0; i < rows * options_.HiddenSize(); ++i) {
      FromFloat(values.data(), i, options_.dtype, static_cast<float>(static_cast<int64_t>(Random(4096)) - 2048) / 512);
    }
    return values;
  }

  const Options &options_;
  Draw &draw_;
  const Needs needs_;
  Workload workload_;
};

// False if the fault cannot be planted.
bool Plant(const Options &options, Workload &workload, Draw &draw) {
  Step &last = workload.steps[options.fault_step];
  const bool of_kept = NeedsOf(options).kept_plan;
  if (of_kept && !last.keeps) return false;
  // without an exchange a rank learns nothing of ranks with which it exchanges no rows
  if (!of_kept) last.keeps = false;
  return options.fault->Plant(options, workload, draw);
}

}  // namespace

Workload DrawWorkload(Options &options, Draw &draw) {
  Workload workload = Maker(options, draw).Make();
  if (options.fault && !Plant(options, workload, draw)) {
    options.GiveUpFault();
    options.resumed_steps = 0;
    workload.steps.resize(options.steps);
  }
  return workload;
}

Workload PlainWorkload(const Options &options, uint32_t token_num, Draw &draw) {
  return Maker(options, draw).MakePlain(token_num);
}

uint32_t SmoothKindOf(const Options &options, uint32_t rank, uint64_t step) {
  const bool other = options.other_smooth && rank == options.fault_rank && step == options.fault_step;
  return other ? kNoSmooth + 0u : options.smooth_kind;
}

uint64_t ResultBytes(const Options &options, const Step &step) {
  return options.HiddenSize() * ElementBytes(step.out_dtype);
}

std::string Describe(const Options &options, const Workload &workload) {
  std::string text;
  for (size_t n = 0; n < workload.steps.size(); ++n) {
    const Step &step = workload.steps[n];
    const bool mixed = !step.AllPrefill() && std::count(step.prefill.begin(), step.prefill.end(), true) > 0;
    if (n == options.steps) text += "resumed ";
    text += step.keeps ? "kept[" : mixed ? "mixed[" : step.prefill[0] ? "prefill[" : "decode[";
    for (uint32_t rank = 0; rank < options.world_size; ++rank) {
      text += (mixed && step.prefill[rank] ? "prefill " : "") + std::to_string(step.tokens[rank].token_num) + ",";
    }
    text.back() = ']';
    text += step.combine ? (step.in_place ? " in place " : " copied ") : " no combine ";
  }
  text.pop_back();
  return Describe(options, workload.capacity, text);
}

}  // namespace simulation
