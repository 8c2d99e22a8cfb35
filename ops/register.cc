#include <rondo/ops/register.h>

namespace rondo {
namespace {

// In the order in which the reference shows them.
struct Family {
  std::string_view title;
  void (*add)(OpRegistry&);
};
constexpr Family kFamilies[] = {{"LSTM", register_lstm},
                                {"LSTM", register_lstm_block},
                                {"LSTM", register_lstmp},
                                {"GRU", register_gru},
                                {"SRU", register_sru},
                                {"Layers beside the contract", register_cell_layers},
                                {"Stacked layers with packed weights", register_rnn},
                                {"A body over time", register_recurrence},
                                {"Attention", register_attention},
                                {"Neural networks", register_nn},
                                {"Normalisation", register_norm},
                                {"Convolutions and pooling", register_convolution},
                                {"Convolutions and pooling", register_pooling},
                                {"Convolutions and pooling", register_patches},
                                {"Losses", register_loss},
                                {"Products", register_linear},
                                {"Products", register_einsum},
                                {"Reductions", register_reduce},
                                {"Reductions", register_statistics},
                                {"Running values and order", register_order},
                                {"Shapes", register_shape},
                                {"Shapes", register_arrange},
                                {"Shapes", register_strided_slice},
                                {"Shapes", register_index},
                                {"Shapes", register_ranges},
                                {"Random numbers", register_random},
                                {"Arithmetic and functions", register_elementwise},
                                {"Made by the optimizer", register_fused},
                                {"Made by the optimizer", register_fused_matmul},
                                {"Made by the optimizer", register_product_over_time},
                                {"Made by the optimizer", register_segments}};

}  // namespace

OpRegistry& registry() {
  static OpRegistry* const r = [] {
    auto* p = new OpRegistry;  // lives as long as the program: graphs point into it
    for (const Family& f : kFamilies) p->add_family(f.title, f.add);
    p->mark_built_in();
    return p;
  }();
  return *r;
}

}  // namespace rondo
