//===- GpuPlanes.cpp - planes of a tensor, divided among blocks of GPU threads --------------------------===//

#include "dialects/NN/GpuPlanes.h"
#include "dialects/NN/GpuSupport.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc::nn {

/// Shared memory with which several blocks fit on a processor, and so many blocks that all processors have some.
static constexpr int64_t wantedBytes = 16 << 10, enoughBlocks = 1024;
static constexpr int64_t mostThreads = 256;

Value PlaneSide::distance(OpBuilder &b, Location loc, Value number, ValueRange at) const {
  return kb::add(b, loc, kb::mul(b, loc, number, kb::idx(b, loc, plane)), kb::linearize(b, loc, at, shape));
}

SmallVector<int64_t> PlaneSide::part(int64_t planes, int64_t rows) const {
  SmallVector<int64_t> sizes{planes, rows};
  llvm::append_range(sizes, shape.drop_front());
  return sizes;
}

std::optional<PlaneDivision> dividePlanes(int64_t allPlanes, int64_t allRows, int64_t halo,
                                          function_ref<int64_t(PlaneDivision)> bytes,
                                          function_ref<bool(PlaneDivision)> aligned) {
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
    return PlaneDivision{several, allRows};
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
        return PlaneDivision{1, fewer};
    return PlaneDivision{1, rows};
  }
  return std::nullopt;
}

PlanePart::PlanePart(const GpuBlock &block, PlaneDivision division, int64_t allPlanes, int64_t allRows, OpBuilder &b,
                     Location loc, ValueRange at)
    : block(block), division(division), allPlanes(allPlanes), allRows(allRows) {
  firstPlane = kb::mul(b, loc, at[0], kb::idx(b, loc, division.planes));
  if (allPlanes % division.planes)
    endPlane =
        kb::min(b, loc, kb::add(b, loc, firstPlane, kb::idx(b, loc, division.planes)), kb::idx(b, loc, allPlanes));
  if (division.rows == allRows)
    return;
  firstRow = kb::mul(b, loc, at[1], kb::idx(b, loc, division.rows));
  endRow = kb::min(b, loc, kb::add(b, loc, firstRow, kb::idx(b, loc, division.rows)), kb::idx(b, loc, allRows));
  lastEnd = allRows % division.rows ? endRow : Value();
}

SmallVector<int64_t> PlanePart::blocks(PlaneDivision division, int64_t allPlanes, int64_t allRows) {
  return {static_cast<int64_t>(llvm::divideCeil(allPlanes, division.planes)),
          static_cast<int64_t>(llvm::divideCeil(allRows, division.rows))};
}

Value PlanePart::position(OpBuilder &b, Location loc, const PlaneSide &side, Value row) const {
  Value at = kb::mul(b, loc, firstPlane, kb::idx(b, loc, side.plane));
  return row ? kb::add(b, loc, at, kb::mul(b, loc, row, kb::idx(b, loc, side.row))) : at;
}

std::pair<Value, Value> PlanePart::range(OpBuilder &b, Location loc, const PlaneSide &side, Value first,
                                         Value end) const {
  if (first)
    return {position(b, loc, side, first), position(b, loc, side, end)};
  Value last = endPlane ? endPlane : kb::add(b, loc, firstPlane, kb::idx(b, loc, division.planes));
  return {position(b, loc, side), kb::mul(b, loc, last, kb::idx(b, loc, side.plane))};
}

void PlanePart::overElements(OpBuilder &b, Location loc, const PlaneSide &side, int64_t rows, Value first, Value end,
                             function_ref<void(OpBuilder &, Location, Value, Value, ValueRange)> body) const {
  SmallVector<int64_t> sizes = side.part(division.planes, rows);
  auto below = [](OpBuilder &b, Location l, Value x, Value y) -> Value {
    return arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, x, y);
  };
  block.strided(b, loc, numElements(sizes), [&](OpBuilder &b, Location l, Value j) {
    bool one = division.planes == 1;
    SmallVector<Value> at = kb::delinearize(b, l, j, ArrayRef(sizes).drop_front(one));
    if (one)
      at.insert(at.begin(), kb::idx(b, l, 0));
    Value exists;
    if (endPlane)
      exists = below(b, l, kb::add(b, l, firstPlane, at[0]), endPlane);
    if (first) {
      at[1] = kb::add(b, l, first, at[1]);
      if (end)
        exists = both(b, l, exists, below(b, l, at[1], end));
    }
    auto inside = [&](OpBuilder &b, Location l) { body(b, l, j, at[0], ValueRange(at).drop_front()); };
    exists ? kb::when(b, l, exists, inside) : inside(b, l);
  });
}

int64_t planeThreads(int64_t elements) {
  return std::clamp<int64_t>(llvm::alignTo(llvm::divideCeil(elements, 2), GpuBlock::warpSize), 2 * GpuBlock::warpSize,
                             mostThreads);
}

bool canStagePlanes(KernelBuilder &kernel, Type element, int64_t elements) {
  return kernel.target() == KernelTarget::Gpu && element.getIntOrFloatBitWidth() >= 8 && elements > 0;
}

bool emitGpuPlanes(KernelBuilder &kernel, const PlaneSide &in, const PlaneSide &out, const PlaneReach &reach,
                   PlaneValue value) {
  Type element = kernel.operandElementType(0), resultType = kernel.resultElementType(0);
  int64_t elements = numElements(kernel.operandShape(0)), allRows = out.shape[0];
  if (!canStagePlanes(kernel, element, elements))
    return false;
  int64_t planes = elements / in.plane;
  int64_t xLanes = vectorLanes(kernel.operandBytes(0)), yLanes = vectorLanes(kernel.resultBytes(0));
  auto rowsIn = [&](PlaneDivision d) {
    return d.rows == allRows ? in.shape[0] : std::min(in.shape[0], reach.most(d.rows));
  };
  auto xAligned = [&](PlaneDivision d) { return multiple(d.rows == allRows ? d.planes * in.plane : in.row, xLanes); };
  auto yAligned = [&](PlaneDivision d) {
    return d.rows == allRows ? multiple(d.planes * out.plane, yLanes)
                             : multiple(d.rows * out.row, yLanes) && multiple(out.plane, yLanes);
  };
  auto division = dividePlanes(
      planes, allRows, reach.halo,
      [&](PlaneDivision d) {
        return GpuStage::bytes(element, xLanes, d.planes * rowsIn(d) * in.row, xAligned(d)) +
               GpuStage::bytes(resultType, yLanes, d.planes * d.rows * out.row, yAligned(d));
      },
      [&](PlaneDivision d) { return xAligned(d) && yAligned(d); });
  if (!division)
    return false;
  PlaneDivision d = *division;
  int64_t xCount = d.planes * rowsIn(d) * in.row, yCount = d.planes * d.rows * out.row;
  bool endsAligned = yAligned(d) && (planes % d.planes == 0 || multiple(out.plane, yLanes));
  auto emit = [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
    PlanePart part(block, d, planes, allRows, b, loc, at);
    Value reachedFirst, reachedEnd;
    if (part.firstRow) {
      std::tie(reachedFirst, reachedEnd) = reach.range(b, loc, part.firstRow, part.endRow);
      reachedFirst = kb::max(b, loc, reachedFirst, kb::idx(b, loc, 0));
      reachedEnd = kb::min(b, loc, kb::max(b, loc, reachedEnd, reachedFirst), kb::idx(b, loc, in.shape[0]));
    }
    GpuStage x(block, element, xLanes, xCount, xAligned(d)), y(block, resultType, yLanes, yCount, yAligned(d));
    auto [xBegin, xEnd] = part.range(b, loc, in, reachedFirst, reachedEnd);
    auto [yBegin, yEnd] = part.range(b, loc, out, part.firstRow, part.endRow);
    x.place(b, loc, xBegin, xEnd);
    y.place(b, loc, yBegin, yEnd);
    x.read(kernel, b, loc, 0);
    block.barrier(b, loc);
    Value xFirst = x.place(b, loc, part.position(b, loc, in)), yFirst = y.place(b, loc, part.position(b, loc, out));
    part.overElements(b, loc, out, d.rows, part.firstRow, part.lastEnd,
                      [&](OpBuilder &b, Location l, Value, Value plane, ValueRange at) {
                        auto load = [&](OpBuilder &b, Location l, ValueRange from) {
                          return x.load(b, l, kb::add(b, l, xFirst, in.distance(b, l, plane, from)));
                        };
                        y.store(b, l, value(b, l, load, kb::add(b, l, part.firstPlane, plane), at),
                                kb::add(b, l, yFirst, out.distance(b, l, plane, at)));
                      });
    block.barrier(b, loc);
    y.write(kernel, b, loc, 0, yBegin, yEnd, yCount, endsAligned);
  };
  kernel.cooperative(PlanePart::blocks(d, planes, allRows), planeThreads(yCount), emit);
  return true;
}

} // namespace gmc::nn
