//===- Matmul.cpp - nn.matmul: shapes, gradient, generic kernel, import of MatMul and Gemm ---------------===//

#include "dialects/NN/Matmul.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/GpuGemm.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Reduce.h"
#include "dialects/NN/Tensor.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace gmc::nn {

LogicalResult MatmulOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  RankedTensorType lhs = tensorType(adaptor.getLhs()), rhs = tensorType(adaptor.getRhs());
  if (lhs.getRank() < 2 || rhs.getRank() < 2)
    return emitOptionalError(loc, "operands of a matrix product need two dimensions: ", lhs, " and ", rhs);
  if (lhs.getElementType() != rhs.getElementType())
    return emitOptionalError(loc, "element types differ: ", lhs, " and ", rhs);
  auto dims = [](RankedTensorType type, bool transpose) {
    int64_t rows = type.getDimSize(type.getRank() - 2), columns = type.getDimSize(type.getRank() - 1);
    return transpose ? std::pair(columns, rows) : std::pair(rows, columns);
  };
  auto [m, k] = dims(lhs, adaptor.getTransposeA());
  auto [k2, n] = dims(rhs, adaptor.getTransposeB());
  if (k != k2)
    return emitOptionalError(loc, "contracted dimensions differ: ", k, " of ", lhs, " and ", k2, " of ", rhs);
  auto batch = broadcastShapes({lhs.getShape().drop_back(2), rhs.getShape().drop_back(2)});
  if (failed(batch))
    return emitOptionalError(loc, "batch dimensions do not broadcast: ", lhs, " and ", rhs);
  if (adaptor.getBias() && adaptor.getBias().getType() != RankedTensorType::get({n}, lhs.getElementType()))
    return emitOptionalError(loc, "bias ", adaptor.getBias().getType(), " for ", n, " columns of ",
                             lhs.getElementType());
  batch->append({m, n});
  types.push_back(RankedTensorType::get(*batch, lhs.getElementType()));
  return success();
}

int64_t MatmulOp::getFlops() {
  int64_t k = shapeOf(getLhs()).drop_front(shapeOf(getLhs()).size() - 2)[getTransposeA() ? 0 : 1];
  return (2 * k + (getBias() ? 1 : 0)) * tensorType(getResult()).getNumElements();
}
CostClass MatmulOp::getCostClass() { return CostClass::Matmul; }
PrecisionPolicy MatmulOp::getPrecisionPolicy() { return PrecisionPolicy::Low; }

Value matmul(OpBuilder &b, Location loc, Value lhs, Value rhs, bool transposeA, bool transposeB) {
  return MatmulOp::create(b, loc, lhs, rhs, Value(), b.getBoolAttr(transposeA), b.getBoolAttr(transposeB));
}

//===- Gradient -----------------------------------------------------------------------------------------===//

/// A value's leading dimensions folded into its rows: [..., m, k] as [.. * m, k].
static Value foldRows(OpBuilder &b, Location loc, Value value) {
  ArrayRef<int64_t> shape = shapeOf(value);
  if (shape.size() == 2)
    return value;
  SmallVector<int64_t> folded{numElements(shape.drop_back()), shape.back()};
  return ReshapeOp::create(b, loc, value, b.getDenseI64ArrayAttr(folded));
}

/// With C = op(A) op(B): dop(A) = dC op(B)^T and dop(B) = op(A)^T dC; a transposed operand's gradient is the transpose
/// of that, which exchanges the factors. A broadcast batch is summed.
void MatmulOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  Value g = grads[0], lhs = getLhs(), rhs = getRhs();
  if (!g)
    return;
  Location loc = getLoc();
  bool ta = getTransposeA(), tb = getTransposeB();
  if (needed[0]) {
    Value d = ta ? matmul(b, loc, rhs, g, tb, true) : matmul(b, loc, g, rhs, false, !tb);
    out[0] = unbroadcast(b, loc, d, tensorType(lhs));
  }
  if (needed[1]) {
    // One matrix against a batch: the sum over the batch is part of the contraction.
    bool shared = tensorType(rhs).getRank() == 2 && !ta;
    Value x = shared ? foldRows(b, loc, lhs) : lhs, dy = shared ? foldRows(b, loc, g) : g;
    Value d = tb ? matmul(b, loc, dy, x, true, ta) : matmul(b, loc, x, dy, !ta, false);
    out[1] = unbroadcast(b, loc, d, tensorType(rhs));
  }
  if (getBias() && needed[2])
    out[2] = unbroadcast(b, loc, g, tensorType(getBias()));
}

//===- Kernel -------------------------------------------------------------------------------------------===//

MatmulShape::MatmulShape(MatmulOp op) : transposeA(op.getTransposeA()), transposeB(op.getTransposeB()) {
  ArrayRef<int64_t> a = shapeOf(op.getLhs()), b = shapeOf(op.getRhs()), c = shapeOf(op.getResult());
  m = c[c.size() - 2];
  n = c[c.size() - 1];
  k = a[a.size() - (transposeA ? 2 : 1)];
  batch.assign(c.begin(), c.end() - 2);
  batchA.assign(batch.size() + 2 - a.size(), 1);
  batchA.append(a.begin(), a.end() - 2);
  batchB.assign(batch.size() + 2 - b.size(), 1);
  batchB.append(b.begin(), b.end() - 2);
  // A batch of left operands against one right operand is one taller product.
  if (!transposeA && numElements(batchB) == 1 && batchA == batch) {
    m *= numElements(batch);
    batch.clear();
    batchA.clear();
    batchB.clear();
  }
  // A single column (row) lies in memory as a single row (column) does.
  if (n == 1)
    transposeB = true;
  if (m == 1)
    transposeA = false;
}

static bool usesVectors(MatmulOp op, KernelTarget target) {
  Type element = elementTypeOf(op.getResult());
  return target == KernelTarget::Host && isa<FloatType>(element);
}

SmallVector<int64_t> MatmulOp::getWorkspaceBytes(KernelTarget target) {
  if (int64_t bytes = target == KernelTarget::Gpu && gpuMatmulTiles(*this) ? gpuMatmulWorkspace(*this) : 0)
    return {bytes};
  if (!usesVectors(*this, target))
    return {};
  MatmulShape shape(*this);
  if (shape.transposeA && shape.transposeB) // the right operand is transposed first
    return {byteSize(getRhs().getType())};
  return {};
}

std::optional<LibraryCall> MatmulOp::getLibraryCall() {
  if (!elementTypeOf(getResult()).isF32() || tensorType(getResult()).getNumElements() == 0)
    return std::nullopt;
  MatmulShape s(*this);
  if (s.k == 0)
    return std::nullopt;
  MatmulCall call{s.m, s.n, s.k, s.transposeA, s.transposeB, static_cast<bool>(getBias())};
  call.batch.assign(s.batch.begin(), s.batch.end());
  call.batchA.assign(s.batchA.begin(), s.batchA.end());
  call.batchB.assign(s.batchB.begin(), s.batchB.end());
  return LibraryCall::make(call);
}

void MatmulOp::emitKernel(KernelBuilder &kernel) {
  // A splat constant has no buffer to take vectors from.
  if (kernel.operandBuffer(0) && kernel.operandBuffer(1)) {
    if (usesVectors(*this, kernel.target()))
      return emitHostMatmul(*this, kernel);
    if (kernel.target() == KernelTarget::Gpu && gpuMatmulTiles(*this))
      return emitGpuMatmul(*this, kernel);
  }
  bool ta = getTransposeA(), tb = getTransposeB();
  ArrayRef<int64_t> a = kernel.operandShape(0);
  int64_t k = a[a.size() - (ta ? 2 : 1)];
  Type element = kernel.resultElementType(0), type = computeType(element);
  kernel.parallel(kernel.resultShape(0), [&](OpBuilder &b, Location loc, ValueRange ivs) {
    auto batch = ivs.drop_back(2);
    Value row = ivs[ivs.size() - 2], column = ivs.back();
    auto read = [&](OpBuilder &b, Location l, unsigned i, Value first, Value second, bool transpose) {
      SmallVector<Value> indices = kb::broadcastIndices(b, l, batch, kernel.operandShape(i).drop_back(2));
      indices.append({transpose ? second : first, transpose ? first : second});
      return convert(Scalar(b, l, kernel.load(b, l, i, indices)), type).value();
    };
    Value init = getBias() ? convert(Scalar(b, loc, kernel.load(b, loc, 2, {column})), type).value()
                           : kb::constant(b, loc, type, 0);
    Value sum = KernelBuilder::fold(b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, k), init,
                                    [&](OpBuilder &b, Location l, Value i, Value acc) -> Value {
                                      Value x = read(b, l, 0, row, i, ta), y = read(b, l, 1, i, column, tb);
                                      if (isa<FloatType>(type))
                                        return math::FmaOp::create(b, l, x, y, acc);
                                      return kb::add(b, l, acc, kb::mul(b, l, x, y));
                                    });
    kernel.store(b, loc, convert(Scalar(b, loc, sum), signless(element)).value(), 0, ivs);
  });
}

// Attention.cpp, Einsum.cpp: compositions of products.
ImportNode::Results importAttention(ImportNode &n);
ImportNode::Results importEinsum(ImportNode &n);

//===- Import -------------------------------------------------------------------------------------------===//

/// NumPy's matmul: a vector on the left is a row, on the right a column, and that dimension is dropped again.
static ImportNode::Results importMatMul(ImportNode &n) {
  Value lhs = n.in(0), rhs = n.in(1);
  bool row = n.rank(0) == 1, column = n.rank(1) == 1;
  if (n.rank(0) == 0 || n.rank(1) == 0)
    return n.error("a scalar is not a matrix");
  if (row)
    lhs = reshapeTo(n, lhs, {1, n.shape(0)[0]});
  if (column)
    rhs = reshapeTo(n, rhs, {n.shape(1)[0], 1});
  Value y = lhs && rhs ? n.create<MatmulOp>({lhs, rhs}) : Value();
  if (!y || !(row || column))
    return one(y);
  SmallVector<int64_t> shape(shapeOf(y));
  if (column)
    shape.pop_back();
  if (row)
    shape.erase(shape.end() - (column ? 1 : 2));
  return one(reshapeTo(n, y, shape));
}

/// alpha * A' * B' + beta * C. A bias that is one number a column goes into the product.
static ImportNode::Results importGemm(ImportNode &n) {
  double alpha = n.floatAttr("alpha", 1), beta = n.floatAttr("beta", 1);
  if (n.rank(0) != 2 || n.rank(1) != 2)
    return n.error("operands of rank " + Twine(n.rank(0)) + " and " + Twine(n.rank(1)) + ", both must be 2");
  MatmulOp::Properties p;
  p.transpose_a = n.b.getBoolAttr(n.intAttr("transA", 0));
  p.transpose_b = n.b.getBoolAttr(n.intAttr("transB", 0));
  int64_t columns = n.shape(1)[n.intAttr("transB", 0) ? 0 : 1];
  bool hasC = n.has(2) && beta != 0;
  SmallVector<Value> operands{n.in(0), n.in(1)};
  auto scaled = [&](Value value, double factor) {
    if (!value || factor == 1)
      return value;
    Type type = elementTypeOf(value);
    if (isa<FloatType>(type))
      return n.create<MulOp>({value, n.floatScalar(type, factor)});
    return n.create<MulOp>({value, n.constant(DenseElementsAttr::get(
                                       RankedTensorType::get({}, type),
                                       Attribute(n.b.getIntegerAttr(type, static_cast<int64_t>(factor)))))});
  };
  bool asBias = hasC && alpha == 1 && beta == 1 && numElements(n.shape(2)) == columns &&
                (n.rank(2) == 1 || (n.rank(2) == 2 && n.shape(2)[0] == 1));
  if (asBias) {
    operands.push_back(reshapeTo(n, n.in(2), {columns}));
    return one(operands.back() ? n.create<MatmulOp>(operands, p) : Value());
  }
  Value y = scaled(n.create<MatmulOp>(operands, p), alpha);
  if (!y || !hasC)
    return one(y);
  Value c = scaled(n.in(2), beta);
  return one(c ? n.create<AddOp>({y, c}) : c);
}

void registerMatmulOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Matmul.cpp.inc"
      >();
}

void registerMatmulImports(ImportRegistry &r) {
  r.add("Attention", {.import = importAttention});
  r.add("Einsum", {.import = importEinsum});
  r.add("MatMul", {.import = importMatMul});
  r.add("Gemm", {.import = importGemm});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Matmul.cpp.inc"
