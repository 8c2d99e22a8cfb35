// oneDNN's recurrent primitives as a network that runs again and again, for rondo_bench_onednn.
// Written as one would who wants oneDNN's speed: primitives made once, layouts of its own choice,
// nothing allocated in a run. In training weights count as new: every run brings them into the
// primitives' layouts, and the gradients out of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

namespace onednn_peer {

enum class Family { vanilla, lstm, gru, lbr_gru };
struct Cell {
  const char* name;
  Family family;
  int64_t gates, biases;
  bool peephole = false;
  dnnl_alg_kind_t activation = dnnl_alg_kind_undef;
};

/// What is to run, in the words of `rondo bench`.
struct Task {
  Cell cell = {};
  int64_t time = 0, batch = 0, input = 0, hidden = 0, layers = 1, threads = 1;
  int64_t directions = 1;
  bool ragged = false;
  std::string mode = "infer", dtype = "f32", path = "best";
  double min_time = 1;

  bool train() const { return mode == "train"; }
  bool stream() const { return mode == "stream"; }
  dnnl::memory::data_type type() const {
    return dtype == "bf16" ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
  }
  dnnl_rnn_direction_t way() const {
    return directions == 2 ? dnnl_bidirectional_concat : dnnl_unidirectional_left2right;
  }
  // The steps of each row, as in `rondo bench`.
  int64_t length(int64_t b) const;
};

/// Where it runs.
struct Machine {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

class Part;

class Network {
 public:
  /// `kind`: the forward pass. One primitive for all layers, or one for each of them.
  /// Errors: dnnl::error where oneDNN has no such primitive.
  Network(Machine& on, const Task& t, dnnl_prop_kind_t kind, bool one_primitive);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// All steps, with the gradients in training; done when it returns.
  void run();
  /// Streaming: one step, and one more from the state that it left.
  void two_steps();
  std::string implementation() const;

 private:
  void mask(const dnnl::memory& m);
  void clear_padding(const dnnl::memory& m) const;

  Machine& on_;
  Task task_;
  dnnl::memory diff_;
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace onednn_peer
