// The part of oneDNN's C API that is used, as a table of pointers that are filled by name: trainers link only libc.
#ifndef GMC_HOST_ONEDNNSYMBOLS_H
#define GMC_HOST_ONEDNNSYMBOLS_H

#include <oneapi/dnnl/dnnl.h>
#include <string>

#define GMC_DNNL_FUNCTIONS(X)                                                                                          \
  X(version)                                                                                                           \
  X(set_max_cpu_isa)                                                                                                   \
  X(get_effective_cpu_isa)                                                                                             \
  X(set_primitive_cache_capacity)                                                                                      \
  X(engine_create)                                                                                                     \
  X(engine_destroy)                                                                                                    \
  X(stream_create)                                                                                                     \
  X(stream_destroy)                                                                                                    \
  X(memory_desc_init_by_strides)                                                                                       \
  X(memory_desc_init_by_tag)                                                                                           \
  X(memory_desc_equal)                                                                                                 \
  X(memory_desc_get_size)                                                                                              \
  X(memory_create)                                                                                                     \
  X(memory_set_data_handle)                                                                                            \
  X(memory_destroy)                                                                                                    \
  X(primitive_attr_create)                                                                                             \
  X(primitive_attr_set_scratchpad_mode)                                                                                \
  X(primitive_attr_destroy)                                                                                            \
  X(primitive_desc_create)                                                                                             \
  X(primitive_desc_query)                                                                                              \
  X(primitive_desc_query_md)                                                                                           \
  X(primitive_desc_destroy)                                                                                            \
  X(primitive_create)                                                                                                  \
  X(primitive_execute)                                                                                                 \
  X(primitive_destroy)                                                                                                 \
  X(reorder_primitive_desc_create)                                                                                     \
  X(dilated_convolution_forward_desc_init)                                                                             \
  X(dilated_convolution_backward_data_desc_init)                                                                       \
  X(dilated_convolution_backward_weights_desc_init)                                                                    \
  X(matmul_desc_init)                                                                                                  \
  X(pooling_forward_desc_init)                                                                                         \
  X(pooling_backward_desc_init)                                                                                        \
  X(batch_normalization_forward_desc_init)                                                                             \
  X(batch_normalization_backward_desc_init)                                                                            \
  X(layer_normalization_forward_desc_init)                                                                             \
  X(layer_normalization_backward_desc_init)

namespace gmc::rt {

struct OneDnnSymbols {
#define GMC_DNNL_POINTER(name) decltype(&::dnnl_##name) name = nullptr;
  GMC_DNNL_FUNCTIONS(GMC_DNNL_POINTER)
#undef GMC_DNNL_POINTER

  /// Loads `object` and fills the table; on failure false and why.
  bool load(const char *object, std::string &problem);
};

} // namespace gmc::rt

#endif
