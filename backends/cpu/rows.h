// Where each family adds its rows to the CPU backend's table, and what several families share.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include <rondo/runtime/kernel.h>

namespace rondo::cpu {

void add_elementwise(std::vector<Kernel>& rows);
void add_fused(std::vector<Kernel>& rows);
void add_matmul_onednn(std::vector<Kernel>& rows);
void add_matmul_eigen(std::vector<Kernel>& rows);
void add_matmul_packed(std::vector<Kernel>& rows);
void add_product_over_time(std::vector<Kernel>& rows);
void add_reduce(std::vector<Kernel>& rows);
void add_order(std::vector<Kernel>& rows);
void add_shape(std::vector<Kernel>& rows);
void add_arrange(std::vector<Kernel>& rows);
void add_index(std::vector<Kernel>& rows);
void add_nn(std::vector<Kernel>& rows);
void add_patches(std::vector<Kernel>& rows);
void add_random(std::vector<Kernel>& rows);
void add_recurrent(std::vector<Kernel>& rows);
void add_recurrent_onednn(std::vector<Kernel>& rows);

/// "oneDNN 3.2.0", or "no oneDNN".
std::string onednn_description();

/// Work that is worth giving to another thread, in picoseconds.
inline constexpr int64_t kPieceCost = 10'000'000;

/// f(piece) for each piece, on the team when there is more than one; `f` is not copied.
template <class F>
void for_pieces(ThreadTeam& team, int64_t pieces, F&& f) {
  if (pieces <= 1) {
    if (pieces == 1) f(int64_t{0});
    return;
  }
  team.for_each(pieces, std::ref(f));
}

/// Whether all operands that are given and all results have one dtype that is one of `types`.
bool all_of_type(const KernelCall& call, std::initializer_list<DType> types);

}  // namespace rondo::cpu
