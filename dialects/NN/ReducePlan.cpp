//===- ReducePlan.cpp - how a reduction is divided --------------------------------------------------------===//

#include "dialects/NN/ReducePlan.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

namespace gmc::nn {

namespace {

/// Iterations that are enough to keep every thread of a host busy.
constexpr int64_t enoughIterations = 32;
/// Elements that a part should have at least.
constexpr int64_t partElements = 4096;
/// The same for a GPU, whose iterations are threads: enough of them to keep its memory busy, each with rows to add, and
/// parts that the combining nest adds one after the other.
constexpr int64_t enoughThreads = 131072, gpuPartRows = 32, gpuParts = 128;
/// Elements whose number is a multiple of any vector's.
constexpr int64_t vectorElements = 8;
/// Groups of threads that are enough, and elements that each should have at least.
constexpr int64_t enoughGroups = 1024, groupElements = 8192;

} // namespace

ReducePlan::ReducePlan(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> axes, KernelTarget target) {
  int64_t total = 1;
  for (auto [d, size] : llvm::enumerate(shape)) {
    total *= size;
    if (size == 1)
      continue;
    bool isReduced = llvm::is_contained(axes, static_cast<int64_t>(d));
    if (!sizes.empty() && reduced.back() == isReduced) {
      sizes.back() *= size;
    } else {
      sizes.push_back(size);
      reduced.push_back(isReduced);
    }
    if (!isReduced)
      results *= size;
  }
  stride = target == KernelTarget::Gpu ? llvm::alignTo(results, 16) : results;
  for (size_t d = 0; d < sizes.size(); ++d)
    if (reduced[d] && (splitDim < 0 || sizes[d] > sizes[splitDim]))
      splitDim = d;
  if (target == KernelTarget::Gpu && columns()) {
    if (splitDim < 0)
      return;
    int64_t rows = sizes[splitDim],
            wanted = std::min({enoughThreads / std::max<int64_t>(results, 1), rows / gpuPartRows, gpuParts});
    int64_t together = vectorElements / std::gcd(results, vectorElements);
    if (wanted > 1 && sizes.size() == 2 && results < acrossColumns && rows % together == 0) {
      copies = together;
      rows /= copies;
      sizes[0] = rows;
      sizes[1] *= copies;
      stride = llvm::alignTo(sizes[1], 16);
      wanted = std::max<int64_t>(wanted / copies, 1);
    }
    if (wanted > 1) {
      chunk = (rows + wanted - 1) / wanted;
      parts = (rows + chunk - 1) / chunk;
    }
    return;
  }
  if (target == KernelTarget::Gpu && splitDim >= 0) {
    for (size_t d = 0; d + 1 < sizes.size(); ++d)
      pieces *= reduced[d] ? sizes[d] : 1;
    int64_t wanted =
        std::min({enoughGroups / std::max<int64_t>(results, 1), pieces * sizes.back() / groupElements, gpuParts});
    piecesAPart = pieces;
    if (wanted > 1 && pieces > 1) {
      piecesAPart = (pieces + wanted - 1) / wanted;
      parts = (pieces + piecesAPart - 1) / piecesAPart;
    } else if (wanted > 1) {
      chunk = llvm::alignTo((sizes.back() + wanted - 1) / wanted, 128);
      parts = (sizes.back() + chunk - 1) / chunk;
    }
    return;
  }
  int64_t iterations = columns() ? results / blockColumns : results;
  if (splitDim >= 0 && iterations < enoughIterations && total >= 4 * partElements) {
    int64_t wanted = std::min(total / partElements, enoughIterations / std::max<int64_t>(iterations, 1));
    chunk = (sizes[splitDim] + wanted - 1) / std::max<int64_t>(wanted, 1);
    // The row form reads whole cache lines; the column form several rows at once.
    chunk = (chunk + 15) / 16 * 16;
    parts = (sizes[splitDim] + chunk - 1) / chunk;
  }
}

} // namespace gmc::nn
