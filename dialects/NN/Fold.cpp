#include "dialects/NN/Fold.h"
#include "dialects/NN/Scalar.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace gmc::nn {

using Step = function_ref<SmallVector<Value>(OpBuilder &, Location, ValueRange, ValueRange)>;
using Terms = function_ref<SmallVector<Value>(OpBuilder &, Location, ValueRange)>;

Bounds fullBounds(OpBuilder &b, Location loc, ArrayRef<int64_t> sizes) {
  Bounds bounds;
  for (int64_t size : sizes)
    bounds.emplace_back(kb::idx(b, loc, 0), kb::idx(b, loc, size));
  return bounds;
}

static SmallVector<Value> foldFrom(OpBuilder &b, Location loc, ArrayRef<std::pair<Value, Value>> bounds,
                                   SmallVectorImpl<Value> &ivs, ValueRange inits, Step step) {
  if (ivs.size() == bounds.size())
    return step(b, loc, ivs, inits);
  auto [lo, hi] = bounds[ivs.size()];
  auto loop = scf::ForOp::create(b, loc, lo, hi, kb::idx(b, loc, 1), inits,
                                 [&](OpBuilder &b, Location l, Value iv, ValueRange accs) {
                                   ivs.push_back(iv);
                                   scf::YieldOp::create(b, l, foldFrom(b, l, bounds, ivs, accs, step));
                                   ivs.pop_back();
                                 });
  return loop.getResults();
}

SmallVector<Value> foldMany(OpBuilder &b, Location loc, ArrayRef<std::pair<Value, Value>> bounds, ValueRange inits,
                            Step step) {
  SmallVector<Value> ivs;
  return foldFrom(b, loc, bounds, ivs, inits, step);
}

static SmallVector<Value> sumFrom(OpBuilder &b, Location loc, ArrayRef<std::pair<Value, Value>> bounds,
                                  SmallVectorImpl<Value> &ivs, TypeRange types, Terms terms) {
  if (ivs.size() == bounds.size())
    return terms(b, loc, ivs);
  SmallVector<Value> zeros;
  for (Type type : types)
    zeros.push_back(kb::constant(b, loc, type, 0));
  auto [lo, hi] = bounds[ivs.size()];
  auto loop = scf::ForOp::create(b, loc, lo, hi, kb::idx(b, loc, 1), zeros,
                                 [&](OpBuilder &b, Location l, Value iv, ValueRange accs) {
                                   ivs.push_back(iv);
                                   SmallVector<Value> sums = sumFrom(b, l, bounds, ivs, types, terms);
                                   ivs.pop_back();
                                   for (auto [sum, acc] : llvm::zip(sums, accs))
                                     sum = KernelBuilder::addReassoc(b, l, acc, sum);
                                   scf::YieldOp::create(b, l, sums);
                                 });
  return loop.getResults();
}

SmallVector<Value> sumBox(OpBuilder &b, Location loc, ArrayRef<std::pair<Value, Value>> bounds, TypeRange types,
                          Terms terms) {
  SmallVector<Value> ivs;
  return sumFrom(b, loc, bounds, ivs, types, terms);
}

Value convertTo(OpBuilder &b, Location loc, Value v, Type type) { return convert(Scalar(b, loc, v), type).value(); }

} // namespace gmc::nn
