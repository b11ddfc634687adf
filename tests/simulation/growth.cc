// How the kernels' control traffic grows with the ranks, and with the cores of a rank. Every result is also compared
// with the reference. See tests/growth.sh.
//
//   growth [--short]

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "traffic.h"

namespace {

using simulation::Figures;
using simulation::Kernel;
using simulation::Size;

const char *const kLegend = R"(
Each figure is of the rank that has most of it.
  messages to peers  writes into the control part of another rank's window: a counts row, a line of `arrived` or `ready`
  control bytes      of these messages; read of what peers can write into the own window (counts, flags); read of the
                     rest of its control part, the rank's own tables: every word once per core, looks in vain left out
  busiest core       messages: each is complete before the next begins. moves: all writes, and the reads that bring
                     something new; most of them too are complete before the next begins. scalars: accesses of the
                     scalar unit to the unified buffer, looks in vain included
  hops               the longest chain, in the happens-before order of the run, of remote writes that the other rank
                     waited for and of remote reads; a dispatch ends after two, counts and rows. In combine: one for
                     `ready`, one for each read of a row that had to wait until one of the two row buffers was free
  ranks, cores to the ..  exponent of the growth over the last three sizes
)";

// Design notes on the present kernels; the tables before them in the output are the evidence.
const char *const kFindings = R"(
What grows faster than it must:
* The counts. A rank writes and reads ranks x experts words, ranks^2 with an expert per rank, and its scalar units look
  at each of them; it needs the totals of its own experts and the first rows of those it sends to. Instead each rank
  can send a destination only the words of that one's experts; the destination sums over the sources, and answers each
  source with its first rows and the verdict. Then a rank writes and reads 2 x experts words, for one hop more and
  2 x ranks messages. Below some size (decode, few ranks) the present exchange is better: it has a hop less.
* The counts summed by the scalar unit. Vector additions of a tile's rows would leave only the epochs to look at.
* The histograms of a rank's cores. Each core reads those of all: cores^2 x experts words per rank and as many loads
  one after another as there are cores. If each core summed its share of the experts over all cores and left the first
  rows of each, it would be cores x experts words and two loads, for one barrier more within the rank.
)";

constexpr uint32_t kTopK = 4;
constexpr uint64_t kRowBytes = 64;

struct Head {
  const char *group;  // heading of this figure and of the following ones without a group
  const char *name;
  int width;
};
constexpr Head kHeads[simulation::kFigures] = {{"messages to peers", "counts", 7},
                                               {"", "arrived", 8},
                                               {"", "ready", 6},
                                               {"control bytes", "to peers", 9},
                                               {"", "from peers", 11},
                                               {"", "own tables", 11},
                                               {"busiest core", "messages", 9},
                                               {"", "moves", 6},
                                               {"", "scalars", 8},
                                               {"wait", "hops", 5}};

// Sizes that differ in one quantity; without a quantity a few other sizes.
struct Sweep {
  std::string title;
  uint32_t Size::*quantity;
  std::vector<Size> sizes;
};

std::vector<Sweep> MakeSweeps(bool brief) {
  Sweep ranks{"1 core and 1 expert per rank, 2 tokens x 4", &Size::ranks, {}};
  for (const uint32_t r : {2, 4, 8, 16, 32, 64, 128, 384}) {
    if (r <= (brief ? 64 : 384)) ranks.sizes.push_back({r, 1, r, 2, kTopK, kRowBytes});
  }
  Sweep cores{"16 ranks, 4 experts per rank, 12 tokens x 4", &Size::cores, {}};
  for (const uint32_t c : {1, 2, 4, 8, 16, 32, 48}) cores.sizes.push_back({16, c, 64, 12, kTopK, kRowBytes});
  if (brief) return {ranks, cores};
  Sweep both{"1 expert per rank, 12 tokens x 4", nullptr, {}};
  for (const auto &[r, c] : {std::pair{24u, 48u}, {64u, 16u}, {128u, 4u}}) {
    both.sizes.push_back({r, c, r, 12, kTopK, kRowBytes});
  }
  return {ranks, cores, both};
}

// The slope of log(value) over log(quantity) through the last sizes; NaN if a value is 0.
double Exponent(const Sweep &sweep, const std::vector<Figures> &rows, uint32_t figure) {
  constexpr size_t kSizes = 3;
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (size_t i = rows.size() - kSizes; i < rows.size(); ++i) {
    const double a = std::log(sweep.sizes[i].*sweep.quantity);
    const double b = std::log(rows[i][figure]);
    n += 1, x += a, y += b, xx += a * a, xy += a * b;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

const char *Bar(const Head &head) { return head.group[0] == '\0' ? "" : " |"; }

void PrintTable(const char *kernel, const Sweep &sweep, const std::vector<Figures> &rows) {
  std::printf("\n%s (%s)\n%12s", kernel, sweep.title.c_str(), "");
  for (uint32_t i = 0; i < simulation::kFigures;) {
    const Head &head = kHeads[i];
    int width = head.width;
    while (++i < simulation::kFigures && kHeads[i].group[0] == '\0') width += kHeads[i].width;
    std::printf(" |%*s", width, head.group);
  }
  std::printf("\n%6s%6s", "ranks", "cores");
  for (const Head &head : kHeads) std::printf("%s%*s", Bar(head), head.width, head.name);
  for (size_t row = 0; row < rows.size(); ++row) {
    std::printf("\n%6u%6u", sweep.sizes[row].ranks, sweep.sizes[row].cores);
    for (uint32_t i = 0; i < simulation::kFigures; ++i) {
      std::printf("%s%*lu", Bar(kHeads[i]), kHeads[i].width, rows[row][i]);
    }
  }
  if (sweep.quantity != nullptr) {
    std::printf("\n%12s", sweep.quantity == &Size::ranks ? "ranks to the" : "cores to the");
    for (uint32_t i = 0; i < simulation::kFigures; ++i) {
      const double exponent = Exponent(sweep, rows, i);
      std::printf("%s%*s", Bar(kHeads[i]), kHeads[i].width,
                  std::isfinite(exponent) ? std::to_string(exponent).substr(0, exponent < 0 ? 5 : 4).c_str() : "");
    }
  }
  std::printf("\n");
}

// False if a result is wrong, which it prints.
bool Measure(const Size &size, std::array<std::vector<Figures>, simulation::kKernelCount> &rows) {
  const auto start = std::chrono::steady_clock::now();
  simulation::Traffic traffic(size);
  const simulation::Result result = simulation::RunScenario(size, traffic);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::string report = result.report;
  if (traffic.Strange() != 0) report += "messages to peers that are no counts, arrived or ready";
  std::printf("%4u ranks x %2u cores, %3u experts: %s, %.1f s\n", size.ranks, size.cores, size.experts,
              report.empty() ? "right" : "WRONG", spent.count());
  std::fflush(stdout);
  if (!report.empty()) std::printf("%s\n%s\n", result.configuration.c_str(), report.c_str());
  for (uint32_t k = 0; k < simulation::kKernelCount; ++k) rows[k].push_back(traffic.Of(static_cast<Kernel>(k)));
  return report.empty();
}

}  // namespace

int main(int argc, char **argv) {
  const std::vector<Sweep> sweeps = MakeSweeps(argc > 1 && std::strcmp(argv[1], "--short") == 0);
  std::vector<std::array<std::vector<Figures>, simulation::kKernelCount>> rows(sweeps.size());
  for (size_t i = 0; i < sweeps.size(); ++i) {
    for (const Size &size : sweeps[i].sizes) {
      if (!Measure(size, rows[i])) return 1;
    }
  }
  static const char *const kKernels[] = {"decode dispatch", "decode combine", "prefill dispatch", "prefill combine"};
  for (uint32_t k = 0; k < simulation::kKernelCount; ++k) {
    for (size_t i = 0; i < sweeps.size(); ++i) PrintTable(kKernels[k], sweeps[i], rows[i][k]);
  }
  std::printf("%s%s", kLegend, kFindings);
  return 0;
}
