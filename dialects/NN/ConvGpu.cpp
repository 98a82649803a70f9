//===- ConvGpu.cpp - forward and transposed convolution as products for the GPU -------------------------===//
//
// An implicit GEMM: rows are channels of the result, columns its pixels (of all images), k the taps and, within a tap,
// the source channels. Patches are never stored: a thread reads several channels of the pixel that its column and tap
// come to, which is found, and tested for lying outside, once for all of them. Weights are brought to the order of k in
// a workspace before, channels padded with zeros to what is read at once. The transposed form is a product for each
// residue class of result pixels modulo the strides, with the taps that reach it, so that no product with a zero is
// computed.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/ConvGpu.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;

namespace gmc::nn {

//===- Shared with the weight gradient ------------------------------------------------------------------===//

SmallVector<int64_t> prepend(std::initializer_list<int64_t> first, ArrayRef<int64_t> rest) {
  SmallVector<int64_t> all(first);
  llvm::append_range(all, rest);
  return all;
}

bool gpuConvTiles(const ConvShape &s) {
  int64_t padded = llvm::alignTo(std::max(s.channels, s.filters), 8); // of weights in their workspace
  int64_t elements = std::max({s.batch * s.channels * s.inSize(), s.batch * s.filters * s.outSize(),
                               std::min(s.filters, s.channels) * padded * s.window.taps()});
  return elements > 0 && elements < (int64_t(1) << 31) && s.group <= 65535;
}

namespace {

//===- Pixels and taps ----------------------------------------------------------------------------------===//

/// In one dimension: the pixels c * stride + residue, c < grid, of the result, and what they read of the source: with
/// tap first + j * tapStep, j < taps, the position c * scale + offset + j * step.
struct ClassDim {
  int64_t grid, stride, residue, taps, first, tapStep, scale, offset, step;
};
using PixelClass = SmallVector<ClassDim>;

ClassDim forwardDim(const Window &w, size_t d, int64_t out) {
  return {out, 1, 0, w.kernel[d], 0, 1, w.strides[d], -w.padBegin(d), w.dilations[d]};
}

ClassDim transposedDim(const Window &w, size_t d, int64_t size, int64_t residue) {
  int64_t stride = w.strides[d], dilation = w.dilations[d], common = std::gcd(stride, dilation);
  ClassDim dim{
      (size - residue + stride - 1) / stride, stride, residue, 0, 0, stride / common, 1, 0, -dilation / common};
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

//===- The product of a class ---------------------------------------------------------------------------===//

/// What does not depend on the class.
struct ConvSides {
  Type element;
  const ConvShape &s;
  bool forward;
  int64_t results, sources; ///< channels per group
  int64_t width;            ///< channels read at once: a power of two
  int64_t padded;           ///< source channels of a tap in k, a multiple of it
  bool permuted;            ///< whether weights are [result channel][tap][padded] in a workspace

  ConvSides(Type element, ConvForm form, const ConvShape &s)
      : element(element), s(s), forward(form == ConvForm::Forward),
        results(forward ? s.filtersPerGroup() : s.channelsPerGroup()),
        sources(forward ? s.channelsPerGroup() : s.filtersPerGroup()) {
    int64_t wide = wideAccess(element, 16);
    permuted = s.window.taps() > 1;
    width = permuted ? std::min<int64_t>(wide, llvm::PowerOf2Ceil(sources)) : wideAccess(element, sources);
    padded = llvm::alignTo(sources, width);
  }
  SmallVector<int64_t> weightShape() const { return {results * s.group, s.window.taps(), padded}; }
  int64_t weightBytes() const { return permuted ? elementBytes(element) * numElements(weightShape()) : 0; }
};

/// Brings the weights to their workspace. A thread copies some channels of all taps: reads and writes are of
/// neighbours.
void permuteWeights(KernelBuilder &kernel, const ConvSides &c) {
  kernel.parallel({c.results * c.s.group, c.padded / c.width}, [&](OpBuilder &b, Location loc, ValueRange at) {
    int64_t taps = c.s.window.taps(), partial = c.sources % c.width;
    Value weights = flatten(b, loc, kernel.operandBuffer(1));
    Value permuted = flatten(b, loc, kernel.workspace(b, 0, c.weightShape(), c.element));
    Value channel = kb::mul(b, loc, at[1], kb::idx(b, loc, c.width)), first;
    if (c.forward) {
      first = kb::add(b, loc, kb::mul(b, loc, at[0], kb::idx(b, loc, c.sources)), channel);
    } else {
      SmallVector<Value> row = kb::delinearize(b, loc, at[0], {c.s.group, c.results});
      first = kb::linearize(b, loc, {row[0], channel, row[1]}, {c.s.group, c.sources, c.results});
    }
    int64_t step = taps * (c.forward ? 1 : c.results);
    first = kb::mul(b, loc, first, kb::idx(b, loc, taps));
    Value full = partial && c.sources > c.width
                     ? Value(arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, channel,
                                                   kb::idx(b, loc, c.sources - c.width)))
                     : Value();
    KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, taps), [&](OpBuilder &b, Location l, Value tap) {
      SmallVector<Value> values;
      for (int64_t i = 0; i < c.width; ++i) {
        bool past = partial && i >= partial; // in the last channels, which are the only ones unless there is `full`
        if (past && !full) {
          values.push_back(kb::constant(b, l, c.element, 0));
          continue;
        }
        Value place = kb::add(b, l, kb::add(b, l, first, tap), kb::idx(b, l, i * step));
        if (past)
          place = arith::SelectOp::create(b, l, full, place, kb::idx(b, l, 0));
        values.push_back(orZero(b, l, past ? full : Value(), readWide(b, l, weights, place, 1)));
      }
      Value place = kb::linearize(b, l, {at[0], tap, channel}, c.weightShape());
      if (c.width == 1)
        memref::StoreOp::create(b, l, values[0], permuted, place);
      else
        vector::StoreOp::create(b, l, concatenate(b, l, values), permuted, place, false,
                                llvm::Align(c.width * elementBytes(c.element)));
    });
  });
}

struct ConvGemm : ConvSides {
  const PixelClass &dims;
  SmallVector<int64_t> grid{}, taps{}, sourceSize{}, resultSize{};
  int64_t pixels = 1, tapCount = 1, sourcePixels;
  /// Every pixel of the class reads the one pixel of the source at its own place.
  bool pointwise = true;

  ConvGemm(Type element, ConvForm form, const ConvShape &s, const PixelClass &dims);
  GemmTiling tiling() const { return {element, s.group, results, s.batch * pixels, tapCount * padded}; }
  GpuGemm::Operand weight(KernelBuilder &kernel) const;
  GpuGemm::Operand source(KernelBuilder &kernel) const;
  void store(KernelBuilder &kernel, OpBuilder &b, Location loc, bool hasBias, Value group, Value row, Value column,
             Value sum) const;

private:
  /// A place's k: its tap, and its channel as what is the same for all threads, or does not stay, what stays, and a
  /// constant.
  struct Depth {
    SmallVector<Value> tap;
    Value changing, staying;
    int64_t further;
  };
  Depth depthAt(OpBuilder &b, Location loc, const GpuGemm::Place &at) const;
};

ConvGemm::ConvGemm(Type element, ConvForm form, const ConvShape &s, const PixelClass &dims)
    : ConvSides(element, form, s), dims(dims), sourcePixels(forward ? s.inSize() : s.outSize()) {
  ArrayRef<int64_t> from = forward ? s.in : s.out, to = forward ? s.out : s.in;
  sourceSize.assign(from.begin(), from.end());
  resultSize.assign(to.begin(), to.end());
  for (auto [dim, size] : llvm::zip_equal(dims, sourceSize)) {
    grid.push_back(dim.grid);
    taps.push_back(dim.taps);
    pixels *= dim.grid;
    tapCount *= dim.taps;
    pointwise &= dim.taps == 1 && dim.scale == 1 && dim.offset == 0 && dim.grid == size;
  }
}

ConvGemm::Depth ConvGemm::depthAt(OpBuilder &b, Location loc, const GpuGemm::Place &at) const {
  Ints ints{b, loc};
  if (tapCount == 1)
    return {SmallVector<Value>(taps.size(), ints.constant(0)), ints.from(at.slice), ints.from(at.offset), at.further};
  bool uniform = padded % tiling().tileDepth == 0; // then a slice is of one tap
  SmallVector<int64_t> shape(taps);
  shape.push_back(padded);
  SmallVector<Value> tap = ints.delinearize(ints.from(uniform ? at.slice : at.k(b, loc)), shape);
  Value channel = tap.pop_back_val();
  return {tap, channel, uniform ? ints.from(at.offset) : ints.constant(0), uniform ? at.further : 0};
}

Value placeAt(OpBuilder &b, Location loc, Value staying, Value changing, int64_t further) {
  Ints ints{b, loc};
  return kb::add(b, loc, ints.toIndex(ints.add(staying, changing)), kb::idx(b, loc, further));
}

GpuGemm::Operand ConvGemm::weight(KernelBuilder &kernel) const {
  if (permuted)
    return {true, width, [=, this, &kernel](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
              Ints ints{b, loc};
              Depth k = depthAt(b, loc, at);
              SmallVector<Value> tap;
              for (auto [i, dim] : llvm::zip_equal(k.tap, dims))
                tap.push_back(ints.affine(i, dim.tapStep, dim.first));
              Value row = ints.affine(ints.from(at.batch), results, ints.from(at.outer));
              Value staying = ints.affine(row, s.window.taps() * padded, k.staying);
              Value changing = ints.affine(ints.linearize(tap, s.window.kernel), padded, k.changing);
              Value buffer = flatten(b, loc, kernel.workspace(b, 0, weightShape(), element));
              return ahead(
                  [&] { return readWide(b, loc, buffer, placeAt(b, loc, staying, changing, k.further), width); });
            }};
  // One tap: filters by channels.
  int64_t width = forward ? this->width : wideAccess(element, results), step = forward ? 1 : results;
  return {forward, width, [=, this, &kernel](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
            Ints ints{b, loc};
            Value group = ints.from(at.batch), row = ints.from(at.outer), offset = ints.from(at.offset);
            Value staying = forward ? ints.affine(ints.affine(group, results, row), sources, offset)
                                    : ints.affine(ints.affine(group, sources, offset), results, row);
            Value changing = ints.affine(ints.from(at.slice), step, 0);
            Value buffer = flatten(b, loc, kernel.operandBuffer(1));
            return ahead(
                [&] { return readWide(b, loc, buffer, placeAt(b, loc, staying, changing, at.further * step), width); });
          }};
}

GpuGemm::Operand ConvGemm::source(KernelBuilder &kernel) const {
  int64_t alongRow = wideAccess(kernel.operandElementType(0), pixels), channels = sources * s.group;
  if (pointwise && padded == sources && alongRow > 1)
    return {false, alongRow,
            [=, this, &kernel](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
              Ints ints{b, loc};
              SmallVector<Value> pixel = ints.delinearize(ints.from(at.outer), {s.batch, pixels});
              Value channel = ints.affine(ints.from(at.batch), sources, ints.from(at.offset));
              Value staying = ints.affine(ints.affine(pixel[0], channels, channel), pixels, pixel[1]);
              Value changing = ints.affine(ints.from(at.slice), pixels, 0);
              Value buffer = flatten(b, loc, kernel.operandBuffer(0));
              return ahead([&] {
                return readWide(b, loc, buffer, placeAt(b, loc, staying, changing, at.further * pixels), alongRow);
              });
            }};
  auto read = [=, this, &kernel](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
    Ints ints{b, loc};
    SmallVector<Value> pixel = ints.delinearize(ints.from(at.outer), prepend({s.batch}, grid)), first, moved;
    Depth k = depthAt(b, loc, at);
    Value inside;
    for (size_t d = 0; d < dims.size(); ++d) {
      first.push_back(ints.affine(pixel[d + 1], dims[d].scale, dims[d].offset));
      moved.push_back(ints.affine(k.tap[d], dims[d].step, 0));
      if (!pointwise)
        inside = both(b, loc, inside, ints.below(ints.add(first[d], moved[d]), ints.constant(sourceSize[d])));
    }
    Value channel = ints.affine(ints.from(at.batch), sources, k.staying);
    Value staying =
        ints.affine(ints.affine(pixel[0], channels, channel), sourcePixels, ints.linearize(first, sourceSize));
    Value changing = ints.affine(k.changing, sourcePixels, ints.linearize(moved, sourceSize));
    Value place = ints.add(staying, changing);
    if (inside)
      place = arith::SelectOp::create(b, loc, inside, place, ints.constant(0));
    // The last of the channels read at once may not exist; existing ones are read in their place, those from the first
    // on.
    int64_t partial = sources % width;
    Value full, rest = place;
    if (partial && sources > width) {
      Value last = ints.constant(sources - width - k.further);
      full = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle, ints.add(k.staying, k.changing), last);
      rest = arith::SelectOp::create(b, loc, full, place, ints.constant(-(k.further + partial) * sourcePixels));
    }
    Value buffer = flatten(b, loc, kernel.operandBuffer(0));
    SmallVector<Value> values;
    for (int64_t i = 0; i < width; ++i) {
      bool past = partial && i >= partial;
      if (past && !full) { // these are the only channels
        values.push_back(kb::constant(b, loc, element, 0));
        continue;
      }
      Value linear =
          kb::add(b, loc, ints.toIndex(past ? rest : place), kb::idx(b, loc, (k.further + i) * sourcePixels));
      values.push_back(ahead([&] { return readWide(b, loc, buffer, linear, 1); }));
    }
    return orZero(b, loc, inside, zeroFrom(b, loc, partial, full, concatenate(b, loc, values)));
  };
  return {true, width, read, /*gathered=*/true};
}

void ConvGemm::store(KernelBuilder &kernel, OpBuilder &b, Location loc, bool hasBias, Value group, Value row,
                     Value column, Value sum) const {
  Ints ints{b, loc};
  Value channel = ints.affine(ints.from(group), results, ints.from(row));
  if (hasBias) {
    Value bias = convertTo(b, loc, kernel.load(b, loc, 2, {ints.toIndex(channel)}), b.getF32Type());
    if (widthOf(sum) > 1)
      bias = vector::BroadcastOp::create(b, loc, sum.getType(), bias);
    sum = arith::AddFOp::create(b, loc, sum, bias);
  }
  SmallVector<Value> pixel = ints.delinearize(ints.from(column), prepend({s.batch}, grid));
  SmallVector<Value> at{pixel[0], channel};
  for (size_t d = 0; d < dims.size(); ++d)
    at.push_back(ints.affine(pixel[d + 1], dims[d].stride, dims[d].residue));
  if (widthOf(sum) > 1) {
    Value linear = ints.linearize(at, prepend({1, results * s.group}, resultSize)); // the first extent does not enter
    return writeWide(b, loc, sum, flatten(b, loc, kernel.resultBuffer(0)), ints.toIndex(linear));
  }
  for (Value &position : at)
    position = ints.toIndex(position);
  kernel.store(b, loc, convertTo(b, loc, sum, kernel.resultElementType(0)), 0, at);
}

} // namespace

SmallVector<int64_t> gpuConvWorkspaces(Type element, ConvForm form, const ConvShape &s) {
  ConvSides sides(element, form, s);
  SmallVector<int64_t> bytes;
  if (!gpuConvTiles(s) || sides.results < fewRows)
    return bytes;
  if (sides.permuted)
    bytes.push_back(sides.weightBytes());
  int64_t partials = 0;
  for (const PixelClass &dims : classesOf(form, s))
    partials = std::max(partials, ConvGemm(element, form, s, dims).tiling().workspaceBytes());
  if (partials)
    bytes.push_back(partials);
  return bytes;
}

bool emitGpuConv(KernelBuilder &kernel, ConvForm form, const ConvShape &s, bool hasBias) {
  Type element = kernel.operandElementType(0);
  ConvSides sides(element, form, s);
  if (!gpuConvTiles(s) || sides.results < fewRows)
    return false;
  if (sides.permuted)
    permuteWeights(kernel, sides);
  SmallVector<PixelClass> classes = classesOf(form, s);
  for (const PixelClass &dims : classes) {
    ConvGemm c(element, form, s, dims);
    if (c.pixels == 0)
      continue;
    int64_t storeWidth = kernel.storesPlainly(0) && classes.size() == 1 && c.pixels % 4 == 0 ? 4 : 1;
    auto store = [&](OpBuilder &b, Location loc, Value group, Value row, Value column, Value sum) {
      c.store(kernel, b, loc, hasBias, group, row, column, sum);
    };
    GpuGemm{c.tiling(), c.weight(kernel), c.source(kernel), storeWidth, store, /*workspace=*/sides.permuted ? 1u : 0u}
        .emit(kernel);
  }
  return true;
}

} // namespace gmc::nn
