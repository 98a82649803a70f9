//===- gmc-opt.cpp - runs passes on IR files -------------------------------------------------------------===//

#include "compiler/Import/Importer.h"
#include "dialects/Plan/Plan.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  gmc::registerImportDialects(registry);
  registry.insert<gmc::plan::PlanDialect, mlir::LLVM::LLVMDialect, mlir::gpu::GPUDialect, mlir::NVVM::NVVMDialect>();
  gmc::registerGmcPasses();
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "gmc optimizer driver\n", registry));
}
