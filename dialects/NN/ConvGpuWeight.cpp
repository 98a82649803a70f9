//===- ConvGpuWeight.cpp - the weight gradient of convolutions as a product for the GPU ------------------===//
//
// An implicit GEMM: rows are filters, columns the taps and, within a tap, the channels, k the pixels of all images. The
// pixels are taken line by line (a line is the last dimension, or the whole image where every pixel reads the one at
// its own place), lines padded to a multiple of what a thread reads at once: so that lies in one line, whose place is
// computed once, and only its ends can lie outside in that dimension. What the padding reads is zero on both sides.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "dialects/NN/ConvGpu.h"
#include "dialects/NN/Fold.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc::nn {

namespace {

/// Element at `at` (image, channel, positions) of a source of `size`; zero where a position lies outside.
Value readPadded(OpBuilder &b, Location loc, Value buffer, ArrayRef<Value> at, int64_t channels,
                 ArrayRef<int64_t> size) {
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

/// One block a weight, for few filters per group (depthwise): its threads share the pixels of all images.
void emitWeightGradSums(KernelBuilder &kernel, const ConvShape &s) {
  const Window &w = s.window;
  size_t rank = w.rank();
  int64_t positions = s.batch * s.outSize();
  kernel.cooperative(
      kernel.resultShape(0), 128, [&](OpBuilder &b, Location loc, ValueRange ivs, const GpuBlock &block) {
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
              SmallVector<Value> out = ints.delinearize(ints.from(p), prepend({s.batch}, s.out)), x{out[0], channel};
              for (size_t d = 0; d < rank; ++d)
                x.push_back(
                    ints.affine(weight[d + 2], w.dilations[d], ints.affine(out[d + 1], w.strides[d], -w.padBegin(d))));
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

/// The product's sizes and operands. Per dimension of the window, the last one along the line.
struct WeightGrad {
  Type element;
  const ConvShape &s;
  SmallVector<int64_t> in, out, kernel, strides, pads, dilations;
  int64_t width, lines, padded; ///< pixels read at once, lines of an image, pixels of a line in k

  WeightGrad(Type element, const ConvShape &s);

  int64_t line() const { return out.back(); }
  int64_t columns() const { return s.channelsPerGroup() * s.window.taps(); }
  GemmTiling tiling() const {
    GemmTiling tiling{element, s.group, s.filtersPerGroup(), columns(), s.batch * lines * padded};
    if (strides.back() > 1) // every pixel has an address and a test of its own
      tiling.resident = std::max<int64_t>(tiling.resident - 1, 1);
    return tiling;
  }
  GpuGemm::Operand gradient(KernelBuilder &builder) const;
  GpuGemm::Operand input(KernelBuilder &builder) const;
  void store(KernelBuilder &builder, OpBuilder &b, Location loc, Value group, Value row, Value column, Value sum) const;

private:
  /// The first pixel at a place's k: image, position in every dimension.
  SmallVector<Value> pixelAt(OpBuilder &b, Location loc, const GpuGemm::Place &at) const {
    Ints ints{b, loc};
    SmallVector<int64_t> shape = prepend({s.batch}, out);
    shape.back() = padded;
    return ints.delinearize(ints.from(at.k(b, loc)), shape);
  }
  /// Null if all pixels read at once exist, or whether they do from `first` of a line on; if not, line() % width of
  /// them do.
  Value isFull(OpBuilder &b, Location loc, Value first) const {
    Ints ints{b, loc};
    int64_t rest = line() % width;
    return rest ? ints.below(first, ints.constant(line() - rest)) : Value();
  }
  /// The pixels of a line from the one at `place` in the buffer on, zeros past the line's end.
  Value readLine(OpBuilder &b, Location loc, Value buffer, Value full, Value place, ReadAhead &ahead) const;
  /// What these pixels read of x, the first one at `position` of the input's line. Zeros past the line's end, outside,
  /// and everywhere but for `inside`.
  Value readMoved(OpBuilder &b, Location loc, Value buffer, Value full, Value position, Value place, Value inside,
                  ReadAhead &ahead) const;
};

WeightGrad::WeightGrad(Type element, const ConvShape &s) : element(element), s(s) {
  const Window &w = s.window;
  bool pointwise = w.taps() == 1;
  for (size_t d = 0; d < w.rank(); ++d)
    pointwise &= w.strides[d] == 1 && w.padBegin(d) == 0 && w.padEnd(d) == 0;
  if (pointwise) {
    in = out = {s.outSize()};
    kernel = strides = dilations = {1};
    pads = {0};
  } else {
    in.assign(s.in.begin(), s.in.end());
    out.assign(s.out.begin(), s.out.end());
    kernel.assign(w.kernel.begin(), w.kernel.end());
    strides.assign(w.strides.begin(), w.strides.end());
    pads.assign(w.pads.begin(), w.pads.begin() + w.rank());
    dilations.assign(w.dilations.begin(), w.dilations.end());
  }
  // Reading more at once is worth a quarter of zeros.
  width = wideAccess(element, 16);
  while (4 * int64_t(llvm::alignTo(line(), width)) > 5 * line())
    width /= 2;
  padded = llvm::alignTo(line(), width);
  lines = numElements(out) / line();
}

Value WeightGrad::readLine(OpBuilder &b, Location loc, Value buffer, Value full, Value place, ReadAhead &ahead) const {
  Ints ints{b, loc};
  int64_t part = std::min(width, wideAccess(element, line())), rest = line() % width;
  int64_t total = numElements(cast<MemRefType>(buffer.getType()).getShape());
  if (part == 1 && UnalignedPairs::reads(element, width, total)) {
    UnalignedPairs pairs{width, total, 0, padded - line(), full, rest};
    return zeroFrom(b, loc, rest, full, elementsOf(b, loc, pairs.read(b, loc, buffer, place, ahead), element));
  }
  // Past the end, the first pixels of the buffer are read.
  Value more = rest ? Value(arith::SelectOp::create(b, loc, full, place, ints.constant(-rest))) : place;
  SmallVector<Value> parts;
  for (int64_t i = 0; i < width; i += part) {
    Value linear = kb::add(b, loc, ints.toIndex(i < rest ? place : more), kb::idx(b, loc, i));
    parts.push_back(ahead([&] { return readWide(b, loc, buffer, linear, part); }));
  }
  return zeroFrom(b, loc, rest, full, concatenate(b, loc, parts));
}

Value WeightGrad::readMoved(OpBuilder &b, Location loc, Value buffer, Value full, Value position, Value place,
                            Value inside, ReadAhead &ahead) const {
  Ints ints{b, loc};
  int64_t stride = strides.back(), pad = pads.back(), size = in.back(), last = padded - width, rest = line() % width;
  int64_t reach = (kernel.back() - 1) * dilations.back() - pad; // of the last tap
  // Of a pixel that is one: null where none comes to lie outside.
  auto exists = [&](int64_t i) {
    int64_t pixel = last + i < line() ? last + i : last - width + i; // the last one at this place
    bool tested = i * stride < pad || pixel * stride + reach >= size;
    return tested ? ints.below(ints.add(position, ints.constant(i * stride)), ints.constant(size)) : Value();
  };
  int64_t total = numElements(cast<MemRefType>(buffer.getType()).getShape());
  if (stride == 1 && UnalignedPairs::reads(element, width, total)) {
    if (inside)
      place = arith::SelectOp::create(b, loc, inside, place, ints.constant(0));
    UnalignedPairs read{width, total, std::max<int64_t>(0, pad), std::max<int64_t>(0, padded + reach - size),
                        full,  rest};
    SmallVector<Value> pairs = read.read(b, loc, buffer, place, ahead);
    for (int64_t i = 0; i < width; ++i)
      if (Value in = exists(i)) {
        Value other = arith::AndIOp::create(b, loc, pairs[i / 2], ints.constant(i % 2 ? 0xffff : -0x10000));
        pairs[i / 2] = arith::SelectOp::create(b, loc, in, pairs[i / 2], other);
      }
    return orZero(b, loc, inside, zeroFrom(b, loc, rest, full, elementsOf(b, loc, pairs, element)));
  }
  // What lies outside its line is read in the neighbouring one, or at the ends of the buffer, and is zero then.
  if (inside)
    place = arith::SelectOp::create(b, loc, inside, place, ints.constant(0));
  int64_t lowest = std::min<int64_t>(0, -pad), highest = total - size + last * stride + reach;
  SmallVector<Value> values;
  for (int64_t i = 0; i < width; ++i) {
    int64_t by = i * stride;
    Value at = kb::add(b, loc, ints.toIndex(place), kb::idx(b, loc, by));
    if (lowest + by < 0 || highest + by >= total) {
      at = ints.add(place, ints.constant(by));
      if (lowest + by < 0)
        at = arith::MaxSIOp::create(b, loc, at, ints.constant(0));
      if (highest + by >= total)
        at = arith::MinSIOp::create(b, loc, at, ints.constant(total - 1));
      at = ints.toIndex(at);
    }
    Value in = exists(i);
    Value value = ahead([&] { return readWide(b, loc, buffer, at, 1); });
    values.push_back(orZero(b, loc, in ? both(b, loc, inside, in) : inside, value));
  }
  return zeroFrom(b, loc, rest, full, concatenate(b, loc, values));
}

GpuGemm::Operand WeightGrad::gradient(KernelBuilder &builder) const {
  return {true, width, [this, &builder](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
            Ints ints{b, loc};
            SmallVector<Value> pixel = pixelAt(b, loc, at);
            int64_t size = numElements(out);
            Value filter = ints.affine(ints.from(at.batch), s.filtersPerGroup(), ints.from(at.outer));
            Value inImage = ints.linearize(ArrayRef(pixel).drop_front(), out);
            Value place = ints.add(ints.affine(filter, size, 0), ints.affine(pixel[0], s.filters * size, inImage));
            return readLine(b, loc, flatten(b, loc, builder.operandBuffer(1)), isFull(b, loc, pixel.back()), place,
                            ahead);
          }};
}

GpuGemm::Operand WeightGrad::input(KernelBuilder &builder) const {
  return {true, width, [this, &builder](OpBuilder &b, Location loc, const GpuGemm::Place &at, ReadAhead &ahead) {
            Ints ints{b, loc};
            SmallVector<int64_t> columnShape(kernel);
            columnShape.push_back(s.channelsPerGroup());
            SmallVector<Value> tap = ints.delinearize(ints.from(at.outer), columnShape), pixel = pixelAt(b, loc, at),
                               moved, first;
            Value channel = ints.affine(ints.from(at.batch), s.channelsPerGroup(), tap.pop_back_val()), inside;
            size_t rank = out.size();
            for (size_t d = 0; d < rank; ++d) {
              moved.push_back(ints.affine(tap[d], dilations[d], -pads[d]));
              first.push_back(ints.affine(pixel[d + 1], strides[d], 0));
              bool always =
                  pads[d] <= 0 && (out[d] - 1) * strides[d] + (kernel[d] - 1) * dilations[d] - pads[d] < in[d];
              if (d + 1 < rank && !always)
                inside = both(b, loc, inside, ints.below(ints.add(first[d], moved[d]), ints.constant(in[d])));
            }
            int64_t size = numElements(in);
            Value staying = ints.affine(channel, size, ints.linearize(moved, in));
            Value place = ints.add(staying, ints.affine(pixel[0], s.channels * size, ints.linearize(first, in)));
            Value buffer = flatten(b, loc, builder.operandBuffer(0)), full = isFull(b, loc, pixel.back());
            bool unmoved = kernel.back() == 1 && strides.back() == 1 && pads.back() == 0 && in.back() == line();
            if (!unmoved)
              return readMoved(b, loc, buffer, full, ints.add(first.back(), moved.back()), place, inside, ahead);
            if (inside)
              place = arith::SelectOp::create(b, loc, inside, place, ints.constant(0));
            return orZero(b, loc, inside, readLine(b, loc, buffer, full, place, ahead));
          }};
}

void WeightGrad::store(KernelBuilder &builder, OpBuilder &b, Location loc, Value group, Value row, Value column,
                       Value sum) const {
  int64_t taps = s.window.taps();
  Value filter = kb::add(b, loc, kb::mul(b, loc, group, kb::idx(b, loc, s.filtersPerGroup())), row);
  SmallVector<Value> tap = kb::delinearize(b, loc, column, {taps, s.channelsPerGroup()});
  if (taps == 1 && widthOf(sum) > 1) {
    Value linear = kb::linearize(b, loc, {filter, tap[1]}, {s.filters, s.channelsPerGroup()});
    return writeWide(b, loc, sum, flatten(b, loc, builder.resultBuffer(0)), linear);
  }
  SmallVector<Value> place = kb::delinearize(b, loc, tap[0], builder.resultShape(0).drop_front(2));
  for (int64_t i = 0; i < widthOf(sum); ++i) {
    Value value = widthOf(sum) == 1 ? sum : Value(vector::ExtractOp::create(b, loc, sum, i));
    SmallVector<Value> at{filter, kb::add(b, loc, tap[1], kb::idx(b, loc, i))};
    llvm::append_range(at, place);
    builder.store(b, loc, convertTo(b, loc, value, builder.resultElementType(0)), 0, at);
  }
}

} // namespace

SmallVector<int64_t> gpuConvWeightGradWorkspaces(Type element, const ConvShape &s) {
  int64_t bytes =
      gpuConvTiles(s) && s.filtersPerGroup() >= fewRows ? WeightGrad(element, s).tiling().workspaceBytes() : 0;
  return bytes ? SmallVector<int64_t>{bytes} : SmallVector<int64_t>{};
}

bool emitGpuConvWeightGrad(KernelBuilder &kernel, const ConvShape &s) {
  if (!gpuConvTiles(s))
    return false;
  if (s.filtersPerGroup() < fewRows) {
    emitWeightGradSums(kernel, s);
    return true;
  }
  WeightGrad w(kernel.operandElementType(0), s);
  // Columns at once are channels of one tap, neighbours in memory if there is no other.
  bool wide = s.channelsPerGroup() % 4 == 0 && (s.window.taps() > 1 || kernel.storesPlainly(0));
  auto store = [&](OpBuilder &b, Location loc, Value group, Value row, Value column, Value sum) {
    w.store(kernel, b, loc, group, row, column, sum);
  };
  GpuGemm{w.tiling(), w.gradient(kernel), w.input(kernel), wide ? 4 : 1, store}.emit(kernel);
  return true;
}

} // namespace gmc::nn
