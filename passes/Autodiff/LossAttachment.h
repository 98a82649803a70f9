//===- LossAttachment.h - which loss a training step minimizes --------------------------------*- C++ -*-===//
#ifndef GMC_PASSES_AUTODIFF_LOSSATTACHMENT_H
#define GMC_PASSES_AUTODIFF_LOSSATTACHMENT_H

#include "mlir/IR/Builders.h"
#include "passes/Autodiff/Training.h"

namespace gmc {

/// What --loss means for a model.
struct LossChoice {
  enum Kind { CrossEntropy, Bce, Mse, L1, Output } kind;
  unsigned output;               ///< index among the results of @forward
  mlir::RankedTensorType label;  ///< type of the label argument to add; null for Kind::Output
  int64_t classAxis = 1;         ///< of CrossEntropy
};

/// Resolves `options.loss` against the outputs of `forward` by the rules of the design: `auto` takes a one-element
/// output named "loss", else cross-entropy of the first output when it is [B, C] with C > 1 or [B, T, V]. Classes are
/// on axis 1, for rank 3 on the last axis, unless options.labelType fits only the other. Errors name the choices.
llvm::FailureOr<LossChoice> chooseLoss(mlir::func::FuncOp forward, const TrainingOptions &options);

struct AttachedLoss {
  mlir::Value sum, count;      ///< tensor<1xT>
  mlir::Value scores, labels;  ///< of a classification, else null
  int64_t classAxis = 1, ignoreIndex = -100;
  mlir::Value labelArgument;   ///< block argument that the labels of a loss in the file come from
};

/// Emits the loss at the insertion point. `outputs` are the forward results inside the new function; `label` is null
/// for Kind::Output. Samples at and past `validSamples` (tensor<1xi64>) weigh nothing; `batch` is the number of
/// samples.
AttachedLoss attachLoss(mlir::OpBuilder &b, const LossChoice &choice, llvm::ArrayRef<mlir::Value> outputs,
                        mlir::Value label, mlir::Value validSamples, int64_t batch, TrainingNotes &notes);

/// How many correctly classified valid labels: tensor<1xf32>.
mlir::Value countCorrect(mlir::OpBuilder &b, const AttachedLoss &loss, mlir::Value validSamples, int64_t batch);

llvm::StringRef lossKindName(LossChoice::Kind kind);

} // namespace gmc

#endif
