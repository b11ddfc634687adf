// The fault of a run.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_FAULTS_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_FAULTS_H

#include <memory>
#include <vector>

#include "fault.h"

namespace simulation {

// The fault of a run: one run in three with peers has one. It has not been planted yet.
std::unique_ptr<Fault> DrawFault(const Options &options, Draw &draw);

// One of each.
std::vector<std::unique_ptr<Fault>> AllFaults();

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_FAULTS_H
