//===- Elementwise.cpp - what all elementwise ops share, nn.fused, cast, where, import ------------------===//

#include "dialects/NN/Elementwise.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace gmc::nn {

void registerElementwiseOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Elementwise.cpp.inc"
      >();
}

LogicalResult inferBroadcast(std::optional<Location> loc, ValueRange operands, Type elementType,
                             SmallVectorImpl<Type> &types) {
  SmallVector<ArrayRef<int64_t>> shapes;
  for (Value operand : operands)
    shapes.push_back(shapeOf(operand));
  auto shape = broadcastShapes(shapes);
  if (failed(shape)) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    llvm::interleave(operands, stream, [&](Value v) { stream << v.getType(); }, " and ");
    return emitOptionalError(loc, "shapes do not broadcast: ", text);
  }
  if (!elementType) {
    elementType = elementTypeOf(operands[0]);
    for (Value operand : operands)
      if (elementTypeOf(operand) != elementType)
        return emitOptionalError(loc, "element types differ: ", elementType, " and ", elementTypeOf(operand));
  }
  types.push_back(RankedTensorType::get(*shape, elementType));
  return success();
}

SmallVector<unsigned> elementwiseInPlace(Operation *op) {
  SmallVector<unsigned> candidates;
  Type result = op->getResult(0).getType();
  for (auto [i, type] : llvm::enumerate(op->getOperandTypes()))
    if (type == result)
      candidates.push_back(i);
  return candidates;
}

void emitElementwiseKernel(Operation *op, KernelBuilder &kernel) {
  auto scalarOp = cast<ScalarOpInterface>(op);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> operands;
    for (unsigned i = 0; i < op->getNumOperands(); ++i)
      operands.push_back(kernel.load(b, loc, i, kb::broadcastIndices(b, loc, ivs, kernel.operandShape(i))));
    kernel.store(b, loc, scalarOp.emitScalar(b, loc, operands), 0, ivs);
  });
}

Value fused(OpBuilder &b, Location loc, ValueRange operands, function_ref<Scalar(ArrayRef<Scalar>)> body,
            Type elementType) {
  if (!elementType)
    elementType = elementTypeOf(operands[0]);
  SmallVector<Type> types;
  if (failed(inferBroadcast(loc, operands, elementType, types)))
    llvm::report_fatal_error("gmc: operands of a fused region do not broadcast");
  auto op = FusedOp::create(b, loc, types[0], operands);
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&op.getBody());
  SmallVector<Scalar> arguments;
  for (Value operand : operands)
    arguments.emplace_back(b, loc, block->addArgument(signless(elementTypeOf(operand)), loc));
  Scalar result = body(arguments);
  YieldOp::create(b, loc, result.value());
  return op.getResult();
}

//===- nn.fused -----------------------------------------------------------------------------------------===//

LogicalResult FusedOp::verifyRegions() {
  Block &block = getBody().front();
  if (block.getNumArguments() != getInputs().size())
    return emitOpError("has ") << getInputs().size() << " inputs, its region takes " << block.getNumArguments();
  for (auto [argument, input] : llvm::zip(block.getArguments(), getInputs()))
    if (argument.getType() != signless(elementTypeOf(input)))
      return emitOpError("region argument of type ") << argument.getType() << " for input " << input.getType();
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getNumOperands() != 1 ||
      yield.getOperand(0).getType() != signless(elementTypeOf(getResult())))
    return emitOpError("region must yield one ") << elementTypeOf(getResult());
  if (getInputs().empty()) // a fill: any shape
    return success();
  SmallVector<ArrayRef<int64_t>> shapes;
  for (Value input : getInputs())
    shapes.push_back(shapeOf(input));
  auto shape = broadcastShapes(shapes);
  if (failed(shape) || *shape != shapeOf(getResult()))
    return emitOpError("inputs do not broadcast to the result's shape");
  return success();
}

int64_t FusedOp::getFlops() {
  int64_t perElement = 0;
  for (Operation &op : getBody().front().without_terminator())
    perElement += !op.hasTrait<OpTrait::ConstantLike>();
  return perElement * tensorType(getResult()).getNumElements();
}

void FusedOp::emitKernel(KernelBuilder &kernel) { emitElementwiseKernel(*this, kernel); }
SmallVector<unsigned> FusedOp::getInPlaceOperands(unsigned) { return elementwiseInPlace(*this); }

Value FusedOp::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {
  IRMapping map;
  Block &block = getBody().front();
  map.map(block.getArguments(), operands);
  for (Operation &op : block.without_terminator())
    b.clone(op, map);
  return map.lookupOrDefault(block.getTerminator()->getOperand(0));
}

//===- nn.cast, nn.where --------------------------------------------------------------------------------===//

Value CastOp::emitScalar(OpBuilder &b, Location loc, ValueRange operands) {
  return convert(Scalar(b, loc, operands[0]), signless(getTo()), elementTypeOf(getX()).isUnsignedInteger(),
                 getTo().isUnsignedInteger())
      .value();
}

void CastOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0] && isa<FloatType>(elementTypeOf(getX())))
    out[0] = CastOp::create(b, getLoc(), grads[0], TypeAttr::get(elementTypeOf(getX())));
}

Value WhereOp::emitScalar(OpBuilder &b, Location loc, ValueRange v) {
  return arith::SelectOp::create(b, loc, v[0], v[1], v[2]);
}

void WhereOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (!grads[0])
    return;
  for (unsigned i : {1u, 2u})
    if (needed[i]) {
      Value g = fused(b, getLoc(), {getCondition(), grads[0]},
                      [&](ArrayRef<Scalar> v) { return i == 1 ? select(v[0], v[1], 0.0) : select(v[0], 0.0, v[1]); },
                      elementTypeOf(grads[0]));
      out[i] = unbroadcast(b, getLoc(), g, tensorType(getOperand(i)));
    }
}

//===- Import -------------------------------------------------------------------------------------------===//

template <typename OpT> static ImportRule simple(int64_t minOpset = 1) {
  return {.import = [](ImportNode &n) { return one(n.create<OpT>({n.in(0)})); },
          .minOpset = minOpset,
          .elementwise = true};
}

/// An operator with float attributes, given as (ONNX name, default) in the order of the op's properties.
template <typename OpT> static ImportRule alpha(double otherwise) {
  return {.import =
              [otherwise](ImportNode &n) {
                typename OpT::Properties p;
                p.alpha = n.b.getF64FloatAttr(n.floatAttr("alpha", otherwise));
                return one(n.create<OpT>({n.in(0)}, p));
              },
          .elementwise = true};
}

/// Before opset 7, `broadcast` = 1 aligned the second operand at `axis`.
static Value legacyBroadcast(ImportNode &n) {
  Value rhs = n.in(1);
  if (n.opset >= 7 || !n.intAttr("broadcast", 0) || !n.hasAttr("axis"))
    return rhs;
  int64_t axis = n.intAttr("axis", 0), rank = n.rank(0);
  SmallVector<int64_t> shape(n.shape(1));
  for (int64_t d = (axis < 0 ? axis + rank : axis) + n.rank(1); d < rank; ++d)
    shape.push_back(1);
  return reshapeTo(n, rhs, shape);
}

template <typename OpT> static ImportRule binary(int64_t minOpset = 1) {
  return {.import = [](ImportNode &n) { return one(n.create<OpT>({n.in(0), legacyBroadcast(n)})); },
          .minOpset = minOpset,
          .elementwise = true};
}

/// Max, Min, Sum, Mean of any number of inputs: a chain of binary ops.
template <typename OpT> static ImportRule variadic(bool mean = false) {
  return {.import =
              [mean](ImportNode &n) -> ImportNode::Results {
                Value sum = n.in(0);
                for (size_t i = 1; sum && i < n.numInputs(); ++i)
                  sum = n.create<OpT>({sum, n.in(i)});
                if (mean && sum)
                  sum = n.create<DivOp>({sum, n.floatScalar(elementTypeOf(sum), n.numInputs())});
                return one(sum);
              },
          .elementwise = true};
}

static ImportNode::Results importClip(ImportNode &n) {
  Value x = n.in(0);
  Type type = n.elementType(0);
  Value low = n.in(1), high = n.in(2);
  if (n.opset < 11) {
    low = n.hasAttr("min") ? n.floatScalar(type, n.floatAttr("min", 0)) : Value();
    high = n.hasAttr("max") ? n.floatScalar(type, n.floatAttr("max", 0)) : Value();
  }
  if (low)
    x = n.create<MaxOp>({x, low});
  if (high && x)
    x = n.create<MinOp>({x, high});
  return one(x);
}

static ImportNode::Results importCast(ImportNode &n) {
  Type to = n.opType == "CastLike" ? n.elementType(1) : n.onnxType(n.intAttr("to", 0));
  if (!to)
    return n.error("cast to data type " + Twine(n.intAttr("to", 0)) + " is not supported");
  if (to == n.elementType(0))
    return one(n.in(0));
  CastOp::Properties p;
  p.to = TypeAttr::get(to);
  return one(n.create<CastOp>({n.in(0)}, p));
}

/// x - bias right of lambd, x + bias left of -lambd, 0 between.
static ImportNode::Results importShrink(ImportNode &n) {
  Type type = n.elementType(0);
  if (!isa<FloatType>(type))
    return n.error("integers are not supported");
  double bias = n.floatAttr("bias", 0.0), limit = n.floatAttr("lambd", 0.5);
  Value x = n.in(0), offset = n.floatScalar(type, bias);
  Value right = n.create<GreaterOp>({x, n.floatScalar(type, limit)});
  Value left = n.create<LessOp>({x, n.floatScalar(type, -limit)});
  Value lowered = n.create<SubOp>({x, offset}), raised = n.create<AddOp>({x, offset});
  if (!right || !left || !lowered || !raised)
    return failure();
  Value rest = n.create<WhereOp>({left, raised, n.floatScalar(type, 0.0)});
  return one(rest ? n.create<WhereOp>({right, lowered, rest}) : Value());
}

static ImportNode::Results importPRelu(ImportNode &n) {
  Value slope = n.in(1);
  // Before opset 7 the slope had one element a channel (axis 1).
  if (n.opset < 7 && n.rank(1) == 1 && n.rank(0) > 2 && n.shape(1)[0] > 1) {
    SmallVector<int64_t> shape{n.shape(1)[0]};
    shape.append(n.rank(0) - 2, 1);
    slope = reshapeTo(n, slope, shape);
  }
  return one(slope ? n.create<PReluOp>({n.in(0), slope}) : Value());
}

void registerElementwiseImports(ImportRegistry &r) {
  r.add("Relu", simple<ReluOp>());
  r.add("Sigmoid", simple<SigmoidOp>());
  r.add("Tanh", simple<TanhOp>());
  r.add("Erf", simple<ErfOp>());
  r.add("Exp", simple<ExpOp>());
  r.add("Log", simple<LogOp>());
  r.add("Sqrt", simple<SqrtOp>());
  r.add("Reciprocal", simple<ReciprocalOp>());
  r.add("Neg", simple<NegOp>());
  r.add("Abs", simple<AbsOp>());
  r.add("Sign", simple<SignOp>());
  r.add("Floor", simple<FloorOp>());
  r.add("Ceil", simple<CeilOp>());
  r.add("Round", simple<RoundOp>());
  r.add("Sin", simple<SinOp>());
  r.add("Cos", simple<CosOp>());
  r.add("Tan", simple<TanOp>());
  r.add("Asin", simple<AsinOp>());
  r.add("Acos", simple<AcosOp>());
  r.add("Atan", simple<AtanOp>());
  r.add("Sinh", simple<SinhOp>());
  r.add("Cosh", simple<CoshOp>());
  r.add("Asinh", simple<AsinhOp>());
  r.add("Acosh", simple<AcoshOp>());
  r.add("Atanh", simple<AtanhOp>());
  r.add("Softplus", simple<SoftplusOp>());
  r.add("Softsign", simple<SoftsignOp>());
  r.add("HardSwish", simple<HardSwishOp>());
  r.add("Mish", simple<MishOp>());
  r.add("Not", simple<NotOp>());
  r.add("IsNaN", simple<IsNaNOp>());
  r.add("LeakyRelu", alpha<LeakyReluOp>(0.01));
  r.add("Elu", alpha<EluOp>(1.0));
  r.add("Celu", alpha<CeluOp>(1.0));
  r.add("ThresholdedRelu", alpha<ThresholdedReluOp>(1.0));
  r.add("Swish", alpha<SwishOp>(1.0));
  r.add("Identity", {.import = [](ImportNode &n) { return one(n.in(0)); }, .sameValue = true});
  r.add("IsInf", {.import = [](ImportNode &n) {
          IsInfOp::Properties p;
          p.detect_negative = n.b.getBoolAttr(n.intAttr("detect_negative", 1));
          p.detect_positive = n.b.getBoolAttr(n.intAttr("detect_positive", 1));
          return one(n.create<IsInfOp>({n.in(0)}, p));
        }});
  r.add("Gelu", {.import =
                     [](ImportNode &n) {
                       GeluOp::Properties p;
                       p.tanh_approximation = n.b.getBoolAttr(n.stringAttr("approximate", "none") == "tanh");
                       return one(n.create<GeluOp>({n.in(0)}, p));
                     },
                 .elementwise = true});
  r.add("Selu", {.import =
                     [](ImportNode &n) {
                       SeluOp::Properties p;
                       p.alpha = n.b.getF64FloatAttr(n.floatAttr("alpha", 1.67326319217681884765625));
                       p.gamma = n.b.getF64FloatAttr(n.floatAttr("gamma", 1.05070102214813232421875));
                       return one(n.create<SeluOp>({n.in(0)}, p));
                     },
                 .elementwise = true});
  r.add("HardSigmoid", {.import =
                            [](ImportNode &n) {
                              HardSigmoidOp::Properties p;
                              p.alpha = n.b.getF64FloatAttr(n.floatAttr("alpha", 0.2f));
                              p.beta = n.b.getF64FloatAttr(n.floatAttr("beta", 0.5));
                              return one(n.create<HardSigmoidOp>({n.in(0)}, p));
                            },
                        .elementwise = true});

  r.add("Add", binary<AddOp>());
  r.add("Sub", binary<SubOp>());
  r.add("Mul", binary<MulOp>());
  r.add("Div", binary<DivOp>());
  r.add("Pow", binary<PowOp>());
  r.add("PRelu", {.import = importPRelu});
  r.add("Shrink", {.import = importShrink});
  r.add("Mod", {.import =
                    [](ImportNode &n) {
                      ModOp::Properties p;
                      p.fmod = n.b.getBoolAttr(n.intAttr("fmod", 0));
                      return one(n.create<ModOp>({n.in(0), n.in(1)}, p));
                    },
                .elementwise = true});
  r.add("Equal", binary<EqualOp>());
  r.add("Less", binary<LessOp>());
  r.add("LessOrEqual", binary<LessOrEqualOp>());
  r.add("Greater", binary<GreaterOp>());
  r.add("GreaterOrEqual", binary<GreaterOrEqualOp>());
  r.add("And", binary<AndOp>());
  r.add("Or", binary<OrOp>());
  r.add("Xor", binary<XorOp>());
  r.add("BitwiseAnd", binary<BitAndOp>());
  r.add("BitwiseOr", binary<BitOrOp>());
  r.add("BitwiseXor", binary<BitXorOp>());
  r.add("BitwiseNot", {.import = [](ImportNode &n) {
          auto type = RankedTensorType::get({}, n.elementType(0));
          APInt ones = APInt::getAllOnes(n.elementType(0).getIntOrFloatBitWidth());
          return one(n.create<BitXorOp>({n.in(0), n.constant(DenseElementsAttr::get(type, ones))}));
        }});
  r.add("Max", variadic<MaxOp>());
  r.add("Min", variadic<MinOp>());
  r.add("Sum", variadic<AddOp>());
  r.add("Mean", variadic<AddOp>(/*mean=*/true));
  r.add("Clip", {.import = importClip, .elementwise = true});
  r.add("Cast", {.import = importCast, .sameValue = true});
  r.add("CastLike", {.import = importCast, .nonDifferentiable = {1}, .sameValue = true});
  r.add("Where", {.import = [](ImportNode &n) { return one(n.create<WhereOp>({n.in(0), n.in(1), n.in(2)})); },
                  .elementwise = true,
                  .nonDifferentiable = {0}});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Elementwise.cpp.inc"
