#include "dialects/NN/LayerNorm.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/GpuRows.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Reduce.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc::nn {

static int64_t rowSize(RankedTensorType type, int64_t axis) { return numElements(type.getShape().drop_front(axis)); }
static int64_t rowCount(RankedTensorType type, int64_t axis) { return numElements(type.getShape().take_front(axis)); }

static LogicalResult checkAxis(std::optional<Location> loc, Value x, int64_t axis) {
  if (axis < 0 || axis >= tensorType(x).getRank())
    return emitOptionalError(loc, "axis ", axis, " is outside ", x.getType());
  return success();
}

static LogicalResult checkLayerNormGrad(std::optional<Location> loc, Value x, Value g, int64_t axis) {
  if (x.getType() != g.getType())
    return emitOptionalError(loc, "gradient ", g.getType(), " of ", x.getType());
  return checkAxis(loc, x, axis);
}

LogicalResult LayerNormOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(adaptor.getX());
  if (failed(checkAxis(loc, adaptor.getX(), adaptor.getAxis())))
    return failure();
  int64_t size = rowSize(x, adaptor.getAxis());
  for (Value parameter : {adaptor.getScale(), adaptor.getBias()})
    if (parameter && parameter.getType() != RankedTensorType::get({size}, x.getElementType()))
      return emitOptionalError(loc, "scale and bias of rows of ", size, " elements cannot be ", parameter.getType());
  auto statistics = RankedTensorType::get({rowCount(x, adaptor.getAxis())}, computeType(x.getElementType()));
  types.append({x, statistics, statistics});
  return success();
}

SmallVector<unsigned> LayerNormOp::getInPlaceOperands(unsigned result) {
  return result == 0 ? SmallVector<unsigned>{0} : SmallVector<unsigned>{};
}
SmallVector<unsigned> LayerNormGradOp::getInPlaceOperands(unsigned) { return {3, 0}; }
SmallVector<unsigned> LayerNormParamGradOp::getInPlaceOperands(unsigned) { return {}; }

//===- Kernels ----------------------------------------------------------------------------------------------===//

namespace {
/// A row of contiguous elements inside a kernel: of one iteration, or on a GPU of a group of threads.
struct Row {
  KernelBuilder &kernel;
  Value index, base;
  int64_t size;
  Type element, type;
  GpuRow *gpu = nullptr;
  using Term = function_ref<Scalar(OpBuilder &, Location, RowAt)>;

  Row(KernelBuilder &kernel, OpBuilder &b, Location loc, Value index, int64_t size, GpuRow *gpu = nullptr)
      : kernel(kernel), index(index), base(kb::mul(b, loc, index, kb::idx(b, loc, size))), size(size),
        element(kernel.operandElementType(0)), type(computeType(element)), gpu(gpu) {}

  Scalar load(OpBuilder &b, Location loc, unsigned operand, RowAt j) const {
    if (gpu)
      return gpu->load(b, loc, operand, *j.element, type);
    return convert(Scalar(b, loc, loadFlat(kernel, b, loc, operand, kb::add(b, loc, base, j.index))), type);
  }
  Scalar parameter(OpBuilder &b, Location loc, unsigned operand, RowAt j) const {
    if (gpu)
      return gpu->parameter(b, loc, operand, *j.element, type);
    return convert(Scalar(b, loc, kernel.load(b, loc, operand, {j.index})), type);
  }
  Scalar mean(OpBuilder &b, Location loc, Term term) const {
    Value sum =
        gpu ? gpu->sum(b, loc, type, term)
            : KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, size), kb::constant(b, loc, type, 0),
                                  [&](OpBuilder &b, Location l, Value j, Value acc) {
                                    return KernelBuilder::addReassoc(b, l, acc, term(b, l, j).value());
                                  });
    return Scalar(b, loc, sum) / static_cast<double>(size);
  }
  void prefetchNext(OpBuilder &b, Location loc, unsigned operand) const {
    prefetchNextRow(kernel, b, loc, operand, index, size);
  }
  void store(OpBuilder &b, Location loc, Term value) const {
    if (gpu)
      return gpu->store(b, loc, 0, value);
    KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, size), [&](OpBuilder &b, Location l, Value j) {
      storeFlat(kernel, b, l, convert(value(b, l, j), element).value(), 0, kb::add(b, l, base, j));
    });
  }
  /// Stores one number of the row to result i.
  void storeNumber(OpBuilder &b, Location loc, Scalar x, unsigned i) const {
    gpu ? gpu->storeNumber(b, loc, x.value(), i) : kernel.store(b, loc, x.value(), i, {index});
  }
  /// The row's number in operand i.
  Value number(OpBuilder &b, Location loc, unsigned i) const {
    return gpu ? gpu->number(b, loc, i) : kernel.load(b, loc, i, {index});
  }
};
} // namespace

static void overRows(KernelBuilder &kernel, RankedTensorType x, int64_t axis, ArrayRef<unsigned> operands,
                     function_ref<void(OpBuilder &, Location, const Row &)> body) {
  int64_t rows = rowCount(x, axis), size = rowSize(x, axis);
  if (kernel.target() != KernelTarget::Gpu)
    return kernel.parallel(
        {rows}, [&](OpBuilder &b, Location loc, ValueRange ivs) { body(b, loc, Row(kernel, b, loc, ivs[0], size)); });
  RowLayout layout{rows, size, rows * size, accessedBytes(kernel, operands, {0})};
  emitGpuRows(kernel, layout, [&](OpBuilder &b, Location loc, GpuRow &row) {
    body(b, loc, Row(kernel, b, loc, row.index(), size, &row));
  });
}

void LayerNormOp::emitKernel(KernelBuilder &kernel) {
  RankedTensorType x = tensorType(getX());
  bool center = getCenter();
  unsigned scale = 1, bias = getScale() ? 2 : 1;
  overRows(kernel, x, getAxis(), {0}, [&](OpBuilder &b, Location loc, const Row &row) {
    Scalar mean(b, loc, kb::constant(b, loc, row.type, 0));
    if (center)
      mean = row.mean(b, loc, [&](OpBuilder &b, Location l, RowAt j) { return row.load(b, l, 0, j); });
    row.prefetchNext(b, loc, 0);
    Scalar variance = row.mean(b, loc, [&](OpBuilder &b, Location l, RowAt j) {
      Scalar d = row.load(b, l, 0, j) - Scalar(b, l, mean.value());
      return d * d;
    });
    Scalar inverse = 1.0 / sqrt(variance + getEpsilon().convertToDouble());
    row.storeNumber(b, loc, mean, 1);
    row.storeNumber(b, loc, inverse, 2);
    row.store(b, loc, [&](OpBuilder &b, Location l, RowAt j) {
      Scalar y = (row.load(b, l, 0, j) - Scalar(b, l, mean.value())) * Scalar(b, l, inverse.value());
      if (getScale())
        y = y * row.parameter(b, l, scale, j);
      return getBias() ? y + row.parameter(b, l, bias, j) : y;
    });
  });
}

void LayerNormGradOp::emitKernel(KernelBuilder &kernel) {
  RankedTensorType x = tensorType(getX());
  overRows(kernel, x, getAxis(), {0, 3}, [&](OpBuilder &b, Location loc, const Row &row) {
    Value mean = row.number(b, loc, 1), inverse = row.number(b, loc, 2);
    auto hat = [&](OpBuilder &b, Location l, RowAt j) {
      return (row.load(b, l, 0, j) - Scalar(b, l, mean)) * Scalar(b, l, inverse);
    };
    auto scaled = [&](OpBuilder &b, Location l, RowAt j) {
      Scalar g = row.load(b, l, 3, j);
      return getScale() ? g * row.parameter(b, l, 4, j) : g;
    };
    Scalar first(b, loc, kb::constant(b, loc, row.type, 0));
    if (getCenter())
      first = row.mean(b, loc, scaled);
    Scalar second = row.mean(b, loc, [&](OpBuilder &b, Location l, RowAt j) { return scaled(b, l, j) * hat(b, l, j); });
    row.prefetchNext(b, loc, 0);
    row.prefetchNext(b, loc, 3);
    row.store(b, loc, [&](OpBuilder &b, Location l, RowAt j) {
      Scalar centered = scaled(b, l, j) - Scalar(b, l, first.value()) - hat(b, l, j) * Scalar(b, l, second.value());
      return Scalar(b, l, inverse) * centered;
    });
  });
}

/// Columns in a block, and into how many parts the rows are cut: functions of the shape alone.
static constexpr int64_t blockColumns = 128;
static int64_t rowParts(RankedTensorType type, int64_t axis, KernelTarget target) {
  int64_t rows = rowCount(type, axis);
  if (target != KernelTarget::Gpu)
    return std::clamp<int64_t>(rows / 64, 1, 16);
  // A thread has a column of a part: enough of them, and rows for each.
  return std::clamp<int64_t>(std::min(rows / 32, 32768 / std::max<int64_t>(rowSize(type, axis), 1)), 1, 128);
}

SmallVector<int64_t> LayerNormParamGradOp::getWorkspaceBytes(KernelTarget target) {
  RankedTensorType x = tensorType(getX());
  int64_t bytes =
      rowParts(x, getAxis(), target) * rowSize(x, getAxis()) * elementBytes(computeType(x.getElementType()));
  return {bytes, bytes};
}

/// Blocks of columns accumulate over a part of the rows in the workspace, on a GPU each column in a thread, which reads
/// the numbers of so many rows at once as are 16 bytes; a second nest adds the parts in order.
void LayerNormParamGradOp::emitKernel(KernelBuilder &kernel) {
  RankedTensorType x = tensorType(getX());
  int64_t rows = rowCount(x, getAxis()), size = rowSize(x, getAxis()), parts = rowParts(x, getAxis(), kernel.target());
  Type element = kernel.resultElementType(0), type = computeType(element);
  int64_t together = kernel.target() == KernelTarget::Gpu ? 16 / elementBytes(type) : 1;
  if (rows % together)
    together = 1;
  int64_t perPart = llvm::alignTo(llvm::divideCeil(rows, parts), together),
          blocks = (size + blockColumns - 1) / blockColumns;
  auto sums = [&](OpBuilder &b) {
    return std::pair(kernel.workspace(b, 0, {parts, size}, type), kernel.workspace(b, 1, {parts, size}, type));
  };
  auto terms = [&](OpBuilder &b, Location l, const Row &row, Value mean, Value inverse, Value j) {
    Scalar g = row.load(b, l, 3, j);
    return std::pair(g * ((row.load(b, l, 0, j) - Scalar(b, l, mean)) * Scalar(b, l, inverse)), g);
  };
  if (kernel.target() == KernelTarget::Gpu)
    kernel.parallel({parts, size}, [&](OpBuilder &b, Location loc, ValueRange at) {
      auto [scales, biases] = sums(b);
      Value firstRow = kb::mul(b, loc, at[0], kb::idx(b, loc, perPart));
      Value lastRow = kb::min(b, loc, kb::add(b, loc, firstRow, kb::idx(b, loc, perPart)), kb::idx(b, loc, rows));
      Value zero = kb::constant(b, loc, type, 0);
      auto loop =
          scf::ForOp::create(b, loc, firstRow, lastRow, kb::idx(b, loc, together), ValueRange{zero, zero},
                             [&](OpBuilder &b, Location l, Value r, ValueRange accs) {
                               SmallVector<Value> means = kernel.loadNeighbours(b, l, 1, r, together),
                                                  inverses = kernel.loadNeighbours(b, l, 2, r, together), sums(accs);
                               for (int64_t k = 0; k < together; ++k) {
                                 Row row(kernel, b, l, kb::add(b, l, r, kb::idx(b, l, k)), size);
                                 auto [scale, bias] = terms(b, l, row, means[k], inverses[k], at[1]);
                                 sums = {kb::add(b, l, sums[0], scale.value()), kb::add(b, l, sums[1], bias.value())};
                               }
                               scf::YieldOp::create(b, l, sums);
                             });
      storeWorkspace(b, loc, loop.getResult(0), scales, at);
      storeWorkspace(b, loc, loop.getResult(1), biases, at);
    });
  else
    kernel.parallel({parts * blocks}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
      SmallVector<Value> at = kb::delinearize(b, loc, ivs[0], {parts, blocks});
      auto [scales, biases] = sums(b);
      auto end = [&](Value lo, int64_t count, int64_t limit) {
        return kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, count)), kb::idx(b, loc, limit));
      };
      Value firstRow = kb::mul(b, loc, at[0], kb::idx(b, loc, perPart)), lastRow = end(firstRow, perPart, rows);
      Value lo = kb::mul(b, loc, at[1], kb::idx(b, loc, blockColumns)), hi = end(lo, blockColumns, size);
      KernelBuilder::loop(b, loc, lo, hi, [&](OpBuilder &b, Location l, Value j) {
        Value zero = kb::constant(b, l, type, 0);
        storeWorkspace(b, l, zero, scales, {at[0], j});
        storeWorkspace(b, l, zero, biases, {at[0], j});
      });
      KernelBuilder::loop(b, loc, firstRow, lastRow, [&](OpBuilder &b, Location l, Value r) {
        Row row(kernel, b, l, r, size);
        Value mean = kernel.load(b, l, 1, {r}), inverse = kernel.load(b, l, 2, {r});
        KernelBuilder::loop(b, l, lo, hi, [&](OpBuilder &b, Location l, Value j) {
          auto [scaleTerm, biasTerm] = terms(b, l, row, mean, inverse, j);
          Scalar scale(b, l, loadWorkspace(b, l, scales, {at[0], j})),
              bias(b, l, loadWorkspace(b, l, biases, {at[0], j}));
          storeWorkspace(b, l, (scale + scaleTerm).value(), scales, {at[0], j});
          storeWorkspace(b, l, (bias + biasTerm).value(), biases, {at[0], j});
        });
      });
    });
  kernel.parallel({size}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    auto [scales, biases] = sums(b);
    for (unsigned i : {0u, 1u}) {
      Value buffer = i == 0 ? scales : biases;
      Value total =
          KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, parts), kb::constant(b, loc, type, 0),
                              [&](OpBuilder &b, Location l, Value part, Value acc) {
                                return kb::add(b, l, acc, loadWorkspace(b, l, buffer, {part, ivs[0]}));
                              });
      kernel.store(b, loc, convert(Scalar(b, loc, total), element).value(), i, ivs);
    }
  });
}

//===- Libraries --------------------------------------------------------------------------------------------===//

/// x as [rows, size], where there is a mean.
static std::optional<NormCall> rowsOf(RankedTensorType x, int64_t axis, bool center) {
  if (!center || !x.getElementType().isF32())
    return std::nullopt;
  NormCall call;
  call.batch = rowCount(x, axis);
  call.channels = rowSize(x, axis);
  return call;
}

std::optional<LibraryCall> LayerNormOp::getLibraryCall() {
  auto call = rowsOf(tensorType(getX()), getAxis(), getCenter());
  if (!call)
    return std::nullopt;
  call->epsilon = getEpsilon().convertToDouble();
  call->scale = static_cast<bool>(getScale());
  call->bias = static_cast<bool>(getBias());
  return LibraryCall::make(CallKind::LayerNorm, *call);
}
/// What the gradient reads is 1 / sqrt(variance + epsilon): any epsilon gives the same.
std::optional<LibraryCall> LayerNormGradOp::getLibraryCall() {
  auto call = rowsOf(tensorType(getX()), getAxis(), getCenter());
  if (!call)
    return std::nullopt;
  call->scale = static_cast<bool>(getScale());
  call->bias = 0;
  return LibraryCall::make(CallKind::LayerNormGrad, *call);
}

//===- Gradient ---------------------------------------------------------------------------------------------===//

void LayerNormOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  Value g = grads[0];
  if (!g)
    return;
  unsigned scale = 1, bias = getScale() ? 2 : 1;
  if (needed[0])
    out[0] = LayerNormGradOp::create(b, getLoc(), getX(), getMean(), getInvStd(), g, getScale(), getAxisAttr(),
                                     getCenterAttr());
  bool wantsScale = getScale() && needed[scale], wantsBias = getBias() && needed[bias];
  if (!wantsScale && !wantsBias)
    return;
  auto op = LayerNormParamGradOp::create(b, getLoc(), getX(), getMean(), getInvStd(), g, getAxisAttr());
  if (wantsScale)
    out[scale] = op.getDScale();
  if (wantsBias)
    out[bias] = op.getDBias();
}

//===- Import -----------------------------------------------------------------------------------------------===//

/// Mean of x over axes, which stay as 1.
static Value keptMean(ImportNode &n, Value x, ArrayRef<int64_t> axes) {
  ReduceMeanOp::Properties p;
  p.axes = n.b.getDenseI64ArrayAttr(axes);
  p.keepdims = n.b.getBoolAttr(true);
  return n.create<ReduceMeanOp>({x}, p);
}

/// LayerNormalization (with `center`) and RMSNormalization.
template <bool center> static ImportNode::Results importLayerNorm(ImportNode &n) {
  int64_t given = n.intAttr("axis", -1), axis = given < 0 ? given + n.rank(0) : given;
  if (axis < 0 || axis >= n.rank(0))
    return n.error("axis " + Twine(given) + " is outside rank " + Twine(n.rank(0)));
  double epsilon = n.floatAttr("epsilon", 1e-5);
  RankedTensorType x = tensorType(n.in(0));
  int64_t size = rowSize(x, axis);
  // Parameters of a row's shape go into the op; anything that broadcasts otherwise is applied behind it.
  bool inside = numElements(n.shape(1)) == size && (!n.has(2) || numElements(n.shape(2)) == size);
  LayerNormOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(axis);
  p.epsilon = n.b.getF64FloatAttr(epsilon);
  p.center = n.b.getBoolAttr(center);
  p.operandSegmentSizes = {1, inside, inside && n.has(2)};
  SmallVector<Value> operands{n.in(0)};
  for (unsigned i : {1u, 2u})
    if (inside && n.has(i))
      operands.push_back(reshapeTo(n, n.in(i), {size}));
  SmallVector<Value> normalized = n.createMulti<LayerNormOp>(operands, p);
  if (normalized.empty())
    return failure();
  Value y = normalized[0];
  if (!inside) {
    y = n.create<MulOp>({y, n.in(1)});
    if (y && n.has(2))
      y = n.create<AddOp>({y, n.in(2)});
  }
  SmallVector<Value> results{y};
  if (!y)
    return failure();
  // Statistics that the graph reads are computed on their own, so that gradients flow through them.
  if (n.wants(1) || n.wants(2)) {
    SmallVector<int64_t> axes;
    for (int64_t d = axis; d < n.rank(0); ++d)
      axes.push_back(d);
    Value mean = keptMean(n, n.in(0), axes);
    Value centered = mean ? n.create<SubOp>({n.in(0), mean}) : Value();
    Value square = centered ? n.create<MulOp>({centered, centered}) : Value();
    Value variance = square ? keptMean(n, square, axes) : Value();
    Value sum = variance ? n.create<AddOp>({variance, n.floatScalar(x.getElementType(), epsilon)}) : Value();
    Value root = sum ? n.create<SqrtOp>({sum}) : Value();
    Value inverse = root ? n.create<ReciprocalOp>({root}) : Value();
    if (!inverse)
      return failure();
    results.append({mean, inverse});
  } else {
    results.resize(std::max<size_t>(1, n.numOutputs()));
  }
  return results;
}

/// (x - E[x]) / (sqrt(E[(x - E[x])^2]) + 1e-9) over axes.
static ImportNode::Results importMeanVariance(ImportNode &n) {
  SmallVector<int64_t> axes;
  for (int64_t axis : n.intsAttr("axes").value_or(SmallVector<int64_t>{0, 2, 3})) {
    axes.push_back(axis < 0 ? axis + n.rank(0) : axis);
    if (axes.back() < 0 || axes.back() >= n.rank(0))
      return n.error("axis " + Twine(axis) + " is outside rank " + Twine(n.rank(0)));
  }
  Value mean = keptMean(n, n.in(0), axes);
  Value centered = mean ? n.create<SubOp>({n.in(0), mean}) : Value();
  Value square = centered ? n.create<MulOp>({centered, centered}) : Value();
  Value variance = square ? keptMean(n, square, axes) : Value();
  Value deviation = variance ? n.create<SqrtOp>({variance}) : Value();
  Value divisor = deviation ? n.create<AddOp>({deviation, n.floatScalar(n.elementType(0), 1e-9)}) : Value();
  return one(divisor ? n.create<DivOp>({centered, divisor}) : Value());
}

void registerLayerNormOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/LayerNorm.cpp.inc"
      >();
}

void registerLayerNormImports(ImportRegistry &r) {
  r.add("LayerNormalization", {.import = importLayerNorm<true>, .initializedToOne = {1}});
  r.add("RMSNormalization", {.import = importLayerNorm<false>, .initializedToOne = {1}});
  r.add("MeanVarianceNormalization", {.import = importMeanVariance});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/LayerNorm.cpp.inc"
