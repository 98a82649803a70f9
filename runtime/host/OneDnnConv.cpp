// Convolutions. The library's fast kernels want layouts with blocks of channels, so operands are copied into such
// layouts in the workspace, as many samples at a time as stay in cache, and results are copied back. A 1x1 convolution
// that only mixes channels is a matrix product for each sample on the operands as they lie.

#include "runtime/host/OneDnnCall.h"
#include "runtime/host/ThreadPool.h"

#include <algorithm>

namespace gmc::rt {
namespace {

int64_t product(const std::vector<int64_t> &dims) {
  int64_t result = 1;
  for (int64_t dim : dims)
    result *= dim;
  return result;
}

/// One of the three tensors of a convolution, for a number of samples: as it lies and as the library wants it.
struct Tensor {
  dnnl_memory_desc_t plain, packed;
  bool copied = false;
  uint64_t plainBytes = 0, packedBytes = 0;
};

class ConvBuilder {
public:
  using When = OneDnnCall::When;

  ConvBuilder(const OneDnnEngine &engine, CallKind kind, const ConvCall &conv)
      : engine(engine), kind(kind), conv(conv) {}

  std::unique_ptr<OneDnnCall> build() {
    // Lanes, where each gets a sample; else one sequence, and the library divides the work. So it does for large
    // weights, of whose gradient each lane would hold a sum.
    unsigned threads = engine.pool->threads();
    lanes = conv.batch >= threads ? threads : 1;
    bool made = conv.batch >= 1 && describe(1);
    if (made && kind == CallKind::ConvWeightGrad && w.packedBytes > PieceBytes)
      lanes = 1;
    if (made) {
      uint64_t sample = std::max<uint64_t>(1, (x.copied ? x.packedBytes : 0) + (y.copied ? y.packedBytes : 0));
      uint64_t limit = lanes > 1 ? PieceBytes : std::max(4 * PieceBytes, 4 * w.packedBytes);
      samples = largestDivisor(conv.batch, std::min(static_cast<int64_t>(limit / sample), conv.batch / lanes));
      engine.pool->setLibraryThreads(lanes > 1 ? 1 : threads);
      made = describe(samples);
    }
    if (made) {
      call = std::make_unique<OneDnnCall>(engine, conv.batch / samples, lanes);
      call->padding = ratio(x) * ratio(y);
      if (kind == CallKind::ConvWeightGrad)
        emitWeightGrad();
      else
        emitForm();
    }
    engine.pool->setLibraryThreads(threads);
    return std::move(call);
  }

private:
  static double ratio(const Tensor &t) {
    return t.plainBytes ? static_cast<double>(t.packedBytes) / static_cast<double>(t.plainBytes) : 1;
  }

  /// The primitive descriptor and the layouts for `count` samples.
  bool describe(int64_t count) {
    std::vector<int64_t> xDims = joined({count, conv.channels}, conv.in),
                         yDims = joined({count, conv.filters}, conv.out);
    int64_t g = conv.groups;
    std::vector<int64_t> wDims = joined(g == 1 ? std::vector<int64_t>{conv.filters, conv.channels}
                                               : std::vector<int64_t>{g, conv.filters / g, conv.channels / g},
                                        conv.kernel);
    x.plain = plainLayout(engine, xDims);
    w.plain = plainLayout(engine, wDims);
    y.plain = plainLayout(engine, yDims);
    bias = plainLayout(engine, {conv.filters});
    dnnl_memory_desc_t anyX = anyLayout(engine, xDims), anyW = anyLayout(engine, wDims),
                       anyY = anyLayout(engine, yDims);
    std::vector<int64_t> dilates(conv.dilations);
    for (int64_t &d : dilates)
      --d; // the library counts the elements between two taps
    const int64_t *strides = conv.strides.data(), *low = conv.padBegin.data(), *high = conv.padEnd.data();
    auto &dnnl = engine.dnnl;
    dnnl_convolution_desc_t forward, backward;
    bool forwardBias = kind == CallKind::Conv && conv.bias;
    if (dnnl.dilated_convolution_forward_desc_init(&forward, dnnl_forward_training, dnnl_convolution_direct, &anyX,
                                                   &anyW, forwardBias ? &bias : nullptr, &anyY, strides,
                                                   dilates.data(), low, high) != dnnl_success)
      return false;
    desc = std::make_unique<PrimitiveDesc>(engine, &forward);
    if (!*desc)
      return false;
    dnnl_query_t queryX = dnnl_query_src_md, queryW = dnnl_query_weights_md, queryY = dnnl_query_dst_md;
    if (kind != CallKind::Conv) {
      bool input = kind == CallKind::ConvInputGrad;
      (input ? queryX : queryW) = input ? dnnl_query_diff_src_md : dnnl_query_diff_weights_md;
      queryY = dnnl_query_diff_dst_md;
      dnnl_status_t status =
          input ? dnnl.dilated_convolution_backward_data_desc_init(&backward, dnnl_convolution_direct, &anyX, &anyW,
                                                                   &anyY, strides, dilates.data(), low, high)
                : dnnl.dilated_convolution_backward_weights_desc_init(&backward, dnnl_convolution_direct, &anyX, &anyW,
                                                                      nullptr, &anyY, strides, dilates.data(), low,
                                                                      high);
      if (status != dnnl_success)
        return false;
      auto hint = std::move(desc);
      desc = std::make_unique<PrimitiveDesc>(engine, &backward, hint.get());
    }
    if (!*desc || !desc->bounded())
      return false;
    for (auto [tensor, query] : {std::pair(&x, queryX), std::pair(&w, queryW), std::pair(&y, queryY)}) {
      tensor->packed = desc->layout(query);
      tensor->copied = !dnnl.memory_desc_equal(&tensor->plain, &tensor->packed);
      tensor->plainBytes = dnnl.memory_desc_get_size(&tensor->plain);
      tensor->packedBytes = dnnl.memory_desc_get_size(&tensor->packed);
    }
    return true;
  }

  /// Where a piece of operand `operand` lies as the library wants it: in the lane's workspace when it is copied.
  Place piecePlace(const Tensor &t, int operand) {
    return t.copied ? call->take(t.packedBytes, true) : plainPiece(t, operand);
  }
  static Place plainPiece(const Tensor &t, int operand) { return {operand, 0, t.plainBytes}; }

  /// Copies every piece of `t` into or out of its packed form.
  void copyPieces(const Tensor &t, int operand, Place packed, bool out) {
    if (!t.copied)
      return;
    Place plain = plainPiece(t, operand);
    size_t copy = out ? call->addCopy(t.packed, t.plain) : call->addCopy(t.plain, t.packed);
    call->execute(When::Each, copy, out ? std::vector<Place>{packed, plain} : std::vector<Place>{plain, packed});
    call->packedBytes += (t.plainBytes + t.packedBytes) * static_cast<uint64_t>(conv.batch / samples);
  }

  /// From x to y, or the input gradient from y to x.
  void emitForm() {
    bool forward = kind == CallKind::Conv;
    const Tensor &from = forward ? x : y, &to = forward ? y : x;
    int result = conv.bias ? 3 : 2;
    Place weights{1};
    if (w.copied) {
      weights = call->take(w.packedBytes, false);
      call->execute(When::Before, call->addCopy(w.plain, w.packed), {{1}, weights});
      call->packedBytes += w.plainBytes + w.packedBytes;
    }
    Place in = piecePlace(from, 0), out = piecePlace(to, result);
    std::vector<OneDnnCall::Argument> arguments{{forward ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, from.packed},
                                                {DNNL_ARG_WEIGHTS, w.packed}};
    std::vector<Place> places{in, weights};
    if (forward && conv.bias) {
      arguments.push_back({DNNL_ARG_BIAS, bias});
      places.push_back({2});
    }
    arguments.push_back({forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, to.packed});
    places.push_back(out);
    copyPieces(from, 0, in, false);
    call->execute(When::Each, call->add(*desc, arguments), places);
    copyPieces(to, result, out, true);
    if (!forward && conv.bias)
      call->addBias(When::Each, plainPiece(x, result), {2}, samples * conv.channels, conv.channels, product(conv.in));
  }

  /// Each lane adds up its pieces, then the lanes' sums are added.
  void emitWeightGrad() {
    bool several = conv.batch / samples > static_cast<int64_t>(lanes);
    // A result that needs no copy is written where it lies, unless lanes have sums of their own.
    bool direct = !w.copied && lanes == 1;
    Place inX = piecePlace(x, 0), inY = piecePlace(y, 1), sum = direct ? Place{2} : call->take(w.packedBytes, true);
    Place part = several ? call->take(w.packedBytes, true) : sum;
    size_t main = call->add(*desc, {{DNNL_ARG_SRC, x.packed}, {DNNL_ARG_DIFF_DST, y.packed},
                                    {DNNL_ARG_DIFF_WEIGHTS, w.packed}});
    int64_t elements = static_cast<int64_t>(w.packedBytes / sizeof(float));
    call->fixParts();
    copyPieces(x, 0, inX, false);
    copyPieces(y, 1, inY, false);
    call->execute(When::First, main, {inX, inY, sum});
    call->execute(When::Later, main, {inX, inY, part});
    call->accumulate(When::Later, sum, part, elements);
    call->accumulate(When::After, sum, sum, elements);
    if (!direct)
      call->execute(When::After, call->addCopy(w.packed, w.plain), {sum, {2}});
  }

  const OneDnnEngine &engine;
  CallKind kind;
  const ConvCall &conv;
  std::unique_ptr<OneDnnCall> call;
  std::unique_ptr<PrimitiveDesc> desc;
  Tensor x, w, y;
  dnnl_memory_desc_t bias;
  unsigned lanes = 1;
  int64_t samples = 1;
};

/// A convolution that mixes channels position by position: w times x[n], or its transpose times dy[n].
std::unique_ptr<OneDnnCall> prepareChannelMix(const OneDnnEngine &engine, CallKind kind, const ConvCall &conv) {
  auto all = [](const std::vector<int64_t> &list, int64_t value) {
    return std::all_of(list.begin(), list.end(), [&](int64_t v) { return v == value; });
  };
  if (kind == CallKind::ConvWeightGrad || conv.groups != 1 || !all(conv.kernel, 1) || !all(conv.strides, 1) ||
      !all(conv.padBegin, 0) || !all(conv.padEnd, 0))
    return nullptr;
  bool forward = kind == CallKind::Conv;
  MatmulCall m;
  m.m = forward ? conv.filters : conv.channels;
  m.k = forward ? conv.channels : conv.filters;
  m.n = product(conv.in);
  m.transposeA = !forward;
  m.batch = m.batchB = {conv.batch};
  m.batchA = {1};
  int result = conv.bias ? 3 : 2;
  auto call = prepareMatmul(engine, m, {{1}, {0}, {result}});
  if (call && conv.bias)
    call->addBias(OneDnnCall::When::After, {result}, {2}, conv.batch * m.m, m.m, m.n);
  return call;
}

} // namespace

std::unique_ptr<OneDnnCall> prepareConv(const OneDnnEngine &engine, CallKind kind, const ConvCall &conv,
                                        CallForm form) {
  return form == CallForm::Direct ? prepareChannelMix(engine, kind, conv) : ConvBuilder(engine, kind, conv).build();
}

} // namespace gmc::rt
