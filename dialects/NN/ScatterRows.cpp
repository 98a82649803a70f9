//===- ScatterRows.cpp - sums of rows with equal indices, by blocks of GPU threads ----------------------===//

#include "dialects/NN/ScatterRows.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;

namespace gmc::nn {

/// The most threads of a block.
static constexpr int64_t mostThreads = 256;
/// Indices that a thread reads at once, where there is an even number of them.
static constexpr int64_t indicesAtOnce = 2;

void emitScatterRows(KernelBuilder &kernel, int64_t rows, int64_t features,
                     function_ref<SmallVector<Value>(OpBuilder &, Location, Value, int64_t)> indices) {
  Type element = bufferElement(kernel.resultElementType(0)), type = computeType(element);
  int64_t lanes =
              std::gcd(features, std::max<int64_t>(16 / std::min(kernel.operandBytes(0), kernel.resultBytes(0)), 1)),
          vectors = features / lanes;
  int64_t together = rows % indicesAtOnce ? 1 : indicesAtOnce;
  int64_t threads = std::min(mostThreads, static_cast<int64_t>(llvm::alignTo(vectors, GpuBlock::warpSize)));
  kernel.cooperative(
      {rows, (vectors + threads - 1) / threads}, threads,
      [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
        Type i32 = b.getI32Type();
        Value none = kb::constant(b, loc, i32, 0), several = kb::idx(b, loc, together), count = kb::idx(b, loc, rows),
              mine = indices(b, loc, at[0], 1)[0], firstOfThread = kb::mul(b, loc, block.thread(), several),
              step = kb::idx(b, loc, threads * together);
        // For each of the rows from a multiple of `together` on, whether it has the index and comes before `end`.
        auto same = [&](OpBuilder &b, Location l, Value row, Value end) {
          SmallVector<Value> hits;
          for (auto [k, index] : llvm::enumerate(indices(b, l, row, together))) {
            Value hit = arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, index, mine);
            Value before =
                arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, kb::add(b, l, row, kb::idx(b, l, k)), end);
            hits.push_back(arith::ExtUIOp::create(b, l, i32, arith::AndIOp::create(b, l, hit, before)));
          }
          return hits;
        };
        auto either = [](OpBuilder &b, Location l, Value x, Value y) -> Value {
          return arith::OrIOp::create(b, l, x, y);
        };
        auto earlier = scf::ForOp::create(
            b, loc, firstOfThread, at[0], step, none, [&](OpBuilder &b, Location l, Value row, ValueRange acc) {
              Value found = acc[0];
              for (Value hit : same(b, l, row, at[0]))
                found = either(b, l, found, hit);
              scf::YieldOp::create(b, l, found);
            });
        Value found = block.blockReduce(b, loc, earlier.getResult(0), either);
        Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, found, none);
        Value vector = kb::add(b, loc, kb::mul(b, loc, at[1], kb::idx(b, loc, threads)), block.thread()), inside;
        if (vectors % threads)
          inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, vector, kb::idx(b, loc, vectors));
        Value feature = kb::mul(b, loc, vector, kb::idx(b, loc, lanes));
        Value hits = block.shared({threads * together}, i32);
        auto position = [&](OpBuilder &b, Location l, Value row) {
          return kb::add(b, l, kb::mul(b, l, row, kb::idx(b, l, features)), feature);
        };
        // sums + the row, in one of its threads.
        auto addRow = [&](OpBuilder &b, Location l, Value row, ValueRange sums) {
          Value from = position(b, l, row);
          SmallVector<Value> values = lanes > 1 ? kernel.loadNeighbours(b, l, 0, from, lanes)
                                                : SmallVector<Value>{loadFlat(kernel, b, l, 0, from)};
          for (auto [value, sum] : llvm::zip(values, sums))
            value = kb::add(b, l, sum, convert(Scalar(b, l, value), type).value());
          return values;
        };
        // Which of the next rows have the index; mostly none.
        auto nextRows = [&](OpBuilder &b, Location l, Value base, ValueRange sums) -> SmallVector<Value> {
          Value row = kb::add(b, l, base, firstOfThread);
          Value last = kb::idx(b, l, rows - together),
                exists = arith::CmpIOp::create(b, l, arith::CmpIPredicate::sle, row, last);
          SmallVector<Value> found = same(b, l, kb::min(b, l, row, last), count);
          Value hit = none;
          for (Value &each : found) {
            each = arith::SelectOp::create(b, l, exists, each, none);
            hit = either(b, l, hit, each);
          }
          Value any = arith::CmpIOp::create(b, l, arith::CmpIPredicate::ne, block.blockReduce(b, l, hit, either), none);
          auto choice = scf::IfOp::create(
              b, l, any,
              [&](OpBuilder &b, Location l) {
                kb::storeVectors(b, l, found, hits, firstOfThread);
                block.barrier(b, l);
                auto loop =
                    scf::ForOp::create(b, l, kb::idx(b, l, 0), step, kb::idx(b, l, 1), sums,
                                       [&](OpBuilder &b, Location l, Value k, ValueRange accs) {
                                         Value add = arith::CmpIOp::create(b, l, arith::CmpIPredicate::ne,
                                                                           loadWorkspace(b, l, hits, {k}), none);
                                         if (inside)
                                           add = arith::AndIOp::create(b, l, add, inside);
                                         auto added = scf::IfOp::create(
                                             b, l, add,
                                             [&](OpBuilder &b, Location l) {
                                               scf::YieldOp::create(b, l, addRow(b, l, kb::add(b, l, base, k), accs));
                                             },
                                             [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, accs); });
                                         scf::YieldOp::create(b, l, added.getResults());
                                       });
                block.barrier(b, l);
                scf::YieldOp::create(b, l, loop.getResults());
              },
              [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, sums); });
          return choice.getResults();
        };
        kb::when(b, loc, first, [&](OpBuilder &b, Location l) {
          SmallVector<Value> zeros(lanes, kb::constant(b, l, type, 0));
          // The rows before that are read with the first one have other indices.
          Value begin = kb::sub(b, l, at[0], kb::rem(b, l, at[0], several));
          auto loop = scf::ForOp::create(b, l, begin, count, step, zeros,
                                         [&](OpBuilder &b, Location l, Value base, ValueRange sums) {
                                           scf::YieldOp::create(b, l, nextRows(b, l, base, sums));
                                         });
          auto write = [&](OpBuilder &b, Location l) {
            SmallVector<Value> values;
            for (Value sum : loop.getResults())
              values.push_back(convert(Scalar(b, l, sum), element).value());
            Value to = position(b, l, mine);
            lanes > 1 ? kernel.storeNeighbours(b, l, values, 0, to) : storeFlat(kernel, b, l, values[0], 0, to);
          };
          inside ? kb::when(b, l, inside, write) : write(b, l);
        });
      });
}

} // namespace gmc::nn
