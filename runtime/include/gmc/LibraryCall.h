// What a step may ask of a library, without naming one: the compiler's ops describe themselves with it, a component of
// the runtime that knows one library answers. GmcStep.libraryArgs is a PlannedCall, encoded.
#ifndef GMC_LIBRARYCALL_H
#define GMC_LIBRARYCALL_H

#include "gmc/Error.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gmc {

/// The computations, on contiguous row-major f32 operands; operands in brackets may be missing.
///   Conv            x, w, [bias] -> y
///   ConvInputGrad   dy, w, [bias] -> dx     the bias has one element for each channel of dx
///   ConvWeightGrad  x, dy -> dw
///   Matmul          a, b, [bias] -> c
///   Pool            x -> y
///   PoolGrad        of maxima x, dy -> dx; of means dy -> dx
///   BatchNorm       x, scale, bias, mean, variance -> y, m, i, new mean, new variance
///   BatchNormGrad   x, scale, m, i, dy -> dx, dscale, dbias
///   LayerNorm       x, [scale], [bias] -> y, m, i
///   LayerNormGrad   x, m, i, dy, [scale] -> dx
/// m and i are the mean and 1 / sqrt(variance + epsilon) that y was computed with. Of a pool and a normalization,
/// results may lie where operands of the same size do: y over x, dx over dy or x, new statistics over the old ones.
enum class CallKind : int64_t {
  Conv = 1,
  ConvInputGrad,
  ConvWeightGrad,
  Matmul,
  Pool,
  PoolGrad,
  BatchNorm,
  BatchNormGrad,
  LayerNorm,
  LayerNormGrad
};

/// y[n, m, o] = sum over c, k of x[n, c, o * stride - padBegin + k * dilation] * w[m, c, k] + bias[m], and its two
/// derivatives. `in` and `out` are the spatial shapes of x and y, w is [filters, channels / groups, kernel...].
struct ConvCall {
  int64_t batch = 1, channels = 1, filters = 1, groups = 1, bias = 0;
  std::vector<int64_t> in, out, kernel, strides, dilations, padBegin, padEnd;
};

/// c[i] (m x n) = op(a[i]) * op(b[i]) + bias[n] for i over `batch`; batchA and batchB are of its rank, 1 where
/// broadcast. A transposed operand is stored as k x m, or n x k.
struct MatmulCall {
  int64_t m = 1, n = 1, k = 1, transposeA = 0, transposeB = 0, bias = 0;
  std::vector<int64_t> batch, batchA, batchB;
};

/// Windows lie as in a convolution. The largest element of each, or the mean: over the elements inside x, or over all
/// positions of the window.
struct PoolCall {
  enum Result : int64_t { Max, Mean, MeanOfPadded };
  int64_t batch = 1, channels = 1, result = Max;
  std::vector<int64_t> in, out, kernel, strides, padBegin, padEnd;
};

/// BatchNorm: x is [batch, channels, inner], and what is normalized is each channel: by its own mean and variance
/// (`training`), which also move the running ones, new = old * momentum + batch * (1 - momentum), or by the running
/// ones. LayerNorm: x is [batch, channels], and what is normalized is each row.
struct NormCall {
  int64_t batch = 1, channels = 1, inner = 1, training = 1, scale = 1, bias = 1;
  double epsilon = 0, momentum = 0;
};

/// A call and its sizes as plain numbers.
struct LibraryCall {
  CallKind kind;
  std::vector<int64_t> sizes;

  static LibraryCall make(CallKind kind, const ConvCall &conv);
  static LibraryCall make(const MatmulCall &matmul);
  static LibraryCall make(CallKind kind, const PoolCall &pool);
  static LibraryCall make(CallKind kind, const NormCall &norm);
  ConvCall conv() const;
  MatmulCall matmul() const;
  PoolCall pool() const;
  NormCall norm() const;

  size_t operandCount() const;
  size_t resultCount() const;
};

/// How a library gets its operands. Direct: as they lie. Packed: copied into layouts of the library's own in the
/// workspace.
enum class CallForm : int64_t { Direct = 1, Packed = 2 };

/// A call as a plan fixes it: with the implementation that its numbers come from.
struct PlannedCall {
  LibraryCall call;
  CallForm form = CallForm::Direct;
  int64_t scratchBytes = 0;   ///< of the workspace that the plan has for it
  int64_t version = 0;        ///< of the library, major * 10^6 + minor * 10^3 + patch
  int64_t isa = 0;            ///< the library's own number for the instruction set it may use
  int64_t implementation = 0; ///< a hash of the names of the kernels that it runs
  /// Where operands, results and workspace are; without a workspace one entry less. In GmcStep: among its operands. In
  /// the IR of a plan: among all that the launch names, results that overwrite operands having a place of their own.
  std::vector<int64_t> positions;

  /// Kind, form and sizes: what calls have in common that differ only in where their operands lie.
  std::vector<int64_t> shape() const;

  std::vector<int64_t> encode() const;
  static PlannedCall decode(const int64_t *args, uint32_t count);
};

namespace detail {

/// Lists as their length and their elements.
inline void append(std::vector<int64_t> &to, const std::vector<int64_t> &list) {
  to.push_back(static_cast<int64_t>(list.size()));
  to.insert(to.end(), list.begin(), list.end());
}

class Reader {
public:
  Reader(const int64_t *data, size_t count) : data(data), left(count) {}

  int64_t number() {
    if (!left)
      throw rt::internalError("the description of a library call is cut off");
    --left;
    return *data++;
  }
  std::vector<int64_t> list() {
    int64_t count = number();
    if (count < 0 || static_cast<uint64_t>(count) > left)
      throw rt::internalError("the description of a library call is cut off");
    std::vector<int64_t> values(data, data + count);
    data += count;
    left -= static_cast<size_t>(count);
    return values;
  }

private:
  const int64_t *data;
  size_t left;
};

} // namespace detail

inline LibraryCall LibraryCall::make(CallKind kind, const ConvCall &c) {
  LibraryCall call{kind, {c.batch, c.channels, c.filters, c.groups, c.bias}};
  for (const auto *list : {&c.in, &c.out, &c.kernel, &c.strides, &c.dilations, &c.padBegin, &c.padEnd})
    detail::append(call.sizes, *list);
  return call;
}

inline LibraryCall LibraryCall::make(const MatmulCall &m) {
  LibraryCall call{CallKind::Matmul, {m.m, m.n, m.k, m.transposeA, m.transposeB, m.bias}};
  for (const auto *list : {&m.batch, &m.batchA, &m.batchB})
    detail::append(call.sizes, *list);
  return call;
}

inline LibraryCall LibraryCall::make(CallKind kind, const PoolCall &p) {
  LibraryCall call{kind, {p.batch, p.channels, p.result}};
  for (const auto *list : {&p.in, &p.out, &p.kernel, &p.strides, &p.padBegin, &p.padEnd})
    detail::append(call.sizes, *list);
  return call;
}

inline LibraryCall LibraryCall::make(CallKind kind, const NormCall &n) {
  return {kind,
          {n.batch, n.channels, n.inner, n.training, n.scale, n.bias, std::bit_cast<int64_t>(n.epsilon),
           std::bit_cast<int64_t>(n.momentum)}};
}

inline ConvCall LibraryCall::conv() const {
  detail::Reader in(sizes.data(), sizes.size());
  ConvCall c;
  for (int64_t *number : {&c.batch, &c.channels, &c.filters, &c.groups, &c.bias})
    *number = in.number();
  for (auto *list : {&c.in, &c.out, &c.kernel, &c.strides, &c.dilations, &c.padBegin, &c.padEnd})
    *list = in.list();
  return c;
}

inline MatmulCall LibraryCall::matmul() const {
  detail::Reader in(sizes.data(), sizes.size());
  MatmulCall m;
  for (int64_t *number : {&m.m, &m.n, &m.k, &m.transposeA, &m.transposeB, &m.bias})
    *number = in.number();
  for (auto *list : {&m.batch, &m.batchA, &m.batchB})
    *list = in.list();
  return m;
}

inline PoolCall LibraryCall::pool() const {
  detail::Reader in(sizes.data(), sizes.size());
  PoolCall p;
  for (int64_t *number : {&p.batch, &p.channels, &p.result})
    *number = in.number();
  for (auto *list : {&p.in, &p.out, &p.kernel, &p.strides, &p.padBegin, &p.padEnd})
    *list = in.list();
  return p;
}

inline NormCall LibraryCall::norm() const {
  detail::Reader in(sizes.data(), sizes.size());
  NormCall n;
  for (int64_t *number : {&n.batch, &n.channels, &n.inner, &n.training, &n.scale, &n.bias})
    *number = in.number();
  for (double *number : {&n.epsilon, &n.momentum})
    *number = std::bit_cast<double>(in.number());
  return n;
}

inline size_t LibraryCall::operandCount() const {
  switch (kind) {
  case CallKind::Conv:
  case CallKind::ConvInputGrad:
    return conv().bias ? 3 : 2;
  case CallKind::Matmul:
    return matmul().bias ? 3 : 2;
  case CallKind::ConvWeightGrad:
    return 2;
  case CallKind::Pool:
    return 1;
  case CallKind::PoolGrad:
    return pool().result == PoolCall::Max ? 2 : 1;
  case CallKind::BatchNorm:
  case CallKind::BatchNormGrad:
    return 5;
  case CallKind::LayerNorm:
    return static_cast<size_t>(1 + norm().scale + norm().bias);
  case CallKind::LayerNormGrad:
    return static_cast<size_t>(4 + norm().scale);
  }
  throw rt::internalError("a library call of an unknown kind");
}

inline size_t LibraryCall::resultCount() const {
  return kind == CallKind::BatchNorm                                       ? 5
         : kind == CallKind::BatchNormGrad || kind == CallKind::LayerNorm ? 3
                                                                           : 1;
}

inline std::vector<int64_t> PlannedCall::shape() const {
  std::vector<int64_t> args{static_cast<int64_t>(call.kind), static_cast<int64_t>(form)};
  detail::append(args, call.sizes);
  return args;
}

inline std::vector<int64_t> PlannedCall::encode() const {
  std::vector<int64_t> args{static_cast<int64_t>(call.kind), static_cast<int64_t>(form), scratchBytes, version, isa,
                            implementation};
  detail::append(args, positions);
  detail::append(args, call.sizes);
  return args;
}

inline PlannedCall PlannedCall::decode(const int64_t *args, uint32_t count) {
  detail::Reader in(args, count);
  PlannedCall p;
  p.call.kind = static_cast<CallKind>(in.number());
  p.form = static_cast<CallForm>(in.number());
  for (int64_t *number : {&p.scratchBytes, &p.version, &p.isa, &p.implementation})
    *number = in.number();
  p.positions = in.list();
  p.call.sizes = in.list();
  return p;
}

} // namespace gmc

#endif
