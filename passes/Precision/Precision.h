//===- Precision.h - mixed precision of a training step ---------------------------------------*- C++ -*-===//
#ifndef GMC_PASSES_PRECISION_PRECISION_H
#define GMC_PASSES_PRECISION_PRECISION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <optional>

namespace gmc {

enum class Precision { Fp32, Bf16, Fp16 };

/// "fp32", "bf16", "fp16"; nullopt for another word.
std::optional<Precision> parsePrecision(llvm::StringRef word);
llvm::StringRef toString(Precision precision);

/// Puts the f32 computation of `function` into low precision by its ops' policies; see ApplyPrecisionPass. The
/// function's arguments and results keep their types. Fp32 changes nothing.
llvm::LogicalResult applyPrecision(mlir::func::FuncOp function, Precision precision);

/// States that fp16 adds: the loss scale, and the steps without overflow since it last changed. The trainer sets the
/// first one before the first step.
inline constexpr llvm::StringLiteral kLossScale = "loss_scale", kCleanSteps = "loss_scale.clean_steps";

/// Dynamic loss scaling of the @micro and @update of `module`, for `accumulation` micro-steps; see ScaleLossPass.
llvm::LogicalResult scaleLoss(mlir::ModuleOp module, int64_t accumulation);

/// The phase `precision`: loss scaling where fp16 needs it, then @micro and @eval by policy.
llvm::LogicalResult applyPrecision(mlir::ModuleOp module, Precision precision, int64_t accumulation);

} // namespace gmc

#endif
