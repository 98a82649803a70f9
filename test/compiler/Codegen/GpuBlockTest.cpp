// What GpuBlock.h emits, run by the sim target against the same done here: shared memory, barriers, shuffles,
// reductions.
#include "compiler/Codegen/Jit.h"
#include "compiler/Codegen/LowerKernels.h"
#include "compiler/Codegen/LowerMma.h"
#include "compiler/Codegen/SimKernels.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "passes/Lowering/DivideGpuKernels.h"
#include "gmc/Abi.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/ExecutionEngine/Orc/ThreadSafeModule.h"
#include "llvm/IR/Instructions.h"
#include "llvm/Transforms/Utils/Cloning.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace mlir;
using namespace gmc;

namespace {

class GpuBlockTest : public ::testing::Test {
protected:
  GpuBlockTest() {
    context
        .loadDialect<func::FuncDialect, arith::ArithDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                     vector::VectorDialect, LLVM::LLVMDialect, gpu::GPUDialect, NVVM::NVVMDialect>();
  }

  /// Runs a cooperative nest whose body has the input buffer and the output buffer, both of `count` elements.
  using Body = llvm::function_ref<void(OpBuilder &, Location, ValueRange block, const GpuBlock &, Value in, Value out)>;
  template <typename T>
  std::vector<T> run(Type type, const std::vector<T> &input, ArrayRef<int64_t> blocks, int64_t threads, Body body,
                     llvm::function_ref<void(llvm::Module &)> prepare = [](llvm::Module &) {}) {
    Location loc = UnknownLoc::get(&context);
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    OpBuilder b = OpBuilder::atBlockEnd(module->getBody());
    auto buffer = MemRefType::get({static_cast<int64_t>(input.size())}, type);
    auto function = func::FuncOp::create(b, loc, "k", b.getFunctionType({buffer, buffer}, {}));
    Block *entry = function.addEntryBlock();
    b.setInsertionPointToEnd(entry);
    KernelBuilder kernel(b, loc, KernelTarget::Gpu, nullptr, {}, {}, {});
    kernel.cooperative(blocks, threads, [&](OpBuilder &b, Location l, ValueRange at, const GpuBlock &block) {
      body(b, l, at, block, entry->getArgument(0), entry->getArgument(1));
    });
    b.setInsertionPointToEnd(entry);
    func::ReturnOp::create(b, loc);
    auto launches = divideGpuKernel(function);
    EXPECT_TRUE(succeeded(launches));

    auto llvmContext = std::make_unique<llvm::LLVMContext>();
    auto code = llvm::cantFail(translateKernels(*module, *llvmContext));
    auto machine = llvm::cantFail(createHostMachine("native", 2));
    code->setTargetTriple(machine->getTargetTriple());
    code->setDataLayout(machine->createDataLayout());
    prepare(*code);
    llvm::Function *part = llvm::cantFail(simulateKernel(code->getFunction(launches->front().function), threads));
    part->setName("entry");
    part->setLinkage(llvm::GlobalValue::ExternalLinkage);
    optimizeModule(*code, *machine, 2);
    auto jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
    llvm::cantFail(defineSimRuntime(*jit));
    llvm::cantFail(jit->addIRModule(llvm::orc::ThreadSafeModule(std::move(code), std::move(llvmContext))));
    auto *fn = llvm::cantFail(jit->lookup("entry")).toPtr<GmcKernelFn>();
    std::vector<T> copy(input), output(input.size());
    char *operands[] = {reinterpret_cast<char *>(copy.data()), reinterpret_cast<char *>(output.data())};
    fn(operands, 0, launches->front().extent);
    return output;
  }

  static Value at(OpBuilder &b, Location loc, Value block, Value thread, int64_t threads) {
    return kb::add(b, loc, kb::mul(b, loc, block, kb::idx(b, loc, threads)), thread);
  }
  template <typename T> static std::vector<T> numbers(int64_t count) {
    std::vector<T> values(count);
    for (int64_t i = 0; i < count; ++i)
      values[i] = static_cast<T>((i * 37 + 11) % 101);
    return values;
  }

  MLIRContext context;
};

TEST_F(GpuBlockTest, SharedMemoryReversesABlock) {
  auto input = numbers<float>(4 * 96);
  auto output = run<float>(Float32Type::get(&context), input, {2, 2}, 96,
                           [](OpBuilder &b, Location loc, ValueRange block, const GpuBlock &g, Value in, Value out) {
                             Value linear = kb::linearize(b, loc, block, {2, 2});
                             Value shared = g.shared({96}, b.getF32Type()),
                                   position = at(b, loc, linear, g.thread(), 96);
                             memref::StoreOp::create(b, loc, memref::LoadOp::create(b, loc, in, position), shared,
                                                     g.thread());
                             g.barrier(b, loc);
                             Value other = kb::sub(b, loc, kb::idx(b, loc, 95), g.thread());
                             memref::StoreOp::create(b, loc, memref::LoadOp::create(b, loc, shared, other), out,
                                                     position);
                           });
  for (int64_t i = 0; i < 4 * 96; ++i)
    EXPECT_EQ(output[i], input[i / 96 * 96 + 95 - i % 96]) << i;
}

TEST_F(GpuBlockTest, WithoutWaitingThreadsRunInALoop) {
  auto input = numbers<float>(3 * 64);
  auto output = run<float>(Float32Type::get(&context), input, {3}, 64,
                           [](OpBuilder &b, Location loc, ValueRange block, const GpuBlock &g, Value in, Value out) {
                             Value position = at(b, loc, block[0], g.thread(), 64);
                             Value x = memref::LoadOp::create(b, loc, in, position);
                             memref::StoreOp::create(b, loc, kb::add(b, loc, x, x), out, position);
                           });
  for (int64_t i = 0; i < 3 * 64; ++i)
    EXPECT_EQ(output[i], 2 * input[i]);
}

template <typename T> struct TypeOf;
template <> struct TypeOf<float> { static Type get(MLIRContext *c) { return Float32Type::get(c); } };
template <> struct TypeOf<double> { static Type get(MLIRContext *c) { return Float64Type::get(c); } };
template <> struct TypeOf<int64_t> { static Type get(MLIRContext *c) { return IntegerType::get(c, 64); } };
template <> struct TypeOf<int32_t> { static Type get(MLIRContext *c) { return IntegerType::get(c, 32); } };
template <> struct TypeOf<int16_t> { static Type get(MLIRContext *c) { return IntegerType::get(c, 16); } };

template <typename T> class GpuShuffle : public GpuBlockTest {};
using ShuffleTypes = ::testing::Types<float, double, int64_t, int32_t, int16_t>;
TYPED_TEST_SUITE(GpuShuffle, ShuffleTypes);

TYPED_TEST(GpuShuffle, EveryKindAndWidth) {
  auto input = GpuBlockTest::numbers<TypeParam>(64);
  if constexpr (sizeof(TypeParam) == 8)
    for (auto &x : input)
      x = x * static_cast<TypeParam>(int64_t(1) << 40) - x; // both halves count
  using S = GpuBlock::Shuffle;
  auto expect = [&](S kind, int64_t amount, int64_t width, auto source) {
    auto output = this->template run<TypeParam>(
        TypeOf<TypeParam>::get(&this->context), input, {1}, 64,
        [&](OpBuilder &b, Location loc, ValueRange, const GpuBlock &g, Value in, Value out) {
          Value x = memref::LoadOp::create(b, loc, in, g.thread());
          memref::StoreOp::create(b, loc, g.shuffle(b, loc, kind, x, amount, width), out, g.thread());
        });
    for (int64_t i = 0; i < 64; ++i) {
      int64_t first = i / width * width, from = source(i - first);
      EXPECT_EQ(output[i], input[first + (from < 0 || from >= width ? i - first : from)])
          << "kind " << int(kind) << ", lane " << i << ", width " << width;
    }
  };
  for (int64_t width : {4, 32}) {
    expect(S::Xor, 3, width, [](int64_t i) { return i ^ 3; });
    expect(S::Up, 2, width, [](int64_t i) { return i - 2; });
    expect(S::Down, 1, width, [](int64_t i) { return i + 1; });
    expect(S::Idx, 3, width, [](int64_t) { return 3; });
  }
}

TEST_F(GpuBlockTest, ReductionsOfWarpsAndBlocks) {
  auto input = numbers<double>(2 * 160);
  auto sum = [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); };
  auto largest = [](OpBuilder &b, Location l, Value x, Value y) { return kb::max(b, l, x, y); };
  auto output = run<double>(Float64Type::get(&context), input, {2}, 160,
                            [&](OpBuilder &b, Location loc, ValueRange block, const GpuBlock &g, Value in, Value out) {
                              Value position = at(b, loc, block[0], g.thread(), 160);
                              Value x = memref::LoadOp::create(b, loc, in, position);
                              Value all = g.blockReduce(b, loc, x, sum), top = g.blockReduce(b, loc, x, largest);
                              Value eighth = g.warpReduce(b, loc, x, sum, 8);
                              Value scaled = kb::mul(b, loc, top, kb::constant(b, loc, b.getF64Type(), 1e6));
                              Value both = kb::mul(b, loc, eighth, kb::constant(b, loc, b.getF64Type(), 1e-6));
                              memref::StoreOp::create(b, loc, kb::add(b, loc, kb::add(b, loc, all, scaled), both), out,
                                                      position);
                            });
  for (int64_t i = 0; i < 2 * 160; ++i) {
    double all = 0, top = 0, eighth = 0;
    for (int64_t j = i / 160 * 160; j < i / 160 * 160 + 160; ++j) {
      all += input[j];
      top = std::max(top, input[j]);
      if (j / 8 == i / 8)
        eighth += input[j];
    }
    EXPECT_NEAR(output[i], all + 1e6 * top + 1e-6 * eighth, 1e-6) << i;
  }
}

TEST_F(GpuBlockTest, StridedCoversEveryElementOnce) {
  auto input = numbers<int32_t>(200);
  auto output = run<int32_t>(IntegerType::get(&context, 32), input, {1}, 64,
                             [](OpBuilder &b, Location loc, ValueRange, const GpuBlock &g, Value in, Value out) {
                               g.strided(b, loc, 200, [&](OpBuilder &b, Location l, Value i) {
                                 Value sofar = memref::LoadOp::create(b, l, out, i);
                                 Value x = kb::add(b, l, sofar, memref::LoadOp::create(b, l, in, i));
                                 memref::StoreOp::create(b, l, x, out, i);
                               });
                             });
  EXPECT_EQ(output, input);
}

/// What the lanes of a warp get of mma.sync m16n8k16 with the registers in `input`, six a lane, on an architecture.
template <typename Run>
std::vector<int32_t> multiply(Run run, MLIRContext &context, const std::vector<int32_t> &input, bool bf16,
                              uint32_t sm) {
  auto body = [&](OpBuilder &b, Location loc, ValueRange, const GpuBlock &g, Value in, Value out) {
    Type f32 = b.getF32Type();
    Value first = kb::mul(b, loc, g.thread(), kb::idx(b, loc, 6));
    SmallVector<Value> registers;
    for (int64_t i = 0; i < 6; ++i) {
      Value x = memref::LoadOp::create(b, loc, in, kb::add(b, loc, first, kb::idx(b, loc, i)));
      registers.push_back(bf16 ? x : LLVM::BitcastOp::create(b, loc, VectorType::get({2}, b.getF16Type()), x));
    }
    SmallVector<Value> sums(4, kb::constant(b, loc, f32, 0.5));
    NVVM::MMATypes type = bf16 ? NVVM::MMATypes::bf16 : NVVM::MMATypes::f16;
    ValueRange all(registers);
    Value result =
        NVVM::MmaOp::create(b, loc, LLVM::LLVMStructType::getLiteral(&context, {f32, f32, f32, f32}), all.take_front(4),
                            all.drop_front(4), sums, {16, 8, 16}, std::nullopt, std::nullopt, std::array{type, type},
                            std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
    for (int64_t i = 0; i < 4; ++i) {
      Value sum = arith::BitcastOp::create(b, loc, b.getI32Type(), LLVM::ExtractValueOp::create(b, loc, result, i));
      memref::StoreOp::create(b, loc, sum, out, kb::add(b, loc, first, kb::idx(b, loc, i)));
    }
  };
  return run(input, body, [&](llvm::Module &module) {
    lowerMma(module, sm);
    // The simulation looks into kernels only, not into what they call.
    llvm::SmallVector<llvm::CallInst *> calls;
    if (llvm::Function *instead = module.getFunction("gmc_mma_bf16"))
      for (llvm::User *user : instead->users())
        calls.push_back(llvm::cast<llvm::CallInst>(user));
    for (llvm::CallInst *call : calls) {
      llvm::InlineFunctionInfo info;
      EXPECT_TRUE(llvm::InlineFunction(*call, info).isSuccess());
    }
  });
}

TEST_F(GpuBlockTest, MatrixInstructionOnEveryArchitecture) {
  // Small integers: every product and sum is exact in both types, and so is the result whatever the order.
  for (bool bf16 : {false, true}) {
    auto bits = [&](int64_t x) -> uint32_t {
      float value = static_cast<float>(x);
      if (!bf16) {
        auto half = static_cast<_Float16>(value);
        uint16_t raw;
        std::memcpy(&raw, &half, 2);
        return raw;
      }
      uint32_t raw;
      std::memcpy(&raw, &value, 4);
      return raw >> 16;
    };
    // The matrices, and how the instruction's definition spreads them over lanes.
    auto a = [](int64_t row, int64_t k) { return (row * 5 + k * 3) % 11 - 5; };
    auto c = [](int64_t k, int64_t column) { return (k * 7 + column * 2) % 9 - 4; };
    std::vector<int32_t> input;
    for (int64_t lane = 0; lane < 32; ++lane) {
      int64_t g = lane / 4, k = lane % 4 * 2;
      for (int64_t r = 0; r < 4; ++r)
        input.push_back(bits(a(g + r % 2 * 8, k + r / 2 * 8)) | bits(a(g + r % 2 * 8, k + r / 2 * 8 + 1)) << 16);
      for (int64_t r = 0; r < 2; ++r)
        input.push_back(bits(c(k + r * 8, g)) | bits(c(k + r * 8 + 1, g)) << 16);
    }
    for (uint32_t sm : {75, 80}) {
      auto start = [&](const std::vector<int32_t> &values, Body body,
                       llvm::function_ref<void(llvm::Module &)> prepare) {
        return run<int32_t>(IntegerType::get(&context, 32), values, {1}, 32, body, prepare);
      };
      std::vector<int32_t> output = multiply(start, context, input, bf16, sm);
      for (int64_t lane = 0; lane < 32; ++lane)
        for (int64_t i = 0; i < 4; ++i) {
          double want = 0.5;
          for (int64_t k = 0; k < 16; ++k)
            want += a(lane / 4 + i / 2 * 8, k) * c(k, lane % 4 * 2 + i % 2);
          float got;
          std::memcpy(&got, &output[lane * 6 + i], 4);
          EXPECT_EQ(got, want) << (bf16 ? "bf16" : "f16") << ", sm_" << sm << ", lane " << lane << ", sum " << i;
        }
    }
  }
}

} // namespace
