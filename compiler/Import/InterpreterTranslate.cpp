//===- InterpreterTranslate.cpp - scf, memref, arith and math ops to interpreter instructions -----------===//

#include "compiler/Import/InterpreterProgram.h"
#include "dialects/Interfaces/OpInterfaces.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/StringMap.h"
#include <cmath>

using namespace mlir;

namespace gmc::interpreter {

static unsigned widthOf(Type type) { return type.isIndex() ? 64 : type.getIntOrFloatBitWidth(); }

static FloatKind floatKindOf(Type type) {
  if (type.isF32())
    return FloatKind::F32;
  if (type.isF16())
    return FloatKind::F16;
  return type.isBF16() ? FloatKind::BF16 : FloatKind::F64;
}

static bool isScalar(Type type) { return type.isIntOrIndexOrFloat() && widthOf(type) <= 64; }

int Program::cell(Value value) {
  auto [it, isNew] = cellOf.try_emplace(value, static_cast<int>(cells.size()));
  if (isNew)
    cells.push_back({});
  return it->second;
}

static Buffer describe(MemRefType type, char *data, bool writable) {
  Buffer buffer;
  buffer.data = data;
  buffer.shape.assign(type.getShape().begin(), type.getShape().end());
  buffer.elements = type.getNumElements();
  buffer.bytes = static_cast<uint8_t>(elementBytes(type.getElementType()));
  buffer.width = static_cast<uint8_t>(widthOf(type.getElementType()));
  buffer.isFloat = isa<FloatType>(type.getElementType());
  buffer.floatKind = floatKindOf(type.getElementType());
  buffer.writable = writable;
  return buffer;
}

void Program::bind(Value buffer, char *data, bool writable) {
  buffers.push_back(describe(cast<MemRefType>(buffer.getType()), data, writable));
  bufferOf[buffer] = &buffers.back();
}

LogicalResult Program::translateBlock(Block &block, Body &body) {
  for (Operation &op : block)
    if (failed(translateOp(op, body)))
      return failure();
  return success();
}

LogicalResult Program::translateOp(Operation &op, Body &body) {
  if (isa<scf::YieldOp>(op)) {
    for (Value value : op.getOperands())
      body.yields.push_back(cell(value));
    return success();
  }
  if (auto reduce = dyn_cast<scf::ReduceOp>(op))
    return success(reduce.getNumOperands() == 0);
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    Cell &to = cells[cell(constant.getResult())];
    if (auto value = dyn_cast<FloatAttr>(constant.getValue())) {
      to.f = value.getValueAsDouble();
      return success();
    }
    auto value = dyn_cast<IntegerAttr>(constant.getValue());
    if (!value || widthOf(value.getType()) > 64)
      return failure();
    to.i = normalize(value.getValue().getSExtValue(), widthOf(value.getType()));
    return success();
  }
  Instruction out{};
  bool emits = true;
  bool known = op.getName().getDialectNamespace() == "memref" ? translateMemory(op, out, emits)
               : op.getName().getDialectNamespace() == "scf"  ? translateLoop(op, out)
               : op.getName().getDialectNamespace() == "math" ? translateMath(op, out)
                                                              : translateArith(op, out);
  if (known && emits)
    body.instructions.push_back(std::move(out));
  return success(known);
}

//===- memref -------------------------------------------------------------------------------------------===//

bool Program::translateMemory(Operation &op, Instruction &out, bool &emits) {
  if (auto load = dyn_cast<memref::LoadOp>(op)) {
    out.code = Code::Load;
    out.buffer = bufferOf.lookup(load.getMemRef());
    out.result = cell(load.getResult());
    for (Value index : load.getIndices())
      out.indices.push_back(cell(index));
    return out.buffer;
  }
  if (auto store = dyn_cast<memref::StoreOp>(op)) {
    out.code = Code::Store;
    out.buffer = bufferOf.lookup(store.getMemRef());
    out.a = cell(store.getValueToStore());
    for (Value index : store.getIndices())
      out.indices.push_back(cell(index));
    return out.buffer && out.buffer->writable;
  }
  emits = false;
  if (auto view = dyn_cast<memref::ViewOp>(op)) {
    const Buffer *base = bufferOf.lookup(view.getSource());
    auto shift = view.getByteShift().getDefiningOp<arith::ConstantIndexOp>();
    if (!base || !shift || !view.getType().hasStaticShape())
      return false;
    Buffer seen = describe(view.getType(), base->data + shift.value(), base->writable);
    if (shift.value() < 0 || shift.value() + seen.elements * seen.bytes > base->elements * base->bytes)
      return false;
    buffers.push_back(seen);
    bufferOf[view.getResult()] = &buffers.back();
    return true;
  }
  if (isa<memref::CollapseShapeOp, memref::ExpandShapeOp, memref::CastOp, memref::ReinterpretCastOp>(op)) {
    // The same contiguous elements under another shape.
    const Buffer *base = bufferOf.lookup(op.getOperand(0));
    auto type = cast<MemRefType>(op.getResult(0).getType());
    if (auto cast = dyn_cast<memref::ReinterpretCastOp>(op);
        cast && !llvm::equal(cast.getStaticOffsets(), ArrayRef<int64_t>{0}))
      return false;
    if (!base || !type.hasStaticShape() || !type.getLayout().isIdentity() || type.getNumElements() != base->elements)
      return false;
    buffers.push_back(describe(type, base->data, base->writable));
    bufferOf[op.getResult(0)] = &buffers.back();
    return true;
  }
  if (auto alloca = dyn_cast<memref::AllocaOp>(op)) { // iterations run one after the other: one array serves all
    if (!alloca.getType().hasStaticShape())
      return false;
    Buffer local = describe(alloca.getType(), nullptr, true);
    storage.emplace_back(local.elements * local.bytes);
    local.data = storage.back().data();
    buffers.push_back(local);
    bufferOf[alloca.getResult()] = &buffers.back();
    return true;
  }
  return false;
}

//===- scf ----------------------------------------------------------------------------------------------===//

bool Program::translateLoop(Operation &op, Instruction &out) {
  auto cellsOf = [&](auto &&values, auto &to) {
    for (Value value : values)
      to.push_back(cell(value));
  };
  out.body = std::make_unique<Body>();
  if (auto parallel = dyn_cast<scf::ParallelOp>(op)) {
    out.code = Code::Parallel;
    cellsOf(parallel.getLowerBound(), out.lower);
    cellsOf(parallel.getUpperBound(), out.upper);
    cellsOf(parallel.getStep(), out.step);
    cellsOf(parallel.getInductionVars(), out.ivs);
    return parallel.getNumResults() == 0 && succeeded(translateBlock(*parallel.getBody(), *out.body));
  }
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    out.code = Code::For;
    out.lower.push_back(cell(loop.getLowerBound()));
    out.upper.push_back(cell(loop.getUpperBound()));
    out.step.push_back(cell(loop.getStep()));
    out.ivs.push_back(cell(loop.getInductionVar()));
    cellsOf(loop.getInitArgs(), out.inits);
    cellsOf(loop.getRegionIterArgs(), out.carried);
    cellsOf(loop.getResults(), out.results);
    return succeeded(translateBlock(*loop.getBody(), *out.body));
  }
  if (auto branch = dyn_cast<scf::IfOp>(op)) {
    out.code = Code::If;
    out.a = cell(branch.getCondition());
    cellsOf(branch.getResults(), out.results);
    out.otherwise = std::make_unique<Body>();
    return succeeded(translateBlock(*branch.thenBlock(), *out.body)) &&
           (!branch.elseBlock() || succeeded(translateBlock(*branch.elseBlock(), *out.otherwise)));
  }
  return false;
}

//===- arith --------------------------------------------------------------------------------------------===//

using IntFn = bool (*)(int64_t, int64_t, unsigned, int64_t &);
#define GMC_INT(EXPR)                                                                                                  \
  +[](int64_t x, int64_t y, unsigned w, int64_t &r) -> bool {                                                          \
    [[maybe_unused]] uint64_t ux = zeroExtended(x, w), uy = zeroExtended(y, w);                                        \
    r = static_cast<int64_t>(EXPR);                                                                                    \
    return true;                                                                                                       \
  }
#define GMC_INT_DIV(TRAP, EXPR)                                                                                        \
  +[](int64_t x, int64_t y, unsigned w, int64_t &r) -> bool {                                                          \
    [[maybe_unused]] uint64_t ux = zeroExtended(x, w), uy = zeroExtended(y, w);                                        \
    if (TRAP)                                                                                                          \
      return false;                                                                                                    \
    r = static_cast<int64_t>(EXPR);                                                                                    \
    return true;                                                                                                       \
  }

static bool signedTrap(int64_t x, int64_t y) { return y == 0 || (y == -1 && x == INT64_MIN); }

static IntFn integerBinary(StringRef name) {
  static const llvm::StringMap<IntFn> table = {
      {"addi", GMC_INT(static_cast<uint64_t>(x) + static_cast<uint64_t>(y))},
      {"subi", GMC_INT(static_cast<uint64_t>(x) - static_cast<uint64_t>(y))},
      {"muli", GMC_INT(static_cast<uint64_t>(x) * static_cast<uint64_t>(y))},
      {"andi", GMC_INT(x & y)},
      {"ori", GMC_INT(x | y)},
      {"xori", GMC_INT(x ^ y)},
      {"maxsi", GMC_INT(std::max(x, y))},
      {"minsi", GMC_INT(std::min(x, y))},
      {"maxui", GMC_INT(std::max(ux, uy))},
      {"minui", GMC_INT(std::min(ux, uy))},
      {"shli", GMC_INT_DIV(uy >= w, ux << uy)},
      {"shrui", GMC_INT_DIV(uy >= w, ux >> uy)},
      {"shrsi", GMC_INT_DIV(uy >= w, x >> uy)},
      {"divsi", GMC_INT_DIV(signedTrap(x, y), x / y)},
      {"remsi", GMC_INT_DIV(signedTrap(x, y), x % y)},
      {"divui", GMC_INT_DIV(uy == 0, ux / uy)},
      {"remui", GMC_INT_DIV(uy == 0, ux % uy)},
      {"ceildivui", GMC_INT_DIV(uy == 0, ux / uy + (ux % uy != 0))},
      {"floordivsi", GMC_INT_DIV(signedTrap(x, y), x / y - (x % y != 0 && (x < 0) != (y < 0)))},
      {"ceildivsi", GMC_INT_DIV(signedTrap(x, y), x / y + (x % y != 0 && (x < 0) == (y < 0)))},
  };
  return table.lookup(name);
}

using Float2 = double (*)(double, double);
static double maximumNaN(double x, double y) { return std::isnan(x) || std::isnan(y) ? NAN : std::max(x, y); }
static double minimumNaN(double x, double y) { return std::isnan(x) || std::isnan(y) ? NAN : std::min(x, y); }

static Float2 floatBinary(StringRef name) {
  static const llvm::StringMap<Float2> table = {
      {"addf", +[](double x, double y) { return x + y; }},
      {"subf", +[](double x, double y) { return x - y; }},
      {"mulf", +[](double x, double y) { return x * y; }},
      {"divf", +[](double x, double y) { return x / y; }},
      {"remf", +[](double x, double y) { return std::fmod(x, y); }},
      {"maximumf", maximumNaN},
      {"minimumf", minimumNaN},
      {"maxnumf", +[](double x, double y) { return std::fmax(x, y); }},
      {"minnumf", +[](double x, double y) { return std::fmin(x, y); }},
      {"powf", +[](double x, double y) { return std::pow(x, y); }},
      {"atan2", +[](double x, double y) { return std::atan2(x, y); }},
      {"copysign", +[](double x, double y) { return std::copysign(x, y); }},
  };
  return table.lookup(name);
}

bool Program::translateArith(Operation &op, Instruction &out) {
  for (Type type : op.getOperandTypes())
    if (!isScalar(type))
      return false;
  for (Type type : op.getResultTypes())
    if (!isScalar(type))
      return false;
  if (op.getName().getDialectNamespace() != "arith" || op.getNumResults() == 0)
    return false;
  StringRef name = op.getName().stripDialect();
  Type from = op.getOperand(0).getType(), to = op.getResult(0).getType();
  out.result = cell(op.getResult(0));
  out.a = cell(op.getOperand(0));
  if (op.getNumOperands() > 1)
    out.b = cell(op.getOperand(1));
  if (op.getNumOperands() > 2)
    out.c = cell(op.getOperand(2));
  out.floatKind = floatKindOf(to);
  out.width = static_cast<uint8_t>(widthOf(to));
  if ((out.int2 = integerBinary(name))) {
    out.code = Code::Int2;
    return true;
  }
  if ((out.float2 = floatBinary(name))) {
    out.code = Code::Float2;
    return true;
  }
  if (name == "negf") {
    out.code = Code::Float1;
    out.float1 = +[](double x) { return -x; };
    return true;
  }
  if (auto compare = dyn_cast<arith::CmpFOp>(op)) {
    out.code = Code::CompareFloat;
    out.predicate = static_cast<uint8_t>(compare.getPredicate());
    return true;
  }
  if (auto compare = dyn_cast<arith::CmpIOp>(op)) {
    out.code = Code::CompareInt;
    out.predicate = static_cast<uint8_t>(compare.getPredicate());
    out.width = static_cast<uint8_t>(widthOf(from));
    return true;
  }
  if (isa<arith::SelectOp>(op)) {
    out.code = Code::Select;
    return true;
  }
  if (isa<arith::MulUIExtendedOp, arith::MulSIExtendedOp>(op)) {
    out.code = Code::MulWide;
    out.predicate = isa<arith::MulSIExtendedOp>(op);
    out.result2 = cell(op.getResult(1));
    return true;
  }
  if (isa<arith::ExtFOp, arith::TruncFOp>(op))
    out.code = Code::Round;
  else if (isa<arith::SIToFPOp>(op))
    out.code = Code::IntToFloat;
  else if (isa<arith::UIToFPOp>(op))
    out.code = Code::UIntToFloat, out.width = static_cast<uint8_t>(widthOf(from));
  else if (isa<arith::FPToSIOp>(op))
    out.code = Code::FloatToInt;
  else if (isa<arith::FPToUIOp>(op))
    out.code = Code::FloatToUInt;
  else if (isa<arith::ExtUIOp, arith::IndexCastUIOp>(op))
    out.code = Code::ZeroExtend, out.width = static_cast<uint8_t>(std::min(widthOf(from), widthOf(to)));
  else if (isa<arith::ExtSIOp, arith::IndexCastOp, arith::TruncIOp>(op))
    out.code = Code::SignExtend, out.width = static_cast<uint8_t>(std::min(widthOf(from), widthOf(to)));
  else if (isa<arith::BitcastOp>(op) && isa<FloatType>(to) && !isa<FloatType>(from))
    out.code = Code::BitsToFloat;
  else if (isa<arith::BitcastOp>(op) && isa<FloatType>(from) && !isa<FloatType>(to))
    out.code = Code::FloatToBits, out.floatKind = floatKindOf(from);
  else
    return false;
  // A wider i1 has all bits set when it is sign-extended; cells hold it as 0 or 1.
  if (isa<arith::ExtSIOp, arith::IndexCastOp>(op) && widthOf(from) == 1) {
    out.code = Code::Int1;
    out.width = static_cast<uint8_t>(widthOf(to));
    out.int1 = +[](int64_t x) { return -x; };
  }
  return true;
}

//===- math ---------------------------------------------------------------------------------------------===//

bool Program::translateMath(Operation &op, Instruction &out) {
  using Float1 = double (*)(double);
  static const llvm::StringMap<Float1> table = {
      {"absf", +[](double x) { return std::fabs(x); }},   {"exp", +[](double x) { return std::exp(x); }},
      {"exp2", +[](double x) { return std::exp2(x); }},   {"expm1", +[](double x) { return std::expm1(x); }},
      {"log", +[](double x) { return std::log(x); }},     {"log1p", +[](double x) { return std::log1p(x); }},
      {"log2", +[](double x) { return std::log2(x); }},   {"log10", +[](double x) { return std::log10(x); }},
      {"sqrt", +[](double x) { return std::sqrt(x); }},   {"rsqrt", +[](double x) { return 1.0 / std::sqrt(x); }},
      {"cbrt", +[](double x) { return std::cbrt(x); }},   {"tanh", +[](double x) { return std::tanh(x); }},
      {"erf", +[](double x) { return std::erf(x); }},     {"erfc", +[](double x) { return std::erfc(x); }},
      {"sin", +[](double x) { return std::sin(x); }},     {"cos", +[](double x) { return std::cos(x); }},
      {"tan", +[](double x) { return std::tan(x); }},     {"asin", +[](double x) { return std::asin(x); }},
      {"acos", +[](double x) { return std::acos(x); }},   {"atan", +[](double x) { return std::atan(x); }},
      {"sinh", +[](double x) { return std::sinh(x); }},   {"cosh", +[](double x) { return std::cosh(x); }},
      {"asinh", +[](double x) { return std::asinh(x); }}, {"acosh", +[](double x) { return std::acosh(x); }},
      {"atanh", +[](double x) { return std::atanh(x); }}, {"floor", +[](double x) { return std::floor(x); }},
      {"ceil", +[](double x) { return std::ceil(x); }},   {"trunc", +[](double x) { return std::trunc(x); }},
      {"round", +[](double x) { return std::round(x); }}, {"roundeven", +[](double x) { return std::nearbyint(x); }},
  };
  for (Type type : op.getOperandTypes())
    if (!isScalar(type))
      return false;
  StringRef name = op.getName().stripDialect();
  out.result = cell(op.getResult(0));
  out.a = cell(op.getOperand(0));
  out.floatKind = floatKindOf(op.getResult(0).getType());
  out.width = static_cast<uint8_t>(widthOf(op.getResult(0).getType()));
  if ((out.float1 = table.lookup(name))) {
    out.code = Code::Float1;
    return true;
  }
  if (name == "absi") {
    out.code = Code::Int1;
    out.int1 = +[](int64_t x) { return x < 0 ? static_cast<int64_t>(-static_cast<uint64_t>(x)) : x; };
    return true;
  }
  if ((out.float2 = floatBinary(name))) {
    out.code = Code::Float2;
    out.b = cell(op.getOperand(1));
    return true;
  }
  if (name == "fma") {
    out.code = Code::Float3;
    out.b = cell(op.getOperand(1));
    out.c = cell(op.getOperand(2));
    return true;
  }
  return false;
}

} // namespace gmc::interpreter
