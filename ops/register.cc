#include <rondo/ops/register.h>

namespace rondo {

OpRegistry& registry() {
  static OpRegistry* const r = [] {
    auto* p = new OpRegistry;  // lives as long as the program: graphs point into it
    register_elementwise(*p);
    register_linear(*p);
    register_reduce(*p);
    register_shape(*p);
    register_nn(*p);
    register_recurrence(*p);
    register_lstm(*p);
    register_rnn(*p);
    register_lstm_block(*p);
    register_lstmp(*p);
    register_gru(*p);
    register_sru(*p);
    return p;
  }();
  return *r;
}

}  // namespace rondo
