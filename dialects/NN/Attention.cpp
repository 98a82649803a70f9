//===- Attention.cpp - import of Attention (opset 23) as products, mask and softmax --------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/Matmul.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Softmax.h"
#include <cmath>
#include <limits>

using namespace mlir;

namespace gmc::nn {

/// [B, S, heads * D] as [B, heads, S, D]; 4-d inputs have that form already.
static Value splitHeads(ImportNode &n, Value x, int64_t heads) {
  ArrayRef<int64_t> shape = shapeOf(x);
  if (shape.size() == 4)
    return x;
  if (shape.size() != 3 || heads <= 0 || shape[2] % heads) {
    (void)n.error("operand " + Twine(shape.size()) + "-d of " + Twine(shape.empty() ? 0 : shape.back()) +
                  " columns is not made of " + Twine(heads) + " heads");
    return {};
  }
  Value split = reshapeTo(n, x, {shape[0], shape[1], heads, shape[2] / heads});
  return split ? transpose(n.b, n.loc, split, {0, 2, 1, 3}) : split;
}

/// Adds a mask to scores: booleans keep (true) or exclude; a mask shorter than the keys excludes what lies past it.
static Value applyMask(ImportNode &n, Value scores, Value mask) {
  Type element = elementTypeOf(scores);
  Value lowest = n.floatScalar(element, -std::numeric_limits<double>::infinity());
  if (elementTypeOf(mask).isInteger(1))
    return n.create<WhereOp>({mask, scores, lowest});
  if (elementTypeOf(mask) != element) {
    CastOp::Properties p;
    p.to = TypeAttr::get(element);
    mask = n.create<CastOp>({mask}, p);
  }
  return mask ? n.create<AddOp>({scores, mask}) : mask;
}

/// Constant [queries, keys]: true where key <= query + offset.
static Value causalMask(ImportNode &n, int64_t queries, int64_t keys, int64_t offset) {
  SmallVector<bool> values;
  for (int64_t q = 0; q < queries; ++q)
    for (int64_t k = 0; k < keys; ++k)
      values.push_back(k <= q + offset);
  return n.constant(DenseElementsAttr::get(RankedTensorType::get({queries, keys}, n.b.getI1Type()), values));
}

/// Y = softmax(scale * Q K^T + mask) V by heads; fewer key heads than query heads are shared by groups of these.
ImportNode::Results importAttention(ImportNode &n) {
  int64_t heads = n.intAttr("q_num_heads", 0), keyHeads = n.intAttr("kv_num_heads", 0);
  bool flat = n.rank(0) == 3;
  Value q = splitHeads(n, n.in(0), heads), k = splitHeads(n, n.in(1), keyHeads), v = splitHeads(n, n.in(2), keyHeads);
  if (!q || !k || !v)
    return failure();
  int64_t past = 0;
  for (auto [value, input] : {std::pair(&k, 4u), std::pair(&v, 5u)})
    if (n.has(input)) {
      past = n.shape(input)[2];
      *value = concat(n.b, n.loc, {n.in(input), *value}, 2);
    }
  if (n.has(6))
    return n.error("lengths of padded keys (input 6) are not supported");
  ArrayRef<int64_t> qs = shapeOf(q), ks = shapeOf(k), vs = shapeOf(v);
  int64_t batch = qs[0], groups = ks[1] ? qs[1] / ks[1] : 0, queries = qs[2], keys = ks[2];
  if (groups * ks[1] != qs[1] || qs[3] != ks[3] || vs[2] != keys || vs[1] != ks[1])
    return n.error("queries, keys and values do not fit each other");
  Value presentK = k, presentV = v;
  double scale = n.floatAttr("scale", 1.0 / std::sqrt(static_cast<double>(qs[3])));
  int64_t valueSize = vs[3], allHeads = qs[1];

  if (groups > 1) { // [B, H, S, D] as [B, KV, G * S, D]: the heads of a group share one product
    q = reshapeTo(n, q, {batch, ks[1], groups * queries, qs[3]});
  }
  Value scores = q ? matmul(n.b, n.loc, q, k, false, true) : q;
  scores = scores ? n.create<MulOp>({scores, n.floatScalar(elementTypeOf(scores), scale)}) : scores;
  SmallVector<int64_t> scoreShape{batch, allHeads, queries, keys};
  scores = scores ? reshapeTo(n, scores, scoreShape) : scores;
  if (!scores)
    return failure();
  int64_t mode = n.intAttr("qk_matmul_output_mode", 0);
  Value kept = scores;
  double cap = n.floatAttr("softcap", 0);
  Value mask = n.in(3);
  bool shortMask = mask && shapeOf(mask).back() != keys && shapeOf(mask).back() != 1;
  if (shortMask)
    return n.error("a mask over " + Twine(shapeOf(mask).back()) + " of " + Twine(keys) + " keys is not supported");
  auto capped = [&](Value x) {
    if (cap == 0 || !x)
      return x;
    Value limit = n.floatScalar(elementTypeOf(x), cap);
    Value ratio = n.create<DivOp>({x, limit});
    Value squashed = ratio ? n.create<TanhOp>({ratio}) : ratio;
    return squashed ? n.create<MulOp>({squashed, limit}) : squashed;
  };
  scores = capped(scores); // before the mask, which it would otherwise bound
  if (mode == 1)
    kept = scores;
  if (scores && n.intAttr("is_causal", 0))
    scores = applyMask(n, scores, causalMask(n, queries, keys, past));
  if (scores && mask)
    scores = applyMask(n, scores, mask);
  if (mode == 2)
    kept = scores;
  if (!scores)
    return failure();
  SoftmaxOp::Properties p;
  p.axis = n.b.getI64IntegerAttr(3);
  Value weights = n.create<SoftmaxOp>({scores}, p);
  if (mode == 3)
    kept = weights;
  Value grouped = weights ? reshapeTo(n, weights, {batch, ks[1], groups * queries, keys}) : weights;
  Value y = grouped ? matmul(n.b, n.loc, grouped, v) : grouped;
  y = y ? reshapeTo(n, y, {batch, allHeads, queries, valueSize}) : y;
  if (y && flat) {
    y = transpose(n.b, n.loc, y, {0, 2, 1, 3});
    y = reshapeTo(n, y, {batch, queries, allHeads * valueSize});
  }
  if (!y)
    return failure();
  SmallVector<Value> results{y, presentK, presentV, kept};
  results.resize(std::max<size_t>(1, n.numOutputs()));
  return results;
}

} // namespace gmc::nn
