// RUN: gmc-opt %s --form-kernels | FileCheck %s
// RUN: gmc-opt %s --form-kernels=fuse=false | FileCheck %s --check-prefix=NOFUSE

// Two elementwise ops with one reader each are one kernel, collapsed to one dimension; the scalar is inside it.
// CHECK-LABEL: func.func @chain
// CHECK: %[[V:.*]] = nn.reshape %{{.*}} {shape = array<i64: 6>}
// CHECK: %[[C:.*]] = call @[[K:k_exp_[0-9a-f]+]](%[[V]]) {plan.nodes = ["scale", "grow"], plan.op = "nn.exp", plan.stage = "forward"}
// CHECK: nn.reshape %[[C]] {shape = array<i64: 2, 3>}
// NOFUSE-LABEL: func.func @chain
// NOFUSE: call @k_mul_
// NOFUSE: call @k_exp_
func.func @chain(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.mul %x, %two : tensor<2x3xf32>, tensor<f32> loc("scale")
  %1 = nn.exp %0 : tensor<2x3xf32> loc("grow")
  return %1 : tensor<2x3xf32>
}

// The same computation of another shape with as many elements is the same kernel.
// CHECK-LABEL: func.func @shared
// CHECK: call @[[K]](
func.func @shared(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %two = nn.constant dense<2.0> : tensor<f32>
  %0 = nn.mul %x, %two : tensor<3x2xf32>, tensor<f32>
  %1 = nn.exp %0 : tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// A value with two readers is kept: it is a kernel of its own. A channel broadcast keeps its dimension.
// CHECK-LABEL: func.func @broadcast
// CHECK: call @k_add_{{[0-9a-f]+}}(%{{.*}}, %{{.*}}) {{.*}} : (tensor<4x3x25xf32>, tensor<3x1xf32>) -> tensor<4x3x25xf32>
// CHECK: call @k_tanh_
// CHECK: call @k_neg_
func.func @broadcast(%x: tensor<4x3x5x5xf32>, %b: tensor<3x1x1xf32>) -> (tensor<4x3x5x5xf32>, tensor<4x3x5x5xf32>) {
  %0 = nn.add %x, %b : tensor<4x3x5x5xf32>, tensor<3x1x1xf32>
  %1 = nn.tanh %0 : tensor<4x3x5x5xf32>
  %2 = nn.neg %0 : tensor<4x3x5x5xf32>
  return %1, %2 : tensor<4x3x5x5xf32>, tensor<4x3x5x5xf32>
}

// A splat of a shape that the merging of dimensions changes: the kernel is valid IR (gmc-opt verifies it).
// CHECK-LABEL: func.func @spread
// CHECK: call @[[K4:k_add_[0-9a-f]+]](%{{.*}}) {{.*}} : (tensor<32x1xf32>) -> tensor<32x49xf32>
func.func @spread(%x: tensor<4x8x1x1xf32>) -> tensor<4x8x7x7xf32> {
  %c = nn.constant dense<1.0> : tensor<4x8x7x7xf32>
  %0 = nn.add %x, %c : tensor<4x8x1x1xf32>, tensor<4x8x7x7xf32>
  return %0 : tensor<4x8x7x7xf32>
}

// A cast that is also a result: its other readers load what it stored, and the sum before it is computed once.
// CHECK-LABEL: func.func @shared_cast
// CHECK: %[[CAST:.*]] = call @k_cast_{{[0-9a-f]+}}(%{{.*}}, %{{.*}}) {{.*}} -> tensor<32xf32>
// CHECK: call @k_softmax_{{[0-9a-f]+}}(%{{.*}}) {{.*}} : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NOT: nn.add
// CHECK: return
func.func @shared_cast(%x: tensor<4x8xbf16>, %y: tensor<4x8xbf16>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %0 = nn.add %x, %y : tensor<4x8xbf16>, tensor<4x8xbf16>
  %1 = nn.cast %0 {to = f32} : (tensor<4x8xbf16>) -> tensor<4x8xf32>
  %2 = nn.softmax %1 {axis = 1 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  return %1, %2 : tensor<4x8xf32>, tensor<4x8xf32>
}

// CHECK: func.func private @[[K]](%{{.*}}: tensor<6xf32>) -> tensor<6xf32> attributes {plan.kernel}
// CHECK-NEXT: nn.constant dense<2.0
// CHECK-NEXT: nn.mul
// CHECK-NEXT: nn.exp
// CHECK: func.func private @[[K4]]
// CHECK-NEXT: nn.constant dense<1.000000e+00> : tensor<32x49xf32>
// CHECK-NEXT: nn.add %arg0, %{{.*}} : tensor<32x1xf32>, tensor<32x49xf32>
