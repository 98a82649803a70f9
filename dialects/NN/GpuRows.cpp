//===- GpuRows.cpp - rows that groups of GPU threads read, reduce and write -----------------------------===//

#include "dialects/NN/GpuRows.h"
#include "dialects/NN/GpuStage.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc::nn {

namespace {

/// Bytes that a thread keeps of an operand, at most, and elements that a block keeps: what halves are computed in takes
/// 4 bytes.
constexpr int64_t keptBytes = 64, keptElements = keptBytes / 4 * GpuBlock::maxThreads;
/// Threads of a block whose warps have rows of their own.
constexpr int64_t blockThreads = 128;

int64_t lanesOf(const RowLayout &layout) { return std::max<int64_t>(16 / layout.bytes.narrowest, 1); }
/// Chunks that a thread keeps.
int64_t keptChunks(const RowLayout &layout) {
  return std::max<int64_t>(keptBytes / (lanesOf(layout) * layout.bytes.widest), 1);
}
bool isAligned(const RowLayout &layout) { return !layout.length && layout.size % lanesOf(layout) == 0; }
/// Chunks that a piece can touch.
int64_t chunksOf(const RowLayout &layout) {
  int64_t lanes = lanesOf(layout);
  return isAligned(layout) ? layout.size / lanes : (layout.size + 2 * lanes - 2) / lanes;
}

Value both(OpBuilder &b, Location loc, Value x, Value y) {
  return !x ? y : !y ? x : b.createOrFold<arith::AndIOp>(loc, x, y);
}
Value less(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x, y);
}

} // namespace

ElementBytes accessedBytes(const KernelBuilder &kernel, ArrayRef<unsigned> operands, ArrayRef<unsigned> results) {
  ElementBytes bytes{16, 1};
  auto both = [&](int64_t stored, Type type) {
    bytes.narrowest = std::min(bytes.narrowest, stored);
    bytes.widest = std::max(bytes.widest, elementBytes(type));
  };
  for (unsigned i : operands)
    both(kernel.operandBytes(i), kernel.operandElementType(i));
  for (unsigned i : results)
    both(kernel.resultBytes(i), kernel.resultElementType(i));
  return bytes;
}

RowLayout cutIntoRows(int64_t elements, int64_t rows, ElementBytes bytes) {
  RowLayout layout;
  layout.rows = rows;
  // Whole cache lines, so that two rows share no chunk.
  layout.size = llvm::alignTo(llvm::divideCeil(elements, rows), 128);
  layout.elements = elements;
  layout.bytes = bytes;
  if (elements == layout.size * rows)
    return layout;
  int64_t size = layout.size;
  layout.base = [=](OpBuilder &b, Location loc, Value row, Value) {
    return kb::min(b, loc, kb::mul(b, loc, row, kb::idx(b, loc, size)), kb::idx(b, loc, elements));
  };
  layout.length = [=](OpBuilder &b, Location loc, Value row, Value) {
    Value begin = kb::min(b, loc, kb::mul(b, loc, row, kb::idx(b, loc, size)), kb::idx(b, loc, elements));
    return kb::min(b, loc, kb::idx(b, loc, size), kb::sub(b, loc, kb::idx(b, loc, elements), begin));
  };
  return layout;
}

/// `lanes` neighbours in the buffers, from a multiple of `lanes` on.
struct GpuRow::Chunk {
  Value first;     ///< position of the first one
  Value inRow;     ///< number of the first one in its piece, where rows are aligned
  Value present;   ///< has elements of the row; null: certainly
  Value base, end; ///< of the piece, where rows are not aligned
  SmallVector<Element> elements;
  DenseMap<unsigned, SmallVector<Value>> operands, parameters;
};

GpuRow::GpuRow(KernelBuilder &kernel, const RowLayout &layout, const GpuBlock &block)
    : kernel(kernel), layout(layout), block(block) {}
GpuRow::~GpuRow() = default;

std::pair<int64_t, int64_t> GpuRow::threads(const RowLayout &layout) {
  int64_t chunks = chunksOf(layout) * layout.pieces, kept = keptChunks(layout);
  if (chunks > GpuBlock::warpSize * kept) {
    int64_t count = std::clamp<int64_t>(llvm::alignTo(llvm::divideCeil(chunks, kept), 32), 64, GpuBlock::maxThreads);
    return {count, count};
  }
  int64_t count = std::min<int64_t>(GpuBlock::warpSize, llvm::PowerOf2Ceil(std::max<int64_t>(chunks, 1)));
  return {count, std::min<int64_t>(blockThreads, llvm::alignTo(count * layout.rows, 32))};
}

void GpuRow::place(OpBuilder &b, Location loc, Value blockIndex) {
  auto [sharing, inBlock] = threads(layout);
  if (sharing == inBlock) {
    row = blockIndex;
    lane = block.thread();
    return;
  }
  int64_t groups = inBlock / sharing;
  Value size = kb::idx(b, loc, sharing);
  lane = b.createOrFold<arith::RemUIOp>(loc, block.thread(), size);
  Value group = b.createOrFold<arith::DivUIOp>(loc, block.thread(), size);
  row = kb::add(b, loc, kb::mul(b, loc, blockIndex, kb::idx(b, loc, groups)), group);
  if (layout.rows % groups) {
    active = less(b, loc, row, kb::idx(b, loc, layout.rows));
    row = kb::min(b, loc, row, kb::idx(b, loc, layout.rows - 1));
  }
}

std::unique_ptr<GpuRow::Chunk> GpuRow::chunk(OpBuilder &b, Location loc, Value number, bool certain) {
  int64_t lanes = lanesOf(layout), perPiece = chunksOf(layout);
  auto made = std::make_unique<Chunk>();
  Value width = kb::idx(b, loc, lanes), piece, inPiece = number;
  made->present = active;
  if (!certain)
    made->present = both(b, loc, active, less(b, loc, number, kb::idx(b, loc, perPiece * layout.pieces)));
  if (layout.pieces > 1) {
    Value size = kb::idx(b, loc, perPiece);
    piece = kb::div(b, loc, number, size);
    inPiece = kb::rem(b, loc, number, size);
  } else if (layout.base || layout.exists || layout.length) {
    piece = kb::idx(b, loc, 0);
  }
  if (layout.exists)
    made->present = both(b, loc, made->present, layout.exists(b, loc, row, piece));
  Value base = layout.base ? layout.base(b, loc, row, piece) : kb::mul(b, loc, row, kb::idx(b, loc, layout.size));
  Value offset = kb::mul(b, loc, inPiece, width);
  if (isAligned(layout)) {
    made->first = kb::add(b, loc, base, offset);
    made->inRow = offset;
    for (int64_t k = 0; k < lanes; ++k)
      made->elements.push_back({made.get(), k, kb::add(b, loc, offset, kb::idx(b, loc, k)), made->present});
    return made;
  }
  made->base = base;
  made->end = kb::add(b, loc, base, layout.length ? layout.length(b, loc, row, piece) : kb::idx(b, loc, layout.size));
  Value start = kb::mul(b, loc, b.createOrFold<arith::DivUIOp>(loc, base, width), width);
  made->first = kb::add(b, loc, start, offset);
  Value exists = made->present;
  made->present = both(b, loc, exists, less(b, loc, made->first, made->end));
  for (int64_t k = 0; k < lanes; ++k) {
    Value at = kb::add(b, loc, made->first, kb::idx(b, loc, k));
    Value inside = both(b, loc, exists, kb::inRange(b, loc, at, base, made->end));
    made->elements.push_back({made.get(), k, kb::sub(b, loc, at, base), inside});
  }
  return made;
}

/// Runs `body` for every chunk of this thread: one after the other where they are kept, in a loop where they are too
/// many.
void GpuRow::over(OpBuilder &b, Location loc, SmallVectorImpl<Value> &accumulators,
                  function_ref<void(OpBuilder &, Location, Chunk &, SmallVectorImpl<Value> &)> body) {
  int64_t sharing = threads(layout).first, chunks = chunksOf(layout) * layout.pieces,
          slots = llvm::divideCeil(chunks, sharing);
  if (slots <= keptChunks(layout) && layout.size * layout.pieces <= keptElements) {
    for (int64_t slot = 0; slot < slots; ++slot) {
      if (slot == static_cast<int64_t>(kept.size())) {
        Value number = kb::add(b, loc, lane, kb::idx(b, loc, slot * sharing));
        kept.push_back(chunk(b, loc, number, (slot + 1) * sharing <= chunks));
      }
      body(b, loc, *kept[slot], accumulators);
    }
    return;
  }
  auto loop = scf::ForOp::create(b, loc, lane, kb::idx(b, loc, chunks), kb::idx(b, loc, sharing), accumulators,
                                 [&](OpBuilder &b, Location l, Value number, ValueRange before) {
                                   SmallVector<Value> values(before);
                                   body(b, l, *chunk(b, l, number, /*certain=*/true), values);
                                   scf::YieldOp::create(b, l, values);
                                 });
  llvm::copy(loop.getResults(), accumulators.begin());
}

Scalar GpuRow::load(OpBuilder &b, Location loc, unsigned i, const Element &e, Type type) {
  SmallVector<Value> &values = e.chunk->operands[i];
  if (values.empty())
    values = loadChunk(kernel, b, loc, i, e.chunk->first, lanesOf(layout), e.chunk->present);
  return convert(Scalar(b, loc, values[e.lane]), type);
}

Scalar GpuRow::parameter(OpBuilder &b, Location loc, unsigned i, const Element &e, Type type) {
  SmallVector<Value> &values = e.chunk->parameters[i];
  if (values.empty() && isAligned(layout))
    values = loadChunk(kernel, b, loc, i, e.chunk->inRow, lanesOf(layout), e.chunk->present);
  if (values.empty())
    for (const Element &each : e.chunk->elements) {
      Value at = arith::SelectOp::create(b, loc, each.inside, each.index, kb::idx(b, loc, 0));
      values.push_back(kernel.load(b, loc, i, kb::delinearize(b, loc, at, kernel.operandShape(i))));
    }
  return convert(Scalar(b, loc, values[e.lane]), type);
}

Value GpuRow::position(OpBuilder &b, Location loc, const Element &e) {
  return kb::add(b, loc, e.chunk->first, kb::idx(b, loc, e.lane));
}

SmallVector<Value> GpuRow::reduce(OpBuilder &b, Location loc, ValueRange inits, Terms terms,
                                  GpuBlock::Combine combine) {
  SmallVector<Value> results(inits);
  over(b, loc, results, [&](OpBuilder &b, Location l, Chunk &chunk, SmallVectorImpl<Value> &accumulators) {
    for (const Element &e : chunk.elements)
      for (auto [acc, init, term] : llvm::zip(accumulators, inits, terms(b, l, e))) {
        if (e.inside)
          term = arith::SelectOp::create(b, l, e.inside, term, init);
        acc = combine(b, l, acc, term);
      }
  });
  int64_t sharing = threads(layout).first;
  for (Value &result : results) {
    if (sharing > GpuBlock::warpSize)
      result = block.blockReduce(b, loc, result, combine);
    else if (sharing > 1)
      result = block.warpReduce(b, loc, result, combine, sharing);
  }
  return results;
}

Value GpuRow::sum(OpBuilder &b, Location loc, Type type, Term term) {
  return reduce(
      b, loc, kb::constant(b, loc, type, 0),
      [&](OpBuilder &b, Location l, const Element &e) { return SmallVector<Value>{term(b, l, e).value()}; },
      [](OpBuilder &b, Location l, Value x, Value y) { return kb::add(b, l, x, y); })[0];
}

void GpuRow::store(OpBuilder &b, Location loc, unsigned i, Term value) {
  SmallVector<Value> none;
  over(b, loc, none, [&](OpBuilder &b, Location l, Chunk &chunk, SmallVectorImpl<Value> &) {
    SmallVector<Value> values;
    for (const Element &e : chunk.elements)
      values.push_back(convert(value(b, l, e), bufferElement(kernel.resultElementType(i))).value());
    auto whole = [&](OpBuilder &b, Location l) { kernel.storeNeighbours(b, l, values, i, chunk.first); };
    if (isAligned(layout))
      return chunk.present ? kb::when(b, l, chunk.present, whole) : whole(b, l);
    SmallVector<Value> inside;
    for (const Element &e : chunk.elements)
      inside.push_back(e.inside);
    storeChunk(kernel, b, l, i, values, chunk.first, inside);
  });
}

/// Rows, whole groups of them, whose numbers make 16 bytes and whose threads are in one warp; 1 where they do not.
int64_t GpuRow::numbersAtOnce(Type type) const {
  int64_t count = 16 / elementBytes(type);
  bool shuffled = type.getIntOrFloatBitWidth() >= 8;
  return shuffled && layout.rows % count == 0 && threads(layout).first * count <= GpuBlock::warpSize ? count : 1;
}

Value GpuRow::number(OpBuilder &b, Location loc, unsigned i) {
  int64_t count = numbersAtOnce(kernel.operandElementType(i));
  if (count == 1)
    return kernel.load(b, loc, i, kb::delinearize(b, loc, row, kernel.operandShape(i)));
  Value inGroup = b.createOrFold<arith::RemUIOp>(loc, row, kb::idx(b, loc, count));
  SmallVector<Value> numbers = kernel.loadNeighbours(b, loc, i, kb::sub(b, loc, row, inGroup), count);
  Value mine = numbers[0];
  for (int64_t k = 1; k < count; ++k) {
    Value isMine = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, inGroup, kb::idx(b, loc, k));
    mine = arith::SelectOp::create(b, loc, isMine, numbers[k], mine);
  }
  return mine;
}

/// Runs `store` for the values of `count` rows, in a thread of the first of them.
void GpuRow::together(OpBuilder &b, Location loc, Value value, int64_t count,
                      function_ref<void(OpBuilder &, Location, ArrayRef<Value>)> store) {
  if (count == 1)
    return once(b, loc, [&](OpBuilder &b, Location l) { store(b, l, value); });
  int64_t sharing = threads(layout).first;
  SmallVector<Value> values;
  for (int64_t k = 0; k < count; ++k)
    values.push_back(block.shuffle(b, loc, GpuBlock::Shuffle::Idx, value, k * sharing, count * sharing));
  Value inGroup = b.createOrFold<arith::RemUIOp>(loc, row, kb::idx(b, loc, count));
  Value first =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, kb::add(b, loc, inGroup, lane), kb::idx(b, loc, 0));
  // A group's rows are all there or none: so is what the first of them stores.
  kb::when(b, loc, both(b, loc, active, first), [&](OpBuilder &b, Location l) { store(b, l, values); });
}

void GpuRow::storeNumber(OpBuilder &b, Location loc, Value value, unsigned i) {
  together(b, loc, value, numbersAtOnce(kernel.resultElementType(i)),
           [&](OpBuilder &b, Location l, ArrayRef<Value> values) {
             if (values.size() > 1)
               return kernel.storeNeighbours(b, l, values, i, row);
             kernel.store(b, l, values[0], i, kb::delinearize(b, l, row, kernel.resultShape(i)));
           });
}

void GpuRow::storeNumber(OpBuilder &b, Location loc, Value value, Value buffer) {
  together(b, loc, value, numbersAtOnce(value.getType()), [&](OpBuilder &b, Location l, ArrayRef<Value> values) {
    kb::storeVectors(b, l, values, buffer, row);
  });
}

void GpuRow::once(OpBuilder &b, Location loc, function_ref<void(OpBuilder &, Location)> body) {
  Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, lane, kb::idx(b, loc, 0));
  kb::when(b, loc, both(b, loc, active, first), body);
}

void emitGpuRows(KernelBuilder &kernel, const RowLayout &layout,
                 function_ref<void(OpBuilder &, Location, GpuRow &)> body) {
  if (layout.rows == 0 || layout.size == 0)
    return;
  auto [sharing, inBlock] = GpuRow::threads(layout);
  int64_t blocks = llvm::divideCeil(layout.rows, inBlock / sharing);
  kernel.cooperative({blocks}, inBlock, [&](OpBuilder &b, Location loc, ValueRange at, const GpuBlock &block) {
    GpuRow row(kernel, layout, block);
    row.place(b, loc, at[0]);
    body(b, loc, row);
  });
}

} // namespace gmc::nn
