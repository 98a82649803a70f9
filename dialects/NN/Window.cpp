#include "dialects/NN/Window.h"
#include "compiler/Import/OpImport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace gmc::nn {

int64_t Window::taps() const {
  int64_t taps = 1;
  for (int64_t size : kernel)
    taps *= size;
  return taps;
}

int64_t Window::outputs(size_t d, int64_t in, bool ceilMode) const {
  int64_t room = in + padBegin(d) + padEnd(d) - extent(d);
  if (room < 0)
    return 0;
  int64_t count = (ceilMode ? (room + strides[d] - 1) / strides[d] : room / strides[d]) + 1;
  // A last window that would start in the end padding is left out.
  if (ceilMode && (count - 1) * strides[d] >= in + padBegin(d))
    --count;
  return count;
}

FailureOr<OwnedWindow> importWindow(ImportNode &n, ArrayRef<int64_t> spatial, ArrayRef<int64_t> kernel) {
  size_t rank = spatial.size();
  OwnedWindow w;
  w.kernel = n.intsAttr("kernel_shape").value_or(SmallVector<int64_t>(kernel));
  w.strides = n.intsAttr("strides").value_or(SmallVector<int64_t>(rank, 1));
  w.dilations = n.intsAttr("dilations").value_or(SmallVector<int64_t>(rank, 1));
  w.pads = n.intsAttr("pads").value_or(SmallVector<int64_t>(2 * rank, 0));
  if (w.kernel.empty() && rank)
    return n.error("kernel_shape is missing");
  if (w.kernel.size() != rank || w.strides.size() != rank || w.dilations.size() != rank || w.pads.size() != 2 * rank)
    return n.error("kernel_shape, strides, dilations or pads do not have one entry per spatial dimension (" +
                   Twine(rank) + ")");
  if (!kernel.empty() && ArrayRef<int64_t>(w.kernel) != kernel)
    return n.error("kernel_shape contradicts the shape of the weight");
  for (size_t d = 0; d < rank; ++d)
    if (w.strides[d] < 1 || w.dilations[d] < 1 || w.kernel[d] < 1)
      return n.error("strides, dilations and kernel_shape must be positive");
  // Far beyond any tensor, and so small that what is computed from them stays in 64 bits.
  constexpr int64_t largest = 1 << 20;
  for (ArrayRef<int64_t> values : {ArrayRef(w.kernel), ArrayRef(w.strides), ArrayRef(w.dilations), ArrayRef(w.pads)})
    for (int64_t value : values)
      if (value > largest || value < -largest)
        return n.error("kernel_shape, strides, dilations or pads hold " + Twine(value) +
                       ", which no tensor has room for");

  std::string autoPad = n.stringAttr("auto_pad", "NOTSET");
  if (autoPad == "NOTSET" || autoPad.empty())
    return w;
  w.pads.assign(2 * rank, 0);
  if (autoPad == "VALID")
    return w;
  if (autoPad != "SAME_UPPER" && autoPad != "SAME_LOWER")
    return n.error("auto_pad " + autoPad + " is not known");
  // As many outputs as strides fit into the input; the odd padding goes to the end, or the beginning.
  for (size_t d = 0; d < rank; ++d) {
    int64_t outputs = (spatial[d] + w.strides[d] - 1) / w.strides[d];
    int64_t total = std::max<int64_t>(0, (outputs - 1) * w.strides[d] + w.get().extent(d) - spatial[d]);
    int64_t small = total / 2, large = total - small;
    w.pads[d] = autoPad == "SAME_UPPER" ? small : large;
    w.pads[d + rank] = total - w.pads[d];
  }
  return w;
}

LogicalResult checkWindow(std::optional<Location> loc, const Window &w, size_t rank) {
  if (w.kernel.size() != rank || w.strides.size() != rank || w.dilations.size() != rank || w.pads.size() != 2 * rank)
    return emitOptionalError(loc, "kernel, strides, dilations and pads must have 1, 1, 1 and 2 entries for each of ",
                             rank, " spatial dimensions");
  for (size_t d = 0; d < rank; ++d)
    if (w.kernel[d] < 1 || w.strides[d] < 1 || w.dilations[d] < 1)
      return emitOptionalError(loc, "kernel, strides and dilations must be positive");
  return success();
}

LogicalResult inferWindow(std::optional<Location> loc, const Window &w, ArrayRef<int64_t> spatial, bool ceilMode,
                          SmallVectorImpl<int64_t> &out) {
  for (size_t d = 0; d < spatial.size(); ++d) {
    int64_t count = w.outputs(d, spatial[d], ceilMode);
    if (count < 1)
      return emitOptionalError(loc, "a window of ", w.extent(d), " does not fit into spatial dimension ", d,
                               " of size ", spatial[d], " padded by ", w.padBegin(d), " and ", w.padEnd(d));
    out.push_back(count);
  }
  return success();
}

Value windowInput(OpBuilder &b, Location loc, const Window &w, size_t d, Value o, Value k) {
  Value i = kb::mul(b, loc, o, kb::idx(b, loc, w.strides[d]));
  i = kb::add(b, loc, i, kb::mul(b, loc, k, kb::idx(b, loc, w.dilations[d])));
  return kb::sub(b, loc, i, kb::idx(b, loc, w.padBegin(d)));
}

std::pair<Value, Value> windowOutput(OpBuilder &b, Location loc, const Window &w, size_t d, Value i, Value k,
                                     int64_t outputs) {
  Value t = kb::add(b, loc, i, kb::idx(b, loc, w.padBegin(d)));
  t = kb::sub(b, loc, t, kb::mul(b, loc, k, kb::idx(b, loc, w.dilations[d])));
  Value zero = kb::idx(b, loc, 0);
  Value o = t;
  Value hit = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, t, zero);
  if (w.strides[d] != 1) {
    Value stride = kb::idx(b, loc, w.strides[d]);
    o = kb::div(b, loc, t, stride);
    Value exact = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, kb::rem(b, loc, t, stride), zero);
    hit = arith::AndIOp::create(b, loc, hit, exact);
  }
  Value below = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, o, kb::idx(b, loc, outputs));
  return {o, arith::AndIOp::create(b, loc, hit, below)};
}

/// ceil(x / divisor) where that is positive, else a value that is not: what the bound of a clamped range needs.
static Value roundUpDiv(OpBuilder &b, Location loc, Value x, int64_t divisor) {
  return kb::div(b, loc, kb::add(b, loc, x, kb::idx(b, loc, divisor - 1)), kb::idx(b, loc, divisor));
}

std::pair<Value, Value> windowTaps(OpBuilder &b, Location loc, const Window &w, size_t d, Value o, int64_t in) {
  // Where even the last window lies inside, the loop over the taps has constant bounds.
  int64_t outputs = w.outputs(d, in, /*ceilMode=*/true);
  if (w.padBegin(d) <= 0 && (outputs - 1) * w.strides[d] - w.padBegin(d) + w.extent(d) <= in)
    return {kb::idx(b, loc, 0), kb::idx(b, loc, w.kernel[d])};
  // First tap with k * dilation >= -start, and one past the last with k * dilation < in - start.
  Value zero = kb::idx(b, loc, 0), kernel = kb::idx(b, loc, w.kernel[d]);
  Value start = windowInput(b, loc, w, d, o, zero);
  Value first = kb::sub(b, loc, zero, start), last = kb::sub(b, loc, kb::idx(b, loc, in), start);
  if (w.dilations[d] != 1) {
    first = roundUpDiv(b, loc, first, w.dilations[d]);
    last = roundUpDiv(b, loc, last, w.dilations[d]);
  }
  first = kb::max(b, loc, first, zero);
  last = kb::min(b, loc, last, kernel);
  return {first, last};
}

std::pair<Value, Value> windowPositions(OpBuilder &b, Location loc, const Window &w, size_t d, Value k, int64_t in,
                                        int64_t outputs) {
  // o * stride >= pad - k * dilation, and o * stride < in + pad - k * dilation.
  Value zero = kb::idx(b, loc, 0);
  Value first = kb::sub(b, loc, zero, windowInput(b, loc, w, d, zero, k));
  Value last = kb::add(b, loc, first, kb::idx(b, loc, in));
  if (w.strides[d] != 1) {
    first = roundUpDiv(b, loc, first, w.strides[d]);
    last = roundUpDiv(b, loc, last, w.strides[d]);
  }
  return {kb::max(b, loc, first, zero), kb::min(b, loc, last, kb::idx(b, loc, outputs))};
}

} // namespace gmc::nn
