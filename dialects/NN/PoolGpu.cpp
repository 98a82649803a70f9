//===- PoolGpu.cpp - pools and their gradients by blocks of GPU threads ---------------------------------===//
//
// A block has what windows reach into in shared memory (GpuPlanes) and reads windows from there, an element of the
// result a thread. Of a gradient, it has what lies in its part of the input: the windows that reach into it, their
// maxima or quotients first, then the sum of those that meet in an element, the first window first.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/GpuPlanes.h"
#include "dialects/NN/GpuSupport.h"
#include "dialects/NN/PoolKernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace gmc::nn {

bool emitGpuPool(KernelBuilder &kernel, const Window &w, PoolValue value) {
  PlaneSide in(kernel.operandShape(0).drop_front(2)), out(kernel.resultShape(0).drop_front(2));
  auto most = [&](int64_t rows) { return (rows - 1) * w.strides[0] + w.extent(0); };
  auto range = [&](OpBuilder &b, Location loc, Value first, Value end) -> std::pair<Value, Value> {
    Value zero = kb::idx(b, loc, 0), last = kb::sub(b, loc, end, kb::idx(b, loc, 1));
    Value behind = kb::add(b, loc, windowInput(b, loc, w, 0, last, zero), kb::idx(b, loc, w.extent(0)));
    return {windowInput(b, loc, w, 0, first, zero), behind};
  };
  return emitGpuPlanes(kernel, in, out, {most, range, w.extent(0) - 1},
                       [&](OpBuilder &b, Location loc, PlaneLoad load, Value plane, ValueRange at) {
                         return value(b, loc, {in.shape, load, everyTap(w, in.shape, out.shape)}, plane, at);
                       });
}

namespace {

Value equal(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
}

/// A gradient's nest: the block has rows of the input and the windows that reach them.
struct GradientNest {
  KernelBuilder &kernel;
  const Window &w;
  PlaneSide in, out;
  int64_t planes, lanes; ///< of an access, of either side
  Type element;
  PlaneDivision d{};

  GradientNest(KernelBuilder &kernel, const Window &w, unsigned dy)
      : kernel(kernel), w(w), in(kernel.resultShape(0).drop_front(2)), out(kernel.operandShape(dy).drop_front(2)),
        planes(numElements(kernel.resultShape(0).take_front(2))), lanes(vectorLanes(kernel.resultBytes(0))),
        element(kernel.resultElementType(0)) {
    for (unsigned i = 0; i <= dy; ++i)
      lanes = std::max(lanes, vectorLanes(kernel.operandBytes(i)));
  }

  bool whole(PlaneDivision d) const { return d.rows == in.shape[0]; }
  int64_t windowRows(PlaneDivision d) const {
    return whole(d) ? out.shape[0] : std::min(out.shape[0], (d.rows + w.extent(0) - 2) / w.strides[0] + 1);
  }
  /// Of rows that begin anywhere on a side.
  bool aligned(const PlaneSide &side, PlaneDivision d) const {
    return multiple(whole(d) ? d.planes * side.plane : side.row, lanes);
  }
  /// Of the block's own rows.
  bool ownAligned(PlaneDivision d) const {
    return whole(d) ? multiple(d.planes * in.plane, lanes)
                    : multiple(d.rows * in.row, lanes) && multiple(in.plane, lanes);
  }
  int64_t windows(PlaneDivision d) const { return d.planes * windowRows(d) * out.row; }
  int64_t own(PlaneDivision d) const { return d.planes * d.rows * in.row; }
  int64_t stageBytes(const PlaneSide &side, int64_t count, PlaneDivision d) const {
    return GpuStage::bytes(element, lanes, count, aligned(side, d));
  }
  bool endsAligned() const { return ownAligned(d) && (planes % d.planes == 0 || multiple(in.plane, lanes)); }

  bool divideBy(function_ref<int64_t(PlaneDivision)> bytes) {
    if (!canStagePlanes(kernel, element, planes * in.plane))
      return false;
    auto found = dividePlanes(planes, in.shape[0], w.extent(0) - 1, bytes,
                        [&](PlaneDivision d) { return whole(d) ? aligned(in, d) && aligned(out, d) : ownAligned(d); });
    d = found.value_or(PlaneDivision{});
    return found.has_value();
  }

  void emit(function_ref<void(OpBuilder &, Location, const PlanePart &, Value, Value)> body) {
    kernel.cooperative(
        PlanePart::blocks(d, planes, in.shape[0]), planeThreads(own(d)),
        [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
          PlanePart part(block, d, planes, in.shape[0], b, loc, at);
          if (!part.firstRow)
            return body(b, loc, part, {}, {});
          // The first window that ends behind the first row, and the last one that begins before the last.
          Value zero = kb::idx(b, loc, 0), stride = kb::idx(b, loc, w.strides[0]),
                count = kb::idx(b, loc, out.shape[0]);
          Value reach = kb::add(b, loc, part.firstRow, kb::idx(b, loc, w.padBegin(0) - w.extent(0) + w.strides[0]));
          Value first = kb::min(b, loc, kb::div(b, loc, kb::max(b, loc, reach, zero), stride), count);
          Value last = kb::max(b, loc, kb::add(b, loc, part.endRow, kb::idx(b, loc, w.padBegin(0) - 1)), zero);
          Value end = kb::min(b, loc, kb::add(b, loc, kb::div(b, loc, last, stride), kb::idx(b, loc, 1)), count);
          body(b, loc, part, first, kb::max(b, loc, end, first));
        });
  }

  /// Where the window at `at` of a plane is among the block's.
  Value windowPlace(OpBuilder &b, Location loc, Value plane, ValueRange at, Value firstWindow) const {
    SmallVector<Value> from(at);
    if (firstWindow)
      from[0] = kb::sub(b, loc, from[0], firstWindow);
    from.insert(from.begin(), plane);
    return kb::linearize(b, loc, from, out.part(d.planes, windowRows(d)));
  }

  /// acc = add(window, valid, acc) over the windows that can reach the element at `at`, in order; a window that is not
  /// valid, or does not reach it, is not to be looked at.
  Value overWindows(OpBuilder &b, Location loc, ValueRange at, Value init,
                    function_ref<Value(OpBuilder &, Location, ValueRange, Value, Value)> add) const {
    SmallVector<int64_t> counts;
    for (size_t r = 0; r < w.rank(); ++r)
      counts.push_back(llvm::divideCeil(w.extent(r), w.strides[r]));
    return KernelBuilder::foldNest(
        b, loc, fullBounds(b, loc, counts), init, [&](OpBuilder &b, Location l, ValueRange k, Value acc) {
          SmallVector<Value> window;
          Value valid;
          for (size_t r = 0; r < w.rank(); ++r) {
            Value padded = kb::add(b, l, at[r], kb::idx(b, l, w.padBegin(r)));
            Value last = kb::div(b, l, padded, kb::idx(b, l, w.strides[r]));
            Value o = kb::add(b, l, last, kb::sub(b, l, k[r], kb::idx(b, l, counts[r] - 1)));
            valid = both(b, l, valid, kb::inRange(b, l, o, kb::idx(b, l, 0), kb::idx(b, l, out.shape[r])));
            Value within = kb::sub(b, l, padded, kb::mul(b, l, o, kb::idx(b, l, w.strides[r])));
            if (counts[r] * w.strides[r] != w.extent(r) || w.padBegin(r) < 0)
              valid = both(b, l, valid, kb::inRange(b, l, within, kb::idx(b, l, 0), kb::idx(b, l, w.extent(r))));
            if (w.dilations[r] != 1) {
              Value rest = kb::rem(b, l, within, kb::idx(b, l, w.dilations[r]));
              valid = both(b, l, valid, equal(b, l, rest, kb::idx(b, l, 0)));
            }
            window.push_back(o);
          }
          return add(b, l, window, valid, acc);
        });
  }
};

} // namespace

bool emitGpuMaxPoolGrad(KernelBuilder &kernel, const Window &w) {
  GradientNest nest(kernel, w, 1);
  const PlaneSide &in = nest.in, &out = nest.out;
  Type type = nest.element, sumType = computeType(type), position = IntegerType::get(type.getContext(), 32);
  auto reached = [&](PlaneDivision d) {
    return nest.whole(d) ? d.rows : std::min(in.shape[0], d.rows + 2 * (w.extent(0) - 1));
  };
  bool fits = nest.divideBy([&](PlaneDivision d) {
    return nest.stageBytes(in, d.planes * reached(d) * in.row, d) + nest.stageBytes(out, nest.windows(d), d) +
           4 * nest.windows(d) + 16;
  });
  if (!fits)
    return false;
  PlaneDivision d = nest.d;
  nest.emit([&](OpBuilder &b, Location loc, const PlanePart &part, Value firstWindow, Value endWindow) {
    // The elements of these windows, and the block's own, which no window may reach.
    Value xFirstRow, xEndRow;
    if (firstWindow) {
      Value zero = kb::idx(b, loc, 0), last = kb::sub(b, loc, endWindow, kb::idx(b, loc, 1));
      Value behind = kb::add(b, loc, windowInput(b, loc, w, 0, last, zero), kb::idx(b, loc, w.extent(0)));
      xFirstRow = kb::max(b, loc, kb::min(b, loc, windowInput(b, loc, w, 0, firstWindow, zero), part.firstRow), zero);
      xEndRow = kb::min(b, loc, kb::max(b, loc, behind, part.endRow), kb::idx(b, loc, in.shape[0]));
    }
    const GpuBlock &block = part.block;
    GpuStage x(block, type, nest.lanes, d.planes * reached(d) * in.row, nest.aligned(in, d));
    GpuStage dy(block, type, nest.lanes, nest.windows(d), nest.aligned(out, d));
    Value maxima = block.shared({nest.windows(d)}, position);
    auto [xBegin, xEnd] = part.range(b, loc, in, xFirstRow, xEndRow);
    auto [dyBegin, dyEnd] = part.range(b, loc, out, firstWindow, endWindow);
    x.place(b, loc, xBegin, xEnd);
    dy.place(b, loc, dyBegin, dyEnd);
    x.read(kernel, b, loc, 0);
    dy.read(kernel, b, loc, 1);
    block.barrier(b, loc);
    Value xFirst = x.place(b, loc, part.position(b, loc, in)),
          dyFirst = dy.place(b, loc, part.position(b, loc, out, firstWindow));
    part.overElements(
        b, loc, out, nest.windowRows(d), firstWindow, endWindow,
        [&](OpBuilder &b, Location l, Value j, Value plane, ValueRange at) {
          auto load = [&](OpBuilder &b, Location l, ValueRange from) {
            return x.load(b, l, kb::add(b, l, xFirst, in.distance(b, l, plane, from)));
          };
          Value max = windowMax(b, l, w, {in.shape, load, everyTap(w, in.shape, out.shape)}, type, at, false).second;
          max = kb::fromIndex(b, l, max, position);
          if (Value reads = readsInput(b, l, w, at, in.shape)) // the maximum of nothing is nowhere
            max = arith::SelectOp::create(b, l, reads, max, kb::constant(b, l, position, -1));
          storeWorkspace(b, l, max, maxima, j);
        });
    block.barrier(b, loc);
    // x has been read: its place takes the sums.
    part.overElements(b, loc, in, d.rows, part.firstRow, part.lastEnd,
                      [&](OpBuilder &b, Location l, Value, Value plane, ValueRange at) {
                        Value here = kb::fromIndex(b, l, kb::linearize(b, l, at, in.shape), position);
                        Value sum = nest.overWindows(
                            b, l, at, kb::constant(b, l, sumType, 0),
                            [&](OpBuilder &b, Location l, ValueRange window, Value valid, Value acc) -> Value {
                              Value place = arith::SelectOp::create(
                                  b, l, valid, nest.windowPlace(b, l, plane, window, firstWindow), kb::idx(b, l, 0));
                              Value hit = both(b, l, valid, equal(b, l, loadWorkspace(b, l, maxima, place), here));
                              Value g = convertTo(b, l, dy.load(b, l, kb::add(b, l, dyFirst, place)), sumType);
                              return arith::SelectOp::create(b, l, hit, kb::add(b, l, acc, g), acc);
                            });
                        x.store(b, l, convertTo(b, l, sum, type), kb::add(b, l, xFirst, in.distance(b, l, plane, at)));
                      });
    block.barrier(b, loc);
    auto [begin, end] = part.range(b, loc, in, part.firstRow, part.endRow);
    x.write(kernel, b, loc, 0, begin, end, nest.own(d), nest.endsAligned());
  });
  return true;
}

bool emitGpuAvgPoolGrad(KernelBuilder &kernel, const Window &w, bool countPad) {
  GradientNest nest(kernel, w, 0);
  const PlaneSide &in = nest.in, &out = nest.out;
  Type type = nest.element, sumType = computeType(type);
  bool fits = nest.divideBy([&](PlaneDivision d) {
    return nest.stageBytes(out, nest.windows(d), d) + elementBytes(sumType) * nest.windows(d) + 16 +
           GpuStage::bytes(type, nest.lanes, nest.own(d), nest.ownAligned(d));
  });
  if (!fits)
    return false;
  PlaneDivision d = nest.d;
  nest.emit([&](OpBuilder &b, Location loc, const PlanePart &part, Value firstWindow, Value endWindow) {
    const GpuBlock &block = part.block;
    GpuStage dy(block, type, nest.lanes, nest.windows(d), nest.aligned(out, d)),
        dx(block, type, nest.lanes, nest.own(d), nest.ownAligned(d));
    Value quotients = block.shared({nest.windows(d)}, sumType);
    auto [dyBegin, dyEnd] = part.range(b, loc, out, firstWindow, endWindow);
    auto [begin, end] = part.range(b, loc, in, part.firstRow, part.endRow);
    dy.place(b, loc, dyBegin, dyEnd);
    dx.place(b, loc, begin, end);
    dy.read(kernel, b, loc, 0);
    block.barrier(b, loc);
    Value dyFirst = dy.place(b, loc, part.position(b, loc, out, firstWindow)),
          dxFirst = dx.place(b, loc, part.position(b, loc, in));
    part.overElements(b, loc, out, nest.windowRows(d), firstWindow, endWindow,
                      [&](OpBuilder &b, Location l, Value j, Value, ValueRange at) {
                        Value g = convertTo(b, l, dy.load(b, l, kb::add(b, l, dyFirst, j)), sumType);
                        storeWorkspace(b, l, kb::div(b, l, g, windowCount(b, l, w, at, in.shape, countPad, sumType)),
                                       quotients, j);
                      });
    block.barrier(b, loc);
    part.overElements(
        b, loc, in, d.rows, part.firstRow, part.lastEnd,
        [&](OpBuilder &b, Location l, Value, Value plane, ValueRange at) {
          Value sum =
              nest.overWindows(b, l, at, kb::constant(b, l, sumType, 0),
                               [&](OpBuilder &b, Location l, ValueRange window, Value valid, Value acc) -> Value {
                                 Value place = arith::SelectOp::create(
                                     b, l, valid, nest.windowPlace(b, l, plane, window, firstWindow), kb::idx(b, l, 0));
                                 return arith::SelectOp::create(
                                     b, l, valid, kb::add(b, l, acc, loadWorkspace(b, l, quotients, place)), acc);
                               });
          dx.store(b, l, convertTo(b, l, sum, type), kb::add(b, l, dxFirst, in.distance(b, l, plane, at)));
        });
    block.barrier(b, loc);
    dx.write(kernel, b, loc, 0, begin, end, nest.own(d), nest.endsAligned());
  });
  return true;
}

} // namespace gmc::nn
