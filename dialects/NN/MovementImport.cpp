//===- MovementImport.cpp - ONNX operators that only move elements --------------------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Tensor.h"

using namespace mlir;

namespace gmc::nn {

/// `axis` of ONNX, counted from the end when negative; failure (reported) outside the rank.
static FailureOr<int64_t> axisIn(ImportNode &n, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return n.error("axis " + Twine(axis) + " is outside rank " + Twine(rank));
  return axis < 0 ? axis + rank : axis;
}

//===- Checked creation; a null operand means that an error has been reported ---------------------------===//

static Value importSliced(ImportNode &n, Value x, ArrayRef<int64_t> starts, ArrayRef<int64_t> sizes,
                          ArrayRef<int64_t> steps) {
  if (!x)
    return {};
  SliceOp::Properties p;
  p.starts = n.b.getDenseI64ArrayAttr(starts);
  p.sizes = n.b.getDenseI64ArrayAttr(sizes);
  p.steps = n.b.getDenseI64ArrayAttr(steps);
  return n.create<SliceOp>({x}, p);
}

static Value slicedAxis(ImportNode &n, Value x, int64_t axis, int64_t start, int64_t size, int64_t step = 1) {
  if (!x)
    return {};
  SmallVector<int64_t> sizes(shapeOf(x)), starts(sizes.size(), 0), steps(sizes.size(), 1);
  starts[axis] = start, sizes[axis] = size, steps[axis] = step;
  return importSliced(n, x, starts, sizes, steps);
}

static Value transposed(ImportNode &n, Value x, ArrayRef<int64_t> perm) {
  if (!x)
    return {};
  TransposeOp::Properties p;
  p.perm = n.b.getDenseI64ArrayAttr(perm);
  return n.create<TransposeOp>({x}, p);
}

static Value broadcasted(ImportNode &n, Value x, ArrayRef<int64_t> shape) {
  if (!x || shapeOf(x) == shape)
    return x;
  BroadcastToOp::Properties p;
  p.shape = n.b.getDenseI64ArrayAttr(shape);
  return n.create<BroadcastToOp>({x}, p);
}

static Value concatenated(ImportNode &n, ValueRange inputs, int64_t axis) {
  if (!llvm::all_of(inputs, [](Value v) { return bool(v); }))
    return {};
  ConcatOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(axis);
  return n.create<ConcatOp>(inputs, p);
}

//===- Transpose, Concat, Split, Slice ------------------------------------------------------------------===//

static ImportNode::Results importTranspose(ImportNode &n) {
  auto perm = n.intsAttr("perm");
  if (!perm)
    perm = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, n.rank(0))));
  return one(transposed(n, n.in(0), *perm));
}

static ImportNode::Results importConcat(ImportNode &n) {
  if (n.opset >= 4 && !n.hasAttr("axis"))
    return n.error("attribute axis is missing");
  auto axis = axisIn(n, n.intAttr("axis", 1), std::max<int64_t>(1, n.rank(0)));
  if (failed(axis))
    return failure();
  SmallVector<Value> inputs;
  // Exporters of shape arithmetic concatenate scalars with vectors of one element, and runtimes let them.
  for (size_t i = 0; i < n.numInputs(); ++i)
    inputs.push_back(n.rank(i) == 0 ? reshapeTo(n, n.in(i), {1}) : n.in(i));
  return one(concatenated(n, inputs, *axis));
}

static ImportNode::Results importSplit(ImportNode &n) {
  bool bad = false;
  auto axis = axisIn(n, n.intAttr("axis", 0), n.rank(0));
  auto sizes = n.intsFrom("split", 1, bad);
  if (failed(axis) || bad)
    return failure();
  int64_t dim = n.shape(0)[*axis];
  if (!sizes || sizes->empty()) {
    // Equal parts; from opset 18 on the last may be smaller.
    int64_t parts = n.intAttr("num_outputs", n.numOutputs());
    if (parts <= 0 || parts > std::max<int64_t>(dim, n.numOutputs()) || (n.opset < 18 && dim % parts != 0))
      return n.error("dimension " + Twine(dim) + " does not split into " + Twine(parts) + " equal parts");
    int64_t chunk = llvm::divideCeil(dim, parts);
    sizes.emplace();
    for (int64_t i = 0; i < parts; ++i)
      sizes->push_back(std::clamp<int64_t>(dim - i * chunk, 0, chunk));
  }
  int64_t total = 0;
  for (int64_t size : *sizes) {
    if (size < 0 || size > dim)
      return n.error("a part of " + Twine(size) + " cannot be split off a dimension of " + Twine(dim));
    total += size;
  }
  if (total != dim || sizes->size() < n.numOutputs())
    return n.error("the parts of the split sum to " + Twine(total) + ", the dimension is " + Twine(dim));
  SmallVector<Value> results;
  int64_t offset = 0;
  for (size_t i = 0; i < n.numOutputs(); offset += (*sizes)[i++]) {
    results.push_back(slicedAxis(n, n.in(0), *axis, offset, (*sizes)[i]));
    if (!results.back())
      return failure();
  }
  return results;
}

static ImportNode::Results importSlice(ImportNode &n) {
  bool bad = false;
  auto starts = n.intsFrom("starts", 1, bad), ends = n.intsFrom("ends", 2, bad), axes = n.intsFrom("axes", 3, bad),
       steps = n.intsFrom("steps", 4, bad);
  if (bad)
    return failure();
  if (!starts || !ends || starts->size() != ends->size())
    return n.error("starts and ends are missing or of different lengths");
  size_t count = starts->size();
  if (!axes)
    axes = llvm::to_vector(llvm::seq<int64_t>(0, count));
  if (!steps)
    steps = SmallVector<int64_t>(count, 1);
  if (axes->size() != count || steps->size() != count)
    return n.error("axes or steps and starts are of different lengths");
  SmallVector<int64_t> first(n.rank(0), 0), sizes(n.shape(0)), stride(n.rank(0), 1);
  for (size_t i = 0; i < count; ++i) {
    auto axis = axisIn(n, (*axes)[i], n.rank(0));
    if (failed(axis))
      return failure();
    int64_t dim = n.shape(0)[*axis], step = (*steps)[i], start = (*starts)[i], end = (*ends)[i];
    if (step == 0)
      return n.error("step of axis " + Twine(*axis) + " is 0");
    // Ends are often INT64_MAX or INT64_MIN: clamp to the range in which nothing overflows.
    start = std::clamp<int64_t>(start < 0 ? std::max(start, -dim - 1) + dim : start, step > 0 ? 0 : -1,
                                step > 0 ? dim : dim - 1);
    end = std::clamp<int64_t>(end < 0 ? std::max(end, -dim - 1) + dim : end, step > 0 ? 0 : -1, dim);
    step = std::clamp<int64_t>(step, -dim - 1, dim + 1);
    int64_t span = step > 0 ? end - start : start - end;
    first[*axis] = start, stride[*axis] = step;
    sizes[*axis] = span > 0 ? llvm::divideCeil(span, std::abs(step)) : 0;
  }
  return one(importSliced(n, n.in(0), first, sizes, stride));
}

//===- Pad ----------------------------------------------------------------------------------------------===//

/// `x` with its border along `axis` repeated by reflection, by its edge, or around the other end (wrap): pieces that
/// are slices, concatenated. Borders wider than the tensor take several pieces.
static Value paddedBy(ImportNode &n, StringRef mode, Value x, int64_t axis, int64_t low, int64_t high) {
  if (!x || (low == 0 && high == 0))
    return x;
  int64_t dim = shapeOf(x)[axis];
  auto edge = [&](int64_t at, int64_t size) {
    SmallVector<int64_t> shape(shapeOf(x));
    shape[axis] = size;
    return broadcasted(n, slicedAxis(n, x, axis, at, 1), shape);
  };
  SmallVector<Value> before, after;
  if (mode == "edge" || (mode == "reflect" && dim == 1)) {
    if (low)
      before.push_back(edge(0, low));
    if (high)
      after.push_back(edge(dim - 1, high));
  } else if (mode == "wrap") {
    for (; low > 0; low -= std::min(low, dim))
      before.push_back(slicedAxis(n, x, axis, dim - std::min(low, dim), std::min(low, dim)));
    for (; high > 0; high -= std::min(high, dim))
      after.push_back(slicedAxis(n, x, axis, 0, std::min(high, dim)));
  } else { // reflect: the border runs back and forth with period 2 * (dim - 1)
    for (int64_t part = 0; low > 0; ++part) {
      int64_t size = std::min(low, dim - 1);
      before.push_back(part % 2 ? slicedAxis(n, x, axis, dim - 1 - size, size)
                                : slicedAxis(n, x, axis, size, size, -1));
      low -= size;
    }
    for (int64_t part = 0; high > 0; ++part) {
      int64_t size = std::min(high, dim - 1);
      after.push_back(part % 2 ? slicedAxis(n, x, axis, 1, size) : slicedAxis(n, x, axis, dim - 2, size, -1));
      high -= size;
    }
  }
  SmallVector<Value> pieces(llvm::reverse(before));
  pieces.push_back(x);
  pieces.append(after);
  return concatenated(n, pieces, axis);
}

static ImportNode::Results importPad(ImportNode &n) {
  bool bad = false;
  auto pads = n.intsFrom(n.hasAttr("paddings") ? "paddings" : "pads", 1, bad);
  auto axes = n.intsFrom("axes", 3, bad);
  if (bad)
    return failure();
  int64_t rank = n.rank(0);
  if (!axes)
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (!pads || pads->size() != 2 * axes->size())
    return n.error("pads are missing or not two for each axis");
  double value = n.floatAttr("value", 0.0);
  if (n.has(2)) {
    auto given = n.constFloats(2);
    if (!given || given->size() != 1)
      return n.error("the padding value is not one number known at compile time");
    value = given->front();
  }
  std::string mode = n.stringAttr("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    return n.error("padding mode " + mode + " is unknown");

  SmallVector<int64_t> low(rank, 0), high(rank, 0);
  constexpr int64_t largest = int64_t(1) << 40; // beyond any tensor, and sums of it stay in 64 bits
  for (int64_t pad : *pads)
    if (pad > largest || pad < -largest)
      return n.error("a padding of " + Twine(pad) + " is more than any tensor has room for");
  for (auto [i, a] : llvm::enumerate(*axes)) {
    auto axis = axisIn(n, a, rank);
    if (failed(axis))
      return failure();
    low[*axis] = (*pads)[i];
    high[*axis] = (*pads)[i + axes->size()];
  }
  // Negative pads cut.
  SmallVector<int64_t> starts(rank), sizes(rank), steps(rank, 1);
  for (int64_t d = 0; d < rank; ++d) {
    starts[d] = std::max<int64_t>(0, -low[d]);
    sizes[d] = n.shape(0)[d] - starts[d] - std::max<int64_t>(0, -high[d]);
    low[d] = std::max<int64_t>(0, low[d]);
    high[d] = std::max<int64_t>(0, high[d]);
    if (sizes[d] < 0 || (sizes[d] == 0 && mode != "constant" && low[d] + high[d] > 0))
      return n.error("dimension " + Twine(d) + " of size " + Twine(n.shape(0)[d]) + " cannot be padded like this");
  }
  Value x = importSliced(n, n.in(0), starts, sizes, steps);
  if (mode == "constant") {
    if (!x)
      return failure();
    PadOp::Properties p;
    p.low = n.b.getDenseI64ArrayAttr(low);
    p.high = n.b.getDenseI64ArrayAttr(high);
    p.interior = n.b.getDenseI64ArrayAttr(SmallVector<int64_t>(rank, 0));
    p.value = n.b.getF64FloatAttr(value);
    return one(n.create<PadOp>({x}, p));
  }
  for (int64_t d = 0; d < rank; ++d)
    x = paddedBy(n, mode, x, d, low[d], high[d]);
  return one(x);
}

/// Centre crop or pad of the given axes to the given sizes.
static ImportNode::Results importCenterCropPad(ImportNode &n) {
  bool bad = false;
  auto target = n.intsFrom("shape", 1, bad);
  if (bad)
    return failure();
  auto axes = n.intsAttr("axes");
  if (!axes)
    axes = llvm::to_vector(llvm::seq<int64_t>(0, n.rank(0)));
  if (!target || target->size() != axes->size())
    return n.error("the target shape and the axes are of different lengths");
  int64_t rank = n.rank(0);
  SmallVector<int64_t> starts(rank, 0), sizes(n.shape(0)), steps(rank, 1), low(rank, 0), high(rank, 0);
  for (auto [a, size] : llvm::zip(*axes, *target)) {
    auto axis = axisIn(n, a, rank);
    if (failed(axis))
      return failure();
    int64_t dim = sizes[*axis], excess = dim - size;
    if (excess >= 0) {
      starts[*axis] = excess / 2;
      sizes[*axis] = size;
    } else {
      low[*axis] = -excess / 2;
      high[*axis] = -excess - low[*axis];
    }
  }
  Value x = importSliced(n, n.in(0), starts, sizes, steps);
  if (!x)
    return failure();
  PadOp::Properties p;
  p.low = n.b.getDenseI64ArrayAttr(low);
  p.high = n.b.getDenseI64ArrayAttr(high);
  p.interior = n.b.getDenseI64ArrayAttr(SmallVector<int64_t>(rank, 0));
  p.value = n.b.getF64FloatAttr(0.0);
  return one(n.create<PadOp>({x}, p));
}

//===- Expand, Tile, Trilu, depth and space -------------------------------------------------------------===//

static ImportNode::Results importExpand(ImportNode &n) {
  bool bad = false;
  auto shape = n.intsFrom("shape", 1, bad);
  if (bad || !shape)
    return bad ? failure() : n.error("no shape is given");
  auto result = broadcastShapes({n.shape(0), *shape});
  if (failed(result))
    return n.error("the input does not broadcast to the given shape");
  return one(broadcasted(n, n.in(0), *result));
}

/// [a, b] tiled (r, s) times is [1, a, 1, b] broadcast to [r, a, s, b].
static ImportNode::Results importTile(ImportNode &n) {
  bool bad = false;
  auto repeats = n.intsFrom("repeats", 1, bad);
  if (bad)
    return failure();
  if (!repeats || static_cast<int64_t>(repeats->size()) != n.rank(0))
    return n.error("repeats are missing or not one for each dimension");
  SmallVector<int64_t> split, spread, merged;
  for (auto [dim, repeat] : llvm::zip(n.shape(0), *repeats)) {
    if (repeat < 0)
      return n.error("a negative number of repeats");
    split.append({1, dim});
    spread.append({repeat, dim});
    merged.push_back(repeat * dim);
  }
  return one(reshapeTo(n, broadcasted(n, reshapeTo(n, n.in(0), split), spread), merged));
}

static ImportNode::Results importTrilu(ImportNode &n) {
  TriluOp::Properties p;
  int64_t k = 0;
  if (n.has(1)) {
    auto given = n.constInts(1);
    if (!given || given->size() != 1)
      return n.error("k is not one number known at compile time");
    k = given->front();
  }
  p.k = n.b.getI64IntegerAttr(k);
  p.upper = n.b.getBoolAttr(n.intAttr("upper", 1));
  return one(n.create<TriluOp>({n.in(0)}, p));
}

static ImportNode::Results importDepthToSpace(ImportNode &n) {
  int64_t s = n.intAttr("blocksize", 0);
  if (n.rank(0) != 4 || s <= 0 || n.shape(0)[1] % (s * s))
    return n.error("needs [N, C, H, W] with C a multiple of blocksize^2");
  int64_t batch = n.shape(0)[0], c = n.shape(0)[1] / (s * s), h = n.shape(0)[2], w = n.shape(0)[3];
  bool crd = n.stringAttr("mode", "DCR") == "CRD";
  Value x = crd ? transposed(n, reshapeTo(n, n.in(0), {batch, c, s, s, h, w}), {0, 1, 4, 2, 5, 3})
                : transposed(n, reshapeTo(n, n.in(0), {batch, s, s, c, h, w}), {0, 3, 4, 1, 5, 2});
  return one(reshapeTo(n, x, {batch, c, h * s, w * s}));
}

static ImportNode::Results importSpaceToDepth(ImportNode &n) {
  int64_t s = n.intAttr("blocksize", 0);
  if (n.rank(0) != 4 || s <= 0 || n.shape(0)[2] % s || n.shape(0)[3] % s)
    return n.error("needs [N, C, H, W] with H and W multiples of blocksize");
  int64_t batch = n.shape(0)[0], c = n.shape(0)[1], h = n.shape(0)[2] / s, w = n.shape(0)[3] / s;
  Value x = transposed(n, reshapeTo(n, n.in(0), {batch, c, h, s, w, s}), {0, 3, 5, 1, 2, 4});
  return one(reshapeTo(n, x, {batch, c * s * s, h, w}));
}

//===- Constants ----------------------------------------------------------------------------------------===//

static ImportNode::Results importEyeLike(ImportNode &n) {
  if (n.rank(0) != 2)
    return n.error("needs a matrix");
  Type type = n.hasAttr("dtype") ? n.onnxType(n.intAttr("dtype", 1)) : n.elementType(0);
  if (!type)
    return n.error("data type " + Twine(n.intAttr("dtype", 1)) + " is not supported");
  int64_t rows = n.shape(0)[0], columns = n.shape(0)[1], k = n.intAttr("k", 0);
  if (rows * columns > maxFoldedElements)
    return n.error("matrices of more than " + Twine(maxFoldedElements) + " elements are not made at compile time");
  auto element = [&](double v) -> Attribute {
    return isa<FloatType>(type) ? Attribute(n.b.getFloatAttr(type, v)) : Attribute(n.b.getIntegerAttr(type, v));
  };
  SmallVector<Attribute> values;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      values.push_back(element(c - r == k));
  return one(n.constant(DenseElementsAttr::get(RankedTensorType::get({rows, columns}, type), values)));
}

static ImportNode::Results importRange(ImportNode &n) {
  Type type = n.elementType(0);
  SmallVector<Attribute> values;
  if (isa<FloatType>(type)) {
    auto start = n.constFloats(0), limit = n.constFloats(1), delta = n.constFloats(2);
    if (!start || !limit || !delta)
      return n.error("start, limit and delta must be known at compile time");
    double count = std::ceil((limit->front() - start->front()) / delta->front());
    if (!(count <= maxFoldedElements))
      return n.error("a range of more than " + Twine(maxFoldedElements) + " elements");
    for (int64_t i = 0; i < count; ++i)
      values.push_back(n.b.getFloatAttr(type, start->front() + i * delta->front()));
  } else {
    auto start = n.constInts(0), limit = n.constInts(1), delta = n.constInts(2);
    if (!start || !limit || !delta)
      return n.error("start, limit and delta must be known at compile time");
    if (delta->front() == 0)
      return n.error("delta is 0");
    int64_t step = delta->front();
    for (int64_t v = start->front(); step > 0 ? v < limit->front() : v > limit->front(); v += step) {
      if (static_cast<int64_t>(values.size()) == maxFoldedElements)
        return n.error("a range of more than " + Twine(maxFoldedElements) + " elements");
      values.push_back(n.b.getIntegerAttr(type, v));
    }
  }
  auto result = RankedTensorType::get({static_cast<int64_t>(values.size())}, type);
  return one(n.constant(DenseElementsAttr::get(result, values)));
}

void registerMovementImports(ImportRegistry &r) {
  r.add("Transpose", {.import = importTranspose, .sameValue = true});
  r.add("Concat", {.import = importConcat});
  r.add("Split", {.import = importSplit, .minOpset = 2, .nonDifferentiable = {1}});
  r.add("Slice", {.import = importSlice, .nonDifferentiable = {1, 2, 3, 4}});
  r.add("Pad", {.import = importPad, .nonDifferentiable = {1, 2, 3}});
  r.add("CenterCropPad", {.import = importCenterCropPad, .nonDifferentiable = {1}});
  // Elementwise in the sense of the trainable rule: one number spread over a shape is a constant of the graph.
  r.add("Expand", {.import = importExpand, .elementwise = true, .nonDifferentiable = {1}});
  r.add("Tile", {.import = importTile, .minOpset = 6, .nonDifferentiable = {1}});
  r.add("Trilu", {.import = importTrilu, .nonDifferentiable = {1}});
  r.add("DepthToSpace", {.import = importDepthToSpace});
  r.add("SpaceToDepth", {.import = importSpaceToDepth});
  r.add("EyeLike", {.import = importEyeLike, .nonDifferentiable = {0}});
  r.add("Range", {.import = importRange, .nonDifferentiable = {0, 1, 2}});
}

} // namespace gmc::nn
