#include <vector>

#include "host/launch.h"

namespace moe_comm {
namespace {

bool g_active = false;  // started, stopped and filled by the one thread that launches
std::vector<std::function<void()>> g_launches;

}  // namespace

void Recording::Start() {
  g_launches.clear();
  g_active = true;
}

void Recording::Stop() { g_active = false; }

void Recording::Replay() {
  for (const auto &launch : g_launches) launch();
}

bool Recording::Active() { return g_active; }

void Recording::Add(std::function<void()> launch) { g_launches.push_back(std::move(launch)); }

}  // namespace moe_comm
