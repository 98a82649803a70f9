#include "runtime/host/OneDnnCall.h"

namespace gmc::rt {

/// Batch dimensions in front of a matrix that is stored row-major, or transposed.
static dnnl_memory_desc_t matrixLayout(const OneDnnEngine &engine, const std::vector<int64_t> &batch, int64_t rows,
                                       int64_t columns, bool transposed) {
  std::vector<int64_t> dims(batch), strides(batch.size() + 2);
  dims.insert(dims.end(), {rows, columns});
  strides[batch.size()] = transposed ? 1 : columns;
  strides[batch.size() + 1] = transposed ? rows : 1;
  for (size_t d = batch.size(), next = static_cast<size_t>(rows * columns); d-- > 0; next *= dims[d])
    strides[d] = static_cast<int64_t>(next);
  return stridedLayout(engine, dims, strides);
}

std::unique_ptr<OneDnnCall> prepareMatmul(const OneDnnEngine &engine, const MatmulCall &m, std::vector<Place> places) {
  dnnl_memory_desc_t a = matrixLayout(engine, m.batchA, m.m, m.k, m.transposeA),
                     b = matrixLayout(engine, m.batchB, m.k, m.n, m.transposeB),
                     c = matrixLayout(engine, m.batch, m.m, m.n, false);
  std::vector<int64_t> row(m.batch.size() + 1, 1);
  row.push_back(m.n);
  dnnl_memory_desc_t bias = plainLayout(engine, row);
  dnnl_matmul_desc_t operation;
  if (engine.dnnl.matmul_desc_init(&operation, &a, &b, m.bias ? &bias : nullptr, &c) != dnnl_success)
    return nullptr;
  PrimitiveDesc desc(engine, &operation);
  if (!desc || !desc.bounded())
    return nullptr;
  auto call = std::make_unique<OneDnnCall>(engine);
  std::vector<OneDnnCall::Argument> arguments{{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}};
  if (m.bias)
    arguments.push_back({DNNL_ARG_BIAS, bias});
  arguments.push_back({DNNL_ARG_DST, c});
  size_t primitive = call->add(desc, arguments);
  call->execute(OneDnnCall::When::Each, primitive, std::move(places));
  return call;
}

} // namespace gmc::rt
