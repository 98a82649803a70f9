//===- Functions.cpp - inlining of a model's local functions --------------------------------------------===//

#include "compiler/Import/Diagnostics.h"
#include "compiler/Import/OnnxModel.h"
#include "llvm/ADT/StringMap.h"
#include "onnx/onnx_pb.h"

namespace gmc {
namespace {

constexpr int maxDepth = 32;
constexpr int64_t maxNodes = 1 << 20;

class Inliner {
public:
  explicit Inliner(onnx::ModelProto &model) : model(model) {
    for (const auto &function : model.functions())
      functions[function.domain() + "::" + function.name()] = &function;
  }

  llvm::Error run(onnx::GraphProto &graph, int depth) {
    google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
    nodes.Swap(graph.mutable_node());
    for (auto &node : nodes)
      if (llvm::Error error = place(node, graph, depth))
        return error;
    return llvm::Error::success();
  }

private:
  using Names = llvm::StringMap<std::string>;
  using Attributes = llvm::StringMap<const onnx::AttributeProto *>;

  /// Adds `node` to `graph`, or the body of the function that it calls.
  llvm::Error place(onnx::NodeProto &node, onnx::GraphProto &graph, int depth) {
    if (++placed > maxNodes)
      return inputError("local functions expand to more than " + llvm::Twine(maxNodes) + " nodes");
    auto it = functions.find(node.domain() + "::" + node.op_type());
    if (it != functions.end())
      return call(node, *it->second, graph, depth + 1);
    for (auto &attribute : *node.mutable_attribute())
      if (attribute.has_g())
        if (llvm::Error error = run(*attribute.mutable_g(), depth + 1))
          return error;
    *graph.add_node() = std::move(node);
    return llvm::Error::success();
  }

  llvm::Error call(const onnx::NodeProto &node, const onnx::FunctionProto &function, onnx::GraphProto &graph,
                   int depth) {
    std::string caller = nodeName(node);
    auto problem = [&](const llvm::Twine &reason) {
      return inputError("node '" + caller + "' calls function '" + function.name() + "', which " + reason);
    };
    if (depth > maxDepth)
      return problem("calls itself or is nested too deeply");
    for (const auto &needed : function.opset_import())
      for (const auto &present : model.opset_import())
        if (needed.domain() == present.domain() && needed.version() != present.version())
          return problem("is written for opset " + llvm::Twine(needed.version()) + ", the model for opset " +
                         llvm::Twine(present.version()));
    if (node.input_size() > function.input_size() || node.output_size() > function.output_size())
      return problem("takes " + llvm::Twine(function.input_size()) + " inputs and has " +
                     llvm::Twine(function.output_size()) + " outputs");
    Names names;
    for (int i = 0; i < function.input_size(); ++i)
      names[function.input(i)] = i < node.input_size() ? node.input(i) : "";
    for (int i = 0; i < node.output_size(); ++i)
      if (!node.output(i).empty())
        names[function.output(i)] = node.output(i);
    Attributes attributes;
    std::vector<onnx::AttributeProto> defaults = defaultAttributes(function);
    for (const auto &attribute : defaults)
      attributes[attribute.name()] = &attribute;
    for (const auto &attribute : node.attribute())
      attributes[attribute.name()] = &attribute;
    for (onnx::NodeProto body : function.node()) {
      rename(body, names, caller);
      bind(body, attributes);
      body.set_name(caller + "/" + nodeName(body));
      if (llvm::Error error = place(body, graph, depth))
        return error;
    }
    return llvm::Error::success();
  }

  /// FunctionProto.attribute_proto (field 11), newer than the ONNX types we build with.
  static std::vector<onnx::AttributeProto> defaultAttributes(const onnx::FunctionProto &function) {
    std::vector<onnx::AttributeProto> result;
    const auto &unknown = function.GetReflection()->GetUnknownFields(function);
    for (int i = 0; i < unknown.field_count(); ++i) {
      onnx::AttributeProto attribute;
      if (unknown.field(i).number() == 11 &&
          unknown.field(i).type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED &&
          attribute.ParseFromString(unknown.field(i).length_delimited()))
        result.push_back(std::move(attribute));
    }
    return result;
  }

  /// Values inside a function get the caller's name as a prefix; its inputs and outputs become the caller's values.
  void rename(onnx::NodeProto &node, Names &names, const std::string &caller) {
    auto renamed = [&](const std::string &name) -> std::string {
      if (name.empty())
        return name;
      auto [it, isNew] = names.try_emplace(name, caller + "/" + name);
      return it->second;
    };
    for (auto &input : *node.mutable_input())
      input = renamed(input);
    for (auto &output : *node.mutable_output())
      output = renamed(output);
    for (auto &attribute : *node.mutable_attribute())
      if (attribute.has_g()) {
        for (auto &inner : *attribute.mutable_g()->mutable_node())
          rename(inner, names, caller);
        for (auto &initializer : *attribute.mutable_g()->mutable_initializer())
          initializer.set_name(renamed(initializer.name()));
        for (auto &output : *attribute.mutable_g()->mutable_output())
          output.set_name(renamed(output.name()));
      }
  }

  /// Replaces references to the function's attributes by the caller's values; one that is not given is dropped.
  void bind(onnx::NodeProto &node, const Attributes &attributes) {
    google::protobuf::RepeatedPtrField<onnx::AttributeProto> kept;
    for (auto &attribute : *node.mutable_attribute()) {
      if (!attribute.ref_attr_name().empty()) {
        const onnx::AttributeProto *value = attributes.lookup(attribute.ref_attr_name());
        if (!value)
          continue;
        std::string name = attribute.name();
        attribute = *value;
        attribute.set_name(name);
      }
      if (attribute.has_g())
        for (auto &inner : *attribute.mutable_g()->mutable_node())
          bind(inner, attributes);
      *kept.Add() = attribute;
    }
    node.mutable_attribute()->Swap(&kept);
  }

  onnx::ModelProto &model;
  llvm::StringMap<const onnx::FunctionProto *> functions;
  int64_t placed = 0;
};

} // namespace

llvm::Error inlineFunctions(onnx::ModelProto &model) {
  if (model.functions_size() == 0)
    return llvm::Error::success();
  return Inliner(model).run(*model.mutable_graph(), 0);
}

} // namespace gmc
