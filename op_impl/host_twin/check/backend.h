// The check back end of the host twin: each hook goes to the simulated core whose fiber runs (simulator.h).
#ifndef MOE_COMM_HOST_TWIN_CHECK_BACKEND_H
#define MOE_COMM_HOST_TWIN_CHECK_BACKEND_H

#include <cstring>
#include <type_traits>

#include "simulator.h"

namespace AscendC::backend {

inline Core &Self() { return Simulator::Self(); }
inline void Require(bool holds, const char *rule, Site site) {
  if (!holds) Self().Refuse(rule, site);
}

// --- buffers ---

inline void OpenPipe(void *pipe, Site site) { Self().OpenPipe(pipe, site); }
inline void ClosePipe() { Self().ClosePipe(); }
inline void *CurrentPipe() { return Self().pipe_pointer; }
inline Local TakeBuffer(uint32_t bytes, Site site) { return Self().TakeBuffer(bytes, site); }

template <HardEvent filled, HardEvent free, int32_t depth>
class Queue {
 public:
  void Init(uint32_t count, uint32_t bytes, Site site) {
    number_ = Self().AddQueue(filled, free, depth, count, bytes, site);
  }
  Local Alloc(Site site) { return Self().QueueAlloc(number_, site); }
  void EnQue(const Local &tensor, Site site) { Self().QueueEnQue(number_, tensor, site); }
  Local DeQue(Site site) { return Self().QueueDeQue(number_, site); }
  void Free(const Local &tensor, Site site) { Self().QueueFree(number_, tensor, site); }

 private:
  uint32_t number_ = ~0u;
};

// --- instructions ---

// The kind of type of a scalar access to local memory. In C++ these are plain accesses, so a place may be read only as
// the type that was written, signed or not. 0: a byte, which may alias anything.
template <typename T>
constexpr uint8_t ScalarType() {
  return sizeof(T) == 1 ? 0 : sizeof(T) * 2 + std::is_integral<T>::value;
}
template <typename T>
T ReadLocal(const Local &place, uint32_t offset, Site site) {
  Self().ScalarLocal(place, offset, sizeof(T), false, ScalarType<T>(), site);
  T value;
  std::memcpy(&value, place.address + offset, sizeof(T));
  return value;
}
template <typename T>
void WriteLocal(const Local &place, uint32_t offset, T value, Site site) {
  Self().ScalarLocal(place, offset, sizeof(T), true, ScalarType<T>(), site);
  std::memcpy(place.address + offset, &value, sizeof(T));
}
template <typename T>
T ReadGlobal(const T *address, Site site) {
  T value;
  Self().ReadGlobal(address, &value, sizeof(T), site);
  return value;
}
template <typename T>
void WriteGlobal(T *address, T value, Site site) {
  Self().WriteGlobal(address, &value, sizeof(T), site);
}
inline void CleanCache(const uint8_t *address, bool all, Site site) { Self().CleanCache(address, all, site); }

template <typename T>
void MoveIn(const Local &target, uint8_t *source, const DataCopyExtParams &p, Site site) {
  Self().Move(true, target, source, p, sizeof(T), site);
}
template <typename T>
void MoveOut(uint8_t *target, const Local &source, const DataCopyExtParams &p, Site site) {
  Self().Move(false, source, target, p, sizeof(T), site);
}

template <typename Function, typename... Operands>
void Vector(const char *name, Site site, Function compute, const Operands &...operands) {
  const Operand<Local> all[] = {operands...};
  Self().Vector(name, site, compute, all, sizeof...(operands));
}

// --- order ---

inline TEventID FetchEvent(HardEvent event, Site site) { return Self().FetchEvent(event, site); }
inline void SetFlag(HardEvent event, int32_t id, Site site) { Self().SetFlag(event, id, site); }
inline void WaitFlag(HardEvent event, int32_t id, Site site) { Self().WaitFlag(event, id, site); }
inline void PipeBarrier(pipe_t pipe, Site site) { Self().PipeBarrier(pipe, site); }
inline void SyncAll(Site site) { Self().SyncAll(site); }

inline int64_t BlockIndex() { return Self().block; }
inline int64_t BlockNumber() { return Self().blocks; }
inline int64_t ReadClock(Site site) { return Self().ReadClock(site); }

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_CHECK_BACKEND_H
