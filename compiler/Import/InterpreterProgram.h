//===- InterpreterProgram.h - kernels in a form that runs quickly (private to compiler/Import) -*- C++ -*-===//
#ifndef GMC_COMPILER_IMPORT_INTERPRETERPROGRAM_H
#define GMC_COMPILER_IMPORT_INTERPRETERPROGRAM_H

#include "mlir/IR/Block.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include <deque>
#include <memory>

namespace gmc::interpreter {

/// A scalar: integers sign-extended to 64 bits (i1 is 0 or 1), floats as double rounded to their type.
union Cell {
  int64_t i;
  double f;
};

enum class Code : uint8_t {
  Float1, Float2, Float3, Int1, Int2, MulWide, CompareFloat, CompareInt, Select, IntToFloat, UIntToFloat, FloatToInt,
  FloatToUInt, Round, SignExtend, ZeroExtend, BitsToFloat, FloatToBits, Load, Store, For, If, Parallel
};

enum class FloatKind : uint8_t { F64, F32, F16, BF16 };

/// Memory seen as a row-major array of scalars.
struct Buffer {
  char *data = nullptr;
  llvm::SmallVector<int64_t> shape;
  int64_t elements = 0;
  uint8_t bytes = 0; ///< of an element
  uint8_t width = 0; ///< bits of an integer element
  bool isFloat = false, writable = false;
  FloatKind floatKind = FloatKind::F64;
};

struct Instruction;
struct Body {
  std::vector<Instruction> instructions;
  llvm::SmallVector<int> yields;
};

struct Instruction {
  Code code;
  uint8_t width = 64;               ///< of the integer result, or of the operands of a comparison or extension
  FloatKind floatKind = FloatKind::F64;
  uint8_t predicate = 0;
  int result = -1, result2 = -1, a = -1, b = -1, c = -1;
  double (*float1)(double) = nullptr;
  double (*float2)(double, double) = nullptr;
  int64_t (*int1)(int64_t) = nullptr;
  bool (*int2)(int64_t x, int64_t y, unsigned width, int64_t &result) = nullptr; ///< false: trap
  const Buffer *buffer = nullptr;
  llvm::SmallVector<int, 4> indices;                ///< of a load or store
  llvm::SmallVector<int, 2> lower, upper, step, ivs; ///< of a loop or nest
  llvm::SmallVector<int, 2> inits, carried, results; ///< loop-carried values
  std::unique_ptr<Body> body, otherwise;
};

class Program {
public:
  /// Says what memory a buffer argument is.
  void bind(mlir::Value buffer, char *data, bool writable);
  /// Failure on an op that is not known.
  llvm::LogicalResult translate(mlir::Block &block) { return translateBlock(block, root); }
  /// Failure on access out of bounds, division by zero, more than `maxSteps` instructions.
  llvm::LogicalResult run(int64_t maxSteps);

private:
  int cell(mlir::Value value);
  llvm::LogicalResult translateBlock(mlir::Block &block, Body &body);
  llvm::LogicalResult translateOp(mlir::Operation &op, Body &body);
  bool translateArith(mlir::Operation &op, Instruction &out);
  bool translateMath(mlir::Operation &op, Instruction &out);
  bool translateMemory(mlir::Operation &op, Instruction &out, bool &emits);
  bool translateLoop(mlir::Operation &op, Instruction &out);

  bool run(const Body &body);
  bool execute(const Instruction &in);
  bool runFor(const Instruction &in);
  bool runNest(const Instruction &in, size_t depth);
  bool element(const Instruction &in, char *&address) const;

  Body root;
  std::vector<Cell> cells;
  llvm::DenseMap<mlir::Value, int> cellOf;
  llvm::DenseMap<mlir::Value, const Buffer *> bufferOf;
  std::deque<Buffer> buffers;
  std::deque<std::vector<char>> storage; ///< of memref.alloca
  int64_t steps = 0;
};

/// Keeps the low `width` bits, as the sign-extended value that a cell holds.
inline int64_t normalize(int64_t x, unsigned width) {
  if (width >= 64)
    return x;
  uint64_t bits = static_cast<uint64_t>(x) << (64 - width);
  return width == 1 ? static_cast<int64_t>(bits >> 63) : static_cast<int64_t>(bits) >> (64 - width);
}
/// The unsigned value of a cell's low `width` bits.
inline uint64_t zeroExtended(int64_t x, unsigned width) {
  return width >= 64 ? static_cast<uint64_t>(x) : static_cast<uint64_t>(x) & ((uint64_t(1) << width) - 1);
}
/// Rounds to nearest even in the given format.
double roundTo(double x, FloatKind kind);

} // namespace gmc::interpreter

#endif
