//===- DeviceCases.cpp - conformance cases as programs for a GPU ----------------------------------------===//

#include "test/conformance/DeviceCases.h"
#include "compiler/Codegen/CudaTools.h"
#include "compiler/Codegen/GpuCodegen.h"
#include "compiler/Codegen/PlaceFunction.h"
#include "compiler/Import/OnnxNode.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace gmc;

DeviceCases::DeviceCases(MLIRContext &context) : kernels(ModuleOp::create(UnknownLoc::get(&context))) {}

static ImageTensor tensorAt(const std::string &name, Type type, ArenaRange range, uint32_t role) {
  auto tensor = cast<RankedTensorType>(type);
  return {name, {tensor.getShape().begin(), tensor.getShape().end()}, range.offset, range.bytes,
          static_cast<uint32_t>(dataTypeOf(tensor.getElementType())), role, 0};
}

llvm::Error DeviceCases::add(StringRef name, func::FuncOp function, ArrayRef<std::vector<char>> arguments) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(function.getLoc());
  OpBuilder inModule = OpBuilder::atBlockEnd(module->getBody()), inKernels = OpBuilder::atBlockEnd(kernels->getBody());
  auto copy = cast<func::FuncOp>(inModule.clone(*function));
  auto placed = placeFunction(copy, KernelTarget::Gpu);
  if (!placed)
    return placed.takeError();
  for (auto [i, argument] : llvm::enumerate(arguments))
    if (argument.size() != placed->arguments[i].bytes)
      return llvm::createStringError("argument %zu of %s has another size", i, name.str().c_str());

  SymbolTable symbols(*module);
  for (ImageStep &step : placed->program.steps) {
    auto kernel = symbols.lookup<func::FuncOp>(step.use.kernel);
    std::string text;
    llvm::raw_string_ostream os(text);
    auto unnamed = cast<func::FuncOp>(kernel->clone());
    unnamed.setName("k");
    unnamed->print(os);
    unnamed->destroy();
    auto [it, inserted] = known.try_emplace(text, "k" + std::to_string(known.size()));
    step.use.kernel = it->second;
    if (inserted)
      cast<func::FuncOp>(inKernels.clone(*kernel)).setName(it->second);
  }
  ImageProgram &program = image.programs.emplace_back(std::move(placed->program));
  program.name = name.str();
  image.arenaBytes = std::max(image.arenaBytes, placed->arenaBytes);
  auto give = [&](ImageTensor tensor, const std::vector<char> &contents) {
    program.tensors.push_back(std::move(tensor));
    llvm::append_range(data, contents);
  };
  for (auto [i, argument] : llvm::enumerate(arguments))
    give(tensorAt("argument" + std::to_string(i), function.getArgumentTypes()[i], placed->arguments[i], GMC_ROLE_INPUT),
         argument);
  for (auto &[offset, contents] : placed->constants) {
    int64_t bytes = contents.size();
    give({"constant", {bytes}, offset, contents.size(), GMC_UINT8, GMC_ROLE_CONSTANT, 0}, contents);
  }
  for (auto [i, range] : llvm::enumerate(placed->results))
    program.tensors.push_back(
        tensorAt("result" + std::to_string(i), function.getResultTypes()[i], range, GMC_ROLE_OUTPUT));
  return llvm::Error::success();
}

static llvm::Error writeFile(const std::string &path, StringRef contents) {
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  os << contents;
  os.flush();
  if (code || (code = os.error()))
    return llvm::createStringError(code, "cannot write " + path);
  return llvm::Error::success();
}

llvm::Error DeviceCases::write(const std::string &folder, const std::vector<std::string> &archs,
                               uint64_t reserveBytes) {
  image.alignment = 256;
  image.reserveBytes = reserveBytes;
  image.budgetBytes = image.arenaBytes + reserveBytes;
  for (uint32_t target : {GMC_TARGET_CUDA, GMC_TARGET_SIM}) {
    bool sim = target == GMC_TARGET_SIM;
    image.target = target;
    GpuCodegenOptions options;
    if (!sim) {
      options.archs = archs;
      options.tools = findCudaTools();
    }
    auto object = emitGpuObject(*kernels, image, options);
    if (!object)
      return object.takeError();
    if (auto error = writeFile(folder + (sim ? "/opcases.sim.o" : "/opcases.cuda.o"), (*object)->getBuffer()))
      return error;
  }
  return writeFile(folder + "/opcases.bin", {data.data(), data.size()});
}
