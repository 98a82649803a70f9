#include "dialects/NN/Random.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/KernelSupport.h"
#include "gmc/Abi.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;

namespace gmc::nn {

void registerRandomOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Random.cpp.inc"
      >();
}

template <typename OpT> static LogicalResult verifyDropout(OpT op) {
  double ratio = op.getRatio().convertToDouble();
  if (!(ratio >= 0 && ratio <= 1))
    return op.emitOpError("ratio ") << ratio << " is not between 0 and 1";
  if (op.getRng() &&
      (shapeOf(op.getRng()) != ArrayRef<int64_t>{GMC_RNG_COUNT} || !elementTypeOf(op.getRng()).isInteger(64)))
    return op.emitOpError("random state must be tensor<")
           << int64_t(GMC_RNG_COUNT) << "xi64>, not " << op.getRng().getType();
  return success();
}

LogicalResult DropoutOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor a,
                                          SmallVectorImpl<Type> &types) {
  types.push_back(a.getX().getType());
  return success();
}
LogicalResult DropoutMaskOp::inferReturnTypes(MLIRContext *context, std::optional<Location>, Adaptor a,
                                              SmallVectorImpl<Type> &types) {
  types.push_back(tensorType(a.getX()).clone(IntegerType::get(context, 1)));
  return success();
}

//===- Kernel -------------------------------------------------------------------------------------------===//

static Value i64(OpBuilder &b, Location loc, uint64_t value) {
  return arith::ConstantOp::create(b, loc, b.getIntegerAttr(b.getI64Type(), APInt(64, value)));
}
static constexpr uint64_t gamma = 0x9E3779B97F4A7C15u;

/// The finalizer of SplitMix64: a bijection of 64 bits whose every output bit depends on every input bit.
static Value mix64(OpBuilder &b, Location loc, Value z) {
  auto xorShift = [&](Value v, uint64_t bits) {
    return arith::XOrIOp::create(b, loc, v, arith::ShRUIOp::create(b, loc, v, i64(b, loc, bits)));
  };
  z = arith::MulIOp::create(b, loc, xorShift(z, 30), i64(b, loc, 0xBF58476D1CE4E5B9u));
  z = arith::MulIOp::create(b, loc, xorShift(z, 27), i64(b, loc, 0x94D049BB133111EBu));
  return xorShift(z, 31);
}

/// Whether element `linear` is kept: 32 random bits against the ratio.
template <typename OpT> static Value keeps(OpT op, KernelBuilder &kernel, OpBuilder &b, Location loc, Value linear) {
  Value key = i64(b, loc, static_cast<uint64_t>(op.getNodeId()));
  if (op.getRng())
    for (int64_t part : {GMC_RNG_SEED, GMC_RNG_STEP, GMC_RNG_MICRO}) {
      Value word = kernel.load(b, loc, 1, kb::idx(b, loc, part));
      key = mix64(b, loc, arith::AddIOp::create(b, loc, arith::XOrIOp::create(b, loc, key, word), i64(b, loc, gamma)));
    }
  else
    key = mix64(b, loc, arith::AddIOp::create(b, loc, key, i64(b, loc, gamma)));
  Value count = kb::add(b, loc, kb::fromIndex(b, loc, linear, b.getI64Type()), i64(b, loc, 1));
  Value bits = mix64(b, loc, kb::add(b, loc, key, kb::mul(b, loc, count, i64(b, loc, gamma))));
  bits = arith::ShRUIOp::create(b, loc, bits, i64(b, loc, 32));
  auto threshold = static_cast<uint64_t>(op.getRatio().convertToDouble() * 4294967296.0);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, bits, i64(b, loc, threshold));
}

void DropoutOp::emitKernel(KernelBuilder &kernel) {
  double ratio = getRatio().convertToDouble();
  kernel.parallel({tensorType(getX()).getNumElements()}, [&](OpBuilder &b, Location loc, ValueRange iv) {
    Type element = kernel.resultElementType(0);
    Scalar x = convert(Scalar(b, loc, loadFlat(kernel, b, loc, 0, iv[0])), computeType(element));
    if (getTraining() && ratio > 0) {
      Scalar scaled = ratio < 1 ? x * (1 / (1 - ratio)) : x.constant(0);
      x = select(Scalar(b, loc, keeps(*this, kernel, b, loc, iv[0])), scaled, 0.0);
    }
    storeFlat(kernel, b, loc, convert(x, element).value(), 0, iv[0]);
  });
}

void DropoutMaskOp::emitKernel(KernelBuilder &kernel) {
  kernel.parallel({tensorType(getX()).getNumElements()}, [&](OpBuilder &b, Location loc, ValueRange iv) {
    Value kept = getTraining() ? keeps(*this, kernel, b, loc, iv[0])
                               : Value(arith::ConstantOp::create(b, loc, b.getBoolAttr(true)));
    storeFlat(kernel, b, loc, kept, 0, iv[0]);
  });
}

//===- Gradient and import ------------------------------------------------------------------------------===//

/// Linear in x, and its own adjoint: the same elements dropped, the same scale.
void DropoutOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = getTraining() ? Value(DropoutOp::create(b, getLoc(), grads[0], getRng(), getRatioAttr(), getTrainingAttr(),
                                                     getNodeIdAttr()))
                           : grads[0];
}
void DropoutMaskOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}

/// Ratio and mode are attributes before opset 12, constant inputs since. The mode is what the file says; the train
/// phase sets it anew.
static ImportNode::Results importDropout(ImportNode &n) {
  if (!n.has(0))
    return n.error("its input is missing");
  double ratio = n.floatAttr("ratio", 0.5);
  bool training = n.opset < 7 && !n.intAttr("is_test", 0);
  if (n.has(1)) {
    auto values = n.constFloats(1);
    if (!values || values->size() != 1)
      return n.error("the ratio (input 1) is not one number known at compile time");
    ratio = values->front();
  }
  if (n.has(2)) {
    auto values = n.constInts(2);
    if (!values || values->size() != 1)
      return n.error("training_mode (input 2) is not one boolean known at compile time");
    training = values->front();
  }
  DropoutOp::Properties p;
  p.ratio = n.b.getF64FloatAttr(ratio);
  p.training = n.b.getBoolAttr(training);
  p.node_id = n.b.getI64IntegerAttr(static_cast<int64_t>(llvm::xxh3_64bits(n.name)));
  Value y = n.create<DropoutOp>({n.in(0)}, p);
  if (!y || !n.wants(1))
    return one(y);
  DropoutMaskOp::Properties m;
  m.ratio = p.ratio;
  m.training = p.training;
  m.node_id = p.node_id;
  Value mask = n.create<DropoutMaskOp>({n.in(0)}, m);
  if (!mask)
    return failure();
  // Before opset 10 the mask had the type of x.
  if (n.opset < 10)
    return n.error("its mask output is only supported from opset 10 on");
  return SmallVector<Value>{y, mask};
}

void registerRandomImports(ImportRegistry &r) {
  r.add("Dropout", {.import = importDropout, .nonDifferentiable = {1, 2}});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Random.cpp.inc"
