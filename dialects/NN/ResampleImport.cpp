//===- ResampleImport.cpp - ONNX Resize and Upsample ----------------------------------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/Resample.h"
#include <cmath>

using namespace mlir;

namespace gmc::nn {

namespace {

/// How an axis is resized; names and formulas are those of the ONNX operator.
struct Rule {
  std::string mode, coordinates, nearest;
  double cubicA = -0.75;
  bool excludeOutside = false, antialias = false;
};

/// Positions and weights along one axis, `width` entries for each output.
struct Table {
  SmallVector<int32_t> positions;
  SmallVector<double> weights;
  int64_t width = 0;
};

double sourceCoordinate(const Rule &rule, int64_t o, int64_t in, int64_t out, double scale) {
  if (rule.coordinates == "asymmetric")
    return o / scale;
  if (rule.coordinates == "tf_half_pixel_for_nn")
    return (o + 0.5) / scale;
  if (rule.coordinates == "align_corners")
    return out == 1 ? 0
                    : o * (in - 1) / (scale * in - 1); // with the unrounded size, as the standard's reference has it
  if (rule.coordinates == "pytorch_half_pixel" && out == 1)
    return 0;
  double x = (o + 0.5) / scale - 0.5;
  if (rule.coordinates == "half_pixel_symmetric")
    x += in / 2.0 * (1 - out / (scale * in));
  return x;
}

int64_t nearestPosition(const Rule &rule, double x) {
  if (rule.nearest == "floor")
    return std::floor(x);
  if (rule.nearest == "ceil")
    return std::ceil(x);
  return rule.nearest == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

/// Weight of a neighbour at distance d (R. Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981,
/// for cubic; the triangle for linear).
double filter(const Rule &rule, double d) {
  d = std::abs(d);
  if (rule.mode == "linear")
    return std::max(0.0, 1 - d);
  double a = rule.cubicA;
  if (d <= 1)
    return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

Table makeTable(const Rule &rule, int64_t in, int64_t out, double scale) {
  Table table;
  if (rule.mode == "nearest") {
    table.width = 1;
    for (int64_t o = 0; o < out; ++o) {
      int64_t i = nearestPosition(rule, sourceCoordinate(rule, o, in, out, scale));
      table.positions.push_back(std::clamp<int64_t>(i, 0, in - 1));
      table.weights.push_back(1);
    }
    return table;
  }
  // Antialiasing widens the filter where the axis shrinks.
  double stretch = rule.antialias ? std::min(scale, 1.0) : 1.0;
  int64_t reach = std::ceil((rule.mode == "linear" ? 1 : 2) / stretch);
  table.width = 2 * reach;
  for (int64_t o = 0; o < out; ++o) {
    double x = sourceCoordinate(rule, o, in, out, scale);
    int64_t first = static_cast<int64_t>(std::floor(x)) - reach + 1;
    double total = 0;
    SmallVector<double> weights;
    for (int64_t t = 0; t < table.width; ++t) {
      int64_t i = first + t;
      bool outside = i < 0 || i >= in;
      weights.push_back(rule.excludeOutside && outside ? 0 : filter(rule, (i - x) * stretch));
      total += weights.back();
      table.positions.push_back(std::clamp<int64_t>(i, 0, in - 1));
    }
    bool normalize = rule.excludeOutside || rule.antialias;
    for (double weight : weights)
      table.weights.push_back(normalize ? weight / total : weight);
  }
  return table;
}

} // namespace

/// Resizes the axes of x whose size or scale changes.
static ImportNode::Results resize(ImportNode &n, const Rule &rule, ArrayRef<int64_t> axes, ArrayRef<int64_t> sizes,
                                  ArrayRef<double> scales) {
  ArrayRef<int64_t> in = n.shape(0);
  Type element = n.elementType(0);
  if (!isa<FloatType>(element))
    return n.error("only floats are supported");
  SmallVector<int64_t> changed, reach;
  SmallVector<Value> positions, weights;
  for (auto [axis, size, scale] : llvm::zip(axes, sizes, scales)) {
    if (size < 1 || !(scale > 0))
      return n.error("size " + Twine(size) + " of axis " + Twine(axis) + " is not positive");
    if (size == in[axis] && (scale == 1 || rule.coordinates == "align_corners"))
      continue;
    Table table = makeTable(rule, in[axis], size, scale);
    SmallVector<Attribute> values;
    for (double weight : table.weights)
      values.push_back(n.b.getFloatAttr(element, weight));
    changed.push_back(axis);
    auto shape = {size, table.width};
    auto at =
        DenseElementsAttr::get(RankedTensorType::get(shape, n.b.getI32Type()), ArrayRef<int32_t>(table.positions));
    auto [below, above] = reachOf(at, in[axis]);
    reach.append({below, above});
    positions.push_back(n.constant(at));
    weights.push_back(n.constant(DenseElementsAttr::get(RankedTensorType::get(shape, element), values)));
  }
  if (changed.empty())
    return one(n.in(0));
  ResampleOp::Properties p;
  p.axes = n.b.getDenseI64ArrayAttr(changed);
  p.reach = n.b.getDenseI64ArrayAttr(reach);
  int32_t count = changed.size();
  p.operandSegmentSizes = {1, count, count};
  SmallVector<Value> operands{n.in(0)};
  llvm::append_range(operands, positions);
  llvm::append_range(operands, weights);
  return one(n.create<ResampleOp>(operands, p));
}

static SmallVector<int64_t> outputSizes(ArrayRef<int64_t> in, ArrayRef<int64_t> axes, ArrayRef<double> scales) {
  SmallVector<int64_t> sizes;
  for (auto [axis, scale] : llvm::zip(axes, scales))
    sizes.push_back(std::floor(in[axis] * scale));
  return sizes;
}

/// Upsample (opset 7 and 9) and Resize of opset 10: scales only, asymmetric coordinates rounded down.
static ImportNode::Results importUpsample(ImportNode &n) {
  if (!n.has(0))
    return n.error("its input is missing");
  Rule rule{n.stringAttr("mode", "nearest"), "asymmetric", "floor"};
  if (rule.mode == "bilinear")
    rule.mode = "linear";
  if (rule.mode != "nearest" && rule.mode != "linear")
    return n.error("mode " + rule.mode + " is not supported");
  auto scales = n.has(1) ? n.constFloats(1) : n.floatsAttr("scales");
  if (!scales)
    return n.error("its scales are not known at compile time");
  if (static_cast<int64_t>(scales->size()) != n.rank(0))
    return n.error("has " + Twine(scales->size()) + " scales for rank " + Twine(n.rank(0)));
  auto axes = llvm::to_vector(llvm::seq<int64_t>(0, n.rank(0)));
  return resize(n, rule, axes, outputSizes(n.shape(0), axes, *scales), *scales);
}

static ImportNode::Results importResize(ImportNode &n) {
  if (n.opset < 11)
    return importUpsample(n);
  if (!n.has(0))
    return n.error("its input is missing");
  Rule rule{n.stringAttr("mode", "nearest"),
            n.stringAttr("coordinate_transformation_mode", "half_pixel"),
            n.stringAttr("nearest_mode", "round_prefer_floor"),
            n.floatAttr("cubic_coeff_a", -0.75),
            n.intAttr("exclude_outside", 0) != 0,
            n.intAttr("antialias", 0) != 0};
  if (rule.mode != "nearest" && rule.mode != "linear" && rule.mode != "cubic")
    return n.error("mode " + rule.mode + " is not supported");
  if (rule.coordinates == "tf_crop_and_resize")
    return n.error("coordinate_transformation_mode " + rule.coordinates + " is not supported");
  int64_t rank = n.rank(0);
  ArrayRef<int64_t> in = n.shape(0);
  SmallVector<int64_t> axes = n.intsAttr("axes").value_or(llvm::to_vector(llvm::seq<int64_t>(0, rank)));
  for (int64_t &axis : axes) {
    if (axis < -rank || axis >= rank)
      return n.error("axis " + Twine(axis) + " is outside rank " + Twine(rank));
    axis += axis < 0 ? rank : 0;
  }
  // An absent or empty input of scales means that sizes are given.
  bool hasSizes = n.has(3) && tensorType(n.in(3)).getNumElements() > 0;
  if (!hasSizes) {
    auto scales = n.has(2) ? n.constFloats(2) : std::nullopt;
    if (!scales)
      return n.error("neither its scales nor its sizes are known at compile time");
    if (scales->size() != axes.size())
      return n.error("has " + Twine(scales->size()) + " scales for " + Twine(axes.size()) + " axes");
    return resize(n, rule, axes, outputSizes(in, axes, *scales), *scales);
  }
  auto sizes = n.constInts(3);
  if (!sizes)
    return n.error("its sizes are not known at compile time");
  if (sizes->size() != axes.size())
    return n.error("has " + Twine(sizes->size()) + " sizes for " + Twine(axes.size()) + " axes");
  SmallVector<double> scales;
  for (auto [axis, size] : llvm::zip(axes, *sizes))
    scales.push_back(static_cast<double>(size) / std::max<int64_t>(1, in[axis]));
  std::string policy = n.stringAttr("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch") {
    double scale = policy == "not_larger" ? *llvm::min_element(scales) : *llvm::max_element(scales);
    for (auto [axis, size, each] : llvm::zip(axes, *sizes, scales)) {
      each = scale;
      size = std::floor(scale * in[axis] + 0.5);
    }
  }
  return resize(n, rule, axes, *sizes, scales);
}

void registerResampleImports(ImportRegistry &r) {
  r.add("Resize", {.import = importResize, .minOpset = 10, .nonDifferentiable = {1, 2, 3}});
  r.add("Upsample", {.import = importUpsample, .minOpset = 7, .nonDifferentiable = {1}});
}

} // namespace gmc::nn
