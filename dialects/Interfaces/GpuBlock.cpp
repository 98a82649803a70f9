#include "dialects/Interfaces/GpuBlock.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/bit.h"

using namespace mlir;

namespace gmc {

Value GpuBlock::block() const { return cast<gpu::LaunchOp>(launch).getBlockIds().x; }
Value GpuBlock::thread() const { return cast<gpu::LaunchOp>(launch).getThreadIds().x; }

Value GpuBlock::lane(OpBuilder &b, Location loc) const {
  return b.createOrFold<arith::RemUIOp>(loc, thread(), kb::idx(b, loc, warpSize));
}
Value GpuBlock::warp(OpBuilder &b, Location loc) const {
  return b.createOrFold<arith::DivUIOp>(loc, thread(), kb::idx(b, loc, warpSize));
}

Value GpuBlock::shared(ArrayRef<int64_t> shape, Type elementType) const {
  OpBuilder b(launch->getContext());
  auto type = MemRefType::get(shape, elementType, MemRefLayoutAttrInterface(), b.getI64IntegerAttr(sharedSpace));
  return cast<gpu::LaunchOp>(launch).addWorkgroupAttribution(type, launch->getLoc());
}

void GpuBlock::barrier(OpBuilder &b, Location loc) const { NVVM::BarrierOp::create(b, loc); }

SmallVector<Value> GpuBlock::loadMatrices(OpBuilder &b, Location loc, Value buffer, ValueRange indices,
                                          bool transposed) const {
  auto type = cast<MemRefType>(buffer.getType());
  assert(type.getElementTypeBitWidth() == 16 && "matrices of 16-bit elements");
  Value at = kb::mul(b, loc, kb::linearize(b, loc, llvm::to_vector(indices), type.getShape()), kb::idx(b, loc, 2));
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, buffer);
  address = arith::IndexCastOp::create(b, loc, b.getI64Type(), kb::add(b, loc, address, at));
  Value pointer = LLVM::IntToPtrOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext(), sharedSpace), address);
  Type i32 = b.getI32Type();
  auto four = LLVM::LLVMStructType::getLiteral(b.getContext(), {i32, i32, i32, i32});
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  Value all = NVVM::LdMatrixOp::create(b, loc, four, pointer, 4, layout, shape, NVVM::LdStMatrixEltType::B16);
  SmallVector<Value> registers;
  for (int64_t i = 0; i < 4; ++i)
    registers.push_back(LLVM::ExtractValueOp::create(b, loc, all, i));
  return registers;
}

static Value constant32(OpBuilder &b, Location loc, uint32_t value) {
  return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(static_cast<int32_t>(value)));
}

Value GpuBlock::shuffle(OpBuilder &b, Location loc, Shuffle kind, Value value, int64_t amount, int64_t width,
                        uint32_t mask) const {
  return shuffle(b, loc, kind, value, constant32(b, loc, amount), width, mask);
}

Value GpuBlock::shuffle(OpBuilder &b, Location loc, Shuffle kind, Value value, Value amount, int64_t width,
                        uint32_t mask) const {
  Type type = value.getType(), i32 = b.getI32Type();
  unsigned bits = type.getIntOrFloatBitWidth();
  if (bits != 32) {
    // Narrow values travel in the low bits of a register, wide ones in two.
    Type raw = b.getIntegerType(bits);
    Value whole = isa<FloatType>(type) ? Value(arith::BitcastOp::create(b, loc, raw, value)) : value, result;
    if (bits < 32) {
      Value wide = arith::ExtUIOp::create(b, loc, i32, whole);
      result = arith::TruncIOp::create(b, loc, raw, shuffle(b, loc, kind, wide, amount, width, mask));
    } else {
      Value by = arith::ConstantOp::create(b, loc, b.getIntegerAttr(raw, 32));
      Value low = arith::TruncIOp::create(b, loc, i32, whole);
      Value high = arith::TruncIOp::create(b, loc, i32, arith::ShRUIOp::create(b, loc, whole, by));
      low = arith::ExtUIOp::create(b, loc, raw, shuffle(b, loc, kind, low, amount, width, mask));
      high = arith::ExtUIOp::create(b, loc, raw, shuffle(b, loc, kind, high, amount, width, mask));
      result = arith::OrIOp::create(b, loc, low, arith::ShLIOp::create(b, loc, high, by));
    }
    return isa<FloatType>(type) ? Value(arith::BitcastOp::create(b, loc, type, result)) : result;
  }
  NVVM::ShflKind nvvm = kind == Shuffle::Xor    ? NVVM::ShflKind::bfly
                        : kind == Shuffle::Up   ? NVVM::ShflKind::up
                        : kind == Shuffle::Down ? NVVM::ShflKind::down
                                                : NVVM::ShflKind::idx;
  // PTX: bits 8-12 are the lane bits that name the segment, bits 0-4 the farthest lane within it.
  uint32_t segments = static_cast<uint32_t>(warpSize - width) << 8;
  uint32_t clamp = kind == Shuffle::Up ? 0 : warpSize - 1;
  amount = kb::fromIndex(b, loc, amount, i32);
  return NVVM::ShflOp::create(b, loc, type, constant32(b, loc, mask), value, amount,
                              constant32(b, loc, segments | clamp), nvvm, UnitAttr());
}

Value GpuBlock::warpReduce(OpBuilder &b, Location loc, Value value, Combine combine, int64_t width) const {
  for (int64_t distance = width / 2; distance > 0; distance /= 2)
    value = combine(b, loc, value, shuffle(b, loc, Shuffle::Xor, value, distance));
  return value;
}

Value GpuBlock::blockReduce(OpBuilder &b, Location loc, Value value, Combine combine) const {
  int64_t warps = threadCount / warpSize;
  value = warpReduce(b, loc, value, combine);
  if (warps == 1)
    return value;
  Value partial = shared({warps}, value.getType());
  Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, lane(b, loc), kb::idx(b, loc, 0));
  kb::when(b, loc, first, [&](OpBuilder &b, Location l) {
    memref::StoreOp::create(b, l, value, partial, warp(b, l));
  });
  barrier(b, loc);
  // Every warp reduces what the warps have, in groups of as many lanes: a thread that read them all would need a
  // register for each.
  int64_t lanes = llvm::bit_floor<uint64_t>(warps);
  Value at = b.createOrFold<arith::RemUIOp>(loc, thread(), kb::idx(b, loc, lanes));
  Value total = memref::LoadOp::create(b, loc, partial, at);
  if (warps > lanes) {
    Value further = kb::add(b, loc, at, kb::idx(b, loc, lanes)), last = kb::idx(b, loc, warps - 1);
    Value both = combine(b, loc, total, memref::LoadOp::create(b, loc, partial, kb::min(b, loc, further, last)));
    Value exists = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, further, last);
    total = arith::SelectOp::create(b, loc, exists, both, total);
  }
  barrier(b, loc); // the buffer may be written again
  return warpReduce(b, loc, total, combine, lanes);
}

void GpuBlock::strided(OpBuilder &b, Location loc, int64_t count,
                       function_ref<void(OpBuilder &, Location, Value)> body) const {
  if (count == threadCount)
    return body(b, loc, thread());
  scf::ForOp::create(b, loc, thread(), kb::idx(b, loc, count), kb::idx(b, loc, threadCount), ValueRange{},
                     [&](OpBuilder &b, Location l, Value i, ValueRange) {
                       body(b, l, i);
                       scf::YieldOp::create(b, l);
                     });
}

} // namespace gmc
