// RUN: gmc-opt %s --apply-precision=precision=bf16 -split-input-file | FileCheck %s
// RUN: gmc-opt %s --apply-precision=precision=fp16 -split-input-file | FileCheck %s --check-prefix=FP16
// RUN: gmc-opt %s --apply-precision=precision=fp32 -split-input-file | FileCheck %s --check-prefix=FP32

// A low op, an elementwise chain behind it (one region, one rounding), and results that keep their types. The bias is read as
// it is; the weight's copy is made once for both of its readers.
// FP32-NOT: bf16
// CHECK-LABEL: func @layer
// CHECK-SAME: %[[X:[^:]*]]: tensor<4x8xf32>, %[[W:[^:]*]]: tensor<8x2xf32> {{[^,]*, [^,]*}}, %[[B:[^:]*]]: tensor<2xf32>
// CHECK: %[[HALF:.*]] = nn.constant dense<3.000000e-01> : tensor<f32>
// CHECK: %[[XL:.*]] = nn.cast %[[X]] {to = bf16}
// CHECK: %[[WL:.*]] = nn.cast %[[W]] {to = bf16}
// CHECK: %[[Y:.*]] = nn.matmul %[[XL]], %[[WL]] : (tensor<4x8xbf16>, tensor<8x2xbf16>) -> tensor<4x2xbf16>
// CHECK: %[[A:.*]] = nn.fused(%[[Y]], %[[B]], %[[HALF]]) : (tensor<4x2xbf16>, tensor<2xf32>, tensor<f32>) -> tensor<4x2xbf16> {
// CHECK-NEXT: ^bb0(%[[YS:.*]]: bf16, %[[BS:.*]]: f32, %[[HS:.*]]: f32):
// CHECK-NEXT: %[[WIDE:.*]] = arith.extf %[[YS]] : bf16 to f32
// CHECK-NEXT: %[[SUM:.*]] = arith.addf %[[WIDE]], %[[BS]] : f32
// CHECK: %[[RELU:.*]] = arith.maximumf %[[SUM]],
// CHECK-NEXT: %[[SCALED:.*]] = arith.mulf %[[RELU]], %[[HS]] : f32
// CHECK-NEXT: %[[R:.*]] = arith.truncf %[[SCALED]] : f32 to bf16
// CHECK-NEXT: nn.yield %[[R]] : bf16
// A sum is taken in fp32; the cast is shared with the result.
// CHECK: %[[AW:.*]] = nn.cast %[[A]] {to = f32}
// CHECK: %[[S:.*]] = nn.reduce_sum %[[AW]] {{.*}} -> tensor<2xf32>
// A gradient leaves in fp32, right where it is ready.
// CHECK: %[[DX:.*]] = nn.matmul %[[A]], %[[WL]] {nn.backward, transpose_b = true}
// CHECK: %[[DW:.*]] = nn.matmul %[[XL]], %[[A]] {nn.backward, transpose_a = true}
// CHECK-NEXT: %[[DWW:.*]] = nn.cast %[[DW]] {nn.backward, to = f32}
// CHECK: return %[[AW]], %[[S]], {{.*}}, %[[DWW]] : tensor<4x2xf32>, tensor<2xf32>, tensor<4x8xf32>, tensor<8x2xf32>
// FP16-LABEL: func @layer
// FP16: nn.matmul {{.*}} (tensor<4x8xf16>, tensor<8x2xf16>) -> tensor<4x2xf16>
func.func @layer(%x: tensor<4x8xf32>, %w: tensor<8x2xf32> {nn.name = "w", nn.role = "parameter"},
                 %b: tensor<2xf32> {nn.name = "b", nn.role = "parameter"})
    -> (tensor<4x2xf32>, tensor<2xf32>, tensor<4x8xf32>, tensor<8x2xf32>) {
  %half = nn.constant dense<0.3> : tensor<f32>
  %0 = nn.matmul %x, %w : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  %1 = nn.add %0, %b : tensor<4x2xf32>, tensor<2xf32>
  %2 = nn.relu %1 : tensor<4x2xf32>
  %3 = nn.mul %2, %half : tensor<4x2xf32>, tensor<f32>
  %4 = nn.reduce_sum %3 {axes = array<i64: 0>} : (tensor<4x2xf32>) -> tensor<2xf32>
  %5 = nn.matmul %3, %w {nn.backward, transpose_b = true} : (tensor<4x2xf32>, tensor<8x2xf32>) -> tensor<4x8xf32>
  %6 = nn.matmul %x, %3 {nn.backward, transpose_a = true} : (tensor<4x8xf32>, tensor<4x2xf32>) -> tensor<8x2xf32>
  return %3, %4, %5, %6 : tensor<4x2xf32>, tensor<2xf32>, tensor<4x8xf32>, tensor<8x2xf32>
}

// -----

// What two read is rounded where it is stored; a residual stream in fp32 stays there.
// CHECK-LABEL: func @residual
// CHECK-SAME: %[[X:[^:]*]]: tensor<4x4xf32>
// CHECK: %[[Y:.*]] = nn.matmul
// CHECK: %[[G:.*]] = nn.fused(%[[Y]]) : (tensor<4x4xbf16>) -> tensor<4x4xbf16>
// CHECK: %[[SUM:.*]] = nn.fused(%[[X]], %[[G]]) : (tensor<4x4xf32>, tensor<4x4xbf16>) -> tensor<4x4xf32>
// CHECK: %[[E:.*]] = nn.fused(%[[G]]) : (tensor<4x4xbf16>) -> tensor<4x4xf32>
// CHECK: math.exp
// CHECK: return %[[SUM]], %[[E]]
func.func @residual(%x: tensor<4x4xf32>, %w: tensor<4x4xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<4x4xf32>, tensor<4x4xf32>) {
  %0 = nn.matmul %x, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = nn.tanh %0 : tensor<4x4xf32>
  %2 = nn.add %x, %1 : tensor<4x4xf32>, tensor<4x4xf32>
  %3 = nn.exp %1 : tensor<4x4xf32>
  return %2, %3 : tensor<4x4xf32>, tensor<4x4xf32>
}

// -----

// Statistics, scale and bias of a normalization stay fp32 while its data follow; a tied weight is rounded before its
// transposition; a gather of a parameter stays fp32; integers are left alone.
// CHECK-LABEL: func @mixed
// CHECK-SAME: %[[X:[^:]*]]: tensor<2x3x8x8xf32>, %[[K:[^:]*]]: tensor<3x3x1x1xf32> {{[^,]*, [^,]*}}, %[[C:[^:]*]]: tensor<3xf32>
// CHECK: %[[Y:.*]] = nn.conv {{.*}} -> tensor<2x3x8x8xbf16>
// CHECK: nn.batch_norm %[[Y]], %[[C]], %[[C]], %[[C]], %[[C]] {training = true} : (tensor<2x3x8x8xbf16>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<2x3x8x8xbf16>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
// CHECK: nn.gather {{.*}} -> tensor<2x3xf32>
// CHECK: %[[E:.*]] = nn.cast %{{.*}} {to = bf16} : (tensor<5x3xf32>) -> tensor<5x3xbf16>
// CHECK: %[[T:.*]] = nn.transpose %[[E]] {{.*}} : (tensor<5x3xbf16>) -> tensor<3x5xbf16>
// CHECK: nn.matmul %{{.*}}, %[[T]] : {{.*}} -> tensor<2x5xbf16>
func.func @mixed(%x: tensor<2x3x8x8xf32>, %k: tensor<3x3x1x1xf32> {nn.name = "k", nn.role = "parameter"},
                 %c: tensor<3xf32> {nn.name = "c", nn.role = "parameter"},
                 %e: tensor<5x3xf32> {nn.name = "e", nn.role = "parameter"}, %i: tensor<2xi64>)
    -> (tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<2x5xf32>, tensor<2x3xf32>) {
  %0 = nn.conv %x, %k {dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, strides = array<i64: 1, 1>}
      : (tensor<2x3x8x8xf32>, tensor<3x3x1x1xf32>) -> tensor<2x3x8x8xf32>
  %y, %m, %s, %rm, %rv = nn.batch_norm %0, %c, %c, %c, %c {training = true}
      : (tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
      -> (tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
  %2 = nn.gather %e, %i {axis = 0 : i64} : (tensor<5x3xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %3 = nn.transpose %e {perm = array<i64: 1, 0>} : (tensor<5x3xf32>) -> tensor<3x5xf32>
  %4 = nn.matmul %2, %3 : (tensor<2x3xf32>, tensor<3x5xf32>) -> tensor<2x5xf32>
  return %y, %rm, %4, %2 : tensor<2x3x8x8xf32>, tensor<3xf32>, tensor<2x5xf32>, tensor<2x3xf32>
}

// -----

// The weight's gradient reads the layer's input in another shape, and shares its cast.
// CHECK-LABEL: func @reshaped
// CHECK-SAME: %[[X:[^:]*]]: tensor<2x3x8xf32>
// CHECK: %[[XL:.*]] = nn.cast %[[X]] {to = bf16} : (tensor<2x3x8xf32>) -> tensor<2x3x8xbf16>
// CHECK: %[[Y:.*]] = nn.matmul %[[XL]], %{{.*}} -> tensor<2x3x4xbf16>
// CHECK-NEXT: nn.cast %[[Y]] {to = f32}
// CHECK-NEXT: %[[YR:.*]] = nn.reshape %[[Y]] {nn.backward, {{.*}} -> tensor<6x4xbf16>
// CHECK-NEXT: %[[XR:.*]] = nn.reshape %[[XL]] {nn.backward, {{.*}} -> tensor<6x8xbf16>
// CHECK-NEXT: nn.matmul %[[XR]], %[[YR]] {nn.backward, transpose_a = true} : {{.*}} -> tensor<8x4xbf16>
func.func @reshaped(%x: tensor<2x3x8xf32>, %w: tensor<8x4xf32> {nn.name = "w", nn.role = "parameter"})
    -> (tensor<2x3x4xf32>, tensor<8x4xf32> {nn.name = "w", nn.role = "gradient"}) {
  %0 = nn.matmul %x, %w : (tensor<2x3x8xf32>, tensor<8x4xf32>) -> tensor<2x3x4xf32>
  %1 = nn.reshape %x {nn.backward, shape = array<i64: 6, 8>} : (tensor<2x3x8xf32>) -> tensor<6x8xf32>
  %2 = nn.reshape %0 {nn.backward, shape = array<i64: 6, 4>} : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  %3 = nn.matmul %1, %2 {nn.backward, transpose_a = true} : (tensor<6x8xf32>, tensor<6x4xf32>) -> tensor<8x4xf32>
  return %0, %3 : tensor<2x3x4xf32>, tensor<8x4xf32>
}
