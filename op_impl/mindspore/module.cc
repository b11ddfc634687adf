// The Python module `ms_moe_comm._lib`.
#include <vector>

#include "host/canary.h"
#include "host/launch.h"
#include "host/resume.h"
#include "host/window_host.h"
#include "mindspore/memory_tensor.h"
#include "mindspore/pynative.h"
#include "operators/moe_grouped_matmul/op_host/grouped_matmul_cpu.h"

namespace moe_comm {
namespace {

const char *NameOf(PartKind kind) {
  static const char *const names[] = {"words", "flags", "table", "rows"};
  return names[static_cast<uint32_t>(kind)];
}

// name -> (offset, bytes, pitch of its pieces, kind) of each part that a window of this shape has, in their order.
pybind11::dict LayoutOf(const HeaderWords &words) {
  const WindowShape s = ShapeOf(words);
  const WindowLayout layout(s);
  pybind11::dict parts;
#define MOE_COMM_PART(name, pieces, piece_bytes, align, kind, use)                                             \
  if (PartOf::use != PartOf::kBalanced || s.pooled_tokens > 0) {                                               \
    const uint64_t bytes = RegionSize((pieces) * layout.name.pitch);                                           \
    parts[#name] = pybind11::make_tuple(layout.name.offset, bytes, layout.name.pitch, NameOf(PartKind::kind)); \
  }
  MOE_COMM_WINDOW_PARTS(MOE_COMM_PART)
#undef MOE_COMM_PART
  return parts;
}

// name -> its word of the header, in their order.
pybind11::dict Fields() {
  pybind11::dict fields;
#define MOE_COMM_FIELD(constant, name, given) fields[#name] = static_cast<uint32_t>(constant);
  MOE_COMM_WINDOW_FIELDS(MOE_COMM_FIELD)
#undef MOE_COMM_FIELD
  return fields;
}

// name in MindSpore -> (code, bytes of an element) of each dtype that rows may have.
pybind11::dict Dtypes() {
  pybind11::dict dtypes;
#define MOE_COMM_DTYPE(constant, code, type, bytes, name) dtypes[name] = pybind11::make_tuple(code, bytes);
  MOE_COMM_DTYPES(MOE_COMM_DTYPE)
#undef MOE_COMM_DTYPE
  return dtypes;
}

pybind11::dict Limits() {
  pybind11::dict d;
  d["max_blocks"] = kMaxBlocks;
  d["max_top_k"] = kMaxTopK;
  d["max_shared_experts"] = kMaxSharedExperts;
  d["max_experts"] = kMaxExperts;
  d["max_ranks"] = kMaxRanks;
  d["row_align"] = kRowAlign;
  d["window_magic"] = kWindowMagic;
  return d;
}

void InitWindowAt(uint64_t base, const HeaderWords &words, const std::vector<uint64_t> &peer_bases, bool on_npu) {
  InitWindow(reinterpret_cast<uint8_t *>(base), words, peer_bases, on_npu);
}

}  // namespace
}  // namespace moe_comm

PYBIND11_MODULE(_lib, m) {
  using namespace moe_comm;  // NOLINT: the module is this namespace's face
  DefinePyNative(&m);
  m.def("drain", Drain);
  m.def("window_layout", LayoutOf);
  m.def("window_fields", Fields);
  m.def("limits", Limits);
  m.def("dtypes", Dtypes);
  m.def("init_window", InitWindowAt);
  m.def("resume_window", [](uint64_t base, const std::vector<bool> &live) {
    pybind11::gil_scoped_release release;
    ResumeWindow(reinterpret_cast<uint8_t *>(base), live);
  });
  m.def("close_window", [](uint64_t base) { CloseWindow(reinterpret_cast<const uint8_t *>(base)); });
  m.def("start_recording", Recording::Start);
  m.def("stop_recording", Recording::Stop);
  m.def("replay", [] {
    pybind11::gil_scoped_release release;
    Recording::Replay();
  });
  m.def("memory_tensor", MemoryTensor);
  m.def("try_kernels", TryKernels);
  m.def("describe_error", [](uint64_t base) { return TakeError(reinterpret_cast<uint8_t *>(base), "window"); });
  m.def("set_sgemm", [](const pybind11::capsule &sgemm) {
    SetSgemm(reinterpret_cast<Sgemm>(PyCapsule_GetPointer(sgemm.ptr(), sgemm.name())));
  });
}
