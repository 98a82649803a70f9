//===- Autodiff.h - reverse-mode gradients of a block of ops ----------------------------------*- C++ -*-===//
#ifndef GMC_PASSES_AUTODIFF_AUTODIFF_H
#define GMC_PASSES_AUTODIFF_AUTODIFF_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace gmc {

/// On the constant 1 that the gradients of @micro start from.
inline constexpr llvm::StringLiteral kSeedAttr = "nn.seed";

/// What flows back into a value from outside: d(loss)/d(value), a tensor of the value's type.
struct GradientSeed {
  mlir::Value of, cotangent;
};

/// Emits, at the insertion point of `b`, d(sum_k <seed_k.of, seed_k.cotangent>) / d(wanted_i) for every wanted value,
/// by reverse accumulation (Linnainmaa 1970; Griewank and Walther, Evaluating Derivatives, chapter 3). Everything lies
/// in one block, the insertion point after every seed. Only ops on a path from a wanted value to a seed are
/// differentiated.
///
/// The association of gradient sums is fixed: contributions to one value are added in the order in which they appear,
/// left to right: first its seed, then its uses in reverse program order, operands of one use from first to last.
/// A sum carries the location of the value's producer (for a block argument: of the use whose contribution is added).
/// Every emitted op carries the unit attribute `nn.backward`.
///
/// A result is null where the wanted value does not influence a seed, or only through derivatives that are identically
/// zero. Fails when ops on the path have no gradient: all of them have then been reported, each at its own location.
llvm::FailureOr<llvm::SmallVector<mlir::Value>> buildGradients(mlir::OpBuilder &b, llvm::ArrayRef<GradientSeed> seeds,
                                                               llvm::ArrayRef<mlir::Value> wanted);

/// Erases the ops of `block` whose results nobody uses and that have no effect, transitively.
void eraseDeadOps(mlir::Block &block);

} // namespace gmc

#endif
