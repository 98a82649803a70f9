//===- PlaneSums.cpp - two sums over each channel, by groups of GPU threads -----------------------------===//

#include "dialects/NN/PlaneSums.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace gmc::nn {

/// Groups of threads that are enough, elements that each should have at least, and parts that are added one after the
/// other.
static constexpr int64_t enoughGroups = 1024, groupElements = 4096, mostParts = 128;

PlaneSums::PlaneSums(ArrayRef<int64_t> shape, bool partPerSample)
    : samples(shape[0]), channels(shape[1]), plane(numElements(shape.drop_front(2))), samplesAPart(samples) {
  int64_t wanted = partPerSample ? samples
                                 : std::min({enoughGroups / std::max<int64_t>(channels, 1),
                                             samples * plane / groupElements, mostParts, samples});
  if (wanted > 1) {
    samplesAPart = (samples + wanted - 1) / wanted;
    parts = (samples + samplesAPart - 1) / samplesAPart;
  }
}

bool PlaneSums::pays(KernelTarget target, ArrayRef<int64_t> shape) {
  return target == KernelTarget::Gpu && numElements(shape) > 0 && numElements(shape.drop_front(2)) >= 8;
}

int64_t PlaneSums::workspaceBytes(Type type) const { return 2 * parts * channels * elementBytes(type); }

void PlaneSums::emit(KernelBuilder &kernel, Type type, ElementBytes bytes, Terms terms) const {
  RowLayout layout;
  layout.rows = parts * channels;
  layout.size = plane;
  layout.elements = samples * channels * plane;
  layout.bytes = bytes;
  layout.pieces = samplesAPart;
  auto sampleOf = [this](OpBuilder &b, Location loc, Value row, Value piece) {
    Value part = kb::delinearize(b, loc, row, {parts, channels})[0];
    return kb::add(b, loc, kb::mul(b, loc, part, kb::idx(b, loc, samplesAPart)), piece);
  };
  layout.base = [=, this](OpBuilder &b, Location loc, Value row, Value piece) {
    Value channel = kb::delinearize(b, loc, row, {parts, channels})[1];
    Value index = kb::linearize(b, loc, {sampleOf(b, loc, row, piece), channel}, {samples, channels});
    return kb::mul(b, loc, index, kb::idx(b, loc, plane));
  };
  if (samples % samplesAPart)
    layout.exists = [=, this](OpBuilder &b, Location loc, Value row, Value piece) -> Value {
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, sampleOf(b, loc, row, piece),
                                   kb::idx(b, loc, samples));
    };
  emitGpuRows(kernel, layout, [&](OpBuilder &b, Location loc, GpuRow &row) {
    SmallVector<Value> at = kb::delinearize(b, loc, row.index(), {parts, channels});
    Value zero = kb::constant(b, loc, type, 0);
    SmallVector<Value> sums = row.reduce(
        b, loc, {zero, zero},
        [&](OpBuilder &b, Location l, const GpuRow::Element &e) { return terms(b, l, row, e, at[0], at[1]); },
        [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); });
    row.once(b, loc, [&](OpBuilder &b, Location l) {
      Value workspace = kernel.workspace(b, 0, {2, parts, channels}, type);
      for (int64_t i : {0, 1})
        storeWorkspace(b, l, sums[i], workspace, {kb::idx(b, l, i), at[0], at[1]});
    });
  });
}

Value PlaneSums::total(KernelBuilder &kernel, OpBuilder &b, Location loc, Type type, int64_t sum, Value channel) const {
  Value workspace = kernel.workspace(b, 0, {2, parts, channels}, type), which = kb::idx(b, loc, sum);
  return KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, parts), kb::constant(b, loc, type, 0),
                             [&](OpBuilder &b, Location l, Value part, Value acc) {
                               return kb::add(b, l, acc, loadWorkspace(b, l, workspace, {which, part, channel}));
                             });
}

} // namespace gmc::nn
