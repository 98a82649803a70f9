//===- Conv.cpp - shape inference, gradients and import of the convolution ops --------------------------===//

#include "dialects/NN/Conv.h"
#include "compiler/Import/OpImport.h"
#include "dialects/NN/ConvKernel.h"
#include "dialects/NN/GpuGemm.h"
#include "dialects/NN/Reduce.h"

using namespace mlir;

namespace gmc::nn {

void registerConvOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Conv.cpp.inc"
      >();
}

//===- Shapes -------------------------------------------------------------------------------------------===//

/// Ranks, element types, groups and the bias of x and w with `outputs` output channels.
static LogicalResult checkConv(std::optional<Location> loc, RankedTensorType x, RankedTensorType w, Value bias,
                               int64_t group, int64_t outputs, const Window &window) {
  if (x.getRank() < 3 || w.getRank() != x.getRank())
    return emitOptionalError(loc, "needs an input and a weight of the same rank, at least 3, not ", x, " and ", w);
  if (x.getElementType() != w.getElementType())
    return emitOptionalError(loc, "input and weight differ in element type: ", x, " and ", w);
  if (failed(checkWindow(loc, window, x.getRank() - 2)))
    return failure();
  if (group < 1 || x.getDimSize(1) % group || outputs % group)
    return emitOptionalError(loc, "group ", group, " does not divide ", x.getDimSize(1), " input and ", outputs,
                             " output channels");
  if (bias && (shapeOf(bias) != ArrayRef<int64_t>{outputs} || elementTypeOf(bias) != x.getElementType()))
    return emitOptionalError(loc, "bias ", bias.getType(), " does not fit ", outputs, " output channels of ",
                             x.getElementType());
  return success();
}

LogicalResult ConvOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                       SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(a.getX()), w = tensorType(a.getW());
  ArrayRef<int64_t> kernel = w.getShape().drop_front(std::min<size_t>(2, w.getRank()));
  Window window{kernel, a.getStrides(), a.getPads(), a.getDilations()};
  int64_t group = a.getGroup();
  if (failed(checkConv(loc, x, w, a.getBias(), group, w.getRank() ? w.getDimSize(0) : 0, window)))
    return failure();
  if (w.getDimSize(1) != x.getDimSize(1) / group)
    return emitOptionalError(loc, "weight ", w, " sees ", w.getDimSize(1), " channels, the input has ", x.getDimSize(1),
                             " in ", group, " group(s)");
  SmallVector<int64_t> shape{x.getDimSize(0), w.getDimSize(0)};
  if (failed(inferWindow(loc, window, x.getShape().drop_front(2), false, shape)))
    return failure();
  types.push_back(x.clone(shape));
  return success();
}

LogicalResult ConvTransposeOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                                SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(a.getX()), w = tensorType(a.getW());
  ArrayRef<int64_t> kernel = w.getShape().drop_front(std::min<size_t>(2, w.getRank()));
  Window window{kernel, a.getStrides(), a.getPads(), a.getDilations()};
  int64_t group = a.getGroup(), outputs = w.getRank() > 1 ? w.getDimSize(1) * group : 0;
  if (failed(checkConv(loc, x, w, a.getBias(), group, outputs, window)))
    return failure();
  if (w.getDimSize(0) != x.getDimSize(1))
    return emitOptionalError(loc, "weight ", w, " takes ", w.getDimSize(0), " channels, the input has ",
                             x.getDimSize(1));
  SmallVector<int64_t> shape{x.getDimSize(0), outputs};
  for (size_t d = 0; d < window.rank(); ++d) {
    int64_t size =
        (x.getDimSize(d + 2) - 1) * window.strides[d] + window.extent(d) - window.padBegin(d) - window.padEnd(d);
    if (size < 1)
      return emitOptionalError(loc, "pads ", window.padBegin(d), " and ", window.padEnd(d),
                               " leave nothing of spatial dimension ", d);
    shape.push_back(size);
  }
  types.push_back(x.clone(shape));
  return success();
}

LogicalResult ConvWeightGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor a,
                                                 SmallVectorImpl<Type> &types) {
  RankedTensorType x = tensorType(a.getX()), dy = tensorType(a.getDy());
  Window window{a.getKernel(), a.getStrides(), a.getPads(), a.getDilations()};
  int64_t filters = dy.getRank() > 1 ? dy.getDimSize(1) : 0;
  if (failed(checkConv(loc, x, dy, {}, a.getGroup(), filters, window)))
    return failure();
  SmallVector<int64_t> expected{x.getDimSize(0), filters};
  if (failed(inferWindow(loc, window, x.getShape().drop_front(2), false, expected)))
    return failure();
  if (dy.getShape() != ArrayRef<int64_t>(expected))
    return emitOptionalError(loc, "output gradient ", dy, " is not of the convolution's output shape ",
                             x.clone(expected));
  SmallVector<int64_t> shape{filters, x.getDimSize(1) / static_cast<int64_t>(a.getGroup())};
  llvm::append_range(shape, window.kernel);
  types.push_back(x.clone(shape));
  return success();
}

//===- Cost and kernels ---------------------------------------------------------------------------------===//

static ConvShape shapeOfConv(ConvOp op) {
  return {shapeOf(op.getX())[0],
          shapeOf(op.getX())[1],
          shapeOf(op.getW())[0],
          static_cast<int64_t>(op.getGroup()),
          shapeOf(op.getX()).drop_front(2),
          shapeOf(op.getResult()).drop_front(2),
          {shapeOf(op.getW()).drop_front(2), op.getStrides(), op.getPads(), op.getDilations()}};
}
static ConvShape shapeOfConv(ConvTransposeOp op) {
  return {shapeOf(op.getX())[0],
          shapeOf(op.getResult())[1],
          shapeOf(op.getX())[1],
          static_cast<int64_t>(op.getGroup()),
          shapeOf(op.getResult()).drop_front(2),
          shapeOf(op.getX()).drop_front(2),
          {shapeOf(op.getW()).drop_front(2), op.getStrides(), op.getPads(), op.getDilations()}};
}
static ConvShape shapeOfConv(ConvWeightGradOp op) {
  return {shapeOf(op.getX())[0],
          shapeOf(op.getX())[1],
          shapeOf(op.getDy())[1],
          static_cast<int64_t>(op.getGroup()),
          shapeOf(op.getX()).drop_front(2),
          shapeOf(op.getDy()).drop_front(2),
          {op.getKernel(), op.getStrides(), op.getPads(), op.getDilations()}};
}

int64_t ConvOp::getFlops() {
  return shapeOfConv(*this).flops() + (getBias() ? tensorType(getResult()).getNumElements() : 0);
}
int64_t ConvTransposeOp::getFlops() {
  return shapeOfConv(*this).flops() + (getBias() ? tensorType(getResult()).getNumElements() : 0);
}
int64_t ConvWeightGradOp::getFlops() { return shapeOfConv(*this).flops(); }

static bool gpuForm(Operation *op, KernelTarget target) {
  return target == KernelTarget::Gpu && !elementTypeOf(op->getOperand(0)).isF64();
}
static bool gpuForm(Operation *op, KernelBuilder &kernel) {
  return gpuForm(op, kernel.target()) && kernel.operandBuffer(0) && kernel.operandBuffer(1);
}
SmallVector<int64_t> ConvOp::getWorkspaceBytes(KernelTarget target) {
  SmallVector<int64_t> none;
  return gpuForm(*this, target) ? gpuConvWorkspaces(elementTypeOf(getX()), ConvForm::Forward, shapeOfConv(*this))
                                : none;
}
SmallVector<int64_t> ConvTransposeOp::getWorkspaceBytes(KernelTarget target) {
  SmallVector<int64_t> none;
  return gpuForm(*this, target) ? gpuConvWorkspaces(elementTypeOf(getX()), ConvForm::Transpose, shapeOfConv(*this))
                                : none;
}
SmallVector<int64_t> ConvWeightGradOp::getWorkspaceBytes(KernelTarget target) {
  SmallVector<int64_t> none;
  return gpuForm(*this, target) ? gpuConvWeightGradWorkspaces(elementTypeOf(getX()), shapeOfConv(*this)) : none;
}

void ConvOp::emitKernel(KernelBuilder &kernel) {
  ConvShape shape = shapeOfConv(*this);
  if (!gpuForm(*this, kernel) || !emitGpuConv(kernel, ConvForm::Forward, shape, static_cast<bool>(getBias())))
    emitConvKernel(kernel, ConvForm::Forward, shape, static_cast<bool>(getBias()));
}
void ConvTransposeOp::emitKernel(KernelBuilder &kernel) {
  ConvShape shape = shapeOfConv(*this);
  if (!gpuForm(*this, kernel) || !emitGpuConv(kernel, ConvForm::Transpose, shape, static_cast<bool>(getBias())))
    emitConvKernel(kernel, ConvForm::Transpose, shape, static_cast<bool>(getBias()));
}
void ConvWeightGradOp::emitKernel(KernelBuilder &kernel) {
  ConvShape shape = shapeOfConv(*this);
  if (!gpuForm(*this, kernel) || !emitGpuConvWeightGrad(kernel, shape))
    emitConvWeightGradKernel(kernel, shape);
}

static std::optional<LibraryCall> libraryCall(CallKind kind, const ConvShape &s, Type element, bool bias) {
  if (!element.isF32())
    return std::nullopt;
  ConvCall call{s.batch, s.channels, s.filters, s.group, bias};
  call.in.assign(s.in.begin(), s.in.end());
  call.out.assign(s.out.begin(), s.out.end());
  call.kernel.assign(s.window.kernel.begin(), s.window.kernel.end());
  call.strides.assign(s.window.strides.begin(), s.window.strides.end());
  call.dilations.assign(s.window.dilations.begin(), s.window.dilations.end());
  for (size_t d = 0; d < s.window.rank(); ++d) {
    call.padBegin.push_back(s.window.padBegin(d));
    call.padEnd.push_back(s.window.padEnd(d));
  }
  return LibraryCall::make(kind, call);
}

std::optional<LibraryCall> ConvOp::getLibraryCall() {
  return libraryCall(CallKind::Conv, shapeOfConv(*this), elementTypeOf(getX()), static_cast<bool>(getBias()));
}
std::optional<LibraryCall> ConvTransposeOp::getLibraryCall() {
  return libraryCall(CallKind::ConvInputGrad, shapeOfConv(*this), elementTypeOf(getX()), static_cast<bool>(getBias()));
}
std::optional<LibraryCall> ConvWeightGradOp::getLibraryCall() {
  return libraryCall(CallKind::ConvWeightGrad, shapeOfConv(*this), elementTypeOf(getX()), false);
}

//===- Gradients ----------------------------------------------------------------------------------------===//

/// Attributes of a conv-like op as the others take them, with pads such that a transposed convolution gives `in`
/// exactly: rows of the input that no window reaches become a negative end pad.
template <typename OpT> static SmallVector<int64_t> exactPads(OpT op, const ConvShape &s) {
  SmallVector<int64_t> pads(op.getPads());
  for (size_t d = 0; d < s.window.rank(); ++d)
    pads[d + s.window.rank()] =
        (s.out[d] - 1) * s.window.strides[d] + s.window.extent(d) - s.in[d] - s.window.padBegin(d);
  return pads;
}

template <typename OpT> static Value makeConv(OpBuilder &b, OpT op, Value x, Value w) {
  return ConvOp::create(b, op.getLoc(), x, w, Value(), op.getStridesAttr(), op.getPadsAttr(), op.getDilationsAttr(),
                        op.getGroupAttr());
}
template <typename OpT> static Value makeTranspose(OpBuilder &b, OpT op, Value dy, Value w) {
  return ConvTransposeOp::create(b, op.getLoc(), dy, w, Value(), op.getStridesAttr(),
                                 b.getDenseI64ArrayAttr(exactPads(op, shapeOfConv(op))), op.getDilationsAttr(),
                                 op.getGroupAttr());
}
template <typename OpT> static Value makeWeightGrad(OpBuilder &b, OpT op, Value x, Value dy) {
  return ConvWeightGradOp::create(b, op.getLoc(), x, dy, b.getDenseI64ArrayAttr(shapeOfConv(op).window.kernel),
                                  op.getStridesAttr(), op.getPadsAttr(), op.getDilationsAttr(), op.getGroupAttr());
}

/// Sum of an output gradient over everything but the channels.
static Value biasGradient(OpBuilder &b, Location loc, Value grad) {
  SmallVector<int64_t> axes{0};
  for (int64_t d = 2; d < tensorType(grad).getRank(); ++d)
    axes.push_back(d);
  return ReduceSumOp::create(b, loc, grad, b.getDenseI64ArrayAttr(axes), b.getBoolAttr(false));
}

void ConvOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed, MutableArrayRef<Value> out) {
  Value dy = grads[0];
  if (!dy)
    return;
  if (needed[0])
    out[0] = makeTranspose(b, *this, dy, getW());
  if (needed[1])
    out[1] = makeWeightGrad(b, *this, getX(), dy);
  if (getBias() && needed[2])
    out[2] = biasGradient(b, getLoc(), dy);
}

void ConvTransposeOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                    MutableArrayRef<Value> out) {
  Value dy = grads[0];
  if (!dy)
    return;
  if (needed[0])
    out[0] = makeConv(b, *this, dy, getW());
  if (needed[1])
    out[1] = makeWeightGrad(b, *this, dy, getX());
  if (getBias() && needed[2])
    out[2] = biasGradient(b, getLoc(), dy);
}

void ConvWeightGradOp::buildGradient(OpBuilder &b, ArrayRef<Value> grads, ArrayRef<bool> needed,
                                     MutableArrayRef<Value> out) {
  Value dw = grads[0];
  if (!dw)
    return;
  if (needed[0])
    out[0] = makeTranspose(b, *this, getDy(), dw);
  if (needed[1])
    out[1] = makeConv(b, *this, getX(), dw);
}

//===- Import -------------------------------------------------------------------------------------------===//

static bool convOperands(ImportNode &n) {
  if (n.has(0) && n.has(1) && n.rank(0) >= 3 && n.rank(1) == n.rank(0))
    return true;
  (void)n.error("needs an input and a weight of the same rank, at least 3");
  return false;
}

static ImportNode::Results importConv(ImportNode &n) {
  if (!convOperands(n))
    return failure();
  auto window = importWindow(n, n.shape(0).drop_front(2), n.shape(1).drop_front(2));
  if (failed(window))
    return failure();
  ConvOp::Properties p;
  p.strides = n.b.getDenseI64ArrayAttr(window->strides);
  p.pads = n.b.getDenseI64ArrayAttr(window->pads);
  p.dilations = n.b.getDenseI64ArrayAttr(window->dilations);
  p.group = n.b.getI64IntegerAttr(n.intAttr("group", 1));
  SmallVector<Value> operands{n.in(0), n.in(1)};
  if (n.has(2))
    operands.push_back(n.in(2));
  return one(n.create<ConvOp>(operands, p));
}

/// ONNX ConvTranspose: pads from output_shape or auto_pad; output_padding becomes a smaller end pad.
static ImportNode::Results importConvTranspose(ImportNode &n) {
  if (!convOperands(n))
    return failure();
  ArrayRef<int64_t> in = n.shape(0).drop_front(2);
  size_t rank = in.size();
  auto window = importWindow(n, in, n.shape(1).drop_front(2));
  if (failed(window))
    return failure();
  Window w = window->get();
  SmallVector<int64_t> pads(window->pads);
  auto outputPadding = n.intsAttr("output_padding").value_or(SmallVector<int64_t>(rank, 0));
  auto outputShape = n.intsAttr("output_shape");
  if (outputShape && outputShape->size() == rank + 2)
    outputShape->erase(outputShape->begin(), outputShape->begin() + 2);
  if (outputPadding.size() != rank || (outputShape && outputShape->size() != rank))
    return n.error("output_padding or output_shape do not have one entry per spatial dimension");
  std::string autoPad = n.stringAttr("auto_pad", "NOTSET");
  bool same = autoPad == "SAME_UPPER" || autoPad == "SAME_LOWER";
  for (size_t d = 0; d < rank; ++d) {
    int64_t full = (in[d] - 1) * w.strides[d] + w.extent(d); // without any padding
    if (outputShape || same) {
      int64_t wanted = outputShape ? (*outputShape)[d] : in[d] * w.strides[d];
      int64_t total = full + outputPadding[d] - wanted;
      if (total < 0) { // the output is larger than what the windows reach: the rest stays at the end
        pads[d] = 0;
        pads[d + rank] = total;
      } else {
        // The standard: the larger half at the end for SAME_UPPER, at the beginning otherwise.
        pads[d] = autoPad == "SAME_UPPER" ? total / 2 : total - total / 2;
        pads[d + rank] = total - pads[d];
      }
    }
    pads[d + rank] -= outputPadding[d];
  }
  ConvTransposeOp::Properties p;
  p.strides = n.b.getDenseI64ArrayAttr(window->strides);
  p.pads = n.b.getDenseI64ArrayAttr(pads);
  p.dilations = n.b.getDenseI64ArrayAttr(window->dilations);
  p.group = n.b.getI64IntegerAttr(n.intAttr("group", 1));
  SmallVector<Value> operands{n.in(0), n.in(1)};
  if (n.has(2))
    operands.push_back(n.in(2));
  return one(n.create<ConvTransposeOp>(operands, p));
}

void registerConvImports(ImportRegistry &r) {
  r.add("Conv", {.import = importConv});
  r.add("ConvTranspose", {.import = importConvTranspose});
}

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Conv.cpp.inc"
