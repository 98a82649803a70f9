//===- Training.h - from a forward function to a training step, its update and its evaluation -*- C++ -*-===//
//
// The `train` phase. From @forward (arguments of role input, parameter, constant; results of role output) it makes
//   @micro   gradients of the unnormalized loss sum of one micro-batch
//   @update  one optimizer step from accumulated gradients
//   @eval    outputs, loss and accuracy with inference statistics and without dropout
// which the plan phase joins by role and name.
//
//===-----------------------------------------------------------------------------------------------------===//
#ifndef GMC_PASSES_AUTODIFF_TRAINING_H
#define GMC_PASSES_AUTODIFF_TRAINING_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>
#include <string>

namespace gmc {

enum class OptimizerKind { Sgd, Momentum, Nesterov, Adam, AdamW, Lion };

/// "sgd", "momentum", "nesterov", "adam", "adamw" or "lion".
llvm::Expected<OptimizerKind> parseOptimizer(llvm::StringRef name);

struct TrainingOptions {
  /// auto, cross-entropy, bce, mse, l1, each maybe with :OUTPUT, or output[:OUTPUT].
  std::string loss = "auto";
  /// Type of the label tensor where it is known already (`gmc grad --label`); otherwise it follows from the loss: int64
  /// classes, or floats of the output's type.
  mlir::RankedTensorType labelType;
  bool bnTrain = true;         ///< BatchNormalization uses batch statistics and moves the running ones
  bool dropout = true;         ///< Dropout drops
  bool inputGradients = false; ///< gradients of float inputs too, as results of role "gradient" under the inputs' names
  bool keepNormalization = false; ///< leave the mode of each normalization and dropout as the file has it

  OptimizerKind optimizer = OptimizerKind::AdamW;
  bool clip = false; ///< scale gradients by their global norm
  bool ema = false;  ///< keep a moving average of the parameters
};

/// What was decided on the way; for messages and metadata.
struct TrainingNotes {
  std::string lossKind;            ///< cross-entropy, bce, mse, l1, output
  std::string lossOutput;          ///< name of the output it is taken of
  std::string labelName;           ///< name of the argument that takes the labels; empty when the loss needs none
  mlir::RankedTensorType labelType; ///< null when there is no label
  bool classification = false;     ///< @eval has a correct_count
  int64_t classes = 0;             ///< of a classification
  int64_t ignoreIndex = -100;      ///< the label that is no class and weighs nothing
  std::map<std::string, int64_t>
      entries;                     ///< of inputs whose values choose one of so many: they are in [-entries, entries)
  std::vector<std::string> notes;  ///< things to tell the user
};

/// The class axis of a cross-entropy over scores of this shape while no label is known: 1, for rank 3 the last, unless
/// the shapes of the graph's inputs say that the last is their length.
int64_t classAxisOf(llvm::ArrayRef<int64_t> scores, llvm::ArrayRef<llvm::ArrayRef<int64_t>> inputs);

/// Adds @micro to the module of `forward` (which stays as it is):
///   (inputs, label, valid_samples, rng, parameters, constants, states)
///     -> (loss_sum tensor<1xT>, valid_count tensor<1xT>, gradients, states)
/// T is f32, f64 where the model is. A label that is a graph input keeps its place among the inputs and gets role
/// "label". valid_samples (tensor<1xi64>) and rng (tensor<4xi64>) are absent where nothing reads them. Errors are
/// reported at `forward` and at ops.
llvm::FailureOr<mlir::func::FuncOp> buildMicro(mlir::func::FuncOp forward, const TrainingOptions &options,
                                               TrainingNotes &notes);

/// The same with the loss sum_k <output_k, R_k> over (output index, name of the argument R_k); R_k have role
/// "cotangent", the count is 1.
llvm::FailureOr<mlir::func::FuncOp> buildCotangentMicro(mlir::func::FuncOp forward, llvm::ArrayRef<unsigned> outputs,
                                                        const TrainingOptions &options);

/// Adds @eval: (inputs, label, valid_samples, parameters, constants, states)
///     -> (outputs, loss_sum, valid_count[, correct_count tensor<1xf32>]).
llvm::FailureOr<mlir::func::FuncOp> buildEval(mlir::func::FuncOp forward, const TrainingOptions &options);

/// Adds @update: (parameters, gradients, states, hyper tensor<16xf32>, valid_count, step_count tensor<1xi64>)
///     -> (parameters, states, step_count).
/// States: momentum.buf/P, adam.m/P and adam.v/P, lion.m/P, ema/P for a parameter P. `micro` says what the gradients
/// are.
llvm::FailureOr<mlir::func::FuncOp> buildUpdate(mlir::func::FuncOp micro, const TrainingOptions &options);

/// Role and name of arguments and results ("" when absent).
llvm::StringRef argRole(mlir::func::FuncOp f, unsigned i);
llvm::StringRef argName(mlir::func::FuncOp f, unsigned i);
llvm::StringRef resultRole(mlir::func::FuncOp f, unsigned i);
llvm::StringRef resultName(mlir::func::FuncOp f, unsigned i);

} // namespace gmc

#endif
