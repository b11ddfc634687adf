// libhccl: collectives of the ranks of one machine, over a file in shared memory. A rank whose wait times out aborts.
#include "hccl/hccl.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>

#include "stand_in.h"

namespace {

constexpr size_t kSlotBytes = 1 << 20;  // a rank's slot
constexpr auto kPatience = std::chrono::seconds(60);

struct Meeting {
  std::atomic<uint32_t> arrived;
  std::atomic<uint32_t> round;
  char rest[4088];
};

class Communicator {
 public:
  Communicator(std::string name, uint32_t rank, uint32_t size, void *memory)
      : name_(std::move(name)), rank_(rank), size_(size), meeting_(static_cast<Meeting *>(memory)) {}

  const std::string &Name() const { return name_; }
  uint32_t Rank() const { return rank_; }
  uint32_t Size() const { return size_; }
  uint8_t *Slot(uint32_t rank) const { return reinterpret_cast<uint8_t *>(meeting_ + 1) + rank * kSlotBytes; }

  void Barrier() const {
    const uint32_t round = meeting_->round.load();
    if (meeting_->arrived.fetch_add(1) + 1 == size_) {
      meeting_->arrived = 0;
      meeting_->round = round + 1;
      return;
    }
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (meeting_->round.load() == round) {
      usleep(100);
      if (std::chrono::steady_clock::now() > deadline) stand_in::Die("HCCL: a rank of %s is missing", name_.c_str());
    }
  }
  // Gives every rank all ranks' bytes, until the caller's second barrier.
  void Share(const void *bytes, size_t count) const {
    std::memcpy(Slot(rank_), bytes, count);
    Barrier();
  }

 private:
  std::string name_;
  uint32_t rank_;
  uint32_t size_;
  Meeting *meeting_;
};

const Communicator &Of(HcclComm comm) { return *static_cast<Communicator *>(comm); }

size_t Bytes(HcclDataType type) {
  switch (type) {
    case HCCL_DATA_TYPE_INT8:
    case HCCL_DATA_TYPE_UINT8: return 1;
    case HCCL_DATA_TYPE_INT16:
    case HCCL_DATA_TYPE_UINT16:
    case HCCL_DATA_TYPE_FP16:
    case HCCL_DATA_TYPE_BFP16: return 2;
    case HCCL_DATA_TYPE_INT32:
    case HCCL_DATA_TYPE_UINT32:
    case HCCL_DATA_TYPE_FP32: return 4;
    default: return 8;
  }
}

HcclResult Open(uint32_t size, const HcclRootInfo *root, uint32_t rank, HcclComm *comm) {
  const std::string path = std::string("/dev/shm/") + root->internal;
  const size_t bytes = sizeof(Meeting) + size * kSlotBytes;
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) return HCCL_E_MEMORY;
  void *const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return HCCL_E_MEMORY;
  auto *const made = new Communicator(root->internal, rank, size, memory);
  made->Barrier();
  if (rank == 0) unlink(path.c_str());
  *comm = made;
  stand_in::Say("communicator of %u ranks, this is %u", size, rank);
  return HCCL_SUCCESS;
}

template <typename N>
void Reduce(const Communicator &comm, HcclReduceOp op, uint64_t count, void *target) {
  auto *const result = static_cast<N *>(target);
  for (uint64_t i = 0; i < count; ++i) {
    N sum = reinterpret_cast<N *>(comm.Slot(0))[i];
    for (uint32_t rank = 1; rank < comm.Size(); ++rank) {
      const N value = reinterpret_cast<N *>(comm.Slot(rank))[i];
      if (op == HCCL_REDUCE_SUM) sum += value;
      if (op == HCCL_REDUCE_PROD) sum *= value;
      if (op == HCCL_REDUCE_MAX && value > sum) sum = value;
      if (op == HCCL_REDUCE_MIN && value < sum) sum = value;
    }
    result[i] = sum;
  }
}

HcclResult Queue(aclrtStream stream, const char *name, uint64_t bytes, stand_in::Task task) {
  if (bytes > kSlotBytes) return HCCL_E_NOT_SUPPORT;
  stand_in::Enqueue(stream, name, std::move(task));
  return HCCL_SUCCESS;
}

}  // namespace

extern "C" {

HcclResult HcclGetRootInfo(HcclRootInfo *root) {
  std::random_device random;
  std::memset(root, 0, sizeof(*root));
  std::snprintf(root->internal, sizeof(root->internal), "stand_in_cann_%08x%08x", random(), random());
  return HCCL_SUCCESS;
}
HcclResult HcclCommInitRootInfo(uint32_t size, const HcclRootInfo *root, uint32_t rank, HcclComm *comm) {
  return Open(size, root, rank, comm);
}
HcclResult HcclCommInitRootInfoConfig(uint32_t size, const HcclRootInfo *root, uint32_t rank, const HcclCommConfig *,
                                      HcclComm *comm) {
  return Open(size, root, rank, comm);
}
HcclResult HcclCommDestroy(HcclComm) { return HCCL_SUCCESS; }
HcclResult HcclGetRankSize(HcclComm comm, uint32_t *size) {
  *size = Of(comm).Size();
  return HCCL_SUCCESS;
}
HcclResult HcclGetRankId(HcclComm comm, uint32_t *rank) {
  *rank = Of(comm).Rank();
  return HCCL_SUCCESS;
}
HcclResult HcclGetCommName(HcclComm comm, char *name) {
  std::strcpy(name, Of(comm).Name().c_str());
  return HCCL_SUCCESS;
}
HcclResult HcclGetCommAsyncError(HcclComm, HcclResult *error) {
  *error = HCCL_SUCCESS;
  return HCCL_SUCCESS;
}
const char *HcclGetErrorString(HcclResult) { return "an error of the stand-in"; }
uint32_t HcclGetCommConfigCapability() { return 5; }

HcclResult HcclBarrier(HcclComm comm, aclrtStream stream) {
  return Queue(stream, "HcclBarrier", 0, [comm] { Of(comm).Barrier(); });
}
HcclResult HcclAllGather(void *source, void *target, uint64_t count, HcclDataType type, HcclComm comm,
                         aclrtStream stream) {
  const size_t bytes = count * Bytes(type);
  return Queue(stream, "HcclAllGather", bytes, [=] {
    Of(comm).Share(source, bytes);
    for (uint32_t rank = 0; rank < Of(comm).Size(); ++rank) {
      std::memcpy(static_cast<uint8_t *>(target) + rank * bytes, Of(comm).Slot(rank), bytes);
    }
    Of(comm).Barrier();
  });
}
HcclResult HcclBroadcast(void *data, uint64_t count, HcclDataType type, uint32_t root, HcclComm comm,
                         aclrtStream stream) {
  const size_t bytes = count * Bytes(type);
  return Queue(stream, "HcclBroadcast", bytes, [=] {
    Of(comm).Share(data, bytes);
    std::memcpy(data, Of(comm).Slot(root), bytes);
    Of(comm).Barrier();
  });
}
HcclResult HcclAllReduce(void *source, void *target, uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm,
                         aclrtStream stream) {
  if (type != HCCL_DATA_TYPE_FP32 && type != HCCL_DATA_TYPE_INT32 && type != HCCL_DATA_TYPE_INT64) {
    return HCCL_E_NOT_SUPPORT;
  }
  const size_t bytes = count * Bytes(type);
  return Queue(stream, "HcclAllReduce", bytes, [=] {
    Of(comm).Share(source, bytes);
    if (type == HCCL_DATA_TYPE_FP32) Reduce<float>(Of(comm), op, count, target);
    if (type == HCCL_DATA_TYPE_INT32) Reduce<int32_t>(Of(comm), op, count, target);
    if (type == HCCL_DATA_TYPE_INT64) Reduce<int64_t>(Of(comm), op, count, target);
    Of(comm).Barrier();
  });
}

}  // extern "C"
