// RUN: gmc-opt %s --emit-kernels | FileCheck %s

// CHECK-LABEL: func.func private @k_host
// CHECK-SAME: (%[[X:.*]]: memref<6xf32> {llvm.noalias}, %[[Y:.*]]: memref<6xf32> {llvm.noalias})
// CHECK: scf.parallel (%[[I:.*]]) =
// CHECK: %[[V:.*]] = memref.load %[[X]][%[[I]]]
// CHECK: %[[N:.*]] = arith.negf %[[V]]
// CHECK: %[[E:.*]] = math.exp %[[N]]
// CHECK: memref.store %[[E]], %[[Y]][%[[I]]]
// CHECK-NOT: plan.kernel
func.func private @k(%x: tensor<6xf32>) -> tensor<6xf32> attributes {plan.kernel} {
  %0 = nn.neg %x : tensor<6xf32>
  %1 = nn.exp %0 : tensor<6xf32>
  return %1 : tensor<6xf32>
}
