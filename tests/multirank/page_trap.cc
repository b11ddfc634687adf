// Stops a process at its first access to given memory. The tests lay a trap over a part of a peer's window, so that a
// rank stops at an exact step inside a kernel: before its first count, row or flag goes there, or at its first read of
// the outputs. Kernels and host twin are unchanged; the processor's page protection does the work.
#include <sys/mman.h>
#include <unistd.h>
#include <csignal>
#include <cstddef>
#include <cstdint>

namespace {

struct Range {
  uintptr_t begin;
  uintptr_t end;
};

constexpr int kMaxRanges = 64;
Range ranges[kMaxRanges];
volatile sig_atomic_t count = 0;

bool Protect(const Range &range, int protection) {
  return mprotect(reinterpret_cast<void *>(range.begin), range.end - range.begin, protection) == 0;
}

// The parent process sees it stop, and continues or kills it. When it continues, the access takes place.
void Stop(int, siginfo_t *info, void *) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  bool ours = false;
  for (int i = 0; i < count; ++i) ours = ours || (ranges[i].begin <= address && address < ranges[i].end);
  if (!ours) {
    signal(SIGSEGV, SIG_DFL);  // a true fault: it comes again at once
    return;
  }
  for (int i = 0; i < count; ++i) Protect(ranges[i], PROT_READ | PROT_WRITE);
  count = 0;
  raise(SIGSTOP);  // this thread first, and with it the process
}

}  // namespace

// Lays a trap over the pages of `bytes` bytes from `address` on, in addition to earlier traps. The first write there
// (with `reads` the first access of any kind) springs it and removes all traps. Returns false if the system refuses.
extern "C" bool lay_trap(void *address, size_t bytes, bool reads) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  const Range range = {at / page * page, (at + bytes + page - 1) / page * page};
  struct sigaction action = {};
  action.sa_sigaction = Stop;
  action.sa_flags = SA_SIGINFO;
  if (count == kMaxRanges || sigaction(SIGSEGV, &action, nullptr) != 0) return false;
  ranges[count] = range;
  count = count + 1;
  return Protect(range, reads ? PROT_NONE : PROT_READ);
}
