//===- ConvGpu.cpp - the three convolutions as products for the GPU -------------------------------------===//
//
// An implicit GEMM: rows are channels of the result, columns its pixels (of all images), k the source channels and taps; the
// weight gradient has channels and taps as columns and pixels as k. Patches are never stored: an element's place in the source
// is computed from its row or column and its k as it is read. For the transposed form this is done for each residue class
// of result pixels modulo the strides apart, with the taps that reach it, so that no product with a zero is computed.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/GpuGemm.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <numeric>

using namespace mlir;

namespace gmc::nn {

namespace {

/// 32-bit integer arithmetic: a GPU has no other for integers.
struct Ints {
  OpBuilder &b;
  Location loc;

  Value constant(int64_t value) const { return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(value)); }
  Value from(Value index) const { return b.createOrFold<arith::IndexCastOp>(loc, b.getI32Type(), index); }
  Value toIndex(Value x) const { return b.createOrFold<arith::IndexCastOp>(loc, b.getIndexType(), x); }
  /// x * scale + offset.
  Value affine(Value x, int64_t scale, int64_t offset) const {
    return kb::add(b, loc, kb::mul(b, loc, x, constant(scale)), constant(offset));
  }
  Value affine(Value x, int64_t scale, Value offset) const { return kb::add(b, loc, kb::mul(b, loc, x, constant(scale)), offset); }
  SmallVector<Value> delinearize(Value index, ArrayRef<int64_t> shape) const {
    SmallVector<Value> at(shape.size());
    Value rest = from(index);
    for (size_t d = shape.size(); d-- > 0;) {
      at[d] = d ? b.createOrFold<arith::RemUIOp>(loc, rest, constant(shape[d])) : rest;
      if (d)
        rest = b.createOrFold<arith::DivUIOp>(loc, rest, constant(shape[d]));
    }
    return at;
  }
  Value linearize(ArrayRef<Value> at, ArrayRef<int64_t> shape) const {
    Value linear = constant(0);
    for (auto [i, size] : llvm::zip_equal(at, shape))
      linear = affine(linear, size, i);
    return linear;
  }
};

/// In one dimension: the pixels c * stride + residue, c < grid, of the result, and what they read of the source: with tap
/// first + j * tapStep, j < taps, the position c * scale + offset + j * step.
struct ClassDim {
  int64_t grid, stride, residue, taps, first, tapStep, scale, offset, step;
};
using PixelClass = SmallVector<ClassDim>;

ClassDim forwardDim(const Window &w, size_t d, int64_t out) {
  return {out, 1, 0, w.kernel[d], 0, 1, w.strides[d], -w.padBegin(d), w.dilations[d]};
}

ClassDim transposedDim(const Window &w, size_t d, int64_t size, int64_t residue) {
  int64_t stride = w.strides[d], dilation = w.dilations[d], common = std::gcd(stride, dilation);
  ClassDim dim{(size - residue + stride - 1) / stride, stride, residue, 0, 0, stride / common, 1, 0, -dilation / common};
  auto source = [&](int64_t tap) { return residue + w.padBegin(d) - tap * dilation; };
  while (dim.first < w.kernel[d] && source(dim.first) % stride)
    ++dim.first;
  if (dim.first < w.kernel[d]) {
    dim.taps = (w.kernel[d] - dim.first + dim.tapStep - 1) / dim.tapStep;
    dim.offset = source(dim.first) / stride;
  }
  return dim;
}

/// All classes of a convolution's result; the forward form has one.
SmallVector<PixelClass> classesOf(ConvForm form, const ConvShape &s) {
  SmallVector<PixelClass> classes(1);
  for (size_t d = 0; d < s.window.rank(); ++d) {
    SmallVector<PixelClass> all;
    for (const PixelClass &outer : classes)
      for (int64_t r = 0; r < (form == ConvForm::Forward ? 1 : std::min(s.window.strides[d], s.in[d])); ++r) {
        all.push_back(outer);
        all.back().push_back(form == ConvForm::Forward ? forwardDim(s.window, d, s.out[d])
                                                       : transposedDim(s.window, d, s.in[d], r));
      }
    classes = std::move(all);
  }
  return classes;
}

/// The sizes of one class's product.
struct ConvGemm {
  const ConvShape &s;
  bool forward;
  int64_t results, sources; ///< channels per group
  SmallVector<int64_t> grid{}, taps{}, sourceSize{}, resultSize{};
  int64_t pixels = 1, tapCount = 1;

  ConvGemm(ConvForm form, const ConvShape &s, const PixelClass &dims) : s(s), forward(form == ConvForm::Forward) {
    results = forward ? s.filtersPerGroup() : s.channelsPerGroup();
    sources = forward ? s.channelsPerGroup() : s.filtersPerGroup();
    ArrayRef<int64_t> from = forward ? s.in : s.out, to = forward ? s.out : s.in;
    sourceSize.assign(from.begin(), from.end());
    resultSize.assign(to.begin(), to.end());
    for (const ClassDim &dim : dims) {
      grid.push_back(dim.grid);
      taps.push_back(dim.taps);
      pixels *= dim.grid;
      tapCount *= dim.taps;
    }
  }
  GemmTiling tiling(Type element) const { return {element, s.group, results, s.batch * pixels, sources * tapCount}; }
};

SmallVector<int64_t> prepend(std::initializer_list<int64_t> first, ArrayRef<int64_t> rest) {
  SmallVector<int64_t> all(first);
  llvm::append_range(all, rest);
  return all;
}

/// Element at `at` (image, channel, positions) of a source of `size`; zero where a position lies outside.
Value readPadded(OpBuilder &b, Location loc, Value buffer, ArrayRef<Value> at, int64_t channels, ArrayRef<int64_t> size) {
  Ints ints{b, loc};
  Value inside;
  for (auto [position, extent] : llvm::zip_equal(at.drop_front(2), size)) {
    Value in = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, position, ints.constant(extent));
    inside = inside ? Value(arith::AndIOp::create(b, loc, inside, in)) : in;
  }
  // The image's extent does not enter the linear index.
  Value linear = ints.linearize(at, prepend({1, channels}, size));
  linear = arith::SelectOp::create(b, loc, inside, linear, ints.constant(0));
  Value value = readWide(b, loc, buffer, ints.toIndex(linear), 1);
  return arith::SelectOp::create(b, loc, inside, value, kb::constant(b, loc, value.getType(), 0));
}

/// Every pixel reads the one pixel at its own place.
bool isPointwise(const ConvShape &s) {
  auto all = [](ArrayRef<int64_t> values, int64_t want) { return llvm::all_of(values, [=](int64_t v) { return v == want; }); };
  return s.window.taps() == 1 && all(s.window.strides, 1) && all(s.window.pads, 0);
}

void emitClass(KernelBuilder &kernel, ConvForm form, const ConvShape &s, const PixelClass &dims, bool whole, bool hasBias) {
  ConvGemm c(form, s, dims);
  if (c.pixels == 0)
    return;
  size_t rank = dims.size();
  int64_t allTaps = s.window.taps(), channels = c.sources * s.group;
  GpuGemm::Operand weight, source;
  if (c.forward) {
    int64_t width = wideAccess(kernel.operandElementType(1), c.sources * allTaps);
    weight = {true, width, [&kernel, &c, width](OpBuilder &b, Location loc, const GpuGemm::Place &place) {
                Value group = place.batch, row = place.outer, k = place.k(b, loc);
                Ints ints{b, loc};
                Value channel = ints.affine(ints.from(group), c.results, ints.from(row));
                Value linear = ints.affine(channel, c.sources * c.tapCount, ints.from(k));
                return readWide(b, loc, flatten(b, loc, kernel.operandBuffer(1)), ints.toIndex(linear), width);
              }};
  } else {
    bool alongDepth = allTaps > 1;
    int64_t width = alongDepth ? 1 : wideAccess(kernel.operandElementType(1), c.results);
    weight = {alongDepth, width, [&, rank, width](OpBuilder &b, Location loc, const GpuGemm::Place &place) {
                Value group = place.batch, row = place.outer, k = place.k(b, loc);
                Ints ints{b, loc};
                SmallVector<Value> at = ints.delinearize(k, prepend({c.sources}, c.taps));
                Value linear = ints.affine(ints.from(group), c.sources, at[0]);
                linear = ints.affine(linear, c.results, ints.from(row));
                for (size_t d = 0; d < rank; ++d)
                  linear = ints.affine(linear, s.window.kernel[d], ints.affine(at[d + 1], dims[d].tapStep, dims[d].first));
                return readWide(b, loc, flatten(b, loc, kernel.operandBuffer(1)), ints.toIndex(linear), width);
              }};
  }
  if (isPointwise(s)) {
    int64_t width = wideAccess(kernel.operandElementType(0), c.pixels);
    source = {false, width, [&kernel, &c, channels, width](OpBuilder &b, Location loc, const GpuGemm::Place &place) {
                Value group = place.batch, column = place.outer, k = place.k(b, loc);
                Ints ints{b, loc};
                SmallVector<Value> at = ints.delinearize(column, {c.s.batch, c.pixels});
                Value channel = ints.affine(ints.from(group), c.sources, ints.from(k));
                Value linear = ints.affine(ints.affine(at[0], channels, channel), c.pixels, at[1]);
                return readWide(b, loc, flatten(b, loc, kernel.operandBuffer(0)), ints.toIndex(linear), width);
              }};
  } else {
    source = {false, 1, [&, rank, channels](OpBuilder &b, Location loc, const GpuGemm::Place &place) {
                Value group = place.batch, column = place.outer, k = place.k(b, loc);
                Ints ints{b, loc};
                SmallVector<Value> pixel = ints.delinearize(column, prepend({s.batch}, c.grid));
                SmallVector<Value> tap = ints.delinearize(k, prepend({c.sources}, c.taps));
                SmallVector<Value> at{pixel[0], ints.affine(ints.from(group), c.sources, tap[0])};
                for (size_t d = 0; d < rank; ++d)
                  at.push_back(ints.affine(tap[d + 1], dims[d].step, ints.affine(pixel[d + 1], dims[d].scale, dims[d].offset)));
                return readPadded(b, loc, flatten(b, loc, kernel.operandBuffer(0)), at, channels, c.sourceSize);
              }};
  }
  int64_t storeWidth = kernel.storesPlainly(0) && whole && c.pixels % 4 == 0 ? 4 : 1;
  GpuGemm gemm{c.tiling(kernel.operandElementType(0)), weight, source, storeWidth,
               [&](OpBuilder &b, Location loc, Value group, Value row, Value column, Value sum) {
                 Ints ints{b, loc};
                 Value channel = ints.affine(ints.from(group), c.results, ints.from(row));
                 if (hasBias) {
                   Value bias = convertTo(b, loc, kernel.load(b, loc, 2, {ints.toIndex(channel)}), b.getF32Type());
                   if (widthOf(sum) > 1)
                     bias = vector::BroadcastOp::create(b, loc, sum.getType(), bias);
                   sum = arith::AddFOp::create(b, loc, sum, bias);
                 }
                 SmallVector<Value> pixel = ints.delinearize(column, prepend({s.batch}, c.grid));
                 SmallVector<Value> at{pixel[0], channel};
                 for (size_t d = 0; d < rank; ++d)
                   at.push_back(ints.affine(pixel[d + 1], dims[d].stride, dims[d].residue));
                 if (widthOf(sum) > 1) {
                   Value linear = ints.linearize(at, prepend({1, c.results * s.group}, c.resultSize));
                   return writeWide(b, loc, sum, flatten(b, loc, kernel.resultBuffer(0)), ints.toIndex(linear));
                 }
                 for (Value &position : at)
                   position = ints.toIndex(position);
                 kernel.store(b, loc, convertTo(b, loc, sum, kernel.resultElementType(0)), 0, at);
               }};
  gemm.emit(kernel);
}

/// One block a weight, for few filters per group (depthwise): its threads share the pixels of all images.
void emitWeightGradSums(KernelBuilder &kernel, const ConvShape &s) {
  const Window &w = s.window;
  size_t rank = w.rank();
  int64_t positions = s.batch * s.outSize();
  kernel.cooperative(kernel.resultShape(0), 128, [&](OpBuilder &b, Location loc, ValueRange ivs, const GpuBlock &block) {
    Ints ints{b, loc};
    SmallVector<Value> weight;
    for (Value iv : ivs)
      weight.push_back(ints.from(iv));
    Value group = arith::DivUIOp::create(b, loc, weight[0], ints.constant(s.filtersPerGroup()));
    Value channel = ints.affine(group, s.channelsPerGroup(), weight[1]);
    Value zero = kb::constant(b, loc, b.getF32Type(), 0);
    auto loop = scf::ForOp::create(
        b, loc, block.thread(), kb::idx(b, loc, positions), kb::idx(b, loc, block.threads()), ValueRange{zero},
        [&](OpBuilder &b, Location l, Value p, ValueRange acc) {
          Ints ints{b, l};
          SmallVector<Value> out = ints.delinearize(p, prepend({s.batch}, s.out)), x{out[0], channel};
          for (size_t d = 0; d < rank; ++d)
            x.push_back(ints.affine(weight[d + 2], w.dilations[d], ints.affine(out[d + 1], w.strides[d], -w.padBegin(d))));
          out.insert(out.begin() + 1, weight[0]);
          Value dy = ints.toIndex(ints.linearize(out, prepend({1, s.filters}, s.out)));
          Value left = asF32(b, l, readPadded(b, l, flatten(b, l, kernel.operandBuffer(0)), x, s.channels, s.in));
          Value right = asF32(b, l, readWide(b, l, flatten(b, l, kernel.operandBuffer(1)), dy, 1));
          scf::YieldOp::create(b, l, ValueRange{kb::add(b, l, acc[0], kb::mul(b, l, left, right))});
        });
    Value sum = block.blockReduce(b, loc, loop.getResult(0),
                                  [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); });
    Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, block.thread(), kb::idx(b, loc, 0));
    kb::when(b, loc, first, [&](OpBuilder &b, Location l) {
      kernel.store(b, l, convertTo(b, l, sum, kernel.resultElementType(0)), 0, ivs);
    });
  });
}

GemmTiling weightGradTiling(Type element, const ConvShape &s) {
  return {element, s.group, s.filtersPerGroup(), s.channelsPerGroup() * s.window.taps(), s.batch * s.outSize()};
}

/// Below this many rows a tile would be mostly empty.
constexpr int64_t fewRows = 4;

} // namespace

/// Indices are 32-bit.
static bool gpuConvTiles(const ConvShape &s) {
  int64_t elements = std::max({s.batch * s.channels * s.inSize(), s.batch * s.filters * s.outSize(),
                               s.filters * s.channelsPerGroup() * s.window.taps()});
  return elements > 0 && elements < (int64_t(1) << 31) && s.group <= 65535;
}

int64_t gpuConvWorkspace(Type element, ConvForm form, const ConvShape &s) {
  if (!gpuConvTiles(s) || ConvGemm(form, s, {}).results < fewRows)
    return 0;
  int64_t bytes = 0;
  for (const PixelClass &dims : classesOf(form, s))
    bytes = std::max(bytes, ConvGemm(form, s, dims).tiling(element).workspaceBytes());
  return bytes;
}

int64_t gpuConvWeightGradWorkspace(Type element, const ConvShape &s) {
  return gpuConvTiles(s) && s.filtersPerGroup() >= fewRows ? weightGradTiling(element, s).workspaceBytes() : 0;
}

bool emitGpuConv(KernelBuilder &kernel, ConvForm form, const ConvShape &s, bool hasBias) {
  if (!gpuConvTiles(s) || ConvGemm(form, s, {}).results < fewRows)
    return false;
  SmallVector<PixelClass> classes = classesOf(form, s);
  for (const PixelClass &dims : classes)
    emitClass(kernel, form, s, dims, classes.size() == 1, hasBias);
  return true;
}

bool emitGpuConvWeightGrad(KernelBuilder &kernel, const ConvShape &s) {
  if (!gpuConvTiles(s))
    return false;
  if (s.filtersPerGroup() < fewRows) {
    emitWeightGradSums(kernel, s);
    return true;
  }
  const Window &w = s.window;
  int64_t size = s.outSize(), columns = s.channelsPerGroup() * w.taps();
  int64_t width = wideAccess(kernel.operandElementType(1), size);
  GpuGemm::Operand dy{true, width, [&, width](OpBuilder &b, Location loc, const GpuGemm::Place &place) {
                        Value group = place.batch, row = place.outer, k = place.k(b, loc);
                        Ints ints{b, loc};
                        SmallVector<Value> at = ints.delinearize(k, {s.batch, size});
                        Value filter = ints.affine(ints.from(group), s.filtersPerGroup(), ints.from(row));
                        Value linear = ints.affine(ints.affine(at[0], s.filters, filter), size, at[1]);
                        return readWide(b, loc, flatten(b, loc, kernel.operandBuffer(1)), ints.toIndex(linear), width);
                      }};
  int64_t xWidth = isPointwise(s) ? wideAccess(kernel.operandElementType(0), size) : 1;
  GpuGemm::Operand x{true, xWidth, [&, xWidth](OpBuilder &b, Location loc, const GpuGemm::Place &place) {
                       Value group = place.batch, column = place.outer, k = place.k(b, loc);
                       Ints ints{b, loc};
                       Value buffer = flatten(b, loc, kernel.operandBuffer(0));
                       if (isPointwise(s)) {
                         SmallVector<Value> at = ints.delinearize(k, {s.batch, size});
                         Value channel = ints.affine(ints.from(group), s.channelsPerGroup(), ints.from(column));
                         Value linear = ints.affine(ints.affine(at[0], s.channels, channel), size, at[1]);
                         return readWide(b, loc, buffer, ints.toIndex(linear), xWidth);
                       }
                       SmallVector<Value> tap = ints.delinearize(column, prepend({s.channelsPerGroup()}, w.kernel));
                       SmallVector<Value> out = ints.delinearize(k, prepend({s.batch}, s.out));
                       SmallVector<Value> at{out[0], ints.affine(ints.from(group), s.channelsPerGroup(), tap[0])};
                       for (size_t d = 0; d < w.rank(); ++d)
                         at.push_back(ints.affine(tap[d + 1], w.dilations[d], ints.affine(out[d + 1], w.strides[d], -w.padBegin(d))));
                       return readPadded(b, loc, buffer, at, s.channels, s.in);
                     }};
  int64_t storeWidth = kernel.storesPlainly(0) && columns % 4 == 0 ? 4 : 1;
  GpuGemm gemm{weightGradTiling(kernel.operandElementType(0), s), dy, x, storeWidth,
               [&](OpBuilder &b, Location loc, Value group, Value row, Value column, Value sum) {
                 Value filter = kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, s.filtersPerGroup())), row);
                 Value linear = kb::add(b, loc, kb::mul(b, loc, filter, kb::idx(b, loc, columns)), column);
                 if (widthOf(sum) > 1)
                   return writeWide(b, loc, sum, flatten(b, loc, kernel.resultBuffer(0)), linear);
                 Value value = convertTo(b, loc, sum, kernel.resultElementType(0));
                 kernel.store(b, loc, value, 0, kb::delinearize(b, loc, linear, kernel.resultShape(0)));
               }};
  gemm.emit(kernel);
  return true;
}

} // namespace gmc::nn
