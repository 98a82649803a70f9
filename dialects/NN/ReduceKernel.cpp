//===- ReduceKernel.cpp - loops of a reduction --------------------------------------------------------------===//
//
// Neighbouring dimensions that are all reduced, or all kept, are one. When the innermost is reduced, an iteration makes
// one element and its innermost loop is contiguous. When it is kept, an iteration on the host makes a block of
// elements, so that the contiguous dimension is the inner loop; on a GPU it makes one, or neighbours (WidenGpuNests),
// also where rows begin inside of 16 bytes (emitAcross). Where the innermost is reduced, groups of a GPU's threads make
// an element (GpuRows). When there are few elements to make and much to read, the longest reduced dimension is cut into
// parts that iterations sum on their own; a second nest combines them (ReducePlan).
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/Fold.h"
#include "dialects/NN/GpuRows.h"
#include "dialects/NN/GpuStage.h"
#include "dialects/NN/GpuSupport.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Reduce.h"
#include "dialects/NN/ReducePlan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <numeric>

using namespace mlir;

namespace gmc::nn {

namespace {

/// Rows that the column form adds between a load and a store of its accumulators.
constexpr int64_t rowsAtOnce = 4;

class Reducer {
public:
  Reducer(KernelBuilder &kernel, ArrayRef<int64_t> axes, const Reduction &reduction)
      : kernel(kernel), r(reduction), plan(kernel.operandShape(0), axes, kernel.target()),
        element(kernel.resultElementType(0)), type(computeType(element)) {
    for (size_t d = 0; d < plan.sizes.size(); ++d)
      if (!plan.reduced[d])
        kept.push_back(plan.sizes[d]);
  }

  void emit() {
    // Blocks accumulate in the result (or workspace) itself, which must hold the accumulator's type.
    bool gpu = kernel.target() == KernelTarget::Gpu && !plan.reduced.empty() && plan.reduced.back();
    bool blocks =
        plan.columns() && kernel.target() == KernelTarget::Host && (plan.parts > 1 || type == signless(element));
    if (gpu)
      emitGroups();
    else if (blocks)
      emitColumns();
    else if (across())
      emitAcross();
    else
      emitRows();
    if (plan.combined())
      emitCombine();
  }

private:
  using Indices = ArrayRef<Value>;

  Value init(OpBuilder &b, Location loc) const {
    if (auto integer = dyn_cast<IntegerType>(type); integer && std::isinf(r.init)) {
      bool isUnsigned = kernel.operandElementType(0).isUnsignedInteger() || integer.getWidth() == 1;
      unsigned width = integer.getWidth();
      APInt value = r.init < 0 ? (isUnsigned ? APInt::getMinValue(width) : APInt::getSignedMinValue(width))
                               : (isUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width));
      return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, value));
    }
    return kb::constant(b, loc, type, r.init);
  }
  Value step(OpBuilder &b, Location loc, Value acc, Value x) const {
    Scalar value(b, loc, x);
    if (!r.sum)
      return r.step(Scalar(b, loc, acc), value).value();
    return KernelBuilder::addReassoc(b, loc, acc, (r.term ? r.term(value) : value).value());
  }
  /// Two accumulators as one.
  Value combine(OpBuilder &b, Location loc, Value x, Value y) const {
    return r.sum ? KernelBuilder::addReassoc(b, loc, x, y) : r.step(Scalar(b, loc, x), Scalar(b, loc, y)).value();
  }
  Value load(OpBuilder &b, Location loc, Indices indices) const {
    Value x = loadFlat(kernel, b, loc, 0, kb::linearize(b, loc, indices, plan.sizes));
    return convert(Scalar(b, loc, x), type).value();
  }
  Value partials(OpBuilder &b, Location loc) const { return kernel.workspace(b, 0, {plan.parts, plan.stride}, type); }
  /// What the result has for an accumulator.
  Value finished(OpBuilder &b, Location loc, Value acc) const {
    Scalar value(b, loc, acc);
    return convert(r.finish ? r.finish(value) : value, element).value();
  }
  void storeFinal(OpBuilder &b, Location loc, Value acc, Value at) const {
    storeFlat(kernel, b, loc, finished(b, loc, acc), 0, at);
  }

  /// Bounds of reduced dimension d in part `part`.
  std::pair<Value, Value> bounds(OpBuilder &b, Location loc, int64_t d, Value part) const {
    if (plan.parts == 1 || d != plan.splitDim)
      return {kb::idx(b, loc, 0), kb::idx(b, loc, plan.sizes[d])};
    Value lo = kb::mul(b, loc, part, kb::idx(b, loc, plan.chunk));
    return {lo, kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, plan.chunk)), kb::idx(b, loc, plan.sizes[d]))};
  }

  /// Indices of the merged dimensions from those of the kept and of the reduced ones.
  SmallVector<Value> interleave(Indices keptIndices, Indices reducedIndices) const {
    SmallVector<Value> indices;
    size_t k = 0, i = 0;
    for (bool isReduced : plan.reduced)
      indices.push_back(isReduced ? reducedIndices[i++] : keptIndices[k++]);
    return indices;
  }

  /// Folds over the box of reduced dimensions, from the number of `reduced` on.
  Value foldRows(OpBuilder &b, Location loc, ArrayRef<std::pair<Value, Value>> box, Indices keptIndices,
                 SmallVectorImpl<Value> &reduced, Value acc) const {
    size_t d = reduced.size();
    if (d == box.size())
      return step(b, loc, acc, load(b, loc, interleave(keptIndices, ArrayRef<Value>(reduced))));
    // Rows that do not follow each other in memory: the next one comes while this one is added.
    if (d > 0 && d + 1 == box.size()) {
      SmallVector<Value> next(reduced.begin(), reduced.end());
      Value last = kb::sub(b, loc, box[d - 1].second, kb::idx(b, loc, 1));
      next.back() = kb::min(b, loc, kb::add(b, loc, next.back(), kb::idx(b, loc, 1)), last);
      next.push_back(box[d].first);
      prefetchRow(kernel, b, loc, 0, kb::linearize(b, loc, interleave(keptIndices, next), plan.sizes),
                  plan.sizes.back());
    }
    return KernelBuilder::fold(b, loc, box[d].first, box[d].second, acc,
                               [&](OpBuilder &b, Location l, Value i, Value acc) {
                                 reduced.push_back(i);
                                 Value folded = foldRows(b, l, box, keptIndices, reduced, acc);
                                 reduced.pop_back();
                                 return folded;
                               });
  }

  /// The reduced dimensions' bounds in a part.
  SmallVector<std::pair<Value, Value>> boxOf(OpBuilder &b, Location loc, Value part) const {
    SmallVector<std::pair<Value, Value>> box;
    for (size_t d = 0; d < plan.sizes.size(); ++d)
      if (plan.reduced[d])
        box.push_back(bounds(b, loc, d, part));
    return box;
  }

  void emitRows() {
    SmallVector<int64_t> extents{plan.parts};
    llvm::append_range(extents, kept);
    overPositions(kernel, extents, [&](OpBuilder &b, Location loc, ArrayRef<Value> indices, Value) {
      ArrayRef<Value> keptIndices = indices.drop_front();
      Value at = kb::linearize(b, loc, keptIndices, kept);
      SmallVector<Value> reduced;
      Value acc = foldRows(b, loc, boxOf(b, loc, indices[0]), keptIndices, reduced, init(b, loc));
      if (plan.combined())
        storeWorkspace(b, loc, acc, partials(b, loc), {indices[0], at});
      else
        storeFinal(b, loc, acc, at);
    });
  }

  /// Elements that a thread loads at once.
  int64_t lanes() const { return 16 / kernel.operandBytes(0); }
  /// Whether columns are read in 16 bytes of which rows begin at any of them.
  bool across() const {
    int64_t bytes = elementBytes(kernel.operandElementType(0));
    return kernel.target() == KernelTarget::Gpu && plan.columns() && plan.splitDim >= 0 &&
           kept.back() >= ReducePlan::acrossColumns && (bytes == 2 || bytes == 4) && lanes() <= 8 &&
           kept.back() % lanes();
  }

  /// Columns of rows that begin anywhere: every few rows, their classes, begin at the same place inside of 16 bytes. A
  /// GPU's thread adds a vector of each row of a class, and the next class after it; what that makes of each column its
  /// block then adds out of shared memory, where the last thread's vectors are but those that the one before needs too.
  void emitAcross() {
    int64_t inner = kept.back(), width = lanes(), classes = width / std::gcd(inner, width), threads = 128;
    int64_t blocks = llvm::divideCeil(llvm::divideCeil(inner, width), threads - 1);
    SmallVector<int64_t> extents{plan.parts};
    llvm::append_range(extents, ArrayRef(kept).drop_back());
    extents.push_back(blocks);
    kernel.cooperative(extents, threads, [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
      Value one = kb::idx(b, loc, 1), vector = kb::idx(b, loc, width), thread = block.thread();
      Value buffer = block.shared({classes * threads * width}, type), zero = kb::idx(b, loc, 0);
      Value column =
          kb::mul(b, loc, kb::add(b, loc, kb::mul(b, loc, at.back(), kb::idx(b, loc, threads - 1)), thread), vector);
      SmallVector<Value> keptIndices(at.drop_front());
      keptIndices.back() = column;
      auto box = boxOf(b, loc, at[0]);
      auto [low, high] = box.pop_back_val();
      // Threads behind the last column have no rows.
      Value exists =
          arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, column, kb::idx(b, loc, inner + width - 1));
      high = arith::SelectOp::create(b, loc, exists, high, low);
      auto shiftOf = [&](OpBuilder &b, Location l, Value number) {
        return kb::rem(b, l, kb::mul(b, l, number, kb::idx(b, l, inner % width)), vector);
      };
      auto placeOf = [&](OpBuilder &b, Location l, Value number) {
        return kb::mul(b, l, kb::add(b, l, kb::mul(b, l, number, kb::idx(b, l, threads)), thread), vector);
      };
      Value count = kb::idx(b, loc, classes);
      KernelBuilder::loop(b, loc, zero, count, [&](OpBuilder &b, Location loc, Value number) {
        Value shift = shiftOf(b, loc, number);
        SmallVector<Value> sums(width, init(b, loc));
        sums = foldMany(b, loc, box, sums, [&](OpBuilder &b, Location loc, ValueRange outer, ValueRange accs) {
          SmallVector<Value> reduced(outer);
          reduced.push_back(low);
          SmallVector<Value> indices = interleave(keptIndices, reduced);
          Value row = kb::linearize(b, loc, ArrayRef(indices).drop_back(), ArrayRef(plan.sizes).drop_back());
          Value before =
              kb::rem(b, loc, kb::sub(b, loc, kb::add(b, loc, number, count), kb::rem(b, loc, row, count)), count);
          auto loop = scf::ForOp::create(
              b, loc, kb::add(b, loc, low, before), high, count, accs,
              [&](OpBuilder &b, Location l, Value r, ValueRange accs) {
                Value first = kb::mul(b, l, kb::add(b, l, row, kb::sub(b, l, r, low)), kb::idx(b, l, inner));
                first = kb::add(b, l, kb::sub(b, l, first, shift), column);
                // Past the last row's end there are no columns.
                first = kb::min(b, l, first, kb::idx(b, l, (numElements(plan.sizes) - 1) / width * width));
                SmallVector<Value> next;
                for (auto [acc, x] : llvm::zip_equal(accs, loadChunk(kernel, b, l, 0, first, width, nullptr)))
                  next.push_back(step(b, l, acc, convert(Scalar(b, l, x), type).value()));
                scf::YieldOp::create(b, l, next);
              });
          return SmallVector<Value>(loop.getResults());
        });
        kb::storeVectors(b, loc, sums, buffer, placeOf(b, loc, number));
      });
      block.barrier(b, loc);
      Value mine =
          both(b, loc, arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, thread, kb::idx(b, loc, threads - 1)),
               arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, column, kb::idx(b, loc, inner)));
      kb::when(b, loc, mine, [&](OpBuilder &b, Location loc) {
        SmallVector<Value> sums(width, init(b, loc));
        sums =
            foldMany(b, loc, {{zero, count}}, sums, [&](OpBuilder &b, Location l, ValueRange number, ValueRange accs) {
              Value place = kb::add(b, l, placeOf(b, l, number[0]), shiftOf(b, l, number[0]));
              SmallVector<Value> next;
              for (auto [k, acc] : llvm::enumerate(accs))
                next.push_back(combine(b, l, acc, loadWorkspace(b, l, buffer, kb::add(b, l, place, kb::idx(b, l, k)))));
              return next;
            });
        storeColumns(b, loc, sums, at[0], column, kb::linearize(b, loc, keptIndices, kept));
      });
    });
  }

  /// Stores what a part makes of neighbouring columns, those that there are.
  void storeColumns(OpBuilder &b, Location loc, ArrayRef<Value> sums, Value part, Value column, Value at) {
    if (plan.parts > 1 && kept.size() == 1) { // with room for more
      Value place = kb::linearize(b, loc, {part, at}, {plan.parts, plan.stride});
      return kb::storeVectors(b, loc, sums, flatten(b, loc, partials(b, loc)), place);
    }
    SmallVector<Value> values, inside;
    for (auto [k, sum] : llvm::enumerate(sums)) {
      values.push_back(plan.parts > 1 ? sum : finished(b, loc, sum));
      inside.push_back(arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                             kb::add(b, loc, column, kb::idx(b, loc, k)),
                                             kb::idx(b, loc, kept.back())));
    }
    if (kept.size() == 1)
      return storeChunk(kernel, b, loc, 0, values, at, inside);
    for (size_t k = 0; k < values.size(); ++k)
      kb::when(b, loc, inside[k], [&](OpBuilder &b, Location l) {
        Value place = kb::add(b, l, at, kb::idx(b, l, k));
        if (plan.parts > 1)
          storeWorkspace(b, l, values[k], partials(b, l), {part, place});
        else
          storeFlat(kernel, b, l, values[k], 0, place);
      });
  }

  /// A group of a GPU's threads makes an element, or a part of one, of pieces of neighbours.
  void emitGroups() {
    int64_t inner = plan.sizes.back();
    bool cut = plan.parts > 1 && plan.pieces == 1; // the only piece, in parts
    SmallVector<int64_t> outer;
    for (size_t d = 0; d + 1 < plan.sizes.size(); ++d)
      if (plan.reduced[d])
        outer.push_back(plan.sizes[d]);
    auto partAndElement = [this](OpBuilder &b, Location loc, Value row) {
      return kb::delinearize(b, loc, row, {plan.parts, plan.results});
    };
    auto pieceNumber = [=, this](OpBuilder &b, Location loc, Value row, Value piece) {
      return kb::add(b, loc, kb::mul(b, loc, partAndElement(b, loc, row)[0], kb::idx(b, loc, plan.piecesAPart)), piece);
    };
    auto begin = [=, this](OpBuilder &b, Location loc, Value row) {
      return kb::mul(b, loc, partAndElement(b, loc, row)[0], kb::idx(b, loc, plan.chunk));
    };
    RowLayout layout;
    layout.rows = plan.parts * plan.results;
    layout.size = cut ? plan.chunk : inner;
    layout.elements = numElements(plan.sizes);
    layout.bytes = accessedBytes(kernel, {0});
    layout.pieces = cut ? 1 : plan.piecesAPart;
    layout.base = [=, this](OpBuilder &b, Location loc, Value row, Value piece) {
      SmallVector<Value> keptIndices = kb::delinearize(b, loc, partAndElement(b, loc, row)[1], kept), reducedIndices;
      if (!outer.empty())
        reducedIndices = kb::delinearize(b, loc, pieceNumber(b, loc, row, piece), outer);
      reducedIndices.push_back(cut ? begin(b, loc, row) : kb::idx(b, loc, 0));
      return kb::linearize(b, loc, interleave(keptIndices, reducedIndices), plan.sizes);
    };
    if (!cut && plan.pieces % plan.piecesAPart)
      layout.exists = [=, this](OpBuilder &b, Location loc, Value row, Value piece) -> Value {
        return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, pieceNumber(b, loc, row, piece),
                                     kb::idx(b, loc, plan.pieces));
      };
    if (cut && inner % plan.chunk)
      layout.length = [=, this](OpBuilder &b, Location loc, Value row, Value) {
        return kb::min(b, loc, kb::idx(b, loc, plan.chunk),
                       kb::sub(b, loc, kb::idx(b, loc, inner), begin(b, loc, row)));
      };
    emitGpuRows(kernel, layout, [&](OpBuilder &b, Location loc, GpuRow &row) {
      auto term = [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
        Scalar x = row.load(b, l, 0, e, type);
        return SmallVector<Value>{(r.sum && r.term ? r.term(x) : x).value()};
      };
      auto combined = [&](OpBuilder &b, Location l, Value x, Value y) { return combine(b, l, x, y); };
      Value acc = row.reduce(b, loc, init(b, loc), term, combined)[0];
      if (plan.parts == 1)
        return row.storeNumber(b, loc, finished(b, loc, acc), 0);
      row.once(b, loc, [&](OpBuilder &b, Location l) {
        storeWorkspace(b, l, acc, partials(b, l), partAndElement(b, l, row.index()));
      });
    });
  }

  /// Loops over the reduced dimensions from `d` on, the last of them by several at once; `row` gets groups of index
  /// lists.
  void overRows(OpBuilder &b, Location loc, ArrayRef<int64_t> dims, SmallVectorImpl<Value> &indices, Value part,
                function_ref<void(OpBuilder &, Location, ArrayRef<SmallVector<Value>>)> rows) {
    if (dims.empty())
      return rows(b, loc, {SmallVector<Value>(indices.begin(), indices.end())});
    auto [lo, hi] = bounds(b, loc, dims[0], part);
    if (dims.size() > 1)
      return KernelBuilder::loop(b, loc, lo, hi, [&](OpBuilder &b, Location l, Value i) {
        indices.push_back(i);
        overRows(b, l, dims.drop_front(), indices, part, rows);
        indices.pop_back();
      });
    Value several = kb::idx(b, loc, rowsAtOnce), count = kb::sub(b, loc, hi, lo);
    Value middle = kb::sub(b, loc, hi, kb::rem(b, loc, count, several));
    auto group = [&](OpBuilder &b, Location l, Value i, int64_t n) {
      SmallVector<SmallVector<Value>> lists;
      for (int64_t k = 0; k < n; ++k) {
        lists.emplace_back(indices.begin(), indices.end());
        lists.back().push_back(k ? kb::add(b, l, i, kb::idx(b, l, k)) : i);
      }
      rows(b, l, lists);
    };
    scf::ForOp::create(b, loc, lo, middle, several, ValueRange{}, [&](OpBuilder &b, Location l, Value i, ValueRange) {
      group(b, l, i, rowsAtOnce);
      scf::YieldOp::create(b, l);
    });
    KernelBuilder::loop(b, loc, middle, hi, [&](OpBuilder &b, Location l, Value i) { group(b, l, i, 1); });
  }

  void emitColumns() {
    int64_t inner = kept.back(), outer = plan.results / std::max<int64_t>(inner, 1);
    int64_t blocks = (inner + ReducePlan::blockColumns - 1) / ReducePlan::blockColumns;
    SmallVector<int64_t> outerShape(ArrayRef(kept).drop_back()), reducedDims;
    for (size_t d = 0; d < plan.sizes.size(); ++d)
      if (plan.reduced[d])
        reducedDims.push_back(d);
    kernel.parallel({plan.parts * outer * blocks}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
      SmallVector<Value> at = kb::delinearize(b, loc, ivs[0], {plan.parts, outer, blocks});
      SmallVector<Value> outerIndices = kb::delinearize(b, loc, at[1], outerShape);
      Value lo = kb::mul(b, loc, at[2], kb::idx(b, loc, ReducePlan::blockColumns));
      Value hi = kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, ReducePlan::blockColumns)), kb::idx(b, loc, inner));
      Value base = kb::mul(b, loc, at[1], kb::idx(b, loc, inner));
      Value buffer = plan.parts > 1 ? flatten(b, loc, partials(b, loc)) : flatten(b, loc, kernel.resultBuffer(0));
      if (plan.parts > 1)
        base = kb::add(b, loc, base, kb::mul(b, loc, at[0], kb::idx(b, loc, plan.stride)));
      auto overColumns = [&](OpBuilder &b, Location loc, function_ref<void(OpBuilder &, Location, Value, Value)> body) {
        KernelBuilder::loop(b, loc, lo, hi,
                            [&](OpBuilder &b, Location l, Value j) { body(b, l, j, kb::add(b, l, base, j)); });
      };
      overColumns(b, loc, [&](OpBuilder &b, Location l, Value, Value target) {
        storeWorkspace(b, l, init(b, l), buffer, {target});
      });
      SmallVector<Value> reducedIndices;
      overRows(b, loc, reducedDims, reducedIndices, at[0],
               [&](OpBuilder &b, Location l, ArrayRef<SmallVector<Value>> rows) {
                 overColumns(b, l, [&](OpBuilder &b, Location l, Value j, Value target) {
                   Value acc = loadWorkspace(b, l, buffer, {target});
                   SmallVector<Value> keptIndices(outerIndices);
                   keptIndices.push_back(j);
                   for (const SmallVector<Value> &row : rows)
                     acc = step(b, l, acc, load(b, l, interleave(keptIndices, row)));
                   storeWorkspace(b, l, acc, buffer, {target});
                 });
               });
      if (plan.parts == 1 && r.finish)
        overColumns(b, loc, [&](OpBuilder &b, Location l, Value, Value target) {
          storeFinal(b, l, loadWorkspace(b, l, buffer, {target}), target);
        });
    });
  }

  void emitCombine() {
    kernel.parallel({plan.results}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
      Value buffer = partials(b, loc);
      Value zero = kb::idx(b, loc, 0);
      SmallVector<std::pair<Value, Value>> bounds{{zero, kb::idx(b, loc, plan.parts)}};
      if (plan.copies > 1)
        bounds.push_back({zero, kb::idx(b, loc, plan.copies)});
      Value acc = KernelBuilder::foldNest(
          b, loc, bounds, init(b, loc), [&](OpBuilder &b, Location l, ValueRange at, Value acc) {
            Value place = ivs[0];
            if (plan.copies > 1)
              place = kb::add(b, l, kb::mul(b, l, at[1], kb::idx(b, l, plan.results)), place);
            Scalar total(b, l, acc), x(b, l, loadWorkspace(b, l, buffer, {at[0], place}));
            return (r.sum ? total + x : r.step(total, x)).value();
          });
      storeFinal(b, loc, acc, ivs[0]);
    });
  }

  KernelBuilder &kernel;
  const Reduction &r;
  ReducePlan plan;
  Type element, type;
  SmallVector<int64_t> kept;
};

} // namespace

SmallVector<int64_t> reduceWorkspace(RankedTensorType type, ArrayRef<int64_t> axes, KernelTarget target) {
  ReducePlan plan(type.getShape(), axes, target);
  if (!plan.combined())
    return {};
  return {plan.parts * plan.stride * elementBytes(computeType(type.getElementType()))};
}

void emitReduction(KernelBuilder &kernel, ArrayRef<int64_t> axes, const Reduction &reduction) {
  Reducer(kernel, axes, reduction).emit();
}

} // namespace gmc::nn
