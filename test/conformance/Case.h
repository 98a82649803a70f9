//===- Case.h - what the parts of the conformance runner share --------------------------------*- C++ -*-===//
#ifndef GMC_TEST_CONFORMANCE_CASE_H
#define GMC_TEST_CONFORMANCE_CASE_H

#include "compiler/Codegen/Jit.h"
#include "compiler/Import/Importer.h"
#include "onnx/onnx_pb.h"

struct Outcome {
  std::string status, reason;
};

struct Case {
  std::string folder;
  std::unique_ptr<gmc::OnnxModel> model;
  std::string op;
  int64_t opset = 0;
  /// The folder's own name.
  std::string name() const { return folder.substr(folder.rfind('/') + 1); }
};

/// A tensor as stored: elements in its own data type. `source` refers to `proto`.
struct Stored {
  std::unique_ptr<onnx::TensorProto> proto;
  gmc::TensorSource source;
  std::vector<char> data;
};

/// `forward` with one more argument for each result in `outputs`, its cotangent; returns the gradients of the arguments
/// in `inputs`. It stands beside `forward` as "backward".
llvm::FailureOr<mlir::func::FuncOp> differentiate(mlir::func::FuncOp forward, llvm::ArrayRef<unsigned> inputs,
                                                  llvm::ArrayRef<unsigned> outputs);
/// Arguments and results of the float type `element` between which the ONNX standard wants derivatives.
void findDifferentiable(mlir::func::FuncOp forward, mlir::Type element, llvm::SmallVectorImpl<unsigned> &inputs,
                        llvm::SmallVectorImpl<unsigned> &outputs);

/// Compares the derivative of sum_k <output_k, R_k> along one direction, from the ops' gradients, with central
/// differences in f64. `forward` was imported in f64. R, the direction and a shift off points without a derivative are
/// random with a fixed seed. "outside" where there is no float input or output; "unsupported" where an op has no
/// gradient.
Outcome checkGradients(mlir::func::FuncOp forward, const llvm::StringMap<Stored> &given,
                       const gmc::WeightStore &weights, const gmc::JitOptions &jit);

#endif
