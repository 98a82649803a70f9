// RUN: gmc-opt %s -split-input-file -verify-diagnostics

func.func @channels(%x: tensor<2x3x8x8xf32>, %w: tensor<16x4x3x3xf32>) {
  // expected-error @+2 {{weight 'tensor<16x4x3x3xf32>' sees 4 channels, the input has 3 in 1 group(s)}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x8x8xf32>, tensor<16x4x3x3xf32>) -> tensor<2x16x6x6xf32>
  return
}

// -----

func.func @does_not_fit(%x: tensor<2x3x8x2xf32>, %w: tensor<16x3x3x3xf32>) {
  // expected-error @+2 {{a window of 3 does not fit into spatial dimension 1 of size 2 padded by 0 and 0}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x8x2xf32>, tensor<16x3x3x3xf32>) -> tensor<2x16x6x1xf32>
  return
}

// -----

func.func @groups(%x: tensor<2x3x8x8xf32>, %w: tensor<16x1x3x3xf32>) {
  // expected-error @+2 {{group 2 does not divide 3 input and 16 output channels}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.conv %x, %w {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, group = 2 : i64}
      : (tensor<2x3x8x8xf32>, tensor<16x1x3x3xf32>) -> tensor<2x16x6x6xf32>
  return
}

// -----

func.func @bias(%x: tensor<2x3x8x8xf32>, %w: tensor<16x3x3x3xf32>, %b: tensor<3xf32>) {
  // expected-error @+2 {{bias 'tensor<3xf32>' does not fit 16 output channels of 'f32'}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.conv %x, %w, %b {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x8x8xf32>, tensor<16x3x3x3xf32>, tensor<3xf32>) -> tensor<2x16x6x6xf32>
  return
}

// -----

func.func @strides(%x: tensor<2x3x8x8xf32>, %w: tensor<16x3x3x3xf32>) {
  // expected-error @+2 {{must have 1, 1, 1 and 2 entries for each of 2 spatial dimensions}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x8x8xf32>, tensor<16x3x3x3xf32>) -> tensor<2x16x6x6xf32>
  return
}

// -----

func.func @gradient_shape(%x: tensor<2x3x8x8xf32>, %dy: tensor<2x16x7x8xf32>) {
  // expected-error @+2 {{output gradient 'tensor<2x16x7x8xf32>' is not of the convolution's output shape 'tensor<2x16x8x8xf32>'}}
  // expected-error @+1 {{failed to infer returned types}}
  %dw = nn.conv_weight_grad %x, %dy {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>,
      pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x8x8xf32>, tensor<2x16x7x8xf32>) -> tensor<16x3x3x3xf32>
  return
}

// -----

func.func @nothing_left(%x: tensor<2x16x1x1xf32>, %w: tensor<16x8x3x3xf32>) {
  // expected-error @+2 {{pads 2 and 1 leave nothing of spatial dimension 0}}
  // expected-error @+1 {{failed to infer returned types}}
  %y = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 2, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<2x16x1x1xf32>, tensor<16x8x3x3xf32>) -> tensor<2x8x1x1xf32>
  return
}
