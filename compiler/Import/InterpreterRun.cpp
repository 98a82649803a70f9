//===- InterpreterRun.cpp - executes interpreter instructions -------------------------------------------===//

#include "compiler/Import/InterpreterProgram.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>

using namespace mlir;

namespace gmc::interpreter {

static const llvm::fltSemantics &semanticsOf(FloatKind kind) {
  switch (kind) {
  case FloatKind::F64:
    return llvm::APFloat::IEEEdouble();
  case FloatKind::F32:
    return llvm::APFloat::IEEEsingle();
  case FloatKind::F16:
    return llvm::APFloat::IEEEhalf();
  case FloatKind::BF16:
    return llvm::APFloat::BFloat();
  }
}

double roundTo(double x, FloatKind kind) {
  if (kind == FloatKind::F64)
    return x;
  if (kind == FloatKind::F32)
    return static_cast<float>(x);
  llvm::APFloat value(x);
  bool losesInfo;
  value.convert(semanticsOf(kind), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return value.convertToDouble();
}

static double bitsToFloat(uint64_t bits, FloatKind kind) {
  llvm::APFloat value(semanticsOf(kind), llvm::APInt(llvm::APFloat::getSizeInBits(semanticsOf(kind)), bits,
                                                     /*isSigned=*/false, /*implicitTrunc=*/true));
  bool losesInfo;
  value.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return value.convertToDouble();
}

static uint64_t floatToBits(double x, FloatKind kind) {
  llvm::APFloat value(x);
  bool losesInfo;
  value.convert(semanticsOf(kind), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return value.bitcastToAPInt().getZExtValue();
}

/// Truncation toward zero; NaN is 0 and values out of range are clamped.
static int64_t toInteger(double x) {
  if (std::isnan(x))
    return 0;
  if (x >= 0x1p63)
    return INT64_MAX;
  return x <= -0x1p63 ? INT64_MIN : static_cast<int64_t>(x);
}
static uint64_t toUnsigned(double x) {
  if (!(x > 0))
    return x < 0 ? static_cast<uint64_t>(toInteger(x)) : 0;
  return x >= 0x1p64 ? UINT64_MAX : static_cast<uint64_t>(x);
}

static bool compareFloats(uint8_t predicate, double x, double y) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(x) || std::isnan(y);
  switch (static_cast<P>(predicate)) {
  case P::AlwaysFalse:
    return false;
  case P::AlwaysTrue:
    return true;
  case P::ORD:
    return !unordered;
  case P::UNO:
    return unordered;
  case P::OEQ:
    return x == y;
  case P::OGT:
    return x > y;
  case P::OGE:
    return x >= y;
  case P::OLT:
    return x < y;
  case P::OLE:
    return x <= y;
  case P::ONE:
    return !unordered && x != y;
  case P::UEQ:
    return unordered || x == y;
  case P::UGT:
    return unordered || x > y;
  case P::UGE:
    return unordered || x >= y;
  case P::ULT:
    return unordered || x < y;
  case P::ULE:
    return unordered || x <= y;
  case P::UNE:
    return unordered || x != y;
  }
  return false;
}

static bool compareIntegers(uint8_t predicate, int64_t x, int64_t y, unsigned width) {
  using P = arith::CmpIPredicate;
  uint64_t ux = zeroExtended(x, width), uy = zeroExtended(y, width);
  switch (static_cast<P>(predicate)) {
  case P::eq:
    return x == y;
  case P::ne:
    return x != y;
  case P::slt:
    return x < y;
  case P::sle:
    return x <= y;
  case P::sgt:
    return x > y;
  case P::sge:
    return x >= y;
  case P::ult:
    return ux < uy;
  case P::ule:
    return ux <= uy;
  case P::ugt:
    return ux > uy;
  case P::uge:
    return ux >= uy;
  }
  return false;
}

/// Address of the element that a load or store means; false out of bounds.
bool Program::element(const Instruction &in, char *&address) const {
  int64_t linear = 0;
  for (auto [d, index] : llvm::enumerate(in.indices)) {
    int64_t i = cells[index].i, size = in.buffer->shape[d];
    if (i < 0 || i >= size)
      return false;
    linear = linear * size + i;
  }
  address = in.buffer->data + linear * in.buffer->bytes;
  return true;
}

static Cell loadCell(const Buffer &buffer, const char *address) {
  Cell cell{};
  if (buffer.isFloat) {
    if (buffer.bytes == 4) {
      float x;
      std::memcpy(&x, address, 4);
      cell.f = x;
    } else if (buffer.bytes == 8) {
      std::memcpy(&cell.f, address, 8);
    } else {
      uint16_t bits;
      std::memcpy(&bits, address, 2);
      cell.f = bitsToFloat(bits, buffer.floatKind);
    }
    return cell;
  }
  int64_t bits = 0;
  std::memcpy(&bits, address, buffer.bytes);
  cell.i = normalize(bits, buffer.width);
  return cell;
}

static void storeCell(const Buffer &buffer, char *address, Cell cell) {
  if (!buffer.isFloat) {
    std::memcpy(address, &cell.i, buffer.bytes);
  } else if (buffer.bytes == 4) {
    float x = static_cast<float>(cell.f);
    std::memcpy(address, &x, 4);
  } else if (buffer.bytes == 8) {
    std::memcpy(address, &cell.f, 8);
  } else {
    uint16_t bits = static_cast<uint16_t>(floatToBits(cell.f, buffer.floatKind));
    std::memcpy(address, &bits, 2);
  }
}

bool Program::execute(const Instruction &in) {
  auto f = [&](int i) { return cells[i].f; };
  auto n = [&](int i) { return cells[i].i; };
  auto setFloat = [&](double x) { cells[in.result].f = roundTo(x, in.floatKind); };
  auto setInt = [&](int64_t x) { cells[in.result].i = normalize(x, in.width); };
  switch (in.code) {
  case Code::Float1:
    setFloat(in.float1(f(in.a)));
    return true;
  case Code::Float2:
    setFloat(in.float2(f(in.a), f(in.b)));
    return true;
  case Code::Float3:
    setFloat(std::fma(f(in.a), f(in.b), f(in.c)));
    return true;
  case Code::Int1:
    setInt(in.int1(n(in.a)));
    return true;
  case Code::Int2: {
    int64_t result;
    if (!in.int2(n(in.a), n(in.b), in.width, result))
      return false;
    setInt(result);
    return true;
  }
  case Code::MulWide: {
    __int128 product = in.predicate ? static_cast<__int128>(n(in.a)) * n(in.b)
                                    : static_cast<__int128>(static_cast<unsigned __int128>(zeroExtended(
                                                                n(in.a), in.width)) *
                                                            zeroExtended(n(in.b), in.width));
    setInt(static_cast<int64_t>(product));
    cells[in.result2].i = normalize(static_cast<int64_t>(product >> in.width), in.width);
    return true;
  }
  case Code::CompareFloat:
    cells[in.result].i = compareFloats(in.predicate, f(in.a), f(in.b));
    return true;
  case Code::CompareInt:
    cells[in.result].i = compareIntegers(in.predicate, n(in.a), n(in.b), in.width);
    return true;
  case Code::Select:
    cells[in.result] = n(in.a) ? cells[in.b] : cells[in.c];
    return true;
  case Code::IntToFloat:
    setFloat(in.floatKind == FloatKind::F32 ? static_cast<double>(static_cast<float>(n(in.a)))
                                            : static_cast<double>(n(in.a)));
    return true;
  case Code::UIntToFloat: {
    uint64_t x = zeroExtended(n(in.a), in.width);
    setFloat(in.floatKind == FloatKind::F32 ? static_cast<double>(static_cast<float>(x)) : static_cast<double>(x));
    return true;
  }
  case Code::FloatToInt:
    setInt(toInteger(f(in.a)));
    return true;
  case Code::FloatToUInt:
    setInt(static_cast<int64_t>(toUnsigned(f(in.a))));
    return true;
  case Code::Round:
    setFloat(f(in.a));
    return true;
  case Code::SignExtend:
    setInt(n(in.a));
    return true;
  case Code::ZeroExtend:
    cells[in.result].i = static_cast<int64_t>(zeroExtended(n(in.a), in.width)); // the result is wider
    return true;
  case Code::BitsToFloat:
    cells[in.result].f = bitsToFloat(static_cast<uint64_t>(n(in.a)), in.floatKind);
    return true;
  case Code::FloatToBits:
    setInt(static_cast<int64_t>(floatToBits(f(in.a), in.floatKind)));
    return true;
  case Code::Load: {
    char *address;
    if (!element(in, address))
      return false;
    cells[in.result] = loadCell(*in.buffer, address);
    return true;
  }
  case Code::Store: {
    char *address;
    if (!element(in, address))
      return false;
    storeCell(*in.buffer, address, cells[in.a]);
    return true;
  }
  case Code::For:
    return runFor(in);
  case Code::Parallel:
    return runNest(in, 0);
  case Code::If: {
    const Body &taken = n(in.a) ? *in.body : *in.otherwise;
    if (!run(taken))
      return false;
    for (auto [to, from] : llvm::zip(in.results, taken.yields))
      cells[to] = cells[from];
    return true;
  }
  }
  return false;
}

bool Program::runFor(const Instruction &in) {
  int64_t upper = cells[in.upper[0]].i, step = cells[in.step[0]].i;
  if (step <= 0)
    return false;
  llvm::SmallVector<Cell> state;
  for (int init : in.inits)
    state.push_back(cells[init]);
  for (int64_t iv = cells[in.lower[0]].i; iv < upper; iv += step) {
    cells[in.ivs[0]].i = iv;
    for (auto [to, value] : llvm::zip(in.carried, state))
      cells[to] = value;
    if (!run(*in.body))
      return false;
    for (auto [value, from] : llvm::zip(state, in.body->yields))
      value = cells[from];
  }
  for (auto [to, value] : llvm::zip(in.results, state))
    cells[to] = value;
  return true;
}

bool Program::runNest(const Instruction &in, size_t depth) {
  if (depth == in.ivs.size())
    return run(*in.body);
  int64_t upper = cells[in.upper[depth]].i, step = cells[in.step[depth]].i;
  if (step <= 0)
    return false;
  for (int64_t iv = cells[in.lower[depth]].i; iv < upper; iv += step) {
    cells[in.ivs[depth]].i = iv;
    if (!runNest(in, depth + 1))
      return false;
  }
  return true;
}

bool Program::run(const Body &body) {
  steps -= static_cast<int64_t>(body.instructions.size()) + 1;
  if (steps < 0)
    return false;
  for (const Instruction &in : body.instructions)
    if (!execute(in))
      return false;
  return true;
}

LogicalResult Program::run(int64_t maxSteps) {
  steps = maxSteps;
  return success(run(root));
}

} // namespace gmc::interpreter
