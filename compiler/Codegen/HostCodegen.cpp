//===- HostCodegen.cpp - kernels and tables to a relocatable object for the host ------------------------===//

#include "compiler/Codegen/HostCodegen.h"
#include "compiler/Codegen/LowerKernels.h"
#include "compiler/Codegen/ModelTables.h"
#include "compiler/Codegen/StreamStores.h"
#include "passes/Lowering/DivideHostKernels.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include <map>

using namespace mlir;

namespace gmc {

static llvm::Error failure(const llvm::Twine &message) { return llvm::createStringError(message.str()); }

llvm::Expected<std::pair<std::string, std::string>> resolveHostArch(StringRef arch) {
  if (arch.empty() || arch == "native") {
    std::string features;
    for (auto &feature : llvm::sys::getHostCPUFeatures())
      features += (features.empty() ? "" : ",") + std::string(feature.second ? "+" : "-") + feature.first().str();
    return std::make_pair(llvm::sys::getHostCPUName().str(), features);
  }
  if (arch == "x86-64-v3" || arch == "x86-64-v4" || arch == "x86-64-v2" || arch == "x86-64")
    return std::make_pair(arch.str(), std::string());
  return failure("unknown host architecture '" + arch + "': use native, x86-64-v3 or x86-64-v4");
}

StringRef portableHostArch() {
  auto features = llvm::sys::getHostCPUFeatures();
  return features.lookup("avx2") && features.lookup("fma") && features.lookup("bmi2") ? "x86-64-v3" : "x86-64";
}

std::vector<char> constantBytes(DenseElementsAttr value) {
  std::vector<char> bytes;
  if (value.getElementType().isInteger(1)) {
    for (bool v : value.getValues<bool>())
      bytes.push_back(v);
    return bytes;
  }
  if (value.isSplat()) {
    ArrayRef<char> one = value.getRawData();
    for (int64_t i = 0; i < value.getNumElements(); ++i)
      bytes.insert(bytes.end(), one.begin(), one.end());
    return bytes;
  }
  ArrayRef<char> raw = value.getRawData();
  return std::vector<char>(raw.begin(), raw.end());
}

llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> emitHostObject(ModuleOp module, const ModelImage &image,
                                                                   const HostCodegenOptions &options) {
  std::map<KernelKey, SmallVector<HostLaunch>> uses;
  std::map<KernelKey, SmallVector<KernelArgument>> known;
  llvm::LLVMContext context;
  auto code = lowerKernels(module, image, KernelTarget::Host, context, [&](func::FuncOp kernel, const KernelKey &key) {
    known[key] = kernelArguments(kernel, {key.first, key.second}, image);
    uses[key] = divideHostKernel(kernel);
    return success();
  }, options.onLowered);
  if (!code)
    return code.takeError();
  llvm::Module &llvmModule = **code;
  auto machine = createHostMachine(options.arch, options.optLevel);
  if (!machine)
    return machine.takeError();
  llvmModule.setTargetTriple((*machine)->getTargetTriple());
  llvmModule.setDataLayout((*machine)->createDataLayout());

  std::map<KernelKey, std::vector<LaunchEntry>> entries;
  for (auto &[key, launches] : uses) {
    std::vector<LaunchEntry> &list = entries[key]; // none for tensors without elements
    for (HostLaunch &launch : launches) {
      llvm::Function *part = llvmModule.getFunction(launch.function);
      part->addFnAttr("prefer-vector-width", "512");
      annotateArguments(*part, known[key]);
      list.push_back({emitEntry(part), launch.function, launch.extent, launch.grain, 0});
    }
  }
  emitModelTables(llvmModule, image, [&](const KernelUse &use) -> const std::vector<LaunchEntry> & {
    return entries.at({use.kernel, use.aliases});
  });
  optimizeModule(llvmModule, **machine, options.optLevel);
  if (llvmModule.getTargetTriple().isX86())
    streamStores(llvmModule);
  if (options.emitLlvmText)
    return printLlvm(llvmModule);
  return emitMachineCode(llvmModule, **machine, llvm::CodeGenFileType::ObjectFile);
}

} // namespace gmc
