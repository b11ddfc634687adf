// What a group_list says, in one form.
#ifndef MOE_COMM_MOE_GROUPED_MATMUL_GROUP_LIST_H
#define MOE_COMM_MOE_GROUPED_MATMUL_GROUP_LIST_H

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace moe_comm {

// The row after each group's last one, from counts or inclusive cumulative sums. Empty groups, and a sum below `rows`,
// are legal. Throws std::invalid_argument if the groups do not fit.
inline std::vector<int64_t> GroupEnds(const char *op, const int64_t *group_list, int64_t groups, int64_t rows,
                                      bool cumulative) {
  std::vector<int64_t> ends(groups);
  int64_t end = 0;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t next = cumulative ? group_list[group] : end + group_list[group];
    if (next < end || next > rows) {
      throw std::invalid_argument("For '" + std::string(op) + "', 'group_list' puts the rows " + std::to_string(end) +
                                  " to " + std::to_string(next) + " into group " + std::to_string(group) +
                                  ", but 'x' has " + std::to_string(rows) +
                                  " rows. Is it of another group_list_type (0: cumulative sums, 1: counts)?");
    }
    ends[group] = end = next;
  }
  return ends;
}

}  // namespace moe_comm

#endif  // MOE_COMM_MOE_GROUPED_MATMUL_GROUP_LIST_H
