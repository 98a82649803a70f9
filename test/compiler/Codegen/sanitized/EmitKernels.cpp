// emit-gpu-kernels IN.mlir OUT [sm_XX]: the kernels of every function of a file of nn ops: PTX for an architecture, or
// an object for the sim target, instrumented by AddressSanitizer. Each operand of each step is a tensor of gmc_model
// with a number for an offset: whoever links the object gives every one memory of its own.
#include "compiler/Codegen/GpuCodegen.h"
#include "compiler/Import/Importer.h"
#include "compiler/Pipeline/KernelGraph.h"
#include "passes/Fusion/FormKernels.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4)
    return 1;
  bool sim = argc == 3;
  DialectRegistry registry;
  gmc::registerImportDialects(registry);
  registry.insert<LLVM::LLVMDialect>();
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(argv[1], &context);
  if (!module)
    return 1;
  SmallVector<func::FuncOp> functions(module->getOps<func::FuncOp>());
  gmc::ModelImage image;
  image.target = sim ? GMC_TARGET_SIM : GMC_TARGET_CUDA;
  gmc::ImageProgram &program = image.programs.emplace_back();
  program.name = "kernels";
  auto tensor = [&](int64_t bytes) -> uint64_t {
    uint64_t number = image.tensors.size() * 16;
    image.tensors.push_back({std::to_string(number), {}, number, static_cast<uint64_t>(bytes)});
    return number;
  };
  for (func::FuncOp function : functions) {
    if (failed(gmc::formKernels(function, {})))
      return 1;
    gmc::KernelGraph graph = gmc::KernelGraph::build(function, gmc::KernelTarget::Gpu);
    SmallVector<uint64_t> storages;
    for (const gmc::Storage &storage : graph.storages)
      storages.push_back(tensor(storage.bytes));
    for (gmc::KernelNode &node : graph.nodes) {
      gmc::ImageStep &step = program.steps.emplace_back();
      step.use.kernel = node.kernel.getName().str();
      step.use.aliases.assign(node.results.size(), -1);
      step.op = node.op;
      step.node = function.getName().str();
      for (int s : node.operands)
        step.operands.push_back(storages[s]);
      for (int s : node.results)
        step.operands.push_back(storages[s]);
      for (int64_t bytes : node.workspaces)
        step.operands.push_back(tensor(bytes));
    }
  }
  gmc::GpuCodegenOptions options;
  options.sanitize = sim;
  if (!sim) {
    options.archs = {argv[3]};
    options.tools = gmc::findCudaTools();
    options.emit = gmc::GpuCodegenOptions::Emit::Ptx;
  }
  auto object = gmc::emitGpuObject(*module, image, options);
  if (!object) {
    llvm::errs() << llvm::toString(object.takeError()) << "\n";
    return 1;
  }
  std::error_code code;
  llvm::raw_fd_ostream out(argv[2], code);
  out << (*object)->getBuffer();
  return code ? 1 : 0;
}
