// Which of an expert's replicas a token goes to: `replica_policy` of the dispatch operators.
#ifndef MOE_COMM_CONTRACT_REPLICA_POLICY_H
#define MOE_COMM_CONTRACT_REPLICA_POLICY_H

#include <cstdint>

namespace moe_comm {

enum ReplicaPolicy : uint32_t {
  kReplicaSpread = 0,   // (token + rank) mod replicas
  kReplicaByRank = 1,   // rank * replicas / ranks: each rank has one
  kReplicaByToken = 2,  // token mod replicas
};

}  // namespace moe_comm

#endif  // MOE_COMM_CONTRACT_REPLICA_POLICY_H
