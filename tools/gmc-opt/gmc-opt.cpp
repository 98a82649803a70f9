//===- gmc-opt.cpp - runs passes on files of IR ---------------------------------------------------------===//

#include "compiler/Import/Importer.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  gmc::registerImportDialects(registry);
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "gmc optimizer\n", registry));
}
