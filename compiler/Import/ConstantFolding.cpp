//===- ConstantFolding.cpp - ops whose operands are known ------------------------------------------------===//
//
// Shape arithmetic disappears during import: an op is folded by its own folder, or by running its kernel. So every op
// folds from its one definition.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/KernelInterpreter.h"
#include "dialects/NN/NN.h"
#include "dialects/NN/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace gmc {

/// Results beyond this stay computed: a constant would take as much memory as the tensor.
static constexpr int64_t maxFoldedElements = 1 << 16;
/// An operand beyond this is not even looked at.
static constexpr int64_t maxOperandElements = 1 << 24;
static constexpr int64_t maxFoldSteps = 1 << 24;

/// An elementwise op on splats is one element, computed once.
static bool foldSplats(OpBuilder &b, Operation *op, ArrayRef<DenseElementsAttr> operands,
                       SmallVectorImpl<DenseElementsAttr> &results) {
  if (!isa<ScalarOpInterface>(op) || !llvm::all_of(operands, [](DenseElementsAttr a) { return a.isSplat(); }))
    return false;
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  // The same op on 0-d constants; its kernel then has a single iteration.
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op);
  SmallVector<Value> scalars;
  SmallVector<HostTensor> data;
  for (DenseElementsAttr attr : operands) {
    auto scalar = DenseElementsAttr::get(RankedTensorType::get({}, attr.getElementType()),
                                         attr.getSplatValue<Attribute>());
    scalars.push_back(nn::ConstantOp::create(b, op->getLoc(), scalar));
    data.push_back(HostTensor::from(scalar));
  }
  Operation *single = op->clone();
  single->setOperands(scalars);
  single->getResult(0).setType(RankedTensorType::get({}, type.getElementType()));
  auto value = interpretKernel(single, data, maxFoldSteps);
  single->destroy();
  for (Value scalar : scalars)
    scalar.getDefiningOp()->erase();
  if (failed(value))
    return false;
  results.push_back(DenseElementsAttr::get(type, value->front().toAttr().getSplatValue<Attribute>()));
  return true;
}

static DenseElementsAttr noElements(Type type) {
  return DenseElementsAttr::get(cast<ShapedType>(type), ArrayRef<Attribute>());
}

static bool isEmpty(Value value) { return cast<ShapedType>(value.getType()).getNumElements() == 0; }

/// Results of an op on constants, tensors without elements among them; false when it is not to be folded.
static bool evaluate(OpBuilder &b, Operation *op, SmallVectorImpl<DenseElementsAttr> &results) {
  if (!isa<KernelOpInterface>(op) || op->getNumOperands() == 0 || !isMemoryEffectFree(op))
    return false;
  if (llvm::all_of(op->getResults(), isEmpty)) {
    for (Type type : op->getResultTypes())
      results.push_back(noElements(type));
    return true;
  }
  SmallVector<DenseElementsAttr> operands;
  for (Value operand : op->getOperands()) {
    DenseElementsAttr attr;
    if (isEmpty(operand))
      attr = noElements(operand.getType());
    else if (!matchPattern(operand, m_Constant(&attr)))
      return false;
    operands.push_back(attr);
  }
  if (foldSplats(b, op, operands, results))
    return true;
  for (Type type : op->getResultTypes())
    if (cast<ShapedType>(type).getNumElements() > maxFoldedElements)
      return false;
  SmallVector<HostTensor> data;
  for (DenseElementsAttr attr : operands) {
    if (attr.getNumElements() > maxOperandElements)
      return false;
    data.push_back(HostTensor::from(attr));
  }
  auto values = interpretKernel(op, data, maxFoldSteps);
  if (failed(values))
    return false;
  for (const HostTensor &value : *values)
    results.push_back(value.toAttr());
  return true;
}

SmallVector<Value> foldOrKeep(OpBuilder &b, Operation *op) {
  if (op->hasTrait<OpTrait::ConstantLike>())
    return SmallVector<Value>(op->getResults());
  SmallVector<Attribute> constants;
  for (Value operand : op->getOperands()) {
    Attribute attr;
    matchPattern(operand, m_Constant(&attr));
    constants.push_back(attr);
  }
  SmallVector<OpFoldResult> folded;
  SmallVector<Value> values;
  if (succeeded(op->fold(constants, folded)) && !folded.empty()) {
    for (auto [result, fold] : llvm::zip(op->getResults(), folded)) {
      if (auto value = dyn_cast<Value>(fold))
        values.push_back(value);
      else
        values.push_back(
            nn::ConstantOp::create(b, op->getLoc(), result.getType(), cast<ElementsAttr>(cast<Attribute>(fold))));
    }
    op->erase();
    return values;
  }
  SmallVector<DenseElementsAttr> results;
  if (!evaluate(b, op, results))
    return SmallVector<Value>(op->getResults());
  for (DenseElementsAttr attr : results)
    values.push_back(nn::ConstantOp::create(b, op->getLoc(), attr));
  op->erase();
  return values;
}

} // namespace gmc
