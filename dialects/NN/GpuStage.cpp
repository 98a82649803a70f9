//===- GpuStage.cpp - neighbouring elements of a tensor in a block's shared memory ----------------------===//

#include "dialects/NN/GpuStage.h"
#include "dialects/NN/KernelSupport.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace gmc::nn {

/// Accesses that a thread starts before it waits for the first.
static constexpr int64_t together = 4;

static Value less(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x, y);
}
static Value multipleBelow(OpBuilder &b, Location loc, Value x, int64_t divisor) {
  Value size = kb::idx(b, loc, divisor);
  return kb::mul(b, loc, b.createOrFold<arith::DivUIOp>(loc, x, size), size);
}

SmallVector<Value> loadChunk(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned i, Value first, int64_t lanes,
                             Value present) {
  int64_t elements = numElements(kernel.operandShape(i));
  auto zero = [&](OpBuilder &b, Location l) -> Value {
    Type type = bufferElement(kernel.operandElementType(i));
    return arith::ConstantOp::create(b, l, b.getZeroAttr(type));
  };
  auto inBuffer = [&](OpBuilder &b, Location l) -> SmallVector<Value> {
    auto whole = [&](OpBuilder &b, Location l) { return kernel.loadNeighbours(b, l, i, first, lanes); };
    if (elements % lanes == 0)
      return whole(b, l);
    // The last chunk of the buffer: element by element, from a constant on, so that LLVM does not read some for both
    // branches.
    Value fits = less(b, l, first, kb::idx(b, l, elements / lanes * lanes));
    auto choice = scf::IfOp::create(
        b, l, fits, [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, whole(b, l)); },
        [&](OpBuilder &b, Location l) {
          SmallVector<Value> values;
          for (int64_t k = 0; k < lanes; ++k) {
            if (k >= elements % lanes) {
              values.push_back(zero(b, l));
              continue;
            }
            Value at = kb::idx(b, l, elements / lanes * lanes + k);
            values.push_back(kernel.load(b, l, i, kb::delinearize(b, l, at, kernel.operandShape(i))));
          }
          scf::YieldOp::create(b, l, values);
        });
    return choice.getResults();
  };
  if (!present)
    return inBuffer(b, loc);
  auto choice = scf::IfOp::create(
      b, loc, present, [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, inBuffer(b, l)); },
      [&](OpBuilder &b, Location l) { scf::YieldOp::create(b, l, SmallVector<Value>(lanes, zero(b, l))); });
  return choice.getResults();
}

void storeChunk(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned i, ArrayRef<Value> values, Value first,
                ArrayRef<Value> inside) {
  // Ranges have no gaps: what has the first and the last one has all.
  Value all = b.createOrFold<arith::AndIOp>(loc, inside.front(), inside.back());
  ifElse(
      b, loc, all, [&](OpBuilder &b, Location l) { kernel.storeNeighbours(b, l, values, i, first); },
      [&](OpBuilder &b, Location l) {
        for (auto [k, value] : llvm::enumerate(values))
          kb::when(b, l, inside[k], [&, k = k, value = value](OpBuilder &b, Location l) {
            Value at = kb::add(b, l, first, kb::idx(b, l, k));
            kernel.store(b, l, value, i, kb::delinearize(b, l, at, kernel.resultShape(i)));
          });
      });
}

/// Elements of the chunks that a range of `capacity` can touch.
static int64_t touched(int64_t lanes, int64_t capacity, bool aligned) {
  return llvm::alignTo(capacity + (aligned ? 0 : lanes - 1), lanes);
}

GpuStage::GpuStage(const GpuBlock &block, Type element, int64_t lanes, int64_t capacity, bool aligned)
    : block(block), element(bufferElement(element)), lanes(lanes), capacity(touched(lanes, capacity, aligned)),
      aligned(aligned), buffer(block.shared({this->capacity}, this->element)) {}

int64_t GpuStage::bytes(Type element, int64_t lanes, int64_t capacity, bool aligned) {
  return llvm::alignTo(touched(lanes, capacity, aligned) * elementBytes(element), 16);
}

void GpuStage::place(OpBuilder &b, Location loc, Value begin, Value rangeEnd) {
  base = aligned ? begin : multipleBelow(b, loc, begin, lanes);
  end = rangeEnd;
}

Value GpuStage::place(OpBuilder &b, Location loc, Value position) const { return kb::sub(b, loc, position, base); }
Value GpuStage::load(OpBuilder &b, Location loc, Value place) const { return loadWorkspace(b, loc, buffer, place); }
void GpuStage::store(OpBuilder &b, Location loc, Value value, Value place) const {
  storeWorkspace(b, loc, value, buffer, place);
}

void GpuStage::read(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned i) const {
  int64_t slots = llvm::divideCeil(capacity / lanes, block.threads());
  for (int64_t from = 0; from < slots; from += together) {
    struct Chunk {
      Value first, present;
      SmallVector<Value> values;
    };
    SmallVector<Chunk> chunks;
    for (int64_t slot = from; slot < std::min(slots, from + together); ++slot) {
      Value number = kb::add(b, loc, block.thread(), kb::idx(b, loc, slot * block.threads()));
      Value first = kb::mul(b, loc, number, kb::idx(b, loc, lanes)), at = kb::add(b, loc, base, first);
      Value present = less(b, loc, at, end);
      chunks.push_back({first, present, loadChunk(kernel, b, loc, i, at, lanes, present)});
    }
    for (const Chunk &chunk : chunks)
      kb::when(b, loc, chunk.present,
               [&](OpBuilder &b, Location l) { kb::storeVectors(b, l, chunk.values, buffer, chunk.first); });
  }
}

void GpuStage::write(KernelBuilder &kernel, OpBuilder &b, Location loc, unsigned i, Value begin, Value rangeEnd,
                     int64_t count, bool bothAligned) const {
  Value start = bothAligned ? begin : multipleBelow(b, loc, begin, lanes);
  block.strided(b, loc, touched(lanes, count, bothAligned) / lanes, [&](OpBuilder &b, Location l, Value number) {
    Value first = kb::add(b, l, start, kb::mul(b, l, number, kb::idx(b, l, lanes)));
    kb::when(b, l, less(b, l, first, rangeEnd), [&](OpBuilder &b, Location l) {
      SmallVector<Value> values = kb::loadVectors(b, l, buffer, place(b, l, first), lanes), inside;
      if (bothAligned)
        return kernel.storeNeighbours(b, l, values, i, first);
      for (int64_t k = 0; k < lanes; ++k)
        inside.push_back(kb::inRange(b, l, kb::add(b, l, first, kb::idx(b, l, k)), begin, rangeEnd));
      storeChunk(kernel, b, l, i, values, first, inside);
    });
  });
}

} // namespace gmc::nn
