//===- IndexingImport.cpp - ONNX operators that read or write at given indices --------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/Indexing.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Tensor.h"

using namespace mlir;

namespace gmc::nn {

static FailureOr<int64_t> axisIn(ImportNode &n, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return n.error("axis " + Twine(axis) + " is outside rank " + Twine(rank));
  return axis < 0 ? axis + rank : axis;
}

/// One slice, known at compile time, is nn.slice: its gradient needs no scatter.
static ImportNode::Results importGather(ImportNode &n) {
  auto axis = axisIn(n, n.intAttr("axis", 0), n.rank(0));
  if (failed(axis))
    return failure();
  auto index = n.constInts(1);
  if (index && index->size() == 1 && !n.constFloats(0)) {
    int64_t dim = n.shape(0)[*axis], at = index->front() < 0 ? index->front() + dim : index->front();
    if (at < 0 || at >= dim)
      return n.error("index " + Twine(index->front()) + " is outside axis " + Twine(*axis) + " of size " + Twine(dim));
    SmallVector<int64_t> starts(n.rank(0), 0), sizes(n.shape(0)), steps(n.rank(0), 1);
    starts[*axis] = at, sizes[*axis] = 1;
    SliceOp::Properties p;
    p.starts = n.b.getDenseI64ArrayAttr(starts);
    p.sizes = n.b.getDenseI64ArrayAttr(sizes);
    p.steps = n.b.getDenseI64ArrayAttr(steps);
    SmallVector<int64_t> shape(n.shape(0).take_front(*axis));
    llvm::append_range(shape, n.shape(1));
    llvm::append_range(shape, n.shape(0).drop_front(*axis + 1));
    return one(reshapeTo(n, n.create<SliceOp>({n.in(0)}, p), shape));
  }
  GatherOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(*axis);
  return one(n.create<GatherOp>({n.in(0), n.in(1)}, p));
}

static ImportNode::Results importGatherElements(ImportNode &n) {
  auto axis = axisIn(n, n.intAttr("axis", 0), n.rank(0));
  if (failed(axis))
    return failure();
  GatherElementsOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(*axis);
  return one(n.create<GatherElementsOp>({n.in(0), n.in(1)}, p));
}

static ImportNode::Results importGatherND(ImportNode &n) {
  GatherNDOp::Properties p;
  p.batch_dims = n.b.getI64IntegerAttr(n.intAttr("batch_dims", 0));
  return one(n.create<GatherNDOp>({n.in(0), n.in(1)}, p));
}

/// Scatter (opset 9), ScatterElements; `reduction` from opset 16, min and max from 18.
static ImportNode::Results importScatterElements(ImportNode &n) {
  auto axis = axisIn(n, n.intAttr("axis", 0), n.rank(0));
  if (failed(axis))
    return failure();
  std::string reduction = n.stringAttr("reduction", "none");
  if (reduction == "none" || reduction == "add") {
    ScatterElementsOp::Properties p;
    p.axis = n.b.getI64IntegerAttr(*axis);
    p.add = n.b.getBoolAttr(reduction == "add");
    return one(n.create<ScatterElementsOp>({n.in(0), n.in(1), n.in(2)}, p));
  }
  ScatterElementsFoldOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(*axis);
  p.kind = n.b.getStringAttr(reduction);
  return one(n.create<ScatterElementsFoldOp>({n.in(0), n.in(1), n.in(2)}, p));
}

static ImportNode::Results importScatterND(ImportNode &n) {
  std::string reduction = n.stringAttr("reduction", "none");
  if (reduction == "none" || reduction == "add") {
    ScatterNDOp::Properties p;
    p.batch_dims = n.b.getI64IntegerAttr(0);
    p.add = n.b.getBoolAttr(reduction == "add");
    return one(n.create<ScatterNDOp>({n.in(0), n.in(1), n.in(2)}, p));
  }
  ScatterNDFoldOp::Properties p;
  p.kind = n.b.getStringAttr(reduction);
  return one(n.create<ScatterNDFoldOp>({n.in(0), n.in(1), n.in(2)}, p));
}

/// where(index == position, on, off), with negative indices counted from the end.
static ImportNode::Results importOneHot(ImportNode &n) {
  auto depth = n.constInts(1);
  if (!depth) {
    if (auto value = n.constFloats(1))
      depth = SmallVector<int64_t>{static_cast<int64_t>(value->front())};
  }
  if (!depth || depth->size() != 1 || depth->front() < 1 || depth->front() > maxFoldedElements)
    return n.error("depth must be one positive number known at compile time");
  auto axis = axisIn(n, n.intAttr("axis", -1), n.rank(0) + 1);
  if (failed(axis))
    return failure();
  if (tensorType(n.in(2)).getNumElements() != 2)
    return n.error("values must be the two elements off and on");
  Type i64 = n.b.getI64Type();
  Value indices = n.in(0);
  if (n.elementType(0) != i64) {
    CastOp::Properties p;
    p.to = TypeAttr::get(i64);
    indices = n.create<CastOp>({indices}, p);
  }
  SmallVector<int64_t> shape(n.shape(0)), line(n.rank(0) + 1 - *axis, 1);
  shape.insert(shape.begin() + *axis, 1);
  line[0] = depth->front();
  indices = reshapeTo(n, indices, shape);
  auto scalar = [&](int64_t v) {
    return n.constant(DenseElementsAttr::get(RankedTensorType::get({}, i64), ArrayRef<int64_t>{v}));
  };
  auto positions = llvm::to_vector(llvm::seq<int64_t>(0, depth->front()));
  Value range = n.constant(DenseElementsAttr::get(RankedTensorType::get(line, i64), ArrayRef<int64_t>(positions)));
  if (!indices)
    return failure();
  Value negative = n.create<LessOp>({indices, scalar(0)});
  Value wrapped = n.create<AddOp>({indices, scalar(depth->front())});
  if (!negative || !wrapped)
    return failure();
  Value index = n.create<WhereOp>({negative, wrapped, indices});
  Value hit = index ? n.create<EqualOp>({index, range}) : Value();
  auto pick = [&](int64_t i) {
    SliceOp::Properties p;
    p.starts = n.b.getDenseI64ArrayAttr({i});
    p.sizes = n.b.getDenseI64ArrayAttr({1});
    p.steps = n.b.getDenseI64ArrayAttr({1});
    Value values = reshapeTo(n, n.in(2), {2});
    return values ? reshapeTo(n, n.create<SliceOp>({values}, p), {}) : Value();
  };
  Value off = pick(0), on = pick(1);
  return one(hit && on && off ? n.create<WhereOp>({hit, on, off}) : Value());
}

/// The shape of the result is the number of nonzero elements: it must be known at compile time.
static ImportNode::Results importNonZero(ImportNode &n) {
  SmallVector<bool> nonZero;
  if (auto ints = n.constInts(0))
    nonZero = llvm::map_to_vector(*ints, [](int64_t v) { return v != 0; });
  else if (auto floats = n.constFloats(0))
    nonZero = llvm::map_to_vector(*floats, [](double v) { return v != 0; });
  else
    return n.error("the input is not known at compile time, so neither is the shape of the result");
  SmallVector<SmallVector<int64_t>> found;
  for (auto [i, set] : llvm::enumerate(nonZero))
    if (set)
      found.push_back(unflatten(i, n.shape(0)));
  SmallVector<int64_t> data;
  for (int64_t d = 0; d < n.rank(0); ++d)
    for (ArrayRef<int64_t> at : found)
      data.push_back(at[d]);
  auto type = RankedTensorType::get({n.rank(0), static_cast<int64_t>(found.size())}, n.b.getI64Type());
  return one(n.constant(DenseElementsAttr::get(type, ArrayRef<int64_t>(data))));
}

static ImportNode::Results importTopK(ImportNode &n) {
  auto axis = axisIn(n, n.intAttr("axis", -1), n.rank(0));
  bool bad = false;
  auto k = n.intsFrom("k", 1, bad);
  if (failed(axis) || bad)
    return failure();
  if (n.hasAttr("k"))
    k = SmallVector<int64_t>{n.intAttr("k", 0)};
  if (!k || k->size() != 1)
    return n.error("k is missing or not one number");
  TopKOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(*axis);
  p.k = n.b.getI64IntegerAttr(k->front());
  p.largest = n.b.getBoolAttr(n.intAttr("largest", 1));
  auto results = n.createMulti<TopKOp>({n.in(0)}, p);
  if (results.empty())
    return failure();
  return results;
}

/// Reverses the first len[b] elements of each line: a gather at len - 1 - t where t < len.
static ImportNode::Results importReverseSequence(ImportNode &n) {
  auto batch = axisIn(n, n.intAttr("batch_axis", 1), n.rank(0)), time = axisIn(n, n.intAttr("time_axis", 0), n.rank(0));
  if (failed(batch) || failed(time))
    return failure();
  int64_t rank = n.rank(0), steps = n.shape(0)[*time];
  if (n.rank(1) != 1 || n.shape(1)[0] != n.shape(0)[*batch])
    return n.error("needs one length for each sequence");
  Type i64 = n.b.getI64Type();
  Value lengths = n.in(1);
  if (n.elementType(1) != i64) {
    CastOp::Properties p;
    p.to = TypeAttr::get(i64);
    lengths = n.create<CastOp>({lengths}, p);
  }
  SmallVector<int64_t> perBatch(rank, 1), perStep(rank, 1);
  perBatch[*batch] = n.shape(1)[0], perStep[*time] = steps;
  auto times = llvm::to_vector(llvm::seq<int64_t>(0, steps));
  Value t = n.constant(DenseElementsAttr::get(RankedTensorType::get(perStep, i64), ArrayRef<int64_t>(times)));
  Value unit = n.constant(DenseElementsAttr::get(RankedTensorType::get({}, i64), ArrayRef<int64_t>{1}));
  lengths = reshapeTo(n, lengths, perBatch);
  if (!lengths)
    return failure();
  Value inside = n.create<LessOp>({t, lengths});
  Value last = n.create<SubOp>({lengths, unit});
  Value mirrored = last ? n.create<SubOp>({last, t}) : Value();
  if (!inside || !mirrored)
    return failure();
  Value source = n.create<WhereOp>({inside, mirrored, t});
  if (!source)
    return failure();
  GatherElementsOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(*time);
  return one(n.create<GatherElementsOp>({n.in(0), broadcastTo(n.b, n.loc, source, n.shape(0))}, p));
}

void registerIndexingImports(ImportRegistry &r) {
  r.add("Gather", {.import = importGather, .nonDifferentiable = {1}});
  r.add("GatherElements", {.import = importGatherElements, .nonDifferentiable = {1}});
  r.add("GatherND", {.import = importGatherND, .nonDifferentiable = {1}});
  r.add("Scatter", {.import = importScatterElements, .nonDifferentiable = {1}});
  r.add("ScatterElements", {.import = importScatterElements, .nonDifferentiable = {1}});
  r.add("ScatterND", {.import = importScatterND, .nonDifferentiable = {1}});
  r.add("OneHot", {.import = importOneHot, .nonDifferentiable = {0, 1}, .minInputs = 3});
  r.add("NonZero", {.import = importNonZero, .nonDifferentiable = {0}});
  r.add("TopK", {.import = importTopK, .nonDifferentiable = {1}});
  r.add("ReverseSequence", {.import = importReverseSequence, .nonDifferentiable = {1}});
}

} // namespace gmc::nn
