// Products on tiles (AMX): the algorithm on a model of them, and the machine's own instructions,
// which the model carries out where the processor does not know them.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "cpu_check.h"
#include "error_code.h"
#include "low_product.h"
#include "tile_model.h"
#include "trained_lstm.h"

#include <rondo/backends/cpu/amx.h>

namespace rondo::test {
namespace {

constexpr Precision kLow[] = {Precision::bf16, Precision::int8};
// k that one tile holds, that several do, and what is left of them, for pairs and for quads; n of
// one and of several tiles, blocks and parts of them.
const int64_t kSizes[][2] = {{0, 5},   {1, 1},   {3, 17},   {31, 48},  {32, 64}, {33, 65},
                             {65, 33}, {66, 16}, {129, 40}, {130, 81}, {7, 200}};

// Vectors alone, whatever the machine has.
void force_vectors() {
  for (const std::string& name : cpu::isa_names()) {
    if (name != "AMX") return cpu::force_isa(name);
  }
}

TEST_CASE("products on tiles are those of rounded operands, of any number of rows", "[tiles]") {
  const IsaGuard guard;
  cpu::force_tiles(tile_model());
  for (const Precision low : kLow) {
    for (const auto& [k, n] : kSizes) {
      LowProduct most(40, k, n);
      most.run(low);
      for (int64_t rows = 1; rows <= 40; ++rows) {
        LowProduct p(rows, k, n);
        p.run(low, rows % 2 == 0, rows % 3 == 0);
        REQUIRE(p.wrong() == "");
        INFO(rows << " rows, k " << k << ", n " << n);
        REQUIRE(std::memcmp(p.y.data(), most.y.data(), p.y.size() * sizeof(float)) == 0);
        REQUIRE(!TileModel::registers().configured());
      }
    }
  }
}

TEST_CASE("int8 on tiles has the bits of int8 in vectors", "[tiles]") {
  const IsaGuard guard;
  for (const auto& [k, n] : kSizes) {
    LowProduct vectors(21, k, n), tiles(21, k, n);
    force_vectors();
    vectors.run(Precision::int8);
    cpu::force_tiles(tile_model());
    tiles.run(Precision::int8);
    CHECK(tiles.y == vectors.y);
  }
}

TEST_CASE("an LSTM on tiles has the same bits on any number of threads", "[tiles]") {
  const IsaGuard guard;
  for (const Precision p : kLow) {
    for (const int64_t rows : {3, 21}) {
      const Trained t = trained_lstm(rows, 132, true);
      const auto run = [&](int threads) {
        return Session(t.g, {.precision = p}, std::make_shared<ThreadTeam>(threads))
            .run(t.fetches, t.feeds);
      };
      force_vectors();
      const auto vectors = run(1);
      cpu::force_tiles(tile_model());
      const auto want = run(1), shared = run(4);
      for (size_t i = 0; i < want.size(); ++i) {
        CHECK(shared[i].same_bits(want[i]));
        if (p == Precision::int8) CHECK(vectors[i].same_bits(want[i]));
        CHECK(distance(vectors[i], want[i]) < 0.01);
      }
    }
  }
}

TEST_CASE("AMX is listed and forced where the machine has it", "[tiles]") {
  const IsaGuard guard;
  CHECK((cpu::isa_name() == "AMX") == cpu::has_amx());
  CHECK(cpu::tiles_chosen() == cpu::has_amx());
  if (!cpu::has_amx()) CHECK(code_of([] { cpu::force_isa("AMX"); }) == "cpu.isa.unknown");
  for (const std::string& name : cpu::isa_names()) {
    cpu::force_isa(name);
    CHECK(cpu::isa_name() == name);
    CHECK(cpu::tiles_chosen() == (name == "AMX"));
    cpu::force_isa("");
  }
}

}  // namespace
}  // namespace rondo::test
