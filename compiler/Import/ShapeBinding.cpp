//===- ShapeBinding.cpp - numbers for the symbolic dimensions of the inputs -----------------------------===//

#include "compiler/Import/GraphImporter.h"
#include "llvm/ADT/MapVector.h"
#include <map>

using namespace llvm;

namespace gmc {

namespace {
class Binder {
public:
  Binder(const OnnxModel &model, const ImportOptions &options, Diagnostics &diagnostics)
      : model(model), options(options), diagnostics(diagnostics) {}

  StringMap<SmallVector<int64_t>> run(const StringSet<> &used) {
    for (const auto &dim : options.dims) {
      assign(dim.first(), dim.second, "--dim");
      if (!isSymbol(dim.first()))
        diagnostics.warn("--dim " + dim.first() + ": no input has a dimension of this name");
    }
    for (const Port &port : model.inputs()) {
      if (options.batch && !port.dims.empty() && !port.dims[0].value)
        assign(port.dims[0].symbol, *options.batch, "the batch");
      auto given = options.inputShapes.find(port.name);
      if (given != options.inputShapes.end())
        bindGiven(port, given->second);
    }
    StringMap<SmallVector<int64_t>> shapes;
    for (const Port &port : model.inputs())
      if (used.contains(port.name))
        shapeOf(port, shapes);
    reportMissing();
    return shapes;
  }

private:
  bool isSymbol(StringRef name) const {
    for (const Port &port : model.inputs())
      for (const PortDim &dim : port.dims)
        if (!dim.value && dim.symbol == name)
          return true;
    return false;
  }

  void assign(StringRef symbol, int64_t value, const Twine &source) {
    if (value < 0 || value > maxElements) {
      diagnostics.input("dimension '" + symbol + "' cannot be " + Twine(value));
      return;
    }
    auto [it, isNew] = bound.try_emplace(symbol, std::make_pair(value, source.str()));
    if (!isNew && it->second.first != value)
      diagnostics.input("dimension '" + symbol + "' is " + Twine(it->second.first) + " by " + it->second.second +
                        ", but " + Twine(value) + " by " + source);
  }

  void bindGiven(const Port &port, ArrayRef<int64_t> shape) {
    if (!port.hasShape)
      return;
    if (shape.size() != port.dims.size()) {
      diagnostics.input("the tensor given for input '" + port.name + "' has rank " + Twine(shape.size()) +
                        ", the model wants rank " + Twine(port.dims.size()));
      return;
    }
    for (auto [d, dim] : enumerate(port.dims)) {
      if (!dim.value)
        assign(dim.symbol, shape[d], "the tensor given for input '" + port.name + "'");
      else if (*dim.value != shape[d])
        diagnostics.input("the tensor given for input '" + port.name + "' has size " + Twine(shape[d]) +
                          " in dimension " + Twine(d) + ", the model wants " + Twine(*dim.value));
    }
  }

  void shapeOf(const Port &port, StringMap<SmallVector<int64_t>> &shapes) {
    if (!port.hasShape) {
      auto given = options.inputShapes.find(port.name);
      if (given != options.inputShapes.end())
        shapes[port.name] = given->second;
      else
        diagnostics.input("input '" + port.name + "' has no shape in the file");
      return;
    }
    SmallVector<int64_t> shape;
    for (auto [d, dim] : enumerate(port.dims)) {
      if (dim.value) {
        shape.push_back(*dim.value);
        continue;
      }
      auto it = bound.find(dim.symbol);
      if (it != bound.end())
        shape.push_back(it->second.first);
      else if (options.defaultDim)
        shape.push_back(*options.defaultDim);
      else
        missing[dim.symbol].push_back(port.name + " dimension " + std::to_string(d));
    }
    if (shape.size() != port.dims.size())
      return;
    if (!elementCount(shape))
      diagnostics.input("input '" + port.name + "' has an impossible shape");
    else
      shapes[port.name] = shape;
  }

  void reportMissing() {
    if (missing.empty())
      return;
    std::string text;
    for (const auto &[symbol, places] : missing) {
      text += (text.empty() ? "" : "; ") + ("--dim " + symbol + "=VALUE (") ;
      for (auto [i, place] : enumerate(places))
        text += (i ? ", " : "") + place;
      text += ")";
    }
    diagnostics.input("dimensions of the inputs have no value; give " + text);
  }

  const OnnxModel &model;
  const ImportOptions &options;
  Diagnostics &diagnostics;
  StringMap<std::pair<int64_t, std::string>> bound;
  MapVector<std::string, std::vector<std::string>, std::map<std::string, unsigned>> missing;
};
} // namespace

StringMap<SmallVector<int64_t>> bindShapes(const OnnxModel &model, const StringSet<> &inputs,
                                           const ImportOptions &options, Diagnostics &diagnostics) {
  return Binder(model, options, diagnostics).run(inputs);
}

} // namespace gmc
