//===- Sequences.cpp - sequences of tensors, as lists that are known at compile time --------------------===//
//
// A sequence is never a value of the program: its operators choose among values, or join them. Joining and taking apart
// is written with ONNX's own operators, imported as if the file had them.
//
//===-----------------------------------------------------------------------------------------------------===//

#include "compiler/Import/GraphImporter.h"
#include "compiler/Import/OnnxNode.h"
#include "dialects/NN/Tensor.h"
#include "onnx/onnx_pb.h"

using namespace mlir;

namespace gmc {

int GraphImporter::sequenceOf(Indices elements) {
  Named named;
  named.sequence = std::make_shared<const Indices>(std::move(elements));
  named.isFloat = false;
  return define(top, "", named);
}

int GraphImporter::integers(Scope &scope, ArrayRef<int64_t> list, bool scalar) {
  SmallVector<int64_t> shape;
  if (!scalar)
    shape.push_back(static_cast<int64_t>(list.size()));
  Named named;
  named.value = nn::ConstantOp::create(
      builder, builder.getUnknownLoc(),
      DenseElementsAttr::get(RankedTensorType::get(shape, builder.getI64Type()), list));
  return define(scope, "", named);
}

/// The result of an operator that is in no file; problems are reported as those of `from`.
int GraphImporter::synthesize(Scope &scope, const onnx::NodeProto &from, StringRef op, const Indices &inputs,
                              int64_t axis) {
  auto node = std::make_shared<onnx::NodeProto>();
  Scope inner{scope.graph, &scope, {}};
  node->set_op_type(op.str());
  node->set_name(nodeName(from));
  for (int index : inputs) {
    std::string name = " " + std::to_string(node->input_size());
    node->add_input(name);
    inner.names[name] = index;
  }
  node->add_output(" result");
  if (op != "Reshape" && op != "Slice") {
    auto *attribute = node->add_attribute();
    attribute->set_name("axis");
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(axis);
  }
  synthesized.push_back(node);
  importNode(inner, *node);
  return inner.names.lookup(" result");
}

int GraphImporter::elementAt(Scope &scope, const onnx::NodeProto &from, int value, int64_t axis, int64_t position) {
  return synthesize(scope, from, "Gather", {value, integers(scope, position, /*scalar=*/true)}, axis);
}

/// The elements along a new axis.
int GraphImporter::stack(Scope &scope, const onnx::NodeProto &from, const Indices &elements, int64_t axis) {
  if (elements.empty()) {
    addNodeProblem(from, ProblemKind::Unsupported, "it makes a tensor of no elements, whose shape is not known");
    return -1;
  }
  Indices rows;
  int64_t rank = -1;
  for (int element : elements) {
    if (!values[element].value)
      return -1;
    SmallVector<int64_t> shape(nn::shapeOf(values[element].value));
    rank = static_cast<int64_t>(shape.size());
    axis += axis < 0 ? rank + 1 : 0;
    if (axis < 0 || axis > rank) {
      addNodeProblem(from, ProblemKind::Input, "its axis is outside the result's rank");
      return -1;
    }
    shape.insert(shape.begin() + axis, 1);
    rows.push_back(synthesize(scope, from, "Reshape", {element, integers(scope, shape)}, 0));
  }
  return synthesize(scope, from, "Concat", rows, axis);
}

static int64_t integerAttribute(const onnx::NodeProto &node, StringRef name, int64_t otherwise) {
  for (const auto &attribute : node.attribute())
    if (attribute.name() == name)
      return attribute.i();
  return otherwise;
}

static std::optional<SmallVector<int64_t>> knownIntegers(DenseElementsAttr value) {
  if (!value || !isa<IntegerType>(value.getElementType()))
    return std::nullopt;
  SmallVector<int64_t> list;
  for (const APInt &element : value.getValues<APInt>())
    list.push_back(element.getSExtValue());
  return list;
}

/// The position that operand `operand` gives, counted from the end when negative; without the operand, `end - 1`. It
/// must lie in [0, end).
std::optional<size_t> GraphImporter::positionInSequence(const onnx::NodeProto &node, const Indices &inputs,
                                                        size_t operand, size_t end) {
  int64_t position = static_cast<int64_t>(end) - 1, size = static_cast<int64_t>(values[inputs[0]].sequence->size());
  if (operand < inputs.size() && inputs[operand] >= 0) {
    auto known = knownIntegers(knownValue(inputs[operand]));
    if (!known || known->size() != 1) {
      addNodeProblem(node, ProblemKind::Unsupported, "its position is not known at compile time");
      return std::nullopt;
    }
    position = known->front() + (known->front() < 0 ? size : 0);
  }
  if (position >= 0 && position < static_cast<int64_t>(end))
    return static_cast<size_t>(position);
  addNodeProblem(node, ProblemKind::Input,
                 "its position lies outside the sequence, which has " + Twine(size) + " elements");
  return std::nullopt;
}

GraphImporter::Indices GraphImporter::importSequence(Scope &scope, const onnx::NodeProto &node,
                                                     const Indices &inputs) {
  StringRef op = node.op_type();
  if (op == "SequenceEmpty")
    return {sequenceOf({})};
  bool takesTensors = op == "SequenceConstruct" || op == "SplitToSequence";
  for (auto [i, index] : llvm::enumerate(inputs)) {
    bool wantsSequence = i == 0 && !takesTensors;
    if ((index < 0 && i == 0) || (index >= 0 && bool(values[index].sequence) != wantsSequence)) {
      addNodeProblem(node, ProblemKind::Input,
                     "its input " + Twine(i) + (wantsSequence ? " is no sequence" : " is no tensor"));
      return {};
    }
  }
  if (inputs.empty() || (op == "SequenceInsert" && (inputs.size() < 2 || inputs[1] < 0))) {
    addNodeProblem(node, ProblemKind::Input, "it lacks an input");
    return {};
  }
  if (op == "SequenceConstruct")
    return {sequenceOf(inputs)};
  if (op == "SplitToSequence")
    return splitToSequence(scope, node, inputs);
  Indices elements = *values[inputs[0]].sequence;
  if (op == "SequenceLength")
    return {integers(scope, static_cast<int64_t>(elements.size()), /*scalar=*/true)};
  if (op == "SequenceAt") {
    auto position = positionInSequence(node, inputs, 1, elements.size());
    return position ? Indices{elements[*position]} : Indices();
  }
  if (op == "SequenceErase" || op == "SequenceInsert") {
    bool insert = op == "SequenceInsert";
    auto position = positionInSequence(node, inputs, insert ? 2 : 1, elements.size() + insert);
    if (!position)
      return {};
    if (insert)
      elements.insert(elements.begin() + *position, inputs[1]);
    else
      elements.erase(elements.begin() + *position);
    return {sequenceOf(std::move(elements))};
  }
  int64_t axis = integerAttribute(node, "axis", 0);
  if (integerAttribute(node, "new_axis", 0))
    return {stack(scope, node, elements, axis)};
  if (elements.empty()) {
    addNodeProblem(node, ProblemKind::Unsupported, "it joins no elements");
    return {};
  }
  return {synthesize(scope, node, "Concat", elements, axis)};
}

GraphImporter::Indices GraphImporter::splitToSequence(Scope &scope, const onnx::NodeProto &node,
                                                      const Indices &inputs) {
  auto shape = nn::shapeOf(values[inputs[0]].value);
  int64_t rank = static_cast<int64_t>(shape.size()), axis = integerAttribute(node, "axis", 0);
  axis += axis < 0 ? rank : 0;
  if (axis < 0 || axis >= rank) {
    addNodeProblem(node, ProblemKind::Input, "its axis is outside the operand's rank");
    return {};
  }
  bool bySplit = inputs.size() > 1 && inputs[1] >= 0;
  SmallVector<int64_t> sizes;
  if (bySplit) {
    auto known = knownIntegers(knownValue(inputs[1]));
    if (!known) {
      addNodeProblem(node, ProblemKind::Unsupported, "its split is not known at compile time");
      return {};
    }
    sizes = *known;
    if (cast<ShapedType>(values[inputs[1]].value.getType()).getRank() == 0) {
      int64_t most = sizes[0];
      sizes.clear();
      for (int64_t left = shape[axis]; most > 0 && left > 0; left -= most)
        sizes.push_back(std::min(left, most));
    }
  } else {
    sizes.assign(shape[axis], 1);
  }
  int64_t total = 0;
  for (int64_t size : sizes)
    total = size < 0 ? shape[axis] + 1 : total + size;
  if (total != shape[axis]) {
    addNodeProblem(node, ProblemKind::Input, "its split does not add up to the " + Twine(shape[axis]) + " elements");
    return {};
  }
  Indices parts;
  int64_t from = 0;
  for (int64_t size : sizes) {
    parts.push_back(!bySplit && !integerAttribute(node, "keepdims", 1)
                        ? elementAt(scope, node, inputs[0], axis, from)
                        : synthesize(scope, node, "Slice",
                                     {inputs[0], integers(scope, from), integers(scope, from + size),
                                      integers(scope, axis)},
                                     0));
    from += size;
  }
  return {sequenceOf(std::move(parts))};
}

} // namespace gmc
