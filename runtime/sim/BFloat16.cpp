// Where a CPU has no bfloat16 instructions, LLVM moves vectors of bfloat16 through float and calls this function to
// come back. The C library of GCC 12 does not have it.
#include <cstdint>
#include <cstring>

extern "C" __bf16 __truncsfbf2(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bool isNaN = (bits & 0x7fffffffu) > 0x7f800000u;
  // Half of the last kept place, less one unless that place is odd: nearest, ties to even.
  uint16_t high = isNaN ? (bits >> 16) | 0x40u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  __bf16 result;
  std::memcpy(&result, &high, sizeof result);
  return result;
}
