#include "dialects/NN/Softmax.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/GpuRows.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Lanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <limits>

using namespace mlir;

namespace gmc::nn {

static LogicalResult checkAxis(std::optional<Location> loc, Type type, int64_t axis) {
  int64_t rank = cast<RankedTensorType>(type).getRank();
  if (axis < 0 || axis >= rank)
    return emitOptionalError(loc, "axis ", axis, " is outside rank ", rank);
  return success();
}

void registerSoftmaxOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Softmax.cpp.inc"
      >();
}

//===- Kernels: one iteration per row, loops along the axis; on a GPU a group of threads where rows are contiguous
//-===//

namespace {
/// A row along `axis` inside a kernel: element access and the loops over it.
struct AxisRow {
  KernelBuilder &kernel;
  SmallVector<Value> others;
  int64_t axis, size;
  Type element, type;
  GpuRow *gpu = nullptr;
  using Term = function_ref<Scalar(OpBuilder &, Location, RowAt)>;

  Scalar load(OpBuilder &b, Location loc, unsigned operand, RowAt i) const {
    return gpu ? gpu->load(b, loc, operand, *i.element, type)
               : loadAlong(kernel, b, loc, operand, others, axis, i.index, type);
  }
  Value sum(OpBuilder &b, Location loc, Term term) const {
    if (gpu)
      return gpu->sum(b, loc, type, term);
    return KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, size), kb::constant(b, loc, type, 0),
                               [&](OpBuilder &b, Location l, Value i, Value acc) {
                                 return KernelBuilder::addReassoc(b, l, acc, term(b, l, i).value());
                               });
  }
  RowStatistics statistics(OpBuilder &b, Location loc) const {
    return gpu ? softmaxStatistics(*gpu, b, loc, type) : softmaxStatistics(kernel, b, loc, others, axis, size, type);
  }
  void store(OpBuilder &b, Location loc, Term value) const {
    if (gpu)
      return gpu->store(b, loc, 0, value);
    KernelBuilder::loop(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, size), [&](OpBuilder &b, Location l, Value i) {
      SmallVector<Value> indices;
      insertIndex(indices, others, axis, i);
      kernel.store(b, l, convert(value(b, l, i), element).value(), 0, indices);
    });
  }
};
} // namespace

/// One iteration a row, on any target.
static void emitIterations(KernelBuilder &kernel, int64_t axis,
                           function_ref<void(OpBuilder &, Location, const AxisRow &)> body) {
  SmallVector<int64_t> shape(kernel.resultShape(0));
  int64_t size = shape[axis];
  shape.erase(shape.begin() + axis);
  Type element = kernel.resultElementType(0);
  overPositions(kernel, shape, [&](OpBuilder &b, Location loc, ArrayRef<Value> at, Value) {
    body(b, loc, AxisRow{kernel, SmallVector<Value>(at), axis, size, element, computeType(element)});
  });
}

static void emitRows(KernelBuilder &kernel, int64_t axis, ArrayRef<unsigned> operands,
                     function_ref<void(OpBuilder &, Location, const AxisRow &)> body) {
  SmallVector<int64_t> shape(kernel.resultShape(0));
  int64_t size = shape[axis];
  shape.erase(shape.begin() + axis);
  Type element = kernel.resultElementType(0);
  int64_t rows = numElements(shape);
  if (kernel.target() == KernelTarget::Gpu && numElements(ArrayRef(shape).drop_front(axis)) == 1) {
    RowLayout layout{rows, size, rows * size, accessedBytes(kernel, operands, {0})};
    return emitGpuRows(kernel, layout, [&](OpBuilder &b, Location loc, GpuRow &row) {
      body(b, loc,
           AxisRow{kernel, kb::delinearize(b, loc, row.index(), shape), axis, size, element, computeType(element),
                   &row});
    });
  }
  emitIterations(kernel, axis, body);
}

/// Bytes of a row's exponentials that stay in the first-level cache, beside the row.
static constexpr int64_t waitingBytes = 16 << 10;

void SoftmaxOp::emitKernel(KernelBuilder &kernel) {
  emitRows(kernel, getAxis(), {0}, [&](OpBuilder &b, Location loc, const AxisRow &row) {
    // The exponentials wait for their sum, each computed once: near the processor where they fit, else in the result
    // where it holds them unrounded.
    bool near = row.size * elementBytes(row.type) <= waitingBytes;
    if (kernel.target() == KernelTarget::Host && (near || (kernel.resultBuffer(0) && row.type == row.element))) {
      Value waiting = near ? localBuffer(b, loc, {row.size}, row.type) : kernel.resultBuffer(0);
      auto at = [&](Value i) {
        SmallVector<Value> indices{i};
        if (!near)
          insertIndex(indices, row.others, row.axis, i);
        return indices;
      };
      Value max = softmaxMax(kernel, b, loc, row.others, row.axis, row.size, row.type);
      Value sum = row.sum(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
        Scalar x = row.load(b, l, 0, i), e = expOfNonPositive(kernel, x - x.with(max));
        storeWorkspace(b, l, e.value(), waiting, at(i.index));
        return e;
      });
      Scalar scale = 1.0 / Scalar(b, loc, sum);
      return row.store(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
        Scalar e(b, l, loadWorkspace(b, l, waiting, at(i.index)));
        return e * e.with(scale.value());
      });
    }
    RowStatistics s = row.statistics(b, loc);
    Scalar sum(b, loc, s.sum);
    Scalar scale = 1.0 / sum;
    row.store(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
      Scalar x = row.load(b, l, 0, i);
      return expOfNonPositive(kernel, x - x.with(s.max)) * x.with(scale.value());
    });
  });
}

void LogSoftmaxOp::emitKernel(KernelBuilder &kernel) {
  emitRows(kernel, getAxis(), {0}, [&](OpBuilder &b, Location loc, const AxisRow &row) {
    RowStatistics s = row.statistics(b, loc);
    Scalar logSum = log(Scalar(b, loc, s.sum));
    row.store(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
      Scalar x = row.load(b, l, 0, i);
      return x - x.with(s.max) - x.with(logSum.value());
    });
  });
}

void HardmaxOp::emitKernel(KernelBuilder &kernel) {
  emitIterations(kernel, getAxis(), [&](OpBuilder &b, Location loc, const AxisRow &row) {
    Value zero = kb::idx(b, loc, 0);
    Value best = KernelBuilder::fold(b, loc, zero, kb::idx(b, loc, row.size), zero,
                                     [&](OpBuilder &b, Location l, Value i, Value acc) {
                                       Scalar larger = row.load(b, l, 0, i) > row.load(b, l, 0, acc);
                                       return select(larger, Scalar(b, l, i), Scalar(b, l, acc)).value();
                                     });
    row.store(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
      Scalar hit(b, l, arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, i.index, best));
      return select(hit, Scalar(b, l, kb::constant(b, l, row.type, 1)), 0.0);
    });
  });
}

void SoftmaxGradOp::emitKernel(KernelBuilder &kernel) {
  emitRows(kernel, getAxis(), {0, 1}, [&](OpBuilder &b, Location loc, const AxisRow &row) {
    Value dot = row.sum(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
      return row.load(b, l, 0, i) * row.load(b, l, 1, i);
    });
    row.store(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
      return row.load(b, l, 0, i) * (row.load(b, l, 1, i) - Scalar(b, l, dot));
    });
  });
}

void LogSoftmaxGradOp::emitKernel(KernelBuilder &kernel) {
  emitRows(kernel, getAxis(), {0, 1}, [&](OpBuilder &b, Location loc, const AxisRow &row) {
    Value sum = row.sum(b, loc, [&](OpBuilder &b, Location l, RowAt i) { return row.load(b, l, 1, i); });
    row.store(b, loc, [&](OpBuilder &b, Location l, RowAt i) {
      return row.load(b, l, 1, i) - exp(row.load(b, l, 0, i)) * Scalar(b, l, sum);
    });
  });
}

//===- Gradients ----------------------------------------------------------------------------------------===//

void SoftmaxOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = SoftmaxGradOp::create(b, getLoc(), getResult(), grads[0], getAxisAttr());
}
void LogSoftmaxOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                 MutableArrayRef<Value> out) {
  if (grads[0] && needed[0])
    out[0] = LogSoftmaxGradOp::create(b, getLoc(), getResult(), grads[0], getAxisAttr());
}
void HardmaxOp::buildGradient(OpBuilder &, ArrayRef<Value>, ArrayRef<bool>, MutableArrayRef<Value>) {}

//===- Import -------------------------------------------------------------------------------------------===//

/// From opset 13 on the op works along `axis` (default -1). Before, everything from `axis` (default 1) on is one row.
template <typename OpT> static ImportNode::Results importAxisOp(ImportNode &n) {
  bool flatten = n.opset < 13;
  int64_t rank = n.rank(0), given = n.intAttr("axis", flatten ? 1 : -1), axis = given < 0 ? given + rank : given;
  if (axis < 0 || axis > rank || (axis == rank && !flatten))
    return n.error("axis " + Twine(given) + " is outside rank " + Twine(rank));
  SmallVector<int64_t> shape(n.shape(0));
  Value x = n.in(0);
  bool reshaped = flatten && axis != rank - 1;
  if (reshaped) {
    x = reshapeTo(n, x, {numElements(ArrayRef(shape).take_front(axis)), numElements(ArrayRef(shape).drop_front(axis))});
    axis = 1;
  }
  typename OpT::Properties p;
  p.axis = n.b.getI64IntegerAttr(axis);
  Value y = x ? n.create<OpT>({x}, p) : x;
  return one(y && reshaped ? reshapeTo(n, y, shape) : y);
}

void registerSoftmaxImports(ImportRegistry &r) {
  r.add("Softmax", {.import = importAxisOp<SoftmaxOp>});
  r.add("LogSoftmax", {.import = importAxisOp<LogSoftmaxOp>});
  r.add("Hardmax", {.import = importAxisOp<HardmaxOp>});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Softmax.cpp.inc"
