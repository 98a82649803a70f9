//===- WidenGpuNests.h - neighbouring iterations of a nest to one thread ----------------------*- C++ -*-===//
#ifndef GMC_PASSES_LOWERING_WIDENGPUNESTS_H
#define GMC_PASSES_LOWERING_WIDENGPUNESTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace gmc {

/// Turns top-level nests of `kernel` (as emitKernel left it) whose iterations store neighbouring elements into nests of
/// fewer iterations, each of which does what up to 16 neighbours did and accesses their elements as vectors of 16
/// bytes. Operands that broadcast are read once, or element by element where the neighbours lie in different rows.
/// Nests for which that does not hold are left as they are. No iteration computes anything else, so that results are
/// the same bits.
void widenGpuNests(mlir::func::FuncOp kernel);

} // namespace gmc

#endif
