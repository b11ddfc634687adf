// A rank has no smooth factors, although another rank may move its rows and quantise them.
#ifndef MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_SMOOTH_H
#define MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_SMOOTH_H

#include "families.h"

namespace simulation {

class OtherSmooth : public Disagreement {
 public:
  const char *Description() const override { return "other smooth factors in a balanced window"; }
  void Need(Needs &needs) const override { needs.smooth = true; }
  // Without balance each rank quantises its own rows, so the difference is right and stays as an option.
  bool PlantInOptions(Options &options) override {
    options.other_smooth = true;
    return options.balanced;
  }
};

}  // namespace simulation

#endif  // MOE_COMM_TESTS_SIMULATION_FAULTS_OTHER_SMOOTH_H
