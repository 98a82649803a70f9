//===- PoolGpu.cpp - pools and their gradients by blocks of GPU threads ---------------------------------===//
//
// A block has some whole planes, or some rows of one: positions of the first spatial axis, with all of the others. It copies what their
// windows reach into shared memory, reads windows from there, an element of the result a thread, and copies the results out
// (GpuStage). Of a gradient, the block has what lies in its part of the input: the windows that reach into it, their maxima or
// quotients first, then the sum of those that meet in an element, the first window first.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/GpuStage.h"
#include "dialects/NN/PoolKernel.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc::nn {

namespace {

/// Shared memory with which several blocks fit on a processor, and so many blocks that all processors have some.
constexpr int64_t wantedBytes = 16 << 10, enoughBlocks = 1024;
constexpr int64_t mostThreads = 256;

/// One side of a pool: its planes' spatial shape.
struct Side {
  ArrayRef<int64_t> shape;
  int64_t plane, row; ///< elements of a plane, and of one position of the first axis
  Side(ArrayRef<int64_t> shape) : shape(shape), plane(numElements(shape)), row(numElements(shape.drop_front())) {}
  /// A shape of `planes` planes with `rows` rows each.
  SmallVector<int64_t> part(int64_t planes, int64_t rows) const {
    SmallVector<int64_t> sizes{planes, rows};
    llvm::append_range(sizes, shape.drop_front());
    return sizes;
  }
};

/// How planes are divided among blocks: `planes` whole ones each, or `rows` of one.
struct Division {
  int64_t planes, rows;
};

/// The most that fits into shared memory, of which `bytes` says how much planes and rows take, aligned where that is possible: nullopt
/// where a row is too large.
std::optional<Division> divide(int64_t allPlanes, int64_t allRows, int64_t halo, function_ref<int64_t(Division)> bytes,
                               function_ref<bool(Division)> aligned) {
  constexpr int64_t mostLanes = 16;
  int64_t step = 1;
  while (step < mostLanes && !aligned({step, allRows}))
    ++step;
  for (int64_t planes : {step, int64_t(1)}) {
    if (bytes({planes, allRows}) > wantedBytes)
      continue;
    int64_t several = planes;
    while (several + planes <= allPlanes / enoughBlocks && bytes({several + planes, allRows}) <= wantedBytes)
      several += planes;
    return Division{several, allRows};
  }
  // Rows around a block's own are read by its neighbours, too: as few of those as the shared memory allows.
  for (int64_t limit : {wantedBytes, 2 * wantedBytes, GpuBlock::maxSharedBytes}) {
    int64_t low = 0, high = allRows + 1; // low fits, high does not
    while (high - low > 1) {
      int64_t middle = low + (high - low) / 2;
      (bytes({1, middle}) <= limit ? low : high) = middle;
    }
    if (low < 1 || (limit < GpuBlock::maxSharedBytes && low < std::min(allRows, 2 * halo)))
      continue;
    int64_t rows = llvm::divideCeil(allRows, llvm::divideCeil(allRows, low));
    for (int64_t fewer = rows; fewer > std::max<int64_t>(rows - mostLanes, 0); --fewer)
      if (aligned({1, fewer}))
        return Division{1, fewer};
    return Division{1, rows};
  }
  return std::nullopt;
}

int64_t lanesOf(int64_t bytes) { return std::max<int64_t>(16 / bytes, 1); }
bool multiple(int64_t x, int64_t of) { return x % of == 0; }
Value both(OpBuilder &b, Location loc, Value x, Value y) {
  return !x ? y : !y ? x : b.createOrFold<arith::AndIOp>(loc, x, y);
}
Value compare(OpBuilder &b, Location loc, arith::CmpIPredicate how, Value x, Value y) {
  return arith::CmpIOp::create(b, loc, how, x, y);
}

/// The part of a nest that a block has, and what the loops over it share.
struct Part {
  const GpuBlock &block;
  Division division;
  int64_t allPlanes, allRows;
  Value firstPlane, endPlane; ///< endPlane: null where every block has as many
  Value firstRow, endRow;     ///< null: all of them
  Value lastEnd;              ///< endRow, or null where every block has as many rows

  Part(const GpuBlock &block, Division division, int64_t allPlanes, int64_t allRows, OpBuilder &b, Location loc, ValueRange at)
      : block(block), division(division), allPlanes(allPlanes), allRows(allRows) {
    firstPlane = kb::mul(b, loc, at[0], kb::idx(b, loc, division.planes));
    if (allPlanes % division.planes)
      endPlane = kb::min(b, loc, kb::add(b, loc, firstPlane, kb::idx(b, loc, division.planes)), kb::idx(b, loc, allPlanes));
    if (division.rows == allRows)
      return;
    firstRow = kb::mul(b, loc, at[1], kb::idx(b, loc, division.rows));
    endRow = kb::min(b, loc, kb::add(b, loc, firstRow, kb::idx(b, loc, division.rows)), kb::idx(b, loc, allRows));
    lastEnd = allRows % division.rows ? endRow : Value();
  }

  static SmallVector<int64_t> blocks(Division division, int64_t allPlanes, int64_t allRows) {
    return {static_cast<int64_t>(llvm::divideCeil(allPlanes, division.planes)), static_cast<int64_t>(llvm::divideCeil(allRows, division.rows))};
  }

  /// Position of row `row` of the block's first plane; null: the first row.
  Value position(OpBuilder &b, Location loc, const Side &side, Value row = {}) const {
    Value at = kb::mul(b, loc, firstPlane, kb::idx(b, loc, side.plane));
    return row ? kb::add(b, loc, at, kb::mul(b, loc, row, kb::idx(b, loc, side.row))) : at;
  }
  /// Positions of the rows [first, end) of one plane, or of all planes where rows are not divided.
  std::pair<Value, Value> range(OpBuilder &b, Location loc, const Side &side, Value first, Value end) const {
    if (first)
      return {position(b, loc, side, first), position(b, loc, side, end)};
    Value last = endPlane ? endPlane : kb::add(b, loc, firstPlane, kb::idx(b, loc, division.planes));
    return {position(b, loc, side), kb::mul(b, loc, last, kb::idx(b, loc, side.plane))};
  }

  /// Calls body(j, plane, at) for each element of `rows` rows from `first` on (null: 0) of the block's planes; the plane is counted from
  /// the block's first, and j counts elements. Rows from `end` on (null: none) are left out.
  void overElements(OpBuilder &b, Location loc, const Side &side, int64_t rows, Value first, Value end,
                    function_ref<void(OpBuilder &, Location, Value, Value, ValueRange)> body) const {
    SmallVector<int64_t> sizes = side.part(division.planes, rows);
    block.strided(b, loc, numElements(sizes), [&](OpBuilder &b, Location l, Value j) {
      bool one = division.planes == 1;
      SmallVector<Value> at = kb::delinearize(b, l, j, ArrayRef(sizes).drop_front(one));
      if (one)
        at.insert(at.begin(), kb::idx(b, l, 0));
      Value exists;
      if (endPlane)
        exists = compare(b, l, arith::CmpIPredicate::slt, kb::add(b, l, firstPlane, at[0]), endPlane);
      if (first) {
        at[1] = kb::add(b, l, first, at[1]);
        if (end)
          exists = both(b, l, exists, compare(b, l, arith::CmpIPredicate::slt, at[1], end));
      }
      auto inside = [&](OpBuilder &b, Location l) { body(b, l, j, at[0], ValueRange(at).drop_front()); };
      exists ? kb::when(b, l, exists, inside) : inside(b, l);
    });
  }
};

int64_t threadsFor(int64_t elements) {
  return std::clamp<int64_t>(llvm::alignTo(llvm::divideCeil(elements, 2), GpuBlock::warpSize), 2 * GpuBlock::warpSize, mostThreads);
}

/// Whether the elements of rows are whole bytes, and there are any.
bool canStage(KernelBuilder &kernel, Type element, int64_t elements) {
  return kernel.target() == KernelTarget::Gpu && element.getIntOrFloatBitWidth() >= 8 && elements > 0;
}

/// Rows of the input that `rows` rows of the output reach, at most.
int64_t reachedRows(const Window &w, const Side &in, int64_t rows) { return std::min(in.shape[0], (rows - 1) * w.strides[0] + w.extent(0)); }

} // namespace

bool emitGpuPool(KernelBuilder &kernel, const Window &w, PoolValue value) {
  Type element = kernel.operandElementType(0), resultType = kernel.resultElementType(0);
  int64_t planes = numElements(kernel.operandShape(0).take_front(2));
  Side in(kernel.operandShape(0).drop_front(2)), out(kernel.resultShape(0).drop_front(2));
  if (!canStage(kernel, element, planes * in.plane))
    return false;
  int64_t xLanes = lanesOf(kernel.operandBytes(0)), yLanes = lanesOf(kernel.resultBytes(0));
  auto rowsIn = [&](Division d) { return d.rows == out.shape[0] ? in.shape[0] : reachedRows(w, in, d.rows); };
  auto xAligned = [&](Division d) { return multiple(d.rows == out.shape[0] ? d.planes * in.plane : in.row, xLanes); };
  auto yAligned = [&](Division d) {
    return d.rows == out.shape[0] ? multiple(d.planes * out.plane, yLanes) : multiple(d.rows * out.row, yLanes) && multiple(out.plane, yLanes);
  };
  auto division = divide(
      planes, out.shape[0], w.extent(0) - 1,
      [&](Division d) {
        return GpuStage::bytes(element, xLanes, d.planes * rowsIn(d) * in.row, xAligned(d)) +
               GpuStage::bytes(resultType, yLanes, d.planes * d.rows * out.row, yAligned(d));
      },
      [&](Division d) { return xAligned(d) && yAligned(d); });
  if (!division)
    return false;
  Division d = *division;
  int64_t xCount = d.planes * rowsIn(d) * in.row, yCount = d.planes * d.rows * out.row;
  bool endsAligned = yAligned(d) && (planes % d.planes == 0 || multiple(out.plane, yLanes));
  kernel.cooperative(Part::blocks(d, planes, out.shape[0]), threadsFor(yCount), [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
    Part part(block, d, planes, out.shape[0], b, loc, at);
    Value reachedFirst, reachedEnd;
    if (part.firstRow) {
      Value zero = kb::idx(b, loc, 0), rows = kb::idx(b, loc, in.shape[0]), last = kb::sub(b, loc, part.endRow, kb::idx(b, loc, 1));
      reachedFirst = kb::max(b, loc, windowInput(b, loc, w, 0, part.firstRow, zero), zero);
      reachedEnd = kb::add(b, loc, windowInput(b, loc, w, 0, last, zero), kb::idx(b, loc, w.extent(0)));
      reachedEnd = kb::min(b, loc, kb::max(b, loc, reachedEnd, reachedFirst), rows);
    }
    GpuStage x(block, element, xLanes, xCount, xAligned(d)), y(block, resultType, yLanes, yCount, yAligned(d));
    auto [xBegin, xEnd] = part.range(b, loc, in, reachedFirst, reachedEnd);
    auto [yBegin, yEnd] = part.range(b, loc, out, part.firstRow, part.endRow);
    x.place(b, loc, xBegin, xEnd);
    y.place(b, loc, yBegin, yEnd);
    x.read(kernel, b, loc, 0);
    block.barrier(b, loc);
    Value xFirst = x.place(b, loc, part.position(b, loc, in)), yFirst = y.place(b, loc, part.position(b, loc, out));
    part.overElements(b, loc, out, d.rows, part.firstRow, part.lastEnd, [&](OpBuilder &b, Location l, Value, Value plane, ValueRange at) {
      auto place = [](OpBuilder &b, Location l, const Side &side, Value first, Value plane, ValueRange at) {
        Value inPlane = kb::add(b, l, kb::mul(b, l, plane, kb::idx(b, l, side.plane)), kb::linearize(b, l, at, side.shape));
        return kb::add(b, l, first, inPlane);
      };
      auto load = [&](OpBuilder &b, Location l, ValueRange from) { return x.load(b, l, place(b, l, in, xFirst, plane, from)); };
      PoolPlane source{in.shape, load, everyTap(w, in.shape, out.shape)};
      y.store(b, l, value(b, l, source, kb::add(b, l, part.firstPlane, plane), at), place(b, l, out, yFirst, plane, at));
    });
    block.barrier(b, loc);
    y.write(kernel, b, loc, 0, yBegin, yEnd, yCount, endsAligned);
  });
  return true;
}

namespace {

/// A gradient's nest: the block has rows of the input and the windows that reach them.
struct GradientNest {
  KernelBuilder &kernel;
  const Window &w;
  Side in, out;
  int64_t planes, lanes; ///< of an access, of either side
  Type element;
  Division d{};

  GradientNest(KernelBuilder &kernel, const Window &w, unsigned dy)
      : kernel(kernel), w(w), in(kernel.resultShape(0).drop_front(2)), out(kernel.operandShape(dy).drop_front(2)),
        planes(numElements(kernel.resultShape(0).take_front(2))), lanes(lanesOf(kernel.resultBytes(0))), element(kernel.resultElementType(0)) {
    for (unsigned i = 0; i <= dy; ++i)
      lanes = std::max(lanes, lanesOf(kernel.operandBytes(i)));
  }

  bool whole(Division d) const { return d.rows == in.shape[0]; }
  int64_t windowRows(Division d) const { return whole(d) ? out.shape[0] : std::min(out.shape[0], (d.rows + w.extent(0) - 2) / w.strides[0] + 1); }
  /// Of rows that begin anywhere on a side.
  bool aligned(const Side &side, Division d) const { return multiple(whole(d) ? d.planes * side.plane : side.row, lanes); }
  /// Of the block's own rows.
  bool ownAligned(Division d) const {
    return whole(d) ? multiple(d.planes * in.plane, lanes) : multiple(d.rows * in.row, lanes) && multiple(in.plane, lanes);
  }
  int64_t windows(Division d) const { return d.planes * windowRows(d) * out.row; }
  int64_t own(Division d) const { return d.planes * d.rows * in.row; }
  int64_t stageBytes(const Side &side, int64_t count, Division d) const { return GpuStage::bytes(element, lanes, count, aligned(side, d)); }
  bool endsAligned() const { return ownAligned(d) && (planes % d.planes == 0 || multiple(in.plane, lanes)); }

  bool divideBy(function_ref<int64_t(Division)> bytes) {
    if (!canStage(kernel, element, planes * in.plane))
      return false;
    auto found = divide(planes, in.shape[0], w.extent(0) - 1, bytes,
                        [&](Division d) { return whole(d) ? aligned(in, d) && aligned(out, d) : ownAligned(d); });
    d = found.value_or(Division{});
    return found.has_value();
  }

  void emit(function_ref<void(OpBuilder &, Location, const Part &, Value, Value)> body) {
    kernel.cooperative(Part::blocks(d, planes, in.shape[0]), threadsFor(own(d)), [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
      Part part(block, d, planes, in.shape[0], b, loc, at);
      if (!part.firstRow)
        return body(b, loc, part, {}, {});
      // The first window that ends behind the first row, and the last one that begins before the last.
      Value zero = kb::idx(b, loc, 0), stride = kb::idx(b, loc, w.strides[0]), count = kb::idx(b, loc, out.shape[0]);
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

  /// acc = add(window, valid, acc) over the windows that can reach the element at `at`, in order; a window that is not valid, or does not
  /// reach it, is not to be looked at.
  Value overWindows(OpBuilder &b, Location loc, ValueRange at, Value init,
                    function_ref<Value(OpBuilder &, Location, ValueRange, Value, Value)> add) const {
    SmallVector<int64_t> counts;
    for (size_t r = 0; r < w.rank(); ++r)
      counts.push_back(llvm::divideCeil(w.extent(r), w.strides[r]));
    return KernelBuilder::foldNest(b, loc, fullBounds(b, loc, counts), init, [&](OpBuilder &b, Location l, ValueRange k, Value acc) {
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
          valid = both(b, l, valid, compare(b, l, arith::CmpIPredicate::eq, rest, kb::idx(b, l, 0)));
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
  const Side &in = nest.in, &out = nest.out;
  Type type = nest.element, sumType = computeType(type), position = IntegerType::get(type.getContext(), 32);
  auto reached = [&](Division d) { return nest.whole(d) ? d.rows : std::min(in.shape[0], d.rows + 2 * (w.extent(0) - 1)); };
  bool fits = nest.divideBy([&](Division d) {
    return nest.stageBytes(in, d.planes * reached(d) * in.row, d) + nest.stageBytes(out, nest.windows(d), d) + 4 * nest.windows(d) + 16;
  });
  if (!fits)
    return false;
  Division d = nest.d;
  nest.emit([&](OpBuilder &b, Location loc, const Part &part, Value firstWindow, Value endWindow) {
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
    Value xFirst = x.place(b, loc, part.position(b, loc, in)), dyFirst = dy.place(b, loc, part.position(b, loc, out, firstWindow));
    auto xPlace = [&](OpBuilder &b, Location l, Value plane, Value inPlane) {
      return kb::add(b, l, xFirst, kb::add(b, l, kb::mul(b, l, plane, kb::idx(b, l, in.plane)), inPlane));
    };
    part.overElements(b, loc, out, nest.windowRows(d), firstWindow, endWindow, [&](OpBuilder &b, Location l, Value j, Value plane, ValueRange at) {
      auto load = [&](OpBuilder &b, Location l, ValueRange from) {
        return x.load(b, l, xPlace(b, l, plane, kb::linearize(b, l, from, in.shape)));
      };
      Value max = windowMax(b, l, w, {in.shape, load, everyTap(w, in.shape, out.shape)}, type, at, false).second;
      max = kb::fromIndex(b, l, max, position);
      if (Value reads = readsInput(b, l, w, at, in.shape)) // the maximum of nothing is nowhere
        max = arith::SelectOp::create(b, l, reads, max, kb::constant(b, l, position, -1));
      storeWorkspace(b, l, max, maxima, j);
    });
    block.barrier(b, loc);
    // x has been read: its place takes the sums.
    part.overElements(b, loc, in, d.rows, part.firstRow, part.lastEnd, [&](OpBuilder &b, Location l, Value, Value plane, ValueRange at) {
      Value self = kb::linearize(b, l, at, in.shape), here = kb::fromIndex(b, l, self, position);
      Value sum = nest.overWindows(b, l, at, kb::constant(b, l, sumType, 0), [&](OpBuilder &b, Location l, ValueRange window, Value valid, Value acc) -> Value {
        Value place = arith::SelectOp::create(b, l, valid, nest.windowPlace(b, l, plane, window, firstWindow), kb::idx(b, l, 0));
        Value hit = both(b, l, valid, compare(b, l, arith::CmpIPredicate::eq, loadWorkspace(b, l, maxima, place), here));
        Value g = convertTo(b, l, dy.load(b, l, kb::add(b, l, dyFirst, place)), sumType);
        return arith::SelectOp::create(b, l, hit, kb::add(b, l, acc, g), acc);
      });
      x.store(b, l, convertTo(b, l, sum, type), xPlace(b, l, plane, self));
    });
    block.barrier(b, loc);
    auto [begin, end] = part.range(b, loc, in, part.firstRow, part.endRow);
    x.write(kernel, b, loc, 0, begin, end, nest.own(d), nest.endsAligned());
  });
  return true;
}

bool emitGpuAvgPoolGrad(KernelBuilder &kernel, const Window &w, bool countPad) {
  GradientNest nest(kernel, w, 0);
  const Side &in = nest.in, &out = nest.out;
  Type type = nest.element, sumType = computeType(type);
  bool fits = nest.divideBy([&](Division d) {
    return nest.stageBytes(out, nest.windows(d), d) + elementBytes(sumType) * nest.windows(d) + 16 +
           GpuStage::bytes(type, nest.lanes, nest.own(d), nest.ownAligned(d));
  });
  if (!fits)
    return false;
  Division d = nest.d;
  nest.emit([&](OpBuilder &b, Location loc, const Part &part, Value firstWindow, Value endWindow) {
    const GpuBlock &block = part.block;
    GpuStage dy(block, type, nest.lanes, nest.windows(d), nest.aligned(out, d)), dx(block, type, nest.lanes, nest.own(d), nest.ownAligned(d));
    Value quotients = block.shared({nest.windows(d)}, sumType);
    auto [dyBegin, dyEnd] = part.range(b, loc, out, firstWindow, endWindow);
    auto [begin, end] = part.range(b, loc, in, part.firstRow, part.endRow);
    dy.place(b, loc, dyBegin, dyEnd);
    dx.place(b, loc, begin, end);
    dy.read(kernel, b, loc, 0);
    block.barrier(b, loc);
    Value dyFirst = dy.place(b, loc, part.position(b, loc, out, firstWindow)), dxFirst = dx.place(b, loc, part.position(b, loc, in));
    part.overElements(b, loc, out, nest.windowRows(d), firstWindow, endWindow, [&](OpBuilder &b, Location l, Value j, Value, ValueRange at) {
      Value g = convertTo(b, l, dy.load(b, l, kb::add(b, l, dyFirst, j)), sumType);
      storeWorkspace(b, l, kb::div(b, l, g, windowCount(b, l, w, at, in.shape, countPad, sumType)), quotients, j);
    });
    block.barrier(b, loc);
    part.overElements(b, loc, in, d.rows, part.firstRow, part.lastEnd, [&](OpBuilder &b, Location l, Value, Value plane, ValueRange at) {
      Value sum = nest.overWindows(b, l, at, kb::constant(b, l, sumType, 0), [&](OpBuilder &b, Location l, ValueRange window, Value valid, Value acc) -> Value {
        Value place = arith::SelectOp::create(b, l, valid, nest.windowPlace(b, l, plane, window, firstWindow), kb::idx(b, l, 0));
        return arith::SelectOp::create(b, l, valid, kb::add(b, l, acc, loadWorkspace(b, l, quotients, place)), acc);
      });
      Value inPlane = kb::add(b, l, kb::mul(b, l, plane, kb::idx(b, l, in.plane)), kb::linearize(b, l, at, in.shape));
      dx.store(b, l, convertTo(b, l, sum, type), kb::add(b, l, dxFirst, inPlane));
    });
    block.barrier(b, loc);
    dx.write(kernel, b, loc, 0, begin, end, nest.own(d), nest.endsAligned());
  });
  return true;
}

} // namespace gmc::nn
