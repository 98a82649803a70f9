//===- WidenGpuNests.cpp - neighbouring iterations of a nest to one thread ------------------------------===//
//
// The address of every access is written as a linear function of the nest's indices and of what else it adds, of which
// only the divisor is known (a row that was looked up, times the row's size). Iterations V * i to V * i + V - 1, of all
// dimensions as one, are a group. An access is of neighbours where the trailing dimensions that a group stays in move
// it by one element each, and what the others add is a multiple of V; it is common where they do not move it at all.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "passes/Lowering/WidenGpuNests.h"
#include "dialects/Interfaces/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "passes/Passes.h"
#include <numeric>

using namespace mlir;

namespace gmc {
#define GEN_PASS_DEF_WIDENGPUNESTSPASS
#include "passes/Passes.h.inc"
} // namespace gmc

namespace gmc {

namespace {

/// Bytes of the widest access of one thread.
constexpr int64_t accessBytes = 16;

/// sum(coefficients[d] * iv[d]) + constant + a multiple of `divisor` (0: nothing) that is a function of the indices in
/// `depends`.
struct Address {
  SmallVector<int64_t> coefficients;
  int64_t constant = 0, divisor = 0;
  uint64_t depends = 0;
};

enum class Access { PerLane, Common, Neighbours };

/// The nest's indices and what its body does with them.
class NestAnalysis {
public:
  explicit NestAnalysis(scf::ParallelOp nest) : nest(nest) {
    for (Value bound : nest.getUpperBound()) {
      APInt extent;
      constant &= matchPattern(bound, m_ConstantInt(&extent));
      extents.push_back(constant ? extent.getSExtValue() : 0);
      total *= extents.back();
    }
  }

  /// The number of neighbours for one thread; 1 where the nest is to stay.
  int64_t width() {
    if (!constant || extents.size() > 64 || !collect(*nest.getBody(), /*inLoop=*/false))
      return 1;
    int64_t smallest = accessBytes;
    for (Operation *op : accesses)
      smallest = std::min(smallest, elementBytes(bufferOf(op).getElementType()));
    for (int64_t lanes = accessBytes / smallest; lanes > 1; lanes /= 2)
      if (total >= lanes && fits(lanes))
        return lanes;
    return 1;
  }

  /// The trailing dimensions that a group of `lanes` stays in begin here; 0: it may cross all.
  size_t groupDim(int64_t lanes) const {
    int64_t inner = 1;
    for (size_t d = extents.size(); d-- > 0;) {
      inner *= extents[d];
      if (inner % lanes == 0)
        return d;
    }
    return 0;
  }

  Access classify(Operation *op, int64_t lanes) {
    MemRefType buffer = bufferOf(op);
    if (!isa<FloatType, IntegerType>(buffer.getElementType()))
      return Access::PerLane;
    Address at = addressOf(op);
    for (bool neighbours : {true, false}) {
      if (!neighbours && isa<memref::StoreOp>(op))
        break;
      int64_t inner = 1;
      for (size_t d = extents.size(); d-- > 0;) {
        if (extents[d] != 1 && at.coefficients[d] != (neighbours ? inner : 0))
          break;
        inner *= extents[d];
        if ((inner % lanes && d > 0) || (at.depends >> d))
          continue;
        if (!neighbours)
          return Access::Common;
        bool aligned = at.constant % lanes == 0 && at.divisor % lanes == 0;
        for (size_t outer = 0; outer < d; ++outer)
          aligned &= extents[outer] == 1 || at.coefficients[outer] % lanes == 0;
        if (aligned)
          return Access::Neighbours;
      }
    }
    return Access::PerLane;
  }

  /// Whether `op` accesses element i of its buffer in iteration i of the nest, up to a constant, which is returned.
  std::optional<int64_t> identity(Operation *op) {
    Address at = addressOf(op);
    int64_t inner = 1;
    for (size_t d = extents.size(); d-- > 0; inner *= extents[d])
      if (extents[d] != 1 && at.coefficients[d] != inner)
        return std::nullopt;
    return at.divisor ? std::nullopt : std::optional(at.constant);
  }

  static MemRefType bufferOf(Operation *op) {
    return isa<memref::LoadOp>(op) ? cast<memref::LoadOp>(op).getMemRefType()
                                   : cast<memref::StoreOp>(op).getMemRefType();
  }

  scf::ParallelOp nest;
  SmallVector<int64_t> extents;
  int64_t total = 1;

private:
  uint64_t all() const { return extents.size() == 64 ? ~0ull : (1ull << extents.size()) - 1; }

  /// Gathers accesses; false where the body has something that cannot be done for several iterations at once.
  bool collect(Block &block, bool inLoop) {
    for (Operation &op : block.without_terminator()) {
      if (isa<memref::LoadOp, memref::StoreOp>(op)) {
        MemRefType type = bufferOf(&op);
        if (!type.hasStaticShape() || !type.getLayout().isIdentity())
          return false;
        accesses.push_back(&op);
        looped.push_back(inLoop);
      } else if (auto loop = dyn_cast<scf::ForOp>(op)) {
        loops.push_back(loop);
        if (!collect(*loop.getBody(), true))
          return false;
      } else if (auto choice = dyn_cast<scf::IfOp>(op)) {
        // Each lane has a copy of its own: fine for a few operations, not for loops.
        if (choice.walk([](scf::ForOp) { return WalkResult::interrupt(); }).wasInterrupted())
          return false;
      } else if (op.getNumRegions()) {
        return false;
      }
    }
    return true;
  }

  bool fits(int64_t lanes) {
    for (scf::ForOp loop : loops)
      for (Value bound : {loop.getLowerBound(), loop.getUpperBound(), loop.getStep()})
        if (Address at = evaluate(bound); !isCommon(at, lanes))
          return false;
    bool stores = false;
    for (auto [op, inLoop] : llvm::zip(accesses, looped)) {
      Access access = classify(op, lanes);
      if (isa<memref::StoreOp>(op)) {
        stores = true;
        if (access != Access::Neighbours)
          return false;
      } else if (inLoop && access == Access::PerLane) {
        return false; // neighbouring threads read neighbouring elements: several a thread would tear them apart
      }
    }
    return stores;
  }

  bool isCommon(const Address &at, int64_t lanes) const {
    uint64_t group = all() & ~((1ull << groupDim(lanes)) - 1);
    for (size_t d = 0; d < extents.size(); ++d)
      if ((group >> d & 1) && extents[d] != 1 && at.coefficients[d])
        return false;
    return !(at.depends & group);
  }

  Address addressOf(Operation *op) {
    OperandRange indices =
        isa<memref::LoadOp>(op) ? cast<memref::LoadOp>(op).getIndices() : cast<memref::StoreOp>(op).getIndices();
    Address sum = constantAddress(0);
    int64_t stride = 1;
    for (auto [index, size] : llvm::reverse(llvm::zip(indices, bufferOf(op).getShape()))) {
      sum = add(sum, scale(evaluate(index), stride));
      stride *= size;
    }
    return sum;
  }

  Address constantAddress(int64_t value) const { return {SmallVector<int64_t>(extents.size(), 0), value}; }
  Address opaque(uint64_t depends) const {
    Address at = constantAddress(0);
    at.divisor = 1;
    at.depends = depends;
    return at;
  }
  static Address add(Address x, const Address &y) {
    for (auto [a, b] : llvm::zip(x.coefficients, y.coefficients))
      a += b;
    x.constant += y.constant;
    x.divisor = std::gcd(x.divisor, y.divisor);
    x.depends |= y.depends;
    return x;
  }
  static Address scale(Address x, int64_t by) {
    for (int64_t &coefficient : x.coefficients)
      coefficient *= by;
    x.constant *= by;
    x.divisor *= by;
    return x;
  }
  static uint64_t dependsOf(const Address &at) {
    uint64_t bits = at.depends;
    for (auto [d, coefficient] : llvm::enumerate(at.coefficients))
      bits |= coefficient ? 1ull << d : 0;
    return bits;
  }

  Address evaluate(Value value) {
    if (auto it = known.find(value); it != known.end())
      return it->second;
    Address at = compute(value);
    known[value] = at;
    return at;
  }

  Address compute(Value value) {
    APInt number;
    if (matchPattern(value, m_ConstantInt(&number)))
      return constantAddress(number.getSExtValue());
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      Operation *parent = argument.getOwner()->getParentOp();
      if (parent == nest) {
        Address at = constantAddress(0);
        at.coefficients[argument.getArgNumber()] = 1;
        return at;
      }
      auto loop = dyn_cast<scf::ForOp>(parent);
      if (loop && nest->isAncestor(loop) && value == loop.getInductionVar())
        return opaque(dependsOf(evaluate(loop.getLowerBound())) | dependsOf(evaluate(loop.getStep())));
      return opaque(nest->isAncestor(parent) ? all() : 0);
    }
    Operation *op = value.getDefiningOp();
    if (!nest->isProperAncestor(op))
      return opaque(0);
    if (op->getNumRegions())
      return opaque(all());
    if (isa<arith::AddIOp>(op))
      return add(evaluate(op->getOperand(0)), evaluate(op->getOperand(1)));
    if (isa<arith::SubIOp>(op))
      return add(evaluate(op->getOperand(0)), scale(evaluate(op->getOperand(1)), -1));
    if (isa<arith::MulIOp>(op))
      for (unsigned i : {0u, 1u})
        if (matchPattern(op->getOperand(i), m_ConstantInt(&number)))
          return scale(evaluate(op->getOperand(1 - i)), number.getSExtValue());
    uint64_t depends = 0;
    for (Value operand : op->getOperands())
      if (!isa<MemRefType>(operand.getType()))
        depends |= dependsOf(evaluate(operand));
    return opaque(depends);
  }

  bool constant = true;
  SmallVector<Operation *> accesses;
  SmallVector<bool> looped; ///< of each access
  SmallVector<scf::ForOp> loops;
  DenseMap<Value, Address> known;
};

/// Emits the body for a group: op after op, each for all lanes, so that what one lane reads comes before what any
/// writes later.
class GroupEmitter {
public:
  GroupEmitter(NestAnalysis &analysis, int64_t width) : a(analysis), width(width) {}

  /// Lanes `first` to first + lanes - 1 of the group that starts with iteration `start`.
  void emit(OpBuilder &b, Location loc, Value start, int64_t lanes) {
    this->start = start;
    whole = lanes == width;
    ArrayRef<int64_t> extents(a.extents);
    size_t split = whole ? a.groupDim(width) : 0;
    SmallVector<int64_t> outer{1}, inner(extents.drop_front(split));
    llvm::append_range(outer, extents.take_front(split));
    int64_t innerTotal = 1;
    for (int64_t extent : inner)
      innerTotal *= extent;
    // Dimensions that the group stays in once for all lanes, the others lane by lane.
    SmallVector<Value> outerIvs;
    Value position = start;
    if (split) {
      Value size = kb::idx(b, loc, innerTotal);
      outerIvs = kb::delinearize(b, loc, kb::div(b, loc, start, size), extents.take_front(split));
      position = kb::rem(b, loc, start, size);
    }
    SmallVector<IRMapping> maps(lanes);
    SmallVector<Value> firstIvs;
    for (int64_t k = 0; k < lanes; ++k) {
      SmallVector<Value> ivs(outerIvs);
      if (whole && inner.back() % width == 0 && k > 0) {
        ivs = firstIvs;
        ivs.back() = kb::add(b, loc, firstIvs.back(), kb::idx(b, loc, k));
      } else {
        llvm::append_range(
            ivs, kb::delinearize(b, loc, k ? kb::add(b, loc, position, kb::idx(b, loc, k)) : position, inner));
      }
      if (k == 0)
        firstIvs = ivs;
      maps[k].map(a.nest.getInductionVars(), ivs);
    }
    block(b, *a.nest.getBody(), maps);
  }

private:
  void block(OpBuilder &b, Block &body, MutableArrayRef<IRMapping> maps) {
    for (Operation &op : body.without_terminator()) {
      if (isa<memref::LoadOp, memref::StoreOp>(op) && whole) {
        Access access = a.classify(&op, width);
        // Booleans are bytes in memory, and vectors of them are not: LLVM joins what is loaded and stored one by one.
        bool bytes = NestAnalysis::bufferOf(&op).getElementTypeBitWidth() >= 8;
        if (access == Access::Neighbours && bytes) {
          isa<memref::LoadOp>(op) ? load(b, cast<memref::LoadOp>(op), maps) : store(b, cast<memref::StoreOp>(op), maps);
          continue;
        }
        if (access == Access::Common) {
          Operation *once = b.clone(op, maps[0]);
          for (IRMapping &map : maps)
            map.map(op.getResult(0), once->getResult(0));
          continue;
        }
      }
      if (auto loop = dyn_cast<scf::ForOp>(op)) {
        together(b, loop, maps);
        continue;
      }
      for (IRMapping &map : maps)
        b.clone(op, map);
    }
  }

  /// One loop for all lanes, which have its bounds in common.
  void together(OpBuilder &b, scf::ForOp loop, MutableArrayRef<IRMapping> maps) {
    SmallVector<Value> inits;
    for (IRMapping &map : maps)
      for (Value init : loop.getInitArgs())
        inits.push_back(map.lookupOrDefault(init));
    unsigned values = loop.getInitArgs().size();
    auto joint = scf::ForOp::create(
        b, loop.getLoc(), maps[0].lookupOrDefault(loop.getLowerBound()), maps[0].lookupOrDefault(loop.getUpperBound()),
        maps[0].lookupOrDefault(loop.getStep()), inits, [&](OpBuilder &b, Location l, Value iv, ValueRange accs) {
          for (auto [k, map] : llvm::enumerate(maps)) {
            map.map(loop.getInductionVar(), iv);
            map.map(loop.getRegionIterArgs(), accs.slice(k * values, values));
          }
          block(b, *loop.getBody(), maps);
          SmallVector<Value> results;
          for (IRMapping &map : maps)
            for (Value result : loop.getBody()->getTerminator()->getOperands())
              results.push_back(map.lookupOrDefault(result));
          scf::YieldOp::create(b, l, results);
        });
    for (auto [k, map] : llvm::enumerate(maps))
      map.map(loop.getResults(), joint.getResults().slice(k * values, values));
  }

  /// Where in its buffer the group's first element is.
  Value position(OpBuilder &b, Operation &op, OperandRange indices, IRMapping &first) {
    Location loc = op.getLoc();
    if (auto offset = a.identity(&op))
      return *offset ? kb::add(b, loc, start, kb::idx(b, loc, *offset)) : start;
    SmallVector<Value> at;
    for (Value index : indices)
      at.push_back(first.lookupOrDefault(index));
    return kb::linearize(b, loc, at, NestAnalysis::bufferOf(&op).getShape());
  }

  void load(OpBuilder &b, memref::LoadOp op, MutableArrayRef<IRMapping> maps) {
    Value at = position(b, *op, op.getIndices(), maps[0]), buffer = maps[0].lookupOrDefault(op.getMemRef());
    for (auto [map, value] : llvm::zip_equal(maps, kb::loadVectors(b, op.getLoc(), buffer, at, width)))
      map.map(op.getResult(), value);
  }

  void store(OpBuilder &b, memref::StoreOp op, MutableArrayRef<IRMapping> maps) {
    Value at = position(b, *op, op.getIndices(), maps[0]), buffer = maps[0].lookupOrDefault(op.getMemRef());
    SmallVector<Value> values;
    for (IRMapping &map : maps)
      values.push_back(map.lookupOrDefault(op.getValue()));
    kb::storeVectors(b, op.getLoc(), values, buffer, at);
  }

  NestAnalysis &a;
  int64_t width;
  bool whole = true;
  Value start;
};

void widen(scf::ParallelOp nest) {
  NestAnalysis analysis(nest);
  int64_t width = analysis.width();
  if (width == 1)
    return;
  OpBuilder b(nest);
  Location loc = nest.getLoc();
  int64_t groups = analysis.total / width, rest = analysis.total % width;
  Value zero = kb::idx(b, loc, 0), end = kb::idx(b, loc, groups + (rest > 0)), one = kb::idx(b, loc, 1);
  scf::ParallelOp::create(
      b, loc, ValueRange{zero}, ValueRange{end}, ValueRange{one}, [&](OpBuilder &b, Location l, ValueRange i) {
        Value start = kb::mul(b, l, i[0], kb::idx(b, l, width));
        auto lanes = [&](Value start, int64_t count) {
          return [&analysis, start, width, count](OpBuilder &b, Location l) {
            GroupEmitter(analysis, width).emit(b, l, start, count);
            scf::YieldOp::create(b, l);
          };
        };
        if (!rest) {
          GroupEmitter(analysis, width).emit(b, l, start, width);
          return;
        }
        Value full = arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, i[0], kb::idx(b, l, groups));
        // Where the rest begins is a constant: as a function of i, LLVM would take what both branches read out of them,
        // element by element, and leave the whole group less than a vector to read.
        scf::IfOp::create(b, l, full, lanes(start, width), lanes(kb::idx(b, l, groups * width), rest));
      });
  nest.erase();
}

} // namespace

void widenGpuNests(func::FuncOp kernel) {
  for (scf::ParallelOp nest : llvm::to_vector(kernel.getBody().front().getOps<scf::ParallelOp>()))
    widen(nest);
}

namespace {
struct WidenGpuNestsPass : impl::WidenGpuNestsPassBase<WidenGpuNestsPass> {
  using Base::Base;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isExternal())
        widenGpuNests(function);
  }
};
} // namespace

} // namespace gmc
