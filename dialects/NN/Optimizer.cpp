#include "dialects/NN/Optimizer.h"
#include "dialects/NN/GpuRows.h"
#include "dialects/NN/KernelSupport.h"
#include "gmc/Abi.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace gmc::nn {

/// Operands 0..sameAsParam-1 have the parameter's shape; then come hyper, valid_count, step_count[, grad_scale].
static LogicalResult checkUpdate(std::optional<Location> loc, ValueRange operands, size_t sameAsParam) {
  for (Value operand : operands.take_front(sameAsParam))
    if (shapeOf(operand) != shapeOf(operands[0]))
      return emitOptionalError(loc, "gradient and state must have the parameter's shape: ", operand.getType(), " for ",
                               operands[0].getType());
  if (tensorType(operands[sameAsParam]).getNumElements() != GMC_HYPER_COUNT)
    return emitOptionalError(loc, "hyper-parameters are ", static_cast<int64_t>(GMC_HYPER_COUNT), " numbers, not ",
                             operands[sameAsParam].getType());
  for (Value operand : operands.drop_front(sameAsParam + 1))
    if (tensorType(operand).getNumElements() != 1)
      return emitOptionalError(loc, "counts and scales are single numbers, not ", operand.getType());
  return success();
}

/// Slots of the workspace that holds what is the same for all elements, so that it is computed once.
enum {
  SlotLr,
  SlotWd,
  SlotMomentum,
  SlotBeta1,
  SlotBeta2,
  SlotEps,
  SlotScale,
  SlotCount,
  SlotStep,
  SlotRootV,
  NumSlots
};

static int64_t hyperWorkspaceBytes(Type param) {
  return NumSlots * elementBytes(computeType(cast<RankedTensorType>(param).getElementType()));
}

/// x^n for n >= 0 by squaring.
static Scalar power(Scalar x, Value n) {
  OpBuilder &b = x.builder();
  Location loc = x.getLoc();
  Type type = x.type();
  auto loop = scf::ForOp::create(
      b, loc, kb::idx(b, loc, 0), kb::idx(b, loc, 40), kb::idx(b, loc, 1),
      ValueRange{kb::constant(b, loc, type, 1), x.value(), n}, [&](OpBuilder &b, Location l, Value, ValueRange state) {
        Scalar result(b, l, state[0]), base(b, l, state[1]), rest(b, l, state[2]);
        Scalar odd = (rest & rest.constant(1)) == 1.0;
        scf::YieldOp::create(b, l,
                             ValueRange{select(odd, result * base, result).value(), (base * base).value(),
                                        (rest / 2.0).value()});
      });
  return Scalar(b, loc, loop.getResult(0));
}

namespace {
/// What an update formula reads: one element's values and the common numbers.
struct UpdateContext {
  Scalar p, g;
  SmallVector<Scalar> states;
  std::function<Scalar(unsigned)> slot;
};
} // namespace

/// Nest 1 puts the common numbers into the workspace; nest 2 applies `formula` to each element, which returns the new
/// parameter and the new states.
static void emitUpdate(KernelBuilder &kernel, unsigned numStates, bool hasScale,
                       function_ref<SmallVector<Scalar>(UpdateContext &)> formula) {
  Type element = kernel.operandElementType(0), type = computeType(element);
  unsigned hyper = 2 + numStates, count = hyper + 1, step = hyper + 2, scale = hyper + 3;
  kernel.parallel({1}, [&](OpBuilder &b, Location loc, ValueRange) {
    Value slots = kernel.workspace(b, 0, {NumSlots}, type), zero = kb::idx(b, loc, 0);
    auto put = [&](int slot, Scalar x) {
      storeWorkspace(b, loc, convert(x, type).value(), slots, {kb::idx(b, loc, slot)});
    };
    auto read = [&](int position) {
      Scalar x(b, loc, kernel.load(b, loc, hyper, {kb::idx(b, loc, position)}));
      return convert(x, b.getF64Type());
    };
    Scalar lr = read(GMC_HYPER_LR), beta1 = read(GMC_HYPER_BETA1), beta2 = read(GMC_HYPER_BETA2);
    put(SlotLr, lr);
    put(SlotWd, read(GMC_HYPER_WEIGHT_DECAY));
    put(SlotMomentum, read(GMC_HYPER_MOMENTUM));
    put(SlotBeta1, beta1);
    put(SlotBeta2, beta2);
    put(SlotEps, read(GMC_HYPER_EPSILON));
    Scalar one = lr.constant(1);
    put(SlotScale, hasScale ? convert(Scalar(b, loc, kernel.load(b, loc, scale, {zero})), b.getF64Type()) : one);
    put(SlotCount, convert(Scalar(b, loc, kernel.load(b, loc, count, {zero})), b.getF64Type()));
    Scalar t = Scalar(b, loc, kernel.load(b, loc, step, {zero})) + 1.0;
    put(SlotStep, lr / (1.0 - power(beta1, t.value())));
    put(SlotRootV, sqrt(1.0 - power(beta2, t.value())));
  });
  kernel.parallel({numElements(kernel.operandShape(0))}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value slots = kernel.workspace(b, 0, {NumSlots}, type);
    auto slot = [&](unsigned i) { return Scalar(b, loc, loadWorkspace(b, loc, slots, {kb::idx(b, loc, i)})); };
    auto load = [&](unsigned i) { return convert(Scalar(b, loc, loadFlat(kernel, b, loc, i, ivs[0])), type); };
    Scalar g = load(1), valid = slot(SlotCount);
    g = select(valid > 0.0, g / valid, 0.0);
    if (hasScale)
      g = g * slot(SlotScale);
    UpdateContext context{load(0), g, {}, slot};
    for (unsigned i = 0; i < numStates; ++i)
      context.states.push_back(load(2 + i));
    SmallVector<Scalar> old{context.p};
    llvm::append_range(old, context.states);
    for (auto [i, value] : llvm::enumerate(formula(context)))
      storeFlat(kernel, b, loc, convert(select(valid < 0.0, old[i], value), element).value(), i, ivs[0]);
  });
}

void SgdUpdateOp::emitKernel(KernelBuilder &kernel) {
  emitUpdate(kernel, 0, getGradScale() != nullptr, [&](UpdateContext &c) {
    Scalar d = c.g + c.slot(SlotWd) * c.p;
    return SmallVector<Scalar>{c.p - c.slot(SlotLr) * d};
  });
}

void MomentumUpdateOp::emitKernel(KernelBuilder &kernel) {
  emitUpdate(kernel, 1, getGradScale() != nullptr, [&](UpdateContext &c) {
    Scalar d = c.g + c.slot(SlotWd) * c.p, momentum = c.slot(SlotMomentum);
    Scalar buf = momentum * c.states[0] + d;
    Scalar direction = getNesterov() ? d + momentum * buf : buf;
    return SmallVector<Scalar>{c.p - c.slot(SlotLr) * direction, buf};
  });
}

void AdamUpdateOp::emitKernel(KernelBuilder &kernel) {
  emitUpdate(kernel, 2, getGradScale() != nullptr, [&](UpdateContext &c) {
    Scalar p = c.p, g = c.g, decay = c.slot(SlotWd), beta1 = c.slot(SlotBeta1), beta2 = c.slot(SlotBeta2);
    if (getDecoupled())
      p = p * (1.0 - c.slot(SlotLr) * decay);
    else
      g = g + decay * p;
    Scalar m = c.states[0] + (g - c.states[0]) * (1.0 - beta1);
    Scalar v = beta2 * c.states[1] + (1.0 - beta2) * (g * g);
    Scalar root = sqrt(v) / c.slot(SlotRootV) + c.slot(SlotEps);
    return SmallVector<Scalar>{p - c.slot(SlotStep) * (m / root), m, v};
  });
}

void LionUpdateOp::emitKernel(KernelBuilder &kernel) {
  emitUpdate(kernel, 1, getGradScale() != nullptr, [&](UpdateContext &c) {
    Scalar beta1 = c.slot(SlotBeta1), beta2 = c.slot(SlotBeta2), lr = c.slot(SlotLr), m = c.states[0];
    Scalar u = beta1 * m + (1.0 - beta1) * c.g;
    Scalar sign = select(u > 0.0, u.constant(1), select(u < 0.0, u.constant(-1), u));
    Scalar p = c.p * (1.0 - lr * c.slot(SlotWd)) - lr * sign;
    return SmallVector<Scalar>{p, beta2 * m + (1.0 - beta2) * c.g};
  });
}

//===- Clipping -----------------------------------------------------------------------------------------===//

/// Into how many parts a gradient of `elements` is split: a function of the count alone.
static int64_t normParts(int64_t elements) { return std::clamp<int64_t>(elements / 4096, 1, 256); }

static LogicalResult inferTotal(Value grad, SmallVectorImpl<Type> &types) {
  types.push_back(RankedTensorType::get({1}, computeType(elementTypeOf(grad))));
  return success();
}

static SmallVector<int64_t> totalWorkspace(Value grad, Value result) {
  return {normParts(tensorType(grad).getNumElements()) * elementBytes(elementTypeOf(result))};
}

/// The sum of term(element) over the gradient.
static void emitTotal(KernelBuilder &kernel, function_ref<Scalar(Scalar)> term) {
  Type type = kernel.resultElementType(0);
  int64_t elements = numElements(kernel.operandShape(0)), parts = normParts(elements);
  int64_t chunk = (elements + parts - 1) / parts;
  if (kernel.target() == KernelTarget::Gpu && elements > 0) {
    emitGpuRows(kernel, cutIntoRows(elements, parts, accessedBytes(kernel, {0})),
                [&](OpBuilder &b, Location loc, GpuRow &row) {
                  Value sum = row.sum(b, loc, type, [&](OpBuilder &b, Location l, const GpuRow::Element &e) {
                    return term(row.load(b, l, 0, e, type));
                  });
                  row.once(b, loc, [&](OpBuilder &b, Location l) {
                    storeWorkspace(b, l, sum, kernel.workspace(b, 0, {parts}, type), {row.index()});
                  });
                });
    return storeTotal(kernel, 0, parts);
  }
  kernel.parallel({parts}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    Value lo = kb::mul(b, loc, ivs[0], kb::idx(b, loc, chunk));
    Value hi = kb::min(b, loc, kb::add(b, loc, lo, kb::idx(b, loc, chunk)), kb::idx(b, loc, elements));
    Value sum = KernelBuilder::fold(b, loc, lo, hi, kb::constant(b, loc, type, 0),
                                    [&](OpBuilder &b, Location l, Value i, Value acc) {
                                      Scalar g = convert(Scalar(b, l, loadFlat(kernel, b, l, 0, i)), type);
                                      return KernelBuilder::addReassoc(b, l, acc, term(g).value());
                                    });
    storeWorkspace(b, loc, sum, kernel.workspace(b, 0, {parts}, type), ivs);
  });
  storeTotal(kernel, 0, parts);
}

LogicalResult GradNormSqOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor,
                                             SmallVectorImpl<Type> &types) {
  return inferTotal(adaptor.getGrad(), types);
}
SmallVector<int64_t> GradNormSqOp::getWorkspaceBytes(KernelTarget) { return totalWorkspace(getGrad(), getResult()); }
int64_t GradNormSqOp::getFlops() { return 2 * tensorType(getGrad()).getNumElements(); }
void GradNormSqOp::emitKernel(KernelBuilder &kernel) {
  emitTotal(kernel, [](Scalar g) { return g * g; });
}

LogicalResult NonFiniteCountOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor,
                                                 SmallVectorImpl<Type> &types) {
  return inferTotal(adaptor.getGrad(), types);
}
SmallVector<int64_t> NonFiniteCountOp::getWorkspaceBytes(KernelTarget) {
  return totalWorkspace(getGrad(), getResult());
}
int64_t NonFiniteCountOp::getFlops() { return 2 * tensorType(getGrad()).getNumElements(); }
void NonFiniteCountOp::emitKernel(KernelBuilder &kernel) {
  double infinity = std::numeric_limits<double>::infinity();
  emitTotal(kernel,
            [&](Scalar g) { return select(abs(g) < infinity, 0.0, g.constant(1)); }); // a NaN is less than nothing
}

LogicalResult ClipScaleOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  if (adaptor.getNorms().empty())
    return emitOptionalError(loc, "no gradient norms are given");
  for (Value norm : adaptor.getNorms())
    if (tensorType(norm).getNumElements() != 1)
      return emitOptionalError(loc, "a squared norm is one number, not ", norm.getType());
  types.push_back(RankedTensorType::get({1}, Float32Type::get(context)));
  return success();
}

void ClipScaleOp::emitKernel(KernelBuilder &kernel) {
  unsigned norms = getNorms().size();
  kernel.parallel({1}, [&](OpBuilder &b, Location loc, ValueRange ivs) {
    auto load = [&](unsigned i, int64_t at) {
      return convert(Scalar(b, loc, kernel.load(b, loc, i, {kb::idx(b, loc, at)})), b.getF64Type());
    };
    Scalar sum = load(0, 0);
    for (unsigned i = 1; i < norms; ++i)
      sum = sum + load(i, 0);
    Scalar count = load(norms + 1, 0), clip = load(norms, GMC_HYPER_CLIP), one = count.constant(1);
    Scalar norm = sqrt(sum) / select(count > 0.0, count, 1.0);
    Scalar scale = minimum(clip / (norm + 1e-6), one);
    kernel.store(b, loc, convert(select(clip > 0.0, scale, 1.0), b.getF32Type()).value(), 0, ivs);
  });
}

void registerOptimizerOps(NNDialect *dialect) {
  dialect->addGroup<
#define GET_OP_LIST
#include "dialects/NN/Optimizer.cpp.inc"
      >();
}
void registerOptimizerImports(ImportRegistry &) {} // optimizers come from the command line, not from the model

} // namespace gmc::nn

#define GET_OP_CLASSES
#include "dialects/NN/Optimizer.cpp.inc"
