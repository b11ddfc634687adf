// The windows of a run: what their parts hold before the first step, and how the simulator registers them.
#ifndef MOE_COMM_TESTS_SIMULATION_WINDOWS_H
#define MOE_COMM_TESTS_SIMULATION_WINDOWS_H

#include <cstdint>
#include <vector>

#include "contract/window_schema.h"
#include "draw.h"
#include "host_twin/check/simulator.h"
#include "memory.h"
#include "options.h"

namespace simulation {

moe_comm::WindowShape ShapeOf(const Options &options, uint64_t capacity);

// One window for each rank, with the options' past. All parts are registered with the simulator.
std::vector<uint8_t *> MakeWindows(const Options &options, const moe_comm::WindowShape &shape, Draw &draw,
                                   AscendC::backend::Simulator &simulator, Memory &memory);

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_WINDOWS_H
