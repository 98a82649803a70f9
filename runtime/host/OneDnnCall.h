// What the builders of oneDNN calls share: an engine, and a call as a list of executions over operands and workspace.
//
// The samples of a batch are independent of each other. A call over many of them is divided among lanes, one for each
// thread, which execute primitives of one thread on a few samples at a time: threads meet once a call, and what a lane
// works on stays in its cache. A call over few samples leaves the division to the library.
#ifndef GMC_HOST_ONEDNNCALL_H
#define GMC_HOST_ONEDNNCALL_H

#include "runtime/host/OneDnn.h"
#include "runtime/host/OneDnnSymbols.h"

#include <algorithm>
#include <functional>
#include <vector>

namespace gmc::rt {

struct OneDnnEngine {
  OneDnnSymbols dnnl;
  ThreadPool *pool = nullptr;
  dnnl_engine_t engine = nullptr;
  std::vector<dnnl_stream_t> streams;         ///< one a lane
  dnnl_primitive_attr_t attributes = nullptr; ///< scratchpads are the caller's
  bool execute = true;                        ///< false: calls are described only

  ~OneDnnEngine();
};

/// Where a tensor of a call lies: in operand `operand`, in the workspace that all lanes see, in a lane's own, or in the
/// part of a lane's own that its primitives use as scratchpad, one after another. `step` bytes further for each piece
/// of the batch.
struct Place {
  static constexpr int Shared = -1, Lane = -2, Scratchpad = -3;
  int operand = Shared;
  uint64_t offset = 0, step = 0;
};

/// A primitive descriptor and what is asked of it. Empty (false) when the library has none.
class PrimitiveDesc {
public:
  PrimitiveDesc(const OneDnnEngine &engine, const void *operation, const PrimitiveDesc *hint = nullptr);
  /// A copy from one layout to another.
  PrimitiveDesc(const OneDnnEngine &engine, const dnnl_memory_desc_t &from, const dnnl_memory_desc_t &to);
  ~PrimitiveDesc();
  PrimitiveDesc(const PrimitiveDesc &) = delete;
  PrimitiveDesc &operator=(const PrimitiveDesc &) = delete;

  explicit operator bool() const { return desc; }
  dnnl_primitive_desc_t get() const { return desc; }
  dnnl_memory_desc_t layout(dnnl_query_t what) const;
  dnnl_memory_desc_t scratchpad() const { return layout(dnnl_query_scratchpad_md); }
  std::string name() const;
  /// Not by way of the library's general matrix product, which allocates, nor of its plain loops over elements.
  bool bounded() const;

private:
  const OneDnnEngine &engine;
  dnnl_primitive_desc_t desc = nullptr;
};

class OneDnnCall : public OneDnn::Call {
public:
  /// The batch is `pieces` pieces; with `lanes` > 1 lanes execute them, else the calling thread.
  OneDnnCall(const OneDnnEngine &engine, int64_t pieces = 1, unsigned lanes = 1)
      : engine(engine), pieces(pieces), lanes(lanes) {}
  ~OneDnnCall() override;
  void run(char *const *operands, char *scratch) override;

  struct Argument {
    int name; ///< DNNL_ARG_*
    dnnl_memory_desc_t layout;
  };
  /// Before the pieces, for each piece, for a lane's first piece only, for its others only, behind all pieces.
  enum class When { Before, Each, First, Later, After };

  /// Space in the workspace, of which each lane has its own when `lane`.
  Place take(uint64_t bytes, bool lane);
  /// Creates the primitive; `execute` refers to it by the returned number. `ok` becomes false where it cannot be made.
  size_t add(const PrimitiveDesc &desc, std::vector<Argument> arguments);
  size_t addCopy(const dnnl_memory_desc_t &from, const dnnl_memory_desc_t &to);

  /// Appends to the call's list: a primitive at these places.
  void execute(When when, size_t primitive, std::vector<Place> places);
  /// `to += from`; behind the pieces for every lane's `from` but the first.
  void accumulate(When when, Place to, Place from, int64_t count);
  /// One number a row of `width` elements added, row r getting bias[r % channels].
  void addBias(When when, Place to, Place bias, int64_t rows, int64_t channels, int64_t width);
  /// A computation of our own on the addresses of `places`, for numbers that are few.
  void compute(When when, std::vector<Place> places, std::function<void(char *const *)> body);
  /// Pieces are dealt out in equal, fixed parts: sums over pieces then have a fixed order.
  void fixParts() { fixed = true; }
  /// The list is complete.
  void finish();

  bool ok = true;

private:
  struct Primitive {
    dnnl_primitive_t primitive = nullptr;
    size_t arguments = 0;
    std::vector<dnnl_exec_arg_t> values; ///< `arguments` for each lane
    std::vector<char *> handles;         ///< what the memory objects point to at present
  };
  struct Execution {
    enum class Kind { Primitive, Accumulate, Bias, Own } kind;
    When when;
    size_t primitive = 0;
    std::vector<Place> places;
    int64_t count = 0, channels = 0, width = 0;
    std::function<void(char *const *)> body = nullptr;
  };
  struct Run; ///< the operands of one execution of the call

  char *address(const Run &run, const Place &place, unsigned lane, int64_t piece) const;
  void perform(Run &run, const Execution &e, unsigned lane, int64_t piece);
  void performLane(Run &run, unsigned lane);

  const OneDnnEngine &engine;
  int64_t pieces;
  unsigned lanes;
  bool fixed = false;
  std::vector<Primitive> primitives;
  std::vector<Execution> list;
  uint64_t sharedBytes = 0, laneBytes = 0, scratchpadBytes = 0, scratchpadAt = 0;
};

/// Bytes that a lane works on at a time.
constexpr uint64_t PieceBytes = 1 << 19;

/// The largest number up to `limit`, and at least 1, that divides `number`.
inline int64_t largestDivisor(int64_t number, int64_t limit) {
  int64_t divisor = std::clamp<int64_t>(limit, 1, number);
  while (number % divisor)
    --divisor;
  return divisor;
}

/// The dims of a tensor with these outer ones.
inline std::vector<int64_t> joined(std::vector<int64_t> dims, const std::vector<int64_t> &spatial) {
  dims.insert(dims.end(), spatial.begin(), spatial.end());
  return dims;
}

/// Layouts of `dims`: row-major, by strides, and the one that a primitive likes best.
dnnl_memory_desc_t plainLayout(const OneDnnEngine &engine, const std::vector<int64_t> &dims);
dnnl_memory_desc_t stridedLayout(const OneDnnEngine &engine, const std::vector<int64_t> &dims,
                                 const std::vector<int64_t> &strides);
dnnl_memory_desc_t anyLayout(const OneDnnEngine &engine, const std::vector<int64_t> &dims);

std::unique_ptr<OneDnnCall> prepareConv(const OneDnnEngine &engine, CallKind kind, const ConvCall &call, CallForm form);
/// `places` are those of a, b, the bias where there is one, and c.
std::unique_ptr<OneDnnCall> prepareMatmul(const OneDnnEngine &engine, const MatmulCall &call,
                                          std::vector<Place> places);
std::unique_ptr<OneDnnCall> preparePool(const OneDnnEngine &engine, CallKind kind, const PoolCall &call);
std::unique_ptr<OneDnnCall> prepareNorm(const OneDnnEngine &engine, CallKind kind, const NormCall &call);

} // namespace gmc::rt

#endif
