// Every operator for PyNative, as a function of the Python module.
#ifndef MOE_COMM_MINDSPORE_PYNATIVE_H
#define MOE_COMM_MINDSPORE_PYNATIVE_H

#include "pybind11/pybind11.h"

namespace moe_comm {

void DefinePyNative(pybind11::module *m);

// Waits for all operators that MindSpore still has in its pipeline. Throws the error of one that failed.
void Drain();

}  // namespace moe_comm

#endif  // MOE_COMM_MINDSPORE_PYNATIVE_H
