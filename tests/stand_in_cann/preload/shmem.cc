// libshmem, the library of MindSpore's symmetric memory: one file in shared memory for all ranks, with the heap of rank
// r at r times its size. The real library in MindSpore's wheel stops without a driver, so this one takes its name.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

// From the stand-in's main library: its device memory, which mode "guarded" watches.
extern "C" void stand_in_add_device_memory(void *address, size_t bytes);

namespace {

constexpr size_t kPageBytes = 2 << 20;
constexpr size_t kUnreached = 4096;  // a page after the heaps counts the ranks that have come
constexpr auto kPatience = std::chrono::seconds(60);
constexpr int kInitialised = 2;

// The library hands it out and takes it back. MindSpore sets only the first members.
struct Attributes {
  int rank;
  int size;
  char address[64];
  uint64_t heap_bytes;
  char rest[256];
};

Attributes g_attributes;
uint8_t *g_heaps = nullptr;
uint64_t g_used = 0;
int g_status = 0;

uint8_t *Heap(int rank) { return g_heaps + rank * g_attributes.heap_bytes; }

void Meet(uint32_t rounds) {
  auto *const come = reinterpret_cast<std::atomic<uint32_t> *>(Heap(g_attributes.size));
  const uint32_t all = rounds * static_cast<uint32_t>(g_attributes.size);
  ++*come;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (*come < all) {
    usleep(100);
    if (std::chrono::steady_clock::now() > deadline) {
      std::fprintf(stderr, "[stand-in CANN] shmem: a rank is missing\n");
      std::abort();
    }
  }
}
uint32_t g_meetings = 0;

}  // namespace

extern "C" {

int shmem_set_conf_store_tls(bool, const char *, uint32_t) { return 0; }
int shmem_set_attr(int rank, int size, uint64_t heap_bytes, const char *address, Attributes **attributes) {
  g_attributes = {};
  g_attributes.rank = rank;
  g_attributes.size = size;
  g_attributes.heap_bytes = heap_bytes;
  std::snprintf(g_attributes.address, sizeof(g_attributes.address), "%s", address);
  *attributes = &g_attributes;
  return 0;
}
int shmem_init_attr(Attributes *attributes) {
  std::string path = attributes->address;  // the store's address, such as tcp://127.0.0.1:8769: the same on all ranks
  for (char &letter : path) letter = letter == '/' || letter == ':' ? '_' : letter;
  path = "/dev/shm/stand_in_cann_" + path;
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const uint64_t bytes = attributes->heap_bytes * attributes->size;
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes + kUnreached)) != 0) return -1;
  void *const heaps = mmap(nullptr, bytes + kUnreached, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  close(file);
  if (heaps == MAP_FAILED) return -1;
  g_heaps = static_cast<uint8_t *>(heaps);
  Meet(++g_meetings);
  if (attributes->rank == 0) unlink(path.c_str());
  stand_in_add_device_memory(heaps, bytes);
  g_status = kInitialised;
  return 0;
}
int shmem_init_status() { return g_status; }
int shmem_finalize() { return 0; }
int shmem_my_pe() { return g_attributes.rank; }
int shmem_n_pes() { return g_attributes.size; }
uint64_t shmemx_get_ffts_config() { return 0; }

void *shmem_malloc(size_t bytes) {
  const size_t size = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (g_used + size > g_attributes.heap_bytes) return nullptr;
  void *const memory = Heap(g_attributes.rank) + g_used;
  g_used += size;
  Meet(++g_meetings);
  return memory;
}
void shmem_free(void *) {}
void *shmem_ptr(void *address, int rank) {
  const uint64_t offset = static_cast<uint8_t *>(address) - Heap(g_attributes.rank);
  if (offset >= g_attributes.heap_bytes || rank < 0 || rank >= g_attributes.size) return nullptr;
  return Heap(rank) + offset;
}

}  // extern "C"
