//===- GroupNormKernel.cpp - kernels of group normalization and its gradient ----------------------------===//

#include "dialects/NN/Norm.h"
#include "dialects/NN/NormAccess.h"
#include "dialects/NN/PlaneSums.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace gmc::nn {

/// Bounds of one group of channels of a sample, channel first, then the spatial axes.
static Bounds groupBounds(OpBuilder &b, Location loc, ArrayRef<int64_t> shape, int64_t groups) {
  SmallVector<int64_t> sizes{shape[1] / groups};
  llvm::append_range(sizes, shape.drop_front(2));
  return fullBounds(b, loc, sizes);
}
static SmallVector<Value> groupIndices(OpBuilder &b, Location loc, ValueRange at, Value n, Value g,
                                       int64_t channelsPerGroup) {
  Value c = kb::add(b, loc, kb::mul(b, loc, g, kb::idx(b, loc, channelsPerGroup)), at[0]);
  SmallVector<Value> indices{n, c};
  llvm::append_range(indices, at.drop_front());
  return indices;
}

/// The channel of an element of a group's row; a lane outside the row has the first one.
static Value channelOf(OpBuilder &b, Location loc, const GpuRow::Element &e, Value group, int64_t perGroup,
                       int64_t plane) {
  Value inRow = e.inside ? Value(arith::SelectOp::create(b, loc, e.inside, e.index, kb::idx(b, loc, 0))) : e.index;
  Value inGroup = b.createOrFold<arith::DivUIOp>(loc, inRow, kb::idx(b, loc, plane));
  return kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, perGroup)), inGroup);
}

void GroupNormOp::emitKernel(KernelBuilder &kernel) {
  SmallVector<int64_t> shape(shapeOf(getX()));
  Access access{kernel, kernel.resultElementType(1)};
  Type type = access.type;
  int64_t groups = getGroups(), perGroup = shape[1] / groups;
  double count = tensorType(getX()).getNumElements() / (shape[0] * groups);
  double epsilon = getEpsilon().convertToDouble();
  int64_t plane = numElements(ArrayRef(shape).drop_front(2)), rows = shape[0] * groups;
  if (kernel.target() == KernelTarget::Gpu) {
    RowLayout layout{rows, perGroup * plane, rows * perGroup * plane, accessedBytes(kernel, {0}, {0})};
    return emitGpuRows(kernel, layout, [&](OpBuilder &b, Location loc, GpuRow &row) {
      SmallVector<Value> ng = kb::delinearize(b, loc, row.index(), {shape[0], groups});
      auto x = [&](OpBuilder &b, Location l, const GpuRow::Element &e) { return row.load(b, l, 0, e, type); };
      Scalar mean = Scalar(b, loc, row.sum(b, loc, type, x)) / count;
      Value squares = row.sum(b, loc, type, [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
        Scalar deviation = x(b, l, e) - Scalar(b, l, mean.value());
        return deviation * deviation;
      });
      Scalar inverse = invStd(Scalar(b, loc, squares) / count, epsilon);
      row.once(b, loc, [&](OpBuilder &b, Location l) {
        access.store(Scalar(b, l, mean.value()), 1, ng);
        access.store(Scalar(b, l, inverse.value()), 2, ng);
      });
      row.store(b, loc, 0, [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
        Value c = channelOf(b, l, e, ng[1], perGroup, plane);
        Scalar slope = Scalar(b, l, inverse.value()) * access.load(b, l, 1, c);
        return (x(b, l, e) - Scalar(b, l, mean.value())) * slope + access.load(b, l, 2, c);
      });
    });
  }
  kernel.parallel({shape[0], groups}, [&](OpBuilder &b, Location loc, ValueRange ng) {
    Bounds bounds = groupBounds(b, loc, shape, groups);
    Value sum = sumBox(b, loc, bounds, {type}, [&](OpBuilder &b, Location l, ValueRange at) {
      return SmallVector<Value>{access.load(b, l, 0, groupIndices(b, l, at, ng[0], ng[1], perGroup)).value()};
    })[0];
    Scalar mean = Scalar(b, loc, sum) / count;
    Value squares = sumBox(b, loc, bounds, {type}, [&](OpBuilder &b, Location l, ValueRange at) {
      Scalar x = access.load(b, l, 0, groupIndices(b, l, at, ng[0], ng[1], perGroup));
      Scalar deviation = x - Scalar(b, l, mean.value());
      return SmallVector<Value>{(deviation * deviation).value()};
    })[0];
    access.store(mean, 1, ng);
    access.store(invStd(Scalar(b, loc, squares) / count, epsilon), 2, ng);
  });
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value c = ivs[1];
    SmallVector<Value> ng{ivs[0], kb::div(b, loc, c, kb::idx(b, loc, perGroup))};
    Scalar mean = access.loadResult(b, loc, 1, ng), invstd = access.loadResult(b, loc, 2, ng);
    Scalar slope = invstd * access.load(b, loc, 1, c);
    access.store((access.load(b, loc, 0, ivs) - mean) * slope + access.load(b, loc, 2, c), 0, ivs);
  });
}

SmallVector<int64_t> GroupNormGradOp::getWorkspaceBytes(KernelTarget target) {
  if (PlaneSums::pays(target, shapeOf(getX())))
    return {PlaneSums(shapeOf(getX()), /*partPerSample=*/true).workspaceBytes(elementTypeOf(getMean()))};
  return {2 * byteSize(getMean().getType())}; // two sums per sample and group
}

void GroupNormGradOp::emitKernel(KernelBuilder &kernel) {
  SmallVector<int64_t> shape(shapeOf(getX()));
  Access access{kernel, kernel.operandElementType(2)};
  Type type = access.type;
  int64_t groups = shapeOf(getMean())[1], perGroup = shape[1] / groups;
  double count = tensorType(getX()).getNumElements() / (shape[0] * groups);
  SmallVector<int64_t> sumShape{shape[0], groups, 2};
  auto xhatAt = [&](OpBuilder &b, Location loc, ValueRange at, ValueRange ng) {
    return (access.load(b, loc, 0, at) - access.load(b, loc, 2, ng)) * access.load(b, loc, 3, ng);
  };
  auto groupOf = [&](OpBuilder &b, Location loc, ValueRange ivs) {
    return SmallVector<Value>{ivs[0], kb::div(b, loc, ivs[1], kb::idx(b, loc, perGroup))};
  };
  if (PlaneSums::pays(kernel.target(), shape)) {
    PlaneSums sums(shape, /*partPerSample=*/true);
    int64_t plane = numElements(ArrayRef(shape).drop_front(2)), rows = shape[0] * groups;
    sums.emit(kernel, type, accessedBytes(kernel, {0, 4}),
              [&](OpBuilder &b, Location l, GpuRow &row, const GpuRow::Element &e, Value sample, Value c) {
                SmallVector<Value> ng{sample, kb::div(b, l, c, kb::idx(b, l, perGroup))};
                Scalar dy = row.load(b, l, 4, e, type);
                Scalar xhat = (row.load(b, l, 0, e, type) - access.load(b, l, 2, ng)) * access.load(b, l, 3, ng);
                return SmallVector<Value>{dy.value(), (dy * xhat).value()};
              });
    kernel.parallel({shape[1]}, [&](OpBuilder &b, Location loc, ValueRange c) {
      access.store(Scalar(b, loc, sums.total(kernel, b, loc, type, 1, c[0])), 1, c);
      access.store(Scalar(b, loc, sums.total(kernel, b, loc, type, 0, c[0])), 2, c);
    });
    RowLayout layout{rows, perGroup * plane, rows * perGroup * plane, accessedBytes(kernel, {0, 4}, {0})};
    return emitGpuRows(kernel, layout, [&](OpBuilder &b, Location loc, GpuRow &row) {
      SmallVector<Value> ng = kb::delinearize(b, loc, row.index(), {shape[0], groups});
      Scalar mean = access.load(b, loc, 2, ng), inverse = access.load(b, loc, 3, ng);
      auto g = [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
        return row.load(b, l, 4, e, type) * access.load(b, l, 1, channelOf(b, l, e, ng[1], perGroup, plane));
      };
      auto xhat = [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
        return (row.load(b, l, 0, e, type) - Scalar(b, l, mean.value())) * Scalar(b, l, inverse.value());
      };
      Value zero = kb::constant(b, loc, type, 0);
      SmallVector<Value> means = row.reduce(
          b, loc, {zero, zero},
          [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
            Scalar term = g(b, l, e);
            return SmallVector<Value>{term.value(), (term * xhat(b, l, e)).value()};
          },
          [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); });
      for (Value &value : means)
        value = (Scalar(b, loc, value) / count).value();
      row.store(b, loc, 0, [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
        Scalar centered = g(b, l, e) - Scalar(b, l, means[0]) - xhat(b, l, e) * Scalar(b, l, means[1]);
        return Scalar(b, l, inverse.value()) * centered;
      });
    });
  }
  // Per channel, before x or dy can be overwritten: dscale and dbias.
  kernel.parallel({shape[1]}, [&](OpBuilder &b, Location loc, ValueRange c) {
    auto sums =
        sumBox(b, loc, channelBounds(b, loc, shape), {type, type}, [&](OpBuilder &b, Location l, ValueRange at) {
          SmallVector<Value> indices = channelIndices(at, c[0]);
          Scalar dy = access.load(b, l, 4, indices);
          return SmallVector<Value>{dy.value(), (dy * xhatAt(b, l, indices, groupOf(b, l, indices))).value()};
        });
    access.store(Scalar(b, loc, sums[1]), 1, c);
    access.store(Scalar(b, loc, sums[0]), 2, c);
  });
  kernel.parallel({shape[0], groups}, [&](OpBuilder &b, Location loc, ValueRange ng) {
    auto sums =
        sumBox(b, loc, groupBounds(b, loc, shape, groups), {type, type}, [&](OpBuilder &b, Location l, ValueRange at) {
          SmallVector<Value> indices = groupIndices(b, l, at, ng[0], ng[1], perGroup);
          Scalar g = access.load(b, l, 4, indices) * access.load(b, l, 1, indices[1]);
          return SmallVector<Value>{g.value(), (g * xhatAt(b, l, indices, ng)).value()};
        });
    Value scratch = kernel.workspace(b, 0, sumShape, type);
    for (int64_t i : {0, 1})
      memref::StoreOp::create(b, loc, (Scalar(b, loc, sums[i]) / count).value(), scratch,
                              ValueRange{ng[0], ng[1], kb::idx(b, loc, i)});
  });
  kernel.parallel(shape, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    SmallVector<Value> ng = groupOf(b, loc, ivs);
    Value scratch = kernel.workspace(b, 0, sumShape, type);
    auto mean = [&](int64_t i) {
      return Scalar(b, loc, memref::LoadOp::create(b, loc, scratch, ValueRange{ng[0], ng[1], kb::idx(b, loc, i)}));
    };
    Scalar g = access.load(b, loc, 4, ivs) * access.load(b, loc, 1, ivs[1]);
    Scalar xhat = xhatAt(b, loc, ivs, ng);
    access.store(access.load(b, loc, 3, ng) * (g - mean(0) - xhat * mean(1)), 0, ivs);
  });
}

} // namespace gmc::nn
