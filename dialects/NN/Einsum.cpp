//===- Einsum.cpp - import of Einsum as transposes, products and sums ------------------------------------------===//

#include "compiler/Import/OpImport.h"
#include "dialects/NN/Elementwise.h"
#include "dialects/NN/ElementwiseSupport.h"
#include "dialects/NN/KernelSupport.h"
#include "dialects/NN/Matmul.h"
#include "dialects/NN/Movement.h"
#include "dialects/NN/Reduce.h"

using namespace mlir;

namespace gmc::nn {

namespace {

/// A label is a letter, or for the dimensions of an ellipsis 256 + position from the right.
using Labels = SmallVector<int>;

/// A value whose dimensions carry labels, none twice.
struct Term {
  Value value;
  Labels labels;
  int64_t size(int label) const { return shapeOf(value)[llvm::find(labels, label) - labels.begin()]; }
  bool has(int label) const { return llvm::is_contained(labels, label); }
};

class EinsumImporter {
public:
  explicit EinsumImporter(ImportNode &n) : n(n) {}

  ImportNode::Results run() {
    std::string equation = n.stringAttr("equation", "");
    llvm::erase(equation, ' ');
    auto [left, right] = StringRef(equation).split("->");
    bool hasArrow = StringRef(equation).contains("->");
    SmallVector<StringRef> parts;
    left.split(parts, ',');
    if (parts.size() != n.numInputs())
      return n.error("equation '" + Twine(equation) + "' is for " + Twine(parts.size()) + " operands");
    SmallVector<Term> terms;
    int64_t ellipsis = 0;
    for (auto [i, part] : llvm::enumerate(parts)) {
      Labels labels;
      if (!parse(part, n.rank(i), labels))
        return n.error("'" + Twine(part) + "' does not fit an operand of rank " + Twine(n.rank(i)));
      for (int label : labels)
        ellipsis = std::max<int64_t>(ellipsis, label >= 256 ? label - 255 : 0);
      terms.push_back(diagonal({n.in(i), labels}));
      if (!terms.back().value)
        return failure();
    }
    Labels output;
    if (hasArrow) {
      if (!parse(right, right.size() - (right.contains("...") ? 3 : 0) + (right.contains("...") ? ellipsis : 0),
                 output))
        return n.error("'" + Twine(right) + "' is not a list of labels");
    } else { // the ellipsis, then what occurs once, in alphabetical order
      for (int64_t d = ellipsis; d-- > 0;)
        output.push_back(256 + d);
      for (int c = 'A'; c <= 'z'; ++c)
        if (left.count(static_cast<char>(c)) == 1)
          output.push_back(c);
    }
    Term result = terms[0];
    for (size_t i = 1; i < terms.size() && result.value; ++i) {
      Labels keep = output;
      for (size_t j = i + 1; j < terms.size(); ++j)
        keep.append(terms[j].labels);
      result = contract(result, terms[i], keep);
    }
    result = result.value ? sumOut(result, output) : result;
    for (int label : output)
      if (result.value && !result.has(label))
        return n.error("an output label of '" + Twine(equation) + "' is in no operand");
    return one(result.value ? arrange(result, output) : Value());
  }

private:
  static bool parse(StringRef text, int64_t rank, Labels &labels) {
    size_t dots = text.find("...");
    int64_t named = text.size() - (dots == StringRef::npos ? 0 : 3);
    if (named > rank || (dots == StringRef::npos && named != rank))
      return false;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i == dots) {
        for (int64_t d = rank - named; d-- > 0;)
          labels.push_back(256 + d);
        i += 2;
      } else if (llvm::isAlpha(text[i])) {
        labels.push_back(text[i]);
      } else {
        return false;
      }
    }
    return true;
  }

  Term sumOver(Term term, ArrayRef<int64_t> axes) {
    if (axes.empty())
      return term;
    ReduceSumOp::Properties p;
    p.axes = n.b.getDenseI64ArrayAttr(axes);
    Labels labels;
    for (auto [d, label] : llvm::enumerate(term.labels))
      if (!llvm::is_contained(axes, static_cast<int64_t>(d)))
        labels.push_back(label);
    return {n.create<ReduceSumOp>({term.value}, p), labels};
  }

  /// Sums over every label that `keep` has not.
  Term sumOut(Term term, const Labels &keep) {
    SmallVector<int64_t> axes;
    for (auto [d, label] : llvm::enumerate(term.labels))
      if (!llvm::is_contained(keep, label))
        axes.push_back(d);
    return sumOver(term, axes);
  }

  /// A label that occurs twice selects the diagonal: the product with an identity, summed over the second occurrence.
  Term diagonal(Term term) {
    for (size_t second = 0; second < term.labels.size(); ++second) {
      size_t first = llvm::find(term.labels, term.labels[second]) - term.labels.begin();
      if (first == second)
        continue;
      ArrayRef<int64_t> shape = shapeOf(term.value);
      if (shape[first] != shape[second]) {
        (void)n.error("a repeated label has two sizes");
        return {};
      }
      SmallVector<int64_t> maskShape(shape.size() - first, 1);
      maskShape[0] = maskShape[second - first] = shape[first];
      SmallVector<bool> values;
      for (int64_t i = 0; i < shape[first]; ++i)
        for (int64_t j = 0; j < shape[first]; ++j)
          values.push_back(i == j);
      Value mask = n.constant(DenseElementsAttr::get(RankedTensorType::get(maskShape, n.b.getI1Type()), values));
      Type element = elementTypeOf(term.value);
      Value zero =
          n.constant(DenseElementsAttr::get(RankedTensorType::get({}, element), Attribute(n.b.getZeroAttr(element))));
      Value masked = mask && zero ? n.create<WhereOp>({mask, term.value, zero}) : Value();
      if (!masked)
        return {};
      term = sumOver({masked, term.labels}, {static_cast<int64_t>(second)});
      if (!term.value)
        return {};
      --second;
    }
    return term;
  }

  /// Dimensions in the order of `order`, which has the same labels.
  Value arrange(const Term &term, const Labels &order) {
    SmallVector<int64_t> perm;
    for (int label : order)
      perm.push_back(llvm::find(term.labels, label) - term.labels.begin());
    return transpose(n.b, n.loc, term.value, perm);
  }

  /// Product of two terms, summed over the labels of both that `keep` has not: a matrix product by batch.
  Term contract(Term a, Term b, const Labels &keep) {
    Labels keepA = keep, keepB = keep;
    keepA.append(b.labels);
    keepB.append(a.labels);
    a = sumOut(a, keepA);
    b = sumOut(b, keepB);
    if (!a.value || !b.value)
      return {};
    Labels batch, rows, columns, inner;
    for (int label : a.labels) {
      if (!b.has(label)) {
        rows.push_back(label);
        continue;
      }
      if (a.size(label) != b.size(label)) { // an ellipsis broadcasts
        if (!widen(a, label, b.size(label)) || !widen(b, label, a.size(label)))
          return {};
      }
      (llvm::is_contained(keep, label) ? batch : inner).push_back(label);
    }
    for (int label : b.labels)
      if (!a.has(label))
        columns.push_back(label);
    auto sizes = [](const Term &term, const Labels &labels) {
      SmallVector<int64_t> result;
      for (int label : labels)
        result.push_back(term.size(label));
      return result;
    };
    auto join = [](const Labels &x, const Labels &y, const Labels &z) {
      Labels all = x;
      all.append(y);
      all.append(z);
      return all;
    };
    SmallVector<int64_t> batchSizes = sizes(a, batch), rowSizes = sizes(a, rows), columnSizes = sizes(b, columns);
    int64_t k = numElements(sizes(a, inner)), count = numElements(batchSizes);
    Value left = reshapeTo(n, arrange(a, join(batch, rows, inner)), {count, numElements(rowSizes), k});
    Value right = reshapeTo(n, arrange(b, join(batch, inner, columns)), {count, k, numElements(columnSizes)});
    if (!left || !right)
      return {};
    Value product = n.create<MatmulOp>({left, right});
    batchSizes.append(rowSizes);
    batchSizes.append(columnSizes);
    return {product ? reshapeTo(n, product, batchSizes) : product, join(batch, rows, columns)};
  }

  bool widen(Term &term, int label, int64_t size) {
    SmallVector<int64_t> shape(shapeOf(term.value));
    int64_t &dim = shape[llvm::find(term.labels, label) - term.labels.begin()];
    if (dim == size || size == 1)
      return true;
    if (dim != 1)
      return failed(n.error("a label has the sizes " + Twine(dim) + " and " + Twine(size))) && false;
    dim = size;
    term.value = broadcastTo(n.b, n.loc, term.value, shape);
    return true;
  }

  ImportNode &n;
};

} // namespace

ImportNode::Results importEinsum(ImportNode &n) { return EinsumImporter(n).run(); }

} // namespace gmc::nn
