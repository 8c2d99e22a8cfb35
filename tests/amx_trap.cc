// The machine's own tile instructions, on any x86-64: where the processor does not know one it
// raises SIGILL, and the handler here does on the model what its bytes say.
#include <rondo/backends/cpu/amx.h>

#if defined(__x86_64__) && defined(__linux__)

#include <csignal>
#include <cstring>
#include <stdexcept>
#include <ucontext.h>

#include <catch2/catch_test_macros.hpp>

#include "cpu_check.h"
#include "low_product.h"
#include "tile_model.h"

namespace rondo::test {
namespace {

TileRegisters trapped_registers;
int64_t trapped = 0;

// One instruction with a VEX prefix of three bytes, as Intel's manual lays it out.
class Instruction {
 public:
  explicit Instruction(ucontext_t& context)
      : context_(context), at_(reinterpret_cast<const uint8_t*>(number(kIp))) {}

  bool run() {
    if (at_[0] != 0xc4 || (at_[1] & 0x1f) != 2 || (at_[2] & 0x84) != 0) return false;
    const int which = at_[3] << 8 | (at_[2] & 3);  // opcode; none, 66, F3 or F2
    reg_ = at_[4] >> 3 & 7;
    length_ = 5;
    const bool registers = at_[4] >> 6 == 3;
    const int rm = at_[4] & 7, third = ~(at_[2] >> 3) & 15;
    auto& t = trapped_registers;
    switch (which << 1 | (registers ? 1 : 0)) {
      case 0x4900 << 1: {
        cpu::TileConfig c;
        std::memcpy(&c, reinterpret_cast<const void*>(address()), sizeof c);
        t.configure(c);
        break;
      }
      case 0x4900 << 1 | 1:
        t.release();
        break;
      case 0x4903 << 1 | 1:
        t.zero(reg_);
        break;
      case 0x4b03 << 1: {
        const auto* const from = reinterpret_cast<const void*>(address());
        t.load(reg_, from, stride_);
        break;
      }
      case 0x4b02 << 1: {
        auto* const to = reinterpret_cast<void*>(address());
        t.store(reg_, to, stride_);
        break;
      }
      case 0x5c02 << 1 | 1:
        t.add_bf16(reg_, rm, third);
        break;
      case 0x5e01 << 1 | 1:
        t.add_int8(reg_, rm, third);
        break;
      default:
        return false;
    }
    context_.uc_mcontext.gregs[REG_RIP] += length_;
    return true;
  }

 private:
  static constexpr int kIp = 16;
  // By their numbers in instructions.
  static constexpr int kRegisters[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                       REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                       REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};

  int64_t number(int r) const { return context_.uc_mcontext.gregs[kRegisters[r]]; }
  // Where it reads or writes; with an index, that is the stride and not added, for row 0 lies
  // there.
  int64_t address() {
    const int mod = at_[4] >> 6, rm = at_[4] & 7;
    const int high_base = (at_[1] & 0x20) != 0 ? 0 : 8, high_index = (at_[1] & 0x40) != 0 ? 0 : 8;
    int base = rm;
    if (rm == 4) {
      const uint8_t sib = at_[length_++];
      const int index = (sib >> 3 & 7) + high_index;
      stride_ = index == 4 ? 0 : number(index) << (sib >> 6);
      base = sib & 7;
    }
    if (mod == 0 && base == 5) throw std::logic_error("an address without a register");
    int64_t r = number(base + high_base);
    if (mod == 1) r += static_cast<int8_t>(at_[length_++]);
    if (mod == 2) {
      int32_t more = 0;
      std::memcpy(&more, at_ + length_, 4);
      length_ += 4;
      r += more;
    }
    return r;
  }

  ucontext_t& context_;
  const uint8_t* at_;
  int reg_ = 0;
  int64_t length_ = 0, stride_ = 0;
};

struct sigaction before = {};

// What is no tile instruction, or against the rules, ends the program as it would without us.
void on_trap(int, siginfo_t*, void* context) noexcept {
  ++trapped;
  if (!Instruction(*static_cast<ucontext_t*>(context)).run()) sigaction(SIGILL, &before, nullptr);
}

struct Trap {
  Trap() {
    struct sigaction action = {};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, &before);
  }
  ~Trap() { sigaction(SIGILL, &before, nullptr); }
};

TEST_CASE("the machine's tile instructions give the bits of the model", "[tiles]") {
  const IsaGuard guard;
  const Trap trap;
  for (const Precision low : {Precision::bf16, Precision::int8}) {
    for (const auto& [k, n] : {std::pair{0, 5}, {3, 17}, {66, 16}, {129, 48}, {130, 200}}) {
      for (const int64_t rows : {1, 4, 16, 17, 33, 40}) {
        LowProduct model(rows, k, n), machine(rows, k, n);
        cpu::force_tiles(tile_model());
        model.run(low);
        cpu::force_tiles(*cpu::amx_code());
        machine.run(low);
        INFO(name_of(low) << " " << rows << "x" << k << "x" << n);
        CHECK(machine.y == model.y);
        CHECK(!trapped_registers.configured());
      }
    }
  }
  CHECK((trapped > 0) != cpu::has_amx());
}

}  // namespace
}  // namespace rondo::test

#endif
