// Vector clocks of a simulation with many components.
#ifndef MOE_COMM_HOST_TWIN_CHECK_CLOCK_H
#define MOE_COMM_HOST_TWIN_CHECK_CLOCK_H

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace AscendC::backend {

// One stamp per component, 0 at first, and the number of hops between ranks that led here. Every event and every flag
// keeps a copy of a clock. A copy differs from the last one in few places, so copies share the rest as parts of a tree.
class Clock {
 public:
  Clock() = default;
  Clock(const Clock &other) : root_(Share(other.root_)), levels_(other.levels_), hops_(other.hops_) {}
  Clock(Clock &&other) noexcept { Swap(other); }
  Clock &operator=(Clock other) noexcept {
    Swap(other);
    return *this;
  }
  ~Clock() { Release(root_, levels_); }

  uint32_t operator[](uint32_t component) const {
    if (component >> (kBits * levels_) != 0) return 0;
    const Node *node = root_;
    for (uint32_t level = levels_; node != nullptr; --level) {
      const uint32_t slot = component >> (kBits * (level - 1)) & (kSlots - 1);
      if (level == 1) return node->stamps[slot];
      node = node->children[slot];
    }
    return 0;
  }
  void Set(uint32_t component, uint32_t stamp) {
    while (component >> (kBits * levels_) != 0) Deepen();
    Node **node = &root_;
    for (uint32_t level = levels_;; --level) {
      *node = Own(*node, level);
      const uint32_t slot = component >> (kBits * (level - 1)) & (kSlots - 1);
      if (level == 1) {
        (*node)->stamps[slot] = stamp;
        return;
      }
      node = &(*node)->children[slot];
    }
  }

  // From now on what happens before `other` happens before this clock, too. `hops`: between ranks, from `other` to
  // here.
  void Join(const Clock &other, uint32_t hops = 0) {
    Reach(other.hops_ + hops);
    if (other.root_ == root_) return;
    if (other.levels_ != levels_) {
      Clock deeper = other;
      while (deeper.levels_ < levels_) deeper.Deepen();
      while (levels_ < deeper.levels_) Deepen();
      return Join(deeper);
    }
    Node *joined = Joined(root_, other.root_, levels_);
    Release(root_, levels_);
    root_ = joined;
  }

  uint32_t Hops() const { return hops_; }
  void Reach(uint32_t hops) { hops_ = std::max(hops, hops_); }

 private:
  static constexpr uint32_t kBits = 4;
  static constexpr uint32_t kSlots = 1 << kBits;
  // A leaf (level 1) has stamps, every other node has children; nullptr stands for zeros.
  struct Node {
    uint32_t users = 1;
    union {
      std::array<uint32_t, kSlots> stamps;
      std::array<Node *, kSlots> children;
    };
    explicit Node(uint32_t level) {
      if (level == 1) {
        stamps.fill(0);
      } else {
        children.fill(nullptr);
      }
    }
  };

  void Swap(Clock &other) noexcept {
    std::swap(root_, other.root_);
    std::swap(levels_, other.levels_);
    std::swap(hops_, other.hops_);
  }
  void Deepen() {
    if (root_ != nullptr) {
      Node *above = new Node(levels_ + 1);
      above->children[0] = root_;
      root_ = above;
    }
    ++levels_;
  }

  static Node *Share(Node *node) {
    if (node != nullptr) ++node->users;
    return node;
  }
  static void Release(Node *node, uint32_t level) {
    if (node == nullptr || --node->users != 0) return;
    if (level > 1) {
      for (Node *child : node->children) Release(child, level - 1);
    }
    delete node;
  }
  // The node itself if nobody shares it, else a copy.
  static Node *Own(Node *node, uint32_t level) {
    if (node == nullptr) return new Node(level);
    if (node->users == 1) return node;
    --node->users;
    Node *copy = new Node(level);
    if (level == 1) {
      copy->stamps = node->stamps;
    } else {
      for (uint32_t i = 0; i < kSlots; ++i) copy->children[i] = Share(node->children[i]);
    }
    return copy;
  }
  // The maximum of both; one of the two nodes itself if it is nowhere behind the other.
  static Node *Joined(Node *a, Node *b, uint32_t level) {
    if (a == b || b == nullptr) return Share(a);
    if (a == nullptr) return Share(b);
    bool is_a = true;
    bool is_b = true;
    if (level == 1) {
      for (uint32_t i = 0; i < kSlots; ++i) {
        is_a &= a->stamps[i] >= b->stamps[i];
        is_b &= a->stamps[i] <= b->stamps[i];
      }
      if (is_a || is_b) return Share(is_a ? a : b);
      Node *joined = new Node(level);
      for (uint32_t i = 0; i < kSlots; ++i) joined->stamps[i] = std::max(a->stamps[i], b->stamps[i]);
      return joined;
    }
    std::array<Node *, kSlots> children;  // nullptr: both nodes have the same child
    for (uint32_t i = 0; i < kSlots; ++i) {
      Node *of_a = a->children[i];
      Node *of_b = b->children[i];
      children[i] = of_a == of_b ? nullptr : Joined(of_a, of_b, level - 1);
      is_a &= of_a == of_b || children[i] == of_a;
      is_b &= of_a == of_b || children[i] == of_b;
    }
    if (is_a || is_b) {
      for (Node *child : children) Release(child, level - 1);
      return Share(is_a ? a : b);
    }
    Node *joined = new Node(level);
    for (uint32_t i = 0; i < kSlots; ++i) {
      joined->children[i] = children[i] != nullptr ? children[i] : Share(a->children[i]);
    }
    return joined;
  }

  Node *root_ = nullptr;
  uint32_t levels_ = 1;
  uint32_t hops_ = 0;
};

}  // namespace AscendC::backend

#endif  // MOE_COMM_HOST_TWIN_CHECK_CLOCK_H
