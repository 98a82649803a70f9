// RUN: gmc-opt %s --form-kernels -o /dev/null
// One function a class of kernel; sizes that leave remainders of tiles, vectors and blocks.

func.func @matmul(%a: tensor<67x21xf32>, %b: tensor<21x37xf32>, %c: tensor<37xf32>) -> tensor<67x37xf32> {
  %0 = nn.matmul %a, %b bias %c : (tensor<67x21xf32>, tensor<21x37xf32>, tensor<37xf32>) -> tensor<67x37xf32>
  return %0 : tensor<67x37xf32>
}
func.func @matmul_wide(%a: tensor<3x36x52xf32>, %b: tensor<3x40x52xf32>) -> tensor<3x36x40xf32> {
  %0 = nn.matmul %a, %b {transpose_b = true} : (tensor<3x36x52xf32>, tensor<3x40x52xf32>) -> tensor<3x36x40xf32>
  return %0 : tensor<3x36x40xf32>
}
func.func @matmul_slices(%a: tensor<1000x24xf32>, %b: tensor<1000x20xf32>) -> tensor<24x20xf32> {
  %0 = nn.matmul %a, %b {transpose_a = true} : (tensor<1000x24xf32>, tensor<1000x20xf32>) -> tensor<24x20xf32>
  return %0 : tensor<24x20xf32>
}
func.func @matmul_half(%a: tensor<40x52xf16>, %b: tensor<52x36xf16>) -> tensor<40x36xf16> {
  %0 = nn.matmul %a, %b : (tensor<40x52xf16>, tensor<52x36xf16>) -> tensor<40x36xf16>
  return %0 : tensor<40x36xf16>
}
func.func @conv(%x: tensor<2x6x13x11xf32>, %w: tensor<20x3x3x3xf32>, %b: tensor<20xf32>) -> tensor<2x20x7x6xf32> {
  %0 = nn.conv %x, %w, %b {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, group = 2 : i64}
      : (tensor<2x6x13x11xf32>, tensor<20x3x3x3xf32>, tensor<20xf32>) -> tensor<2x20x7x6xf32>
  return %0 : tensor<2x20x7x6xf32>
}
func.func @conv_transpose(%x: tensor<2x16x5x5xf32>, %w: tensor<16x8x4x4xf32>) -> tensor<2x8x10x10xf32> {
  %0 = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<2x16x5x5xf32>, tensor<16x8x4x4xf32>) -> tensor<2x8x10x10xf32>
  return %0 : tensor<2x8x10x10xf32>
}
func.func @conv_weight_grad(%x: tensor<2x3x18x18xf32>, %dy: tensor<2x16x18x18xf32>) -> tensor<16x3x3x3xf32> {
  %0 = nn.conv_weight_grad %x, %dy {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
      dilations = array<i64: 1, 1>} : (tensor<2x3x18x18xf32>, tensor<2x16x18x18xf32>) -> tensor<16x3x3x3xf32>
  return %0 : tensor<16x3x3x3xf32>
}
func.func @conv_channels_past_the_last(%a: tensor<1x30x7x9xf16>, %b: tensor<12x30x3x3xf16>) -> tensor<1x12x4x5xf16> {
  %0 = nn.conv %a, %b {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x30x7x9xf16>, tensor<12x30x3x3xf16>) -> tensor<1x12x4x5xf16>
  return %0 : tensor<1x12x4x5xf16>
}
func.func @conv_transpose_channels_past_the_last(%a: tensor<1x30x4x5xf16>, %b: tensor<30x12x3x3xf16>) -> tensor<1x12x7x9xf16> {
  %0 = nn.conv_transpose %a, %b {strides = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x30x4x5xf16>, tensor<30x12x3x3xf16>) -> tensor<1x12x7x9xf16>
  return %0 : tensor<1x12x7x9xf16>
}
func.func @conv_weight_grad_strided(%a: tensor<1x3x13x28xf16>, %b: tensor<1x8x7x14xf16>) -> tensor<8x3x7x7xf16> {
  %0 = nn.conv_weight_grad %a, %b {kernel = array<i64: 7, 7>, strides = array<i64: 2, 2>, pads = array<i64: 3, 3, 3, 3>, dilations = array<i64: 1, 1>}
      : (tensor<1x3x13x28xf16>, tensor<1x8x7x14xf16>) -> tensor<8x3x7x7xf16>
  return %0 : tensor<8x3x7x7xf16>
}
func.func @conv_weight_grad_pointwise_odd(%a: tensor<1x6x7x7xf16>, %b: tensor<1x8x7x7xf16>) -> tensor<8x6x1x1xf16> {
  %0 = nn.conv_weight_grad %a, %b {kernel = array<i64: 1, 1>, strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<1x6x7x7xf16>, tensor<1x8x7x7xf16>) -> tensor<8x6x1x1xf16>
  return %0 : tensor<8x6x1x1xf16>
}
func.func @conv_weight_grad_lines_7(%a: tensor<1x2x7x7xf16>, %b: tensor<1x8x7x7xf16>) -> tensor<8x2x3x3xf16> {
  %0 = nn.conv_weight_grad %a, %b {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x2x7x7xf16>, tensor<1x8x7x7xf16>) -> tensor<8x2x3x3xf16>
  return %0 : tensor<8x2x3x3xf16>
}
func.func @conv_weight_grad_lines_14(%a: tensor<1x2x3x14xf16>, %b: tensor<1x8x3x14xf16>) -> tensor<8x2x3x3xf16> {
  %0 = nn.conv_weight_grad %a, %b {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x2x3x14xf16>, tensor<1x8x3x14xf16>) -> tensor<8x2x3x3xf16>
  return %0 : tensor<8x2x3x3xf16>
}
func.func @conv_weight_grad_lines_16(%a: tensor<1x2x4x16xf16>, %b: tensor<1x8x4x16xf16>) -> tensor<8x2x3x5xf16> {
  %0 = nn.conv_weight_grad %a, %b {kernel = array<i64: 3, 5>, strides = array<i64: 1, 1>, pads = array<i64: 1, 2, 1, 2>, dilations = array<i64: 1, 1>}
      : (tensor<1x2x4x16xf16>, tensor<1x8x4x16xf16>) -> tensor<8x2x3x5xf16>
  return %0 : tensor<8x2x3x5xf16>
}
func.func @conv_weight_grad_cropped(%a: tensor<1x2x9x11xf16>, %b: tensor<1x8x7x10xf16>) -> tensor<8x2x3x3xf16> {
  %0 = nn.conv_weight_grad %a, %b {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: -1, 2, 1, -1>, dilations = array<i64: 1, 1>}
      : (tensor<1x2x9x11xf16>, tensor<1x8x7x10xf16>) -> tensor<8x2x3x3xf16>
  return %0 : tensor<8x2x3x3xf16>
}
func.func @conv_weight_grad_short(%a: tensor<1x2x2x2xf16>, %b: tensor<1x8x2x2xf16>) -> tensor<8x2x3x3xf16> {
  %0 = nn.conv_weight_grad %a, %b {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x2x2x2xf16>, tensor<1x8x2x2xf16>) -> tensor<8x2x3x3xf16>
  return %0 : tensor<8x2x3x3xf16>
}
func.func @conv_weight_grad_depthwise(%x: tensor<2x6x9x9xf32>, %dy: tensor<2x6x9x9xf32>) -> tensor<6x1x3x3xf32> {
  %0 = nn.conv_weight_grad %x, %dy {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>,
      dilations = array<i64: 1, 1>, group = 6 : i64} : (tensor<2x6x9x9xf32>, tensor<2x6x9x9xf32>) -> tensor<6x1x3x3xf32>
  return %0 : tensor<6x1x3x3xf32>
}
func.func @elementwise(%x: tensor<3x67xf32>, %b: tensor<67xf32>) -> tensor<3x67xf32> {
  %0 = nn.add %x, %b : tensor<3x67xf32>, tensor<67xf32>
  %1 = nn.tanh %0 : tensor<3x67xf32>
  return %1 : tensor<3x67xf32>
}
func.func @reduction(%x: tensor<5x301xf32>) -> (tensor<5xf32>, tensor<301xf32>) {
  %0 = nn.reduce_sum %x {axes = array<i64: 1>} : (tensor<5x301xf32>) -> tensor<5xf32>
  %1 = nn.reduce_sum %x {axes = array<i64: 0>} : (tensor<5x301xf32>) -> tensor<301xf32>
  return %0, %1 : tensor<5xf32>, tensor<301xf32>
}
func.func @transpose(%x: tensor<35x67xf32>) -> tensor<67x35xf32> {
  %0 = nn.transpose %x {perm = array<i64: 1, 0>} : (tensor<35x67xf32>) -> tensor<67x35xf32>
  return %0 : tensor<67x35xf32>
}
func.func @softmax(%x: tensor<7x101xf32>) -> tensor<7x101xf32> {
  %0 = nn.softmax %x {axis = 1 : i64} : (tensor<7x101xf32>) -> tensor<7x101xf32>
  return %0 : tensor<7x101xf32>
}
func.func @max_pool(%x: tensor<2x3x9x9xf32>) -> tensor<2x3x4x4xf32> {
  %0 = nn.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x9x9xf32>) -> tensor<2x3x4x4xf32>
  return %0 : tensor<2x3x4x4xf32>
}
func.func @pool_gradients(%x: tensor<2x3x9x9xf32>, %g: tensor<2x3x4x4xf32>) -> (tensor<2x3x9x9xf32>, tensor<2x3x9x9xf32>) {
  %0 = nn.max_pool_grad %x, %g {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>}
      : (tensor<2x3x9x9xf32>, tensor<2x3x4x4xf32>) -> tensor<2x3x9x9xf32>
  %1 = nn.avg_pool_grad %g {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, input = array<i64: 9, 9>}
      : (tensor<2x3x4x4xf32>) -> tensor<2x3x9x9xf32>
  return %0, %1 : tensor<2x3x9x9xf32>, tensor<2x3x9x9xf32>
}
func.func @pool_rows(%x: tensor<1x3x70x71xf32>, %g: tensor<1x3x70x71xf32>) -> (tensor<1x3x70x71xf32>, tensor<1x3x70x71xf32>) {
  %0 = nn.avg_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x3x70x71xf32>) -> tensor<1x3x70x71xf32>
  %1 = nn.max_pool_grad %x, %g {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>}
      : (tensor<1x3x70x71xf32>, tensor<1x3x70x71xf32>) -> tensor<1x3x70x71xf32>
  return %0, %1 : tensor<1x3x70x71xf32>, tensor<1x3x70x71xf32>
}
func.func @plane_losses(%x: tensor<1x2x210x157xf32>, %l: tensor<1x210x157xi64>, %g: tensor<1xf32>) -> (tensor<1xf32>, tensor<1x2x210x157xf32>, tensor<1xf32>) {
  %0:2 = nn.softmax_cross_entropy %x, %l {class_axis = 1 : i64} : (tensor<1x2x210x157xf32>, tensor<1x210x157xi64>) -> (tensor<1xf32>, tensor<1xf32>)
  %1 = nn.softmax_cross_entropy_grad %x, %l, %g {class_axis = 1 : i64} : (tensor<1x2x210x157xf32>, tensor<1x210x157xi64>, tensor<1xf32>) -> tensor<1x2x210x157xf32>
  %2 = nn.count_correct %x, %l {class_axis = 1 : i64} : (tensor<1x2x210x157xf32>, tensor<1x210x157xi64>) -> tensor<1xf32>
  return %0#0, %1, %2 : tensor<1xf32>, tensor<1x2x210x157xf32>, tensor<1xf32>
}
func.func @layer_norm(%x: tensor<7x101xf32>, %w: tensor<101xf32>, %g: tensor<7x101xf32>) -> (tensor<7x101xf32>, tensor<7x101xf32>, tensor<101xf32>) {
  %y, %m, %i = nn.layer_norm %x scale %w {axis = 1 : i64} : (tensor<7x101xf32>, tensor<101xf32>) -> (tensor<7x101xf32>, tensor<7xf32>, tensor<7xf32>)
  %d = nn.layer_norm_grad %x, %m, %i, %g scale %w {axis = 1 : i64}
      : (tensor<7x101xf32>, tensor<7xf32>, tensor<7xf32>, tensor<7x101xf32>, tensor<101xf32>) -> tensor<7x101xf32>
  %p, %q = nn.layer_norm_param_grad %x, %m, %i, %g {axis = 1 : i64}
      : (tensor<7x101xf32>, tensor<7xf32>, tensor<7xf32>, tensor<7x101xf32>) -> (tensor<101xf32>, tensor<101xf32>)
  return %y, %d, %p : tensor<7x101xf32>, tensor<7x101xf32>, tensor<101xf32>
}
func.func @batch_norm(%x: tensor<5x3x7x7xf32>, %s: tensor<3xf32>) -> tensor<5x3x7x7xf32> {
  %0:5 = nn.batch_norm %x, %s, %s, %s, %s {training = true} : (tensor<5x3x7x7xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
      -> (tensor<5x3x7x7xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>)
  return %0#0 : tensor<5x3x7x7xf32>
}
func.func @long_row(%x: tensor<1x20001xf32>, %y: tensor<1x20001xf32>) -> (tensor<1x20001xf32>, tensor<1xf32>) {
  %0 = nn.softmax %x {axis = 1 : i64} : (tensor<1x20001xf32>) -> tensor<1x20001xf32>
  %1, %2 = nn.mse_loss %x, %y : (tensor<1x20001xf32>, tensor<1x20001xf32>) -> (tensor<1xf32>, tensor<1xf32>)
  return %0, %1 : tensor<1x20001xf32>, tensor<1xf32>
}
