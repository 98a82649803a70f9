#include "dialects/NN/NN.h"
#include "dialects/NN/Tensor.h"

using namespace mlir;

#include "dialects/NN/NNDialect.cpp.inc"

namespace gmc::nn {

void NNDialect::initialize() {
#define GMC_NN_GROUP(NAME) register##NAME##Ops(this);
#include "dialects/NN/Groups.def"
}

Operation *NNDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type, Location loc) {
  if (auto elements = dyn_cast<ElementsAttr>(value))
    return ConstantOp::create(builder, loc, type, elements);
  return nullptr;
}

void registerImports(ImportRegistry &registry) {
#define GMC_NN_GROUP(NAME) register##NAME##Imports(registry);
#include "dialects/NN/Groups.def"
}

} // namespace gmc::nn
