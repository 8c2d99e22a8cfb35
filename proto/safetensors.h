// Weights in the `safetensors` format, as Hugging Face, PyTorch and JAX exchange them.
//
// A length, a JSON header, raw tensors. The reader takes no number of the header on trust. Format:
// https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <map>
#include <string>

#include <rondo/graph/tensor.h>
#include <rondo/proto/file.h>
#include <rondo/proto/limits.h>

namespace rondo {

/// What a .safetensors file holds.
struct SafeTensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads F64 F32 BF16 F16 I64 I32 BOOL; any other dtype is an Error that names tensor and dtype.
/// Errors `file.safetensors.*`: a header over 100 MB, ranges that do not cover the data exactly,
/// duplicate keys, sizes that overflow.
SafeTensors load_safetensors(const std::string& path, const Limits& limits = {},
                             FileSystem& files = system_files());
SafeTensors read_safetensors(Source& source, const Limits& limits = {});

/// Equal content gives equal bytes: wider dtypes first (so that all are aligned), then by name, as
/// the reference writer does. Replaces the file whole or not at all.
void save_safetensors(const SafeTensors& content, const std::string& path,
                      FileSystem& files = system_files());
void write_safetensors(const SafeTensors& content, Sink& sink);

}  // namespace rondo
