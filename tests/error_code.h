// What a refusal says: tests compare codes, and look for words.
#pragma once

#include <stdexcept>
#include <string>

#include <catch2/catch_test_macros.hpp>

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

/// The Error that `f` throws; the test fails when it throws none.
template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  FAIL("no error was thrown");
  throw std::logic_error("unreachable");
}

}  // namespace rondo::test
