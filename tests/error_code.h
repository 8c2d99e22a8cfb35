// What a refusal says: tests compare codes, and look for words.
#pragma once

#include <string>

#include <rondo/graph/error.h>

namespace rondo::test {

/// The code of the Error that `f` throws; empty when it throws none.
template <class F>
std::string code_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return "";
}
template <class F>
std::string text_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace rondo::test
