// The threads of one GPU block as fibers of a CPU thread. A fiber runs until it waits; the one that completes a barrier
// or a warp operation releases the others. When nobody can go on and not everybody has ended, the kernel would hang on
// a GPU.
#include "gmc/Error.h"
#include "gmc/Sim.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define GMC_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GMC_ASAN 1
#endif
#endif
#ifdef GMC_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// void gmc_sim_switch(void **save, void *load): keeps the callee-saved registers on the stack it leaves, whose pointer
// goes to *save, and goes on where `load` was left.
extern "C" void gmc_sim_switch(void **save, void *load);
asm(R"(
.text
.p2align 4
.globl gmc_sim_switch
.hidden gmc_sim_switch
.type gmc_sim_switch, @function
gmc_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gmc_sim_switch, .-gmc_sim_switch
)");

namespace gmc::rt {
namespace {

constexpr size_t StackBytes = 64 << 10; ///< of a fiber, a page of it inaccessible
constexpr size_t PageBytes = 4096;
constexpr uint32_t WarpSize = 32;

enum class State : uint8_t { Ready, Barrier, Warp, Ended };
enum class WarpOp : uint32_t { Shuffle, Ballot, Sync, Mma, LoadMatrices };

const char *nameOf(WarpOp op) {
  static const char *const names[] = {"shuffle", "ballot", "warp barrier", "mma", "ldmatrix"};
  return names[static_cast<uint32_t>(op)];
}

struct Fiber {
  GmcSimThread thread; ///< first: the generated code's pointer to it is the fiber's
  void *stack = nullptr; ///< while it is not running
  State state = State::Ready;
  // Of the warp operation that it waits in.
  WarpOp op;
  uint32_t mask, kind, value, lane, clamp;
  uint64_t result;
  const uint32_t *operands; ///< mma
  float *sums;
  const uint16_t *row; ///< ldmatrix: of eight elements
  uint32_t *registers;
#ifdef GMC_ASAN
  void *fakeStack = nullptr;
#endif
};

float halfToFloat(uint32_t bits) {
  int exponent = bits >> 10 & 31;
  float fraction = static_cast<float>(bits & 1023), value;
  if (exponent == 31)
    value = fraction ? NAN : INFINITY;
  else
    value = exponent ? std::ldexp(fraction + 1024, exponent - 25) : std::ldexp(fraction, -24);
  return bits & 0x8000 ? -value : value;
}

/// Half of a register with two numbers.
float element(uint32_t reg, uint32_t half, uint32_t type) {
  uint32_t bits = reg >> (16 * half) & 0xffff;
  if (type != GMC_SIM_MMA_BF16)
    return halfToFloat(bits);
  bits <<= 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// D = A * B + C for the lanes of a warp. With g = lane / 4 and q = lane % 4, registers 0 to 3 of A hold rows g, g + 8,
/// g, g + 8 at k = 2 q, 2 q + 1 (8 further in the last two, which m16n8k8 has not), those of B column g likewise, the
/// sums rows g and g + 8 at columns 2 q, 2 q + 1.
void multiplyWarp(Fiber *warp, uint32_t type) {
  uint32_t depth = type == GMC_SIM_MMA_F16_K8 ? 8 : 16;
  float a[16][16], b[16][8];
  for (uint32_t lane = 0; lane < WarpSize; ++lane)
    for (uint32_t half = 0; half < 2; ++half) {
      uint32_t g = lane / 4, k = lane % 4 * 2 + half;
      const uint32_t *registers = warp[lane].operands;
      for (uint32_t r = 0; r < depth / 4; ++r)
        a[g + r % 2 * 8][k + r / 2 * 8] = element(registers[r], half, type);
      for (uint32_t r = 0; r < depth / 8; ++r)
        b[k + r * 8][g] = element(registers[depth / 4 + r], half, type);
    }
  for (uint32_t lane = 0; lane < WarpSize; ++lane)
    for (uint32_t i = 0; i < 4; ++i)
      for (uint32_t k = 0; k < depth; ++k)
        warp[lane].sums[i] += a[lane / 4 + i / 2 * 8][k] * b[k][lane % 4 * 2 + i % 2];
}

/// Lanes 8 m .. 8 m + 7 name the rows of matrix m. Of each, lane 4 g + q gets row g, columns 2 q and 2 q + 1;
/// transposed, column g, rows 2 q and 2 q + 1.
void loadMatrices(Fiber *warp, bool transposed) {
  for (uint32_t lane = 0; lane < WarpSize; ++lane)
    for (uint32_t m = 0; m < 4; ++m) {
      uint32_t g = lane / 4, q = lane % 4 * 2, two[2];
      for (uint32_t half = 0; half < 2; ++half)
        two[half] = transposed ? warp[8 * m + q + half].row[g] : warp[8 * m + g].row[q + half];
      warp[lane].registers[m] = two[0] | two[1] << 16;
    }
}

/// The fibers of one CPU thread, kept from kernel to kernel.
class BlockRunner {
public:
  ~BlockRunner() {
    if (stacks)
      munmap(stacks, capacity * StackBytes);
  }

  static BlockRunner &current() {
    static thread_local BlockRunner runner;
    return runner;
  }

  void run(const GmcSimKernel &kernel, char *const *operands, int64_t block);
  void barrier(Fiber &self);
  uint64_t warpOperation(Fiber &self);
  const GmcSimKernel &runningKernel() const { return *kernel; }
  [[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 2, 3)));

private:
  void reserve(uint32_t threads);
  void prepare(uint32_t i, char *const *operands, int64_t block);
  void switchTo(Fiber &fiber);
  void leave(Fiber &self);
  [[noreturn]] void reportStuck();
  static void enter();

  const GmcSimKernel *kernel = nullptr;
  std::vector<Fiber> fibers;
  std::unique_ptr<char[]> shared;
  size_t sharedBytes = 0, capacity = 0;
  char *stacks = nullptr;
  void *schedulerStack = nullptr;
  Fiber *starting = nullptr;
  uint32_t atBarrier = 0, ended = 0;
#ifdef GMC_ASAN
  const void *schedulerBottom = nullptr;
  size_t schedulerSize = 0;
#endif
};

void BlockRunner::fail(const char *format, ...) {
  char text[512];
  int n = std::snprintf(text, sizeof text, "error: internal error: sim: kernel %s, block %u: ", kernel->name,
                        fibers.front().thread.block);
  va_list arguments;
  va_start(arguments, format);
  n += std::vsnprintf(text + n, sizeof text - static_cast<size_t>(n), format, arguments);
  va_end(arguments);
  n = std::min<int>(n, sizeof text - 2);
  text[n++] = '\n';
  (void)!::write(2, text, static_cast<size_t>(n));
  _exit(ExitInternal);
}

void BlockRunner::reserve(uint32_t threads) {
  if (threads > capacity) {
    if (stacks)
      munmap(stacks, capacity * StackBytes);
    void *data =
        mmap(nullptr, threads * StackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fibers.resize(threads);
    if (data == MAP_FAILED)
      fail("no memory for the stacks of %u threads", threads);
    stacks = static_cast<char *>(data);
    capacity = threads;
    for (uint32_t i = 0; i < threads; ++i)
      mprotect(stacks + i * StackBytes, PageBytes, PROT_NONE);
  }
  fibers.resize(threads);
  if (kernel->shared != sharedBytes) { // exactly as large, so that a sanitizer sees every access past the end
    shared.reset(new char[kernel->shared]);
    sharedBytes = kernel->shared;
  }
}

void BlockRunner::prepare(uint32_t i, char *const *operands, int64_t block) {
  Fiber &fiber = fibers[i];
  fiber.thread = {operands, shared.get(), static_cast<uint32_t>(block), i};
  fiber.state = State::Ready;
  // As gmc_sim_switch leaves a stack: six registers and where to go on, aligned as at a function's entry.
  void **top = reinterpret_cast<void **>(stacks + (i + 1) * StackBytes);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void *>(&enter);
  std::memset(top - 8, 0, 6 * sizeof(void *));
  fiber.stack = top - 8;
}

void BlockRunner::switchTo(Fiber &fiber) {
  starting = &fiber;
#ifdef GMC_ASAN
  void *fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stacks + fiber.thread.thread * StackBytes, StackBytes);
#endif
  gmc_sim_switch(&schedulerStack, fiber.stack);
#ifdef GMC_ASAN
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

/// Back to the scheduler, until it switches here again.
void BlockRunner::leave(Fiber &self) {
#ifdef GMC_ASAN
  __sanitizer_start_switch_fiber(self.state == State::Ended ? nullptr : &self.fakeStack, schedulerBottom,
                                 schedulerSize);
#endif
  gmc_sim_switch(&self.stack, schedulerStack);
#ifdef GMC_ASAN
  __sanitizer_finish_switch_fiber(self.fakeStack, nullptr, nullptr);
#endif
}

void BlockRunner::enter() {
  BlockRunner &runner = current();
#ifdef GMC_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &runner.schedulerBottom, &runner.schedulerSize);
#endif
  Fiber &self = *runner.starting;
  runner.kernel->fn(&self.thread);
  self.state = State::Ended;
  ++runner.ended;
  runner.leave(self);
}

void BlockRunner::run(const GmcSimKernel &k, char *const *operands, int64_t block) {
  kernel = &k;
  reserve(k.threads);
#ifdef GMC_ASAN
  ASAN_UNPOISON_MEMORY_REGION(shared.get(),
                              k.shared); // code made for a sanitizer poisons what lies between its buffers
#endif
  if (k.shared)
    std::memset(shared.get(), 0xff, k.shared);
  for (uint32_t i = 0; i < k.threads; ++i)
    prepare(i, operands, block);
  atBarrier = ended = 0;
  // Forward and backward in turn: code that lacks a barrier is not always served by the same order.
  for (bool forward = true; ended < k.threads; forward = !forward) {
    bool progress = false;
    for (uint32_t i = 0; i < k.threads; ++i) {
      Fiber &fiber = fibers[forward ? i : k.threads - 1 - i];
      if (fiber.state != State::Ready)
        continue;
      progress = true;
      switchTo(fiber);
    }
    if (!progress)
      reportStuck();
  }
}

void BlockRunner::barrier(Fiber &self) {
  self.state = State::Barrier;
  if (++atBarrier < kernel->threads)
    return leave(self);
  atBarrier = 0;
  for (Fiber &fiber : fibers)
    fiber.state = State::Ready;
}

uint64_t BlockRunner::warpOperation(Fiber &self) {
  uint32_t lane = self.thread.thread % WarpSize;
  Fiber *warp = &self - lane;
  if (!(self.mask >> lane & 1))
    fail("thread %u comes to a %s with mask 0x%08x, which does not name it", self.thread.thread, nameOf(self.op),
         self.mask);
  for (uint32_t i = 0; i < WarpSize; ++i) {
    const Fiber &other = warp[i];
    if (i == lane || !(self.mask >> i & 1))
      continue;
    if (other.state != State::Warp || other.op != self.op || other.mask != self.mask || other.kind != self.kind) {
      self.state = State::Warp;
      leave(self);
      return self.result;
    }
  }
  // The last to come computes for all.
  if (self.op == WarpOp::Mma)
    multiplyWarp(warp, self.kind);
  if (self.op == WarpOp::LoadMatrices)
    loadMatrices(warp, self.kind);
  uint32_t ballot = 0;
  for (uint32_t i = 0; i < WarpSize; ++i)
    if (self.mask >> i & 1 && warp[i].value)
      ballot |= 1u << i;
  for (uint32_t i = 0; i < WarpSize; ++i) {
    if (!(self.mask >> i & 1))
      continue;
    Fiber &fiber = warp[i];
    fiber.state = State::Ready;
    fiber.result = ballot;
    if (self.op != WarpOp::Shuffle)
      continue;
    uint32_t by = fiber.lane & 31, limit = fiber.clamp & 31, segments = fiber.clamp >> 8 & 31;
    uint32_t first = i & segments, last = first | (limit & ~segments), source = i;
    bool inside = false;
    switch (fiber.kind) {
    case GMC_SIM_SHUFFLE_XOR:
      source = i ^ by;
      inside = source <= last;
      break;
    case GMC_SIM_SHUFFLE_UP: // here the limit is the lowest lane
      source = i - by;
      inside = static_cast<int32_t>(source) >= static_cast<int32_t>(last);
      break;
    case GMC_SIM_SHUFFLE_DOWN:
      source = i + by;
      inside = source <= last;
      break;
    case GMC_SIM_SHUFFLE_IDX:
      source = first | (by & ~segments);
      inside = source <= last;
      break;
    }
    if (!inside)
      source = i;
    if (!(self.mask >> source & 1))
      fail("thread %u reads lane %u in a shuffle with mask 0x%08x, which does not name that lane", fiber.thread.thread,
           source, self.mask);
    fiber.result = warp[source].value | (uint64_t(inside) << 32);
  }
  return self.result;
}

void BlockRunner::reportStuck() {
  for (const Fiber &fiber : fibers) {
    if (fiber.state != State::Warp)
      continue;
    uint32_t lane = fiber.thread.thread % WarpSize;
    const Fiber *warp = &fiber - lane;
    for (uint32_t i = 0; i < WarpSize; ++i)
      if (i != lane && fiber.mask >> i & 1 &&
          (warp[i].state != State::Warp || warp[i].mask != fiber.mask || warp[i].op != fiber.op ||
           warp[i].kind != fiber.kind))
        fail("thread %u waits in a %s with mask 0x%08x for thread %u, which %s", fiber.thread.thread, nameOf(fiber.op),
             fiber.mask, fiber.thread.thread - lane + i,
             warp[i].state == State::Ended     ? "has ended"
             : warp[i].state == State::Barrier ? "waits at a barrier"
                                               : "waits in another warp operation");
  }
  uint32_t waiting = kernel->threads, absent = kernel->threads;
  for (uint32_t i = kernel->threads; i-- > 0;)
    (fibers[i].state == State::Barrier ? waiting : absent) = i;
  fail("%u of %u threads wait at a barrier, thread %u among them; thread %u has ended without coming there", atBarrier,
       kernel->threads, waiting, absent);
}

uint64_t enterWarp(GmcSimThread *self, WarpOp op, uint32_t mask, uint32_t kind, uint32_t value, uint32_t lane,
                   uint32_t clamp) {
  Fiber &fiber = *reinterpret_cast<Fiber *>(self);
  fiber.op = op;
  fiber.mask = mask;
  fiber.kind = kind;
  fiber.value = value;
  fiber.lane = lane;
  fiber.clamp = clamp;
  return BlockRunner::current().warpOperation(fiber);
}

} // namespace
} // namespace gmc::rt

using namespace gmc::rt;

extern "C" void gmc_sim_run(const GmcSimKernel *kernel, char *const *operands, int64_t begin, int64_t end) {
  for (int64_t block = begin; block < end; ++block)
    BlockRunner::current().run(*kernel, operands, block);
}

extern "C" void gmc_sim_barrier(GmcSimThread *self) {
  BlockRunner::current().barrier(*reinterpret_cast<Fiber *>(self));
}

extern "C" void gmc_sim_sync_warp(GmcSimThread *self, uint32_t mask) {
  enterWarp(self, WarpOp::Sync, mask, 0, 0, 0, 0);
}

extern "C" uint64_t gmc_sim_shuffle(GmcSimThread *self, uint32_t mask, uint32_t kind, uint32_t value, uint32_t lane,
                                    uint32_t clamp) {
  return enterWarp(self, WarpOp::Shuffle, mask, kind, value, lane, clamp);
}

extern "C" uint32_t gmc_sim_ballot(GmcSimThread *self, uint32_t mask, uint32_t predicate) {
  return static_cast<uint32_t>(enterWarp(self, WarpOp::Ballot, mask, 0, predicate, 0, 0));
}

extern "C" void gmc_sim_mma(GmcSimThread *self, uint32_t type, const uint32_t *operands, float *sums) {
  Fiber &fiber = *reinterpret_cast<Fiber *>(self);
  fiber.operands = operands;
  fiber.sums = sums;
  enterWarp(self, WarpOp::Mma, ~0u, type, 0, 0, 0);
}

extern "C" void gmc_sim_load_matrices(GmcSimThread *self, uint32_t transposed, const void *row, uint32_t *registers) {
  Fiber &fiber = *reinterpret_cast<Fiber *>(self);
  if (reinterpret_cast<uintptr_t>(row) % 16)
    BlockRunner::current().fail("thread %u loads a matrix row that is not at a multiple of 16 bytes", self->thread);
  fiber.row = static_cast<const uint16_t *>(row);
  fiber.registers = registers;
  enterWarp(self, WarpOp::LoadMatrices, ~0u, transposed, 0, 0, 0);
}
