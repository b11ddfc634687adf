#include "host/interrupt.h"

#include <csignal>
#include <mutex>

#include "host_twin/fast/patience.h"

namespace moe_comm {
namespace {

using AscendC::backend::Patience;

std::mutex g_mutex;
int g_launches = 0;
bool g_handles = false;
struct sigaction g_previous;

void Handle(int number, siginfo_t *info, void *context) {
  Patience::Lose();
  if (g_previous.sa_flags & SA_SIGINFO) {
    g_previous.sa_sigaction(number, info, context);
  } else {
    g_previous.sa_handler(number);
  }
}

// Without a handler SIGINT ends the process, or the process ignores it. Then there is nothing to do.
void SetHandler() {
  std::lock_guard<std::mutex> lock(g_mutex);
  if (g_handles || g_launches == 0 || sigaction(SIGINT, nullptr, &g_previous) != 0) return;
  if (!(g_previous.sa_flags & SA_SIGINFO) && (g_previous.sa_handler == SIG_DFL || g_previous.sa_handler == SIG_IGN)) {
    return;
  }
  struct sigaction own = g_previous;
  own.sa_flags |= SA_SIGINFO;
  own.sa_sigaction = Handle;
  g_handles = sigaction(SIGINT, &own, nullptr) == 0;
}

// Keeps a handler that somebody else has set meanwhile.
void ResetHandler() {
  struct sigaction current;
  if (sigaction(SIGINT, nullptr, &current) != 0) return;
  const bool own = (current.sa_flags & SA_SIGINFO) && current.sa_sigaction == Handle;
  if (own) sigaction(SIGINT, &g_previous, nullptr);
}

}  // namespace

Interruptible::Interruptible() {
  std::lock_guard<std::mutex> lock(g_mutex);
  ++g_launches;
  Patience::on_long_wait = SetHandler;
}

Interruptible::~Interruptible() {
  std::lock_guard<std::mutex> lock(g_mutex);
  if (--g_launches > 0) return;
  if (g_handles) ResetHandler();
  g_handles = false;
  Patience::Regain();
}

bool Interruptible::Happened() const { return Patience::Lost(); }

}  // namespace moe_comm
