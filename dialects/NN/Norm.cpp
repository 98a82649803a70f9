//===- Norm.cpp - batch and group normalization ---------------------------------------------------------===//

#include "dialects/NN/Norm.h"
#include "dialects/NN/NormAccess.h"
#include "dialects/NN/PlaneSums.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace gmc::nn {

void registerNormOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Norm.cpp.inc"
      >();
}

//===- Shapes -------------------------------------------------------------------------------------------===//

/// x has channels on axis 1, and every one of `perChannel` one element for each of them.
static LogicalResult checkChannels(std::optional<Location> loc, RankedTensorType x, ValueRange perChannel) {
  if (x.getRank() < 2)
    return emitOptionalError(loc, "needs an input with channels on axis 1, not ", x);
  for (Value v : perChannel)
    if (shapeOf(v) != ArrayRef<int64_t>{x.getDimSize(1)})
      return emitOptionalError(loc, v.getType(), " does not hold one element for each of the ", x.getDimSize(1),
                               " channels of ", x);
  return success();
}

LogicalResult BatchNormOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(a.getX());
  if (failed(checkChannels(loc, x, {a.getScale(), a.getBias(), a.getMean(), a.getVariance()})))
    return failure();
  if (a.getMean().getType() != a.getVariance().getType())
    return emitOptionalError(loc, "running mean and variance differ in type");
  types.push_back(x);
  types.append(4, a.getMean().getType());
  return success();
}

static LogicalResult checkGradOperands(std::optional<Location> loc, Value x, Value scale, Value dy) {
  if (failed(checkChannels(loc, tensorType(x), {scale})))
    return failure();
  if (x.getType() != dy.getType())
    return emitOptionalError(loc, "output gradient ", dy.getType(), " is not of the type of x, ", x.getType());
  return success();
}

LogicalResult BatchNormGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                                SmallVectorImpl<Type> &types) {
  if (failed(checkGradOperands(loc, a.getX(), a.getScale(), a.getDy())) ||
      failed(checkChannels(loc, tensorType(a.getX()), {a.getMean(), a.getInvstd()})))
    return failure();
  types.append({a.getX().getType(), a.getScale().getType(), a.getScale().getType()});
  return success();
}

LogicalResult GroupNormOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                            SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(a.getX());
  if (failed(checkChannels(loc, x, {a.getScale(), a.getBias()})))
    return failure();
  int64_t groups = a.getGroups();
  if (groups < 1 || x.getDimSize(1) % groups)
    return emitOptionalError(loc, groups, " groups do not divide ", x.getDimSize(1), " channels");
  Type statistics = RankedTensorType::get({x.getDimSize(0), groups}, computeType(x.getElementType()));
  types.append({x, statistics, statistics});
  return success();
}

LogicalResult GroupNormGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                                SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(a.getX()), mean = tensorType(a.getMean());
  if (failed(checkGradOperands(loc, a.getX(), a.getScale(), a.getDy())))
    return failure();
  if (mean.getRank() != 2 || mean != a.getInvstd().getType() || mean.getDimSize(0) != x.getDimSize(0) ||
      mean.getDimSize(1) < 1 || x.getDimSize(1) % mean.getDimSize(1))
    return emitOptionalError(loc, "statistics ", mean, " and ", a.getInvstd().getType(), " do not fit ", x);
  types.append({x, a.getScale().getType(), a.getScale().getType()});
  return success();
}

// The data follow their neighbours; statistics, scale and bias stay fp32.
SmallVector<unsigned> BatchNormOp::getWideOperands() { return {1, 2, 3, 4}; }
SmallVector<unsigned> BatchNormGradOp::getWideOperands() { return {1, 2, 3}; }
SmallVector<unsigned> GroupNormOp::getWideOperands() { return {1, 2}; }
SmallVector<unsigned> GroupNormGradOp::getWideOperands() { return {1, 2, 3}; }

//===- Costs --------------------------------------------------------------------------------------------===//

/// Statistics need a pass of their own over what they are taken of.
int64_t BatchNormOp::getMemoryBytes() {
  return defaultMemoryBytes(*this) + (getTraining() ? 2 * byteSize(getX().getType()) : 0);
}
int64_t BatchNormGradOp::getMemoryBytes() {
  return defaultMemoryBytes(*this) + byteSize(getX().getType()) + byteSize(getDy().getType());
}
int64_t GroupNormOp::getMemoryBytes() { return defaultMemoryBytes(*this) + 2 * byteSize(getX().getType()); }
int64_t GroupNormGradOp::getMemoryBytes() {
  return defaultMemoryBytes(*this) + 2 * (byteSize(getX().getType()) + byteSize(getDy().getType()));
}

/// The running statistics move; y and what the gradient reads come from the batch alone.
bool BatchNormOp::isStateUpdate(unsigned result) { return getTraining() && result >= 3; }
bool BatchNormGradOp::isStateUpdate(unsigned) { return false; }
bool GroupNormOp::isStateUpdate(unsigned) { return false; }
bool GroupNormGradOp::isStateUpdate(unsigned) { return false; }

/// The last nest reads element i of x (and dy) and writes element i; no nest reads x after that.
SmallVector<unsigned> BatchNormOp::getInPlaceOperands(unsigned result) {
  if (result == 0)
    return {0};
  if (result >= 3) // running statistics move where they are
    return {result};
  return {};
}
SmallVector<unsigned> BatchNormGradOp::getInPlaceOperands(unsigned result) {
  return result == 0 ? SmallVector<unsigned>{4, 0} : SmallVector<unsigned>{};
}
SmallVector<unsigned> GroupNormOp::getInPlaceOperands(unsigned result) {
  return result == 0 ? SmallVector<unsigned>{0} : SmallVector<unsigned>{};
}
SmallVector<unsigned> GroupNormGradOp::getInPlaceOperands(unsigned result) {
  return result == 0 ? SmallVector<unsigned>{4, 0} : SmallVector<unsigned>{};
}

//===- Libraries ----------------------------------------------------------------------------------------===//

static bool allF32(Operation *op) {
  return llvm::all_of(op->getOperands(), [](Value v) { return elementTypeOf(v).isF32(); });
}

/// x as [batch, channels, everything else].
static NormCall channelsOf(Value x, bool training) {
  RankedTensorType type = tensorType(x);
  NormCall call;
  call.batch = type.getDimSize(0);
  call.channels = type.getDimSize(1);
  call.inner = numElements(type.getShape().drop_front(2));
  call.training = training;
  return call;
}

std::optional<LibraryCall> BatchNormOp::getLibraryCall() {
  if (!allF32(*this))
    return std::nullopt;
  NormCall call = channelsOf(getX(), getTraining());
  call.epsilon = getEpsilon().convertToDouble();
  call.momentum = getMomentum().convertToDouble();
  return LibraryCall::make(CallKind::BatchNorm, call);
}
/// What the gradient reads is 1 / sqrt(variance + epsilon): any epsilon gives the same.
std::optional<LibraryCall> BatchNormGradOp::getLibraryCall() {
  if (!allF32(*this))
    return std::nullopt;
  return LibraryCall::make(CallKind::BatchNormGrad, channelsOf(getX(), getTraining()));
}

//===- Kernels ------------------------------------------------------------------------------------------===//

SmallVector<int64_t> BatchNormOp::getWorkspaceBytes(KernelTarget target) {
  if (!getTraining() || !PlaneSums::pays(target, shapeOf(getX())))
    return {};
  return {PlaneSums(shapeOf(getX())).workspaceBytes(computeType(elementTypeOf(getUsedMean())))};
}

void BatchNormOp::emitKernel(KernelBuilder &kernel) {
  SmallVector<int64_t> shape(shapeOf(getX()));
  Access access{kernel, computeType(kernel.resultElementType(1))};
  Type type = access.type;
  double count = tensorType(getX()).getNumElements() / shape[1];
  double epsilon = getEpsilon().convertToDouble(), momentum = getMomentum().convertToDouble();
  bool training = getTraining();
  bool planes = training && PlaneSums::pays(kernel.target(), shape);
  PlaneSums sums(shape);
  // What is about as large as the channel's elements, the first of them or the mean of the first few that are 16 bytes
  // of memory: deviations are taken from it so that x is read once, and their mean is small.
  int64_t plane = numElements(ArrayRef(shape).drop_front(2)), few = 16 / kernel.operandBytes(0);
  auto reference = [&](OpBuilder &b, Location loc, Value c) {
    if (plane % few == 0 || plane >= 2 * few - 1) {
      Value first = kb::mul(b, loc, c, kb::idx(b, loc, plane)), width = kb::idx(b, loc, few);
      if (plane % few)
        first = kb::mul(b, loc, kb::div(b, loc, kb::add(b, loc, first, kb::idx(b, loc, few - 1)), width), width);
      Scalar sum(b, loc, kb::constant(b, loc, type, 0));
      for (Value x : kernel.loadNeighbours(b, loc, 0, first, few))
        sum = sum + convert(sum.with(x), type);
      return sum / static_cast<double>(few);
    }
    SmallVector<Value> at(shape.size(), kb::idx(b, loc, 0));
    at[1] = c;
    return access.load(b, loc, 0, at);
  };
  if (planes)
    sums.emit(kernel, type, accessedBytes(kernel, {0}),
              [&](OpBuilder &b, Location l, GpuRow &row, const GpuRow::Element &e, Value, Value c) {
                Scalar deviation = row.load(b, l, 0, e, type) - reference(b, l, c);
                return SmallVector<Value>{deviation.value(), (deviation * deviation).value()};
              });
  // Per channel: the statistics. Without planes, the variance is a second pass over deviations: no cancellation.
  kernel.parallel({shape[1]}, [&](OpBuilder &b, Location loc, ValueRange c) {
    Scalar runningMean = access.load(b, loc, 3, c), runningVariance = access.load(b, loc, 4, c);
    if (!training) {
      access.store(runningMean, 1, c);
      access.store(invStd(runningVariance, epsilon), 2, c);
      access.store(runningMean, 3, c);
      access.store(runningVariance, 4, c);
      return;
    }
    auto finish = [&](Scalar mean, Scalar variance) {
      access.store(mean, 1, c);
      access.store(invStd(variance, epsilon), 2, c);
      access.store(runningMean * momentum + mean * (1 - momentum), 3, c);
      access.store(runningVariance * momentum + variance * (1 - momentum), 4, c);
    };
    if (planes) {
      Scalar deviation = Scalar(b, loc, sums.total(kernel, b, loc, type, 0, c[0])) / count;
      Scalar square = Scalar(b, loc, sums.total(kernel, b, loc, type, 1, c[0])) / count;
      return finish(reference(b, loc, c[0]) + deviation, maximum(square - deviation * deviation, 0.0));
    }
    Bounds bounds = channelBounds(b, loc, shape);
    Value sum = sumBox(b, loc, bounds, {type}, [&](OpBuilder &b, Location l, ValueRange at) {
      return SmallVector<Value>{access.load(b, l, 0, channelIndices(at, c[0])).value()};
    })[0];
    Scalar mean = Scalar(b, loc, sum) / count;
    Value squares = sumBox(b, loc, bounds, {type}, [&](OpBuilder &b, Location l, ValueRange at) {
      Scalar deviation = access.load(b, l, 0, channelIndices(at, c[0])) - Scalar(b, l, mean.value());
      return SmallVector<Value>{(deviation * deviation).value()};
    })[0];
    finish(mean, Scalar(b, loc, squares) / count);
  });
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value c = ivs[1];
    Scalar mean = access.loadResult(b, loc, 1, c), invstd = access.loadResult(b, loc, 2, c);
    Scalar x = access.load(b, loc, 0, ivs);
    Scalar slope = invstd * access.load(b, loc, 1, c);
    access.store((x - mean) * slope + access.load(b, loc, 2, c), 0, ivs);
  });
}

SmallVector<int64_t> BatchNormGradOp::getWorkspaceBytes(KernelTarget target) {
  if (!PlaneSums::pays(target, shapeOf(getX())))
    return {};
  return {PlaneSums(shapeOf(getX())).workspaceBytes(computeType(elementTypeOf(getMean())))};
}

void BatchNormGradOp::emitKernel(KernelBuilder &kernel) {
  SmallVector<int64_t> shape(shapeOf(getX()));
  Access access{kernel, computeType(kernel.operandElementType(2))};
  Type type = access.type;
  double count = tensorType(getX()).getNumElements() / shape[1];
  bool planes = PlaneSums::pays(kernel.target(), shape);
  PlaneSums planeSums(shape);
  if (planes)
    planeSums.emit(kernel, type, accessedBytes(kernel, {0, 4}),
                   [&](OpBuilder &b, Location l, GpuRow &row, const GpuRow::Element &e, Value, Value c) {
                     Scalar dy = row.load(b, l, 4, e, type),
                            deviation = row.load(b, l, 0, e, type) - access.load(b, l, 2, c);
                     return SmallVector<Value>{dy.value(), (dy * deviation).value()};
                   });
  kernel.parallel({shape[1]}, [&](OpBuilder &b, Location loc, ValueRange c) {
    Scalar mean = access.load(b, loc, 2, c), invstd = access.load(b, loc, 3, c);
    if (planes) {
      access.store(Scalar(b, loc, planeSums.total(kernel, b, loc, type, 1, c[0])) * invstd, 1, c);
      return access.store(Scalar(b, loc, planeSums.total(kernel, b, loc, type, 0, c[0])), 2, c);
    }
    auto sums =
        sumBox(b, loc, channelBounds(b, loc, shape), {type, type}, [&](OpBuilder &b, Location l, ValueRange at) {
          SmallVector<Value> indices = channelIndices(at, c[0]);
          Scalar dy = access.load(b, l, 4, indices);
          Scalar deviation = access.load(b, l, 0, indices) - Scalar(b, l, mean.value());
          return SmallVector<Value>{dy.value(), (dy * deviation).value()};
        });
    access.store(Scalar(b, loc, sums[1]) * invstd, 1, c);
    access.store(Scalar(b, loc, sums[0]), 2, c);
  });
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value c = ivs[1];
    Scalar invstd = access.load(b, loc, 3, c), slope = invstd * access.load(b, loc, 1, c);
    Scalar g = access.load(b, loc, 4, ivs);
    if (getTraining()) {
      Scalar dscale = access.loadResult(b, loc, 1, c), dbias = access.loadResult(b, loc, 2, c);
      Scalar deviation = access.load(b, loc, 0, ivs) - access.load(b, loc, 2, c);
      g = g - dbias / count - deviation * (invstd * dscale / count);
    }
    access.store(g * slope, 0, ivs);
  });
}

//===- Gradients ----------------------------------------------------------------------------------------===//

/// Statistics have no gradient by the standard.
void BatchNormOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (!grads[0] || !(needed[0] || needed[1] || needed[2]))
    return;
  auto grad = BatchNormGradOp::create(b, getLoc(), getX(), getScale(), getUsedMean(), getUsedInvstd(), grads[0],
                                      getTrainingAttr());
  for (unsigned i = 0; i < 3; ++i)
    if (needed[i])
      out[i] = grad->getResult(i);
}

void GroupNormOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                MutableArrayRef<Value> out) {
  if (!grads[0] || !(needed[0] || needed[1] || needed[2]))
    return;
  auto grad = GroupNormGradOp::create(b, getLoc(), getX(), getScale(), getMean(), getInvstd(), grads[0]);
  for (unsigned i = 0; i < 3; ++i)
    if (needed[i])
      out[i] = grad->getResult(i);
}

/// Second derivatives are not taken.
void BatchNormGradOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}
void GroupNormGradOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Norm.cpp.inc"
