//===- gmc-lsp-server.cpp - diagnostics, definitions and hovers for .mlir files in an editor ------------===//

#include "compiler/Import/Importer.h"
#include "dialects/Plan/Plan.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  gmc::registerImportDialects(registry);
  registry.insert<gmc::plan::PlanDialect, mlir::LLVM::LLVMDialect>();
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
