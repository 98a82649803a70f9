//===- Loss.cpp - kernels and gradients of the losses ---------------------------------------------------===//

#include "dialects/NN/Loss.h"
#include "dialects/NN/GpuRows.h"
#include "dialects/NN/GpuStage.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <limits>

using namespace mlir;

namespace gmc::nn {

//===- Types and checks ---------------------------------------------------------------------------------===//

/// tensor<1xf64> for f64 operands, tensor<1xf32> otherwise.
static RankedTensorType lossType(Value x) {
  Type element = elementTypeOf(x);
  return RankedTensorType::get({1}, element.isF64() ? element : Float32Type::get(element.getContext()));
}

static LogicalResult checkValidSamples(std::optional<Location> loc, Value validSamples) {
  if (validSamples && tensorType(validSamples).getNumElements() != 1)
    return emitOptionalError(loc, "the number of valid samples is one i64, not ", validSamples.getType());
  return success();
}

static LogicalResult checkClassLoss(std::optional<Location> loc, Type xType, Type labelsType, Value weights,
                                    Value validSamples, int64_t axis) {
  auto x = cast<RankedTensorType>(xType), labels = cast<RankedTensorType>(labelsType);
  if (axis < 0 || axis >= x.getRank())
    return emitOptionalError(loc, "class axis ", axis, " is outside rank ", x.getRank());
  SmallVector<int64_t> expected(x.getShape());
  expected.erase(expected.begin() + axis);
  if (labels.getShape() != ArrayRef(expected))
    return emitOptionalError(loc, "labels ", labels, " do not fit ", x, " with classes on axis ", axis);
  if (weights && shapeOf(weights) != ArrayRef(x.getDimSize(axis)))
    return emitOptionalError(loc, "class weights ", weights.getType(), " for ", x.getDimSize(axis), " classes");
  return checkValidSamples(loc, validSamples);
}

static LogicalResult checkPointwiseLoss(std::optional<Location> loc, Value x, Value target, Value validSamples) {
  if (x.getType() != target.getType())
    return emitOptionalError(loc, "target ", target.getType(), " differs in type from ", x.getType());
  return checkValidSamples(loc, validSamples);
}

/// Into how many parts the sum over `elements` is split: a function of the count alone.
static int64_t lossParts(int64_t elements) { return std::clamp<int64_t>(elements / 2048, 1, 512); }

//===- Support ------------------------------------------------------------------------------------------===//

namespace {
/// Where a classification loss finds its operands (-1: absent), and what its labels mean.
struct LabelOperands {
  int labels = -1, weights = -1, validSamples = -1;
  int64_t ignoreIndex = -100, classes = 0;
};

/// One label during a kernel: its indices in the labels, and what it selects.
struct LabelRow {
  LabelRow(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, ArrayRef<mlir::Value> indices,
           const LabelOperands &operands);
  /// Weight of the row as `type`: its class weight (1 without), 0 when it is not valid.
  mlir::Value weight(KernelBuilder &kernel, mlir::OpBuilder &b, mlir::Location loc, const LabelOperands &operands,
                     mlir::Type type) const;

  SmallVector<mlir::Value> indices;
  mlir::Value valid;  ///< i1: counts at all
  mlir::Value inside; ///< i1: is one of the classes
  mlir::Value index;  ///< the class; 0 when it is outside, so that reading with it is safe
};
} // namespace

LabelRow::LabelRow(KernelBuilder &kernel, OpBuilder &b, Location loc, ArrayRef<Value> at, const LabelOperands &operands)
    : indices(at) {
  Value label = kernel.load(b, loc, operands.labels, indices);
  Type type = label.getType();
  Value ignore = arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, operands.ignoreIndex));
  valid = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, label, ignore);
  if (operands.validSamples >= 0 && !indices.empty()) {
    Value rows = kb::toIndex(b, loc, kernel.load(b, loc, operands.validSamples, {kb::idx(b, loc, 0)}));
    Value real = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, indices[0], rows);
    valid = arith::AndIOp::create(b, loc, valid, real);
  }
  Value zero = kb::idx(b, loc, 0), classes = kb::idx(b, loc, operands.classes), raw = kb::toIndex(b, loc, label);
  inside = kb::inRange(b, loc, raw, zero, classes);
  index = arith::SelectOp::create(b, loc, inside, raw, zero);
}

Value LabelRow::weight(KernelBuilder &kernel, OpBuilder &b, Location loc, const LabelOperands &operands,
                       Type type) const {
  Scalar one = Scalar(b, loc, kb::constant(b, loc, type, 1));
  Scalar w = operands.weights < 0
                 ? one
                 : convert(Scalar(b, loc, kernel.load(b, loc, operands.weights, {index})), type);
  return select(Scalar(b, loc, valid), w, 0.0).value();
}

/// The classes of each label, on a GPU, where they are neighbours: nullopt where an iteration a label reads what it
/// needs.
static std::optional<RowLayout> classRows(KernelBuilder &kernel, ArrayRef<int64_t> shape, int64_t axis,
                                          ElementBytes bytes) {
  if (kernel.target() != KernelTarget::Gpu || numElements(shape.drop_front(axis + 1)) != 1)
    return std::nullopt;
  int64_t elements = numElements(shape);
  return RowLayout{elements / std::max<int64_t>(shape[axis], 1), shape[axis], elements, bytes};
}

/// The nest of a kernel that has a label an iteration, or a row of classes: calls body(label, its number, the row or
/// null).
static void overLabels(KernelBuilder &kernel, const LabelOperands &operands, const std::optional<RowLayout> &layout,
                       function_ref<void(OpBuilder &, Location, const LabelRow &, Value, GpuRow *)> body) {
  ArrayRef<int64_t> shape = kernel.operandShape(operands.labels);
  if (layout)
    return emitGpuRows(kernel, *layout, [&](OpBuilder &b, Location loc, GpuRow &row) {
      body(b, loc, LabelRow(kernel, b, loc, kb::delinearize(b, loc, row.index(), shape), operands), row.index(), &row);
    });
  overPositions(kernel, shape, [&](OpBuilder &b, Location loc, ArrayRef<Value> at, Value number) {
    body(b, loc, LabelRow(kernel, b, loc, at, operands), number, nullptr);
  });
}

/// Loss and weight of every label into the workspaces, then their totals. `loss` computes the unweighted loss of a row;
/// where it reads all classes, `layout` says so.
static void
emitClassLoss(KernelBuilder &kernel, const LabelOperands &operands, const std::optional<RowLayout> &layout,
              function_ref<Value(OpBuilder &, Location, const LabelRow &, Type, GpuRow *)> loss) {
  Type type = kernel.resultElementType(0);
  int64_t rows = numElements(kernel.operandShape(operands.labels));
  overLabels(kernel, operands, layout, [&](OpBuilder &b, Location loc, const LabelRow &row, Value index, GpuRow *gpu) {
    Scalar weight(b, loc, row.weight(kernel, b, loc, operands, type));
    Scalar value(b, loc, loss(b, loc, row, type, gpu));
    // A label outside the classes must not go unnoticed: it poisons the sum.
    value = select(Scalar(b, loc, row.inside), value, std::numeric_limits<double>::quiet_NaN());
    value = select(Scalar(b, loc, row.valid), value * weight, 0.0);
    for (auto [i, number] : llvm::enumerate(SmallVector<Scalar>{value, weight})) {
      Value buffer = kernel.workspace(b, i, {rows}, type);
      gpu ? gpu->storeNumber(b, loc, number.value(), buffer) : storeWorkspace(b, loc, number.value(), buffer, {index});
    }
  });
  storeTotal(kernel, 0, rows);
  storeTotal(kernel, 1, rows);
}

template <typename OpT> static LabelOperands labelOperands(OpT op, int64_t classes) {
  LabelOperands result;
  auto position = [&](Value value) {
    return value ? static_cast<int>(llvm::find(op->getOperands(), value) - op->operand_begin()) : -1;
  };
  result.labels = position(op.getLabels());
  if constexpr (requires { op.getWeights(); })
    result.weights = position(op.getWeights());
  if constexpr (requires { op.getValidSamples(); })
    result.validSamples = position(op.getValidSamples());
  result.ignoreIndex = op.getIgnoreIndex();
  result.classes = classes;
  return result;
}

template <typename OpT> static int64_t numClasses(OpT op) { return shapeOf(op.getX())[op.getClassAxis()]; }

//===- Softmax cross-entropy ----------------------------------------------------------------------------===//

/// Element `c` of the class axis of operand 0 in a row, as `type`.
static Scalar classElement(KernelBuilder &kernel, OpBuilder &b, Location loc, ArrayRef<Value> row, int64_t axis,
                           Value c, Type type) {
  return loadAlong(kernel, b, loc, 0, row, axis, c, type);
}

/// The same of a label's own class. On a GPU out of the vector that has it, where classes are neighbours; where labels
/// are, it is taken when its turn comes, so that neighbouring labels read neighbours only.
static Scalar ownElement(KernelBuilder &kernel, OpBuilder &b, Location loc, const LabelRow &row, int64_t axis,
                         int64_t classes, Type type, GpuRow *gpu) {
  auto choose = [](OpBuilder &b, Location l, Value x, Value y, Value yes, Value no) -> Value {
    return arith::SelectOp::create(b, l, arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, x, y), yes, no);
  };
  if (kernel.target() != KernelTarget::Gpu)
    return classElement(kernel, b, loc, row.indices, axis, row.index, type);
  if (gpu) {
    int64_t lanes = 16 / kernel.operandBytes(0);
    Value position = kb::add(b, loc, kb::mul(b, loc, gpu->index(), kb::idx(b, loc, classes)), row.index),
          width = kb::idx(b, loc, lanes);
    Value lane = kb::rem(b, loc, position, width);
    SmallVector<Value> vector =
        loadChunk(kernel, b, loc, 0, kb::sub(b, loc, position, lane), lanes, /*present=*/nullptr);
    Value own = vector[0];
    for (int64_t k = 1; k < lanes; ++k)
      own = choose(b, loc, lane, kb::idx(b, loc, k), vector[k], own);
    return convert(Scalar(b, loc, own), type);
  }
  Value own = KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, classes), kb::constant(b, loc, type, 0),
                                  [&](OpBuilder &b, Location l, Value c, Value acc) {
                                    Scalar x = classElement(kernel, b, l, row.indices, axis, c, type);
                                    return choose(b, l, c, row.index, x.value(), acc);
                                  });
  return Scalar(b, loc, own);
}

int64_t SoftmaxCrossEntropyOp::getFlops() { return 4 * tensorType(getX()).getNumElements(); }

void SoftmaxCrossEntropyOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getClassAxis(), classes = numClasses(*this);
  emitClassLoss(kernel, labelOperands(*this, classes),
                classRows(kernel, kernel.operandShape(0), axis, accessedBytes(kernel, {0})),
                [&](OpBuilder &b, Location loc, const LabelRow &row, Type type, GpuRow *gpu) {
                  RowStatistics s = gpu ? softmaxStatistics(*gpu, b, loc, type)
                                        : softmaxStatistics(kernel, b, loc, row.indices, axis, classes, type);
                  Scalar x = ownElement(kernel, b, loc, row, axis, classes, type, gpu);
                  return (x.with(s.max) - x + log(x.with(s.sum))).value();
                });
}

void SoftmaxCrossEntropyOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                          MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = SoftmaxCrossEntropyGradOp::create(b, getLoc(), getX(), getLabels(), grads[0], getWeights(),
                                               getValidSamples(), getClassAxisAttr(), getIgnoreIndexAttr());
}

int64_t SoftmaxCrossEntropyGradOp::getFlops() { return 6 * tensorType(getX()).getNumElements(); }
SmallVector<unsigned> SoftmaxCrossEntropyGradOp::getInPlaceOperands(unsigned) { return {0}; }

void SoftmaxCrossEntropyGradOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getClassAxis(), classes = numClasses(*this);
  LabelOperands operands = labelOperands(*this, classes);
  Type element = kernel.resultElementType(0), type = computeType(element);
  auto layout = classRows(kernel, kernel.operandShape(0), axis, accessedBytes(kernel, {0}, {0}));
  overLabels(kernel, operands, layout, [&](OpBuilder &b, Location loc, const LabelRow &row, Value, GpuRow *gpu) {
    auto storeRow = [&](OpBuilder &b, Location loc, function_ref<Scalar(OpBuilder &, Location, RowAt)> value) {
      if (gpu)
        return gpu->store(b, loc, 0, value);
      KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, classes), [&](OpBuilder &b, Location l, Value c) {
        SmallVector<Value> indices;
        insertIndex(indices, row.indices, axis, c);
        kernel.store(b, l, convert(value(b, l, c), element).value(), 0, indices);
      });
    };
    auto write = [&](OpBuilder &b, Location loc) {
      Scalar g = convert(Scalar(b, loc, kernel.load(b, loc, 2, {kb::idx(b, loc, 0)})), type);
      g = g * g.with(row.weight(kernel, b, loc, operands, type));
      RowStatistics s = gpu ? softmaxStatistics(*gpu, b, loc, type)
                            : softmaxStatistics(kernel, b, loc, row.indices, axis, classes, type);
      Scalar scale = g / g.with(s.sum);
      storeRow(b, loc, [&](OpBuilder &b, Location l, RowAt c) {
        Scalar x =
            gpu ? gpu->load(b, l, 0, *c.element, type) : classElement(kernel, b, l, row.indices, axis, c.index, type);
        Scalar p = exp(x - x.with(s.max)) * Scalar(b, l, scale.value());
        Scalar hit(b, l, arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, c.index, row.index));
        p = select(hit, p - Scalar(b, l, g.value()), p);
        return kernel.target() == KernelTarget::Gpu ? select(Scalar(b, l, row.valid), p, 0.0) : p;
      });
    };
    if (kernel.target() == KernelTarget::Gpu) // neighbouring threads go the same way
      return write(b, loc);
    ifElse(b, loc, row.valid, write, [&](OpBuilder &b, Location loc) {
      storeRow(b, loc, [&](OpBuilder &b, Location l, RowAt) { return Scalar(b, l, kb::constant(b, l, type, 0)); });
    });
  });
}

//===- Negative log likelihood --------------------------------------------------------------------------===//

int64_t NllLossOp::getFlops() { return 2 * tensorType(getLabels()).getNumElements(); }

void NllLossOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getClassAxis();
  emitClassLoss(kernel, labelOperands(*this, numClasses(*this)), std::nullopt,
                [&](OpBuilder &b, Location loc, const LabelRow &row, Type type, GpuRow *) {
                  return (-classElement(kernel, b, loc, row.indices, axis, row.index, type)).value();
                });
}

void NllLossOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = NllGradOp::create(b, getLoc(), getLabels(), grads[0], getWeights(), getValidSamples(),
                               TypeAttr::get(getX().getType()), getClassAxisAttr(), getIgnoreIndexAttr());
}

int64_t NllRowsOp::getFlops() { return 2 * tensorType(getLabels()).getNumElements(); }

void NllRowsOp::emitKernel(KernelBuilder &kernel) {
  LabelOperands operands = labelOperands(*this, numClasses(*this));
  Type element = kernel.resultElementType(0), type = computeType(element);
  overLabels(kernel, operands, std::nullopt, [&](OpBuilder &b, Location loc, const LabelRow &row, Value, GpuRow *) {
    Scalar x = classElement(kernel, b, loc, row.indices, getClassAxis(), row.index, type);
    x = select(Scalar(b, loc, row.inside), -x, std::numeric_limits<double>::quiet_NaN());
    x = select(Scalar(b, loc, row.valid), x * x.with(row.weight(kernel, b, loc, operands, type)), 0.0);
    kernel.store(b, loc, convert(x, element).value(), 0, row.indices);
  });
}

void NllRowsOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = NllGradOp::create(b, getLoc(), getLabels(), grads[0], getWeights(), Value(),
                               TypeAttr::get(getX().getType()), getClassAxisAttr(), getIgnoreIndexAttr());
}

int64_t NllGradOp::getFlops() { return tensorType(getResult()).getNumElements(); }
SmallVector<unsigned> NllGradOp::getInPlaceOperands(unsigned) { return {}; }

void NllGradOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getClassAxis(), classes = kernel.resultShape(0)[axis];
  LabelOperands operands = labelOperands(*this, classes);
  Type element = kernel.resultElementType(0), type = computeType(element);
  bool perRow = shapeOf(getG()) == shapeOf(getLabels());
  auto layout = classRows(kernel, kernel.resultShape(0), axis, accessedBytes(kernel, {}, {0}));
  overLabels(kernel, operands, layout, [&](OpBuilder &b, Location loc, const LabelRow &row, Value, GpuRow *gpu) {
    Value zero = kb::idx(b, loc, 0);
    Value g = perRow ? kernel.load(b, loc, 1, row.indices)
                     : kernel.load(b, loc, 1, SmallVector<Value>(shapeOf(getG()).size(), zero));
    Scalar hitValue = -convert(Scalar(b, loc, g), type);
    hitValue = hitValue * hitValue.with(row.weight(kernel, b, loc, operands, type));
    hitValue = select(Scalar(b, loc, row.valid), hitValue, 0.0);
    auto value = [&](OpBuilder &b, Location l, RowAt c) {
      Scalar hit(b, l, arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, c.index, row.index));
      return select(hit, Scalar(b, l, hitValue.value()), 0.0);
    };
    if (gpu)
      return gpu->store(b, loc, 0, value);
    KernelBuilder::loop(b, loc, zero, kb::idx(b, loc, classes), [&](OpBuilder &b, Location l, Value c) {
      SmallVector<Value> indices;
      insertIndex(indices, row.indices, axis, c);
      kernel.store(b, l, convert(value(b, l, c), element).value(), 0, indices);
    });
  });
}

//===- Accuracy -----------------------------------------------------------------------------------------===//

int64_t CountCorrectOp::getFlops() { return tensorType(getX()).getNumElements(); }

void CountCorrectOp::emitKernel(KernelBuilder &kernel) {
  int64_t axis = getClassAxis(), classes = numClasses(*this);
  LabelOperands operands = labelOperands(*this, classes);
  Type type = computeType(kernel.operandElementType(0)), count = kernel.resultElementType(0);
  int64_t rows = numElements(kernel.operandShape(1));
  auto layout = classRows(kernel, kernel.operandShape(0), axis, accessedBytes(kernel, {0}));
  overLabels(kernel, operands, layout, [&](OpBuilder &b, Location loc, const LabelRow &row, Value index, GpuRow *gpu) {
    Scalar own = ownElement(kernel, b, loc, row, axis, classes, type, gpu);
    // Correct when no class is larger and no earlier class is as large; a NaN in the row is never correct.
    Value none = kb::constant(b, loc, b.getI32Type(), 0);
    auto loses = [&](OpBuilder &b, Location l, Value c, Scalar x) -> Value {
      Scalar mine(b, l, own.value()),
          earlier(b, l, arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, c, row.index));
      return arith::ExtUIOp::create(b, l, none.getType(), (!(x <= mine) | (earlier & (x == mine))).value());
    };
    auto either = [](OpBuilder &b, Location l, Value x, Value y) -> Value { return arith::OrIOp::create(b, l, x, y); };
    Value beaten =
        gpu ? gpu->reduce(
                  b, loc, none,
                  [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
                    return SmallVector<Value>{loses(b, l, e.index, gpu->load(b, l, 0, e, type))};
                  },
                  either)[0]
            : KernelBuilder::fold(
                  b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, classes), none,
                  [&](OpBuilder &b, Location l, Value c, Value acc) {
                    return either(b, l, acc, loses(b, l, c, classElement(kernel, b, l, row.indices, axis, c, type)));
                  });
    Scalar correct = (Scalar(b, loc, beaten) == 0.0) & Scalar(b, loc, row.valid) & Scalar(b, loc, row.inside);
    Scalar one(b, loc, kb::constant(b, loc, count, 1));
    Value value = select(correct, one, 0.0).value();
    auto store = [&](OpBuilder &b, Location l) {
      storeWorkspace(b, l, value, kernel.workspace(b, 0, {rows}, count), {index});
    };
    gpu ? gpu->once(b, loc, store) : store(b, loc);
  });
  storeTotal(kernel, 0, rows);
}

//===- Elementwise losses -------------------------------------------------------------------------------===//

Scalar MseLossOp::value(Scalar x, Scalar t) { return (x - t) * (x - t); }
Scalar MseLossOp::derivative(Scalar x, Scalar t) { return 2.0 * (x - t); }
Scalar L1LossOp::value(Scalar x, Scalar t) { return abs(x - t); }
Scalar L1LossOp::derivative(Scalar x, Scalar t) {
  Scalar one = x.constant(1);
  return select(x > t, one, select(x < t, -one, 0.0));
}
Scalar BceLossOp::value(Scalar x, Scalar t) {
  return (t - 1.0) * maximum(log1p(-x), -100.0) - t * maximum(log(x), -100.0);
}
Scalar BceLossOp::derivative(Scalar x, Scalar t) { return (x - t) / maximum((1.0 - x) * x, 1e-12); }
Scalar BceLogitsLossOp::value(Scalar x, Scalar t) { return maximum(x, 0.0) - x * t + log1p(exp(-abs(x))); }
Scalar BceLogitsLossOp::derivative(Scalar x, Scalar t) { return sigmoid(x) - t; }

/// Whether the element at linear position `i` of a tensor whose rows have `rowSize` elements lies in a valid row.
static Value inValidRow(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned operand, Value i, int64_t rowSize) {
  Value rows = kb::toIndex(b, loc, kernel.load(b, loc, operand, {kb::idx(b, loc, 0)}));
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, i,
                               kb::mul(b, loc, rows, kb::idx(b, loc, rowSize)));
}

static void emitPointwiseLoss(KernelBuilder &kernel, bool masked, Scalar (*value)(Scalar, Scalar)) {
  SmallVector<int64_t> shape(kernel.operandShape(0));
  int64_t elements = numElements(shape), parts = lossParts(elements), chunk = (elements + parts - 1) / parts;
  int64_t rowSize = shape.empty() ? 1 : elements / std::max<int64_t>(shape[0], 1);
  Type type = kernel.resultElementType(0);
  auto term = [&](OpBuilder &b, Location l, Value i, Scalar x, Scalar t) {
    Scalar loss = value(x, t);
    if (masked) // what lies in a row that is not real may be anything
      loss = select(Scalar(b, l, inValidRow(kernel, b, l, 2, i, rowSize)), loss, 0.0);
    return loss;
  };
  if (kernel.target() == KernelTarget::Gpu && elements > 0)
    emitGpuRows(kernel, cutIntoRows(elements, parts, accessedBytes(kernel, {0, 1})),
                [&](OpBuilder &b, Location loc, GpuRow &row) {
                  Value sum = row.sum(b, loc, type, [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
                    return term(b, l, row.position(b, l, e), row.load(b, l, 0, e, type), row.load(b, l, 1, e, type));
                  });
                  row.once(b, loc, [&](OpBuilder &b, Location l) {
                    storeWorkspace(b, l, sum, kernel.workspace(b, 0, {parts}, type), {row.index()});
                  });
                });
  else
    kernel.parallel({parts}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
      Value lo = kb::mul(b, loc, ivs[0], kb::idx(b, loc, chunk));
      Value hi = kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, chunk)), kb::idx(b, loc, elements));
      Value sum = KernelBuilder::fold(
          b, loc, lo, hi, kb::constant(b, loc, type, 0), [&](OpBuilder &b, Location l, Value i, Value acc) {
            SmallVector<Value> indices = kb::delinearize(b, l, i, shape);
            Scalar x = convert(Scalar(b, l, kernel.load(b, l, 0, indices)), type);
            Scalar t = convert(Scalar(b, l, kernel.load(b, l, 1, indices)), type);
            return KernelBuilder::addReassoc(b, l, acc, term(b, l, i, x, t).value());
          });
      storeWorkspace(b, loc, sum, kernel.workspace(b, 0, {parts}, type), ivs);
    });
  storeTotal(kernel, 0, parts);
  kernel.parallel({1}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value count = kb::idx(b, loc, elements);
    if (masked && !shape.empty()) {
      Value rows = kb::toIndex(b, loc, kernel.load(b, loc, 2, ivs));
      rows = kb::max(b, loc, kb::min(b, loc, rows, kb::idx(b, loc, shape[0])), kb::idx(b, loc, 0));
      count = kb::mul(b, loc, rows, kb::idx(b, loc, rowSize));
    }
    Value integer = kb::fromIndex(b, loc, count, b.getI64Type());
    kernel.store(b, loc, convert(Scalar(b, loc, integer), type).value(), 1, ivs);
  });
}

static void emitPointwiseLossGrad(KernelBuilder &kernel, bool masked, Scalar (*derivative)(Scalar, Scalar)) {
  SmallVector<int64_t> shape(kernel.resultShape(0));
  Type element = kernel.resultElementType(0), type = computeType(element);
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Scalar x = convert(Scalar(b, loc, kernel.load(b, loc, 0, ivs)), type);
    Scalar t = convert(Scalar(b, loc, kernel.load(b, loc, 1, ivs)), type);
    Scalar g = convert(Scalar(b, loc, kernel.load(b, loc, 2, {kb::idx(b, loc, 0)})), type);
    Scalar dx = derivative(x, t) * g;
    if (masked && !shape.empty())
      dx = select(Scalar(b, loc, inValidRow(kernel, b, loc, 3, ivs[0], 1)), dx, 0.0);
    kernel.store(b, loc, convert(dx, element).value(), 0, ivs);
  });
}

void registerLossOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Loss.cpp.inc"
      >();
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Loss.cpp.inc"
