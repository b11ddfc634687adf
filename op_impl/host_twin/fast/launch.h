// Runs a kernel on the host: one call per block, all blocks at the same time, since they may wait for each other.
#ifndef MOE_COMM_HOST_TWIN_FAST_LAUNCH_H
#define MOE_COMM_HOST_TWIN_FAST_LAUNCH_H

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "backend.h"

namespace AscendC::backend {

// Threads for the blocks after the first, started once and kept: the caller's thread is block 0.
class BlockPool {
 public:
  static BlockPool &Instance() {
    static BlockPool *pool = new BlockPool();  // never destroyed: its threads may outlive static destruction
    return *pool;
  }

  void Run(int64_t blocks, const std::function<void()> &kernel) {
    std::lock_guard<std::mutex> one_launch_at_a_time(launch_);
    BlockBarrier barrier;
    std::vector<std::exception_ptr> failures(blocks);
    auto body = [&](int64_t block) {
      Enter(block, blocks, &barrier);
      try {
        kernel();
      } catch (...) {
        failures[block] = std::current_exception();
      }
    };
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int64_t>(threads_) < blocks - 1) {
        std::thread(&BlockPool::Serve, this, static_cast<int64_t>(++threads_), round_).detach();
      }
      body_ = body;
      blocks_ = blocks;
      running_ = blocks - 1;
      ++round_;
    }
    start_.notify_all();
    body(0);
    {
      std::unique_lock<std::mutex> lock(mutex_);
      done_.wait(lock, [this] { return running_ == 0; });
    }
    for (const auto &failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
  }

  static void Enter(int64_t block, int64_t blocks, BlockBarrier *barrier) {
    Block &self = Self();
    self.block = block;
    self.blocks = blocks;
    self.barrier = barrier;
    self.clock_reads = 0;
  }

 private:
  void Serve(int64_t block, uint64_t seen) {
    for (;;) {
      std::function<void(int64_t)> body;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        start_.wait(lock, [&] { return round_ != seen; });
        seen = round_;
        if (block >= blocks_) continue;
        body = body_;
      }
      body(block);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex launch_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable done_;
  std::function<void(int64_t)> body_;
  int64_t blocks_ = 0;
  int64_t running_ = 0;
  uint64_t threads_ = 0;
  uint64_t round_ = 0;
};

template <typename... Params, typename... Args>
void Launch(int64_t blocks, void (*kernel)(Params...), Args... args) {
  if (blocks == 1) {
    BlockPool::Enter(0, 1, nullptr);
    kernel(args...);
    return;
  }
  BlockPool::Instance().Run(blocks, [&] { kernel(args...); });
}

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_FAST_LAUNCH_H
