//===- OpInterfaces.h - the questions a pass may ask an op ------------------------------------*- C++ -*-===//
#ifndef GMC_DIALECTS_INTERFACES_OPINTERFACES_H
#define GMC_DIALECTS_INTERFACES_OPINTERFACES_H

#include "gmc/LibraryCall.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"

namespace gmc {

class KernelBuilder;

/// Whom a kernel is emitted for. Plain: the importer's interpreter, which knows parallel nests, loops and scalars,
/// nothing else.
enum class KernelTarget { Host, Gpu, Plain };
enum class PrecisionPolicy { Low, Fp32, Follow };
enum class CostClass { Elementwise, Reduction, Matmul, Conv, Gather, Transpose };

/// One operation per result element.
int64_t defaultFlops(mlir::Operation *op);
/// Every operand read once, every result written once.
int64_t defaultMemoryBytes(mlir::Operation *op);
/// Bytes of a statically shaped tensor or memref; i1 takes one byte.
int64_t byteSize(mlir::Type type);
/// Bytes of one element; i1 takes one byte.
int64_t elementBytes(mlir::Type elementType);

} // namespace gmc

#include "dialects/Interfaces/OpInterfaces.h.inc"

#endif
